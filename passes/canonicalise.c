/* passes/canonicalise.c — one spelling for what can be spelt in several ways, so that rules need to know only one.
 *
 *   literals stand on the right of commutative ops and comparisons:   2 * x → x * 2,  1 < x → x > 1
 *   commuted twins are one node:                                      b + a → a + b where a + b exists
 *   subtracting a literal adds its negation (exact in IEEE 754):      x - c → x + (-c)
 *   a literal has one shape:  any movement or cast of a literal → expand(const)
 *   a permutation that moves only dims of size 1 is a reshape
 *
 * requires: nothing.  preserves: values bit for bit (but for the payload of NaNs); outputs; every node's type. */
#include "passes/pass.h"
#include <math.h>

static bool literal(const Node *n) { double v; return node_is_const(n, &v); }

static Op mirrored(Op op)
{
    static const Op mirror[OP_COUNT] = {[OP_LT] = OP_GT, [OP_GT] = OP_LT, [OP_LE] = OP_GE, [OP_GE] = OP_LE};

    if (op_has(op, OP_COMMUTES))
        return op;
    return mirror[op] ? mirror[op] : OP_NONE;
}

static Node *literal_of_type(Graph *g, const Type *t, double v)
{
    return graph_expand(g, graph_const(g, t->dtype, v), &t->shape);
}

static Node *literal_to_the_right(Graph *g, Node *n, Node *a, Node *b)
{
    Op op = mirrored(n->op);

    if (op == OP_NONE || !literal(a) || literal(b))
        return n;
    return graph_add(g, op, (Node *[]){b, a}, 2, NULL, 0, n->loc);
}

static Node *subtracted_literal(Graph *g, Node *n, Node *a, Node *b)
{
    double c;

    if (n->op != OP_SUB || !dtype_is_float(n->type.dtype) || !node_is_const(b, &c))
        return n;
    return graph_add(g, OP_ADD, (Node *[]){a, literal_of_type(g, &b->type, -c)}, 2, NULL, 0, n->loc);
}

/* `seen` knows each commutative node by its op and its operands in order of id. */
static Node *first_twin(Map *seen, Node *n, const Node *a, const Node *b)
{
    if (!op_has(n->op, OP_COMMUTES))
        return n;
    uint32_t lo = a->id < b->id ? a->id : b->id, hi = a->id < b->id ? b->id : a->id;
    uint64_t key = hash_mix(hash_mix(n->op, lo), hi);
    Node *twin = (Node *)(uintptr_t)map_get(seen, key, 0);
    if (!twin) {
        map_set_ptr(seen, (const void *)(uintptr_t)key, n);
        return n;
    }
    bool same = twin->op == n->op && twin->in[0] == b && twin->in[1] == a && type_equal(&twin->type, &n->type);
    return same ? twin : n;
}

static Node *canonical_binary(Graph *g, Map *seen, Node *n)
{
    Node *a = graph_resolve(g, n->in[0]), *b = graph_resolve(g, n->in[1]);
    Node *m = literal_to_the_right(g, n, a, b);

    if (m == n)
        m = subtracted_literal(g, n, a, b);
    return m == n ? first_twin(seen, n, a, b) : m;
}

/* The identity once dims of size 1 are left out. */
static bool moves_only_ones(const Node *n, const Node *x)
{
    const Attr *perm = node_attr(n, ATTR_PERM);
    int64_t last = -1;

    for (uint32_t i = 0; i < perm->n; i++) {
        if (dim_is(x->type.shape.d[perm->ints[i]], 1))
            continue;
        if (perm->ints[i] < last)
            return false;
        last = perm->ints[i];
    }
    return true;
}

static Node *canonical_movement(Graph *g, Node *n)
{
    Node *x = graph_resolve(g, n->in[0]);
    double v;

    if (node_is_const(n, &v)) {
        bool plain = n->op == OP_EXPAND && x->op == OP_CONST;
        return plain ? n : literal_of_type(g, &n->type, v);
    }
    if (n->op == OP_PERMUTE && moves_only_ones(n, x))
        return graph_reshape(g, x, &n->type.shape);
    return n;
}

static Node *canonical(Graph *g, Map *seen, Node *n)
{
    switch (op_class(n->op)) {
    case CLASS_POINTWISE: return n->n_in == 2 ? canonical_binary(g, seen, n) : n;
    case CLASS_MOVEMENT:
    case CLASS_CAST:      return canonical_movement(g, n);
    case CLASS_SOURCE: case CLASS_REDUCE: case CLASS_SCAN: case CLASS_CONTRACT: case CLASS_GATHER: case CLASS_CHOICE:
        return n;
    }
    return n;
}

bool pass_canonicalise(PassContext *cx)
{
    Graph *g = cx->graph;
    Map *seen = map_new(cx->scratch);
    uint32_t n_nodes;
    Node **order = graph_order(g, cx->scratch, &n_nodes);
    bool changed = false;

    for (uint32_t i = 0; i < n_nodes; i++) {
        Node *m = graph_resolve(g, canonical(g, seen, order[i]));
        if (m == order[i])
            continue;
        graph_replace(g, order[i], m);
        changed = true;
    }
    return changed;
}
