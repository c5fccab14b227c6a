/* tests/codegen/test_recipes.c — weights made by the runtime's routine have the bits that the evaluator gives: the recipes that passes
 * leave (concat, pieces of split products in every layout), and each thing that a recipe may say. */
#include "codegen/group.h"
#include "codegen/weights.h"
#include "ir/eval.h"
#include "passes/pass.h"
#include "runtime/recipe.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static int setup(void **state) { *state = context_new(); return 0; }
static int teardown(void **state) { context_free(*state); return 0; }
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static Graph *parse(Context *cx, const char *text)
{
    Graph *g = graph_parse(cx, source_from_text(cx->arena, "test", text));
    if (!g)
        diags_print(cx->diags, stderr, false);
    assert_non_null(g);
    return g;
}

/* Normal numbers with special ones strewn in. */
static Tensor *draw(Context *cx, const Node *n, const char *name)
{
    static const double special[] = {0, -0.0, 1e-41, -3e-39, 65504, 65520, 1e-7, 0x1p-24, 0x1p-25, 3e38, -1, INFINITY, NAN, -INFINITY, -NAN};
    int64_t dims[TENSOR_MAX_RANK];
    for (uint32_t i = 0; i < node_rank(n); i++)
        dims[i] = n->type.shape.d[i]->value;
    Tensor *t = tensor_new(cx->arena, n->type.dtype, (int)node_rank(n), dims);
    philox_fill(t->dtype, t->data, 0, tensor_count(t), philox_key(3, name), (Dist){DIST_NORMAL, 0, 1});
    for (int64_t i = 0; i < tensor_count(t) && dtype_is_float(t->dtype); i += 37)
        dtype_store(t->dtype, (char *)t->data + i * dtype_bytes(t->dtype), special[i / 37 % 15]);
    return t;
}

/* Output 0 of `g`, a function of params, folded in both ways. */
static void same_bits(Context *cx, const Graph *g, const Node *n, bool known)
{
    PlanWeight w = weight_describe(cx, g, n);
    const Tensor **values = arena_new_array(cx->arena, const Tensor *, w.n_params + 1);
    Tensor **in = arena_new_array(cx->arena, Tensor *, g->inputs.n + 1), *made = NULL;
    for (uint32_t k = 0; k < g->inputs.n; k++) {
        in[k] = draw(cx, g->inputs.data[k].node, g->inputs.data[k].name);
        for (uint32_t j = 0; j < w.n_params; j++)
            if (w.params[j] == g->inputs.data[k].name)
                values[j] = in[k];
    }
    assert_int_equal(recipe_make(cx->arena, w.recipe, w.params, values, w.n_params, &made), known ? RECIPE_MADE : RECIPE_UNKNOWN);
    Graph *alone = graph_specialise(g, NULL, 0);
    alone->outputs.n = 0;
    graph_output(alone, "weight", alone->nodes.data[n->id]);
    assert_true(alone->nodes.data[n->id]->op == n->op && type_equal(&alone->nodes.data[n->id]->type, &n->type));
    Evaluator *e = eval_new(alone, &domain_baseline, in, cx->arena);
    const Value *v = eval_all(e, 0);
    Tensor folded;
    assert_true(weight_fold(cx->arena, cx->diags, w.recipe, w.params, values, w.n_params, &folded));
    if (!known)
        made = &folded;
    assert_int_equal(made->dtype, n->type.dtype);
    assert_int_equal(made->rank, node_rank(n));
    assert_int_equal(tensor_bytes(made), tensor_bytes(&folded));
    assert_memory_equal(made->data, folded.data, tensor_bytes(made));
    for (int64_t i = 0; i < tensor_count(made); i++) {
        char want[8] = {0};
        if (dtype_is_float(made->dtype))
            dtype_store(made->dtype, want, v[i].v);
        else
            dtype_store_i64(made->dtype, want, v[i].i);
        if (memcmp((char *)made->data + i * dtype_bytes(made->dtype), want, dtype_bytes(made->dtype)))
            fail_msg("element %lld is %g, not %g, of\n%s", (long long)i, dtype_load(made->dtype, (char *)made->data + i * dtype_bytes(made->dtype)),
                     dtype_load(made->dtype, want), w.recipe);
    }
    graph_free(alone);
}

/* ---- what passes leave ---------------------------------------------------------------------------------------------------------- */
static void test_pieces(void **state)
{
    Context *cx = *state;
    static const char *const cases[][2] = {
        {"param %b : f32[512, 128]", "linear(%a, %b)"},                     /* rows along k */
        {"param %b : f32[128, 512]", "matmul(%a, %b)"},                     /* columns */
        {"param %b : f32[128, 515]", "matmul(%a, %b)"},                     /* turned */
        {"param %b : f32[515, 131]", "linear(slice(%c, axis=1, start=0, size=131), %b)"},     /* padded */
        {"param %b : f32[131, 515]", "matmul(slice(%c, axis=1, start=0, size=131), %b)"},     /* both */
        {"param %b : f32[3, 512, 128]", "matmul(%a, %b, trans_b=1)"},
        {"param %b : f32[3, 128, 500]", "matmul(%a, %b)"},
        {"param %b : f32[128, 512]", "linear(%a, permute(%b, perm=[1, 0]))"},
        {"param %b : bf16[512, 128]", "linear(%a, cast(%b, dtype=f32))"},
        {"param %b : f32[256, 128]\n param %d : f32[256, 128]", "linear(%a, concat(%b, %d, axis=0))"},
        {"param %b : f32[512, 128]\n param %d : f32[512, 1]", "linear(%a, mul(%b, %d))"},
        {"param %b : f32[512, 128]\n param %d : f32[512, 128]", "linear(%a, where(lt(%b, %d), %b, neg(%d)))"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Graph *g = parse(cx, arena_printf(cx->arena, "graph g {\n input %%a : f32[512, 128]\n input %%c : f32[512, 256]\n %s\n"
                                          " %%y = %s\n return %%y, %%c\n}\n", cases[i][0], cases[i][1]));
        PassOptions o = {.verify = true, .numerics = {NUM_FP32, NUM_FP32, NUM_FP32, 0}, .f16_products = true};
        assert_true(pipeline_run(g, &o, NULL));
        const Node *n = NULL;
        for (uint32_t k = 0; k < g->nodes.n; k++)
            n = g->nodes.data[k]->op == OP_SPLIT_MATMUL ? g->nodes.data[k] : n;
        assert_non_null(n);
        SplitOperand b = split_operand(n, 1);
        assert_null(b.exact);
        const Node *const made[] = {b.hi, b.lo, b.inv};
        for (int k = 0; k < 3; k++) {
            same_bits(cx, g, made[k], true);
            assert_int_equal(recipe_is_scales(weight_describe(cx, g, made[k]).recipe), k == 2);
        }
        graph_free(g);
    }
}

/* ---- each step ---------------------------------------------------------------------------------------------------------------- */
static void test_steps(void **state)
{
    Context *cx = *state;
    static const struct { const char *text; bool known; } cases[] = {
        {"concat(%w, %v, axis=0)", true}, {"concat(%w, %w, %v, axis=1)", true}, {"concat(%h, %h, axis=0)", true},
        {"concat(%i, %i, axis=1)", true}, {"permute(%w, perm=[1, 0])", true}, {"permute(%t, perm=[2, 0, 1])", true},
        {"permute(%h, perm=[1, 0])", true}, {"reshape(%t, shape=[1, 3, 70, 1, 41])", true}, {"reshape(%t, shape=[210, 41])", false},
        {"expand(reshape(%v1, shape=[130, 1]), shape=[2, 130, 70])", true}, {"slice(%w, axis=0, start=7, size=100)", true},
        {"slice(%w, axis=1, start=3, size=60)", true}, {"slice(%w, axis=1, start=3, size=30, step=2)", false},
        {"pad(%w, axis=0, low=3, high=20, fill=-2.5)", true}, {"pad(%w, axis=1, low=200, high=1)", true}, {"pad(%t, axis=0, low=1, high=1)", true},
        {"reduce_max(%t, axes=[0])", true}, {"reduce_min(%t, axes=[1], keepdims=1)", true}, {"reduce_max(%t, axes=[2])", true},
        {"reduce_max(%w, axes=[1])", true}, {"reduce_max(%v1, axes=[0])", true}, {"reduce_min(%h, axes=[0], keepdims=1)", true},
        {"sub(%w, reduce_max(%w, axes=[1], keepdims=1))", true}, {"cast(%w, dtype=bool)", false},
        {"div(%w, %v)", true}, {"maximum(%w, %v)", true}, {"minimum(%w, %v)", true}, {"add(%h, %b)", true}, {"div(%h, %h)", true}, {"mul(%b, %b)", true},
        {"pow2_floor(%w)", true}, {"pow2_floor(%h)", true}, {"pow2_floor(%b)", true}, {"cast(%w, dtype=f16)", true}, {"cast(%w, dtype=bf16)", true},
        {"cast(%h, dtype=bf16)", true}, {"cast(%b, dtype=f32)", true}, {"isnan(%w)", true}, {"isinf(mul(%w, 1e30))", true},
        {"where(logical_or(lt(%w, %v), ge(%w, 1)), %w, %v)", true}, {"logical_not(logical_and(ne(%w, %v), gt(%w, 0)))", true},
        {"where(eq(%w, 0), le(%w, %v), isnan(%w))", true}, {"add(permute(%w, perm=[1, 0]), permute(%v, perm=[1, 0]))", true},
        {"add(slice(%w, axis=0, start=0, size=100), slice(%w, axis=0, start=30, size=100))", true},
        {"concat(abs(%w), pad(%v, axis=0, high=1), mul(%w, %w), axis=0)", true}, {"reduce_max(pad(%w, axis=1, low=2, fill=9), axes=[1])", true},
        {"exp(%w)", false}, {"reduce_sum(%w, axes=[1])", false}, {"flip(%w, axes=[0])", false}, {"cast(%w, dtype=f64)", false}, {"neg(%i)", false},
        {"rsqrt(%w)", false}, {"matmul(%w, %v, trans_b=1)", false}, {"gather(%w, %j, axis=0)", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *text = arena_printf(cx->arena, "graph g {\n param %%w : f32[130, 70]\n param %%v : f32[130, 70]\n param %%t : f32[3, 70, 41]\n"
                                        " param %%v1 : f32[130]\n param %%h : f16[130, 70]\n param %%b : bf16[130, 70]\n param %%i : i64[5, 9]\n"
                                        " param %%j : i32[4]\n %%y = %s\n return %%y\n}\n", cases[i].text);
        Graph *g = parse(cx, text);
        same_bits(cx, g, g->outputs.data[0].node, cases[i].known);
        graph_free(g);
    }
}

/* Large enough for threads, and not whole tiles. */
static void test_large(void **state)
{
    Context *cx = *state;
    static const char *const cases[] = {"permute(%w, perm=[1, 0])", "cast(div(%w, reduce_max(abs(%w), axes=[1], keepdims=1)), dtype=f16)",
                                        "cast(div(%w, reduce_max(abs(%w), axes=[0], keepdims=1)), dtype=f16)"};
    for (size_t i = 0; i < 3; i++) {
        Graph *g = parse(cx, arena_printf(cx->arena, "graph g {\n param %%w : f32[517, 1031]\n %%y = %s\n return %%y\n}\n", cases[i]));
        same_bits(cx, g, g->outputs.data[0].node, true);
        graph_free(g);
    }
}

/* ---- what does not fit ------------------------------------------------------------------------------------------------------------ */
static void test_refusals(void **state)
{
    Context *cx = *state;
    static const struct { const char *recipe; RecipeResult want; } cases[] = {
        {"%weight = concat(%w, %w, axis=2)\n", RECIPE_MISFITS}, {"%weight = expand(%w, shape=[2, 130])\n", RECIPE_MISFITS},
        {"%weight = permute(%w, perm=[0, 0])\n", RECIPE_MISFITS}, {"%weight = permute(%w, perm=[0, 2])\n", RECIPE_MISFITS},
        {"%weight = permute(%w, perm=[0])\n", RECIPE_MISFITS}, {"%weight = slice(%w, axis=0, start=2, size=9)\n", RECIPE_MISFITS},
        {"%weight = slice(%w, axis=0, start=-2, size=3)\n", RECIPE_MISFITS}, {"%weight = slice(%w, axis=5, size=3)\n", RECIPE_MISFITS},
        {"%weight = pad(%w, axis=0, low=9223372036854775807, high=9)\n", RECIPE_MISFITS},
        {"%weight = expand(%w, shape=[4611686018427387904, 8, 9, 11])\n", RECIPE_MISFITS},
        {"%weight = reshape(%w, shape=[4611686018427387904, 4, 4])\n", RECIPE_MISFITS},
        {"%weight = pad(%w, axis=0, low=-1)\n", RECIPE_MISFITS}, {"%weight = reduce_max(%w, axes=[0, 1])\n", RECIPE_UNKNOWN},
        {"%weight = add(%w, %u)\n", RECIPE_MISFITS}, {"%weight = where(%w, %w, %w)\n", RECIPE_MISFITS}, {"%weight = logical_not(%w)\n", RECIPE_MISFITS},
        {"%weight = reshape(%w, shape=[10, 9])\n", RECIPE_UNKNOWN}, {"%weight = reshape(%w, shape=[9, 11])\n", RECIPE_MISFITS},
        {"", RECIPE_UNKNOWN}, {"%weight = \n", RECIPE_UNKNOWN}, {"%weight = add(%w\n", RECIPE_UNKNOWN}, {"%weight = add(%w)\n", RECIPE_UNKNOWN},
        {"%weight = add(%w, %x)\n", RECIPE_UNKNOWN}, {"%weight = abs(%w, color=1)\n", RECIPE_UNKNOWN}, {"%weight = permute(%w, perm=[0, 1\n", RECIPE_UNKNOWN},
        {"%weight = cast(%w, dtype=f99)\n", RECIPE_UNKNOWN}, {"%weight = permute(%w, perm=[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])\n", RECIPE_UNKNOWN},
        {"%\"a b\" = abs(%w)\n%weight = neg(%\"a b\")\n", RECIPE_MADE},
    };
    int64_t dims[] = {9, 10};
    Tensor *w = tensor_new(cx->arena, DT_F32, 2, dims), *u = tensor_new(cx->arena, DT_F32, 1, dims), *out;
    const Tensor *values[] = {w, u};
    Str params[] = {str_intern(cx->strs, "w"), str_intern(cx->strs, "u")};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (recipe_make(cx->arena, cases[i].recipe, params, values, 2, &out) != cases[i].want)
            fail_msg("%s", cases[i].recipe);
}

/* Every step doubles what the last costs: refused, not computed for an hour. */
static void test_cost_is_bounded(void **state)
{
    Context *cx = *state;
    StrBuf b = strbuf_new(cx->arena);
    strbuf_add(&b, "%t0 = abs(%w)\n");
    for (int i = 1; i < 40; i++)
        strbuf_printf(&b, "%%t%d = add(%%t%d, %%t%d)\n", i, i - 1, i - 1);
    int64_t dims[] = {9};
    const Tensor *w = tensor_new(cx->arena, DT_F32, 1, dims);
    Str name = str_intern(cx->strs, "w");
    Tensor *out;
    assert_int_equal(recipe_make(cx->arena, b.text, &name, &w, 1, &out), RECIPE_UNKNOWN);
}

static void test_scales(void **state)
{
    Context *cx = *state;
    int64_t dims[] = {3};
    Tensor *t = tensor_new(cx->arena, DT_F32, 1, dims);
    float *x = t->data;
    x[0] = 1, x[1] = 0x1p-126f, x[2] = 0x1p100f;
    assert_true(recipe_scales_hold(t));
    x[1] = -x[1];
    assert_false(recipe_scales_hold(t));
    assert_false(recipe_is_scales("%a = pow2_floor(%w)\n%b = neg(%a)\n%weight = where(%c, %a, %b)\n"));
    assert_true(recipe_is_scales("%a = pow2_floor(%w)\n%b = neg(%a)\n%weight = where(%c, %b, %a)\n"));
    assert_false(recipe_is_scales("%a = abs(%w)\n%b = neg(%a)\n%weight = where(%c, %b, %a)\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_pieces), TEST(test_steps), TEST(test_large), TEST(test_refusals), TEST(test_cost_is_bounded), TEST(test_scales),
    };
    return cmocka_run_group_tests_name("recipes", tests, NULL, NULL);
}
