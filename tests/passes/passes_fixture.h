/* tests/passes/passes_fixture.h — contexts, graphs and comparisons shared by the tests of passes. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/file.h"
#include "ir/eval.h"
#include "passes/pass.h"
#include "passes/rules/rule.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static inline PassOptions default_options(void)
{
    return (PassOptions){.verify = true, .numerics = {NUM_FP32, NUM_FP32, NUM_FP32, 0}};
}

static inline void must_run(Graph *g, const PassOptions *opt, PassReport *report)
{
    bool ok = pipeline_run(g, opt, report);
    if (!ok)
        diags_print(g->cx->diags, stderr, false);
    assert_true(ok);
}

static inline Graph *parse(Context *cx, const char *text)
{
    Graph *g = graph_parse(cx, source_from_text(cx->arena, "test", text));
    if (!g)
        diags_print(cx->diags, stderr, false);
    assert_non_null(g);
    return g;
}

/* Inputs of a graph without symbols, drawn by each input's distribution. */
static inline Tensor **draw_inputs(const Graph *g, Arena *a)
{
    Tensor **in = arena_new_array(a, Tensor *, g->inputs.n + 1);

    for (uint32_t i = 0; i < g->inputs.n; i++) {
        const GraphInput *x = &g->inputs.data[i];
        int64_t dims[MAX_RANK];
        for (uint32_t k = 0; k < node_rank(x->node); k++)
            dims[k] = x->node->type.shape.d[k]->value;
        in[i] = tensor_new(a, x->node->type.dtype, (int)node_rank(x->node), dims);
        philox_fill(in[i]->dtype, in[i]->data, 0, tensor_count(in[i]), philox_key(7, x->name), x->dist);
    }
    return in;
}

static inline int64_t count_of(const Node *n)
{
    int64_t count = 1;
    for (uint32_t i = 0; i < node_rank(n); i++)
        count *= n->type.shape.d[i]->value;
    return count;
}

/* exact: equal bits but for NaN payloads; else close, as reassociation in fp64 is. */
static inline bool values_agree(const Node *n, Value a, Value b, bool exact)
{
    if (!dtype_is_float(n->type.dtype))
        return a.i == b.i;
    if (isnan(a.v) || isnan(b.v))
        return isnan(a.v) && isnan(b.v);
    if (exact || isinf(a.v) || isinf(b.v))
        return a.v == b.v && (!exact || signbit(a.v) == signbit(b.v));
    return fabs(a.v - b.v) <= 1e-9 * (1 + fabs(a.v));
}

/* Outputs of two graphs with the same inputs, close in fp64. */
static inline void assert_same_meaning(const Graph *a, const Graph *b, Arena *arena)
{
    Tensor **in = draw_inputs(a, arena);
    Evaluator *ea = eval_new(a, &domain_fp64, in, arena), *eb = eval_new(b, &domain_fp64, in, arena);

    assert_int_equal(a->outputs.n, b->outputs.n);
    for (uint32_t k = 0; k < a->outputs.n; k++) {
        const Value *va = eval_all(ea, k), *vb = eval_all(eb, k);
        const Node *n = a->outputs.data[k].node;
        assert_true(type_equal(&n->type, &b->outputs.data[k].node->type));
        for (int64_t i = 0; i < count_of(n); i++)
            if (!values_agree(n, va[i], vb[i], false))
                fail_msg("output %u differs at %lld: %.17g and %.17g\n%s\n%s", k, (long long)i, va[i].v, vb[i].v,
                         graph_text(arena, a), graph_text(arena, b));
    }
}
