/* codegen/kinds/column.c — reductions over dims that are not contiguous, with everything that uses their results along the same
 * dims: neighbouring threads hold neighbouring columns, so that every access is contiguous; TY threads share a column through
 * shared memory, and `split` blocks through memory when columns are few and only the reductions are stored. Reductions run level
 * by level; a block's columns are small enough to be in cache when a later level or the outputs read them again.
 *
 * Schedule: tx, ty (threads across and along), vec (columns a thread), split. */
#include "codegen/kind.h"

enum { RUN = 128 };

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

static double cost(const KindProblem *p, const Schedule *s)
{
    double seconds = group_seconds_memory(p);
    double blocks = (double)dim_typical(group_outer_count(p->cx->dims, p->g)) * (double)schedule_get(s, "split", 1) /
                    (double)(schedule_get(s, "tx", 1) * schedule_get(s, "vec", 1));
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
    return dim_mul_const(p->cx->dims, column_blocks(p, s), schedule_get(s, "split", 1));
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

/* Sums over ty in shared memory: every thread ends with the result of its column. */
static void meet_in_shared(KindBuild *b, const GroupReduce *r, uint32_t n, uint32_t tx, uint32_t ty, uint32_t vec, Dim x, Dim y, KInst **acc)
{
    Kernel *k = b->k;
    DimPool *p = k->cx->dims;
    if (ty == 1)
        return;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t shared = kernel_shared(k, "partial", acc[i]->type.dtype, tx * ty * vec);
        Dim base = dim_mul_const(p, dim_add(p, dim_mul_const(p, y, tx), x), vec);
        Dim lane = vec > 1 ? kernel_lane(p, vec) : dim_const(p, 0);
        k_shared_store(k, shared, dim_add(p, base, lane), acc[i], NULL);
        k_barrier(k);
        Dim own = dim_mul_const(p, x, vec);
        acc[i] = k_shared_load(k, shared, dim_add(p, own, lane), vec);
        for (uint32_t j = 1; j < ty; j++) {
            Dim at = dim_add(p, dim_add_const(p, own, (int64_t)j * tx * vec), lane);
            acc[i] = reduce_combine(k, r[i].node, acc[i], k_shared_load(k, shared, at, vec));
        }
    }
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
        walk_rows(b, r, n, dim_add(p, from, c->y), to ? to : rows, c->ty, at + i, c->vec, c->inside, acc + i);
        meet_in_shared(b, r, n, c->tx, c->ty, c->vec, c->x, c->y, acc + i);
        for (uint32_t j = 0; j < n && !to; j++)
            lower_know(b->l, r[j].node, &at[i + j], acc[i + j]);
    }
}

/* Outputs along the reduced dims: each thread stores the rows that it reduced. */
static void store_rows(Column *c)
{
    Kernel *k = c->b->k;
    DimPool *p = k->cx->dims;
    lower_scope(c->b->l);
    KInst *loop = k_loop(k, "r", c->y, group_row_count(p, c->b->problem.g), c->ty, NULL, 0, 4);
    group_coords(p, c->b->problem.g, c->lane, loop->var, c->coords);
    store_some_at(c->b, group_outputs_along(c->b->problem.g), c->coords, c->vec, c->inside);
    k_loop_end(k, loop, NULL);
    lower_scope_end(c->b->l);
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
    int64_t split = schedule_get(b->s, "split", 1);
    Dim columns = dim_max(p, column_blocks(&b->problem, b->s), dim_const(p, 1)), column = dim_mod(p, b->block, columns), part = dim_floordiv(p, b->block, columns);
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
    reduce_levels(&c, dim_const(p, 0), NULL, at, acc);
    c.mask = mask_and(k, leader, c.inside);
    finish(&c);
    if (!dim_is(group_row_count(p, g), 1))
        store_rows(&c);
    return true;
}

const KernelKind kind_column = {
    .name = "column", .accepts = accepts, .space = space, .cost = cost, .grid = grid, .threads = threads, .build = build,
};
