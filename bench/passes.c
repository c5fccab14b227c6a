/* bench/passes.c — time of the whole pass pipeline on generated graphs of 1k, 10k and 100k nodes: half a chain, half a balanced tree,
 * with something to simplify in every eighth node; and stars, where one value has all the users and all are rewritten to it.
 * The best of five; the time per node must not grow; 100k nodes must pass within 2 s. */
#include "base/file.h"
#include "passes/pass.h"

static Node *simplifiable(Graph *g, Node *x, uint32_t i)
{
    static const int64_t swap[] = {1, 0};

    switch (i % 8) {
    case 0:  return graph_binary(g, OP_MUL, x, graph_const(g, DT_F32, 1));
    case 1:  return graph_unary(g, OP_NEG, x);
    case 2:  return graph_permute(g, graph_permute(g, x, swap), swap);
    case 3:  return graph_cast(g, graph_cast(g, x, DT_F64), DT_F32);
    case 4:  return graph_binary(g, OP_ADD, x, graph_const(g, DT_F32, i));
    default: return graph_unary(g, i % 3 ? OP_TANH : OP_SIN, x);
    }
}

static Graph *chain_and_tree(Context *cx, uint32_t n)
{
    Graph *g = graph_new(cx, str_intern(cx->strs, "generated"));
    Type t = {.dtype = DT_F32, .shape = {.rank = 2, .d = {dim_const(cx->dims, 64), dim_const(cx->dims, 64)}}};
    Node *x = graph_input(g, OP_INPUT, "x", t, LOC_NONE), *chain = x;
    Node **level = arena_new_array(cx->arena, Node *, n);
    uint32_t width = n / 6;

    for (uint32_t i = 0; g->nodes.n < n / 2; i++)
        chain = simplifiable(g, chain, i);
    for (uint32_t i = 0; i < width; i++)
        level[i] = graph_unary(g, i % 2 ? OP_COS : OP_NEG, graph_binary(g, OP_ADD, x, graph_const(g, DT_F32, i)));
    for (; width > 1; width = (width + 1) / 2)
        for (uint32_t i = 0; i < width; i += 2)
            level[i / 2] = i + 1 < width ? graph_binary(g, i % 4 ? OP_MAXIMUM : OP_ADD, level[i], level[i + 1]) : level[i];
    graph_output(g, "chain", chain);
    graph_output(g, "tree", level[0]);
    return g;
}

/* Thousands of ways to pad x and cut the pad off again, summed. */
static Graph *star(Context *cx, uint32_t n)
{
    Graph *g = graph_new(cx, str_intern(cx->strs, "star"));
    Type t = {.dtype = DT_F32, .shape = {.rank = 1, .d = {dim_const(cx->dims, 64)}}};
    Node *x = graph_input(g, OP_INPUT, "x", t, LOC_NONE), *sum = x;

    for (uint32_t i = 1; g->nodes.n < n; i++) {
        Attr pad[] = {{.key = ATTR_AXIS, .i = 0}, {.key = ATTR_LOW, .dim = dim_const(cx->dims, i)}};
        Node *p = graph_add(g, OP_PAD, &x, 1, pad, 2, LOC_NONE);
        Node *s = graph_slice(g, p, 0, dim_const(cx->dims, i), dim_const(cx->dims, 64), 1);
        sum = graph_binary(g, OP_ADD, graph_unary(g, OP_SIN, sum), s);
    }
    graph_output(g, "y", sum);
    return g;
}

typedef struct { double seconds; uint32_t before, after; uint64_t tried, fired; } Figures;

static Figures measure_once(Graph *(*make)(Context *, uint32_t), uint32_t n, bool passes)
{
    Context *cx = context_new();
    Graph *g = make(cx, n);
    PassOptions opt = {.numerics = {NUM_FP32, NUM_FP32, NUM_FP32, 0}};
    PassReport report = {0};
    Figures f = {.before = g->nodes.n};
    double start = clock_seconds();

    if (!pipeline_run(g, &opt, &report))
        diags_print(cx->diags, stderr, false);
    f.seconds = clock_seconds() - start;
    f.after = g->nodes.n;
    vec_foreach(RuleStat, s, &report.rules) {
        f.fired += s->fired;
        f.tried += s->tried;
    }
    vec_foreach(PassStat, p, &report.passes)
        if (passes)
            printf("    %-14s %8.4f s  %u -> %u\n", p->pass, p->seconds, p->nodes_before, p->nodes_after);
    graph_free(g);
    context_free(cx);
    return f;
}

static double measure(const char *name, Graph *(*make)(Context *, uint32_t), uint32_t n)
{
    Figures best = {.seconds = 1e9};

    for (int i = 0; i < 5; i++) {
        Figures f = measure_once(make, n, false);
        best = f.seconds < best.seconds ? f : best;
    }
    printf("%-15s %7u nodes %8.4f s %6.0f ns/node   %6u left, %llu rules fired of %llu tried\n", name, best.before, best.seconds,
           best.seconds / best.before * 1e9, best.after, (unsigned long long)best.fired, (unsigned long long)best.tried);
    return best.seconds;
}

int main(void)
{
    double slowest = 0;

    for (uint32_t n = 1000; n <= 100000; n *= 10) {
        double a = measure("chain and tree", chain_and_tree, n), b = measure("star", star, n);
        slowest = a > slowest ? a : slowest;
        slowest = b > slowest ? b : slowest;
    }
    measure_once(chain_and_tree, 100000, true);
    return slowest <= 2 ? 0 : 1;
}
