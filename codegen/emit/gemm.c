/* codegen/emit/gemm.c — sizes of the tensor-core templates: gemm.h. The templates compute the same ones: gemm_sm90.cuh, gemm_sm80.cuh. */
#include "codegen/emit/gemm.h"

enum { PRODUCER_THREADS = 128, UNIT_REGISTERS = 65536, SHARED_LIMIT = 227 * 1024, MAX_STAGES = 16, SPAN = 64 /* elements of an MN-major box */ };

static const struct { const char *name; DType piece; uint32_t terms; bool scaled; } formats[] = {
    [GEMM_BF16] = {"bf16", DT_BF16, 1, false},        [GEMM_F16] = {"f16", DT_F16, 1, false},
    [GEMM_TF32] = {"tf32", DT_F32, 1, false},         [GEMM_F16_SCALED] = {"f16-scaled", DT_F16, 1, true},
    [GEMM_3XF16] = {"3xf16", DT_F16, 3, true},        [GEMM_3XTF32] = {"3xtf32", DT_F32, 3, true},
};

uint32_t gemm_terms(GemmFormat f) { return formats[f].terms; }
bool gemm_scaled(GemmFormat f) { return formats[f].scaled; }
DType gemm_piece_dtype(GemmFormat f) { return formats[f].piece; }
const char *gemm_format_name(GemmFormat f) { return formats[f].name; }

/* Of the ways to cut a tile into warps the one that reads the fewest rows and columns a product; among those the widest. */
void gemm_warps(const KGemm *g, uint32_t *down, uint32_t *across)
{
    uint32_t warps = g->warps ? g->warps : g->bm * g->bn <= 64 * 64 ? 4 : 8, best = UINT32_MAX, least = g->parts * g->width;
    *down = *across = 0;
    for (uint32_t n = 1; n <= warps && least && g->bn % (n * least) == 0; n *= 2) {
        uint32_t m = warps / n < g->bm / 16 ? warps / n : g->bm / 16, around = m ? g->bm / m + g->bn / n : UINT32_MAX;
        if (around < best)
            best = around, *down = m, *across = n;
    }
}

uint32_t gemm_resident(const KGemm *g) { return g->resident && !g->wgmma ? g->resident : 1; }

uint32_t gemm_splits(const KGemm *g) { return g->splits && g->wgmma ? g->splits : 1; }

/* A cluster lies within a group of units (GPC), of which there are 16 or a few more in each: those are left over by clusters of 4 and 8. */
uint32_t gemm_clusters(const KGemm *g, uint32_t units)
{
    enum { GROUP = 16 };
    uint32_t blocks = g->cluster * gemm_splits(g), whole = blocks > 2 && units > GROUP ? units / GROUP * GROUP : units;
    return whole * gemm_resident(g) / blocks;
}

uint32_t gemm_consumer_warps(const KGemm *g)
{
    uint32_t down, across;
    if (g->wgmma)
        return g->pingpong ? 8 : g->bm / 16;
    gemm_warps(g, &down, &across);
    return down * across;
}

uint32_t gemm_threads(const KGemm *g) { return (g->wgmma ? PRODUCER_THREADS : 0) + 32 * gemm_consumer_warps(g); }
uint32_t gemm_staging_count(const KGemm *g) { return g->bulk ? 0 : gemm_consumer_warps(g) * g->parts * 16 * (g->width + 8); }
uint32_t gemm_table_count(const KGemm *g) { return g->groups ? 2 * ((uint32_t)g->groups->value + 2) : 0; }

uint32_t gemm_stage_bytes(const KGemm *g)
{
    uint32_t pieces = gemm_terms(g->format) == 3 ? 2 : 1;
    return pieces * (g->bm + g->bn) * g->bk * dtype_bytes(gemm_piece_dtype(g->format));
}

/* Of wgmma: two barriers of 8 bytes a stage, after the ring. */
uint32_t gemm_pipeline_bytes(const KGemm *g)
{
    return g->stages * gemm_stage_bytes(g) + (g->wgmma ? (g->stages * 16 + 127) & ~127u : 0);
}

static bool refuse(const char **why, const char *text)
{
    *why = text;
    return false;
}

/* Registers a thread: bn / 2 accumulators for each 64 rows of a warpgroup, three times that for three terms. Three warpgroups have 160
 * registers a thread, two 232. */
static bool registers_suffice(const KGemm *g)
{
    uint32_t three = gemm_terms(g->format) == 3;
    if (g->pingpong)
        return g->bm * g->bn <= (three ? 64 * 128 : 128 * 192);
    if (g->bm == 192)
        return g->bn <= (three ? 64 : 192);
    return g->bn <= (three ? 128 : 256);
}

/* With bulk stores a piece is in registers beside the sums, and what the body makes of it. */
static bool piece_fits(const KGemm *g)
{
    uint32_t sums = g->pingpong ? g->bm * g->bn / 128 : g->bn / 2, held = g->parts * g->width / 2, own = 24;
    return sums + held + own <= (!g->pingpong && g->bm == 192 ? 160 : 232);
}

/* What a block receives of its part of the tile from the others that share it, in its ring. */
static uint32_t exchange_bytes(const KGemm *g)
{
    uint32_t splits = gemm_splits(g), pieces = g->bn / g->parts / g->width;
    return (splits - 1) * ((pieces + splits - 1) / splits) * g->parts * g->width * g->bm * 4;
}

static bool splits_legal(const KGemm *g, const char **why)
{
    uint32_t s = gemm_splits(g);
    if (s != 1 && s != 2 && s != 4 && s != 8)
        return refuse(why, "k is shared by 1, 2, 4 or 8 blocks");
    if (s > 1 && (g->cluster > 1 || g->pingpong || g->groups))
        return refuse(why, "blocks that share k share no columns, their warpgroups one tile, and rows are in no groups");
    if (exchange_bytes(g) > g->stages * gemm_stage_bytes(g))
        return refuse(why, "the ring is too small for the sums of the other blocks");
    return true;
}

static bool power_of_two(uint32_t x, uint32_t from, uint32_t to) { return x >= from && x <= to && !(x & (x - 1)); }

/* mma.sync: a thread holds 32nds of its warp's share of the tile, with three terms those of the corrections, too, and beside that
 * fragments and addresses. */
static bool sm80_registers_suffice(const KGemm *g)
{
    uint32_t down, across;
    gemm_warps(g, &down, &across);
    uint32_t sums = g->bm * g->bn / (32 * down * across) * (gemm_terms(g->format) == 3 ? 2 : 1);
    uint32_t each = UNIT_REGISTERS / (32 * down * across * gemm_resident(g));
    return sums + 90 <= (each < 255 ? each : 255);
}

static bool sm80_legal(const KGemm *g, uint32_t other, const char **why)
{
    if (g->bulk)
        return refuse(why, "no bulk stores without wgmma");
    uint32_t bytes = dtype_bytes(gemm_piece_dtype(g->format));
    if (!power_of_two(g->bm, 64, 128) || !power_of_two(g->bn, 64, 256))
        return refuse(why, "bm is 64 or 128, bn 64, 128 or 256");
    if ((g->parts != 1 && g->parts != 2) || !power_of_two(g->width, 32, 128) || g->bn % (g->parts * g->width))
        return refuse(why, "pieces of 32, 64 or 128 columns divide bn / parts");
    if ((g->warps && g->warps != 4 && g->warps != 8) || g->resident > 4)
        return refuse(why, "4 or 8 warps, up to 4 blocks a unit");
    if (!sm80_registers_suffice(g))
        return refuse(why, "the tile takes more registers than there are");
    if ((g->a_mn || g->b_mn) && bytes != 2)
        return refuse(why, "operands contiguous along M or N need 2-byte elements");
    if (g->bk * bytes != 64 && g->bk * bytes != 128)
        return refuse(why, "bk is 64 or 128 bytes");
    if (g->stages < 2 || g->stages > MAX_STAGES)
        return refuse(why, "2 to 16 stages");
    if (g->cluster != 1 || !g->raster)
        return refuse(why, "no clusters without wgmma");
    if (gemm_resident(g) * (gemm_pipeline_bytes(g) + other + 1024) > SHARED_LIMIT + 1024)
        return refuse(why, "more shared memory than a unit has");
    return true;
}

bool gemm_legal(const KGemm *g, uint32_t other, const char **why)
{
    if (!g->wgmma)
        return sm80_legal(g, other, why);
    uint32_t bytes = dtype_bytes(gemm_piece_dtype(g->format)), row = g->bk * bytes, share = g->bn / g->parts / g->cluster;
    bool mn = g->a_mn || g->b_mn;
    if (g->bm % 64 || !g->bm || g->bm > 192)
        return refuse(why, "bm is 64, 128 or 192");
    if (g->pingpong && g->bm > (gemm_terms(g->format) == 3 ? 64 : 128))
        return refuse(why, "two warpgroups in turn: up to 128 rows, 64 with three terms");
    if (g->bn % 32 || !g->bn || g->bn > 256 || !registers_suffice(g))
        return refuse(why, "bn takes more registers than there are");
    if (mn && (bytes != 2 || g->bk != SPAN))
        return refuse(why, "operands contiguous along M or N need 2-byte elements and bk 64");
    if (row != 64 && row != 128)
        return refuse(why, "bk is 64 or 128 bytes");
    if (g->stages < 2 || g->stages > MAX_STAGES)
        return refuse(why, "2 to 16 stages");
    if ((g->cluster != 1 && g->cluster != 2 && g->cluster != 4) || !g->raster || g->raster % g->cluster)
        return refuse(why, "clusters of 1, 2 or 4 blocks, which divide raster");
    if ((g->parts != 1 && g->parts != 2) || (g->width != 32 && g->width != 64 && g->width != 128) || g->bn % (g->parts * g->width))
        return refuse(why, "pieces of 32, 64 or 128 columns divide bn / parts");
    if (g->bulk && gemm_scaled(g->format))
        return refuse(why, "bulk stores are for sums that nothing scales or repairs");
    if (g->bulk && !piece_fits(g))
        return refuse(why, "a piece beside the sums takes more registers than there are");
    if (g->bulk && g->groups)
        return refuse(why, "a box of bulk stores may have rows of two groups");
    if (share % 8 || (g->b_mn && share % SPAN))
        return refuse(why, "a block's share of a part of B is a multiple of 8 columns, of 64 where they are contiguous");
    if (gemm_pipeline_bytes(g) + other > SHARED_LIMIT)
        return refuse(why, "more shared memory than a block can have");
    return splits_legal(g, why);
}

Dim gemm_tiles(DimPool *p, const KGemm *g)
{
    Dim height = dim_const(p, (int64_t)g->bm * g->cluster), across = dim_ceildiv(p, g->n, dim_const(p, g->bn / g->parts));
    Dim down = g->groups ? dim_min(p, g->m, dim_add(p, dim_floordiv(p, g->m, height), dim_add_const(p, g->groups, 1)))
                         : dim_ceildiv(p, g->m, height);
    return dim_mul(p, dim_mul(p, down, across), g->batch);
}

PlanTensorMap gemm_map(DimPool *p, const KGemm *g, const KMatrix *x, bool is_b, Dim rows)
{
    DType t = gemm_piece_dtype(g->format);
    uint32_t bytes = dtype_bytes(t), share = is_b ? g->bn / g->parts / g->cluster : g->bm;
    bool mn = is_b ? g->b_mn : g->a_mn, batched = is_b ? g->b_batched : g->a_batched;
    PlanTensorMap m = {.buffer = x->buffer, .dtype = t, .rank = batched ? 3 : 2, .offset = dim_mul_const(p, x->offset, bytes)};
    m.dims[0] = mn ? rows : g->k;
    m.dims[1] = mn ? g->k : rows;
    m.dims[2] = is_b && g->groups ? g->groups : g->batch;
    m.strides[0] = dim_mul_const(p, x->ld, bytes);
    m.strides[1] = batched ? dim_mul_const(p, x->stride_batch, bytes) : NULL;
    m.box[0] = mn ? SPAN : g->bk;
    m.box[1] = mn ? g->bk : share;
    m.box[2] = 1;
    m.swizzle = mn ? 128 : g->bk * bytes;
    if (!batched)
        m.dims[2] = NULL, m.box[2] = 0;
    return m;
}
