/* tests/sim/suite_input.c — what the programs of the suite read: edge cases of each type, ties, random bits, by a fixed generator. */
#include "tests/sim/suite.h"
#include <math.h>
#include <string.h>

typedef struct { uint64_t state; } Random;

static uint32_t next(Random *r)        /* splitmix64 (Steele, Lea, Flood 2014), its upper half */
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return (uint32_t)((z ^ z >> 31) >> 32);
}
static double unit(Random *r) { return next(r) * 0x1p-32; }
static uint32_t bits_of(float f)
{
    uint32_t w;
    memcpy(&w, &f, 4);
    return w;
}
#define PICK(r, list) ((list)[next(r) % (sizeof (list) / sizeof *(list))])

static const uint32_t word_edges[] = {
    0, 1, 2, 3, 31, 32, 33, 63, 64, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0xfffeffff, 0x7fffffff, 0x80000000, 0x80000001,
    0xffffffff, 0xfffffffe, 0xffffff80, 0xffff8000, 0x00ff00ff, 0x80808080, 0x7f7f7f7f
};
static const uint32_t f32_edges[] = {
    0, 0x80000000, 0x3f800000, 0xbf800000, 1, 0x80000001, 0x007fffff, 0x807fffff, 0x00800000, 0x80800000, 0x00800001, 0x7f7fffff, 0xff7fffff,
    0x7f800000, 0xff800000, 0x7fc00000, 0xffc12345, 0x7f800001, 0xff812345, 0x7fffffff, 0x3f800001, 0x3f7fffff, 0x3f000000, 0x3fc00000,
    0x40000000, 0x40400000, 0x4b800000, 0x4b800001, 0x34000000, 0x33800000, 0x20000000, 0x5f000000, 0x00400000, 0x1f800000
};
static const float f32_integers[] = {
    0.5f, 1.5f, 2.5f, 3.5f, 0.49999997f, 0.99999994f, 127, 127.5f, 128, 128.5f, 255, 255.5f, 256, 32767, 32767.5f, 32768, 65535, 65535.5f, 65536,
    8388607.5f, 8388608, 2147483520.f, 2147483648.f, 4294967040.f, 4294967296.f, 0x1.fffffep62f, 0x1p63f, 0x1.fffffep63f, 0x1p64f, 1e30f, 0x1p-30f
};
static const float f32_halves[] = {    /* ends of f16, e4m3 and e5m2, and ties there */
    65504, 65519.996f, 65520, 65536, 0x1p-14f, 0x1.ffcp-15f, 0x1.ffep-15f, 0x1p-24f, 0x1p-25f, 0x1.000002p-25f, 0x1p-26f, 448, 464, 463.99997f, 480, 57344,
    61440, 61439.996f, 0x1p-6f, 0x1p-9f, 0x1p-10f, 0x1.8p-10f, 0x1p-16f, 0x1p-17f, 17, 18, 19, 1.0625f, 1.1875f, 2048.5f, 2049, 1.00048828125f, 1.00146484375f
};
static const uint16_t f16_edges[] = {
    0, 0x8000, 0x3c00, 0xbc00, 1, 0x8001, 0x3ff, 0x83ff, 0x400, 0x8400, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00, 0xfe12, 0x7c01, 0x7fff, 0x3c01, 0x3bff,
    0x3800, 0x3e00, 0x4000, 0x4200, 0x4100, 0x6800, 0x6801
};
static const uint16_t bf16_edges[] = {
    0, 0x8000, 0x3f80, 0xbf80, 1, 0x8001, 0x7f, 0x807f, 0x80, 0x8080, 0x7f7f, 0xff7f, 0x7f80, 0xff80, 0x7fc0, 0xffc1, 0x7f81, 0x7fff, 0x3f81, 0x3f7f,
    0x3f00, 0x3fc0, 0x4000, 0x4040, 0x4020, 0x4380, 0x4381
};
static const uint64_t f64_edges[] = {
    0, 0x8000000000000000, 0x3ff0000000000000, 0xbff0000000000000, 1, 0x8000000000000001, 0x000fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff,
    0xffefffffffffffff, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0xfff8000012345678, 0x7ff0000000000001, 0x3ff0000000000001,
    0x3fefffffffffffff, 0x3fe0000000000000, 0x4000000000000000, 0x4008000000000000, 0x3fd5555555555555, 0x4340000000000001
};
static const double f64_integers[] = {
    0.5, 1.5, 2.5, 0.49999999999999994, 127.5, 255.5, 32767.5, 65535.5, 2147483647.5, 2147483648.5, 4294967295.5, 4294967296.0, 0x1p63, 0x1p64,
    0x1.fffffffffffffp62, 0x1.fffffffffffffp63, 4503599627370495.5, 16777217.0, 65519.99999, 65520.0, 0x1p-25, 3.4028235677973366e38, 0x1p-150, 0x1.8p-149, 1e300
};

static uint32_t signed_bits(Random *r, float f) { return bits_of(f) ^ (next(r) & 0x80000000u); }
static uint32_t scaled(Random *r, int least, int most)         /* a random significand and an exponent in the range */
{
    uint32_t e = (uint32_t)(127 + least) + next(r) % (uint32_t)(most - least + 1);
    return (next(r) & 0x807fffffu) | e << 23;
}

static uint32_t f32_any(Random *r)
{
    switch (next(r) % 8) {
    case 0: case 1: case 2: return PICK(r, f32_edges);
    case 3: return next(r);
    case 4: return scaled(r, -126, -120);
    default: return scaled(r, -8, 8);
    }
}
static uint32_t f32_integer(Random *r)
{
    switch (next(r) % 8) {
    case 0: return PICK(r, f32_edges);
    case 1: case 2: case 3: return signed_bits(r, PICK(r, f32_integers));
    case 4: return signed_bits(r, (float)(next(r) % 512) + 0.5f);
    default: return scaled(r, -2, 66);
    }
}
static uint32_t f32_half(Random *r)
{
    switch (next(r) % 8) {
    case 0: return PICK(r, f32_edges);
    case 1: case 2: return signed_bits(r, PICK(r, f32_halves));
    case 3: return (scaled(r, -16, 16) & 0xffffe000u) | 0x1000;           /* a tie of f16 */
    case 4: return (scaled(r, -10, 10) & 0xfff00000u) | 0x80000;          /* of e4m3 */
    default: return scaled(r, -27, 18);
    }
}
static uint32_t half_any(Random *r, bool bf16)
{
    switch (next(r) % 4) {
    case 0: return bf16 ? PICK(r, bf16_edges) : PICK(r, f16_edges);
    case 1: return next(r) & 0xffff;
    default: return bf16 ? (next(r) & 0x807f) | (120 + next(r) % 14) << 7 : (next(r) & 0x83ff) | (10 + next(r) % 12) << 10;
    }
}
static uint64_t f64_any(Random *r, bool integers)
{
    uint64_t w = (uint64_t)next(r) << 32 | next(r);
    switch (next(r) % 8) {
    case 0: case 1: return integers ? w & 0x800fffffffffffffull : PICK(r, f64_edges);
    case 2: return PICK(r, f64_edges);
    case 3: return w;
    case 4: case 5:
        if (integers) {
            double x = PICK(r, f64_integers);
            memcpy(&w, &x, 8);
            return w | (uint64_t)next(r) << 63;
        }
        return (w & 0x800fffffffffffffull) | (uint64_t)(1020 + next(r) % 8) << 52;
    default: return (w & 0x800fffffffffffffull) | (uint64_t)(1020 + next(r) % (integers ? 70 : 8)) << 52;
    }
}

static int small(Random *r) { return (int)(next(r) % 17) - 8; }
static uint32_t f16_small(int v)
{
    uint32_t sign = v < 0 ? 0x8000 : 0, m = (uint32_t)(v < 0 ? -v : v), e = 0;
    if (!m)
        return 0;
    while (m >> (e + 1))
        e++;
    return sign | (15 + e) << 10 | ((m << (10 - e)) & 0x3ff);
}
static uint32_t f16_fraction(Random *r) { return (next(r) & 0x83ff) | (11 + next(r) % 5) << 10; }
static uint32_t bf16_fraction(Random *r) { return (next(r) & 0x807f) | (123 + next(r) % 5) << 7; }
static uint32_t f32_fraction(Random *r) { return scaled(r, -4, 0); }
static void put64(uint32_t *w, double x) { memcpy(w, &x, 8); }

/* Word i of a program's input; `last` where it is among a thread's last four. 64-bit kinds write two and are asked at even i. */
static void fill(Random *r, SuiteInput kind, uint32_t *w, bool last)
{
    uint64_t wide;
    switch (kind) {
    case INPUT_WORDS:
        *w = next(r) % 4 == 0 ? PICK(r, word_edges) : next(r) % 8 == 0 ? next(r) % 64 : next(r);
        break;
    case INPUT_F32:
        *w = f32_any(r);
        break;
    case INPUT_F64:
    case INPUT_F64_INT:
        wide = f64_any(r, kind == INPUT_F64_INT);
        memcpy(w, &wide, 8);
        break;
    case INPUT_F16:
    case INPUT_BF16:
        *w = half_any(r, kind == INPUT_BF16) << 16;
        *w |= half_any(r, kind == INPUT_BF16);
        break;
    case INPUT_F32_INT:
        *w = f32_integer(r);
        break;
    case INPUT_F32_F16:
        *w = f32_half(r);
        break;
    case INPUT_MODERATE:
        *w = scaled(r, -20, 20);
        break;
    case INPUT_EXPONENT:
        *w = next(r) % 8 == 0 ? PICK(r, f32_edges) : scaled(r, -12, 6);
        break;
    case INPUT_PI:
        *w = next(r) % 8 == 0 ? scaled(r, -40, -10) : bits_of((float)((2 * unit(r) - 1) * 3.14159));
        break;
    case INPUT_SMALL_F16_C:
    case INPUT_SMALL_BF16_C:
    case INPUT_SMALL_F16:
    case INPUT_SMALL_BF16:
    case INPUT_SMALL_F32:
    case INPUT_LOW_BITS_F32:
        if (kind == INPUT_SMALL_F32 || (last && kind != INPUT_SMALL_F16 && kind != INPUT_SMALL_BF16)) {
            *w = bits_of((float)small(r));
        } else if (kind == INPUT_LOW_BITS_F32) {
            *w = bits_of((float)small(r)) | (next(r) & 0x1fff);
        } else {
            bool bf16 = kind == INPUT_SMALL_BF16_C || kind == INPUT_SMALL_BF16;
            int low = small(r), high = small(r);
            *w = bf16 ? bits_of((float)high) | bits_of((float)low) >> 16 : f16_small(high) << 16 | f16_small(low);
        }
        break;
    case INPUT_FRACTION_F16_C:
    case INPUT_FRACTION_BF16_C:
    case INPUT_FRACTION_F32:
        if (last || kind == INPUT_FRACTION_F32) {
            *w = f32_fraction(r);
            if (!last)
                *w &= 0xffffe000u;
        } else {
            *w = kind == INPUT_FRACTION_F16_C ? f16_fraction(r) << 16 : bf16_fraction(r) << 16;
            *w |= kind == INPUT_FRACTION_F16_C ? f16_fraction(r) : bf16_fraction(r);
        }
        break;
    case INPUT_SMALL_F64:
        put64(w, small(r));
        break;
    case INPUT_FRACTION_F64:
        put64(w, 4 * unit(r) - 2 + ldexp(unit(r), -30));
        break;
    }
}

void suite_input(const SuiteProgram *p, uint32_t *in)
{
    Random r = {0};
    for (const char *c = p->name; *c; c++)
        r.state = r.state * 131 + (unsigned char)*c;
    SuiteInput kind = p->input;
    bool wide = kind == INPUT_F64 || kind == INPUT_F64_INT || kind == INPUT_SMALL_F64 || kind == INPUT_FRACTION_F64;
    bool edges = kind == INPUT_WORDS || kind == INPUT_F32 || kind == INPUT_F64 || kind == INPUT_F16 || kind == INPUT_BF16;
    unsigned threads = p->grid * p->block, each = threads && p->words_in % threads == 0 ? p->words_in / threads : 0;
    for (unsigned i = 0; i < p->words_in; i += wide ? 2 : 1)
        fill(&r, kind, in + i, each >= 4 && i % each >= each - 4);
    for (unsigned i = 2; edges && i + 1 < p->words_in; i += 2)     /* operands that are equal */
        switch (next(&r) % 8) {
        case 0:
            in[i] = in[i - 2];
            in[i + 1] = in[i - 1];
            break;
        case 1:
            if (!wide)
                in[i + 1] = in[i];
            break;
        default:
            break;
        }
}
