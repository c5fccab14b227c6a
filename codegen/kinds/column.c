/* codegen/kinds/column.c — reductions over leading dims: neighbouring threads hold neighbouring columns, so that every load is
 * contiguous; TY threads share a column through shared memory, and `split` blocks through memory when columns are few.
 *
 * Schedule: tx, ty (threads across and along), vec (columns a thread), split. */
#include "codegen/kind.h"

enum { RUN = 128 };

static bool accepts(const KindProblem *p, const char **why_not)
{
    const Group *g = p->g;
    if (!g->reduces.n || g->reduces.n > 16) {
        *why_not = "no reduction";
        return false;
    }
    if (!dim_is(group_row_count(p->cx->dims, g), 1)) {
        *why_not = "the reduction's result is used along the row";
        return false;
    }
    for (uint32_t i = 0; i < g->reduces.n; i++) {
        const Node *n = g->reduces.data[i].node;
        if (node_reduces_axis(n, node_rank(n->in[0]) - 1) || g->reduces.data[i].level || reduce_op(n) == OP_NONE ||
            reduced_count(p->cx->dims, n) != reduced_count(p->cx->dims, g->reduces.data[0].node)) {
            *why_not = "reduces the contiguous dim";
            return false;
        }
    }
    return true;
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
        add(out, &n, max, 1, 1, vec, r >= 4096 ? p->m->units * 2 : 1);
        return n;
    }
    int64_t vec = p->m->vector_bytes / group_widest_bytes(p->g);
    while (vec > 1 && (!dim_divides(d, dim_const(d, vec), outer) || vec * 32 > o))
        vec /= 2;
    static const struct { int64_t tx, ty; } shape[] = {{32, 8}, {32, 16}, {16, 16}, {32, 4}, {64, 4}};
    for (uint32_t i = 0; i < 5; i++) {
        int64_t blocks = (o + shape[i].tx * vec - 1) / (shape[i].tx * vec), wanted = 2 * p->m->units;
        int64_t split = blocks >= wanted ? 1 : (wanted + blocks - 1) / blocks, most = r / (shape[i].ty * 4);
        split = split > most ? most : split;
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

typedef struct { KindBuild *b; Dim coords[MAX_RANK]; uint32_t vec; KInst *mask; } Finish;

static void finish(void *arg)
{
    Finish *f = arg;
    store_outputs_at(f->b, f->coords, f->vec, f->mask);
}

/* Rows from, from + step, … below `to`, in runs of RUN rows whose sums are added up: short chains of additions keep rounding small. */
static void walk_rows(KindBuild *b, Dim from, Dim to, int64_t step, const Index *at, uint32_t vec, KInst *inside, KInst **acc)
{
    Kernel *k = b->k;
    DimPool *p = k->cx->dims;
    const Group *g = b->problem.g;
    uint32_t n = g->reduces.n;
    KInst *next[16], *start[16];
    for (uint32_t i = 0; i < n; i++)
        acc[i] = reduce_start(k, g->reduces.data[i].node, vec);
    lower_scope(b->l);
    KInst *runs = k_loop(k, "run", from, to, step * RUN, acc, n, 1);
    for (uint32_t i = 0; i < n; i++)
        start[i] = reduce_start(k, g->reduces.data[i].node, vec);
    lower_scope(b->l);
    KInst *loop = k_loop(k, "r", runs->var, dim_min(p, dim_add_const(p, runs->var, step * RUN), to), step, start, n, 4);
    lower_mask(b->l, inside);
    for (uint32_t i = 0; i < n; i++) {
        const Node *node = g->reduces.data[i].node;
        Index in = index_reduced(p, node, &at[i], loop->var);
        KInst *v = k_splat(k, lower_value(b->l, node->in[0], &in, vec), vec);
        next[i] = reduce_combine(k, node, k_carry(k, loop, i), v);
    }
    lower_mask(b->l, NULL);
    k_loop_end(k, loop, next);
    lower_scope_end(b->l);
    for (uint32_t i = 0; i < n; i++)
        next[i] = reduce_combine(k, g->reduces.data[i].node, k_carry(k, runs, i), k_result(k, loop, i));
    k_loop_end(k, runs, next);
    lower_scope_end(b->l);
    for (uint32_t i = 0; i < n; i++)
        acc[i] = k_result(k, runs, i);
}

/* Sums over ty in shared memory: the threads with ty = 0 end with the result. */
static void meet_in_shared(KindBuild *b, uint32_t tx, uint32_t ty, uint32_t vec, Dim x, Dim y, KInst **acc)
{
    Kernel *k = b->k;
    DimPool *p = k->cx->dims;
    const Group *g = b->problem.g;
    if (ty == 1)
        return;
    for (uint32_t i = 0; i < g->reduces.n; i++) {
        uint32_t shared = kernel_shared(k, "partial", acc[i]->type.dtype, tx * ty * vec);
        Dim base = dim_mul_const(p, dim_add(p, dim_mul_const(p, y, tx), x), vec);
        Dim lane = vec > 1 ? kernel_lane(p, vec) : dim_const(p, 0);
        k_shared_store(k, shared, dim_add(p, base, lane), acc[i], NULL);
        k_barrier(k);
        Dim own = dim_mul_const(p, x, vec);
        acc[i] = k_shared_load(k, shared, dim_add(p, own, lane), vec);
        for (uint32_t j = 1; j < ty; j++) {
            Dim at = dim_add(p, dim_add_const(p, own, (int64_t)j * tx * vec), lane);
            acc[i] = reduce_combine(k, g->reduces.data[i].node, acc[i], k_shared_load(k, shared, at, vec));
        }
    }
}

static bool build(KindBuild *b)
{
    Kernel *k = b->k;
    DimPool *p = k->cx->dims;
    const Group *g = b->problem.g;
    uint32_t tx = (uint32_t)schedule_get(b->s, "tx", 1), ty = (uint32_t)schedule_get(b->s, "ty", 1);
    uint32_t vec = (uint32_t)schedule_get(b->s, "vec", 1);
    int64_t split = schedule_get(b->s, "split", 1);
    Dim columns = column_blocks(&b->problem, b->s), outer_count = group_outer_count(p, g);
    Dim column = dim_mod(p, b->block, columns), part = dim_floordiv(p, b->block, columns);
    Dim x = dim_mod(p, b->thread, dim_const(p, tx)), y = dim_floordiv(p, b->thread, dim_const(p, tx));
    Dim outer = dim_mul_const(p, dim_add(p, dim_mul_const(p, column, tx), x), vec);
    Dim lane = vec > 1 ? dim_add(p, outer, kernel_lane(p, vec)) : outer;
    KInst *in = lower_below(b->l, lane, outer_count, vec);
    KInst *inside = in->kind == K_CONST && in->i ? NULL : in;

    Finish f = {.b = b, .vec = vec, .mask = inside};
    group_coords(p, g, lane, dim_const(p, 0), f.coords);
    Index at[16];
    for (uint32_t i = 0; i < g->reduces.n; i++)
        at[i] = group_at(p, g, &g->reduces.data[i].at, node_rank(g->reduces.data[i].node), f.coords);
    Dim rows = reduced_count(p, g->reduces.data[0].node), share = dim_ceildiv(p, rows, dim_const(p, split));
    Dim from = dim_mul(p, part, share), to = dim_min(p, dim_add(p, from, share), rows);
    KInst *acc[16];
    walk_rows(b, dim_add(p, from, y), split == 1 ? rows : dim_max(p, to, from), ty, at, vec, inside, acc);
    meet_in_shared(b, tx, ty, vec, x, y, acc);

    KInst *leader = ty > 1 ? k_test(k, y, dim_const(p, 1), 1) : NULL;
    KInst *store = leader && inside ? k_op(k, OP_AND, DT_BOOL, (KInst *[]){leader, inside}, 2) : leader ? leader : inside;
    if (split == 1) {
        f.mask = store;
        split_finish(b, acc, at, vec, outer, outer_count, part, 1, NULL, column, columns, finish, &f);
        return true;
    }
    /* a vector mask cannot decide a branch: leaders beyond the last column do nothing under the mask */
    KInst *scalar = leader ? leader : k_const(k, (KType){DT_BOOL, 1}, 1);
    if (inside && inside->type.lanes > 1)
        return diag_error(k->cx->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, NULL, "illegal schedule: a split needs whole vectors of columns");
    if (inside)
        scalar = k_op(k, OP_AND, DT_BOOL, (KInst *[]){scalar, inside}, 2);
    split_finish(b, acc, at, vec, outer, outer_count, part, split, scalar, column, columns, finish, &f);
    return true;
}

const KernelKind kind_column = {
    .name = "column", .accepts = accepts, .space = space, .cost = cost, .grid = grid, .threads = threads, .build = build,
};
