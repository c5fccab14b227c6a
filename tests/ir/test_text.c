/* tests/ir/test_text.c — the text form: what is read, what is printed, and that one gives the other back. */
#include "fixture.h"
#include <math.h>

static void round_trip(Context *cx, const char *text)
{
    Graph *g = parse(cx, text);
    const char *once = graph_text(cx->arena, g);
    Graph *again = parse(cx, once);

    assert_string_equal(graph_text(cx->arena, again), once);
    assert_true(graph_hash(g) == graph_hash(again));
    graph_free(again);
    graph_free(g);
}

static void test_round_trips(void **state)
{
    static const char *const texts[] = {
        "graph g { input %x : f32[2, 3]\n return %x }",
        "graph g { input %x : f32[2, 3]\n return y=%x, %x }",
        "graph g { dim B in [1, 64]\n dim S in [1, 128]\n input %x : bf16[B, S, 8]\n"
        " %y = reshape(%x, shape=[B*S*2, 4])\n %z = slice(%y, axis=0, start=B*S, size=B*S)\n return %z }",
        "graph g { dim S in [1, 128]\n input %x : f32[S]\n %y = pad(%x, axis=0, low=1, high=(S + 7) // 8, fill=-inf)\n return %y }",
        "graph g { dim S in [8, 128]\n input %x : f32[S]\n %y = slice(%x, axis=0, start=S % 8, size=min(S - 7, 4))\n return %y }",
        "graph g { input %x : f32[4]\n %a = mul(%x, inf)\n %b = add(%a, nan)\n %c = mul(%b, -0.0)\n %d = add(%c, 1e-300)\n return %d }",
        "graph g { input %x : f32[4]\n %c = const(value=2, dtype=f32)\n %y = mul(%x, %c)\n return %y, %c }",
        "graph g { input %x : bool[4]\n input %y : f32[4]\n %z = where(%x, %y, 0)\n %w = eq(%x, false)\n return %z, %w }",
        "graph g { input %s : f32[]\n input %x : f32[4]\n %a = add(%s, 1)\n %b = mul(%x, %s)\n return %a, %b }",
        "graph g { input %i : i64[4]\n %a = add(%i, 3)\n %b = remainder(%a, 7)\n %c = shift_left(%b, 2)\n return %c }",
        "graph g { param %w : bf16[4] ~ constant(0.5) [mutable, file=\"a \\\"b\\\".safetensors\"]\n"
        " input %i : i32[2] ~ randint(0, 9)\n input %j : i32[2] ~ randint(0, 9) [range=[0, 4]]\n"
        " %g = gather(%w, %i, axis=0)\n return %g }",
        "graph g { input %x : f32[2]\n %t = tensor(name=\"c\", data=[0.1, -inf]) : f32[2]\n %y = add(%x, %t)\n return %y }",
        "graph g { input %x : f32[4]\n %a = exp(%x)\n %b = sin(%x)\n %z = choice(%a, %b, id=\"stack.0\")\n return %z }",
        "graph g { input %x : f32[4, 5]\n %a = argmax(%x, axes=[1])\n %b = cumsum(%x, axis=0)\n %c = flip(%x, axes=[0, 1])\n"
        " %i = iota(shape=[4, 5], axis=1, dtype=i32)\n return %a, %b, %c, %i }",
        "graph g { input %layers.0.weight : f32[4]\n %y.1 = exp(%layers.0.weight)\n return %y.1 }",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        Context *cx = context_new();                                         /* S has another range in each */
        round_trip(cx, texts[i]);
        context_free(cx);
    }
}

static void test_literals_take_the_dtype(void **state)
{
    Context *cx = *state;
    Graph *g = parse(cx, "graph g { input %h : bf16[4]\n input %i : i32[4]\n input %b : bool[4]\n input %s : f32[]\n"
                         " %a = mul(%h, 2.5)\n %c = mul(%i, 2)\n %d = mul(%i, 2.5)\n %e = add(%b, 1)\n %f = add(%h, %s)\n"
                         " %k = add(%i, %s)\n %l = div(%i, 2)\n %m = exp(%i)\n %n = add(%h, %i)\n %o = logical_and(%i, %b)\n"
                         " return %a, %c, %d, %e, %f, %k, %l, %m, %n, %o }");
    static const char *const expected[] = {"a bf16[4]", "c i32[4]", "d f32[4]", "e i64[4]", "f bf16[4]", "k f32[4]", "l f32[4]",
                                           "m f32[4]", "n bf16[4]", "o bool[4]"};

    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        char name[2] = {expected[i][0], 0};
        assert_string_equal(type_of(cx, output(g, name)), expected[i] + 2);
    }
    graph_free(g);
}

static void test_broadcasting(void **state)
{
    Context *cx = *state;
    Graph *g = parse(cx, "graph g { dim B in [1, 8]\n dim S in [1, 8]\n input %x : f32[B, 1, 4]\n input %y : f32[S, 1]\n"
                         " %z = add(%x, %y)\n return %z }");

    assert_string_equal(type_of(cx, output(g, "z")), "f32[B, S, 4]");
    assert_int_equal(output(g, "z")->in[0]->op, OP_EXPAND);
    graph_free(g);
    assert_string_equal(refusal(cx, "graph g { dim B in [1, 8]\n input %x : f32[B]\n input %y : f32[4]\n return z=add(%x, %y) }"),
                        "add: shapes [B] and [4] do not broadcast (B in [1, 8])");
}

static void test_shape_conveniences(void **state)
{
    Context *cx = *state;
    Graph *g = parse(cx, "graph g { dim S in [4, 64]\n input %x : f32[S, 6, 8]\n"
                         " %a = reshape(%x, shape=[-1, 8])\n %b = expand(%a, shape=[2, -1, -1])\n %c = slice(%x, axis=0, start=-4)\n"
                         " %d = slice(%x, axis=2, start=1, step=3)\n %e = reduce_sum(%x, axis=-1)\n %f = reduce_max(%x)\n"
                         " return %a, %b, %c, %d, %e, %f }");
    static const char *const expected[] = {"a f32[6*S, 8]", "b f32[2, 6*S, 8]", "c f32[4, 6, 8]", "d f32[S, 6, 3]", "e f32[S, 6]",
                                           "f f32[]"};

    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        char name[2] = {expected[i][0], 0};
        assert_string_equal(type_of(cx, output(g, name)), expected[i] + 2);
    }
    graph_free(g);
}

static void test_attribute_expressions(void **state)
{
    Context *cx = *state;
    static const char *const cases[][2] = {
        {"[2 + 3 * 4, 24]", "14, 24"}, {"[dim(%x, -1) // 2, 84]", "4, 84"}, {"part(shape(%x), 0, 2) + [8]", "S, 6, 8"},
        {"insert(shape(%x), -1, 1)", "S, 6, 8, 1"}, {"swap(shape(%x), 0, 2)", "8, 6, S"}, {"[count(%x)]", "48*S"},
        {"replace(shape(%x), 0, product([2, 3]))", "6, 6, 8"}, {"[rank(%x), len(shape(%x)), max(S, 64)]", "3, 3, 64"},
        {"if(S <= 64 and not rank(%x) == 2, [S], [1])", "S"}, {"ones(3)", "1, 1, 1"}, {"range(1, 4)", "1, 2, 3"},
        {"remove(shape(%x), 1) + ones(1)", "S, 8, 1"}, {"[ceildiv(S, 8), S % 8 + 1]", "(S + 7) // 8, S % 8 + 1"},
        {"[size(%x, [1, 2]), size(%x, 0)]", "48, S"}, {"[(5 - 3) * (S + 1) - 2]", "2*S"}, {"[7 % 4, 7 // 4, 1 if_not]", NULL},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *text = arena_printf(cx->arena, "graph g { dim S in [4, 64]\n input %%x : f32[S, 6, 8]\n"
                                                   " %%i = iota(shape=%s, axis=0, dtype=f32)\n return %%i, %%x }", cases[i][0]);
        if (!cases[i][1]) {
            refusal(cx, text);
            continue;
        }
        Graph *g = parse(cx, text);
        assert_string_equal(type_of(cx, output(g, "i")), arena_printf(cx->arena, "f32[%s]", cases[i][1]));
        graph_free(g);
    }
}

static void test_refusals(void **state)
{
    Context *cx = *state;
    static const char *const cases[][2] = {
        {"graph g { input %x : f32[4]\n return y }", "an operand is a value such as %x, or a call"},
        {"graph g { input %x : f32[4]\n return exp(%x) }", "this output needs a name"},
        {"graph g { input %x : f32[4]\n return %x, %x }", "two outputs are called 'x'"},
        {"graph g { input %x : f32[4] }", "graph g returns nothing"},
        {"graph g { dim B in [3, 2]\n input %x : f32[B]\n return %x }", "B cannot range over [3, 2]"},
        {"graph g { input %x : f32[4]\n input %x : f32[4]\n return %x }", "'x' is declared twice"},
        {"graph g { input %x : f32[4, ]\n return %x ", "expected a statement, return or '}', found the end"},
        {"graph g { input %x : f32[S]\n return %x }", "'S' is not known here"},
        {"graph g { input %x : f32[4 / 2]\n return %x }", "a dim is an integer or an expression of dims, not a float"},
        {"graph g { input %x : f32[2 - 4]\n return %x }", "this dim, -2, may be negative"},
        {"", "expected one graph, found 0"},
        {"graph g { input %x : f32[4]\n %y = input(name=\"y\")\n return %y }", "input is not an operation"},
        {"graph g { input %x : f32[4]\n %y = exp()\n return %y }", "exp takes 1 operand, not 0"},
        {"graph g { input %x : f32[4]\n %y = reshape(%x, shape=[9223372036854775807 * 3])\n return %y }", "this number is too large"},
        {"graph g { input %x : f32[4]\n %y = add(, %x)\n return %y }", "expected an expression, found ','"},
        {"graph g { input %x : f32[4]\n %y = mul(%x, 1 / 0)\n return %y }", "division by zero"},
        {"graph g { dim S in [1, 9]\n input %x : f32[S]\n %y = mul(%x, 1 / S)\n return %y }",
         "'/' needs constants here; a symbolic dim has no value yet"},
        {"graph g { dim S in [1, 9]\n input %x : f32[S]\n %y = mul(%x, if(S < 4, 1, 2))\n return %y }",
         "whether S < 4 depends on the size (S in [1, 9])"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(refusal(cx, cases[i][0]), cases[i][1]);
}

/* Long chains of operators and lists must not exhaust the stack. */
static void test_depth_is_bounded(void **state)
{
    Context *cx = *state;
    static const char *const units[] = {"1+", "-", "(", "[", "not ", "f(", "2*(", "if(1,"};

    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        StrBuf b = strbuf_new(cx->arena);
        for (int k = 0; k < 100000; k++)
            strbuf_add(&b, units[i]);
        strbuf_add(&b, "1");
        diags_clear(cx->diags);
        assert_null(text_parse_expr(cx, source_from_text(cx->arena, "deep", b.text)));
        assert_int_equal(diags_count(cx->diags), 1);
    }
}

static void test_rule_syntax(void **state)
{
    Context *cx = *state;
    TextBlock b;
    const char *text = "%x : float[.., K]\n%y[i] = matmul(%x, %w[i])   # variadic\n%w = concat(%w[*], axis=-1)\n"
                       "%z = slice(%y, axis=-1, start=offset(%w, i), size=dim(%w[i], -1))\nreturn %z";

    assert_true(text_parse_block(cx, source_from_text(cx->arena, "rule", text), &b));
    assert_int_equal(b.n, 4);
    assert_null(b.s[0].call);
    assert_string_equal(b.s[0].type->name, "float");
    assert_string_equal(b.s[0].type->args[0].value->name, "..");
    assert_int_equal(b.s[1].out[0]->index->kind, TE_NAME);
    assert_int_equal(b.s[2].call->args[0].value->index->kind, TE_STAR);
    assert_string_equal(b.s[2].call->args[1].key, "axis");
    assert_int_equal(b.n_ret, 1);
    TextExpr *e = text_parse_expr(cx, source_from_text(cx->arena, "where", "dim(%x, -1) %8 == 0 and n >= 2"));
    assert_non_null(e);
    assert_string_equal(e->name, "and");
    assert_string_equal(e->args[0].value->name, "==");
    assert_string_equal(e->args[0].value->args[0].value->name, "%");
}

static void test_types(void **state)
{
    Context *cx = *state;
    Type t;

    assert_true(text_parse_type(cx, source_from_text(cx->arena, "type", "bf16[B, S, 4*H]"), &t, true));
    StrBuf b = strbuf_new(cx->arena);
    type_print(&b, &t);
    assert_string_equal(b.text, "bf16[B, S, 4*H]");
    assert_true(text_parse_type(cx, source_from_text(cx->arena, "type", "f32"), &t, false));
    assert_int_equal(t.shape.rank, 0);
    assert_false(text_parse_type(cx, source_from_text(cx->arena, "type", "f32[Q]"), &t, false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_round_trips), TEST(test_literals_take_the_dtype), TEST(test_broadcasting), TEST(test_shape_conveniences),
        TEST(test_attribute_expressions), TEST(test_refusals), TEST(test_depth_is_bounded), TEST(test_rule_syntax), TEST(test_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
