/* How fast the simulator is: thread-instructions a second on one core, of a loop of arithmetic and of one with memory in it. Prints;
 * fails only far below what is promised (20 million a second), since machines under test are busy. */
#include "runtime/sim/sim.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define KERNEL(body)                                                                                                      \
    ".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 x)\n{\n.reg .pred %p;\n.reg .b32 %r<4>;\n" \
    ".reg .b64 %rd<4>;\n.reg .f32 %f<5>;\nld.param.u64 %rd1, [x];\nmov.u32 %r1, %tid.x;\nmul.wide.u32 %rd2, %r1, 4;\n"       \
    "add.u64 %rd1, %rd1, %rd2;\nmov.u32 %r2, 0;\nmov.f32 %f1, 0f3F800000;\nmov.f32 %f2, 0f3F000000;\nLOOP:\n" body              \
    "add.u32 %r2, %r2, 1;\nsetp.lt.u32 %p, %r2, 20000;\n@%p bra LOOP;\nst.global.f32 [%rd1], %f1;\nret;\n}\n"

static void run(const char *name, const char *text, double least)
{
    Arena *a = arena_new();
    Diags *d = diags_new(a);
    SimMemory *m = sim_memory_new();
    PtxModule *p = ptx_read(a, d, source_from_text(a, "speed.ptx", text));
    uint64_t x = sim_memory_add(m, &(SimBuffer){.name = "x", .bytes = 512, .initialised = true});
    const void *args[] = {&x};
    SimLaunch l = {.grid = {1, 1, 1}, .block = {128, 1, 1}, .args = args, .n_args = 1};
    SimResult r;
    assert_non_null(p);
    assert_true(sim_run(m, p, &l, a, d, &r));
    assert_true(r.finished && r.n_faults == 0);
    double rate = (double)r.thread_steps / r.seconds / 1e6;
    print_message("%s: %.1f million thread-instructions a second\n", name, rate);
    if (!getenv("PAWL_SANITIZED") || atoi(getenv("PAWL_SANITIZED")) == 0)
        assert_true(rate > least);
    sim_memory_free(m);
    arena_free(a);
}

static void test_arithmetic(void **state)
{
    (void)state;
    run("arithmetic", KERNEL("fma.rn.f32 %f1, %f1, %f2, %f2;\nmul.f32 %f3, %f1, %f2;\nadd.f32 %f1, %f3, %f2;\nxor.b32 %r3, %r2, %r1;\n"), 20);
}

static void test_memory(void **state)
{
    (void)state;
    run("memory", KERNEL("ld.global.f32 %f3, [%rd1];\nfma.rn.f32 %f1, %f3, %f2, %f2;\nst.global.f32 [%rd1], %f1;\n"), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_arithmetic), cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
