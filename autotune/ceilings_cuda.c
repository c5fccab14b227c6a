/* autotune/ceilings_cuda.c — a GPU's ceilings, each measured as a plan of its own through the common Measurer, so that clocks, caches
 * and interleaving are those of all other measurements: copy and multiply-add as small CUDA C kernels, matrix products by the
 * library, and the cost of a launch as the difference between a chain of many empty kernels and of one. */
#include "autotune/ceilings_internal.h"
#include "autotune/measure.h"
#include "codegen/emit/emit.h"
#include "runtime/cuda/timing.h"
#include <math.h>

enum { THREADS = 256, UNROLL = 8, FMA_CHAINS = 16, FMA_STEPS = 2048, MATMUL = 4096, CHAIN = 33 };

/* Sixteen bytes a thread and access, UNROLL of them in flight; streamed, since nothing is read twice. */
static const char *const source =
    "struct __align__(16) V { unsigned x, y, z, w; };\n"
    "__device__ __forceinline__ V load(const V *p) { V v; asm volatile(\"ld.global.cs.v4.u32 {%0,%1,%2,%3}, [%4];\"\n"
    "    : \"=r\"(v.x), \"=r\"(v.y), \"=r\"(v.z), \"=r\"(v.w) : \"l\"(p)); return v; }\n"
    "__device__ __forceinline__ void store(V *p, V v) { asm volatile(\"st.global.cs.v4.u32 [%0], {%1,%2,%3,%4};\"\n"
    "    :: \"l\"(p), \"r\"(v.x), \"r\"(v.y), \"r\"(v.z), \"r\"(v.w) : \"memory\"); }\n"
    "extern \"C\" __global__ __launch_bounds__(256) void ceiling_copy(const V *in, V *out)\n"
    "{\n"
    "    long long i = (long long)blockIdx.x * (256 * 8) + threadIdx.x;\n"
    "    V v[8];\n"
    "    #pragma unroll\n"
    "    for (int k = 0; k < 8; k++) v[k] = load(in + i + 256 * k);\n"
    "    #pragma unroll\n"
    "    for (int k = 0; k < 8; k++) store(out + i + 256 * k, v[k]);\n"
    "}\n"
    "extern \"C\" __global__ __launch_bounds__(256) void ceiling_fma(const float *in, float *out)\n"
    "{\n"
    "    float x[16], a = in[0], b = in[1];\n"
    "    #pragma unroll\n"
    "    for (int k = 0; k < 16; k++) x[k] = in[k] + threadIdx.x;\n"
    "    for (int s = 0; s < 2048; s++) {\n"
    "        #pragma unroll\n"
    "        for (int k = 0; k < 16; k++) x[k] = __fmaf_rn(x[k], a, b);\n"
    "    }\n"
    "    float sum = 0;\n"
    "    #pragma unroll\n"
    "    for (int k = 0; k < 16; k++) sum += x[k];\n"
    "    out[(long long)blockIdx.x * 256 + threadIdx.x] = sum;\n"
    "}\n"
    "extern \"C\" __global__ void ceiling_empty(const float *in, float *out)\n"
    "{\n"
    "    if (in[0] == 12345.678f) out[0] = in[0];\n"
    "}\n";

/* ---- plans by hand --------------------------------------------------------------------------- */

static uint32_t add_buffer(Context *cx, Plan *p, BufferKind kind, const char *name, DType t, int64_t rows,
                           int64_t columns)
{
    PlanBuffer b = {.kind = kind, .name = str_intern(cx->strs, name), .dtype = t, .rank = 2,
                    .shape = {dim_const(cx->dims, rows), dim_const(cx->dims, columns)},
                    .bytes = dim_const(cx->dims, rows * columns * dtype_bytes(t)),
                    .offset = dim_const(cx->dims, 0)};
    if (kind == BUF_INPUT)
        b.io = p->n_inputs++;
    if (kind == BUF_OUTPUT)
        b.io = p->n_outputs++;
    vec_push(cx->arena, &p->buffers, b);
    return p->buffers.n - 1;
}

static Plan *plan_new(Context *cx, const Machine *m, const char *name)
{
    Plan *p = arena_new_of(cx->arena, Plan);
    *p = (Plan){.name = str_intern(cx->strs, name), .target = TARGET_CUDA, .arch = m->arch, .n_ranks = 1,
                .workspace_bytes = dim_const(cx->dims, 0), .alignment = 16};
    return p;
}

/* `steps` launches of a kernel from buffer 0 to buffer 1, one after the other. */
static Plan *kernel_plan(Context *cx, const Machine *m, const Cubin *code, const char *entry, int64_t in_floats,
                         int64_t out_floats, int64_t blocks, uint32_t steps)
{
    static const uint8_t access[2] = {ACCESS_READ, ACCESS_READ | ACCESS_WRITE};
    Plan *p = plan_new(cx, m, entry);
    uint32_t *buffers = arena_new_array(cx->arena, uint32_t, 2);
    Dim one = dim_const(cx->dims, 1), zero = dim_const(cx->dims, 0);

    buffers[0] = add_buffer(cx, p, BUF_INPUT, "in", DT_F32, 1, in_floats);
    buffers[1] = add_buffer(cx, p, BUF_OUTPUT, "out", DT_F32, 1, out_floats);
    Str name = str_intern(cx->strs, entry), word = str_intern(cx->strs, "ceiling");
    PlanKernel k = {.name = name, .n_buffers = 2, .access = access, .block = {THREADS, 1, 1}, .kind = word,
                    .schedule = word, .group = word, .emitter = str_intern(cx->strs, "nvrtc")};
    PlanCode c = {.kind = CODE_CUBIN, .arch = m->arch, .bytes = code->cubin, .len = code->len};
    vec_push(cx->arena, &k.code, c);
    vec_push(cx->arena, &p->kernels, k);
    for (uint32_t i = 0; i < steps; i++) {
        PlanStep s = {.kind = STEP_LAUNCH, .label = name, .grid = {dim_const(cx->dims, blocks), one, one},
                      .buffers = buffers, .bytes_read = zero, .bytes_written = zero, .flops = zero};
        vec_push(cx->arena, &p->steps, s);
    }
    return p;
}

static Plan *matmul_plan(Context *cx, const Machine *m, DType t, bool tf32)
{
    Plan *p = plan_new(cx, m, "ceiling_matmul");
    Dim n = dim_const(cx->dims, MATMUL), one = dim_const(cx->dims, 1), zero = dim_const(cx->dims, 0);
    Dim workspace = dim_const(cx->dims, 32 << 20);
    uint32_t a = add_buffer(cx, p, BUF_INPUT, "a", t, MATMUL, MATMUL);
    uint32_t b = add_buffer(cx, p, BUF_INPUT, "b", t, MATMUL, MATMUL);
    uint32_t d = add_buffer(cx, p, BUF_OUTPUT, "d", t, MATMUL, MATMUL);
    uint32_t w = add_buffer(cx, p, BUF_WORKSPACE, "workspace", DT_U8, 1, 32 << 20);
    PlanStep s = {
        .kind = STEP_MATMUL, .label = p->name, .bytes_read = zero, .bytes_written = zero, .flops = zero,
        .matmul = {.dtype = t, .out_dtype = t, .m = n, .n = n, .k = n, .batch = one, .trans_b = true, .a = a, .b = b,
                   .c = UINT32_MAX, .d = d, .bias = UINT32_MAX, .a_offset = zero, .b_offset = zero,
                   .c_offset = zero, .d_offset = zero, .lda = n, .ldb = n, .ldc = n, .ldd = n, .stride_a = zero,
                   .stride_b = zero, .stride_c = zero, .stride_d = zero, .tf32 = tf32,
                   .workspace_bytes = workspace, .workspace = w}};
    p->workspace_bytes = workspace;
    vec_push(cx->arena, &p->steps, s);
    return p;
}

/* ---- measuring ------------------------------------------------------------------------------- */

/* The lower quartile of ten samples: a ceiling is what the device can do, not what it does on average. NaN: it could not. */
static double seconds_of(Measurer *m, Context *cx, const Plan *p, bool *device_failed)
{
    MeasureItem item = {.cx = cx, .plan = p};
    Samples samples = {0};
    uint64_t random = 1;
    const uint32_t which = 0;
    MeasureSession *s = m->open(m, &item, 1, &(MeasureOptions){.seed = 1});

    if (!s) {
        *device_failed = true;
        return NAN;
    }
    bool ok = item.outcome || measure_blocks(m, s, &item, &which, 1, 10, false, &random, &samples, cx->arena);
    m->close(s);
    *device_failed = !ok;
    return item.outcome ? NAN : stats_quantile(samples.x, samples.n, 0.25);
}

static void take(double *to, double measured)
{
    if (isfinite(measured) && measured > 0)
        *to = measured;
}

static bool measure_kernels(Context *cx, Measurer *measurer, Machine *m)
{
    Cubin code;
    bool failed = false;
    int64_t blocks = 32768, floats = blocks * THREADS * UNROLL * 4;      /* 1 GB each way */
    int64_t waves = (int64_t)m->units * 8 * 4;

    if (!nvrtc_compile(cx->arena, cx->diags, source, "ceilings", m->arch, &code))
        return false;
    double copy = seconds_of(measurer, cx, kernel_plan(cx, m, &code, "ceiling_copy", floats, floats, blocks, 1), &failed);
    double fma = failed ? NAN
                        : seconds_of(measurer, cx, kernel_plan(cx, m, &code, "ceiling_fma", 64, waves * THREADS, waves, 1),
                                     &failed);
    double one = failed ? NAN
                        : seconds_of(measurer, cx, kernel_plan(cx, m, &code, "ceiling_empty", 64, 64, 1, 1), &failed);
    double many = failed ? NAN
                         : seconds_of(measurer, cx, kernel_plan(cx, m, &code, "ceiling_empty", 64, 64, 1, CHAIN), &failed);
    take(&m->copy_bandwidth, fmax(m->copy_bandwidth, 2.0 * 4 * (double)floats / copy));
    take(&m->flops_fma, 2.0 * FMA_CHAINS * FMA_STEPS * (double)(waves * THREADS) / fma);
    take(&m->launch_seconds, (many - one) / (CHAIN - 1));
    return !failed;
}

static bool measure_library(Context *cx, Measurer *measurer, Machine *m)
{
    double flops = 2.0 * MATMUL * (double)MATMUL * MATMUL;
    bool failed = false;

    take(&m->flops_bf16, flops / seconds_of(measurer, cx, matmul_plan(cx, m, DT_BF16, false), &failed));
    if (!failed)
        take(&m->flops_tf32, flops / seconds_of(measurer, cx, matmul_plan(cx, m, DT_F32, true), &failed));
    return !failed;
}

/* The runtime's copy kernel and the driver's: what NVRTC is not needed for. */
static bool measure_copy(Context *cx, const TuneDevice *d, Machine *m)
{
    double by_kernel = 0, by_driver = 0;
    CudaTimer *t = cuda_timer_new(d->ordinal, cx->diags);
    bool ok = t && cuda_measure_copy(t, (size_t)1 << 30, &by_kernel, &by_driver, cx->diags);

    if (ok)
        take(&m->copy_bandwidth, fmax(by_kernel, by_driver));
    cuda_timer_free(t);
    return ok;
}

bool ceilings_cuda(Context *cx, const TuneDevice *d, Machine *m)
{
    const char *why;
    if (!measure_copy(cx, d, m))
        return false;

    Measurer *measurer = measurer_new(d);
    bool ok = true;
    if (nvrtc_available(&why))
        ok = measure_kernels(cx, measurer, m);
    else
        diag_note(cx->diags, LOC_NONE, "FMA and launch ceilings of %s are built-in figures: %s", d->name, why);
    if (ok && m->has_library)
        ok = measure_library(cx, measurer, m);
    measurer_free(measurer);
    return ok;
}
