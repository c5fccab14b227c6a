/* runtime/sim/exec_matrix.c — 8x8 matrices of 16-bit elements between shared memory and the registers of a warp. */
#include "runtime/sim/exec.h"
#include "runtime/sim/run.h"

enum { MATRIX_TRANS = 0x100, MATRIX_COUNT = 0xff };

/* These take the whole warp. */
static bool whole_warp(SimWarp *w, const PtxInst *inst, uint32_t mask, SimFlow *flow)
{
    (void)inst;
    *flow = FLOW_WAIT;
    if (!warp_gather(w, UINT32_MAX, &mask))
        return false;
    if (mask != UINT32_MAX)
        *flow = sim_fault(w, FAULT_DIVERGENT, (uint32_t)__builtin_ctz(mask), 0, NULL, true, "the instruction needs all lanes of the warp, here are %u",
                          (unsigned)__builtin_popcount(mask));
    return mask == UINT32_MAX;
}

static const PtxSlot *elements(const PtxOperand *o) { return o->kind == OPERAND_VECTOR ? o->vector : &o->slot; }

EXEC(exec_ldmatrix)
{
    SimFlow flow;
    uint64_t address[LANES];
    uint32_t n = inst->variant & MATRIX_COUNT;
    bool trans = inst->variant & MATRIX_TRANS;
    if (!whole_warp(w, inst, mask, &flow))
        return flow;
    operand_addresses(w, inst, &inst->operand[1], mask, address);
    if (w->machine->launch->profile)
        profile_access(w, inst, SPACE_SHARED, n < 4 ? (1u << 8 * n) - 1 : UINT32_MAX, address, 16);
    for (uint32_t k = 0; k < n; k++) {
        uint16_t m[8][8] = {{0}};
        for (uint32_t r = 0; r < 8; r++) {
            const uint8_t *p = lane_access(w, inst, 8 * k + r, (PtxSpace)inst->space, address[8 * k + r], 16, 16, ACCESS_LOAD);
            if (p)
                memcpy(m[r], p, 16);
        }
        uint32_t *d = slot_u32(w, elements(&inst->operand[0])[k]);
        for (uint32_t l = 0; l < LANES; l++) {
            uint32_t r = l / 4, c = l % 4 * 2;
            d[l] = trans ? m[c][r] | (uint32_t)m[c + 1][r] << 16 : m[r][c] | (uint32_t)m[r][c + 1] << 16;
        }
    }
    return FLOW_NEXT;
}

EXEC(exec_stmatrix)
{
    SimFlow flow;
    uint64_t address[LANES];
    uint32_t n = inst->variant & MATRIX_COUNT;
    bool trans = inst->variant & MATRIX_TRANS;
    if (!whole_warp(w, inst, mask, &flow))
        return flow;
    operand_addresses(w, inst, &inst->operand[0], mask, address);
    for (uint32_t k = 0; k < n; k++) {
        uint16_t m[8][8];
        const uint32_t *a = slot_u32(w, elements(&inst->operand[1])[k]);
        for (uint32_t l = 0; l < LANES; l++) {
            uint32_t r = l / 4, c = l % 4 * 2;
            m[trans ? c : r][trans ? r : c] = (uint16_t)a[l];
            m[trans ? c + 1 : r][trans ? r : c + 1] = (uint16_t)(a[l] >> 16);
        }
        for (uint32_t r = 0; r < 8; r++) {
            uint8_t *p = lane_access(w, inst, 8 * k + r, (PtxSpace)inst->space, address[8 * k + r], 16, 16, ACCESS_STORE);
            if (p)
                memcpy(p, m[r], 16);
        }
    }
    return FLOW_NEXT;
}

EXEC(exec_movmatrix)
{
    SimFlow flow;
    uint16_t m[8][8];
    if (!whole_warp(w, inst, mask, &flow))
        return flow;
    const uint32_t *a = COLUMN(const uint32_t, 1);
    for (uint32_t l = 0; l < LANES; l++) {
        m[l / 4][l % 4 * 2] = (uint16_t)a[l];
        m[l / 4][l % 4 * 2 + 1] = (uint16_t)(a[l] >> 16);
    }
    for (uint32_t l = 0; l < LANES; l++)
        COLUMN(uint32_t, 0)[l] = m[l % 4 * 2][l / 4] | (uint32_t)m[l % 4 * 2 + 1][l / 4] << 16;
    return FLOW_NEXT;
}

bool select_matrix(Selector *s, PtxInst *inst)
{
    bool load = inst->op == PO_LDMATRIX;
    if (!inst_has(inst, PM_M8N8) || inst->n_types != 1 || inst->type[0] != PT_B16)
        return select_missing(s, inst);
    if (inst->op == PO_MOVMATRIX) {
        inst->exec = exec_movmatrix;
        return select_operands(s, inst, 2, (const uint8_t[]){4, 4});
    }
    uint32_t n = inst_has(inst, PM_X4) ? 4 : inst_has(inst, PM_X2) ? 2 : 1;
    inst->variant = n | (inst_has(inst, PM_TRANS) ? MATRIX_TRANS : 0);
    inst->exec = load ? exec_ldmatrix : exec_stmatrix;
    if (inst->n_operands != 2 || inst->operand[load].kind != OPERAND_MEMORY)
        return select_bad(s, inst, "expected registers and an address");
    const PtxOperand *v = &inst->operand[!load];
    if ((v->kind != OPERAND_VECTOR || v->n != n) && !(v->kind == OPERAND_SLOT && n == 1))
        return select_bad(s, inst, "expected as many registers as matrices");
    for (uint32_t i = 0; i < n; i++)
        if (elements(v)[i].bytes != 4 || (load && elements(v)[i].base != SLOT_FRAME))
            return select_bad(s, inst, "an element is not a 32-bit register");
    return true;
}
