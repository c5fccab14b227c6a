/* Products with everything that may stand around them, as kernels of kind gemm on wgmma and on mma.sync: CUDA C by NVRTC on the simulator,
 * against the evaluator. */
#include "codegen/emit/emit.h"
#include "tests/codegen/run_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

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

/* What is easily got wrong; some of it is for other kinds. Sums of no terms and of one; few columns; one row, across memory */
static const char *const odd[] = {
    "graph g { input %a : bf16[0, 64]\ninput %b : bf16[0, 72]\n%c = matmul(%a, %b, trans_a=1)\n%y = add(%c, 1.0)\nreturn %y }",
    "graph g { input %x : bf16[70, 8]\ninput %w : bf16[1, 96]\n%a = slice(%x, axis=1, start=0, size=1)\n%y = tanh(matmul(%a, %w))\nreturn %y }",
    "graph g { input %a : bf16[3, 72]\ninput %b : bf16[3, 96]\n%y = tanh(matmul(%a, %b, trans_a=1))\nreturn %y }",
    "graph g { input %x : bf16[72, 64]\ninput %w : bf16[64, 8]\n%b = slice(%w, axis=1, start=0, size=5)\n%y = matmul(%x, %b, dtype=f32)\nreturn %y }",
    "graph g { input %x : bf16[64, 8]\ninput %w : bf16[64, 72]\n%a = permute(slice(%x, axis=1, start=0, size=1), perm=[1, 0])\n"
    "%y = tanh(matmul(%a, %w))\nreturn %y }",
    /* slices that begin at 16 bytes and elsewhere, with ragged extents both ways */
    "graph g { input %x : bf16[70, 72]\ninput %w : bf16[93, 72]\n%a = slice(%x, axis=1, start=8, size=45)\n"
    "%b = slice(slice(%w, axis=1, start=16, size=45), axis=0, start=3, size=90)\n%y = tanh(matmul(%a, %b, trans_b=1))\nreturn %y }",
    "graph g { input %x : f16[64, 104]\ninput %w : f16[64, 200]\n%a = slice(%x, axis=1, start=16, size=71)\n"
    "%b = slice(%w, axis=1, start=8, size=90)\n%y = matmul(%a, %b, trans_a=1, dtype=f32)\nreturn %y }",
    "graph g { input %x : bf16[72, 80]\nparam %w : bf16[96, 64]\n%a = slice(%x, axis=1, start=4, size=64)\n%y = relu(linear(%a, %w))\nreturn %y }",
    /* parts that overlap, begin anywhere, end at the end, come in another order */
    "graph g { input %x : bf16[80, 64]\nparam %w : bf16[192, 64]\n%h = linear(%x, %w)\n%g = slice(%h, axis=1, start=3, size=96)\n"
    "%u = slice(%h, axis=1, start=32, size=96)\n%y = mul(silu(%g), %u)\nreturn %y }",
    "graph g { input %x : bf16[80, 64]\nparam %w : bf16[64, 192]\n%h = matmul(%x, %w)\n%g = slice(%h, axis=1, start=121, size=71)\n"
    "%u = slice(%h, axis=1, start=50, size=71)\n%y = mul(silu(%g), %u)\nreturn %y }",
    /* batches of one operand in every other way; heads on the way in */
    "graph g { input %a : bf16[40, 64]\ninput %b : bf16[3, 64, 48]\n%y = tanh(matmul(%a, %b))\nreturn %y }",
    "graph g { input %a : bf16[2, 1, 40, 64]\ninput %b : bf16[2, 3, 64, 48]\n%y = tanh(matmul(%a, %b))\nreturn %y }",
    "graph g { input %x : bf16[2, 40, 3, 64]\ninput %z : bf16[2, 48, 3, 64]\n%q = permute(%x, perm=[0, 2, 1, 3])\n"
    "%k = permute(%z, perm=[0, 2, 3, 1])\n%y = mul(matmul(%q, %k), 0.125)\nreturn %y }",
    /* rows of reductions from 2 to 128 columns, no whole number of which is staged at the end */
    "graph g { input %x : bf16[40, 64]\nparam %w : bf16[70, 64]\n%h = linear(%x, %w)\n%q = reshape(%h, shape=[40, 35, 2])\n"
    "%y = reduce_sum(cast(%q, dtype=f32), axes=[2])\nreturn %y }",
    "graph g { input %x : bf16[33, 64]\nparam %w : bf16[136, 64]\n%h = linear(%x, %w)\n%q = reshape(%h, shape=[33, 17, 8])\n"
    "%y = softmax(%q)\n%z = reduce_max(%q, axes=[2])\nreturn %y, %z }",
    "graph g { input %x : bf16[33, 64]\nparam %w : bf16[384, 64]\n%h = linear(%x, %w)\n%q = reshape(%h, shape=[33, 3, 128])\n"
    "%y = permute(rms_norm(%q, eps=1e-6), perm=[1, 0, 2])\nreturn %y }",
    /* outputs in two orders; the product at two places at once */
    "graph g { input %x : bf16[40, 64]\nparam %w : bf16[72, 64]\n%h = linear(%x, %w)\n%y = tanh(permute(%h, perm=[1, 0]))\n%z = relu(%h)\nreturn %y, %z }",
    "graph g { input %x : bf16[72, 64]\nparam %w : bf16[72, 64]\n%h = linear(%x, %w)\n%y = add(%h, permute(%h, perm=[1, 0]))\nreturn %y }",
};

#define SPOT(name, rows, cols, row, col) \
    "%" name "_r = eq(iota(shape=[" rows ", " cols "], axis=0, dtype=f32), " row ")\n" \
    "%" name "_c = eq(iota(shape=[" rows ", " cols "], axis=1, dtype=f32), " col ")\n%" name "_here = logical_and(%" name "_r, %" name "_c)\n"

/* Lines that pieces do not hold, seen through views: rows and columns that meet, in parts; where k is strided; of one head; Inf */
static const char *const odd_split[] = {
    "graph g { input %x : f32[72, 90]\ninput %w : f32[64, 168]\n" SPOT("x", "72", "90", "5", "9") SPOT("w", "64", "168", "7", "99")
    "%a = slice(where(%x_here, mul(%x, 1e25), %x), axis=1, start=3, size=64)\n%b = where(%w_here, mul(%w, 1e25), %w)\n%h = matmul(%a, %b)\n"
    "%g = slice(%h, axis=1, start=3, size=75)\n%u = slice(%h, axis=1, start=81, size=75)\n%y = mul(tanh(%g), tanh(%u))\nreturn %y }",
    "graph g { input %x : f32[45, 67]\ninput %w : f32[45, 71]\n" SPOT("x", "45", "67", "44", "66") SPOT("w", "45", "71", "3", "70")
    "%a = where(%x_here, mul(%x, 1e-25), %x)\n%b = where(%w_here, div(%w, 0.0), %w)\n%y = matmul(%a, %b, trans_a=1)\nreturn %y }",
    "graph g { input %x : f32[2, 64, 3, 40]\ninput %e : f32[2, 64, 3, 40]\ninput %z : f32[2, 72, 3, 40]\n%q = mul(%x, exp(mul(%e, 9.0)))\n"
    "%y = matmul(permute(%q, perm=[0, 2, 1, 3]), permute(%z, perm=[0, 2, 3, 1]))\nreturn %y }",
    /* near the ends of f32's range, whose scales multiply to what f32 does not hold; one operand for all batches, of its own accord */
    "graph g { input %x : f32[72, 64]\ninput %w : f32[80, 64]\n%a = mul(%x, 1e-43)\n%b = mul(%w, 1e35)\n%y = matmul(%a, %b, trans_b=1)\nreturn %y }",
    "graph g { input %a : f32[40, 64]\ninput %b : f32[3, 40, 72]\n%y = matmul(expand(%a, shape=[3, 40, 64]), %b, trans_a=1)\nreturn %y }",
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

static void run_odd(const char *arch, uint32_t schedule)
{
    RunOptions o = {.fuse = true, .sim = true, .arch = arch, .kind = "gemm", .other_kinds = true, .schedule = schedule};
    int failed = 0;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        failed += !run_graph(odd[i], &o, 131 + i);
    o.passes = o.split = true;
    o.other_kinds = false;
    for (size_t i = 0; i < sizeof odd_split / sizeof *odd_split; i++)
        failed += !run_graph(odd_split[i], &o, 161 + i);
    assert_int_equal(failed, 0);
}

/* One plan for any number of rows, of none, too. */
static void symbolic_rows(void **s)
{
    (void)s;
    static const int64_t rows[] = {0, 1, 70, 150};
    static const char *const texts[] = {
        "graph g { dim S in [0, 4096]\ninput %x : bf16[S, 64]\nparam %w : bf16[72, 64]\n%y = gelu(linear(%x, %w))\nreturn %y }",
        "graph g { dim S in [0, 512]\ninput %x : bf16[S, 72]\ninput %z : bf16[S, 96]\n%y = tanh(matmul(%x, %z, trans_a=1))\nreturn %y }",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        RunOptions o = {.fuse = true, .sim = true, .kind = "gemm", .other_kinds = i == 1, .symbol = rows, .n_symbol = 4};
        assert_true(run_graph(texts[i], &o, 7));
    }
}

typedef struct { Context *cx; const CodegenOptions *o; } Taker;

static bool take_gemm(void *arg, const Group *g, Schedule *out)
{
    const Taker *t = arg;
    uint32_t n;
    Schedule *space = group_space(t->cx, g, t->o, t->cx->scratch, &n);
    for (uint32_t i = 0; i < n; i++)
        if (!strcmp(space[i].kind, "gemm")) {
            *out = space[i];
            return true;
        }
    return false;
}

/* Rows are counted in 31 bits: of more there is no launch, on either template. */
static void more_rows_than_counted(void **state)
{
    (void)state;
    static const char *const archs[] = {"sm_80", "sm_90a"};
    for (int i = 0; i < 2; i++) {
        Context *cx = context_new();
        Graph *g = graph_parse(cx, source_from_text(cx->arena, "test", "graph g { dim S in [1, 8589934592]\ninput %x : bf16[S, 8]\n"
                                                    "param %w : bf16[64, 8]\n%y = linear(%x, %w)\nreturn %y }"));
        CodegenOptions o = {.fuse = true, .emitter = EMITTER_NVRTC, .no_code = true};
        assert_true(g && machine_cuda(cx, archs[i], &o.machine));
        Taker taker = {cx, &o};
        o.schedules = (ScheduleSource){take_gemm, &taker};
        Plan *p = codegen_plan(cx, g, NULL, &o);
        assert_true(p && !strcmp(p->kernels.data[0].kind, "gemm"));
        int64_t rows[] = {7, INT32_MAX - 1025, (int64_t)INT32_MAX + 2, (int64_t)1 << 33};
        for (int k = 0; k < 4; k++)
            assert_true((plan_evaluate(p, &rows[k], cx->arena, cx->diags) != NULL) == (k < 2));
        context_free(cx);
    }
}

static void odd_ones(void **s) { (void)s; run_odd("sm_90a", 0); }
static void odd_ones_without_wgmma(void **s) { (void)s; run_odd("sm_80", 1); }
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
                                       cmocka_unit_test(with_less_memory), cmocka_unit_test(odd_ones), cmocka_unit_test(odd_ones_without_wgmma),
                                       cmocka_unit_test(symbolic_rows), cmocka_unit_test(more_rows_than_counted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
