/* The mma.sync template around small bodies, on the simulator: formats, orientations, ragged sizes, batches, parts, bad rows and columns,
 * ways to cut a tile into warps. And what ptxas makes of the tiles that schedules propose: no spills to speak of. */
#include "tests/codegen/gemm_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void run_cases(const GemmCase *cases, size_t n)
{
    int failed = 0;
    for (size_t i = 0; i < n; i++)
        failed += !gemm_case_check(&cases[i]);
    assert_int_equal(failed, 0);
}
#define RUN(cases) run_cases(cases, sizeof cases / sizeof *cases)
#define TILE(bm_, bn_, bk_, stages_) .bm = bm_, .bn = bn_, .bk = bk_, .stages = stages_, .cluster = 1, .raster = 4, .parts = 1, .width = 32, \
                                     .mma = true, .arch = "sm_80"
#define RUNS(m_, n_, k_, batch_, blocks_) .m = m_, .n = n_, .k = k_, .batch = batch_, .clusters = blocks_
#define SIZE(m_, n_, k_) RUNS(m_, n_, k_, 1, 2)

static void test_formats(void **s)
{
    static const GemmCase cases[] = {
        {"bf16", GEMM_BF16, TILE(64, 64, 64, 3), SIZE(64, 64, 192)},
        {"f16", GEMM_F16, TILE(64, 64, 32, 2), SIZE(64, 64, 96)},
        {"tf32", GEMM_TF32, TILE(64, 64, 32, 2), SIZE(64, 64, 96)},
        {"f16-scaled", GEMM_F16_SCALED, TILE(64, 64, 64, 2), SIZE(64, 64, 128)},
        {"3xf16", GEMM_3XF16, TILE(64, 64, 32, 3), SIZE(64, 64, 192)},
        {"3xtf32", GEMM_3XTF32, TILE(64, 64, 16, 3), SIZE(64, 64, 192)},
    };
    (void)s;
    RUN(cases);
}

static void test_orientations(void **s)
{
    static const GemmCase cases[] = {
        {"a along m", GEMM_BF16, TILE(64, 64, 32, 2), SIZE(72, 64, 80), .a_mn = true},
        {"b along n", GEMM_F16, TILE(64, 128, 64, 2), SIZE(64, 136, 80), .b_mn = true},
        {"both", GEMM_BF16, TILE(128, 128, 32, 3), RUNS(136, 136, 48, 1, 3), .a_mn = true, .b_mn = true},
        {"both, 64 of k", GEMM_F16_SCALED, TILE(64, 64, 64, 3), SIZE(72, 72, 136), .a_mn = true, .b_mn = true},
        {"both, three terms", GEMM_3XF16, TILE(64, 64, 32, 2), SIZE(72, 72, 72), .a_mn = true, .b_mn = true},
    };
    (void)s;
    RUN(cases);
}

/* Rows, columns and k that no tile divides, in fewer and in more tiles than blocks; k shorter than a stage, than the ring. */
static void test_ragged(void **s)
{
    static const GemmCase cases[] = {
        {"one element", GEMM_BF16, TILE(64, 64, 32, 4), SIZE(1, 1, 1)},
        {"bf16 primes", GEMM_BF16, TILE(64, 64, 32, 3), SIZE(131, 67, 101)},
        {"f16 along m and n", GEMM_F16, TILE(64, 64, 64, 2), SIZE(67, 131, 37), .a_mn = true, .b_mn = true},
        {"tf32 primes", GEMM_TF32, TILE(64, 64, 16, 4), SIZE(67, 71, 53), .body = GEMM_BIAS_RELU},
        {"3xf16 primes", GEMM_3XF16, TILE(64, 64, 32, 2), SIZE(67, 71, 131), .body = GEMM_BIAS_RELU},
        {"3xtf32 primes", GEMM_3XTF32, TILE(64, 64, 32, 2), SIZE(71, 67, 61)},
        {"one block for all", GEMM_BF16, TILE(64, 64, 32, 4), RUNS(131, 195, 40, 1, 1)},
        {"more blocks than tiles", GEMM_BF16, TILE(64, 64, 32, 2), RUNS(70, 64, 40, 1, 5)},
        {"m known at launch", GEMM_BF16, TILE(64, 64, 32, 3), SIZE(77, 72, 40), .symbolic = true, .body = GEMM_VECTORS},
    };
    (void)s;
    RUN(cases);
}

static void test_batches(void **s)
{
    static const GemmCase cases[] = {
        {"batches", GEMM_BF16, TILE(64, 64, 32, 3), RUNS(40, 40, 48, 3, 2)},
        {"one a", GEMM_F16, TILE(64, 64, 32, 2), RUNS(40, 72, 40, 3, 2), .a_shared = true, .b_mn = true},
        {"one b", GEMM_3XF16, TILE(64, 64, 32, 2), RUNS(40, 40, 40, 2, 2), .b_shared = true},
    };
    (void)s;
    RUN(cases);
}

#undef TILE
#define TILE(bm_, bn_, bk_, stages_, parts_, width_) .bm = bm_, .bn = bn_, .bk = bk_, .stages = stages_, .cluster = 1, .raster = 4, \
                                                     .parts = parts_, .width = width_, .mma = true, .arch = "sm_80"

/* Every way to cut a tile into warps, and two parts of the columns. */
static void test_warps(void **s)
{
    static const GemmCase cases[] = {
        {"16 x 64", GEMM_BF16, TILE(64, 64, 32, 2, 1, 64), SIZE(67, 70, 40)},
        {"32 x 32", GEMM_BF16, TILE(128, 64, 32, 2, 1, 32), SIZE(131, 70, 40)},
        {"32 x 64", GEMM_BF16, TILE(128, 128, 32, 2, 1, 64), SIZE(131, 130, 40), .body = GEMM_VECTORS},
        {"64 x 64", GEMM_BF16, TILE(128, 256, 32, 2, 1, 32), RUNS(131, 260, 40, 1, 1), .body = GEMM_VECTORS},
        {"32 x 128", GEMM_BF16, TILE(128, 256, 32, 2, 1, 128), SIZE(131, 260, 40), .body = GEMM_VECTORS, .b_mn = true},
        {"16 x 128, three terms", GEMM_3XF16, TILE(64, 128, 32, 2, 1, 128), SIZE(67, 130, 72)},
        {"32 x 64, three terms", GEMM_3XF16, TILE(128, 128, 32, 2, 1, 32), SIZE(131, 130, 72), .body = GEMM_VECTORS},
        {"64 x 64 of four", GEMM_BF16, TILE(128, 128, 32, 3, 1, 32), SIZE(131, 260, 72), .warps = 4, .resident = 2, .body = GEMM_VECTORS},
        {"32 x 64 of four, three terms", GEMM_3XF16, TILE(64, 128, 32, 2, 1, 32), SIZE(131, 130, 72), .warps = 4, .resident = 2},
        {"parts", GEMM_BF16, TILE(64, 64, 32, 2, 2, 32), SIZE(70, 70, 40)},
        {"parts, 64 wide", GEMM_F16, TILE(64, 128, 32, 3, 2, 64), SIZE(70, 131, 40)},
        {"parts along n", GEMM_F16_SCALED, TILE(64, 64, 64, 2, 2, 32), SIZE(70, 40, 40), .b_mn = true},
        {"parts along n that begin anywhere", GEMM_BF16, TILE(64, 128, 32, 2, 2, 32), SIZE(70, 67, 44), .b_mn = true},
        {"wide parts along n", GEMM_F16, TILE(64, 256, 32, 2, 2, 128), SIZE(70, 144, 40), .b_mn = true, .body = GEMM_VECTORS},
        {"parts, three terms", GEMM_3XTF32, TILE(64, 128, 16, 2, 2, 32), SIZE(67, 70, 36)},
    };
    (void)s;
    RUN(cases);
}

/* Copies, fragments, staging: in every layout of a stage. */
static void test_banks(void **s)
{
    static const GemmCase cases[] = {
        {"rows of 64 bytes", GEMM_BF16, TILE(64, 64, 32, 2, 1, 32), SIZE(64, 64, 64), .conflicts = true},
        {"rows of 128 bytes", GEMM_3XF16, TILE(64, 128, 64, 2, 1, 64), SIZE(64, 128, 128), .conflicts = true},
        {"rows of tf32", GEMM_3XTF32, TILE(64, 64, 16, 2, 1, 32), SIZE(64, 64, 32), .conflicts = true},
        {"along m and n", GEMM_F16, TILE(128, 128, 32, 2, 1, 32), SIZE(128, 128, 64), .a_mn = true, .b_mn = true, .conflicts = true},
        {"wide, along m and n", GEMM_F16, TILE(64, 256, 64, 2, 1, 128), SIZE(64, 256, 64), .a_mn = true, .b_mn = true, .conflicts = true},
    };
    (void)s;
    RUN(cases);
}

static void test_bad(void **s)
{
    static const GemmCase cases[] = {
        {"bad rows", GEMM_3XF16, TILE(64, 64, 32, 2, 1, 32), SIZE(70, 70, 72), .bad = GEMM_BAD_ROWS},
        {"bad columns", GEMM_3XF16, TILE(64, 64, 32, 2, 1, 32), SIZE(70, 70, 72), .bad = GEMM_BAD_COLUMNS, .b_mn = true},
        {"bad rows, frozen b", GEMM_3XF16, TILE(64, 64, 32, 2, 1, 64), SIZE(70, 70, 72), .bad = GEMM_BAD_ROWS, .frozen = true},
        {"both, f16-scaled, parts", GEMM_F16_SCALED, TILE(64, 64, 32, 2, 2, 32), SIZE(70, 40, 40), .bad = GEMM_BAD_BOTH, .body = GEMM_BIAS_RELU},
        {"both, 3xtf32, batches", GEMM_3XTF32, TILE(64, 64, 16, 2, 1, 32), RUNS(40, 40, 36, 2, 2), .bad = GEMM_BAD_BOTH},
        {"bad rows, 3xtf32, frozen b", GEMM_3XTF32, TILE(64, 64, 16, 2, 1, 32), SIZE(40, 40, 36), .bad = GEMM_BAD_ROWS, .frozen = true},
    };
    (void)s;
    RUN(cases);
}

/* What ptxas makes of the largest tiles. A few registers that are needed once a tile may go to memory. */
enum { MAX_SPILL = 16 };

static void test_compiles(void **s)
{
    static const GemmCase cases[] = {
        {"sm_80", GEMM_BF16, TILE(128, 256, 32, 4, 1, 32), SIZE(4096, 4096, 4096)},
        {"sm_80", GEMM_BF16, TILE(128, 256, 64, 3, 1, 32), SIZE(4096, 4096, 4096), .b_mn = true, .a_mn = true},
        {"sm_80", GEMM_BF16, TILE(128, 256, 32, 3, 2, 32), SIZE(4096, 4096, 4096)},
        {"sm_80", GEMM_BF16, TILE(128, 128, 64, 4, 1, 32), SIZE(4096, 4096, 4096)},
        {"sm_80", GEMM_BF16, TILE(128, 256, 32, 3, 1, 128), SIZE(4096, 4096, 4096)},
        {"sm_80", GEMM_TF32, TILE(128, 256, 32, 3, 1, 32), SIZE(4096, 4096, 4096)},
        {"sm_80", GEMM_3XF16, TILE(128, 128, 64, 2, 1, 32), SIZE(4096, 4096, 4096)},
        {"sm_80", GEMM_3XF16, TILE(128, 128, 32, 4, 1, 32), SIZE(4096, 4096, 4096)},
        {"sm_80", GEMM_3XF16, TILE(128, 128, 32, 4, 2, 32), SIZE(4096, 4096, 4096)},
        {"sm_80", GEMM_3XF16, TILE(128, 128, 32, 3, 1, 32), SIZE(4096, 4096, 4096), .a_mn = true, .b_mn = true},
        {"sm_80", GEMM_3XTF32, TILE(128, 128, 32, 2, 1, 32), SIZE(4096, 4096, 4096)},
        {"sm_80", GEMM_BF16, TILE(128, 128, 64, 3, 1, 32), SIZE(4096, 4096, 4096), .warps = 4, .resident = 2},
        {"sm_80", GEMM_BF16, TILE(128, 128, 32, 3, 1, 32), SIZE(4096, 4096, 4096), .warps = 4, .resident = 2, .b_mn = true},
        {"sm_80", GEMM_BF16, TILE(64, 128, 32, 3, 1, 32), SIZE(4096, 4096, 4096), .warps = 4, .resident = 3},
        {"sm_80", GEMM_BF16, TILE(64, 64, 32, 3, 1, 32), SIZE(4096, 4096, 4096), .warps = 4, .resident = 4},
        {"sm_80", GEMM_3XF16, TILE(64, 128, 32, 2, 1, 32), SIZE(4096, 4096, 4096), .warps = 4, .resident = 2},
        {"sm_80", GEMM_3XF16, TILE(64, 64, 32, 3, 1, 32), SIZE(4096, 4096, 4096), .warps = 4, .resident = 3},
        {"sm_86", GEMM_BF16, TILE(128, 128, 32, 4, 1, 32), SIZE(4096, 4096, 4096)},
        {"sm_89", GEMM_3XF16, TILE(64, 128, 32, 3, 1, 32), SIZE(4096, 4096, 4096)},
        {"sm_90a", GEMM_BF16, TILE(128, 256, 64, 3, 1, 32), SIZE(4096, 4096, 4096), .waits = true},
    };
    (void)s;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const GemmCase *c = &cases[i];
        Context *cx = context_new();
        Kernel *k = gemm_case_kernel(cx, c);
        Cubin cubin = {0};
        bool ok = kernel_verify(k, cx->diags) && nvrtc_compile(cx->arena, cx->diags, emit_cuda(cx->arena, &k, 1), "product", c->name, &cubin);
        diags_print(cx->diags, stderr, false);
        assert_true(ok);
        if (cubin.spill_bytes > MAX_SPILL)
            fail_msg("%s on %s, %u x %u x %u: %u registers and %u bytes spilled", gemm_format_name(c->format), c->name, c->bm, c->bn, c->bk,
                     cubin.registers, cubin.spill_bytes);
        context_free(cx);
    }
}

static bool legal(KGemm g, const char *says)
{
    const char *why = NULL;
    bool ok = gemm_legal(&g, 4 * gemm_staging_count(&g), &why);
    assert_true(ok || (says && strstr(why, says)));
    return ok;
}

/* Schedules that the template has no code for say why; what is cut into warps covers its tile. */
static void test_legal(void **s)
{
    KGemm good = {.format = GEMM_BF16, .bm = 128, .bn = 128, .bk = 64, .stages = 3, .cluster = 1, .raster = 8, .parts = 1, .width = 32}, g;
    (void)s;
    assert_true(legal(good, NULL));
    g = good, g.bm = 192;
    assert_false(legal(g, "bm is 64 or 128"));
    g = good, g.bn = 96;
    assert_false(legal(g, "bm is 64 or 128"));
    g = good, g.bk = 24;
    assert_false(legal(g, "bk is 64 or 128 bytes"));
    g = good, g.stages = 1;
    assert_false(legal(g, "2 to 16 stages"));
    g = good, g.stages = 7;
    assert_false(legal(g, "more shared memory"));
    g = good, g.cluster = 2;
    assert_false(legal(g, "no clusters"));
    g = good, g.parts = 2, g.width = 128;
    assert_false(legal(g, "pieces of 32, 64 or 128 columns"));
    g = good, g.format = GEMM_3XF16, g.bn = 256;
    assert_false(legal(g, "more registers"));
    g = good, g.warps = 4, g.resident = 3;
    assert_false(legal(g, "more registers"));
    g = good, g.bm = 64, g.resident = 2, g.stages = 5;
    assert_false(legal(g, "more shared memory"));
    g = good, g.warps = 6;
    assert_false(legal(g, "4 or 8 warps"));
    g = good, g.format = GEMM_TF32, g.bk = 32, g.a_mn = true;
    assert_false(legal(g, "2-byte elements"));
    for (uint32_t bm = 64; bm <= 128; bm *= 2)
        for (uint32_t bn = 64; bn <= 256; bn *= 2)
            for (uint32_t width = 32; width <= 128 && width <= bn; width *= 2) {
                uint32_t down, across;
                g = good, g.bm = bm, g.bn = bn, g.width = width;
                gemm_warps(&g, &down, &across);
                assert_true(down && across && bm % (16 * down) == 0 && bn % (width * across) == 0 && bm / down <= 64);
                assert_true(down * across == 4 || down * across == 8);
                assert_int_equal(gemm_threads(&g), 32 * down * across);
            }
}

int main(void)
{
    const char *why;
    if (!nvrtc_available(&why)) {
        printf("SKIP: %s\n", why);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats), cmocka_unit_test(test_orientations), cmocka_unit_test(test_ragged), cmocka_unit_test(test_batches),
        cmocka_unit_test(test_warps), cmocka_unit_test(test_banks), cmocka_unit_test(test_bad), cmocka_unit_test(test_compiles),
        cmocka_unit_test(test_legal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
