/* cli/opt.c — `pawl opt`: graph text (or a task) in, the passes, graph text out. */
#include "base/file.h"
#include "cli/job.h"
#include "cli/table.h"
#include <stdio.h>
#include <string.h>

#define FIELD(f) offsetof(Options, f)

static const Option rows[] = {
    {'o', "output", OPT_LIST, FIELD(out), "FILE", "Where the graph goes. Default: stdout.",
     COMPLETE_FILE},
    {'w', "workload", OPT_LIST, FIELD(workloads), "W",
     "Specialise the graph first: a workload, or dims as in B=1,S=512."},
    {0, "pick", OPT_LIST, FIELD(picks), "CHOICE=ALT",
     "Resolve all choices; those not named take alternative 0."},
    {0, "rule-stats", OPT_FLAG, FIELD(rule_stats), NULL,
     "Show for each rule how often it was tried and fired."},
    {0, "timing", OPT_FLAG, FIELD(timing), NULL, "Show the time of each pass."},
};
static const OptionGroup own = OPTION_GROUP("Optimiser", rows);

static Source *read_stdin(Context *cx)
{
    StrBuf b = strbuf_new(cx->arena);
    char buffer[65536];
    size_t n;
    strbuf_add(&b, "");
    while ((n = fread(buffer, 1, sizeof buffer, stdin)) > 0)
        strbuf_add_n(&b, buffer, n);
    if (ferror(stdin)) {
        diag_error(cx->diags, PAWL_EXIT_IO, LOC_NONE, NULL, "cannot read standard input");
        return NULL;
    }
    if (memchr(b.text, 0, b.len)) {
        diag_error(cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL,
                   "<stdin>: not a text: it holds a zero byte");
        return NULL;
    }
    return source_from_text(cx->arena, "<stdin>", b.text);
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

static Graph *read_graph(Cli *c, Job *j, const char *path)
{
    const char *w = c->o.workloads.n ? c->o.workloads.data[0] : NULL;
    Graph *g;
    DimValue *values = NULL;
    uint32_t n = 0;
    if (ends_with(path, ".yaml") || ends_with(path, ".yml")) {
        j->task = task_load(j->cx, path);
        if (!j->task)
            return NULL;
        vec_push(c->cx->arena, &c->inputs, j->task->source);
        j->options.passes.numerics = j->task->numerics;
        Workload found;
        if (w && !task_workload_parse(j->task, w, &found))
            return NULL;
        g = j->task->graph;
        if (w)
            values = found.values, n = found.n;
    } else {
        Source *s = strcmp(path, "-") ? source_from_file(j->cx->arena, j->cx->diags, path)
                                      : read_stdin(j->cx);
        if (!s)
            return NULL;
        vec_push(c->cx->arena, &c->inputs, s);
        g = graph_parse(j->cx, s);
        if (g && w && !dims_parse(j->cx, w, &values, &n))
            return NULL;
    }
    return g && w ? graph_specialise(g, values, n) : g;
}

/* ---- reports -------------------------------------------------------------------------------- */

static const Column pass_columns[] = {
    {"pass", "pass", COL_TEXT},         {"changed", "changed", COL_BOOL},
    {"nodes_before", "nodes", COL_INT}, {"nodes_after", "after", COL_INT},
    {"us", "us", COL_REAL, 1},
};
static const Column rule_columns[] = {
    {"rule", "rule", COL_TEXT},
    {"tried", "tried", COL_INT},
    {"fired", "fired", COL_INT},
    {"us", "us", COL_REAL, 1},
};

static void print_reports(Cli *c, const Job *j, const PassReport *r)
{
    Arena *a = j->cx->arena;

    if (c->o.timing) {
        Table *t = table_new(a, pass_columns, sizeof pass_columns / sizeof pass_columns[0]);
        for (uint32_t i = 0; i < r->passes.n; i++) {
            const PassStat *p = &r->passes.data[i];
            table_text(t, p->pass);
            table_bool(t, p->changed);
            table_int(t, p->nodes_before);
            table_int(t, p->nodes_after);
            table_real(t, p->seconds * 1e6);
        }
        table_print(t, c->err, (Format)c->o.format);
    }
    if (c->o.rule_stats) {
        Table *t = table_new(a, rule_columns, sizeof rule_columns / sizeof rule_columns[0]);
        for (uint32_t i = 0; i < r->rules.n; i++) {
            const RuleStat *s = &r->rules.data[i];
            table_text(t, s->rule);
            table_int(t, (int64_t)s->tried);
            table_int(t, (int64_t)s->fired);
            table_real(t, s->seconds * 1e6);
        }
        table_print(t, c->err, (Format)c->o.format);
        for (uint32_t i = 0; i < r->warnings.n; i++)
            diag_warn(j->cx->diags, LOC_NONE, "%s", r->warnings.data[i]);
    }
}

static Graph *resolve(Job *j, Graph *g)
{
    const Texts *wanted = &j->cli->o.picks;
    if (!wanted->n)
        return g;
    uint32_t n;
    ChoicePick *picks;
    if (!job_picks(j, g, &picks, &n) || !job_check_picks(j))
        return NULL;
    return choices_resolve(g, picks, n);
}

static bool optimise(Cli *c, Job *j)
{
    Graph *g = read_graph(c, j, c->args[0].text);
    PassReport report = {0};
    if (!g || !graph_verify(g, j->cx->diags) || !pipeline_run(g, &j->options.passes, &report) ||
        !(g = resolve(j, g)))
        return false;
    char *text = graph_text(j->cx->arena, g);
    if (c->o.out.n) {
        if (!file_write(j->cx->diags, c->o.out.data[0], text, strlen(text)))
            return false;
    } else if (c->o.format == FORMAT_JSON) {
        json_t *out = json_object();
        json_object_set_new(out, "graph", json_text(text));
        json_object_set_new(out, "nodes", json_integer(g->nodes.n));
        json_print(out, c->out);
    } else {
        fputs(text, c->out);
    }
    print_reports(c, j, &report);
    return true;
}

static ExitCode run_opt(Cli *c)
{
    Job j;
    if (job_open_passes(c, &j))
        optimise(c, &j);
    job_close(&j);
    return cli_end(c);
}

static const OptionGroup *const groups[] = {&own, &options_passes, &options_general, NULL};
const Command command_opt = {
    .name = "opt",
    .args = "FILE.graph|TASK|-",
    .about = "Run the passes over a graph and print it.",
    .more = "Reads graph text (- is stdin) or a task, prints graph text. Measured choices stay in "
            "the graph unless\n"
            "--pick resolves them.\n\n"
            "  pawl opt tasks/qwen3/swiglu.yaml --rule-stats\n"
            "  pawl opt model.graph --rules patterns/ --dump-after all",
    .min_args = 1,
    .max_args = 1,
    .groups = groups,
    .run = run_opt,
};
