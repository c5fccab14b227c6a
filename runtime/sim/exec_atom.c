/* runtime/sim/exec_atom.c — atomics and reductions on memory: lane after lane. */
#include "runtime/sim/check.h"
#include "runtime/sim/exec.h"
#include "runtime/sim/fp.h"

typedef enum { ATOM_ADD, ATOM_MIN, ATOM_MAX, ATOM_INC, ATOM_DEC, ATOM_AND, ATOM_OR, ATOM_XOR, ATOM_EXCH, ATOM_CAS } AtomOp;

static uint64_t extend(uint8_t t, uint64_t v)
{
    return t == PT_S32 ? (uint64_t)(int64_t)(int32_t)v : v;
}

static uint64_t add_floats(uint8_t t, uint64_t a, uint64_t b)
{
    switch (t) {
    case PT_F32:  return canonical32(fp32((uint32_t)a) + fp32((uint32_t)b));
    case PT_F64:  return bits64(fp64(a) + fp64(b));
    case PT_F16:
    case PT_BF16: return fp_round(fp_fma_odd(fp_of_half(t, (uint16_t)a), 1.0, fp_of_half(t, (uint16_t)b)), t == PT_F16 ? &format_f16 : &format_bf16,
                                  ROUND_NEAREST, false);
    default: break;
    }
    uint8_t half = t == PT_F16X2 ? PT_F16 : PT_BF16;
    return add_floats(half, a & 0xffff, b & 0xffff) | add_floats(half, a >> 16 & 0xffff, b >> 16 & 0xffff) << 16;
}

static uint64_t minmax_halves(uint8_t t, uint64_t a, uint64_t b, bool min)
{
    uint8_t half = t == PT_F16X2 || t == PT_F16 ? PT_F16 : PT_BF16;
    uint64_t r = 0;
    for (uint32_t i = 0; i < ptx_type_bytes((PtxType)t) / 2; i++) {
        uint16_t x = (uint16_t)(a >> 16 * i), y = (uint16_t)(b >> 16 * i);
        double dx = fp_of_half(half, x), dy = fp_of_half(half, y);
        uint16_t z = dx != dx ? y : dy != dy ? x : (min ? dx < dy : dx > dy) ? x : y;
        r |= (uint64_t)z << 16 * i;
    }
    return r;
}

static uint64_t apply(uint8_t t, AtomOp op, uint64_t old, uint64_t b, uint64_t c)
{
    bool sign = ptx_type_class((PtxType)t) == 's';
    uint64_t x = extend(t, old), y = extend(t, b);
    switch (op) {
    case ATOM_ADD:  return type_is_float(t) ? add_floats(t, old, b) : old + b;
    case ATOM_MIN:  return type_is_float(t) ? minmax_halves(t, old, b, true) : (sign ? (int64_t)x < (int64_t)y : x < y) ? old : b;
    case ATOM_MAX:  return type_is_float(t) ? minmax_halves(t, old, b, false) : (sign ? (int64_t)x > (int64_t)y : x > y) ? old : b;
    case ATOM_INC:  return (uint32_t)old >= (uint32_t)b ? 0 : old + 1;
    case ATOM_DEC:  return (uint32_t)old == 0 || (uint32_t)old > (uint32_t)b ? b : old - 1;
    case ATOM_AND:  return old & b;
    case ATOM_OR:   return old | b;
    case ATOM_XOR:  return old ^ b;
    case ATOM_EXCH: return b;
    case ATOM_CAS:  return old == b ? c : old;
    }
    return old;
}

static const PtxSlot *elements(const PtxOperand *o) { return o->kind == OPERAND_VECTOR ? o->vector : &o->slot; }

enum { VARIANT_OP = 0xff, VARIANT_RELEASE = 0x100, VARIANT_ACQUIRE = 0x200 };

EXEC(exec_atom)
{
    uint64_t address[LANES];
    bool returns = inst->op == PO_ATOM;
    uint32_t memory = returns ? 1 : 0, bytes = ptx_type_bytes((PtxType)inst->type[0]);
    AtomOp op = (AtomOp)(inst->variant & VARIANT_OP);
    const PtxSlot *b = elements(&inst->operand[memory + 1]), *d = elements(&inst->operand[0]);
    unsigned order = (inst->variant & VARIANT_RELEASE ? ACCESS_RELEASE : 0) | (inst->variant & VARIANT_ACQUIRE ? ACCESS_ACQUIRE : 0);
    operand_addresses(w, inst, &inst->operand[memory], mask, address);
    for_lanes(l, mask) {
        uint8_t *p = lane_access(w, inst, l, (PtxSpace)inst->space, address[l], bytes * inst->vector, bytes * inst->vector,
                                 ACCESS_LOAD | ACCESS_STORE | ACCESS_ATOMIC | ACCESS_VOLATILE | order);
        for (uint32_t e = 0; p && e < inst->vector; e++, p += bytes) {
            uint64_t old = 0, c = op == ATOM_CAS ? slot_get(w, inst->operand[memory + 2].slot, l) : 0;
            memcpy(&old, p, bytes);
            uint64_t v = apply(inst->type[0], op, old, slot_get(w, b[e], l), c);
            memcpy(p, &v, bytes);
            if (returns && inst->operand[0].kind != OPERAND_NONE)
                slot_set(w, d[e], l, old);
        }
    }
    machine_changed(w->machine);
    return FLOW_YIELD;
}

/* 128-bit exchange and compare-and-swap. */
EXEC(exec_atom_128)
{
    uint64_t address[LANES];
    operand_addresses(w, inst, &inst->operand[1], mask, address);
    bool cas = (inst->variant & VARIANT_OP) == ATOM_CAS;
    for_lanes(l, mask) {
        uint8_t *p = lane_access(w, inst, l, (PtxSpace)inst->space, address[l], 16, 16, ACCESS_LOAD | ACCESS_STORE | ACCESS_ATOMIC | ACCESS_VOLATILE);
        if (!p)
            continue;
        uint64_t old[2], *b = slot_u64(w, inst->operand[2].slot), *c = slot_u64(w, inst->operand[cas ? 3 : 2].slot);
        memcpy(old, p, 16);
        if (!cas || (old[0] == b[l] && old[1] == b[LANES + l])) {
            uint64_t v[2] = {c[l], c[LANES + l]};
            memcpy(p, v, 16);
        }
        slot_u64(w, inst->operand[0].slot)[l] = old[0];
        slot_u64(w, inst->operand[0].slot)[LANES + l] = old[1];
    }
    machine_changed(w->machine);
    return FLOW_YIELD;
}

static bool atom_op(const PtxInst *i, uint32_t *out)
{
    static const struct { PtxMod m; AtomOp op; } rows[] = {
        {PM_ADD, ATOM_ADD}, {PM_MIN, ATOM_MIN}, {PM_MAX, ATOM_MAX}, {PM_INC, ATOM_INC}, {PM_DEC, ATOM_DEC}, {PM_AND, ATOM_AND}, {PM_OR, ATOM_OR},
        {PM_XOR, ATOM_XOR}, {PM_EXCH, ATOM_EXCH}, {PM_CAS, ATOM_CAS}};
    for (uint32_t k = 0; k < sizeof rows / sizeof *rows; k++)
        if (inst_has(i, rows[k].m)) {
            *out = rows[k].op;
            return true;
        }
    return false;
}

static bool check_elements(Selector *s, const PtxInst *inst, const PtxOperand *o, bool result)
{
    uint32_t bytes = ptx_type_bytes((PtxType)inst->type[0]);
    if (result && o->kind == OPERAND_NONE)
        return true;
    if (inst->vector > 1 ? o->kind != OPERAND_VECTOR || o->n != inst->vector : o->kind != OPERAND_SLOT)
        return select_bad(s, inst, "as many registers as elements are expected");
    for (uint32_t e = 0; e < inst->vector; e++) {
        PtxSlot x = elements(o)[e];
        if (!(result && x.bytes == 255) && (x.bytes != bytes || (result && x.base != SLOT_FRAME)))
            return select_bad(s, inst, "a register does not fit the type");
    }
    return true;
}

bool select_atom(Selector *s, PtxInst *inst)
{
    bool returns = inst->op == PO_ATOM;
    uint32_t memory = returns ? 1 : 0, bytes;
    if (inst_has(inst, PM_ASYNC) || !inst->n_types || !atom_op(inst, &inst->variant))
        return select_missing(s, inst);
    AtomOp op = (AtomOp)inst->variant;
    uint32_t n = memory + 2 + (op == ATOM_CAS);
    bytes = ptx_type_bytes((PtxType)inst->type[0]);
    bool half = inst->type[0] == PT_F16 || inst->type[0] == PT_BF16 || inst->type[0] == PT_F16X2 || inst->type[0] == PT_BF16X2;
    bool is_float = type_is_float(inst->type[0]);
    if (bytes < 2 || (is_float && op != ATOM_ADD && !(half && (op == ATOM_MIN || op == ATOM_MAX))) || inst->type[0] == PT_F32X2)
        return select_missing(s, inst);
    if (inst->n_operands < n || inst->n_operands > n + 1 || inst->operand[memory].kind != OPERAND_MEMORY)
        return select_bad(s, inst, "expected an address in brackets and its operands");
    if (inst_has(inst, PM_RELEASE) || inst_has(inst, PM_ACQ_REL))
        inst->variant |= VARIANT_RELEASE;
    if (inst_has(inst, PM_ACQUIRE) || inst_has(inst, PM_ACQ_REL))
        inst->variant |= VARIANT_ACQUIRE;
    inst->exec = bytes == 16 ? exec_atom_128 : exec_atom;
    return (!returns || check_elements(s, inst, &inst->operand[0], true)) && check_elements(s, inst, &inst->operand[memory + 1], false) &&
           (op != ATOM_CAS || check_elements(s, inst, &inst->operand[memory + 2], false)) && (bytes < 16 || returns || select_missing(s, inst));
}
