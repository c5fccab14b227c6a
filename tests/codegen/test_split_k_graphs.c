/* tests/codegen/test_split_k_graphs.c — products as sums over pieces of k (passes/split_k.c): the groups that come out, and what they
 * compute, through the tensor-core templates on the simulator and by other kinds, against the evaluator. */
#include "codegen/emit/emit.h"
#include "tests/codegen/run_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* groups: after the pass, operands first: a product, a reduction; split: f32 products of f16 pieces, with what makes those */
typedef struct { const char *text, *groups; bool split; } Case;

static const Case cases[] = {
    {"graph g { input %a : bf16[70, 256]\ninput %b : bf16[72, 256]\n%y = relu(matmul(%a, %b, trans_b=1))\nreturn %y }", "product sum"},
    {"graph g { input %a : bf16[70, 256]\ninput %b : bf16[256, 72]\n%y = matmul(%a, %b, dtype=f32)\nreturn %y }", "product sum"},
    {"graph g { input %a : f16[256, 72]\ninput %b : f16[256, 80]\n%y = matmul(%a, %b, trans_a=1)\nreturn %y }", "product sum"},
    {"graph g { input %a : f16[256, 72]\ninput %b : f16[80, 256]\n%y = matmul(%a, %b, trans_a=1, trans_b=1)\nreturn %y }", "product sum"},
    /* three pieces and a rest, whose product adds the others' sum in its epilogue */
    {"graph g { input %a : bf16[70, 232]\nparam %b : bf16[72, 232]\nparam %c : bf16[72]\n%y = silu(linear(%a, %b, %c))\nreturn %y }",
     "product sum product"},
    /* reductions behind the sum, and a residual */
    {"graph g { input %a : bf16[66, 256]\nparam %b : bf16[128, 256]\ninput %r : bf16[66, 128]\nparam %g : bf16[128]\n"
     "%h = add(linear(%a, %b), %r)\n%y = rms_norm(%h, %g, eps=1e-6)\nreturn %y, %h }", "product sum sum"},
    {"graph g { input %a : bf16[3, 40, 192]\nparam %b : bf16[128, 192]\n%y = linear(%a, %b)\nreturn %y }", "product sum"},
    {"graph g { input %a : f32[70, 256]\nparam %b : f32[72, 256]\nparam %c : f32[72]\n%y = gelu(linear(%a, %b, %c))\nreturn %y }", "sum product sum", true},
    {"graph g { input %a : f32[70, 301]\nparam %b : f32[67, 301]\n%y = linear(%a, %b)\nreturn %y }", NULL, true},
    {"graph g { input %a : f32[70, 256]\ninput %b : f32[256, 72]\n%y = matmul(%a, %b)\nreturn %y }", NULL, true},
};

static Groups *groups_of(Context *cx, const Case *c)
{
    Graph *g = graph_parse(cx, source_from_text(cx->arena, "test", c->text));
    CodegenOptions o = {.fuse = true, .emitter = EMITTER_NVRTC};
    PassOptions po = {.verify = true, .units = 4, .split_depth = 64, .f16_products = c->split, .split_work = 1,
                      .numerics = {NUM_FP32, NUM_FP32, NUM_FP32, 0}};
    if (!g || !machine_cuda(cx, "sm_90a", &o.machine) || !pipeline_run(g, &po, NULL))
        return NULL;
    uint32_t n;
    ChoiceInfo *list = choices_list(g, cx->scratch, &n);
    ChoicePick *pick = arena_new_array(cx->scratch, ChoicePick, n + 1);
    for (uint32_t i = 0; i < n; i++)
        pick[i] = (ChoicePick){list[i].id, 1};
    return groups_form(cx, choices_resolve(g, pick, n), &o);
}

static void groups(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Context *cx = context_new();
        Groups *gs = groups_of(cx, &cases[i]);
        assert_non_null(gs);
        StrBuf b = strbuf_new(cx->arena);
        for (uint32_t k = 0; k < gs->n; k++)
            strbuf_printf(&b, "%s%s", k ? " " : "", gs->g[k]->matmul ? "product" : gs->g[k]->reduces.n ? "sum" : "other");
        if (cases[i].groups && strcmp(b.text, cases[i].groups) != 0)
            fail_msg("%s\nby %s", cases[i].text, b.text);
        context_free(cx);
    }
}

static void run_all(const char *kind, const char *arch, uint64_t picks)
{
    int failed = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        RunOptions o = {.fuse = true, .sim = true, .passes = true, .split_k = 4, .split = true, .kind = kind, .arch = arch, .picks = picks};
        failed += !run_graph(cases[i].text, &o, 31 + i);
    }
    assert_int_equal(failed, 0);
}

static void on_tensor_cores(void **s) { (void)s; run_all("gemm", NULL, 0); }
static void in_fewer_pieces(void **s) { (void)s; run_all("gemm", NULL, 1); }
static void without_wgmma(void **s) { (void)s; run_all("gemm", "sm_80", 0); }

static void on_the_cpu(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(run_graph(cases[i].text, &(RunOptions){.fuse = true, .passes = true, .split_k = 4, .split = cases[i].split}, 7 + i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(on_the_cpu), cmocka_unit_test(groups), cmocka_unit_test(on_tensor_cores),
                                       cmocka_unit_test(in_fewer_pieces), cmocka_unit_test(without_wgmma)};
    const char *why;
    if (!nvrtc_available(&why)) {
        printf("SKIP: %s\n", why);
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
