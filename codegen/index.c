/* codegen/index.c — index maps: which element of an operand an element of the result reads.
 *
 * A reshape is cut into the shortest runs of dims whose extents have equal products, so that only dims that really merge or split
 * go through div and mod; symbolic leading dims pass untouched. */
#include "codegen/lower.h"

Dim index_flatten(DimPool *p, const Shape *s, const Index *at)
{
    Dim flat = dim_const(p, 0);
    for (uint32_t i = 0; i < s->rank; i++)
        flat = dim_add(p, dim_mul(p, flat, s->d[i]), at->d[i]);
    return flat;
}

/* Dims [from, to) of `s` recovered from `flat` into out. */
static void unflatten_run(DimPool *p, const Shape *s, uint32_t from, uint32_t to, Dim flat, Index *out)
{
    for (uint32_t i = to; i-- > from; ) {
        if (dim_is(s->d[i], 0)) {                              /* nothing will read it */
            out->d[i] = s->d[i];
        } else if (i == from) {
            out->d[i] = flat;
        } else {
            out->d[i] = dim_mod(p, flat, s->d[i]);
            flat = dim_floordiv(p, flat, s->d[i]);
        }
    }
}

Index index_unflatten(DimPool *p, const Shape *s, Dim flat)
{
    Index out = {0};
    unflatten_run(p, s, 0, s->rank, flat, &out);
    return out;
}

static Index through_reshape(DimPool *p, const Shape *from, const Shape *to, const Index *at)
{
    Index out = {0};
    Dim one = dim_const(p, 1), zero = dim_const(p, 0);
    uint32_t i = 0, j = 0;                                    /* next dim of `from` (operand), `to` (result) */

    while (i < from->rank || j < to->rank) {
        uint32_t i0 = i, j0 = j;
        Dim a = i < from->rank ? from->d[i++] : one;
        Dim b = j < to->rank ? to->d[j++] : one;
        while (a != b && (i < from->rank || j < to->rank)) {
            bool grow_a = j == to->rank || (i < from->rank && (dim_divides(p, a, b) || (a->hi < b->hi && !dim_divides(p, b, a))));
            if (grow_a)
                a = dim_mul(p, a, from->d[i++]);
            else
                b = dim_mul(p, b, to->d[j++]);
        }
        Dim flat = zero;
        for (uint32_t k = j0; k < j; k++)
            flat = dim_add(p, dim_mul(p, flat, to->d[k]), at->d[k]);
        unflatten_run(p, from, i0, i, flat, &out);
    }
    for (uint32_t k = 0; k < from->rank; k++)
        if (dim_is(from->d[k], 1))
            out.d[k] = zero;
    return out;
}

static Index through_expand(DimPool *p, const Node *n, const Index *at)
{
    Index out = {0};
    const Shape *from = &n->in[0]->type.shape;
    uint32_t lead = node_rank(n) - from->rank;
    for (uint32_t i = 0; i < from->rank; i++)
        out.d[i] = dim_is(from->d[i], 1) ? dim_const(p, 0) : at->d[lead + i];
    return out;
}

static Index through_concat(DimPool *p, const Node *n, uint32_t k, const Index *at, InRange *range)
{
    Index out = *at;
    int64_t axis = node_int(n, ATTR_AXIS, 0);
    Dim start = dim_const(p, 0);
    for (uint32_t i = 0; i < k; i++)
        start = dim_add(p, start, n->in[i]->type.shape.d[axis]);
    if (range)
        *range = (InRange){at->d[axis], start, dim_add(p, start, n->in[k]->type.shape.d[axis])};
    out.d[axis] = dim_sub(p, at->d[axis], start);
    return out;
}

Index index_operand(DimPool *p, const Node *n, uint32_t k, const Index *at, InRange *range)
{
    Index out = *at;
    const Node *x = n->in[k];
    int64_t axis = node_int(n, ATTR_AXIS, 0);
    if (range)
        *range = (InRange){0};

    /* only movement ops change the index; everything else reads its operands in place */
    if (n->op == OP_RESHAPE)
        return through_reshape(p, &x->type.shape, &n->type.shape, at);
    if (n->op == OP_EXPAND)
        return through_expand(p, n, at);
    if (n->op == OP_CONCAT)
        return through_concat(p, n, k, at, range);
    if (n->op == OP_PERMUTE) {
        const Attr *perm = node_attr(n, ATTR_PERM);
        for (uint32_t i = 0; i < perm->n; i++)
            out.d[perm->ints[i]] = at->d[i];
    } else if (n->op == OP_SLICE) {
        Dim start = node_dim(n, ATTR_START);
        out.d[axis] = dim_mul_const(p, at->d[axis], node_int(n, ATTR_STEP, 1));
        if (start)
            out.d[axis] = dim_add(p, out.d[axis], start);
    } else if (n->op == OP_PAD) {
        Dim low = node_dim(n, ATTR_LOW);
        low = low ? low : dim_const(p, 0);
        if (range)
            *range = (InRange){at->d[axis], low, dim_add(p, low, x->type.shape.d[axis])};
        out.d[axis] = dim_sub(p, at->d[axis], low);
    } else if (n->op == OP_FLIP) {
        const Attr *axes = node_attr(n, ATTR_AXES);
        for (uint32_t i = 0; i < axes->n; i++) {
            int64_t d = axes->ints[i];
            out.d[d] = dim_sub(p, dim_add_const(p, x->type.shape.d[d], -1), at->d[d]);
        }
    }
    return out;
}

bool node_reduces_axis(const Node *n, uint32_t axis)
{
    const Attr *axes = node_attr(n, ATTR_AXES);
    for (uint32_t i = 0; axes && i < axes->n; i++)
        if (axes->ints[i] == axis)
            return true;
    return false;
}

Dim reduced_count(DimPool *p, const Node *n)
{
    Dim count = dim_const(p, 1);
    for (uint32_t i = 0; i < node_rank(n->in[0]); i++)
        if (node_reduces_axis(n, i))
            count = dim_mul(p, count, n->in[0]->type.shape.d[i]);
    return count;
}

Index index_reduced(DimPool *p, const Node *n, const Index *at, Dim r)
{
    const Shape *full = &n->in[0]->type.shape;
    bool keep = node_int(n, ATTR_KEEPDIMS, 0) != 0;
    Shape reduced = {0};
    for (uint32_t i = 0; i < full->rank; i++)
        if (node_reduces_axis(n, i))
            reduced.d[reduced.rank++] = full->d[i];
    Index inner = index_unflatten(p, &reduced, r), out = {0};
    uint32_t from = 0, from_inner = 0;
    for (uint32_t i = 0; i < full->rank; i++) {
        if (node_reduces_axis(n, i)) {
            out.d[i] = inner.d[from_inner++];
            from += keep;
        } else {
            out.d[i] = at->d[from++];
        }
    }
    return out;
}
