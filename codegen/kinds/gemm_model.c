/* codegen/kinds/gemm_model.c — predicted time of a product on the tensor cores: whole tiles are computed, a wave of them at a time, each as fast as
 * the tensor cores or the L2 cache let it, and each with an epilogue that nothing hides, unless warpgroups take tiles in turn.
 *
 * The constants are fitted to times of an H200 (tests/codegen/test_gemm_model.c has them): large products come out within 12 %, and what
 * counts more, the fastest tile among the first few. */
#include "codegen/kinds/gemm_model.h"

#include <math.h>

static double ceil_div(double a, double b) { return ceil(a / b); }

/* Of the rate of large bf16 products. Narrow tiles read shared memory more often, which three products a multiplication feel most; few
 * stages do not hide the loads of one. A little more than 1: the clock is higher where less power is needed. */
static double efficiency(const KGemm *g)
{
    double reuse = (double)g->bm * g->bn / (g->bm + g->bn), narrow = 64.0 / g->bn;
    if (gemm_terms(g->format) == 3)
        return (1 - 0.13 * narrow * narrow) * (g->bm < 128 ? 0.96 : 1) * (g->stages < 3 ? 0.9 : 1);
    return fmin(1.05, 0.93 + 0.0014 * reuse) * (g->stages < 4 ? 0.97 : 1);
}

/* Bulk stores cost less than a thread's own; but the piece lies in registers so that what is read beside it comes in 4 bytes a thread. */
static double bulk_share(const KGemm *g, const GemmSize *x) { return !g->bulk ? 1 : x->beside >= 1 ? 1.2 : 0.9; }

/* Norms and rotations of heads beside each other in one epilogue: their shuffles and their second pass over a piece. An H200 took 20.9 us
 * where 16.6 were predicted without (one wave of 128 x 128), and 68.4 instead of 52.1 (four). */
static double members_seconds(const KGemm *g, const GemmSize *x) { return x->shared ? 4.2e-6 * g->bm * g->bn / (128 * 128) : 0; }

/* After the last stage of a tile: the consumers stage and store its pieces; wider ones in fewer steps. */
static double epilogue_seconds(const KGemm *g, const GemmSize *x)
{
    return (0.7e-6 + (g->width > 32 ? 4.5e-9 : 6e-9) * g->bn / gemm_splits(g)) * bulk_share(g, x) + members_seconds(g, x);
}

/* Blocks that share a tile find together twice, and each sends what the others finish: 13.0 us predicted, 13.5 measured for bf16
 * 128 x 2048 x 6144 by twos. */
static double exchange_seconds(const KGemm *g)
{
    double splits = gemm_splits(g);
    return splits > 1 ? 1.2e-6 + 4.0 * g->bm * g->bn * (splits - 1) / splits / 30e9 : 0;
}

/* Where two warpgroups take tiles in turn, one has half the threads for it, and shares the unit with the other's product. */
static double shared_epilogue_seconds(const KGemm *g, const GemmSize *x)
{
    return (1.9e-6 + (g->width > 32 ? 34e-9 : 47e-9) * g->bn) * g->bm / 128 * bulk_share(g, x) + 2 * members_seconds(g, x);
}

/* Bytes a second that a unit loads from the L2 cache; what all load in rows of a stage of half a cache line, or across lines, costs the
 * cache whole lines. */
static double unit_cache_rate(const KGemm *g, uint32_t size) { return 59e9 * (g->bk * size >= 128 ? 1.8 : 1); }
static double cache_rate(const KGemm *g, const GemmSize *x, const Machine *m, uint32_t size)
{
    return unit_cache_rate(g, size) * m->units * (x->aligned ? 1 : 0.45);
}

/* Rows of tiles. Those of a group end somewhere in its last one, in the middle on average. */
static double tiles_down(const GemmSize *x, double height)
{
    double groups = fmin(x->groups, x->m);
    return groups > 0 ? fmax(x->m / height + groups / 2, groups) : ceil_div(x->m, height);
}

double gemm_wgmma_seconds(const KGemm *g, const GemmSize *x, const Machine *m)
{
    static const double fill = 3.0e-6, join = 0.8e-6;                /* the first stages and the last stores; a cluster finds together */
    uint32_t size = dtype_bytes(gemm_piece_dtype(g->format)), terms = gemm_terms(g->format), pieces = terms == 3 ? 2 : 1;
    double cluster = g->cluster, splits = gemm_splits(g), units = gemm_clusters(g, (uint32_t)m->units);
    double tiles = tiles_down(x, g->bm * cluster) * ceil_div(x->n, g->bn / g->parts) * x->batch;
    double waves = ceil_div(tiles, units), busy = fmin(tiles, units);
    double rate = (size == 2 ? m->flops_bf16 : m->flops_tf32) * efficiency(g);
    double work = 2.0 * g->bm * cluster * g->bn * (x->k + splits * g->bk / 2) * terms;
    double loaded = (g->bm * cluster + g->bn) * x->k * size * pieces;                    /* by a cluster: B once */
    double loads = fmax(loaded * busy / cache_rate(g, x, m, size), loaded / (cluster * splits * unit_cache_rate(g, size)));
    double product = fmax(work * units / rate, loads) * (g->cluster > 1 ? 1.01 : 1);
    double epilogue = epilogue_seconds(g, x) + exchange_seconds(g), all = waves * (product + epilogue);
    if (g->pingpong)
        all = waves * fmax(product, (product + shared_epilogue_seconds(g, x)) / 2) + 2 * epilogue;
    double seconds = all + fill + (g->cluster * splits > 1 ? join : 0);
    double memory = x->bytes / (m->copy_bandwidth * (g->bk * size >= 128 ? 0.8 : 0.68));       /* by tiles, not in one stream */
    return fmax(seconds, memory) + m->launch_seconds;
}

/* ---- mma.sync ------------------------------------------------------------------------------------------------------------------ */

/* Operations a second of a unit that is busy. Its warps read each operand from shared memory for their share of a tile alone: the larger
 * the shares, the less. One block alone stands still at its barriers; one of few warps does not fill the pipes. */
static double unit_rate(const KGemm *g, const Machine *m, uint32_t size, double resident)
{
    static const double fragment_bytes = 130e9;
    uint32_t down, across;
    gemm_warps(g, &down, &across);
    bool three = gemm_terms(g->format) == 3;
    double rows = (double)g->bm / down, columns = (double)g->bn / across, read = (rows + columns) / (rows * columns) * size / 2;
    double pipes = (size == 2 ? m->flops_bf16 : m->flops_tf32) * m->mma_rate / m->units * (three ? 0.92 : 0.96) / (1 + 2 * read);
    double alone = resident >= 2 ? 1 : down * across < 8 ? 0.7 : g->bk * size >= 128 ? 0.95 : 0.8;
    return fmin(pipes, fragment_bytes * (three ? 1.1 : 1) / read) * alone * (g->stages < 3 ? 0.9 : 1);
}

double gemm_mma_seconds(const KGemm *g, const GemmSize *x, const Machine *m)
{
    static const double fill = 3.0e-6;
    uint32_t size = dtype_bytes(gemm_piece_dtype(g->format)), terms = gemm_terms(g->format), pieces = terms == 3 ? 2 : 1;
    double tiles = tiles_down(x, g->bm) * ceil_div(x->n, g->bn / g->parts) * x->batch;
    double resident = fmin(gemm_resident(g), ceil_div(tiles, m->units)), waves = ceil_div(tiles, m->units * resident);
    double work = 2.0 * g->bm * g->bn * (x->k + g->bk / 2) * terms, loaded = (g->bm + g->bn) * x->k * size * pieces;
    /* bytes a second that a unit loads from the L2 cache, which is built to suit the memory behind it */
    double cache = (15e9 + 1.4 * m->copy_bandwidth / m->units) * (g->bk * size >= 128 ? 1.8 : 1) * (x->aligned ? 1 : 0.6);
    double product = fmax(work / unit_rate(g, m, size, resident), loaded / cache);
    double epilogue = 0.5e-6 + 4.0 * g->bm * g->bn / 70e9;
    double seconds = waves * resident * (product + epilogue) + fill, memory = x->bytes / (m->copy_bandwidth * 0.8);
    return fmax(seconds, memory) + m->launch_seconds;
}
