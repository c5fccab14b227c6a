/* tests/base/test_dim.c — dims against brute force: random expressions over small ranges have the same value before and
 * after simplification under every assignment, and nothing that is proven is ever wrong. Then the simplifications that the
 * compiler counts on, by name. */
#include "base/context.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- random expressions ---- */

enum { SYMS = 3, DEEPEST = 4, NODES = 256, ROUNDS = 1600, PER_ROUND = 80 };

typedef struct { DimKind kind; char op; int64_t value; int a, b; } Ast;     /* op: + - * / % m M, s for symbols, c */

typedef struct {
    uint64_t state;
    Context *cx;
    Ast      nodes[NODES];
    int      n;
    Dim      sym[SYMS];
    int64_t  lo[SYMS], hi[SYMS];
    int      below[SYMS];          /* symbol s < sym[below[s]] * times[s], or -1 */
    int64_t  times[SYMS];
    int64_t  v[SYMS];
} Fuzz;

static uint64_t next(Fuzz *f)
{
    f->state = f->state * 6364136223846793005u + 1442695040888963407u;
    return f->state >> 33;
}
static int64_t pick(Fuzz *f, int64_t lo, int64_t hi) { return lo + (int64_t)(next(f) % (uint64_t)(hi - lo + 1)); }

static int ast_add(Fuzz *f, Ast x)
{
    assert_true(f->n < NODES);
    f->nodes[f->n] = x;
    return f->n++;
}
static int ast_const(Fuzz *f, int64_t v) { return ast_add(f, (Ast){.op = 'c', .value = v}); }
static int ast_sym(Fuzz *f, int64_t i)   { return ast_add(f, (Ast){.op = 's', .value = i}); }

static int ast_random(Fuzz *f, int depth);

static int ast_divisor(Fuzz *f, int depth)
{
    int64_t way = pick(f, 0, 9);
    if (way < 6)
        return ast_const(f, pick(f, 1, way < 3 ? 4 : 24));
    int s = ast_sym(f, pick(f, 0, SYMS - 1));
    if (way == 6)
        return s;
    if (way == 7)
        return ast_add(f, (Ast){.op = '*', .a = s, .b = ast_const(f, pick(f, 2, 6))});
    if (way == 8)
        return ast_add(f, (Ast){.op = '+', .a = s, .b = ast_const(f, pick(f, 1, 4))});
    return ast_random(f, depth - 1);
}

static int ast_random(Fuzz *f, int depth)
{
    int64_t way = pick(f, 0, 19);
    if (depth == 0 || way < 2)
        return pick(f, 0, 2) ? ast_sym(f, pick(f, 0, SYMS - 1)) : ast_const(f, pick(f, -9, 20));
    if (way < 4) {
        int a = ast_random(f, depth - 1), c = ast_const(f, pick(f, -6, 16));
        return ast_add(f, (Ast){.op = '*', .a = a, .b = c});
    }
    static const char ops[] = "+++--**//%%mM++//%";
    char op = ops[pick(f, 0, (int64_t)sizeof ops - 2)];
    int a = ast_random(f, depth - 1);
    int b = op == '/' || op == '%' ? ast_divisor(f, depth) : ast_random(f, depth - 1);
    return ast_add(f, (Ast){.op = op, .a = a, .b = b});
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

static bool ast_eval(const Fuzz *f, int i, int64_t *out)
{
    const Ast *x = &f->nodes[i];
    int64_t a, b;
    if (x->op == 'c') { *out = x->value; return true; }
    if (x->op == 's') { *out = f->v[x->value]; return true; }
    if (!ast_eval(f, x->a, &a) || !ast_eval(f, x->b, &b))
        return false;
    switch (x->op) {
    case '+': *out = a + b; return true;
    case '-': *out = a - b; return true;
    case '*': *out = a * b; return true;
    case 'm': *out = a < b ? a : b; return true;
    case 'M': *out = a > b ? a : b; return true;
    default:  break;
    }
    if (b <= 0)
        return false;
    *out = x->op == '/' ? floor_div(a, b) : a - b * floor_div(a, b);
    return true;
}

/* NULL when a divisor is never positive: the constructors refuse those. */
static Dim ast_dim(Fuzz *f, int i)
{
    const Ast *x = &f->nodes[i];
    DimPool *p = f->cx->dims;
    if (x->op == 'c') return dim_const(p, x->value);
    if (x->op == 's') return f->sym[x->value];
    Dim a = ast_dim(f, x->a), b = ast_dim(f, x->b);
    if (!a || !b)
        return NULL;
    switch (x->op) {
    case '+': return dim_add(p, a, b);
    case '-': return dim_sub(p, a, b);
    case '*': return dim_mul(p, a, b);
    case 'm': return dim_min(p, a, b);
    case 'M': return dim_max(p, a, b);
    default:  break;
    }
    if (b->hi <= 0)
        return NULL;
    return x->op == '/' ? dim_floordiv(p, a, b) : dim_mod(p, a, b);
}

static void make_symbols(Fuzz *f)
{
    static const char *const names[SYMS] = {"S", "i", "j"};
    for (int s = 0; s < SYMS; s++) {
        f->below[s] = -1;
        if (s > 0 && pick(f, 0, 1)) {
            f->below[s] = (int)pick(f, 0, s - 1);
            f->times[s] = pick(f, 1, 3);
            Dim extent = dim_mul_const(f->cx->dims, f->sym[f->below[s]], f->times[s]);
            f->sym[s] = dim_sym_below(f->cx->dims, names[s], extent);
            f->lo[s] = 0;
        } else {
            f->lo[s] = pick(f, 0, 3) ? pick(f, 0, 2) : pick(f, -4, 3);
            f->hi[s] = f->lo[s] + pick(f, 0, 5);
            f->sym[s] = dim_sym(f->cx->dims, names[s], f->lo[s], f->hi[s]);
        }
    }
}

/* Steps to the next consistent assignment, an odometer whose later digits depend on the earlier ones. */
static int64_t top(const Fuzz *f, int s)
{
    return f->below[s] < 0 ? f->hi[s] : f->v[f->below[s]] * f->times[s] - 1;
}
static bool settle(Fuzz *f, int from)
{
    for (int s = from; s < SYMS; s++)
        f->v[s] = f->lo[s];
    for (int s = 0; s < SYMS; s++)
        if (top(f, s) < f->v[s])
            return false;
    return true;
}
static bool assignment_next(Fuzz *f, bool first)
{
    if (first && settle(f, 0))
        return true;
    for (;;) {
        int s = SYMS - 1;
        while (s >= 0 && f->v[s] >= top(f, s))
            s--;
        if (s < 0)
            return false;
        f->v[s]++;
        if (settle(f, s + 1))
            return true;
    }
}

static void explain(Fuzz *f, Dim a, Dim b, const char *claim)
{
    print_message("%s: %s", claim, dim_text(f->cx->arena, a));
    if (b)
        print_message("   |   %s", dim_text(f->cx->arena, b));
    for (int s = 0; s < SYMS; s++)
        print_message("   %s=%lld in [%lld, %lld] below %d*%lld", f->sym[s]->name, (long long)f->v[s],
                      (long long)f->sym[s]->lo, (long long)f->sym[s]->hi, f->below[s], (long long)f->times[s]);
    print_message("\n");
    for (int i = 0; i < f->n; i++)
        print_message("  %d: %c %lld %d %d\n", i, f->nodes[i].op, (long long)f->nodes[i].value, f->nodes[i].a,
                      f->nodes[i].b);
    fail();
}

typedef struct { bool le, lt, ge, gt, ne, divides; } Claims;

static void check_values(Fuzz *f, const int ast[2], const Dim d[2], Claims c)
{
    for (bool more = assignment_next(f, true); more; more = assignment_next(f, false)) {
        DimValue values[SYMS];
        int64_t want[2], got;
        bool defined[2];
        for (int s = 0; s < SYMS; s++)
            values[s] = (DimValue){f->sym[s]->name, f->v[s]};
        for (int k = 0; k < 2; k++) {
            defined[k] = ast_eval(f, ast[k], &want[k]);
            if (!defined[k])
                continue;
            if (!dim_eval(d[k], values, SYMS, &got, NULL) || got != want[k])
                explain(f, d[k], NULL, "wrong value");
            if (want[k] < d[k]->lo || want[k] > d[k]->hi)
                explain(f, d[k], NULL, "outside its range");
        }
        if (!defined[0] || !defined[1])
            continue;
        if ((c.le && want[0] > want[1]) || (c.lt && want[0] >= want[1]) || (c.ne && want[0] == want[1])
            || (c.ge && want[0] < want[1]) || (c.gt && want[0] <= want[1]))
            explain(f, d[0], d[1], c.lt ? "wrong <" : c.le ? "wrong <=" : c.gt ? "wrong >" : c.ge ? "wrong >=" : "wrong !=");
        if (c.divides && want[0] > 0 && want[1] % want[0] != 0)
            explain(f, d[0], d[1], "does not divide");
    }
}

/* How often the order is true but not proven is a matter of strength, not of truth: only reported. */
typedef struct { long expressions, reread_differs, proven; } Tally;

static void check_forms(Fuzz *f, Dim d, Tally *t)
{
    DimPool *p = f->cx->dims;
    const char *error;
    Dim again = dim_parse(p, dim_text(f->cx->arena, d), false, NULL, &error);
    if (!again)
        explain(f, d, NULL, error);
    DimSubst none = {f->sym[0], f->sym[0]};
    t->reread_differs += again != d || dim_subst(p, d, &none, 1) != d;
    Dim c, r;
    if (dim_linear_in(p, d, f->sym[1], &c, &r) && !d->extent) {
        assert_false(dim_uses(c, f->sym[1]) || dim_uses(r, f->sym[1]));
        assert_true(dim_add(p, dim_mul(p, c, f->sym[1]), r) == d);
    }
}

static void one_round(Fuzz *f, Tally *t)
{
    f->cx = context_new();
    make_symbols(f);
    for (int k = 0; k < PER_ROUND / 2; k++) {
        DimPool *p = f->cx->dims;
        f->n = 0;
        int ast[2] = {ast_random(f, (int)pick(f, 1, DEEPEST)), 0};
        ast[1] = ast_random(f, (int)pick(f, 1, DEEPEST));
        Dim d[2] = {ast_dim(f, ast[0]), ast_dim(f, ast[1])};
        if (!d[0] || !d[1])
            continue;
        Claims c = {
            dim_le(p, d[0], d[1]), dim_lt(p, d[0], d[1]), dim_le(p, d[1], d[0]), dim_lt(p, d[1], d[0]),
            dim_ne(p, d[0], d[1]), dim_divides(p, d[0], d[1])
        };
        t->proven += c.le || c.ge;
        t->expressions += 2;
        check_values(f, ast, d, c);
        check_forms(f, d[0], t);
        check_forms(f, d[1], t);
    }
    context_free(f->cx);
}

static void fuzz(void **state)
{
    (void)state;
    const char *rounds = getenv("PAWL_FUZZ_ROUNDS"), *seed = getenv("PAWL_FUZZ_SEED");
    Fuzz f = {.state = seed ? strtoull(seed, NULL, 0) : 12345};
    Tally t = {0};
    for (long r = rounds ? atol(rounds) : ROUNDS; r > 0; r--)
        one_round(&f, &t);
    print_message("%ld expressions, %ld orders proven, %ld read back as another form\n", t.expressions, t.proven,
                  t.reread_differs);
    assert_true(t.reread_differs * 200 < t.expressions);
}

/* ---- by name ---- */

typedef struct { Context *cx; DimPool *p; } Fixture;

static int setup(void **state)
{
    Fixture *f = calloc(1, sizeof *f);
    f->cx = context_new();
    f->p = f->cx->dims;
    dim_sym(f->p, "S", 1, INT64_MAX);
    dim_sym(f->p, "H", 1, 1 << 20);
    dim_sym(f->p, "x", 0, INT64_MAX);
    dim_sym(f->p, "i", 0, 1000);
    dim_sym(f->p, "j", 0, 3);
    dim_sym_below(f->p, "s", dim_sym_find(f->p, "S"));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    context_free(f->cx);
    free(f);
    return 0;
}

static Dim parse(Fixture *f, const char *text)
{
    const char *error = NULL;
    Dim d = dim_parse(f->p, text, false, NULL, &error);
    if (!d)
        fail_msg("%s: %s", text, error);
    return d;
}

static void simplifies(void **state)
{
    Fixture *f = *state;
    static const char *const same[][2] = {
        {"(x*8 + j) // 8", "x"}, {"(x*8 + j) % 8", "j"}, {"(x // 4) // 8", "x // 32"},
        {"(x % 32) % 8", "x % 8"}, {"(x % 32) // 8", "(x // 8) % 4"}, {"8*(x // 8) + x % 8", "x"},
        {"24*(x // 8) + 3*(x % 8) + i", "3*x + i"}, {"32*(x // 32) + 4*((x // 4) % 8) + x % 4", "x"},
        {"x - 8*(x // 8)", "x % 8"}, {"x - x % 8", "8*(x // 8)"}, {"(4*i + j) % 8", "4*(i % 2) + j"},
        {"(4*i + j) // 8", "i // 2"}, {"(S*i + s) // S", "i"}, {"(S*i + s) % S", "s"},
        {"(i*S*4 + j*S + s) // (4*S)", "i"}, {"(i*S*4 + j*S + s) % (4*S)", "j*S + s"},
        {"((j*S + s) % (4*S)) // S", "j"}, {"S*(x // S) + x % S", "x"}, {"S*i*(x // S) + i*(x % S)", "i*x"},
        {"((S + 1)*i + s) // (S + 1)", "i"}, {"((S + 1)*i + s) % (S + 1)", "s"},
        {"(S + 1)*(x // (S + 1)) + x % (S + 1)", "x"}, {"min(x, x + 1)", "x"}, {"max(S, S + x)", "S + x"},
        {"min(min(x, i), x)", "min(i, x)"}, {"min(x, max(x, i))", "x"}, {"min(s, S)", "s"}, {"min(S - 1, s)", "s"},
        {"(S*H*6) // (2*H)", "3*S"}, {"(7*S + s) // (2*S)", "3"}, {"(S + S - 1) // S", "1"},
        {"(5*x) % 4", "x % 4"}, {"(x + 4*(i % 8)) % 4", "x % 4"}, {"4*((x // 4) % 2) + x % 4", "x % 8"},
        {"(S - 1 - s) % S", "S - 1 - s"}, {"(s - S) // S", "0 - 1"}, {"(x * 0) // 7", "0"},
        {"((x // S) // H)", "x // (H*S)"}, {"(x % (S*H)) % S", "x % S"}, {"(x % (S*H)) // S", "(x // S) % H"},
    };
    for (size_t k = 0; k < sizeof same / sizeof *same; k++) {
        Dim a = parse(f, same[k][0]), b = parse(f, same[k][1]);
        if (a != b)
            fail_msg("%s gives %s, not %s", same[k][0], dim_text(f->cx->arena, a), dim_text(f->cx->arena, b));
    }
}

static void proves(void **state)
{
    Fixture *f = *state;
    static const char *const below[][2] = {           /* a < b */
        {"s", "S"}, {"4*s + j", "4*S"}, {"j*S + s", "4*S"}, {"(j*S + s)*H", "4*S*H"}, {"x % H", "H"},
        {"x % S", "S"}, {"8*(x // 8)", "x + 1"}, {"x", "8*(x // 8) + 8"}, {"min(x, H) - 1", "H"},
        {"s // 4", "(S + 3) // 4"}, {"x % (4*S)", "4*S"}, {"(x // 7) % S", "S"}, {"x // 2", "x + 1"},
        {"s*64 + i % 64", "S*64"}, {"S - 1 - s", "S"}, {"0 - 1", "S - 1 - s"},
    };
    for (size_t k = 0; k < sizeof below / sizeof *below; k++) {
        Dim a = parse(f, below[k][0]), b = parse(f, below[k][1]);
        if (!dim_lt(f->p, a, b))
            fail_msg("not proven: %s < %s", below[k][0], below[k][1]);
        assert_true(dim_le(f->p, a, b) && dim_ne(f->p, a, b));
        assert_false(dim_le(f->p, b, a));
    }
    assert_false(dim_lt(f->p, parse(f, "x"), parse(f, "S")));
    assert_false(dim_le(f->p, parse(f, "H"), parse(f, "S")));
    assert_true(dim_ne(f->p, parse(f, "2*x"), parse(f, "2*i + 1")));
    assert_true(dim_divides(f->p, parse(f, "8"), parse(f, "16*x + 24*i*S")));
    assert_true(dim_divides(f->p, parse(f, "S"), parse(f, "S*x + 2*S")));
    assert_false(dim_divides(f->p, parse(f, "8"), parse(f, "4*x")));
    assert_true(dim_divides(f->p, parse(f, "8"), dim_align_up(f->p, parse(f, "x"), 8)));
}

static void tail_of_a_tiled_loop(void **state)
{
    Fixture *f = *state;
    DimPool *p = f->p;
    Dim S = parse(f, "S"), tile = dim_sym_below(p, "tile", dim_ceildiv(p, S, dim_const(p, 64)));
    Dim start = dim_mul_const(p, tile, 64);
    assert_true(dim_lt(p, start, S));
    Dim extent = dim_min(p, dim_const(p, 64), dim_sub(p, S, start));
    Dim v = dim_sym_below(p, "v", extent), index = dim_add(p, start, v);
    assert_true(dim_lt(p, index, S));
    assert_true(dim_floordiv(p, index, dim_const(p, 64)) == tile);
    assert_true(dim_mod(p, index, dim_const(p, 64)) == v);
    Dim flat = dim_add(p, dim_mul(p, parse(f, "i"), S), index);
    assert_true(dim_floordiv(p, flat, S) == parse(f, "i"));
    assert_true(dim_mod(p, flat, S) == index);
}

static void prints(void **state)
{
    Fixture *f = *state;
    static const char *const text[] = {
        "4*H + 2", "(S + 7) // 8", "S % 8", "min(S, 4)", "H*S + 3*(x // 8) - 1", "4 - S", "-2*H*S", "0 - S // 8",
        "max(min(H, S), x)", "(S // (H + 1)) % 4", "-S - 4", "S*S", "0", "-3"
    };
    for (size_t k = 0; k < sizeof text / sizeof *text; k++) {
        Dim d = parse(f, text[k]);
        assert_true(parse(f, dim_text(f->cx->arena, d)) == d);
    }
    static const char *const exact[] = {"4*H + 2", "(S + 7) // 8", "S % 8", "4 - S", "0 - S // 8", "H*S + 3*(x // 8) - 1"};
    for (size_t k = 0; k < sizeof exact / sizeof *exact; k++)
        assert_string_equal(dim_text(f->cx->arena, parse(f, exact[k])), exact[k]);
}

static void refuses(void **state)
{
    Fixture *f = *state;
    static const char *const wrong[] = {
        "", "S +", "S / 2", "(S", "min(S)", "min(S, 2", "S // 0", "S % (0*S)", "unknown", "9223372036854775808",
        "9223372036854775807 * 2", "S S", "4 4", "*", "S // -4", "(S*4611686018427387904)*4"
    };
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        const char *error = NULL;
        if (dim_parse(f->p, wrong[k], false, NULL, &error))
            fail_msg("accepted: %s", wrong[k]);
        assert_non_null(error);
    }
    char deep[2001];
    memset(deep, '(', 2000);
    deep[2000] = '\0';
    assert_null(dim_parse(f->p, deep, false, NULL, NULL));
    const char *end;
    Dim d = dim_parse(f->p, "New + 1]", true, &end, NULL);
    assert_non_null(d);
    assert_string_equal(end, "]");
    assert_int_equal(dim_sym_find(f->p, "New")->lo, 0);
}

static void names_and_substitution(void **state)
{
    Fixture *f = *state;
    DimPool *p = f->p;
    Dim a = dim_sym_fresh(p, "loop", 0, 7), b = dim_sym_fresh(p, "loop", 0, 7);
    assert_string_equal(a->name, "loop");
    assert_string_equal(b->name, "loop1");
    Dim d = dim_add(p, dim_mul_const(p, a, 8), b);
    assert_true(dim_floordiv(p, d, dim_const(p, 8)) == a);
    DimSubst swap[] = {{a, b}, {b, a}};
    assert_true(dim_subst(p, d, swap, 2) == dim_add(p, dim_mul_const(p, b, 8), a));
    Str missing;
    int64_t v;
    assert_false(dim_eval(d, (DimValue[]){{a->name, 1}}, 1, &v, &missing));
    assert_ptr_equal(missing, b->name);
    assert_true(dim_eval(d, (DimValue[]){{a->name, 1}, {b->name, 2}}, 2, &v, &missing));
    assert_int_equal(v, 10);
    assert_true(dim_is(dim_product(p, NULL, 0), 1));
    Dim other = dim_parse(p, "loop + 3", false, NULL, NULL), c, r;
    assert_true(dim_linear_in(p, other, a, &c, &r) && dim_is(c, 1) && dim_is(r, 3));
    assert_false(dim_linear_in(p, dim_mul(p, a, a), a, &c, &r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(simplifies, setup, teardown),
        cmocka_unit_test_setup_teardown(proves, setup, teardown),
        cmocka_unit_test_setup_teardown(tail_of_a_tiled_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(prints, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(names_and_substitution, setup, teardown),
        cmocka_unit_test(fuzz),
    };
    return cmocka_run_group_tests_name("dim", tests, NULL, NULL);
}
