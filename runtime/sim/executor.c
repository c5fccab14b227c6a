/* runtime/sim/executor.c — runs plans compiled for CUDA without a GPU: their PTX through the simulator, everything checked.
 *
 * Tensors lie in host memory. For each call, every buffer of the plan becomes one buffer of the simulated memory with exactly its
 * bytes, so that an access past its end is found though another one lies behind it. */
#include "runtime/executor.h"
#include "runtime/host_buffers.h"
#include "runtime/sim/host_matmul.h"
#include "runtime/sim/sim.h"
#include "runtime/sim/tensor_map.h"

struct ExecDevice {
    Arena *arena;
    HostBuffers memory;
};

struct Executor {
    ExecDevice *device;
    bool owns_device;
    Arena *arena;
    const Plan *plan;
    const PtxModule **modules;           /* of each kernel */
    SimMemory *memory;
    void **pointers;
    uint64_t *addresses;                 /* a buffer each, of the call at hand */
};

/* ---- memory: the host's ---- */

static void *sim_stage(ExecDevice *v, uint32_t slot, size_t bytes, void *stream, Diags *d)
{
    (void)stream;
    return host_stage(&v->memory, slot, bytes, d);
}

static bool sim_copy(ExecDevice *v, const StridedCopy *c, void *stream, Diags *d)
{
    int64_t all = 1;
    (void)v, (void)stream, (void)d;
    for (uint32_t k = 0; k < c->rank; k++)
        all *= c->shape[k];
    for (int64_t i = 0; i < all; i++) {
        int64_t from = 0, to = 0, left = i;
        for (uint32_t k = c->rank; k-- > 0; left /= c->shape[k]) {
            from += left % c->shape[k] * c->from_strides[k];
            to += left % c->shape[k] * c->to_strides[k];
        }
        memcpy((char *)c->to + to * c->element, (const char *)c->from + from * c->element, c->element);
    }
    return true;
}

static ExecDevice *sim_device_open(Context *cx, const pawl_session_options *opt)
{
    Arena *a = arena_new();
    ExecDevice *v = arena_new_of(a, ExecDevice);
    (void)cx, (void)opt;
    v->arena = v->memory.arena = a;
    return v;
}

static void sim_device_close(ExecDevice *v)
{
    if (!v)
        return;
    host_buffers_free(&v->memory);
    arena_free(v->arena);
}

/* ---- opening ---- */

/* PTX of the plan's own architecture first, else the portable one. */
static const PlanCode *find_ptx(const Plan *p, const PlanKernel *k)
{
    const PlanCode *found = NULL;
    vec_foreach(PlanCode, c, &k->code)
        if (c->kind == CODE_PTX && c->bytes && (!found || c->arch == p->arch || strcmp(c->arch, p->arch) == 0))
            found = c;
    return found;
}

static const PtxModule *read_module(Executor *e, Context *cx, const PlanKernel *k, const PlanCode *c)
{
    Source *s = arena_new_of(e->arena, Source);
    size_t len = c->len && ((const char *)c->bytes)[c->len - 1] == '\0' ? c->len - 1 : c->len;
    *s = (Source){.name = arena_printf(e->arena, "%s.%s.ptx", k->name, c->arch), .text = arena_strndup(e->arena, c->bytes, len), .len = len,
                  .first_line = 1, .first_col = 1};
    return ptx_read(e->arena, cx->diags, s);
}

/* Its parameters are pointers and i64, then tensor maps: the launch copies as many bytes as the code says. */
static bool check_entry(const PlanKernel *k, const PtxFunction *f, Diags *d)
{
    uint32_t words = k->n_buffers + k->n_scalars, n = words + k->n_maps;
    if (!f)
        return diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "the PTX of kernel %s does not define it", k->name);
    bool good = f->params.n == n;
    for (uint32_t i = 0; i < n && good; i++)
        good = i < words ? f->params.data[i]->bytes <= 8 : f->params.data[i]->bytes == TENSOR_MAP_BYTES;
    return good || diag_error(d, PAWL_EXIT_INVALID, f->loc, NULL, "%s has other parameters than the plan says: %u words and %u tensor maps of %d bytes",
                              k->name, words, k->n_maps, TENSOR_MAP_BYTES);
}

static bool load_kernels(Executor *e, Context *cx)
{
    const Plan *p = e->plan;
    const void **loaded = arena_alloc(e->arena, sizeof *loaded * (p->kernels.n + 1));
    e->modules = arena_alloc(e->arena, sizeof *e->modules * (p->kernels.n + 1));
    for (uint32_t i = 0; i < p->kernels.n; i++) {
        const PlanKernel *k = &p->kernels.data[i];
        const PlanCode *c = find_ptx(p, k);
        if (!c)
            return diag_error(cx->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, "compile it with --device sim, or with --emitter llvm",
                              "kernel %s has no PTX, which is what the simulator runs", k->name);
        loaded[i] = c->bytes;
        for (uint32_t j = 0; j < i && !e->modules[i]; j++)
            e->modules[i] = loaded[j] == c->bytes ? e->modules[j] : NULL;
        if (!e->modules[i])
            e->modules[i] = read_module(e, cx, k, c);
        if (!e->modules[i])
            return false;
        if (!check_entry(k, ptx_entry(e->modules[i], k->name), cx->diags))
            return false;
    }
    return true;
}

static void sim_close(Executor *e)
{
    if (!e)
        return;
    sim_memory_free(e->memory);
    if (e->owns_device)
        sim_device_close(e->device);
    arena_free(e->arena);
}

static Executor *sim_open_on(ExecDevice *v, Context *cx, const Plan *plan)
{
    if (plan->target != TARGET_CUDA) {
        diag_error(cx->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, "compile it for sm_90a", "plan %s was not compiled for cuda, whose code the simulator runs",
                   plan->name);
        return NULL;
    }
    for (uint32_t i = 0; i < plan->weights.n; i++)
        if (!plan->weights.data[i].data) {
            diag_error(cx->diags, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "weight %s has no data", plan->weights.data[i].name);
            return NULL;
        }
    Arena *a = arena_new();
    Executor *e = arena_new_of(a, Executor);
    *e = (Executor){.device = v, .arena = a, .plan = plan, .memory = sim_memory_new()};
    e->pointers = arena_new_array(a, void *, plan->buffers.n + 1);
    e->addresses = arena_new_array(a, uint64_t, plan->buffers.n + 1);
    if (load_kernels(e, cx))
        return e;
    sim_close(e);
    return NULL;
}

static Executor *sim_open(Context *cx, const Plan *plan, const pawl_session_options *opt)
{
    ExecDevice *v = sim_device_open(cx, opt);
    Executor *e = sim_open_on(v, cx, plan);
    if (e)
        e->owns_device = true;
    else
        sim_device_close(v);
    return e;
}

/* ---- running ---- */

static bool encode_maps(Executor *e, const PlanStep *s, const BoundStep *b, const void **args, Arena *a, Diags *d)
{
    uint32_t n = e->plan->kernels.data[s->kernel].n_maps;
    uint8_t *bytes = arena_alloc(a, (size_t)n * TENSOR_MAP_BYTES + 1);
    for (uint32_t i = 0; i < n; i++) {
        const PlanTensorMap *p = &s->maps[i];
        const BoundTensorMap *o = &b->maps[i];
        SimTensorMap m = {.type = p->dtype == DT_F32 ? PT_F32 : p->dtype == DT_F16 ? PT_F16 : PT_BF16, .rank = p->rank,
                          .base = e->addresses[p->buffer] + (uint64_t)o->offset, .swizzle = p->swizzle};
        for (uint32_t k = 0; k < p->rank; k++) {
            m.dims[k] = (uint64_t)o->dims[k];
            m.box[k] = p->box[k];
            m.steps[k] = 1;
            if (k)
                m.strides[k - 1] = (uint64_t)o->strides[k - 1];
        }
        args[i] = bytes + (size_t)i * TENSOR_MAP_BYTES;
        const char *wrong = sim_tensor_map_encode(&m, bytes + (size_t)i * TENSOR_MAP_BYTES);
        if (wrong)
            return diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "tensor map %u (\"%s\") of %s: %s", i,
                              e->plan->buffers.data[p->buffer].name, s->label, wrong);
    }
    return true;
}

static bool run_launch(Executor *e, const PlanStep *s, const BoundStep *b, Arena *a, Diags *d)
{
    const PlanKernel *k = &e->plan->kernels.data[s->kernel];
    const PtxModule *m = e->modules[s->kernel];
    uint32_t n = k->n_buffers + k->n_scalars + k->n_maps, fixed = sim_static_shared(m, ptx_entry(m, k->name));
    const void **args = arena_alloc(a, sizeof *args * (n + 1));
    if (b->blocks == 0)
        return true;
    if (!encode_maps(e, s, b, args + k->n_buffers + k->n_scalars, a, d))
        return false;
    for (uint32_t i = 0; i < k->n_buffers; i++)
        args[i] = &e->addresses[s->buffers[i]];
    for (uint32_t i = 0; i < k->n_scalars; i++)
        args[k->n_buffers + i] = &b->scalars[i];
    SimLaunch l = {.entry = k->name, .args = args, .n_args = n, .dynamic_shared = k->shared_bytes > fixed ? k->shared_bytes - fixed : 0};
    for (int i = 0; i < 3; i++) {
        l.grid[i] = (uint32_t)b->grid[i];
        l.block[i] = k->block[i];
    }
    if (k->cluster > 1) {
        l.cluster[0] = k->cluster;
        l.cluster[1] = l.cluster[2] = 1;
    }
    SimResult r;
    if (!sim_run(e->memory, m, &l, a, d, &r))
        return false;
    for (uint32_t i = 0; i < r.n_faults; i++)
        sim_fault_diagnose(m, &r.faults[i], d);
    return r.finished && r.n_faults == 0;
}

static bool run_step(Executor *e, const PlanStep *s, const BoundStep *b, Arena *a, Diags *d)
{
    switch (s->kind) {
    case STEP_LAUNCH:
        return run_launch(e, s, b, a, d);
    case STEP_COPY:
    case STEP_FILL:
        if (s->kind == STEP_FILL)
            memset(e->pointers[s->to], 0, (size_t)b->bytes);
        else
            memmove(e->pointers[s->to], e->pointers[s->from], (size_t)b->bytes);
        sim_memory_set_initialised(e->memory, e->addresses[s->to], true);
        return true;
    case STEP_MATMUL:
        host_matmul(&s->matmul, b->matmul, e->pointers);
        sim_memory_set_initialised(e->memory, e->addresses[s->matmul.d], true);
        return true;
    }
    return false;
}

static void place_buffers(Executor *e, const BoundPlan *bound, void *const *inputs, void *const *outputs)
{
    const Plan *p = e->plan;
    for (uint32_t i = 0; i < p->buffers.n; i++) {
        const PlanBuffer *f = &p->buffers.data[i];
        void *at = NULL;
        switch (f->kind) {
        case BUF_INPUT:     at = inputs[f->io]; break;
        case BUF_OUTPUT:    at = outputs[f->io]; break;
        case BUF_WEIGHT:    at = host_weight(&e->device->memory, p->weights.data[f->io].data->data); break;
        case BUF_WORKSPACE: at = (char *)e->device->memory.workspace.at + bound->buffers[i].offset; break;
        }
        bool given = f->kind == BUF_INPUT || f->kind == BUF_WEIGHT;
        e->pointers[i] = at;
        e->addresses[i] = sim_memory_add(e->memory, &(SimBuffer){.name = f->name ? f->name : "workspace", .data = at,
                                         .bytes = (uint64_t)bound->buffers[i].bytes, .initialised = given, .read_only = given, .tag = i});
    }
}

static bool sim_run_plan(Executor *e, void *const *inputs, void *const *outputs, const int64_t *symbols, void *stream, Diags *d)
{
    ExecDevice *v = e->device;
    Arena *a = arena_new();
    BoundPlan *bound = plan_evaluate(e->plan, symbols, a, d);
    bool good = bound && (!bound->workspace_bytes || host_block(&v->memory.workspace, (size_t)bound->workspace_bytes, "workspace", d));
    (void)stream;
    if (good) {
        place_buffers(e, bound, inputs, outputs);
        for (uint32_t i = 0; i < e->plan->steps.n && good; i++)
            good = run_step(e, &e->plan->steps.data[i], &bound->steps[i], a, d);
        for (uint32_t i = 0; i < e->plan->buffers.n; i++)
            sim_memory_forget(e->memory, e->addresses[i]);
    }
    arena_free(a);
    return good;
}

static bool sim_set_weight(Executor *e, uint32_t weight, const void *host_data, size_t bytes, Diags *d)
{
    return host_replace_weight(&e->device->memory, e->plan, weight, host_data, bytes, d);
}

const ExecutorOps executor_sim = {
    .name = "sim", .open = sim_open, .close = sim_close, .run = sim_run_plan, .set_weight = sim_set_weight,
    .device_open = sim_device_open, .device_close = sim_device_close, .open_on = sim_open_on,
    .alloc = host_alloc, .release = host_release, .upload = host_move, .download = host_move, .synchronize = host_synchronize,
    .copy = sim_copy, .stage = sim_stage
};
