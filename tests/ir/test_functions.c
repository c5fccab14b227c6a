/* tests/ir/test_functions.c — the composites: every one builds for f32 and bf16, symbolic and constant shapes, gives the type
 * its mathematics has, carries its name as origin, and computes what its formula says. */
#include "fixture.h"
#include "ir/eval.h"
#include <math.h>

/* ---- types ------------------------------------------------------------------------------------------------------------------ */
typedef struct { const char *call, *type; } Case;                /* type without dtype; NULL: as the first operand */

/* x[B, S, 8], y[B, S, 8], w[8], b[8], m[16, 8], c[S, 16]: channels */
static const Case cases[] = {
    {"sum(%x)", "[]"}, {"sum(%x, axis=-1)", "[B, S]"}, {"prod(%x, axes=[0, 2], keepdims=1)", "[1, S, 1]"}, {"max(%x, -1)", "[B, S]"},
    {"min(%x, axes=[1])", "[B, 8]"}, {"max(%x, %y)", NULL}, {"min(%x, %w)", NULL}, {"amax(%x)", "[]"}, {"amin(%x, 0)", "[S, 8]"},
    {"mean(%x)", "[]"}, {"mean(%x, axes=[-1], keepdims=1)", "[B, S, 1]"}, {"mean(%x, axes=1)", "[B, 8]"},
    {"mean_square(%x)", "[B, S]"}, {"var(%x, axes=[2])", "[B, S]"}, {"std(%x, axes=[1, 2], correction=0)", "[B]"}, {"var(%x, axes=1)", "[B, 8]"},
    {"l2_norm(%x)", "[B, S]"}, {"logsumexp(%x)", "[B, S]"}, {"logsumexp(%x, axes=[0], keepdims=1)", "[1, S, 8]"},
    {"softmax(%x)", NULL}, {"softmax(%x, axis=1)", NULL}, {"log_softmax(%x, -1)", NULL},
    {"layer_norm(%x)", NULL}, {"layer_norm(%x, n=2)", NULL}, {"layer_norm(%x, %w, %b, eps=1e-6)", NULL},
    {"rms_norm(%x)", NULL}, {"rms_norm(%x, %w)", NULL}, {"rms_norm_rounded(%x, %w, eps=1e-5)", NULL},
    {"group_norm(transpose(%x), groups=2)", "[B, 8, S]"}, {"group_norm(transpose(%x), %w, %b, groups=4)", "[B, 8, S]"},
    {"batch_norm(transpose(%x), %w, exp(%b))", "[B, 8, S]"}, {"batch_norm(transpose(%x), %w, exp(%b), %w, %b)", "[B, 8, S]"},
    {"normalize(%x)", NULL}, {"linear(%x, %m)", "[B, S, 16]"}, {"linear(%x, %m, reshape(%c, shape=[16]))", "[B, S, 16]"},
    {"bmm(%x, transpose(%y))", "[B, S, S]"},
    {"sdpa(%x, %y, %x)", NULL}, {"sdpa(%x, %y, %x, causal=1, scale=0.5)", NULL}, {"sdpa(%x, %y, %x, bmm(%x, transpose(%y)))", NULL},
    {"sdpa(%x, %y, %x, gt(bmm(%x, transpose(%y)), 0))", NULL},
    {"relu(%x)", NULL}, {"relu6(%x)", NULL}, {"leaky_relu(%x, 0.2)", NULL}, {"elu(%x)", NULL}, {"selu(%x)", NULL}, {"celu(%x, alpha=2.0)", NULL},
    {"sigmoid(%x)", NULL}, {"silu(%x)", NULL}, {"swish(%x)", NULL}, {"gelu(%x)", NULL}, {"gelu_tanh(%x)", NULL}, {"mish(%x)", NULL},
    {"softplus(%x, beta=2.0)", NULL}, {"softsign(%x)", NULL}, {"log_sigmoid(%x)", NULL}, {"hardtanh(%x)", NULL}, {"hardsigmoid(%x)", NULL},
    {"hardswish(%x)", NULL}, {"hardshrink(%x)", NULL}, {"softshrink(%x)", NULL}, {"tanhshrink(%x)", NULL}, {"threshold(%x, 0, 1)", NULL},
    {"clamp(%x, -1, 1)", NULL}, {"clamp_min(%x, 0)", NULL}, {"clamp_max(%x, 0)", NULL}, {"square(%x)", NULL}, {"glu(%x)", "[B, S, 4]"},
    {"swiglu(%x, %y)", NULL}, {"lerp(%x, %y, 0.25)", NULL}, {"masked_fill(%x, lt(%y, 0), -inf)", NULL},
    {"rotate_half(%x)", NULL}, {"rope(%x, %y, %y)", NULL}, {"rope(unsqueeze(%x, 1), unsqueeze(%y, 1), unsqueeze(%y, 1))", "[B, 1, S, 8]"},
    {"transpose(%x)", "[B, 8, S]"}, {"transpose(%x, 0, 1)", "[S, B, 8]"}, {"unsqueeze(%x, -1)", "[B, S, 8, 1]"}, {"unsqueeze(%x, 0)", "[1, B, S, 8]"},
    {"squeeze(unsqueeze(%x, 2), 2)", NULL}, {"flatten(%x)", "[8*B*S]"}, {"flatten(%x, 1)", "[B, 8*S]"}, {"flatten(%x, start=0, end=1)", "[B*S, 8]"},
    {"view(%x, [B*S, 8])", "[B*S, 8]"}, {"expand_as(%w, %x)", NULL}, {"select(%x, 2, 7)", "[B, S]"}, {"stack(%x)", "[1, B, S, 8]"},
    {"stack(%x, %y)", "[2, B, S, 8]"}, {"stack(%x, %y, %x, axis=1)", "[B, 3, S, 8]"}, {"stack(%x, %y, %x, %y, axis=-1)", "[B, S, 8, 4]"},
    {"repeat_interleave(%x, 3, axis=0)", "[3*B, S, 8]"}, {"repeat_interleave(%x, 2, axis=-1)", "[B, S, 16]"}, {"tril(%x)", NULL}, {"triu(%x)", NULL},
};

static Graph *build(Context *cx, const char *dtype, bool symbolic, const char *call)
{
    const char *text = arena_printf(cx->arena,
        "graph g {\n%s input %%x : %s[%s, 8]\n input %%y : %s[%s, 8]\n input %%w : %s[8]\n input %%b : %s[8]\n"
        " input %%m : %s[16, 8]\n input %%c : %s[16, 1]\n %%z = %s\n return %%z, %%x, %%y, %%w, %%b, %%m, %%c }",
        symbolic ? " dim B in [1, 9]\n dim S in [1, 9]\n" : "", dtype, symbolic ? "B, S" : "2, 3", dtype, symbolic ? "B, S" : "2, 3",
        dtype, dtype, dtype, dtype, call);
    return try_parse(cx, text);
}

static void check_type(Context *cx, const Case *c, const char *dtype)
{
    Graph *g = build(cx, dtype, true, c->call);
    const char *want = arena_printf(cx->arena, "%s%s", dtype, c->type ? c->type : "[B, S, 8]");

    if (!g)
        fail_msg("%s: %s", c->call, messages(cx));
    if (strcmp(type_of(cx, output(g, "z")), want) != 0)
        fail_msg("%s is %s, not %s", c->call, type_of(cx, output(g, "z")), want);
    assert_true(graph_verify(g, cx->diags));
    const char *text = graph_text(cx->arena, g);
    Graph *again = parse(cx, text);
    assert_string_equal(graph_text(cx->arena, again), text);
    graph_free(again);
    graph_free(g);
}

static void test_types(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_type(*state, &cases[i], "f32");
        check_type(*state, &cases[i], "bf16");
    }
}

static void test_every_composite_has_a_case(void **state)
{
    Context *cx = *state;
    Functions *f = functions_builtin(cx);
    assert_ptr_equal(functions_builtin(cx), f);
    static const char *const elsewhere[] = {"any", "all", "embedding", "split2", "split3", "addmm"};

    for (uint32_t i = 0; i < functions_count(f); i++) {
        const TextFunc *fn = function_at(f, i);
        const char *opening = arena_printf(cx->arena, "%s(", fn->name);
        bool found = fn->name[0] == '_';
        for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
            found |= strncmp(cases[k].call, opening, strlen(opening)) == 0;
        for (size_t k = 0; k < sizeof elsewhere / sizeof *elsewhere; k++)
            found |= strcmp(elsewhere[k], fn->name) == 0;
        if (!found)
            fail_msg("no case for %s", fn->name);
        assert_ptr_equal(function_find(f, fn->name, fn->n_params), fn);        /* no two of the same arity */
    }
}

static void test_other_types(void **state)
{
    Context *cx = *state;
    Graph *g = parse(cx, "graph g { input %i : i64[2, 3] ~ randint(0, 5)\n input %f : i32[4] ~ randint(0, 5)\n param %w : bf16[5, 8]\n"
                         " input %p : bool[2, 3]\n"
                         " %a = embedding(%i, %w)\n %b = sum(%f)\n %c = any(%p)\n %d = all(%f, axis=0)\n %e, %h = split2(%w)\n"
                         " %j, %k, %l = split3(%w, axis=0)\n %m = addmm(select(%w, 1, 0), %w, transpose(%w, 0, 1))\n return %a, %b, %c, %d, %h, %l }");
    static const char *const expected[] = {"a bf16[2, 3, 8]", "b i64[]", "c bool[]", "d bool[]", "h bf16[5, 4]", "l bf16[3, 8]"};

    (void)g;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        char name[2] = {expected[i][0], 0};
        assert_string_equal(type_of(cx, output(g, name)), expected[i] + 2);
    }
    graph_free(g);
}

static void test_origin_is_the_outermost(void **state)
{
    Context *cx = *state;
    Graph *g = build(cx, "bf16", true, "layer_norm(silu(%x), %w, %b)");
    uint32_t silu = 0, norm = 0;

    for (uint32_t i = 0; i < g->nodes.n; i++) {
        Str origin = g->nodes.data[i]->origin;
        silu += origin && strcmp(origin, "silu") == 0;
        norm += origin && strcmp(origin, "layer_norm") == 0;
        assert_true(!origin || origin[0] != '_');
    }
    assert_true(silu >= 5 && norm >= 10);
    assert_string_equal(output(g, "z")->name, "z");
    graph_free(g);
}

/* In f32 nothing is cast, whatever the composite says. */
static void test_f32_is_not_cast(void **state)
{
    Context *cx = *state;
    Graph *g = build(cx, "f32", true, "gelu(rms_norm_rounded(%x, %w))");

    for (uint32_t i = 0; i < g->nodes.n; i++)
        assert_true(g->nodes.data[i]->op != OP_CAST);
    graph_free(g);
}

/* ---- values ------------------------------------------------------------------------------------------------------------------- */
enum { COUNT = 48 };
static double data_x[COUNT];

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double f_relu(double x) { return x > 0 ? x : 0; }
static double f_relu6(double x) { return fmin(fmax(x, 0), 6); }
static double f_leaky(double x) { return x > 0 ? x : 0.01 * x; }
static double f_elu(double x) { return x > 0 ? x : expm1(x); }
static double f_selu(double x) { return 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * expm1(x)); }
static double f_celu(double x) { return fmax(x, 0) + fmin(0, 2 * expm1(x / 2)); }
static double f_silu(double x) { return x * sigmoid(x); }
static double f_gelu(double x) { return 0.5 * x * (1 + erf(x / sqrt(2))); }
static double f_gelu_tanh(double x) { return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }
static double f_mish(double x) { return x * tanh(log1p(exp(x))); }
static double f_softplus(double x) { return log1p(exp(x)); }
static double f_softplus2(double x) { return log1p(exp(2 * x)) / 2; }
static double f_softsign(double x) { return x / (1 + fabs(x)); }
static double f_log_sigmoid(double x) { return log(sigmoid(x)); }
static double f_hardtanh(double x) { return fmin(fmax(x, -1), 1); }
static double f_hardsigmoid(double x) { return fmin(fmax(x + 3, 0), 6) / 6; }
static double f_hardswish(double x) { return x * f_hardsigmoid(x); }
static double f_hardshrink(double x) { return fabs(x) <= 0.5 ? 0 : x; }
static double f_softshrink(double x) { return x > 0.5 ? x - 0.5 : x < -0.5 ? x + 0.5 : 0; }
static double f_tanhshrink(double x) { return x - tanh(x); }
static double f_threshold(double x) { return x > 0.25 ? x : 7; }
static double f_square(double x) { return x * x; }

static const struct { const char *call; double (*f)(double); } formulas[] = {
    {"relu(%x)", f_relu}, {"relu6(%x)", f_relu6}, {"leaky_relu(%x)", f_leaky}, {"elu(%x)", f_elu}, {"selu(%x)", f_selu},
    {"celu(%x, 2.0)", f_celu}, {"sigmoid(%x)", sigmoid}, {"silu(%x)", f_silu}, {"swish(%x)", f_silu}, {"gelu(%x)", f_gelu},
    {"gelu_tanh(%x)", f_gelu_tanh}, {"mish(%x)", f_mish}, {"softplus(%x)", f_softplus}, {"softplus(%x, beta=2.0)", f_softplus2},
    {"softsign(%x)", f_softsign}, {"log_sigmoid(%x)", f_log_sigmoid}, {"hardtanh(%x)", f_hardtanh}, {"hardsigmoid(%x)", f_hardsigmoid},
    {"hardswish(%x)", f_hardswish}, {"hardshrink(%x)", f_hardshrink}, {"softshrink(%x)", f_softshrink}, {"tanhshrink(%x)", f_tanhshrink},
    {"threshold(%x, 0.25, 7)", f_threshold}, {"square(%x)", f_square},
};

static const Value *evaluate(Context *cx, Graph *g)
{
    Tensor **in = arena_new_array(cx->arena, Tensor *, g->inputs.n);

    for (uint32_t i = 0; i < g->inputs.n; i++) {
        const Node *n = g->inputs.data[i].node;
        int64_t dims[MAX_RANK];
        for (uint32_t k = 0; k < node_rank(n); k++)
            dims[k] = n->type.shape.d[k]->value;
        in[i] = tensor_new(cx->arena, n->type.dtype, (int)node_rank(n), dims);
        philox_fill(n->type.dtype, in[i]->data, 0, tensor_count(in[i]), philox_key(7, g->inputs.data[i].name), (Dist){DIST_NORMAL, 0, 2});
    }
    for (int i = 0; i < COUNT; i++)
        data_x[i] = dtype_load(DT_F32, (char *)in[0]->data + 4 * i);
    return eval_all(eval_new(g, &domain_fp64, in, cx->arena), 0);
}

static void near(double got, double want, const char *what)
{
    if (!(fabs(got - want) <= 1e-9 * (1 + fabs(want))))
        fail_msg("%s: %.17g, not %.17g", what, got, want);
}

static void test_pointwise_formulas(void **state)
{
    Context *cx = *state;

    for (size_t i = 0; i < sizeof formulas / sizeof *formulas; i++) {
        Graph *g = build(cx, "f32", false, formulas[i].call);
        const Value *v = evaluate(cx, g);
        for (int k = 0; k < COUNT; k++)
            near(v[k].v, formulas[i].f(data_x[k]), formulas[i].call);
        graph_free(g);
    }
}

static double row_mean(int row)
{
    double s = 0;
    for (int k = 0; k < 8; k++)
        s += data_x[8 * row + k] / 8;
    return s;
}

static double row_square(int row)
{
    double s = 0;
    for (int k = 0; k < 8; k++)
        s += data_x[8 * row + k] * data_x[8 * row + k];
    return s;
}

static double row_exp(int row)
{
    double s = 0;
    for (int k = 0; k < 8; k++)
        s += exp(data_x[8 * row + k]);
    return s;
}

static double row_var(int row) { return row_square(row) / 8 - row_mean(row) * row_mean(row); }
static double g_softmax(int i) { return exp(data_x[i]) / row_exp(i / 8); }
static double g_log_softmax(int i) { return data_x[i] - log(row_exp(i / 8)); }
static double g_layer_norm(int i) { return (data_x[i] - row_mean(i / 8)) / sqrt(row_var(i / 8) + 1e-5); }
static double g_rms_norm(int i) { return data_x[i] / sqrt(row_square(i / 8) / 8 + 1e-6); }
static double g_normalize(int i) { return data_x[i] / sqrt(row_square(i / 8)); }
static double g_rotate(int i) { return i % 8 < 4 ? -data_x[i + 4] : data_x[i - 4]; }
static double g_rope(int i) { return data_x[i] * data_x[i] + g_rotate(i) * data_x[i]; }
static double g_mean(int i) { return row_mean(i); }
static double g_var(int i) { return row_var(i) * 8 / 7; }
static double g_std(int i) { return sqrt(row_var(i)); }
static double g_logsumexp(int i) { return log(row_exp(i)); }
static double g_l2(int i) { return sqrt(row_square(i)); }
static double g_glu(int i) { return data_x[i / 4 * 8 + i % 4] * sigmoid(data_x[i / 4 * 8 + i % 4 + 4]); }
static double g_repeat(int i) { return data_x[i / 2]; }
static double g_tril(int i) { return i % 8 <= i / 8 % 3 ? data_x[i] : 0; }

static const struct { const char *call; double (*f)(int); int n; } row_formulas[] = {
    {"softmax(%x)", g_softmax, 48}, {"log_softmax(%x)", g_log_softmax, 48}, {"layer_norm(%x)", g_layer_norm, 48},
    {"rms_norm(%x)", g_rms_norm, 48}, {"normalize(%x)", g_normalize, 48}, {"rotate_half(%x)", g_rotate, 48}, {"rope(%x, %x, %x)", g_rope, 48},
    {"mean(%x, -1)", g_mean, 6}, {"var(%x, -1)", g_var, 6}, {"std(%x, -1, correction=0)", g_std, 6}, {"logsumexp(%x)", g_logsumexp, 6},
    {"l2_norm(%x)", g_l2, 6}, {"glu(%x)", g_glu, 24}, {"repeat_interleave(%x, 2, axis=-1)", g_repeat, 96}, {"tril(%x)", g_tril, 48},
};

static void test_row_formulas(void **state)
{
    Context *cx = *state;

    for (size_t i = 0; i < sizeof row_formulas / sizeof *row_formulas; i++) {
        Graph *g = build(cx, "f32", false, row_formulas[i].call);
        const Value *v = evaluate(cx, g);
        for (int k = 0; k < row_formulas[i].n; k++)
            near(v[k].v, row_formulas[i].f(k), row_formulas[i].call);
        graph_free(g);
    }
}

/* causal, plain and masked attention agree with each other */
static void test_attention(void **state)
{
    Context *cx = *state;
    Graph *a = build(cx, "f32", false, "sdpa(%x, %x, %x, causal=1)");
    Graph *b = build(cx, "f32", false, "sdpa(%x, %x, %x, ge(iota(shape=[3, 3], axis=0, dtype=i64), iota(shape=[3, 3], axis=1, dtype=i64)))");
    const Value *va = evaluate(cx, a), *vb = evaluate(cx, b);

    for (int k = 0; k < COUNT; k++)
        near(va[k].v, vb[k].v, "causal");
    for (int k = 0; k < 8; k++) {
        near(va[k].v, data_x[k], "the first row sees only itself");
        near(va[24 + k].v, data_x[24 + k], "the first row sees only itself");
    }
    graph_free(a);
    graph_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_types), TEST(test_every_composite_has_a_case), TEST(test_other_types), TEST(test_origin_is_the_outermost),
        TEST(test_f32_is_not_cast), TEST(test_pointwise_formulas), TEST(test_row_formulas), TEST(test_attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
