/* runtime/sim/ptx_flow.c — depth of each instruction in its function's post-dominator tree.
 *
 * Lanes that parted at a branch meet again at its immediate post-dominator. Every block between the two has that one as an
 * ancestor in the tree, hence is deeper: a warp that always runs its deepest lanes first brings them together there, without
 * a stack. (Post-dominators after Cooper, Harvey, Kennedy: A Simple, Fast Dominance Algorithm, 2001, on the reversed graph.) */
#include "runtime/sim/ptx_parse.h"

typedef struct {
    const PtxModule *m;
    const PtxFunction *f;
    uint32_t n;                        /* blocks; block n is the exit */
    uint32_t *start;                   /* n + 1: first instruction of each */
    uint32_t *block_of;                /* an instruction, counted from f->first */
    uint32_t *first_pred, *next_pred, *pred;       /* predecessors in the reversed graph = successors; lists by block */
    uint32_t n_edges, *edge_from, *edge_to;
    uint32_t *order, *number;          /* post order of the reversed graph from the exit; UINT32_MAX: not reached */
    uint32_t *idom;
} Flow;

static bool ends_block(const PtxInst *i) { return i->op == PO_BRA || i->op == PO_BRX || i->op == PO_RET || i->op == PO_EXIT || i->op == PO_TRAP; }
static uint32_t local_target(const Flow *w, uint32_t at) { return at >= w->f->first && at < w->f->first + w->f->n ? at - w->f->first : w->f->n - 1; }

/* Calls visit(arg, target) for every instruction that may follow `i`; the exit is f->n. */
static void each_target(const Flow *w, uint32_t at, void (*visit)(Flow *, uint32_t from, uint32_t to), Flow *out)
{
    const PtxInst *i = &w->m->code.data[w->f->first + at];
    if (i->op == PO_BRA)
        visit(out, at, local_target(w, i->operand[0].target));
    else if (i->op == PO_BRX)
        for (int64_t k = 0; k < i->operand[1].offset; k++)
            visit(out, at, local_target(w, w->m->targets.data[i->operand[1].target + k]));
    else if (ends_block(i))
        visit(out, at, w->f->n);
    if (!ends_block(i) || i->guarded)
        visit(out, at, at + 1);
}

static void mark_leader(Flow *w, uint32_t from, uint32_t to)
{
    (void)from;
    if (to < w->f->n)
        w->block_of[to] = 1;
}

static void add_edge(Flow *w, uint32_t from, uint32_t to)
{
    if (w->edge_from) {
        w->edge_from[w->n_edges] = w->block_of[from];
        w->edge_to[w->n_edges] = to >= w->f->n ? w->n : w->block_of[to];
    }
    w->n_edges++;
}

static void find_blocks(Flow *w, Arena *a)
{
    const PtxFunction *f = w->f;
    w->block_of = arena_new_array(a, uint32_t, f->n + 1);
    w->block_of[0] = 1;
    for (uint32_t i = 0; i < f->n; i++)
        if (ends_block(&w->m->code.data[f->first + i]))
            each_target(w, i, mark_leader, w);
    for (uint32_t i = 0; i + 1 < f->n; i++)
        if (ends_block(&w->m->code.data[f->first + i]))
            w->block_of[i + 1] = 1;
    w->start = arena_new_array(a, uint32_t, f->n + 2);
    for (uint32_t i = 0; i < f->n; i++) {
        if (w->block_of[i])
            w->start[w->n++] = i;
        w->block_of[i] = w->n - 1;
    }
    w->start[w->n] = f->n;
}

static void find_edges(Flow *w, Arena *a)
{
    for (int pass = 0; pass < 2; pass++) {
        uint32_t n = w->n_edges;
        if (pass) {
            w->edge_from = arena_new_array(a, uint32_t, n + 1);
            w->edge_to = arena_new_array(a, uint32_t, n + 1);
        }
        w->n_edges = 0;
        for (uint32_t b = 0; b < w->n; b++)
            each_target(w, w->start[b + 1] - 1, add_edge, w);
    }
    /* lists of CFG predecessors of each block: the successors when walking back from the exit */
    w->first_pred = arena_new_array(a, uint32_t, w->n + 2);
    w->next_pred = arena_new_array(a, uint32_t, w->n_edges + 1);
    for (uint32_t b = 0; b <= w->n; b++)
        w->first_pred[b] = UINT32_MAX;
    for (uint32_t e = w->n_edges; e-- > 0; ) {
        w->next_pred[e] = w->first_pred[w->edge_to[e]];
        w->first_pred[w->edge_to[e]] = e;
    }
}

/* Post order of the walk back from `root`. */
static uint32_t walk_back(Flow *w, Arena *a, uint32_t root, uint32_t n)
{
    struct { uint32_t block, edge; } *stack = arena_alloc(a, sizeof *stack * (w->n + 2));
    uint32_t depth = 0;
    w->number[root] = UINT32_MAX - 1;
    stack[depth].block = root;
    stack[depth++].edge = w->first_pred[root];
    while (depth) {
        uint32_t e = stack[depth - 1].edge;
        if (e == UINT32_MAX) {
            uint32_t b = stack[--depth].block;
            w->number[b] = n;
            w->order[n++] = b;
            continue;
        }
        stack[depth - 1].edge = w->next_pred[e];
        uint32_t from = w->edge_from[e];
        if (w->number[from] == UINT32_MAX) {
            w->number[from] = UINT32_MAX - 1;
            stack[depth].block = from;
            stack[depth++].edge = w->first_pred[from];
        }
    }
    return n;
}

static uint32_t meet(const Flow *w, uint32_t a, uint32_t b)
{
    while (a != b) {
        while (w->number[a] < w->number[b])
            a = w->idom[a];
        while (w->number[b] < w->number[a])
            b = w->idom[b];
    }
    return a;
}

static void find_postdominators(Flow *w, uint32_t n)
{
    /* CFG successors by block */
    for (uint32_t b = 0; b <= w->n; b++)
        w->idom[b] = UINT32_MAX;
    w->idom[w->n] = w->n;
    for (bool changed = true; changed; ) {
        changed = false;
        for (uint32_t k = n; k-- > 0; ) {
            uint32_t b = w->order[k], best = UINT32_MAX;
            if (b == w->n)
                continue;
            for (uint32_t e = w->pred[b]; e < w->n_edges && w->edge_from[e] == b; e++) {
                uint32_t to = w->edge_to[e];
                if (w->number[to] == UINT32_MAX || w->idom[to] == UINT32_MAX)
                    continue;
                best = best == UINT32_MAX ? to : meet(w, best, to);
            }
            if (best != UINT32_MAX && w->idom[b] != best) {
                w->idom[b] = best;
                changed = true;
            }
        }
    }
}

bool flow_analyse(PtxModule *m, const PtxFunction *f, Arena *scratch)
{
    Flow w = {.m = m, .f = f};
    find_blocks(&w, scratch);
    find_edges(&w, scratch);
    w.order = arena_new_array(scratch, uint32_t, w.n + 2);
    w.number = arena_new_array(scratch, uint32_t, w.n + 2);
    w.idom = arena_new_array(scratch, uint32_t, w.n + 2);
    w.pred = arena_new_array(scratch, uint32_t, w.n + 2);              /* first edge that leaves a block: edges are sorted by it */
    for (uint32_t b = 0; b <= w.n; b++) {
        w.number[b] = UINT32_MAX;
        w.pred[b] = w.n_edges;
    }
    for (uint32_t e = w.n_edges; e-- > 0; )
        w.pred[w.edge_from[e]] = e;
    uint32_t n = walk_back(&w, scratch, w.n, 0);
    find_postdominators(&w, n);
    uint32_t *depth = arena_new_array(scratch, uint32_t, w.n + 2);
    for (uint32_t k = n; k-- > 0; ) {
        uint32_t b = w.order[k];
        depth[b] = b == w.n || w.idom[b] == UINT32_MAX ? 0 : depth[w.idom[b]] + 1;
    }
    for (uint32_t i = 0; i < f->n; i++)                                /* blocks that never end stay at 0 */
        m->code.data[f->first + i].depth = depth[w.block_of[i]];
    return true;
}
