/* base/dim_internal.h — what the files of dim share: dim.c (pool, sums), dim_div.c (floordiv, mod), dim_prove.c (order),
 * dim_query.c (substitution, evaluation), dim_text.c. */
#pragma once
#include "base/diag.h"
#include "base/dim.h"
#include "base/map.h"

struct DimPool {
    Arena       *arena;
    StrPool     *strs;
    InternTable *table;
    Map         *symbols;          /* Str → DimExpr */
    Map         *fresh;            /* Str prefix → number of fresh symbols made from it */
    Map         *done[4];          /* results of floordiv, mod, min, max by the ids of both operands */
    Map         *proven;           /* Dim → 1: never negative, 2: not proven */
    uint32_t     n_dims;
    int          proof_depth;      /* proofs build dims, whose constructors prove: bounded by this */
    bool         lenient;          /* overflow sets `overflowed` instead of failing an assertion */
    bool         overflowed;
};

/* A rewrite that is tried: its arithmetic may overflow although the expression at hand does not. */
typedef struct { bool lenient, overflowed; } DimAttempt;
DimAttempt dim_attempt_begin(DimPool *p);
bool       dim_attempt_end(DimPool *p, DimAttempt saved);     /* true: no overflow, the result may be used */

typedef struct { int64_t lo, hi; } DimRange;
DimRange dim_range_floordiv(DimRange x, DimRange by);
static inline DimRange dim_range(Dim d) { return (DimRange){d->lo, d->hi}; }
static inline bool dim_bounded_below(Dim d) { return d->lo != INT64_MIN; }
static inline bool dim_bounded_above(Dim d) { return d->hi != INT64_MAX; }

static inline int64_t floordiv64(int64_t a, int64_t b)        /* b > 0 */
{
    return a / b - (a % b < 0);
}
static inline int64_t floormod64(int64_t a, int64_t b)
{
    int64_t r = a % b;
    return r < 0 ? r + b : r;
}
static inline int64_t gcd64(int64_t a, int64_t b)             /* 0 where it would not fit */
{
    uint64_t x = a < 0 ? 0 - (uint64_t)a : (uint64_t)a, y = b < 0 ? 0 - (uint64_t)b : (uint64_t)b;
    while (y) {
        uint64_t r = x % y;
        x = y;
        y = r;
    }
    return x > INT64_MAX ? 0 : (int64_t)x;
}

typedef struct { int64_t coef; Dim dim; } DimScaled;
Dim  dim_combine(DimPool *p, const DimScaled *parts, uint32_t n);      /* sum of coef * dim, normalised once */
Dim  dim_of_term(DimPool *p, DimTerm t);
Dim  dim_of_terms(DimPool *p, const DimTerm *t, uint32_t n, int64_t value);     /* in any order, atoms sorted */
Dim  dim_intern_pair(DimPool *p, DimKind kind, Dim a, Dim b, DimRange r);
int  dim_compare(Dim a, Dim b);                                        /* structural order: the same in every pool */
bool term_same_atoms(const DimTerm *a, const DimTerm *b);
/* t / by if every atom and the coefficient divide exactly */
bool term_divide(DimPool *p, const DimTerm *t, const DimTerm *by, DimTerm *quotient);
DimTerm term_without(DimPool *p, const DimTerm *t, Dim atom);          /* t with one occurrence of the atom removed */
bool term_has(const DimTerm *t, Dim atom);

/* d = c*x + r. One occurrence of x is taken from each term that has one; c may still hold others. */
void dim_extract(DimPool *p, Dim d, Dim x, Dim *c, Dim *r);
/* The remembered result of `kind` (FLOORDIV to MAX) on a and b, NULL when not known; and remembering it. */
Dim  dim_done(const DimPool *p, DimKind kind, Dim a, Dim b);
Dim  dim_remember(DimPool *p, DimKind kind, Dim a, Dim b, Dim result);
/* The value of d, whose parts have the values that value_of gives. False: one has none, it overflows, or it divides by less than 1. */
typedef bool DimValueOf(void *arg, Dim d, int64_t *out);
bool dim_value_of_parts(Dim d, DimValueOf *value_of, void *arg, int64_t *out);
/* Room for a few elements on the stack, for more in the arena. */
#define DIM_SCRATCH(p, T, name, n)                                                  \
    T name##_few[12];                                                               \
    T *name = (n) <= 12 ? name##_few : arena_new_array((p)->arena, T, (n))

Dim  dim_recombine(DimPool *p, Dim sum);          /* dim_div.c: N*(x/N) + x%N = x and its relatives */
bool dim_divide_exact(DimPool *p, Dim x, Dim by, Dim *quotient);
