/* runtime/sim/select.h — binding of instructions to their code: one function an opcode family, named in ops.def. */
#pragma once
#include "runtime/sim/machine.h"

typedef struct Selector {
    PtxModule *module;
    const PtxFunction *function;
    Diags *diags;
    const char *text;                  /* the opcode with its modifiers, as written */
    bool missing;                      /* set by select_missing: known to PTX, not to the simulator */
} Selector;
/* Sets inst->exec (and variant). False: not supported (select_missing) or wrong operands (diagnosed). */
typedef bool SelectFn(Selector *s, PtxInst *inst);
#define OP(e, text, cls, select) SelectFn select_##select;
#define MOD(e, text)
#include "runtime/sim/ops.def"
#undef OP
#undef MOD
bool select_bad(Selector *s, const PtxInst *inst, const char *why);   /* diagnosed; false */
