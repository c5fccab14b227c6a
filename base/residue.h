/* base/residue.h — numbers without rounding: a value is (mod p, mod Q, double), where algebraically equal means equal.
 *
 * p = 2Q + 1 is a prime near 2^60, Q = q1 q2 q3 a product of three primes near 2^20, all ≡ 3 mod 4. Exponents live mod Q:
 *   + − × ÷   act on all three parts
 *   exp       takes the Q-part to the p-part: w^x, where w generates the squares mod p, a group of order Q
 *   log       takes the p-part back, by three discrete logarithms in groups of order q1, q2, q3: exp and log are inverse
 *             to each other on squares, so that e^(log x), x^y and softmax by a log-sum-exp keep their meaning
 *   sqrt      is the root that is itself a square: also exp(log(x) / 2)
 * Squares play the positive numbers and non-squares the negative ones (−1 is none): draws keep to that, and so do 2, 3, 5, 7,
 * 11 and 13, hence all decimals and small fractions: sqrt(c²a) = c sqrt(a). Where a computed number has the wrong
 * character (a sum of squares need not be one), sqrt and log take its negative and mark the result RESIDUE_GUESS: two guesses
 * that agree are evidence, a difference is not. A part that an operation cannot define (Q behind exp) is RESIDUE_NONE.
 * The double decides min, max and comparisons. Functions without such algebra (erf, sin) are keyed hashes of their argument
 * that keep its parity; tanh, sinh … go through exp.
 *
 * Constants are snapped before they become residues: short decimals, small fractions, 1/n, and multiples of ln 2, log2 e, pi,
 * square roots … by small fractions, at the precision of f32, so that a kernel's rounded constant is its graph's exact one. */
#pragma once
#include "base/arena.h"
#include <stdbool.h>

#define RESIDUE_NONE  (UINT64_C(1) << 63)    /* this part is not defined */
#define RESIDUE_GUESS (UINT64_C(1) << 62)    /* this part rests on a choice that algebra leaves open */
typedef struct { double v; uint64_t p, q; } Residue;       /* parts: in Montgomery's form, with the flags above */

/* Tables of one pair of primes and one secret seed; read only once made, so threads may share it. */
typedef struct ResidueField ResidueField;
enum { RESIDUE_PAIRS = 2 };
ResidueField *residue_field_new(uint32_t pair, uint64_t seed, Arena *a);      /* pair < RESIDUE_PAIRS; about 1 MB */
void residue_field_primes(uint32_t pair, uint64_t out[4]);                    /* p, q1, q2, q3 */

/* ---- making ------------------------------------------------------------------------------------------------------------- */
Residue residue_integer(const ResidueField *f, int64_t i);
Residue residue_constant(const ResidueField *f, double v);                    /* snapped; infinities and NaN have no parts */
typedef enum { RESIDUE_ANY_SIGN, RESIDUE_POSITIVE } ResidueSign;
/* A fresh variable: the same for the same key and index. Magnitude 2^U(−3, 6). */
Residue residue_draw(const ResidueField *f, uint64_t key, uint64_t index, ResidueSign s);

/* ---- arithmetic ----------------------------------------------------------------------------------------------------------- */
Residue residue_add(const ResidueField *f, Residue a, Residue b);
Residue residue_sub(const ResidueField *f, Residue a, Residue b);
Residue residue_neg(const ResidueField *f, Residue a);
Residue residue_mul(const ResidueField *f, Residue a, Residue b);
Residue residue_fma(const ResidueField *f, Residue a, Residue b, Residue c);
Residue residue_div(const ResidueField *f, Residue a, Residue b);
Residue residue_reciprocal(const ResidueField *f, Residue a);

/* ---- functions -------------------------------------------------------------------------------------------------------------- */
#define RESIDUE_FUNCTIONS(X) \
    X(EXP, exp) X(EXP2, exp2) X(EXPM1, expm1) X(LOG, log) X(LOG2, log2) X(LOG10, log10) X(LOG1P, log1p) X(SQRT, sqrt)   \
    X(RSQRT, rsqrt) X(SIN, sin) X(COS, cos) X(TAN, tan) X(ASIN, asin) X(ACOS, acos) X(ATAN, atan) X(SINH, sinh)         \
    X(COSH, cosh) X(TANH, tanh) X(ASINH, asinh) X(ACOSH, acosh) X(ATANH, atanh) X(ERF, erf) X(ERFC, erfc)
typedef enum {
#define X(e, name) RF_##e,
    RESIDUE_FUNCTIONS(X)
#undef X
    RF_COUNT
} ResidueFunction;
Residue residue_function(const ResidueField *f, ResidueFunction fn, Residue a);
Residue residue_pow(const ResidueField *f, Residue a, Residue b);             /* integer and half exponents exactly; else e^(b log a) */
/* A function of two arguments about which nothing is known but its value `v`. */
Residue residue_hash2(const ResidueField *f, uint64_t name, Residue a, Residue b, double v);
typedef enum { RESIDUE_TRUNC, RESIDUE_FLOOR, RESIDUE_CEIL, RESIDUE_NEAREST } ResidueRounding;
Residue residue_round(const ResidueField *f, ResidueRounding r, Residue a);   /* the integer, by the double */

/* ---- decisions ---------------------------------------------------------------------------------------------------------------- */
/* −1, 0, 1, or 2 where one is NaN: by the doubles, unless the residues say equal. *tie: too near to call. */
int     residue_order(Residue a, Residue b, bool *tie);
Residue residue_max(Residue a, Residue b, bool *tie);
Residue residue_min(Residue a, Residue b, bool *tie);
Residue residue_guess(Residue a);                                             /* marks both parts */
static inline bool residue_is_infinite(Residue a) { return (a.p & a.q & RESIDUE_NONE) && (a.v - a.v != 0) && a.v == a.v; }

/* ---- comparing ---------------------------------------------------------------------------------------------------------------- */
typedef enum { RESIDUE_EQUAL, RESIDUE_DIFFERENT, RESIDUE_UNSURE } ResidueVerdict;
/* One element of two computations of the same variables. Different: a part without choices disagrees. Equal: a part without
 * choices agrees, or all parts that both sides have agree, resting on choices on both. */
ResidueVerdict residue_compare(Residue a, Residue b);
