/* Grouped products (rows of one matrix against several) by every kind that takes them, on the CPU and on the simulator with its checker
 * on, against the evaluator: groups drawn at random, empty ones, one with all rows, rows behind the last, ends that are none. */
#include "codegen/emit/emit.h"
#include "tests/codegen/run_graph.h"
#include "tests/codegen/simulate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

typedef struct { uint64_t seed; uint32_t at; } Dice;

static uint32_t roll(Dice *d, uint32_t sides) { return (uint32_t)(hash_mix(d->seed, d->at++) % sides); }

/* How the ends come about: sums of counts, empty groups among them, that end before, at or behind the last row; going back at times;
 * all alike; one in every step; anything at all. */
static const char *random_ends(Arena *a, Dice *d, int rows, int groups)
{
    const char *t = roll(d, 2) ? "i32" : "i64";
    int each = 2 * rows / groups + 1;
    switch (roll(d, 7)) {
    case 0: case 1: return arena_printf(a, "input %%c : %s[%d] ~ randint(0, %d)\n%%e = cumsum(%%c, axis=0)\n", t, groups, each + 1);
    case 2: return arena_printf(a, "input %%c : %s[%d] ~ randint(%d, %d)\n%%e = cumsum(%%c, axis=0)\n", t, groups, -each, 2 * each);
    case 3: return arena_printf(a, "input %%e : %s[%d] ~ constant(%d)\n", t, groups, (int)roll(d, 3) * rows / 2);
    case 6: return arena_printf(a, "input %%e : %s[%d] ~ steps(%g)\n", t, groups, (double)rows / groups);
    case 4: return arena_printf(a, "input %%c : %s[%d] ~ randint(0, 2)\n%%e = cumsum(mul(%%c, %d), axis=0)\n", t, groups, each);
    default: return arena_printf(a, "input %%e : %s[%d] ~ randint(%d, %d)\n", t, groups, -rows - 1, 2 * rows + 2);
    }
}

static char *random_grouped(Arena *a, uint64_t seed)
{
    static const int sizes[] = {1, 2, 3, 5, 7, 13, 16, 17, 31, 32, 33, 48, 64, 97}, groups[] = {1, 2, 3, 5, 8};
    static const char *const dtypes[] = {"f32", "f32", "bf16", "f16", "f64", "i32"};
    static const char *const tails[] = {"%y = add(%p, 0)", "%y = relu(%p)", "%y = add(%p, %r)", "%y = mul(add(%p, %b), 2)", "%y = abs(sub(%r, %p))"};
    Dice d = {seed, 0};
    StrBuf b = strbuf_new(a);
    int m = sizes[roll(&d, 14)], n = sizes[roll(&d, 14)], k = sizes[roll(&d, 14)], e = groups[roll(&d, 5)];
    bool tb = roll(&d, 2);
    const char *t = dtypes[roll(&d, 6)], *law = strcmp(t, "i32") ? "" : " ~ randint(-9, 9)";
    strbuf_printf(&b, "graph random { input %%x : %s[%d, %d]%s\ninput %%w : %s[%d, %d, %d]%s\n", t, m, k, law, t, e, tb ? n : k, tb ? k : n, law);
    strbuf_printf(&b, "input %%b : %s[%d]%s\ninput %%r : %s[%d, %d]%s\n%s", t, n, law, t, m, n, law, random_ends(a, &d, m, e));
    strbuf_printf(&b, "%%p = grouped_matmul(%%x, %%w, %%e, trans_b=%d)\n%s\nreturn %%y }", tb, tails[roll(&d, 5)]);
    return b.text;
}

static void on_the_cpu(void **state)
{
    int failed = 0;
    (void)state;
    for (uint64_t i = 0; i < 60; i++) {
        Arena *a = arena_new();
        RunOptions o = {.fuse = i % 5 != 0, .schedule = (uint32_t)i % 5};
        failed += !run_graph(random_grouped(a, 3000 + i), &o, i);
        arena_free(a);
    }
    assert_int_equal(failed, 0);
}

/* Kernels without tensor cores: interpreted, and as LLVM's PTX on the simulator. */
static void generic_kernels(void **state)
{
    int failed = 0;
    (void)state;
    for (uint64_t i = 0; i < 24; i++) {
        Arena *a = arena_new();
        char *text = random_grouped(a, 4000 + i);
        failed += !run_graph(text, &(RunOptions){.fuse = true, .sim = true, .schedule = (uint32_t)i % 3}, i);
        if (i % 4 == 0)
            failed += !simulate_graph(text, &(SimulateOptions){.arch = "sm_80", .kind = "matmul"}, i);
        arena_free(a);
    }
    assert_int_equal(failed, 0);
}

/* One plan for any number of rows, of none, too. */
static void symbolic_rows(void **state)
{
    static const int64_t rows[] = {0, 1, 70, 150};
    static const char text[] = "graph g { dim S in [0, 4096]\ninput %x : f32[S, 33]\nparam %w : f32[6, 40, 33]\ninput %c : i32[6] ~ randint(0, 40)\n"
                               "%y = relu(grouped_matmul(%x, %w, cumsum(%c, axis=0), trans_b=1))\nreturn %y }";
    (void)state;
    assert_true(run_graph(text, &(RunOptions){.fuse = true, .symbol = rows, .n_symbol = 4}, 7));
    assert_true(run_graph(text, &(RunOptions){.fuse = true, .sim = true, .symbol = rows, .n_symbol = 4}, 7));
}

/* ---- tensor cores ------------------------------------------------------------------------------------------------------------ */
#define ENDS(groups, law) "input %c : i32[" groups "] ~ " law "\n%e = cumsum(%c, axis=0)\n"

static const char *const graphs[] = {
    /* groups of more than a tile and of less, none, rows behind the last; weights in both orders */
    "graph g { input %x : bf16[300, 64]\nparam %w : bf16[5, 72, 64]\n" ENDS("5", "randint(0, 110)") "%y = grouped_matmul(%x, %w, %e, trans_b=1)\nreturn %y }",
    "graph g { input %x : f16[150, 96]\nparam %w : f16[9, 96, 136]\nparam %b : f16[136]\n" ENDS("9", "randint(0, 30)")
    "%y = gelu(add(grouped_matmul(%x, %w, %e), %b))\nreturn %y }",
    /* gate and up, a residual; many small groups, more than a warp finds at once; i64 */
    "graph g { input %x : bf16[90, 64]\nparam %w : bf16[40, 192, 64]\ninput %r : f32[90, 96]\ninput %c : i64[40] ~ randint(0, 6)\n"
    "%h = grouped_matmul(%x, %w, cumsum(%c, axis=0), trans_b=1)\n%g = slice(%h, axis=1, start=0, size=96)\n"
    "%u = slice(%h, axis=1, start=96, size=96)\n%y = add(cast(mul(silu(%g), %u), dtype=f32), %r)\nreturn %y }",
    /* ends that are none: back and forth, outside; all in one group; none at all */
    "graph g { input %x : bf16[200, 40]\nparam %w : bf16[7, 40, 80]\ninput %e : i32[7] ~ randint(-50, 260)\n%y = relu(grouped_matmul(%x, %w, %e))\nreturn %y }",
    "graph g { input %x : bf16[200, 64]\nparam %w : bf16[3, 80, 64]\ninput %e : i64[3] ~ constant(200)\n%y = relu(grouped_matmul(%x, %w, %e, trans_b=1))\nreturn %y }",
    "graph g { input %x : bf16[70, 64]\nparam %w : bf16[3, 80, 64]\ninput %e : i32[3] ~ constant(-1)\n%y = exp(grouped_matmul(%x, %w, %e, trans_b=1))\nreturn %y }",
    /* one group, one row, a prime of rows; one matrix for all groups; a norm along the columns */
    "graph g { input %x : bf16[1, 64]\nparam %w : bf16[1, 64, 64]\ninput %e : i32[1] ~ constant(1)\n%y = mul(grouped_matmul(%x, %w, %e, trans_b=1), 2.0)\nreturn %y }",
    "graph g { input %x : bf16[131, 64]\nparam %w : bf16[72, 64]\n" ENDS("4", "randint(0, 50)")
    "%y = tanh(grouped_matmul(%x, expand(%w, shape=[4, 72, 64]), %e, trans_b=1))\nreturn %y }",
    "graph g { input %x : bf16[70, 64]\nparam %w : bf16[3, 128, 64]\nparam %n : bf16[32]\n" ENDS("3", "randint(0, 40)")
    "%y = rms_norm(reshape(grouped_matmul(%x, %w, %e, trans_b=1), shape=[70, 4, 32]), %n, eps=1e-6)\nreturn %y }",
    /* rows that run along memory, in parts */
    "graph g { input %x : bf16[64, 136]\nparam %w : bf16[5, 64, 152]\n" ENDS("5", "randint(0, 50)")
    "%h = grouped_matmul(permute(%x, perm=[1, 0]), %w, %e)\n%y = mul(silu(slice(%h, axis=1, start=0, size=75)), slice(%h, axis=1, start=75, size=75))\nreturn %y }",
};

static void run_all(RunOptions o)
{
    int failed = 0;
    uint32_t with = 0;
    o.fuse = o.sim = true;
    o.kind = "gemm";
    o.with = &with;
    for (size_t i = 0; i < sizeof graphs / sizeof *graphs; i++)
        failed += !run_graph(graphs[i], &o, 71 + i + o.schedule);
    assert_int_equal(failed, 0);
    assert_true(!o.key || with >= sizeof graphs / sizeof *graphs - 1);
}

static void on_wgmma(void **s) { (void)s; run_all((RunOptions){.units = 3}); }
static void in_turn(void **s) { (void)s; run_all((RunOptions){.key = "pingpong", .value = 1, .units = 2}); }
static void in_clusters(void **s) { (void)s; run_all((RunOptions){.key = "cluster", .value = 2, .schedule = 4, .units = 6}); }
static void without_wgmma(void **s)
{
    (void)s;
    run_all((RunOptions){.arch = "sm_80", .units = 2});
    run_all((RunOptions){.arch = "sm_86", .schedule = 5});
}

/* Reductions of whole rows behind it, in two steps (passes/tile_reductions.c). */
static void rows_reduced_in_pieces(void **state)
{
    static const char text[] = "graph g { input %x : bf16[150, 64]\nparam %w : bf16[6, 192, 64]\n" ENDS("6", "randint(0, 50)")
                               "%h = grouped_matmul(%x, %w, %e, trans_b=1)\n%y = softmax(%h)\n%z = amax(%h, axes=[1])\nreturn %y, %z }";
    (void)state;
    assert_true(run_graph(text, &(RunOptions){.fuse = true, .sim = true, .kind = "gemm", .passes = true, .piece = 64}, 5));
}

static void symbolic_rows_on_tensor_cores(void **state)
{
    static const int64_t rows[] = {0, 1, 70, 150};
    static const char text[] = "graph g { dim S in [0, 4096]\ninput %x : bf16[S, 64]\nparam %w : bf16[6, 72, 64]\ninput %c : i32[6] ~ randint(0, 40)\n"
                               "%y = relu(grouped_matmul(%x, %w, cumsum(%c, axis=0), trans_b=1))\nreturn %y }";
    (void)state;
    for (int i = 0; i < 2; i++)
        assert_true(run_graph(text, &(RunOptions){.fuse = true, .sim = true, .arch = i ? "sm_80" : "sm_90a", .kind = "gemm",
                                                  .symbol = rows, .n_symbol = 4}, 7));
}

int main(void)
{
    const char *why;
    const struct CMUnitTest tests[] = {cmocka_unit_test(on_the_cpu), cmocka_unit_test(generic_kernels), cmocka_unit_test(symbolic_rows)};
    const struct CMUnitTest compiled[] = {cmocka_unit_test(on_wgmma), cmocka_unit_test(in_turn), cmocka_unit_test(in_clusters), cmocka_unit_test(without_wgmma),
                                          cmocka_unit_test(rows_reduced_in_pieces), cmocka_unit_test(symbolic_rows_on_tensor_cores)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (!nvrtc_available(&why))
        printf("SKIP: kernels of kind gemm: %s\n", why);
    else
        failed += cmocka_run_group_tests(compiled, NULL, NULL);
    return failed;
}
