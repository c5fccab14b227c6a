/* runtime/plan_bind.c — from the shapes of a call to numbers: symbol values, and every size of the plan under them.
 *
 * Binding solves for one symbol at a time: any dim that is linear in a single symbol not known yet gives its value. Then every
 * dim is evaluated and compared, so a plan never runs on a shape that it was not compiled for. */
#include "runtime/plan_internal.h"
#include <string.h>

typedef long long ll;

/* ---- symbols ---- */

typedef struct {
    const Plan *plan;
    DimValue *values;
    bool known[256];
} Binding;

enum { MAX_SYMBOLS = 256 };

static int symbol_number(const Plan *p, Str name)
{
    for (uint32_t i = 0; i < p->symbols.n; i++)
        if (p->symbols.data[i].name == name)
            return (int)i;
    return -1;
}

static bool atom_value(const Binding *b, Dim atom, int64_t *out)
{
    if (atom->kind == DIM_SYM) {
        int s = symbol_number(b->plan, atom->name);
        if (s < 0 || !b->known[s])
            return false;
        *out = b->values[s].value;
        return true;
    }
    return false;          /* floordiv and the like are checked, never solved */
}

/* extent = value + sum of coef * product(atoms): solves when all is known but one symbol in one term. */
static int solve_sum(const Binding *b, Dim d, int64_t extent, int64_t *value)
{
    int unknown = -1;
    int64_t factor = 0, rest = d->value;
    for (uint32_t t = 0; t < d->n_terms; t++) {
        int64_t product = d->terms[t].coef, v;
        int here = -1;
        for (uint32_t i = 0; i < d->terms[t].n_atoms; i++) {
            Dim atom = d->terms[t].atoms[i];
            if (atom_value(b, atom, &v)) {
                if (__builtin_mul_overflow(product, v, &product))
                    return -1;
            } else if (here >= 0 || atom->kind != DIM_SYM) {
                return -1;
            } else {
                here = symbol_number(b->plan, atom->name);
                if (here < 0)
                    return -1;
            }
        }
        if (here < 0) {
            if (__builtin_add_overflow(rest, product, &rest))
                return -1;
        } else if (unknown >= 0) {
            return -1;
        } else {
            unknown = here;
            factor = product;
        }
    }
    int64_t left;
    if (unknown < 0 || factor == 0 || __builtin_sub_overflow(extent, rest, &left))
        return -1;
    *value = factor == -1 ? (left == INT64_MIN ? 0 : -left) : left / factor;
    return unknown;
}

static bool solve_one(Binding *b, Dim d, int64_t extent)
{
    int64_t value = extent;
    int s = -1;
    if (d->kind == DIM_SYM)
        s = symbol_number(b->plan, d->name);
    else if (d->kind == DIM_SUM)
        s = solve_sum(b, d, extent, &value);
    if (s < 0 || b->known[s])
        return false;
    b->known[s] = true;
    b->values[s] = (DimValue){b->plan->symbols.data[s].name, value};
    return true;
}

static void solve_all(Binding *b, const int64_t *const *shapes)
{
    bool progress = true;
    while (progress) {
        progress = false;
        for (uint32_t i = 0; i < b->plan->n_inputs; i++) {
            const PlanBuffer *f = &b->plan->buffers.data[i];
            for (uint32_t k = 0; k < f->rank; k++)
                progress |= solve_one(b, f->shape[k], shapes ? shapes[i][k] : 1);
        }
    }
}

const char *plan_unsolvable(const Plan *p)
{
    DimValue values[MAX_SYMBOLS];
    Binding b = {.plan = p, .values = values};
    if (p->symbols.n > MAX_SYMBOLS)
        return "more than 256 symbols";
    solve_all(&b, NULL);
    for (uint32_t s = 0; s < p->symbols.n; s++)
        if (!b.known[s])
            return p->symbols.data[s].name;
    return NULL;
}

void buffer_type_print(StrBuf *b, const PlanBuffer *f)
{
    strbuf_printf(b, "%s[", dtype_name(f->dtype));
    for (uint32_t k = 0; k < f->rank; k++) {
        if (k)
            strbuf_add(b, ", ");
        dim_print(b, f->shape[k]);
    }
    strbuf_char(b, ']');
}

/* ---- messages (d may be NULL) ---- */

static const char *type_text(Arena *a, const PlanBuffer *f)
{
    StrBuf b = strbuf_new(a);
    buffer_type_print(&b, f);
    return b.text;
}

static bool refuse_type(Diags *d, const PlanBuffer *f, const char *what, ll have)
{
    if (!d)
        return false;
    Arena *a = arena_new();
    if (have < 0)
        diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "input \"%s\": %s; expected %s", f->name, what, type_text(a, f));
    else
        diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "input \"%s\": %s %lld; expected %s", f->name, what, have,
                   type_text(a, f));
    arena_free(a);
    return false;
}

static bool refuse_dim(Diags *d, const PlanBuffer *f, uint32_t k, int64_t have, int64_t want)
{
    if (!d)
        return false;
    Arena *a = arena_new();
    const char *dim = dim_text(a, f->shape[k]);
    if (dim_is_const(f->shape[k]))
        diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "input \"%s\": dim %u is %lld, expected %lld (its type is %s)",
                   f->name, k, (ll)have, (ll)want, type_text(a, f));
    else
        diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, NULL,
                   "input \"%s\": dim %u is %lld, but %s = %lld by the other dims (its type is %s)", f->name, k, (ll)have, dim,
                   (ll)want, type_text(a, f));
    arena_free(a);
    return false;
}

/* ---- binding ---- */

static bool check_types(const Plan *p, const int64_t *const *shapes, const int32_t *ranks, const DType *dtypes, Diags *d)
{
    for (uint32_t i = 0; i < p->n_inputs; i++) {
        const PlanBuffer *f = &p->buffers.data[i];
        if (dtypes && dtypes[i] != f->dtype)
            return refuse_type(d, f, dtypes[i] < DT_COUNT ? dtype_name(dtypes[i]) : "not an element type", -1);
        if (ranks && ranks[i] != (int32_t)f->rank)
            return refuse_type(d, f, "rank is", ranks[i]);
        for (uint32_t k = 0; k < f->rank; k++)
            if (shapes[i][k] < 0)
                return refuse_type(d, f, "has a negative dim", -1);
    }
    return true;
}

/* Where the symbol shows as a bare dim: for the message about its range. */
static const PlanBuffer *symbol_place(const Plan *p, Str name, uint32_t *dim)
{
    for (uint32_t i = 0; i < p->n_inputs; i++)
        for (uint32_t k = 0; k < p->buffers.data[i].rank; k++) {
            Dim x = p->buffers.data[i].shape[k];
            if (x->kind == DIM_SYM && x->name == name) {
                *dim = k;
                return &p->buffers.data[i];
            }
        }
    return NULL;
}

static bool check_range(const Plan *p, const PlanSymbol *s, int64_t v, Diags *d)
{
    if (v >= s->lo && v <= s->hi)
        return true;
    if (!d)
        return false;
    uint32_t k = 0;
    const PlanBuffer *f = symbol_place(p, s->name, &k);
    const char *hint = "compile with a wider range in the task's `dims`";
    if (f)
        return diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, hint, "input \"%s\": dim %u (%s) is %lld, outside %lld..%lld", f->name, k,
                          s->name, (ll)v, (ll)s->lo, (ll)s->hi);
    return diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, hint, "%s is %lld by the inputs' shapes, outside %lld..%lld", s->name, (ll)v,
                      (ll)s->lo, (ll)s->hi);
}

static bool check_dims(const Plan *p, const int64_t *const *shapes, const DimValue *v, Diags *d)
{
    for (uint32_t i = 0; i < p->n_inputs; i++) {
        const PlanBuffer *f = &p->buffers.data[i];
        for (uint32_t k = 0; k < f->rank; k++) {
            int64_t want = 0;
            Str missing = NULL;
            if (dim_is_const(f->shape[k]))
                want = f->shape[k]->value;
            else if (!dim_eval(f->shape[k], v, p->symbols.n, &want, &missing))
                return refuse_type(d, f, "has a dim that cannot be computed", -1);
            if (want != shapes[i][k])
                return refuse_dim(d, f, k, shapes[i][k], want);
        }
    }
    return true;
}

bool plan_bind(const Plan *p, const int64_t *const *shapes, const int32_t *ranks, const DType *dtypes, Diags *d, DimValue *out)
{
    if (!check_types(p, shapes, ranks, dtypes, d))
        return false;
    if (p->symbols.n) {
        Binding b = {.plan = p, .values = out};
        if (p->symbols.n <= MAX_SYMBOLS)
            solve_all(&b, shapes);
        for (uint32_t s = 0; s < p->symbols.n; s++) {
            if (s >= MAX_SYMBOLS || !b.known[s])
                return d ? diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "no input's shape tells the value of %s",
                                      p->symbols.data[s].name)
                         : false;
            if (!check_range(p, &p->symbols.data[s], out[s].value, d))
                return false;
        }
    }
    return check_dims(p, shapes, out, d);
}
