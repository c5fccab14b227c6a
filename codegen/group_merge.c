/* codegen/group_merge.c — groups under way that become one, and domains that change: symbols of the old domain are expressions over
 * those of the new one, which pending visits are rewritten to when they are next looked at. */
#include "codegen/group_form.h"

/* Does anything that `b` reads from memory depend on node `n` (which `b` would store)? Ids are topological, so only nodes
 * younger than n are searched. Cut off: assume yes. */
bool group_reads_from(Former *f, Build *b, const Node *n)
{
    Vec(Node *) todo = {0};
    Map *seen = map_new(f->a);
    for (uint32_t i = 0; i < b->g->inputs.n; i++)
        vec_push(f->a, &todo, b->g->inputs.data[i]);
    for (uint32_t steps = 0; todo.n; steps++) {
        Node *x = vec_pop(&todo);
        if (x == n || steps > CYCLE_SEARCH)
            return true;
        if (x->id < n->id || !map_set(seen, x->id, 1))
            continue;
        for (uint32_t k = 0; k < x->n_in; k++)
            vec_push(f->a, &todo, x->in[k]);
        Build *h = f->home[x->id] ? build_of(f->home[x->id]) : NULL;      /* its group stores all its outputs together */
        for (uint32_t k = 0; h && h != b && k < h->g->inputs.n; k++)
            vec_push(f->a, &todo, h->g->inputs.data[k]);
    }
    return false;
}

bool group_depends(Former *f, Build *b, Build *on)
{
    for (uint32_t i = 0; i < on->g->outputs.n; i++)
        if (group_reads_from(f, b, on->g->outputs.data[i].node))
            return true;
    return false;
}

static bool same_domain(const Group *a, const Group *b)
{
    return shape_equal(&a->domain, &b->domain) && !a->matmul && !b->matmul &&
           (!a->reduces.n || !b->reduces.n || a->outer_mask == b->outer_mask);
}

/* b becomes part of a; b->as[i]: its symbol i over a's. */
static bool take_over(Former *f, Build *a, Build *b)
{
    if (a->closed || b->closed || a->n_nodes + b->n_nodes > GROUP_MAX_NODES || group_depends(f, a, b) || group_depends(f, b, a))
        return false;
    DimSubst s[MAX_RANK];
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->g->domain.rank; i++)
        if (!dim_is_const(b->g->sym[i]))
            s[n++] = (DimSubst){b->g->sym[i], b->as[i]};
    for (uint32_t i = 0; i < b->g->outputs.n; i++) {
        GroupOutput o = b->g->outputs.data[i];
        for (uint32_t d = 0; d < node_rank(o.node); d++)
            o.at.d[d] = dim_subst(f->p, o.at.d[d], s, n);
        vec_push(f->cx->arena, &a->g->outputs, o);
    }
    for (uint32_t i = 0; i < b->g->reduces.n; i++) {
        GroupReduce r = b->g->reduces.data[i];
        for (uint32_t d = 0; d < node_rank(r.node); d++)
            r.at.d[d] = dim_subst(f->p, r.at.d[d], s, n);
        vec_push(f->cx->arena, &a->g->reduces, r);
    }
    for (uint32_t i = 0; i < b->g->nodes.n; i++)
        vec_push(f->cx->arena, &a->g->nodes, b->g->nodes.data[i]);
    for (uint32_t i = 0; i < b->g->inputs.n; i++)
        vec_push(f->cx->arena, &a->g->inputs, b->g->inputs.data[i]);
    a->n_nodes += b->n_nodes;
    b->into = a;                          /* pending visits of b keep b's symbols: see group_settle_visits */
    b->g->matmul = NULL;
    return true;
}

/* Siblings of one domain become one group: what they share is read once. */
bool group_merge(Former *f, Build *a, Build *b)
{
    if (a == b)
        return true;
    if (!same_domain(a->g, b->g))
        return false;
    uint32_t mask = b->g->reduces.n ? b->g->outer_mask : a->g->outer_mask;
    memcpy(b->as, a->g->sym, sizeof b->as);
    if (!take_over(f, a, b))
        return false;
    a->g->outer_mask = mask;
    return true;
}

/* After merges, a node's visits by groups that became one are one visit, over the surviving group's symbols. */
uint32_t group_settle_visits(Former *f, Node *n)
{
    Visit *v = f->visits[n->id].data;
    uint32_t count = f->visits[n->id].n, kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        for (Build *own = v[i].b; own->into; own = v[i].b) {
            DimSubst s[MAX_RANK];
            uint32_t ns = 0;
            for (uint32_t d = 0; d < own->g->domain.rank; d++)
                if (!dim_is_const(own->g->sym[d]))
                    s[ns++] = (DimSubst){own->g->sym[d], own->as[d]};
            for (uint32_t k = 0; k < v[i].n_at; k++)
                for (uint32_t d = 0; d < node_rank(n); d++)
                    v[i].at[k].d[d] = dim_subst(f->p, v[i].at[k].d[d], s, ns);
            v[i].b = own->into;
        }
        Build *now = v[i].b;
        uint32_t j = 0;
        while (j < kept && v[j].b != now)
            j++;
        if (j == kept) {
            v[kept++] = v[i];
            continue;
        }
        v[j].many |= v[i].many;
        for (uint32_t k = 0; k < v[i].n_at; k++) {
            uint32_t m = 0;
            while (m < v[j].n_at && !same_index(&v[j].at[m], &v[i].at[k], node_rank(n)))
                m++;
            if (m < v[j].n_at)
                continue;
            if (v[j].n_at == MAX_AT)
                v[j].many = true;
            else
                v[j].at[v[j].n_at++] = v[i].at[k];
        }
    }
    return f->visits[n->id].n = kept;
}

/* The group again, with dim `d` of its domain as two, the inner one of extent `part`. */
static Build *split_dim(Former *f, Build *b, uint32_t d, Dim part)
{
    Group *g = b->g;
    Build *now = arena_copy(f->a, b, sizeof *b);
    b->g = arena_copy(f->a, g, sizeof *g);
    b->into = now;
    memcpy(b->as, g->sym, sizeof b->as);
    for (uint32_t i = g->domain.rank++; i > d + 1; i--) {
        g->domain.d[i] = g->domain.d[i - 1];
        g->sym[i] = g->sym[i - 1];
    }
    Dim outer = g->domain.d[d] = dim_floordiv(f->p, b->g->domain.d[d], part);
    g->domain.d[d + 1] = part;
    g->sym[d] = dim_is(outer, 1) ? dim_const(f->p, 0) : dim_sym_below(f->p, "i", outer);
    g->sym[d + 1] = dim_sym_below(f->p, "i", part);
    b->as[d] = dim_add(f->p, dim_mul(f->p, g->sym[d], part), g->sym[d + 1]);
    for (uint32_t i = 0; i < g->outputs.n; i++)
        for (uint32_t k = 0; k < node_rank(g->outputs.data[i].node); k++)
            g->outputs.data[i].at.d[k] = dim_subst(f->p, g->outputs.data[i].at.d[k], &(DimSubst){b->g->sym[d], b->as[d]}, 1);
    vec_push(f->a, &f->builds, now);
    return now;
}

/* A constant by which `e` divides `sym`; everything else that it does with `sym` counts, too, as division by 1. */
static int64_t divisor_of(Dim e, Dim sym)
{
    if (!dim_uses(e, sym))
        return 0;
    if (e->kind == DIM_FLOORDIV && e->a == sym && dim_is_const(e->b))
        return e->b->value;
    int64_t all = 0;
    for (uint32_t i = 0; e->kind == DIM_SUM && i < e->n_terms; i++)
        for (uint32_t k = 0; k < e->terms[i].n_atoms; k++) {
            int64_t one = e->terms[i].atoms[k] == e ? 1 : divisor_of(e->terms[i].atoms[k], sym);
            all = !one || all == one ? all : all ? 1 : one;
        }
    return all ? all : 1;
}

/* A norm of groups of channels is read at i / R, R channels a group: its outputs share a reduction where i is two dims. */
void group_split_domain(Former *f, Node *n)
{
    Visit *v = f->visits[n->id].data;
    if (f->visits[n->id].n != 1 || v->n_at != 1 || v->many)
        return;
    for (uint32_t d = 0; d < v->b->g->domain.rank; d++) {
        Group *g = v->b->g;
        int64_t part = 0;
        for (uint32_t k = 0; k < node_rank(n) && !dim_is_const(g->sym[d]); k++) {
            int64_t one = divisor_of(v->at[0].d[k], g->sym[d]);
            part = !one || part == one ? part : part ? 1 : one;
        }
        if (part < 2 || g->reduces.n || g->matmul || g->domain.rank == MAX_RANK || v->b->closed ||
            !dim_divides(f->p, dim_const(f->p, part), g->domain.d[d]))
            continue;
        split_dim(f, v->b, d, dim_const(f->p, part));
        group_settle_visits(f, n);
        d++;
    }
}

/* ---- a value a row beside values along it --------------------------------------------------------------------------------------- */
uint32_t group_long_dims(const Group *g)
{
    uint32_t mask = 0;
    for (uint32_t d = 0; d < g->domain.rank; d++)
        mask |= dim_is_const(g->sym[d]) ? 0 : 1u << d;
    return mask;
}

/* Dims of the group's domain that the coordinates are symbols of, one each; 0: they are anything else. */
static uint32_t plain_dims(const Group *g, const Node *n, const Index *at)
{
    uint32_t mask = 0;
    for (uint32_t k = 0; k < node_rank(n); k++) {
        uint32_t d = 0;
        while (d < g->domain.rank && (g->sym[d] != at->d[k] || dim_is_const(g->sym[d])))
            d++;
        if (dim_is(n->type.shape.d[k], 1))
            continue;
        if (d == g->domain.rank || (mask & 1u << d) || g->domain.d[d] != n->type.shape.d[k])
            return 0;
        mask |= 1u << d;
    }
    return mask;
}

/* Reduction `n` is read by a group along whose rows it runs, and by one that has an element a row: they become one. */
static bool merge_along_rows(Former *f, Node *n, const Visit *along, const Visit *once)
{
    Build *a = along->b, *b = once->b;
    if (a == b || a->g->matmul || b->g->matmul || along->n_at != 1 || once->n_at != 1 || along->many || once->many)
        return false;
    uint32_t outer = plain_dims(a->g, n, &along->at[0]), all = plain_dims(b->g, n, &once->at[0]);
    if (!outer || outer == group_long_dims(a->g) || !all || all != group_long_dims(b->g) || (a->g->reduces.n && a->g->outer_mask != outer) ||
        (b->g->reduces.n && b->g->outer_mask != all) || (f->o->machine.target == TARGET_CUDA && group_turns(a->g, n, outer)))
        return false;
    memcpy(b->as, b->g->sym, sizeof b->as);
    for (uint32_t k = 0; k < node_rank(n); k++)
        for (uint32_t d = 0; d < b->g->domain.rank; d++)
            if (b->g->sym[d] == once->at[0].d[k] && !dim_is_const(b->g->sym[d]))
                b->as[d] = along->at[0].d[k];
    if (a->g->outputs.n + b->g->outputs.n > MAX_STORED || !take_over(f, a, b))
        return false;
    a->g->outer_mask = outer;
    return true;
}

void group_merge_rows(Former *f, Node *n)
{
    /* along columns every thread has its own: they must be enough for the device, or shared by blocks that hold them */
    Dim columns = shape_count(f->p, &n->type.shape);
    bool enough = reduces_contiguous(n) || dim_typical(columns) >= 64 * f->o->machine.units ||
                  columns_held(&f->o->machine, reduced_count(f->p, n), columns);
    if (n->op == OP_ARGMAX || n->op == OP_ARGMIN || !enough)
        return;
    for (bool again = true; again; ) {
        again = false;
        group_settle_visits(f, n);
        Visit *v = f->visits[n->id].data;
        for (uint32_t i = 0; i < f->visits[n->id].n && !again; i++)
            for (uint32_t j = 0; j < f->visits[n->id].n && !again; j++)
                again = i != j && merge_along_rows(f, n, &v[i], &v[j]);
    }
}
