/* tests/passes/test_passes.c — the pipeline: goldens, choices, options, meaning of whole tasks before and after.
 * tests/passes/golden/NAME.graph becomes NAME.expected; PAWL_UPDATE_GOLDENS=1 writes those; a person reads the diff. */
#include "passes_fixture.h"
#include <dirent.h>
#include <unistd.h>

/* ---- goldens ------------------------------------------------------------------------------------------------------------------ */
static char *optimised(Context *cx, const char *path)
{
    const Source *s = source_from_file(cx->arena, cx->diags, path);
    Graph *g = s ? graph_parse(cx, s) : NULL;
    PassOptions opt = default_options();

    if (!g)
        diags_print(cx->diags, stderr, false);
    assert_non_null(g);
    Graph *before = graph_specialise(g, NULL, 0);
    must_run(g, &opt, NULL);
    char *text = graph_text(cx->arena, g);
    Graph *again = graph_parse(cx, source_from_text(cx->arena, "printed", text));
    assert_non_null(again);
    assert_string_equal(text, graph_text(cx->arena, again));
    must_run(again, &opt, NULL);                               /* a fixpoint: nothing is left to do */
    assert_string_equal(text, graph_text(cx->arena, again));
    graph_free(again);
    graph_free(before);
    graph_free(g);
    return text;
}

static void check_golden(const char *name)
{
    Context *cx = context_new();
    char *got = optimised(cx, arena_printf(cx->arena, "tests/passes/golden/%s.graph", name));
    char *path = arena_printf(cx->arena, "tests/passes/golden/%s.expected", name);
    size_t len;

    if (getenv("PAWL_UPDATE_GOLDENS")) {
        assert_true(file_write(cx->diags, path, got, strlen(got)));
    } else {
        char *want = file_read(cx->arena, cx->diags, path, &len);
        assert_non_null(want);
        assert_string_equal(got, want);
    }
    context_free(cx);
}

static void goldens(void **state)
{
    DIR *d = opendir("tests/passes/golden");
    uint32_t n = 0;

    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)); ) {
        char name[256];
        size_t len = strlen(e->d_name);
        if (len < 7 || len > 255 || strcmp(e->d_name + len - 6, ".graph") != 0)
            continue;
        memcpy(name, e->d_name, len - 6);
        name[len - 6] = 0;
        check_golden(name);
        n++;
    }
    closedir(d);
    assert_true(n > 0);
}

/* ---- tasks keep their meaning ------------------------------------------------------------------------------------------------------ */
static const char small_task[] =
    "graph small {\n"
    "  input %x : f32[2, 3, 8]\n"
    "  input %r : f32[2, 3, 8]\n"
    "  param %g : f32[8]\n"
    "  param %wq : f32[6, 8]\n"
    "  param %wk : f32[4, 8]\n"
    "  param %wv : f32[4, 8]\n"
    "  param %wo : f32[8, 6]\n"
    "  %s = add(%x, %r)\n"
    "  %h = rms_norm(%s, %g, eps=1e-6)\n"
    "  %q = linear(%h, %wq)\n"
    "  %k = linear(%h, %wk)\n"
    "  %v = linear(%h, %wv)\n"
    "  %o = add(linear(silu(%q), %wo), %s)\n"
    "  %p = softmax(mul(%k, %v), axis=-1)\n"
    "  return %o, %p\n"
    "}\n";

static void meaning_is_kept_under_every_pick(void **state)
{
    Context *cx = context_new();
    Graph *g = parse(cx, small_task), *before = graph_specialise(g, NULL, 0);
    PassOptions opt = default_options();
    PassReport report = {0};
    uint32_t n;

    must_run(g, &opt, &report);
    ChoiceInfo *choices = choices_list(g, cx->arena, &n);
    assert_int_equal(n, 1);
    assert_string_equal(choices[0].id, "stack_projections@q");
    assert_string_equal(choices[0].rule, "stack_projections");
    assert_int_equal(choices[0].n_alternatives, 2);
    for (uint32_t k = 0; k < 2; k++) {
        ChoicePick pick = {choices[0].id, k};
        Graph *picked = choices_resolve(g, &pick, 1);
        uint32_t matmuls = 0;
        for (uint32_t i = 0; i < picked->nodes.n; i++) {
            assert_int_not_equal(picked->nodes.data[i]->op, OP_CHOICE);
            matmuls += picked->nodes.data[i]->op == OP_MATMUL;
        }
        assert_int_equal(matmuls, k == 0 ? 4 : 2);
        assert_same_meaning(before, picked, cx->arena);
        graph_free(picked);
    }
    graph_free(before);
    graph_free(g);
    context_free(cx);
}

static void tasks_leave_choices(void **state)
{
    Context *cx = context_new();
    Task *t = task_load(cx, "tasks/qwen3/sdpa_prelude.yaml");
    PassOptions opt = default_options();
    PassReport report = {0};
    uint32_t n, stacked = 0;

    assert_non_null(t);
    opt.numerics = t->numerics;
    must_run(t->graph, &opt, &report);
    choices_list(t->graph, cx->arena, &n);
    assert_int_equal(n, 1);
    vec_foreach(RuleFiring, f, &report.firings)
        stacked += f->choice != NULL;
    assert_int_equal(stacked, 3);
    graph_free(t->graph);
    context_free(cx);
}

static void specialised_tasks_keep_their_meaning(void **state)
{
    static const char *const tasks[] = {"tasks/qwen3/rmsnorm_residual.yaml", "tasks/qwen3/swiglu.yaml"};

    for (uint32_t i = 0; i < 2; i++) {
        Context *cx = context_new();
        Task *t = task_load(cx, tasks[i]);
        assert_non_null(t);
        DimValue v[] = {{str_intern(cx->strs, "B"), 1}, {str_intern(cx->strs, "S"), 2}};
        Graph *g = graph_specialise(t->graph, v, 2), *before = graph_specialise(t->graph, v, 2);
        PassOptions opt = default_options();
        opt.numerics = t->numerics;
        must_run(g, &opt, NULL);
        assert_same_meaning(before, g, cx->arena);
        graph_free(before);
        graph_free(g);
        graph_free(t->graph);
        context_free(cx);
    }
}

/* ---- several roots -------------------------------------------------------------------------------------------------------------------- */
static const char two_roots[] =
    "rule: exp_and_neg\n"
    "about: A rule with two roots that share an operand.\n"
    "match: |\n"
    "  %a = exp(%x)\n"
    "  %b = neg(%x)\n"
    "rewrite: |\n"
    "  %b = mul(%x, -1)\n"
    "  %a = exp(neg(%b))\n"
    "where: [is_float(%x)]\n"
    "exactness: exact\n"
    "profit: measured\n";

static char *rules_folder(Context *cx, const char *text)
{
    const char *tmp = getenv("TEST_TMP");
    char *dir = arena_printf(cx->arena, "%s/pawl-rules-%d", tmp ? tmp : "/tmp", (int)getpid());
    char *path = arena_printf(cx->arena, "%s/rule.yaml", dir);

    assert_true(dir_make(cx->diags, dir));
    assert_true(file_write(cx->diags, path, text, strlen(text)));
    return dir;
}

static void several_roots_switch_together(void **state)
{
    Context *cx = context_new();
    Graph *g = parse(cx, "graph g {\n  input %x : f32[3]\n  %e = exp(%x)\n  %n = neg(%x)\n  return %e, %n\n}\n");
    PassOptions opt = default_options();
    uint32_t n, nodes = 0;

    opt.rules_dir = rules_folder(cx, two_roots);
    must_run(g, &opt, NULL);
    ChoiceInfo *choices = choices_list(g, cx->arena, &n);
    assert_int_equal(n, 1);
    assert_string_equal(choices[0].id, "exp_and_neg@e");
    for (uint32_t i = 0; i < g->nodes.n; i++)
        nodes += g->nodes.data[i]->op == OP_CHOICE;
    assert_int_equal(nodes, 2);
    graph_free(g);
    context_free(cx);
}

/* ---- classes: precision(CLASS) ------------------------------------------------------------------------------------------------------- */
static const char rough[] =
    "rule: rough_tanh\n"
    "about: A rule that only a wide class allows.\n"
    "match: \"%y = tanh(%x)\"\n"
    "rewrite: \"%y = neg(neg(%x))\"\n"
    "where: [is_float(%x)]\n"
    "exactness: precision(bf16)\n";

static void the_class_decides(void **state)
{
    static const struct { NumClass c; bool fires; } cases[] = {
        {NUM_IEEE, false}, {NUM_FP32, false}, {NUM_TF32, false}, {NUM_BF16, true}, {NUM_F16, true}, {NUM_APPROX, true},
    };

    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Context *cx = context_new();
        Graph *g = parse(cx, "graph g {\n  input %x : f32[3]\n  %y = tanh(%x)\n  return %y\n}\n");
        PassOptions opt = default_options();
        opt.rules_dir = rules_folder(cx, rough);
        opt.numerics.otherwise = cases[i].c;
        must_run(g, &opt, NULL);
        assert_int_equal(g->outputs.data[0].node->op == OP_TANH, !cases[i].fires);
        graph_free(g);
        context_free(cx);
    }
}

/* ---- limits -------------------------------------------------------------------------------------------------------------------------- */
/* Two rules, each of which lowers a measure of its own and raises the other's: neither is refused, and together they never end. With
 * the same %x they go in a circle; with a new one, they grow. */
static const char circular[] =
    "- rule: there\n"
    "  about: Lighter, but for more elements.\n"
    "  match: |\n"
    "    %%p = pow(%%x, %%x)\n"
    "    %%y = expand(%%p)\n"
    "  rewrite: \"%%y = sqrt(expand(%s, shape=shape(%%y)))\"\n"
    "  where: [is_float(%%x)]\n"
    "  exactness: precision(bf16)\n"
    "- rule: back\n"
    "  about: Heavier, but for fewer elements.\n"
    "  match: |\n"
    "    %%e = expand(%%x)\n"
    "    %%y = sqrt(%%e)\n"
    "  rewrite: \"%%y = expand(pow(%%x, %%x), shape=shape(%%y))\"\n"
    "  where: [is_float(%%x), \"not(same_count(%%x, %%y))\"]\n"
    "  exactness: precision(bf16)\n"
    "  measure: elements\n";

static void endless_rules_stop_with_a_warning(void **state)
{
    static const struct { const char *x, *warning; } cases[] = {
        {"%x", "stopped after 8 rounds"}, {"neg(neg(%x))", "firings, 16 a node: rule there"},
    };

    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Context *cx = context_new();
        Graph *g = parse(cx, "graph g {\n  input %x : f32[3, 1]\n  %p = pow(%x, %x)\n  %y = expand(%p, shape=[3, 5])\n  return %y\n}\n");
        PassOptions opt = default_options();
        PassReport report = {0};

        opt.rules_dir = rules_folder(cx, arena_printf(cx->arena, circular, cases[i].x));
        opt.numerics.otherwise = NUM_BF16;
        must_run(g, &opt, &report);
        assert_int_equal(report.warnings.n, 1);
        if (!strstr(report.warnings.data[0], cases[i].warning))
            fail_msg("%s", report.warnings.data[0]);
        assert_true(g->nodes.n < 1000);
        graph_free(g);
        context_free(cx);
    }
}

/* ---- constant tensors -------------------------------------------------------------------------------------------------------------------- */
static void small_tensors_fold(void **state)
{
    Context *cx = context_new();
    Graph *g = graph_new(cx, str_intern(cx->strs, "g"));
    Tensor *t = tensor_new(cx->arena, DT_F32, 1, (int64_t[]){3});
    PassOptions opt = default_options();

    for (int i = 0; i < 3; i++)
        ((float *)t->data)[i] = (float)i + 1;
    Node *x = graph_input(g, OP_INPUT, "x", (Type){DT_F32, {1, {dim_const(cx->dims, 3)}}}, LOC_NONE);
    Node *c = graph_binary(g, OP_MUL, graph_tensor(g, "c", t), graph_const(g, DT_F32, 2));
    c = graph_slice(g, c, 0, dim_const(cx->dims, 1), dim_const(cx->dims, 2), 1);
    graph_output(g, "y", graph_binary(g, OP_ADD, graph_slice(g, x, 0, dim_const(cx->dims, 0), dim_const(cx->dims, 2), 1), c));
    must_run(g, &opt, NULL);
    const Node *folded = g->outputs.data[0].node->in[1];
    assert_int_equal(folded->op, OP_TENSOR);
    assert_true(((float *)folded->data->data)[0] == 4 && ((float *)folded->data->data)[1] == 6);
    graph_free(g);
    context_free(cx);
}

/* ---- options ---------------------------------------------------------------------------------------------------------------------------- */
static const char one_rule[] = "graph g {\n  input %x : f32[3]\n  %y = mul(neg(neg(%x)), 1)\n  return %y\n}\n";

static void passes_and_rules_switch_off(void **state)
{
    static const char *const no_rules[] = {"rules"}, *const no_mul[] = {"mul_one"}, *const unknown[] = {"ruels"};
    Context *cx = context_new();
    PassOptions opt = default_options();

    Graph *g = parse(cx, one_rule);
    must_run(g, &opt, NULL);
    assert_int_equal(g->nodes.n, 1);
    graph_free(g);
    g = parse(cx, one_rule);
    opt.disabled = no_rules;
    opt.n_disabled = 1;
    must_run(g, &opt, NULL);
    assert_int_equal(g->nodes.n, 6);
    graph_free(g);
    g = parse(cx, one_rule);
    opt.n_disabled = 0;
    opt.disabled_rules = no_mul;
    opt.n_disabled_rules = 1;
    must_run(g, &opt, NULL);
    assert_int_equal(g->nodes.n, 4);
    opt.n_disabled_rules = 0;
    opt.disabled = unknown;
    opt.n_disabled = 1;
    assert_false(pipeline_run(g, &opt, NULL));
    assert_int_equal(diags_exit_code(cx->diags), PAWL_EXIT_INVALID);
    graph_free(g);
    context_free(cx);
}

static void dumps_after_a_pass(void **state)
{
    Context *cx = context_new();
    PassOptions opt = default_options();
    char *text = NULL;
    size_t len = 0;

    opt.dump_after = "rules";
    opt.dump = open_memstream(&text, &len);
    Graph *g = parse(cx, one_rule);
    must_run(g, &opt, NULL);
    graph_free(g);
    fclose(opt.dump);
    assert_non_null(strstr(text, "# after rules\ngraph g {"));
    assert_null(strstr(text, "# after fold"));
    free(text);
    context_free(cx);
}

static void reports_say_what_fired(void **state)
{
    Context *cx = context_new();
    PassOptions opt = default_options();
    PassReport r = {0};
    uint32_t fired = 0;

    Graph *g = parse(cx, one_rule);
    must_run(g, &opt, &r);
    graph_free(g);
    vec_foreach(RuleStat, s, &r.rules)
        fired += (uint32_t)s->fired;
    assert_int_equal(fired, 2);
    assert_int_equal(r.firings.n, 2);
    assert_true(r.passes.n >= 6);
    context_free(cx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goldens),
        cmocka_unit_test(meaning_is_kept_under_every_pick),
        cmocka_unit_test(tasks_leave_choices),
        cmocka_unit_test(specialised_tasks_keep_their_meaning),
        cmocka_unit_test(several_roots_switch_together),
        cmocka_unit_test(the_class_decides),
        cmocka_unit_test(endless_rules_stop_with_a_warning),
        cmocka_unit_test(small_tensors_fold),
        cmocka_unit_test(passes_and_rules_switch_off),
        cmocka_unit_test(dumps_after_a_pass),
        cmocka_unit_test(reports_say_what_fired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
