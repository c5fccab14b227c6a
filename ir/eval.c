/* ir/eval.c — the reference evaluator: planning and its entry points. How a sweep works is told in eval_internal.h. */
#include "ir/eval_internal.h"
#include <stdlib.h>

#define PARALLEL_FROM 2e5              /* scalar operations from which starting threads pays */

/* ---- planning: symbolic attributes become numbers ------------------------------------------------------------------- */
static int64_t dim_number(Dim d)
{
    int64_t v = 0;
    Str missing = NULL;
    bool known = dim_eval(d, NULL, 0, &v, &missing);
    pawl_assert(known, "the evaluator needs a graph without symbols; %s is one", missing ? missing : "a dim");
    return v;
}

static int64_t attr_dim(const Node *n, AttrKey key, int64_t otherwise)
{
    Dim d = node_dim(n, key);
    return d ? dim_number(d) : otherwise;
}

static void plan_shape(NodePlan *p, const Node *n)
{
    p->count = 1;
    for (uint32_t i = 0; i < node_rank(n); i++)
        p->count *= p->dim[i] = dim_number(n->type.shape.d[i]);
}

/* Row-major strides of a node's own box. */
static void own_strides(const NodePlan *p, uint32_t rank, int64_t *stride)
{
    int64_t s = 1;
    for (uint32_t i = rank; i-- > 0; s *= p->dim[i])
        stride[i] = s;
}

static Affine box_of(const NodePlan *p, uint32_t rank)
{
    Affine a = {.rank = rank};
    for (uint32_t i = 0; i < rank; i++)
        a.dim[i] = p->dim[i];
    return a;
}

static void plan_view(Evaluator *e, NodePlan *p, const Node *n)
{
    const NodePlan *from = &e->plan[n->in[0]->id];
    uint32_t rank = node_rank(n), in_rank = node_rank(n->in[0]);
    int64_t stride[MAX_RANK];
    own_strides(from, in_rank, stride);
    p->is_view = true;
    p->base = from->base;
    p->view = box_of(p, rank);
    switch ((int)n->op) {
    case OP_PERMUTE:
        for (uint32_t i = 0; i < rank; i++)
            p->view.stride[i] = stride[node_attr(n, ATTR_PERM)->ints[i]];
        break;
    case OP_EXPAND:
        for (uint32_t i = 0; i < in_rank; i++) {
            uint32_t at = i + rank - in_rank;
            p->view.stride[at] = from->dim[i] == p->dim[at] ? stride[i] : 0;
        }
        break;
    case OP_SLICE: {
        int64_t axis = node_int(n, ATTR_AXIS, 0);
        for (uint32_t i = 0; i < rank; i++)
            p->view.stride[i] = stride[i];
        p->view.offset = attr_dim(n, ATTR_START, 0) * stride[axis];
        p->view.stride[axis] *= node_int(n, ATTR_STEP, 1);
        break;
    }
    case OP_FLIP: {
        const Attr *axes = node_attr(n, ATTR_AXES);
        for (uint32_t i = 0; i < rank; i++)
            p->view.stride[i] = stride[i];
        for (uint32_t k = 0; axes && k < axes->n; k++) {
            int64_t axis = axes->ints[k];
            p->view.offset += (p->dim[axis] - 1) * stride[axis];
            p->view.stride[axis] = -stride[axis];
        }
        break;
    }
    default:
        p->view.rank = 0;              /* reshape, choice: the same flat coordinate */
    }
}

/* Lines of a reduction: `view` takes an output coordinate to the line's start, `line` walks along the reduced axes. */
static void plan_reduce(const Evaluator *e, NodePlan *p, const Node *n)
{
    const NodePlan *from = &e->plan[n->in[0]->id];
    uint32_t rank = node_rank(n->in[0]);
    const Attr *axes = node_attr(n, ATTR_AXES);
    bool reduced[MAX_RANK] = {false};
    for (uint32_t i = 0; axes && i < axes->n; i++)
        reduced[axes->ints[i]] = true;
    int64_t stride[MAX_RANK];
    own_strides(from, rank, stride);
    p->line_len = 1;
    for (uint32_t i = 0; i < rank; i++) {
        Affine *to = reduced[i] ? &p->line : &p->view;
        to->dim[to->rank] = from->dim[i];
        to->stride[to->rank++] = stride[i];
        p->line_len *= reduced[i] ? from->dim[i] : 1;
    }
}

static void plan_scan(const Evaluator *e, NodePlan *p, const Node *n)
{
    const NodePlan *from = &e->plan[n->in[0]->id];
    uint32_t rank = node_rank(n), axis = (uint32_t)node_int(n, ATTR_AXIS, 0);
    int64_t stride[MAX_RANK];
    own_strides(from, rank, stride);
    p->line = (Affine){.rank = rank ? 1 : 0, .dim = {rank ? p->dim[axis] : 1}, .stride = {rank ? stride[axis] : 1}};
    p->line_len = rank ? p->dim[axis] : 1;
    for (uint32_t i = 0; i < rank; i++)
        if (i != axis) {
            p->view.dim[p->view.rank] = from->dim[i];
            p->view.stride[p->view.rank++] = stride[i];
        }
}

static bool op_is_view(Op op)
{
    return op == OP_RESHAPE || op == OP_PERMUTE || op == OP_EXPAND || op == OP_SLICE || op == OP_FLIP || op == OP_CHOICE;
}

static void plan_node(Evaluator *e, const Node *n)
{
    NodePlan *p = &e->plan[n->id];
    plan_shape(p, n);
    p->base = n->id;
    if (op_is_view(n->op))
        plan_view(e, p, n);
    else if (op_class(n->op) == CLASS_REDUCE)
        plan_reduce(e, p, n);
    else if (op_class(n->op) == CLASS_SCAN)
        plan_scan(e, p, n);
    else if (n->op == OP_TENSOR)
        p->source = n->data;
}

static void plan_sources(Evaluator *e, Tensor *const *inputs)
{
    for (uint32_t i = 0; i < e->g->inputs.n; i++) {
        const Node *n = e->g->inputs.data[i].node;
        NodePlan *p = &e->plan[n->id];
        if (!p->count && !inputs[i])
            continue;
        plan_shape(p, n);
        pawl_assert(inputs[i] && inputs[i]->dtype == n->type.dtype && tensor_count(inputs[i]) == p->count,
                    "tensor %u does not fit %s", i, e->g->inputs.data[i].name);
        p->source = inputs[i];
        p->base = n->id;
    }
}

static uint32_t largest_id(const Graph *g)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < g->nodes.n; i++)
        if (g->nodes.data[i] && g->nodes.data[i]->id >= most)
            most = g->nodes.data[i]->id + 1;
    return most;
}

Evaluator *eval_new(const Graph *g, const Domain *d, Tensor *const *inputs, Arena *a)
{
    Evaluator *e = arena_new_of(a, Evaluator);
    *e = (Evaluator){.g = g, .d = d, .arena = a};
    e->order = graph_order(g, a, &e->n_order);
    e->plan = arena_new_array(a, NodePlan, largest_id(g) + 1);
    e->all = arena_new_array(a, Value *, g->outputs.n + 1);
    for (uint32_t i = 0; i < e->n_order; i++)
        plan_node(e, e->order[i]);
    plan_sources(e, inputs);
    for (uint32_t i = 0; i < e->n_order; i++) {
        const Node *n = e->order[i];
        if (!e->plan[n->id].is_view)
            for (uint32_t k = 0; k < n->n_in; k++)
                e->plan[e->plan[n->in[k]->id].base].last_use = i;
    }
    for (uint32_t k = 0; k < g->outputs.n; k++)
        e->plan[e->plan[g->outputs.data[k].node->id].base].last_use = UINT32_MAX;
    return e;
}

/* ---- a sweep --------------------------------------------------------------------------------------------------------- */
static double node_work(const NodePlan *plan, const Node *n, double elements)
{
    switch (op_class(n->op)) {
    case CLASS_SOURCE: case CLASS_MOVEMENT: case CLASS_CHOICE: case CLASS_GATHER:
        return 0;
    case CLASS_POINTWISE: case CLASS_CAST: case CLASS_SCAN:
        return elements;
    case CLASS_REDUCE:
        return elements * (double)plan[n->id].line_len;
    case CLASS_CONTRACT: {
        uint32_t rank = node_rank(n->in[0]);
        bool t = node_int(n, ATTR_TRANS_A, 0) != 0;
        return 2 * elements * (double)plan[n->in[0]->id].dim[rank - (t ? 2 : 1)];
    }
    }
    return elements;
}

static double run_work(const Run *r)
{
    double work = 0;
    for (uint32_t i = 0; i < r->e->n_order; i++) {
        const Node *n = r->e->order[i];
        const Demand *d = &r->demand[n->id];
        work += node_work(r->e->plan, n, d->all ? (double)r->e->plan[n->id].count : (double)d->n);
    }
    return work;
}

/* Computes what the outputs want; `take` receives each while all values are alive. */
static void run_sweep(const Evaluator *e, const uint32_t *outputs, const Demand *wanted, uint32_t n,
                      void (*take)(const Run *, void *), void *arg)
{
    Run r = {.e = e, .d = e->d, .arena = arena_new()};
    uint32_t ids = largest_id(e->g) + 1;
    r.demand = arena_new_array(r.arena, Demand, ids);
    r.values = arena_new_array(r.arena, Value *, ids);
    eval_demand(&r, outputs, wanted, n);
    if (run_work(&r) > PARALLEL_FROM)
        r.pool = pool_new(0);
    for (uint32_t i = 0; i < e->n_order; i++) {
        const Node *node = e->order[i];
        const Demand *d = &r.demand[node->id];
        if (e->plan[node->id].is_view || op_class(node->op) == CLASS_SOURCE || (!d->all && !d->n))
            continue;
        eval_node(&r, node);
        for (uint32_t k = 0; k < node->n_in; k++) {
            uint32_t base = e->plan[node->in[k]->id].base;
            if (e->plan[base].last_use == i) {
                free(r.values[base]);
                r.values[base] = NULL;
            }
        }
    }
    take(&r, arg);
    for (uint32_t i = 0; i < ids; i++)
        free(r.values[i]);
    pool_free(r.pool);
    arena_free(r.arena);
}

/* ---- entry points ------------------------------------------------------------------------------------------------------- */
typedef struct { const Run *r; const Node *node; const int64_t *flat; Value *out; } Collect;

static void collect_body(void *arg, int64_t begin, int64_t end, int worker)
{
    Collect *c = arg;
    size_t hint = 0;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        c->out[i] = eval_value_at(c->r, c->node, c->flat ? c->flat[i] : i, &hint);
}

static void take_all(const Run *r, void *arg)
{
    Evaluator *e = arg;
    for (uint32_t k = 0; k < e->g->outputs.n; k++) {
        const Node *n = e->g->outputs.data[k].node;
        int64_t count = e->plan[n->id].count;
        e->all[k] = arena_alloc(e->arena, sizeof(Value) * (size_t)count + 1);
        eval_for(r, count, 4096, collect_body, &(Collect){r, n, NULL, e->all[k]});
    }
}

const Value *eval_all(Evaluator *e, uint32_t k)
{
    uint32_t n = e->g->outputs.n;
    pawl_assert(k < n, "output %u of %u", k, n);
    if (!e->all[k]) {
        uint32_t *outputs = arena_new_array(e->arena, uint32_t, n);
        Demand *wanted = arena_new_array(e->arena, Demand, n);
        for (uint32_t i = 0; i < n; i++) {
            outputs[i] = i;
            wanted[i].all = true;
        }
        run_sweep(e, outputs, wanted, n, take_all, e);
    }
    return e->all[k];
}

typedef struct { uint32_t k; const int64_t *flat; size_t n; Value *out; } PointsArg;

static void take_points(const Run *r, void *arg)
{
    PointsArg *p = arg;
    Collect c = {r, r->e->g->outputs.data[p->k].node, p->flat, p->out};
    eval_for(r, (int64_t)p->n, 4096, collect_body, &c);
}

bool eval_points(Evaluator *e, uint32_t k, const int64_t *flat, size_t n, Value *out)
{
    pawl_assert(k < e->g->outputs.n, "output %u of %u", k, e->g->outputs.n);
    int64_t count = e->plan[e->g->outputs.data[k].node->id].count;
    for (size_t i = 0; i < n; i++)
        if (flat[i] < 0 || flat[i] >= count)
            return false;
    Demand wanted = {.n = n, .at = flat};
    if (n)
        run_sweep(e, &k, &wanted, 1, take_points, &(PointsArg){k, flat, n, out});
    return true;
}

/* A plan without tensors, for estimates. */
static const NodePlan *bare_plan(const Graph *g, Arena *a, Node ***order, uint32_t *n)
{
    Evaluator *e = arena_new_of(a, Evaluator);
    *e = (Evaluator){.g = g, .arena = a};
    *order = graph_order(g, a, n);
    e->plan = arena_new_array(a, NodePlan, largest_id(g) + 1);
    for (uint32_t i = 0; i < *n; i++)
        plan_node(e, (*order)[i]);
    return e->plan;
}

double eval_flops(const Graph *g)
{
    Arena *a = arena_new();
    Node **order;
    uint32_t n;
    double work = 0;
    const NodePlan *plan = bare_plan(g, a, &order, &n);
    for (uint32_t i = 0; i < n; i++)
        work += node_work(plan, order[i], (double)plan[order[i]->id].count);
    arena_free(a);
    return work;
}

double eval_bytes(const Graph *g)
{
    Arena *a = arena_new();
    Node **order;
    uint32_t n;
    const NodePlan *plan = bare_plan(g, a, &order, &n);
    double live = 0, peak = 0;
    uint32_t *last = arena_new_array(a, uint32_t, largest_id(g) + 1);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; !plan[order[i]->id].is_view && k < order[i]->n_in; k++)
            last[plan[order[i]->in[k]->id].base] = i;
    for (uint32_t k = 0; k < g->outputs.n; k++) {
        uint32_t base = plan[g->outputs.data[k].node->id].base;
        last[base] = UINT32_MAX;
        live += (double)plan[g->outputs.data[k].node->id].count * sizeof(Value);      /* the copy that eval_all returns */
    }
    for (uint32_t i = 0; i < n; i++) {
        const Node *node = order[i];
        if (plan[node->id].is_view || op_class(node->op) == CLASS_SOURCE)
            continue;
        live += (double)plan[node->id].count * sizeof(Value);
        peak = live > peak ? live : peak;
        for (uint32_t k = 0; k < node->n_in; k++) {
            uint32_t base = plan[node->in[k]->id].base;
            if (last[base] == i && op_class(g->nodes.data[base]->op) != CLASS_SOURCE) {
                live -= (double)plan[base].count * sizeof(Value);
                last[base] = 0;
            }
        }
    }
    arena_free(a);
    return peak > live ? peak : live;
}
