/* codegen/matmul_view.c — matrix products as grouping and the library see them: extents, and operands as strided matrices
 * seen through the movement ops between them and memory. */
#include "codegen/emit/emit.h"
#include "codegen/group.h"
#include "codegen/kind.h"

#include <math.h>

/* One right operand for all batches: the batches are just more rows. */
static bool rows_collapse(const Node *n)
{
    return node_rank(n->in[1]) == 2 && !node_int(n, ATTR_TRANS_A, 0);
}

void matmul_extents(DimPool *p, const Node *n, Dim *m, Dim *nn, Dim *k, Dim *batch)
{
    uint32_t r = node_rank(n), ra = node_rank(n->in[0]);
    *nn = n->type.shape.d[r - 1];
    *k = n->in[0]->type.shape.d[ra - (node_int(n, ATTR_TRANS_A, 0) ? 2 : 1)];
    *m = rows_collapse(n) ? dim_product(p, n->type.shape.d, r - 1) : n->type.shape.d[r - 2];
    *batch = rows_collapse(n) ? dim_const(p, 1) : dim_product(p, n->type.shape.d, r - 2);
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

/* Coordinates in operand k as functions of a batch number (of a grouped product's second one: its group), a row and a column; *rows is
 * the extent of the row. Operands come in pairs: even ones are left factors, odd ones right factors. */
static Index operand_coords(DimPool *p, const Node *n, uint32_t k, Dim batch, Dim *row, Dim *col, Dim *rows)
{
    const Shape *s = &n->in[k]->type.shape;
    uint32_t r = s->rank, rn = node_rank(n);
    Index at = {0};
    bool by_group = k == 1 && n->op == OP_GROUPED_MATMUL;
    *col = dim_sym_below(p, "k", s->d[r - 1]);
    if (k % 2 == 0 && rows_collapse(n)) {
        Shape lead = {.rank = r - 1};
        memcpy(lead.d, s->d, sizeof(Dim) * (r - 1));
        *rows = shape_count(p, &lead);
        *row = dim_sym_below(p, "m", *rows);
        at = index_unflatten(p, &lead, *row);
    } else {
        Shape lead = {.rank = rn - 2};
        memcpy(lead.d, n->type.shape.d, sizeof(Dim) * (rn - 2));
        Index bi = index_unflatten(p, &lead, batch);
        for (uint32_t i = 0; i + 2 < r; i++)
            at.d[i] = by_group ? batch : bi.d[rn - r + i];
        *rows = s->d[r - 2];
        at.d[r - 2] = *row = dim_sym_below(p, "m", *rows);
    }
    at.d[r - 1] = *col;
    for (uint32_t i = 0; i < r; i++)
        if (dim_is(s->d[i], 1))
            at.d[i] = dim_const(p, 0);
    return at;
}

bool matmul_operand_view(Context *cx, const Node *n, uint32_t k, MatrixView *out)
{
    DimPool *p = cx->dims;
    Node *x = n->in[k];
    Dim m, nn, depth, batch, row, col, rows, cols = x->type.shape.d[node_rank(x) - 1];
    matmul_extents(p, n, &m, &nn, &depth, &batch);
    Dim bs = dim_sym_below(p, "b", k == 1 && n->op == OP_GROUPED_MATMUL ? x->type.shape.d[0] : batch);
    Index at = operand_coords(p, n, k, bs, &row, &col, &rows);
    Node *base = view_base(p, x, &at);
    Dim flat = index_flatten(p, &base->type.shape, &at), srow, scol, sbatch, rest;
    if (!dim_linear_in(p, flat, row, &srow, &rest) || !dim_linear_in(p, rest, col, &scol, &rest) ||
        !dim_linear_in(p, rest, bs, &sbatch, &rest) || dim_uses(srow, col) || dim_uses(sbatch, row) || dim_uses(sbatch, col))
        return false;
    bool one_row = dim_is(rows, 1), one_col = dim_is(cols, 1);
    *out = (MatrixView){.base = base, .offset = rest, .stride_batch = sbatch};
    if (dim_is(scol, 1) || (one_col && !dim_is(srow, 1))) {
        out->ld = one_row ? cols : srow;
    } else if (dim_is(srow, 1) || one_row) {
        out->ld = scol;
        out->trans = true;
    } else {
        return false;
    }
    return out->ld->lo > 0;
}

MatrixView matmul_scale_view(Context *cx, const Node *n, uint32_t k)
{
    DimPool *p = cx->dims;
    Node *x = n->in[k];
    uint32_t rank = node_rank(x), r = k % 2 == 0 && rows_collapse(n) ? 0 : rank - 1;        /* batches before the lines */
    Shape lead = {.rank = r}, lines = {.rank = rank - r};
    memcpy(lead.d, x->type.shape.d, sizeof(Dim) * r);
    memcpy(lines.d, x->type.shape.d + r, sizeof(Dim) * lines.rank);
    Dim count = shape_count(p, &lines), line = dim_sym_below(p, "m", count), batch = dim_sym_below(p, "b", shape_count(p, &lead)), each;
    Index at = index_unflatten(p, &lead, batch), within = index_unflatten(p, &lines, line);
    memcpy(at.d + r, within.d, sizeof(Dim) * lines.rank);
    MatrixView v = {.base = view_base(p, x, &at), .ld = dim_const(p, 1)};
    Dim flat = index_flatten(p, &v.base->type.shape, &at);
    if (dim_linear_in(p, flat, line, &each, &v.offset) && (dim_is(each, 1) || dim_is(count, 1)) &&
        dim_linear_in(p, v.offset, batch, &v.stride_batch, &v.offset) && dim_is(v.offset, 0))
        return v;
    return (MatrixView){.base = x, .offset = dim_const(p, 0), .ld = v.ld, .stride_batch = count};
}

Node *matmul_operand_base(Context *cx, const Node *n, uint32_t k)
{
    MatrixView v;
    if (node_rank(n->in[k]) < node_rank(n->in[k % 2]))          /* scales or ends of groups, no matrix */
        return n->op == OP_SPLIT_MATMUL ? matmul_scale_view(cx, n, k).base : n->in[k];
    return matmul_operand_view(cx, n, k, &v) ? v.base : n->in[k];
}

/* Rows of 16-byte pieces along k: what a thread loads at once. */
static bool in_pieces(Context *cx, const Node *n, uint32_t which)
{
    MatrixView v;
    Dim piece = dim_const(cx->dims, 8);
    bool transposed = node_int(n, which ? ATTR_TRANS_B : ATTR_TRANS_A, 0) != 0;
    return matmul_operand_view(cx, n, which, &v) && v.trans == (which ? !transposed : transposed) && dim_divides(cx->dims, piece, v.ld) &&
           dim_divides(cx->dims, piece, v.offset) && dim_divides(cx->dims, piece, v.stride_batch);
}

const char *matmul_not_small(Context *cx, const Node *n, const Machine *m)
{
    Dim rows, nn, depth, batch;
    DType t = n->in[0]->type.dtype;
    matmul_extents(cx->dims, n, &rows, &nn, &depth, &batch);
    if (n->op != OP_MATMUL)
        return n->op == OP_GROUPED_MATMUL ? "its rows are in groups" : "it is a product of pieces";
    if (m->target != TARGET_CUDA || (t != DT_BF16 && t != DT_F16) || n->in[1]->type.dtype != t)
        return "no tensor cores for these operands";
    if (!dim_is_const(rows) || rows->value < 1 || rows->value > 64)
        return "more rows than 64";
    if (!dim_is_const(depth) || depth->value < 8 || depth->value % 8 || nn->lo < 1)
        return "sums that are not made of 16-byte pieces";
    if (rows->value > 16 && dim_typical(nn) * depth->value < (int64_t)1 << 20)
        return "more rows than 16, and too few weights for those to be all that counts";
    return in_pieces(cx, n, 0) && in_pieces(cx, n, 1) ? NULL : "an operand is not contiguous along the sums, or its rows are not aligned";
}

/* ---- tensor cores with any epilogue (kinds/gemm.c) --------------------------------------------------------------------------- */
static bool sixteenths(DimPool *p, Dim elements, uint32_t size)
{
    return dim_divides(p, dim_const(p, 16 / size), elements);
}

/* The copy engine's demands: rows and batches start at multiples of 16 bytes. */
static bool in_boxes(Context *cx, const Node *n, uint32_t k)
{
    MatrixView v;
    uint32_t size = dtype_bytes(n->in[k]->type.dtype);
    return matmul_operand_view(cx, n, k, &v) && sixteenths(cx->dims, v.ld, size) && sixteenths(cx->dims, v.offset, size) &&
           sixteenths(cx->dims, v.stride_batch, size);
}

enum { MOST_GROUPS = 1024 };                     /* 8 KB of shared memory */

/* The template counts rows, columns and tiles of 64 by 32 or more in 31 bits, and a tensor map has no empty dim. */
static bool countable(DimPool *p, const Node *n)
{
    static const double most = (double)(INT32_MAX - 1024);
    Dim m, nn, k, batch;
    matmul_extents(p, n, &m, &nn, &k, &batch);
    double groups = n->op == OP_GROUPED_MATMUL ? (double)n->in[2]->type.shape.d[0]->lo : 0;
    double tiles = (ceil((double)m->lo / 64) + 1 + groups) * (ceil((double)nn->lo / 32) + 1) * (double)batch->lo;
    return k->lo > 0 && k->lo < most && m->lo < most && nn->lo < most && tiles < most;
}

const char *matmul_not_gemm(Context *cx, const Node *n, const CodegenOptions *o)
{
    DType t = n->in[0]->type.dtype;
    for (uint32_t i = 0; i < o->n_no_kinds; i++)
        if (!strcmp(o->no_kinds[i], "gemm"))
            return "kind gemm is left out";
    if (o->machine.target != TARGET_CUDA || !o->machine.tensor_cores)
        return "no tensor cores that a template of ours knows";
    if (o->emitter == EMITTER_LLVM || !nvrtc_available(NULL))
        return "the template is CUDA C, and there is no NVRTC";
    if (n->op == OP_SPLIT_MATMUL)
        return NULL;                              /* made for it */
    if (n->op == OP_GROUPED_MATMUL && (!dim_is_const(n->in[2]->type.shape.d[0]) || n->in[2]->type.shape.d[0]->value > MOST_GROUPS))
        return "how many groups its rows have is not known, or more than its table holds";
    if (!countable(cx->dims, n))
        return "its sums may be empty, or it has more rows, columns or tiles than 31 bits count";
    if ((t != DT_BF16 && t != DT_F16) || n->in[1]->type.dtype != t)
        return "its operands are not of one 16-bit type";
    return in_boxes(cx, n, 0) && in_boxes(cx, n, 1) ? NULL : "an operand has rows that do not start at multiples of 16 bytes";
}

const char *group_takes_matmul(Context *cx, const Group *g, const Node *n, const Index *at, uint32_t n_at, const CodegenOptions *o)
{
    Dim start[MATMUL_PLACES];
    MatmulReads reads;
    LibraryEpilogue e;
    if (!o->fuse)
        return "fusion is off";
    if (g->matmul)
        return "a group holds one matrix product";
    if (matmul_reads(cx, g, n, at, n_at, &reads) && !matmul_not_gemm(cx, n, o))
        return reads.row && !matmul_not_small(cx, n, &o->machine) ? "the product has few rows: its weights stream past them alone" : NULL;
    if (g->reduces.n)
        return "a reduction follows the matrix product";
    if (!matmul_columns(cx, g, n, at, n_at, start))
        return "its consumers do not read the product element by element";
    if (!matmul_not_small(cx, n, &o->machine))
        return NULL;
    if (!shape_equal(&g->domain, &n->type.shape))
        return "its consumers read parts of the product";
    if (o->machine.target == TARGET_CUDA && o->use_library && !library_epilogue_of(g, n, &e))
        return "the library has no such epilogue";
    return NULL;
}
