/* runtime/sim/residue_mma.c — mma.sync and wgmma over residues. Fragments are laid out as exec_mma.c says; a split into upper and lower parts
 * (tf32, f16) makes the upper part the number and the lower one zero, so that three products of splits are one product. */
#include "runtime/sim/exec.h"
#include "runtime/sim/residue_table.h"

enum { MAX_M = 16, MAX_K = 32, N = 8 };
typedef struct { Residue a[MAX_M][MAX_K], b[N][MAX_K]; } Fragments;

static const PtxSlot *slots(const PtxOperand *o) { return o->kind == OPERAND_VECTOR ? o->vector : &o->slot; }
static uint32_t count(const PtxOperand *o) { return o->kind == OPERAND_VECTOR ? o->n : 1; }
static uint32_t elements_of(uint8_t t) { return t == PT_F16 || t == PT_BF16 ? 2 : 1; }

static Residue element(SimResidues *s, const SimWarp *w, uint8_t type, PtxSlot slot, uint32_t l, uint32_t i)
{
    uint64_t bits = slot_get(w, slot, l);
    return residue_of_bits(s, type, elements_of(type) == 2 ? bits >> 16 * i & 0xffff : bits);
}

static void load(SimResidues *s, const SimWarp *w, const PtxInst *inst, uint32_t m, Fragments *f)
{
    uint32_t e = elements_of(inst->type[1]);
    for (uint32_t l = 0; l < LANES; l++)
        for (uint32_t i = 0; i < e; i++) {
            uint32_t group = l / 4, col = e * (l % 4) + i;
            for (uint32_t r = 0; r < count(&inst->operand[1]); r++)
                f->a[group + (m == 16 ? 8 * (r & 1) : 0)][col + 4 * e * (m == 16 ? r >> 1 : r)] = element(s, w, inst->type[1], slots(&inst->operand[1])[r], l, i);
            for (uint32_t r = 0; r < count(&inst->operand[2]); r++)
                f->b[group][col + 4 * e * r] = element(s, w, inst->type[2], slots(&inst->operand[2])[r], l, i);
        }
}

static uint64_t result(SimResidues *s, const SimWarp *w, const PtxInst *inst, const Fragments *f, uint32_t k, uint32_t r, uint32_t l)
{
    uint32_t e = inst->type[0] == PT_F16 ? 2 : 1;
    uint64_t out = 0;
    for (uint32_t i = 0; i < e; i++) {
        uint32_t row = l / 4 + 8 * (e == 2 ? r : r >> 1), col = l % 4 * 2 + (e == 2 ? i : r & 1);
        Residue sum = element(s, w, inst->type[0], slots(&inst->operand[3])[r], l, i);
        for (uint32_t j = 0; j < k; j++)
            sum = residue_fma(s->f, f->a[row][j], f->b[col][j], sum);
        out |= residue_to_bits(s, inst->type[0], sum) << 16 * i;
    }
    return out;
}

SimFlow residue_mma(SimResidues *s, SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    uint64_t d[4][LANES];
    Fragments f;
    uint32_t m = inst->variant & 0xff, k = inst->variant >> 8, n = count(&inst->operand[0]);
    if (!warp_gather(w, UINT32_MAX, &mask))
        return FLOW_WAIT;
    if (mask != UINT32_MAX)
        return exec_bits(w, inst, mask);                   /* says what is wrong */
    load(s, w, inst, m, &f);
    for (uint32_t r = 0; r < n; r++)
        for (uint32_t l = 0; l < LANES; l++)
            d[r][l] = result(s, w, inst, &f, k, r, l);
    for (uint32_t r = 0; r < n; r++)
        for (uint32_t l = 0; l < LANES; l++)
            slot_set(w, slots(&inst->operand[0])[r], l, d[r][l]);
    return FLOW_NEXT;
}

uint32_t residue_dot(void *arg, const PtxInst *inst, const double *a, const double *b, uint32_t k, int sign, bool accumulate, uint32_t c)
{
    SimResidues *s = arg;
    Residue sum = accumulate ? residue_of_bits(s, inst->type[0], c) : residue_integer(s->f, 0);
    for (uint32_t i = 0; i < k; i++) {
        Residue x = residue_of_bits(s, inst->type[1], (uint64_t)a[i]), y = residue_of_bits(s, inst->type[2], (uint64_t)b[i]);
        sum = residue_fma(s->f, sign < 0 ? residue_neg(s->f, x) : x, y, sum);
    }
    return (uint32_t)residue_to_bits(s, inst->type[0], sum);
}
