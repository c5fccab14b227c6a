/* One product whose parts go different ways (codegen/group_share.c), and products that are read at several places of a row
 * (matmul_rows.c): the groups that come out, and what they compute as kernels of kind gemm and as kernels behind a product, on the
 * simulator against the evaluator. */
#include "codegen/emit/emit.h"
#include "tests/codegen/run_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

typedef struct { const char *text; uint32_t groups, members, outputs; } Case;        /* of the group with the product */

#define STACKED_BESIDE(rows, columns, more) \
    "graph g { input %x : bf16[" rows ", 64]\nparam %w : bf16[" columns ", 64]\n" more "%h = linear(%x, %w)\n"
#define STACKED(rows, columns) STACKED_BESIDE(rows, columns, "")
#define HEADS(name, start, heads, width) \
    "%" name "_h = permute(reshape(slice(%h, axis=2, start=" start ", size=" width "), shape=[2, 70, " heads "]), perm=[0, 2, 1, 3])\n"

static const Case cases[] = {
    /* before attention: norms of heads and rotations of two parts, a third one as it is, each in a layout of its own */
    {STACKED_BESIDE("2, 70", "512", "input %c : bf16[2, 70, 64]\ninput %s : bf16[2, 70, 64]\nparam %g : bf16[64]\nparam %f : bf16[64]\n")
     HEADS("q", "0", "4, 64", "256") HEADS("k", "256", "2, 64", "128") HEADS("v", "384", "2, 64", "128")
     "%d = unsqueeze(%c, axis=1)\n%t = unsqueeze(%s, axis=1)\n%q = rope(rms_norm_rounded(%q_h, %g, eps=1e-6), %d, %t)\n"
     "%k = rope(rms_norm_rounded(%k_h, %f, eps=1e-6), %d, %t)\nreturn %q, %k, %v_h }", 1, 3, 3},
    /* rotations without norms, in rows of 32; the columns behind them are read by nobody */
    {STACKED_BESIDE("2, 70", "288", "input %c : bf16[2, 70, 32]\ninput %s : bf16[2, 70, 32]\n")
     HEADS("q", "0", "4, 32", "128") HEADS("k", "128", "2, 32", "64")
     "%d = unsqueeze(%c, axis=1)\n%t = unsqueeze(%s, axis=1)\n%q = rope(%q_h, %d, %t)\n%k = rope(%k_h, %d, %t)\nreturn %q, %k }", 1, 2, 2},
    /* one rotation alone, rows of 128, and neighbours in pairs */
    {STACKED_BESIDE("72", "256", "input %c : bf16[72, 1, 128]\ninput %s : bf16[72, 1, 128]\n") "%q = reshape(%h, shape=[72, 2, 128])\n"
     "%y = rope(%q, %c, %s)\nreturn %y }", 1, 0, 1},
    {STACKED_BESIDE("72", "128", "input %c : bf16[72, 1, 32, 1]\ninput %s : bf16[72, 1, 32, 1]\n") "%q = reshape(%h, shape=[72, 2, 32, 2])\n"
     "%a = slice(%q, axis=3, start=0, size=1)\n%b = slice(%q, axis=3, start=1, size=1)\n"
     "%r = concat(sub(mul(%a, %c), mul(%b, %s)), add(mul(%a, %s), mul(%b, %c)), axis=3)\n%y = permute(%r, perm=[0, 1, 3, 2])\nreturn %y }",
     1, 0, 1},
    /* a row turned round; a softmax beside what it was made of, turned */
    {STACKED("40", "128") "%q = reshape(%h, shape=[40, 4, 32])\n%y = add(%q, flip(%q, axes=[2]))\nreturn %y }", 1, 0, 1},
    {STACKED("40", "128") "%q = reshape(%h, shape=[40, 4, 32])\n%y = softmax(%q, axis=2)\n%z = permute(%q, perm=[1, 2, 0])\nreturn %y, %z }",
     1, 2, 2},
    /* two orders; a part and the whole; parts of which one ends anywhere; of which one begins anywhere (no) */
    {STACKED("40", "72") "%y = tanh(permute(%h, perm=[1, 0]))\n%z = relu(%h)\nreturn %y, %z }", 1, 2, 2},
    {STACKED("40", "96") "%y = tanh(slice(%h, axis=1, start=32, size=40))\n%z = relu(%h)\nreturn %y, %z }", 1, 2, 2},
    {STACKED("40", "100") "%y = tanh(slice(%h, axis=1, start=64, size=36))\n%z = relu(slice(%h, axis=1, start=0, size=64))\nreturn %y, %z }",
     1, 2, 2},
    {STACKED("40", "100") "%y = tanh(slice(%h, axis=1, start=60, size=40))\n%z = relu(slice(%h, axis=1, start=0, size=60))\nreturn %y, %z }",
     3, 0, 1},
    /* parts of one extent are one group as they were; the product is wanted itself (no) */
    {STACKED("40", "128") "%y = tanh(slice(%h, axis=1, start=64, size=64))\n%z = relu(slice(%h, axis=1, start=0, size=64))\nreturn %y, %z }",
     1, 0, 2},
    {STACKED("40", "128") "%y = tanh(permute(%h, perm=[1, 0]))\n%z = reshape(%h, shape=[40, 4, 32])\nreturn %y, %z, %h }", 3, 0, 1},
    /* one is made of the other: kernels after each other */
    {STACKED("64", "64") "%y = softmax(reshape(%h, shape=[64, 2, 32]), axis=2)\n%t = reduce_sum(cast(%y, dtype=f32), axes=[0])\n"
     "%u = mul(cast(permute(%h, perm=[1, 0]), dtype=f32), reshape(%t, shape=[64, 1]))\nreturn %y, %u }", 3, 0, 2},
    /* what looks like a rotation, but goes on beyond the row (no) */
    {STACKED("40", "128") "%t = pad(slice(%h, axis=1, start=16, size=112), axis=1, low=0, high=16)\n%a = reshape(%h, shape=[40, 4, 32])\n"
     "%y = add(%a, reshape(%t, shape=[40, 4, 32]))\nreturn %y }", 2, 0, 1},
    /* half of a single row */
    {"graph g { input %x : bf16[1, 64]\nparam %w : bf16[128, 64]\n%h = linear(%x, %w)\n"
     "%y = softmax(reshape(slice(%h, axis=1, start=0, size=64), shape=[2, 32]), axis=1)\nreturn %y }", 2, 0, 1},
    /* batches */
    {"graph g { input %a : bf16[3, 40, 64]\ninput %b : bf16[3, 96, 64]\n%h = matmul(%a, %b, trans_b=1)\n%q = slice(%h, axis=2, start=0, size=64)\n"
     "%v = slice(%h, axis=2, start=64, size=32)\n%y = softmax(reshape(%q, shape=[3, 40, 2, 32]), axis=3)\n%z = permute(%v, perm=[0, 2, 1])\n"
     "return %y, %z }", 1, 2, 2},
};

static Groups *groups_of(Context *cx, const char *text)
{
    Graph *g = graph_parse(cx, source_from_text(cx->arena, "test", text));
    CodegenOptions o = {.fuse = true, .emitter = EMITTER_NVRTC};
    return g && machine_cuda(cx, "sm_90a", &o.machine) ? groups_form(cx, g, &o) : NULL;
}

static void groups(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Context *cx = context_new();
        Groups *gs = groups_of(cx, cases[i].text);
        assert_non_null(gs);
        const Group *product = NULL;
        for (uint32_t k = 0; k < gs->n && !product; k++)
            product = gs->g[k]->matmul ? gs->g[k] : product;
        bool same = product && gs->n == cases[i].groups && product->members.n == cases[i].members && product->outputs.n == cases[i].outputs;
        for (uint32_t k = 0; !same && k < gs->n; k++)
            fprintf(stderr, "%s\n(%s)\n\n", gs->g[k]->text, gs->g[k]->why_not ? gs->g[k]->why_not : "");
        if (!same)
            fail_msg("%s\n%u groups, %u members, %u outputs", cases[i].text, gs->n, product ? product->members.n : 0, product ? product->outputs.n : 0);
        context_free(cx);
    }
}

static void run_all(const char *kind, uint32_t schedule, const char *arch)
{
    RunOptions o = {.fuse = true, .sim = true, .kind = kind, .other_kinds = true, .schedule = schedule, .arch = arch};
    int failed = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        failed += !run_graph(cases[i].text, &o, 57 + i);
    assert_int_equal(failed, 0);
}

/* One plan for any number of rows. */
static void symbolic_rows(void **state)
{
    (void)state;
    static const int64_t rows[] = {1, 70, 150};
    static const char text[] =
        "graph g { dim S in [1, 4096]\ninput %x : bf16[1, S, 64]\nparam %w : bf16[192, 64]\ninput %c : bf16[1, 1, S, 64]\ninput %s : bf16[1, 1, S, 64]\n"
        "%h = linear(%x, %w)\n%q = permute(reshape(slice(%h, axis=2, start=0, size=128), shape=[1, S, 2, 64]), perm=[0, 2, 1, 3])\n"
        "%v = permute(reshape(slice(%h, axis=2, start=128, size=64), shape=[1, S, 1, 64]), perm=[0, 2, 1, 3])\n"
        "%y = rope(rms_norm(%q, eps=1e-6), %c, %s)\nreturn %y, %v }";
    RunOptions o = {.fuse = true, .sim = true, .kind = "gemm", .symbol = rows, .n_symbol = 3};
    assert_true(run_graph(text, &o, 7));
}

static void in_the_epilogue(void **s) { (void)s; run_all("gemm", 0, NULL); }
static void other_schedules(void **s) { (void)s; run_all("gemm", 5, NULL); }
static void without_wgmma(void **s) { (void)s; run_all("gemm", 0, "sm_80"); }
static void behind_the_library(void **s) { (void)s; run_all("library", 0, NULL); }

int main(void)
{
    const char *why;
    if (!nvrtc_available(&why)) {
        printf("SKIP: %s\n", why);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups), cmocka_unit_test(in_the_epilogue), cmocka_unit_test(other_schedules), cmocka_unit_test(without_wgmma),
        cmocka_unit_test(behind_the_library), cmocka_unit_test(symbolic_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
