/* ir/eval.h — the reference evaluator: plain loops, written over a value-domain interface. It is the oracle of every other
 * execution path, so it must stay obviously right.
 *
 * Domains now: fp64 (inputs rounded to their dtypes, then no rounding), baseline (the naive lowering: every node rounds at
 * its output to its dtype, so that a composite, whose inside is f32, rounds once; reduce and matmul accumulate in fp32 for
 * f16/bf16/f32), running error (the first-order scale E of numerics.md beside the fp64 value, so a sweep of it gives both).
 * Residues: eval_residue.h. */
#pragma once
#include "ir/graph.h"
#include "ir/import/task.h"

typedef struct {
    double v;                                                  /* the number; what decides comparisons in every domain */
    union {
        struct { double e; int64_t i; };                       /* e: error scale (running error); i: integers, exactly */
        struct { uint64_t mod_p, mod_q; };                     /* residues of floats (base/residue.h); of integers mod_p has the flag of a guess */
    };
} Value;

/* How one sweep treats numbers. `node` is the node being computed; args are its operands' values. Integers and bools live in
 * Value.i (v is the same number) and are exact in every domain. */
typedef struct Domain {
    const char *name;
    Value (*input)(const struct Domain *, DType t, const void *element);
    Value (*literal)(const struct Domain *, DType t, double v);
    Value (*apply)(const struct Domain *, const Node *n, const Value *args);              /* pointwise and cast */
    Value (*start)(const struct Domain *, const Node *n);                                 /* reduce, scan, matmul: neutral element */
    Value (*combine)(const struct Domain *, const Node *n, Value acc, Value x);           /* one more term */
    Value (*merge)(const struct Domain *, const Node *n, Value acc, Value other);         /* two partial results */
    Value (*multiply)(const struct Domain *, const Node *n, Value a, Value b);            /* a term of matmul */
    Value (*finish)(const struct Domain *, const Node *n, Value acc, int64_t count);      /* rounding at the boundary */
    enum { DOT_VALUES, DOT_FP64, DOT_BASELINE, DOT_TF32, DOT_ERROR } dot;                 /* the typed inner loop of matmul that agrees with multiply/combine */
} Domain;
extern const Domain domain_fp64, domain_baseline, domain_error;
extern const Domain domain_baseline_tf32;                     /* baseline whose f32 products are of operands rounded to tf32 */

typedef struct Evaluator Evaluator;
/* The graph must have no symbols left. inputs[i] belongs to g->inputs.data[i]; they are read in place, never copied. */
Evaluator *eval_new(const Graph *g, const Domain *d, Tensor *const *inputs, Arena *a);
/* Every element of output `k` as Values, row-major, in the arena. The first call computes all outputs in one sweep, with
 * several threads where it is large. */
const Value *eval_all(Evaluator *e, uint32_t k);
/* Values of output `k` at n flat coordinates (any order, repeats allowed), without computing the rest: memory and time in
 * proportion to what these need. False: a coordinate is out of range. */
bool eval_points(Evaluator *e, uint32_t k, const int64_t *flat, size_t n, Value *out);
double eval_flops(const Graph *g);                            /* scalar operations of a full evaluation: to choose between the two */
double eval_bytes(const Graph *g);                            /* peak memory of eval_all, roughly */

/* The acceptance rule of numerics.md for one output: y against oracle, baseline and error scale. */
typedef struct {
    bool     pass;
    size_t   checked, bad;
    double   max_abs, max_rel, rms, bias;                     /* of y - y64, over finite elements; bias is the mean signed error */
    double   baseline_max_abs, baseline_rms;
    double   worst_ratio;                                     /* largest |y - y64| / allowance; infinite where NaN or Inf disagree */
    int64_t  worst_at;                                        /* flat coordinate; -1 when nothing was checked */
    double   worst_y, worst_y64;
    double   rms_ratio;                                       /* RMS(y - y64) / its allowance; pass needs both ratios <= 1 */
    size_t   nonfinite;                                       /* elements whose NaN or Inf disagrees with the oracle's */
} Verdict;
/* `flat` NULL: all elements in order; else y, y64 … hold the n elements at these coordinates. `row`: length of the last dim
 * (R_i is the row's largest baseline error among the checked ones). y is of dtype `out`. error[i].e is E; y64 may be the
 * same array as `error`. */
Verdict accept_output(NumClass c, double approx, DType out, const void *y, const int64_t *flat, size_t n, int64_t row,
                      const Value *y64, const Value *baseline, const Value *error);

/* Convenience for verification: all elements when the evaluation is affordable, else whole rows (or runs of neighbours in very
 * long rows) drawn with `seed`, the first and last element always among them; evaluates the domains, applies the rule.
 * outputs[k] is dense. The class is the task's: matmul's where a matmul is in the output's graph and it is the looser. `t` may
 * be NULL: the dtype's default class. False: inputs or outputs do not fit the graph (diagnosed). */
typedef struct { Verdict *out; uint32_t n; bool all, pass; size_t samples; double seconds; } VerifyReport;
bool verify_outputs(const Task *t, const Graph *specialised, Tensor *const *inputs, Tensor *const *outputs,
                    uint64_t seed, Arena *a, VerifyReport *r);
/* "pass: 16384 of 33554432 elements, max |err| 0.0078 (baseline 0.0156), worst at …" */
char *verdict_text(Arena *a, const Verdict *v);
