/* cli/job.c — see job.h. */
#include "cli/job.h"
#include "autotune/ceilings.h"
#include "base/file.h"
#include "codegen/emit/emit.h"
#include "codegen/kind.h"
#include <stdlib.h>
#include <string.h>

const char *workload_name(const Workload *w) { return w ? w->name : "generic"; }

/* ---- device --------------------------------------------------------------------------------- */

static const char *const host_archs[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};

/* A host architecture by name; it also runs here when this machine has it. */
static bool named_host(Job *j, const char *arch, Machine *m)
{
    size_t n = sizeof host_archs / sizeof host_archs[0];
    bool known = false, runs = false;
    for (size_t i = 0; i < n; i++) {
        known |= !strcmp(arch, host_archs[i]);
        runs |= !strcmp(host_arch(), host_archs[i]) && strcmp(arch, host_archs[i]) <= 0;
    }
    if (!known)
        return diag_error(j->cx->diags, PAWL_EXIT_INVALID, LOC_NONE,
                          "known: x86-64-v2, x86-64-v3, x86-64-v4", "unknown architecture \"%s\"",
                          arch);
    if (!tune_device(j->cx, "cpu", false, &j->device) || !machine_of(j->cx, &j->device, j->db, m))
        return false;
    m->arch = j->device.arch = str_intern(j->cx->strs, arch);
    m->vector_bytes = !strcmp(arch, "x86-64-v4") ? 64 : !strcmp(arch, "x86-64-v3") ? 32 : 16;
    if (!runs)
        j->device.spec = NULL;
    return true;
}

static bool resolve_device(Job *j, Machine *m)
{
    const Options *o = &j->cli->o;
    const char *spec = o->device ? o->device : "auto";
    if (!strcmp(spec, "sim")) { /* code for the H200, which the simulator runs here */
        if (!machine_cuda(j->cx, "sm_90a", m) ||
            !tune_device_named(j->cx, m->name, m->arch, &j->device))
            return false;
        j->device.spec = "sim";
        return true;
    }
    if (!strncmp(spec, "x86", 3))
        return named_host(j, spec, m);
    if (!strncmp(spec, "sm_", 3))
        return machine_cuda(j->cx, spec, m) &&
               tune_device_named(j->cx, m->name, m->arch, &j->device);
    return tune_device(j->cx, spec, !o->no_library, &j->device) &&
           machine_of(j->cx, &j->device, j->db, m);
}

bool job_can_run(Job *j, const char *what)
{
    if (j->device.spec)
        return true;
    return diag_error(
        j->cx->diags, PAWL_EXIT_DEVICE, LOC_NONE, "--device cpu, or cuda where there is a GPU",
        "%s is not a device of this machine: nothing can be %s on it", j->device.arch, what);
}

/* ---- options -------------------------------------------------------------------------------- */

static bool known_pass(Job *j, const char *option, const char *name)
{
    uint32_t n;
    const char *const *names = pipeline_pass_names(&n);
    for (uint32_t i = 0; i < n; i++)
        if (!strcmp(names[i], name))
            return true;
    const char *near = str_nearest(name, names, n);
    StrBuf b = strbuf_new(j->cx->arena);
    strbuf_add(&b, near ? "did you mean " : "passes: ");
    for (uint32_t i = 0; i < n && !near; i++)
        strbuf_printf(&b, "%s%s", i ? ", " : "", names[i]);
    if (near)
        strbuf_printf(&b, "%s?", near);
    return diag_error(j->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, b.text,
                      "%s: there is no pass \"%s\"", option, name);
}

static bool fill_passes(Job *j, PassOptions *p)
{
    const Options *o = &j->cli->o;
    for (uint32_t i = 0; i < o->no_pass.n; i++)
        if (!known_pass(j, "--no-pass", o->no_pass.data[i]))
            return false;
    if (o->dump_after && strcmp(o->dump_after, "all") != 0 &&
        !known_pass(j, "--dump-after", o->dump_after))
        return false;
    if (o->dump_dir && !dir_make(j->cx->diags, o->dump_dir))
        return false;
    *p = (PassOptions){
        .disabled = o->no_pass.data,
        .n_disabled = o->no_pass.n,
        .dump_after = o->dump_after,
        .dump = j->cli->err,
        .dump_dir = o->dump_dir,
        .rules_dir = o->rules,
        .disabled_rules = o->no_rule.data,
        .n_disabled_rules = o->no_rule.n,
        .verify = o->verify_passes,
    };
    return true;
}

/* What was tuned without some kinds is nothing to go by with them: it is remembered under an environment of its own. */
static bool leave_out_kinds(Job *j)
{
    const Texts *no = &j->cli->o.no_kind;
    for (uint32_t i = 0; i < no->n; i++) {
        StrBuf known = strbuf_new(j->cx->arena);
        for (uint32_t k = 0; kernel_kinds[k]; k++)
            strbuf_printf(&known, "%s%s", k ? ", " : "known: ", kernel_kinds[k]->name);
        if (!kind_find(no->data[i]))
            return diag_error(j->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, known.text,
                              "--no-kind: there is no kind of kernels \"%s\"", no->data[i]);
        j->device.environment =
            str_format(j->cx->strs, "%s%s%s", j->device.environment, i ? "," : " without=", no->data[i]);
    }
    return true;
}

static bool is_sim(const Job *j)
{
    return j->device.spec && !strcmp(j->device.spec, "sim");
}

/* What passes may count on where kind gemm is there to run it. */
static void offer_products(const CodegenOptions *g, PassOptions *p)
{
    bool left_out = false;
    for (uint32_t i = 0; i < g->n_no_kinds; i++)
        left_out |= !strcmp(g->no_kinds[i], "gemm");
    bool runs = g->machine.tensor_cores && g->fuse && g->emitter != EMITTER_LLVM && nvrtc_available(NULL) && !left_out;
    p->f16_products = runs;
    p->fold_norms = g->machine.tensor_cores && g->fuse;
    p->piece = runs ? 64 : 0;             /* columns that the epilogue of a product has at hand */
    p->units = runs ? (uint32_t)g->machine.units : 0;
}

static bool fill_options(Job *j, const Machine *m)
{
    const Options *o = &j->cli->o;
    CodegenOptions *g = &j->options.codegen;
    *g = (CodegenOptions){
        .machine = *m,
        .fuse = !o->no_fuse,
        .use_library = m->target == TARGET_CUDA && m->has_library && !o->no_library,
        .no_kinds = o->no_kind.data,
        .n_no_kinds = o->no_kind.n,
        .emitter = (Emitter)o->emitter,
        .simulated = is_sim(j),
        .dump_dir = o->dump_dir,
        .keep_source = o->emit.n > 0,
        .portable = true,
    };
    j->options.no_weights = true; /* made once for all plans: job_weights */
    if (j->db)
        g->schedules = db_schedules(j->cx, j->db, &j->device);
    if (!fill_passes(j, &j->options.passes))
        return false;
    offer_products(g, &j->options.passes);
    return true;
}

bool job_open_passes(Cli *c, Job *j)
{
    *j = (Job){.cli = c, .cx = context_new()};
    j->pick_used = arena_new_array(j->cx->arena, bool, c->o.picks.n + 1);
    bool ok = fill_passes(j, &j->options.passes);
    j->options.passes.numerics = (Numerics){NUM_FP32, NUM_FP32, NUM_FP32, 0};
    return ok;
}

static bool open_device(Job *j, DbMode mode)
{
    const Options *o = &j->cli->o;
    if (!o->no_tuned)
        j->db = db_open_or_memory(j->cx, db_default_path(j->cx->arena, o->db), mode);
    Machine m = {0};
    return resolve_device(j, &m) && leave_out_kinds(j) && fill_options(j, &m);
}

bool job_measure_machine(Job *j)
{
    return machine_measured(j->cx, &j->device, j->db, false, &j->options.codegen.machine);
}

/* ---- task and workloads --------------------------------------------------------------------- */

static bool fill_workloads(Job *j)
{
    const Options *o = &j->cli->o;
    uint32_t n = o->workloads.n ? o->workloads.n : j->task->n_workloads;
    j->workloads = arena_new_array(j->cx->arena, const Workload *, n);
    for (uint32_t i = 0; i < n; i++) {
        if (o->workloads.n) {
            Workload *w = arena_new_of(j->cx->arena, Workload);
            if (!task_workload_parse(j->task, o->workloads.data[i], w))
                return false;
            j->workloads[j->n_workloads++] = w;
        } else {
            j->workloads[j->n_workloads++] = &j->task->workloads[i];
        }
    }
    return true;
}

bool job_open(Cli *c, const Arg *path, DbMode mode, Job *j)
{
    *j = (Job){.cli = c, .cx = context_new()};
    j->pick_used = arena_new_array(j->cx->arena, bool, c->o.picks.n + 1);
    bool ok = (j->task = task_load(j->cx, path->text)) != NULL;
    if (ok) {
        vec_push(c->cx->arena, &c->inputs, j->task->source);
        if (c->o.seed >= 0)
            j->task->seed = (uint64_t)c->o.seed;
        ok = fill_workloads(j) && open_device(j, mode);
    }
    if (ok) {
        j->options.passes.numerics = j->options.codegen.numerics = j->task->numerics;
    } else {
        cli_flush(c, j->cx);
    }
    return ok;
}

void job_close(Job *j)
{
    if (!j->cx)
        return;
    db_close(j->db);
    cli_flush(j->cli, j->cx);
    j->cli->inputs.n = 0; /* the task's text goes with its context */
    context_free(j->cx);
    j->cx = NULL;
}

bool dims_parse(Context *cx, const char *text, DimValue **values, uint32_t *n)
{
    char *copy = arena_strdup(cx->arena, text);
    *values = arena_new_array(cx->arena, DimValue, strlen(text) + 1);
    *n = 0;
    for (char *p = copy, *next; p; p = next) {
        char *comma = strchr(p, ','), *equals;
        next = comma ? comma + 1 : NULL;
        if (comma)
            *comma = 0;
        equals = strchr(p, '=');
        DimValue *v = &(*values)[(*n)++];
        if (equals)
            *equals = 0;
        if (!equals || !*p || !str_to_i64(equals + 1, &v->value) || v->value < 0)
            return diag_error(cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL,
                              "dims are written as in B=1,S=512, not \"%s\"", text);
        v->name = str_intern(cx->strs, p);
    }
    return true;
}

/* ---- choices -------------------------------------------------------------------------------- */

/* "…#2=1" for a choice whose family has such a member: 2; else 0. */
static uint32_t picked_member(const char *pick, const ChoiceInfo *choice)
{
    size_t n = strlen(choice->id);
    if (strncmp(pick, choice->id, n) != 0 || pick[n] != '#')
        return 0;
    uint64_t number = strtoul(pick + n + 1, NULL, 10);
    return number <= choice->n_members ? (uint32_t)number : 0;
}

/* --pick CHOICE=ALT: the choice's id, one of its members' or its rule's name, and the number of an alternative. */
static bool pick_matches(const char *pick, const ChoiceInfo *choice)
{
    size_t n = strcspn(pick, "=");
    return (strlen(choice->id) == n && !memcmp(choice->id, pick, n)) || picked_member(pick, choice) ||
           (choice->rule && strlen(choice->rule) == n && !memcmp(choice->rule, pick, n));
}

static bool pick_alternative(Job *j, const char *pick, const ChoiceInfo *choice, ChoicePick *out)
{
    int64_t alternative;
    const char *equals = strchr(pick, '=');
    if (!equals || !str_to_i64(equals + 1, &alternative) || alternative < 0 ||
        alternative >= choice->n_alternatives)
        return diag_error(j->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, "0 is the unrewritten form",
                          "--pick %s: %s has the alternatives 0 to %u", pick, choice->id,
                          choice->n_alternatives - 1);
    uint32_t member = picked_member(pick, choice);
    Str id = member ? str_format(j->cx->strs, "%s#%u", choice->id, member) : choice->id;
    *out = (ChoicePick){id, (uint32_t)alternative};
    return true;
}

static bool user_picks(Job *j, const ChoiceInfo *list, uint32_t n, ChoicePick *picks,
                       uint32_t *n_picks)
{
    const Texts *wanted = &j->cli->o.picks;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < wanted->n; k++) {
            ChoicePick p = {0};
            if (!pick_matches(wanted->data[k], &list[i]))
                continue;
            if (!pick_alternative(j, wanted->data[k], &list[i], &p))
                return false;
            j->pick_used[k] = true;
            uint32_t at = 0;
            while (at < *n_picks && picks[at].id != p.id)
                at++;
            picks[at] = p;
            *n_picks += at == *n_picks;
        }
    return true;
}

bool job_picks(Job *j, const Graph *g, ChoicePick **picks, uint32_t *n)
{
    uint32_t n_choices;
    ChoiceInfo *list = choices_list(g, j->cx->arena, &n_choices);
    *picks = arena_new_array(j->cx->arena, ChoicePick, n_choices + j->cli->o.picks.n + 1);
    *n = 0;
    return user_picks(j, list, n_choices, *picks, n);
}

static bool has_pick(const ChoicePick *picks, uint32_t n, Str id)
{
    for (uint32_t i = 0; i < n; i++)
        if (picks[i].id == id)
            return true;
    return false;
}

bool job_all_picks(Job *j, ChoicePick **picks, uint32_t *n)
{
    Vec(ChoicePick) all = {0};
    PassOptions quiet = j->options.passes;
    quiet.dump_after = quiet.dump_dir = NULL;
    for (uint32_t w = 0; w < j->n_workloads && j->cli->o.picks.n; w++) {
        Graph *g = graph_specialise(j->task->graph, j->workloads[w]->values, j->workloads[w]->n);
        ChoicePick *some;
        uint32_t count;
        if (!g || !pipeline_run(g, &quiet, NULL) || !job_picks(j, g, &some, &count))
            return false;
        for (uint32_t i = 0; i < count; i++)
            if (!has_pick(all.data, all.n, some[i].id))
                vec_push(j->cx->arena, &all, some[i]);
    }
    *picks = all.data;
    *n = all.n;
    return true;
}

bool job_decide(Job *j, const Workload *w, CompileOptions *o, PlanDecision **evidence, uint32_t *n)
{
    *o = j->options;
    *n = 0;
    if (!j->db && !j->cli->o.picks.n)
        return true;
    Graph *g = graph_specialise(j->task->graph, w ? w->values : NULL, w ? w->n : 0);
    PassOptions quiet = o->passes;
    quiet.dump_after = quiet.dump_dir = NULL;
    if (!g || !pipeline_run(g, &quiet, NULL))
        return false;
    uint32_t n_choices, n_known = 0, n_picks;
    ChoiceInfo *list = choices_list(g, j->cx->arena, &n_choices);
    ChoicePick *picks = arena_new_array(j->cx->arena, ChoicePick, n_choices + j->cli->o.picks.n + 1);
    if (j->db && n_choices) {
        ChoicePick *known = choices_from_db(j->cx, j->db, &j->device, g, &n_known, evidence);
        for (uint32_t i = 0; i < n_known && i < n_choices; i++)
            picks[i] = known[i];
        *n = n_known;
    }
    n_picks = n_known;
    if (!user_picks(j, list, n_choices, picks, &n_picks))
        return false;
    o->picks = picks;
    o->n_picks = n_picks;
    return true;
}

bool job_check_picks(Job *j)
{
    for (uint32_t k = 0; k < j->cli->o.picks.n; k++)
        if (!j->pick_used[k])
            return diag_error(j->cx->diags, PAWL_EXIT_INVALID, LOC_NONE,
                              "`pawl explain TASK` lists the choices",
                              "--pick %s: there is no such choice", j->cli->o.picks.data[k]);
    return true;
}

/* ---- compiling ------------------------------------------------------------------------------ */

static const char *alternative_text(Arena *a, const ChoiceInfo *c, uint32_t alternative)
{
    const char *rule = c->rule ? c->rule : c->id;
    if (!alternative)
        return "as written";
    return c->n_alternatives <= 2 ? rule : arena_printf(a, "%s (%u)", rule, alternative);
}

/* What --pick says of single members of a family, unless their weights had the last word. */
static void record_members(Job *j, const Compiled *k, const CompileOptions *o, const ChoiceInfo *c)
{
    size_t n = strlen(c->id);
    for (uint32_t i = 0; i < o->n_picks; i++) {
        const ChoicePick *p = &o->picks[i];
        bool decided = strncmp(p->id, c->id, n) != 0 || p->id[n] != '#';
        vec_foreach (PlanDecision, d, &k->plan->decisions)
            decided |= !strcmp(d->choice, p->id);
        if (!decided)
            vec_push(j->cx->arena, &k->plan->decisions,
                     ((PlanDecision){p->id, str_intern(j->cx->strs, alternative_text(j->cx->arena, c, p->alternative)),
                                     str_intern(j->cx->strs, "as --pick says")}));
    }
}

static PlanDecision decision_of(Job *j, const ChoiceInfo *c, const CompileOptions *o,
                                const PlanDecision *evidence, uint32_t n)
{
    uint32_t alternative = 0;
    bool picked = false;
    for (uint32_t i = 0; i < o->n_picks; i++)
        if (o->picks[i].id == c->id)
            alternative = o->picks[i].alternative, picked = true;
    const char *text = alternative_text(j->cx->arena, c, alternative);
    for (uint32_t i = 0; i < n; i++)
        if (!strcmp(evidence[i].choice, c->id) && !strcmp(evidence[i].picked, text))
            return evidence[i];
    const char *why = picked ? "as --pick says" : "not measured on this device: the default";
    return (PlanDecision){c->id, str_intern(j->cx->strs, text), str_intern(j->cx->strs, why)};
}

/* Each choice becomes a decision of the plan: what was taken, and why. */
static void record_decisions(Job *j, const Compiled *k, const CompileOptions *o,
                             const PlanDecision *evidence, uint32_t n)
{
    uint32_t n_choices;
    ChoiceInfo *list = choices_list(k->with_choices, j->cx->arena, &n_choices);
    for (uint32_t i = 0; i < n_choices; i++) {
        bool there = false;
        vec_foreach (PlanDecision, d, &k->plan->decisions) {
            int64_t alternative;
            if (strcmp(d->choice, list[i].id) != 0)
                continue;
            there = true; /* the compiler's own pick is a number: name it */
            if (str_to_i64(d->picked, &alternative))
                d->picked = str_intern(
                    j->cx->strs, alternative_text(j->cx->arena, &list[i], (uint32_t)alternative));
        }
        if (!there)
            vec_push(j->cx->arena, &k->plan->decisions, decision_of(j, &list[i], o, evidence, n));
        record_members(j, k, o, &list[i]);
    }
}

bool job_compile(Job *j, const Workload *w, Compiled *out)
{
    CompileOptions o;
    PlanDecision *evidence = NULL;
    uint32_t n;
    if (!job_decide(j, w, &o, &evidence, &n))
        return false;
    const char **dirs[] = {&o.codegen.dump_dir, &o.passes.dump_dir};
    for (int i = 0; i < 2; i++) /* a folder a workload: their dumps have the same names */
        if (*dirs[i])
            *dirs[i] = arena_printf(j->cx->arena, "%s/%s", *dirs[i], workload_name(w));
    if (o.passes.dump_dir && !dir_make(j->cx->diags, o.passes.dump_dir))
        return false;
    if (!compile_workload(j->cx, j->task, w, &o, out))
        return false;
    record_decisions(j, out, &o, evidence, n);
    return true;
}

bool job_weights(Job *j, Compiled *list, uint32_t n)
{
    return compile_weights(j->cx, j->task, list, n);
}

char *plan_summary(Arena *a, const Plan *p)
{
    uint32_t launches = 0, calls = 0, others = 0;
    for (uint32_t i = 0; i < p->steps.n; i++) {
        launches += p->steps.data[i].kind == STEP_LAUNCH;
        calls += p->steps.data[i].kind == STEP_MATMUL;
        others += p->steps.data[i].kind == STEP_COPY || p->steps.data[i].kind == STEP_FILL;
    }
    StrBuf b = strbuf_new(a);
    strbuf_printf(&b, "%u kernel%s", launches, launches == 1 ? "" : "s");
    if (calls)
        strbuf_printf(&b, ", %u library call%s", calls, calls == 1 ? "" : "s");
    if (others)
        strbuf_printf(&b, ", %u cop%s", others, others == 1 ? "y" : "ies");
    return b.text;
}
