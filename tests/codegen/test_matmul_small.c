/* Products of few rows on the tensor cores, their kernels interpreted (simulate.h): every index, mask and fragment against the
 * evaluator. */
#include "tests/codegen/simulate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int failed_over_schedules(const char *text, uint32_t schedules)
{
    int failed = 0;
    for (uint32_t i = 0; i < schedules; i++) {
        SimulateOptions o = {.arch = i % 2 ? "sm_80" : "sm_90a", .kind = "smallm", .schedule = i, .library = true};
        failed += !simulate_graph(text, &o, 11 + i);
    }
    return failed;
}

/* Weights (param), which are asked for before the kernels before this one have ended, and products of two inputs, which are not. */
static void linear(char *text, size_t cap, int m, int n, int k, bool odd)
{
    const char *t = odd ? "f16" : "bf16";
    snprintf(text, cap, "graph linear { input %%x : %s[%d, %d]\n %s %%w : %s[%d, %d]\n %%y = linear(%%x, %%w)\n return %%y }", t, m, k,
             odd ? "input" : "param", t, n, k);
}

static void rows_and_depths(void **state)
{
    static const int shapes[][3] = {{1, 16, 64}, {8, 32, 512}, {3, 17, 8}, {16, 48, 1024}, {9, 31, 328}, {5, 1, 2056}, {8, 33, 4096},
                                    {13, 70, 40}};
    int failed = 0;
    (void)state;
    for (size_t i = 0; i < 2 * sizeof shapes / sizeof *shapes; i++) {
        char text[256];
        linear(text, sizeof text, shapes[i / 2][0], shapes[i / 2][1], shapes[i / 2][2], i % 2);
        failed += failed_over_schedules(text, i < 4 ? 24 : 5);
    }
    assert_int_equal(failed, 0);
}

/* More row tiles than blocks have room at once: several rounds, the last blocks with fewer of them. */
static void several_rounds(void **state)
{
    int failed = 0;
    (void)state;
    for (int i = 0; i < 4; i++) {
        char text[256];
        linear(text, sizeof text, i < 2 ? 8 : 11, 4700, 32 * i + 24, i % 2);
        failed += failed_over_schedules(text, 6);
    }
    assert_int_equal(failed, 0);
}

/* Rows in several sets, where the weights are many enough: the interpreter is given few blocks of them. */
static void up_to_64_rows(void **state)
{
    static const int rows[] = {17, 24, 40, 64};
    int failed = 0;
    (void)state;
    for (int i = 0; i < 4; i++) {
        char text[256];
        linear(text, sizeof text, rows[i], 128 + 16 * i, 8192, i % 2);
        failed += failed_over_schedules(text, 3);
    }
    assert_int_equal(failed, 0);
}

static const char *const graphs[] = {
    "graph bias { input %x : bf16[2, 3, 64]\n input %w : bf16[48, 64]\n input %b : bf16[48]\n %y = gelu(linear(%x, %w, %b))\n return %y }",
    "graph residual { input %x : f16[4, 1, 96]\n input %w : f16[40, 96]\n input %r : f16[4, 1, 40]\n %h = add(%r, linear(%x, %w))\n"
    " %z = relu(%h)\n return %h, %z }",
    "graph swiglu { input %x : bf16[8, 1, 64]\n input %g : bf16[32, 64]\n input %u : bf16[32, 64]\n"
    " %y = mul(silu(linear(%x, %g)), linear(%x, %u))\n return %y }",
    "graph stacked { input %x : bf16[8, 1, 64]\n param %w : bf16[96, 64]\n %p = linear(%x, %w)\n"
    " %y = mul(silu(slice(%p, axis=2, size=48)), slice(%p, axis=2, start=48, size=48))\n return %y }",
    "graph narrow { input %x : bf16[2, 32]\n input %w : bf16[2, 32]\n %p = linear(%x, %w)\n"
    " %y = sub(slice(%p, axis=1, start=1, size=1), slice(%p, axis=1, size=1))\n return %y }",
    "graph part { input %x : bf16[11, 72]\n input %w : bf16[40, 72]\n %p = linear(%x, %w)\n"
    " %y = relu(slice(%p, axis=1, start=7, size=21))\n return %y }",
    "graph batched { input %a : bf16[2, 3, 7, 32]\n input %b : bf16[2, 3, 21, 32]\n %y = mul(matmul(%a, %b, trans_b=1), 0.5)\n return %y }",
    "graph shared { input %a : bf16[4, 7, 32]\n input %b : bf16[1, 21, 32]\n %y = matmul(%a, %b, trans_b=1)\n return %y }",
    "graph views { input %x : bf16[4, 3, 2, 16]\n input %w : bf16[96, 20]\n %q = slice(%x, axis=1, start=1, size=1)\n"
    " %v = permute(reshape(%w, shape=[20, 96]), perm=[1, 0])\n"
    " %y = matmul(reshape(%q, shape=[4, 32]), slice(%v, axis=0, start=32, size=32))\n return %y }",
    "graph turned { input %x : bf16[64, 5]\n input %w : bf16[24, 64]\n %y = matmul(permute(%x, perm=[1, 0]), %w, trans_b=1)\n return %y }",
};

static void epilogues_and_views(void **state)
{
    int failed = 0;
    (void)state;
    for (size_t i = 0; i < 9; i++)
        failed += failed_over_schedules(graphs[i], 5);
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_and_depths), cmocka_unit_test(several_rounds), cmocka_unit_test(up_to_64_rows),
                                       cmocka_unit_test(epilogues_and_views)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
