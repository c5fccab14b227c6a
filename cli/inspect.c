/* cli/inspect.c — `pawl inspect`: what a package or a task holds. */
#include "base/file.h"
#include "cli/job.h"
#include "cli/table.h"
#include "runtime/package.h"
#include "runtime/zip.h"
#include <string.h>

#define FIELD(f) offsetof(Options, f)

static const Option rows[] = {
    {0, "manifest", OPT_FLAG, FIELD(manifest), NULL, "A package's manifest."},
    {0, "plans", OPT_FLAG, FIELD(plans), NULL,
     "A package's plans: buffers, kernels, steps, guards."},
    {0, "members", OPT_FLAG, FIELD(members), NULL, "The members of a package's file."},
    {0, "weights", OPT_FLAG, FIELD(weights), NULL, "The weights, and how they are made."},
    {0, "check", OPT_FLAG, FIELD(check), NULL,
     "Check all checksums of a package, weights included."},
    {0, "graph", OPT_FLAG, FIELD(graph), NULL, "A task's graph, composites inlined."},
    {0, "statements", OPT_FLAG, FIELD(statements), NULL,
     "A task's statements as written, for other renderers (JSON)."},
    {'w', "workload", OPT_LIST, FIELD(workloads), "W",
     "Only this workload; a task's graph or statements under its shapes."},
};
static const OptionGroup own = OPTION_GROUP("Parts (default: a summary)", rows);

/* ---- packages ------------------------------------------------------------------------------- */

static const Column member_columns[] = {
    {"member", "member", COL_TEXT},
    {"offset", "offset", COL_INT},
    {"bytes", "bytes", COL_INT},
};
static const Column weight_columns[] = {
    {"weight", "weight", COL_TEXT}, {"type", "type", COL_TEXT},      {"bytes", "bytes", COL_INT},
    {"plans", "plans", COL_INT},    {"recipe", "made by", COL_TEXT},
};
static const Column plan_columns[] = {
    {"plan", "plan", COL_TEXT},     {"target", "target", COL_TEXT},
    {"arch", "arch", COL_TEXT},     {"kernels", "kernels", COL_INT},
    {"steps", "steps", COL_INT},    {"workspace_bytes", "workspace", COL_TEXT},
    {"guards", "guards", COL_TEXT},
};
#define NEW_TABLE(a, columns) table_new(a, columns, sizeof columns / sizeof columns[0])

static Table *members_table(const Package *p, Arena *a)
{
    Table *t = NEW_TABLE(a, member_columns);
    for (uint32_t i = 0; i < p->zip->n; i++) {
        table_text(t, p->zip->members[i].name);
        table_int(t, (int64_t)p->zip->members[i].offset);
        table_int(t, (int64_t)p->zip->members[i].size);
    }
    return t;
}

static Table *weights_table(const Package *p, Arena *a)
{
    Table *t = NEW_TABLE(a, weight_columns);
    Map *seen = map_new(a);
    for (uint32_t i = 0; i < p->n_plans; i++)
        vec_foreach (PlanWeight, w, &p->plans[i]->weights) {
            if (!map_set_ptr(seen, w->key ? w->key : w->name, w))
                continue;
            uint32_t users = 0;
            for (uint32_t k = 0; k < p->n_plans; k++)
                vec_foreach (PlanWeight, other, &p->plans[k]->weights)
                    users += (other->key ? other->key : other->name) == (w->key ? w->key : w->name);
            StrBuf type = strbuf_new(a);
            buffer_type_print(&type, &p->plans[i]->buffers.data[w->buffer]);
            table_text(t, w->key ? w->key : w->name);
            table_text(t, type.text);
            table_int(t, w->data ? (int64_t)tensor_bytes(w->data) : -1);
            table_int(t, users);
            table_text(t, w->recipe ? w->recipe : "as in the model");
        }
    return t;
}

static Table *plans_table(const Package *p, Arena *a)
{
    Table *t = NEW_TABLE(a, plan_columns);
    for (uint32_t i = 0; i < p->n_plans; i++) {
        const Plan *plan = p->plans[i];
        StrBuf guards = strbuf_new(a);
        strbuf_add(&guards, "");
        vec_foreach (PlanSymbol, s, &plan->symbols)
            strbuf_printf(&guards, "%s%lld <= %s <= %lld", guards.len ? ", " : "", (long long)s->lo,
                          s->name, (long long)s->hi);
        if (!plan->symbols.n)
            for (uint32_t k = 0; k < plan->n_inputs; k++) {
                strbuf_printf(&guards, "%s%s: ", k ? ", " : "", plan->buffers.data[k].name);
                buffer_type_print(&guards, &plan->buffers.data[k]);
            }
        table_text(t, plan->workload ? plan->workload : "generic");
        table_text(t, plan->target == TARGET_CUDA ? "cuda" : "cpu");
        table_text(t, plan->arch);
        table_int(t, plan->kernels.n);
        table_int(t, plan->steps.n);
        table_text(t, plan->workspace_bytes ? dim_text(a, plan->workspace_bytes) : "0");
        table_text(t, guards.text);
    }
    return t;
}

static bool wanted(const Cli *c, const Plan *p)
{
    const Texts *w = &c->o.workloads;
    for (uint32_t i = 0; i < w->n; i++)
        if (!strcmp(w->data[i], p->workload ? p->workload : "generic"))
            return true;
    return w->n == 0;
}

static void package_json(Cli *c, const Package *p, Arena *a, bool all)
{
    json_t *j = json_object();
    json_object_set_new(j, "name", json_text(p->name));
    if (all || c->o.manifest)
        json_object_set_new(j, "manifest", json_loads(p->manifest, JSON_DECODE_ANY, NULL));
    if (all || c->o.plans) {
        json_t *list = json_array();
        for (uint32_t i = 0; i < p->n_plans; i++)
            if (wanted(c, p->plans[i]))
                json_array_append_new(
                    list, json_loads(plan_to_json(p->plans[i], a), JSON_DECODE_ANY, NULL));
        json_object_set_new(j, "plans", list);
    }
    if (all || c->o.members)
        json_object_set_new(j, "members", table_json(members_table(p, a)));
    if (all || c->o.weights)
        json_object_set_new(j, "weights", table_json(weights_table(p, a)));
    json_print(j, c->out);
}

static void print_manifest(const Package *p, FILE *to)
{
    json_t *j = json_loads(p->manifest, JSON_DECODE_ANY, NULL);
    if (j)
        json_print(j, to);
    else
        fprintf(to, "%s\n", p->manifest);
}

static void package_text(Cli *c, const Package *p, Arena *a, bool all)
{
    Format f = (Format)c->o.format;
    if (all) {
        fprintf(c->out, "package %s, %s\n\n", p->name, human_bytes(a, (double)p->map.len));
        table_print(plans_table(p, a), c->out, f);
        fprintf(c->out,
                "\n%u weights, %u members; more with --plans, --manifest, --members, --weights\n",
                table_rows(weights_table(p, a)), p->zip->n);
    }
    if (c->o.manifest)
        print_manifest(p, c->out);
    for (uint32_t i = 0; i < p->n_plans && c->o.plans; i++) {
        StrBuf b = strbuf_new(a);
        plan_print(&b, p->plans[i]);
        if (wanted(c, p->plans[i]))
            fputs(b.text, c->out);
    }
    if (c->o.members)
        table_print(members_table(p, a), c->out, f);
    if (c->o.weights)
        table_print(weights_table(p, a), c->out, f);
}

static void inspect_package(Cli *c, Context *cx, const char *path)
{
    Package *p = package_open(cx, path);
    bool all = !c->o.manifest && !c->o.plans && !c->o.members && !c->o.weights;
    if (!p)
        return;
    if (!c->o.check || package_check(p, cx->diags)) {
        if (c->o.check)
            cli_say(c, "%s: all checksums are right", path);
        if (c->o.format == FORMAT_JSON)
            package_json(c, p, cx->arena, all);
        else if (c->o.format == FORMAT_CSV && all)
            table_print(plans_table(p, cx->arena), c->out, FORMAT_CSV);
        else
            package_text(c, p, cx->arena, all);
    }
    package_close(p);
}

/* ---- tasks ---------------------------------------------------------------------------------- */

static void task_summary(Cli *c, const Task *t, Arena *a)
{
    const Graph *g = t->graph;
    uint32_t n;
    graph_order(g, a, &n);
    fprintf(c->out, "task %s\n", t->name);
    if (t->about)
        fprintf(c->out, "  %s\n", t->about);
    if (t->origin)
        fprintf(c->out, "  source: %s\n", t->origin);
    fprintf(c->out, "  numerics: matmul %s, else %s; seed %llu; %u nodes\n",
            numclass_name(t->numerics.matmul), numclass_name(t->numerics.otherwise),
            (unsigned long long)t->seed, n);
    for (uint32_t i = 0; i < g->inputs.n; i++) {
        const GraphInput *in = &g->inputs.data[i];
        StrBuf b = strbuf_new(a);
        type_print(&b, &in->node->type);
        fprintf(c->out, "  %-6s %-16s %s%s\n", in->node->op == OP_PARAM ? "param" : "input",
                in->name, b.text, in->is_mutable ? " mutable" : "");
    }
    for (uint32_t i = 0; i < g->outputs.n; i++) {
        StrBuf b = strbuf_new(a);
        type_print(&b, &g->outputs.data[i].node->type);
        fprintf(c->out, "  output %-16s %s\n", g->outputs.data[i].name, b.text);
    }
    for (uint32_t i = 0; i < t->n_workloads; i++) {
        fprintf(c->out, "  workload %s:", t->workloads[i].name);
        for (uint32_t k = 0; k < t->workloads[i].n; k++)
            fprintf(c->out, " %s=%lld", t->workloads[i].values[k].name,
                    (long long)t->workloads[i].values[k].value);
        fputc('\n', c->out);
    }
}

static void inspect_task(Cli *c, Context *cx, const char *path)
{
    Task *t = task_load(cx, path);
    Workload found, *w = NULL;
    if (!t)
        return;
    vec_push(c->cx->arena, &c->inputs, t->source);
    if (c->o.workloads.n) {
        if (!task_workload_parse(t, c->o.workloads.data[0], &found))
            return;
        w = &found;
    }
    if (c->o.manifest || c->o.plans || c->o.members || c->o.weights || c->o.check) {
        diag_error(cx->diags, PAWL_EXIT_INVALID, LOC_NONE, "compile it first",
                   "%s is a task, not a package", path);
    } else if (c->o.graph) {
        Graph *g = w ? graph_specialise(t->graph, w->values, w->n) : t->graph;
        if (g)
            fputs(graph_text(cx->arena, g), c->out);
    } else if (c->o.statements || c->o.format == FORMAT_JSON) {
        char *text = task_json(t, w, cx->arena);
        if (text)
            fprintf(c->out, "%s\n", text);
    } else {
        task_summary(c, t, cx->arena);
    }
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

static ExitCode run_inspect(Cli *c)
{
    const char *path = c->args[0].text;
    Context *cx = context_new();
    ends_with(path, ".yaml") || ends_with(path, ".yml") ? inspect_task(c, cx, path)
                                                        : inspect_package(c, cx, path);
    cli_flush(c, cx);
    c->inputs.n = 0;
    context_free(cx);
    return cli_end(c);
}

static const OptionGroup *const groups[] = {&own, &options_general, NULL};
const Command command_inspect = {
    .name = "inspect",
    .args = "FILE.pawl|TASK",
    .about = "Show what a package or a task holds.",
    .more = "  pawl inspect swiglu.pawl --plans --workload decode_8\n"
            "  pawl inspect tasks/qwen3/swiglu.yaml --statements --format=json --workload decode_8",
    .min_args = 1,
    .max_args = 1,
    .groups = groups,
    .run = run_inspect,
};
