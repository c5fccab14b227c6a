/* codegen/emit/math_expand.c — fp32 functions as straight-line LLVM IR, used on GPUs without libdevice and, where the host asks for
 * inlined math, on CPUs. Special values are C's. Largest errors found against fp64 over the whole range (tests/codegen/
 * test_emit_host.c holds them), in ulp, with a correctly rounded 2^f (ex2.approx adds 1 to those marked *):
 *
 *     exp* exp2* 1.5    expm1 1.5     log log1p 2     log2 log10 3    sin cos 1.5 (NaN beyond |x| = 2^40)
 *     tan 3             asin acos 3   atan atan2 3    sinh* cosh* 3   tanh* 2       asinh acosh atanh 4
 *     erf* 1.5          erfc* 4       pow* 2          fmod exact
 *
 * Polynomials: Cephes (Moshier) for log, sin, cos, asin, atan, tanh; erf and erfc after N. Juffa. */
#include "codegen/emit/math_expand.h"

#include <math.h>

typedef LLVMValueRef V;
typedef struct { Llvm *L; LLVMBuilderRef b; uint32_t lanes; LLVMTypeRef f, d, i, l; Exp2Fraction *exp2_fraction; } M;

static V k(const M *m, double c) { return ll_fconst(m->L, m->f, c); }
static V kd(const M *m, double c) { return ll_fconst(m->L, m->d, c); }
static V ki(const M *m, int64_t c) { return ll_iconst(m->L, m->i, c); }
static V kl(const M *m, int64_t c) { return ll_iconst(m->L, m->l, c); }
static V add(const M *m, V a, V b) { return LLVMBuildFAdd(m->b, a, b, ""); }
static V sub(const M *m, V a, V b) { return LLVMBuildFSub(m->b, a, b, ""); }
static V mul(const M *m, V a, V b) { return LLVMBuildFMul(m->b, a, b, ""); }
static V quo(const M *m, V a, V b) { return LLVMBuildFDiv(m->b, a, b, ""); }
static V neg(const M *m, V a) { return LLVMBuildFNeg(m->b, a, ""); }
static V sel(const M *m, V c, V a, V b) { return LLVMBuildSelect(m->b, c, a, b, ""); }
static V lt(const M *m, V a, V b) { return LLVMBuildFCmp(m->b, LLVMRealOLT, a, b, ""); }
static V gt(const M *m, V a, V b) { return LLVMBuildFCmp(m->b, LLVMRealOGT, a, b, ""); }
static V eq(const M *m, V a, V b) { return LLVMBuildFCmp(m->b, LLVMRealOEQ, a, b, ""); }
static V is_nan(const M *m, V a) { return LLVMBuildFCmp(m->b, LLVMRealUNO, a, a, ""); }
static V both(const M *m, V a, V b) { return LLVMBuildAnd(m->b, a, b, ""); }
static V either(const M *m, V a, V b) { return LLVMBuildOr(m->b, a, b, ""); }
static V call(const M *m, const char *name, V a) { return ll_call_unary(m->L, name, a); }
static V magnitude(const M *m, V a) { return call(m, "llvm.fabs", a); }
static V root(const M *m, V a) { return call(m, "llvm.sqrt", a); }
static V rint_of(const M *m, V a) { return call(m, "llvm.roundeven", a); }
static V bits(const M *m, V a) { return LLVMBuildBitCast(m->b, a, m->i, ""); }
static V from_bits(const M *m, V a) { return LLVMBuildBitCast(m->b, a, m->f, ""); }
static V wide(const M *m, V a) { return LLVMBuildFPExt(m->b, a, m->d, ""); }
static V narrow(const M *m, V a) { return LLVMBuildFPTrunc(m->b, a, m->f, ""); }
static V to_int(const M *m, V a) { return LLVMBuildFreeze(m->b, LLVMBuildFPToSI(m->b, a, m->i, ""), ""); }
static V to_float(const M *m, V a) { return LLVMBuildSIToFP(m->b, a, m->f, ""); }

static V fma_of(const M *m, V a, V b, V c)
{
    LLVMTypeRef t = LLVMTypeOf(a);
    V args[3] = {a, b, c};
    return ll_call(m->L, "llvm.fma", &t, 1, args, 3);
}

static V copysign_of(const M *m, V a, V s)
{
    LLVMTypeRef t = m->f;
    V args[2] = {a, s};
    return ll_call(m->L, "llvm.copysign", &t, 1, args, 2);
}

/* Horner with fused steps: c[0] x^(n-1) + … + c[n-1]. */
static V poly(const M *m, V x, const double *c, uint32_t n)
{
    V r = ll_fconst(m->L, LLVMTypeOf(x), c[0]);
    for (uint32_t i = 1; i < n; i++)
        r = fma_of(m, r, x, ll_fconst(m->L, LLVMTypeOf(x), c[i]));
    return r;
}
#define POLY(m, x, ...) poly((m), (x), (const double[]){__VA_ARGS__}, sizeof((const double[]){__VA_ARGS__}) / sizeof(double))

/* Between lo and hi; NaN stays. */
static V clamp(const M *m, V x, double lo, double hi)
{
    V l = ll_fconst(m->L, LLVMTypeOf(x), lo), h = ll_fconst(m->L, LLVMTypeOf(x), hi);
    return sel(m, lt(m, x, l), l, sel(m, gt(m, x, h), h, x));
}

/* ---- exponentials ------------------------------------------------------------------------------------------------------- */

/* r * 2^n for |n| <= 250, in two steps so that neither factor overflows. */
static V scale(const M *m, V r, V n)
{
    V half = LLVMBuildAShr(m->b, n, ki(m, 1), ""), rest = LLVMBuildSub(m->b, n, half, "");
    V a = LLVMBuildShl(m->b, LLVMBuildAdd(m->b, half, ki(m, 127), ""), ki(m, 23), "");
    V b = LLVMBuildShl(m->b, LLVMBuildAdd(m->b, rest, ki(m, 127), ""), ki(m, 23), "");
    return mul(m, mul(m, r, from_bits(m, a)), from_bits(m, b));
}

/* e^x * 2^shift: x log2(e) = n + f, with log2(e) in two parts. */
static V exp_scaled(const M *m, V x, int shift)
{
    x = clamp(m, x, -110, 100);
    V n = rint_of(m, mul(m, x, k(m, 0x1.715476p+0)));
    V f = fma_of(m, x, k(m, 0x1.715476p+0), neg(m, n));
    f = fma_of(m, x, k(m, 0x1.4ae0c0p-26), f);
    return scale(m, m->exp2_fraction(m->L, f, m->lanes), LLVMBuildAdd(m->b, to_int(m, n), ki(m, shift), ""));
}

static V exp_(const M *m, V x) { return exp_scaled(m, x, 0); }

static V exp2_(const M *m, V x)
{
    x = clamp(m, x, -160, 140);
    V n = rint_of(m, x);
    return scale(m, m->exp2_fraction(m->L, sub(m, x, n), m->lanes), to_int(m, n));
}

/* x = n ln 2 + f; (2^n (e^f - 1) + (2^n - 1)), halved so that 2^128 does not overflow. */
static V expm1_(const M *m, V arg)
{
    V x = clamp(m, arg, -30, 100);
    V n = rint_of(m, mul(m, x, k(m, 0x1.715476p+0)));
    V f = fma_of(m, n, k(m, -0x1.62e400p-1), x);
    f = fma_of(m, n, k(m, -0x1.7f7d1cp-20), f);
    V p = POLY(m, f, 1 / 5040.0, 1 / 720.0, 1 / 120.0, 1 / 24.0, 1 / 6.0, 0.5);
    p = fma_of(m, mul(m, p, f), f, f);
    V s = from_bits(m, LLVMBuildShl(m->b, LLVMBuildAdd(m->b, to_int(m, n), ki(m, 126), ""), ki(m, 23), ""));
    V r = fma_of(m, p, s, sub(m, s, k(m, 0.5)));
    r = add(m, r, r);
    r = sel(m, gt(m, arg, k(m, 89)), k(m, INFINITY), r);
    return sel(m, eq(m, n, k(m, 0)), p, r);
}

V math_exp2_polynomial(Llvm *L, V f, uint32_t lanes)
{
    M m = {.L = L, .b = L->b, .lanes = lanes, .f = LLVMTypeOf(f)};
    return POLY(&m, f, 0x1.ffcbfcp-17, 0x1.430912p-13, 0x1.5d87fep-10, 0x1.3b2ab6p-7, 0x1.c6b08ep-5, 0x1.ebfbe0p-3, 0x1.62e430p-1, 1);
}

/* ---- logarithms --------------------------------------------------------------------------------------------------------- */

typedef struct { V e, f, q; } LogParts;      /* x = 2^e m, ln m = f + q, f = m - 1, m in [sqrt(1/2), sqrt(2)) */

static LogParts log_parts(const M *m, V x)
{
    V tiny = lt(m, x, k(m, 0x1p-126));
    V i = bits(m, sel(m, tiny, mul(m, x, k(m, 0x1p23)), x));
    V e = LLVMBuildAShr(m->b, LLVMBuildSub(m->b, i, ki(m, 0x3f3504f3), ""), ki(m, 23), "");
    V f = sub(m, from_bits(m, LLVMBuildSub(m->b, i, LLVMBuildShl(m->b, e, ki(m, 23), ""), "")), k(m, 1));
    V z = mul(m, f, f);
    V p = POLY(m, f, 7.0376836292E-2, -1.1514610310E-1, 1.1676998740E-1, -1.2420140846E-1, 1.4249322787E-1, -1.6668057665E-1,
               2.0000714765E-1, -2.4999993993E-1, 3.3333331174E-1);
    V q = fma_of(m, k(m, -0.5), z, mul(m, mul(m, p, f), z));
    return (LogParts){add(m, to_float(m, e), sel(m, tiny, k(m, -23), k(m, 0))), f, q};
}

static V log_special(const M *m, V x, V r)
{
    r = sel(m, eq(m, x, k(m, INFINITY)), x, r);
    r = sel(m, lt(m, x, k(m, 0)), k(m, NAN), r);
    r = sel(m, eq(m, x, k(m, 0)), k(m, -INFINITY), r);
    return sel(m, is_nan(m, x), x, r);
}

static V log_(const M *m, V x)
{
    LogParts p = log_parts(m, x);
    V r = fma_of(m, p.e, k(m, -2.12194440e-4), p.q);
    return log_special(m, x, fma_of(m, p.e, k(m, 0.693359375), add(m, p.f, r)));
}

/* ln m times a constant in two parts, e times another */
static V log_base(const M *m, V x, double high, double low, double e_high, double e_low)
{
    LogParts p = log_parts(m, x);
    V r = fma_of(m, p.e, k(m, e_low), mul(m, p.f, k(m, low)));
    r = fma_of(m, p.q, k(m, high), r);
    r = fma_of(m, p.f, k(m, high), r);
    return log_special(m, x, fma_of(m, p.e, k(m, e_high), r));
}

static V log2_(const M *m, V x) { return log_base(m, x, 0x1.715476p+0, 0x1.4ae0c0p-26, 1, 0); }
static V log10_(const M *m, V x) { return log_base(m, x, 0x1.bcb7b2p-2, -0x1.5b235ep-27, 0x1.344000p-2, 0x1.3509f8p-18); }

static V log1p_(const M *m, V x)
{
    V u = add(m, x, k(m, 1));
    V r = add(m, log_(m, u), quo(m, sub(m, x, sub(m, u, k(m, 1))), u));
    r = sel(m, either(m, eq(m, u, k(m, INFINITY)), eq(m, u, k(m, 0))), log_(m, u), r);
    return sel(m, eq(m, u, k(m, 1)), x, r);
}

/* ---- trigonometry ------------------------------------------------------------------------------------------------------- */

typedef struct { V s, c, quadrant; } SinCos;

/* x = n pi/2 + r in fp64 with pi/2 to 106 bits. */
static SinCos sin_cos(const M *m, V x)
{
    V d = wide(m, sel(m, gt(m, magnitude(m, x), k(m, 0x1p40)), k(m, NAN), x)), n = rint_of(m, mul(m, d, kd(m, 0x1.45f306dc9c883p-1)));
    V minus = neg(m, n);
    V r = narrow(m, fma_of(m, minus, kd(m, 0x1.1a62633145c07p-54), fma_of(m, minus, kd(m, 0x1.921fb54442d18p+0), d)));
    V quarter = call(m, "llvm.floor", mul(m, n, kd(m, 0.25)));
    V q = fma_of(m, quarter, kd(m, -4), n);
    V z = mul(m, r, r);
    V s = POLY(m, z, -1.9515295891E-4, 8.3321608736E-3, -1.6666654611E-1);
    V c = POLY(m, z, 2.443315711809948E-005, -1.388731625493765E-003, 4.166664568298827E-002);
    SinCos x2 = {fma_of(m, mul(m, s, z), r, r), fma_of(m, mul(m, c, z), z, fma_of(m, k(m, -0.5), z, k(m, 1))),
                 LLVMBuildFreeze(m->b, LLVMBuildFPToSI(m->b, q, m->i, ""), "")};
    return x2;
}

static V bit_set(const M *m, V i, int64_t bit)
{
    return LLVMBuildICmp(m->b, LLVMIntNE, LLVMBuildAnd(m->b, i, ki(m, bit), ""), ki(m, 0), "");
}

static V sin_(const M *m, V x)
{
    SinCos p = sin_cos(m, x);
    V r = sel(m, bit_set(m, p.quadrant, 1), p.c, p.s);
    r = sel(m, bit_set(m, p.quadrant, 2), neg(m, r), r);
    return sel(m, eq(m, x, k(m, 0)), x, r);
}

static V cos_(const M *m, V x)
{
    SinCos p = sin_cos(m, x);
    V r = sel(m, bit_set(m, p.quadrant, 1), p.s, p.c);
    return sel(m, bit_set(m, LLVMBuildAdd(m->b, p.quadrant, ki(m, 1), ""), 2), neg(m, r), r);
}

static V tan_(const M *m, V x)
{
    SinCos p = sin_cos(m, x);
    V odd = bit_set(m, p.quadrant, 1);
    V r = quo(m, sel(m, odd, neg(m, p.c), p.s), sel(m, odd, p.s, p.c));
    return sel(m, eq(m, x, k(m, 0)), x, r);
}

/* asin(s) for s in [0, 1/2], z = s^2 */
static V asin_core(const M *m, V s, V z)
{
    V p = POLY(m, z, 4.2163199048E-2, 2.4181311049E-2, 4.5470025998E-2, 7.4953002686E-2, 1.6666752422E-1);
    return fma_of(m, mul(m, p, z), s, s);
}

static V asin_(const M *m, V x)
{
    V a = magnitude(m, x), large = gt(m, a, k(m, 0.5));
    V z = sel(m, large, mul(m, k(m, 0.5), sub(m, k(m, 1), a)), mul(m, a, a));
    V r = asin_core(m, sel(m, large, root(m, z), a), z);
    V folded = add(m, fma_of(m, k(m, -2), r, k(m, -0x1.777a5cp-25)), k(m, 0x1.921fb6p+0));
    return copysign_of(m, sel(m, large, folded, r), x);
}

static V acos_(const M *m, V x)
{
    V a = magnitude(m, x), large = gt(m, a, k(m, 0.5));
    V z = sel(m, large, mul(m, k(m, 0.5), sub(m, k(m, 1), a)), mul(m, a, a));
    V r = asin_core(m, sel(m, large, root(m, z), x), z);
    V twice = add(m, r, r), negative = lt(m, x, k(m, 0));
    V far = sel(m, negative, sub(m, k(m, 0x1.921fb6p+1), add(m, twice, k(m, 0x1.777a5cp-24))), twice);
    V near = sub(m, k(m, 0x1.921fb6p+0), add(m, r, k(m, 0x1.777a5cp-25)));
    return sel(m, large, far, near);
}

/* atan(a) for a >= 0 */
static V atan_core(const M *m, V a)
{
    V high = gt(m, a, k(m, 2.414213562373095)), middle = gt(m, a, k(m, 0.4142135623730950));
    V one = k(m, 1);
    V num = sel(m, high, k(m, -1), sel(m, middle, sub(m, a, one), a)), den = sel(m, high, a, sel(m, middle, add(m, a, one), one));
    V base = sel(m, high, k(m, 0x1.921fb6p+0), sel(m, middle, k(m, 0x1.921fb6p-1), k(m, 0)));
    V low = sel(m, high, k(m, -0x1.777a5cp-25), sel(m, middle, k(m, -0x1.777a5cp-26), k(m, 0)));
    V t = quo(m, num, den), z = mul(m, t, t);
    V p = POLY(m, z, 8.05374449538e-2, -1.38776856032E-1, 1.99777106478E-1, -3.33329491539E-1);
    return add(m, base, add(m, fma_of(m, mul(m, p, z), t, t), low));
}

static V atan_(const M *m, V x) { return copysign_of(m, atan_core(m, magnitude(m, x)), x); }

static V atan2_(const M *m, V y, V x)
{
    V ax = magnitude(m, x), ay = magnitude(m, y), steep = gt(m, ay, ax);
    V low = sel(m, steep, ax, ay), high = sel(m, steep, ay, ax);
    V t = quo(m, low, high);
    t = sel(m, eq(m, high, k(m, 0)), k(m, 0), t);
    t = sel(m, eq(m, low, k(m, INFINITY)), k(m, 1), t);
    V r = atan_core(m, t);
    r = sel(m, steep, sub(m, k(m, 0x1.921fb6p+0), add(m, r, k(m, 0x1.777a5cp-25))), r);
    V negative = LLVMBuildICmp(m->b, LLVMIntSLT, bits(m, x), ki(m, 0), "");
    r = sel(m, negative, sub(m, k(m, 0x1.921fb6p+1), add(m, r, k(m, 0x1.777a5cp-24))), r);
    r = copysign_of(m, r, y);
    return sel(m, either(m, is_nan(m, x), is_nan(m, y)), add(m, x, y), r);
}

/* ---- hyperbolic --------------------------------------------------------------------------------------------------------- */

static V sinh_(const M *m, V x)
{
    V a = magnitude(m, x), e = expm1_(m, a), h = exp_scaled(m, a, -1);
    V small = mul(m, k(m, 0.5), add(m, e, quo(m, e, add(m, e, k(m, 1)))));
    V large = sub(m, h, quo(m, k(m, 0.25), h));
    return copysign_of(m, sel(m, lt(m, a, k(m, 1)), small, large), x);
}

static V cosh_(const M *m, V x)
{
    V h = exp_scaled(m, magnitude(m, x), -1);
    return add(m, h, quo(m, k(m, 0.25), h));
}

static V tanh_(const M *m, V x)
{
    V a = magnitude(m, x), z = mul(m, a, a);
    V p = POLY(m, z, -5.70498872745E-3, 2.06390887954E-2, -5.37397155531E-2, 1.33314422036E-1, -3.33332819422E-1);
    V small = fma_of(m, mul(m, p, z), a, a);
    V large = sub(m, k(m, 1), quo(m, k(m, 2), add(m, exp_(m, add(m, a, a)), k(m, 1))));
    return copysign_of(m, sel(m, lt(m, a, k(m, 0.625)), small, large), x);
}

static V asinh_(const M *m, V x)
{
    V a = magnitude(m, x), z = mul(m, a, a);
    V r = log1p_(m, add(m, a, quo(m, z, add(m, k(m, 1), root(m, add(m, z, k(m, 1)))))));
    V far = add(m, log_(m, a), k(m, 0x1.62e430p-1));
    return copysign_of(m, sel(m, gt(m, a, k(m, 1e9)), far, r), x);
}

static V acosh_(const M *m, V x)
{
    V t = sub(m, x, k(m, 1));
    V r = log1p_(m, add(m, t, root(m, fma_of(m, t, t, add(m, t, t)))));
    r = sel(m, gt(m, x, k(m, 1e9)), add(m, log_(m, x), k(m, 0x1.62e430p-1)), r);
    return sel(m, lt(m, x, k(m, 1)), k(m, NAN), r);
}

static V atanh_(const M *m, V x)
{
    V a = magnitude(m, x);
    return copysign_of(m, mul(m, k(m, 0.5), log1p_(m, quo(m, add(m, a, a), sub(m, k(m, 1), a)))), x);
}

/* ---- error function ----------------------------------------------------------------------------------------------------- */

static V erf_(const M *m, V x)
{
    V t = magnitude(m, x), s = mul(m, x, x);
    V r = fma_of(m, k(m, -1.72853470e-5), t, k(m, 3.83197126e-4));
    V u = fma_of(m, k(m, -3.88396438e-3), t, k(m, 2.42546219e-2));
    r = fma_of(m, r, s, u);
    r = fma_of(m, r, t, k(m, -1.06777877e-1));
    r = fma_of(m, r, t, k(m, -6.34846687e-1));
    r = fma_of(m, r, t, k(m, -1.28717512e-1));
    r = fma_of(m, r, t, neg(m, t));
    r = sel(m, gt(m, t, k(m, 4)), k(m, 1), sub(m, k(m, 1), exp_(m, r)));        /* saturated well before the polynomial turns */
    V near = POLY(m, s, -5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1);
    near = fma_of(m, near, x, x);
    return sel(m, gt(m, t, k(m, 0.927734375)), copysign_of(m, r, x), near);
}

/* (1 + 2a) e^(a^2) erfc(a) = p(q) + 1 with q = (a - 2) / (a + 2) */
static V erfc_(const M *m, V x)
{
    V a = magnitude(m, x), one = k(m, 1);
    V r = quo(m, one, add(m, a, k(m, 2)));
    V q = fma_of(m, k(m, -4), r, one);
    V t = fma_of(m, add(m, q, one), k(m, -2), a);
    V e = fma_of(m, neg(m, a), q, t);
    q = fma_of(m, r, e, q);
    V p = POLY(m, q, -0x1.a48024p-12, -0x1.42a172p-10, 0x1.585784p-10, 0x1.1ade24p-07, -0x1.081b72p-07, -0x1.bc0b94p-05,
               0x1.4ffc40p-03, -0x1.540840p-03, -0x1.7bf612p-04, 0x1.1ba03ap-02);
    V d = add(m, add(m, a, a), one);
    r = quo(m, one, d);
    q = fma_of(m, p, r, r);
    e = fma_of(m, fma_of(m, q, neg(m, a), k(m, 0.5)), k(m, 2), sub(m, p, q));
    r = fma_of(m, e, r, q);
    V s = mul(m, a, a);
    e = exp_(m, neg(m, s));
    t = fma_of(m, a, neg(m, a), s);
    r = fma_of(m, r, e, mul(m, mul(m, r, e), t));
    r = sel(m, gt(m, a, k(m, 10.0546875)), k(m, 0), r);
    r = sel(m, lt(m, x, k(m, 0)), sub(m, k(m, 2), r), r);
    return sel(m, is_nan(m, x), x, r);
}

/* ---- two arguments ------------------------------------------------------------------------------------------------------ */

/* log2 of a positive f64 to about 1e-12 */
static V log2_wide(const M *m, V d)
{
    V i = LLVMBuildBitCast(m->b, d, m->l, "");
    V e = LLVMBuildAShr(m->b, LLVMBuildSub(m->b, i, kl(m, 0x3fe6a09e667f3bcd), ""), kl(m, 52), "");
    V x = LLVMBuildBitCast(m->b, LLVMBuildSub(m->b, i, LLVMBuildShl(m->b, e, kl(m, 52), ""), ""), m->d, "");
    V s = quo(m, sub(m, x, kd(m, 1)), add(m, x, kd(m, 1))), z = mul(m, s, s);
    V p = POLY(m, z, 2 / 15.0, 2 / 13.0, 2 / 11.0, 2 / 9.0, 2 / 7.0, 2 / 5.0, 2 / 3.0, 2);
    V whole = LLVMBuildSIToFP(m->b, LLVMBuildTrunc(m->b, e, m->i, ""), m->d, "");
    return fma_of(m, mul(m, p, s), kd(m, 0x1.71547652b82fep+0), whole);
}

static V pow_(const M *m, V a, V b)
{
    V x = magnitude(m, a), zero = k(m, 0), one = k(m, 1), inf = k(m, INFINITY);
    V p = clamp(m, mul(m, wide(m, b), log2_wide(m, wide(m, x))), -200, 200);
    V n = rint_of(m, p);
    V r = scale(m, m->exp2_fraction(m->L, narrow(m, sub(m, p, n)), m->lanes), to_int(m, n));
    V grows = gt(m, b, zero);
    r = sel(m, eq(m, x, zero), sel(m, grows, zero, inf), r);
    r = sel(m, eq(m, x, inf), sel(m, grows, inf, zero), r);
    V whole = eq(m, rint_of(m, b), b), size = magnitude(m, b);
    V half = mul(m, b, k(m, 0.5));
    V odd = both(m, whole, both(m, lt(m, size, k(m, 0x1p24)), LLVMBuildNot(m->b, eq(m, rint_of(m, half), half), "")));
    V negative = LLVMBuildICmp(m->b, LLVMIntSLT, bits(m, a), ki(m, 0), "");
    r = sel(m, both(m, negative, odd), neg(m, r), r);
    V undefined = both(m, both(m, lt(m, a, zero), LLVMBuildNot(m->b, whole, "")), LLVMBuildNot(m->b, eq(m, x, inf), ""));
    r = sel(m, undefined, k(m, NAN), r);
    r = sel(m, either(m, is_nan(m, a), is_nan(m, b)), k(m, NAN), r);
    V unit = either(m, eq(m, a, one), both(m, eq(m, x, one), eq(m, size, inf)));
    return sel(m, either(m, unit, eq(m, b, zero)), one, r);
}

/* Long division in fp64, 50 bits of the quotient a step: every remainder has at most 24 bits, so each is exact. */
static V fmod_(const M *m, V a, V b)
{
    V x = wide(m, magnitude(m, a)), y = wide(m, magnitude(m, b)), zero = kd(m, 0);
    V r = x;
    for (int shift = 250; shift >= 0; shift -= 50) {
        V by = mul(m, y, kd(m, ldexp(1, shift))), q = call(m, "llvm.trunc", quo(m, r, by));
        r = fma_of(m, neg(m, q), by, r);
        r = sel(m, lt(m, r, zero), add(m, r, by), r);
        r = sel(m, lt(m, r, by), r, sub(m, r, by));
    }
    r = sel(m, eq(m, y, kd(m, INFINITY)), x, r);
    V bad = either(m, eq(m, x, kd(m, INFINITY)), eq(m, y, zero));
    bad = either(m, bad, either(m, is_nan(m, x), is_nan(m, y)));
    return copysign_of(m, sel(m, bad, k(m, NAN), narrow(m, r)), a);
}

/* ---- the table ---------------------------------------------------------------------------------------------------------- */

typedef struct { V (*one)(const M *, V); V (*two)(const M *, V, V); } Row;

static const Row rows[OP_COUNT] = {
    [OP_EXP] = {exp_, NULL},     [OP_EXP2] = {exp2_, NULL},   [OP_EXPM1] = {expm1_, NULL}, [OP_LOG] = {log_, NULL},
    [OP_LOG2] = {log2_, NULL},   [OP_LOG10] = {log10_, NULL}, [OP_LOG1P] = {log1p_, NULL}, [OP_SIN] = {sin_, NULL},
    [OP_COS] = {cos_, NULL},     [OP_TAN] = {tan_, NULL},     [OP_ASIN] = {asin_, NULL},   [OP_ACOS] = {acos_, NULL},
    [OP_ATAN] = {atan_, NULL},   [OP_SINH] = {sinh_, NULL},   [OP_COSH] = {cosh_, NULL},   [OP_TANH] = {tanh_, NULL},
    [OP_ASINH] = {asinh_, NULL}, [OP_ACOSH] = {acosh_, NULL}, [OP_ATANH] = {atanh_, NULL}, [OP_ERF] = {erf_, NULL},
    [OP_ERFC] = {erfc_, NULL},   [OP_POW] = {NULL, pow_},     [OP_ATAN2] = {NULL, atan2_}, [OP_FMOD] = {NULL, fmod_},
};

V math_expand(Llvm *L, Op op, V *args, uint32_t lanes, Exp2Fraction *exp2_fraction)
{
    M m = {.L = L, .b = L->b, .lanes = lanes, .f = ll_value_type(L, DT_F32, lanes), .d = ll_value_type(L, DT_F64, lanes),
           .i = ll_value_type(L, DT_I32, lanes), .l = ll_value_type(L, DT_I64, lanes), .exp2_fraction = exp2_fraction};
    pawl_assert(rows[op].one || rows[op].two, "no expansion of %s", op_name(op));
    return rows[op].one ? rows[op].one(&m, args[0]) : rows[op].two(&m, args[0], args[1]);
}
