/* autotune/candidates.h — candidates compiled in parallel.
 *
 * A Context belongs to one thread, so every thread has its own: it reads the task again from its source (a few milliseconds), forms
 * the groups of a variant once, finds its group by key and text, and builds plans there. Phases do not overlap: while candidates are
 * compiled the tuner waits, while they are timed the threads sleep; so a plan may be used with its context by whoever is awake. */
#pragma once
#include "autotune/search.h"
#include "autotune/tuner.h"
#include "base/pool.h"

/* One way to compile a workload: these picks for its choices. */
typedef struct Variant {
    const Workload *workload;       /* NULL: generic */
    ChoicePick *picks; uint32_t n_picks;
    Compiled compiled;              /* in the tuner's context, without code */
} Variant;

typedef struct Worker Worker;
typedef struct PlanHome PlanHome;
typedef struct Workshop {
    Task *task;
    CompileOptions options;         /* quiet: no dumps, no weights, no code */
    Emitter emitter;
    ThreadPool *pool;               /* made when first needed */
    int threads;
    Worker *workers;
    PlanHome *homes; uint32_t n_homes;     /* of the whole plans at hand */
    const volatile sig_atomic_t *stop;
    Arena *arena;
} Workshop;

void workshop_open(Workshop *w, Arena *a, Task *task, const TuneOptions *o);
void workshop_close(Workshop *w);

/* Groups of a variant, without code. False: diagnosed in cx. */
bool variant_form(Context *cx, Task *t, const CompileOptions *quiet, Variant *v);
/* Ends the graphs of a compilation; its plan and groups stay with the context, but may no longer look at nodes. */
void compiled_end(Compiled *c);

/* The schedules of a group worth trying, the default first: the best by the model, at least one of each kind, the library's top. */
Schedule *pick_schedules(Context *cx, const Group *g, const CodegenOptions *o, uint32_t max, Arena *a,
                         uint32_t *n, double *uncertainty);

/* Plans of the group under each schedule (texts): candidates with `rejected` where there is none. */
SearchCandidate *workshop_group(Workshop *w, const Variant *v, uint32_t variant, const Group *g,
                                const char *const *schedules, uint32_t n, Arena *a);

/* Where a whole plan takes its schedules from: (key, text) -> schedule text; read-only, shared by threads. */
typedef struct { uint64_t key; const char *text, *schedule; } KnownSchedule;
/* Whole plans of variants, each with its schedules known[i][0 … n_known-1], with code and weights, each in a context of its own that
 * workshop_free_plans frees. */
SearchCandidate *workshop_plans(Workshop *w, const Variant *const *v, const KnownSchedule *const *known, uint32_t n, uint32_t n_known,
                                Arena *a);
void workshop_free_plans(Workshop *w);

/* What to fill inputs with: distributions of the task where an input or weight is one of its own. */
Dist *group_dists(const Graph *g, const Group *group, Arena *a);
Dist *graph_dists(const Graph *g, Arena *a);
