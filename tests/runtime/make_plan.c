/* tests/runtime/make_plan.c — see make_plan.h. */
#include "tests/runtime/make_plan.h"
#include <string.h>

Maker make_plan(Context *cx, const char *name, const char *ptx)
{
    Plan *p = arena_new_of(cx->arena, Plan);
    p->name = str_intern(cx->strs, name);
    p->target = TARGET_CUDA;
    p->arch = str_intern(cx->strs, "sm_80");
    p->n_ranks = 1;
    p->alignment = 16;
    return (Maker){cx, p, ptx};
}

Dim make_symbol(Maker *m, const char *name, int64_t lo, int64_t hi)
{
    Dim d = dim_sym(m->cx->dims, name, lo, hi);
    vec_push(m->cx->arena, &m->p->symbols, ((PlanSymbol){d->name, lo, hi}));
    return d;
}

Dim make_const(Maker *m, int64_t v) { return dim_const(m->cx->dims, v); }

uint32_t make_buffer(Maker *m, BufferKind kind, const char *name, DType t, const Dim *shape, uint32_t rank, int64_t offset)
{
    PlanBuffer f = {.kind = kind, .name = str_intern(m->cx->strs, name), .dtype = t, .rank = rank};
    memcpy(f.shape, shape, rank * sizeof *shape);
    f.bytes = dim_mul_const(m->cx->dims, dim_product(m->cx->dims, shape, rank), dtype_bytes(t));
    f.offset = make_const(m, offset);
    f.io = kind == BUF_INPUT ? m->p->n_inputs++ : kind == BUF_OUTPUT ? m->p->n_outputs++ : kind == BUF_WEIGHT ? m->p->weights.n : 0;
    vec_push(m->cx->arena, &m->p->buffers, f);
    return m->p->buffers.n - 1;
}

uint32_t make_weight(Maker *m, const char *name, Tensor *data)
{
    Dim shape[TENSOR_MAX_RANK];
    for (int k = 0; k < data->rank; k++)
        shape[k] = make_const(m, data->dims[k]);
    uint32_t b = make_buffer(m, BUF_WEIGHT, name, data->dtype, shape, (uint32_t)data->rank, 0);
    PlanWeight w = {.name = str_intern(m->cx->strs, name), .buffer = b, .data = data};
    vec_push(m->cx->arena, &m->p->weights, w);
    return b;
}

static uint32_t find_kernel(Maker *m, const char *name, const char *access, uint32_t shared_bytes)
{
    for (uint32_t i = 0; i < m->p->kernels.n; i++)
        if (strcmp(m->p->kernels.data[i].name, name) == 0)
            return i;
    uint32_t n = (uint32_t)strlen(access);
    PlanKernel k = {.name = str_intern(m->cx->strs, name), .n_buffers = n, .n_scalars = 1, .shared_bytes = shared_bytes, .block = {256, 1, 1}};
    uint8_t *table = arena_alloc(m->cx->arena, n);
    for (uint32_t i = 0; i < n; i++)
        table[i] = access[i] == 'r' ? ACCESS_READ : ACCESS_WRITE;
    k.access = table;
    PlanCode c = {.kind = CODE_PTX, .arch = m->p->arch, .bytes = m->code, .len = strlen(m->code)};
    vec_push(m->cx->arena, &k.code, c);
    vec_push(m->cx->arena, &m->p->kernels, k);
    return m->p->kernels.n - 1;
}

static uint32_t push(Maker *m, PlanStep s, const char *label)
{
    s.label = str_intern(m->cx->strs, label);
    s.bytes_read = s.bytes_written = s.flops = make_const(m, 0);
    vec_push(m->cx->arena, &m->p->steps, s);
    return m->p->steps.n - 1;
}

uint32_t make_launch(Maker *m, const char *kernel, const char *access, const uint32_t *buffers, Dim count, uint32_t shared_bytes)
{
    PlanStep s = {.kind = STEP_LAUNCH, .kernel = find_kernel(m, kernel, access, shared_bytes)};
    s.grid[0] = dim_ceildiv(m->cx->dims, count, make_const(m, 256));
    s.grid[1] = s.grid[2] = make_const(m, 1);
    s.buffers = arena_copy(m->cx->arena, buffers, strlen(access) * sizeof *buffers);
    s.scalars = arena_copy(m->cx->arena, &count, sizeof count);
    return push(m, s, kernel);
}

uint32_t make_copy(Maker *m, uint32_t from, uint32_t to)
{
    return push(m, (PlanStep){.kind = STEP_COPY, .from = from, .to = to, .bytes = m->p->buffers.data[to].bytes}, "copy");
}

uint32_t make_fill(Maker *m, uint32_t to)
{
    return push(m, (PlanStep){.kind = STEP_FILL, .from = UINT32_MAX, .to = to, .bytes = m->p->buffers.data[to].bytes}, "fill");
}

uint32_t make_matmul(Maker *m, PlanMatmul x)
{
    Dim *all[] = {&x.batch, &x.a_offset, &x.b_offset, &x.c_offset, &x.d_offset, &x.lda, &x.ldb, &x.ldc, &x.ldd, &x.stride_a, &x.stride_b,
                  &x.stride_c, &x.stride_d, &x.workspace_bytes};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!*all[i])
            *all[i] = make_const(m, i == 0);
    return push(m, (PlanStep){.kind = STEP_MATMUL, .matmul = x}, "product");
}

Plan *make_done(Maker *m, int64_t workspace_bytes)
{
    m->p->workspace_bytes = make_const(m, workspace_bytes);
    return m->p;
}
