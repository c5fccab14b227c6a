/* ir/eval_residue.h — the evaluator's domain of residues: identity testing without rounding (base/residue.h).
 *
 * An element of a float input is a fresh variable, the same wherever the input's name and the element's index are the same:
 * the tensor's bytes are not read. Inputs that are declared with a uniform distribution from 0 or more are positive.
 * Integers and bools are what the tensors hold. Each comparison of floats is counted by what it decided; a decision between
 * numbers too near to call marks what follows from it as a guess. */
#pragma once
#include "base/residue.h"
#include "ir/eval.h"
#include <stdatomic.h>

typedef struct { _Atomic uint64_t is_true, is_false; } Decisions;    /* max, min: the first operand was taken, or not */

typedef struct {
    Domain domain;                             /* to hand to eval_new */
    const ResidueField *field;
    const Graph *g;
    Tensor *const *inputs;
    uint64_t *key;                             /* by input */
    struct ResidueLiteral *literal; uint32_t n_literals;
    Decisions *decisions;                      /* by node id */
    _Atomic uint64_t ties;
} ResidueDomain;

/* `inputs` as for eval_new. */
ResidueDomain *residue_domain_new(const Graph *g, const ResidueField *f, Tensor *const *inputs, uint64_t seed, Arena *a);
bool residue_domain_decides(const Node *n);    /* a node whose decisions are counted */
static inline Residue value_residue(Value x) { return (Residue){x.v, x.mod_p, x.mod_q}; }
/* One element of two evaluations. */
ResidueVerdict value_compare(DType t, Value a, Value b);
