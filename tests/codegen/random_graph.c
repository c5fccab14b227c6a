#include "tests/codegen/random_graph.h"

#include "tests/codegen/random_internal.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- chance ------------------------------------------------------------------------------------------------------------------ */
uint64_t rnd(Gen *g)
{
    uint64_t z = g->state += 0x9e3779b97f4a7c15u;              /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

int below(Gen *g, int n) { return (int)(rnd(g) % (uint64_t)n); }
bool percent(Gen *g, int n) { return below(g, 100) < n; }

/* ---- dims -------------------------------------------------------------------------------------------------------------------- */
RDim rdim(int n) { return (RDim){0, n}; }
bool rdim_same(RDim x, RDim y) { return x.a == y.a && x.b == y.b; }
bool rdim_is(RDim x, int n) { return !x.a && x.b == n; }
int rdim_most(const Gen *g, RDim x) { return x.a * (int)g->out->hi + x.b; }

double shape_most(const Gen *g, const Val *v)
{
    double n = 1;
    for (int i = 0; i < v->rank; i++)
        n *= rdim_most(g, v->d[i]);
    return n;
}

const char *rdim_text(Gen *g, RDim x)
{
    if (!x.a)
        return arena_printf(g->a, "%d", x.b);
    const char *s = x.a == 1 ? "S" : arena_printf(g->a, "%d * S", x.a);
    return !x.b ? s : arena_printf(g->a, "%s %c %d", s, x.b < 0 ? '-' : '+', x.b < 0 ? -x.b : x.b);
}

const char *shape_text_of(Gen *g, const RDim *d, int rank)
{
    const char *s = "[";
    for (int i = 0; i < rank; i++)
        s = arena_printf(g->a, "%s%s%s", s, i ? ", " : "", rdim_text(g, d[i]));
    return arena_printf(g->a, "%s]", s);
}

RDim any_dim(Gen *g)
{
    static const unsigned char extents[] = {1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 32, 33, 64};
    if (g->out->symbolic && percent(g, 30))
        return (RDim){1, 0};
    return rdim(extents[below(g, sizeof extents)]);
}

/* ---- lines ------------------------------------------------------------------------------------------------------------------- */
static const char *dist_of(Gen *g, const Val *v)
{
    if (v->t == DT_BOOL)
        return "";
    if (!dtype_is_float(v->t))
        return arena_printf(g->a, " ~ randint(%.0f, %.0f)", v->lo, v->hi + 1);
    if (v->exact && v->whole)
        return arena_printf(g->a, " ~ randint(%.0f, %.0f)", ceil(v->lo), floor(v->hi) + 1);
    return arena_printf(g->a, " ~ uniform(%.6g, %.6g)", v->lo, v->hi);
}

static int add_line(Gen *g, Val v, bool is_input, const char *text)
{
    RandomLine *l = &g->out->line[g->out->n];
    snprintf(l->name, sizeof l->name, "%%v%d", g->n);
    l->is_input = is_input;
    l->as_input = arena_printf(g->a, "input %s : %s%s%s", l->name, dtype_name(v.t), shape_text_of(g, v.d, v.rank), dist_of(g, &v));
    l->text = is_input ? l->as_input : arena_printf(g->a, "%s = %s", l->name, text);
    g->out->n++;
    g->v[g->n] = v;
    return g->n++;
}

int emit(Gen *g, Val v, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char text[512];
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    v.narrow += dtype_is_float(v.t) && !v.exact && dtype_bytes(v.t) == 2;
    if (v.t == DT_U8 && (v.lo < 0 || v.hi > 255))                  /* it wraps */
        v.lo = 0, v.hi = 255;
    if (v.t == DT_I8 && (v.lo < -128 || v.hi > 127))
        v.lo = -128, v.hi = 127;
    return add_line(g, v, false, text);
}

int declare(Gen *g, Val v, bool param)
{
    v.exact = true, v.narrow = 0;
    int i = add_line(g, v, true, NULL);
    if (param)
        g->out->line[g->out->n - 1].text = arena_printf(g->a, "param%s", g->out->line[g->out->n - 1].as_input + 5);
    return i;
}

Val any_type(Gen *g)
{
    static const DType types[] = {DT_F32, DT_F32, DT_F32, DT_F32, DT_BF16, DT_BF16, DT_F16, DT_F64, DT_I32, DT_I64, DT_BOOL};
    static const double bounds[][2] = {{-2, 2}, {-1, 1}, {0.25, 3}, {-8, 8}};
    Val v = {.t = types[below(g, sizeof types / sizeof *types)]};
    const double *b = bounds[below(g, 4)];
    v.lo = b[0], v.hi = b[1];
    v.whole = percent(g, 15);
    if (v.whole || !dtype_is_float(v.t))
        v.lo = percent(g, 50) ? -5 : 0, v.hi = 6;
    if (v.t == DT_BOOL)
        v.lo = 0, v.hi = 1;
    return v;
}

/* What rounds once more reads narrow values only in long rows, whose largest error the acceptance rule allows to all. */
static bool wanted(const Val *v)
{
    RDim last = v->rank ? v->d[v->rank - 1] : rdim(1);
    return !v->narrow || (v->narrow < 3 && !last.a && last.b >= 16);
}

/* The latest values come first. */
int pick(Gen *g)
{
    for (int tries = 0; tries < 20; tries++) {
        int i = percent(g, 55) ? g->n - 1 - below(g, g->n < 4 ? g->n : 4) : below(g, g->n);
        if (wanted(&g->v[i]))
            return i;
    }
    return 0;
}

/* A literal that every dtype holds. */
double neat(double x)
{
    int e;
    double m = frexp(x, &e);
    return ldexp(round(m * 128), e - 7);
}

double literal(Gen *g, double lo, double hi)
{
    double x = lo + (hi - lo) * (below(g, 33) / 32.0);
    return neat(x);
}

Val like(const Val *v) { return *v; }

Val inexact(Val v, double lo, double hi)
{
    v.exact = v.whole = false;
    v.lo = lo, v.hi = hi;
    return v;
}

/* A value of `v` within bounds: itself, clamped, or moved there. */
int fit(Gen *g, int v, double lo, double hi)
{
    Val x = g->v[v];
    if (x.t == DT_BOOL || (x.lo >= lo && x.hi <= hi))
        return v;
    if (!dtype_is_float(x.t) || x.exact || percent(g, 50) || x.hi - x.lo < 1e-3) {
        x.lo = fmin(fmax(x.lo, lo), hi), x.hi = fmax(fmin(x.hi, hi), lo);
        if (!dtype_is_float(x.t))
            return emit(g, x, "clamp(%s, %.0f, %.0f)", g->out->line[v].name, lo, hi);
        x.whole &= lo == floor(lo) && hi == floor(hi);
        return emit(g, x, "clamp(%s, %.10g, %.10g)", g->out->line[v].name, neat(lo), neat(hi));
    }
    double scale = neat((hi - lo) / (x.hi - x.lo) * 0.97), shift = neat((lo + hi) / 2 - (x.hi + x.lo) / 2 * scale);
    return emit(g, inexact(x, lo, hi), "add(mul(%s, %.10g), %.10g)", g->out->line[v].name, scale, shift);
}

/* ---- the graph ------------------------------------------------------------------------------------------------------------------ */
static void declare_inputs(Gen *g)
{
    int n = 1 + below(g, 4), rank = below(g, 20) || g->out->symbolic ? 1 + below(g, 4) : 0;
    RDim shape[4];
    double count = 1;
    for (int i = 0; i < rank; i++) {
        shape[i] = any_dim(g);
        if (count * rdim_most(g, shape[i]) > MOST)
            shape[i] = rdim(1 + below(g, 3));
        if (i == 0 && g->out->symbolic)                            /* its value is found from an input's shape */
            shape[i] = (RDim){1, 0};
        count *= rdim_most(g, shape[i]);
    }
    for (int k = 0; k < n; k++) {
        Val v = any_type(g);
        if (k && percent(g, 60)) {                                  /* the same, or parts of it that broadcast */
            int drop = percent(g, 50) ? 0 : below(g, rank + 1);
            v.rank = rank - drop;
            for (int i = 0; i < v.rank; i++)
                v.d[i] = percent(g, 20) ? rdim(1) : shape[drop + i];
        } else if (!k) {
            v.rank = rank;
            memcpy(v.d, shape, sizeof shape);
        } else {
            v.rank = below(g, 5);
            for (int i = 0; i < v.rank; i++) {
                v.d[i] = any_dim(g);
                if (shape_most(g, &(Val){.rank = i + 1, .d = {v.d[0], v.d[1], v.d[2], v.d[3]}}) > MOST)
                    v.d[i] = rdim(2);
            }
        }
        bool fixed = true;
        for (int i = 0; i < v.rank; i++)
            fixed &= !v.d[i].a;
        declare(g, v, fixed && k && percent(g, 40));
    }
}

/* What nothing reads, then some that something reads, an input among them. */
static void choose_outputs(Gen *g)
{
    bool read[RANDOM_LINES] = {0};
    RandomGraph *out = g->out;
    for (uint32_t i = 0; i < out->n; i++)
        for (uint32_t k = 0; k < i && !out->line[i].is_input; k++) {
            const char *at = out->line[i].text;
            size_t len = strlen(out->line[k].name);
            while ((at = strstr(at, out->line[k].name)) && at[len] >= '0' && at[len] <= '9')
                at += len;
            read[k] |= at != NULL;
        }
    for (uint32_t i = out->n; i-- > 0 && out->n_out < 4; )
        if (!read[i] && !out->line[i].is_input)
            memcpy(out->output[out->n_out++], out->line[i].name, 8);
    while (out->n_out < RANDOM_OUTPUTS && (!out->n_out || percent(g, 25)))
        memcpy(out->output[out->n_out++], out->line[below(g, (int)out->n)].name, 8);
}

RandomGraph random_graph(Arena *a, uint64_t seed)
{
    RandomGraph out = {.arena = a};
    Gen g = {.a = a, .state = seed * 0x2545f4914f6cdd1du + 77, .out = &out};
    for (int i = 0; i < 3; i++)
        rnd(&g);
    if (percent(&g, 35)) {
        static const int spans[][5] = {{1, 33, 1, 7, 32}, {2, 17, 2, 13, 16}, {3, 64, 3, 17, 64}, {1, 8, 1, 2, 8}};
        const int *s = spans[below(&g, 4)];
        out.symbolic = true;
        out.lo = s[0], out.hi = s[1];
        for (int i = 0; i < 3; i++)
            out.at[i] = s[2 + i];
    }
    declare_inputs(&g);
    uint32_t nodes = 3 + (uint32_t)(percent(&g, 60) ? below(&g, 9) : below(&g, 23));
    for (int tries = 0; out.n < nodes + 2 && tries < 200 && out.n + 12 < RANDOM_LINES; tries++)
        random_op(&g);
    choose_outputs(&g);
    return out;
}

char *random_graph_text(Arena *a, const RandomGraph *r, bool inputs_only)
{
    char *s = arena_printf(a, "graph fuzz {");
    if (r->symbolic)
        s = arena_printf(a, "%s\n dim S in [%lld, %lld]", s, (long long)r->lo, (long long)r->hi);
    for (int inputs = 1; inputs >= 0; inputs--)
        for (uint32_t i = 0; i < r->n; i++)
            if (r->line[i].is_input == inputs)
                s = arena_printf(a, "%s\n %s", s, inputs && inputs_only ? r->line[i].as_input : r->line[i].text);
    s = arena_printf(a, "%s\n return ", s);
    for (uint32_t i = 0; i < r->n_out; i++)
        s = arena_printf(a, "%s%so%u=%s", s, i ? ", " : "", i, r->output[i]);
    return arena_printf(a, "%s\n}", s);
}
