/* codegen/compile.c — the whole way for one workload of a task: specialise, passes, choices, code. */
#include "base/file.h"
#include "codegen/group.h"
#include "pawl_version.h"
#include "runtime/recipe.h"

#include <jansson.h>

static const ChoicePick *find_pick(const CompileOptions *o, Str id)
{
    for (uint32_t i = 0; i < o->n_picks; i++)
        if (!strcmp(o->picks[i].id, id))
            return &o->picks[i];
    return NULL;
}

static bool listed(const Str *ids, uint32_t n, Str id)
{
    for (uint32_t i = 0; i < n; i++)
        if (!strcmp(ids[i], id))
            return true;
    return false;
}

static bool is_plain(const CompileOptions *o, Str id) { return listed(o->plain, o->n_plain, id); }

#define NOT_HELD "that f16 pieces do not hold: numbers that are not finite, or nonzero ones more than 2^29 apart"

static PlanDecision plain_decision(Context *cx, Str id)
{
    return (PlanDecision){id, str_intern(cx->strs, "as written"), str_intern(cx->strs, "a weight has rows or columns " NOT_HELD)};
}

static PlanDecision kept_decision(Context *cx, Str id)
{
    return (PlanDecision){id, str_intern(cx->strs, "split_matmul"),
                          str_intern(cx->strs, "a weight has a few rows or columns " NOT_HELD "; it is kept, and they are computed from it")};
}

/* Picks of single members of a family (#1, #2, …): they count before the family's. Those that stay as written come last. */
static uint32_t member_picks(const CompileOptions *o, ChoicePick *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < o->n_picks; i++)
        if (strchr(o->picks[i].id, '#'))
            out[n++] = o->picks[i];
    for (uint32_t i = 0; i < o->n_plain; i++)
        if (strchr(o->plain[i], '#'))
            out[n++] = (ChoicePick){o->plain[i], 0};
    return n;
}

typedef struct { double best, first; bool tried, matters; } Trial;

/* Leaves in picks[i] the alternative that the machine model prefers, the others as picked so far. */
static Trial try_choice(Context *cx, const Graph *g, const CodegenOptions *codegen, const ChoiceInfo *choice, ChoicePick *picks,
                        uint32_t n, uint32_t i)
{
    Trial t = {.best = -1, .first = -1, .tried = true};
    uint32_t winner = 0;
    for (uint32_t a = 0; a < choice->n_alternatives; a++) {
        picks[i].alternative = a;
        Graph *trial = choices_resolve(g, picks, n);
        double seconds = trial ? codegen_predict(cx, trial, codegen) : -1;
        t.first = a ? t.first : seconds;
        t.matters |= seconds != t.first;
        if (seconds >= 0 && (t.best < 0 || seconds < t.best)) {
            t.best = seconds;
            winner = a;
        }
    }
    picks[i].alternative = winner;
    return t;
}

/* Choices with a pick (measured, or the user's) take it. The others are tried one at a time under the machine model, the rest as
 * picked so far; the unrewritten form stays unless another is predicted to be faster. What made no difference is tried again at the
 * end: it may lie inside an alternative that was picked later. */
static bool settle_choices(Context *cx, const Graph *g, const CompileOptions *o, const CodegenOptions *codegen, Compiled *out)
{
    uint32_t n;
    ChoiceInfo *list = choices_list(g, cx->scratch, &n);
    ChoicePick *picks = arena_new_array(cx->scratch, ChoicePick, n + o->n_picks + o->n_plain + 1);
    Trial *trial = arena_new_array(cx->scratch, Trial, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        const ChoicePick *given = find_pick(o, list[i].id);
        picks[i] = (ChoicePick){list[i].id, given && !is_plain(o, list[i].id) ? given->alternative : 0};
    }
    uint32_t n_picks = n + member_picks(o, picks + n);
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 0; i < n; i++)
            if (!is_plain(o, list[i].id) && !find_pick(o, list[i].id) && !trial[i].matters)
                trial[i] = try_choice(cx, g, codegen, &list[i], picks, n_picks, i);
    for (uint32_t i = 0; i < o->n_plain; i++)
        if (strchr(o->plain[i], '#'))
            vec_push(cx->arena, &out->decisions, plain_decision(cx, o->plain[i]));
    for (uint32_t i = 0; i < n; i++) {
        if (is_plain(o, list[i].id))
            vec_push(cx->arena, &out->decisions, plain_decision(cx, list[i].id));
        else if (trial[i].tried)
            vec_push(cx->arena, &out->decisions, ((PlanDecision){
                list[i].id, str_format(cx->strs, "%u", picks[i].alternative),
                str_format(cx->strs, "not measured; the machine model predicts %.1f us against %.1f us unrewritten",
                           trial[i].best * 1e6, trial[i].first * 1e6)}));
    }
    out->resolved = choices_resolve(g, picks, n_picks);
    return out->resolved != NULL;
}

static bool compile_plan(Context *cx, Task *t, const Workload *w, const CompileOptions *o, Compiled *out)
{
    *out = (Compiled){.workload = w, .options = *o};
    double start = clock_seconds();
    out->graph = graph_specialise(t->graph, w ? w->values : NULL, w ? w->n : 0);
    if (!out->graph)
        return false;
    /* passes rewrite in place: they get a copy, so that the graph before any pass stays for oracles and reports */
    out->with_choices = graph_specialise(out->graph, NULL, 0);
    PassOptions passes = o->passes;
    passes.numerics = t->numerics;
    passes.keeps = o->keeps;
    passes.n_keeps = o->n_keeps;
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
    out->seconds_passes = passed - start;
    out->seconds_codegen = clock_seconds() - passed;
    return true;
}

/* ---- weights -------------------------------------------------------------------------------------------------------------- */
static const Node *without_views(const Node *n)
{
    while (op_class(n->op) == CLASS_MOVEMENT)
        n = n->in[0];
    return n;
}

/* Columns of this weight, right operand of product `n`, that its pieces do not hold; its scales say so. */
static int64_t columns_not_held(Context *cx, const Compiled *c, const Node *n)
{
    Str recipe = weight_describe(cx, c->resolved, without_views(split_operand(n, 1).inv)).recipe;
    vec_foreach(PlanWeight, w, &c->plan->weights)
        if (w->recipe == recipe && w->data)
            return recipe_scales_bad(w->data);
    return INT64_MAX;                                  /* they are not where they were looked for: nobody vouches for them */
}

static bool add_id(Context *cx, const Str **ids, uint32_t *n, Str id)
{
    if (listed(*ids, *n, id))
        return false;
    Str *longer = arena_new_array(cx->arena, Str, *n + 1);
    for (uint32_t i = 0; i < *n; i++)
        longer[i] = (*ids)[i];
    longer[(*n)++] = id;
    *ids = longer;
    return true;
}

/* Products of weights whose pieces do not hold all of them: with a few such columns the weight is kept beside its pieces, and the
 * product computes those from it; with many it stays as written. False: there are none that are not taken care of. */
static bool find_not_held(Context *cx, Compiled *c)
{
    enum { FEW = 64 };                                 /* one column in so many: they cost a dot product of their own each */
    CompileOptions *o = &c->options;
    bool found = false;
    for (uint32_t i = 0; i < c->resolved->nodes.n; i++) {
        const Node *n = c->resolved->nodes.data[i];
        if (n->op != OP_SPLIT_MATMUL || split_operand(n, 1).exact || !split_operand(n, 1).inv)
            continue;
        int64_t bad = columns_not_held(cx, c, n), columns = n->type.shape.d[node_rank(n) - 1]->value;
        Str id = split_choice_id(cx, n);
        if (bad)
            found |= bad <= columns / FEW ? add_id(cx, &o->keeps, &o->n_keeps, id) : add_id(cx, &o->plain, &o->n_plain, id);
    }
    return found;
}

/* The decisions of the first plan stay, but for the choices that have changed. */
static bool compile_again(Context *cx, Task *t, Compiled *c)
{
    Compiled old = *c;
    if (!compile_plan(cx, t, old.workload, &old.options, c))
        return false;
    c->seconds_passes += old.seconds_passes;
    c->seconds_codegen += old.seconds_codegen;
    Graph *graphs[] = {old.graph, old.with_choices, old.resolved};
    for (int i = 0; i < 3; i++)
        graph_free(graphs[i]);
    c->plan->decisions.n = 0;
    vec_foreach(PlanDecision, d, &old.plan->decisions)
        if (!is_plain(&c->options, d->choice) && !listed(c->options.keeps, c->options.n_keeps, d->choice))
            vec_push(cx->arena, &c->plan->decisions, *d);
    for (uint32_t i = 0; i < c->options.n_plain; i++)
        vec_push(cx->arena, &c->plan->decisions, plain_decision(cx, c->options.plain[i]));
    for (uint32_t i = 0; i < c->options.n_keeps; i++)
        if (!is_plain(&c->options, c->options.keeps[i]))
            vec_push(cx->arena, &c->plan->decisions, kept_decision(cx, c->options.keeps[i]));
    return true;
}

bool compile_weights(Context *cx, Task *t, Compiled *list, uint32_t n)
{
    Plan **plans = arena_new_array(cx->arena, Plan *, n + 1);
    double start = clock_seconds();
    for (bool again = true; again; ) {
        for (uint32_t i = 0; i < n; i++)
            plans[i] = list[i].plan;
        if (!weights_materialise(cx, plans, n, t))
            return false;
        again = false;
        for (uint32_t i = 0; i < n; i++)
            if (find_not_held(cx, &list[i])) {
                again = true;
                if (!compile_again(cx, t, &list[i]))
                    return false;
            }
    }
    if (n)
        list[0].seconds_weights = clock_seconds() - start;
    return true;
}

bool compile_workload(Context *cx, Task *t, const Workload *w, const CompileOptions *o, Compiled *out)
{
    return compile_plan(cx, t, w, o, out) && (o->no_weights || o->codegen.no_code || compile_weights(cx, t, out, 1));
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
    StrBuf b = strbuf_new(a);
    strbuf_printf(&b, "%s(", dist_name(d.kind));
    strbuf_double(&b, d.a);
    if (dist_arguments(d.kind) > 1) {
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
