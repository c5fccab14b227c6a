/* autotune/db_internal.h — what the files of the database share: the connection and its statements. */
#pragma once
#include "autotune/db.h"
#include <sqlite3.h>

struct Db {
    Context *cx;
    sqlite3 *sql;
    const char *path;               /* NULL: memory from the start */
    DbMode mode;
    int  timeout;                   /* milliseconds */
    bool lost;                      /* moved into memory */
    bool in_memory;
};

/* A prepared statement with its arguments, one letter each: s text (NULL allowed), i int64, d double (NaN: NULL), b bool as int. NULL: failed. */
sqlite3_stmt *db_prepare(Db *db, const char *sql, const char *types, ...);
/* One row written. False: diagnosed, and the database is in memory now, where db_atomically tries again. */
bool db_write(Db *db, const char *sql, const char *types, ...);
/* Runs `body` in a transaction. Where the disk fails it is run again in memory, and the answer is false. */
bool db_atomically(Db *db, bool (*body)(Db *db, void *arg), void *arg);
/* Diagnoses the connection's last error and moves into memory. */
void db_failed(Db *db, const char *doing);
bool db_exec(Db *db, const char *sql);              /* quiet; result in sqlite3_errcode */
const char *db_column_text(Db *db, sqlite3_stmt *st, int column);      /* in the context's arena; NULL for NULL */
double db_column_double(sqlite3_stmt *st, int column);                 /* NaN for NULL */
