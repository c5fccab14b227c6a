/* The residue domain's arithmetic: its primes, the laws that it must keep, what it leaves open, constants, speed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <time.h>
#include "base/residue.h"

typedef struct { Arena *a; ResidueField *f[RESIDUE_PAIRS]; } Fixture;

static int setup(void **state)
{
    static Fixture x;
    x.a = arena_new();
    for (uint32_t i = 0; i < RESIDUE_PAIRS; i++)
        x.f[i] = residue_field_new(i, 7, x.a);
    *state = &x;
    return 0;
}

static int teardown(void **state)
{
    arena_free(((Fixture *)*state)->a);
    return 0;
}

/* ---- primes --------------------------------------------------------------------------------------------------------------- */
static uint64_t power(uint64_t a, uint64_t e, uint64_t n)
{
    unsigned __int128 r = 1, x = a % n;
    for (; e; e >>= 1, x = x * x % n)
        if (e & 1)
            r = r * x % n;
    return (uint64_t)r;
}

static bool is_prime(uint64_t n)                           /* Miller–Rabin; these bases decide below 2^64 */
{
    static const uint64_t bases[] = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37};
    int twos = __builtin_ctzll(n - 1);
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        uint64_t x = power(bases[i], (n - 1) >> twos, n);
        bool passes = x == 1 || x == n - 1;
        for (int k = 1; k < twos && !passes; k++) {
            x = (uint64_t)((unsigned __int128)x * x % n);
            passes = x == n - 1;
        }
        if (!passes)
            return false;
    }
    return true;
}

static void primes_are_as_promised(void **state)
{
    (void)state;
    for (uint32_t pair = 0; pair < RESIDUE_PAIRS; pair++) {
        uint64_t n[4];
        residue_field_primes(pair, n);
        assert_true(n[0] < RESIDUE_GUESS / 4 && n[0] > (UINT64_C(1) << 59));
        assert_true(n[0] == 2 * n[1] * n[2] * n[3] + 1);
        assert_true(n[1] != n[2] && n[2] != n[3] && n[1] != n[3]);
        for (int i = 0; i < 4; i++) {
            assert_true(is_prime(n[i]) && n[i] % 4 == 3);
            for (uint64_t small = 2; small <= 13; small++)  /* squares, so that decimals are "positive" */
                assert_true(power(small, (n[i] - 1) / 2, n[i]) == 1);
        }
    }
}

/* ---- laws ----------------------------------------------------------------------------------------------------------------- */
typedef struct { const ResidueField *f; Residue a, b, c, x /* positive */, y /* positive */; } Vars;
#define CALL(fn, z) residue_function(v->f, RF_##fn, z)
static Residue add(const Vars *v, Residue a, Residue b) { return residue_add(v->f, a, b); }
static Residue sub(const Vars *v, Residue a, Residue b) { return residue_sub(v->f, a, b); }
static Residue mul(const Vars *v, Residue a, Residue b) { return residue_mul(v->f, a, b); }
static Residue quo(const Vars *v, Residue a, Residue b) { return residue_div(v->f, a, b); }
static Residue num(const Vars *v, double n) { return residue_constant(v->f, n); }

/* LAW(name, left, right, share of the draws on which it must show, of those with guesses left out) */
#define LAWS(LAW)                                                                                                      \
    LAW(distributes, mul(v, v->a, add(v, v->b, v->c)), add(v, mul(v, v->a, v->b), mul(v, v->a, v->c)), 1)              \
    LAW(quotient, quo(v, mul(v, v->a, v->b), v->b), v->a, 1)                                                            \
    LAW(negation, sub(v, v->a, v->b), residue_neg(v->f, sub(v, v->b, v->a)), 1)                                         \
    LAW(exp_of_sum, CALL(EXP, add(v, v->a, v->b)), mul(v, CALL(EXP, v->a), CALL(EXP, v->b)), 1)                         \
    LAW(exp_of_difference, CALL(EXP, sub(v, v->a, v->b)), quo(v, CALL(EXP, v->a), CALL(EXP, v->b)), 1)                  \
    LAW(log_of_exp, CALL(LOG, CALL(EXP, v->a)), v->a, 1)                                                                \
    LAW(exp_of_log, CALL(EXP, CALL(LOG, v->x)), v->x, 1)                                                                \
    LAW(exp_of_log_of_sum, CALL(EXP, CALL(LOG, add(v, v->x, v->y))), add(v, v->x, v->y), 0.4)                           \
    LAW(log_of_product, CALL(LOG, mul(v, v->x, v->y)), add(v, CALL(LOG, v->x), CALL(LOG, v->y)), 1)                     \
    LAW(log_sum_exp, CALL(LOG, add(v, CALL(EXP, v->a), CALL(EXP, v->b))),                                               \
        add(v, v->c, CALL(LOG, add(v, CALL(EXP, sub(v, v->a, v->c)), CALL(EXP, sub(v, v->b, v->c))))), 0.4)             \
    LAW(root_of_square, CALL(SQRT, mul(v, v->x, v->x)), v->x, 1)                                                        \
    LAW(root_of_multiple, CALL(SQRT, mul(v, mul(v, v->x, v->x), v->a)), mul(v, v->x, CALL(SQRT, v->a)), 1)              \
    LAW(root_of_decimal, CALL(SQRT, mul(v, num(v, 0.01), v->a)), mul(v, num(v, 0.1), CALL(SQRT, v->a)), 1)              \
    LAW(root_squared, mul(v, CALL(SQRT, add(v, v->x, v->y)), CALL(SQRT, add(v, v->x, v->y))), add(v, v->x, v->y), 0.4)  \
    LAW(root_of_exp, CALL(SQRT, CALL(EXP, v->a)), CALL(EXP, mul(v, v->a, num(v, 0.5))), 1)                              \
    LAW(rsqrt, CALL(RSQRT, add(v, v->x, v->y)), quo(v, num(v, 1), CALL(SQRT, add(v, v->x, v->y))), 1)                   \
    LAW(exp2_by_exp, CALL(EXP2, mul(v, v->a, num(v, 1.4426950408889634))), CALL(EXP, v->a), 1)                          \
    LAW(exp2_of_f32_constant, CALL(EXP2, mul(v, v->a, num(v, (double)1.44269502f))), CALL(EXP, v->a), 1)                \
    LAW(exp_by_exp2, CALL(EXP, mul(v, v->a, num(v, (double)0.693147180559945f))), CALL(EXP2, v->a), 1)                  \
    LAW(log2_by_log, mul(v, CALL(LOG2, v->x), num(v, 0.6931471805599453)), CALL(LOG, v->x), 1)                          \
    LAW(exp2_of_integers, CALL(EXP2, num(v, 10)), num(v, 1024), 1)                                                      \
    LAW(log10, CALL(LOG10, num(v, 1000)), num(v, 3), 1)                                                                 \
    LAW(exp_of_one, CALL(EXP, num(v, 1)), num(v, 2.718281828459045), 1)                                                 \
    LAW(tanh_by_sigmoid, CALL(TANH, v->a), sub(v, quo(v, num(v, 2), add(v, num(v, 1), CALL(EXP, mul(v, num(v, -2), v->a)))), num(v, 1)), 1)\
    LAW(expm1, add(v, CALL(EXPM1, v->a), num(v, 1)), CALL(EXP, v->a), 1)                                                \
    LAW(log1p, CALL(LOG1P, v->x), CALL(LOG, add(v, num(v, 1), v->x)), 1)                                                \
    LAW(hyperbolic, sub(v, mul(v, CALL(COSH, v->a), CALL(COSH, v->a)), mul(v, CALL(SINH, v->a), CALL(SINH, v->a))), num(v, 1), 1)\
    LAW(circle, add(v, mul(v, CALL(COS, v->a), CALL(COS, v->a)), mul(v, CALL(SIN, v->a), CALL(SIN, v->a))), num(v, 1), 1)\
    LAW(tangent, CALL(TAN, v->a), quo(v, CALL(SIN, v->a), CALL(COS, v->a)), 1)                                          \
    LAW(odd, CALL(ERF, residue_neg(v->f, v->a)), residue_neg(v->f, CALL(ERF, v->a)), 1)                                 \
    LAW(erfc, add(v, CALL(ERF, v->a), CALL(ERFC, v->a)), num(v, 1), 1)                                                  \
    LAW(cube, residue_pow(v->f, v->a, num(v, 3)), mul(v, v->a, mul(v, v->a, v->a)), 1)                                  \
    LAW(inverse_square, residue_pow(v->f, v->a, num(v, -2)), quo(v, num(v, 1), mul(v, v->a, v->a)), 1)                  \
    LAW(power_half, residue_pow(v->f, v->x, num(v, 0.5)), CALL(SQRT, v->x), 1)                                          \
    LAW(power_of_two, residue_pow(v->f, num(v, 2), v->a), CALL(EXP2, v->a), 1)                                          \
    LAW(power_of_power, residue_pow(v->f, residue_pow(v->f, v->x, v->a), v->b), residue_pow(v->f, v->x, mul(v, v->a, v->b)), 1)\
    LAW(square_roots, mul(v, num(v, 0.35355338), num(v, 1.4142135)), num(v, 0.5), 1)                                    \
    LAW(scaled_log2_e, quo(v, num(v, 0.18033688), num(v, 1.4426950408889634)), num(v, 0.125), 1)                        \
    LAW(scale_of_seven, quo(v, num(v, 1.4426950408889634 / sqrt(7)), num(v, 1.4426950408889634)), quo(v, num(v, 1), CALL(SQRT, num(v, 7))), 1)\
    LAW(gelu_constant, mul(v, num(v, 0.7978845608028654), num(v, 0.7978845608028654)), quo(v, num(v, 2), num(v, 3.14159265358979)), 1)\
    LAW(reciprocal_of_n, mul(v, num(v, (double)(1.0f / 151936)), num(v, 151936)), num(v, 1), 1)                         \
    LAW(epsilon, mul(v, num(v, (double)1e-6f), num(v, 1e6)), num(v, 1), 1)                                              \
    LAW(third, mul(v, num(v, (double)(1.0f / 3)), num(v, 3)), num(v, 1), 1)                                             \
    LAW(selu, mul(v, num(v, 1.6732632423543772), num(v, 1.0507009873554805)), num(v, 1.7580993408473766), 1)            \
    LAW(minus_infinity, CALL(EXP, num(v, -INFINITY)), num(v, 0), 1)                                                     \
    LAW(over_infinity, quo(v, v->a, num(v, INFINITY)), num(v, 0), 1)

#define WRONG(LAW)                                                                                                     \
    LAW(swapped, sub(v, v->a, v->b), sub(v, v->b, v->a), 0)                                                             \
    LAW(exp_is_not_linear, CALL(EXP, mul(v, v->a, v->b)), mul(v, CALL(EXP, v->a), CALL(EXP, v->b)), 0)                  \
    LAW(wrong_base, CALL(EXP2, v->a), CALL(EXP, v->a), 0)                                                               \
    LAW(root_of_sum, CALL(SQRT, add(v, v->x, v->y)), add(v, CALL(SQRT, v->x), CALL(SQRT, v->y)), 0)                     \
    LAW(log_of_sum, CALL(LOG, add(v, v->x, v->y)), add(v, CALL(LOG, v->x), CALL(LOG, v->y)), 0)                         \
    LAW(epsilon_differs, num(v, 1e-6), num(v, 1e-5), 0)                                                                 \
    LAW(nearly_a_third, num(v, 0.333333), num(v, 1.0 / 3), 0)                                                           \
    LAW(sine_is_cosine, CALL(SIN, v->a), CALL(COS, v->a), 0)                                                            \
    LAW(sign_of_root, CALL(SQRT, mul(v, v->a, v->a)), v->a, 0)                                                          \
    LAW(sigmoid_is_a_line, quo(v, num(v, 1), add(v, num(v, 1), CALL(EXP, v->a))), add(v, mul(v, v->a, num(v, 0.25)), num(v, 0.5)), 0)

typedef Residue Side(const Vars *v);
#define LAW(name, left, right, share)                        \
    static Residue left_##name(const Vars *v) { return left; } \
    static Residue right_##name(const Vars *v) { return right; }
LAWS(LAW)
WRONG(LAW)
#undef LAW
typedef struct { const char *name; Side *left, *right; double share; } Law;
#define LAW(name, left, right, share) {#name, left_##name, right_##name, share},
static const Law laws[] = {LAWS(LAW)}, wrong[] = {WRONG(LAW)};
#undef LAW

enum { DRAWS = 400 };
typedef struct { int equal, different, unsure; } Counts;

static Counts count(const ResidueField *f, const Law *l)
{
    Counts c = {0};
    for (uint64_t i = 0; i < DRAWS; i++) {
        Vars v = {f, residue_draw(f, 1, i, RESIDUE_ANY_SIGN), residue_draw(f, 2, i, RESIDUE_ANY_SIGN), residue_draw(f, 3, i, RESIDUE_ANY_SIGN),
                  residue_draw(f, 4, i, RESIDUE_POSITIVE), residue_draw(f, 5, i, RESIDUE_POSITIVE)};
        ResidueVerdict r = residue_compare(l->left(&v), l->right(&v));
        c.equal += r == RESIDUE_EQUAL;
        c.different += r == RESIDUE_DIFFERENT;
        c.unsure += r == RESIDUE_UNSURE;
    }
    return c;
}

static void laws_hold(void **state)
{
    const Fixture *x = *state;
    for (uint32_t pair = 0; pair < RESIDUE_PAIRS; pair++)
        for (size_t i = 0; i < sizeof laws / sizeof *laws; i++) {
            Counts c = count(x->f[pair], &laws[i]);
            if (c.different || c.equal < laws[i].share * DRAWS)
                fail_msg("%s: equal %d, different %d, unsure %d", laws[i].name, c.equal, c.different, c.unsure);
        }
}

static void what_is_wrong_differs(void **state)
{
    const Fixture *x = *state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        Counts c = count(x->f[0], &wrong[i]);
        if (c.different < DRAWS / 8)
            fail_msg("%s: equal %d, different %d, unsure %d", wrong[i].name, c.equal, c.different, c.unsure);
    }
}

/* ---- parts, decisions, draws ------------------------------------------------------------------------------------------------ */
static void parts_that_cannot_be_are_none(void **state)
{
    const ResidueField *f = ((Fixture *)*state)->f[0];
    Residue a = residue_draw(f, 1, 0, RESIDUE_ANY_SIGN), e = residue_function(f, RF_EXP, a);
    assert_true(e.q == RESIDUE_NONE && !(e.p & (RESIDUE_NONE | RESIDUE_GUESS)));
    Residue twice = residue_function(f, RF_EXP, e);          /* no exponent is known: equal arguments are all it can tell */
    assert_true(twice.p & RESIDUE_GUESS && residue_compare(twice, residue_function(f, RF_EXP, e)) == RESIDUE_EQUAL);
    Residue other = residue_function(f, RF_EXP, residue_function(f, RF_EXP, residue_draw(f, 1, 1, RESIDUE_ANY_SIGN)));
    assert_true(residue_compare(twice, other) == RESIDUE_UNSURE);
    Residue zero = residue_sub(f, a, a), inverse = residue_reciprocal(f, zero);
    assert_true(inverse.p == RESIDUE_NONE && inverse.q == RESIDUE_NONE);
    assert_true(residue_mul(f, inverse, a).p == RESIDUE_NONE);
    int guessed = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {                   /* -1 is no square: a root of a negative is a guess */
        Residue x = residue_draw(f, 2, i, RESIDUE_ANY_SIGN);
        bool guess = (residue_function(f, RF_SQRT, x).p & RESIDUE_GUESS) != 0;
        assert_true(guess == (x.v < 0));
        guessed += guess;
    }
    assert_in_range(guessed, DRAWS / 3, DRAWS * 2 / 3);
}

static void doubles_decide(void **state)
{
    const ResidueField *f = ((Fixture *)*state)->f[0];
    Residue a = residue_constant(f, 2.5), b = residue_constant(f, -7), nan = residue_constant(f, NAN), low = residue_constant(f, -INFINITY);
    bool tie;
    assert_true(residue_compare(residue_max(a, b, &tie), a) == RESIDUE_EQUAL && !tie);
    assert_true(residue_compare(residue_min(a, b, &tie), b) == RESIDUE_EQUAL && !tie);
    assert_true(residue_compare(residue_max(low, b, &tie), b) == RESIDUE_EQUAL && !tie);
    assert_true(isnan(residue_max(a, nan, &tie).v) && residue_order(a, nan, &tie) == 2);
    Residue close = a;
    close.v *= 1 + 1e-14;                                    /* the same number, another rounding */
    assert_true(residue_order(a, close, &tie) == 0 && !tie);
    close.p ^= 1;
    close.q ^= 1;                                            /* another number, too near to tell */
    assert_true(residue_order(a, close, &tie) == -1 && tie);
    assert_true(residue_max(a, close, &tie).p & RESIDUE_GUESS);
    assert_true(residue_compare(residue_round(f, RESIDUE_FLOOR, a), residue_integer(f, 2)) == RESIDUE_EQUAL);
    assert_true(residue_compare(residue_round(f, RESIDUE_CEIL, b), b) == RESIDUE_EQUAL);
    assert_true(residue_round(f, RESIDUE_NEAREST, a).p & RESIDUE_GUESS);
}

static void draws_have_the_range(void **state)
{
    const ResidueField *f = ((Fixture *)*state)->f[1];
    int negative = 0, small = 0;
    for (uint64_t i = 0; i < 4000; i++) {
        Residue x = residue_draw(f, 9, i, RESIDUE_ANY_SIGN), y = residue_draw(f, 9, i, RESIDUE_POSITIVE), z = residue_draw(f, 9, i, RESIDUE_ANY_SIGN);
        assert_true(fabs(x.v) >= 0.125 && fabs(x.v) <= 64 && y.v == fabs(x.v) && x.p == z.p && x.q == z.q);
        negative += x.v < 0;
        small += y.v < 1;
    }
    assert_in_range(negative, 1800, 2200);
    assert_in_range(small, 1200, 1470);                      /* a third of the octaves */
}

/* ---- speed ------------------------------------------------------------------------------------------------------------------ */
static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#define TIME(label, n, step)                                                              \
    do {                                                                                  \
        double start_ = seconds();                                                        \
        for (int i_ = 0; i_ < (n); i_++)                                                  \
            step;                                                                         \
        printf("%-8s %8.1f ns\n", label, (seconds() - start_) / (n) * 1e9);               \
    } while (0)

static void speed(void **state)
{
    const ResidueField *f = ((Fixture *)*state)->f[0];
    Residue x = residue_draw(f, 1, 1, RESIDUE_POSITIVE), y = residue_draw(f, 1, 2, RESIDUE_POSITIVE), keep = x;
    TIME("add", 200000, x = residue_add(f, x, y));
    TIME("mul", 200000, x = residue_mul(f, x, y));
    TIME("div", 20000, x = residue_div(f, x, y));
    TIME("exp", 20000, x = residue_function(f, RF_EXP, keep));
    TIME("log", 5000, y = residue_function(f, RF_LOG, x));
    TIME("sqrt", 5000, y = residue_function(f, RF_SQRT, keep));
    TIME("constant", 5000, y = residue_constant(f, 0.18033688));
    TIME("draw", 5000, y = residue_draw(f, 1, (uint64_t)i_, RESIDUE_ANY_SIGN));
    assert_true(x.p != y.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(primes_are_as_promised), cmocka_unit_test(laws_hold), cmocka_unit_test(what_is_wrong_differs),
        cmocka_unit_test(parts_that_cannot_be_are_none), cmocka_unit_test(doubles_decide), cmocka_unit_test(draws_have_the_range),
        cmocka_unit_test(speed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
