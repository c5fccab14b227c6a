/* passes/rules/steps.c — what one step of a match program does. The interpreter calls these step by step; generated code calls
 * them in straight lines. False: no match here. */
#include "passes/rules/rule.h"
#include "base/file.h"
#include <math.h>
#include <string.h>

#define MAX_SIBLINGS_SEEN 4096      /* users of an anchor that are looked at: keeps matching linear */

static bool bind_value(RuleMatch *m, uint8_t slot, Node *n)
{
    if (m->value[slot])
        return m->value[slot] == n;
    m->value[slot] = n;
    return true;
}

bool rule_bind_operand(RuleRun *r, RuleMatch *m, uint8_t dst, uint8_t src, uint32_t k, uint32_t n_in, int flip)
{
    const Node *n = m->value[src];

    if (n->n_in != n_in)
        return false;
    if (flip >= 0 && m->way >> flip & 1)
        k ^= 1;
    return bind_value(m, dst, rule_operand(r, n, k));
}

bool rule_bind_operands(RuleRun *r, RuleMatch *m, uint8_t list, uint8_t src)
{
    const Node *n = m->value[src];
    NodeList *l = &m->list[list];

    l->data = arena_new_array(r->scratch, Node *, n->n_in);
    l->n = l->cap = n->n_in;
    for (uint32_t i = 0; i < n->n_in; i++)
        l->data[i] = rule_operand(r, n, i);
    return true;
}

bool rule_bind_op(RuleMatch *m, uint8_t src, OpSet ops, uint8_t slot)
{
    Op op = m->value[src]->op;

    if (!opset_has(ops, op))
        return false;
    if (slot == RULE_NO_SLOT)
        return true;
    if (m->op[slot] != OP_NONE)
        return m->op[slot] == op;
    m->op[slot] = op;
    return true;
}

/* Integers have one zero: the sign of a float zero counts. */
bool rule_is_literal(const RuleMatch *m, uint8_t src, double v)
{
    const Node *n = m->value[src];
    double have;

    if (!node_is_const(n, &have))
        return false;
    if (isnan(v))
        return isnan(have);
    return have == v && (!dtype_is_float(n->type.dtype) || signbit(have) == signbit(v));
}

/* ---- attributes and types ---------------------------------------------------------------------------------------------- */
static RuleValue attr_default(AttrKey key, const RuleRun *r, const Node *n)
{
    switch (key) {
    case ATTR_START: case ATTR_LOW: case ATTR_HIGH: return rv_int(0);
    case ATTR_STEP:     return rv_int(1);
    case ATTR_KEEPDIMS: case ATTR_TRANS_A: case ATTR_TRANS_B: return rv_int(0);
    case ATTR_FILL:     return rv_float(0);
    case ATTR_DTYPE:    return rv_dtype(rule_operand(r, n, 0)->type.dtype);
    case ATTR_VALUE: case ATTR_SHAPE: case ATTR_PERM: case ATTR_AXIS: case ATTR_AXES: case ATTR_SIZE: case ATTR_NAME:
    case ATTR_TERMS: case ATTR_ID: case ATTR_COUNT: break;
    }
    return (RuleValue){0};
}

static RuleValue attr_value(const RuleRun *r, const Node *n, AttrKey key)
{
    const Attr *a = node_attr(n, key);

    if (!a)
        return attr_default(key, r, n);
    switch (attr_table[key].kind) {
    case AK_INT:   return rv_int(a->i);
    case AK_FLOAT: return rv_float(a->f);
    case AK_DIM:   return rv_dim(a->dim);
    case AK_DIMS:  return rv_dims(a->dims, a->n);
    case AK_INTS:  return rv_ints(a->ints, a->n);
    case AK_DTYPE: return rv_dtype(a->dtype);
    case AK_STR:   break;
    }
    return (RuleValue){0};
}

static bool bind_attr(RuleRun *r, RuleMatch *m, uint8_t slot, RuleValue v)
{
    if (v.kind == RV_NONE)
        return false;
    if (m->attr[slot].kind != RV_NONE)
        return rule_same(r, m->attr[slot], v);
    m->attr[slot] = v;
    return true;
}

bool rule_bind_attr(RuleRun *r, RuleMatch *m, uint8_t src, AttrKey key, uint8_t slot)
{
    return bind_attr(r, m, slot, attr_value(r, m->value[src], key));
}

bool rule_attr_is(RuleRun *r, const RuleMatch *m, uint8_t src, AttrKey key, RuleValue v)
{
    return rule_same(r, attr_value(r, m->value[src], key), v);
}

bool rule_attr_default(const RuleMatch *m, uint8_t src, AttrKey key) { return !node_attr(m->value[src], key); }

bool rule_type_is(const RuleMatch *m, uint8_t src, uint16_t dtypes, bool has_shape, bool open, uint32_t n_dims)
{
    const Node *n = m->value[src];
    return (dtypes >> n->type.dtype & 1) && (!has_shape || (open ? node_rank(n) >= n_dims : node_rank(n) == n_dims));
}

static RuleValue trailing_dim(const Node *n, uint32_t k, uint32_t n_dims)
{
    return rv_dim(n->type.shape.d[node_rank(n) - n_dims + k]);
}

bool rule_bind_dim(RuleRun *r, RuleMatch *m, uint8_t src, uint32_t k, uint32_t n_dims, uint8_t slot)
{
    return bind_attr(r, m, slot, trailing_dim(m->value[src], k, n_dims));
}

bool rule_dim_is(RuleRun *r, const RuleMatch *m, uint8_t src, uint32_t k, uint32_t n_dims, RuleValue v)
{
    return rule_same(r, trailing_dim(m->value[src], k, n_dims), v);
}

/* ---- elements ------------------------------------------------------------------------------------------------------------ */
static void list_push(RuleRun *r, NodeList *l, Node *n) { vec_push(r->scratch, l, n); }

static void collect(RuleRun *r, RuleMatch *m, const EachSpec *e)
{
    for (uint32_t i = 0; i < e->n_collect; i++)
        list_push(r, &m->list[e->collect[i].list], m->value[e->collect[i].value]);
}

static bool element(RuleRun *r, RuleMatch *m, const EachSpec *e, Node *n, StepsFn steps, const void *program)
{
    for (uint32_t i = 0; i < e->n_fresh; i++)
        m->value[e->fresh[i]] = NULL;
    m->value[e->src] = n;
    return steps(r, m, program);
}

bool rule_each(RuleRun *r, RuleMatch *m, const EachSpec *e, StepsFn steps, const void *program)
{
    NodeList all = m->list[e->list];

    for (uint32_t i = 0; i < all.n; i++) {
        m->index = i;
        if (!element(r, m, e, all.data[i], steps, program))
            return false;
        collect(r, m, e);
    }
    return all.n > 0;
}

/* All siblings, of which the node at hand must be the first: so a family is matched once. */
bool rule_siblings(RuleRun *r, RuleMatch *m, const EachSpec *e, StepsFn steps, const void *program)
{
    Node *root = m->value[e->src];
    uint32_t n;

    if (!element(r, m, e, root, steps, program))
        return false;
    Node **users = uses_of(r->uses, m->value[e->anchor], &n);
    if (n > MAX_SIBLINGS_SEEN)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        if (!element(r, m, e, users[i], steps, program))
            continue;
        if (m->list[e->list].n == 0 && users[i] != root)
            return false;
        collect(r, m, e);
    }
    return m->list[e->list].n >= 2;
}

bool rule_find(RuleRun *r, RuleMatch *m, const EachSpec *e, StepsFn steps, const void *program)
{
    uint32_t n;
    Node **users = uses_of(r->uses, m->value[e->anchor], &n);

    for (uint32_t i = 0; i < n && n <= MAX_SIBLINGS_SEEN; i++)
        if (element(r, m, e, users[i], steps, program))
            return true;
    return false;
}

bool rule_repeat(RuleRun *r, RuleMatch *m, const EachSpec *e, StepsFn steps, const void *program)
{
    uint32_t n = m->list[e->list].n;

    for (m->index = 0; m->index < n; m->index++) {
        if (!steps(r, m, program))
            return false;
        collect(r, m, e);
    }
    return true;
}

/* ---- building ---------------------------------------------------------------------------------------------------------------- */
static bool attr_of_value(RuleRun *r, AttrKey key, RuleValue v, Attr *out)
{
    DimPool *p = r->g->cx->dims;

    out->key = key;
    switch (attr_table[key].kind) {
    case AK_INT:
        out->i = v.kind == RV_BOOL ? v.b : v.i;
        return v.kind == RV_INT || v.kind == RV_BOOL;
    case AK_FLOAT:
        out->f = v.kind == RV_INT ? (double)v.i : v.f;
        return v.kind == RV_INT || v.kind == RV_FLOAT;
    case AK_DIM:
        out->dim = v.kind == RV_INT ? dim_const(p, v.i) : v.dim;
        return v.kind == RV_INT || v.kind == RV_DIM;
    case AK_DIMS:
        out->n = v.n;
        out->dims = v.dims;
        return v.kind == RV_DIMS;
    case AK_INTS:
        out->n = v.n;
        out->ints = v.ints;
        return v.kind == RV_INTS;
    case AK_DTYPE:
        out->dtype = v.dtype;
        return v.kind == RV_DTYPE;
    case AK_STR:
        break;
    }
    return false;
}

/* A number as an operand: a literal in the type of its neighbour, or of `like`. */
static Node *number_operand(RuleRun *r, const Node *like, RuleValue v)
{
    if (v.kind != RV_INT && v.kind != RV_FLOAT && v.kind != RV_BOOL)
        return NULL;
    double x = v.kind == RV_FLOAT ? v.f : v.kind == RV_INT ? (double)v.i : (double)v.b;
    return graph_resolve(r->g, graph_expand(r->g, graph_const(r->g, like->type.dtype, x), &like->type.shape));
}

static const Node *neighbour(const RuleValue *in, uint32_t n, Op op)
{
    for (uint32_t i = op == OP_WHERE; i < n; i++)
        if (in[i].kind == RV_NODE)
            return in[i].node;
    return NULL;
}

static bool push_operand(RuleRun *r, NodeList *l, const RuleValue *in, uint32_t n, uint32_t i, Op op)
{
    RuleValue v = in[i];

    if (v.kind == RV_NODES) {
        for (uint32_t k = 0; k < v.n; k++)
            list_push(r, l, v.nodes[k]);
        return true;
    }
    const Node *like = neighbour(in, n, op);
    Node *x = v.kind == RV_NODE ? v.node : like ? number_operand(r, like, v) : NULL;
    if (x)
        list_push(r, l, x);
    return x != NULL;
}

bool rule_make(RuleRun *r, RuleMatch *m, uint8_t dst, Op op, const RuleValue *in, uint32_t n_in, const AttrKey *keys,
               const RuleValue *attrs, uint32_t n_attrs)
{
    NodeList operands = {0};
    Attr list[MAX_OP_ATTRS] = {0};

    for (uint32_t i = 0; i < n_in; i++)
        if (!push_operand(r, &operands, in, n_in, i, op))
            return false;
    for (uint32_t i = 0; i < n_attrs; i++)
        if (!attr_of_value(r, keys[i], attrs[i], &list[i]))
            return false;
    Node *n = graph_add(r->g, op, operands.data, operands.n, list, n_attrs, m->value[0]->loc);
    if (!n)
        return false;
    m->value[dst] = graph_resolve(r->g, n);
    return true;
}

bool rule_alias(RuleRun *r, RuleMatch *m, uint8_t dst, RuleValue v)
{
    m->value[dst] = v.kind == RV_NODE ? v.node : number_operand(r, m->value[0], v);
    return m->value[dst] != NULL;
}

/* ---- a try ------------------------------------------------------------------------------------------------------------------------ */
static void match_clear(RuleMatch *m, unsigned way)
{
    memset(m, 0, sizeof *m);
    for (int i = 0; i < RULE_MAX_OPS; i++)
        m->op[i] = OP_NONE;
    m->way = way;
}

static uint32_t sites_of(const RuleRun *r, const RuleMatch *m, const TrySpec *t, RuleSite *sites)
{
    uint32_t n = t->family ? m->list[t->old_root[0]].n : t->n_roots;

    for (uint32_t i = 0; i < n; i++)
        sites[i] = t->family ? (RuleSite){m->list[t->old_root[0]].data[i], m->list[t->new_root[0]].data[i]}
                             : (RuleSite){m->value[t->old_root[i]], m->value[t->new_root[i]]};
    for (uint32_t i = 0; i < n; i++)
        sites[i].new_node = graph_resolve(r->g, sites[i].new_node);
    return n;
}

/* True when every root becomes something else. */
static bool moves(const RuleSite *sites, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (sites[i].old_node == sites[i].new_node)
            return false;
    return n > 0;
}

static bool try_ways(RuleRun *r, const TrySpec *t, StepsFn match, StepsFn build, const void *program, Node *n)
{
    RuleMatch m;

    for (unsigned way = 0; way < 1u << t->n_ways; way++) {
        match_clear(&m, way);
        m.value[t->root] = n;
        r->built_from = r->g->nodes.n;
        if (!match(r, &m, program) || !build(r, &m, program))
            continue;
        uint32_t most = t->family ? m.list[t->old_root[0]].n : RULE_MAX_ROOTS;
        RuleSite *sites = arena_new_array(r->scratch, RuleSite, most + 1);
        uint32_t n_sites = sites_of(r, &m, t, sites);
        if (moves(sites, n_sites) && r->fire(r, t->rule, sites, n_sites))
            return true;
    }
    return false;
}

bool rule_try(RuleRun *r, const TrySpec *t, StepsFn match, StepsFn build, const void *program, Node *n)
{
    if (!r->enabled[t->rule])
        return false;
    RuleCount *count = &r->counts[t->rule];
    double start = r->timed ? clock_seconds() : 0;
    bool fired = try_ways(r, t, match, build, program, n);

    count->tried++;
    count->fired += fired;
    if (r->timed)
        count->seconds += clock_seconds() - start;
    return fired;
}
