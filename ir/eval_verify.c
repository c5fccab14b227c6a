/* ir/eval_verify.c — checks a compiled graph's outputs against the reference: which elements, which domains, which class.
 *
 * Two sweeps: running error (whose values are the fp64 oracle's) and the baseline. Everything is evaluated where that costs
 * under AFFORDABLE operations; else rows are drawn, as many as cost about as much, so that a row's intermediates are shared. */
#include "base/file.h"
#include "ir/eval.h"
#include <stdlib.h>

#define AFFORDABLE       2e9           /* scalar operations a sweep */
#define AFFORDABLE_BYTES 3e9
#define MIN_ROWS  4
#define MAX_ROWS  256
#define LONG_ROW  8192                 /* longer rows are sampled in runs of neighbours */
#define RUN       64
#define RUNS      32

static uint64_t next_random(uint64_t *state)               /* splitmix64 */
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* ---- which elements ------------------------------------------------------------------------------------------------- */
static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static size_t sorted_unique(int64_t *v, size_t n)
{
    size_t out = 0;
    qsort(v, n, sizeof *v, by_value);
    for (size_t i = 0; i < n; i++)
        if (!i || v[i] != v[i - 1])
            v[out++] = v[i];
    return out;
}

/* `want` of the numbers below n, the first and the last among them. */
static size_t draw(int64_t *out, int64_t want, int64_t n, uint64_t *random)
{
    pawl_assert(n > 0);
    if (want >= n) {
        for (int64_t i = 0; i < n; i++)
            out[i] = i;
        return (size_t)n;
    }
    for (int64_t i = 0; i < want; i++)
        out[i] = i == 0 ? 0 : i == 1 ? n - 1 : (int64_t)(next_random(random) % (uint64_t)n);
    return sorted_unique(out, (size_t)want);
}

static int64_t *sample(Arena *a, int64_t count, int64_t row, double flops, uint64_t *random, size_t *n)
{
    int64_t rows = count / row, ids[MAX_ROWS], starts[RUNS];
    double affordable = AFFORDABLE / (flops / (double)rows + 1);
    int64_t want = affordable > MAX_ROWS ? MAX_ROWS : affordable < MIN_ROWS ? MIN_ROWS : (int64_t)affordable;
    size_t n_rows = draw(ids, want, rows, random);
    size_t runs = row > LONG_ROW ? draw(starts, RUNS, (row + RUN - 1) / RUN, random) : 0;
    int64_t *flat = arena_new_array(a, int64_t, n_rows * (size_t)(runs ? (int64_t)runs * RUN : row));
    *n = 0;
    for (size_t i = 0; i < n_rows; i++) {
        for (size_t k = 0; k < runs; k++)
            for (int64_t at = starts[k] * RUN; at < (starts[k] + 1) * RUN && at < row; at++)
                flat[(*n)++] = ids[i] * row + at;
        for (int64_t at = 0; !runs && at < row; at++)
            flat[(*n)++] = ids[i] * row + at;
    }
    return flat;
}

/* ---- which class ------------------------------------------------------------------------------------------------------- */
static bool reaches_matmul(const Graph *g, const Node *output, Arena *a)
{
    uint32_t n;
    Node **order = graph_order(g, a, &n);
    Map *live = map_new(a);
    map_set_ptr(live, output, output);
    for (uint32_t i = n; i-- > 0; ) {
        if (!map_get_ptr(live, order[i]))
            continue;
        if (op_class(order[i]->op) == CLASS_CONTRACT)
            return true;
        for (uint32_t k = 0; k < order[i]->n_in; k++)
            map_set_ptr(live, order[i]->in[k], order[i]->in[k]);
    }
    return false;
}

static NumClass default_class(DType t)
{
    return t == DT_BF16 ? NUM_BF16 : t == DT_F16 ? NUM_F16 : NUM_FP32;
}

static NumClass looser(NumClass a, NumClass b)
{
    static const int order[] = {
        [NUM_IEEE] = 0, [NUM_FP32] = 1, [NUM_BF16] = 2, [NUM_F16] = 2, [NUM_TF32] = 3, [NUM_APPROX] = 4,
    };
    return order[b] > order[a] ? b : a;
}

static NumClass class_of(const Task *t, const Graph *g, const Node *output, Arena *a)
{
    if (!t)
        return default_class(output->type.dtype);
    return reaches_matmul(g, output, a) ? looser(t->numerics.otherwise, t->numerics.matmul) : t->numerics.otherwise;
}

/* ---- the check ----------------------------------------------------------------------------------------------------------- */
static bool tensor_fits(const Graph *g, const Node *n, const Tensor *t, const char *what, Str name)
{
    bool fits = t && t->dtype == n->type.dtype && t->rank == (int)node_rank(n);
    for (uint32_t i = 0; fits && i < node_rank(n); i++)
        fits = dim_is(n->type.shape.d[i], t->dims[i]);
    if (fits)
        return true;
    StrBuf b = strbuf_new(g->cx->scratch);
    type_print(&b, &n->type);
    return diag_error(g->cx->diags, PAWL_EXIT_INVALID, n->loc, NULL, "%s '%s' does not have the type %s", what, name, b.text);
}

static bool tensors_fit(const Graph *g, Tensor *const *inputs, Tensor *const *outputs)
{
    bool ok = true;
    for (uint32_t i = 0; i < g->inputs.n; i++)
        ok &= tensor_fits(g, g->inputs.data[i].node, inputs[i], "input", g->inputs.data[i].name);
    for (uint32_t k = 0; k < g->outputs.n; k++)
        ok &= tensor_fits(g, g->outputs.data[k].node, outputs[k], "output", g->outputs.data[k].name);
    return ok;
}

typedef struct { Evaluator *error, *baseline; Arena *arena; double flops; bool all; uint64_t random; } Check;

static Verdict check_output(Check *c, const Task *t, const Graph *g, uint32_t k, const Tensor *y)
{
    const Node *node = g->outputs.data[k].node;
    int64_t count = tensor_count(y), row = y->rank ? y->dims[y->rank - 1] : 1;
    NumClass class = class_of(t, g, node, c->arena);
    double approx = t ? t->numerics.approx : 0;
    if (c->all || !count) {
        const Value *e = eval_all(c->error, k), *b = eval_all(c->baseline, k);
        return accept_output(class, approx, y->dtype, y->data, NULL, (size_t)count, row, e, b, e);
    }
    size_t n, size = dtype_bytes(y->dtype);
    int64_t *flat = sample(c->arena, count, row, c->flops, &c->random, &n);
    Value *e = arena_new_array(c->arena, Value, n), *b = arena_new_array(c->arena, Value, n);
    char *drawn = arena_alloc(c->arena, n * size);
    eval_points(c->error, k, flat, n, e);
    eval_points(c->baseline, k, flat, n, b);
    for (size_t i = 0; i < n; i++)
        for (size_t byte = 0; byte < size; byte++)
            drawn[i * size + byte] = ((const char *)y->data)[(size_t)flat[i] * size + byte];
    return accept_output(class, approx, y->dtype, drawn, flat, n, row, e, b, e);
}

bool verify_outputs(const Task *t, const Graph *g, Tensor *const *inputs, Tensor *const *outputs, uint64_t seed, Arena *a,
                    VerifyReport *r)
{
    double start = clock_seconds();
    if (!tensors_fit(g, inputs, outputs))
        return false;
    const Domain *baseline = t && t->numerics.matmul == NUM_TF32 ? &domain_baseline_tf32 : &domain_baseline;
    Arena *scratch = arena_new();
    Check c = {eval_new(g, &domain_error, inputs, scratch), eval_new(g, baseline, inputs, scratch), scratch, eval_flops(g), false, seed};
    c.all = c.flops < AFFORDABLE && eval_bytes(g) < AFFORDABLE_BYTES;
    *r = (VerifyReport){.out = arena_new_array(a, Verdict, g->outputs.n), .n = g->outputs.n, .all = c.all, .pass = true};
    for (uint32_t k = 0; k < g->outputs.n; k++) {
        r->out[k] = check_output(&c, t, g, k, outputs[k]);
        r->samples += r->out[k].checked;
        r->pass &= r->out[k].pass;
    }
    arena_free(scratch);
    r->seconds = clock_seconds() - start;
    return true;
}
