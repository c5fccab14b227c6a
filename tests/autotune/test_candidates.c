/* Which schedules of a product are worth measuring, and with what its operands are filled. */
#include "autotune/candidates.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static const char *const bf16_task =
    "task: product\n"
    "inputs: {x: 'bf16[2048, 1024]', w: 'bf16[4096, 1024]'}\n"
    "graph: |\n"
    "  %y = gelu(linear(%x, %w))\n"
    "outputs: [y]\n"
    "numerics: bf16\n"
    "workloads: {w: {}}\n";
static const char *const decode_task =
    "task: product\n"
    "inputs: {x: 'bf16[8, 1024]'}\n"
    "params: {w: 'bf16[4096, 1024]'}\n"
    "graph: |\n"
    "  %y = gelu(linear(%x, %w))\n"
    "outputs: [y]\n"
    "numerics: bf16\n"
    "workloads: {w: {}}\n";
static const char *const fp32_task =
    "task: product\n"
    "inputs: {x: 'f32[512, 1024]', v: 'f32[1024, 768]'}\n"
    "params: {w: 'f32[768, 512]'}\n"
    "graph: |\n"
    "  %h = matmul(%x, %v)\n"
    "  %y = matmul(%h, %w)\n"
    "outputs: [y]\n"
    "numerics: fp32\n"
    "workloads: {w: {}}\n";

static Context *cx;
static Compiled c;
static CompileOptions o;

static int setup(void **state)
{
    cx = context_new();
    o = (CompileOptions){.codegen = {.fuse = true, .use_library = true, .no_code = true}};
    assert_true(machine_cuda(cx, "sm_90a", &o.codegen.machine));
    return 0;
}

static int teardown(void **state)
{
    compiled_end(&c);
    context_free(cx);
    return 0;
}

static void compile(const char *text)
{
    Task *t = task_from_source(cx, source_from_text(cx->arena, "product.yaml", text));
    if (!t || !compile_workload(cx, t, task_workload(t, "w"), &o, &c))
        diags_print(cx->diags, stderr, false);
    assert_non_null(t);
    assert_non_null(c.plan);
    o.codegen.numerics = t->numerics;
    graph_free(t->graph);
}

static const Group *product_of(Op op)
{
    for (uint32_t i = 0; i < c.groups->n; i++)
        if (c.groups->g[i]->matmul && c.groups->g[i]->matmul->op == op)
            return c.groups->g[i];
    return NULL;
}

static uint32_t count(const Schedule *s, uint32_t n, const char *kind)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++)
        found += !strcmp(s[i].kind, kind);
    return found;
}

static void tiles_and_the_library_share(void **state)
{
    static const char *const no_tiles[] = {"gemm"};
    uint32_t n, total;
    double uncertainty;
    compile(bf16_task);
    const Group *g = product_of(OP_MATMUL);
    assert_non_null(g);
    Schedule *space = group_space(cx, g, &o.codegen, cx->arena, &total);
    assert_true(count(space, total, "gemm") >= 8 && count(space, total, "library") == 16);

    Schedule *s = pick_schedules(cx, g, &o.codegen, 12, cx->arena, &n, &uncertainty);
    assert_true(schedule_equal(&s[0], &space[0]));
    assert_int_equal(count(s, n, "library"), 4);
    assert_int_equal(count(s, n, "gemm"), 8);
    assert_in_range(n, 12, 16);

    s = pick_schedules(cx, g, &o.codegen, 1, cx->arena, &n, &uncertainty);      /* one of each, however few are asked for */
    assert_int_equal(count(s, n, "library"), 1);
    assert_int_equal(count(s, n, "gemm"), 1);

    o.codegen.no_kinds = no_tiles;
    o.codegen.n_no_kinds = 1;
    s = pick_schedules(cx, g, &o.codegen, 32, cx->arena, &n, &uncertainty);
    assert_int_equal(count(s, n, "library"), 16);
    assert_int_equal(count(s, n, "gemm"), 0);
}

static void the_kind_for_few_rows_has_its_share(void **state)
{
    uint32_t n;
    double uncertainty;
    compile(decode_task);
    const Group *g = product_of(OP_MATMUL);
    assert_non_null(g);
    Schedule *s = pick_schedules(cx, g, &o.codegen, 12, cx->arena, &n, &uncertainty);
    assert_int_equal(count(s, n, "library"), 4);
    assert_int_equal(count(s, n, "smallm"), 4);
    assert_int_equal(count(s, n, "gemm"), 4);
}

/* Negative scales would send the kernel to its slow way; normal noise has as many of those as positive ones. */
static void pieces_look_like_pieces(void **state)
{
    o.passes.f16_products = true;
    o.passes.numerics = (Numerics){NUM_FP32, NUM_FP32, NUM_FP32, 0};
    compile(fp32_task);
    uint32_t n;
    ChoiceInfo *choices = choices_list(c.with_choices, cx->arena, &n);
    ChoicePick *picks = arena_new_array(cx->arena, ChoicePick, n + 1);
    for (uint32_t i = 0; i < n; i++)                                              /* whatever the model thinks */
        picks[i] = (ChoicePick){choices[i].id, 1};
    o.picks = picks;
    o.n_picks = n;
    compiled_end(&c);
    compile(fp32_task);
    uint32_t scales = 0, pieces = 0, originals = 0;
    for (uint32_t i = 0; i < c.groups->n; i++) {
        const Group *g = c.groups->g[i];
        if (!g->matmul || g->matmul->op != OP_SPLIT_MATMUL)
            continue;
        Dist *d = group_dists(c.resolved, g, cx->arena);
        for (uint32_t k = 0; k < g->inputs.n; k++) {
            const Node *in = g->inputs.data[k];
            if (in->type.dtype == DT_F16) {
                assert_true(d[k].kind == DIST_NORMAL && d[k].b > 1000 && d[k].b < 65504 / 8);
                pieces++;
            } else if (d[k].kind == DIST_CONSTANT) {
                assert_true(d[k].a > 0);
                scales++;
            } else {
                originals++;
            }
        }
    }
    assert_int_equal(pieces, 8);
    assert_int_equal(scales, 4);
    assert_true(originals >= 3);                                                  /* w is frozen: none of it */
}

static const char grouped_task[] =
    "task: grouped\nabout: Rows in groups.\ninputs: {x: \"bf16[512, 256]\", expert: \"i32[512] ~ randint(0, 8)\"}\n"
    "params: {w: \"bf16[8, 256, 256]\"}\n"
    "graph: |\n  %e = reduce_sum(cast(le(reshape(%expert, shape=[1, 512]), iota(shape=[8, 1], axis=0, dtype=i32)), dtype=i32), axes=[1])\n"
    "  %y = grouped_matmul(%x, %w, %e, trans_b=1)\noutputs: [y]\nnumerics: bf16\n";

/* A constant would be one group of all rows, or rows behind the last one. */
static void groups_have_their_share(void **state)
{
    (void)state;
    compile(grouped_task);
    bool seen = false;
    for (uint32_t i = 0; i < c.groups->n; i++) {
        const Group *g = c.groups->g[i];
        Dist *d = group_dists(c.resolved, g, cx->arena);
        for (uint32_t k = 0; g->matmul && k < g->inputs.n; k++)
            if (g->inputs.data[k]->type.dtype == DT_I32) {
                assert_true(d[k].kind == DIST_STEPS && d[k].a == 64);
                seen = true;
            }
    }
    assert_true(seen);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {TEST(tiles_and_the_library_share), TEST(the_kind_for_few_rows_has_its_share), TEST(pieces_look_like_pieces),
                                       TEST(groups_have_their_share)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
