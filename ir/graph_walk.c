/* ir/graph_walk.c — whole-graph operations: order, uses, rebuild, compact, specialise, frozen. All linear, none recursive. */
#include "ir/attr.h"
#include "ir/graph_private.h"
#include <string.h>

/* Bitmap by id of what outputs reach; declared inputs and params are live as part of the signature. */
static bool *live_nodes(const Graph *g, Arena *a)
{
    bool *live = arena_new_array(a, bool, g->nodes.n + 1);
    Node **todo = arena_new_array(a, Node *, g->nodes.n + 1);
    uint32_t n_todo = 0;

    for (uint32_t i = 0; i < g->inputs.n; i++)
        live[g->inputs.data[i].node->id] = true;
    for (uint32_t i = 0; i < g->outputs.n; i++) {
        Node *n = g->outputs.data[i].node;
        if (!live[n->id]) {
            live[n->id] = true;
            todo[n_todo++] = n;
        }
    }
    while (n_todo) {
        Node *n = todo[--n_todo];
        for (uint32_t i = 0; i < n->n_in; i++)
            if (!live[n->in[i]->id]) {
                live[n->in[i]->id] = true;
                todo[n_todo++] = n->in[i];
            }
    }
    return live;
}

Node **graph_order(const Graph *g, Arena *a, uint32_t *n)
{
    Node **order = arena_new_array(a, Node *, g->nodes.n + 1);
    bool *live = live_nodes(g, a);

    *n = 0;
    for (uint32_t i = 0; i < g->nodes.n; i++)
        if (live[i])
            order[(*n)++] = g->nodes.data[i];
    return order;
}

Uses graph_uses(const Graph *g, Arena *a)
{
    uint32_t n = g->nodes.n, total = 0;
    bool *live = live_nodes(g, a);
    Uses u = {arena_new_array(a, uint32_t, n + 1), NULL, arena_new_array(a, uint32_t, n + 1)};
    uint32_t *fill = arena_new_array(a, uint32_t, n + 1);

    for (uint32_t id = 0; id < n; id++)
        for (uint32_t i = 0; live[id] && i < g->nodes.data[id]->n_in; i++)
            u.n_uses[g->nodes.data[id]->in[i]->id]++;
    for (uint32_t id = 0; id < n; id++) {
        u.start[id] = fill[id] = total;
        total += u.n_uses[id];
    }
    u.start[n] = total;
    u.user = arena_new_array(a, Node *, total + 1);
    for (uint32_t id = 0; id < n; id++)
        for (uint32_t i = 0; live[id] && i < g->nodes.data[id]->n_in; i++)
            u.user[fill[g->nodes.data[id]->in[i]->id]++] = g->nodes.data[id];
    for (uint32_t i = 0; i < g->outputs.n; i++)
        u.n_uses[g->outputs.data[i].node->id]++;
    return u;
}

/* ---- rebuild ---------------------------------------------------------------------------------------------------------- */
typedef struct {
    Graph *g;
    Node **done;                     /* by id: what the node became */
    Node **alias;                    /* by id: it became whatever this one becomes */
    bool *entered;
    uint32_t n;                      /* nodes there were at the start */
} Rebuild;

/* The node that operand i of n stands for. An operand that was forwarded to n itself (x became choice(x, …)) stays x. */
static Node *operand_target(const Rebuild *r, Node *n, uint32_t i)
{
    Node *to = graph_resolve(r->g, n->in[i]);
    return to != n->in[i] && to == graph_resolve(r->g, n) ? n->in[i] : to;
}

static Node *node_rebuilt(Rebuild *r, Node *n, Arena *scratch)
{
    Node **in = n->n_in ? arena_new_array(scratch, Node *, n->n_in) : NULL;
    bool same = true;

    for (uint32_t i = 0; i < n->n_in; i++) {
        in[i] = r->done[operand_target(r, n, i)->id];
        same &= in[i] == n->in[i];
    }
    return same ? n : graph_copy_with(r->g, n, in);
}

/* Settles n, or pushes what must be settled first and returns false. */
static bool rebuild_step(Rebuild *r, Node *n, Node ***top, Arena *scratch)
{
    if (r->alias[n->id]) {
        r->done[n->id] = r->done[r->alias[n->id]->id];
        return true;
    }
    if (!r->entered[n->id]) {
        bool waits = false;
        r->entered[n->id] = true;
        for (uint32_t i = n->n_in; i-- > 0; ) {
            Node *t = operand_target(r, n, i);
            if (r->done[t->id])
                continue;
            pawl_assert(!r->entered[t->id], "replacing nodes made a cycle through %s", op_name(t->op));
            *(*top)++ = t;
            waits = true;
        }
        if (waits)
            return false;
    }
    for (uint32_t i = 0; i < n->n_in; i++)
        pawl_assert(r->done[operand_target(r, n, i)->id], "replacing nodes made a cycle through %s", op_name(n->op));
    Node *became = node_rebuilt(r, n, scratch), *to = graph_resolve(r->g, became);
    /* the rewritten form may be a node that was itself replaced */
    if (to != became && to->id < r->n && to != graph_resolve(r->g, n)) {
        if (r->done[to->id]) {
            became = r->done[to->id];
        } else if (!r->entered[to->id]) {
            r->alias[n->id] = to;
            *(*top)++ = to;
            return false;
        }
    }
    r->done[n->id] = became;
    return true;
}

static Node *rebuild_node(Rebuild *r, Node *root, Node **stack, Arena *scratch)
{
    Node **top = stack;

    *top++ = root;
    while (top > stack) {
        Node *n = top[-1];
        if (r->done[n->id] || rebuild_step(r, n, &top, scratch))
            top--;
    }
    return r->done[root->id];
}

bool graph_rebuild(Graph *g)
{
    if (map_count(g->forward) == 0)
        return false;
    Arena *scratch = arena_new();
    uint32_t n = g->nodes.n;
    size_t edges = 0;
    bool changed = false;

    for (uint32_t i = 0; i < n; i++)
        edges += g->nodes.data[i]->n_in + 1;
    Rebuild r = {g, arena_new_array(scratch, Node *, n), arena_new_array(scratch, Node *, n),
                 arena_new_array(scratch, bool, n), n};
    Node **stack = arena_new_array(scratch, Node *, edges + g->outputs.n + n);
    for (uint32_t i = 0; i < g->outputs.n; i++) {
        GraphOutput *out = &g->outputs.data[i];
        Node *to = rebuild_node(&r, graph_resolve(g, out->node), stack, scratch);
        changed |= to != out->node;
        out->node = to;
    }
    map_clear(g->forward);
    arena_free(scratch);
    return changed;
}

bool graph_compact(Graph *g)
{
    Arena *scratch = arena_new();
    bool *live = live_nodes(g, scratch);
    uint32_t n = 0, before = g->nodes.n;

    pawl_assert(map_count(g->forward) == 0, "graph_compact before graph_rebuild");
    for (uint32_t i = 0; i < before; i++)
        if (live[i]) {
            g->nodes.data[n] = g->nodes.data[i];
            g->nodes.data[n]->id = n;
            n++;
        }
    arena_free(scratch);
    if (n == before)
        return false;
    g->nodes.n = n;
    g->intern = node_intern_table(g->arena);                  /* dead nodes must not be found again */
    for (uint32_t i = 0; i < n; i++)
        intern_add(g->intern, node_hash(g->nodes.data[i]), g->nodes.data[i]);
    return true;
}

/* ---- specialise ----------------------------------------------------------------------------------------------------------- */
typedef struct { Context *cx; Arena *a; DimSubst *s; uint32_t n; Map *known; } Specialise;

static bool specialise_values(Specialise *sp, const DimValue *values, uint32_t n)
{
    bool ok = true;

    for (uint32_t i = 0; i < n; i++) {
        Dim sym = dim_sym_find(sp->cx->dims, values[i].name);
        if (!sym)
            ok = diag_error(sp->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "no dim is called '%s'", values[i].name);
        else if (values[i].value < sym->lo || values[i].value > sym->hi)
            ok = diag_error(sp->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "%s = %lld is outside its range [%lld, %lld]",
                            sym->name, (long long)values[i].value, (long long)sym->lo, (long long)sym->hi);
        else
            sp->s[sp->n++] = (DimSubst){sym, dim_const(sp->cx->dims, values[i].value)};
    }
    return ok;
}

static Dim specialise_dim(Specialise *sp, Dim d)
{
    if (dim_is_const(d))
        return d;
    Dim to = map_get_ptr(sp->known, d);
    if (!to) {
        to = dim_subst(sp->cx->dims, d, sp->s, sp->n);
        map_set_ptr(sp->known, d, to);
    }
    return to;
}

static const Attr *specialise_attrs(Specialise *sp, const Node *n)
{
    Attr *attrs = n->n_attrs ? arena_copy(sp->a, n->attrs, n->n_attrs * sizeof *attrs) : NULL;

    for (uint32_t i = 0; i < n->n_attrs; i++) {
        AttrKind kind = attr_table[attrs[i].key].kind;
        if (kind == AK_DIM)
            attrs[i].dim = specialise_dim(sp, attrs[i].dim);
        if (kind == AK_DIMS) {
            Dim *d = arena_new_array(sp->a, Dim, attrs[i].n + 1);
            for (uint32_t k = 0; k < attrs[i].n; k++)
                d[k] = specialise_dim(sp, attrs[i].dims[k]);
            attrs[i].dims = d;
        }
    }
    return attrs;
}

static Node *specialise_node(Specialise *sp, Graph *to, const Node *n, Node **map)
{
    Node **in = arena_new_array(sp->a, Node *, n->n_in + 1);
    uint32_t before = to->nodes.n;
    Node *copy;

    for (uint32_t i = 0; i < n->n_in; i++)
        if (!(in[i] = map[n->in[i]->id]))
            return NULL;
    if (n->op == OP_INPUT || n->op == OP_PARAM) {
        Type t = n->type;
        for (uint32_t i = 0; i < t.shape.rank; i++)
            t.shape.d[i] = specialise_dim(sp, t.shape.d[i]);
        copy = graph_input(to, n->op, node_attr(n, ATTR_NAME)->s, t, n->loc);
    } else if (n->op == OP_TENSOR) {
        copy = graph_tensor(to, node_attr(n, ATTR_NAME)->s, n->data);
    } else {
        copy = graph_add(to, n->op, in, n->n_in, specialise_attrs(sp, n), n->n_attrs, n->loc);
    }
    if (copy && copy->id >= before) {
        copy->name = n->name;
        copy->origin = n->origin;
        copy->loc = n->loc;
    }
    return copy;
}

Graph *graph_specialise(const Graph *g, const DimValue *values, uint32_t n)
{
    Arena *scratch = arena_new();
    Graph *to = graph_new(g->cx, g->name);
    Node **map = arena_new_array(scratch, Node *, g->nodes.n + 1);
    Specialise sp = {g->cx, scratch, arena_new_array(scratch, DimSubst, n + 1), 0, map_new(scratch)};
    uint32_t n_order;
    Node **order = graph_order(g, scratch, &n_order);
    bool ok = specialise_values(&sp, values, n);

    for (uint32_t i = 0; ok && i < g->inputs.n; i++) {        /* the signature first, in its order */
        const GraphInput *in = &g->inputs.data[i];
        Node *copy = map[in->node->id] = specialise_node(&sp, to, in->node, map);
        if ((ok = copy != NULL)) {
            to->inputs.data[i] = *in;
            to->inputs.data[i].node = copy;
        }
    }
    for (uint32_t i = 0; ok && i < n_order; i++)
        if (!map[order[i]->id])
            ok = (map[order[i]->id] = specialise_node(&sp, to, order[i], map)) != NULL;
    for (uint32_t i = 0; ok && i < g->outputs.n; i++)
        graph_output(to, g->outputs.data[i].name, map[g->outputs.data[i].node->id]);
    arena_free(scratch);
    if (!ok) {
        graph_free(to);
        return NULL;
    }
    return to;
}

bool *graph_frozen(const Graph *g, Arena *a)
{
    bool *frozen = arena_new_array(a, bool, g->nodes.n + 1);

    for (uint32_t i = 0; i < g->inputs.n; i++) {
        const GraphInput *in = &g->inputs.data[i];
        frozen[in->node->id] = in->node->op == OP_PARAM && !in->is_mutable;
    }
    for (uint32_t id = 0; id < g->nodes.n; id++) {
        const Node *n = g->nodes.data[id];
        if (n->op == OP_INPUT || n->op == OP_PARAM)
            continue;
        frozen[id] = true;
        for (uint32_t i = 0; i < n->n_in; i++)
            frozen[id] &= frozen[n->in[i]->id];
    }
    return frozen;
}
