/* autotune/stats.h — statistics of timings: medians, bootstrap intervals of paired samples, interleaved order. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef struct { double value, lo, hi; } Interval;      /* an estimate and its 95 % bounds */

/* Linear interpolation between order statistics, q in [0, 1]. NaN for n = 0. `x` is left as it is. */
double stats_quantile(const double *x, uint32_t n, double q);
double stats_median(const double *x, uint32_t n);

/* Percentile bootstrap over `resamples` (0: 1000) draws with replacement; the same seed gives the same bounds. */
Interval stats_median_interval(const double *x, uint32_t n, uint32_t resamples, uint64_t seed);
/* median(a) / median(b) where a[i] and b[i] were measured side by side: pairs are drawn together, so what slows both cancels. */
Interval stats_ratio_interval(const double *a, const double *b, uint32_t n, uint32_t resamples, uint64_t seed);

/* Order of `blocks` interleaved blocks of the items 0 … n-1: forth, back, back, forth (ABBA for two), so that drift falls on
 * all alike. Fills order[blocks * n]; entry e belongs to block e / n. */
void stats_interleave(uint32_t *order, uint32_t n, uint32_t blocks);

/* A small generator for bootstrap and sampling (splitmix64); never for test data. */
static inline uint64_t stats_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
