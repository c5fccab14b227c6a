/* The contest between candidates, with a fake measurer: who wins, who keeps, who is thrown out. */
#include "tests/autotune/fake.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static Context *cx;
static Fake *fake;
static SearchCandidate c[FAKE_PLANS];
static SearchOptions o;
static SearchResult r;

static int setup(void **state)
{
    cx = context_new();
    fake = fake_new(cx->arena, 1);
    fake_clock_set(0);
    o = (SearchOptions){.measure.check = true, .deadline = 1000, .clock = fake_clock, .seed = 5};
    return 0;
}

static int teardown(void **state)
{
    context_free(cx);
    return 0;
}

static void candidates(const double *seconds, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        c[i] = (SearchCandidate){.what = arena_printf(cx->arena, "vec=%u", i), .tag = i, .cx = cx,
                                 .plan = &fake->plans[i]};
        fake->seconds[i] = seconds[i];
    }
}

static bool search(uint32_t n) { return search_run(&fake->measurer, c, n, &o, cx->arena, &r); }

static void fastest_wins(void **state)
{
    candidates((double[]){10e-6, 12e-6, 5e-6, 30e-6, 8e-6}, 5);
    fake->noise = 0.05;
    assert_true(search(5));
    assert_int_equal(r.winner, 2);
    assert_true(r.complete && !r.stopped);
    assert_true(r.ratio.lo > 1.9 && r.ratio.hi < 2.1 && r.ratio.lo <= r.ratio.value);
    assert_true(fabs(r.seconds.value - 5e-6) < 0.2e-6);
    assert_int_equal(r.tried, 5);
    assert_int_equal(r.rejected, 0);
    /* the slow ones were timed far less often */
    assert_true(c[3].samples.n < 5 && c[0].samples.n >= 30 && c[2].samples.n >= 30);
    assert_true(fake->checked >= 4);
}

static void ties_keep_the_incumbent(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        fake = fake_new(cx->arena, seed);
        o.seed = seed;
        candidates((double[]){10e-6, 10e-6, 10e-6, 10.02e-6}, 4);
        fake->noise = 0.05;
        assert_true(search(4));
        assert_int_equal(r.winner, 0);
        assert_true(r.ratio.value == 1);
    }
}

/* Two that are equally fast: the one that the model prefers, every time. */
static void picks_repeat(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        fake = fake_new(cx->arena, seed);
        o.seed = seed;
        candidates((double[]){20e-6, 10e-6, 10e-6, 10e-6, 18e-6}, 5);
        fake->noise = 0.05;
        assert_true(search(5));
        assert_int_equal(r.winner, 1);
    }
}

static void wrong_result_is_thrown_out(void **state)
{
    candidates((double[]){10e-6, 1e-6, 6e-6}, 3);
    fake->wrong[1] = true;
    assert_true(search(3));
    assert_int_equal(r.winner, 2);
    assert_int_equal(r.wrong, 1);
    assert_int_equal(r.rejected, 1);
    assert_string_equal(c[1].rejected, "wrong result: fake");
    assert_int_equal(c[1].samples.n, 1);
}

static void illegal_and_failing(void **state)
{
    candidates((double[]){10e-6, 1e-6, 1e-6, 8e-6}, 4);
    c[1].rejected = "illegal schedule: too much shared memory";
    c[1].plan = NULL;
    fake->fails[2] = true;
    assert_true(search(4));
    assert_int_equal(r.winner, 3);
    assert_int_equal(r.rejected, 2);
    assert_int_equal(r.tried, 2);
    assert_true(isnan(c[1].seconds) && isnan(c[2].seconds));
}

static void failing_incumbent(void **state)
{
    candidates((double[]){10e-6, 1e-6}, 2);
    fake->fails[0] = true;
    assert_false(search(2));
    assert_non_null(c[0].rejected);
    assert_int_equal(diags_exit_code(cx->diags), PAWL_EXIT_DEVICE);
}

static void dead_device(void **state)
{
    candidates((double[]){10e-6, 1e-6}, 2);
    fake->dead = true;
    assert_false(search(2));
    assert_null(c[0].rejected);
    assert_int_equal(diags_exit_code(cx->diags), PAWL_EXIT_DEVICE);
}

static void deadline_leaves_it_open(void **state)
{
    candidates((double[]){1, 0.2, 1.1}, 3);
    fake->noise = 0.01;
    o.deadline = 4;
    assert_true(search(3));
    assert_false(r.complete);
    assert_int_equal(r.winner, 1);          /* 5x in every pair: clear enough */
    assert_true(fake_clock() < 7);

    fake_clock_set(0);
    candidates((double[]){1, 0.97, 1.1}, 3);
    assert_true(search(3));
    assert_int_equal(r.winner, 0);          /* 3 % in a pair or two is not */

    fake_clock_set(100);                    /* already late: one block all the same */
    candidates((double[]){1, 0.2, 1.1}, 3);
    assert_true(search(3));
    assert_false(r.complete);
    assert_int_equal(c[2].samples.n, 1);
    assert_int_equal(r.winner, 0);
}

static void slow_ones_need_fewer_pairs(void **state)
{
    candidates((double[]){0.1, 0.05}, 2);
    assert_true(search(2));
    assert_true(r.complete);
    assert_int_equal(r.winner, 1);
    assert_int_equal(c[1].samples.n, 10);
}

/* A dozen products of some milliseconds: decided within half a second of the device, by enough pairs, and to the same time each time. */
static void long_ones_are_decided_soon(void **state)
{
    static const double ms[12] = {5.4, 5.1, 5.0, 5.02, 7.1, 6.8, 9.9, 5.6, 6.1, 8.0, 5.3, 6.6};
    double seconds[12];
    for (int i = 0; i < 12; i++)
        seconds[i] = ms[i] * 1e-3;
    for (uint64_t seed = 0; seed < 10; seed++) {
        fake = fake_new(cx->arena, seed);
        fake_clock_set(0);
        o.seed = seed;
        candidates(seconds, 12);
        fake->noise = 0.02;
        assert_true(search(12));
        assert_true(r.complete && fake_clock() < 0.5);
        assert_in_range(r.winner, 2, 3);
        assert_true(c[r.winner].samples.n >= 16 && c[6].samples.n == 1 && c[4].samples.n == 1);
    }
}

static void interrupted(void **state)
{
    candidates((double[]){10e-6, 5e-6, 7e-6}, 3);
    o.stop = &fake->stop;
    fake->stop_after = 12;
    assert_true(search(3));
    assert_true(r.stopped && !r.complete);
    assert_in_range(fake->samples, 12, 15);
}

static void alone(void **state)
{
    candidates((double[]){10e-6}, 1);
    assert_true(search(1));
    assert_true(r.complete);
    assert_int_equal(r.winner, 0);
}

static bool all_near(const Tensor *got, const Tensor *want, NumClass class, const char **why)
{
    const RowRun all = {0, want->dims[0]};
    return measure_near(want->dtype, want->dims[1], got->data, want->data, &all, 1, class, 0, cx->arena, why);
}

static void outputs_near(void **state)
{
    const char *why = NULL;
    int64_t dims[2] = {64, 100};
    Tensor *a = tensor_new(cx->arena, DT_F32, 2, dims), *b = tensor_new(cx->arena, DT_F32, 2, dims);
    float *x = a->data, *y = b->data;
    for (int i = 0; i < 6400; i++)
        x[i] = y[i] = (float)sin(i);
    assert_true(all_near(a, b, NUM_FP32, &why));
    y[123] += 2e-7f;
    assert_true(all_near(a, b, NUM_FP32, &why));
    y[123] += 1e-4f;
    assert_false(all_near(a, b, NUM_FP32, &why));
    assert_non_null(strstr(why, "element 23 of row 1 is"));
    assert_true(all_near(a, b, NUM_TF32, &why));
    y[123] = x[123];
    y[6399] = NAN;
    assert_false(all_near(a, b, NUM_BF16, &why));
    x[6399] = NAN;
    assert_true(all_near(a, b, NUM_BF16, &why));
    x[0] = INFINITY;
    y[0] = -INFINITY;
    assert_false(all_near(a, b, NUM_BF16, &why));
    Tensor *i = tensor_new(cx->arena, DT_I32, 2, dims), *j = tensor_new(cx->arena, DT_I32, 2, dims);
    ((int32_t *)i->data)[3] = 1;
    assert_false(all_near(i, j, NUM_BF16, &why));
}

/* Of a large result runs of rows are fetched, from all over it; of a small one everything. */
static void rows_are_drawn(void **state)
{
    uint64_t random = 1;
    uint32_t n;
    int64_t large[2] = {16384, 4096}, total = 0, least = 16384, most = 0;
    Tensor t = {.dtype = DT_F32, .rank = 2, .dims = {large[0], large[1]}};
    RowRun *runs = measure_draw(&t, 1 << 20, &random, cx->arena, &n);
    for (uint32_t i = 0; i < n; i++) {
        assert_true(runs[i].n == 4 && (i == 0 || runs[i].first >= runs[i - 1].first + 4));
        total += runs[i].n;
        least = i > 0 && runs[i].first - runs[i - 1].first < least ? runs[i].first - runs[i - 1].first : least;
        most = i > 0 && runs[i].first - runs[i - 1].first > most ? runs[i].first - runs[i - 1].first : most;
    }
    assert_true(runs[0].first == 0 && runs[n - 1].first + runs[n - 1].n == 16384);
    assert_in_range(total, 128, 512);
    assert_true(least < most && most < 16384 / 8);

    int64_t small[2] = {300, 100};
    t = (Tensor){.dtype = DT_F32, .rank = 2, .dims = {small[0], small[1]}};
    runs = measure_draw(&t, 1 << 20, &random, cx->arena, &n);
    assert_true(n == 1 && runs[0].first == 0 && runs[0].n == 300);
    t.dims[0] = 0;
    measure_draw(&t, 1 << 20, &random, cx->arena, &n);
    assert_int_equal(n, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fastest_wins), TEST(ties_keep_the_incumbent), TEST(picks_repeat),
        TEST(wrong_result_is_thrown_out), TEST(illegal_and_failing), TEST(failing_incumbent),
        TEST(dead_device), TEST(deadline_leaves_it_open), TEST(slow_ones_need_fewer_pairs),
        TEST(long_ones_are_decided_soon), TEST(interrupted), TEST(alone), TEST(outputs_near), TEST(rows_are_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
