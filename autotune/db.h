/* autotune/db.h — the tuning database: SQLite in WAL mode, one file, several processes at a time.
 *
 * What it remembers: ceilings of devices, the best schedule of each problem, the measured alternative of each choice, and a log of
 * all measurements. It stores schedules as text, never code. Everything is keyed by device and environment (driver, library,
 * emitter and space versions), see device.h.
 *
 * Nothing is lost: when a write fails (read-only, disk full, locked for longer than the timeout, corrupt) the failure is diagnosed
 * once (PAWL_EXIT_IO) and the contents move into memory, where all functions go on working and db_export_json still gives
 * everything. A Db belongs to one thread; strings it returns live in its context's arena. */
#pragma once
#include "autotune/stats.h"
#include "base/context.h"
#include <stdio.h>

#define DB_SCHEMA_VERSION 1
#define DB_MAX_ALTERNATIVES 8

typedef struct Db Db;
typedef enum {
    DB_READ,                        /* a missing file is an empty database; nothing is created */
    DB_WRITE                        /* the file and its folder are created */
} DbMode;

/* `path` as given by --db, else $PAWL_DB, else cache_dir()/tuning.sqlite; the text is in the arena. */
const char *db_default_path(Arena *a, const char *path);
/* NULL: diagnosed (PAWL_EXIT_IO): cannot be opened, corrupt, not Pawl's, or written by a newer Pawl. */
Db  *db_open(Context *cx, const char *path, DbMode mode);
Db  *db_open_memory(Context *cx);
/* db_open; when that fails the diagnostic stays and an empty database in memory is returned, so that work can go on. Never NULL. */
Db  *db_open_or_memory(Context *cx, const char *path, DbMode mode);
void db_close(Db *db);              /* NULL is allowed */
bool db_lost_disk(const Db *db);    /* some results are in memory only: the command should export them and exit with PAWL_EXIT_IO */
/* After db_lost_disk: writes what memory holds (but the measurement log) to the file again; true when it is on disk now.
 * Diagnoses nothing. */
bool db_recover(Db *db);
void db_set_timeout(Db *db, int milliseconds);     /* waiting for another process's lock; default 10000 */

/* ---- records: strings are borrowed on the way in, the context's on the way out ------------------------------------------ */
typedef struct { const char *device, *environment; } DbKey;

typedef struct DbDevice {
    const char *device; int units;                  /* key; units: SMs or threads */
    double copy_bandwidth, flops_fma, flops_bf16, flops_tf32, launch_seconds;
    int64_t date;                                   /* seconds since 1970 */
} DbDevice;
bool db_get_device(Db *db, const char *device, int units, DbDevice *out);
bool db_put_device(Db *db, const DbDevice *d);      /* false: diagnosed, and kept in memory; likewise below */

typedef struct DbTuning {
    DbKey key; uint64_t problem; const char *text;  /* Group.key, Group.text */
    const char *schedule; Interval us;
    const char *incumbent; double incumbent_us;     /* the untuned default, and its time beside it */
    Interval ratio;                                 /* incumbent / schedule: what tuning won */
    uint32_t tried, rejected;
    bool complete;                                  /* false: the budget ended first; `tune` goes on from here */
    int64_t date; const char *task;                 /* where it was first met: "qwen3/mlp prefill_512" */
} DbTuning;
/* exact: this environment only. Otherwise also other environments of the device whose emitter and space versions are the same,
 * newest first. */
bool db_get_tuning(Db *db, DbKey key, uint64_t problem, const char *text, bool exact, DbTuning *out);
bool db_put_tuning(Db *db, const DbTuning *t);

typedef struct DbChoice {
    DbKey key; uint64_t problem;                    /* hash of the specialised graph with its choices */
    const char *choice; uint32_t alternative;       /* id; the winner */
    uint32_t n; double us[DB_MAX_ALTERNATIVES];     /* median of each alternative; NaN: none */
    Interval ratio;                                 /* best other alternative (or the default) / winner */
    uint32_t against;                               /* the alternative that `ratio` compares with */
    bool complete; int64_t date; const char *task;
} DbChoice;
bool db_get_choice(Db *db, DbKey key, uint64_t problem, const char *choice, bool exact, DbChoice *out);
bool db_put_choice(Db *db, const DbChoice *c);

typedef struct DbMeasurement {
    DbKey key; uint64_t problem; const char *what;  /* schedule, or choice=alternative */
    const char *outcome;                            /* "ok", "wrong result", "illegal schedule", "spills", "launch failed" … */
    Interval us; uint32_t samples; int64_t date;
} DbMeasurement;
bool db_put_measurements(Db *db, const DbMeasurement *m, uint32_t n);     /* one transaction */

/* ---- `pawl db` ----------------------------------------------------------------------------------------------------------------- */
typedef struct { int64_t devices, tunings, choices, measurements, bytes; } DbCounts;
bool db_count(Db *db, DbCounts *out);
DbDevice *db_list_devices(Db *db, uint32_t *n);
/* device NULL: all; newest first */
DbTuning *db_list_tunings(Db *db, const char *device, uint32_t *n);
DbChoice *db_list_choices(Db *db, const char *device, uint32_t *n);
DbMeasurement *db_list_measurements(Db *db, uint64_t problem, uint32_t *n);    /* of one problem, oldest first */

/* Everything but the measurement log as one JSON document (text in the arena): {"pawl_tuning": 1, "devices": […], "tunings": […], "choices": […]}.
 * Import merges; of two entries with one key the newer date wins. False: diagnosed (PAWL_EXIT_INVALID), nothing imported. */
char *db_export_json(Db *db, const char *device, Arena *a);
bool  db_import_json(Db *db, const char *json, size_t len, const char *file_name, uint32_t *n_imported);

/* Deletes entries of a device (NULL: any) older than `before` (0: any age). */
bool db_forget(Db *db, const char *device, int64_t before, DbCounts *forgotten);
bool db_vacuum(Db *db);
