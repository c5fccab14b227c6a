/* Every pointwise op and cast against formulas written apart from ops.def. */
#include "test_eval_fixture.h"

/* ---- floats ------------------------------------------------------------------------------------------------------- */
typedef struct { Op op; long double (*f)(long double, long double); double lo, hi; } Formula;
#define F(name, ...) static long double f_##name(long double a, long double b) { (void)a; (void)b; return __VA_ARGS__; }
F(abs, a < 0 ? -a : a)            F(neg, 0 - a)                  F(sign, a > 0 ? 1 : a < 0 ? -1 : 0)
F(ceil, ceill(a))                 F(floor, floorl(a))            F(round, rintl(a))
F(trunc, a < 0 ? ceill(a) : floorl(a))                           F(sqrt, powl(a, 0.5L))
F(pow2_floor, powl(2, floorl(log2l(fabsl(a)))))
F(rsqrt, powl(a, -0.5L))          F(reciprocal, 1 / a)           F(exp, powl(2.718281828459045235360L, a))
F(exp2, powl(2, a))               F(expm1, expm1l(a))            F(log, logl(a))
F(log2, log2l(a))                 F(log10, log10l(a))            F(log1p, log1pl(a))
F(sin, sinl(a))                   F(cos, cosl(a))                F(tan, sinl(a) / cosl(a))
F(asin, asinl(a))                 F(acos, acosl(a))              F(atan, atanl(a))
F(sinh, (expl(a) - expl(-a)) / 2) F(cosh, (expl(a) + expl(-a)) / 2)
F(tanh, (expl(2 * a) - 1) / (expl(2 * a) + 1))
F(asinh, asinhl(a))               F(acosh, acoshl(a))            F(atanh, 0.5L * logl((1 + a) / (1 - a)))
F(erf, erfl(a))                   F(erfc, erfcl(a))
F(add, a + b)                     F(sub, a - b)                  F(mul, a * b)
F(div, a / b)                     F(pow, powl(a, b))             F(fmod, a - b * truncl(a / b))
F(remainder, a - b * floorl(a / b))
F(maximum, a < b ? b : a)         F(minimum, a < b ? a : b)      F(atan2, atan2l(a, b))

static const Formula formulas[] = {
    {OP_ABS, f_abs, -3, 3}, {OP_NEG, f_neg, -3, 3}, {OP_SIGN, f_sign, -3, 3}, {OP_CEIL, f_ceil, -3, 3},
    {OP_FLOOR, f_floor, -3, 3}, {OP_ROUND, f_round, -3, 3}, {OP_TRUNC, f_trunc, -3, 3}, {OP_SQRT, f_sqrt, 0.1, 9},
    {OP_POW2_FLOOR, f_pow2_floor, -9, 9}, {OP_POW2_FLOOR, f_pow2_floor, 0.001, 0.1},
    {OP_RSQRT, f_rsqrt, 0.1, 9}, {OP_RECIPROCAL, f_reciprocal, 0.1, 9}, {OP_EXP, f_exp, -5, 5}, {OP_EXP2, f_exp2, -5, 5},
    {OP_EXPM1, f_expm1, 0.1, 2}, {OP_LOG, f_log, 2, 9}, {OP_LOG2, f_log2, 2, 9}, {OP_LOG10, f_log10, 2, 9},
    {OP_LOG1P, f_log1p, 0.1, 9}, {OP_SIN, f_sin, 0.1, 3}, {OP_COS, f_cos, -1, 1}, {OP_TAN, f_tan, 0.1, 1},
    {OP_ASIN, f_asin, 0.1, 0.9}, {OP_ACOS, f_acos, -0.9, 0.9}, {OP_ATAN, f_atan, 0.1, 9}, {OP_SINH, f_sinh, 0.5, 3},
    {OP_COSH, f_cosh, -3, 3}, {OP_TANH, f_tanh, 0.5, 3}, {OP_ASINH, f_asinh, 0.1, 9}, {OP_ACOSH, f_acosh, 1.5, 9},
    {OP_ATANH, f_atanh, 0.1, 0.9}, {OP_ERF, f_erf, 0.1, 2}, {OP_ERFC, f_erfc, -2, 2}, {OP_ADD, f_add, 0.1, 3},
    {OP_SUB, f_sub, -3, 3}, {OP_MUL, f_mul, -3, 3}, {OP_DIV, f_div, 0.5, 3}, {OP_POW, f_pow, 0.5, 3},
    {OP_FMOD, f_fmod, 0.5, 9}, {OP_REMAINDER, f_remainder, 0.5, 9}, {OP_MAXIMUM, f_maximum, -3, 3},
    {OP_MINIMUM, f_minimum, -3, 3}, {OP_ATAN2, f_atan2, 0.1, 3},
};

static void one_formula(const Formula *x, DType t, int64_t n)
{
    Fixture f = fixture_new();
    Node *in[2] = {INPUT(&f, t, x->lo, x->hi, n), INPUT(&f, t, x->lo, x->hi, n)};
    graph_output(f.g, "y", add_node(&f, x->op, in, (uint32_t)op_table[x->op].arity, NULL, 0));
    const Value *exact = evaluate(&f, &domain_fp64, 0), *rounded = evaluate(&f, &domain_baseline, 0);
    const Value *error = evaluate(&f, &domain_error, 0);
    for (int64_t i = 0; i < n; i++) {
        double want = (double)x->f((long double)at(f.in[0], i), (long double)at(f.in[1], i));
        assert_near(exact[i].v, want, 1e-14);
        assert_near(rounded[i].v, dtype_round(t, exact[i].v), 0);
        assert_true(error[i].v == exact[i].v && error[i].e >= 0 && error[i].e <= fabs(exact[i].v));
    }
    points_equal_all(&f, &domain_error);
    fixture_free(&f);
}

static void test_formulas(void **state)
{
    for (size_t i = 0; i < sizeof formulas / sizeof *formulas; i++)
        for (int t = DT_F64; t <= DT_BF16; t++) {
            one_formula(&formulas[i], (DType)t, 1);
            one_formula(&formulas[i], (DType)t, 37);
        }
}

/* Special values: rows of op, a, b, result. */
static void test_special_values(void **state)
{
    const double inf = INFINITY, nan_ = NAN;
    const struct { Op op; double a, b, want; } rows[] = {
        {OP_MAXIMUM, nan_, 1, nan_}, {OP_MAXIMUM, 1, nan_, nan_}, {OP_MINIMUM, nan_, 1, nan_}, {OP_MINIMUM, 1, nan_, nan_},
        {OP_SIGN, nan_, 0, nan_}, {OP_SIGN, -0.0, 0, 0}, {OP_ROUND, 0.5, 0, 0}, {OP_ROUND, 1.5, 0, 2}, {OP_ROUND, -2.5, 0, -2},
        {OP_REMAINDER, -1, 3, 2}, {OP_REMAINDER, 1, -3, -2}, {OP_REMAINDER, 6, 3, 0}, {OP_FMOD, -7, 3, -1}, {OP_FMOD, 1, 0, nan_},
        {OP_DIV, 1, 0, inf}, {OP_DIV, 0, 0, nan_}, {OP_EXP, -inf, 0, 0}, {OP_EXP, inf, 0, inf}, {OP_LOG, 0, 0, -inf},
        {OP_LOG, -1, 0, nan_}, {OP_SQRT, -1, 0, nan_}, {OP_RSQRT, 0, 0, inf}, {OP_POW, 0, 0, 1}, {OP_POW, nan_, 0, 1},
        {OP_SUB, inf, inf, nan_}, {OP_MUL, 0, inf, nan_}, {OP_TANH, inf, 0, 1}, {OP_ERF, -inf, 0, -1}, {OP_ABS, -inf, 0, inf},
        {OP_POW2_FLOOR, 0, 0, 0x1p-126}, {OP_POW2_FLOOR, 1e-40, 0, 0x1p-126}, {OP_POW2_FLOOR, -0x1p-126, 0, 0x1p-126},
        {OP_POW2_FLOOR, -inf, 0, inf}, {OP_POW2_FLOOR, nan_, 0, inf}, {OP_POW2_FLOOR, -8, 0, 8}, {OP_POW2_FLOOR, 0x1.fffffep127, 0, 0x1p127},
        {OP_POW2_FLOOR, 0x1.fffffep-1, 0, 0.5},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Fixture f = fixture_new();
        Node *in[2] = {INPUT(&f, DT_F32, 0, 1, 1), INPUT(&f, DT_F32, 0, 1, 1)};
        put(f.in[0], 0, rows[i].a);
        put(f.in[1], 0, rows[i].b);
        graph_output(f.g, "y", add_node(&f, rows[i].op, in, (uint32_t)op_table[rows[i].op].arity, NULL, 0));
        assert_near(evaluate(&f, &domain_fp64, 0)->v, rows[i].want, 0);
        assert_near(evaluate(&f, &domain_baseline, 0)->v, rows[i].want, 0);
        Value e = *evaluate(&f, &domain_error, 0);
        assert_near(e.v, rows[i].want, 0);
        assert_true(isfinite(e.e));
        fixture_free(&f);
    }
}

static void test_predicates(void **state)
{
    const double inf = INFINITY, nan_ = NAN;
    const struct { Op op; double a, b; int want; } rows[] = {
        {OP_EQ, 1, 1, 1}, {OP_EQ, nan_, nan_, 0}, {OP_NE, nan_, nan_, 1}, {OP_NE, 2, 2, 0}, {OP_LT, 1, 2, 1}, {OP_LT, 2, 2, 0},
        {OP_LE, 2, 2, 1}, {OP_LE, nan_, 2, 0}, {OP_GT, 3, 2, 1}, {OP_GT, nan_, 2, 0}, {OP_GE, 2, 2, 1}, {OP_GE, 1, 2, 0},
        {OP_ISNAN, nan_, 0, 1}, {OP_ISNAN, inf, 0, 0}, {OP_ISINF, -inf, 0, 1}, {OP_ISINF, 1, 0, 0}, {OP_EQ, -0.0, 0, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Fixture f = fixture_new();
        Node *in[2] = {INPUT(&f, DT_BF16, 0, 1, 1), INPUT(&f, DT_BF16, 0, 1, 1)};
        put(f.in[0], 0, rows[i].a);
        put(f.in[1], 0, rows[i].b);
        Node *y = add_node(&f, rows[i].op, in, (uint32_t)op_table[rows[i].op].arity, NULL, 0);
        graph_output(f.g, "y", y);
        assert_int_equal(y->type.dtype, DT_BOOL);
        assert_int_equal(evaluate(&f, &domain_fp64, 0)->i, rows[i].want);
        assert_int_equal(evaluate(&f, &domain_error, 0)->i, rows[i].want);
        fixture_free(&f);
    }
}

/* ---- integers ------------------------------------------------------------------------------------------------------ */
static void test_integers(void **state)
{
    const struct { Op op; DType t; int64_t a, b, want; } rows[] = {
        {OP_ADD, DT_I32, INT32_MAX, 1, INT32_MIN}, {OP_ADD, DT_I64, INT64_MAX, 1, INT64_MIN}, {OP_ADD, DT_U8, 250, 10, 4},
        {OP_ADD, DT_I64, (int64_t)1 << 53, 1, ((int64_t)1 << 53) + 1}, {OP_ADD, DT_BOOL, 1, 1, 1}, {OP_MUL, DT_BOOL, 1, 0, 0},
        {OP_SUB, DT_U8, 3, 5, 254}, {OP_SUB, DT_I8, -128, 1, 127}, {OP_MUL, DT_I8, 100, 3, 44}, {OP_MUL, DT_I64, INT64_MIN, -1, INT64_MIN},
        {OP_NEG, DT_I8, -128, 0, -128}, {OP_ABS, DT_I32, -5, 0, 5}, {OP_ABS, DT_I64, INT64_MIN, 0, INT64_MIN}, {OP_SIGN, DT_I32, -9, 0, -1},
        {OP_CEIL, DT_I32, -9, 0, -9}, {OP_FMOD, DT_I32, -7, 3, -1}, {OP_FMOD, DT_I32, 7, 0, 0}, {OP_REMAINDER, DT_I32, -7, 3, 2},
        {OP_REMAINDER, DT_I32, 7, -3, -2}, {OP_REMAINDER, DT_I64, INT64_MIN, -1, 0}, {OP_POW, DT_I32, 3, 4, 81}, {OP_POW, DT_I32, 2, -1, 0},
        {OP_POW, DT_I32, -1, -3, -1}, {OP_POW, DT_I32, 0, 0, 1}, {OP_MAXIMUM, DT_I64, INT64_MAX, INT64_MAX - 1, INT64_MAX},
        {OP_MINIMUM, DT_I64, INT64_MAX, INT64_MAX - 1, INT64_MAX - 1}, {OP_BIT_NOT, DT_I32, 5, 0, -6}, {OP_BIT_NOT, DT_U8, 5, 0, 250},
        {OP_BIT_NOT, DT_BOOL, 1, 0, 0}, {OP_BIT_AND, DT_I32, 12, 10, 8}, {OP_BIT_OR, DT_I32, 12, 10, 14}, {OP_BIT_XOR, DT_I32, 12, 10, 6},
        {OP_BIT_XOR, DT_BOOL, 1, 1, 0}, {OP_SHL, DT_I32, 1, 31, INT32_MIN}, {OP_SHL, DT_I32, 1, 32, 0}, {OP_SHL, DT_U8, 255, 1, 254},
        {OP_SHR, DT_I32, -8, 1, -4}, {OP_SHR, DT_I32, -8, 40, -1}, {OP_SHR, DT_U8, 255, 7, 1}, {OP_SHR, DT_I64, 8, -1, 0},
        {OP_EQ, DT_I64, ((int64_t)1 << 53) + 1, (int64_t)1 << 53, 0}, {OP_LT, DT_I32, -1, 0, 1}, {OP_GE, DT_U8, 200, 100, 1},
        {OP_AND, DT_BOOL, 1, 0, 0}, {OP_OR, DT_BOOL, 1, 0, 1}, {OP_XOR, DT_BOOL, 1, 1, 0}, {OP_NOT, DT_BOOL, 0, 0, 1},
        {OP_ISNAN, DT_I32, 1, 0, 0}, {OP_ISINF, DT_I32, 1, 0, 0},
    };
    const Domain *domains[] = {&domain_fp64, &domain_baseline, &domain_error};
    for (size_t i = 0; i < 3 * (sizeof rows / sizeof *rows); i++) {
        const Domain *d = domains[i % 3];
        Fixture f = fixture_new();
        DType t = rows[i / 3].t;
        Node *in[2] = {INPUT(&f, t, 0, 1, 1), INPUT(&f, t, 0, 1, 1)};
        dtype_store_i64(t, f.in[0]->data, rows[i / 3].a);
        dtype_store_i64(t, f.in[1]->data, rows[i / 3].b);
        graph_output(f.g, "y", add_node(&f, rows[i / 3].op, in, (uint32_t)op_table[rows[i / 3].op].arity, NULL, 0));
        Value y = *evaluate(&f, d, 0);
        if (y.i != rows[i / 3].want || y.v != (double)y.i)
            fail_msg("%s on %s: got %lld, want %lld", op_name(rows[i / 3].op), dtype_name(t), (long long)y.i, (long long)rows[i / 3].want);
        fixture_free(&f);
    }
}

static void test_where(void **state)
{
    for (int t = 0; t < DT_COUNT; t++) {
        Fixture f = fixture_new();
        Node *in[3] = {INPUT(&f, DT_BOOL, 0, 1, 2), INPUT(&f, (DType)t, 0, 100, 2), INPUT(&f, (DType)t, 0, 100, 2)};
        put(f.in[0], 0, 1);
        put(f.in[0], 1, 0);
        graph_output(f.g, "y", add_node(&f, OP_WHERE, in, 3, NULL, 0));
        const Value *y = evaluate(&f, &domain_baseline, 0);
        assert_true(y[0].v == at(f.in[1], 0) && y[1].v == at(f.in[2], 1));
        fixture_free(&f);
    }
}

/* ---- casts ------------------------------------------------------------------------------------------------------------ */
static Value cast_one(DType from, double v, int64_t i, DType to, const Domain *d)
{
    Fixture f = fixture_new();
    Node *x = INPUT(&f, from, 0, 1, 1);
    if (dtype_is_float(from))
        put(f.in[0], 0, v);
    else
        dtype_store_i64(from, f.in[0]->data, i);
    graph_output(f.g, "y", add_node(&f, OP_CAST, &x, 1, &(Attr){.key = ATTR_DTYPE, .dtype = to}, 1));
    Value y = *evaluate(&f, d, 0);
    fixture_free(&f);
    return y;
}

static void test_casts(void **state)
{
    const Domain *b = &domain_baseline, *e = &domain_fp64;
    assert_int_equal(cast_one(DT_F32, -2.9, 0, DT_I32, b).i, -2);
    assert_int_equal(cast_one(DT_F64, 2.9, 0, DT_I64, b).i, 2);
    assert_int_equal(cast_one(DT_F32, 300, 0, DT_U8, b).i, 44);
    assert_int_equal(cast_one(DT_F32, -1, 0, DT_U8, b).i, 255);
    assert_int_equal(cast_one(DT_F32, NAN, 0, DT_BOOL, b).i, 1);
    assert_int_equal(cast_one(DT_F32, 0.25, 0, DT_BOOL, b).i, 1);
    assert_int_equal(cast_one(DT_F32, -0.0, 0, DT_BOOL, b).i, 0);
    assert_int_equal(cast_one(DT_F32, NAN, 0, DT_I64, b).i, INT64_MIN);
    assert_int_equal(cast_one(DT_F32, INFINITY, 0, DT_I32, b).i, INT32_MIN);
    assert_int_equal(cast_one(DT_I64, 0, ((int64_t)1 << 32) + 5, DT_I32, b).i, 5);
    assert_int_equal(cast_one(DT_I32, 0, 200, DT_I8, b).i, -56);
    assert_int_equal(cast_one(DT_I32, 0, 256, DT_BOOL, b).i, 1);
    assert_true(cast_one(DT_I64, 0, 16777217, DT_F32, b).v == 16777216);
    assert_true(cast_one(DT_I64, 0, 16777217, DT_F32, e).v == 16777217);
    assert_true(cast_one(DT_F32, 1.00390625, 0, DT_BF16, b).v == 1);           /* a tie goes to even */
    assert_true(cast_one(DT_F32, 1.00390625, 0, DT_BF16, e).v == 1.00390625);
    assert_true(cast_one(DT_F64, 70000, 0, DT_F16, b).v == INFINITY);
    assert_true(isnan(cast_one(DT_F64, NAN, 0, DT_F16, b).v));
    assert_true(cast_one(DT_BOOL, 0, 1, DT_BF16, b).v == 1);
    Value n = cast_one(DT_F32, 1.00390625, 0, DT_BF16, &domain_error), w = cast_one(DT_BF16, 1.5, 0, DT_F32, &domain_error);
    assert_true(n.e == 1.00390625 && w.e == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formulas), cmocka_unit_test(test_special_values), cmocka_unit_test(test_predicates),
        cmocka_unit_test(test_integers), cmocka_unit_test(test_where), cmocka_unit_test(test_casts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
