/* base/residue_functions.c — functions of residues: exp, log and roots by the field's tables, what is algebraic in them by
 * its formula, the others as hashes that keep the parity: an odd one is x·H(x²), and sin, cos and tan are the rational
 * functions of one such t = tan(x/2), so that sin² + cos² = 1. */
#include "base/residue_internal.h"
#include <math.h>

#define NOTHING(value) ((Residue){value, RESIDUE_NONE, RESIDUE_NONE})
enum { NAME_EXP = 0x100, NAME_LOG, NAME_ODD };

static Residue one(const ResidueField *f) { return residue_integer(f, 1); }
static Residue with(Residue r, double v) { r.v = v; return r; }
static bool is_integer(const ResidueField *f, Residue a, int64_t i)
{
    Residue r = residue_integer(f, i);
    return a.p == r.p && a.q == r.q && a.v == r.v;
}

static Residue exp_of(const ResidueField *f, Residue a)
{
    double v = exp(a.v);
    if (residue_is_infinite(a))
        return a.v < 0 ? (Residue){0, 0, 0} : NOTHING(v);
    if (is_integer(f, a, 0))
        return one(f);
    if (!(a.q & RESIDUE_NONE))
        return (Residue){v, field_exp(f, a.q), RESIDUE_NONE};
    if (a.p & RESIDUE_NONE)
        return NOTHING(v);
    uint64_t h = residue_hash(f, NAME_EXP, a.p & ~FLAGS) % f->p.n;          /* behind another exp: only equal arguments agree */
    return (Residue){v, mod_mul(&f->p, h, h) | RESIDUE_GUESS, RESIDUE_NONE};
}

static Residue log_of(const ResidueField *f, Residue a)
{
    double v = log(a.v);
    if (residue_is_infinite(a) || (a.p == 0 && a.q == 0))
        return NOTHING(v);
    if (is_integer(f, a, 1))
        return (Residue){0, 0, 0};
    if (!(a.p & RESIDUE_NONE))
        return (Residue){v, RESIDUE_NONE, field_log(f, a.p)};
    if (a.q & RESIDUE_NONE)
        return NOTHING(v);
    return (Residue){v, RESIDUE_NONE, residue_hash(f, NAME_LOG, a.q & ~FLAGS) % f->q.n | RESIDUE_GUESS};
}

static Residue sqrt_of(const ResidueField *f, Residue a)
{
    if (residue_is_infinite(a))
        return NOTHING(sqrt(a.v));
    return (Residue){sqrt(a.v), field_sqrt_p(f, a.p), field_sqrt_q(f, a.q)};
}

static Residue odd_hash(const ResidueField *f, ResidueFunction fn, Residue a, double v)
{
    return with(residue_mul(f, a, residue_hash1(f, NAME_ODD + (uint64_t)fn, residue_mul(f, a, a), 1)), v);
}

static Residue trigonometric(const ResidueField *f, ResidueFunction fn, Residue a)
{
    Residue t = odd_hash(f, RF_TAN, a, tan(a.v / 2)), square = residue_mul(f, t, t);
    Residue up = residue_add(f, t, t), plus = residue_add(f, one(f), square), minus = residue_sub(f, one(f), square);
    if (fn == RF_SIN)
        return with(residue_div(f, up, plus), sin(a.v));
    if (fn == RF_COS)
        return with(residue_div(f, minus, plus), cos(a.v));
    return with(residue_div(f, up, minus), tan(a.v));
}

static Residue tanh_of(const ResidueField *f, Residue a)
{
    Residue e = exp_of(f, residue_add(f, a, a)), two = residue_integer(f, 2);
    return with(residue_sub(f, one(f), residue_div(f, two, residue_add(f, e, one(f)))), tanh(a.v));
}

/* (e^a ± e^-a) / 2 */
static Residue hyperbolic(const ResidueField *f, Residue a, bool plus, double v)
{
    Residue e = exp_of(f, a), inverse = residue_reciprocal(f, e);
    return with(residue_mul(f, plus ? residue_add(f, e, inverse) : residue_sub(f, e, inverse), f->half), v);
}

/* log(a + sqrt(a² ± 1)) */
static Residue area(const ResidueField *f, Residue a, int64_t sign, double v)
{
    Residue root = sqrt_of(f, residue_add(f, residue_mul(f, a, a), residue_integer(f, sign)));
    return with(log_of(f, residue_add(f, a, root)), v);
}

Residue residue_function(const ResidueField *f, ResidueFunction fn, Residue a)
{
    switch (fn) {
    case RF_EXP:   return exp_of(f, a);
    case RF_EXP2:  return with(exp_of(f, residue_mul(f, a, f->ln2)), exp2(a.v));
    case RF_EXPM1: return with(residue_sub(f, exp_of(f, a), one(f)), expm1(a.v));
    case RF_LOG:   return log_of(f, a);
    case RF_LOG2:  return with(residue_mul(f, log_of(f, a), f->log2_e), log2(a.v));
    case RF_LOG10: return with(residue_div(f, log_of(f, a), f->ln10), log10(a.v));
    case RF_LOG1P: return with(log_of(f, residue_add(f, one(f), a)), log1p(a.v));
    case RF_SQRT:  return sqrt_of(f, a);
    case RF_RSQRT: return with(residue_reciprocal(f, sqrt_of(f, a)), 1 / sqrt(a.v));
    case RF_SIN: case RF_COS: case RF_TAN: return trigonometric(f, fn, a);
    case RF_ASIN:  return odd_hash(f, fn, a, asin(a.v));
    case RF_ACOS:
        return with(residue_sub(f, residue_mul(f, residue_constant(f, 3.14159265358979323846), f->half),
                                odd_hash(f, RF_ASIN, a, asin(a.v))), acos(a.v));
    case RF_ATAN:  return odd_hash(f, fn, a, atan(a.v));
    case RF_SINH:  return hyperbolic(f, a, false, sinh(a.v));
    case RF_COSH:  return hyperbolic(f, a, true, cosh(a.v));
    case RF_TANH:  return tanh_of(f, a);
    case RF_ASINH: return area(f, a, 1, asinh(a.v));
    case RF_ACOSH: return area(f, a, -1, acosh(a.v));
    case RF_ATANH: {
        Residue ratio = residue_div(f, residue_add(f, one(f), a), residue_sub(f, one(f), a));
        return with(residue_mul(f, log_of(f, ratio), f->half), atanh(a.v));
    }
    case RF_ERF:   return odd_hash(f, fn, a, erf(a.v));
    case RF_ERFC:  return with(residue_sub(f, one(f), odd_hash(f, RF_ERF, a, erf(a.v))), erfc(a.v));
    case RF_COUNT: break;
    }
    return NOTHING(NAN);
}

static Residue integer_power(const ResidueField *f, Residue a, int64_t n)
{
    Residue r = one(f), square = n < 0 ? residue_reciprocal(f, a) : a;
    for (uint64_t e = n < 0 ? 0 - (uint64_t)n : (uint64_t)n; e; e >>= 1, square = residue_mul(f, square, square))
        if (e & 1)
            r = residue_mul(f, r, square);
    return r;
}

Residue residue_pow(const ResidueField *f, Residue a, Residue b)
{
    double v = pow(a.v, b.v), twice = 2 * b.v;
    if (fabs(twice) <= 128 && twice == trunc(twice) && is_integer(f, residue_add(f, b, b), (int64_t)twice)) {
        bool whole = b.v == trunc(b.v);
        return with(integer_power(f, whole ? a : sqrt_of(f, a), (int64_t)(whole ? b.v : twice)), v);
    }
    return with(exp_of(f, residue_mul(f, b, log_of(f, a))), v);
}
