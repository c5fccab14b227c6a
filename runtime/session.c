/* runtime/session.c — pawl.h: sessions. Each call finds its plan by the inputs' shapes (remembered from call to call), checks the
 * tensors, stages what a kernel could not read or write in place, and hands pointers to the executor. */
#include "runtime/api_internal.h"
#include "runtime/plan_internal.h"
#include <stdlib.h>
#include <string.h>

typedef long long ll;

/* ---- opening and closing ---- */

static bool has_target(const Package *p, PlanTarget t)
{
    for (uint32_t i = 0; i < p->n_plans; i++)
        if (p->plans[i]->target == t)
            return true;
    return false;
}

typedef struct { const char *device; int ordinal; bool any, sim; PlanTarget target; } Choice;

static pawl_status parse_device(const char *text, Choice *c)
{
    int64_t ordinal = 0;
    *c = (Choice){.device = text, .any = !text || !*text || strcmp(text, "auto") == 0, .target = TARGET_CUDA};
    if (c->any || strcmp(text, "cuda") == 0)
        return PAWL_OK;
    if (strcmp(text, "cpu") == 0) {
        c->target = TARGET_CPU;
        return PAWL_OK;
    }
    if (strcmp(text, "sim") == 0) {                                    /* runs the code that was made for cuda */
        c->sim = true;
        return PAWL_OK;
    }
    if (strncmp(text, "cuda:", 5) == 0 && str_to_i64(text + 5, &ordinal) && ordinal >= 0 && ordinal < 1024) {
        c->ordinal = (int)ordinal;
        return PAWL_OK;
    }
    return api_error(PAWL_ERROR_INVALID, "\"%s\" is no device: expected auto, cpu, cuda, cuda:N or sim", text);
}

static pawl_status choose_device(const Package *p, Choice *c)
{
    bool cpu = has_target(p, TARGET_CPU), cuda = has_target(p, TARGET_CUDA);
    const CudaDevice *g = cuda && c->target == TARGET_CUDA && !c->sim ? cuda_device(c->ordinal) : NULL;
    if (c->any) {
        c->target = g && g->available ? TARGET_CUDA : TARGET_CPU;
        if (c->target == TARGET_CPU && !cpu)
            return api_error(PAWL_ERROR_DEVICE, "the package was compiled for cuda only, and there is no such device here: %s",
                             g ? g->why_not : "?");
        return PAWL_OK;
    }
    if (c->target == TARGET_CUDA ? !cuda : !cpu)
        return api_error(PAWL_ERROR_UNSUPPORTED, "the package was compiled for %s only, not for %s", cpu ? "cpu" : "cuda",
                         target_name(c->target));
    if (g && !g->available)
        return api_error(PAWL_ERROR_DEVICE, "device %s: %s", c->device, g->why_not);
    return PAWL_OK;
}

static pawl_status read_options(const pawl_session_options *given, pawl_session_options *o)
{
    *o = (pawl_session_options){.size = sizeof *o};
    if (!given)
        return PAWL_OK;
    if (given->size < offsetof(pawl_session_options, device) + sizeof given->device)
        return api_error(PAWL_ERROR_INVALID, "pawl_session_new: options.size is %zu; set it to sizeof(pawl_session_options)",
                         given->size);
    memcpy(o, given, given->size < sizeof *o ? given->size : sizeof *o);
    if (o->threads < 0 || o->threads > 4096 || o->use_graph < -1 || o->use_graph > 2)
        return api_error(PAWL_ERROR_INVALID, "pawl_session_new: threads %d or use_graph %d is out of range", o->threads, o->use_graph);
    return PAWL_OK;
}

static pawl_session *session_build(pawl_package *p, const Choice *c, const pawl_session_options *o)
{
    Context *cx = context_new();
    pawl_session *s = arena_new_of(cx->arena, pawl_session);
    const Plan *plan = p->shape_plan;
    *s = (pawl_session){.package = p, .cx = cx, .target = c->target};
    s->ops = c->sim ? &executor_sim : c->target == TARGET_CUDA ? &executor_cuda : &executor_cpu;
    s->executors = arena_new_array(cx->arena, Executor *, p->package->n_plans);
    for (uint32_t i = 0; i < plan->n_inputs; i++)
        s->key_len += plan->buffers.data[i].rank;
    s->key = arena_new_array(cx->arena, int64_t, s->key_len + 1);
    s->in = arena_new_array(cx->arena, void *, plan->n_inputs + 1);
    s->out = arena_new_array(cx->arena, void *, plan->n_outputs + 1);
    s->trouble = arena_new();
    s->diags = diags_new(s->trouble);
    s->device = s->ops->device_open(cx, o);
    return s;
}

pawl_status pawl_session_new(pawl_package *p, const pawl_session_options *options, pawl_session **out)
{
    pawl_session_options o;
    Choice c;
    if (!p || !out)
        return api_error(PAWL_ERROR_INVALID, "pawl_session_new: %s is NULL", p ? "out" : "package");
    *out = NULL;
    pawl_status r = read_options(options, &o);
    if (r == PAWL_OK)
        r = parse_device(o.device, &c);
    if (r == PAWL_OK)
        r = choose_device(p->package, &c);
    if (r != PAWL_OK)
        return r;
    if (c.any)
        o.device = c.target == TARGET_CUDA ? "cuda" : "cpu";
    pawl_session *s = session_build(p, &c, &o);
    if (!s->device) {
        r = api_status(s->cx->diags, "the device cannot be opened");
        pawl_session_free(s);
        return r;
    }
    *out = s;
    return PAWL_OK;
}

void pawl_session_free(pawl_session *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < s->package->package->n_plans; i++)
        if (s->executors[i])
            s->ops->close(s->executors[i]);
    if (s->device)
        s->ops->device_close(s->device);
    arena_free(s->trouble);
    context_free(s->cx);
}

const char *pawl_device(const pawl_session *s) { return s ? s->ops->name : NULL; }

pawl_status session_failed(pawl_session *s)
{
    pawl_status r = api_status(s->diags, "the call failed without saying why");
    arena_free(s->trouble);
    s->trouble = arena_new();
    s->diags = diags_new(s->trouble);
    return r;
}

Executor *session_executor(pawl_session *s, uint32_t plan)
{
    if (!s->executors[plan]) {
        diags_clear(s->cx->diags);
        s->executors[plan] = s->ops->open_on(s->device, s->cx, s->package->package->plans[plan]);
        if (!s->executors[plan])
            diags_append(s->diags, s->cx->diags);
    }
    return s->executors[plan];
}

/* ---- which plan ---- */

static void list_types(StrBuf *b, const Plan *p)
{
    for (uint32_t i = 0; i < p->n_inputs; i++) {
        strbuf_printf(b, "%s%s: ", i ? ", " : "", p->buffers.data[i].name);
        buffer_type_print(b, &p->buffers.data[i]);
    }
    for (uint32_t i = 0; i < p->symbols.n; i++)
        strbuf_printf(b, "%s%s in %lld..%lld", i ? ", " : " with ", p->symbols.data[i].name, (ll)p->symbols.data[i].lo,
                      (ll)p->symbols.data[i].hi);
}

/* No plan fits: what was given, why the widest plan refused it, and everything that would have been admissible. */
static bool refuse_shapes(pawl_session *s, const int64_t *const *shapes)
{
    const Package *k = s->package->package;
    const Plan *last = NULL;
    StrBuf b = strbuf_new(s->trouble);
    for (uint32_t i = 0; i < k->n_plans; i++) {
        const Plan *p = k->plans[i];
        if (p->target != s->target)
            continue;
        strbuf_printf(&b, "%s%s%s(", b.len ? "; " : "", p->workload ? p->workload : "any", p->workload ? " " : " shape ");
        list_types(&b, p);
        strbuf_char(&b, ')');
        last = p;
    }
    pawl_assert(last, "a session has a plan for its target");
    DimValue *room = arena_new_array(s->trouble, DimValue, last->symbols.n + 1);
    if (!last->workload)
        plan_bind(last, shapes, NULL, NULL, s->diags, room);
    else
        diag_error(s->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "no plan of the package was compiled for these shapes");
    diag_note(s->diags, LOC_NONE, "admissible: %s", b.text);
    return false;
}

/* Shapes of the outputs for the bound symbols. */
static bool fill_case(pawl_session *s, ShapeCase *c, uint32_t plan, const DimValue *v)
{
    const Plan *p = s->package->package->plans[plan];
    Arena *a = s->cx->arena;
    if (!c->key) {
        uint32_t most = 0;
        for (uint32_t i = 0; i < s->package->package->n_plans; i++)
            most = s->package->package->plans[i]->symbols.n > most ? s->package->package->plans[i]->symbols.n : most;
        c->key = arena_new_array(a, int64_t, s->key_len + 1);
        c->symbols = arena_new_array(a, int64_t, most + 1);
        c->out_shapes = arena_alloc(a, sizeof *c->out_shapes * (p->n_outputs + 1));
    }
    c->plan = plan;
    for (uint32_t i = 0; i < p->symbols.n; i++)
        c->symbols[i] = v[i].value;
    for (uint32_t o = 0; o < p->n_outputs; o++) {
        const PlanBuffer *f = &p->buffers.data[p->n_inputs + o];
        for (uint32_t k = 0; k < f->rank; k++)
            if (!dim_eval(f->shape[k], v, p->symbols.n, &c->out_shapes[o][k], NULL) || c->out_shapes[o][k] < 0)
                return diag_error(s->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "output \"%s\": dim %u cannot be computed", f->name, k);
    }
    memcpy(c->key, s->key, sizeof *c->key * s->key_len);
    return true;
}

static const ShapeCase *new_case(pawl_session *s, const int64_t *const *shapes)
{
    const Package *k = s->package->package;
    DimValue v[256];
    for (uint32_t i = 0; i < k->n_plans; i++) {
        if (k->plans[i]->target != s->target || k->plans[i]->symbols.n > 256 || !plan_bind(k->plans[i], shapes, NULL, NULL, NULL, v))
            continue;
        uint32_t at = s->next_case;
        ShapeCase *c = &s->cases[at];
        if (!fill_case(s, c, i, v)) {
            c->key = NULL;
            return NULL;
        }
        s->next_case = (at + 1) % SHAPE_CASES;
        s->n_cases = s->n_cases > at ? s->n_cases : at + 1;
        s->last_case = at;
        return c;
    }
    refuse_shapes(s, shapes);
    return NULL;
}

static const ShapeCase *find_case(pawl_session *s, const pawl_tensor *in)
{
    size_t bytes = sizeof *s->key * s->key_len;
    for (uint32_t i = 0; i < s->n_cases; i++) {
        uint32_t at = (s->last_case + i) % s->n_cases;
        if (s->cases[at].key && memcmp(s->cases[at].key, s->key, bytes) == 0) {
            s->last_case = at;
            return &s->cases[at];
        }
    }
    uint32_t n = s->package->shape_plan->n_inputs;
    const int64_t **shapes = arena_new_array(s->trouble, const int64_t *, n + 1);
    for (uint32_t i = 0; i < n; i++)
        shapes[i] = in[i].shape;
    return new_case(s, shapes);
}

/* ---- checking tensors ---- */

static const char *dtype_text(int32_t t)
{
    return t >= 0 && t < DT_COUNT ? dtype_name((DType)t) : "an unknown element type";
}

static bool check_type(pawl_session *s, const pawl_tensor *t, uint32_t io, const char *what)
{
    const pawl_io *want = &s->package->io[io];
    if (t->dtype != want->dtype)
        return diag_error(s->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "%s \"%s\" is %s, expected %s", what, want->name,
                          dtype_text(t->dtype), want->type);
    if (t->rank != want->rank)
        return diag_error(s->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "%s \"%s\" has rank %d, expected %s", what, want->name, t->rank,
                          want->type);
    return true;
}

static bool check_inputs(pawl_session *s, const pawl_tensor *in, int32_t n_in)
{
    uint32_t n = s->package->shape_plan->n_inputs, k = 0;
    if (n_in != (int32_t)n || (n && !in))
        return diag_error(s->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "%d inputs%s, the package takes %u", n_in,
                          n_in == (int32_t)n ? " given as NULL" : "", n);
    for (uint32_t i = 0; i < n; i++) {
        if (!check_type(s, &in[i], i, "input"))
            return false;
        for (int32_t r = 0; r < in[i].rank; r++)
            s->key[k++] = in[i].shape[r];
    }
    return true;
}

static bool check_outputs(pawl_session *s, const ShapeCase *c, const pawl_tensor *out, int32_t n_out)
{
    uint32_t n = s->package->shape_plan->n_outputs, first = s->package->shape_plan->n_inputs;
    if (n_out != (int32_t)n || (n && !out))
        return diag_error(s->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "%d outputs%s, the package gives %u", n_out,
                          n_out == (int32_t)n ? " given as NULL" : "", n);
    for (uint32_t o = 0; o < n; o++) {
        if (!check_type(s, &out[o], first + o, "output"))
            return false;
        for (int32_t r = 0; r < out[o].rank; r++)
            if (out[o].shape[r] != c->out_shapes[o][r])
                return diag_error(s->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL,
                                  "output \"%s\": dim %d is %lld, for these inputs it must be %lld (its type is %s)",
                                  s->package->io[first + o].name, r, (ll)out[o].shape[r], (ll)c->out_shapes[o][r],
                                  s->package->io[first + o].type);
    }
    return true;
}

/* ---- staging ---- */

typedef enum { FITS, EMPTY, STAGE, BAD } Fit;

static Fit fit_of(const pawl_tensor *t, uint32_t alignment, bool written)
{
    int64_t dense = 1;
    bool in_place = true, explicit_strides = false;
    for (int32_t k = 0; k < t->rank; k++) {
        explicit_strides |= t->strides[k] != 0;
        if (t->shape[k] == 0)
            return EMPTY;
    }
    for (int32_t k = t->rank; explicit_strides && k-- > 0; ) {
        if (t->shape[k] != 1 && t->strides[k] != dense)
            in_place = false;
        if (written && t->shape[k] > 1 && t->strides[k] == 0)
            return BAD;
        dense *= t->shape[k];
    }
    if (!t->data)
        return BAD;
    return in_place && (uintptr_t)t->data % alignment == 0 ? FITS : STAGE;
}

static int64_t dense_strides(const pawl_tensor *t, int64_t *out)
{
    int64_t n = 1;
    for (int32_t k = t->rank; k-- > 0; ) {
        out[k] = n;
        n *= t->shape[k];
    }
    return n;
}

/* Memory for a dense, aligned copy; copies in when `in`, else out of it. */
static void *stage(pawl_session *s, const pawl_tensor *t, uint32_t slot, void *stream)
{
    int64_t strides[PAWL_MAX_RANK];
    size_t bytes = (size_t)dense_strides(t, strides) * dtype_bytes((DType)t->dtype);
    return s->ops->stage(s->device, slot, bytes, stream, s->diags);
}

static bool copy_staged(pawl_session *s, const pawl_tensor *t, void *staged, bool in, void *stream)
{
    StridedCopy c = {.element = dtype_bytes((DType)t->dtype), .rank = (uint32_t)t->rank};
    bool given = false;
    for (int32_t k = 0; k < t->rank; k++)
        given |= t->strides[k] != 0;
    int64_t dense[PAWL_MAX_RANK];
    dense_strides(t, dense);
    for (int32_t k = 0; k < t->rank; k++) {
        int64_t theirs = given ? t->strides[k] : dense[k];
        c.shape[k] = t->shape[k];
        c.from_strides[k] = in ? theirs : dense[k];
        c.to_strides[k] = in ? dense[k] : theirs;
    }
    c.from = in ? t->data : staged;
    c.to = in ? staged : t->data;
    return s->ops->copy(s->device, &c, stream, s->diags);
}

static bool place_tensors(pawl_session *s, const Plan *p, const pawl_tensor *t, uint32_t n, bool in, void **pointers, bool *staged,
                          void *stream)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t io = in ? i : p->n_inputs + i;
        Fit fit = fit_of(&t[i], p->alignment, !in);
        pointers[i] = t[i].data;
        if (fit == BAD)
            return diag_error(s->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "%s \"%s\": %s", in ? "input" : "output",
                              s->package->io[io].name, t[i].data ? "elements share memory (a stride is 0)" : "data is NULL");
        if (fit != STAGE)
            continue;
        pointers[i] = stage(s, &t[i], io, stream);
        if (!pointers[i] || (in && !copy_staged(s, &t[i], pointers[i], true, stream)))
            return false;
        *staged = true;
    }
    return true;
}

/* ---- running ---- */

static bool session_run(pawl_session *s, const pawl_tensor *in, int32_t n_in, const pawl_tensor *out, int32_t n_out, void *stream)
{
    if (!check_inputs(s, in, n_in))
        return false;
    const ShapeCase *c = find_case(s, in);
    if (!c || !check_outputs(s, c, out, n_out))
        return false;
    const Plan *p = s->package->package->plans[c->plan];
    Executor *e = session_executor(s, c->plan);
    bool staged_in = false, staged_out = false;
    if (!e || !place_tensors(s, p, in, p->n_inputs, true, s->in, &staged_in, stream) ||
        !place_tensors(s, p, out, p->n_outputs, false, s->out, &staged_out, stream))
        return false;
    if (!s->ops->run(e, s->in, s->out, c->symbols, stream, s->diags))
        return false;
    for (uint32_t o = 0; staged_out && o < p->n_outputs; o++)
        if (s->out[o] != out[o].data && !copy_staged(s, &out[o], s->out[o], false, stream))
            return false;
    return true;
}

pawl_status pawl_run(pawl_session *s, const pawl_tensor *in, int32_t n_in, const pawl_tensor *out, int32_t n_out, void *stream)
{
    if (!s)
        return api_error(PAWL_ERROR_INVALID, "pawl_run: session is NULL");
    return session_run(s, in, n_in, out, n_out, stream) ? PAWL_OK : session_failed(s);
}

pawl_status pawl_infer(pawl_session *s, const pawl_tensor *in, int32_t n_in, pawl_tensor *out, int32_t n_out)
{
    if (!s)
        return api_error(PAWL_ERROR_INVALID, "pawl_infer: session is NULL");
    uint32_t n = s->package->shape_plan->n_outputs;
    if (!check_inputs(s, in, n_in))
        return session_failed(s);
    if (n_out != (int32_t)n || (n && !out))
        return api_error(PAWL_ERROR_INVALID, "pawl_infer: room for %d outputs, the package gives %u", out ? n_out : 0, n);
    const ShapeCase *c = find_case(s, in);
    if (!c)
        return session_failed(s);
    for (uint32_t o = 0; o < n; o++) {
        const pawl_io *io = &s->package->io[s->package->shape_plan->n_inputs + o];
        out[o].dtype = io->dtype;
        out[o].rank = io->rank;
        memset(out[o].strides, 0, sizeof out[o].strides);
        memcpy(out[o].shape, c->out_shapes[o], sizeof out[o].shape);
    }
    return PAWL_OK;
}

/* ---- memory ---- */

pawl_status pawl_alloc(pawl_session *s, size_t bytes, void **out)
{
    if (!s || !out)
        return api_error(PAWL_ERROR_INVALID, "pawl_alloc: %s is NULL", s ? "out" : "session");
    *out = s->ops->alloc(s->device, bytes, s->diags);
    return *out ? PAWL_OK : session_failed(s);
}

void pawl_free_memory(pawl_session *s, void *p)
{
    if (s && p)
        s->ops->release(s->device, p);
}

pawl_status pawl_upload(pawl_session *s, void *to, const void *host, size_t bytes, void *stream)
{
    if (!s || (bytes && (!to || !host)))
        return api_error(PAWL_ERROR_INVALID, "pawl_upload: %s is NULL", !s ? "session" : to ? "host" : "to");
    return s->ops->upload(s->device, to, host, bytes, stream, s->diags) ? PAWL_OK : session_failed(s);
}

pawl_status pawl_download(pawl_session *s, void *host, const void *from, size_t bytes, void *stream)
{
    if (!s || (bytes && (!host || !from)))
        return api_error(PAWL_ERROR_INVALID, "pawl_download: %s is NULL", !s ? "session" : host ? "from" : "host");
    return s->ops->download(s->device, host, from, bytes, stream, s->diags) ? PAWL_OK : session_failed(s);
}

pawl_status pawl_synchronize(pawl_session *s, void *stream)
{
    if (!s)
        return api_error(PAWL_ERROR_INVALID, "pawl_synchronize: session is NULL");
    return s->ops->synchronize(s->device, stream, s->diags) ? PAWL_OK : session_failed(s);
}
