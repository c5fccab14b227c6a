/* codegen/kinds/matmul.c — matrix products of our own, with any pointwise epilogue: the host's, and a GPU's where no library is.
 *
 * Host: a block computes a tile of mb x nb into a stack array by register tiles, then walks the tile in vectors along n through
 * the group's expressions. Two register tiles: `dot` (both operands contiguous along k, as in a linear layer: vectors along k, lanes
 * summed at the end) and `outer` (vectors along n). Sums run in chunks of RUN so that chains of additions stay short. With `pack`,
 * an outer product first copies b's columns, that many k's of them at a time, in the order in which the register tiles read them:
 * whole pages apart in memory, they would be neighbours in no cache (Goto and van de Geijn, ACM TOMS 34(3), 2008).
 * GPU: 64 x 64 tiles through shared memory, 4 x 4 results a thread.
 *
 * Schedule: mb, nb (tile), mr, nr (register tile; nr in vectors for `outer`), dot, pack. */
#include "codegen/kinds/product.h"

enum { LANES = 16, RUN = 512, GPU_TILE = 64, GPU_K = 16, GPU_THREADS = 256 };

static bool accepts(const KindProblem *p, const char **why_not)
{
    bool pieces = p->g->matmul && p->g->matmul->op == OP_SPLIT_MATMUL;
    if (p->g->matmul && !pieces && !p->g->reduces.n && shape_equal(&p->g->domain, &p->g->matmul->type.shape))
        return true;
    *why_not = pieces ? "a product of pieces" : p->g->matmul ? "parts of a matrix product" : "not a matrix product";
    return false;
}

static void add(Schedule *out, uint32_t *n, uint32_t max, int64_t mb, int64_t nb, int64_t mr, int64_t nr, int64_t dot, int64_t pack)
{
    if (*n == max)
        return;
    Schedule *s = &out[(*n)++];
    *s = (Schedule){.kind = "matmul"};
    schedule_set(s, "mb", mb);
    schedule_set(s, "nb", nb);
    schedule_set(s, "mr", mr);
    schedule_set(s, "nr", nr);
    schedule_set(s, "dot", dot);
    if (!dot)
        schedule_set(s, "pack", pack);
}

static uint32_t space(const KindProblem *p, Schedule *out, uint32_t max)
{
    uint32_t n = 0;
    if (p->m->target == TARGET_CUDA) {
        add(out, &n, max, GPU_TILE, GPU_TILE, 4, 4, 0, 0);
        return n;
    }
    Dim m, nn, k, batch;
    matmul_extents(p->cx->dims, p->g->matmul, &m, &nn, &k, &batch);
    bool dot = product_contiguous_k(p->cx, p->g->matmul, 0) && product_contiguous_k(p->cx, p->g->matmul, 1);
    int64_t groups = p->g->matmul->op == OP_GROUPED_MATMUL ? dim_typical(p->g->matmul->in[2]->type.shape.d[0]) : 1;
    bool few = dim_typical(m) / groups <= 8;
    if (dot) {
        add(out, &n, max, few ? 8 : 32, few ? 16 : 64, 4, 4, 1, 0);
        add(out, &n, max, few ? 8 : 64, few ? 32 : 64, 4, 4, 1, 0);
        add(out, &n, max, few ? 4 : 16, few ? 64 : 128, 2, 4, 1, 0);
    } else if (few) {
        add(out, &n, max, 8, 128, 8, 2, 0, 0);
        add(out, &n, max, 4, 128, 4, 4, 0, 0);
        add(out, &n, max, 8, 64, 4, 2, 0, 0);
    } else {
        int64_t pack = 1024 / dtype_bytes(compute_type(p->g->matmul->type.dtype));        /* 32 KB a register tile's columns */
        add(out, &n, max, 96, 64, 12, 2, 0, pack);
        add(out, &n, max, 64, 96, 8, 3, 0, pack);
        add(out, &n, max, 48, 64, 6, 2, 0, pack);
        add(out, &n, max, 48, 64, 6, 2, 0, 0);
    }
    return n;
}

static Dim tiles(DimPool *p, Dim extent, int64_t tile) { return dim_ceildiv(p, extent, dim_const(p, tile)); }

static double cost(const KindProblem *p, const Schedule *s)
{
    DimPool *d = p->cx->dims;
    Dim m, n, k, batch;
    matmul_extents(d, p->g->matmul, &m, &n, &k, &batch);
    int64_t mb = schedule_get(s, "mb", 1), nb = schedule_get(s, "nb", 1);
    double down = (double)dim_typical(product_row_tiles(d, p->g->matmul, m, mb));
    double blocks = (double)dim_typical(batch) * down * (double)dim_typical(tiles(d, n, nb));
    double memory = group_seconds_memory(p), seconds;
    if (p->m->target == TARGET_CUDA) {                       /* whole tiles are computed, one block after the other on a unit */
        double block = 2.0 * (double)(mb * nb) * (double)dim_typical(k) / (p->m->flops_fma * 0.3 / p->m->units);
        seconds = block * (double)(int64_t)((blocks + p->m->units - 1) / p->m->units);
    } else {
        seconds = (double)dim_typical(p->g->flops) / (p->m->flops_fma * 0.75);
    }
    return (seconds > memory ? seconds : memory) + p->m->launch_seconds;
}

static Dim grid(const KindProblem *p, const Schedule *s)
{
    DimPool *d = p->cx->dims;
    Dim m, n, k, batch;
    matmul_extents(d, p->g->matmul, &m, &n, &k, &batch);
    Dim down = product_row_tiles(d, p->g->matmul, m, schedule_get(s, "mb", 1));
    return dim_mul(d, batch, dim_mul(d, down, tiles(d, n, schedule_get(s, "nb", 1))));
}

static uint32_t threads(const KindProblem *p, const Schedule *s)
{
    (void)s;
    return p->m->target == TARGET_CUDA ? GPU_THREADS : 1;
}

/* ---- operands ---------------------------------------------------------------------------------------------------------------- */
static Dim clamp(Product *x, Dim i, Dim extent) { return dim_min(x->p, i, dim_add_const(x->p, extent, -1)); }

/* Value of operand `which` at (row of the product's m or n, position k), converted to the accumulator's type. */
static KInst *operand(Product *x, uint32_t which, Dim row, Dim k, uint32_t lanes)
{
    const Node *n = x->n, *o = n->in[which];
    const Shape *s = &o->type.shape;
    uint32_t r = s->rank, rn = node_rank(n);
    bool trans = node_int(n, which ? ATTR_TRANS_B : ATTR_TRANS_A, 0) != 0;
    Index at = {0};
    if (which == 0 && node_rank(n->in[1]) == 2 && !trans) {            /* leading dims are rows */
        Shape lead = {.rank = r - 1};
        memcpy(lead.d, s->d, sizeof(Dim) * (r - 1));
        at = index_unflatten(x->p, &lead, row);
        at.d[r - 1] = k;
    } else {
        Shape lead = {.rank = rn - 2};
        memcpy(lead.d, n->type.shape.d, sizeof(Dim) * (rn - 2));
        Index bi = index_unflatten(x->p, &lead, x->at_batch);
        for (uint32_t i = 0; i + 2 < r; i++)
            at.d[i] = n->op == OP_GROUPED_MATMUL ? x->at_batch : bi.d[rn - r + i];
        bool k_last = which == 0 ? !trans : trans;
        at.d[k_last ? r - 2 : r - 1] = row;
        at.d[k_last ? r - 1 : r - 2] = k;
    }
    for (uint32_t i = 0; i < r; i++)
        if (dim_is(s->d[i], 1))
            at.d[i] = dim_const(x->p, 0);
    return k_cast(x->k, k_splat(x->k, lower_value(x->b->l, o, &at, lanes), lanes), x->t);
}

/* ---- host -------------------------------------------------------------------------------------------------------------------- */
typedef KInst *Acc[64];

static KInst *zero(Product *x, uint32_t lanes) { return k_const(x->k, (KType){x->t, (uint8_t)lanes}, 0); }

static KInst *fma_into(Product *x, KInst *acc, KInst *a, KInst *b)
{
    return k_op2(x->k, OP_ADD, acc, k_op2(x->k, OP_MUL, a, b));
}

/* acc += a[rows, k…] * b[cols, k…] for 16 k's (dot), or for one k and nr vectors of columns (outer). */
static void step(Product *x, Dim row, Dim col, Dim k, bool dot, KInst *mask, Acc acc)
{
    KInst *b[8];
    uint32_t la = dot ? LANES : 1;
    lower_mask(x->b->l, mask);
    for (int64_t j = 0; j < x->nr; j++) {
        Dim at = dot ? dim_add_const(x->p, col, j) : dim_add(x->p, dim_add_const(x->p, col, j * LANES), kernel_lane(x->p, LANES));
        if (x->pack) {
            b[j] = k_shared_load(x->k, x->panel, dim_add(x->p, at, dim_mul_const(x->p, k, x->nr * LANES)), LANES);
        } else if (!dot) {                                         /* a mask keeps neighbours neighbours */
            lower_mask(x->b->l, lower_below(x->b->l, at, x->nn, LANES));
            b[j] = operand(x, 1, at, k, LANES);
            lower_mask(x->b->l, NULL);
        } else {
            b[j] = operand(x, 1, clamp(x, at, x->nn), k, LANES);
            b[j] = mask ? k_select(x->k, mask, b[j], zero(x, LANES)) : b[j];
        }
    }
    for (int64_t i = 0; i < x->mr; i++) {
        KInst *a = operand(x, 0, clamp(x, dim_add_const(x->p, row, i), x->m), dim_add(x->p, x->k0, k), la);
        a = mask && dot ? k_select(x->k, mask, a, zero(x, LANES)) : a;
        for (int64_t j = 0; j < x->nr; j++)
            acc[i * x->nr + j] = fma_into(x, acc[i * x->nr + j], k_splat(x->k, a, LANES), b[j]);
    }
    lower_mask(x->b->l, NULL);
}

/* Steps from lo to hi, `by` apart, added to acc. */
static void walk(Product *x, Dim row, Dim col, Dim lo, Dim hi, int64_t by, bool dot, Acc acc)
{
    uint32_t n = (uint32_t)(x->mr * x->nr);
    Acc next;
    lower_scope(x->b->l);
    KInst *loop = k_loop(x->k, "k", lo, hi, by, acc, n, by == 1 ? 2 : 1);
    for (uint32_t i = 0; i < n; i++)
        next[i] = k_carry(x->k, loop, i);
    step(x, row, col, dot ? dim_add(x->p, loop->var, kernel_lane(x->p, LANES)) : loop->var, dot, NULL, next);
    k_loop_end(x->k, loop, next);
    lower_scope_end(x->b->l);
    for (uint32_t i = 0; i < n; i++)
        acc[i] = k_result(x->k, loop, i);
}

static void register_tile(Product *x, Dim row, Dim col, bool dot, Acc acc)
{
    uint32_t n = (uint32_t)(x->mr * x->nr);
    int64_t by = dot ? LANES : 1;
    Dim whole = dim_sub(x->p, x->depth, dim_mod(x->p, x->depth, dim_const(x->p, by)));
    Acc next;
    for (uint32_t i = 0; i < n; i++)
        acc[i] = zero(x, LANES);
    if (dim_le(x->p, x->depth, dim_const(x->p, RUN))) {
        walk(x, row, col, dim_const(x->p, 0), whole, by, dot, acc);
    } else {
        lower_scope(x->b->l);
        KInst *runs = k_loop(x->k, "run", dim_const(x->p, 0), whole, RUN, acc, n, 1);
        Acc part;
        for (uint32_t i = 0; i < n; i++)
            part[i] = zero(x, LANES);
        walk(x, row, col, runs->var, dim_min(x->p, dim_add_const(x->p, runs->var, RUN), whole), by, dot, part);
        for (uint32_t i = 0; i < n; i++)
            next[i] = k_op2(x->k, OP_ADD, k_carry(x->k, runs, i), part[i]);
        k_loop_end(x->k, runs, next);
        lower_scope_end(x->b->l);
        for (uint32_t i = 0; i < n; i++)
            acc[i] = k_result(x->k, runs, i);
    }
    if (whole != x->depth) {
        Dim k = dim_add(x->p, whole, kernel_lane(x->p, LANES));
        step(x, row, col, k, dot, k_test(x->k, k, x->depth, LANES), acc);
    }
}

/* How many register tiles of `each` the block has of its `tile` elements along a dim; loops count them, so that ranges are tight. */
static Dim count_of(Product *x, int64_t tile, int64_t each, Dim extent, Dim first)
{
    return dim_min(x->p, dim_const(x->p, tile / each), dim_ceildiv(x->p, dim_sub(x->p, extent, first), dim_const(x->p, each)));
}

static KInst *open_loop(Product *x, const char *name, Dim count)
{
    lower_scope(x->b->l);
    return k_loop(x->k, name, dim_const(x->p, 0), count, 1, NULL, 0, 1);
}

static void close_loop(Product *x, KInst *loop)
{
    k_loop_end(x->k, loop, NULL);
    lower_scope_end(x->b->l);
}

/* A register tile's sums into the block's tile, from element (row, col) of it. */
static void keep(Product *x, Dim row, Dim col, bool dot, uint32_t tile, Acc acc)
{
    DimPool *p = x->p;
    Kernel *k = x->k;
    for (int64_t i = 0; i < x->mr; i++)
        for (int64_t j = 0; j < x->nr; j++) {
            Dim at = dim_add(p, dim_mul_const(p, dim_add_const(p, row, i), x->nb), dim_add_const(p, col, dot ? j : j * LANES));
            KInst *v = acc[i * x->nr + j];
            at = dot ? at : dim_add(p, at, kernel_lane(p, LANES));
            if (x->pack)
                v = k_op2(k, OP_ADD, k_shared_load(k, tile, at, LANES), v);
            k_shared_store(k, tile, at, dot ? k_lane_reduce(k, OP_ADD, v) : v, NULL);
        }
}

static void host_tiles(Product *x, bool dot, uint32_t tile)
{
    DimPool *p = x->p;
    int64_t width = dot ? x->nr : x->nr * LANES;
    Acc acc;
    KInst *rows = open_loop(x, "i", count_of(x, x->mb, x->mr, x->m, x->row0));
    KInst *cols = open_loop(x, "j", count_of(x, x->nb, width, x->nn, x->col0));
    Dim row = dim_mul_const(p, rows->var, x->mr), col = dim_mul_const(p, cols->var, width);
    register_tile(x, dim_add(p, x->row0, row), dim_add(p, x->col0, col), dot, acc);
    keep(x, row, col, dot, tile, acc);
    close_loop(x, cols);
    close_loop(x, rows);
}

/* Columns of b for `length` k's from x->k0: [register tile][k][column]. */
static void pack_panel(Product *x, Dim length)
{
    DimPool *p = x->p;
    int64_t width = x->nr * LANES;
    KInst *cols = open_loop(x, "j", dim_const(p, x->nb / width)), *ks = open_loop(x, "k", length);
    for (int64_t j = 0; j < x->nr; j++) {
        Dim within = dim_add(p, dim_const(p, j * LANES), kernel_lane(p, LANES));
        Dim col = dim_add(p, x->col0, dim_add(p, dim_mul_const(p, cols->var, width), within));
        lower_mask(x->b->l, lower_below(x->b->l, col, x->nn, LANES));
        KInst *v = operand(x, 1, col, dim_add(p, x->k0, ks->var), LANES);
        lower_mask(x->b->l, NULL);
        Dim at = dim_add(p, dim_mul_const(p, cols->var, x->pack), ks->var);
        k_shared_store(x->k, x->panel, dim_add(p, dim_mul_const(p, at, width), within), v, NULL);
    }
    close_loop(x, ks);
    close_loop(x, cols);
}

static void packed_tiles(Product *x, uint32_t tile)
{
    DimPool *p = x->p;
    int64_t width = x->nr * LANES;
    Acc acc;
    x->panel = kernel_shared(x->k, "panel", x->t, (uint32_t)(x->nb * x->pack));
    KInst *clear = open_loop(x, "e", dim_const(p, x->mb * x->nb / LANES));
    k_shared_store(x->k, tile, dim_add(p, dim_mul_const(p, clear->var, LANES), kernel_lane(p, LANES)), zero(x, LANES), NULL);
    close_loop(x, clear);

    KInst *runs = open_loop(x, "run", dim_ceildiv(p, x->depth, dim_const(p, x->pack)));
    x->k0 = dim_mul_const(p, runs->var, x->pack);
    Dim length = dim_min(p, dim_const(p, x->pack), dim_sub(p, x->depth, x->k0));
    pack_panel(x, length);
    KInst *cols = open_loop(x, "j", count_of(x, x->nb, width, x->nn, x->col0));
    KInst *rows = open_loop(x, "i", count_of(x, x->mb, x->mr, x->m, x->row0));
    Dim row = dim_mul_const(p, rows->var, x->mr);
    for (int64_t i = 0; i < x->mr * x->nr; i++)
        acc[i] = zero(x, LANES);
    walk(x, dim_add(p, x->row0, row), dim_mul_const(p, cols->var, x->pack * width), dim_const(p, 0), length, 1, false, acc);
    keep(x, row, dim_mul_const(p, cols->var, width), false, tile, acc);
    close_loop(x, rows);
    close_loop(x, cols);
    close_loop(x, runs);
    x->k0 = dim_const(p, 0);
}

static void host_epilogue(Product *x, uint32_t tile)
{
    DimPool *p = x->p;
    Kernel *k = x->k;
    lower_scope(x->b->l);
    KInst *rows = k_loop(k, "i", dim_const(p, 0), dim_min(p, dim_const(p, x->mb), dim_sub(p, x->m, x->row0)), 1, NULL, 0, 1);
    lower_scope(x->b->l);
    KInst *cols = k_loop(k, "j", dim_const(p, 0), dim_min(p, dim_const(p, x->nb), dim_sub(p, x->nn, x->col0)), LANES, NULL, 0, 1);
    Dim lane = dim_add(p, cols->var, kernel_lane(p, LANES)), col = dim_add(p, x->col0, lane);
    KInst *in = lower_below(x->b->l, col, x->nn, LANES), *mask = in->kind == K_CONST && in->i ? NULL : in;
    KInst *v = k_shared_load(k, tile, dim_add(p, dim_mul_const(p, rows->var, x->nb), lane), LANES);
    product_finish_at(x, dim_add(p, x->row0, rows->var), col, v, LANES, mask);
    k_loop_end(k, cols, NULL);
    lower_scope_end(x->b->l);
    k_loop_end(k, rows, NULL);
    lower_scope_end(x->b->l);
}

/* ---- GPU --------------------------------------------------------------------------------------------------------------------- */
/* 64 x 16 elements of operand `which` into shared[k][row]; each thread brings four. */
static void gpu_load(Product *x, uint32_t which, uint32_t shared, Dim first, Dim k0)
{
    DimPool *p = x->p;
    Kernel *k = x->k;
    Dim extent = which ? x->nn : x->m;
    for (int64_t j = 0; j < GPU_TILE * GPU_K / GPU_THREADS; j++) {
        Dim e = dim_add_const(p, x->b->thread, j * GPU_THREADS);
        Dim kk = dim_mod(p, e, dim_const(p, GPU_K)), row = dim_floordiv(p, e, dim_const(p, GPU_K));
        Dim at_row = dim_add(p, first, row), at_k = dim_add(p, k0, kk);
        KInst *row_in = k_test(k, at_row, extent, 1), *k_in = k_test(k, at_k, x->depth, 1);
        KInst *mask = k_op2(k, OP_AND, row_in, k_in);
        lower_mask(x->b->l, mask);
        KInst *in = operand(x, which, at_row, at_k, 1), *v = k_select(k, mask, in, zero(x, 1));
        lower_mask(x->b->l, NULL);
        k_shared_store(k, shared, dim_add(p, dim_mul_const(p, kk, GPU_TILE + 4), row), v, NULL);
    }
}

static void gpu_tile(Product *x)
{
    DimPool *p = x->p;
    Kernel *k = x->k;
    uint32_t sa = kernel_shared(k, "tile_a", x->t, GPU_K * (GPU_TILE + 4)), sb = kernel_shared(k, "tile_b", x->t, GPU_K * (GPU_TILE + 4));
    Dim tx = dim_mod(p, x->b->thread, dim_const(p, 16)), ty = dim_floordiv(p, x->b->thread, dim_const(p, 16));
    KInst *acc[16], *next[16], *inner[16], *av[4], *bv[4];
    for (int i = 0; i < 16; i++)
        acc[i] = zero(x, 1);
    lower_scope(x->b->l);
    KInst *loop = k_loop(k, "k", dim_const(p, 0), x->depth, GPU_K, acc, 16, 1);
    gpu_load(x, 0, sa, x->row0, loop->var);
    gpu_load(x, 1, sb, x->col0, loop->var);
    k_barrier(k);
    for (int i = 0; i < 16; i++)
        inner[i] = zero(x, 1);
    for (int64_t kk = 0; kk < GPU_K; kk++) {
        for (int64_t i = 0; i < 4; i++) {
            av[i] = k_shared_load(k, sa, dim_add_const(p, dim_mul_const(p, ty, 4), kk * (GPU_TILE + 4) + i), 1);
            bv[i] = k_shared_load(k, sb, dim_add_const(p, tx, kk * (GPU_TILE + 4) + i * 16), 1);
        }
        for (int i = 0; i < 16; i++)
            inner[i] = fma_into(x, inner[i], av[i / 4], bv[i % 4]);
    }
    for (uint32_t i = 0; i < 16; i++)
        next[i] = k_op2(k, OP_ADD, k_carry(k, loop, i), inner[i]);
    k_barrier(k);
    k_loop_end(k, loop, next);
    lower_scope_end(x->b->l);
    for (uint32_t i = 0; i < 16; i++) {
        Dim row = dim_add(p, x->row0, dim_add_const(p, dim_mul_const(p, ty, 4), i / 4));
        Dim col = dim_add(p, x->col0, dim_add_const(p, tx, 16 * (i % 4)));
        KInst *row_in = k_test(k, row, x->m, 1), *col_in = k_test(k, col, x->nn, 1), *mask = k_op2(k, OP_AND, row_in, col_in);
        product_finish_at(x, row, col, k_result(k, loop, i), 1, mask);
    }
}

static bool build(KindBuild *b)
{
    DimPool *p = b->k->cx->dims;
    Product x = product_new(b);
    x.mb = schedule_get(b->s, "mb", 1), x.nb = schedule_get(b->s, "nb", 1);
    x.mr = schedule_get(b->s, "mr", 1), x.nr = schedule_get(b->s, "nr", 1), x.pack = schedule_get(b->s, "pack", 0);
    bool dot = schedule_get(b->s, "dot", 0) != 0;
    if (x.mr * x.nr > 64 || x.mr < 1 || x.nr < 1 || x.nr > 8 || x.mb % x.mr || x.nb % (dot ? x.nr : x.nr * LANES) || x.nb % LANES ||
        (dot && x.pack))
        return diag_error(b->k->cx->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, NULL, "illegal schedule: tiles do not divide");
    Dim one = dim_const(p, 1);                                 /* an empty product has no blocks, yet its kernel divides by tiles */
    Dim tm = dim_max(p, product_row_tiles(p, x.n, x.m, x.mb), one), tn = dim_max(p, tiles(p, x.nn, x.nb), one);
    Dim per_batch = dim_mul(p, tm, tn);
    x.at_batch = dim_floordiv(p, b->block, per_batch);
    Dim tile = dim_mod(p, b->block, per_batch);
    if (x.n->op == OP_GROUPED_MATMUL)
        product_find_group(&x, dim_mod(p, tile, tm));
    else
        x.row0 = dim_mul_const(p, dim_mod(p, tile, tm), x.mb);
    x.col0 = dim_mul_const(p, dim_floordiv(p, tile, tm), x.nb);
    if (b->problem.m->target == TARGET_CUDA) {
        gpu_tile(&x);
        return true;
    }
    uint32_t shared = kernel_shared(b->k, "tile", x.t, (uint32_t)(x.mb * x.nb));
    if (x.pack)
        packed_tiles(&x, shared);
    else
        host_tiles(&x, dot, shared);
    host_epilogue(&x, shared);
    return true;
}

const KernelKind kind_matmul = {
    .name = "matmul", .accepts = accepts, .space = space, .cost = cost, .grid = grid, .threads = threads, .build = build,
};
