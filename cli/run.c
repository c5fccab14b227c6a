/* cli/run.c — `pawl run`: one workload of a task or a package, inputs seeded or from .npy files, outputs summarised or written. */
#include "autotune/stats.h"
#include "base/file.h"
#include "base/npy.h"
#include "cli/runner.h"
#include "cli/table.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIELD(f) offsetof(Options, f)

static const Option rows[] = {
    {'i', "input", OPT_LIST, FIELD(inputs), "NAME=@FILE.npy|DIST",
     "An input from a file, or drawn: normal(0, 1), uniform(0, 1),\nrandint(0, 10), constant(1). "
     "Default: as the task says.",
     COMPLETE_FILE},
    {'o', "output", OPT_LIST, FIELD(out), "NAME=FILE.npy|DIR",
     "Write an output to a file, or all of them into a folder.", COMPLETE_FILE},
    {'w', "workload", OPT_LIST, FIELD(workloads), "W",
     "A workload, or dims as in B=1,S=512. Default: the first."},
    {0, "dims", OPT_TEXT, FIELD(dims), "B=1,S=512", "The same, for dims."},
    {'r', "repeat", OPT_INT, FIELD(repeat), "N", "Call N times and show how long a call takes.",
     COMPLETE_NONE, 1, 1e9},
};
static const OptionGroup own = OPTION_GROUP("Run", rows);

/* What is run: a compiled task, or a package. */
typedef struct {
    Cli *cli;
    Context *cx;
    Arena *a;
    Runner runner;
    const char **names; /* of inputs */
    Tensor **inputs;
    uint32_t n_inputs;
    const char **outputs;
    uint32_t n_outputs;
    const char *what; /* for messages */
} Run;

/* ---- inputs --------------------------------------------------------------------------------- */

/* "x=…" : the input's number, or -1: diagnosed */
static int input_number(Run *r, const char *spec)
{
    size_t n = strcspn(spec, "=");
    for (uint32_t i = 0; i < r->n_inputs; i++)
        if (strlen(r->names[i]) == n && !memcmp(r->names[i], spec, n))
            return (int)i;
    StrBuf b = strbuf_new(r->a);
    for (uint32_t i = 0; i < r->n_inputs; i++)
        strbuf_printf(&b, "%s%s", i ? ", " : "its inputs: ", r->names[i]);
    diag_error(r->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, b.text,
               "--input %s: %s has no input \"%.*s\"", spec, r->what, (int)n, spec);
    return -1;
}

static bool set_input(Run *r, const char *spec, uint64_t seed)
{
    const char *equals = strchr(spec, '='), *error;
    if (!equals || !equals[1])
        return diag_error(r->cx->diags, PAWL_EXIT_INVALID, LOC_NONE,
                          "--input x=@x.npy, or --input 'x=normal(0, 1)'",
                          "--input takes NAME=@FILE.npy or NAME=DISTRIBUTION, not \"%s\"", spec);
    int i = input_number(r, spec);
    if (i < 0)
        return false;
    if (equals[1] == '@') {
        Tensor *t = npy_read(r->a, r->cx->diags, equals + 2);
        if (t)
            r->inputs[i] = t;
        return t != NULL;
    }
    Dist dist;
    Tensor *t = r->inputs[i];
    if (!dist_parse(equals + 1, &dist, &error))
        return diag_error(r->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, "a file's name begins with @",
                          "--input %s: %s", spec, error);
    if (!t)
        return diag_error(r->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, "give --workload or --dims",
                          "--input %s: the shape of %s is not known", spec, r->names[i]);
    philox_fill(t->dtype, t->data, 0, tensor_count(t), philox_key(seed, r->names[i]), dist);
    return true;
}

static bool set_inputs(Run *r, uint64_t seed)
{
    for (uint32_t k = 0; k < r->cli->o.inputs.n; k++)
        if (!set_input(r, r->cli->o.inputs.data[k], seed))
            return false;
    for (uint32_t i = 0; i < r->n_inputs; i++)
        if (!r->inputs[i])
            return diag_error(r->cx->diags, PAWL_EXIT_INVALID, LOC_NONE,
                              "give --workload, --dims or --input NAME=@FILE.npy",
                              "the shape of input %s is not known", r->names[i]);
    return true;
}

/* ---- outputs -------------------------------------------------------------------------------- */

static const Column columns[] = {
    {"output", "output", COL_TEXT},     {"type", "type", COL_TEXT},
    {"checksum", "checksum", COL_TEXT}, {"min", "min", COL_REAL, 6},
    {"max", "max", COL_REAL, 6},        {"mean", "mean", COL_REAL, 6},
    {"rms", "rms", COL_REAL, 6},        {"nonfinite", "nonfinite", COL_INT},
};

static char *tensor_type(Arena *a, const Tensor *t)
{
    StrBuf b = strbuf_new(a);
    strbuf_printf(&b, "%s[", dtype_name(t->dtype));
    for (int i = 0; i < t->rank; i++)
        strbuf_printf(&b, "%s%lld", i ? ", " : "", (long long)t->dims[i]);
    strbuf_char(&b, ']');
    return b.text;
}

static void summarise(Table *table, Arena *a, const char *name, const Tensor *t)
{
    double lo = INFINITY, hi = -INFINITY, sum = 0, squares = 0;
    int64_t n = tensor_count(t), finite = 0;
    for (int64_t i = 0; i < n; i++) {
        double v = dtype_load(t->dtype, (const char *)t->data + (size_t)i * dtype_bytes(t->dtype));
        if (!isfinite(v))
            continue;
        finite++;
        lo = fmin(lo, v);
        hi = fmax(hi, v);
        sum += v;
        squares += v * v;
    }
    double count = (double)finite;
    table_text(table, name);
    table_text(table, tensor_type(a, t));
    table_textf(table, "%016llx", (unsigned long long)hash_bytes(t->data, tensor_bytes(t), 0));
    table_real(table, finite ? lo : NAN);
    table_real(table, finite ? hi : NAN);
    table_real(table, finite ? sum / count : NAN);
    table_real(table, finite ? sqrt(squares / count) : NAN);
    table_int(table, n - finite);
}

static bool write_output(Run *r, const Call *call, const char *spec)
{
    size_t n = strcspn(spec, "=");
    Diags *d = r->cx->diags;
    if (spec[n]) {
        for (uint32_t i = 0; i < r->n_outputs; i++)
            if (strlen(r->outputs[i]) == n && !memcmp(r->outputs[i], spec, n))
                return npy_write(d, spec + n + 1, call->host_out[i]);
        return diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, NULL,
                          "--output %s: %s has no output \"%.*s\"", spec, r->what, (int)n, spec);
    }
    if (!dir_make(d, spec))
        return false;
    for (uint32_t i = 0; i < r->n_outputs; i++)
        if (!npy_write(d, arena_printf(r->a, "%s/%s.npy", spec, r->outputs[i]), call->host_out[i]))
            return false;
    return true;
}

/* ---- calls ---------------------------------------------------------------------------------- */

static bool call_and_show(Run *r)
{
    Cli *c = r->cli;
    Call call;
    int64_t repeat = c->o.repeat ? c->o.repeat : 1, done = 0;
    double *seconds = arena_new_array(r->a, double, repeat);
    if (!runner_prepare(&r->runner, r->inputs, r->a, &call) ||
        (repeat > 1 && !runner_call(&r->runner, &call)))
        return false;
    for (; done < repeat && !cli_stopped(c); done++) {
        double start = clock_seconds();
        if (!runner_call(&r->runner, &call))
            return false;
        seconds[done] = clock_seconds() - start;
    }
    if (!done || !runner_fetch(&r->runner, &call))
        return false;
    for (uint32_t i = 0; i < c->o.out.n; i++)
        if (!write_output(r, &call, c->o.out.data[i]))
            return false;

    Table *t = table_new(r->a, columns, sizeof columns / sizeof columns[0]);
    for (uint32_t i = 0; i < r->n_outputs; i++)
        summarise(t, r->a, r->outputs[i], call.host_out[i]);
    double median = stats_median(seconds, (uint32_t)done),
           least = stats_quantile(seconds, (uint32_t)done, 0);
    if (c->o.format == FORMAT_JSON) {
        json_t *j = json_object();
        json_object_set_new(j, "device", json_text(pawl_device(r->runner.session)));
        json_object_set_new(j, "outputs", table_json(t));
        json_object_set_new(j, "calls", json_integer(done));
        json_object_set_new(j, "median_seconds", json_number(median));
        json_object_set_new(j, "min_seconds", json_number(least));
        json_print(j, c->out);
    } else {
        table_print(t, c->out, (Format)c->o.format);
        if (repeat > 1)
            cli_say(c, "%lld calls on %s: median %s, least %s (host clock, to completion)",
                    (long long)done, pawl_device(r->runner.session), human_seconds(r->a, median),
                    human_seconds(r->a, least));
    }
    return true;
}

/* ---- a task --------------------------------------------------------------------------------- */

static bool run_task(Run *r, Job *j)
{
    Compiled k;
    if (!j->n_workloads)
        return diag_error(j->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, "give --dims",
                          "%s declares no workload", j->task->name);
    if (!job_compile(j, j->workloads[0], &k) || !job_check_picks(j))
        return false;
    r->n_outputs = k.graph->outputs.n;
    r->names = arena_new_array(r->a, const char *, k.graph->inputs.n + 1);
    r->outputs = arena_new_array(r->a, const char *, r->n_outputs + 1);
    r->inputs = arena_new_array(r->a, Tensor *, k.graph->inputs.n + 1);
    for (uint32_t i = 0; i < r->n_outputs; i++)
        r->outputs[i] = k.graph->outputs.data[i].name;
    for (uint32_t i = 0; i < k.graph->inputs.n; i++) {
        const GraphInput *in = &k.graph->inputs.data[i];
        if (in->node->op != OP_INPUT)
            continue;
        r->names[r->n_inputs] = in->name;
        if (!(r->inputs[r->n_inputs++] = input_tensor(j->task, in, j->workloads[0], r->a)))
            return false;
    }
    if (!set_inputs(r, j->task->seed) || !job_weights(j, &k, 1) ||
        !runner_open_job(&r->runner, j, &k, 1))
        return false;
    cli_detail(r->cli, "%s %s: %s", j->task->name, j->workloads[0]->name,
               plan_summary(r->a, k.plan));
    return call_and_show(r);
}

/* ---- a package ------------------------------------------------------------------------------ */

static const Plan *find_plan(Run *r, const Package *p, const char *workload)
{
    StrBuf known = strbuf_new(r->a);
    for (uint32_t i = 0; i < p->n_plans; i++) {
        const char *name = p->plans[i]->workload;
        if (name && (!workload || !strcmp(name, workload)))
            return p->plans[i];
        if (name)
            strbuf_printf(&known, "%s%s", known.len ? ", " : "its workloads: ", name);
    }
    if (workload)
        diag_error(r->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, known.text,
                   "%s has no workload \"%s\"", r->what, workload);
    return workload || !p->n_plans ? NULL : p->plans[p->n_plans - 1];
}

/* The distribution that the task gave an input, from the manifest; standard normal where it says nothing. */
static Dist input_dist(const Package *p, const char *name, uint64_t *seed)
{
    Dist dist = {DIST_NORMAL, 0, 1};
    const char *error;
    json_t *m = json_loads(p->manifest, 0, NULL), *list = json_object_get(m, "inputs"), *in;
    size_t i;
    if (json_is_integer(json_object_get(m, "seed")))
        *seed = (uint64_t)json_integer_value(json_object_get(m, "seed"));
    json_array_foreach (list, i, in) {
        const char *n = json_string_value(json_object_get(in, "name")),
                   *d = json_string_value(json_object_get(in, "dist"));
        if (n && d && !strcmp(n, name))
            dist_parse(d, &dist, &error);
    }
    json_decref(m);
    return dist;
}

/* Draws an input whose shape the values give; leaves it out where they do not. */
static bool draw_input(Run *r, const Package *p, const PlanBuffer *f, const DimValue *values,
                       uint32_t n, uint32_t i, uint64_t *seed)
{
    int64_t dims[TENSOR_MAX_RANK], count = 1;
    Str missing;
    for (uint32_t d = 0; d < f->rank; d++) {
        if (!dim_eval(f->shape[d], values, n, &dims[d], &missing))
            return true;
        if (dims[d] < 0 || __builtin_mul_overflow(count, dims[d], &count) ||
            count > (int64_t)1 << 40)
            return diag_error(r->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL,
                              "input %s: a dim is negative or the tensor is too large", f->name);
    }
    if (!memory_for(r->cx->diags, f->name, f->dtype, f->rank, dims))
        return false;
    Dist dist = input_dist(p, f->name, seed);
    if (r->cli->o.seed >= 0)
        *seed = (uint64_t)r->cli->o.seed;
    r->inputs[i] = tensor_new(r->a, f->dtype, (int)f->rank, dims);
    philox_fill(f->dtype, r->inputs[i]->data, 0, count, philox_key(*seed, f->name), dist);
    return true;
}

static bool run_package(Run *r, Package *p, const char *path)
{
    Cli *c = r->cli;
    DimValue *values = NULL;
    uint32_t n = 0;
    uint64_t seed = 0;
    const char *w = c->o.workloads.n ? c->o.workloads.data[0] : c->o.dims;
    const Plan *plan =
        w && strchr(w, '=') ? (p->n_plans ? p->plans[p->n_plans - 1] : NULL) : find_plan(r, p, w);
    if (w && strchr(w, '=') && !dims_parse(r->cx, w, &values, &n))
        return false;
    if (!plan)
        return diags_failed(r->cx->diags) ? false
                                          : diag_error(r->cx->diags, PAWL_EXIT_INVALID, LOC_NONE,
                                                       NULL, "%s holds no plan", path);
    if (values && !plan->symbols.n)
        return diag_error(r->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, "give --workload",
                          "%s has no plan for other shapes", path);
    r->n_inputs = plan->n_inputs;
    r->n_outputs = plan->n_outputs;
    r->names = arena_new_array(r->a, const char *, r->n_inputs + 1);
    r->outputs = arena_new_array(r->a, const char *, r->n_outputs + 1);
    r->inputs = arena_new_array(r->a, Tensor *, r->n_inputs + 1);
    for (uint32_t i = 0; i < r->n_outputs; i++)
        r->outputs[i] = plan->buffers.data[plan->n_inputs + i].name;
    for (uint32_t i = 0; i < r->n_inputs; i++) {
        const PlanBuffer *f = &plan->buffers.data[i];
        r->names[i] = f->name;
        if (!draw_input(r, p, f, values, n, i, &seed))
            return false;
    }
    return set_inputs(r, seed) &&
           runner_open_file(&r->runner, c, r->cx, path, c->o.device ? c->o.device : "auto") &&
           call_and_show(r);
}

/* ---- the command ---------------------------------------------------------------------------- */

/* A package by its first bytes, or by its name where they are missing or broken, so that messages speak of the right thing. */
static bool is_package(const char *path)
{
    char head[4] = {0};
    size_t n = strlen(path);
    FILE *f = fopen(path, "rb");
    bool zip = f && fread(head, 1, 4, f) == 4 && !memcmp(head, "PK\3\4", 4);
    if (f)
        fclose(f);
    return zip || (n > 5 && !strcmp(path + n - 5, ".pawl"));
}

static ExitCode run_run(Cli *c)
{
    Run r = {.cli = c, .a = arena_new(), .what = c->args[0].text};
    if (c->o.workloads.n + (c->o.dims ? 1 : 0) > 1) {
        diag_error(c->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL,
                   "`pawl run` takes one workload");
    } else if (is_package(c->args[0].text)) {
        r.cx = context_new();
        Package *p = package_open(r.cx, c->args[0].text);
        if (p)
            run_package(&r, p, c->args[0].text);
        runner_close(&r.runner);
        package_close(p);
        cli_flush(c, r.cx);
        context_free(r.cx);
    } else {
        Job j;
        if (c->o.dims)
            vec_push(c->cx->arena, &c->o.workloads, c->o.dims);
        if (job_open(c, &c->args[0], DB_READ, &j) && job_can_run(&j, "run")) {
            r.cx = j.cx;
            run_task(&r, &j);
        }
        runner_close(&r.runner);
        job_close(&j);
    }
    arena_free(r.a);
    return cli_end(c);
}

static const OptionGroup *const groups[] = {
    &own,
    &options_seed,
    &options_device,
    &options_compile,
    &options_passes,
    &options_database,
    &options_general,
    NULL,
};
const Command command_run = {
    .name = "run",
    .args = "TASK|FILE.pawl",
    .about = "Run a task or a package once, or repeatedly.",
    .more = "  pawl run swiglu.pawl --dims B=1,S=7 --input gate=@gate.npy -o out/\n"
            "  pawl run tasks/qwen3/swiglu.yaml --workload decode_8 --repeat 100",
    .min_args = 1,
    .max_args = 1,
    .groups = groups,
    .run = run_run,
};
