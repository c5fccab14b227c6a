/* Products with everything that may stand around them, as kernels of kind gemm on wgmma and on mma.sync: CUDA C by NVRTC on the simulator,
 * against the evaluator. */
#include "codegen/emit/emit.h"
#include "tests/codegen/run_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const char *const graphs[] = {
    /* alone; bias and gelu; a residual in another type */
    "graph g { input %x : bf16[72, 64]\nparam %w : bf16[96, 64]\n%y = linear(%x, %w)\nreturn %y }",
    "graph g { input %x : bf16[150, 96]\nparam %w : bf16[136, 96]\nparam %b : bf16[136]\n%h = linear(%x, %w, %b)\n%y = gelu(%h)\nreturn %y }",
    "graph g { input %x : f16[40, 2, 64]\nparam %w : f16[64, 64]\ninput %r : f32[40, 2, 64]\n%h = linear(%x, %w)\n%y = add(cast(%h, dtype=f32), %r)\nreturn %y }",
    /* both operands in the other order; several outputs; columns that are no multiple of a vector */
    "graph g { input %a : bf16[64, 80]\ninput %b : bf16[64, 72]\n%c = matmul(%a, %b, trans_a=1)\n%y = relu(%c)\n%z = exp(neg(%c))\nreturn %y, %z }",
    "graph g { input %a : bf16[33, 40]\nparam %w : bf16[37, 40]\n%c = linear(%a, %w)\n%y = tanh(%c)\nreturn %y }",
    /* batches, one of them broadcast; one row; one column */
    "graph g { input %a : bf16[3, 40, 64]\ninput %b : bf16[3, 64, 48]\n%c = matmul(%a, %b)\n%y = mul(%c, 2.0)\nreturn %y }",
    "graph g { input %a : bf16[3, 40, 64]\ninput %b : bf16[1, 64, 48]\n%c = matmul(%a, %b)\n%y = mul(%c, 2.0)\nreturn %y }",
    "graph g { input %a : bf16[1, 64]\nparam %w : bf16[200, 64]\n%c = linear(%a, %w)\n%y = mul(%c, 3.0)\nreturn %y }",
    /* two parts of one product: gate and up */
    "graph g { input %x : bf16[80, 64]\nparam %w : bf16[192, 64]\n%h = linear(%x, %w)\n%g = slice(%h, axis=1, start=0, size=96)\n"
    "%u = slice(%h, axis=1, start=96, size=96)\n%y = mul(silu(%g), %u)\nreturn %y }",
    "graph g { input %x : bf16[70, 64]\nparam %w : bf16[64, 152]\n%h = matmul(%x, %w)\n%g = slice(%h, axis=1, start=0, size=75)\n"
    "%u = slice(%h, axis=1, start=75, size=75)\n%y = mul(silu(%g), %u)\nreturn %y }",
    /* heads: another order of dims on the way out */
    "graph g { input %x : bf16[2, 24, 64]\nparam %w : bf16[128, 64]\n%h = linear(%x, %w)\n%q = reshape(%h, shape=[2, 24, 4, 32])\n"
    "%p = permute(%q, perm=[0, 2, 1, 3])\n%y = mul(%p, 0.125)\nreturn %y }",
    /* reductions along short pieces of its rows: a norm of heads, and sums that are all that is stored */
    "graph g { input %x : bf16[40, 64]\nparam %w : bf16[128, 64]\nparam %g : bf16[32]\n%h = linear(%x, %w)\n%q = reshape(%h, shape=[40, 4, 32])\n"
    "%n = rms_norm(%q, %g, eps=1e-6)\nreturn %n }",
    "graph g { input %x : bf16[40, 64]\nparam %w : bf16[128, 64]\n%h = linear(%x, %w)\n%q = reshape(%h, shape=[40, 2, 64])\n"
    "%n = reduce_sum(exp(cast(%q, dtype=f32)), axes=[2])\nreturn %n }",
};

/* f32, as products of f16 pieces: two inputs; frozen weights behind what makes the activation; both orders along memory; ragged k */
static const char *const split_graphs[] = {
    "graph g { input %a : f32[72, 64]\ninput %b : f32[80, 64]\n%c = matmul(%a, %b, trans_b=1)\n%y = tanh(%c)\nreturn %y }",
    "graph g { input %x : f32[70, 64]\nparam %g : f32[64]\nparam %w : f32[136, 64]\nparam %b : f32[136]\n%n = rms_norm(%x, %g, eps=1e-6)\n"
    "%h = linear(%n, %w, %b)\n%y = gelu(%h)\nreturn %y }",
    "graph g { input %a : f32[48, 64]\ninput %b : f32[48, 72]\n%y = matmul(%a, %b, trans_a=1)\nreturn %y }",
    "graph g { input %x : f32[67, 45]\nparam %w : f32[71, 45]\ninput %r : f32[67, 71]\n%h = linear(%x, %w)\n%y = add(%h, %r)\nreturn %y }",
    "graph g { input %a : f32[2, 64, 40]\ninput %b : f32[2, 72, 40]\n%y = matmul(%a, %b, trans_b=1)\nreturn %y }",
};

static void run_all(const char *arch, uint32_t schedule)
{
    RunOptions o = {.fuse = true, .sim = true, .arch = arch, .kind = "gemm", .schedule = schedule};
    int failed = 0;
    for (size_t i = 0; i < sizeof graphs / sizeof *graphs; i++)
        failed += !run_graph(graphs[i], &o, 31 + i);
    o.passes = o.split = true;
    for (size_t i = 0; i < sizeof split_graphs / sizeof *split_graphs; i++)
        failed += !run_graph(split_graphs[i], &o, 61 + i);
    assert_int_equal(failed, 0);
}

static void first_schedules(void **s) { (void)s; run_all("sm_90a", 0); }
static void fourth_schedules(void **s) { (void)s; run_all("sm_90a", 3); }
static void without_wgmma(void **s) { (void)s; run_all("sm_80", 0); }
static void with_less_memory(void **s) { (void)s; run_all("sm_86", 5); }

int main(void)
{
    const char *why;
    if (!nvrtc_available(&why)) {
        printf("SKIP: %s\n", why);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(first_schedules), cmocka_unit_test(fourth_schedules), cmocka_unit_test(without_wgmma),
                                       cmocka_unit_test(with_less_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
