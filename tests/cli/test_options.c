/* tests/cli/test_options.c — the option parser by itself: every kind of option, every way to write it, every mistake. */
#include "cli/cli.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define FIELD(f) offsetof(Options, f)

static const Option rows[] = {
    {'q', "quiet", OPT_FLAG, FIELD(quiet), NULL, "flag"},
    {'v', "verbose", OPT_FLAG, FIELD(verbose), NULL, "flag"},
    {'d', "device", OPT_TEXT, FIELD(device), "DEVICE", "text"},
    {'n', "repeat", OPT_INT, FIELD(repeat), "N", "integer", COMPLETE_NONE, -5, 100},
    {'b', "budget", OPT_REAL, FIELD(budget), "S", "number", COMPLETE_NONE, 0.5, 10},
    {0, "format", OPT_ENUM, FIELD(format), "text|json|csv", "enum"},
    {'w', "workload", OPT_LIST, FIELD(workloads), "W", "list"},
    {0, "emit", OPT_WORDS, FIELD(emit), "cuda|ptx|cubin", "words"},
};
static const OptionGroup group = OPTION_GROUP("Test", rows);
static const OptionGroup *const groups[] = {&group, NULL};

typedef struct { Context *cx; Parsed parsed; } Fixture;

static int setup(void **state)
{
    Fixture *f = calloc(1, sizeof *f);
    f->cx = context_new();
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    context_free(f->cx);
    free(f);
    return 0;
}

#define PARSE(f, ...) parse(f, (const char *[]){"pawl", "test", __VA_ARGS__, NULL})
static bool parse(Fixture *f, const char *const *argv)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    diags_clear(f->cx->diags);
    f->parsed = (Parsed){0};
    CommandLine line = command_line(f->cx->arena, argc, argv);
    return options_parse(f->cx, &line, 2, groups, "test", &f->parsed);
}

static void refuses(Fixture *f, const char *word, const char *message, const char *hint)
{
    assert_false(PARSE(f, word));
    assert_true(diags_count(f->cx->diags) >= 1);
    const Diag *d = diags_at(f->cx->diags, 0);
    if (!strstr(d->text, message))
        fail_msg("\"%s\" does not say \"%s\"", d->text, message);
    if (hint && (!d->hint || !strstr(d->hint, hint)))
        fail_msg("the hint \"%s\" does not say \"%s\"", d->hint ? d->hint : "(none)", hint);
    assert_int_equal(d->code, PAWL_EXIT_INVALID);
    assert_non_null(d->loc.source);
}

static void test_ways_to_write(void **state)
{
    Fixture *f = *state;
    assert_true(PARSE(f, "-qv", "--device", "cpu", "a", "-n", "7", "--budget=2.5", "--", "--quiet", "-"));
    const Options *o = &f->parsed.o;
    assert_true(o->quiet && o->verbose);
    assert_string_equal(o->device, "cpu");
    assert_int_equal(o->repeat, 7);
    assert_float_equal(o->budget, 2.5, 0);
    assert_int_equal(f->parsed.args.n, 3);
    assert_string_equal(f->parsed.args.data[0].text, "a");
    assert_string_equal(f->parsed.args.data[1].text, "--quiet");
    assert_string_equal(f->parsed.args.data[2].text, "-");
    assert_true(PARSE(f, "-dcuda:1", "-qn-3"));
    assert_string_equal(f->parsed.o.device, "cuda:1");
    assert_int_equal(f->parsed.o.repeat, -3);
    assert_true(PARSE(f, "-n", "-3", "--device=-x"));
    assert_int_equal(f->parsed.o.repeat, -3);
    assert_string_equal(f->parsed.o.device, "-x");
}

static void test_repeated(void **state)
{
    Fixture *f = *state;
    assert_true(PARSE(f, "-w", "a", "--workload=b", "-wc", "--emit", "cuda,ptx", "--emit=cubin"));
    assert_int_equal(f->parsed.o.workloads.n, 3);
    assert_string_equal(f->parsed.o.workloads.data[2], "c");
    assert_int_equal(f->parsed.o.emit.n, 3);
    assert_string_equal(f->parsed.o.emit.data[1], "ptx");
    assert_true(PARSE(f, "--device", "a", "--device", "b", "--format", "csv"));
    assert_string_equal(f->parsed.o.device, "b");
    assert_int_equal(f->parsed.o.format, FORMAT_CSV);
}

static void test_mistakes(void **state)
{
    Fixture *f = *state;
    refuses(f, "--devise=cpu", "`pawl test` has no option --devise", "did you mean --device?");
    refuses(f, "--utterly", "has no option --utterly", "`pawl help test`");
    refuses(f, "-z", "has no option -z", NULL);
    refuses(f, "-qz", "has no option -z", NULL);
    refuses(f, "--quiet=1", "--quiet takes no value", NULL);
    refuses(f, "--device", "--device needs a value: DEVICE", NULL);
    refuses(f, "-d", "-d needs a value", NULL);
    refuses(f, "--repeat=x", "--repeat takes an integer from -5 to 100, not \"x\"", NULL);
    refuses(f, "--repeat=101", "from -5 to 100", NULL);
    refuses(f, "--repeat=99999999999999999999", "from -5 to 100", NULL);
    refuses(f, "--repeat=", "from -5 to 100", NULL);
    refuses(f, "--budget=nan", "a number from 0.5 to 10", NULL);
    refuses(f, "--format=jason", "--format takes text, json, csv", "did you mean json?");
    refuses(f, "--emit=cuda,ptc", "--emit takes cuda, ptx, cubin, not \"ptc\"", "did you mean ptx?");
    refuses(f, "--emit=", "--emit takes", NULL);
    assert_false(PARSE(f, "--device", "--quiet"));
    assert_non_null(strstr(diags_at(f->cx->diags, 0)->hint, "--device=--quiet"));
}

static void test_all_mistakes_at_once(void **state)
{
    Fixture *f = *state;
    assert_false(PARSE(f, "--devise", "x", "--format=jason", "-n", "7"));
    assert_int_equal(diags_count(f->cx->diags), 2);
    assert_int_equal(f->parsed.o.repeat, 7);
}

static void test_places(void **state)
{
    Fixture *f = *state;
    assert_false(PARSE(f, "a", "--format=jason"));
    uint32_t line, col;
    loc_line_col(diags_at(f->cx->diags, 0)->loc, &line, &col);
    assert_int_equal(line, 1);
    assert_int_equal(col, 1 + strlen("pawl test a --format="));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ways_to_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_repeated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mistakes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_mistakes_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_places, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
