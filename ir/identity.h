/* ir/identity.h — do two graphs mean the same? Both are evaluated in residues (eval_residue.h) over the same fresh variables,
 * at tiny shapes with another size for each symbol, over two pairs of primes. Rounding plays no part: a difference is a
 * difference in algebra, and equality holds but for a chance of about 2^-59 an element.
 *
 *   equal       no element differs, and enough of every output's elements can be compared (min_coverage)
 *   different   some element differs: the witness
 *   undefined   neither: too much rests on parts or signs that the domain cannot know
 *
 * "Equal" holds where the draws went (magnitudes 2^-3 … 2^6). A comparison that hardly ever went one way may be right only
 * within a range: it is listed as a guard, and whoever accepts the identity accepts those too. */
#pragma once
#include "ir/eval_residue.h"

typedef enum { IDENTITY_EQUAL, IDENTITY_DIFFERENT, IDENTITY_UNDEFINED } IdentityVerdict;

typedef struct {
    uint64_t seed;
    uint32_t trials;                       /* a shape and pair of primes; 0: 32 */
    uint32_t shapes;                       /* 0: 4; graphs without symbols have one */
    uint32_t pairs;                        /* 0: both */
    uint32_t first_b, n;                   /* outputs b[first_b + i] are held against a[i], i < n; n 0: all of a's */
    Tensor *const *inputs;                 /* a's, where it has no symbols: what integers and bools to take; NULL: drawn */
    double work;                           /* scalar operations that may be spent: fewer trials where they do not suffice; 0: 2e8 */
    double min_coverage;                   /* 0: 0.3 */
} IdentityOptions;

typedef struct {
    uint32_t output, trial, pair;
    int64_t  at;
    bool     is_float;
    Value    a, b;
    DimValue *dims; uint32_t n_dims;
} IdentityWitness;

typedef struct {                           /* a comparison, max or min that went one way fewer than 8 times */
    bool in_b;
    Op op; Str name; Loc loc;
    uint64_t is_true, is_false;
} IdentityGuard;

typedef struct {
    IdentityVerdict verdict;
    IdentityWitness witness;               /* of a difference */
    double  *coverage; uint32_t n;         /* by output: share of the elements that were compared and agree */
    double   least_coverage;
    uint64_t elements, different, trials, ties;
    IdentityGuard *guards; uint32_t n_guards;
    double   seconds;
} IdentityReport;

/* a and b may be one graph (then it is evaluated once). Inputs are paired by name. False: diagnosed in a's context: an input
 * or output that does not fit its like, or no small shape that both accept. */
bool residue_compare_graphs(const Graph *a, const Graph *b, const IdentityOptions *o, Arena *arena, IdentityReport *r);
/* "different: y[3] is 1.25 and 1.5 at B=2, S=3" and a line a guard. */
char *identity_text(Arena *a, const IdentityReport *r);
