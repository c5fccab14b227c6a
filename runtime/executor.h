/* runtime/executor.h — what every executor of plans offers. Three of them: cpu, cuda, sim. */
#pragma once
#include "runtime/package.h"
#include "runtime/pawl.h"

typedef struct Executor Executor;
typedef struct ExecutorOps {
    const char *name;
    /* Binds a plan to a device: loads code, uploads weights, prepares workspace. NULL: diagnosed. */
    Executor *(*open)(Context *cx, const Plan *plan, const pawl_session_options *opt);
    void      (*close)(Executor *e);
    /* Pointers by buffer order (inputs, outputs); symbol values in plan order. */
    bool      (*run)(Executor *e, void *const *inputs, void *const *outputs, const int64_t *symbols, void *stream, Diags *d);
    bool      (*set_weight)(Executor *e, uint32_t weight, const void *host_data, size_t bytes, Diags *d);
} ExecutorOps;

extern const ExecutorOps executor_cpu, executor_cuda;

/* The compiler's library may register a loader for fresh host objects (LLVM ORC); without one the small ELF loader serves. */
typedef struct HostCode HostCode;
typedef struct HostLoader {
    HostCode *(*load)(Arena *a, Diags *d, const void *object, size_t len);
    HostKernel *(*find)(HostCode *c, const char *symbol);
    void (*unload)(HostCode *c);
} HostLoader;
extern const HostLoader host_loader_elf;
void host_loader_set(const HostLoader *l);         /* before the first session; process-wide, so only the CLI calls it */
/* The only functions that generated host code may import (libm and libmvec by name); NULL when not in the table. */
void *host_import(const char *symbol);

/* ---- CUDA, loaded at run time (cuda/driver.c) ------------------------------------------------------------------------ */
typedef struct CudaDevice {
    bool available;
    const char *why_not;               /* a sentence with the remedy, when not available */
    char name[96];
    int  sm_major, sm_minor, sm_count, driver_version;
    size_t memory_bytes, l2_bytes, shared_per_block;
} CudaDevice;
const CudaDevice *cuda_device(int ordinal);        /* probes once a process; never fails, says why */
bool cublaslt_available(const char **why_not, const char **path);
