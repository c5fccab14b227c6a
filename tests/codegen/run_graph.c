#include "tests/codegen/run_graph.h"
#include "codegen/emit/emit.h"
#include "codegen/weights.h"
#include "ir/eval.h"
#include "ir/text.h"
#include "passes/pass.h"
#include "runtime/executor.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

static Tensor *input_tensor(Context *cx, const GraphInput *in, uint64_t seed)
{
    const Shape *s = &in->node->type.shape;
    int64_t dims[MAX_RANK];
    for (uint32_t i = 0; i < s->rank; i++)
        dims[i] = s->d[i]->value;
    Tensor *t = tensor_new(cx->arena, in->node->type.dtype, (int)s->rank, dims);
    philox_fill(t->dtype, t->data, 0, tensor_count(t), philox_key(seed, in->name), in->dist);
    return t;
}

typedef struct { Context *cx; const CodegenOptions *o; const RunOptions *run; } Nth;

static bool nth_schedule(void *arg, const Group *g, Schedule *out)
{
    const Nth *n = arg;
    const RunOptions *r = n->run;
    uint32_t count;
    Schedule *space = group_space(n->cx, g, n->o, n->cx->scratch, &count);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!r->kind || !strcmp(space[i].kind, r->kind))
            space[kept++] = space[i];
    if (!kept)
        return false;
    uint32_t wanted = 0;
    for (uint32_t i = 0; r->key && i < kept; i++)
        if (schedule_get(&space[i], r->key, 0) == r->value)
            space[wanted++] = space[i];
    if (wanted && r->with)
        ++*r->with;
    *out = space[r->schedule % (wanted ? wanted : kept)];
    return true;
}

static bool set_weights(Context *cx, Plan *p, const Graph *g, Tensor *const *in)
{
    for (uint32_t i = 0; i < p->weights.n; i++) {
        PlanWeight *w = &p->weights.data[i];
        const Tensor **params = arena_new_array(cx->arena, const Tensor *, w->n_params + 1);
        for (uint32_t k = 0; k < w->n_params; k++)
            for (uint32_t j = 0; j < g->inputs.n; j++)
                if (g->inputs.data[j].name == w->params[k])
                    params[k] = in[j];
        Tensor *made = arena_new_of(cx->arena, Tensor);
        if (!w->recipe && !w->data)
            w->data = params[0];
        else if (w->recipe && weight_fold(cx->arena, cx->diags, w->recipe, w->params, params, w->n_params, made))
            w->data = made;
        if (!w->data)
            return false;
    }
    return true;
}

/* `g` has no symbols left; the plan may, all of them `symbol`. */
static bool execute(Context *cx, Plan *p, const Graph *g, const int64_t *symbol, Tensor *const *in, Tensor **out)
{
    const ExecutorOps *ops = p->target == TARGET_CUDA ? &executor_sim : &executor_cpu;
    pawl_session_options so = {.size = sizeof so, .device = ops->name, .threads = 2};
    Executor *e = ops->open(cx, p, &so);
    if (!e)
        return false;
    void *inputs[64], *outputs[64];
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->inputs.n; i++)
        if (g->inputs.data[i].node->op == OP_INPUT)
            inputs[n++] = in[i]->data;
    for (uint32_t i = 0; i < g->outputs.n; i++) {
        const Shape *s = &g->outputs.data[i].node->type.shape;
        int64_t dims[MAX_RANK];
        for (uint32_t d = 0; d < s->rank; d++)
            dims[d] = s->d[d]->value;
        out[i] = tensor_new(cx->arena, g->outputs.data[i].node->type.dtype, (int)s->rank, dims);
        memset(out[i]->data, 0xff, tensor_bytes(out[i]));              /* poison: NaN, or -1 */
        outputs[i] = out[i]->data;
    }
    bool ok = ops->run(e, inputs, outputs, symbol, NULL, cx->diags);
    ops->close(e);
    return ok;
}

/* A copy as the passes leave it, with any of the alternatives. */
static Graph *rewritten(Context *cx, const Graph *g, const RunOptions *o)
{
    Graph *copy = graph_specialise(g, NULL, 0);
    bool all = o->piece || o->split;
    PassOptions po = {.verify = true, .piece = o->piece, .f16_products = o->split, .split_work = 1, .units = o->split_k, .split_depth = 16};
    if (all)
        po.numerics = (Numerics){NUM_FP32, NUM_FP32, NUM_FP32, 0};
    else if (o->split_k)
        po.numerics.matmul = NUM_FP32;
    if (!copy || !pipeline_run(copy, &po, NULL))
        return NULL;
    uint32_t n;
    ChoiceInfo *list = choices_list(copy, cx->scratch, &n);
    ChoicePick *pick = arena_new_array(cx->scratch, ChoicePick, n + 1);
    for (uint32_t i = 0; i < n; i++)
        if (all && !strcmp(list[i].rule, "split_k"))
            pick[i] = (ChoicePick){list[i].id, 1 + (uint32_t)o->picks % (list[i].n_alternatives - 1)};
        else
            pick[i] = (ChoicePick){list[i].id, all ? list[i].n_alternatives - 1 : (uint32_t)(hash_mix(o->picks, i) >> 32) % list[i].n_alternatives};
    return choices_resolve(copy, pick, n);
}

static bool check_at(Context *cx, Plan *p, const Graph *g, const int64_t *symbol, uint64_t seed)
{
    Tensor *in[64], *out[64];
    for (uint32_t i = 0; i < g->inputs.n; i++)
        in[i] = input_tensor(cx, &g->inputs.data[i], seed);
    if (!set_weights(cx, p, g, in) || !execute(cx, p, g, symbol, in, out))
        return false;
    VerifyReport r;
    if (!verify_outputs(NULL, g, in, out, seed, cx->arena, &r))
        return false;
    for (uint32_t i = 0; i < r.n; i++)
        if (!r.out[i].pass)
            fprintf(stderr, "output %s: %s\n", g->outputs.data[i].name, verdict_text(cx->arena, &r.out[i]));
    return r.pass;
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const PlanCode *code_of(const PlanKernel *k, CodeKind kind)
{
    for (uint32_t i = 0; i < k->code.n; i++)
        if (k->code.data[i].kind == kind)
            return &k->code.data[i];
    return NULL;
}

/* Gives each kernel NVRTC's PTX instead of LLVM's. */
static bool take_nvrtc(Context *cx, Plan *p)
{
    const void *source = NULL;
    char *ptx = NULL;
    for (uint32_t i = 0; i < p->kernels.n; i++) {
        PlanKernel *k = &p->kernels.data[i];
        const PlanCode *c = code_of(k, CODE_CUDA_SOURCE);
        if (!c)
            return false;
        if (c->bytes != source && !nvrtc_ptx(cx->arena, cx->diags, c->bytes, k->name, p->arch, &ptx))
            return false;
        source = c->bytes;
        for (uint32_t j = 0; j < k->code.n; j++)
            if (k->code.data[j].kind == CODE_PTX) {
                k->code.data[j].bytes = ptx;
                k->code.data[j].len = strlen(ptx) + 1;
            }
    }
    return true;
}

static bool check(Context *cx, const char *text, const RunOptions *o, uint64_t seed, Plan **plan)
{
    Graph *g = graph_parse(cx, source_from_text(cx->arena, "test", text)), *compiled = g;
    if (!g)
        return false;
    Machine machine = machine_cpu(cx);
    if (o->sim && !machine_cuda(cx, o->arch ? o->arch : "sm_90a", &machine))
        return false;
    machine.units = o->units ? (int)o->units : machine.units;
    CodegenOptions co = {.machine = machine, .emitter = o->kind && !o->llvm ? EMITTER_NVRTC : EMITTER_LLVM, .keep_source = o->nvrtc || (o->kind && !o->llvm), .fuse = o->fuse};
    co.use_library = o->kind && !strcmp(o->kind, "library");
    Nth nth = {cx, &co, o};
    if (o->schedule || o->kind)
        co.schedules = (ScheduleSource){nth_schedule, &nth};
    double start = cpu_seconds();
    if (o->passes && !(compiled = rewritten(cx, g, o)))
        return false;
    *plan = codegen_plan(cx, compiled, NULL, &co);
    if (o->seconds)
        *o->seconds = fmax(*o->seconds, cpu_seconds() - start);
    if (!*plan || (o->nvrtc && !take_nvrtc(cx, *plan)))
        return false;
    bool used = !o->kind || o->other_kinds;
    for (uint32_t i = 0; i < (*plan)->steps.n; i++)
        used |= co.use_library && (*plan)->steps.data[i].kind == STEP_MATMUL;
    for (uint32_t i = 0; i < (*plan)->kernels.n; i++)
        used |= o->kind && !strcmp((*plan)->kernels.data[i].kind, o->kind);
    if (!used)
        return diag_error(cx->diags, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "no kernel of kind %s", o->kind);
    if (!o->n_symbol)
        return check_at(cx, *plan, g, NULL, seed);
    for (uint32_t i = 0; i < o->n_symbol; i++) {
        bool left = (*plan)->symbols.n > 0;
        DimValue value = {left ? (*plan)->symbols.data[0].name : str_intern(cx->strs, "S"), o->symbol[i]};
        Graph *special = graph_specialise(g, &value, 1);
        if (special && check_at(cx, *plan, special, left ? &o->symbol[i] : NULL, seed))
            continue;
        fprintf(stderr, "%s = %lld\n", value.name, (long long)value.value);
        return false;
    }
    return true;
}

bool run_graph(const char *text, const RunOptions *o, uint64_t seed)
{
    Context *cx = context_new();
    Plan *plan = NULL;
    bool ok = check(cx, text, o, seed, &plan);
    if (!ok) {
        diags_print(cx->diags, stderr, false);
        fprintf(stderr, "fuse=%d schedule=%u passes=%d\n%s\n", o->fuse, o->schedule, o->passes, text);
        if (plan) {
            StrBuf b = strbuf_new(cx->arena);
            plan_print(&b, plan);
            fprintf(stderr, "%s\n", b.text);
        }
    }
    context_free(cx);
    return ok;
}
