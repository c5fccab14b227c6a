/* autotune/stats.c — order statistics, and intervals by the percentile bootstrap (Efron, Tibshirani 1993, chapter 13). Medians,
 * because timings have a long right tail; pairs are drawn together, because clocks drift. */
#include "autotune/stats.h"
#include "base/arena.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Series up to this length are resampled without the heap. */
enum { SMALL = 256 };

static void *array_of(size_t bytes, void *small, size_t small_bytes)
{
    if (bytes <= small_bytes)
        return small;
    void *p = malloc(bytes);
    if (!p)
        arena_exhausted(bytes);
    return p;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sort(double *x, uint32_t n)
{
    if (n > 64) {
        qsort(x, n, sizeof *x, by_value);
        return;
    }
    for (uint32_t i = 1; i < n; i++) {
        double v = x[i];
        uint32_t j = i;
        for (; j > 0 && x[j - 1] > v; j--)
            x[j] = x[j - 1];
        x[j] = v;
    }
}

static double quantile_sorted(const double *x, uint32_t n, double q)
{
    if (n == 0)
        return NAN;
    double at = q * (n - 1);
    uint32_t i = (uint32_t)at;
    if (i + 1 >= n)
        return x[n - 1];
    return x[i] + (at - i) * (x[i + 1] - x[i]);
}

double stats_quantile(const double *x, uint32_t n, double q)
{
    double small[SMALL];
    double *sorted = array_of(sizeof *x * n, small, sizeof small);

    if (n)
        memcpy(sorted, x, sizeof *x * n);
    sort(sorted, n);
    double v = quantile_sorted(sorted, n, q);
    if (sorted != small)
        free(sorted);
    return v;
}

double stats_median(const double *x, uint32_t n) { return stats_quantile(x, n, 0.5); }

static Interval bounds(double value, double *draws, uint32_t n)
{
    sort(draws, n);
    return (Interval){value, quantile_sorted(draws, n, 0.025), quantile_sorted(draws, n, 0.975)};
}

/* The statistic is median(a), over median(b) when b is there. */
static Interval bootstrap(const double *a, const double *b, uint32_t n, uint32_t resamples, uint64_t seed)
{
    if (n == 0)
        return (Interval){NAN, NAN, NAN};
    if (!resamples)
        resamples = 1000;

    double *draws = array_of(sizeof(double) * ((size_t)resamples + 2 * (size_t)n), NULL, 0);
    double *x = draws + resamples, *y = x + n;
    double value = stats_median(a, n) / (b ? stats_median(b, n) : 1);

    for (uint32_t r = 0; r < resamples; r++) {
        for (uint32_t i = 0; i < n; i++) {
            uint32_t pick = (uint32_t)(((stats_random(&seed) >> 32) * n) >> 32);
            x[i] = a[pick];
            y[i] = b ? b[pick] : 1;
        }
        sort(x, n);
        draws[r] = quantile_sorted(x, n, 0.5);
        if (b) {
            sort(y, n);
            draws[r] /= quantile_sorted(y, n, 0.5);
        }
    }
    Interval i = bounds(value, draws, resamples);
    free(draws);
    return i;
}

Interval stats_median_interval(const double *x, uint32_t n, uint32_t resamples, uint64_t seed)
{
    return bootstrap(x, NULL, n, resamples, seed);
}

Interval stats_ratio_interval(const double *a, const double *b, uint32_t n, uint32_t resamples,
                              uint64_t seed)
{
    return bootstrap(a, b, n, resamples, seed);
}

void stats_interleave(uint32_t *order, uint32_t n, uint32_t blocks)
{
    for (uint32_t b = 0; b < blocks; b++)
        for (uint32_t i = 0; i < n; i++)
            order[b * n + i] = b % 2 ? n - 1 - i : i;
}
