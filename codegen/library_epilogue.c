/* codegen/library_epilogue.c — the chains behind a matrix product that cuBLASLt computes with it, recognised on primitive nodes:
 *
 *     [cast] [+ residual] [relu | tanh-gelu] [+ bias] product
 *
 * with a residual only where no activation is (the library adds it before). Casts between floating types may stand anywhere: fused,
 * intermediates stay in fp32. */
#include "codegen/group.h"

#include <math.h>

static Node *uncast(Node *n)
{
    while (n->op == OP_CAST && dtype_is_float(n->type.dtype) && dtype_is_float(n->in[0]->type.dtype))
        n = n->in[0];
    return n;
}

/* The same number everywhere. */
static bool is_number(Node *n, double v)
{
    while (n->op == OP_EXPAND || n->op == OP_RESHAPE || n->op == OP_CAST)
        n = n->in[0];
    const Attr *a = n->op == OP_CONST ? node_attr(n, ATTR_VALUE) : NULL;
    return n->op == OP_CONST && fabs((a ? a->f : 0) - v) <= 1e-6 * fabs(v);
}

/* The other operand of `op` with the number v; NULL: it is not that. */
static Node *other_than(Node *n, Op op, double v)
{
    n = uncast(n);
    if (n->op != op)
        return NULL;
    return is_number(n->in[1], v) ? uncast(n->in[0]) : is_number(n->in[0], v) ? uncast(n->in[1]) : NULL;
}

/* n = a op b in either order, where a is known; gives b. */
static Node *partner(Node *n, Op op, const Node *a)
{
    n = uncast(n);
    if (n->op != op)
        return NULL;
    return uncast(n->in[0]) == a ? uncast(n->in[1]) : uncast(n->in[1]) == a ? uncast(n->in[0]) : NULL;
}

/* x of x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
static Node *gelu_tanh_of(Node *n)
{
    if (n->op != OP_MUL)
        return NULL;
    for (int i = 0; i < 2; i++) {
        Node *x = other_than(n->in[i], OP_MUL, 0.5), *tanh1 = other_than(n->in[1 - i], OP_ADD, 1);
        Node *sum = x && tanh1 && tanh1->op == OP_TANH ? other_than(tanh1->in[0], OP_MUL, 0.7978845608028654) : NULL;
        Node *cubic = sum ? partner(sum, OP_ADD, x) : NULL, *cube = cubic ? other_than(cubic, OP_MUL, 0.044715) : NULL;
        Node *square = cube ? partner(cube, OP_MUL, x) : NULL;
        if (square && square->op == OP_MUL && uncast(square->in[0]) == x && uncast(square->in[1]) == x)
            return x;
    }
    return NULL;
}

/* A vector along the columns, read from memory in dtype t. */
static Node *vector_of(Node *n, Dim columns, DType t)
{
    bool spread = false;
    while (n->op == OP_EXPAND || n->op == OP_CAST) {
        spread |= n->op == OP_EXPAND;
        n = n->in[0];
    }
    const Shape *s = &n->type.shape;
    for (uint32_t i = 0; i + 1 < s->rank; i++)
        spread &= dim_is(s->d[i], 1);
    bool stored = n->op == OP_INPUT || n->op == OP_PARAM || n->op == OP_TENSOR;
    return spread && stored && s->rank && s->d[s->rank - 1] == columns && n->type.dtype == t ? n : NULL;
}

static bool listed(Node *const *v, uint32_t n, const Node *x)
{
    for (uint32_t i = 0; i < n; i++)
        if (v[i] == x)
            return true;
    return false;
}

/* A whole matrix in dtype t that is, or can still be, in memory. Grouping walks from late nodes to early ones. */
static Node *residual_of(const Group *g, const Node *product, Node *n, DType t)
{
    while (n->type.dtype != t && n->op == OP_CAST)
        n = n->in[0];
    bool stored = n->op == OP_INPUT || n->op == OP_PARAM || n->op == OP_TENSOR || listed(g->inputs.data, g->inputs.n, n);
    bool view = op_class(n->op) == CLASS_MOVEMENT || op_class(n->op) == CLASS_SOURCE;
    bool later = n->id < product->id && !view && !listed(g->nodes.data, g->nodes.n, n);
    return n->type.dtype == t && shape_equal(&n->type.shape, &product->type.shape) && (stored || later) ? n : NULL;
}

static Node *take_residual(const Group *g, const Node *product, Node *n, DType t, Node **residual)
{
    if (n->op != OP_ADD)
        return n;
    for (int i = 0; i < 2; i++) {
        Node *inner = uncast(n->in[i]);
        bool rest = inner == product || (inner->op == OP_ADD && (uncast(inner->in[0]) == product || uncast(inner->in[1]) == product));
        if (rest && (*residual = residual_of(g, product, n->in[1 - i], t)))
            return inner;
    }
    return n;
}

static Node *take_bias(const Node *product, Node *n, DType t, Node **bias)
{
    Dim columns = product->type.shape.d[node_rank(product) - 1];
    for (int i = 0; i < 2 && n->op == OP_ADD; i++)
        if (uncast(n->in[i]) == product && (*bias = vector_of(n->in[1 - i], columns, t)))
            return uncast(n->in[i]);
    return n;
}

bool library_epilogue_of(const Group *g, const Node *product, LibraryEpilogue *out)
{
    *out = (LibraryEpilogue){.epilogue = EPI_NONE};
    if (g->outputs.n != 1)
        return false;
    Node *root = g->outputs.data[0].node, *n = root, *inner;
    if (n == product)
        return true;
    DType t = product->in[0]->type.dtype;
    if (root->type.dtype != t || !dtype_is_float(t) || t == DT_F64)
        return false;
    n = uncast(n);
    bool relu = false, gelu = false;
    if ((inner = other_than(n, OP_MAXIMUM, 0)))
        relu = true, n = inner;
    else if ((inner = gelu_tanh_of(n)))
        gelu = true, n = inner;
    else
        n = take_residual(g, product, n, t, &out->residual);
    n = take_bias(product, n, t, &out->bias);
    if (out->bias)
        out->epilogue = relu ? EPI_BIAS_RELU : gelu ? EPI_BIAS_GELU_TANH : EPI_BIAS;
    else
        out->epilogue = relu ? EPI_RELU : gelu ? EPI_GELU_TANH : EPI_NONE;
    return n == product;
}

bool library_epilogue(Context *cx, const Group *g, LibraryEpilogue *out)
{
    (void)cx;
    return g->matmul && library_epilogue_of(g, g->matmul, out);
}
