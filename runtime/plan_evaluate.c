/* runtime/plan_evaluate.c — all sizes of a plan under given symbol values, each checked: an executor indexes memory by them. */
#include "runtime/plan_internal.h"

typedef long long ll;

typedef struct { const DimValue *v; uint32_t n; Diags *d; } Values;

/* A Dim's value in [lo, hi]; NULL dims are 0. */
static bool value_of(const Values *x, Dim dim, int64_t lo, int64_t hi, const char *what, const char *of, int64_t *out)
{
    Str missing = NULL;
    *out = 0;
    if (!dim)
        return true;
    if (dim_is_const(dim))
        *out = dim->value;
    else if (!dim_eval(dim, x->v, x->n, out, &missing))
        return diag_error(x->d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "the %s of %s cannot be computed%s%s", what, of,
                          missing ? ": no value for " : "", missing ? missing : "");
    if (*out < lo || *out > hi)
        return diag_error(x->d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "the %s of %s is %lld, outside %lld..%lld", what, of, (ll)*out,
                          (ll)lo, (ll)hi);
    return true;
}

static const int64_t MAX_BYTES = (int64_t)1 << 46;
static const int64_t MAX_BLOCKS = (int64_t)1 << 46;

static bool matmul_values(const Values *x, const PlanMatmul *m, const char *label, BoundMatmul *o)
{
    const struct { Dim dim; int64_t *out; const char *what; } all[] = {
        {m->m, &o->m, "m"}, {m->n, &o->n, "n"}, {m->k, &o->k, "k"}, {m->batch, &o->batch, "batch"},
        {m->lda, &o->lda, "lda"}, {m->ldb, &o->ldb, "ldb"}, {m->ldc, &o->ldc, "ldc"}, {m->ldd, &o->ldd, "ldd"},
        {m->a_offset, &o->a_offset, "a_offset"}, {m->b_offset, &o->b_offset, "b_offset"},
        {m->c_offset, &o->c_offset, "c_offset"}, {m->d_offset, &o->d_offset, "d_offset"},
        {m->stride_a, &o->stride_a, "stride_a"}, {m->stride_b, &o->stride_b, "stride_b"},
        {m->stride_c, &o->stride_c, "stride_c"}, {m->stride_d, &o->stride_d, "stride_d"},
        {m->workspace_bytes, &o->workspace_bytes, "workspace"}
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!value_of(x, all[i].dim, 0, MAX_BYTES, all[i].what, label, all[i].out))
            return false;
    if (o->batch == 0 && !m->batch)
        o->batch = 1;
    return true;
}

bool matmul_evaluate(const PlanMatmul *m, const DimValue *v, uint32_t n, BoundMatmul *out, Diags *d)
{
    return matmul_values(&(Values){v, n, d}, m, "a matmul", out);
}

/* Elements that an operand reaches, past its offset: (rows - 1) * ld + columns, in the last batch. */
static int64_t reach(int64_t offset, int64_t rows, int64_t columns, int64_t ld, int64_t stride, int64_t batch)
{
    if (rows == 0 || columns == 0 || batch == 0)
        return 0;
    __int128 r = (__int128)offset + (__int128)(rows - 1) * ld + columns + (__int128)(batch - 1) * stride;
    return r > INT64_MAX ? INT64_MAX : (int64_t)r;
}

static bool operand_inside(const Plan *p, const BoundPlan *b, uint32_t buffer, DType t, int64_t elements, const char *which,
                           const char *label, Diags *d)
{
    int64_t have = b->buffers[buffer].bytes / (int64_t)dtype_bytes(t);
    if (elements <= have)
        return true;
    return diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "matmul %s: operand %s reaches element %lld of \"%s\", which has %lld",
                      label, which, (ll)elements, p->buffers.data[buffer].name, (ll)have);
}

static bool matmul_inside(const Plan *p, const BoundPlan *b, const PlanMatmul *m, const BoundMatmul *o, const char *label, Diags *d)
{
    int64_t a_rows = m->trans_a ? o->k : o->m, a_cols = m->trans_a ? o->m : o->k;
    int64_t b_rows = m->trans_b ? o->n : o->k, b_cols = m->trans_b ? o->k : o->n;
    if ((a_rows > 1 && o->lda < a_cols) || (b_rows > 1 && o->ldb < b_cols) || (o->m > 1 && o->ldd < o->n) ||
        (m->c != UINT32_MAX && o->m > 1 && o->ldc < o->n))
        return diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "matmul %s: a leading dim is shorter than its row", label);
    return operand_inside(p, b, m->a, m->dtype, reach(o->a_offset, a_rows, a_cols, o->lda, o->stride_a, o->batch), "a", label, d) &&
           operand_inside(p, b, m->b, m->dtype, reach(o->b_offset, b_rows, b_cols, o->ldb, o->stride_b, o->batch), "b", label, d) &&
           operand_inside(p, b, m->d, m->out_dtype, reach(o->d_offset, o->m, o->n, o->ldd, o->stride_d, o->batch), "d", label, d) &&
           (m->c == UINT32_MAX ||
            operand_inside(p, b, m->c, m->out_dtype, reach(o->c_offset, o->m, o->n, o->ldc, o->stride_c, o->batch), "c", label, d)) &&
           (m->bias == UINT32_MAX ||
            operand_inside(p, b, m->bias, p->buffers.data[m->bias].dtype, o->n, "bias", label, d)) &&
           (m->workspace == UINT32_MAX || operand_inside(p, b, m->workspace, DT_U8, o->workspace_bytes, "workspace", label, d));
}

/* ---- tensor maps: within what the copy engine takes, and inside their buffers ---- */

/* Copies begin at coordinates of 32 bits with a sign. */
static const int64_t MAX_MAP_DIM = (int64_t)1 << 31, MAX_MAP_STRIDE = ((int64_t)1 << 40) - 16;

static bool map_values(const Values *x, const PlanTensorMap *m, const char *of, BoundTensorMap *o)
{
    if (!value_of(x, m->offset, 0, MAX_BYTES, "offset", of, &o->offset))
        return false;
    for (uint32_t i = 0; i < m->rank; i++)
        if (!value_of(x, m->dims[i], 1, MAX_MAP_DIM, "size", of, &o->dims[i]) ||
            (i && !value_of(x, m->strides[i - 1], 0, MAX_MAP_STRIDE, "stride", of, &o->strides[i - 1])))
            return false;
    return true;
}

static bool map_inside(const Values *x, const PlanBuffer *f, int64_t bytes, const PlanTensorMap *m, const BoundTensorMap *o, const char *of)
{
    __int128 row = (__int128)o->dims[0] * dtype_bytes(m->dtype), end = o->offset + row;
    if (o->offset % 16)
        return diag_error(x->d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "the offset of %s is %lld bytes, no multiple of 16", of, (ll)o->offset);
    for (uint32_t i = 1; i < m->rank; i++) {
        if (o->strides[i - 1] % 16)
            return diag_error(x->d, PAWL_EXIT_INVALID, LOC_NONE, "pad the innermost dim, or permute it",
                              "dim %u of %s has a stride of %lld bytes, no multiple of 16", i, of, (ll)o->strides[i - 1]);
        if (i == 1 && o->strides[0] < row)
            return diag_error(x->d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "dim 1 of %s has a stride of %lld bytes, shorter than its rows of %lld",
                              of, (ll)o->strides[0], (ll)row);
        end += (__int128)(o->dims[i] - 1) * o->strides[i - 1];
    }
    if (end <= bytes)
        return true;
    return diag_error(x->d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "%s reaches byte %lld of \"%s\", which has %lld", of,
                      end > INT64_MAX ? (ll)INT64_MAX : (ll)end, f->name, (ll)bytes);
}

static bool evaluate_maps(const Plan *p, const Values *x, const BoundPlan *b, const PlanStep *s, BoundStep *o, Arena *a)
{
    uint32_t n = p->kernels.data[s->kernel].n_maps;
    BoundTensorMap *maps = n ? arena_new_array(a, BoundTensorMap, n) : NULL;
    o->maps = maps;
    for (uint32_t i = 0; i < n; i++) {
        const PlanTensorMap *m = &s->maps[i];
        const PlanBuffer *f = &p->buffers.data[m->buffer];
        const char *of = arena_printf(a, "tensor map %u (\"%s\") of %s", i, f->name, s->label);
        if (!map_values(x, m, of, &maps[i]) || !map_inside(x, f, b->buffers[m->buffer].bytes, m, &maps[i], of))
            return false;
    }
    return true;
}

/* ---- steps ---- */

static bool evaluate_launch(const Plan *p, const Values *x, const BoundPlan *b, const PlanStep *s, BoundStep *o, Arena *a)
{
    const PlanKernel *k = &p->kernels.data[s->kernel];
    o->blocks = 1;
    for (int i = 0; i < 3; i++) {
        o->grid[i] = 1;
        if (s->grid[i] && !value_of(x, s->grid[i], 0, i == 0 || p->target == TARGET_CPU ? INT32_MAX : 65535, "grid", s->label, &o->grid[i]))
            return false;
        o->blocks *= o->grid[i];
        if (o->blocks > MAX_BLOCKS)
            return diag_error(x->d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "the grid of %s has more than 2^46 blocks", s->label);
    }
    int64_t *scalars = arena_new_array(a, int64_t, k->n_scalars + 1);
    for (uint32_t i = 0; i < k->n_scalars; i++)
        if (!value_of(x, s->scalars[i], INT64_MIN, INT64_MAX, "scalar argument", s->label, &scalars[i]))
            return false;
    o->scalars = scalars;
    if (o->blocks && k->cluster > 1 && o->grid[0] % k->cluster)
        return diag_error(x->d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "the grid of %s has %lld blocks along x, no multiple of its cluster of %u",
                          s->label, (ll)o->grid[0], k->cluster);
    return !o->blocks || evaluate_maps(p, x, b, s, o, a);
}

static bool evaluate_step(const Plan *p, const Values *x, const BoundPlan *b, const PlanStep *s, BoundStep *o, Arena *a)
{
    int64_t read, written;
    if (!value_of(x, s->bytes_read, 0, INT64_MAX / 4, "bytes read", s->label, &read) ||
        !value_of(x, s->bytes_written, 0, INT64_MAX / 4, "bytes written", s->label, &written) ||
        !value_of(x, s->flops, 0, INT64_MAX, "operations", s->label, &o->flops))
        return false;
    o->moved = read + written;
    switch (s->kind) {
    case STEP_LAUNCH:
        return evaluate_launch(p, x, b, s, o, a);
    case STEP_MATMUL:
        o->matmul = arena_new_of(a, BoundMatmul);
        return matmul_values(x, &s->matmul, s->label, o->matmul) && matmul_inside(p, b, &s->matmul, o->matmul, s->label, x->d);
    case STEP_COPY: case STEP_FILL:
        if (!value_of(x, s->bytes, 0, MAX_BYTES, "bytes", s->label, &o->bytes))
            return false;
        if (o->bytes > b->buffers[s->to].bytes || (s->kind == STEP_COPY && o->bytes > b->buffers[s->from].bytes))
            return diag_error(x->d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "%s moves %lld bytes, more than its buffers have", s->label,
                              (ll)o->bytes);
        o->moved = o->moved ? o->moved : 2 * o->bytes;
        return true;
    }
    return false;
}

BoundPlan *plan_evaluate(const Plan *p, const int64_t *symbols, Arena *a, Diags *d)
{
    DimValue *v = arena_new_array(a, DimValue, p->symbols.n + 1);
    for (uint32_t i = 0; i < p->symbols.n; i++)
        v[i] = (DimValue){p->symbols.data[i].name, symbols[i]};
    Values x = {v, p->symbols.n, d};
    BoundPlan *b = arena_new_of(a, BoundPlan);
    b->buffers = arena_new_array(a, BoundBuffer, p->buffers.n);
    b->steps = arena_new_array(a, BoundStep, p->steps.n);
    if (!value_of(&x, p->workspace_bytes, 0, MAX_BYTES, "workspace", p->name, &b->workspace_bytes))
        return NULL;
    for (uint32_t i = 0; i < p->buffers.n; i++) {
        const PlanBuffer *f = &p->buffers.data[i];
        BoundBuffer *o = &b->buffers[i];
        if (!value_of(&x, f->bytes, 0, MAX_BYTES, "size", f->name, &o->bytes))
            return NULL;
        if (f->kind != BUF_WORKSPACE)
            continue;
        if (!value_of(&x, f->offset, 0, MAX_BYTES, "offset", f->name, &o->offset))
            return NULL;
        ll end = o->offset + o->bytes;
        if (end > b->workspace_bytes || o->offset % 64) {
            diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "buffer %s lies at %lld..%lld of a workspace of %lld bytes%s", f->name,
                       (ll)o->offset, end, (ll)b->workspace_bytes, o->offset % 64 ? ", unaligned" : "");
            return NULL;
        }
    }
    for (uint32_t i = 0; i < p->steps.n; i++)
        if (!evaluate_step(p, &x, b, &p->steps.data[i], &b->steps[i], a))
            return NULL;
    return b;
}

/* ---- what steps do with buffers ---- */

static unsigned matmul_access(const PlanMatmul *m, uint32_t b)
{
    unsigned r = 0;
    if (b == m->a || b == m->b || b == m->c || b == m->bias)
        r |= ACCESS_READ;
    if (b == m->d)
        r |= ACCESS_WRITE;
    if (b == m->workspace)
        r |= ACCESS_READ | ACCESS_WRITE;
    return r;
}

unsigned step_access(const Plan *p, const PlanStep *s, uint32_t b, bool *known)
{
    unsigned r = 0;
    *known = true;
    switch (s->kind) {
    case STEP_LAUNCH:
        for (uint32_t i = 0; i < p->kernels.data[s->kernel].n_buffers; i++) {
            if (s->buffers[i] != b)
                continue;
            const uint8_t *access = p->kernels.data[s->kernel].access;
            BufferKind kind = p->buffers.data[b].kind;
            bool constant = kind == BUF_INPUT || kind == BUF_WEIGHT;
            r |= access ? access[i] : constant ? ACCESS_READ : ACCESS_READ | ACCESS_WRITE;
            *known &= access || constant;
        }
        for (uint32_t i = 0; i < p->kernels.data[s->kernel].n_maps; i++)
            r |= s->maps[i].buffer == b ? ACCESS_READ : 0u;
        return r;
    case STEP_MATMUL:
        return matmul_access(&s->matmul, b);
    case STEP_COPY: case STEP_FILL:
        return (s->kind == STEP_COPY && b == s->from ? ACCESS_READ : 0u) | (b == s->to ? ACCESS_WRITE : 0u);
    }
    return r;
}

static uint32_t launch_buffers(const PlanKernel *k, const PlanStep *s, const uint32_t **list, Arena *a)
{
    uint32_t *all = arena_new_array(a, uint32_t, k->n_buffers + k->n_maps);
    for (uint32_t i = 0; i < k->n_buffers; i++)
        all[i] = s->buffers[i];
    for (uint32_t i = 0; i < k->n_maps; i++)
        all[k->n_buffers + i] = s->maps[i].buffer;
    *list = all;
    return k->n_buffers + k->n_maps;
}

uint32_t step_buffers(const Plan *p, const PlanStep *s, const uint32_t **list, Arena *a)
{
    uint32_t n = 0, *room;
    if (s->kind == STEP_LAUNCH && p->kernels.data[s->kernel].n_maps)
        return launch_buffers(&p->kernels.data[s->kernel], s, list, a);
    if (s->kind == STEP_LAUNCH) {
        *list = s->buffers;
        return p->kernels.data[s->kernel].n_buffers;
    }
    *list = room = arena_new_array(a, uint32_t, 6);
    switch (s->kind) {
    case STEP_LAUNCH:
        break;
    case STEP_MATMUL: {
        const uint32_t all[6] = {s->matmul.a, s->matmul.b, s->matmul.c, s->matmul.d, s->matmul.bias, s->matmul.workspace};
        for (int i = 0; i < 6; i++)
            if (all[i] != UINT32_MAX)
                room[n++] = all[i];
        break;
    }
    case STEP_COPY:
        room[n++] = s->from;
        room[n++] = s->to;
        break;
    case STEP_FILL:
        room[n++] = s->to;
        break;
    }
    return n;
}
