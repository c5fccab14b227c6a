/* tests/base/test_yaml.c — trees with places, blocks that point back into their file, refusals, and that no mutilation of a
 * document crashes. */
#include "base/yaml.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef struct { Arena *a; Diags *d; } Fixture;

static int setup(void **state)
{
    Arena *a = arena_new();
    Fixture *f = arena_new_of(a, Fixture);
    *f = (Fixture){a, diags_new(a)};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    arena_free(((Fixture *)*state)->a);
    return 0;
}

static YamlNode *parse(Fixture *f, const char *text)
{
    diags_clear(f->d);
    return yaml_parse(f->a, f->d, source_from_text(f->a, "t.yaml", text));
}

static void at(Loc loc, uint32_t line, uint32_t col)
{
    uint32_t l, c;
    loc_line_col(loc, &l, &c);
    assert_int_equal(l, line);
    assert_int_equal(c, col);
}

static const char task[] =
    "# grüße\n"
    "name: été\n"
    "dims: {S: 128, \"B\": [1, 2]}\n"
    "nothing: ~\n"
    "graph: |\n"
    "\n"
    "    %h = rms_norm(%x)\n"
    "      %q = matmul(%h)\n"
    "\n"
    "    return %q\n"
    "folded: >\n"
    "  a\n"
    "  b\n"
    "ü: {x: 1.5e-3, y: -.inf, z: .nan}\n";

static void tree_has_places(void **state)
{
    Fixture *f = *state;
    YamlNode *root = parse(f, task);
    assert_non_null(root);
    assert_int_equal(root->n, 6);
    assert_string_equal(yaml_get(root, "name")->text, "été");
    at(yaml_get(root, "name")->loc, 2, 7);
    assert_int_equal(yaml_get(root, "name")->loc.len, 5);
    YamlNode *dims = yaml_get(root, "dims"), *b = yaml_get(dims, "B");
    at(b->loc, 3, 21);
    at(dims->keys[1]->loc, 3, 16);
    assert_true(dims->keys[1]->quoted && !dims->keys[0]->quoted);
    assert_int_equal(b->n, 2);
    at(b->items[1]->loc, 3, 25);
    assert_string_equal(yaml_get(root, "nothing")->text, "");
    assert_string_equal(yaml_get(root, "folded")->text, "a b\n");
    assert_null(yaml_get(root, "folded")->block);
    YamlNode *last = yaml_get(root, "ü");
    at(yaml_get(last, "x")->loc, 14, 8);
    assert_null(yaml_get(root, "missing"));
    assert_null(yaml_get(b, "name"));
    int64_t i;
    double v;
    const char *s;
    assert_true(yaml_i64(f->d, yaml_get(dims, "S"), &i, "S") && i == 128);
    assert_true(yaml_double(f->d, yaml_get(last, "x"), &v, "x") && v == 1.5e-3);
    assert_true(yaml_double(f->d, yaml_get(last, "y"), &v, "y") && v == -INFINITY);
    assert_true(yaml_double(f->d, yaml_get(last, "z"), &v, "z") && isnan(v));
    assert_true(yaml_string(f->d, yaml_get(root, "name"), &s, "name"));
    assert_int_equal(diags_count(f->d), 0);
}

static void blocks_point_into_the_file(void **state)
{
    Fixture *f = *state;
    const Source *s = yaml_get(parse(f, task), "graph")->block;
    assert_string_equal(s->text, "\n%h = rms_norm(%x)\n  %q = matmul(%h)\n\nreturn %q\n");
    const char *q = strstr(s->text, "matmul");
    at(loc_at(s, (size_t)(q - s->text), 6), 8, 12);
    at(loc_at(s, (size_t)(strstr(s->text, "return") - s->text), 6), 10, 5);
    diag_error(f->d, PAWL_EXIT_INVALID, loc_at(s, (size_t)(q - s->text), 6), "it is called contract", "unknown op '%s'", "matmul");
    assert_string_equal(diag_format(f->a, diags_at(f->d, 0)),
                        "t.yaml:8:12: error: unknown op 'matmul'\n"
                        "      %q = matmul(%h)\n"
                        "           ^~~~~~\n"
                        "    hint: it is called contract\n");
    /* The indentation may be stated; first line deeper than the rest, and CRLF. */
    YamlNode *b = yaml_get(yaml_get(parse(f, "a:\r\n  b: |2-\r\n      deep\r\n    flat\r\n"), "a"), "b");
    assert_string_equal(b->text, "  deep\nflat");
    at(loc_at(b->block, 2, 4), 3, 7);
    at(loc_at(b->block, 7, 4), 4, 5);
    YamlNode *empty = yaml_get(parse(f, "a: |\nb: 1\n"), "a");
    assert_string_equal(empty->text, "");
    at(loc_at(empty->block, 0, 1), 2, 1);
}

static void bad_documents_are_refused(void **state)
{
    Fixture *f = *state;
    static const struct { const char *text, *want; uint32_t line, col; } rows[] = {
        {"", "empty", 1, 1}, {"a: &x 1\nb: *x\n", "anchors", 1, 4}, {"a: *x\n", "anchors", 1, 4},
        {"a: !!int 1\n", "tags", 1, 4}, {"a: !t [1]\n", "tags", 1, 4}, {"a: 1\n---\nb: 2\n", "several", 2, 1},
        {"a: 1\nb: 2\na: 3\n", "duplicate key 'a'", 3, 1}, {"[1, 2]: 3\n", "a key must be", 1, 1},
        {"a: [1, 2\n", "did not find expected", 2, 1}, {"a: \"x\\0y\"\n", "NUL", 1, 4}, {"a: b: c\n", "mapping values", 1, 5},
        {"a: \xff\xfe\n", "UTF-8", 1, 4}, {"é: \x01\n", "control", 1, 4}, {"\ta: 1\n", "cannot start", 1, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (parse(f, rows[i].text))
            fail_msg("accepted: %s", rows[i].text);
        assert_int_equal(diags_exit_code(f->d), PAWL_EXIT_INVALID);
        const Diag *d = diags_at(f->d, 0);
        if (!strstr(d->text, rows[i].want))
            fail_msg("%s: %s", rows[i].text, d->text);
        at(d->loc, rows[i].line, rows[i].col);
    }
}

static void keys_and_scalars_are_checked(void **state)
{
    Fixture *f = *state;
    static const char *const known[] = {"inputs", "graph"};
    YamlNode *root = parse(f, "inptus: 1\ngraph: \"5\"\nwholly_other: [x]\n");
    assert_false(yaml_check_keys(f->d, root, known, 2, "a task"));
    assert_int_equal(diags_count(f->d), 2);
    assert_string_equal(diags_at(f->d, 0)->hint, "did you mean 'inputs'?");
    assert_string_equal(diags_at(f->d, 1)->hint, "known keys: inputs, graph");
    int64_t i;
    double v;
    const char *s;
    assert_false(yaml_i64(f->d, yaml_get(root, "graph"), &i, "graph"));
    assert_false(yaml_double(f->d, yaml_get(root, "graph"), &v, "graph"));
    assert_false(yaml_string(f->d, yaml_get(root, "wholly_other"), &s, "it"));
    assert_false(yaml_i64(f->d, NULL, &i, "it"));
    assert_false(yaml_check_keys(f->d, yaml_get(root, "graph"), known, 2, "a graph"));
    assert_string_equal(diags_at(f->d, diags_count(f->d) - 1)->text, "a graph must be a mapping");
}

static void deep_nesting_ends_well(void **state)
{
    Fixture *f = *state;
    char *deep = arena_alloc(f->a, 100001);
    memset(deep, '[', 100000);
    assert_null(parse(f, deep));
    assert_true(diags_failed(f->d));
}

static void mutilated_documents_do_not_crash(void **state)
{
    Fixture *f = *state;
    size_t len = strlen(task);
    srand(5);
    for (int round = 0; round < 4000; round++) {
        ArenaMark m = arena_mark(f->a);
        Diags *d = diags_new(f->a);
        char *text = arena_strndup(f->a, task, round < (int)len ? (size_t)round : len);
        for (int k = round < (int)len ? 0 : rand() % 6 + 1; k > 0; k--)
            text[(size_t)rand() % len] = (char)(rand() % 3 ? "|>&*!{}[]:-#\n\t \"'%"[rand() % 18] : rand() % 256);
        Source s = {"t.yaml", text, round < (int)len ? (size_t)round : len, 1, 1, 0};
        YamlNode *root = yaml_parse(f->a, d, &s);
        assert_true(root || diags_failed(d));
        for (uint32_t i = 0; i < diags_count(d); i++)
            diag_format(f->a, diags_at(d, i));
        for (uint32_t i = 0; root && i < root->n; i++)
            if (root->items[i]->block)
                diag_format(f->a, &(Diag){DIAG_NOTE, PAWL_EXIT_OK, loc_at(root->items[i]->block, 3, 2), "x", NULL});
        arena_reset(f->a, m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tree_has_places, setup, teardown),
        cmocka_unit_test_setup_teardown(blocks_point_into_the_file, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_documents_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_and_scalars_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(deep_nesting_ends_well, setup, teardown),
        cmocka_unit_test_setup_teardown(mutilated_documents_do_not_crash, setup, teardown),
    };
    return cmocka_run_group_tests_name("yaml", tests, NULL, NULL);
}
