/* Composites with several operands against formulas written apart from functions.graph, at sizes that include 1; and what the
 * baseline rounds: a composite once, at its output, whatever it is made of. test_functions.c has the unary ones' formulas. */
#include "fixture.h"
#include "ir/eval.h"
#include <math.h>

typedef struct { int64_t b, s, h; } Size;
typedef struct { Tensor *in[8]; const Value *z; Graph *g; Evaluator *e; } Run;

static double at(const Tensor *t, int64_t i) { return dtype_load(t->dtype, (char *)t->data + i * dtype_bytes(t->dtype)); }

/* x[b, s, h], y likewise, w[h], v[h] (positive), m[5, h], k[b, s, s], n[5] */
static Run run(Context *cx, const char *dtype, Size n, const char *call, const Domain *d)
{
    const char *text = arena_printf(cx->arena,
        "graph g {\n input %%x : %s[%lld, %lld, %lld]\n input %%y : %s[%lld, %lld, %lld]\n input %%w : %s[%lld]\n input %%v : %s[%lld]\n"
        " input %%m : %s[5, %lld]\n input %%k : %s[%lld, %lld, %lld]\n input %%n : %s[5]\n %%z = %s\n return %%z, %%x, %%y, %%w, %%v, %%m, %%k, %%n }",
        dtype, (long long)n.b, (long long)n.s, (long long)n.h, dtype, (long long)n.b, (long long)n.s, (long long)n.h, dtype, (long long)n.h,
        dtype, (long long)n.h, dtype, (long long)n.h, dtype, (long long)n.b, (long long)n.s, (long long)n.s, dtype, call);
    Run r = {.g = parse(cx, text)};
    for (uint32_t i = 0; i < r.g->inputs.n; i++) {
        const Node *node = r.g->inputs.data[i].node;
        int64_t dims[MAX_RANK];
        for (uint32_t k = 0; k < node_rank(node); k++)
            dims[k] = node->type.shape.d[k]->value;
        r.in[i] = tensor_new(cx->arena, node->type.dtype, (int)node_rank(node), dims);
        Dist dist = i == 3 ? (Dist){DIST_UNIFORM, 0.5, 2} : (Dist){DIST_NORMAL, 0, 1};
        philox_fill(node->type.dtype, r.in[i]->data, 0, tensor_count(r.in[i]), philox_key(3, r.g->inputs.data[i].name), dist);
    }
    r.e = eval_new(r.g, d, r.in, cx->arena);
    r.z = eval_all(r.e, 0);
    return r;
}

/* ---- formulas: element i of the result, h the last dim -------------------------------------------------------------- */
typedef double Formula(const Run *r, Size n, int64_t i);
#define X(i) at(r->in[0], i)
#define Y(i) at(r->in[1], i)
#define W(i) at(r->in[2], i)
#define V(i) at(r->in[3], i)
#define M(i) at(r->in[4], i)
#define K(i) at(r->in[5], i)
#define N(i) at(r->in[6], i)

static void moments(const Run *r, int64_t from, int64_t n, int64_t step, double *mean, double *var)
{
    double s = 0, q = 0;
    for (int64_t k = 0; k < n; k++)
        s += X(from + k * step) / (double)n;
    for (int64_t k = 0; k < n; k++)
        q += (X(from + k * step) - s) * (X(from + k * step) - s) / (double)n;
    *mean = s;
    *var = q;
}

static double layer_norm(const Run *r, Size n, int64_t i)
{
    double mean, var;
    moments(r, i / n.h * n.h, n.h, 1, &mean, &var);
    return (X(i) - mean) / sqrt(var + 1e-5) * W(i % n.h) + V(i % n.h);
}
static double rms_norm(const Run *r, Size n, int64_t i)
{
    double mean, var;
    moments(r, i / n.h * n.h, n.h, 1, &mean, &var);
    return X(i) / sqrt(var + mean * mean + 1e-6) * W(i % n.h);
}
/* of transpose(x): [b, h, s], channels h; groups = h */
static double instance_norm(const Run *r, Size n, int64_t i)
{
    int64_t batch = i / (n.h * n.s), c = i / n.s % n.h, s = i % n.s;
    double mean, var;
    moments(r, batch * n.s * n.h + c, n.s, n.h, &mean, &var);
    return (X((batch * n.s + s) * n.h + c) - mean) / sqrt(var + 1e-5) * W(c) + V(c);
}
static double batch_norm(const Run *r, Size n, int64_t i)
{
    int64_t batch = i / (n.h * n.s), c = i / n.s % n.h, s = i % n.s;
    return (X((batch * n.s + s) * n.h + c) - W(c)) / sqrt(V(c) + 1e-5) * V(c) + W(c);
}
static double linear(const Run *r, Size n, int64_t i)
{
    double sum = N(i % 5);
    for (int64_t k = 0; k < n.h; k++)
        sum += X(i / 5 * n.h + k) * M(i % 5 * n.h + k);
    return sum;
}
static double no_bias(const Run *r, Size n, int64_t i) { return linear(r, n, i) - N(i % 5); }

static double attention(const Run *r, Size n, int64_t i, double scale, bool masked)
{
    int64_t batch = i / (n.s * n.h), row = i / n.h % n.s, col = i % n.h;
    double sum = 0, weighted = 0;
    for (int64_t j = 0; j < n.s; j++) {
        double score = 0;
        for (int64_t k = 0; k < n.h; k++)
            score += X((batch * n.s + row) * n.h + k) * Y((batch * n.s + j) * n.h + k) * scale;
        double e = exp(score + (masked ? K((batch * n.s + row) * n.s + j) : 0));
        sum += e;
        weighted += e * X((batch * n.s + j) * n.h + col);
    }
    return weighted / sum;
}
static double sdpa(const Run *r, Size n, int64_t i) { return attention(r, n, i, 1 / sqrt((double)n.h), false); }
static double sdpa_masked(const Run *r, Size n, int64_t i) { return attention(r, n, i, 0.25, true); }
static double bmm(const Run *r, Size n, int64_t i)
{
    double sum = 0;
    for (int64_t k = 0; k < n.h; k++)
        sum += X(i / n.s * n.h + k) * Y((i / n.s / n.s * n.s + i % n.s) * n.h + k);
    return sum;
}
static double swiglu(const Run *r, Size n, int64_t i) { return X(i) / (1 + exp(-X(i))) * Y(i); }
static double lerp(const Run *r, Size n, int64_t i) { return 0.75 * X(i) + 0.25 * Y(i); }
static double clamp(const Run *r, Size n, int64_t i) { return X(i) < -0.5 ? -0.5 : X(i) > 0.75 ? 0.75 : X(i); }
static double masked(const Run *r, Size n, int64_t i) { return Y(i) < 0 ? 3 : X(i); }
static double larger(const Run *r, Size n, int64_t i) { return X(i) > W(i % n.h) ? X(i) : W(i % n.h); }
static double stacked(const Run *r, Size n, int64_t i) { return i < n.b * n.s * n.h ? X(i) : Y(i - n.b * n.s * n.h); }
static double selected(const Run *r, Size n, int64_t i) { return X(i / n.h * n.s * n.h + (n.s - 1) * n.h + i % n.h); }
static double triu(const Run *r, Size n, int64_t i) { return i % n.h >= i / n.h % n.s ? X(i) : 0; }
static double product(const Run *r, Size n, int64_t i)
{
    double p = 1;
    for (int64_t k = 0; k < n.s; k++)
        p *= X(i / n.h * n.s * n.h + k * n.h + i % n.h);
    return p;
}
static double total(const Run *r, Size n, int64_t i)
{
    double s = 0;
    for (int64_t k = 0; k < n.b * n.s * n.h; k++)
        s += X(k);
    return s;
}
static double mean_square(const Run *r, Size n, int64_t i)
{
    double mean, var;
    moments(r, i * n.h, n.h, 1, &mean, &var);
    return var + mean * mean;
}

static const struct { const char *call; Formula *f; bool once; } cases[] = {      /* once: one rounding in the baseline */
    {"layer_norm(%x, %w, %v)", layer_norm, true}, {"rms_norm(%x, %w)", rms_norm, true}, {"rms_norm_rounded(%x, %w)", rms_norm, false},
    {"batch_norm(transpose(%x), %w, %v, %v, %w)", batch_norm, true}, {"linear(%x, %m, %n)", linear, true}, {"linear(%x, %m)", no_bias, true},
    {"sdpa(%x, %y, %x)", sdpa, true}, {"sdpa(%x, %y, %x, %k, scale=0.25)", sdpa_masked, true}, {"bmm(%x, transpose(%y))", bmm, true},
    {"swiglu(%x, %y)", swiglu, true}, {"lerp(%x, %y, 0.25)", lerp, true}, {"clamp(%x, -0.5, 0.75)", clamp, true},
    {"masked_fill(%x, lt(%y, 0), 3)", masked, true}, {"max(%x, %w)", larger, true}, {"stack(%x, %y)", stacked, true},
    {"triu(%x)", triu, true}, {"prod(%x, axes=1)", product, true}, {"sum(%x)", total, true}, {"mean_square(%x)", mean_square, true},
};

static int64_t count_of(const Run *r)
{
    int64_t n = 1;
    const Shape *s = &r->g->outputs.data[0].node->type.shape;
    for (uint32_t i = 0; i < s->rank; i++)
        n *= s->d[i]->value;
    return n;
}

static void check(Context *cx, const char *dtype, Size n, const char *call, Formula *f)
{
    Run r = run(cx, dtype, n, call, &domain_fp64);
    for (int64_t i = 0; i < count_of(&r); i++) {
        double want = f(&r, n, i);
        if (!(fabs(r.z[i].v - want) <= 1e-9 * (1 + fabs(want))))
            fail_msg("%s[%lld]: %.17g, not %.17g", call, (long long)i, r.z[i].v, want);
    }
    graph_free(r.g);
}

static void test_formulas(void **state)
{
    const Size sizes[] = {{2, 3, 4}, {1, 1, 1}, {3, 5, 7}, {1, 2, 1}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            check(*state, "f32", sizes[s], cases[i].call, cases[i].f);
            check(*state, "bf16", sizes[s], cases[i].call, cases[i].f);
        }
        const char *groups = arena_printf(((Context *)*state)->arena, "group_norm(transpose(%%x), %%w, %%v, groups=%lld)", (long long)sizes[s].h);
        const char *last = arena_printf(((Context *)*state)->arena, "select(%%x, 1, %lld)", (long long)sizes[s].s - 1);
        check(*state, "f32", sizes[s], groups, instance_norm);
        check(*state, "f32", sizes[s], last, selected);
    }
}

/* In bf16 the baseline of a composite is within half an ulp and what fp32 leaves of fp64: rounded once. */
static void test_composites_round_once(void **state)
{
    static const char *const unary[] = {
        "silu(%x)", "gelu(%x)", "gelu_tanh(%x)", "mish(%x)", "softplus(%x)", "sigmoid(%x)", "softmax(%x)", "log_softmax(%x)", "hardswish(%x)",
        "logsumexp(%x)", "rope(%x, %y, %y)", "normalize(%x)", "var(%x, axes=-1)", "glu(concat(%x, %y, axis=-1))", "elu(%x)", "tanhshrink(%x)",
    };
    const Size n = {2, 3, 8};
    size_t n_unary = sizeof unary / sizeof *unary, n_cases = sizeof cases / sizeof *cases;
    for (size_t i = 0; i < n_unary + n_cases; i++) {
        const char *call = i < n_unary ? unary[i] : cases[i - n_unary].call;
        if (i >= n_unary && !cases[i - n_unary].once)
            continue;
        Run exact = run(*state, "bf16", n, call, &domain_error), rounded = run(*state, "bf16", n, call, &domain_baseline);
        for (int64_t k = 0; k < count_of(&exact); k++) {
            double allowed = 0.5 * dtype_ulp(DT_BF16, exact.z[k].v) + 0x1p-21 * exact.z[k].e;
            if (!(fabs(rounded.z[k].v - exact.z[k].v) <= allowed))
                fail_msg("%s: %.9g for %.9g is rounded more than once", call, rounded.z[k].v, exact.z[k].v);
            assert_true(rounded.z[k].v == dtype_round(DT_BF16, rounded.z[k].v));
        }
        graph_free(exact.g);
        graph_free(rounded.g);
    }
}

/* Qwen's norm rounds before its weight and after it. */
static void test_rounded_norm_rounds_twice(void **state)
{
    const Size n = {2, 3, 64};
    Run once = run(*state, "bf16", n, "rms_norm(%x)", &domain_baseline), twice = run(*state, "bf16", n, "rms_norm_rounded(%x, %w)", &domain_baseline);
    Run fused = run(*state, "bf16", n, "rms_norm(%x, %w)", &domain_baseline);
    int64_t differ = 0;
    for (int64_t i = 0; i < count_of(&once); i++) {
        assert_true(twice.z[i].v == dtype_round(DT_BF16, once.z[i].v * at(twice.in[2], i % 64)));
        differ += twice.z[i].v != fused.z[i].v;
    }
    assert_true(differ > 20);
    graph_free(once.g);
    graph_free(twice.g);
    graph_free(fused.g);
}

/* Rows that are masked whole, in part, or not; infinities that cancel. */
static void test_special_values(void **state)
{
    Context *cx = *state;
    Graph *g = parse(cx, "graph g { input %x : f32[3, 2]\n %a = softmax(%x)\n %b = logsumexp(%x)\n %c = silu(%x)\n return %a, %b, %c }");
    Tensor *x = tensor_new(cx->arena, DT_F32, 2, (int64_t[]){3, 2});
    const double in[6] = {-INFINITY, 0, -INFINITY, -INFINITY, INFINITY, 1};
    for (int i = 0; i < 6; i++)
        dtype_store(DT_F32, (char *)x->data + 4 * i, in[i]);
    Evaluator *e = eval_new(g, &domain_error, &x, cx->arena);
    const Value *a = eval_all(e, 0), *b = eval_all(e, 1), *c = eval_all(e, 2);
    assert_true(a[0].v == 0 && a[1].v == 1 && isnan(a[2].v) && isnan(a[3].v) && isnan(a[4].v));
    assert_true(b[0].v == 0 && b[1].v == -INFINITY && b[2].v == INFINITY);
    assert_true(isnan(c[0].v) && c[1].v == 0 && c[4].v == INFINITY);
    for (int i = 0; i < 6; i++)
        assert_true(isfinite(a[i].e) && isfinite(c[i].e));
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_formulas), TEST(test_composites_round_once), TEST(test_rounded_norm_rounds_twice), TEST(test_special_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
