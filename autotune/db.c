/* autotune/db.c — the database file: opening, schema, migration, and what happens when the disk fails.
 *
 * A file is Pawl's by its application id; user_version is the schema's. A write that fails for any reason moves the
 * connection to a copy in memory (sqlite3_backup), so that the work of minutes does not depend on a disk. */
#include "autotune/db_internal.h"
#include "base/file.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define APPLICATION_ID 0x5041574c /* "PAWL" */

/* migrations[v] takes schema v to v + 1. A new schema is a new row; rows never change. */
static const char *const migrations[DB_SCHEMA_VERSION] = {
    "CREATE TABLE devices ("
    "  device TEXT NOT NULL, units INTEGER NOT NULL, copy_bandwidth REAL, flops_fma REAL,"
    "  flops_bf16 REAL, flops_tf32 REAL, launch_seconds REAL, date INTEGER NOT NULL,"
    "  PRIMARY KEY (device, units));"
    "CREATE TABLE tunings ("
    "  device TEXT NOT NULL, environment TEXT NOT NULL, problem INTEGER NOT NULL, text TEXT NOT NULL,"
    "  schedule TEXT NOT NULL, us REAL, us_lo REAL, us_hi REAL, incumbent TEXT, incumbent_us REAL,"
    "  ratio REAL, ratio_lo REAL, ratio_hi REAL, tried INTEGER, rejected INTEGER,"
    "  complete INTEGER NOT NULL, date INTEGER NOT NULL, task TEXT,"
    "  PRIMARY KEY (problem, device, environment, text));"
    "CREATE TABLE choices ("
    "  device TEXT NOT NULL, environment TEXT NOT NULL, problem INTEGER NOT NULL, choice TEXT NOT NULL,"
    "  alternative INTEGER NOT NULL, us TEXT NOT NULL, ratio REAL, ratio_lo REAL, ratio_hi REAL,"
    "  against INTEGER, complete INTEGER NOT NULL, date INTEGER NOT NULL, task TEXT,"
    "  PRIMARY KEY (problem, choice, device, environment));"
    "CREATE TABLE measurements ("
    "  id INTEGER PRIMARY KEY, device TEXT NOT NULL, environment TEXT NOT NULL,"
    "  problem INTEGER NOT NULL, what TEXT NOT NULL, outcome TEXT NOT NULL,"
    "  us REAL, us_lo REAL, us_hi REAL, samples INTEGER, date INTEGER NOT NULL);"
    "CREATE INDEX measurements_problem ON measurements (problem);",
};

const char *db_default_path(Arena *a, const char *path)
{
    const char *env = getenv("PAWL_DB");

    if (path)
        return arena_strdup(a, path);
    if (env && *env)
        return arena_strdup(a, env);
    return arena_printf(a, "%s/tuning.sqlite", cache_dir(a));
}

bool db_exec(Db *db, const char *sql)
{
    return sqlite3_exec(db->sql, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static int64_t pragma(Db *db, const char *sql)
{
    sqlite3_stmt *st = NULL;
    int64_t v = -1;

    if (sqlite3_prepare_v2(db->sql, sql, -1, &st, NULL) == SQLITE_OK &&
        sqlite3_step(st) == SQLITE_ROW)
        v = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return v;
}

/* ---- failures -------------------------------------------------------------------------------- */

/* What went wrong, in words for the person at the terminal, and what helps. */
static const char *explain(int code, const char **hint)
{
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        *hint = "another process is writing to it; wait for it, or use --db with another file";
        return "is locked by another process";
    case SQLITE_FULL:
        *hint = "free some space, or use --db with a file on another disk";
        return "cannot grow: the disk is full";
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        *hint = "make it writable, or use --db with another file";
        return "is read-only";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        *hint = "move it away (tuning starts anew) or restore it; "
                "`pawl db import` reads what was exported";
        return "is damaged or no database";
    case SQLITE_CANTOPEN:
        *hint = "check the folder's permissions, or use --db with another file";
        return "cannot be opened";
    default:
        *hint = "check the disk, or use --db with another file";
        return "cannot be used";
    }
}

static void diagnose(Db *db, int code, const char *detail, const char *consequence)
{
    const char *hint, *what = explain(code, &hint);
    diag_error(db->cx->diags, PAWL_EXIT_IO, LOC_NONE, hint, "tuning database %s %s (%s)%s", db->path,
               what, detail, consequence);
}

static sqlite3 *open_memory(void)
{
    sqlite3 *sql = NULL;
    if (sqlite3_open_v2(":memory:", &sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) !=
        SQLITE_OK) {
        sqlite3_close(sql);
        sql = NULL;
    }
    pawl_assert(sql, "SQLite gives no database in memory");
    return sql;
}

static int migrate(Db *db, const char **detail);

static bool sound(Db *db)
{
    sqlite3_stmt *st = NULL;
    bool ok = sqlite3_prepare_v2(db->sql, "PRAGMA quick_check(1)", -1, &st, NULL) == SQLITE_OK &&
              sqlite3_step(st) == SQLITE_ROW &&
              !strcmp((const char *)sqlite3_column_text(st, 0), "ok");
    sqlite3_finalize(st);
    return ok;
}

/* Leaves the file; all that can still be read of it comes along. */
static void move_to_memory(Db *db)
{
    sqlite3 *disk = db->sql, *memory = open_memory();
    const char *detail;

    if (disk) {
        sqlite3_exec(disk, "ROLLBACK", NULL, NULL, NULL);
        sqlite3_busy_timeout(disk, 0);
        sqlite3_backup *copy = sqlite3_backup_init(memory, "main", disk, "main");
        int rc = copy ? sqlite3_backup_step(copy, -1) : SQLITE_ERROR;
        if (copy)
            sqlite3_backup_finish(copy);
        if (rc != SQLITE_DONE) {
            sqlite3_close(memory);
            memory = open_memory();
        }
        sqlite3_close_v2(disk);
    }
    db->sql = memory;
    db->in_memory = true;
    if (!sound(db) || migrate(db, &detail) != SQLITE_OK) {     /* the damage came along: start empty */
        sqlite3_close(db->sql);
        db->sql = open_memory();
        int rc = migrate(db, &detail);
        pawl_assert(rc == SQLITE_OK, "schema in memory: %s", detail);
    }
}

void db_failed(Db *db, const char *doing)
{
    if (db->in_memory) {
        diag_error(db->cx->diags, PAWL_EXIT_IO, LOC_NONE, NULL, "tuning database in memory: %s: %s",
                   doing, sqlite3_errmsg(db->sql));
        return;
    }
    const char *detail = arena_printf(db->cx->arena, "%s: %s", doing, sqlite3_errmsg(db->sql));
    diagnose(db, sqlite3_errcode(db->sql), detail, "; results are kept in memory for now");
    move_to_memory(db);
    db->lost = true;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Takes the schema to today's in one transaction, which several processes may try at once. */
static int migrate(Db *db, const char **detail)
{
    if (pragma(db, "PRAGMA user_version") == DB_SCHEMA_VERSION)
        return SQLITE_OK;

    bool ok = db_exec(db, "BEGIN IMMEDIATE");
    int64_t version = ok ? pragma(db, "PRAGMA user_version") : -1;
    ok = ok && version >= 0;
    for (int64_t v = version; ok && v < DB_SCHEMA_VERSION; v++)
        ok = db_exec(db, migrations[v]);
    char *mark = sqlite3_mprintf("PRAGMA user_version = %d; PRAGMA application_id = %d",
                                 DB_SCHEMA_VERSION, APPLICATION_ID);
    ok = ok && db_exec(db, mark) && db_exec(db, "COMMIT");
    sqlite3_free(mark);
    if (ok)
        return SQLITE_OK;

    int code = sqlite3_errcode(db->sql);
    *detail = arena_strdup(db->cx->arena, sqlite3_errmsg(db->sql));
    db_exec(db, "ROLLBACK");
    return code == SQLITE_OK ? SQLITE_CORRUPT : code;
}

/* Is this file ours, and of a schema that we know? False: diagnosed. */
static bool identify(Db *db)
{
    int64_t tables = pragma(db, "SELECT count(*) FROM sqlite_master");
    if (tables < 0) {
        diagnose(db, sqlite3_errcode(db->sql), sqlite3_errmsg(db->sql), "");
        return false;
    }
    int64_t application = pragma(db, "PRAGMA application_id");
    int64_t version = pragma(db, "PRAGMA user_version");

    if (application != APPLICATION_ID && (tables > 0 || application != 0))
        return diag_error(db->cx->diags, PAWL_EXIT_IO, LOC_NONE, "use --db with another file",
                          "%s is a database of another program", db->path);
    if (version > DB_SCHEMA_VERSION)
        return diag_error(db->cx->diags, PAWL_EXIT_IO, LOC_NONE,
                          "use that version, or --db with another file",
                          "tuning database %s was written by a newer Pawl (schema %lld; this one "
                          "knows %d)",
                          db->path, (long long)version, DB_SCHEMA_VERSION);
    return true;
}

static int open_file(Db *db)
{
    int flags = db->mode == DB_WRITE ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                                     : SQLITE_OPEN_READONLY;
    int rc = sqlite3_open_v2(db->path, &db->sql, flags, NULL);

    if (rc == SQLITE_OK && db->mode == DB_READ && pragma(db, "SELECT count(*) FROM sqlite_master") < 0)
        rc = sqlite3_errcode(db->sql);
    if (db->mode == DB_READ && (rc == SQLITE_CANTOPEN || rc == SQLITE_READONLY)) {
        /* a WAL file in a folder where its index cannot be made: nobody writes to it either */
        sqlite3_close(db->sql);
        char *uri = sqlite3_mprintf("file:%s?immutable=1", db->path);
        rc = sqlite3_open_v2(uri, &db->sql, flags | SQLITE_OPEN_URI, NULL);
        sqlite3_free(uri);
    }
    if (db->sql) {
        sqlite3_extended_result_codes(db->sql, 0);
        sqlite3_busy_timeout(db->sql, db->timeout);
    }
    return rc;
}

/* Readers do not wait for the writer. On file systems without shared memory the default journal does. */
static void set_wal(Db *db)
{
    for (int i = 0; i < 50; i++) {
        if (db_exec(db, "PRAGMA journal_mode = WAL") || sqlite3_errcode(db->sql) != SQLITE_BUSY)
            break;
        usleep(20000);
    }
    db_exec(db, "PRAGMA synchronous = NORMAL");
}

static bool make_folder(Db *db)
{
    const char *slash = strrchr(db->path, '/');
    if (!slash || slash == db->path)
        return true;
    return dir_make(db->cx->diags, arena_strndup(db->cx->arena, db->path, (size_t)(slash - db->path)));
}

static bool open_disk(Db *db)
{
    const char *detail = "";

    if (db->mode == DB_WRITE && !make_folder(db))
        return false;
    int rc = open_file(db);
    if (rc != SQLITE_OK) {
        diagnose(db, rc, db->sql ? sqlite3_errmsg(db->sql) : "no memory", "");
        return false;
    }
    if (!identify(db))
        return false;
    if (db->mode == DB_READ) {
        if (pragma(db, "PRAGMA user_version") != DB_SCHEMA_VERSION)
            move_to_memory(db);                    /* an older schema is migrated in a copy */
        return true;
    }
    set_wal(db);
    rc = migrate(db, &detail);
    if (rc != SQLITE_OK)
        diagnose(db, rc, detail, "");
    return rc == SQLITE_OK;
}

static Db *db_new(Context *cx, const char *path, DbMode mode)
{
    Db *db = arena_new_of(cx->arena, Db);
    db->cx = cx;
    db->path = path ? arena_strdup(cx->arena, path) : NULL;
    db->mode = mode;
    db->timeout = 10000;
    return db;
}

Db *db_open(Context *cx, const char *path, DbMode mode)
{
    Db *db = db_new(cx, db_default_path(cx->arena, path), mode);

    if (mode == DB_READ && !file_exists(db->path)) {
        move_to_memory(db);
        return db;
    }
    if (open_disk(db))
        return db;
    db_close(db);
    return NULL;
}

Db *db_open_memory(Context *cx)
{
    Db *db = db_new(cx, NULL, DB_WRITE);
    move_to_memory(db);
    return db;
}

Db *db_open_or_memory(Context *cx, const char *path, DbMode mode)
{
    Db *db = db_open(cx, path, mode);
    if (db)
        return db;
    db = db_new(cx, db_default_path(cx->arena, path), mode);
    move_to_memory(db);
    db->lost = mode == DB_WRITE;
    return db;
}

void db_close(Db *db)
{
    if (db)
        sqlite3_close_v2(db->sql);
    if (db)
        db->sql = NULL;
}

bool db_recover(Db *db)
{
    if (!db->lost)
        return true;

    Context *quiet = context_new();
    Db *disk = db_open(quiet, db->path, DB_WRITE);
    uint32_t n = 0;
    bool ok = false;
    if (disk) {
        char *json = db_export_json(db, NULL, quiet->arena);
        ok = json && db_import_json(disk, json, strlen(json), "memory", &n) && !disk->lost;
    }
    db_close(disk);
    context_free(quiet);
    if (ok)
        db->lost = false;
    return ok;
}

bool db_lost_disk(const Db *db) { return db->lost; }

void db_set_timeout(Db *db, int milliseconds)
{
    db->timeout = milliseconds;
    sqlite3_busy_timeout(db->sql, milliseconds);
}

/* ---- statements ------------------------------------------------------------------------------ */

static sqlite3_stmt *vprepare(Db *db, const char *sql, const char *types, va_list ap)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db->sql, sql, -1, &st, NULL);

    for (int i = 1; rc == SQLITE_OK && types[i - 1]; i++) {
        switch (types[i - 1]) {
        case 's': rc = sqlite3_bind_text(st, i, va_arg(ap, const char *), -1, SQLITE_TRANSIENT); break;
        case 'i': rc = sqlite3_bind_int64(st, i, va_arg(ap, int64_t)); break;
        case 'b': rc = sqlite3_bind_int(st, i, va_arg(ap, int)); break;
        case 'd': rc = sqlite3_bind_double(st, i, va_arg(ap, double)); break;      /* NaN becomes NULL */
        default: pawl_assert(false, "statement argument '%c'", types[i - 1]);
        }
    }
    if (rc == SQLITE_OK)
        return st;
    sqlite3_finalize(st);
    return NULL;
}

sqlite3_stmt *db_prepare(Db *db, const char *sql, const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    sqlite3_stmt *st = vprepare(db, sql, types, ap);
    va_end(ap);
    return st;
}

bool db_write(Db *db, const char *sql, const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    sqlite3_stmt *st = vprepare(db, sql, types, ap);
    va_end(ap);

    int rc = st ? sqlite3_step(st) : SQLITE_ERROR;
    bool ok = rc == SQLITE_DONE || rc == SQLITE_ROW;
    if (!ok)
        db_failed(db, "writing");
    sqlite3_finalize(st);
    return ok;
}

static bool transaction(Db *db, bool (*body)(Db *, void *), void *arg)
{
    if (!db_exec(db, "BEGIN IMMEDIATE")) {
        db_failed(db, "writing");
        return false;
    }
    if (!body(db, arg)) {
        db_exec(db, "ROLLBACK");
        return false;
    }
    if (db_exec(db, "COMMIT"))
        return true;
    db_failed(db, "writing");
    return false;
}

bool db_atomically(Db *db, bool (*body)(Db *, void *), void *arg)
{
    bool on_disk = !db->in_memory;
    if (transaction(db, body, arg))
        return true;
    if (on_disk && db->in_memory)
        transaction(db, body, arg);
    return false;
}

const char *db_column_text(Db *db, sqlite3_stmt *st, int column)
{
    const char *s = (const char *)sqlite3_column_text(st, column);
    return s ? arena_strdup(db->cx->arena, s) : NULL;
}

double db_column_double(sqlite3_stmt *st, int column)
{
    return sqlite3_column_type(st, column) == SQLITE_NULL ? NAN : sqlite3_column_double(st, column);
}
