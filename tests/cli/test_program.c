/* tests/cli/test_program.c — the whole program inside one process: exit codes, where text goes, and what an assertion leaves. */
#include "base/file.h"
#include "cli/cli.h"
#include "cli/table.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* The text of a stream so far. */
static char *contents(FILE *f)
{
    long n = ftell(f);
    char *text = calloc(1, (size_t)n + 1);
    rewind(f);
    assert_int_equal(fread(text, 1, (size_t)n, f), (size_t)n);
    return text;
}

static int run(const char *const *argv, char **out, char **err)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    FILE *o = tmpfile(), *e = tmpfile();
    int code = cli_main(argc, argv, o, e);
    *out = contents(o);
    *err = contents(e);
    fclose(o);
    fclose(e);
    return code;
}

static void test_version(void **state)
{
    char *out, *err;
    assert_int_equal(run((const char *[]){"/somewhere/pawl", "version", NULL}, &out, &err), 0);
    assert_int_equal(strncmp(out, "pawl ", 5), 0);
    assert_string_equal(err, "");
    free(out);
    free(err);
}

static void test_unknown_command(void **state)
{
    char *out, *err;
    assert_int_equal(run((const char *[]){"pawl", "complie", NULL}, &out, &err), PAWL_EXIT_INVALID);
    assert_string_equal(out, "");
    assert_string_equal(err, "<command line>:1:6: error: there is no command \"complie\"\n"
                             "    pawl complie\n"
                             "         ^~~~~~~\n"
                             "    hint: did you mean compile?\n");
    free(out);
    free(err);
}

static void test_commands_are_complete(void **state)
{
    for (const Command *const *k = cli_commands; *k; k++) {
        assert_non_null((*k)->run);
        assert_non_null((*k)->groups);
        assert_ptr_equal(cli_command((*k)->name), *k);
        bool general = false;
        for (const OptionGroup *const *g = (*k)->groups; *g; g++) {
            general |= *g == &options_general;
            for (uint32_t i = 0; i < (*g)->n; i++) {
                const Option *o = &(*g)->rows[i];
                assert_true(o->kind == OPT_FLAG || o->value);
                assert_true(o->kind != OPT_INT || o->lo < o->hi);
                for (const OptionGroup *const *h = (*k)->groups; *h; h++)      /* no name or letter twice */
                    for (uint32_t n = 0; n < (*h)->n; n++)
                        if (&(*h)->rows[n] != o) {
                            assert_string_not_equal((*h)->rows[n].name, o->name);
                            assert_true(!o->letter || (*h)->rows[n].letter != o->letter);
                        }
            }
        }
        assert_true(general);
    }
}

/* A failing assertion in a child: exit code 5, and a reproducer that holds the command and the texts that were read. */
static void test_reproducer(void **state)
{
    char folder[] = "pawl-reproducer-XXXXXX", line[4096], path[8192];
    assert_non_null(mkdtemp(folder));
    FILE *err = tmpfile();
    pid_t child = fork();
    if (child == 0) {
        setenv("PAWL_CACHE_DIR", folder, 1);
        dup2(fileno(err), STDERR_FILENO);
        Cli c = {.cx = context_new(), .out = stdout, .err = stderr};
        c.line = command_line(c.cx->arena, 3, (const char *const[]){"/x/pawl", "opt", "it's.graph"});
        const Source *s = source_from_text(c.cx->arena, "it's.graph", "graph g { }\n");
        vec_push(c.cx->arena, &c.inputs, s);
        reproducer_arm(&c);
        pawl_assert(1 + 1 == 3, "arithmetic is %s", "broken");
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), PAWL_EXIT_INTERNAL);
    fseek(err, 0, SEEK_END);
    char *text = contents(err);
    fclose(err);
    assert_non_null(strstr(text, "internal error: "));
    assert_non_null(strstr(text, "arithmetic is broken"));
    char *at = strstr(text, folder);
    assert_non_null(at);
    assert_int_equal(sscanf(at, "%4095[^:]", line), 1);
    FILE *f = fopen(line, "r");
    assert_non_null(f);
    size_t n = fread(path, 1, sizeof path - 1, f);
    path[n] = 0;
    fclose(f);
    assert_non_null(strstr(path, "pawl opt 'it'\\''s.graph'\n"));
    assert_non_null(strstr(path, "graph g { }\n"));
    unlink(line);
    rmdir(folder);
    free(text);
}

static char *printed(const Table *t, Format f)
{
    FILE *to = tmpfile();
    table_print(t, to, f);
    char *text = contents(to);
    fclose(to);
    return text;
}

static void test_table(void **state)
{
    static const Column columns[] = {
        {"name", "name", COL_TEXT}, {"us", "us", COL_REAL, 1}, {"n", "n", COL_INT}, {"ok", "ok", COL_BOOL}, {"raw", NULL, COL_REAL},
    };
    Arena *a = arena_new();
    Table *t = table_new(a, columns, 5);
    table_text(t, "a, \"b\"");
    table_real(t, 1.25);
    table_int(t, 7);
    table_bool(t, true);
    table_real(t, 0.1);
    table_text(t, NULL);
    table_real(t, NAN);
    table_int(t, -12);
    table_bool(t, false);
    table_real(t, INFINITY);
    assert_int_equal(table_rows(t), 2);
    char *text = printed(t, FORMAT_TEXT), *csv = printed(t, FORMAT_CSV), *json = printed(t, FORMAT_JSON);
    assert_string_equal(text, "name     us    n  ok\n"
                              "a, \"b\"  1.2    7  yes\n"
                              "-         -  -12  no\n");
    assert_string_equal(csv, "name,us,n,ok,raw\n\"a, \"\"b\"\"\",1.25,7,true,0.1\n,,-12,false,inf\n");
    json_t *j = json_loads(json, 0, NULL);
    assert_int_equal(json_array_size(j), 2);
    assert_true(json_is_null(json_object_get(json_array_get(j, 1), "us")));
    assert_true(json_is_null(json_object_get(json_array_get(j, 1), "raw")));
    assert_true(json_is_true(json_object_get(json_array_get(j, 0), "ok")));
    json_decref(j);
    free(text);
    free(csv);
    free(json);
    arena_free(a);
}

static void test_human_figures(void **state)
{
    Arena *a = arena_new();
    assert_string_equal(human_bytes(a, 0), "0 B");
    assert_string_equal(human_bytes(a, 1500), "1.5 KB");
    assert_string_equal(human_bytes(a, 33554432), "33.6 MB");
    assert_string_equal(human_bytes(a, 150e9), "150 GB");
    assert_string_equal(human_seconds(a, 8.12e-7), "812 ns");
    assert_string_equal(human_seconds(a, 1.27e-5), "12.7 us");
    assert_string_equal(human_seconds(a, 0.0031), "3.1 ms");
    assert_string_equal(human_seconds(a, 2.04), "2.04 s");
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version), cmocka_unit_test(test_unknown_command), cmocka_unit_test(test_commands_are_complete),
        cmocka_unit_test(test_reproducer), cmocka_unit_test(test_table), cmocka_unit_test(test_human_figures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
