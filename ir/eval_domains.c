/* ir/eval_domains.c — the domains fp64 and baseline; running error is in eval_error.c.
 *
 * fp64: the number itself, integers exactly. Literals are not rounded to their dtype: they are part of the meaning.
 *
 * baseline: every result is rounded once to its node's dtype; f16, bf16 and f32 sums and products accumulate in fp32: each
 * product is exact and each addition rounds once to fp32 (an FMA). The order of additions is that of the evaluator: 16 interleaved
 * partial sums for matmul, blocks of 128 merged pairwise for reduce; one after the other for scans. */
#include "ir/eval_internal.h"
#include <math.h>

static double limit(DType t, bool largest)
{
    switch (t) {
    case DT_F64: case DT_F32: case DT_F16: case DT_BF16: return largest ? INFINITY : -INFINITY;
    case DT_I64: case DT_I32: case DT_I8: case DT_U8: case DT_BOOL: case DT_COUNT: break;
    }
    return 0;
}

static int64_t int_limit(DType t, bool largest)
{
    switch (t) {
    case DT_I64:  return largest ? INT64_MAX : INT64_MIN;
    case DT_I32:  return largest ? INT32_MAX : INT32_MIN;
    case DT_I8:   return largest ? INT8_MAX : INT8_MIN;
    case DT_U8:   return largest ? UINT8_MAX : 0;
    case DT_BOOL: return largest;
    case DT_F64: case DT_F32: case DT_F16: case DT_BF16: case DT_COUNT: break;
    }
    return 0;
}

static Value extreme(DType t, bool largest)
{
    return dtype_is_float(t) ? (Value){.v = limit(t, largest)} : eval_integer(int_limit(t, largest));
}

/* What a reduction, scan or product combines with, as a pointwise op. */
static Op combiner(Op op)
{
    static const Op by_op[OP_COUNT] = {
        [OP_REDUCE_SUM] = OP_ADD, [OP_REDUCE_PROD] = OP_MUL, [OP_REDUCE_MAX] = OP_MAXIMUM, [OP_REDUCE_MIN] = OP_MINIMUM,
        [OP_REDUCE_ANY] = OP_OR, [OP_REDUCE_ALL] = OP_AND, [OP_CUMSUM] = OP_ADD, [OP_CUMPROD] = OP_MUL,
        [OP_CUMMAX] = OP_MAXIMUM, [OP_CUMMIN] = OP_MINIMUM, [OP_MATMUL] = OP_ADD,
        [OP_SPLIT_MATMUL] = OP_ADD, [OP_GROUPED_MATMUL] = OP_ADD,
    };
    pawl_assert(by_op[op], "%s has no combiner", op_name(op));
    return by_op[op];
}

/* Integers (and any/all, whose operands may be floats) combine exactly; false: it is a combination of floats. */
static bool combine_exactly(const Node *n, Value acc, Value x, Value *out)
{
    if (dtype_is_float(n->type.dtype))
        return false;
    DType from = n->in[0]->type.dtype;
    if (n->op == OP_REDUCE_ANY || n->op == OP_REDUCE_ALL)
        x = eval_cast(from, DT_BOOL, x, false);
    *out = eval_integer(eval_op_integer(combiner(n->op), n->type.dtype, n->type.dtype, (Value[]){acc, x}));
    return true;
}

/* ---- fp64 --------------------------------------------------------------------------------------------------------- */
static Value plain_input(const Domain *d, DType t, const void *element)
{
    (void)d;
    return eval_source(t, element);
}

static Value plain_literal(const Domain *d, DType t, double v)
{
    (void)d;
    return dtype_is_float(t) ? (Value){.v = v} : eval_integer((int64_t)dtype_round(t, v));
}

static Value exact_apply(const Node *n, const Value *args, bool round)
{
    DType t = n->type.dtype;
    if (n->op == OP_CAST)
        return eval_cast(n->in[0]->type.dtype, t, args[0], round);
    if (eval_op_is_integer(n))
        return eval_integer(eval_op_integer(n->op, t, n->in[0]->type.dtype, args));
    double v = eval_op_real(n->op, args[0].v, args[1].v, args[2].v);
    return eval_cast(DT_F64, t, (Value){.v = v}, round);
}

static Value fp64_apply(const Domain *d, const Node *n, const Value *args)
{
    (void)d;
    return exact_apply(n, args, false);
}

static Value any_start(const Domain *d, const Node *n)
{
    (void)d;
    Op op = combiner(n->op);
    DType t = n->type.dtype;
    if (op == OP_MAXIMUM || op == OP_MINIMUM)
        return extreme(t, op == OP_MINIMUM);
    bool one = op == OP_MUL || op == OP_AND;
    return dtype_is_float(t) ? (Value){.v = one} : eval_integer(one);
}

static Value fp64_combine(const Domain *d, const Node *n, Value acc, Value x)
{
    (void)d;
    Value out;
    return combine_exactly(n, acc, x, &out) ? out : (Value){.v = eval_op_real(combiner(n->op), acc.v, x.v, 0)};
}

static Value fp64_multiply(const Domain *d, const Node *n, Value a, Value b)
{
    (void)d;
    return dtype_is_float(n->type.dtype) ? (Value){.v = a.v * b.v} : eval_integer((int64_t)((uint64_t)a.i * (uint64_t)b.i));
}

static Value fp64_finish(const Domain *d, const Node *n, Value acc, int64_t count)
{
    (void)d; (void)n; (void)count;
    return acc;
}

const Domain domain_fp64 = {
    "fp64", plain_input, plain_literal, fp64_apply, any_start, fp64_combine, fp64_combine, fp64_multiply, fp64_finish, DOT_FP64,
};

/* ---- baseline ----------------------------------------------------------------------------------------------------- */
static Value baseline_literal(const Domain *d, DType t, double v)
{
    return plain_literal(d, t, dtype_round(t, v));
}

static Value baseline_apply(const Domain *d, const Node *n, const Value *args)
{
    (void)d;
    return exact_apply(n, args, true);
}

static Value baseline_combine(const Domain *d, const Node *n, Value acc, Value x)
{
    (void)d;
    Value out;
    if (combine_exactly(n, acc, x, &out))
        return out;
    DType accumulate = dtype_accumulate(n->in[0]->type.dtype);
    return (Value){.v = dtype_round(accumulate, eval_op_real(combiner(n->op), acc.v, x.v, 0))};
}

static Value tf32_multiply(const Domain *d, const Node *n, Value a, Value b)
{
    if (n->in[0]->type.dtype == DT_F32) {
        a.v = eval_round_tf32(a.v);
        b.v = eval_round_tf32(b.v);
    }
    return fp64_multiply(d, n, a, b);
}

static Value baseline_finish(const Domain *d, const Node *n, Value acc, int64_t count)
{
    (void)d; (void)count;
    return dtype_is_float(n->type.dtype) ? (Value){.v = dtype_round(n->type.dtype, acc.v)} : acc;
}

const Domain domain_baseline = {
    "baseline", plain_input, baseline_literal, baseline_apply, any_start, baseline_combine, baseline_combine,
    fp64_multiply, baseline_finish, DOT_BASELINE,
};
const Domain domain_baseline_tf32 = {
    "baseline in tf32", plain_input, baseline_literal, baseline_apply, any_start, baseline_combine, baseline_combine,
    tf32_multiply, baseline_finish, DOT_TF32,
};
