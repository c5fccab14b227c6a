/* runtime/api.c — pawl.h: errors, packages, what their inputs and outputs look like, seeded data. */
#include "runtime/api_internal.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)PAWL_F64 == (int)DT_F64 && (int)PAWL_BOOL == (int)DT_BOOL && PAWL_MAX_RANK == TENSOR_MAX_RANK,
               "pawl.h and base/dtype.h name the same types");

/* ---- errors: the one thing that belongs to a thread ---- */

static _Thread_local char error_text[8192];

uint32_t pawl_abi_version(void) { return PAWL_ABI_VERSION; }
const char *pawl_error(void) { return error_text; }

pawl_status api_error(pawl_status code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(error_text, sizeof error_text, fmt, ap);
    va_end(ap);
    return code;
}

static pawl_status status_of(ExitCode code)
{
    switch (code) {
    case PAWL_EXIT_OK: case PAWL_EXIT_INTERNAL: case PAWL_EXIT_STOPPED: return PAWL_ERROR_INTERNAL;
    case PAWL_EXIT_CHECK_FAILED: return PAWL_ERROR_CHECK;
    case PAWL_EXIT_INVALID: return PAWL_ERROR_INVALID;
    case PAWL_EXIT_UNSUPPORTED: return PAWL_ERROR_UNSUPPORTED;
    case PAWL_EXIT_DEVICE: return PAWL_ERROR_DEVICE;
    case PAWL_EXIT_IO: return PAWL_ERROR_IO;
    }
    return PAWL_ERROR_INTERNAL;
}

pawl_status api_status(const Diags *d, const char *otherwise)
{
    size_t n = 0;
    error_text[0] = '\0';
    for (uint32_t i = 0; i < diags_count(d); i++) {
        const Diag *x = diags_at(d, i);
        if (x->level == DIAG_WARNING || n >= sizeof error_text)
            continue;
        int k = snprintf(error_text + n, sizeof error_text - n, "%s%s%s%s%s", n ? "\n" : "", x->text, x->hint ? " (" : "",
                         x->hint ? x->hint : "", x->hint ? ")" : "");
        n += k > 0 ? (size_t)k : 0;
    }
    if (n == 0)
        snprintf(error_text, sizeof error_text, "%s", otherwise);
    return status_of(diags_exit_code(d));
}

/* ---- packages ---- */

/* Extents that some plan admits. */
static void widen(pawl_io *io, const PlanBuffer *f, bool first)
{
    for (uint32_t k = 0; k < f->rank; k++) {
        int64_t lo = f->shape[k]->lo < 0 ? 0 : f->shape[k]->lo, hi = f->shape[k]->hi;
        io->min[k] = first || lo < io->min[k] ? lo : io->min[k];
        io->max[k] = first || hi > io->max[k] ? hi : io->max[k];
    }
}

static void describe(pawl_package *p)
{
    const Package *k = p->package;
    const Plan *shown = k->plans[0];
    for (uint32_t i = 0; i < k->n_plans; i++)
        if (!k->plans[i]->workload)
            shown = k->plans[i];
    p->shape_plan = shown;
    uint32_t n = shown->n_inputs + shown->n_outputs;
    p->io = arena_new_array(p->cx->arena, pawl_io, n + 1);
    for (uint32_t b = 0; b < n; b++) {
        const PlanBuffer *f = &shown->buffers.data[b];
        StrBuf type = strbuf_new(p->cx->arena);
        buffer_type_print(&type, f);
        p->io[b] = (pawl_io){.name = f->name, .dtype = (int32_t)f->dtype, .rank = (int32_t)f->rank, .type = type.text};
        for (uint32_t i = 0; i < k->n_plans; i++)
            widen(&p->io[b], &k->plans[i]->buffers.data[b], i == 0);
    }
}

static pawl_status finish_open(Context *cx, Package *package, pawl_package **out)
{
    if (!package) {
        pawl_status s = api_status(cx->diags, "the package cannot be opened");
        context_free(cx);
        return s;
    }
    pawl_package *p = arena_new_of(cx->arena, pawl_package);
    p->cx = cx;
    p->package = package;
    describe(p);
    *out = p;
    return PAWL_OK;
}

pawl_status pawl_open(const char *path, pawl_package **out)
{
    if (!path || !out)
        return api_error(PAWL_ERROR_INVALID, "pawl_open: %s is NULL", path ? "out" : "path");
    *out = NULL;
    Context *cx = context_new();
    return finish_open(cx, package_open(cx, path), out);
}

pawl_status pawl_open_memory(const void *image, size_t bytes, pawl_package **out)
{
    if (!image || !out)
        return api_error(PAWL_ERROR_INVALID, "pawl_open_memory: %s is NULL", image ? "out" : "image");
    *out = NULL;
    Context *cx = context_new();
    return finish_open(cx, package_open_memory(cx, image, bytes), out);
}

void pawl_close(pawl_package *p)
{
    if (!p)
        return;
    package_close(p->package);
    context_free(p->cx);
}

int32_t pawl_input_count(const pawl_package *p) { return p ? (int32_t)p->shape_plan->n_inputs : 0; }
int32_t pawl_output_count(const pawl_package *p) { return p ? (int32_t)p->shape_plan->n_outputs : 0; }
const char *pawl_manifest(const pawl_package *p) { return p ? p->package->manifest : NULL; }

static pawl_status get_io(const pawl_package *p, int32_t i, int32_t n, uint32_t first, const char *what, pawl_io *out)
{
    if (!p || !out)
        return api_error(PAWL_ERROR_INVALID, "pawl_%s: %s is NULL", what, p ? "out" : "package");
    if (i < 0 || i >= n)
        return api_error(PAWL_ERROR_INVALID, "pawl_%s: there is no %s %d, the package has %d", what, what, i, n);
    *out = p->io[first + (uint32_t)i];
    return PAWL_OK;
}

pawl_status pawl_input(const pawl_package *p, int32_t i, pawl_io *out)
{
    return get_io(p, i, pawl_input_count(p), 0, "input", out);
}

pawl_status pawl_output(const pawl_package *p, int32_t i, pawl_io *out)
{
    return get_io(p, i, pawl_output_count(p), (uint32_t)pawl_input_count(p), "output", out);
}

/* ---- seeded data ---- */

pawl_status pawl_fill(void *data, int32_t dtype, int64_t count, uint64_t seed, const char *name, const char *dist)
{
    Dist law = {DIST_NORMAL, 0, 1};
    const char *error = NULL;
    if (!name || (!data && count) || count < 0)
        return api_error(PAWL_ERROR_INVALID, "pawl_fill: %s", !name ? "name is NULL" : count < 0 ? "count is negative" : "data is NULL");
    if (dtype < 0 || dtype >= DT_COUNT)
        return api_error(PAWL_ERROR_INVALID, "pawl_fill: %d is no element type", dtype);
    if (dist && *dist && !dist_parse(dist, &law, &error))
        return api_error(PAWL_ERROR_INVALID, "pawl_fill: \"%s\": %s", dist, error ? error : "is no distribution");
    if (count)
        philox_fill((DType)dtype, data, 0, count, philox_key(seed, name), law);
    return PAWL_OK;
}
