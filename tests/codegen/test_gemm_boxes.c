/* Products whose results are stored in boxes by the copy engine (bulk=1), as graphs on the simulator, with its checker on: against the
 * evaluator. test_gemm_template.c has the layouts. */
#include "codegen/emit/emit.h"
#include "tests/codegen/run_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* Outputs whose rows the copy engine can store: of every type; bias; a residual; several; two parts; batches; rows in two dims; extents
 * that no tile and no piece divides, but for 16 bytes */
static const char *const boxed[] = {
    "graph g { input %x : bf16[150, 96]\nparam %w : bf16[136, 96]\nparam %b : bf16[136]\n%y = gelu(linear(%x, %w, %b))\nreturn %y }",
    "graph g { input %x : f16[67, 64]\nparam %w : f16[72, 64]\n%y = linear(%x, %w)\nreturn %y }",
    "graph g { input %x : bf16[71, 64]\nparam %w : bf16[148, 64]\n%y = cast(linear(%x, %w), dtype=f32)\nreturn %y }",
    "graph g { input %x : f16[40, 2, 64]\nparam %w : f16[64, 64]\ninput %r : f32[40, 2, 64]\n%h = linear(%x, %w)\n%y = add(cast(%h, dtype=f32), %r)\nreturn %y }",
    "graph g { input %a : bf16[64, 80]\ninput %b : bf16[64, 72]\n%c = matmul(%a, %b, trans_a=1)\n%y = relu(%c)\n%z = exp(cast(neg(%c), dtype=f32))\nreturn %y, %z }",
    "graph g { input %a : bf16[3, 40, 64]\ninput %b : bf16[3, 64, 48]\n%c = matmul(%a, %b)\n%y = mul(%c, 2.0)\nreturn %y }",
    "graph g { input %a : bf16[2, 3, 40, 64]\ninput %b : bf16[1, 1, 64, 48]\n%c = matmul(%a, %b)\n%y = mul(%c, 2.0)\nreturn %y }",
    "graph g { input %x : bf16[80, 64]\nparam %w : bf16[192, 64]\n%h = linear(%x, %w)\n%g = slice(%h, axis=1, start=0, size=96)\n"
    "%u = slice(%h, axis=1, start=96, size=96)\n%y = mul(silu(%g), %u)\nreturn %y }",
    "graph g { input %x : bf16[2, 24, 64]\nparam %w : bf16[128, 64]\ninput %r : bf16[2, 24, 128]\n%y = add(linear(%x, %w), %r)\nreturn %y }",
};

/* Those that it cannot: rows of 74 bytes; another order of dims; numbers that maps do not have; reductions. */
static const char *const not_boxed[] = {
    "graph g { input %a : bf16[33, 40]\nparam %w : bf16[37, 40]\n%c = linear(%a, %w)\n%y = tanh(%c)\nreturn %y }",
    "graph g { input %x : bf16[2, 24, 64]\nparam %w : bf16[128, 64]\n%h = linear(%x, %w)\n%q = reshape(%h, shape=[2, 24, 4, 32])\n"
    "%p = permute(%q, perm=[0, 2, 1, 3])\n%y = mul(%p, 0.125)\nreturn %y }",
    "graph g { input %x : bf16[40, 64]\nparam %w : bf16[72, 64]\n%h = linear(%x, %w)\n%y = gt(%h, 0.0)\n%z = relu(%h)\nreturn %y, %z }",
    "graph g { input %x : bf16[40, 64]\nparam %w : bf16[128, 64]\n%h = linear(%x, %w)\n%q = reshape(%h, shape=[40, 2, 64])\n"
    "%n = reduce_sum(exp(cast(%q, dtype=f32)), axes=[2])\nreturn %n }",
};

static void with_bulk_stores(void **s)
{
    (void)s;
    uint32_t with = 0;
    const size_t n = sizeof boxed / sizeof *boxed;
    RunOptions o = {.fuse = true, .sim = true, .kind = "gemm", .key = "bulk", .value = 1, .with = &with};
    int failed = 0;
    for (size_t i = 0; i < n; i++)
        for (o.schedule = 0; o.schedule < 6; o.schedule += 5)
            failed += !run_graph(boxed[i], &o, 211 + i);
    assert_int_equal(failed, 0);
    assert_int_equal(with, 2 * n);
}

/* The same without; and where there can be none, no schedule has them. */
static void without_bulk_stores(void **s)
{
    (void)s;
    uint32_t without = 0, with = 0;
    const size_t n = sizeof boxed / sizeof *boxed;
    RunOptions o = {.fuse = true, .sim = true, .kind = "gemm", .key = "bulk", .value = 0, .with = &without};
    int failed = 0;
    for (size_t i = 0; i < n; i++)
        failed += !run_graph(boxed[i], &o, 211 + i);
    o.value = 1, o.with = &with;
    for (size_t i = 0; i < sizeof not_boxed / sizeof *not_boxed; i++)
        failed += !run_graph(not_boxed[i], &o, 231 + i);
    assert_int_equal(failed, 0);
    assert_int_equal(without, n);
    assert_int_equal(with, 0);
}

int main(void)
{
    const char *why;
    if (!nvrtc_available(&why)) {
        printf("SKIP: %s\n", why);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(with_bulk_stores), cmocka_unit_test(without_bulk_stores)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
