/* tests/ir/test_eval_grouped.c — grouped_matmul in the evaluator against the products of its groups, one by one, in every domain; ends
 * that are no ends; operands that are computed, asked for element by element. */
#include "test_eval_fixture.h"

enum { MOST_GROUPS = 6 };
typedef struct { int64_t rows, k, n, groups; int64_t ends[MOST_GROUPS]; bool trans_b, wide; } Case;

static const Case cases[] = {
    {11, 5, 3, 3, {4, 7, 11}, false, false},
    {11, 5, 3, 4, {4, 4, 11, 11}, true, true},                       /* empty groups, between others and last */
    {300, 20, 4, 2, {290, 300}, true, false},                        /* more than one panel of rows */
    {9, 5, 3, 3, {0, 0, 9}, false, true},                            /* all rows in one group */
    {9, 16, 3, 2, {2, 6}, true, false},                              /* rows behind the last group */
    {9, 5, 3, 1, {0}, true, false},                                  /* nothing but those */
    {1, 1, 1, 1, {1}, false, false},
    {0, 5, 3, 2, {0, 0}, false, false},
    {7, 5, 3, 6, {-3, 5, 2, INT32_MIN, 6, INT32_MAX}, true, false},  /* they go back, and beyond both ends */
    {7, 5, 3, 6, {-3, 5, 2, INT64_MIN, 6, INT64_MAX}, false, true},
    {7, 0, 3, 2, {3, 6}, false, false},                              /* sums of nothing */
};

/* The first group that ends behind the row; the number of groups: none. */
static int64_t group_of(const Case *c, int64_t row)
{
    int64_t e = 0;
    while (e < c->groups && c->ends[e] <= row)
        e++;
    return e;
}

static Fixture build(const Case *c, DType t, bool computed)
{
    Fixture f = fixture_new();
    Node *a = INPUT(&f, t, -2, 2, c->rows, c->k);
    Node *b = INPUT(&f, t, -2, 2, c->groups, c->trans_b ? c->n : c->k, c->trans_b ? c->k : c->n);
    Node *ends = INPUT(&f, c->wide ? DT_I64 : DT_I32, 0, 1, c->groups);
    for (int64_t i = 0; i < c->groups; i++)
        dtype_store_i64(f.in[2]->dtype, (char *)f.in[2]->data + i * dtype_bytes(f.in[2]->dtype), c->ends[i]);
    Node *in[3] = {a, b, ends};
    for (int i = 0; computed && i < 3; i++)
        in[i] = graph_unary(f.g, i < 2 ? OP_NEG : OP_BIT_NOT, graph_unary(f.g, i < 2 ? OP_NEG : OP_BIT_NOT, in[i]));
    Attr trans = attr_int(ATTR_TRANS_B, c->trans_b);
    graph_output(f.g, "y", add_node(&f, OP_GROUPED_MATMUL, in, 3, &trans, 1));
    /* every row against every matrix: [groups, rows, n] */
    Shape one = shape_of(&f, 3, DIMS(1, c->rows, c->k));
    graph_output(f.g, "all", graph_matmul(f.g, graph_reshape(f.g, in[0], &one), in[1], false, c->trans_b));
    return f;
}

static void check(const Case *c, DType t, bool computed)
{
    static const Domain *const domains[] = {&domain_fp64, &domain_baseline, &domain_baseline_tf32, &domain_error};
    for (uint32_t d = 0; d < 4; d++) {
        Fixture f = build(c, t, computed);
        const Value *y = evaluate(&f, domains[d], 0), *all = evaluate(&f, domains[d], 1);
        for (int64_t i = 0; i < c->rows * c->n; i++) {
            int64_t e = group_of(c, i / c->n);
            Value want = e < c->groups ? all[e * c->rows * c->n + i] : (Value){0};
            assert_true(same_value(domains[d], t, y[i], want));
        }
        points_equal_all(&f, domains[d]);
        fixture_free(&f);
    }
}

static void test_is_the_products(void **state)
{
    static const DType types[] = {DT_F32, DT_BF16, DT_F64, DT_I32};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int t = 0; t < 4; t++)
            check(&cases[i], types[t], i % 2);
}

/* What is not there cannot spoil rows of zeros. */
static void test_zeros_are_zero(void **state)
{
    static const Case c = {6, 3, 2, 1, {4}, false, false};
    (void)state;
    Fixture f = build(&c, DT_F32, false);
    for (int64_t i = 0; i < 6; i++)
        put(f.in[1], i, NAN);
    const Value *y = evaluate(&f, &domain_fp64, 0);
    for (int64_t i = 0; i < 12; i++)
        assert_true(i < 8 ? isnan(y[i].v) : y[i].v == 0);
    fixture_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_is_the_products), cmocka_unit_test(test_zeros_are_zero)};
    return cmocka_run_group_tests_name("grouped_matmul in the evaluator", tests, NULL, NULL);
}
