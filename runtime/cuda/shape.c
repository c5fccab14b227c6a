/* runtime/cuda/shape.c — a plan at one tuple of symbol values: sizes, library calls made ready, and which steps wait for which.
 *
 * Order: step j waits for an earlier i when the plan says so, or when both touch the same bytes and one of them writes. The last
 * rule covers reuse of workspace, which a plan's own edges need not mention. Edges that follow from others are left out. */
#include "runtime/cuda/internal.h"
#include <string.h>

static bool overlap(const Plan *p, const BoundPlan *s, uint32_t a, uint32_t b)
{
    if (a == b)
        return true;
    if (p->buffers.data[a].kind != BUF_WORKSPACE || p->buffers.data[b].kind != BUF_WORKSPACE)
        return false;
    const BoundBuffer *x = &s->buffers[a], *y = &s->buffers[b];
    return x->offset < y->offset + y->bytes && y->offset < x->offset + x->bytes;
}

static bool conflict(const Executor *e, const Shape *s, uint32_t i, uint32_t j, bool trust_deps)
{
    if (s->matmuls[i] && s->matmuls[j] && cublaslt_workspace(s->matmuls[i]) && cublaslt_workspace(s->matmuls[j]))
        return true;                                   /* they share the library's workspace */
    for (uint32_t a = 0; a < e->n_touches[i]; a++)
        for (uint32_t b = 0; b < e->n_touches[j]; b++) {
            const Touch *x = &e->touches[i][a], *y = &e->touches[j][b];
            bool writes = (x->access | y->access) & ACCESS_WRITE;
            if (!writes || !overlap(e->plan, s->sizes, x->buffer, y->buffer))
                continue;
            bool guessed = !x->known || !y->known;
            if (x->buffer != y->buffer || !guessed || !trust_deps)
                return true;
        }
    return false;
}

static bool listed(const PlanStep *s, uint32_t i)
{
    for (uint32_t k = 0; k < s->n_deps; k++)
        if (s->deps[k] == i)
            return true;
    return false;
}

static void find_order(const Executor *e, Shape *s)
{
    const Plan *p = e->plan;
    uint32_t n = p->steps.n, words = (n + 63) / 64;
    bool trust_deps = false;
    for (uint32_t i = 0; i < n; i++)
        trust_deps |= p->steps.data[i].n_deps > 0;
    uint64_t *reach = arena_new_array(s->arena, uint64_t, (size_t)n * words + 1);
    uint32_t *list = arena_new_array(s->arena, uint32_t, n + 1);
    s->before = arena_new_array(s->arena, uint32_t *, n + 1);
    s->n_before = arena_new_array(s->arena, uint32_t, n + 1);
    for (uint32_t j = 0; j < n; j++) {
        uint64_t *mine = reach + (size_t)j * words;
        uint32_t found = 0;
        for (uint32_t i = j; i-- > 0; ) {              /* from the nearest: what it implies need not be said again */
            if (mine[i / 64] >> (i % 64) & 1)
                continue;
            if (!listed(&p->steps.data[j], i) && !conflict(e, s, i, j, trust_deps))
                continue;
            list[found++] = i;
            mine[i / 64] |= (uint64_t)1 << (i % 64);
            for (uint32_t w = 0; w < words; w++)
                mine[w] |= reach[(size_t)i * words + w];
        }
        s->n_before[j] = found;
        s->before[j] = arena_copy(s->arena, list, found * sizeof *list);
    }
}

static bool prepare_products(Executor *e, Shape *s, Diags *d)
{
    const Plan *p = e->plan;
    s->matmuls = arena_new_array(s->arena, CublasMatmul *, p->steps.n + 1);
    s->library_at = ((size_t)s->sizes->workspace_bytes + 255) / 256 * 256;
    for (uint32_t i = 0; i < p->steps.n; i++) {
        const PlanStep *step = &p->steps.data[i];
        if (step->kind != STEP_MATMUL)
            continue;
        const PlanMatmul *m = &step->matmul;
        DType bias = m->bias == UINT32_MAX ? DT_NONE : p->buffers.data[m->bias].dtype;
        s->matmuls[i] = cublaslt_prepare(e->blas, s->arena, m, s->sizes->steps[i].matmul, bias, d);
        if (!s->matmuls[i])
            return false;
        size_t bytes = cublaslt_workspace(s->matmuls[i]);
        s->library_bytes = bytes > s->library_bytes ? bytes : s->library_bytes;
    }
    return true;
}

Shape *shape_find(const Executor *e, const int64_t *symbols)
{
    size_t bytes = sizeof *symbols * e->plan->symbols.n;
    if (e->current && (bytes == 0 || memcmp(e->current->symbols, symbols, bytes) == 0))
        return e->current;
    for (uint32_t i = 0; i < e->n_shapes; i++)
        if (bytes == 0 || memcmp(e->shapes[i]->symbols, symbols, bytes) == 0)
            return e->shapes[i];
    return NULL;
}

void shape_release(Executor *e, Shape *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < s->n_graphs; i++)
        graph_release(e, &s->graphs[i]);
    for (uint32_t i = 0; s->matmuls && i < e->plan->steps.n; i++)
        cublaslt_release(s->matmuls[i]);
    if (e->current == s)
        e->current = NULL;
    arena_free(s->arena);
}

/* Where the new shape goes: a free place, or that of the one used longest ago, whose launches may still run. */
static uint32_t free_place(Executor *e)
{
    if (e->n_shapes < SHAPES)
        return e->n_shapes++;
    uint32_t oldest = 0;
    for (uint32_t i = 1; i < SHAPES; i++)
        oldest = e->shapes[i]->used < e->shapes[oldest]->used ? i : oldest;
    e->device->cu->CtxSynchronize();
    shape_release(e, e->shapes[oldest]);
    return oldest;
}

Shape *shape_make(Executor *e, const int64_t *symbols, Diags *d)
{
    Arena *a = arena_new();
    Shape *s = arena_new_of(a, Shape);
    s->arena = a;
    s->symbols = arena_new_array(a, int64_t, e->plan->symbols.n + 1);
    for (uint32_t i = 0; i < e->plan->symbols.n; i++)
        s->symbols[i] = symbols[i];
    s->sizes = plan_evaluate(e->plan, symbols, a, d);
    if (!s->sizes || !maps_prepare(e, s, d) || !prepare_products(e, s, d)) {
        shape_release(e, s);
        return NULL;
    }
    find_order(e, s);
    e->shapes[free_place(e)] = s;
    return s;
}
