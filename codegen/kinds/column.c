/* codegen/kinds/column.c — reductions over dims that are not contiguous, with everything that uses their results along the same
 * dims: neighbouring threads hold neighbouring columns, so that every access is contiguous; TY threads share a column through
 * shared memory, and `split` blocks through memory when columns are few and only the reductions are stored. Reductions run level
 * by level; a block's columns are small enough to be in cache when a later level or the outputs read them again.
 *
 * Columns of a known length may be held instead: every thread has `hold` rows of its columns, unrolled, so that what one level loaded or
 * computed is still in registers for the next and for the outputs, and memory is read once. A block then holds few columns (16 of 2048
 * floats are half of a unit's registers), and a few bytes of every row are slow to read and to write; so the blocks of a cluster share
 * wider columns, a part of the rows each, and exchange their results (cluster.c). Two or more blocks a unit: one stores while another loads.
 *
 * Schedule: tx, ty (threads across and along), vec (columns a thread), split; or hold (rows a thread), cluster, stream. */
#include "codegen/group.h"
#include "codegen/kind.h"

#include <math.h>

enum { RUN = 128, MAX_HOLD = 64, MAX_HELD = 64 };           /* rows that a thread holds, and words */

static bool accepts(const KindProblem *p, const char **why_not)
{
    const Group *g = p->g;
    if (!g->reduces.n || g->reduces.n > 16) {
        *why_not = g->reduces.n ? "too many reductions" : "no reduction";
        return false;
    }
    if ((*why_not = product_inside_refused(p)))
        return false;
    for (uint32_t i = 0; i < g->reduces.n; i++) {
        const Node *n = g->reduces.data[i].node;
        if (reduces_contiguous(n) || reduce_op(n) == OP_NONE) {
            *why_not = "reduces the contiguous dim";
            return false;
        }
    }
    return true;
}

/* Blocks may share a column when all that is stored are the reductions, none of which needs another. */
static bool can_split(const KindProblem *p)
{
    const Group *g = p->g;
    bool ok = dim_is(group_row_count(p->cx->dims, g), 1);
    for (uint32_t i = 0; i < g->reduces.n; i++)
        ok &= !g->reduces.data[i].level && reduced_count(p->cx->dims, g->reduces.data[i].node) == reduced_count(p->cx->dims, g->reduces.data[0].node);
    return ok;
}

/* Strips of 16 columns, which a cluster shares, and a quarter of a unit's registers for what is held of an input. */
bool columns_held(const Machine *m, Dim rows, Dim columns)
{
    return m->target == TARGET_CUDA && dim_is_const(rows) && rows->value <= 512 * m->cluster && dim_typical(columns) * m->cluster >= 16 * m->units;
}

/* Values of an element that stay in registers, in words: the inputs that are read in every row and column of the reductions and outputs. */
static int64_t held_inputs(const KindProblem *p)
{
    const Group *g = p->g;
    GroupAccesses all = group_accesses(p->cx, g);
    Map *seen = map_new(p->cx->scratch);
    int64_t n = 0;
    for (uint32_t i = 0; i < all.n; i++) {
        Dim rows = all.a[i].flat;
        for (uint32_t d = 0; d < g->domain.rank; d++)
            if (g->outer_mask & 1u << d && !dim_is_const(g->sym[d]))
                rows = dim_subst(p->cx->dims, rows, &(DimSubst){g->sym[d], dim_const(p->cx->dims, 0)}, 1);
        if (!dim_is_const(rows) && rows != all.a[i].flat && map_set_ptr(seen, all.a[i].node, p))
            n += dtype_bytes(all.a[i].node->type.dtype) > 4 ? 2 : 1;
    }
    return n;
}

/* Rows of all reductions and of the outputs, where they are one number; 0: they are not, or nothing is read twice. */
static int64_t held_rows(const KindProblem *p)
{
    const Group *g = p->g;
    Dim rows = reduced_count(p->cx->dims, g->reduces.data[0].node), along = group_row_count(p->cx->dims, g);
    bool same = dim_is_const(rows) && (along == rows || dim_is(along, 1)), again = !dim_is(along, 1);
    for (uint32_t i = 0; i < g->reduces.n; i++) {
        same &= reduced_count(p->cx->dims, g->reduces.data[i].node) == rows;
        again |= g->reduces.data[i].level > 0;
    }
    return same && again ? rows->value : 0;
}

static void add(Schedule *out, uint32_t *n, uint32_t max, int64_t tx, int64_t ty, int64_t vec, int64_t split)
{
    if (*n == max || split < 1)
        return;
    Schedule s = {.kind = "column"};
    schedule_set(&s, "tx", tx);
    schedule_set(&s, "ty", ty);
    schedule_set(&s, "vec", vec);
    schedule_set(&s, "split", split);
    for (uint32_t i = 0; i < *n; i++)
        if (schedule_equal(&out[i], &s))
            return;
    out[(*n)++] = s;
}

static double cost(const KindProblem *p, const Schedule *s);

/* Strips of `across` columns, by as few blocks as hold them and keep the device busy: the wider, the more blocks must meet. */
static void add_held(const KindProblem *p, Schedule *out, uint32_t *n, uint32_t max, int64_t vec)
{
    static const int64_t across[] = {64, 32, 128, 16, 256, 8}, threads[] = {256, 512, 128};
    int64_t rows = held_rows(p), values = held_inputs(p), o = dim_typical(group_outer_count(p->cx->dims, p->g));
    Schedule held[32];
    double seconds[32];
    uint32_t kept = 0;
    for (uint32_t i = 0; rows > 1 && values > 0 && i < 18; i++) {
        int64_t tx = across[i % 6] / vec, ty = threads[i / 6] / (tx ? tx : 1), cluster = 1;
        if (tx < 1 || ty < 1 || across[i % 6] >= 2 * o)
            continue;
        double strips = ceil((double)o / (double)across[i % 6]);
        while (cluster < p->m->cluster && ((rows + ty * cluster - 1) / (ty * cluster) * vec * values > MAX_HELD ||
                                           (strips * (double)cluster < 2 * p->m->units && ty * cluster < rows)))
            cluster *= 2;
        int64_t hold = (rows + ty * cluster - 1) / (ty * cluster);
        if (hold > MAX_HOLD || hold * vec * values > MAX_HELD)
            continue;
        Schedule s = {.kind = "column"};
        schedule_set(&s, "tx", tx);
        schedule_set(&s, "ty", ty);
        schedule_set(&s, "vec", vec);
        schedule_set(&s, "hold", hold);
        if (cluster > 1)
            schedule_set(&s, "cluster", cluster);
        double t = cost(p, &s);
        uint32_t at = kept++;
        for (; at > 0 && seconds[at - 1] > t; at--)
            held[at] = held[at - 1], seconds[at] = seconds[at - 1];
        held[at] = s, seconds[at] = t;
    }
    for (uint32_t i = 0; i < kept && i < 8 && *n < max; i++) {
        out[(*n)++] = held[i];
        if (i < 2 && *n < max) {
            schedule_set(&held[i], "stream", 1);
            out[(*n)++] = held[i];
        }
    }
}

static uint32_t space(const KindProblem *p, Schedule *out, uint32_t max)
{
    uint32_t n = 0;
    DimPool *d = p->cx->dims;
    Dim outer = group_outer_count(d, p->g);
    int64_t o = dim_typical(outer), r = dim_typical(reduced_count(d, p->g->reduces.data[0].node));
    if (p->m->target == TARGET_CPU) {
        int64_t vec = o >= 16 ? 16 : 1;
        add(out, &n, max, 1, 1, vec, 1);
        while (vec > 1 && !dim_divides(d, dim_const(d, vec), outer))
            vec /= 2;                                          /* a split needs whole vectors */
        add(out, &n, max, 1, 1, vec, r >= 4096 && can_split(p) ? p->m->units * 2 : 1);
        return n;
    }
    int64_t vec = p->m->vector_bytes / group_widest_bytes(p->g);
    while (vec > 1 && (!dim_divides(d, dim_const(d, vec), outer) || vec * 32 > o))
        vec /= 2;
    add_held(p, out, &n, max, vec);
    /* columns that are read again: so few at a time that all of the device's stay in its cache between */
    double held = 2.0 * p->m->units * 32 * (double)r * group_widest_bytes(p->g);
    if (!dim_is(group_row_count(d, p->g), 1) && o >= 32 && held <= p->m->l2_bytes)
        add(out, &n, max, 32, 32, 1, 1);
    static const struct { int64_t tx, ty; } shape[] = {{32, 8}, {32, 16}, {16, 16}, {32, 4}, {64, 4}};
    for (uint32_t i = 0; i < 5; i++) {
        int64_t blocks = (o + shape[i].tx * vec - 1) / (shape[i].tx * vec), wanted = 2 * p->m->units;
        int64_t split = blocks >= wanted || blocks < 1 ? 1 : (wanted + blocks - 1) / blocks, most = r / (shape[i].ty * 4);
        split = !can_split(p) ? 1 : split > most ? most : split;
        add(out, &n, max, shape[i].tx, shape[i].ty, vec, split < 1 ? 1 : split);
        if (split > 1)
            add(out, &n, max, shape[i].tx, shape[i].ty, vec, split / 2);
        add(out, &n, max, shape[i].tx, shape[i].ty, vec, 1);
    }
    return n;
}

/* What of the bandwidth is left where a piece of a row is as long: memory moves 64 bytes, caches keep lines of 128. */
static double piece_rate(double bytes)
{
    return bytes >= 128 ? 1 : bytes >= 64 ? 0.95 : bytes >= 32 ? 0.8 : 0.5;
}

/* Blocks that a unit runs at once; registers: what is held, and what else a thread needs. */
static int64_t held_blocks(const KindProblem *p, const Schedule *s)
{
    int64_t threads = schedule_get(s, "tx", 1) * schedule_get(s, "ty", 1);
    int64_t registers = schedule_get(s, "hold", 0) * schedule_get(s, "vec", 1) * held_inputs(p) + 40;
    int64_t by_registers = 65536 / (registers * threads), by_threads = p->m->max_threads_unit / threads;
    int64_t blocks = by_registers < by_threads ? by_registers : by_threads;
    return blocks > 8 ? 8 : blocks < 1 ? 1 : blocks;
}

static double held_factor(const KindProblem *p, const Schedule *s)
{
    const Group *g = p->g;
    uint32_t narrow = 8;
    for (uint32_t i = 0; i < g->outputs.n; i++) {
        uint32_t bytes = dtype_bytes(g->outputs.data[i].node->type.dtype);
        narrow = group_outputs_along(g) >> (i < 63 ? i : 63) & 1 && bytes < narrow ? bytes : narrow;
    }
    double across = (double)(schedule_get(s, "tx", 1) * schedule_get(s, "vec", 1));
    double in = (double)dim_typical(g->bytes_read), out = (double)dim_typical(g->bytes_written);
    double moved = (in / piece_rate(across * group_widest_bytes(g)) + out / piece_rate(across * narrow)) / (in + out);
    int64_t blocks = held_blocks(p, s);
    double apart = blocks == 1 ? 1.25 : blocks == 2 ? 1.08 : 1.04;             /* loads of some beside stores of others */
    return moved * apart * (1 + 0.005 * (double)schedule_get(s, "cluster", 1));
}

static double cost(const KindProblem *p, const Schedule *s)
{
    double seconds = group_seconds_memory(p), across = (double)(schedule_get(s, "tx", 1) * schedule_get(s, "vec", 1));
    double columns = (double)dim_typical(group_outer_count(p->cx->dims, p->g));
    double blocks = columns * (double)(schedule_get(s, "split", 1) * schedule_get(s, "cluster", 1)) / across;
    if (schedule_get(s, "hold", 0))
        seconds *= held_factor(p, s);
    else if (p->m->target == TARGET_CUDA)
        seconds *= group_again_factor(p, 2.0 * p->m->units * across / (columns > 1 ? columns : 1));
    if (blocks < p->m->units)
        seconds *= p->m->units / (blocks < 1 ? 1 : blocks);
    return seconds + p->m->launch_seconds * (schedule_get(s, "split", 1) > 1 ? 2 : 1);
}

static Dim column_blocks(const KindProblem *p, const Schedule *s)
{
    DimPool *d = p->cx->dims;
    return dim_ceildiv(d, group_outer_count(d, p->g), dim_const(d, schedule_get(s, "tx", 1) * schedule_get(s, "vec", 1)));
}

static Dim grid(const KindProblem *p, const Schedule *s)
{
    return dim_mul_const(p->cx->dims, column_blocks(p, s), schedule_get(s, "split", 1) * schedule_get(s, "cluster", 1));
}

static uint32_t threads(const KindProblem *p, const Schedule *s)
{
    (void)p;
    return (uint32_t)(schedule_get(s, "tx", 1) * schedule_get(s, "ty", 1));
}

typedef struct {
    KindBuild *b;
    uint32_t tx, ty, vec;
    Dim x, y, lane;                        /* place in the block; this thread's columns (with the lane symbol) */
    KInst *inside;                         /* … exist; NULL: always */
    Dim coords[MAX_RANK];
    KInst *mask;                           /* who stores reduced values */
    int64_t hold;
    Cluster cluster;
    Dim row[MAX_HOLD];                     /* held rows; whether they exist, NULL: always; the same and inside */
    KInst *row_ok[MAX_HOLD], *row_mask[MAX_HOLD];
} Column;

static void finish(void *arg)
{
    Column *c = arg;
    store_some_at(c->b, ~group_outputs_along(c->b->problem.g), c->coords, c->vec, c->mask);
}

/* Rows from, from + step, … below `to`, in runs of RUN rows whose sums are added up: short chains of additions keep rounding small. */
static void walk_rows(KindBuild *b, const GroupReduce *r, uint32_t n, Dim from, Dim to, int64_t step, const Index *at, uint32_t vec,
                      KInst *inside, KInst **acc)
{
    Kernel *k = b->k;
    DimPool *p = k->cx->dims;
    KInst *next[16], *start[16];
    for (uint32_t i = 0; i < n; i++)
        acc[i] = reduce_start(k, r[i].node, vec);
    lower_scope(b->l);
    KInst *runs = k_loop(k, "run", from, to, step * RUN, acc, n, 1);
    for (uint32_t i = 0; i < n; i++)
        start[i] = reduce_start(k, r[i].node, vec);
    lower_scope(b->l);
    KInst *loop = k_loop(k, "r", runs->var, dim_min(p, dim_add_const(p, runs->var, step * RUN), to), step, start, n, 4);
    lower_mask(b->l, inside);
    for (uint32_t i = 0; i < n; i++) {
        const Node *node = r[i].node;
        Index in = index_reduced(p, node, &at[i], loop->var);
        KInst *v = k_splat(k, lower_value(b->l, node->in[0], &in, vec), vec);
        next[i] = reduce_combine(k, node, k_carry(k, loop, i), v);
    }
    lower_mask(b->l, NULL);
    k_loop_end(k, loop, next);
    lower_scope_end(b->l);
    for (uint32_t i = 0; i < n; i++)
        next[i] = reduce_combine(k, r[i].node, k_carry(k, runs, i), k_result(k, loop, i));
    k_loop_end(k, runs, next);
    lower_scope_end(b->l);
    for (uint32_t i = 0; i < n; i++)
        acc[i] = k_result(k, runs, i);
}

/* The same of the rows that are held. */
static void walk_held(Column *c, const GroupReduce *r, uint32_t n, const Index *at, KInst **acc)
{
    Kernel *k = c->b->k;
    for (uint32_t i = 0; i < n; i++)
        acc[i] = reduce_start(k, r[i].node, c->vec);
    for (int64_t j = 0; j < c->hold; j++) {
        lower_mask(c->b->l, c->row_mask[j]);
        for (uint32_t i = 0; i < n; i++) {
            Index in = index_reduced(k->cx->dims, r[i].node, &at[i], c->row[j]);
            KInst *v = k_splat(k, lower_value(c->b->l, r[i].node->in[0], &in, c->vec), c->vec);
            v = k_cast(k, v, compute_type(r[i].node->type.dtype));
            if (c->row_ok[j])
                v = k_select(k, c->row_ok[j], v, reduce_start(k, r[i].node, c->vec));
            acc[i] = reduce_combine(k, r[i].node, acc[i], v);
        }
    }
    lower_mask(c->b->l, NULL);
}

/* Sums over the threads of a column, within warps and then in shared memory: every thread ends with the result of its column. */
static void meet_in_shared(KindBuild *b, const GroupReduce *r, uint32_t n, uint32_t tx, uint32_t ty, uint32_t vec, Dim x, Dim y, KInst **acc)
{
    Kernel *k = b->k;
    DimPool *p = k->cx->dims;
    KInst *speaks = NULL;
    if (tx < 32 && ty > 1 && tx * ty % 32 == 0) {
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t m = 16; m >= tx; m /= 2)
                acc[i] = reduce_combine(k, r[i].node, acc[i], k_shuffle_xor(k, acc[i], (int)m));
        speaks = k_test(k, dim_mod(p, y, dim_const(p, 32 / tx)), dim_const(p, 1), 1);
        y = dim_floordiv(p, b->thread, dim_const(p, 32));
        ty = tx * ty / 32;
    }
    if (ty == 1)
        return;
    Dim lane = vec > 1 ? kernel_lane(p, vec) : dim_const(p, 0), own = dim_add(p, dim_mul_const(p, x, vec), lane);
    uint32_t shared[BLOCK_REDUCES];
    for (uint32_t i = 0; i < n; i++) {
        shared[i] = kernel_shared(k, "partial", acc[i]->type.dtype, tx * ty * vec);
        k_shared_store(k, shared[i], dim_add(p, dim_mul_const(p, y, (int64_t)tx * vec), own), acc[i], speaks);
    }
    k_barrier(k);
    for (uint32_t i = 0; i < n; i++) {
        acc[i] = k_shared_load(k, shared[i], own, vec);
        for (uint32_t j = 1; j < ty; j++)
            acc[i] = reduce_combine(k, r[i].node, acc[i], k_shared_load(k, shared[i], dim_add_const(p, own, (int64_t)j * tx * vec), vec));
    }
}

static void meet_in_cluster(Column *c, const GroupReduce *r, uint32_t n, KInst **acc)
{
    DimPool *p = c->b->k->cx->dims;
    const Node *nodes[BLOCK_REDUCES];
    for (uint32_t i = 0; i < n; i++)
        nodes[i] = r[i].node;
    Dim slot = dim_mul_const(p, c->x, c->vec);
    if (c->vec > 1)
        slot = dim_add(p, slot, kernel_lane(p, c->vec));
    cluster_reduce_all(c->b, &c->cluster, nodes, acc, n, slot, c->tx * c->vec, c->y, c->ty);
}

/* All reductions, level by level, rows [from, to) of each; acc[i] and at[i] of all. */
static void reduce_levels(Column *c, Dim from, Dim to, Index *at, KInst **acc)
{
    KindBuild *b = c->b;
    DimPool *p = b->k->cx->dims;
    const Group *g = b->problem.g;
    for (uint32_t i = 0, n; i < g->reduces.n; i += n) {
        const GroupReduce *r = &g->reduces.data[i];
        Dim rows = reduced_count(p, r->node);
        for (n = 0; i + n < g->reduces.n && r[n].level == r->level && reduced_count(p, r[n].node) == rows; n++)
            at[i + n] = group_at(p, g, &r[n].at, node_rank(r[n].node), c->coords);
        if (c->hold)
            walk_held(c, r, n, at + i, acc + i);
        else
            walk_rows(b, r, n, dim_add(p, from, c->y), to ? to : rows, c->ty, at + i, c->vec, c->inside, acc + i);
        meet_in_shared(b, r, n, c->tx, c->ty, c->vec, c->x, c->y, acc + i);
        meet_in_cluster(c, r, n, acc + i);
        for (uint32_t j = 0; j < n && !to; j++)
            lower_know(b->l, r[j].node, &at[i + j], acc[i + j]);
    }
}

/* Outputs along the reduced dims: each thread stores the rows that it reduced. */
static void store_rows(Column *c)
{
    Kernel *k = c->b->k;
    DimPool *p = k->cx->dims;
    for (int64_t j = 0; j < c->hold; j++) {
        group_coords(p, c->b->problem.g, c->lane, c->row[j], c->coords);
        store_some_at(c->b, group_outputs_along(c->b->problem.g), c->coords, c->vec, c->row_mask[j]);
    }
    if (c->hold)
        return;
    lower_scope(c->b->l);
    KInst *loop = k_loop(k, "r", c->y, group_row_count(p, c->b->problem.g), c->ty, NULL, 0, 4);
    group_coords(p, c->b->problem.g, c->lane, loop->var, c->coords);
    store_some_at(c->b, group_outputs_along(c->b->problem.g), c->coords, c->vec, c->inside);
    k_loop_end(k, loop, NULL);
    lower_scope_end(c->b->l);
}

/* A block of the cluster has rows one behind the other, and its threads take them in turn. */
static bool hold_rows(Column *c)
{
    Kernel *k = c->b->k;
    DimPool *p = k->cx->dims;
    int64_t rows = held_rows(&c->b->problem), step = c->hold * c->ty;
    if (!rows || c->hold > MAX_HOLD || step * c->cluster.blocks < rows)
        return diag_error(k->cx->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, NULL, "illegal schedule: columns of this length are not held");
    for (int64_t j = 0; j < c->hold; j++) {
        c->row[j] = dim_add_const(p, dim_add(p, dim_mul_const(p, c->cluster.rank, step), c->y), j * c->ty);
        KInst *ok = k_test(k, c->row[j], dim_const(p, rows), 1);
        c->row_ok[j] = ok->kind == K_CONST && ok->i ? NULL : ok;
        c->row_mask[j] = mask_and(k, c->row_ok[j], c->inside);
    }
    if (!k->min_blocks)
        k->min_blocks = (int)held_blocks(&c->b->problem, c->b->s);
    return true;
}

/* A vector mask cannot decide a branch: splits need whole vectors of columns. */
static bool finish_split(Column *c, const Index *at, KInst **acc, Dim column, Dim columns, Dim part, int64_t split, KInst *leader)
{
    Kernel *k = c->b->k;
    DimPool *p = k->cx->dims;
    if (!can_split(&c->b->problem) || (c->inside && c->inside->type.lanes > 1))
        return diag_error(k->cx->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, NULL, "illegal schedule: a split needs whole vectors of columns");
    KInst *who = mask_and(k, leader ? leader : k_const(k, (KType){DT_BOOL, 1}, 1), c->inside);
    Dim outer = dim_mul_const(p, dim_add(p, dim_mul_const(p, column, c->tx), c->x), c->vec);
    c->mask = c->inside;
    split_finish(c->b, acc, at, c->vec, outer, group_outer_count(p, c->b->problem.g), part, split, who, column, columns, finish, c);
    return true;
}

static bool build(KindBuild *b)
{
    Kernel *k = b->k;
    DimPool *p = k->cx->dims;
    const Group *g = b->problem.g;
    Column c = {.b = b, .tx = (uint32_t)schedule_get(b->s, "tx", 1), .ty = (uint32_t)schedule_get(b->s, "ty", 1),
                .vec = (uint32_t)schedule_get(b->s, "vec", 1)};
    int64_t split = schedule_get(b->s, "split", 1), blocks = schedule_get(b->s, "cluster", 1);
    c.hold = schedule_get(b->s, "hold", 0);
    if (blocks > (c.hold && split == 1 ? b->problem.m->cluster : 1))
        return diag_error(k->cx->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, NULL, "illegal schedule: no cluster of %lld blocks",
                          (long long)blocks);
    c.cluster = cluster_begin(b, blocks);
    Dim strip = dim_floordiv(p, b->block, dim_const(p, blocks));
    Dim columns = dim_max(p, column_blocks(&b->problem, b->s), dim_const(p, 1)), column = dim_mod(p, strip, columns), part = dim_floordiv(p, strip, columns);
    lower_stream(b->l, schedule_get(b->s, "stream", 0) != 0);
    c.x = dim_mod(p, b->thread, dim_const(p, c.tx));
    c.y = dim_floordiv(p, b->thread, dim_const(p, c.tx));
    Dim outer = dim_mul_const(p, dim_add(p, dim_mul_const(p, column, c.tx), c.x), c.vec);
    c.lane = c.vec > 1 ? dim_add(p, outer, kernel_lane(p, c.vec)) : outer;
    KInst *in = lower_below(b->l, c.lane, group_outer_count(p, g), c.vec);
    c.inside = in->kind == K_CONST && in->i ? NULL : in;
    group_coords(p, g, c.lane, dim_const(p, 0), c.coords);
    Index at[16];
    KInst *acc[16], *leader = c.ty > 1 ? k_test(k, c.y, dim_const(p, 1), 1) : NULL;
    if (split > 1) {
        Dim rows = reduced_count(p, g->reduces.data[0].node), share = dim_ceildiv(p, rows, dim_const(p, split));
        Dim from = dim_mul(p, part, share);
        reduce_levels(&c, from, dim_max(p, dim_min(p, dim_add(p, from, share), rows), from), at, acc);
        return finish_split(&c, at, acc, column, columns, part, split, leader);
    }
    if (c.hold && !hold_rows(&c))
        return false;
    reduce_levels(&c, dim_const(p, 0), NULL, at, acc);
    if (blocks > 1)
        leader = mask_and(k, leader, k_test(k, c.cluster.rank, dim_const(p, 1), 1));
    group_coords(p, g, c.lane, dim_const(p, 0), c.coords);
    c.mask = mask_and(k, leader, c.inside);
    finish(&c);
    if (!dim_is(group_row_count(p, g), 1))
        store_rows(&c);
    return true;
}

const KernelKind kind_column = {
    .name = "column", .accepts = accepts, .space = space, .cost = cost, .grid = grid, .threads = threads, .build = build,
};
