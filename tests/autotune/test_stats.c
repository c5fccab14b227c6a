/* Statistics of timings: known values, coverage of the intervals, interleaved order. */
#include "autotune/stats.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void quantiles(void **state)
{
    double x[] = {5, 1, 4, 2, 3};
    assert_float_equal(stats_median(x, 5), 3, 0);
    assert_float_equal(stats_median(x, 4), 3, 0);
    assert_float_equal(stats_quantile(x, 5, 0), 1, 0);
    assert_float_equal(stats_quantile(x, 5, 1), 5, 0);
    assert_float_equal(stats_quantile(x, 5, 0.25), 2, 0);
    assert_float_equal(stats_quantile(x, 5, 0.1), 1.4, 1e-6);
    assert_float_equal(x[0], 5, 0);
    assert_true(isnan(stats_median(x, 0)));
    assert_float_equal(stats_median(x, 1), 5, 0);
}

static void long_series(void **state)
{
    double x[1001];
    for (int i = 0; i < 1001; i++)
        x[i] = (i * 7919) % 1001;
    assert_float_equal(stats_median(x, 1001), 500, 0);
    assert_float_equal(stats_quantile(x, 1001, 0.99), 990, 1e-6);
}

static double normal(uint64_t *r)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += (double)(stats_random(r) >> 11) * 0x1p-53;
    return sum;
}

/* The 95 % interval of a ratio holds the true ratio about 95 % of the time, even where a common drift is larger than the difference. */
static void ratio_coverage(void **state)
{
    uint64_t r = 1;
    int inside = 0, narrow = 0;
    for (int trial = 0; trial < 200; trial++) {
        double a[40], b[40];
        for (int i = 0; i < 40; i++) {
            double drift = 1 + 0.3 * i / 40;
            a[i] = 1.10 * drift * (1 + 0.01 * normal(&r));
            b[i] = drift * (1 + 0.01 * normal(&r));
        }
        Interval v = stats_ratio_interval(a, b, 40, 400, (uint64_t)trial);
        inside += v.lo <= 1.10 && 1.10 <= v.hi;
        narrow += v.lo > 1 && v.hi - v.lo < 0.12;
    }
    assert_in_range(inside, 180, 200);
    assert_in_range(narrow, 195, 200);
}

static void interval_is_repeatable(void **state)
{
    double x[30];
    uint64_t r = 7;
    for (int i = 0; i < 30; i++)
        x[i] = 10 + normal(&r);
    Interval a = stats_median_interval(x, 30, 0, 3), b = stats_median_interval(x, 30, 0, 3);
    assert_true(a.lo == b.lo && a.hi == b.hi && a.value == b.value);
    assert_true(a.lo <= a.value && a.value <= a.hi && a.hi > a.lo);
    Interval one = stats_median_interval(x, 1, 100, 3);
    assert_true(one.lo == x[0] && one.hi == x[0]);
}

static void interleaved(void **state)
{
    uint32_t order[12];
    const uint32_t abba[] = {0, 1, 1, 0, 0, 1}, three[] = {0, 1, 2, 2, 1, 0};
    stats_interleave(order, 2, 3);
    assert_memory_equal(order, abba, sizeof abba);
    stats_interleave(order, 3, 2);
    assert_memory_equal(order, three, sizeof three);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles),       cmocka_unit_test(long_series),
        cmocka_unit_test(ratio_coverage),  cmocka_unit_test(interval_is_repeatable),
        cmocka_unit_test(interleaved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
