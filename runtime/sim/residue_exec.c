/* runtime/sim/residue_exec.c — instructions over handles. What only moves bits runs as it is; comparisons run on stand-ins (-1, 0, 1,
 * NaN for how the residues order), so that their predicates are combined by the code that there is. */
#include "runtime/sim/exec.h"
#include "runtime/sim/fp.h"
#include "runtime/sim/residue_table.h"
#include <math.h>

static uint8_t element_type(uint8_t t) { return t == PT_F16X2 ? PT_F16 : t == PT_BF16X2 ? PT_BF16 : t == PT_F32X2 ? PT_F32 : t; }
static uint32_t element_bytes(uint8_t t) { return ptx_type_bytes((PtxType)element_type(t)); }
static uint64_t field(uint64_t bits, uint32_t bytes, uint32_t e) { return bytes == 8 ? bits : bits >> (8 * bytes * e) & ((UINT64_C(1) << 8 * bytes) - 1); }

static SimDecision *decision(SimResidues *s, const PtxInst *inst) { return &s->decisions[inst - s->module->code.data]; }
static void count(SimDecision *d, bool yes) { *(yes ? &d->is_true : &d->is_false) += 1; }

static SimFlow unsupported(SimWarp *w, const PtxInst *inst)
{
    return sim_fault(w, FAULT_BAD_CALL, UINT32_MAX, 0, NULL, true, "the residue domain has no %s here", ptx_op_name((PtxOp)inst->op));
}

/* ---- arithmetic ------------------------------------------------------------------------------------------------------------------ */
/* x + 1.5·2^23 is a way to round x to an integer: the result is one, by the double. */
static bool rounds_by_magic(const SimResidues *s, const PtxInst *inst, uint8_t type, const uint64_t *raw, uint32_t n, Residue *r)
{
    if (type != PT_F32 || (inst->op != PO_ADD && inst->op != PO_SUB && inst->op != PO_FMA))
        return false;
    bool magic = false, handles = false;
    for (uint32_t k = 0; k < n; k++) {
        bool handle = residue_is_handle(s, type, raw[k]);
        double size = handle ? 0 : fabs((double)fp32((uint32_t)raw[k]));
        handles |= handle;
        magic |= (inst->op != PO_FMA || k == 2) && size >= 0x1p23 && size < 0x1p24;
    }
    if (!magic || !handles || !(fabs(r->v) >= 0x1p22 && fabs(r->v) < 0x1p24))
        return false;
    double v = inst_has(inst, PM_RM) ? floor(r->v) : inst_has(inst, PM_RP) ? ceil(r->v) : inst_has(inst, PM_RZ) ? trunc(r->v) : rint(r->v);
    *r = residue_integer(s->f, (int64_t)v);
    return true;
}

static Residue extreme(SimResidues *s, const PtxInst *inst, Residue a, Residue b)
{
    bool tie = false, max = inst->op == PO_MAX;
    if (a.v != a.v || b.v != b.v)
        return inst_has(inst, PM_NAN) ? (a.v != a.v ? a : b) : a.v != a.v ? b : a;
    int order = residue_order(a, b, &tie);
    s->ties += tie;
    if (order)
        count(decision(s, inst), (order > 0) == max);
    return max ? residue_max(a, b, &tie) : residue_min(a, b, &tie);
}

static Residue calculate(SimResidues *s, const PtxInst *inst, const Residue *x, uint32_t n)
{
    const ResidueField *f = s->f;
    switch (inst->op) {
    case PO_ADD:   return residue_add(f, x[0], x[1]);
    case PO_SUB:   return residue_sub(f, x[0], x[1]);
    case PO_MUL:   return residue_mul(f, x[0], x[1]);
    case PO_DIV:   return residue_div(f, x[0], x[1]);
    case PO_FMA: case PO_MAD: return residue_fma(f, x[0], x[1], x[2]);
    case PO_RCP:   return residue_reciprocal(f, x[0]);
    case PO_SQRT:  return residue_function(f, RF_SQRT, x[0]);
    case PO_RSQRT: return residue_function(f, RF_RSQRT, x[0]);
    case PO_SIN:   return residue_function(f, RF_SIN, x[0]);
    case PO_COS:   return residue_function(f, RF_COS, x[0]);
    case PO_LG2:   return residue_function(f, RF_LOG2, x[0]);
    case PO_EX2:   return residue_function(f, RF_EXP2, x[0]);
    case PO_TANH:  return residue_function(f, RF_TANH, x[0]);
    case PO_NEG:   return residue_neg(f, x[0]);
    case PO_ABS:   return x[0].v < 0 ? residue_neg(f, x[0]) : x[0];
    case PO_COPYSIGN: return signbit(x[0].v) != signbit(x[1].v) ? residue_neg(f, x[1]) : x[1];
    default: break;
    }
    Residue r = extreme(s, inst, x[0], x[1]);              /* min, max */
    return n > 2 ? extreme(s, inst, r, x[2]) : r;
}

/* .sat and .relu, by the double. */
static Residue adjusted(const SimResidues *s, const PtxInst *inst, Residue r)
{
    if (inst_has(inst, PM_SAT) && !(r.v > 0 && r.v < 1))
        return residue_integer(s->f, r.v >= 1);
    if (inst_has(inst, PM_RELU) && !(r.v > 0))
        return residue_integer(s->f, 0);
    return r;
}

static uint64_t element(SimResidues *s, const PtxInst *inst, uint8_t type, const uint64_t *raw, uint32_t n)
{
    Residue x[3] = {{0}};
    for (uint32_t k = 0; k < n; k++)
        x[k] = residue_of_bits(s, type, raw[k]);
    Residue r = calculate(s, inst, x, n);
    if (!rounds_by_magic(s, inst, type, raw, n, &r))
        r = adjusted(s, inst, r);
    return residue_to_bits(s, type, r);
}

static SimFlow arithmetic(SimResidues *s, SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    uint8_t type = element_type(inst->type[0]);
    uint32_t bytes = element_bytes(inst->type[0]), elements = ptx_type_bytes((PtxType)inst->type[0]) / bytes, n = inst->n_operands - 1u;
    if (n < 1 || n > 3 || inst->n_types != 1)
        return unsupported(w, inst);
    for_lanes(l, mask) {
        uint64_t in[3] = {0}, raw[3] = {0}, out = 0;
        for (uint32_t k = 0; k < n; k++)
            in[k] = slot_get(w, inst->operand[k + 1].slot, l);
        for (uint32_t e = 0; e < elements; e++) {
            for (uint32_t k = 0; k < n; k++)
                raw[k] = field(in[k], bytes, e);
            out |= element(s, inst, type, raw, n) << (bytes == 8 ? 0 : 8 * bytes * e);
        }
        slot_set(w, inst->operand[0].slot, l, out);
    }
    return FLOW_NEXT;
}

/* ---- on stand-ins ------------------------------------------------------------------------------------------------------------------ */
static bool same_slot(PtxSlot a, PtxSlot b) { return a.slot == b.slot && a.base == b.base; }

typedef struct { uint64_t bits[2][LANES]; } Saved;

static void save(const SimWarp *w, const PtxInst *inst, uint32_t first, uint32_t n, uint32_t mask, Saved *saved)
{
    for (uint32_t k = 0; k < n; k++)
        for_lanes(l, mask)
            saved->bits[k][l] = slot_get(w, inst->operand[first + k].slot, l);
}

static void restore(SimWarp *w, const PtxInst *inst, uint32_t first, uint32_t n, uint32_t mask, const Saved *saved)
{
    for (uint32_t k = 0; k < n; k++) {
        PtxSlot slot = inst->operand[first + k].slot;
        if (inst->operand[0].kind == OPERAND_SLOT && same_slot(slot, inst->operand[0].slot) && inst->operand[0].slot.bytes)
            continue;                                      /* the result is there now */
        for_lanes(l, mask)
            slot_set(w, slot, l, saved->bits[k][l]);
    }
}

/* Both operands as numbers that compare as the residues do. */
static SimFlow compare(SimResidues *s, SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    uint8_t packed = inst->type[inst->n_types - 1], type = element_type(packed);
    uint32_t bytes = element_bytes(packed), elements = ptx_type_bytes((PtxType)packed) / bytes;
    PtxSlot a = inst->operand[1].slot, b = inst->operand[2].slot;
    bool same = same_slot(a, b);
    Saved saved;
    save(w, inst, 1, 2, mask, &saved);
    for_lanes(l, mask) {
        uint64_t x = 0, y = 0;
        for (uint32_t e = 0; e < elements; e++) {
            bool tie;
            int order = residue_order(residue_of_bits(s, type, field(saved.bits[0][l], bytes, e)),
                                      residue_of_bits(s, type, field(saved.bits[1][l], bytes, e)), &tie);
            s->ties += tie;
            if (order != 2)
                count(decision(s, inst), order > 0);
            x |= literal_bits(type, order == 2 ? NAN : order) << (bytes == 8 ? 0 : 8 * bytes * e);
        }
        slot_set(w, b, l, y);
        slot_set(w, a, l, same && x != literal_bits(type, NAN) ? 0 : x);
    }
    SimFlow flow = exec_bits(w, inst, mask);
    restore(w, inst, 1, 2, mask, &saved);
    return flow;
}

/* The operand as its double, rounded to its format: to an integer, to a class of numbers. */
static SimFlow by_the_double(SimResidues *s, SimWarp *w, const PtxInst *inst, uint8_t type, uint32_t mask)
{
    Saved saved;
    save(w, inst, 1, 1, mask, &saved);
    for_lanes(l, mask)
        slot_set(w, inst->operand[1].slot, l, literal_bits(type, residue_of_bits(s, type, saved.bits[0][l]).v));
    SimFlow flow = exec_bits(w, inst, mask);
    restore(w, inst, 1, 1, mask, &saved);
    return flow;
}

/* ---- conversions --------------------------------------------------------------------------------------------------------------------- */
static bool is_float(uint8_t t) { return type_is_float(t) || t == PT_TF32; }

static Residue rounded(const SimResidues *s, const PtxInst *inst, Residue r)
{
    static const struct { PtxMod m; ResidueRounding r; } rows[] = {
        {PM_RNI, RESIDUE_NEAREST}, {PM_RZI, RESIDUE_TRUNC}, {PM_RMI, RESIDUE_FLOOR}, {PM_RPI, RESIDUE_CEIL},
    };
    for (uint32_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (inst_has(inst, rows[i].m))
            r = residue_round(s->f, rows[i].r, r);
    return adjusted(s, inst, r);
}

static uint64_t converted(SimResidues *s, const PtxInst *inst, uint8_t to, uint8_t from, uint64_t raw)
{
    return residue_to_bits(s, to, rounded(s, inst, residue_of_bits(s, from, raw)));
}

static SimFlow convert(SimResidues *s, SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    uint8_t to = inst->type[0], from = inst->type[1];
    if (!is_float(from))
        return exec_bits(w, inst, mask);
    if (!is_float(to))
        return ptx_type_class((PtxType)to) == 'x' ? unsupported(w, inst) : by_the_double(s, w, inst, element_type(from), mask);
    uint8_t to_e = element_type(to), from_e = element_type(from);
    for_lanes(l, mask) {
        uint64_t a = slot_get(w, inst->operand[1].slot, l), r;
        if (to_e == to) {
            r = converted(s, inst, to_e, from_e, field(a, element_bytes(from), 0));
        } else {                                           /* two into one register: the first operand is the upper half */
            bool one = inst->n_operands == 2;
            uint64_t high = one ? field(a, element_bytes(from), 1) : a, low = one ? field(a, element_bytes(from), 0) : slot_get(w, inst->operand[2].slot, l);
            r = converted(s, inst, to_e, from_e, high) << 8 * element_bytes(to) | converted(s, inst, to_e, from_e, low);
        }
        slot_set(w, inst->operand[0].slot, l, r);
    }
    return FLOW_NEXT;
}

/* ---- floats taken apart ------------------------------------------------------------------------------------------------------------------------- */
static SimFlow integer(SimResidues *s, SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    for (uint32_t k = 1; k < inst->n_operands && !s->taken_apart; k++) {
        const PtxOperand *o = &inst->operand[k];
        if (o->kind != OPERAND_SLOT || o->slot.bytes != 4 || o->slot.base != SLOT_FRAME)
            continue;
        for_lanes(l, mask) {
            uint32_t a = slot_u32(w, o->slot)[l], other = inst->n_operands == 3 && k == 1 ? (uint32_t)slot_get(w, inst->operand[2].slot, l) : 0;
            bool halves = (inst->op == PO_AND && (other == 0xffff0000 || other == 0xffff)) || ((inst->op == PO_SHR || inst->op == PO_SHL) && other == 16);
            if (!halves && residue_is_handle(s, PT_F32, a))
                s->taken_apart = inst;
        }
    }
    return exec_bits(w, inst, mask);
}

/* ---- signs by bits: xor with the sign bit, and without it ------------------------------------------------------------------------------ */
static bool sign_mask(const PtxInst *inst, uint32_t b, bool *pair)
{
    uint32_t sign = inst->op == PO_XOR ? b : ~b;
    *pair = sign == 0x80008000;
    return sign == 0x80000000 || *pair;
}

static uint64_t signed_bits(SimResidues *s, const PtxInst *inst, uint8_t type, uint64_t raw)
{
    Residue r = residue_of_bits(s, type, raw);
    return residue_to_bits(s, type, inst->op == PO_XOR || r.v < 0 ? residue_neg(s->f, r) : r);
}

static SimFlow logic(SimResidues *s, SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    uint32_t rest = mask;
    if (inst->n_operands != 3 || inst->operand[0].slot.bytes != 4)
        return exec_bits(w, inst, mask);
    for_lanes(l, mask) {
        uint64_t a = slot_get(w, inst->operand[1].slot, l), b = slot_get(w, inst->operand[2].slot, l);
        bool pair;
        if (!sign_mask(inst, (uint32_t)b, &pair))
            continue;
        bool high = pair && residue_is_handle(s, PT_BF16, a >> 16), low = pair && residue_is_handle(s, PT_BF16, a & 0xffff);
        uint64_t r;
        if (pair && (high || low)) {
            uint64_t plain = inst->op == PO_XOR ? a ^ b : a & b;
            r = (high ? signed_bits(s, inst, PT_BF16, a >> 16) : plain >> 16) << 16 | (low ? signed_bits(s, inst, PT_BF16, a & 0xffff) : plain & 0xffff);
        } else if (!pair && residue_is_handle(s, PT_F32, a)) {
            r = signed_bits(s, inst, PT_F32, a);
        } else {
            continue;
        }
        slot_set(w, inst->operand[0].slot, l, r);
        rest &= ~(1u << l);
    }
    return rest ? integer(s, w, inst, rest) : FLOW_NEXT;
}

/* ---- memory ------------------------------------------------------------------------------------------------------------------------------- */
static uint64_t combined(SimResidues *s, const PtxInst *inst, uint8_t type, uint64_t old, uint64_t b)
{
    Residue x = residue_of_bits(s, type, old), y = residue_of_bits(s, type, b);
    bool tie = false;
    Residue r = inst_has(inst, PM_ADD) ? residue_add(s->f, x, y) : inst_has(inst, PM_MAX) ? residue_max(x, y, &tie) : residue_min(x, y, &tie);
    s->ties += tie;
    return residue_to_bits(s, type, r);
}

static SimFlow atomic(SimResidues *s, SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    uint64_t address[LANES];
    bool returns = inst->op == PO_ATOM;
    uint32_t memory = returns ? 1 : 0, whole = ptx_type_bytes((PtxType)inst->type[0]), bytes = element_bytes(inst->type[0]);
    const PtxOperand *b = &inst->operand[memory + 1], *d = &inst->operand[0];
    operand_addresses(w, inst, &inst->operand[memory], mask, address);
    for_lanes(l, mask) {
        uint8_t *p = lane_access(w, inst, l, (PtxSpace)inst->space, address[l], whole * inst->vector, whole * inst->vector,
                                 ACCESS_LOAD | ACCESS_STORE | ACCESS_ATOMIC | ACCESS_VOLATILE);
        for (uint32_t v = 0; p && v < inst->vector; v++, p += whole) {
            uint64_t old = 0, out = 0, add = slot_get(w, b->kind == OPERAND_VECTOR ? b->vector[v] : b->slot, l);
            memcpy(&old, p, whole);
            for (uint32_t e = 0; e < whole / bytes; e++)
                out |= combined(s, inst, element_type(inst->type[0]), field(old, bytes, e), field(add, bytes, e)) << (bytes == 8 ? 0 : 8 * bytes * e);
            memcpy(p, &out, whole);
            if (returns && d->kind != OPERAND_NONE)
                slot_set(w, d->kind == OPERAND_VECTOR ? d->vector[v] : d->slot, l, old);
        }
    }
    machine_changed(w->machine);
    return FLOW_YIELD;
}

/* ---- calls of math functions ----------------------------------------------------------------------------------------------------------------- */
typedef struct { const char *name; int fn; } MathName;
enum { MATH_POW = RF_COUNT, MATH_NONE };

static int math_function(const PtxFunction *f)
{
    static const MathName names[] = {
#define X(e, name) {#name, RF_##e},
        RESIDUE_FUNCTIONS(X)
#undef X
        {"pow", MATH_POW},
    };
    const char *name = f->name;
    bool lifted = strncmp(name, "pawl_", 5) == 0 || strncmp(name, "__nv_", 5) == 0;
    if (!lifted && !f->is_extern)
        return MATH_NONE;
    name += lifted ? 5 : 0;
    for (uint32_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = strlen(names[i].name);
        if (strncmp(name, names[i].name, n) == 0 && strcmp(name + n, "f") == 0)
            return names[i].fn;
    }
    return MATH_NONE;
}

static uint8_t *frame(SimWarp *w, uint32_t lane, const PtxVar *v) { return w->local + (uint64_t)lane * w->local_bytes + w->now->local + v->at; }

static uint64_t argument(SimWarp *w, const PtxOperand *list, uint32_t l, uint32_t k)
{
    uint32_t v = 0;
    if (!list->list)
        return slot_get(w, list->vector[k], l);
    memcpy(&v, frame(w, l, list->list[k]), 4);
    return v;
}

static void give(SimWarp *w, const PtxOperand *list, uint32_t l, uint32_t v)
{
    if (!list->list) {
        slot_set(w, list->vector[0], l, v);
        return;
    }
    const PtxVar *to = list->list[0];
    uint64_t row = w->local_bytes / 64 + 1;
    memcpy(frame(w, l, to), &v, 4);
    for (uint64_t b = w->now->local + to->at; b < w->now->local + to->at + to->bytes; b++)
        w->local_init[l * row + b / 64] |= UINT64_C(1) << (b % 64);
}

static SimFlow call(SimResidues *s, SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    bool has_result = inst->n_operands == 3 && inst->operand[0].kind == OPERAND_LIST && inst->operand[1].kind == OPERAND_FUNCTION;
    int fn = has_result && inst->operand[2].kind == OPERAND_LIST ? math_function(inst->operand[1].function) : MATH_NONE;
    if (fn == MATH_NONE || inst->operand[2].n != (fn == MATH_POW ? 2 : 1))
        return exec_bits(w, inst, mask);
    for_lanes(l, mask) {
        Residue a = residue_of_bits(s, PT_F32, argument(w, &inst->operand[2], l, 0));
        Residue r = fn == MATH_POW ? residue_pow(s->f, a, residue_of_bits(s, PT_F32, argument(w, &inst->operand[2], l, 1)))
                                   : residue_function(s->f, (ResidueFunction)fn, a);
        give(w, &inst->operand[0], l, (uint32_t)residue_to_bits(s, PT_F32, r));
    }
    return FLOW_NEXT;
}

/* ---- which is which ------------------------------------------------------------------------------------------------------------------------------ */
static SimFlow step(SimResidues *s, SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    bool floats = type_is_float(inst->type[0]);
    switch (inst->op) {
    case PO_ADD: case PO_SUB: case PO_MUL: case PO_DIV: case PO_FMA: case PO_MAD: case PO_RCP: case PO_SQRT: case PO_RSQRT: case PO_SIN:
    case PO_COS: case PO_LG2: case PO_EX2: case PO_TANH: case PO_NEG: case PO_ABS: case PO_COPYSIGN: case PO_MIN: case PO_MAX:
        return floats ? arithmetic(s, w, inst, mask) : integer(s, w, inst, mask);
    case PO_SHL: case PO_SHR: case PO_BFE: return integer(s, w, inst, mask);
    case PO_SET: case PO_SETP:
        return type_is_float(inst->type[inst->n_types - 1]) ? compare(s, w, inst, mask) : exec_bits(w, inst, mask);
    case PO_TESTP: return by_the_double(s, w, inst, inst->type[0], mask);
    case PO_CVT:   return convert(s, w, inst, mask);
    case PO_XOR: case PO_AND: return logic(s, w, inst, mask);
    case PO_ATOM: case PO_RED:
        return floats && (inst_has(inst, PM_ADD) || inst_has(inst, PM_MIN) || inst_has(inst, PM_MAX)) ? atomic(s, w, inst, mask) : exec_bits(w, inst, mask);
    case PO_CALL:  return call(s, w, inst, mask);
    case PO_MMA:   return floats && ptx_type_bytes((PtxType)inst->type[1]) > 1 ? residue_mma(s, w, inst, mask) : floats ? unsupported(w, inst) : exec_bits(w, inst, mask);
    case PO_WGMMA: return inst_has(inst, PM_MMA_ASYNC) && floats && ptx_type_bytes((PtxType)inst->type[1]) == 1 ? unsupported(w, inst) : exec_bits(w, inst, mask);
    case PO_REDUX: return floats ? unsupported(w, inst) : exec_bits(w, inst, mask);
    default:       return exec_bits(w, inst, mask);
    }
}

SimFlow residue_step(void *arg, SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    SimResidues *s = arg;
    if (s->module != w->machine->module) {
        s->module = w->machine->module;
        s->decisions = arena_new_array(s->arena, SimDecision, s->module->code.n + 1);
    }
    SimFlow flow = step(s, w, inst, mask);
    if (s->full)
        return sim_fault(w, FAULT_BAD_CALL, UINT32_MAX, 0, NULL, true, "more 16-bit numbers than the residue domain can tell apart");
    return flow;
}
