/* tests/sim/lift.h — GPU kernels over residues on the simulator, held against a graph: compiled from graph text by our compiler and
 * LLVM, or from CUDA C by NVRTC. */
#pragma once
#include "ir/identity.h"

typedef struct { const char *find, *put; } LiftEdit;      /* the first place in the PTX is replaced */
typedef struct {
    const char *compiled;                                 /* graph text to compile instead of the reference; NULL: the same */
    const char *kind;                                     /* kernels of this kind must be among those used; NULL: any */
    uint32_t schedule;                                    /* rank within the kind's space (modulo its size) */
    LiftEdit edit;
} LiftOptions;

typedef struct {
    uint64_t equal, different, unsure;                    /* elements of all outputs */
    uint32_t kernels, faults, one_sided;                  /* one_sided: instructions that decided one way only: range guards */
    bool edited, taken_apart;
    char fault[256];                                      /* the first */
    Residue kernel, reference;                            /* of the first difference */
} LiftResult;

/* False: it did not compile or run; said on stderr. */
bool lift_graph(const char *reference, const LiftOptions *o, uint64_t seed, LiftResult *r);
/* `source` is CUDA C with one kernel whose arguments are pointers to the graph's inputs, then its outputs, in order. */
typedef struct { const char *source, *defines /* lines put before it, or NULL */; uint32_t grid[3], block[3]; } LiftCuda;
bool lift_cuda(const char *reference, const LiftCuda *k, uint64_t seed, LiftResult *r);
