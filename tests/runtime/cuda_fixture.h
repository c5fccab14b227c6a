/* tests/runtime/cuda_fixture.h — what the cases of the CUDA runtime share: a context with a device and an executor, tensors on it. A failure
 * ends the test with the diagnostics. */
#pragma once
#include "runtime/executor.h"

typedef struct { Context *cx; ExecDevice *v; Executor *e; } Gpu;
extern bool on_gpu;                    /* a real one */

int    gpu_setup(void **state);
int    gpu_teardown(void **state);     /* fails where the fake one's memory is not all given back */
void   require(Gpu *g, bool good);
bool   try_plan(Gpu *g, Plan *p);      /* verified, then opened in the place of the plan before; false: diagnosed */
void   open_plan(Gpu *g, Plan *p);
void  *device_new(Gpu *g, const void *host, size_t bytes);             /* host NULL: not filled */
void   device_get(Gpu *g, void *host, const void *p, size_t bytes, void *stream);
void   run(Gpu *g, void *const *in, void *const *out, const int64_t *symbols, void *stream);
float *numbers(Gpu *g, int64_t n, const char *name);                   /* normal ones, the same for a name */
void   expect_near(const float *have, const float *want, int64_t n, float tolerance, const char *what);
void   expect_text(Gpu *g, const char *part);      /* in the diagnostics, which are cleared */
