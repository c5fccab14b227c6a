/* cli/table.h — results as rows and columns, printed as aligned text, CSV or JSON. */
#pragma once
#include "base/arena.h"
#include "cli/options.h"
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

/* key: name in JSON and CSV, units included ("median_us"). heading: in text; NULL: not shown there.
 * decimals of reals in text; below zero: in scientific notation, with as many. */
typedef struct { const char *key, *heading; enum { COL_TEXT, COL_INT, COL_REAL, COL_BOOL } kind; int decimals; } Column;

typedef struct Table Table;
Table *table_new(Arena *a, const Column *columns, uint32_t n);
/* Cells in the order of the columns, row after row. NULL and NaN are empty cells (null in JSON). */
void   table_text(Table *t, const char *s);
void   table_textf(Table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void   table_int(Table *t, int64_t v);
void   table_real(Table *t, double v);
void   table_bool(Table *t, bool v);
uint32_t table_rows(const Table *t);

void    table_print(const Table *t, FILE *to, Format f);
json_t *table_json(const Table *t);                  /* array of objects */

/* Prints and frees a JSON value: indented, keys in order of insertion, a newline at the end. */
void    json_print(json_t *j, FILE *to);
json_t *json_number(double v);                       /* null unless finite */
json_t *json_text(const char *s);                    /* null for NULL; invalid UTF-8 is escaped */

/* "1.5 KB", "33.6 MB"; "812 ns", "12.7 us", "3.1 ms", "2.04 s" */
char *human_bytes(Arena *a, double bytes);
char *human_seconds(Arena *a, double seconds);
