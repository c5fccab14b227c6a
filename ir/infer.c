/* ir/infer.c — the type of a node from its operands and attributes, or a message that shows both shapes.
 * Dims are equal when they are the same expression; broadcasting needs equal dims or a literal 1, because a symbol that may
 * be 1 would make the result's shape depend on data. Attributes arrive normalised (attr.c). */
#include "ir/attr.h"
#include <math.h>

typedef struct {
    Context *cx;
    Op op;
    Node *const *in;
    uint32_t n_in;
    const Attr *attrs;
    uint32_t n_attrs;
    Loc loc;
} Infer;

#define FAIL(c, hint, ...) return diag_error((c)->cx->diags, PAWL_EXIT_INVALID, (c)->loc, hint, __VA_ARGS__)

static const Attr *attr_of(const Infer *c, AttrKey key)
{
    for (uint32_t i = 0; i < c->n_attrs; i++)
        if (c->attrs[i].key == key)
            return &c->attrs[i];
    return NULL;
}

static int64_t int_of(const Infer *c, AttrKey key, int64_t otherwise)
{
    const Attr *a = attr_of(c, key);
    return a ? a->i : otherwise;
}

static Dim dim_of(const Infer *c, AttrKey key)
{
    const Attr *a = attr_of(c, key);
    return a ? a->dim : dim_const(c->cx->dims, 0);
}

static const char *operand_type(const Infer *c, uint32_t i)
{
    return type_text(c->cx, &c->in[i]->type);
}

static const char *both_facts(const Infer *c, const Shape *a, const Shape *b)
{
    Dim d[2 * MAX_RANK];
    uint32_t n = 0;

    for (uint32_t i = 0; i < a->rank; i++)
        d[n++] = a->d[i];
    for (uint32_t i = 0; i < b->rank; i++)
        d[n++] = b->d[i];
    return range_facts(c->cx, d, n);
}

static bool is_integer(DType t) { return dtype_class(t) == DC_SIGNED || dtype_class(t) == DC_UNSIGNED; }

/* The shape attribute as the type's shape. */
static bool shape_from_attr(const Infer *c, Type *out)
{
    const Attr *shape = attr_of(c, ATTR_SHAPE);

    out->shape = (Shape){.rank = shape->n};
    for (uint32_t i = 0; i < shape->n; i++)
        out->shape.d[i] = shape->dims[i];
    return shape_check(c->cx, &out->shape, c->loc);
}

/* ---- sources ------------------------------------------------------------------------------------------------------- */
static bool infer_const(const Infer *c, Type *out)
{
    DType t = attr_of(c, ATTR_DTYPE)->dtype;
    double v = attr_of(c, ATTR_VALUE)->f;

    if (!dtype_is_float(t) && (!isfinite(v) || v != trunc(v) || dtype_round(t, v) != v))
        FAIL(c, NULL, "the value %g is not a value of %s", v, dtype_name(t));
    *out = (Type){.dtype = t};
    return true;
}

static bool infer_iota(const Infer *c, Type *out)
{
    *out = (Type){.dtype = attr_of(c, ATTR_DTYPE)->dtype};
    if (out->dtype == DT_BOOL)
        FAIL(c, "use an integer or floating point dtype", "iota cannot count in bool");
    return shape_from_attr(c, out);
}

static bool infer_source(const Infer *c, Type *out)
{
    if (c->op == OP_CONST)
        return infer_const(c, out);
    if (c->op == OP_IOTA)
        return infer_iota(c, out);
    FAIL(c, "inputs, params and tensors are declared with their types", "the type of %s cannot be inferred", op_name(c->op));
}

/* ---- movement ------------------------------------------------------------------------------------------------------- */
static bool infer_reshape(const Infer *c, Type *out)
{
    DimPool *p = c->cx->dims;

    out->dtype = c->in[0]->type.dtype;
    if (!shape_from_attr(c, out))
        return false;
    Dim from = shape_count(p, &c->in[0]->type.shape), to = shape_count(p, &out->shape);
    if (from != to)
        FAIL(c, NULL, "reshape of %s to %s changes the number of elements from %s to %s%s", operand_type(c, 0),
             shape_text(c->cx, &out->shape), dim_text(c->cx->arena, from), dim_text(c->cx->arena, to),
             both_facts(c, &c->in[0]->type.shape, &out->shape));
    return true;
}

static bool infer_permute(const Infer *c, Type *out)
{
    const Attr *perm = attr_of(c, ATTR_PERM);
    const Shape *s = &c->in[0]->type.shape;

    if (perm->n != s->rank)
        FAIL(c, NULL, "perm of permute has %u entries for an operand of rank %u, %s", perm->n, s->rank, operand_type(c, 0));
    *out = c->in[0]->type;
    for (uint32_t i = 0; i < s->rank; i++)
        out->shape.d[i] = s->d[perm->ints[i]];
    return true;
}

static bool infer_expand(const Infer *c, Type *out)
{
    const Attr *shape = attr_of(c, ATTR_SHAPE);
    const Shape *s = &c->in[0]->type.shape;

    out->dtype = c->in[0]->type.dtype;
    if (!shape_from_attr(c, out))
        return false;
    if (s->rank > shape->n)
        FAIL(c, NULL, "expand of %s to %s would lose dims", operand_type(c, 0), shape_text(c->cx, &out->shape));
    for (uint32_t i = 0; i < s->rank; i++) {
        uint32_t at = shape->n - s->rank + i;
        if (s->d[i] != shape->dims[at] && !dim_is(s->d[i], 1))
            FAIL(c, "dims expand only from a literal 1",
                 "expand of %s to %s: dim %u is %s where %s is wanted%s", operand_type(c, 0),
                 shape_text(c->cx, &out->shape), at, dim_text(c->cx->arena, s->d[i]),
                 dim_text(c->cx->arena, shape->dims[at]), both_facts(c, s, &out->shape));
    }
    return true;
}

static bool infer_slice(const Infer *c, Type *out)
{
    DimPool *p = c->cx->dims;
    int64_t axis = int_of(c, ATTR_AXIS, 0), step = int_of(c, ATTR_STEP, 1);
    Dim start = dim_of(c, ATTR_START), size = dim_of(c, ATTR_SIZE), whole = c->in[0]->type.shape.d[axis];
    Dim d[3] = {start, size, whole};

    if (start->lo < 0 || size->lo < 0)
        FAIL(c, NULL, "slice of %s: start %s and size %s must not be negative%s", operand_type(c, 0),
             dim_text(c->cx->arena, start), dim_text(c->cx->arena, size), range_facts(c->cx, d, 3));
    /* last element taken, plus one; a slice of no elements may start anywhere up to the end */
    Dim span = dim_is(size, 0) ? size : dim_add_const(p, dim_mul_const(p, dim_add_const(p, size, -1), step), 1);
    Dim end = dim_add(p, start, span);
    if (!dim_le(p, end, whole))
        FAIL(c, NULL, "slice of %s along axis %lld ends at %s, which is not always within %s%s", operand_type(c, 0),
             (long long)axis, dim_text(c->cx->arena, end), dim_text(c->cx->arena, whole), range_facts(c->cx, d, 3));
    *out = c->in[0]->type;
    out->shape.d[axis] = size;
    return true;
}

static bool infer_pad(const Infer *c, Type *out)
{
    DimPool *p = c->cx->dims;
    int64_t axis = int_of(c, ATTR_AXIS, 0);
    Dim low = dim_of(c, ATTR_LOW), high = dim_of(c, ATTR_HIGH);

    if (low->lo < 0 || high->lo < 0)
        FAIL(c, "use slice to cut", "pad of %s by low=%s, high=%s: they must not be negative", operand_type(c, 0),
             dim_text(c->cx->arena, low), dim_text(c->cx->arena, high));
    *out = c->in[0]->type;
    out->shape.d[axis] = dim_add(p, dim_add(p, low, out->shape.d[axis]), high);
    return true;
}

static bool infer_concat(const Infer *c, Type *out)
{
    int64_t axis = int_of(c, ATTR_AXIS, 0);

    *out = c->in[0]->type;
    for (uint32_t k = 1; k < c->n_in; k++) {
        const Type *t = &c->in[k]->type;
        bool fits = t->dtype == out->dtype && t->shape.rank == out->shape.rank;
        for (uint32_t i = 0; fits && i < t->shape.rank; i++)
            fits = i == (uint32_t)axis || t->shape.d[i] == c->in[0]->type.shape.d[i];
        if (!fits)
            FAIL(c, "all operands need one dtype, and equal dims but for the axis",
                 "concat along axis %lld of %s (operand 1) and %s (operand %u)%s", (long long)axis, operand_type(c, 0),
                 operand_type(c, k), k + 1, both_facts(c, &c->in[0]->type.shape, &t->shape));
        out->shape.d[axis] = dim_add(c->cx->dims, out->shape.d[axis], t->shape.d[axis]);
    }
    return true;
}

static bool infer_movement(const Infer *c, Type *out)
{
    switch ((int)c->op) {
    case OP_RESHAPE: return infer_reshape(c, out);
    case OP_PERMUTE: return infer_permute(c, out);
    case OP_EXPAND:  return infer_expand(c, out);
    case OP_SLICE:   return infer_slice(c, out);
    case OP_PAD:     return infer_pad(c, out);
    case OP_CONCAT:  return infer_concat(c, out);
    default:         *out = c->in[0]->type; return true;                  /* flip */
    }
}

/* ---- pointwise ------------------------------------------------------------------------------------------------------- */
typedef enum { TAKES_ANY, TAKES_NUMBER, TAKES_FLOAT, TAKES_INT_OR_BOOL, TAKES_INT, TAKES_BOOL } Takes;

static Takes op_operands(Op op)
{
    switch ((int)op) {
    case OP_EQ: case OP_NE: case OP_LT: case OP_LE: case OP_GT: case OP_GE: case OP_WHERE: case OP_MAXIMUM: case OP_MINIMUM:
    case OP_ADD: case OP_MUL:
        return TAKES_ANY;
    case OP_ABS: case OP_NEG: case OP_SIGN: case OP_CEIL: case OP_FLOOR: case OP_ROUND: case OP_TRUNC: case OP_SUB:
    case OP_POW: case OP_FMOD: case OP_REMAINDER: case OP_ISNAN: case OP_ISINF:
        return TAKES_NUMBER;
    case OP_NOT: case OP_AND: case OP_OR: case OP_XOR:
        return TAKES_BOOL;
    case OP_BIT_NOT: case OP_BIT_AND: case OP_BIT_OR: case OP_BIT_XOR:
        return TAKES_INT_OR_BOOL;
    case OP_SHL: case OP_SHR:
        return TAKES_INT;
    default:
        return TAKES_FLOAT;
    }
}

static bool takes_dtype(Takes takes, DType t)
{
    switch (takes) {
    case TAKES_ANY:         return true;
    case TAKES_NUMBER:      return t != DT_BOOL;
    case TAKES_FLOAT:       return dtype_is_float(t);
    case TAKES_INT_OR_BOOL: return !dtype_is_float(t);
    case TAKES_INT:         return is_integer(t);
    case TAKES_BOOL:        return t == DT_BOOL;
    }
    return false;
}

static const char *takes_text(Takes takes)
{
    static const char *const text[] = {
        [TAKES_ANY] = "any dtype", [TAKES_NUMBER] = "numbers", [TAKES_FLOAT] = "floating point operands",
        [TAKES_INT_OR_BOOL] = "integers or bools", [TAKES_INT] = "integers", [TAKES_BOOL] = "bools",
    };
    return text[takes];
}

/* Float-only ops and logical ops convert implicitly in text; see text_build.c. */
bool op_wants_float(Op op) { return op_class(op) == CLASS_POINTWISE && op_operands(op) == TAKES_FLOAT; }
bool op_wants_bool(Op op) { return op_class(op) == CLASS_POINTWISE && op_operands(op) == TAKES_BOOL; }

static bool infer_pointwise(const Infer *c, Type *out)
{
    uint32_t first = c->op == OP_WHERE;                       /* where: the condition has its own dtype */
    Takes takes = op_operands(c->op);

    if (first && c->in[0]->type.dtype != DT_BOOL)
        FAIL(c, "compare, or cast it to bool", "the condition of where has type %s; it must be bool", operand_type(c, 0));
    for (uint32_t i = 0; i < c->n_in; i++) {
        if (!shape_equal(&c->in[i]->type.shape, &c->in[0]->type.shape))
            FAIL(c, NULL, "operands of %s have shapes %s and %s%s", op_name(c->op), operand_type(c, 0), operand_type(c, i),
                 both_facts(c, &c->in[0]->type.shape, &c->in[i]->type.shape));
        if (i >= first && c->in[i]->type.dtype != c->in[first]->type.dtype)
            FAIL(c, "cast one of them", "operands of %s have dtypes %s and %s", op_name(c->op), operand_type(c, first),
                 operand_type(c, i));
    }
    if (!takes_dtype(takes, c->in[first]->type.dtype))
        FAIL(c, "cast it first", "%s takes %s, not %s", op_name(c->op), takes_text(takes), operand_type(c, first));
    *out = c->in[first]->type;
    if (op_has(c->op, OP_PREDICATE))
        out->dtype = DT_BOOL;
    return true;
}

/* ---- reductions, scans, products ---------------------------------------------------------------------------------------- */
static bool infer_reduce(const Infer *c, Type *out)
{
    const Attr *axes = attr_of(c, ATTR_AXES);
    const Shape *s = &c->in[0]->type.shape;
    bool keep = int_of(c, ATTR_KEEPDIMS, 0), is_arg = c->op == OP_ARGMAX || c->op == OP_ARGMIN;
    bool is_logical = c->op == OP_REDUCE_ANY || c->op == OP_REDUCE_ALL;

    if (is_arg && axes->n != 1)
        FAIL(c, NULL, "%s takes one axis, not %u", op_name(c->op), axes->n);
    if (c->in[0]->type.dtype == DT_BOOL && !is_logical)
        FAIL(c, "cast it first, or use reduce_any or reduce_all", "%s of %s", op_name(c->op), operand_type(c, 0));
    if (is_logical && c->in[0]->type.dtype != DT_BOOL)
        FAIL(c, "compare it with 0 first", "%s takes bools, not %s", op_name(c->op), operand_type(c, 0));
    *out = (Type){.dtype = is_arg ? DT_I64 : c->in[0]->type.dtype};
    for (uint32_t i = 0, k = 0; i < s->rank; i++) {
        bool reduced = k < axes->n && axes->ints[k] == i;
        k += reduced;
        if (!reduced)
            out->shape.d[out->shape.rank++] = s->d[i];
        else if (keep)
            out->shape.d[out->shape.rank++] = dim_const(c->cx->dims, 1);
        if (reduced && dim_is(s->d[i], 0) && c->op != OP_REDUCE_SUM && c->op != OP_REDUCE_PROD && !is_logical)
            FAIL(c, NULL, "%s of %s along axis %u, which is empty", op_name(c->op), operand_type(c, 0), i);
    }
    return true;
}

static bool infer_scan(const Infer *c, Type *out)
{
    if (c->in[0]->type.dtype == DT_BOOL)
        FAIL(c, "cast it first", "%s of %s", op_name(c->op), operand_type(c, 0));
    *out = c->in[0]->type;
    return true;
}

bool shape_broadcast(const Shape *a, const Shape *b, DimPool *p, Shape *out)
{
    Dim one = dim_const(p, 1);

    out->rank = a->rank > b->rank ? a->rank : b->rank;
    for (uint32_t i = 0; i < out->rank; i++) {                  /* i counts from the right */
        Dim x = i < a->rank ? a->d[a->rank - 1 - i] : one;
        Dim y = i < b->rank ? b->d[b->rank - 1 - i] : one;
        if (x != y && x != one && y != one)
            return false;
        out->d[out->rank - 1 - i] = x == one ? y : x;
    }
    return true;
}

static bool infer_matmul(const Infer *c, Type *out)
{
    const Type *a = &c->in[0]->type, *b = &c->in[1]->type;
    bool ta = int_of(c, ATTR_TRANS_A, 0), tb = int_of(c, ATTR_TRANS_B, 0);
    const Attr *dtype = attr_of(c, ATTR_DTYPE);

    if (a->shape.rank < 2 || b->shape.rank < 2)
        FAIL(c, "unsqueeze vectors first", "matmul of %s and %s: both operands need rank 2 or more", operand_type(c, 0),
             operand_type(c, 1));
    if (a->dtype != b->dtype || a->dtype == DT_BOOL)
        FAIL(c, "cast one of them", "matmul of %s and %s", operand_type(c, 0), operand_type(c, 1));
    uint32_t ra = a->shape.rank, rb = b->shape.rank;
    Dim m = a->shape.d[ra - 2 + ta], ka = a->shape.d[ra - 1 - ta], kb = b->shape.d[rb - 2 + tb], n = b->shape.d[rb - 1 - tb];
    Shape batch_a = a->shape, batch_b = b->shape, batch;
    batch_a.rank -= 2;
    batch_b.rank -= 2;
    if (ka != kb)
        FAIL(c, tb || ta ? NULL : "trans_b=1 multiplies by a transposed operand",
             "matmul of %s%s and %s%s: the inner dims are %s and %s%s", operand_type(c, 0), ta ? " (transposed)" : "",
             operand_type(c, 1), tb ? " (transposed)" : "", dim_text(c->cx->arena, ka), dim_text(c->cx->arena, kb),
             both_facts(c, &a->shape, &b->shape));
    if (!shape_broadcast(&batch_a, &batch_b, c->cx->dims, &batch))
        FAIL(c, "batch dims are equal or a literal 1", "matmul of %s and %s: the batch dims %s and %s do not broadcast%s",
             operand_type(c, 0), operand_type(c, 1), shape_text(c->cx, &batch_a), shape_text(c->cx, &batch_b),
             both_facts(c, &batch_a, &batch_b));
    *out = (Type){.dtype = dtype ? dtype->dtype : a->dtype, .shape = batch};
    out->shape.d[out->shape.rank++] = m;
    out->shape.d[out->shape.rank++] = n;
    return true;
}

/* hi, lo, inv and original of operand `side` agree with each other; *kp: k of the pieces. */
static bool split_operand_fits(const Infer *c, uint32_t side, const SplitOperand *x, Dim *kp)
{
    static const char *const name[] = {"a", "b"};
    const Node *hi = x->hi;
    uint32_t rank = node_rank(hi);
    bool trans = int_of(c, side ? ATTR_TRANS_B : ATTR_TRANS_A, 0);
    DType t = hi->type.dtype;

    if (t != DT_F16 && t != DT_F32)
        FAIL(c, NULL, "%s_hi of split_matmul is %s; pieces are f16, or f32 with tf32 values", name[side], type_text(c->cx, &hi->type));
    if (rank < 2)
        FAIL(c, "unsqueeze vectors first", "%s_hi of split_matmul is %s; it needs rank 2 or more", name[side], type_text(c->cx, &hi->type));
    uint32_t at_k = (side == 0) == trans ? rank - 2 : rank - 1;
    *kp = hi->type.shape.d[at_k];
    if (x->lo && !type_equal(&x->lo->type, &hi->type))
        FAIL(c, NULL, "%s_hi and %s_lo of split_matmul are %s and %s", name[side], name[side], type_text(c->cx, &hi->type),
             type_text(c->cx, &x->lo->type));
    Type inv = {.dtype = DT_F32};
    for (uint32_t i = 0; i < rank; i++)
        if (i != at_k)
            inv.shape.d[inv.shape.rank++] = hi->type.shape.d[i];
    if (x->inv && !type_equal(&x->inv->type, &inv))
        FAIL(c, "one number a row of a, one a column of b", "%s_inv of split_matmul is %s; %s_hi, %s, wants %s", name[side],
             type_text(c->cx, &x->inv->type), name[side], type_text(c->cx, &hi->type), type_text(c->cx, &inv));
    if (!x->exact)
        return true;
    Type whole = {DT_F32, hi->type.shape};
    Dim k = node_rank(x->exact) == rank ? x->exact->type.shape.d[at_k] : *kp, padding = dim_sub(c->cx->dims, *kp, k);
    whole.shape.d[at_k] = k;
    if (!type_equal(&x->exact->type, &whole) || padding->lo < 0 || padding->hi > 63)
        FAIL(c, "the original has the pieces' shape, but for up to 63 zeros at the end of their k",
             "%s and %s_hi of split_matmul are %s and %s", name[side], name[side], type_text(c->cx, &x->exact->type), type_text(c->cx, &hi->type));
    return true;
}

static bool infer_split_matmul(const Infer *c, Type *out)
{
    bool three = int_of(c, ATTR_TERMS, 1) == 3;
    uint32_t pieces = three ? 4 : 2;
    bool scaled = c->n_in > 0 && (three || c->in[0]->type.dtype == DT_F16);     /* one product of tf32 numbers needs no scales */
    uint32_t least = pieces + 2 * scaled + 1;

    if (c->n_in < least || c->n_in > least + 1)
        FAIL(c, scaled ? three ? "a_hi, b_hi, a_lo, b_lo, a_inv, b_inv, a and perhaps b" : "a_hi, b_hi, a_inv, b_inv, a and perhaps b"
                       : "a_hi, b_hi, a and perhaps b",
             "split_matmul with terms=%d has %u operands", three ? 3 : 1, c->n_in);
    Node like = {.op = c->op, .n_in = c->n_in, .in = (Node **)(uintptr_t)c->in, .attrs = c->attrs, .n_attrs = (uint16_t)c->n_attrs};
    SplitOperand a = split_operand(&like, 0), b = split_operand(&like, 1);
    Dim ka, kb;
    if (!split_operand_fits(c, 0, &a, &ka) || !split_operand_fits(c, 1, &b, &kb))
        return false;
    if (b.exact) {
        Dim k[2];
        for (uint32_t side = 0; side < 2; side++) {
            const Node *x = side ? b.exact : a.exact;
            bool trans = int_of(c, side ? ATTR_TRANS_B : ATTR_TRANS_A, 0);
            k[side] = x->type.shape.d[node_rank(x) - ((side == 0) == trans ? 2 : 1)];
        }
        if (k[0] != k[1])
            FAIL(c, NULL, "a and b of split_matmul, %s and %s, have the inner dims %s and %s", type_text(c->cx, &a.exact->type),
                 type_text(c->cx, &b.exact->type), dim_text(c->cx->arena, k[0]), dim_text(c->cx->arena, k[1]));
    }
    if (!infer_matmul(c, out))                             /* of the pieces a_hi, b_hi */
        return false;
    out->dtype = DT_F32;
    return true;
}

static bool infer_grouped_matmul(const Infer *c, Type *out)
{
    const Type *a = &c->in[0]->type, *b = &c->in[1]->type, *ends = &c->in[2]->type;
    bool tb = int_of(c, ATTR_TRANS_B, 0);
    const Attr *dtype = attr_of(c, ATTR_DTYPE);

    if (a->shape.rank != 2 || b->shape.rank != 3)
        FAIL(c, "reshape the rows to one dim; weights are [E, K, N], or [E, N, K] with trans_b=1",
             "grouped_matmul of %s and %s: the operands need rank 2 and rank 3", operand_type(c, 0), operand_type(c, 1));
    if (a->dtype != b->dtype || a->dtype == DT_BOOL)
        FAIL(c, "cast one of them", "grouped_matmul of %s and %s", operand_type(c, 0), operand_type(c, 1));
    if (a->shape.d[1] != b->shape.d[1 + tb])
        FAIL(c, tb ? NULL : "trans_b=1 multiplies by transposed weights", "grouped_matmul of %s and %s%s: the inner dims are %s and %s%s",
             operand_type(c, 0), operand_type(c, 1), tb ? " (transposed)" : "", dim_text(c->cx->arena, a->shape.d[1]),
             dim_text(c->cx->arena, b->shape.d[1 + tb]), both_facts(c, &a->shape, &b->shape));
    if ((ends->dtype != DT_I32 && ends->dtype != DT_I64) || ends->shape.rank != 1 || ends->shape.d[0] != b->shape.d[0])
        FAIL(c, "one i32 or i64 for each of the matrices: where its rows end", "the ends of grouped_matmul are %s; %s has %s groups",
             operand_type(c, 2), operand_type(c, 1), dim_text(c->cx->arena, b->shape.d[0]));
    if (b->shape.d[0]->lo < 1)
        FAIL(c, "declare the dim from 1 on", "grouped_matmul by %s may have no groups", operand_type(c, 1));
    *out = (Type){.dtype = dtype ? dtype->dtype : a->dtype, .shape = {.rank = 2, .d = {a->shape.d[0], b->shape.d[2 - tb]}}};
    return true;
}

static bool infer_contract(const Infer *c, Type *out)
{
    switch ((int)c->op) {
    case OP_SPLIT_MATMUL:   return infer_split_matmul(c, out);
    case OP_GROUPED_MATMUL: return infer_grouped_matmul(c, out);
    default:                return infer_matmul(c, out);
    }
}

static bool infer_gather(const Infer *c, Type *out)
{
    const Type *table = &c->in[0]->type, *index = &c->in[1]->type;
    uint32_t axis = (uint32_t)int_of(c, ATTR_AXIS, 0), rank = table->shape.rank - 1 + index->shape.rank;

    if (!is_integer(index->dtype))
        FAIL(c, NULL, "the index of gather has type %s; it must be an integer", operand_type(c, 1));
    if (rank > MAX_RANK)
        FAIL(c, NULL, "gather of %s by %s has rank %u; at most %d is possible", operand_type(c, 0), operand_type(c, 1), rank, MAX_RANK);
    *out = (Type){.dtype = table->dtype};
    for (uint32_t i = 0; i < axis; i++)
        out->shape.d[out->shape.rank++] = table->shape.d[i];
    for (uint32_t i = 0; i < index->shape.rank; i++)
        out->shape.d[out->shape.rank++] = index->shape.d[i];
    for (uint32_t i = axis + 1; i < table->shape.rank; i++)
        out->shape.d[out->shape.rank++] = table->shape.d[i];
    return true;
}

static bool infer_choice(const Infer *c, Type *out)
{
    *out = c->in[0]->type;
    for (uint32_t i = 1; i < c->n_in; i++)
        if (!type_equal(&c->in[i]->type, out))
            FAIL(c, NULL, "alternatives of choice have types %s and %s", operand_type(c, 0), operand_type(c, i));
    return true;
}

static bool infer(const Infer *c, Type *out)
{
    switch (op_class(c->op)) {
    case CLASS_SOURCE:    return infer_source(c, out);
    case CLASS_MOVEMENT:  return infer_movement(c, out);
    case CLASS_POINTWISE: return infer_pointwise(c, out);
    case CLASS_CAST:      *out = c->in[0]->type; out->dtype = c->attrs[0].dtype; return true;
    case CLASS_REDUCE:    return infer_reduce(c, out);
    case CLASS_SCAN:      return infer_scan(c, out);
    case CLASS_CONTRACT:  return infer_contract(c, out);
    case CLASS_GATHER:    return infer_gather(c, out);
    case CLASS_CHOICE:    return infer_choice(c, out);
    }
    return false;
}

bool infer_type(Context *cx, Op op, Node *const *in, uint32_t n_in, const Attr *attrs, uint32_t n_attrs, Loc loc, Type *out)
{
    Infer c = {cx, op, in, n_in, attrs, n_attrs, loc};
    bool may_grow = op_class(op) != CLASS_POINTWISE && op_class(op) != CLASS_CAST;

    return infer(&c, out) && (!may_grow || shape_check(cx, &out->shape, loc));
}
