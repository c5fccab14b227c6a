/* ir/graph.c — building: hash-consing, inputs, outputs, conveniences, forwarding.
 * A node enters the graph once, after its operands, so ids are a topological order at all times. */
#include "ir/attr.h"
#include "ir/graph_private.h"
#include <string.h>

static bool nodes_equal(const void *pa, const void *pb)
{
    const Node *a = pa, *b = pb;

    return a->op == b->op && a->n_in == b->n_in && a->n_attrs == b->n_attrs && a->data == b->data &&
           (a->n_in == 0 || memcmp(a->in, b->in, a->n_in * sizeof a->in[0]) == 0) &&
           attrs_equal(a->attrs, b->attrs, a->n_attrs);
}

uint64_t node_hash(const Node *n)
{
    uint64_t h = hash_mix((uint64_t)n->op, n->n_in);

    for (uint32_t i = 0; i < n->n_in; i++)
        h = hash_mix(h, (uintptr_t)n->in[i]);
    return attrs_hash(n->attrs, n->n_attrs, hash_mix(h, (uintptr_t)n->data));
}

InternTable *node_intern_table(Arena *a) { return intern_new(a, nodes_equal); }

Graph *graph_new(Context *cx, Str name)
{
    Arena *arena = context_arena_new(cx);
    Graph *g = arena_new_of(arena, Graph);

    g->cx = cx;
    g->arena = arena;
    g->name = name;
    g->intern = node_intern_table(arena);
    g->forward = map_new(arena);
    return g;
}

void graph_free(Graph *g)
{
    if (g)
        context_arena_free(g->cx, g->arena);
}

/* The node equal to `probe`, or a copy of it that is now in the graph. */
static Node *node_enter(Graph *g, const Node *probe, uint64_t hash)
{
    Node *n = arena_copy(g->arena, probe, sizeof *probe);

    n->id = g->nodes.n;
    n->in = probe->n_in ? arena_copy(g->arena, probe->in, probe->n_in * sizeof probe->in[0]) : NULL;
    n->attrs = attrs_copy(g->arena, probe->attrs, probe->n_attrs);
    vec_push(g->arena, &g->nodes, n);
    intern_add(g->intern, hash, n);
    return n;
}

static bool check_arity(Graph *g, Op op, Node *const *in, uint32_t n_in, Loc loc)
{
    int arity = op_table[op].arity;

    if (arity < 0 ? n_in == 0 : n_in != (uint32_t)arity)
        return diag_error(g->cx->diags, PAWL_EXIT_INVALID, loc, NULL, "%s takes %s%d operand%s, not %u", op_name(op),
                          arity < 0 ? "at least " : "", arity < 0 ? 1 : arity, arity == 1 || arity < 0 ? "" : "s", n_in);
    for (uint32_t i = 0; i < n_in; i++)
        pawl_assert(in[i], "operand %u of %s is NULL", i, op_name(op));
    return true;
}

Node *graph_add(Graph *g, Op op, Node *const *in, uint32_t n_in, const Attr *attrs, uint32_t n_attrs, Loc loc)
{
    AttrList list;

    if (!check_arity(g, op, in, n_in, loc) || !attrs_normalise(g->cx, op, in, n_in, attrs, n_attrs, loc, &list))
        return NULL;
    Node probe = {.op = op, .n_attrs = (uint16_t)list.n, .n_in = n_in, .in = (Node **)(uintptr_t)in, .attrs = list.a, .loc = loc};
    uint64_t hash = node_hash(&probe);
    const Node *found = intern_find(g->intern, hash, &probe);
    if (found)
        return (Node *)(uintptr_t)found;
    if (!infer_type(g->cx, op, in, n_in, list.a, list.n, loc, &probe.type))
        return NULL;
    return node_enter(g, &probe, hash);
}

Node *graph_input(Graph *g, Op op, const char *name, Type t, Loc loc)
{
    Attr attr = {.key = ATTR_NAME, .s = str_intern(g->cx->strs, name)};
    Node probe = {.op = op, .n_attrs = 1, .attrs = &attr, .type = t, .loc = loc, .name = attr.s};

    pawl_assert(op == OP_INPUT || op == OP_PARAM, "%s is not an input", op_name(op));
    for (uint32_t i = 0; i < g->inputs.n; i++)
        if (g->inputs.data[i].name == attr.s) {
            diag_error(g->cx->diags, PAWL_EXIT_INVALID, loc, NULL, "'%s' is declared twice", name);
            return NULL;
        }
    Node *n = node_enter(g, &probe, node_hash(&probe));
    GraphInput input = {.node = n, .name = attr.s};
    input.dist = (Dist){DIST_NORMAL, 0, op == OP_PARAM ? 0.02 : 1};
    if (dtype_class(t.dtype) != DC_FLOAT)
        input.dist = (Dist){DIST_RANDINT, 0, 2};
    vec_push(g->arena, &g->inputs, input);
    return n;
}

Node *graph_const(Graph *g, DType t, double value)
{
    Attr attrs[] = {{.key = ATTR_VALUE, .f = value}, {.key = ATTR_DTYPE, .dtype = t}};
    Node *n = graph_add(g, OP_CONST, NULL, 0, attrs, 2, LOC_NONE);

    pawl_assert(n, "%g is not a value of %s", value, dtype_name(t));
    return n;
}

Node *graph_tensor(Graph *g, const char *name, const Tensor *data)
{
    Attr attr = {.key = ATTR_NAME, .s = str_intern(g->cx->strs, name)};
    Node probe = {.op = OP_TENSOR, .n_attrs = 1, .attrs = &attr, .data = data, .name = attr.s};
    const Node *found;

    pawl_assert(data && data->rank <= MAX_RANK, "tensor %s has no usable data", name);
    probe.type = (Type){.dtype = data->dtype, .shape = {.rank = (uint32_t)data->rank}};
    for (int i = 0; i < data->rank; i++)
        probe.type.shape.d[i] = dim_const(g->cx->dims, data->dims[i]);
    uint64_t hash = node_hash(&probe);
    if ((found = intern_find(g->intern, hash, &probe)))
        return (Node *)(uintptr_t)found;
    return node_enter(g, &probe, hash);
}

/* ---- conveniences --------------------------------------------------------------------------------------------------- */
static Node *must(Graph *g, Op op, Node *const *in, uint32_t n_in, const Attr *attrs, uint32_t n_attrs)
{
    uint32_t before = diags_count(g->cx->diags);
    Node *n = graph_add(g, op, in, n_in, attrs, n_attrs, n_in ? in[0]->loc : LOC_NONE);

    pawl_assert(n, "%s: %s", op_name(op),
                diags_count(g->cx->diags) > before ? diags_at(g->cx->diags, before)->text : "refused");
    return n;
}

Node *graph_unary(Graph *g, Op op, Node *a) { return must(g, op, &a, 1, NULL, 0); }

Node *graph_binary(Graph *g, Op op, Node *a, Node *b)
{
    Shape s;
    bool ok = shape_broadcast(&a->type.shape, &b->type.shape, g->cx->dims, &s);

    pawl_assert(ok, "%s of %s and %s", op_name(op), type_text(g->cx, &a->type), type_text(g->cx, &b->type));
    Node *in[2] = {graph_expand(g, a, &s), graph_expand(g, b, &s)};
    return must(g, op, in, 2, NULL, 0);
}

Node *graph_cast(Graph *g, Node *a, DType t)
{
    Attr attr = {.key = ATTR_DTYPE, .dtype = t};
    return a->type.dtype == t ? a : must(g, OP_CAST, &a, 1, &attr, 1);
}

Node *graph_reshape(Graph *g, Node *a, const Shape *s)
{
    Attr attr = {.key = ATTR_SHAPE, .n = s->rank, .dims = s->d};
    return shape_equal(&a->type.shape, s) ? a : must(g, OP_RESHAPE, &a, 1, &attr, 1);
}

Node *graph_expand(Graph *g, Node *a, const Shape *s)
{
    Attr attr = {.key = ATTR_SHAPE, .n = s->rank, .dims = s->d};
    return shape_equal(&a->type.shape, s) ? a : must(g, OP_EXPAND, &a, 1, &attr, 1);
}

Node *graph_permute(Graph *g, Node *a, const int64_t *perm)
{
    Attr attr = {.key = ATTR_PERM, .n = node_rank(a), .ints = perm};
    return must(g, OP_PERMUTE, &a, 1, &attr, 1);
}

Node *graph_slice(Graph *g, Node *a, int axis, Dim start, Dim size, int64_t step)
{
    Attr attrs[] = {{.key = ATTR_AXIS, .i = axis}, {.key = ATTR_START, .dim = start}, {.key = ATTR_SIZE, .dim = size},
                    {.key = ATTR_STEP, .i = step}};
    return must(g, OP_SLICE, &a, 1, attrs, 4);
}

Node *graph_reduce(Graph *g, Op op, Node *a, const int64_t *axes, uint32_t n, bool keepdims)
{
    Attr attrs[] = {{.key = ATTR_AXES, .n = n, .ints = axes}, {.key = ATTR_KEEPDIMS, .i = keepdims}};
    return must(g, op, &a, 1, attrs, 2);
}

Node *graph_concat(Graph *g, Node *const *in, uint32_t n, int axis)
{
    Attr attr = {.key = ATTR_AXIS, .i = axis};
    return must(g, OP_CONCAT, in, n, &attr, 1);
}

Node *graph_matmul(Graph *g, Node *a, Node *b, bool trans_a, bool trans_b)
{
    Attr attrs[] = {{.key = ATTR_TRANS_A, .i = trans_a}, {.key = ATTR_TRANS_B, .i = trans_b}};
    Node *in[2] = {a, b};
    return must(g, OP_MATMUL, in, 2, attrs, 2);
}

Node *graph_copy_with(Graph *g, const Node *n, Node *const *in)
{
    if (n->n_in == 0)
        return (Node *)(uintptr_t)n;
    uint32_t before = g->nodes.n;
    Node *copy = graph_add(g, n->op, in, n->n_in, n->attrs, n->n_attrs, n->loc);
    pawl_assert(copy, "%s does not take the new operands", op_name(n->op));
    if (copy->id >= before) {
        copy->name = n->name;
        copy->origin = n->origin;
    }
    return copy;
}

/* ---- outputs and forwarding ------------------------------------------------------------------------------------------- */
void graph_output(Graph *g, const char *name, Node *n)
{
    GraphOutput out = {str_intern(g->cx->strs, name), n};
    vec_push(g->arena, &g->outputs, out);
}

Node *graph_resolve(const Graph *g, Node *n)
{
    Node *root = n;

    if (map_count(g->forward) == 0)
        return n;
    for (Node *next; (next = map_get_ptr(g->forward, root)); )
        root = next;
    for (Node *next; n != root && (next = map_get_ptr(g->forward, n)) != root; n = next)    /* compress the path */
        map_set_ptr(g->forward, n, root);
    return root;
}

void graph_replace(Graph *g, Node *old, Node *new_node)
{
    Node *from = graph_resolve(g, old), *to = graph_resolve(g, new_node);

    pawl_assert(type_equal(&from->type, &to->type), "%s %s replaced by %s %s", op_name(from->op),
                type_text(g->cx, &from->type), op_name(to->op), type_text(g->cx, &to->type));
    if (from == to)
        return;
    map_set_ptr(g->forward, from, to);
    if (!to->name)
        to->name = old->name;
    if (!to->loc.source)
        to->loc = old->loc;
}
