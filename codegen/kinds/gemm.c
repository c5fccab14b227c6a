/* codegen/kinds/gemm.c — matrix products on the tensor cores, with the group's expressions as their epilogue.
 *
 * The main loop is a template (emit/gemm_sm90.cuh with wgmma, emit/gemm_sm80.cuh with mma.sync) around the kernel that is built here:
 * what a warp does with one staged piece of the product, 16 rows by `width` columns, in fp32. Its threads take vectors of neighbouring
 * columns, so what the epilogue loads beside the product, and what it stores, moves in 16 bytes a thread.
 *
 * A group may read two parts of the product side by side (gate and up of stacked projections): a tile then has half its columns from
 * each. Products of split operands (split_matmul) carry their format in their operands' types; which one is allowed was decided by the
 * pass that split them. Of products whose rows are in groups (grouped_matmul) a tile has rows of one, whose end masks them.
 *
 * Schedule: bm, bn (tile of a block), bk (k's a stage), stages, cluster (blocks along M that share B), raster (rows of tiles side by
 * side), width (columns of a part staged at a time); pingpong=1: two warpgroups take tiles in turn; bulk=1: the piece is not staged but
 * worked on in the registers that the products left it in, and what is stored goes out in boxes, by the copy engine. Of mma.sync:
 * warps (that share a tile), resident (blocks that a unit runs at once); mma=1: where there is wgmma (for comparison: never proposed). */
#include "codegen/kinds/gemm_model.h"
#include "codegen/kinds/product.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE_ROWS = 16, WARPGROUP_ROWS = 64, MOST_PASSES = 32 /* over a piece of 128 columns, in vectors of two */ };

/* ---- the problem ------------------------------------------------------------------------------------------------------------- */
typedef struct {
    GemmFormat format;
    Dim m, n, whole, k, batch;           /* n: columns of a part; whole: of the product */
    Dim groups;                          /* of rows; NULL: none */
    uint32_t parts, size, products;      /* bytes of an element; tensor-core products a multiplication */
    bool a_mn, b_mn;                     /* an operand's k does not run along memory */
    bool aligned;                        /* rows of both begin at multiples of 128 bytes */
    MatmulReads reads;
    double rate;                         /* tensor-core operations a second */
} Problem;

static GemmFormat format_of(const Node *n)
{
    DType t = n->in[0]->type.dtype;
    if (n->op != OP_SPLIT_MATMUL)
        return t == DT_BF16 ? GEMM_BF16 : GEMM_F16;
    bool three = node_int(n, ATTR_TERMS, 1) == 3;
    return t == DT_F16 ? (three ? GEMM_3XF16 : GEMM_F16_SCALED) : three ? GEMM_3XTF32 : GEMM_TF32;
}

static bool across_k(const KindProblem *p, uint32_t which)
{
    const Node *n = p->g->matmul;
    MatrixView v;
    bool swapped = node_int(n, which ? ATTR_TRANS_B : ATTR_TRANS_A, 0) != 0;
    return matmul_operand_view(p->cx, n, which, &v) && (which ? swapped == v.trans : swapped != v.trans);
}

static bool is_aligned(const KindProblem *p, uint32_t which, uint32_t size)
{
    MatrixView v;
    return matmul_operand_view(p->cx, p->g->matmul, which, &v) && dim_divides(p->cx->dims, dim_const(p->cx->dims, 128 / size), v.ld);
}

static bool describe(const KindProblem *p, Problem *out)
{
    const Node *n = p->g->matmul;
    Dim whole;
    const Index *at;
    *out = (Problem){.format = format_of(n), .size = dtype_bytes(n->in[0]->type.dtype)};
    matmul_extents(p->cx->dims, n, &out->m, &whole, &out->k, &out->batch);
    uint32_t places = group_places(p->cx, p->g, n, &at);
    if (!matmul_reads(p->cx, p->g, n, at, places, &out->reads))
        return false;
    out->groups = n->op == OP_GROUPED_MATMUL ? n->in[2]->type.shape.d[0] : NULL;
    out->parts = out->reads.parts;
    out->n = out->reads.columns;
    out->whole = whole;
    out->products = gemm_terms(out->format);
    out->a_mn = across_k(p, 0), out->b_mn = across_k(p, 1);
    out->aligned = is_aligned(p, 0, out->size) && is_aligned(p, 1, out->size);
    out->rate = out->size == 2 ? p->m->flops_bf16 : p->m->flops_tf32;
    return true;
}

static bool accepts(const KindProblem *p, const char **why_not)
{
    Problem x;
    *why_not = !p->g->matmul      ? "not a matrix product"
             : !describe(p, &x)   ? "the product is not read element by element or by short reductions along its rows"
                                  : matmul_not_gemm(p->cx, p->g->matmul, p->o);
    return !*why_not;
}

/* Coordinates in the group's domain that read element (row, col) of the product, where it does so without reductions. */
static void domain_at(const KindProblem *p, const Problem *x, Dim at_batch, Dim row, Dim col, Dim *coords)
{
    Index at = product_element(p->cx->dims, p->g->matmul, x->batch, at_batch, x->m, row, col);
    if (x->reads.by_columns)
        memcpy(coords, at.d, sizeof(Dim) * node_rank(p->g->matmul));
    else
        matmul_domain_at(p->cx->dims, p->g, p->g->matmul, &x->reads.at, &at, coords);
}

static bool sixteenths(DimPool *d, Dim elements, DType t) { return dim_divides(d, dim_const(d, 16 / dtype_bytes(t)), elements); }

/* Output i as a matrix of the product's rows and columns, where the copy engine can store it: rows lie in memory as they are, and begin
 * at multiples of 16 bytes. */
static bool output_matrix(const KindProblem *p, const Problem *x, uint32_t i, KMatrix *out)
{
    DimPool *d = p->cx->dims;
    const GroupOutput *o = &p->g->outputs.data[i];
    DType t = o->node->type.dtype;
    Dim row = dim_sym_below(d, "row", x->m), col = dim_sym_below(d, "col", x->n), batch = dim_sym_below(d, "batch", x->batch);
    Dim coords[MAX_RANK], step, rest;
    domain_at(p, x, dim_is(x->batch, 1) ? dim_const(d, 0) : batch, row, col, coords);
    Index at = group_at(d, p->g, &o->at, node_rank(o->node), coords);
    *out = (KMatrix){.buffer = i};
    return (t == DT_F32 || t == DT_F16 || t == DT_BF16) &&
           dim_linear_in(d, index_flatten(d, &o->node->type.shape, &at), col, &step, &rest) && dim_is(step, 1) &&
           dim_linear_in(d, rest, row, &out->ld, &rest) && dim_linear_in(d, rest, batch, &out->stride_batch, &out->offset) &&
           !dim_uses(out->ld, batch) && dim_le(d, x->n, out->ld) && sixteenths(d, out->ld, t) && sixteenths(d, out->offset, t) &&
           sixteenths(d, out->stride_batch, t);
}

static bool bulk_possible(const KindProblem *p, const Problem *x)
{
    KMatrix m;
    bool possible = p->m->wgmma && !x->reads.row && !x->groups && !gemm_scaled(x->format);
    for (uint32_t i = 0; possible && i < p->g->outputs.n; i++)
        possible = output_matrix(p, x, i, &m);
    return possible;
}

/* ---- schedules ----------------------------------------------------------------------------------------------------------------- */
static KGemm shape_of(const KindProblem *p, const Problem *x, const Schedule *s)
{
    return (KGemm){
        .format = x->format, .wgmma = p->m->wgmma && !schedule_get(s, "mma", 0), .parts = x->parts, .a_mn = x->a_mn, .b_mn = x->b_mn,
        .groups = x->groups,
        .bm = (uint32_t)schedule_get(s, "bm", 0), .bn = (uint32_t)schedule_get(s, "bn", 0), .bk = (uint32_t)schedule_get(s, "bk", 0),
        .stages = (uint32_t)schedule_get(s, "stages", 0), .cluster = (uint32_t)schedule_get(s, "cluster", 1),
        .raster = (uint32_t)schedule_get(s, "raster", 8), .width = (uint32_t)schedule_get(s, "width", 32),
        .pingpong = schedule_get(s, "pingpong", 0) != 0, .bulk = schedule_get(s, "bulk", 0) != 0,
        .warps = (uint32_t)schedule_get(s, "warps", 0), .resident = (uint32_t)schedule_get(s, "resident", 0),
    };
}

static double predict(const KindProblem *p, const Problem *x, const Schedule *s)
{
    KGemm g = shape_of(p, x, s);
    GemmSize size = {.m = (double)dim_typical(x->m), .n = (double)dim_typical(x->n), .k = (double)dim_typical(x->k),
                     .batch = (double)dim_typical(x->batch), .aligned = x->aligned,
                     .groups = x->groups ? (double)dim_typical(x->groups) : 0,
                     .bytes = (double)dim_typical(p->g->bytes_read) + (double)dim_typical(p->g->bytes_written)};
    return g.wgmma ? gemm_wgmma_seconds(&g, &size, p->m) : gemm_mma_seconds(&g, &size, p->m);
}

static double cost(const KindProblem *p, const Schedule *s)
{
    Problem x;
    describe(p, &x);
    return predict(p, &x, s);
}

/* Shared memory beside the ring: the staged pieces, or two boxes' worth of each output a warp, whose places are multiples of 1 KB; the
 * table of groups. */
static uint32_t beside(const KindProblem *p, const KGemm *g)
{
    uint32_t bytes = g->bulk ? 1024 : 4 * gemm_staging_count(g);
    for (uint32_t i = 0; g->bulk && i < p->g->outputs.n; i++)
        bytes += 2 * gemm_consumer_warps(g) * PIECE_ROWS * g->width * dtype_bytes(p->g->outputs.data[i].node->type.dtype);
    return bytes + 4 * gemm_table_count(g);
}

static bool fits(const KindProblem *p, const KGemm *g, const char **why)
{
    *why = "more shared memory than a unit of this board has";
    return gemm_resident(g) * (gemm_pipeline_bytes(g) + beside(p, g) + 1024) <= p->m->shared_block + 1024;
}

typedef struct { Schedule s; double seconds; } Tried;

static int by_seconds(const void *a, const void *b)
{
    double x = ((const Tried *)a)->seconds, y = ((const Tried *)b)->seconds;
    return (x > y) - (x < y);
}

typedef struct { uint32_t bm, bn, bk, cluster, width, stages, warps, resident; bool pingpong, bulk; } Tile;        /* stages: at most */

static void try(const KindProblem *p, const Problem *x, Tried *t, uint32_t *n, const Tile *tile)
{
    Schedule s = {.kind = "gemm"};
    schedule_set(&s, "bm", tile->bm);
    schedule_set(&s, "bn", tile->bn);
    schedule_set(&s, "bk", tile->bk);
    schedule_set(&s, "stages", 0);
    schedule_set(&s, "cluster", tile->cluster);
    schedule_set(&s, "raster", 8);
    schedule_set(&s, "width", tile->width);
    if (tile->pingpong)
        schedule_set(&s, "pingpong", 1);
    if (tile->bulk)
        schedule_set(&s, "bulk", 1);
    if (tile->warps) {
        schedule_set(&s, "warps", tile->warps);
        schedule_set(&s, "resident", tile->resident);
    }
    KGemm g = shape_of(p, x, &s);
    g.stages = 2;
    const char *why;
    uint32_t other = beside(p, &g) + 1024, whole = (p->m->shared_block + 1024) / gemm_resident(&g);
    if (!gemm_legal(&g, 0, &why) || other > whole || (x->reads.row && tile->width % x->reads.row))
        return;
    uint32_t room = (whole - other) / gemm_stage_bytes(&g);
    g.stages = room < tile->stages ? room : tile->stages;
    if (g.stages < 2 || !gemm_legal(&g, beside(p, &g), &why) || !fits(p, &g, &why))
        return;
    schedule_set(&s, "stages", g.stages);
    t[*n].s = s;
    t[(*n)++].seconds = predict(p, x, &s);
}

enum { MOST_TRIED = 192 };

/* With wgmma, all there is of a tile: clusters, widths, one after the other or in turn, with and without bulk stores. */
static void try_wgmma(const KindProblem *p, const Problem *x, Tried *t, uint32_t *n, Tile tile)
{
    bool bulk = bulk_possible(p, x);
    for (tile.cluster = 1; tile.cluster <= 2; tile.cluster++)
        for (tile.width = x->reads.row > 64 ? 128 : x->reads.row > 32 ? 64 : 32; tile.width <= (x->reads.row > 64 ? 128 : 64); tile.width *= 2)
            for (int way = 0; way < (bulk ? 4 : 2); way++) {
                tile.pingpong = way & 1, tile.bulk = way & 2;
                try(p, x, t, n, &tile);
            }
}

/* With mma.sync: blocks of eight warps, or of four, of which a unit runs several, that one multiplies while another waits or stores. */
static void try_mma(const KindProblem *p, const Problem *x, Tried *t, uint32_t *n, Tile tile)
{
    static const struct { uint8_t warps, resident; } blocks[] = {{8, 1}, {4, 2}, {4, 3}};
    for (uint32_t i = 0; i < 2 * sizeof blocks / sizeof *blocks; i++) {
        tile.bk = (i % 2 ? 64 : 128) / x->size, tile.stages = i % 2 ? 6 : 4;
        tile.warps = blocks[i / 2].warps, tile.resident = blocks[i / 2].resident;
        try(p, x, t, n, &tile);
    }
}

static bool same_tile(const Schedule *a, const Schedule *b)
{
    return schedule_get(a, "bm", 0) == schedule_get(b, "bm", 0) && schedule_get(a, "bn", 0) == schedule_get(b, "bn", 0) &&
           schedule_get(a, "pingpong", 0) == schedule_get(b, "pingpong", 0);
}

/* The tuner measures the first few: of one tile's variants, which are predicted to be much the same, each makes room for another tile. */
static void sort_apart(Tried *t, uint32_t n)
{
    qsort(t, n, sizeof *t, by_seconds);
    for (uint32_t i = n; i-- > 0; ) {
        uint32_t before = 0;
        for (uint32_t k = 0; k < i; k++)
            before += same_tile(&t[k].s, &t[i].s);
        t[i].seconds *= 1 + 0.015 * before;
    }
    qsort(t, n, sizeof *t, by_seconds);
}

static uint32_t space(const KindProblem *p, Schedule *out, uint32_t max)
{
    static const uint16_t columns[] = {256, 192, 128, 64};
    Tried t[MOST_TRIED];
    uint32_t n = 0;
    Problem x;
    describe(p, &x);
    for (uint32_t bm = WARPGROUP_ROWS; bm <= 192; bm += WARPGROUP_ROWS)
        for (uint32_t i = 0; i < sizeof columns / sizeof *columns; i++) {
            Tile tile = {.bm = bm, .bn = columns[i], .bk = 128 / x.size, .cluster = 1, .stages = 8,
                         .width = x.reads.row > 64 ? 128 : x.reads.row > 32 ? 64 : 32};
            if (p->m->wgmma)
                try_wgmma(p, &x, t, &n, tile);
            else if (bm <= 128)
                try_mma(p, &x, t, &n, tile);
        }
    sort_apart(t, n);
    n = n < max ? n : max;
    for (uint32_t i = 0; i < n; i++)
        out[i] = t[i].s;
    return n;
}

static Dim grid(const KindProblem *p, const Schedule *s)
{
    DimPool *d = p->cx->dims;
    Problem x;
    describe(p, &x);
    KGemm g = shape_of(p, &x, s);
    g.m = x.m, g.n = x.n, g.batch = x.batch;
    int64_t clusters = p->m->units * (int64_t)gemm_resident(&g) / g.cluster;
    return dim_mul_const(d, dim_min(d, gemm_tiles(d, &g), dim_const(d, clusters)), g.cluster);
}

static uint32_t threads(const KindProblem *p, const Schedule *s)
{
    Problem x;
    describe(p, &x);
    KGemm g = shape_of(p, &x, s);
    return gemm_threads(&g);
}

/* ---- operands -------------------------------------------------------------------------------------------------------------------- */
/* Operand `which` of the product as a matrix in a buffer of the kernel; `along_k`: its sums run along memory. */
static KMatrix matrix_of(KindBuild *b, uint32_t which, bool *along_k)
{
    Context *cx = b->k->cx;
    const Node *n = b->problem.g->matmul;
    MatrixView v;
    KMatrix m = {0};
    bool known = matmul_operand_view(cx, n, which, &v) && lower_buffer_of(b->l, v.base, &m.buffer);
    if (!known && lower_buffer_of(b->l, n->in[which], &m.buffer)) {          /* an original that was permuted: stored as it is read */
        const Shape *s = &n->in[which]->type.shape;
        bool each = !dim_is(dim_product(cx->dims, s->d, s->rank - 2), 1);
        v = (MatrixView){.offset = dim_const(cx->dims, 0), .ld = s->d[s->rank - 1]};
        v.stride_batch = each ? dim_mul(cx->dims, s->d[s->rank - 2], v.ld) : v.offset;
        known = true;
    }
    pawl_assert(known, "an operand of the product is not in memory as a matrix");
    bool swapped = node_int(n, which % 2 ? ATTR_TRANS_B : ATTR_TRANS_A, 0) != 0;
    m.offset = v.offset, m.ld = v.ld, m.stride_batch = v.stride_batch;
    *along_k = which % 2 ? swapped != v.trans : swapped == v.trans;
    m.trans = !*along_k;
    return m;
}

static uint32_t add_map(KindBuild *b, const KGemm *g, const KMatrix *m, bool is_b, Dim rows)
{
    PlanTensorMap map = gemm_map(b->k->cx->dims, g, m, is_b, rows);
    vec_push(b->k->arena, &b->k->maps, map);
    return b->k->maps.n - 1;
}

static uint32_t buffer_of(KindBuild *b, const Node *n)
{
    uint32_t buffer;
    bool known = lower_buffer_of(b->l, n, &buffer);
    pawl_assert(known, "an operand of the product is not in memory");
    return buffer;
}

static void bind_operands(KindBuild *b, KGemm *g, const Problem *x)
{
    const Node *n = b->problem.g->matmul;
    bool along_k, split = n->op == OP_SPLIT_MATMUL, lows = split && x->products == 3;
    KMatrix *const piece[4] = {&g->a, &g->b, &g->a_lo, &g->b_lo};
    uint32_t *const map[4] = {&g->map_a, &g->map_b, &g->map_a_lo, &g->map_b_lo};
    g->exact_a.buffer = g->exact_b.buffer = g->a_lo.buffer = g->b_lo.buffer = UINT32_MAX;
    g->map_a = g->map_b = g->map_a_lo = g->map_b_lo = g->inv_a = g->inv_b = UINT32_MAX;
    g->stride_inv_a = g->stride_inv_b = dim_const(b->k->cx->dims, 0);
    g->k_exact = x->k;
    for (uint32_t i = 0; i < (lows ? 4 : 2); i++) {
        *piece[i] = matrix_of(b, i, &along_k);
        if (i == 0)
            g->a_mn = !along_k, g->a_batched = !dim_is(x->batch, 1) && !dim_is(g->a.stride_batch, 0);
        if (i == 1)
            g->b_mn = !along_k, g->b_batched = !dim_is(x->groups ? x->groups : x->batch, 1) && !dim_is(g->b.stride_batch, 0);
    }
    for (uint32_t i = 0; g->wgmma && i < (lows ? 4 : 2); i++)
        *map[i] = add_map(b, g, piece[i], i % 2, i % 2 ? x->whole : x->m);
    uint32_t next = lows ? 4 : 2;
    if (x->groups)
        g->ends = buffer_of(b, n->in[next]);
    if (gemm_scaled(x->format)) {
        DimPool *d = b->k->cx->dims;
        g->inv_a = buffer_of(b, n->in[next]);
        g->inv_b = buffer_of(b, n->in[next + 1]);
        g->stride_inv_a = g->a_batched ? x->m : dim_const(d, 0);
        g->stride_inv_b = g->b_batched ? n->type.shape.d[node_rank(n) - 1] : dim_const(d, 0);
        next += 2;
    }
    if (split) {
        g->exact_a = matrix_of(b, next, &along_k);
        const Node *a = n->in[next];
        g->k_exact = a->type.shape.d[node_rank(a) - (node_int(n, ATTR_TRANS_A, 0) ? 2 : 1)];
        if (next + 1 < n->n_in)
            g->exact_b = matrix_of(b, next + 1, &along_k);
    }
}

/* Where an output's boxes lie and go: `columns` of the piece each, one after the other. */
typedef struct { uint32_t shared, map, columns; } Box;

/* A tensor map for each output, and two sets of boxes for each warp. */
static Box *add_boxes(KindBuild *b, const KGemm *g, const Problem *x)
{
    Kernel *k = b->k;
    DimPool *d = k->cx->dims;
    const Group *group = b->problem.g;
    Box *boxes = arena_new_array(k->arena, Box, group->outputs.n + 1);
    for (uint32_t i = 0; i < group->outputs.n; i++) {
        DType t = group->outputs.data[i].node->type.dtype;
        uint32_t size = dtype_bytes(t), columns = g->width * size > 128 ? 128 / size : g->width;
        KMatrix m;
        bool possible = output_matrix(&b->problem, x, i, &m), batched = !dim_is(x->batch, 1);
        pawl_assert(possible, "output %u has no boxes", i);
        PlanTensorMap map = {.buffer = b->out_buffer[i], .dtype = t, .rank = batched ? 3 : 2, .dims = {x->n, x->m, batched ? x->batch : NULL},
                             .strides = {dim_mul_const(d, m.ld, size), batched ? dim_mul_const(d, m.stride_batch, size) : NULL},
                             .offset = dim_mul_const(d, m.offset, size), .box = {columns, PIECE_ROWS, batched}, .swizzle = columns * size};
        vec_push(k->arena, &k->maps, map);
        boxes[i] = (Box){kernel_shared_swizzled(k, "box", t, 2 * gemm_consumer_warps(g) * PIECE_ROWS * g->width, map.swizzle), k->maps.n - 1, columns};
    }
    return boxes;
}

/* ---- the epilogue ---------------------------------------------------------------------------------------------------------------- */
/* Vectors of 16 bytes of the widest output. */
static uint32_t lanes_of(const Group *g, uint32_t width)
{
    uint32_t widest = 2;
    for (uint32_t i = 0; i < g->outputs.n; i++)
        if (dtype_bytes(g->outputs.data[i].node->type.dtype) > widest)
            widest = dtype_bytes(g->outputs.data[i].node->type.dtype);
    uint32_t lanes = 16 / widest;
    return lanes < 2 ? 2 : lanes > width / 4 ? width / 4 : lanes;
}

/* A vector of neighbouring columns: in the product, in a part of it, in the piece, staged. Always: its columns from `first` on. */
typedef struct { Dim row, first, col, in_row, in_col, place; KInst *mask; } Spot;

typedef struct {
    KindBuild *b;
    Kernel *k;
    DimPool *p;
    const KGemm *g;
    const Problem *x;
    const Node *n;
    Dim piece;                           /* number of the piece among those of its row */
    uint32_t lanes, across, down;        /* of a vector; threads along a row; rows at a time */
    const Box *boxes;                    /* of bulk stores: an output each */
} Finish;

static Spot spot_at(Finish *e, uint32_t pass)
{
    DimPool *p = e->p;
    const KGemm *g = e->g;
    uint32_t over = pass / (PIECE_ROWS / e->down) * e->across * e->lanes;              /* a pass takes `down` rows of the next columns */
    Dim r = dim_add_const(p, dim_floordiv(p, g->lane, dim_const(p, e->across)), pass % (PIECE_ROWS / e->down) * e->down);
    Dim c = dim_add_const(p, dim_mul_const(p, dim_mod(p, g->lane, dim_const(p, e->across)), e->lanes), over);
    Dim row = dim_add(p, g->row, r), first = dim_add(p, dim_mul_const(p, e->piece, g->width), c), l = kernel_lane(p, e->lanes);
    bool vectors = dim_divides(p, dim_const(p, e->lanes), g->n);
    Dim own = dim_mul_const(p, g->warp, g->parts * PIECE_ROWS * (g->width + 8));
    /* the template leaves out pieces that begin past an end of the product */
    bool all_rows = !g->groups && dim_divides(p, dim_const(p, PIECE_ROWS), g->m), all_columns = vectors && dim_lt(p, first, g->n);
    KInst *in_row = all_columns ? NULL : vectors ? k_test(e->k, first, g->n, 1) : k_test(e->k, dim_add(p, first, l), g->n, e->lanes);
    return (Spot){
        .row = row, .first = first, .col = dim_add(p, first, l), .in_row = r, .in_col = dim_add(p, c, l),
        .mask = mask_and(e->k, all_rows ? NULL : k_test(e->k, row, g->groups ? g->end : g->m, 1), in_row),
        .place = dim_add(p, own, dim_add(p, dim_mul_const(p, r, g->width + 8), dim_add(p, c, l))),
    };
}

/* The first element of the warp's boxes that this piece has. */
static Dim own_boxes(const Finish *e)
{
    return dim_mul_const(e->p, dim_add(e->p, dim_mul_const(e->p, e->g->warp, 2), e->g->turn), PIECE_ROWS * e->g->width);
}

/* Element (row, col) of the product by its own coordinates. */
static Index element_at(const Finish *e, Dim row, Dim col)
{
    return product_element(e->p, e->n, e->g->batch, e->g->at_batch, e->g->m, row, col);
}

/* Coordinates in the group's domain; with reductions: position among the outer dims, and along the row. */
static void coords_at(const Finish *e, const Spot *s, Dim *coords)
{
    const Group *group = e->b->problem.g;
    if (e->x->reads.row) {
        Dim n = dim_const(e->p, e->x->reads.row), rows = dim_is(e->g->batch, 1) ? s->row : dim_add(e->p, dim_mul(e->p, e->g->at_batch, e->g->m), s->row);
        Dim outer = dim_add(e->p, dim_mul(e->p, rows, dim_floordiv(e->p, e->g->n, n)), dim_floordiv(e->p, s->first, n));
        group_coords(e->p, group, outer, dim_is(group_row_count(e->p, group), 1) ? dim_const(e->p, 0) : dim_mod(e->p, s->col, n), coords);
        return;
    }
    domain_at(&e->b->problem, e->x, e->g->at_batch, s->row, s->col, coords);
}

/* The symbol of the reductions' rows in a place that they read from; NULL: there is none, or more than it. */
static Dim row_symbol(const Finish *e, const GroupAccess *a)
{
    const Group *group = e->b->problem.g;
    Dim rest = a->flat;
    for (uint32_t d = 0; d < group->domain.rank; d++)
        rest = dim_is_const(group->sym[d]) ? rest : dim_subst(e->p, rest, &(DimSubst){group->sym[d], dim_const(e->p, 0)}, 1);
    return rest->kind == DIM_SYM && rest->lo == 0 && rest->hi == e->x->reads.row - 1 ? rest : NULL;
}

/* What the outputs and reductions need beside the product is on its way while other rows are worked on. */
static void load_early(Finish *e, const Spot *s)
{
    const Group *group = e->b->problem.g;
    GroupAccesses all = group_accesses(e->b->problem.cx, group);
    Dim coords[MAX_RANK], r;
    coords_at(e, s, coords);
    lower_mask(e->b->l, s->mask);
    for (uint32_t i = 0; i < all.n; i++) {
        const Node *n = all.a[i].node;
        Index at = all.a[i].at;
        bool in_bounds = group_access_plain(e->p, group, &all.a[i]);
        if (!in_bounds && e->x->reads.row && (r = row_symbol(e, &all.a[i]))) {
            Dim within = dim_mod(e->p, s->col, dim_const(e->p, e->x->reads.row));
            for (uint32_t d = 0; d < node_rank(n); d++)
                at.d[d] = dim_subst(e->p, at.d[d], &(DimSubst){r, within}, 1);
            in_bounds = true;
        }
        Index from = group_at(e->p, group, &at, node_rank(n), coords);
        for (uint32_t d = 0; d < node_rank(n); d++)
            in_bounds &= from.d[d]->lo >= 0 && all.a[i].at.d[d]->hi < n->type.shape.d[d]->hi;
        if (in_bounds)
            lower_value(e->b->l, n, &from, e->lanes);
    }
    lower_mask(e->b->l, NULL);
}

/* A row's threads are neighbours in a warp: sums over lanes, then over threads. */
static void reduce_rows(Finish *e, const Spot *s)
{
    const Group *group = e->b->problem.g;
    Dim coords[MAX_RANK], within = dim_mod(e->p, s->col, dim_const(e->p, e->x->reads.row));
    coords_at(e, s, coords);
    lower_mask(e->b->l, s->mask);
    for (uint32_t i = 0; i < group->reduces.n; i++) {
        const GroupReduce *r = &group->reduces.data[i];
        Index at = group_at(e->p, group, &r->at, node_rank(r->node), coords), in = index_reduced(e->p, r->node, &at, within);
        KInst *v = k_splat(e->k, lower_value(e->b->l, r->node->in[0], &in, e->lanes), e->lanes);
        v = k_lane_reduce(e->k, reduce_op(r->node), k_cast(e->k, v, compute_type(r->node->type.dtype)));
        lower_know(e->b->l, r->node, &at, block_reduce(e->b, r->node, v, (uint32_t)e->x->reads.row / e->lanes));
    }
    lower_mask(e->b->l, NULL);
}

/* What the outputs are here goes to their boxes. What is past an end of the product is not masked: the copy engine leaves it out. */
static void fill_boxes(Finish *e, const Spot *s, const Dim *coords)
{
    DimPool *p = e->p;
    const Group *group = e->b->problem.g;
    lower_mask(e->b->l, s->mask);
    for (uint32_t i = 0; i < group->outputs.n; i++) {
        const GroupOutput *o = &group->outputs.data[i];
        Index at = group_at(p, group, &o->at, node_rank(o->node), coords);
        KInst *v = k_splat(e->k, lower_value(e->b->l, o->node, &at, e->lanes), e->lanes);
        Dim columns = dim_const(p, e->boxes[i].columns), line = dim_mul_const(p, dim_floordiv(p, s->in_col, columns), PIECE_ROWS);
        Dim place = dim_add(p, dim_mul(p, dim_add(p, line, s->in_row), columns), dim_mod(p, s->in_col, columns));
        k_shared_store(e->k, e->boxes[i].shared, dim_add(p, own_boxes(e), place), v, NULL);
    }
    lower_mask(e->b->l, NULL);
}

/* The piece's boxes of all outputs on their way, as one group. */
static void store_boxes(Finish *e)
{
    DimPool *p = e->p;
    k_bulk_fence(e->k);
    for (uint32_t i = 0; i < e->b->problem.g->outputs.n; i++) {
        const Box *box = &e->boxes[i];
        for (uint32_t c = 0; c < e->g->width; c += box->columns) {
            const Dim at[] = {dim_add_const(p, dim_mul_const(p, e->piece, e->g->width), c), e->g->row, e->g->at_batch};
            k_bulk_store(e->k, box->map, at, box->shared, dim_add_const(p, own_boxes(e), c * PIECE_ROWS));
        }
    }
    k_bulk_commit(e->k);
}

static void finish(Finish *e, const Spot *s, uint32_t pass)
{
    Dim coords[MAX_RANK];
    uint32_t lanes = e->lanes;
    for (uint32_t i = 0; i < e->g->parts; i++) {
        Dim place = dim_add_const(e->p, s->place, i * PIECE_ROWS * (e->g->width + 8));
        Index at = element_at(e, s->row, dim_add(e->p, s->col, e->g->part_start[i]));
        KInst *v = e->g->bulk ? k_sum(e->k, i * e->g->width / 4 + pass) : k_shared_load(e->k, e->g->stage, place, lanes);
        lower_know(e->b->l, e->n, &at, v);
    }
    if (e->x->reads.row)
        reduce_rows(e, s);
    coords_at(e, s, coords);
    const Group *group = e->b->problem.g;
    if (e->g->bulk) {
        fill_boxes(e, s, coords);
        return;
    }
    if (!e->x->reads.row) {
        store_outputs_at(e->b, coords, lanes, s->mask);
        return;
    }
    uint64_t along = group_outputs_along(group), all = group->outputs.n < 64 ? ((uint64_t)1 << group->outputs.n) - 1 : ~(uint64_t)0;
    if (all & along)
        store_some_at(e->b, all & along, coords, lanes, s->mask);
    if (all & ~along) {                                    /* one value a row: its first thread stores it */
        Dim in_row = dim_mod(e->p, e->g->lane, dim_const(e->p, e->x->reads.row / lanes));
        Dim outer[MAX_RANK];
        memcpy(outer, coords, sizeof outer);
        for (uint32_t d = 0; d < group->domain.rank; d++)
            outer[d] = group->outer_mask & 1u << d ? coords[d] : dim_const(e->p, 0);
        store_some_at(e->b, all & ~along, outer, 1, mask_and(e->k, s->mask, k_test(e->k, in_row, dim_const(e->p, 1), 1)));
    }
}

static void epilogue(KindBuild *b, const KGemm *g, const Problem *x, const Box *boxes)
{
    uint32_t lanes = g->bulk ? 2 : lanes_of(b->problem.g, g->width), across = g->bulk ? 4 : g->width / lanes;         /* bulk: see KGemm */
    while (x->reads.row && lanes > 2 && lanes > x->reads.row)
        lanes /= 2, across *= 2;
    Finish e = {.b = b, .k = b->k, .p = b->k->cx->dims, .g = g, .x = x, .n = b->problem.g->matmul, .lanes = lanes, .across = across,
                .down = 32 / across, .boxes = boxes};
    /* a number of its own with a range: that columns are in range, and multiples of the width, can then be proven */
    Dim pieces = dim_ceildiv(e.p, g->n, dim_const(e.p, g->width));
    KInst *number = k_index(e.k, dim_floordiv(e.p, g->col, dim_const(e.p, g->width)), DT_I64, 1);
    e.piece = k_bind(e.k, number, "piece", 0, pieces->hi == INT64_MAX ? INT64_MAX : pieces->hi - 1);
    Spot s[MOST_PASSES];
    uint32_t passes = PIECE_ROWS * g->width / (32 * lanes);
    for (uint32_t i = 0; i < passes; i++) {
        s[i] = spot_at(&e, i);
        load_early(&e, &s[i]);
    }
    if (g->bulk)
        k_bulk_wait(e.k, 1);
    for (uint32_t i = 0; i < passes; i++)
        finish(&e, &s[i], i);
    if (g->bulk)
        store_boxes(&e);
}

static bool build(KindBuild *b)
{
    Kernel *k = b->k;
    DimPool *d = k->cx->dims;
    Problem x;
    describe(&b->problem, &x);
    KGemm *g = arena_new_of(k->arena, KGemm);
    *g = shape_of(&b->problem, &x, b->s);
    g->m = x.m, g->n = x.n, g->k = x.k, g->batch = x.batch;
    for (uint32_t i = 0; i < 2; i++)
        g->part_start[i] = i < x.parts ? x.reads.start[i] : dim_const(d, 0);
    bind_operands(b, g, &x);
    const char *why;
    bool legal = gemm_legal(g, beside(&b->problem, g), &why) && fits(&b->problem, g, &why);
    if (legal && g->bulk && !bulk_possible(&b->problem, &x))
        legal = false, why = "bulk stores are for outputs whose rows are the product's and begin at multiples of 16 bytes";
    if (!legal)
        return diag_error(k->cx->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, NULL, "illegal schedule: %s", why);
    int64_t big = INT64_MAX;
    g->row = dim_sym_fresh(d, "row", 0, x.m->hi == big ? big : x.m->hi + 1024);
    g->col = dim_sym_fresh(d, "col", 0, x.n->hi == big ? big : x.n->hi + 1024);
    g->at_batch = dim_is(x.batch, 1) ? dim_const(d, 0) : dim_sym_below(d, "batch", x.batch);
    g->warp = dim_sym_fresh(d, "warp", 0, gemm_consumer_warps(g) - 1);
    g->lane = dim_sym_fresh(d, "lane_id", 0, 31);
    if (g->bulk)
        g->turn = dim_sym_fresh(d, "turn", 0, 1);
    else
        g->stage = kernel_shared(k, "staged", DT_F32, gemm_staging_count(g));
    if (g->groups) {
        g->table = kernel_shared(k, "groups", DT_I32, gemm_table_count(g));
        g->end = dim_sym_fresh(d, "end", 0, x.m->hi);
    }
    const Box *boxes = g->bulk ? add_boxes(b, g, &x) : NULL;
    k->gemm = g;
    k->cluster = g->cluster;
    epilogue(b, g, &x, boxes);
    return true;
}

const KernelKind kind_gemm = {
    .name = "gemm", .alone = true, .accepts = accepts, .space = space, .cost = cost, .grid = grid, .threads = threads, .build = build,
};
