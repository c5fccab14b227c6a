/* runtime/sim/run.h — what the files of the execution share beyond machine.h. */
#pragma once
#include "runtime/sim/machine.h"

void     warp_begin(SimWarp *w);
void     warp_end(SimWarp *w);
uint64_t warp_run(SimWarp *w, uint32_t budget);                      /* instructions run; 0: everything waits */
void     barriers_after_exit(SimCta *c);                             /* barriers without a count wait for living threads only */
void     barriers_free(SimCta *c);
/* Reports who waits for what when nothing goes on. */
void     report_stuck(SimMachine *m, SimCluster *const *clusters, uint32_t n);
void     fault_add(SimMachine *m, const SimFault *f);
void     fault_collect(SimMachine *m, Arena *a);                     /* into the result */
/* Copies the results of `f`, called before `return_pc`, out of its frame; base[] shows the caller's registers. */
void     call_results(SimWarp *w, uint32_t mask, uint32_t return_pc, const PtxFunction *f, uint32_t caller, uint32_t callee_local);
/* Counts sectors and wavefronts of an access by all these lanes, into the instruction's SimCount. */
void     profile_access(SimWarp *w, const PtxInst *inst, PtxSpace space, uint32_t mask, const uint64_t *address, uint32_t bytes);
