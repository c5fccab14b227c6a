/* cli/runner.c — see runner.h. */
#include "cli/runner.h"
#include "cli/table.h"
#include <stdlib.h>
#include <string.h>

static bool check(Runner *r, pawl_status status, const char *what)
{
    if (status == PAWL_OK)
        return true;
    return diag_error(r->cx->diags, (ExitCode)status, LOC_NONE, NULL, "%s%s%s", what ? what : "",
                      what ? ": " : "", pawl_error());
}

static bool start(Runner *r, const char *device)
{
    pawl_session_options options = {
        .size = sizeof options,
        .device = device,
        .threads = (int32_t)r->cli->o.threads,
        .use_graph = -1,
    };
    r->n_inputs = (uint32_t)pawl_input_count(r->package);
    r->n_outputs = (uint32_t)pawl_output_count(r->package);
    if (!check(r, pawl_session_new(r->package, &options, &r->session), NULL))
        return false;
    r->on_host = strcmp(pawl_device(r->session), "cuda") != 0;
    return true;
}

static bool open_image(Runner *r, Cli *c, Context *cx, const void *image, size_t len,
                       const char *device)
{
    *r = (Runner){.cli = c, .cx = cx};
    return check(r, pawl_open_memory(image, len, &r->package), NULL) && start(r, device);
}

bool runner_open_file(Runner *r, Cli *c, Context *cx, const char *path, const char *device)
{
    *r = (Runner){.cli = c, .cx = cx};
    return check(r, pawl_open(path, &r->package), NULL) && start(r, device);
}

bool runner_open_job(Runner *r, Job *j, Compiled *list, uint32_t n)
{
    *r = (Runner){.cli = j->cli, .cx = j->cx};
    Plan **plans = arena_new_array(j->cx->arena, Plan *, n);
    for (uint32_t i = 0; i < n; i++)
        plans[i] = list[i].plan;
    size_t len;
    void *image =
        package_image(j->cx->arena, j->cx->diags, plans, n,
                      compile_manifest(j->cx->arena, j->task, list, n, &j->options), &len);
    return image && open_image(r, j->cli, j->cx, image, len, j->device.spec);
}

void runner_close(Runner *r)
{
    for (uint32_t i = 0; i < r->memory.n; i++)
        pawl_free_memory(r->session, r->memory.data[i]);
    r->memory.n = 0;
    if (r->session)
        pawl_session_free(r->session);
    if (r->package)
        pawl_close(r->package);
    r->session = NULL;
    r->package = NULL;
}

/* ---- one call ------------------------------------------------------------------------------- */

static void describe(const Tensor *t, pawl_tensor *out)
{
    *out = (pawl_tensor){.data = t->data, .dtype = (int32_t)t->dtype, .rank = t->rank};
    for (int i = 0; i < t->rank; i++)
        out->shape[i] = t->dims[i];
}

static bool device_memory(Runner *r, size_t bytes, void **out)
{
    if (!check(r, pawl_alloc(r->session, bytes ? bytes : 1, out), NULL))
        return false;
    vec_push(r->cx->arena, &r->memory, *out);
    return true;
}

bool runner_prepare(Runner *r, Tensor *const *inputs, Arena *a, Call *call)
{
    call->in = arena_new_array(a, pawl_tensor, r->n_inputs + 1);
    call->out = arena_new_array(a, pawl_tensor, r->n_outputs + 1);
    call->host_in = arena_new_array(a, Tensor *, r->n_inputs + 1);
    call->host_out = arena_new_array(a, Tensor *, r->n_outputs + 1);
    for (uint32_t i = 0; i < r->n_inputs; i++) {
        call->host_in[i] = inputs[i];
        describe(inputs[i], &call->in[i]);
        size_t bytes = tensor_bytes(inputs[i]);
        if (!r->on_host &&
            (!device_memory(r, bytes, &call->in[i].data) ||
             !check(r, pawl_upload(r->session, call->in[i].data, inputs[i]->data, bytes, NULL),
                    NULL)))
            return false;
    }
    if (!check(r,
               pawl_infer(r->session, call->in, (int32_t)r->n_inputs, call->out,
                          (int32_t)r->n_outputs),
               NULL))
        return false;
    for (uint32_t i = 0; i < r->n_outputs; i++) {
        const pawl_tensor *o = &call->out[i];
        if (!memory_for(r->cx->diags, "an output", (DType)o->dtype, (uint32_t)o->rank, o->shape))
            return false;
        Tensor *t = call->host_out[i] =
            tensor_new(a, (DType)call->out[i].dtype, call->out[i].rank, call->out[i].shape);
        memset(t->data, 0xff, tensor_bytes(t)); /* what is not written shows: NaN */
        call->out[i].data = t->data;
        if (!r->on_host && !device_memory(r, tensor_bytes(t), &call->out[i].data))
            return false;
    }
    return true;
}

bool runner_call(Runner *r, const Call *call)
{
    return check(r,
                 pawl_run(r->session, call->in, (int32_t)r->n_inputs, call->out,
                          (int32_t)r->n_outputs, NULL),
                 NULL) &&
           check(r, pawl_synchronize(r->session, NULL), NULL);
}

bool runner_fetch(Runner *r, const Call *call)
{
    for (uint32_t i = 0; i < r->n_outputs && !r->on_host; i++) {
        Tensor *t = call->host_out[i];
        if (!check(r, pawl_download(r->session, t->data, call->out[i].data, tensor_bytes(t), NULL),
                   NULL))
            return false;
    }
    return true;
}

/* ---- tensors of tasks ----------------------------------------------------------------------- */

bool memory_for(Diags *d, const char *name, DType t, uint32_t rank, const int64_t *dims)
{
    double bytes = dtype_bytes(t);
    for (uint32_t i = 0; i < rank; i++)
        bytes *= (double)dims[i];
    if (bytes < 1 << 24)
        return true;
    void *p = bytes < 0x1p62 ? malloc((size_t)bytes) : NULL;
    bool there = p != NULL;
    free(p);
    Arena *a = arena_new();
    if (!there)
        diag_error(d, PAWL_EXIT_DEVICE, LOC_NONE, "smaller dims, or a machine with more memory",
                   "out of memory: %s needs %s", name, human_bytes(a, bytes));
    arena_free(a);
    return there;
}

Tensor *input_tensor(const Task *t, const GraphInput *in, const Workload *w, Arena *a)
{
    int64_t dims[MAX_RANK] = {0};
    const Shape *s = &in->node->type.shape;
    Str missing;
    bool known = true;
    for (uint32_t i = 0; i < s->rank; i++)
        known &= dim_eval(s->d[i], w ? w->values : NULL, w ? w->n : 0, &dims[i], &missing);
    if (known && !memory_for(t->cx->diags, in->name, in->node->type.dtype, s->rank, dims))
        return NULL;
    return task_tensor(t, in, w ? w->values : NULL, w ? w->n : 0, a);
}

Tensor **task_tensors(const Task *t, const Graph *g, const Workload *w, Arena *a)
{
    Tensor **list = arena_new_array(a, Tensor *, g->inputs.n + 1);
    for (uint32_t i = 0; i < g->inputs.n; i++)
        if (!(list[i] = input_tensor(t, &g->inputs.data[i], w, a)))
            return NULL;
    return list;
}

Tensor **only_inputs(const Graph *g, Tensor *const *tensors, Arena *a, uint32_t *n)
{
    Tensor **list = arena_new_array(a, Tensor *, g->inputs.n + 1);
    *n = 0;
    for (uint32_t i = 0; i < g->inputs.n; i++)
        if (g->inputs.data[i].node->op == OP_INPUT)
            list[(*n)++] = tensors[i];
    return list;
}
