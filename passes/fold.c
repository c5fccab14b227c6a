/* passes/fold.c — computes what is known: pointwise ops and casts of literals, and ops on small constant tensors.
 *
 * Values come from the reference evaluator, so folding means what running means. A folded float literal keeps its fp64 value: literals
 * are part of the meaning and round where they are used. Subgraphs of frozen parameters stay as they are: codegen turns maximal
 * input-independent subgraphs into weight recipes that are evaluated when the package is written. iota stays an index.
 * requires: nothing.  preserves: values, outputs, every node's type. */
#include "passes/pass.h"
#include "ir/eval.h"

#define MAX_OPERANDS 3
#define MAX_ELEMENTS 4096       /* of a folded tensor: beyond, a recipe costs less than the text of the graph */

/* ---- literals ------------------------------------------------------------------------------------------------------ */
static bool literal_operands(const Graph *g, const Node *n, Value *args)
{
    const Domain *d = &domain_fp64;

    for (uint32_t i = 0; i < n->n_in; i++) {
        const Node *x = graph_resolve(g, n->in[i]);
        double v;
        if (!node_is_const(x, &v))
            return false;
        args[i] = d->literal(d, x->type.dtype, v);
    }
    return true;
}

static bool exact_as_double(int64_t i) { return i >= -(1ll << 53) && i <= 1ll << 53; }

static Node *fold_literals(Graph *g, Node *n)
{
    Value args[MAX_OPERANDS] = {0};

    if (n->op == OP_CAST || n->n_in > MAX_OPERANDS || !literal_operands(g, n, args))
        return n;               /* casts of literals: canonicalise, through node_literal */
    Value v = domain_fp64.apply(&domain_fp64, n, args);
    bool is_float = dtype_is_float(n->type.dtype);
    if (!is_float && !exact_as_double(v.i))
        return n;
    Node *c = graph_const(g, n->type.dtype, is_float ? v.v : (double)v.i);
    return graph_expand(g, c, &n->type.shape);
}

/* ---- small tensors --------------------------------------------------------------------------------------------------- */
static bool small(const Node *n)
{
    int64_t count = 1;

    for (uint32_t i = 0; i < node_rank(n); i++) {
        if (!dim_is_const(n->type.shape.d[i]) || n->type.shape.d[i]->value > MAX_ELEMENTS)
            return false;
        count *= n->type.shape.d[i]->value;
    }
    return count <= MAX_ELEMENTS;
}

/* At least one operand has data, the others are literals. */
static bool tensor_operands(const Graph *g, const Node *n)
{
    bool data = false;
    double v;

    for (uint32_t i = 0; i < n->n_in; i++) {
        const Node *x = graph_resolve(g, n->in[i]);
        if (!small(x) || (x->op != OP_TENSOR && !node_is_const(x, &v)))
            return false;
        data |= x->op == OP_TENSOR;
    }
    return data;
}

static void store(const Node *n, const Value *values, Tensor *t)
{
    char *to = t->data;
    size_t step = dtype_bytes(t->dtype);

    for (int64_t i = 0, count = tensor_count(t); i < count; i++, to += step)
        if (dtype_is_float(n->type.dtype))
            dtype_store(t->dtype, to, values[i].v);
        else
            dtype_store_i64(t->dtype, to, values[i].i);
}

/* The node alone, on copies of its operands, in a graph of its own. */
static Tensor *evaluate(PassContext *cx, const Node *n)
{
    Graph *alone = graph_new(cx->cx, str_intern(cx->cx->strs, "fold"));
    Node **in = arena_new_array(cx->scratch, Node *, n->n_in);

    for (uint32_t i = 0; i < n->n_in; i++) {
        const Node *x = graph_resolve(cx->graph, n->in[i]);
        double v = 0;
        if (x->op == OP_TENSOR)
            in[i] = graph_tensor(alone, node_attr(x, ATTR_NAME)->s, x->data);
        else if (node_is_const(x, &v))
            in[i] = graph_expand(alone, graph_const(alone, x->type.dtype, v), &x->type.shape);
    }
    graph_output(alone, "y", graph_copy_with(alone, n, in));
    int64_t dims[MAX_RANK];
    for (uint32_t i = 0; i < node_rank(n); i++)
        dims[i] = n->type.shape.d[i]->value;
    Tensor *t = tensor_new(cx->graph->arena, n->type.dtype, (int)node_rank(n), dims);
    store(n, eval_all(eval_new(alone, &domain_baseline, NULL, cx->scratch), 0), t);
    graph_free(alone);
    return t;
}

static Node *fold_tensor(PassContext *cx, Node *n)
{
    if (n->op == OP_CHOICE || !small(n) || !tensor_operands(cx->graph, n))
        return n;
    const Tensor *t = evaluate(cx, n);
    uint64_t h = hash_bytes(t->dims, (size_t)t->rank * sizeof t->dims[0], t->dtype);
    h = hash_bytes(t->data, tensor_bytes(t), h);
    return graph_tensor(cx->graph, str_format(cx->cx->strs, "folded_%016llx", (unsigned long long)h), t);
}

static Node *folded(PassContext *cx, Node *n)
{
    if (n->n_in == 0)
        return n;
    Node *m = op_class(n->op) == CLASS_POINTWISE ? fold_literals(cx->graph, n) : n;
    return m == n ? fold_tensor(cx, n) : m;
}

bool pass_fold(PassContext *cx)
{
    Graph *g = cx->graph;
    uint32_t n_nodes;
    Node **order = graph_order(g, cx->scratch, &n_nodes);
    bool changed = false;

    for (uint32_t i = 0; i < n_nodes; i++) {
        Node *m = graph_resolve(g, folded(cx, order[i]));
        if (m == order[i])
            continue;
        graph_replace(g, order[i], m);
        changed = true;
    }
    return changed;
}
