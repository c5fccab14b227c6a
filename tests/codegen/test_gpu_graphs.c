/* The graphs of graphs.h through the GPU's kernel kinds, in many schedules, their kernel IR interpreted thread by thread
 * (simulate.h) and held against the evaluator: no GPU needed. Long rows walk in loops, kept in shared memory. */
#include "tests/codegen/graphs.h"
#include "tests/codegen/simulate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *const long_rows[] = {
    "graph long_softmax { input %x : f32[2, 9216]\n %y = softmax(%x)\n return %y }",
    "graph long_norm { input %x : bf16[3, 16384]\n input %w : bf16[16384]\n %y = rms_norm(%x, %w)\n return %y }",
    "graph long_residual { input %x : f32[2, 12289]\n input %r : f32[2, 12289]\n %h = add(%x, %r)\n %y = layer_norm(%h)\n return %h, %y }",
};

/* Weights are inputs to the interpreter. */
static void without_params(char *to, size_t size, const char *text)
{
    size_t n = 0;
    while (*text && n + 8 < size) {
        if (!strncmp(text, "param ", 6)) {
            memcpy(to + n, "input ", 6);
            n += 6, text += 6;
        } else {
            to[n++] = *text++;
        }
    }
    to[n] = 0;
}

static int failures(const char *const *list, size_t n, uint32_t schedule, const char *arch)
{
    int failed = 0;
    for (size_t i = 0; i < n; i++) {
        char text[2048];
        without_params(text, sizeof text, list[i]);
        failed += !simulate_graph(text, &(SimulateOptions){.arch = arch, .schedule = schedule}, 31 + i);
    }
    return failed;
}

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void every_graph(void **s)
{
    (void)s;
    int failed = 0;
    for (uint32_t schedule = 0; schedule < 6; schedule++)
        failed += failures(graphs, COUNT(graphs), schedule, schedule & 1 ? "sm_80" : "sm_90a");
    assert_int_equal(failed, 0);
}

static void long_rows_every_schedule(void **s)
{
    (void)s;
    int failed = 0;
    for (uint32_t schedule = 0; schedule < 12; schedule++)
        failed += failures(long_rows, COUNT(long_rows), schedule, "sm_90a");
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_graph), cmocka_unit_test(long_rows_every_schedule)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
