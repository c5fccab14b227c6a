/* base/dim_prove.c — the order of dims: is d >= 0 for all values in range?
 *
 * The intervals of a dim forget that symbols are shared. The proof eliminates atoms one by one instead: with d = c*x + r and
 * the sign of c known, x is replaced by a bound of it, which bounds d from below (relaxation as in Fourier–Motzkin, greedy
 * with a little backtracking). Bounds may be symbolic: v <= extent - 1, y % D <= D - 1, D*(y/D) <= y, min(a, b) <= a,
 * and y/D rises with y.
 * Before that a few concrete assignments are tried, because most false claims fall at the first one. */
#include "base/dim_internal.h"

/* ---- counterexamples ---- */

enum { PLAN_LOW, PLAN_HIGH, PLAN_FIRST_MIXED, PLANS = 6 };

typedef struct { uint64_t plan; int fuel; } Sample;

static bool sample_value(Sample *s, Dim d, int64_t *out);
static bool sample_part(void *sample, Dim d, int64_t *out);

/* A value of the symbol under the plan: its lowest, its highest (up to a little above the lowest when unknown), or one
 * chosen by hash. A pure function of symbol and plan, so all its occurrences agree. */
static bool sample_symbol(Sample *s, Dim d, int64_t *out)
{
    int64_t lo = d->lo, hi = d->hi, extent;
    if (lo == INT64_MIN)
        lo = hi < -10 ? hi - 10 : -10;
    if (d->extent) {
        if (!sample_value(s, d->extent, &extent) || extent <= 0)
            return false;
        hi = extent - 1 < hi ? extent - 1 : hi;
    }
    if (hi == INT64_MAX || hi - lo > 1 << 20)
        hi = lo > INT64_MAX - 100 ? INT64_MAX : lo + 100;
    switch (s->plan) {
    case PLAN_LOW:  *out = lo; break;
    case PLAN_HIGH: *out = hi; break;
    default:        *out = lo + (int64_t)(hash_mix(d->hash, s->plan) % ((uint64_t)(hi - lo) + 1)); break;
    }
    return true;
}

static bool sample_value(Sample *s, Dim d, int64_t *out)
{
    if (--s->fuel < 0)
        return false;
    return d->kind == DIM_SYM ? sample_symbol(s, d, out) : dim_value_of_parts(d, sample_part, s, out);
}

static bool sample_part(void *arg, Dim d, int64_t *out) { return sample_value(arg, d, out); }

static bool has_counterexample(Dim d)
{
    for (uint64_t plan = 0; plan < PLANS; plan++) {
        Sample s = {plan, 200};
        int64_t v;
        if (sample_value(&s, d, &v) && v < 0)
            return true;
    }
    return false;
}

/* ---- elimination ---- */

typedef struct { DimPool *p; int fuel; } Proof;

static bool nonnegative(Proof *f, Dim d);

static bool holds_with(Proof *f, Dim c, Dim x, Dim r)
{
    return nonnegative(f, dim_add(f->p, dim_mul(f->p, c, x), r));
}

/* c*(y/D) + r >= 0 follows from D*r + c*y >= 0 (c <= 0) or D*r + c*(y - D + 1) >= 0 (c >= 0), as D > 0. */
static bool eliminate_floordiv(Proof *f, Dim c, Dim x, Dim r, bool rising)
{
    DimPool *p = f->p;
    Dim y = x->a;
    if (rising)
        y = dim_combine(p, (DimScaled[]){{1, y}, {-1, x->b}, {1, dim_const(p, 1)}}, 3);
    Dim k;
    if (dim_divide_exact(p, c, x->b, &k))
        return holds_with(f, k, y, r);
    return holds_with(f, c, y, dim_mul(p, x->b, r));
}

/* y/D does not fall as y rises: bound y, one symbol at a time, those below a symbolic extent first. */
static bool bound_dividend(Proof *f, Dim c, Dim x, Dim r, bool rising)
{
    DimPool *p = f->p;
    Dim best = NULL, bound = NULL;
    for (uint32_t i = 0; i < x->a->n_terms; i++) {
        const DimTerm *t = &x->a->terms[i];
        Dim v = t->atoms[0];
        bool low = (t->coef > 0) == rising;
        bool known = low ? dim_bounded_below(v) : v->extent || dim_bounded_above(v);
        if (t->n_atoms != 1 || v->kind != DIM_SYM || !known || (best && (best->extent || !v->extent)))
            continue;
        best = v;
        bound = low ? dim_const(p, v->lo) : v->extent ? dim_add_const(p, v->extent, -1) : dim_const(p, v->hi);
    }
    if (!best)
        return false;
    Dim k, rest;
    dim_extract(p, x->a, best, &k, &rest);
    return dim_is_const(k) && holds_with(f, c, dim_floordiv(p, dim_add(p, dim_mul(p, k, bound), rest), x->b), r);
}

static bool eliminate(Proof *f, Dim c, Dim x, Dim r, bool rising)
{
    DimPool *p = f->p;
    switch (x->kind) {
    case DIM_SYM:
        if (!rising && x->extent && holds_with(f, c, dim_add_const(p, x->extent, -1), r))
            return true;
        break;
    case DIM_MOD:
        if (!rising && holds_with(f, c, dim_add_const(p, x->b, -1), r))
            return true;
        if (!rising && x->a->lo >= 0 && holds_with(f, c, x->a, r))
            return true;
        break;
    case DIM_FLOORDIV:
        if (bound_dividend(f, c, x, r, rising) || eliminate_floordiv(f, c, x, r, rising))
            return true;
        break;
    case DIM_MIN: case DIM_MAX: {
        bool either = (x->kind == DIM_MAX) == rising;
        bool first = holds_with(f, c, x->a, r);
        return first == either ? first : holds_with(f, c, x->b, r);
    }
    case DIM_CONST: case DIM_SUM: break;
    }
    int64_t bound = rising ? x->lo : x->hi;
    bool known = rising ? dim_bounded_below(x) : dim_bounded_above(x);
    return known && holds_with(f, c, dim_const(p, bound), r);
}

/* The atoms of d, those whose bounds speak of other symbols first, then the youngest. */
static int urgency(Dim x)
{
    switch (x->kind) {
    case DIM_MIN: case DIM_MAX: return 3;
    case DIM_FLOORDIV: case DIM_MOD: return 2;
    case DIM_SYM: return x->extent ? 1 : 0;
    case DIM_CONST: case DIM_SUM: break;
    }
    return 0;
}

/* Beyond this a proof is unlikely and costs more than the compiler's expressions, which are small, ever need. */
enum { MOST_ATOMS = 16, MOST_TERMS = 24, MOST_NODES = 2000 };

static uint32_t atoms_by_urgency(Dim d, Dim *list)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->n_terms; i++)
        for (uint32_t j = 0; j < d->terms[i].n_atoms; j++) {
            Dim x = d->terms[i].atoms[j];
            uint32_t k = 0;
            while (k < n && list[k] != x)
                k++;
            if (k < n || n == MOST_ATOMS)
                continue;
            for (k = n++; k && (urgency(list[k - 1]) < urgency(x)
                                || (urgency(list[k - 1]) == urgency(x) && list[k - 1]->id < x->id)); k--)
                list[k] = list[k - 1];
            list[k] = x;
        }
    return n;
}

static bool nonnegative(Proof *f, Dim d)
{
    if (f->p->overflowed || d->hi < 0)
        return false;
    if (d->lo >= 0)
        return true;
    if (--f->fuel < 0 || d->n_terms > MOST_TERMS || d->size > MOST_NODES || has_counterexample(d))
        return false;
    Dim atoms[MOST_ATOMS];
    uint32_t n = atoms_by_urgency(d, atoms);
    for (uint32_t i = 0; i < n; i++) {
        Dim c, r;
        dim_extract(f->p, d, atoms[i], &c, &r);
        bool rising = c->lo >= 0 || (c->hi > 0 && nonnegative(f, c));
        bool falling = !rising && (c->hi <= 0 || nonnegative(f, dim_mul_const(f->p, c, -1)));
        if ((rising || falling) && eliminate(f, c, atoms[i], r, rising))
            return true;
    }
    return false;
}

/* ---- the questions ---- */

static const int fuel_at_depth[] = {48, 8};

static bool proven_nonnegative(DimPool *p, Dim d)
{
    if (d->lo >= 0 || d->hi < 0)
        return d->lo >= 0;
    uint64_t known = map_get(p->proven, (uint64_t)(uintptr_t)d, 0);
    if (known)
        return known == 1;
    if (p->proof_depth >= (int)(sizeof fuel_at_depth / sizeof *fuel_at_depth))
        return false;
    Proof f = {p, fuel_at_depth[p->proof_depth]};
    DimAttempt attempt = dim_attempt_begin(p);
    p->proof_depth++;
    bool proven = nonnegative(&f, d);
    p->proof_depth--;
    proven &= dim_attempt_end(p, attempt);
    if (!p->proof_depth)
        map_set(p->proven, (uint64_t)(uintptr_t)d, proven ? 1 : 2);
    return proven;
}

/* a + shift <= b */
static bool proven_below(DimPool *p, Dim a, Dim b, int64_t shift)
{
    DimAttempt attempt = dim_attempt_begin(p);
    Dim d = dim_combine(p, (DimScaled[]){{1, b}, {-1, a}, {-1, dim_const(p, shift)}}, 3);
    return dim_attempt_end(p, attempt) && proven_nonnegative(p, d);
}

bool dim_le(DimPool *p, Dim a, Dim b)
{
    return a == b || (dim_bounded_above(a) && dim_bounded_below(b) && a->hi <= b->lo) || proven_below(p, a, b, 0);
}

bool dim_lt(DimPool *p, Dim a, Dim b)
{
    return a != b && ((dim_bounded_above(a) && a->hi < b->lo) || proven_below(p, a, b, 1));
}

bool dim_ne(DimPool *p, Dim a, Dim b)
{
    if (a == b)
        return false;
    DimAttempt attempt = dim_attempt_begin(p);
    Dim d = dim_sub(p, a, b);
    int64_t g = 0;
    for (uint32_t i = 0; i < d->n_terms; i++)
        g = gcd64(g, d->terms[i].coef);
    bool apart = g ? d->value % g != 0 : d->n_terms == 0 && d->value != 0;
    if (dim_attempt_end(p, attempt) && apart)
        return true;
    return dim_lt(p, a, b) || dim_lt(p, b, a);
}

bool dim_divides(DimPool *p, Dim by, Dim d)
{
    if (dim_is(by, 1) || by == d)
        return true;
    if (by->hi <= 0)
        return false;
    DimAttempt attempt = dim_attempt_begin(p);
    bool divides = dim_is(dim_mod(p, d, by), 0);
    return dim_attempt_end(p, attempt) && divides;
}
