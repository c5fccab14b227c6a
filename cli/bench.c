/* cli/bench.c — `pawl bench`: how fast a task's workloads run, against their floor and against unfused code. */
#include "autotune/bench.h"
#include "base/file.h"
#include "cli/job.h"
#include "cli/table.h"
#include <math.h>
#include <string.h>

#define FIELD(f) offsetof(Options, f)

static const Option rows[] = {
    {'r', "runs", OPT_INT, FIELD(runs), "N",
     "Measure N pairs of fused and unfused, interleaved. Default: 30.", COMPLETE_NONE, 2, 100000},
    {0, "warmup", OPT_INT, FIELD(warmup), "N",
     "Run N pairs that do not count before them. Default: 0; loading and sizing\nbatches have run "
     "each a few times by then.",
     COMPLETE_NONE, 0, 100000},
    {0, "max-seconds", OPT_REAL, FIELD(max_seconds), "S",
     "Time at most S seconds a workload. Default: 5.", COMPLETE_NONE, 0.01, 1e6},
    {0, "no-unfused", OPT_FLAG, FIELD(no_unfused), NULL, "Leave the unfused code out."},
    {0, "export-json", OPT_TEXT, FIELD(export_json), "FILE", "Write the rows, samples and all.",
     COMPLETE_FILE},
};
static const OptionGroup own = OPTION_GROUP("Measurement", rows);

static const Column columns[] = {
    {"task", "task", COL_TEXT},
    {"workload", "workload", COL_TEXT},
    {"device", NULL, COL_TEXT},
    {"median_us", "us", COL_REAL, 2},
    {"low_us", "from", COL_REAL, 2},
    {"high_us", "to", COL_REAL, 2},
    {"p10_us", NULL, COL_REAL},
    {"p90_us", NULL, COL_REAL},
    {"samples", "samples", COL_INT},
    {"unfused_us", "unfused us", COL_REAL, 2},
    {"speedup", "speedup", COL_REAL, 2},
    {"speedup_low", NULL, COL_REAL},
    {"speedup_high", NULL, COL_REAL},
    {"floor_us", "floor us", COL_REAL, 2},
    {"ratio_to_floor", "x floor", COL_REAL, 2},
    {"bound", "bound", COL_TEXT},
    {"launches", "launches", COL_INT},
    {"unfused_launches", NULL, COL_INT},
    {"bytes_per_second", NULL, COL_REAL},
    {"flops_per_second", NULL, COL_REAL},
    {"tuned_groups", "tuned", COL_INT},
    {"groups", "of", COL_INT},
    {"failed", NULL, COL_TEXT},
};

static void add_row(Table *t, const BenchRow *r)
{
    bool unfused = r->unfused_us.value > 0;
    table_text(t, r->task);
    table_text(t, r->workload);
    table_text(t, r->device);
    table_real(t, r->failed ? NAN : r->us.value);
    table_real(t, r->failed ? NAN : r->us.lo);
    table_real(t, r->failed ? NAN : r->us.hi);
    table_real(t, r->failed ? NAN : r->p10_us);
    table_real(t, r->failed ? NAN : r->p90_us);
    table_int(t, r->samples);
    table_real(t, unfused ? r->unfused_us.value : NAN);
    table_real(t, unfused ? r->speedup.value : NAN);
    table_real(t, unfused ? r->speedup.lo : NAN);
    table_real(t, unfused ? r->speedup.hi : NAN);
    table_real(t, r->floor.seconds * 1e6);
    table_real(t, r->failed ? NAN : r->ratio_to_floor);
    table_text(t, r->floor.bound);
    table_int(t, r->launches);
    table_int(t, r->unfused_launches);
    table_real(t, r->failed ? NAN : r->bytes_second);
    table_real(t, r->failed ? NAN : r->flops_second);
    table_int(t, r->tuned_groups);
    table_int(t, r->groups);
    table_text(t, r->failed);
}

/* --export-json: the table's rows, each with its samples. */
static json_t *export_json(const Table *t, json_t *samples)
{
    json_t *rows_json = table_json(t), *row;
    size_t i;
    json_array_foreach (rows_json, i, row)
        json_object_set(row, "samples_us", json_array_get(samples, i));
    return rows_json;
}

static json_t *samples_json(const BenchRow *r)
{
    json_t *list = json_array();
    for (uint32_t i = 0; r->samples_us && i < r->samples; i++)
        json_array_append_new(list, json_number(r->samples_us[i]));
    return list;
}

/* hyperfine's warning: a median that half of the samples do not agree with deserves a second look. */
static void warn_noise(Job *j, const BenchRow *r)
{
    if (!r->failed && r->us.value > 0 && (r->p90_us - r->p10_us) / r->us.value > 0.5)
        diag_warn(j->cx->diags, LOC_NONE,
                  "%s %s: noisy: a tenth of the samples is under %.2f us, a tenth above %.2f us",
                  r->task, r->workload, r->p10_us, r->p90_us);
    if (r->failed)
        diag_error(j->cx->diags, PAWL_EXIT_DEVICE, LOC_NONE, NULL, "%s %s: %s", r->task,
                   r->workload, r->failed);
}

static void bench_one(Cli *c, const Arg *path, Table *t, json_t *samples)
{
    Job j;
    if (job_open(c, path, DB_WRITE, &j) && job_can_run(&j, "measured") && job_measure_machine(&j)) {
        BenchOptions o = {
            .compile = j.options,
            .device = j.device,
            .db = j.db,
            .unfused = !c->o.no_unfused,
            .pairs = (uint32_t)c->o.runs,
            .warmup = (uint32_t)c->o.warmup,
            .max_seconds = c->o.max_seconds,
            .seed = j.task->seed,
        };
        j.options.no_weights = false;
        for (uint32_t w = 0; w < j.n_workloads && !cli_stopped(c); w++) {
            BenchRow *row;
            cli_progress(c, "%s %s …", j.task->name, j.workloads[w]->name);
            PlanDecision *evidence;
            uint32_t n;
            if (!job_decide(&j, j.workloads[w], &o.compile, &evidence, &n) ||
                !bench_task(j.cx, j.task, &j.workloads[w], 1, &o, &row))
                break;
            add_row(t, row);
            warn_noise(&j, row);
            json_array_append_new(samples, samples_json(row));
        }
        cli_progress_end(c);
        job_check_picks(&j);
    }
    job_close(&j);
}

static ExitCode run_bench(Cli *c)
{
    Table *t = table_new(c->cx->arena, columns, sizeof columns / sizeof columns[0]);
    json_t *samples = json_array();
    for (uint32_t i = 0; i < c->n_args && !cli_stopped(c); i++)
        bench_one(c, &c->args[i], t, samples);
    if (table_rows(t))
        table_print(t, c->out, (Format)c->o.format);
    if (c->o.export_json) {
        json_t *all = export_json(t, samples);
        char *text = json_dumps(all, JSON_INDENT(1));
        file_write(c->cx->diags, c->o.export_json, text, strlen(text));
        json_decref(all);
        free(text);
    }
    json_decref(samples);
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
const Command command_bench = {
    .name = "bench",
    .args = "TASK...",
    .about = "Time a task's workloads, fused and unfused, against their floor.",
    .more = "Cold caches, random data, interleaved; the median with its 95 % interval. The floor "
            "is the least time that\n"
            "the task's bytes and arithmetic need at the device's measured ceilings.",
    .min_args = 1,
    .max_args = UINT32_MAX,
    .groups = groups,
    .run = run_bench,
};
