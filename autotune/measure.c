/* autotune/measure.c — interleaved blocks of samples over any Measurer, and the comparison of outputs. */
#include "autotune/measure.h"
#include "base/vec.h"
#include <math.h>
#include <string.h>

/* ---- blocks ---------------------------------------------------------------------------------- */

static void sample_push(Samples *s, double x, Arena *a)
{
    if (s->n == s->cap) {
        uint32_t cap = s->cap ? 2 * s->cap : 32;
        double *grown = arena_new_array(a, double, cap);
        if (s->n)
            memcpy(grown, s->x, sizeof(double) * s->n);
        s->x = grown;
        s->cap = cap;
    }
    s->x[s->n++] = x;
}

bool measure_blocks(Measurer *m, MeasureSession *s, MeasureItem *items, const uint32_t *which, uint32_t n,
                    uint32_t blocks, bool check, uint64_t *random, Samples *samples, Arena *a)
{
    uint32_t *order = arena_new_array(a, uint32_t, (size_t)n * blocks);
    double *seconds = arena_new_array(a, double, (size_t)n * blocks);

    stats_interleave(order, n, blocks);
    for (uint32_t e = 0; e < n * blocks; e++)
        order[e] = which[order[e]];
    if (!m->run(s, order, n * blocks, seconds))
        return false;
    for (uint32_t e = 0; e < n * blocks; e++)
        sample_push(&samples[order[e]], seconds[e], a);

    for (uint32_t b = 0; check && b < blocks; b++) {
        if (b > 0 && stats_random(random) % 10 != 0)
            continue;
        for (uint32_t i = 0; i < n; i++)
            if (!items[which[i]].outcome)
                m->check(s, which[i]);
    }
    return true;
}

/* ---- outputs --------------------------------------------------------------------------------- */

/* By how many units of the class, relative to the row's magnitude, two honest orders of summation differ at most. */
static double slack_of(NumClass c, double approx)
{
    switch (c) {
    case NUM_IEEE: return 32 * 0x1p-24;
    case NUM_FP32: return 128 * 0x1p-22;           /* FFMA over a million terms */
    case NUM_TF32: return 16 * 0x1p-11;
    case NUM_BF16: return 4 * 0x1p-8;
    case NUM_F16: return 4 * 0x1p-11;
    case NUM_APPROX: return 128 * 0x1p-22 * (approx > 1 ? approx : 1);
    }
    return 0;
}

static double magnitude(DType t, const char *row, int64_t n)
{
    double most = 0;
    uint32_t size = dtype_bytes(t);
    for (int64_t i = 0; i < n; i++) {
        double v = fabs(dtype_load(t, row + i * size));
        if (isfinite(v) && v > most)
            most = v;
    }
    return most;
}

static bool element_near(DType t, double got, double want, double slack)
{
    if (isnan(got) || isnan(want))
        return isnan(got) && isnan(want);
    if (isinf(got) || isinf(want))
        return got == want;
    double off = fabs(got - want);
    return off <= slack || off <= 2 * dtype_ulp(t, fmax(fabs(got), fabs(want))) + slack;
}

/* Rows at p and q; `row` is its number. */
static bool row_near(DType t, const char *p, const char *q, int64_t row, int64_t columns, double scale, double units, Arena *a,
                     const char **why)
{
    uint32_t size = dtype_bytes(t);

    if (!memcmp(p, q, (size_t)columns * size))
        return true;
    double slack = units * fmax(scale, magnitude(t, q, columns));
    for (int64_t i = 0; i < columns; i++, p += size, q += size) {
        double x = dtype_load(t, p), y = dtype_load(t, q);
        bool near = dtype_is_float(t) ? element_near(t, x, y, slack) : !memcmp(p, q, size);
        if (near)
            continue;
        *why = arena_printf(a, "element %lld of row %lld is %.9g instead of %.9g", (long long)i,
                            (long long)row, isnan(x) ? fabs(x) : x, isnan(y) ? fabs(y) : y);
        return false;
    }
    return true;
}

/* Short rows say little of the scale of sums: for those it is the typical magnitude of all, from a few thousand elements. */
static double typical(DType t, const char *data, int64_t n, int64_t columns)
{
    int64_t step = n / 4096 + 1;
    uint32_t size = dtype_bytes(t);
    double sum = 0, count = 0;

    if (columns >= 32)
        return 0;
    for (int64_t i = 0; i < n; i += step) {
        double v = dtype_load(t, data + i * size);
        if (isfinite(v)) {
            sum += v * v;
            count++;
        }
    }
    return count ? sqrt(sum / count) : 0;
}

enum { RUN_BYTES = 1 << 16 };

RowRun *measure_draw(const Tensor *t, int64_t max_elements, uint64_t *random, Arena *a, uint32_t *n)
{
    int64_t count = tensor_count(t), columns = t->rank ? t->dims[t->rank - 1] : 1, rows = count ? count / columns : 0;
    int64_t row_bytes = columns * dtype_bytes(t->dtype), length = row_bytes < RUN_BYTES ? (RUN_BYTES + row_bytes - 1) / row_bytes : 1;
    double share = max_elements && max_elements < count ? (double)max_elements / (double)count : 1;
    Vec(RowRun) runs = {0};

    if (share >= 1)
        length = rows;
    for (int64_t row = 0; row < rows; row += length) {
        bool drawn = row == 0 || row + length >= rows || (double)(stats_random(random) >> 11) * 0x1p-53 < share;
        if (drawn)
            vec_push(a, &runs, ((RowRun){row, rows - row < length ? rows - row : length}));
    }
    *n = runs.n;
    return runs.data;
}

int64_t measure_drawn(const RowRun *runs, uint32_t n)
{
    int64_t rows = 0;
    for (uint32_t i = 0; i < n; i++)
        rows += runs[i].n;
    return rows;
}

bool measure_near(DType t, int64_t columns, const void *got, const void *want, const RowRun *runs, uint32_t n, NumClass c, double approx,
                  Arena *a, const char **why)
{
    const char *p = got, *q = want;
    size_t bytes = (size_t)columns * dtype_bytes(t);
    double units = dtype_is_float(t) ? slack_of(c, approx) : 0;
    double scale = dtype_is_float(t) ? typical(t, q, measure_drawn(runs, n) * columns, columns) : 0;

    for (uint32_t i = 0; i < n; i++)
        for (int64_t row = runs[i].first; row < runs[i].first + runs[i].n; row++, p += bytes, q += bytes)
            if (!row_near(t, p, q, row, columns, scale, units, a, why))
                return false;
    return true;
}
