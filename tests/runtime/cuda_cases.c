/* tests/runtime/cuda_cases.c — see cuda_cases.h. Kernels as PTX for the GPU and as C functions for the fake. */
#include "tests/runtime/cuda_cases.h"
#include "tests/runtime/cuda_fixture.h"
#include "tests/runtime/cuda_maps.h"
#include "base/file.h"
#include "runtime/cuda/timing.h"
#include "runtime/executor.h"
#include "runtime/package.h"
#include "runtime/cuda/cublaslt.h"
#include "tests/runtime/fake_cuda.h"
#include "tests/runtime/make_plan.h"
#include "tests/runtime/support.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- kernels ---- */

#define KERNEL(name, in, body)                                                                                              \
    ".visible .entry " name "(" in ".param .u64 out, .param .u64 n)\n{\n"                                                    \
    ".reg .pred %p<2>;\n.reg .b32 %r<8>;\n.reg .f32 %f<8>;\n.reg .b64 %rd<12>;\n"                                             \
    "mov.u32 %r0, %ctaid.x;\nmov.u32 %r1, %ntid.x;\nmov.u32 %r2, %tid.x;\nmad.lo.u32 %r3, %r0, %r1, %r2;\n"                   \
    "cvt.u64.u32 %rd0, %r3;\nld.param.u64 %rd1, [n];\nsetp.ge.s64 %p0, %rd0, %rd1;\n@%p0 bra DONE;\nshl.b64 %rd2, %rd0, 2;\n" \
    "ld.param.u64 %rd3, [a];\nadd.u64 %rd3, %rd3, %rd2;\nld.global.f32 %f0, [%rd3];\n" body                                   \
    "ld.param.u64 %rd5, [out];\nadd.u64 %rd5, %rd5, %rd2;\nst.global.f32 [%rd5], %f1;\nDONE: ret;\n}\n"
#define LOAD_B "ld.param.u64 %rd4, [b];\nadd.u64 %rd4, %rd4, %rd2;\nld.global.f32 %f2, [%rd4];\n"
#define ONE ".param .u64 a, "
#define TWO ".param .u64 a, .param .u64 b, "
static const char ptx[] =
    ".version 7.0\n.target sm_80\n.address_size 64\n.extern .shared .align 16 .b8 room[];\n"
    KERNEL("vadd", TWO, LOAD_B "add.f32 %f1, %f0, %f2;\n")
    KERNEL("vtwice", ONE, "add.f32 %f1, %f0, %f0;\n")
    KERNEL("vinc", ONE, "add.f32 %f1, %f0, 0f3F800000;\n")
    /* through the last word of 64 KiB of shared memory, a word a warp's first thread: only thread 0 of a block adds 1 */
    KERNEL("vroom", ONE, "mov.u64 %rd6, room;\ncvta.shared.u64 %rd6, %rd6;\nsetp.ne.u32 %p1, %r2, 0;\nmov.f32 %f1, %f0;\n"
                         "@%p1 bra STORE;\nadd.f32 %f1, %f0, 0f3F800000;\nst.f32 [%rd6+65532], %f1;\nld.volatile.f32 %f1, [%rd6+65532];\nSTORE:\n");

#define HOST_KERNEL(name, n_in, expr)                                                                        \
    static void name(void *const *p, const unsigned *g, const unsigned *block)                               \
    {                                                                                                        \
        const float *a = *(float *const *)p[0], *b = n_in > 1 ? *(float *const *)p[1] : a;                   \
        float *out = *(float *const *)p[n_in];                                                               \
        int64_t n = *(const int64_t *)p[n_in + 1];                                                           \
        (void)b;                                                                                             \
        for (int64_t i = 0; i < n && i < (int64_t)g[0] * block[0]; i++)                                      \
            out[i] = expr;                                                                                   \
    }
HOST_KERNEL(host_vadd, 2, a[i] + b[i])
HOST_KERNEL(host_vtwice, 1, a[i] + a[i])
HOST_KERNEL(host_vinc, 1, a[i] + 1)
HOST_KERNEL(host_vroom, 1, i % 256 == 0 ? a[i] + 1 : a[i])

/* ---- one launch, any size ---- */

static Plan *add_plan(Gpu *g)
{
    Maker m = make_plan(g->cx, "add", ptx);
    Dim n = make_symbol(&m, "N", 0, 1 << 24);
    uint32_t a = make_buffer(&m, BUF_INPUT, "a", DT_F32, &n, 1, 0), b = make_buffer(&m, BUF_INPUT, "b", DT_F32, &n, 1, 0);
    uint32_t y = make_buffer(&m, BUF_OUTPUT, "y", DT_F32, &n, 1, 0);
    make_launch(&m, "vadd", "rrw", (uint32_t[]){a, b, y}, n, 0);
    return make_done(&m, 0);
}

static void test_add(void **state)
{
    Gpu *g = *state;
    static const int64_t sizes[] = {1, 255, 256, 257, 4096, 0, 100003, 1 << 20, 5, 6, 7, 8, 9, 10, 11, 1};
    open_plan(g, add_plan(g));
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        int64_t n = sizes[k];
        float *a = numbers(g, n, "a"), *b = numbers(g, n, "b"), *y = numbers(g, n, "y"), *want = numbers(g, n, "want");
        for (int64_t i = 0; i < n; i++)
            want[i] = a[i] + b[i];
        size_t bytes = (size_t)n * 4;
        void *in[] = {device_new(g, a, bytes), device_new(g, b, bytes)}, *out[] = {device_new(g, NULL, bytes)};
        run(g, in, out, &n, NULL);
        device_get(g, y, out[0], bytes, NULL);
        expect_near(y, want, n, 0, "a + b");
        executor_cuda.release(g->v, in[0]);
        executor_cuda.release(g->v, in[1]);
        executor_cuda.release(g->v, out[0]);
    }
    ExecutorStats s = cuda_executor_stats(g->e);
    assert_true(s.graph_launches == 0 && s.launches == sizeof sizes / sizeof *sizes);
}

static void test_shared_memory(void **state)
{
    Gpu *g = *state;
    Maker m = make_plan(g->cx, "room", ptx);
    Dim n = make_const(&m, 1000);
    uint32_t a = make_buffer(&m, BUF_INPUT, "a", DT_F32, &n, 1, 0), y = make_buffer(&m, BUF_OUTPUT, "y", DT_F32, &n, 1, 0);
    make_launch(&m, "vroom", "rw", (uint32_t[]){a, y}, n, 65536);
    open_plan(g, make_done(&m, 0));
    float *x = numbers(g, 1000, "x"), *have = numbers(g, 1000, "y"), *want = numbers(g, 1000, "w");
    for (int i = 0; i < 1000; i++)
        want[i] = i % 256 == 0 ? x[i] + 1 : x[i];
    void *in[] = {device_new(g, x, 4000)}, *out[] = {device_new(g, NULL, 4000)};
    run(g, in, out, NULL, NULL);
    device_get(g, have, out[0], 4000, NULL);
    expect_near(have, want, 1000, 0, "64 KiB of shared memory");
    executor_cuda.release(g->v, in[0]);
    executor_cuda.release(g->v, out[0]);
}

/* ---- a graph of five launches: y = (2*((2x) + (x+1)) + z), the workspace of 2x used again ---- */

static Plan *diamond_plan(Gpu *g, int64_t size)
{
    Maker m = make_plan(g->cx, "diamond", ptx);
    Dim n = make_const(&m, size);
    int64_t slot = (size * 4 + 255) / 256 * 256;
    uint32_t x = make_buffer(&m, BUF_INPUT, "x", DT_F32, &n, 1, 0), z = make_buffer(&m, BUF_INPUT, "z", DT_F32, &n, 1, 0);
    uint32_t y = make_buffer(&m, BUF_OUTPUT, "y", DT_F32, &n, 1, 0);
    uint32_t t1 = make_buffer(&m, BUF_WORKSPACE, "t1", DT_F32, &n, 1, 0), t2 = make_buffer(&m, BUF_WORKSPACE, "t2", DT_F32, &n, 1, slot);
    uint32_t t3 = make_buffer(&m, BUF_WORKSPACE, "t3", DT_F32, &n, 1, 2 * slot), t4 = make_buffer(&m, BUF_WORKSPACE, "t4", DT_F32, &n, 1, 0);
    make_launch(&m, "vtwice", "rw", (uint32_t[]){x, t1}, n, 0);
    make_launch(&m, "vinc", "rw", (uint32_t[]){x, t2}, n, 0);
    make_launch(&m, "vadd", "rrw", (uint32_t[]){t1, t2, t3}, n, 0);
    make_launch(&m, "vtwice", "rw", (uint32_t[]){t3, t4}, n, 0);
    make_launch(&m, "vadd", "rrw", (uint32_t[]){t4, z, y}, n, 0);
    return make_done(&m, 3 * slot);
}

static void diamond_on_host(const float *x, const float *z, float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = 2 * ((x[i] + x[i]) + (x[i] + 1)) + z[i];
}

static void check_diamond(Gpu *g, void *const *in, void *const *out, const float *x, const float *z, int64_t n, void *stream)
{
    float *want = arena_new_array(g->cx->scratch, float, n), *have = arena_new_array(g->cx->scratch, float, n);
    diamond_on_host(x, z, want, n);
    device_get(g, have, out[0], (size_t)n * 4, stream);
    expect_near(have, want, n, 0, "the diamond");
    (void)in;
}

static void test_graph(void **state)
{
    Gpu *g = *state;
    enum { N = 10007 };
    open_plan(g, diamond_plan(g, N));
    float *x[3], *z = numbers(g, N, "z");
    void *in[3][2], *out[3][1];
    for (int i = 0; i < 3; i++) {
        x[i] = numbers(g, N, i == 0 ? "x0" : i == 1 ? "x1" : "x2");
        in[i][0] = device_new(g, x[i], N * 4);
        in[i][1] = device_new(g, z, N * 4);
        out[i][0] = device_new(g, NULL, N * 4);
    }
    for (int round = 0; round < 9; round++) {
        int i = round % 3;
        run(g, in[i], out[i], NULL, NULL);
        check_diamond(g, in[i], out[i], x[i], z, N, NULL);
    }
    run(g, in[2], out[2], NULL, NULL);
    ExecutorStats s = cuda_executor_stats(g->e);
    assert_int_equal(s.graph_launches, 10);
    assert_int_equal(s.instantiated, 1);               /* all kernels are ours: one graph for all addresses */
    assert_int_equal(s.patched, 8 * 3);                /* x is read twice, y written once, z read there too */
    assert_int_equal(s.graph_nodes, 5);
    assert_int_equal(s.graph_edges, 4);                /* 0 and 1 -> 2 -> 3 -> 4 */
    for (int i = 0; i < 3; i++) {
        executor_cuda.release(g->v, in[i][0]);
        executor_cuda.release(g->v, in[i][1]);
        executor_cuda.release(g->v, out[i][0]);
    }
}

/* Kernels that wait for each other by themselves are launched early, but for their portable code, which does not wait. */
static void test_early(void **state)
{
    Gpu *g = *state;
    enum { N = 100 };
    float *x = numbers(g, N, "x"), *z = numbers(g, N, "z");
    for (int own = 0; own < 2 && !on_gpu; own++) {
        Plan *p = diamond_plan(g, N);
        for (uint32_t i = 0; i < p->kernels.n; i++) {
            p->kernels.data[i].waits = true;
            p->kernels.data[i].code.data[0].arch = str_intern(g->cx->strs, own ? "sm_90" : "sm_80");
        }
        unsigned before = fake_cuda_early;
        open_plan(g, p);
        void *in[] = {device_new(g, x, N * 4), device_new(g, z, N * 4)}, *out[] = {device_new(g, NULL, N * 4)};
        run(g, in, out, NULL, NULL);
        check_diamond(g, in, out, x, z, N, NULL);
        assert_int_equal(fake_cuda_early - before, own ? 2 : 0);        /* step 2 has two before it, steps 3 and 4 one each */
        executor_cuda.release(g->v, in[0]);
        executor_cuda.release(g->v, in[1]);
        executor_cuda.release(g->v, out[0]);
    }
}

/* Sessions' calls on several streams share one workspace; a caller captures the call into a graph of its own. */
static void test_streams(void **state)
{
    Gpu *g = *state;
    enum { N = 1 << 18 };
    const CudaDriver *cu = cuda_driver(NULL);
    CuStream s[2];
    CuGraph graph;
    CuExec exec;
    CudaScope scope;
    open_plan(g, diamond_plan(g, N));
    float *x[2] = {numbers(g, N, "x0"), numbers(g, N, "x1")}, *z = numbers(g, N, "z");
    void *in[2][2], *out[2][1];
    assert_true(cuda_enter(cu, cuda_context(0, g->cx->diags), &scope, g->cx->diags));
    for (int i = 0; i < 2; i++) {
        in[i][0] = device_new(g, x[i], N * 4);
        in[i][1] = device_new(g, z, N * 4);
        out[i][0] = device_new(g, NULL, N * 4);
        assert_int_equal(cu->StreamCreate(&s[i], CU_STREAM_NONBLOCKING), 0);
    }
    assert_int_equal(cu->StreamBeginCapture(s[0], CU_CAPTURE_RELAXED), 0);
    bool refused = !executor_cuda.run(g->e, in[0], out[0], NULL, s[0], g->cx->diags);
    assert_true(refused);
    expect_text(g, "being captured, and the workspace must grow");
    assert_int_equal(cu->StreamEndCapture(s[0], &graph), 0);
    cu->GraphDestroy(graph);
    for (int round = 0; round < 20; round++) {
        run(g, in[0], out[0], NULL, s[0]);
        run(g, in[1], out[1], NULL, s[1]);
    }
    check_diamond(g, in[0], out[0], x[0], z, N, s[0]);
    check_diamond(g, in[1], out[1], x[1], z, N, s[1]);
    assert_int_equal(cu->StreamBeginCapture(s[0], CU_CAPTURE_RELAXED), 0);
    run(g, in[0], out[1], NULL, s[0]);
    assert_int_equal(cu->StreamEndCapture(s[0], &graph), 0);
    assert_int_equal(cu->GraphInstantiate(&exec, graph, 0), 0);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(cu->MemsetD8Async((CuPtr)(uintptr_t)out[1][0], 0, N * 4, s[0]), 0);
        assert_int_equal(cu->GraphLaunch(exec, s[0]), 0);
        check_diamond(g, in[0], out[1], x[0], z, N, s[0]);
    }
    assert_int_equal(cuda_executor_stats(g->e).captured, 1);
    cu->GraphExecDestroy(exec);
    cu->GraphDestroy(graph);
    cuda_leave(&scope);
    run(g, in[1], out[1], NULL, s[1]);
    check_diamond(g, in[1], out[1], x[1], z, N, s[1]);
    executor_cuda.close(g->e);                          /* streams live until the session is done with them */
    g->e = NULL;
    assert_true(cuda_enter(cu, cuda_context(0, g->cx->diags), &scope, g->cx->diags));
    for (int i = 0; i < 2; i++) {
        executor_cuda.release(g->v, in[i][0]);
        executor_cuda.release(g->v, in[i][1]);
        executor_cuda.release(g->v, out[i][0]);
        cu->StreamDestroy(s[i]);
    }
    cuda_leave(&scope);
}

/* ---- copies and fills: y = x, z = 0, w = x + 1 ---- */

static void test_copy_fill(void **state)
{
    Gpu *g = *state;
    enum { N = 70001 };
    Maker m = make_plan(g->cx, "copies", ptx);
    Dim n = make_const(&m, N);
    uint32_t x = make_buffer(&m, BUF_INPUT, "x", DT_F32, &n, 1, 0), y = make_buffer(&m, BUF_OUTPUT, "y", DT_F32, &n, 1, 0);
    uint32_t z = make_buffer(&m, BUF_OUTPUT, "z", DT_F32, &n, 1, 0), w = make_buffer(&m, BUF_OUTPUT, "w", DT_F32, &n, 1, 0);
    make_copy(&m, x, y);
    make_fill(&m, z);
    make_launch(&m, "vinc", "rw", (uint32_t[]){y, w}, n, 0);
    m.p->alignment = 4;
    open_plan(g, make_done(&m, 0));
    float *a = numbers(g, N, "x"), *have = numbers(g, N, "y"), *want = numbers(g, N, "w");
    char *base[4];
    for (int i = 0; i < 4; i++)
        base[i] = device_new(g, NULL, N * 4 + 256);
    for (size_t shift = 0; shift < 32; shift += 4) {
        void *in[] = {base[0] + shift}, *out[] = {base[1] + 2 * shift, base[2] + shift, base[3] + 16};
        require(g, executor_cuda.upload(g->v, in[0], a, N * 4, NULL, g->cx->diags));
        run(g, in, out, NULL, NULL);
        device_get(g, have, out[0], N * 4, NULL);
        expect_near(have, a, N, 0, "a copy");
        device_get(g, have, out[1], N * 4, NULL);
        memset(want, 0, N * 4);
        expect_near(have, want, N, 0, "zeros");
        device_get(g, have, out[2], N * 4, NULL);
        for (int i = 0; i < N; i++)
            want[i] = a[i] + 1;
        expect_near(have, want, N, 0, "x + 1");
    }
    for (int i = 0; i < 4; i++)
        executor_cuda.release(g->v, base[i]);
}

/* ---- products ---- */

typedef struct { DType t, out; int64_t m, n, k, batch; bool ta, tb, c, tf32, broadcast_b; Epilogue e; float tolerance;
                 int algorithm; } Product;

static void host_product(const Product *p, const float *a, const float *b, const float *c, const float *bias, float *d)
{
    for (int64_t x = 0; x < p->batch; x++)
        for (int64_t i = 0; i < p->m; i++)
            for (int64_t j = 0; j < p->n; j++) {
                double s = 0;
                const float *pa = a + x * p->m * p->k, *pb = b + (p->broadcast_b ? 0 : x) * p->k * p->n;
                for (int64_t k = 0; k < p->k; k++)
                    s += (double)pa[p->ta ? k * p->m + i : i * p->k + k] * (double)pb[p->tb ? j * p->k + k : k * p->n + j];
                int64_t at = (x * p->m + i) * p->n + j;
                s += c ? (double)c[at] : 0;
                s += bias ? (double)bias[j] : 0;
                if (p->e == EPI_RELU || p->e == EPI_BIAS_RELU)
                    s = s > 0 ? s : 0;
                if (p->e == EPI_GELU_TANH || p->e == EPI_BIAS_GELU_TANH)
                    s = 0.5 * s * (1 + tanh(0.7978845608028654 * (s + 0.044715 * s * s * s)));
                d[at] = (float)s;
            }
}

static void *device_typed(Gpu *g, DType t, float *v, int64_t n)      /* rounds v to t as well */
{
    char *bytes = arena_alloc(g->cx->arena, (size_t)n * dtype_bytes(t) + 1);
    for (int64_t i = 0; i < n; i++) {
        dtype_store(t, bytes + (size_t)i * dtype_bytes(t), (double)v[i]);
        v[i] = (float)dtype_load(t, bytes + (size_t)i * dtype_bytes(t));
    }
    return device_new(g, bytes, (size_t)n * dtype_bytes(t));
}

static Plan *product_plan(Gpu *g, const Product *p)
{
    Maker m = make_plan(g->cx, "product", ptx);
    Dim M = make_const(&m, p->m), N = make_const(&m, p->n), K = make_const(&m, p->k), B = make_const(&m, p->batch);
    bool bias = p->e == EPI_BIAS || p->e == EPI_BIAS_RELU || p->e == EPI_BIAS_GELU_TANH;
    PlanMatmul x = {.dtype = p->t, .out_dtype = p->out, .m = M, .n = N, .k = K, .batch = B, .trans_a = p->ta, .trans_b = p->tb,
                    .epilogue = p->e, .tf32 = p->tf32, .algorithm = p->algorithm, .c = UINT32_MAX, .bias = UINT32_MAX,
                    .workspace = UINT32_MAX};
    x.a = make_buffer(&m, BUF_INPUT, "a", p->t, (Dim[]){B, p->ta ? K : M, p->ta ? M : K}, 3, 0);
    x.b = make_buffer(&m, BUF_INPUT, "b", p->t, (Dim[]){p->broadcast_b ? make_const(&m, 1) : B, p->tb ? N : K, p->tb ? K : N}, 3, 0);
    if (p->c)
        x.c = make_buffer(&m, BUF_INPUT, "c", p->out, (Dim[]){B, M, N}, 3, 0);
    if (bias)
        x.bias = make_buffer(&m, BUF_INPUT, "bias", p->out, &N, 1, 0);
    x.d = make_buffer(&m, BUF_OUTPUT, "d", p->out, (Dim[]){B, M, N}, 3, 0);
    x.lda = p->ta ? M : K;
    x.ldb = p->tb ? K : N;
    x.ldc = x.ldd = N;
    x.stride_a = make_const(&m, p->m * p->k);
    x.stride_b = make_const(&m, p->broadcast_b ? 0 : p->k * p->n);
    x.stride_c = x.stride_d = make_const(&m, p->m * p->n);
    make_matmul(&m, x);
    return make_done(&m, 0);
}

static void check_product(Gpu *g, const Product *p)
{
    int64_t na = p->batch * p->m * p->k, nb = (p->broadcast_b ? 1 : p->batch) * p->k * p->n, nd = p->batch * p->m * p->n;
    Plan *plan = product_plan(g, p);
    float *a = numbers(g, na, "a"), *b = numbers(g, nb, "b"), *c = numbers(g, nd, "c"), *bias = numbers(g, p->n, "bias");
    float *want = numbers(g, nd, "d"), *have = numbers(g, nd, "e");
    bool with_bias = plan->steps.data[0].matmul.bias != UINT32_MAX;
    const char *what = arena_printf(g->cx->arena, "%s -> %s%s, m %lld n %lld k %lld batch %lld%s, transposed %d %d, c %d, epilogue %d",
                                    dtype_name(p->t), dtype_name(p->out), p->tf32 ? " by tf32" : "", (long long)p->m, (long long)p->n,
                                    (long long)p->k, (long long)p->batch, p->broadcast_b ? " (b broadcast)" : "", p->ta, p->tb, p->c, p->e);
    if (!try_plan(g, plan)) {
        bool common = p->t == p->out && (p->t == DT_BF16 || p->t == DT_F16 || p->e == EPI_NONE || p->e == EPI_BIAS);
        char *why = diags_text(g->cx);
        if (common || !strstr(why, "has no algorithm"))
            fail_msg("%s: %s", what, why);
        print_message("  the library does not do %s\n", what);
        return;
    }
    void *in[4], *out[1] = {device_new(g, NULL, (size_t)nd * dtype_bytes(p->out))};
    uint32_t n = 0;
    in[n++] = device_typed(g, p->t, a, na);
    in[n++] = device_typed(g, p->t, b, nb);
    if (p->c)
        in[n++] = device_typed(g, p->out, c, nd);
    if (with_bias)
        in[n++] = device_typed(g, p->out, bias, p->n);
    host_product(p, a, b, p->c ? c : NULL, with_bias ? bias : NULL, want);
    run(g, in, out, NULL, NULL);
    char *raw = arena_alloc(g->cx->arena, (size_t)nd * 8);
    device_get(g, raw, out[0], (size_t)nd * dtype_bytes(p->out), NULL);
    for (int64_t i = 0; i < nd; i++)
        have[i] = (float)dtype_load(p->out, raw + (size_t)i * dtype_bytes(p->out));
    expect_near(have, want, nd, p->tolerance, what);
    for (uint32_t i = 0; i < n; i++)
        executor_cuda.release(g->v, in[i]);
    executor_cuda.release(g->v, out[0]);
}

static void test_products(void **state)
{
    Gpu *g = *state;
    static const struct { DType t, out; float tolerance; bool tf32; } types[] = {
        {DT_BF16, DT_BF16, 1.6e-2f, false}, {DT_F16, DT_F16, 2e-3f, false}, {DT_F32, DT_F32, 2e-5f, false},
        {DT_F32, DT_F32, 2e-2f, true}, {DT_BF16, DT_F32, 1e-4f, false}
    };
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (int e = EPI_NONE; e <= EPI_BIAS_GELU_TANH; e++)
            for (int flags = 0; flags < 8; flags++) {
                Product p = {.t = types[t].t, .out = types[t].out, .m = 24, .n = 40, .k = 64, .batch = flags & 4 ? 3 : 1, .ta = flags & 1,
                             .tb = flags >> 1 & 1, .tf32 = types[t].tf32, .e = (Epilogue)e, .tolerance = types[t].tolerance};
                p.c = e == EPI_NONE && flags >= 3;
                p.broadcast_b = flags >= 6 && p.batch > 1;
                check_product(g, &p);
            }
}

static void test_algorithms(void **state)
{
    Gpu *g = *state;
    Product p = {.t = DT_BF16, .out = DT_BF16, .m = 2048, .n = 6144, .k = 2048, .batch = 1, .tb = true};
    Plan *plan = product_plan(g, &p);
    CublasAlgorithm all[16];
    BoundMatmul b;
    require(g, matmul_evaluate(&plan->steps.data[0].matmul, NULL, 0, &b, g->cx->diags));
    int n = cublaslt_algorithms(0, &plan->steps.data[0].matmul, &b, DT_NONE, all, 16, g->cx->diags);
    require(g, n > 0);
    for (int i = 0; on_gpu && i < n; i++)
        print_message("  %2d  %s  waves %.2f\n", i, all[i].text, (double)all[i].waves);
    for (int i = 0; i < n && i < 3; i++) {             /* every rank gives the same product */
        p = (Product){.t = DT_BF16, .out = DT_BF16, .m = 64, .n = 64, .k = 128, .batch = 1, .tb = true, .tolerance = 1.6e-2f,
                      .algorithm = i};
        check_product(g, &p);
    }
}

/* ---- a product between kernels: its addresses name the graph ---- */

static Plan *between_plan(Gpu *g)                       /* t = 2a; d = t @ b; y = d + 1 */
{
    Maker m = make_plan(g->cx, "between", ptx);
    Dim n = make_const(&m, 64), shape[] = {n, n}, count = make_const(&m, 4096);
    uint32_t a = make_buffer(&m, BUF_INPUT, "a", DT_F32, shape, 2, 0), d = make_buffer(&m, BUF_OUTPUT, "d", DT_F32, shape, 2, 0);
    uint32_t y = make_buffer(&m, BUF_OUTPUT, "y", DT_F32, shape, 2, 0);
    Tensor *w = tensor_new(g->cx->arena, DT_F32, 2, (int64_t[]){64, 64});
    philox_fill(DT_F32, w->data, 0, 4096, philox_key(7, "w"), (Dist){DIST_NORMAL, 0, 1});
    uint32_t b = make_weight(&m, "w", w), t = make_buffer(&m, BUF_WORKSPACE, "t", DT_F32, shape, 2, 0);
    make_launch(&m, "vtwice", "rw", (uint32_t[]){a, t}, count, 0);
    make_matmul(&m, (PlanMatmul){.dtype = DT_F32, .out_dtype = DT_F32, .m = n, .n = n, .k = n, .a = t, .b = b, .d = d, .c = UINT32_MAX,
                                 .bias = UINT32_MAX, .workspace = UINT32_MAX, .lda = n, .ldb = n, .ldd = n, .algorithm = 1});
    make_launch(&m, "vinc", "rw", (uint32_t[]){d, y}, count, 0);
    return make_done(&m, 16384);
}

static void test_library_in_graph(void **state)
{
    Gpu *g = *state;
    enum { SETS = 20 };
    Plan *plan = between_plan(g);
    const float *w = plan->weights.data[0].data->data;
    open_plan(g, plan);
    float *a = numbers(g, 4096, "a"), *want = numbers(g, 4096, "want"), *have = numbers(g, 4096, "have");
    Product p = {.m = 64, .n = 64, .k = 64, .batch = 1};
    host_product(&p, a, w, NULL, NULL, want);
    for (int i = 0; i < 4096; i++)
        want[i] = 2 * want[i] + 1;
    void *in[] = {device_new(g, a, 16384)}, *out[SETS][2];
    for (int i = 0; i < SETS; i++)
        for (int k = 0; k < 2; k++)
            out[i][k] = device_new(g, NULL, 16384);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < SETS; i++) {
            run(g, in, out[i], NULL, NULL);
            device_get(g, have, out[i][1], 16384, NULL);
            expect_near(have, want, 4096, 1e-4f, "2a @ w + 1");
        }
    ExecutorStats s = cuda_executor_stats(g->e);
    assert_int_equal(s.instantiated, 16);              /* then the least recently used ones are made over */
    assert_int_equal(s.updated, 2 * SETS - 16);
    memset(have, 0, 16384);
    require(g, executor_cuda.upload(g->v, out[0][1], have, 16384, NULL, g->cx->diags));
    run(g, in, (void *[]){out[SETS - 1][0], out[0][1]}, NULL, NULL);        /* only y moved: patched, in a graph made over */
    device_get(g, have, out[0][1], 16384, NULL);
    expect_near(have, want, 4096, 1e-4f, "2a @ w + 1, patched");
    assert_int_equal(cuda_executor_stats(g->e).updated, s.updated);
    assert_int_equal(cuda_executor_stats(g->e).patched, s.patched + 1);
    for (int i = 0; i < SETS; i++)
        for (int k = 0; k < 2; k++)
            executor_cuda.release(g->v, out[i][k]);
    executor_cuda.release(g->v, in[0]);
}

/* ---- through pawl.h: packages, sessions, views, weights ---- */

static pawl_tensor tensor2(void *data, int64_t rows, int64_t columns)
{
    return (pawl_tensor){.data = data, .dtype = PAWL_F32, .rank = 2, .shape = {rows, columns}};
}

static void require_ok(pawl_status s)
{
    if (s != PAWL_OK)
        fail_msg("status %d: %s", s, pawl_error());
}

static void test_sessions(void **state)
{
    Gpu *g = *state;
    size_t len;
    Plan *plan = between_plan(g);
    const float *w = plan->weights.data[0].data->data;
    void *image = package_image(g->cx->arena, g->cx->diags, &plan, 1, NULL, &len);
    pawl_package *p;
    pawl_session *s[2];
    require_ok(pawl_open_memory(image, len, &p));
    float *a = numbers(g, 8192, "a"), *want = numbers(g, 4096, "w"), *have = numbers(g, 8192, "h"), *dense = numbers(g, 4096, "d");
    for (int i = 0; i < 2; i++)
        require_ok(pawl_session_new(p, NULL, &s[i]));
    assert_string_equal(pawl_device(s[0]), "cuda");
    for (int i = 0; i < 2; i++) {
        void *in, *out[2];
        require_ok(pawl_alloc(s[i], 65536, &in));
        for (int k = 0; k < 2; k++)
            require_ok(pawl_alloc(s[i], 65536, &out[k]));
        require_ok(pawl_upload(s[i], in, a, 32768, NULL));
        for (int view = 0; view < 3; view++) {         /* dense; one float off; every other column, transposed */
            pawl_tensor x = tensor2((char *)in + (view == 1 ? 4 : 0), 64, 64);
            pawl_tensor y[2] = {tensor2(out[0], 64, 64), tensor2((char *)out[1] + (view ? 12 : 0), 64, 64)};
            if (view == 2) {
                x.strides[0] = 1;
                x.strides[1] = 128;
                y[1].strides[0] = 2;
                y[1].strides[1] = 130;
            }
            for (int r = 0; r < 64; r++)
                for (int c = 0; c < 64; c++)
                    dense[64 * r + c] = view == 2 ? a[r + 128 * c] : a[64 * r + c + view];
            host_product(&(Product){.m = 64, .n = 64, .k = 64, .batch = 1}, dense, w, NULL, NULL, want);
            require_ok(pawl_run(s[i], &x, 1, y, 2, NULL));
            require_ok(pawl_download(s[i], have, y[1].data, 8192 * 4, NULL));
            for (int r = 0; r < 64; r++)
                for (int c = 0; c < 64; c++) {
                    float got = view == 2 ? have[2 * r + 130 * c < 8192 ? 2 * r + 130 * c : 0] : have[64 * r + c];
                    if (view != 2 || 2 * r + 130 * c < 8192)
                        expect_near(&got, &(float){2 * want[64 * r + c] + 1}, 1, 1e-4f, "a view");
                }
        }
        pawl_free_memory(s[i], in);
        pawl_free_memory(s[i], out[0]);
        pawl_free_memory(s[i], out[1]);
    }
    /* one session's new weights are not the other's */
    float *eye = numbers(g, 4096, "e");
    for (int i = 0; i < 4096; i++)
        eye[i] = i % 65 == 0;
    const char *name = "w";
    pawl_tensor new_w = tensor2(eye, 64, 64);
    require_ok(pawl_reload_weights(s[0], &name, &new_w, 1));
    for (int i = 0; i < 2; i++) {
        void *in, *out[2];
        require_ok(pawl_alloc(s[i], 16384, &in));
        for (int k = 0; k < 2; k++)
            require_ok(pawl_alloc(s[i], 16384, &out[k]));
        require_ok(pawl_upload(s[i], in, a, 16384, NULL));
        host_product(&(Product){.m = 64, .n = 64, .k = 64, .batch = 1}, a, i ? w : eye, NULL, NULL, want);
        for (int k = 0; k < 4096; k++)
            want[k] = 2 * want[k] + 1;
        pawl_tensor x = tensor2(in, 64, 64), y[2] = {tensor2(out[0], 64, 64), tensor2(out[1], 64, 64)};
        require_ok(pawl_run(s[i], &x, 1, y, 2, NULL));
        require_ok(pawl_download(s[i], have, out[1], 16384, NULL));
        expect_near(have, want, 4096, 1e-4f, i ? "the package's weights" : "reloaded weights");
        pawl_free_memory(s[i], in);
        pawl_free_memory(s[i], out[0]);
        pawl_free_memory(s[i], out[1]);
    }
    pawl_session_free(s[0]);
    pawl_session_free(s[1]);
    pawl_close(p);
}

/* ---- refusals ---- */

static void test_refusals(void **state)
{
    Gpu *g = *state;
    open_plan(g, add_plan(g));
    assert_null(executor_cuda.alloc(g->v, (size_t)1 << 45, g->cx->diags));
    expect_text(g, "no device memory for 32768.000 GiB of memory");
    Maker m = make_plan(g->cx, "huge", ptx);
    Dim n = make_const(&m, 64);
    uint32_t x = make_buffer(&m, BUF_INPUT, "x", DT_F32, &n, 1, 0), y = make_buffer(&m, BUF_OUTPUT, "y", DT_F32, &n, 1, 0);
    make_launch(&m, "vinc", "rw", (uint32_t[]){x, y}, n, 0);
    Plan *huge = make_done(&m, (int64_t)1 << 42);
    open_plan(g, huge);
    void *p = device_new(g, NULL, 256);
    assert_false(executor_cuda.run(g->e, &p, &p, NULL, NULL, g->cx->diags));
    expect_text(g, "no device memory for 4096.000 GiB of workspace");
    executor_cuda.release(g->v, p);
    pawl_session_options o = {.size = sizeof o, .device = "cuda:63"};
    assert_null(executor_cuda.device_open(g->cx, &o));
    expect_text(g, "no CUDA device of that number");
    huge->kernels.data[0].code.data[0].arch = str_intern(g->cx->strs, "sm_50a");
    assert_null(executor_cuda.open_on(g->v, g->cx, huge));
    expect_text(g, "kernel vinc has no code that runs on");
    huge->kernels.data[0].code.data[0].arch = str_intern(g->cx->strs, "sm_80");
    huge->kernels.data[0].code.data[0].bytes = "garbage, no PTX";
    huge->kernels.data[0].code.data[0].len = 15;
    assert_null(executor_cuda.open_on(g->v, g->cx, huge));
    expect_text(g, "loading the sm_80 ptx of kernel vinc");
    huge->kernels.data[0].code.data[0].bytes = ptx;
    huge->kernels.data[0].code.data[0].len = sizeof ptx - 1;
    huge->kernels.data[0].name = str_intern(g->cx->strs, "vmissing");
    assert_null(executor_cuda.open_on(g->v, g->cx, huge));
    expect_text(g, "looking for kernel vmissing");
    if (!on_gpu) {
        open_plan(g, add_plan(g));
        int64_t size = 4;
        void *q = device_new(g, NULL, 256), *in[] = {q, q}, *out[] = {q};
        fake_cuda_fail_next = CU_ILLEGAL_ADDRESS;
        assert_false(executor_cuda.run(g->e, in, out, &size, NULL, g->cx->diags));
        expect_text(g, "launching vadd (step 0)");
        executor_cuda.release(g->v, q);
    }
}

/* ---- time ---- */

typedef struct { Gpu *g; void *in[2][2], *out[2][1]; int turn; } Call;

static bool enqueue_diamond(void *arg, int i, void *stream)
{
    Call *c = arg;
    int k = c->turn ? i % 2 : 0;
    return executor_cuda.run(c->g->e, c->in[k], c->out[k], NULL, stream, c->g->cx->diags);
}

static void test_timing(void **state)
{
    Gpu *g = *state;
    int64_t n = on_gpu ? 1 << 22 : 1000;
    size_t bytes = (size_t)n * 4;
    double us[20], host, by_kernel, by_driver;
    CudaTimer *t = cuda_timer_new(0, g->cx->diags);
    require(g, t != NULL);
    require(g, cuda_measure_copy(t, on_gpu ? (size_t)1 << 30 : 4096, &by_kernel, &by_driver, g->cx->diags));
    print_message("  copy: %.0f GB/s by our kernel, %.0f GB/s by the driver\n", by_kernel / 1e9, by_driver / 1e9);
    open_plan(g, diamond_plan(g, n));
    Call c = {.g = g};
    for (int i = 0; i < 2; i++) {
        require(g, (c.in[i][0] = cuda_buffer_new(t, DT_F32, bytes, 1, g->cx->diags)) != NULL);
        require(g, (c.in[i][1] = cuda_buffer_new(t, DT_F32, bytes, 2, g->cx->diags)) != NULL);
        require(g, (c.out[i][0] = cuda_buffer_new(t, DT_F32, bytes, 3, g->cx->diags)) != NULL);
    }
    static const char *const states[] = {"warm", "written", "read"};
    for (int l2 = L2_WARM; l2 <= L2_READ; l2++) {
        require(g, cuda_time(t, (CudaTiming){.warmup = 3, .batch = l2 == L2_WARM ? 8 : 1, .l2 = (L2State)l2}, enqueue_diamond, &c, 20, us,
                             g->cx->diags));
        print_message("  five launches over %.0f MB each, L2 %s: %.1f us\n", (double)bytes / 1e6, states[l2], us[10]);
    }
    for (c.turn = 0; c.turn < 2; c.turn++) {
        require(g, cuda_time_host(t, enqueue_diamond, &c, 500, &host, g->cx->diags));
        print_message("  host time of one call, graph, %s: %.2f us\n", c.turn ? "three nodes patched" : "nothing patched", host);
        if (on_gpu)
            assert_true(host <= 10);
    }
    float *have = arena_new_array(g->cx->arena, float, n), *x = arena_new_array(g->cx->arena, float, n);
    float *z = arena_new_array(g->cx->arena, float, n), *want = arena_new_array(g->cx->arena, float, n);
    require(g, cuda_timer_wait(t, g->cx->diags) && cuda_buffer_download(t, x, c.in[0][0], bytes, g->cx->diags) &&
               cuda_buffer_download(t, z, c.in[0][1], bytes, g->cx->diags) && cuda_buffer_download(t, have, c.out[0][0], bytes, g->cx->diags));
    diamond_on_host(x, z, want, n);
    expect_near(have, want, n, 0, "after timing");
    for (int64_t i = 0; i < n; i++)
        assert_true(fabsf(x[i]) >= 0.5f && fabsf(x[i]) < 1);
    executor_cuda.close(g->e);
    g->e = NULL;
    for (int i = 0; i < 2; i++) {
        cuda_buffer_free(t, c.in[i][0]);
        cuda_buffer_free(t, c.in[i][1]);
        cuda_buffer_free(t, c.out[i][0]);
    }
    cuda_timer_free(t);
}

/* From opening a package to its first result, the driver's start apart. */
static void test_first_result(void **state)
{
    Gpu *g = *state;
    size_t len;
    Plan *plan = diamond_plan(g, 1 << 16);
    void *image = package_image(g->cx->arena, g->cx->diags, &plan, 1, NULL, &len);
    require(g, cuda_context(0, g->cx->diags) != NULL);
    double begin = clock_seconds();
    pawl_package *p;
    pawl_session *s;
    require_ok(pawl_open_memory(image, len, &p));
    require_ok(pawl_session_new(p, NULL, &s));
    void *m[3];
    for (int i = 0; i < 3; i++)
        require_ok(pawl_alloc(s, 1 << 18, &m[i]));
    pawl_tensor in[2], out;
    for (int i = 0; i < 2; i++)
        in[i] = (pawl_tensor){.data = m[i], .dtype = PAWL_F32, .rank = 1, .shape = {1 << 16}};
    out = in[0];
    out.data = m[2];
    require_ok(pawl_run(s, in, 2, &out, 1, NULL));
    require_ok(pawl_synchronize(s, NULL));
    double ms = (clock_seconds() - begin) * 1e3;
    print_message("  package opened and first result in %.1f ms\n", ms);
    assert_true(!on_gpu || ms <= 200);
    int calls = on_gpu ? 2000 : 50;
    begin = clock_seconds();
    for (int i = 0; i < calls; i++)
        require_ok(pawl_run(s, in, 2, &out, 1, NULL));
    print_message("  pawl_run, %d calls in a row: %.2f us each (the host may wait for the device)\n", calls,
                  (clock_seconds() - begin) * 1e6 / calls);
    require_ok(pawl_synchronize(s, NULL));
    for (int i = 0; i < 3; i++)
        pawl_free_memory(s, m[i]);
    pawl_session_free(s);
    pawl_close(p);
}

int cuda_cases_run(bool real)
{
    on_gpu = real;
    if (!real) {
        fake_cuda_install();
        fake_cuda_kernel("vadd", host_vadd, 4);
        fake_cuda_kernel("vtwice", host_vtwice, 3);
        fake_cuda_kernel("vinc", host_vinc, 3);
        fake_cuda_kernel("vroom", host_vroom, 3);
        maps_install();
    }
    const CudaDevice *v = cuda_device(0);
    if (!v->available) {
        print_message("SKIP: %s\n", v->why_not);
        return 77;
    }
    const char *why, *path;
    bool blas = cublaslt_available(&why, &path);
    print_message("%s, sm_%d%d, %d SMs, L2 %zu MiB, driver %d; cuBLASLt %s %zu\n", v->name, v->sm_major, v->sm_minor, v->sm_count,
                  v->l2_bytes >> 20, v->driver_version, blas ? path : why, cublaslt_version());
#define CASE(f) cmocka_unit_test_setup_teardown(f, gpu_setup, gpu_teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_add), CASE(test_shared_memory), CASE(test_graph), CASE(test_early), CASE(test_streams), CASE(test_copy_fill), CASE(test_products),
        CASE(test_algorithms), CASE(test_library_in_graph), CASE(test_sessions), CASE(test_maps), CASE(test_maps_captured), CASE(test_maps_refused),
        CASE(test_maps_host_time), CASE(test_early_launches),
        CASE(test_refusals), CASE(test_timing), CASE(test_first_result)
    };
    return cmocka_run_group_tests_name(real ? "the CUDA runtime on a GPU" : "the CUDA runtime on a fake GPU", tests, NULL, NULL);
}
