/* runtime/sim/residue.h — the interpreter's residue domain: kernels over numbers without rounding (base/residue.h).
 *
 * A float in a register or in memory is a handle: bits that name an entry of a table of residues, in a part of the format that
 * real numbers hardly use (magnitudes beyond 2^65 for f32; beyond 512 for 16 bits). Handles are bits, so moves, shuffles, vector
 * loads, packing, prmt, shared memory and asynchronous copies carry them as they are, and a 16-bit handle shifted into the
 * upper half of a word (how bf16 widens) is its own f32 handle. Instructions that calculate look their operands up and
 * make a handle of the result; equal residues have equal handles. Other bits are literals: snapped as base/residue.h says. Small
 * integers stay literals, so that the bit tricks of an inlined expf (round by adding 1.5·2^23, shift into the exponent) remain
 * what they are, and e^x is exactly e^x.
 *
 * Comparisons, min, max and conversions to integers go by the double, and are counted by instruction. Functions called
 * pawl_NAMEf or __nv_NAMEf (see lift.cuh) are NAME, whatever their body does. */
#pragma once
#include "base/dtype.h"
#include "base/residue.h"
#include "runtime/sim/machine.h"

typedef struct { uint64_t is_true, is_false; } SimDecision;           /* min, max: the first operand was taken, or not */
typedef struct SimResidues SimResidues;
SimResidues *sim_residues_new(const ResidueField *f, Arena *a);        /* serves any number of launches, one at a time */
SimDomain   *sim_residues_domain(SimResidues *s);                     /* for SimLaunch.domain */
/* One float of a buffer, before and after a launch. */
void         sim_residue_store(SimResidues *s, DType t, void *element, Residue r);
Residue      sim_residue_load(SimResidues *s, DType t, const void *element);
const SimDecision *sim_residue_decisions(const SimResidues *s);       /* by instruction of the last module; NULL: none ran */
uint64_t     sim_residue_ties(const SimResidues *s);                  /* decisions between numbers too near to call */
/* The first instruction that took a float apart by its bits (integer arithmetic, shifts, masks other than those of signs and of bf16),
 * where the residues end: what follows from it means nothing, and lift.cuh was probably left out. NULL: none did. */
const PtxInst *sim_residue_taken_apart(const SimResidues *s);
