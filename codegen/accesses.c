/* codegen/accesses.c — where a group reads memory: its indexed expressions walked once, results before operands. */
#include "codegen/group.h"

enum { MAX_PLACES = 8 };
typedef struct { uint32_t n; Index at[MAX_PLACES]; } Places;

static Places *places_of(Context *cx, Map *m, const Node *n)
{
    Places *v = (Places *)(uintptr_t)map_get(m, n->id, 0);
    if (!v) {
        v = arena_new_of(cx->scratch, Places);
        map_set(m, n->id, (uintptr_t)v);
    }
    return v;
}

static void visit(Context *cx, Map *m, const Node *n, const Index *at)
{
    Places *v = places_of(cx, m, n);
    for (uint32_t i = 0; i < v->n; i++)
        if (!memcmp(v->at[i].d, at->d, node_rank(n) * sizeof(Dim)))
            return;
    if (v->n < MAX_PLACES)
        v->at[v->n++] = *at;
}

static Map *walk(Context *cx, const Group *g)
{
    DimPool *p = cx->dims;
    Map *m = map_new(cx->scratch);
    for (uint32_t i = 0; i < g->outputs.n; i++)
        visit(cx, m, g->outputs.data[i].node, &g->outputs.data[i].at);
    for (uint32_t i = g->nodes.n; i-- > 0; ) {
        const Node *n = g->nodes.data[i];
        const Places *v = places_of(cx, m, n);
        for (uint32_t k = 0; k < n->n_in; k++)
            for (uint32_t j = 0; j < v->n; j++) {
                Index in = v->at[j];
                if (op_class(n->op) == CLASS_REDUCE)
                    in = index_reduced(p, n, &v->at[j], dim_sym_below(p, "r", reduced_count(p, n)));
                else if (op_class(n->op) == CLASS_CONTRACT || op_class(n->op) == CLASS_SCAN || n->op == OP_GATHER)
                    continue;                              /* read in ways of their own */
                else
                    in = index_operand(p, n, k, &v->at[j], NULL);
                visit(cx, m, n->in[k], &in);
            }
    }
    return m;
}

uint32_t group_places(Context *cx, const Group *g, const Node *n, const Index **at)
{
    const Places *v = places_of(cx, walk(cx, g), n);
    *at = v->at;
    return v->n;
}

GroupAccesses group_accesses(Context *cx, const Group *g)
{
    DimPool *p = cx->dims;
    Map *m = walk(cx, g);
    Vec(GroupAccess) out = {0};
    for (uint32_t i = 0; i < g->inputs.n; i++) {
        Node *n = g->inputs.data[i];
        const Places *v = places_of(cx, m, n);
        for (uint32_t j = 0; j < v->n; j++)
            vec_push(cx->scratch, &out, ((GroupAccess){n, v->at[j], index_flatten(p, &n->type.shape, &v->at[j])}));
    }
    return (GroupAccesses){out.data, out.n};
}

bool group_access_plain(DimPool *p, const Group *g, const GroupAccess *a)
{
    DimSubst s[MAX_RANK];
    uint32_t n = 0;
    for (uint32_t d = 0; d < g->domain.rank; d++)
        if (!dim_is_const(g->sym[d]))
            s[n++] = (DimSubst){g->sym[d], dim_const(p, 0)};
    return dim_is_const(dim_subst(p, a->flat, s, n));
}
