/* The hand-picked graphs once more as CUDA C: NVRTC's PTX on the simulator, where NVRTC is found. */
#include "codegen/emit/emit.h"
#include "tests/codegen/graphs.h"
#include "tests/codegen/run_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void by_nvrtc(void **s)
{
    (void)s;
    RunOptions o = {.fuse = true, .sim = true, .nvrtc = true};
    int failed = 0;
    for (size_t i = 0; i < sizeof graphs / sizeof *graphs; i++)
        failed += !run_graph(graphs[i], &o, 17 + i);
    assert_int_equal(failed, 0);
}

int main(void)
{
    const char *why;
    if (!nvrtc_available(&why)) {
        printf("SKIP: %s\n", why);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_nvrtc)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
