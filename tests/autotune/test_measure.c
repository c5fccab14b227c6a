/* The real measurer against real executors: the CUDA one on a GPU made of host memory (tests/runtime/fake_cuda.h), whose
 * kernels may be wrong or fail on purpose. */
#include "autotune/measure.h"
#include "tests/runtime/fake_cuda.h"
#include "tests/runtime/make_plan.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

enum { COUNT = 4096 };
static const char *const ptx = ".version 7.0\n.target sm_80\n.address_size 64\n"
                               ".visible .entry twice() { ret; }\n.visible .entry twice_too() { ret; }\n"
                               ".visible .entry thrice() { ret; }\n.visible .entry forgets() { ret; }\n";
static uint32_t runs;
static const void *seen[8];

static void apply(void *const *params, float factor, int64_t n)
{
    const float *x = (const float *)*(const uintptr_t *)params[0];
    float *y = (float *)*(const uintptr_t *)params[1];
    for (int64_t i = 0; i < n; i++)
        y[i] = factor * x[i];
    seen[runs++ % 8] = x;
}
static void twice(void *const *p, const unsigned g[3], const unsigned b[3]) { apply(p, 2, COUNT); }
static void thrice(void *const *p, const unsigned g[3], const unsigned b[3]) { apply(p, 3, COUNT); }
static void forgets(void *const *p, const unsigned g[3], const unsigned b[3]) { apply(p, 2, COUNT - 1); }

static Plan *plan_of(Context *cx, const char *kernel)
{
    Maker m = make_plan(cx, kernel, ptx);
    Dim n = make_const(&m, COUNT);
    uint32_t buffers[2] = {make_buffer(&m, BUF_INPUT, "x", DT_F32, &n, 1, 0),
                           make_buffer(&m, BUF_OUTPUT, "y", DT_F32, &n, 1, 0)};
    make_launch(&m, kernel, "rw", buffers, n, 0);
    return make_done(&m, 0);
}

static void sessions_on_a_fake_gpu(void **state)
{
    Context *cx = context_new();
    TuneDevice d = {.target = TARGET_CUDA, .spec = "cuda:0", .name = "fake"};
    Measurer *m = measurer_new(&d);
    int before = fake_cuda_allocations;
    assert_false(measurer_touched_device(m));

    MeasureItem items[4] = {{cx, plan_of(cx, "twice"), NULL}, {cx, plan_of(cx, "twice_too"), NULL},
                            {cx, plan_of(cx, "thrice"), NULL}, {cx, plan_of(cx, "forgets"), NULL}};
    MeasureSession *s = m->open(m, items, 4, &(MeasureOptions){.seed = 3, .check = true});
    if (!s)
        diags_print(cx->diags, stderr, false);
    assert_non_null(s);
    assert_true(measurer_touched_device(m));

    const uint32_t order[6] = {0, 1, 2, 2, 1, 0};
    double seconds[6];
    assert_true(m->run(s, order, 6, seconds));
    for (int i = 0; i < 6; i++)
        assert_true(seconds[i] >= 0);
    assert_ptr_not_equal(seen[0], seen[1]);         /* sets rotate */
    assert_true(m->check(s, 1));
    assert_false(m->check(s, 2));
    assert_non_null(strstr(items[2].outcome, "wrong result: output 0: element"));
    assert_false(m->check(s, 3));                   /* what it does not write is poison */
    assert_non_null(strstr(items[3].outcome, "element 4095 of row 0 is nan"));
    assert_null(items[0].outcome);
    assert_null(items[1].outcome);

    fake_cuda_fail_next = 701;                      /* a launch that fails: the item's, not the session's */
    const uint32_t one[2] = {1, 0};
    assert_false(m->check(s, 1));
    assert_non_null(strstr(items[1].outcome, "launch failed"));
    assert_true(m->run(s, one, 2, seconds));
    assert_true(isnan(seconds[0]) && seconds[1] >= 0);
    m->close(s);
    assert_false(diags_failed(cx->diags));
    measurer_free(m);
    assert_true(fake_cuda_allocations <= before + 1);       /* the executors' and the sessions' are gone */
    context_free(cx);
}

static void no_memory(void **state)
{
    Context *cx = context_new();
    TuneDevice d = {.target = TARGET_CUDA, .spec = "cuda:0", .name = "fake"};
    Measurer *m = measurer_new(&d);
    MeasureItem item = {cx, plan_of(cx, "twice"), NULL};
    size_t all = fake_cuda_memory;

    fake_cuda_memory = fake_cuda_used + 1000;
    assert_null(m->open(m, &item, 1, &(MeasureOptions){.seed = 3}));
    assert_int_equal(diags_exit_code(cx->diags), PAWL_EXIT_DEVICE);
    fake_cuda_memory = all;
    measurer_free(m);
    context_free(cx);
}

int main(void)
{
    fake_cuda_install();
    fake_cuda_kernel("twice", twice, 3);
    fake_cuda_kernel("twice_too", twice, 3);
    fake_cuda_kernel("thrice", thrice, 3);
    fake_cuda_kernel("forgets", forgets, 3);
    const struct CMUnitTest tests[] = {cmocka_unit_test(sessions_on_a_fake_gpu), cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
