/* codegen/codegen.h — graph to plan: grouping, kernel kinds, schedules, weights, plan building.
 *
 *   graph (no choices) → groups_form → for each group: kind + schedule → kernel IR → emitter → Plan
 *
 * What everybody above codegen (autotune, cli) needs stands here; kinds share codegen/kind.h, lowering codegen/lower.h. */
#pragma once
#include "codegen/kir.h"
#include "codegen/machine.h"
#include "ir/import/task.h"
#include "passes/pass.h"
#include "runtime/plan.h"

/* ---- schedules: a kind and a short list of named values, printed, stored, replayed: "row rows=4 threads=128 vec=8" ------- */
#define SCHEDULE_MAX 12
typedef struct { const char *kind; uint32_t n; struct { const char *key; int64_t value; } v[SCHEDULE_MAX]; } Schedule;   /* static or interned strings */
void    schedule_set(Schedule *s, const char *key, int64_t value);
int64_t schedule_get(const Schedule *s, const char *key, int64_t otherwise);
void    schedule_print(StrBuf *b, const Schedule *s);
bool    schedule_parse(StrPool *p, const char *text, Schedule *out);
bool    schedule_equal(const Schedule *a, const Schedule *b);

/* ---- groups -------------------------------------------------------------------------------------------------------------- */
typedef struct KernelKind KernelKind;
typedef struct { Dim d[MAX_RANK]; } Index;          /* coordinates of one element */
typedef struct { Node *node; Index at; uint32_t level; } GroupReduce;   /* `at`: of its result, over the group's symbols */
typedef struct { Node *node; Index at; } GroupOutput;

typedef struct Group {
    uint32_t id;
    /* what it computes: for all `sym[i]` in 0..domain.d[i]: outputs[j].node at outputs[j].at = expression over loads */
    Shape domain;
    Dim   sym[MAX_RANK];
    Vec(GroupOutput) outputs;           /* values that it stores */
    Vec(GroupReduce) reduces;           /* reductions along a row, operands' reductions first (level 0 depends on none) */
    uint32_t outer_mask;                /* with reduces: bit i: domain dim i is outer; the others are the row */
    Node *matmul;                       /* a matrix product whose result the outputs are made from; or NULL */
    /* Groups over domains of their own that all read `matmul`: the lists of this one have what all of them have, outputs in their
     * order; its own domain, the product's, is nobody's. None: it is a group as it stands. */
    Vec(struct Group *) members;
    Vec(Node *) inputs;                 /* materialised nodes, inputs and weights that it loads, without literals */
    Vec(Node *) nodes;                  /* everything computed in it, operands first (incl. recomputed ones) */
    const char *text;                   /* in graph text, names canonical: what it computes; part of tuning keys */
    uint64_t key;                       /* hash of text, shapes, dtypes: the problem */
    const char *why_not;                /* reasons of kinds that refused, and why it ends where it ends, for explain */
    Dim bytes_read, bytes_written, flops;
    /* how it is computed */
    Schedule schedule;                  /* chosen; schedule.kind names the kind */
    const char *schedule_from;          /* "default", "tuned", "forced" */
    double predicted_seconds;
    struct Group *launch;               /* the group in whose kernel it runs (horizontal fusion); itself otherwise */
} Group;
typedef struct { Group **g; uint32_t n; } Groups;

typedef enum { EMITTER_AUTO, EMITTER_LLVM, EMITTER_NVRTC } Emitter;

/* Where schedules come from: the tuning database, or a tuner trying one. `lookup` returns false to take the kind's first; `begin`, which
 * may be absent, hears of all groups of a plan before the first is looked up. */
typedef struct ScheduleSource {
    bool (*lookup)(void *arg, const Group *g, Schedule *out);
    void *arg;
    void (*begin)(void *arg, const Groups *gs);
} ScheduleSource;

typedef struct CodegenOptions {
    Machine machine;
    Numerics numerics;
    bool fuse;                          /* false: one group a node, for the fused-against-unfused comparison */
    bool use_library;                   /* cuBLASLt for matmuls on CUDA */
    const char *const *no_kinds; uint32_t n_no_kinds;      /* kernel kinds to do without, for comparisons */
    Emitter emitter;
    ScheduleSource schedules;
    bool keep_source;                   /* also keep CUDA C and PTX beside the binary code */
    bool portable;                      /* also PTX for sm_80, which newer chips can run: for packages */
    bool simulated;                     /* the PTX will run on the simulator: there need be no binary code */
    const char *dump_dir;               /* kernels' IR and text are written there; NULL: no */
    bool no_code;                       /* stop before emission: for explain and cost */
} CodegenOptions;

/* The problem's schedules in the order in which the model would try them; the first is the untuned default. */
Schedule *group_space(Context *cx, const Group *g, const CodegenOptions *o, Arena *a, uint32_t *n);
double    group_cost(Context *cx, const Group *g, const Schedule *s, const CodegenOptions *o);   /* predicted seconds */

/* Predicted seconds of a whole graph (without choices), every group at its default schedule; negative: some group has no kind. */
double    codegen_predict(Context *cx, const Graph *g, const CodegenOptions *o);

/* A plan that runs only this group, its operands as inputs, its results as outputs: what the tuner measures.
 * NULL: diagnosed (an illegal schedule is data: PAWL_EXIT_UNSUPPORTED in the diagnostics). */
Plan *group_plan(Context *cx, const Graph *g, const Group *group, const Schedule *s, const CodegenOptions *o);

Groups *groups_form(Context *cx, const Graph *g, const CodegenOptions *o);
/* The whole graph. `groups` may be NULL (formed inside) and receives schedules and costs. NULL: diagnosed. */
Plan *codegen_plan(Context *cx, const Graph *g, Groups *groups, const CodegenOptions *o);

/* Weights: fills plan->weights[i].data by evaluating recipes over the task's parameters; plans share what they have in common. */
bool weights_materialise(Context *cx, Plan *const *plans, uint32_t n, const Task *t);

/* ---- the whole way for one task (compile.c) --------------------------------------------------------------------------------- */
typedef struct CompileOptions {
    PassOptions passes;
    CodegenOptions codegen;
    const ChoicePick *picks; uint32_t n_picks;     /* measured choices; others take the model's default */
    const Str *plain; uint32_t n_plain;            /* choices whose rewritten form the values of weights rule out (compile_weights) */
    const Str *keeps; uint32_t n_keeps;            /* choices that keep a weight beside its pieces, which do not hold all of it */
    bool no_weights;                               /* leave plan->weights[i].data NULL */
} CompileOptions;

typedef struct Compiled {
    const Workload *workload;                      /* NULL: generic */
    CompileOptions options;
    Graph *graph;                                  /* specialised, before any pass */
    Graph *with_choices, *resolved;                /* after passes; after picks */
    PassReport report;
    Vec(PlanDecision) decisions;                   /* of choices that nobody picked: the model's */
    Groups *groups;
    Plan *plan;
    double seconds_passes, seconds_codegen, seconds_weights;
} Compiled;

bool compile_workload(Context *cx, Task *t, const Workload *w, const CompileOptions *o, Compiled *out);
/* The weights of all plans (compiled with no_weights), made once. Plans whose split products cannot hold a weight that has come out are
 * compiled again with those products as they were written. */
bool compile_weights(Context *cx, Task *t, Compiled *list, uint32_t n);
/* manifest.json of a package: versions, options, decisions, provenance of every kernel */
char *compile_manifest(Arena *a, const Task *t, const Compiled *c, uint32_t n, const CompileOptions *o);
