/* ir/eval_error.c — the running error domain: beside the fp64 value, the first-order error scale of numerics.md,
 *
 *     E(f) = sum over operands of |df/dx| E(x)  +  |f| for the op's own rounding (nothing for exact ops such as max).
 *
 * Times the unit u of a class this bounds, to first order, what one rounding an op may do. A sum or product sum counts its own
 * rounding once, as the sum of |terms| (the graph on absolute values), so that it does not grow with the length. Exact inputs have E = 0. Where a
 * derivative is unbounded (sqrt at 0, asin at 1) its argument is taken no nearer than u·E, which is the most that the error
 * can do there. Values that are not finite have E = 0: their acceptance is decided by equality. */
#include "ir/eval_internal.h"
#include <math.h>

#define UNIT 0x1p-24                                 /* how near to a singularity an error of one unit may come */
#define TWO_OVER_SQRT_PI 1.12837916709551257390
#define LN_2  0.69314718055994530942
#define LN_10 2.30258509299404568402

/* Slopes: a, b operands; f result; h the operand's own uncertainty, u * E(a). */
#define UNARY_SLOPES(SLOPE)                                                                             \
    SLOPE(ABS, 1)                                        SLOPE(NEG, 1)                                   \
    SLOPE(SQRT, 0.5 / sqrt(fmax(a, h)))                  SLOPE(RSQRT, 0.5 * f / a)                       \
    SLOPE(RECIPROCAL, f * f)                             SLOPE(EXP, f)                                   \
    SLOPE(EXP2, f * LN_2)                                SLOPE(EXPM1, f + 1)                             \
    SLOPE(LOG, 1 / a)                                    SLOPE(LOG2, 1 / (a * LN_2))                     \
    SLOPE(LOG10, 1 / (a * LN_10))                        SLOPE(LOG1P, 1 / fmax(1 + a, h))                \
    SLOPE(SIN, cos(a))                                   SLOPE(COS, sin(a))                              \
    SLOPE(TAN, 1 + f * f)                                SLOPE(ASIN, 1 / sqrt(fmax((1 - a) * (1 + a), h))) \
    SLOPE(ACOS, 1 / sqrt(fmax((1 - a) * (1 + a), h)))    SLOPE(ATAN, 1 / (1 + a * a))                    \
    SLOPE(SINH, cosh(a))                                 SLOPE(COSH, sinh(a))                            \
    SLOPE(TANH, (1 - f) * (1 + f))                       SLOPE(ASINH, 1 / sqrt(1 + a * a))               \
    SLOPE(ACOSH, 1 / sqrt(fmax((a - 1) * (a + 1), h)))   SLOPE(ATANH, 1 / fmax((1 - a) * (1 + a), h))    \
    SLOPE(ERF, TWO_OVER_SQRT_PI * exp(-a * a))           SLOPE(ERFC, TWO_OVER_SQRT_PI * exp(-a * a))

/* by a, then by b */
#define BINARY_SLOPES(SLOPE)                                                                            \
    SLOPE(ADD, 1, 1)                                     SLOPE(SUB, 1, 1)                                \
    SLOPE(MUL, b, a)                                     SLOPE(DIV, 1 / b, f / b)                        \
    SLOPE(POW, a == 0 && b >= 1 ? b == 1 : b * f / a, a == 0 ? 0 : f * log(fabs(a)))                    \
    SLOPE(FMOD, 1, trunc(a / b))                         SLOPE(REMAINDER, 1, floor(a / b))               \
    SLOPE(ATAN2, b / (a * a + b * b), a / (a * a + b * b))

#define SLOPE(E, by_a) \
    static double slope_##E(double a, double f, double h) { (void)a; (void)f; (void)h; return by_a; }
UNARY_SLOPES(SLOPE)
#undef SLOPE
#define SLOPE(E, by_a, by_b)                                                                            \
    static double slope_a_##E(double a, double b, double f) { (void)a; (void)b; (void)f; return by_a; }  \
    static double slope_b_##E(double a, double b, double f) { (void)a; (void)b; (void)f; return by_b; }
BINARY_SLOPES(SLOPE)
#undef SLOPE

typedef double Slope(double, double, double);
static Slope *const unary[OP_COUNT] = {
#define SLOPE(E, by_a) [OP_##E] = slope_##E,
    UNARY_SLOPES(SLOPE)
#undef SLOPE
};
static Slope *const binary[OP_COUNT][2] = {
#define SLOPE(E, by_a, by_b) [OP_##E] = {slope_a_##E, slope_b_##E},
    BINARY_SLOPES(SLOPE)
#undef SLOPE
};
/* Results without a rounding of their own. Ops in no table (predicates, ceil, sign …) have steps, so E = 0 but for jumps. */
static const bool is_exact[OP_COUNT] = {[OP_ABS] = true, [OP_NEG] = true, [OP_FMOD] = true};

/* |slope| * e, where a zero on either side wins over an infinity on the other */
static double spread(double slope, double e) { return slope == 0 || e == 0 ? 0 : fabs(slope) * e; }

static Value with_error(double v, double e) { return (Value){.v = v, .e = isfinite(v) && !isnan(e) ? e : 0}; }

static double chosen_error(const Node *n, const Value *x)
{
    if (n->op == OP_WHERE)
        return x[0].i ? x[1].e : x[2].e;
    if (x[0].v == x[1].v)
        return fmax(x[0].e, x[1].e);
    return ((n->op == OP_MAXIMUM) == (x[0].v > x[1].v)) ? x[0].e : x[1].e;
}

static double operand_error(const Node *n, uint32_t i, const Value *x)
{
    return dtype_is_float(n->in[i]->type.dtype) ? x[i].e : 0;
}

static Value error_apply(const Domain *d, const Node *n, const Value *x)
{
    Value f = domain_fp64.apply(d, n, x);
    if (!dtype_is_float(n->type.dtype))
        return f;
    if (n->op == OP_CAST) {
        DType from = n->in[0]->type.dtype;
        bool narrows = !dtype_is_float(from) || dtype_mantissa_bits(from) > dtype_mantissa_bits(n->type.dtype);
        return with_error(f.v, operand_error(n, 0, x) + (narrows && dtype_round(n->type.dtype, f.v) != f.v ? fabs(f.v) : 0));
    }
    if (n->op == OP_WHERE || n->op == OP_MAXIMUM || n->op == OP_MINIMUM)
        return with_error(f.v, chosen_error(n, x));
    double a = x[0].v, b = x[1].v, ea = operand_error(n, 0, x), e = 0;
    if (unary[n->op])
        e = spread(unary[n->op](a, f.v, UNIT * ea), ea);
    else if (binary[n->op][0])
        e = spread(binary[n->op][0](a, b, f.v), ea) + spread(binary[n->op][1](a, b, f.v), operand_error(n, 1, x));
    else
        return with_error(f.v, 0);
    return with_error(f.v, e + (is_exact[n->op] ? 0 : fabs(f.v)));
}

static Value error_literal(const Domain *d, DType t, double v)
{
    Value x = domain_fp64.literal(d, t, v);
    return dtype_is_float(t) ? with_error(v, dtype_round(t, v) == v ? 0 : fabs(v)) : x;
}

static Value error_combine(const Domain *d, const Node *n, Value acc, Value x)
{
    if (!dtype_is_float(n->type.dtype))
        return domain_fp64.combine(d, n, acc, x);
    double v = domain_fp64.combine(d, n, acc, x).v;
    switch ((int)n->op) {
    case OP_MATMUL: case OP_SPLIT_MATMUL: case OP_GROUPED_MATMUL:
        return (Value){.v = v, .e = acc.e + x.e};                               /* x.e already holds |term| */
    case OP_REDUCE_SUM: case OP_CUMSUM:
        return (Value){.v = v, .e = acc.e + x.e + fabs(x.v)};
    case OP_REDUCE_PROD: case OP_CUMPROD:
        return (Value){.v = v, .e = spread(x.v, acc.e) + spread(acc.v, x.e) + fabs(v)};
    default:                                                                    /* max, min: the side taken */
        return (Value){.v = v, .e = acc.v == x.v ? fmax(acc.e, x.e) : v == x.v ? x.e : acc.e};
    }
}

static Value error_merge(const Domain *d, const Node *n, Value acc, Value other)
{
    bool sums = n->op == OP_REDUCE_SUM || n->op == OP_CUMSUM || op_class(n->op) == CLASS_CONTRACT;
    if (!sums || !dtype_is_float(n->type.dtype))
        return error_combine(d, n, acc, other);
    return (Value){.v = acc.v + other.v, .e = acc.e + other.e};
}

static Value error_multiply(const Domain *d, const Node *n, Value a, Value b)
{
    Value f = domain_fp64.multiply(d, n, a, b);
    if (!dtype_is_float(n->type.dtype))
        return f;
    return (Value){.v = f.v, .e = spread(b.v, a.e) + spread(a.v, b.e) + fabs(f.v)};
}

static Value error_start(const Domain *d, const Node *n) { return domain_fp64.start(d, n); }

static Value error_finish(const Domain *d, const Node *n, Value acc, int64_t count)
{
    (void)d; (void)count;
    return dtype_is_float(n->type.dtype) ? with_error(acc.v, acc.e) : acc;
}

static Value error_input(const Domain *d, DType t, const void *element)
{
    (void)d;
    return eval_source(t, element);
}

const Domain domain_error = {
    "running error", error_input, error_literal, error_apply, error_start, error_combine, error_merge, error_multiply,
    error_finish, DOT_ERROR,
};
