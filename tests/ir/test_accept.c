/* The acceptance rule: what it must reject (a dropped term, silent tf32, a line for a sigmoid, wrong NaN …) and what it must let
 * through (reordered sums, fused bf16 chains). Candidates are computed here, in plain C floats. */
#include "test_eval_fixture.h"

typedef struct { Fixture f; const Value *y64, *baseline; Tensor *y; int64_t row; } Case;

static Case case_of(Fixture f)
{
    Case c = {.f = f};
    Node *n = f.g->outputs.data[0].node;
    int64_t d[MAX_RANK];
    for (uint32_t i = 0; i < node_rank(n); i++)
        d[i] = n->type.shape.d[i]->value;
    c.row = node_rank(n) ? d[node_rank(n) - 1] : 1;
    c.y = tensor_new(c.f.a, n->type.dtype, (int)node_rank(n), d);
    c.y64 = evaluate(&c.f, &domain_error, 0);
    c.baseline = evaluate(&c.f, &domain_baseline, 0);
    return c;
}

static Verdict judge(const Case *c, NumClass class)
{
    return accept_output(class, 4, c->y->dtype, c->y->data, NULL, (size_t)tensor_count(c->y), c->row, c->y64, c->baseline, c->y64);
}

/* y[m, n] = x[m, k] w[n, k]^T with rows of x that hold 1, 2, 4 nonzeros besides full ones */
static Case product(DType t, int64_t m, int64_t n, int64_t k)
{
    Fixture f = fixture_new();
    Node *x = INPUT(&f, t, -1, 1, m, k), *w = INPUT(&f, t, -1, 1, n, k);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < k; j++)
            if (i % 4 && j >= (1 << (i % 4 - 1)))
                put(f.in[0], i * k + j, 0);
    graph_output(f.g, "y", graph_matmul(f.g, x, w, false, true));
    return case_of(f);
}

typedef float Term(float a, float b);
static float exact_term(float a, float b) { return a * b; }
static float without_low_bits(float a, uint32_t add)       /* the 13 that tf32 has not */
{
    uint32_t u;
    memcpy(&u, &a, 4);
    u = (u + add) & ~0x1fffu;
    memcpy(&a, &u, 4);
    return a;
}
static float tf32_term(float a, float b) { return without_low_bits(a, 0x1000) * without_low_bits(b, 0x1000); }
static float cut_term(float a, float b) { return without_low_bits(a, 0) * without_low_bits(b, 0); }
static float two_bf16_term(float a, float b)               /* a two-term bf16 split: 16 significand bits */
{
    float ah = bf16_to_f32(f32_to_bf16(a)), bh = bf16_to_f32(f32_to_bf16(b));
    float al = bf16_to_f32(f32_to_bf16(a - ah)), bl = bf16_to_f32(f32_to_bf16(b - bh));
    return ah * bh + ah * bl + al * bh;
}

/* A candidate: fp32 sums in chunks of `chunk` added together, the last `dropped` terms left out. */
static void multiply(Case *c, Term *term, int64_t chunk, int64_t dropped)
{
    int64_t k = c->f.in[0]->dims[1], m = c->y->dims[0], n = c->y->dims[1];
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            float sum = 0;
            for (int64_t from = 0; from < k; from += chunk) {
                float part = 0;
                for (int64_t q = from; q < from + chunk && q < k - dropped; q++)
                    part += term((float)at(c->f.in[0], i * k + q), (float)at(c->f.in[1], j * k + q));
                sum += part;
            }
            put(c->y, i * n + j, (double)sum);
        }
}

static void test_reordered_products_pass(void **state)
{
    for (int64_t k = 1; k <= 1024; k *= 4)
        for (int64_t chunk = 1; chunk <= 64; chunk *= 8) {
            Case c = product(DT_F32, 12, 9, k);
            multiply(&c, exact_term, chunk, 0);
            assert_true(judge(&c, NUM_FP32).pass);
            if (chunk > 1 || k < 256)      /* a chain of 1024 additions is what `ieee` exists to allow, but the baseline has 16 chains */
                assert_true(judge(&c, NUM_IEEE).pass);
            fixture_free(&c.f);
            c = product(DT_BF16, 12, 9, k);
            multiply(&c, exact_term, chunk, 0);
            Verdict v = judge(&c, NUM_BF16);
            assert_true(v.pass && v.bad == 0 && v.checked == 108 && v.worst_ratio <= 1);
            fixture_free(&c.f);
        }
}

static void test_dropped_term_fails(void **state)
{
    const int64_t sizes[] = {4, 64, 1024};
    for (int i = 0; i < 3; i++) {
        Case c = product(DT_BF16, 12, 64, sizes[i]);
        multiply(&c, exact_term, 8, 1);
        Verdict v = judge(&c, NUM_BF16);
        assert_true(!v.pass && v.bad > 0 && v.worst_ratio > 1);
        fixture_free(&c.f);
    }
}

static void test_silent_tf32_fails(void **state)
{
    for (int64_t k = 8; k <= 512; k *= 8) {
        Case c = product(DT_F32, 12, 16, k);
        multiply(&c, tf32_term, 64, 0);
        Verdict fp32 = judge(&c, NUM_FP32), tf32;
        c.baseline = evaluate(&c.f, &domain_baseline_tf32, 0);
        tf32 = judge(&c, NUM_TF32);
        assert_true(!fp32.pass && tf32.pass);
        assert_true(fp32.worst_at / 16 % 4 != 0);          /* the rows with few nonzeros give it away most */
        c.baseline = evaluate(&c.f, &domain_baseline, 0);
        Term *terms[] = {cut_term, two_bf16_term};
        for (int i = 0; i < 2; i++) {
            multiply(&c, terms[i], 64, 0);
            assert_false(judge(&c, NUM_FP32).pass);
        }
        fixture_free(&c.f);
    }
}

/* y = x * sigmoid(x), a composite: f32 inside, one rounding */
static Case silu(DType t, int64_t n)
{
    Fixture f = fixture_new();
    Node *x = graph_cast(f.g, INPUT(&f, t, -4, 4, 4, n), DT_F32);
    Node *one = graph_const(f.g, DT_F32, 1);
    Node *e = graph_binary(f.g, OP_ADD, graph_unary(f.g, OP_EXP, graph_unary(f.g, OP_NEG, x)), one);
    graph_output(f.g, "y", graph_cast(f.g, graph_binary(f.g, OP_DIV, x, e), t));
    return case_of(f);
}

static void test_sigmoid_line_fails(void **state)
{
    for (int t = DT_F32; t <= DT_BF16; t++) {
        NumClass class = t == DT_F32 ? NUM_FP32 : t == DT_F16 ? NUM_F16 : NUM_BF16;
        Case c = silu((DType)t, 100);
        for (int64_t i = 0; i < 400; i++) {
            float x = (float)at(c.f.in[0], i);
            put(c.y, i, (double)(x / (1 + expf(-x))));
        }
        assert_true(judge(&c, class).pass);
        for (int64_t i = 0; i < 400; i++) {
            double x = at(c.f.in[0], i);
            put(c.y, i, x * fmin(fmax(0.5 + x / 4, 0), 1));
        }
        Verdict v = judge(&c, class);
        assert_true(!v.pass && v.bad > 100);
        fixture_free(&c.f);
    }
}

/* A chain of bf16 ops fused in fp32 is nearer to the truth than op by op, and never the same. */
static void test_fused_chain_passes(void **state)
{
    Fixture f = fixture_new();
    Node *x = INPUT(&f, DT_BF16, -2, 2, 8, 64), *y = INPUT(&f, DT_BF16, -2, 2, 8, 64);
    Node *sum = graph_binary(f.g, OP_ADD, x, y);
    graph_output(f.g, "y", graph_binary(f.g, OP_MUL, graph_unary(f.g, OP_TANH, sum), sum));
    Case c = case_of(f);
    for (int64_t i = 0; i < 512; i++) {
        float s = (float)at(f.in[0], i) + (float)at(f.in[1], i);
        put(c.y, i, (double)(tanhf(s) * s));
    }
    Verdict v = judge(&c, NUM_BF16);
    assert_true(v.pass && v.rms < v.baseline_rms);
    fixture_free(&c.f);
}

static void exactly(Case *c)
{
    for (int64_t i = 0; i < tensor_count(c->y); i++)
        put(c->y, i, c->y64[i].v);
}

/* The squares of f64's smallest ulps are 0, so the allowance of the whole output may be 0: an exact answer still passes. */
static void test_zeros_pass(void **state)
{
    Fixture f = fixture_new();
    Node *x = INPUT(&f, DT_F64, -1, 1, 4, 5);
    graph_output(f.g, "y", graph_unary(f.g, OP_SQRT, graph_binary(f.g, OP_SUB, x, x)));
    Case c = case_of(f);
    exactly(&c);
    Verdict v = judge(&c, NUM_IEEE);
    assert_true(v.pass && v.rms_ratio == 0);
    put(c.y, 7, 1e-300);
    v = judge(&c, NUM_IEEE);
    assert_true(!v.pass && v.bad == 1 && v.worst_at == 7);
    fixture_free(&c.f);
}

static void test_one_wrong_element_fails(void **state)
{
    Case c = silu(DT_BF16, 1000);
    exactly(&c);
    assert_true(judge(&c, NUM_BF16).pass);
    put(c.y, 1234, at(c.y, 1234) + 0.25);
    Verdict v = judge(&c, NUM_BF16);
    assert_true(!v.pass && v.bad == 1 && v.worst_at == 1234 && v.worst_y == at(c.y, 1234));
    exactly(&c);
    memcpy((char *)c.y->data + 2000, c.f.in[0]->data, 2000);          /* part of the output is the input */
    assert_false(judge(&c, NUM_BF16).pass);
    memset(c.y->data, 0, tensor_bytes(c.y));
    assert_false(judge(&c, NUM_BF16).pass);
    fixture_free(&c.f);
}

/* Within the elementwise allowance everywhere, but all to one side and far more than the baseline: the RMS rule. */
static void test_systematic_error_fails(void **state)
{
    Case c = product(DT_F32, 4, 400, 2000);
    for (int64_t i = 0; i < 4; i++)                      /* one row of the baseline is off; everything uses that room */
        for (int64_t j = 0; j < 400; j++)
            put(c.y, i * 400 + j, c.y64[i * 400 + j].v + (i ? 0 : 1.9 * 0x1p-22 * c.y64[j].e));
    Verdict v = judge(&c, NUM_FP32);
    assert_true(v.bad == 0 && v.rms_ratio < 1);
    for (int64_t j = 0; j < 1600; j++)
        put(c.y, j, c.y64[j].v + 2.2 * 0x1p-22 * c.y64[j].e);
    v = judge(&c, NUM_FP32);
    assert_true(!v.pass && v.rms_ratio > 1 && v.bias > 0);
    fixture_free(&c.f);
}

static void test_nan_and_inf(void **state)
{
    Fixture f = fixture_new();
    Node *x = INPUT(&f, DT_F16, 1, 2, 1, 5);
    const double in[5] = {0, -0.0, NAN, 1, 60000};
    const double want[5] = {INFINITY, -INFINITY, NAN, 1, 1 / 60000.0};
    for (int i = 0; i < 5; i++)
        put(f.in[0], i, in[i]);
    graph_output(f.g, "y", graph_unary(f.g, OP_RECIPROCAL, x));
    Case c = case_of(f);
    for (int i = 0; i < 5; i++)
        put(c.y, i, want[i]);
    assert_true(judge(&c, NUM_F16).pass);
    const struct { int at; double y; } wrong[] = {{0, -INFINITY}, {0, 65504}, {0, NAN}, {1, INFINITY}, {2, 0}, {2, INFINITY}, {3, NAN}, {3, INFINITY}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        put(c.y, wrong[i].at, wrong[i].y);
        Verdict v = judge(&c, NUM_F16);
        assert_true(!v.pass && v.nonfinite == 1 && v.worst_at == wrong[i].at);
        put(c.y, wrong[i].at, want[wrong[i].at]);
    }
    fixture_free(&c.f);
}

/* f16 overflow: the naive lowering gives Inf, fp64 a finite number; both are legitimate results, NaN is not. */
static void test_overflow(void **state)
{
    Fixture f = fixture_new();
    Node *x = INPUT(&f, DT_F16, 1, 2, 1, 4);
    for (int i = 0; i < 4; i++)
        put(f.in[0], i, 60000);
    Node *two = graph_const(f.g, DT_F16, 2);
    graph_output(f.g, "y", graph_binary(f.g, OP_DIV, graph_binary(f.g, OP_MUL, x, two), two));
    Case c = case_of(f);
    for (int i = 0; i < 4; i++)
        put(c.y, i, i % 2 ? INFINITY : 60000);
    assert_true(judge(&c, NUM_F16).pass);
    put(c.y, 1, NAN);
    assert_false(judge(&c, NUM_F16).pass);
    put(c.y, 1, -INFINITY);
    assert_false(judge(&c, NUM_F16).pass);
    fixture_free(&c.f);
}

static void test_integers_are_exact(void **state)
{
    Fixture f = fixture_new();
    graph_output(f.g, "y", graph_reduce(f.g, OP_ARGMAX, INPUT(&f, DT_F32, 0, 1, 6, 9), DIMS(1), 1, false));
    Case c = case_of(f);
    for (int i = 0; i < 6; i++)
        dtype_store_i64(DT_I64, (char *)c.y->data + 8 * i, c.y64[i].i);
    assert_true(judge(&c, NUM_FP32).pass);
    put(c.y, 3, (double)((c.y64[3].i + 1) % 9));
    Verdict v = judge(&c, NUM_FP32);
    assert_true(!v.pass && v.bad == 1 && v.worst_at == 3);
    fixture_free(&c.f);
}

/* Judging a sample gives what judging those elements among all would. */
static void test_sampled(void **state)
{
    Case c = silu(DT_BF16, 100);
    exactly(&c);
    put(c.y, 250, 99);
    int64_t flat[100];
    Value y64[100], base[100];
    uint16_t y[100];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 100; i++) {
            flat[i] = (round ? 200 : 100) + (i * 37) % 100;
            y64[i] = c.y64[flat[i]];
            base[i] = c.baseline[flat[i]];
            y[i] = ((uint16_t *)c.y->data)[flat[i]];
        }
        Verdict v = accept_output(NUM_BF16, 0, DT_BF16, y, flat, 100, 100, y64, base, y64);
        assert_int_equal(v.pass, round == 0);
        assert_int_equal(v.bad, round);
        if (round)
            assert_int_equal(v.worst_at, 250);
    }
    assert_true(accept_output(NUM_BF16, 0, DT_BF16, y, flat, 0, 100, y64, base, y64).pass);
    fixture_free(&c.f);
}

/* ---- verify_outputs: all elements where that is cheap, rows where it is not ------------------------------------------------ */
static void test_verify(void **state)
{
    Case c = product(DT_BF16, 12, 9, 40);
    multiply(&c, exact_term, 8, 0);
    VerifyReport r;
    assert_true(verify_outputs(NULL, c.f.g, c.f.in, &c.y, 1, c.f.a, &r));
    assert_true(r.all && r.pass && r.n == 1 && r.samples == 108 && r.out[0].pass);
    assert_non_null(strstr(verdict_text(c.f.a, &r.out[0]), "pass: 108 checked"));
    put(c.y, 107, 5);
    assert_true(verify_outputs(NULL, c.f.g, c.f.in, &c.y, 1, c.f.a, &r));
    assert_true(!r.pass && r.out[0].bad == 1);
    assert_non_null(strstr(verdict_text(c.f.a, &r.out[0]), "worst at 107: 5 for"));
    Tensor *wrong = tensor_new(c.f.a, DT_BF16, 2, DIMS(9, 12));
    assert_false(verify_outputs(NULL, c.f.g, c.f.in, &wrong, 1, c.f.a, &r));
    assert_true(diags_failed(c.f.cx->diags));
    fixture_free(&c.f);
}

static void test_verify_samples_large(void **state)
{
    Fixture f = fixture_new();
    const int64_t m = 20000, n = 256, k = 256;
    Node *x = INPUT(&f, DT_BF16, 0, 0, m, k), *w = INPUT(&f, DT_BF16, -1, 1, n, k);
    for (int64_t i = 0; i < m; i++)
        put(f.in[0], i * k + i % k, 2);
    graph_output(f.g, "y", graph_matmul(f.g, x, w, false, true));
    Tensor *y = tensor_new(f.a, DT_BF16, 2, DIMS(m, n));
    for (int64_t i = 0; i < m * n; i++)
        put(y, i, 2 * at(f.in[1], i % n * k + i / n % k));
    VerifyReport r;
    assert_true(verify_outputs(NULL, f.g, f.in, &y, 7, f.a, &r));
    assert_true(r.pass && !r.all && r.samples >= 4 * (size_t)n && r.samples < 300 * (size_t)n);
    const int64_t corners[2] = {0, m * n - 1};
    for (int i = 0; i < 2; i++) {
        double right = at(y, corners[i]);
        put(y, corners[i], 9);
        assert_true(verify_outputs(NULL, f.g, f.in, &y, (uint64_t)i, f.a, &r));
        assert_true(!r.pass && r.out[0].worst_at == corners[i]);
        put(y, corners[i], right);
    }
    fixture_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reordered_products_pass), cmocka_unit_test(test_dropped_term_fails),
        cmocka_unit_test(test_silent_tf32_fails), cmocka_unit_test(test_sigmoid_line_fails),
        cmocka_unit_test(test_fused_chain_passes), cmocka_unit_test(test_one_wrong_element_fails),
        cmocka_unit_test(test_systematic_error_fails), cmocka_unit_test(test_nan_and_inf), cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_integers_are_exact), cmocka_unit_test(test_sampled), cmocka_unit_test(test_verify),
        cmocka_unit_test(test_zeros_pass),
        cmocka_unit_test(test_verify_samples_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
