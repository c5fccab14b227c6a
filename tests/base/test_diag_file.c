/* tests/base/test_diag_file.c — diagnostics as text, assertions, files read and written, and what is said when they cannot be. */
#include "base/context.h"
#include "base/file.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

typedef struct { Context *cx; const char *dir; } Fixture;

static int setup(void **state)
{
    Context *cx = context_new();
    Fixture *f = arena_new_of(cx->arena, Fixture);
    const char *tmp = getenv("TEST_TMP");
    char *dir = arena_printf(cx->arena, "%s/test_file.XXXXXX", tmp ? tmp : "/tmp");
    *f = (Fixture){cx, mkdtemp(dir)};
    *state = f;
    return f->dir ? 0 : -1;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    char *command = arena_printf(f->cx->arena, "rm -rf '%s'", f->dir);
    int rc = system(command);
    context_free(f->cx);
    return rc;
}

static const char *in(Fixture *f, const char *name) { return arena_printf(f->cx->arena, "%s/%s", f->dir, name); }

static void diagnostics_are_located(void **state)
{
    Fixture *f = *state;
    Diags *d = f->cx->diags;
    Source *s = source_from_text(f->cx->arena, "a.graph", "one\n\tzwei = ünï(%x)\r\nlast");
    assert_false(diag_error(d, PAWL_EXIT_UNSUPPORTED, loc_at(s, 12, 5), "write uni", "no op '%s'", "ünï"));
    diag_warn(d, loc_at(s, 0, 3), "odd");
    diag_note(d, LOC_NONE, "no place");
    diag_note(d, loc_at(s, 9999, 3), "past the end");
    static const char *const want[] = {
        "a.graph:2:9: error: no op 'ünï'\n    \tzwei = ünï(%x)\n    \t       ^~~\n    hint: write uni\n",
        "a.graph:1:1: warning: odd\n    one\n    ^~~\n",
        "pawl: note: no place\n",
        "a.graph:3:5: note: past the end\n    last\n        ^\n",
    };
    for (uint32_t i = 0; i < 4; i++)
        assert_string_equal(diag_format(f->cx->arena, diags_at(d, i)), want[i]);
    Diags *other = diags_new(f->cx->arena);
    diag_warn(other, LOC_NONE, "first");
    assert_false(diags_failed(other));
    assert_int_equal(diags_exit_code(other), PAWL_EXIT_OK);
    diags_append(other, d);
    assert_int_equal(diags_count(other), 5);
    assert_int_equal(diags_exit_code(other), PAWL_EXIT_UNSUPPORTED);
    char text[2000] = "";
    FILE *to = fmemopen(text, sizeof text, "w");
    diags_print(d, to, true);
    diags_print(d, to, false);
    fclose(to);
    assert_non_null(strstr(text, "\033[1;31merror:\033[0m"));
    assert_non_null(strstr(text, want[0]));
    diags_clear(d);
    assert_int_equal(diags_count(d), 0);
}

static void say_hello(void *arg) { fputs(arg, stderr); }

/* What `body` says on stderr when it ends the process with `code`. */
static const char *last_words(Fixture *f, void (*body)(void), int code)
{
    const char *path = in(f, "stderr");
    pid_t child = fork();
    if (child == 0) {
        if (!freopen(path, "w", stderr))
            _exit(1);
        body();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == code);
    return file_read(f->cx->arena, f->cx->diags, path, NULL);
}

static void break_an_assertion(void)
{
    pawl_on_assert(say_hello, "reproducer written\n");
    pawl_assert(1 + 1 == 3, "the sum is %d", 2);
}

static void assertions_end_the_process(void **state)
{
    const char *text = last_words(*state, break_an_assertion, PAWL_EXIT_INTERNAL);
    assert_non_null(strstr(text, "1 + 1 == 3: the sum is 2\nreproducer written\n"));
}

static void want_too_much(void)
{
    static Arena *volatile a;          /* where the leak checker finds it when the process ends */
    a = arena_new();
    arena_alloc(a, SIZE_MAX - 5);
}

static void out_of_memory_ends_the_process(void **state)
{
    const char *text = last_words(*state, want_too_much, PAWL_EXIT_DEVICE);
    assert_non_null(strstr(text, "pawl: out of memory: the machine has no 18446744073709551610 bytes more"));
}

static void files_round_trip(void **state)
{
    Fixture *f = *state;
    Arena *a = f->cx->arena;
    Diags *d = f->cx->diags;
    const char *path = in(f, "file"), *link = in(f, "link");
    size_t len;
    FileMap m;
    assert_false(file_exists(path));
    assert_true(file_write(d, path, "hello", 5));
    assert_string_equal(file_read(a, d, path, &len), "hello");
    assert_int_equal(len, 5);
    assert_true(file_map(d, path, &m));
    assert_memory_equal(m.data, "hello", 5);
    file_unmap(&m);
    file_unmap(&m);
    chmod(path, 0640);
    assert_int_equal(symlink("file", link), 0);
    assert_true(file_write_parts(d, link, (FilePart[]){{"a", 1}, {"", 0}, {"bc", 2}}, 3));
    assert_string_equal(file_read(a, d, path, NULL), "abc");
    struct stat st;
    assert_true(lstat(link, &st) == 0 && S_ISLNK(st.st_mode));
    assert_true(stat(path, &st) == 0 && (st.st_mode & 0777) == 0640);
    assert_true(file_write(d, path, "", 0) && file_map(d, path, &m));
    assert_int_equal(m.len, 0);
    file_unmap(&m);
    assert_true(file_write(d, "/dev/null", "x", 1));
    assert_non_null(file_read(a, d, "/proc/self/status", &len));
    assert_true(len > 100);
    Source *s = source_from_file(a, d, path);
    assert_true(s && s->len == 0);
    assert_int_equal(diags_count(d), 0);
}

static void fails_with(Fixture *f, bool result, const char *text)
{
    assert_false(result);
    assert_int_equal(diags_exit_code(f->cx->diags), PAWL_EXIT_IO);
    const char *got = diag_format(f->cx->arena, diags_at(f->cx->diags, 0));
    if (!strstr(got, text))
        fail_msg("%s", got);
    diags_clear(f->cx->diags);
}

static void failures_are_diagnosed(void **state)
{
    Fixture *f = *state;
    Diags *d = f->cx->diags;
    FileMap m;
    fails_with(f, file_read(f->cx->arena, d, in(f, "none"), NULL) != NULL, "No such file");
    fails_with(f, file_map(d, in(f, "none"), &m), "No such file");
    fails_with(f, file_read(f->cx->arena, d, f->dir, NULL) != NULL, "Is a directory");
    fails_with(f, source_from_file(f->cx->arena, d, in(f, "none")) != NULL, "cannot read");
    fails_with(f, file_write(d, in(f, "no/file"), "x", 1), "No such file");
    fails_with(f, file_write(d, f->dir, "x", 1), "Is a directory");
    fails_with(f, file_write(d, "/dev/full", "x", 1), "the disk is full");
    /* A limit on file sizes stands for a full disk: the old file stays, the temporary goes. */
    const char *path = in(f, "kept");
    assert_true(file_write(d, path, "old", 3));
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit old, small;
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 4096;
    setrlimit(RLIMIT_FSIZE, &small);
    char *large = arena_alloc(f->cx->arena, 100000);
    bool written = file_write(d, path, large, 100000);
    setrlimit(RLIMIT_FSIZE, &old);
    fails_with(f, written, "too large");
    assert_string_equal(file_read(f->cx->arena, d, path, NULL), "old");
    assert_int_equal(system(arena_printf(f->cx->arena, "test $(ls -A '%s' | wc -l) = 1", f->dir)), 0);
}

static void folders_are_made(void **state)
{
    Fixture *f = *state;
    Diags *d = f->cx->diags;
    assert_true(dir_make(d, in(f, "a/b//c/")));
    assert_true(dir_make(d, in(f, "a/b/c")));
    assert_true(file_write(d, in(f, "a/b/c/x"), "x", 1));
    fails_with(f, dir_make(d, in(f, "a/b/c/x/y")), "Not a directory");
    setenv("PAWL_CACHE_DIR", "/somewhere", 1);
    assert_string_equal(cache_dir(f->cx->arena), "/somewhere");
    unsetenv("PAWL_CACHE_DIR");
    setenv("XDG_CACHE_HOME", "/cache", 1);
    assert_string_equal(cache_dir(f->cx->arena), "/cache/pawl");
    setenv("XDG_CACHE_HOME", "relative", 1);
    setenv("HOME", "/users/someone", 1);
    assert_string_equal(cache_dir(f->cx->arena), "/users/someone/.cache/pawl");
    assert_true(program_dir(f->cx->arena)[0] == '/');
    double t = clock_seconds();
    assert_true(clock_seconds() >= t && t > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(diagnostics_are_located, setup, teardown),
        cmocka_unit_test_setup_teardown(assertions_end_the_process, setup, teardown),
        cmocka_unit_test_setup_teardown(out_of_memory_ends_the_process, setup, teardown),
        cmocka_unit_test_setup_teardown(files_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_are_diagnosed, setup, teardown),
        cmocka_unit_test_setup_teardown(folders_are_made, setup, teardown),
    };
    return cmocka_run_group_tests_name("diag_file", tests, NULL, NULL);
}
