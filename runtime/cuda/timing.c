/* runtime/cuda/timing.c — see timing.h. */
#include "runtime/cuda/timing.h"
#include "base/file.h"
#include "runtime/cuda/kernels.h"
#include <stdlib.h>

enum { WINDOWS = 128 };

struct CudaTimer {
    Arena *arena;
    const CudaDriver *cu;
    const CudaKernels *kernels;
    int ordinal;
    CuContext ctx;
    CuStream stream;
    CuEvent start[WINDOWS], end[WINDOWS];
    CuPtr scratch; size_t scratch_bytes;
};

static int open_handles(CudaTimer *t)
{
    int r = t->cu->StreamCreate(&t->stream, CU_STREAM_NONBLOCKING);
    for (int i = 0; i < WINDOWS && r == CU_OK; i++) {
        r = t->cu->EventCreate(&t->start[i], 0);
        r = r ? r : t->cu->EventCreate(&t->end[i], 0);
    }
    return r;
}

static bool open_timer(CudaTimer *t, Diags *d)
{
    t->scratch_bytes = 2 * cuda_device(t->ordinal)->l2_bytes;
    t->scratch_bytes = t->scratch_bytes < (64u << 20) ? 64u << 20 : t->scratch_bytes;
    if (!cuda_check(t->cu, open_handles(t), "creating a stream and events", d))
        return false;
    t->scratch = cuda_alloc(t->cu, t->scratch_bytes, "scratch to flush the L2 cache", d);
    t->kernels = t->scratch ? cuda_kernels(t->ordinal, d) : NULL;
    return t->kernels && cuda_check(t->cu, t->cu->MemsetD8Async(t->scratch, 0, t->scratch_bytes, t->stream), "clearing scratch", d);
}

CudaTimer *cuda_timer_new(int ordinal, Diags *d)
{
    CuContext ctx = cuda_context(ordinal, d);
    if (!ctx)
        return NULL;
    Arena *a = arena_new();
    CudaTimer *t = arena_new_of(a, CudaTimer);
    *t = (CudaTimer){.arena = a, .cu = cuda_driver(NULL), .ordinal = ordinal, .ctx = ctx};
    CudaScope scope;
    bool good = cuda_enter(t->cu, ctx, &scope, d);
    if (good) {
        good = open_timer(t, d);
        cuda_leave(&scope);
    }
    if (good)
        return t;
    cuda_timer_free(t);
    return NULL;
}

void cuda_timer_free(CudaTimer *t)
{
    CudaScope scope;
    if (!t)
        return;
    if (cuda_enter(t->cu, t->ctx, &scope, diags_new(t->arena))) {
        t->cu->CtxSynchronize();
        for (int i = 0; i < WINDOWS; i++) {
            if (t->start[i])
                t->cu->EventDestroy(t->start[i]);
            if (t->end[i])
                t->cu->EventDestroy(t->end[i]);
        }
        if (t->scratch)
            t->cu->MemFree(t->scratch);
        if (t->stream)
            t->cu->StreamDestroy(t->stream);
        cuda_leave(&scope);
    }
    arena_free(t->arena);
}

void *cuda_timer_stream(const CudaTimer *t) { return t->stream; }

/* ---- windows ---- */

static int make_cold(CudaTimer *t, L2State l2)
{
    CudaCall c;
    switch (l2) {
    case L2_WARM:
        return CU_OK;
    case L2_WRITTEN:
        return t->cu->MemsetD8Async(t->scratch, 0, t->scratch_bytes, t->stream);
    case L2_READ:
        cuda_call_read(t->kernels, &c, t->scratch, t->scratch_bytes);
        return cuda_call_enqueue(t->cu, &c, t->stream);
    }
    return CU_OK;
}

typedef struct { CudaEnqueue *enqueue; void *arg; int next; } Calls;

static bool enqueue_batch(CudaTimer *t, Calls *c, int batch)
{
    for (int i = 0; i < batch; i++)
        if (!c->enqueue(c->arg, c->next++, t->stream))
            return false;
    return true;
}

static bool enqueue_window(CudaTimer *t, const CudaTiming *how, Calls *c, int w, Diags *d)
{
    CudaCall spin;
    int r = make_cold(t, how->l2);
    cuda_call_spin(t->kernels, &spin, (uint64_t)(how->spin_us * 1000));
    r = r ? r : cuda_call_enqueue(t->cu, &spin, t->stream);
    r = r ? r : t->cu->EventRecord(t->start[w], t->stream);
    if (!cuda_check(t->cu, r, "preparing a measurement", d) || !enqueue_batch(t, c, how->batch))
        return false;
    return cuda_check(t->cu, t->cu->EventRecord(t->end[w], t->stream), "ending a measurement", d);
}

static bool read_windows(CudaTimer *t, int n, int batch, double *us, Diags *d)
{
    for (int w = 0; w < n; w++) {
        float ms = 0;
        int r = t->cu->EventSynchronize(t->end[w]);
        r = r ? r : t->cu->EventElapsedTime(&ms, t->start[w], t->end[w]);
        if (!cuda_check(t->cu, r, "reading a measurement", d))
            return false;
        us[w] = (double)ms * 1000 / batch;
    }
    return true;
}

/* The first calls compile, allocate, capture; what a later window costs the host tells how long to hold the device back. */
static bool warm_up(CudaTimer *t, CudaTiming *how, Calls *c, Diags *d)
{
    if (!enqueue_batch(t, c, how->warmup < 1 ? 1 : how->warmup) || !cuda_timer_wait(t, d))
        return false;
    double begin = clock_seconds();
    if (!enqueue_batch(t, c, how->batch))
        return false;
    double host = (clock_seconds() - begin) * 1e6;
    if (how->spin_us <= 0)
        how->spin_us = host < 1000 ? 1.5 * host + 10 : 2000;
    return cuda_timer_wait(t, d);
}

static bool time_windows(CudaTimer *t, CudaTiming how, Calls *c, int n, double *us, Diags *d)
{
    how.batch = how.batch < 1 ? 1 : how.batch;
    if (!warm_up(t, &how, c, d))
        return false;
    for (int done = 0; done < n; ) {
        int now = n - done < WINDOWS ? n - done : WINDOWS;
        for (int w = 0; w < now; w++)
            if (!enqueue_window(t, &how, c, w, d))
                return false;
        if (!read_windows(t, now, how.batch, us + done, d))
            return false;
        done += now;
    }
    return true;
}

bool cuda_time(CudaTimer *t, CudaTiming how, CudaEnqueue *enqueue, void *arg, int n, double *us, Diags *d)
{
    CudaScope scope;
    if (!cuda_enter(t->cu, t->ctx, &scope, d))
        return false;
    bool good = time_windows(t, how, &(Calls){enqueue, arg, 0}, n, us, d);
    if (!good)
        t->cu->StreamSynchronize(t->stream);               /* nothing of this measurement is left behind */
    cuda_leave(&scope);
    return good;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, compare_doubles);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static bool time_host(CudaTimer *t, CudaEnqueue *enqueue, void *arg, int n, double *us, Diags *d)
{
    for (int i = 0; i < n + 3; i++) {
        double begin = clock_seconds();
        if (!enqueue(arg, i, t->stream))
            return false;
        if (i >= 3)
            us[i - 3] = (clock_seconds() - begin) * 1e6;
        if (i % 16 == 2 && !cuda_timer_wait(t, d))
            return false;
    }
    return cuda_timer_wait(t, d);
}

bool cuda_time_host(CudaTimer *t, CudaEnqueue *enqueue, void *arg, int n, double *us, Diags *d)
{
    CudaScope scope;
    double *all = n > 0 ? malloc(sizeof *all * (size_t)n) : NULL;
    bool good = all && cuda_enter(t->cu, t->ctx, &scope, d);
    if (good) {
        good = time_host(t, enqueue, arg, n, all, d);
        cuda_leave(&scope);
    }
    if (good)
        *us = median(all, n);
    free(all);
    return good;
}

/* ---- bandwidth ---- */

typedef struct { CudaTimer *t; CuPtr to, from; size_t bytes; bool by_driver; Diags *d; } CopyTest;

static bool enqueue_copy(void *arg, int i, void *stream)
{
    const CopyTest *x = arg;
    CudaCall c;
    (void)i;
    int r;
    if (x->by_driver) {
        r = x->t->cu->MemcpyDtoDAsync(x->to, x->from, x->bytes, stream);
    } else {
        cuda_call_copy(x->t->kernels, &c, x->to, x->from, x->bytes);
        r = cuda_call_enqueue(x->t->cu, &c, stream);
    }
    return cuda_check(x->t->cu, r, "copying on the device", x->d);
}

bool cuda_measure_copy(CudaTimer *t, size_t bytes, double *by_kernel, double *by_driver, Diags *d)
{
    enum { RUNS = 15 };
    double us[RUNS], *out[2] = {by_kernel, by_driver};
    CopyTest x = {.t = t, .bytes = bytes, .d = d};
    x.from = (CuPtr)(uintptr_t)cuda_buffer_new(t, DT_F32, bytes, 1, d);
    x.to = x.from ? (CuPtr)(uintptr_t)cuda_buffer_new(t, DT_F32, bytes, 2, d) : 0;
    bool good = x.to != 0;
    for (int way = 0; way < 2 && good; way++) {
        x.by_driver = way == 1;
        good = cuda_time(t, (CudaTiming){.warmup = 2, .batch = 1, .l2 = L2_READ}, enqueue_copy, &x, RUNS, us, d);
        *out[way] = good ? 2.0 * (double)bytes / (median(us, RUNS) * 1e-6) : 0;
    }
    cuda_buffer_free(t, (void *)(uintptr_t)x.from);
    cuda_buffer_free(t, (void *)(uintptr_t)x.to);
    return good;
}

/* ---- buffers ---- */

static bool fill(CudaTimer *t, void *p, DType type, size_t bytes, uint32_t seed, Diags *d)
{
    CudaScope scope;
    CudaCall c;
    if (!cuda_enter(t->cu, t->ctx, &scope, d))
        return false;
    cuda_call_noise(t->kernels, &c, type, (CuPtr)(uintptr_t)p, bytes, seed);
    bool good = cuda_check(t->cu, cuda_call_enqueue(t->cu, &c, t->stream), "filling memory", d);
    cuda_leave(&scope);
    return good;
}

void *cuda_buffer_new(CudaTimer *t, DType type, size_t bytes, uint32_t seed, Diags *d)
{
    CudaScope scope;
    if (!cuda_enter(t->cu, t->ctx, &scope, d))
        return NULL;
    size_t room = (bytes + 255) / 256 * 256;
    void *p = (void *)(uintptr_t)cuda_alloc(t->cu, room, "a buffer", d);
    if (p && !fill(t, p, type, room, seed, d)) {
        cuda_buffer_free(t, p);
        p = NULL;
    }
    cuda_leave(&scope);
    return p;
}

bool cuda_buffer_download(CudaTimer *t, void *host, const void *from, size_t bytes, Diags *d)
{
    CudaScope scope;
    if (!cuda_enter(t->cu, t->ctx, &scope, d))
        return false;
    int r = bytes ? t->cu->MemcpyDtoHAsync(host, (CuPtr)(uintptr_t)from, bytes, t->stream) : CU_OK;
    bool good = cuda_check(t->cu, r ? r : t->cu->StreamSynchronize(t->stream), "copying a buffer", d);
    cuda_leave(&scope);
    return good;
}

void cuda_buffer_free(CudaTimer *t, void *p)
{
    CudaScope scope;
    Arena *a = arena_new();
    if (p && cuda_enter(t->cu, t->ctx, &scope, diags_new(a))) {
        t->cu->MemFree((CuPtr)(uintptr_t)p);
        cuda_leave(&scope);
    }
    arena_free(a);
}

bool cuda_timer_wait(CudaTimer *t, Diags *d)
{
    CudaScope scope;
    if (!cuda_enter(t->cu, t->ctx, &scope, d))
        return false;
    bool good = cuda_check(t->cu, t->cu->StreamSynchronize(t->stream), "waiting for the device", d);
    cuda_leave(&scope);
    return good;
}
