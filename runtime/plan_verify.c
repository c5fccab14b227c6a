/* runtime/plan_verify.c — is a plan whole? Every number names something, sizes agree with types, no step writes what it may not,
 * everything is written before it is read, and no two live buffers share bytes.
 *
 * Symbolic sizes are tried at a few values of the symbols; executors check them again for the shapes at hand. */
#include "runtime/plan_internal.h"
#include "base/map.h"
#include <stdlib.h>
#include <string.h>

typedef long long ll;
typedef struct { const Plan *p; Diags *d; Arena *a; } Verifier;

#define refuse(v, ...) \
    diag_error((v)->d, PAWL_EXIT_INVALID, LOC_NONE, NULL, __VA_ARGS__)

static const char *plan_title(const Verifier *v)
{
    return v->p->name ? v->p->name : "plan";
}

/* ---- parts ---- */

static bool verify_head(const Verifier *v)
{
    const Plan *p = v->p;
    if (!p->alignment || (p->alignment & (p->alignment - 1)))
        return refuse(v, "%s: alignment %u is no power of two", plan_title(v), p->alignment);
    if (p->rank >= p->n_ranks)
        return refuse(v, "%s: rank %u of %u", plan_title(v), p->rank, p->n_ranks);
    if (!p->workspace_bytes)
        return refuse(v, "%s: no workspace size", plan_title(v));
    const char *unsolved = plan_unsolvable(p);
    if (unsolved)
        return refuse(v, "%s: no input's shape tells the value of %s", plan_title(v), unsolved);
    return true;
}

static bool verify_buffer(const Verifier *v, uint32_t i)
{
    const Plan *p = v->p;
    const PlanBuffer *f = &p->buffers.data[i];
    bool input = i < p->n_inputs, output = !input && i < p->n_inputs + p->n_outputs;
    if (!f->name || f->rank > TENSOR_MAX_RANK || f->dtype >= DT_COUNT || !f->bytes || (f->kind == BUF_WORKSPACE && !f->offset))
        return refuse(v, "%s: buffer %u is incomplete", plan_title(v), i);
    if (input != (f->kind == BUF_INPUT) || output != (f->kind == BUF_OUTPUT))
        return refuse(v, "%s: buffer %u (%s) is out of order: inputs come first, then outputs, then the rest", plan_title(v), i,
                      f->name);
    uint32_t expect = input ? i : output ? i - p->n_inputs : f->io;
    if (f->io != expect)
        return refuse(v, "%s: buffer %u (%s) has io %u, expected %u", plan_title(v), i, f->name, f->io, expect);
    if (f->kind == BUF_WEIGHT && (f->io >= p->weights.n || p->weights.data[f->io].buffer != i))
        return refuse(v, "%s: buffer %u (%s) and its weight do not name each other", plan_title(v), i, f->name);
    for (uint32_t k = 0; k < f->rank; k++)
        if (!f->shape[k] || (f->kind == BUF_WEIGHT && !dim_is_const(f->shape[k])))
            return refuse(v, "%s: buffer %u (%s): dim %u is %s", plan_title(v), i, f->name, k, f->shape[k] ? "no constant" : "missing");
    return true;
}

static bool verify_weights(const Verifier *v)
{
    const Plan *p = v->p;
    for (uint32_t i = 0; i < p->weights.n; i++) {
        const PlanWeight *w = &p->weights.data[i];
        if (!w->name || w->buffer >= p->buffers.n || p->buffers.data[w->buffer].kind != BUF_WEIGHT ||
            p->buffers.data[w->buffer].io != i)
            return refuse(v, "%s: weight %u (%s) names no weight buffer", plan_title(v), i, w->name ? w->name : "?");
        const PlanBuffer *f = &p->buffers.data[w->buffer];
        if (w->data && (!dim_is_const(f->bytes) || (int64_t)tensor_bytes(w->data) != f->bytes->value || w->data->dtype != f->dtype))
            return refuse(v, "%s: weight %s has other data than its buffer says", plan_title(v), w->name);
    }
    return true;
}

static bool verify_kernels(const Verifier *v)
{
    Map *seen = map_new(v->a);
    for (uint32_t i = 0; i < v->p->kernels.n; i++) {
        const PlanKernel *k = &v->p->kernels.data[i];
        if (!k->name || !*k->name)
            return refuse(v, "%s: kernel %u has no name", plan_title(v), i);
        uint64_t threads = (uint64_t)k->block[0] * k->block[1] * k->block[2];
        if (threads < 1 || threads > 1024)
            return refuse(v, "%s: kernel %s has a block of %ux%ux%u threads", plan_title(v), k->name, k->block[0], k->block[1], k->block[2]);
        if ((k->n_maps || k->cluster > 1) && v->p->target != TARGET_CUDA)
            return refuse(v, "%s: kernel %s has tensor maps or a cluster, which only GPUs have", plan_title(v), k->name);
        if (k->n_maps > MAX_MAPS_A_KERNEL || k->cluster > MAX_CLUSTER)
            return refuse(v, "%s: kernel %s has %u tensor maps and clusters of %u blocks; at most %d and %d are possible", plan_title(v),
                          k->name, k->n_maps, k->cluster, MAX_MAPS_A_KERNEL, MAX_CLUSTER);
        if (!map_set(seen, hash_str(k->name), i))
            return refuse(v, "%s: two kernels are called %s", plan_title(v), k->name);
    }
    return true;
}

static bool verify_matmul(const Verifier *v, const PlanStep *s)
{
    const PlanMatmul *m = &s->matmul;
    const PlanBuffer *f = v->p->buffers.data;
    uint32_t n = v->p->buffers.n;
    if (m->a >= n || m->b >= n || m->d >= n || (m->c != UINT32_MAX && m->c >= n) || (m->bias != UINT32_MAX && m->bias >= n) ||
        (m->workspace != UINT32_MAX && m->workspace >= n) || !m->m || !m->n || !m->k)
        return refuse(v, "%s: matmul %s names a buffer that is not there", plan_title(v), s->label);
    if (f[m->a].dtype != m->dtype || f[m->b].dtype != m->dtype || f[m->d].dtype != m->out_dtype ||
        (m->c != UINT32_MAX && f[m->c].dtype != m->out_dtype))
        return refuse(v, "%s: matmul %s and its buffers have different element types", plan_title(v), s->label);
    bool wants_bias = m->epilogue == EPI_BIAS || m->epilogue == EPI_BIAS_RELU || m->epilogue == EPI_BIAS_GELU_TANH;
    if (wants_bias != (m->bias != UINT32_MAX))
        return refuse(v, "%s: matmul %s: epilogue %s %s a bias", plan_title(v), s->label, epilogue_name(m->epilogue),
                      wants_bias ? "needs" : "takes no");
    return true;
}

/* What a tensor map says by itself; its sizes are looked at when they are evaluated. */
static const char *map_mistake(const Plan *p, const PlanKernel *k, const PlanTensorMap *m)
{
    bool possible = m->dtype == DT_F32 || m->dtype == DT_F16 || m->dtype == DT_BF16;
    uint64_t size = possible ? dtype_bytes(m->dtype) : 1, box = size;
    if (m->buffer >= p->buffers.n)
        return "is of a buffer that is not there";
    if (!possible || p->buffers.data[m->buffer].dtype != m->dtype)
        return "has another element type than its buffer, or none of f32, f16, bf16";
    if (m->rank < 1 || m->rank > TENSOR_MAP_RANK || !m->offset)
        return "has no offset, or not 1 to 5 dims";
    for (uint32_t d = 0; d < m->rank; d++) {
        if (!m->dims[d] || (d && !m->strides[d - 1]))
            return "lacks a size or a stride";
        if (m->box[d] < 1 || m->box[d] > 256)
            return "has a box that is not 1 to 256 elements along each dim";
        box *= m->box[d];
    }
    if (m->swizzle != 0 && m->swizzle != 32 && m->swizzle != 64 && m->swizzle != 128)
        return "has a swizzle other than 0, 32, 64, 128 bytes";
    if (m->box[0] * size % 16 || (m->swizzle && m->box[0] * size > m->swizzle))
        return "has a box whose rows are no multiple of 16 bytes, or longer than the swizzle";
    if (box > k->shared_bytes)
        return "has a box larger than the kernel's shared memory";
    const PlanBuffer *f = &p->buffers.data[m->buffer];
    return (f->kind == BUF_INPUT || f->kind == BUF_OUTPUT) && p->alignment < 16 ? "is of a buffer of the caller's, and the plan's alignment is below 16"
                                                                                 : NULL;
}

static bool verify_launch(const Verifier *v, uint32_t i)
{
    const Plan *p = v->p;
    const PlanStep *s = &p->steps.data[i];
    if (s->kernel >= p->kernels.n)
        return refuse(v, "%s: step %u (%s): kernel %u of %u", plan_title(v), i, s->label, s->kernel, p->kernels.n);
    const PlanKernel *k = &p->kernels.data[s->kernel];
    for (uint32_t b = 0; b < k->n_buffers; b++)
        if (s->buffers[b] >= p->buffers.n)
            return refuse(v, "%s: step %u (%s): buffer %u of %u", plan_title(v), i, s->label, s->buffers[b], p->buffers.n);
    for (uint32_t m = 0; m < k->n_maps; m++) {
        const char *mistake = s->maps ? map_mistake(p, k, &s->maps[m]) : "is missing";
        if (mistake)
            return refuse(v, "%s: step %u (%s): tensor map %u %s", plan_title(v), i, s->label, m, mistake);
    }
    return true;
}

static bool verify_step(const Verifier *v, uint32_t i)
{
    const Plan *p = v->p;
    const PlanStep *s = &p->steps.data[i];
    if (!s->label)
        return refuse(v, "%s: step %u has no label", plan_title(v), i);
    switch (s->kind) {
    case STEP_LAUNCH:
        if (!verify_launch(v, i))
            return false;
        break;
    case STEP_MATMUL:
        if (!verify_matmul(v, s))
            return false;
        break;
    case STEP_COPY: case STEP_FILL:
        if (s->to >= p->buffers.n || (s->kind == STEP_COPY && s->from >= p->buffers.n) || !s->bytes)
            return refuse(v, "%s: step %u (%s): no such buffer", plan_title(v), i, s->label);
        break;
    }
    for (uint32_t k = 0; k < s->n_deps; k++)
        if (s->deps[k] >= i)
            return refuse(v, "%s: step %u (%s) waits for step %u, which is no earlier one", plan_title(v), i, s->label, s->deps[k]);
    return true;
}

/* ---- the plan as a whole ---- */

typedef struct { uint32_t first, last; } Life;

static bool verify_uses(const Verifier *v, Life *life)
{
    const Plan *p = v->p;
    for (uint32_t b = 0; b < p->buffers.n; b++)
        life[b] = (Life){UINT32_MAX, 0};
    for (uint32_t i = 0; i < p->steps.n; i++) {
        const PlanStep *s = &p->steps.data[i];
        const uint32_t *list;
        uint32_t n = step_buffers(p, s, &list, v->a);
        for (uint32_t k = 0; k < n; k++) {
            uint32_t b = list[k];
            bool known;
            unsigned access = step_access(p, s, b, &known);
            BufferKind kind = p->buffers.data[b].kind;
            if ((kind == BUF_INPUT || kind == BUF_WEIGHT) && (access & ACCESS_WRITE))
                return refuse(v, "%s: step %u (%s) writes %s \"%s\"", plan_title(v), i, s->label, buffer_kind_name(kind),
                              p->buffers.data[b].name);
            bool fresh = life[b].first == UINT32_MAX && (kind == BUF_WORKSPACE || kind == BUF_OUTPUT);
            if (fresh && !(access & ACCESS_WRITE) && access)
                return refuse(v, "%s: step %u (%s) reads \"%s\" before any step has written it", plan_title(v), i, s->label,
                              p->buffers.data[b].name);
            if (life[b].first == UINT32_MAX)
                life[b].first = i;
            life[b].last = i;
        }
    }
    for (uint32_t b = p->n_inputs; b < p->n_inputs + p->n_outputs; b++)
        if (life[b].first == UINT32_MAX && !dim_is(p->buffers.data[b].bytes, 0))
            return refuse(v, "%s: no step writes output \"%s\"", plan_title(v), p->buffers.data[b].name);
    return true;
}

typedef struct { int64_t begin, end; uint32_t buffer; } Span;

static int compare_spans(const void *a, const void *b)
{
    const Span *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->buffer < y->buffer ? -1 : x->buffer > y->buffer;
}

static bool verify_overlap(const Verifier *v, const BoundPlan *b, const Life *life)
{
    const Plan *p = v->p;
    Span *spans = arena_new_array(v->a, Span, p->buffers.n + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->buffers.n; i++)
        if (p->buffers.data[i].kind == BUF_WORKSPACE && b->buffers[i].bytes && life[i].first != UINT32_MAX)
            spans[n++] = (Span){b->buffers[i].offset, b->buffers[i].offset + b->buffers[i].bytes, i};
    qsort(spans, n, sizeof *spans, compare_spans);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = i + 1; k < n && spans[k].begin < spans[i].end; k++) {
            const Life *x = &life[spans[i].buffer], *y = &life[spans[k].buffer];
            uint32_t begin = x->first > y->first ? x->first : y->first, end = x->last < y->last ? x->last : y->last;
            if (begin < end)
                return refuse(v, "%s: buffers \"%s\" and \"%s\" share bytes of the workspace while both are in use (steps %u to %u)",
                              plan_title(v), p->buffers.data[spans[i].buffer].name, p->buffers.data[spans[k].buffer].name, begin, end);
        }
    return true;
}

static bool verify_sizes(const Verifier *v, const BoundPlan *b, const int64_t *symbols)
{
    const Plan *p = v->p;
    DimValue *values = arena_new_array(v->a, DimValue, p->symbols.n + 1);
    for (uint32_t i = 0; i < p->symbols.n; i++)
        values[i] = (DimValue){p->symbols.data[i].name, symbols[i]};
    for (uint32_t i = 0; i < p->buffers.n; i++) {
        const PlanBuffer *f = &p->buffers.data[i];
        if (f->kind == BUF_WORKSPACE)
            continue;
        int64_t count = dtype_bytes(f->dtype), dim;
        for (uint32_t k = 0; k < f->rank; k++)
            if (!dim_eval(f->shape[k], values, p->symbols.n, &dim, NULL) || dim < 0 || __builtin_mul_overflow(count, dim, &count))
                return refuse(v, "%s: dim %u of \"%s\" is no size", plan_title(v), k, f->name);
        if (count != b->buffers[i].bytes)
            return refuse(v, "%s: \"%s\" has %lld bytes by its type and %lld by the plan", plan_title(v), f->name, (ll)count,
                          (ll)b->buffers[i].bytes);
    }
    return true;
}

/* Sample 0: the smallest sizes (at least 1 where allowed); 1: odd small ones; 2: the largest, where they can be computed. */
static bool verify_sample(const Verifier *v, int sample, const Life *life)
{
    const Plan *p = v->p;
    int64_t *symbols = arena_new_array(v->a, int64_t, p->symbols.n + 1);
    for (uint32_t i = 0; i < p->symbols.n; i++) {
        const PlanSymbol *s = &p->symbols.data[i];
        int64_t one = s->lo < 1 && s->hi >= 1 ? 1 : s->lo, odd = s->hi - one < 37 ? s->hi : one + 37;
        symbols[i] = sample == 0 ? one : sample == 1 ? odd : s->hi;
    }
    Diags *quiet = sample == 2 ? diags_new(v->a) : v->d;
    BoundPlan *b = plan_evaluate(p, symbols, v->a, quiet);
    if (!b)
        return sample == 2;
    return verify_sizes(v, b, symbols) && verify_overlap(v, b, life);
}

static bool verify_all(const Verifier *v)
{
    const Plan *p = v->p;
    if (p->n_inputs + p->n_outputs > p->buffers.n)
        return refuse(v, "%s: %u inputs and %u outputs, but %u buffers", plan_title(v), p->n_inputs, p->n_outputs, p->buffers.n);
    for (uint32_t i = 0; i < p->buffers.n; i++)
        if (!verify_buffer(v, i))
            return false;
    if (!verify_head(v) || !verify_weights(v) || !verify_kernels(v))
        return false;
    for (uint32_t i = 0; i < p->steps.n; i++)
        if (!verify_step(v, i))
            return false;
    Life *life = arena_new_array(v->a, Life, p->buffers.n + 1);
    if (!verify_uses(v, life))
        return false;
    for (int sample = 0; sample < (p->symbols.n ? 3 : 1); sample++)
        if (!verify_sample(v, sample, life))
            return false;
    return true;
}

bool plan_verify(const Plan *p, Diags *d)
{
    Verifier v = {p, d, arena_new()};
    bool good = verify_all(&v);
    arena_free(v.a);
    return good;
}
