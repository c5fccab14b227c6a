/* cli/db.c — `pawl db`: the tuning database. */
#include "autotune/db.h"
#include "autotune/device.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/table.h"
#include <math.h>
#include <string.h>
#include <time.h>

#define FIELD(f) offsetof(Options, f)

static const Option rows[] = {
    {0, "db", OPT_TEXT, FIELD(db), "PATH",
     "The database. Default: $PAWL_DB, else in the cache folder.", COMPLETE_FILE},
    {0, "for", OPT_TEXT, FIELD(for_device), "DEVICE",
     "Only what belongs to a device, by its full name (\"NVIDIA H200\")."},
    {0, "before", OPT_TEXT, FIELD(before), "YYYY-MM-DD", "forget: only what is older."},
    {0, "all", OPT_FLAG, FIELD(everything), NULL, "forget: really everything, of all devices."},
    {'o', "output", OPT_LIST, FIELD(out), "FILE", "export: where it goes. Default: stdout.",
     COMPLETE_FILE},
};
static const OptionGroup own = OPTION_GROUP("Database", rows);

static const Column tuning_columns[] = {
    {"problem", "problem", COL_TEXT},
    {"task", "task", COL_TEXT},
    {"device", "device", COL_TEXT},
    {"schedule", "schedule", COL_TEXT},
    {"us", "us", COL_REAL, 2},
    {"us_low", NULL, COL_REAL},
    {"us_high", NULL, COL_REAL},
    {"incumbent", NULL, COL_TEXT},
    {"incumbent_us", "default us", COL_REAL, 2},
    {"ratio", "ratio", COL_REAL, 3},
    {"ratio_low", NULL, COL_REAL},
    {"ratio_high", NULL, COL_REAL},
    {"tried", "tried", COL_INT},
    {"rejected", "rejected", COL_INT},
    {"complete", "complete", COL_BOOL},
    {"date", "date", COL_TEXT},
    {"environment", NULL, COL_TEXT},
    {"text", NULL, COL_TEXT},
};
static const Column choice_columns[] = {
    {"problem", "problem", COL_TEXT},   {"task", "task", COL_TEXT},
    {"device", "device", COL_TEXT},     {"choice", "choice", COL_TEXT},
    {"alternative", "picked", COL_INT}, {"us", "us of each", COL_TEXT},
    {"ratio", "ratio", COL_REAL, 3},    {"ratio_low", NULL, COL_REAL},
    {"ratio_high", NULL, COL_REAL},     {"complete", "complete", COL_BOOL},
    {"date", "date", COL_TEXT},
};
static const Column measurement_columns[] = {
    {"what", "what", COL_TEXT},     {"outcome", "outcome", COL_TEXT},
    {"us", "us", COL_REAL, 2},      {"us_low", "from", COL_REAL, 2},
    {"us_high", "to", COL_REAL, 2}, {"samples", "samples", COL_INT},
    {"date", "date", COL_TEXT},
};
static const Column device_columns[] = {
    {"device", "device", COL_TEXT},
    {"units", "units", COL_INT},
    {"copy_bytes_per_second", "copy GB/s", COL_REAL, 0},
    {"flops_fma", "fp32 TFLOP/s", COL_REAL, 1},
    {"flops_bf16", "bf16 TFLOP/s", COL_REAL, 1},
    {"flops_tf32", "tf32 TFLOP/s", COL_REAL, 1},
    {"launch_us", "launch us", COL_REAL, 2},
    {"date", "date", COL_TEXT},
};
#define NEW_TABLE(a, columns) table_new(a, columns, sizeof columns / sizeof columns[0])

static const char *date_text(Arena *a, int64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm;
    char text[32];
    if (!gmtime_r(&t, &tm) || !strftime(text, sizeof text, "%Y-%m-%d %H:%M", &tm))
        return "?";
    return arena_strdup(a, text);
}

/* ---- list, show ----------------------------------------------------------------------------- */

static Table *tunings_table(const DbTuning *list, uint32_t n, Arena *a)
{
    Table *t = NEW_TABLE(a, tuning_columns);
    for (uint32_t i = 0; i < n; i++) {
        const DbTuning *x = &list[i];
        table_textf(t, "%016llx", (unsigned long long)x->problem);
        table_text(t, x->task);
        table_text(t, x->key.device);
        table_text(t, x->schedule);
        table_real(t, x->us.value);
        table_real(t, x->us.lo);
        table_real(t, x->us.hi);
        table_text(t, x->incumbent);
        table_real(t, x->incumbent_us);
        table_real(t, x->ratio.value);
        table_real(t, x->ratio.lo);
        table_real(t, x->ratio.hi);
        table_int(t, x->tried);
        table_int(t, x->rejected);
        table_bool(t, x->complete);
        table_text(t, date_text(a, x->date));
        table_text(t, x->key.environment);
        table_text(t, x->text);
    }
    return t;
}

static Table *choices_table(const DbChoice *list, uint32_t n, Arena *a)
{
    Table *t = NEW_TABLE(a, choice_columns);
    for (uint32_t i = 0; i < n; i++) {
        const DbChoice *x = &list[i];
        StrBuf us = strbuf_new(a);
        strbuf_add(&us, "");
        for (uint32_t k = 0; k < x->n; k++)
            isnan(x->us[k]) ? strbuf_printf(&us, "%s-", k ? " | " : "")
                            : strbuf_printf(&us, "%s%.2f", k ? " | " : "", x->us[k]);
        table_textf(t, "%016llx", (unsigned long long)x->problem);
        table_text(t, x->task);
        table_text(t, x->key.device);
        table_text(t, x->choice);
        table_int(t, x->alternative);
        table_text(t, us.text);
        table_real(t, x->ratio.value);
        table_real(t, x->ratio.lo);
        table_real(t, x->ratio.hi);
        table_bool(t, x->complete);
        table_text(t, date_text(a, x->date));
    }
    return t;
}

static Table *devices_table(const DbDevice *list, uint32_t n, Arena *a, Format f)
{
    Table *t = NEW_TABLE(a, device_columns);
    double giga = f == FORMAT_TEXT ? 1e-9 : 1, tera = f == FORMAT_TEXT ? 1e-12 : 1;
    for (uint32_t i = 0; i < n; i++) {
        table_text(t, list[i].device);
        table_int(t, list[i].units);
        table_real(t, list[i].copy_bandwidth * giga);
        table_real(t, list[i].flops_fma * tera);
        table_real(t, list[i].flops_bf16 * tera);
        table_real(t, list[i].flops_tf32 * tera);
        table_real(t, list[i].launch_seconds * 1e6);
        table_text(t, date_text(a, list[i].date));
    }
    return t;
}

static void run_list(Cli *c, Db *db)
{
    Arena *a = c->cx->arena;
    Format f = (Format)c->o.format;
    uint32_t n_devices, n_tunings, n_choices;
    DbDevice *devices = db_list_devices(db, &n_devices);
    Table *d = devices_table(devices, n_devices, a, f);
    DbTuning *list = db_list_tunings(db, c->o.for_device, &n_tunings);
    Table *t = tunings_table(list, n_tunings, a);
    DbChoice *choices = db_list_choices(db, c->o.for_device, &n_choices);
    Table *k = choices_table(choices, n_choices, a);
    if (f == FORMAT_JSON) {
        json_t *j = json_object();
        json_object_set_new(j, "devices", table_json(d));
        json_object_set_new(j, "tunings", table_json(t));
        json_object_set_new(j, "choices", table_json(k));
        json_print(j, c->out);
        return;
    }
    if (!n_devices && !n_tunings && !n_choices)
        cli_say(c, "the database is empty: `pawl tune TASK` fills it");
    if (n_devices && f == FORMAT_TEXT)
        table_print(d, c->out, f), fputc('\n', c->out);
    if (n_tunings || f == FORMAT_CSV)
        table_print(t, c->out, f);
    if (n_choices && f == FORMAT_TEXT)
        fputc('\n', c->out), table_print(k, c->out, f);
}

static bool parse_problem(Cli *c, const Arg *arg, uint64_t *out)
{
    char *end;
    *out = strtoull(arg->text, &end, 16);
    if (*arg->text && !*end && strlen(arg->text) <= 16)
        return true;
    return diag_error(c->cx->diags, PAWL_EXIT_INVALID, arg->loc, "`pawl db list` shows them",
                      "not a problem's number: \"%s\"", arg->text);
}

static void run_show(Cli *c, Db *db)
{
    Arena *a = c->cx->arena;
    uint64_t problem;
    uint32_t n, n_shown = 0;
    if (c->n_args < 2) {
        diag_error(c->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, "`pawl db list` shows them",
                   "`pawl db show` needs a problem's number");
        return;
    }
    if (!parse_problem(c, &c->args[1], &problem))
        return;
    DbTuning *list = db_list_tunings(db, c->o.for_device, &n);
    for (uint32_t i = 0; i < n; i++)
        if (list[i].problem == problem)
            list[n_shown++] = list[i];
    Table *t = tunings_table(list, n_shown, a);
    DbMeasurement *log = db_list_measurements(db, problem, &n);
    Table *m = NEW_TABLE(a, measurement_columns);
    for (uint32_t i = 0; i < n; i++) {
        table_text(m, log[i].what);
        table_text(m, log[i].outcome);
        table_real(m, log[i].us.value);
        table_real(m, log[i].us.lo);
        table_real(m, log[i].us.hi);
        table_int(m, log[i].samples);
        table_text(m, date_text(a, log[i].date));
    }
    if (!n_shown && !n) {
        diag_error(c->cx->diags, PAWL_EXIT_INVALID, c->args[1].loc, "`pawl db list` shows them",
                   "the database has no problem %016llx", (unsigned long long)problem);
        return;
    }
    if (c->o.format == FORMAT_JSON) {
        json_t *j = json_object();
        json_object_set_new(j, "tunings", table_json(t));
        json_object_set_new(j, "measurements", table_json(m));
        json_print(j, c->out);
        return;
    }
    if (n_shown && c->o.format == FORMAT_TEXT) {
        fprintf(c->out, "%s\n\n", list[0].text);
        table_print(t, c->out, FORMAT_TEXT);
        fputc('\n', c->out);
    }
    table_print(m, c->out, (Format)c->o.format);
}

/* ---- export, import, forget ----------------------------------------------------------------- */

static void run_export(Cli *c, Db *db)
{
    char *text = db_export_json(db, c->o.for_device, c->cx->arena);
    if (!text)
        return;
    if (c->o.out.n)
        file_write(c->cx->diags, c->o.out.data[0], text, strlen(text));
    else
        fprintf(c->out, "%s\n", text);
}

static void run_import(Cli *c, Db *db)
{
    if (c->n_args < 2)
        diag_error(c->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, "usage: pawl db import FILE.json",
                   "`pawl db import` needs a file");
    for (uint32_t i = 1; i < c->n_args; i++) {
        size_t len;
        uint32_t n;
        char *text = file_read(c->cx->arena, c->cx->diags, c->args[i].text, &len);
        if (text && db_import_json(db, text, len, c->args[i].text, &n))
            cli_say(c, "%s: %u entries imported", c->args[i].text, n);
    }
}

static bool parse_date(Cli *c, int64_t *out)
{
    struct tm tm = {0};
    const char *end = c->o.before ? strptime(c->o.before, "%Y-%m-%d", &tm) : NULL;
    *out = 0;
    if (!c->o.before)
        return true;
    if (!end || *end)
        return diag_error(c->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL,
                          "--before takes a date as in 2026-11-20, not \"%s\"", c->o.before);
    *out = (int64_t)timegm(&tm);
    return true;
}

static void run_forget(Cli *c, Db *db)
{
    int64_t before;
    DbCounts n;
    if (!parse_date(c, &before))
        return;
    if (!c->o.for_device && !before && !c->o.everything) {
        diag_error(c->cx->diags, PAWL_EXIT_INVALID, LOC_NONE,
                   "--for DEVICE, --before DATE or --all", "`pawl db forget` needs to know what");
        return;
    }
    if (db_forget(db, c->o.for_device, before, &n) && db_vacuum(db))
        cli_say(c, "forgotten: %lld tunings, %lld choices, %lld measurements, %lld devices",
                (long long)n.tunings, (long long)n.choices, (long long)n.measurements,
                (long long)n.devices);
}

/* ---- the command ---------------------------------------------------------------------------- */

static const struct {
    const char *verb;
    DbMode mode;
    void (*run)(Cli *c, Db *db);
} verbs[] = {
    {"list", DB_READ, run_list},      {"show", DB_READ, run_show},
    {"export", DB_READ, run_export},  {"import", DB_WRITE, run_import},
    {"forget", DB_WRITE, run_forget},
};

static ExitCode run_db(Cli *c)
{
    const char *path = db_default_path(c->cx->arena, c->o.db), *verb = c->args[0].text;
    if (c->n_args > 1 && strcmp(verb, "show") != 0 && strcmp(verb, "import") != 0)
        return cli_bad_arg(c, 1, NULL, "`pawl db %s` takes no further argument", verb);
    if (!strcmp(verb, "path")) {
        fprintf(c->out, "%s\n", path);
        return PAWL_EXIT_OK;
    }
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (!strcmp(verbs[i].verb, verb)) {
            Db *db = db_open(c->cx, path, verbs[i].mode);
            if (db)
                verbs[i].run(c, db);
            db_close(db);
        }
    return cli_end(c);
}

static const OptionGroup *const groups[] = {&own, &options_general, NULL};
const Command command_db = {
    .name = "db",
    .args = "list|show PROBLEM|export|import FILE...|forget|path",
    .about = "Look into the tuning database.",
    .more =
        "  list            what was tuned, with devices' measured ceilings and measured choices\n"
        "  show PROBLEM    everything that was measured of one problem\n"
        "  export          all of it as JSON, to keep or to carry to another machine\n"
        "  import FILE...  merge exported entries; the newer one of two wins\n"
        "  forget          delete entries: --for DEVICE, --before DATE, --all\n"
        "  path            where the database lies",
    .verbs = "list|show|export|import|forget|path",
    .min_args = 1,
    .max_args = UINT32_MAX,
    .groups = groups,
    .run = run_db,
};
