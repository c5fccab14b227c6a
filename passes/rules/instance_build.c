/* passes/rules/instance_build.c — patterns to graphs, with attributes drawn to fit; see instance.c. */
#include "base/yaml.h"
#include "passes/rules/instance.h"
#include <string.h>

/* ---- attributes -------------------------------------------------------------------------------------------------------------- */
static const StepAttr *pattern_attr(const Pattern *p, AttrKey key)
{
    for (uint32_t i = 0; i < p->n_attrs; i++)
        if (p->attrs[i].key == key)
            return &p->attrs[i];
    return NULL;
}

static RuleValue hinted_value(Gen *g, Str name)
{
    const YamlNode *y = hint_for(g, name);
    DType t;
    int64_t i;

    if (!y)
        return (RuleValue){0};
    if (y->kind == YAML_SEQUENCE) {
        int64_t *ints = arena_new_array(g->g->arena, int64_t, y->n + 1);
        for (uint32_t k = 0; k < y->n; k++)
            str_to_i64(y->items[k]->text, &ints[k]);
        return rv_ints(ints, y->n);
    }
    if (dtype_parse(y->text, &t))
        return rv_dtype(t);
    return str_to_i64(y->text, &i) ? rv_int(i) : (RuleValue){0};
}

/* The value that the pattern fixes: a constant, a bound variable, a hint. NONE: to be drawn. */
static RuleValue fixed(Gen *g, const Pattern *p, AttrKey key)
{
    const StepAttr *a = pattern_attr(p, key);

    if (!a || a->expr->kind == REX_ANY)
        return (RuleValue){0};
    if (a->expr->kind == REX_ATTR) {
        RuleValue v = g->attr[a->expr->slot];
        return v.kind != RV_NONE ? v : hinted_value(g, g->rule->attr_name[a->expr->slot]);
    }
    RuleMatch m = {0};
    RuleRun r = {.g = g->g, .scratch = g->g->arena};
    memcpy(m.attr, g->attr, sizeof m.attr);
    memcpy(m.value, g->value, sizeof m.value);
    return interpret_expr(&r, &m, a->expr);
}

static void bind(Gen *g, const Pattern *p, AttrKey key, RuleValue v)
{
    const StepAttr *a = pattern_attr(p, key);
    if (a && a->expr->kind == REX_ATTR)
        g->attr[a->expr->slot] = v;
}

/* An integer attribute: fixed, else `drawn` where the pattern leaves it free, else its default. */
static int64_t int_attr(Gen *g, const Pattern *p, AttrKey key, int64_t drawn, int64_t otherwise)
{
    RuleValue v = fixed(g, p, key);

    if (v.kind == RV_NONE)
        v = rv_int(pattern_attr(p, key) ? drawn : otherwise);
    bind(g, p, key, v);
    return v.kind == RV_INT ? v.i : otherwise;
}

static Node *add(Gen *g, Op op, Node *const *in, uint32_t n, const Attr *attrs, uint32_t n_attrs)
{
    for (uint32_t i = 0; i < n; i++)
        if (!in[i])
            return NULL;
    return graph_add(g->g, op, in, n, attrs, n_attrs, LOC_NONE);
}

static void draw_permutation(Gen *g, int64_t *perm, uint32_t rank)
{
    for (uint32_t i = 0; i < rank; i++)
        perm[i] = i;
    if (chance(g, 20) || rank < 2)
        return;
    if (chance(g, 35)) {
        perm[rank - 1] = rank - 2;
        perm[rank - 2] = rank - 1;
        return;
    }
    for (uint32_t i = rank; i-- > 1; ) {
        uint32_t k = draw(g, i + 1);
        int64_t t = perm[i];
        perm[i] = perm[k];
        perm[k] = t;
    }
}

static uint32_t draw_axes(Gen *g, int64_t *axes, uint32_t rank)
{
    uint32_t n = 0, all = chance(g, 25);

    for (uint32_t i = 0; i < rank; i++)
        if (all || chance(g, 50))
            axes[n++] = i;
    if (n == 0 && rank)
        axes[n++] = draw(g, rank);
    return n;
}

/* ---- movement ------------------------------------------------------------------------------------------------------------------ */
static Node *operand(Gen *g, const Pattern *p, uint32_t k, const Type *like) { return build_pattern(g, p->in[k], like); }

static Node *build_permute(Gen *g, const Pattern *p, const Type *like)
{
    RuleValue perm = fixed(g, p, ATTR_PERM);
    int64_t *drawn = arena_new_array(g->g->arena, int64_t, MAX_RANK);
    Node *x = NULL;

    if (!like && !(x = operand(g, p, 0, NULL)))
        return NULL;
    uint32_t rank = like ? like->shape.rank : node_rank(x);
    if (perm.kind == RV_NONE) {
        draw_permutation(g, drawn, rank);
        perm = rv_ints(drawn, rank);
    }
    if (perm.kind != RV_INTS || perm.n != rank)
        return NULL;
    bind(g, p, ATTR_PERM, perm);
    if (like) {
        Type t = *like;
        for (uint32_t i = 0; i < rank; i++)
            t.shape.d[perm.ints[i]] = like->shape.d[i];
        x = operand(g, p, 0, &t);
    }
    Attr a = {.key = ATTR_PERM, .n = rank, .ints = perm.ints};
    return add(g, OP_PERMUTE, &x, 1, &a, 1);
}

/* The same elements in another shape: dims merged, split off, ones put in. */
static Shape draw_regrouped(Gen *g, const Shape *s)
{
    Shape out = {0};

    if (chance(g, 20))
        return *s;
    for (uint32_t i = 0; i < s->rank; i++) {
        if (chance(g, 20) && out.rank < 6)
            out.d[out.rank++] = dim_const(g->cx->dims, 1);
        bool drop = dim_is(s->d[i], 1) && chance(g, 50), merge = out.rank > 0 && chance(g, 35);
        if (merge)
            out.d[out.rank - 1] = dim_mul(g->cx->dims, out.d[out.rank - 1], s->d[i]);
        else if (!drop && out.rank < 7)
            out.d[out.rank++] = s->d[i];
        else if (!drop)
            out.d[6] = dim_mul(g->cx->dims, out.d[6], s->d[i]);
    }
    return out;
}

static Node *build_reshape(Gen *g, const Pattern *p, const Type *like)
{
    RuleValue shape = fixed(g, p, ATTR_SHAPE);
    Type t;
    Node *x;

    if (like) {
        t = *like;
        t.shape = draw_regrouped(g, &like->shape);
    }
    if (!(x = operand(g, p, 0, like ? &t : NULL)))
        return NULL;
    Shape to = like ? like->shape : draw_regrouped(g, &x->type.shape);
    if (!like && chance(g, 25)) {                              /* dims put before */
        to = x->type.shape;
        for (uint32_t i = to.rank; i > 0; i--)
            to.d[i] = to.d[i - 1];
        to.d[0] = dim_const(g->cx->dims, 1);
        to.rank++;
    }
    if (shape.kind == RV_DIMS) {
        to.rank = shape.n;
        memcpy(to.d, shape.dims, shape.n * sizeof *to.d);
    }
    if (to.rank >= MAX_RANK)
        return NULL;
    Dim *dims = arena_copy(g->g->arena, to.d, sizeof to.d);
    bind(g, p, ATTR_SHAPE, rv_dims(dims, to.rank));
    Attr a = {.key = ATTR_SHAPE, .n = to.rank, .dims = dims};
    return add(g, OP_RESHAPE, &x, 1, &a, 1);
}

static Node *build_expand(Gen *g, const Pattern *p, const Type *like)
{
    Type t = {0};
    Node *x;
    Shape to;

    if (like) {
        uint32_t dropped = like->shape.rank ? draw(g, like->shape.rank + 1) * chance(g, 50) : 0;
        t = *like;
        t.shape.rank -= dropped;
        for (uint32_t i = 0; i < t.shape.rank; i++)
            t.shape.d[i] = chance(g, 50) ? dim_const(g->cx->dims, 1) : like->shape.d[i + dropped];
    }
    if (!(x = operand(g, p, 0, like ? &t : NULL)))
        return NULL;
    if (like) {
        to = like->shape;
    } else {
        uint32_t added = chance(g, 40) ? draw(g, 3) : 0;
        to = (Shape){.rank = node_rank(x) + added};
        if (to.rank >= MAX_RANK)
            return NULL;
        for (uint32_t i = 0; i < to.rank; i++) {
            Dim from = i < added ? NULL : x->type.shape.d[i - added];
            to.d[i] = !from || (dim_is(from, 1) && chance(g, 75)) ? draw_dim(g) : from;
        }
    }
    Dim *dims = arena_copy(g->g->arena, to.d, sizeof to.d);
    bind(g, p, ATTR_SHAPE, rv_dims(dims, to.rank));
    Attr a = {.key = ATTR_SHAPE, .n = to.rank, .dims = dims};
    return add(g, OP_EXPAND, &x, 1, &a, 1);
}

static Node *build_slice(Gen *g, const Pattern *p, const Type *like)
{
    Node *x = operand(g, p, 0, like);

    if (!x || node_rank(x) == 0)
        return NULL;
    int64_t axis = int_attr(g, p, ATTR_AXIS, draw(g, node_rank(x)), draw(g, node_rank(x)));
    if (axis < 0 || axis >= node_rank(x))
        return NULL;
    int64_t dim = x->type.shape.d[axis]->value, step = int_attr(g, p, ATTR_STEP, 1 + draw(g, 2), 1);
    bool row = g->cursor >= 0, whole = !row && chance(g, 30);
    int64_t from = row ? g->cursor : whole ? 0 : draw(g, (uint32_t)dim);
    if (from >= dim)
        return NULL;
    RuleValue start = fixed(g, p, ATTR_START), size = fixed(g, p, ATTR_SIZE);
    if (start.kind != RV_INT)
        start = rv_int(pattern_attr(p, ATTR_START) ? from : 0);
    int64_t most = (dim - start.i + step - 1) / step;
    if (most < 1)
        return NULL;
    if (size.kind != RV_INT)
        size = rv_int(whole ? most : 1 + draw(g, (uint32_t)most));
    bind(g, p, ATTR_START, start);
    bind(g, p, ATTR_SIZE, size);
    g->cursor = row ? start.i + size.i : g->cursor;
    Attr a[] = {{.key = ATTR_AXIS, .i = axis}, {.key = ATTR_START, .dim = dim_const(g->cx->dims, start.i)},
                {.key = ATTR_SIZE, .dim = dim_const(g->cx->dims, size.i)}, {.key = ATTR_STEP, .i = step}};
    return add(g, OP_SLICE, &x, 1, a, 4);
}

static Node *build_pad(Gen *g, const Pattern *p, const Type *like)
{
    Node *x = operand(g, p, 0, like);

    if (!x || node_rank(x) == 0)
        return NULL;
    int64_t axis = int_attr(g, p, ATTR_AXIS, draw(g, node_rank(x)), draw(g, node_rank(x)));
    int64_t low = int_attr(g, p, ATTR_LOW, draw(g, 3), 0), high = int_attr(g, p, ATTR_HIGH, draw(g, 3), 0);
    RuleValue fill = fixed(g, p, ATTR_FILL);
    double f = fill.kind == RV_INT ? (double)fill.i : fill.kind == RV_FLOAT ? fill.f : pattern_attr(p, ATTR_FILL) ? draw(g, 2) : 0;
    bind(g, p, ATTR_FILL, rv_float(f));
    Attr a[] = {{.key = ATTR_AXIS, .i = axis}, {.key = ATTR_LOW, .dim = dim_const(g->cx->dims, low)},
                {.key = ATTR_HIGH, .dim = dim_const(g->cx->dims, high)}, {.key = ATTR_FILL, .f = f}};
    return add(g, OP_PAD, &x, 1, a, 4);
}

static RuleValue axes_attr(Gen *g, const Pattern *p, uint32_t rank)
{
    RuleValue v = fixed(g, p, ATTR_AXES);

    if (v.kind != RV_INTS) {
        int64_t *axes = arena_new_array(g->g->arena, int64_t, MAX_RANK);
        v = rv_ints(axes, draw_axes(g, axes, rank));
    }
    bind(g, p, ATTR_AXES, v);
    return v;
}

static Node *build_flip(Gen *g, const Pattern *p, const Type *like)
{
    Node *x = operand(g, p, 0, like);

    if (!x || node_rank(x) == 0)
        return NULL;
    RuleValue axes = axes_attr(g, p, node_rank(x));
    Attr a = {.key = ATTR_AXES, .n = axes.n, .ints = axes.ints};
    return add(g, OP_FLIP, &x, 1, &a, 1);
}

/* Parts alike but for their extent along the axis. */
static Node *build_concat(Gen *g, const Pattern *p, const Type *like)
{
    const Pattern *list = p->in[0];
    Node *parts[4];
    uint32_t n = list->kind == PAT_LIST ? 1 + draw(g, 3) : p->n_in;
    Type t = {.dtype = like ? like->dtype : DT_F32, .shape = like ? like->shape : draw_shape(g)};

    if (t.shape.rank == 0 || n > 4)
        return NULL;
    int64_t axis = int_attr(g, p, ATTR_AXIS, draw(g, t.shape.rank), draw(g, t.shape.rank));
    if (axis >= t.shape.rank)
        return NULL;
    g->cursor = list->kind == PAT_LIST && list->each ? (int64_t)draw(g, 2) : -1;
    for (uint32_t i = 0; i < n; i++) {
        t.shape.d[axis] = draw_dim(g);
        if (list->kind != PAT_LIST)
            parts[i] = operand(g, p, i, &t);
        else if (list->each)
            parts[i] = build_pattern(g, list->each, NULL);
        else
            parts[i] = graph_input(g->g, OP_INPUT, arena_printf(g->g->arena, "v%u", g->g->inputs.n), t, LOC_NONE);
        for (uint8_t v = 0; v < g->rule->n_match_values; v++)
            if (list->kind == PAT_LIST && (strchr(g->rule->value_name[v], '[') || v == list->element))
                g->value[v] = NULL;
    }
    g->cursor = -1;
    Attr a = {.key = ATTR_AXIS, .i = axis};
    return add(g, OP_CONCAT, parts, n, &a, 1);
}

/* ---- other classes ------------------------------------------------------------------------------------------------------------------ */
static Node *build_reduce(Gen *g, const Pattern *p, Op op)
{
    Node *x = operand(g, p, 0, NULL);

    if (!x)
        return NULL;
    RuleValue axes = axes_attr(g, p, node_rank(x));
    Attr a[] = {{.key = ATTR_AXES, .n = axes.n, .ints = axes.ints},
                {.key = ATTR_KEEPDIMS, .i = int_attr(g, p, ATTR_KEEPDIMS, draw(g, 2), 0)}};
    return add(g, op, &x, 1, a, 2);
}

static Node *build_scan(Gen *g, const Pattern *p, Op op, const Type *like)
{
    Node *x = operand(g, p, 0, like);

    if (!x || node_rank(x) == 0)
        return NULL;
    Attr a = {.key = ATTR_AXIS, .i = int_attr(g, p, ATTR_AXIS, draw(g, node_rank(x)), draw(g, node_rank(x)))};
    return add(g, op, &x, 1, &a, 1);
}

static Node *build_cast(Gen *g, const Pattern *p, const Type *like)
{
    static const DType often[] = {DT_F32, DT_F32, DT_F64, DT_BF16, DT_F16, DT_I64, DT_I32, DT_I8};
    RuleValue to = fixed(g, p, ATTR_DTYPE);
    Node *x = operand(g, p, 0, NULL);

    if (to.kind != RV_DTYPE)
        to = rv_dtype(like ? like->dtype : often[draw(g, sizeof often / sizeof *often)]);
    bind(g, p, ATTR_DTYPE, to);
    Attr a = {.key = ATTR_DTYPE, .dtype = to.dtype};
    return x ? add(g, OP_CAST, &x, 1, &a, 1) : NULL;
}

static Node *already(const Gen *g, const Pattern *p) { return p->kind == PAT_VALUE ? g->value[p->slot] : NULL; }

/* a[…, M, K] b[…, K, N], either stored transposed; what is there already sets the dims. */
static Node *build_matmul(Gen *g, const Pattern *p)
{
    static const DType dtypes[] = {DT_F32, DT_F32, DT_F64, DT_BF16};
    int64_t ta = int_attr(g, p, ATTR_TRANS_A, draw(g, 2), 0), tb = int_attr(g, p, ATTR_TRANS_B, draw(g, 2), 0);
    Type a = {.dtype = dtypes[draw(g, 4)], .shape = {.rank = 2 + draw(g, 2)}}, b;
    Node *x = already(g, p->in[0]);

    for (uint32_t i = 0; i < a.shape.rank; i++)
        a.shape.d[i] = draw_dim(g);
    if (x)
        a = x->type;
    if (a.shape.rank < 2)
        return NULL;
    uint32_t rank = a.shape.rank;
    b = a;
    bool flat = chance(g, 60);
    if (flat)
        b.shape.rank = 2;
    Dim k = a.shape.d[ta ? rank - 2 : rank - 1], n = draw_dim(g);
    b.shape.d[b.shape.rank - 2] = tb ? n : k;
    b.shape.d[b.shape.rank - 1] = tb ? k : n;
    Node *in[2] = {operand(g, p, 0, &a), NULL};
    in[1] = in[0] ? operand(g, p, 1, &b) : NULL;
    Attr attrs[] = {{.key = ATTR_TRANS_A, .i = ta}, {.key = ATTR_TRANS_B, .i = tb}};
    return in[1] ? add(g, OP_MATMUL, in, 2, attrs, 2) : NULL;
}

static DType natural_dtype(Gen *g, Op op, DType t)
{
    if (op == OP_NOT || op == OP_AND || op == OP_OR || op == OP_XOR)
        return DT_BOOL;
    if (op_has(op, OP_INTEGER) && dtype_is_float(t))
        return chance(g, 30) ? DT_BOOL : DT_I32;
    if (op_table[op].arity == 1 && !op_has(op, OP_INTEGER) && !op_has(op, OP_PREDICATE) && !dtype_is_float(t) && chance(g, 80))
        return DT_F32;
    return t;
}

/* One operand is built first, freely, and sets the type of the others. */
static Node *build_pointwise(Gen *g, const Pattern *p, Op op, const Type *like)
{
    Node *in[3] = {NULL};
    uint32_t first = op == OP_WHERE && p->n_in == 3;
    Type t = {0}, *use = NULL;

    for (uint32_t i = first; i < p->n_in; i++)
        if (p->in[i]->kind == PAT_OP) {
            first = i;
            break;
        }
    for (uint32_t i = op == OP_WHERE; i < p->n_in; i++)
        if (already(g, p->in[i]))
            first = i;
    if (p->in[first]->kind == PAT_NUMBER && p->n_in > 1)
        first = first == op_has(op, OP_COMMUTES) ? first + 1 : (first + 1) % p->n_in;
    if (like && !op_has(op, OP_PREDICATE)) {
        t = *like;
        use = &t;
    } else if (p->in[first]->kind == PAT_VALUE && !already(g, p->in[first])) {
        t.shape = like ? like->shape : draw_shape(g);
        static const DType often[] = {DT_F32, DT_F32, DT_F64, DT_BF16, DT_F16, DT_I64, DT_I32, DT_U8, DT_BOOL};
        t.dtype = natural_dtype(g, op, often[draw(g, sizeof often / sizeof *often)]);
        use = &t;
    }
    if (!(in[first] = operand(g, p, first, use)))
        return NULL;
    t = in[first]->type;
    for (uint32_t i = 0; i < p->n_in; i++) {
        Type own = t;
        if (op == OP_WHERE && i == 0)
            own.dtype = DT_BOOL;
        if (!in[i] && !(in[i] = operand(g, p, i, &own)))
            return NULL;
    }
    return add(g, op, in, p->n_in, NULL, 0);
}

static Op draw_op(Gen *g, const Pattern *p)
{
    Op all[OP_COUNT];
    uint32_t n = 0;

    if (p->op_slot != RULE_NO_SLOT && g->op[p->op_slot] != OP_NONE)
        return g->op[p->op_slot];
    for (int op = 0; op < OP_COUNT; op++)
        if (opset_has(p->ops, (Op)op))
            all[n++] = (Op)op;
    Op op = all[draw(g, n)];
    if (p->op_slot != RULE_NO_SLOT)
        g->op[p->op_slot] = op;
    return op;
}

static Node *build_op(Gen *g, const Pattern *p, Op op, const Type *like)
{
    switch (op_class(op)) {
    case CLASS_MOVEMENT:
        switch ((int)op) {
        case OP_RESHAPE: return build_reshape(g, p, like);
        case OP_PERMUTE: return build_permute(g, p, like);
        case OP_EXPAND:  return build_expand(g, p, like);
        case OP_SLICE:   return build_slice(g, p, like);
        case OP_PAD:     return build_pad(g, p, like);
        case OP_FLIP:    return build_flip(g, p, like);
        case OP_CONCAT:  return build_concat(g, p, like);
        default:         return NULL;
        }
    case CLASS_POINTWISE: return build_pointwise(g, p, op, like);
    case CLASS_CAST:      return build_cast(g, p, like);
    case CLASS_REDUCE:    return build_reduce(g, p, op);
    case CLASS_SCAN:      return build_scan(g, p, op, like);
    case CLASS_CONTRACT:  return build_matmul(g, p);
    case CLASS_SOURCE: case CLASS_GATHER: case CLASS_CHOICE: break;
    }
    return NULL;
}

Node *build_pattern(Gen *g, const Pattern *p, const Type *like)
{
    Node *n = NULL;

    switch (p->kind) {
    case PAT_VALUE:
        n = g->value[p->slot] ? g->value[p->slot] : leaf(g, p->slot, like);
        break;
    case PAT_NUMBER: {
        Type t = like ? *like : (Type){.dtype = DT_F32, .shape = draw_shape(g)};
        return graph_expand(g->g, graph_const(g->g, t.dtype, p->f), &t.shape);
    }
    case PAT_OP:
        n = build_op(g, p, draw_op(g, p), like);
        break;
    case PAT_LIST:
        return NULL;
    }
    g->value[p->slot] = n;
    return n;
}
