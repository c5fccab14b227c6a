/* cli/job.h — a task on its way to a device: what compile, run, verify, tune, bench and explain begin with. */
#pragma once
#include "autotune/tuner.h"
#include "cli/cli.h"
#include "codegen/codegen.h"

typedef struct Job {
    Cli *cli;
    Context *cx;                        /* of this task alone: symbols of other tasks have other ranges */
    Task *task;
    TuneDevice device;
    Db *db;                             /* NULL with --no-tuned */
    CompileOptions options;
    const Workload **workloads; uint32_t n_workloads;
    bool *pick_used;                    /* of each --pick: some choice took it */
} Job;

/* Loads the task, resolves device, database and workloads by the options. False: printed. job_close in any case. */
bool job_open(Cli *c, const Arg *path, DbMode mode, Job *j);
void job_close(Job *j);                 /* prints what is left to say */

/* Ceilings of the machine that the database does not know are measured now. False: diagnosed. */
bool job_measure_machine(Job *j);
/* Only the pass options, for a job without task and device. */
bool job_open_passes(Cli *c, Job *j);
/* Can the device be run here? False: diagnosed, with what was meant for `what`. */
bool job_can_run(Job *j, const char *what);

/* Compiles one workload (NULL: the generic plan) with the database's schedules and picks and the user's; without weights.
 * False: diagnosed in j->cx. */
bool job_compile(Job *j, const Workload *w, Compiled *out);
/* The weights of compiled plans, each made once. False: diagnosed. */
bool job_weights(Job *j, Compiled *list, uint32_t n);
/* After the last job_compile: a --pick that no choice took is an error. */
bool job_check_picks(Job *j);
/* The options of compilation with the picks for one workload filled in; `evidence` gets n decisions of the database. */
bool job_decide(Job *j, const Workload *w, CompileOptions *o, PlanDecision **evidence, uint32_t *n);

/* The --pick options for the choices of `g`. False: diagnosed. */
bool job_picks(Job *j, const Graph *g, ChoicePick **picks, uint32_t *n);
/* The same for the choices of all workloads. */
bool job_all_picks(Job *j, ChoicePick **picks, uint32_t *n);

/* "B=1,S=512". False: diagnosed. */
bool dims_parse(Context *cx, const char *text, DimValue **values, uint32_t *n);

const char *workload_name(const Workload *w);       /* "generic" for NULL */
/* "2 kernels, 1 library call" */
char *plan_summary(Arena *a, const Plan *p);
