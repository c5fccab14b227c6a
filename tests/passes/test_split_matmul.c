/* tests/passes/test_split_matmul.c — which products are split and how: thresholds, classes, layouts, padding, sharing; what the pieces
 * hold on every distribution of the gate; the meaning under every pick. */
#include "passes_fixture.h"

static PassOptions splitting(NumClass c)
{
    PassOptions o = default_options();
    o.f16_products = true;
    o.numerics.matmul = c;
    return o;
}

/* The graph after the passes; with_split: every choice takes its last alternative, else its first. */
static Graph *passed(Context *cx, const char *text, NumClass c, bool with_split)
{
    Graph *g = parse(cx, text);
    PassOptions o = splitting(c);
    must_run(g, &o, NULL);
    uint32_t n;
    ChoiceInfo *list = choices_list(g, cx->arena, &n);
    ChoicePick *picks = arena_new_array(cx->arena, ChoicePick, n + 1);
    for (uint32_t i = 0; i < n; i++)
        picks[i] = (ChoicePick){list[i].id, with_split ? list[i].n_alternatives - 1 : 0};
    Graph *out = choices_resolve(g, picks, n);
    assert_true(graph_verify(out, cx->diags));
    graph_free(g);
    return out;
}

static uint32_t count_op(const Graph *g, Op op)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->nodes.n; i++)
        n += g->nodes.data[i]->op == op;
    return n;
}

static Node *find_op(const Graph *g, Op op)
{
    for (uint32_t i = 0; i < g->nodes.n; i++)
        if (g->nodes.data[i]->op == op)
            return g->nodes.data[i];
    return NULL;
}

/* In fp64, at 40 elements of every output: whole evaluations of products that are large enough take minutes. */
static void same_at_points(const Graph *a, const Graph *b, Arena *arena)
{
    enum { POINTS = 40 };
    Tensor **in = draw_inputs(a, arena);
    Evaluator *ea = eval_new(a, &domain_fp64, in, arena), *eb = eval_new(b, &domain_fp64, in, arena);
    assert_int_equal(a->outputs.n, b->outputs.n);
    for (uint32_t k = 0; k < a->outputs.n; k++) {
        const Node *n = a->outputs.data[k].node;
        int64_t at[POINTS], count = count_of(n);
        Value va[POINTS], vb[POINTS];
        for (int64_t i = 0; i < POINTS; i++)
            at[i] = (count - 1) / (POINTS - 1) * i;
        assert_true(eval_points(ea, k, at, POINTS, va) && eval_points(eb, k, at, POINTS, vb));
        for (int i = 0; i < POINTS; i++)
            assert_true(values_agree(n, va[i], vb[i], false));
    }
}

/* ---- which ---------------------------------------------------------------------------------------------------------------------- */
static void test_which(void **state)
{
    (void)state;
    static const struct { const char *a, *b; NumClass c; int terms; } cases[] = {
        {"f32[512, 128]", "f32[128, 512]", NUM_FP32, 3},   {"f32[512, 128]", "f32[128, 512]", NUM_TF32, 1},
        {"f32[512, 128]", "f32[128, 512]", NUM_IEEE, 0},   {"f32[512, 128]", "f32[128, 512]", NUM_APPROX, 3},
        {"f32[512, 128]", "f32[128, 512]", NUM_BF16, 3},   {"bf16[512, 128]", "bf16[128, 512]", NUM_BF16, 0},
        {"f32[63, 4096]", "f32[4096, 512]", NUM_FP32, 0},  {"f32[64, 4096]", "f32[4096, 512]", NUM_FP32, 3},
        {"f32[512, 4096]", "f32[4096, 63]", NUM_FP32, 0},  {"f32[4096, 31]", "f32[31, 4096]", NUM_FP32, 0},
        {"f32[4096, 32]", "f32[32, 4096]", NUM_FP32, 3},   {"f32[128, 128]", "f32[128, 128]", NUM_FP32, 0},
        {"f32[64, 1, 4096]", "f32[4096, 512]", NUM_FP32, 3}, {"f32[64, 1, 4096]", "f32[64, 4096, 512]", NUM_FP32, 0},
        {"f32[16, 64, 64]", "f32[16, 64, 512]", NUM_FP32, 3}, {"f32[16, 64, 64]", "f32[1, 64, 512]", NUM_FP32, 3},
        {"f32[4, 4, 64, 64]", "f32[4, 64, 512]", NUM_FP32, 0}, {"f32[4, 4, 64, 64]", "f32[4, 1, 64, 512]", NUM_FP32, 0},
        {"f64[512, 128]", "f64[128, 512]", NUM_FP32, 0},
        {"f32[S, 4096]", "f32[4096, 512]", NUM_FP32, 0},   {"f32[L, 4096]", "f32[4096, 512]", NUM_FP32, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Context *cx = context_new();
        const char *text = arena_printf(cx->arena, "graph g {\n dim S in [1, 4096]\n dim L in [64, 4096]\n input %%a : %s\n input %%b : %s\n"
                                        " %%y = matmul(%%a, %%b)\n return %%y\n}\n", cases[i].a, cases[i].b);
        Graph *g = parse(cx, text);
        PassOptions o = splitting(cases[i].c);
        must_run(g, &o, NULL);
        uint32_t n;
        ChoiceInfo *list = choices_list(g, cx->arena, &n);
        if ((int)n != (cases[i].terms != 0))
            fail_msg("case %zu: %u choices", i, n);
        if (n) {
            assert_string_equal(list[0].rule, "split_matmul");
            assert_int_equal(list[0].n_alternatives, 2);
            assert_int_equal(node_int(find_op(g, OP_SPLIT_MATMUL), ATTR_TERMS, 0), cases[i].terms);
            assert_int_equal(find_op(g, OP_CHOICE)->in[0]->op, OP_MATMUL);
        }
        must_run(g, &o, NULL);
        choices_list(g, cx->arena, &n);
        assert_int_equal(n, cases[i].terms != 0);                   /* offered once */
        graph_free(g);
        context_free(cx);
    }
}

static void test_only_where_asked(void **state)
{
    (void)state;
    Context *cx = context_new();
    Graph *g = parse(cx, "graph g {\n input %a : f32[512, 128]\n input %b : f32[128, 512]\n %y = matmul(%a, %b)\n return %y\n}\n");
    PassOptions o = default_options();
    must_run(g, &o, NULL);
    assert_null(find_op(g, OP_CHOICE));
    o.f16_products = true;
    static const char *const off[] = {"split_matmul"};
    o.disabled = off;
    o.n_disabled = 1;
    must_run(g, &o, NULL);
    assert_null(find_op(g, OP_CHOICE));
    graph_free(g);
    context_free(cx);
}

/* ---- layouts -------------------------------------------------------------------------------------------------------------------- */
static const char *dims_text(Context *cx, const Node *n)
{
    StrBuf b = strbuf_new(cx->arena);
    type_print(&b, &n->type);
    return b.text;
}

static void test_layouts(void **state)
{
    (void)state;
    static const struct { const char *a, *b, *y; int ta, tb; const char *a_hi, *b_hi; Op a_op, b_op; } cases[] = {
        /* as they lie */
        {"f32[128, 512]", "f32[512, 1024]", "matmul(%a, %b)", 0, 0, "f16[128, 512]", "f16[512, 1024]", OP_INPUT, OP_INPUT},
        {"f32[512, 128]", "f32[1024, 512]", "matmul(%a, %b, trans_a=1, trans_b=1)", 1, 1, "f16[512, 128]", "f16[1024, 512]", OP_INPUT, OP_INPUT},
        /* permuted in the graph, not in memory */
        {"f32[512, 128]", "f32[1024, 512]", "matmul(permute(%a, perm=[1, 0]), permute(%b, perm=[1, 0]))", 1, 1, "f16[512, 128]", "f16[1024, 512]",
         OP_INPUT, OP_INPUT},
        {"f32[4, 64, 4, 512]", "f32[4, 64, 4, 512]", "matmul(permute(%a, perm=[0, 2, 1, 3]), permute(%b, perm=[0, 2, 3, 1]))", 0, 1,
         "f16[4, 4, 64, 512]", "f16[4, 4, 64, 512]", OP_PERMUTE, OP_PERMUTE},
        /* k = 1023 is padded; 1023 columns lie in rows that copies cannot start at: turned */
        {"f32[128, 1023]", "f32[1023, 1024]", "matmul(%a, %b)", 0, 0, "f16[128, 1024]", "f16[1024, 1024]", OP_INPUT, OP_INPUT},
        {"f32[128, 512]", "f32[512, 1023]", "matmul(%a, %b)", 0, 1, "f16[128, 512]", "f16[1023, 512]", OP_INPUT, OP_PERMUTE},
        {"f32[515, 131]", "f32[515, 1024]", "matmul(%a, %b, trans_a=1)", 0, 0, "f16[131, 576]", "f16[576, 1024]", OP_PERMUTE, OP_INPUT},
        /* no k in a row: nothing to pad */
        {"f32[515, 128]", "f32[515, 1024]", "matmul(%a, %b, trans_a=1)", 1, 0, "f16[515, 128]", "f16[515, 1024]", OP_INPUT, OP_INPUT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Context *cx = context_new();
        const char *text = arena_printf(cx->arena, "graph g {\n input %%a : %s\n input %%b : %s\n %%y = %s\n return %%y\n}\n",
                                        cases[i].a, cases[i].b, cases[i].y);
        Graph *g = passed(cx, text, NUM_FP32, true), *plain = passed(cx, text, NUM_FP32, false);
        Node *n = find_op(g, OP_SPLIT_MATMUL);
        assert_non_null(n);
        assert_null(find_op(g, OP_MATMUL));
        assert_int_equal(node_int(n, ATTR_TRANS_A, 0), cases[i].ta);
        assert_int_equal(node_int(n, ATTR_TRANS_B, 0), cases[i].tb);
        SplitOperand a = split_operand(n, 0), b = split_operand(n, 1);
        assert_string_equal(dims_text(cx, a.hi), cases[i].a_hi);
        assert_string_equal(dims_text(cx, b.hi), cases[i].b_hi);
        assert_int_equal(a.exact->op, cases[i].a_op);
        assert_int_equal(b.exact->op, cases[i].b_op);
        same_at_points(plain, g, cx->arena);
        graph_free(g);
        graph_free(plain);
        context_free(cx);
    }
}

/* How much a symbolic k has to be padded by is not known; one that is a multiple of 8 needs none. */
static void test_symbolic_depth(void **state)
{
    (void)state;
    static const struct { const char *k; bool splits; } cases[] = {{"K", false}, {"8*K", true}};
    for (size_t i = 0; i < 2; i++) {
        Context *cx = context_new();
        Graph *g = parse(cx, arena_printf(cx->arena, "graph g {\n dim K in [512, 4096]\n input %%a : f32[256, %s]\n input %%b : f32[%s, 512]\n"
                                          " %%y = matmul(%%a, %%b)\n return %%y\n}\n", cases[i].k, cases[i].k));
        PassOptions o = splitting(NUM_FP32);
        must_run(g, &o, NULL);
        assert_int_equal(find_op(g, OP_CHOICE) != NULL, cases[i].splits);
        graph_free(g);
        context_free(cx);
    }
}

/* ---- sharing, frozen operands ------------------------------------------------------------------------------------------------------ */
static void test_shared_once(void **state)
{
    (void)state;
    Context *cx = context_new();
    Graph *g = passed(cx, "graph g {\n input %x : f32[512, 256]\n input %u : f32[256, 512]\n input %v : f32[256, 512]\n input %w : f32[256, 1024]\n"
                          " %p = matmul(%x, %u)\n %q = matmul(%x, %v)\n %r = matmul(%x, %w)\n return %p, %q, %r\n}\n", NUM_FP32, true);
    assert_int_equal(count_op(g, OP_SPLIT_MATMUL), 3);
    assert_int_equal(count_op(g, OP_REDUCE_MAX), 4);
    assert_int_equal(count_op(g, OP_CAST), 4 * 3);                   /* hi, hi in f32, lo of four matrices */
    graph_free(g);
    context_free(cx);
}

static void test_frozen(void **state)
{
    (void)state;
    static const struct { const char *kind_a, *kind_b; NumClass c; bool has_b; } cases[] = {
        {"input", "param", NUM_FP32, false}, {"param", "input", NUM_FP32, true}, {"input", "input", NUM_FP32, true},
        {"input", "param", NUM_TF32, false}, {"input", "input", NUM_TF32, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Context *cx = context_new();
        const char *text = arena_printf(cx->arena, "graph g {\n %s %%a : f32[512, 128]\n %s %%b : f32[512, 128]\n"
                                        " %%y = linear(%%a, %%b)\n return %%y\n}\n", cases[i].kind_a, cases[i].kind_b);
        NumClass c = cases[i].c;
        Graph *g = passed(cx, text, c, true), *plain = passed(cx, text, c, false);
        Node *n = find_op(g, OP_SPLIT_MATMUL);
        bool *is_frozen = graph_frozen(g, cx->arena);
        SplitOperand a = split_operand(n, 0), b = split_operand(n, 1);
        assert_non_null(a.exact);
        assert_int_equal(b.exact != NULL, cases[i].has_b);
        assert_int_equal(b.lo != NULL, c == NUM_FP32);
        assert_int_equal(is_frozen[b.hi->id] && (!b.lo || is_frozen[b.lo->id]) && is_frozen[b.inv->id], !cases[i].has_b);
        same_at_points(plain, g, cx->arena);
        graph_free(g);
        graph_free(plain);
        context_free(cx);
    }
}

/* What no package holds keeps its original: nobody looks at its numbers before they are computed. */
static void test_computed_operands_keep_originals(void **state)
{
    (void)state;
    static const struct { const char *b; bool has_b; } cases[] = {
        {"cos(mul(iota(shape=[512, 128], axis=0, dtype=f32), iota(shape=[512, 128], axis=1, dtype=f32)))", true},
        {"mul(%w, iota(shape=[512, 128], axis=0, dtype=f32))", false},
        {"slice(%t, axis=0, start=0, size=S)", true},
        {"slice(%t, axis=0, start=1, size=512)", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Context *cx = context_new();
        Graph *g = parse(cx, arena_printf(cx->arena, "graph g {\n dim S in [512, 600]\n input %%a : f32[512, 128]\n param %%w : f32[512, 128]\n"
                                          " param %%t : f32[600, 128]\n %%y = linear(%%a, %s)\n return %%y\n}\n", cases[i].b));
        PassOptions o = splitting(NUM_FP32);
        must_run(g, &o, NULL);
        assert_int_equal(split_operand(find_op(g, OP_SPLIT_MATMUL), 1).exact != NULL, cases[i].has_b);
        graph_free(g);
        context_free(cx);
    }
}

static void test_mutable_param_keeps_original(void **state)
{
    (void)state;
    Context *cx = context_new();
    Graph *g = parse(cx, "graph g {\n input %a : f32[512, 128]\n param %b : f32[512, 128]\n %y = linear(%a, %b)\n return %y\n}\n");
    g->inputs.data[1].is_mutable = true;
    PassOptions o = splitting(NUM_FP32);
    must_run(g, &o, NULL);
    assert_non_null(split_operand(find_op(g, OP_SPLIT_MATMUL), 1).exact);
    graph_free(g);
    context_free(cx);
}

/* ---- with other choices -------------------------------------------------------------------------------------------------------------- */
static const char projections[] =
    "graph g {\n"
    "  input %x : f32[256, 512]\n"
    "  param %wq : f32[512, 512]\n"
    "  param %wk : f32[256, 512]\n"
    "  param %wv : f32[256, 512]\n"
    "  %q = linear(%x, %wq)\n"
    "  %k = linear(%x, %wk)\n"
    "  %v = linear(%x, %wv)\n"
    "  return %q, %k, %v\n"
    "}\n";

static void test_after_stacking(void **state)
{
    (void)state;
    Context *cx = context_new();
    Graph *g = parse(cx, projections), *before = graph_specialise(g, NULL, 0);
    PassOptions o = splitting(NUM_FP32);
    PassReport report = {0};
    uint32_t n, fired = 0;
    must_run(g, &o, &report);
    ChoiceInfo *list = choices_list(g, cx->arena, &n);
    assert_int_equal(n, 4);                                         /* stacking; products of 512, 256 (twice) and 1024 columns */
    vec_foreach(RuleFiring, f, &report.firings)
        fired += !strcmp(f->rule, "split_matmul");
    assert_int_equal(fired, 4);
    for (uint32_t bits = 0; bits < 16; bits++) {
        ChoicePick picks[4];
        uint32_t stacked = 0, split = 0;
        for (uint32_t i = 0; i < n; i++) {
            picks[i] = (ChoicePick){list[i].id, bits >> i & 1};
            stacked |= !strcmp(list[i].rule, "stack_projections") && picks[i].alternative;
        }
        for (uint32_t i = 0; i < n; i++) {
            bool of_stack = strstr(list[i].id, "x1024x") != NULL, twice = strstr(list[i].id, "256x256x") != NULL;
            if (!strcmp(list[i].rule, "split_matmul") && picks[i].alternative && of_stack == stacked)
                split += twice ? 2 : 1;
        }
        Graph *picked = choices_resolve(g, picks, n);
        assert_int_equal(count_op(picked, OP_SPLIT_MATMUL), split);
        assert_int_equal(count_op(picked, OP_MATMUL), (stacked ? 1 : 3) - split);
        same_at_points(before, picked, cx->arena);
        graph_free(picked);
    }
    graph_free(before);
    graph_free(g);
    context_free(cx);
}

static void test_ids(void **state)
{
    (void)state;
    Context *cx = context_new();
    Graph *g = parse(cx, "graph g {\n input %a : f32[4, 512, 128]\n input %b : f32[640, 128]\n %y = linear(%a, %b)\n return %y\n}\n");
    PassOptions o = splitting(NUM_FP32);
    must_run(g, &o, NULL);
    Node *c = find_op(g, OP_CHOICE);
    assert_string_equal(node_attr(c, ATTR_ID)->s, "split_matmul@4x512x640x128");
    assert_string_equal(split_choice_id(cx, c->in[1]), node_attr(c, ATTR_ID)->s);
    graph_free(g);
    context_free(cx);
}

/* ---- what pieces hold ------------------------------------------------------------------------------------------------------------------ */
enum { ROWS = 64, COLUMNS = 400, DEPTH = 1031, PADDED = 1088 };       /* k is padded to whole cache lines */

static double normal(uint64_t i, const char *name)
{
    float v;
    philox_fill(DT_F32, &v, (int64_t)i, 1, philox_key(5, name), (Dist){DIST_NORMAL, 0, 1});
    return (double)v;
}

/* Element k of line i: a distribution of the gate by line. */
static double element(int64_t i, int64_t k)
{
    double z = normal((uint64_t)(i * DEPTH + k), "z");
    switch (i % 20) {
    case 0:  return z;
    case 1:  return fabs(z) / 4;
    case 2:  return z + 5;
    case 3:  return z * 1e3;
    case 4:  return z * 1e-3;
    case 5:  return fabs(z) > 3.3 ? z * 50 : z;
    case 6:  return k % 2 ? -normal((uint64_t)(i * DEPTH + k - 1), "z") : z;
    case 7:  return trunc(z * 2) / 2;
    case 8:  return k == 77 ? z : 0;
    case 9:  return k == 5 || k == DEPTH - 1 ? z : 0;
    case 10: return k % 260 == 3 ? z : 0;
    case 11: return 0;
    case 12: return z * 1e-41;                         /* subnormal */
    case 13: return z * 0x1p124;                       /* s = 2^-111 */
    case 14: return k % 2 ? 0x1p17 : 0x1p-17;          /* 2^34 apart: bad */
    case 15: return k == 9 ? INFINITY : z;             /* bad */
    case 16: return k == 0 ? NAN : z;                  /* bad */
    case 17: return k % 2 ? 0x1p14 : -0x1.8p-15;       /* just near enough: 2^28.4 apart */
    case 18: return k % 2 ? 0x1.000002p0 : 0x1.fffffep-1;
    default: return -0.0;
    }
}

static bool is_bad(int64_t i)
{
    double most = 0, least = INFINITY;
    for (int64_t k = 0; k < DEPTH; k++) {
        double v = fabs((double)(float)element(i, k));
        if (!isfinite(v))
            return true;
        most = v > most ? v : most;
        least = v != 0 && v < least ? v : least;
    }
    return least < most * 0x1p-29;
}

typedef struct { const Value *hi, *lo, *inv; int64_t depth; } Held;

static double held(const Held *h, int64_t line, int64_t k)
{
    int64_t at = line * h->depth + k;
    return (h->hi[at].v + h->lo[at].v / 2048) * fabs(h->inv[line].v);
}

/* hi, lo and inv of a (rows) and b (columns, trans_b) for element(): 23 bits of every number, or the line is marked. */
static void test_pieces(void **state)
{
    (void)state;
    Context *cx = context_new();
    Graph *g = passed(cx, "graph g {\n input %a : f32[64, 1031]\n input %b : f32[400, 1031]\n %y = linear(%a, %b)\n return %y\n}\n", NUM_FP32, true);
    Node *n = find_op(g, OP_SPLIT_MATMUL);
    g->outputs.n = 0;
    for (uint32_t side = 0; side < 2; side++) {
        SplitOperand x = split_operand(n, side);
        graph_output(g, side ? "bh" : "ah", x.hi);
        graph_output(g, side ? "bl" : "al", x.lo);
        graph_output(g, side ? "bi" : "ai", x.inv);
    }
    Tensor *in[2];
    for (uint32_t side = 0; side < 2; side++) {
        int64_t dims[] = {side ? COLUMNS : ROWS, DEPTH};
        in[side] = tensor_new(cx->arena, DT_F32, 2, dims);
        for (int64_t i = 0; i < dims[0] * DEPTH; i++)
            dtype_store(DT_F32, (float *)in[side]->data + i, element(i / DEPTH + 3 * side, i % DEPTH));
    }
    Evaluator *e = eval_new(g, &domain_baseline, in, cx->arena);
    Held h[2];
    for (uint32_t side = 0; side < 2; side++)
        h[side] = (Held){eval_all(e, 3 * side), eval_all(e, 3 * side + 1), eval_all(e, 3 * side + 2), PADDED};
    for (uint32_t side = 0; side < 2; side++)
        for (int64_t i = 0; i < (side ? COLUMNS : ROWS); i++) {
            const float *x = (const float *)in[side]->data + i * DEPTH;
            double most = 0;
            assert_int_equal(signbit(h[side].inv[i].v), is_bad(i + 3 * side));
            if (is_bad(i + 3 * side))
                continue;
            for (int64_t k = 0; k < DEPTH; k++)
                most = fmax(most, fabs((double)x[k]));
            for (int64_t k = 0; k < DEPTH; k++)
                if (!(fabs(held(&h[side], i, k) - (double)x[k]) <= 0x1p-23 * fabs((double)x[k]) + 0x1p-50 * most))
                    fail_msg("side %u, line %lld, %lld: %a becomes %a", side, (long long)i, (long long)k, (double)x[k], held(&h[side], i, k));
            assert_true(held(&h[side], i, DEPTH) == 0);
        }
    for (int64_t i = 0; i < ROWS; i++)                               /* without lo lo: 2^-22 of the sum of |a b| */
        for (int64_t j = 0; j < COLUMNS; j++) {
            double sum = 0, exact = 0, size = 0;
            if (h[0].inv[i].v < 0 || h[1].inv[j].v < 0)
                continue;
            for (int64_t k = 0; k < DEPTH; k++) {
                double ah = h[0].hi[i * PADDED + k].v, al = h[0].lo[i * PADDED + k].v;
                double bh = h[1].hi[j * PADDED + k].v, bl = h[1].lo[j * PADDED + k].v;
                double a = (double)((const float *)in[0]->data)[i * DEPTH + k], b = (double)((const float *)in[1]->data)[j * DEPTH + k];
                sum += ah * bh + (al * bh + ah * bl) / 2048;
                exact += a * b;
                size += fabs(a * b);
            }
            sum *= h[0].inv[i].v * h[1].inv[j].v;
            if (!(fabs(sum - exact) <= 0x1p-21 * size + 1e-300))
                fail_msg("%lld, %lld: %a, not %a", (long long)i, (long long)j, sum, exact);
        }
    graph_free(g);
    context_free(cx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which), cmocka_unit_test(test_only_where_asked), cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_symbolic_depth), cmocka_unit_test(test_shared_once), cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_computed_operands_keep_originals), cmocka_unit_test(test_mutable_param_keeps_original), cmocka_unit_test(test_after_stacking), cmocka_unit_test(test_ids),
        cmocka_unit_test(test_pieces),
    };
    return cmocka_run_group_tests_name("split_matmul", tests, NULL, NULL);
}
