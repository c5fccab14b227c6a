/* What kernels of the f16 and bf16 classes compute in another way than it is written: which forms are taken, and how exact they are, by the
 * simulator on NVRTC's PTX, next to the C library. */
#include "codegen/emit/emit.h"
#include "runtime/sim/sim.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { N = 1024, THREADS = 128 };

typedef KInst *(*Formula)(Kernel *k, KInst *x);

static KInst *number(Kernel *k, double v) { return k_const(k, (KType){DT_F32, 1}, v); }
static KInst *half(Kernel *k, KInst *x) { return k_op2(k, OP_MUL, x, number(k, 0.5)); }
static KInst *plus_one(Kernel *k, KInst *x) { return k_op2(k, OP_ADD, number(k, 1), x); }

static KInst *of_tanh(Kernel *k, KInst *x) { return plus_one(k, k_op1(k, OP_TANH, k_op2(k, OP_MUL, x, number(k, 0.75)))); }
static KInst *gelu_tanh(Kernel *k, KInst *x) { return k_op2(k, OP_MUL, half(k, x), plus_one(k, k_op1(k, OP_TANH, x))); }
static KInst *of_erf(Kernel *k, KInst *x) { return plus_one(k, k_op1(k, OP_ERF, k_op2(k, OP_MUL, x, number(k, 0.75)))); }
static KInst *of_erfc(Kernel *k, KInst *x) { return k_op1(k, OP_ERFC, x); }
static KInst *sigmoid(Kernel *k, KInst *x) { return k_op1(k, OP_RECIPROCAL, plus_one(k, k_op1(k, OP_EXP, k_op1(k, OP_NEG, x)))); }
static KInst *silu(Kernel *k, KInst *x) { return k_op2(k, OP_DIV, x, plus_one(k, k_op1(k, OP_EXP, k_op1(k, OP_NEG, x)))); }

/* y = f(x) of N numbers, eight a thread. `product`: as the body of one, which CUDA C alone has. */
static Kernel *kernel_of(Context *cx, Formula f, bool approximate, bool product)
{
    static const KGemm none;
    DimPool *p = cx->dims;
    Kernel *k = kernel_new(cx, cx->arena, "formula", false, THREADS);
    Dim count = dim_const(p, N);
    kernel_buffer(k, str_intern(cx->strs, "x"), DT_F32, count, 16);
    kernel_buffer(k, str_intern(cx->strs, "y"), DT_F32, count, 16);
    k->approximate = approximate;
    k->gemm = product ? &none : NULL;
    for (uint32_t i = 0; i < N / THREADS / 4; i++) {
        Dim at = dim_add(p, dim_add_const(p, dim_mul_const(p, k->thread, 4), i * THREADS * 4), kernel_lane(p, 4));
        k_store(k, 1, at, f(k, k_load(k, 0, at, 4, NULL, 0)), NULL);
    }
    k->gemm = NULL;
    kernel_collect_scalars(k);
    return k;
}

static bool says(Formula f, bool approximate, bool product, const char *word)
{
    Context *cx = context_new();
    Kernel *k = kernel_of(cx, f, approximate, product);
    bool found = strstr(emit_cuda(cx->arena, &k, 1), word) != NULL;
    context_free(cx);
    return found;
}

static void forms(void **s)
{
    (void)s;
    assert_true(says(of_tanh, true, false, "2.0f * rcp_approx(exp2_approx(x_v[l] * -2.16404"));        /* both factors in one */
    assert_true(says(of_tanh, false, false, "tanhf"));                                                  /* exact kernels: as written */
    assert_true(says(gelu_tanh, true, false, "x_v[l] * rcp_approx") && !says(gelu_tanh, true, false, "2.0f * rcp_approx"));
    assert_true(says(of_erf, true, true, "= erfc_approx(x_v[l] * -0.75f)"));
    assert_true(says(of_erf, true, false, "erff"));
    assert_true(says(sigmoid, true, false, "rcp_approx(1.0f + exp_approx(-x_v[l]))") && !says(sigmoid, false, false, "approx"));
}

typedef struct { const char *name; Formula f; double (*want)(double x); double from, to, ulps, linear, square; } Exactness;

static double want_tanh(double x) { return 2 / (1 + exp(-1.5 * x)); }
static double want_gelu(double x) { return x / (1 + exp(-2 * x)); }
static double want_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double want_silu(double x) { return x / (1 + exp(-x)); }

/* Every result within `ulps` + linear |x| + square x^2 units of 2^-23 of its size: exponentials magnify the roundings of what they are of,
 * but nothing is lost where sums as written cancel. */
static void check_one(const Exactness *e)
{
    Context *cx = context_new();
    static float x[N], y[N];
    char *ptx = NULL;
    for (int i = 0; i < N; i++)
        x[i] = (float)(e->from + (e->to - e->from) * i / (N - 1));
    Kernel *k = kernel_of(cx, e->f, true, false);
    assert_true(kernel_verify(k, cx->diags) && nvrtc_ptx(cx->arena, cx->diags, emit_cuda(cx->arena, &k, 1), "formula", "sm_90a", &ptx));
    SimMemory *m = sim_memory_new();
    uint64_t from = sim_memory_add(m, &(SimBuffer){.name = "x", .data = x, .bytes = sizeof x, .initialised = true});
    uint64_t to = sim_memory_add(m, &(SimBuffer){.name = "y", .data = y, .bytes = sizeof y});
    PtxModule *module = ptx_read(cx->arena, cx->diags, source_from_text(cx->arena, "formula.ptx", ptx));
    SimLaunch launch = {.grid = {1, 1, 1}, .block = {THREADS, 1, 1}, .args = (const void *const[]){&from, &to}, .n_args = 2};
    SimResult r = {0};
    assert_true(module && sim_run(m, module, &launch, cx->arena, cx->diags, &r) && r.finished && !r.n_faults);
    double worst = 0;
    for (int i = 0; i < N; i++) {
        double want = e->want(x[i]), error = fabs(y[i] - want) / fabs(want) * 0x1p23 / (e->ulps + e->linear * fabsf(x[i]) + e->square * x[i] * x[i]);
        worst = want == 0 ? fmax(worst, y[i] != 0) : fmax(worst, error);
    }
    printf("%s: %.2f of what is allowed\n", e->name, worst);
    assert_true(worst <= 1);
    sim_memory_free(m);
    context_free(cx);
}

static void exactness(void **s)
{
    static const Exactness all[] = {
        {"1 + tanh(3/4 x)", of_tanh, want_tanh, -40, 40, 4, 1.25, 0}, {"x/2 (1 + tanh(x))", gelu_tanh, want_gelu, -40, 40, 4, 1.25, 0},
        {"erfc", of_erfc, erfc, -9, 9, 4, 0, 1},                  {"sigmoid", sigmoid, want_sigmoid, -80, 80, 4, 1, 0},
        {"silu", silu, want_silu, -80, 80, 4, 1, 0},
    };
    (void)s;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        check_one(&all[i]);
}

int main(void)
{
    const char *why;
    if (!nvrtc_available(&why)) {
        printf("SKIP: %s\n", why);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(forms), cmocka_unit_test(exactness)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
