/* tests/passes/test_rules.c — every rule of patterns/ holds on random instances made from its own constraints; and generated and
 * interpreted rules do the same, firing by firing. */
#include "passes_fixture.h"

enum { INSTANCES = 24, MAX_SEEDS = 4000 };

static RuleList all_rules(Context *cx)
{
    RuleList rules = {0};
    bool ok = rules_parse_dir(cx, "patterns", &rules);

    if (!ok)
        diags_print(cx->diags, stderr, false);
    assert_true(ok);
    return rules;
}

/* A line that says where the sides differ, or NULL. */
static char *compare_sides(const Rule *r, const RuleInstance *x, const Domain *d, bool exact, Arena *a)
{
    Evaluator *e = eval_new(x->g, d, x->inputs, a);

    for (uint32_t i = 0; i < x->n_roots; i++) {
        const Node *n = x->g->outputs.data[i].node;
        const Value *before = eval_all(e, i), *after = eval_all(e, x->n_roots + i);
        for (int64_t k = 0; k < count_of(n); k++)
            if (!values_agree(n, before[k], after[k], exact))
                return arena_printf(a, "%s, in %s: element %lld of root %u is %.17g and then %.17g (%lld, %lld)\n%s", r->info.name,
                                    d->name, (long long)k, i, before[k].v, after[k].v, (long long)before[k].i,
                                    (long long)after[k].i, graph_text(a, x->g));
    }
    return NULL;
}

static bool same_types(const RuleInstance *x)
{
    for (uint32_t i = 0; i < x->n_roots; i++)
        if (!type_equal(&x->g->outputs.data[i].node->type, &x->g->outputs.data[x->n_roots + i].node->type))
            return false;
    return true;
}

/* Instances looked at; *refuted: the first that shows the rule wrong. */
static uint32_t hold(Context *cx, const Rule *r, bool special, char **refuted)
{
    bool exact = r->info.exactness == EXACT;
    uint32_t found = 0;

    for (uint64_t seed = 1; seed <= MAX_SEEDS && found < INSTANCES; seed++) {
        RuleInstance *x = rule_instance(cx, r, seed + (special ? 1000000 : 0), special);
        if (!x)
            continue;
        Arena *a = arena_new();
        found++;
        assert_true(graph_verify(x->g, cx->diags));
        char *wrong = same_types(x) ? NULL : "the types of the two sides differ";
        if (!wrong)
            wrong = compare_sides(r, x, &domain_fp64, exact, a);
        if (exact && !wrong)
            wrong = compare_sides(r, x, &domain_baseline, exact, a);
        if (wrong && !*refuted)
            *refuted = arena_strdup(cx->arena, wrong);
        graph_free(x->g);
        arena_free(a);
    }
    return found;
}

static void every_rule_holds(void **state)
{
    Context *cx = context_new();
    RuleList rules = all_rules(cx);
    uint32_t always = 0;

    for (uint32_t i = 0; i < rules.n; i++) {
        const Rule *r = rules.data[i];
        char *refuted = NULL;
        uint32_t found = hold(cx, r, false, &refuted);
        if (found < INSTANCES / 2)
            fail_msg("only %u instances of %s were found", found, r->info.name);
        if (r->info.exactness == EXACT)
            hold(cx, r, true, &refuted);
        if (refuted)
            fail_msg("%s", refuted);
        always += r->info.profit == ALWAYS;
    }
    assert_true(always >= 40);
    context_free(cx);
}

/* The test above is worth something only if it sees what is wrong. */
static void wrong_rules_are_refuted(void **state)
{
    static const char *const wrong[][3] = {
        {"mul(%x, 0)", "literal(0)", "[is_float(%x)]"},                      /* Inf, NaN, -1 * 0 */
        {"add(%x, 0)", "%x", "[is_float(%x)]"},                              /* -0 */
        {"sub(%x, %x)", "literal(0)", "[is_float(%x)]"},
        {"neg(sub(%a, %b))", "sub(%b, %a)", "[is_float(%a)]"},               /* the sign of 0 */
        {"maximum(%x, minimum(%x, %z))", "%x", "[is_float(%x)]"},            /* NaN */
        {"logical_not(lt(%a, %b))", "ge(%a, %b)", "[is_float(%a)]"},
        {"sqrt(mul(%x, %x))", "%x", "[is_float(%x)]"},
        {"cast(cast(%x, dtype=t), dtype=u)", "cast(%x, dtype=u)", "[is_float(%x), float_dtype(t), float_dtype(u)]"},
        {"permute(permute(%x, perm=p), perm=q)", "permute(%x, perm=compose(q, p))", "[]"},
        {"div(%x, %c)", "mul(%x, 1.0 / value(%c))", "[is_float(%x), literal(%c), value(%c) != 0]"},
        {"reduce_sum(flip(%x, axes=a), axes=b)", "reduce_max(%x, axes=b)", "[]"},
        {"matmul(permute(%a, perm=p), %b)", "matmul(%a, %b)", "[swaps_last_two(p), 'dim(%a, -1) == dim(%a, -2)']"},
    };

    for (uint32_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        Context *cx = context_new();
        RuleList rules = {0};
        char *refuted = NULL, *text = arena_printf(cx->arena,
            "rule: wrong\nabout: Wrong.\nmatch: '%%y = %s'\nrewrite: '%%y = %s'\nwhere: %s\nexactness: exact\n", wrong[i][0],
            wrong[i][1], wrong[i][2]);
        if (!rules_parse_source(cx, source_from_text(cx->arena, "wrong.yaml", text), &rules))
            diags_print(cx->diags, stderr, false);
        assert_int_equal(rules.n, 1);
        hold(cx, rules.data[0], false, &refuted);
        hold(cx, rules.data[0], true, &refuted);
        if (!refuted)
            fail_msg("not refuted: %s -> %s", wrong[i][0], wrong[i][1]);
        context_free(cx);
    }
}

/* ---- both engines --------------------------------------------------------------------------------------------------------------- */
static uint32_t next(uint64_t *state, uint32_t n)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % n;
}

static Node *random_unary(Graph *g, Node *x, uint64_t *s)
{
    static const Op ops[] = {OP_NEG, OP_ABS, OP_EXP, OP_LOG, OP_SQRT, OP_RSQRT, OP_RECIPROCAL, OP_TANH, OP_FLOOR, OP_CEIL};
    static const int64_t swap[] = {1, 0};
    static const double literals[] = {0, -0.0, 1, -1, 2, 0.5};
    Node *c = graph_const(g, DT_F32, literals[next(s, 6)]);

    switch (next(s, 10)) {
    case 0:  return graph_binary(g, OP_MUL, x, c);
    case 1:  return graph_binary(g, OP_ADD, c, x);
    case 2:  return graph_binary(g, OP_MAXIMUM, x, c);
    case 3:  return graph_binary(g, OP_DIV, x, c);
    case 4:  return graph_permute(g, graph_permute(g, x, swap), swap);
    case 5:  return graph_cast(g, graph_cast(g, x, next(s, 2) ? DT_F64 : DT_BF16), DT_F32);
    case 6:  return graph_binary(g, OP_POW, x, graph_const(g, DT_F32, next(s, 4)));
    case 7:  return graph_binary(g, OP_SUB, x, c);
    default: return graph_unary(g, ops[next(s, sizeof ops / sizeof *ops)], x);
    }
}

static Node *random_step(Graph *g, Node **pool, uint32_t n, uint64_t *s)
{
    static const Op binary[] = {OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_MAXIMUM, OP_MINIMUM};
    static const int64_t axis[] = {1};
    Node *a = pool[next(s, n)], *b = pool[next(s, n)];

    switch (next(s, 8)) {
    case 0: case 1: return graph_binary(g, binary[next(s, 6)], a, b);
    case 2: return graph_expand(g, graph_reduce(g, next(s, 2) ? OP_REDUCE_MAX : OP_REDUCE_SUM, a, axis, 1, true), &a->type.shape);
    case 3: return graph_matmul(g, a, pool[next(s, 2)], next(s, 2), next(s, 2));
    case 4: {
        Node *half[2];
        for (int i = 0; i < 2; i++)
            half[i] = graph_slice(g, i && next(s, 2) ? b : a, 0, dim_const(g->cx->dims, i * 2), dim_const(g->cx->dims, 2), 1);
        return graph_concat(g, half, 2, 0);
    }
    default: return random_unary(g, a, s);
    }
}

static Graph *random_graph(Context *cx, uint64_t seed)
{
    Graph *g = graph_new(cx, str_intern(cx->strs, "random"));
    Type t = {.dtype = DT_F32, .shape = {.rank = 2, .d = {dim_const(cx->dims, 4), dim_const(cx->dims, 4)}}};
    Node *pool[64];
    uint32_t n = 0;

    pool[n++] = graph_input(g, OP_PARAM, "w0", t, LOC_NONE);
    pool[n++] = graph_input(g, OP_PARAM, "w1", t, LOC_NONE);
    pool[n++] = graph_input(g, OP_INPUT, "x", t, LOC_NONE);
    while (n < 64) {
        pool[n] = random_step(g, pool, n, &seed);
        n++;
    }
    for (uint32_t i = 0; i < 4; i++)
        graph_output(g, arena_printf(cx->arena, "y%u", i), pool[63 - i * 3]);
    return g;
}

static char *run_text(Graph *g, const char *rules_dir, PassReport *report)
{
    PassOptions opt = default_options();
    opt.rules_dir = rules_dir;
    must_run(g, &opt, report);
    return graph_text(g->cx->arena, g);
}

static void assert_same_counts(const PassReport *a, const PassReport *b)
{
    assert_int_equal(a->rules.n, b->rules.n);
    for (uint32_t i = 0; i < a->rules.n; i++) {
        const RuleStat *x = &a->rules.data[i], *y = &b->rules.data[i];
        assert_string_equal(x->rule, y->rule);
        if (x->tried != y->tried || x->fired != y->fired)
            fail_msg("%s: generated tried %llu fired %llu, interpreted tried %llu fired %llu", x->rule, (unsigned long long)x->tried,
                     (unsigned long long)x->fired, (unsigned long long)y->tried, (unsigned long long)y->fired);
    }
}

static void engines_agree_on_random_graphs(void **state)
{
    uint64_t fired = 0;

    for (uint64_t seed = 1; seed <= 150; seed++) {
        Context *ca = context_new(), *cb = context_new();
        Graph *a = random_graph(ca, seed), *b = random_graph(cb, seed);
        PassReport ra = {0}, rb = {0};
        assert_string_equal(run_text(a, NULL, &ra), run_text(b, "patterns", &rb));
        assert_same_counts(&ra, &rb);
        fired += ra.firings.n;
        graph_free(a);
        graph_free(b);
        context_free(ca);
        context_free(cb);
    }
    assert_true(fired > 1000);
}

static const char *const tasks[] = {"tasks/qwen3/rmsnorm_residual.yaml", "tasks/qwen3/swiglu.yaml", "tasks/qwen3/mlp.yaml",
                                    "tasks/qwen3/sdpa_prelude.yaml",
                                    "tasks/kernelbench/level2/029_matmul_mish_mish.yaml",
                                    "tasks/kernelbench/level2/033_gemm_scale_batchnorm.yaml",
                                    "tasks/kernelbench/level2/051_gemm_subtract_mean_logsumexp_gelu_add.yaml"};

static void engines_agree_on_tasks(void **state)
{
    for (uint32_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
        Context *ca = context_new(), *cb = context_new();
        Task *a = task_load(ca, tasks[i]), *b = task_load(cb, tasks[i]);
        PassReport ra = {0}, rb = {0};
        assert_non_null(a);
        assert_non_null(b);
        assert_string_equal(run_text(a->graph, NULL, &ra), run_text(b->graph, "patterns", &rb));
        assert_same_counts(&ra, &rb);
        graph_free(a->graph);
        graph_free(b->graph);
        context_free(ca);
        context_free(cb);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_holds),
        cmocka_unit_test(wrong_rules_are_refuted),
        cmocka_unit_test(engines_agree_on_random_graphs),
        cmocka_unit_test(engines_agree_on_tasks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
