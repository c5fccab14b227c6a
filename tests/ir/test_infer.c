/* tests/ir/test_infer.c — types of every class of op over constant and symbolic shapes, and the messages where there is none. */
#include "fixture.h"

/* x[B, S, 8], y[B, S, 8], i: i64[B, S], p: bool[B, S, 8], s[S] with B in [1, 4], S in [3, 9] */
static Graph *with(Context *cx, const char *expr)
{
    return try_parse(cx, arena_printf(cx->arena, "graph g { dim B in [1, 4]\n dim S in [3, 9]\n input %%x : f32[B, S, 8]\n"
                                      " input %%y : f32[B, S, 8]\n input %%i : i64[B, S]\n input %%p : bool[B, S, 8]\n"
                                      " input %%s : f32[S]\n input %%h : bf16[8, 16]\n input %%h2 : f16[8, 16]\n input %%n : f32[16]\n"
                                      " %%z = %s\n return %%z, %%x, %%y, %%i, %%p, %%s, %%h, %%h2, %%n }", expr));
}

static void test_types(void **state)
{
    static const char *const cases[][2] = {
        {"permute(%x, perm=[2, 0, -2])", "f32[8, B, S]"},
        {"expand(%s, shape=[B, 8, S])", "f32[B, 8, S]"},
        {"slice(%x, axis=1, start=1, size=2)", "f32[B, 2, 8]"},
        {"slice(%x, axis=1, start=S - 3, size=3)", "f32[B, 3, 8]"},
        {"slice(%x, axis=2, start=1, size=3, step=3)", "f32[B, S, 3]"},
        {"slice(%x, axis=1, start=0, size=S // 2, step=2)", "f32[B, S // 2, 8]"},
        {"pad(%x, axis=-1, low=1, high=B, fill=1.5)", "f32[B, S, B + 9]"},
        {"flip(%x, axes=[0, 2])", "f32[B, S, 8]"},
        {"concat(%x, %y, %x, axis=1)", "f32[B, 3*S, 8]"},
        {"lt(%x, %y)", "bool[B, S, 8]"}, {"isnan(%x)", "bool[B, S, 8]"}, {"logical_not(%p)", "bool[B, S, 8]"},
        {"where(%p, %x, %y)", "f32[B, S, 8]"}, {"bitwise_and(%i, 3)", "i64[B, S]"}, {"bitwise_xor(%p, %p)", "bool[B, S, 8]"},
        {"cast(%x, dtype=u8)", "u8[B, S, 8]"},
        {"reduce_sum(%x, axes=[0, 2])", "f32[S]"}, {"reduce_max(%x, axes=[-1], keepdims=1)", "f32[B, S, 1]"},
        {"reduce_all(%p, axes=[1])", "bool[B, 8]"}, {"argmin(%x, axes=[1])", "i64[B, 8]"}, {"cumsum(%x, axis=1)", "f32[B, S, 8]"},
        {"reduce_sum(%x, axes=[])", "f32[B, S, 8]"},
        {"matmul(%x, %y, trans_b=1)", "f32[B, S, S]"}, {"matmul(%x, %y, trans_a=1)", "f32[B, 8, 8]"},
        {"matmul(%h, %h, trans_a=1, dtype=f32)", "f32[16, 16]"}, {"matmul(cast(%x, dtype=bf16), %h)", "bf16[B, S, 16]"},
        {"split_matmul(cast(%x, dtype=f16), %h2, cast(%x, dtype=f16), %h2, reduce_max(%x, axes=[2]), %n, %x, terms=3)", "f32[B, S, 16]"},
        {"split_matmul(pad(cast(%x, dtype=f16), axis=2, high=8), concat(%h2, %h2, axis=0), reduce_max(%x, axes=[2]), %n, pad(%x, axis=2, high=1), terms=1)",
         "f32[B, S, 16]"},
        {"split_matmul(%x, %y, %x, %y, trans_b=1, terms=1)", "f32[B, S, S]"},
        {"grouped_matmul(reshape(%x, shape=[B*S, 8]), %x, reshape(slice(%i, axis=1, start=0, size=1), shape=[B]), trans_b=1)", "f32[B*S, S]"},
        {"grouped_matmul(%h, reshape(%h, shape=[2, 16, 4]), iota(shape=[2], axis=0, dtype=i32), dtype=f32)", "f32[8, 4]"},
        {"gather(%x, %i, axis=1)", "f32[B, B, S, 8]"}, {"gather(%h, %i, axis=0)", "bf16[B, S, 16]"},
        {"choice(%x, %y, id=\"a\")", "f32[B, S, 8]"}, {"iota(shape=[S, 2], axis=0, dtype=f16)", "f16[S, 2]"},
        {"const(value=3, dtype=i8)", "i8[]"}, {"argmax(%s, axes=[0])", "i64[]"},
    };

    Context *cx = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Graph *g = with(cx, cases[i][0]);
        if (!g)
            fail_msg("%s: %s", cases[i][0], messages(cx));
        if (strcmp(type_of(cx, output(g, "z")), cases[i][1]) != 0)
            fail_msg("%s is %s, not %s", cases[i][0], type_of(cx, output(g, "z")), cases[i][1]);
        assert_true(graph_verify(g, cx->diags));
        graph_free(g);
    }
}

static void test_messages(void **state)
{
    static const char *const cases[][2] = {
        {"permute(%x, perm=[0, 0, 1])", "perm of permute names axis 0 twice"},
        {"expand(%x, shape=[S, 8])", "expand of f32[B, S, 8] to [S, 8] would lose dims"},
        {"slice(%x, axis=1, start=B, size=S)", "slice of f32[B, S, 8] along axis 1 ends at B + S, which is not always within S (B in [1, 4], S in [3, 9])"},
        {"slice(%x, axis=2, start=6, size=2, step=2)", "slice of f32[B, S, 8] along axis 2 ends at 9, which is not always within 8"},
        {"pad(%x, axis=0, low=-1)", "pad of f32[B, S, 8] by low=-1, high=0: they must not be negative"},
        {"concat(%x, %s, axis=0)", "concat along axis 0 of f32[B, S, 8] (operand 1) and f32[S] (operand 2) (B in [1, 4], S in [3, 9])"},
        {"bitwise_and(%x, %y)", "bitwise_and takes integers or bools, not f32[B, S, 8]"},
        {"shift_left(%p, %p)", "shift_left takes integers, not bool[B, S, 8]"},
        {"sub(%p, %p)", "sub takes numbers, not bool[B, S, 8]"},
        {"reduce_sum(%p, axes=[0])", "reduce_sum of bool[B, S, 8]"},
        {"reduce_any(%x, axes=[0])", "reduce_any takes bools, not f32[B, S, 8]"},
        {"argmax(%x, axes=[0, 1])", "argmax takes one axis, not 2"},
        {"reduce_max(slice(%x, axis=2, start=0, size=0), axes=[2])", "reduce_max of f32[B, S, 0] along axis 2, which is empty"},
        {"matmul(%x, %s)", "matmul of f32[B, S, 8] and f32[S]: both operands need rank 2 or more"},
        {"matmul(%x, expand(%y, shape=[3, B, S, 8]), trans_b=1)", ""},
        {"matmul(transpose(%x, 0, 1), %y, trans_b=1)", "matmul of f32[S, B, 8] and f32[B, S, 8]: the batch dims [S] and [B] do not broadcast (S in [3, 9], B in [1, 4])"},
        {"gather(reshape(%x, shape=[B, S, 1, 2, 1, 2, 1, 2]), %i, axis=0)", "gather of f32[B, S, 1, 2, 1, 2, 1, 2] by i64[B, S] has rank 9; at most 8 is possible"},
        {"choice(%x, %s, id=\"a\")", "alternatives of choice have types f32[B, S, 8] and f32[S]"},
        {"iota(shape=[S], axis=0, dtype=bool)", "iota cannot count in bool"},
        {"const(value=300, dtype=u8)", "the value 300 is not a value of u8"},
        {"concat(expand(%s, shape=[1099511627776, 65536, S]), expand(%s, shape=[1099511627776, 65536, S]), axis=0)",
         "[2199023255552, 65536, S] can have more than 2^60 elements (S in [3, 9])"},
        {"split_matmul(%x, %y, %x, %y, trans_b=1, terms=2)", "terms of split_matmul is 1 or 3, not 2"},
        {"split_matmul(%x, %y, %x, %y, trans_b=1, terms=3)", "split_matmul with terms=3 has 4 operands"},
        {"split_matmul(%h2, %h2, %n, %n, trans_b=1, terms=1)", "split_matmul with terms=1 has 4 operands"},
        {"split_matmul(%h, %h, %x, trans_b=1, terms=1)", "a_hi of split_matmul is bf16[8, 16]; pieces are f16, or f32 with tf32 values"},
        {"split_matmul(%h2, %h2, %n, %n, %x, trans_b=1, terms=1)", "a_inv of split_matmul is f32[16]; a_hi, f16[8, 16], wants f32[8]"},
        {"split_matmul(%h2, %h2, %n, %n, %x, trans_a=1, terms=1)", "a and a_hi of split_matmul are f32[B, S, 8] and f16[8, 16]"},
        {"split_matmul(%x, %y, slice(%y, axis=2, size=7, start=0), %x, trans_b=1, terms=1)",
         "a and b of split_matmul, f32[B, S, 7] and f32[B, S, 8], have the inner dims 7 and 8"},
        {"split_matmul(%h2, %h2, %h2, slice(%h2, axis=0, size=4, start=0), %n, %n, %x, trans_a=1, terms=3)",
         "a and a_hi of split_matmul are f32[B, S, 8] and f16[8, 16]"},
        {"grouped_matmul(%x, %y, %i)", "grouped_matmul of f32[B, S, 8] and f32[B, S, 8]: the operands need rank 2 and rank 3"},
        {"grouped_matmul(%h, %x, %i)", "grouped_matmul of bf16[8, 16] and f32[B, S, 8]"},
        {"grouped_matmul(reshape(%x, shape=[B*S, 8]), %x, %i)",
         "grouped_matmul of f32[B*S, 8] and f32[B, S, 8]: the inner dims are 8 and S (B in [1, 4], S in [3, 9])"},
        {"grouped_matmul(reshape(%x, shape=[B*S, 8]), %x, %i, trans_b=1)",
         "the ends of grouped_matmul are i64[B, S]; f32[B, S, 8] has B groups"},
        {"grouped_matmul(%h, reshape(%h, shape=[1, 16, 8]), iota(shape=[1], axis=0, dtype=u8))",
         "the ends of grouped_matmul are u8[1]; bf16[1, 16, 8] has 1 groups"},
        {"grouped_matmul(%h, slice(reshape(%h, shape=[1, 16, 8]), axis=0, start=0, size=0), iota(shape=[0], axis=0, dtype=i32))",
         "grouped_matmul by bf16[0, 16, 8] may have no groups"},
        {"cumsum(%p, axis=0)", "cumsum of bool[B, S, 8]"},
        {"expand(%s, shape=[1099511627776, 2097152, S])", "this shape is too large"},
    };

    Context *cx = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        diags_clear(cx->diags);
        Graph *g = with(cx, cases[i][0]);
        if (!cases[i][1][0]) {
            assert_non_null(g);
            graph_free(g);
            continue;
        }
        assert_null(g);
        assert_string_equal(diags_at(cx->diags, 0)->text, cases[i][1]);
    }
}

/* graph_add itself broadcasts nothing. */
static void test_operands_must_agree(void **state)
{
    Context *cx = *state;
    Graph *g = graph_new(cx, "g");
    Node *a = graph_input(g, OP_INPUT, "a", type_f32(cx, 2, 3), LOC_NONE), *b = graph_input(g, OP_INPUT, "b", type_f32(cx, 1, 3), LOC_NONE);
    Node *c = graph_cast(g, a, DT_BF16), *ab[2] = {a, b}, *ac[2] = {a, c};

    assert_null(graph_add(g, OP_ADD, ab, 2, NULL, 0, LOC_NONE));
    assert_string_equal(diags_at(cx->diags, 0)->text, "operands of add have shapes f32[2, 3] and f32[1, 3]");
    assert_null(graph_add(g, OP_ADD, ac, 2, NULL, 0, LOC_NONE));
    assert_string_equal(diags_at(cx->diags, 1)->text, "operands of add have dtypes f32[2, 3] and bf16[2, 3]");
    assert_null(graph_add(g, OP_ADD, ab, 1, NULL, 0, LOC_NONE));
    assert_string_equal(diags_at(cx->diags, 2)->text, "add takes 2 operands, not 1");
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_types), TEST(test_messages), TEST(test_operands_must_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
