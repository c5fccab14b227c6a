/* ir/op.c — the tables expanded from ops.def and attrs.def, and what is read off nodes, attributes and types. */
#include "ir/attr.h"
#include <assert.h>
#include <string.h>

const OpInfo op_table[OP_COUNT] = {
#define OP(E, name, cls, arity, ref, props) [OP_##E] = {#name, CLASS_##cls, arity, props, #ref},
#include "ir/ops.def"
#undef OP
};

const AttrInfo attr_table[ATTR_COUNT] = {
#define ATTR(E, name, kind) [ATTR_##E] = {#name, AK_##kind},
#include "ir/attrs.def"
#undef ATTR
};

/* A class is contiguous in ops.def: as many rows as lie between its first and its last. */
enum {
#define OP(E, name, cls, arity, ref, props) ROW_CLASS_##E = (int)CLASS_##cls,
#include "ir/ops.def"
#undef OP
};
#define OP(E, name, cls, arity, ref, props) +((int)ROW_CLASS_##E == CLASS_COUNTED)
enum {
#define CLASS_COUNTED (int)CLASS_SOURCE
    N_SOURCE = 0
#include "ir/ops.def"
#undef CLASS_COUNTED
    ,
#define CLASS_COUNTED (int)CLASS_MOVEMENT
    N_MOVEMENT = 0
#include "ir/ops.def"
#undef CLASS_COUNTED
    ,
#define CLASS_COUNTED (int)CLASS_POINTWISE
    N_POINTWISE = 0
#include "ir/ops.def"
#undef CLASS_COUNTED
    ,
#define CLASS_COUNTED (int)CLASS_REDUCE
    N_REDUCE = 0
#include "ir/ops.def"
#undef CLASS_COUNTED
    ,
#define CLASS_COUNTED (int)CLASS_SCAN
    N_SCAN = 0
#include "ir/ops.def"
#undef CLASS_COUNTED
};
#undef OP
static_assert((int)OP_RESHAPE == (int)N_SOURCE, "sources come first");
static_assert((int)OP_ABS == (int)OP_RESHAPE + (int)N_MOVEMENT, "movement is contiguous");
static_assert((int)OP_CAST == (int)OP_ABS + (int)N_POINTWISE, "pointwise is contiguous");
static_assert((int)OP_CUMSUM == (int)OP_REDUCE_SUM + (int)N_REDUCE, "reductions are contiguous");
static_assert((int)OP_MATMUL == (int)OP_CUMSUM + (int)N_SCAN, "scans are contiguous");
static_assert((int)OP_CHOICE == (int)OP_COUNT - 1, "choice is last");
static_assert((int)ATTR_COUNT <= 32, "attribute sets fit one word");

#define REQUIRED(key) {ATTR_##key, true}
#define OPTIONAL(key) {ATTR_##key, false}
#define NO_ATTRS {0}
static const OpAttrs attrs_by_op[OP_COUNT] = {
    [OP_INPUT]     = {1, {REQUIRED(NAME)}},
    [OP_PARAM]     = {1, {REQUIRED(NAME)}},
    [OP_CONST]     = {2, {REQUIRED(VALUE), REQUIRED(DTYPE)}},
    [OP_TENSOR]    = {1, {REQUIRED(NAME)}},
    [OP_IOTA]      = {3, {REQUIRED(SHAPE), REQUIRED(AXIS), REQUIRED(DTYPE)}},
    [OP_RESHAPE]   = {1, {REQUIRED(SHAPE)}},
    [OP_PERMUTE]   = {1, {REQUIRED(PERM)}},
    [OP_EXPAND]    = {1, {REQUIRED(SHAPE)}},
    [OP_SLICE]     = {4, {REQUIRED(AXIS), OPTIONAL(START), REQUIRED(SIZE), OPTIONAL(STEP)}},
    [OP_PAD]       = {4, {REQUIRED(AXIS), OPTIONAL(LOW), OPTIONAL(HIGH), OPTIONAL(FILL)}},
    [OP_FLIP]      = {1, {REQUIRED(AXES)}},
    [OP_CONCAT]    = {1, {REQUIRED(AXIS)}},
    [OP_CAST]      = {1, {REQUIRED(DTYPE)}},
    [OP_MATMUL]    = {3, {OPTIONAL(TRANS_A), OPTIONAL(TRANS_B), OPTIONAL(DTYPE)}},
    [OP_SPLIT_MATMUL] = {3, {OPTIONAL(TRANS_A), OPTIONAL(TRANS_B), REQUIRED(TERMS)}},
    [OP_GROUPED_MATMUL] = {2, {OPTIONAL(TRANS_B), OPTIONAL(DTYPE)}},
    [OP_GATHER]    = {1, {REQUIRED(AXIS)}},
    [OP_CHOICE]    = {1, {REQUIRED(ID)}},
};
static const OpAttrs attrs_of_reduce = {2, {REQUIRED(AXES), OPTIONAL(KEEPDIMS)}};
static const OpAttrs attrs_of_scan = {1, {REQUIRED(AXIS)}};

const OpAttrs *op_attrs(Op op)
{
    if (op_class(op) == CLASS_REDUCE)
        return &attrs_of_reduce;
    return op_class(op) == CLASS_SCAN ? &attrs_of_scan : &attrs_by_op[op];
}

Op op_find(const char *name)
{
    for (int op = 0; op < OP_COUNT; op++)
        if (op_table[op].name[0] == name[0] && strcmp(op_table[op].name, name) == 0)
            return (Op)op;
    return OP_NONE;
}

bool attr_find(const char *name, AttrKey *out)
{
    for (int key = 0; key < ATTR_COUNT; key++)
        if (strcmp(attr_table[key].name, name) == 0) {
            *out = (AttrKey)key;
            return true;
        }
    return false;
}

/* ---- types ------------------------------------------------------------------------------------------------------- */
bool shape_equal(const Shape *a, const Shape *b)
{
    return a->rank == b->rank && (a->rank == 0 || memcmp(a->d, b->d, sizeof a->d[0] * a->rank) == 0);
}

bool type_equal(const Type *a, const Type *b)
{
    return a->dtype == b->dtype && shape_equal(&a->shape, &b->shape);
}

Dim shape_count(DimPool *p, const Shape *s)
{
    return dim_product(p, s->d, s->rank);
}

void shape_print(StrBuf *b, const Shape *s)
{
    strbuf_char(b, '[');
    for (uint32_t i = 0; i < s->rank; i++) {
        if (i)
            strbuf_add(b, ", ");
        dim_print(b, s->d[i]);
    }
    strbuf_char(b, ']');
}

void type_print(StrBuf *b, const Type *t)
{
    strbuf_add(b, dtype_name(t->dtype));
    shape_print(b, &t->shape);
}

/* ---- attributes of a node ------------------------------------------------------------------------------------------ */
const Attr *node_attr(const Node *n, AttrKey key)
{
    for (uint32_t i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].key == key)
            return &n->attrs[i];
    return NULL;
}

int64_t node_int(const Node *n, AttrKey key, int64_t otherwise)
{
    const Attr *a = node_attr(n, key);
    return a ? a->i : otherwise;
}

Dim node_dim(const Node *n, AttrKey key)
{
    const Attr *a = node_attr(n, key);
    return a ? a->dim : NULL;
}

SplitOperand split_operand(const Node *n, uint32_t side)
{
    bool lo = node_int(n, ATTR_TERMS, 1) == 3;
    uint32_t originals = lo ? 4 : 2;                                   /* where a is */
    bool inv = n->n_in > originals + 2;

    return (SplitOperand){
        .hi = n->in[side], .lo = lo ? n->in[2 + side] : NULL, .inv = inv ? n->in[originals + side] : NULL,
        .exact = originals + 2 * inv + side < n->n_in ? n->in[originals + 2 * inv + side] : NULL,
    };
}

/* Casts apply after the literal, so they are collected on the way down; four in a row are more than any graph keeps. */
bool node_literal(const Node *n, double *v)
{
    DType casts[4];
    int n_casts = 0;

    while (n->op == OP_EXPAND || n->op == OP_RESHAPE || n->op == OP_PERMUTE || n->op == OP_SLICE ||
           n->op == OP_FLIP || n->op == OP_CAST) {
        if (n->op == OP_CAST) {
            if (n_casts == 4)
                return false;
            casts[n_casts++] = n->type.dtype;
        }
        n = n->in[0];
    }
    if (n->op != OP_CONST)
        return false;
    double value = node_attr(n, ATTR_VALUE)->f;
    while (n_casts)
        value = dtype_round(casts[--n_casts], value);
    *v = value;
    return true;
}
