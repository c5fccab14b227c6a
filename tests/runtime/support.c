/* tests/runtime/support.c — see support.h. */
#include "tests/runtime/support.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *test_folder(void)
{
    const char *dir = getenv("TEST_TMP");
    return dir && *dir ? dir : "/tmp";
}

void *compile_object(Arena *a, const char *source, const char *flags, size_t *len)
{
    static int number;
    const char *stem = arena_printf(a, "%s/object-%d-%d", test_folder(), (int)getpid(), number++);
    const char *c = arena_printf(a, "%s.c", stem), *o = arena_printf(a, "%s.o", stem);
    Diags *d = diags_new(a);
    const char *command = arena_printf(a, "cc -c -O2 -fPIC -fno-asynchronous-unwind-tables %s -o %s %s 2>/dev/null", flags, o, c);
    void *bytes = NULL;
    if (file_write(d, c, source, strlen(source)) && system(command) == 0)
        bytes = file_read(a, d, o, len);
    unlink(c);
    unlink(o);
    return bytes;
}

const char sample_source[] =
    "typedef long long i64;\n"
    "void scale(void *const *b, const i64 *s, const i64 *grid, i64 begin, i64 end)\n"
    "{ const float *x = b[0], *w = b[1]; float *t = b[2];\n"
    "  for (i64 r = begin; r < end; r++) for (int k = 0; k < 4; k++) t[4 * r + k] = x[4 * r + k] * w[k]; }\n"
    "void shift(void *const *b, const i64 *s, const i64 *grid, i64 begin, i64 end)\n"
    "{ const float *t = b[0]; float *y = b[1]; i64 n = s[0];\n"
    "  for (i64 i = begin * 256; i < end * 256 && i < n; i++) y[i] = t[i] + 1; }\n";

static void add_buffer(Context *cx, Plan *p, BufferKind kind, const char *name, Dim rows, uint32_t io)
{
    PlanBuffer f = {.kind = kind, .name = str_intern(cx->strs, name), .dtype = DT_F32, .io = io};
    if (rows)
        f.shape[f.rank++] = rows;
    f.shape[f.rank++] = dim_const(cx->dims, 4);
    f.bytes = dim_mul_const(cx->dims, dim_product(cx->dims, f.shape, f.rank), 4);
    f.offset = dim_const(cx->dims, 0);
    vec_push(cx->arena, &p->buffers, f);
}

static void add_kernel(Context *cx, Plan *p, const char *name, uint32_t n_buffers, uint32_t n_scalars, const char *access, SamplePlan s)
{
    PlanKernel k = {.name = str_intern(cx->strs, name), .n_buffers = n_buffers, .n_scalars = n_scalars, .block = {1, 1, 1}};
    uint8_t *table = arena_alloc(cx->arena, n_buffers);
    for (uint32_t i = 0; i < n_buffers; i++)
        table[i] = access[i] == 'r' ? ACCESS_READ : ACCESS_WRITE;
    k.access = table;
    k.kind = str_intern(cx->strs, "pointwise");
    k.schedule = str_intern(cx->strs, "block=1");
    k.group = str_intern(cx->strs, arena_printf(cx->arena, "%%%s = …\n%%done", name));
    k.emitter = str_intern(cx->strs, "llvm");
    PlanCode c = {.kind = s.target == TARGET_CPU ? CODE_OBJECT : CODE_PTX,
                  .arch = str_intern(cx->strs, s.target == TARGET_CPU ? "x86-64" : "sm_80"), .bytes = s.code, .len = s.code_len};
    vec_push(cx->arena, &k.code, c);
    vec_push(cx->arena, &p->kernels, k);
}

static void add_launch(Context *cx, Plan *p, uint32_t kernel, Dim grid, const uint32_t *buffers, uint32_t n, Dim scalar)
{
    PlanStep s = {.kind = STEP_LAUNCH, .label = p->kernels.data[kernel].name, .kernel = kernel};
    s.grid[0] = grid;
    s.grid[1] = s.grid[2] = dim_const(cx->dims, 1);
    s.buffers = arena_copy(cx->arena, buffers, n * sizeof *buffers);
    s.scalars = arena_new_array(cx->arena, Dim, 1);
    s.scalars[0] = scalar;
    if (kernel) {
        s.n_deps = 1;
        s.deps = arena_new_array(cx->arena, uint32_t, 1);
    }
    s.bytes_read = s.bytes_written = dim_mul_const(cx->dims, grid, 16);
    s.flops = grid;
    vec_push(cx->arena, &p->steps, s);
}

Plan *sample_plan(Context *cx, SamplePlan s)
{
    Plan *p = arena_new_of(cx->arena, Plan);
    DimPool *d = cx->dims;
    Dim n = s.workload ? dim_const(d, s.n) : dim_sym(d, "N", 1, 1000);
    p->name = str_intern(cx->strs, "sample");
    p->workload = s.workload ? str_intern(cx->strs, s.workload) : NULL;
    p->target = s.target;
    p->arch = str_intern(cx->strs, s.target == TARGET_CPU ? "x86-64" : "sm_80");
    p->n_ranks = 1;
    p->n_inputs = p->n_outputs = 1;
    p->alignment = 16;
    if (!s.workload)
        vec_push(cx->arena, &p->symbols, ((PlanSymbol){n->name, 1, 1000}));
    add_buffer(cx, p, BUF_INPUT, "x", n, 0);
    add_buffer(cx, p, BUF_OUTPUT, "y", n, 0);
    add_buffer(cx, p, BUF_WEIGHT, "w", NULL, 0);
    add_buffer(cx, p, BUF_WORKSPACE, "t", n, 0);
    p->workspace_bytes = dim_align_up(d, p->buffers.data[3].bytes, 256);
    Tensor *w = tensor_new(cx->arena, DT_F32, 1, (int64_t[]){4});
    for (int i = 0; i < 4; i++)
        ((float *)w->data)[i] = (float)i + 0.5f;
    PlanWeight weight = {.name = str_intern(cx->strs, "w"), .buffer = 2, .data = w};
    vec_push(cx->arena, &p->weights, weight);
    add_kernel(cx, p, "scale", 3, 0, "rrw", s);
    add_kernel(cx, p, "shift", 2, 1, "rw", s);
    add_launch(cx, p, 0, n, (uint32_t[]){0, 2, 3}, 3, NULL);
    Dim count = dim_mul_const(d, n, 4);
    add_launch(cx, p, 1, dim_ceildiv(d, count, dim_const(d, 256)), (uint32_t[]){3, 1}, 2, count);
    PlanDecision why = {str_intern(cx->strs, "kind@1"), str_intern(cx->strs, "pointwise"), str_intern(cx->strs, "the only one")};
    vec_push(cx->arena, &p->decisions, why);
    return p;
}

void *sample_image(Context *cx, size_t *len, bool *has_code)
{
    SamplePlan s = {.workload = "n8", .n = 8, .target = TARGET_CPU};
    s.code = compile_object(cx->arena, sample_source, "", &s.code_len);
    *has_code = s.code != NULL;
    if (!s.code) {
        s.code = "no compiler here";
        s.code_len = 16;
    }
    Plan *plans[2] = {sample_plan(cx, s)};
    s.workload = NULL;
    plans[1] = sample_plan(cx, s);
    return package_image(cx->arena, cx->diags, plans, 2, "{\"made_by\": \"a test\"}", len);
}

char *diags_text(Context *cx)
{
    StrBuf b = strbuf_new(cx->scratch);
    strbuf_add(&b, "");
    for (uint32_t i = 0; i < diags_count(cx->diags); i++)
        strbuf_printf(&b, "%s%s", i ? "\n" : "", diags_at(cx->diags, i)->text);
    diags_clear(cx->diags);
    return b.text;
}
