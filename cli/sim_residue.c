/* cli/sim_residue.c — what `pawl sim --domain residue` fills, compares and says. */
#include "cli/sim_residue.h"
#include "cli/table.h"
#include "ir/identity.h"
#include "ir/import/task.h"
#include <string.h>

ResidueLaunch *residue_launch_new(Cli *c, Context *cx, uint64_t seed)
{
    ResidueLaunch *r = arena_new_of(cx->arena, ResidueLaunch);
    *r = (ResidueLaunch){.c = c, .cx = cx, .seed = seed, .field = residue_field_new((uint32_t)(seed % RESIDUE_PAIRS), seed + 1, cx->arena)};
    r->residues = sim_residues_new(r->field, cx->arena);
    return r;
}

static void *element_of(const Tensor *t, int64_t i) { return (char *)t->data + i * dtype_bytes(t->dtype); }

void residue_launch_buffer(ResidueLaunch *r, const ResidueBuffer *b)
{
    if (!b->tensor || !dtype_is_float(b->tensor->dtype))
        return;
    vec_push(r->cx->arena, &r->buffers, *b);
    for (int64_t i = 0; b->drawn && i < tensor_count(b->tensor); i++)
        sim_residue_store(r->residues, b->tensor->dtype, element_of(b->tensor, i),
                          residue_draw(r->field, philox_key(r->seed, b->name), (uint64_t)i, b->positive ? RESIDUE_POSITIVE : RESIDUE_ANY_SIGN));
}

static const ResidueBuffer *buffer_named(const ResidueLaunch *r, const char *name)
{
    for (uint32_t i = 0; i < r->buffers.n; i++)
        if (strcmp(r->buffers.data[i].name, name) == 0)
            return &r->buffers.data[i];
    return NULL;
}

/* ---- the task at the launch's sizes ----------------------------------------------------------- */

static bool bind_dims(ResidueLaunch *r, const Graph *g, DimValue *v, uint32_t *n)
{
    for (uint32_t i = 0; i < g->inputs.n; i++) {
        const GraphInput *in = &g->inputs.data[i];
        const ResidueBuffer *b = buffer_named(r, in->name);
        if (!b || !b->drawn || b->tensor->rank != (int)node_rank(in->node))
            return diag_error(r->cx->diags, PAWL_EXIT_INVALID, in->node->loc, NULL,
                              "the launch has no initialised buffer of floats that is called '%s' and has %u dims", in->name, node_rank(in->node));
        for (uint32_t k = 0; k < node_rank(in->node); k++) {
            Dim d = in->node->type.shape.d[k];
            bool known = d->kind != DIM_SYM;
            for (uint32_t j = 0; j < *n; j++)
                known |= v[j].name == d->name;
            if (!known && *n < 32)
                v[(*n)++] = (DimValue){d->name, b->tensor->dims[k]};
        }
    }
    return true;
}

static bool tensor_fits(const Node *n, const Tensor *t)
{
    bool fits = n->type.dtype == t->dtype && (int)node_rank(n) == t->rank;
    for (uint32_t i = 0; fits && i < node_rank(n); i++)
        fits = dim_is(n->type.shape.d[i], t->dims[i]);
    return fits;
}

/* ---- comparing ---------------------------------------------------------------------------------- */

static bool compare_output(ResidueLaunch *r, Table *t, const GraphOutput *o, const Value *want, const Tensor *got)
{
    int64_t counts[3] = {0}, first = -1, n = tensor_count(got);
    Residue kernel = {0};
    for (int64_t i = 0; i < n; i++) {
        Residue x = sim_residue_load(r->residues, got->dtype, element_of(got, i));
        ResidueVerdict v = residue_compare(x, value_residue(want[i]));
        counts[v]++;
        if (v == RESIDUE_DIFFERENT && first < 0) {
            first = i;
            kernel = x;
        }
    }
    table_text(t, o->name);
    table_int(t, counts[RESIDUE_EQUAL]);
    table_int(t, counts[RESIDUE_DIFFERENT]);
    table_int(t, counts[RESIDUE_UNSURE]);
    if (first >= 0)
        return diag_error(r->cx->diags, PAWL_EXIT_CHECK_FAILED, LOC_NONE, NULL, "'%s' is another function: element %lld is %.9g, not %.9g", o->name,
                          (long long)first, kernel.v, want[first].v);
    if (n && counts[RESIDUE_EQUAL] * 10 < n * 3)
        return diag_error(r->cx->diags, PAWL_EXIT_CHECK_FAILED, LOC_NONE, "try another --seed",
                          "'%s' cannot be told: only %lld of %lld elements can be compared", o->name, (long long)counts[RESIDUE_EQUAL], (long long)n);
    return true;
}

static bool compare_graph(ResidueLaunch *r, const Graph *g)
{
    static const Column columns[] = {{"output", "output", COL_TEXT}, {"equal", "equal", COL_INT}, {"different", "different", COL_INT},
                                     {"unsure", "unsure", COL_INT}};
    Table *t = table_new(r->cx->arena, columns, 4);
    Tensor **in = arena_new_array(r->cx->arena, Tensor *, g->inputs.n + 1);
    for (uint32_t i = 0; i < g->inputs.n; i++) {
        in[i] = buffer_named(r, g->inputs.data[i].name)->tensor;
        if (!tensor_fits(g->inputs.data[i].node, in[i]))
            return diag_error(r->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "buffer '%s' has another type than the task's", g->inputs.data[i].name);
    }
    ResidueDomain *d = residue_domain_new(g, r->field, in, r->seed, r->cx->arena);
    Evaluator *e = eval_new(g, &d->domain, in, r->cx->arena);
    uint32_t compared = 0;
    bool same = true;
    for (uint32_t k = 0; k < g->outputs.n; k++) {
        const ResidueBuffer *b = buffer_named(r, g->outputs.data[k].name);
        if (!b || b->drawn)
            continue;
        if (!tensor_fits(g->outputs.data[k].node, b->tensor))
            return diag_error(r->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "buffer '%s' has another type than the task's output", b->name);
        same &= compare_output(r, t, &g->outputs.data[k], eval_all(e, k), b->tensor);
        compared++;
    }
    table_print(t, r->c->out, (Format)r->c->o.format);
    return compared ? same : diag_error(r->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "no buffer that the kernel writes has the name of an output of the task");
}

static bool compare_task(ResidueLaunch *r, const char *path)
{
    DimValue v[32];
    uint32_t n = 0;
    Task *t = task_load(r->cx, path);
    Graph *g = t && bind_dims(r, t->graph, v, &n) ? graph_specialise(t->graph, v, n) : NULL;
    bool ok = g && compare_graph(r, g);
    if (g)
        graph_free(g);
    if (t)
        graph_free(t->graph);
    return ok;
}

/* ---- the end -------------------------------------------------------------------------------------- */

static void say_guards(ResidueLaunch *r, const PtxModule *m)
{
    const SimDecision *d = sim_residue_decisions(r->residues);
    for (uint32_t i = 0; d && i < m->code.n; i++)
        if ((d[i].is_true == 0) != (d[i].is_false == 0))
            diag_warn(r->cx->diags, m->code.data[i].loc, "range guard: this went one way in all of %llu decisions",
                      (unsigned long long)(d[i].is_true + d[i].is_false));
}

bool residue_launch_end(ResidueLaunch *r, const PtxModule *m, const char *task)
{
    const PtxInst *apart = sim_residue_taken_apart(r->residues);
    bool ok = true;
    if (apart)
        diag_warn(r->cx->diags, apart->loc, "a float is taken apart by its bits here; compile CUDA C behind lift.cuh, so that math functions stay calls");
    say_guards(r, m);
    if (task)
        ok = compare_task(r, task);
    for (uint32_t i = 0; i < r->buffers.n; i++)
        for (int64_t k = 0; k < tensor_count(r->buffers.data[i].tensor); k++) {
            const Tensor *t = r->buffers.data[i].tensor;
            dtype_store(t->dtype, element_of(t, k), sim_residue_load(r->residues, t->dtype, element_of(t, k)).v);
        }
    return ok;
}
