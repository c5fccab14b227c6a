/* tests/codegen/emit_cases.c — see emit_cases.h. References: ir/eval's scalar meaning of every op. */
#include "tests/codegen/emit_cases.h"

#include "ir/eval_internal.h"

#include <math.h>
#include <stdlib.h>

/* ---- which ops ---------------------------------------------------------------------------------------------------------- */

static const bool float_only[OP_COUNT] = {
    [OP_POW2_FLOOR] = true, [OP_SQRT] = true, [OP_RSQRT] = true, [OP_RECIPROCAL] = true, [OP_EXP] = true, [OP_EXP2] = true, [OP_EXPM1] = true,
    [OP_LOG] = true, [OP_LOG2] = true, [OP_LOG10] = true, [OP_LOG1P] = true, [OP_SIN] = true, [OP_COS] = true, [OP_TAN] = true,
    [OP_ASIN] = true, [OP_ACOS] = true, [OP_ATAN] = true, [OP_SINH] = true, [OP_COSH] = true, [OP_TANH] = true, [OP_ASINH] = true,
    [OP_ACOSH] = true, [OP_ATANH] = true, [OP_ERF] = true, [OP_ERFC] = true, [OP_ATAN2] = true,
};

bool case_valid(Op op, DType t)
{
    if (op_class(op) != CLASS_POINTWISE)
        return false;
    return dtype_is_float(t) ? !op_has(op, OP_INTEGER) : !float_only[op];
}

uint32_t case_arity(Op op) { return (uint32_t)op_table[op].arity; }
DType case_result(Op op, DType t) { return op_has(op, OP_PREDICATE) ? DT_BOOL : t; }
DType case_operand(Op op, DType t, uint32_t i) { return op == OP_WHERE && i == 0 ? DT_BOOL : t; }

/* ---- kernels ------------------------------------------------------------------------------------------------------------ */

static Dim element(Kernel *k, uint32_t lanes)
{
    DimPool *p = k->cx->dims;
    Dim thread = dim_add(p, dim_mul_const(p, k->block[0], k->threads), k->thread);
    return dim_add(p, dim_mul_const(p, thread, lanes), kernel_lane(p, lanes));
}

static Kernel *flat_kernel(Context *cx, const char *name, uint32_t lanes, bool host, uint32_t threads, int64_t n)
{
    Kernel *k = kernel_new(cx, cx->arena, name, host, host ? 1 : threads);
    DimPool *p = cx->dims;
    kernel_grid(k, dim_const(p, n / (lanes * k->threads)), dim_const(p, 1), dim_const(p, 1));
    return k;
}

static uint32_t buffer(Kernel *k, const char *name, DType t, int64_t n)
{
    return kernel_buffer(k, str_intern(k->cx->strs, name), t, dim_const(k->cx->dims, n), 64);
}

Kernel *case_op(Context *cx, const char *name, Op op, DType t, uint32_t lanes, bool host, uint32_t threads)
{
    static const char *const names[3] = {"a", "b", "c"};
    Kernel *k = flat_kernel(cx, name, lanes, host, threads, CASE_COUNT);
    KInst *v[3];
    Dim at = element(k, lanes);
    for (uint32_t i = 0; i < case_arity(op); i++)
        buffer(k, names[i], case_operand(op, t, i), CASE_COUNT);
    uint32_t y = buffer(k, "y", case_result(op, t), CASE_COUNT);
    for (uint32_t i = 0; i < case_arity(op); i++)
        v[i] = k_load(k, i, at, lanes, NULL, 0);
    k_store(k, y, at, k_op(k, op, case_result(op, t), v, case_arity(op)), NULL);
    kernel_collect_scalars(k);
    return k;
}

Kernel *case_cast(Context *cx, const char *name, DType from, DType to, uint32_t lanes, bool host, uint32_t threads)
{
    Kernel *k = flat_kernel(cx, name, lanes, host, threads, CASE_COUNT);
    Dim at = element(k, lanes);
    uint32_t a = buffer(k, "a", from, CASE_COUNT), y = buffer(k, "y", to, CASE_COUNT);
    k_store(k, y, at, k_cast(k, k_load(k, a, at, lanes, NULL, 0), to), NULL);
    kernel_collect_scalars(k);
    return k;
}

/* ---- operands ----------------------------------------------------------------------------------------------------------- */

static uint64_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 11;
}
static double unit(uint64_t *state) { return (double)next(state) * 0x1p-53; }

/* Functions on a bounded or one-sided domain get most of their operands there. */
static double draw(Op op, uint64_t *state)
{
    double sign = next(state) & 1 ? -1 : 1, near = sign * 4 * unit(state);
    switch ((int)op) {
    case OP_ASIN: case OP_ACOS: case OP_ATANH: return sign * unit(state);
    case OP_ACOSH: return 1 + exp2(40 * unit(state) - 20);
    case OP_LOG: case OP_LOG2: case OP_LOG10: case OP_SQRT: case OP_RSQRT: return exp2(240 * unit(state) - 120);
    case OP_LOG1P: return next(state) & 1 ? exp2(80 * unit(state) - 20) : -unit(state);
    case OP_EXP: case OP_EXPM1: case OP_SINH: case OP_COSH: return sign * 100 * unit(state);
    case OP_EXP2: return sign * 160 * unit(state);
    case OP_SIN: case OP_COS: case OP_TAN: return sign * exp2(24 * unit(state) - 12);
    case OP_ERF: case OP_TANH: return sign * exp2(10 * unit(state) - 7);
    case OP_ERFC: return near * 2.6;
    case OP_POW: return next(state) % 4 ? fabs(near) + 1e-3 : near * 8;
    default: return next(state) & 1 ? near : sign * exp2(40 * unit(state) - 20);
    }
}

static const double specials[] = {
    0.0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 2.5, -2.5, 3.5, 1.5, -1.5, INFINITY, -INFINITY, NAN, 1e-40, -1e-40, 1e38, -1e38, 3.0, -3.0,
    0x1p-126, 0x1p-24, 1e-8, 88.7, -88.7, 104, -104, 1e10, 0.1, -0.1, 6.1e-5, 65504, 7, -7, 127, -128, 255, 2147483647.0,
};
enum { N_SPECIALS = sizeof specials / sizeof *specials };

static void fill_float(Op op, DType t, uint32_t i, void *data, uint32_t n)
{
    uint64_t state = (uint64_t)op * 977 + i * 31 + 1;
    char *at = data;
    for (uint32_t j = 0; j < n; j++, at += dtype_bytes(t)) {
        uint32_t first = j % N_SPECIALS, second = j / N_SPECIALS % N_SPECIALS;
        bool special = case_arity(op) > 1 ? j < N_SPECIALS * N_SPECIALS / 2 : j < N_SPECIALS;
        double v = special ? specials[i == 0 || case_arity(op) == 1 ? first : second] : draw(op, &state);
        dtype_store(t, at, t == DT_F16 && isfinite(v) ? fmod(v, 60000) : v);
    }
}

static void fill_integer(Op op, DType t, uint32_t i, void *data, uint32_t n)
{
    static const int64_t small[] = {0, 1, -1, 2, -2, 3, 7, -7, 8, 31, 32, 63, 64, 100, -100, 127, -128, 255, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
    enum { N = sizeof small / sizeof *small };
    uint64_t state = (uint64_t)op * 131 + i * 17 + 5;
    char *at = data;
    for (uint32_t j = 0; j < n; j++, at += dtype_bytes(t)) {
        int64_t v = j < N * N ? small[i == 0 ? j % N : j / N] : (int64_t)next(&state) >> (next(&state) % 50);
        if ((op == OP_SHL || op == OP_SHR) && i == 1 && j >= N * N)
            v &= 63;
        dtype_store_i64(t, at, eval_int_wrap(t, v));
    }
}

void case_fill(Op op, DType t, uint32_t i, void *data, uint32_t n)
{
    DType own = case_operand(op, t, i);
    if (dtype_is_float(own))
        fill_float(op, own, i, data, n);
    else
        fill_integer(op, own, i, data, n);
}

static bool fits_integer(DType to, double v)
{
    double limit = to == DT_I64 ? 0x1p62 : to == DT_I32 || to == DT_I8 ? 0x1p31 - 1 : to == DT_U8 ? 0x1p62 : INFINITY;
    return to == DT_BOOL || (isfinite(v) && fabs(v) < limit);
}

void case_fill_cast(DType from, DType to, void *data, uint32_t n)
{
    case_fill(OP_ADD, from, 0, data, n);
    for (uint32_t j = 0; dtype_is_float(from) && !dtype_is_float(to) && j < n; j++) {
        char *at = (char *)data + (size_t)j * dtype_bytes(from);
        if (!fits_integer(to, dtype_load(from, at)))
            dtype_store(from, at, (double)j / 3);
    }
}

/* ---- references --------------------------------------------------------------------------------------------------------- */

static bool exact_result(Op op, DType t) { return !dtype_is_float(t) || op_has(op, OP_PREDICATE); }

/* Distance in units of the last place of the type, with infinities near overflow forgiven one unit. */
static double distance(DType t, double want, double got)
{
    if (isnan(want) || isnan(got))
        return isnan(want) && isnan(got) ? 0 : 1000;
    double rounded = dtype_round(t, want);
    if (got == rounded)
        return isinf(got) ? 0 : fabs(got - want) / dtype_ulp(t, got);
    if (isinf(rounded) || isinf(got)) {
        double top = isinf(rounded) ? rounded : got, finite = isinf(rounded) ? got : want;
        return (top > 0) == (finite > 0) && isinf(dtype_round(t, finite * (1 + 2 * dtype_ulp(t, 1)))) ? 1 : 1000;
    }
    double ulp = dtype_ulp(t, want);
    return fabs(got - want) / ulp;
}

static void worse(CaseError *e, double ulp, uint32_t at, double want, double got)
{
    if (ulp > e->ulp)
        *e = (CaseError){ulp, at, want, got};
}

static CaseError check_exact(Op op, DType t, const void *const *in, const void *out, uint32_t n)
{
    CaseError e = {0};
    DType r = case_result(op, t);
    for (uint32_t j = 0; j < n; j++) {
        Value v[3];
        double x[3] = {0};
        for (uint32_t i = 0; i < case_arity(op); i++) {
            DType own = case_operand(op, t, i);
            const char *at = (const char *)in[i] + (size_t)j * dtype_bytes(own);
            x[i] = dtype_load(own, at);
            v[i] = dtype_is_float(own) ? (Value){.v = x[i]} : (Value){.v = x[i], .i = dtype_load_i64(own, at)};
        }
        int64_t want = dtype_is_float(t) ? eval_op_real(op, x[0], x[1], x[2]) != 0 : eval_op_integer(op, r, t, v);
        int64_t got = dtype_load_i64(r, (const char *)out + (size_t)j * dtype_bytes(r));
        worse(&e, want == got ? 0 : 1000, j, (double)want, (double)got);
    }
    return e;
}

CaseError case_check(Op op, DType t, const void *const *in, const void *out, uint32_t n)
{
    CaseError e = {0};
    if (exact_result(op, t))
        return check_exact(op, t, in, out, n);
    for (uint32_t j = 0; j < n; j++) {
        double x[3] = {0};
        for (uint32_t i = 0; i < case_arity(op); i++) {
            DType own = case_operand(op, t, i);
            x[i] = dtype_load(own, (const char *)in[i] + (size_t)j * dtype_bytes(own));
        }
        double want = eval_op_real(op, x[0], x[1], x[2]);
        double got = dtype_load(t, (const char *)out + (size_t)j * dtype_bytes(t));
        worse(&e, distance(t, want, got), j, want, got);
    }
    return e;
}

CaseError case_check_cast(DType from, DType to, const void *in, const void *out, uint32_t n)
{
    CaseError e = {0};
    for (uint32_t j = 0; j < n; j++) {
        const char *a = (const char *)in + (size_t)j * dtype_bytes(from), *y = (const char *)out + (size_t)j * dtype_bytes(to);
        if (dtype_is_float(from) || dtype_is_float(to)) {
            uint64_t stored = 0;
            if (dtype_is_float(from))
                dtype_store(to, &stored, dtype_load(from, a));
            else
                dtype_store_i64(to, &stored, dtype_load_i64(from, a));
            double want = dtype_load(to, &stored), got = dtype_load(to, y);
            worse(&e, want == got || (isnan(want) && isnan(got)) ? 0 : 1000, j, want, got);
        } else {
            int64_t want = eval_int_wrap(to, dtype_load_i64(from, a)), got = dtype_load_i64(to, y);
            worse(&e, want == got ? 0 : 1000, j, (double)want, (double)got);
        }
    }
    return e;
}

double case_limit(Op op, DType t)
{
    if (exact_result(op, t))
        return 0;
    if (t == DT_F16 || t == DT_BF16)
        return 0.51;                /* one rounding of an fp32 result */
    return float_only[op] || op == OP_POW ? 4 : 0.5001;
}

/* ---- kernels of the shapes that kinds build ------------------------------------------------------------------------------ */

enum { SWIGLU_N = 2048 * 3, ROWS = 10, COLS = 1024, RAGGED_N = 2052, GATHER_ROWS = 64, GATHER_COLS = 32, COLUMN_ROWS = 96, COLUMN_COLS = 512 };

static KInst *scalar_const(Kernel *k, DType t, double v) { return k_const(k, (KType){t, 1}, v); }

static KInst *silu(Kernel *k, KInst *x)
{
    return k_op2(k, OP_DIV, x, k_op2(k, OP_ADD, scalar_const(k, DT_F32, 1), k_op1(k, OP_EXP, k_op1(k, OP_NEG, x))));
}

/* y = silu(gate) * up, bf16 */
static Kernel *build_swiglu(Context *cx, bool host)
{
    Kernel *k = flat_kernel(cx, "swiglu", 8, host, 256, SWIGLU_N);
    uint32_t gate = buffer(k, "gate", DT_BF16, SWIGLU_N), up = buffer(k, "up", DT_BF16, SWIGLU_N), y = buffer(k, "y", DT_BF16, SWIGLU_N);
    Dim at = element(k, 8);
    k->head = str_intern(cx->strs, "%y = mul(silu(%gate), %up)  : bf16[3, 2048]");
    k->kind = str_intern(cx->strs, "pointwise");
    k->schedule = str_intern(cx->strs, "threads=256 vector=8");
    KInst *a = k_cast(k, k_load(k, gate, at, 8, NULL, 0), DT_F32), *b = k_cast(k, k_load(k, up, at, 8, NULL, 0), DT_F32);
    k_store(k, y, at, k_op2(k, OP_MUL, silu(k, a), b), NULL);
    return k;
}

static KInst *warp_sum(Kernel *k, KInst *v)
{
    for (int mask = 16; mask && !k->host; mask /= 2)
        v = k_op2(k, OP_ADD, v, k_shuffle_xor(k, v, mask));
    return v;
}

/* y = x * rsqrt(mean(x^2) + eps) * gamma; four warps a block, a row each; rows past the end are masked */
static Kernel *build_rms_norm(Context *cx, bool host)
{
    DimPool *p = cx->dims;
    Kernel *k = kernel_new(cx, cx->arena, "rms_norm", host, host ? 1 : 128);
    uint32_t rows = host ? 1 : 4, lanes = host ? 16 : 8, width = host ? lanes : 32 * lanes;
    Dim R = dim_sym(p, "R", 1, 100000), one = dim_const(p, 1), count = dim_mul_const(p, R, COLS);
    kernel_grid(k, dim_ceildiv(p, R, dim_const(p, rows)), one, one);
    uint32_t x = kernel_buffer(k, str_intern(cx->strs, "x"), DT_BF16, count, 16);
    uint32_t gamma = buffer(k, "gamma", DT_BF16, COLS);
    uint32_t y = kernel_buffer(k, str_intern(cx->strs, "y"), DT_BF16, count, 16);
    Dim warp = dim_floordiv(p, k->thread, dim_const(p, 32)), lane = dim_mod(p, k->thread, dim_const(p, 32));
    Dim row = dim_add(p, dim_mul_const(p, k->block[0], rows), warp);
    Dim start = dim_add(p, dim_mul_const(p, lane, lanes), kernel_lane(p, lanes));
    KInst *in = k_test(k, row, R, 1), *zero = scalar_const(k, DT_F32, 0);
    KInst *loop = k_loop(k, "i", dim_const(p, 0), dim_const(p, COLS / width), 1, &zero, 1, host ? 0 : -1);
    Dim col = dim_add(p, dim_mul_const(p, loop->var, width), start);
    KInst *v = k_cast(k, k_load(k, x, dim_add(p, dim_mul_const(p, row, COLS), col), lanes, in, 0), DT_F32);
    KInst *carried = k_carry(k, loop, 0);                /* calls in one argument list have no order */
    KInst *sum = k_op2(k, OP_ADD, carried, k_lane_reduce(k, OP_ADD, k_op2(k, OP_MUL, v, v)));
    sum->name = str_intern(cx->strs, "sum");
    k_loop_end(k, loop, &sum);
    KInst *total = warp_sum(k, k_result(k, loop, 0));
    KInst *q = k_op1(k, OP_RSQRT, k_op2(k, OP_ADD, k_op2(k, OP_MUL, total, scalar_const(k, DT_F32, 1.0 / COLS)), scalar_const(k, DT_F32, 1e-6)));
    q->name = str_intern(cx->strs, "scale");
    loop = k_loop(k, "j", dim_const(p, 0), dim_const(p, COLS / width), 1, NULL, 0, host ? 0 : -1);
    col = dim_add(p, dim_mul_const(p, loop->var, width), start);
    Dim at = dim_add(p, dim_mul_const(p, row, COLS), col);
    v = k_cast(k, k_load(k, x, at, lanes, in, 0), DT_F32);
    KInst *g = k_cast(k, k_load(k, gamma, col, lanes, NULL, 0), DT_F32);
    k_store(k, y, at, k_op2(k, OP_MUL, k_op2(k, OP_MUL, v, q), g), in);
    k_loop_end(k, loop, NULL);
    return k;
}

/* y = x + 1 with masked lanes at the end; NaN fills what is not loaded */
static Kernel *build_ragged(Context *cx, bool host)
{
    DimPool *p = cx->dims;
    Kernel *k = flat_kernel(cx, "ragged", 8, host, 64, 3072);
    uint32_t x = buffer(k, "x", DT_F32, RAGGED_N), y = buffer(k, "y", DT_F32, RAGGED_N);
    Dim at = element(k, 8), n = dim_const(p, RAGGED_N);
    KInst *in = k_test(k, at, n, 8);
    KInst *v = k_load(k, x, at, 8, in, -INFINITY);
    k_store(k, y, at, k_op2(k, OP_ADD, v, scalar_const(k, DT_F32, 1)), in);
    return k;
}

/* y[i, :] = table[index[i], :]; negative indices count from the end; index 5 gives a row of -1 (an if with a result) */
static Kernel *build_gather(Context *cx, bool host)
{
    DimPool *p = cx->dims;
    uint32_t threads = host ? 1 : GATHER_COLS;
    Kernel *k = kernel_new(cx, cx->arena, "gather_rows", host, threads);
    kernel_grid(k, dim_const(p, GATHER_ROWS / 2), dim_const(p, 2), dim_const(p, 1));
    uint32_t table = buffer(k, "table", DT_F16, 10 * GATHER_COLS), index = buffer(k, "index", DT_I64, GATHER_ROWS);
    uint32_t y = buffer(k, "y", DT_F32, GATHER_ROWS * GATHER_COLS);
    Dim row = dim_add(p, dim_mul_const(p, k->block[0], 2), k->block[1]);
    KInst *i = k_load(k, index, row, 1, NULL, 0), *ten = scalar_const(k, DT_I64, 10);
    i = k_select(k, k_op2(k, OP_LT, i, scalar_const(k, DT_I64, 0)), k_op2(k, OP_ADD, i, ten), i);
    Dim from = k_bind(k, i, "from", 0, 9);
    KInst *loop = host ? k_loop(k, "c", dim_const(p, 0), dim_const(p, GATHER_COLS), 1, NULL, 0, 0) : NULL;
    Dim col = host ? loop->var : k->thread;
    KInst *five = k_op2(k, OP_EQ, i, scalar_const(k, DT_I64, 5)), *branch = k_if(k, five), *minus = scalar_const(k, DT_F32, -1);
    k_else(k, branch, &minus, 1);
    KInst *v = k_cast(k, k_load(k, table, dim_add(p, dim_mul_const(p, from, GATHER_COLS), col), 1, NULL, 0), DT_F32);
    k_if_end(k, branch, &v, 1);
    k_store(k, y, dim_add(p, dim_mul_const(p, row, GATHER_COLS), col), k_result(k, branch, 0), NULL);
    if (loop)
        k_loop_end(k, loop, NULL);
    return k;
}

/* y[c] = sum over rows of x[r, c], fp32: warps share the rows, partial vectors meet in shared memory */
static Kernel *build_column_sum(Context *cx, bool host)
{
    DimPool *p = cx->dims;
    uint32_t lanes = 4, warps = host ? 1 : 4, across = host ? 1 : 32;
    Kernel *k = kernel_new(cx, cx->arena, "column_sum", host, host ? 1 : 128);
    kernel_grid(k, dim_const(p, COLUMN_COLS / (across * lanes)), dim_const(p, 1), dim_const(p, 1));
    uint32_t x = buffer(k, "x", DT_F32, COLUMN_ROWS * COLUMN_COLS), y = buffer(k, "y", DT_F32, COLUMN_COLS);
    uint32_t part = kernel_shared(k, "part", DT_F32, warps * across * lanes);
    Dim warp = dim_floordiv(p, k->thread, dim_const(p, 32)), lane = dim_mod(p, k->thread, dim_const(p, 32));
    Dim here = dim_add(p, dim_mul_const(p, lane, lanes), kernel_lane(p, lanes));
    Dim col = dim_add(p, dim_mul_const(p, k->block[0], (int64_t)across * lanes), here);
    KInst *zero = k_const(k, (KType){DT_F32, (uint8_t)lanes}, 0);
    KInst *loop = k_loop(k, "r", warp, dim_const(p, COLUMN_ROWS), warps, &zero, 1, 4);
    KInst *v = k_load(k, x, dim_add(p, dim_mul_const(p, loop->var, COLUMN_COLS), col), lanes, NULL, 0);
    v->stream = true;
    KInst *sum = k_op2(k, OP_ADD, k_carry(k, loop, 0), v);
    k_loop_end(k, loop, &sum);
    k_shared_store(k, part, dim_add(p, dim_mul_const(p, warp, (int64_t)across * lanes), here), k_result(k, loop, 0), NULL);
    k_barrier(k);
    KInst *first = k_if(k, k_test(k, k->thread, dim_const(p, across), 1));
    KInst *total = NULL;
    for (uint32_t w = 0; w < warps; w++) {
        KInst *s = k_shared_load(k, part, dim_add_const(p, here, (int64_t)w * across * lanes), lanes);
        total = total ? k_op2(k, OP_ADD, total, s) : s;
    }
    k_store(k, y, col, total, NULL);
    k_if_end(k, first, NULL, 0);
    return k;
}

/* y = transpose(x) of 64 x 48 with strided vector loads, maximum and minimum with NaN, int32 output of a comparison count */
static Kernel *build_strided(Context *cx, bool host)
{
    DimPool *p = cx->dims;
    Kernel *k = flat_kernel(cx, "strided", 4, host, 32, 64 * 48);
    uint32_t x = buffer(k, "x", DT_F32, 64 * 48), y = buffer(k, "y", DT_F32, 64 * 48);
    Dim at = element(k, 4);
    Dim col = dim_mod(p, at, dim_const(p, 64)), row = dim_floordiv(p, at, dim_const(p, 64));
    KInst *v = k_load(k, x, dim_add(p, dim_mul_const(p, col, 48), row), 4, NULL, 0);
    KInst *w = k_load(k, x, dim_const(p, 7), 1, NULL, 0);
    v = k_op2(k, OP_MINIMUM, v, k_op1(k, OP_ABS, w));
    v = k_op2(k, OP_MAXIMUM, v, scalar_const(k, DT_F32, -1));
    KInst *big = k_cast(k, k_op2(k, OP_GT, v, scalar_const(k, DT_F32, 0.5)), DT_F32);
    KInst *where = k_cast(k, k_index(k, at, DT_I32, 4), DT_F32);
    k_store(k, y, at, k_op2(k, OP_ADD, k_op2(k, OP_ADD, v, big), k_op2(k, OP_MUL, where, scalar_const(k, DT_F32, 0.125))), NULL);
    return k;
}

/* two running values that swap roles: y = fibonacci-like sums over 5 steps; nested loops; integer vectors */
static Kernel *build_carries(Context *cx, bool host)
{
    DimPool *p = cx->dims;
    Kernel *k = flat_kernel(cx, "carries", 2, host, 32, 256);
    uint32_t x = buffer(k, "x", DT_I32, 256), y = buffer(k, "y", DT_I32, 256);
    Dim at = element(k, 2);
    KInst *init[3] = {k_load(k, x, at, 2, NULL, 0), k_const(k, (KType){DT_I32, 2}, 1), scalar_const(k, DT_I32, 0)};
    KInst *outer = k_loop(k, "i", dim_const(p, 0), dim_const(p, 3), 1, init, 3, 1);
    KInst *a = k_carry(k, outer, 0), *b = k_carry(k, outer, 1), *n = k_carry(k, outer, 2);
    KInst *inner = k_loop(k, "j", dim_const(p, 0), dim_add_const(p, outer->var, 1), 1, &n, 1, 0);
    KInst *more = k_op2(k, OP_ADD, k_carry(k, inner, 0), k_index(k, inner->var, DT_I32, 1));
    k_loop_end(k, inner, &more);
    KInst *next_values[3] = {b, k_op2(k, OP_ADD, a, b), k_op2(k, OP_ADD, k_result(k, inner, 0), scalar_const(k, DT_I32, 1))};
    k_loop_end(k, outer, next_values);
    KInst *r = k_op2(k, OP_SUB, k_op2(k, OP_MUL, k_result(k, outer, 0), k_const(k, (KType){DT_I32, 1}, 3)), k_result(k, outer, 1));
    k_store(k, y, at, k_op2(k, OP_ADD, r, k_result(k, outer, 2)), NULL);
    return k;
}

const CaseKernel case_kernels[] = {
    {"swiglu", build_swiglu}, {"rms_norm", build_rms_norm}, {"ragged", build_ragged}, {"gather_rows", build_gather},
    {"column_sum", build_column_sum}, {"strided", build_strided}, {"carries", build_carries},
};
const uint32_t n_case_kernels = sizeof case_kernels / sizeof *case_kernels;
enum { SWIGLU, RMS_NORM, RAGGED, GATHER, COLUMN_SUM, STRIDED, CARRIES };

uint32_t case_kernel_buffers(uint32_t which, DType *t, uint32_t *n)
{
    static const struct { uint32_t n; DType t[3]; uint32_t count[3]; } rows[] = {
        [SWIGLU] = {3, {DT_BF16, DT_BF16, DT_BF16}, {SWIGLU_N, SWIGLU_N, SWIGLU_N}},
        [RMS_NORM] = {3, {DT_BF16, DT_BF16, DT_BF16}, {ROWS * COLS, COLS, ROWS * COLS}},
        [RAGGED] = {2, {DT_F32, DT_F32, DT_NONE}, {RAGGED_N, RAGGED_N, 0}},
        [GATHER] = {3, {DT_F16, DT_I64, DT_F32}, {10 * GATHER_COLS, GATHER_ROWS, GATHER_ROWS * GATHER_COLS}},
        [COLUMN_SUM] = {2, {DT_F32, DT_F32, DT_NONE}, {COLUMN_ROWS * COLUMN_COLS, COLUMN_COLS, 0}},
        [STRIDED] = {2, {DT_F32, DT_F32, DT_NONE}, {64 * 48, 64 * 48, 0}},
        [CARRIES] = {2, {DT_I32, DT_I32, DT_NONE}, {256, 256, 0}},
    };
    for (uint32_t i = 0; i < rows[which].n; i++) {
        t[i] = rows[which].t[i];
        n[i] = rows[which].count[i];
    }
    return rows[which].n;
}

void case_kernel_fill(uint32_t which, uint32_t b, void *data)
{
    DType t[3];
    uint32_t n[3];
    uint64_t state = which * 101 + b + 1;
    case_kernel_buffers(which, t, n);
    for (uint32_t i = 0; i < n[b]; i++) {
        char *at = (char *)data + (size_t)i * dtype_bytes(t[b]);
        if (dtype_is_float(t[b]))
            dtype_store(t[b], at, which == STRIDED && i % 97 == 5 ? NAN : 6 * unit(&state) - 3);
        else
            dtype_store_i64(t[b], at, which == GATHER ? (int64_t)(next(&state) % 20) - 10 : (int64_t)(next(&state) % 1000) - 500);
    }
}

void case_kernel_want(uint32_t which, const void *const *in, double *want)
{
    DType t[3];
    uint32_t n[3], last = case_kernel_buffers(which, t, n) - 1;
#define IN(b, i) dtype_load(t[b], (const char *)in[b] + (size_t)(i) * dtype_bytes(t[b]))
    for (uint32_t i = 0; i < n[last]; i++) {
        switch (which) {
        case SWIGLU: want[i] = IN(0, i) / (1 + exp(-IN(0, i))) * IN(1, i); break;
        case RMS_NORM: {
            double sum = 0;
            for (uint32_t c = 0; c < COLS; c++)
                sum += IN(0, i / COLS * COLS + c) * IN(0, i / COLS * COLS + c);
            want[i] = IN(0, i) / sqrt(sum / COLS + 1e-6) * IN(1, i % COLS);
            break;
        }
        case RAGGED: want[i] = (float)IN(0, i) + 1; break;
        case GATHER: {
            double at = IN(1, i / GATHER_COLS);
            uint32_t row = (uint32_t)(at < 0 ? at + 10 : at);
            want[i] = row == 5 ? -1 : IN(0, row * GATHER_COLS + i % GATHER_COLS);
            break;
        }
        case COLUMN_SUM:
            want[i] = 0;
            for (uint32_t r = 0; r < COLUMN_ROWS; r++)
                want[i] += IN(0, r * COLUMN_COLS + i);
            break;
        case STRIDED: {
            double v = IN(0, i % 64 * 48 + i / 64), w = fabs(IN(0, 7));
            v = isnan(v) ? v : fmax(fmin(v, w), -1);
            want[i] = v + (v > 0.5) + i * 0.125;
            break;
        }
        case CARRIES: {
            double a = IN(0, i), b = 1;
            for (int s = 0; s < 3; s++) {
                double c = a + b;
                a = b;
                b = c;
            }
            want[i] = 3 * a - b + (0 + 1) + (0 + 1 + 1) + (0 + 1 + 2 + 1);
            break;
        }
        default: break;
        }
    }
#undef IN
}

void case_kernel_grid(uint32_t which, bool host, uint32_t grid[3], uint32_t *threads)
{
    Context *cx = context_new();
    Kernel *k = case_kernels[which].build(cx, host);
    DimValue rows = {str_intern(cx->strs, "R"), ROWS};
    for (int d = 0; d < 3; d++) {
        int64_t v = 1;
        Str missing;
        bool ok = dim_eval(k->grid[d], &rows, 1, &v, &missing);
        pawl_assert(ok);
        grid[d] = (uint32_t)v;
    }
    *threads = k->threads;
    context_free(cx);
}
