/* autotune/measure_device.h — what differs between devices when time is taken: clocks, caches, streams. measure_device.c does the
 * rest through the executors' common functions. */
#pragma once
#include "autotune/measure.h"
#include "runtime/executor.h"

typedef struct DeviceTimer DeviceTimer;
typedef struct DeviceTimerOps {
    /* NULL: diagnosed in cx */
    DeviceTimer *(*open)(Context *cx, const TuneDevice *d, ExecDevice *v);
    void (*close)(DeviceTimer *t);
    double (*cache_bytes)(DeviceTimer *t);                          /* the last cache before memory */
    void *(*stream)(DeviceTimer *t);
    /* Times n windows; window e is call(arg, e), which enqueues launches[e] calls. With `flush` the caches are emptied before each
     * (`evict(arg, e)` puts out what the window will touch, where the host can do that). The queue is kept full: `enqueue` is about how
     * long the host takes for one launch. False: diagnosed in d, or `call` failed. */
    bool (*windows)(DeviceTimer *t, uint32_t n, const uint32_t *launches, double enqueue, bool flush,
                    bool (*call)(void *arg, uint32_t e), void (*evict)(void *arg, uint32_t e), void *arg,
                    double *seconds, Diags *d);
    /* Puts a range out of all caches; NULL where only rotation or a flush of everything does. */
    void (*evict)(const void *p, size_t bytes);
    double min_window;              /* windows shorter than this (seconds) hold several calls … */
    double batch_window;            /* … that add up to about this much */
    double max_bytes;               /* of rotated buffers */
} DeviceTimerOps;

extern const DeviceTimerOps timer_cpu, timer_cuda;
