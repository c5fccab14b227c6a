/* base/dim_query.c — reading dims: occurrence, linearity, substitution, evaluation. */
#include "base/dim_internal.h"
#include <string.h>

bool dim_uses(Dim d, Dim sym)
{
    if (d == sym)
        return true;
    if ((d->symbols & sym->symbols) != sym->symbols || d->kind == DIM_SYM || d->kind == DIM_CONST)
        return false;
    if (d->kind != DIM_SUM)
        return dim_uses(d->a, sym) || dim_uses(d->b, sym);
    for (uint32_t i = 0; i < d->n_terms; i++)
        for (uint32_t j = 0; j < d->terms[i].n_atoms; j++)
            if (dim_uses(d->terms[i].atoms[j], sym))
                return true;
    return false;
}

void dim_extract(DimPool *p, Dim d, Dim x, Dim *c, Dim *r)
{
    DIM_SCRATCH(p, DimTerm, with, d->n_terms);
    DIM_SCRATCH(p, DimTerm, without, d->n_terms);
    uint32_t n_with = 0, n_without = 0;
    int64_t value = 0;
    for (uint32_t i = 0; i < d->n_terms; i++) {
        const DimTerm *t = &d->terms[i];
        if (!term_has(t, x))
            without[n_without++] = *t;
        else if (t->n_atoms == 1)
            value = t->coef;
        else
            with[n_with++] = term_without(p, t, x);
    }
    *c = dim_of_terms(p, with, n_with, value);
    *r = dim_of_terms(p, without, n_without, d->value);
}

bool dim_linear_in(DimPool *p, Dim d, Dim sym, Dim *coef, Dim *rest)
{
    dim_extract(p, d, sym, coef, rest);
    return !dim_uses(*coef, sym) && !dim_uses(*rest, sym);
}

/* ---- substitution ---- */

enum { MEMO = 64 };

/* Shared subexpressions are substituted once, unless two fall on one entry. */
typedef struct {
    DimPool *p;
    const DimSubst *s;
    uint32_t n;
    uint64_t symbols;
    Dim from[MEMO], to[MEMO];
} Subst;

static Dim subst(Subst *c, Dim d);

static Dim subst_sum(Subst *c, Dim d)
{
    DIM_SCRATCH(c->p, DimScaled, part, d->n_terms + 1);
    for (uint32_t i = 0; i < d->n_terms; i++) {
        Dim product = dim_const(c->p, 1);
        for (uint32_t j = 0; j < d->terms[i].n_atoms; j++)
            product = dim_mul(c->p, product, subst(c, d->terms[i].atoms[j]));
        part[i] = (DimScaled){d->terms[i].coef, product};
    }
    part[d->n_terms] = (DimScaled){1, dim_const(c->p, d->value)};
    return dim_combine(c->p, part, d->n_terms + 1);
}

static Dim subst_anew(Subst *c, Dim d)
{
    switch (d->kind) {
    case DIM_CONST: return d;
    case DIM_SYM:
        for (uint32_t i = 0; i < c->n; i++)
            if (c->s[i].sym == d)
                return c->s[i].value;
        return d;
    case DIM_SUM:      return subst_sum(c, d);
    case DIM_FLOORDIV: return dim_floordiv(c->p, subst(c, d->a), subst(c, d->b));
    case DIM_MOD:      return dim_mod(c->p, subst(c, d->a), subst(c, d->b));
    case DIM_MIN:      return dim_min(c->p, subst(c, d->a), subst(c, d->b));
    case DIM_MAX:      return dim_max(c->p, subst(c, d->a), subst(c, d->b));
    }
    return d;
}

static Dim subst(Subst *c, Dim d)
{
    if (!(d->symbols & c->symbols))
        return d;
    uint32_t slot = d->id % MEMO;
    if (c->from[slot] == d)
        return c->to[slot];
    Dim to = subst_anew(c, d);
    c->from[slot] = d;
    c->to[slot] = to;
    return to;
}

Dim dim_subst(DimPool *p, Dim d, const DimSubst *s, uint32_t n)
{
    Subst c = {.p = p, .s = s, .n = n};
    for (uint32_t i = 0; i < n; i++)
        c.symbols |= s[i].sym->symbols;
    return subst(&c, d);
}

/* ---- evaluation ---- */

static bool value_of_sum(Dim d, DimValueOf *value_of, void *arg, int64_t *out)
{
    int64_t sum = d->value;
    for (uint32_t i = 0; i < d->n_terms; i++) {
        int64_t product = d->terms[i].coef, x;
        for (uint32_t j = 0; j < d->terms[i].n_atoms; j++)
            if (!value_of(arg, d->terms[i].atoms[j], &x) || __builtin_mul_overflow(product, x, &product))
                return false;
        if (__builtin_add_overflow(sum, product, &sum))
            return false;
    }
    *out = sum;
    return true;
}

bool dim_value_of_parts(Dim d, DimValueOf *value_of, void *arg, int64_t *out)
{
    int64_t a, b;
    switch (d->kind) {
    case DIM_CONST: *out = d->value; return true;
    case DIM_SYM:   return value_of(arg, d, out);
    case DIM_SUM:   return value_of_sum(d, value_of, arg, out);
    case DIM_FLOORDIV: case DIM_MOD: case DIM_MIN: case DIM_MAX: break;
    }
    if (!value_of(arg, d->a, &a) || !value_of(arg, d->b, &b))
        return false;
    bool divides = d->kind == DIM_FLOORDIV || d->kind == DIM_MOD;
    if (divides && b <= 0)
        return false;
    *out = d->kind == DIM_FLOORDIV ? floordiv64(a, b) : d->kind == DIM_MOD ? floormod64(a, b)
         : (d->kind == DIM_MIN) == (a < b) ? a : b;
    return true;
}

typedef struct { const DimValue *v; uint32_t n; Str missing; } Eval;

static bool eval_symbol(Eval *e, Dim d, int64_t *out)
{
    for (uint32_t i = 0; i < e->n; i++)
        if (e->v[i].name == d->name || strcmp(e->v[i].name, d->name) == 0) {
            *out = e->v[i].value;
            return true;
        }
    e->missing = d->name;
    return false;
}

static bool eval(void *arg, Dim d, int64_t *out)
{
    return d->kind == DIM_SYM ? eval_symbol(arg, d, out) : dim_value_of_parts(d, eval, arg, out);
}

bool dim_eval(Dim d, const DimValue *v, uint32_t n, int64_t *out, Str *missing)
{
    Eval e = {v, n, NULL};
    bool good = eval(&e, d, out);
    if (missing)
        *missing = e.missing;
    return good;
}
