/* autotune/candidates.c — schedules worth trying, and their plans, compiled by several threads. */
#include "autotune/candidates.h"
#include "codegen/kind.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LIBRARY_EXTRA = 8 };

/* What the model thinks this many times slower than its best is not tried: it errs, but not by as much. */
#define HOPELESS 5.0

struct Worker {
    Context *cx;
    Task *task;
    Variant *formed;                /* by number of variant; grown as needed */
    uint32_t n_formed;
};

struct PlanHome { Context *cx; Task *task; Variant variant; };

/* ---- schedules worth trying ------------------------------------------------------------------ */

typedef struct { uint32_t rank; double cost, class; } RankedSchedule;

/* Predictions within some 15 % are equal: there the kind's own order counts. */
static double cost_class(double cost) { return cost > 0 ? floor(log(cost) / log(1.15)) : -INFINITY; }

static int by_cost(const void *a, const void *b)
{
    const RankedSchedule *x = a, *y = b;
    if (x->class != y->class)
        return x->class < y->class ? -1 : 1;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static uint32_t count_kind(const Schedule *list, uint32_t n, const char *kind)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++)
        count += list[i].kind && !strcmp(list[i].kind, kind);
    return count;
}

/* How many candidates of a kind there may be. Products have two large spaces: a third goes to the library, whose own ranking is good,
 * the rest to tiles; where there are few rows, half of that is for the kind that is made for them. Where there is no template the
 * library has all, and some beyond. */
static uint32_t quota_of(const Schedule *space, uint32_t total, const char *kind, uint32_t max)
{
    if (count_kind(space, total, "library") && count_kind(space, total, "gemm")) {
        uint32_t library = (max + 2) / 3, tiles = max > library ? max - library : 1, few = count_kind(space, total, "smallm") ? (tiles + 1) / 2 : 1;
        return !strcmp(kind, "library") ? library : !strcmp(kind, "smallm") ? few : !strcmp(kind, "gemm") ? tiles - (few > 1 ? few : 0) : 1;
    }
    return !strcmp(kind, "library") ? max + LIBRARY_EXTRA : max;
}

Schedule *pick_schedules(Context *cx, const Group *g, const CodegenOptions *o, uint32_t max, Arena *a,
                         uint32_t *n, double *uncertainty)
{
    uint32_t total, kept = 0;
    Schedule *space = group_space(cx, g, o, a, &total);
    Schedule *out = arena_new_array(a, Schedule, max + LIBRARY_EXTRA + 1);
    RankedSchedule *ranked = arena_new_array(a, RankedSchedule, total + 1);
    double worst = 0;

    double best = INFINITY;
    for (uint32_t i = 0; i < total; i++) {
        double cost = group_cost(cx, g, &space[i], o);
        ranked[i] = (RankedSchedule){i, cost, i == 0 ? -INFINITY : cost_class(cost)};
        best = fmin(best, cost);
    }
    if (total)
        qsort(ranked, total, sizeof *ranked, by_cost);     /* the default stays in front */
    for (uint32_t i = 0; i < total; i++) {
        const Schedule *s = &space[ranked[i].rank];
        uint32_t same = count_kind(out, kept, s->kind), quota = quota_of(space, total, s->kind, max);
        bool library = !strcmp(s->kind, "library");
        bool wanted = !same || (same < quota && (kept < max || (library && same < LIBRARY_EXTRA)));
        if (!wanted || kept >= max + LIBRARY_EXTRA || (i > 0 && ranked[i].cost > HOPELESS * best))
            continue;
        worst = fmax(worst, ranked[i].cost);
        out[kept++] = *s;
    }
    *n = kept;
    *uncertainty = kept < 2 ? 0 : fmin(3, fmax(1, best > 0 ? worst / best : 1));
    return out;
}

/* ---- threads --------------------------------------------------------------------------------- */

void workshop_open(Workshop *w, Arena *a, Task *task, const TuneOptions *o)
{
    *w = (Workshop){.task = task, .options = o->compile, .threads = o->threads, .stop = o->stop, .arena = a};
    w->options.passes.dump_after = NULL;
    w->options.passes.dump_dir = NULL;
    w->options.codegen.dump_dir = NULL;
    w->options.codegen.keep_source = w->options.codegen.portable = false;
    w->options.codegen.no_code = true;
    w->options.codegen.schedules = (ScheduleSource){0};
    w->options.codegen.numerics = task->numerics;
    w->options.no_weights = true;
    w->options.picks = NULL;
    w->options.n_picks = 0;
}

void workshop_close(Workshop *w)
{
    for (int i = 0; w->pool && i < pool_threads(w->pool); i++) {
        Worker *k = &w->workers[i];
        for (uint32_t v = 0; v < k->n_formed; v++)
            compiled_end(&k->formed[v].compiled);
        if (k->task)
            graph_free(k->task->graph);
        if (k->cx)
            context_free(k->cx);
    }
    if (w->pool)
        pool_free(w->pool);
    w->pool = NULL;
}

static void workshop_start(Workshop *w)
{
    if (w->pool)
        return;
    w->pool = pool_new(w->threads);
    w->workers = arena_new_array(w->arena, Worker, pool_threads(w->pool));
}

/* Options whose names belong to this context. */
static CompileOptions options_in(Context *cx, const CompileOptions *o)
{
    CompileOptions own = *o;
    own.codegen.machine.name = str_intern(cx->strs, o->codegen.machine.name);
    own.codegen.machine.arch = str_intern(cx->strs, o->codegen.machine.arch);
    return own;
}

static Workload *workload_in(Context *cx, const Workload *w)
{
    if (!w)
        return NULL;
    Workload *own = arena_new_of(cx->arena, Workload);
    *own = (Workload){.name = w->name ? str_intern(cx->strs, w->name) : NULL, .n = w->n};
    own->values = arena_new_array(cx->arena, DimValue, w->n + 1);
    for (uint32_t i = 0; i < w->n; i++)
        own->values[i] = (DimValue){str_intern(cx->strs, w->values[i].name), w->values[i].value};
    return own;
}

static Variant variant_in(Context *cx, const Variant *v)
{
    Variant own = {.workload = workload_in(cx, v->workload), .n_picks = v->n_picks};
    own.picks = arena_new_array(cx->arena, ChoicePick, v->n_picks + 1);
    for (uint32_t i = 0; i < v->n_picks; i++)
        own.picks[i] = (ChoicePick){str_intern(cx->strs, v->picks[i].id), v->picks[i].alternative};
    return own;
}

bool variant_form(Context *cx, Task *t, const CompileOptions *quiet, Variant *v)
{
    CompileOptions o = *quiet;
    Vec(ChoicePick) picks = {0};
    for (uint32_t i = 0; i < v->n_picks; i++)
        vec_push(cx->scratch, &picks, v->picks[i]);
    for (uint32_t i = 0; i < quiet->n_picks; i++)
        if (strchr(quiet->picks[i].id, '#'))                  /* of a single member: no alternative of the family's changes it */
            vec_push(cx->scratch, &picks, quiet->picks[i]);
    o.picks = picks.data;
    o.n_picks = picks.n;
    return compile_workload(cx, t, v->workload, &o, &v->compiled);
}

void compiled_end(Compiled *c)
{
    Graph **graphs[] = {&c->graph, &c->with_choices, &c->resolved};
    for (int i = 0; i < 3; i++) {
        if (*graphs[i])
            graph_free(*graphs[i]);
        *graphs[i] = NULL;
    }
}

static const char *first_error(Arena *a, Context *cx, const char *what)
{
    const char *text = "no reason given";
    for (uint32_t i = diags_count(cx->diags); i-- > 0; )
        if (diags_at(cx->diags, i)->level == DIAG_ERROR)
            text = diags_at(cx->diags, i)->text;
    text = arena_printf(a, "%s: %s", what, text);
    diags_clear(cx->diags);
    return text;
}

/* A warning about spilled registers rejects a candidate: it is data, and slow. */
static const char *spills(Context *cx)
{
    for (uint32_t i = 0; i < diags_count(cx->diags); i++) {
        const Diag *d = diags_at(cx->diags, i);
        if (d->level == DIAG_WARNING && strstr(d->text, "spill"))
            return arena_printf(cx->arena, "spills: %s", d->text);
    }
    return NULL;
}

/* ---- groups ---------------------------------------------------------------------------------- */

typedef struct {
    Workshop *w;
    const Variant *v; uint32_t variant;
    const Group *g;
    SearchCandidate *c;
} GroupJob;

static Variant *worker_variant(Worker *k, const GroupJob *job)
{
    Workshop *w = job->w;

    if (!k->cx) {
        k->cx = context_new();
        k->task = task_from_source(k->cx, w->task->source);
    }
    if (!k->task)
        return NULL;
    if (job->variant >= k->n_formed) {
        uint32_t n = job->variant + 8;
        Variant *grown = arena_new_array(k->cx->arena, Variant, n);
        if (k->n_formed)
            memcpy(grown, k->formed, sizeof *grown * k->n_formed);
        k->formed = grown;
        k->n_formed = n;
    }
    Variant *v = &k->formed[job->variant];
    if (!v->compiled.groups) {
        CompileOptions o = options_in(k->cx, &w->options);
        compiled_end(&v->compiled);
        *v = variant_in(k->cx, job->v);
        if (!variant_form(k->cx, k->task, &o, v))
            v->compiled.groups = NULL;
    }
    return v->compiled.groups ? v : NULL;
}

static const Group *same_group(const Groups *gs, const Group *g)
{
    for (uint32_t i = 0; i < gs->n; i++)
        if (gs->g[i]->key == g->key && !strcmp(gs->g[i]->text, g->text))
            return gs->g[i];
    return NULL;
}

static void build_candidate(Worker *k, const GroupJob *job, SearchCandidate *c)
{
    if (job->w->stop && *job->w->stop) {
        c->rejected = "interrupted";
        return;
    }
    Variant *v = worker_variant(k, job);
    const Group *g = v ? same_group(v->compiled.groups, job->g) : NULL;
    c->cx = k->cx;
    if (!g) {
        c->rejected = v ? "illegal schedule: the group came out differently in another thread"
                        : first_error(k->cx->arena, k->cx, "illegal schedule");
        return;
    }
    Schedule s;
    CompileOptions o = options_in(k->cx, &job->w->options);
    o.codegen.no_code = false;
    diags_clear(k->cx->diags);
    if (schedule_parse(k->cx->strs, c->what, &s))
        c->plan = group_plan(k->cx, v->compiled.resolved, g, &s, &o.codegen);
    if (!c->plan)
        c->rejected = first_error(k->cx->arena, k->cx, "illegal schedule");
    else if ((c->rejected = spills(k->cx)))
        c->plan = NULL;
    diags_clear(k->cx->diags);
}

static void build_range(void *arg, int64_t begin, int64_t end, int worker)
{
    GroupJob *job = arg;
    for (int64_t i = begin; i < end; i++)
        build_candidate(&job->w->workers[worker], job, &job->c[i]);
}

SearchCandidate *workshop_group(Workshop *w, const Variant *v, uint32_t variant, const Group *g,
                                const char *const *schedules, uint32_t n, Arena *a)
{
    SearchCandidate *c = arena_new_array(a, SearchCandidate, n + 1);

    workshop_start(w);
    for (uint32_t i = 0; i < n; i++)
        c[i] = (SearchCandidate){.what = schedules[i], .tag = i};
    pool_for(w->pool, n, 1, build_range, &(GroupJob){w, v, variant, g, c});
    return c;
}

/* ---- whole plans ----------------------------------------------------------------------------- */

typedef struct {
    Workshop *w;
    const Variant *const *v;
    SearchCandidate *c;
    const KnownSchedule *const *known; uint32_t n_known;
} PlanJob;

typedef struct { Context *cx; const KnownSchedule *known; uint32_t n; } KnownLookup;

static bool look_up_known(void *arg, const Group *g, Schedule *out)
{
    const KnownLookup *l = arg;
    for (uint32_t i = 0; i < l->n; i++)
        if (l->known[i].key == g->key && l->known[i].schedule && !strcmp(l->known[i].text, g->text))
            return schedule_parse(l->cx->strs, l->known[i].schedule, out);
    return false;
}

static void build_plan(const PlanJob *job, const Variant *v, const KnownSchedule *known, PlanHome *home, SearchCandidate *c)
{
    Context *cx = c->cx = home->cx = context_new();
    KnownLookup lookup = {cx, known, job->n_known};
    CompileOptions o = options_in(cx, &job->w->options);
    home->variant = variant_in(cx, v);
    home->task = task_from_source(cx, job->w->task->source);

    o.no_weights = false;
    o.codegen.no_code = false;
    o.codegen.schedules = (ScheduleSource){.lookup = look_up_known, .arg = &lookup};
    if (home->task && variant_form(cx, home->task, &o, &home->variant))
        c->plan = home->variant.compiled.plan;
    else
        c->rejected = first_error(cx->arena, cx, "does not compile");
    diags_clear(cx->diags);
}

static void build_plans(void *arg, int64_t begin, int64_t end, int worker)
{
    PlanJob *job = arg;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        build_plan(job, job->v[i], job->known[i], &job->w->homes[i], &job->c[i]);
}

SearchCandidate *workshop_plans(Workshop *w, const Variant *const *v, const KnownSchedule *const *known, uint32_t n, uint32_t n_known,
                                Arena *a)
{
    SearchCandidate *c = arena_new_array(a, SearchCandidate, n + 1);

    workshop_start(w);
    w->homes = arena_new_array(a, PlanHome, n + 1);
    w->n_homes = n;
    pool_for(w->pool, n, 1, build_plans, &(PlanJob){w, v, c, known, n_known});
    return c;
}

void workshop_free_plans(Workshop *w)
{
    for (uint32_t i = 0; i < w->n_homes; i++) {
        PlanHome *home = &w->homes[i];
        compiled_end(&home->variant.compiled);
        if (home->task)
            graph_free(home->task->graph);
        context_free(home->cx);
    }
    w->n_homes = 0;
}

/* ---- inputs ---------------------------------------------------------------------------------- */

/* The input or parameter that a node is a view of: movement and casts keep what values look like. */
static const Node *source_of(const Node *n)
{
    while (n->n_in > 0 && (op_class(n->op) == CLASS_MOVEMENT || op_class(n->op) == CLASS_CAST))
        n = n->in[0];
    return n;
}

static Dist dist_of(const Graph *g, const Node *n)
{
    DType t = n->type.dtype;
    const Node *from = source_of(n);

    for (uint32_t i = 0; i < g->inputs.n; i++) {
        const GraphInput *in = &g->inputs.data[i];
        if (in->node != from)
            continue;
        if (dtype_is_float(t))
            return in->dist.kind == DIST_RANDINT ? (Dist){DIST_NORMAL, 0, 1} : in->dist;
        if (in->live_hi > in->live_lo)
            return (Dist){DIST_RANDINT, (double)in->live_lo, (double)in->live_hi};
        if (in->dist.kind == DIST_RANDINT || in->dist.kind == DIST_STEPS)
            return in->dist;
    }
    if (dtype_is_float(t))
        return (Dist){DIST_NORMAL, 0, 1};
    return t == DT_BOOL ? (Dist){DIST_UNIFORM, 0, 1} : (Dist){DIST_CONSTANT, 0, 0};
}

static bool is_made_of(const Node *x, const Node *base)
{
    while (x && x != base && x->n_in > 0 && op_class(x->op) == CLASS_MOVEMENT)
        x = x->in[0];
    return x == base;
}

/* Pieces of a product look as if numbers around 1 had been split (passes/split_matmul.c). Scales of noise would be negative for half of the
 * lines: the kernel would recompute those from the originals. */
static bool dist_of_piece(const Group *group, const Node *n, Dist *out)
{
    const Node *product = group->matmul;
    if (!product || product->op != OP_SPLIT_MATMUL)
        return false;
    for (uint32_t side = 0; side < 2; side++) {
        SplitOperand x = split_operand(product, side);
        bool scaled = x.hi->type.dtype == DT_F16;
        if (is_made_of(x.inv, n))
            *out = (Dist){DIST_CONSTANT, scaled ? 0x1p-14 : 1, 0};
        else if (is_made_of(x.hi, n))
            *out = (Dist){DIST_NORMAL, 0, scaled ? 0x1p12 : 1};
        else if (is_made_of(x.lo, n))
            *out = (Dist){DIST_NORMAL, 0, scaled ? 0x1p11 : 0x1p-12};
        else
            continue;
        return true;
    }
    return false;
}

/* Ends of groups of rows: of any size up to twice the mean. */
static bool dist_of_ends(const Group *group, const Node *n, Dist *out)
{
    const Node *product = group->matmul;
    if (!product || product->op != OP_GROUPED_MATMUL || product->in[2] != n)
        return false;
    *out = (Dist){DIST_STEPS, (double)dim_typical(product->type.shape.d[0]) / (double)dim_typical(n->type.shape.d[0]), 0};
    return true;
}

Dist *group_dists(const Graph *g, const Group *group, Arena *a)
{
    Dist *d = arena_new_array(a, Dist, group->inputs.n + 1);
    for (uint32_t i = 0; i < group->inputs.n; i++)
        if (!dist_of_piece(group, group->inputs.data[i], &d[i]) && !dist_of_ends(group, group->inputs.data[i], &d[i]))
            d[i] = dist_of(g, group->inputs.data[i]);
    return d;
}

Dist *graph_dists(const Graph *g, Arena *a)
{
    Dist *d = arena_new_array(a, Dist, g->inputs.n + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->inputs.n; i++)
        if (g->inputs.data[i].node->op == OP_INPUT)
            d[n++] = dist_of(g, g->inputs.data[i].node);
    return d;
}
