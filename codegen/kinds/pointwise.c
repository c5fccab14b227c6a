/* codegen/kinds/pointwise.c — one thread, a few short vectors of the flattened domain; also everything that no other kind takes
 * (reductions and products inside are serial loops then).
 *
 * Schedule: threads, vec (lanes), items (vectors a thread, a block's width apart), stream (data is touched once: keep it out of the
 * caches); on the host `chunk` elements a block. */
#include "codegen/group.h"
#include "codegen/kind.h"

static bool accepts(const KindProblem *p, const char **why_not)
{
    if ((*why_not = product_inside_refused(p)))
        return false;
    for (uint32_t i = 0; i < p->g->nodes.n; i++)
        if (op_class(p->g->nodes.data[i]->op) == CLASS_SCAN) {
            *why_not = "a scan needs a kind of its own";
            return false;
        }
    uint64_t along = group_outputs_along(p->g), all = ((uint64_t)1 << (p->g->outputs.n < 63 ? p->g->outputs.n : 63)) - 1;
    if (p->g->reduces.n && along && (along & all) != all) {
        *why_not = "some outputs have an element for each of the row, others one a row";
        return false;
    }
    return true;
}

static Dim count(const KindProblem *p) { return shape_count(p->cx->dims, &p->g->domain); }

static uint32_t space(const KindProblem *p, Schedule *out, uint32_t max)
{
    uint32_t n = 0;
    int64_t total = dim_typical(count(p));
    if (p->m->target == TARGET_CPU) {
        static const int64_t chunks[] = {4096, 16384, 1024};
        for (uint32_t i = 0; i < 3 && n < max; i++) {
            Schedule *s = &out[n++];
            *s = (Schedule){.kind = "pointwise"};
            schedule_set(s, "chunk", chunks[i]);
            schedule_set(s, "vec", total >= 16 ? 16 : 1);
        }
        return n;
    }
    int64_t widest = p->m->vector_bytes / group_widest_bytes(p->g);
    int64_t best = widest;
    while (best > 1 && total < best * 128 * p->m->units)        /* small tensors: spread over the machine first */
        best /= 2;
    static const struct { int64_t threads, items, shrink, stream; } order[] = {
        {256, 1, 1, 0}, {128, 1, 1, 0}, {256, 1, 1, 1}, {256, 2, 1, 0}, {512, 1, 1, 0}, {256, 2, 1, 1}, {128, 2, 1, 0},
        {512, 1, 1, 1}, {256, 4, 1, 0}, {128, 1, 2, 0}, {256, 1, 2, 0}, {64, 1, 1, 0}, {256, 1, 4, 0},
    };
    for (uint32_t i = 0; i < sizeof order / sizeof *order && n < max; i++) {
        int64_t vec = best / order[i].shrink;
        if (vec < 1)
            continue;
        Schedule *s = &out[n++];
        *s = (Schedule){.kind = "pointwise"};
        schedule_set(s, "threads", order[i].threads);
        schedule_set(s, "vec", vec);
        schedule_set(s, "items", order[i].items);
        if (order[i].stream)
            schedule_set(s, "stream", 1);
    }
    return n;
}

static double cost(const KindProblem *p, const Schedule *s)
{
    double seconds = group_seconds_memory(p);
    if (p->m->target == TARGET_CUDA) {
        double threads = (double)dim_typical(count(p)) / (double)(schedule_get(s, "vec", 1) * schedule_get(s, "items", 1));
        double resident = (double)p->m->units * p->m->max_threads_unit;
        if (threads < resident / 4)
            seconds *= 1.05;                                    /* too little in flight to hide latency */
    }
    /* reductions inside are serial loops, run again for every element; so are products */
    double again = 0, chain = 0, elements = (double)dim_typical(count(p));
    for (uint32_t i = 0; i < p->g->nodes.n; i++) {
        const Node *n = p->g->nodes.data[i];
        Dim k = NULL, unused;
        if (op_class(n->op) == CLASS_REDUCE)
            k = reduced_count(p->cx->dims, n);
        else if (op_class(n->op) == CLASS_CONTRACT)
            matmul_extents(p->cx->dims, n, &unused, &unused, &k, &unused);
        again += k ? 4 * elements * (double)dim_typical(k) : 0;
        chain += k && p->m->target == TARGET_CUDA ? 2e-8 * (double)dim_typical(k) : 0;      /* a load and an addition at a time */
    }
    again /= p->m->target == TARGET_CUDA ? p->m->flops_fma : p->m->flops_fma / 32;               /* no reuse, often no vectors */
    seconds += (again > chain ? again : chain) + product_inside_seconds(p);
    return seconds + p->m->launch_seconds;
}

static int64_t block_elements(const Schedule *s)
{
    int64_t chunk = schedule_get(s, "chunk", 0);
    return chunk ? chunk : schedule_get(s, "threads", 1) * schedule_get(s, "vec", 1) * schedule_get(s, "items", 1);
}

static Dim grid(const KindProblem *p, const Schedule *s)
{
    return dim_ceildiv(p->cx->dims, count(p), dim_const(p->cx->dims, block_elements(s)));
}

static uint32_t threads(const KindProblem *p, const Schedule *s)
{
    (void)p;
    return (uint32_t)schedule_get(s, "threads", 1);
}

/* All outputs at flat positions first + lane. */
static void store_at(KindBuild *b, Dim first, uint32_t lanes)
{
    DimPool *p = b->k->cx->dims;
    Dim flat = lanes > 1 ? dim_add(p, first, kernel_lane(p, lanes)) : first;
    Index coords = index_unflatten(p, &b->problem.g->domain, flat);
    store_outputs_at(b, coords.d, lanes, NULL);
}

/* One vector at `first`; past the end element by element. */
static void vector_at(KindBuild *b, Dim first, uint32_t vec, Dim n)
{
    DimPool *p = b->k->cx->dims;
    Dim width = dim_const(p, vec);
    if (dim_le(p, n, first))
        return;                                                 /* wholly past the end */
    if (dim_lt(p, dim_add_const(p, first, vec - 1), n)) {
        store_at(b, first, vec);
        return;
    }
    bool whole = dim_divides(p, width, n) && dim_divides(p, width, first);
    KInst *inside = k_if(b->k, k_test(b->k, whole ? first : dim_add_const(p, first, vec - 1), n, 1));
    lower_scope(b->l);
    store_at(b, first, vec);
    lower_scope_end(b->l);
    if (!whole) {
        k_else(b->k, inside, NULL, 0);
        lower_scope(b->l);
        KInst *tail = k_loop(b->k, "e", first, dim_max(p, first, n), 1, NULL, 0, 1);
        lower_scope(b->l);
        store_at(b, tail->var, 1);
        lower_scope_end(b->l);
        k_loop_end(b->k, tail, NULL);
        lower_scope_end(b->l);
    }
    k_if_end(b->k, inside, NULL, 0);
}

static bool build(KindBuild *b)
{
    DimPool *p = b->k->cx->dims;
    uint32_t vec = (uint32_t)schedule_get(b->s, "vec", 1);
    int64_t items = schedule_get(b->s, "items", 1), chunk = schedule_get(b->s, "chunk", 0);
    Dim n = count(&b->problem), start = dim_mul_const(p, b->block, block_elements(b->s));

    if (chunk) {                                                /* host: a block walks its chunk */
        Dim end = dim_min(p, dim_add_const(p, start, chunk), n), whole = end;
        if (!dim_divides(p, dim_const(p, vec), n))
            whole = dim_sub(p, end, dim_mod(p, dim_sub(p, end, start), dim_const(p, vec)));
        lower_scope(b->l);
        KInst *loop = k_loop(b->k, "e", start, whole, vec, NULL, 0, 0);
        store_at(b, loop->var, vec);
        k_loop_end(b->k, loop, NULL);
        lower_scope_end(b->l);
        if (whole != end) {
            lower_scope(b->l);
            KInst *tail = k_loop(b->k, "e", whole, end, 1, NULL, 0, 1);
            store_at(b, tail->var, 1);
            k_loop_end(b->k, tail, NULL);
            lower_scope_end(b->l);
        }
        return true;
    }
    int64_t threads_block = schedule_get(b->s, "threads", 1);
    lower_stream(b->l, schedule_get(b->s, "stream", 0) != 0);
    for (int64_t i = 0; i < items; i++) {
        Dim t = dim_add_const(p, b->thread, i * threads_block);
        vector_at(b, dim_add(p, start, dim_mul_const(p, t, vec)), vec, n);
    }
    return true;
}

const KernelKind kind_pointwise = {
    .name = "pointwise", .accepts = accepts, .space = space, .cost = cost, .grid = grid, .threads = threads, .build = build,
};
