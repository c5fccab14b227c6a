/* runtime/recipe.c — recipes read: graph text to steps with types, everything checked, so that running them needs no checks. */
#include "runtime/recipe_internal.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* More are none of our rewrites; a step that is read along several ways is computed for each of them. */
enum { MAX_STEPS = 64, MAX_COST = 256 };

static const struct { const char *name; int arity; } ops[RECIPE_OP_COUNT] = {
    [RECIPE_PARAM] = {"", 0},
#define X(E, op_name, n_in) [RECIPE_##E] = {op_name, n_in},
    RECIPE_OPS(X)
#undef X
};

/* ---- text -------------------------------------------------------------------------------------------------------------------- */
typedef struct { const char *at; } Scan;

static bool accept(Scan *s, const char *token)
{
    while (isspace((unsigned char)*s->at))
        s->at++;
    size_t n = strlen(token);
    if (strncmp(s->at, token, n) != 0)
        return false;
    s->at += n;
    return true;
}

static bool scan_word(Scan *s, const char **word, size_t *n)
{
    accept(s, "");
    *word = s->at;
    while (isalnum((unsigned char)*s->at) || *s->at == '_' || *s->at == '.')
        s->at++;
    *n = (size_t)(s->at - *word);
    return *n > 0;
}

/* %name or %"any text" */
static bool scan_name(Scan *s, const char **name, size_t *n)
{
    if (!accept(s, "%"))
        return false;
    if (*s->at != '"')
        return scan_word(s, name, n);
    *name = ++s->at;
    while (*s->at && *s->at != '"')
        s->at++;
    *n = (size_t)(s->at - *name);
    s->at += *s->at == '"';
    return *n > 0;
}

static bool scan_number(Scan *s, double *v)
{
    char *end;
    accept(s, "");
    *v = strtod(s->at, &end);
    bool any = end != s->at;
    s->at = end;
    return any;
}

static bool scan_int(Scan *s, int64_t *v)
{
    char *end;
    accept(s, "");
    *v = strtoll(s->at, &end, 10);
    bool any = end != s->at;
    s->at = end;
    return any;
}

/* [1, 2, 3], at most as many as a tensor has dims */
static bool scan_ints(Scan *s, int64_t *v, int *n)
{
    *n = 0;
    if (!accept(s, "["))
        return false;
    while (*n < TENSOR_MAX_RANK && !accept(s, "]")) {
        if (!scan_int(s, &v[*n]))
            return false;
        ++*n;
        if (accept(s, "]"))
            return true;
        if (!accept(s, ","))
            return false;
    }
    return s->at[-1] == ']';
}

static bool is_word(const char *word, size_t n, const char *what) { return strlen(what) == n && !memcmp(word, what, n); }

/* ---- statements ---------------------------------------------------------------------------------------------------------------- */
typedef struct {
    Arena *a;
    Recipe *r;
    Scan s;
    /* attributes of the statement at hand */
    int64_t ints[TENSOR_MAX_RANK]; int n_ints;             /* shape, perm or axes */
    int64_t low, high, size, step, keepdims;
    DType dtype;
} Reader;

static bool read_dtype(Reader *x)
{
    const char *word;
    size_t n;
    char text[16];
    if (!scan_word(&x->s, &word, &n) || n >= sizeof text)
        return false;
    memcpy(text, word, n);
    text[n] = 0;
    return dtype_parse(text, &x->dtype);
}

static bool read_attribute(Reader *x, RecipeStep *t)
{
    const char *key;
    size_t n;
    if (!scan_word(&x->s, &key, &n) || !accept(&x->s, "="))
        return false;
    const struct { const char *key; int64_t *to; } numbers[] = {
        {"axis", &t->axis}, {"low", &x->low}, {"high", &x->high}, {"start", &x->low}, {"size", &x->size}, {"step", &x->step},
        {"keepdims", &x->keepdims},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (is_word(key, n, numbers[i].key))
            return scan_int(&x->s, numbers[i].to);
    if (is_word(key, n, "value") || is_word(key, n, "fill"))
        return scan_number(&x->s, &t->value);
    if (is_word(key, n, "dtype"))
        return read_dtype(x);
    return (is_word(key, n, "shape") || is_word(key, n, "perm") || is_word(key, n, "axes")) && scan_ints(&x->s, x->ints, &x->n_ints);
}

static bool find_step(const Recipe *r, const char *name, size_t n, uint32_t *out)
{
    for (uint32_t i = r->n; i-- > 0; )
        if (r->step[i].name_len == n && !memcmp(r->step[i].name, name, n)) {
            *out = i;
            return true;
        }
    return false;
}

static bool read_operand(Reader *x, RecipeStep *t)
{
    const char *name;
    size_t n;
    if (!scan_name(&x->s, &name, &n) || t->n_in == RECIPE_PARTS)
        return false;
    return find_step(x->r, name, n, &t->in[t->n_in++]);
}

/* %name = op(%operand, …, key=value, …) */
static bool read_statement(Reader *x, RecipeStep *t)
{
    const char *op;
    size_t n;
    uint32_t in[RECIPE_PARTS];
    *t = (RecipeStep){.op = RECIPE_OP_COUNT, .in = in, .cost = 1};
    x->n_ints = 0;
    x->low = x->high = x->size = x->keepdims = 0;
    x->step = 1;
    x->dtype = DT_NONE;
    if (!scan_name(&x->s, &t->name, &t->name_len) || !accept(&x->s, "=") || !scan_word(&x->s, &op, &n) || !accept(&x->s, "("))
        return false;
    for (int k = RECIPE_PARAM + 1; k < RECIPE_OP_COUNT; k++)
        if (is_word(op, n, ops[k].name))
            t->op = (RecipeOp)k;
    if (t->op == RECIPE_OP_COUNT)
        return false;
    for (bool more = !accept(&x->s, ")"); more; more = !accept(&x->s, ")")) {
        accept(&x->s, ",");
        if (*x->s.at == ' ')
            accept(&x->s, "");
        if (!(*x->s.at == '%' ? read_operand(x, t) : read_attribute(x, t)))
            return false;
    }
    t->in = arena_copy(x->a, in, sizeof *in * (t->n_in ? t->n_in : 1));
    return ops[t->op].arity < 0 ? t->n_in > 0 : t->n_in == (uint32_t)ops[t->op].arity;
}

/* ---- types ------------------------------------------------------------------------------------------------------------------------ */
static bool computes(DType t) { return t == DT_F32 || t == DT_F16 || t == DT_BF16 || t == DT_BOOL; }

static bool same_dims(const Tensor *a, const Tensor *b, int but)
{
    bool same = a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++)
        same = i == but || a->dims[i] == b->dims[i];
    return same;
}

static bool axis_in(RecipeStep *t, int rank)
{
    t->axis += t->axis < 0 ? rank : 0;
    return t->axis >= 0 && t->axis < rank;
}

static void set_dims(Tensor *to, const int64_t *dims, int rank)
{
    to->rank = rank;
    memcpy(to->dims, dims, sizeof *dims * (size_t)rank);
}

/* The dims that are not 1, in their order. */
static int wide_dims(const Tensor *x, int64_t *out)
{
    int n = 0;
    for (int i = 0; i < x->rank; i++)
        if (x->dims[i] != 1)
            out[n++] = x->dims[i];
    return n;
}

static bool type_reshape(const Reader *x, RecipeStep *t, const Tensor *a)
{
    int64_t from[TENSOR_MAX_RANK], to[TENSOR_MAX_RANK];
    set_dims(&t->type, x->ints, x->n_ints);
    int n = wide_dims(a, from);
    return n == wide_dims(&t->type, to) && !memcmp(from, to, sizeof *to * (size_t)n);      /* none moves */
}

static bool type_permute(const Reader *x, RecipeStep *t, const Tensor *a)
{
    uint32_t seen = 0;
    if (x->n_ints != a->rank)
        return false;
    for (int i = 0; i < a->rank; i++) {
        if (x->ints[i] < 0 || x->ints[i] >= a->rank)
            return false;
        seen |= 1u << x->ints[i];
        t->perm[i] = x->ints[i];
        t->type.dims[i] = a->dims[x->ints[i]];
    }
    return seen == (1u << a->rank) - 1;
}

static bool type_expand(const Reader *x, RecipeStep *t, const Tensor *a)
{
    set_dims(&t->type, x->ints, x->n_ints);
    if (a->rank > t->type.rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dims[i] != 1 && a->dims[i] != t->type.dims[i + t->type.rank - a->rank])
            return false;
    return true;
}

static bool type_concat(const Reader *x, RecipeStep *t)
{
    const Recipe *r = x->r;
    int64_t sum = 0;
    if (!axis_in(t, t->type.rank))
        return false;
    for (uint32_t i = 0; i < t->n_in; i++) {
        const Tensor *part = &r->step[t->in[i]].type;
        if (part->dtype != t->type.dtype || !same_dims(part, &t->type, (int)t->axis))
            return false;
        sum += part->dims[t->axis];
    }
    t->type.dims[t->axis] = sum;
    return true;
}

static bool type_movement(const Reader *x, RecipeStep *t, const Tensor *a)
{
    switch ((int)t->op) {
    case RECIPE_RESHAPE: return type_reshape(x, t, a);
    case RECIPE_PERMUTE: return type_permute(x, t, a);
    case RECIPE_EXPAND:  return type_expand(x, t, a);
    case RECIPE_CONCAT:  return type_concat(x, t);
    default: break;
    }
    t->start = x->low;
    if (!axis_in(t, a->rank) || x->low < 0 || x->high < 0)
        return false;
    if (t->op == RECIPE_PAD) {
        int64_t *dim = &t->type.dims[t->axis];
        return !__builtin_add_overflow(*dim, x->low, dim) && !__builtin_add_overflow(*dim, x->high, dim);
    }
    t->type.dims[t->axis] = x->size;
    return x->size >= 0 && x->low <= a->dims[t->axis] - x->size;
}

static bool type_reduction(const Reader *x, RecipeStep *t, const Tensor *a)
{
    t->axis = x->ints[0];
    if (!axis_in(t, a->rank) || a->dims[t->axis] == 0)
        return false;
    t->type.dims[t->axis] = 1;
    if (!x->keepdims) {
        t->type.rank--;
        for (int i = (int)t->axis; i < t->type.rank; i++)
            t->type.dims[i] = t->type.dims[i + 1];
    }
    return true;
}

static bool type_pointwise(const Reader *x, RecipeStep *t)
{
    const Recipe *r = x->r;
    uint32_t first = t->op == RECIPE_WHERE;
    const Tensor *like = &r->step[t->in[first]].type;
    bool logical = t->op == RECIPE_NOT || t->op == RECIPE_AND || t->op == RECIPE_OR;
    bool to_bool = logical || t->op == RECIPE_ISNAN || t->op == RECIPE_ISINF || (t->op >= RECIPE_EQ && t->op <= RECIPE_GE);
    if (first && r->step[t->in[0]].type.dtype != DT_BOOL)
        return false;
    for (uint32_t i = 0; i < t->n_in; i++)
        if (!same_dims(&r->step[t->in[i]].type, like, -1) || (i >= first && r->step[t->in[i]].type.dtype != like->dtype))
            return false;
    t->type = *like;
    t->type.data = NULL;
    t->type.dtype = to_bool ? DT_BOOL : like->dtype;
    return logical == (like->dtype == DT_BOOL) || t->op == RECIPE_WHERE;
}

/* Sizes are a package's word: none negative, and all of them together a number of elements that can be counted. */
static bool counts(const int64_t *dims, int n, int64_t *count)
{
    static const int64_t most = (int64_t)1 << 44;
    *count = 1;
    for (int i = 0; i < n; i++)
        if (dims[i] < 0 || dims[i] > most || __builtin_mul_overflow(*count, dims[i] ? dims[i] : 1, count) || *count > most)
            return false;
    for (int i = 0; i < n; i++)
        *count = dims[i] ? *count : 0;
    return true;
}

/* Well said, but not for this routine. */
static bool not_known_here(const Reader *x, const RecipeStep *t)
{
    bool reduces = t->op == RECIPE_REDUCE_MAX || t->op == RECIPE_REDUCE_MIN;
    if ((t->op == RECIPE_CONST || t->op == RECIPE_CAST) && !computes(x->dtype))
        return true;
    if (t->op == RECIPE_CAST && (x->dtype == DT_BOOL || x->r->step[t->in[0]].type.dtype == DT_BOOL))
        return true;
    for (uint32_t i = 0; t->op != RECIPE_CONCAT && i < t->n_in; i++)
        if (!computes(x->r->step[t->in[i]].type.dtype))
            return true;
    if (t->op == RECIPE_RESHAPE) {
        int64_t count;
        RecipeStep probe = *t;
        return counts(x->ints, x->n_ints, &count) && count == tensor_count(&x->r->step[t->in[0]].type) && !type_reshape(x, &probe, &x->r->step[t->in[0]].type);
    }
    return x->step != 1 || (reduces && x->n_ints != 1);
}

/* False: the operands do not fit. */
static bool find_type(const Reader *x, RecipeStep *t)
{
    if (t->op == RECIPE_CONST) {
        t->type = (Tensor){.dtype = x->dtype};
        return true;
    }
    const Tensor *a = &x->r->step[t->in[0]].type;
    t->type = *a;
    t->type.data = NULL;
    if (t->op == RECIPE_CAST) {
        t->type.dtype = x->dtype;
        return true;
    }
    if (t->op >= RECIPE_RESHAPE)
        return type_movement(x, t, a);
    return t->op >= RECIPE_REDUCE_MAX ? a->dtype != DT_BOOL && type_reduction(x, t, a) : type_pointwise(x, t);
}

/* ---- whole recipes -------------------------------------------------------------------------------------------------------------- */
static void add_params(Recipe *r, const Str *params, const Tensor *const *values, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        r->step[r->n++] = (RecipeStep){.name = params[i], .name_len = strlen(params[i]), .op = RECIPE_PARAM, .type = *values[i], .cost = 1};
}

static RecipeResult read_recipe(Reader *x, const char *recipe)
{
    Recipe *r = x->r;
    x->s.at = recipe;
    while (accept(&x->s, ""), *x->s.at) {
        RecipeStep t;
        if (r->n == MAX_STEPS || !read_statement(x, &t) || not_known_here(x, &t))
            return RECIPE_UNKNOWN;
        int64_t count;
        if (!find_type(x, &t) || !counts(t.type.dims, t.type.rank, &count))
            return RECIPE_MISFITS;
        for (uint32_t i = 0; i < t.n_in; i++) {
            RecipeOp of = r->step[t.in[i]].op;
            t.cost += of == RECIPE_REDUCE_MAX || of == RECIPE_REDUCE_MIN ? 1 : r->step[t.in[i]].cost;
        }
        if (t.cost > MAX_COST)
            return RECIPE_UNKNOWN;
        r->step[r->n++] = t;
    }
    return r->n && r->step[r->n - 1].op != RECIPE_PARAM ? RECIPE_MADE : RECIPE_UNKNOWN;
}

/* Parameters side by side, of any dtype: bytes. */
static Tensor *stacked(Arena *a, const Recipe *r)
{
    const RecipeStep *t = &r->step[r->n - 1];
    for (uint32_t i = 0; i < t->n_in; i++)
        if (t->op != RECIPE_CONCAT || r->step[t->in[i]].op != RECIPE_PARAM)
            return NULL;
    if (t->op != RECIPE_CONCAT)
        return NULL;
    Tensor *out = tensor_new(a, t->type.dtype, t->type.rank, t->type.dims);
    size_t outer = 1, inner = dtype_bytes(out->dtype);
    for (int64_t k = 0; k < t->axis; k++)
        outer *= (size_t)out->dims[k];
    for (int k = (int)t->axis + 1; k < out->rank; k++)
        inner *= (size_t)out->dims[k];
    char *to = out->data;
    for (size_t o = 0; o < outer; o++)
        for (uint32_t i = 0; i < t->n_in; i++) {
            const Tensor *part = &r->step[t->in[i]].type;
            size_t bytes = (size_t)part->dims[t->axis] * inner;
            if (bytes)
                memcpy(to, (const char *)part->data + o * bytes, bytes);
            to += bytes;
        }
    return out;
}

static bool all_computed(const Recipe *r)
{
    for (uint32_t i = 0; i < r->n; i++)
        if (!computes(r->step[i].type.dtype))
            return false;
    return true;
}

RecipeResult recipe_make(Arena *a, const char *recipe, const Str *params, const Tensor *const *values, uint32_t n, Tensor **out)
{
    RecipeStep steps[MAX_STEPS];
    Recipe r = {.step = steps};
    if (n >= MAX_STEPS)
        return RECIPE_UNKNOWN;
    add_params(&r, params, values, n);
    RecipeResult result = read_recipe(&(Reader){.a = a, .r = &r}, recipe);
    if (result != RECIPE_MADE)
        return result;
    *out = stacked(a, &r);
    if (*out)
        return RECIPE_MADE;
    if (!all_computed(&r))
        return RECIPE_UNKNOWN;
    *out = recipe_run(a, &r);
    return RECIPE_MADE;
}

/* Their last statement chooses between a number and its negative: %weight = where(%bad, %negative, %x), %negative = neg(%x). */
bool recipe_is_scales(const char *recipe)
{
    const char *names[3] = {0};
    size_t len[3] = {0}, n;
    const char *last = strrchr(recipe, '=');
    if (!strstr(recipe, "= pow2_floor(") || !last)
        return false;
    Scan s = {last + 1};
    if (!accept(&s, "where") || !accept(&s, "("))
        return false;
    for (int i = 0; i < 3; i++)
        if ((i && !accept(&s, ",")) || !scan_name(&s, &names[i], &len[i]))
            return false;
    for (const char *line = recipe; line && *line; line = strchr(line, '\n'), line += line != NULL) {
        Scan t = {line};
        const char *name;
        if (scan_name(&t, &name, &n) && n == len[1] && !memcmp(name, names[1], n))
            return accept(&t, "=") && accept(&t, "neg") && accept(&t, "(") && scan_name(&t, &name, &n) && n == len[2] &&
                   !memcmp(name, names[2], n);
    }
    return false;
}

int64_t recipe_scales_bad(const Tensor *scales)
{
    int64_t bad = 0;
    for (int64_t i = 0; i < tensor_count(scales); i++)
        bad += dtype_load(scales->dtype, (const char *)scales->data + i * dtype_bytes(scales->dtype)) < 0;
    return bad;
}

bool recipe_scales_hold(const Tensor *scales) { return !recipe_scales_bad(scales); }
