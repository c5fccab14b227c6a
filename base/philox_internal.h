/* base/philox_internal.h — the loops of philox.c as they are compiled for each instruction set, for its tests. */
#pragma once
#include "base/philox.h"

enum { PHILOX_BLOCK = 256 };       /* counters drawn at once */

typedef struct {
    const char *name;
    /* z[2i], z[2i+1]: the two standard normals of block first + i */
    void (*normals)(double *z, uint64_t first, uint64_t key);
    /* z[i] in [0, 1) and x[i], the 64 bits it was made of, of block first + i */
    void (*uniforms)(double *z, uint64_t *x, uint64_t first, uint64_t key);
    void (*to_f32)(float *out, const double *z, int64_t n);
    void (*to_f16)(uint16_t *out, const double *z, int64_t n);
    void (*to_bf16)(uint16_t *out, const double *z, int64_t n);
} PhiloxLoops;

/* The i-th set of loops that this processor can run, the best first; NULL past the end. */
const PhiloxLoops *philox_loops(int i);
