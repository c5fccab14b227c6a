/* autotune/ceilings_cpu.c — the host's ceilings: copy over all threads (McCalpin's STREAM, copy), fused multiply-adds in registers,
 * and what one more parallel loop costs. Each is the best of several tries. */
#include "autotune/ceilings_internal.h"
#include "base/file.h"
#include "base/pool.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { TRIES = 5, LOOPS = 200 };

/* ---- copy ------------------------------------------------------------------------------------ */

typedef struct { char *to; const char *from; } CopyJob;

static void copy_range(void *arg, int64_t begin, int64_t end, int worker)
{
    const CopyJob *c = arg;
    (void)worker;
    memcpy(c->to + begin, c->from + begin, (size_t)(end - begin));
}

static double copy_rate(ThreadPool *pool)
{
    long l3 = sysconf(_SC_LEVEL3_CACHE_SIZE);
    int64_t bytes = l3 > 0 && l3 < (256l << 20) ? 2 * l3 : 64 << 20;
    char *from = malloc((size_t)bytes), *to = malloc((size_t)bytes);
    double best = 0;

    if (from && to) {
        memset(from, 1, (size_t)bytes);
        memset(to, 2, (size_t)bytes);
        for (int i = 0; i < TRIES; i++) {
            double start = clock_seconds();
            pool_for(pool, bytes, 1 << 20, copy_range, &(CopyJob){to, from});
            double rate = 2.0 * (double)bytes / (clock_seconds() - start);
            best = rate > best ? rate : best;
        }
    }
    free(from);
    free(to);
    return best;
}

/* ---- multiply-adds: ten independent chains keep two pipes of latency four or five busy ------------ */

enum { CHAINS = 10, STEPS = 200000 };

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static double fma_512(double *sum)
{
    __m512 x[CHAINS], a = _mm512_set1_ps(0.9999f), b = _mm512_set1_ps(1e-3f);
    for (int i = 0; i < CHAINS; i++)
        x[i] = _mm512_set1_ps((float)i);
    for (int s = 0; s < STEPS; s++)
#pragma GCC unroll 10
        for (int i = 0; i < CHAINS; i++)
            x[i] = _mm512_fmadd_ps(x[i], a, b);
    for (int i = 0; i < CHAINS; i++)
        *sum += (double)_mm512_cvtss_f32(x[i]);
    return 2.0 * 16 * CHAINS * STEPS;
}

__attribute__((target("avx2,fma"))) static double fma_256(double *sum)
{
    __m256 x[CHAINS], a = _mm256_set1_ps(0.9999f), b = _mm256_set1_ps(1e-3f);
    for (int i = 0; i < CHAINS; i++)
        x[i] = _mm256_set1_ps((float)i);
    for (int s = 0; s < STEPS; s++)
#pragma GCC unroll 10
        for (int i = 0; i < CHAINS; i++)
            x[i] = _mm256_fmadd_ps(x[i], a, b);
    for (int i = 0; i < CHAINS; i++)
        *sum += (double)_mm256_cvtss_f32(x[i]);
    return 2.0 * 8 * CHAINS * STEPS;
}
#endif

static double fma_plain(double *sum)
{
    float x[CHAINS] = {0};
    for (int s = 0; s < STEPS; s++)
        for (int i = 0; i < CHAINS; i++)
            x[i] = x[i] * 0.9999f + 1e-3f;
    for (int i = 0; i < CHAINS; i++)
        *sum += (double)x[i];
    return 2.0 * CHAINS * STEPS;
}

static double fma_run(double *sum)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return fma_512(sum);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return fma_256(sum);
#endif
    return fma_plain(sum);
}

typedef struct { double sum[64], flops[64]; } FmaJob;

static void fma_range(void *arg, int64_t begin, int64_t end, int worker)
{
    FmaJob *j = arg;
    for (int64_t i = begin; i < end; i++)
        j->flops[worker % 64] += fma_run(&j->sum[worker % 64]);
}

static double fma_rate(ThreadPool *pool)
{
    double best = 0;
    for (int t = 0; t < TRIES; t++) {
        FmaJob j = {0};
        double start = clock_seconds(), flops = 0;
        int64_t parts = 4 * (int64_t)pool_threads(pool);
        pool_for(pool, parts, 1, fma_range, &j);
        double seconds = clock_seconds() - start;
        volatile double keep = 0;
        for (int i = 0; i < 64; i++) {
            flops += j.flops[i];
            keep = keep + j.sum[i];
        }
        best = flops / seconds > best ? flops / seconds : best;
    }
    return best;
}

/* ---- one more parallel loop -------------------------------------------------------------------- */

static void nothing(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)arg, (void)begin, (void)end, (void)worker;
}

static double loop_seconds(ThreadPool *pool)
{
    double best = 1;
    for (int t = 0; t < TRIES; t++) {
        double start = clock_seconds();
        for (int i = 0; i < LOOPS; i++)
            pool_for(pool, pool_threads(pool), 1, nothing, NULL);
        double each = (clock_seconds() - start) / LOOPS;
        best = each < best ? each : best;
    }
    return best;
}

bool ceilings_cpu(Context *cx, const TuneDevice *d, Machine *m)
{
    (void)cx;
    ThreadPool *pool = pool_new(d->threads);
    double copy = copy_rate(pool);
    m->copy_bandwidth = copy > 0 ? copy : m->copy_bandwidth;
    m->flops_fma = m->flops_bf16 = m->flops_tf32 = fma_rate(pool);
    m->launch_seconds = loop_seconds(pool);
    pool_free(pool);
    return true;
}
