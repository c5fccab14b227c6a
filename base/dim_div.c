/* base/dim_div.c — floordiv and mod of sums, and the way back (N*(x/N) + x%N = x).
 *
 * Division by D works on polynomials in the atoms (terms in graded lexicographic order, a monomial order, so that dividing
 * by the leading term ends). With x = q*D + r:    x/D = q + r/D,    x%D = r%D.
 * With a common factor g of D and of some terms, x = g*y + s and k*g <= s < (k+1)*g:
 *     x/D = (y + k) / (D/g),      x%D = g*((y + k) % (D/g)) + s - k*g.
 * Each rule leaves a smaller dividend or divisor; what no rule applies to is interned as it is, which makes the
 * constructors idempotent. Rules are exact identities over the integers for D > 0, except where a range or a proof
 * (dim_le) is asked for. Ranges of symbols may make a divisor possibly zero: an expression whose divisor is not positive
 * has no value, so every rule may assume D > 0, hence g > 0 where g >= 0 is known. (When a rule would divide by what is
 * never positive, the expression has no value at all, and it is left alone.) */
#include "base/dim_internal.h"

/* ---- division of polynomials ---- */

/* x = q*g + rest, term by term; the constant counts as a term, divided with remainder when g is a constant. */
static void split_by(DimPool *p, Dim x, const DimTerm *g, Dim *q, Dim *rest)
{
    DIM_SCRATCH(p, DimTerm, in, x->n_terms);
    DIM_SCRATCH(p, DimTerm, out, x->n_terms);
    uint32_t n_in = 0, n_out = 0;
    for (uint32_t i = 0; i < x->n_terms; i++) {
        if (term_divide(p, &x->terms[i], g, &in[n_in]))
            n_in++;
        else
            out[n_out++] = x->terms[i];
    }
    int64_t inside = 0, outside = x->value;
    for (uint32_t i = 0; i < n_in; )           /* a term that became a constant */
        if (in[i].n_atoms == 0) {
            inside += in[i].coef;
            in[i] = in[--n_in];
        } else {
            i++;
        }
    if (g->n_atoms == 0 && g->coef > 0) {
        inside = floordiv64(x->value, g->coef);
        outside = floormod64(x->value, g->coef);
    }
    *q = dim_of_terms(p, in, n_in, inside);
    *rest = dim_of_terms(p, out, n_out, outside);
}

enum { MOST_STEPS = 16 };

/* x = q*by + r with as much in q as divides; by a sum only when that leaves fewer terms. */
static void divide(DimPool *p, Dim x, Dim by, Dim *q, Dim *r)
{
    if (dim_is_const(by)) {
        split_by(p, x, &(DimTerm){by->value, 0, NULL}, q, r);
        return;
    }
    const DimTerm *lead = &by->terms[0];
    if (by->n_terms == 1 && by->value == 0) {
        split_by(p, x, lead, q, r);
        return;
    }
    DimAttempt attempt = dim_attempt_begin(p);
    Dim quotient = dim_const(p, 0), rest = x;
    for (int step = 0; step < MOST_STEPS; step++) {
        DimTerm t = {0};
        bool divides = false;
        for (uint32_t i = 0; i < rest->n_terms && !divides; i++)
            divides = term_divide(p, &rest->terms[i], lead, &t);
        if (!divides)
            break;
        Dim part = dim_of_term(p, t);
        quotient = dim_add(p, quotient, part);
        rest = dim_sub(p, rest, dim_mul(p, part, by));
    }
    bool fewer = rest->n_terms + (rest->value != 0) < x->n_terms + (x->value != 0);
    bool good = dim_attempt_end(p, attempt) && fewer;
    *q = good ? quotient : dim_const(p, 0);
    *r = good ? rest : x;
}

bool dim_divide_exact(DimPool *p, Dim x, Dim by, Dim *quotient)
{
    Dim rest;
    divide(p, x, by, quotient, &rest);
    return dim_is(rest, 0);
}

/* ---- common factors ---- */

static DimTerm term_gcd(DimPool *p, const DimTerm *a, const DimTerm *b)
{
    DimTerm g = {gcd64(a->coef, b->coef), 0, NULL};
    uint32_t most = a->n_atoms < b->n_atoms ? a->n_atoms : b->n_atoms;
    if (most)
        g.atoms = arena_new_array(p->arena, Dim, most);
    for (uint32_t i = 0, j = 0; i < a->n_atoms && j < b->n_atoms; ) {
        int c = dim_compare(a->atoms[i], b->atoms[j]);
        if (c == 0)
            g.atoms[g.n_atoms++] = a->atoms[i];
        i += c <= 0;
        j += c >= 0;
    }
    return g;
}

/* The largest monomial that divides every term of d. */
static DimTerm content(DimPool *p, Dim d)
{
    if (dim_is_const(d))
        return (DimTerm){d->value, 0, NULL};
    DimTerm g = d->terms[0];
    if (g.coef < 0)
        g.coef = gcd64(g.coef, 0);
    for (uint32_t i = 1; i < d->n_terms; i++)
        g = term_gcd(p, &g, &d->terms[i]);
    if (d->value)
        g = (DimTerm){gcd64(g.coef, d->value), 0, NULL};
    return g;
}

/* One way to take a factor out of the division x / by. */
typedef struct { Dim y, s, by, factor; } Split;

/* k with k*g <= s < (k+1)*g */
static bool quotient_known(DimPool *p, Dim s, Dim g, int64_t *k)
{
    *k = 0;
    if (dim_is(s, 0))
        return true;
    DimRange r = dim_range_floordiv(dim_range(s), dim_range(g));
    if (r.lo == r.hi && r.lo != INT64_MIN && r.hi != INT64_MAX) {
        *k = r.lo;
        return true;
    }
    if (r.lo > 0 || r.hi < -1)
        return false;
    if (dim_le(p, dim_const(p, 0), s))
        return dim_lt(p, s, g);
    *k = -1;
    return dim_lt(p, s, dim_const(p, 0)) && dim_le(p, dim_mul_const(p, g, -1), s);
}

static bool try_factor(DimPool *p, Dim x, Dim by, DimTerm g, Split *out)
{
    if (g.coef <= 0 || (g.coef == 1 && g.n_atoms == 0))
        return false;
    for (uint32_t i = 0; i < g.n_atoms; i++)
        if (g.atoms[i]->lo < 0)
            return false;
    int64_t k;
    Dim rest;
    split_by(p, x, &g, &out->y, &out->s);
    if (dim_is(out->y, 0))
        return false;
    out->factor = dim_of_term(p, g);
    if (!quotient_known(p, out->s, out->factor, &k))
        return false;
    if (k) {
        out->y = dim_add_const(p, out->y, k);
        out->s = dim_sub(p, out->s, dim_mul_const(p, out->factor, k));
    }
    split_by(p, by, &g, &out->by, &rest);
    return dim_is(rest, 0) && out->by->hi > 0;
}

enum { MOST_FACTORS = 16 };

/* Factors that `by` shares with all of its own terms, then with single terms of x as they come. */
static bool find_factor(DimPool *p, Dim x, Dim by, Split *out)
{
    DimAttempt attempt = dim_attempt_begin(p);
    DimTerm tried[MOST_FACTORS] = {content(p, by)};
    uint32_t n = 1;
    bool found = try_factor(p, x, by, tried[0], out);
    for (uint32_t i = 0; i < x->n_terms && !found && n < MOST_FACTORS; i++) {
        DimTerm g = term_gcd(p, &tried[0], &x->terms[i]);
        bool seen = false;
        for (uint32_t j = 0; j < n && !seen; j++)
            seen = g.coef == tried[j].coef && term_same_atoms(&g, &tried[j]);
        if (seen)
            continue;
        tried[n++] = g;
        found = try_factor(p, x, by, g, out);
    }
    return dim_attempt_end(p, attempt) && found;
}

/* ---- floordiv ---- */

/* (y/M + c) / D = (y + c*M) / (M*D);  (y % (D*K)) / D = (y/D) % K */
static Dim floordiv_nested(DimPool *p, Dim x, Dim by)
{
    bool plain = x->n_terms == 1 && x->terms[0].coef == 1 && x->terms[0].n_atoms == 1;
    if (!plain)
        return NULL;
    Dim atom = x->terms[0].atoms[0], k;
    if (atom->kind == DIM_FLOORDIV && (x->value == 0 || dim_is_const(atom->b))) {
        DimAttempt attempt = dim_attempt_begin(p);
        Dim y = dim_add(p, atom->a, dim_mul_const(p, atom->b, x->value)), m = dim_mul(p, atom->b, by);
        return dim_attempt_end(p, attempt) && m->hi > 0 ? dim_floordiv(p, y, m) : NULL;
    }
    if (atom->kind == DIM_MOD && x->value == 0 && dim_divide_exact(p, atom->b, by, &k) && k->hi > 0)
        return dim_mod(p, dim_floordiv(p, atom->a, by), k);
    return NULL;
}

/* A divisor that is never positive is a mistake of the caller, or what an overflow left behind. */
static bool divisor_usable(DimPool *p, Dim b)
{
    pawl_assert(b->hi > 0 || p->lenient, "division by a dim that is never positive");
    p->overflowed |= b->hi <= 0;
    return b->hi > 0;
}

static Dim floordiv_anew(DimPool *p, Dim a, Dim b)
{
    int64_t k;
    if (quotient_known(p, a, b, &k))
        return dim_const(p, k);
    Dim q, r;
    divide(p, a, b, &q, &r);
    if (!dim_is(q, 0))
        return dim_add(p, q, dim_floordiv(p, r, b));
    Dim nested = floordiv_nested(p, a, b);
    if (nested)
        return nested;
    Split s;
    if (find_factor(p, a, b, &s))
        return dim_floordiv(p, s.y, s.by);
    return dim_intern_pair(p, DIM_FLOORDIV, a, b, dim_range_floordiv(dim_range(a), dim_range(b)));
}

Dim dim_floordiv(DimPool *p, Dim a, Dim b)
{
    if (!divisor_usable(p, b) || dim_is(b, 1) || dim_is(a, 0))
        return a;
    if (a == b)
        return dim_const(p, 1);
    Dim known = dim_done(p, DIM_FLOORDIV, a, b);
    return known ? known : dim_remember(p, DIM_FLOORDIV, a, b, floordiv_anew(p, a, b));
}

Dim dim_ceildiv(DimPool *p, Dim a, Dim b)
{
    return dim_floordiv(p, dim_combine(p, (DimScaled[]){{1, a}, {1, b}, {1, dim_const(p, -1)}}, 3), b);
}

Dim dim_align_up(DimPool *p, Dim a, int64_t to)
{
    return dim_mul_const(p, dim_ceildiv(p, a, dim_const(p, to)), to);
}

/* ---- mod ---- */

/* Coefficients into (-N/2, N/2], the constant into [0, N). */
static Dim reduce_coefficients(DimPool *p, Dim x, int64_t n)
{
    DIM_SCRATCH(p, DimTerm, t, x->n_terms);
    for (uint32_t i = 0; i < x->n_terms; i++) {
        t[i] = x->terms[i];
        t[i].coef = floormod64(t[i].coef, n);
        if (t[i].coef > n / 2)
            t[i].coef -= n;
    }
    return dim_of_terms(p, t, x->n_terms, floormod64(x->value, n));
}

/* c*(y % M) counts as c*y modulo D when D divides c*M. */
static Dim drop_inner_mod(DimPool *p, Dim x, Dim by)
{
    for (uint32_t i = 0; i < x->n_terms; i++)
        for (uint32_t j = 0; j < x->terms[i].n_atoms; j++) {
            Dim mod = x->terms[i].atoms[j], k;
            if (mod->kind != DIM_MOD)
                continue;
            DimAttempt attempt = dim_attempt_begin(p);
            Dim c = dim_of_term(p, term_without(p, &x->terms[i], mod));
            bool drops = dim_divide_exact(p, dim_mul(p, c, mod->b), by, &k);
            Dim without = dim_sub(p, x, dim_of_term(p, x->terms[i]));
            Dim y = drops ? dim_add(p, without, dim_mul(p, c, mod->a)) : NULL;
            if (dim_attempt_end(p, attempt) && y)
                return y;
        }
    return NULL;
}

static Dim reduce_dividend(DimPool *p, Dim a, Dim b)
{
    Dim q, r;
    divide(p, a, b, &q, &r);
    if (dim_is_const(b))
        r = reduce_coefficients(p, r, b->value);
    if (r != a)
        return r;
    return drop_inner_mod(p, a, b);
}

static Dim mod_anew(DimPool *p, Dim a, Dim b)
{
    int64_t k;
    if (quotient_known(p, a, b, &k))
        return dim_combine(p, (DimScaled[]){{1, a}, {-k, b}}, 2);
    Dim r = reduce_dividend(p, a, b);
    if (r)
        return dim_mod(p, r, b);
    Split s;
    if (find_factor(p, a, b, &s))
        return dim_add(p, dim_mul(p, s.factor, dim_mod(p, s.y, s.by)), s.s);
    int64_t hi = b->hi == INT64_MAX ? INT64_MAX : b->hi - 1;
    if (a->lo >= 0 && a->hi < hi)
        hi = a->hi;
    return dim_intern_pair(p, DIM_MOD, a, b, (DimRange){0, hi});
}

Dim dim_mod(DimPool *p, Dim a, Dim b)
{
    if (!divisor_usable(p, b) || dim_is(b, 1) || a == b)
        return dim_const(p, 0);
    Dim known = dim_done(p, DIM_MOD, a, b);
    return known ? known : dim_remember(p, DIM_MOD, a, b, mod_anew(p, a, b));
}

/* ---- recombination ---- */

/* Every term of `part`, and at least one, stands in d with the same coefficient. */
static bool contains(Dim d, Dim part)
{
    for (uint32_t i = 0; i < part->n_terms; i++) {
        bool found = false;
        for (uint32_t j = 0; j < d->n_terms && !found; j++)
            found = d->terms[j].coef == part->terms[i].coef && term_same_atoms(&d->terms[j], &part->terms[i]);
        if (!found)
            return false;
    }
    return part->n_terms > 0;
}

/* What a rewrite has to make smaller: divisions by their size, then terms. */
static uint64_t division_weight(Dim d)
{
    uint64_t weight = 0;
    for (uint32_t i = 0; i < d->n_terms; i++)
        for (uint32_t j = 0; j < d->terms[i].n_atoms; j++) {
            Dim x = d->terms[i].atoms[j];
            if (x->kind == DIM_FLOORDIV || x->kind == DIM_MOD)
                weight += x->size;
        }
    return weight;
}

static bool smaller(Dim a, Dim than)
{
    uint64_t x = division_weight(a), y = division_weight(than);
    return x < y || (x == y && a->n_terms < than->n_terms);
}

/* d without `term` and `part`, plus `instead`; NULL unless `part` stands in d and the result is smaller. */
static Dim replace(DimPool *p, Dim d, Dim term, Dim part, Dim instead)
{
    if (!contains(d, part))
        return NULL;
    Dim x = dim_combine(p, (DimScaled[]){{1, d}, {-1, term}, {-1, part}, {1, instead}}, 4);
    return smaller(x, d) ? x : NULL;
}

/* c*(m % D) + c*D*((m/D) % K) = c*(m % (D*K)), the way back from a mod that was split */
static Dim recombine_mods(DimPool *p, Dim d, Dim term, Dim c, Dim mod)
{
    Dim above = dim_mul(p, c, mod->b), quotient = dim_floordiv(p, mod->a, mod->b);
    for (uint32_t i = 0; i < d->n_terms; i++)
        for (uint32_t j = 0; j < d->terms[i].n_atoms; j++) {
            Dim high = d->terms[i].atoms[j];
            if (high->kind != DIM_MOD || high->a != quotient
                || dim_of_term(p, term_without(p, &d->terms[i], high)) != above)
                continue;
            Dim whole = dim_mul(p, c, dim_mod(p, mod->a, dim_mul(p, mod->b, high->b)));
            return replace(p, d, term, dim_of_term(p, d->terms[i]), whole);
        }
    return NULL;
}

/* c*(m % D):    + c*D*(m/D) = c*m,      - c*m = -c*D*(m/D) */
static Dim recombine_mod(DimPool *p, Dim d, Dim term, Dim c, Dim mod)
{
    Dim quotient = dim_mul(p, dim_mul(p, c, mod->b), dim_floordiv(p, mod->a, mod->b));
    Dim whole = dim_mul(p, c, mod->a);
    Dim x = replace(p, d, term, quotient, whole);
    if (!x)
        x = replace(p, d, term, dim_mul_const(p, whole, -1), dim_mul_const(p, quotient, -1));
    return x ? x : recombine_mods(p, d, term, c, mod);
}

/* c*D*(f/D):    + c*(f % D) = c*f,      - c*f = -c*(f % D) */
static Dim recombine_div(DimPool *p, Dim d, Dim term, Dim factor, Dim div)
{
    Dim c;
    if (!dim_divide_exact(p, factor, div->b, &c))
        return NULL;
    Dim remainder = dim_mul(p, c, dim_mod(p, div->a, div->b));
    Dim whole = dim_mul(p, c, div->a);
    Dim x = replace(p, d, term, remainder, whole);
    return x ? x : replace(p, d, term, dim_mul_const(p, whole, -1), dim_mul_const(p, remainder, -1));
}

enum { MOST_TERMS = 64, MOST_NODES = 5000 };      /* the search is quadratic: sums beyond this stay as they are */

Dim dim_recombine(DimPool *p, Dim d)
{
    if (d->n_terms < 2 || d->n_terms > MOST_TERMS || d->size > MOST_NODES)
        return d;
    for (uint32_t i = 0; i < d->n_terms; i++)
        for (uint32_t j = 0; j < d->terms[i].n_atoms; j++) {
            Dim atom = d->terms[i].atoms[j], x = NULL;
            if (atom->kind != DIM_FLOORDIV && atom->kind != DIM_MOD)
                continue;
            DimAttempt attempt = dim_attempt_begin(p);
            Dim term = dim_of_term(p, d->terms[i]), rest = dim_of_term(p, term_without(p, &d->terms[i], atom));
            x = atom->kind == DIM_MOD ? recombine_mod(p, d, term, rest, atom)
                                      : recombine_div(p, d, term, rest, atom);
            if (dim_attempt_end(p, attempt) && x)
                return x;
        }
    return d;
}
