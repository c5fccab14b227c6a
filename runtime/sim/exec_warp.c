/* runtime/sim/exec_warp.c — exchange between the lanes of a warp. The .sync forms wait until all lanes of their mask are here. */
#include "runtime/sim/exec.h"

static const PtxOperand *mask_operand(const PtxInst *i) { return &i->operand[i->n_operands - 1]; }

/* Waits for the lanes that the membermask names, and checks that every running lane is among them. */
static bool gather(SimWarp *w, const PtxInst *inst, uint32_t mask, SimFlow *flow)
{
    if (!inst_has(inst, PM_SYNC))
        return true;
    uint32_t want = 0, outside = 0;
    for_lanes(l, mask) {
        uint32_t m = (uint32_t)slot_get(w, mask_operand(inst)->slot, l);
        want |= m;
        outside |= (uint32_t)!(m >> l & 1) << l;
    }
    if (outside) {
        *flow = sim_fault(w, FAULT_BAD_CALL, (uint32_t)__builtin_ctz(outside), 0, NULL, false, "the thread is not in its own membermask");
        return true;
    }
    *flow = FLOW_WAIT;
    return warp_gather(w, want, &mask) && (*flow = FLOW_NEXT, true);
}

static uint32_t shfl_source(const PtxInst *i, uint32_t l, uint32_t b, uint32_t c, bool *in)
{
    uint32_t clamp = c & 31, segment = c >> 8 & 31, top = (l & segment) | (clamp & ~segment), bottom = l & segment, j;
    b &= 31;
    if (inst_has(i, PM_UP)) {
        j = l - b;
        *in = (int32_t)j >= (int32_t)top;
    } else if (inst_has(i, PM_DOWN)) {
        j = l + b;
        *in = j <= top;
    } else if (inst_has(i, PM_BFLY)) {
        j = l ^ b;
        *in = j <= top;
    } else {
        j = bottom | (b & ~segment);
        *in = j <= top;
    }
    return *in ? j & 31 : l;
}

EXEC(exec_shfl)
{
    SimFlow flow = FLOW_NEXT;
    if (!gather(w, inst, mask, &flow))
        return flow;
    uint32_t out[LANES], p = 0;
    const uint32_t *a = COLUMN(const uint32_t, 1), *b = COLUMN(const uint32_t, 2), *c = COLUMN(const uint32_t, 3);
    for_lanes(l, mask) {
        bool in;
        uint32_t j = shfl_source(inst, l, b[l], c[l], &in);
        out[l] = a[j];
        p |= (uint32_t)in << l;
    }
    if (inst->operand[0].kind == OPERAND_SLOT)
        for_lanes(l, mask)
            COLUMN(uint32_t, 0)[l] = out[l];
    if (inst->operand[0].has_second)
        slot_set_pred(w, inst->operand[0].second, mask, p);
    return flow;
}

EXEC(exec_vote)
{
    SimFlow flow = FLOW_NEXT;
    if (!gather(w, inst, mask, &flow))
        return flow;
    uint32_t p = slot_pred(w, inst->operand[1].slot) & mask;
    if (inst_has(inst, PM_BALLOT)) {
        for_lanes(l, mask)
            COLUMN(uint32_t, 0)[l] = p;
        return flow;
    }
    bool yes = inst_has(inst, PM_ALL) ? p == mask : inst_has(inst, PM_ANY) ? p != 0 : p == 0 || p == mask;
    slot_set_pred(w, inst->operand[0].slot, mask, yes ? UINT32_MAX : 0);
    return flow;
}

EXEC(exec_match)
{
    SimFlow flow = FLOW_NEXT;
    if (!gather(w, inst, mask, &flow))
        return flow;
    PtxSlot a = inst->operand[1].slot;
    uint32_t same[LANES], all = UINT32_MAX;
    for_lanes(l, mask) {
        same[l] = 0;
        for_lanes(k, mask)
            same[l] |= (uint32_t)(slot_get(w, a, l) == slot_get(w, a, k)) << k;
        all &= same[l];
    }
    bool agree = (all & mask) == mask;
    for_lanes(l, mask)
        COLUMN(uint32_t, 0)[l] = inst_has(inst, PM_ANY) ? same[l] : agree ? mask : 0;
    if (inst->operand[0].has_second)
        slot_set_pred(w, inst->operand[0].second, mask, agree ? UINT32_MAX : 0);
    return flow;
}

static uint32_t reduce(const PtxInst *i, uint32_t a, uint32_t b)
{
    bool sign = i->type[0] == PT_S32;
    if (inst_has(i, PM_ADD))
        return a + b;
    if (inst_has(i, PM_MIN))
        return sign ? ((int32_t)a < (int32_t)b ? a : b) : a < b ? a : b;
    if (inst_has(i, PM_MAX))
        return sign ? ((int32_t)a > (int32_t)b ? a : b) : a > b ? a : b;
    return inst_has(i, PM_AND) ? a & b : inst_has(i, PM_OR) ? a | b : a ^ b;
}

EXEC(exec_redux)
{
    SimFlow flow = FLOW_NEXT;
    if (!gather(w, inst, mask, &flow))
        return flow;
    const uint32_t *a = COLUMN(const uint32_t, 1);
    uint32_t first = (uint32_t)__builtin_ctz(mask), r = a[first];
    for_lanes(l, mask & (mask - 1))
        r = reduce(inst, r, a[l]);
    for_lanes(l, mask)
        COLUMN(uint32_t, 0)[l] = r;
    return flow;
}

EXEC(exec_activemask)
{
    for_lanes(l, mask)
        COLUMN(uint32_t, 0)[l] = mask;
    return FLOW_NEXT;
}

EXEC(exec_elect)
{
    SimFlow flow = FLOW_NEXT;
    if (!gather(w, inst, mask, &flow))
        return flow;
    uint32_t leader = (uint32_t)__builtin_ctz(mask);
    if (inst->operand[0].kind == OPERAND_SLOT)
        for_lanes(l, mask)
            COLUMN(uint32_t, 0)[l] = leader;
    if (inst->operand[0].has_second)
        slot_set_pred(w, inst->operand[0].second, mask, 1u << leader);
    return flow;
}

static bool check_operands(Selector *s, const PtxInst *inst, uint32_t n, const uint8_t *bytes)
{
    if (inst->n_operands != n)
        return select_bad(s, inst, "takes another number of operands");
    for (uint32_t i = 0; i < n; i++) {
        const PtxOperand *o = &inst->operand[i];
        bool sink = i == 0 && o->kind == OPERAND_NONE && o->has_second;
        if (!sink && (o->kind != OPERAND_SLOT || (bytes[i] != ANY_WIDTH && o->slot.bytes != bytes[i]) || (i == 0 && o->slot.base != SLOT_FRAME)))
            return select_bad(s, inst, "an operand has the wrong width");
        if (o->has_second && (o->second.bytes != 0 || o->second.base != SLOT_FRAME) && !slot_is_sink(o->second))
            return select_bad(s, inst, "the second result must be a predicate");
    }
    return true;
}

bool select_warp(Selector *s, PtxInst *inst)
{
    bool sync = inst_has(inst, PM_SYNC);
    switch (inst->op) {
    case PO_SHFL:
        inst->exec = exec_shfl;
        return check_operands(s, inst, sync ? 5 : 4, (const uint8_t[]){4, 4, 4, 4, 4});
    case PO_VOTE:
        inst->exec = exec_vote;
        return check_operands(s, inst, sync ? 3 : 2, (const uint8_t[]){inst_has(inst, PM_BALLOT) ? 4 : 0, 0, 4});
    case PO_MATCH:
        inst->exec = exec_match;
        return check_operands(s, inst, 3, (const uint8_t[]){4, (uint8_t)ptx_type_bytes((PtxType)inst->type[0]), 4});
    case PO_REDUX:
        inst->exec = exec_redux;
        if (inst->type[0] != PT_S32 && inst->type[0] != PT_U32 && inst->type[0] != PT_B32)
            return select_missing(s, inst);
        return check_operands(s, inst, 3, (const uint8_t[]){4, 4, 4});
    case PO_ACTIVEMASK:
        inst->exec = exec_activemask;
        return check_operands(s, inst, 1, (const uint8_t[]){4});
    default:
        inst->exec = exec_elect;
        return check_operands(s, inst, 2, (const uint8_t[]){4, 4});
    }
}
