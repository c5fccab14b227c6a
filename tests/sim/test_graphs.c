/* Hand-picked graphs through the code generator for a GPU, LLVM's PTX on the simulator, against the evaluator; nothing may be reported. */
#include "tests/codegen/graphs.h"
#include "tests/codegen/run_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void run_all(bool fuse, uint32_t schedule)
{
    RunOptions o = {.fuse = fuse, .sim = true, .schedule = schedule};
    int failed = 0;
    for (size_t i = 0; i < sizeof graphs / sizeof *graphs; i++)
        failed += !run_graph(graphs[i], &o, 17 + i);
    assert_int_equal(failed, 0);
}

static void fused(void **s) { (void)s; run_all(true, 0); }
static void unfused(void **s) { (void)s; run_all(false, 0); }
static void second_schedules(void **s) { (void)s; run_all(true, 1); }
static void third_schedules(void **s) { (void)s; run_all(true, 2); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused), cmocka_unit_test(unfused), cmocka_unit_test(second_schedules), cmocka_unit_test(third_schedules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
