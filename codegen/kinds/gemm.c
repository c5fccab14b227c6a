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
 * worked on in the registers that the products left it in, and what is stored goes out in boxes, by the copy engine; splits (blocks that
 * share the k of a tile, as a cluster, where there are few tiles). Of mma.sync:
 * warps (that share a tile), resident (blocks that a unit runs at once); mma=1: where there is wgmma (for comparison: never proposed). */
#include "codegen/kinds/gemm_epilogue.h"
#include "codegen/kinds/gemm_model.h"
#include "codegen/kinds/product.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WARPGROUP_ROWS = 64, MOST_READERS = 8 };

/* ---- the problem ------------------------------------------------------------------------------------------------------------- */
typedef struct {
    GemmFormat format;
    Dim m, n, whole, k, batch;           /* n: columns of a part, or of all readers; whole: of the product */
    Dim groups;                          /* of rows; NULL: none */
    uint32_t parts, size, products;      /* bytes of an element; tensor-core products a multiplication */
    bool a_mn, b_mn;                     /* an operand's k does not run along memory */
    bool aligned;                        /* rows of both begin at multiples of 128 bytes */
    GemmReader reader[MOST_READERS];     /* groups that read the product: the members, or the group itself */
    uint32_t readers;
    Dim base;                            /* the first column that is computed */
    int64_t row, step;                   /* columns that must be staged together; of which all readers' columns begin at a multiple */
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

/* Where the columns of the readers lie, and which of them one warp needs together. */
static bool find_readers(const KindProblem *p, Problem *out)
{
    DimPool *d = p->cx->dims;
    const Group *g = p->g;
    const Index *at;
    Dim end = dim_const(d, 0);
    if (g->members.n > MOST_READERS)
        return false;
    for (uint32_t i = 0; i < g->members.n || i == 0; i++) {
        GemmReader *r = &out->reader[out->readers++];
        r->g = g->members.n ? g->members.data[i] : g;
        uint32_t places = group_places(p->cx, r->g, g->matmul, &at);
        if (!matmul_reads(p->cx, r->g, g->matmul, at, places, &r->reads))
            return false;
        out->base = i ? dim_min(d, out->base, r->reads.start[0]) : r->reads.start[0];
        end = dim_max(d, end, dim_add(d, r->reads.start[0], r->reads.columns));
        out->row = r->reads.row > out->row ? r->reads.row : out->row;
    }
    out->parts = out->reader[0].reads.parts;
    out->n = g->members.n ? dim_sub(d, end, out->base) : out->reader[0].reads.columns;
    for (out->step = 32; out->step < 128; out->step *= 2)
        for (uint32_t i = 0; i < out->readers && g->members.n; i++)
            if (!dim_divides(d, dim_const(d, 2 * out->step), dim_sub(d, out->reader[i].reads.start[0], out->base)))
                return true;
    return true;
}

static bool describe(const KindProblem *p, Problem *out)
{
    const Node *n = p->g->matmul;
    *out = (Problem){.format = format_of(n), .size = dtype_bytes(n->in[0]->type.dtype)};
    matmul_extents(p->cx->dims, n, &out->m, &out->whole, &out->k, &out->batch);
    if (!find_readers(p, out))
        return false;
    out->groups = n->op == OP_GROUPED_MATMUL ? n->in[2]->type.shape.d[0] : NULL;
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
    Dim at_batch = dim_is(x->batch, 1) ? dim_const(d, 0) : batch;
    Index element = product_element(d, p->g->matmul, x->batch, at_batch, x->m, row, col);
    matmul_coords(d, p->g, p->g->matmul, &x->reader[0].reads, &element, coords);
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
    bool possible = p->m->wgmma && !x->row && x->readers == 1 && !x->groups && !gemm_scaled(x->format);
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
        .pingpong = schedule_get(s, "pingpong", 0) != 0, .bulk = schedule_get(s, "bulk", 0) != 0, .splits = (uint32_t)schedule_get(s, "splits", 1),
        .warps = (uint32_t)schedule_get(s, "warps", 0), .resident = (uint32_t)schedule_get(s, "resident", 0),
    };
}

static double predict(const KindProblem *p, const Problem *x, const Schedule *s)
{
    KGemm g = shape_of(p, x, s);
    GemmSize size = {.m = (double)dim_typical(x->m), .n = (double)dim_typical(x->n), .k = (double)dim_typical(x->k),
                     .batch = (double)dim_typical(x->batch), .aligned = x->aligned, .shared = x->readers > 1,
                     .groups = x->groups ? (double)dim_typical(x->groups) : 0,
                     .bytes = (double)dim_typical(p->g->bytes_read) + (double)dim_typical(p->g->bytes_written)};
    double operands = (size.m + (double)dim_typical(x->whole) * (size.groups ? size.groups : 1)) * size.k * size.batch * x->size;
    size.beside = ((double)dim_typical(p->g->bytes_read) - operands) / (size.m * size.n * size.batch + 1);
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
        bytes += 2 * gemm_consumer_warps(g) * GEMM_PIECE_ROWS * g->width * dtype_bytes(p->g->outputs.data[i].node->type.dtype);
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

typedef struct { uint32_t bm, bn, bk, cluster, splits, width, stages, warps, resident; bool pingpong, bulk; } Tile;        /* stages: at most */

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
    if (tile->splits > 1)
        schedule_set(&s, "splits", tile->splits);
    if (tile->warps) {
        schedule_set(&s, "warps", tile->warps);
        schedule_set(&s, "resident", tile->resident);
    }
    KGemm g = shape_of(p, x, &s);
    KGemm least = g;                                       /* what its ring must hold is seen when its length is known */
    least.stages = 2, least.splits = 1;
    const char *why;
    uint32_t other = beside(p, &g) + 1024, whole = (p->m->shared_block + 1024) / gemm_resident(&g);
    if (!gemm_legal(&least, 0, &why) || other > whole || (x->row && tile->width % x->row) || x->step % tile->width)
        return;
    uint32_t room = (whole - other) / gemm_stage_bytes(&g);
    g.stages = room < tile->stages ? room : tile->stages;
    if (g.stages < 2 || !gemm_legal(&g, beside(p, &g), &why) || !fits(p, &g, &why))
        return;
    schedule_set(&s, "stages", g.stages);
    t[*n].s = s;
    t[(*n)++].seconds = predict(p, x, &s);
}

enum { MOST_TRIED = 336, LARGEST_CLUSTER = 8, LEAST_SHARE = 4 /* stages */ };

/* Columns that are staged at a time, at the least. */
static uint32_t least_width(const Problem *x) { return x->row > 64 ? 128 : x->row > 32 ? 64 : 32; }

/* May blocks share the k of such tiles? There are units for all of them, and it is long enough. */
static bool may_split(const KindProblem *p, const Problem *x, const Tile *tile)
{
    double tiles = ceil((double)dim_typical(x->m) / tile->bm) * ceil((double)dim_typical(x->n) * x->parts / tile->bn) * (double)dim_typical(x->batch);
    return tile->splits * tiles <= p->m->units && dim_typical(x->k) >= LEAST_SHARE * tile->splits * tile->bk;
}

/* With wgmma, all there is of a tile: clusters, widths, one after the other or in turn, with and without bulk stores; shares of k. */
static void try_wgmma(const KindProblem *p, const Problem *x, Tried *t, uint32_t *n, Tile tile)
{
    bool bulk = bulk_possible(p, x);
    for (tile.cluster = 1; tile.cluster <= 2; tile.cluster++)
        for (tile.width = least_width(x); tile.width <= (x->row > 64 ? 128 : 64); tile.width *= 2)
            for (int way = 0; way < (bulk ? 4 : 2); way++) {
                tile.pingpong = way & 1, tile.bulk = way & 2;
                try(p, x, t, n, &tile);
            }
    tile.cluster = 1;
    tile.pingpong = false;
    for (tile.splits = 2; tile.splits <= LARGEST_CLUSTER && may_split(p, x, &tile); tile.splits *= 2)
        for (tile.width = least_width(x); tile.width <= (x->row > 64 ? 128 : 64); tile.width *= 2)
            for (int way = 0; way < (bulk ? 2 : 1); way++) {
                tile.bulk = way;
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
           schedule_get(a, "pingpong", 0) == schedule_get(b, "pingpong", 0) && schedule_get(a, "splits", 1) == schedule_get(b, "splits", 1);
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
            Tile tile = {.bm = bm, .bn = columns[i], .bk = 128 / x.size, .cluster = 1, .stages = 8, .width = least_width(&x)};
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

/* The template counts rows, columns, k and tiles in 31 bits. Where a symbol makes them more, the grid is one that the runtime refuses, as
 * it refuses tensor maps of such sizes. */
static Dim beyond_counting(DimPool *p, const KGemm *g, const Problem *x)
{
    Dim counted[] = {x->m, x->whole, x->k, gemm_tiles(p, g)}, most = dim_const(p, INT32_MAX - 1024), over = dim_const(p, 0);
    for (uint32_t i = 0; i < sizeof counted / sizeof *counted; i++)
        over = dim_max(p, over, dim_floordiv(p, counted[i], most));
    return dim_mul_const(p, over, (int64_t)1 << 31);
}

static Dim grid(const KindProblem *p, const Schedule *s)
{
    DimPool *d = p->cx->dims;
    Problem x;
    describe(p, &x);
    KGemm g = shape_of(p, &x, s);
    g.m = x.m, g.n = x.n, g.batch = x.batch;
    Dim clusters = dim_min(d, gemm_tiles(d, &g), dim_const(d, gemm_clusters(&g, (uint32_t)p->m->units)));
    Dim blocks = dim_mul_const(d, clusters, g.cluster * gemm_splits(&g));
    return dim_max(d, blocks, beyond_counting(d, &g, &x));
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
        MatrixView of_a = matmul_scale_view(b->k->cx, n, next), of_b = matmul_scale_view(b->k->cx, n, next + 1);
        g->inv_a = buffer_of(b, of_a.base);
        g->inv_b = buffer_of(b, of_b.base);
        g->stride_inv_a = g->a_batched ? of_a.stride_batch : g->stride_inv_a;
        g->stride_inv_b = g->b_batched ? of_b.stride_batch : g->stride_inv_b;
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

/* A tensor map for each output, and two sets of boxes for each warp. */
static GemmBox *add_boxes(KindBuild *b, const KGemm *g, const Problem *x)
{
    Kernel *k = b->k;
    DimPool *d = k->cx->dims;
    const Group *group = b->problem.g;
    GemmBox *boxes = arena_new_array(k->arena, GemmBox, group->outputs.n + 1);
    for (uint32_t i = 0; i < group->outputs.n; i++) {
        DType t = group->outputs.data[i].node->type.dtype;
        uint32_t size = dtype_bytes(t), columns = g->width * size > 128 ? 128 / size : g->width;
        KMatrix m;
        bool possible = output_matrix(&b->problem, x, i, &m), batched = !dim_is(x->batch, 1);
        pawl_assert(possible, "output %u has no boxes", i);
        PlanTensorMap map = {.buffer = b->out_buffer[i], .dtype = t, .rank = batched ? 3 : 2, .dims = {x->n, x->m, batched ? x->batch : NULL},
                             .strides = {dim_mul_const(d, m.ld, size), batched ? dim_mul_const(d, m.stride_batch, size) : NULL},
                             .offset = dim_mul_const(d, m.offset, size), .box = {columns, GEMM_PIECE_ROWS, batched}, .swizzle = columns * size};
        vec_push(k->arena, &k->maps, map);
        boxes[i] = (GemmBox){kernel_shared_swizzled(k, "box", t, 2 * gemm_consumer_warps(g) * GEMM_PIECE_ROWS * g->width, map.swizzle), k->maps.n - 1, columns};
    }
    return boxes;
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
        g->part_start[i] = i >= x.parts ? dim_const(d, 0) : x.parts > 1 ? x.reader[0].reads.start[i] : x.base;
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
    const GemmBox *boxes = g->bulk ? add_boxes(b, g, &x) : NULL;
    k->gemm = g;
    k->cluster = g->cluster * gemm_splits(g);
    gemm_epilogue(b, g, x.reader, x.readers, x.base, boxes);
    return true;
}

const KernelKind kind_gemm = {
    .name = "gemm", .alone = true, .members = true, .accepts = accepts, .space = space, .cost = cost, .grid = grid, .threads = threads, .build = build,
};
