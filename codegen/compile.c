/* codegen/compile.c — the whole way for one workload of a task: specialise, passes, choices, code. */
#include "base/file.h"
#include "codegen/codegen.h"
#include "pawl_version.h"

#include <jansson.h>

static const ChoicePick *find_pick(const CompileOptions *o, Str id)
{
    for (uint32_t i = 0; i < o->n_picks; i++)
        if (!strcmp(o->picks[i].id, id))
            return &o->picks[i];
    return NULL;
}

/* Choices with a pick (measured, or the user's) take it. The others are tried one at a time under the machine model, the rest as
 * picked so far; the unrewritten form stays unless another is predicted to be faster. */
static bool settle_choices(Context *cx, const Graph *g, const CompileOptions *o, const CodegenOptions *codegen, Compiled *out)
{
    uint32_t n;
    ChoiceInfo *list = choices_list(g, cx->scratch, &n);
    ChoicePick *picks = arena_new_array(cx->scratch, ChoicePick, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        const ChoicePick *given = find_pick(o, list[i].id);
        picks[i] = (ChoicePick){list[i].id, given ? given->alternative : 0};
    }
    for (uint32_t i = 0; i < n; i++) {
        if (find_pick(o, list[i].id))
            continue;
        double best = -1, first = -1;
        uint32_t winner = 0;
        for (uint32_t a = 0; a < list[i].n_alternatives; a++) {
            picks[i].alternative = a;
            Graph *trial = choices_resolve(g, picks, n);
            double seconds = trial ? codegen_predict(cx, trial, codegen) : -1;
            first = a ? first : seconds;
            if (seconds >= 0 && (best < 0 || seconds < best)) {
                best = seconds;
                winner = a;
            }
        }
        picks[i].alternative = winner;
        vec_push(cx->arena, &out->decisions, ((PlanDecision){
            list[i].id, str_format(cx->strs, "%u", winner),
            str_format(cx->strs, "not measured; the machine model predicts %.1f us against %.1f us unrewritten", best * 1e6, first * 1e6)}));
    }
    out->resolved = choices_resolve(g, picks, n);
    return out->resolved != NULL;
}

bool compile_workload(Context *cx, Task *t, const Workload *w, const CompileOptions *o, Compiled *out)
{
    *out = (Compiled){.workload = w};
    double start = clock_seconds();
    out->graph = graph_specialise(t->graph, w ? w->values : NULL, w ? w->n : 0);
    if (!out->graph)
        return false;
    /* passes rewrite in place: they get a copy, so that the graph before any pass stays for oracles and reports */
    out->with_choices = graph_specialise(out->graph, NULL, 0);
    PassOptions passes = o->passes;
    passes.numerics = t->numerics;
    CodegenOptions codegen = o->codegen;
    codegen.numerics = t->numerics;
    if (!out->with_choices || !pipeline_run(out->with_choices, &passes, &out->report) ||
        !settle_choices(cx, out->with_choices, o, &codegen, out))
        return false;
    double passed = clock_seconds();
    out->groups = groups_form(cx, out->resolved, &codegen);
    out->plan = out->groups ? codegen_plan(cx, out->resolved, out->groups, &codegen) : NULL;
    if (!out->plan)
        return false;
    out->plan->name = t->name;
    for (uint32_t i = 0; i < out->decisions.n; i++)
        vec_push(cx->arena, &out->plan->decisions, out->decisions.data[i]);
    out->plan->workload = w ? w->name : NULL;
    double built = clock_seconds();
    if (!o->no_weights && !o->codegen.no_code && !weights_materialise(cx, &out->plan, 1, t))
        return false;
    out->seconds_passes = passed - start;
    out->seconds_codegen = built - passed;
    out->seconds_weights = clock_seconds() - built;
    return true;
}

static json_t *plan_manifest(const Compiled *c)
{
    json_t *kernels = json_array(), *decisions = json_array();
    for (uint32_t i = 0; i < c->plan->kernels.n; i++) {
        const PlanKernel *k = &c->plan->kernels.data[i];
        json_array_append_new(kernels, json_pack("{s:s, s:s, s:s, s:s?}", "name", k->name, "kind", k->kind, "schedule", k->schedule,
                                                 "emitter", k->emitter));
    }
    for (uint32_t i = 0; i < c->plan->decisions.n; i++) {
        const PlanDecision *d = &c->plan->decisions.data[i];
        json_array_append_new(decisions, json_pack("{s:s, s:s, s:s?}", "choice", d->choice, "picked", d->picked, "evidence", d->evidence));
    }
    return json_pack("{s:s?, s:s, s:o, s:o}", "workload", c->workload ? c->workload->name : NULL, "arch", c->plan->arch,
                     "kernels", kernels, "decisions", decisions);
}

static const char *dist_text(Arena *a, Dist d)
{
    static const char *const names[] = {
        [DIST_NORMAL] = "normal", [DIST_UNIFORM] = "uniform", [DIST_RANDINT] = "randint", [DIST_CONSTANT] = "constant"
    };
    StrBuf b = strbuf_new(a);
    strbuf_printf(&b, "%s(", names[d.kind]);
    strbuf_double(&b, d.a);
    if (d.kind != DIST_CONSTANT) {
        strbuf_add(&b, ", ");
        strbuf_double(&b, d.b);
    }
    strbuf_char(&b, ')');
    return b.text;
}

/* What `pawl run` draws where no input is given. */
static json_t *inputs_manifest(Arena *a, const Task *t)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < t->graph->inputs.n; i++) {
        const GraphInput *in = &t->graph->inputs.data[i];
        StrBuf b = strbuf_new(a);
        type_print(&b, &in->node->type);
        if (in->node->op == OP_INPUT)
            json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "name", in->name, "type", b.text, "dist", dist_text(a, in->dist)));
    }
    return list;
}

char *compile_manifest(Arena *a, const Task *t, const Compiled *c, uint32_t n, const CompileOptions *o)
{
    json_t *plans = json_array();
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(plans, plan_manifest(&c[i]));
    const Machine *m = &o->codegen.machine;
    json_t *root = json_pack("{s:s, s:i, s:s, s:s?, s:s, s:s, s:{s:s, s:s, s:s}, s:I, s:o, s:o}",
                             "pawl", PAWL_VERSION, "abi", 1, "task", t->name, "about", t->about, "device", m->name, "arch", m->arch,
                             "numerics", "matmul", numclass_name(t->numerics.matmul), "conv", numclass_name(t->numerics.conv),
                             "else", numclass_name(t->numerics.otherwise), "seed", (json_int_t)t->seed,
                             "inputs", inputs_manifest(a, t), "provenance", plans);
    char *text = json_dumps(root, JSON_INDENT(1) | JSON_SORT_KEYS), *out = arena_strdup(a, text);
    free(text);
    json_decref(root);
    return out;
}
