/* base/dtype.c — element types and their conversions. Narrow floats are rounded from a double in one step, to nearest with
 * ties to even (narrow.h), so f64 → f16 never rounds twice. */
#include "base/dtype.h"
#include "base/diag.h"
#include "base/narrow.h"
#include <math.h>
#include <string.h>

typedef struct {
    const char *name;
    uint32_t    bytes;
    DTypeClass  class;
} DTypeInfo;

static const DTypeInfo infos[DT_COUNT] = {
#define X(E, n, b, t, c) [DT_##E] = {#n, b, DC_##c},
    PAWL_DTYPES(X)
#undef X
};

/* Explicit significand bits and the exponents of normal numbers 1.m * 2^e. */
static void float_format(DType t, int *mantissa, int *min_exponent, int *max_exponent)
{
    *mantissa = *min_exponent = *max_exponent = 0;
    switch (t) {
    case DT_F64:  *mantissa = 52; *min_exponent = -1022; *max_exponent = 1023; break;
    case DT_F32:  *mantissa = 23; *min_exponent = -126;  *max_exponent = 127;  break;
    case DT_F16:  *mantissa = 10; *min_exponent = -14;   *max_exponent = 15;   break;
    case DT_BF16: *mantissa = 7;  *min_exponent = -126;  *max_exponent = 127;  break;
    case DT_I64: case DT_I32: case DT_I8: case DT_U8: case DT_BOOL: case DT_COUNT: break;
    }
}

const char *dtype_name(DType t)
{
    return t < DT_COUNT ? infos[t].name : "none";
}

bool dtype_parse(const char *name, DType *out)
{
    for (int t = 0; t < DT_COUNT; t++)
        if (strcmp(infos[t].name, name) == 0) {
            *out = (DType)t;
            return true;
        }
    return false;
}

uint32_t dtype_bytes(DType t)
{
    return t < DT_COUNT ? infos[t].bytes : 0;
}

DTypeClass dtype_class(DType t)
{
    pawl_assert(t < DT_COUNT);
    return infos[t].class;
}

int dtype_mantissa_bits(DType t)
{
    int m, lo, hi;
    float_format(t, &m, &lo, &hi);
    return m;
}

/* PyTorch promotes u8 with i8 to i16; we have no i16, so i32. */
DType dtype_promote(DType a, DType b)
{
    if (a == b || b == DT_NONE)
        return a;
    if (a == DT_NONE)
        return b;
    if (dtype_is_float(a) && dtype_is_float(b))
        return a >= DT_F16 && b >= DT_F16 ? DT_F32 : a < b ? a : b;
    if (dtype_is_float(a) || b == DT_BOOL)
        return a;
    if (dtype_is_float(b) || a == DT_BOOL)
        return b;
    if ((a == DT_U8 && b == DT_I8) || (a == DT_I8 && b == DT_U8))
        return DT_I32;
    return a < b ? a : b;          /* the table lists wider integers first */
}

DType dtype_accumulate(DType t)
{
    switch (t) {
    case DT_F64: return DT_F64;
    case DT_F32: case DT_F16: case DT_BF16: return DT_F32;
    case DT_I64: case DT_I32: case DT_I8: case DT_U8: case DT_BOOL: return DT_I64;
    case DT_COUNT: break;
    }
    return t;
}

static uint32_t f32_bits(float f)  { uint32_t u; memcpy(&u, &f, sizeof u); return u; }
static float    f32_of(uint32_t u) { float f; memcpy(&f, &u, sizeof f); return f; }

uint16_t f64_to_f16(double d)  { return narrow_f64(d, 10, -14, 15); }
uint16_t f64_to_bf16(double d) { return narrow_f64(d, 7, -126, 127); }
uint16_t f32_to_f16(float f)   { return narrow_f64((double)f, 10, -14, 15); }
float    bf16_to_f32(uint16_t h) { return f32_of((uint32_t)h << 16); }

uint16_t f32_to_bf16(float f)
{
    uint32_t u = f32_bits(f);
    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)((u >> 16 & 0x8000) | 0x7fc0);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 0x3ff;
    if (e == 31)
        return f32_of(sign | 0x7f800000 | m << 13);
    if (e)
        return f32_of(sign | (e + 112) << 23 | m << 13);
    float f = (float)m * 0x1p-24f;
    return sign ? -f : f;
}

/* What cvttsd2si gives: truncation, and the smallest integer for NaN and whatever does not fit. */
static int64_t to_i64(double v) { return v >= -0x1p63 && v < 0x1p63 ? (int64_t)v : INT64_MIN; }
static int32_t to_i32(double v) { return v > -2147483649.0 && v < 2147483648.0 ? (int32_t)v : INT32_MIN; }

double dtype_round(DType t, double v)
{
    switch (t) {
    case DT_F64:  return v;
    case DT_F32:  return (double)(float)v;
    case DT_F16:  return (double)f16_to_f32(f64_to_f16(v));
    case DT_BF16: return (double)bf16_to_f32(f64_to_bf16(v));
    case DT_I64:  return (double)to_i64(v);
    case DT_I32:  return (double)to_i32(v);
    case DT_I8:   return (double)(int8_t)(uint8_t)(uint32_t)to_i32(v);
    case DT_U8:   return (double)(uint8_t)(uint64_t)to_i64(v);
    case DT_BOOL: return v != 0;
    case DT_COUNT: break;
    }
    return v;
}

double dtype_load(DType t, const void *p)
{
    switch (t) {
    case DT_F64:  { double x;   memcpy(&x, p, 8); return x; }
    case DT_F32:  { float x;    memcpy(&x, p, 4); return (double)x; }
    case DT_F16:  { uint16_t x; memcpy(&x, p, 2); return (double)f16_to_f32(x); }
    case DT_BF16: { uint16_t x; memcpy(&x, p, 2); return (double)bf16_to_f32(x); }
    case DT_I64: case DT_I32: case DT_I8: case DT_U8: case DT_BOOL: return (double)dtype_load_i64(t, p);
    case DT_COUNT: break;
    }
    return 0;
}

int64_t dtype_load_i64(DType t, const void *p)
{
    switch (t) {
    case DT_F64: case DT_F32: case DT_F16: case DT_BF16: return to_i64(dtype_load(t, p));
    case DT_I64:  { int64_t x; memcpy(&x, p, 8); return x; }
    case DT_I32:  { int32_t x; memcpy(&x, p, 4); return x; }
    case DT_I8:   { int8_t x;  memcpy(&x, p, 1); return x; }
    case DT_U8:   { uint8_t x; memcpy(&x, p, 1); return x; }
    case DT_BOOL: { uint8_t x; memcpy(&x, p, 1); return x != 0; }
    case DT_COUNT: break;
    }
    return 0;
}

void dtype_store(DType t, void *p, double v)
{
    switch (t) {
    case DT_F64:  memcpy(p, &v, 8); break;
    case DT_F32:  { float x = (float)v;          memcpy(p, &x, 4); break; }
    case DT_F16:  { uint16_t x = f64_to_f16(v);  memcpy(p, &x, 2); break; }
    case DT_BF16: { uint16_t x = f64_to_bf16(v); memcpy(p, &x, 2); break; }
    case DT_I64: case DT_U8: dtype_store_i64(t, p, to_i64(v)); break;
    case DT_I32: case DT_I8: dtype_store_i64(t, p, to_i32(v)); break;
    case DT_BOOL: { uint8_t x = v != 0; memcpy(p, &x, 1); break; }
    case DT_COUNT: break;
    }
}

/* An integer beyond 2^53 must not round twice on its way to a narrow float: keep the lost bits as a sticky last one. */
static double sticky_double(int64_t v)
{
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    if (u >> 53)
        u = (u & ~(uint64_t)0xfff) | ((u & 0xfff) ? 0x800 : 0);
    return v < 0 ? -(double)u : (double)u;
}

void dtype_store_i64(DType t, void *p, int64_t v)
{
    switch (t) {
    case DT_F64:  { double x = (double)v; memcpy(p, &x, 8); break; }
    case DT_F32:  { float x = (float)v;   memcpy(p, &x, 4); break; }
    case DT_F16: case DT_BF16: dtype_store(t, p, sticky_double(v)); break;
    case DT_I64:  memcpy(p, &v, 8); break;
    case DT_I32:  { uint32_t x = (uint32_t)(uint64_t)v; memcpy(p, &x, 4); break; }
    case DT_I8:
    case DT_U8:   { uint8_t x = (uint8_t)(uint64_t)v; memcpy(p, &x, 1); break; }
    case DT_BOOL: { uint8_t x = v != 0; memcpy(p, &x, 1); break; }
    case DT_COUNT: break;
    }
}

double dtype_ulp(DType t, double v)
{
    int mantissa, lo, hi;
    float_format(t, &mantissa, &lo, &hi);
    if (!mantissa)
        return 1;
    if (isnan(v))
        return v;
    int e = v == 0 ? lo : isinf(v) ? hi : ilogb(v);
    e = e < lo ? lo : e > hi ? hi : e;
    return ldexp(1, e - mantissa);
}

Tensor *tensor_new(Arena *a, DType t, int rank, const int64_t *dims)
{
    pawl_assert(rank >= 0 && rank <= TENSOR_MAX_RANK, "rank %d", rank);
    Tensor *x = arena_new_of(a, Tensor);
    x->dtype = t;
    x->rank = rank;
    for (int i = 0; i < rank; i++)
        x->dims[i] = dims[i];
    char *p = arena_alloc(a, tensor_bytes(x) + 64);
    x->data = p + (64 - (uintptr_t)p % 64) % 64;
    return x;
}

int64_t tensor_count(const Tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) {
        bool fits = t->dims[i] >= 0 && !__builtin_mul_overflow(n, t->dims[i], &n);
        pawl_assert(fits, "dim %d is %lld", i, (long long)t->dims[i]);
    }
    return n;
}

size_t tensor_bytes(const Tensor *t)
{
    size_t bytes;
    bool fits = !__builtin_mul_overflow((size_t)tensor_count(t), (size_t)dtype_bytes(t->dtype), &bytes);
    pawl_assert(fits);
    return bytes;
}
