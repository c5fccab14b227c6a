/* Values that are read along another dim than they are written (kinds/transpose.c): padded rows, several results, parts of a concatenation, widths
 * that vectors divide and do not, in every schedule; their kernel IR interpreted (simulate.h), and as the PTX of both emitters. */
#include "codegen/emit/emit.h"
#include "tests/codegen/run_graph.h"
#include "tests/codegen/simulate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const char *const turned[] = {
    "graph plain { input %x : f32[33, 65]\n %z = mul(permute(%x, perm=[1, 0]), 2.0)\n return %z }",
    "graph wide { input %x : bf16[3, 72, 40]\n %y = permute(%x, perm=[0, 2, 1])\n %z = exp(%y)\n return %y, %z }",
    /* the pieces of an operand whose rows are padded, from columns of an odd length */
    "graph pieces { input %x : f32[131, 37]\n input %s : f32[37]\n %t = mul(permute(%x, perm=[1, 0]), expand(reshape(%s, shape=[37, 1]), shape=[37, 131]))\n"
    " %p = pad(%t, axis=1, high=61)\n %hi = cast(%p, dtype=f16)\n %lo = cast(mul(sub(%p, cast(%hi, dtype=f32)), 2048), dtype=f16)\n return %hi, %lo }",
    "graph padded_below { input %x : f32[2, 11, 13]\n %y = pad(pad(permute(%x, perm=[0, 2, 1]), axis=2, low=3, high=2, fill=-1), axis=1, low=1)\n return %y }",
    "graph parts { input %x : f32[20, 31]\n input %y : f32[9, 31]\n"
    " %z = concat(permute(%x, perm=[1, 0]), mul(permute(%y, perm=[1, 0]), 3.0), axis=1)\n return %z }",
    "graph beside { input %x : f32[40, 24]\n input %y : f32[24, 40]\n %z = add(permute(%x, perm=[1, 0]), %y)\n return %z }",
    "graph eights { input %x : f32[8, 8]\n %z = add(permute(%x, perm=[1, 0]), %x)\n return %z }",
};
enum { N_TURNED = sizeof turned / sizeof *turned };

static void interpreted(void **s)
{
    (void)s;
    int failed = 0;
    for (size_t i = 0; i < N_TURNED; i++)
        for (uint32_t schedule = 0; schedule < 9; schedule++)
            failed += !simulate_graph(turned[i], &(SimulateOptions){.arch = schedule % 2 ? "sm_80" : "sm_90a", .kind = "transpose",
                                                                    .schedule = schedule}, 51 + i);
    assert_int_equal(failed, 0);
}

static void as_ptx(void **s)
{
    (void)s;
    int failed = 0;
    bool nvrtc = nvrtc_available(NULL);
    for (size_t i = 0; i < N_TURNED; i++)
        for (uint32_t schedule = 0; schedule < 9; schedule += 4) {
            RunOptions o = {.fuse = true, .sim = true, .kind = "transpose", .schedule = schedule, .llvm = !nvrtc || (schedule / 4 + i) % 2};
            failed += !run_graph(turned[i], &o, 61 + i);
        }
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(interpreted), cmocka_unit_test(as_ptx)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
