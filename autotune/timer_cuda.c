/* autotune/timer_cuda.c — events on a stream, through runtime/cuda/timing.h: every window is preceded by a kernel that busy-waits while
 * the host enqueues, and, where asked for, by reading twice the L2's size. */
#include "autotune/measure_device.h"
#include "runtime/cuda/timing.h"
#include <stdlib.h>

struct DeviceTimer {
    CudaTimer *timer;
    double l2_bytes;
};

static DeviceTimer *timer_open(Context *cx, const TuneDevice *d, ExecDevice *v)
{
    (void)v;
    CudaTimer *timer = cuda_timer_new(d->ordinal, cx->diags);
    DeviceTimer *t = timer ? malloc(sizeof *t) : NULL;

    if (t)
        *t = (DeviceTimer){timer, (double)cuda_device(d->ordinal)->l2_bytes};
    else if (timer)
        cuda_timer_free(timer);
    return t;
}

static void timer_close(DeviceTimer *t)
{
    cuda_timer_free(t->timer);
    free(t);
}

static double timer_cache(DeviceTimer *t) { return t->l2_bytes; }
static void *timer_stream(DeviceTimer *t) { return cuda_timer_stream(t->timer); }

/* cuda_time's own warm-up calls two windows: they do nothing, sessions have warmed up. */
enum { SKIPPED = 2 };
typedef struct { bool (*call)(void *arg, uint32_t e); void *arg; } Windows;

static bool enqueue_window(void *arg, int i, void *stream)
{
    const Windows *w = arg;
    (void)stream;                      /* the session runs on this timer's stream */
    return i < SKIPPED || w->call(w->arg, (uint32_t)(i - SKIPPED));
}

static bool timer_windows(DeviceTimer *t, uint32_t n, const uint32_t *launches, double enqueue, bool flush,
                          bool (*call)(void *arg, uint32_t e), void (*evict)(void *arg, uint32_t e), void *arg,
                          double *seconds, Diags *d)
{
    uint32_t most = 1;
    (void)evict;
    for (uint32_t e = 0; e < n; e++)
        most = launches[e] > most ? launches[e] : most;

    CudaTiming how = {.warmup = 1, .batch = 1, .l2 = flush ? L2_READ : L2_WARM,
                      .spin_us = 10 + 1.3e6 * enqueue * most};
    Windows w = {call, arg};
    if (!cuda_time(t->timer, how, enqueue_window, &w, (int)n, seconds, d))
        return false;
    for (uint32_t e = 0; e < n; e++)
        seconds[e] *= 1e-6;
    return true;
}

const DeviceTimerOps timer_cuda = {
    .open = timer_open, .close = timer_close, .cache_bytes = timer_cache, .stream = timer_stream,
    .windows = timer_windows, .min_window = 20e-6, .batch_window = 60e-6, .max_bytes = 8e9,
};
