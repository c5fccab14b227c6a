/* tests/ir/test_eval_split.c — split_matmul: the product of its originals in every domain, whatever its pieces say; of the pieces where
 * there is no original of b. */
#include "test_eval_fixture.h"
#include "ir/eval_residue.h"

typedef struct { Node *hi, *lo, *inv; } Pieces;

static Node *scalar(Fixture *f, double v, const Node *like) { return graph_expand(f->g, graph_const(f->g, like->type.dtype, v), &like->type.shape); }

/* The pieces of the lines of x along `axis`, as passes/split_matmul.c makes them. */
static Pieces pieces_of(Fixture *f, Node *x, int64_t axis)
{
    Graph *g = f->g;
    Node *most = graph_reduce(g, OP_REDUCE_MAX, graph_unary(g, OP_ABS, x), &axis, 1, true);
    Node *p = graph_unary(g, OP_POW2_FLOOR, most), *q = graph_binary(g, OP_MAXIMUM, p, scalar(f, 0x1p-112, p));
    Node *scaled = graph_binary(g, OP_MUL, x, graph_binary(g, OP_DIV, scalar(f, 0x1p14, q), q));
    Node *hi = graph_cast(g, scaled, DT_F16);
    Node *rest = graph_binary(g, OP_SUB, scaled, graph_cast(g, hi, DT_F32));
    Node *inv = graph_binary(g, OP_MUL, q, scalar(f, 0x1p-14, q));
    Shape lines = {0};
    for (uint32_t i = 0; i < node_rank(x); i++)
        if (i != (uint32_t)axis)
            lines.d[lines.rank++] = x->type.shape.d[i];
    return (Pieces){hi, graph_cast(g, graph_binary(g, OP_MUL, rest, scalar(f, 2048, rest)), DT_F16), graph_reshape(g, inv, &lines)};
}

static Node *padded(Fixture *f, Node *x, int64_t axis, int64_t by)
{
    Attr attrs[] = {attr_int(ATTR_AXIS, axis), {.key = ATTR_HIGH, .dim = dim_const(f->cx->dims, by)}};
    return add_node(f, OP_PAD, &x, 1, attrs, 2);
}

typedef struct { int64_t batch_a, batch_b, m, n, k, pad; bool trans_a, trans_b, three, with_b; } Case;

/* Outputs 0 and 1: the split product and the plain one. */
static Fixture build(const Case *c)
{
    Fixture f = fixture_new();
    int64_t a_dims[] = {c->batch_a, c->trans_a ? c->k : c->m, c->trans_a ? c->m : c->k};
    int64_t b_dims[] = {c->batch_b, c->trans_b ? c->n : c->k, c->trans_b ? c->k : c->n};
    Node *a = input_in(&f, DT_F32, c->batch_a ? 3 : 2, a_dims + !c->batch_a, -2, 2);
    Node *b = input_in(&f, DT_F32, c->batch_b ? 3 : 2, b_dims + !c->batch_b, -2, 2);
    int64_t ka = node_rank(a) - (c->trans_a ? 2 : 1), kb = node_rank(b) - (c->trans_b ? 1 : 2);
    Pieces pa = pieces_of(&f, a, ka), pb = pieces_of(&f, b, kb);
    Node *in[8];
    uint32_t n = 0;
    in[n++] = padded(&f, pa.hi, ka, c->pad);
    in[n++] = padded(&f, pb.hi, kb, c->pad);
    if (c->three) {
        in[n++] = padded(&f, pa.lo, ka, c->pad);
        in[n++] = padded(&f, pb.lo, kb, c->pad);
    }
    in[n++] = pa.inv;
    in[n++] = pb.inv;
    in[n++] = a;
    if (c->with_b)
        in[n++] = b;
    Attr attrs[] = {attr_int(ATTR_TRANS_A, c->trans_a), attr_int(ATTR_TRANS_B, c->trans_b), attr_int(ATTR_TERMS, c->three ? 3 : 1)};
    graph_output(f.g, "split", add_node(&f, OP_SPLIT_MATMUL, in, n, attrs, 3));
    graph_output(f.g, "plain", graph_matmul(f.g, a, b, c->trans_a, c->trans_b));
    return f;
}

static const Case cases[] = {
    {0, 0, 5, 7, 19, 5, false, false, true, true},  {0, 0, 5, 7, 16, 0, true, true, true, true},
    {0, 0, 5, 7, 19, 5, false, true, true, false},  {3, 3, 4, 5, 11, 5, true, false, true, false},
    {3, 0, 4, 5, 11, 5, false, false, true, false}, {0, 3, 4, 5, 8, 0, false, true, true, false},
    {1, 3, 4, 5, 8, 0, false, true, true, true},    {0, 0, 300, 3, 40, 0, false, false, true, false},
    {0, 0, 5, 7, 19, 5, false, false, false, true}, {2, 2, 5, 7, 16, 0, false, true, false, false},
};

static void test_is_the_product(void **state)
{
    (void)state;
    const Domain *const domains[] = {&domain_fp64, &domain_baseline, &domain_baseline_tf32, &domain_error};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint32_t d = 0; d < 4; d++) {
            Fixture f = build(&cases[i]);
            const Value *split = evaluate(&f, domains[d], 0), *plain = evaluate(&f, domains[d], 1);
            double few = cases[i].three ? 0x1p-21 : 0x1p-10;     /* b from its pieces: 22 or 11 bits of it */
            int64_t count = (cases[i].batch_a > cases[i].batch_b ? cases[i].batch_a : cases[i].batch_b) * cases[i].m * cases[i].n;
            for (int64_t k = 0; k < (count ? count : cases[i].m * cases[i].n); k++) {
                double allowed = cases[i].with_b ? 0 : few * 4 * (double)cases[i].k;
                assert_true(fabs(split[k].v - plain[k].v) <= allowed);
                if (domains[d] == &domain_error)
                    assert_true(fabs(split[k].e - plain[k].e) <= allowed);
            }
            points_equal_all(&f, domains[d]);
            fixture_free(&f);
        }
}

/* Pieces and scales that say something else are not looked at where the originals are there: only bad lines would differ. */
static void test_originals_decide(void **state)
{
    (void)state;
    Fixture f = fixture_new();
    Node *hi = INPUT(&f, DT_F16, -1, 1, 3, 8), *lo = INPUT(&f, DT_F16, -1, 1, 3, 8), *inv = INPUT(&f, DT_F32, -1, 1, 3);
    Node *a = INPUT(&f, DT_F32, -1, 1, 3, 6), *in[] = {hi, hi, lo, lo, inv, inv, a, a};
    put(f.in[3], 2, INFINITY);
    put(f.in[3], 7, NAN);
    Attr attrs[] = {attr_int(ATTR_TRANS_B, 1), attr_int(ATTR_TERMS, 3)};
    graph_output(f.g, "split", add_node(&f, OP_SPLIT_MATMUL, in, 8, attrs, 2));
    graph_output(f.g, "plain", graph_matmul(f.g, a, a, false, true));
    const Value *split = evaluate(&f, &domain_baseline, 0), *plain = evaluate(&f, &domain_baseline, 1);
    for (int k = 0; k < 9; k++)
        assert_near(split[k].v, plain[k].v, 0);
    fixture_free(&f);
}

/* Without rounding the pieces are the number: identity testing sees the same product, through a scale that it cannot know. */
static void test_residues(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Fixture f = build(&cases[i]);
        ResidueDomain *d = residue_domain_new(f.g, residue_field_new(0, 7, f.a), f.in, 3, f.a);
        Evaluator *e = eval_new(f.g, &d->domain, f.in, f.a);
        const Value *split = eval_all(e, 0), *plain = eval_all(e, 1);
        for (int64_t k = 0; k < cases[i].m * cases[i].n; k++)
            assert_int_equal(value_compare(DT_F32, split[k], plain[k]), RESIDUE_EQUAL);
        fixture_free(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_the_product), cmocka_unit_test(test_originals_decide), cmocka_unit_test(test_residues),
    };
    return cmocka_run_group_tests_name("split_matmul in the evaluator", tests, NULL, NULL);
}
