/* runtime/sim/fp.h — floats as bits: conversions, canonical NaNs, flushing, one rounding in any mode to any format.
 *
 * Sums that a double cannot hold are rounded to odd in double (the last bit says "there was more"), after which one more
 * rounding to a narrower format is the right one (Boldo, Melquiond: Emulation of FMA and correctly rounded sums, 2008). */
#pragma once
#include "base/dtype.h"
#include "base/narrow.h"
#include "runtime/sim/ptx.h"

#define NAN32 0x7fffffffu
#define NAN16 0x7fffu
#define NAN64 UINT64_C(0x7fffffffffffffff)

static inline float    fp32(uint32_t u) { float f; memcpy(&f, &u, sizeof f); return f; }
static inline uint32_t bits32(float f) { uint32_t u; memcpy(&u, &f, sizeof u); return u; }
static inline double   fp64(uint64_t u) { double d; memcpy(&d, &u, sizeof d); return d; }
static inline uint64_t bits64(double d) { uint64_t u; memcpy(&u, &d, sizeof u); return u; }
static inline uint32_t canonical32(float f) { return f != f ? NAN32 : bits32(f); }
static inline float ftz32(float f)
{
    uint32_t u = bits32(f);
    return (u & 0x7f800000) == 0 ? fp32(u & 0x80000000) : f;
}

typedef enum { ROUND_NEAREST, ROUND_ZERO, ROUND_DOWN, ROUND_UP, ROUND_AWAY /* ties away from zero */ } Rounding;
/* A binary format: explicit mantissa bits, least and greatest exponent of normal numbers; what overflows to. */
typedef struct { uint8_t mantissa, bits; int16_t min_exponent, max_exponent; bool no_infinity; uint32_t nan, max; } FloatFormat;
extern const FloatFormat format_f32, format_f16, format_bf16, format_tf32, format_e4m3, format_e5m2;
const FloatFormat *fp_format(uint8_t type);                           /* NULL: not a float of at most 32 bits */

/* v, exact or rounded to odd, in the format's bits. `finite`: overflow gives the greatest finite value. */
uint32_t fp_round(double v, const FloatFormat *f, Rounding r, bool finite);
double   fp_widen(uint32_t bits, const FloatFormat *f);
double   fp_fma_odd(double a, double b, double c);                    /* a * b exact in double; the sum rounded to odd */
double   fp_from_i64(int64_t v);                                      /* rounded to odd */
double   fp_from_u64(uint64_t v);

static inline double fp_of_half(uint8_t type, uint16_t h) { return type == PT_F16 ? (double)f16_to_f32(h) : (double)bf16_to_f32(h); }
static inline double fp_load(uint8_t type, const void *column, uint32_t lane)
{
    switch (type) {
    case PT_F16:  return (double)f16_to_f32(((const uint16_t *)column)[lane]);
    case PT_BF16: return (double)bf16_to_f32(((const uint16_t *)column)[lane]);
    case PT_F64:  return ((const double *)column)[lane];
    default:      return (double)((const float *)column)[lane];
    }
}
