/* ir/attr.c — attributes: what an op takes, normal form, comparison. */
#include "ir/attr.h"
#include <math.h>
#include <string.h>

#define FAIL(...) return diag_error(cx->diags, PAWL_EXIT_INVALID, loc, NULL, __VA_ARGS__)

/* "axis, start, size, step", or "no attributes" */
static const char *attrs_taken(Context *cx, Op op)
{
    const OpAttrs *takes = op_attrs(op);
    StrBuf b = strbuf_new(cx->arena);

    for (uint32_t i = 0; i < takes->n; i++)
        strbuf_printf(&b, "%s%s", i ? ", " : "", attr_table[takes->a[i].key].name);
    return takes->n ? b.text : "no attributes";
}

static bool op_takes(Op op, AttrKey key)
{
    const OpAttrs *takes = op_attrs(op);

    for (uint32_t i = 0; i < takes->n; i++)
        if (takes->a[i].key == key)
            return true;
    return false;
}

static uint64_t bits_of(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static bool at_default(const Attr *a, Op op, Node *const *in)
{
    switch (a->key) {
    case ATTR_START: case ATTR_LOW: case ATTR_HIGH: return dim_is(a->dim, 0);
    case ATTR_STEP:     return a->i == 1;
    case ATTR_KEEPDIMS: case ATTR_TRANS_A: case ATTR_TRANS_B: return a->i == 0;
    case ATTR_FILL:     return bits_of(a->f) == 0;
    case ATTR_DTYPE:    return op_class(op) == CLASS_CONTRACT && a->dtype == in[0]->type.dtype;
    case ATTR_VALUE: case ATTR_SHAPE: case ATTR_PERM: case ATTR_AXIS: case ATTR_AXES: case ATTR_SIZE:
    case ATTR_TERMS: case ATTR_NAME: case ATTR_ID: case ATTR_COUNT: return false;
    }
    return false;
}

/* The rank that an axis of this op counts in. */
static uint32_t axis_rank(Op op, Node *const *in, const Attr *attrs, uint32_t n_attrs)
{
    if (op != OP_IOTA)
        return node_rank(in[0]);
    for (uint32_t i = 0; i < n_attrs; i++)
        if (attrs[i].key == ATTR_SHAPE)
            return attrs[i].n;
    return 0;
}

static bool axis_normalise(Context *cx, Op op, uint32_t rank, int64_t *axis, Loc loc)
{
    int64_t r = rank;

    if (r == 0)
        FAIL("%s has no axes to choose from: its operand has rank 0", op_name(op));
    if (*axis < -r || *axis >= r)
        return diag_error(cx->diags, PAWL_EXIT_INVALID, loc,
                          arena_printf(cx->arena, "a tensor of rank %u has axes %d to %d", rank, -(int)r, (int)r - 1),
                          "axis %lld of %s is out of range", (long long)*axis, op_name(op));
    if (*axis < 0)
        *axis += r;
    return true;
}

static void sort_ints(int64_t *v, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++)
        for (uint32_t j = i; j && v[j - 1] > v[j]; j--) {
            int64_t t = v[j];
            v[j] = v[j - 1];
            v[j - 1] = t;
        }
}

static bool ints_normalise(Context *cx, Op op, uint32_t rank, AttrList *out, Attr *a, Loc loc)
{
    const char *key = attr_table[a->key].name;

    if (a->n > MAX_RANK)
        FAIL("%s of %s has %u entries; at most %d are possible", key, op_name(op), a->n, MAX_RANK);
    for (uint32_t i = 0; i < a->n; i++)
        out->ints[i] = a->ints[i];
    a->ints = out->ints;
    for (uint32_t i = 0; i < a->n; i++)
        if (!axis_normalise(cx, op, rank, &out->ints[i], loc))
            return false;
    if (a->key == ATTR_AXES)
        sort_ints(out->ints, a->n);
    for (uint32_t i = 0; i < a->n; i++)
        for (uint32_t j = 0; j < i; j++)
            if (out->ints[i] == out->ints[j])
                FAIL("%s of %s names axis %lld twice", key, op_name(op), (long long)out->ints[i]);
    return true;
}

static bool flag_check(Context *cx, Op op, const Attr *a, Loc loc)
{
    bool is_flag = a->key == ATTR_KEEPDIMS || a->key == ATTR_TRANS_A || a->key == ATTR_TRANS_B;

    if (is_flag && a->i != 0 && a->i != 1)
        FAIL("%s of %s is 0 or 1, not %lld", attr_table[a->key].name, op_name(op), (long long)a->i);
    if (a->key == ATTR_TERMS && a->i != 1 && a->i != 3)
        FAIL("terms of %s is 1 or 3, not %lld", op_name(op), (long long)a->i);
    if (a->key == ATTR_DTYPE && (unsigned)a->dtype >= DT_COUNT)
        FAIL("dtype of %s is not a dtype", op_name(op));
    if ((a->key == ATTR_SHAPE) && a->n > MAX_RANK)
        FAIL("shape of %s has rank %u; at most %d is possible", op_name(op), a->n, MAX_RANK);
    return true;
}

double dim_magnitude(Dim d)
{
    double m = fabs((double)d->value);

    if (dim_is_const(d))
        return m;
    for (uint32_t i = 0; i < d->n_terms; i++)
        m += fabs((double)d->terms[i].coef);
    return m;
}

bool shape_check(Context *cx, const Shape *s, Loc loc)
{
    double count = 1;

    for (uint32_t i = 0; i < s->rank; i++) {
        double m = dim_magnitude(s->d[i]), hi = (double)s->d[i]->hi;
        if (s->d[i]->hi < 0)
            FAIL("dim %u of %s is negative", i, shape_text(cx, s));
        if (hi < 0x1p62 && hi > m)
            m = hi;                                             /* else the symbol has no bound worth the name */
        count *= m > 1 ? m : 1;
    }
    if (count > 0x1p60)
        FAIL("%s can have more than 2^60 elements%s", shape_text(cx, s), range_facts(cx, s->d, s->rank));
    return true;
}

static bool size_check(Context *cx, Op op, const Attr *a, Loc loc)
{
    const char *name = attr_table[a->key].name;
    const double limit = 0x1p40;

    if (attr_table[a->key].kind == AK_DIM && dim_magnitude(a->dim) > limit)
        FAIL("%s of %s is too large", name, op_name(op));
    for (uint32_t i = 0; attr_table[a->key].kind == AK_DIMS && i < a->n; i++)
        if (dim_magnitude(a->dims[i]) > limit)
            FAIL("%s of %s is too large", name, op_name(op));
    if (a->key == ATTR_STEP && (a->i < 1 || a->i > 1 << 20))
        return diag_error(cx->diags, PAWL_EXIT_INVALID, loc, a->i < 1 ? "use flip to go backwards" : NULL,
                          "step of %s is %lld; it goes from 1 to %d", op_name(op), (long long)a->i, 1 << 20);
    return true;
}

static bool attr_normalise(Context *cx, Op op, Node *const *in, const Attr *attrs, uint32_t n_attrs, Attr a,
                           Loc loc, AttrList *out)
{
    const char *name = a.key < ATTR_COUNT ? attr_table[a.key].name : "?";

    if (a.key >= ATTR_COUNT || !op_takes(op, a.key))
        return diag_error(cx->diags, PAWL_EXIT_INVALID, loc,
                          arena_printf(cx->arena, "%s takes %s", op_name(op), attrs_taken(cx, op)),
                          "%s has no attribute '%s'", op_name(op), name);
    if (!flag_check(cx, op, &a, loc) || !size_check(cx, op, &a, loc))
        return false;
    if (a.key == ATTR_AXIS && !axis_normalise(cx, op, axis_rank(op, in, attrs, n_attrs), &a.i, loc))
        return false;
    if (attr_table[a.key].kind == AK_INTS && !ints_normalise(cx, op, node_rank(in[0]), out, &a, loc))
        return false;
    if (at_default(&a, op, in))
        return true;
    uint32_t at = out->n;
    while (at && out->a[at - 1].key > a.key) {
        out->a[at] = out->a[at - 1];
        at--;
    }
    out->a[at] = a;
    out->n++;
    return true;
}

bool attrs_normalise(Context *cx, Op op, Node *const *in, uint32_t n_in, const Attr *attrs, uint32_t n_attrs,
                     Loc loc, AttrList *out)
{
    const OpAttrs *takes = op_attrs(op);
    uint32_t seen = 0;

    (void)n_in;
    out->n = 0;
    for (uint32_t i = 0; i < n_attrs; i++) {
        if (attrs[i].key < ATTR_COUNT && (seen & (1u << attrs[i].key)))
            FAIL("%s is given twice to %s", attr_table[attrs[i].key].name, op_name(op));
        if (!attr_normalise(cx, op, in, attrs, n_attrs, attrs[i], loc, out))
            return false;
        seen |= 1u << attrs[i].key;
    }
    for (uint32_t i = 0; i < takes->n; i++)
        if (takes->a[i].required && !(seen & (1u << takes->a[i].key)))
            return diag_error(cx->diags, PAWL_EXIT_INVALID, loc,
                              arena_printf(cx->arena, "%s takes %s", op_name(op), attrs_taken(cx, op)),
                              "%s needs the attribute '%s'", op_name(op), attr_table[takes->a[i].key].name);
    return true;
}

/* ---- comparison, hash, copy ------------------------------------------------------------------------------------------ */
static bool attr_equal(const Attr *a, const Attr *b)
{
    if (a->key != b->key)
        return false;
    switch (attr_table[a->key].kind) {
    case AK_INT:   return a->i == b->i;
    case AK_FLOAT: return bits_of(a->f) == bits_of(b->f);
    case AK_DIM:   return a->dim == b->dim;
    case AK_DIMS:  return a->n == b->n && (a->n == 0 || memcmp(a->dims, b->dims, a->n * sizeof a->dims[0]) == 0);
    case AK_INTS:  return a->n == b->n && (a->n == 0 || memcmp(a->ints, b->ints, a->n * sizeof a->ints[0]) == 0);
    case AK_STR:   return a->s == b->s;
    case AK_DTYPE: return a->dtype == b->dtype;
    }
    return false;
}

bool attrs_equal(const Attr *a, const Attr *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!attr_equal(&a[i], &b[i]))
            return false;
    return true;
}

uint64_t attrs_hash(const Attr *a, uint32_t n, uint64_t h)
{
    for (uint32_t i = 0; i < n; i++, a++) {
        h = hash_mix(h, a->key);
        switch (attr_table[a->key].kind) {
        case AK_INT:   h = hash_mix(h, (uint64_t)a->i); break;
        case AK_FLOAT: h = hash_mix(h, bits_of(a->f)); break;
        case AK_DIM:   h = hash_mix(h, (uintptr_t)a->dim); break;
        case AK_DIMS:
            for (uint32_t k = 0; k < a->n; k++)
                h = hash_mix(h, (uintptr_t)a->dims[k]);
            break;
        case AK_INTS:
            for (uint32_t k = 0; k < a->n; k++)
                h = hash_mix(h, (uint64_t)a->ints[k]);
            break;
        case AK_STR:   h = hash_mix(h, (uintptr_t)a->s); break;
        case AK_DTYPE: h = hash_mix(h, (uint64_t)a->dtype); break;
        }
    }
    return h;
}

const Attr *attrs_copy(Arena *arena, const Attr *a, uint32_t n)
{
    Attr *out = n ? arena_copy(arena, a, n * sizeof *a) : NULL;

    for (uint32_t i = 0; i < n; i++) {
        AttrKind kind = attr_table[a[i].key].kind;
        if (kind == AK_DIMS && a[i].n)
            out[i].dims = arena_copy(arena, a[i].dims, a[i].n * sizeof(Dim));
        if (kind == AK_INTS && a[i].n)
            out[i].ints = arena_copy(arena, a[i].ints, a[i].n * sizeof(int64_t));
    }
    return out;
}

/* ---- texts for messages ------------------------------------------------------------------------------------------------ */
const char *type_text(Context *cx, const Type *t)
{
    StrBuf b = strbuf_new(cx->arena);
    type_print(&b, t);
    return b.text;
}

const char *shape_text(Context *cx, const Shape *s)
{
    StrBuf b = strbuf_new(cx->arena);
    shape_print(&b, s);
    return b.text;
}

static void collect_symbols(Dim d, Dim *syms, uint32_t *n, uint32_t cap)
{
    if (d->kind == DIM_SYM) {
        for (uint32_t i = 0; i < *n; i++)
            if (syms[i] == d)
                return;
        if (*n < cap)
            syms[(*n)++] = d;
        return;
    }
    for (uint32_t i = 0; d->kind == DIM_SUM && i < d->n_terms; i++)
        for (uint32_t k = 0; k < d->terms[i].n_atoms; k++)
            collect_symbols(d->terms[i].atoms[k], syms, n, cap);
    if (d->kind == DIM_FLOORDIV || d->kind == DIM_MOD || d->kind == DIM_MIN || d->kind == DIM_MAX) {
        collect_symbols(d->a, syms, n, cap);
        collect_symbols(d->b, syms, n, cap);
    }
}

const char *range_facts(Context *cx, const Dim *d, uint32_t n)
{
    Dim syms[8];
    uint32_t n_syms = 0;
    StrBuf b = strbuf_new(cx->arena);

    for (uint32_t i = 0; i < n; i++)
        collect_symbols(d[i], syms, &n_syms, 8);
    for (uint32_t i = 0; i < n_syms; i++)
        strbuf_printf(&b, "%s%s in [%lld, %lld]", i ? ", " : " (", syms[i]->name, (long long)syms[i]->lo,
                      (long long)syms[i]->hi);
    if (n_syms)
        strbuf_char(&b, ')');
    return n_syms ? b.text : "";
}
