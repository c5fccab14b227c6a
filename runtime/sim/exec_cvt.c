/* runtime/sim/exec_cvt.c — conversions between all types; the frequent ones have loops of their own. */
#include "runtime/sim/exec.h"
#include "runtime/sim/fp.h"
#include <fenv.h>
#include <math.h>

static bool is_int(uint8_t t) { return ptx_type_class((PtxType)t) == 'u' || ptx_type_class((PtxType)t) == 's' || ptx_type_class((PtxType)t) == 'b'; }
static bool is_signed(uint8_t t) { return ptx_type_class((PtxType)t) == 's'; }

static Rounding rounding_of(const PtxInst *i)
{
    if (inst_has(i, PM_RNA))
        return ROUND_AWAY;
    if (inst_has(i, PM_RZ) || inst_has(i, PM_RZI))
        return ROUND_ZERO;
    if (inst_has(i, PM_RM) || inst_has(i, PM_RMI))
        return ROUND_DOWN;
    return inst_has(i, PM_RP) || inst_has(i, PM_RPI) ? ROUND_UP : ROUND_NEAREST;
}

static double to_integral(double v, Rounding r)
{
    switch (r) {
    case ROUND_ZERO: return trunc(v);
    case ROUND_DOWN: return floor(v);
    case ROUND_UP:   return ceil(v);
    case ROUND_AWAY: return round(v);
    case ROUND_NEAREST: break;
    }
    return rint(v);
}

/* ---- integers ---- */

static uint64_t narrow_source(uint8_t t, uint64_t v)
{
    uint32_t bits = ptx_type_bytes((PtxType)t) * 8;
    if (bits == 64)
        return v;
    v &= (UINT64_C(1) << bits) - 1;
    return is_signed(t) && v >> (bits - 1) ? v | ~((UINT64_C(1) << bits) - 1) : v;
}

static uint64_t clamp_int(uint8_t to, uint8_t from, uint64_t v)
{
    uint32_t bits = ptx_type_bytes((PtxType)to) * 8;
    bool negative = is_signed(from) && (int64_t)v < 0;
    if (is_signed(to)) {
        int64_t hi = (int64_t)((UINT64_C(1) << (bits - 1)) - 1), lo = -hi - 1;
        if (negative)
            return (int64_t)v < lo ? (uint64_t)lo : v;
        return v > (uint64_t)hi ? (uint64_t)hi : v;
    }
    uint64_t hi = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    return negative ? 0 : v > hi ? hi : v;
}

static uint64_t int_of_float(uint8_t to, uint8_t from, double v, Rounding r)
{
    uint32_t bits = ptx_type_bytes((PtxType)to) * 8;
    if (v != v)
        return bits == 64 ? UINT64_C(1) << 63 : bits == 32 && from == PT_F64 ? UINT64_C(1) << 31 : 0;
    v = to_integral(v, r);
    if (is_signed(to)) {
        double top = ldexp(1, (int)bits - 1);
        return v >= top ? (UINT64_C(1) << (bits - 1)) - 1 : v < -top ? (uint64_t)-(int64_t)(UINT64_C(1) << (bits - 2)) * 2 : (uint64_t)(int64_t)v;
    }
    double top = ldexp(1, (int)bits);
    return v >= top ? bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1 : v <= 0 ? 0 : (uint64_t)v;
}

/* ---- floats ---- */

/* NaNs that are widened to f64 keep sign and payload (measured: H200), which double arithmetic on the host does as well. */
static uint64_t write_f64(double v) { return v != v ? bits64(v) | UINT64_C(1) << 51 : bits64(v); }
static double widen_nan(uint8_t t, uint64_t v)
{
    const FloatFormat *f = fp_format(t);
    uint64_t sign = v >> (f->bits - 1) & 1, payload = v & ((UINT64_C(1) << f->mantissa) - 1);
    return fp64(sign << 63 | UINT64_C(0x7ff8) << 48 | payload << (52 - f->mantissa));
}

static double read_float(uint8_t t, uint64_t v)
{
    if (t == PT_F64)
        return fp64(v);
    if (t == PT_F32 || t == PT_TF32)
        return (double)fp32((uint32_t)v);
    double d = fp_widen((uint32_t)v & ((1u << fp_format(t)->bits) - 1), fp_format(t));
    return d != d ? widen_nan(t, v) : d;
}

static uint64_t write_float(const PtxInst *i, uint8_t t, double v)
{
    if (t == PT_F64)
        return write_f64(v);
    uint32_t r = fp_round(v, fp_format(t), rounding_of(i), inst_has(i, PM_SATFINITE));
    bool from_f64 = i->n_types > 1 && i->type[1] == PT_F64;
    if (v != v && t == PT_F32 && (from_f64 || (i->n_types > 1 && i->type[1] == PT_BF16)) && !inst_has(i, PM_SAT))
        return (bits64(v) >> 32 & 0x80000000) | 0x7fc00000 | (bits64(v) >> 29 & 0x3fffff);
    if (v != v && t == PT_F16 && from_f64 && !inst_has(i, PM_SAT))
        return (bits64(v) >> 48 & 0x8000) | 0x7e00 | (bits64(v) >> 42 & 0x1ff);
    if (t == PT_TF32)                                                  /* the low 13 bits of an f32 */
        return (uint64_t)r << 13;
    if (t == PT_F32 && inst_has(i, PM_FTZ))
        r = bits32(ftz32(fp32(r)));
    return r;
}

static double adjust(const PtxInst *i, double v)
{
    if (inst_has(i, PM_SAT))
        v = v != v || v <= 0 ? 0 : v > 1 ? 1 : v;
    if (inst_has(i, PM_RELU) && v <= 0)
        v = 0;
    return v;
}

static bool rounds_to_integral(const PtxInst *i) { return inst_has(i, PM_RNI) || inst_has(i, PM_RZI) || inst_has(i, PM_RMI) || inst_has(i, PM_RPI); }

static uint64_t float_of_int(const PtxInst *i, uint8_t to, uint8_t from, uint64_t v)
{
    if (to == PT_F64) {
        static const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD, FE_TONEAREST};
        fesetround(modes[rounding_of(i)]);
        volatile double d = is_signed(from) ? (double)(int64_t)v : (double)v;
        fesetround(FE_TONEAREST);
        return bits64(d);
    }
    return write_float(i, to, adjust(i, is_signed(from) ? fp_from_i64((int64_t)v) : fp_from_u64(v)));
}

static uint64_t convert(const PtxInst *i, uint64_t v)
{
    uint8_t to = i->type[0], from = i->type[1];
    if (is_int(from)) {
        v = narrow_source(from, v);
        if (!is_int(to))
            return float_of_int(i, to, from, v);
        return inst_has(i, PM_SAT) ? clamp_int(to, from, v) : narrow_source(to, v);
    }
    double d = read_float(from, v);
    if (d != d && to == PT_TF32)                                       /* rna leaves the bits (measured: H200) */
        return inst_has(i, PM_RNA) ? v & 0xffffe000 : 0x7fffe000;
    if (from == PT_F32 && inst_has(i, PM_FTZ))
        d = d != d ? (double)fp32(NAN32) : (double)ftz32((float)d);
    if (is_int(to))
        return int_of_float(to, from, d, rounding_of(i));
    if (rounds_to_integral(i))
        d = d != d ? d : copysign(to_integral(d, rounding_of(i)), d);
    return write_float(i, to, adjust(i, d));
}

EXEC(exec_cvt_any)
{
    PtxSlot d = inst->operand[0].slot, a = inst->operand[1].slot;
    for_lanes(l, mask)
        slot_set(w, d, l, convert(inst, slot_get(w, a, l)));
    return FLOW_NEXT;
}

/* Two elements into a packed register: the first operand is the high one. */
EXEC(exec_cvt_pack)
{
    uint8_t to = inst->type[0];
    uint32_t bits = fp_format(to)->bits;
    for_lanes(l, mask) {
        double hi, lo;
        if (inst->n_operands == 3) {
            hi = (double)fp32(COLUMN(uint32_t, 1)[l]);
            lo = (double)fp32(COLUMN(uint32_t, 2)[l]);
        } else {
            uint64_t v = slot_get(w, inst->operand[1].slot, l);
            uint32_t half = fp_format(inst->type[1])->bits;
            hi = read_float(inst->type[1], v >> half);
            lo = read_float(inst->type[1], v & ((1u << half) - 1));
        }
        uint64_t r = write_float(inst, to, adjust(inst, hi)) << bits | write_float(inst, to, adjust(inst, lo));
        slot_set(w, inst->operand[0].slot, l, r);
    }
    return FLOW_NEXT;
}

/* ---- the frequent ones ---- */

EXEC1(cvt_u64_u32, uint64_t, uint32_t, a[l]) EXEC1(cvt_s64_s32, int64_t, int32_t, a[l]) EXEC1(cvt_u32_u64, uint32_t, uint64_t, a[l])
EXEC1(cvt_u32_u16, uint32_t, uint16_t, a[l]) EXEC1(cvt_s32_s16, int32_t, int16_t, a[l]) EXEC1(cvt_u16_u32, uint16_t, uint32_t, a[l])
EXEC1(cvt_f64_f32, uint64_t, float, write_f64((double)a[l]))

static uint32_t bits_of_int(int32_t v) { return bits32((float)v); }
static uint32_t bits_of_uint(uint32_t v) { return bits32((float)v); }
EXEC1(cvt_f32_s32, uint32_t, int32_t, bits_of_int(a[l])) EXEC1(cvt_f32_u32, uint32_t, uint32_t, bits_of_uint(a[l]))

static uint32_t bf16_bits(uint32_t u)
{
    uint32_t r = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    return (u & 0x7fffffff) > 0x7f800000 ? NAN16 : r;
}
EXEC(cvt_bf16x2_f32)
{
    uint32_t *d = COLUMN(uint32_t, 0);
    const uint32_t *a = COLUMN(const uint32_t, 1), *b = COLUMN(const uint32_t, 2);
    LANEWISE(d[l] = bf16_bits(a[l]) << 16 | bf16_bits(b[l]))
    return FLOW_NEXT;
}
EXEC1(cvt_bf16_f32, uint16_t, uint32_t, bf16_bits(a[l]))
EXEC1(cvt_f32_bf16, uint32_t, uint16_t, (uint32_t)a[l] << 16)

static uint32_t f16_to_bits(uint16_t h) { return canonical32(f16_to_f32(h)); }
EXEC1(cvt_f32_f16, uint32_t, uint16_t, f16_to_bits(a[l]))

typedef struct { uint8_t to, from, rounding /* 0: must be absent; 1: rn */; uint8_t to_bytes, from_bytes; SimExec *exec; } CvtRow;
static const CvtRow rows[] = {
    {PT_U64, PT_U32, 0, 8, 4, cvt_u64_u32}, {PT_S64, PT_U32, 0, 8, 4, cvt_u64_u32}, {PT_S64, PT_S32, 0, 8, 4, cvt_s64_s32},
    {PT_U64, PT_S32, 0, 8, 4, cvt_s64_s32}, {PT_U32, PT_U64, 0, 4, 8, cvt_u32_u64}, {PT_S32, PT_U64, 0, 4, 8, cvt_u32_u64},
    {PT_U32, PT_S64, 0, 4, 8, cvt_u32_u64}, {PT_S32, PT_S64, 0, 4, 8, cvt_u32_u64}, {PT_U32, PT_U16, 0, 4, 2, cvt_u32_u16},
    {PT_S32, PT_U16, 0, 4, 2, cvt_u32_u16}, {PT_S32, PT_S16, 0, 4, 2, cvt_s32_s16}, {PT_U32, PT_S16, 0, 4, 2, cvt_s32_s16},
    {PT_U16, PT_U32, 0, 2, 4, cvt_u16_u32}, {PT_S16, PT_U32, 0, 2, 4, cvt_u16_u32}, {PT_F64, PT_F32, 0, 8, 4, cvt_f64_f32},
    {PT_F32, PT_S32, 1, 4, 4, cvt_f32_s32}, {PT_F32, PT_U32, 1, 4, 4, cvt_f32_u32}, {PT_BF16X2, PT_F32, 1, 4, 4, cvt_bf16x2_f32},
    {PT_BF16, PT_F32, 1, 2, 4, cvt_bf16_f32}, {PT_F32, PT_BF16, 0, 4, 2, cvt_f32_bf16}, {PT_F32, PT_F16, 0, 4, 2, cvt_f32_f16},
};

static SimExec *fast_cvt(const PtxInst *i)
{
    uint64_t any = i->mods[0] | i->mods[1] | i->mods[2] | i->mods[3], rn = UINT64_C(1) << (PM_RN % 64);
    bool only_rn = any == rn && inst_has(i, PM_RN);
    for (uint32_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        const CvtRow *r = &rows[k];
        if (r->to == i->type[0] && r->from == i->type[1] && (r->rounding ? only_rn : !any) && i->operand[0].slot.bytes == r->to_bytes &&
            i->operand[1].slot.bytes == r->from_bytes && (i->operand[0].slot.base == SLOT_FRAME))
            return r->exec;
    }
    return NULL;
}

bool select_cvt(Selector *s, PtxInst *inst)
{
    if (inst->n_types != 2 || inst->n_operands < 2)
        return select_missing(s, inst);
    uint8_t to = inst->type[0], from = inst->type[1];
    char cls = ptx_type_class((PtxType)to);
    bool pair = cls == 'p' || to == PT_E4M3X2 || to == PT_E5M2X2;
    bool known_to = is_int(to) || to == PT_F64 || fp_format(to), known_from = is_int(from) || from == PT_F64 || fp_format(from);
    if (!known_to || !known_from || inst_has(inst, PM_RS) || to == PT_F32X2 || from == PT_F32X2)
        return select_missing(s, inst);
    for (uint32_t k = 0; k < inst->n_operands; k++)
        if (inst->operand[k].kind != OPERAND_SLOT || inst->operand[k].slot.bytes == 0 || inst->operand[k].slot.bytes > 8)
            return select_bad(s, inst, "operands must be registers");
    if (inst->operand[0].slot.base != SLOT_FRAME)
        return select_bad(s, inst, "the result must be a register");
    uint8_t want_to = (uint8_t)(ptx_type_bytes((PtxType)to) < 2 ? 2 : ptx_type_bytes((PtxType)to));
    uint8_t want_from = (uint8_t)(ptx_type_bytes((PtxType)from) < 2 ? 2 : ptx_type_bytes((PtxType)from));
    if (inst->operand[0].slot.bytes < want_to || inst->operand[1].slot.bytes < want_from)
        return select_bad(s, inst, "a register is too narrow for its type");
    if (pair) {
        bool packed_from = ptx_type_class((PtxType)from) == 'p' || from == PT_E4M3X2 || from == PT_E5M2X2;
        if (inst->n_operands == 3 ? from != PT_F32 || inst->operand[2].slot.bytes != 4 : !packed_from)
            return select_missing(s, inst);
        inst->exec = exec_cvt_pack;
        SimExec *fast = inst->n_operands == 3 ? fast_cvt(inst) : NULL;
        inst->exec = fast ? fast : exec_cvt_pack;
        return true;
    }
    if (inst->n_operands != 2)
        return select_missing(s, inst);
    SimExec *fast = fast_cvt(inst);
    inst->exec = fast ? fast : exec_cvt_any;
    return true;
}
