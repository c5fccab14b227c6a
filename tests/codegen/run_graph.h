/* tests/codegen/run_graph.h — graph text through grouping, kernels and the CPU executor, held against the evaluator. */
#pragma once
#include "codegen/codegen.h"

typedef struct {
    bool fuse;
    bool sim;                             /* code for sm_90a (or `arch`) on the simulator, instead of the CPU */
    const char *arch;
    bool nvrtc;                        /* with sim: PTX that NVRTC makes of our CUDA C */
    const char *kind;                     /* groups that this kind can run take its schedule of rank `schedule`; compiled by NVRTC */
    bool llvm;                            /* with kind: compiled by LLVM instead */
    uint32_t units;                       /* of the machine: the fewer, the more tiles each block has; 0: as many as it has */
    bool other_kinds;                     /* with kind: it need not take any group */
    const char *key; int64_t value;       /* with kind: only schedules where `key` is `value`, if there are any; those are counted in *with */
    uint32_t *with;
    uint32_t schedule;                    /* every group takes the schedule of this rank in its space (modulo its size) */
    bool passes; uint64_t picks;          /* through the pipeline first; choices take alternatives drawn with this */
    uint32_t piece;                       /* with passes: reductions behind products take so many columns at a time, wherever that is offered */
    uint32_t split_k;                     /* with passes: products as sums over pieces of k, of 16 at least, so many at most a tile; `picks` says which */
    bool split;                           /* with passes: f32 products of any size as products of f16 pieces */
    const int64_t *symbol; uint32_t n_symbol;   /* compiled with its symbol, run at these values, held against the graph specialised */
    double *seconds;                      /* where not NULL: the longest that a compilation took, of processor time */
} RunOptions;

/* True when every output passes the acceptance rule; otherwise the reason is printed with the graph and the plan. */
bool run_graph(const char *text, const RunOptions *o, uint64_t seed);
