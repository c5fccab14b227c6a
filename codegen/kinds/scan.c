/* codegen/kinds/scan.c — prefix sums, products, maxima and minima along one dim: a thread a line, neighbouring threads on
 * neighbouring lines. Simple and right for every shape; a line is walked serially.
 *
 * Schedule: threads. */
#include "codegen/kind.h"

static bool accepts(const KindProblem *p, const char **why_not)
{
    if (p->g->nodes.n == 1 && op_class(p->g->nodes.data[0]->op) == CLASS_SCAN)
        return true;
    *why_not = "not a scan";
    return false;
}

static uint32_t space(const KindProblem *p, Schedule *out, uint32_t max)
{
    static const int64_t sizes[] = {128, 64, 256, 32};
    uint32_t n = 0;
    for (uint32_t i = 0; i < (p->m->target == TARGET_CPU ? 1 : 4) && n < max; i++) {
        out[n] = (Schedule){.kind = "scan"};
        schedule_set(&out[n++], "threads", p->m->target == TARGET_CPU ? 1 : sizes[i]);
    }
    return n;
}

static double cost(const KindProblem *p, const Schedule *s)
{
    (void)s;
    return group_seconds_memory(p) * 4 + p->m->launch_seconds;
}

static Dim lines(const KindProblem *p)
{
    const Node *n = p->g->nodes.data[0];
    Dim count = dim_const(p->cx->dims, 1);
    for (uint32_t i = 0; i < node_rank(n); i++)
        if (i != node_int(n, ATTR_AXIS, 0))
            count = dim_mul(p->cx->dims, count, n->type.shape.d[i]);
    return count;
}

static Dim grid(const KindProblem *p, const Schedule *s)
{
    return dim_ceildiv(p->cx->dims, lines(p), dim_const(p->cx->dims, schedule_get(s, "threads", 1)));
}

static uint32_t threads(const KindProblem *p, const Schedule *s)
{
    (void)p;
    return (uint32_t)schedule_get(s, "threads", 1);
}

static bool build(KindBuild *b)
{
    Kernel *k = b->k;
    DimPool *p = k->cx->dims;
    const Node *n = b->problem.g->nodes.data[0];
    uint32_t axis = (uint32_t)node_int(n, ATTR_AXIS, 0), rank = node_rank(n);
    Dim line = dim_add(p, dim_mul_const(p, b->block, schedule_get(b->s, "threads", 1)), b->thread);
    Shape others = {0};
    for (uint32_t i = 0; i < rank; i++)
        if (i != axis)
            others.d[others.rank++] = n->type.shape.d[i];
    Index around = index_unflatten(p, &others, line), at = {0};
    for (uint32_t i = 0, j = 0; i < rank; i++)
        if (i != axis)
            at.d[i] = around.d[j++];
    KInst *inside = k_if(k, k_test(k, line, lines(&b->problem), 1));
    KInst *acc = reduce_start(k, n, 1);
    lower_scope(b->l);
    KInst *loop = k_loop(k, "i", dim_const(p, 0), n->type.shape.d[axis], 1, &acc, 1, 4);
    at.d[axis] = loop->var;
    KInst *next = reduce_combine(k, n, k_carry(k, loop, 0), lower_value(b->l, n->in[0], &at, 1));
    lower_store(b->l, b->out_buffer[0], n, &at, next, NULL);
    k_loop_end(k, loop, &next);
    lower_scope_end(b->l);
    k_if_end(k, inside, NULL, 0);
    return true;
}

const KernelKind kind_scan = {
    .name = "scan", .accepts = accepts, .space = space, .cost = cost, .grid = grid, .threads = threads, .build = build,
};
