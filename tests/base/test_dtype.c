/* tests/base/test_dtype.c — conversions against a definition by search: the nearest of all 65,536 values. */
#include "base/dtype.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static double wide(DType t, uint16_t h)
{
    return (double)(t == DT_F16 ? f16_to_f32(h) : bf16_to_f32(h));
}
static uint16_t narrowed(DType t, double v)
{
    return t == DT_F16 ? f64_to_f16(v) : f64_to_bf16(v);
}

/* f16 from its definition. */
static double f16_by_hand(uint16_t h)
{
    int e = h >> 10 & 31, m = h & 1023;
    double v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    return h & 0x8000 ? -v : v;
}

static void halves_round_trip(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        double v = wide(DT_F16, (uint16_t)h), hand = f16_by_hand((uint16_t)h), b = wide(DT_BF16, (uint16_t)h);
        assert_true(v == hand || (isnan(v) && isnan(hand)));
        if (!isnan(v)) {
            assert_int_equal(f64_to_f16(v), h);
            assert_int_equal(f32_to_f16((float)v), h);
        }
        if (!isnan(b)) {
            assert_int_equal(f64_to_bf16(b), h);
            assert_int_equal(f32_to_bf16((float)b), h);
        }
    }
    assert_true(isnan(wide(DT_F16, f64_to_f16(NAN))) && isnan(wide(DT_BF16, f64_to_bf16(NAN))));
    assert_true(isnan((double)bf16_to_f32(f32_to_bf16(NAN))));
}

/* Around every value and every midpoint of two neighbours: down, tie to even, up. */
static void narrowing_rounds_once(void **state)
{
    (void)state;
    static const DType types[] = {DT_F16, DT_BF16};
    for (int k = 0; k < 2; k++) {
        DType t = types[k];
        uint16_t infinity = t == DT_F16 ? 0x7c00 : 0x7f80;
        for (uint16_t h = 0; h < infinity; h++) {
            double lo = wide(t, h), hi = h + 1 == infinity ? 2 * lo - wide(t, (uint16_t)(h - 1)) : wide(t, (uint16_t)(h + 1));
            double mid = lo + (hi - lo) / 2;
            assert_int_equal(narrowed(t, nextafter(mid, 0)), h);
            assert_int_equal(narrowed(t, nextafter(mid, INFINITY)), h + 1);
            assert_int_equal(narrowed(t, mid), h & 1 ? h + 1 : h);
            assert_int_equal(narrowed(t, -mid), (h & 1 ? h + 1 : h) | 0x8000);
            assert_int_equal(narrowed(t, nextafter(lo, INFINITY)), h);
        }
        assert_int_equal(narrowed(t, 1e300), infinity);
        assert_int_equal(narrowed(t, -INFINITY), infinity | 0x8000);
        assert_int_equal(narrowed(t, 5e-324), 0);
        assert_int_equal(narrowed(t, -0.0), 0x8000);
    }
    /* Through f32 this would be rounded twice, to the tie and then to even. */
    assert_int_equal(f64_to_bf16(1 + 0x1p-8 + 0x1p-40), 0x3f81);
}

static void integers_wrap_as_on_x86(void **state)
{
    (void)state;
    assert_true(dtype_round(DT_I32, 3e9) == INT32_MIN && dtype_round(DT_I32, -2.9) == -2);
    assert_true(dtype_round(DT_I64, NAN) == (double)INT64_MIN && dtype_round(DT_I64, 1e30) == (double)INT64_MIN);
    assert_true(dtype_round(DT_I8, 200) == -56 && dtype_round(DT_I8, -129) == 127);
    assert_true(dtype_round(DT_U8, -1) == 255 && dtype_round(DT_U8, 256.9) == 0);
    assert_true(dtype_round(DT_BOOL, 0.1) == 1 && dtype_round(DT_BOOL, -0.0) == 0);
    assert_true(dtype_round(DT_F32, 0.1) == (double)0.1f && dtype_round(DT_BF16, 1.01) == 1.0078125);
}

static void values_are_stored_and_loaded(void **state)
{
    (void)state;
    unsigned char cell[8];
    for (int t = 0; t < DT_COUNT; t++) {
        DType parsed;
        assert_true(dtype_parse(dtype_name((DType)t), &parsed) && parsed == (DType)t);
        for (double v = 0; v <= 1; v++) {
            dtype_store((DType)t, cell, v);
            assert_true(dtype_load((DType)t, cell) == v);
            assert_int_equal(dtype_load_i64((DType)t, cell), (int64_t)v);
            dtype_store_i64((DType)t, cell, (int64_t)v);
            assert_true(dtype_load((DType)t, cell) == v);
        }
    }
    dtype_store_i64(DT_I64, cell, INT64_MAX);
    assert_true(dtype_load_i64(DT_I64, cell) == INT64_MAX);
    dtype_store_i64(DT_BF16, cell, ((int64_t)1 << 62) + ((int64_t)1 << 54) + 1);      /* just above a tie */
    assert_true(dtype_load(DT_BF16, cell) == ldexp(1 + 0x1p-7, 62));
    dtype_store_i64(DT_I8, cell, 300);
    assert_int_equal(dtype_load_i64(DT_I8, cell), 44);
    DType none;
    assert_false(dtype_parse("f31", &none));
}

static void promotion_follows_pytorch(void **state)
{
    (void)state;
    static const struct { DType a, b, want; } rows[] = {
        {DT_F16, DT_BF16, DT_F32}, {DT_F32, DT_BF16, DT_F32}, {DT_F64, DT_F16, DT_F64}, {DT_I64, DT_F16, DT_F16},
        {DT_U8, DT_I8, DT_I32}, {DT_U8, DT_I64, DT_I64}, {DT_BOOL, DT_U8, DT_U8}, {DT_BOOL, DT_BOOL, DT_BOOL},
        {DT_I32, DT_I64, DT_I64}, {DT_BOOL, DT_BF16, DT_BF16}, {DT_NONE, DT_I8, DT_I8},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(dtype_promote(rows[i].a, rows[i].b), rows[i].want);
        assert_int_equal(dtype_promote(rows[i].b, rows[i].a), rows[i].want);
    }
    assert_int_equal(dtype_accumulate(DT_BF16), DT_F32);
    assert_int_equal(dtype_accumulate(DT_BOOL), DT_I64);
    assert_int_equal(dtype_mantissa_bits(DT_F16), 10);
    assert_int_equal(dtype_mantissa_bits(DT_I8), 0);
}

static void ulps(void **state)
{
    (void)state;
    assert_true(dtype_ulp(DT_F64, 1) == 0x1p-52 && dtype_ulp(DT_F32, -1.5) == 0x1p-23);
    assert_true(dtype_ulp(DT_F16, 0) == 0x1p-24 && dtype_ulp(DT_BF16, 0) == 0x1p-133 && dtype_ulp(DT_F64, 0) == 0x1p-1074);
    assert_true(dtype_ulp(DT_F16, 1e9) == 32 && dtype_ulp(DT_F16, INFINITY) == 32 && dtype_ulp(DT_I32, 7) == 1);
    assert_true(isnan(dtype_ulp(DT_F32, NAN)));
}

static void tensors(void **state)
{
    (void)state;
    Arena *a = arena_new();
    Tensor *t = tensor_new(a, DT_BF16, 3, (int64_t[]){2, 3, 5});
    assert_int_equal(tensor_count(t), 30);
    assert_int_equal(tensor_bytes(t), 60);
    assert_int_equal((uintptr_t)t->data % 64, 0);
    assert_int_equal(tensor_count(tensor_new(a, DT_F32, 0, NULL)), 1);
    assert_int_equal(tensor_bytes(tensor_new(a, DT_F32, 2, (int64_t[]){4, 0})), 0);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_round_trip), cmocka_unit_test(narrowing_rounds_once),
        cmocka_unit_test(integers_wrap_as_on_x86), cmocka_unit_test(values_are_stored_and_loaded),
        cmocka_unit_test(promotion_follows_pytorch), cmocka_unit_test(ulps), cmocka_unit_test(tensors),
    };
    return cmocka_run_group_tests_name("dtype", tests, NULL, NULL);
}
