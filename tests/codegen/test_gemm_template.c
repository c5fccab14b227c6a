/* The tensor-core template of sm_90a around small bodies: hand-built kernels (gemm_cases.h), and what the compiler makes of full-sized ones. */
#include "tests/codegen/gemm_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
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
#define SHAPE(bm_, bn_, bk_, stages_, cluster_, parts_, width_) \
    .bm = bm_, .bn = bn_, .bk = bk_, .stages = stages_, .cluster = cluster_, .raster = 4, .parts = parts_, .width = width_
#define TILE(bm_, bn_, bk_, stages_) SHAPE(bm_, bn_, bk_, stages_, 1, 1, 32)
#define SIZE(m_, n_, k_) .m = m_, .n = n_, .k = k_, .batch = 1, .clusters = 1

static void test_formats(void **s)
{
    static const GemmCase cases[] = {
        {"bf16", GEMM_BF16, TILE(128, 64, 64, 3), SIZE(128, 64, 192)},
        {"f16, 64-byte rows", GEMM_F16, TILE(64, 64, 32, 2), SIZE(64, 64, 96)},
        {"tf32", GEMM_TF32, TILE(64, 64, 32, 2), SIZE(64, 64, 96)},
        {"tf32, 64-byte rows", GEMM_TF32, TILE(64, 32, 16, 2), SIZE(64, 32, 48)},
        {"f16-scaled", GEMM_F16_SCALED, TILE(64, 64, 64, 2), SIZE(64, 64, 128)},
        {"3xf16", GEMM_3XF16, TILE(128, 64, 32, 3), SIZE(128, 64, 192)},
        {"3xf16, 128-byte rows", GEMM_3XF16, TILE(64, 128, 64, 2), SIZE(64, 128, 128)},
        {"3xtf32", GEMM_3XTF32, TILE(64, 64, 16, 3), SIZE(64, 64, 128)},
        {"3xtf32, 128-byte rows", GEMM_3XTF32, TILE(64, 32, 32, 2), SIZE(64, 32, 128)},
    };
    (void)s;
    RUN(cases);
}

/* Every number of columns that there is an instruction for; three warpgroups. */
static void test_tiles(void **s)
{
    static const GemmCase cases[] = {
        {"bn 96", GEMM_BF16, TILE(64, 96, 32, 2), SIZE(64, 96, 32)},    {"bn 160", GEMM_BF16, TILE(64, 160, 32, 2), SIZE(64, 160, 32)},
        {"bn 192", GEMM_F16, TILE(64, 192, 32, 2), SIZE(64, 192, 32)},  {"bn 224", GEMM_BF16, TILE(64, 224, 32, 2), SIZE(64, 224, 32)},
        {"bn 256", GEMM_BF16, SHAPE(64, 256, 32, 2, 1, 1, 128), SIZE(64, 256, 32)},
        {"bm 192", GEMM_BF16, TILE(192, 32, 64, 2), SIZE(192, 32, 64)}, {"bm 192, three terms", GEMM_3XF16, TILE(192, 64, 32, 2), SIZE(192, 64, 64)},
    };
    (void)s;
    RUN(cases);
}

/* Sizes that no tile divides, down to one; blocks that take several tiles, so that the ring turns over; what each body masks. */
static void test_ragged(void **s)
{
    static const GemmCase cases[] = {
        {"one", GEMM_BF16, TILE(64, 32, 64, 2), SIZE(1, 1, 1)},
        {"one row of three terms", GEMM_3XF16, TILE(64, 32, 32, 2), SIZE(1, 37, 5)},
        {"primes", GEMM_BF16, TILE(64, 64, 64, 3), SIZE(149, 131, 67)},
        {"primes, three terms", GEMM_3XF16, TILE(64, 64, 32, 3), SIZE(139, 71, 101)},
        {"primes, three terms of tf32", GEMM_3XTF32, TILE(64, 64, 16, 3), SIZE(67, 71, 73)},
        {"vectors", GEMM_F16_SCALED, TILE(128, 64, 64, 2), SIZE(131, 72, 83), .body = GEMM_VECTORS},
        {"bias and relu", GEMM_TF32, TILE(64, 32, 32, 2), SIZE(70, 41, 37), .body = GEMM_BIAS_RELU},
        {"a size known at launch", GEMM_BF16, TILE(64, 32, 64, 2), SIZE(130, 40, 64), .symbolic = true, .waits = true},
        {"wide pieces", GEMM_3XF16, SHAPE(64, 128, 32, 2, 1, 1, 64), SIZE(64, 100, 64)},
    };
    (void)s;
    RUN(cases);
}

static void test_orders(void **s)
{
    static const GemmCase cases[] = {
        {"A along m", GEMM_BF16, TILE(128, 64, 64, 2), SIZE(130, 70, 70), .a_mn = true},
        {"B along n", GEMM_BF16, TILE(64, 128, 64, 2), SIZE(70, 130, 70), .b_mn = true},
        {"both", GEMM_F16, TILE(64, 64, 64, 3), SIZE(65, 66, 67), .a_mn = true, .b_mn = true},
        {"three terms, both", GEMM_3XF16, TILE(128, 64, 64, 2), SIZE(129, 65, 131), .a_mn = true, .b_mn = true},
        {"scaled, B along n", GEMM_F16_SCALED, TILE(64, 128, 64, 2), SIZE(64, 128, 64), .b_mn = true},
    };
    (void)s;
    RUN(cases);
}

static void test_clusters(void **s)
{
    static const GemmCase cases[] = {
        {"two blocks", GEMM_BF16, SHAPE(128, 64, 64, 3, 2, 1, 32), SIZE(300, 130, 130)},
        {"two blocks, two clusters", GEMM_3XF16, SHAPE(64, 64, 32, 3, 2, 1, 32), .m = 330, .n = 130, .k = 70, .batch = 1, .clusters = 2},
        {"two blocks, B along n", GEMM_BF16, SHAPE(64, 128, 64, 2, 2, 1, 32), SIZE(130, 130, 130), .b_mn = true},
        {"two blocks, four groups along n", GEMM_BF16, SHAPE(128, 256, 64, 2, 2, 1, 32), SIZE(300, 300, 130), .b_mn = true},
        {"two blocks, A along m", GEMM_3XF16, SHAPE(128, 64, 64, 2, 2, 1, 32), SIZE(300, 70, 70), .a_mn = true},
        {"four blocks", GEMM_TF32, SHAPE(64, 32, 32, 2, 4, 1, 32), SIZE(200, 40, 65)},
    };
    (void)s;
    RUN(cases);
}

/* Blocks that share the k of a tile: several tiles one after the other, shares that are empty, more blocks than pieces. */
static void test_splits(void **s)
{
#define SPLIT(splits_, bm_, bn_, bk_, stages_, parts_, width_) SHAPE(bm_, bn_, bk_, stages_, 1, parts_, width_), .splits = splits_
    static const GemmCase cases[] = {
        {"two shares", GEMM_BF16, SPLIT(2, 64, 64, 64, 3, 1, 32), SIZE(64, 64, 512)},
        {"two shares, two groups", GEMM_BF16, SPLIT(2, 128, 64, 64, 3, 1, 32), SIZE(300, 130, 450)},
        {"four shares, two clusters", GEMM_F16, SPLIT(4, 64, 128, 64, 3, 1, 32), .m = 200, .n = 140, .k = 600, .batch = 1, .clusters = 2},
        {"eight shares", GEMM_BF16, SPLIT(8, 64, 64, 64, 4, 1, 32), SIZE(70, 70, 1030)},
        {"three groups", GEMM_BF16, SPLIT(2, 192, 64, 64, 2, 1, 32), SIZE(200, 70, 300)},
        {"empty shares", GEMM_BF16, SPLIT(4, 64, 64, 64, 3, 1, 32), SIZE(70, 70, 70)},
        {"wide pieces", GEMM_BF16, SPLIT(4, 64, 256, 64, 4, 1, 64), SIZE(64, 250, 300)},
        {"three terms", GEMM_3XF16, SPLIT(2, 128, 64, 32, 3, 1, 32), SIZE(139, 71, 301)},
        {"three terms, four shares", GEMM_3XF16, SPLIT(4, 64, 128, 64, 3, 1, 32), SIZE(70, 130, 333)},
        {"three terms of tf32", GEMM_3XTF32, SPLIT(2, 64, 64, 16, 3, 1, 32), SIZE(67, 71, 173)},
        {"both along m and n", GEMM_F16, SPLIT(2, 64, 64, 64, 3, 1, 32), SIZE(65, 66, 267), .a_mn = true, .b_mn = true},
        {"two parts", GEMM_BF16, SPLIT(2, 64, 128, 64, 3, 2, 32), SIZE(70, 72, 300)},
        {"batches", GEMM_BF16, SPLIT(2, 64, 32, 64, 3, 1, 32), .m = 65, .n = 33, .k = 266, .batch = 3, .clusters = 2},
        {"bad rows and columns", GEMM_3XF16, SPLIT(2, 64, 64, 32, 3, 1, 32), SIZE(70, 66, 270), .bad = GEMM_BAD_BOTH},
        {"bad rows against pieces", GEMM_3XF16, SPLIT(4, 64, 64, 32, 3, 1, 32), SIZE(70, 66, 270), .bad = GEMM_BAD_ROWS, .frozen = true},
        {"boxes", GEMM_BF16, SPLIT(4, 64, 128, 64, 3, 1, 32), SIZE(200, 136, 600), .body = GEMM_BOXES},
        {"a size known at launch", GEMM_BF16, SPLIT(2, 64, 64, 64, 3, 1, 32), SIZE(130, 72, 264), .symbolic = true, .waits = true, .body = GEMM_VECTORS},
    };
    (void)s;
    RUN(cases);
}

static void test_parts(void **s)
{
    static const GemmCase cases[] = {
        {"two parts", GEMM_BF16, SHAPE(64, 128, 64, 2, 1, 2, 32), SIZE(70, 72, 100)},
        {"two parts, wide", GEMM_BF16, SHAPE(64, 256, 64, 2, 1, 2, 64), SIZE(64, 136, 64)},
        {"two parts, three terms", GEMM_3XF16, SHAPE(64, 128, 32, 2, 1, 2, 64), SIZE(66, 64, 64), .bad = GEMM_BAD_BOTH},
        {"two parts, two blocks", GEMM_F16_SCALED, SHAPE(64, 64, 64, 2, 2, 2, 32), SIZE(130, 40, 64)},
        {"two parts, B along n", GEMM_BF16, SHAPE(64, 128, 64, 2, 1, 2, 32), SIZE(64, 64, 64), .b_mn = true},
    };
    (void)s;
    RUN(cases);
}

static void test_batches(void **s)
{
#define BATCH(m_, n_, k_, batch_) .m = m_, .n = n_, .k = k_, .batch = batch_, .clusters = 2
    static const GemmCase cases[] = {
        {"batches", GEMM_BF16, TILE(64, 32, 64, 2), BATCH(65, 33, 66, 5)},
        {"batches, one B", GEMM_3XF16, TILE(64, 32, 32, 2), BATCH(64, 40, 64, 3), .b_shared = true},
        {"batches, one A", GEMM_F16_SCALED, TILE(64, 32, 64, 2), BATCH(40, 32, 40, 3), .a_shared = true, .bad = GEMM_BAD_BOTH},
        {"batches, along m and n", GEMM_F16, TILE(64, 64, 64, 2), BATCH(64, 64, 64, 2), .a_mn = true, .b_mn = true},
        {"batches, two blocks", GEMM_TF32, SHAPE(64, 32, 32, 2, 2, 1, 32), BATCH(70, 32, 32, 2)},
    };
    (void)s;
    RUN(cases);
}

/* Infinities, NaN, and rows whose elements lie too far apart for their pieces: as fp32's FMA has them. */
static void test_bad_lines(void **s)
{
    static const GemmCase cases[] = {
        {"bad rows", GEMM_3XF16, TILE(64, 64, 32, 2), SIZE(70, 66, 70), .bad = GEMM_BAD_ROWS},
        {"bad columns", GEMM_3XF16, TILE(64, 64, 32, 2), SIZE(70, 66, 70), .bad = GEMM_BAD_COLUMNS},
        {"bad rows and columns, tf32", GEMM_3XTF32, TILE(64, 32, 16, 2), SIZE(70, 36, 70), .bad = GEMM_BAD_BOTH},
        {"bad rows and columns, one term", GEMM_F16_SCALED, TILE(64, 64, 64, 2), SIZE(70, 66, 70), .bad = GEMM_BAD_BOTH},
        {"bad rows against pieces", GEMM_3XF16, TILE(64, 64, 32, 2), SIZE(70, 66, 70), .bad = GEMM_BAD_ROWS, .frozen = true},
        {"bad rows against pieces of tf32", GEMM_3XTF32, TILE(64, 32, 16, 2), SIZE(64, 32, 64), .bad = GEMM_BAD_ROWS, .frozen = true},
        {"bad rows against pieces, one term", GEMM_F16_SCALED, TILE(64, 32, 64, 2), SIZE(64, 32, 64), .bad = GEMM_BAD_ROWS, .frozen = true},
        {"bad rows against pieces along n", GEMM_3XF16, TILE(64, 64, 64, 2), SIZE(64, 64, 70), .bad = GEMM_BAD_ROWS, .frozen = true, .b_mn = true},
    };
    (void)s;
    RUN(cases);
}

static void test_pingpong(void **s)
{
    static const GemmCase cases[] = {
        {"in turn", GEMM_BF16, TILE(128, 64, 64, 3), .m = 256, .n = 200, .k = 320, .batch = 1, .clusters = 2, .pingpong = true},
        {"in turn, odd tiles", GEMM_BF16, TILE(64, 64, 32, 4), SIZE(190, 70, 96), .pingpong = true},
        {"in turn, one tile", GEMM_F16, TILE(64, 32, 64, 3), SIZE(64, 32, 64), .pingpong = true},
        {"in turn, long sums", GEMM_F16_SCALED, TILE(64, 64, 64, 2), SIZE(130, 100, 330), .pingpong = true, .bad = GEMM_BAD_BOTH},
        {"in turn, along m and n", GEMM_F16_SCALED, TILE(128, 64, 64, 2), SIZE(200, 64, 70), .pingpong = true, .a_mn = true, .b_mn = true},
        {"in turn, two blocks", GEMM_BF16, SHAPE(128, 64, 64, 3, 2, 1, 32), SIZE(700, 64, 320), .pingpong = true},
        {"in turn, three terms", GEMM_3XF16, TILE(64, 64, 64, 2), SIZE(190, 70, 200), .pingpong = true, .bad = GEMM_BAD_BOTH},
        {"in turn, two parts", GEMM_BF16, SHAPE(128, 128, 64, 2, 1, 2, 32), SIZE(256, 64, 64), .pingpong = true},
    };
    (void)s;
    RUN(cases);
}

/* Results from registers through boxes that the copy engine stores: every layout of a piece; extents that end within boxes; one warpgroup,
 * two in turn, three; threads that do not meet in banks. */
static void test_boxes(void **s)
{
#define BOXES .body = GEMM_BOXES
    static const GemmCase cases[] = {
        {"boxes of f32", GEMM_BF16, TILE(128, 64, 64, 3), SIZE(128, 64, 192), BOXES},
        {"boxes of bf16", GEMM_BF16, TILE(64, 64, 64, 2), SIZE(64, 64, 64), BOXES, .bf16 = true},
        {"boxes of bf16, wide pieces", GEMM_BF16, SHAPE(128, 128, 64, 2, 1, 1, 64), SIZE(128, 128, 64), BOXES, .bf16 = true, .conflicts = true},
        {"boxes of bf16, two a piece", GEMM_F16, SHAPE(64, 128, 64, 2, 1, 1, 128), SIZE(80, 136, 64), BOXES, .bf16 = true},
        {"boxes of f32, four a piece", GEMM_TF32, SHAPE(64, 128, 32, 2, 1, 1, 128), SIZE(67, 100, 70), BOXES},
        {"boxes, ragged", GEMM_BF16, SHAPE(64, 128, 64, 3, 1, 1, 64), SIZE(149, 132, 67), BOXES},
        {"boxes of bf16, ragged", GEMM_BF16, TILE(192, 96, 64, 2), SIZE(211, 104, 64), BOXES, .bf16 = true},
        {"boxes, a size known at launch", GEMM_BF16, TILE(64, 32, 64, 2), SIZE(130, 40, 64), BOXES, .symbolic = true, .waits = true},
        {"boxes, two parts", GEMM_BF16, SHAPE(64, 128, 64, 2, 1, 2, 32), SIZE(70, 72, 100), BOXES},
        {"boxes of bf16, two parts", GEMM_BF16, SHAPE(64, 256, 64, 2, 1, 2, 64), SIZE(64, 136, 64), BOXES, .bf16 = true},
        {"boxes, batches", GEMM_BF16, TILE(64, 32, 64, 2), .m = 65, .n = 36, .k = 66, .batch = 5, .clusters = 2, BOXES},
        {"boxes in turn", GEMM_BF16, SHAPE(128, 64, 64, 3, 1, 1, 64), SIZE(300, 200, 130), BOXES, .pingpong = true, .bf16 = true},
        {"boxes in turn, two blocks", GEMM_BF16, SHAPE(128, 64, 64, 3, 2, 1, 32), SIZE(700, 64, 320), BOXES, .pingpong = true},
    };
    (void)s;
    RUN(cases);
}

/* The checker knows what such stores need: a fence before the copy engine reads; that threads meet before and after; that a box is free. */
static void test_boxes_unguarded(void **s)
{
#define UNGUARDED TILE(64, 64, 64, 2), SIZE(150, 128, 64), BOXES, .bf16 = true
    static const GemmCase cases[] = {
        {"boxes without a fence", GEMM_BF16, UNGUARDED, .without = "fence.proxy.async.shared::cta;", .fault = FAULT_PROXY},
        {"boxes without a wait", GEMM_BF16, UNGUARDED, .without = "cp.async.bulk.wait_group.read 1;", .fault = FAULT_ASYNC_UNWAITED},
        {"boxes without a wait at the end", GEMM_BF16, UNGUARDED, .without = "cp.async.bulk.wait_group.read 0;", .fault = FAULT_ASYNC_UNWAITED},
        {"boxes without groups", GEMM_BF16, UNGUARDED, .without = "cp.async.bulk.commit_group;", .fault = FAULT_ASYNC_UNWAITED},
        {"boxes of threads that do not meet", GEMM_BF16, UNGUARDED, .without = "bar.warp.sync \t-1;", .fault = FAULT_RACE},
    };
    (void)s;
    RUN(cases);
}

/* Full-sized tiles keep their sums in registers, and compile as fast as other kernels do. */
static void test_compiled(void **s)
{
#define LARGE .m = 4096, .n = 4096, .k = 4096, .batch = 1, .clusters = 132
    static const GemmCase cases[] = {
        {"bf16 128 x 256", GEMM_BF16, TILE(128, 256, 64, 4), LARGE},
        {"bf16 in turn", GEMM_BF16, SHAPE(128, 128, 64, 5, 1, 1, 64), LARGE, .pingpong = true},
        {"bf16 128 x 256, boxes", GEMM_BF16, SHAPE(128, 256, 64, 4, 1, 1, 64), LARGE, .body = GEMM_BOXES, .bf16 = true},
        {"bf16 128 x 192 in turn, boxes", GEMM_BF16, TILE(128, 192, 64, 4), LARGE, .pingpong = true, .body = GEMM_BOXES, .bf16 = true},
        {"bf16 192 x 192, boxes", GEMM_BF16, TILE(192, 192, 64, 3), LARGE, .body = GEMM_BOXES, .bf16 = true},
        {"f16-scaled in turn", GEMM_F16_SCALED, SHAPE(128, 128, 64, 5, 1, 1, 64), LARGE, .pingpong = true},
        {"3xf16 128 x 128", GEMM_3XF16, TILE(128, 128, 32, 6), LARGE},
        {"3xf16 128 x 128, 128-byte rows", GEMM_3XF16, TILE(128, 128, 64, 3), LARGE},
        {"3xf16 in turn", GEMM_3XF16, TILE(64, 128, 64, 4), LARGE, .pingpong = true},
        {"3xf16 64 x 128", GEMM_3XF16, TILE(64, 128, 32, 8), LARGE},
        {"3xf16 128 x 64", GEMM_3XF16, TILE(128, 64, 32, 8), LARGE},
        {"3xtf32 128 x 128", GEMM_3XTF32, TILE(128, 128, 16, 6), LARGE},
#define LONG .m = 256, .n = 256, .k = 131072, .batch = 1, .clusters = 4
        {"bf16 128 x 128 by eight", GEMM_BF16, SPLIT(8, 128, 128, 64, 6, 1, 32), LONG},
        {"bf16 128 x 256 by two", GEMM_BF16, SPLIT(2, 128, 256, 64, 4, 1, 64), LONG},
        {"bf16 128 x 128 by four, boxes", GEMM_BF16, SPLIT(4, 128, 128, 64, 6, 1, 32), LONG, .body = GEMM_BOXES, .bf16 = true},
        {"3xf16 128 x 128 by four", GEMM_3XF16, SPLIT(4, 128, 128, 64, 3, 1, 32), LONG},
    };
    (void)s;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Context *cx = context_new();
        Kernel *k = gemm_case_kernel(cx, &cases[i]);
        Cubin c = {0};
        bool ok = nvrtc_compile(cx->arena, cx->diags, emit_cuda(cx->arena, &k, 1), "product", "sm_90a", &c);
        if (!ok)
            diags_print(cx->diags, stderr, false);
        assert_true(ok);
        printf("%s: %u registers, %u bytes spilled, %.0f ms\n", cases[i].name, c.registers, c.spill_bytes, c.seconds * 1e3);
        assert_int_equal(c.spill_bytes, 0);
        assert_null(strstr(c.log, "C7510"));       /* ptxas: wgmma made to wait for each other */
        context_free(cx);
    }
}

/* What is not such a kernel is refused; LLVM's emitters refuse it in any case. */
static void test_refused(void **s)
{
    static const GemmCase good = {"product", GEMM_3XF16, TILE(128, 64, 32, 3), SIZE(128, 64, 64)};
    Context *cx = context_new();
    Kernel *k = gemm_case_kernel(cx, &good);
    KGemm g = *k->gemm;
    StrBuf text = strbuf_new(cx->arena);
    const void *object;
    size_t len;
    (void)s;
    kernel_print(&text, k);
    assert_non_null(strstr(text.text, "gemm 3xf16 128 x 64 x 64 batch 1, tile 128 x 64 x 32, 3 stages"));
    assert_non_null(strstr(text.text, "map 0: a f16[128, 64] box [128, 32] swizzle 64"));
    assert_true(kernel_verify(k, cx->diags));
    k->gemm = &g;
    g.bn = 256;                                    /* three times 128 registers for sums */
    assert_false(kernel_verify(k, cx->diags));
    g.bn = 64, g.stages = 12;
    assert_false(kernel_verify(k, cx->diags));
    g.stages = 3, g.width = 64;                    /* the staging array is for 32 */
    assert_false(kernel_verify(k, cx->diags));
    g.width = 32, g.map_b_lo = 4;
    assert_false(kernel_verify(k, cx->diags));
    g.map_b_lo = 3, g.exact_a.buffer = UINT32_MAX;
    assert_false(kernel_verify(k, cx->diags));
    g.exact_a.buffer = k->gemm->b.buffer;
    const KGemm was = g;
    g.splits = 2;                                  /* a cluster of another size */
    assert_false(kernel_verify(k, cx->diags));
    const char *why;
    assert_true(gemm_legal(&g, 0, &why));
    g.stages = 2, g.bm = 64, g.bn = 128, g.bk = 16, g.format = GEMM_3XTF32;
    assert_true(gemm_legal(&g, 0, &why));
    g.splits = 3;
    assert_false(gemm_legal(&g, 0, &why));
    g.splits = 2, g.bm = 192, g.bn = 192, g.bk = 32, g.format = GEMM_BF16;      /* 72 KB of sums to a ring of 48 */
    assert_false(gemm_legal(&g, 0, &why));
    g.stages = 3;
    assert_true(gemm_legal(&g, 0, &why));
    g.pingpong = true, g.bm = 128, g.stages = 8;
    assert_false(gemm_legal(&g, 0, &why));
    g.pingpong = false, g.cluster = 2;
    assert_false(gemm_legal(&g, 0, &why));
    g = was;
    assert_true(kernel_verify(k, cx->diags));
    g.bulk = true;                                 /* of sums that have scales */
    assert_false(kernel_verify(k, cx->diags));
    g.bulk = false;
    assert_null(emit_ptx(cx->arena, cx->diags, &k, 1, "sm_90a"));
    assert_false(emit_host(cx->arena, cx->diags, &k, 1, "native", &object, &len));
    context_free(cx);
}

static void test_boxes_refused(void **s)
{
    static const GemmCase good = {"product", GEMM_BF16, TILE(128, 128, 64, 3), SIZE(128, 128, 64), BOXES};
    Context *cx = context_new();
    Kernel *k = gemm_case_kernel(cx, &good);
    KGemm g = *k->gemm;
    StrBuf text = strbuf_new(cx->arena);
    KInst *bulk = NULL, *put = NULL;
    (void)s;
    kernel_print(&text, k);
    assert_non_null(strstr(text.text, "shared boxes: f32[8192] swizzle 128"));
    assert_non_null(strstr(text.text, "bulk_store map 2 at %"));
    assert_non_null(strstr(text.text, "bulk_wait 1"));
    for (uint32_t i = 0; i < k->body.n; i++) {
        bulk = k->body.data[i]->kind == K_BULK_STORE ? k->body.data[i] : bulk;
        put = k->body.data[i]->kind == K_SHARED_STORE ? k->body.data[i] : put;
    }
    assert_true(bulk && put && kernel_verify(k, cx->diags));
#define REFUSED(change, undo) (change, assert_false(kernel_verify(k, cx->diags)), undo, assert_true(kernel_verify(k, cx->diags)))
    Dim from = bulk->bound, at = put->index;
    KShared *boxes = &k->shared.data[bulk->buffer];
    REFUSED(bulk->bound = dim_add_const(cx->dims, from, 4), bulk->bound = from);                  /* no box begins there */
    REFUSED(bulk->bound = dim_add_const(cx->dims, from, 512), bulk->bound = from);                /* that of the last warp lies past the end */
    REFUSED(bulk->n_args = 2, bulk->n_args = 3);                                                  /* the map has three dims */
    REFUSED(boxes->swizzle = 64, boxes->swizzle = 128);                                           /* the map's is another one */
    REFUSED(put->index = dim_add_const(cx->dims, at, 3), put->index = at);                        /* across a piece of 16 bytes */
    k->gemm = &g;
    REFUSED(g.bulk = false, g.bulk = true);                                                       /* there are no sums in registers */
    context_free(cx);
}

int main(void)
{
    const char *why;
    if (!nvrtc_available(&why)) {
        printf("SKIP: %s\n", why);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats), cmocka_unit_test(test_tiles),     cmocka_unit_test(test_ragged),
        cmocka_unit_test(test_orders),  cmocka_unit_test(test_clusters), cmocka_unit_test(test_splits),  cmocka_unit_test(test_parts),
        cmocka_unit_test(test_batches), cmocka_unit_test(test_bad_lines), cmocka_unit_test(test_pingpong),
        cmocka_unit_test(test_boxes),   cmocka_unit_test(test_boxes_unguarded), cmocka_unit_test(test_boxes_refused),
        cmocka_unit_test(test_compiled), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
