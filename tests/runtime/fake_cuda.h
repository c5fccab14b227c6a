/* tests/runtime/fake_cuda.h — a GPU made of host memory: libcuda and cuBLASLt as far as the runtime uses them, so that the CUDA
 * executor is tested where there is no GPU. Streams run at once; graphs run their nodes in a random order that their edges allow, so
 * a missing edge shows; matrix products follow the library's column-major definition. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void fake_cuda_install(void);                       /* before anything else of CUDA */
typedef void FakeKernel(void *const *params, const unsigned grid[3], const unsigned block[3]);
void fake_cuda_kernel(const char *name, FakeKernel *run, unsigned n_params);       /* params of 8 bytes */
/* The same, with n_maps tensor maps of 128 bytes at the end; launches must come in clusters of so many blocks. A later one of the same name
 * takes the place of an earlier one. */
void fake_cuda_kernel_with_maps(const char *name, FakeKernel *run, unsigned n_words, unsigned n_maps, unsigned cluster);
/* How the fake driver encodes a tensor map: as it was told. */
typedef struct { uint64_t magic; char *base; uint64_t dims[5], strides[4]; int type, rank; uint16_t box[5], swizzle; } FakeMap;
const FakeMap *fake_cuda_map(const void *param);    /* aborts where there is none */
extern size_t fake_cuda_memory, fake_cuda_used;     /* bytes the device has, bytes in use */
extern int fake_cuda_allocations;                   /* live ones */
extern unsigned fake_cuda_early;                    /* kernels launched, or put into graphs, before those ahead of them have ended */
extern int fake_cuda_fail_next;                     /* CUresult that the next launch (kernel or graph) gives, once */
