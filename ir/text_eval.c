/* ir/text_eval.c — evaluates attribute expressions. Depth is bounded by the parser; sizes are bounded here, because the
 * arithmetic of dims asserts that nothing overflows and text is not to be trusted. */
#include "ir/text_eval.h"
#include "ir/attr.h"
#include <math.h>
#include <string.h>

enum { MAX_LIST = 4096, MAX_TERMS = 64 };

Loc text_loc(const TextScope *s, const TextExpr *e) { return s->at.source ? s->at : e->loc; }

#define FAIL(s, e, hint, ...) \
    return (diag_error((s)->cx->diags, PAWL_EXIT_INVALID, text_loc(s, e), hint, __VA_ARGS__), NULL)

/* ---- values ---------------------------------------------------------------------------------------------------------- */
static const AttrVal *val_dim(const TextScope *s, Dim d)
{
    AttrVal *v = arena_new_of(s->arena, AttrVal);
    v->kind = AV_DIM;
    v->dim = d;
    return v;
}

static const AttrVal *val_int(const TextScope *s, int64_t i) { return val_dim(s, dim_const(s->cx->dims, i)); }

static const AttrVal *val_float(const TextScope *s, double f)
{
    AttrVal *v = arena_new_of(s->arena, AttrVal);
    v->kind = AV_FLOAT;
    v->f = f;
    return v;
}

static const AttrVal *val_dtype(const TextScope *s, DType t)
{
    AttrVal *v = arena_new_of(s->arena, AttrVal);
    v->kind = AV_DTYPE;
    v->dtype = t;
    return v;
}

static AttrVal *val_list(const TextScope *s, uint32_t n)
{
    AttrVal *v = arena_new_of(s->arena, AttrVal);
    v->kind = AV_LIST;
    v->items = arena_new_array(s->arena, const AttrVal *, n + 1);
    v->n = n;
    return v;
}

bool attrval_int(const AttrVal *v, int64_t *out)
{
    if (v->kind != AV_DIM || !dim_is_const(v->dim))
        return false;
    *out = v->dim->value;
    return true;
}

bool attrval_number(const AttrVal *v, double *out, bool *is_int)
{
    int64_t i;

    if ((*is_int = attrval_int(v, &i)))
        *out = (double)i;
    else if (v->kind == AV_FLOAT)
        *out = v->f;
    return *is_int || v->kind == AV_FLOAT;
}

static const char *kind_text(const AttrVal *v)
{
    static const char *const text[] = {
        [AV_DIM] = "an integer", [AV_FLOAT] = "a float", [AV_LIST] = "a list", [AV_DTYPE] = "a dtype", [AV_STR] = "a string"
    };
    return text[v->kind];
}

/* ---- dims that cannot overflow ------------------------------------------------------------------------------------------ */
static const AttrVal *checked(const TextScope *s, const TextExpr *e, Dim d)
{
    if (d->n_terms > MAX_TERMS)
        FAIL(s, e, NULL, "this expression has too many terms");
    return val_dim(s, d);
}

static const AttrVal *dim_arith(const TextScope *s, const TextExpr *e, char op, Dim a, Dim b)
{
    DimPool *p = s->cx->dims;
    double ma = dim_magnitude(a), mb = dim_magnitude(b), limit = 0x1p53;

    if ((op == '*' ? ma * mb : ma + mb) > limit)
        FAIL(s, e, NULL, "this number is too large");
    switch (op) {
    case '+': return checked(s, e, dim_add(p, a, b));
    case '-': return checked(s, e, dim_sub(p, a, b));
    case '*':
        if ((uint64_t)(a->n_terms + 1) * (b->n_terms + 1) > 16 * MAX_TERMS)
            FAIL(s, e, NULL, "this expression has too many terms");
        return checked(s, e, dim_mul(p, a, b));
    default:
        break;
    }
    if (b->lo < 1)
        FAIL(s, e, NULL, "the divisor %s is not always positive%s", dim_text(s->cx->arena, b), range_facts(s->cx, &b, 1));
    return checked(s, e, op == '%' ? dim_mod(p, a, b) : dim_floordiv(p, a, b));
}

/* ---- functions ------------------------------------------------------------------------------------------------------------- */
typedef struct { const TextScope *s; const TextExpr *e; const AttrVal *v[3]; Node *node; uint32_t n; } Call;

static bool arg_int(const Call *c, uint32_t i, int64_t *out)
{
    if (attrval_int(c->v[i], out))
        return true;
    return diag_error(c->s->cx->diags, PAWL_EXIT_INVALID, text_loc(c->s, c->e->args[i].value), NULL,
                      "argument %u of %s must be a constant integer", i + 1, c->e->name);
}

static const AttrVal *arg_list(const Call *c, uint32_t i)
{
    if (c->v[i]->kind == AV_LIST)
        return c->v[i];
    FAIL(c->s, c->e->args[i].value, NULL, "argument %u of %s must be a list, not %s", i + 1, c->e->name, kind_text(c->v[i]));
}

/* A position in n entries, negative ones counting from the end. */
static bool position(const Call *c, int64_t at, int64_t n, uint32_t *out)
{
    if (at < -n || at >= n)
        return diag_error(c->s->cx->diags, PAWL_EXIT_INVALID, text_loc(c->s, c->e), NULL,
                          n ? "%s: %lld is out of range; it goes from %lld to %lld" : "%s: %lld is out of range: there are no entries",
                          c->e->name, (long long)at, (long long)-n, (long long)n - 1);
    *out = (uint32_t)(at < 0 ? at + n : at);
    return true;
}

static const AttrVal *fn_dim(const Call *c)
{
    int64_t k = 0;
    uint32_t at = 0;

    if (!arg_int(c, 1, &k) || !position(c, k, node_rank(c->node), &at))
        return NULL;
    return val_dim(c->s, c->node->type.shape.d[at]);
}

static const AttrVal *fn_rank(const Call *c) { return val_int(c->s, node_rank(c->node)); }
static const AttrVal *fn_dtype(const Call *c) { return val_dtype(c->s, c->node->type.dtype); }
static const AttrVal *fn_count(const Call *c) { return val_dim(c->s, shape_count(c->s->cx->dims, &c->node->type.shape)); }

/* The dims along `axes`: one axis or a list of them. */
static bool picked_dims(const Call *c, Shape *picked)
{
    const AttrVal *axes = c->v[1];
    uint32_t at = 0, n = axes->kind == AV_LIST ? axes->n : 1;
    int64_t k = 0;

    *picked = (Shape){0};
    for (uint32_t i = 0; i < n; i++) {
        if (!attrval_int(axes->kind == AV_LIST ? axes->items[i] : axes, &k))
            return diag_error(c->s->cx->diags, PAWL_EXIT_INVALID, text_loc(c->s, c->e), NULL, "axes must be constant integers");
        if (!position(c, k, node_rank(c->node), &at))
            return false;
        if (picked->rank == MAX_RANK)
            return diag_error(c->s->cx->diags, PAWL_EXIT_INVALID, text_loc(c->s, c->e), NULL, "too many axes");
        picked->d[picked->rank++] = c->node->type.shape.d[at];
    }
    return shape_check(c->s->cx, picked, text_loc(c->s, c->e));
}

static const AttrVal *list_of_dims(const Call *c, const Shape *dims)
{
    AttrVal *list = val_list(c->s, dims->rank);

    for (uint32_t i = 0; i < list->n; i++)
        list->items[i] = val_dim(c->s, dims->d[i]);
    return list;
}

static const AttrVal *fn_shape(const Call *c) { return list_of_dims(c, &c->node->type.shape); }

static const AttrVal *fn_size(const Call *c)
{
    Shape picked;
    return picked_dims(c, &picked) ? val_dim(c->s, shape_count(c->s->cx->dims, &picked)) : NULL;
}

static const AttrVal *fn_sizes(const Call *c)
{
    Shape picked;
    return picked_dims(c, &picked) ? list_of_dims(c, &picked) : NULL;
}

static const AttrVal *fn_acc(const Call *c)
{
    if (c->v[0]->kind != AV_DTYPE)
        FAIL(c->s, c->e, NULL, "%s takes a dtype, not %s", c->e->name, kind_text(c->v[0]));
    return val_dtype(c->s, dtype_accumulate(c->v[0]->dtype));
}

static const AttrVal *fn_is_float(const Call *c)
{
    if (c->v[0]->kind != AV_DTYPE)
        FAIL(c->s, c->e, NULL, "%s takes a dtype, not %s", c->e->name, kind_text(c->v[0]));
    return val_int(c->s, dtype_is_float(c->v[0]->dtype));
}

static const AttrVal *fn_is_const(const Call *c)
{
    return val_int(c->s, c->v[0]->kind == AV_FLOAT || (c->v[0]->kind == AV_DIM && dim_is_const(c->v[0]->dim)));
}

static const AttrVal *fn_len(const Call *c)
{
    const AttrVal *list = arg_list(c, 0);
    return list ? val_int(c->s, list->n) : NULL;
}

static bool list_length(const Call *c, int64_t n)
{
    return (n >= 0 && n <= MAX_LIST) ||
           diag_error(c->s->cx->diags, PAWL_EXIT_INVALID, text_loc(c->s, c->e), NULL, "a list of %lld entries", (long long)n);
}

static const AttrVal *fn_ones(const Call *c)
{
    int64_t n = 0;

    if (!arg_int(c, 0, &n) || !list_length(c, n))
        return NULL;
    AttrVal *list = val_list(c->s, (uint32_t)n);
    for (uint32_t i = 0; i < list->n; i++)
        list->items[i] = val_int(c->s, 1);
    return list;
}

static const AttrVal *fn_range(const Call *c)
{
    int64_t from = 0, to = 0;

    if ((c->n == 2 && !arg_int(c, 0, &from)) || !arg_int(c, c->n - 1, &to))
        return NULL;
    if (from < -MAX_LIST || from > MAX_LIST || to < from || to > 2 * MAX_LIST || !list_length(c, to - from))
        FAIL(c->s, c->e, NULL, "range from %lld to %lld", (long long)from, (long long)to);
    AttrVal *list = val_list(c->s, (uint32_t)(to - from));
    for (uint32_t i = 0; i < list->n; i++)
        list->items[i] = val_int(c->s, from + i);
    return list;
}

/* insert(list, i, v): v stands at i of the result. */
static const AttrVal *fn_insert(const Call *c)
{
    const AttrVal *list = arg_list(c, 0);
    int64_t k = 0;
    uint32_t at = 0;

    if (!list || !arg_int(c, 1, &k) || !position(c, k, (int64_t)list->n + 1, &at) || !list_length(c, (int64_t)list->n + 1))
        return NULL;
    AttrVal *out = val_list(c->s, list->n + 1);
    for (uint32_t i = 0; i < out->n; i++)
        out->items[i] = i == at ? c->v[2] : list->items[i - (i > at)];
    return out;
}

static const AttrVal *fn_remove(const Call *c)
{
    const AttrVal *list = arg_list(c, 0);
    int64_t k = 0;
    uint32_t at = 0;

    if (!list || !arg_int(c, 1, &k) || !position(c, k, list->n, &at))
        return NULL;
    AttrVal *out = val_list(c->s, list->n - 1);
    for (uint32_t i = 0; i < out->n; i++)
        out->items[i] = list->items[i + (i >= at)];
    return out;
}

static const AttrVal *fn_replace(const Call *c)
{
    const AttrVal *list = arg_list(c, 0);
    int64_t k = 0;
    uint32_t at = 0;

    if (!list || !arg_int(c, 1, &k) || !position(c, k, list->n, &at))
        return NULL;
    AttrVal *out = val_list(c->s, list->n);
    for (uint32_t i = 0; i < out->n; i++)
        out->items[i] = i == at ? c->v[2] : list->items[i];
    return out;
}

static const AttrVal *fn_swap(const Call *c)
{
    const AttrVal *list = arg_list(c, 0);
    int64_t i = 0, k = 0;
    uint32_t a = 0, b = 0;

    if (!list || !arg_int(c, 1, &i) || !arg_int(c, 2, &k) || !position(c, i, list->n, &a) || !position(c, k, list->n, &b))
        return NULL;
    AttrVal *out = val_list(c->s, list->n);
    for (uint32_t at = 0; at < out->n; at++)
        out->items[at] = list->items[at == a ? b : at == b ? a : at];
    return out;
}

static const AttrVal *fn_part(const Call *c)
{
    const AttrVal *list = arg_list(c, 0);
    int64_t from = 0, to = 0;

    if (!list || !arg_int(c, 1, &from) || !arg_int(c, 2, &to))
        return NULL;
    if (from < 0 || to < from || to > list->n)
        FAIL(c->s, c->e, NULL, "part %lld to %lld of a list of %u", (long long)from, (long long)to, list->n);
    AttrVal *out = val_list(c->s, (uint32_t)(to - from));
    for (uint32_t i = 0; i < out->n; i++)
        out->items[i] = list->items[from + i];
    return out;
}

static const AttrVal *fn_product(const Call *c)
{
    const AttrVal *list = arg_list(c, 0), *v = val_int(c->s, 1);

    for (uint32_t i = 0; list && v && i < list->n; i++) {
        if (list->items[i]->kind != AV_DIM)
            FAIL(c->s, c->e, NULL, "product takes integers");
        v = dim_arith(c->s, c->e, '*', v->dim, list->items[i]->dim);
    }
    return list ? v : NULL;
}

static const AttrVal *fn_min_max(const Call *c)
{
    bool is_min = c->e->name[1] == 'i', ia, ib;
    double a = 0, b = 0;

    if (c->v[0]->kind == AV_DIM && c->v[1]->kind == AV_DIM)
        return checked(c->s, c->e, is_min ? dim_min(c->s->cx->dims, c->v[0]->dim, c->v[1]->dim)
                                          : dim_max(c->s->cx->dims, c->v[0]->dim, c->v[1]->dim));
    if (!attrval_number(c->v[0], &a, &ia) || !attrval_number(c->v[1], &b, &ib))
        FAIL(c->s, c->e, NULL, "%s takes numbers", c->e->name);
    return val_float(c->s, is_min ? fmin(a, b) : fmax(a, b));
}

static const AttrVal *fn_ceildiv(const Call *c)
{
    if (c->v[0]->kind != AV_DIM || c->v[1]->kind != AV_DIM)
        FAIL(c->s, c->e, NULL, "ceildiv takes integers");
    const AttrVal *sum = dim_arith(c->s, c->e, '+', c->v[0]->dim, c->v[1]->dim);
    sum = sum ? dim_arith(c->s, c->e, '-', sum->dim, dim_const(c->s->cx->dims, 1)) : NULL;
    return sum ? dim_arith(c->s, c->e, '/', sum->dim, c->v[1]->dim) : NULL;
}

static const AttrVal *fn_sqrt(const Call *c)
{
    double v = 0;
    bool is_int;

    if (!attrval_number(c->v[0], &v, &is_int))
        FAIL(c->s, c->e, NULL, "sqrt takes a constant number%s", c->v[0]->kind == AV_DIM ? ", not a symbolic dim" : "");
    return val_float(c->s, sqrt(v));
}

static const AttrVal *fn_not(const Call *c)
{
    int64_t v = 0;
    return arg_int(c, 0, &v) ? val_int(c->s, !v) : NULL;
}

typedef struct { const char *name; uint32_t least, most; bool of_value; const AttrVal *(*fn)(const Call *); } Function;
static const Function functions[] = {
    {"dim", 2, 2, true, fn_dim}, {"rank", 1, 1, true, fn_rank}, {"shape", 1, 1, true, fn_shape},
    {"dtype", 1, 1, true, fn_dtype}, {"count", 1, 1, true, fn_count}, {"size", 2, 2, true, fn_size},
    {"sizes", 2, 2, true, fn_sizes},
    {"acc", 1, 1, false, fn_acc}, {"is_float", 1, 1, false, fn_is_float}, {"is_const", 1, 1, false, fn_is_const},
    {"len", 1, 1, false, fn_len}, {"ones", 1, 1, false, fn_ones}, {"range", 1, 2, false, fn_range},
    {"insert", 3, 3, false, fn_insert}, {"remove", 2, 2, false, fn_remove}, {"replace", 3, 3, false, fn_replace},
    {"swap", 3, 3, false, fn_swap}, {"part", 3, 3, false, fn_part}, {"product", 1, 1, false, fn_product},
    {"min", 2, 2, false, fn_min_max}, {"max", 2, 2, false, fn_min_max}, {"ceildiv", 2, 2, false, fn_ceildiv},
    {"sqrt", 1, 1, false, fn_sqrt}, {"not", 1, 1, false, fn_not},
};
enum { N_FUNCTIONS = sizeof functions / sizeof *functions };

static const Function *function_named(const char *name)
{
    for (int i = 0; i < N_FUNCTIONS; i++)
        if (strcmp(functions[i].name, name) == 0)
            return &functions[i];
    return NULL;
}

bool text_eval_is_function(const char *name) { return function_named(name) || strcmp(name, "if") == 0; }

static const AttrVal *eval_if(const TextScope *s, const TextExpr *e)
{
    const AttrVal *cond;
    int64_t v;

    if (e->n != 3)
        FAIL(s, e, NULL, "if takes a condition and two branches");
    if (!(cond = text_eval(s, e->args[0].value)))
        return NULL;
    if (!attrval_int(cond, &v))
        FAIL(s, e->args[0].value, NULL, "the condition of if must be a constant");
    return text_eval(s, e->args[v ? 1 : 2].value);
}

static const AttrVal *eval_call(const TextScope *s, const TextExpr *e)
{
    const Function *f = function_named(e->name);
    Call c = {.s = s, .e = e, .n = e->n};

    if (strcmp(e->name, "if") == 0)
        return eval_if(s, e);
    if (!f) {
        const char *names[N_FUNCTIONS];
        for (int i = 0; i < N_FUNCTIONS; i++)
            names[i] = functions[i].name;
        const char *near = str_nearest(e->name, names, N_FUNCTIONS);
        FAIL(s, e, near ? arena_printf(s->cx->arena, "did you mean '%s'?", near) : NULL,
             "'%s' is not a function of attributes", e->name);
    }
    if (e->n < f->least || e->n > f->most)
        FAIL(s, e, NULL, "%s takes %u argument%s, not %u", f->name, f->most, f->most == 1 ? "" : "s", e->n);
    for (uint32_t i = 0; i < e->n; i++) {
        const TextExpr *arg = e->args[i].value;
        if (e->args[i].key)
            FAIL(s, arg, NULL, "%s takes no keywords", f->name);
        if (i == 0 && f->of_value) {
            if (arg->kind != TE_VALUE)
                FAIL(s, arg, NULL, "%s takes a value such as %%x", f->name);
            if (!(c.node = text_value(s, arg)))
                return NULL;
        } else if (!(c.v[i] = text_eval(s, arg))) {
            return NULL;
        }
    }
    return f->fn(&c);
}

/* ---- operators ---------------------------------------------------------------------------------------------------------------- */
static const AttrVal *eval_floats(const TextScope *s, const TextExpr *e, const AttrVal *x, const AttrVal *y)
{
    const char *op = e->name;
    double a = 0, b = 0;
    bool ia, ib;

    if (!attrval_number(x, &a, &ia) || !attrval_number(y, &b, &ib)) {
        bool symbolic = (x->kind == AV_DIM || x->kind == AV_FLOAT) && (y->kind == AV_DIM || y->kind == AV_FLOAT);
        FAIL(s, e, symbolic && strcmp(op, "/") == 0 ? "// divides sizes" : NULL,
             symbolic ? "'%s' needs constants here; a symbolic dim has no value yet" : "'%s' of %s and %s", op,
             kind_text(x), kind_text(y));
    }
    if (strcmp(op, "==") == 0) return val_int(s, a == b);
    if (strcmp(op, "!=") == 0) return val_int(s, a != b);
    if (strcmp(op, "<") == 0)  return val_int(s, a < b);
    if (strcmp(op, "<=") == 0) return val_int(s, a <= b);
    if (strcmp(op, ">") == 0)  return val_int(s, a > b);
    if (strcmp(op, ">=") == 0) return val_int(s, a >= b);
    if (strcmp(op, "+") == 0)  return val_float(s, a + b);
    if (strcmp(op, "-") == 0)  return val_float(s, a - b);
    if (strcmp(op, "*") == 0)  return val_float(s, a * b);
    if (b == 0)
        FAIL(s, e, NULL, "division by zero");
    if (strcmp(op, "/") == 0)  return val_float(s, a / b);
    if (strcmp(op, "//") == 0) return val_float(s, floor(a / b));
    return val_float(s, a - b * floor(a / b));
}

/* Comparisons of dims hold for all sizes, or not at all; one that depends on the size is refused. */
static const AttrVal *eval_dims(const TextScope *s, const TextExpr *e, Dim a, Dim b)
{
    DimPool *p = s->cx->dims;
    const char *op = e->name;

    if (strcmp(op, "==") == 0) return val_int(s, a == b);
    if (strcmp(op, "!=") == 0) return val_int(s, a != b);
    if (op[0] == '<' || op[0] == '>') {
        Dim x = op[0] == '<' ? a : b, y = op[0] == '<' ? b : a;
        bool or_equal = op[1] == '=';
        if (or_equal ? dim_le(p, x, y) : dim_lt(p, x, y))
            return val_int(s, 1);
        if (or_equal ? dim_lt(p, y, x) : dim_le(p, y, x))
            return val_int(s, 0);
        Dim both[2] = {a, b};
        FAIL(s, e, NULL, "whether %s %s %s depends on the size%s", dim_text(s->cx->arena, a), op, dim_text(s->cx->arena, b),
             range_facts(s->cx, both, 2));
    }
    return dim_arith(s, e, strcmp(op, "//") == 0 ? '/' : op[0], a, b);
}

static const AttrVal *eval_binary(const TextScope *s, const TextExpr *e)
{
    bool is_and = strcmp(e->name, "and") == 0, is_or = strcmp(e->name, "or") == 0;
    const AttrVal *a = text_eval(s, e->args[0].value), *b;
    int64_t v;

    if (!a)
        return NULL;
    if (is_and || is_or) {                                       /* the second side only where it matters */
        if (!attrval_int(a, &v))
            FAIL(s, e->args[0].value, NULL, "'%s' takes conditions", e->name);
        return (v != 0) == is_or ? val_int(s, is_or) : text_eval(s, e->args[1].value);
    }
    if (!(b = text_eval(s, e->args[1].value)))
        return NULL;
    if (a->kind == AV_LIST && b->kind == AV_LIST && strcmp(e->name, "+") == 0) {
        if (a->n + b->n > MAX_LIST)
            FAIL(s, e, NULL, "a list of %u entries", a->n + b->n);
        AttrVal *out = val_list(s, a->n + b->n);
        for (uint32_t i = 0; i < out->n; i++)
            out->items[i] = i < a->n ? a->items[i] : b->items[i - a->n];
        return out;
    }
    if (a->kind == AV_DTYPE && b->kind == AV_DTYPE && e->name[1] == '=' && (e->name[0] == '=' || e->name[0] == '!'))
        return val_int(s, (a->dtype == b->dtype) == (e->name[0] == '='));
    if (a->kind == AV_DIM && b->kind == AV_DIM && strcmp(e->name, "/") != 0)
        return eval_dims(s, e, a->dim, b->dim);
    return eval_floats(s, e, a, b);
}

static const AttrVal *eval_neg(const TextScope *s, const TextExpr *e)
{
    const AttrVal *v = text_eval(s, e->args[0].value);

    if (!v)
        return NULL;
    if (v->kind == AV_DIM)
        return dim_arith(s, e, '-', dim_const(s->cx->dims, 0), v->dim);
    if (v->kind != AV_FLOAT)
        FAIL(s, e, NULL, "'-' of %s", kind_text(v));
    return val_float(s, -v->f);
}

/* ---- names ----------------------------------------------------------------------------------------------------------------------- */
static const AttrVal *name_unknown(const TextScope *s, const TextExpr *e)
{
    const char *names[64 + DT_COUNT];
    size_t n = 0;
    uint64_t key, value;

    for (uint32_t i = 0; s->attrs && n < 64 && map_entry(s->attrs, i, &key, &value); i++)
        names[n++] = (const char *)(uintptr_t)key;
    for (int t = 0; t < DT_COUNT; t++)
        names[n++] = dtype_name((DType)t);
    const char *near = str_nearest(e->name, names, n);
    FAIL(s, e, near ? arena_printf(s->cx->arena, "did you mean '%s'?", near) : "values are written with %, dims are declared",
         "'%s' is not known here", e->name);
}

static const AttrVal *eval_name(const TextScope *s, const TextExpr *e)
{
    const AttrVal *v = s->attrs ? map_get_ptr(s->attrs, e->name) : NULL;
    DType t;
    Dim d;

    if (!v && s->symbols && (d = dim_sym_find(s->cx->dims, e->name)))
        v = val_dim(s, d);
    if (!v && dtype_parse(e->name, &t))
        v = val_dtype(s, t);
    if (!v && (strcmp(e->name, "true") == 0 || strcmp(e->name, "false") == 0))
        v = val_int(s, e->name[0] == 't');
    if (!v && s->create)
        v = val_dim(s, dim_sym(s->cx->dims, e->name, 0, INT64_MAX));
    if (!v)
        return name_unknown(s, e);
    if (!e->index)
        return v;
    const AttrVal *index = text_eval(s, e->index);
    int64_t k;
    if (!index)
        return NULL;
    if (v->kind != AV_LIST || !attrval_int(index, &k) || k < -(int64_t)v->n || k >= (int64_t)v->n)
        FAIL(s, e, NULL, "this does not name an entry of a list");
    return v->items[k < 0 ? k + v->n : k];
}

Node *text_value(const TextScope *s, const TextExpr *e)
{
    Node *n = s->values ? map_get_ptr(s->values, e->name) : NULL;

    if (e->index)
        FAIL(s, e, NULL, "%%%s[…]: indexed values belong to rules", e->name);
    if (n || (s->poisoned && map_has(s->poisoned, (uintptr_t)e->name)))
        return n;
    const char *names[64];
    size_t count = 0;
    uint64_t key, value;
    for (uint32_t i = 0; s->values && count < 64 && map_entry(s->values, i, &key, &value); i++)
        names[count++] = (const char *)(uintptr_t)key;
    const char *near = str_nearest(e->name, names, count);
    FAIL(s, e, near ? arena_printf(s->cx->arena, "did you mean '%%%s'?", near) : NULL, "%%%s is not defined", e->name);
}

const AttrVal *text_eval(const TextScope *s, const TextExpr *e)
{
    switch (e->kind) {
    case TE_NUMBER: return e->is_int ? val_int(s, e->integer) : val_float(s, e->number);
    case TE_NAME:   return eval_name(s, e);
    case TE_CALL:   return eval_call(s, e);
    case TE_BINARY: return eval_binary(s, e);
    case TE_NEG:    return eval_neg(s, e);
    case TE_STRING: {
        AttrVal *v = arena_new_of(s->arena, AttrVal);
        v->kind = AV_STR;
        v->s = e->name;
        return v;
    }
    case TE_LIST: {
        AttrVal *list = val_list(s, e->n);
        for (uint32_t i = 0; i < e->n; i++)
            if (!(list->items[i] = text_eval(s, e->args[i].value)))
                return NULL;
        return list;
    }
    case TE_VALUE:
        FAIL(s, e, "dim(%x, k), rank(%x), shape(%x) and dtype(%x) are its attributes", "%%%s is a tensor, not an attribute", e->name);
    case TE_STAR:
        break;
    }
    FAIL(s, e, NULL, "'*' belongs to rules");
}

/* ---- types ------------------------------------------------------------------------------------------------------------------------ */
static Dim eval_type_dim(const TextScope *s, const TextExpr *e)
{
    const AttrVal *v = text_eval(s, e);
    if (!v)
        return NULL;
    if (v->kind != AV_DIM)
        FAIL(s, e, NULL, "a dim is an integer or an expression of dims, not %s", kind_text(v));
    if (v->dim->lo < 0)
        FAIL(s, e, NULL, "this dim, %s, may be negative%s", dim_text(s->cx->arena, v->dim), range_facts(s->cx, &v->dim, 1));
    return v->dim;
}

bool text_eval_type(const TextScope *s, const TextExpr *e, Type *out)
{
    *out = (Type){0};
    if (!dtype_parse(e->name, &out->dtype)) {
        const char *names[DT_COUNT];
        for (int t = 0; t < DT_COUNT; t++)
            names[t] = dtype_name((DType)t);
        const char *near = str_nearest(e->name, names, DT_COUNT);
        return diag_error(s->cx->diags, PAWL_EXIT_INVALID, text_loc(s, e),
                          near ? arena_printf(s->cx->arena, "did you mean '%s'?", near)
                               : "the dtypes are f64, f32, f16, bf16, i64, i32, i8, u8 and bool",
                          "'%s' is not a dtype", e->name);
    }
    if (e->kind != TE_CALL)
        return true;
    if (e->n > MAX_RANK)
        return diag_error(s->cx->diags, PAWL_EXIT_INVALID, text_loc(s, e), NULL, "rank %u; at most %d is possible", e->n, MAX_RANK);
    for (uint32_t i = 0; i < e->n; i++)
        if (!(out->shape.d[out->shape.rank++] = eval_type_dim(s, e->args[i].value)))
            return false;
    return shape_check(s->cx, &out->shape, text_loc(s, e));
}
