/* autotune/tuner_internal.h — problems: what a tuner works through, whoever states them. tuner.c makes them of groups and choices;
 * tests make them of numbers. */
#pragma once
#include "autotune/search.h"
#include "autotune/tuner.h"

typedef enum {
    PROBLEM_GROUP,
    PROBLEM_CHOICE,
    PROBLEM_TOGETHER                /* the schedules of all groups of a plan; kept like a group's (tuner_together.c) */
} ProblemKind;
enum { RUNNERS = 4 };
typedef enum {
    PROBLEM_PENDING,
    PROBLEM_HIT,                    /* the database knows it: no work at all */
    PROBLEM_TUNED,
    PROBLEM_PARTIAL,                /* measured, but the budget ended before it was decided */
    PROBLEM_UNREACHED,
    PROBLEM_FAILED                  /* no candidate ran */
} ProblemState;

typedef struct TuneProblem {
    ProblemKind kind;
    uint64_t key;                   /* Group.key, or hash of the graph with its choices */
    const char *text;               /* Group.text, or choice id */
    const char *workload;           /* of its first use; NULL: generic */
    const char *before;             /* schedule of an unfinished earlier run, tried again; or NULL */
    double predicted;               /* seconds of the default */
    double uncertainty;             /* how far the candidates' predictions lie apart, >= 1; 0: only one candidate */
    uint32_t n_alternatives;        /* choices */
    uint32_t index;                 /* the source's own */
    ProblemState state;
    /* outcome */
    const char *winner;             /* as text; of a choice: winner_index */
    const char *runners[RUNNERS]; double runners_us[RUNNERS]; uint32_t n_runners;      /* of a group: the next best, the best first */
    uint32_t winner_index;
    const char *incumbent;
    Interval us, ratio; double incumbent_us;
    double us_of[DB_MAX_ALTERNATIVES];
    uint32_t against;
    uint32_t tried, rejected;
} TuneProblem;

/* Where candidates come from. They live until `release`; [0] is the untuned default (or default alternative). */
typedef struct ProblemSource {
    bool (*candidates)(void *arg, TuneProblem *p, SearchCandidate **out, uint32_t *n, MeasureOptions *m);
    void (*release)(void *arg, TuneProblem *p);
    void *arg;
} ProblemSource;

typedef struct Tuner {
    Context *cx;
    const TuneOptions *o;
    const char *task;
    DbKey key;
    Measurer *measurer;
    TuneReport *report;
    double (*clock)(void);
    double started, deadline;
    uint32_t done, total;           /* for progress, over all calls of tuner_run */
    TuneProblem *current; const char *current_line;
} Tuner;

/* Marks what the database knows as PROBLEM_HIT and fills its outcome; notes unfinished entries in `before`. */
void tuner_look_up(Tuner *t, TuneProblem *problems, uint32_t n);
/* Works through the pending problems, the weightiest first, until `deadline`; each is in the database when it is done. False: the device
 * failed or the run was stopped; diagnosed. */
bool tuner_run(Tuner *t, TuneProblem *problems, uint32_t n, const ProblemSource *source, double deadline);
bool tuner_stopped(const Tuner *t);
double tuner_weight(const TuneProblem *p);
/* Errors of another context, as text. */
void diags_adopt(Context *to, Context *from);

/* ---- the schedules of a plan together (tuner_together.c) ---- */
typedef struct Workshop Workshop;
typedef struct Variant Variant;
/* One plan: its problem, over the distinct groups that it has. */
typedef struct { const Variant *variant; const TuneProblem **groups; uint32_t n; TuneProblem problem; } Together;
/* False: there is nothing to choose (one group, long kernels, undecided groups). */
bool together_of(Context *cx, const Variant *v, const TuneProblem *groups, uint32_t n_groups, Together *out);
/* Candidates: the groups' winners; with runners-up in one place or two neighbouring ones. */
SearchCandidate *together_candidates(Workshop *w, const Together *x, uint32_t max, Arena *a, uint32_t *n);
/* Key and text of a plan's problem; the schedules of its distinct groups, in their order, as one text and back (false: not so many). */
const Group **together_groups(const Groups *gs, Arena *a, uint32_t *n);
const char *together_text(const Group *const *g, uint32_t n, Arena *a, uint64_t *key);
const char *together_join(const char *const *schedules, uint32_t n, Arena *a);
bool        together_split(const char *text, const char **schedules, uint32_t n, Arena *a);

/* "as written", "stack_projections": what an alternative is called. */
const char *alternative_name(Arena *a, const char *choice, uint32_t alternative, uint32_t n);
/* "stack_projections 31.2 us vs as written 40.7 us, 1.30x [1.28, 1.33] on NVIDIA H200" */
const char *choice_evidence(Arena *a, const char *choice, uint32_t winner, uint32_t against, uint32_t n,
                            const double *us, Interval ratio, const char *device);
