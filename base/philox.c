/* base/philox.c — Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011) and
 * distributions over it.
 *
 * The loops over blocks of 256 counters stand in philox_loops.h and are compiled for several instruction sets; the
 * processor decides which runs. Contraction is off for the whole file, so all of them give the same bits; the
 * polynomials are those of fdlibm (Sun Microsystems 1993), under 1 ulp. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off", "no-math-errno")
#endif

#include "base/philox_internal.h"
#include "base/map.h"
#include "base/narrow.h"
#include "base/str.h"
#include <ctype.h>
#include <math.h>

#define M0 0xD2511F53u
#define M1 0xCD9E8D57u
#define W0 0x9E3779B9u
#define W1 0xBB67AE85u

static const double LN2_HIGH = 0x1.62e42feep-1, LN2_LOW = 0x1.a39ef35793c76p-33, TWO_PI = 0x1.921fb54442d18p+2;
static const double LOG_1 = 0x1.5555555555593p-1, LOG_2 = 0x1.999999997fa04p-2, LOG_3 = 0x1.2492494229359p-2,
                    LOG_4 = 0x1.c71c51d8e78afp-3, LOG_5 = 0x1.7466496cb03dep-3, LOG_6 = 0x1.39a09d078c69fp-3,
                    LOG_7 = 0x1.2f112df3e5244p-3;
static const double COS_1 = 0x1.555555555554cp-5, COS_2 = -0x1.6c16c16c15177p-10, COS_3 = 0x1.a01a019cb159p-16,
                    COS_4 = -0x1.27e4f809c52adp-22, COS_5 = 0x1.1ee9ebdb4b1c4p-29, COS_6 = -0x1.8fae9be8838d4p-37;
static const double SIN_1 = -0x1.5555555555549p-3, SIN_2 = 0x1.111111110f8a6p-7, SIN_3 = -0x1.a01a019c161d5p-13,
                    SIN_4 = 0x1.71de357b1fe7dp-19, SIN_5 = -0x1.ae5e68a2b9cebp-26, SIN_6 = 0x1.5d93a5acfd57cp-33;

/* (x >> 11) * 2^-53 from two exact parts: 64-bit integers have no vector conversion before AVX-512. Or-ing bits below the
 * leading one of 2^20 and 2^-1 places them at 2^-32 and 2^-53. */
static inline double unit_double(uint64_t x)
{
    double high = narrow_of(0x4130000000000000u | x >> 32) - 0x1p20;
    double low = narrow_of(0x3fe0000000000000u | (x >> 11 & 0x1fffff)) - 0.5;
    return high + low;
}

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* sqrt is correctly rounded everywhere. clang keeps errno, which keeps loops scalar: say it in SSE2. */
#if defined(__clang__) && defined(__x86_64__)
#define SQUARE_ROOTS(r)                                                         \
    for (int i = 0; i < PHILOX_BLOCK; i += 2)                                   \
        _mm_storeu_pd((r) + i, _mm_sqrt_pd(_mm_loadu_pd((r) + i)));
#else
#define SQUARE_ROOTS(r)                                                         \
    for (int i = 0; i < PHILOX_BLOCK; i++)                                      \
        (r)[i] = sqrt((r)[i]);
#endif

#define ISA(name) name##_baseline
#define ISA_TARGET
#define ISA_LANES 2
#if defined(__x86_64__)
#define ISA_MUL(a, b) (V)_mm_mul_epu32((__m128i)(a), (__m128i)(b))
#else
#define ISA_MUL(a, b) (((a) & low) * (b))
#endif
#include "base/philox_loops.h"

#if defined(__x86_64__)
#define ISA(name) name##_avx2
#define ISA_TARGET __attribute__((target("avx2,fma")))
#define ISA_LANES 4
#define ISA_MUL(a, b) (V)_mm256_mul_epu32((__m256i)(a), (__m256i)(b))
#include "base/philox_loops.h"

#define ISA(name) name##_avx512
#ifdef __clang__
#define ISA_TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,fma")))
#else
#define ISA_TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,fma,prefer-vector-width=512")))
#endif
#define ISA_LANES 8
#define ISA_MUL(a, b) (V)_mm512_mul_epu32((__m512i)(a), (__m512i)(b))
#include "base/philox_loops.h"
#endif

#define LOOPS(isa) {#isa, normals_##isa, uniforms_##isa, to_f32_##isa, to_f16_##isa, to_bf16_##isa}

static const PhiloxLoops all_loops[] = {
#if defined(__x86_64__)
    LOOPS(avx512), LOOPS(avx2),
#endif
    LOOPS(baseline)
};
enum { N_LOOPS = sizeof all_loops / sizeof *all_loops };

static bool runs_here(int i)
{
#if defined(__x86_64__)
    if (i == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
            && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    if (i == 1)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return i < N_LOOPS;
}

const PhiloxLoops *philox_loops(int i)
{
    for (int k = 0; k < N_LOOPS; k++)
        if (runs_here(k) && i-- == 0)
            return &all_loops[k];
    return NULL;
}

void philox4x32(uint32_t out[4], uint64_t counter_lo, uint64_t counter_hi, uint64_t key)
{
    uint32_t c0 = (uint32_t)counter_lo, c1 = (uint32_t)(counter_lo >> 32);
    uint32_t c2 = (uint32_t)counter_hi, c3 = (uint32_t)(counter_hi >> 32);
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)M0 * c0, p1 = (uint64_t)M1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += W0;
        k1 += W1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

uint64_t philox_key(uint64_t seed, const char *tensor_name)
{
    return hash_bytes(tensor_name, strlen(tensor_name), seed);
}

/* ---- filling ---- */

typedef struct {
    const PhiloxLoops *loops;
    DType    t;
    uint64_t key;
    Dist     dist;
} Fill;

static void store(const Fill *f, void *out, const double *z, int64_t n)
{
    switch (f->t) {
    case DT_F64:  memcpy(out, z, sizeof *z * (size_t)n); return;
    case DT_F32:  f->loops->to_f32(out, z, n); return;
    case DT_F16:  f->loops->to_f16(out, z, n); return;
    case DT_BF16: f->loops->to_bf16(out, z, n); return;
    case DT_I64: case DT_I32: case DT_I8: case DT_U8: case DT_BOOL: case DT_COUNT: break;
    }
    uint32_t size = dtype_bytes(f->t);
    for (int64_t i = 0; i < n; i++)
        dtype_store(f->t, (char *)out + i * size, z[i]);
}

static void fill_normal(const Fill *f, char *out, uint64_t first, int64_t n)
{
    double z[2 * PHILOX_BLOCK];
    uint32_t size = dtype_bytes(f->t);
    while (n > 0) {
        int64_t skip = (int64_t)(first & 1), count = 2 * PHILOX_BLOCK - skip;
        count = count < n ? count : n;
        f->loops->normals(z, first / 2, f->key);
        for (int i = 0; i < 2 * PHILOX_BLOCK; i++)
            z[i] = f->dist.a + f->dist.b * z[i];
        store(f, out, z + skip, count);
        out += count * size;
        first += (uint64_t)count;
        n -= count;
    }
}

/* lo + floor(x * (hi - lo) / 2^64) */
static void store_randint(const Fill *f, char *out, const uint64_t *x, int64_t n)
{
    int64_t lo = (int64_t)f->dist.a;
    uint64_t range = (uint64_t)(int64_t)f->dist.b - (uint64_t)lo;
    uint32_t size = dtype_bytes(f->t);
    for (int64_t i = 0; i < n; i++) {
        uint64_t above = (uint64_t)((unsigned __int128)x[i] * range >> 64);
        dtype_store_i64(f->t, out + i * size, (int64_t)((uint64_t)lo + above));
    }
}

static void fill_uniform(const Fill *f, char *out, uint64_t first, int64_t n)
{
    double z[PHILOX_BLOCK];
    uint64_t x[PHILOX_BLOCK];
    uint32_t size = dtype_bytes(f->t);
    while (n > 0) {
        int64_t count = n < PHILOX_BLOCK ? n : PHILOX_BLOCK;
        f->loops->uniforms(z, x, first, f->key);
        if (f->t == DT_BOOL) {
            for (int64_t i = 0; i < count; i++)
                out[i] = z[i] >= 0.5;
        } else if (f->dist.kind == DIST_RANDINT) {
            store_randint(f, out, x, count);
        } else {
            for (int i = 0; i < PHILOX_BLOCK; i++)
                z[i] = f->dist.kind == DIST_STEPS ? f->dist.a * ((double)(first + (uint64_t)i) + z[i])
                                                  : f->dist.a + (f->dist.b - f->dist.a) * z[i];
            store(f, out, z, count);
        }
        out += count * size;
        first += (uint64_t)count;
        n -= count;
    }
}

void philox_fill(DType t, void *out, int64_t first, int64_t n, uint64_t key, Dist dist)
{
    Fill f = {philox_loops(0), t, key, dist};
    uint32_t size = dtype_bytes(t);
    switch (dist.kind) {
    case DIST_CONSTANT:
        for (int64_t i = 0; i < n; i++)
            dtype_store(t, (char *)out + i * size, dist.a);
        return;
    case DIST_NORMAL:
        if (t != DT_BOOL) {
            fill_normal(&f, out, (uint64_t)first, n);
            return;
        }
        break;
    case DIST_UNIFORM: case DIST_RANDINT: case DIST_STEPS: break;
    }
    fill_uniform(&f, out, (uint64_t)first, n);
}

/* ---- text ---- */

typedef struct { const char *name; Dist dist; int max_args; const char *usage; } DistRow;

static const DistRow dist_rows[] = {
    [DIST_NORMAL]   = {"normal",   {DIST_NORMAL, 0, 1},   2, "write normal(mean, sd) with sd >= 0"},
    [DIST_UNIFORM]  = {"uniform",  {DIST_UNIFORM, 0, 1},  2, "write uniform(lo, hi) with lo <= hi"},
    [DIST_RANDINT]  = {"randint",  {DIST_RANDINT, 0, 2},  2, "write randint(lo, hi) with integers lo < hi"},
    [DIST_CONSTANT] = {"constant", {DIST_CONSTANT, 0, 0}, 1, "write constant(value)"},
    [DIST_STEPS]    = {"steps",    {DIST_STEPS, 1, 0},    1, "write steps(size) with size >= 0"},
};

const char *dist_name(DistKind k) { return dist_rows[k].name; }
int dist_arguments(DistKind k) { return dist_rows[k].max_args; }

static const char *skip_space(const char *s)
{
    while (*s && isspace((unsigned char)*s))
        s++;
    return s;
}

/* "(a, b)" up to the end of the text; false when malformed or too many. */
static bool parse_arguments(const char *s, int most, double out[2])
{
    if (!*s)
        return true;
    if (*s++ != '(')
        return false;
    for (int i = 0; *(s = skip_space(s)) != ')'; i++) {
        char word[64];
        if (i && (*s != ',' || *(s = skip_space(s + 1)) == ')'))
            return false;
        size_t n = strcspn(s, ",) \t\n");
        if (i == most || n >= sizeof word)
            return false;
        memcpy(word, s, n);
        word[n] = '\0';
        if (!str_to_double(word, &out[i]))
            return false;
        s += n;
    }
    return !*skip_space(s + 1);
}

static bool dist_valid(Dist d)
{
    static const double most = 9007199254740992.0;       /* 2^53: beyond it bounds are not exact */
    switch (d.kind) {
    case DIST_CONSTANT: return true;
    case DIST_NORMAL:   return isfinite(d.a) && isfinite(d.b) && d.b >= 0;
    case DIST_STEPS:    return isfinite(d.a) && d.a >= 0;
    case DIST_UNIFORM:  return isfinite(d.b - d.a) && d.a <= d.b;
    case DIST_RANDINT:
        return d.a < d.b && d.a >= -most && d.b <= most && d.a == nearbyint(d.a) && d.b == nearbyint(d.b);
    }
    return false;
}

bool dist_parse(const char *text, Dist *out, const char **error)
{
    const char *s = skip_space(text);
    size_t n = 0;
    while (isalnum((unsigned char)s[n]) || s[n] == '_')
        n++;
    for (size_t i = 0; i < sizeof dist_rows / sizeof *dist_rows; i++) {
        const DistRow *row = &dist_rows[i];
        if (strlen(row->name) != n || strncmp(row->name, s, n) != 0)
            continue;
        double args[2] = {row->dist.a, row->dist.b};
        bool good = parse_arguments(skip_space(s + n), row->max_args, args);
        Dist d = {row->dist.kind, args[0], args[1]};
        good = good && dist_valid(d);
        if (good)
            *out = d;
        else if (error)
            *error = row->usage;
        return good;
    }
    if (error)
        *error = "unknown distribution: expected normal, uniform, randint, constant or steps";
    return false;
}
