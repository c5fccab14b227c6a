/* ir/eval_ops.c — the scalar meaning of every pointwise op: on doubles by expanding the reference column of ops.def, on
 * integers exactly on int64, wrapped to the result's type.
 *
 * Where C leaves integers undefined we choose what PyTorch's kernels give, and 0 where they trap: x / 0, fmod(x, 0) and
 * remainder(x, 0) are 0; shifts by less than 0 or by the width or more give 0 (right shift of a negative number: -1); pow with
 * a negative exponent is 0 unless the base is 1 or -1. Bool arithmetic is logical: add is or, mul is and. Float to integer
 * truncates; NaN and what does not fit follow dtype_round. */
#include "ir/eval_internal.h"
#include <math.h>
#include <string.h>

/* ---- doubles ------------------------------------------------------------------------------------------------------ */
static double max_nan(double a, double b) { return isnan(a) || a > b ? a : isnan(b) ? b : a == b && signbit(a) ? b : a < b ? b : a; }
static double min_nan(double a, double b) { return isnan(a) || a < b ? a : isnan(b) ? b : a == b && signbit(b) ? b : a > b ? b : a; }

static double pow2_floor(double a)
{
    if (!isfinite(a))
        return INFINITY;
    return fabs(a) < 0x1p-126 ? 0x1p-126 : ldexp(1, ilogb(a));
}

static double remainder_floor(double a, double b)
{
    double r = fmod(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

/* Rows whose text has no meaning on doubles are 0 here: an argument beginning with a comma shifts `ref` out of place. */
#define SKIP_BIT_NOT , 0
#define SKIP_BIT_AND , 0
#define SKIP_BIT_OR  , 0
#define SKIP_BIT_XOR , 0
#define SKIP_SHL     , 0
#define SKIP_SHR     , 0
#define SECOND(a, b, ...) b
#define CHOOSE(probe, ref) SECOND(probe, ref, 0)

double eval_op_real(Op op, double a, double b, double c)
{
    switch (op) {
#define OP(E, name, cls, arity, ref, props) case OP_##E: return (double)(CHOOSE(SKIP_##E, (ref)));
#include "ir/ops.def"
#undef OP
    case OP_COUNT: break;
    }
    return NAN;
}

/* ---- integers ----------------------------------------------------------------------------------------------------- */
int64_t eval_int_wrap(DType t, int64_t v)
{
    switch (t) {
    case DT_I64:  return v;
    case DT_I32:  return (int32_t)(uint32_t)(uint64_t)v;
    case DT_I8:   return (int8_t)(uint8_t)(uint64_t)v;
    case DT_U8:   return (uint8_t)(uint64_t)v;
    case DT_BOOL: return v != 0;
    case DT_F64: case DT_F32: case DT_F16: case DT_BF16: case DT_COUNT: break;
    }
    return v;
}

static uint64_t u(int64_t v) { return (uint64_t)v; }
static int64_t s(uint64_t v) { return (int64_t)v; }

static int64_t int_power(int64_t base, int64_t exponent)
{
    if (exponent < 0)
        return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
    uint64_t result = 1, square = u(base);
    for (; exponent; exponent >>= 1, square *= square)
        if (exponent & 1)
            result *= square;
    return s(result);
}
static int64_t int_div(int64_t a, int64_t b) { return b == 0 ? 0 : b == -1 ? s(0 - u(a)) : a / b; }
static int64_t int_fmod(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }
static int64_t int_remainder(int64_t a, int64_t b)
{
    int64_t r = int_fmod(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
static int64_t int_shl(int64_t a, int64_t b) { return b < 0 || b >= 64 ? 0 : s(u(a) << b); }
static int64_t int_shr(int64_t a, int64_t b) { return b < 0 || b >= 64 ? (a < 0 ? -1 : 0) : a >> b; }

/* INT(op, value): a, b are the operands; results are wrapped to the node's type. What has no row goes through doubles. */
#define INTEGER_OPS(INT)                                                                                \
    INT(ABS, a < 0 ? s(0 - u(a)) : a)       INT(NEG, s(0 - u(a)))           INT(SIGN, (a > 0) - (a < 0))   \
    INT(CEIL, a)                            INT(FLOOR, a)                   INT(ROUND, a)                \
    INT(TRUNC, a)                           INT(ISNAN, 0)                   INT(ISINF, 0)                \
    INT(NOT, !a)                            INT(BIT_NOT, ~a)                                             \
    INT(ADD, s(u(a) + u(b)))                INT(SUB, s(u(a) - u(b)))        INT(MUL, s(u(a) * u(b)))     \
    INT(DIV, int_div(a, b))                 INT(POW, int_power(a, b))       INT(FMOD, int_fmod(a, b))    \
    INT(REMAINDER, int_remainder(a, b))     INT(MAXIMUM, a > b ? a : b)     INT(MINIMUM, a < b ? a : b)  \
    INT(EQ, a == b)                         INT(NE, a != b)                 INT(LT, a < b)               \
    INT(LE, a <= b)                         INT(GT, a > b)                  INT(GE, a >= b)              \
    INT(AND, a && b)                        INT(OR, a || b)                 INT(XOR, !a != !b)           \
    INT(BIT_AND, a & b)                     INT(BIT_OR, a | b)              INT(BIT_XOR, a ^ b)          \
    INT(SHL, int_shl(a, b))                 INT(SHR, int_shr(a, b))

#define INT(E, value) static int64_t int_##E(int64_t a, int64_t b) { (void)a; (void)b; return value; }
INTEGER_OPS(INT)
#undef INT

static int64_t (*const integer_ops[OP_COUNT])(int64_t, int64_t) = {
#define INT(E, value) [OP_##E] = int_##E,
    INTEGER_OPS(INT)
#undef INT
};

static bool is_int(const Node *n) { return !dtype_is_float(n->type.dtype); }

/* Integer operands, and a row above (or `where`): exact. An op such as exp on integers is computed on doubles. */
bool eval_op_is_integer(const Node *n)
{
    if (n->op == OP_WHERE)
        return is_int(n);
    return n->n_in > 0 && is_int(n->in[0]) && is_int(n) && integer_ops[n->op];
}

int64_t eval_op_integer(Op op, DType result, DType operand, const Value *args)
{
    if (op == OP_WHERE)
        return args[0].i ? args[1].i : args[2].i;
    if (op == OP_BIT_NOT && operand == DT_BOOL)
        return !args[0].i;
    int64_t bits = 8 * (int64_t)dtype_bytes(operand);
    if ((op == OP_SHL || op == OP_SHR) && args[1].i >= bits)      /* narrower than the int64 it is computed in */
        return op == OP_SHR && args[0].i < 0 ? -1 : 0;
    return eval_int_wrap(result, integer_ops[op](args[0].i, args[1].i));
}

/* ---- values ------------------------------------------------------------------------------------------------------- */
Value eval_integer(int64_t i) { return (Value){.v = (double)i, .i = i}; }

Value eval_source(DType t, const void *element)
{
    return dtype_is_float(t) ? (Value){.v = dtype_load(t, element)} : eval_integer(dtype_load_i64(t, element));
}

static int64_t real_to_integer(DType t, double v)
{
    return (int64_t)dtype_round(t, v);               /* within int64 for every integer type */
}

Value eval_cast(DType from, DType to, Value x, bool round)
{
    bool from_int = !dtype_is_float(from), to_int = !dtype_is_float(to);
    if (to_int)
        return eval_integer(from_int ? eval_int_wrap(to, x.i) : real_to_integer(to, x.v));
    if (from_int && round) {
        uint64_t stored = 0;
        dtype_store_i64(to, &stored, x.i);           /* one rounding, also beyond 2^53 */
        return (Value){.v = dtype_load(to, &stored)};
    }
    return (Value){.v = round ? dtype_round(to, x.v) : x.v, .e = from_int ? 0 : x.e};
}

/* To nearest even at 10 explicit bits, by Dekker's splitting; f32's subnormals keep their absolute spacing. */
double eval_round_tf32(double v)
{
    double big = v * (0x1p42 + 1), high = big - (big - v);
    return isfinite(high) ? high : v;
}
