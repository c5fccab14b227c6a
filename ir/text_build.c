/* ir/text_build.c — AST to graph. Operations become nodes after PyTorch's rules for dtypes and NumPy's for shapes; composites
 * are inlined, their nodes carrying the name of the outermost one. After an error the statement's names are poisoned,
 * so that one mistake is reported once and the rest of the text is still checked. */
#include "ir/text_build.h"
#include "ir/attr.h"
#include "base/vec.h"
#include <math.h>
#include <string.h>

enum { MAX_INLINING = 16, MAX_RESULTS = TEXT_MAX_RESULTS };
typedef TextBuilder Builder;

/* An operand: a node, or a literal that takes its dtype from the others. */
typedef struct { Node *node; double v; bool is_int; } Operand;

#define FAIL_AT(b, loc, hint, ...) diag_error((b)->cx->diags, PAWL_EXIT_INVALID, loc, hint, __VA_ARGS__)

#define build_call text_build_call
#define build_node text_build_node

static Node *add(Builder *b, Op op, Node *const *in, uint32_t n_in, const Attr *attrs, uint32_t n_attrs, Loc loc)
{
    uint32_t before = b->g->nodes.n;
    Node *n = graph_add(b->g, op, in, n_in, attrs, n_attrs, loc);

    if (n && n->id >= before)
        n->origin = b->origin;
    return n;
}

/* ---- callees --------------------------------------------------------------------------------------------------------------- */
bool text_names_operation(const Functions *f, const char *name)
{
    return op_find(name) != OP_NONE || function_named(f, name);
}

static bool is_operand(const Functions *f, const TextKeyArg *arg)
{
    return !arg->key && (arg->value->kind == TE_VALUE ||
                         (arg->value->kind == TE_CALL && text_names_operation(f, arg->value->name)));
}

static bool unknown_operation(Context *cx, const Functions *f, const char *name, Loc loc)
{
    uint32_t n = 0, n_funcs = f ? functions_count(f) : 0;
    const char **names = arena_new_array(cx->arena, const char *, OP_COUNT + n_funcs);

    for (int op = 0; op < OP_COUNT; op++)
        names[n++] = op_table[op].name;
    for (uint32_t i = 0; i < n_funcs; i++)
        if (function_at(f, i)->name[0] != '_')
            names[n++] = function_at(f, i)->name;
    const char *near = str_nearest(name, names, n);
    return diag_error(cx->diags, PAWL_EXIT_INVALID, loc, near ? arena_printf(cx->arena, "did you mean '%s'?", near) : NULL,
                      "no operation is called '%s'", name);
}

static bool wrong_operands(Context *cx, const Functions *f, const char *name, uint32_t n, Loc loc)
{
    StrBuf b = strbuf_new(cx->arena);
    bool one = false;

    for (uint32_t i = 0; i < functions_count(f); i++)
        if (strcmp(function_at(f, i)->name, name) == 0) {
            strbuf_printf(&b, "%s%u", b.len ? " or " : "", function_at(f, i)->n_params);
            one = b.len == 1 && b.text[0] == '1';
        }
    return diag_error(cx->diags, PAWL_EXIT_INVALID, loc, NULL, "%s takes %s operand%s, not %u", name, b.text, one ? "" : "s", n);
}

bool text_callee(Context *cx, const Functions *f, const TextExpr *call, Loc loc, TextCallee *out)
{
    uint32_t leading = 0, positional = 0;

    *out = (TextCallee){.op = op_find(call->name)};
    while (positional < call->n && !call->args[positional].key)
        positional++;
    if (out->op != OP_NONE) {
        int arity = op_table[out->op].arity;
        out->n_operands = arity < 0 || positional < (uint32_t)arity ? positional : (uint32_t)arity;
        return true;
    }
    if (!function_named(f, call->name))
        return unknown_operation(cx, f, call->name, loc);
    while (leading < positional && is_operand(f, &call->args[leading]))
        leading++;
    out->n_operands = leading;
    out->func = function_find(f, call->name, leading);
    return out->func ? true : wrong_operands(cx, f, call->name, leading, loc);
}

/* ---- attributes ---------------------------------------------------------------------------------------------------------------- */
static bool attr_dims(const AttrVal *v, Arena *a, Attr *out)
{
    Dim *d = arena_new_array(a, Dim, v->n + 1);

    for (uint32_t i = 0; i < v->n; i++) {
        if (v->items[i]->kind != AV_DIM)
            return false;
        d[i] = v->items[i]->dim;
    }
    out->dims = d;
    out->n = v->n;
    return true;
}

static bool attr_ints(const AttrVal *v, Arena *a, Attr *out)
{
    uint32_t n = v->kind == AV_LIST ? v->n : 1;
    int64_t *x = arena_new_array(a, int64_t, n + 1);

    for (uint32_t i = 0; i < n; i++)
        if (!attrval_int(v->kind == AV_LIST ? v->items[i] : v, &x[i]))
            return false;
    out->ints = x;
    out->n = n;
    return true;
}

static bool attr_from_value(const AttrVal *v, Arena *a, Attr *out)
{
    bool is_int;

    switch (attr_table[out->key].kind) {
    case AK_INT:   return attrval_int(v, &out->i);
    case AK_FLOAT: return attrval_number(v, &out->f, &is_int);
    case AK_DIM:   out->dim = v->dim; return v->kind == AV_DIM;
    case AK_DIMS:  return v->kind == AV_LIST && attr_dims(v, a, out);
    case AK_INTS:  return attr_ints(v, a, out);
    case AK_STR:   out->s = v->s; return v->kind == AV_STR;
    case AK_DTYPE: out->dtype = v->dtype; return v->kind == AV_DTYPE;
    }
    return false;
}

static const char *attr_wants(AttrKey key)
{
    static const char *const text[] = {
        [AK_INT] = "a constant integer", [AK_FLOAT] = "a constant number", [AK_DIM] = "an integer or a dim",
        [AK_DIMS] = "a list of dims", [AK_INTS] = "a list of constant integers", [AK_STR] = "a string", [AK_DTYPE] = "a dtype",
    };
    return text[attr_table[key].kind];
}

static bool op_has_attr(Op op, AttrKey key)
{
    for (uint32_t i = 0; i < op_attrs(op)->n; i++)
        if (op_attrs(op)->a[i].key == key)
            return true;
    return false;
}

static bool attr_key(Builder *b, Op op, const TextKeyArg *arg, uint32_t position, Loc loc, AttrKey *key)
{
    const OpAttrs *takes = op_attrs(op);

    if (!arg->key) {
        if (position >= takes->n && arg->value->kind == TE_VALUE)
            return FAIL_AT(b, loc, NULL, "%s takes %d operand%s; this is one more", op_name(op), op_table[op].arity,
                           op_table[op].arity == 1 ? "" : "s");
        if (position >= takes->n)
            return FAIL_AT(b, loc, NULL, "%s has too many arguments: it takes %d operand%s and %u attribute%s", op_name(op),
                           op_table[op].arity, op_table[op].arity == 1 ? "" : "s", takes->n, takes->n == 1 ? "" : "s");
        *key = takes->a[position].key;
        return true;
    }
    bool known = attr_find(arg->key, key);
    if (known && *key == ATTR_AXIS && op_has_attr(op, ATTR_AXES))
        *key = ATTR_AXES;
    if (known && op_has_attr(op, *key))
        return true;
    StrBuf text = strbuf_new(b->cx->arena);
    const char *names[MAX_OP_ATTRS];
    for (uint32_t i = 0; i < takes->n; i++) {
        names[i] = attr_table[takes->a[i].key].name;
        strbuf_printf(&text, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = str_nearest(arg->key, names, takes->n);
    return FAIL_AT(b, loc, near ? arena_printf(b->cx->arena, "did you mean '%s'?", near)
                                : arena_printf(b->cx->arena, "%s takes %s", op_name(op), takes->n ? text.text : "no attributes"),
                   "%s has no attribute '%s'", op_name(op), arg->key);
}

static Attr *attr_in(Attr *attrs, uint32_t n, AttrKey key)
{
    for (uint32_t i = 0; i < n; i++)
        if (attrs[i].key == key)
            return &attrs[i];
    return NULL;
}

/* -1 in reshape: what is left over; in expand: the operand's dim. */
static bool fill_shape(Builder *b, Op op, const Node *x, Attr *shape, Loc loc)
{
    DimPool *p = b->cx->dims;
    Dim *d = (Dim *)(uintptr_t)shape->dims, known = dim_const(p, 1);
    uint32_t hole = UINT32_MAX, shift = shape->n > node_rank(x) ? shape->n - node_rank(x) : 0;

    for (uint32_t i = 0; i < shape->n; i++) {
        if (!dim_is(d[i], -1)) {
            if (dim_magnitude(d[i]) * dim_magnitude(known) > 0x1p60)
                return FAIL_AT(b, loc, NULL, "this shape is too large");
            known = dim_mul(p, known, d[i]);
        } else if (op == OP_EXPAND && i >= shift && i - shift < node_rank(x)) {
            d[i] = x->type.shape.d[i - shift];
        } else if (op == OP_EXPAND || hole != UINT32_MAX) {
            return FAIL_AT(b, loc, NULL, op == OP_EXPAND ? "-1 in the shape of expand stands for no dim of the operand"
                                                         : "the shape of reshape has more than one -1");
        } else {
            hole = i;
        }
    }
    if (hole == UINT32_MAX)
        return true;
    Dim count = shape_count(p, &x->type.shape);
    if (known->lo < 1 || !dim_divides(p, known, count))
        return FAIL_AT(b, loc, NULL, "reshape of %s: %s elements are not a multiple of %s, so -1 has no value",
                       type_text(b->cx, &x->type), dim_text(b->cx->arena, count), dim_text(b->cx->arena, known));
    d[hole] = dim_floordiv(p, count, known);
    return true;
}

/* What text may leave out and graph_add wants said. */
static bool complete_attrs(Builder *b, const TextScope *s, Op op, Node *const *in, Attr *attrs, uint32_t *n, Loc loc)
{
    DimPool *p = b->cx->dims;
    Attr *shape = attr_in(attrs, *n, ATTR_SHAPE), *axis = attr_in(attrs, *n, ATTR_AXIS), *start, *step;
    int64_t r;

    if ((op == OP_RESHAPE || op == OP_EXPAND) && shape && !fill_shape(b, op, in[0], shape, loc))
        return false;
    if (op_class(op) == CLASS_REDUCE && !attr_in(attrs, *n, ATTR_AXES)) {
        int64_t *all = arena_new_array(s->arena, int64_t, MAX_RANK);
        for (uint32_t i = 0; i < node_rank(in[0]); i++)
            all[i] = i;
        attrs[(*n)++] = (Attr){.key = ATTR_AXES, .n = node_rank(in[0]), .ints = all};
    }
    if (op != OP_SLICE || !axis || (r = node_rank(in[0])) == 0 || axis->i < -r || axis->i >= r)
        return true;
    Dim whole = in[0]->type.shape.d[axis->i < 0 ? axis->i + r : axis->i];
    if ((start = attr_in(attrs, *n, ATTR_START)) && start->dim->hi < 0 && dim_magnitude(start->dim) < 0x1p40)
        start->dim = dim_add(p, start->dim, whole);             /* negative starts count from the end */
    if (!attr_in(attrs, *n, ATTR_SIZE)) {
        Dim rest = start && dim_magnitude(start->dim) < 0x1p40 ? dim_sub(p, whole, start->dim) : whole;
        step = attr_in(attrs, *n, ATTR_STEP);
        if (step && step->i > 1 && step->i <= 1 << 20)
            rest = dim_ceildiv(p, rest, dim_const(p, step->i));
        attrs[(*n)++] = (Attr){.key = ATTR_SIZE, .dim = rest};
    }
    return true;
}

static bool call_attrs(Builder *b, const TextScope *s, const TextExpr *call, Op op, uint32_t first, Attr *attrs, uint32_t *n)
{
    *n = 0;
    for (uint32_t i = first; i < call->n; i++) {
        const TextKeyArg *arg = &call->args[i];
        Loc loc = s->at.source ? s->at : arg->loc;
        Attr a = {0};
        const AttrVal *v;
        if (!attr_key(b, op, arg, i - first, loc, &a.key))
            return false;
        if (attr_in(attrs, *n, a.key))
            return FAIL_AT(b, loc, NULL, "%s is given twice", attr_table[a.key].name);
        if (!(v = text_eval(s, arg->value)))
            return false;
        if (!attr_from_value(v, s->arena, &a))
            return FAIL_AT(b, loc, NULL, "%s of %s must be %s", attr_table[a.key].name, op_name(op), attr_wants(a.key));
        attrs[(*n)++] = a;
    }
    return true;
}

/* ---- operands of pointwise ops: literals, promotion, broadcasting ----------------------------------------------------------------- */
static bool build_operand(Builder *b, const TextScope *s, const TextExpr *e, Operand *out)
{
    if (e->kind == TE_CALL && strcmp(e->name, "if") == 0 && e->n == 3) {
        const AttrVal *cond = text_eval(s, e->args[0].value);
        int64_t v;
        if (!cond || !attrval_int(cond, &v))
            return cond ? FAIL_AT(b, text_loc(s, e), NULL, "the condition of if must be a constant") : false;
        return build_operand(b, s, e->args[v ? 1 : 2].value, out);
    }
    *out = (Operand){0};
    if (e->kind == TE_VALUE || (e->kind == TE_CALL && (text_names_operation(b->f, e->name) || !text_eval_is_function(e->name))))
        return (out->node = build_node(b, s, e)) != NULL;
    const AttrVal *v = text_eval(s, e);
    if (!v)
        return false;
    if (!attrval_number(v, &out->v, &out->is_int))
        return FAIL_AT(b, text_loc(s, e), v->kind == AV_DIM ? "a symbolic dim has no value yet" : NULL,
                       "an operand is a value or a constant number");
    return true;
}

static int dtype_category(DType t)
{
    return dtype_is_float(t) ? 2 : dtype_class(t) == DC_BOOL ? 0 : 1;
}

/* PyTorch's result type: tensors with dims decide; rank-0 tensors and then literals only by their category. */
static DType common_dtype(const Operand *x, uint32_t n)
{
    DType dims = DT_NONE, scalar = DT_NONE, t;

    for (uint32_t i = 0; i < n; i++)
        if (x[i].node) {
            DType *into = node_rank(x[i].node) ? &dims : &scalar;
            *into = *into == DT_NONE ? x[i].node->type.dtype : dtype_promote(*into, x[i].node->type.dtype);
        }
    t = dims == DT_NONE ? scalar : dims;
    if (t != DT_NONE && scalar != DT_NONE && dtype_category(scalar) > dtype_category(t))
        t = scalar;
    for (uint32_t i = 0; i < n && t != DT_NONE; i++) {
        if (!x[i].node && !x[i].is_int && dtype_category(t) < 2)
            t = DT_F32;
        if (!x[i].node && x[i].is_int && dtype_category(t) < 1)
            t = DT_I64;
    }
    return t;
}

static Node *cast_to(Builder *b, Node *n, DType t, Loc loc)
{
    Attr attr = {.key = ATTR_DTYPE, .dtype = t};
    return n->type.dtype == t ? n : add(b, OP_CAST, &n, 1, &attr, 1, loc);
}

static Node *expand_to(Builder *b, Node *n, const Shape *shape, Loc loc)
{
    Attr attr = {.key = ATTR_SHAPE, .n = shape->rank, .dims = shape->d};
    return shape_equal(&n->type.shape, shape) ? n : add(b, OP_EXPAND, &n, 1, &attr, 1, loc);
}

static bool operands_shape(Builder *b, const TextExpr *call, const Operand *x, uint32_t n, Loc loc, Shape *out)
{
    *out = (Shape){0};
    for (uint32_t i = 0; i < n; i++) {
        Shape both;
        if (!x[i].node)
            continue;
        if (!shape_broadcast(out, &x[i].node->type.shape, b->cx->dims, &both)) {
            Dim d[2 * MAX_RANK];
            uint32_t n_d = 0;
            for (uint32_t k = 0; k < out->rank; k++)
                d[n_d++] = out->d[k];
            for (uint32_t k = 0; k < node_rank(x[i].node); k++)
                d[n_d++] = x[i].node->type.shape.d[k];
            return FAIL_AT(b, loc, "dims broadcast when they are equal or one of them is a literal 1",
                           "%s: shapes %s and %s do not broadcast%s", call->name, shape_text(b->cx, out),
                           shape_text(b->cx, &x[i].node->type.shape), range_facts(b->cx, d, n_d));
        }
        *out = both;
    }
    return true;
}

static Node *build_pointwise(Builder *b, const TextExpr *call, Op op, Operand *x, uint32_t n, Loc loc)
{
    uint32_t first = op == OP_WHERE;
    Node *in[3];
    Shape shape;
    DType t = common_dtype(x + first, n - first);

    if (t == DT_NONE || (first && !x[0].node)) {
        FAIL_AT(b, loc, "const(value=1, dtype=f32) makes a tensor of a number", "%s needs at least one tensor operand", call->name);
        return NULL;
    }
    if (op_wants_float(op) && !dtype_is_float(t))
        t = DT_F32;
    if (op_wants_bool(op))
        t = DT_BOOL;
    if (!operands_shape(b, call, x, n, loc, &shape))
        return NULL;
    for (uint32_t i = 0; i < n; i++) {
        if (!x[i].node) {
            Attr attrs[] = {{.key = ATTR_VALUE, .f = x[i].v}, {.key = ATTR_DTYPE, .dtype = t}};
            if (t == DT_BOOL)
                attrs[0].f = x[i].v != 0;
            in[i] = add(b, OP_CONST, NULL, 0, attrs, 2, loc);
        } else {
            in[i] = i < first ? x[i].node : cast_to(b, x[i].node, t, loc);
        }
        if (!in[i] || !(in[i] = expand_to(b, in[i], &shape, loc)))
            return NULL;
    }
    return add(b, op, in, n, NULL, 0, loc);
}

/* ---- operations ------------------------------------------------------------------------------------------------------------------------ */
static bool op_arity(Builder *b, const TextExpr *call, Op op, uint32_t n, Loc loc)
{
    int arity = op_table[op].arity;

    if (op == OP_INPUT || op == OP_PARAM)
        return FAIL_AT(b, loc, "declare it with its type, outside the statements", "%s is not an operation", call->name);
    if (op == OP_TENSOR)
        return FAIL_AT(b, loc, "the data of a folded tensor is not part of the text", "tensor needs data=[…] and a type after ':'");
    if (arity < 0 ? n > 0 : n == (uint32_t)arity)
        return true;
    return FAIL_AT(b, loc, NULL, "%s takes %s%d operand%s, not %u", call->name, arity < 0 ? "at least " : "",
                   arity < 0 ? 1 : arity, arity == 1 || arity < 0 ? "" : "s", n);
}

static Node *build_op(Builder *b, const TextScope *s, const TextExpr *call, Op op, uint32_t n, Loc loc)
{
    Operand *x = arena_new_array(s->arena, Operand, n + 1);
    Node **in = arena_new_array(s->arena, Node *, n + 1);
    Attr attrs[MAX_OP_ATTRS + 1];
    uint32_t n_attrs;

    if (!op_arity(b, call, op, n, loc))
        return NULL;
    for (uint32_t i = 0; i < n; i++) {
        if (op_class(op) == CLASS_POINTWISE ? !build_operand(b, s, call->args[i].value, &x[i])
                                            : !(in[i] = build_node(b, s, call->args[i].value)))
            return NULL;
    }
    if (!call_attrs(b, s, call, op, n, attrs, &n_attrs))
        return NULL;
    if (op_class(op) == CLASS_POINTWISE)
        return build_pointwise(b, call, op, x, n, loc);
    if (!complete_attrs(b, s, op, in, attrs, &n_attrs, loc))
        return NULL;
    if (b->depth && op == OP_CAST && n_attrs && attrs[0].dtype == in[0]->type.dtype)
        return in[0];                                          /* cast(%x, dtype=acc(dtype(%x))) of f32 */
    return add(b, op, in, n, attrs, n_attrs, loc);
}

/* ---- composites ------------------------------------------------------------------------------------------------------------------------- */
static const TextKeyArg *func_attr(Builder *b, const TextFunc *f, const TextKeyArg *arg, uint32_t position, Loc loc)
{
    const char **names = arena_new_array(b->cx->arena, const char *, f->n_attrs + 1);
    StrBuf text = strbuf_new(b->cx->arena);

    if (!arg->key && position < f->n_attrs)
        return &f->attrs[position];
    for (uint32_t i = 0; i < f->n_attrs; i++) {
        bool alias = arg->key && strcmp(arg->key, "axis") == 0 && strcmp(f->attrs[i].key, "axes") == 0;
        if (arg->key && (arg->key == f->attrs[i].key || alias))
            return &f->attrs[i];
        names[i] = f->attrs[i].key;
        strbuf_printf(&text, "%s%s", i ? ", " : "", names[i]);
    }
    if (!arg->key) {
        FAIL_AT(b, loc, NULL, "%s has too many arguments: it takes %u operand%s and %u attribute%s", f->name, f->n_params,
                f->n_params == 1 ? "" : "s", f->n_attrs, f->n_attrs == 1 ? "" : "s");
        return NULL;
    }
    const char *near = str_nearest(arg->key, names, f->n_attrs);
    FAIL_AT(b, loc, near ? arena_printf(b->cx->arena, "did you mean '%s'?", near)
                         : arena_printf(b->cx->arena, "%s takes %s", f->name, f->n_attrs ? text.text : "no attributes"),
            "%s has no attribute '%s'", f->name, arg->key);
    return NULL;
}

/* Attributes the call gives are evaluated in the caller's scope, defaults in the function's, in order. */
static bool bind_attrs(Builder *b, const TextScope *s, const TextExpr *call, const TextFunc *f, TextScope *inner, Loc loc)
{
    for (uint32_t i = f->n_params; i < call->n; i++) {
        const TextKeyArg *arg = &call->args[i], *param = func_attr(b, f, arg, i - f->n_params, s->at.source ? s->at : arg->loc);
        const AttrVal *v = param ? text_eval(s, arg->value) : NULL;
        if (!v)
            return false;
        if (!map_set_ptr(inner->attrs, param->key, v))
            return FAIL_AT(b, s->at.source ? s->at : arg->loc, NULL, "%s is given twice", param->key);
    }
    for (uint32_t i = 0; i < f->n_attrs; i++) {
        if (map_has(inner->attrs, (uintptr_t)f->attrs[i].key))
            continue;
        if (!f->attrs[i].value)
            return FAIL_AT(b, loc, NULL, "%s needs the attribute '%s'", f->name, f->attrs[i].key);
        const AttrVal *v = text_eval(inner, f->attrs[i].value);
        if (!v)
            return false;
        map_set_ptr(inner->attrs, f->attrs[i].key, v);
    }
    return true;
}

static void note_place(Builder *b, const TextFunc *f, Loc loc)
{
    if (!b->noted)
        diag_note(b->cx->diags, loc, "in the definition of %s", f->name);
    b->noted = true;
}

static uint32_t build_body(Builder *b, const TextScope *inner, const TextFunc *f, Node **out)
{
    Node *results[MAX_RESULTS] = {NULL};

    for (uint32_t i = 0; i < f->body.n; i++) {
        const TextStatement *st = &f->body.s[i];
        uint32_t n = 1;
        if (st->call->kind == TE_CALL)
            n = build_call(b, inner, st->call, results);
        else
            n = (results[0] = build_node(b, inner, st->call)) != NULL;
        if (n == 0) {
            note_place(b, f, st->loc);
            return 0;
        }
        pawl_assert(n == st->n_out, "%s: %u results for %u names", f->name, n, st->n_out);
        for (uint32_t k = 0; k < n; k++)
            map_set_ptr(inner->values, st->out[k]->name, results[k]);
    }
    pawl_assert(f->body.n_ret && f->body.n_ret <= MAX_RESULTS, "%s returns nothing", f->name);
    for (uint32_t i = 0; i < f->body.n_ret; i++)
        if (!(out[i] = build_node(b, inner, f->body.ret[i]))) {
            note_place(b, f, f->body.ret[i]->loc);
            return 0;
        }
    return f->body.n_ret;
}

static uint32_t build_composite(Builder *b, const TextScope *s, const TextExpr *call, const TextFunc *f, Node **out, Loc loc)
{
    TextScope inner = {.cx = b->cx, .arena = s->arena, .values = map_new(s->arena), .attrs = map_new(s->arena), .at = loc};
    Node **in = arena_new_array(s->arena, Node *, f->n_params + 1);
    uint32_t n;

    pawl_assert(b->depth < MAX_INLINING, "%s calls itself", f->name);
    for (uint32_t i = 0; i < f->n_params; i++)
        if (!(in[i] = build_node(b, s, call->args[i].value)))
            return 0;
    for (uint32_t i = 0; i < f->n_params; i++)
        map_set_ptr(inner.values, f->params[i]->name, in[i]);
    Str outer = b->origin;
    if (b->depth++ == 0)
        b->origin = f->name;
    n = bind_attrs(b, s, call, f, &inner, loc) ? build_body(b, &inner, f, out) : 0;
    b->depth--;
    b->origin = outer;
    return n;
}

/* ---- calls ---------------------------------------------------------------------------------------------------------------------------------- */
uint32_t text_build_call(Builder *b, const TextScope *s, const TextExpr *call, Node **out)
{
    Loc loc = text_loc(s, call);
    TextCallee callee;

    if (strcmp(call->name, "if") == 0) {
        Operand x = {0};
        if (call->n != 3)
            return (uint32_t)FAIL_AT(b, loc, NULL, "if takes a condition and two branches");
        if (!build_operand(b, s, call, &x))
            return 0;
        if (!x.node)
            return (uint32_t)FAIL_AT(b, loc, NULL, "this branch of if is a number, not a tensor");
        out[0] = x.node;
        return 1;
    }
    if (!text_callee(b->cx, b->f, call, loc, &callee))
        return 0;
    if (callee.func)
        return build_composite(b, s, call, callee.func, out, loc);
    return (out[0] = build_op(b, s, call, callee.op, callee.n_operands, loc)) ? 1 : 0;
}

Node *text_build_node(Builder *b, const TextScope *s, const TextExpr *e)
{
    Node *out[MAX_RESULTS] = {NULL};

    if (e->kind == TE_VALUE)
        return text_value(s, e);
    if (e->kind != TE_CALL) {
        FAIL_AT(b, text_loc(s, e), "const(value=1, dtype=f32) makes a tensor of a number", "an operand is a value such as %%x, or a call");
        return NULL;
    }
    uint32_t n = build_call(b, s, e, out);
    if (n > 1)
        FAIL_AT(b, text_loc(s, e), "give them names: %a, %b = …", "%s has %u results; one is wanted here", e->name, n);
    return n == 1 ? out[0] : NULL;
}
