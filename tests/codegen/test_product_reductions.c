/* Reductions behind products, whole rows in pieces (passes/tile_reductions.c): the groups that come out, and what they compute, as
 * kernels of kind gemm and as kernels behind a product, on the simulator against the evaluator. */
#include "codegen/emit/emit.h"
#include "tests/codegen/run_graph.h"
#include "tests/passes/picks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define LINEAR_BESIDE(more) \
    "graph g { input %x : bf16[71, 64]\nparam %w : bf16[256, 64]\nparam %b : bf16[256]\n" more "%h = linear(%x, %w, %b)\n"
#define LINEAR LINEAR_BESIDE("")
#define MASKED(keys) \
    "%i = iota(shape=[67, " keys "], axis=0, dtype=i64)\n%j = iota(shape=[67, " keys "], axis=1, dtype=i64)\n" \
    "%m = where(le(%j, %i), %s, -inf)\n%y = softmax(%m, axis=-1)\nreturn %y }"

typedef struct { const char *text; uint32_t groups, outputs; } Case;                 /* outputs: of the group with the product */

static const Case cases[] = {
    {LINEAR "%y = sum(cast(%h, dtype=f32), axes=[1])\nreturn %y }", 2, 1},
    {LINEAR "%y = max(sigmoid(%h), axes=[1], keepdims=1)\nreturn %y }", 2, 1},
    {LINEAR "%s = sum(cast(%h, dtype=f32), axes=[1])\n%y = min(%h, axes=[1])\nreturn %s, %y }", 3, 2},
    {LINEAR "%y = sum(cast(%h, dtype=f32))\nreturn %y }", 2, 1},
    {LINEAR "%y = logsumexp(%h, axes=1)\nreturn %y }", 2, 2},
    {LINEAR "%y = softmax(gelu(%h), axis=1)\nreturn %y }", 2, 3},
    {LINEAR "%y = log_softmax(%h, axis=1)\nreturn %y, %h }", 2, 3},
    {LINEAR_BESIDE("param %g : bf16[256]\n") "%y = rms_norm(%h, %g, eps=1e-6)\nreturn %y }", 2, 2},
    {LINEAR_BESIDE("param %g : bf16[256]\nparam %c : bf16[256]\ninput %r : bf16[71, 256]\n") "%k = add(%h, %r)\n"
     "%y = layer_norm(%k, %g, %c, eps=1e-5)\nreturn %y, %k }", 2, 3},
    /* the rows of a group norm are the pieces */
    {LINEAR_BESIDE("param %g : bf16[256]\nparam %c : bf16[256]\n") "%n = group_norm(%h, %g, %c, groups=8, eps=1e-5)\n%y = amin(%n, axes=1)\n"
     "return %y }", 2, 1},
    {LINEAR_BESIDE("param %g : bf16[256]\nparam %c : bf16[256]\n") "%y = group_norm(silu(%h), %g, %c, groups=4, eps=1e-5)\nreturn %y }", 1, 1},
    /* no row is out of range */
    {"graph g { input %x : bf16[80, 64]\nparam %w : bf16[192, 64]\nparam %b : bf16[192]\ninput %r : bf16[80, 192]\n%h = linear(%x, %w, %b)\n"
     "%y = logsumexp(add(%h, %r), axes=1)\nreturn %y }", 2, 2},
    /* the product itself is stored beside what is reduced of it */
    {"graph g { input %x : bf16[71, 64]\nparam %w : bf16[256, 64]\n%h = matmul(%x, %w, dtype=f32, trans_b=1)\n%y = softmax(%h, axis=1)\n"
     "return %y }", 2, 3},
    /* batches, and a mask of -Inf before the softmax: in three pieces; a row of one piece needs no second step */
    {"graph g { input %q : bf16[2, 67, 64]\ninput %k : bf16[2, 192, 64]\n%s = matmul(%q, %k, dtype=f32, trans_b=1)\n" MASKED("192"), 2, 3},
    {"graph g { input %q : bf16[2, 67, 64]\ninput %k : bf16[2, 128, 64]\n%s = matmul(%q, %k, dtype=f32, trans_b=1)\n" MASKED("128"), 1, 1},
    /* rows that one key is left of are exactly 0: what is reduced is what is stored, in half precision */
    {"graph g { input %q : bf16[2, 67, 96]\ninput %k : bf16[2, 192, 96]\n%s = matmul(%q, %k, trans_b=1)\n"
     "%i = iota(shape=[67, 192], axis=0, dtype=i64)\n%j = iota(shape=[67, 192], axis=1, dtype=i64)\n"
     "%m = where(le(%j, %i), %s, -inf)\n%y = log_softmax(%m, axis=-1)\nreturn %y }", 2, 3},
};

/* f32: with what makes the pieces; outputs of the last product's group */
static const Case split[] = {
    {"graph g { input %x : f32[70, 96]\nparam %w : f32[192, 96]\nparam %v : f32[256, 192]\n%h = sigmoid(linear(%x, %w))\n"
    "%y = logsumexp(linear(%h, %v), axes=1)\nreturn %y, %h }", 5, 2},
    {"graph g { input %x : f32[70, 96]\nparam %g : f32[96]\nparam %w : f32[192, 96]\n%n = rms_norm(%x, %g)\n%y = softmax(linear(%n, %w))\nreturn %y }", 3, 3},
    {"graph g { input %x : f32[67, 96]\nparam %w : f32[256, 96]\nparam %b : f32[256]\nparam %g : f32[256]\nparam %c : f32[256]\n"
    "%y = group_norm(silu(linear(%x, %w, %b)), %g, %c, groups=4, eps=1e-5)\nreturn %y }", 2, 1},
    {"graph g { input %x : f32[67, 96]\nparam %w : f32[256, 96]\ninput %r : f32[67, 256]\n%h = add(linear(%x, %w), %r)\n"
    "%y = layer_norm(%h)\nreturn %y, %h }", 3, 3},
};

static Groups *groups_of(Context *cx, const char *text)
{
    Graph *g = graph_parse(cx, source_from_text(cx->arena, "test", text));
    CodegenOptions o = {.fuse = true, .emitter = EMITTER_NVRTC};
    PassOptions po = {.verify = true, .piece = 64, .f16_products = true, .split_work = 1, .numerics = {NUM_FP32, NUM_FP32, NUM_FP32, 0}};
    if (!g || !machine_cuda(cx, "sm_90a", &o.machine) || !pipeline_run(g, &po, NULL))
        return NULL;
    return groups_form(cx, last_alternatives(cx, g, NULL), &o);
}

static void check_groups(const Case *c)
{
    Context *cx = context_new();
    Groups *gs = groups_of(cx, c->text);
    assert_non_null(gs);
    const Group *product = NULL;
    for (uint32_t k = 0; k < gs->n; k++)
        product = gs->g[k]->matmul ? gs->g[k] : product;
    if (gs->n != c->groups || !product || product->outputs.n != c->outputs) {
        for (uint32_t k = 0; k < gs->n; k++)
            fprintf(stderr, "%s\n(%s)\n\n", gs->g[k]->text, gs->g[k]->why_not ? gs->g[k]->why_not : "");
        fail_msg("%s\n%u groups, %u outputs", c->text, gs->n, product ? product->outputs.n : 0);
    }
    context_free(cx);
}

static void groups(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_groups(&cases[i]);
    for (size_t i = 0; i < sizeof split / sizeof *split; i++)
        check_groups(&split[i]);
}

/* The reduction of h is only wanted by the pieces of the second product, whose choice comes later: it is asked about again. */
static void choices_within_choices(void **state)
{
    (void)state;
    static const char text[] =
        "task: mlp\ninputs: {x: 'f32[16384, 2048]'}\nparams: {w: 'f32[4096, 2048]', v: 'f32[1024, 4096]'}\n"
        "graph: |\n  %h = sigmoid(linear(%x, %w))\n  %y = logsumexp(linear(%h, %v), axes=1)\noutputs: [y]\nnumerics: fp32\nworkloads: {w: {}}\n";
    Context *cx = context_new();
    CompileOptions o = {.codegen = {.fuse = true, .use_library = true, .emitter = EMITTER_NVRTC, .no_code = true}, .no_weights = true,
                        .passes = {.piece = 64, .f16_products = true}};
    Compiled c;
    Task *t = task_from_source(cx, source_from_text(cx->arena, "mlp.yaml", text));
    assert_true(t && machine_cuda(cx, "sm_90a", &o.codegen.machine) && compile_workload(cx, t, task_workload(t, "w"), &o, &c));
    assert_int_equal(c.decisions.n, 4);
    for (uint32_t i = 0; i < c.decisions.n; i++)
        assert_string_equal(c.decisions.data[i].picked, "1");
    assert_int_equal(c.groups->n, 5);
    graph_free(t->graph);
    context_free(cx);
}

static void run_all(const char *kind, uint32_t schedule, const char *arch)
{
    RunOptions o = {.fuse = true, .sim = true, .passes = true, .piece = 64, .kind = kind, .schedule = schedule, .arch = arch};
    int failed = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        failed += !run_graph(cases[i].text, &o, 77 + i);
    assert_int_equal(failed, 0);
}

static void f32_products(void **state)
{
    (void)state;
    RunOptions o = {.fuse = true, .sim = true, .passes = true, .piece = 64, .split = true, .kind = "gemm"};
    for (size_t i = 0; i < sizeof split / sizeof *split; i++)
        assert_true(run_graph(split[i].text, &o, 5 + i));
}

static void behind_the_library(void **s) { (void)s; run_all("library", 0, NULL); }
static void in_the_epilogue(void **s) { (void)s; run_all("gemm", 0, NULL); }
static void without_wgmma(void **s) { (void)s; run_all("gemm", 0, "sm_80"); }
static void other_schedules(void **s) { (void)s; run_all("gemm", 5, NULL); }

int main(void)
{
    const char *why;
    if (!nvrtc_available(&why)) {
        printf("SKIP: %s\n", why);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups), cmocka_unit_test(choices_within_choices), cmocka_unit_test(in_the_epilogue),
        cmocka_unit_test(other_schedules), cmocka_unit_test(without_wgmma), cmocka_unit_test(behind_the_library), cmocka_unit_test(f32_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
