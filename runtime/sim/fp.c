/* runtime/sim/fp.c — rounding to any format: see fp.h. */
#include "runtime/sim/fp.h"
#include <math.h>

const FloatFormat format_f32 = {23, 32, -126, 127, false, NAN32, 0x7f7fffff};
const FloatFormat format_f16 = {10, 16, -14, 15, false, NAN16, 0x7bff};
const FloatFormat format_bf16 = {7, 16, -126, 127, false, NAN16, 0x7f7f};
const FloatFormat format_tf32 = {10, 19, -126, 127, false, 0x3ffff, 0x3fbff};
const FloatFormat format_e4m3 = {3, 8, -6, 8, true, 0x7f, 0x7e};
const FloatFormat format_e5m2 = {2, 8, -14, 15, false, 0x7f, 0x7b};

const FloatFormat *fp_format(uint8_t type)
{
    switch (type) {
    case PT_F32:  return &format_f32;
    case PT_F16:
    case PT_F16X2: return &format_f16;
    case PT_BF16:
    case PT_BF16X2: return &format_bf16;
    case PT_TF32: return &format_tf32;
    case PT_E4M3:
    case PT_E4M3X2: return &format_e4m3;
    case PT_E5M2:
    case PT_E5M2X2: return &format_e5m2;
    default:      return NULL;
    }
}

static bool round_away(Rounding r, bool negative, uint64_t kept, uint64_t rest, uint64_t half)
{
    switch (r) {
    case ROUND_NEAREST: return rest > half || (rest == half && (kept & 1));
    case ROUND_AWAY:    return rest >= half;
    case ROUND_ZERO:    return false;
    case ROUND_DOWN:    return negative && rest;
    case ROUND_UP:      return !negative && rest;
    }
    return false;
}

static uint32_t overflow(const FloatFormat *f, Rounding r, bool negative, bool finite)
{
    bool to_max = finite || r == ROUND_ZERO || (r == ROUND_DOWN && !negative) || (r == ROUND_UP && negative);
    uint32_t infinity = f->no_infinity ? f->nan : (uint32_t)(f->max_exponent * 2 + 1) << f->mantissa;
    return to_max ? f->max : infinity;
}

uint32_t fp_round(double v, const FloatFormat *f, Rounding r, bool finite)
{
    uint64_t u = bits64(v), a = u & ~(UINT64_C(1) << 63);
    bool negative = u >> 63;
    uint32_t sign = (uint32_t)negative << (f->bits - 1);
    if (v != v)
        return f->nan;
    if (a == 0)
        return sign;
    if (isinf(v))
        return sign | (finite || f->no_infinity ? finite ? f->max : f->nan : (uint32_t)(f->max_exponent * 2 + 1) << f->mantissa);
    int e = (int)(a >> 52) - 1023;
    uint64_t m = (a & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1) << 52;
    if (e == -1023) {                                                  /* a subnormal double: far below every format here */
        e = -1022;
        m &= ~(UINT64_C(1) << 52);
    }
    int cut = 52 - f->mantissa + (e < f->min_exponent ? f->min_exponent - e : 0);
    uint64_t kept = cut > 63 ? 0 : m >> cut, rest = cut > 63 ? m : m & ((UINT64_C(1) << cut) - 1), half = UINT64_C(1) << (cut > 63 ? 63 : cut - 1);
    kept += round_away(r, negative, kept, rest, half);
    uint64_t out = e < f->min_exponent ? kept : kept + ((uint64_t)(e - f->min_exponent) << f->mantissa);
    return sign | (out > f->max ? overflow(f, r, negative, finite) : (uint32_t)out);
}

double fp_widen(uint32_t bits, const FloatFormat *f)
{
    uint32_t mask = (1u << f->mantissa) - 1, m = bits & mask, e = bits >> f->mantissa & ((1u << (f->bits - 1 - f->mantissa)) - 1);
    double sign = bits >> (f->bits - 1) & 1 ? -1.0 : 1.0;
    uint32_t top = (1u << (f->bits - 1 - f->mantissa)) - 1;
    if (f->no_infinity ? (bits & (f->nan)) == f->nan : e == top)
        return f->no_infinity || m ? NAN : sign * INFINITY;
    if (e == 0)
        return sign * ldexp((double)m, f->min_exponent - f->mantissa);
    return sign * ldexp((double)(m | (mask + 1)), (int)e - 1 + f->min_exponent - f->mantissa);
}

static double to_odd(double s, double rest)
{
    uint64_t u = bits64(s);
    if (rest == 0 || !(fabs(s) < INFINITY) || rest != rest || (u & 1))
        return s;
    /* s is the even neighbour: step towards what is missing */
    return fp64((rest > 0) == (s > 0) ? u + 1 : u - 1);
}

double fp_fma_odd(double a, double b, double c)
{
    double p = a * b, s = p + c, back = s - p;
    double rest = (p - (s - back)) + (c - back);
    return to_odd(s, rest);
}

double fp_from_u64(uint64_t v)
{
    if (v >> 53)                                                       /* drop low bits, remember that there were some */
        v = (v & ~UINT64_C(0x7ff)) | ((v & 0x7ff) ? UINT64_C(0x800) : 0);
    return (double)v;
}

double fp_from_i64(int64_t v) { return v < 0 ? -fp_from_u64(-(uint64_t)v) : fp_from_u64((uint64_t)v); }
