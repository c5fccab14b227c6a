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
 * all alike; anything at all. */
static const char *random_ends(Arena *a, Dice *d, int rows, int groups)
{
    const char *t = roll(d, 2) ? "i32" : "i64";
    int each = 2 * rows / groups + 1;
    switch (roll(d, 6)) {
    case 0: case 1: return arena_printf(a, "input %%c : %s[%d] ~ randint(0, %d)\n%%e = cumsum(%%c, axis=0)\n", t, groups, each + 1);
    case 2: return arena_printf(a, "input %%c : %s[%d] ~ randint(%d, %d)\n%%e = cumsum(%%c, axis=0)\n", t, groups, -each, 2 * each);
    case 3: return arena_printf(a, "input %%e : %s[%d] ~ constant(%d)\n", t, groups, (int)roll(d, 3) * rows / 2);
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(on_the_cpu), cmocka_unit_test(generic_kernels), cmocka_unit_test(symbolic_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
