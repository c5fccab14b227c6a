/* CUDA C of the kernels that kinds build: goldens (golden/NAME.cu; PAWL_UPDATE_GOLDENS=1 writes them), every op at every lane count
 * accepted by NVRTC for sm_80 and sm_90a, no spills, 16-byte accesses. Without NVRTC only the goldens are checked. */
#include "base/file.h"
#include "tests/codegen/emit_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *const arches[] = {"sm_80", "sm_90a"};

static bool have_compiler(void)
{
    const char *why;
    bool ok = nvrtc_available(&why);
    if (!ok)
        print_message("SKIP: %s\n", why);
    return ok;
}

static void must(Context *cx, bool ok)
{
    if (!ok || diags_failed(cx->diags)) {
        diags_print(cx->diags, stderr, false);
        fail();
    }
}

static Kernel *build(Context *cx, uint32_t which)
{
    Kernel *k = case_kernels[which].build(cx, false);
    kernel_collect_scalars(k);
    must(cx, kernel_verify(k, cx->diags));
    return k;
}

static const char *golden_path(Context *cx, const char *name)
{
    const char *root = getenv("SOURCE_DIR");
    return arena_printf(cx->arena, "%s/tests/codegen/golden/%s.cu", root ? root : ".", name);
}

static void goldens(void **state)
{
    (void)state;
    const char *update = getenv("PAWL_UPDATE_GOLDENS");
    uint32_t differ = 0;
    for (uint32_t i = 0; i < n_case_kernels; i++) {
        Context *cx = context_new();
        Kernel *k = build(cx, i);
        char *text = emit_cuda(cx->arena, &k, 1);
        const char *path = golden_path(cx, case_kernels[i].name);
        if (update && strcmp(update, "1") == 0) {
            must(cx, file_write(cx->diags, path, text, strlen(text)));
        } else {
            const char *want = file_exists(path) ? file_read(cx->arena, cx->diags, path, NULL) : "";
            if (strcmp(want, text) != 0) {
                print_message("%s differs; PAWL_UPDATE_GOLDENS=1 rewrites it. Now:\n%s", path, text);
                differ++;
            }
        }
        context_free(cx);
    }
    assert_int_equal(differ, 0);
}

static void compiled(void **state)
{
    (void)state;
    if (!have_compiler())
        skip();
    for (uint32_t i = 0; i < n_case_kernels; i++) {
        for (size_t a = 0; a < sizeof arches / sizeof *arches; a++) {
            Context *cx = context_new();
            Kernel *k = build(cx, i);
            Cubin cubin;
            must(cx, nvrtc_compile(cx->arena, cx->diags, emit_cuda(cx->arena, &k, 1), case_kernels[i].name, arches[a], &cubin));
            assert_true(cubin.len > 0);
            assert_true(cubin.registers > 0 && cubin.registers <= 64);
            assert_int_equal(cubin.spill_bytes, 0);
            assert_int_equal(cubin.shared_bytes, kernel_shared_bytes(k));
            context_free(cx);
        }
    }
}

/* bf16x8 loads and stores are one instruction each, read-only data through the non-coherent path. */
static void wide_accesses(void **state)
{
    (void)state;
    if (!have_compiler())
        skip();
    Context *cx = context_new();
    Kernel *k = build(cx, 0);
    char *ptx;
    must(cx, nvrtc_ptx(cx->arena, cx->diags, emit_cuda(cx->arena, &k, 1), "swiglu", "sm_90a", &ptx));
    const char *first = strstr(ptx, "ld.global.nc.v4.u32"), *second = first ? strstr(first + 1, "ld.global.nc.v4.u32") : NULL;
    assert_non_null(second);
    assert_null(strstr(second + 1, "ld.global"));
    assert_non_null(strstr(ptx, "st.global.v4.u32"));
    assert_non_null(strstr(ptx, "cvt.rn.bf16x2.f32"));
    context_free(cx);
}

/* All ops on a type at one lane count are one translation unit. */
static void every_op(void **state)
{
    (void)state;
    if (!have_compiler())
        skip();
    for (int t = 0; t < DT_COUNT; t++) {
        Context *cx = context_new();
        Vec(Kernel *) k = {0};
        Cubin cubin;
        for (int op = 0; op < OP_COUNT; op++)
            if (case_valid((Op)op, (DType)t))
                vec_push(cx->arena, &k, case_op(cx, arena_printf(cx->arena, "op_%s", op_name((Op)op)), (Op)op, (DType)t, t % 2 ? 4 : 8, false, 128));
        for (int to = 0; to < DT_COUNT; to++)
            for (uint32_t lanes = 1; lanes <= 16; lanes *= 4)
                vec_push(cx->arena, &k, case_cast(cx, arena_printf(cx->arena, "to_%s_%u", dtype_name((DType)to), lanes), (DType)t, (DType)to, lanes, false, 128));
        must(cx, nvrtc_compile(cx->arena, cx->diags, emit_cuda(cx->arena, k.data, k.n), dtype_name((DType)t), "sm_90a", &cubin));
        context_free(cx);
    }
}

static void broken_source(void **state)
{
    (void)state;
    Context *cx = context_new();
    Cubin cubin;
    assert_false(nvrtc_compile(cx->arena, cx->diags, "this is no program", "broken.cu", "sm_90a", &cubin));
    assert_true(diags_failed(cx->diags));
    if (nvrtc_available(NULL))
        assert_non_null(strstr(diags_at(cx->diags, 0)->text, "broken.cu"));
    context_free(cx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goldens), cmocka_unit_test(compiled), cmocka_unit_test(wide_accesses), cmocka_unit_test(every_op),
        cmocka_unit_test(broken_source),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
