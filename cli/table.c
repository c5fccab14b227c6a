/* cli/table.c — see table.h. */
#include "cli/table.h"
#include "base/str.h"
#include "base/vec.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *text;
    double real;
    int64_t integer;
    bool empty;
} Cell;

struct Table {
    Arena *arena;
    const Column *columns;
    uint32_t n_columns;
    Vec(Cell) cells;
};

Table *table_new(Arena *a, const Column *columns, uint32_t n)
{
    Table *t = arena_new_of(a, Table);
    *t = (Table){.arena = a, .columns = columns, .n_columns = n};
    return t;
}

static void add(Table *t, Cell c) { vec_push(t->arena, &t->cells, c); }

void table_text(Table *t, const char *s)
{
    add(t, (Cell){.text = s ? arena_strdup(t->arena, s) : NULL, .empty = !s});
}

void table_textf(Table *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(t, (Cell){.text = arena_vprintf(t->arena, fmt, ap)});
    va_end(ap);
}

void table_int(Table *t, int64_t v) { add(t, (Cell){.integer = v, .real = (double)v}); }
void table_real(Table *t, double v) { add(t, (Cell){.real = v, .empty = isnan(v)}); }
void table_bool(Table *t, bool v) { add(t, (Cell){.integer = v}); }
uint32_t table_rows(const Table *t) { return t->n_columns ? t->cells.n / t->n_columns : 0; }

/* A cell as people read it (rounded) or as programs do. */
static const char *cell_text(const Table *t, const Column *k, const Cell *c, bool human)
{
    if (c->empty)
        return human ? "-" : "";
    switch (k->kind) {
    case COL_TEXT: return c->text;
    case COL_INT: return arena_printf(t->arena, "%lld", (long long)c->integer);
    case COL_BOOL:
        if (human)
            return c->integer ? "yes" : "no";
        return c->integer ? "true" : "false";
    case COL_REAL: break;
    }
    if (human && isfinite(c->real))
        return k->decimals < 0 ? arena_printf(t->arena, "%.*e", -k->decimals, c->real)
                               : arena_printf(t->arena, "%.*f", k->decimals, c->real);
    StrBuf b = strbuf_new(t->arena);
    strbuf_double(&b, c->real);
    return b.text;
}

static size_t width_of(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void print_padded(FILE *to, const char *s, size_t width, bool right, bool last)
{
    size_t have = width_of(s), pad = have < width ? width - have : 0;
    if (right)
        fprintf(to, "%*s%s", (int)pad, "", s);
    else
        fprintf(to, "%s%*s", s, last ? 0 : (int)pad, "");
}

static void print_text(const Table *t, FILE *to)
{
    uint32_t n = t->n_columns, rows = table_rows(t);
    size_t *width = arena_new_array(t->arena, size_t, n);
    const char **text = arena_new_array(t->arena, const char *, (rows + 1) * n);
    uint32_t last = 0;
    for (uint32_t k = 0; k < n; k++) {
        if (!t->columns[k].heading)
            continue;
        last = k;
        for (uint32_t r = 0; r <= rows; r++) {
            const char *s = r ? cell_text(t, &t->columns[k], &t->cells.data[(r - 1) * n + k], true)
                              : t->columns[k].heading;
            text[r * n + k] = s;
            if (width_of(s) > width[k])
                width[k] = width_of(s);
        }
    }
    for (uint32_t r = 0; r <= rows; r++) {
        for (uint32_t k = 0; k < n; k++) {
            if (!t->columns[k].heading)
                continue;
            bool right = t->columns[k].kind == COL_INT || t->columns[k].kind == COL_REAL;
            print_padded(to, text[r * n + k], width[k], right, k == last);
            fputs(k == last ? "\n" : "  ", to);
        }
    }
}

static void print_csv_cell(FILE *to, const char *s)
{
    if (!strpbrk(s, ",\"\r\n")) {
        fputs(s, to);
        return;
    }
    fputc('"', to);
    for (; *s; s++)
        *s == '"' ? fputs("\"\"", to) : fputc(*s, to);
    fputc('"', to);
}

static void print_csv(const Table *t, FILE *to)
{
    uint32_t n = t->n_columns;
    for (uint32_t r = 0; r <= table_rows(t); r++)
        for (uint32_t k = 0; k < n; k++) {
            print_csv_cell(to,
                           r ? cell_text(t, &t->columns[k], &t->cells.data[(r - 1) * n + k], false)
                             : t->columns[k].key);
            fputc(k + 1 < n ? ',' : '\n', to);
        }
}

static json_t *cell_json(const Column *k, const Cell *c)
{
    if (c->empty)
        return json_null();
    switch (k->kind) {
    case COL_TEXT: return json_text(c->text);
    case COL_INT: return json_integer(c->integer);
    case COL_REAL: return json_number(c->real);
    case COL_BOOL: return json_boolean(c->integer);
    }
    return json_null();
}

json_t *table_json(const Table *t)
{
    json_t *list = json_array();
    for (uint32_t r = 0; r < table_rows(t); r++) {
        json_t *row = json_object();
        for (uint32_t k = 0; k < t->n_columns; k++)
            json_object_set_new(row, t->columns[k].key,
                                cell_json(&t->columns[k], &t->cells.data[r * t->n_columns + k]));
        json_array_append_new(list, row);
    }
    return list;
}

void table_print(const Table *t, FILE *to, Format f)
{
    switch (f) {
    case FORMAT_TEXT: print_text(t, to); break;
    case FORMAT_CSV: print_csv(t, to); break;
    case FORMAT_JSON: json_print(table_json(t), to); break;
    }
}

/* ---- JSON and human figures ----------------------------------------------------------------- */

static int json_write(const char *buffer, size_t size, void *to)
{
    return fwrite(buffer, 1, size, to) == size ? 0 : -1;
}

void json_print(json_t *j, FILE *to)
{
    json_dump_callback(j, json_write, to, JSON_INDENT(2) | JSON_ENCODE_ANY);
    fputc('\n', to);
    json_decref(j);
}

json_t *json_number(double v) { return isfinite(v) ? json_real(v) : json_null(); }

json_t *json_text(const char *s)
{
    json_t *j = s ? json_string(s) : json_null();
    if (j)
        return j;
    Arena *a = arena_new();
    StrBuf b = strbuf_new(a);
    strbuf_add(&b, "");
    for (; s && *s; s++)
        (unsigned char)*s < 0x80 ? strbuf_char(&b, *s)
                                 : strbuf_printf(&b, "\\x%02x", (unsigned char)*s);
    j = json_string(b.text);
    arena_free(a);
    return j;
}

char *human_bytes(Arena *a, double bytes)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    uint32_t u = 0;
    while (bytes >= 999.5 && u < 4)
        bytes /= 1000, u++;
    return arena_printf(a, u && bytes < 100 ? "%.1f %s" : "%.0f %s", bytes, units[u]);
}

char *human_seconds(Arena *a, double s)
{
    if (s < 1e-6)
        return arena_printf(a, "%.0f ns", s * 1e9);
    if (s < 1e-3)
        return arena_printf(a, "%.1f us", s * 1e6);
    if (s < 1)
        return arena_printf(a, "%.1f ms", s * 1e3);
    return arena_printf(a, "%.2f s", s);
}
