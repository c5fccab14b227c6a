/* tests/codegen/test_split_products.c — f32 products of f16 pieces from graph to results. The CPU, which is never asked for them,
 * computes them as any other op that no kind takes: what is tested is pieces, scales, weights and lines that pieces do not hold. And a task whose
 * weight cannot be held compiles to the product as it was written. */
#include "codegen/emit/emit.h"
#include "runtime/package.h"
#include "runtime/pawl.h"
#include "runtime/recipe.h"
#include "tests/codegen/run_graph.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void test_runs(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "input %a : f32[64, 40]\n input %b : f32[40, 72]\n %y = matmul(%a, %b)\n return %y",
        "input %a : f32[64, 40]\n param %b : f32[72, 40]\n %y = relu(linear(%a, %b))\n return %y",
        "input %a : f32[67, 45]\n param %b : f32[71, 45]\n param %c : f32[71]\n %y = linear(%a, %b, %c)\n return %y",
        "input %a : f32[67, 45]\n param %b : f32[45, 71]\n %y = matmul(%a, %b)\n return %y",
        "input %a : f32[45, 67]\n input %b : f32[45, 71]\n %y = matmul(%a, %b, trans_a=1)\n return %y",
        "input %a : f32[40, 64]\n input %b : f32[40, 72]\n %y = matmul(%a, %b, trans_a=1)\n return %y",
        "param %a : f32[64, 40]\n input %b : f32[40, 72]\n %y = matmul(%a, %b)\n return %y",
        "input %a : f32[3, 64, 40]\n input %b : f32[3, 72, 40]\n %y = matmul(%a, %b, trans_b=1)\n return %y",
        "input %a : f32[3, 64, 40]\n param %b : f32[72, 40]\n %y = linear(%a, %b)\n return %y",
        "input %a : f32[2, 64, 3, 40]\n input %b : f32[2, 64, 3, 40]\n"
        " %y = matmul(permute(%a, perm=[0, 2, 1, 3]), permute(%b, perm=[0, 2, 3, 1]))\n return %y",
        /* a producer of our own, whose result the pieces are made of; two products of one activation */
        "input %x : f32[64, 96]\n param %g : f32[96]\n param %u : f32[80, 96]\n param %v : f32[72, 96]\n %h = rms_norm(%x, %g, eps=1e-6)\n"
        " %p = linear(%h, %u)\n %q = silu(linear(%h, %v))\n return %p, %q",
        "input %x : f32[64, 48]\n param %u : f32[80, 48]\n param %v : f32[64, 80]\n %y = linear(silu(linear(%x, %u)), %v)\n return %y",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[2048];
        snprintf(text, sizeof text, "graph g {\n %s\n}\n", cases[i]);
        assert_true(run_graph(text, &(RunOptions){.fuse = true, .passes = true, .split = true}, 5));
        assert_true(run_graph(text, &(RunOptions){.fuse = false, .passes = true, .split = true}, 6));
        assert_true(run_graph(text, &(RunOptions){.fuse = true, .sim = true, .passes = true, .split = true}, 7));
    }
}

/* The same through the template for tensor cores, as NVRTC compiles it. */
static void test_runs_on_tensor_cores(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "input %x : f32[64, 96]\n param %g : f32[96]\n param %u : f32[80, 96]\n %h = rms_norm(%x, %g, eps=1e-6)\n"
        " %p = relu(linear(%h, %u))\n return %p",
        "input %a : f32[67, 45]\n input %b : f32[45, 71]\n %y = matmul(%a, %b)\n return %y",
        "input %a : f32[2, 64, 3, 40]\n input %b : f32[2, 64, 3, 40]\n"
        " %y = matmul(permute(%a, perm=[0, 2, 1, 3]), permute(%b, perm=[0, 2, 3, 1]))\n return %y",
    };
    if (!nvrtc_available(NULL))
        skip();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[2048];
        snprintf(text, sizeof text, "graph g {\n %s\n}\n", cases[i]);
        assert_true(run_graph(text, &(RunOptions){.fuse = true, .sim = true, .kind = "gemm", .passes = true, .split = true}, 8));
    }
}

/* ---- kernels --------------------------------------------------------------------------------------------------------------------------- */
/* Every group: its kind and how many values it stores. */
static void expect_kernels(const char *inputs, const char *graph, const char *want)
{
    Context *cx = context_new();
    const char *text = arena_printf(cx->arena, "task: kernels\n%s\ngraph: |\n  %s\noutputs: [y]\nnumerics: fp32\n", inputs, graph);
    Task *t = task_from_source(cx, source_from_text(cx->arena, "task.yaml", text));
    if (!t)
        diags_print(cx->diags, stderr, false);
    assert_non_null(t);
    CompileOptions o = {.passes = {.verify = true, .f16_products = true},
                        .codegen = {.emitter = EMITTER_NVRTC, .fuse = true, .no_code = true}};
    assert_true(machine_cuda(cx, "sm_90a", &o.codegen.machine));
    Graph *g = graph_specialise(t->graph, NULL, 0);
    assert_true(pipeline_run(g, &(PassOptions){.numerics = t->numerics, .f16_products = true}, NULL));
    uint32_t n;
    ChoiceInfo *list = choices_list(g, cx->arena, &n);
    ChoicePick *picks = arena_new_array(cx->arena, ChoicePick, n + 1);
    for (uint32_t i = 0; i < n; i++)
        picks[i] = (ChoicePick){list[i].id, 1};
    o.picks = picks;
    o.n_picks = n;
    Compiled c;
    assert_true(n > 0 && compile_workload(cx, t, NULL, &o, &c));
    StrBuf b = strbuf_new(cx->arena);
    for (uint32_t i = 0; i < c.groups->n; i++)
        strbuf_printf(&b, "%s%s %u", i ? ", " : "", c.groups->g[i]->schedule.kind, c.groups->g[i]->outputs.n);
    if (strcmp(b.text, want) != 0)
        fail_msg("%s is computed by %s, not by %s", graph, b.text, want);
    Graph *graphs[] = {g, c.graph, c.with_choices, c.resolved, t->graph};
    for (int i = 0; i < 5; i++)
        graph_free(graphs[i]);
    context_free(cx);
}

/* An activation is read once, beside what computes it where its rows run along k, by blocks that hold its columns where they do not; once for
 * its columns' scales and once for its pieces where it is turned, too; a weight's pieces are weights. */
static void test_kernels(void **state)
{
    (void)state;
    if (!nvrtc_available(NULL))
        skip();
    expect_kernels("inputs: {x: 'f32[4096, 4096]'}\nparams: {w: 'f32[4096, 4096]'}", "%y = linear(%x, %w)", "row 3, gemm 1");
    expect_kernels("inputs: {x: 'f32[512, 16384]'}\nparams: {w: 'f32[1024, 16384]'}", "%y = linear(%x, %w)", "row 3, gemm 1");
    expect_kernels("inputs: {x: 'f32[32768, 64]'}\nparams: {w: 'f32[64, 64]'}", "%y = linear(%x, %w)", "row 3, gemm 1");
    expect_kernels("inputs: {x: 'f32[512, 1023]'}\nparams: {w: 'f32[1024, 1023]'}", "%y = linear(%x, %w)", "row 3, gemm 1");
    expect_kernels("inputs: {x: 'f32[4096, 2048]'}\nparams: {g: 'f32[2048]', w: 'f32[1024, 2048]'}",
                   "%y = linear(rms_norm(%x, %g, eps=1e-6), %w)", "row 4, gemm 1");
    expect_kernels("inputs: {x: 'f32[4096, 2048]', r: 'f32[4096, 2048]'}\nparams: {w: 'f32[1024, 2048]'}",
                   "%y = linear(gelu(add(%x, %r)), %w)", "row 4, gemm 1");
    expect_kernels("inputs: {v: 'f32[4096, 4096]'}\nparams: {w: 'f32[4096, 4096]'}", "%y = matmul(%w, %v)",
                   "column 3, gemm 1");
    expect_kernels("inputs: {v: 'f32[1024, 1023]'}\nparams: {w: 'f32[512, 1024]'}", "%y = matmul(%w, %v)", "column 2, transpose 2, gemm 1");
}

/* ---- weights that pieces do not hold ------------------------------------------------------------------------------------------------ */
static const char task_text[] =
    "task: spread\n"
    "inputs: {x: 'f32[64, 64]'}\n"
    "params: {w: 'f32[64, 64]', s: 'f32[64, 2] ~ uniform(%s)', v: 'f32[64, 64]'}\n"
    "graph: |\n"
    "  %%big = mul(%%s, %%s)\n"
    "  %%u = mul(%%w, reshape(expand(reshape(mul(mul(%%big, %%big), mul(%%big, %%big)), shape=[64, 2, 1]), shape=[64, 2, 32]), shape=[64, 64]))\n"
    "  %%y = linear(%%x, %%u)\n"
    "  %%z = linear(slice(%%x, axis=0, start=0, size=64), %%v)\n"
    "outputs: [y, z]\n"
    "numerics: fp32\n";

static uint32_t splits(const Graph *g)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->nodes.n; i++)
        n += g->nodes.data[i]->op == OP_SPLIT_MATMUL;
    return n;
}

typedef struct { Context *cx; Task *task; Compiled c; Str choice; } Made;

/* Products of pieces asked for, with `units` by pieces of k, too; apart: the weights come later, as for several workloads of a task. */
static Made make_by_pieces(const char *text, const char *choice, bool apart, uint32_t units)
{
    static const char *const stacking[] = {"stack_projections"};
    Made m = {.cx = context_new()};
    m.task = task_from_source(m.cx, source_from_text(m.cx->arena, "task.yaml", text));
    if (!m.task)
        diags_print(m.cx->diags, stderr, false);
    assert_non_null(m.task);
    m.choice = str_intern(m.cx->strs, choice);
    ChoicePick *pick = arena_new_array(m.cx->arena, ChoicePick, 2);
    pick[0] = (ChoicePick){m.choice, 1};
    pick[1] = (ChoicePick){str_intern(m.cx->strs, "split_k@64x64x64"), 1};
    CompileOptions o = {
        .passes = {.verify = true, .f16_products = true, .split_work = 1, .units = units, .split_depth = 16, .disabled_rules = stacking, .n_disabled_rules = 1},
        .codegen = {.machine = machine_cpu(m.cx), .emitter = EMITTER_LLVM, .fuse = true}, .picks = pick, .n_picks = 2, .no_weights = apart,
    };
    assert_true(compile_workload(m.cx, m.task, NULL, &o, &m.c));
    return m;
}

static Made make(const char *text, const char *choice, bool apart) { return make_by_pieces(text, choice, apart, 0); }

static void made_end(Made *m)
{
    Graph *graphs[] = {m->c.graph, m->c.with_choices, m->c.resolved, m->task->graph};
    for (int i = 0; i < 4; i++)
        graph_free(graphs[i]);
    context_free(m->cx);
}

static void falls_back(const char *range, bool apart, bool wanted)
{
    char text[2048];
    snprintf(text, sizeof text, task_text, range);
    Made m = make(text, "split_matmul@64x64x64", apart);
    assert_true(!apart || splits(m.c.resolved) == 2);
    assert_true(!apart || compile_weights(m.cx, m.task, &m.c, 1));
    assert_int_equal(splits(m.c.resolved), wanted ? 1 : 2);              /* of two products of one shape the one whose weight it is */
    uint32_t said = 0;
    vec_foreach(PlanDecision, d, &m.c.plan->decisions)
        said += !strcmp(d->choice, "split_matmul@64x64x64#1") && !strcmp(d->picked, "as written") && strstr(d->evidence, "2^29 apart") != NULL;
    assert_int_equal(said, wanted);
    vec_foreach(PlanWeight, w, &m.c.plan->weights)
        assert_true(w->data && (!w->recipe || !recipe_is_scales(w->recipe) || recipe_scales_hold(w->data)));
    made_end(&m);
}

static void test_fallback(void **state)
{
    (void)state;
    for (int apart = 0; apart < 2; apart++) {
        falls_back("0.9, 1.1", apart, false);
        falls_back("0.001, 100", apart, true);                             /* to the 8th: up to 2^132 apart */
    }
}

/* One column of 64 that the pieces do not hold: the weight is kept beside them, and the product stays split. */
static void test_kept(void **state)
{
    (void)state;
    Made m = make("task: kept\ninputs: {x: 'f32[64, 64]'}\nparams: {w: 'f32[64, 64]'}\n"
                  "graph: |\n"
                  "  %r = eq(iota(shape=[64, 64], axis=0, dtype=f32), 5.0)\n"
                  "  %c = eq(iota(shape=[64, 64], axis=1, dtype=f32), 7.0)\n"
                  "  %u = mul(%w, where(logical_and(%r, %c), const(value=1e-12, dtype=f32), const(value=1, dtype=f32)))\n"
                  "  %y = linear(%x, %u)\noutputs: [y]\nnumerics: fp32\n", "split_matmul@64x64x64", false);
    assert_int_equal(splits(m.c.resolved), 1);
    for (uint32_t i = 0; i < m.c.resolved->nodes.n; i++)
        if (m.c.resolved->nodes.data[i]->op == OP_SPLIT_MATMUL)
            assert_non_null(split_operand(m.c.resolved->nodes.data[i], 1).exact);
    int64_t bad = 0;
    vec_foreach(PlanWeight, w, &m.c.plan->weights) {
        assert_non_null(w->data);
        bad += w->recipe && recipe_is_scales(w->recipe) ? recipe_scales_bad(w->data) : 0;
    }
    assert_int_equal(bad, 1);
    uint32_t said = 0;
    vec_foreach(PlanDecision, d, &m.c.plan->decisions)
        said += !strcmp(d->choice, m.choice) && strstr(d->evidence, "it is kept") != NULL;
    assert_int_equal(said, 1);
    made_end(&m);
}

/* By pieces of k the product has the weight's scales once, and what they say holds for all pieces. */
static void test_kept_by_pieces(void **state)
{
    (void)state;
    static const char *const values[] = {"1", "1e-12"};
    for (int i = 0; i < 2; i++) {
        char text[1024];
        snprintf(text, sizeof text,
                 "task: kept\ninputs: {x: 'f32[64, 64]'}\nparams: {w: 'f32[64, 64]'}\ngraph: |\n"
                 "  %%r = eq(iota(shape=[64, 64], axis=0, dtype=f32), 5.0)\n  %%c = eq(iota(shape=[64, 64], axis=1, dtype=f32), 7.0)\n"
                 "  %%u = mul(%%w, where(logical_and(%%r, %%c), const(value=%s, dtype=f32), const(value=1, dtype=f32)))\n"
                 "  %%y = linear(%%x, %%u)\noutputs: [y]\nnumerics: fp32\n", values[i]);
        Made m = make_by_pieces(text, "split_matmul@64x64x64", false, 16);
        assert_int_equal(splits(m.c.resolved), 1);
        for (uint32_t k = 0; k < m.c.resolved->nodes.n; k++) {
            const Node *n = m.c.resolved->nodes.data[k];
            if (n->op == OP_SPLIT_MATMUL) {
                assert_int_equal(n->type.shape.d[0]->value, 4);
                assert_int_equal(split_operand(n, 1).exact != NULL, i == 1);
            }
        }
        vec_foreach(PlanWeight, w, &m.c.plan->weights)
            assert_non_null(w->data);
        made_end(&m);
    }
}

/* ---- reloaded ------------------------------------------------------------------------------------------------------------------------ */
enum { M = 64, K = 45, N = 70 };

static void expect_product(pawl_session *s, const float *x, const float *w)
{
    static float y[M * N];
    pawl_tensor in = {.data = (void *)(uintptr_t)x, .dtype = PAWL_F32, .rank = 2, .shape = {M, K}};
    pawl_tensor out = {.data = y, .dtype = PAWL_F32, .rank = 2, .shape = {M, N}};
    assert_int_equal(pawl_run(s, &in, 1, &out, 1, NULL), PAWL_OK);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0, size = 0;
            for (int k = 0; k < K; k++) {
                sum += (double)x[i * K + k] * (double)w[j * K + k];
                size += fabs((double)x[i * K + k] * (double)w[j * K + k]);
            }
            assert_true(fabs((double)y[i * N + j] - sum) <= 0x1p-20 * size);
        }
}

/* All three weights that were made of one parameter are made of the new one; one that does not fit into pieces changes nothing. */
static void test_reload(void **state)
{
    (void)state;
    Made m = make("task: reload\ninputs: {x: 'f32[64, 45]'}\nparams: {w: 'f32[70, 45]'}\n"
                  "graph: |\n  %y = linear(%x, %w)\noutputs: [y]\nnumerics: fp32\n", "split_matmul@64x70x45", false);
    assert_int_equal(splits(m.c.resolved), 1);
    size_t len;
    void *image = package_image(m.cx->arena, m.cx->diags, &m.c.plan, 1, "{}", &len);
    pawl_package *p;
    pawl_session *s;
    pawl_session_options so = {.size = sizeof so, .device = "cpu", .threads = 2};
    assert_non_null(image);
    assert_int_equal(pawl_open_memory(image, len, &p), PAWL_OK);
    assert_int_equal(pawl_session_new(p, &so, &s), PAWL_OK);
    static float x[M * K], w[N * K];
    assert_int_equal(pawl_fill(x, PAWL_F32, M * K, 1, "x", "normal(0, 1)"), PAWL_OK);
    const char *name = "w";
    pawl_tensor t = {.data = w, .dtype = PAWL_F32, .rank = 2, .shape = {N, K}};
    for (uint64_t seed = 1; seed < 3; seed++) {
        assert_int_equal(pawl_fill(w, PAWL_F32, N * K, seed, "w", "normal(0, 7)"), PAWL_OK);
        assert_int_equal(pawl_reload_weights(s, &name, &t, 1), PAWL_OK);
        expect_product(s, x, w);
    }
    float was = w[77];
    w[77] = INFINITY;
    assert_int_equal(pawl_reload_weights(s, &name, &t, 1), PAWL_ERROR_UNSUPPORTED);
    assert_non_null(strstr(pawl_error(), "2^29 apart"));
    w[77] = 1e-12f;
    assert_int_equal(pawl_reload_weights(s, &name, &t, 1), PAWL_ERROR_UNSUPPORTED);
    w[77] = was;
    expect_product(s, x, w);
    t.shape[0] = K, t.shape[1] = N;
    assert_int_equal(pawl_reload_weights(s, &name, &t, 1), PAWL_ERROR_INVALID);
    expect_product(s, x, w);
    pawl_session_free(s);
    pawl_close(p);
    made_end(&m);
}

/* A frozen left operand has its original beside it: lines that pieces do not hold come and go. */
static void test_reload_of_kept(void **state)
{
    (void)state;
    enum { SIDE = 64 };
    Made m = make("task: left\ninputs: {x: 'f32[64, 64]'}\nparams: {w: 'f32[64, 64]', s: 'f32[1, 64] ~ uniform(0.001, 100)'}\n"
                  "graph: |\n"
                  "  %2 = mul(%s, %s)\n  %4 = mul(%2, %2)\n  %u = mul(%w, mul(%4, %4))\n"
                  "  %y = matmul(%u, %x)\noutputs: [y]\nnumerics: fp32\n", "split_matmul@64x64x64", false);
    assert_int_equal(splits(m.c.resolved), 1);
    size_t len;
    void *image = package_image(m.cx->arena, m.cx->diags, &m.c.plan, 1, "{}", &len);
    pawl_package *p;
    pawl_session *session;
    pawl_session_options so = {.size = sizeof so, .device = "cpu", .threads = 2};
    assert_non_null(image);
    assert_int_equal(pawl_open_memory(image, len, &p), PAWL_OK);
    assert_int_equal(pawl_session_new(p, &so, &session), PAWL_OK);
    static float x[SIDE * SIDE], w[SIDE * SIDE], s[SIDE], y[SIDE * SIDE];
    assert_int_equal(pawl_fill(x, PAWL_F32, SIDE * SIDE, 1, "x", "normal(0, 1)"), PAWL_OK);
    assert_int_equal(pawl_fill(w, PAWL_F32, SIDE * SIDE, 1, "w", "normal(0, 1)"), PAWL_OK);
    for (int i = 0; i < SIDE; i++)
        s[i] = i % 3 ? 1 : 0x1p-5f;
    const char *names[] = {"w", "s"};
    pawl_tensor t[] = {{.data = w, .dtype = PAWL_F32, .rank = 2, .shape = {SIDE, SIDE}}, {.data = s, .dtype = PAWL_F32, .rank = 2, .shape = {1, SIDE}}};
    assert_int_equal(pawl_reload_weights(session, names, t, 2), PAWL_OK);
    pawl_tensor in = {.data = x, .dtype = PAWL_F32, .rank = 2, .shape = {SIDE, SIDE}}, out = in;
    out.data = y;
    assert_int_equal(pawl_run(session, &in, 1, &out, 1, NULL), PAWL_OK);
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            double sum = 0, size = 0;
            for (int k = 0; k < SIDE; k++) {
                double term = (double)w[i * SIDE + k] * pow((double)s[k], 8) * (double)x[k * SIDE + j];
                sum += term;
                size += fabs(term);
            }
            assert_true(fabs((double)y[i * SIDE + j] - sum) <= 0x1p-20 * size);
        }
    pawl_session_free(session);
    pawl_close(p);
    made_end(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs), cmocka_unit_test(test_runs_on_tensor_cores), cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_fallback), cmocka_unit_test(test_kept), cmocka_unit_test(test_kept_by_pieces), cmocka_unit_test(test_reload),
        cmocka_unit_test(test_reload_of_kept),
    };
    return cmocka_run_group_tests_name("split products", tests, NULL, NULL);
}
