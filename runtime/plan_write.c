/* runtime/plan_write.c — a plan as JSON. Dims that are constants are numbers, others text; code and weights are named, not held.
 * Members come in a fixed order, so equal plans give equal bytes. */
#include "runtime/plan_internal.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char *const targets[] = {[TARGET_CPU] = "cpu", [TARGET_CUDA] = "cuda"};
static const char *const code_kinds[] = {[CODE_OBJECT] = "o", [CODE_CUBIN] = "cubin", [CODE_PTX] = "ptx", [CODE_CUDA_SOURCE] = "cu"};
static const char *const buffer_kinds[] = {
    [BUF_INPUT] = "input", [BUF_OUTPUT] = "output", [BUF_WEIGHT] = "weight", [BUF_WORKSPACE] = "workspace"
};
static const char *const epilogues[] = {
    [EPI_NONE] = "none", [EPI_BIAS] = "bias", [EPI_RELU] = "relu", [EPI_GELU_TANH] = "gelu_tanh",
    [EPI_BIAS_RELU] = "bias_relu", [EPI_BIAS_GELU_TANH] = "bias_gelu_tanh"
};
static const char *const step_kinds[] = {
    [STEP_LAUNCH] = "launch", [STEP_MATMUL] = "matmul", [STEP_COPY] = "copy", [STEP_FILL] = "fill"
};
const char *target_name(PlanTarget t) { return targets[t]; }
const char *code_kind_name(CodeKind k) { return code_kinds[k]; }
const char *buffer_kind_name(BufferKind k) { return buffer_kinds[k]; }
const char *epilogue_name(Epilogue e) { return epilogues[e]; }
const char *step_kind_name(StepKind k) { return step_kinds[k]; }

/* Text that is not UTF-8 (a task's file may hold anything) goes in with '?' for its odd bytes. */
static json_t *text(const char *s)
{
    if (!s)
        return json_null();
    json_t *j = json_string(s);
    if (j)
        return j;
    char *copy = strdup(s);
    for (char *c = copy; c && *c; c++)
        if (*c & 0x80)
            *c = '?';
    j = json_string(copy ? copy : "");
    free(copy);
    return j;
}

static json_t *integer(int64_t v) { return json_integer(v); }

static json_t *dim(Arena *a, Dim d)
{
    if (!d)
        return json_null();
    return dim_is_const(d) ? integer(d->value) : text(dim_text(a, d));
}

static json_t *dims(Arena *a, const Dim *d, uint32_t n)
{
    json_t *j = json_array();
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(j, dim(a, d[i]));
    return j;
}

static json_t *numbers(const uint32_t *v, uint32_t n)
{
    json_t *j = json_array();
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(j, integer(v[i]));
    return j;
}

static void put(json_t *o, const char *key, json_t *value)
{
    if (json_is_null(value))
        json_decref(value);
    else
        json_object_set_new(o, key, value);
}

static json_t *buffer_json(Arena *a, const PlanBuffer *f)
{
    json_t *o = json_object();
    put(o, "kind", text(buffer_kinds[f->kind]));
    put(o, "name", text(f->name));
    put(o, "dtype", text(dtype_name(f->dtype)));
    put(o, "shape", dims(a, f->shape, f->rank));
    put(o, "bytes", dim(a, f->bytes));
    if (f->kind == BUF_WORKSPACE)
        put(o, "offset", dim(a, f->offset));
    else
        put(o, "io", integer(f->io));
    return o;
}

static json_t *weight_json(const PlanWeight *w)
{
    json_t *o = json_object(), *params = json_array();
    put(o, "name", text(w->name));
    put(o, "buffer", integer(w->buffer));
    put(o, "key", text(w->key ? w->key : w->name));
    put(o, "recipe", text(w->recipe));
    for (uint32_t i = 0; i < w->n_params; i++)
        json_array_append_new(params, text(w->params[i]));
    put(o, "params", params);
    return o;
}

static const char *default_member(Arena *a, const PlanKernel *k, const PlanCode *c)
{
    return arena_printf(a, "code/%s.%s.%s", k->name, c->arch, code_kinds[c->kind]);
}

static json_t *kernel_json(Arena *a, const PlanKernel *k)
{
    json_t *o = json_object(), *code = json_array();
    put(o, "name", text(k->name));
    put(o, "buffers", integer(k->n_buffers));
    put(o, "scalars", integer(k->n_scalars));
    if (k->n_maps)
        put(o, "maps", integer(k->n_maps));
    if (k->cluster > 1)
        put(o, "cluster", integer(k->cluster));
    if (k->access) {
        char *access = arena_alloc(a, k->n_buffers + 1);
        for (uint32_t i = 0; i < k->n_buffers; i++)
            access[i] = "-rwb"[k->access[i] & 3];
        put(o, "access", text(access));
    }
    put(o, "shared_bytes", integer(k->shared_bytes));
    put(o, "block", numbers(k->block, 3));
    if (k->waits)
        put(o, "waits", json_true());
    put(o, "kind", text(k->kind));
    put(o, "schedule", text(k->schedule));
    put(o, "group", text(k->group));
    put(o, "emitter", text(k->emitter));
    for (uint32_t i = 0; i < k->code.n; i++) {
        const PlanCode *c = &k->code.data[i];
        json_t *m = json_object();
        put(m, "kind", text(code_kinds[c->kind]));
        put(m, "arch", text(c->arch));
        put(m, "member", text(c->member ? c->member : default_member(a, k, c)));
        json_array_append_new(code, m);
    }
    put(o, "code", code);
    return o;
}

static void put_buffer(json_t *o, const char *key, uint32_t b)
{
    if (b != UINT32_MAX)
        put(o, key, integer(b));
}

static void put_size(Arena *a, json_t *o, const char *key, Dim d)
{
    if (d && !dim_is(d, 0))
        put(o, key, dim(a, d));
}

static json_t *matmul_json(Arena *a, const PlanMatmul *m)
{
    json_t *o = json_object();
    put(o, "dtype", text(dtype_name(m->dtype)));
    put(o, "out_dtype", text(dtype_name(m->out_dtype)));
    const struct { const char *key; Dim d; } sizes[] = {
        {"m", m->m}, {"n", m->n}, {"k", m->k}, {"batch", m->batch}, {"lda", m->lda}, {"ldb", m->ldb}, {"ldc", m->ldc}, {"ldd", m->ldd},
        {"a_offset", m->a_offset}, {"b_offset", m->b_offset}, {"c_offset", m->c_offset}, {"d_offset", m->d_offset},
        {"stride_a", m->stride_a}, {"stride_b", m->stride_b}, {"stride_c", m->stride_c}, {"stride_d", m->stride_d},
        {"workspace_bytes", m->workspace_bytes}
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (i < 4)
            put(o, sizes[i].key, dim(a, sizes[i].d));
        else
            put_size(a, o, sizes[i].key, sizes[i].d);
    if (m->trans_a)
        put(o, "trans_a", json_true());
    if (m->trans_b)
        put(o, "trans_b", json_true());
    put_buffer(o, "a", m->a);
    put_buffer(o, "b", m->b);
    put_buffer(o, "c", m->c);
    put_buffer(o, "d", m->d);
    put_buffer(o, "bias", m->bias);
    put_buffer(o, "workspace", m->workspace);
    put(o, "epilogue", text(epilogues[m->epilogue]));
    if (m->tf32)
        put(o, "tf32", json_true());
    put(o, "algorithm", integer(m->algorithm));
    return o;
}

static json_t *map_json(Arena *a, const PlanTensorMap *m)
{
    json_t *o = json_object();
    put(o, "buffer", integer(m->buffer));
    put(o, "dtype", text(dtype_name(m->dtype)));
    put(o, "dims", dims(a, m->dims, m->rank));
    put(o, "strides", dims(a, m->strides, m->rank - 1));
    put_size(a, o, "offset", m->offset);
    put(o, "box", numbers(m->box, m->rank));
    put(o, "swizzle", integer(m->swizzle));
    return o;
}

static json_t *maps_json(Arena *a, const PlanTensorMap *m, uint32_t n)
{
    json_t *list = n ? json_array() : json_null();
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(list, map_json(a, &m[i]));
    return list;
}

static json_t *step_json(Arena *a, const Plan *p, const PlanStep *s)
{
    json_t *o = json_object();
    put(o, "kind", text(step_kinds[s->kind]));
    put(o, "label", text(s->label));
    switch (s->kind) {
    case STEP_LAUNCH:
        put(o, "kernel", integer(s->kernel));
        put(o, "grid", dims(a, s->grid, s->grid[0] ? s->grid[1] ? s->grid[2] ? 3 : 2 : 1 : 0));
        put(o, "buffers", numbers(s->buffers, p->kernels.data[s->kernel].n_buffers));
        put(o, "scalars", dims(a, s->scalars, p->kernels.data[s->kernel].n_scalars));
        put(o, "maps", maps_json(a, s->maps, p->kernels.data[s->kernel].n_maps));
        break;
    case STEP_MATMUL:
        put(o, "matmul", matmul_json(a, &s->matmul));
        break;
    case STEP_COPY: case STEP_FILL:
        if (s->kind == STEP_COPY)
            put(o, "from", integer(s->from));
        put(o, "to", integer(s->to));
        put(o, "bytes", dim(a, s->bytes));
        break;
    }
    put(o, "deps", numbers(s->deps, s->n_deps));
    put_size(a, o, "bytes_read", s->bytes_read);
    put_size(a, o, "bytes_written", s->bytes_written);
    put_size(a, o, "flops", s->flops);
    return o;
}

static json_t *plan_json(const Plan *p, Arena *a)
{
    json_t *o = json_object(), *list;
    put(o, "plan", integer(PLAN_FORMAT));
    put(o, "name", text(p->name));
    put(o, "workload", text(p->workload));
    put(o, "target", text(targets[p->target]));
    put(o, "arch", text(p->arch));
    put(o, "rank", integer(p->rank));
    put(o, "n_ranks", integer(p->n_ranks));
    put(o, "alignment", integer(p->alignment));
    put(o, "workspace_bytes", dim(a, p->workspace_bytes));
    put(o, "symbols", list = json_array());
    for (uint32_t i = 0; i < p->symbols.n; i++) {
        json_t *s = json_object();
        put(s, "name", text(p->symbols.data[i].name));
        put(s, "lo", integer(p->symbols.data[i].lo));
        put(s, "hi", integer(p->symbols.data[i].hi));
        json_array_append_new(list, s);
    }
    put(o, "buffers", list = json_array());
    for (uint32_t i = 0; i < p->buffers.n; i++)
        json_array_append_new(list, buffer_json(a, &p->buffers.data[i]));
    put(o, "weights", list = json_array());
    for (uint32_t i = 0; i < p->weights.n; i++)
        json_array_append_new(list, weight_json(&p->weights.data[i]));
    put(o, "kernels", list = json_array());
    for (uint32_t i = 0; i < p->kernels.n; i++)
        json_array_append_new(list, kernel_json(a, &p->kernels.data[i]));
    put(o, "steps", list = json_array());
    for (uint32_t i = 0; i < p->steps.n; i++)
        json_array_append_new(list, step_json(a, p, &p->steps.data[i]));
    put(o, "decisions", list = json_array());
    for (uint32_t i = 0; i < p->decisions.n; i++) {
        json_t *d = json_object();
        put(d, "choice", text(p->decisions.data[i].choice));
        put(d, "picked", text(p->decisions.data[i].picked));
        put(d, "evidence", text(p->decisions.data[i].evidence));
        json_array_append_new(list, d);
    }
    return o;
}

char *plan_to_json(const Plan *p, Arena *a)
{
    json_t *j = plan_json(p, a);
    char *dump = json_dumps(j, JSON_INDENT(1) | JSON_ENSURE_ASCII);
    char *copy = arena_strdup(a, dump ? dump : "{}");
    free(dump);
    json_decref(j);
    return copy;
}
