/* runtime/cuda/executor.c — placeholder until the driver is in. */
#include "runtime/executor.h"

const CudaDevice *cuda_device(int ordinal)
{
    static const CudaDevice none = {.why_not = "the CUDA executor is not built yet"};
    (void)ordinal;
    return &none;
}

bool cublaslt_available(const char **why_not, const char **path)
{
    *why_not = "the CUDA executor is not built yet";
    *path = NULL;
    return false;
}

static ExecDevice *none_open(Context *cx, const pawl_session_options *opt)
{
    (void)opt;
    diag_error(cx->diags, PAWL_EXIT_DEVICE, LOC_NONE, NULL, "the CUDA executor is not built yet");
    return NULL;
}

static Executor *none_plan(Context *cx, const Plan *plan, const pawl_session_options *opt)
{
    (void)plan;
    none_open(cx, opt);
    return NULL;
}

const ExecutorOps executor_cuda = {.name = "cuda", .open = none_plan, .device_open = none_open};
