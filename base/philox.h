/* base/philox.h — the counter-based generator behind every input and weight (Philox4x32-10, Salmon et al. 2011), so that
 * every executor, process and language draws the same values. Key = XXH3-64 of the tensor's name seeded with the seed,
 * counter = index. A block has four words, taken as x = w0 + 2^32 w1 and y = w2 + 2^32 w3; unit(x) = (x >> 11) * 2^-53.
 * Element i of a uniform is lo + (hi - lo) * unit(x of block i); of a randint lo + floor(x * (hi - lo) / 2^64); of a normal
 * mean + sd * Box–Muller in fp64 on block i/2: sqrt(-2 log(unit(x) + 2^-53)) times cos(2 pi unit(y)) for even i, sin for
 * odd; of steps size * (i + unit(x of block i)). log and sincos are our own polynomials, without contraction, so that results are bitwise the same on every machine.
 * One rounding to the dtype. Vectorises; multi-threaded by range. */
#pragma once
#include "base/dtype.h"

typedef enum { DIST_NORMAL, DIST_UNIFORM, DIST_RANDINT, DIST_CONSTANT, DIST_STEPS } DistKind;
/* normal(mean, sd); uniform(lo, hi); randint(lo, hi) half open; constant(a); steps(size): ascending, one anywhere in every step.
 * Defaults: normal(0, 1). */
typedef struct { DistKind kind; double a, b; } Dist;

void philox4x32(uint32_t out[4], uint64_t counter_lo, uint64_t counter_hi, uint64_t key);
uint64_t philox_key(uint64_t seed, const char *tensor_name);
/* Fills elements [first, first + n) of the tensor into `out` (dtype t). Integer dtypes truncate other distributions than
 * randint; bool: unit(x) >= 0.5 unless constant. */
void philox_fill(DType t, void *out, int64_t first, int64_t n, uint64_t key, Dist dist);
const char *dist_name(DistKind k);
int dist_arguments(DistKind k);                                     /* how many of a, b it has */
/* Arguments may be left out: normal, normal(0), uniform (0, 1), randint(0, 2), constant (0), steps (1). */
bool dist_parse(const char *text, Dist *out, const char **error);   /* "normal(0, 0.02)", "uniform(0, 1)", "randint(0, 10)", "constant(1)" */
