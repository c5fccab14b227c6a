/* tests/ir/test_graph.c — hash-consing, attributes, forwarding, rebuild, compact, uses, specialise, frozen. */
#include "fixture.h"

static Node *input(Graph *g, const char *name) { return graph_input(g, OP_INPUT, name, type_f32(g->cx, 4, 6), LOC_NONE); }

static void test_equal_nodes_are_one(void **state)
{
    Context *cx = *state;
    Graph *g = graph_new(cx, "g");
    Node *x = input(g, "x"), *y = input(g, "y");

    assert_ptr_equal(graph_binary(g, OP_ADD, x, y), graph_binary(g, OP_ADD, x, y));
    assert_ptr_not_equal(graph_binary(g, OP_ADD, x, y), graph_binary(g, OP_ADD, y, x));
    assert_ptr_equal(graph_const(g, DT_F32, 0.5), graph_const(g, DT_F32, 0.5));
    assert_ptr_not_equal(graph_const(g, DT_F32, 0.5), graph_const(g, DT_BF16, 0.5));
    assert_ptr_not_equal(graph_const(g, DT_F32, 0.0), graph_const(g, DT_F32, -0.0));
    int64_t last = -1, one = 1;
    assert_ptr_equal(graph_reduce(g, OP_REDUCE_SUM, x, &last, 1, false), graph_reduce(g, OP_REDUCE_SUM, x, &one, 1, false));
    assert_ptr_not_equal(graph_reduce(g, OP_REDUCE_SUM, x, &one, 1, true), graph_reduce(g, OP_REDUCE_SUM, x, &one, 1, false));
    graph_free(g);
}

static void test_defaults_are_dropped(void **state)
{
    Context *cx = *state;
    Graph *g = graph_new(cx, "g");
    Node *x = input(g, "x");
    Node *whole = graph_slice(g, x, 1, dim_const(cx->dims, 0), dim_const(cx->dims, 6), 1);
    Node *product = graph_matmul(g, x, x, false, true);

    assert_null(node_attr(whole, ATTR_START));
    assert_null(node_attr(whole, ATTR_STEP));
    assert_int_equal(whole->n_attrs, 2);
    assert_int_equal(product->n_attrs, 1);
    assert_int_equal(node_int(product, ATTR_TRANS_B, 0), 1);
    Attr dtype = {.key = ATTR_DTYPE, .dtype = DT_F32}, both[2] = {{.key = ATTR_TRANS_B, .i = 1}, dtype};
    Node *in[2] = {x, x};
    assert_ptr_equal(graph_add(g, OP_MATMUL, in, 2, both, 2, LOC_NONE), product);
    graph_free(g);
}

static void test_bad_attributes(void **state)
{
    Context *cx = *state;
    Graph *g = graph_new(cx, "g");
    Node *x = input(g, "x");
    int64_t axes[9] = {0};
    Attr cases[][2] = {
        {{.key = ATTR_AXIS, .i = 1}},                                             /* unknown to the op */
        {{.key = ATTR_KEEPDIMS, .i = 2}, {.key = ATTR_AXES, .n = 1, .ints = axes}},
        {{.key = ATTR_AXES, .n = 1, .ints = (int64_t[]){2}}},
        {{.key = ATTR_AXES, .n = 2, .ints = (int64_t[]){1, -1}}},
        {{.key = ATTR_AXES, .n = 9, .ints = axes}},
    };
    const uint32_t n[] = {1, 2, 1, 1, 1};

    for (uint32_t i = 0; i < 5; i++) {
        diags_clear(cx->diags);
        assert_null(graph_add(g, OP_REDUCE_MAX, &x, 1, cases[i], n[i], LOC_NONE));
        assert_int_equal(diags_count(cx->diags), 1);
    }
    diags_clear(cx->diags);
    assert_null(graph_add(g, OP_REDUCE_MAX, &x, 1, NULL, 0, LOC_NONE));
    assert_non_null(strstr(messages(cx), "needs the attribute 'axes'"));
    graph_free(g);
}

static void test_replace_and_rebuild(void **state)
{
    Context *cx = *state;
    Graph *g = parse(cx, "graph g { input %x : f32[4, 6]\n %a = exp(%x)\n %b = mul(%a, %a)\n %c = add(%b, %x)\n return %c, %b }");
    Node *x = g->inputs.data[0].node, *a = output(g, "b")->in[0];

    graph_replace(g, a, graph_unary(g, OP_SIN, x));
    assert_ptr_equal(graph_resolve(g, a), graph_unary(g, OP_SIN, x));
    assert_true(graph_rebuild(g));
    assert_false(graph_rebuild(g));
    assert_int_equal(output(g, "b")->in[0]->op, OP_SIN);
    assert_ptr_equal(output(g, "c")->in[0], output(g, "b"));
    assert_string_equal(output(g, "b")->in[0]->name, "a");                    /* the name follows */
    assert_true(graph_compact(g));
    assert_true(graph_verify(g, cx->diags));
    assert_int_equal(g->nodes.n, 4);
    assert_string_equal(graph_text(cx->arena, g),
                        "graph g {\n"
                        "  input %x : f32[4, 6] ~ normal(0, 1)\n"
                        "  %a = sin(%x)                                   : f32[4, 6]\n"
                        "  %b = mul(%a, %a)                               : f32[4, 6]\n"
                        "  %c = add(%b, %x)                               : f32[4, 6]\n"
                        "  return %c, %b\n"
                        "}\n");
    graph_free(g);
}

/* x becomes choice(x, …): the choice keeps x, everyone else sees the choice. Twice, so that choices nest. */
static void test_replace_by_a_user_of_it(void **state)
{
    Context *cx = *state;
    Graph *g = parse(cx, "graph g { input %x : f32[4, 6]\n %a = exp(%x)\n %b = neg(%a)\n return %b }");
    Node *a = output(g, "b")->in[0], *x = a->in[0];

    for (int i = 0; i < 2; i++) {
        Node *alternatives[2] = {graph_resolve(g, a), graph_unary(g, i ? OP_COS : OP_SIN, x)};
        Attr id = {.key = ATTR_ID, .s = str_intern(cx->strs, i ? "second" : "first")};
        graph_replace(g, alternatives[0], graph_add(g, OP_CHOICE, alternatives, 2, &id, 1, LOC_NONE));
    }
    assert_true(graph_rebuild(g));
    Node *outer = output(g, "b")->in[0];
    assert_int_equal(outer->op, OP_CHOICE);
    assert_string_equal(node_attr(outer, ATTR_ID)->s, "second");
    assert_int_equal(outer->in[0]->op, OP_CHOICE);
    assert_ptr_equal(outer->in[0]->in[0], a);
    assert_true(graph_verify(g, cx->diags));
    const char *text = graph_text(cx->arena, g);
    Graph *again = parse(cx, text);
    assert_string_equal(graph_text(cx->arena, again), text);
    graph_free(again);
    graph_free(g);
}

/* Rewriting n makes it equal to a node that was itself replaced. */
static void test_rebuild_meets_a_replaced_node(void **state)
{
    Context *cx = *state;
    Graph *g = parse(cx, "graph g { input %x : f32[4, 6]\n input %y : f32[4, 6]\n %p = neg(%x)\n %q = neg(%y)\n"
                         " %r = exp(%q)\n return %r, %p }");
    Node *x = g->inputs.data[0].node, *y = g->inputs.data[1].node, *p = output(g, "p");

    graph_replace(g, p, graph_unary(g, OP_SIN, x));
    graph_replace(g, y, x);
    graph_rebuild(g);
    assert_int_equal(output(g, "p")->op, OP_SIN);
    assert_int_equal(output(g, "r")->in[0]->op, OP_SIN);
    graph_compact(g);
    assert_true(graph_verify(g, cx->diags));
    assert_int_equal(g->inputs.n, 2);                                         /* the signature stays */
    graph_free(g);
}

static void test_dead_nodes_are_not_found_again(void **state)
{
    Context *cx = *state;
    Graph *g = parse(cx, "graph g { input %x : f32[4, 6]\n %a = exp(%x)\n %b = sin(%x)\n return %b }");

    assert_true(graph_compact(g));
    assert_false(graph_compact(g));
    Node *again = graph_unary(g, OP_EXP, g->inputs.data[0].node);
    assert_ptr_equal(g->nodes.data[again->id], again);
    assert_ptr_equal(graph_unary(g, OP_SIN, g->inputs.data[0].node), output(g, "b"));
    assert_true(graph_verify(g, cx->diags));
    graph_free(g);
}

static void test_uses(void **state)
{
    Context *cx = *state;
    Graph *g = parse(cx, "graph g { input %x : f32[4, 6]\n %dead = exp(%x)\n %a = mul(%x, %x)\n %b = sin(%a)\n return %a, %b }");
    Uses u = graph_uses(g, cx->arena);
    Node *x = g->inputs.data[0].node, *a = output(g, "a");

    assert_int_equal(u.n_uses[x->id], 2);                                      /* twice by mul; the dead one does not count */
    assert_int_equal(u.n_uses[a->id], 2);                                      /* by sin, and as an output */
    assert_int_equal(u.start[a->id + 1] - u.start[a->id], 1);
    assert_ptr_equal(u.user[u.start[a->id]], output(g, "b"));
    graph_free(g);
}

static void test_specialise(void **state)
{
    Context *cx = *state;
    Graph *g = parse(cx, "graph g { dim B in [1, 8]\n dim S in [2, 16]\n input %x : bf16[B, S, 4] ~ uniform(0, 1) [mutable]\n"
                         " param %w : bf16[4] ~ normal(1, 0.5)\n"
                         " %h = rms_norm(%x, %w)\n %r = reshape(%h, shape=[B*S, 4])\n return %r }");
    DimValue values[] = {{"B", 2}, {"S", 3}};
    Graph *s = graph_specialise(g, values, 2);

    assert_non_null(s);
    assert_true(graph_verify(s, cx->diags));
    assert_string_equal(type_of(cx, output(s, "r")), "bf16[6, 4]");
    assert_string_equal(output(s, "r")->in[0]->origin, "rms_norm");
    assert_string_equal(output(s, "r")->in[0]->name, "h");
    assert_true(s->inputs.data[0].is_mutable);
    assert_true(s->inputs.data[0].dist.kind == DIST_UNIFORM);
    Graph *part = graph_specialise(g, values, 1);
    assert_string_equal(type_of(cx, output(part, "r")), "bf16[2*S, 4]");
    values[0].value = 9;
    assert_null(graph_specialise(g, values, 2));
    assert_non_null(strstr(messages(cx), "B = 9 is outside its range [1, 8]"));
    values[0].name = "Q";
    assert_null(graph_specialise(g, values, 2));
    graph_free(part);
    graph_free(s);
    graph_free(g);
}

static void test_frozen(void **state)
{
    Context *cx = *state;
    Graph *g = parse(cx, "graph g { input %x : f32[4]\n param %w : f32[4]\n param %m : f32[4] [mutable]\n"
                         " %a = exp(%w)\n %b = add(%a, %m)\n %c = add(%a, %x)\n return %a, %b, %c }");
    bool *frozen = graph_frozen(g, cx->arena);

    assert_true(frozen[output(g, "a")->id]);
    assert_false(frozen[output(g, "b")->id]);
    assert_false(frozen[output(g, "c")->id]);
    graph_free(g);
}

static void test_literals(void **state)
{
    Context *cx = *state;
    Graph *g = graph_new(cx, "g");
    double v = 0;
    Type t = type_f32(cx, 2, 2);
    Node *c = graph_cast(g, graph_expand(g, graph_const(g, DT_F32, 2.75), &t.shape), DT_I32);

    assert_true(node_literal(c, &v));
    assert_true(v == 2);
    assert_false(node_literal(input(g, "x"), &v));
    graph_free(g);
}

static void test_hash_ignores_names_and_order(void **state)
{
    Context *cx = *state;
    Graph *a = parse(cx, "graph a { input %x : f32[4]\n %p = exp(%x)\n %q = sin(%x)\n %z = add(%p, %q)\n return %z }");
    Graph *b = parse(cx, "graph b { input %y : f32[4] ~ uniform(0, 1)\n %q = sin(%y)\n %p = exp(%y)\n return out=add(%p, %q) }");
    Graph *c = parse(cx, "graph a { input %x : f32[4]\n %p = exp(%x)\n %q = sin(%x)\n %z = add(%q, %p)\n return %z }");

    assert_true(graph_hash(a) == graph_hash(b));
    assert_true(graph_hash(a) != graph_hash(c));
    graph_free(a);
    graph_free(b);
    graph_free(c);
}

static void test_verify_finds_damage(void **state)
{
    Context *cx = *state;
    Graph *g = parse(cx, "graph g { input %x : f32[4]\n %p = exp(%x)\n %z = sin(%p)\n return %z }");
    Node *z = output(g, "z");

    z->type.dtype = DT_BF16;
    assert_false(graph_verify(g, cx->diags));
    z->type.dtype = DT_F32;
    Node *self = z->in[0];
    z->in[0] = z;
    assert_false(graph_verify(g, cx->diags));
    z->in[0] = self;
    diags_clear(cx->diags);
    assert_true(graph_verify(g, cx->diags));
    graph_free(g);
}

static void test_op_table(void **state)
{
    (void)state;
    for (int op = 0; op < OP_COUNT; op++) {
        assert_int_equal(op_find(op_name((Op)op)), op);
        for (uint32_t i = 0; i < op_attrs((Op)op)->n; i++) {
            AttrKey key = ATTR_COUNT;
            assert_true(attr_find(attr_table[op_attrs((Op)op)->a[i].key].name, &key));
            assert_int_equal(key, op_attrs((Op)op)->a[i].key);
        }
    }
    assert_int_equal(op_find("nothing"), OP_NONE);
    assert_string_equal(op_table[OP_MAXIMUM].reference, "max_nan(a, b)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_equal_nodes_are_one), TEST(test_defaults_are_dropped), TEST(test_bad_attributes),
        TEST(test_replace_and_rebuild), TEST(test_replace_by_a_user_of_it), TEST(test_rebuild_meets_a_replaced_node),
        TEST(test_dead_nodes_are_not_found_again), TEST(test_uses), TEST(test_specialise), TEST(test_frozen), TEST(test_literals),
        TEST(test_hash_ignores_names_and_order), TEST(test_verify_finds_damage), TEST(test_op_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
