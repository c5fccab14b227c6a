/* autotune/timer_cpu.c — wall clock on the host. What a window will touch is put out of the caches line by line (clflush); on
 * processors without that, everything is, by writing to twice the last level's size. */
#include "autotune/measure_device.h"
#include "base/file.h"
#include <stdlib.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

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
                          bool (*call)(void *arg, uint32_t e), void (*evict)(void *arg, uint32_t e), void *arg,
                          double *seconds, Diags *d)
{
    (void)launches, (void)enqueue, (void)d;
    for (uint32_t e = 0; e < n; e++) {
        if (flush && timer_cpu.evict)
            evict(arg, e);
        else if (flush)
            flush_caches(t);
        double start = clock_seconds();
        if (!call(arg, e))
            return false;
        seconds[e] = clock_seconds() - start;
    }
    return true;
}

#if defined(__x86_64__)
static void evict_lines(const void *p, size_t bytes)
{
    const char *at = (const char *)((uintptr_t)p & ~(uintptr_t)63), *end = (const char *)p + bytes;
    for (; at < end; at += 64)
        _mm_clflush(at);
    _mm_mfence();
}
#else
#define evict_lines NULL
#endif

static double timer_cache(DeviceTimer *t) { return t->cache; }
static void *timer_stream(DeviceTimer *t)
{
    (void)t;
    return NULL;
}

const DeviceTimerOps timer_cpu = {
    .open = timer_open, .close = timer_close, .cache_bytes = timer_cache, .stream = timer_stream,
    .windows = timer_windows, .evict = evict_lines, .min_window = 5e-6, .batch_window = 40e-6, .max_bytes = 512e6,
};
