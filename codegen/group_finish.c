/* codegen/group_finish.c — groups as the rest of codegen wants them: their order, their nodes and inputs once each, levels of
 * reductions, bytes and operations. */
#include "codegen/group_form.h"

#include <stdlib.h>

int group_by_id(const void *a, const void *b)
{
    uint32_t x = (*(Node *const *)a)->id, y = (*(Node *const *)b)->id;
    return (x > y) - (x < y);
}

static uint32_t unique_nodes(Node **v, uint32_t n)
{
    uint32_t kept = 0;
    if (n)
        qsort(v, n, sizeof *v, group_by_id);
    for (uint32_t i = 0; i < n; i++)
        if (!kept || v[kept - 1] != v[i])
            v[kept++] = v[i];
    return kept;
}

static int by_reduce_id(const void *a, const void *b)
{
    uint32_t x = ((const GroupReduce *)a)->node->id, y = ((const GroupReduce *)b)->node->id;
    return (x > y) - (x < y);
}

/* Level of a reduction: one more than the deepest reduction of the group below it. */
static void find_levels(Former *f, Group *g)
{
    if (g->reduces.n)
        qsort(g->reduces.data, g->reduces.n, sizeof *g->reduces.data, by_reduce_id);
    Map *level = map_new(f->a);
    uint32_t next = 0;
    for (uint32_t i = 0; i < g->nodes.n; i++) {                    /* operands first */
        Node *n = g->nodes.data[i];
        uint64_t deepest = 0;
        for (uint32_t k = 0; k < n->n_in; k++) {
            uint64_t l = map_get(level, n->in[k]->id, 0);
            deepest = l > deepest ? l : deepest;
        }
        if (next < g->reduces.n && g->reduces.data[next].node == n) {
            g->reduces.data[next++].level = (uint32_t)deepest;
            deepest++;
        }
        map_set(level, n->id, deepest);
    }
    for (uint32_t i = 1; i < g->reduces.n; i++)                    /* by level, stable (few) */
        for (uint32_t j = i; j > 0 && g->reduces.data[j - 1].level > g->reduces.data[j].level; j--) {
            GroupReduce t = g->reduces.data[j];
            g->reduces.data[j] = g->reduces.data[j - 1];
            g->reduces.data[j - 1] = t;
        }
}

static Dim node_bytes(DimPool *p, const Node *n)
{
    return dim_mul_const(p, shape_count(p, &n->type.shape), dtype_bytes(n->type.dtype));
}

/* Elements that an access touches at most: one for each value of the loop variables in its index. */
static Dim touched(Former *f, Dim d, Map *seen)
{
    Dim count = dim_const(f->p, 1);
    if (d->kind == DIM_SYM) {
        bool constant = !d->extent && d->lo == 0 && d->hi < INT64_MAX;      /* of a loop: its range says all */
        Dim extent = constant ? dim_const(f->p, d->hi + 1) : d->extent;
        return extent && map_set(seen, (uintptr_t)d, 1) ? extent : count;
    } else if (d->kind == DIM_SUM) {
        for (uint32_t i = 0; i < d->n_terms; i++)
            for (uint32_t k = 0; k < d->terms[i].n_atoms; k++)
                count = dim_mul(f->p, count, touched(f, d->terms[i].atoms[k], seen));
    } else if (d->kind != DIM_CONST) {
        count = dim_mul(f->p, touched(f, d->a, seen), touched(f, d->b, seen));
    }
    return count;
}

/* Elements of `n` that the group's product reads as operands: of a slice only the slice; the originals of split operands hardly ever.
 * NULL: none of its operands. */
static Dim read_by_product(Former *f, const Group *g, const Node *n)
{
    const Node *product = g->matmul;
    Dim most = NULL;
    for (uint32_t k = 0; product && k < product->n_in; k++) {
        if (matmul_operand_base(f->cx, product, k) != n)
            continue;
        SplitOperand x = product->op == OP_SPLIT_MATMUL ? split_operand(product, k % 2) : (SplitOperand){0};
        bool original = x.inv && x.exact == product->in[k];
        Dim count = original ? dim_const(f->p, 0) : dim_min(f->p, shape_count(f->p, &product->in[k]->type.shape), shape_count(f->p, &n->type.shape));
        most = most && !dim_lt(f->p, most, count) ? most : count;
    }
    return most;
}

/* Bytes of an input that the group reads: of a slice only the slice. Scans read what they name, whole; of matrices by group no more than
 * there are rows. */
static Dim bytes_read_of(Former *f, const Group *g, const Node *n, const GroupAccesses *all)
{
    if (g->matmul && g->matmul->op == OP_GROUPED_MATMUL && n == g->matmul->in[1]) {
        Dim groups = n->type.shape.d[0], matrix = dim_floordiv(f->p, node_bytes(f->p, n), groups);
        return dim_mul(f->p, dim_min(f->p, g->matmul->type.shape.d[0], groups), matrix);
    }
    Dim sum = dim_const(f->p, 0), whole = shape_count(f->p, &n->type.shape);
    bool any = false;
    for (uint32_t i = 0; i < all->n; i++) {
        if (all->a[i].node != n)
            continue;
        Dim t = touched(f, all->a[i].flat, map_new(f->a));
        sum = any && !dim_lt(f->p, sum, t) ? sum : t;         /* places of one group overlap more often than not: the widest counts */
        any = true;
    }
    Dim operand = any ? NULL : read_by_product(f, g, n), count = any ? dim_min(f->p, sum, whole) : operand ? operand : whole;
    return dim_mul_const(f->p, count, dtype_bytes(n->type.dtype));
}

static void count_traffic(Former *f, Group *g)
{
    GroupAccesses all = group_accesses(f->cx, g);
    g->bytes_read = g->bytes_written = g->flops = dim_const(f->p, 0);
    for (uint32_t i = 0; i < g->inputs.n; i++)
        g->bytes_read = dim_add(f->p, g->bytes_read, bytes_read_of(f, g, g->inputs.data[i], &all));
    for (uint32_t i = 0; i < g->outputs.n; i++)
        g->bytes_written = dim_add(f->p, g->bytes_written, node_bytes(f->p, g->outputs.data[i].node));
    for (uint32_t i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.data[i];
        Dim work = dim_mul_const(f->p, shape_count(f->p, &n->type.shape), (int64_t)group_op_cost(n));
        if (op_class(n->op) == CLASS_CONTRACT) {
            Node *a = n->in[0];
            Dim k = a->type.shape.d[node_rank(a) - (node_int(n, ATTR_TRANS_A, 0) ? 2 : 1)];
            work = dim_mul_const(f->p, dim_mul(f->p, shape_count(f->p, &n->type.shape), k), 2);
        } else if (op_class(n->op) == CLASS_REDUCE) {
            work = shape_count(f->p, &n->in[0]->type.shape);
        }
        g->flops = dim_add(f->p, g->flops, work);
    }
}

/* Groups in an order that respects data: by depth-first search from the last, with an explicit stack. */
static Groups *sort_groups(Former *f)
{
    Groups *out = arena_new_of(f->cx->arena, Groups);
    out->g = arena_new_array(f->cx->arena, Group *, f->builds.n ? f->builds.n : 1);
    enum { NEW, OPEN, DONE };
    Map *state = map_new(f->a);
    Vec(Build *) stack = {0};
    for (uint32_t i = f->builds.n; i-- > 0; ) {
        if (!f->builds.data[i]->into)
            vec_push(f->a, &stack, f->builds.data[i]);
    }
    while (stack.n) {
        Build *b = vec_last(&stack);
        uint64_t s = map_get(state, (uintptr_t)b, NEW);
        if (s != NEW) {
            stack.n--;
            if (s == OPEN) {
                b->g->id = out->n;
                out->g[out->n++] = b->g;
                map_set(state, (uintptr_t)b, DONE);
            }
            continue;
        }
        map_set(state, (uintptr_t)b, OPEN);
        for (uint32_t k = 0; k < b->g->inputs.n; k++) {
            Build *h = f->home[b->g->inputs.data[k]->id];
            h = h ? build_of(h) : NULL;
            if (!h || h == b)
                continue;
            pawl_assert(map_get(state, (uintptr_t)h, NEW) != OPEN, "groups depend on each other in a circle");
            if (map_get(state, (uintptr_t)h, NEW) == NEW)
                vec_push(f->a, &stack, h);
        }
    }
    return out;
}

Groups *group_finish(Former *f)
{
    Groups *groups = sort_groups(f);
    for (uint32_t i = 0; i < groups->n; i++) {
        Group *x = groups->g[i];
        x->launch = x;
        x->inputs.n = unique_nodes(x->inputs.data, x->inputs.n);
        x->nodes.n = unique_nodes(x->nodes.data, x->nodes.n);
        group_finish_members(f, x);
        find_levels(f, x);
        count_traffic(f, x);
        for (uint32_t k = 0; k < x->members.n; k++) {
            find_levels(f, x->members.data[k]);
            count_traffic(f, x->members.data[k]);
            group_describe(f->cx, x->members.data[k]);
        }
        group_describe(f->cx, x);
    }
    return groups;
}
