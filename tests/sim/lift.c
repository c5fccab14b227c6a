#include "tests/sim/lift.h"

#include "codegen/group.h"
#include "codegen/kind.h"
#include "codegen/emit/emit.h"
#include "ir/text.h"
#include "runtime/sim/residue.h"

#include <stdio.h>
#include <string.h>

typedef struct { const Node *node; void *data; uint64_t address; } Buffer;

typedef struct {
    Context *cx;
    Arena *a;
    const LiftOptions *o;
    ResidueField *f;
    SimResidues *s;
    SimMemory *memory;
    LiftResult *r;
    uint64_t seed;
    Vec(Buffer) buffers;
} Lift;

/* ---- buffers -------------------------------------------------------------------------------------------------------------- */
static int64_t count_of(const Node *n)
{
    int64_t c = 1;
    for (uint32_t i = 0; i < node_rank(n); i++)
        c *= n->type.shape.d[i]->value;
    return c;
}

static uint64_t add_memory(Lift *l, const char *name, uint64_t bytes, void **data, bool initialised)
{
    *data = arena_alloc(l->a, bytes + 1);
    return sim_memory_add(l->memory, &(SimBuffer){.name = name, .data = *data, .bytes = bytes ? bytes : 1, .initialised = initialised});
}

static Buffer *buffer_for(Lift *l, const Node *n, bool initialised)
{
    for (uint32_t i = 0; i < l->buffers.n; i++)
        if (l->buffers.data[i].node == n)
            return &l->buffers.data[i];
    Buffer b = {.node = n};
    b.address = add_memory(l, n->name ? n->name : "value", (uint64_t)count_of(n) * dtype_bytes(n->type.dtype), &b.data, initialised);
    vec_push(l->a, &l->buffers, b);
    return &vec_last(&l->buffers);
}

static bool is_known(const Lift *l, const Node *n)
{
    for (uint32_t i = 0; i < l->buffers.n; i++)
        if (l->buffers.data[i].node == n)
            return true;
    return false;
}

/* The graph's inputs as tensors whose bytes nobody reads. */
static Tensor **blank_inputs(Lift *l, const Graph *g)
{
    Tensor **in = arena_new_array(l->a, Tensor *, g->inputs.n + 1);
    for (uint32_t i = 0; i < g->inputs.n; i++) {
        const Node *n = g->inputs.data[i].node;
        int64_t dims[MAX_RANK];
        for (uint32_t k = 0; k < node_rank(n); k++)
            dims[k] = n->type.shape.d[k]->value;
        in[i] = tensor_new(l->a, n->type.dtype, (int)node_rank(n), dims);
    }
    return in;
}

/* What no kernel computes: values of frozen params alone, made when a package is loaded. */
static void fill_frozen(Lift *l, Graph *g, Node *n)
{
    Buffer *b = buffer_for(l, n, true);
    graph_output(g, "frozen", n);
    Tensor **in = blank_inputs(l, g);
    ResidueDomain *d = residue_domain_new(g, l->f, in, l->seed, l->a);
    const Value *v = eval_all(eval_new(g, &d->domain, in, l->a), g->outputs.n - 1);
    for (int64_t i = 0; i < count_of(n); i++)
        sim_residue_store(l->s, n->type.dtype, (char *)b->data + i * dtype_bytes(n->type.dtype), value_residue(v[i]));
    g->outputs.n--;
}

static void fill_inputs(Lift *l, const Graph *g)
{
    for (uint32_t i = 0; i < g->inputs.n; i++) {
        const GraphInput *in = &g->inputs.data[i];
        Buffer *b = buffer_for(l, in->node, true);
        DType t = in->node->type.dtype;
        bool positive = in->dist_stated && in->dist.kind == DIST_UNIFORM && in->dist.a >= 0;
        for (int64_t k = 0; k < count_of(in->node) && dtype_is_float(t); k++)
            sim_residue_store(l->s, t, (char *)b->data + k * dtype_bytes(t),
                              residue_draw(l->f, philox_key(l->seed, in->name), (uint64_t)k, positive ? RESIDUE_POSITIVE : RESIDUE_ANY_SIGN));
    }
}

/* ---- a launch -------------------------------------------------------------------------------------------------------------- */
static char *edited(Lift *l, const char *ptx)
{
    const LiftEdit *e = &l->o->edit;
    const char *at = e->find ? strstr(ptx, e->find) : NULL;
    if (!at)
        return arena_strdup(l->a, ptx);
    l->r->edited = true;
    return arena_printf(l->a, "%.*s%s%s", (int)(at - ptx), ptx, e->put, at + strlen(e->find));
}

static bool launch(Lift *l, const char *ptx, const uint32_t grid[3], const uint32_t block[3], const uint64_t *address, uint32_t n)
{
    PtxModule *m = ptx_read(l->a, l->cx->diags, source_from_text(l->a, "kernel.ptx", ptx));
    if (!m)
        return false;
    const void **args = arena_new_array(l->a, const void *, n + 1);
    for (uint32_t i = 0; i < n; i++)
        args[i] = &address[i];
    SimLaunch launch = {.args = args, .n_args = n, .domain = sim_residues_domain(l->s), .max_steps = 50000000};
    memcpy(launch.grid, grid, sizeof launch.grid);
    memcpy(launch.block, block, sizeof launch.block);
    SimResult out = {0};
    if (!sim_run(l->memory, m, &launch, l->a, l->cx->diags, &out))
        return false;
    l->r->kernels++;
    if (out.n_faults && !l->r->faults)
        snprintf(l->r->fault, sizeof l->r->fault, "%s, line %u: %s", sim_fault_name(out.faults[0].kind), out.faults[0].inst ? out.faults[0].inst->line : 0,
                 out.faults[0].text);
    l->r->faults += out.n_faults;
    l->r->taken_apart |= sim_residue_taken_apart(l->s) != NULL;
    const SimDecision *d = sim_residue_decisions(l->s);
    for (uint32_t i = 0; d && i < m->code.n; i++)
        l->r->one_sided += (d[i].is_true == 0) != (d[i].is_false == 0);
    return true;
}

/* ---- our compiler's kernels -------------------------------------------------------------------------------------------------- */
typedef struct { Lift *l; Kernel *k; Vec(uint64_t) address; } Building;

static uint32_t give(Building *b, const char *name, DType t, int64_t count, uint64_t address, bool written)
{
    uint32_t i = kernel_buffer(b->k, str_intern(b->l->cx->strs, name), t, dim_const(b->l->cx->dims, count), 16);
    vec_push(b->l->a, &b->address, address);
    b->k->buffers.data[i].written = written;
    b->k->buffers.data[i].read = !written;
    return i;
}

static uint32_t scratch(void *arg, const char *name, DType t, Dim count, bool zeroed)
{
    Building *b = arg;
    void *data;
    uint64_t address = add_memory(b->l, name, (uint64_t)count->value * dtype_bytes(t), &data, zeroed);
    return give(b, name, t, count->value, address, true);
}

static bool run_group(Lift *l, Graph *graph, Group *g, const Schedule *s, const CodegenOptions *o)
{
    const KernelKind *kind = kind_find(s->kind);
    if (!kind->build)
        return false;
    KindProblem p = {l->cx, g, &o->machine, o};
    Building b = {.l = l, .k = kernel_new(l->cx, l->a, s->kind, false, kind->threads(&p, s))};
    kernel_grid(b.k, kind->grid(&p, s), dim_const(l->cx->dims, 1), dim_const(l->cx->dims, 1));
    KindBuild kb = {.problem = p, .s = s, .k = b.k, .l = lower_new(b.k, l->a), .block = b.k->block[0], .thread = b.k->thread, .scratch = scratch,
                    .scratch_arg = &b};
    for (uint32_t i = 0; i < g->inputs.n; i++) {
        Node *n = g->inputs.data[i];
        if (!is_known(l, n))
            fill_frozen(l, graph, n);
        lower_buffer(kb.l, g->inputs.data[i], give(&b, "in", n->type.dtype, count_of(n), buffer_for(l, n, true)->address, false));
    }
    uint32_t *out = arena_new_array(l->a, uint32_t, g->outputs.n);
    for (uint32_t i = 0; i < g->outputs.n; i++) {
        const Node *n = g->outputs.data[i].node;
        out[i] = give(&b, "out", n->type.dtype, count_of(n), buffer_for(l, n, false)->address, true);
    }
    kb.out_buffer = out;
    if (!kind->build(&kb))
        return false;
    kernel_collect_scalars(b.k);
    char *ptx = kernel_verify(b.k, l->cx->diags) ? emit_ptx(l->a, l->cx->diags, &b.k, 1, "sm_90a") : NULL;
    if (!ptx || b.k->scalars.n)
        return false;
    const uint32_t grid[3] = {(uint32_t)b.k->grid[0]->value, 1, 1}, block[3] = {b.k->threads, 1, 1};
    return launch(l, edited(l, ptx), grid, block, b.address.data, b.address.n);
}

static bool run_compiled(Lift *l, Graph *g)
{
    CodegenOptions o = {.fuse = true, .use_library = false};
    if (!machine_cuda(l->cx, "sm_90a", &o.machine))
        return false;
    Groups *gs = groups_form(l->cx, g, &o);
    bool found = !l->o->kind;
    for (uint32_t i = 0; i < gs->n; i++) {
        uint32_t n, first = 0, count = 0;
        Schedule *space = group_space(l->cx, gs->g[i], &o, l->a, &n);
        while (l->o->kind && first < n && strcmp(space[first].kind, l->o->kind))
            first++;
        found |= l->o->kind && first < n;
        first = first < n ? first : 0;
        while (first + count < n && space[first + count].kind == space[first].kind)
            count++;
        if (!n || !run_group(l, g, gs->g[i], &space[first + l->o->schedule % count], &o))
            return false;
    }
    if (!found)
        fprintf(stderr, "no kernel of kind %s\n", l->o->kind);
    return found;
}

/* ---- against the reference ------------------------------------------------------------------------------------------------------ */
static void compare(Lift *l, const Graph *reference, const Graph *g)
{
    Tensor **in = blank_inputs(l, reference);
    ResidueDomain *d = residue_domain_new(reference, l->f, in, l->seed, l->a);
    Evaluator *e = eval_new(reference, &d->domain, in, l->a);
    for (uint32_t k = 0; k < reference->outputs.n; k++) {
        const Node *n = g->outputs.data[k].node;
        const Value *want = eval_all(e, k);
        const Buffer *b = buffer_for(l, n, false);
        for (int64_t i = 0; i < count_of(n); i++) {
            Residue got = sim_residue_load(l->s, n->type.dtype, (const char *)b->data + i * dtype_bytes(n->type.dtype));
            ResidueVerdict v = residue_compare(got, value_residue(want[i]));
            if (v == RESIDUE_DIFFERENT && !l->r->different) {
                l->r->kernel = got;
                l->r->reference = value_residue(want[i]);
            }
            *(v == RESIDUE_EQUAL ? &l->r->equal : v == RESIDUE_DIFFERENT ? &l->r->different : &l->r->unsure) += 1;
        }
    }
}

static Graph *read_graph(Lift *l, const char *text) { return graph_parse(l->cx, source_from_text(l->a, "test", text)); }

static Lift lift_new(const LiftOptions *o, uint64_t seed, LiftResult *r)
{
    static const LiftOptions none = {0};
    Lift l = {.cx = context_new(), .a = arena_new(), .o = o ? o : &none, .seed = seed, .r = r, .memory = sim_memory_new()};
    *r = (LiftResult){0};
    l.f = residue_field_new((uint32_t)(seed % RESIDUE_PAIRS), seed, l.a);
    l.s = sim_residues_new(l.f, l.a);
    return l;
}

static bool lift_end(Lift *l, bool ok)
{
    if (!ok)
        diags_print(l->cx->diags, stderr, false);
    sim_memory_free(l->memory);
    arena_free(l->a);
    context_free(l->cx);
    return ok;
}

bool lift_graph(const char *reference, const LiftOptions *o, uint64_t seed, LiftResult *r)
{
    Lift l = lift_new(o, seed, r);
    Graph *want = read_graph(&l, reference), *g = want && l.o->compiled ? read_graph(&l, l.o->compiled) : want;
    bool ok = g != NULL;
    if (ok)
        fill_inputs(&l, g);
    ok = ok && run_compiled(&l, g);
    if (ok)
        compare(&l, want, g);
    if (g && g != want)
        graph_free(g);
    if (want)
        graph_free(want);
    return lift_end(&l, ok);
}

static bool run_text(Lift *l, const char *reference, const char *ptx, const uint32_t grid[3], const uint32_t block[3])
{
    Graph *g = read_graph(l, reference);
    if (!g)
        return false;
    uint64_t *address = arena_new_array(l->a, uint64_t, g->inputs.n + g->outputs.n);
    uint32_t n = 0;
    fill_inputs(l, g);
    for (uint32_t i = 0; i < g->inputs.n; i++)
        address[n++] = buffer_for(l, g->inputs.data[i].node, true)->address;
    for (uint32_t i = 0; i < g->outputs.n; i++)
        address[n++] = buffer_for(l, g->outputs.data[i].node, false)->address;
    bool ok = launch(l, ptx, grid, block, address, n);
    if (ok)
        compare(l, g, g);
    graph_free(g);
    return ok;
}

bool lift_cuda(const char *reference, const LiftCuda *k, uint64_t seed, LiftResult *r)
{
    Lift l = lift_new(NULL, seed, r);
    char *ptx = NULL;
    const char *text = arena_printf(l.a, "%s%s", k->defines ? k->defines : "", k->source);
    bool ok = nvrtc_ptx(l.a, l.cx->diags, text, "kernel.cu", "sm_90a", &ptx) && run_text(&l, reference, ptx, k->grid, k->block);
    return lift_end(&l, ok);
}
