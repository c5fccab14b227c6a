/* codegen/kinds/product.c — coordinates of a product's elements, and the epilogue at one of them. */
#include "codegen/kinds/product.h"

Product product_new(KindBuild *b)
{
    Product x = {.b = b, .k = b->k, .p = b->k->cx->dims, .n = b->problem.g->matmul};
    x.k0 = dim_const(x.p, 0);
    x.t = compute_type(x.n->type.dtype);
    matmul_extents(x.p, x.n, &x.m, &x.nn, &x.depth, &x.batch);
    return x;
}

Index product_element(DimPool *p, const Node *n, Dim batch, Dim at_batch, Dim m, Dim row, Dim col)
{
    const Shape *s = &n->type.shape;
    Shape lead = {.rank = s->rank - 1};
    memcpy(lead.d, s->d, sizeof(Dim) * lead.rank);
    Dim flat = dim_is(batch, 1) ? row : dim_add(p, dim_mul(p, at_batch, m), row);
    Index at = index_unflatten(p, &lead, flat);
    at.d[lead.rank] = col;
    for (uint32_t i = 0; i < s->rank; i++)
        if (dim_is(s->d[i], 1))
            at.d[i] = dim_const(p, 0);
    return at;
}

/* Domain coordinates of element (row, col), where the domain has the product's dims. */
static void coords_of(const Product *x, Dim row, Dim col, Dim *coords)
{
    Index at = product_element(x->p, x->n, x->batch, x->at_batch, x->m, row, col);
    memcpy(coords, at.d, sizeof(Dim) * node_rank(x->n));
}

Dim product_row_tiles(DimPool *p, const Node *n, Dim m, int64_t mb)
{
    if (n->op != OP_GROUPED_MATMUL)
        return dim_ceildiv(p, m, dim_const(p, mb));
    Dim groups = dim_add_const(p, n->in[2]->type.shape.d[0], 1);           /* and the rows behind them */
    return dim_min(p, m, dim_add(p, dim_floordiv(p, m, dim_const(p, mb)), groups));
}

/* Group after group, each with its rows of tiles, until the one that has `tile` has been met. */
void product_find_group(Product *x, Dim tile)
{
    DimPool *p = x->p;
    Kernel *k = x->k;
    Lower *l = x->b->l;
    const Node *ends = x->n->in[2];
    Dim groups = ends->type.shape.d[0], rows = x->m;
    int64_t most = rows->hi < 1 ? 1 : rows->hi;
    KInst *number = k_index(k, tile, DT_I64, 1), *none = k_index(k, groups, DT_I64, 1), *all = k_index(k, rows, DT_I64, 1);
    KInst *zero = k_const(k, (KType){DT_I64, 1}, 0);
    enum { TILES, BEGIN, GROUP, ROW, END, N };             /* rows of tiles and rows before group g; what was found */
    KInst *init[N] = {zero, zero, none, all, all}, *next[N];

    lower_scope(l);
    KInst *loop = k_loop(k, "g", dim_const(p, 0), dim_add_const(p, groups, 1), 1, init, N, 1);
    KInst *begin = k_carry(k, loop, BEGIN), *before = k_carry(k, loop, TILES), *listed = k_test(k, loop->var, groups, 1);
    lower_mask(l, listed);
    KInst *end = k_cast(k, lower_value(l, ends, &(Index){.d = {loop->var}}, 1), DT_I64);
    lower_mask(l, NULL);
    end = k_op2(k, OP_MAXIMUM, begin, k_select(k, listed, k_op2(k, OP_MINIMUM, end, all), all));
    Dim first = k_bind(k, begin, "begin", 0, most), count = dim_sub(p, k_bind(k, end, "end", 0, most), first);
    KInst *after = k_op2(k, OP_ADD, before, k_index(k, dim_ceildiv(p, count, dim_const(p, x->mb)), DT_I64, 1));
    KInst *here = k_op2(k, OP_AND, k_op2(k, OP_LE, before, number), k_op2(k, OP_LT, number, after));
    KInst *inside = k_op2(k, OP_MUL, k_op2(k, OP_SUB, number, before), k_const(k, (KType){DT_I64, 1}, (double)x->mb));
    next[TILES] = after;
    next[BEGIN] = end;
    next[GROUP] = k_select(k, here, k_index(k, loop->var, DT_I64, 1), k_carry(k, loop, GROUP));
    next[ROW] = k_select(k, here, k_op2(k, OP_ADD, begin, inside), k_carry(k, loop, ROW));
    next[END] = k_select(k, here, end, k_carry(k, loop, END));
    k_loop_end(k, loop, next);
    lower_scope_end(l);

    KInst *group = k_result(k, loop, GROUP);
    x->at_batch = lower_bind_group(l, x->n, group);
    x->no_sum = k_op2(k, OP_EQ, group, none);
    x->row0 = k_bind(k, k_result(k, loop, ROW), "row0", 0, most);
    x->m = k_bind(k, k_result(k, loop, END), "end", 1, most);
}

void product_know(Product *x, Dim row, Dim col, KInst *value)
{
    Index at = {0};
    if (x->no_sum)
        value = k_select(x->k, x->no_sum, k_const(x->k, value->type, 0), value);
    coords_of(x, row, col, at.d);
    lower_know(x->b->l, x->n, &at, value);
}

void product_store(Product *x, Dim row, Dim col, uint32_t lanes, KInst *mask)
{
    Dim coords[MAX_RANK];
    coords_of(x, row, col, coords);
    store_outputs_at(x->b, coords, lanes, mask);
}

void product_finish_at(Product *x, Dim row, Dim col, KInst *value, uint32_t lanes, KInst *mask)
{
    product_know(x, row, col, value);
    product_store(x, row, col, lanes, mask);
}

void product_load_early(Product *x, Dim row, Dim col, uint32_t lanes, KInst *mask)
{
    const Group *g = x->b->problem.g;
    GroupAccesses all = group_accesses(x->b->problem.cx, g);
    Dim coords[MAX_RANK];
    coords_of(x, row, col, coords);
    lower_mask(x->b->l, mask);
    for (uint32_t i = 0; i < all.n; i++) {
        const Node *n = all.a[i].node;
        Index from = group_at(x->p, g, &all.a[i].at, node_rank(n), coords);
        bool in_bounds = true;
        for (uint32_t d = 0; d < node_rank(n); d++)
            in_bounds &= from.d[d]->lo >= 0 && all.a[i].at.d[d]->hi < n->type.shape.d[d]->hi;
        if (in_bounds)
            lower_value(x->b->l, n, &from, lanes);
    }
    lower_mask(x->b->l, NULL);
}

bool product_view(Context *cx, const Node *n, uint32_t which, MatrixView *out)
{
    if (matmul_operand_view(cx, n, which, out))
        return true;
    DimPool *p = cx->dims;
    Node *x = n->in[which];
    uint32_t r = node_rank(x);
    Dim m, nn, k, batch, own = dim_product(p, x->type.shape.d, r - 2), matrix = dim_mul(p, x->type.shape.d[r - 1], x->type.shape.d[r - 2]);
    matmul_extents(p, n, &m, &nn, &k, &batch);
    *out = (MatrixView){.base = x, .offset = dim_const(p, 0), .ld = x->type.shape.d[r - 1],
                        .stride_batch = dim_is(own, 1) || dim_is(batch, 1) ? dim_const(p, 0) : matrix};
    return dim_is(own, 1) || dim_is(batch, 1) || own == batch;
}

bool product_contiguous_k(Context *cx, const Node *n, uint32_t which)
{
    MatrixView v;
    bool transposed = node_int(n, which ? ATTR_TRANS_B : ATTR_TRANS_A, 0) != 0;
    return matmul_operand_view(cx, n, which, &v) && v.trans == (which ? !transposed : transposed);
}
