/* autotune/tuner.h — finds the schedules of groups and the alternatives of choices by measurement, within a budget, and
 * remembers them.
 *
 * A task's workloads are compiled; each distinct group that the database does not know becomes a problem: its space is ranked
 * by the machine model, the best few candidates are compiled in parallel and timed side by side in rounds (search.h). Then each
 * choice is measured as whole plans. Whatever is finished is in the database at once, so an interrupted run goes on where it stopped. */
#pragma once
#include "autotune/db.h"
#include "autotune/device.h"
#include "autotune/measure.h"
#include "codegen/codegen.h"
#include <signal.h>

typedef struct TuneProgress {
    uint32_t done, total;           /* problems: groups and choices */
    const char *workload, *what;    /* "prefill_512", what the current group computes (one line) */
    const char *best;               /* best schedule so far, or NULL */
    double best_us, default_us;     /* 0: not yet known */
    double elapsed, budget;         /* seconds */
} TuneProgress;

typedef struct TuneOptions {
    CompileOptions compile;         /* passes, machine, numerics, emitter; schedules and picks come from the tuner */
    TuneDevice device;
    Db *db;                         /* borrowed; NULL: results are only in the report */
    double budget_seconds;          /* <= 0: 10 */
    uint32_t max_candidates;        /* of a group; 0: 12 */
    int  threads;                   /* compiling; <= 0: all */
    bool again;                     /* measure also what the database knows */
    Measurer *measurer;             /* NULL: a new one of the device */
    void (*progress)(void *arg, const TuneProgress *p); void *progress_arg;
    const volatile sig_atomic_t *stop;     /* set by the caller's SIGINT handler; may be NULL */
    FILE *log;                      /* one line a measurement; NULL: none */
    uint64_t seed;
} TuneOptions;

typedef struct TunedGroup {
    const char *workload, *text; uint64_t problem;
    const char *schedule, *incumbent;       /* NULL schedule: not reached within the budget */
    Interval us, ratio; double incumbent_us;
    uint32_t tried, rejected; bool hit, complete;
} TunedGroup;
typedef struct TunedChoice {
    const char *workload, *choice; uint32_t alternative, n; double us[DB_MAX_ALTERNATIVES];
    Interval ratio; bool hit, complete; const char *evidence;
} TunedChoice;
typedef struct TuneRejected { const char *workload, *problem, *schedule, *why; } TuneRejected;

typedef struct TuneReport {
    Vec(TunedGroup) groups;
    Vec(TunedChoice) choices;
    Vec(TuneRejected) rejected;     /* candidates that were illegal, spilled, failed or were wrong: data, shown loudly */
    uint32_t hits, tuned, unfinished, wrong;     /* problems; wrong: candidates with a wrong result */
    double seconds, seconds_compile, seconds_measure;
    bool touched_device, stopped, out_of_budget;
} TuneReport;

/* False: diagnosed in cx->diags (PAWL_EXIT_STOPPED when `stop` was set: the report holds all that was kept). A budget that ends early
 * is not an error: report->unfinished counts. The report's memory is cx's arena. */
bool tune_task(Context *cx, Task *t, const Workload *const *workloads, uint32_t n, const TuneOptions *o, TuneReport *report);

/* ---- what the database gives to a compilation ------------------------------------------------------------------------------------ */
/* Tuned schedules for codegen; the state lives in cx's arena. Entries whose schedule is no longer in the group's reach are ignored by codegen. */
ScheduleSource db_schedules(Context *cx, Db *db, const TuneDevice *d);
/* Picks for the choices of `g` (specialised, after passes), and their evidence for plan->decisions ("stacked 31.2 us vs separate 40.7 us,
 * 1.30x [1.28, 1.33] on NVIDIA H200"). Choices that were never measured take the model's default: no pick. */
ChoicePick *choices_from_db(Context *cx, Db *db, const TuneDevice *d, const Graph *g, uint32_t *n, PlanDecision **evidence);
