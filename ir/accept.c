/* ir/accept.c — the acceptance rule of numerics.md for one output.
 *
 *     |y_i - y64_i|  <=  m max(R_i, u E_i) + one output ulp
 *     RMS(y - y64)   <=  m max(RMS(baseline - y64), u RMS(E)) + RMS(ulp) / sqrt(n)
 *
 * R_i is the largest baseline error in i's row. The last term lets one element of a small sample be an ulp off where the baseline happens to
 * be exact; it vanishes with n. Where y64 is NaN or Inf, y must be the same. Where y64 is finite, y may be Inf or NaN only if
 * y64 overflows the output's dtype or the naive lowering gives just that. Integers must equal the oracle's or the baseline's. */
#include "base/map.h"
#include "ir/eval.h"
#include <math.h>
#include <string.h>

typedef struct { double u, m; } ClassRule;

static ClassRule class_rule(NumClass c, double approx, DType out)
{
    double narrow = out == DT_F16 || out == DT_BF16 ? 0x1p-24 : 0x1p-22;
    ClassRule r = {0x1p-22, 2};
    switch (c) {
    case NUM_IEEE:   r = (ClassRule){0x1p-24, 2}; break;
    case NUM_FP32:   r = (ClassRule){0x1p-22, 2}; break;
    case NUM_TF32:   r = (ClassRule){0x1p-11, 2}; break;
    case NUM_BF16: case NUM_F16: r = (ClassRule){0x1p-24, 3}; break;
    case NUM_APPROX: r = (ClassRule){narrow, approx}; break;
    }
    if (out == DT_F64 && c != NUM_TF32)
        r.u = 0x1p-50;                 /* the oracle's own precision, with some room */
    return r;
}

/* ---- the largest baseline error of each row ------------------------------------------------------------------------- */
typedef struct { Arena *arena; Map *by_row; double *dense; int64_t row; const int64_t *flat; } Rows;

static double bits_to_double(uint64_t b) { double d; memcpy(&d, &b, sizeof d); return d; }
static uint64_t double_to_bits(double d) { uint64_t b; memcpy(&b, &d, sizeof b); return b; }

static double rows_get(const Rows *r, size_t i)
{
    int64_t at = (r->flat ? r->flat[i] : (int64_t)i) / r->row;
    return r->dense ? r->dense[at] : bits_to_double(map_get(r->by_row, (uint64_t)at, 0));
}

static void rows_raise(Rows *r, size_t i, double error)
{
    int64_t at = (r->flat ? r->flat[i] : (int64_t)i) / r->row;
    if (!(error > rows_get(r, i)))
        return;
    if (r->dense)
        r->dense[at] = error;
    else
        map_set(r->by_row, (uint64_t)at, double_to_bits(error));
}

static Rows rows_new(const int64_t *flat, size_t n, int64_t row)
{
    Rows r = {.arena = arena_new(), .row = row > 0 ? row : 1, .flat = flat};
    if (flat)
        r.by_row = map_new(r.arena);
    else
        r.dense = arena_new_array(r.arena, double, n / (size_t)r.row + 1);
    return r;
}

/* ---- one element ---------------------------------------------------------------------------------------------------------- */
static bool same_kind(double y, double reference)          /* both NaN, or the same Inf */
{
    return isnan(y) ? isnan(reference) : y == reference;
}

static bool nonfinite_fits(DType out, double y, double y64, double baseline)
{
    if (!isfinite(y64))
        return same_kind(y, y64);
    return same_kind(y, dtype_round(out, y64)) || (!isfinite(baseline) && same_kind(y, baseline));
}

typedef struct { double error, bias, baseline, scale, ulp; size_t n; } Sums;

static void note_worst(Verdict *v, double ratio, int64_t at, double y, double y64)
{
    v->bad += !(ratio <= 1);
    if (v->worst_at >= 0 && !(ratio > v->worst_ratio))
        return;
    v->worst_ratio = ratio;
    v->worst_at = at;
    v->worst_y = y;
    v->worst_y64 = y64;
}

static void check_integer(Verdict *v, int64_t y, int64_t at, Value y64, Value baseline)
{
    double error = fabs((double)y - y64.v);
    v->max_abs = fmax(v->max_abs, error);
    note_worst(v, y == y64.i || y == baseline.i ? 0 : INFINITY, at, (double)y, y64.v);
}

static void check_real(Verdict *v, Sums *s, ClassRule rule, DType out, double y, int64_t at, double y64, double baseline, double scale,
                       double row_error)
{
    if (!isfinite(y) || !isfinite(y64)) {
        bool fits = nonfinite_fits(out, y, y64, baseline);
        v->nonfinite += !fits;
        note_worst(v, fits ? 0 : INFINITY, at, y, y64);
        return;
    }
    double error = y - y64, ulp = dtype_ulp(out, y64);
    double allowed = rule.m * fmax(row_error, rule.u * scale) + ulp;
    v->max_abs = fmax(v->max_abs, fabs(error));
    if (y64 != 0)
        v->max_rel = fmax(v->max_rel, fabs(error / y64));
    s->n++;
    s->error += error * error;
    s->bias += error;
    s->ulp += ulp * ulp;
    if (isfinite(baseline))
        s->baseline += (baseline - y64) * (baseline - y64);
    s->scale += scale * scale;
    note_worst(v, fabs(error) / allowed, at, y, y64);
}

static void check_rms(Verdict *v, const Sums *s, ClassRule rule)
{
    double n = (double)s->n;
    if (!s->n)
        return;
    v->rms = sqrt(s->error / n);
    v->bias = s->bias / n;
    v->baseline_rms = sqrt(s->baseline / n);
    double allowed = rule.m * fmax(v->baseline_rms, rule.u * sqrt(s->scale / n)) + sqrt(s->ulp / n) / sqrt(n);
    v->rms_ratio = v->rms > 0 ? v->rms / allowed : 0;      /* the squares of f64's smallest ulps are 0 */
}

Verdict accept_output(NumClass c, double approx, DType out, const void *y, const int64_t *flat, size_t n, int64_t row,
                      const Value *y64, const Value *baseline, const Value *error)
{
    Verdict v = {.checked = n, .worst_at = -1};
    Sums sums = {0};
    ClassRule rule = class_rule(c, approx, out);
    const char *bytes = y;
    size_t size = dtype_bytes(out);
    Rows rows = rows_new(flat, n, row);
    for (size_t i = 0; i < n && dtype_is_float(out); i++)
        if (isfinite(y64[i].v) && isfinite(baseline[i].v)) {
            double off = fabs(baseline[i].v - y64[i].v);
            v.baseline_max_abs = fmax(v.baseline_max_abs, off);
            rows_raise(&rows, i, off);
        }
    for (size_t i = 0; i < n; i++) {
        int64_t at = flat ? flat[i] : (int64_t)i;
        if (dtype_is_float(out))
            check_real(&v, &sums, rule, out, dtype_load(out, bytes + i * size), at, y64[i].v, baseline[i].v, error[i].e,
                       rows_get(&rows, i));
        else
            check_integer(&v, dtype_load_i64(out, bytes + i * size), at, y64[i], baseline[i]);
    }
    check_rms(&v, &sums, rule);
    v.pass = v.bad == 0 && v.rms_ratio <= 1;
    arena_free(rows.arena);
    return v;
}

char *verdict_text(Arena *a, const Verdict *v)
{
    StrBuf b = strbuf_new(a);
    strbuf_printf(&b, "%s: %zu checked", v->pass ? "pass" : "FAIL", v->checked);
    if (v->bad)
        strbuf_printf(&b, ", %zu outside the allowance", v->bad);
    if (v->nonfinite)
        strbuf_printf(&b, " (%zu NaN or Inf)", v->nonfinite);
    strbuf_printf(&b, ", max |err| %.3g (baseline %.3g), RMS %.3g (baseline %.3g), bias %.2g", v->max_abs, v->baseline_max_abs,
                  v->rms, v->baseline_rms, v->bias);
    if (v->worst_at >= 0)
        strbuf_printf(&b, ", worst at %lld: %.9g for %.9g, %.2f of its allowance", (long long)v->worst_at, v->worst_y, v->worst_y64,
                      v->worst_ratio);
    if (v->rms_ratio > 1)
        strbuf_printf(&b, ", RMS %.2f of its allowance", v->rms_ratio);
    return b.text;
}
