/* tests/codegen/test_split_products.c — f32 products of f16 pieces from graph to results. The CPU, which is never asked for them, computes
 * them as any other op that no kind takes: what is tested is pieces, scales, weights and lines that pieces do not hold. And a task whose
 * weight cannot be held compiles to the product as it was written. */
#include "runtime/recipe.h"
#include "tests/codegen/run_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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
        "input %a : f32[2, 64, 3, 40]\n input %b : f32[2, 64, 3, 40]\n %y = matmul(permute(%a, perm=[0, 2, 1, 3]), permute(%b, perm=[0, 2, 3, 1]))\n return %y",
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
    }
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

static void compile(const char *range, bool apart, bool falls_back)
{
    Context *cx = context_new();
    Task *t = task_from_source(cx, source_from_text(cx->arena, "spread.yaml", arena_printf(cx->arena, task_text, range)));
    if (!t)
        diags_print(cx->diags, stderr, false);
    assert_non_null(t);
    ChoicePick pick = {str_intern(cx->strs, "split_matmul@64x64x64"), 1};
    static const char *const stacking[] = {"stack_projections"};
    CompileOptions o = {
        .passes = {.verify = true, .f16_products = true, .split_work = 1, .disabled_rules = stacking, .n_disabled_rules = 1},
        .codegen = {.machine = machine_cpu(cx), .emitter = EMITTER_LLVM, .fuse = true},
        .picks = &pick, .n_picks = 1, .no_weights = apart,
    };
    Compiled c;
    assert_true(compile_workload(cx, t, NULL, &o, &c));
    assert_true(!apart || splits(c.resolved) == 2);
    assert_true(!apart || compile_weights(cx, t, &c, 1));
    assert_int_equal(splits(c.resolved), falls_back ? 0 : 2);            /* products of one shape switch together */
    uint32_t said = 0;
    vec_foreach(PlanDecision, d, &c.plan->decisions)
        said += !strcmp(d->choice, pick.id) && !strcmp(d->picked, "as written") && strstr(d->evidence, "2^29 apart") != NULL;
    assert_int_equal(said, falls_back);
    vec_foreach(PlanWeight, w, &c.plan->weights)
        assert_true(w->data && (!w->recipe || !recipe_is_scales(w->recipe) || recipe_scales_hold(w->data)));
    Graph *graphs[] = {c.graph, c.with_choices, c.resolved, t->graph};
    for (int i = 0; i < 4; i++)
        graph_free(graphs[i]);
    context_free(cx);
}

static void test_fallback(void **state)
{
    (void)state;
    for (int apart = 0; apart < 2; apart++) {
        compile("0.9, 1.1", apart, false);
        compile("0.001, 100", apart, true);                              /* to the 8th: up to 2^132 apart */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_runs), cmocka_unit_test(test_fallback)};
    return cmocka_run_group_tests_name("split products", tests, NULL, NULL);
}
