/* runtime/cuda/driver.h — libcuda, loaded at run time: the declarations that Pawl needs, without CUDA's headers, and errors as
 * sentences. Names and values as in the driver API's documentation (CUDA 12 and 13). */
#pragma once
#include "base/diag.h"
#include "runtime/executor.h"
#include <stddef.h>
#include <stdint.h>

typedef struct CuContextOf *CuContext;
typedef struct CuModuleOf *CuModule;
typedef struct CuFunctionOf *CuFunction;
typedef struct CuStreamOf *CuStream;
typedef struct CuEventOf *CuEvent;
typedef struct CuGraphOf *CuGraph;
typedef struct CuNodeOf *CuNode;
typedef struct CuExecOf *CuExec;
typedef unsigned long long CuPtr;

typedef struct {                       /* CUDA_KERNEL_NODE_PARAMS_v2 */
    CuFunction func;
    unsigned grid[3], block[3], shared_bytes;
    void **params, **extra;
    void *kern;
    CuContext ctx;
} CuKernelNode;
typedef union { int flag; unsigned cluster[3]; char bytes[64]; } CuLaunchValue;       /* CUlaunchAttributeValue */
typedef struct { int id; char pad[4]; CuLaunchValue value; } CuLaunchAttribute;       /* CUlaunchAttribute */
typedef struct {                       /* CUlaunchConfig */
    unsigned grid[3], block[3], shared_bytes;
    CuStream stream;
    CuLaunchAttribute *attributes;
    unsigned n_attributes;
} CuLaunch;
typedef struct { unsigned char from_port, to_port, type, reserved[5]; } CuEdge;        /* CUgraphEdgeData */
enum { CU_EDGE_PROGRAMMATIC = 1, CU_PORT_PROGRAMMATIC = 1 };
enum { CU_LAUNCH_CLUSTER_DIMENSION = 4, CU_LAUNCH_PROGRAMMATIC_SERIALIZATION = 6 };
typedef struct { int result; CuNode node, from; } CuUpdateResult;      /* CUgraphExecUpdateResultInfo */

enum {                                 /* CUresult, as far as Pawl tells them apart */
    CU_OK = 0, CU_INVALID_VALUE = 1, CU_OUT_OF_MEMORY = 2, CU_STUB_LIBRARY = 34, CU_DEVICE_UNAVAILABLE = 46, CU_NO_DEVICE = 100,
    CU_INVALID_DEVICE = 101, CU_INVALID_IMAGE = 200, CU_NO_BINARY = 209, CU_INVALID_PTX = 218, CU_JIT_MISSING = 221,
    CU_PTX_VERSION = 222, CU_OPERATING_SYSTEM = 304, CU_NOT_FOUND = 500, CU_NOT_READY = 600, CU_ILLEGAL_ADDRESS = 700,
    CU_LAUNCH_RESOURCES = 701, CU_MISALIGNED = 716, CU_LAUNCH_FAILED = 719, CU_NOT_PERMITTED = 800, CU_SYSTEM_NOT_READY = 802,
    CU_DRIVER_MISMATCH = 803, CU_COMPAT_UNSUPPORTED = 804, CU_CAPTURE_UNSUPPORTED = 900, CU_CAPTURE_IMPLICIT = 906,
    CU_CAPTURE_WRONG_THREAD = 908
};
enum {                                 /* CUdevice_attribute */
    CU_ATTR_SM_COUNT = 16, CU_ATTR_L2_BYTES = 38, CU_ATTR_CC_MAJOR = 75, CU_ATTR_CC_MINOR = 76, CU_ATTR_SHARED_OPTIN = 97
};
enum { CU_FUNC_STATIC_SHARED = 1, CU_FUNC_LOCAL_BYTES = 3, CU_FUNC_REGISTERS = 4, CU_FUNC_MAX_DYNAMIC_SHARED = 8, CU_FUNC_SHARED_CARVEOUT = 9 };
enum { CU_JIT_INFO_LOG = 3, CU_JIT_INFO_LOG_BYTES = 4, CU_JIT_ERROR_LOG = 5, CU_JIT_ERROR_LOG_BYTES = 6 };
enum { CU_STREAM_NONBLOCKING = 1, CU_EVENT_NO_TIMING = 2, CU_CAPTURE_RELAXED = 2, CU_CAPTURE_NONE = 0 };

#define CUDA_FUNCTIONS(X)                                                                                         \
    X(Init,                    "cuInit",                      (unsigned flags))                                    \
    X(DriverGetVersion,        "cuDriverGetVersion",          (int *version))                                      \
    X(DeviceGetCount,          "cuDeviceGetCount",            (int *count))                                        \
    X(DeviceGet,               "cuDeviceGet",                 (int *device, int ordinal))                          \
    X(DeviceGetName,           "cuDeviceGetName",             (char *name, int len, int device))                   \
    X(DeviceGetAttribute,      "cuDeviceGetAttribute",        (int *value, int attribute, int device))             \
    X(DeviceTotalMem,          "cuDeviceTotalMem_v2",         (size_t *bytes, int device))                         \
    X(PrimaryRetain,           "cuDevicePrimaryCtxRetain",    (CuContext *ctx, int device))                        \
    X(CtxGetCurrent,           "cuCtxGetCurrent",             (CuContext *ctx))                                    \
    X(CtxPush,                 "cuCtxPushCurrent_v2",         (CuContext ctx))                                     \
    X(CtxPop,                  "cuCtxPopCurrent_v2",          (CuContext *ctx))                                    \
    X(CtxSynchronize,          "cuCtxSynchronize",            (void))                                              \
    X(GetErrorName,            "cuGetErrorName",              (int error, const char **name))                      \
    X(GetErrorString,          "cuGetErrorString",            (int error, const char **text))                      \
    X(MemGetInfo,              "cuMemGetInfo_v2",             (size_t *free_bytes, size_t *total))                 \
    X(MemAlloc,                "cuMemAlloc_v2",               (CuPtr *p, size_t bytes))                            \
    X(MemFree,                 "cuMemFree_v2",                (CuPtr p))                                           \
    X(MemcpyHtoDAsync,         "cuMemcpyHtoDAsync_v2",        (CuPtr to, const void *from, size_t n, CuStream s))  \
    X(MemcpyDtoHAsync,         "cuMemcpyDtoHAsync_v2",        (void *to, CuPtr from, size_t n, CuStream s))        \
    X(MemcpyDtoDAsync,         "cuMemcpyDtoDAsync_v2",        (CuPtr to, CuPtr from, size_t n, CuStream s))        \
    X(MemsetD8Async,           "cuMemsetD8Async",             (CuPtr to, unsigned char v, size_t n, CuStream s))   \
    X(ModuleLoadDataEx,        "cuModuleLoadDataEx",          (CuModule *m, const void *image, unsigned n_options, \
                                                               int *options, void **values))                       \
    X(ModuleUnload,            "cuModuleUnload",              (CuModule m))                                        \
    X(ModuleGetFunction,       "cuModuleGetFunction",         (CuFunction *f, CuModule m, const char *name))       \
    X(FuncGetAttribute,        "cuFuncGetAttribute",          (int *value, int attribute, CuFunction f))           \
    X(FuncSetAttribute,        "cuFuncSetAttribute",          (CuFunction f, int attribute, int value))            \
    X(LaunchKernel,            "cuLaunchKernel",              (CuFunction f, unsigned gx, unsigned gy, unsigned gz,\
                                                               unsigned bx, unsigned by, unsigned bz,              \
                                                               unsigned shared, CuStream s, void **params,         \
                                                               void **extra))                                      \
    X(LaunchKernelEx,          "cuLaunchKernelEx",            (const CuLaunch *l, CuFunction f, void **params,     \
                                                               void **extra))                                      \
    X(StreamCreate,            "cuStreamCreate",              (CuStream *s, unsigned flags))                       \
    X(StreamDestroy,           "cuStreamDestroy_v2",          (CuStream s))                                        \
    X(StreamSynchronize,       "cuStreamSynchronize",         (CuStream s))                                        \
    X(StreamWaitEvent,         "cuStreamWaitEvent",           (CuStream s, CuEvent e, unsigned flags))             \
    X(StreamIsCapturing,       "cuStreamIsCapturing",         (CuStream s, int *status))                           \
    X(StreamBeginCapture,      "cuStreamBeginCapture_v2",     (CuStream s, int mode))                              \
    X(StreamEndCapture,        "cuStreamEndCapture",          (CuStream s, CuGraph *graph))                        \
    X(EventCreate,             "cuEventCreate",               (CuEvent *e, unsigned flags))                        \
    X(EventDestroy,            "cuEventDestroy_v2",           (CuEvent e))                                         \
    X(EventRecord,             "cuEventRecord",               (CuEvent e, CuStream s))                             \
    X(EventSynchronize,        "cuEventSynchronize",          (CuEvent e))                                         \
    X(EventElapsedTime,        "cuEventElapsedTime",          (float *ms, CuEvent from, CuEvent to))               \
    X(GraphCreate,             "cuGraphCreate",               (CuGraph *g, unsigned flags))                        \
    X(GraphDestroy,            "cuGraphDestroy",              (CuGraph g))                                         \
    X(GraphAddKernelNode,      "cuGraphAddKernelNode_v2",     (CuNode *n, CuGraph g, const CuNode *deps,           \
                                                               size_t n_deps, const CuKernelNode *k))              \
    X(GraphAddChildGraphNode,  "cuGraphAddChildGraphNode",    (CuNode *n, CuGraph g, const CuNode *deps,           \
                                                               size_t n_deps, CuGraph child))                      \
    X(GraphAddEmptyNode,       "cuGraphAddEmptyNode",         (CuNode *n, CuGraph g, const CuNode *deps,           \
                                                               size_t n_deps))                                     \
    X(GraphKernelNodeSetAttribute, "cuGraphKernelNodeSetAttribute", (CuNode n, int attribute, const CuLaunchValue *v)) \
    X(GraphInstantiate,        "cuGraphInstantiateWithFlags", (CuExec *x, CuGraph g, unsigned long long flags))    \
    X(GraphExecDestroy,        "cuGraphExecDestroy",          (CuExec x))                                          \
    X(GraphLaunch,             "cuGraphLaunch",               (CuExec x, CuStream s))                              \
    X(GraphExecKernelSetParams, "cuGraphExecKernelNodeSetParams_v2", (CuExec x, CuNode n, const CuKernelNode *k))  \
    X(GraphExecUpdate,         "cuGraphExecUpdate_v2",        (CuExec x, CuGraph g, CuUpdateResult *r))

/* What plans may do without: NULL where the driver has none. */
#define CUDA_OPTIONAL(X)                                                                                          \
    X(GraphAddDependencies,    "cuGraphAddDependencies_v2",   (CuGraph g, const CuNode *from, const CuNode *to,    \
                                                               const CuEdge *edges, size_t n))                     \
    X(TensorMapEncodeTiled,    "cuTensorMapEncodeTiled",      (void *map, int type, uint32_t rank, void *base,     \
                                                               const uint64_t *dims, const uint64_t *strides,      \
                                                               const uint32_t *box, const uint32_t *steps,         \
                                                               int interleave, int swizzle, int promotion, int fill))

typedef struct CudaDriver {
#define X(name, symbol, params) int (*name) params;
    CUDA_FUNCTIONS(X)
    CUDA_OPTIONAL(X)
#undef X
} CudaDriver;

/* The table, or NULL and a sentence. Loaded once a process; cuInit has been called. */
const CudaDriver *cuda_driver(const char **why_not);
/* For tests: where the functions come from instead of libcuda. Before anything else; NULL restores nothing. */
void cuda_driver_set_source(void *(*find)(const char *symbol));

/* The device's primary context, retained once a process and kept. NULL: diagnosed. */
CuContext cuda_context(int ordinal, Diags *d);
/* Makes ctx current for this thread (a framework's may be, or the same one); leave with cuda_leave. */
typedef struct { const CudaDriver *cu; bool pushed; } CudaScope;
bool cuda_enter(const CudaDriver *cu, CuContext ctx, CudaScope *scope, Diags *d);
void cuda_leave(CudaScope *scope);

/* false and a diagnostic (what was being done, the driver's name for the error, cause and remedy) unless result is CU_OK. */
bool cuda_check(const CudaDriver *cu, int result, const char *doing, Diags *d);
/* Device memory; NULL-like 0: diagnosed with what was asked for, what is free. `what`: "workspace", "weights" … */
CuPtr cuda_alloc(const CudaDriver *cu, size_t bytes, const char *what, Diags *d);
/* "cuda" or "cuda:N" */
int cuda_ordinal(const char *device);
