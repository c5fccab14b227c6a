/* codegen/emit/cuda_ops.c — CUDA C of single operations: one template an op, with as few parentheses as C++ needs.
 * In a template $a, $b, $c are operands, @ is `f` for fp32 and nothing for fp64, $T the type. Integers wrap in practice: C leaves
 * the overflow of signed sums undefined, but nothing is known of the operands that a compiler could use. */
#include "codegen/emit/cuda_text.h"

#include <stdlib.h>
#include <math.h>

const char *cuda_in(Arena *a, Expr e, Prec limit)
{
    return e.prec > limit ? arena_printf(a, "(%s)", e.text) : e.text;
}

const char *cuda_register_type(DType t)
{
    switch (t) {
    case DT_F64:  return "double";
    case DT_F32: case DT_F16: case DT_BF16: return "float";
    case DT_I64:  return "long long";
    case DT_I32:  return "int";
    case DT_I8:   return "signed char";
    case DT_U8:   return "unsigned char";
    case DT_BOOL: return "bool";
    case DT_COUNT: break;
    }
    return "void";
}

const char *cuda_memory_type(DType t)
{
    return t == DT_BF16 ? "bf16" : t == DT_F16 ? "f16" : t == DT_BOOL ? "unsigned char" : cuda_register_type(t);
}

/* ---- literals ----------------------------------------------------------------------------------------------------------- */

static const char *float_text(Arena *a, float v)
{
    char text[40];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)v);
        if (strtof(text, NULL) == v)
            break;
    }
    return arena_printf(a, "%s%sf", text, strpbrk(text, ".e") ? "" : ".0");
}

Expr cuda_literal(Arena *a, DType t, double f, int64_t i)
{
    if (dtype_is_float(t)) {
        const char *suffix = t == DT_F64 ? "" : "f";
        Prec prec = signbit(f) && !isnan(f) ? PREC_UNARY : PREC_PRIMARY;
        if (isnan(f) || isinf(f))
            return (Expr){arena_printf(a, "%s%s%s", prec ? "-" : "", isnan(f) ? "nan_value" : "infinity", suffix), prec};
        if (t != DT_F64)
            return (Expr){float_text(a, (float)f), prec};
        StrBuf b = strbuf_new(a);
        strbuf_double(&b, f);
        return (Expr){arena_printf(a, "%s%s", b.text, strpbrk(b.text, ".e") ? "" : ".0"), prec};
    }
    if (t == DT_BOOL)
        return (Expr){i ? "true" : "false", PREC_PRIMARY};
    if (i == INT64_MIN || i == INT32_MIN)
        return (Expr){arena_printf(a, "(-%lld%s - 1)", (long long)-(i + 1), i == INT64_MIN ? "LL" : ""), PREC_PRIMARY};
    bool big = i > INT32_MAX || i < INT32_MIN;
    return (Expr){arena_printf(a, "%lld%s", (long long)i, big ? "LL" : ""), i < 0 ? PREC_UNARY : PREC_PRIMARY};
}

/* ---- operations --------------------------------------------------------------------------------------------------------- */

typedef struct { const char *on_float; Prec float_prec; const char *on_integer; Prec integer_prec; } CudaOp;

#define CALL(text)        {text, PREC_PRIMARY, NULL, PREC_PRIMARY}
#define BOTH(text, prec)  {text, prec, text, prec}
#define INT(text, prec)   {NULL, PREC_PRIMARY, text, prec}

static const CudaOp rows[OP_COUNT] = {
    [OP_ABS]   = {"fabs@($a)", PREC_PRIMARY, "int_abs($a)", PREC_PRIMARY},
    [OP_NEG]   = {"-$a", PREC_UNARY, "-$a", PREC_UNARY},
    [OP_SIGN]  = {"sign_of($a)", PREC_PRIMARY, "($T)(($a > 0) - ($a < 0))", PREC_UNARY},
    [OP_CEIL]  = {"ceil@($a)", PREC_PRIMARY, "$a", PREC_PRIMARY},
    [OP_FLOOR] = {"floor@($a)", PREC_PRIMARY, "$a", PREC_PRIMARY},
    [OP_ROUND] = {"rint@($a)", PREC_PRIMARY, "$a", PREC_PRIMARY},
    [OP_TRUNC] = {"trunc@($a)", PREC_PRIMARY, "$a", PREC_PRIMARY},
    [OP_POW2_FLOOR] = CALL("pow2_floor($a)"),
    [OP_SQRT] = CALL("sqrt@($a)"),   [OP_RSQRT] = CALL("rsqrt@($a)"), [OP_EXP] = CALL("exp@($a)"),
    [OP_RECIPROCAL] = {"1.0@ / $b", PREC_MUL, NULL, PREC_PRIMARY},
    [OP_EXP2] = CALL("exp2@($a)"),   [OP_EXPM1] = CALL("expm1@($a)"), [OP_LOG] = CALL("log@($a)"),
    [OP_LOG2] = CALL("log2@($a)"),   [OP_LOG10] = CALL("log10@($a)"), [OP_LOG1P] = CALL("log1p@($a)"),
    [OP_SIN] = CALL("sin@($a)"),     [OP_COS] = CALL("cos@($a)"),     [OP_TAN] = CALL("tan@($a)"),
    [OP_ASIN] = CALL("asin@($a)"),   [OP_ACOS] = CALL("acos@($a)"),   [OP_ATAN] = CALL("atan@($a)"),
    [OP_SINH] = CALL("sinh@($a)"),   [OP_COSH] = CALL("cosh@($a)"),   [OP_TANH] = CALL("tanh@($a)"),
    [OP_ASINH] = CALL("asinh@($a)"), [OP_ACOSH] = CALL("acosh@($a)"), [OP_ATANH] = CALL("atanh@($a)"),
    [OP_ERF] = CALL("erf@($a)"),     [OP_ERFC] = CALL("erfc@($a)"),
    [OP_ISNAN] = {"is_nan($a)", PREC_PRIMARY, "false", PREC_PRIMARY},
    [OP_ISINF] = {"is_inf($a)", PREC_PRIMARY, "false", PREC_PRIMARY},
    [OP_NOT]     = BOTH("!$a", PREC_UNARY),
    [OP_BIT_NOT] = INT("($T)~$a", PREC_UNARY),
    [OP_ADD] = {"$a + $b", PREC_ADD, "$a + $b", PREC_ADD},
    [OP_SUB] = {"$a - $b", PREC_ADD, "$a - $b", PREC_ADD},
    [OP_MUL] = {"$a * $b", PREC_MUL, "$a * $b", PREC_MUL},
    [OP_DIV] = {"$a / $b", PREC_MUL, "int_div<$T>($a, $b)", PREC_PRIMARY},
    [OP_POW]       = {"pow@($a, $b)", PREC_PRIMARY, "int_pow<$T>($a, $b)", PREC_PRIMARY},
    [OP_FMOD]      = {"fmod@($a, $b)", PREC_PRIMARY, "int_fmod<$T>($a, $b)", PREC_PRIMARY},
    [OP_REMAINDER] = {"remainder_floor($a, $b)", PREC_PRIMARY, "int_remainder<$T>($a, $b)", PREC_PRIMARY},
    [OP_MAXIMUM]   = {"max_nan($a, $b)", PREC_PRIMARY, "int_max<$T>($a, $b)", PREC_PRIMARY},
    [OP_MINIMUM]   = {"min_nan($a, $b)", PREC_PRIMARY, "int_min<$T>($a, $b)", PREC_PRIMARY},
    [OP_ATAN2] = CALL("atan2@($a, $b)"),
    [OP_EQ] = BOTH("$a == $b", PREC_EQUAL), [OP_NE] = BOTH("$a != $b", PREC_EQUAL),
    [OP_LT] = BOTH("$a < $b", PREC_LESS),   [OP_LE] = BOTH("$a <= $b", PREC_LESS),
    [OP_GT] = BOTH("$a > $b", PREC_LESS),   [OP_GE] = BOTH("$a >= $b", PREC_LESS),
    [OP_AND] = BOTH("$a && $b", PREC_AND),  [OP_OR] = BOTH("$a || $b", PREC_OR),
    [OP_XOR] = BOTH("!$a != !$b", PREC_EQUAL),
    [OP_BIT_AND] = INT("($T)($a & $b)", PREC_UNARY), [OP_BIT_OR] = INT("($T)($a | $b)", PREC_UNARY),
    [OP_BIT_XOR] = INT("($T)($a ^ $b)", PREC_UNARY),
    [OP_SHL] = INT("int_shl<$T>($a, $b)", PREC_PRIMARY), [OP_SHR] = INT("int_shr<$T>($a, $b)", PREC_PRIMARY),
    [OP_WHERE] = BOTH("$a ? $b : $c", PREC_CHOOSE),
};

/* Bool arithmetic is logical: what differs from the integer column. */
static const CudaOp bool_rows[OP_COUNT] = {
    [OP_ABS] = INT("$a", PREC_PRIMARY),          [OP_NEG] = INT("$a", PREC_PRIMARY),   [OP_SIGN] = INT("$a", PREC_PRIMARY),
    [OP_BIT_NOT] = INT("!$a", PREC_UNARY),
    [OP_ADD] = INT("$a || $b", PREC_OR),         [OP_SUB] = INT("$a != $b", PREC_EQUAL), [OP_MUL] = INT("$a && $b", PREC_AND),
    [OP_DIV] = INT("$a && $b", PREC_AND),        [OP_POW] = INT("$a || !$b", PREC_OR),
    [OP_FMOD] = INT("false", PREC_PRIMARY),      [OP_REMAINDER] = INT("false", PREC_PRIMARY),
    [OP_MAXIMUM] = INT("$a || $b", PREC_OR),     [OP_MINIMUM] = INT("$a && $b", PREC_AND),
    [OP_BIT_AND] = INT("$a && $b", PREC_AND),    [OP_BIT_OR] = INT("$a || $b", PREC_OR),
    [OP_BIT_XOR] = INT("$a != $b", PREC_EQUAL),
    [OP_SHL] = INT("$a", PREC_PRIMARY),          [OP_SHR] = INT("$a && !$b", PREC_AND),
};

/* f32 within a few ulp, for classes whose results round to f16 or bf16. */
static const CudaOp approximate_rows[OP_COUNT] = {
    [OP_EXP] = CALL("exp_approx($a)"), [OP_EXP2] = CALL("exp2_approx($a)"), [OP_ERFC] = CALL("erfc_approx($a)"),
    [OP_DIV] = CALL("div_approx($a, $b)"), [OP_RECIPROCAL] = CALL("div_approx(1.0f, $a)"),
};

/* How loose the operand at `at` of a template may be. */
static Prec operand_limit(const char *templ, const char *at, Prec prec, int operand)
{
    bool called = at > templ && (at[-1] == '(' || (at[-1] == ' ' && at - templ > 1 && at[-2] == ','));
    if (called && (at[2] == ')' || at[2] == ','))
        return PREC_CHOOSE;
    if (at > templ && (at[-1] == ')' || at[-1] == '!' || at[-1] == '-' || at[-1] == '~'))
        return PREC_UNARY;
    if (strchr(templ, '(') && prec <= PREC_UNARY)           /* inside a cast's parentheses: play safe */
        return PREC_UNARY;
    if (prec == PREC_CHOOSE)
        return operand == 0 ? PREC_OR : PREC_CHOOSE;
    return operand == 0 ? prec : prec ? prec - 1 : prec;
}

static void add_operand(Arena *a, StrBuf *b, Expr e, Prec limit)
{
    const char *text = cuda_in(a, e, limit);
    bool minus = b->len && b->text[b->len - 1] == '-' && text[0] == '-';
    strbuf_printf(b, minus ? "(%s)" : "%s", text);
}

static Expr expand(Arena *a, const char *templ, Prec prec, DType t, const Expr *args)
{
    StrBuf b = strbuf_new(a);
    if (strcmp(templ, "$a") == 0)
        return args[0];
    for (const char *s = templ; *s; s++) {
        if (*s == '@') {
            strbuf_add(&b, t == DT_F64 ? "" : "f");
        } else if (*s != '$') {
            strbuf_char(&b, *s);
        } else if (s[1] == 'T') {
            strbuf_add(&b, cuda_register_type(t));
            s++;
        } else {
            const Expr *e = &args[prec == PREC_MUL && s[1] == 'b' && !strstr(templ, "$a") ? 0 : s[1] - 'a'];
            add_operand(a, &b, *e, operand_limit(templ, s, prec, s[1] - 'a'));
            s++;
        }
    }
    return (Expr){b.text, prec};
}

static Expr rounded(Arena *a, Expr e, DType t)
{
    if (t != DT_BF16 && t != DT_F16)
        return e;
    return (Expr){arena_printf(a, "round_%s(%s)", dtype_name(t), e.text), PREC_PRIMARY};
}

static Expr c_cast(Arena *a, const char *type, Expr e)
{
    return (Expr){arena_printf(a, "(%s)%s", type, cuda_in(a, e, PREC_UNARY)), PREC_UNARY};
}

Expr cuda_divide(Arena *a, Op op, const Expr *args)
{
    bool divides = op == OP_DIV;
    Expr inverse = expand(a, "rcp_approx($a)", PREC_PRIMARY, DT_F32, &args[divides]);
    return divides ? expand(a, "$a * $b", PREC_MUL, DT_F32, (Expr[]){args[0], inverse}) : inverse;
}

Expr cuda_op(Arena *a, Op op, DType operand, DType result, const Expr *args, bool approximate)
{
    const CudaOp *row = operand == DT_BOOL && bool_rows[op].on_integer ? &bool_rows[op] : &rows[op];
    if (approximate && operand != DT_F64 && dtype_is_float(operand) && approximate_rows[op].on_float)
        row = &approximate_rows[op];
    const char *templ = dtype_is_float(operand) ? row->on_float : row->on_integer;
    pawl_assert(templ, "no CUDA C of %s on %s", op_name(op), dtype_name(operand));
    Expr e = expand(a, templ, dtype_is_float(operand) ? row->float_prec : row->integer_prec, operand, args);
    bool wraps = op == OP_ADD || op == OP_SUB || op == OP_MUL || op == OP_NEG;
    if (wraps && (operand == DT_I8 || operand == DT_U8))              /* C computes it as int */
        return c_cast(a, cuda_register_type(operand), (Expr){arena_printf(a, "(%s)", e.text), PREC_PRIMARY});
    bool exact = op == OP_WHERE || op == OP_NEG || op == OP_ABS || op == OP_MAXIMUM || op == OP_MINIMUM || op == OP_SIGN;
    return exact ? e : rounded(a, e, result);
}

Expr cuda_cast(Arena *a, Expr e, DType from, DType to)
{
    bool narrow = to == DT_BF16 || to == DT_F16;
    if (from == to || (to == DT_F32 && (from == DT_BF16 || from == DT_F16)))
        return e;
    if (to == DT_BOOL)
        return (Expr){arena_printf(a, "%s != 0", cuda_in(a, e, PREC_LESS)), PREC_EQUAL};
    if (dtype_is_float(from) && (to == DT_I8 || to == DT_U8))        /* truncate, then wrap */
        e = c_cast(a, to == DT_I8 ? "int" : "long long", e);
    if (narrow && (from == DT_F64 || from == DT_I64 || from == DT_I32)) {
        e = (Expr){arena_printf(a, "f32_to_odd(%s)", e.text), PREC_PRIMARY};
        return rounded(a, e, to);
    }
    if (!narrow || !dtype_is_float(from))
        e = c_cast(a, cuda_register_type(to), e);
    return rounded(a, e, to);
}
