/* Every op of ops.def and every composite of functions.graph through the CPU executor, against the evaluator, over random small
 * shapes with size-1 and prime dims. A composite without a call here fails the test: nothing is covered by accident. */
#include "tests/codegen/run_graph.h"
#include "ir/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const int extents[] = {1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 32, 33, 64, 67};
static uint64_t state = 88172645463325252u;
static uint32_t draw(uint32_t below)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (uint32_t)(state >> 33) % below;
}
static int extent(void) { return extents[draw(sizeof extents / sizeof *extents)]; }

/* ---- pointwise ------------------------------------------------------------------------------------------------------------ */
static const char *distribution(Op op, uint32_t operand, DType t)
{
    if (t == DT_BOOL)
        return "uniform(0, 1)";
    if (!dtype_is_float(t))
        return op == OP_SHL || op == OP_SHR ? (operand ? "randint(0, 5)" : "randint(0, 100)")
             : operand && (op == OP_DIV || op == OP_REMAINDER || op == OP_FMOD) ? "randint(1, 9)" : "randint(-9, 10)";
    switch ((int)op) {
    case OP_LOG: case OP_LOG2: case OP_LOG10: case OP_SQRT: case OP_RSQRT: case OP_RECIPROCAL: return "uniform(0.1, 4)";
    case OP_LOG1P: return "uniform(-0.5, 3)";
    case OP_ASIN: case OP_ACOS: case OP_ATANH: return "uniform(-0.95, 0.95)";
    case OP_ACOSH: return "uniform(1.1, 5)";
    case OP_TAN: return "uniform(-1.3, 1.3)";
    case OP_DIV: case OP_FMOD: case OP_REMAINDER: return operand ? "uniform(0.5, 2)" : "normal(0, 2)";
    case OP_POW: return operand ? "normal(0, 1)" : "uniform(0.2, 3)";
    default: return "normal(0, 1)";
    }
}

static bool takes(Op op, DType t)
{
    if (op == OP_NOT || op == OP_AND || op == OP_OR || op == OP_XOR)
        return t == DT_BOOL;
    if (op_has(op, OP_INTEGER))
        return t == DT_I32 || t == DT_I64 || t == DT_U8 || t == DT_I8;
    if (dtype_is_float(t))
        return true;
    return (op == OP_ADD || op == OP_SUB || op == OP_MUL || op == OP_MAXIMUM || op == OP_MINIMUM || op == OP_EQ || op == OP_LT ||
            op == OP_GE || op == OP_NEG || op == OP_ABS || op == OP_REMAINDER) && (t == DT_I32 || t == DT_I64);
}

static bool run_pointwise(Op op, DType t)
{
    char text[1024];
    int n = snprintf(text, sizeof text, "graph %s {", op_name(op)), a = extent(), b = extent();
    for (int i = 0; i < op_table[op].arity; i++) {
        DType of = op == OP_WHERE && i == 0 ? DT_BOOL : t;
        n += snprintf(text + n, sizeof text - (size_t)n, " input %%x%d : %s[%d, %d] ~ %s\n", i, dtype_name(of), a, b,
                      distribution(op, (uint32_t)i, of));
    }
    n += snprintf(text + n, sizeof text - (size_t)n, " %%y = %s(", op_name(op));
    for (int i = 0; i < op_table[op].arity; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s%%x%d", i ? ", " : "", i);
    snprintf(text + n, sizeof text - (size_t)n, ")\n return %%y }");
    return run_graph(text, &(RunOptions){.fuse = true}, 5);
}

static void pointwise_ops(void **s)
{
    (void)s;
    int failed = 0, ran = 0;
    for (int op = 0; op < OP_COUNT; op++)
        for (int t = 0; t < DT_COUNT && op_class((Op)op) == CLASS_POINTWISE; t++)
            if (takes((Op)op, (DType)t)) {
                failed += !run_pointwise((Op)op, (DType)t);
                ran++;
            }
    print_message("%d op and dtype pairs\n", ran);
    assert_int_equal(failed, 0);
}

static void casts(void **s)
{
    (void)s;
    int failed = 0;
    for (int a = 0; a < DT_COUNT; a++)
        for (int b = 0; b < DT_COUNT; b++) {
            char text[512];
            const char *dist = dtype_is_float((DType)a) ? "uniform(0, 100)" : a == DT_BOOL ? "uniform(0, 1)" : "randint(0, 100)";
            snprintf(text, sizeof text, "graph cast { input %%x : %s[%d, %d] ~ %s\n %%y = cast(%%x, dtype=%s)\n return %%y }",
                     dtype_name((DType)a), extent(), extent(), dist, dtype_name((DType)b));
            failed += a != b && !run_graph(text, &(RunOptions){.fuse = true}, 6);
        }
    assert_int_equal(failed, 0);
}

/* ---- reductions, scans ----------------------------------------------------------------------------------------------------- */
static bool run_reduction(Op op, DType t, uint32_t schedule)
{
    char text[1024], axes[32];
    int rank = 3, lo = (int)draw(3), hi = lo + (int)draw((uint32_t)(rank - lo));
    bool arg = op == OP_ARGMAX || op == OP_ARGMIN || op_class(op) == CLASS_SCAN;
    bool boolean = op == OP_REDUCE_ANY || op == OP_REDUCE_ALL;
    if (lo == hi || arg)
        snprintf(axes, sizeof axes, "[%d]", lo);
    else
        snprintf(axes, sizeof axes, "[%d, %d]", lo, hi);
    const char *dist = boolean ? "uniform(0, 1)" : op == OP_REDUCE_PROD || op == OP_CUMPROD ? "uniform(0.9, 1.1)"
                     : dtype_is_float(t) ? "normal(0, 1)" : "randint(-9, 9)";
    if (op_class(op) == CLASS_SCAN)
        snprintf(axes, sizeof axes, "%d", lo);
    snprintf(text, sizeof text, "graph %s { input %%x : %s[%d, %d, %d] ~ %s\n %%y = %s(%%x, %s=%s)\n return %%y }", op_name(op),
             dtype_name(boolean ? DT_BOOL : t), extent(), extent(), extent(), dist, op_name(op),
             op_class(op) == CLASS_SCAN ? "axis" : "axes", axes);
    return run_graph(text, &(RunOptions){.fuse = true, .schedule = schedule}, 7);
}

static void reductions(void **s)
{
    (void)s;
    static const DType types[] = {DT_F32, DT_F64, DT_F16, DT_BF16, DT_I32, DT_I64};
    int failed = 0;
    for (int op = 0; op < OP_COUNT; op++) {
        if (op_class((Op)op) != CLASS_REDUCE && op_class((Op)op) != CLASS_SCAN)
            continue;
        for (uint32_t i = 0; i < 12; i++) {
            DType t = types[i % 6];
            bool product = op == OP_REDUCE_PROD || op == OP_CUMPROD;
            if (product && !dtype_is_float(t))
                continue;
            failed += !run_reduction((Op)op, t, i / 4);
        }
    }
    assert_int_equal(failed, 0);
}

/* ---- composites --------------------------------------------------------------------------------------------------------------- */
/* {name, call}: %x, %z are float [A, B, C]; %m is bool; %c, %d, … are made of what the call needs. */
static const struct { const char *name, *inputs, *call; } calls[] = {
    {"sum", "", "sum(%x, axes=[1])"}, {"prod", "", "prod(%x, axes=[0])"}, {"max", "", "max(%x, axes=[2])"}, {"max", "", "max(%x, %z)"},
    {"min", "", "min(%x, axes=[1, 2])"}, {"min", "", "min(%x, %z)"}, {"amax", "", "amax(%x)"}, {"amin", "", "amin(%x, axes=[0])"},
    {"any", "", "any(%m, axes=[1])"}, {"all", "", "all(%m, axes=[2])"}, {"mean", "", "mean(%x, axes=[1])"},
    {"mean_square", "", "mean_square(%x)"}, {"var", "", "var(%x, axes=[0, 1, 2], correction=0)"}, {"std", "", "std(%x, axes=[2], correction=0)"},
    {"l2_norm", "", "l2_norm(%x)"}, {"logsumexp", "", "logsumexp(%x)"}, {"softmax", "", "softmax(%x, axis=1)"},
    {"log_softmax", "", "log_softmax(%x)"}, {"layer_norm", "", "layer_norm(%x)"},
    {"layer_norm", " param %w : T[C]\n param %b : T[C]\n", "layer_norm(%x, %w, %b)"}, {"rms_norm", "", "rms_norm(%x)"},
    {"rms_norm", " param %w : T[C]\n", "rms_norm(%x, %w)"}, {"rms_norm_rounded", " param %w : T[C]\n", "rms_norm_rounded(%x, %w)"},
    {"group_norm", " input %g : T[2, 6, 5, 3]\n", "group_norm(%g, groups=3)"},
    {"group_norm", " input %g : T[2, 6, 5, 3]\n param %w : T[6]\n param %b : T[6]\n", "group_norm(%g, %w, %b, groups=2)"},
    {"batch_norm", " param %mu : T[B]\n param %va : T[B] ~ uniform(0.5, 2)\n", "batch_norm(%x, %mu, %va)"},
    {"batch_norm", " param %mu : T[B]\n param %va : T[B] ~ uniform(0.5, 2)\n param %w : T[B]\n param %b : T[B]\n", "batch_norm(%x, %mu, %va, %w, %b)"},
    {"normalize", "", "normalize(%x)"}, {"linear", " param %w : T[11, C]\n", "linear(%x, %w)"},
    {"linear", " param %w : T[11, C]\n param %b : T[11]\n", "linear(%x, %w, %b)"}, {"bmm", " input %n : T[A, C, 9]\n", "bmm(%x, %n)"},
    {"addmm", " input %c : T[4, 9]\n input %a : T[4, 7]\n input %b : T[7, 9]\n", "addmm(%c, %a, %b)"},
    {"sdpa", " input %q : T[2, 3, 7, 8]\n input %k : T[2, 3, 5, 8]\n input %v : T[2, 3, 5, 8]\n", "sdpa(%q, %k, %v)"},
    {"sdpa", " input %q : T[2, 3, 7, 8]\n input %k : T[2, 3, 5, 8]\n input %v : T[2, 3, 5, 8]\n input %ma : T[7, 5]\n", "sdpa(%q, %k, %v, %ma)"},
    {"relu", "", "relu(%x)"}, {"relu6", "", "relu6(mul(%x, 4.0))"}, {"leaky_relu", "", "leaky_relu(%x)"}, {"elu", "", "elu(%x)"},
    {"selu", "", "selu(%x)"}, {"celu", "", "celu(%x, alpha=1.5)"}, {"sigmoid", "", "sigmoid(%x)"}, {"silu", "", "silu(%x)"},
    {"swish", "", "swish(%x)"}, {"gelu", "", "gelu(%x)"}, {"gelu_tanh", "", "gelu_tanh(%x)"}, {"mish", "", "mish(%x)"},
    {"softplus", "", "softplus(%x)"}, {"softsign", "", "softsign(%x)"}, {"log_sigmoid", "", "log_sigmoid(%x)"},
    {"hardtanh", "", "hardtanh(%x)"}, {"hardsigmoid", "", "hardsigmoid(mul(%x, 3.0))"}, {"hardswish", "", "hardswish(mul(%x, 3.0))"},
    {"hardshrink", "", "hardshrink(%x)"}, {"softshrink", "", "softshrink(%x)"}, {"tanhshrink", "", "tanhshrink(%x)"},
    {"threshold", "", "threshold(%x, threshold=0.1, value=20)"}, {"clamp", "", "clamp(%x, lo=-0.5, hi=0.5)"},
    {"clamp_min", "", "clamp_min(%x, lo=0.1)"}, {"clamp_max", "", "clamp_max(%x, hi=0.1)"}, {"square", "", "square(%x)"},
    {"glu", " input %g : T[3, 10]\n", "glu(%g)"}, {"swiglu", "", "swiglu(%x, %z)"}, {"lerp", "", "lerp(%x, %z, weight=0.3)"},
    {"masked_fill", "", "masked_fill(%x, %m, value=-inf)"}, {"rotate_half", " input %g : T[3, 10]\n", "rotate_half(%g)"},
    {"rope", " input %g : T[2, 3, 5, 8]\n input %cos : T[5, 8]\n input %sin : T[5, 8]\n", "rope(%g, %cos, %sin)"},
    {"transpose", "", "transpose(%x)"}, {"unsqueeze", "", "unsqueeze(%x, axis=1)"}, {"squeeze", " input %g : T[3, 1, 4]\n", "squeeze(%g, axis=1)"},
    {"flatten", "", "flatten(%x, start=1)"}, {"view", "", "view(%x, shape=[A*B, C])"}, {"expand_as", " input %g : T[C]\n", "expand_as(%g, %x)"},
    {"select", "", "select(%x, axis=1, index=0)"}, {"stack", "", "stack(%x, axis=1)"}, {"stack", "", "stack(%x, %z)"},
    {"stack", "", "stack(%x, %z, %x, axis=2)"}, {"stack", "", "stack(%x, %z, %z, %x)"},
    {"repeat_interleave", "", "repeat_interleave(%x, repeats=2, axis=1)"},
    {"embedding", " input %i : i64[3, 4] ~ randint(0, 9)\n param %t : T[9, 13]\n", "embedding(%i, %t)"}, {"tril", "", "tril(%x)"}, {"triu", "", "triu(%x)"},
};
static const char *const several_results[] = {"split2", "split3"};

static void add_text(char *to, size_t size, const char *text, const char *type, int a, int b, int c)
{
    size_t n = strlen(to);
    for (; *text && n + 16 < size; text++) {
        bool word = (text[1] == '[' || text[1] == ',' || text[1] == ']' || text[1] == '*') && (text[-1] == ' ' || text[-1] == '[' || text[-1] == '*');
        if (*text == 'T' && text[1] == '[')
            n += (size_t)snprintf(to + n, size - n, "%s", type);
        else if (word && *text >= 'A' && *text <= 'C')
            n += (size_t)snprintf(to + n, size - n, "%d", *text == 'A' ? a : *text == 'B' ? b : c);
        else
            to[n++] = *text;
    }
    to[n] = 0;
}

static bool run_composite(size_t i, const char *type, bool fuse)
{
    char text[2048] = "graph composite {";
    int a = extent(), b = extent(), c = extent();
    add_text(text, sizeof text, " input %x : T[A, B, C]\n input %z : T[A, B, C]\n input %m : bool[A, B, C]\n", type, a, b, c);
    add_text(text, sizeof text, calls[i].inputs, type, a, b, c);
    add_text(text, sizeof text, " %y = ", type, a, b, c);
    add_text(text, sizeof text, calls[i].call, type, a, b, c);
    add_text(text, sizeof text, "\n return %y }", type, a, b, c);
    return run_graph(text, &(RunOptions){.fuse = fuse}, 11 + i);
}

static void composites(void **s)
{
    (void)s;
    static const char *const types[] = {"f32", "bf16", "f16", "f64"};
    int failed = 0;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        for (size_t t = 0; t < 4; t++)
            failed += !run_composite(i, types[t], t != 3);
    assert_int_equal(failed, 0);
}

static void every_composite_is_called(void **s)
{
    (void)s;
    Context *cx = context_new();
    Functions *f = functions_builtin(cx);
    int missing = 0;
    for (uint32_t i = 0; i < functions_count(f); i++) {
        const TextFunc *fn = function_at(f, i);
        bool found = fn->name[0] == '_';
        for (size_t k = 0; k < sizeof calls / sizeof *calls && !found; k++)
            found = !strcmp(calls[k].name, fn->name);
        for (size_t k = 0; k < 2 && !found; k++)
            found = !strcmp(several_results[k], fn->name);
        if (!found) {
            print_error("no call of %s\n", fn->name);
            missing++;
        }
    }
    context_free(cx);
    assert_int_equal(missing, 0);
}

static void splits(void **s)
{
    (void)s;
    assert_true(run_graph("graph split2 { input %x : f32[3, 10]\n %a, %b = split2(%x)\n %y = mul(%a, %b)\n return %y, %b }", &(RunOptions){.fuse = true}, 3));
    assert_true(run_graph("graph split3 { input %x : f32[3, 12]\n %a, %b, %c = split3(%x)\n %y = mul(%a, %b)\n return %y, %c }", &(RunOptions){.fuse = true}, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pointwise_ops), cmocka_unit_test(casts), cmocka_unit_test(reductions), cmocka_unit_test(composites),
        cmocka_unit_test(every_composite_is_called), cmocka_unit_test(splits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
