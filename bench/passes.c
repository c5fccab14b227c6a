/* bench/passes.c — time of the whole pass pipeline on generated graphs of 1k, 10k and 100k nodes: half a chain, half a balanced tree,
 * with something to simplify in every eighth node. The time per node must not grow. */
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

static void measure(uint32_t n)
{
    Context *cx = context_new();
    Graph *g = chain_and_tree(cx, n);
    PassOptions opt = {.numerics = {NUM_FP32, NUM_FP32, NUM_FP32, 0}};
    PassReport report = {0};
    uint32_t before = g->nodes.n;
    uint64_t fired = 0, tried = 0;
    double start = clock_seconds();

    if (!pipeline_run(g, &opt, &report))
        diags_print(cx->diags, stderr, false);
    double seconds = clock_seconds() - start;
    vec_foreach(RuleStat, s, &report.rules) {
        fired += s->fired;
        tried += s->tried;
    }
    printf("%8u nodes %8.4f s %7.0f ns/node   %u left, %llu rules fired of %llu tried, %u passes\n", before, seconds,
           seconds / before * 1e9, g->nodes.n, (unsigned long long)fired, (unsigned long long)tried, report.passes.n);
    vec_foreach(PassStat, p, &report.passes)
        if (n == 100000)
            printf("    %-14s %8.4f s  %u -> %u\n", p->pass, p->seconds, p->nodes_before, p->nodes_after);
    graph_free(g);
    context_free(cx);
}

int main(void)
{
    measure(1000);
    measure(10000);
    measure(100000);
    return 0;
}
