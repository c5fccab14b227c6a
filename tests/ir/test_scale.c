/* tests/ir/test_scale.c — graphs of 100,000 nodes, a chain and a tree: every operation on a whole graph is linear, and none
 * recurses. Times are limited loosely, for slow and sanitised builds; a quadratic step would take minutes. */
#include "fixture.h"

enum { NODES = 100000 };

static Graph *chain(Context *cx)
{
    Graph *g = graph_new(cx, "chain");
    Node *x = graph_input(g, OP_INPUT, "x", type_f32(cx, 64, 32), LOC_NONE), *n = x;

    for (int i = 0; i < NODES; i++)
        n = i % 3 == 0 ? graph_unary(g, OP_SIN, n) : i % 3 == 1 ? graph_binary(g, OP_ADD, n, x) : graph_unary(g, OP_NEG, n);
    graph_output(g, "y", n);
    return g;
}

static Graph *tree(Context *cx)
{
    Graph *g = graph_new(cx, "tree");
    Arena *a = arena_new();
    Node *x = graph_input(g, OP_INPUT, "x", type_f32(cx, 64, 32), LOC_NONE);
    Node **level = arena_new_array(a, Node *, NODES / 2);
    uint32_t n = NODES / 2;

    for (uint32_t i = 0; i < n; i++)
        level[i] = graph_binary(g, OP_MUL, x, graph_const(g, DT_F32, i + 1.0));
    for (; n > 1; n = (n + 1) / 2)
        for (uint32_t i = 0; i < (n + 1) / 2; i++)
            level[i] = 2 * i + 1 < n ? graph_binary(g, OP_ADD, level[2 * i], level[2 * i + 1]) : level[2 * i];
    graph_output(g, "y", level[0]);
    arena_free(a);
    return g;
}

static double timed(const char *what, double since)
{
    double now = clock_seconds();
    print_message("  %-10s %6.3f s\n", what, now - since);
    assert_true(now - since < 20);
    return clock_seconds();
}

static void run_all(Context *cx, Graph *(*make)(Context *))
{
    Arena *a = arena_new();
    double t = clock_seconds();
    Graph *g = make(cx);
    uint32_t n;

    t = timed("build", t);
    graph_order(g, a, &n);
    t = timed("order", t);
    Uses u = graph_uses(g, a);
    assert_int_equal(u.n_uses[output(g, "y")->id], 1);
    t = timed("uses", t);
    assert_true(graph_verify(g, cx->diags));
    t = timed("verify", t);
    uint64_t hash = graph_hash(g);
    t = timed("hash", t);
    const char *text = graph_text(a, g);
    t = timed("print", t);
    Graph *again = parse(cx, text);
    t = timed("parse", t);
    assert_string_equal(text, graph_text(a, again));
    assert_true(hash == graph_hash(again));
    t = clock_seconds();
    Node *x = g->inputs.data[0].node;
    Node *other = graph_unary(g, OP_COS, x);
    for (uint32_t i = g->nodes.n; i-- > 1; )                         /* every negation becomes a sine of its operand */
        if (g->nodes.data[i]->op == OP_NEG)
            graph_replace(g, g->nodes.data[i], graph_unary(g, OP_SIN, g->nodes.data[i]->in[0]));
    graph_replace(g, output(g, "y"), other->id ? graph_resolve(g, output(g, "y")) : other);
    graph_rebuild(g);
    t = timed("rebuild", t);
    graph_compact(g);
    t = timed("compact", t);
    assert_true(graph_verify(g, cx->diags));
    t = clock_seconds();
    Graph *same = graph_specialise(g, NULL, 0);
    timed("specialise", t);
    assert_true(graph_hash(same) == graph_hash(g));
    graph_free(same);
    graph_free(again);
    graph_free(g);
    arena_free(a);
}

static void test_chain(void **state) { run_all(*state, chain); }
static void test_tree(void **state) { run_all(*state, tree); }

/* Each link is replaced by the one before it, from the end: forwarding makes one long path. */
static void test_forward_path(void **state)
{
    Context *cx = *state;
    Graph *g = chain(cx);
    double t = clock_seconds();

    for (uint32_t i = g->nodes.n; i-- > 1; )
        graph_replace(g, g->nodes.data[i], g->nodes.data[i]->in[0]);
    for (uint32_t i = 0; i < g->nodes.n; i++)
        assert_ptr_equal(graph_resolve(g, g->nodes.data[i]), g->inputs.data[0].node);
    assert_true(graph_rebuild(g));
    assert_true(graph_compact(g));
    assert_int_equal(g->nodes.n, 1);
    timed("forward", t);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_chain), TEST(test_tree), TEST(test_forward_path)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
