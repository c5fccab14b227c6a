/* passes/rules/natives.c — the functions of natives.def, and arithmetic on the values of expressions.
 * Undefined arguments (an axis out of range, a comparison that cannot be decided) give an undefined value: no match. */
#include "passes/rules/rule.h"
#include <math.h>
#include <string.h>

const NativeInfo native_table[NATIVE_COUNT] = {
#define NATIVE(name, args, result, about) [NATIVE_##name] = {#name, args, result, about},
#include "passes/rules/natives.def"
#undef NATIVE
};

#define NONE ((RuleValue){0})
static DimPool *pool(const RuleRun *r) { return r->g->cx->dims; }
static bool is_number(RuleValue v) { return v.kind == RV_INT || v.kind == RV_FLOAT; }
static double number(RuleValue v) { return v.kind == RV_INT ? (double)v.i : v.f; }
static Dim as_dim(const RuleRun *r, RuleValue v) { return v.kind == RV_INT ? dim_const(pool(r), v.i) : v.dim; }
static bool is_dim(RuleValue v) { return v.kind == RV_INT || v.kind == RV_DIM; }

/* ---- arithmetic -------------------------------------------------------------------------------------------------------------- */
static RuleValue number_binary(RuleBinary op, double a, double b)
{
    switch (op) {
    case RB_ADD: return rv_float(a + b);
    case RB_SUB: return rv_float(a - b);
    case RB_MUL: return rv_float(a * b);
    case RB_DIV: return rv_float(a / b);
    case RB_FLOORDIV: return rv_float(floor(a / b));
    case RB_MOD: return rv_float(a - b * floor(a / b));
    case RB_EQ:  return rv_bool(a == b);
    case RB_NE:  return rv_bool(a != b);
    case RB_LT:  return rv_bool(a < b);
    case RB_LE:  return rv_bool(a <= b);
    case RB_GT:  return rv_bool(a > b);
    case RB_GE:  return rv_bool(a >= b);
    case RB_AND: case RB_OR: break;
    }
    return NONE;
}

static RuleValue dim_binary(DimPool *p, RuleBinary op, Dim a, Dim b)
{
    switch (op) {
    case RB_ADD: return rv_dim(dim_add(p, a, b));
    case RB_SUB: return rv_dim(dim_sub(p, a, b));
    case RB_MUL: return rv_dim(dim_mul(p, a, b));
    case RB_DIV: case RB_FLOORDIV: return b->lo > 0 ? rv_dim(dim_floordiv(p, a, b)) : NONE;
    case RB_MOD: return b->lo > 0 ? rv_dim(dim_mod(p, a, b)) : NONE;
    case RB_EQ:  return rv_bool(a == b);
    case RB_NE:  return rv_bool(dim_ne(p, a, b));
    case RB_LT:  return rv_bool(dim_lt(p, a, b));
    case RB_LE:  return rv_bool(dim_le(p, a, b));
    case RB_GT:  return rv_bool(dim_lt(p, b, a));
    case RB_GE:  return rv_bool(dim_le(p, b, a));
    case RB_AND: case RB_OR: break;
    }
    return NONE;
}

bool rule_same(RuleRun *r, RuleValue a, RuleValue b)
{
    if (is_dim(a) && is_dim(b))
        return a.kind == RV_INT && b.kind == RV_INT ? a.i == b.i : as_dim(r, a) == as_dim(r, b);
    if (is_number(a) && is_number(b))
        return number(a) == number(b) && signbit(number(a)) == signbit(number(b));
    if (a.kind != b.kind)
        return false;
    switch (a.kind) {
    case RV_BOOL:  return a.b == b.b;
    case RV_DTYPE: return a.dtype == b.dtype;
    case RV_DIMS:  return a.n == b.n && (a.n == 0 || memcmp(a.dims, b.dims, a.n * sizeof *a.dims) == 0);
    case RV_INTS:  return a.n == b.n && (a.n == 0 || memcmp(a.ints, b.ints, a.n * sizeof *a.ints) == 0);
    case RV_NODE:  return a.node == b.node;
    case RV_NODES: case RV_NONE: case RV_INT: case RV_FLOAT: case RV_DIM: break;
    }
    return false;
}

RuleValue rule_binary(RuleRun *r, RuleBinary op, RuleValue a, RuleValue b)
{
    if (a.kind == RV_NONE || b.kind == RV_NONE)
        return NONE;
    if (op == RB_AND || op == RB_OR)
        return a.kind == RV_BOOL && b.kind == RV_BOOL ? rv_bool(op == RB_AND ? a.b && b.b : a.b || b.b) : NONE;
    if (a.kind == RV_INT && b.kind == RV_INT && op <= RB_MUL) {
        int64_t v;
        bool lost = op == RB_ADD ? __builtin_add_overflow(a.i, b.i, &v) : op == RB_SUB ? __builtin_sub_overflow(a.i, b.i, &v)
                                                                                     : __builtin_mul_overflow(a.i, b.i, &v);
        return lost ? NONE : rv_int(v);
    }
    if (is_dim(a) && is_dim(b) && op != RB_DIV)
        return dim_binary(pool(r), op, as_dim(r, a), as_dim(r, b));
    if (is_number(a) && is_number(b))
        return number_binary(op, number(a), number(b));
    return op == RB_EQ || op == RB_NE ? rv_bool(rule_same(r, a, b) == (op == RB_EQ)) : NONE;
}

RuleValue rule_negate(RuleRun *r, RuleValue a)
{
    if (a.kind == RV_FLOAT)
        return rv_float(-a.f);
    return rule_binary(r, RB_SUB, rv_int(0), a);
}

RuleValue rule_at(const RuleMatch *m, uint8_t list, RuleValue index)
{
    const NodeList *l = &m->list[list];
    return index.kind == RV_INT && index.i >= 0 && index.i < l->n ? rv_node(l->data[index.i]) : NONE;
}

/* ---- helpers of natives --------------------------------------------------------------------------------------------------------- */
static RuleValue ints_new(RuleRun *r, uint32_t n, int64_t **out)
{
    *out = arena_new_array(r->scratch, int64_t, n + 1);
    return rv_ints(*out, n);
}

static bool axis_of(const Node *n, RuleValue v, uint32_t *axis)
{
    int64_t rank = node_rank(n), i = v.i < 0 ? v.i + rank : v.i;

    if (v.kind != RV_INT || i < 0 || i >= rank)
        return false;
    *axis = (uint32_t)i;
    return true;
}

static bool axes_within(RuleValue axes, uint32_t rank)
{
    for (uint32_t i = 0; i < axes.n; i++)
        if (axes.ints[i] < 0 || axes.ints[i] >= rank)
            return false;
    return axes.kind == RV_INTS;
}

static bool ints_have(RuleValue v, int64_t x)
{
    for (uint32_t i = 0; i < v.n; i++)
        if (v.ints[i] == x)
            return true;
    return false;
}

static void sort_ints(int64_t *p, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++)
        for (uint32_t k = i; k > 0 && p[k] < p[k - 1]; k--) {
            int64_t t = p[k];
            p[k] = p[k - 1];
            p[k - 1] = t;
        }
}

/* ---- values ------------------------------------------------------------------------------------------------------------------------ */
static bool is_int_dtype(DType t) { return dtype_class(t) == DC_SIGNED || dtype_class(t) == DC_UNSIGNED; }

static RuleValue native_constant(RuleRun *r, RuleValue v)
{
    if (v.kind == RV_NODE)
        return rv_bool(rule_frozen(r, v.node));
    for (uint32_t i = 0; i < v.n; i++)
        if (!rule_frozen(r, v.nodes[i]))
            return rv_bool(false);
    return rv_bool(true);
}

static RuleValue native_value(const Node *n)
{
    double v;
    return node_is_const(n, &v) ? rv_float(v) : NONE;
}

static bool lossless(DType from, DType to)
{
    if (from == to || from == DT_BOOL)
        return true;
    if (dtype_is_float(from))
        return dtype_is_float(to) && dtype_bytes(from) < dtype_bytes(to);     /* never f16 and bf16 */
    if (!is_int_dtype(to))
        return dtype_is_float(to) && (int)dtype_bytes(from) * 8 <= dtype_mantissa_bits(to) + 1;
    bool sign_kept = dtype_class(from) == dtype_class(to) || dtype_class(from) == DC_UNSIGNED;
    return sign_kept && dtype_bytes(from) < dtype_bytes(to);
}

static RuleValue native_dim(const Node *n, RuleValue at)
{
    uint32_t axis;
    return axis_of(n, at, &axis) ? rv_dim(n->type.shape.d[axis]) : NONE;
}

static RuleValue native_start(const RuleRun *r, const Node *n)
{
    Dim d = node_dim(n, ATTR_START);
    return n->op == OP_SLICE ? rv_dim(d ? d : dim_const(pool(r), 0)) : NONE;
}

/* |v| in 2^-14 … 2^14 (so that its reciprocal is exact and normal in every float dtype), or -1 */
static bool power_of_two(double v)
{
    int e;
    double m = frexp(v, &e);
    return (m == 0.5 || m == -0.5) && e >= -13 && e <= 15;
}

static RuleValue native_at_least(const RuleRun *r, RuleValue a, RuleValue b)
{
    if (!is_dim(a) || !is_number(b))
        return NONE;
    return rv_bool(dim_le(pool(r), dim_const(pool(r), (int64_t)number(b)), as_dim(r, a)));
}

/* ---- permutations and axes ------------------------------------------------------------------------------------------------------------ */
static bool is_identity(RuleValue p)
{
    for (uint32_t i = 0; i < p.n; i++)
        if (p.ints[i] != i)
            return false;
    return true;
}

/* out dim i of the second is its input dim q[i], which is dim p[q[i]] of the first's operand */
static RuleValue native_compose(RuleRun *r, RuleValue p, RuleValue q)
{
    int64_t *out;
    RuleValue v = ints_new(r, q.n, &out);

    if (p.n != q.n || !axes_within(q, p.n))
        return NONE;
    for (uint32_t i = 0; i < q.n; i++)
        out[i] = p.ints[q.ints[i]];
    return v;
}

static RuleValue native_inverse(RuleRun *r, RuleValue p)
{
    int64_t *out;
    RuleValue v = ints_new(r, p.n, &out);

    for (uint32_t i = 0; i < p.n; i++)
        out[p.ints[i]] = i;
    return v;
}

static bool swaps_last_two(RuleValue p)
{
    for (uint32_t i = 0; i + 2 < p.n; i++)
        if (p.ints[i] != i)
            return false;
    return p.n >= 2 && p.ints[p.n - 1] == p.n - 2 && p.ints[p.n - 2] == p.n - 1;
}

static RuleValue native_through(RuleRun *r, RuleValue p, RuleValue axes)
{
    int64_t *out;
    RuleValue v = ints_new(r, axes.n, &out);

    if (!axes_within(axes, p.n))
        return NONE;
    for (uint32_t i = 0; i < axes.n; i++)
        out[i] = p.ints[axes.ints[i]];
    sort_ints(out, axes.n);
    return v;
}

static bool kept_in_order(RuleValue p, RuleValue axes)
{
    int64_t last = -1;

    for (uint32_t i = 0; i < p.n; i++) {
        if (ints_have(axes, i))
            continue;
        if (p.ints[i] < last)
            return false;
        last = p.ints[i];
    }
    return true;
}

/* Without keepdims the outer axes count only what the inner reduction left. */
static RuleValue native_merge_axes(RuleRun *r, const RuleValue *a)
{
    int64_t *out;
    uint32_t rank = (uint32_t)a[3].i, n = 0, left = 0;
    RuleValue v = ints_new(r, a[0].n + a[1].n, &out);

    for (uint32_t i = 0; i < rank; i++) {
        bool inner = ints_have(a[0], i);
        int64_t seen = a[2].i ? i : left;
        if (inner || ints_have(a[1], seen))
            out[n++] = i;
        left += !inner;
    }
    v.n = n;
    return v;
}

static bool all_ones(const Node *n, RuleValue axes)
{
    if (!axes_within(axes, node_rank(n)))
        return false;
    for (uint32_t i = 0; i < axes.n; i++)
        if (!dim_is(n->type.shape.d[axes.ints[i]], 1))
            return false;
    return true;
}

static RuleValue native_extent(const RuleRun *r, const Node *n, RuleValue axes)
{
    Dim d = dim_const(pool(r), 1);

    if (!axes_within(axes, node_rank(n)))
        return NONE;
    for (uint32_t i = 0; i < axes.n; i++)
        d = dim_mul(pool(r), d, n->type.shape.d[axes.ints[i]]);
    return rv_dim(d);
}

/* x was expanded to e. At `axes`, x has no dim or a dim of 1; elsewhere x's dims are e's, or absent and e's are 1. */
static bool only_broadcast(const Node *x, const Node *e, RuleValue axes)
{
    uint32_t added = node_rank(e) - node_rank(x);

    if (node_rank(x) > node_rank(e))
        return false;
    for (uint32_t i = 0; i < node_rank(e); i++) {
        Dim from = i >= added ? x->type.shape.d[i - added] : NULL, to = e->type.shape.d[i];
        bool reduced = ints_have(axes, i), one = !from || dim_is(from, 1);
        if (reduced ? !one : !(from ? from == to : dim_is(to, 1)))
            return false;
    }
    return true;
}

static bool leading_ones(const Node *x, const Node *y)
{
    uint32_t added = node_rank(y) - node_rank(x);

    if (node_rank(x) > node_rank(y))
        return false;
    for (uint32_t i = 0; i < node_rank(y); i++)
        if (i < added ? !dim_is(y->type.shape.d[i], 1) : y->type.shape.d[i] != x->type.shape.d[i - added])
            return false;
    return true;
}

/* ---- parts of concats ------------------------------------------------------------------------------------------------------------------ */
static RuleValue native_offset(RuleRun *r, RuleValue parts, RuleValue i, RuleValue axis)
{
    RuleValue sum = rv_int(0);
    uint32_t at;

    if (i.kind != RV_INT || i.i < 0 || i.i > parts.n)
        return NONE;
    for (uint32_t k = 0; k < i.i; k++) {
        if (!axis_of(parts.nodes[k], axis, &at))
            return NONE;
        sum = rule_binary(r, RB_ADD, sum, rv_dim(parts.nodes[k]->type.shape.d[at]));
    }
    return sum;
}

static RuleValue native_part(RuleRun *r, RuleValue parts, RuleValue axis, RuleValue start, RuleValue size)
{
    Dim at = dim_const(pool(r), 0), from = as_dim(r, start);
    uint32_t k;

    if (!is_dim(start) || !is_dim(size))
        return NONE;
    Dim to = dim_add(pool(r), from, as_dim(r, size));
    for (uint32_t i = 0; i < parts.n; i++) {
        if (!axis_of(parts.nodes[i], axis, &k))
            return NONE;
        Dim end = dim_add(pool(r), at, parts.nodes[i]->type.shape.d[k]);
        if (dim_le(pool(r), at, from) && dim_le(pool(r), to, end))
            return rv_int(i);
        at = end;
    }
    return NONE;
}

static bool contiguous_slices(RuleRun *r, RuleValue parts, RuleValue axis)
{
    Dim end = NULL;

    for (uint32_t i = 0; i < parts.n; i++) {
        const Node *s = parts.nodes[i];
        uint32_t at;
        if (s->op != OP_SLICE || node_int(s, ATTR_STEP, 1) != 1 || !axis_of(s, axis, &at) || node_int(s, ATTR_AXIS, 0) != at)
            return false;
        Dim start = as_dim(r, native_start(r, s));
        if (end && start != end)
            return false;
        end = dim_add(pool(r), start, s->type.shape.d[at]);
    }
    return true;
}

/* ---- the table ------------------------------------------------------------------------------------------------------------------------------ */
static bool arguments_fit(const NativeInfo *info, const RuleValue *a, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        RuleValueKind k = a[i].kind;
        bool ok = false;
        switch (info->args[i]) {
        case 'V': ok = k == RV_NODE; break;
        case 'L': ok = k == RV_NODES; break;
        case 'A': ok = k == RV_NODE || k == RV_NODES; break;
        case 'S': ok = k == RV_INTS; break;
        case 'D': ok = k == RV_DIMS; break;
        case 'I': ok = k == RV_INT || k == RV_DIM; break;
        case 'F': ok = k == RV_INT || k == RV_FLOAT; break;
        case 'T': ok = k == RV_DTYPE; break;
        case 'B': ok = k == RV_BOOL; break;
        case '?': ok = k != RV_NONE; break;
        default: break;
        }
        if (!ok)
            return false;
    }
    return true;
}

static RuleValue of_values(RuleRun *r, NativeId id, const RuleValue *a);
static RuleValue of_lists(RuleRun *r, NativeId id, const RuleValue *a);

RuleValue rule_native(RuleRun *r, NativeId id, const RuleValue *a, uint32_t n)
{
    if (!arguments_fit(&native_table[id], a, n))
        return NONE;
    return of_values(r, id, a);
}

static RuleValue of_values(RuleRun *r, NativeId id, const RuleValue *a)
{
    Node *x = a[0].node;               /* used only where natives.def has V first: arguments_fit has checked it */

    switch (id) {
    case NATIVE_constant:  return native_constant(r, a[0]);
    case NATIVE_literal:   return rv_bool(native_value(x).kind != RV_NONE);
    case NATIVE_value:     return native_value(x);
    case NATIVE_is_float:  return rv_bool(dtype_is_float(x->type.dtype));
    case NATIVE_is_int:    return rv_bool(is_int_dtype(x->type.dtype));
    case NATIVE_is_bool:   return rv_bool(x->type.dtype == DT_BOOL);
    case NATIVE_not:       return rv_bool(!a[0].b);
    case NATIVE_float_dtype: return rv_bool(dtype_is_float(a[0].dtype));
    case NATIVE_int_dtype: return rv_bool(is_int_dtype(a[0].dtype));
    case NATIVE_lossless:  return rv_bool(lossless(a[0].dtype, a[1].dtype));
    case NATIVE_narrower:  return rv_bool(is_int_dtype(a[0].dtype) && is_int_dtype(a[1].dtype) &&
                                          dtype_bytes(a[0].dtype) <= dtype_bytes(a[1].dtype));
    case NATIVE_dtype:     return rv_dtype(x->type.dtype);
    case NATIVE_shape:     return rv_dims(x->type.shape.d, node_rank(x));
    case NATIVE_rank:      return rv_int(node_rank(x));
    case NATIVE_dim:       return native_dim(x, a[1]);
    case NATIVE_start:     return native_start(r, x);
    case NATIVE_step:      return rv_int(node_int(x, ATTR_STEP, 1));
    case NATIVE_count:     return rv_dim(shape_count(pool(r), &x->type.shape));
    case NATIVE_same_shape: return rv_bool(shape_equal(&x->type.shape, &a[1].node->type.shape));
    case NATIVE_same_type: return rv_bool(type_equal(&x->type, &a[1].node->type));
    case NATIVE_same_count: return rv_bool(shape_count(pool(r), &x->type.shape) == shape_count(pool(r), &a[1].node->type.shape));
    case NATIVE_used_once: return rv_bool(uses_count(r->uses, x) == 1);
    case NATIVE_finite:    return rv_bool(isfinite(number(a[0])));
    case NATIVE_power_of_two: return rv_bool(power_of_two(number(a[0])));
    case NATIVE_nonnegative: return rv_bool(prove_nonnegative(r, x));
    case NATIVE_no_negative_zero: return rv_bool(prove_no_negative_zero(r, x));
    case NATIVE_within:    return rv_bool(prove_within(r, x, number(a[1]), number(a[2])));
    case NATIVE_at_least:  return native_at_least(r, a[0], a[1]);
    case NATIVE_divides:   return rv_bool(dim_divides(pool(r), as_dim(r, a[0]), as_dim(r, a[1])));
    case NATIVE_min:       return rv_float(fmin(number(a[0]), number(a[1])));
    case NATIVE_max:       return rv_float(fmax(number(a[0]), number(a[1])));
    case NATIVE_length: case NATIVE_identity: case NATIVE_compose: case NATIVE_inverse: case NATIVE_swaps_last_two: case NATIVE_through:
    case NATIVE_kept_in_order: case NATIVE_merge_axes: case NATIVE_all_ones: case NATIVE_extent: case NATIVE_only_broadcast:
    case NATIVE_leading_ones: case NATIVE_offset: case NATIVE_part: case NATIVE_contiguous_slices: case NATIVE_COUNT:
        break;
    }
    return of_lists(r, id, a);
}

static RuleValue of_lists(RuleRun *r, NativeId id, const RuleValue *a)
{
    switch ((int)id) {
    case NATIVE_length:    return rv_int(a[0].n);
    case NATIVE_identity:  return rv_bool(is_identity(a[0]));
    case NATIVE_compose:   return native_compose(r, a[0], a[1]);
    case NATIVE_inverse:   return native_inverse(r, a[0]);
    case NATIVE_swaps_last_two: return rv_bool(swaps_last_two(a[0]));
    case NATIVE_through:   return native_through(r, a[0], a[1]);
    case NATIVE_kept_in_order: return rv_bool(kept_in_order(a[0], a[1]));
    case NATIVE_merge_axes: return native_merge_axes(r, a);
    case NATIVE_all_ones:  return rv_bool(all_ones(a[0].node, a[1]));
    case NATIVE_extent:    return native_extent(r, a[0].node, a[1]);
    case NATIVE_only_broadcast: return rv_bool(only_broadcast(a[0].node, a[1].node, a[2]));
    case NATIVE_leading_ones: return rv_bool(leading_ones(a[0].node, a[1].node));
    case NATIVE_offset:    return native_offset(r, a[0], a[1], a[2]);
    case NATIVE_part:      return native_part(r, a[0], a[1], a[2], a[3]);
    case NATIVE_contiguous_slices: return rv_bool(contiguous_slices(r, a[0], a[1]));
    default: return NONE;
    }
}
