/* tests/passes/test_bad_rules.c — every file of tests/passes/bad is refused with the messages in the .expected file beside it.
 * PAWL_UPDATE_GOLDENS=1 writes those files; a person reads the diff. */
#include "passes_fixture.h"
#include <dirent.h>

static char *messages(Context *cx)
{
    StrBuf b = strbuf_new(cx->arena);

    strbuf_add(&b, "");
    for (uint32_t i = 0; i < diags_count(cx->diags); i++)
        strbuf_printf(&b, "%s\n", diag_format(cx->arena, diags_at(cx->diags, i)));
    return b.text;
}

static void check_file(const char *name)
{
    Context *cx = context_new();
    RuleList rules = {0};
    char *path = arena_printf(cx->arena, "tests/passes/bad/%s.yaml", name);
    char *expected = arena_printf(cx->arena, "tests/passes/bad/%s.expected", name);
    bool ok = rules_parse_file(cx, path, &rules);

    if (ok && rules_check(cx, &rules))
        fail_msg("%s was accepted", path);
    assert_int_equal(diags_exit_code(cx->diags), PAWL_EXIT_INVALID);
    char *got = messages(cx);
    if (getenv("PAWL_UPDATE_GOLDENS")) {
        assert_true(file_write(cx->diags, expected, got, strlen(got)));
    } else {
        size_t len;
        char *want = file_read(cx->arena, cx->diags, expected, &len);
        assert_non_null(want);
        assert_string_equal(got, want);
    }
    context_free(cx);
}

static void bad_rules_are_refused(void **state)
{
    DIR *d = opendir("tests/passes/bad");
    uint32_t n = 0;

    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)); ) {
        char name[256];
        size_t len = strlen(e->d_name);
        if (len < 6 || len > 255 || strcmp(e->d_name + len - 5, ".yaml") != 0)
            continue;
        memcpy(name, e->d_name, len - 5);
        name[len - 5] = 0;
        check_file(name);
        n++;
    }
    closedir(d);
    assert_true(n >= 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bad_rules_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
