/* base/dim.h — interned integer expressions over named symbols: tensor dims, buffer sizes, grid sizes, and (with loop
 * variables as symbols) every index in the compiler.
 *
 * Normal form, kept by the constructors: a sum of terms `coefficient * product of atoms` in a canonical order plus a
 * constant; an atom is a symbol, floordiv(e, e), mod(e, e), min(e, e), max(e, e). Equal expressions are equal pointers. The
 * constructors use the symbols' ranges: (a*N + b) / N = a when 0 <= b < N, min(a, b) = a when a <= b always, and so on.
 * Ranges belong to the symbol, so a DimPool has one meaning per name. All arithmetic is on int64; overflow saturates
 * the range analysis, never the value of a literal (pawl_assert). floordiv and mod round towards minus infinity;
 * divisors must be positive. */
#pragma once
#include "base/arena.h"
#include "base/str.h"
#include <stdbool.h>

typedef struct DimExpr DimExpr;
typedef const DimExpr *Dim;
typedef struct DimPool DimPool;

typedef enum { DIM_CONST, DIM_SYM, DIM_SUM, DIM_FLOORDIV, DIM_MOD, DIM_MIN, DIM_MAX } DimKind;
typedef struct { int64_t coef; uint32_t n_atoms; Dim *atoms; } DimTerm;   /* atoms sorted, repeated for powers */

struct DimExpr {
    DimKind  kind;
    uint32_t id;                   /* order of creation in its pool */
    int64_t  lo, hi;               /* proven range, INT64_MIN/MAX when unknown */
    int64_t  value;                /* DIM_CONST; the constant term of DIM_SUM */
    Str      name;                 /* DIM_SYM */
    Dim      a, b;                 /* FLOORDIV, MOD, MIN, MAX */
    const DimTerm *terms;          /* DIM_SUM; other kinds have themselves here as their only term, constants none, */
    uint32_t n_terms;              /* so that every dim can be read as `value` plus the sum of its terms */
    uint32_t size;                 /* nodes of the expression as a tree, saturating */
    uint64_t hash;
    uint64_t symbols;              /* Bloom filter of the symbols that occur */
    Dim      extent;               /* DIM_SYM made by dim_sym_below: always 0 <= this < extent; else NULL */
    Dim      normal;               /* dim.c's own: what a sum simplifies to, once known */
};

DimPool *dimpool_new(Arena *a, StrPool *strs);
Dim  dim_const(DimPool *p, int64_t v);
/* The symbol `name`; on first use it gets the range [lo, hi]; later calls must agree or use dim_sym_find. */
Dim  dim_sym(DimPool *p, const char *name, int64_t lo, int64_t hi);
Dim  dim_sym_find(DimPool *p, const char *name);                 /* NULL when unknown */
Dim  dim_sym_fresh(DimPool *p, const char *prefix, int64_t lo, int64_t hi);   /* a new loop variable: prefix, prefix1 … */
/* A new loop variable 0 <= v < extent, where extent may be symbolic: dim_lt(v, extent), dim_lt(v*k + r, extent*k) for
 * 0 <= r < k and the like can be proven. The loop may be empty; then whatever is said of v holds. */
Dim  dim_sym_below(DimPool *p, const char *prefix, Dim extent);
Dim  dim_add(DimPool *p, Dim a, Dim b);
Dim  dim_sub(DimPool *p, Dim a, Dim b);
Dim  dim_mul(DimPool *p, Dim a, Dim b);
Dim  dim_mul_const(DimPool *p, Dim a, int64_t k);
Dim  dim_add_const(DimPool *p, Dim a, int64_t k);
Dim  dim_floordiv(DimPool *p, Dim a, Dim b);
Dim  dim_ceildiv(DimPool *p, Dim a, Dim b);
Dim  dim_mod(DimPool *p, Dim a, Dim b);
Dim  dim_min(DimPool *p, Dim a, Dim b);
Dim  dim_max(DimPool *p, Dim a, Dim b);
Dim  dim_align_up(DimPool *p, Dim a, int64_t to);
Dim  dim_product(DimPool *p, const Dim *d, uint32_t n);          /* 1 for n = 0 */

static inline bool dim_is_const(Dim d) { return d->kind == DIM_CONST; }
static inline bool dim_is(Dim d, int64_t v) { return d->kind == DIM_CONST && d->value == v; }
bool dim_divides(DimPool *p, Dim by, Dim d);                     /* provably d mod by == 0 */
bool dim_le(DimPool *p, Dim a, Dim b);                           /* provably a <= b for all values in range */
bool dim_lt(DimPool *p, Dim a, Dim b);
bool dim_ne(DimPool *p, Dim a, Dim b);
bool dim_uses(Dim d, Dim sym);                                   /* sym occurs in d */
/* d = *coef * sym + *rest with sym not in rest and coef free of sym; false when d is not linear in sym */
bool dim_linear_in(DimPool *p, Dim d, Dim sym, Dim *coef, Dim *rest);

typedef struct { Dim sym, value; } DimSubst;
Dim  dim_subst(DimPool *p, Dim d, const DimSubst *s, uint32_t n);      /* simultaneous; re-simplified */
/* Value under an assignment; false when a symbol has none (its name in *missing) or a divisor is not positive. */
typedef struct { Str name; int64_t value; } DimValue;
bool dim_eval(Dim d, const DimValue *v, uint32_t n, int64_t *out, Str *missing);

void dim_print(StrBuf *b, Dim d);                 /* "4*H + 2", "(S + 7) // 8", "S % 8", "min(S, 4)" */
char *dim_text(Arena *a, Dim d);
/* Parses what dim_print prints (also `+ - * // % min max` and parentheses freely mixed). Unknown symbols: NULL with *error
 * set unless `create` (then range [0, INT64_MAX]). *end is set past the expression when end != NULL, else all must be consumed. */
Dim  dim_parse(DimPool *p, const char *text, bool create, const char **end, const char **error);
