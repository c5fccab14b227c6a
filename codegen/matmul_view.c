/* codegen/matmul_view.c — matrix products as grouping and the library see them: extents, and operands as strided matrices
 * seen through the movement ops between them and memory. */
#include "codegen/group.h"

void matmul_extents(DimPool *p, const Node *n, Dim *m, Dim *nn, Dim *k, Dim *batch)
{
    uint32_t r = node_rank(n), ra = node_rank(n->in[0]);
    *m = n->type.shape.d[r - 2];
    *nn = n->type.shape.d[r - 1];
    *k = n->in[0]->type.shape.d[ra - (node_int(n, ATTR_TRANS_A, 0) ? 2 : 1)];
    *batch = dim_product(p, n->type.shape.d, r - 2);
}

/* Follows the operand down through views; *at becomes the coordinates in the base. */
static Node *view_base(DimPool *p, Node *x, Index *at)
{
    while (x->op == OP_RESHAPE || x->op == OP_PERMUTE || x->op == OP_EXPAND || x->op == OP_SLICE) {
        *at = index_operand(p, x, 0, at, NULL);
        x = x->in[0];
    }
    return x;
}

bool matmul_operand_view(Context *cx, const Node *n, uint32_t k, MatrixView *out)
{
    DimPool *p = cx->dims;
    Node *x = n->in[k];
    uint32_t r = node_rank(x), rn = node_rank(n);
    Dim m, nn, depth, batch;
    matmul_extents(p, n, &m, &nn, &depth, &batch);

    /* batch number and the last two coordinates as symbols; broadcast batch dims stay at 0 */
    Shape lead = {.rank = rn - 2};
    memcpy(lead.d, n->type.shape.d, sizeof(Dim) * (rn - 2));
    Dim bs = dim_sym_below(p, "b", batch);
    Dim row = dim_sym_below(p, "m", x->type.shape.d[r - 2]), col = dim_sym_below(p, "k", x->type.shape.d[r - 1]);
    Index bi = index_unflatten(p, &lead, bs), at = {0};
    for (uint32_t i = 0; i + 2 < r; i++)
        at.d[i] = dim_is(x->type.shape.d[i], 1) ? dim_const(p, 0) : bi.d[rn - r + i];
    at.d[r - 2] = dim_is(x->type.shape.d[r - 2], 1) ? dim_const(p, 0) : row;
    at.d[r - 1] = dim_is(x->type.shape.d[r - 1], 1) ? dim_const(p, 0) : col;

    Node *base = view_base(p, x, &at);
    Dim flat = index_flatten(p, &base->type.shape, &at), srow, scol, sbatch, rest;
    if (!dim_linear_in(p, flat, row, &srow, &rest) || !dim_linear_in(p, rest, col, &scol, &rest) ||
        !dim_linear_in(p, rest, bs, &sbatch, &rest) || dim_uses(srow, col) || dim_uses(sbatch, row) || dim_uses(sbatch, col))
        return false;
    bool one_row = dim_is(x->type.shape.d[r - 2], 1), one_col = dim_is(x->type.shape.d[r - 1], 1);
    *out = (MatrixView){.base = base, .offset = rest, .stride_batch = sbatch};
    if (dim_is(scol, 1) || (one_col && !dim_is(srow, 1))) {
        out->ld = one_row ? x->type.shape.d[r - 1] : srow;
    } else if (dim_is(srow, 1) || one_row) {
        out->ld = scol;
        out->trans = true;
    } else {
        return false;
    }
    return out->ld->lo > 0;
}

Node *matmul_operand_base(Context *cx, const Node *n, uint32_t k, const CodegenOptions *o)
{
    (void)o;
    MatrixView v;
    return matmul_operand_view(cx, n, k, &v) ? v.base : n->in[k];
}

const char *group_takes_matmul(Context *cx, const Group *g, const Node *n, const Index *at, const CodegenOptions *o)
{
    (void)cx;
    if (!o->fuse)
        return "fusion is off";
    if (g->matmul)
        return "a group holds one matrix product";
    if (g->reduces.n)
        return "a reduction follows the matrix product";
    if (!at || !shape_equal(&g->domain, &n->type.shape))
        return "its consumers do not read the product element by element";
    for (uint32_t i = 0; i < node_rank(n); i++)
        if (at->d[i] != g->sym[i])
            return "its consumers do not read the product element by element";
    if (o->machine.target == TARGET_CUDA && o->use_library)
        return "the library computes the product alone";
    return NULL;
}
