/* codegen/kinds/full.c — few long reductions (a whole tensor, or a handful of rows): every row is split over many blocks.
 *
 * Schedule: threads, vec, split (blocks a row), loop (vectors a step). */
#include "codegen/kind.h"

static bool accepts(const KindProblem *p, const char **why_not)
{
    const Group *g = p->g;
    if (!g->reduces.n || g->reduces.n > 16 || !dim_is(group_row_count(p->cx->dims, g), 1)) {
        *why_not = g->reduces.n ? "the reduction's result is used along the row" : "no reduction";
        return false;
    }
    if ((*why_not = product_inside_refused(p)))
        return false;
    Dim length = reduced_count(p->cx->dims, g->reduces.data[0].node);
    for (uint32_t i = 0; i < g->reduces.n; i++) {
        const GroupReduce *r = &g->reduces.data[i];
        if (r->level || reduce_op(r->node) == OP_NONE || reduced_count(p->cx->dims, r->node) != length) {
            *why_not = "its reductions depend on each other or differ in length";
            return false;
        }
    }
    if (dim_typical(length) < 8192) {
        *why_not = "short rows";
        return false;
    }
    return true;
}

static uint32_t space(const KindProblem *p, Schedule *out, uint32_t max)
{
    uint32_t n = 0;
    DimPool *d = p->cx->dims;
    Dim length = reduced_count(d, p->g->reduces.data[0].node);
    int64_t rows = dim_typical(group_outer_count(d, p->g)), r = dim_typical(length);
    bool cpu = p->m->target == TARGET_CPU;
    int64_t vec = cpu ? 16 : p->m->vector_bytes / group_widest_bytes(p->g);
    while (vec > 1 && !dim_divides(d, dim_const(d, vec), length))
        vec /= 2;
    static const int64_t per_unit[] = {4, 2, 8, 1};
    for (uint32_t i = 0; i < 4 && n < max; i++) {
        int64_t threads = cpu ? 1 : 512, split = (p->m->units * per_unit[i] + rows - 1) / rows, most = r / (threads * vec * 4);
        split = split > most ? most : split;
        Schedule s = {.kind = "full"};
        schedule_set(&s, "threads", threads);
        schedule_set(&s, "vec", vec);
        schedule_set(&s, "split", split < 1 ? 1 : split);
        schedule_set(&s, "loop", 4);
        bool known = false;
        for (uint32_t j = 0; j < n; j++)
            known |= schedule_equal(&out[j], &s);
        if (!known)
            out[n++] = s;
    }
    return n;
}

static double cost(const KindProblem *p, const Schedule *s)
{
    double blocks = (double)dim_typical(group_outer_count(p->cx->dims, p->g)) * (double)schedule_get(s, "split", 1);
    double seconds = group_seconds_memory(p);
    if (blocks < p->m->units)
        seconds *= p->m->units / blocks;
    if (!reduces_contiguous(p->g->reduces.data[0].node))
        seconds *= p->m->target == TARGET_CUDA ? 8 : 2;      /* a sector, or a line, for every element */
    return seconds + p->m->launch_seconds * (schedule_get(s, "split", 1) > 1 ? 2 : 1);
}

static Dim grid(const KindProblem *p, const Schedule *s)
{
    return dim_mul_const(p->cx->dims, group_outer_count(p->cx->dims, p->g), schedule_get(s, "split", 1));
}

static uint32_t threads(const KindProblem *p, const Schedule *s)
{
    (void)p;
    return (uint32_t)schedule_get(s, "threads", 1);
}

typedef struct { KindBuild *b; Dim coords[MAX_RANK]; KInst *mask; } Finish;

static void finish(void *arg)
{
    Finish *f = arg;
    store_outputs_at(f->b, f->coords, 1, f->mask);
}

static bool build(KindBuild *b)
{
    Kernel *k = b->k;
    DimPool *p = k->cx->dims;
    const Group *g = b->problem.g;
    uint32_t vec = (uint32_t)schedule_get(b->s, "vec", 1), unroll = (uint32_t)schedule_get(b->s, "loop", 4), n = g->reduces.n;
    int64_t split = schedule_get(b->s, "split", 1), block = schedule_get(b->s, "threads", 1);
    if (unroll > 8 || n * unroll > 64)
        return diag_error(k->cx->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, NULL, "illegal schedule: too many accumulators");
    Dim rows = group_outer_count(p, g), length = reduced_count(p, g->reduces.data[0].node);
    Dim row = dim_floordiv(p, b->block, dim_const(p, split)), part = dim_mod(p, b->block, dim_const(p, split));
    Finish f = {.b = b};
    group_coords(p, g, row, dim_const(p, 0), f.coords);
    Index at[16];
    KInst *acc[64], *next[64], *sum[16];
    for (uint32_t i = 0; i < n; i++) {
        at[i] = group_at(p, g, &g->reduces.data[i].at, node_rank(g->reduces.data[i].node), f.coords);
        for (uint32_t j = 0; j < unroll; j++)
            acc[i * unroll + j] = reduce_start(k, g->reduces.data[i].node, vec);
    }
    /* step s of this block covers elements ((s * split + part) * threads * unroll + j * threads + thread) * vec */
    Dim steps = dim_ceildiv(p, length, dim_const(p, split * block * unroll * vec));
    lower_scope(b->l);
    KInst *loop = k_loop(k, "step", dim_const(p, 0), steps, 1, acc, n * unroll, 1);
    for (uint32_t j = 0; j < unroll; j++) {
        Dim chunk = dim_add(p, dim_mul_const(p, loop->var, split), part);
        Dim v = dim_add(p, dim_mul_const(p, dim_add_const(p, dim_mul_const(p, chunk, unroll), j), block), b->thread);
        Dim e = dim_mul_const(p, v, vec);
        e = vec > 1 ? dim_add(p, e, kernel_lane(p, vec)) : e;
        KInst *in = lower_below(b->l, e, length, vec), *inside = in->kind == K_CONST && in->i ? NULL : in;
        lower_mask(b->l, inside);
        for (uint32_t i = 0; i < n; i++) {
            const Node *node = g->reduces.data[i].node;
            Index from = index_reduced(p, node, &at[i], e);
            KInst *x = k_cast(k, k_splat(k, lower_value(b->l, node->in[0], &from, vec), vec), compute_type(node->type.dtype));
            x = inside ? k_select(k, inside, x, reduce_start(k, node, vec)) : x;
            next[i * unroll + j] = reduce_combine(k, node, k_carry(k, loop, i * unroll + j), x);
        }
        lower_mask(b->l, NULL);
    }
    k_loop_end(k, loop, next);
    lower_scope_end(b->l);
    for (uint32_t i = 0; i < n; i++) {
        const Node *node = g->reduces.data[i].node;
        KInst *v = k_result(k, loop, i * unroll);
        for (uint32_t j = 1; j < unroll; j++)
            v = reduce_combine(k, node, v, k_result(k, loop, i * unroll + j));
        sum[i] = block_reduce(b, node, k_lane_reduce(k, reduce_op(node), v), (uint32_t)block);
    }
    KInst *leader = block > 1 ? k_test(k, b->thread, dim_const(p, 1), 1) : NULL;
    f.mask = split == 1 ? leader : NULL;
    split_finish(b, sum, at, 1, row, rows, part, split, leader, row, rows, finish, &f);
    return true;
}

const KernelKind kind_full = {
    .name = "full", .accepts = accepts, .space = space, .cost = cost, .grid = grid, .threads = threads, .build = build,
};
