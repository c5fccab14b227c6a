/* codegen/group.c — which values are materialised, and which are recomputed inside their consumers.
 *
 * One walk against the order of the graph: when a node is met, every group that reads it is known, and the coordinates at which
 * each does. The node then either
 *   - joins its only reader (or readers that merge into one group) and passes the demand on to its operands,
 *   - is recomputed in several readers, when that costs less than storing it,
 *   - or is materialised: as one more output of its only reader where its elements are visited one to one, else as the root of a
 *     group of its own.
 * A reduction joins a reader when its coordinates use only some dims of the reader's domain, the same for all its reductions: those
 * are the outer dims, the rest is the row. Everything is linear in nodes; searches for cycles are bounded and refuse when cut off. */
#include "codegen/group_form.h"

#include <math.h>
#include <stdlib.h>

/* ---- demand ------------------------------------------------------------------------------------------------------------------ */
static void demand(Former *f, Node *n, Build *b, const Index *at)
{
    Visit *v = NULL;
    for (uint32_t i = 0; i < f->visits[n->id].n; i++)
        if (build_of(f->visits[n->id].data[i].b) == b)
            v = &f->visits[n->id].data[i];
    if (!v) {
        vec_push(f->a, &f->visits[n->id], ((Visit){.b = b}));
        v = &vec_last(&f->visits[n->id]);
    }
    for (uint32_t i = 0; i < v->n_at; i++)
        if (same_index(&v->at[i], at, node_rank(n)))
            return;
    if (v->n_at == MAX_AT)
        v->many = true;
    else
        v->at[v->n_at++] = *at;
}

static void demand_operands(Former *f, Node *n, Build *b, const Index *at)
{
    if (op_class(n->op) == CLASS_REDUCE) {
        Index in = index_reduced(f->p, n, at, dim_sym_below(f->p, "r", reduced_count(f->p, n)));
        demand(f, n->in[0], b, &in);
    } else if (n->op == OP_GATHER) {
        int64_t axis = node_int(n, ATTR_AXIS, 0);
        uint32_t ri = node_rank(n->in[1]);
        Index table = {0}, index = {0};
        for (uint32_t i = 0; i < ri; i++)
            index.d[i] = at->d[axis + i];
        for (uint32_t i = 0; i < node_rank(n->in[0]); i++)
            table.d[i] = i == axis ? dim_sym_below(f->p, "at", n->in[0]->type.shape.d[i]) : at->d[i < axis ? i : i - 1 + ri];
        demand(f, n->in[0], b, &table);
        demand(f, n->in[1], b, &index);
    } else if (op_class(n->op) != CLASS_CONTRACT && op_class(n->op) != CLASS_SCAN) {
        for (uint32_t k = 0; k < n->n_in; k++) {
            Index in = index_operand(f->p, n, k, at, NULL);
            demand(f, n->in[k], b, &in);
        }
    }
}

/* ---- groups -------------------------------------------------------------------------------------------------------------------- */
static Build *build_new(Former *f, Node *root)
{
    Build *b = arena_new_of(f->a, Build);
    Group *g = b->g = arena_new_of(f->cx->arena, Group);
    g->domain = root->type.shape;
    Index at = {0};
    for (uint32_t i = 0; i < g->domain.rank; i++)
        at.d[i] = g->sym[i] = dim_is(g->domain.d[i], 1) ? dim_const(f->p, 0) : dim_sym_below(f->p, "i", g->domain.d[i]);
    vec_push(f->cx->arena, &g->outputs, ((GroupOutput){root, at}));
    vec_push(f->a, &f->builds, b);
    f->home[root->id] = b;
    return b;
}

static void absorb(Former *f, Build *b, Node *n, const Index *at, uint32_t n_at)
{
    vec_push(f->cx->arena, &b->g->nodes, n);
    b->n_nodes++;
    for (uint32_t i = 0; i < n_at; i++)
        demand_operands(f, n, b, &at[i]);
}


/* ---- decisions ------------------------------------------------------------------------------------------------------------------ */
/* `at` visits every element of `n` exactly once over the group's domain: the coordinates are its symbols in some order. */
static bool one_to_one(const Group *g, const Node *n, const Index *at)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < node_rank(n); i++) {
        if (dim_is(n->type.shape.d[i], 1))
            continue;
        uint32_t d = 0;
        while (d < g->domain.rank && (g->sym[d] != at->d[i] || dim_is_const(g->sym[d])))
            d++;
        if (d == g->domain.rank || (used & 1u << d) || g->domain.d[d] != n->type.shape.d[i])
            return false;
        used |= 1u << d;
    }
    for (uint32_t d = 0; d < g->domain.rank; d++)
        if (!dim_is(g->domain.d[d], 1) && !(used & 1u << d))
            return false;
    return true;
}

/* The same, where some dims of `n` are several of the domain's. */
static bool digit_by_digit(Former *f, const Group *g, const Node *n, const Index *at)
{
    Index any = {0};
    Dim coords[MAX_RANK];
    for (uint32_t d = 0; d < node_rank(n); d++)
        any.d[d] = dim_const(f->p, 0);
    return matmul_domain_at(f->p, g, n, at, &any, coords);
}

/* Along columns of few lanes blocks read the operand one after the other: worse than to reduce with the whole device and launch again? */
static bool columns_wait(Former *f, const Node *n, Dim rows)
{
    enum { COLUMNS = 128 };                                /* a block of kinds/column.c */
    const Machine *m = &f->o->machine;
    if (m->target != TARGET_CUDA || reduces_contiguous(n) || columns_held(m, reduced_count(f->p, n), rows))
        return false;
    const Type *t = &n->in[0]->type;
    double bytes = (double)dim_typical(shape_count(f->p, &t->shape)) * dtype_bytes(t->dtype), blocks = ceil((double)dim_typical(rows) / COLUMNS);
    double seconds = 3 * bytes / m->copy_bandwidth;        /* read, read again, written */
    return blocks < m->units && seconds * m->units / fmax(blocks, 1) > seconds + m->launch_seconds;
}

/* Reduced along what is contiguous in memory, where its results stand side by side along the contiguous dim of what is stored: a row's
 * threads would store a column, a line of memory an element. Or the other way round. */
bool group_turns(const Group *g, const Node *n, uint32_t mask)
{
    enum { LONG = 32 };
    uint32_t last = g->domain.rank;
    while (last > 0 && dim_is(g->domain.d[last - 1], 1))
        last--;
    int64_t along = 1, across = 1;
    for (uint32_t d = 0; d < last; d++)
        *(mask & 1u << d ? &across : &along) *= dim_typical(g->domain.d[d]);
    bool side_by_side = last && mask & 1u << (last - 1);
    return last && side_by_side == reduces_contiguous(n) && along >= LONG && (side_by_side || across >= LONG);
}

static const char *reduce_refused(Former *f, Build *b, Node *n, const Visit *v)
{
    Group *g = b->g;
    if (n->op == OP_ARGMAX || n->op == OP_ARGMIN)
        return "argmax and argmin are computed on their own";
    if (g->matmul || v->n_at != 1)
        return "the reduction is needed at several places";
    uint32_t mask = 0;
    for (uint32_t i = 0; i < node_rank(n); i++)
        for (uint32_t d = 0; d < g->domain.rank; d++)
            if (!dim_is_const(g->sym[d]) && dim_uses(v->at[0].d[i], g->sym[d]))
                mask |= 1u << d;
    for (uint32_t i = 0; i < node_rank(n); i++) {           /* nothing but the domain's symbols may occur */
        Dim rest = v->at[0].d[i];
        for (uint32_t d = 0; d < g->domain.rank; d++)
            if (mask & 1u << d)
                rest = dim_subst(f->p, rest, &(DimSubst){g->sym[d], dim_const(f->p, 0)}, 1);
        if (!dim_is_const(rest))
            return "its coordinates depend on another reduction";
        if (v->at[0].d[i]->lo < 0 || !dim_lt(f->p, v->at[0].d[i], n->type.shape.d[i]))
            return "it is read beside padding or another part";       /* its rows would be read where there are none */
    }
    if (g->reduces.n && g->outer_mask != mask)
        return "its rows differ from the group's";
    Dim rows = dim_const(f->p, 1);
    for (uint32_t d = 0; d < g->domain.rank; d++)
        if (mask & 1u << d)
            rows = dim_mul(f->p, rows, g->domain.d[d]);
    if (dim_typical(reduced_count(f->p, n)) > 65536 && dim_typical(rows) < 2 * f->o->machine.units)
        return "few long rows: the reduction alone uses the whole device";
    if (f->o->machine.target == TARGET_CUDA && group_turns(g, n, mask))
        return "its results stand across the rows of what reads them";
    if (mask != group_long_dims(g) && columns_wait(f, n, rows))
        return "few columns: the reduction alone uses the whole device";
    if (!g->reduces.n)
        g->outer_mask = mask;
    return NULL;
}

/* Why `b` cannot take `n` in; NULL: it can. */
const char *group_refused(Former *f, Build *b, Node *n, const Visit *v)
{
    if (b->closed)
        return "its reader is a scan";
    if (!f->o->fuse && op_class(n->op) != CLASS_MOVEMENT && op_class(n->op) != CLASS_GATHER)
        return "fusion is off";
    if (v->many)
        return "it is read at too many places";
    if (b->n_nodes >= GROUP_MAX_NODES)
        return "the group is full";
    for (uint32_t i = 0; i < v->n_at; i++)                  /* every reshape on the way may double it */
        for (uint32_t d = 0; d < node_rank(n); d++)
            if (v->at[i].d[d]->size > MAX_INDEX)
                return "its coordinates have become too long";
    if (op_class(n->op) == CLASS_REDUCE)
        return reduce_refused(f, b, n, v);
    if (op_class(n->op) == CLASS_CONTRACT)
        return group_takes_matmul(f->cx, b->g, n, v->at, v->n_at, f->o);
    if (op_class(n->op) == CLASS_SCAN)
        return "a scan is computed on its own";
    return NULL;
}

void group_join(Former *f, Build *b, Node *n, const Visit *v)
{
    if (op_class(n->op) == CLASS_REDUCE)
        vec_push(f->cx->arena, &b->g->reduces, ((GroupReduce){n, v->at[0], 0}));
    if (op_class(n->op) == CLASS_CONTRACT)
        b->g->matmul = n;
    absorb(f, b, n, v->at, v->n_at);
    if (op_class(n->op) == CLASS_CONTRACT) {
        for (uint32_t k = 0; k < n->n_in; k++) {
            Node *base = matmul_operand_base(f->cx, n, k);
            f->must[base->id] = true;
            vec_push(f->cx->arena, &b->g->inputs, base);
        }
        LibraryEpilogue e = {0};
        if (f->o->use_library && library_epilogue(f->cx, b->g, &e) && e.bias)
            vec_push(f->cx->arena, &b->g->inputs, e.bias);           /* as it is, beside the cast that other kinds read */
        if (e.residual)
            f->must[e.residual->id] = true;
    }
}

/* Distinct values as large as `n` itself that recomputing it would read. */
bool group_cheap_to_recompute(const Former *f, const Node *n)
{
    if (op_class(n->op) == CLASS_MOVEMENT || f->literal[n->id] || (f->near_product[n->id] && op_class(n->op) == CLASS_CAST))
        return true;
    if (op_class(n->op) == CLASS_REDUCE || op_class(n->op) == CLASS_CONTRACT || op_class(n->op) == CLASS_SCAN)
        return false;
    if (f->cost[n->id] > CHEAP_OPS)
        return false;
    uint32_t wide = 0;
    for (uint32_t k = 0; k < n->n_in; k++) {
        const Node *x = n->in[k];
        while (op_class(x->op) == CLASS_MOVEMENT && x->n_in == 1 && x->op != OP_EXPAND)
            x = x->in[0];
        wide += x->op != OP_EXPAND && !f->literal[x->id];
    }
    return wide <= 2;
}

static void note(Former *f, Group *g, const Node *n, const char *why)
{
    g->why_not = arena_printf(f->cx->arena, "%s%s%s: %s", g->why_not ? g->why_not : "", g->why_not ? "; " : "",
                              n->name ? n->name : op_name(n->op), why);
}

/* A group of its own; its readers load the result. */
static Build *materialise(Former *f, Node *n)
{
    Build *b = build_new(f, n);
    Visit self = {.b = b, .n_at = 1, .at = {b->g->outputs.data[0].at}};
    if (op_class(n->op) == CLASS_REDUCE && n->op != OP_ARGMAX && n->op != OP_ARGMIN) {
        for (uint32_t d = 0; d < b->g->domain.rank; d++)
            b->g->outer_mask |= dim_is_const(b->g->sym[d]) ? 0 : 1u << d;
    }
    group_join(f, b, n, &self);
    if (op_class(n->op) == CLASS_SCAN) {
        b->closed = true;
        f->must[n->in[0]->id] = true;
        vec_push(f->cx->arena, &b->g->inputs, n->in[0]);
    }
    if (op_class(n->op) == CLASS_REDUCE && (n->op == OP_ARGMAX || n->op == OP_ARGMIN))
        b->g->reduces.n = 0;
    return b;
}

static void read_by(Former *f, Node *n)
{
    for (uint32_t i = 0; i < f->visits[n->id].n; i++)
        vec_push(f->cx->arena, &f->visits[n->id].data[i].b->g->inputs, n);
}

static bool store_in_reader(Former *f, Node *n, uint32_t n_visits)
{
    if (n_visits != 1 || !f->o->fuse || op_class(n->op) == CLASS_CONTRACT || op_class(n->op) == CLASS_REDUCE)
        return false;
    Visit *v = &f->visits[n->id].data[0];
    uint32_t k = 0;
    while (k < v->n_at && !one_to_one(v->b->g, n, &v->at[k]) && !(v->b->g->reduces.n && digit_by_digit(f, v->b->g, n, &v->at[k])))
        k++;
    if (k == v->n_at || v->b->g->matmul || group_refused(f, v->b, n, v) || group_reads_from(f, v->b, n))
        return false;
    GroupOutput out = {n, v->at[k]};
    for (uint32_t d = 0; d < node_rank(n); d++)            /* at 0 of a dim of 1, whatever the reader calls it */
        out.at.d[d] = dim_is(n->type.shape.d[d], 1) ? dim_const(f->p, 0) : out.at.d[d];
    vec_push(f->cx->arena, &v->b->g->outputs, out);
    f->home[n->id] = v->b;
    group_join(f, v->b, n, v);
    return true;
}

/* A reduction that several groups read is made by one that reduces the same rows for results of its own, and stored for the others. */
static bool store_in_reducer(Former *f, Node *n)
{
    uint32_t readers = f->visits[n->id].n;
    for (uint32_t i = 0; i < readers; i++) {
        const Visit *v = &f->visits[n->id].data[i];
        Group *g = v->b->g;
        if (!g->reduces.n || !shape_equal(&g->reduces.data[0].node->in[0]->type.shape, &n->in[0]->type.shape) || v->n_at != 1 ||
            !one_to_one(g, n, &v->at[0]) || g->outputs.n >= MAX_STORED || group_refused(f, v->b, n, v) || group_reads_from(f, v->b, n))
            continue;
        bool before = true;
        for (uint32_t j = 0; j < readers; j++)
            before &= j == i || !group_depends(f, v->b, f->visits[n->id].data[j].b);
        if (!before)
            continue;
        GroupOutput out = {n, v->at[0]};
        for (uint32_t d = 0; d < node_rank(n); d++)
            out.at.d[d] = dim_is(n->type.shape.d[d], 1) ? dim_const(f->p, 0) : out.at.d[d];
        vec_push(f->cx->arena, &g->outputs, out);
        f->home[n->id] = v->b;
        for (uint32_t j = 0; j < readers; j++)
            if (j != i)
                vec_push(f->cx->arena, &f->visits[n->id].data[j].b->g->inputs, n);
        group_join(f, v->b, n, v);
        return true;
    }
    return false;
}

static void decide(Former *f, Node *n)
{
    uint32_t readers = group_settle_visits(f, n);
    if (group_from_memory(f, n)) {
        read_by(f, n);
        return;
    }
    if (group_share_product(f, n))
        return;
    if (op_class(n->op) == CLASS_REDUCE && f->o->fuse)
        group_split_domain(f, n);
    if (op_class(n->op) == CLASS_REDUCE && f->o->fuse && readers > 1 && !f->must[n->id])
        group_merge_rows(f, n);
    readers = group_settle_visits(f, n);
    if ((f->must[n->id] || readers > 1) && group_store_in_pieces(f, n))
        return;
    readers = group_settle_visits(f, n);
    if (group_stays_with_product(f, n)) {
        read_by(f, n);
        materialise(f, n);
        return;
    }
    if (f->must[n->id]) {
        if (store_in_reader(f, n, readers))
            return;
        read_by(f, n);
        materialise(f, n);
        return;
    }
    if (!readers)
        return;                                       /* a view that only a library call looks through */
    if (readers > 1 && !group_cheap_to_recompute(f, n) && f->o->fuse) {
        for (uint32_t i = 1; i < readers; i++)
            group_merge(f, f->visits[n->id].data[0].b, build_of(f->visits[n->id].data[i].b));
        readers = group_settle_visits(f, n);
    }
    if (readers == 1 || group_cheap_to_recompute(f, n)) {
        Visit *v = f->visits[n->id].data;
        const char *why = NULL;
        for (uint32_t i = 0; i < readers && !why; i++) {
            why = group_refused(f, v[i].b, n, &v[i]);
            if (why)
                note(f, v[i].b->g, n, why);
        }
        if (!why) {
            for (uint32_t i = 0; i < readers; i++)
                group_join(f, v[i].b, n, &v[i]);
            return;
        }
    }
    if (op_class(n->op) == CLASS_REDUCE && f->o->fuse && readers > 1 && store_in_reducer(f, n))
        return;
    read_by(f, n);
    materialise(f, n);
}

Groups *groups_form(Context *cx, const Graph *g, const CodegenOptions *o)
{
    Former *f = arena_new_of(cx->scratch, Former);
    Arena *a = f->a = cx->scratch;
    uint32_t n, top = 0;
    Node **order = graph_order(g, a, &n);
    for (uint32_t i = 0; i < n; i++)
        top = order[i]->id >= top ? order[i]->id + 1 : top;
    f->cx = cx, f->p = cx->dims, f->graph = g, f->o = o;
    f->frozen = graph_frozen(g, a);
    f->literal = arena_new_array(a, bool, top + 1);
    f->must = arena_new_array(a, bool, top + 1);
    f->near_product = arena_new_array(a, bool, top + 1);
    f->product = arena_new_array(a, uint32_t, top + 1);
    f->cost = arena_new_array(a, float, top + 1);
    f->visits = arena_alloc(a, sizeof *f->visits * (top + 1));
    f->home = arena_new_array(a, Build *, top + 1);
    group_facts(f, order, n);

    qsort(order, n, sizeof *order, group_by_id);
    for (uint32_t i = n; i-- > 0; )
        decide(f, order[i]);

    return group_finish(f);
}
