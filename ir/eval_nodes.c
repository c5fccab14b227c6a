/* ir/eval_nodes.c — the forward half of a sweep: one node at its wanted coordinates, from operands that are already there.
 *
 * Reductions add in blocks of 128 one after the other and merge the blocks pairwise (a binary counter of partial results), in
 * every domain: so the baseline's fp32 sums err as those of a tree-shaped kernel do, not as those of one long chain. */
#include "ir/eval_internal.h"
#include <math.h>
#include <stdlib.h>

#define SUM_BLOCK 128
#define GRAIN 4096

void eval_for(const Run *r, int64_t n, int64_t grain, void (*body)(void *, int64_t, int64_t, int), void *arg)
{
    if (r->pool && n > grain)
        pool_for(r->pool, n, grain, body, arg);
    else if (n > 0)
        body(arg, 0, n, 0);
}

static Value source_at(const Run *r, const Node *n, int64_t flat)
{
    const NodePlan *p = &r->e->plan[n->id];
    if (n->op == OP_CONST)
        return r->d->literal(r->d, n->type.dtype, node_attr(n, ATTR_VALUE) ? node_attr(n, ATTR_VALUE)->f : 0);
    if (n->op == OP_IOTA) {
        int64_t inner = 1, axis = node_int(n, ATTR_AXIS, 0);
        for (uint32_t i = (uint32_t)axis + 1; i < node_rank(n); i++)
            inner *= p->dim[i];
        return r->d->literal(r->d, n->type.dtype, (double)(flat / inner % p->dim[axis]));
    }
    return r->d->input(r->d, n->type.dtype, (const char *)p->source->data + flat * dtype_bytes(n->type.dtype));
}

Value eval_value_at(const Run *r, const Node *n, int64_t flat, size_t *hint)
{
    for (; r->e->plan[n->id].is_view; n = n->in[0])
        flat = view_at(&r->e->plan[n->id], flat);
    if (op_class(n->op) == CLASS_SOURCE)
        return source_at(r, n, flat);
    return r->values[n->id][eval_demand_find(&r->demand[n->id], flat, hint)];
}

typedef struct {
    const Run *r;
    const Node *node;
    const NodePlan *plan;
    const Demand *demand;
    Value *out;
} Job;

/* ---- pointwise, cast, concat, pad, gather: an element at a time --------------------------------------------------------- */
static void pointwise_body(void *arg, int64_t begin, int64_t end, int worker)
{
    const Job *j = arg;
    size_t hint[3] = {0};
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        Value x[3] = {0};
        int64_t flat = demand_at(j->demand, (size_t)i);
        for (uint32_t k = 0; k < j->node->n_in; k++)
            x[k] = eval_value_at(j->r, j->node->in[k], flat, &hint[k]);
        j->out[i] = j->r->d->apply(j->r->d, j->node, x);
    }
}

static void concat_body(void *arg, int64_t begin, int64_t end, int worker)
{
    const Job *j = arg;
    size_t hint = 0;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        PartAt p = eval_concat_part(j->r->e, j->node, demand_at(j->demand, (size_t)i));
        j->out[i] = eval_value_at(j->r, j->node->in[p.part], p.at, &hint);
    }
}

static void pad_body(void *arg, int64_t begin, int64_t end, int worker)
{
    const Job *j = arg;
    size_t hint = 0;
    const Attr *fill = node_attr(j->node, ATTR_FILL);
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t from = eval_pad_source(j->r->e, j->node, demand_at(j->demand, (size_t)i));
        j->out[i] = from < 0 ? j->r->d->literal(j->r->d, j->node->type.dtype, fill ? fill->f : 0)
                             : eval_value_at(j->r, j->node->in[0], from, &hint);
    }
}

/* An index out of range has no meaning; NaN (or 0) says so without reading past the table. */
static void gather_body(void *arg, int64_t begin, int64_t end, int worker)
{
    const Job *j = arg;
    size_t hint[2] = {0};
    GatherBox b = eval_gather_box(j->r->e, j->node);
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t flat = demand_at(j->demand, (size_t)i);
        int64_t inner = flat % b.after, at = flat / b.after % b.index, outer = flat / b.after / b.index;
        int64_t row = eval_value_at(j->r, j->node->in[1], at, &hint[0]).i;
        row += row < 0 ? b.rows : 0;
        j->out[i] = row < 0 || row >= b.rows
            ? j->r->d->literal(j->r->d, j->node->type.dtype, dtype_is_float(j->node->type.dtype) ? NAN : 0)
            : eval_value_at(j->r, j->node->in[0], (outer * b.rows + row) * b.after + inner, &hint[1]);
    }
}

/* ---- reductions: a line an output ------------------------------------------------------------------------------------------ */
static Value reduce_line(const Job *j, int64_t start, size_t *hint)
{
    const Domain *d = j->r->d;
    const Node *n = j->node;
    Value partial[64];                                     /* partial[l]: 2^l blocks, there when bit l of `blocks` is set */
    uint64_t blocks = 0;
    int64_t len = j->plan->line_len;
    for (int64_t k = 0; k < len; ) {
        Value acc = d->start(d, n);
        for (int64_t end = k + SUM_BLOCK < len ? k + SUM_BLOCK : len; k < end; k++)
            acc = d->combine(d, n, acc, eval_value_at(j->r, n->in[0], start + affine_at(&j->plan->line, k), hint));
        int level = 0;
        for (; blocks >> level & 1; level++)
            acc = d->merge(d, n, partial[level], acc);
        partial[level] = acc;
        blocks++;
    }
    Value sum = d->start(d, n);
    for (int level = 0, first = 1; level < 64; level++)
        if (blocks >> level & 1) {
            sum = first ? partial[level] : d->merge(d, n, partial[level], sum);
            first = 0;
        }
    return d->finish(d, n, sum, len);
}

/* The first of equals; NaN wins over everything. */
static bool is_better(Op op, bool is_float, Value x, Value best)
{
    if (!is_float)
        return op == OP_ARGMAX ? x.i > best.i : x.i < best.i;
    if (isnan(best.v) || isnan(x.v))
        return isnan(x.v) && !isnan(best.v);
    return op == OP_ARGMAX ? x.v > best.v : x.v < best.v;
}

static Value arg_line(const Job *j, int64_t start, size_t *hint)
{
    const Node *n = j->node;
    int64_t best_at = 0;
    Value best = {0};
    for (int64_t k = 0; k < j->plan->line_len; k++) {
        Value x = eval_value_at(j->r, n->in[0], start + affine_at(&j->plan->line, k), hint);
        if (!k || is_better(n->op, dtype_is_float(n->in[0]->type.dtype), x, best)) {
            best = x;
            best_at = k;
        }
    }
    return eval_integer(best_at);
}

static void reduce_body(void *arg, int64_t begin, int64_t end, int worker)
{
    const Job *j = arg;
    size_t hint = 0;
    bool is_arg = j->node->op == OP_ARGMAX || j->node->op == OP_ARGMIN;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t start = affine_at(&j->plan->view, demand_at(j->demand, (size_t)i));
        j->out[i] = is_arg ? arg_line(j, start, &hint) : reduce_line(j, start, &hint);
    }
}

/* ---- scans: lines in parallel, each one from its start --------------------------------------------------------------------- */
/* The position of `flat` in the output, or -1 when nobody wants it. */
static int64_t wanted_at(const Demand *d, int64_t flat)
{
    if (d->all)
        return flat;
    const int64_t *hit = NULL;
    for (size_t lo = 0, hi = d->n; lo < hi && !hit; ) {
        size_t mid = lo + (hi - lo) / 2;
        if (d->at[mid] == flat)
            hit = d->at + mid;
        else if (d->at[mid] < flat)
            lo = mid + 1;
        else
            hi = mid;
    }
    return hit ? hit - d->at : -1;
}

static void scan_body(void *arg, int64_t begin, int64_t end, int worker)
{
    const Job *j = arg;
    const Domain *d = j->r->d;
    const Node *n = j->node;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t start = affine_at(&j->plan->view, i);
        size_t hint = 0;
        /* lines without a wanted element have none in the operand either */
        bool any = j->demand->all;
        for (int64_t k = 0; !any && k < j->plan->line_len; k++)
            any = wanted_at(j->demand, start + affine_at(&j->plan->line, k)) >= 0;
        Value acc = d->start(d, n);
        for (int64_t k = 0; any && k < j->plan->line_len; k++) {
            int64_t flat = start + affine_at(&j->plan->line, k), to = wanted_at(j->demand, flat);
            acc = d->combine(d, n, acc, eval_value_at(j->r, n->in[0], flat, &hint));
            if (to >= 0)
                j->out[to] = d->finish(d, n, acc, k + 1);
        }
    }
}

/* ---- dispatch ---------------------------------------------------------------------------------------------------------------- */
void eval_node(Run *r, const Node *n)
{
    const NodePlan *p = &r->e->plan[n->id];
    const Demand *d = &r->demand[n->id];
    int64_t count = d->all ? p->count : (int64_t)d->n;
    Value *out = malloc(sizeof *out * (size_t)count + 1);
    if (!out)
        arena_exhausted(sizeof *out * (size_t)count);
    r->values[n->id] = out;
    Job j = {r, n, p, d, out};
    int64_t line_grain = 1 + GRAIN / (p->line_len + 1);
    switch (op_class(n->op)) {
    case CLASS_POINTWISE: case CLASS_CAST:
        eval_for(r, count, GRAIN, pointwise_body, &j);
        break;
    case CLASS_MOVEMENT:
        eval_for(r, count, GRAIN, n->op == OP_CONCAT ? concat_body : pad_body, &j);
        break;
    case CLASS_GATHER:
        eval_for(r, count, GRAIN, gather_body, &j);
        break;
    case CLASS_REDUCE:
        eval_for(r, count, line_grain, reduce_body, &j);
        break;
    case CLASS_SCAN:
        eval_for(r, p->line_len ? p->count / p->line_len : 0, line_grain, scan_body, &j);
        break;
    case CLASS_CONTRACT:
        eval_matmul(r, n);
        break;
    case CLASS_SOURCE: case CLASS_CHOICE:
        pawl_assert(false, "%s holds no values", op_name(n->op));
    }
}
