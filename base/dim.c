/* base/dim.c — the pool of dims and the normal form of sums.
 *
 * Every dim is hash-consed. A sum keeps its terms sorted by degree (highest first), then by atoms in a structural order
 * that does not depend on the pool, so that text printed from one pool reads back the same in another. Sums are
 * interned as built and point to their normal form, which dim_recombine finds once for each.
 *
 * Ranges are intervals over int64 whose ends INT64_MIN and INT64_MAX mean "unknown", computed in __int128. */
#include "base/dim_internal.h"
#include <stdlib.h>
#include <string.h>

typedef __int128 Wide;
static const Wide UNBOUNDED = (Wide)1 << 126;

static int64_t wide_lo(Wide x) { return x <= INT64_MIN ? INT64_MIN : x > INT64_MAX ? INT64_MAX : (int64_t)x; }
static int64_t wide_hi(Wide x) { return x >= INT64_MAX ? INT64_MAX : x < INT64_MIN ? INT64_MIN : (int64_t)x; }

/* ---- overflow ---- */

DimAttempt dim_attempt_begin(DimPool *p)
{
    DimAttempt saved = {p->lenient, p->overflowed};
    p->lenient = true;
    p->overflowed = false;
    return saved;
}

bool dim_attempt_end(DimPool *p, DimAttempt saved)
{
    bool good = !p->overflowed;
    p->lenient = saved.lenient;
    p->overflowed = saved.overflowed;
    return good;
}

static int64_t overflow(DimPool *p)
{
    pawl_assert(p->lenient, "a dim overflows 64 bits");
    p->overflowed = true;
    return 0;
}

static int64_t add_checked(DimPool *p, int64_t a, int64_t b)
{
    int64_t r;
    return __builtin_add_overflow(a, b, &r) ? overflow(p) : r;
}

static int64_t mul_checked(DimPool *p, int64_t a, int64_t b)
{
    int64_t r;
    return __builtin_mul_overflow(a, b, &r) ? overflow(p) : r;
}

/* ---- ranges ---- */

/* Product of two ends of intervals; an unknown end is infinite, and infinity times zero is zero. */
static Wide end_product(int64_t x, bool x_unknown, int64_t y, bool y_unknown)
{
    if (x == 0 || y == 0)
        return 0;
    if (x_unknown || y_unknown)
        return (x < 0) == (y < 0) ? UNBOUNDED : -UNBOUNDED;
    return (Wide)x * y;
}

static DimRange range_mul(DimRange a, DimRange b)
{
    bool al = a.lo == INT64_MIN, ah = a.hi == INT64_MAX, bl = b.lo == INT64_MIN, bh = b.hi == INT64_MAX;
    Wide v[4] = {
        end_product(a.lo, al, b.lo, bl), end_product(a.lo, al, b.hi, bh),
        end_product(a.hi, ah, b.lo, bl), end_product(a.hi, ah, b.hi, bh)
    };
    Wide lo = v[0], hi = v[0];
    for (int i = 1; i < 4; i++) {
        lo = v[i] < lo ? v[i] : lo;
        hi = v[i] > hi ? v[i] : hi;
    }
    return (DimRange){wide_lo(lo), wide_hi(hi)};
}

static DimRange term_range(const DimTerm *t)
{
    DimRange r = dim_range(t->atoms[0]);
    for (uint32_t i = 1; i < t->n_atoms; i++)
        r = range_mul(r, dim_range(t->atoms[i]));
    return range_mul(r, (DimRange){t->coef, t->coef});
}

static DimRange sum_range(const DimTerm *terms, uint32_t n, int64_t value)
{
    Wide lo = value, hi = value;
    bool lo_unknown = false, hi_unknown = false;
    for (uint32_t i = 0; i < n; i++) {
        DimRange r = term_range(&terms[i]);
        lo_unknown |= r.lo == INT64_MIN;
        hi_unknown |= r.hi == INT64_MAX;
        lo += r.lo;
        hi += r.hi;
    }
    return (DimRange){lo_unknown ? INT64_MIN : wide_lo(lo), hi_unknown ? INT64_MAX : wide_hi(hi)};
}

DimRange dim_range_floordiv(DimRange x, DimRange by)
{
    int64_t small = by.lo > 1 ? by.lo : 1, large = by.hi > 1 ? by.hi : 1;
    bool unlimited = by.hi == INT64_MAX;
    DimRange r = {INT64_MIN, INT64_MAX};
    if (x.lo != INT64_MIN)
        r.lo = x.lo < 0 ? floordiv64(x.lo, small) : unlimited ? 0 : x.lo / large;
    if (x.hi != INT64_MAX)
        r.hi = x.hi >= 0 ? x.hi / small : unlimited ? -1 : floordiv64(x.hi, large);
    return r;
}

/* ---- order and interning ---- */

static int compare_i64(int64_t a, int64_t b) { return (a > b) - (a < b); }

static int term_compare(const DimTerm *a, const DimTerm *b)
{
    if (a->n_atoms != b->n_atoms)
        return a->n_atoms > b->n_atoms ? -1 : 1;
    for (uint32_t i = 0; i < a->n_atoms; i++)
        if (a->atoms[i] != b->atoms[i])
            return dim_compare(a->atoms[i], b->atoms[i]);
    return 0;
}

int dim_compare(Dim a, Dim b)
{
    if (a == b)
        return 0;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    switch (a->kind) {
    case DIM_CONST:
        return compare_i64(a->value, b->value);
    case DIM_SYM:
        return strcmp(a->name, b->name);
    case DIM_SUM:
        for (uint32_t i = 0; i < a->n_terms && i < b->n_terms; i++) {
            int c = term_compare(&a->terms[i], &b->terms[i]);
            if (!c)
                c = compare_i64(a->terms[i].coef, b->terms[i].coef);
            if (c)
                return c;
        }
        if (a->n_terms != b->n_terms)
            return a->n_terms < b->n_terms ? -1 : 1;
        return compare_i64(a->value, b->value);
    case DIM_FLOORDIV: case DIM_MOD: case DIM_MIN: case DIM_MAX:
        return a->a != b->a ? dim_compare(a->a, b->a) : dim_compare(a->b, b->b);
    }
    return 0;
}

bool term_same_atoms(const DimTerm *a, const DimTerm *b)
{
    return a->n_atoms == b->n_atoms
        && (a->n_atoms == 0 || memcmp(a->atoms, b->atoms, sizeof *a->atoms * a->n_atoms) == 0);
}

static bool dim_equal(const void *x, const void *y)
{
    Dim a = x, b = y;
    if (a->kind != b->kind || a->value != b->value || a->a != b->a || a->b != b->b || a->name != b->name)
        return false;
    if (a->kind != DIM_SUM)
        return true;
    if (a->n_terms != b->n_terms)
        return false;
    for (uint32_t i = 0; i < a->n_terms; i++)
        if (a->terms[i].coef != b->terms[i].coef || !term_same_atoms(&a->terms[i], &b->terms[i]))
            return false;
    return true;
}

DimPool *dimpool_new(Arena *a, StrPool *strs)
{
    DimPool *p = arena_new_of(a, DimPool);
    p->arena = a;
    p->strs = strs;
    p->table = intern_new(a, dim_equal);
    p->symbols = map_new(a);
    p->fresh = map_new(a);
    p->proven = map_new(a);
    for (int i = 0; i < 4; i++)
        p->done[i] = map_new(a);
    return p;
}

static uint64_t pair_key(Dim a, Dim b) { return (uint64_t)a->id << 32 | b->id; }

Dim dim_done(const DimPool *p, DimKind kind, Dim a, Dim b)
{
    return (Dim)(uintptr_t)map_get(p->done[kind - DIM_FLOORDIV], pair_key(a, b), 0);
}

/* What was computed in the middle of a proof, or after an overflow, may be less than what is known outside. */
Dim dim_remember(DimPool *p, DimKind kind, Dim a, Dim b, Dim result)
{
    if (!p->proof_depth && !p->overflowed)
        map_set(p->done[kind - DIM_FLOORDIV], pair_key(a, b), (uint64_t)(uintptr_t)result);
    return result;
}

/* Adds an atom or constant that is not in the table yet; gives it itself as its only term. */
static Dim dim_new(DimPool *p, DimExpr proto)
{
    DimExpr *d = arena_copy(p->arena, &proto, sizeof proto);
    d->id = p->n_dims++;
    if (d->kind != DIM_CONST && d->kind != DIM_SUM) {
        DimTerm *t = arena_new_of(p->arena, DimTerm);
        t->coef = 1;
        t->n_atoms = 1;
        t->atoms = arena_new_array(p->arena, Dim, 1);
        t->atoms[0] = d;
        d->terms = t;
        d->n_terms = 1;
    }
    intern_add(p->table, d->hash, d);
    return d;
}

Dim dim_const(DimPool *p, int64_t v)
{
    DimExpr probe = {.kind = DIM_CONST, .value = v, .lo = v, .hi = v, .size = 1, .hash = hash_mix(1, (uint64_t)v)};
    Dim d = intern_find(p->table, probe.hash, &probe);
    return d ? d : dim_new(p, probe);
}

static uint32_t size_add(uint32_t a, uint32_t b)
{
    return a + b < a ? UINT32_MAX : a + b;
}

Dim dim_intern_pair(DimPool *p, DimKind kind, Dim a, Dim b, DimRange r)
{
    DimExpr probe = {
        .kind = kind, .a = a, .b = b, .lo = r.lo, .hi = r.hi,
        .size = size_add(1, size_add(a->size, b->size)),
        .symbols = a->symbols | b->symbols,
        .hash = hash_mix(hash_mix((uint64_t)kind + 2, a->hash), b->hash)
    };
    Dim d = intern_find(p->table, probe.hash, &probe);
    return d ? d : dim_new(p, probe);
}

/* ---- symbols ---- */

Dim dim_sym_find(DimPool *p, const char *name)
{
    return map_get_ptr(p->symbols, str_intern(p->strs, name));
}

static Dim symbol_new(DimPool *p, Str name, int64_t lo, int64_t hi, Dim extent)
{
    pawl_assert(lo <= hi, "symbol %s has an empty range", name);
    uint64_t h = hash_str(name);
    Dim d = dim_new(p, (DimExpr){
        .kind = DIM_SYM, .name = name, .lo = lo, .hi = hi, .size = 1,
        .symbols = (uint64_t)1 << (h & 63), .hash = hash_mix(2, h), .extent = extent
    });
    map_set_ptr(p->symbols, name, d);
    return d;
}

Dim dim_sym(DimPool *p, const char *name, int64_t lo, int64_t hi)
{
    Dim d = dim_sym_find(p, name);
    if (!d)
        return symbol_new(p, str_intern(p->strs, name), lo, hi, NULL);
    pawl_assert(d->lo == lo && d->hi == hi, "symbol %s: range [%lld, %lld], was [%lld, %lld]", name,
                (long long)lo, (long long)hi, (long long)d->lo, (long long)d->hi);
    return d;
}

static Str fresh_name(DimPool *p, const char *prefix)
{
    Str base = str_intern(p->strs, prefix), name = base;
    uint64_t n = map_get(p->fresh, (uint64_t)(uintptr_t)base, 0);
    if (n)
        name = str_format(p->strs, "%s%llu", prefix, (unsigned long long)n);
    while (map_get_ptr(p->symbols, name))
        name = str_format(p->strs, "%s%llu", prefix, (unsigned long long)++n);
    map_set(p->fresh, (uint64_t)(uintptr_t)base, n + 1);
    return name;
}

Dim dim_sym_fresh(DimPool *p, const char *prefix, int64_t lo, int64_t hi)
{
    return symbol_new(p, fresh_name(p, prefix), lo, hi, NULL);
}

Dim dim_sym_below(DimPool *p, const char *prefix, Dim extent)
{
    int64_t hi = extent->hi == INT64_MAX ? INT64_MAX : extent->hi > 0 ? extent->hi - 1 : 0;
    return symbol_new(p, fresh_name(p, prefix), 0, hi, dim_is_const(extent) ? NULL : extent);
}

/* ---- sums ---- */

static int term_qsort(const void *a, const void *b) { return term_compare(a, b); }

/* Sorts, adds up terms with equal atoms, drops zeros; returns how many are left. */
static uint32_t terms_merge(DimPool *p, DimTerm *t, uint32_t n)
{
    bool sorted = true;
    for (uint32_t i = 1; i < n && sorted; i++)
        sorted = term_compare(&t[i - 1], &t[i]) <= 0;
    if (!sorted)
        qsort(t, n, sizeof *t, term_qsort);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; ) {
        DimTerm sum = t[i++];
        for (; i < n && term_same_atoms(&sum, &t[i]); i++)
            sum.coef = add_checked(p, sum.coef, t[i].coef);
        if (sum.coef)
            t[kept++] = sum;
    }
    return kept;
}

static void sum_describe(DimExpr *d)
{
    DimRange r = sum_range(d->terms, d->n_terms, d->value);
    d->lo = r.lo;
    d->hi = r.hi;
    d->hash = hash_mix(0, (uint64_t)d->value);
    d->size = 1;
    for (uint32_t i = 0; i < d->n_terms; i++) {
        const DimTerm *t = &d->terms[i];
        d->hash = hash_mix(hash_mix(d->hash, (uint64_t)t->coef), t->n_atoms);
        for (uint32_t k = 0; k < t->n_atoms; k++) {
            d->hash = hash_mix(d->hash, t->atoms[k]->hash);
            d->size = size_add(d->size, t->atoms[k]->size);
            d->symbols |= t->atoms[k]->symbols;
        }
    }
}

/* The dim of `n` terms plus `value`. The terms, and whatever else was allocated since `mark`, go back to the arena
 * when the sum is known already. */
static Dim sum_intern(DimPool *p, ArenaMark mark, DimTerm *t, uint32_t n, int64_t value)
{
    n = terms_merge(p, t, n);
    if (n == 0 || (n == 1 && value == 0 && t->coef == 1 && t->n_atoms == 1)) {
        Dim atom = n ? t->atoms[0] : NULL;
        arena_reset(p->arena, mark);
        return atom ? atom : dim_const(p, value);
    }
    DimExpr probe = {.kind = DIM_SUM, .value = value, .terms = t, .n_terms = n};
    sum_describe(&probe);
    DimExpr *d = (DimExpr *)(uintptr_t)intern_find(p->table, probe.hash, &probe);
    if (d)
        arena_reset(p->arena, mark);
    else
        d = (DimExpr *)(uintptr_t)dim_new(p, probe);
    if (d->normal)
        return d->normal;
    d->normal = d;                 /* ends the recursion, should the search come by here */
    Dim normal = dim_recombine(p, d);
    /* Inside a proof the search is cut short: what it missed must not stick. */
    d->normal = p->proof_depth && normal == d ? NULL : normal;
    return normal;
}

Dim dim_of_terms(DimPool *p, const DimTerm *t, uint32_t n, int64_t value)
{
    ArenaMark mark = arena_mark(p->arena);
    return sum_intern(p, mark, arena_copy(p->arena, t, sizeof *t * n), n, value);
}

Dim dim_of_term(DimPool *p, DimTerm t)
{
    return t.n_atoms == 0 ? dim_const(p, t.coef) : dim_of_terms(p, &t, 1, 0);
}

Dim dim_combine(DimPool *p, const DimScaled *parts, uint32_t n)
{
    uint32_t total = 0, k = 0;
    for (uint32_t i = 0; i < n; i++)
        total += parts[i].dim->n_terms;
    ArenaMark mark = arena_mark(p->arena);
    DimTerm *t = arena_new_array(p->arena, DimTerm, total);
    int64_t value = 0;
    for (uint32_t i = 0; i < n; i++) {
        Dim d = parts[i].dim;
        int64_t c = parts[i].coef;
        value = add_checked(p, value, mul_checked(p, c, d->value));
        for (uint32_t j = 0; j < d->n_terms; j++) {
            t[k] = d->terms[j];
            t[k].coef = mul_checked(p, c, t[k].coef);
            k++;
        }
    }
    return sum_intern(p, mark, t, total, value);
}

Dim dim_add(DimPool *p, Dim a, Dim b)
{
    return dim_combine(p, (DimScaled[]){{1, a}, {1, b}}, 2);
}

Dim dim_sub(DimPool *p, Dim a, Dim b)
{
    return a == b ? dim_const(p, 0) : dim_combine(p, (DimScaled[]){{1, a}, {-1, b}}, 2);
}

Dim dim_mul_const(DimPool *p, Dim a, int64_t k)
{
    return k == 1 ? a : dim_combine(p, (DimScaled[]){{k, a}}, 1);
}

Dim dim_add_const(DimPool *p, Dim a, int64_t k)
{
    return k == 0 ? a : dim_combine(p, (DimScaled[]){{1, a}, {1, dim_const(p, k)}}, 2);
}

static DimTerm term_product(DimPool *p, const DimTerm *a, const DimTerm *b)
{
    DimTerm t = {mul_checked(p, a->coef, b->coef), a->n_atoms + b->n_atoms, NULL};
    t.atoms = arena_new_array(p->arena, Dim, t.n_atoms);
    for (uint32_t i = 0, j = 0; i + j < t.n_atoms; ) {
        bool from_a = j == b->n_atoms || (i < a->n_atoms && dim_compare(a->atoms[i], b->atoms[j]) <= 0);
        t.atoms[i + j] = from_a ? a->atoms[i] : b->atoms[j];
        if (from_a)
            i++;
        else
            j++;
    }
    return t;
}

enum { LARGEST_SUM = 4096 };

Dim dim_mul(DimPool *p, Dim a, Dim b)
{
    if (dim_is_const(a))
        return dim_mul_const(p, b, a->value);
    if (dim_is_const(b))
        return dim_mul_const(p, a, b->value);
    uint64_t total = (uint64_t)a->n_terms * b->n_terms;
    if (total > LARGEST_SUM)
        return dim_const(p, overflow(p));
    ArenaMark mark = arena_mark(p->arena);
    DimTerm *t = arena_new_array(p->arena, DimTerm, total + a->n_terms + b->n_terms);
    uint32_t k = 0;
    for (uint32_t i = 0; i < a->n_terms; i++)
        for (uint32_t j = 0; j < b->n_terms; j++)
            t[k++] = term_product(p, &a->terms[i], &b->terms[j]);
    for (uint32_t i = 0; i < a->n_terms && b->value; i++) {
        t[k] = a->terms[i];
        t[k].coef = mul_checked(p, t[k].coef, b->value);
        k++;
    }
    for (uint32_t j = 0; j < b->n_terms && a->value; j++) {
        t[k] = b->terms[j];
        t[k].coef = mul_checked(p, t[k].coef, a->value);
        k++;
    }
    return sum_intern(p, mark, t, k, mul_checked(p, a->value, b->value));
}

Dim dim_product(DimPool *p, const Dim *d, uint32_t n)
{
    Dim product = dim_const(p, 1);
    for (uint32_t i = 0; i < n; i++)
        product = dim_mul(p, product, d[i]);
    return product;
}

/* ---- terms as monomials ---- */

bool term_has(const DimTerm *t, Dim atom)
{
    for (uint32_t i = 0; i < t->n_atoms; i++)
        if (t->atoms[i] == atom)
            return true;
    return false;
}

DimTerm term_without(DimPool *p, const DimTerm *t, Dim atom)
{
    if (t->n_atoms == 1)
        return (DimTerm){t->coef, 0, NULL};
    DimTerm r = {t->coef, 0, arena_new_array(p->arena, Dim, t->n_atoms)};
    bool found = false;
    for (uint32_t i = 0; i < t->n_atoms; i++) {
        if (t->atoms[i] == atom && !found)
            found = true;
        else
            r.atoms[r.n_atoms++] = t->atoms[i];
    }
    return r;
}

/* Atoms of `by` that t has, counted as often as both have them; both are sorted. */
static uint32_t atoms_shared(const DimTerm *t, const DimTerm *by)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < t->n_atoms && k < by->n_atoms; i++)
        k += by->atoms[k] == t->atoms[i];
    return k;
}

bool term_divide(DimPool *p, const DimTerm *t, const DimTerm *by, DimTerm *quotient)
{
    if (by->n_atoms > t->n_atoms || by->coef == -1 || t->coef % by->coef || atoms_shared(t, by) < by->n_atoms)
        return false;
    DimTerm q = {t->coef / by->coef, 0, t->atoms};
    if (by->n_atoms == 0) {
        q.n_atoms = t->n_atoms;
    } else if (by->n_atoms < t->n_atoms) {
        q.atoms = arena_new_array(p->arena, Dim, t->n_atoms - by->n_atoms);
        for (uint32_t i = 0, k = 0; i < t->n_atoms; i++) {
            if (k < by->n_atoms && by->atoms[k] == t->atoms[i])
                k++;
            else
                q.atoms[q.n_atoms++] = t->atoms[i];
        }
    }
    *quotient = q;
    return true;
}

/* ---- minimum and maximum ---- */

enum { MOST_OPERANDS = 32 };

typedef struct { Dim d[MOST_OPERANDS]; uint32_t n; } Operands;

static bool dominated(DimPool *p, DimKind kind, Dim x, Dim by)
{
    return kind == DIM_MIN ? dim_le(p, by, x) : dim_le(p, x, by);
}

/* Adds the operands of a nest of the same kind, keeping the list free of dominated ones. */
static bool operands_add(DimPool *p, DimKind kind, Operands *list, Dim x)
{
    if (x->kind == kind)
        return operands_add(p, kind, list, x->a) && operands_add(p, kind, list, x->b);
    for (uint32_t i = 0; i < list->n; i++)
        if (dominated(p, kind, x, list->d[i]))
            return true;
    uint32_t n = 0;
    for (uint32_t i = 0; i < list->n; i++)
        if (!dominated(p, kind, list->d[i], x))
            list->d[n++] = list->d[i];
    list->n = n;
    if (n == MOST_OPERANDS)
        return false;
    list->d[list->n++] = x;
    return true;
}

static int operand_qsort(const void *a, const void *b)
{
    const Dim *x = a, *y = b;
    return dim_compare(*x, *y);
}

static Dim extremum(DimPool *p, DimKind kind, Dim a, Dim b)
{
    Operands list = {.n = 0};
    if (!operands_add(p, kind, &list, a) || !operands_add(p, kind, &list, b)) {
        list.d[0] = a;
        list.d[1] = b;
        list.n = 2;
    }
    qsort(list.d, list.n, sizeof *list.d, operand_qsort);
    Dim m = list.d[0];
    for (uint32_t i = 1; i < list.n; i++) {
        Dim x = list.d[i];
        bool low = kind == DIM_MIN;
        DimRange r = {
            (low ? m->lo < x->lo : m->lo > x->lo) ? m->lo : x->lo,
            (low ? m->hi < x->hi : m->hi > x->hi) ? m->hi : x->hi
        };
        m = dim_intern_pair(p, kind, m, x, r);
    }
    return m;
}

static Dim extremum_once(DimPool *p, DimKind kind, Dim a, Dim b)
{
    if (a == b)
        return a;
    Dim known = dim_done(p, kind, a, b);
    return known ? known : dim_remember(p, kind, a, b, extremum(p, kind, a, b));
}

Dim dim_min(DimPool *p, Dim a, Dim b) { return extremum_once(p, DIM_MIN, a, b); }
Dim dim_max(DimPool *p, Dim a, Dim b) { return extremum_once(p, DIM_MAX, a, b); }
