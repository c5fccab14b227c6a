/* tests/codegen/random_ops.c — one more node: each function tries once and adds none where its operand does not fit. */
#include "tests/codegen/random_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static double largest(const Val *v) { return fmax(fabs(v->lo), fabs(v->hi)); }

/* ---- pointwise ----------------------------------------------------------------------------------------------------------------- */
/* domain that is well conditioned, range over it */
static const struct { const char *name; double lo, hi, from, to; } smooth[] = {
    {"sqrt", 0.1, 60, 0.3, 7.8}, {"rsqrt", 0.1, 60, 0.12, 3.2}, {"reciprocal", 0.3, 60, 0.016, 3.4}, {"exp", -6, 5, 0.002, 149},
    {"exp2", -8, 7, 0.003, 129}, {"expm1", -6, 5, -1, 149}, {"log", 0.1, 60, -2.4, 4.2}, {"log2", 0.1, 60, -3.4, 6},
    {"log10", 0.1, 60, -1.1, 1.8}, {"log1p", -0.8, 60, -1.7, 4.2}, {"sin", -20, 20, -1, 1}, {"cos", -20, 20, -1, 1},
    {"tan", -1.2, 1.2, -2.6, 2.6}, {"asin", -0.9, 0.9, -1.2, 1.2}, {"acos", -0.9, 0.9, 0.4, 2.8}, {"atan", -60, 60, -1.6, 1.6},
    {"sinh", -4, 4, -28, 28}, {"cosh", -4, 4, 1, 28}, {"tanh", -60, 60, -1, 1}, {"asinh", -60, 60, -4.8, 4.8},
    {"acosh", 1.2, 60, 0.6, 4.8}, {"atanh", -0.9, 0.9, -1.5, 1.5}, {"erf", -20, 20, -1, 1}, {"erfc", -20, 5, 0, 2},
    {"sigmoid", -20, 20, 0, 1}, {"silu", -20, 20, -0.3, 20}, {"gelu", -3, 20, -0.2, 20}, {"gelu_tanh", -3, 20, -0.2, 20},
    {"mish", -20, 20, -0.4, 20}, {"softplus", -18, 18, 0, 18}, {"softsign", -60, 60, -1, 1}, {"log_sigmoid", -20, 20, -20, 0},
    {"elu", -10, 60, -1, 60}, {"selu", -10, 60, -1.8, 64}, {"celu", -10, 60, -1, 60}, {"hardswish", -10, 30, -0.4, 30},
    {"hardsigmoid", -20, 20, 0, 1}, {"leaky_relu", -60, 60, -0.6, 60}, {"tanhshrink", -20, 20, -20, 20}, {"softshrink", -60, 60, -60, 60},
    {"relu6", -60, 60, 0, 6}, {"hardtanh", -60, 60, -1, 1}, {"square", -12, 12, 0, 144},
};

static void op_smooth(Gen *g)
{
    int x = pick(g), i = below(g, COUNT(smooth));
    if (!is_float(&g->v[x]))
        return;
    x = fit(g, x, smooth[i].lo, smooth[i].hi);
    emit(g, inexact(g->v[x], smooth[i].from - 0.01, smooth[i].to + 0.01), "%s(%s)", smooth[i].name, NAME(x));
}

static void op_exact_unary(Gen *g)
{
    static const char *const rounds[] = {"ceil", "floor", "round", "trunc", "sign"};
    int x = pick(g);
    Val v = g->v[x];
    if (v.t == DT_BOOL) {
        emit(g, v, percent(g, 50) ? "logical_not(%s)" : "bitwise_not(%s)", NAME(x));
        return;
    }
    double lo = v.lo, hi = v.hi;
    switch (below(g, 4)) {
    case 0: v.lo = -hi, v.hi = -lo; emit(g, v, "neg(%s)", NAME(x)); return;
    case 1: v.lo = 0, v.hi = largest(&v); emit(g, v, "abs(%s)", NAME(x)); return;
    case 2: v.lo = fmax(lo, 0), v.hi = fmax(hi, 0); emit(g, v, "relu(%s)", NAME(x)); return;
    default: break;
    }
    if (!v.exact)
        return;
    if (!is_float(&v) && percent(g, 50)) {
        v.lo = -hi - 1, v.hi = -lo;
        emit(g, v, "bitwise_not(%s)", NAME(x));
        return;
    }
    int r = below(g, 5);
    v.whole = true;
    v.lo = r == 4 ? -1 : floor(lo), v.hi = r == 4 ? 1 : ceil(hi);
    emit(g, v, "%s(%s)", rounds[r], NAME(x));
}

/* Do the shapes broadcast, and to what? */
static bool broadcast(const Val *x, const Val *y, Val *out)
{
    out->rank = x->rank > y->rank ? x->rank : y->rank;
    for (int i = 1; i <= out->rank; i++) {
        RDim a = i <= x->rank ? x->d[x->rank - i] : rdim(1), b = i <= y->rank ? y->d[y->rank - i] : rdim(1);
        if (!rdim_same(a, b) && !rdim_is(a, 1) && !rdim_is(b, 1))
            return false;
        out->d[out->rank - i] = rdim_is(a, 1) ? b : a;
    }
    return true;
}

/* Another value that broadcasts with `x` and has dtype `t`: one that is there, or a new input. */
static int partner(Gen *g, int x, DType t)
{
    for (int tries = 0; tries < 12; tries++) {
        int y = pick(g);
        Val out = {0};
        if (g->v[y].t == t && broadcast(&g->v[x], &g->v[y], &out) && shape_most(g, &out) <= MOST)
            return y;
    }
    Val v = any_type(g);
    v.t = t;
    if (t == DT_BOOL)
        v.lo = 0, v.hi = 1;
    if (t == DT_U8)
        v.lo = 0;
    if (!dtype_is_float(t) && t != DT_BOOL)
        v.lo = floor(v.lo), v.hi = ceil(v.hi);
    int drop = percent(g, 60) ? 0 : below(g, g->v[x].rank + 1);
    v.rank = g->v[x].rank - drop;
    for (int i = 0; i < v.rank; i++)
        v.d[i] = percent(g, 20) ? rdim(1) : g->v[x].d[drop + i];
    return declare(g, v, false);
}

static void sum_bounds(Val *v, const Val *x, const Val *y, bool subtract)
{
    v->lo = subtract ? x->lo - y->hi : x->lo + y->lo;
    v->hi = subtract ? x->hi - y->lo : x->hi + y->hi;
}

static void product_bounds(Val *v, const Val *x, const Val *y)
{
    double p[] = {x->lo * y->lo, x->lo * y->hi, x->hi * y->lo, x->hi * y->hi};
    v->lo = fmin(fmin(p[0], p[1]), fmin(p[2], p[3]));
    v->hi = fmax(fmax(p[0], p[1]), fmax(p[2], p[3]));
}

static void op_literal(Gen *g)
{
    static const char *const names[] = {"add", "sub", "mul", "maximum", "minimum"};
    int x = pick(g), i = below(g, 5);
    Val v = g->v[x], c = {.whole = !is_float(&v)};
    if (v.t == DT_BOOL)
        return;
    double k = v.t == DT_U8 ? below(g, 5) : c.whole ? below(g, 9) - 4 : literal(g, -3, 3);
    c.lo = c.hi = k;
    if (i < 2)
        sum_bounds(&v, &g->v[x], &c, i);
    else if (i == 2)
        product_bounds(&v, &g->v[x], &c);
    else
        v.lo = i == 3 ? fmax(v.lo, k) : fmin(v.lo, k), v.hi = i == 3 ? fmax(v.hi, k) : fmin(v.hi, k);
    if (largest(&v) > (is_float(&v) ? 200 : 1e6))
        return;
    if (is_float(&v) && i < 3)
        v.exact = v.whole = false;
    v.whole &= k == floor(k);
    if (i == 1 && percent(g, 50)) {
        double lo = v.lo;
        v.lo = -v.hi, v.hi = -lo;
        emit(g, v, "sub(%.10g, %s)", k, NAME(x));
        return;
    }
    emit(g, v, "%s(%s, %.10g)", names[i], NAME(x), k);
}

static void int_binary(Gen *g, int x, int y, Val v)
{
    static const char *const bits[] = {"bitwise_and", "bitwise_or", "bitwise_xor"};
    if (v.t == DT_U8)
        return;
    switch (below(g, 5)) {
    case 0: {
        double reach = exp2(ceil(log2(fmax(largest(&g->v[x]), largest(&g->v[y])) + 2)));
        v.lo = -reach, v.hi = reach;
        emit(g, v, "%s(%s, %s)", bits[below(g, 3)], NAME(x), NAME(y));
        return;
    }
    case 1:
        y = fit(g, y, 1, 9);
        v.lo = fmin(g->v[x].lo, 0), v.hi = fmax(g->v[x].hi, 0);
        emit(g, v, "fmod(%s, %s)", NAME(x), NAME(y));
        return;
    case 2:
        y = fit(g, y, -9, -1);
        v.lo = -9, v.hi = 0;
        emit(g, v, "remainder(%s, %s)", NAME(x), NAME(y));
        return;
    case 3:
        y = fit(g, y, 0, 4);
        v.lo = 16 * fmin(g->v[x].lo, 0), v.hi = 16 * fmax(g->v[x].hi, 0);
        if (largest(&v) > 1e6)
            return;
        emit(g, v, "%s(%s, %s)", percent(g, 50) ? "shift_left" : "shift_right", NAME(x), NAME(y));
        return;
    default:
        x = fit(g, x, -4, 4), y = fit(g, y, 0, 4);
        v.lo = -256, v.hi = 256;
        emit(g, v, "pow(%s, %s)", NAME(x), NAME(y));
        return;
    }
}

static void float_binary(Gen *g, int x, int y, Val v)
{
    switch (below(g, 4)) {
    case 0:
        y = fit(g, y, 0.4, 50);
        emit(g, inexact(v, -largest(&g->v[x]) / 0.39, largest(&g->v[x]) / 0.39), "div(%s, %s)", NAME(x), NAME(y));
        return;
    case 1:
        x = fit(g, x, 0.2, 4), y = fit(g, y, -3, 3);
        emit(g, inexact(v, 0, 130), "pow(%s, %s)", NAME(x), NAME(y));
        return;
    case 2:
        x = fit(g, x, -50, 50), y = fit(g, y, 0.2, 50);
        emit(g, inexact(v, -1.6, 1.6), "atan2(%s, %s)", NAME(x), NAME(y));
        return;
    default:
        if (!g->v[x].exact || !g->v[y].exact || v.t == DT_F16 || v.t == DT_BF16)
            return;
        y = fit(g, y, 0.5, 8);
        v = inexact(v, -8.1, 8.1);
        emit(g, v, "%s(%s, %s)", percent(g, 50) ? "fmod" : "remainder", NAME(x), NAME(y));
        return;
    }
}

static void op_binary(Gen *g)
{
    static const char *const logical[] = {"logical_and", "logical_or", "logical_xor", "bitwise_xor", "maximum", "mul", "add"};
    int x = pick(g), y = partner(g, x, g->v[x].t);
    Val v = g->v[x];
    const Val *a = &g->v[x], *b = &g->v[y];
    broadcast(a, b, &v);
    v.exact = a->exact && b->exact, v.whole = a->whole && b->whole;
    v.narrow = a->narrow > b->narrow ? a->narrow : b->narrow;
    if (shape_most(g, &v) > MOST)
        return;
    if (v.t == DT_BOOL) {
        emit(g, v, "%s(%s, %s)", logical[below(g, COUNT(logical))], NAME(x), NAME(y));
        return;
    }
    int kind = below(g, 8);
    if (kind < 3) {
        sum_bounds(&v, a, b, kind == 2);
        if (kind == 1)
            product_bounds(&v, a, b);
        if (largest(&v) > (is_float(&v) ? 200 : 1e6))
            return;
        if (is_float(&v))
            v.exact = v.whole = false;
        emit(g, v, "%s(%s, %s)", kind == 0 ? "add" : kind == 1 ? "mul" : "sub", NAME(x), NAME(y));
    } else if (kind < 5) {
        v.lo = kind == 3 ? fmax(a->lo, b->lo) : fmin(a->lo, b->lo), v.hi = kind == 3 ? fmax(a->hi, b->hi) : fmin(a->hi, b->hi);
        emit(g, v, "%s(%s, %s)", kind == 3 ? "maximum" : "minimum", NAME(x), NAME(y));
    } else if (is_float(&v)) {
        float_binary(g, x, y, v);
    } else {
        int_binary(g, x, y, v);
    }
}

static void op_compare(Gen *g)
{
    static const char *const names[] = {"eq", "ne", "lt", "le", "gt", "ge"};
    int x = pick(g);
    Val v = g->v[x];
    if (!v.exact)
        return;
    if (percent(g, 40) && v.t != DT_BOOL) {
        double k = is_float(&v) && !v.whole ? literal(g, v.lo, v.hi) : floor((v.lo + v.hi) / 2);
        v.t = DT_BOOL, v.lo = 0, v.hi = 1;
        emit(g, v, "%s(%s, %.10g)", names[below(g, 6)], NAME(x), k);
        return;
    }
    int y = partner(g, x, v.t);
    if (!g->v[y].exact)
        return;
    broadcast(&g->v[x], &g->v[y], &v);
    v.t = DT_BOOL, v.lo = 0, v.hi = 1;
    if (shape_most(g, &v) <= MOST)
        emit(g, v, "%s(%s, %s)", names[below(g, 6)], NAME(x), NAME(y));
}

static void op_where(Gen *g)
{
    int x = pick(g), c = -1;
    for (int i = 0; i < g->n && percent(g, 80); i++) {
        Val out = {0};
        if (g->v[i].t == DT_BOOL && broadcast(&g->v[i], &g->v[x], &out) && shape_most(g, &out) <= MOST)
            c = i;
    }
    c = c < 0 ? partner(g, x, DT_BOOL) : c;
    Val v = g->v[x];
    broadcast(&g->v[c], &g->v[x], &v);
    if (g->v[x].t != DT_BOOL && percent(g, 30)) {
        double k = is_float(&v) ? literal(g, -2, 2) : below(g, 5);
        v.lo = fmin(v.lo, k), v.hi = fmax(v.hi, k);
        v.whole &= k == floor(k);
        emit(g, v, percent(g, 50) ? "where(%s, %s, %.10g)" : "masked_fill(%2$s, %1$s, %3$.10g)", NAME(c), NAME(x), k);
        return;
    }
    int y = partner(g, x, v.t);
    Val most = v;
    if (!broadcast(&v, &g->v[y], &most) || shape_most(g, &most) > MOST)
        return;
    most.exact = g->v[x].exact && g->v[y].exact, most.whole = g->v[x].whole && g->v[y].whole;
    most.lo = fmin(g->v[x].lo, g->v[y].lo), most.hi = fmax(g->v[x].hi, g->v[y].hi);
    most.narrow = v.narrow > g->v[y].narrow ? v.narrow : g->v[y].narrow;
    emit(g, most, "where(%s, %s, %s)", NAME(c), NAME(x), NAME(y));
}

static void op_cast(Gen *g)
{
    static const DType to[] = {DT_F32, DT_F32, DT_BF16, DT_F16, DT_F64, DT_I32, DT_I64, DT_BOOL, DT_I8, DT_U8};
    int x = pick(g);
    Val v = g->v[x];
    DType t = to[below(g, COUNT(to))];
    if (t == v.t)
        return;
    bool widens = dtype_is_float(t) && is_float(&v) && dtype_mantissa_bits(t) > dtype_mantissa_bits(v.t);
    if (!v.exact && (widens || !dtype_is_float(t)))
        return;
    if (t == DT_U8 && is_float(&v) && v.lo < 0)
        return;
    if ((t == DT_U8 || t == DT_I8) && largest(&v) > 100)
        v.lo = t == DT_U8 ? 0 : -128, v.hi = t == DT_U8 ? 255 : 127;
    if (t == DT_U8 && v.lo < 0)
        v.lo = 0, v.hi = 255;
    if ((t == DT_U8 || t == DT_I8) && is_float(&g->v[x]) && largest(&g->v[x]) > 100)
        return;
    if (dtype_is_float(t)) {
        bool holds = widens || (v.whole && largest(&v) <= 256) || (v.t != DT_F64 && v.t != DT_I64 && t == DT_F64);
        v.exact &= holds;
        v.whole &= holds;
        if (!is_float(&v))
            v.whole = holds;
    } else {
        v.whole = true;
        v.lo = t == DT_BOOL ? 0 : trunc(v.lo), v.hi = t == DT_BOOL ? 1 : trunc(v.hi);
    }
    v.t = t;
    if (dtype_is_float(t) && largest(&v) > 1e4)
        return;
    emit(g, v, "cast(%s, dtype=%s)", NAME(x), dtype_name(t));
}

/* ---- reductions ----------------------------------------------------------------------------------------------------------------- */
static int some_axes(Gen *g, Val *v, bool keep, char *text, double *count)
{
    int n = 0;
    Val out = *v;
    out.rank = 0;
    *count = 1;
    text[0] = 0;
    int forced = below(g, v->rank);
    for (int i = 0; i < v->rank; i++) {
        if (i == forced || percent(g, 30)) {
            sprintf(text + strlen(text), "%s%d", n++ ? ", " : "", i);
            *count *= rdim_most(g, v->d[i]);
            if (keep)
                out.d[out.rank++] = rdim(1);
        } else {
            out.d[out.rank++] = v->d[i];
        }
    }
    *v = out;
    return n;
}

static void op_reduce(Gen *g)
{
    int x = pick(g);
    Val v = g->v[x];
    if (!v.rank)
        return;
    bool keep = percent(g, 45);
    char axes[24];
    double count;
    some_axes(g, &v, keep, axes, &count);
    if (v.t == DT_BOOL) {
        emit(g, v, "%s(%s, axes=[%s], keepdims=%d)", percent(g, 50) ? "any" : "all", NAME(x), axes, keep);
        return;
    }
    const char *op = "max";
    double big = largest(&v);
    switch (below(g, 9)) {
    case 0: case 1: op = "reduce_sum"; v.lo *= count, v.hi *= count; break;
    case 2: op = "min"; emit(g, v, "%s(%s, axes=[%s], keepdims=%d)", op, NAME(x), axes, keep); return;
    case 3: emit(g, v, "%s(%s, axes=[%s], keepdims=%d)", op, NAME(x), axes, keep); return;
    case 4: op = "reduce_prod"; v.lo = -pow(fmax(big, 1), count), v.hi = -v.lo; break;
    case 5: op = is_float(&v) ? "mean" : "reduce_sum"; v.lo *= is_float(&v) ? 1 : count, v.hi *= is_float(&v) ? 1 : count; break;
    case 6: op = "mean_square"; v.lo = 0, v.hi = big * big; break;
    case 7: op = "var"; v.lo = 0, v.hi = 4 * big * big; break;
    default: op = "logsumexp"; v.hi += log(count) + 0.1; v.lo -= 0.1; break;
    }
    if (!is_float(&g->v[x]) && op[0] != 'r')
        return;
    if (largest(&v) > (is_float(&v) ? 300 : 1e6))
        return;
    if (is_float(&v))
        v.exact = v.whole = false;
    emit(g, v, op[0] == 'v' ? "%s(%s, axes=[%s], correction=0, keepdims=%d)" : "%s(%s, axes=[%s], keepdims=%d)", op, NAME(x), axes, keep);
}

static void op_arg(Gen *g)
{
    int x = pick(g);
    Val v = g->v[x];
    if (!v.rank || !v.exact || v.t == DT_BOOL)
        return;
    int axis = below(g, v.rank);
    bool keep = percent(g, 40);
    v.t = DT_I64, v.lo = 0, v.hi = rdim_most(g, v.d[axis]) - 1;
    v.whole = true;
    v.d[axis] = rdim(1);
    if (!keep) {
        for (int i = axis; i + 1 < v.rank; i++)
            v.d[i] = v.d[i + 1];
        v.rank--;
    }
    emit(g, v, "%s(%s, axes=[%d], keepdims=%d)", percent(g, 50) ? "argmax" : "argmin", NAME(x), axis, keep);
}

static void op_scan(Gen *g)
{
    int x = pick(g);
    Val v = g->v[x];
    if (!v.rank || v.t == DT_BOOL)
        return;
    int axis = below(g, v.rank);
    double n = rdim_most(g, v.d[axis]);
    switch (below(g, 4)) {
    case 0: emit(g, v, "cummax(%s, axis=%d)", NAME(x), axis); return;
    case 1: emit(g, v, "cummin(%s, axis=%d)", NAME(x), axis); return;
    case 2: {
        double big = pow(fmax(largest(&v), 1), n);
        if (big > 300)
            return;
        v.lo = -big, v.hi = big;
        break;
    }
    default:
        v.lo = fmin(v.lo, v.lo * n), v.hi = fmax(v.hi, v.hi * n);
        if (largest(&v) > (is_float(&v) ? 300 : 1e6))
            return;
        emit(g, is_float(&v) ? inexact(v, v.lo, v.hi) : v, "cumsum(%s, axis=%d)", NAME(x), axis);
        return;
    }
    emit(g, is_float(&v) ? inexact(v, v.lo, v.hi) : v, "cumprod(%s, axis=%d)", NAME(x), axis);
}

/* ---- products -------------------------------------------------------------------------------------------------------------------- */
static void op_matmul(Gen *g)
{
    int x = pick(g), y = -1;
    if (g->v[x].rank < 2 || !is_float(&g->v[x]))
        return;
    x = fit(g, x, -3, 3);
    Val v = g->v[x];
    bool ta = percent(g, 35), tb = percent(g, 45);
    RDim m = v.d[v.rank - (ta ? 1 : 2)], k = v.d[v.rank - (ta ? 2 : 1)], n = any_dim(g);
    if (rdim_most(g, k) > 64)
        return;
    for (int tries = 0; tries < 8 && y < 0; tries++) {             /* one that is there */
        int i = pick(g);
        const Val *o = &g->v[i];
        if (o->t != v.t || o->rank < 2 || !rdim_same(o->d[o->rank - (tb ? 1 : 2)], k) || largest(o) > 3)
            continue;
        Val a = v, b = *o, batch = {0};
        a.rank -= 2, b.rank -= 2;
        if (broadcast(&a, &b, &batch) && batch.rank <= 2)
            y = i;
    }
    if (y < 0) {
        Val w = {.t = v.t, .lo = -1, .hi = 1};
        int batch = v.rank - 2 > 0 ? below(g, v.rank - 1) : below(g, 2);
        for (int i = 0; i < batch; i++)
            w.d[w.rank++] = v.rank - 2 - batch + i < 0 ? rdim(2) : percent(g, 25) ? rdim(1) : v.d[v.rank - 2 - batch + i];
        w.d[w.rank++] = tb ? n : k;
        w.d[w.rank++] = tb ? k : n;
        if (shape_most(g, &w) > MOST)
            return;
        bool fixed = true;
        for (int i = 0; i < w.rank; i++)
            fixed &= !w.d[i].a;
        y = declare(g, w, fixed && percent(g, 60));
    }
    const Val *o = &g->v[y];
    Val a = v, b = *o, out = v;
    a.rank -= 2, b.rank -= 2;
    if (!broadcast(&a, &b, &out))
        return;
    out.d[out.rank++] = m;
    out.d[out.rank++] = o->d[o->rank - (tb ? 2 : 1)];
    double reach = rdim_most(g, k) * largest(&v) * largest(o);
    if (shape_most(g, &out) > MOST || shape_most(g, &out) * rdim_most(g, k) > 100000 || reach > 600)
        return;
    out = inexact(out, -reach, reach);
    out.narrow = out.narrow > o->narrow ? out.narrow : o->narrow;
    const char *dtype = "";
    if (dtype_bytes(out.t) == 2 && !out.narrow && percent(g, 30)) {
        out.t = DT_F32;
        dtype = ", dtype=f32";
    }
    emit(g, out, "matmul(%s, %s, trans_a=%d, trans_b=%d%s)", NAME(x), NAME(y), ta, tb, dtype);
}

/* Ends are any integers about the number of rows. */
static void op_grouped(Gen *g)
{
    int x = pick(g);
    if (g->v[x].rank != 2 || !is_float(&g->v[x]) || rdim_most(g, g->v[x].d[1]) > 64)
        return;
    x = fit(g, x, -3, 3);
    Val v = g->v[x];
    int groups = 1 + below(g, 4), rows = rdim_most(g, v.d[0]);
    bool tb = percent(g, 50);
    RDim n = any_dim(g), k = v.d[1];
    Val w = {.t = v.t, .rank = 3, .d = {rdim(groups), tb ? n : k, tb ? k : n}, .lo = -1, .hi = 1};
    Val ends = {.t = percent(g, 50) ? DT_I32 : DT_I64, .rank = 1, .d = {rdim(groups)}, .lo = -1, .hi = rows + 1, .exact = true, .whole = true};
    double reach = rdim_most(g, k) * largest(&v);
    if (shape_most(g, &w) > MOST || rdim_most(g, n) * rows > MOST || (double)rdim_most(g, n) * rows * rdim_most(g, k) > 100000 || reach > 600)
        return;
    int y = declare(g, w, !n.a && !k.a && percent(g, 60)), e = declare(g, ends, false);
    v.d[1] = n;
    emit(g, inexact(v, -reach, reach), "grouped_matmul(%s, %s, %s, trans_b=%d)", NAME(x), NAME(y), NAME(e), tb);
}

/* ---- composites ------------------------------------------------------------------------------------------------------------------- */
static void op_composite(Gen *g)
{
    int x = pick(g);
    if (!g->v[x].rank || !is_float(&g->v[x]))
        return;
    x = fit(g, x, -20, 20);
    Val v = g->v[x], w = v;
    int axis = below(g, v.rank);
    RDim last = v.d[v.rank - 1];
    w.rank = 1, w.d[0] = last;
    w.lo = -1, w.hi = 1;
    switch (below(g, 9)) {
    case 0: emit(g, inexact(v, 0, 1), "softmax(%s, axis=%d)", NAME(x), axis); return;
    case 1: emit(g, inexact(v, -46, 0), "log_softmax(%s, axis=%d)", NAME(x), axis); return;
    case 2: emit(g, inexact(v, -8, 8), "rms_norm(%s, n=%d)", NAME(x), 1 + below(g, v.rank > 1 ? 2 : 1)); return;
    case 3: {
        int weight = declare(g, w, !last.a);
        emit(g, inexact(v, -8, 8), percent(g, 50) ? "rms_norm(%s, %s)" : "rms_norm_rounded(%s, %s)", NAME(x), NAME(weight));
        return;
    }
    case 4: {
        int weight = declare(g, w, !last.a), bias = declare(g, w, false);
        emit(g, inexact(v, -9, 9), "layer_norm(%s, %s, %s)", NAME(x), NAME(weight), NAME(bias));
        return;
    }
    case 5: emit(g, inexact(v, -8, 8), "layer_norm(%s)", NAME(x)); return;
    case 6:
        if (v.d[axis].a % 2 || v.d[axis].b % 2)
            return;
        v.d[axis].a /= 2, v.d[axis].b /= 2;
        emit(g, inexact(v, -20, 20), "glu(%s, axis=%d)", NAME(x), axis);
        return;
    case 7: {
        if (last.a || last.b % 2)
            return;
        Val c = v;
        c.lo = -1, c.hi = 1;
        c.rank = v.rank > 1 ? 1 + below(g, 2) : 1;
        for (int i = 0; i < c.rank; i++)
            c.d[i] = v.d[v.rank - c.rank + i];
        int cos = declare(g, c, false), sin = declare(g, c, false);
        emit(g, inexact(v, -40, 40), "rope(%s, %s, %s)", NAME(x), NAME(cos), NAME(sin));
        return;
    }
    default: {
        if (v.rank < 3 || v.d[1].a || v.d[1].b % 2)
            return;
        emit(g, inexact(v, -8, 8), "group_norm(%s, groups=2)", NAME(x));
        return;
    }
    }
}

static void op_swiglu(Gen *g)
{
    int x = pick(g);
    if (!is_float(&g->v[x]))
        return;
    x = fit(g, x, -10, 10);
    int y = fit(g, partner(g, x, g->v[x].t), -10, 10);
    Val v = g->v[x];
    broadcast(&g->v[x], &g->v[y], &v);
    v.narrow = v.narrow > g->v[y].narrow ? v.narrow : g->v[y].narrow;
    if (shape_most(g, &v) <= MOST)
        emit(g, inexact(v, -100, 100), "swiglu(%s, %s)", NAME(x), NAME(y));
}

static void op_sdpa(Gen *g)
{
    int q = pick(g);
    Val v = g->v[q];
    if (v.rank < 3 || !is_float(&v) || v.d[v.rank - 1].a || shape_most(g, &v) > 1200)
        return;
    q = fit(g, q, -4, 4);
    Val kv = v;
    kv.lo = -1, kv.hi = 1;
    RDim s = any_dim(g);
    bool causal = percent(g, 30);
    kv.d[v.rank - 2] = causal ? v.d[v.rank - 2] : s;
    Val scores = v;
    scores.d[v.rank - 1] = kv.d[v.rank - 2];
    if (shape_most(g, &kv) > MOST || shape_most(g, &scores) > MOST)
        return;
    int k = declare(g, kv, false), w = declare(g, kv, false);
    emit(g, inexact(v, -1, 1), "sdpa(%s, %s, %s, causal=%d)", NAME(q), NAME(k), NAME(w), causal);
}

void random_op(Gen *g)
{
    static const struct { int weight; void (*op)(Gen *); } table[] = {
        {12, op_smooth}, {5, op_exact_unary}, {6, op_literal}, {14, op_binary}, {4, op_compare}, {5, op_where}, {5, op_cast},
        {6, op_reshape}, {6, op_permute}, {4, op_expand}, {6, op_slice}, {4, op_pad}, {3, op_flip}, {5, op_concat}, {2, op_repeat},
        {4, op_gather}, {3, op_source}, {12, op_reduce}, {3, op_arg}, {3, op_scan}, {7, op_matmul}, {2, op_grouped}, {9, op_composite}, {2, op_swiglu},
        {2, op_sdpa},
    };
    int total = 0;
    for (int i = 0; i < COUNT(table); i++)
        total += table[i].weight;
    int at = below(g, total);
    for (int i = 0; i < COUNT(table); i++) {
        at -= table[i].weight;
        if (at < 0) {
            table[i].op(g);
            return;
        }
    }
}
