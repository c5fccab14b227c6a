/* ir/verify.c — what must hold of a graph between passes: ids are positions and a topological order, every type is what
 * inference says, attributes are complete and in normal form, outputs and inputs belong to the graph. */
#include "ir/attr.h"
#include <string.h>

typedef struct { const Graph *g; Context cx; bool ok; } Verify;

#define COMPLAIN(v, n, ...) \
    ((v)->ok = diag_error((v)->cx.diags, PAWL_EXIT_INTERNAL, (n)->loc, NULL, __VA_ARGS__))

static bool in_graph(const Graph *g, const Node *n)
{
    return n->id < g->nodes.n && g->nodes.data[n->id] == n;
}

static bool operands_in_order(Verify *v, const Node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        if (!n->in[i] || !in_graph(v->g, n->in[i]) || n->in[i]->id >= n->id)
            return COMPLAIN(v, n, "node %u (%s): operand %u is not an earlier node of the graph", n->id, op_name(n->op), i);
    return true;
}

static void verify_attrs(Verify *v, const Node *n)
{
    AttrList list;

    if (!attrs_normalise(&v->cx, n->op, n->in, n->n_in, n->attrs, n->n_attrs, n->loc, &list))
        v->ok = false;
    else if (list.n != n->n_attrs || !attrs_equal(list.a, n->attrs, list.n))
        COMPLAIN(v, n, "node %u (%s): attributes are not in normal form", n->id, op_name(n->op));
}

static void verify_node(Verify *v, const Node *n)
{
    int arity = (unsigned)n->op < OP_COUNT ? op_table[n->op].arity : 0;
    Type t;

    if ((unsigned)n->op >= OP_COUNT || (arity < 0 ? n->n_in == 0 : n->n_in != (uint32_t)arity)) {
        COMPLAIN(v, n, "node %u: op %d with %u operands", n->id, (int)n->op, n->n_in);
        return;
    }
    if (!operands_in_order(v, n))
        return;
    verify_attrs(v, n);
    if (n->op == OP_INPUT || n->op == OP_PARAM || !v->ok)
        return;
    if (n->op == OP_TENSOR) {
        if (!n->data || n->data->dtype != n->type.dtype || (uint32_t)n->data->rank != node_rank(n))
            COMPLAIN(v, n, "tensor %u does not match its data", n->id);
        return;
    }
    if (!infer_type(&v->cx, n->op, n->in, n->n_in, n->attrs, n->n_attrs, n->loc, &t))
        v->ok = false;
    else if (!type_equal(&t, &n->type))
        COMPLAIN(v, n, "node %u (%s) has type %s; its operands give %s", n->id, op_name(n->op), type_text(&v->cx, &n->type),
                 type_text(&v->cx, &t));
}

bool graph_verify(const Graph *g, Diags *d)
{
    Verify v = {g, *g->cx, true};

    v.cx.diags = d;
    for (uint32_t i = 0; i < g->nodes.n && diags_count(d) < 20; i++) {
        if (g->nodes.data[i]->id != i)
            COMPLAIN(&v, g->nodes.data[i], "node at %u has id %u", i, g->nodes.data[i]->id);
        else
            verify_node(&v, g->nodes.data[i]);
    }
    for (uint32_t i = 0; i < g->inputs.n; i++)
        if (!in_graph(g, g->inputs.data[i].node))
            COMPLAIN(&v, g->inputs.data[i].node, "input %s is not in the graph", g->inputs.data[i].name);
    for (uint32_t i = 0; i < g->outputs.n; i++)
        if (!in_graph(g, g->outputs.data[i].node))
            COMPLAIN(&v, g->outputs.data[i].node, "output %s is not in the graph", g->outputs.data[i].name);
    return v.ok;
}
