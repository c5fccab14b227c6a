/* Movement, reductions, scans, products and gathers against loops written out by hand, at sizes that include 1. */
#include "test_eval_fixture.h"

static void check_everywhere(Fixture *f)
{
    points_equal_all(f, &domain_fp64);
    points_equal_all(f, &domain_baseline);
    points_equal_all(f, &domain_error);
}

/* ---- movement ----------------------------------------------------------------------------------------------------- */
static void movement(int64_t a, int64_t b, int64_t c)
{
    Fixture f = fixture_new();
    Node *x = INPUT(&f, DT_F32, -9, 9, a, b, c);
    Shape flat = shape_of(&f, 2, DIMS(c, a * b)), wide = shape_of(&f, 4, DIMS(2, a, b, c));
    int64_t low[1] = {1}, high[1] = {2};
    Attr pad[4] = {attr_int(ATTR_AXIS, 1), {.key = ATTR_LOW, .dim = dim_const(f.cx->dims, low[0])},
                   {.key = ATTR_HIGH, .dim = dim_const(f.cx->dims, high[0])}, {.key = ATTR_FILL, .f = 7}};
    Attr flip = attr_ints(ATTR_AXES, DIMS(0, 2), 2);
    Node *padded = add_node(&f, OP_PAD, &x, 1, pad, 4);
    Dim start = dim_const(f.cx->dims, c > 1), size = dim_const(f.cx->dims, c > 1 ? c / 2 : 1);
    graph_output(f.g, "permute", graph_permute(f.g, x, DIMS(2, 0, 1)));
    graph_output(f.g, "reshape", graph_reshape(f.g, x, &flat));
    graph_output(f.g, "expand", graph_expand(f.g, x, &wide));
    graph_output(f.g, "slice", graph_slice(f.g, x, 2, start, size, c > 3 ? 2 : 1));
    graph_output(f.g, "flip", add_node(&f, OP_FLIP, &x, 1, &flip, 1));
    graph_output(f.g, "pad", padded);
    graph_output(f.g, "concat", graph_concat(f.g, (Node *[]){x, padded, x}, 3, 1));
    graph_output(f.g, "choice", add_node(&f, OP_CHOICE, (Node *[]){x, graph_unary(f.g, OP_NEG, x)}, 2,
                                         &(Attr){.key = ATTR_ID, .s = str_intern(f.cx->strs, "c")}, 1));
    const Value *y[8];
    for (uint32_t k = 0; k < 8; k++)
        y[k] = evaluate(&f, &domain_fp64, k);
    int64_t step = c > 3 ? 2 : 1, s0 = c > 1, sn = c > 1 ? c / 2 : 1;
    for (int64_t i = 0; i < a; i++)
        for (int64_t j = 0; j < b; j++)
            for (int64_t k = 0; k < c; k++) {
                double v = at(f.in[0], (i * b + j) * c + k);
                assert_true(y[0][(k * a + i) * b + j].v == v);
                assert_true(y[1][(i * b + j) * c + k].v == v);
                assert_true(y[2][(i * b + j) * c + k].v == v && y[2][a * b * c + (i * b + j) * c + k].v == v);
                if (k < sn)
                    assert_true(y[3][(i * b + j) * sn + k].v == at(f.in[0], (i * b + j) * c + s0 + step * k));
                assert_true(y[4][((a - 1 - i) * b + j) * c + c - 1 - k].v == v);
                assert_true(y[5][(i * (b + 3) + j + 1) * c + k].v == v);
                assert_true(y[5][(i * (b + 3)) * c + k].v == 7 && y[5][(i * (b + 3) + b + 2) * c + k].v == 7);
                assert_true(y[6][(i * (3 * b + 3) + j) * c + k].v == v);
                assert_true(y[6][(i * (3 * b + 3) + b + 1 + j) * c + k].v == v);
                assert_true(y[6][(i * (3 * b + 3) + 2 * b + 3 + j) * c + k].v == v);
                assert_true(y[7][(i * b + j) * c + k].v == v);
            }
    check_everywhere(&f);
    fixture_free(&f);
}

static void test_movement(void **state)
{
    movement(1, 1, 1);
    movement(2, 3, 5);
    movement(3, 1, 4);
    movement(1, 7, 2);
}

static void test_iota_and_const(void **state)
{
    Fixture f = fixture_new();
    Node *x = INPUT(&f, DT_I32, 0, 9, 2, 3);
    Dim dims[2] = {dim_const(f.cx->dims, 2), dim_const(f.cx->dims, 3)};
    Attr attrs[3] = {{.key = ATTR_SHAPE, .n = 2, .dims = dims}, attr_int(ATTR_AXIS, 1), {.key = ATTR_DTYPE, .dtype = DT_I32}};
    graph_output(f.g, "y", graph_binary(f.g, OP_ADD, x, add_node(&f, OP_IOTA, NULL, 0, attrs, 3)));
    Node *h = INPUT(&f, DT_BF16, -1, 1, 4);
    graph_output(f.g, "z", graph_binary(f.g, OP_MUL, h, graph_const(f.g, DT_BF16, 0.1)));
    const Value *y = evaluate(&f, &domain_fp64, 0), *z = evaluate(&f, &domain_fp64, 1), *b = evaluate(&f, &domain_baseline, 1);
    for (int64_t i = 0; i < 6; i++)
        assert_int_equal(y[i].i, (int64_t)at(f.in[0], i) + i % 3);
    for (int64_t i = 0; i < 4; i++) {
        double v = at(f.in[1], i);
        assert_true(z[i].v == v * 0.1);
        assert_true(b[i].v == dtype_round(DT_BF16, v * dtype_round(DT_BF16, 0.1)));
    }
    check_everywhere(&f);
    fixture_free(&f);
}

/* ---- reductions ----------------------------------------------------------------------------------------------------- */
static const Op reductions[] = {OP_REDUCE_SUM, OP_REDUCE_PROD, OP_REDUCE_MAX, OP_REDUCE_MIN, OP_ARGMAX, OP_ARGMIN};

static void reduce_middle(DType t, int64_t a, int64_t b, int64_t c)
{
    Fixture f = fixture_new();
    Node *x = INPUT(&f, t, -2, 2, a, b, c);
    for (size_t r = 0; r < 6; r++) {
        Attr attrs[2] = {attr_ints(ATTR_AXES, DIMS(1), 1), attr_int(ATTR_KEEPDIMS, (int64_t)r & 1)};
        graph_output(f.g, op_name(reductions[r]), add_node(&f, reductions[r], &x, 1, attrs, 2));
    }
    Evaluator *e = eval_new(f.g, &domain_fp64, f.in, f.a);
    for (int64_t i = 0; i < a; i++)
        for (int64_t k = 0; k < c; k++) {
            double want[6] = {0, 1, -INFINITY, INFINITY, 0, 0};
            for (int64_t j = 0; j < b; j++) {
                double v = at(f.in[0], (i * b + j) * c + k);
                want[0] += v;
                want[1] *= v;
                if (v > want[2])
                    want[2] = v, want[4] = (double)j;
                if (v < want[3])
                    want[3] = v, want[5] = (double)j;
            }
            for (uint32_t r = 0; r < 6; r++) {
                double got = eval_all(e, r)[i * c + k].v;
                if (fabs(got - want[r]) > 1e-13 * (double)b)
                    fail_msg("%s: %g, want %g", op_name(reductions[r]), got, want[r]);
            }
        }
    check_everywhere(&f);
    fixture_free(&f);
}

static void test_reductions(void **state)
{
    reduce_middle(DT_F32, 1, 1, 1);
    reduce_middle(DT_BF16, 3, 5, 2);
    reduce_middle(DT_F64, 2, 301, 3);                                /* several blocks of 128 */
    reduce_middle(DT_I32, 2, 7, 3);
}

static void test_reduce_axes(void **state)
{
    Fixture f = fixture_new();
    Node *x = INPUT(&f, DT_F64, -2, 2, 3, 4, 5), *bits = INPUT(&f, DT_BOOL, -1, 1, 4, 6);
    put(f.in[1], 0, 0), put(f.in[1], 1, 1), put(f.in[1], 6, 1);
    for (int i = 6; i < 12; i++)
        put(f.in[1], i, 1);
    graph_output(f.g, "all", graph_reduce(f.g, OP_REDUCE_SUM, x, DIMS(0, 1, 2), 3, false));
    graph_output(f.g, "outer", graph_reduce(f.g, OP_REDUCE_SUM, x, DIMS(0, 2), 2, true));
    graph_output(f.g, "any", graph_reduce(f.g, OP_REDUCE_ANY, bits, DIMS(1), 1, false));
    graph_output(f.g, "every", graph_reduce(f.g, OP_REDUCE_ALL, bits, DIMS(1), 1, false));
    double sum = 0, outer[4] = {0};
    for (int64_t i = 0; i < 60; i++) {
        sum += at(f.in[0], i);
        outer[i / 5 % 4] += at(f.in[0], i);
    }
    assert_true(fabs(evaluate(&f, &domain_fp64, 0)->v - sum) < 1e-12);
    for (int j = 0; j < 4; j++)
        assert_true(fabs(evaluate(&f, &domain_fp64, 1)[j].v - outer[j]) < 1e-12);
    for (int i = 0; i < 4; i++) {
        int64_t any = 0, every = 1;
        for (int j = 0; j < 6; j++) {
            any |= at(f.in[1], i * 6 + j) != 0;
            every &= at(f.in[1], i * 6 + j) != 0;
        }
        assert_int_equal(evaluate(&f, &domain_fp64, 2)[i].i, any);
        assert_int_equal(evaluate(&f, &domain_fp64, 3)[i].i, every);
    }
    check_everywhere(&f);
    fixture_free(&f);
}

static void test_nan_wins(void **state)
{
    Fixture f = fixture_new();
    Node *x = INPUT(&f, DT_F32, -2, 2, 1, 5);
    put(f.in[0], 2, NAN);
    put(f.in[0], 4, NAN);
    graph_output(f.g, "max", graph_reduce(f.g, OP_REDUCE_MAX, x, DIMS(1), 1, false));
    graph_output(f.g, "min", graph_reduce(f.g, OP_REDUCE_MIN, x, DIMS(1), 1, false));
    graph_output(f.g, "argmax", graph_reduce(f.g, OP_ARGMAX, x, DIMS(1), 1, false));
    assert_true(isnan(evaluate(&f, &domain_baseline, 0)->v) && isnan(evaluate(&f, &domain_baseline, 1)->v));
    assert_int_equal(evaluate(&f, &domain_baseline, 2)->i, 2);
    fixture_free(&f);
}

/* fp32 sums of bf16 values: more than bf16 could hold, rounded once at the end. */
static void test_accumulation(void **state)
{
    Fixture f = fixture_new();
    Node *x = INPUT(&f, DT_BF16, 0, 1, 1, 1000);
    for (int i = 0; i < 1000; i++)
        put(f.in[0], i, 1);
    graph_output(f.g, "sum", graph_reduce(f.g, OP_REDUCE_SUM, x, DIMS(1), 1, false));
    graph_output(f.g, "scan", add_node(&f, OP_CUMSUM, &x, 1, (Attr[]){attr_int(ATTR_AXIS, 1)}, 1));
    assert_true(evaluate(&f, &domain_baseline, 0)->v == 1000);
    const Value *scan = evaluate(&f, &domain_baseline, 1);
    for (int i = 0; i < 1000; i++)
        assert_true(scan[i].v == dtype_round(DT_BF16, i + 1));
    assert_true(evaluate(&f, &domain_error, 0)->e == 1000);
    fixture_free(&f);
}

static void test_scans(void **state)
{
    const Op ops[4] = {OP_CUMSUM, OP_CUMPROD, OP_CUMMAX, OP_CUMMIN};
    for (int axis = 0; axis < 3; axis++) {
        Fixture f = fixture_new();
        int64_t dim[3] = {3, 4, 1 + 5 * (axis == 1)}, inner = 1;
        Node *x = input_in(&f, DT_F64, 3, dim, -2, 2);
        for (int r = 0; r < 4; r++)
            graph_output(f.g, op_name(ops[r]), add_node(&f, ops[r], &x, 1, (Attr[]){attr_int(ATTR_AXIS, axis)}, 1));
        for (int i = axis + 1; i < 3; i++)
            inner *= dim[i];
        for (int r = 0; r < 4; r++) {
            const Value *y = evaluate(&f, &domain_fp64, (uint32_t)r);
            for (int64_t i = 0; i < dim[0] * dim[1] * dim[2]; i++) {
                double want = at(f.in[0], i);
                for (int64_t j = i / inner % dim[axis], back = i - inner; j > 0; j--, back -= inner) {
                    double v = at(f.in[0], back);
                    want = r == 0 ? v + want : r == 1 ? v * want : r == 2 ? fmax(v, want) : fmin(v, want);
                }
                assert_near(y[i].v, want, 1e-12);
            }
        }
        check_everywhere(&f);
        fixture_free(&f);
    }
}

/* ---- products ----------------------------------------------------------------------------------------------------------- */
static void matmul(DType t, int64_t batch, int64_t m, int64_t n, int64_t k, bool ta, bool tb, bool shared)
{
    Fixture f = fixture_new();
    Node *a = INPUT(&f, t, -2, 2, batch, ta ? k : m, ta ? m : k);
    Node *b = shared ? INPUT(&f, t, -2, 2, tb ? n : k, tb ? k : n) : INPUT(&f, t, -2, 2, batch, tb ? n : k, tb ? k : n);
    Node *product = graph_matmul(f.g, a, b, ta, tb);
    graph_output(f.g, "y", product);
    if (dtype_is_float(t))
        graph_output(f.g, "z", graph_matmul(f.g, graph_unary(f.g, OP_EXP, a), graph_unary(f.g, OP_EXP, b), ta, tb));
    const Value *y = evaluate(&f, &domain_fp64, 0), *r = evaluate(&f, &domain_baseline, 0), *e = evaluate(&f, &domain_error, 0);
    for (int64_t i = 0; i < batch * m * n; i++) {
        int64_t at_batch = i / (m * n), row = i / n % m, col = i % n;
        double want = 0, scale = 0;
        for (int64_t j = 0; j < k; j++) {
            double x = at(f.in[0], at_batch * m * k + (ta ? j * m + row : row * k + j));
            double w = at(f.in[1], (shared ? 0 : at_batch) * n * k + (tb ? col * k + j : j * n + col));
            want += x * w;
            scale += fabs(x * w);
        }
        assert_true(fabs(y[i].v - want) <= 1e-14 * scale);
        if (!dtype_is_float(t)) {
            assert_int_equal(y[i].i, (int64_t)want);
            continue;
        }
        assert_true(e[i].v == y[i].v && fabs(e[i].e - scale) <= 1e-13 * scale);
        double unit = t == DT_F64 ? 0x1p-52 : 0x1p-23;
        assert_true(fabs(r[i].v - want) <= (double)(k + 16) * unit * scale + dtype_ulp(t, want));
    }
    check_everywhere(&f);
    fixture_free(&f);
}

static void test_matmul(void **state)
{
    for (int bits = 0; bits < 8; bits++) {
        matmul(DT_F64, 2, 3, 5, 7, bits & 1, bits & 2, bits & 4);
        matmul(DT_F32, 1, 1, 1, 1, bits & 1, bits & 2, bits & 4);
        matmul(DT_BF16, 3, 2, 4, 37, bits & 1, bits & 2, bits & 4);
        matmul(DT_F16, 1, 5, 3, 16, bits & 1, bits & 2, bits & 4);
        matmul(DT_I32, 2, 3, 2, 5, bits & 1, bits & 2, bits & 4);
    }
    matmul(DT_F32, 1, 300, 3, 20, false, false, true);                /* more than one panel of rows */
}

/* The typed dot products give bit for bit what multiply and combine give. */
static void test_dot_products_agree(void **state)
{
    const Domain *domains[] = {&domain_fp64, &domain_baseline, &domain_baseline_tf32, &domain_error};
    for (int i = 0; i < 16; i++) {
        DType t = (DType)(i % 4);
        Fixture f = fixture_new();
        Node *a = graph_unary(f.g, OP_SIN, INPUT(&f, t, -2, 2, 4, 51)), *b = INPUT(&f, t, -2, 2, 51, 6);
        graph_output(f.g, "y", graph_matmul(f.g, a, b, false, false));
        Domain plain = *domains[i / 4];
        plain.dot = DOT_VALUES;
        const Value *fast = evaluate(&f, domains[i / 4], 0), *slow = evaluate(&f, &plain, 0);
        for (int k = 0; k < 24; k++) {
            assert_true(fast[k].v == slow[k].v);
            assert_near(fast[k].e, slow[k].e, 1e-13);
        }
        fixture_free(&f);
    }
}

/* ---- gather --------------------------------------------------------------------------------------------------------------- */
static void test_gather(void **state)
{
    for (int axis = 0; axis < 3; axis++) {
        Fixture f = fixture_new();
        int64_t d[3] = {3, 4, 5};
        Node *table = input_in(&f, DT_BF16, 3, d, -2, 2), *index = INPUT(&f, DT_I64, 0, 1, 2, 2);
        const int64_t rows[4] = {0, -1, 2, -2};
        for (int i = 0; i < 4; i++)
            dtype_store_i64(DT_I64, (char *)f.in[1]->data + 8 * i, rows[i]);
        Node *computed = graph_unary(f.g, OP_NEG, table);
        graph_output(f.g, "y", add_node(&f, OP_GATHER, (Node *[]){table, index}, 2, (Attr[]){attr_int(ATTR_AXIS, axis)}, 1));
        graph_output(f.g, "z", add_node(&f, OP_GATHER, (Node *[]){computed, index}, 2, (Attr[]){attr_int(ATTR_AXIS, axis)}, 1));
        const Value *y = evaluate(&f, &domain_baseline, 0), *z = evaluate(&f, &domain_baseline, 1);
        int64_t outer = axis > 0 ? d[0] * (axis > 1 ? d[1] : 1) : 1, inner = 60 / outer / d[axis];
        for (int64_t i = 0; i < outer; i++)
            for (int64_t r = 0; r < 4; r++)
                for (int64_t k = 0; k < inner; k++) {
                    int64_t row = rows[r] < 0 ? rows[r] + d[axis] : rows[r];
                    double want = at(f.in[0], (i * d[axis] + row) * inner + k);
                    assert_true(y[(i * 4 + r) * inner + k].v == want && z[(i * 4 + r) * inner + k].v == -want);
                }
        check_everywhere(&f);
        fixture_free(&f);
    }
}

static void test_out_of_range(void **state)
{
    Fixture f = fixture_new();
    graph_output(f.g, "y", graph_unary(f.g, OP_NEG, INPUT(&f, DT_F32, 0, 1, 4)));
    Evaluator *e = eval_new(f.g, &domain_fp64, f.in, f.a);
    Value v;
    assert_false(eval_points(e, 0, DIMS(4), 1, &v));
    assert_false(eval_points(e, 0, DIMS(-1), 1, &v));
    assert_true(eval_points(e, 0, NULL, 0, &v));
    assert_true(eval_flops(f.g) == 4);
    fixture_free(&f);
}

static void test_empty(void **state)
{
    Fixture f = fixture_new();
    Node *x = INPUT(&f, DT_F32, 0, 1, 0, 3), *w = INPUT(&f, DT_F32, 0, 1, 3, 2), *none = INPUT(&f, DT_F32, 0, 1, 2, 0);
    graph_output(f.g, "y", graph_matmul(f.g, graph_unary(f.g, OP_EXP, x), w, false, false));
    graph_output(f.g, "sum", graph_reduce(f.g, OP_REDUCE_SUM, none, DIMS(1), 1, false));
    graph_output(f.g, "product", graph_reduce(f.g, OP_REDUCE_PROD, none, DIMS(1), 1, false));
    assert_non_null(evaluate(&f, &domain_baseline, 0));
    assert_true(evaluate(&f, &domain_baseline, 1)[1].v == 0 && evaluate(&f, &domain_baseline, 2)[1].v == 1);
    fixture_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_movement), cmocka_unit_test(test_iota_and_const), cmocka_unit_test(test_reductions),
        cmocka_unit_test(test_reduce_axes), cmocka_unit_test(test_nan_wins), cmocka_unit_test(test_accumulation),
        cmocka_unit_test(test_scans), cmocka_unit_test(test_matmul), cmocka_unit_test(test_dot_products_agree),
        cmocka_unit_test(test_gather), cmocka_unit_test(test_out_of_range), cmocka_unit_test(test_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
