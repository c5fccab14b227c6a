/* codegen/emit/llvm_ops.c — the op table of the LLVM emitters: one row a pointwise op, for floating point and for integers,
 * and conversions between element types. Semantics are those of ir/ops.def: maximum and minimum let NaN win, remainder has the
 * sign of its divisor, round goes to even, integer division truncates (by zero: 0), integer arithmetic wraps. */
#include "codegen/emit/llvm_common.h"

#include <math.h>

typedef struct { Llvm *L; Op op; DType t; uint32_t lanes, n; LLVMValueRef *a; LLVMTypeRef type; } Args;
typedef LLVMValueRef OpFn(const Args *x);

#define B (x->L->b)
#define A0 (x->a[0])
#define A1 (x->a[1])

static LLVMValueRef fconst(const Args *x, double v) { return ll_fconst(x->L, x->type, v); }
static LLVMValueRef iconst(const Args *x, int64_t v) { return ll_iconst(x->L, x->type, v); }
static LLVMValueRef sel(const Args *x, LLVMValueRef c, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildSelect(B, c, a, b, ""); }
static LLVMValueRef flt(const Args *x, LLVMValueRef v) { return ll_float(x->L, v); }
static LLVMValueRef call1(const Args *x, const char *name, LLVMValueRef a) { return flt(x, ll_call_unary(x->L, name, a)); }
static bool is_unsigned(const Args *x) { return x->t == DT_U8 || x->t == DT_BOOL; }

/* ---- floating point ----------------------------------------------------------------------------------------------------- */

static LLVMValueRef f_abs(const Args *x) { return call1(x, "llvm.fabs", A0); }
static LLVMValueRef f_neg(const Args *x) { return LLVMBuildFNeg(B, A0, ""); }
static LLVMValueRef f_ceil(const Args *x) { return call1(x, "llvm.ceil", A0); }
static LLVMValueRef f_floor(const Args *x) { return call1(x, "llvm.floor", A0); }
static LLVMValueRef f_round(const Args *x) { return call1(x, "llvm.roundeven", A0); }
static LLVMValueRef f_trunc(const Args *x) { return call1(x, "llvm.trunc", A0); }
static LLVMValueRef f_sqrt(const Args *x) { return call1(x, "llvm.sqrt", A0); }
static LLVMValueRef f_recip(const Args *x) { return flt(x, LLVMBuildFDiv(B, fconst(x, 1), A0, "")); }
static LLVMValueRef f_add(const Args *x) { return flt(x, LLVMBuildFAdd(B, A0, A1, "")); }
static LLVMValueRef f_sub(const Args *x) { return flt(x, LLVMBuildFSub(B, A0, A1, "")); }
static LLVMValueRef f_mul(const Args *x) { return flt(x, LLVMBuildFMul(B, A0, A1, "")); }
static LLVMValueRef f_div(const Args *x) { return flt(x, LLVMBuildFDiv(B, A0, A1, "")); }
static LLVMValueRef f_max(const Args *x) { return x->L->target->maximum(x->L, A0, A1, false); }
static LLVMValueRef f_min(const Args *x) { return x->L->target->maximum(x->L, A0, A1, true); }
static LLVMValueRef f_math(const Args *x) { return x->L->target->math(x->L, x->op, x->t == DT_F64 ? DT_F64 : DT_F32, x->a, x->n, x->lanes); }

static LLVMValueRef f_rsqrt(const Args *x)
{
    if (x->L->target->rsqrt)
        return x->L->target->rsqrt(x->L, x->t == DT_F64 ? DT_F64 : DT_F32, A0, x->lanes);
    return flt(x, LLVMBuildFDiv(B, fconst(x, 1), call1(x, "llvm.sqrt", A0), ""));
}

static LLVMValueRef f_sign(const Args *x)
{
    LLVMValueRef zero = fconst(x, 0), one = fconst(x, 1);
    LLVMValueRef args[2] = {one, A0};
    LLVMTypeRef type = x->type;
    LLVMValueRef unit = ll_call(x->L, "llvm.copysign", &type, 1, args, 2);
    LLVMValueRef ordered = LLVMBuildFCmp(B, LLVMRealONE, A0, zero, "");
    LLVMValueRef nan = LLVMBuildFCmp(B, LLVMRealUNO, A0, A0, "");
    return sel(x, ordered, unit, sel(x, nan, A0, zero));
}

static LLVMValueRef f_remainder(const Args *x)
{
    LLVMValueRef zero = fconst(x, 0);
    LLVMValueRef r = x->L->target->math(x->L, OP_FMOD, x->t == DT_F64 ? DT_F64 : DT_F32, x->a, 2, x->lanes);
    LLVMValueRef signs = LLVMBuildXor(B, LLVMBuildFCmp(B, LLVMRealOLT, r, zero, ""), LLVMBuildFCmp(B, LLVMRealOLT, A1, zero, ""), "");
    LLVMValueRef move = LLVMBuildAnd(B, signs, LLVMBuildFCmp(B, LLVMRealUNE, r, zero, ""), "");
    return sel(x, move, LLVMBuildFAdd(B, r, A1, ""), r);
}

/* The exponent alone: it and no mantissa, at least that of 2^-126. */
static LLVMValueRef f_pow2_floor(const Args *x)
{
    bool wide = x->t == DT_F64;
    LLVMTypeRef bits = ll_lanes(ll_int(x->L, wide ? 64 : 32), x->lanes);
    LLVMValueRef least = ll_iconst(x->L, bits, wide ? INT64_C(0x3810000000000000) : INT64_C(0x00800000));
    LLVMValueRef mask = ll_iconst(x->L, bits, wide ? INT64_C(0x7ff0000000000000) : INT64_C(0x7f800000));
    LLVMValueRef e = LLVMBuildAnd(B, LLVMBuildBitCast(B, A0, bits, ""), mask, "");
    return LLVMBuildBitCast(B, sel(x, LLVMBuildICmp(B, LLVMIntUGT, e, least, ""), e, least), x->type, "");
}

static LLVMValueRef f_isnan(const Args *x) { return LLVMBuildFCmp(B, LLVMRealUNO, A0, A0, ""); }
static LLVMValueRef f_isinf(const Args *x)
{
    return LLVMBuildFCmp(B, LLVMRealOEQ, call1(x, "llvm.fabs", A0), fconst(x, INFINITY), "");
}

/* ---- integers ----------------------------------------------------------------------------------------------------------- */

static LLVMValueRef icmp(const Args *x, LLVMIntPredicate s, LLVMIntPredicate u, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildICmp(B, is_unsigned(x) ? u : s, a, b, "");
}

static LLVMValueRef i_abs(const Args *x)
{
    LLVMValueRef args[2] = {A0, LLVMConstInt(ll_int(x->L, 1), 0, false)};
    LLVMTypeRef type = x->type;
    return is_unsigned(x) ? A0 : ll_call(x->L, "llvm.abs", &type, 1, args, 2);
}
static LLVMValueRef i_neg(const Args *x) { return LLVMBuildNeg(B, A0, ""); }
static LLVMValueRef i_same(const Args *x) { return A0; }
static LLVMValueRef i_not_bits(const Args *x) { return LLVMBuildNot(B, A0, ""); }
static LLVMValueRef i_false(const Args *x) { return ll_iconst(x->L, ll_lanes(ll_int(x->L, 1), x->lanes), 0); }

static LLVMValueRef i_sign(const Args *x)
{
    LLVMValueRef zero = iconst(x, 0);
    LLVMValueRef nonzero = LLVMBuildZExt(B, LLVMBuildICmp(B, LLVMIntNE, A0, zero, ""), x->type, "");
    return is_unsigned(x) ? (x->t == DT_BOOL ? A0 : nonzero)
                          : sel(x, LLVMBuildICmp(B, LLVMIntSLT, A0, zero, ""), iconst(x, -1), nonzero);
}

static LLVMValueRef i_add(const Args *x) { return x->t == DT_BOOL ? LLVMBuildOr(B, A0, A1, "") : LLVMBuildAdd(B, A0, A1, ""); }
static LLVMValueRef i_sub(const Args *x) { return LLVMBuildSub(B, A0, A1, ""); }
static LLVMValueRef i_mul(const Args *x) { return LLVMBuildMul(B, A0, A1, ""); }
static LLVMValueRef i_max(const Args *x) { return sel(x, icmp(x, LLVMIntSGT, LLVMIntUGT, A0, A1), A0, A1); }
static LLVMValueRef i_min(const Args *x) { return sel(x, icmp(x, LLVMIntSLT, LLVMIntULT, A0, A1), A0, A1); }
static LLVMValueRef i_and(const Args *x) { return LLVMBuildAnd(B, A0, A1, ""); }
static LLVMValueRef i_or(const Args *x) { return LLVMBuildOr(B, A0, A1, ""); }
static LLVMValueRef i_xor(const Args *x) { return LLVMBuildXor(B, A0, A1, ""); }

/* Division that cannot trap: the divisors 0 and -1 are replaced by 1 and the result chosen afterwards. */
static LLVMValueRef divide(const Args *x, bool rest, LLVMValueRef by_zero)
{
    LLVMValueRef zero = iconst(x, 0), one = iconst(x, 1), minus = iconst(x, -1);
    LLVMValueRef is_zero = LLVMBuildICmp(B, LLVMIntEQ, A1, zero, "");
    if (is_unsigned(x)) {
        LLVMValueRef by = sel(x, is_zero, one, A1);
        return sel(x, is_zero, by_zero, rest ? LLVMBuildURem(B, A0, by, "") : LLVMBuildUDiv(B, A0, by, ""));
    }
    LLVMValueRef is_minus = LLVMBuildICmp(B, LLVMIntEQ, A1, minus, "");
    LLVMValueRef by = sel(x, LLVMBuildOr(B, is_zero, is_minus, ""), one, A1);
    LLVMValueRef q = rest ? LLVMBuildSRem(B, A0, by, "") : LLVMBuildSDiv(B, A0, by, "");
    q = sel(x, is_minus, rest ? zero : LLVMBuildNeg(B, A0, ""), q);
    return sel(x, is_zero, by_zero, q);
}

static LLVMValueRef i_div(const Args *x) { return x->t == DT_BOOL ? LLVMBuildAnd(B, A0, A1, "") : divide(x, false, iconst(x, 0)); }
static LLVMValueRef i_fmod(const Args *x) { return x->t == DT_BOOL ? iconst(x, 0) : divide(x, true, iconst(x, 0)); }

static LLVMValueRef i_remainder(const Args *x)
{
    LLVMValueRef r = i_fmod(x), zero = iconst(x, 0);
    if (is_unsigned(x))
        return r;
    LLVMValueRef signs = LLVMBuildICmp(B, LLVMIntSLT, LLVMBuildXor(B, r, A1, ""), zero, "");
    LLVMValueRef move = LLVMBuildAnd(B, signs, LLVMBuildICmp(B, LLVMIntNE, r, zero, ""), "");
    return sel(x, move, LLVMBuildAdd(B, r, A1, ""), r);
}

/* Square and multiply over the bits of the exponent, wrapping; a negative exponent gives 0 but for the bases 1 and -1. */
static LLVMValueRef i_pow(const Args *x)
{
    uint32_t bits = dtype_bytes(x->t) * 8;
    LLVMValueRef zero = iconst(x, 0), one = iconst(x, 1), r = one, base = A0, e = A1;
    if (x->t == DT_BOOL)
        return LLVMBuildOr(B, A0, LLVMBuildNot(B, A1, ""), "");
    for (uint32_t i = 0; i < bits; i++) {
        LLVMValueRef odd = LLVMBuildICmp(B, LLVMIntNE, LLVMBuildAnd(B, e, one, ""), zero, "");
        r = LLVMBuildMul(B, r, sel(x, odd, base, one), "");
        base = LLVMBuildMul(B, base, base, "");
        e = LLVMBuildLShr(B, e, one, "");
    }
    if (is_unsigned(x))
        return r;
    LLVMValueRef unit = LLVMBuildOr(B, LLVMBuildICmp(B, LLVMIntEQ, A0, one, ""), LLVMBuildICmp(B, LLVMIntEQ, A0, iconst(x, -1), ""), "");
    LLVMValueRef negative = LLVMBuildAnd(B, LLVMBuildICmp(B, LLVMIntSLT, A1, zero, ""), LLVMBuildNot(B, unit, ""), "");
    return sel(x, negative, zero, r);
}

/* Shifts by the width or more give 0, or the sign. */
static LLVMValueRef i_shl(const Args *x)
{
    if (x->t == DT_BOOL)
        return A0;
    LLVMValueRef fits = LLVMBuildICmp(B, LLVMIntULT, A1, iconst(x, (int64_t)dtype_bytes(x->t) * 8), "");
    return sel(x, fits, LLVMBuildShl(B, A0, sel(x, fits, A1, iconst(x, 0)), ""), iconst(x, 0));
}

static LLVMValueRef i_shr(const Args *x)
{
    int64_t bits = (int64_t)dtype_bytes(x->t) * 8;
    if (x->t == DT_BOOL)
        return LLVMBuildAnd(B, A0, LLVMBuildNot(B, A1, ""), "");
    LLVMValueRef fits = LLVMBuildICmp(B, LLVMIntULT, A1, iconst(x, bits), "");
    LLVMValueRef by = sel(x, fits, A1, iconst(x, bits - 1));
    if (is_unsigned(x))
        return sel(x, fits, LLVMBuildLShr(B, A0, by, ""), iconst(x, 0));
    return LLVMBuildAShr(B, A0, by, "");
}

/* ---- comparisons and logic ---------------------------------------------------------------------------------------------- */

static LLVMValueRef truth(const Args *x, LLVMValueRef v)
{
    return dtype_is_float(x->t) ? LLVMBuildFCmp(B, LLVMRealUNE, v, fconst(x, 0), "")
                                : LLVMBuildICmp(B, LLVMIntNE, v, iconst(x, 0), "");
}

static LLVMValueRef c_not(const Args *x) { return LLVMBuildNot(B, truth(x, A0), ""); }
static LLVMValueRef c_and(const Args *x) { return LLVMBuildAnd(B, truth(x, A0), truth(x, A1), ""); }
static LLVMValueRef c_or(const Args *x) { return LLVMBuildOr(B, truth(x, A0), truth(x, A1), ""); }
static LLVMValueRef c_xor(const Args *x) { return LLVMBuildXor(B, truth(x, A0), truth(x, A1), ""); }
static LLVMValueRef c_where(const Args *x) { return sel(x, A0, A1, x->a[2]); }

#define COMPARE(name, real, sint, uint)                                                                  \
    static LLVMValueRef name(const Args *x)                                                              \
    { return dtype_is_float(x->t) ? LLVMBuildFCmp(B, real, A0, A1, "") : icmp(x, sint, uint, A0, A1); }
COMPARE(c_eq, LLVMRealOEQ, LLVMIntEQ, LLVMIntEQ)
COMPARE(c_ne, LLVMRealUNE, LLVMIntNE, LLVMIntNE)
COMPARE(c_lt, LLVMRealOLT, LLVMIntSLT, LLVMIntULT)
COMPARE(c_le, LLVMRealOLE, LLVMIntSLE, LLVMIntULE)
COMPARE(c_gt, LLVMRealOGT, LLVMIntSGT, LLVMIntUGT)
COMPARE(c_ge, LLVMRealOGE, LLVMIntSGE, LLVMIntUGE)

/* ---- the table ---------------------------------------------------------------------------------------------------------- */

typedef struct { OpFn *on_float, *on_integer; } OpRow;

static const OpRow rows[OP_COUNT] = {
    [OP_ABS] = {f_abs, i_abs},           [OP_NEG] = {f_neg, i_neg},           [OP_SIGN] = {f_sign, i_sign},
    [OP_CEIL] = {f_ceil, i_same},        [OP_FLOOR] = {f_floor, i_same},      [OP_ROUND] = {f_round, i_same},
    [OP_TRUNC] = {f_trunc, i_same},      [OP_POW2_FLOOR] = {f_pow2_floor, NULL},
    [OP_SQRT] = {f_sqrt, NULL},          [OP_RSQRT] = {f_rsqrt, NULL},
    [OP_RECIPROCAL] = {f_recip, NULL},   [OP_EXP] = {f_math, NULL},           [OP_EXP2] = {f_math, NULL},
    [OP_EXPM1] = {f_math, NULL},         [OP_LOG] = {f_math, NULL},           [OP_LOG2] = {f_math, NULL},
    [OP_LOG10] = {f_math, NULL},         [OP_LOG1P] = {f_math, NULL},         [OP_SIN] = {f_math, NULL},
    [OP_COS] = {f_math, NULL},           [OP_TAN] = {f_math, NULL},           [OP_ASIN] = {f_math, NULL},
    [OP_ACOS] = {f_math, NULL},          [OP_ATAN] = {f_math, NULL},          [OP_SINH] = {f_math, NULL},
    [OP_COSH] = {f_math, NULL},          [OP_TANH] = {f_math, NULL},          [OP_ASINH] = {f_math, NULL},
    [OP_ACOSH] = {f_math, NULL},         [OP_ATANH] = {f_math, NULL},         [OP_ERF] = {f_math, NULL},
    [OP_ERFC] = {f_math, NULL},          [OP_ISNAN] = {f_isnan, i_false},     [OP_ISINF] = {f_isinf, i_false},
    [OP_NOT] = {c_not, c_not},           [OP_BIT_NOT] = {NULL, i_not_bits},   [OP_ADD] = {f_add, i_add},
    [OP_SUB] = {f_sub, i_sub},           [OP_MUL] = {f_mul, i_mul},           [OP_DIV] = {f_div, i_div},
    [OP_POW] = {f_math, i_pow},          [OP_FMOD] = {f_math, i_fmod},        [OP_REMAINDER] = {f_remainder, i_remainder},
    [OP_MAXIMUM] = {f_max, i_max},       [OP_MINIMUM] = {f_min, i_min},       [OP_ATAN2] = {f_math, NULL},
    [OP_EQ] = {c_eq, c_eq},              [OP_NE] = {c_ne, c_ne},              [OP_LT] = {c_lt, c_lt},
    [OP_LE] = {c_le, c_le},              [OP_GT] = {c_gt, c_gt},              [OP_GE] = {c_ge, c_ge},
    [OP_AND] = {c_and, c_and},           [OP_OR] = {c_or, c_or},              [OP_XOR] = {c_xor, c_xor},
    [OP_BIT_AND] = {NULL, i_and},        [OP_BIT_OR] = {NULL, i_or},          [OP_BIT_XOR] = {NULL, i_xor},
    [OP_SHL] = {NULL, i_shl},            [OP_SHR] = {NULL, i_shr},            [OP_WHERE] = {c_where, c_where},
};

LLVMValueRef ll_op(Llvm *L, Op op, DType operand, DType result, LLVMValueRef *args, uint32_t n, uint32_t lanes)
{
    OpFn *fn = dtype_is_float(operand) ? rows[op].on_float : rows[op].on_integer;
    pawl_assert(fn, "no LLVM emission of %s on %s", op_name(op), dtype_name(operand));
    Args x = {L, op, operand, lanes, n, args, ll_value_type(L, operand, lanes)};
    LLVMValueRef v = fn(&x);
    bool exact = op == OP_WHERE || op == OP_NEG || op == OP_ABS || op == OP_MAXIMUM || op == OP_MINIMUM || op == OP_SIGN;
    return exact ? v : ll_round(L, v, result, lanes);
}

/* Not the other way round, b where either is NaN and then a where a is: LLVM 19 takes |x| > 0, or x is NaN, for x > 0, or NaN. */
LLVMValueRef ll_maximum(Llvm *L, LLVMValueRef a, LLVMValueRef b, bool minimum)
{
    LLVMValueRef first = LLVMBuildFCmp(L->b, minimum ? LLVMRealULT : LLVMRealUGT, a, b, "");
    LLVMValueRef v = LLVMBuildSelect(L->b, first, a, b, "");                /* a where either is NaN */
    return LLVMBuildSelect(L->b, LLVMBuildFCmp(L->b, LLVMRealUNO, b, b, ""), b, v, "");
}

/* ---- element types ------------------------------------------------------------------------------------------------------ */

#undef B
#define B (L->b)

static LLVMTypeRef int_lanes(Llvm *L, uint32_t bits, uint32_t lanes) { return ll_lanes(ll_int(L, bits), lanes); }

/* Round to nearest even by adding 0x7fff and the lowest kept bit; NaN becomes the quiet NaN of its sign. */
LLVMValueRef ll_bf16_bits(Llvm *L, LLVMValueRef v, uint32_t lanes)
{
    LLVMTypeRef i32 = int_lanes(L, 32, lanes);
    LLVMValueRef u = LLVMBuildBitCast(B, v, i32, ""), sixteen = ll_iconst(L, i32, 16);
    LLVMValueRef odd = LLVMBuildAnd(B, LLVMBuildLShr(B, u, sixteen, ""), ll_iconst(L, i32, 1), "");
    LLVMValueRef r = LLVMBuildAdd(B, LLVMBuildAdd(B, u, ll_iconst(L, i32, 0x7fff), ""), odd, "");
    LLVMValueRef nan = LLVMBuildOr(B, u, ll_iconst(L, i32, 0x7fc00000), "");
    r = LLVMBuildSelect(B, LLVMBuildFCmp(B, LLVMRealUNO, v, v, ""), nan, r, "");
    return LLVMBuildTrunc(B, LLVMBuildLShr(B, r, sixteen, ""), int_lanes(L, 16, lanes), "");
}

/* Where vectors are pairs in 32-bit registers: the low halves shifted, the high halves masked. */
static LLVMValueRef bf16_pairs(Llvm *L, LLVMValueRef bits, uint32_t lanes)
{
    LLVMTypeRef i32 = int_lanes(L, 32, lanes / 2), f32 = ll_value_type(L, DT_F32, 1);
    LLVMValueRef words = LLVMBuildBitCast(B, bits, i32, ""), v[16];
    for (uint32_t i = 0; i < lanes / 2; i++) {
        LLVMValueRef w = ll_extract(L, words, i, lanes / 2), scalar = ll_iconst(L, ll_int(L, 32), 16);
        v[2 * i] = LLVMBuildBitCast(B, LLVMBuildShl(B, w, scalar, ""), f32, "");
        v[2 * i + 1] = LLVMBuildBitCast(B, LLVMBuildAnd(B, w, ll_iconst(L, ll_int(L, 32), (int64_t)0xffff0000), ""), f32, "");
    }
    return ll_join(L, v, lanes);
}

static LLVMValueRef bf16_value(Llvm *L, LLVMValueRef bits, uint32_t lanes)
{
    LLVMTypeRef i32 = int_lanes(L, 32, lanes);
    LLVMValueRef u = LLVMBuildShl(B, LLVMBuildZExt(B, bits, i32, ""), ll_iconst(L, i32, 16), "");
    return LLVMBuildBitCast(B, u, ll_value_type(L, DT_F32, lanes), "");
}

LLVMValueRef ll_to_memory(Llvm *L, LLVMValueRef v, DType t, uint32_t lanes)
{
    if (t == DT_BF16)       /* already representable: the high half */
        return LLVMBuildTrunc(B, LLVMBuildLShr(B, LLVMBuildBitCast(B, v, int_lanes(L, 32, lanes), ""),
                                               ll_iconst(L, int_lanes(L, 32, lanes), 16), ""), int_lanes(L, 16, lanes), "");
    if (t == DT_F16)
        return L->target->f16_bits(L, v, lanes);
    return t == DT_BOOL ? LLVMBuildZExt(B, v, int_lanes(L, 8, lanes), "") : v;
}

LLVMValueRef ll_from_memory(Llvm *L, LLVMValueRef v, DType t, uint32_t lanes)
{
    if (t == DT_BF16)
        return L->target->max_access && lanes > 1 ? bf16_pairs(L, v, lanes) : bf16_value(L, v, lanes);
    if (t == DT_F16)
        return L->target->f16_value(L, v, lanes);
    return t == DT_BOOL ? LLVMBuildICmp(B, LLVMIntNE, v, ll_iconst(L, LLVMTypeOf(v), 0), "") : v;
}

LLVMValueRef ll_round(Llvm *L, LLVMValueRef v, DType t, uint32_t lanes)
{
    if (t == DT_BF16)
        return bf16_value(L, L->target->bf16_bits(L, v, lanes), lanes);
    if (t == DT_F16)
        return L->target->f16_value(L, L->target->f16_bits(L, v, lanes), lanes);
    return v;
}

/* f64 to f32 with round to odd, so that the rounding to a narrower type that follows is the only one. */
static LLVMValueRef f32_to_odd(Llvm *L, LLVMValueRef d, uint32_t lanes)
{
    LLVMTypeRef f32 = ll_value_type(L, DT_F32, lanes), f64 = LLVMTypeOf(d), i32 = int_lanes(L, 32, lanes);
    LLVMValueRef f = LLVMBuildFPTrunc(B, d, f32, ""), back = LLVMBuildFPExt(B, f, f64, "");
    LLVMValueRef inexact = LLVMBuildFCmp(B, LLVMRealONE, back, d, "");
    LLVMValueRef over = LLVMBuildFCmp(B, LLVMRealOGT, ll_call_unary(L, "llvm.fabs", back), ll_call_unary(L, "llvm.fabs", d), "");
    LLVMValueRef u = LLVMBuildBitCast(B, f, i32, "");
    LLVMValueRef down = LLVMBuildSub(B, u, LLVMBuildZExt(B, over, i32, ""), "");
    LLVMValueRef odd = LLVMBuildOr(B, down, ll_iconst(L, i32, 1), "");
    return LLVMBuildBitCast(B, LLVMBuildSelect(B, inexact, odd, u, ""), f32, "");
}

static LLVMValueRef float_to_float(Llvm *L, LLVMValueRef v, DType from, DType to, uint32_t lanes)
{
    if (from == DT_F64)
        v = to == DT_F32 ? LLVMBuildFPTrunc(B, v, ll_value_type(L, DT_F32, lanes), "") : f32_to_odd(L, v, lanes);
    if (to == DT_F64)
        return LLVMBuildFPExt(B, v, ll_value_type(L, DT_F64, lanes), "");
    return from == DT_BF16 && to == DT_F32 ? v : from == DT_F16 && to == DT_F32 ? v : ll_round(L, v, to, lanes);
}

static LLVMValueRef integer_to_float(Llvm *L, LLVMValueRef v, DType from, DType to, uint32_t lanes)
{
    bool wide = (from == DT_I64 || from == DT_I32) && (to == DT_F16 || to == DT_BF16);
    LLVMTypeRef t = ll_value_type(L, wide ? DT_F64 : to, lanes);
    bool uns = dtype_class(from) != DC_SIGNED;
    if (dtype_bytes(from) == 1)
        v = LLVMBuildIntCast2(B, v, int_lanes(L, 32, lanes), !uns, "");
    v = LLVMBuildSIToFP(B, v, t, "");
    return wide ? float_to_float(L, v, DT_F64, to, lanes) : ll_round(L, v, to, lanes);
}

/* Truncates; out of range is as the machine has it, but never undefined. i8 goes through i32 and u8 through i64, then wrap. */
static LLVMValueRef float_to_integer(Llvm *L, LLVMValueRef v, DType to, uint32_t lanes)
{
    if (to == DT_BOOL)
        return LLVMBuildFCmp(B, LLVMRealUNE, v, ll_fconst(L, LLVMTypeOf(v), 0), "");
    LLVMTypeRef through = int_lanes(L, to == DT_I32 || to == DT_I8 ? 32 : 64, lanes);
    v = LLVMBuildFreeze(B, LLVMBuildFPToSI(B, v, through, ""), "");
    return LLVMBuildIntCast2(B, v, ll_value_type(L, to, lanes), true, "");
}

LLVMValueRef ll_cast(Llvm *L, LLVMValueRef v, DType from, DType to, uint32_t lanes)
{
    if (from == to)
        return v;
    if (dtype_is_float(from))
        return dtype_is_float(to) ? float_to_float(L, v, from, to, lanes) : float_to_integer(L, v, to, lanes);
    if (dtype_is_float(to))
        return integer_to_float(L, v, from, to, lanes);
    if (to == DT_BOOL)
        return LLVMBuildICmp(B, LLVMIntNE, v, ll_iconst(L, LLVMTypeOf(v), 0), "");
    return LLVMBuildIntCast2(B, v, ll_value_type(L, to, lanes), dtype_class(from) == DC_SIGNED, "");
}
