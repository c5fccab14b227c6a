/* ir/import/task.h — task specs in YAML (formats.md) to graphs.
 *
 * An input or param is `name: type ~ distribution [options]`, or a mapping {type, dist, mutable, file, range}. Without a
 * distribution inputs are normal(0, 1), params normal(0, 0.02); integers are randint(0, n) where n is the extent of the table they
 * index, else randint(0, 2). A dim is a range [lo, hi], one value, or an expression of earlier dims ("4*F").
 *
 * task_json, for renderers in other languages:
 *
 *   {"task": "qwen3/swiglu", "about": …, "source": …, "seed": 0, "numerics": {"matmul": "bf16", "conv": …, "else": …},
 *    "dims": {"B": 1, "S": 512, "F": 6144},                    without a workload symbols are {"B": [1, 64], …}
 *    "inputs": [{"name": "gate", "dtype": "bf16", "shape": [1, 512, 6144], "dist": {"kind": "normal", "a": 0, "b": 1}, "mutable": false}],
 *    "params": [… the same, with "file" where there is one …],
 *    "statements": [{"out": ["y"], "types": [{"dtype": "bf16", "shape": […]}], "line": 12, …EXPR}],
 *    "outputs": ["y"], "workload": "decode_8"}
 *
 * EXPR is {"call": "mul", "composite": false, "args": [EXPR…], "attrs": {…}} (nested calls stay nested),
 * {"value": "up"} or {"number": 2.0}; a statement has its EXPR's keys among its own; infinite and NaN numbers are the strings "inf", "-inf", "nan". Attributes are evaluated, named, and those a composite
 * leaves at their default are filled in. Dims are integers under a workload, else strings such as "4*S". A dtype is its name. */
#pragma once
#include "ir/graph.h"
#include "ir/text.h"

typedef enum { NUM_IEEE, NUM_FP32, NUM_TF32, NUM_BF16, NUM_F16, NUM_APPROX } NumClass;
typedef struct { NumClass matmul, conv, otherwise; double approx; } Numerics;
const char *numclass_name(NumClass c);

typedef struct { Str name; DimValue *values; uint32_t n; Loc loc; } Workload;

typedef struct Task {
    Context *cx;
    const Source *source;
    Str name, about, origin;                       /* `task:`, `about:`, `source:` */
    Graph *graph;                                  /* composites inlined, nothing simplified, symbolic dims */
    TextBlock statements;                          /* as written, before inlining: what the comparison renders */
    Map *values;                                   /* Str name -> Node* of inputs, params and every named value of the statements */
    Dim *symbols; uint32_t n_symbols;              /* dims with a range, in file order: what a workload binds */
    Map *consts;                                   /* Str -> const AttrVal*: dims with one value */
    const Functions *functions;
    Numerics numerics;
    Workload *workloads; uint32_t n_workloads;     /* in file order */
    uint64_t seed;                                 /* `seed:`, default 0 */
} Task;

Task *task_load(Context *cx, const char *path);                       /* NULL: diagnosed in cx->diags; graph_free(t->graph) ends it */
Task *task_from_source(Context *cx, const Source *s);
const Workload *task_workload(const Task *t, const char *name);       /* NULL: diagnosed with the known names */
/* A workload from "S=512,B=1" or a name. False: diagnosed. */
bool  task_workload_parse(Task *t, const char *text, Workload *out);
/* The statements as JSON, see above; shapes under the workload when one is given. Text owned by the arena. */
char *task_json(Task *t, const Workload *w, Arena *a);
/* Fills a tensor for an input or param of a specialised graph (seeded, or from its file). */
Tensor *task_tensor(const Task *t, const GraphInput *in, const DimValue *v, uint32_t n, Arena *a);
