/* runtime/cpu/executor.c — runs plans on the host: mapped objects, one parallel loop a launch, in the order of the steps. */
#include "base/pool.h"
#include "runtime/executor.h"
#include "runtime/host_buffers.h"
#include "runtime/plan_internal.h"
#include <string.h>

struct ExecDevice {
    Arena *arena;
    ThreadPool *pool;
    HostBuffers memory;
};

struct Executor {
    ExecDevice *device;
    bool owns_device;
    Arena *arena;
    const Plan *plan;
    HostKernel **kernels;
    Vec(HostCode *) modules;
    void **pointers;                   /* a buffer each */
    void **arguments;                  /* of the launch at hand */
    BoundPlan *bound;
    int64_t *symbols;                  /* what `bound` was evaluated for */
    Arena *bound_arena;
};

static void *cpu_stage(ExecDevice *v, uint32_t slot, size_t bytes, void *stream, Diags *d)
{
    (void)stream;
    return host_stage(&v->memory, slot, bytes, d);
}

/* ---- strided copies: the innermost run by element size, the outer dims in parallel ---- */

typedef struct { const StridedCopy *c; } CopyJob;

static void copy_run(char *to, const char *from, int64_t n, int64_t to_step, int64_t from_step, uint32_t element)
{
    if (to_step == element && from_step == element) {
        memcpy(to, from, (size_t)n * element);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        memcpy(to + i * to_step, from + i * from_step, element);
}

static void copy_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const CopyJob *job = arg;
    const StridedCopy *c = job->c;
    uint32_t last = c->rank - 1;
    for (int64_t row = begin; row < end; row++) {
        int64_t from = 0, to = 0, left = row;
        for (uint32_t k = last; k-- > 0; ) {
            int64_t i = left % c->shape[k];
            left /= c->shape[k];
            from += i * c->from_strides[k];
            to += i * c->to_strides[k];
        }
        copy_run((char *)c->to + to * c->element, (const char *)c->from + from * c->element, c->shape[last],
                 c->to_strides[last] * c->element, c->from_strides[last] * c->element, c->element);
    }
}

static bool cpu_copy(ExecDevice *v, const StridedCopy *c, void *stream, Diags *d)
{
    (void)stream, (void)d;
    int64_t rows = 1;
    for (uint32_t k = 0; k + 1 < c->rank; k++)
        rows *= c->shape[k];
    if (c->rank == 0)
        memcpy(c->to, c->from, c->element);
    else if (rows > 0 && c->shape[c->rank - 1] > 0)
        pool_for(v->pool, rows, 1 + 65536 / c->shape[c->rank - 1], copy_rows, &(CopyJob){c});
    return true;
}

/* ---- opening ---- */

static ExecDevice *cpu_device_open(Context *cx, const pawl_session_options *opt)
{
    (void)cx;
    Arena *a = arena_new();
    ExecDevice *v = arena_new_of(a, ExecDevice);
    v->arena = v->memory.arena = a;
    v->pool = pool_new(opt ? opt->threads : 0);
    return v;
}

static void cpu_device_close(ExecDevice *v)
{
    if (!v)
        return;
    pool_free(v->pool);
    host_buffers_free(&v->memory);
    arena_free(v->arena);
}

/* x86-64 feature levels, by the names that compilers use. */
static bool cpu_supports(const char *arch)
{
    if (strcmp(arch, "x86-64-v4") == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && cpu_supports("x86-64-v3");
    if (strcmp(arch, "x86-64-v3") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
               cpu_supports("x86-64-v2");
    if (strcmp(arch, "x86-64-v2") == 0)
        return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
    return strcmp(arch, "x86-64") == 0 || strcmp(arch, "native") == 0;
}

static int arch_rank(const char *arch)
{
    static const char *const order[] = {"x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4", "native"};
    for (int i = 0; i < 5; i++)
        if (strcmp(order[i], arch) == 0)
            return i;
    return -1;
}

static const PlanCode *best_code(const PlanKernel *k)
{
    const PlanCode *best = NULL;
    vec_foreach(PlanCode, c, &k->code)
        if (c->kind == CODE_OBJECT && c->bytes && cpu_supports(c->arch) && (!best || arch_rank(c->arch) > arch_rank(best->arch)))
            best = c;
    return best;
}

static bool refuse_code(Context *cx, const PlanKernel *k)
{
    StrBuf b = strbuf_new(cx->arena);
    vec_foreach(PlanCode, c, &k->code)
        strbuf_printf(&b, "%s%s.%s", b.len ? ", " : "", c->arch, code_kind_name(c->kind));
    return diag_error(cx->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, "compile the package for this machine's processor",
                      "kernel %s has no code that this processor runs (it has %s)", k->name, b.len ? b.text : "none");
}

/* One module for each distinct piece of code. */
static HostCode *load_module(Executor *e, Context *cx, const PlanCode *c, const void **loaded)
{
    for (uint32_t i = 0; i < e->modules.n; i++)
        if (loaded[i] == c->bytes)
            return e->modules.data[i];
    HostCode *m = host_loader_elf.load(e->arena, cx->diags, c->bytes, c->len);
    if (m) {
        loaded[e->modules.n] = c->bytes;
        vec_push(e->arena, &e->modules, m);
    }
    return m;
}

static bool load_kernels(Executor *e, Context *cx)
{
    const Plan *p = e->plan;
    e->kernels = arena_new_array(e->arena, HostKernel *, p->kernels.n + 1);
    const void **loaded = arena_new_array(e->arena, const void *, p->kernels.n + 1);
    for (uint32_t i = 0; i < p->kernels.n; i++) {
        const PlanKernel *k = &p->kernels.data[i];
        const PlanCode *c = best_code(k);
        if (!c)
            return refuse_code(cx, k);
        HostCode *m = load_module(e, cx, c, loaded);
        if (!m)
            return false;
        e->kernels[i] = host_loader_elf.find(m, k->name);
        if (!e->kernels[i])
            return diag_error(cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "the code of kernel %s does not define it", k->name);
    }
    return true;
}

static bool check_steps(const Plan *p, Context *cx)
{
    if (p->target != TARGET_CPU)
        return diag_error(cx->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, "compile it for the cpu as well",
                          "plan %s was compiled for %s, not for the cpu", p->name, target_name(p->target));
    for (uint32_t i = 0; i < p->steps.n; i++)
        if (p->steps.data[i].kind == STEP_MATMUL)
            return diag_error(cx->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, "the compiler emits matmul kernels of its own for the cpu",
                              "plan %s: step %u (%s) calls the matmul library, which the cpu executor does not have", p->name, i,
                              p->steps.data[i].label);
    return true;
}

static bool bind_weights(Executor *e, Context *cx)
{
    const Plan *p = e->plan;
    for (uint32_t i = 0; i < p->weights.n; i++) {
        const PlanWeight *w = &p->weights.data[i];
        if (!w->data)
            return diag_error(cx->diags, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "weight %s has no data", w->name);
        e->pointers[w->buffer] = host_weight(&e->device->memory, w->data->data);
    }
    return true;
}

static void cpu_close(Executor *e)
{
    if (!e)
        return;
    for (uint32_t i = 0; i < e->modules.n; i++)
        host_loader_elf.unload(e->modules.data[i]);
    if (e->owns_device)
        cpu_device_close(e->device);
    arena_free(e->bound_arena);
    arena_free(e->arena);
}

static Executor *cpu_open_on(ExecDevice *v, Context *cx, const Plan *plan)
{
    Arena *a = arena_new();
    Executor *e = arena_new_of(a, Executor);
    uint32_t most = 1;
    vec_foreach(PlanKernel, k, &plan->kernels)
        most = k->n_buffers > most ? k->n_buffers : most;
    *e = (Executor){.device = v, .arena = a, .plan = plan};
    e->bound_arena = arena_new();
    e->pointers = arena_new_array(a, void *, plan->buffers.n + 1);
    e->arguments = arena_new_array(a, void *, most);
    e->symbols = arena_new_array(a, int64_t, plan->symbols.n + 1);
    if (check_steps(plan, cx) && load_kernels(e, cx) && bind_weights(e, cx))
        return e;
    cpu_close(e);
    return NULL;
}

static Executor *cpu_open(Context *cx, const Plan *plan, const pawl_session_options *opt)
{
    ExecDevice *v = cpu_device_open(cx, opt);
    Executor *e = v ? cpu_open_on(v, cx, plan) : NULL;
    if (e)
        e->owns_device = true;
    else
        cpu_device_close(v);
    return e;
}

/* ---- running ---- */

typedef struct { HostKernel *kernel; void *const *buffers; const BoundStep *step; } Launch;

static void launch_blocks(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const Launch *l = arg;
    l->kernel(l->buffers, l->step->scalars, l->step->grid, begin, end);
}

/* Blocks a thread should take at least, so that what it does outweighs waking it (some 5 µs): 10 bytes or 8 operations a
 * nanosecond. Launches that tell nothing about their work get a few pieces a thread. */
static int64_t grain_of(const BoundStep *s, int threads)
{
    double ns = (double)s->moved / 10 + (double)s->flops / 8;
    int64_t pieces = ns > 0 ? (int64_t)(ns / 10000) + 1 : s->blocks;
    int64_t most = (int64_t)threads * 8;
    pieces = pieces > most ? most : pieces;
    return (s->blocks + pieces - 1) / pieces;
}

static void run_launch(Executor *e, const PlanStep *s, const BoundStep *b)
{
    uint32_t n = e->plan->kernels.data[s->kernel].n_buffers;
    for (uint32_t i = 0; i < n; i++)
        e->arguments[i] = e->pointers[s->buffers[i]];
    Launch l = {e->kernels[s->kernel], e->arguments, b};
    if (b->blocks == 0)
        return;
    int64_t grain = grain_of(b, pool_threads(e->device->pool));
    if (grain >= b->blocks)
        launch_blocks(&l, 0, b->blocks, 0);
    else
        pool_for(e->device->pool, b->blocks, grain, launch_blocks, &l);
}

typedef struct { char *to; const char *from; } MoveJob;
static void move_range(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const MoveJob *m = arg;
    if (m->from)
        memcpy(m->to + begin, m->from + begin, (size_t)(end - begin));
    else
        memset(m->to + begin, 0, (size_t)(end - begin));
}

static void run_step(Executor *e, const PlanStep *s, const BoundStep *b)
{
    switch (s->kind) {
    case STEP_LAUNCH:
        run_launch(e, s, b);
        break;
    case STEP_COPY: case STEP_FILL:
        if (b->bytes)
            pool_for(e->device->pool, b->bytes, 1 << 18, move_range,
                     &(MoveJob){e->pointers[s->to], s->kind == STEP_COPY ? e->pointers[s->from] : NULL});
        break;
    case STEP_MATMUL:
        break;                         /* refused on opening */
    }
}

static bool bind_sizes(Executor *e, const int64_t *symbols, Diags *d)
{
    size_t bytes = sizeof(int64_t) * e->plan->symbols.n;
    if (e->bound && (bytes == 0 || memcmp(e->symbols, symbols, bytes) == 0))
        return true;
    arena_free(e->bound_arena);
    e->bound_arena = arena_new();
    e->bound = plan_evaluate(e->plan, symbols, e->bound_arena, d);
    if (bytes)
        memcpy(e->symbols, symbols, bytes);
    return e->bound;
}

static bool cpu_run(Executor *e, void *const *inputs, void *const *outputs, const int64_t *symbols, void *stream, Diags *d)
{
    (void)stream;
    const Plan *p = e->plan;
    ExecDevice *v = e->device;
    if (!bind_sizes(e, symbols, d))
        return false;
    if (e->bound->workspace_bytes && !host_block(&v->memory.workspace, (size_t)e->bound->workspace_bytes, "workspace", d))
        return false;
    for (uint32_t i = 0; i < p->n_inputs; i++)
        e->pointers[i] = inputs[i];
    for (uint32_t i = 0; i < p->n_outputs; i++)
        e->pointers[p->n_inputs + i] = outputs[i];
    for (uint32_t i = p->n_inputs + p->n_outputs; i < p->buffers.n; i++)
        if (p->buffers.data[i].kind == BUF_WORKSPACE)
            e->pointers[i] = (char *)v->memory.workspace.at + e->bound->buffers[i].offset;
        else if (v->memory.replaced.n)
            e->pointers[i] = host_weight(&v->memory, p->weights.data[p->buffers.data[i].io].data->data);
    for (uint32_t i = 0; i < p->steps.n; i++)
        run_step(e, &p->steps.data[i], &e->bound->steps[i]);
    return true;
}

static bool cpu_set_weight(Executor *e, uint32_t weight, const void *host_data, size_t bytes, Diags *d)
{
    return host_replace_weight(&e->device->memory, e->plan, weight, host_data, bytes, d);
}

const ExecutorOps executor_cpu = {
    .name = "cpu", .open = cpu_open, .close = cpu_close, .run = cpu_run, .set_weight = cpu_set_weight,
    .device_open = cpu_device_open, .device_close = cpu_device_close, .open_on = cpu_open_on,
    .alloc = host_alloc, .release = host_release, .upload = host_move, .download = host_move, .synchronize = host_synchronize,
    .copy = cpu_copy, .stage = cpu_stage
};
