/* tests/base/test_philox.c — known answers, equality of every instruction set with plain scalar code, accuracy against the
 * C library, moments, ranges in pieces. */
#include "base/philox_internal.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* From the kat_vectors of the authors' Random123: counter, key, result. */
static void known_answers(void **state)
{
    (void)state;
    static const struct { uint64_t lo, hi, key; uint32_t want[4]; } rows[] = {
        {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {UINT64_MAX, UINT64_MAX, UINT64_MAX, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {0x85a308d3243f6a88, 0x0370734413198a2e, 0x299f31d0a4093822, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t out[4];
        philox4x32(out, rows[i].lo, rows[i].hi, rows[i].key);
        assert_memory_equal(out, rows[i].want, sizeof out);
    }
}

typedef struct { uint64_t x, y; } Words;

static Words words(uint64_t counter, uint64_t key)
{
    uint32_t w[4];
    philox4x32(w, counter, 0, key);
    return (Words){w[0] | (uint64_t)w[1] << 32, w[2] | (uint64_t)w[3] << 32};
}

static double unit(uint64_t x) { return ldexp((double)(x >> 11), -53); }

/* Every loop against the next slower one, bit for bit; the slowest against philox4x32. */
static void instruction_sets_agree(void **state)
{
    (void)state;
    const uint64_t firsts[] = {0, 1, 0xffffff80, (uint64_t)1 << 40, UINT64_MAX - 100};
    for (int i = 0; philox_loops(i); i++) {
        const PhiloxLoops *l = philox_loops(i), *m = philox_loops(i + 1);
        for (size_t k = 0; k < 400; k++) {
            uint64_t first = k < 5 ? firsts[k] : k * 256, key = k * 0x9e3779b97f4a7c15u;
            double z[2 * PHILOX_BLOCK], z2[2 * PHILOX_BLOCK], u[PHILOX_BLOCK], u2[PHILOX_BLOCK];
            uint64_t x[PHILOX_BLOCK], x2[PHILOX_BLOCK];
            uint16_t h[2 * PHILOX_BLOCK], h2[2 * PHILOX_BLOCK];
            float f[2 * PHILOX_BLOCK], f2[2 * PHILOX_BLOCK];
            l->normals(z, first, key);
            l->uniforms(u, x, first, key);
            for (uint64_t j = 0; j < PHILOX_BLOCK; j++) {
                assert_true(x[j] == words(first + j, key).x);
                assert_true(u[j] == unit(x[j]));
            }
            if (!m)
                continue;
            m->normals(z2, first, key);
            m->uniforms(u2, x2, first, key);
            assert_memory_equal(z, z2, sizeof z);
            assert_memory_equal(u, u2, sizeof u);
            for (int j = 0; j < 2 * PHILOX_BLOCK; j++)        /* every exponent, and values that no double has twice */
                memcpy(&z[j], &(uint64_t){words((uint64_t)j, k).x}, 8);
            z[0] = INFINITY; z[1] = -0.0; z[2] = 0x1p-25; z[3] = 65520; z[4] = 0x1p-134;
            for (int j = 5; j < 2 * PHILOX_BLOCK; j++)
                if (isnan(z[j]))
                    z[j] = 0;      /* a NaN's payload in f32 is the processor's business */
            l->to_f16(h, z, 2 * PHILOX_BLOCK);
            m->to_f16(h2, z, 2 * PHILOX_BLOCK);
            assert_memory_equal(h, h2, sizeof h);
            l->to_bf16(h, z, 2 * PHILOX_BLOCK);
            m->to_bf16(h2, z, 2 * PHILOX_BLOCK);
            assert_memory_equal(h, h2, sizeof h);
            l->to_f32(f, z, 2 * PHILOX_BLOCK);
            m->to_f32(f2, z, 2 * PHILOX_BLOCK);
            assert_memory_equal(f, f2, sizeof f);
        }
        print_message("%s\n", l->name);
    }
}

/* The bits themselves, so that a change of compiler, flags or order of operations shows. */
static void bits_are_pinned(void **state)
{
    (void)state;
    double z[1000];
    uint64_t h = 0, key = philox_key(42, "weight");
    assert_true(key == 0xfa12bf21cbf9efb4u);
    philox_fill(DT_F64, z, 0, 1000, key, (Dist){DIST_NORMAL, 0, 1});
    for (int i = 0; i < 1000; i++) {
        uint64_t u;
        memcpy(&u, &z[i], 8);
        h = (h ^ u) * 0x100000001b3u;
    }
    if (h != 0x2a9b9544ffed149cu)
        fail_msg("the hash is %llx", (unsigned long long)h);
}

static void normals_are_accurate(void **state)
{
    (void)state;
    double worst = 0;
    for (uint64_t k = 0; k < 2000; k++) {
        double z[2 * PHILOX_BLOCK];
        philox_loops(0)->normals(z, k * PHILOX_BLOCK, 99);
        for (uint64_t j = 0; j < PHILOX_BLOCK; j++) {
            Words w = words(k * PHILOX_BLOCK + j, 99);
            long double r = sqrtl(-2 * logl((long double)unit(w.x) + 0x1p-53L));
            long double angle = 2 * 3.14159265358979323846264338327950288L * (long double)unit(w.y);
            long double want[2] = {r * cosl(angle), r * sinl(angle)};
            for (int s = 0; s < 2; s++) {
                double error = (double)fabsl((long double)z[2 * j + (uint64_t)s] - want[s]) / (1e-3 + (double)fabsl(want[s]));
                worst = error > worst ? error : worst;
            }
        }
    }
    print_message("worst relative error %.3g\n", worst);
    assert_true(worst < 1e-15);
}

static void moments_are_right(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    double *z = malloc(N * sizeof *z), m[5] = {0};
    philox_fill(DT_F64, z, 0, N, philox_key(7, "x"), (Dist){DIST_NORMAL, 0, 1});
    for (int i = 0; i < N; i++)
        for (int k = 1; k <= 4; k++)
            m[k] += pow(z[i], k) / N;
    assert_true(fabs(m[1]) < 5e-3 && fabs(m[2] - 1) < 1e-2 && fabs(m[3]) < 2e-2 && fabs(m[4] - 3) < 5e-2);
    philox_fill(DT_F64, z, 0, N, philox_key(7, "y"), (Dist){DIST_UNIFORM, -2, 6});
    double mean = 0, lo = 9, hi = -9;
    for (int i = 0; i < N; i++) {
        mean += z[i] / N;
        lo = z[i] < lo ? z[i] : lo;
        hi = z[i] > hi ? z[i] : hi;
    }
    assert_true(fabs(mean - 2) < 2e-2 && lo >= -2 && lo < -1.99 && hi < 6 && hi > 5.99);
    free(z);
}

static void integers_cover_their_range(void **state)
{
    (void)state;
    int counts[7] = {0};
    int64_t v[7000];
    philox_fill(DT_I64, v, 0, 7000, 3, (Dist){DIST_RANDINT, -3, 4});
    for (int i = 0; i < 7000; i++) {
        assert_in_range(v[i] + 3, 0, 6);
        counts[v[i] + 3]++;
    }
    for (int i = 0; i < 7; i++)
        assert_in_range(counts[i], 850, 1150);
    uint8_t b[1000];
    philox_fill(DT_BOOL, b, 0, 1000, 3, (Dist){DIST_NORMAL, 0, 1});
    int ones = 0;
    for (int i = 0; i < 1000; i++)
        ones += b[i];
    assert_in_range(ones, 420, 580);
    float c[3];
    philox_fill(DT_F32, c, 5, 3, 3, (Dist){DIST_CONSTANT, 1.5, 0});
    assert_true(c[0] == 1.5f && c[2] == 1.5f);
}

/* Whatever the pieces, an element has its value. */
static void pieces_make_the_whole(void **state)
{
    (void)state;
    enum { N = 1500 };
    static const Dist dists[] = {{DIST_NORMAL, 1, 2}, {DIST_UNIFORM, 0, 1}, {DIST_RANDINT, 0, 100}, {DIST_CONSTANT, 3, 0}};
    for (int t = 0; t < DT_COUNT; t++)
        for (int k = 0; k < 4; k++) {
            uint32_t size = dtype_bytes((DType)t);
            char whole[N * 8], part[N * 8 + 1];
            philox_fill((DType)t, whole, 0, N, 11, dists[k]);
            for (int64_t first = 0, n = 1; first < N; first += n, n = n * 3 % 701 + 1) {
                n = n < N - first ? n : N - first;
                part[n * size] = 77;
                philox_fill((DType)t, part, first, n, 11, dists[k]);
                assert_memory_equal(part, whole + first * size, (size_t)n * size);
                assert_int_equal(part[n * size], 77);
            }
        }
}

static void steps_ascend(void **state)
{
    (void)state;
    int32_t v[1000], some[10];
    philox_fill(DT_I32, v, 0, 1000, 3, (Dist){DIST_STEPS, 2.5, 0});
    philox_fill(DT_I32, some, 700, 10, 3, (Dist){DIST_STEPS, 2.5, 0});
    int apart[6] = {0};
    for (int i = 0; i < 1000; i++) {
        assert_in_range(v[i], (int)(2.5 * i), (int)(2.5 * (i + 1)));
        apart[i ? v[i] - v[i - 1] : 0]++;
    }
    for (int i = 1; i < 5; i++)
        assert_true(apart[i] > 60);
    assert_memory_equal(some, v + 700, sizeof some);
}

static void distributions_are_parsed(void **state)
{
    (void)state;
    Dist d;
    const char *error = NULL;
    assert_true(dist_parse("normal(0, 0.02)", &d, &error) && d.kind == DIST_NORMAL && d.a == 0 && d.b == 0.02);
    assert_true(dist_parse(" normal ", &d, &error) && d.b == 1);
    assert_true(dist_parse("uniform( -1 ,1 )", &d, &error) && d.kind == DIST_UNIFORM && d.a == -1 && d.b == 1);
    assert_true(dist_parse("randint(0, 10)", &d, &error) && d.kind == DIST_RANDINT && d.b == 10);
    assert_true(dist_parse("constant(1)", &d, &error) && d.kind == DIST_CONSTANT && d.a == 1);
    assert_true(dist_parse("steps(0.5)", &d, &error) && d.kind == DIST_STEPS && d.a == 0.5);
    assert_true(dist_parse("uniform()", &d, &error) && d.b == 1);
    static const char *const wrong[] = {
        "", "gauss(0, 1)", "normal(0, -1)", "normal(0, 1", "normal(0, 1) x", "normal(0 1)", "normal(,)", "normal(0,)",
        "normal(1, 2, 3)", "uniform(1, 0)", "randint(0, 0)", "randint(0.5, 2)", "constant(1, 2)", "steps(-1)", "steps(1, 2)", "normal(nan, 1)",
        "uniform(-inf, 0)", "normal)", "constant(1"
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        error = NULL;
        if (dist_parse(wrong[i], &d, &error))
            fail_msg("accepted: %s", wrong[i]);
        assert_non_null(error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers), cmocka_unit_test(instruction_sets_agree), cmocka_unit_test(bits_are_pinned),
        cmocka_unit_test(normals_are_accurate), cmocka_unit_test(moments_are_right),
        cmocka_unit_test(integers_cover_their_range), cmocka_unit_test(pieces_make_the_whole),
        cmocka_unit_test(steps_ascend), cmocka_unit_test(distributions_are_parsed),
    };
    return cmocka_run_group_tests_name("philox", tests, NULL, NULL);
}
