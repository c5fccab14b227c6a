/* Norms through the products behind them: where that is offered, that it keeps the algebra and the errors, and what becomes of rows and
 * weights near the ends of the range and beyond. */
#include "ir/identity.h"
#include "passes_fixture.h"
#include "tests/passes/picks.h"

static PassOptions folding(NumClass c)
{
    PassOptions o = default_options();
    o.fold_norms = true;
    o.numerics = (Numerics){c, c, c, 0};
    return o;
}

static uint32_t offers(const Graph *g)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->nodes.n; i++)
        n += g->nodes.data[i]->op == OP_CHOICE && !strncmp(node_attr(g->nodes.data[i], ATTR_ID)->s, "fold_norm@", 10);
    return n;
}

/* ---- where ------------------------------------------------------------------------------------------------------------------------ */
#define IN "input %x : bf16[6, 32]\nparam %w : bf16[24, 32]\nparam %v : bf16[32, 40]\nparam %g : bf16[32]\ninput %z : bf16[24, 32]\n"

static const struct { const char *name, *body; NumClass c; uint32_t places; } places[] = {
    {"rounded twice",        "%h = rms_norm_rounded(%x, %g, eps=1e-6)\n%y = linear(%h, %w)", NUM_BF16, 1},
    {"rounded once",         "%h = rms_norm(%x, %g, eps=1e-6)\n%y = matmul(%h, %v)", NUM_BF16, 1},
    {"no gain",              "%h = rms_norm(%x, eps=1e-6)\n%y = linear(%h, %w)", NUM_BF16, 1},
    {"through a view",       "%h = rms_norm(%x, %g, eps=1e-6)\n%r = reshape(%h, shape=[2, 3, 32])\n%y = matmul(%r, %v)", NUM_BF16, 1},
    {"in f32",               "%h = rms_norm(%x, %g, eps=1e-6)\n%y = matmul(%h, %v, dtype=f32)", NUM_BF16, 1},
    {"stacked, as one",      "%h = rms_norm(%x, %g, eps=1e-6)\n%a = linear(%h, %w)\n%b = linear(%h, mul(%w, %w))\n%y = add(%a, %b)", NUM_BF16, 1},
    {"not stacked: widest",  "%h = rms_norm(%x, %g, eps=1e-6)\n%a = linear(%h, %w)\n%b = matmul(%h, %v)\n%y = concat(%a, %b, axis=1)", NUM_BF16, 1},
    {"of another class",     "%h = rms_norm(%x, %g, eps=1e-6)\n%y = linear(%h, %w)", NUM_FP32, 0},
    {"the norm is wanted",   "%h = rms_norm(%x, %g, eps=1e-6)\n%y = concat(linear(%h, %w), %h, axis=1)", NUM_BF16, 0},
    {"weights that come",    "%h = rms_norm(%x, %g, eps=1e-6)\n%y = linear(%h, %z)", NUM_BF16, 0},
    {"a gain that comes",    "%k = slice(%z, axis=0, start=0, size=1)\n%h = rms_norm(%x, eps=1e-6)\n%y = linear(mul(%h, %k), %w)", NUM_BF16, 0},
    {"r may be infinite",    "%h = rms_norm(%x, %g, eps=0)\n%y = linear(%h, %w)", NUM_BF16, 0},
    {"another scale",        "%r = rsqrt(add(sum(cast(%x, dtype=f32), axes=[1], keepdims=1), 1.0))\n"
                             "%y = linear(cast(mul(cast(%x, dtype=f32), %r), dtype=bf16), %w)", NUM_BF16, 0},
    {"the right operand",    "%h = rms_norm(%x, %g, eps=1e-6)\n%y = matmul(%w, %h, trans_b=1)", NUM_BF16, 0},
};

static void offered(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        Context *cx = context_new();
        Graph *g = parse(cx, arena_printf(cx->arena, "graph g {\n%s%s\nreturn %%y\n}\n", IN, places[i].body));
        PassOptions o = folding(places[i].c);
        for (int again = 0; again < 2; again++) {
            must_run(g, &o, NULL);
            if (offers(g) != places[i].places)
                fail_msg("%s: %u places\n%s", places[i].name, offers(g), graph_text(cx->arena, g));
        }
        o.fold_norms = false;
        Graph *other = parse(cx, arena_printf(cx->arena, "graph g {\n%s%s\nreturn %%y\n}\n", IN, places[i].body));
        must_run(other, &o, NULL);
        assert_int_equal(offers(other), 0);
        graph_free(other);
        graph_free(g);
        context_free(cx);
    }
}

/* Without rounding both forms are the same; f64 and f32 would be, too, if the pass took them. */
static void same_meaning(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        Context *cx = context_new();
        const char *text = arena_printf(cx->arena, "graph g {\n%s%s\nreturn %%y\n}\n", IN, places[i].body);
        Graph *before = parse(cx, text), *g = parse(cx, text);
        PassOptions o = folding(places[i].c);
        must_run(g, &o, NULL);
        Graph *after = last_alternatives(cx, g, NULL);
        assert_same_meaning(before, after, cx->arena);
        IdentityReport r;
        IdentityOptions io = {.trials = 8};
        assert_true(residue_compare_graphs(before, after, &io, cx->arena, &r));
        if (r.verdict != IDENTITY_EQUAL)
            fail_msg("%s: %s\n%s", places[i].name, identity_text(cx->arena, &r), graph_text(cx->arena, after));
        graph_free(after);
        graph_free(before);
        graph_free(g);
        context_free(cx);
    }
}

/* ---- rounding, and what does not round ------------------------------------------------------------------------------------------------- */
enum { ROWS = 16, COLUMNS = 64, DEPTH = 512 };

typedef struct { const char *name; double gain, weight; } Spread;         /* powers of two, up and down */

static double spread(uint64_t i, double bits) { return exp2(bits * (2 * (double)(hash_mix(i, 11) >> 40) / (double)(1 << 24) - 1)); }

static float stored(double v)
{
    uint16_t bits;
    dtype_store(DT_BF16, (char *)&bits, v);
    return (float)dtype_load(DT_BF16, (const char *)&bits);
}

/* What the rows are multiplied by; the squares of some overflow. One of the largest numbers; one with one number, of zeros; and from 12 on
 * Inf, -Inf and NaN in them. */
static double row_scale(int64_t row)
{
    static const double scale[ROWS] = {1, 1e-3, 1e3, 1e-12, 1e-30, 1e15, 1e30, 3e38, 1e38, 1, 0, 1e-38, 1, 1, 1, 1e30};
    return scale[row];
}

static void fill(Tensor *x, const char *name, const Spread *s)
{
    int64_t n = tensor_count(x);
    for (int64_t i = 0; i < n; i++) {
        char *to = (char *)x->data + i * 2;
        double v = dtype_load(DT_BF16, to);
        int64_t row = i / DEPTH, col = i % DEPTH;
        if (!strcmp(name, "g"))
            v *= spread((uint64_t)i, s->gain);
        else if (!strcmp(name, "w"))
            v *= spread((uint64_t)i, s->weight);
        else if (row == 7)
            v = col % 3 ? 3e38 : -3e38;
        else if (row == 9)
            v = col == 5 ? 7 : 0;
        else
            v = v * row_scale(row);
        if (!strcmp(name, "x") && row >= 12 && col == 100 + row)
            v = row == 12 ? INFINITY : row == 13 ? -INFINITY : NAN;
        dtype_store(DT_BF16, to, stored(v));
    }
}

typedef struct { double sum, count; } Mean;

static void add(Mean *m, double error) { m->sum += error * error, m->count++; }

static void errors(void **state)
{
    static const Spread spreads[] = {{"even", 0, 0}, {"gains apart", 30, 0}, {"weights apart", 0, 30}, {"large weights", 0, 100}};
    static const char *const bodies[] = {"%h = rms_norm_rounded(%x, %g, eps=1e-6)\n%y = linear(%h, %w)", "%h = rms_norm(%x, %g, eps=1e-6)\n%y = linear(%h, %w)"};
    (void)state;
    for (size_t i = 0; i < 2 * sizeof spreads / sizeof *spreads; i++) {
        Context *cx = context_new();
        const Spread *s = &spreads[i / 2];
        const char *text = arena_printf(cx->arena, "graph g {\ninput %%x : bf16[16, 512]\nparam %%w : bf16[64, 512]\nparam %%g : bf16[512]\n%s\nreturn %%y\n}\n",
                                        bodies[i % 2]);
        Graph *before = parse(cx, text), *g = parse(cx, text);
        PassOptions o = folding(NUM_BF16);
        must_run(g, &o, NULL);
        assert_int_equal(offers(g), 1);
        Graph *after = last_alternatives(cx, g, NULL);
        Tensor **in = draw_inputs(before, cx->arena);
        for (uint32_t k = 0; k < before->inputs.n; k++)
            fill(in[k], before->inputs.data[k].name, s);
        const Value *exact = eval_all(eval_new(before, &domain_fp64, in, cx->arena), 0);
        const Value *plain = eval_all(eval_new(before, &domain_baseline, in, cx->arena), 0);
        const Value *fold = eval_all(eval_new(after, &domain_baseline, in, cx->arena), 0);
        const Value *scale = eval_all(eval_new(before, &domain_error, in, cx->arena), 0);
        uint16_t y[ROWS * COLUMNS];
        Mean a = {0}, b = {0};
        for (int64_t at = 0; at < ROWS * COLUMNS; at++) {
            int64_t row = at / COLUMNS;
            dtype_store(DT_BF16, (char *)&y[at], fold[at].v);
            if (isnan(plain[at].v) != isnan(fold[at].v) || isinf(plain[at].v) != isinf(fold[at].v))
                fail_msg("%s, row %lld: %g for %g", s->name, (long long)row, fold[at].v, plain[at].v);
            if (plain[at].v == 0 && row_scale(row) > 1e19)
                assert_true(fold[at].v == 0);                              /* the squares overflow, as they do unfolded */
            if (row < 6)
                add(&a, (plain[at].v - exact[at].v) / scale[at].e), add(&b, (fold[at].v - exact[at].v) / scale[at].e);
        }
        if (sqrt(b.sum) > 1.02 * sqrt(a.sum))
            fail_msg("%s: errors of %g of their scale for %g", s->name, sqrt(b.sum / b.count), sqrt(a.sum / a.count));
        for (int64_t row = 0; row < 12; row++) {
            int64_t at = row * COLUMNS;
            Verdict v = accept_output(NUM_BF16, 0, DT_BF16, y + at, NULL, COLUMNS, COLUMNS, exact + at, plain + at, scale + at);
            if (!v.pass && row_scale(row) < 1e19)
                fail_msg("%s, row %lld: %s", s->name, (long long)row, verdict_text(cx->arena, &v));
        }
        graph_free(after);
        graph_free(before);
        graph_free(g);
        context_free(cx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(offered), cmocka_unit_test(same_meaning), cmocka_unit_test(errors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
