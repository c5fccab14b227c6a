/* runtime/cuda/kernels.h — the few kernels of the runtime's own: copies, zeros, strided copies, waiting, random data. */
#pragma once
#include "runtime/cuda/driver.h"

typedef struct CudaKernels { CuModule module; CuFunction copy, zero, strided, spin, noise, read; unsigned sm_count; } CudaKernels;

/* Compiled once a process and device; the device's context must be current. NULL: diagnosed. */
const CudaKernels *cuda_kernels(int ordinal, Diags *d);

/* A launch, or a graph's node: arguments live in the struct until it has been enqueued or added. */
typedef struct { uint64_t values[8]; void *params[8]; CuKernelNode node; } CudaCall;
void cuda_call_copy(const CudaKernels *k, CudaCall *c, CuPtr to, CuPtr from, uint64_t bytes);      /* any alignment */
void cuda_call_zero(const CudaKernels *k, CudaCall *c, CuPtr to, uint64_t bytes);
void cuda_call_read(const CudaKernels *k, CudaCall *c, CuPtr from, uint64_t bytes);                /* 16-byte aligned; keeps nothing */
void cuda_call_spin(const CudaKernels *k, CudaCall *c, uint64_t nanoseconds);                       /* busy-waits on the device */
/* Random values of magnitude [0.5, 1) for floats, 0..127 for integers. */
void cuda_call_noise(const CudaKernels *k, CudaCall *c, DType t, CuPtr to, uint64_t bytes, uint32_t seed);
int  cuda_call_enqueue(const CudaDriver *cu, const CudaCall *c, CuStream s);                        /* CUresult */
/* Several launches where the tensor has more than 2^31 elements. */
int  cuda_strided_copy(const CudaDriver *cu, const CudaKernels *k, const StridedCopy *copy, CuStream s);
