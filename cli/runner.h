/* cli/runner.h — runs compiled plans as an application does: a package image, opened and called through pawl.h. */
#pragma once
#include "base/dtype.h"
#include "cli/job.h"
#include "runtime/package.h"
#include "runtime/pawl.h"

typedef struct Runner {
    Cli *cli;
    Context *cx;                        /* diagnostics go here */
    pawl_package *package;
    pawl_session *session;
    uint32_t n_inputs, n_outputs;
    bool on_host;                       /* the device reaches host memory: no copies */
    Vec(void *) memory;                 /* of the device, for inputs and outputs */
} Runner;

/* False: diagnosed. `device` as pawl_session_options. */
bool runner_open_file(Runner *r, Cli *c, Context *cx, const char *path, const char *device);
void runner_close(Runner *r);
/* Compiled plans of a job (with weights) as a runner. */
bool runner_open_job(Runner *r, Job *j, Compiled *list, uint32_t n);

/* Brings inputs to the device and makes room for outputs, whose host tensors come back in `out` (n_outputs, in `a`). */
typedef struct Call { pawl_tensor *in, *out; Tensor **host_in, **host_out; } Call;
bool runner_prepare(Runner *r, Tensor *const *inputs, Arena *a, Call *call);
bool runner_call(Runner *r, const Call *call);          /* returns when done */
bool runner_fetch(Runner *r, const Call *call);         /* outputs into host_out */

/* Is there memory for a tensor of this type? Asked before large ones are made. False: diagnosed (PAWL_EXIT_DEVICE). */
bool memory_for(Diags *d, const char *name, DType t, uint32_t rank, const int64_t *dims);
/* The graph's tensors of a specialised task: all inputs and params in order, and those that are inputs of the plan. */
Tensor *input_tensor(const Task *t, const GraphInput *in, const Workload *w, Arena *a);   /* NULL: diagnosed */
Tensor **task_tensors(const Task *t, const Graph *specialised, const Workload *w, Arena *a);
Tensor **only_inputs(const Graph *g, Tensor *const *tensors, Arena *a, uint32_t *n);
