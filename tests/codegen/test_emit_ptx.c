/* PTX through LLVM: the kernels that kinds build, every op and conversion, with libdevice where it is found and without, accepted
 * by an assembler for sm_80 and sm_90a where one is found. The text itself depends on LLVM's version and has no golden. */
#include "tests/codegen/emit_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *const arches[] = {"sm_80", "sm_90a"};

static void must(Context *cx, bool ok)
{
    if (!ok || diags_failed(cx->diags)) {
        diags_print(cx->diags, stderr, false);
        fail();
    }
}

/* PTX of the kernels, assembled where that is possible. */
static char *emit(Context *cx, Kernel **k, uint32_t n, const char *arch, Cubin *cubin)
{
    char *ptx = emit_ptx(cx->arena, cx->diags, k, n, arch);
    must(cx, ptx != NULL);
    *cubin = (Cubin){0};
    if (assembler_available(NULL))
        must(cx, ptx_assemble(cx->arena, cx->diags, ptx, arch, cubin));
    return ptx;
}

static Kernel *build(Context *cx, uint32_t which)
{
    Kernel *k = case_kernels[which].build(cx, false);
    kernel_collect_scalars(k);
    return k;
}

static void kernels(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < n_case_kernels; i++) {
        for (size_t a = 0; a < sizeof arches / sizeof *arches; a++) {
            Context *cx = context_new();
            Kernel *k = build(cx, i);
            Cubin cubin;
            char *ptx = emit(cx, &k, 1, arches[a], &cubin);
            assert_non_null(strstr(ptx, arena_printf(cx->arena, ".entry %s", case_kernels[i].name)));
            assert_null(strstr(ptx, ".local"));
            if (assembler_available(NULL)) {
                assert_true(cubin.registers > 0 && cubin.registers <= 64);
                assert_int_equal(cubin.spill_bytes, 0);
                assert_int_equal(cubin.shared_bytes, kernel_shared_bytes(k));
            }
            context_free(cx);
        }
    }
}

static void wide_accesses(void **state)
{
    (void)state;
    Context *cx = context_new();
    Kernel *k = build(cx, 0);
    Cubin cubin;
    char *ptx = emit(cx, &k, 1, "sm_90a", &cubin);
    const char *first = strstr(ptx, "ld.global.nc.v4"), *second = first ? strstr(first + 1, "ld.global.nc.v4") : NULL;
    assert_non_null(second);
    assert_null(strstr(second + 1, "ld.global"));
    assert_non_null(strstr(ptx, "st.global.v4"));
    assert_non_null(strstr(ptx, "cvt.rn.bf16x2.f32"));
    assert_non_null(strstr(ptx, ".maxntid 256"));
    context_free(cx);
}

static void ops_of(DType t, bool floats_only)
{
    Context *cx = context_new();
    Vec(Kernel *) k = {0};
    Cubin cubin;
    for (int op = 0; op < OP_COUNT; op++)
        if (case_valid((Op)op, t))
            vec_push(cx->arena, &k, case_op(cx, arena_printf(cx->arena, "op_%s", op_name((Op)op)), (Op)op, t, t % 2 ? 4 : 8, false, 128));
    for (int to = 0; !floats_only && to < DT_COUNT; to++)
        for (uint32_t lanes = 1; lanes <= 16; lanes *= 4)
            vec_push(cx->arena, &k, case_cast(cx, arena_printf(cx->arena, "to_%s_%u", dtype_name((DType)to), lanes), t, (DType)to, lanes, false, 128));
    emit(cx, k.data, k.n, "sm_90a", &cubin);
    context_free(cx);
}

static bool have_libdevice(void)
{
    Context *cx = context_new();
    Kernel *k = case_op(cx, "op_exp", OP_EXP, DT_F64, 1, false, 128);
    bool ok = emit_ptx(cx->arena, cx->diags, &k, 1, "sm_90a") != NULL;
    context_free(cx);
    return ok;
}

static void every_op(void **state)
{
    (void)state;
    for (int t = 0; t < DT_COUNT; t++)
        if (t != DT_F64 || have_libdevice())
            ops_of((DType)t, false);
}

static void without_libdevice(void **state)
{
    (void)state;
    setenv("PAWL_LIBDEVICE", "/nonexistent/libdevice.bc", 1);
    ops_of(DT_F32, true);
    ops_of(DT_BF16, true);
    Context *cx = context_new();
    Kernel *k = case_op(cx, "op_exp", OP_EXP, DT_F64, 1, false, 128);
    assert_null(emit_ptx(cx->arena, cx->diags, &k, 1, "sm_90a"));
    assert_int_equal(diags_exit_code(cx->diags), PAWL_EXIT_UNSUPPORTED);
    context_free(cx);
    unsetenv("PAWL_LIBDEVICE");
}

static void broken_text(void **state)
{
    (void)state;
    Context *cx = context_new();
    Cubin cubin;
    assert_false(ptx_assemble(cx->arena, cx->diags, ".version 8.0\nnonsense", "sm_90a", &cubin));
    assert_true(diags_failed(cx->diags));
    context_free(cx);
}

int main(void)
{
    const char *why;
    if (!assembler_available(&why))
        print_message("SKIP: PTX is emitted but not assembled: %s\n", why);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels), cmocka_unit_test(wide_accesses), cmocka_unit_test(every_op), cmocka_unit_test(without_libdevice),
        cmocka_unit_test(broken_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
