/* tests/sim/test_async.c — missing waits: a copy or product that nobody waits for shows when it runs late, a buffer that is filled
 * again before it has been read shows when it runs early; the correct twins pass both ways. And tensor maps that cannot be. */
#include "runtime/sim/sim.h"
#include "runtime/sim/tensor_map.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { WORDS = 2048, THREADS = 128 };

#define HEAD                                                                                                          \
    ".version 8.0\n.target sm_90a\n.address_size 64\n"                                                                \
    ".visible .entry test(.param .u64 in, .param .u64 out)\n{\n"                                                      \
    ".reg .pred p, q, t;\n.reg .b32 r<40>, x, y, tid;\n.reg .b64 src, dst, to, a, b, s;\n"                            \
    ".shared .align 1024 .b8 smem[8192];\n.shared .align 8 .b64 full, empty;\n"                                       \
    "ld.param.u64 src, [in];\nld.param.u64 dst, [out];\nmov.u32 tid, %tid.x;\n"                                       \
    "mul.wide.u32 to, tid, 4;\nadd.u64 to, dst, to;\nsetp.eq.u32 t, tid, 0;\n"
#define INIT "@t mbarrier.init.shared.b64 [full], 1;\n@t mbarrier.init.shared.b64 [empty], 128;\nbar.sync 0;\n"
#define ISSUE(offset)                                                                                                 \
    "@t mbarrier.arrive.expect_tx.shared.b64 _, [full], 512;\n"                                                       \
    "@t cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [smem], [src+" #offset "], 512, [full];\n"
#define WAIT(bar, parity, label) label ":\nmbarrier.try_wait.parity.shared.b64 p, [" #bar "], " #parity ";\n@!p bra " label ";\n"
#define READ "mov.u32 x, smem;\nmad.lo.u32 x, tid, 4, x;\nld.shared.u32 y, [x];\n"
#define WRITE(offset) "st.global.u32 [to+" #offset "], y;\n"
#define END "ret;\n}\n"

typedef struct { bool ran; uint32_t faults[FAULT_COUNT], total; uint32_t out[WORDS]; } Outcome;

static void run(const char *text, SimAsync async, bool check, Outcome *o)
{
    Arena *a = arena_new();
    Diags *d = diags_new(a);
    SimMemory *m = sim_memory_new();
    static uint32_t in[WORDS];
    for (uint32_t i = 0; i < WORDS; i++)
        in[i] = i < WORDS / 2 ? 0x3c003c00 : 0x40004000;               /* 1 and 2 as halves */
    memset(o, 0, sizeof *o);
    uint64_t from = sim_memory_add(m, &(SimBuffer){.name = "in", .data = in, .bytes = sizeof in, .initialised = true});
    uint64_t to = sim_memory_add(m, &(SimBuffer){.name = "out", .data = o->out, .bytes = sizeof o->out, .initialised = true});
    PtxModule *module = ptx_read(a, d, source_from_text(a, "test.ptx", text));
    if (module) {
        SimLaunch launch = {.grid = {1, 1, 1}, .block = {THREADS, 1, 1}, .args = (const void *const[]){&from, &to}, .n_args = 2, .async = async,
                            .no_check = !check, .max_steps = 1 << 20};
        SimResult r = {0};
        o->ran = sim_run(m, module, &launch, a, d, &r);
        for (uint32_t i = 0; i < r.n_faults; i++)
            o->faults[r.faults[i].kind]++;
        o->total = r.n_faults;
    }
    if (!o->ran)
        diags_print(d, stderr, false);
    assert_true(o->ran);
    sim_memory_free(m);
    arena_free(a);
}

/* Correct: both ways, without a report, with these results at the two words of each thread. */
static void expect_good(const char *text, uint32_t first, uint32_t second)
{
    static Outcome o;
    for (int early = 0; early < 2; early++) {
        run(text, early ? SIM_EARLY : SIM_LATE, true, &o);
        assert_int_equal(o.total, 0);
        for (uint32_t i = 0; i < THREADS; i++) {
            assert_int_equal(o.out[i], first);
            assert_int_equal(o.out[128 + i], second);
        }
    }
}

static void test_copy_unwaited(void **state)
{
    static Outcome o;
    (void)state;
    expect_good(HEAD INIT ISSUE(0) WAIT(full, 0, "W") READ WRITE(0) WRITE(512) END, 0x3c003c00, 0x3c003c00);
    run(HEAD INIT ISSUE(0) READ WRITE(0) END, SIM_LATE, false, &o);
    assert_true(o.out[5] != 0x3c003c00);                               /* too early for the data */
    run(HEAD INIT ISSUE(0) READ WRITE(0) END, SIM_LATE, true, &o);
    assert_true(o.faults[FAULT_UNINITIALISED] && o.faults[FAULT_ASYNC_UNWAITED]);
    run(HEAD INIT ISSUE(0) READ WRITE(0) END, SIM_EARLY, false, &o);
    assert_int_equal(o.out[5], 0x3c003c00);                            /* by luck */
}

/* Two tiles through one buffer: the second may come when all have read the first. */
static void test_buffer_reused(void **state)
{
    static Outcome o;
    (void)state;
    static const char wrong[] = HEAD INIT ISSUE(0) WAIT(full, 0, "A") "bar.sync 0;\n" ISSUE(4096) READ WRITE(0) WAIT(full, 1, "C") READ WRITE(512) END;
    /* correct: all read, arrive at empty, thread 0 waits for that before it issues again */
    expect_good(HEAD INIT ISSUE(0) WAIT(full, 0, "A") READ WRITE(0) "mbarrier.arrive.shared.b64 _, [empty];\n"
                "@!t bra LATER;\n" WAIT(empty, 0, "B") ISSUE(4096) "LATER:\n" WAIT(full, 1, "C") READ WRITE(512) END, 0x3c003c00, 0x40004000);
    run(wrong, SIM_EARLY, false, &o);
    assert_int_equal(o.out[40], 0x40004000);                           /* the second tile came before it had read the first */
    run(wrong, SIM_EARLY, true, &o);
    assert_true(o.faults[FAULT_RACE]);
    run(wrong, SIM_LATE, false, &o);
    assert_int_equal(o.out[40], 0x3c003c00);                           /* by luck */
    run(wrong, SIM_LATE, true, &o);
    assert_true(o.faults[FAULT_ASYNC_UNWAITED]);                       /* but what it reads is being overwritten */
}

static void test_store_unwaited(void **state)
{
    static Outcome o;
    (void)state;
#define STORE                                                                                                         \
    HEAD "mov.u32 x, smem;\nmad.lo.u32 x, tid, 4, x;\nst.shared.u32 [x], 7;\nfence.proxy.async;\nbar.sync 0;\n@!t bra E;\n" \
    "cp.async.bulk.global.shared::cta.bulk_group [dst], [smem], 512;\ncp.async.bulk.global.shared::cta.bulk_group [dst+512], [smem], 512;\n" \
    "cp.async.bulk.commit_group;\n"
    expect_good(STORE "cp.async.bulk.wait_group.read 0;\ncp.async.bulk.wait_group 0;\nE:\n" END, 7, 7);
    run(STORE "st.shared.u32 [smem], 9;\nE:\n" END, SIM_LATE, true, &o);
    assert_true(o.faults[FAULT_ASYNC_UNWAITED]);
    run(STORE "st.shared.u32 [smem], 9;\ncp.async.bulk.wait_group 0;\nE:\n" END, SIM_LATE, false, &o);
    assert_int_equal(o.out[0], 9);                                     /* overwritten while it was being copied */
}

/* Stores by all threads, then by the copy engine: who fences, and when. */
static void test_store_fenced(void **state)
{
    static Outcome o;
    (void)state;
#define FILL HEAD "mov.u32 x, smem;\nmad.lo.u32 x, tid, 4, x;\n"
#define PUT(value) "st.shared.u32 [x], " #value ";\n"
#define FENCE "fence.proxy.async.shared::cta;\n"
#define SEND(offset) "@t cp.async.bulk.global.shared::cta.bulk_group [dst+" #offset "], [smem], 512;\n@t cp.async.bulk.commit_group;\n"
#define READ_OUT "@t cp.async.bulk.wait_group.read 0;\n"
#define MEET "bar.sync 0;\n"
    expect_good(FILL PUT(7) FENCE MEET SEND(0) READ_OUT MEET PUT(8) FENCE MEET SEND(512) READ_OUT END, 7, 8);
    expect_good(FILL PUT(7) MEET FENCE SEND(0) READ_OUT MEET PUT(8) MEET FENCE SEND(512) READ_OUT END, 7, 8);         /* by who sends */
    for (int early = 0; early < 2; early++) {
        SimAsync when = early ? SIM_EARLY : SIM_LATE;
        run(FILL PUT(7) MEET SEND(0) READ_OUT END, when, true, &o);
        assert_true(o.faults[FAULT_PROXY]);
        run(FILL FENCE PUT(7) MEET SEND(0) READ_OUT END, when, true, &o);                      /* too early */
        assert_true(o.faults[FAULT_PROXY]);
        run(FILL PUT(7) "fence.proxy.async.global;\n" MEET SEND(0) READ_OUT END, when, true, &o);
        assert_true(o.faults[FAULT_PROXY]);
        run(FILL PUT(7) FENCE MEET SEND(0) READ_OUT MEET PUT(8) MEET SEND(512) READ_OUT END, when, true, &o);       /* the second time not */
        assert_true(o.faults[FAULT_PROXY]);
        run(FILL PUT(7) FENCE SEND(0) READ_OUT END, when, true, &o);                           /* fenced, but others may not be there yet */
        assert_true(o.faults[FAULT_RACE]);
        run(FILL PUT(7) FENCE MEET SEND(0) MEET PUT(8) READ_OUT END, when, true, &o);          /* while it is being read */
        assert_true(o.faults[FAULT_ASYNC_UNWAITED]);
        run(FILL PUT(7) FENCE MEET SEND(0) "@t " PUT(8) READ_OUT END, when, true, &o);         /* by the sender itself */
        assert_true(o.faults[FAULT_ASYNC_UNWAITED]);
    }
}

#define PRODUCT                                                                                                       \
    HEAD "mov.u32 x, smem;\nmad.lo.u32 x, tid, 16, x;\nmul.wide.u32 s, tid, 16;\nadd.u64 s, src, s;\n"                 \
    "ld.global.v4.u32 {r0, r1, r2, r3}, [s];\nst.shared.v4.u32 [x], {r0, r1, r2, r3};\n"                              \
    "ld.global.v4.u32 {r0, r1, r2, r3}, [s+2048];\nst.shared.v4.u32 [x+2048], {r0, r1, r2, r3};\nfence.proxy.async;\nbar.sync 0;\n" \
    "mov.u32 x, smem;\nshr.u32 x, x, 4;\ncvt.u64.u32 a, x;\nor.b64 a, a, 0x1000080000;\nadd.u64 b, a, 128;\n"          \
    "mov.b32 r0, 0;\nmov.b32 r1, 0;\nmov.b32 r2, 0;\nmov.b32 r3, 0;\nwgmma.fence.sync.aligned;\n"                     \
    "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {r0, r1, r2, r3}, a, b, 1, 1, 1, 0, 0;\nwgmma.commit_group.sync.aligned;\n"
#define RESULT "mov.b32 y, r0;\n" WRITE(0) "mov.b32 y, r3;\n" WRITE(512)

/* Operands of the tensor cores come from shared memory as copies do. */
static void test_product_fenced(void **state)
{
    static Outcome o;
    (void)state;
    char *text = strdup(PRODUCT "wgmma.wait_group.sync.aligned 0;\n" RESULT END), *fence = strstr(text, "fence.proxy.async;");
    memset(fence, ' ', strlen("fence.proxy.async;"));
    run(text, SIM_EARLY, true, &o);
    assert_true(o.faults[FAULT_PROXY]);
    free(text);
}

static void test_product_unwaited(void **state)
{
    static Outcome o;
    (void)state;
    expect_good(PRODUCT "wgmma.wait_group.sync.aligned 0;\n" RESULT END, 0x41800000, 0x41800000);      /* 16 */
    run(PRODUCT RESULT END, SIM_LATE, true, &o);
    assert_int_equal(o.out[3], 0);
    assert_true(o.faults[FAULT_ASYNC_UNWAITED]);
    run(PRODUCT "wgmma.wait_group.sync.aligned 1;\n" RESULT "wgmma.wait_group.sync.aligned 0;\n" END, SIM_LATE, false, &o);
    assert_int_equal(o.out[3], 0);                                     /* waited for all but the one that matters */
    run(PRODUCT "wgmma.wait_group.sync.aligned 1;\n" RESULT "wgmma.wait_group.sync.aligned 0;\n" END, SIM_EARLY, false, &o);
    assert_int_equal(o.out[3], 0x41800000);
}

static void test_never_complete(void **state)
{
    static Outcome o;
    (void)state;
    run(HEAD INIT "@t mbarrier.arrive.expect_tx.shared.b64 _, [full], 528;\n"
        "@t cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [smem], [src], 512, [full];\n" WAIT(full, 0, "W") READ WRITE(0) END,
        SIM_LATE, true, &o);
    assert_true(o.faults[FAULT_DEADLOCK]);                             /* 16 bytes too many are expected */
    run(HEAD "mbarrier.arrive.shared.b64 _, [full];\n" END, SIM_LATE, true, &o);
    assert_true(o.total > 0);                                          /* of a barrier that is none */
    run(HEAD INIT "@t cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [smem], [src+4], 512, [full];\n" END, SIM_EARLY, true, &o);
    assert_true(o.faults[FAULT_MISALIGNED]);
}

static void test_tensor_maps(void **state)
{
    unsigned char bytes[TENSOR_MAP_BYTES];
    SimTensorMap m = {.type = PT_BF16, .rank = 2, .base = 4096, .dims = {64, 128}, .strides = {128}, .box = {64, 128}, .steps = {1, 1}, .swizzle = 128}, got, bad;
    (void)state;
    assert_null(sim_tensor_map_encode(&m, bytes));
    assert_true(sim_tensor_map_decode(bytes, &got));
    assert_int_equal(got.dims[1], 128);
    assert_int_equal(got.swizzle, 128);
    memset(bytes, 0, sizeof bytes);
    assert_false(sim_tensor_map_decode(bytes, &got));
#define WRONG(...) (bad = m, __VA_ARGS__, assert_non_null(sim_tensor_map_encode(&bad, bytes)))
    WRONG(bad.rank = 6);
    WRONG(bad.base = 8);
    WRONG(bad.box[0] = 128);                                           /* longer than the swizzle */
    WRONG(bad.box[0] = 4);                                             /* 8 bytes */
    WRONG(bad.box[1] = 257);
    WRONG(bad.strides[0] = 120);
    WRONG(bad.dims[1] = 0);
    WRONG(bad.steps[1] = 9);
    WRONG(bad.type = PT_PRED);
    WRONG((bad.type = PT_U16, bad.fill_nan = true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy_unwaited), cmocka_unit_test(test_buffer_reused), cmocka_unit_test(test_store_unwaited),
        cmocka_unit_test(test_store_fenced), cmocka_unit_test(test_product_fenced), cmocka_unit_test(test_product_unwaited), cmocka_unit_test(test_never_complete), cmocka_unit_test(test_tensor_maps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
