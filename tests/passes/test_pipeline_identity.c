/* What the pipeline makes of a graph is the same algebra, whichever alternatives its choices take: held over residues, for graphs of
 * the tasks' shapes with small dims, and at symbolic batch sizes. */
#include "ir/identity.h"
#include "ir/text.h"
#include "passes_fixture.h"

static const struct { const char *name, *text; } graphs[] = {
    {"residual and norm", "dim B in [1, 64]\n input %x : bf16[B, 12]\n input %r : bf16[B, 12]\n param %w : bf16[12]\n %h = add(%x, %r)\n"
     " %y = rms_norm_rounded(%h, %w)\n return %h, %y"},
    {"gated mlp", "dim B in [1, 64]\n input %x : bf16[B, 8]\n param %g : bf16[10, 8]\n param %u : bf16[10, 8]\n param %d : bf16[8, 10]\n"
     " %y = linear(swiglu(linear(%x, %g), linear(%x, %u)), %d)\n return %y"},
    {"projections of attention", "dim S in [1, 64]\n input %x : bf16[1, S, 8]\n param %q : bf16[8, 8]\n param %k : bf16[4, 8]\n param %v : bf16[4, 8]\n"
     " param %w : bf16[8]\n %h = rms_norm(%x, %w)\n %a = linear(%h, %q)\n %b = linear(%h, %k)\n %c = linear(%h, %v)\n return %a, %b, %c"},
    {"attention", "dim S in [1, 64]\n input %q : f32[2, S, 4]\n input %k : f32[2, S, 4]\n input %v : f32[2, S, 4]\n %y = sdpa(%q, %k, %v, causal=1)\n return %y"},
    {"norms", "dim B in [1, 64]\n input %x : f32[B, 6, 5]\n param %w : f32[5]\n param %b : f32[5]\n %a = layer_norm(%x, %w, %b)\n %c = normalize(%x)\n"
     " %d = log_softmax(%x)\n return %a, %c, %d"},
    {"batch norm after a product", "dim B in [1, 64]\n input %x : f32[B, 6]\n param %w : f32[5, 6]\n param %m : f32[5]\n param %s : f32[5] ~ uniform(0, 1)\n"
     " param %g : f32[5]\n param %b : f32[5]\n %y = relu(batch_norm(linear(%x, %w), %m, %s, %g, %b))\n return %y"},
    {"activations", "dim B in [1, 64]\n input %x : f32[B, 7]\n %a = gelu(%x)\n %b = mish(%x)\n %c = hardswish(%x)\n %d = selu(%x)\n %e = softplus(%x)\n"
     " %f = log_sigmoid(%x)\n %g = gelu_tanh(%x)\n %h = elu(%x)\n return %a, %b, %c, %d, %e, %f, %g, %h"},
    {"scaled products", "dim B in [1, 64]\n input %x : f32[B, 6]\n param %w : f32[6, 6]\n %a = matmul(mul(%x, 0.3), neg(%w))\n %y = div(mul(%a, 4), 3)\n"
     " %z = matmul(permute(%x, perm=[1, 0]), permute(permute(%x, perm=[1, 0]), perm=[1, 0]))\n return %y, %z"},
    {"movement", "dim B in [1, 64]\n input %x : f32[B, 4, 6]\n %a = permute(permute(%x, perm=[0, 2, 1]), perm=[0, 2, 1])\n"
     " %b = reduce_sum(flip(%x, axes=[2]), axes=[2])\n %c = slice(concat(%x, neg(%x), axis=1), axis=1, start=2, size=4)\n"
     " %d = reshape(reshape(%x, shape=[B, 24]), shape=[B, 6, 4])\n return a=%a, %b, %c, %d"},
};

static void compare_with(Context *cx, const Graph *before, const Graph *after, const char *name, const char *what)
{
    IdentityReport r;
    IdentityOptions o = {.trials = 8};
    if (!residue_compare_graphs(before, after, &o, cx->arena, &r)) {
        diags_print(cx->diags, stderr, false);
        fail_msg("%s%s", name, what);
    }
    if (r.verdict != IDENTITY_EQUAL)
        fail_msg("%s%s: %s\n%s", name, what, identity_text(cx->arena, &r), graph_text(cx->arena, after));
    printf("%-28s%-10s %3.0f %%, %u guards, %.0f ms\n", name, what, 100 * r.least_coverage, r.n_guards, r.seconds * 1e3);
}

static void the_pipeline_keeps_the_algebra(void **state)
{
    uint32_t alternatives = 0;
    (void)state;
    for (size_t i = 0; i < sizeof graphs / sizeof *graphs; i++) {
        Context *cx = context_new();
        const char *text = arena_printf(cx->arena, "graph g {\n %s }", graphs[i].text);
        Graph *before = parse(cx, text), *g = parse(cx, text);
        PassOptions opt = default_options();
        uint32_t n;
        must_run(g, &opt, NULL);
        compare_with(cx, before, g, graphs[i].name, "");
        ChoiceInfo *choices = choices_list(g, cx->arena, &n);
        for (uint32_t c = 0; c < n; c++)
            for (uint32_t k = 1; k < choices[c].n_alternatives; k++) {
                ChoicePick pick = {choices[c].id, k};
                Graph *picked = choices_resolve(g, &pick, 1);
                compare_with(cx, before, picked, graphs[i].name, ", another");
                graph_free(picked);
                alternatives++;
            }
        graph_free(before);
        graph_free(g);
        context_free(cx);
    }
    assert_true(alternatives >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_pipeline_keeps_the_algebra)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
