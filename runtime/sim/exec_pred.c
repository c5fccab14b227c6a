/* runtime/sim/exec_pred.c — comparisons, predicates, selection, moves, address conversions. */
#include "runtime/sim/exec.h"
#include "runtime/sim/fp.h"

typedef enum { CMP_EQ, CMP_NE, CMP_LT, CMP_LE, CMP_GT, CMP_GE, CMP_EQU, CMP_NEU, CMP_LTU, CMP_LEU, CMP_GTU, CMP_GEU, CMP_NUM, CMP_NAN, CMP_COUNT } Compare;
enum { VARIANT_COMPARE = 0xff, BOOL_NONE = 0, BOOL_AND = 0x100, BOOL_OR = 0x200, BOOL_XOR = 0x300, VARIANT_BOOL = 0x300 };

/* ---- which lanes compare true ---- */

#define BY_COMPARE(T, LESS_UNORDERED)                                                                                  \
    switch ((Compare)(inst->variant & VARIANT_COMPARE)) {                                                             \
    case CMP_EQ: case CMP_EQU: TEST(a[l] == b[l])                                                                     \
    case CMP_NE: case CMP_NEU: TEST(a[l] != b[l])                                                                     \
    case CMP_LT: case CMP_LTU: TEST(a[l] < b[l])                                                                      \
    case CMP_LE: case CMP_LEU: TEST(a[l] <= b[l])                                                                     \
    case CMP_GT: case CMP_GTU: TEST(a[l] > b[l])                                                                      \
    case CMP_GE: case CMP_GEU: TEST(a[l] >= b[l])                                                                     \
    case CMP_NUM: case CMP_NAN: case CMP_COUNT: break;                                                                \
    }
#define TEST(e)                                                     \
    for (uint32_t l = 0; l < LANES; l++)                            \
        r |= (uint32_t)(e) << l;                                    \
    break;
#define COMPARE_INT(name, T)                                                                                          \
    static uint32_t name(const PtxInst *inst, const void *x, const void *y)                                           \
    {                                                                                                                 \
        const T *a = x, *b = y;                                                                                       \
        uint32_t r = 0;                                                                                               \
        BY_COMPARE(T, 0)                                                                                              \
        return r;                                                                                                     \
    }
COMPARE_INT(compare_u16, uint16_t) COMPARE_INT(compare_s16, int16_t) COMPARE_INT(compare_u32, uint32_t)
COMPARE_INT(compare_s32, int32_t) COMPARE_INT(compare_u64, uint64_t) COMPARE_INT(compare_s64, int64_t)

static bool compare_doubles(Compare c, double a, double b)
{
    bool nan = a != a || b != b;
    switch (c) {
    case CMP_EQ:  return a == b;
    case CMP_NE:  return !nan && a != b;
    case CMP_LT:  return a < b;
    case CMP_LE:  return a <= b;
    case CMP_GT:  return a > b;
    case CMP_GE:  return a >= b;
    case CMP_EQU: return nan || a == b;
    case CMP_NEU: return nan || a != b;
    case CMP_LTU: return nan || a < b;
    case CMP_LEU: return nan || a <= b;
    case CMP_GTU: return nan || a > b;
    case CMP_GEU: return nan || a >= b;
    case CMP_NUM: return !nan;
    case CMP_NAN: return nan;
    case CMP_COUNT: break;
    }
    return false;
}

static uint32_t compare_float(const PtxInst *inst, uint8_t type, const void *x, const void *y, uint32_t mask)
{
    Compare c = (Compare)(inst->variant & VARIANT_COMPARE);
    bool ftz = inst_has(inst, PM_FTZ);
    uint32_t r = 0;
    for_lanes(l, mask) {
        double a = fp_load(type, x, l), b = fp_load(type, y, l);
        if (ftz && type == PT_F32)
            a = (double)ftz32((float)a), b = (double)ftz32((float)b);
        r |= (uint32_t)compare_doubles(c, a, b) << l;
    }
    return r;
}

static uint32_t compare(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    uint8_t type = inst->type[inst->n_types - 1];
    const void *a = slot_words(w, inst->operand[1].slot), *b = slot_words(w, inst->operand[2].slot);
    switch (int_index(type)) {
    case 0: return compare_u16(inst, a, b);
    case 1: return compare_s16(inst, a, b);
    case 2: return compare_u32(inst, a, b);
    case 3: return compare_s32(inst, a, b);
    case 4: return compare_u64(inst, a, b);
    case 5: return compare_s64(inst, a, b);
    default: return compare_float(inst, type, a, b, mask);
    }
}

static uint32_t combine(SimWarp *w, const PtxInst *inst, uint32_t t)
{
    uint32_t q = (inst->variant & VARIANT_BOOL) ? slot_pred(w, inst->operand[3].slot) : 0;
    switch (inst->variant & VARIANT_BOOL) {
    case BOOL_AND: return t & q;
    case BOOL_OR:  return t | q;
    case BOOL_XOR: return t ^ q;
    default:       return t;
    }
}

EXEC(exec_setp)
{
    uint32_t t = compare(w, inst, mask);
    const PtxOperand *o = &inst->operand[0];
    uint32_t second = o->has_second ? combine(w, inst, ~t) : 0, first = combine(w, inst, t);
    if (o->kind == OPERAND_SLOT)
        slot_set_pred(w, o->slot, mask, first);
    if (o->has_second)
        slot_set_pred(w, o->second, mask, second);
    return FLOW_NEXT;
}

/* Halves of a packed register, compared apart: setp writes two predicates, set a mask or 1.0 in each half. */
static uint32_t compare_halves(SimWarp *w, const PtxInst *inst, uint32_t mask, uint32_t half)
{
    uint8_t type = inst->type[inst->n_types - 1] == PT_F16X2 ? PT_F16 : PT_BF16;
    uint32_t r = 0;
    for_lanes(l, mask) {
        uint16_t a = (uint16_t)(COLUMN(uint32_t, 1)[l] >> 16 * half), b = (uint16_t)(COLUMN(uint32_t, 2)[l] >> 16 * half);
        r |= (uint32_t)compare_doubles((Compare)(inst->variant & VARIANT_COMPARE), fp_of_half(type, a), fp_of_half(type, b)) << l;
    }
    return combine(w, inst, r);
}

EXEC(exec_setp_x2)
{
    uint32_t lo = compare_halves(w, inst, mask, 0), hi = compare_halves(w, inst, mask, 1);
    slot_set_pred(w, inst->operand[0].slot, mask, lo);
    if (inst->operand[0].has_second)
        slot_set_pred(w, inst->operand[0].second, mask, hi);
    return FLOW_NEXT;
}

static uint64_t truth(uint8_t type)
{
    switch (type) {
    case PT_F32:  return 0x3f800000;
    case PT_F16:  return 0x3c00;
    case PT_BF16: return 0x3f80;
    default:      return UINT64_MAX;
    }
}

EXEC(exec_set)
{
    uint32_t t = combine(w, inst, compare(w, inst, mask));
    for_lanes(l, mask)
        slot_set(w, inst->operand[0].slot, l, t >> l & 1 ? truth(inst->type[0]) : 0);
    return FLOW_NEXT;
}

EXEC(exec_set_x2)
{
    uint32_t lo = compare_halves(w, inst, mask, 0), hi = compare_halves(w, inst, mask, 1);
    uint32_t one = inst->type[0] == PT_F16X2 ? 0x3c00 : inst->type[0] == PT_BF16X2 ? 0x3f80 : 0xffff;
    for_lanes(l, mask)
        COLUMN(uint32_t, 0)[l] = (lo >> l & 1 ? one : 0) | (hi >> l & 1 ? one << 16 : 0);
    return FLOW_NEXT;
}

static bool compare_of(const PtxInst *inst, bool is_unsigned, uint32_t *out)
{
    static const struct { PtxMod m; Compare c; } rows[] = {
        {PM_EQ, CMP_EQ}, {PM_NE, CMP_NE}, {PM_LT, CMP_LT}, {PM_LE, CMP_LE}, {PM_GT, CMP_GT}, {PM_GE, CMP_GE}, {PM_EQU, CMP_EQU}, {PM_NEU, CMP_NEU},
        {PM_LTU, CMP_LTU}, {PM_LEU, CMP_LEU}, {PM_GTU, CMP_GTU}, {PM_GEU, CMP_GEU}, {PM_NUM, CMP_NUM}, {PM_ISNAN, CMP_NAN},
        {PM_LO, CMP_LT}, {PM_LS, CMP_LE}, {PM_HI, CMP_GT}, {PM_HS, CMP_GE}};
    (void)is_unsigned;
    for (uint32_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (inst_has(inst, rows[i].m)) {
            *out = rows[i].c;
            return true;
        }
    return false;
}

bool select_set(Selector *s, PtxInst *inst)
{
    if (!inst->n_types || !compare_of(inst, false, &inst->variant))
        return select_missing(s, inst);
    inst->variant |= inst_has(inst, PM_AND) ? BOOL_AND : inst_has(inst, PM_OR) ? BOOL_OR : inst_has(inst, PM_XOR) ? BOOL_XOR : BOOL_NONE;
    uint8_t source = inst->type[inst->n_types - 1], b = (uint8_t)ptx_type_bytes((PtxType)source), pred = 0;
    bool halves = source == PT_F16X2 || source == PT_BF16X2;
    if (inst->op == PO_SETP) {
        inst->exec = halves ? exec_setp_x2 : exec_setp;
    } else {
        inst->exec = halves ? exec_set_x2 : exec_set;
        pred = (uint8_t)ptx_type_bytes((PtxType)inst->type[0]);
    }
    if (int_index(source) < 0 && !type_is_float(source))
        return select_missing(s, inst);
    if (inst->operand[0].kind == OPERAND_NONE && inst->n_operands && inst->operand[0].has_second) {
        inst->operand[0].kind = OPERAND_SLOT;                          /* _|q: the sink is a constant that is never written */
        inst->operand[0].slot.bytes = 255;
        return true;
    }
    return select_operands(s, inst, inst->variant & VARIANT_BOOL ? 4 : 3, (const uint8_t[]){pred, b, b, 0});
}

/* ---- predicates ---- */

EXEC(exec_predicate_logic)
{
    uint32_t a = slot_pred(w, inst->operand[1].slot), b = inst->n_operands > 2 ? slot_pred(w, inst->operand[2].slot) : 0;
    uint32_t r = inst->op == PO_AND ? a & b : inst->op == PO_OR ? a | b : inst->op == PO_XOR ? a ^ b : inst->op == PO_NOT ? ~a : a;
    slot_set_pred(w, inst->operand[0].slot, mask, r);
    return FLOW_NEXT;
}

SelectFn select_predicate_logic;
bool select_predicate_logic(Selector *s, PtxInst *inst)
{
    inst->exec = exec_predicate_logic;
    return select_operands(s, inst, inst->op == PO_NOT || inst->op == PO_MOV ? 2 : 3, (const uint8_t[]){0, 0, 0});
}

/* ---- selp, slct ---- */

#define SELP(name, T)                                                                                                 \
    EXEC(name) {                                                                                                      \
        T *d = COLUMN(T, 0);                                                                                          \
        const T *a = COLUMN(const T, 1), *b = COLUMN(const T, 2);                                                     \
        uint32_t p = slot_pred(w, inst->operand[3].slot);                                                             \
        LANEWISE(d[l] = p >> l & 1 ? a[l] : b[l])                                                                     \
        return FLOW_NEXT;                                                                                             \
    }
SELP(selp_16, uint16_t) SELP(selp_32, uint32_t) SELP(selp_64, uint64_t)

EXEC(exec_slct)
{
    bool is_float = inst->type[1] == PT_F32;
    for_lanes(l, mask) {
        uint32_t c = COLUMN(uint32_t, 3)[l];
        bool first = is_float ? (inst_has(inst, PM_FTZ) ? ftz32(fp32(c)) : fp32(c)) >= 0 : (int32_t)c >= 0;
        slot_set(w, inst->operand[0].slot, l, slot_get(w, inst->operand[first ? 1 : 2].slot, l));
    }
    return FLOW_NEXT;
}

bool select_selp(Selector *s, PtxInst *inst)
{
    uint8_t b = (uint8_t)ptx_type_bytes((PtxType)inst->type[0]);
    if (inst->op == PO_SLCT) {
        inst->exec = exec_slct;
        return select_operands(s, inst, 4, (const uint8_t[]){b, b, b, 4});
    }
    inst->exec = b == 2 ? selp_16 : b == 4 ? selp_32 : selp_64;
    return select_operands(s, inst, 4, (const uint8_t[]){b, b, b, 0});
}

/* ---- mov ---- */

EXEC1(mov_16, uint16_t, uint16_t, a[l]) EXEC1(mov_32, uint32_t, uint32_t, a[l]) EXEC1(mov_64, uint64_t, uint64_t, a[l])

EXEC(mov_any)
{
    for_lanes(l, mask)
        slot_set(w, inst->operand[0].slot, l, slot_get(w, inst->operand[1].slot, l));
    return FLOW_NEXT;
}

EXEC(mov_frame)                        /* the address of a variable of this function's frame */
{
    for_lanes(l, mask)
        slot_set(w, inst->operand[0].slot, l, slot_get(w, inst->operand[1].slot, l) + w->now->local);
    return FLOW_NEXT;
}

EXEC(mov_128)
{
    const uint64_t *a = COLUMN(uint64_t, 1);
    uint64_t *d = COLUMN(uint64_t, 0);
    for_lanes(l, mask) {
        d[l] = a[l];
        d[LANES + l] = a[LANES + l];
    }
    return FLOW_NEXT;
}

EXEC(mov_special)
{
    const SimMachine *m = w->machine;
    for_lanes(l, mask) {
        uint64_t v = m->clock;
        switch ((int)inst->operand[1].special) {
        case SR_CLOCK_HI:
        case SR_GLOBALTIMER_HI: v >>= 32; break;
        case SR_GRIDID: v = 1; break;
        case SR_IS_EXPLICIT_CLUSTER: v = w->cta->cluster->n_ctas > 1; break;
        case SR_AGGR_SMEM_SIZE: v = m->shared_bytes; break;
        default: break;
        }
        slot_set(w, inst->operand[0].slot, l, v);
    }
    return FLOW_NEXT;
}

EXEC(mov_function)                     /* the address of a function: a number in a window of its own */
{
    const SimMachine *m = w->machine;
    uint64_t number = 0;
    while (number < m->module->functions.n && m->module->functions.data[number] != inst->operand[1].function)
        number++;
    for_lanes(l, mask)
        slot_set(w, inst->operand[0].slot, l, WINDOW_CODE | number << 4);
    return FLOW_NEXT;
}

EXEC(mov_pack)                         /* d = {a, b, …} */
{
    const PtxOperand *o = &inst->operand[1];
    uint32_t bits = ptx_type_bytes((PtxType)inst->type[0]) * 8 / o->n;
    uint64_t out[2][LANES];
    memset(out, 0, sizeof out);
    for_lanes(l, mask)
        for (uint32_t i = 0; i < o->n; i++) {
            uint64_t v = slot_get(w, o->vector[i], l);
            if (bits < 64)
                v &= (UINT64_C(1) << bits) - 1;
            out[bits * i / 64][l] |= v << (bits * i % 64);
        }
    PtxSlot d = inst->operand[0].slot;
    for_lanes(l, mask) {
        slot_set(w, d, l, out[0][l]);
        if (d.bytes == 16)
            slot_u64(w, d)[LANES + l] = out[1][l];
    }
    return FLOW_NEXT;
}

EXEC(mov_unpack)                       /* {a, b, …} = s */
{
    const PtxOperand *o = &inst->operand[0];
    PtxSlot s = inst->operand[1].slot;
    uint32_t bits = ptx_type_bytes((PtxType)inst->type[0]) * 8 / o->n;
    for_lanes(l, mask) {
        uint64_t v[2] = {slot_get(w, s, l), s.bytes == 16 ? slot_u64(w, s)[LANES + l] : 0};
        for (uint32_t i = 0; i < o->n; i++)
            slot_set(w, o->vector[i], l, v[bits * i / 64] >> (bits * i % 64));
    }
    return FLOW_NEXT;
}

static bool select_pack(Selector *s, PtxInst *inst, const PtxOperand *vector, PtxSlot whole)
{
    uint32_t bytes = ptx_type_bytes((PtxType)inst->type[0]);
    if (vector->n != 2 && vector->n != 4)
        return select_bad(s, inst, "expected 2 or 4 elements");
    if (whole.bytes != bytes || bytes < vector->n)
        return select_bad(s, inst, "the packed register has another width");
    for (uint32_t i = 0; i < vector->n; i++)
        if (vector->vector[i].bytes != 255 && (vector->vector[i].bytes > 8 || vector->vector[i].bytes * vector->n < bytes))
            return select_bad(s, inst, "an element has another width");
    return true;
}

/* The address of a shared variable: in a cluster with the CTA's rank in its high bits, where that is not 0, as hardware has it. What
 * takes such an address for an offset shows. */
EXEC(mov_shared)
{
    uint64_t rank = w->cta->rank ? (uint64_t)(w->cta->rank + 1) << 24 : 0;
    for_lanes(l, mask)
        slot_set(w, inst->operand[0].slot, l, slot_get(w, inst->operand[1].slot, l) + rank);
    return FLOW_NEXT;
}

bool select_mov(Selector *s, PtxInst *inst)
{
    PtxOperand *d = &inst->operand[0], *a = &inst->operand[1];
    uint8_t b = (uint8_t)ptx_type_bytes((PtxType)inst->type[0]);
    if (inst->n_operands != 2 || !inst->n_types)
        return select_bad(s, inst, "expected a result and a source");
    if (inst->type[0] == PT_PRED && a->kind != OPERAND_SPECIAL)
        return select_predicate_logic(s, inst);
    if (a->kind == OPERAND_VECTOR && d->kind == OPERAND_SLOT && d->slot.base == SLOT_FRAME) {
        inst->exec = mov_pack;
        return select_pack(s, inst, a, d->slot);
    }
    if (d->kind == OPERAND_VECTOR && a->kind == OPERAND_SLOT) {
        inst->exec = mov_unpack;
        for (uint32_t i = 0; i < d->n; i++)
            if (d->vector[i].base != SLOT_FRAME && d->vector[i].bytes != 255)
                return select_bad(s, inst, "an element is not a register");
        return select_pack(s, inst, d, a->slot);
    }
    if (a->kind == OPERAND_FUNCTION && d->kind == OPERAND_SLOT && d->slot.base == SLOT_FRAME && d->slot.bytes == 8) {
        inst->exec = mov_function;
        return true;
    }
    if (d->kind != OPERAND_SLOT || d->slot.base != SLOT_FRAME)
        return select_bad(s, inst, "the result must be a register");
    if (a->kind == OPERAND_SPECIAL) {
        inst->exec = mov_special;
        return true;
    }
    if (a->kind != OPERAND_SLOT)
        return select_bad(s, inst, "the source must be a register or a constant");
    if (a->in_frame)
        inst->exec = mov_frame;
    else if (a->var && a->var->space == SPACE_SHARED && (b == 4 || b == 8))
        inst->exec = mov_shared;
    else if (b == 16)
        inst->exec = mov_128;
    else if (a->slot.bytes != d->slot.bytes)
        inst->exec = mov_any;
    else
        inst->exec = b == 2 ? mov_16 : b == 4 ? mov_32 : mov_64;
    if (inst->exec == mov_any && a->slot.base != SLOT_WARP && !a->var)
        return select_operands(s, inst, 2, (const uint8_t[]){b, b});
    return d->slot.bytes == b || select_bad(s, inst, "the result has another width");
}

/* ---- addresses ---- */

EXEC(exec_cvta)
{
    bool to = inst_has(inst, PM_TO);
    for_lanes(l, mask) {
        uint64_t a = slot_get(w, inst->operand[1].slot, l);
        if (inst->operand[1].in_frame)
            a += w->now->local;
        slot_set(w, inst->operand[0].slot, l, !to ? address_generic((PtxSpace)inst->space, a) :
                                              inst->space == SPACE_GLOBAL || inst->space == SPACE_CONST ? a : (uint32_t)a);
    }
    return FLOW_NEXT;
}

EXEC(exec_isspacep)
{
    uint32_t r = 0;
    for_lanes(l, mask) {
        uint64_t a = slot_get(w, inst->operand[1].slot, l);
        PtxSpace have = address_space(a);
        bool yes = have == (PtxSpace)inst->space;
        if (have == SPACE_GLOBAL) {
            const SimRegion *g = memory_region(w->machine->memory, a);
            yes = inst->space == SPACE_CONST ? g && g->is_const : inst->space == SPACE_GLOBAL && !(g && g->is_const);
        } else if (have == SPACE_SHARED && !inst_has(inst, PM_SHARED_CLUSTER)) {
            uint32_t rank = (uint32_t)(a >> 24 & 0xff);
            yes = yes && (rank == 0 || rank - 1 == w->cta->rank);
        }
        r |= (uint32_t)yes << l;
    }
    slot_set_pred(w, inst->operand[0].slot, mask, r);
    return FLOW_NEXT;
}

bool select_cvta(Selector *s, PtxInst *inst)
{
    bool is = inst->op == PO_ISSPACEP;
    inst->exec = is ? exec_isspacep : exec_cvta;
    if (inst->space == SPACE_GENERIC)
        return select_bad(s, inst, "names no state space");
    return select_operands(s, inst, 2, (const uint8_t[]){is ? 0 : ANY_WIDTH, ANY_WIDTH});
}

/* mapa: an address of the own CTA's shared memory as one of another CTA of the cluster; getctarank: whose it is. */
EXEC(exec_mapa)
{
    bool generic = inst->space == SPACE_GENERIC;
    for_lanes(l, mask) {
        uint64_t a = slot_get(w, inst->operand[1].slot, l), r;
        uint32_t rank = (uint32_t)(a >> 24 & 0xff);
        if (inst->op == PO_MAPA)
            r = (a & 0xffffff) | ((slot_get(w, inst->operand[2].slot, l) & 0xff) + 1) << 24 | (generic ? WINDOW_SHARED : 0);
        else
            r = rank ? rank - 1 : w->cta->rank;
        slot_set(w, inst->operand[0].slot, l, r);
    }
    return FLOW_NEXT;
}

bool select_mapa(Selector *s, PtxInst *inst)
{
    inst->exec = exec_mapa;
    return select_operands(s, inst, inst->op == PO_MAPA ? 3 : 2, (const uint8_t[]){ANY_WIDTH, ANY_WIDTH, 4});
}
