/* runtime/cuda/timing.h — measuring on a GPU, for the autotuner and the benchmarks; no part of pawl.h.
 *
 * A window is: L2 made cold, a kernel that busy-waits on the device so that the host gets ahead, start event, `batch` calls, end
 * event. Nothing waits for the host within a window, so what is measured is the device's time. */
#pragma once
#include "base/diag.h"
#include "base/dtype.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct CudaTimer CudaTimer;                  /* a stream, events, scratch for flushing; one thread at a time */
CudaTimer *cuda_timer_new(int ordinal, Diags *d);    /* NULL: diagnosed */
void       cuda_timer_free(CudaTimer *t);
void      *cuda_timer_stream(const CudaTimer *t);

typedef enum {
    L2_WARM,                                         /* as the last call left it */
    L2_WRITTEN,                                      /* twice its size was written, as other benchmarks do: full of dirty lines */
    L2_READ                                          /* twice its size was read: full of clean lines of no use */
} L2State;
typedef struct {
    int warmup;                                      /* calls before the first window; at least 1 */
    int batch;                                       /* calls a window; events resolve about 0.5 µs */
    L2State l2;
    double spin_us;                                  /* 0: by how long the host takes to enqueue a window */
} CudaTiming;

/* Enqueues call number i (numbers go on from window to window: rotate argument sets by it). false stops: diagnosed by it. */
typedef bool CudaEnqueue(void *arg, int i, void *stream);
/* us[w]: device microseconds of one call (a window's time over its batch) in window w of n. */
bool cuda_time(CudaTimer *t, CudaTiming how, CudaEnqueue *enqueue, void *arg, int n, double *us, Diags *d);
/* Host microseconds that one enqueue takes, median of n; the device is kept from falling behind. */
bool cuda_time_host(CudaTimer *t, CudaEnqueue *enqueue, void *arg, int n, double *us, Diags *d);

/* Bytes read plus written a second when `bytes` are copied, cold: by a kernel of ours, by the driver's copy. Medians. */
bool cuda_measure_copy(CudaTimer *t, size_t bytes, double *by_kernel, double *by_driver, Diags *d);

/* Device memory: random values (floats of magnitude [0.5, 1) and either sign, integers 0..127). 0: diagnosed. Aligned to 256. */
void *cuda_buffer_new(CudaTimer *t, DType type, size_t bytes, uint32_t seed, Diags *d);
bool  cuda_buffer_download(CudaTimer *t, void *host, const void *from, size_t bytes, Diags *d);
void  cuda_buffer_free(CudaTimer *t, void *p);
bool  cuda_timer_wait(CudaTimer *t, Diags *d);       /* for all that was enqueued; reports what went wrong on the device */
