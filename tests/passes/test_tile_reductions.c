/* Reductions behind products in pieces: where they are offered, that they keep the algebra and, row by row, what becomes of
 * infinities and NaN. */
#include "ir/identity.h"
#include "passes_fixture.h"
#include "tests/passes/picks.h"

static PassOptions tiling(NumClass c, uint32_t piece)
{
    PassOptions o = default_options();
    o.piece = piece;
    o.numerics = (Numerics){c, c, c, 0};
    return o;
}

static uint32_t count_op(const Graph *g, Op op)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->nodes.n; i++)
        n += g->nodes.data[i]->op == op;
    return n;
}

/* ---- where ------------------------------------------------------------------------------------------------------------------------ */
static const struct { const char *name, *type, *body; NumClass c; uint32_t piece; int places; } places[] = {
    {"a sum",                     "f32[70, 256]", "%y = reduce_sum(tanh(%p), axes=[1])", NUM_FP32, 64, 1},
    {"switched off",              "f32[70, 256]", "%y = reduce_sum(exp(%p), axes=[1])", NUM_FP32, 0, 0},
    {"in any class",              "f32[70, 256]", "%y = reduce_sum(exp(%p), axes=[1])", NUM_IEEE, 64, 1},
    {"smaller pieces",            "f32[70, 48]",  "%y = reduce_max(exp(%p), axes=[1])", NUM_FP32, 64, 1},
    {"no pieces",                 "f32[70, 200]", "%y = reduce_max(exp(%p), axes=[1])", NUM_FP32, 64, 0},
    {"one piece",                 "f32[70, 64]",  "%y = reduce_max(exp(%p), axes=[1])", NUM_FP32, 64, 0},
    {"few rows",                  "f32[63, 256]", "%y = reduce_max(exp(%p), axes=[1])", NUM_FP32, 64, 0},
    {"of all",                    "f32[70, 256]", "%y = reduce_min(exp(%p), axes=[0, 1])", NUM_FP32, 64, 1},
    {"of columns",                "f32[70, 256]", "%y = reduce_max(exp(%p), axes=[0])", NUM_FP32, 64, 0},
    {"of another order",          "f32[70, 256]", "%y = reduce_max(slice(%p, axis=1, start=1, size=128), axes=[1])", NUM_FP32, 64, 0},
    {"softmax",                   "f32[70, 256]", "%y = softmax(%p)", NUM_FP32, 64, 2},
    {"softmax, strictly",         "f32[70, 256]", "%y = softmax(%p)", NUM_IEEE, 64, 1},
    {"variance",                  "f32[70, 256]", "%y = layer_norm(%p)", NUM_FP32, 64, 2},
    {"a norm of pieces, and max", "f32[70, 256]", "%y = reduce_max(group_norm(%p, groups=16), axes=[1])", NUM_FP32, 64, 1},
    {"a norm of half rows",       "f32[70, 512]", "%y = reduce_max(group_norm(%p, groups=2), axes=[1])", NUM_FP32, 64, 2},
};

static void offered(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        Context *cx = context_new();
        int columns = atoi(strchr(places[i].type, ' '));
        const char *text = arena_printf(cx->arena, "graph g {\n input %%x : f32[%d, 32]\n param %%w : f32[%d, 32]\n param %%b : f32[%d]\n"
                                        " %%p = linear(%%x, %%w, %%b)\n %s\n return %%y\n}\n", atoi(places[i].type + 4), columns, columns,
                                        places[i].body);
        Graph *g = parse(cx, text);
        PassOptions o = tiling(places[i].c, places[i].piece);
        must_run(g, &o, NULL);
        if ((int)count_op(g, OP_CHOICE) != places[i].places)
            fail_msg("%s: %u places\n%s", places[i].name, count_op(g, OP_CHOICE), graph_text(cx->arena, g));
        graph_free(g);
        context_free(cx);
    }
}

/* ---- algebra ------------------------------------------------------------------------------------------------------------------------ */
static const struct { const char *name, *body; } algebra[] = {
    {"sum", "%y = reduce_sum(sigmoid(%p), axes=[1])"},
    {"min of all", "%y = reduce_min(exp(%p), axes=[0, 1])"},
    {"log-sum-exp", "%y = logsumexp(%p, axes=1)"},
    {"softmax", "%y = softmax(mul(%p, 0.125))"},
    {"log-softmax", "%y = log_softmax(%p)"},
    {"layer norm", "%y = layer_norm(%p)"},
    {"deviation", "%y = var(%p, axes=[1])"},
    {"rms norm", "%y = rms_norm(%p)"},
    {"group norm and min", "%y = amin(group_norm(%p, groups=3), axes=1)"},
};

static void same_algebra(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof algebra / sizeof *algebra; i++) {
        Context *cx = context_new();
        const char *text = arena_printf(cx->arena, "graph g {\n dim B in [1, 64]\n input %%x : f32[B, 5]\n param %%w : f32[48, 5]\n param %%b : f32[48]\n"
                                        " %%p = linear(%%x, %%w, %%b)\n %s\n return %%y\n}\n", algebra[i].body);
        Graph *before = parse(cx, text), *g = parse(cx, text);
        PassOptions o = tiling(NUM_FP32, 64);
        must_run(g, &o, NULL);
        assert_true(count_op(g, OP_CHOICE) > 0);
        Graph *after = last_alternatives(cx, g, "tile_reductions");
        IdentityReport r;
        IdentityOptions io = {.trials = 8};
        assert_true(residue_compare_graphs(before, after, &io, cx->arena, &r));
        if (r.verdict != IDENTITY_EQUAL)
            fail_msg("%s: %s\n%s", algebra[i].name, identity_text(cx->arena, &r), graph_text(cx->arena, after));
        assert_int_equal(r.n_guards, 0);
        assert_same_meaning(graph_specialise(before, &(DimValue){str_intern(cx->strs, "B"), 7}, 1),
                            graph_specialise(after, &(DimValue){str_intern(cx->strs, "B"), 7}, 1), cx->arena);
        graph_free(after);
        graph_free(before);
        graph_free(g);
        context_free(cx);
    }
}

/* ---- what is not finite -------------------------------------------------------------------------------------------------------------- */
enum { ROWS = 8, COLUMNS = 48 };

/* Row by row: plain; a piece of -Inf; all -Inf; +Inf somewhere; both; NaN; a piece far below the others; the largest numbers. */
static void fill(float *x)
{
    for (int i = 0; i < COLUMNS; i++) {
        bool first = i < 16;
        x[0 * COLUMNS + i] = (float)i / 8;
        x[1 * COLUMNS + i] = first ? -INFINITY : -3000 - (float)i;
        x[2 * COLUMNS + i] = -INFINITY;
        x[3 * COLUMNS + i] = i == 20 ? INFINITY : (float)i;
        x[4 * COLUMNS + i] = i == 20 ? INFINITY : i == 40 ? -INFINITY : 1;
        x[5 * COLUMNS + i] = i == 33 ? NAN : 2;
        x[6 * COLUMNS + i] = first ? -3e38f : 3;
        x[7 * COLUMNS + i] = first ? 3e38f : -3e38f;
    }
}

static void not_finite(void **state)
{
    static const char *const bodies[] = {"%y = softmax(%q)", "%y = log_softmax(%q)", "%y = logsumexp(%q, axes=1)", "%y = layer_norm(%q)", "%y = amax(%q, axes=1)"};
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        Context *cx = context_new();
        const char *text = arena_printf(cx->arena, "graph g {\n dim B in [1, 64]\n input %%x : f32[B, 5]\n param %%w : f32[48, 5]\n input %%r : f32[B, 48]\n"
                                        " %%p = linear(%%x, %%w)\n %%q = add(%%p, %%r)\n %s\n return %%y\n}\n", bodies[i]);
        DimValue rows = {str_intern(cx->strs, "B"), ROWS};
        Graph *before = graph_specialise(parse(cx, text), &rows, 1), *g = parse(cx, text);
        PassOptions o = tiling(NUM_FP32, 64);
        must_run(g, &o, NULL);
        Graph *after = graph_specialise(last_alternatives(cx, g, "tile_reductions"), &rows, 1);
        Tensor **in = draw_inputs(before, cx->arena);
        for (uint32_t k = 0; k < before->inputs.n; k++)
            if (!strcmp(before->inputs.data[k].name, "r"))
                fill(in[k]->data);
        Evaluator *ea = eval_new(before, &domain_fp64, in, cx->arena), *eb = eval_new(after, &domain_fp64, in, cx->arena);
        const Node *y = before->outputs.data[0].node;
        for (int64_t at = 0; at < count_of(y); at++) {
            Value a, b;
            assert_true(eval_points(ea, 0, &at, 1, &a) && eval_points(eb, 0, &at, 1, &b));
            if (!values_agree(y, a, b, false))
                fail_msg("%s at %lld: %g against %g", bodies[i], (long long)at, a.v, b.v);
        }
        context_free(cx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(offered), cmocka_unit_test(same_algebra), cmocka_unit_test(not_finite)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
