/* autotune/db_records.c — rows in and out: devices, tunings, choices, measurements; lists and deletion. */
#include "autotune/db_internal.h"
#include "base/vec.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t date_or_now(int64_t date) { return date ? date : (int64_t)time(NULL); }

/* "emitter=1 space=1": the part of an environment without which schedules mean something else. */
static const char *meaning_of(const char *environment)
{
    const char *p = strstr(environment, "emitter=");
    return p ? p : environment;
}

/* A statement that reads; a failure is diagnosed, and the database goes on in memory. */
static bool next_row(Db *db, sqlite3_stmt *st)
{
    int rc = st ? sqlite3_step(st) : SQLITE_ERROR;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        db_failed(db, "reading");
    return rc == SQLITE_ROW;
}

/* The end of a function that lists: all rows of a statement as an array in the context's arena. */
#define RETURN_ROWS(db, st, T, read, n)                                                    \
    Vec(T) rows_ = {0};                                                                    \
    while (next_row((db), (st))) {                                                         \
        T row_ = read((db), (st));                                                         \
        vec_push((db)->cx->arena, &rows_, row_);                                           \
    }                                                                                      \
    sqlite3_finalize(st);                                                                  \
    *(n) = rows_.n;                                                                        \
    return rows_.data

/* ---- devices --------------------------------------------------------------------------------- */

#define DEVICE_COLUMNS \
    "device, units, copy_bandwidth, flops_fma, flops_bf16, flops_tf32, launch_seconds, date"

static DbDevice read_device(Db *db, sqlite3_stmt *st)
{
    return (DbDevice){
        .device = db_column_text(db, st, 0),
        .units = sqlite3_column_int(st, 1),
        .copy_bandwidth = db_column_double(st, 2),
        .flops_fma = db_column_double(st, 3),
        .flops_bf16 = db_column_double(st, 4),
        .flops_tf32 = db_column_double(st, 5),
        .launch_seconds = db_column_double(st, 6),
        .date = sqlite3_column_int64(st, 7),
    };
}

bool db_get_device(Db *db, const char *device, int units, DbDevice *out)
{
    sqlite3_stmt *st = db_prepare(
        db, "SELECT " DEVICE_COLUMNS " FROM devices WHERE device = ? AND units = ?", "sb", device, units);
    bool found = next_row(db, st);
    if (found)
        *out = read_device(db, st);
    sqlite3_finalize(st);
    return found;
}

static bool put_device(Db *db, void *arg)
{
    const DbDevice *d = arg;
    return db_write(db, "INSERT OR REPLACE INTO devices (" DEVICE_COLUMNS ") VALUES (?,?,?,?,?,?,?,?)",
                    "sbdddddi", d->device, d->units, d->copy_bandwidth, d->flops_fma, d->flops_bf16,
                    d->flops_tf32, d->launch_seconds, date_or_now(d->date));
}

bool db_put_device(Db *db, const DbDevice *d) { return db_atomically(db, put_device, (void *)d); }

/* ---- tunings --------------------------------------------------------------------------------- */

#define TUNING_COLUMNS                                                                     \
    "device, environment, problem, text, schedule, us, us_lo, us_hi, incumbent, "          \
    "incumbent_us, ratio, ratio_lo, ratio_hi, tried, rejected, complete, date, task"

static DbTuning read_tuning(Db *db, sqlite3_stmt *st)
{
    return (DbTuning){
        .key = {db_column_text(db, st, 0), db_column_text(db, st, 1)},
        .problem = (uint64_t)sqlite3_column_int64(st, 2),
        .text = db_column_text(db, st, 3),
        .schedule = db_column_text(db, st, 4),
        .us = {db_column_double(st, 5), db_column_double(st, 6), db_column_double(st, 7)},
        .incumbent = db_column_text(db, st, 8),
        .incumbent_us = db_column_double(st, 9),
        .ratio = {db_column_double(st, 10), db_column_double(st, 11), db_column_double(st, 12)},
        .tried = (uint32_t)sqlite3_column_int64(st, 13),
        .rejected = (uint32_t)sqlite3_column_int64(st, 14),
        .complete = sqlite3_column_int(st, 15) != 0,
        .date = sqlite3_column_int64(st, 16),
        .task = db_column_text(db, st, 17),
    };
}

bool db_get_tuning(Db *db, DbKey key, uint64_t problem, const char *text, bool exact, DbTuning *out)
{
    sqlite3_stmt *st = db_prepare(
        db,
        "SELECT " TUNING_COLUMNS " FROM tunings WHERE problem = ?1 AND device = ?2 AND text = ?3 AND "
        "(environment = ?4 OR (?5 = 0 AND substr(environment, -length(?6)) = ?6)) "
        "ORDER BY environment = ?4 DESC, date DESC LIMIT 1",
        "isssbs", (int64_t)problem, key.device, text, key.environment, (int)exact,
        meaning_of(key.environment));
    bool found = next_row(db, st);
    if (found)
        *out = read_tuning(db, st);
    sqlite3_finalize(st);
    return found;
}

static bool put_tuning(Db *db, void *arg)
{
    const DbTuning *t = arg;
    return db_write(db,
                    "INSERT OR REPLACE INTO tunings (" TUNING_COLUMNS
                    ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                    "ssissdddsddddbbbis", t->key.device, t->key.environment, (int64_t)t->problem,
                    t->text, t->schedule, t->us.value, t->us.lo, t->us.hi, t->incumbent,
                    t->incumbent_us, t->ratio.value, t->ratio.lo, t->ratio.hi, (int)t->tried,
                    (int)t->rejected, (int)t->complete, date_or_now(t->date), t->task);
}

bool db_put_tuning(Db *db, const DbTuning *t) { return db_atomically(db, put_tuning, (void *)t); }

/* ---- choices: the times of the alternatives are one text, "31.2 40.7 -" ---------------------- */

#define CHOICE_COLUMNS                                                                     \
    "device, environment, problem, choice, alternative, us, ratio, ratio_lo, ratio_hi, "   \
    "against, complete, date, task"

static uint32_t parse_times(const char *text, double us[DB_MAX_ALTERNATIVES])
{
    uint32_t n = 0;
    for (const char *p = text ? text : ""; *p && n < DB_MAX_ALTERNATIVES; n++) {
        char *end;
        us[n] = strtod(p, &end);
        if (end == p) {
            us[n] = NAN;
            end += strcspn(end, " ");
        }
        p = end + strspn(end, " ");
    }
    return n;
}

static DbChoice read_choice(Db *db, sqlite3_stmt *st)
{
    DbChoice c = {
        .key = {db_column_text(db, st, 0), db_column_text(db, st, 1)},
        .problem = (uint64_t)sqlite3_column_int64(st, 2),
        .choice = db_column_text(db, st, 3),
        .alternative = (uint32_t)sqlite3_column_int64(st, 4),
        .ratio = {db_column_double(st, 6), db_column_double(st, 7), db_column_double(st, 8)},
        .against = (uint32_t)sqlite3_column_int64(st, 9),
        .complete = sqlite3_column_int(st, 10) != 0,
        .date = sqlite3_column_int64(st, 11),
        .task = db_column_text(db, st, 12),
    };
    c.n = parse_times((const char *)sqlite3_column_text(st, 5), c.us);
    return c;
}

bool db_get_choice(Db *db, DbKey key, uint64_t problem, const char *choice, bool exact, DbChoice *out)
{
    sqlite3_stmt *st = db_prepare(
        db,
        "SELECT " CHOICE_COLUMNS " FROM choices WHERE problem = ?1 AND device = ?2 AND choice = ?3 AND "
        "(environment = ?4 OR (?5 = 0 AND substr(environment, -length(?6)) = ?6)) "
        "ORDER BY environment = ?4 DESC, date DESC LIMIT 1",
        "isssbs", (int64_t)problem, key.device, choice, key.environment, (int)exact,
        meaning_of(key.environment));
    bool found = next_row(db, st);
    if (found)
        *out = read_choice(db, st);
    sqlite3_finalize(st);
    return found;
}

static bool put_choice(Db *db, void *arg)
{
    const DbChoice *c = arg;
    StrBuf times = strbuf_new(db->cx->arena);

    for (uint32_t i = 0; i < c->n && i < DB_MAX_ALTERNATIVES; i++) {
        if (i)
            strbuf_char(&times, ' ');
        if (isnan(c->us[i]))
            strbuf_char(&times, '-');
        else
            strbuf_double(&times, c->us[i]);
    }
    return db_write(db,
                    "INSERT OR REPLACE INTO choices (" CHOICE_COLUMNS
                    ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                    "ssisbsdddbbis", c->key.device, c->key.environment, (int64_t)c->problem, c->choice,
                    (int)c->alternative, times.text ? times.text : "", c->ratio.value, c->ratio.lo,
                    c->ratio.hi, (int)c->against, (int)c->complete, date_or_now(c->date), c->task);
}

bool db_put_choice(Db *db, const DbChoice *c) { return db_atomically(db, put_choice, (void *)c); }

/* ---- the measurement log --------------------------------------------------------------------- */

#define MEASUREMENT_COLUMNS \
    "device, environment, problem, what, outcome, us, us_lo, us_hi, samples, date"

typedef struct { const DbMeasurement *m; uint32_t n; } Measurements;

static bool put_measurements(Db *db, void *arg)
{
    const Measurements *all = arg;
    for (uint32_t i = 0; i < all->n; i++) {
        const DbMeasurement *m = &all->m[i];
        if (!db_write(db,
                      "INSERT INTO measurements (" MEASUREMENT_COLUMNS ") VALUES (?,?,?,?,?,?,?,?,?,?)",
                      "ssissdddbi", m->key.device, m->key.environment, (int64_t)m->problem, m->what,
                      m->outcome, m->us.value, m->us.lo, m->us.hi, (int)m->samples,
                      date_or_now(m->date)))
            return false;
    }
    return true;
}

bool db_put_measurements(Db *db, const DbMeasurement *m, uint32_t n)
{
    return n == 0 || db_atomically(db, put_measurements, &(Measurements){m, n});
}

static DbMeasurement read_measurement(Db *db, sqlite3_stmt *st)
{
    return (DbMeasurement){
        .key = {db_column_text(db, st, 0), db_column_text(db, st, 1)},
        .problem = (uint64_t)sqlite3_column_int64(st, 2),
        .what = db_column_text(db, st, 3),
        .outcome = db_column_text(db, st, 4),
        .us = {db_column_double(st, 5), db_column_double(st, 6), db_column_double(st, 7)},
        .samples = (uint32_t)sqlite3_column_int64(st, 8),
        .date = sqlite3_column_int64(st, 9),
    };
}

DbMeasurement *db_list_measurements(Db *db, uint64_t problem, uint32_t *n)
{
    sqlite3_stmt *st =
        db_prepare(db, "SELECT " MEASUREMENT_COLUMNS " FROM measurements WHERE problem = ? ORDER BY id",
                   "i", (int64_t)problem);
    RETURN_ROWS(db, st, DbMeasurement, read_measurement, n);
}

/* ---- lists, counts, deletion ----------------------------------------------------------------- */

DbDevice *db_list_devices(Db *db, uint32_t *n)
{
    sqlite3_stmt *st =
        db_prepare(db, "SELECT " DEVICE_COLUMNS " FROM devices ORDER BY device, units", "");
    RETURN_ROWS(db, st, DbDevice, read_device, n);
}

DbTuning *db_list_tunings(Db *db, const char *device, uint32_t *n)
{
    sqlite3_stmt *st = db_prepare(db,
                                  "SELECT " TUNING_COLUMNS " FROM tunings WHERE ?1 IS NULL OR device = ?1 "
                                  "ORDER BY date DESC, task, problem, environment, text",
                                  "s", device);
    RETURN_ROWS(db, st, DbTuning, read_tuning, n);
}

DbChoice *db_list_choices(Db *db, const char *device, uint32_t *n)
{
    sqlite3_stmt *st = db_prepare(db,
                                  "SELECT " CHOICE_COLUMNS " FROM choices WHERE ?1 IS NULL OR device = ?1 "
                                  "ORDER BY date DESC, task, choice, problem, environment",
                                  "s", device);
    RETURN_ROWS(db, st, DbChoice, read_choice, n);
}

static const char *const tables[] = {"devices", "tunings", "choices", "measurements"};

static int64_t *count_of(DbCounts *c, int table)
{
    int64_t *const fields[] = {&c->devices, &c->tunings, &c->choices, &c->measurements};
    return fields[table];
}

static bool one_number(Db *db, const char *sql, int64_t *out)
{
    sqlite3_stmt *st = db_prepare(db, sql, "");
    bool found = next_row(db, st);
    if (found)
        *out = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return found;
}

bool db_count(Db *db, DbCounts *out)
{
    bool ok = true;
    int64_t pages = 0, page = 0;

    *out = (DbCounts){0};
    for (int i = 0; i < 4; i++)
        ok = ok && one_number(db, arena_printf(db->cx->arena, "SELECT count(*) FROM %s", tables[i]),
                              count_of(out, i));
    ok = ok && one_number(db, "PRAGMA page_count", &pages) && one_number(db, "PRAGMA page_size", &page);
    out->bytes = pages * page;
    return ok;
}

typedef struct { const char *device; int64_t before; DbCounts *counts; } Forget;

static bool forget(Db *db, void *arg)
{
    const Forget *f = arg;

    *f->counts = (DbCounts){0};
    for (int i = 0; i < 4; i++) {
        const char *sql = arena_printf(db->cx->arena,
                                       "DELETE FROM %s WHERE (?1 IS NULL OR device = ?1) "
                                       "AND (?2 = 0 OR date < ?2)",
                                       tables[i]);
        if (!db_write(db, sql, "si", f->device, f->before))
            return false;
        *count_of(f->counts, i) = sqlite3_changes(db->sql);
    }
    return true;
}

bool db_forget(Db *db, const char *device, int64_t before, DbCounts *forgotten)
{
    DbCounts counts;
    bool ok = db_atomically(db, forget, &(Forget){device, before, &counts});
    if (forgotten)
        *forgotten = counts;
    return ok;
}

bool db_vacuum(Db *db)
{
    if (db_exec(db, "VACUUM") && db_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)"))
        return true;
    db_failed(db, "vacuum");
    return false;
}
