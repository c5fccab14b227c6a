/* tests/sim/test_executor.c — plans with tensor maps and clusters on the simulator's executor, and what it says of wrong ones. */
#include "runtime/executor.h"
#include "tests/runtime/map_plans.h"
#include "tests/runtime/support.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MOST = 1000 };

static int setup(void **state) { *state = context_new(); return 0; }
static int teardown(void **state) { context_free(*state); return 0; }

/* One call with rows of random numbers; false: diagnosed. */
static bool run(Context *cx, Plan *p, int64_t rows, const float *x, float *y)
{
    Executor *e = plan_verify(p, cx->diags) ? executor_sim.open(cx, p, NULL) : NULL;
    if (!e)
        return false;
    float *in = malloc((size_t)rows * MAP_COLUMNS * 4), *out = malloc((size_t)rows * MAP_COLUMNS * 4);
    memcpy(in, x, (size_t)rows * MAP_COLUMNS * 4);
    bool good = executor_sim.run(e, (void *[]){in}, (void *[]){out}, &rows, NULL, cx->diags);
    memcpy(y, out, (size_t)rows * MAP_COLUMNS * 4);
    free(in);
    free(out);
    executor_sim.close(e);
    return good;
}

static void expect_pairs(Context *cx, Plan *p, int64_t rows, uint32_t steps)
{
    int64_t n = rows * MAP_COLUMNS;
    float *x = arena_new_array(cx->arena, float, n), *y = arena_new_array(cx->arena, float, n), *want = arena_new_array(cx->arena, float, n);
    philox_fill(DT_F32, x, 0, n, philox_key(7, "x"), (Dist){DIST_NORMAL, 0, 1});
    map_on_host(x, want, rows, steps);
    if (!run(cx, p, rows, x, y))
        fail_msg("%s", diags_text(cx));
    for (int64_t i = 0; i < n; i++)
        if (y[i] != want[i])
            fail_msg("%lld rows, element %lld is %g, expected %g", (long long)rows, (long long)i, (double)y[i], (double)want[i]);
}

static void test_maps_and_clusters(void **state)
{
    Context *cx = *state;
    static const int64_t rows[] = {16, 1, 8, 9, 40, 17, MOST};
    Plan *any = map_plan(cx, (MapPlan){.steps = 3, .waits = true});
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect_pairs(cx, any, rows[i], 3);
    expect_pairs(cx, map_plan(cx, (MapPlan){.steps = 1, .rows = 48}), 48, 1);
}

/* Through the package's text form: what an executor gets is what was written. */
static void test_from_json(void **state)
{
    Context *cx = *state, *other = context_new();
    char *json = plan_to_json(map_plan(cx, (MapPlan){.steps = 2}), cx->arena);
    Plan *p = plan_from_json(other, json, strlen(json));
    if (!p)
        fail_msg("%s", diags_text(other));
    p->kernels.data[0].code.data[0].bytes = map_ptx;
    p->kernels.data[0].code.data[0].len = strlen(map_ptx);
    expect_pairs(other, p, 25, 2);
    context_free(other);
}

static void expect(Context *cx, Plan *p, const char *part)
{
    static float x[16 * MAP_COLUMNS], y[16 * MAP_COLUMNS];
    bool good = run(cx, p, 16, x, y);
    char *text = diags_text(cx);
    if (good || !strstr(text, part))
        fail_msg("expected \"%s\": %s", part, good ? "it ran" : text);
}

static void test_wrong_plans(void **state)
{
    Context *cx = *state;
    Plan *p = map_plan(cx, (MapPlan){.steps = 1});
    p->kernels.data[0].cluster = 0;
    expect(cx, p, "out of bounds");                                    /* a copy to a block that is not there */
    p = map_plan(cx, (MapPlan){.steps = 1});
    p->kernels.data[0].cluster = 4;
    expect(cx, p, "the grid of vpair has 2 blocks along x, no multiple of its cluster of 4");
    p = map_plan(cx, (MapPlan){.steps = 1});
    p->kernels.data[0].n_maps = 0;
    expect(cx, p, "vpair has other parameters than the plan says: 2 words and 0 tensor maps");
    p = map_plan(cx, (MapPlan){.steps = 1});
    p->steps.data[0].maps[0].box[1] = 4;                               /* half the bytes that the kernel waits for */
    expect(cx, p, "deadlock");
    p = map_plan(cx, (MapPlan){.steps = 1});
    p->steps.data[0].maps[0].dims[1] = dim_const(cx->dims, 17);
    expect(cx, p, "tensor map 0 (\"x\") of vpair reaches byte 2176 of \"x\", which has 128");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_maps_and_clusters, setup, teardown),
        cmocka_unit_test_setup_teardown(test_from_json, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_plans, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
