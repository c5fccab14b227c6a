/* The tuning database: round trips, other processes, and every way in which a disk fails. */
#include "autotune/db_internal.h"
#include "base/file.h"
#include <math.h>
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

static Context *cx;
static const DbKey h200 = {"NVIDIA H200", "driver=13000 cublasLt=13.1.0.3 emitter=1 space=1"};

static char *path_of(const char *name)
{
    static char path[4][512];
    static int next;
    const char *folder = getenv("TEST_TMP");
    char *p = path[next++ % 4];
    snprintf(p, 512, "%s/%s", folder ? folder : "/tmp/pawl_test_db", name);
    return p;
}

static char *fresh(const char *name)
{
    const char *const suffix[] = {"", "-wal", "-shm", "-journal"};
    char *p = path_of(name), other[600];
    for (int i = 0; i < 4; i++) {
        snprintf(other, sizeof other, "%s%s", p, suffix[i]);
        unlink(other);
    }
    return p;
}

static int setup(void **state)
{
    char *p = path_of("x");
    *strrchr(p, '/') = 0;
    cx = context_new();
    assert_true(dir_make(cx->diags, p));
    return 0;
}

static int teardown(void **state)
{
    context_free(cx);
    return 0;
}

static DbTuning tuning(DbKey key, uint64_t problem, const char *schedule)
{
    return (DbTuning){.key = key, .problem = problem, .text = "%y = exp(%x) : f32[8]",
                      .schedule = schedule, .us = {12.5, 12.25, 12.75}, .incumbent = "vec=1",
                      .incumbent_us = 20, .ratio = {1.6, 1.5, 1.7}, .tried = 12, .rejected = 2,
                      .complete = true, .date = 1700000000, .task = "qwen3/swiglu decode_8"};
}

static bool said(const char *text)
{
    for (uint32_t i = 0; i < diags_count(cx->diags); i++)
        if (strstr(diags_at(cx->diags, i)->text, text))
            return true;
    return false;
}

static void round_trip(void **state)
{
    char *p = fresh("round.sqlite");
    Db *db = db_open(cx, p, DB_WRITE);
    assert_non_null(db);
    DbTuning t = tuning(h200, 0xfedcba9876543210u, "vec=8 threads=128"), got;
    assert_true(db_put_tuning(db, &t));
    DbChoice c = {.key = h200, .problem = 7, .choice = "stack_projections@3", .alternative = 1, .n = 3,
                  .us = {40.7, 31.2, NAN}, .ratio = {1.3, 1.28, 1.33}, .complete = true, .task = "qwen3/mlp"};
    assert_true(db_put_choice(db, &c));
    DbDevice d = {.device = "NVIDIA H200", .units = 132, .copy_bandwidth = 4.3e12, .flops_fma = 51e12,
                  .flops_bf16 = 790e12, .flops_tf32 = NAN, .launch_seconds = 1e-6};
    assert_true(db_put_device(db, &d));
    DbMeasurement m[2] = {{h200, 7, "vec=8", "ok", {1, 1, 1}, 30, 0}, {h200, 7, "vec=16", "spills", {NAN, NAN, NAN}, 0, 0}};
    assert_true(db_put_measurements(db, m, 2));
    db_close(db);

    db = db_open(cx, p, DB_READ);
    assert_non_null(db);
    assert_true(db_get_tuning(db, h200, t.problem, t.text, true, &got));
    assert_string_equal(got.schedule, "vec=8 threads=128");
    assert_true(got.problem == t.problem && got.us.lo == 12.25 && got.ratio.hi == 1.7 && got.complete);
    assert_true(got.tried == 12 && got.rejected == 2 && got.date == 1700000000 && got.incumbent_us == 20);
    assert_string_equal(got.task, "qwen3/swiglu decode_8");
    assert_false(db_get_tuning(db, h200, t.problem, "%y = log(%x) : f32[8]", true, &got));
    DbChoice gc;
    assert_true(db_get_choice(db, h200, 7, "stack_projections@3", true, &gc));
    assert_true(gc.n == 3 && gc.us[0] == 40.7 && gc.us[1] == 31.2 && isnan(gc.us[2]) && gc.alternative == 1);
    DbDevice gd;
    assert_true(db_get_device(db, "NVIDIA H200", 132, &gd));
    assert_true(gd.copy_bandwidth == 4.3e12 && isnan(gd.flops_tf32) && gd.date > 1700000000);
    assert_false(db_get_device(db, "NVIDIA H200", 114, &gd));
    uint32_t n;
    DbMeasurement *log = db_list_measurements(db, 7, &n);
    assert_int_equal(n, 2);
    assert_string_equal(log[1].outcome, "spills");
    DbCounts counts;
    assert_true(db_count(db, &counts));
    assert_true(counts.tunings == 1 && counts.choices == 1 && counts.devices == 1 && counts.measurements == 2);
    assert_true(counts.bytes > 0);
    db_close(db);
    assert_false(diags_failed(cx->diags));
}

static void other_environments(void **state)
{
    Db *db = db_open_memory(cx);
    DbTuning a = tuning((DbKey){"NVIDIA H200", "driver=12000 emitter=1 space=1"}, 5, "vec=2"), got;
    DbTuning b = tuning((DbKey){"NVIDIA H200", "driver=12080 emitter=1 space=1"}, 5, "vec=4");
    DbTuning c = tuning((DbKey){"NVIDIA H200", "driver=13000 emitter=1 space=2"}, 5, "vec=16");
    b.date++;
    c.date += 2;
    assert_true(db_put_tuning(db, &a) && db_put_tuning(db, &b) && db_put_tuning(db, &c));
    assert_false(db_get_tuning(db, h200, 5, a.text, true, &got));
    assert_true(db_get_tuning(db, h200, 5, a.text, false, &got));
    assert_string_equal(got.schedule, "vec=4");
    assert_true(db_get_tuning(db, a.key, 5, a.text, false, &got));
    assert_string_equal(got.schedule, "vec=2");
    assert_false(db_get_tuning(db, (DbKey){"NVIDIA H100", h200.environment}, 5, a.text, false, &got));
    db_close(db);
}

static void missing_file_reads_empty(void **state)
{
    char *p = fresh("missing.sqlite");
    Db *db = db_open(cx, p, DB_READ);
    DbTuning got;
    assert_non_null(db);
    assert_false(db_get_tuning(db, h200, 1, "", true, &got));
    assert_false(file_exists(p));
    assert_false(diags_failed(cx->diags));
    db_close(db);
}

static void default_paths(void **state)
{
    setenv("PAWL_DB", "/somewhere/else.sqlite", 1);
    assert_string_equal(db_default_path(cx->arena, NULL), "/somewhere/else.sqlite");
    assert_string_equal(db_default_path(cx->arena, "given"), "given");
    unsetenv("PAWL_DB");
    assert_non_null(strstr(db_default_path(cx->arena, NULL), "/tuning.sqlite"));
}

static void read_only_connection(void **state)
{
    char *p = fresh("read_only.sqlite");
    DbTuning t = tuning(h200, 1, "vec=1"), u = tuning(h200, 2, "vec=2"), got;
    Db *db = db_open(cx, p, DB_WRITE);
    db_put_tuning(db, &t);
    db_close(db);

    db = db_open(cx, p, DB_READ);
    assert_false(db_put_tuning(db, &u));
    assert_true(db_lost_disk(db));
    assert_true(said("is read-only"));
    assert_int_equal(diags_exit_code(cx->diags), PAWL_EXIT_IO);
    assert_int_equal(diags_count(cx->diags), 1);
    /* both the old and the new are there, and later writes say nothing more */
    assert_true(db_get_tuning(db, h200, 1, t.text, true, &got));
    assert_true(db_get_tuning(db, h200, 2, t.text, true, &got));
    u.problem = 3;
    assert_true(db_put_tuning(db, &u));
    assert_int_equal(diags_count(cx->diags), 1);
    assert_non_null(strstr(db_export_json(db, NULL, cx->arena), "0x0000000000000003"));
    /* the file can be written again: what memory holds goes there */
    assert_true(db_recover(db));
    assert_false(db_lost_disk(db));
    db_close(db);
    db = db_open(cx, p, DB_READ);
    assert_true(db_get_tuning(db, h200, 3, t.text, true, &got));
    db_close(db);
}

static void read_only_file(void **state)
{
    if (geteuid() == 0) {
        print_message("SKIP: root may write to read-only files\n");
        skip();
    }
    char *p = fresh("mode.sqlite");
    DbTuning t = tuning(h200, 1, "vec=1"), got;
    Db *db = db_open(cx, p, DB_WRITE);
    db_put_tuning(db, &t);
    db_close(db);
    chmod(p, 0444);
    db = db_open_or_memory(cx, p, DB_WRITE);
    db_put_tuning(db, &t);
    assert_true(db_lost_disk(db));
    assert_true(said("read-only"));
    assert_true(db_get_tuning(db, h200, 1, t.text, true, &got));
    db_close(db);
    chmod(p, 0644);
}

static void folder_cannot_be_made(void **state)
{
    char *p = fresh("plain_file"), below[600];
    assert_true(file_write(cx->diags, p, "x", 1));
    snprintf(below, sizeof below, "%s/tuning.sqlite", p);
    assert_null(db_open(cx, below, DB_WRITE));
    assert_int_equal(diags_exit_code(cx->diags), PAWL_EXIT_IO);
    Db *db = db_open_or_memory(cx, below, DB_WRITE);
    DbTuning t = tuning(h200, 1, "vec=1");
    assert_true(db_lost_disk(db));
    assert_true(db_put_tuning(db, &t));
    assert_false(db_recover(db));
    db_close(db);
}

static void corrupt(void **state)
{
    char *p = fresh("corrupt.sqlite");
    assert_true(file_write(cx->diags, p, "this is no database, but it is long enough to be one .............", 66));
    assert_null(db_open(cx, p, DB_WRITE));
    assert_true(said("is damaged or no database"));
    assert_int_equal(diags_exit_code(cx->diags), PAWL_EXIT_IO);
    diags_clear(cx->diags);
    assert_null(db_open(cx, p, DB_READ));
    assert_true(said("is damaged or no database"));
    /* not a byte of it changed */
    size_t len;
    assert_int_equal(strncmp(file_read(cx->arena, cx->diags, p, &len), "this is no", 10), 0);
    assert_int_equal(len, 66);
}

static void damaged_pages(void **state)
{
    char *p = fresh("damaged.sqlite");
    Db *db = db_open(cx, p, DB_WRITE);
    for (uint64_t i = 0; i < 500; i++) {
        DbTuning t = tuning(h200, i, "vec=1");
        assert_true(db_put_tuning(db, &t));
    }
    assert_true(db_vacuum(db));
    db_close(db);
    FILE *f = fopen(p, "r+b");
    fseek(f, 4096, SEEK_SET);
    for (int i = 0; i < 4096 * 8; i++)
        fputc(i * 37 & 0xff, f);
    fclose(f);
    db = db_open_or_memory(cx, p, DB_WRITE);
    DbTuning t = tuning(h200, 9999, "vec=1"), got;
    db_get_tuning(db, h200, 3, t.text, true, &got);
    db_put_tuning(db, &t);
    assert_true(db_lost_disk(db));
    assert_int_equal(diags_exit_code(cx->diags), PAWL_EXIT_IO);
    assert_true(db_get_tuning(db, h200, 9999, t.text, true, &got));
    db_close(db);
}

static void newer_schema(void **state)
{
    char *p = fresh("newer.sqlite");
    Db *db = db_open(cx, p, DB_WRITE);
    assert_true(db_exec(db, "PRAGMA user_version = 99"));
    db_close(db);
    assert_null(db_open(cx, p, DB_WRITE));
    assert_true(said("newer Pawl (schema 99"));
    diags_clear(cx->diags);
    assert_null(db_open(cx, p, DB_READ));
    assert_true(said("newer Pawl"));
    assert_int_equal(diags_exit_code(cx->diags), PAWL_EXIT_IO);
}

static void another_program(void **state)
{
    char *p = fresh("other.sqlite");
    sqlite3 *sql;
    sqlite3_open(p, &sql);
    sqlite3_exec(sql, "CREATE TABLE bookmarks (url TEXT)", NULL, NULL, NULL);
    sqlite3_close(sql);
    assert_null(db_open(cx, p, DB_WRITE));
    assert_true(said("database of another program"));
}

static void empty_file_is_taken(void **state)
{
    char *p = fresh("empty.sqlite");
    assert_true(file_write(cx->diags, p, "", 0));
    Db *db = db_open(cx, p, DB_READ);
    assert_non_null(db);
    db_close(db);
    db = db_open(cx, p, DB_WRITE);
    DbTuning t = tuning(h200, 1, "vec=1");
    assert_true(db_put_tuning(db, &t));
    db_close(db);
    assert_false(diags_failed(cx->diags));
}

static void full_by_pages(void **state)
{
    char *p = fresh("full.sqlite");
    Db *db = db_open(cx, p, DB_WRITE);
    DbTuning got, t = tuning(h200, 0, "vec=1");
    db_exec(db, "PRAGMA max_page_count = 20");
    uint64_t i = 0;
    for (; i < 2000 && !db_lost_disk(db); i++) {
        t.problem = i;
        db_put_tuning(db, &t);
    }
    assert_true(db_lost_disk(db));
    assert_true(said("the disk is full"));
    assert_true(i > 10 && i < 2000);
    for (uint64_t j = 0; j < i; j++)
        assert_true(db_get_tuning(db, h200, j, t.text, true, &got));
    db_close(db);
}

/* The same by the operating system: no file may grow past 200 kB. */
static void full_by_limit(void **state)
{
    char *p = fresh("limit.sqlite");
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {200000, 200000};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        Context *own = context_new();
        Db *db = db_open(own, p, DB_WRITE);
        DbTuning got, t = tuning(h200, 0, "vec=1");
        uint64_t i = 0;
        bool ok = db != NULL;
        for (; ok && i < 5000 && !db_lost_disk(db); i++) {
            t.problem = i;
            db_put_tuning(db, &t);
        }
        ok = ok && db_lost_disk(db) && diags_exit_code(own->diags) == PAWL_EXIT_IO;
        for (uint64_t j = 0; ok && j < i; j++)
            ok = db_get_tuning(db, h200, j, t.text, true, &got);
        db_close(db);
        context_free(own);
        _exit(ok ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void locked(void **state)
{
    char *p = fresh("locked.sqlite");
    Db *db = db_open(cx, p, DB_WRITE), *other = db_open(cx, p, DB_WRITE);
    DbTuning t = tuning(h200, 1, "vec=1"), got;
    assert_true(db_put_tuning(db, &t));
    assert_true(db_exec(other, "BEGIN IMMEDIATE"));
    db_set_timeout(db, 50);
    t.problem = 2;
    assert_false(db_put_tuning(db, &t));
    assert_true(said("is locked by another process"));
    assert_true(db_lost_disk(db));
    assert_true(db_get_tuning(db, h200, 1, t.text, true, &got));
    assert_true(db_get_tuning(db, h200, 2, t.text, true, &got));
    assert_true(db_exec(other, "COMMIT"));
    assert_true(db_recover(db));
    assert_true(db_get_tuning(other, h200, 2, t.text, true, &got));
    db_close(db);
    db_close(other);
}

/* Four processes create the file together and write to it at the same time; nothing is missing afterwards. */
static void concurrent_writers(void **state)
{
    enum { WRITERS = 4, ROWS = 60 };
    char *p = fresh("concurrent.sqlite");
    pid_t child[WRITERS];
    for (int w = 0; w < WRITERS; w++) {
        child[w] = fork();
        if (child[w] == 0) {
            Context *own = context_new();
            Db *db = db_open(own, p, DB_WRITE);
            bool ok = db != NULL;
            for (int i = 0; ok && i < ROWS; i++) {
                DbTuning t = tuning(h200, (uint64_t)(w * ROWS + i), "vec=1");
                DbMeasurement m = {h200, t.problem, "vec=1", "ok", {1, 1, 1}, 1, 0};
                ok = db_put_tuning(db, &t) && db_put_measurements(db, &m, 1);
            }
            if (!ok)
                diags_print(own->diags, stderr, false);
            db_close(db);
            context_free(own);
            _exit(ok ? 0 : 1);
        }
    }
    for (int w = 0; w < WRITERS; w++) {
        int status;
        assert_int_equal(waitpid(child[w], &status, 0), child[w]);
        assert_int_equal(status, 0);
    }
    Db *db = db_open(cx, p, DB_READ);
    DbCounts n;
    assert_true(db_count(db, &n));
    assert_int_equal(n.tunings, WRITERS * ROWS);
    assert_int_equal(n.measurements, WRITERS * ROWS);
    db_close(db);
}

static void export_import(void **state)
{
    Db *a = db_open_memory(cx), *b = db_open_memory(cx);
    DbTuning t = tuning(h200, 0x8000000000000001u, "vec=4"), got;
    DbChoice c = {.key = h200, .problem = 9, .choice = "s@1", .alternative = 1, .n = 2, .us = {2, NAN},
                  .ratio = {NAN, NAN, NAN}, .complete = true};
    DbDevice d = {.device = "cpu", .units = 2, .copy_bandwidth = 1e10, .date = 5};
    uint32_t n;
    t.us.value = 1.0 / 3;                       /* no digit is lost */
    db_put_tuning(a, &t);
    db_put_choice(a, &c);
    db_put_device(a, &d);
    char *json = db_export_json(a, NULL, cx->arena);
    assert_true(db_import_json(b, json, strlen(json), "x.json", &n));
    assert_int_equal(n, 3);
    assert_true(db_get_tuning(b, t.key, t.problem, t.text, true, &got) && got.us.value == 1.0 / 3);
    assert_string_equal(db_export_json(b, NULL, cx->arena), json);
    /* again: nothing is newer */
    assert_true(db_import_json(b, json, strlen(json), "x.json", &n));
    assert_int_equal(n, 0);
    /* newer wins, older loses */
    t.schedule = "vec=8";
    t.date++;
    db_put_tuning(a, &t);
    char *newer = db_export_json(a, "NVIDIA H200", cx->arena);
    assert_true(db_import_json(b, newer, strlen(newer), "x.json", &n));
    assert_int_equal(n, 1);
    assert_true(db_import_json(b, json, strlen(json), "x.json", &n));
    assert_true(db_get_tuning(b, h200, t.problem, t.text, true, &got));
    assert_string_equal(got.schedule, "vec=8");
    assert_null(strstr(newer, "\"cpu\""));
    db_close(a);
    db_close(b);
    assert_false(diags_failed(cx->diags));
}

static void bad_imports(void **state)
{
    static const struct { const char *json, *says; } bad[] = {
        {"", "f.json:1:0: not JSON"},
        {"[1,", "not JSON"},
        {"{}", "no export of a tuning database"},
        {"{\"pawl_tuning\": 2, \"devices\": [], \"tunings\": [], \"choices\": []}", "newer Pawl"},
        {"{\"pawl_tuning\": 1, \"devices\": [], \"choices\": []}", "no list \"tunings\""},
        {"{\"pawl_tuning\": 1, \"devices\": [{\"device\": 3}], \"tunings\": [], \"choices\": []}",
         "devices[0].device: a text expected"},
        {"{\"pawl_tuning\": 1, \"devices\": [7], \"tunings\": [], \"choices\": []}",
         "devices[0].device: a text expected, but it is missing"},
        {"{\"pawl_tuning\": 1, \"devices\": [], \"tunings\": [{\"device\": \"a\", \"environment\": \"b\", "
         "\"problem\": 12}], \"choices\": []}",
         "tunings[0].problem: \"0x\" and 16 hexadecimal digits"},
    };
    Db *db = db_open_memory(cx);
    uint32_t n;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(db_import_json(db, bad[i].json, strlen(bad[i].json), "f.json", &n));
        if (!said(bad[i].says))
            diags_print(cx->diags, stderr, false);
        assert_true(said(bad[i].says));
        assert_int_equal(diags_exit_code(cx->diags), PAWL_EXIT_INVALID);
        diags_clear(cx->diags);
    }
    DbCounts counts;
    assert_true(db_count(db, &counts) && counts.devices + counts.tunings == 0);
    db_close(db);
}

static void forgetting(void **state)
{
    Db *db = db_open_memory(cx);
    DbTuning a = tuning(h200, 1, "vec=1"), b = tuning((DbKey){"cpu", "emitter=1 space=1"}, 2, "vec=1"), got;
    DbCounts n;
    b.date += 100;
    db_put_tuning(db, &a);
    db_put_tuning(db, &b);
    assert_true(db_forget(db, "nothing", 0, &n));
    assert_int_equal(n.tunings, 0);
    assert_true(db_forget(db, NULL, a.date + 1, &n));
    assert_int_equal(n.tunings, 1);
    assert_false(db_get_tuning(db, h200, 1, a.text, true, &got));
    assert_true(db_get_tuning(db, b.key, 2, b.text, true, &got));
    assert_true(db_forget(db, "cpu", 0, &n));
    assert_int_equal(n.tunings, 1);
    assert_true(db_vacuum(db));
    db_close(db);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(round_trip), TEST(other_environments), TEST(missing_file_reads_empty), TEST(default_paths),
        TEST(read_only_connection), TEST(read_only_file), TEST(folder_cannot_be_made), TEST(corrupt),
        TEST(damaged_pages), TEST(newer_schema), TEST(another_program), TEST(empty_file_is_taken),
        TEST(full_by_pages), TEST(full_by_limit), TEST(locked), TEST(concurrent_writers),
        TEST(export_import), TEST(bad_imports), TEST(forgetting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
