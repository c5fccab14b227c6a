/* runtime/cuda/internal.h — what the files of the CUDA executor share: a session's device, a plan's executor, a shape's sizes. */
#pragma once
#include "base/vec.h"
#include "runtime/cuda/cublaslt.h"
#include "runtime/cuda/driver.h"
#include "runtime/cuda/kernels.h"
#include "runtime/executor.h"
#include "runtime/plan_internal.h"

enum { STAGES = 64, GRAPHS = 16, SHAPES = 8 };

/* ---- weights on the device (weights.c): once a package and device, whatever the number of sessions and plans ---- */
typedef struct WeightSet WeightSet;
WeightSet *weights_acquire(int ordinal, const void *origin);
void       weights_release(WeightSet *w, const CudaDriver *cu);
/* Uploads those of the plan's weights that are not there yet; returns when done. */
bool       weights_upload(WeightSet *w, const CudaDriver *cu, const Plan *p, CuStream s, Diags *d);
CuPtr      weights_find(WeightSet *w, const void *stored);

typedef struct { const void *stored; CuPtr at; } Replaced;       /* a session's own version of a weight */

struct ExecDevice {
    const CudaDriver *cu;
    const CudaDevice *info;
    Arena *arena;
    int ordinal, use_graph;
    CuContext ctx;
    CuStream own;                      /* captures library calls, uploads */
    CuEvent order;
    CuStream last; bool has_last;      /* where the session's memory was last used */
    CuPtr workspace; size_t workspace_bytes;
    struct { CuPtr at; size_t bytes; } stages[STAGES];
    bool lent;                         /* a caller's graph points into our memory: what is outgrown is kept */
    Vec(CuPtr) retired;
    Vec(Replaced) replaced;
    uint32_t generation;               /* counts changes of addresses of workspace and weights */
};

/* ---- a plan's executor ---- */

typedef struct { uint32_t buffer; uint8_t access; bool known; } Touch;

typedef struct {                       /* an executable graph and the addresses in it */
    CuGraph graph;
    CuExec exec;
    CuNode *nodes;                     /* a step each */
    CuPtr *io;                         /* inputs, then outputs */
    uint32_t generation;
    uint64_t used;
} GraphEntry;

typedef struct { _Alignas(64) unsigned char bytes[128]; CuPtr base; } EncodedMap;     /* a tensor map, and where its tensor lies */

typedef struct {                       /* the plan at one tuple of symbol values */
    Arena *arena;
    int64_t *symbols;
    BoundPlan *sizes;
    CublasMatmul **matmuls;            /* a step each, or NULL */
    size_t library_at, library_bytes;  /* the library's workspace, after the plan's */
    uint32_t **before, *n_before;      /* a step each: the steps that must be done before it, without redundant ones */
    EncodedMap **maps;                 /* a step each, or NULL */
    GraphEntry graphs[GRAPHS]; uint32_t n_graphs;
    uint64_t used;
} Shape;

struct Executor {
    ExecDevice *device;
    bool owns_device, graph_mode;
    Arena *arena;
    const Plan *plan;
    WeightSet *weights;
    const CudaKernels *kernels;        /* only where a step copies or fills */
    CublasLt *blas;                    /* only where a step is the library's */
    CuFunction *functions; unsigned *dynamic_shared;
    bool *waits;                       /* a kernel each: the code loaded waits for the kernel before it by itself */
    Vec(CuModule) modules;
    uint32_t n_io;
    CuPtr *pointers;                   /* a buffer each */
    uint64_t *values; void **params;   /* arguments of the launch at hand */
    Touch **touches; uint32_t *n_touches;
    uint32_t *key, n_key;              /* inputs and outputs that library steps touch: a graph holds for their addresses */
    uint32_t *io_steps, n_io_steps;    /* other steps that touch inputs and outputs: their nodes are patched */
    Shape *shapes[SHAPES]; uint32_t n_shapes;
    Shape *current; uint32_t generation; bool placed;
    uint64_t clock;
    ExecutorStats stats;
};

/* code.c: the best code for the device, loaded; shared memory opted in; who waits by itself. */
bool cuda_load_kernels(Executor *e, Diags *d);
/* shape.c: sizes, products and order for these symbol values, remembered. NULL: diagnosed. */
Shape *shape_find(const Executor *e, const int64_t *symbols);
Shape *shape_make(Executor *e, const int64_t *symbols, Diags *d);
void   shape_release(Executor *e, Shape *s);
/* tensor_map.c: room for a shape's tensor maps; those of a step for the addresses at hand. `d` may be NULL (a quiet trial). */
bool   maps_prepare(const Executor *e, Shape *s, Diags *d);
bool   maps_encode(Executor *e, const Shape *s, uint32_t step, Diags *d);
/* graph.c: one call as a graph launch; nodes patched or the graph made anew as the addresses require. */
bool   graph_run(Executor *e, Shape *s, CuStream stream, Diags *d);
void   graph_release(Executor *e, GraphEntry *g);
/* executor.c: a step on a stream; a step's node. */
bool   step_enqueue(Executor *e, Shape *s, uint32_t step, CuStream stream, Diags *d);
/* Fills the node of a step that is no library call, after maps_encode; false when it has nothing to do. `call` keeps its arguments. */
bool   step_node(Executor *e, const Shape *s, uint32_t step, CuKernelNode *node, CudaCall *call);
/* Blocks of the step's kernel that run together; 1 without clusters. */
uint32_t step_cluster(const Executor *e, uint32_t step);
