#include "runtime/sim/exec.h"
bool select_mma(Selector *s, PtxInst *inst) { return select_missing(s, inst); }
bool select_matrix(Selector *s, PtxInst *inst) { return select_missing(s, inst); }
