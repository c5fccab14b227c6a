/* autotune/tuner.c — from a task to problems and back: workloads are compiled, their groups and choices become problems, what was
 * decided goes into the report.
 *
 * Four phases. Groups: of every workload, under the default alternatives and under each other alternative of each choice, since each
 * alternative is to be judged with its own best kernels. Choices: one at a time, as whole plans. Then the groups that only the
 * winners together form, if there are any. At last the schedules of short plans' groups together (tuner_together.c). */
#include "autotune/candidates.h"
#include "autotune/tuner_internal.h"
#include "base/file.h"
#include <math.h>
#include <string.h>

enum { DEFAULT_CANDIDATES = 12, MAX_VARIANTS = 64 };

/* Share of the budget after which groups give way to choices. */
#define GROUP_SHARE 0.8
/* Of what is left then, the share of choices. */
#define CHOICE_SHARE 0.7
/* An alternative that the model thinks so many times slower than the best (an fp32 product without tensor cores) is measured as it
 * is: tuning its groups would not save it. */
#define LOST 2.5

typedef struct { uint32_t variant; const Group *g; const char **schedules; uint32_t n; } GroupRef;
typedef struct { uint32_t first_variant; const ChoiceInfo *info; } ChoiceRef;
typedef struct {
    uint32_t base;                      /* variant with all defaults */
    ChoiceInfo *choices; uint32_t n_choices;
    uint64_t hash;                      /* of the graph with its choices */
    uint32_t last;                      /* variant with what was chosen */
} WorkloadState;

typedef struct Tuning {
    Tuner t;
    Task *task;
    Workshop shop;
    const Workload *const *workloads;
    WorkloadState *of; uint32_t n_workloads;
    Vec(Variant) variants;
    Vec(TuneProblem) groups; Vec(GroupRef) group_refs;
    Vec(TuneProblem) choices; Vec(ChoiceRef) choice_refs;
    Vec(TuneProblem) plans; Vec(Together) together;
    Arena *scratch;                     /* of the problem at hand */
} Tuning;

static const char *name_of(const Workload *w) { return w ? w->name : NULL; }

/* ---- stating problems ------------------------------------------------------------------------ */

static bool add_variant(Tuning *u, const Workload *w, const ChoicePick *picks, uint32_t n)
{
    Context *cx = u->t.cx;
    Variant v = {.workload = w, .picks = arena_copy(cx->arena, picks, sizeof *picks * n), .n_picks = n};
    CompileOptions quiet = u->shop.options;

    if (!variant_form(cx, u->task, &quiet, &v)) {
        compiled_end(&v.compiled);
        return false;
    }
    vec_push(cx->arena, &u->variants, v);
    return true;
}

static bool is_forced(const TuneOptions *o, Str choice, uint32_t *alternative)
{
    for (uint32_t i = 0; i < o->compile.n_picks; i++)
        if (!strcmp(o->compile.picks[i].id, choice)) {
            *alternative = o->compile.picks[i].alternative;
            return true;
        }
    return false;
}

static TuneProblem *find_problem(TuneProblem *p, uint32_t n, uint64_t key, const char *text)
{
    for (uint32_t i = 0; i < n; i++)
        if (p[i].key == key && !strcmp(p[i].text, text))
            return &p[i];
    return NULL;
}

static void add_group(Tuning *u, uint32_t variant, const Group *g)
{
    Context *cx = u->t.cx;
    Variant *v = &u->variants.data[variant];
    TuneProblem *known = find_problem(u->groups.data, u->groups.n, g->key, g->text);

    if (known) {
        known->predicted += g->predicted_seconds;          /* it is there several times: more is at stake */
        return;
    }
    TuneProblem p = {.kind = PROBLEM_GROUP, .key = g->key, .text = g->text, .workload = name_of(v->workload),
                     .predicted = g->predicted_seconds, .index = u->group_refs.n};
    GroupRef ref = {.variant = variant, .g = g};
    uint32_t max = u->t.o->max_candidates ? u->t.o->max_candidates : DEFAULT_CANDIDATES;
    Schedule *s = pick_schedules(cx, g, &u->shop.options.codegen, max, cx->arena, &ref.n, &p.uncertainty);
    ref.schedules = arena_new_array(cx->arena, const char *, ref.n + 2);
    for (uint32_t i = 0; i < ref.n; i++) {
        StrBuf b = strbuf_new(cx->arena);
        schedule_print(&b, &s[i]);
        ref.schedules[i] = b.text;
    }
    if (ref.n == 0)
        p.state = PROBLEM_FAILED;
    vec_push(cx->arena, &u->group_refs, ref);
    vec_push(cx->arena, &u->groups, p);
}

static void add_groups(Tuning *u, uint32_t variant)
{
    const Groups *gs = u->variants.data[variant].compiled.groups;
    for (uint32_t i = 0; i < gs->n; i++)
        add_group(u, variant, gs->g[i]);
}

static double predicted_of(const Variant *v)
{
    double seconds = 0;
    for (uint32_t i = 0; i < v->compiled.groups->n; i++)
        seconds += v->compiled.groups->g[i]->predicted_seconds;
    return seconds;
}

static void add_choice(Tuning *u, const WorkloadState *s, const Workload *w, uint32_t first_variant,
                       const ChoiceInfo *info)
{
    double predicted = predicted_of(&u->variants.data[s->base]);
    if (find_problem(u->choices.data, u->choices.n, s->hash, info->id))
        return;                        /* another workload with the same shapes */
    TuneProblem p = {.kind = PROBLEM_CHOICE, .key = s->hash, .text = info->id, .workload = name_of(w),
                     .predicted = predicted, .uncertainty = 1, .n_alternatives = info->n_alternatives,
                     .index = u->choice_refs.n};
    vec_push(u->t.cx->arena, &u->choice_refs, ((ChoiceRef){first_variant, info}));
    vec_push(u->t.cx->arena, &u->choices, p);
}

/* The alternative that a compilation without measurements takes: the machine model's. */
static uint32_t untuned(const Compiled *c, const ChoiceInfo *info)
{
    int64_t picked;
    for (uint32_t i = 0; i < c->decisions.n; i++) {
        const PlanDecision *d = &c->decisions.data[i];
        if (!strcmp(d->choice, info->id) && str_to_i64(d->picked, &picked) && picked >= 0 &&
            picked < info->n_alternatives)
            return (uint32_t)picked;
    }
    return info->default_alternative;
}

/* The variants of a workload: all defaults, then for each choice each alternative, the default too (it is the base). */
static bool add_workload(Tuning *u, WorkloadState *s, const Workload *w)
{
    Context *cx = u->t.cx;

    if (!add_variant(u, w, u->t.o->compile.picks, u->t.o->compile.n_picks))
        return false;
    s->base = u->variants.n - 1;
    const Graph *g = u->variants.data[s->base].compiled.with_choices;
    s->choices = choices_list(g, cx->arena, &s->n_choices);
    s->hash = s->n_choices ? graph_hash(g) : 0;

    ChoicePick *picks = arena_new_array(cx->arena, ChoicePick, s->n_choices + 1);
    for (uint32_t i = 0; i < s->n_choices; i++) {
        ChoiceInfo *info = &s->choices[i];
        info->default_alternative = untuned(&u->variants.data[s->base].compiled, info);
        picks[i] = (ChoicePick){info->id, info->default_alternative};
        is_forced(u->t.o, info->id, &picks[i].alternative);
    }
    if (s->n_choices) {                /* again, with the defaults spelled out */
        compiled_end(&u->variants.data[--u->variants.n].compiled);
        if (!add_variant(u, w, picks, s->n_choices))
            return false;
    }
    add_groups(u, s->base);
    for (uint32_t i = 0; i < s->n_choices; i++) {
        const ChoiceInfo *info = &s->choices[i];
        uint32_t usual = picks[i].alternative, first = u->variants.n;
        if (is_forced(u->t.o, info->id, &usual) || info->n_alternatives > DB_MAX_ALTERNATIVES ||
            u->variants.n + info->n_alternatives > MAX_VARIANTS * u->n_workloads)
            continue;
        double best = INFINITY;
        for (uint32_t k = 0; k < info->n_alternatives; k++) {
            picks[i].alternative = k;
            if (!add_variant(u, w, picks, s->n_choices))
                return false;
            best = fmin(best, predicted_of(&u->variants.data[first + k]));
        }
        for (uint32_t k = 0; k < info->n_alternatives; k++)
            if (predicted_of(&u->variants.data[first + k]) <= LOST * best)
                add_groups(u, first + k);
        picks[i].alternative = usual;
        add_choice(u, s, w, first, info);
    }
    return true;
}

/* ---- candidates ------------------------------------------------------------------------------ */

static bool group_candidates(void *arg, TuneProblem *p, SearchCandidate **out, uint32_t *n, MeasureOptions *m)
{
    Tuning *u = arg;
    GroupRef *ref = &u->group_refs.data[p->index];
    const Variant *v = &u->variants.data[ref->variant];

    if (p->before) {                   /* the best of an unfinished run takes part again */
        bool there = false;
        for (uint32_t i = 0; i < ref->n; i++)
            there |= !strcmp(ref->schedules[i], p->before);
        if (!there)
            ref->schedules[ref->n++] = p->before;
        p->before = NULL;
    }
    u->scratch = arena_new();
    *out = workshop_group(&u->shop, v, ref->variant, ref->g, ref->schedules, ref->n, u->scratch);
    *n = ref->n;
    for (uint32_t i = 0; i < ref->n; i++) {
        Schedule s;
        if (schedule_parse(u->t.cx->strs, ref->schedules[i], &s))
            (*out)[i].predicted = group_cost(u->t.cx, ref->g, &s, &u->shop.options.codegen);
    }
    *m = (MeasureOptions){.numerics = u->task->numerics, .seed = u->t.o->seed, .check = true,
                          .dists = group_dists(v->compiled.resolved, ref->g, u->scratch)};
    return true;
}

static KnownSchedule *known_schedules(Tuning *u, Arena *a)
{
    KnownSchedule *k = arena_new_array(a, KnownSchedule, u->groups.n + 1);
    for (uint32_t i = 0; i < u->groups.n; i++) {
        const TuneProblem *p = &u->groups.data[i];
        k[i] = (KnownSchedule){p->key, p->text, p->winner};
    }
    return k;
}

static bool choice_candidates(void *arg, TuneProblem *p, SearchCandidate **out, uint32_t *n, MeasureOptions *m)
{
    Tuning *u = arg;
    const ChoiceRef *ref = &u->choice_refs.data[p->index];
    uint32_t usual = ref->info->default_alternative, alternatives = ref->info->n_alternatives;
    const Variant *v[DB_MAX_ALTERNATIVES];
    uint32_t tag[DB_MAX_ALTERNATIVES], count = 0;

    if (usual >= alternatives)
        usual = 0;
    tag[count++] = usual;              /* the incumbent first */
    for (uint32_t k = 0; k < alternatives; k++)
        if (k != usual)
            tag[count++] = k;
    for (uint32_t k = 0; k < count; k++)
        v[k] = &u->variants.data[ref->first_variant + tag[k]];

    u->scratch = arena_new();
    const KnownSchedule *known[DB_MAX_ALTERNATIVES], *all = known_schedules(u, u->scratch);
    for (uint32_t k = 0; k < count; k++)
        known[k] = all;
    SearchCandidate *c = workshop_plans(&u->shop, v, known, count, u->groups.n, u->scratch);
    for (uint32_t k = 0; k < count; k++) {
        c[k].tag = tag[k];
        c[k].what = alternative_name(u->t.cx->arena, p->text, tag[k], alternatives);
        c[k].predicted = predicted_of(v[k]);
    }
    *out = c;
    *n = count;
    *m = (MeasureOptions){.numerics = u->task->numerics, .seed = u->t.o->seed, .check = true,
                          .dists = graph_dists(v[0]->compiled.resolved, u->scratch)};
    return true;
}

static void release(void *arg, TuneProblem *p)
{
    Tuning *u = arg;
    if (p->kind != PROBLEM_GROUP)
        workshop_free_plans(&u->shop);
    arena_free(u->scratch);
    u->scratch = NULL;
}

/* ---- the winners together -------------------------------------------------------------------- */

static bool same_picks(const Variant *v, const Workload *w, const ChoicePick *picks, uint32_t n)
{
    bool same = v->workload == w && v->n_picks == n;
    for (uint32_t i = 0; i < n && same; i++)
        same = v->picks[i].alternative == picks[i].alternative && !strcmp(v->picks[i].id, picks[i].id);
    return same;
}

static bool add_winners(Tuning *u, WorkloadState *s, const Workload *w)
{
    Context *cx = u->t.cx;
    const Variant *base = &u->variants.data[s->base];
    ChoicePick *picks = arena_new_array(cx->arena, ChoicePick, s->n_choices + 1);

    for (uint32_t i = 0; i < s->n_choices; i++) {
        picks[i] = base->picks[i];
        const TuneProblem *p = find_problem(u->choices.data, u->choices.n, s->hash, s->choices[i].id);
        if (!p || (p->state != PROBLEM_HIT && p->state != PROBLEM_TUNED && p->state != PROBLEM_PARTIAL))
            continue;
        picks[i].alternative = p->winner_index;
    }
    s->last = s->base;
    for (uint32_t i = s->base; s->n_choices && i < u->variants.n; i++)
        if (same_picks(&u->variants.data[i], w, picks, s->n_choices)) {
            s->last = i;               /* one change alone was among the variants */
            return true;
        }
    if (!s->n_choices)
        return true;
    if (!add_variant(u, w, picks, s->n_choices))
        return false;
    s->last = u->variants.n - 1;
    add_groups(u, s->last);
    return true;
}

static void add_together(Tuning *u, const WorkloadState *s)
{
    Together x = {0};
    if (!together_of(u->t.cx, &u->variants.data[s->last], u->groups.data, u->groups.n, &x) ||
        find_problem(u->plans.data, u->plans.n, x.problem.key, x.problem.text))
        return;
    x.problem.index = u->together.n;
    vec_push(u->t.cx->arena, &u->plans, x.problem);
    vec_push(u->t.cx->arena, &u->together, x);
}

static bool plan_candidates(void *arg, TuneProblem *p, SearchCandidate **out, uint32_t *n, MeasureOptions *m)
{
    Tuning *u = arg;
    const Together *x = &u->together.data[p->index];
    uint32_t max = u->t.o->max_candidates ? u->t.o->max_candidates : DEFAULT_CANDIDATES;

    u->scratch = arena_new();
    *out = together_candidates(&u->shop, x, max, u->scratch, n);
    *m = (MeasureOptions){.numerics = u->task->numerics, .seed = u->t.o->seed, .check = true,
                          .dists = graph_dists(x->variant->compiled.resolved, u->scratch)};
    return true;
}

/* ---- report ---------------------------------------------------------------------------------- */

static void count_state(TuneReport *r, ProblemState s)
{
    switch (s) {
    case PROBLEM_HIT: r->hits++; break;
    case PROBLEM_TUNED: r->tuned++; break;
    case PROBLEM_PENDING:
    case PROBLEM_PARTIAL:
    case PROBLEM_UNREACHED: r->unfinished++; break;
    case PROBLEM_FAILED: break;
    }
}

static void report_schedules(Tuning *u, TuneReport *r, const TuneProblem *problems, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const TuneProblem *p = &problems[i];
        TunedGroup g = {.workload = p->workload, .text = p->text, .problem = p->key, .schedule = p->winner,
                        .incumbent = p->incumbent, .us = p->us, .ratio = p->ratio,
                        .incumbent_us = p->incumbent_us, .tried = p->tried, .rejected = p->rejected,
                        .hit = p->state == PROBLEM_HIT,
                        .complete = p->state == PROBLEM_HIT || p->state == PROBLEM_TUNED};
        vec_push(u->t.cx->arena, &r->groups, g);
        count_state(r, p->state);
    }
}

static void fill_report(Tuning *u, TuneReport *r)
{
    Arena *a = u->t.cx->arena;

    report_schedules(u, r, u->groups.data, u->groups.n);
    report_schedules(u, r, u->plans.data, u->plans.n);
    for (uint32_t i = 0; i < u->choices.n; i++) {
        const TuneProblem *p = &u->choices.data[i];
        bool known = p->state == PROBLEM_HIT || p->state == PROBLEM_TUNED || p->state == PROBLEM_PARTIAL;
        TunedChoice c = {.workload = p->workload, .choice = p->text, .alternative = p->winner_index,
                         .n = p->n_alternatives, .ratio = p->ratio, .hit = p->state == PROBLEM_HIT,
                         .complete = p->state == PROBLEM_HIT || p->state == PROBLEM_TUNED};
        memcpy(c.us, p->us_of, sizeof c.us);
        if (known)
            c.evidence = choice_evidence(a, p->text, p->winner_index, p->against, p->n_alternatives, p->us_of,
                                         p->ratio, u->t.o->device.name);
        vec_push(a, &r->choices, c);
        count_state(r, p->state);
    }
}

/* ---- all of it ------------------------------------------------------------------------------- */

static uint32_t count_open(const TuneProblem *p, uint32_t n)
{
    uint32_t open = 0;
    for (uint32_t i = 0; i < n; i++)
        open += p[i].state == PROBLEM_PENDING;
    return open;
}

/* Groups that had to give way to others get what is left at the end. */
static void second_chance(TuneProblem *p)
{
    if (p->state != PROBLEM_UNREACHED && p->state != PROBLEM_PARTIAL)
        return;
    if (p->state == PROBLEM_PARTIAL)
        p->before = p->winner;
    p->state = PROBLEM_PENDING;
}

static bool work(Tuning *u)
{
    Tuner *t = &u->t;
    double budget = t->deadline - t->started;

    for (uint32_t i = 0; i < u->n_workloads; i++)
        if (!add_workload(u, &u->of[i], u->workloads[i]))
            return false;
    tuner_look_up(t, u->groups.data, u->groups.n);
    tuner_look_up(t, u->choices.data, u->choices.n);
    uint32_t open_choices = count_open(u->choices.data, u->choices.n);
    t->total = u->groups.n + u->choices.n;
    t->done = t->total - count_open(u->groups.data, u->groups.n) - open_choices;

    double groups_end = t->started + budget * (open_choices ? GROUP_SHARE : 1);
    if (!tuner_run(t, u->groups.data, u->groups.n, &(ProblemSource){group_candidates, release, u}, groups_end))
        return false;
    double choices_end = t->clock() + (t->deadline - t->clock()) * CHOICE_SHARE;
    if (!tuner_run(t, u->choices.data, u->choices.n, &(ProblemSource){choice_candidates, release, u}, choices_end))
        return false;

    uint32_t before = u->groups.n;
    for (uint32_t i = 0; i < u->n_workloads; i++)
        if (!add_winners(u, &u->of[i], u->workloads[i]))
            return false;
    tuner_look_up(t, u->groups.data + before, u->groups.n - before);
    t->total += u->groups.n - before;
    if (t->deadline - t->clock() > 0.1 * budget)
        for (uint32_t i = 0; i < before; i++)
            second_chance(&u->groups.data[i]);
    if (!tuner_run(t, u->groups.data, u->groups.n, &(ProblemSource){group_candidates, release, u}, t->deadline))
        return false;
    for (uint32_t i = 0; i < u->n_workloads; i++)
        add_together(u, &u->of[i]);
    tuner_look_up(t, u->plans.data, u->plans.n);
    t->total += u->plans.n;
    t->done += u->plans.n - count_open(u->plans.data, u->plans.n);
    return tuner_run(t, u->plans.data, u->plans.n, &(ProblemSource){plan_candidates, release, u}, t->deadline);
}

bool tune_task(Context *cx, Task *task, const Workload *const *workloads, uint32_t n, const TuneOptions *o,
               TuneReport *report)
{
    Tuning u = {.task = task, .workloads = workloads, .n_workloads = n};
    double start = clock_seconds(), budget = o->budget_seconds > 0 ? o->budget_seconds : 10;

    *report = (TuneReport){0};
    u.t = (Tuner){.cx = cx, .o = o, .task = task->name, .key = {o->device.name, o->device.environment},
                  .measurer = o->measurer ? o->measurer : measurer_new(&o->device), .report = report,
                  .clock = clock_seconds, .started = start, .deadline = start + budget};
    u.of = arena_new_array(cx->arena, WorkloadState, n + 1);
    workshop_open(&u.shop, cx->arena, task, o);
    bool ok = work(&u);
    fill_report(&u, report);
    report->out_of_budget = report->unfinished > 0 && !report->stopped;
    report->touched_device = measurer_touched_device(u.t.measurer) || report->tuned > 0;
    report->seconds = clock_seconds() - start;
    workshop_close(&u.shop);
    vec_foreach(Variant, v, &u.variants)
        compiled_end(&v->compiled);
    if (!o->measurer)
        measurer_free(u.t.measurer);
    if (o->db && db_lost_disk(o->db))
        db_recover(o->db);
    return ok;
}
