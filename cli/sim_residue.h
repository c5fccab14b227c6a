/* cli/sim_residue.h — `pawl sim --domain residue`: a launch over residues, and its buffers held against a task's graph. */
#pragma once
#include "cli/cli.h"
#include "runtime/sim/residue.h"

typedef struct { const char *name; Tensor *tensor; bool drawn /* fresh variables, else what a kernel writes */, positive; } ResidueBuffer;
typedef struct {
    Cli *c;
    Context *cx;
    uint64_t seed;
    ResidueField *field;
    SimResidues *residues;
    Vec(ResidueBuffer) buffers;
} ResidueLaunch;

ResidueLaunch *residue_launch_new(Cli *c, Context *cx, uint64_t seed);
/* A buffer of floats, whole and in memory; drawn ones are filled. */
void residue_launch_buffer(ResidueLaunch *r, const ResidueBuffer *b);
/* After the run: comparisons that went one way, bits taken apart; with a task, its outputs against buffers of their names.
 * False: diagnosed, also where they differ. Then the buffers hold the doubles. */
bool residue_launch_end(ResidueLaunch *r, const PtxModule *m, const char *task);
