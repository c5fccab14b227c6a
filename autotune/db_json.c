/* autotune/db_json.c — the database as one JSON document, and back. Problem keys are hexadecimal text, because JSON's readers
 * may keep numbers as doubles; times are microseconds; a figure that is missing is null. */
#include "autotune/db_internal.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT_VERSION 1

/* ---- out ------------------------------------------------------------------------------------- */

static json_t *number(double v) { return isfinite(v) ? json_real(v) : json_null(); }
static json_t *text(const char *s) { return s ? json_string(s) : json_null(); }
static json_t *interval(Interval i) { return json_pack("[o,o,o]", number(i.value), number(i.lo), number(i.hi)); }
static json_t *hex(uint64_t v)
{
    char s[24];
    snprintf(s, sizeof s, "0x%016llx", (unsigned long long)v);
    return json_string(s);
}

static json_t *device_to_json(const DbDevice *d)
{
    return json_pack("{s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:I}", "device", d->device, "units", d->units,
                     "copy_bandwidth", number(d->copy_bandwidth), "flops_fma", number(d->flops_fma),
                     "flops_bf16", number(d->flops_bf16), "flops_tf32", number(d->flops_tf32),
                     "launch_seconds", number(d->launch_seconds), "date", (json_int_t)d->date);
}

static json_t *tuning_to_json(const DbTuning *t)
{
    return json_pack("{s:s, s:s, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:i, s:i, s:b, s:I, s:o}", "device",
                     t->key.device, "environment", t->key.environment, "problem", hex(t->problem), "text",
                     t->text, "schedule", t->schedule, "us", interval(t->us), "incumbent",
                     text(t->incumbent), "incumbent_us", number(t->incumbent_us), "ratio",
                     interval(t->ratio), "tried", (int)t->tried, "rejected", (int)t->rejected, "complete",
                     (int)t->complete, "date", (json_int_t)t->date, "task", text(t->task));
}

static json_t *choice_to_json(const DbChoice *c)
{
    json_t *us = json_array();
    for (uint32_t i = 0; i < c->n; i++)
        json_array_append_new(us, number(c->us[i]));
    return json_pack("{s:s, s:s, s:o, s:s, s:i, s:o, s:o, s:i, s:b, s:I, s:o}", "device", c->key.device,
                     "environment", c->key.environment, "problem", hex(c->problem), "choice", c->choice,
                     "alternative", (int)c->alternative, "us", us, "ratio", interval(c->ratio), "against",
                     (int)c->against, "complete", (int)c->complete, "date", (json_int_t)c->date, "task",
                     text(c->task));
}

char *db_export_json(Db *db, const char *device, Arena *a)
{
    json_t *devices = json_array(), *tunings = json_array(), *choices = json_array();
    uint32_t n;

    DbDevice *d = db_list_devices(db, &n);
    for (uint32_t i = 0; i < n; i++)
        if (!device || !strcmp(device, d[i].device))
            json_array_append_new(devices, device_to_json(&d[i]));
    DbTuning *t = db_list_tunings(db, device, &n);
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(tunings, tuning_to_json(&t[i]));
    DbChoice *c = db_list_choices(db, device, &n);
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(choices, choice_to_json(&c[i]));

    json_t *root = json_pack("{s:i, s:o, s:o, s:o}", "pawl_tuning", FORMAT_VERSION, "devices", devices,
                             "tunings", tunings, "choices", choices);
    char *dumped = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
    json_decref(root);
    char *out = dumped ? arena_printf(a, "%s\n", dumped) : NULL;
    free(dumped);
    return out;
}

/* ---- in: every field checked, the whole document before the first row is written ------------- */

typedef struct { Db *db; const char *file, *list; size_t index; bool bad; } Reader;

static const json_t *field(Reader *r, const json_t *object, const char *key, bool (*fits)(const json_t *),
                           const char *expected)
{
    const json_t *v = json_object_get(object, key);
    if (v && fits(v))
        return v;
    if (!r->bad)
        diag_error(r->db->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "%s: %s[%zu].%s: %s expected%s",
                   r->file, r->list, r->index, key, expected, v ? "" : ", but it is missing");
    r->bad = true;
    return NULL;
}

static bool is_text(const json_t *v) { return json_is_string(v); }
static bool is_text_or_null(const json_t *v) { return json_is_string(v) || json_is_null(v); }
static bool is_number(const json_t *v) { return json_is_number(v) || json_is_null(v); }
static bool is_count(const json_t *v)
{
    return json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= INT32_MAX;
}
static bool is_date(const json_t *v) { return json_is_integer(v) && json_integer_value(v) > 0; }
static bool is_bool(const json_t *v) { return json_is_boolean(v); }
static bool is_interval(const json_t *v)
{
    return json_is_array(v) && json_array_size(v) == 3 && is_number(json_array_get(v, 0)) &&
           is_number(json_array_get(v, 1)) && is_number(json_array_get(v, 2));
}
static bool is_times(const json_t *v)
{
    size_t n = json_array_size(v);
    for (size_t i = 0; i < n; i++)
        if (!is_number(json_array_get(v, i)))
            return false;
    return json_is_array(v) && n >= 1 && n <= DB_MAX_ALTERNATIVES;
}
static bool is_hex(const json_t *v)
{
    const char *s = json_string_value(v);
    return s && !strncmp(s, "0x", 2) && strlen(s) == 18 && strspn(s + 2, "0123456789abcdef") == 16;
}

static double number_of(const json_t *v) { return json_is_number(v) ? json_number_value(v) : NAN; }
static Interval interval_of(const json_t *v)
{
    return (Interval){number_of(json_array_get(v, 0)), number_of(json_array_get(v, 1)),
                      number_of(json_array_get(v, 2))};
}

static const char *get_text(Reader *r, const json_t *o, const char *key)
{
    return json_string_value(field(r, o, key, is_text, "a text"));
}
static const char *get_text_or_null(Reader *r, const json_t *o, const char *key)
{
    return json_string_value(field(r, o, key, is_text_or_null, "a text or null"));
}
static double get_number(Reader *r, const json_t *o, const char *key)
{
    return number_of(field(r, o, key, is_number, "a number or null"));
}
static int get_count(Reader *r, const json_t *o, const char *key)
{
    return (int)json_integer_value(field(r, o, key, is_count, "a count"));
}
static int64_t get_date(Reader *r, const json_t *o)
{
    return json_integer_value(field(r, o, "date", is_date, "seconds since 1970"));
}
static bool get_bool(Reader *r, const json_t *o, const char *key)
{
    return json_is_true(field(r, o, key, is_bool, "true or false"));
}
static Interval get_interval(Reader *r, const json_t *o, const char *key)
{
    return interval_of(field(r, o, key, is_interval, "[value, low, high]"));
}
static uint64_t get_problem(Reader *r, const json_t *o)
{
    const json_t *v = field(r, o, "problem", is_hex, "\"0x\" and 16 hexadecimal digits");
    return v ? strtoull(json_string_value(v), NULL, 16) : 0;
}

static bool import_device(Reader *r, const json_t *o, bool write)
{
    DbDevice old, d = {.device = get_text(r, o, "device"),
                       .units = get_count(r, o, "units"),
                       .copy_bandwidth = get_number(r, o, "copy_bandwidth"),
                       .flops_fma = get_number(r, o, "flops_fma"),
                       .flops_bf16 = get_number(r, o, "flops_bf16"),
                       .flops_tf32 = get_number(r, o, "flops_tf32"),
                       .launch_seconds = get_number(r, o, "launch_seconds"),
                       .date = get_date(r, o)};
    if (r->bad || !write)
        return !r->bad;
    if (db_get_device(r->db, d.device, d.units, &old) && old.date >= d.date)
        return false;
    return db_put_device(r->db, &d);
}

static bool import_tuning(Reader *r, const json_t *o, bool write)
{
    DbTuning old, t = {.key = {get_text(r, o, "device"), get_text(r, o, "environment")},
                       .problem = get_problem(r, o),
                       .text = get_text(r, o, "text"),
                       .schedule = get_text(r, o, "schedule"),
                       .us = get_interval(r, o, "us"),
                       .incumbent = get_text_or_null(r, o, "incumbent"),
                       .incumbent_us = get_number(r, o, "incumbent_us"),
                       .ratio = get_interval(r, o, "ratio"),
                       .tried = (uint32_t)get_count(r, o, "tried"),
                       .rejected = (uint32_t)get_count(r, o, "rejected"),
                       .complete = get_bool(r, o, "complete"),
                       .date = get_date(r, o),
                       .task = get_text_or_null(r, o, "task")};
    if (r->bad || !write)
        return !r->bad;
    if (db_get_tuning(r->db, t.key, t.problem, t.text, true, &old) && old.date >= t.date)
        return false;
    return db_put_tuning(r->db, &t);
}

static bool import_choice(Reader *r, const json_t *o, bool write)
{
    DbChoice old, c = {.key = {get_text(r, o, "device"), get_text(r, o, "environment")},
                       .problem = get_problem(r, o),
                       .choice = get_text(r, o, "choice"),
                       .alternative = (uint32_t)get_count(r, o, "alternative"),
                       .ratio = get_interval(r, o, "ratio"),
                       .against = (uint32_t)get_count(r, o, "against"),
                       .complete = get_bool(r, o, "complete"),
                       .date = get_date(r, o),
                       .task = get_text_or_null(r, o, "task")};
    const json_t *us = field(r, o, "us", is_times, "an array of 1 to 8 numbers");
    for (; us && c.n < json_array_size(us); c.n++)
        c.us[c.n] = number_of(json_array_get(us, c.n));
    if (r->bad || !write)
        return !r->bad;
    if (db_get_choice(r->db, c.key, c.problem, c.choice, true, &old) && old.date >= c.date)
        return false;
    return db_put_choice(r->db, &c);
}

static const struct {
    const char *list;
    bool (*import)(Reader *, const json_t *, bool write);
} lists[] = {{"devices", import_device}, {"tunings", import_tuning}, {"choices", import_choice}};

/* Checks all entries, or writes those that are news; false: something was wrong. */
static bool import_all(Db *db, const json_t *root, const char *file, bool write, uint32_t *n)
{
    for (size_t l = 0; l < sizeof lists / sizeof *lists; l++) {
        const json_t *list = json_object_get(root, lists[l].list);
        if (!json_is_array(list))
            return diag_error(db->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "%s: no list \"%s\"", file,
                              lists[l].list);
        Reader r = {.db = db, .file = file, .list = lists[l].list};
        for (; r.index < json_array_size(list); r.index++) {
            bool done = lists[l].import(&r, json_array_get(list, r.index), write);
            if (r.bad)
                return false;
            *n += write && done;
        }
    }
    return true;
}

bool db_import_json(Db *db, const char *json, size_t len, const char *file_name, uint32_t *n_imported)
{
    json_error_t error;
    json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &error);
    Diags *d = db->cx->diags;
    bool ok = true;

    *n_imported = 0;
    if (!root)
        return diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "%s:%d:%d: not JSON: %s", file_name,
                          error.line, error.column, error.text);
    const json_t *version = json_object_get(root, "pawl_tuning");
    if (!json_is_integer(version))
        ok = diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, "`pawl db export` writes them",
                        "%s is no export of a tuning database", file_name);
    else if (json_integer_value(version) > FORMAT_VERSION)
        ok = diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, NULL,
                        "%s was exported by a newer Pawl (format %lld; this one knows %d)", file_name,
                        (long long)json_integer_value(version), FORMAT_VERSION);
    ok = ok && import_all(db, root, file_name, false, n_imported) &&
         import_all(db, root, file_name, true, n_imported);
    json_decref(root);
    return ok && !db_lost_disk(db);
}
