/* codegen/kinds/row.c — reductions along rows, with everything that uses their results along the same row: norms, softmax, and
 * plain reductions over the inner dims.
 *
 * T neighbouring threads share a row; each takes every T-th vector of it. Reductions run level by level (a softmax has two); the
 * outputs follow. With `items` unrolled, what one phase loaded or computed at an element is still in registers for the next; rows
 * that are too long for that are walked in a loop; what was read is kept in shared memory where it fits (each thread finds its own
 * elements there: no barrier), else it is read again, mostly from cache.
 *
 * A row that one block cannot hold is shared by a cluster of blocks (cluster.c): each holds a part, as one block holds a row, and only what
 * is reduced passes between them.
 *
 * Schedule: lanes_row (T), rows a block, vec, cluster, loop (0: unrolled in registers, else vectors a step of the loop), keep (in shared
 * memory), early (what only the outputs need is loaded before the reductions: hides a memory latency, costs registers). */
#include "codegen/group.h"
#include "codegen/kind.h"

enum { MAX_UNROLLED = 16, MAX_ITEMS = 4 * MAX_UNROLLED };

static bool accepts(const KindProblem *p, const char **why_not)
{
    const Group *g = p->g;
    if (!g->reduces.n) {
        *why_not = "no reduction";
        return false;
    }
    if ((*why_not = product_inside_refused(p)))
        return false;
    for (uint32_t i = 0; i < g->reduces.n; i++)
        if (reduce_op(g->reduces.data[i].node) == OP_NONE) {
            *why_not = "argmax and argmin";
            return false;
        }
    return true;
}

/* Elements that a phase of the kernel walks: the longest reduction, or the row of the outputs. */
static Dim row_length(const KindProblem *p)
{
    Dim n = group_row_count(p->cx->dims, p->g);
    for (uint32_t i = 0; i < p->g->reduces.n; i++)
        n = dim_max(p->cx->dims, n, reduced_count(p->cx->dims, p->g->reduces.data[i].node));
    return n;
}

/* Inputs that are read along the row: what a looping schedule may keep in shared memory. */
enum { MAX_KEPT = 4 };
typedef struct { uint32_t n; GroupAccess a[MAX_KEPT]; } Kept;

static Kept find_kept(Context *cx, const Group *g)
{
    Kept k = {0};
    GroupAccesses all = group_accesses(cx, g);
    for (uint32_t i = 0; i < all.n && k.n < MAX_KEPT; i++) {
        bool row = false, whole = true;
        Dim rest = all.a[i].flat;
        for (uint32_t d = 0; d < g->domain.rank; d++) {
            if (dim_is_const(g->sym[d]))
                continue;
            row |= !(g->outer_mask & 1u << d) && dim_uses(rest, g->sym[d]);
            whole &= dim_uses(all.a[i].flat, g->sym[d]);                   /* a vector shared by rows is in cache anyway */
        }
        for (uint32_t d = 0; d < g->domain.rank; d++)
            rest = dim_is_const(g->sym[d]) ? rest : dim_subst(cx->dims, rest, &(DimSubst){g->sym[d], dim_const(cx->dims, 0)}, 1);
        if (row && whole && dim_is_const(rest))
            k.a[k.n++] = all.a[i];
    }
    return k;
}

/* Elements of a kept row, or of the part of each of `cluster` blocks: what the loops walk, whole steps of `step` elements. */
static int64_t kept_length(const KindProblem *p, int64_t step, int64_t cluster)
{
    return (row_length(p)->hi + step * cluster - 1) / (step * cluster) * step;
}

/* Shared memory that keeping them takes for one row; 0: nothing to keep, or rows of unknown length. */
static int64_t kept_bytes(const KindProblem *p, int64_t step, int64_t cluster)
{
    Kept k = find_kept(p->cx, p->g);
    int64_t bytes = 0;
    for (uint32_t i = 0; i < k.n && dim_is_const(row_length(p)); i++)
        bytes += kept_length(p, step, cluster) * dtype_bytes(k.a[i].node->type.dtype);
    return bytes;
}

typedef struct { int64_t t, rows, vec, loop, keep, early, stream, cluster; } Choice;

static void add(Schedule *out, uint32_t *n, uint32_t max, Choice c)
{
    if (*n == max)
        return;
    Schedule s = {.kind = "row"};
    schedule_set(&s, "lanes_row", c.t);
    schedule_set(&s, "rows", c.rows);
    schedule_set(&s, "vec", c.vec);
    schedule_set(&s, "loop", c.loop);
    schedule_set(&s, "early", c.early);
    if (c.keep)
        schedule_set(&s, "keep", 1);
    if (c.stream)
        schedule_set(&s, "stream", 1);
    if (c.cluster)
        schedule_set(&s, "cluster", c.cluster);
    for (uint32_t i = 0; i < *n; i++)
        if (schedule_equal(&out[i], &s))
            return;
    out[(*n)++] = s;
}

/* Few vectors a thread keep everything in registers; more threads a row when rows are few. */
static void add_unrolled(const KindProblem *p, Schedule *out, uint32_t *n, uint32_t max, int64_t r, int64_t o, int64_t vec)
{
    static const int64_t items_order[] = {2, 1, 4, 8, 16};
    int64_t early = o <= 4 * p->m->units;
    for (uint32_t i = 0; i < 5; i++) {
        int64_t t = 1;
        while (t < 1024 && t * vec * items_order[i] < r)
            t *= 2;
        if (t * vec * MAX_UNROLLED < r)
            continue;
        int64_t rows = (t >= 128 ? t : 128) / t;
        add(out, n, max, (Choice){.t = t, .rows = rows, .vec = vec, .early = early});
        add(out, n, max, (Choice){.t = t, .rows = rows, .vec = vec, .early = early, .stream = 1});
        add(out, n, max, (Choice){.t = t, .rows = rows, .vec = vec, .early = !early});
        if (t < 256 && o > 4 * p->m->units)
            add(out, n, max, (Choice){.t = t, .rows = 256 / t, .vec = vec, .early = early});
        if (t <= 32 && t > 1)
            add(out, n, max, (Choice){.t = t, .rows = 64 / t, .vec = vec, .early = early});
        if (t == 1024)
            break;
    }
}

/* As many blocks as hold a row, in registers or else in shared memory, with one or with several a unit. */
static void add_clusters(const KindProblem *p, Schedule *out, uint32_t *n, uint32_t max, int64_t r, int64_t vec)
{
    static const int64_t threads[] = {512, 1024, 256};                         /* two blocks a unit; one; several */
    if (group_passes(p) == 1 || !dim_is_const(row_length(p)))
        return;
    for (uint32_t i = 0; i < 6; i++)
        for (int64_t cluster = 2; cluster <= p->m->cluster; cluster *= 2) {
            int64_t t = threads[i % 3], items = (r + t * vec * cluster - 1) / (t * vec * cluster);
            Choice c = {.t = t, .rows = 1, .vec = vec, .cluster = cluster};
            if (i < 3 && items > 1 && items * vec <= (t < 1024 ? 48 : 32) && items <= MAX_UNROLLED)
                add(out, n, max, c);
            c.loop = 4096 / t < 8 ? 4096 / t : 8;
            c.keep = 1;
            int64_t bytes = kept_bytes(p, t * vec * c.loop, cluster);
            if (i >= 3 && items > 8 && bytes > 0 && bytes + 4096 <= p->m->shared_block)
                add(out, n, max, c);
        }
}

static uint32_t space(const KindProblem *p, Schedule *out, uint32_t max)
{
    uint32_t n = 0;
    Dim length = row_length(p);
    int64_t r = dim_typical(length), o = dim_typical(group_outer_count(p->cx->dims, p->g));
    if (p->m->target == TARGET_CPU) {
        int64_t vec = 16;
        while (vec > 1 && vec > r)
            vec /= 2;
        add(out, &n, max, (Choice){.t = 1, .rows = 1, .vec = vec, .loop = 4});
        add(out, &n, max, (Choice){.t = 1, .rows = 1, .vec = vec, .loop = 1});
        add(out, &n, max, (Choice){.t = 1, .rows = 1, .vec = vec, .loop = 8});
        return n;
    }
    int64_t vec = p->m->vector_bytes / group_widest_bytes(p->g);
    while (vec > 1 && !dim_divides(p->cx->dims, dim_const(p->cx->dims, vec), length))
        vec /= 2;
    if (r > 8192 * (vec < 4 ? vec : 4))                     /* more than a block's threads hold beside what else they need */
        add_clusters(p, out, &n, max, r, vec);
    add_unrolled(p, out, &n, max, r, o, vec);
    if (r > 512 * vec) {
        static const int64_t threads[] = {1024, 512, 256};
        for (uint32_t i = 0; i < 3; i++) {
            Choice c = {.t = threads[i], .rows = 1, .vec = vec, .loop = i ? 4 : 2};
            int64_t bytes = kept_bytes(p, c.t * c.vec * c.loop, 1);
            if (bytes > 0 && bytes + 4096 <= p->m->shared_block) {
                c.keep = 1;
                add(out, &n, max, c);
                c.keep = 0;
            }
            add(out, &n, max, c);
        }
    }
    return n;
}

static double cost(const KindProblem *p, const Schedule *s)
{
    double seconds = group_seconds_memory(p);
    int64_t o = dim_typical(group_outer_count(p->cx->dims, p->g));
    double blocks = (double)o * (double)schedule_get(s, "cluster", 1) / (double)schedule_get(s, "rows", 1);
    if (p->m->target == TARGET_CUDA && schedule_get(s, "loop", 0) && !schedule_get(s, "keep", 0))
        seconds *= group_again_factor(p, 2.0 * p->m->units / (double)(o ? o : 1));
    if (p->m->target == TARGET_CUDA && blocks < p->m->units)
        seconds *= p->m->units / (blocks < 1 ? 1 : blocks) > 8 ? 8 : p->m->units / (blocks < 1 ? 1 : blocks);
    if (schedule_get(s, "loop", 0))
        seconds *= 1.1;
    if (!reduces_contiguous(p->g->reduces.data[0].node))
        seconds *= p->m->target == TARGET_CUDA ? 8 : 2;      /* a sector, or a line, for every element */
    return seconds + product_inside_seconds(p) + p->m->launch_seconds;
}

static Dim grid(const KindProblem *p, const Schedule *s)
{
    DimPool *d = p->cx->dims;
    Dim rows = dim_ceildiv(d, group_outer_count(d, p->g), dim_const(d, schedule_get(s, "rows", 1)));
    return dim_mul_const(d, rows, schedule_get(s, "cluster", 1));
}

static uint32_t threads(const KindProblem *p, const Schedule *s)
{
    (void)p;
    return (uint32_t)(schedule_get(s, "lanes_row", 1) * schedule_get(s, "rows", 1));
}

typedef struct { Dim length; KInst *inside, *mask; } ItemMask;

typedef struct {
    KindBuild *b;
    DimPool *p;
    const Group *g;
    int64_t t, vec, loop;
    Cluster cluster;
    Dim share;                              /* of a row: elements of each block of the cluster; 0: there is none */
    Dim outer, in_row;                      /* row number; this thread's place among those of the row */
    Dim coords[MAX_RANK];                   /* outer coordinates set, row coordinates per vector */
    KInst *row_ok;                          /* this thread's row exists; NULL: always */
    Kept kept;                              /* what lies in shared memory once `stored` */
    uint32_t kept_in[MAX_KEPT];
    bool stored;
    ItemMask masks[MAX_ITEMS];
} Row;

/* Flat position within the row of lane 0… of vector `item`. *inside: it lies in the row; *mask: and the row exists (NULL: always).
 * Unrolled phases ask for the same item again: they get the same masks, so that what was computed under them is found again. */
static Dim position(Row *r, Dim item, Dim length, KInst **inside, KInst **mask)
{
    Dim v = dim_add(r->p, dim_mul_const(r->p, item, r->t), r->in_row);
    Dim at = dim_add(r->p, dim_mul_const(r->p, v, r->vec), dim_mul(r->p, r->cluster.rank, r->share));
    if (r->vec > 1)
        at = dim_add(r->p, at, kernel_lane(r->p, (uint32_t)r->vec));
    ItemMask *known = !r->loop && dim_is_const(item) && item->value < MAX_ITEMS ? &r->masks[item->value] : NULL;
    if (known && known->length == length) {
        *inside = known->inside;
        *mask = known->mask;
        return at;
    }
    KInst *c = lower_below(r->b->l, at, length, (uint32_t)r->vec);
    *inside = c->kind == K_CONST && c->i ? NULL : c;
    *mask = mask_and(r->b->k, r->row_ok, *inside);
    if (known)
        *known = (ItemMask){length, *inside, *mask};
    return at;
}

/* Parts of a cluster are those of the longest row in all phases. */
static Dim walked(const Row *r, Dim length) { return r->cluster.blocks > 1 ? row_length(&r->b->problem) : length; }

static int64_t items_of(const Row *r, Dim length)
{
    int64_t step = r->t * r->vec * r->cluster.blocks;
    length = walked(r, length);
    int64_t n = length->hi == INT64_MAX ? INT64_MAX : length->hi;
    return n == INT64_MAX ? INT64_MAX : (n + step - 1) / step;
}

/* Where element `at` of this thread's row lies in a kept array. */
static Dim kept_place(Row *r, Dim at)
{
    Dim row = dim_floordiv(r->p, r->b->thread, dim_const(r->p, r->t));
    int64_t length = kept_length(&r->b->problem, r->t * r->vec * r->loop, r->cluster.blocks);
    return dim_sub(r->p, dim_add(r->p, dim_mul_const(r->p, row, length), at), dim_mul(r->p, r->cluster.rank, r->share));
}

/* The first phase stores what it reads (zeros past the end of the row); later ones know it. */
static void keep_or_recall(Row *r, Dim at)
{
    Kernel *k = r->b->k;
    Dim coords[MAX_RANK];
    group_coords(r->p, r->g, r->outer, at, coords);
    for (uint32_t i = 0; i < r->kept.n; i++) {
        const Node *n = r->kept.a[i].node;
        Index from = group_at(r->p, r->g, &r->kept.a[i].at, node_rank(n), coords);
        if (!r->stored)
            k_shared_store(k, r->kept_in[i], kept_place(r, at),
                           k_cast(k, k_splat(k, lower_value(r->b->l, n, &from, (uint32_t)r->vec), (uint32_t)r->vec), n->type.dtype), NULL);
        else
            lower_know(r->b->l, n, &from,
                       k_cast(k, k_shared_load(k, r->kept_in[i], kept_place(r, at), (uint32_t)r->vec), compute_type(n->type.dtype)));
    }
}

/* ---- one level of reductions ------------------------------------------------------------------------------------------------ */
typedef struct { const GroupReduce *r; KInst *acc[8]; Index at; } Reducing;

static void accumulate(Row *r, Reducing *x, uint32_t n, Dim item, Dim length, uint32_t slot)
{
    Kernel *k = r->b->k;
    KInst *inside, *mask;
    Dim at = position(r, item, length, &inside, &mask);
    lower_mask(r->b->l, mask);
    keep_or_recall(r, at);
    for (uint32_t i = 0; i < n; i++) {
        const Node *node = x[i].r->node;
        Index in = index_reduced(r->p, node, &x[i].at, at);
        KInst *v = k_splat(k, lower_value(r->b->l, node->in[0], &in, (uint32_t)r->vec), (uint32_t)r->vec);
        v = k_cast(k, v, compute_type(node->type.dtype));
        if (inside)
            v = k_select(k, inside, v, reduce_start(k, node, (uint32_t)r->vec));
        x[i].acc[slot] = reduce_combine(k, node, x[i].acc[slot], v);
    }
    lower_mask(r->b->l, NULL);
}

static void reduce_level(Row *r, Reducing *x, uint32_t n)
{
    Kernel *k = r->b->k;
    Dim length = reduced_count(r->p, x[0].r->node);
    uint32_t slots = r->loop ? (uint32_t)r->loop : 1;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < slots; j++)
            x[i].acc[j] = reduce_start(k, x[i].r->node, (uint32_t)r->vec);
    if (!r->loop) {
        int64_t items = items_of(r, length);
        for (int64_t i = 0; i < items; i++)
            accumulate(r, x, n, dim_const(r->p, i), length, 0);
    } else {
        KInst *init[BLOCK_REDUCES * 8], *next[BLOCK_REDUCES * 8];
        Dim steps = dim_ceildiv(r->p, walked(r, length), dim_const(r->p, r->t * r->vec * slots * r->cluster.blocks));
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t j = 0; j < slots; j++)
                init[i * slots + j] = x[i].acc[j];
        lower_scope(r->b->l);
        KInst *loop = k_loop(k, "step", dim_const(r->p, 0), steps, 1, init, n * slots, 1);
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t j = 0; j < slots; j++)
                x[i].acc[j] = k_carry(k, loop, i * slots + j);
        for (uint32_t j = 0; j < slots; j++)
            accumulate(r, x, n, dim_add_const(r->p, dim_mul_const(r->p, loop->var, slots), j), length, j);
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t j = 0; j < slots; j++)
                next[i * slots + j] = x[i].acc[j];
        k_loop_end(k, loop, next);
        lower_scope_end(r->b->l);
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t j = 0; j < slots; j++)
                x[i].acc[j] = k_result(k, loop, i * slots + j);
    }
    const Node *nodes[BLOCK_REDUCES];
    KInst *all[BLOCK_REDUCES];
    for (uint32_t i = 0; i < n; i++) {
        nodes[i] = x[i].r->node;
        for (uint32_t j = 1; j < slots; j++)
            x[i].acc[0] = reduce_combine(k, nodes[i], x[i].acc[0], x[i].acc[j]);
        all[i] = k_lane_reduce(k, reduce_op(nodes[i]), x[i].acc[0]);
    }
    block_reduce_all(r->b, nodes, all, n, (uint32_t)r->t);
    cluster_reduce_all(r->b, &r->cluster, nodes, all, n, dim_const(r->p, 0), 1, r->in_row, (uint32_t)r->t);
    for (uint32_t i = 0; i < n; i++)
        lower_know(r->b->l, nodes[i], &x[i].at, all[i]);
}

static void reduce_all(Row *r)
{
    const Group *g = r->g;
    for (uint32_t i = 0; i < g->reduces.n; ) {
        Reducing x[BLOCK_REDUCES];
        uint32_t n = 0;
        const GroupReduce *first = &g->reduces.data[i];
        Dim length = reduced_count(r->p, first->node);
        while (i < g->reduces.n && n < BLOCK_REDUCES && g->reduces.data[i].level == first->level &&
               reduced_count(r->p, g->reduces.data[i].node) == length) {
            const GroupReduce *red = &g->reduces.data[i++];
            x[n++] = (Reducing){.r = red, .at = group_at(r->p, g, &red->at, node_rank(red->node), r->coords)};
        }
        reduce_level(r, x, n);
        r->stored = true;
    }
}

/* Which outputs depend on a reduction of the group; the others can be stored before it. */
static uint64_t reduced_outputs(const Row *r)
{
    const Group *g = r->g;
    Map *after = map_new(r->b->problem.cx->scratch);
    uint64_t mask = 0;
    for (uint32_t i = 0; i < g->reduces.n; i++)
        map_set(after, g->reduces.data[i].node->id, 1);
    for (uint32_t i = 0; i < g->nodes.n; i++)
        for (uint32_t k = 0; k < g->nodes.data[i]->n_in; k++)
            if (map_has(after, g->nodes.data[i]->in[k]->id))
                map_set(after, g->nodes.data[i]->id, 1);
    for (uint32_t i = 0; i < g->outputs.n; i++)
        mask |= i >= 63 || map_has(after, g->outputs.data[i].node->id) ? (uint64_t)1 << (i < 63 ? i : 63) : 0;
    return mask;
}

/* ---- outputs -------------------------------------------------------------------------------------------------------------------- */
static void store_item(Row *r, Dim item, Dim length, uint64_t which)
{
    KInst *inside, *mask;
    Dim at = position(r, item, length, &inside, &mask);
    group_coords(r->p, r->g, r->outer, at, r->coords);
    lower_mask(r->b->l, mask);
    keep_or_recall(r, at);
    store_some_at(r->b, which, r->coords, (uint32_t)r->vec, mask);
}

static void store_row(Row *r, uint64_t which)
{
    Kernel *k = r->b->k;
    Dim length = group_row_count(r->p, r->g);
    uint64_t along = group_outputs_along(r->g);
    if (which & ~along) {                                  /* one value a row: its first thread stores it */
        KInst *mask = mask_and(k, r->row_ok, r->t > 1 ? k_test(k, r->in_row, dim_const(r->p, 1), 1) : NULL);
        if (r->cluster.blocks > 1)
            mask = mask_and(k, mask, k_test(k, r->cluster.rank, dim_const(r->p, 1), 1));
        store_some_at(r->b, which & ~along, r->coords, 1, mask);
    }
    which &= along;
    if (!which)
        return;
    if (!r->loop) {
        int64_t items = items_of(r, length);
        for (int64_t i = 0; i < items; i++)
            store_item(r, dim_const(r->p, i), length, which);
        return;
    }
    Dim steps = r->cluster.blocks > 1 ? dim_floordiv(r->p, r->share, dim_const(r->p, r->t * r->vec))
                                      : dim_ceildiv(r->p, length, dim_const(r->p, r->t * r->vec));
    lower_scope(r->b->l);
    KInst *loop = k_loop(k, "step", dim_const(r->p, 0), steps, 1, NULL, 0, r->loop > 1 ? (int)r->loop : 1);
    store_item(r, loop->var, length, which);
    k_loop_end(k, loop, NULL);
    lower_scope_end(r->b->l);
}

/* Loads that do not depend on a reduction, at every place where the outputs will want them: remembered by the lowering. */
static void load_early(Row *r)
{
    Dim length = group_row_count(r->p, r->g);
    GroupAccesses all = group_accesses(r->b->problem.cx, r->g);
    int64_t items = dim_is(length, 1) ? 0 : items_of(r, length);
    for (int64_t i = 0; i < items; i++) {
        KInst *inside, *mask;
        Dim at = position(r, dim_const(r->p, i), length, &inside, &mask);
        group_coords(r->p, r->g, r->outer, at, r->coords);
        lower_mask(r->b->l, mask);
        for (uint32_t k = 0; k < all.n; k++) {
            if (!group_access_plain(r->p, r->g, &all.a[k]))
                continue;                                  /* read inside a reduction */
            Index from = group_at(r->p, r->g, &all.a[k].at, node_rank(all.a[k].node), r->coords);
            bool in_bounds = true;
            for (uint32_t d = 0; d < node_rank(all.a[k].node); d++)
                in_bounds &= from.d[d]->lo >= 0 && from.d[d]->hi < all.a[k].node->type.shape.d[d]->hi;
            if (in_bounds)
                lower_value(r->b->l, all.a[k].node, &from, (uint32_t)r->vec);
        }
        lower_mask(r->b->l, NULL);
    }
}

/* Room in shared memory for the inputs that are read along the row. Needs rows of one known length in all phases. */
static bool keep_rows(Row *r, int64_t rows)
{
    int64_t step = r->t * r->vec * r->loop, bytes = r->loop ? kept_bytes(&r->b->problem, step, r->cluster.blocks) : 0;
    if (!bytes || bytes * rows + 4096 > r->b->problem.m->shared_block)
        return false;
    r->kept = find_kept(r->b->problem.cx, r->g);
    for (uint32_t i = 0; i < r->kept.n; i++)
        r->kept_in[i] = kernel_shared(r->b->k, "kept", r->kept.a[i].node->type.dtype, (uint32_t)(rows * kept_length(&r->b->problem, step, r->cluster.blocks)));
    return true;
}

static bool build(KindBuild *b)
{
    DimPool *p = b->k->cx->dims;
    Row r = {.b = b, .p = p, .g = b->problem.g, .t = schedule_get(b->s, "lanes_row", 1), .vec = schedule_get(b->s, "vec", 1),
             .loop = schedule_get(b->s, "loop", 0)};
    int64_t rows = schedule_get(b->s, "rows", 1), blocks = schedule_get(b->s, "cluster", 1);
    if (blocks > 1 && (blocks > b->problem.m->cluster || rows > 1 || !dim_is_const(row_length(&b->problem))))
        return diag_error(b->k->cx->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, NULL, "illegal schedule: no cluster of %lld blocks",
                          (long long)blocks);
    r.cluster = cluster_begin(b, blocks);
    r.share = dim_const(p, blocks > 1 ? kept_length(&b->problem, r.t * r.vec * (r.loop ? r.loop : 1), blocks) : 0);
    if (r.loop > 8 || r.vec > 16 || (!r.loop && items_of(&r, row_length(&b->problem)) > MAX_ITEMS))
        return diag_error(b->k->cx->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, NULL,
                          "illegal schedule: a row of this length does not fit in registers");
    lower_stream(b->l, schedule_get(b->s, "stream", 0) != 0);
    Dim total = group_outer_count(p, r.g);
    Dim t = dim_const(p, r.t);
    r.in_row = dim_mod(p, b->thread, t);
    Dim first = dim_mul_const(p, dim_floordiv(p, b->block, dim_const(p, blocks)), rows);
    r.outer = dim_add(p, first, dim_floordiv(p, b->thread, t));
    KInst *ok = k_test(b->k, r.outer, total, 1);
    r.row_ok = ok->kind == K_CONST && ok->i ? NULL : ok;
    if (schedule_get(b->s, "keep", 0) && !keep_rows(&r, rows))
        return diag_error(b->k->cx->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, NULL, "illegal schedule: rows do not fit into shared memory");
    if (schedule_get(b->s, "early", 0) && !r.loop)
        load_early(&r);
    uint64_t all = r.g->outputs.n < 64 ? ((uint64_t)1 << r.g->outputs.n) - 1 : ~(uint64_t)0, last = r.loop ? all : reduced_outputs(&r);
    group_coords(p, r.g, r.outer, dim_const(p, 0), r.coords);
    if (all & ~last)
        store_row(&r, all & ~last);                        /* while the reductions wait for each other */
    group_coords(p, r.g, r.outer, dim_const(p, 0), r.coords);
    reduce_all(&r);
    store_row(&r, last);
    return true;
}

const KernelKind kind_row = {
    .name = "row", .accepts = accepts, .space = space, .cost = cost, .grid = grid, .threads = threads, .build = build,
};
