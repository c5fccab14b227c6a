/* Random graphs: single coordinates equal the full evaluation, in every domain; the running error bounds what fp32 does; and
 * sampling a large product is fast. */
#include "base/file.h"
#include "test_eval_fixture.h"

static uint32_t pick(Fixture *f, uint32_t n) { return (uint32_t)uniform(f, 0, n) % n; }

/* Ops whose error is bounded by first order on values of order 1: no steps, no poles. */
static const Op smooth[] = {
    OP_ADD, OP_SUB, OP_MUL, OP_MAXIMUM, OP_MINIMUM, OP_NEG, OP_ABS, OP_SIN, OP_COS, OP_TANH, OP_ERF, OP_ATAN, OP_ASINH,
};

static Node *random_node(Fixture *f, Node **pool, uint32_t n)
{
    Node *a = pool[pick(f, n)], *b = pool[pick(f, n)];
    uint32_t rank = node_rank(a), axis = rank ? pick(f, rank) : 0;
    switch (pick(f, 8)) {
    case 0:
        return rank == 2 ? graph_permute(f->g, a, DIMS(1, 0)) : graph_unary(f->g, OP_TANH, a);
    case 1:
        return rank ? graph_reduce(f->g, pick(f, 2) ? OP_REDUCE_SUM : OP_REDUCE_MAX, a, DIMS(axis), 1, true) : a;
    case 2:
        if (rank == 2 && node_rank(b) == 2 && dim_is(a->type.shape.d[1], b->type.shape.d[0]->value))
            return graph_unary(f->g, OP_TANH, graph_matmul(f->g, a, b, false, false));
        return graph_unary(f->g, OP_SIN, a);
    case 3:
        if (rank && a->type.shape.d[axis]->value > 1)
            return graph_slice(f->g, a, (int)axis, dim_const(f->cx->dims, 1),
                               dim_const(f->cx->dims, a->type.shape.d[axis]->value - 1), 1);
        return graph_unary(f->g, OP_COS, a);
    case 4:
        if (rank && node_count(a) < 500)
            return graph_concat(f->g, (Node *[]){a, graph_unary(f->g, OP_NEG, a), a}, 3, (int)axis);
        return a;
    case 5:
        return rank ? add_node(f, OP_CUMSUM, &a, 1, (Attr[]){attr_int(ATTR_AXIS, axis)}, 1) : a;
    default: {
        Op op = smooth[pick(f, sizeof smooth / sizeof *smooth)];
        if (op_table[op].arity == 1)
            return graph_unary(f->g, op, a);
        if (!shape_equal(&a->type.shape, &b->type.shape))
            b = graph_unary(f->g, OP_SIN, a);
        return graph_binary(f->g, op, a, b);
    }
    }
}

static Fixture random_graph(uint64_t seed, DType t)
{
    Fixture f = fixture_new();
    f.random = seed;
    Node *pool[24];
    uint32_t n = 0;
    for (; n < 4; n++) {
        int64_t d[2] = {n == 2 ? 1 : 4, n == 3 ? 7 : 4};
        pool[n] = input_in(&f, t, 2, d, -1, 1);
    }
    while (n < 24) {
        pool[n] = random_node(&f, pool, n);
        n++;
    }
    for (uint32_t k = 0; k < 3; k++)
        graph_output(f.g, (char[]){'o', (char)('0' + k), 0}, pool[n - 1 - k]);
    return f;
}

static void test_points_equal_all(void **state)
{
    for (uint64_t seed = 0; seed < 150; seed++) {
        Fixture f = random_graph(seed, (DType)(seed % 4));
        points_equal_all(&f, &domain_fp64);
        points_equal_all(&f, &domain_baseline);
        points_equal_all(&f, &domain_error);
        fixture_free(&f);
    }
}

/* Rounding every node to fp32 stays within u E: u is 2^-24 a rounding. Sums count their rounding once, so lengths (<= 36 here)
 * are allowed for by a factor, as R is by the acceptance rule. */
static void test_error_bounds_fp32(void **state)
{
    double tightest = 0;
    size_t exceeded = 0, seen = 0;
    for (uint64_t seed = 1000; seed < 1150; seed++) {
        Fixture f = random_graph(seed, DT_F32);
        for (uint32_t k = 0; k < 3; k++) {
            const Value *e = evaluate(&f, &domain_error, k), *b = evaluate(&f, &domain_baseline, k);
            for (int64_t i = 0; i < node_count(f.g->outputs.data[k].node); i++) {
                double off = fabs(b[i].v - e[i].v), bound = 0x1p-24 * e[i].e;
                if (e[i].v != b[i].v && !(off <= 8 * bound))
                    fail_msg("seed %llu: error %g where the scale says %g", (unsigned long long)seed, off, bound);
                exceeded += off > bound;
                seen++;
                tightest = bound > 0 ? fmax(tightest, off / bound) : tightest;
            }
        }
        fixture_free(&f);
    }
    assert_true(exceeded * 50 < seen && tightest > 0.2);      /* nearly always within one unit, and not idly large */
}

/* Slopes against finite differences: E of op(x + x') minus own rounding is |f'| E(x). */
static void test_slopes(void **state)
{
    const struct { Op op; double at; } rows[] = {
        {OP_ABS, -2}, {OP_NEG, 2}, {OP_SQRT, 2}, {OP_RSQRT, 2}, {OP_RECIPROCAL, 3}, {OP_EXP, 1}, {OP_EXP2, 1}, {OP_EXPM1, 0.5},
        {OP_LOG, 3}, {OP_LOG2, 3}, {OP_LOG10, 3}, {OP_LOG1P, 0.5}, {OP_SIN, 1}, {OP_COS, 1}, {OP_TAN, 1}, {OP_ASIN, 0.5},
        {OP_ACOS, 0.5}, {OP_ATAN, 0.5}, {OP_SINH, 1}, {OP_COSH, 1}, {OP_TANH, 1}, {OP_ASINH, 1}, {OP_ACOSH, 2}, {OP_ATANH, 0.5},
        {OP_ERF, 0.5}, {OP_ERFC, 0.5},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Fixture f = fixture_new();
        Node *x = INPUT(&f, DT_F64, 0, 1, 3), *zero = INPUT(&f, DT_F64, 0, 0, 3);
        const double h = 1e-6;
        for (int k = 0; k < 3; k++)
            put(f.in[0], k, rows[i].at + (k - 1) * h);
        graph_output(f.g, "y", graph_unary(f.g, rows[i].op, graph_binary(f.g, OP_ADD, x, zero)));       /* E(x + 0) = |x| */
        const Value *y = evaluate(&f, &domain_error, 0);
        double slope = fabs(y[2].v - y[0].v) / (2 * h), own = rows[i].op == OP_ABS || rows[i].op == OP_NEG ? 0 : fabs(y[1].v);
        assert_near(y[1].e, slope * fabs(rows[i].at) + own, 1e-6);
        fixture_free(&f);
    }
    const struct { Op op; double a, b; } pairs[] = {
        {OP_ADD, 1, 2}, {OP_SUB, 1, 2}, {OP_MUL, 3, -2}, {OP_DIV, 3, -2}, {OP_POW, 2, 3}, {OP_ATAN2, 1, 2}, {OP_FMOD, 7.5, 2}, {OP_REMAINDER, -7.5, 2},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        Fixture f = fixture_new();
        Node *x = INPUT(&f, DT_F64, 0, 1, 5), *y = INPUT(&f, DT_F64, 0, 1, 5), *zero = INPUT(&f, DT_F64, 0, 0, 5);
        const double h = 1e-6;
        for (int k = 0; k < 5; k++) {
            put(f.in[0], k, pairs[i].a + (k == 1 ? -h : k == 2 ? h : 0));
            put(f.in[1], k, pairs[i].b + (k == 3 ? -h : k == 4 ? h : 0));
        }
        graph_output(f.g, "z", graph_binary(f.g, pairs[i].op, graph_binary(f.g, OP_ADD, x, zero), graph_binary(f.g, OP_ADD, y, zero)));
        const Value *z = evaluate(&f, &domain_error, 0);
        double by_a = fabs(z[2].v - z[1].v) / (2 * h), by_b = fabs(z[4].v - z[3].v) / (2 * h);
        assert_near(z[0].e, by_a * fabs(pairs[i].a) + by_b * fabs(pairs[i].b) + (pairs[i].op == OP_FMOD ? 0 : fabs(z[0].v)), 1e-6);
        fixture_free(&f);
    }
}

/* The gated MLP of a 1.7B model, 2048 rows: a few rows of it cost a few rows. */
static void sample_mlp(int64_t hidden, int64_t inner, int64_t rows, int64_t take)
{
    Fixture f = fixture_new();
    Node *x = INPUT(&f, DT_BF16, -1, 1, rows, hidden), *gate = INPUT(&f, DT_BF16, -.03, .03, inner, hidden);
    Node *up = INPUT(&f, DT_BF16, -.03, .03, inner, hidden), *down = INPUT(&f, DT_BF16, -.03, .03, hidden, inner);
    Node *g = graph_cast(f.g, graph_matmul(f.g, x, gate, false, true), DT_F32);
    Node *s = graph_unary(f.g, OP_RECIPROCAL, graph_binary(f.g, OP_ADD, graph_unary(f.g, OP_EXP, graph_unary(f.g, OP_NEG, g)),
                                                            graph_const(f.g, DT_F32, 1)));
    Node *h = graph_binary(f.g, OP_MUL, graph_cast(f.g, graph_binary(f.g, OP_MUL, g, s), DT_BF16), graph_matmul(f.g, x, up, false, true));
    graph_output(f.g, "y", graph_matmul(f.g, h, down, false, true));
    size_t n = (size_t)(take * hidden);
    int64_t *flat = arena_new_array(f.a, int64_t, n);
    Value *out = arena_new_array(f.a, Value, n);
    for (size_t i = 0; i < n; i++)
        flat[i] = (int64_t)i / hidden * (rows / take) * hidden + (int64_t)i % hidden;
    const Domain *domains[3] = {&domain_fp64, &domain_baseline, &domain_error};
    for (int d = 0; d < 3; d++) {
        double start = clock_seconds();
        assert_true(eval_points(eval_new(f.g, domains[d], f.in, f.a), 0, flat, n, out));
        print_message("%s: %lld of %lld rows in %.2f s\n", domains[d]->name, (long long)take, (long long)rows, clock_seconds() - start);
    }
    fixture_free(&f);
}

static void test_sampled_mlp(void **state)
{
    if (getenv("EVAL_FULL_SIZE"))
        sample_mlp(2048, 6144, 2048, 64);
    else
        sample_mlp(256, 768, 2048, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_points_equal_all), cmocka_unit_test(test_error_bounds_fp32), cmocka_unit_test(test_slopes),
        cmocka_unit_test(test_sampled_mlp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
