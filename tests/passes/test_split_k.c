/* tests/passes/test_split_k.c — products as sums over pieces of k: where that is offered and in how many pieces, that the algebra and
 * the meaning in fp64 stay under every pick, what goes to which operand, and ids of products of one shape. */
#include "ir/identity.h"
#include "passes_fixture.h"

static PassOptions splitting(NumClass c, uint32_t units, int64_t depth, bool halves)
{
    PassOptions o = default_options();
    o.units = units;
    o.split_depth = depth;
    o.f16_products = halves;
    o.split_work = 1;
    o.numerics.matmul = c;
    return o;
}

static Node *find_choice(const Graph *g, const char *rule)
{
    for (uint32_t i = 0; i < g->nodes.n; i++)
        if (g->nodes.data[i]->op == OP_CHOICE && !strncmp(node_attr(g->nodes.data[i], ATTR_ID)->s, rule, strlen(rule)))
            return g->nodes.data[i];
    return NULL;
}

static uint32_t count_op(const Graph *g, Op op)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->nodes.n; i++)
        n += g->nodes.data[i]->op == op;
    return n;
}

/* The product under alternative `k` of a choice: the first found on the way down. */
static const Node *product_under(const Node *n)
{
    while (op_class(n->op) != CLASS_CONTRACT)
        n = n->in[0];
    return n;
}

/* ---- where ------------------------------------------------------------------------------------------------------------------------ */
/* counts: batches of the products in alternatives 1, 2, …; "": not offered */
static const struct { const char *a, *b, *attrs; NumClass c; uint32_t units; const char *counts; } places[] = {
    {"bf16[256, 131072]", "bf16[131072, 256]", "", NUM_BF16, 132, "32 16 8"},
    {"f16[256, 131072]", "f16[131072, 256]", "", NUM_F16, 132, "32 16 8"},
    {"bf16[256, 131072]", "bf16[131072, 256]", "", NUM_BF16, 0, ""},
    {"bf16[256, 131072]", "bf16[131072, 256]", "", NUM_IEEE, 132, ""},
    {"f32[256, 131072]", "f32[131072, 256]", "", NUM_FP32, 132, ""},          /* unless of f16 pieces */
    {"bf16[128, 6144]", "bf16[2048, 6144]", ", trans_b=1", NUM_BF16, 132, "8 4 2"},
    {"bf16[512, 6144]", "bf16[2048, 6144]", ", trans_b=1", NUM_BF16, 132, "2"},
    {"bf16[1024, 6144]", "bf16[2048, 6144]", ", trans_b=1", NUM_BF16, 132, ""},
    {"bf16[256, 1023]", "bf16[1023, 256]", "", NUM_BF16, 132, ""},            /* no two pieces */
    {"bf16[256, 3000]", "bf16[3000, 256]", "", NUM_BF16, 132, "5 2"},         /* pieces of 600, of 1472 and the rest */
    {"bf16[8, 8192]", "bf16[2048, 8192]", ", trans_b=1", NUM_BF16, 132, ""},    /* streamed */
    {"bf16[8, 8192]", "bf16[256, 8192]", ", trans_b=1", NUM_BF16, 132, "8 4 2"},
    {"bf16[4, 32, 8192]", "bf16[256, 8192]", ", trans_b=1", NUM_BF16, 132, "16 8 4"},
    {"bf16[1, 128, 8192]", "bf16[1, 8192, 256]", "", NUM_BF16, 132, "16 8 4"},
    {"bf16[2, 128, 8192]", "bf16[2, 8192, 256]", "", NUM_BF16, 132, ""},
    {"bf16[S, 8192]", "bf16[256, 8192]", ", trans_b=1", NUM_BF16, 132, ""},
};

static void offered(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        Context *cx = context_new();
        const char *text = arena_printf(cx->arena, "graph g {\n dim S in [64, 128]\n input %%a : %s\n input %%b : %s\n"
                                        " %%y = matmul(%%a, %%b%s)\n return %%y\n}\n", places[i].a, places[i].b, places[i].attrs);
        Graph *g = parse(cx, text);
        PassOptions o = splitting(places[i].c, places[i].units, 0, false);
        for (int again = 0; again < 2; again++) {
            must_run(g, &o, NULL);
            const Node *c = find_choice(g, "split_k@");
            StrBuf counts = strbuf_new(cx->arena);
            for (uint32_t k = 1; c && k < c->n_in; k++)
                strbuf_printf(&counts, "%s%lld", k > 1 ? " " : "", (long long)product_under(c->in[k])->type.shape.d[0]->value);
            if (strcmp(counts.len ? counts.text : "", places[i].counts) != 0)
                fail_msg("%s by %s: pieces \"%s\"", places[i].a, places[i].b, counts.len ? counts.text : "");
            assert_int_equal(count_op(g, OP_CHOICE), c != NULL);
        }
        graph_free(g);
        context_free(cx);
    }
}

/* ---- algebra and meaning ------------------------------------------------------------------------------------------------------------ */
static const struct { const char *name, *body; bool halves; } cases[] = {
    {"rows along k", "input %a : bf16[20, 96]\n input %b : bf16[24, 96]\n %y = relu(matmul(%a, %b, trans_b=1))", false},
    {"k along columns", "input %a : bf16[20, 96]\n input %b : bf16[96, 24]\n %y = matmul(%a, %b)", false},
    {"a turned", "input %a : f16[96, 20]\n input %b : f16[96, 24]\n %y = matmul(%a, %b, trans_a=1)", false},
    {"both turned", "input %a : f16[96, 20]\n input %b : f16[24, 96]\n %y = matmul(%a, %b, trans_a=1, trans_b=1)", false},
    {"a rest", "input %a : bf16[20, 101]\n input %b : bf16[101, 24]\n %y = gelu(matmul(%a, %b))", false},
    {"in f32", "input %a : bf16[20, 72]\n input %b : bf16[72, 24]\n %y = matmul(%a, %b, dtype=f32)", false},
    {"batches as rows", "input %a : bf16[3, 7, 80]\n param %b : bf16[24, 80]\n %y = linear(%a, %b)", false},
    {"one batch", "input %a : bf16[1, 20, 80]\n input %b : bf16[1, 80, 24]\n %y = matmul(%a, %b)", false},
    {"a reduction behind", "input %a : bf16[20, 96]\n param %b : bf16[24, 96]\n %y = softmax(linear(%a, %b))", false},
    {"two of one shape", "input %a : bf16[20, 96]\n param %b : bf16[24, 96]\n param %c : bf16[24, 96]\n %p = linear(%a, %b)\n"
     " %y = add(%p, linear(silu(%a), %c))", false},
    {"of pieces, a weight", "input %a : f32[64, 96]\n param %b : f32[64, 96]\n %y = linear(%a, %b)", true},
    {"of pieces, activations", "input %a : f32[64, 96]\n input %b : f32[96, 64]\n %y = matmul(%a, %b)", true},
    {"of pieces, padded", "input %a : f32[64, 301]\n input %b : f32[301, 67]\n %y = matmul(%a, %b)", true},
    {"of pieces, padded weight", "input %a : f32[64, 301]\n param %b : f32[67, 301]\n %y = linear(%a, %b)", true},
    {"of pieces, both turned", "param %a : f32[101, 64]\n input %b : f32[72, 101]\n %y = matmul(%a, %b, trans_a=1, trans_b=1)", true},
};

/* Every alternative of split_k, under every other choice taken. */
static Graph *alternative(Context *cx, const Graph *g, uint32_t k)
{
    uint32_t n;
    ChoiceInfo *list = choices_list(g, cx->arena, &n);
    ChoicePick *picks = arena_new_array(cx->arena, ChoicePick, n + 1);
    for (uint32_t i = 0; i < n; i++)
        picks[i] = (ChoicePick){list[i].id, strcmp(list[i].rule, "split_k") ? 1 : k < list[i].n_alternatives ? k : 0};
    return choices_resolve(g, picks, n);
}

static void same_meaning(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Context *cx = context_new();
        const char *text = arena_printf(cx->arena, "graph g {\n %s\n return %%y\n}\n", cases[i].body);
        Graph *before = parse(cx, text), *g = parse(cx, text);
        PassOptions o = splitting(NUM_FP32, 100, 16, cases[i].halves);
        must_run(g, &o, NULL);
        const Node *c = find_choice(g, "split_k@");
        if (!c)
            fail_msg("%s: not offered\n%s", cases[i].name, graph_text(cx->arena, g));
        uint32_t alternatives = c->n_in;
        for (uint32_t k = 1; k < alternatives; k++) {
            Graph *after = alternative(cx, g, k);
            IdentityReport r;
            IdentityOptions io = {.trials = cases[i].halves ? 1 : 4};
            assert_true(graph_verify(after, cx->diags));
            assert_true(residue_compare_graphs(before, after, &io, cx->arena, &r));
            if (r.verdict != IDENTITY_EQUAL)
                fail_msg("%s (%u): %s\n%s", cases[i].name, k, identity_text(cx->arena, &r), graph_text(cx->arena, after));
            assert_same_meaning(before, after, cx->arena);
            graph_free(after);
        }
        graph_free(before);
        graph_free(g);
        context_free(cx);
    }
}

/* ---- operands ------------------------------------------------------------------------------------------------------------------------ */
/* A weight keeps its one set of pieces, of which the product reads views; an activation's pieces are made anew. */
static void weights_stay(void **state)
{
    (void)state;
    Context *cx = context_new();
    Graph *g = parse(cx, "graph g {\n input %a : f32[64, 4096]\n param %b : f32[64, 4096]\n %y = linear(%a, %b)\n return %y\n}\n");
    PassOptions o = splitting(NUM_FP32, 132, 0, true);
    must_run(g, &o, NULL);
    const Node *c = find_choice(g, "split_k@"), *whole = c->in[0], *n = product_under(c->in[1]);
    assert_int_equal(n->op, OP_SPLIT_MATMUL);
    SplitOperand a = split_operand(n, 0), b = split_operand(n, 1), of = split_operand(whole, 1);
    const Node *base[] = {b.hi, b.lo, b.inv, a.hi};
    for (int i = 0; i < 4; i++)
        while (op_class(base[i]->op) == CLASS_MOVEMENT)
            base[i] = base[i]->in[0];
    assert_ptr_equal(base[0], of.hi);
    assert_ptr_equal(base[1], of.lo);
    assert_ptr_equal(base[2], of.inv);
    assert_ptr_equal(base[3], a.hi);                                 /* not a view */
    assert_null(b.exact);
    assert_string_equal(split_choice_id(cx, n), "split_matmul@64x64x4096");
    graph_free(g);
    context_free(cx);
}

/* ---- ids ----------------------------------------------------------------------------------------------------------------------------- */
static void families(void **state)
{
    (void)state;
    Context *cx = context_new();
    Graph *g = parse(cx, "graph g {\n input %a : bf16[64, 96]\n param %b : bf16[96, 96]\n param %c : bf16[96, 96]\n param %d : bf16[96, 64]\n"
                     " %y = linear(silu(linear(%a, %b)), %c)\n %z = matmul(%y, %d)\n return %z\n}\n");
    PassOptions o = splitting(NUM_BF16, 132, 16, false);
    must_run(g, &o, NULL);
    uint32_t n;
    ChoiceInfo *list = choices_list(g, cx->arena, &n);
    assert_int_equal(n, 2);
    assert_string_equal(list[0].id, "split_k@64x96x96");
    assert_string_equal(list[1].id, "split_k@64x64x96");
    assert_int_equal(list[0].n_members, 2);
    assert_int_equal(list[1].n_members, 0);
    assert_non_null(find_choice(g, "split_k@64x96x96#1"));
    assert_non_null(find_choice(g, "split_k@64x96x96#2"));
    static const struct { const char *id; uint32_t alternative; } picks[3][2] = {
        {{"split_k@64x96x96", 1}, {"split_k@64x64x96", 0}},
        {{"split_k@64x96x96", 1}, {"split_k@64x96x96#2", 0}},
        {{"split_k@64x96x96#2", 0}, {"split_k@64x96x96", 1}},            /* a member's own pick counts, whatever the order */
    };
    static const uint32_t sums[3] = {2, 1, 1};
    for (int i = 0; i < 3; i++) {
        ChoicePick p[2];
        for (int k = 0; k < 2; k++)
            p[k] = (ChoicePick){str_intern(cx->strs, picks[i][k].id), picks[i][k].alternative};
        Graph *picked = choices_resolve(g, p, 2);
        assert_int_equal(count_op(picked, OP_REDUCE_SUM), sums[i]);
        graph_free(picked);
    }
    graph_free(g);
    context_free(cx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(offered), cmocka_unit_test(same_meaning), cmocka_unit_test(weights_stay),
                                       cmocka_unit_test(families)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
