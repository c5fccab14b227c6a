/* runtime/sim/exec_mem.c — loads, stores, fences. */
#include "runtime/sim/check.h"
#include "runtime/sim/exec.h"
#include "runtime/sim/run.h"

static unsigned order_of(const PtxInst *i)
{
    unsigned a = inst_has(i, PM_VOLATILE) || inst_has(i, PM_RELAXED) || inst_has(i, PM_MMIO) ? ACCESS_VOLATILE : 0;
    if (inst_has(i, PM_ACQUIRE) || inst_has(i, PM_ACQ_REL))
        a |= ACCESS_VOLATILE | ACCESS_ACQUIRE;
    if (inst_has(i, PM_RELEASE) || inst_has(i, PM_ACQ_REL))
        a |= ACCESS_VOLATILE | ACCESS_RELEASE;
    return a;
}

static uint64_t load_element(uint8_t type, const uint8_t *p)
{
    uint64_t v = 0;
    uint32_t bytes = ptx_type_bytes((PtxType)type);
    memcpy(&v, p, bytes > 8 ? 8 : bytes);
    if (ptx_type_class((PtxType)type) == 's' && bytes < 8 && v >> (8 * bytes - 1))
        v |= ~UINT64_C(0) << (8 * bytes);
    return v;
}

static const PtxSlot *elements(const PtxOperand *o) { return o->kind == OPERAND_VECTOR ? o->vector : &o->slot; }

/* The space that an operand's address is of: variables of a frame lie in local memory. */
static PtxSpace space_for(const PtxInst *i, const PtxOperand *o)
{
    return o->in_frame ? SPACE_LOCAL : o->in_params ? SPACE_PARAM : (PtxSpace)i->space;
}

EXEC(exec_ld_param)                    /* of a kernel: the same for all lanes */
{
    uint32_t bytes = ptx_type_bytes((PtxType)inst->type[0]);
    const PtxSlot *d = elements(&inst->operand[0]);
    const SimMachine *m = w->machine;
    for (uint32_t e = 0; e < inst->vector; e++) {
        uint64_t v = load_element(inst->type[0], m->params + inst->operand[1].offset + e * bytes);
        for_lanes(l, mask)
            slot_set(w, d[e], l, v);
    }
    return FLOW_NEXT;
}

EXEC(exec_ld)
{
    uint64_t address[LANES];
    uint32_t bytes = ptx_type_bytes((PtxType)inst->type[0]), all = bytes * inst->vector;
    const PtxSlot *d = elements(&inst->operand[0]);
    PtxSpace space = space_for(inst, &inst->operand[1]);
    unsigned order = inst->variant;
    operand_addresses(w, inst, &inst->operand[1], mask, address);
    if (w->machine->launch->profile && space != SPACE_LOCAL && space != SPACE_PARAM)
        profile_access(w, inst, (PtxSpace)inst->space, mask, address, all);
    for_lanes(l, mask) {
        static const uint8_t nothing[64];
        const uint8_t *p = lane_access(w, inst, l, space, address[l], all, all, ACCESS_LOAD | order);
        p = p ? p : nothing;
        for (uint32_t e = 0; e < inst->vector; e++, p += bytes) {
            if (bytes == 4 && d[e].bytes == 4) {
                memcpy(&slot_u32(w, d[e])[l], p, 4);
            } else if (bytes == 16) {
                memcpy(&slot_u64(w, d[e])[l], p, 8);
                memcpy(&slot_u64(w, d[e])[LANES + l], p + 8, 8);
            } else {
                slot_set(w, d[e], l, load_element(inst->type[0], p));
            }
        }
    }
    return order ? FLOW_YIELD : FLOW_NEXT;
}

EXEC(exec_st)
{
    uint64_t address[LANES];
    uint32_t bytes = ptx_type_bytes((PtxType)inst->type[0]), all = bytes * inst->vector;
    const PtxSlot *a = elements(&inst->operand[1]);
    PtxSpace space = space_for(inst, &inst->operand[0]);
    unsigned order = inst->variant;
    operand_addresses(w, inst, &inst->operand[0], mask, address);
    if (w->machine->launch->profile && space != SPACE_LOCAL && space != SPACE_PARAM)
        profile_access(w, inst, (PtxSpace)inst->space, mask, address, all);
    for_lanes(l, mask) {
        uint8_t *p = lane_access(w, inst, l, space, address[l], all, all, ACCESS_STORE | order);
        for (uint32_t e = 0; p && e < inst->vector; e++, p += bytes) {
            uint64_t v = slot_get(w, a[e], l);
            memcpy(p, &v, bytes > 8 ? 8 : bytes);
            if (bytes == 16)
                memcpy(p + 8, &slot_u64(w, a[e])[LANES + l], 8);
        }
    }
    if (order) {
        machine_changed(w->machine);
        return FLOW_YIELD;
    }
    return FLOW_NEXT;
}

static bool check_value(Selector *s, const PtxInst *inst, const PtxOperand *o)
{
    uint32_t bytes = ptx_type_bytes((PtxType)inst->type[0]);
    if (inst->vector > 1 ? o->kind != OPERAND_VECTOR || o->n != inst->vector : o->kind != OPERAND_SLOT && !(o->kind == OPERAND_VECTOR && o->n == 1))
        return select_bad(s, inst, "as many registers as elements are expected");
    for (uint32_t e = 0; e < inst->vector; e++) {
        PtxSlot x = elements(o)[e];
        bool loads = inst->op != PO_ST;
        if (x.bytes == 255 ? !loads : x.bytes == 0 || x.bytes < (bytes < 2 ? 2 : bytes) || (loads && x.base != SLOT_FRAME))
            return select_bad(s, inst, "a register does not fit the type");
        if (bytes == 16 && x.bytes != 16)
            return select_bad(s, inst, "a register does not fit the type");
    }
    return true;
}

/* Besides result and address a cache policy may stand. */
static bool check_shape(Selector *s, const PtxInst *inst, uint32_t value, uint32_t memory)
{
    if (inst->n_types != 1 || inst->type[0] == PT_PRED || inst->n_operands < 2 || inst->n_operands > 3)
        return select_missing((Selector *)s, (PtxInst *)(uintptr_t)inst);
    if (inst->operand[memory].kind != OPERAND_MEMORY || inst->operand[memory].n)
        return select_bad(s, inst, "expected an address in brackets");
    if (ptx_type_bytes((PtxType)inst->type[0]) * inst->vector > 32)
        return select_bad(s, inst, "more than 32 bytes at once");
    return check_value(s, inst, &inst->operand[value]);
}

bool select_ld(Selector *s, PtxInst *inst)
{
    if (!check_shape(s, inst, 0, 1))
        return false;
    const PtxOperand *m = &inst->operand[1];
    uint32_t all = ptx_type_bytes((PtxType)inst->type[0]) * inst->vector;
    inst->variant = order_of(inst);
    inst->exec = exec_ld;
    if (m->in_params && m->offset >= 0 && (uint64_t)m->offset + all <= s->function->param_bytes)
        inst->exec = exec_ld_param;
    return true;
}

bool select_st(Selector *s, PtxInst *inst)
{
    inst->variant = order_of(inst);
    inst->exec = exec_st;
    return check_shape(s, inst, 1, 0);
}

/* ---- fences ---- */

EXEC(exec_fence)
{
    if (w->machine->check)
        check_fence(w->machine->check, w, mask);
    if (w->machine->check && inst_has(inst, PM_PROXY) && inst_has(inst, PM_ASYNC) && !inst_has(inst, PM_GLOBAL))
        check_proxy_fence(w->machine->check, w, mask);
    machine_changed(w->machine);
    return FLOW_NEXT;
}

bool select_fence(Selector *s, PtxInst *inst)
{
    (void)s;
    inst->exec = exec_fence;
    return true;
}

/* createpolicy: hints have no effect. */
EXEC(exec_createpolicy)
{
    for_lanes(l, mask)
        slot_set(w, inst->operand[0].slot, l, 0);
    return FLOW_NEXT;
}

bool select_createpolicy(Selector *s, PtxInst *inst)
{
    inst->exec = exec_createpolicy;
    return (inst->n_operands && inst->operand[0].kind == OPERAND_SLOT && inst->operand[0].slot.base == SLOT_FRAME) ||
           select_bad(s, inst, "the result must be a register");
}
