/* codegen/kinds/gemm_model.c — predicted time of a product with wgmma: whole tiles are computed, a wave of them at a time, each as fast as
 * the tensor cores or the L2 cache let it, and each with an epilogue that nothing hides.
 *
 * The constants are fitted to times of an H200 (tests/codegen/test_gemm_model.c has them): large products come out within 12 %, and what
 * counts more, the fastest tile among the first few. */
#include "codegen/kinds/gemm_model.h"

#include <math.h>

static double ceil_div(double a, double b) { return ceil(a / b); }

/* Of the rate of large bf16 products. Tiles that are small or narrow read shared memory more often; three products a multiplication do
 * so twice. A little more than 1: the clock is higher where less power is needed. */
static double efficiency(const KGemm *g)
{
    double reuse = (double)g->bm * g->bn / (g->bm + g->bn);
    return gemm_terms(g->format) == 3 ? fmin(0.97, 0.0150 * reuse) : fmin(1.04, 0.93 + 0.0013 * reuse);
}

/* Bytes a second that all units load from the L2 cache. Rows of a stage of half a cache line, or across lines, cost whole lines. */
static double cache_rate(const KGemm *g, const GemmSize *x, const Machine *m, uint32_t size)
{
    return 59e9 * m->units * (g->bk * size >= 128 ? 1.8 : 1) * (x->aligned ? 1 : 0.45);
}

double gemm_wgmma_seconds(const KGemm *g, const GemmSize *x, const Machine *m)
{
    static const double fill = 3.0e-6, join = 0.8e-6;                /* the first stages and the last stores; a cluster finds together */
    uint32_t size = dtype_bytes(gemm_piece_dtype(g->format)), terms = gemm_terms(g->format), pieces = terms == 3 ? 2 : 1;
    double cluster = g->cluster, units = (double)(m->units / (int)g->cluster);
    double tiles = ceil_div(x->m, g->bm * cluster) * ceil_div(x->n, g->bn / g->parts) * x->batch;
    double waves = ceil_div(tiles, units), busy = fmin(tiles, units);
    double rate = (size == 2 ? m->flops_bf16 : m->flops_tf32) * efficiency(g);
    double work = 2.0 * g->bm * cluster * g->bn * (x->k + g->bk / 2) * terms;
    double loaded = (g->bm * cluster + g->bn) * x->k * size * pieces;                    /* by a cluster: B once */
    double product = fmax(work * units / rate, loaded * busy / cache_rate(g, x, m, size)) * (g->cluster > 1 ? 1.01 : 1);
    double epilogue = 0.7e-6 + 6e-9 * g->bn;
    double seconds = waves * (product + epilogue) + fill + (g->cluster > 1 ? join : 0);
    return fmax(seconds, x->bytes / m->copy_bandwidth) + m->launch_seconds;
}
