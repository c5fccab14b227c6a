/* cli/tune.c — `pawl tune`: finds schedules and alternatives by measurement and remembers them. */
#include "autotune/ceilings.h"
#include "base/file.h"
#include "cli/job.h"
#include "cli/table.h"
#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#define FIELD(f) offsetof(Options, f)

static const Option rows[] = {
    {'b', "budget", OPT_REAL, FIELD(budget), "SECONDS",
     "Time for each task; what is not reached is left for the next run.\nDefault: 10.",
     COMPLETE_NONE, 0.01, 1e7},
    {0, "candidates", OPT_INT, FIELD(max_candidates), "N",
     "Compile and measure at most N schedules of a kernel. Default: 12.", COMPLETE_NONE, 1, 1000},
    {0, "again", OPT_FLAG, FIELD(again), NULL, "Measure also what the database knows."},
    {0, "log", OPT_TEXT, FIELD(log), "FILE", "Write one line a measurement.", COMPLETE_FILE},
};
static const OptionGroup own = OPTION_GROUP("Tuning", rows);

static const Column columns[] = {
    {"task", "task", COL_TEXT},         {"workload", "workload", COL_TEXT},
    {"problem", "problem", COL_TEXT},   {"state", "state", COL_TEXT},
    {"tried", "tried", COL_INT},        {"rejected", "rejected", COL_INT},
    {"incumbent", NULL, COL_TEXT},      {"incumbent_us", "default us", COL_REAL, 2},
    {"schedule", "schedule", COL_TEXT}, {"us", "us", COL_REAL, 2},
    {"us_low", NULL, COL_REAL},         {"us_high", NULL, COL_REAL},
    {"ratio", "ratio", COL_REAL, 3},    {"ratio_low", "from", COL_REAL, 3},
    {"ratio_high", "to", COL_REAL, 3},  {"computes", NULL, COL_TEXT},
};

/* ---- progress ------------------------------------------------------------------------------- */

typedef struct {
    Cli *cli;
    const char *task;
    uint32_t last;
} Progress;

/* What a group computes in one line: its statements without declarations and types. */
static void one_line(char *to, size_t size, const char *text)
{
    size_t n = 0;
    for (const char *line = text ? text : ""; *line;) {
        size_t len = strcspn(line, "\n"), used = strcspn(line, ":\n");
        while (*line == ' ')
            line++, len--, used--;
        while (used && line[used - 1] == ' ')
            used--;
        if (strncmp(line, "input ", 6) != 0 && strncmp(line, "return ", 7) != 0)
            n += (size_t)snprintf(to + n, size - n, "%s%.*s", n ? "; " : "", (int)used, line);
        if (n >= size)
            return;
        line += len + (line[len] == '\n');
    }
}

static void show_progress(void *arg, const TuneProgress *p)
{
    char what[64] = "";
    Progress *self = arg;
    char best[160] = "";
    if (p->best_us > 0)
        snprintf(best, sizeof best, ", best %.2f of %.2f us%s%s", p->best_us, p->default_us,
                 p->best ? " with " : "", p->best ? p->best : "");
    one_line(what, sizeof what, p->what);
    if (self->cli->terminal) {
        cli_progress(self->cli, "[%u/%u] %.1f of %.0f s, %s%s: %s", p->done, p->total, p->elapsed,
                     p->budget, p->workload ? p->workload : "", best, what);
    } else if (p->done != self->last) {
        self->last = p->done;
        cli_say(self->cli, "%s: %u of %u, %.1f s", self->task, p->done, p->total, p->elapsed);
    }
}

/* ---- results -------------------------------------------------------------------------------- */

static void add_groups(Table *t, const Task *task, const TuneReport *r)
{
    for (uint32_t i = 0; i < r->groups.n; i++) {
        const TunedGroup *g = &r->groups.data[i];
        table_text(t, task->name);
        table_text(t, g->workload);
        table_textf(t, "%016llx", (unsigned long long)g->problem);
        table_text(t, g->hit         ? "known"
                      : !g->schedule ? "not reached"
                      : g->complete  ? "tuned"
                                     : "begun");
        table_int(t, g->tried);
        table_int(t, g->rejected);
        table_text(t, g->incumbent);
        table_real(t, g->incumbent_us > 0 ? g->incumbent_us : NAN);
        table_text(t, g->schedule);
        table_real(t, g->schedule ? g->us.value : NAN);
        table_real(t, g->schedule ? g->us.lo : NAN);
        table_real(t, g->schedule ? g->us.hi : NAN);
        table_real(t, g->schedule ? g->ratio.value : NAN);
        table_real(t, g->schedule ? g->ratio.lo : NAN);
        table_real(t, g->schedule ? g->ratio.hi : NAN);
        table_text(t, g->text);
    }
}

static void add_choices(Table *t, const Task *task, const TuneReport *r)
{
    for (uint32_t i = 0; i < r->choices.n; i++) {
        const TunedChoice *x = &r->choices.data[i];
        bool known = x->alternative < x->n && x->complete;
        table_text(t, task->name);
        table_text(t, x->workload);
        table_text(t, x->choice);
        table_text(t, x->hit ? "known" : x->complete ? "tuned" : "not reached");
        table_int(t, x->n);
        table_int(t, 0);
        table_text(t, "0");
        table_real(t, x->n ? x->us[0] : NAN);
        table_textf(t, "alternative %u", x->alternative);
        table_real(t, known ? x->us[x->alternative] : NAN);
        table_real(t, NAN);
        table_real(t, NAN);
        table_real(t, known ? x->ratio.value : NAN);
        table_real(t, known ? x->ratio.lo : NAN);
        table_real(t, known ? x->ratio.hi : NAN);
        table_text(t, x->evidence);
    }
}

static void say_result(Cli *c, const Job *j, const TuneReport *r)
{
    for (uint32_t i = 0; i < r->rejected.n; i++)
        cli_detail(c, "rejected: %s, %s: %s", r->rejected.data[i].workload,
                   r->rejected.data[i].schedule, r->rejected.data[i].why);
    if (r->wrong)
        diag_warn(j->cx->diags, LOC_NONE,
                  "%s: %u candidates gave a wrong result and were rejected (see --verbose)",
                  j->task->name, r->wrong);
    cli_say(
        c,
        "%s on %s: %u tuned, %u known, %u left; %.1f s, of which compiling %.1f, measuring %.1f%s",
        j->task->name, j->device.name, r->tuned, r->hits, r->unfinished, r->seconds,
        r->seconds_compile, r->seconds_measure,
        r->touched_device ? "" : "; the device was not touched");
    if (r->unfinished && !r->stopped)
        cli_say(c, "the budget ended first: run it again, or with a larger --budget, to go on");
}

/* Results that did not reach the disk are not lost: they go beside, as what `pawl db import` reads. */
static void save_elsewhere(Job *j)
{
    if (!j->db || !db_lost_disk(j->db))
        return;
    char *text = db_export_json(j->db, NULL, j->cx->arena);
    const char *places[] = {".", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp"};
    for (size_t i = 0; text && i < 2; i++) {
        const char *path =
            arena_printf(j->cx->arena, "%s/pawl-tuning-%ld.json", places[i], (long)getpid());
        Diags *quiet = diags_new(j->cx->arena);
        if (file_write(quiet, path, text, strlen(text))) {
            cli_say(j->cli, "the results were saved to %s: `pawl db import` takes them", path);
            return;
        }
    }
    cli_say(j->cli, "the results follow; save them for `pawl db import`");
    fprintf(j->cli->out, "%s\n", text ? text : "");
}

/* ---- the command ---------------------------------------------------------------------------- */

static FILE *open_log(Cli *c)
{
    FILE *f = c->o.log ? fopen(c->o.log, "w") : NULL;
    if (c->o.log && !f)
        diag_error(c->cx->diags, PAWL_EXIT_IO, LOC_NONE, NULL, "cannot write %s: %s", c->o.log,
                   strerror(errno));
    return f;
}

static void close_log(Cli *c, FILE *f)
{
    int error = !f ? 0 : fflush(f) ? errno : ferror(f) ? EIO : 0;
    if (error)
        diag_error(c->cx->diags, PAWL_EXIT_IO, LOC_NONE, NULL, "cannot write %s: %s", c->o.log,
                   strerror(error));
    if (f)
        fclose(f);
}

static void tune_one(Cli *c, const Arg *path, FILE *log, Table *t)
{
    Job j;
    ChoicePick *picks;
    uint32_t n_picks;
    if (job_open(c, path, DB_WRITE, &j) && job_can_run(&j, "tuned") && job_all_picks(&j, &picks, &n_picks) && job_check_picks(&j) &&
        job_measure_machine(&j)) {
        Progress progress = {c, j.task->name, 0};
        TuneOptions o = {
            .compile = j.options,
            .device = j.device,
            .db = j.db,
            .budget_seconds = c->o.budget,
            .max_candidates = (uint32_t)c->o.max_candidates,
            .threads = (int)c->o.threads,
            .again = c->o.again,
            .progress = show_progress,
            .progress_arg = &progress,
            .stop = &cli_stop,
            .log = log,
            .seed = j.task->seed,
        };
        o.compile.codegen.schedules = (ScheduleSource){0};
        o.compile.no_weights = false;
        o.compile.picks = picks;
        o.compile.n_picks = n_picks;
        TuneReport r = {0};
        tune_task(j.cx, j.task, j.workloads, j.n_workloads, &o, &r);
        cli_progress_end(c);
        add_groups(t, j.task, &r);
        add_choices(t, j.task, &r);
        say_result(c, &j, &r);
        save_elsewhere(&j);
    }
    job_close(&j);
}

static ExitCode run_tune(Cli *c)
{
    Table *t = table_new(c->cx->arena, columns, sizeof columns / sizeof columns[0]);
    FILE *log = open_log(c);
    if (c->o.log && !log)
        return cli_end(c);
    for (uint32_t i = 0; i < c->n_args && !cli_stopped(c); i++)
        tune_one(c, &c->args[i], log, t);
    if (table_rows(t))
        table_print(t, c->out, (Format)c->o.format);
    close_log(c, log);
    return cli_end(c);
}

static const OptionGroup *const groups[] = {
    &own,
    &options_workload,
    &options_device,
    &options_compile,
    &options_passes,
    &options_database,
    &options_general,
    NULL,
};
const Command command_tune = {
    .name = "tune",
    .args = "TASK...",
    .about = "Measure schedules and choices on the device, and remember the best.",
    .more = "What was tuned once is not measured again; an interrupted run goes on where it "
            "stopped.\n\n"
            "  pawl tune tasks/qwen3/*.yaml --budget 10",
    .min_args = 1,
    .max_args = UINT32_MAX,
    .groups = groups,
    .run = run_tune,
};
