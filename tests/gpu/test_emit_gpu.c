/* The emitters' own test on a GPU: every op and conversion on every type, and the kernels that kinds build, as CUDA C through NVRTC
 * and as PTX through LLVM (with libdevice and without), against the same references as on the host. Prints the largest error of
 * every function; exits with 77 where there is no GPU. */
#include "runtime/cuda/driver.h"
#include "tests/codegen/emit_cases.h"

#include <math.h>
#include <stdlib.h>

typedef enum { BY_NVRTC, BY_LLVM, BY_LLVM_ALONE, N_EMITTERS } Emitter;     /* alone: without libdevice */
static const char *const emitter_names[N_EMITTERS] = {"CUDA C", "PTX", "PTX without libdevice"};

enum { THREADS = 128, MAX_ELEMENTS = 1 << 17 };

typedef struct {
    const CudaDriver *cu;
    char arch[16];
    uint32_t failures, checks;
} Gpu;

static void report(Gpu *g, Context *cx, const char *what)
{
    printf("FAILED %s\n", what);
    diags_print(cx->diags, stdout, false);
    g->failures++;
}

static CuModule compile(Gpu *g, Context *cx, Emitter by, Kernel *const *k, uint32_t n, const char *what)
{
    CuModule m = NULL;
    Cubin cubin;
    const void *image = NULL;
    if (by == BY_NVRTC) {
        if (nvrtc_compile(cx->arena, cx->diags, emit_cuda(cx->arena, k, n), what, g->arch, &cubin))
            image = cubin.cubin;
    } else {
        if (by == BY_LLVM_ALONE)
            setenv("PAWL_LIBDEVICE", "/nonexistent/libdevice.bc", 1);
        image = emit_ptx(cx->arena, cx->diags, k, n, g->arch);
        if (by == BY_LLVM_ALONE)
            unsetenv("PAWL_LIBDEVICE");
    }
    if (!image || !cuda_check(g->cu, g->cu->ModuleLoadDataEx(&m, image, 0, NULL, NULL), "loading a module", cx->diags)) {
        report(g, cx, arena_printf(cx->arena, "%s: %s", emitter_names[by], what));
        return NULL;
    }
    return m;
}

/* Runs one kernel on host buffers: all up, launch, the last one down. */
static bool run(Gpu *g, Context *cx, CuModule m, const Kernel *k, const uint32_t grid[3], void *const *host, const size_t *bytes, uint32_t n,
                int64_t *scalars, uint32_t n_scalars)
{
    CuPtr device[4] = {0};
    void *params[8];
    CuFunction f;
    bool ok = cuda_check(g->cu, g->cu->ModuleGetFunction(&f, m, k->name), "finding a kernel", cx->diags);
    for (uint32_t i = 0; ok && i < n; i++) {
        device[i] = cuda_alloc(g->cu, bytes[i], "test data", cx->diags);
        params[i] = &device[i];
        ok = device[i] && cuda_check(g->cu, g->cu->MemcpyHtoDAsync(device[i], host[i], bytes[i], NULL), "copying to the GPU", cx->diags);
    }
    for (uint32_t i = 0; i < n_scalars; i++)
        params[n + i] = &scalars[i];
    ok = ok && cuda_check(g->cu, g->cu->LaunchKernel(f, grid[0], grid[1], grid[2], k->threads, 1, 1, 0, NULL, params, NULL), "launching", cx->diags)
            && cuda_check(g->cu, g->cu->MemcpyDtoHAsync(host[n - 1], device[n - 1], bytes[n - 1], NULL), "copying back", cx->diags)
            && cuda_check(g->cu, g->cu->CtxSynchronize(), "running", cx->diags);
    for (uint32_t i = 0; i < n; i++)
        if (device[i])
            g->cu->MemFree(device[i]);
    return ok;
}

/* CUDA's documented errors reach 2 to 4 ulp; our expansions state theirs in math_expand.c. */
static double limit_of(Op op, DType t, Emitter by)
{
    double limit = case_limit(op, t);
    if (t == DT_F32 && op == OP_RSQRT)
        return 2.5;
    return limit == 4 ? (by == BY_LLVM_ALONE ? 6 : 5) : limit;
}

/* f64 needs libdevice; sin, cos and tan alone reduce up to 2^40. */
static bool wanted(Emitter by, Op op, DType t) { return case_valid(op, t) && !(by == BY_LLVM_ALONE && (t == DT_F64 || !dtype_is_float(t) || op == OP_WHERE)); }

static void check_ops(Gpu *g, Emitter by, DType t, uint32_t lanes)
{
    Context *cx = context_new();
    Vec(Kernel *) k = {0};
    Vec(Op) ops = {0};
    void *b[4];
    for (int op = 0; op < OP_COUNT; op++)
        if (wanted(by, (Op)op, t)) {
            vec_push(cx->arena, &ops, (Op)op);
            vec_push(cx->arena, &k, case_op(cx, arena_printf(cx->arena, "op_%s", op_name((Op)op)), (Op)op, t, lanes, false, THREADS));
        }
    for (int i = 0; i < 4; i++)
        b[i] = arena_alloc(cx->arena, CASE_COUNT * 8);
    CuModule m = k.n ? compile(g, cx, by, k.data, k.n, dtype_name(t)) : NULL;
    for (uint32_t i = 0; m && i < k.n; i++) {
        Op op = ops.data[i];
        size_t bytes[4];
        uint32_t arity = case_arity(op);
        for (uint32_t j = 0; j < arity; j++) {
            case_fill(op, t, j, b[j], CASE_COUNT);
            bytes[j] = CASE_COUNT * dtype_bytes(case_operand(op, t, j));
        }
        for (uint32_t j = 0; by == BY_LLVM_ALONE && (op == OP_SIN || op == OP_COS || op == OP_TAN) && j < CASE_COUNT; j++)
            if (fabs(dtype_load(t, (char *)b[0] + j * dtype_bytes(t))) > 0x1p40)
                dtype_store(t, (char *)b[0] + j * dtype_bytes(t), j);
        bytes[arity] = CASE_COUNT * dtype_bytes(case_result(op, t));
        uint32_t grid[3] = {CASE_COUNT / (lanes * THREADS), 1, 1};
        if (!run(g, cx, m, k.data[i], grid, b, bytes, arity + 1, NULL, 0)) {
            report(g, cx, op_name(op));
            break;
        }
        CaseError e = case_check(op, t, (const void *const *)b, b[arity], CASE_COUNT);
        g->checks++;
        if (e.ulp > 1 || e.ulp > limit_of(op, t, by))
            printf("%-22s %-12s %-5s x%-2u %8.2f ulp  (%.9g for %.9g)%s\n", emitter_names[by], op_name(op), dtype_name(t), lanes, e.ulp, e.got,
                   e.want, e.ulp > limit_of(op, t, by) ? "  TOO MUCH" : "");
        g->failures += e.ulp > limit_of(op, t, by);
    }
    if (m)
        g->cu->ModuleUnload(m);
    context_free(cx);
}

static void check_casts(Gpu *g, Emitter by, DType from)
{
    Context *cx = context_new();
    Kernel *k[2 * DT_COUNT];
    uint32_t n = 0;
    void *b[2] = {arena_alloc(cx->arena, CASE_COUNT * 8), arena_alloc(cx->arena, CASE_COUNT * 8)};
    for (int to = 0; to < DT_COUNT; to++)
        for (uint32_t lanes = 1; lanes <= 8; lanes *= 8)
            k[n++] = case_cast(cx, arena_printf(cx->arena, "to_%s_%u", dtype_name((DType)to), lanes), from, (DType)to, lanes, false, THREADS);
    CuModule m = compile(g, cx, by, k, n, "casts");
    for (uint32_t i = 0; m && i < n; i++) {
        DType to = (DType)(i / 2);
        uint32_t lanes = i % 2 ? 8 : 1, grid[3] = {CASE_COUNT / (lanes * THREADS), 1, 1};
        size_t bytes[2] = {CASE_COUNT * dtype_bytes(from), CASE_COUNT * dtype_bytes(to)};
        case_fill_cast(from, to, b[0], CASE_COUNT);
        if (!run(g, cx, m, k[i], grid, b, bytes, 2, NULL, 0)) {
            report(g, cx, k[i]->name);
            break;
        }
        CaseError e = case_check_cast(from, to, b[0], b[1], CASE_COUNT);
        g->checks++;
        g->failures += e.ulp > 0;
        if (e.ulp > 0)
            printf("%-22s %s to %s x%u: %.9g, wanted %.9g  WRONG\n", emitter_names[by], dtype_name(from), dtype_name(to), lanes, e.got, e.want);
    }
    if (m)
        g->cu->ModuleUnload(m);
    context_free(cx);
}

static void check_kernel(Gpu *g, Emitter by, uint32_t which)
{
    Context *cx = context_new();
    Kernel *k = case_kernels[which].build(cx, false);
    DType t[3];
    uint32_t count[3], grid[3], threads, n = case_kernel_buffers(which, t, count), wrong = 0;
    void *b[3];
    size_t bytes[3];
    int64_t scalars[1] = {10};
    kernel_collect_scalars(k);
    CuModule m = compile(g, cx, by, &k, 1, k->name);
    for (uint32_t i = 0; i < n; i++) {
        bytes[i] = (size_t)count[i] * dtype_bytes(t[i]);
        b[i] = arena_alloc(cx->arena, bytes[i]);
        case_kernel_fill(which, i, b[i]);
    }
    double *want = arena_new_array(cx->arena, double, count[n - 1]);
    case_kernel_grid(which, false, grid, &threads);
    case_kernel_want(which, (const void *const *)b, want);
    if (m && !run(g, cx, m, k, grid, b, bytes, n, scalars, k->scalars.n)) {
        report(g, cx, k->name);
    } else if (m) {
        for (uint32_t i = 0; i < count[n - 1]; i++) {
            double got = dtype_load(t[n - 1], (char *)b[n - 1] + (size_t)i * dtype_bytes(t[n - 1])), tolerance = t[n - 1] == DT_BF16 ? 0.01 : 1e-4;
            bool close = fabs(got - want[i]) <= tolerance * (fabs(want[i]) + 0.01) || (isnan(got) && isnan(want[i]));
            if (!close && !wrong++)
                printf("%-22s %s, element %u: %.9g, wanted %.9g  WRONG\n", emitter_names[by], k->name, i, got, want[i]);
        }
        g->checks++;
        g->failures += wrong > 0;
    }
    if (m)
        g->cu->ModuleUnload(m);
    context_free(cx);
}

static void check_emitter(Gpu *g, Emitter by)
{
    uint32_t before = g->failures, done = g->checks;
    for (int t = 0; t < DT_COUNT; t++)
        for (uint32_t lanes = 1; lanes <= 16; lanes *= t == DT_F32 ? 4 : 8)
            check_ops(g, by, (DType)t, lanes);
    for (int t = 0; by != BY_LLVM_ALONE && t < DT_COUNT; t++)
        check_casts(g, by, (DType)t);
    for (uint32_t i = 0; by != BY_LLVM_ALONE && i < n_case_kernels; i++)
        check_kernel(g, by, i);
    printf("%s: %u checks, %u failures\n", emitter_names[by], g->checks - done, g->failures - before);
}

/* Can f64 functions be emitted, that is: is libdevice there? */
static bool have_libdevice(const Gpu *g)
{
    Context *cx = context_new();
    Kernel *k = case_op(cx, "op_exp", OP_EXP, DT_F64, 1, false, THREADS);
    bool ok = emit_ptx(cx->arena, cx->diags, &k, 1, g->arch) != NULL;
    context_free(cx);
    return ok;
}

int main(void)
{
    const CudaDevice *device = cuda_device(0);
    const char *why = NULL;
    Context *cx = context_new();
    Gpu g = {.cu = cuda_driver(&why)};
    CudaScope scope;
    if (!device->available || !g.cu) {
        printf("SKIP: %s\n", device->available ? why : device->why_not);
        context_free(cx);
        return 77;
    }
    snprintf(g.arch, sizeof g.arch, "sm_%d%d%s", device->sm_major, device->sm_minor, device->sm_major >= 9 ? "a" : "");
    CuContext ctx = cuda_context(0, cx->diags);
    if (!ctx || !cuda_enter(g.cu, ctx, &scope, cx->diags)) {
        diags_print(cx->diags, stdout, false);
        context_free(cx);
        return 4;
    }
    printf("%s, %s\n", device->name, g.arch);
    if (nvrtc_available(&why))
        check_emitter(&g, BY_NVRTC);
    else
        printf("SKIP: CUDA C: %s\n", why);
    if (have_libdevice(&g))
        check_emitter(&g, BY_LLVM);
    else
        printf("SKIP: PTX with libdevice: it was not found (PAWL_LIBDEVICE)\n");
    check_emitter(&g, BY_LLVM_ALONE);
    cuda_leave(&scope);
    context_free(cx);
    printf("%u checks, %u failures\n", g.checks, g.failures);
    return g.failures ? 1 : 0;
}
