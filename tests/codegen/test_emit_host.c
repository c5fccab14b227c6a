/* Kernels on this machine's CPU: every pointwise op on every type and lane count against ir/eval's meaning, conversions, kernels
 * of the shapes that kinds build. The loader refuses objects that import anything but math functions. */
#include "runtime/executor.h"
#include "tests/codegen/emit_cases.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct { Context *cx; HostCode *code; } Loaded;

static void must(Diags *d, bool ok)
{
    if (!ok || diags_failed(d)) {
        diags_print(d, stderr, false);
        fail();
    }
}

static Loaded load(Context *cx, Kernel **k, uint32_t n, const char *arch, bool inline_math)
{
    const void *object;
    size_t len;
    for (uint32_t i = 0; i < n; i++)
        must(cx->diags, kernel_verify(k[i], cx->diags));
    must(cx->diags, emit_host_math(cx->arena, cx->diags, k, n, arch, inline_math, &object, &len));
    HostCode *code = host_loader_elf.load(cx->arena, cx->diags, object, len);
    must(cx->diags, code != NULL);
    return (Loaded){cx, code};
}

static void run(const Loaded *l, const char *name, void *const *buffers, const int64_t *scalars, const uint32_t grid[3])
{
    HostKernel *fn = host_loader_elf.find(l->code, name);
    int64_t g[3] = {grid[0], grid[1], grid[2]};
    assert_non_null(fn);
    fn(buffers, scalars, g, 0, g[0] * g[1] * g[2]);
}

static void *memory(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    assert_non_null(p);
    return p;
}

/* All ops valid on t at one lane count: one object, as a plan's kernels are. */
static void check_ops(DType t, uint32_t lanes, const char *arch, bool inline_math)
{
    Context *cx = context_new();
    Kernel *k[OP_COUNT];
    Op ops[OP_COUNT];
    uint32_t n = 0;
    for (int op = 0; op < OP_COUNT; op++)
        if (case_valid((Op)op, t)) {
            ops[n] = (Op)op;
            k[n++] = case_op(cx, arena_printf(cx->arena, "op_%s", op_name((Op)op)), (Op)op, t, lanes, true, 1);
        }
    Loaded l = load(cx, k, n, arch, inline_math);
    void *b[4];
    for (int i = 0; i < 4; i++)
        b[i] = memory(CASE_COUNT * 8);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t arity = case_arity(ops[i]);
        for (uint32_t j = 0; j < arity; j++)
            case_fill(ops[i], t, j, b[j], CASE_COUNT);
        for (uint32_t j = 0; inline_math && (ops[i] == OP_SIN || ops[i] == OP_COS || ops[i] == OP_TAN) && j < CASE_COUNT; j++)
            if (fabs(dtype_load(t, (char *)b[0] + j * dtype_bytes(t))) > 0x1p40)        /* as far as math_expand.c reduces */
                dtype_store(t, (char *)b[0] + j * dtype_bytes(t), j);
        run(&l, k[i]->name, b, NULL, (uint32_t[3]){CASE_COUNT / lanes, 1, 1});
        CaseError e = case_check(ops[i], t, (const void *const *)b, b[arity], CASE_COUNT);
        if (getenv("PAWL_TEST_VERBOSE") && e.ulp > 1)
            printf("%s %s x%u %s%s: %.2f ulp (%g for %g)\n", op_name(ops[i]), dtype_name(t), lanes, arch, inline_math ? " inline" : "", e.ulp, e.got, e.want);
        if (e.ulp > case_limit(ops[i], t)) {
            for (uint32_t j = 0; j < arity; j++)
                print_message("operand %u: %.17g\n", j, dtype_load(case_operand(ops[i], t, j), (char *)b[j] + e.at * dtype_bytes(case_operand(ops[i], t, j))));
            fail_msg("%s on %s, %u lanes, %s%s, element %u: %.17g, wanted %.17g: %.2f ulp", op_name(ops[i]), dtype_name(t), lanes, arch,
                     inline_math ? ", inline" : "", e.at, e.got, e.want, e.ulp);
        }
    }
    for (int i = 0; i < 4; i++)
        free(b[i]);
    host_loader_elf.unload(l.code);
    context_free(cx);
}

static void ops_f32(void **state)
{
    (void)state;
    for (uint32_t lanes = 1; lanes <= 16; lanes *= 2)
        check_ops(DT_F32, lanes, "native", false);
}

static void ops_other_types(void **state)
{
    (void)state;
    for (int t = 0; t < DT_COUNT; t++)
        for (uint32_t lanes = 1; t != DT_F32 && lanes <= 16; lanes *= t == DT_F64 ? 2 : 16)
            check_ops((DType)t, lanes, "native", false);
}

static void ops_on_older_levels(void **state)
{
    (void)state;
    static const char *const arch[] = {"x86-64-v2", "x86-64-v3"};
    static const DType types[] = {DT_F32, DT_F64, DT_F16, DT_BF16, DT_I32};
    for (int a = 0; a < 2 && strcmp(host_arch(), "x86-64-v2") > a - 1; a++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++)
            check_ops(types[t], 8, arch[a], false);
}

static void ops_inline(void **state)
{
    (void)state;
    if (strcmp(host_arch(), "x86-64-v2") == 0) {
        print_message("SKIP: no FMA on this machine\n");
        skip();
    }
    check_ops(DT_F32, 16, "native", true);
    check_ops(DT_F32, 1, "native", true);
    check_ops(DT_BF16, 8, "native", true);
}

static void casts(void **state)
{
    (void)state;
    void *a = memory(CASE_COUNT * 8), *y = memory(CASE_COUNT * 8);
    for (int from = 0; from < DT_COUNT; from++) {
        Context *cx = context_new();
        Kernel *k[2 * DT_COUNT];
        uint32_t n = 0;
        for (int to = 0; to < DT_COUNT; to++)
            for (uint32_t lanes = 1; lanes <= 8; lanes *= 8)
                k[n++] = case_cast(cx, arena_printf(cx->arena, "to_%s_%u", dtype_name((DType)to), lanes), (DType)from, (DType)to, lanes, true, 1);
        Loaded l = load(cx, k, n, "native", false);
        for (uint32_t i = 0; i < n; i++) {
            DType to = (DType)(i / 2);
            uint32_t lanes = i % 2 ? 8 : 1;
            case_fill_cast((DType)from, to, a, CASE_COUNT);
            run(&l, k[i]->name, (void *[]){a, y}, NULL, (uint32_t[3]){CASE_COUNT / lanes, 1, 1});
            CaseError e = case_check_cast((DType)from, to, a, y, CASE_COUNT);
            if (e.ulp > 0)
                fail_msg("%s to %s, %u lanes, element %u (%g): %g, wanted %g", dtype_name((DType)from), dtype_name(to), lanes, e.at,
                         dtype_load((DType)from, (char *)a + e.at * dtype_bytes((DType)from)), e.got, e.want);
        }
        host_loader_elf.unload(l.code);
        context_free(cx);
    }
    free(a);
    free(y);
}

static void check_kernel(uint32_t which, const char *arch)
{
    Context *cx = context_new();
    Kernel *k = case_kernels[which].build(cx, true);
    DType t[3];
    uint32_t count[3], grid[3], threads, n = case_kernel_buffers(which, t, count);
    void *b[3];
    int64_t scalars[1] = {10};
    kernel_collect_scalars(k);
    Loaded l = load(cx, &k, 1, arch, false);
    for (uint32_t i = 0; i < n; i++) {
        b[i] = memory((size_t)count[i] * dtype_bytes(t[i]));
        case_kernel_fill(which, i, b[i]);
    }
    double *want = calloc(count[n - 1], sizeof *want);
    case_kernel_grid(which, true, grid, &threads);
    run(&l, k->name, b, scalars, grid);
    case_kernel_want(which, (const void *const *)b, want);
    for (uint32_t i = 0; i < count[n - 1]; i++) {
        double got = dtype_load(t[n - 1], (char *)b[n - 1] + (size_t)i * dtype_bytes(t[n - 1])), tolerance = t[n - 1] == DT_BF16 ? 0.01 : 1e-4;
        if (!(fabs(got - want[i]) <= tolerance * (fabs(want[i]) + 0.01)) && !(isnan(got) && isnan(want[i])))
            fail_msg("%s on %s, element %u: %g, wanted %g", k->name, arch, i, got, want[i]);
    }
    for (uint32_t i = 0; i < n; i++)
        free(b[i]);
    free(want);
    host_loader_elf.unload(l.code);
    context_free(cx);
}

static void kernels(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < n_case_kernels; i++) {
        check_kernel(i, "x86-64-v2");
        check_kernel(i, "native");
    }
}

static void rejects_unknown_level(void **state)
{
    (void)state;
    Context *cx = context_new();
    Kernel *k = case_op(cx, "k", OP_ADD, DT_F32, 4, true, 1);
    const void *object;
    size_t len;
    assert_false(emit_host(cx->arena, cx->diags, &k, 1, "sparc", &object, &len));
    assert_true(diags_failed(cx->diags));
    assert_int_equal(diags_exit_code(cx->diags), PAWL_EXIT_INVALID);
    context_free(cx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ops_f32), cmocka_unit_test(ops_other_types), cmocka_unit_test(ops_on_older_levels),
        cmocka_unit_test(ops_inline), cmocka_unit_test(casts), cmocka_unit_test(kernels), cmocka_unit_test(rejects_unknown_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
