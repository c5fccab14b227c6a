/* autotune/timer_cpu.c — wall clock on the host; caches are emptied by writing to twice the last level's size. */
#include "autotune/measure_device.h"
#include "base/file.h"
#include <stdlib.h>
#include <unistd.h>

struct DeviceTimer {
    double cache;
    unsigned char *sweep;           /* made when first needed */
    size_t sweep_bytes;
};

static double last_cache(void)
{
    long l3 = sysconf(_SC_LEVEL3_CACHE_SIZE), l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return l3 > 0 ? (double)l3 : l2 > 0 ? (double)l2 : 8e6;
}

static DeviceTimer *timer_open(Context *cx, const TuneDevice *d, ExecDevice *v)
{
    (void)d, (void)v;
    DeviceTimer *t = calloc(1, sizeof *t);
    if (!t) {
        diag_error(cx->diags, PAWL_EXIT_DEVICE, LOC_NONE, NULL, "out of memory");
        return NULL;
    }
    t->cache = last_cache();
    t->sweep_bytes = (size_t)(2 * t->cache);
    return t;
}

static void timer_close(DeviceTimer *t)
{
    free(t->sweep);
    free(t);
}

static void flush_caches(DeviceTimer *t)
{
    if (!t->sweep)
        t->sweep = malloc(t->sweep_bytes);
    if (!t->sweep)
        return;
    for (size_t i = 0; i < t->sweep_bytes; i += 64)
        t->sweep[i]++;
    __asm__ volatile("" ::"r"(t->sweep) : "memory");
}

static bool timer_windows(DeviceTimer *t, uint32_t n, const uint32_t *launches, double enqueue, bool flush,
                          bool (*call)(void *arg, uint32_t e), void *arg, double *seconds, Diags *d)
{
    (void)launches, (void)enqueue, (void)d;
    for (uint32_t e = 0; e < n; e++) {
        if (flush)
            flush_caches(t);
        double start = clock_seconds();
        if (!call(arg, e))
            return false;
        seconds[e] = clock_seconds() - start;
    }
    return true;
}

static double timer_cache(DeviceTimer *t) { return t->cache; }
static void *timer_stream(DeviceTimer *t)
{
    (void)t;
    return NULL;
}

const DeviceTimerOps timer_cpu = {
    .open = timer_open, .close = timer_close, .cache_bytes = timer_cache, .stream = timer_stream,
    .windows = timer_windows, .min_window = 5e-6, .batch_window = 40e-6, .max_bytes = 512e6,
};
