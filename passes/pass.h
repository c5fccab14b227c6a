/* passes/pass.h — the pass driver. A pass is one file that exports one function; pipeline.c is the only list of them. */
#pragma once
#include "ir/graph.h"
#include "ir/import/task.h"

typedef struct PassOptions {
    const char *const *disabled;  uint32_t n_disabled;    /* --no-pass=NAME */
    const char *dump_after;                               /* --dump-after=NAME or "all": printed to `dump` */
    FILE *dump;
    const char *dump_dir;                                 /* --dump-dir: NN-name.graph after each pass */
    const char *rules_dir;                                /* --rules DIR: interpreted instead of the generated rules; NULL: generated */
    const char *const *disabled_rules; uint32_t n_disabled_rules;
    bool verify;                                          /* graph_verify after every pass (default in dev builds and tests) */
    Numerics numerics;                                    /* contract class: which exactness may fire */
    bool f16_products;                                    /* the target multiplies f16 matrices with fp32 sums many times as fast as f32 ones */
    double split_work;                                    /* least 2 M N K of an f32 product to be offered as one of f16 pieces; 0: the usual */
    const char *const *keeps; uint32_t n_keeps;           /* choices of split products that keep a frozen right operand beside its pieces */
    bool fold_norms;                                      /* norms of rows may go through the bf16 products behind them */
    uint32_t units;                                       /* of the target, which products of few tiles share by pieces of k; 0: they keep k whole */
    int64_t split_depth;                                  /* least k of such a piece; 0: the usual */
    uint32_t piece;                                       /* columns that reductions behind a product take at a time; 0: whole rows */
} PassOptions;

typedef struct { const char *rule; uint64_t tried, fired; double seconds; } RuleStat;
typedef struct { const char *pass; bool changed; double seconds; uint32_t nodes_before, nodes_after; } PassStat;
typedef struct {                                          /* one rewrite, for `explain` */
    const char *rule; Str node; Loc loc; Str choice;      /* choice id when the rule left one */
} RuleFiring;
typedef struct PassReport {
    Vec(PassStat) passes;
    Vec(RuleStat) rules;
    Vec(RuleFiring) firings;
    Vec(const char *) warnings;                           /* what stopped before its fixpoint: sound, but something is left undone */
} PassReport;

typedef struct PassContext {
    Context *cx;
    Graph *graph;
    Arena *scratch;                                       /* reset after each pass */
    const PassOptions *opt;
    PassReport *report;                                   /* never NULL inside a pass */
    const struct RuleSet *rules;                          /* generated, or read from opt->rules_dir */
    uint32_t round;                                       /* of the fixpoint, from 0 */
    bool stopped;                                         /* by a limit: no further round is tried */
} PassContext;

/* Notes in the report that a limit stopped a pass, and stops the rounds. */
void pass_stop(PassContext *cx, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Runs all passes to the end of the pipeline. False: diagnosed. `report` may be NULL; its memory is the context's arena. */
bool pipeline_run(Graph *g, const PassOptions *opt, PassReport *report);
const char *const *pipeline_pass_names(uint32_t *n);

bool pass_canonicalise(PassContext *cx);
bool pass_fold(PassContext *cx);
bool pass_rules(PassContext *cx);      /* `always` rules, to their fixpoint */
bool pass_choices(PassContext *cx);    /* `measured` rules, once: leaves choices */
bool pass_fold_norm(PassContext *cx);         /* leaves choices: row scales behind the product instead of before it */
bool pass_split_matmul(PassContext *cx);      /* leaves choices: f32 products of f16 pieces */
/* Pieces and scales of the lines of a matrix x, which run along its last dim or, from_end 2, the one before; `turn`: along the last
 * dim of what comes out. `depth`: of the pieces, padded with zeros; terms 1: without lo. */
SplitOperand split_lines(Graph *g, Node *x, uint32_t from_end, bool turn, Dim depth, uint32_t terms);
/* The id of the choice that pass_split_matmul left for the product whose split form `n` is, or a piece of. */
Str  split_choice_id(Context *cx, const Node *n);
bool pass_tile_reductions(PassContext *cx);   /* leaves choices: reductions behind products, piece by piece */
bool pass_split_k(PassContext *cx);           /* leaves choices: products as sums over pieces of k */
bool pass_dead_code(PassContext *cx);

/* ---- choices (choices.c) -------------------------------------------------------------------------------------------
 * choice(id; a, b, …): one node an output; nodes with the same id switch together. Alternative 0 is always the unrewritten form.
 * An id reads RULE@PLACE, or RULE@PLACE#1, #2, … where places look alike (products of one shape). Those are one family, RULE@PLACE:
 * it is listed, tuned and picked as one choice, unless a pick names a member. */
typedef struct {
    Str id; uint32_t n_alternatives; const char *rule; Loc loc;
    uint32_t n_members;                                   /* of the family: #1 to #n; 0: it is alone */
    uint32_t default_alternative;                         /* 0, until a tuner puts in what the machine model prefers */
} ChoiceInfo;
ChoiceInfo *choices_list(const Graph *g, Arena *a, uint32_t *n);       /* families, each by the first of its members */
/* Gives the ids of choices that a pass is about to leave, families yet, their numbers: in place, none to those that are alone. */
void choices_number(Context *cx, Str *ids, uint32_t n);
typedef struct { Str id; uint32_t alternative; } ChoicePick;
/* A graph without choice nodes (copied, then dead code dropped); ids without a pick take alternative 0. A pick of a member counts
 * before one of its family, among equals the last. */
Graph *choices_resolve(const Graph *g, const ChoicePick *picks, uint32_t n);
