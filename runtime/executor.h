/* runtime/executor.h — what every executor of plans offers. Three of them: cpu, cuda, sim. */
#pragma once
#include "runtime/host_code.h"
#include "runtime/package.h"
#include "runtime/pawl.h"

typedef struct Executor Executor;
/* What the executors of one session share: threads or streams, workspace, weights on the device, staging memory. */
typedef struct ExecDevice ExecDevice;

typedef struct {                       /* one tensor copy between memories that the device reaches; strides in elements */
    const void *from; void *to;
    uint32_t element, rank;
    int64_t shape[TENSOR_MAX_RANK], from_strides[TENSOR_MAX_RANK], to_strides[TENSOR_MAX_RANK];
} StridedCopy;

typedef struct ExecutorOps {
    const char *name;
    /* Binds a plan to a device: loads code, uploads weights, prepares workspace. NULL: diagnosed. The plan is borrowed, and so is
     * `cx` (diagnostics go to cx->diags); both outlive the executor. The executor owns a device of its own. */
    Executor *(*open)(Context *cx, const Plan *plan, const pawl_session_options *opt);
    void      (*close)(Executor *e);
    /* Pointers by buffer order (inputs, outputs), dense and aligned as the plan asks; symbol values in plan order. */
    bool      (*run)(Executor *e, void *const *inputs, void *const *outputs, const int64_t *symbols, void *stream, Diags *d);
    /* Replaces weight number `weight` by host data for this executor's device; other plans that read the same stored tensor see it. */
    bool      (*set_weight)(Executor *e, uint32_t weight, const void *host_data, size_t bytes, Diags *d);

    /* The device apart, for sessions with several plans. */
    ExecDevice *(*device_open)(Context *cx, const pawl_session_options *opt);
    void        (*device_close)(ExecDevice *v);                   /* after its executors */
    Executor   *(*open_on)(ExecDevice *v, Context *cx, const Plan *plan);
    void *(*alloc)(ExecDevice *v, size_t bytes, Diags *d);        /* 256-byte aligned; NULL: diagnosed, with sizes */
    void  (*release)(ExecDevice *v, void *p);
    bool  (*upload)(ExecDevice *v, void *to, const void *host, size_t bytes, void *stream, Diags *d);      /* returns when done */
    bool  (*download)(ExecDevice *v, void *host, const void *from, size_t bytes, void *stream, Diags *d);  /* returns when done */
    bool  (*synchronize)(ExecDevice *v, void *stream, Diags *d);
    bool  (*copy)(ExecDevice *v, const StridedCopy *c, void *stream, Diags *d);
    /* Memory of slot `slot` of at least `bytes`, kept until the device closes: where unsuitable tensors are staged. */
    void *(*stage)(ExecDevice *v, uint32_t slot, size_t bytes, void *stream, Diags *d);
} ExecutorOps;

extern const ExecutorOps executor_cpu, executor_cuda, executor_sim;

/* ---- CUDA, loaded at run time (cuda/driver.c) ------------------------------------------------------------------------ */
typedef struct CudaDevice {
    bool available;
    const char *why_not;               /* a sentence with the remedy, when not available */
    char name[96];
    int  sm_major, sm_minor, sm_count, driver_version;
    size_t memory_bytes, l2_bytes, shared_per_block;
} CudaDevice;
/* What a CUDA executor has done since it was opened. */
typedef struct ExecutorStats {
    uint64_t runs, launches, graph_launches;       /* calls; kernels and products launched one by one; graphs launched */
    uint64_t instantiated, updated, patched;       /* graphs made anew, made over for other pointers, nodes given other pointers */
    uint64_t encoded;                              /* tensor maps made */
    uint64_t captured;                             /* calls that went into a caller's graph */
    size_t workspace_bytes;
    uint32_t graph_nodes, graph_edges;             /* of the graph made last; 0 without one */
} ExecutorStats;
ExecutorStats cuda_executor_stats(const Executor *e);
const CudaDevice *cuda_device(int ordinal);        /* probes once a process; never fails, says why */
bool cublaslt_available(const char **why_not, const char **path);
