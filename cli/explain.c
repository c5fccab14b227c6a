/* cli/explain.c — `pawl explain`: which rule fired where, which operations share a kernel and why not others, what was chosen
 * and what it beat, and how all of it stands to the floor. */
#include "autotune/ceilings.h"
#include "cli/evidence.h"
#include "cli/job.h"
#include "cli/product.h"
#include "cli/table.h"
#include <math.h>
#include <string.h>

/* ---- what stands in each section, as JSON; the text is printed from it ---------------------- */

static const char *place(Arena *a, Loc loc)
{
    uint32_t line, col;
    if (!loc.source)
        return NULL;
    loc_line_col(loc, &line, &col);
    return arena_printf(a, "%s:%u:%u", loc.source->name, line, col);
}

static double dim_value(Dim d) { return d && dim_is_const(d) ? (double)d->value : NAN; }

static json_t *rules_json(Job *job, const Compiled *k)
{
    Arena *a = job->cx->arena;
    const char *dir = job->options.passes.rules_dir;
    EvidenceBook *book = evidence_open(job->cx, dir);
    json_t *list = json_array();
    for (uint32_t i = 0; i < k->report.firings.n; i++) {
        const RuleFiring *f = &k->report.firings.data[i];
        json_t *j = json_object();
        json_object_set_new(j, "rule", json_text(f->rule));
        json_object_set_new(j, "node", json_text(f->node));
        json_object_set_new(j, "place", json_text(place(a, f->loc)));
        json_object_set_new(j, "choice", json_text(f->choice));
        json_object_set_new(j, "evidence", evidence_of(book, f->rule));
        json_array_append_new(list, j);
    }
    return list;
}

/* Members of a family that were decided by themselves. */
static json_t *members_apart(const Compiled *k, Str family)
{
    size_t n = strlen(family);
    json_t *list = json_array();
    vec_foreach (PlanDecision, d, &k->plan->decisions)
        if (!strncmp(d->choice, family, n) && d->choice[n] == '#')
            json_array_append_new(list, json_pack("{s:s, s:s, s:s?}", "choice", d->choice, "picked",
                                                  d->picked, "evidence", d->evidence));
    return list;
}

static json_t *choices_json(Job *j, const Compiled *k)
{
    Arena *a = j->cx->arena;
    json_t *list = json_array();
    uint32_t n;
    ChoiceInfo *choices = choices_list(k->with_choices, a, &n);
    for (uint32_t i = 0; i < n; i++) {
        const char *picked = NULL, *evidence = NULL;
        vec_foreach (PlanDecision, d, &k->plan->decisions)
            if (!strcmp(d->choice, choices[i].id)) {
                picked = d->picked;
                evidence = d->evidence;
            }
        json_t *c = json_object();
        json_object_set_new(c, "choice", json_text(choices[i].id));
        json_object_set_new(c, "rule", json_text(choices[i].rule));
        json_object_set_new(c, "place", json_text(place(a, choices[i].loc)));
        json_object_set_new(c, "alternatives", json_integer(choices[i].n_alternatives));
        json_object_set_new(c, "members", json_integer(choices[i].n_members));
        json_object_set_new(c, "picked", json_text(picked));
        json_object_set_new(c, "evidence", json_text(evidence));
        json_object_set_new(c, "apart", members_apart(k, choices[i].id));
        json_array_append_new(list, c);
    }
    return list;
}

/* A node as its user knows it: the name, else the composite it came from, else the op. */
static json_t *nodes_json(Arena *a, const Group *g)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.data[i];
        json_t *j = json_object();
        json_object_set_new(j, "op", json_text(op_name(n->op)));
        json_object_set_new(j, "name", json_text(n->name));
        json_object_set_new(j, "origin", json_text(n->origin));
        json_object_set_new(j, "place", json_text(place(a, n->loc)));
        json_array_append_new(list, j);
    }
    return list;
}

static const char *node_title(const Node *n)
{
    return n->name ? n->name : n->origin ? n->origin : op_name(n->op);
}

static json_t *inputs_json(const Group *g)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < g->inputs.n; i++)
        json_array_append_new(list, json_text(node_title(g->inputs.data[i])));
    return list;
}

static json_t *outputs_json(const Group *g)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < g->outputs.n; i++)
        json_array_append_new(list, json_text(node_title(g->outputs.data[i].node)));
    return list;
}

static void add_schedule(json_t *j, Job *job, const Group *g)
{
    StrBuf b = strbuf_new(job->cx->arena);
    DbTuning t;
    schedule_print(&b, &g->schedule);
    json_object_set_new(j, "schedule", json_text(b.text ? b.text : ""));
    json_object_set_new(j, "schedule_from", json_text(g->schedule_from));
    bool tuned = job->db && db_get_tuning(job->db, (DbKey){job->device.name, job->device.environment}, g->key, g->text, false, &t);
    if (g->matmul)
        json_object_set_new(j, "product", product_json(job, g, tuned ? &t : NULL));
    if (!tuned)
        return;
    json_t *m = json_object();
    json_object_set_new(m, "schedule", json_text(t.schedule));
    json_object_set_new(m, "us", json_number(t.us.value));
    json_object_set_new(m, "us_low", json_number(t.us.lo));
    json_object_set_new(m, "us_high", json_number(t.us.hi));
    json_object_set_new(m, "beat", json_text(t.incumbent));
    json_object_set_new(m, "beat_us", json_number(t.incumbent_us));
    json_object_set_new(m, "ratio", json_number(t.ratio.value));
    json_object_set_new(m, "ratio_low", json_number(t.ratio.lo));
    json_object_set_new(m, "ratio_high", json_number(t.ratio.hi));
    json_object_set_new(m, "tried", json_integer(t.tried));
    json_object_set_new(j, "measured", m);
}

static json_t *groups_json(Job *job, const Compiled *k)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < k->groups->n; i++) {
        const Group *g = k->groups->g[i];
        json_t *j = json_object();
        json_object_set_new(j, "group", json_integer(g->id));
        json_object_set_new(j, "kind", json_text(g->schedule.kind));
        json_object_set_new(j, "kernel_of", json_integer(g->launch ? g->launch->id : g->id));
        json_object_set_new(
            j, "problem",
            json_text(arena_printf(job->cx->arena, "%016llx", (unsigned long long)g->key)));
        json_object_set_new(j, "reads", inputs_json(g));
        json_object_set_new(j, "writes", outputs_json(g));
        json_object_set_new(j, "nodes", nodes_json(job->cx->arena, g));
        json_object_set_new(j, "computes", json_text(g->text));
        json_object_set_new(j, "why_not", json_text(g->why_not));
        json_object_set_new(j, "bytes_read", json_number(dim_value(g->bytes_read)));
        json_object_set_new(j, "bytes_written", json_number(dim_value(g->bytes_written)));
        json_object_set_new(j, "flops", json_number(dim_value(g->flops)));
        json_object_set_new(j, "predicted_us", json_number(g->predicted_seconds * 1e6));
        add_schedule(j, job, g);
        json_array_append_new(list, j);
    }
    return list;
}

static json_t *steps_json(const Compiled *k)
{
    static const char *const kinds[] = {
        [STEP_LAUNCH] = "launch",
        [STEP_MATMUL] = "library",
        [STEP_COPY] = "copy",
        [STEP_FILL] = "fill",
    };
    static const char *const epilogues[] = {
        [EPI_NONE] = "none",           [EPI_BIAS] = "bias",
        [EPI_RELU] = "relu",           [EPI_GELU_TANH] = "gelu_tanh",
        [EPI_BIAS_RELU] = "bias+relu", [EPI_BIAS_GELU_TANH] = "bias+gelu_tanh",
    };
    json_t *list = json_array();
    vec_foreach (PlanStep, s, &k->plan->steps) {
        json_t *j = json_object();
        json_object_set_new(j, "step", json_text(kinds[s->kind]));
        json_object_set_new(j, "label", json_text(s->label));
        if (s->kind == STEP_LAUNCH)
            json_object_set_new(j, "kernel", json_text(k->plan->kernels.data[s->kernel].name));
        if (s->kind == STEP_MATMUL) {
            const PlanMatmul *m = &s->matmul;
            json_object_set_new(j, "m", json_number(dim_value(m->m)));
            json_object_set_new(j, "n", json_number(dim_value(m->n)));
            json_object_set_new(j, "k", json_number(dim_value(m->k)));
            json_object_set_new(j, "batch", json_number(dim_value(m->batch)));
            json_object_set_new(j, "epilogue", json_text(epilogues[m->epilogue]));
            json_object_set_new(j, "algorithm", json_integer(m->algorithm));
        }
        json_object_set_new(j, "bytes",
                            json_number(dim_value(s->bytes_read) + dim_value(s->bytes_written)));
        json_object_set_new(j, "flops", json_number(dim_value(s->flops)));
        json_array_append_new(list, j);
    }
    return list;
}

static json_t *floor_json(const Floor *f, const Machine *m)
{
    json_t *j = json_object();
    json_object_set_new(j, "bytes", json_number(f->bytes));
    json_object_set_new(j, "flops", json_number(f->matmul_flops + f->other_flops));
    json_object_set_new(j, "us", json_number(f->seconds * 1e6));
    json_object_set_new(j, "bound", json_text(f->bound));
    json_object_set_new(j, "measured_ceilings", json_boolean(m->measured));
    return j;
}

/* What the last `pawl verify` found on this device; NULL: none was. */
static const char *verified(Job *j, const Compiled *k)
{
    uint32_t n;
    const char *found = NULL;
    DbMeasurement *log = j->db ? db_list_measurements(j->db, graph_hash(k->graph), &n) : NULL;
    for (uint32_t i = 0; log && i < n; i++)
        if (!strcmp(log[i].what, "verify") && !strcmp(log[i].key.device, j->device.name) &&
            !strcmp(log[i].key.environment, j->device.environment))
            found = log[i].outcome;
    return found;
}

static json_t *explanation(Job *j, const Workload *w, const Compiled *k)
{
    const Machine *m = &j->options.codegen.machine;
    Floor f = graph_floor(k->graph, m, &j->task->numerics);
    json_t *e = json_object();
    json_object_set_new(e, "task", json_text(j->task->name));
    json_object_set_new(e, "workload", json_text(workload_name(w)));
    json_object_set_new(e, "device", json_text(j->device.name));
    json_object_set_new(e, "arch", json_text(j->device.arch));
    json_object_set_new(e, "floor", floor_json(&f, m));
    json_object_set_new(e, "verified", json_text(verified(j, k)));
    json_object_set_new(e, "rules", rules_json(j, k));
    json_object_set_new(e, "choices", choices_json(j, k));
    json_object_set_new(e, "groups", groups_json(j, k));
    json_object_set_new(e, "steps", steps_json(k));
    return e;
}

/* ---- as text -------------------------------------------------------------------------------- */

static const char *text(const json_t *j, const char *key)
{
    const char *s = json_string_value(json_object_get(j, key));
    return s ? s : "";
}

static double number(const json_t *j, const char *key)
{
    const json_t *v = json_object_get(j, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static void print_bytes(Arena *a, FILE *to, double bytes, double flops)
{
    fprintf(to, "%s", isnan(bytes) ? "bytes by shape" : human_bytes(a, bytes));
    if (flops > 0)
        fprintf(to, ", %.3g MFLOP", flops * 1e-6);
}

static void print_names(FILE *to, const json_t *list)
{
    size_t i;
    const json_t *name;
    json_array_foreach (list, i, name)
        fprintf(to, "%s%s", i ? ", " : "", json_string_value(name));
}

/* "%h of rms_norm, rope, %q": each thing that the user wrote, once. */
static void print_nodes(Arena *a, FILE *to, const json_t *list)
{
    Vec(const char *) shown = {0};
    size_t i;
    const json_t *n;
    json_array_foreach (list, i, n) {
        const char *origin = text(n, "origin"), *name = text(n, "name");
        const char *title = !*name    ? origin
                            : *origin ? arena_printf(a, "%%%s of %s", name, origin)
                                      : arena_printf(a, "%%%s", name);
        bool known = !*title;
        for (uint32_t k = 0; k < shown.n && !known; k++)
            known = !strcmp(shown.data[k], title);
        if (!known)
            vec_push(a, &shown, title);
    }
    for (uint32_t k = 0; k < shown.n; k++)
        fprintf(to, "%s%s", k ? ", " : "", shown.data[k]);
    if (!shown.n)
        fprintf(to, "%zu operations", json_array_size(list));
}

static void print_indented(FILE *to, const char *s, const char *indent)
{
    while (*s) {
        size_t n = strcspn(s, "\n");
        fprintf(to, "%s%.*s\n", indent, (int)n, s);
        s += n + (s[n] == '\n');
    }
}

static void print_rules(FILE *to, const json_t *rules)
{
    size_t i, k;
    const json_t *r, *e;
    if (json_array_size(rules))
        fputs("\n  rules that fired\n", to);
    json_array_foreach (rules, i, r) {
        const char *node = text(r, "node");
        fprintf(to, "    %-32s %s  %s%s", text(r, "rule"), text(r, "place"), *node ? "%" : "",
                node);
        if (*text(r, "choice"))
            fprintf(to, "  left choice %s", text(r, "choice"));
        fputc('\n', to);
        json_array_foreach (json_object_get(r, "evidence"), k, e)
            fprintf(to, "      %.2fx [%.2f, %.2f] on %s, %s %s, %s\n", number(e, "ratio"),
                    number(e, "ratio_low"), number(e, "ratio_high"), text(e, "device"),
                    text(e, "task"), text(e, "workload"), text(e, "date"));
    }
}

static void print_choices(FILE *to, const json_t *choices)
{
    size_t i, k;
    const json_t *c, *d;
    if (json_array_size(choices))
        fputs("\n  choices\n", to);
    json_array_foreach (choices, i, c) {
        fprintf(to, "    %s of rule %s, %s: took \"%s\" of %d\n", text(c, "choice"),
                text(c, "rule"), text(c, "place"),
                *text(c, "picked") ? text(c, "picked") : "the default",
                (int)number(c, "alternatives"));
        fprintf(to, "      %s\n", text(c, "evidence"));
        json_array_foreach (json_object_get(c, "apart"), k, d)
            fprintf(to, "      but %s: took \"%s\", %s\n", text(d, "choice"), text(d, "picked"),
                    text(d, "evidence"));
    }
}

static void print_group(Arena *a, FILE *to, const json_t *g)
{
    const json_t *m = json_object_get(g, "measured");
    fprintf(to, "    %d  %-10s ", (int)number(g, "group"), text(g, "kind"));
    print_nodes(a, to, json_object_get(g, "nodes"));
    fputs("\n       reads ", to);
    print_names(to, json_object_get(g, "reads"));
    fputs("; writes ", to);
    print_names(to, json_object_get(g, "writes"));
    fputs("; ", to);
    print_bytes(a, to, number(g, "bytes_read") + number(g, "bytes_written"), number(g, "flops"));
    fprintf(to, "\n       schedule %s (%s)", *text(g, "schedule") ? text(g, "schedule") : "-",
            text(g, "schedule_from"));
    if (number(g, "predicted_us") > 0)
        fprintf(to, ", predicted %s", human_seconds(a, number(g, "predicted_us") * 1e-6));
    bool own = m && !strcmp(text(m, "schedule"), text(g, "schedule"));
    if (m && !own)
        fprintf(to, "; together with its neighbours; alone the fastest was \"%s\", %.2f us", text(m, "schedule"), number(m, "us"));
    if (own)
        fprintf(to, "; measured %.2f us, %.2fx [%.2f, %.2f] of \"%s\"", number(m, "us"),
                number(m, "ratio"), number(m, "ratio_low"), number(m, "ratio_high"),
                text(m, "beat"));
    if (number(g, "kernel_of") != number(g, "group"))
        fprintf(to, "; in the kernel of group %d", (int)number(g, "kernel_of"));
    fputc('\n', to);
    product_print(to, json_object_get(g, "product"), m ? number(m, "us") : NAN);
    print_indented(to, text(g, "why_not"), "       not ");
}

static void print_steps(Arena *a, FILE *to, const json_t *steps)
{
    size_t i;
    const json_t *s;
    fputs("\n  steps\n", to);
    json_array_foreach (steps, i, s) {
        fprintf(to, "    %-8s %s", text(s, "step"),
                *text(s, "kernel") ? text(s, "kernel") : text(s, "label"));
        if (!strcmp(text(s, "step"), "library"))
            fprintf(to, " %gx%gx%g batch %g, epilogue %s, algorithm %d", number(s, "m"),
                    number(s, "n"), number(s, "k"), number(s, "batch"), text(s, "epilogue"),
                    (int)number(s, "algorithm"));
        fputs("; ", to);
        print_bytes(a, to, number(s, "bytes"), number(s, "flops"));
        fputc('\n', to);
    }
}

static void print_text(Cli *c, Arena *a, const json_t *e, bool verbose)
{
    FILE *to = c->out;
    const json_t *floor = json_object_get(e, "floor"), *groups = json_object_get(e, "groups"), *g;
    size_t i;
    fprintf(to, "%s %s on %s (%s)\n  floor %s: ", text(e, "task"), text(e, "workload"),
            text(e, "device"), text(e, "arch"), human_seconds(a, number(floor, "us") * 1e-6));
    print_bytes(a, to, number(floor, "bytes"), number(floor, "flops"));
    fprintf(to, ", bound by %s%s\n", text(floor, "bound"),
            json_is_true(json_object_get(floor, "measured_ceilings"))
                ? ""
                : " (ceilings of the model, not measured)");
    if (*text(e, "verified"))
        fprintf(to, "  verified: %s\n", text(e, "verified"));
    print_rules(to, json_object_get(e, "rules"));
    print_choices(to, json_object_get(e, "choices"));
    fputs("\n  groups\n", to);
    json_array_foreach (groups, i, g) {
        print_group(a, to, g);
        if (verbose)
            print_indented(to, text(g, "computes"), "         ");
    }
    print_steps(a, to, json_object_get(e, "steps"));
    fputc('\n', to);
}

static const Column columns[] = {
    {"task", "task", COL_TEXT},         {"workload", "workload", COL_TEXT},
    {"group", "group", COL_INT},        {"kind", "kind", COL_TEXT},
    {"bytes_read", "read", COL_REAL},   {"bytes_written", "written", COL_REAL},
    {"flops", "flops", COL_REAL},       {"predicted_us", "predicted", COL_REAL},
    {"schedule", "schedule", COL_TEXT}, {"schedule_from", "from", COL_TEXT},
};

static void add_rows(Table *t, const json_t *e)
{
    size_t i;
    const json_t *g;
    json_array_foreach (json_object_get(e, "groups"), i, g) {
        table_text(t, text(e, "task"));
        table_text(t, text(e, "workload"));
        table_int(t, (int64_t)number(g, "group"));
        table_text(t, text(g, "kind"));
        table_real(t, number(g, "bytes_read"));
        table_real(t, number(g, "bytes_written"));
        table_real(t, number(g, "flops"));
        table_real(t, number(g, "predicted_us"));
        table_text(t, text(g, "schedule"));
        table_text(t, text(g, "schedule_from"));
    }
}

/* ---- the command ---------------------------------------------------------------------------- */

static ExitCode run_explain(Cli *c)
{
    Job j;
    json_t *all = json_array();
    if (job_open(c, &c->args[0], DB_READ, &j)) {
        bool ok = true;
        Table *t = table_new(j.cx->arena, columns, sizeof columns / sizeof columns[0]);
        j.options.codegen.no_code = true;
        for (uint32_t w = 0; w < j.n_workloads && ok && !cli_stopped(c); w++) {
            Compiled k;
            if (!(ok = job_compile(&j, j.workloads[w], &k)))
                break;
            json_t *e = explanation(&j, j.workloads[w], &k);
            if (c->o.format == FORMAT_TEXT)
                print_text(c, j.cx->arena, e, c->o.verbose);
            add_rows(t, e);
            json_array_append_new(all, e);
        }
        ok = ok && job_check_picks(&j);
        if (ok && c->o.format == FORMAT_JSON)
            json_print(json_incref(all), c->out);
        if (ok && c->o.format == FORMAT_CSV)
            table_print(t, c->out, FORMAT_CSV);
    }
    json_decref(all);
    job_close(&j);
    return cli_end(c);
}

static const OptionGroup *const groups[] = {
    &options_workload,
    &options_device,
    &options_compile,
    &options_passes,
    &options_database,
    &options_general,
    NULL,
};
const Command command_explain = {
    .name = "explain",
    .args = "TASK",
    .about = "Show what was done to a task, and why.",
    .more = "Rules that fired and where, measured choices with their evidence, groups of "
            "operations that share a kernel\n"
            "with what they move and compute, their schedules and what those beat, and the floor. "
            "--verbose shows what\n"
            "each group computes.\n\n"
            "  pawl explain tasks/qwen3/sdpa_prelude.yaml --workload decode_8 --device sm_90a",
    .min_args = 1,
    .max_args = 1,
    .groups = groups,
    .run = run_explain,
};
