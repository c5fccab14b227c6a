/* Products of few tiles with a long k, whose tiles blocks of a cluster share (schedules of gemm with `splits`): on the simulator against the
 * evaluator, and where the model prefers them. */
#include "codegen/emit/emit.h"
#include "tests/codegen/run_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *const long_sums[] = {
    "graph g { input %x : bf16[72, 1096]\nparam %w : bf16[96, 1096]\nparam %b : bf16[96]\n%h = linear(%x, %w, %b)\n%y = gelu(%h)\nreturn %y, %h }",
    "graph g { input %x : bf16[40, 1024]\nparam %w : bf16[192, 1024]\n%h = linear(%x, %w)\n%g = slice(%h, axis=1, start=0, size=96)\n"
    "%u = slice(%h, axis=1, start=96, size=96)\n%y = mul(silu(%g), %u)\nreturn %y }",
    "graph g { input %x : bf16[40, 1024]\nparam %w : bf16[128, 1024]\nparam %g : bf16[32]\n%h = linear(%x, %w)\n%q = reshape(%h, shape=[40, 4, 32])\n"
    "%n = rms_norm(%q, %g, eps=1e-6)\nreturn %n }",
    "graph g { input %a : f16[2, 1032, 40]\ninput %b : f16[2, 1032, 48]\n%c = matmul(%a, %b, trans_a=1)\n%y = mul(%c, 2.0)\nreturn %y }",
};

static void shared_sums(void **s)
{
    (void)s;
    static const struct { int64_t splits; uint32_t rank; } schedules[] = {{2, 0}, {2, 1}, {4, 0}};
    static const int64_t rows[] = {0, 1, 70};
    int failed = 0;
    uint32_t with = 0;
    for (size_t k = 0; k < sizeof schedules / sizeof *schedules; k++) {
        RunOptions o = {.fuse = true, .sim = true, .kind = "gemm", .schedule = schedules[k].rank, .key = "splits", .value = schedules[k].splits, .with = &with};
        for (size_t i = 0; i < sizeof long_sums / sizeof *long_sums; i++)
            failed += !run_graph(long_sums[i], &o, 57 + i);
        o.symbol = rows, o.n_symbol = 3;
        failed += !run_graph("graph g { dim S in [0, 128]\ninput %x : bf16[S, 1024]\nparam %w : bf16[72, 1024]\n%y = gelu(linear(%x, %w))\nreturn %y }", &o, 7);
    }
    assert_int_equal(failed, 0);
    assert_int_equal(with, 3 * (sizeof long_sums / sizeof *long_sums + 1));
}

static void shares_are_preferred(void **state)
{
    (void)state;
    static const struct { const char *rows, *columns, *depth; int64_t least; } sizes[] = {
        {"128", "2048", "6144", 2}, {"256", "256", "131072", 8}, {"4096", "4096", "4096", 1},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        Context *cx = context_new();
        const char *text = arena_printf(cx->arena, "graph g { input %%x : bf16[%s, %s]\nparam %%w : bf16[%s, %s]\n%%y = relu(linear(%%x, %%w))\nreturn %%y }",
                                        sizes[i].rows, sizes[i].depth, sizes[i].columns, sizes[i].depth);
        Graph *g = graph_parse(cx, source_from_text(cx->arena, "test", text));
        CodegenOptions o = {.fuse = true, .emitter = EMITTER_NVRTC, .no_code = true};
        assert_true(g && machine_cuda(cx, "sm_90a", &o.machine));
        Groups *gs = groups_form(cx, g, &o);
        uint32_t n;
        Schedule *s = gs && gs->n == 1 ? group_space(cx, gs->g[0], &o, cx->scratch, &n) : NULL;
        assert_true(s && n && !strcmp(s->kind, "gemm"));
        int64_t splits = schedule_get(s, "splits", 1);
        assert_true(sizes[i].least > 1 ? splits >= sizes[i].least : splits == 1);
        context_free(cx);
    }
}

int main(void)
{
    const char *why;
    if (!nvrtc_available(&why)) {
        printf("SKIP: %s\n", why);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(shares_are_preferred), cmocka_unit_test(shared_sums)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
