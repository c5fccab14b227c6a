/* ir/import/task.h — task specs in YAML (formats.md) to graphs. */
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
    Map *values;                                   /* Str name -> Node* of every named value of the statements */
    Numerics numerics;
    Workload *workloads; uint32_t n_workloads;     /* in file order */
    uint64_t seed;                                 /* `seed:`, default 0 */
} Task;

Task *task_load(Context *cx, const char *path);                       /* NULL: diagnosed in cx->diags */
Task *task_from_source(Context *cx, const Source *s);
const Workload *task_workload(const Task *t, const char *name);       /* NULL: diagnosed with the known names */
/* A workload from "S=512,B=1" or a name. */
bool  task_workload_parse(Task *t, const char *text, Workload *out);
/* The statements as JSON for renderers in other languages: {task, dims, inputs, params, statements:[{out, call, args, attrs, types}], outputs};
 * shapes under the workload when one is given. Text owned by the arena. */
char *task_json(Task *t, const Workload *w, Arena *a);
/* Fills a tensor for an input or param of a specialised graph (seeded, or from its file). */
Tensor *task_tensor(const Task *t, const GraphInput *in, const DimValue *v, uint32_t n, Arena *a);
