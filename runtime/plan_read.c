/* runtime/plan_read.c — a plan from JSON. Nothing is trusted: every member has the type, the range and the count that the plan
 * needs, or a message names the JSON path. plan_verify then checks what concerns the plan as a whole. */
#include "runtime/plan_internal.h"
#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

/* A place in the document, for messages: the chain of keys and indices back to the root. */
typedef struct At { const struct At *up; const char *key; size_t index; json_t *v; } At;

typedef struct {
    Context *cx;
    Arena *a;
    const char *where;
    const Plan *plan;
    bool bad;                          /* a message was given: readers go on only as far as is safe */
} Reader;

enum { MAX_COUNT = 1 << 20, MAX_TEXT = 1 << 20, MAX_DIM_TEXT = 4000, MAX_BUFFERS_A_KERNEL = 1024, MAX_PLAN_SYMBOLS = 256 };

static void path_print(StrBuf *b, const At *at)
{
    const At *chain[16];
    int n = 0;
    for (; at && n < 16; at = at->up)
        chain[n++] = at;
    while (n-- > 0)
        if (chain[n]->key)
            strbuf_printf(b, "%s%s", b->len ? "." : "", chain[n]->key);
        else if (chain[n]->up)
            strbuf_printf(b, "[%zu]", chain[n]->index);
}

__attribute__((format(printf, 3, 4)))
static bool refuse(Reader *r, const At *at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const char *text = arena_vprintf(r->a, fmt, ap);
    va_end(ap);
    StrBuf b = strbuf_new(r->a);
    path_print(&b, at);
    if (!r->bad)
        diag_error(r->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, "the package is damaged or was written by another version: compile it again",
                   "%s: %s%s%s", r->where, b.len ? b.text : "", b.len ? ": " : "", text);
    r->bad = true;
    return false;
}

static At member(const At *o, const char *key)
{
    return (At){o, key, 0, json_object_get(o->v, key)};
}

static At element(const At *list, size_t i)
{
    return (At){list, NULL, i, json_array_get(list->v, i)};
}

/* ---- scalars ---- */

static int64_t read_int(Reader *r, const At *o, const char *key, int64_t lo, int64_t hi)
{
    At at = member(o, key);
    if (!json_is_integer(at.v)) {
        refuse(r, &at, at.v ? "expected an integer" : "is missing");
        return lo;
    }
    int64_t v = json_integer_value(at.v);
    if (v < lo || v > hi) {
        refuse(r, &at, "%" PRId64 " is outside %" PRId64 "..%" PRId64, v, lo, hi);
        return lo;
    }
    return v;
}

static uint32_t read_optional_count(Reader *r, const At *o, const char *key, uint32_t hi)
{
    return json_object_get(o->v, key) ? (uint32_t)read_int(r, o, key, 1, hi) : 0;
}

static Str read_text(Reader *r, const At *o, const char *key, bool required)
{
    At at = member(o, key);
    if (!at.v && !required)
        return NULL;
    const char *s = json_string_value(at.v);
    size_t n = json_string_length(at.v);
    if (!s || n > MAX_TEXT || strlen(s) != n) {
        refuse(r, &at, at.v ? "expected text" : "is missing");
        return str_intern(r->cx->strs, "");
    }
    return str_intern(r->cx->strs, s);
}

static bool read_flag(Reader *r, const At *o, const char *key)
{
    At at = member(o, key);
    if (at.v && !json_is_boolean(at.v))
        refuse(r, &at, "expected true or false");
    return json_is_true(at.v);
}

static int read_name(Reader *r, const At *o, const char *key, const char *const *names, int n)
{
    Str s = read_text(r, o, key, true);
    for (int i = 0; i < n; i++)
        if (strcmp(s, names[i]) == 0)
            return i;
    At at = member(o, key);
    refuse(r, &at, "\"%s\" is not one of %s, %s …", s, names[0], names[1]);
    return 0;
}

static DType read_dtype(Reader *r, const At *o, const char *key)
{
    Str s = read_text(r, o, key, true);
    DType t = DT_F32;
    At at = member(o, key);
    if (!r->bad && !dtype_parse(s, &t))
        refuse(r, &at, "\"%s\" is not an element type", s);
    return t;
}

/* Length of a list; 0 with a message where it is none. */
static uint32_t read_list(Reader *r, At *list, uint32_t lo, uint32_t hi)
{
    if (!json_is_array(list->v)) {
        refuse(r, list, list->v ? "expected a list" : "is missing");
        return 0;
    }
    size_t n = json_array_size(list->v);
    if (n < lo || n > hi) {
        refuse(r, list, "has %zu entries, expected %s%u", n, lo == hi ? "" : "at most ", hi);
        return 0;
    }
    return (uint32_t)n;
}

/* ---- dims ---- */

/* The plan's own symbols only: the pool may hold others. */
static bool dim_symbols_known(const Plan *p, Dim d)
{
    switch (d->kind) {
    case DIM_CONST:
        return true;
    case DIM_SYM:
        for (uint32_t i = 0; i < p->symbols.n; i++)
            if (p->symbols.data[i].name == d->name)
                return true;
        return false;
    case DIM_SUM:
        for (uint32_t t = 0; t < d->n_terms; t++)
            for (uint32_t i = 0; i < d->terms[t].n_atoms; i++)
                if (!dim_symbols_known(p, d->terms[t].atoms[i]))
                    return false;
        return true;
    case DIM_FLOORDIV: case DIM_MOD: case DIM_MIN: case DIM_MAX:
        return dim_symbols_known(p, d->a) && dim_symbols_known(p, d->b);
    }
    return false;
}

static Dim dim_at(Reader *r, const At *at)
{
    Dim zero = dim_const(r->cx->dims, 0);
    if (json_is_integer(at->v))
        return dim_const(r->cx->dims, json_integer_value(at->v));
    const char *s = json_string_value(at->v), *error = NULL;
    if (!s || strlen(s) > MAX_DIM_TEXT) {
        refuse(r, at, at->v ? "expected a number or a short expression over the plan's symbols" : "is missing");
        return zero;
    }
    Dim d = dim_parse(r->cx->dims, s, false, NULL, &error);
    if (!d || !dim_symbols_known(r->plan, d)) {
        refuse(r, at, "\"%s\": %s", s, d ? "uses a name that is no symbol of the plan" : error ? error : "is no expression");
        return zero;
    }
    return d;
}

static Dim read_dim(Reader *r, const At *o, const char *key, bool required)
{
    At at = member(o, key);
    return at.v || required ? dim_at(r, &at) : dim_const(r->cx->dims, 0);
}

/* ---- parts ---- */

static uint32_t read_index(Reader *r, const At *o, const char *key, uint32_t count, const char *what)
{
    At at = member(o, key);
    if (!json_is_integer(at.v)) {
        refuse(r, &at, at.v ? "expected an integer" : "is missing");
        return 0;
    }
    int64_t v = json_integer_value(at.v);
    if (v < 0 || v >= count) {
        refuse(r, &at, "%" PRId64 " is not a %s (the plan has %u)", v, what, count);
        return 0;
    }
    return (uint32_t)v;
}

static uint32_t read_optional_buffer(Reader *r, const At *o, const char *key, uint32_t count)
{
    return json_object_get(o->v, key) ? read_index(r, o, key, count, "buffer") : UINT32_MAX;
}

static uint32_t *read_indices(Reader *r, const At *o, const char *key, uint32_t lo, uint32_t hi, uint32_t count, const char *what, uint32_t *n)
{
    At list = member(o, key);
    *n = read_list(r, &list, lo, hi);
    uint32_t *out = arena_new_array(r->a, uint32_t, *n + 1);
    for (uint32_t i = 0; i < *n; i++) {
        At at = element(&list, i);
        int64_t v = json_is_integer(at.v) ? json_integer_value(at.v) : -1;
        if (v < 0 || v >= count)
            refuse(r, &at, "expected the number of %s, below %u", what, count);
        else
            out[i] = (uint32_t)v;
    }
    return out;
}

static void read_symbols(Reader *r, const At *root, Plan *p)
{
    At list = member(root, "symbols");
    uint32_t n = read_list(r, &list, 0, MAX_PLAN_SYMBOLS);
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        At at = element(&list, i);
        PlanSymbol s = {read_text(r, &at, "name", true), read_int(r, &at, "lo", 0, INT32_MAX), read_int(r, &at, "hi", 0, INT64_MAX)};
        if (r->bad)
            return;
        Dim known = dim_sym_find(r->cx->dims, s.name);
        if (!symbol_name_valid(s.name) || s.lo > s.hi)
            refuse(r, &at, "\"%s\" in %" PRId64 "..%" PRId64 " is no symbol", s.name, s.lo, s.hi);
        else if (known && (known->lo != s.lo || known->hi != s.hi))
            refuse(r, &at, "%s has the range %" PRId64 "..%" PRId64 " here and %" PRId64 "..%" PRId64 " in another plan", s.name, s.lo,
                   s.hi, known->lo, known->hi);
        for (uint32_t k = 0; k < i; k++)
            if (p->symbols.data[k].name == s.name)
                refuse(r, &at, "%s is declared twice", s.name);
        if (r->bad)
            return;
        dim_sym(r->cx->dims, s.name, s.lo, s.hi);
        vec_push(r->a, &p->symbols, s);
    }
}

static void read_buffers(Reader *r, const At *root, Plan *p)
{
    static const char *const kinds[] = {"input", "output", "weight", "workspace"};
    At list = member(root, "buffers");
    uint32_t n = read_list(r, &list, 1, MAX_COUNT);
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        At at = element(&list, i), shape = member(&at, "shape");
        PlanBuffer f = {.kind = (BufferKind)read_name(r, &at, "kind", kinds, 4), .name = read_text(r, &at, "name", true)};
        f.dtype = read_dtype(r, &at, "dtype");
        f.rank = read_list(r, &shape, 0, TENSOR_MAX_RANK);
        for (uint32_t k = 0; k < f.rank; k++) {
            At e = element(&shape, k);
            f.shape[k] = dim_at(r, &e);
        }
        f.bytes = read_dim(r, &at, "bytes", true);
        f.offset = read_dim(r, &at, "offset", f.kind == BUF_WORKSPACE);
        f.io = f.kind == BUF_WORKSPACE ? 0 : (uint32_t)read_int(r, &at, "io", 0, MAX_COUNT);
        p->n_inputs += f.kind == BUF_INPUT;
        p->n_outputs += f.kind == BUF_OUTPUT;
        vec_push(r->a, &p->buffers, f);
    }
}

static void read_weights(Reader *r, const At *root, Plan *p)
{
    At list = member(root, "weights");
    uint32_t n = read_list(r, &list, 0, MAX_COUNT);
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        At at = element(&list, i), params = member(&at, "params");
        PlanWeight w = {.name = read_text(r, &at, "name", true), .recipe = read_text(r, &at, "recipe", false),
                        .key = read_text(r, &at, "key", true)};
        w.buffer = read_index(r, &at, "buffer", p->buffers.n, "buffer");
        w.n_params = read_list(r, &params, 0, MAX_COUNT);
        w.params = arena_new_array(r->a, Str, w.n_params + 1);
        for (uint32_t k = 0; k < w.n_params; k++) {
            At e = element(&params, k);
            if (!json_is_string(e.v))
                refuse(r, &e, "expected text");
            else
                w.params[k] = str_intern(r->cx->strs, json_string_value(e.v));
        }
        vec_push(r->a, &p->weights, w);
    }
}

static const uint8_t *read_access(Reader *r, const At *at, uint32_t n)
{
    Str s = read_text(r, at, "access", false);
    if (!s)
        return NULL;
    At place = member(at, "access");
    uint8_t *access = arena_alloc(r->a, n + 1);
    if (strlen(s) != n || strspn(s, "-rwb") != n)
        refuse(r, &place, "expected %u letters of -, r, w, b", n);
    else
        for (uint32_t i = 0; i < n; i++)
            access[i] = s[i] == 'r' ? ACCESS_READ : s[i] == 'w' ? ACCESS_WRITE : s[i] == 'b' ? ACCESS_READ | ACCESS_WRITE : 0;
    return access;
}

static void read_code(Reader *r, const At *kernel, PlanKernel *k)
{
    static const char *const kinds[] = {"o", "cubin", "ptx", "cu"};
    At list = member(kernel, "code");
    uint32_t n = read_list(r, &list, 0, 64);
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        At at = element(&list, i);
        PlanCode c = {.kind = (CodeKind)read_name(r, &at, "kind", kinds, 4), .arch = read_text(r, &at, "arch", true),
                      .member = read_text(r, &at, "member", true)};
        vec_push(r->a, &k->code, c);
    }
}

static void read_kernels(Reader *r, const At *root, Plan *p)
{
    At list = member(root, "kernels");
    uint32_t n = read_list(r, &list, 0, MAX_COUNT);
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        At at = element(&list, i), block = member(&at, "block");
        PlanKernel k = {.name = read_text(r, &at, "name", true)};
        k.n_buffers = (uint32_t)read_int(r, &at, "buffers", 0, MAX_BUFFERS_A_KERNEL);
        k.n_scalars = (uint32_t)read_int(r, &at, "scalars", 0, MAX_BUFFERS_A_KERNEL);
        k.n_maps = read_optional_count(r, &at, "maps", MAX_MAPS_A_KERNEL);
        k.cluster = read_optional_count(r, &at, "cluster", MAX_CLUSTER);
        k.access = read_access(r, &at, k.n_buffers);
        k.shared_bytes = (uint32_t)read_int(r, &at, "shared_bytes", 0, 1 << 24);
        if (read_list(r, &block, 3, 3) == 3)
            for (size_t b = 0; b < 3; b++) {
                At e = element(&block, b);
                int64_t v = json_is_integer(e.v) ? json_integer_value(e.v) : 0;
                k.block[b] = v >= 1 && v <= 1024 ? (uint32_t)v : 0;
                if (!k.block[b])
                    refuse(r, &e, "expected a number of threads, 1 to 1024");
            }
        k.waits = json_is_true(json_object_get(at.v, "waits"));
        k.kind = read_text(r, &at, "kind", false);
        k.schedule = read_text(r, &at, "schedule", false);
        k.group = read_text(r, &at, "group", false);
        k.emitter = read_text(r, &at, "emitter", false);
        read_code(r, &at, &k);
        vec_push(r->a, &p->kernels, k);
    }
}

static void read_matmul(Reader *r, const At *step, const Plan *p, PlanMatmul *m)
{
    static const char *const epilogues[] = {"none", "bias", "relu", "gelu_tanh", "bias_relu", "bias_gelu_tanh"};
    At o = member(step, "matmul");
    m->dtype = read_dtype(r, &o, "dtype");
    m->out_dtype = read_dtype(r, &o, "out_dtype");
    struct { const char *key; Dim *d; } sizes[] = {
        {"m", &m->m}, {"n", &m->n}, {"k", &m->k}, {"batch", &m->batch}, {"lda", &m->lda}, {"ldb", &m->ldb}, {"ldc", &m->ldc},
        {"ldd", &m->ldd}, {"a_offset", &m->a_offset}, {"b_offset", &m->b_offset}, {"c_offset", &m->c_offset},
        {"d_offset", &m->d_offset}, {"stride_a", &m->stride_a}, {"stride_b", &m->stride_b}, {"stride_c", &m->stride_c},
        {"stride_d", &m->stride_d}, {"workspace_bytes", &m->workspace_bytes}
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        *sizes[i].d = read_dim(r, &o, sizes[i].key, i < 4);
    m->trans_a = read_flag(r, &o, "trans_a");
    m->trans_b = read_flag(r, &o, "trans_b");
    m->a = read_index(r, &o, "a", p->buffers.n, "buffer");
    m->b = read_index(r, &o, "b", p->buffers.n, "buffer");
    m->d = read_index(r, &o, "d", p->buffers.n, "buffer");
    m->c = read_optional_buffer(r, &o, "c", p->buffers.n);
    m->bias = read_optional_buffer(r, &o, "bias", p->buffers.n);
    m->workspace = read_optional_buffer(r, &o, "workspace", p->buffers.n);
    m->epilogue = (Epilogue)read_name(r, &o, "epilogue", epilogues, 6);
    m->tf32 = read_flag(r, &o, "tf32");
    m->algorithm = (int32_t)read_int(r, &o, "algorithm", 0, 1 << 16);
}

static void read_dims(Reader *r, const At *o, const char *key, uint32_t lo, uint32_t hi, Dim *out, uint32_t *n)
{
    At list = member(o, key);
    *n = read_list(r, &list, lo, hi);
    for (uint32_t i = 0; i < *n; i++) {
        At e = element(&list, i);
        out[i] = dim_at(r, &e);
    }
}

static void read_box(Reader *r, const At *o, PlanTensorMap *m)
{
    At list = member(o, "box");
    uint32_t n = read_list(r, &list, m->rank, m->rank);
    for (uint32_t i = 0; i < n; i++) {
        At e = element(&list, i);
        int64_t v = json_is_integer(e.v) ? json_integer_value(e.v) : 0;
        m->box[i] = v >= 1 && v <= 256 ? (uint32_t)v : 0;
        if (!m->box[i])
            refuse(r, &e, "expected a number of elements, 1 to 256");
    }
}

/* What numbers alone tell is refused here, with their place; what depends on the buffer and the kernel by plan_verify. */
static void read_map(Reader *r, const At *at, const Plan *p, PlanTensorMap *m)
{
    uint32_t n;
    At swizzle = member(at, "swizzle");
    m->buffer = read_index(r, at, "buffer", p->buffers.n, "buffer");
    m->dtype = read_dtype(r, at, "dtype");
    read_dims(r, at, "dims", 1, TENSOR_MAP_RANK, m->dims, &m->rank);
    if (!m->rank)
        refuse(r, at, "has no dims");
    if (r->bad)
        return;
    read_dims(r, at, "strides", m->rank - 1, m->rank - 1, m->strides, &n);
    m->offset = read_dim(r, at, "offset", false);
    read_box(r, at, m);
    m->swizzle = (uint32_t)read_int(r, at, "swizzle", 0, 128);
    if (m->swizzle != 0 && m->swizzle != 32 && m->swizzle != 64 && m->swizzle != 128)
        refuse(r, &swizzle, "%u is not one of 0, 32, 64, 128", m->swizzle);
}

static void read_maps(Reader *r, const At *at, const Plan *p, uint32_t n, PlanStep *s)
{
    At list = member(at, "maps");
    if (!list.v && n == 0)
        return;
    uint32_t have = read_list(r, &list, n, n);
    s->maps = arena_new_array(r->a, PlanTensorMap, n + 1);
    for (uint32_t i = 0; i < have && !r->bad; i++) {
        At e = element(&list, i);
        read_map(r, &e, p, &s->maps[i]);
    }
}

static void read_launch(Reader *r, const At *at, const Plan *p, PlanStep *s)
{
    s->kernel = read_index(r, at, "kernel", p->kernels.n, "kernel");
    if (r->bad)
        return;
    const PlanKernel *k = &p->kernels.data[s->kernel];
    uint32_t n;
    At grid = member(at, "grid");
    n = read_list(r, &grid, 0, 3);
    for (uint32_t i = 0; i < 3; i++) {
        At e = element(&grid, i);
        s->grid[i] = i < n ? dim_at(r, &e) : dim_const(r->cx->dims, 1);
    }
    s->buffers = read_indices(r, at, "buffers", k->n_buffers, k->n_buffers, p->buffers.n, "a buffer", &n);
    s->scalars = arena_new_array(r->a, Dim, k->n_scalars + 1);
    read_dims(r, at, "scalars", k->n_scalars, k->n_scalars, s->scalars, &n);
    read_maps(r, at, p, k->n_maps, s);
}

static void read_steps(Reader *r, const At *root, Plan *p)
{
    static const char *const kinds[] = {"launch", "matmul", "copy", "fill"};
    At list = member(root, "steps");
    uint32_t n = read_list(r, &list, 0, MAX_COUNT);
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        At at = element(&list, i);
        PlanStep s = {.kind = (StepKind)read_name(r, &at, "kind", kinds, 4), .label = read_text(r, &at, "label", false)};
        if (!s.label)
            s.label = str_format(r->cx->strs, "step %u", i);
        switch (s.kind) {
        case STEP_LAUNCH:
            read_launch(r, &at, p, &s);
            break;
        case STEP_MATMUL:
            read_matmul(r, &at, p, &s.matmul);
            break;
        case STEP_COPY: case STEP_FILL:
            s.from = s.kind == STEP_COPY ? read_index(r, &at, "from", p->buffers.n, "buffer") : UINT32_MAX;
            s.to = read_index(r, &at, "to", p->buffers.n, "buffer");
            s.bytes = read_dim(r, &at, "bytes", true);
            break;
        }
        s.deps = read_indices(r, &at, "deps", 0, i, i, "an earlier step", &s.n_deps);
        s.bytes_read = read_dim(r, &at, "bytes_read", false);
        s.bytes_written = read_dim(r, &at, "bytes_written", false);
        s.flops = read_dim(r, &at, "flops", false);
        vec_push(r->a, &p->steps, s);
    }
}

static void read_decisions(Reader *r, const At *root, Plan *p)
{
    At list = member(root, "decisions");
    uint32_t n = read_list(r, &list, 0, MAX_COUNT);
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        At at = element(&list, i);
        PlanDecision d = {read_text(r, &at, "choice", false), read_text(r, &at, "picked", false), read_text(r, &at, "evidence", false)};
        vec_push(r->a, &p->decisions, d);
    }
}

static void read_plan(Reader *r, const At *root, Plan *p)
{
    static const char *const targets[] = {"cpu", "cuda"};
    int64_t version = read_int(r, root, "plan", 1, INT32_MAX);
    if (!r->bad && version > PLAN_FORMAT) {
        refuse(r, root, "plan format %" PRId64 ", this runtime reads up to %d: update it", version, PLAN_FORMAT);
        return;
    }
    p->name = read_text(r, root, "name", true);
    p->workload = read_text(r, root, "workload", false);
    p->target = (PlanTarget)read_name(r, root, "target", targets, 2);
    p->arch = read_text(r, root, "arch", true);
    p->rank = (uint32_t)read_int(r, root, "rank", 0, 1 << 20);
    p->n_ranks = (uint32_t)read_int(r, root, "n_ranks", 1, 1 << 20);
    p->alignment = (uint32_t)read_int(r, root, "alignment", 1, 4096);
    read_symbols(r, root, p);
    if (r->bad)
        return;
    p->workspace_bytes = read_dim(r, root, "workspace_bytes", true);
    void (*const parts[])(Reader *, const At *, Plan *) = {read_buffers, read_weights, read_kernels, read_steps, read_decisions};
    for (size_t i = 0; i < sizeof parts / sizeof *parts && !r->bad; i++)
        parts[i](r, root, p);
}

bool symbol_name_valid(const char *s)
{
    if (!isalpha((unsigned char)*s) && *s != '_')
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && *s != '_')
            return false;
    return true;
}

Plan *plan_read(Context *cx, const char *where, const char *json, size_t len)
{
    json_error_t error;
    json_t *j = json_loadb(json, len, JSON_REJECT_DUPLICATES, &error);
    if (!j) {
        diag_error(cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "%s:%d:%d: %s", where, error.line, error.column, error.text);
        return NULL;
    }
    Plan *p = arena_new_of(cx->arena, Plan);
    Reader r = {.cx = cx, .a = cx->arena, .where = where, .plan = p};
    At root = {.v = j};
    if (!json_is_object(j))
        refuse(&r, &root, "expected an object");
    else
        read_plan(&r, &root, p);
    json_decref(j);
    return r.bad || !plan_verify(p, cx->diags) ? NULL : p;
}

Plan *plan_from_json(Context *cx, const char *json, size_t len)
{
    return plan_read(cx, "plan", json, len);
}
