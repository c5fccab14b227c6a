/* cli/verify.c — `pawl verify`: runs a task's workloads and holds every output against the fp64 evaluator, by the acceptance
 * rule of the task's contract class. */
#include "base/file.h"
#include "cli/runner.h"
#include "cli/table.h"
#include "ir/eval.h"
#include <math.h>
#include <unistd.h>

#define FIELD(f) offsetof(Options, f)

static const Option rows[] = {
    {0, "samples", OPT_INT, FIELD(samples), "N",
     "Where not all elements can be checked, check at least N.", COMPLETE_NONE, 1, 1e12},
    {0, "package", OPT_TEXT, FIELD(package), "FILE.pawl",
     "Verify this package instead of compiling the task.", COMPLETE_FILE},
};
static const OptionGroup own = OPTION_GROUP("Verification", rows);

static const Column columns[] = {
    {"task", "task", COL_TEXT},
    {"workload", "workload", COL_TEXT},
    {"output", "output", COL_TEXT},
    {"device", "device", COL_TEXT},
    {"pass", "pass", COL_BOOL},
    {"elements", "elements", COL_INT},
    {"checked", "checked", COL_INT},
    {"bad", "bad", COL_INT},
    {"nonfinite", NULL, COL_INT},
    {"max_abs_error", "max |err|", COL_REAL, -1},
    {"baseline_max_abs_error", "baseline", COL_REAL, -1},
    {"max_rel_error", NULL, COL_REAL},
    {"rms_error", NULL, COL_REAL},
    {"bias", NULL, COL_REAL},
    {"worst_ratio", "err/allowed", COL_REAL, 3},
    {"rms_ratio", "rms/allowed", COL_REAL, 3},
    {"seconds", "seconds", COL_REAL, 2},
};

typedef struct {
    Job *j;
    Table *t;
    bool pass;
} Verification;

static void add_row(Verification *v, const Workload *w, const Graph *g, uint32_t k,
                    const Verdict *r, size_t elements, double seconds)
{
    Table *t = v->t;
    table_text(t, v->j->task->name);
    table_text(t, workload_name(w));
    table_text(t, g->outputs.data[k].name);
    table_text(t, v->j->device.name);
    table_bool(t, r->pass);
    table_int(t, (int64_t)elements);
    table_int(t, (int64_t)r->checked);
    table_int(t, (int64_t)r->bad);
    table_int(t, (int64_t)r->nonfinite);
    table_real(t, r->max_abs);
    table_real(t, r->baseline_max_abs);
    table_real(t, r->max_rel);
    table_real(t, r->rms);
    table_real(t, r->bias);
    table_real(t, r->worst_ratio);
    table_real(t, r->rms_ratio);
    table_real(t, seconds);
}

/* Two verdicts on samples of one output: all that was checked, and the worse figures. */
static void merge(Verdict *into, const Verdict *v)
{
    double n = (double)into->checked, m = (double)v->checked, sum = n + m > 0 ? n + m : 1;
    into->rms = sqrt((into->rms * into->rms * n + v->rms * v->rms * m) / sum);
    into->bias = (into->bias * n + v->bias * m) / sum;
    into->pass &= v->pass;
    into->checked += v->checked;
    into->bad += v->bad;
    into->nonfinite += v->nonfinite;
    into->max_abs = fmax(into->max_abs, v->max_abs);
    into->max_rel = fmax(into->max_rel, v->max_rel);
    into->baseline_max_abs = fmax(into->baseline_max_abs, v->baseline_max_abs);
    into->rms_ratio = fmax(into->rms_ratio, v->rms_ratio);
    if (v->worst_ratio > into->worst_ratio) {
        into->worst_ratio = v->worst_ratio;
        into->worst_at = v->worst_at;
        into->worst_y = v->worst_y;
        into->worst_y64 = v->worst_y64;
    }
}

/* Draws further samples until --samples elements of each output were checked. */
static bool check(Verification *v, const Graph *g, Tensor **in, Tensor **out, Arena *a,
                  VerifyReport *r)
{
    uint64_t seed = 1;
    if (!verify_outputs(v->j->task, g, in, out, seed, a, r))
        return false;
    size_t want = (size_t)v->j->cli->o.samples * r->n;
    while (!r->all && r->samples < want && !cli_stop) {
        VerifyReport more;
        cli_progress(v->j->cli, "%s: %zu of %zu elements checked …", v->j->task->name, r->samples,
                     want);
        if (!verify_outputs(v->j->task, g, in, out, ++seed, a, &more) || !more.samples)
            return false;
        for (uint32_t k = 0; k < r->n; k++)
            merge(&r->out[k], &more.out[k]);
        r->samples += more.samples;
        r->seconds += more.seconds;
        r->pass &= more.pass;
    }
    return true;
}

/* What was found is kept beside the tunings, for `pawl explain`. Where there is no database, or it cannot be written, nothing is. */
static void remember(const Verification *v, const Graph *g, const VerifyReport *r)
{
    const Job *j = v->j;
    const char *path = db_default_path(j->cx->arena, j->cli->o.db);
    if (!j->db || j->cli->o.package || access(path, W_OK) != 0)
        return;
    Context *cx = context_new(); /* its failures are not this command's */
    Db *db = db_open(cx, path, DB_WRITE);
    double worst = 0, rms = 0;
    for (uint32_t k = 0; k < r->n; k++) {
        worst = fmax(worst, r->out[k].worst_ratio);
        rms = fmax(rms, r->out[k].rms_ratio);
    }
    DbMeasurement m = {
        .key = {j->device.name, j->device.environment},
        .problem = graph_hash(g),
        .what = "verify",
        .outcome = arena_printf(cx->arena, "%s %.3f of the error that is allowed, %.3f in the mean square; %zu elements",
                                r->pass ? "ok," : "wrong:", worst, rms, r->samples),
        .us = {NAN, NAN, NAN},
    };
    if (db)
        db_put_measurements(db, &m, 1);
    db_close(db);
    context_free(cx);
}

static bool judge(Verification *v, const Workload *w, const Graph *g, Tensor **in, const Call *call,
                  Arena *a)
{
    Cli *c = v->j->cli;
    VerifyReport r;
    cli_progress(c, "%s %s: evaluating in fp64 …", v->j->task->name, workload_name(w));
    if (!check(v, g, in, call->host_out, a, &r))
        return false;
    v->pass &= r.pass;
    remember(v, g, &r);
    for (uint32_t k = 0; k < r.n; k++) {
        add_row(v, w, g, k, &r.out[k], (size_t)tensor_count(call->host_out[k]), r.seconds);
        cli_detail(c, "%s %s %s: %s", v->j->task->name, workload_name(w), g->outputs.data[k].name,
                   verdict_text(a, &r.out[k]));
        if (!r.out[k].pass)
            diag_error(v->j->cx->diags, PAWL_EXIT_CHECK_FAILED, LOC_NONE, NULL,
                       "%s, %s: output %s is wrong: %s", v->j->task->name, workload_name(w),
                       g->outputs.data[k].name, verdict_text(a, &r.out[k]));
    }
    return true;
}

static bool verify_workload(Verification *v, const Workload *w)
{
    Job *j = v->j;
    Cli *c = j->cli;
    Arena *a = arena_new();
    Runner r = {0};
    Call call;
    Compiled k = {0};
    bool ok;
    if (c->o.package) {
        k.graph = graph_specialise(j->task->graph, w->values, w->n);
        ok = k.graph && runner_open_file(&r, c, j->cx, c->o.package, j->device.spec);
    } else {
        cli_progress(c, "%s %s: compiling …", j->task->name, w->name);
        ok = job_compile(j, w, &k) && job_weights(j, &k, 1) && runner_open_job(&r, j, &k, 1);
    }
    if (ok) {
        uint32_t n;
        Tensor **all = task_tensors(j->task, k.graph, w, a);
        Tensor **in = all ? only_inputs(k.graph, all, a, &n) : NULL;
        if (in && (n != r.n_inputs || k.graph->outputs.n != r.n_outputs))
            in = NULL, diag_error(j->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL,
                                  "%s is not a package of %s: it has %u inputs and %u outputs",
                                  c->o.package, j->task->name, r.n_inputs, r.n_outputs);
        ok = in && runner_prepare(&r, in, a, &call) && runner_call(&r, &call) &&
             runner_fetch(&r, &call) && judge(v, w, k.graph, all, &call, a);
    }
    runner_close(&r);
    arena_free(a);
    return ok;
}

static ExitCode run_verify(Cli *c)
{
    Arena *a = arena_new();
    Table *t = table_new(a, columns, sizeof columns / sizeof columns[0]);
    for (uint32_t i = 0; i < c->n_args && !cli_stopped(c); i++) {
        Job j;
        if (job_open(c, &c->args[i], DB_READ, &j) && job_can_run(&j, "verified")) {
            Verification v = {&j, t, true};
            for (uint32_t w = 0; w < j.n_workloads && !cli_stopped(c); w++) {
                verify_workload(&v, j.workloads[w]);
                cli_flush(c, j.cx);
            }
            job_check_picks(&j);
        }
        job_close(&j);
    }
    cli_progress_end(c);
    if (table_rows(t))
        table_print(t, c->out, (Format)c->o.format);
    arena_free(a);
    return cli_end(c);
}

static const OptionGroup *const groups[] = {
    &own,
    &options_workload,
    &options_seed,
    &options_device,
    &options_compile,
    &options_passes,
    &options_database,
    &options_general,
    NULL,
};
const Command command_verify = {
    .name = "verify",
    .args = "TASK...",
    .about = "Check a task's results against the fp64 evaluator.",
    .more =
        "All elements are checked where that is affordable, else whole rows drawn at random. Every "
        "output must be\n"
        "near enough to the exact result, element by element and in the mean square, for the "
        "task's contract\n"
        "class. `baseline` is the error of the naive lowering, `err/allowed` must not exceed 1.\n"
        "Exits with 1 when an output is wrong.\n\n"
        "  pawl verify tasks/qwen3/*.yaml --device cpu --workload decode_8",
    .min_args = 1,
    .max_args = UINT32_MAX,
    .groups = groups,
    .run = run_verify,
};
