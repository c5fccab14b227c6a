/* tests/ir/test_bad.c — every task in tests/ir/bad is refused (or warned about) with the messages in the .expected file beside
 * it. PAWL_UPDATE_GOLDENS=1 writes those files; a person reads the diff. */
#include "fixture.h"
#include <dirent.h>

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static uint32_t list_tasks(Arena *a, const char *dir, char **names, uint32_t cap)
{
    DIR *d = opendir(dir);
    uint32_t n = 0;

    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) && n < cap; ) {
        size_t len = strlen(e->d_name);
        if (len > 5 && strcmp(e->d_name + len - 5, ".yaml") == 0)
            names[n++] = arena_strndup(a, e->d_name, len - 5);
    }
    closedir(d);
    qsort(names, n, sizeof *names, by_name);
    return n;
}

static void test_goldens(void **state)
{
    const char *root = getenv("SOURCE_DIR") ? getenv("SOURCE_DIR") : ".";
    bool update = getenv("PAWL_UPDATE_GOLDENS") != NULL;
    Arena *a = arena_new();
    Diags *io = diags_new(a);
    const char *dir = arena_printf(a, "%s/tests/ir/bad", root);
    char *names[256];
    uint32_t n = list_tasks(a, dir, names, 256), wrong = 0;
    (void)state;

    assert_true(n >= 30);
    for (uint32_t i = 0; i < n; i++) {
        Context *cx = context_new();
        const char *path = arena_printf(a, "%s/%s.yaml", dir, names[i]);
        const char *golden = arena_printf(a, "%s/%s.expected", dir, names[i]);
        char *text = file_read(a, io, path, NULL);
        assert_non_null(text);
        Task *t = task_from_source(cx, source_from_text(cx->arena, arena_printf(a, "%s.yaml", names[i]), text));
        const char *got = messages(cx);
        const char *want = file_exists(golden) ? file_read(a, io, golden, NULL) : "";
        if (update)
            assert_true(file_write(io, golden, got, strlen(got)));
        else if (strcmp(got, want) != 0 || !got[0]) {
            print_error("%s: expected\n%s\ngot\n%s\n", names[i], want, got);
            wrong++;
        }
        if (t)
            graph_free(t->graph);
        context_free(cx);
    }
    arena_free(a);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_goldens)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
