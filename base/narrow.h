/* base/narrow.h — one rounding from f64 to a float of at most 16 bits, without branches, so that loops of it vectorise.
 *
 * Normal results: the significand is cut with "add half, and the last kept bit for ties". Subnormal ones: adding 2^(the
 * place of the last bit + 52) lets the adder round at that place (in the default rounding mode). */
#pragma once
#include <stdint.h>
#include <string.h>

static inline uint64_t narrow_bits(double d) { uint64_t u; memcpy(&u, &d, sizeof u); return u; }
static inline double   narrow_of(uint64_t u) { double d; memcpy(&d, &u, sizeof d); return d; }

/* The bits of d in the format with `mantissa` explicit bits and exponents from min_exponent to max_exponent. */
static inline uint16_t narrow_f64(double d, int mantissa, int min_exponent, int max_exponent)
{
    uint64_t u = narrow_bits(d), sign = u >> 48 & 0x8000, a = u & 0x7fffffffffffffffu;
    int cut = 52 - mantissa;
    uint64_t rebased = a - ((uint64_t)(1022 + min_exponent) << 52);
    uint64_t normal = (rebased + (((uint64_t)1 << (cut - 1)) - 1) + (rebased >> cut & 1)) >> cut;
    uint64_t place = (uint64_t)(1023 + min_exponent + cut) << 52;
    uint64_t tiny = narrow_bits(narrow_of(a) + narrow_of(place)) - place;
    uint64_t infinity = (uint64_t)(2 * max_exponent + 1) << mantissa;
    uint64_t nan = infinity | (uint64_t)1 << (mantissa - 1);
    int64_t order = (int64_t)a;            /* of magnitudes, as integers */
    uint64_t r = order < (int64_t)(1023 + min_exponent) << 52 ? tiny : normal;
    r = order >= (int64_t)(1024 + max_exponent) << 52 ? infinity : r;
    r = order > (int64_t)0x7ff << 52 ? nan : r;
    return (uint16_t)(sign | r);
}
