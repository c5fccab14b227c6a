/* Reductions whose elements are read more than once: columns (kinds/column.c) held in registers, by one block or by a cluster, or read again,
 * in every schedule; rows (kinds/row.c) that a cluster holds. Their kernel IR interpreted (simulate.h), and as the PTX of both emitters on the
 * simulator. */
#include "codegen/emit/emit.h"
#include "tests/codegen/run_graph.h"
#include "tests/codegen/simulate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Columns that are read more than once: pieces of f32 numbers, a softmax, a norm of one or two dims, two inputs; columns of 1, of a prime, of more
 * rows than one block holds; that no vector divides, and in which nothing but the reductions is stored. */
#define PIECES(shape, line) \
    "graph pieces { input %x : f32[" shape "]\n %q = maximum(pow2_floor(reduce_max(abs(%x), axes=[1])), 1e-30)\n" \
    " %s = mul(%x, expand(reshape(div(16384, %q), shape=[" line "]), shape=[" shape "]))\n %hi = cast(%s, dtype=f16)\n" \
    " %lo = cast(mul(sub(%s, cast(%hi, dtype=f32)), 2048), dtype=f16)\n %inv = mul(%q, 0.00006103515625)\n return %hi, %lo, %inv }"
static const char *const columns[] = {
    PIECES("2, 300, 136", "2, 1, 136"),
    PIECES("3, 1, 100", "3, 1, 100"),
    PIECES("1, 131, 277", "1, 1, 277"),
    PIECES("2, 64, 2", "2, 1, 2"),
    PIECES("1, 530, 264", "1, 1, 264"),
    "graph column_softmax { input %x : f32[2, 97, 134]\n %y = softmax(%x, axis=1)\n return %y }",
    "graph column_norm { input %x : bf16[2, 80, 3, 48]\n %m = mean(mul(%x, %x), axes=[1], keepdims=1)\n"
    " %y = div(%x, expand(sqrt(add(%m, 1e-5)), shape=[2, 80, 3, 48]))\n return %y }",
    "graph two_dims { input %x : f32[4, 50, 268]\n input %r : f32[4, 50, 268]\n %h = add(%x, %r)\n %m = mean(%h, axes=[0, 1], keepdims=1)\n"
    " %d = sub(%h, expand(%m, shape=[4, 50, 268]))\n %v = mean(mul(%d, %d), axes=[0, 1], keepdims=1)\n"
    " %y = mul(%d, expand(rsqrt(add(%v, 1e-5)), shape=[4, 50, 268]))\n return %y, %v }",
    "graph variance { input %x : f32[3, 200, 90]\n %m = mean(%x, axes=[1], keepdims=1)\n %d = sub(%x, expand(%m, shape=[3, 200, 90]))\n"
    " %v = mean(mul(%d, %d), axes=[1])\n return %v }",
};
enum { N_COLUMNS = sizeof columns / sizeof *columns };

static void interpreted(void **s)
{
    (void)s;
    int failed = 0;
    for (size_t i = 0; i < N_COLUMNS; i++)
        for (uint32_t schedule = i % 3; schedule < 16; schedule += 3)
            failed += !simulate_graph(columns[i], &(SimulateOptions){.arch = schedule % 3 == 2 ? "sm_80" : "sm_90a", .kind = "column",
                                                                     .schedule = schedule}, 31 + i);
    assert_int_equal(failed, 0);
}

static void as_ptx(void **s)
{
    (void)s;
    int failed = 0;
    bool nvrtc = nvrtc_available(NULL);
    for (size_t i = 0; i < N_COLUMNS; i++)
        for (uint32_t schedule = 0; schedule < 12; schedule += 3) {
            RunOptions o = {.fuse = true, .sim = true, .kind = "column", .schedule = schedule + (uint32_t)i % 3, .llvm = !nvrtc || schedule % 2};
            failed += !run_graph(columns[i], &o, 41 + i);
        }
    assert_int_equal(failed, 0);
}

/* Long rows; parts that end before the row does, of one element, of none; two results, one of them a value a row. */
static const char *const rows[] = {
    "graph long_softmax { input %x : f32[2, 12289]\n %y = softmax(%x)\n return %y }",
    "graph long_norm { input %x : f32[3, 33000]\n input %w : f32[33000]\n %y = rms_norm(%x, %w)\n return %y }",
    "graph long_residual { input %x : bf16[1, 40000]\n input %r : bf16[1, 40000]\n %h = add(%x, %r)\n %y = layer_norm(%h)\n return %h, %y }",
    "graph long_variance { input %x : f32[2, 8209]\n %d = sub(%x, expand(mean(%x, axes=[1], keepdims=1), shape=[2, 8209]))\n"
    " %v = mean(mul(%d, %d), axes=[1])\n return %d, %v }",
};

static void rows_of_clusters(void **s)
{
    (void)s;
    int failed = 0;
    uint32_t with = 0;
    bool nvrtc = nvrtc_available(NULL);
    for (uint32_t i = 0; i < 3 * sizeof rows / sizeof *rows; i++)
        for (uint32_t schedule = 0; schedule < 2; schedule++) {             /* in registers, in shared memory */
            RunOptions o = {.fuse = true, .sim = true, .kind = "row", .key = "cluster", .value = 2 << i % 3, .with = &with,
                            .schedule = i % 3 + 2 * schedule, .llvm = !nvrtc || (i + schedule) % 2};
            failed += !run_graph(rows[i / 3], &o, 71 + i);
        }
    assert_int_equal(failed, 0);
    assert_int_equal(with, 6 * sizeof rows / sizeof *rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(interpreted), cmocka_unit_test(as_ptx), cmocka_unit_test(rows_of_clusters)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
