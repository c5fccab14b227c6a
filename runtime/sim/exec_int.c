/* runtime/sim/exec_int.c — integer arithmetic. */
#include "runtime/sim/exec.h"

/* One row an operation, by type. A shift of int in C must not overflow: signed arithmetic is done unsigned. */
typedef struct { uint16_t op; SimExec *by_type[INT_TYPES]; } IntRow;

#define UNSIGNED2(name, ...)                    \
    EXEC2(name##_u16, uint16_t, uint16_t, __VA_ARGS__) EXEC2(name##_u32, uint32_t, uint32_t, __VA_ARGS__) EXEC2(name##_u64, uint64_t, uint64_t, __VA_ARGS__)
#define SIGNED2(name, ...)                      \
    EXEC2(name##_s16, int16_t, int16_t, __VA_ARGS__) EXEC2(name##_s32, int32_t, int32_t, __VA_ARGS__) EXEC2(name##_s64, int64_t, int64_t, __VA_ARGS__)
#define ROW_U(op, name) {op, {name##_u16, name##_u16, name##_u32, name##_u32, name##_u64, name##_u64}}
#define ROW_US(op, name) {op, {name##_u16, name##_s16, name##_u32, name##_s32, name##_u64, name##_s64}}

UNSIGNED2(add, (uint64_t)a[l] + b[l])
UNSIGNED2(sub, (uint64_t)a[l] - b[l])
UNSIGNED2(mul, (uint64_t)a[l] * b[l])
UNSIGNED2(min, a[l] < b[l] ? a[l] : b[l])
SIGNED2(min, a[l] < b[l] ? a[l] : b[l])
UNSIGNED2(max, a[l] > b[l] ? a[l] : b[l])
SIGNED2(max, a[l] > b[l] ? a[l] : b[l])
UNSIGNED2(div, b[l] ? a[l] / b[l] : UINT64_MAX)
SIGNED2(div, b[l] == 0 ? -1 : b[l] == -1 ? (int64_t)-(uint64_t)a[l] : a[l] / b[l])
UNSIGNED2(rem, b[l] ? a[l] % b[l] : a[l])
SIGNED2(rem, b[l] == 0 ? a[l] : b[l] == -1 ? 0 : a[l] % b[l])
UNSIGNED2(bit_and, a[l] & b[l])
UNSIGNED2(bit_or, a[l] | b[l])
UNSIGNED2(bit_xor, a[l] ^ b[l])

static bool bind_row(Selector *s, PtxInst *inst, const IntRow *rows, uint32_t n, uint32_t operands)
{
    int t = int_index(inst->type[0]);
    for (uint32_t i = 0; t >= 0 && i < n; i++)
        if (rows[i].op == inst->op && (inst->exec = rows[i].by_type[t]))
            return select_same(s, inst, operands);
    return select_missing(s, inst);
}
#define BIND(rows, operands) bind_row(s, inst, rows, sizeof(rows) / sizeof *(rows), operands)

/* ---- add, sub with saturation and carries ---- */

EXEC2(add_sat_s32, int32_t, int32_t, ((int64_t)a[l] + b[l] > INT32_MAX ? INT32_MAX : (int64_t)a[l] + b[l] < INT32_MIN ? INT32_MIN : (int64_t)a[l] + b[l]))
EXEC2(sub_sat_s32, int32_t, int32_t, ((int64_t)a[l] - b[l] > INT32_MAX ? INT32_MAX : (int64_t)a[l] - b[l] < INT32_MIN ? INT32_MIN : (int64_t)a[l] - b[l]))

static uint32_t add_halves(uint32_t a, uint32_t b) { return ((a + b) & 0xffff) | (((a >> 16) + (b >> 16)) << 16); }
EXEC2(add_x2, uint32_t, uint32_t, add_halves(a[l], b[l]))

enum { CARRY_IN = 1, CARRY_OUT = 2, SUBTRACT = 4, WIDE_64 = 8, MULTIPLY_LO = 16, MULTIPLY_HI = 32, SIGNED = 64 };

static uint64_t product_part(const PtxInst *inst, uint64_t a, uint64_t b)
{
    bool hi = inst->variant & MULTIPLY_HI, sign = inst->variant & SIGNED;
    if (inst->variant & WIDE_64) {
        if (!hi)
            return a * b;
        return sign ? (uint64_t)((__int128)(int64_t)a * (int64_t)b >> 64) : (uint64_t)((unsigned __int128)a * b >> 64);
    }
    uint64_t p = sign ? (uint64_t)((int64_t)(int32_t)a * (int32_t)b) : (uint64_t)(uint32_t)a * (uint32_t)b;
    return hi ? p >> 32 : (uint32_t)p;
}

/* a + b + CC.CF, or a + ~b + 1 (or + CC.CF): after a subtraction, CF is set where nothing was borrowed (measured: H200). */
EXEC(exec_carry)
{
    uint32_t v = inst->variant, carry = w->carry, out = 0;
    bool multiply = v & (MULTIPLY_LO | MULTIPLY_HI);
    for_lanes(l, mask) {
        uint64_t a = slot_get(w, inst->operand[1].slot, l), b = slot_get(w, inst->operand[2].slot, l);
        uint64_t in = v & CARRY_IN ? carry >> l & 1 : 0;
        if (multiply) {
            a = product_part(inst, a, b);
            b = slot_get(w, inst->operand[3].slot, l);
        }
        if (v & SUBTRACT) {
            b = v & WIDE_64 ? ~b : (uint32_t)~b;
            in = v & CARRY_IN ? in : 1;
        }
        unsigned __int128 r = (unsigned __int128)a + b + in;
        out |= (uint32_t)(r >> (v & WIDE_64 ? 64 : 32) & 1) << l;
        slot_set(w, inst->operand[0].slot, l, (uint64_t)r);
    }
    if (v & CARRY_OUT)
        w->carry = (w->carry & ~mask) | out;
    return FLOW_NEXT;
}

bool select_carry(Selector *s, PtxInst *inst)
{
    int t = int_index(inst->type[0]);
    bool mad = inst->op == PO_MAD || inst->op == PO_MADC;
    if (t < 2)
        return select_missing(s, inst);
    inst->variant = (inst->op == PO_ADDC || inst->op == PO_SUBC || inst->op == PO_MADC ? CARRY_IN : 0) | (inst_has(inst, PM_CC) ? CARRY_OUT : 0) |
                    (inst->op == PO_SUB || inst->op == PO_SUBC ? SUBTRACT : 0) | (t >= 4 ? WIDE_64 : 0) | (t & 1 ? SIGNED : 0) |
                    (mad ? inst_has(inst, PM_HI) ? MULTIPLY_HI : MULTIPLY_LO : 0);
    inst->exec = exec_carry;
    return select_same(s, inst, mad ? 4 : 3);
}

bool select_add(Selector *s, PtxInst *inst)
{
    static const IntRow rows[] = {ROW_U(PO_ADD, add), ROW_U(PO_SUB, sub)};
    if (type_is_float(inst->type[0]))
        return select_float(s, inst);
    if (inst_has(inst, PM_CC))
        return select_carry(s, inst);
    if (inst_has(inst, PM_SAT)) {
        inst->exec = inst->op == PO_ADD ? add_sat_s32 : sub_sat_s32;
        return inst->type[0] == PT_S32 ? select_same(s, inst, 3) : select_missing(s, inst);
    }
    if (inst->op == PO_ADD && (inst->type[0] == PT_U16X2 || inst->type[0] == PT_S16X2)) {
        inst->exec = add_x2;
        return select_same(s, inst, 3);
    }
    return BIND(rows, 3);
}

/* ---- products ---- */

EXEC2(mul_hi_u16, uint16_t, uint16_t, (uint32_t)a[l] * b[l] >> 16)
EXEC2(mul_hi_s16, int16_t, int16_t, (int32_t)a[l] * b[l] >> 16)
EXEC2(mul_hi_u32, uint32_t, uint32_t, (uint64_t)a[l] * b[l] >> 32)
EXEC2(mul_hi_s32, int32_t, int32_t, (int64_t)a[l] * b[l] >> 32)
EXEC2(mul_hi_u64, uint64_t, uint64_t, (unsigned __int128)a[l] * b[l] >> 64)
EXEC2(mul_hi_s64, int64_t, int64_t, (__int128)a[l] * b[l] >> 64)
EXEC2(mul_wide_u16, uint32_t, uint16_t, (uint32_t)a[l] * b[l])
EXEC2(mul_wide_s16, int32_t, int16_t, (int32_t)a[l] * b[l])
EXEC2(mul_wide_u32, uint64_t, uint32_t, (uint64_t)a[l] * b[l])
EXEC2(mul_wide_s32, int64_t, int32_t, (int64_t)a[l] * b[l])
#define MAD(name, T, A, C, ...) EXEC3(name, T, A, C, __VA_ARGS__)
MAD(mad_lo_u16, uint16_t, uint16_t, uint16_t, (uint32_t)a[l] * b[l] + c[l])
MAD(mad_lo_u32, uint32_t, uint32_t, uint32_t, a[l] * b[l] + c[l])
MAD(mad_lo_u64, uint64_t, uint64_t, uint64_t, a[l] * b[l] + c[l])
MAD(mad_hi_u16, uint16_t, uint16_t, uint16_t, ((uint32_t)a[l] * b[l] >> 16) + c[l])
MAD(mad_hi_s16, uint16_t, int16_t, uint16_t, (uint32_t)((int32_t)a[l] * b[l] >> 16) + c[l])
MAD(mad_hi_u32, uint32_t, uint32_t, uint32_t, (uint32_t)((uint64_t)a[l] * b[l] >> 32) + c[l])
MAD(mad_hi_s32, uint32_t, int32_t, uint32_t, (uint32_t)((int64_t)a[l] * b[l] >> 32) + c[l])
MAD(mad_hi_u64, uint64_t, uint64_t, uint64_t, (uint64_t)((unsigned __int128)a[l] * b[l] >> 64) + c[l])
MAD(mad_hi_s64, uint64_t, int64_t, uint64_t, (uint64_t)((__int128)a[l] * b[l] >> 64) + c[l])
MAD(mad_wide_u16, uint32_t, uint16_t, uint32_t, (uint32_t)a[l] * b[l] + c[l])
MAD(mad_wide_s16, uint32_t, int16_t, uint32_t, (uint32_t)((int32_t)a[l] * b[l]) + c[l])
MAD(mad_wide_u32, uint64_t, uint32_t, uint64_t, (uint64_t)a[l] * b[l] + c[l])
MAD(mad_wide_s32, uint64_t, int32_t, uint64_t, (uint64_t)((int64_t)a[l] * b[l]) + c[l])

static int64_t clamp32(int64_t v) { return v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : v; }
MAD(mad_hi_sat_s32, int32_t, int32_t, int32_t, clamp32(((int64_t)a[l] * b[l] >> 32) + c[l]))

static bool bind_product(Selector *s, PtxInst *inst, bool mad)
{
    static SimExec *const table[2][3][INT_TYPES] = {
        {{mul_u16, mul_u16, mul_u32, mul_u32, mul_u64, mul_u64},
         {mul_hi_u16, mul_hi_s16, mul_hi_u32, mul_hi_s32, mul_hi_u64, mul_hi_s64},
         {mul_wide_u16, mul_wide_s16, mul_wide_u32, mul_wide_s32}},
        {{mad_lo_u16, mad_lo_u16, mad_lo_u32, mad_lo_u32, mad_lo_u64, mad_lo_u64},
         {mad_hi_u16, mad_hi_s16, mad_hi_u32, mad_hi_s32, mad_hi_u64, mad_hi_s64},
         {mad_wide_u16, mad_wide_s16, mad_wide_u32, mad_wide_s32}}};
    int t = int_index(inst->type[0]), part = inst_has(inst, PM_WIDE) ? 2 : inst_has(inst, PM_HI) ? 1 : 0;
    uint8_t b = (uint8_t)ptx_type_bytes((PtxType)inst->type[0]), wide = (uint8_t)(part == 2 ? 2 * b : b);
    if (t < 0 || !(inst->exec = table[mad][part][t]))
        return select_missing(s, inst);
    if (mad && inst_has(inst, PM_SAT)) {
        if (part != 1 || inst->type[0] != PT_S32)
            return select_missing(s, inst);
        inst->exec = mad_hi_sat_s32;
    }
    return select_operands(s, inst, mad ? 4 : 3, (const uint8_t[]){wide, b, b, wide});
}

bool select_mul(Selector *s, PtxInst *inst) { return type_is_float(inst->type[0]) ? select_float(s, inst) : bind_product(s, inst, false); }

bool select_mad(Selector *s, PtxInst *inst)
{
    if (type_is_float(inst->type[0]))
        return select_float(s, inst);
    if (inst->op == PO_FMA)
        return select_missing(s, inst);
    return inst_has(inst, PM_CC) ? select_carry(s, inst) : bind_product(s, inst, true);
}

static uint64_t low24(const PtxInst *inst, uint32_t v) { return inst->type[0] == PT_S32 ? (uint64_t)((int64_t)(int32_t)(v << 8) >> 8) : v & 0xffffff; }

EXEC(exec_mul24)
{
    bool mad = inst->op == PO_MAD24;
    for_lanes(l, mask) {
        uint64_t p = low24(inst, COLUMN(uint32_t, 1)[l]) * low24(inst, COLUMN(uint32_t, 2)[l]);
        uint32_t r = inst_has(inst, PM_HI) ? (uint32_t)(p >> 16) : (uint32_t)p;
        if (mad && inst_has(inst, PM_SAT))
            r = (uint32_t)clamp32((int64_t)(int32_t)r + (int32_t)COLUMN(uint32_t, 3)[l]);
        else if (mad)
            r += COLUMN(uint32_t, 3)[l];
        COLUMN(uint32_t, 0)[l] = r;
    }
    return FLOW_NEXT;
}

bool select_mul24(Selector *s, PtxInst *inst)
{
    inst->exec = exec_mul24;
    return select_same(s, inst, inst->op == PO_MAD24 ? 4 : 3);
}

/* ---- sad, div, rem, abs, neg, min, max ---- */

#define SAD(name, T, C) EXEC3(name, C, T, C, c[l] + (a[l] < b[l] ? (C)b[l] - (C)a[l] : (C)a[l] - (C)b[l]))
SAD(sad_u16, uint16_t, uint16_t) SAD(sad_s16, int16_t, uint16_t) SAD(sad_u32, uint32_t, uint32_t)
SAD(sad_s32, int32_t, uint32_t) SAD(sad_u64, uint64_t, uint64_t) SAD(sad_s64, int64_t, uint64_t)

bool select_integer(Selector *s, PtxInst *inst)
{
    static const IntRow sad[] = {ROW_US(PO_SAD, sad)}, rem[] = {ROW_US(PO_REM, rem)};
    return inst->op == PO_SAD ? BIND(sad, 4) : BIND(rem, 3);
}

bool select_div(Selector *s, PtxInst *inst)
{
    static const IntRow rows[] = {ROW_US(PO_DIV, div)};
    return type_is_float(inst->type[0]) ? select_float(s, inst) : BIND(rows, 3);
}

EXEC1(abs_16, uint16_t, int16_t, a[l] < 0 ? -(uint64_t)a[l] : (uint64_t)a[l])
EXEC1(abs_32, uint32_t, int32_t, a[l] < 0 ? -(uint64_t)a[l] : (uint64_t)a[l])
EXEC1(abs_64, uint64_t, int64_t, a[l] < 0 ? -(uint64_t)a[l] : (uint64_t)a[l])
EXEC1(neg_16, uint16_t, uint16_t, -(uint64_t)a[l])
EXEC1(neg_32, uint32_t, uint32_t, -(uint64_t)a[l])
EXEC1(neg_64, uint64_t, uint64_t, -a[l])

bool select_unary(Selector *s, PtxInst *inst)
{
    static const IntRow rows[] = {{PO_ABS, {NULL, abs_16, NULL, abs_32, NULL, abs_64}}, {PO_NEG, {neg_16, neg_16, neg_32, neg_32, neg_64, neg_64}}};
    return type_is_float(inst->type[0]) ? select_float(s, inst) : BIND(rows, 2);
}

static uint32_t relu_halves(uint32_t v) { return (v & 0x8000 ? 0 : v & 0xffff) | (v & 0x80000000 ? 0 : v & 0xffff0000); }
#define HALVES2(name, T, cmp) \
    static uint32_t name##_halves(uint32_t a, uint32_t b) \
    { \
        T al = (T)a, bl = (T)b, ah = (T)(a >> 16), bh = (T)(b >> 16); \
        return (uint32_t)(uint16_t)(al cmp bl ? al : bl) | (uint32_t)(uint16_t)(ah cmp bh ? ah : bh) << 16; \
    } \
    EXEC2(name, uint32_t, uint32_t, name##_halves(a[l], b[l]))
HALVES2(min_u16x2, uint16_t, <) HALVES2(min_s16x2, int16_t, <)
HALVES2(max_u16x2, uint16_t, >) HALVES2(max_s16x2, int16_t, >)
EXEC2(min_s16x2_relu, uint32_t, uint32_t, relu_halves(min_s16x2_halves(a[l], b[l])))
EXEC2(max_s16x2_relu, uint32_t, uint32_t, relu_halves(max_s16x2_halves(a[l], b[l])))

EXEC2(min_relu_s32, int32_t, int32_t, (a[l] < b[l] ? a[l] : b[l]) < 0 ? 0 : a[l] < b[l] ? a[l] : b[l])
EXEC2(max_relu_s32, int32_t, int32_t, (a[l] > b[l] ? a[l] : b[l]) < 0 ? 0 : a[l] > b[l] ? a[l] : b[l])

bool select_minmax(Selector *s, PtxInst *inst)
{
    static const IntRow rows[] = {ROW_US(PO_MIN, min), ROW_US(PO_MAX, max)};
    bool is_min = inst->op == PO_MIN;
    if (type_is_float(inst->type[0]))
        return select_float(s, inst);
    if (inst->type[0] == PT_U16X2 || inst->type[0] == PT_S16X2) {
        bool u = inst->type[0] == PT_U16X2;
        inst->exec = is_min ? u ? min_u16x2 : min_s16x2 : u ? max_u16x2 : max_s16x2;
        if (inst_has(inst, PM_RELU))
            inst->exec = is_min ? min_s16x2_relu : max_s16x2_relu;
        return inst_has(inst, PM_RELU) && u ? select_missing(s, inst) : select_same(s, inst, 3);
    }
    if (inst_has(inst, PM_RELU)) {
        inst->exec = is_min ? min_relu_s32 : max_relu_s32;
        return inst->type[0] == PT_S32 ? select_same(s, inst, 3) : select_missing(s, inst);
    }
    return BIND(rows, 3);
}

/* ---- dot products of bytes ---- */

static int64_t byte_of(uint32_t v, uint32_t i, bool sign) { return sign ? (int8_t)(v >> 8 * i) : (int64_t)(uint8_t)(v >> 8 * i); }
static int64_t half_of(uint32_t v, uint32_t i, bool sign) { return sign ? (int16_t)(v >> 16 * i) : (int64_t)(uint16_t)(v >> 16 * i); }

EXEC(exec_dot)
{
    bool sa = inst->type[0] == PT_S32, sb = inst->type[1] == PT_S32, dp2a = inst->op == PO_DP2A;
    uint32_t base = dp2a && inst_has(inst, PM_HI) ? 2 : 0;
    for_lanes(l, mask) {
        uint32_t a = COLUMN(uint32_t, 1)[l], b = COLUMN(uint32_t, 2)[l], r = COLUMN(uint32_t, 3)[l];
        for (uint32_t i = 0; i < (dp2a ? 2 : 4); i++)
            r += (uint32_t)((dp2a ? half_of(a, i, sa) : byte_of(a, i, sa)) * byte_of(b, base + i, sb));
        COLUMN(uint32_t, 0)[l] = r;
    }
    return FLOW_NEXT;
}

bool select_dot(Selector *s, PtxInst *inst)
{
    inst->exec = exec_dot;
    return inst->n_types == 2 ? select_operands(s, inst, 4, (const uint8_t[]){4, 4, 4, 4}) : select_missing(s, inst);
}

/* ---- logic on words; predicates are exec_pred.c's ---- */

SelectFn select_predicate_logic;
EXEC1(not_16, uint16_t, uint16_t, ~a[l]) EXEC1(not_32, uint32_t, uint32_t, ~a[l]) EXEC1(not_64, uint64_t, uint64_t, ~a[l])
EXEC1(cnot_16, uint16_t, uint16_t, a[l] == 0) EXEC1(cnot_32, uint32_t, uint32_t, a[l] == 0) EXEC1(cnot_64, uint64_t, uint64_t, a[l] == 0)

bool select_logic(Selector *s, PtxInst *inst)
{
    static const IntRow two[] = {ROW_U(PO_AND, bit_and), ROW_U(PO_OR, bit_or), ROW_U(PO_XOR, bit_xor)};
    static const IntRow one[] = {{PO_NOT, {not_16, not_16, not_32, not_32, not_64, not_64}}, {PO_CNOT, {cnot_16, cnot_16, cnot_32, cnot_32, cnot_64, cnot_64}}};
    if (inst->type[0] == PT_PRED)
        return select_predicate_logic(s, inst);
    return inst->op == PO_NOT || inst->op == PO_CNOT ? BIND(one, 2) : BIND(two, 3);
}
