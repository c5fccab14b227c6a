/* runtime/cuda/executor.c — runs plans on a GPU: direct launches where there are one or two, else a CUDA graph (graph.c).
 *
 * A session's memory (workspace, staging) is one, so its calls are ordered even when they come on different streams. A stream that
 * the caller is capturing gets the steps one by one; from then on no memory that they point to is given back. */
#include "runtime/cuda/internal.h"
#include <string.h>

/* ---- streams ---- */

static bool is_capturing(ExecDevice *v, CuStream s, bool *capturing, Diags *d)
{
    int status = CU_CAPTURE_NONE;
    *capturing = false;
    if ((uintptr_t)s <= 1)                             /* the default stream cannot be captured */
        return true;
    if (!cuda_check(v->cu, v->cu->StreamIsCapturing(s, &status), "looking at the stream", d))
        return false;
    *capturing = status != CU_CAPTURE_NONE;
    return true;
}

/* Work on this stream starts after what the session did on another. */
static bool follow(ExecDevice *v, CuStream s, Diags *d)
{
    if (v->has_last && v->last == s)
        return true;
    if (v->has_last) {
        int r = v->cu->EventRecord(v->order, v->last);
        r = r ? v->cu->CtxSynchronize() : v->cu->StreamWaitEvent(s, v->order, 0);
        if (!cuda_check(v->cu, r, "waiting for the session's last stream", d))
            return false;
    }
    v->has_last = true;
    v->last = s;
    return true;
}

/* Refuses what a capture forbids, before the driver does and spoils the capture. */
static bool may_allocate(ExecDevice *v, CuStream s, const char *what, Diags *d)
{
    bool capturing;
    if (!is_capturing(v, s, &capturing, d))
        return false;
    return !capturing || diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, "run each shape once before capturing",
                                    "the stream is being captured, and %s", what);
}

/* ---- memory ---- */

static bool regrow(ExecDevice *v, CuPtr *at, size_t *have, size_t want, const char *what, Diags *d)
{
    if (*at && v->lent)
        vec_push(v->arena, &v->retired, *at);
    else if (*at && cuda_check(v->cu, v->cu->CtxSynchronize(), "waiting for the device", d))
        v->cu->MemFree(*at);
    else if (*at)
        return false;
    *have = 0;
    *at = cuda_alloc(v->cu, want, what, d);
    *have = *at ? want : 0;
    return *at != 0;
}

static void *cuda_device_alloc(ExecDevice *v, size_t bytes, Diags *d)
{
    CudaScope scope;
    if (!cuda_enter(v->cu, v->ctx, &scope, d))
        return NULL;
    CuPtr p = cuda_alloc(v->cu, bytes, "memory", d);
    cuda_leave(&scope);
    return (void *)(uintptr_t)p;
}

static void cuda_release(ExecDevice *v, void *p)
{
    CudaScope scope;
    Arena *a = arena_new();
    if (cuda_enter(v->cu, v->ctx, &scope, diags_new(a))) {
        v->cu->MemFree((CuPtr)(uintptr_t)p);
        cuda_leave(&scope);
    }
    arena_free(a);
}

static bool finish(ExecDevice *v, int r, CuStream s, const char *doing, Diags *d)
{
    if (r == CU_OK)
        r = v->cu->StreamSynchronize(s);
    return cuda_check(v->cu, r, doing, d);
}

static bool cuda_upload(ExecDevice *v, void *to, const void *host, size_t bytes, void *stream, Diags *d)
{
    CudaScope scope;
    if (!cuda_enter(v->cu, v->ctx, &scope, d))
        return false;
    int r = bytes ? v->cu->MemcpyHtoDAsync((CuPtr)(uintptr_t)to, host, bytes, stream) : CU_OK;
    bool good = finish(v, r, stream, "copying to the device", d);
    cuda_leave(&scope);
    return good;
}

static bool cuda_download(ExecDevice *v, void *host, const void *from, size_t bytes, void *stream, Diags *d)
{
    CudaScope scope;
    if (!cuda_enter(v->cu, v->ctx, &scope, d))
        return false;
    int r = bytes ? v->cu->MemcpyDtoHAsync(host, (CuPtr)(uintptr_t)from, bytes, stream) : CU_OK;
    bool good = finish(v, r, stream, "copying from the device", d);
    cuda_leave(&scope);
    return good;
}

static bool cuda_synchronize(ExecDevice *v, void *stream, Diags *d)
{
    CudaScope scope;
    if (!cuda_enter(v->cu, v->ctx, &scope, d))
        return false;
    bool good = finish(v, CU_OK, stream, "waiting for the stream", d);
    cuda_leave(&scope);
    return good;
}

static bool stage_grow(ExecDevice *v, uint32_t slot, size_t bytes, CuStream stream, Diags *d)
{
    CudaScope scope;
    if (!cuda_enter(v->cu, v->ctx, &scope, d))
        return false;
    bool good = may_allocate(v, stream, "memory to stage a tensor must be allocated", d) &&
                regrow(v, &v->stages[slot].at, &v->stages[slot].bytes, bytes, "staging memory", d);
    cuda_leave(&scope);
    return good;
}

static void *cuda_stage(ExecDevice *v, uint32_t slot, size_t bytes, void *stream, Diags *d)
{
    if (slot >= STAGES) {
        diag_error(d, PAWL_EXIT_UNSUPPORTED, LOC_NONE, "pass dense, aligned tensors", "more than %d tensors must be staged", STAGES);
        return NULL;
    }
    if ((!v->stages[slot].at || v->stages[slot].bytes < bytes) && !stage_grow(v, slot, bytes, stream, d))
        return NULL;
    return (void *)(uintptr_t)v->stages[slot].at;
}

static bool strided_copy(ExecDevice *v, const StridedCopy *c, CuStream s, Diags *d)
{
    bool capturing;
    if (!is_capturing(v, s, &capturing, d) || (!capturing && !follow(v, s, d)))
        return false;
    v->lent |= capturing;
    const CudaKernels *k = cuda_kernels(v->ordinal, d);
    return k && cuda_check(v->cu, cuda_strided_copy(v->cu, k, c, s), "copying a strided tensor", d);
}

static bool cuda_copy(ExecDevice *v, const StridedCopy *c, void *stream, Diags *d)
{
    CudaScope scope;
    if (!cuda_enter(v->cu, v->ctx, &scope, d))
        return false;
    bool good = strided_copy(v, c, stream, d);
    cuda_leave(&scope);
    return good;
}

/* ---- the device ---- */

static void device_release(ExecDevice *v)
{
    const CudaDriver *cu = v->cu;
    cu->CtxSynchronize();
    if (v->workspace)
        cu->MemFree(v->workspace);
    for (int i = 0; i < STAGES; i++)
        if (v->stages[i].at)
            cu->MemFree(v->stages[i].at);
    for (uint32_t i = 0; i < v->retired.n; i++)
        cu->MemFree(v->retired.data[i]);
    for (uint32_t i = 0; i < v->replaced.n; i++)
        cu->MemFree(v->replaced.data[i].at);
    if (v->order)
        cu->EventDestroy(v->order);
    if (v->own)
        cu->StreamDestroy(v->own);
}

static void cuda_device_close(ExecDevice *v)
{
    CudaScope scope;
    if (!v)
        return;
    if (cuda_enter(v->cu, v->ctx, &scope, diags_new(v->arena))) {
        device_release(v);
        cuda_leave(&scope);
    }
    arena_free(v->arena);
}

static ExecDevice *cuda_device_open(Context *cx, const pawl_session_options *opt)
{
    int ordinal = cuda_ordinal(opt ? opt->device : NULL);
    CuContext ctx = cuda_context(ordinal, cx->diags);
    if (!ctx)
        return NULL;
    Arena *a = arena_new();
    ExecDevice *v = arena_new_of(a, ExecDevice);
    *v = (ExecDevice){.cu = cuda_driver(NULL), .info = cuda_device(ordinal), .arena = a, .ordinal = ordinal, .ctx = ctx,
                      .use_graph = opt ? opt->use_graph : 0};
    CudaScope scope;
    bool good = cuda_enter(v->cu, ctx, &scope, cx->diags);
    if (good) {
        int r = v->cu->StreamCreate(&v->own, CU_STREAM_NONBLOCKING);
        r = r ? r : v->cu->EventCreate(&v->order, CU_EVENT_NO_TIMING);
        good = cuda_check(v->cu, r, "creating a stream", cx->diags);
        cuda_leave(&scope);
    }
    if (!good) {
        cuda_device_close(v);
        return NULL;
    }
    return v;
}

/* ---- opening a plan ---- */

static void list_touches(Executor *e)
{
    const Plan *p = e->plan;
    uint32_t n = p->steps.n;
    e->touches = arena_new_array(e->arena, Touch *, n + 1);
    e->n_touches = arena_new_array(e->arena, uint32_t, n + 1);
    e->io_steps = arena_new_array(e->arena, uint32_t, n + 1);
    bool *keyed = arena_new_array(e->arena, bool, e->n_io + 1);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t *list;
        uint32_t count = step_buffers(p, &p->steps.data[i], &list, e->arena);
        bool io = false, library = p->steps.data[i].kind == STEP_MATMUL;
        e->touches[i] = arena_new_array(e->arena, Touch, count + 1);
        e->n_touches[i] = count;
        for (uint32_t k = 0; k < count; k++) {
            Touch *t = &e->touches[i][k];
            t->buffer = list[k];
            t->access = (uint8_t)step_access(p, &p->steps.data[i], list[k], &t->known);
            io |= list[k] < e->n_io;
            if (library && list[k] < e->n_io)
                keyed[list[k]] = true;
        }
        if (io && !library)
            e->io_steps[e->n_io_steps++] = i;
    }
    e->key = arena_new_array(e->arena, uint32_t, e->n_io + 1);
    for (uint32_t b = 0; b < e->n_io; b++)
        if (keyed[b])
            e->key[e->n_key++] = b;
}

static void make_room(Executor *e)
{
    const Plan *p = e->plan;
    uint32_t most = 1;
    vec_foreach(PlanKernel, k, &p->kernels)
        most = k->n_buffers + k->n_scalars + k->n_maps > most ? k->n_buffers + k->n_scalars + k->n_maps : most;
    e->values = arena_new_array(e->arena, uint64_t, most);
    e->params = arena_new_array(e->arena, void *, most);
    e->pointers = arena_new_array(e->arena, CuPtr, p->buffers.n + 1);
}

static bool check_plan(const Plan *p, Diags *d)
{
    if (p->target != TARGET_CUDA)
        return diag_error(d, PAWL_EXIT_UNSUPPORTED, LOC_NONE, "compile it for cuda as well", "plan %s was compiled for %s, not for cuda",
                          p->name, target_name(p->target));
    if (p->n_ranks > 1)
        return diag_error(d, PAWL_EXIT_UNSUPPORTED, LOC_NONE, NULL, "plan %s is for %u devices at once", p->name, p->n_ranks);
    return true;
}

/* One or two kernels are cheaper launched than put into a graph; so is a single library call, whose pointers then do not matter.
 * A short chain of kernels that may be launched before their predecessors have ended hides its launches that way instead. */
static bool wants_graph(const Executor *e)
{
    const ExecDevice *v = e->device;
    const Plan *p = e->plan;
    bool library = false, early = p->steps.n <= 4;
    for (uint32_t i = 0; i < p->steps.n; i++) {
        const PlanStep *s = &p->steps.data[i];
        library |= s->kind == STEP_MATMUL;
        early &= s->kind == STEP_LAUNCH && e->waits[s->kernel];
    }
    if (early && v->use_graph < 1)
        return false;
    if (v->use_graph > 0 || p->steps.n == 0)
        return v->use_graph == 1 && p->steps.n > 0;
    return p->steps.n > 2 || (library && p->steps.n > 1);
}

static bool prepare(Executor *e, Diags *d)
{
    ExecDevice *v = e->device;
    const Plan *p = e->plan;
    bool ours = false, library = false;
    for (uint32_t i = 0; i < p->steps.n; i++) {
        ours |= p->steps.data[i].kind == STEP_COPY || p->steps.data[i].kind == STEP_FILL;
        library |= p->steps.data[i].kind == STEP_MATMUL;
    }
    if (!cuda_load_kernels(e, d) || (ours && !(e->kernels = cuda_kernels(v->ordinal, d))) ||
        (library && !(e->blas = cublaslt_handle(v->ordinal, d))))
        return false;
    e->weights = weights_acquire(v->ordinal, p->origin ? p->origin : (const void *)v);
    if (!weights_upload(e->weights, v->cu, p, v->own, d))
        return false;
    return p->symbols.n || shape_make(e, NULL, d);
}

static void executor_release(Executor *e)
{
    const CudaDriver *cu = e->device->cu;
    cu->CtxSynchronize();
    for (uint32_t i = 0; i < e->n_shapes; i++)
        shape_release(e, e->shapes[i]);
    for (uint32_t i = 0; i < e->modules.n; i++)
        cu->ModuleUnload(e->modules.data[i]);
    weights_release(e->weights, cu);
}

static void cuda_close(Executor *e)
{
    CudaScope scope;
    if (!e)
        return;
    if (cuda_enter(e->device->cu, e->device->ctx, &scope, diags_new(e->arena))) {
        executor_release(e);
        cuda_leave(&scope);
    }
    if (e->owns_device)
        cuda_device_close(e->device);
    arena_free(e->arena);
}

static Executor *cuda_open_on(ExecDevice *v, Context *cx, const Plan *plan)
{
    CudaScope scope;
    if (!check_plan(plan, cx->diags) || !cuda_enter(v->cu, v->ctx, &scope, cx->diags))
        return NULL;
    Arena *a = arena_new();
    Executor *e = arena_new_of(a, Executor);
    *e = (Executor){.device = v, .arena = a, .plan = plan, .n_io = plan->n_inputs + plan->n_outputs};
    make_room(e);
    list_touches(e);
    bool good = prepare(e, cx->diags);
    cuda_leave(&scope);
    if (good) {
        e->graph_mode = wants_graph(e);
        return e;
    }
    cuda_close(e);
    return NULL;
}

static Executor *cuda_open(Context *cx, const Plan *plan, const pawl_session_options *opt)
{
    ExecDevice *v = cuda_device_open(cx, opt);
    Executor *e = v ? cuda_open_on(v, cx, plan) : NULL;
    if (e)
        e->owns_device = true;
    else
        cuda_device_close(v);
    return e;
}

/* ---- steps ---- */

static CuPtr library_workspace(const Executor *e, const Shape *s, const PlanMatmul *m, const BoundMatmul *b, size_t need, size_t *bytes)
{
    if (m->workspace != UINT32_MAX && (size_t)b->workspace_bytes >= need) {
        *bytes = (size_t)b->workspace_bytes;
        return e->pointers[m->workspace];
    }
    *bytes = s->library_bytes;
    return e->device->workspace + s->library_at;
}

static bool enqueue_matmul(Executor *e, Shape *s, uint32_t step, CuStream stream, Diags *d)
{
    const PlanMatmul *m = &e->plan->steps.data[step].matmul;
    CublasMatmul *p = s->matmuls[step];
    CublasOperands o = {.a = e->pointers[m->a], .b = e->pointers[m->b], .d = e->pointers[m->d]};
    if (m->c != UINT32_MAX)
        o.c = e->pointers[m->c];
    if (m->bias != UINT32_MAX)
        o.bias = e->pointers[m->bias];
    if (cublaslt_workspace(p))
        o.workspace = library_workspace(e, s, m, s->sizes->steps[step].matmul, cublaslt_workspace(p), &o.workspace_bytes);
    return cublaslt_run(p, &o, stream, d);
}

static bool launch_node(Executor *e, const Shape *shape, uint32_t step, CuKernelNode *node)
{
    const BoundStep *b = &shape->sizes->steps[step];
    const PlanStep *s = &e->plan->steps.data[step];
    const PlanKernel *k = &e->plan->kernels.data[s->kernel];
    if (b->blocks == 0)
        return false;
    for (uint32_t i = 0; i < k->n_buffers; i++)
        e->values[i] = e->pointers[s->buffers[i]];
    for (uint32_t i = 0; i < k->n_scalars; i++)
        e->values[k->n_buffers + i] = (uint64_t)b->scalars[i];
    uint32_t words = k->n_buffers + k->n_scalars;
    for (uint32_t i = 0; i < words; i++)
        e->params[i] = &e->values[i];
    for (uint32_t i = 0; i < k->n_maps; i++)
        e->params[words + i] = shape->maps[step][i].bytes;
    *node = (CuKernelNode){.func = e->functions[s->kernel], .grid = {(unsigned)b->grid[0], (unsigned)b->grid[1], (unsigned)b->grid[2]},
                           .block = {k->block[0], k->block[1], k->block[2]}, .shared_bytes = e->dynamic_shared[s->kernel],
                           .params = e->params};
    return true;
}

bool step_node(Executor *e, const Shape *s, uint32_t step, CuKernelNode *node, CudaCall *call)
{
    const PlanStep *p = &e->plan->steps.data[step];
    const BoundStep *b = &s->sizes->steps[step];
    switch (p->kind) {
    case STEP_LAUNCH:
        return launch_node(e, s, step, node);
    case STEP_COPY:
        cuda_call_copy(e->kernels, call, e->pointers[p->to], e->pointers[p->from], (uint64_t)b->bytes);
        break;
    case STEP_FILL:
        cuda_call_zero(e->kernels, call, e->pointers[p->to], (uint64_t)b->bytes);
        break;
    case STEP_MATMUL:
        return false;
    }
    *node = call->node;
    return b->bytes > 0;
}

uint32_t step_cluster(const Executor *e, uint32_t step)
{
    const PlanStep *s = &e->plan->steps.data[step];
    uint32_t cluster = s->kind == STEP_LAUNCH ? e->plan->kernels.data[s->kernel].cluster : 1;
    return cluster > 1 ? cluster : 1;
}

bool step_enqueue(Executor *e, Shape *s, uint32_t step, CuStream stream, Diags *d)
{
    const CudaDriver *cu = e->device->cu;
    CuKernelNode k;
    CudaCall call;
    if (s->matmuls[step])
        return enqueue_matmul(e, s, step, stream, d);
    if (!maps_encode(e, s, step, d))
        return false;
    if (!step_node(e, s, step, &k, &call))
        return true;
    const PlanStep *p = &e->plan->steps.data[step];
    uint32_t cluster = step_cluster(e, step);
    CuLaunchAttribute attributes[2];
    CuLaunch launch = {.grid = {k.grid[0], k.grid[1], k.grid[2]}, .block = {k.block[0], k.block[1], k.block[2]},
                       .shared_bytes = k.shared_bytes, .stream = stream, .attributes = attributes};
    if (p->kind == STEP_LAUNCH && e->waits[p->kernel])
        attributes[launch.n_attributes++] = (CuLaunchAttribute){.id = CU_LAUNCH_PROGRAMMATIC_SERIALIZATION, .value.flag = 1};
    if (cluster > 1)
        attributes[launch.n_attributes++] = (CuLaunchAttribute){.id = CU_LAUNCH_CLUSTER_DIMENSION, .value.cluster = {cluster, 1, 1}};
    int r = cu->LaunchKernelEx(&launch, k.func, k.params, NULL);
    if (r == CU_OK)
        return true;
    Arena *a = arena_new();
    cuda_check(cu, r, arena_printf(a, "launching %s (step %u)", e->plan->steps.data[step].label, step), d);
    arena_free(a);
    return false;
}

/* ---- running ---- */

static CuPtr weight_address(const Executor *e, const void *stored)
{
    vec_foreach(Replaced, r, &e->device->replaced)
        if (r->stored == stored)
            return r->at;
    return weights_find(e->weights, stored);
}

/* Addresses that do not come from the caller: weights move only when the device says so. */
static void place_buffers(Executor *e, Shape *s)
{
    const Plan *p = e->plan;
    bool moved = !e->placed || e->generation != e->device->generation;
    for (uint32_t i = e->n_io; i < p->buffers.n; i++)
        if (p->buffers.data[i].kind == BUF_WORKSPACE)
            e->pointers[i] = e->device->workspace + (CuPtr)s->sizes->buffers[i].offset;
        else if (moved)
            e->pointers[i] = weight_address(e, p->weights.data[p->buffers.data[i].io].data->data);
    e->placed = true;
    e->current = s;
    e->generation = e->device->generation;
    e->stats.workspace_bytes = e->device->workspace_bytes;
}

static bool ready_shape(Executor *e, const int64_t *symbols, bool capturing, Shape **out, Diags *d)
{
    ExecDevice *v = e->device;
    Shape *s = shape_find(e, symbols);
    if (!s && capturing)
        return diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, "run each shape once before capturing",
                          "the stream is being captured, and these shapes have not run yet");
    if (!s && !(s = shape_make(e, symbols, d)))
        return false;
    size_t need = s->library_at + s->library_bytes;
    if (v->workspace_bytes < need) {
        if (capturing)
            return diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, "run each shape once before capturing",
                              "the stream is being captured, and the workspace must grow");
        v->generation++;
        if (!regrow(v, &v->workspace, &v->workspace_bytes, need, "workspace", d))
            return false;
    }
    if (e->current != s || e->generation != v->generation)
        place_buffers(e, s);
    s->used = ++e->clock;
    *out = s;
    return true;
}

static bool run_in_context(Executor *e, void *const *inputs, void *const *outputs, const int64_t *symbols, CuStream stream, Diags *d)
{
    ExecDevice *v = e->device;
    const Plan *p = e->plan;
    bool capturing;
    Shape *s = NULL;
    if (!is_capturing(v, stream, &capturing, d) || !ready_shape(e, symbols, capturing, &s, d))
        return false;
    for (uint32_t i = 0; i < p->n_inputs; i++)
        e->pointers[i] = (CuPtr)(uintptr_t)inputs[i];
    for (uint32_t i = 0; i < p->n_outputs; i++)
        e->pointers[p->n_inputs + i] = (CuPtr)(uintptr_t)outputs[i];
    e->stats.runs++;
    e->stats.captured += capturing;
    v->lent |= capturing;
    if (!capturing && !follow(v, stream, d))
        return false;
    if (e->graph_mode && !capturing)
        return graph_run(e, s, stream, d);
    for (uint32_t i = 0; i < p->steps.n; i++)
        if (!step_enqueue(e, s, i, stream, d))
            return false;
    e->stats.launches += p->steps.n;
    return true;
}

static bool cuda_run(Executor *e, void *const *inputs, void *const *outputs, const int64_t *symbols, void *stream, Diags *d)
{
    CudaScope scope;
    if (!cuda_enter(e->device->cu, e->device->ctx, &scope, d))
        return false;
    bool good = run_in_context(e, inputs, outputs, symbols, stream, d);
    cuda_leave(&scope);
    return good;
}

static bool replace_weight(Executor *e, const void *stored, const void *host, size_t bytes, Diags *d)
{
    ExecDevice *v = e->device;
    CuPtr at = 0;
    vec_foreach(Replaced, r, &v->replaced)
        if (r->stored == stored)
            at = r->at;
    if (!at) {                                         /* the package's own copy is shared with other sessions */
        at = cuda_alloc(v->cu, bytes, "a reloaded weight", d);
        if (!at)
            return false;
        vec_push(v->arena, &v->replaced, ((Replaced){stored, at}));
        v->generation++;
    }
    int r = v->cu->CtxSynchronize();                   /* calls under way still read the old content */
    r = r || !bytes ? r : v->cu->MemcpyHtoDAsync(at, host, bytes, v->own);
    return finish(v, r, v->own, "copying a weight to the device", d);
}

static bool cuda_set_weight(Executor *e, uint32_t weight, const void *host_data, size_t bytes, Diags *d)
{
    const Plan *p = e->plan;
    CudaScope scope;
    if (weight >= p->weights.n || bytes != tensor_bytes(p->weights.data[weight].data))
        return diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "weight %u: %zu bytes are not its size", weight, bytes);
    if (!cuda_enter(e->device->cu, e->device->ctx, &scope, d))
        return false;
    bool good = replace_weight(e, p->weights.data[weight].data->data, host_data, bytes, d);
    cuda_leave(&scope);
    return good;
}

ExecutorStats cuda_executor_stats(const Executor *e) { return e->stats; }

const ExecutorOps executor_cuda = {
    .name = "cuda", .open = cuda_open, .close = cuda_close, .run = cuda_run, .set_weight = cuda_set_weight,
    .device_open = cuda_device_open, .device_close = cuda_device_close, .open_on = cuda_open_on,
    .alloc = cuda_device_alloc, .release = cuda_release, .upload = cuda_upload, .download = cuda_download,
    .synchronize = cuda_synchronize, .copy = cuda_copy, .stage = cuda_stage
};
