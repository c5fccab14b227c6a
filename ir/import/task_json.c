/* ir/import/task_json.c — a task's statements, before inlining, for renderers in other languages; the form is told in task.h. */
#include "ir/import/task.h"
#include "ir/text_build.h"
#include <jansson.h>
#include <math.h>
#include <string.h>

typedef struct { Task *t; const Workload *w; TextScope scope; } Writer;

static json_t *write_expr(Writer *x, const TextExpr *e);

/* ---- values --------------------------------------------------------------------------------------------------------------- */
static json_t *write_number(double v)
{
    if (isnan(v))
        return json_string("nan");
    return isinf(v) ? json_string(v < 0 ? "-inf" : "inf") : json_real(v);
}

static json_t *write_dim(Writer *x, Dim d)
{
    int64_t v;
    Str missing;

    if (dim_eval(d, x->w ? x->w->values : NULL, x->w ? x->w->n : 0, &v, &missing))
        return json_integer(v);
    return json_string(dim_text(x->t->cx->arena, d));
}

static json_t *write_attr(Writer *x, const AttrVal *v)
{
    json_t *list;

    switch (v->kind) {
    case AV_DIM:   return write_dim(x, v->dim);
    case AV_FLOAT: return write_number(v->f);
    case AV_DTYPE: return json_string(dtype_name(v->dtype));
    case AV_STR:   return json_string(v->s);
    case AV_LIST:
        list = json_array();
        for (uint32_t i = 0; i < v->n; i++)
            json_array_append_new(list, write_attr(x, v->items[i]));
        return list;
    }
    return json_null();
}

static json_t *write_type(Writer *x, const Type *t)
{
    json_t *shape = json_array();

    for (uint32_t i = 0; i < t->shape.rank; i++)
        json_array_append_new(shape, write_dim(x, t->shape.d[i]));
    return json_pack("{s:s, s:o}", "dtype", dtype_name(t->dtype), "shape", shape);
}

/* ---- calls ---------------------------------------------------------------------------------------------------------------- */
static void set_attr(Writer *x, json_t *attrs, const char *key, const TextScope *s, const TextExpr *e)
{
    const AttrVal *v = text_eval(s, e);
    if (v)
        json_object_set_new(attrs, key, write_attr(x, v));
}

static const char *op_key(Op op, const TextKeyArg *arg, uint32_t position)
{
    const OpAttrs *takes = op_attrs(op);

    if (!arg->key)
        return position < takes->n ? attr_table[takes->a[position].key].name : "?";
    bool has_axes = takes->n && takes->a[0].key == ATTR_AXES;
    return has_axes && strcmp(arg->key, "axis") == 0 ? "axes" : arg->key;
}

static const char *func_key(const TextFunc *f, const TextKeyArg *arg, uint32_t position)
{
    if (!arg->key)
        return position < f->n_attrs ? f->attrs[position].key : "?";
    for (uint32_t i = 0; i < f->n_attrs; i++)
        if (strcmp(f->attrs[i].key, arg->key) == 0)
            return arg->key;
    return strcmp(arg->key, "axis") == 0 ? "axes" : arg->key;
}

/* Defaults are evaluated where the operands are named values; one that depends on a nested call's result is left out. */
static void default_attrs(Writer *x, json_t *attrs, const TextFunc *f, const TextExpr *e)
{
    TextScope s = x->scope;
    Arena *own = arena_new();

    s.values = map_new(own);
    s.attrs = map_new(own);
    s.symbols = false;
    for (uint32_t i = 0; i < f->n_params; i++) {
        Node *n = e->args[i].value->kind == TE_VALUE ? map_get_ptr(x->t->values, e->args[i].value->name) : NULL;
        if (n)
            map_set_ptr(s.values, f->params[i]->name, n);
    }
    Diags *loud = x->t->cx->diags;
    x->t->cx->diags = diags_new(own);
    for (uint32_t i = 0; i < f->n_attrs; i++)
        if (f->attrs[i].value && !json_object_get(attrs, f->attrs[i].key))
            set_attr(x, attrs, f->attrs[i].key, &s, f->attrs[i].value);
    x->t->cx->diags = loud;
    arena_free(own);
}

static json_t *write_call(Writer *x, const TextExpr *e)
{
    TextCallee callee;
    json_t *args = json_array(), *attrs = json_object();

    if (strcmp(e->name, "if") == 0 || !text_callee(x->t->cx, x->t->functions, e, e->loc, &callee))
        callee = (TextCallee){.op = OP_NONE, .n_operands = e->n};
    for (uint32_t i = 0; i < e->n; i++) {
        if (i < callee.n_operands)
            json_array_append_new(args, write_expr(x, e->args[i].value));
        else
            set_attr(x, attrs, callee.func ? func_key(callee.func, &e->args[i], i - callee.n_operands)
                                           : op_key(callee.op, &e->args[i], i - callee.n_operands),
                     &x->scope, e->args[i].value);
    }
    if (callee.func)
        default_attrs(x, attrs, callee.func, e);
    return json_pack("{s:s, s:b, s:o, s:o}", "call", e->name, "composite", callee.func != NULL, "args", args, "attrs", attrs);
}

static json_t *write_expr(Writer *x, const TextExpr *e)
{
    bool is_int;
    double v;

    if (e->kind == TE_VALUE)
        return json_pack("{s:s}", "value", e->name);
    if (e->kind == TE_CALL && (text_names_operation(x->t->functions, e->name) || !text_eval_is_function(e->name)))
        return write_call(x, e);
    const AttrVal *value = text_eval(&x->scope, e);
    if (value && attrval_number(value, &v, &is_int))
        return json_pack("{s:o}", "number", is_int ? json_integer((json_int_t)v) : write_number(v));
    return json_pack("{s:o}", "number", value ? write_attr(x, value) : json_null());
}

/* ---- the whole --------------------------------------------------------------------------------------------------------------- */
static json_t *write_statement(Writer *x, const TextStatement *st)
{
    json_t *out = json_array(), *types = json_array();
    uint32_t line, col;

    for (uint32_t i = 0; i < st->n_out; i++) {
        const Node *n = map_get_ptr(x->t->values, st->out[i]->name);
        json_array_append_new(out, json_string(st->out[i]->name));
        json_array_append_new(types, n ? write_type(x, &n->type) : json_null());
    }
    loc_line_col(st->loc, &line, &col);
    json_t *statement = json_pack("{s:o, s:o, s:i}", "out", out, "types", types, "line", (int)line), *expr = write_expr(x, st->call);
    json_object_update(statement, expr);
    json_decref(expr);
    return statement;
}

static json_t *write_inputs(Writer *x, Op op)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < x->t->graph->inputs.n; i++) {
        const GraphInput *in = &x->t->graph->inputs.data[i];
        if (in->node->op != op)
            continue;
        json_t *o = write_type(x, &in->node->type);
        json_object_set_new(o, "name", json_string(in->name));
        json_object_set_new(o, "dist", json_pack("{s:s, s:f, s:f}", "kind", dist_name(in->dist.kind), "a", in->dist.a, "b", in->dist.b));
        json_object_set_new(o, "mutable", json_boolean(in->is_mutable));
        if (in->file)
            json_object_set_new(o, "file", json_string(in->file));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *write_dims(Writer *x)
{
    json_t *dims = json_object();
    uint64_t key, value;

    for (uint32_t i = 0; i < x->t->n_symbols; i++) {
        Dim d = x->t->symbols[i];
        json_object_set_new(dims, d->name, x->w ? write_dim(x, d)
                                                : json_pack("[I, I]", (json_int_t)d->lo, (json_int_t)d->hi));
    }
    for (uint32_t i = 0; map_entry(x->t->consts, i, &key, &value); i++)
        json_object_set_new(dims, (const char *)(uintptr_t)key, write_attr(x, (const AttrVal *)(uintptr_t)value));
    return dims;
}

char *task_json(Task *t, const Workload *w, Arena *a)
{
    Writer x = {t, w, {.cx = t->cx, .arena = t->cx->scratch, .values = t->values, .attrs = t->consts, .symbols = true}};
    ArenaMark mark = arena_mark(t->cx->scratch);
    json_t *statements = json_array(), *outputs = json_array();

    for (uint32_t i = 0; i < t->statements.n; i++)
        json_array_append_new(statements, write_statement(&x, &t->statements.s[i]));
    for (uint32_t i = 0; i < t->graph->outputs.n; i++)
        json_array_append_new(outputs, json_string(t->graph->outputs.data[i].name));
    json_t *root = json_pack("{s:s, s:s, s:s, s:I, s:{s:s, s:s, s:s}, s:o, s:o, s:o, s:o, s:o}",
                             "task", t->name, "about", t->about, "source", t->origin, "seed", (json_int_t)t->seed,
                             "numerics", "matmul", numclass_name(t->numerics.matmul), "conv", numclass_name(t->numerics.conv),
                             "else", numclass_name(t->numerics.otherwise),
                             "dims", write_dims(&x), "inputs", write_inputs(&x, OP_INPUT), "params", write_inputs(&x, OP_PARAM),
                             "statements", statements, "outputs", outputs);
    if (w)
        json_object_set_new(root, "workload", json_string(w->name));
    char *text = json_dumps(root, JSON_REAL_PRECISION(17)), *kept = arena_strdup(a, text);
    free(text);
    json_decref(root);
    arena_reset(t->cx->scratch, mark);
    return kept;
}
