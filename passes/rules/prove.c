/* passes/rules/prove.c — what can be told about a value from the ops that made it: sign, zero, bounds.
 * Facts look through movement (a pad adds its fill) and stop at a fixed depth, so a proof costs O(1). */
#include "passes/rules/rule.h"
#include <math.h>

#define DEPTH 6

/* The value that movement leaves unchanged, element by element. */
static Node *unmoved(const RuleRun *r, Node *n)
{
    for (int i = 0; i < DEPTH; i++)
        switch ((int)n->op) {
        case OP_RESHAPE: case OP_PERMUTE: case OP_EXPAND: case OP_SLICE: case OP_FLIP:
            n = rule_operand(r, n, 0);
            break;
        default:
            return n;
        }
    return n;
}

static bool nonnegative(const RuleRun *r, Node *n, int depth)
{
    double v;

    n = unmoved(r, n);
    if (node_is_const(n, &v))
        return v >= 0;
    if (depth == 0)
        return false;
    if (n->type.dtype == DT_U8 || n->type.dtype == DT_BOOL || (op_has(n->op, OP_POSITIVE | OP_NONNEGATIVE) && dtype_is_float(n->type.dtype)))
        return true;
    switch ((int)n->op) {
    case OP_MUL:
        if (dtype_is_float(n->type.dtype) && rule_operand(r, n, 0) == rule_operand(r, n, 1))
            return true;
        /* fallthrough */
    case OP_ADD: case OP_DIV: case OP_MINIMUM:
        return dtype_is_float(n->type.dtype) && nonnegative(r, rule_operand(r, n, 0), depth - 1) &&
               nonnegative(r, rule_operand(r, n, 1), depth - 1);
    case OP_MAXIMUM:                                        /* NaN wins, and is allowed */
        return nonnegative(r, rule_operand(r, n, 0), depth - 1) || nonnegative(r, rule_operand(r, n, 1), depth - 1);
    case OP_REDUCE_SUM: case OP_REDUCE_PROD: case OP_REDUCE_MIN: case OP_REDUCE_MAX:
        return dtype_is_float(n->type.dtype) && nonnegative(r, rule_operand(r, n, 0), depth - 1);
    case OP_CAST:
        return dtype_is_float(n->type.dtype) && nonnegative(r, rule_operand(r, n, 0), depth - 1);
    default:
        return false;
    }
}

bool prove_nonnegative(const RuleRun *r, Node *n) { return nonnegative(r, n, DEPTH); }

static bool no_negative_zero(const RuleRun *r, Node *n, int depth)
{
    double v;

    if (!dtype_is_float(n->type.dtype))
        return true;
    n = unmoved(r, n);
    if (node_is_const(n, &v))
        return v != 0 || !signbit(v);
    if (depth == 0)
        return false;
    switch ((int)n->op) {
    case OP_ABS: case OP_EXP: case OP_EXP2: case OP_COSH: case OP_ACOS: case OP_ACOSH: case OP_ERFC: case OP_IOTA:
        return true;
    case OP_MUL:
        return rule_operand(r, n, 0) == rule_operand(r, n, 1);
    case OP_ADD:                                            /* -0 only from -0 + -0 */
        return no_negative_zero(r, rule_operand(r, n, 0), depth - 1) || no_negative_zero(r, rule_operand(r, n, 1), depth - 1);
    case OP_SQRT:
        return no_negative_zero(r, rule_operand(r, n, 0), depth - 1);
    case OP_CAST:
        return !dtype_is_float(rule_operand(r, n, 0)->type.dtype);
    default:
        return false;
    }
}

bool prove_no_negative_zero(const RuleRun *r, Node *n) { return no_negative_zero(r, n, DEPTH); }

typedef struct { double lo, hi; } Bounds;

static Bounds bounds(const RuleRun *r, Node *n, int depth)
{
    Bounds all = {-INFINITY, INFINITY}, a, b;
    double v;

    n = unmoved(r, n);
    if (node_is_const(n, &v))
        return (Bounds){v, v};
    if (depth == 0)
        return all;
    switch ((int)n->op) {
    case OP_TANH: case OP_ERF: case OP_SIN: case OP_COS: case OP_SIGN:
        return (Bounds){-1, 1};
    case OP_ATAN: case OP_ASIN:
        return (Bounds){-2, 2};
    case OP_ABS:
        a = bounds(r, rule_operand(r, n, 0), depth - 1);
        return (Bounds){0, fmax(fabs(a.lo), fabs(a.hi))};
    case OP_NEG:
        a = bounds(r, rule_operand(r, n, 0), depth - 1);
        return (Bounds){-a.hi, -a.lo};
    case OP_MINIMUM: case OP_MAXIMUM:
        a = bounds(r, rule_operand(r, n, 0), depth - 1);
        b = bounds(r, rule_operand(r, n, 1), depth - 1);
        return n->op == OP_MINIMUM ? (Bounds){fmin(a.lo, b.lo), fmin(a.hi, b.hi)} : (Bounds){fmax(a.lo, b.lo), fmax(a.hi, b.hi)};
    case OP_REDUCE_MAX: case OP_REDUCE_MIN:
        return bounds(r, rule_operand(r, n, 0), depth - 1);
    default:
        return nonnegative(r, n, depth) ? (Bounds){0, INFINITY} : all;
    }
}

bool prove_within(const RuleRun *r, Node *n, double lo, double hi)
{
    Bounds b = bounds(r, n, DEPTH);
    return dtype_is_float(n->type.dtype) && b.lo >= lo && b.hi <= hi;
}
