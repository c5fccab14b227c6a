/* runtime/cpu/imports.c — the only functions that generated host code may call.
 *
 * Scalar ones come from libm. Vector ones keep libmvec's names and calling convention (_ZGV b: 128 bits, d: 256, e: 512; N lanes;
 * one 'v' an argument) and come from libmvec, loaded at run time; where it is missing (another libc, an old glibc), loops over
 * the scalar functions stand in. Conversions are those that compilers call for half and bfloat16. */
#include "base/dtype.h"
#include "runtime/host_code.h"
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* name, with one argument | with two */
#define MATH_1(X) X(sin) X(cos) X(tan) X(asin) X(acos) X(atan) X(sinh) X(cosh) X(tanh) X(asinh) X(acosh) X(atanh) \
    X(exp) X(exp2) X(expm1) X(log) X(log2) X(log10) X(log1p) X(cbrt) X(erf) X(erfc)
#define MATH_2(X) X(pow) X(atan2) X(hypot)
#define SCALAR_ONLY_1(X) X(sqrt) X(fabs) X(floor) X(ceil) X(trunc) X(rint) X(nearbyint) X(round) X(roundeven) X(lgamma) X(tgamma)
#define SCALAR_ONLY_2(X) X(fmod) X(fmin) X(fmax) X(copysign) X(remainder)

/* ---- stand-ins for libmvec ---- */

#define V_TYPE(elem, bytes) elem __attribute__((vector_size(bytes)))
#define STAND_IN_1(tag, fn, elem, bytes, isa)                                                                    \
    __attribute__((target(isa))) static V_TYPE(elem, bytes) fn##_##tag(V_TYPE(elem, bytes) x)                    \
    {                                                                                                            \
        for (unsigned i = 0; i < (bytes) / sizeof(elem); i++)                                                    \
            x[i] = fn(x[i]);                                                                                     \
        return x;                                                                                                \
    }
#define STAND_IN_2(tag, fn, elem, bytes, isa)                                                                    \
    __attribute__((target(isa))) static V_TYPE(elem, bytes) fn##_##tag(V_TYPE(elem, bytes) x, V_TYPE(elem, bytes) y) \
    {                                                                                                            \
        for (unsigned i = 0; i < (bytes) / sizeof(elem); i++)                                                    \
            x[i] = fn(x[i], y[i]);                                                                               \
        return x;                                                                                                \
    }
#define ALL_WIDTHS(STAND_IN, name)              \
    STAND_IN(b4, name##f, float, 16, "sse4.1")  \
    STAND_IN(d8, name##f, float, 32, "avx2")    \
    STAND_IN(e16, name##f, float, 64, "avx512f")\
    STAND_IN(b2, name, double, 16, "sse4.1")    \
    STAND_IN(d4, name, double, 32, "avx2")      \
    STAND_IN(e8, name, double, 64, "avx512f")
#define X(name) ALL_WIDTHS(STAND_IN_1, name)
MATH_1(X)
#undef X
#define X(name) ALL_WIDTHS(STAND_IN_2, name)
MATH_2(X)
#undef X

/* ---- half and bfloat16: passed in the low 16 bits of a vector register, so a float's register carries them ---- */

static float carry(uint16_t bits)
{
    uint32_t wide = bits;
    float f;
    memcpy(&f, &wide, sizeof f);
    return f;
}
static uint16_t carried(float f)
{
    uint32_t wide;
    memcpy(&wide, &f, sizeof wide);
    return (uint16_t)wide;
}
static float truncsfhf2(float x) { return carry(f32_to_f16(x)); }
static float truncdfhf2(double x) { return carry(f64_to_f16(x)); }
static float truncsfbf2(float x) { return carry(f32_to_bf16(x)); }
static float truncdfbf2(double x) { return carry(f64_to_bf16(x)); }
static float extendhfsf2(float h) { return f16_to_f32(carried(h)); }
static double extendhfdf2(float h) { return (double)f16_to_f32(carried(h)); }
static float extendbfsf2(float h) { return bf16_to_f32(carried(h)); }

/* ---- the table ---- */

typedef struct { const char *name; void *fn; } Import;
#define FN(f) (void *)(uintptr_t)(f)

static const Import scalar_imports[] = {
    {"memcpy", FN(memcpy)}, {"memmove", FN(memmove)}, {"memset", FN(memset)}, {"bcmp", FN(memcmp)}, {"memcmp", FN(memcmp)},
    {"__truncsfhf2", FN(truncsfhf2)}, {"__truncdfhf2", FN(truncdfhf2)}, {"__truncsfbf2", FN(truncsfbf2)},
    {"__truncdfbf2", FN(truncdfbf2)}, {"__extendhfsf2", FN(extendhfsf2)}, {"__extendhfdf2", FN(extendhfdf2)},
    {"__extendbfsf2", FN(extendbfsf2)}, {"__gnu_f2h_ieee", FN(f32_to_f16)}, {"__gnu_h2f_ieee", FN(f16_to_f32)},
    {"sincosf", FN(sincosf)}, {"sincos", FN(sincos)}, {"ldexpf", FN(ldexpf)}, {"ldexp", FN(ldexp)},
#define X(name) {#name, FN((double (*)(double))name)}, {#name "f", FN((float (*)(float))name##f)},
    MATH_1(X) SCALAR_ONLY_1(X)
#undef X
#define X(name) {#name, FN((double (*)(double, double))name)}, {#name "f", FN((float (*)(float, float))name##f)},
    MATH_2(X) SCALAR_ONLY_2(X)
#undef X
    {"fma", FN(fma)}, {"fmaf", FN(fmaf)}
};

static const Import vector_imports[] = {
#define X(name)                                                                                        \
    {"_ZGVbN4v_" #name "f", FN(name##f_b4)}, {"_ZGVdN8v_" #name "f", FN(name##f_d8)},                  \
    {"_ZGVeN16v_" #name "f", FN(name##f_e16)}, {"_ZGVbN2v_" #name, FN(name##_b2)},                     \
    {"_ZGVdN4v_" #name, FN(name##_d4)}, {"_ZGVeN8v_" #name, FN(name##_e8)},
    MATH_1(X)
#undef X
#define X(name)                                                                                        \
    {"_ZGVbN4vv_" #name "f", FN(name##f_b4)}, {"_ZGVdN8vv_" #name "f", FN(name##f_d8)},                \
    {"_ZGVeN16vv_" #name "f", FN(name##f_e16)}, {"_ZGVbN2vv_" #name, FN(name##_b2)},                   \
    {"_ZGVdN4vv_" #name, FN(name##_d4)}, {"_ZGVeN8vv_" #name, FN(name##_e8)},
    MATH_2(X)
#undef X
};

static void *find(const Import *table, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(table[i].name, name) == 0)
            return table[i].fn;
    return NULL;
}

void *host_import(const char *symbol)
{
    if (strncmp(symbol, "_ZGV", 4) != 0)
        return find(scalar_imports, sizeof scalar_imports / sizeof *scalar_imports, symbol);
    void *stand_in = find(vector_imports, sizeof vector_imports / sizeof *vector_imports, symbol);
    if (!stand_in)
        return NULL;
    void *library = dlopen("libmvec.so.1", RTLD_NOW | RTLD_LOCAL);      /* counted by the loader: cheap when it is there */
    void *vector = library ? dlsym(library, symbol) : NULL;
    return vector ? vector : stand_in;
}
