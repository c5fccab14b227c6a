/* runtime/sim/residue_table.h — handles and the residues that they name; shared by residue.c and residue_exec.c. */
#pragma once
#include "runtime/sim/residue.h"

enum { LITERAL_CACHE = 256 };
struct SimResidues {
    const ResidueField *f;
    const PtxModule *module;
    Arena *arena;
    SimDomain domain;
    Vec(Residue) table;
    uint32_t *hash, hash_size;             /* index + 1 by residue */
    Vec(uint32_t) halves;                  /* index of each 16-bit handle */
    uint32_t *half_of;                     /* 16-bit handle + 1 by index */
    uint32_t half_cap;
    struct { uint64_t bits; uint8_t type; bool known; Residue r; } cache[LITERAL_CACHE];
    SimDecision *decisions;
    uint64_t ties;
    const PtxInst *taken_apart;
    bool full;                             /* more 16-bit values than there are handles */
};

/* type: PT_F16, PT_BF16, PT_F32 (PT_TF32), PT_F64 */
Residue  residue_of_bits(SimResidues *s, uint8_t type, uint64_t bits);
uint64_t residue_to_bits(SimResidues *s, uint8_t type, Residue r);
bool     residue_is_handle(const SimResidues *s, uint8_t type, uint64_t bits);
uint64_t literal_bits(uint8_t type, double v);                        /* the number itself, rounded to the format */
SimFlow  residue_step(void *arg, SimWarp *w, const PtxInst *inst, uint32_t mask);
SimFlow  residue_mma(SimResidues *s, SimWarp *w, const PtxInst *inst, uint32_t mask);
uint32_t residue_dot(void *arg, const PtxInst *inst, const double *a, const double *b, uint32_t k, int sign, bool accumulate, uint32_t c);
