/* tests/runtime/fake_cuda.h — a GPU made of host memory: libcuda and cuBLASLt as far as the runtime uses them, so that the CUDA
 * executor is tested where there is no GPU. Streams run at once; graphs run their nodes in a random order that their edges allow, so
 * a missing edge shows; matrix products follow the library's column-major definition. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

void fake_cuda_install(void);                       /* before anything else of CUDA */
typedef void FakeKernel(void *const *params, const unsigned grid[3], const unsigned block[3]);
void fake_cuda_kernel(const char *name, FakeKernel *run, unsigned n_params);       /* params of 8 bytes */
extern size_t fake_cuda_memory, fake_cuda_used;     /* bytes the device has, bytes in use */
extern int fake_cuda_allocations;                   /* live ones */
extern int fake_cuda_fail_next;                     /* CUresult that the next launch (kernel or graph) gives, once */
