/* base/philox.h — the counter-based generator behind every input and weight (Philox4x32-10, Salmon et al. 2011), so that
 * every executor, process and language draws the same values. Key = (seed, hash of the tensor's name), counter = element
 * index. Element i of a uniform uses the 53-bit value of words (0,1) of block i; of a normal, Box–Muller in fp64 on blocks
 * i/2: cosine branch for even i, sine branch for odd. log and sincos are our own polynomials, without contraction,
 * so that results are bitwise the same on every machine. One rounding to the dtype. Vectorises; multi-threaded by range. */
#pragma once
#include "base/dtype.h"

typedef enum { DIST_NORMAL, DIST_UNIFORM, DIST_RANDINT, DIST_CONSTANT, DIST_SPARSE_ROWS } DistKind;
/* normal(mean, sd); uniform(lo, hi); randint(lo, hi) half open; constant(a). Defaults: normal(0, 1). */
typedef struct { DistKind kind; double a, b; } Dist;

void philox4x32(uint32_t out[4], uint64_t counter_lo, uint64_t counter_hi, uint64_t key);
uint64_t philox_key(uint64_t seed, const char *tensor_name);
/* Fills elements [first, first + n) of the tensor into `out` (dtype t). Integer dtypes: randint; bool: uniform >= 0.5 unless constant. */
void philox_fill(DType t, void *out, int64_t first, int64_t n, uint64_t key, Dist dist);
bool dist_parse(const char *text, Dist *out, const char **error);   /* "normal(0, 0.02)", "uniform(0, 1)", "randint(0, 10)", "constant(1)" */
