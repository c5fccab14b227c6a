/* codegen/group_near.c — values near a product that a group reduces in pieces, and others read: they are stored beside the reductions,
 * or by the product's own group, so that the product is made in one place. */
#include "codegen/group_form.h"

static Dim outer_position(Former *f, const Group *g, Dim *rows)
{
    Dim outer = dim_const(f->p, 0);
    *rows = dim_const(f->p, 1);
    for (uint32_t d = 0; d < g->domain.rank; d++)
        if (g->outer_mask & 1u << d) {
            outer = dim_add(f->p, dim_mul(f->p, outer, g->domain.d[d]), g->sym[d]);
            *rows = dim_mul(f->p, *rows, g->domain.d[d]);
        }
    return outer;
}

/* `at` visits every element of `n` once while the group's reductions walk their rows: *r is their symbol, or NULL where `n` has one
 * element a row. */
static bool once_a_row(Former *f, const Group *g, const Node *n, const Index *at, Dim *r)
{
    Dim rows, outer = outer_position(f, g, &rows), flat = index_flatten(f->p, &n->type.shape, at);
    Dim row = reduced_count(f->p, g->reduces.data[0].node), count = shape_count(f->p, &n->type.shape);
    Dim rest = dim_sub(f->p, flat, dim_mul(f->p, outer, row));
    *r = NULL;
    if (flat == outer)
        return count == rows;
    *r = rest;
    for (uint32_t d = 0; d < g->domain.rank; d++)
        if (rest == g->sym[d])
            return false;
    bool along = rest->kind == DIM_SYM && dim_is_const(row) && rest->lo == 0 && rest->hi == row->value - 1;
    return along && count == dim_mul(f->p, rows, row);
}

/* The group's own dim along its rows; made where there is none. NULL: its rows are others. */
static Dim row_symbol(Former *f, Group *g)
{
    Dim row = reduced_count(f->p, g->reduces.data[0].node), sym = NULL;
    uint32_t rank = g->domain.rank;
    for (uint32_t d = 0; d < rank; d++)
        if (!(g->outer_mask & 1u << d) && !dim_is(g->domain.d[d], 1)) {
            if (sym || g->domain.d[d] != row)
                return NULL;
            sym = g->sym[d];
        }
    if (sym || rank == MAX_RANK)
        return sym;
    g->domain.d[rank] = row;
    g->domain.rank++;
    return g->sym[rank] = dim_sym_below(f->p, "i", row);
}

static void merge_reducers(Former *f, Node *n)
{
    Visit *v = f->visits[n->id].data;
    for (uint32_t i = 0; i < f->visits[n->id].n; i++)
        for (uint32_t j = 0; j < i; j++) {
            Build *a = build_of(v[j].b), *b = build_of(v[i].b);
            if (a != b && a->g->reduces.n && b->g->reduces.n && group_merge(f, a, b))
                break;
        }
    group_settle_visits(f, n);
}

/* A reader that reduces pieces of the product stores `n` beside what it reduces, so that the product is made in one place: it is read
 * by others, or an output. Wider copies of a value are left to their readers. */
bool group_store_in_pieces(Former *f, Node *n)
{
    OpClass c = op_class(n->op);
    if (!f->near_product[n->id] || (!f->must[n->id] && c == CLASS_MOVEMENT) ||
        (!f->must[n->id] && c == CLASS_CAST && dtype_bytes(n->in[0]->type.dtype) < dtype_bytes(n->type.dtype)))
        return false;
    merge_reducers(f, n);
    if (!f->must[n->id] && f->visits[n->id].n < 2)
        return false;
    for (uint32_t i = 0; i < f->visits[n->id].n; i++) {
        Visit v = f->visits[n->id].data[i];
        Group *g = v.b->g;
        Dim r = NULL;
        uint32_t k = 0;
        while (g->reduces.n && k < v.n_at && !once_a_row(f, g, n, &v.at[k], &r))
            k++;
        if (!g->reduces.n || g->matmul || k == v.n_at || v.n_at == MAX_AT || g->outputs.n >= MAX_STORED ||
            group_refused(f, v.b, n, &v) || group_reads_from(f, v.b, n))
            continue;
        if (!r && c != CLASS_REDUCE && !f->must[n->id] && group_cheap_to_recompute(f, n))
            return false;
        GroupOutput out = {n, v.at[k]};
        Dim row = r ? row_symbol(f, g) : NULL;
        if (r && !row)
            continue;
        for (uint32_t d = 0; r && d < node_rank(n); d++)
            out.at.d[d] = dim_subst(f->p, out.at.d[d], &(DimSubst){r, row}, 1);
        if (r)
            v.at[v.n_at++] = out.at;
        vec_push(f->cx->arena, &g->outputs, out);
        f->home[n->id] = v.b;
        for (uint32_t j = 0; j < f->visits[n->id].n; j++)
            if (j != i)
                vec_push(f->cx->arena, &f->visits[n->id].data[j].b->g->inputs, n);
        group_join(f, v.b, n, &v);
        return true;
    }
    return false;
}

/* Readers whose rows are too long for the product to join them: what they read is stored by the product's own group where that moves
 * fewer bytes than the product, or where `n` is stored anyway. */
bool group_stays_with_product(Former *f, const Node *n)
{
    OpClass c = op_class(n->op);
    if (!f->near_product[n->id] || (c != CLASS_POINTWISE && c != CLASS_CAST) || !f->visits[n->id].n)
        return false;
    const Type *product = &f->graph->nodes.data[f->product[n->id] - 1]->type, *t = &n->type;
    bool widens = c == CLASS_CAST && dtype_bytes(n->in[0]->type.dtype) < dtype_bytes(t->dtype);
    if (widens || shape_count(f->p, &t->shape) != shape_count(f->p, &product->shape) ||
        (!f->must[n->id] && dtype_bytes(t->dtype) >= dtype_bytes(product->dtype)))
        return false;
    for (uint32_t i = 0; i < f->visits[n->id].n; i++) {
        const Group *g = f->visits[n->id].data[i].b->g;
        Dim row = g->reduces.n ? reduced_count(f->p, g->reduces.data[0].node) : NULL;
        if (!row || (dim_is_const(row) && row->value <= LONGEST_PIECE))
            return false;
    }
    return true;
}
