/* runtime/cuda/graph.c — a call as one graph launch.
 *
 * Steps of ours are kernel nodes, built explicitly so that they can be patched: when a caller passes other inputs or outputs, the
 * nodes that use them get the new addresses. A library's call is opaque: it is captured on a stream of our own and becomes a child
 * graph, so an executable holds for one tuple of the addresses that library calls use. Up to 16 are kept; past that, the one used
 * longest ago is made over by an update, which costs less than a new one.
 *
 * A kernel that begins by waiting for the kernel before it may be launched while that one still runs, in a graph as on a stream: its
 * edge is programmatic (CUDA driver API, CUgraphEdgeData). What it waits for has itself waited, so that edges left out as implied
 * stay implied. */
#include "runtime/cuda/internal.h"
#include <string.h>

void graph_release(Executor *e, GraphEntry *g)
{
    const CudaDriver *cu = e->device->cu;
    if (g->exec)
        cu->GraphExecDestroy(g->exec);
    if (g->graph)
        cu->GraphDestroy(g->graph);
    g->exec = NULL;
    g->graph = NULL;
}

/* ---- building ---- */

static bool capture_library(Executor *e, Shape *s, uint32_t step, CuGraph *child, Diags *d)
{
    const CudaDriver *cu = e->device->cu;
    CuStream own = e->device->own;
    *child = NULL;
    if (!cuda_check(cu, cu->StreamBeginCapture(own, CU_CAPTURE_RELAXED), "starting to capture a library call", d))
        return false;
    bool good = step_enqueue(e, s, step, own, d);
    int r = cu->StreamEndCapture(own, child);
    if (good)
        good = cuda_check(cu, r, "capturing a library call", d);
    if (!good && *child) {
        cu->GraphDestroy(*child);
        *child = NULL;
    }
    return good;
}

static bool add_library(Executor *e, Shape *s, uint32_t step, CuGraph g, const CuNode *before, uint32_t n, CuNode *node, Diags *d)
{
    const CudaDriver *cu = e->device->cu;
    CuGraph child;
    if (!capture_library(e, s, step, &child, d))
        return false;
    int r = cu->GraphAddChildGraphNode(node, g, before, n, child);       /* clones it */
    cu->GraphDestroy(child);
    return cuda_check(cu, r, "adding a library call to the graph", d);
}

/* The one step before it is a kernel, which lets go of it when all its blocks have begun their work or ended. */
static bool launches_early(const Executor *e, const Shape *s, uint32_t step)
{
    const PlanStep *p = &e->plan->steps.data[step];
    if (p->kind != STEP_LAUNCH || !e->waits[p->kernel] || s->n_before[step] != 1 || !e->device->cu->GraphAddDependencies)
        return false;
    uint32_t before = s->before[step][0];
    return e->plan->steps.data[before].kind == STEP_LAUNCH && s->sizes->steps[before].blocks > 0;
}

static int add_kernel(const Executor *e, const Shape *s, uint32_t step, CuGraph g, const CuNode *before, uint32_t n, const CuKernelNode *k,
                      CuNode *node)
{
    const CudaDriver *cu = e->device->cu;
    static const CuEdge edge = {.from_port = CU_PORT_PROGRAMMATIC, .type = CU_EDGE_PROGRAMMATIC};
    bool early = launches_early(e, s, step);
    int r = cu->GraphAddKernelNode(node, g, before, early ? 0 : n, k);
    uint32_t cluster = step_cluster(e, step);
    if (r == CU_OK && cluster > 1)
        r = cu->GraphKernelNodeSetAttribute(*node, CU_LAUNCH_CLUSTER_DIMENSION, &(CuLaunchValue){.cluster = {cluster, 1, 1}});
    return r == CU_OK && early ? cu->GraphAddDependencies(g, before, node, &edge, 1) : r;
}

static bool add_step(Executor *e, Shape *s, uint32_t step, CuGraph g, const CuNode *before, uint32_t n, CuNode *node, Diags *d)
{
    const CudaDriver *cu = e->device->cu;
    CuKernelNode k;
    CudaCall call;
    if (s->matmuls[step])
        return add_library(e, s, step, g, before, n, node, d);
    if (!maps_encode(e, s, step, d))
        return false;
    if (!step_node(e, s, step, &k, &call))
        return cuda_check(cu, cu->GraphAddEmptyNode(node, g, before, n), "adding an empty step to the graph", d);
    return cuda_check(cu, add_kernel(e, s, step, g, before, n, &k, node), "adding a kernel to the graph", d);
}

static CuGraph build(Executor *e, Shape *s, CuNode *nodes, Diags *d)
{
    const CudaDriver *cu = e->device->cu;
    const Plan *p = e->plan;
    CuGraph g = NULL;
    if (!cuda_check(cu, cu->GraphCreate(&g, 0), "creating a graph", d))
        return NULL;
    Arena *a = arena_new();
    CuNode *before = arena_new_array(a, CuNode, p->steps.n + 1);
    bool good = true;
    e->stats.graph_nodes = p->steps.n;
    e->stats.graph_edges = 0;
    for (uint32_t i = 0; i < p->steps.n && good; i++) {
        for (uint32_t k = 0; k < s->n_before[i]; k++)
            before[k] = nodes[s->before[i][k]];
        e->stats.graph_edges += s->n_before[i];
        good = add_step(e, s, i, g, before, s->n_before[i], &nodes[i], d);
    }
    arena_free(a);
    if (!good) {
        cu->GraphDestroy(g);
        return NULL;
    }
    return g;
}

static bool instantiate(Executor *e, Shape *s, GraphEntry *g, Diags *d)
{
    const CudaDriver *cu = e->device->cu;
    g->graph = build(e, s, g->nodes, d);
    if (!g->graph)
        return false;
    if (!cuda_check(cu, cu->GraphInstantiate(&g->exec, g->graph, 0), "instantiating a graph", d)) {
        g->exec = NULL;
        graph_release(e, g);
        return false;
    }
    e->stats.instantiated++;
    return true;
}

/* The same executable for other addresses. Its own graph and nodes stay: they are the names by which it is patched. */
static bool make_over(Executor *e, Shape *s, GraphEntry *g, Diags *d)
{
    const CudaDriver *cu = e->device->cu;
    CuUpdateResult result = {0};
    Arena *a = arena_new();
    CuNode *nodes = arena_new_array(a, CuNode, e->plan->steps.n + 1);
    CuGraph other = build(e, s, nodes, d);
    arena_free(a);
    if (!other)
        return false;
    int r = cu->GraphExecUpdate(g->exec, other, &result);
    cu->GraphDestroy(other);
    if (r == CU_OK) {
        e->stats.updated++;
        return true;
    }
    cu->CtxSynchronize();                              /* it may be running; errors show at the next call */
    graph_release(e, g);
    return instantiate(e, s, g, d);
}

/* ---- finding ---- */

static bool fits(const Executor *e, const GraphEntry *g)
{
    if (!g->exec || g->generation != e->device->generation)
        return false;
    for (uint32_t i = 0; i < e->n_key; i++)
        if (g->io[e->key[i]] != e->pointers[e->key[i]])
            return false;
    return true;
}

static GraphEntry *find(const Executor *e, Shape *s)
{
    GraphEntry *best = NULL;
    for (uint32_t i = 0; i < s->n_graphs; i++)
        if (fits(e, &s->graphs[i]) && (!best || s->graphs[i].used > best->used))
            best = &s->graphs[i];
    return best;
}

/* A graph whose addresses are outdated goes first, then a free place, then the one used longest ago. */
static GraphEntry *place(const Executor *e, Shape *s)
{
    GraphEntry *oldest = NULL;
    for (uint32_t i = 0; i < s->n_graphs; i++) {
        GraphEntry *g = &s->graphs[i];
        if (!g->exec || g->generation != e->device->generation)
            return g;
        oldest = !oldest || g->used < oldest->used ? g : oldest;
    }
    if (s->n_graphs == GRAPHS)
        return oldest;
    GraphEntry *g = &s->graphs[s->n_graphs++];
    g->nodes = arena_new_array(s->arena, CuNode, e->plan->steps.n + 1);
    g->io = arena_new_array(s->arena, CuPtr, e->n_io + 1);
    return g;
}

static GraphEntry *obtain(Executor *e, Shape *s, Diags *d)
{
    GraphEntry *g = place(e, s);
    bool good = g->exec ? make_over(e, s, g, d) : instantiate(e, s, g, d);
    if (!good)
        return NULL;
    g->generation = e->device->generation;
    memcpy(g->io, e->pointers, sizeof *g->io * e->n_io);
    return g;
}

/* ---- patching and launching ---- */

static bool touches_changed(const Executor *e, const GraphEntry *g, uint32_t step)
{
    for (uint32_t k = 0; k < e->n_touches[step]; k++) {
        uint32_t b = e->touches[step][k].buffer;
        if (b < e->n_io && g->io[b] != e->pointers[b])
            return true;
    }
    return false;
}

/* false: the driver took one of the changes amiss, and the graph is half patched. */
static bool patch(Executor *e, Shape *s, GraphEntry *g)
{
    const CudaDriver *cu = e->device->cu;
    if (memcmp(g->io, e->pointers, sizeof *g->io * e->n_io) == 0)
        return true;
    for (uint32_t i = 0; i < e->n_io_steps; i++) {
        uint32_t step = e->io_steps[i];
        CuKernelNode k;
        CudaCall call;
        if (!touches_changed(e, g, step))
            continue;
        if (!maps_encode(e, s, step, NULL))
            return false;
        if (!step_node(e, s, step, &k, &call))
            continue;
        if (cu->GraphExecKernelSetParams(g->exec, g->nodes[step], &k) != CU_OK)
            return false;
        e->stats.patched++;
    }
    memcpy(g->io, e->pointers, sizeof *g->io * e->n_io);
    return true;
}

bool graph_run(Executor *e, Shape *s, CuStream stream, Diags *d)
{
    const CudaDriver *cu = e->device->cu;
    GraphEntry *g = find(e, s);
    if (g && !patch(e, s, g)) {
        cu->CtxSynchronize();
        graph_release(e, g);
        g = NULL;
    }
    if (!g && !(g = obtain(e, s, d)))
        return false;
    g->used = ++e->clock;
    e->stats.graph_launches++;
    return cuda_check(cu, cu->GraphLaunch(g->exec, stream), "launching the plan's graph", d);
}
