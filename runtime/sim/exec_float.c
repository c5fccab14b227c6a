/* runtime/sim/exec_float.c — f32 and f64: IEEE operations in four rounding modes, and the special functions.
 *
 * The common case (round to nearest, nothing else) has loops of its own. Directed rounding goes through the host's rounding mode;
 * approximations are computed in double: their documented error is theirs, not ours. */
#include "runtime/sim/exec.h"
#include "runtime/sim/fp.h"
#include <fenv.h>
#include <math.h>

/* ---- the fast ones ---- */

#define FAST2(name, e)                                                                                                \
    EXEC(name) {                                                                                                      \
        uint32_t *d = COLUMN(uint32_t, 0);                                                                            \
        const float *a = COLUMN(const float, 1), *b = COLUMN(const float, 2);                                         \
        LANEWISE(float r = (e); d[l] = canonical32(r))                                                                \
        return FLOW_NEXT;                                                                                             \
    }
FAST2(add_f32, a[l] + b[l]) FAST2(sub_f32, a[l] - b[l]) FAST2(mul_f32, a[l] * b[l]) FAST2(div_f32, a[l] / b[l])

#define FMA_BODY                                                                                                      \
    uint32_t *d = COLUMN(uint32_t, 0);                                                                                \
    const float *a = COLUMN(const float, 1), *b = COLUMN(const float, 2), *c = COLUMN(const float, 3);                \
    LANEWISE(float r = __builtin_fmaf(a[l], b[l], c[l]); d[l] = canonical32(r))                                       \
    return FLOW_NEXT;
EXEC(fma_f32) { FMA_BODY }
#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) EXEC(fma_f32_fast) { FMA_BODY }
#endif

EXEC1(neg_f32, uint32_t, uint32_t, (a[l] & 0x7fffffff) > 0x7f800000 ? NAN32 : a[l] ^ 0x80000000)
EXEC1(abs_f32, uint32_t, uint32_t, (a[l] & 0x7fffffff) > 0x7f800000 ? NAN32 : a[l] & 0x7fffffff)
EXEC1(neg_f64, uint64_t, uint64_t, fp64(a[l]) != fp64(a[l]) ? a[l] | UINT64_C(1) << 51 : a[l] ^ UINT64_C(1) << 63)
EXEC1(abs_f64, uint64_t, uint64_t, fp64(a[l]) != fp64(a[l]) ? a[l] | UINT64_C(1) << 51 : a[l] & ~(UINT64_C(1) << 63))

/* ---- any rounding, ftz, sat ---- */

enum { MODE_FTZ = 1, MODE_SAT = 2, MODE_ROUND = 4 /* shifted: 0 nearest, then 1 + … */ };
static int host_rounding(const PtxInst *i)
{
    return inst_has(i, PM_RZ) ? FE_TOWARDZERO : inst_has(i, PM_RM) ? FE_DOWNWARD : inst_has(i, PM_RP) ? FE_UPWARD : FE_TONEAREST;
}

static float saturate(float r) { return r != r || r < 0 ? 0 : r > 1 ? 1 : r == 0 ? 0 : r; }

static float arith32(uint16_t op, float a, float b, float c)
{
    switch (op) {
    case PO_ADD:  return a + b;
    case PO_SUB:  return a - b;
    case PO_MUL:  return a * b;
    case PO_DIV:  return a / b;
    case PO_RCP:  return 1.0f / a;
    case PO_SQRT: return sqrtf(a);
    case PO_FMA:
    case PO_MAD:  return fmaf(a, b, c);
    default:      return NAN;
    }
}

static double arith64(uint16_t op, double a, double b, double c)
{
    switch (op) {
    case PO_ADD:  return a + b;
    case PO_SUB:  return a - b;
    case PO_MUL:  return a * b;
    case PO_DIV:  return a / b;
    case PO_RCP:  return 1.0 / a;
    case PO_SQRT: return sqrt(a);
    case PO_FMA:
    case PO_MAD:  return fma(a, b, c);
    default:      return NAN;
    }
}

EXEC(slow_f32)
{
    bool ftz = inst_has(inst, PM_FTZ), sat = inst_has(inst, PM_SAT);
    uint32_t *d = COLUMN(uint32_t, 0);
    uint32_t n = inst->n_operands;
    const float *a = COLUMN(const float, 1), *b = n > 2 ? COLUMN(const float, 2) : a, *c = n > 3 ? COLUMN(const float, 3) : a;
    int mode = host_rounding(inst);
    float r[LANES];
    fesetround(mode);
    for_lanes(l, mask) {
        volatile float x = a[l], y = b[l], z = c[l];
        if (ftz) {
            x = ftz32(x);
            y = ftz32(y);
            z = ftz32(z);
        }
        volatile float v = arith32(inst->op, x, y, z);
        r[l] = v;
    }
    fesetround(FE_TONEAREST);
    for_lanes(l, mask) {
        float v = ftz ? ftz32(r[l]) : r[l];
        d[l] = sat ? bits32(saturate(v)) : canonical32(v);
    }
    return FLOW_NEXT;
}

/* A NaN among the operands is the result, made quiet; 0: none is. */
static uint64_t first_nan64(uint64_t a, uint64_t b, uint64_t c)
{
    const uint64_t quiet = UINT64_C(1) << 51;
    return fp64(a) != fp64(a) ? a | quiet : fp64(b) != fp64(b) ? b | quiet : fp64(c) != fp64(c) ? c | quiet : 0;
}

EXEC(slow_f64)
{
    uint64_t *d = COLUMN(uint64_t, 0);
    uint32_t n = inst->n_operands;
    const double *a = COLUMN(const double, 1), *b = n > 2 ? COLUMN(const double, 2) : a, *c = n > 3 ? COLUMN(const double, 3) : a;
    int mode = host_rounding(inst);
    fesetround(mode);
    for_lanes(l, mask) {
        uint64_t nan = first_nan64(bits64(a[l]), bits64(b[l]), bits64(c[l]));
        volatile double v = arith64(inst->op, a[l], b[l], c[l]);
        d[l] = nan ? nan : v != v ? UINT64_C(0xfff8000000000000) : bits64(v);
    }
    fesetround(FE_TONEAREST);
    return FLOW_NEXT;
}

/* ---- min, max, neg, abs with options ---- */

static float minmax32(const PtxInst *i, float a, float b)
{
    bool min = i->op == PO_MIN;
    if (a != a || b != b)
        return inst_has(i, PM_NAN) || (a != a && b != b) ? NAN : a != a ? b : a;
    if (a == 0 && b == 0)
        return (bits32(a) >> 31) == (uint32_t)min ? a : b;
    return min ? (a < b ? a : b) : a > b ? a : b;
}

EXEC(minmax_f32)
{
    bool ftz = inst_has(inst, PM_FTZ), xorsign = inst_has(inst, PM_XORSIGN);
    uint32_t *d = COLUMN(uint32_t, 0), n = inst->n_operands;
    for_lanes(l, mask) {
        float r = 0;
        uint32_t sign = 0;
        for (uint32_t k = 1; k < n; k++) {
            float x = COLUMN(const float, k)[l];
            x = ftz ? ftz32(x) : x;
            sign ^= bits32(x) & 0x80000000;
            x = xorsign ? fabsf(x) : x;
            r = k == 1 ? x : minmax32(inst, r, x);
        }
        d[l] = canonical32(r);
        if (xorsign && r == r)
            d[l] = (d[l] & 0x7fffffff) | sign;
    }
    return FLOW_NEXT;
}

EXEC(minmax_f64)
{
    uint64_t *d = COLUMN(uint64_t, 0);
    bool min = inst->op == PO_MIN;
    for_lanes(l, mask) {
        double a = COLUMN(const double, 1)[l], b = COLUMN(const double, 2)[l], r;
        if (a != a || b != b)
            r = a != a ? b : a;
        else if (a == 0 && b == 0)
            r = (bits64(a) >> 63) == (uint64_t)min ? a : b;
        else
            r = min ? (a < b ? a : b) : a > b ? a : b;
        d[l] = r != r ? UINT64_C(0x7ff8000000000000) : bits64(r);
    }
    return FLOW_NEXT;
}

EXEC(sign_ftz_f32)
{
    uint32_t *d = COLUMN(uint32_t, 0);
    for_lanes(l, mask) {
        float x = ftz32(COLUMN(const float, 1)[l]);
        d[l] = x != x ? NAN32 : inst->op == PO_NEG ? bits32(x) ^ 0x80000000 : bits32(x) & 0x7fffffff;
    }
    return FLOW_NEXT;
}

/* ---- special functions ---- */

static double special(const PtxInst *i, double x, double y)
{
    switch (i->op) {
    case PO_RCP:   return 1.0 / x;
    case PO_SQRT:  return sqrt(x);
    case PO_RSQRT: return 1.0 / sqrt(x);
    case PO_SIN:   return sin(x);
    case PO_COS:   return cos(x);
    case PO_LG2:   return log2(x);
    case PO_EX2:   return exp2(x);
    case PO_TANH:  return tanh(x);
    case PO_DIV:   return x / y;
    default:       return NAN;
    }
}

/* div.approx and div.full flush quotients whose divisor is beyond 2^126 to zero. */
static float approximate(const PtxInst *i, float x, float y)
{
    if (i->op == PO_DIV && inst_has(i, PM_APPROX)) {
        float big = fabsf(y);
        if (big > 0x1p126f && big < INFINITY)
            return isinf(x) ? NAN : copysignf(0, copysignf(1, x) * copysignf(1, y));
    }
    return (float)special(i, (double)x, (double)y);
}

EXEC(special_f32)
{
    bool ftz = inst_has(inst, PM_FTZ), sat = inst_has(inst, PM_SAT);
    uint32_t *d = COLUMN(uint32_t, 0);
    for_lanes(l, mask) {
        float x = COLUMN(const float, 1)[l], y = inst->n_operands > 2 ? COLUMN(const float, 2)[l] : 0;
        float r = ftz ? ftz32(approximate(inst, ftz32(x), ftz32(y))) : approximate(inst, x, y);
        d[l] = sat ? bits32(saturate(r)) : canonical32(r);
    }
    return FLOW_NEXT;
}

/* rcp.approx.ftz.f64 and rsqrt.approx.f64 give 20 bits in the high word. */
EXEC(special_f64)
{
    uint64_t *d = COLUMN(uint64_t, 0);
    bool half = inst_has(inst, PM_FTZ);
    for_lanes(l, mask) {
        uint64_t u = COLUMN(const uint64_t, 1)[l];
        double x = fp64(half ? u & ~UINT64_C(0xffffffff) : u);                /* the hardware looks at the high word only */
        double r = special(inst, half && fabs(x) < 0x1p-1022 ? copysign(0, x) : x, 0);
        r = half && fabs(r) < 0x1p-1022 ? copysign(0, r) : r;
        d[l] = r != r ? UINT64_C(0x7ff8000000000000) : half ? bits64(r) & ~UINT64_C(0xffffffff) : bits64(r);
    }
    return FLOW_NEXT;
}

/* ---- copysign, testp ---- */

EXEC2(copysign_f32, uint32_t, uint32_t, (a[l] & 0x80000000) | (b[l] & 0x7fffffff))
EXEC2(copysign_f64, uint64_t, uint64_t, (a[l] & UINT64_C(1) << 63) | (b[l] & ~(UINT64_C(1) << 63)))

bool select_copysign(Selector *s, PtxInst *inst)
{
    inst->exec = inst->type[0] == PT_F64 ? copysign_f64 : copysign_f32;
    return inst->type[0] == PT_F64 || inst->type[0] == PT_F32 ? select_same(s, inst, 3) : select_missing(s, inst);
}

EXEC(exec_testp)
{
    uint32_t r = 0;
    bool wide = inst->type[0] == PT_F64;
    for_lanes(l, mask) {
        double x = fp_load(inst->type[0], slot_words(w, inst->operand[1].slot), l);
        double least = wide ? 0x1p-1022 : 0x1p-126;
        bool nan = x != x, inf = !nan && fabs(x) == INFINITY;
        bool t = inst_has(inst, PM_FINITE) ? !nan && !inf : inst_has(inst, PM_INFINITE) ? inf : inst_has(inst, PM_NUMBER) ? !nan
               : inst_has(inst, PM_NOTANUMBER) ? nan : inst_has(inst, PM_NORMAL) ? !nan && !inf && (x == 0 || fabs(x) >= least)
               : !nan && x != 0 && fabs(x) < least;
        r |= (uint32_t)t << l;
    }
    slot_set_pred(w, inst->operand[0].slot, mask, r);
    return FLOW_NEXT;
}

bool select_testp(Selector *s, PtxInst *inst)
{
    uint8_t b = (uint8_t)ptx_type_bytes((PtxType)inst->type[0]);
    inst->exec = exec_testp;
    return select_operands(s, inst, 2, (const uint8_t[]){0, b});
}

/* ---- binding ---- */

static bool is_plain(const PtxInst *i)
{
    return !inst_has(i, PM_FTZ) && !inst_has(i, PM_SAT) && !inst_has(i, PM_RZ) && !inst_has(i, PM_RM) && !inst_has(i, PM_RP);
}

static SimExec *fast_fma(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2"))
        return fma_f32_fast;
#endif
    return fma_f32;
}

static SimExec *plain_f32(const PtxInst *i)
{
    switch (i->op) {
    case PO_ADD: return add_f32;
    case PO_SUB: return sub_f32;
    case PO_MUL: return mul_f32;
    case PO_DIV: return div_f32;
    case PO_FMA:
    case PO_MAD: return fast_fma();
    default:     return slow_f32;
    }
}

static uint32_t operands_of(const PtxInst *i)
{
    switch (i->op) {
    case PO_ADD: case PO_SUB: case PO_MUL: case PO_DIV: return 3;
    case PO_MIN: case PO_MAX: return i->n_operands == 4 ? 4 : 3;
    case PO_FMA: case PO_MAD: return 4;
    default: return 2;
    }
}

/* f32x2: two f32 side by side in a 64-bit register. */
EXEC(exec_f32x2)
{
    bool ftz = inst_has(inst, PM_FTZ);
    for_lanes(l, mask) {
        uint64_t out = 0;
        for (uint32_t h = 0; h < 2; h++) {
            float x[4] = {0};
            for (uint32_t k = 1; k < inst->n_operands; k++)
                x[k] = fp32((uint32_t)(COLUMN(uint64_t, k)[l] >> 32 * h));
            for (uint32_t k = 1; ftz && k < 4; k++)
                x[k] = ftz32(x[k]);
            float r = arith32(inst->op, x[1], x[2], x[3]);
            out |= (uint64_t)canonical32(ftz ? ftz32(r) : r) << 32 * h;
        }
        COLUMN(uint64_t, 0)[l] = out;
    }
    return FLOW_NEXT;
}

bool select_float(Selector *s, PtxInst *inst)
{
    uint8_t t = inst->type[0];
    if (t == PT_F32X2) {
        inst->exec = exec_f32x2;
        return inst->op == PO_ADD || inst->op == PO_MUL || inst->op == PO_FMA || inst->op == PO_SUB ? select_same(s, inst, operands_of(inst))
                                                                                                   : select_missing(s, inst);
    }
    if (t != PT_F32 && t != PT_F64) {
        if (inst->op == PO_ADD && t == PT_F32)
            return false;
        return select_half(s, inst);
    }
    if (inst->n_types > 1)                                             /* add.f32.bf16 and the like */
        return select_missing(s, inst);
    switch (inst->op) {
    case PO_MIN:
    case PO_MAX: inst->exec = t == PT_F32 ? minmax_f32 : minmax_f64; break;
    case PO_NEG: inst->exec = t == PT_F64 ? neg_f64 : inst_has(inst, PM_FTZ) ? sign_ftz_f32 : neg_f32; break;
    case PO_ABS: inst->exec = t == PT_F64 ? abs_f64 : inst_has(inst, PM_FTZ) ? sign_ftz_f32 : abs_f32; break;
    case PO_DIV:
        if (t == PT_F32 && (inst_has(inst, PM_APPROX) || inst_has(inst, PM_FULL))) {
            inst->exec = special_f32;
            break;
        }
        inst->exec = t == PT_F64 ? slow_f64 : is_plain(inst) ? div_f32 : slow_f32;
        break;
    case PO_REM: return select_missing(s, inst);
    default:     inst->exec = t == PT_F64 ? slow_f64 : is_plain(inst) ? plain_f32(inst) : slow_f32; break;
    }
    return select_same(s, inst, operands_of(inst));
}

bool select_special(Selector *s, PtxInst *inst)
{
    uint8_t t = inst->type[0];
    bool approx = inst_has(inst, PM_APPROX);
    if (t != PT_F32 && t != PT_F64)
        return select_half(s, inst);
    if (t == PT_F64)
        inst->exec = approx ? special_f64 : slow_f64;
    else
        inst->exec = approx ? special_f32 : slow_f32;
    if (!approx && inst->op != PO_RCP && inst->op != PO_SQRT)
        return select_missing(s, inst);
    return select_same(s, inst, 2);
}
