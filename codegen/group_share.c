/* codegen/group_share.c — one product for several groups: stacked projections whose parts leave in different layouts, or one product that
 * is stored in two orders. Each group keeps its domain, and becomes a member of the group that has the product; a kind with
 * a tile at hand computes of each element what its members want there (kinds/gemm.c), and the product is not stored. */
#include "codegen/group_form.h"

enum { MOST_MEMBERS = 8, START = 32 /* columns that a kind stages at a time begin at multiples of so many */ };

/* A group that reads the product in one part, of columns that are known. */
static bool may_share(Former *f, const Visit *v, const Node *n, MatmulReads *r)
{
    const Group *g = v->b->g;
    return !v->many && !v->b->closed && !g->matmul && matmul_reads(f->cx, g, n, v->at, v->n_at, r) && r->parts == 1 &&
           dim_is_const(r->start[0]) && r->start[0]->value % START == 0 && !group_refused(f, v->b, (Node *)n, v);
}

static bool independent(Former *f, const Visit *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++)
            if (i != j && group_depends(f, v[i].b, v[j].b))
                return false;
    return true;
}

/* Readers of one domain and the same columns are one group. */
static uint32_t merge_alike(Former *f, Node *n)
{
    for (bool again = true; again; ) {
        again = false;
        Visit *v = f->visits[n->id].data;
        MatmulReads a, b;
        for (uint32_t i = 0; i < f->visits[n->id].n && !again; i++)
            for (uint32_t j = 0; j < i && !again; j++)
                again = may_share(f, &v[i], n, &a) && may_share(f, &v[j], n, &b) && a.start[0] == b.start[0] && a.row == b.row &&
                        group_merge(f, v[j].b, v[i].b);
        group_settle_visits(f, n);
    }
    return f->visits[n->id].n;
}

static Build *join_members(Former *f, const Node *n, const Visit *v, uint32_t count)
{
    Build *all = arena_new_of(f->a, Build);
    Group *g = all->g = arena_new_of(f->cx->arena, Group);
    Arena *a = f->cx->arena;
    g->domain = n->type.shape;
    for (uint32_t i = 0; i < g->domain.rank; i++)
        g->sym[i] = dim_is(g->domain.d[i], 1) ? dim_const(f->p, 0) : dim_sym_below(f->p, "i", g->domain.d[i]);
    for (uint32_t i = 0; i < count; i++) {
        Group *m = v[i].b->g;
        vec_push(a, &g->members, m);
        for (uint32_t k = 0; k < m->outputs.n; k++)
            vec_push(a, &g->outputs, m->outputs.data[k]);
        for (uint32_t k = 0; k < m->reduces.n; k++)
            vec_push(a, &g->reduces, m->reduces.data[k]);
        for (uint32_t k = 0; k < m->inputs.n; k++)
            vec_push(a, &g->inputs, m->inputs.data[k]);
        for (uint32_t k = 0; k < m->nodes.n; k++)
            vec_push(a, &g->nodes, m->nodes.data[k]);
        if (m->why_not)
            g->why_not = g->why_not ? arena_printf(a, "%s; %s", g->why_not, m->why_not) : m->why_not;
        all->n_nodes += v[i].b->n_nodes;
        memcpy(v[i].b->as, m->sym, sizeof m->sym);          /* what is pending keeps the members' symbols */
        v[i].b->into = all;
    }
    vec_push(f->a, &f->builds, all);
    return all;
}

/* Where the readers of product `n` cannot become one group with it, but each of them could: they have it together. */
bool group_share_product(Former *f, Node *n)
{
    uint32_t count = f->visits[n->id].n, nodes = 0, outputs = 0;
    MatmulReads r;
    Dim start[MATMUL_PLACES];
    if (op_class(n->op) != CLASS_CONTRACT || count < 2 || f->must[n->id] || !f->o->fuse || matmul_not_gemm(f->cx, n, f->o) ||
        !matmul_not_small(f->cx, n, &f->o->machine))
        return false;
    bool alike = true;                                     /* then they merge, and read the product as one */
    for (uint32_t i = 0; i < count; i++) {
        const Visit *v = &f->visits[n->id].data[i];
        if (!may_share(f, v, n, &r))
            return false;
        alike &= matmul_columns(f->cx, v->b->g, n, v->at, v->n_at, start) && shape_equal(&v->b->g->domain, &f->visits[n->id].data[0].b->g->domain);
    }
    if (alike || (count = merge_alike(f, n)) < 2 || count > MOST_MEMBERS)
        return false;
    const Visit *v = f->visits[n->id].data;
    for (uint32_t i = 0; i < count; i++) {
        nodes += v[i].b->n_nodes;
        outputs += v[i].b->g->outputs.n;
        if (!may_share(f, &v[i], n, &r))
            return false;
    }
    if (nodes + 1 >= GROUP_MAX_NODES || outputs > MAX_STORED || !independent(f, v, count))
        return false;
    Build *all = join_members(f, n, v, count);
    f->visits[n->id].n = 1;
    f->visits[n->id].data[0] = (Visit){.b = all};
    group_join(f, all, n, &f->visits[n->id].data[0]);
    return true;
}

static void reach(Map *reached, const Node *n)
{
    for (uint32_t k = 0; k < n->n_in; k++)
        map_set(reached, n->in[k]->id, 1);
}

/* What each member has of the lists of the whole; the product in any case. */
void group_finish_members(Former *f, Group *g)
{
    for (uint32_t i = 0; i < g->members.n; i++) {
        Group *m = g->members.data[i];
        Map *reached = map_new(f->a);
        m->matmul = g->matmul;
        m->launch = m;
        memset(&m->nodes, 0, sizeof m->nodes);
        memset(&m->inputs, 0, sizeof m->inputs);
        for (uint32_t k = 0; k < m->outputs.n; k++)
            map_set(reached, m->outputs.data[k].node->id, 1);
        for (uint32_t k = g->nodes.n; k-- > 0; )
            if (map_has(reached, g->nodes.data[k]->id))
                reach(reached, g->nodes.data[k]);
        for (uint32_t k = 0; k < g->nodes.n; k++)
            if (map_has(reached, g->nodes.data[k]->id))
                vec_push(f->cx->arena, &m->nodes, g->nodes.data[k]);
        for (uint32_t k = 0; k < g->inputs.n; k++)
            if (map_has(reached, g->inputs.data[k]->id))
                vec_push(f->cx->arena, &m->inputs, g->inputs.data[k]);
    }
}
