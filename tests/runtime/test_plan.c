/* tests/runtime/test_plan.c — plans: JSON there and back, the text form, what verify and the reader refuse, binding of shapes. */
#include "runtime/plan.h"
#include "tests/runtime/map_plans.h"
#include "tests/runtime/support.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static int setup(void **state) { *state = context_new(); return 0; }
static int teardown(void **state) { context_free(*state); return 0; }

static Plan *sample(Context *cx, const char *workload)
{
    return sample_plan(cx, (SamplePlan){.workload = workload, .n = 8, .target = TARGET_CPU, .code = "code", .code_len = 4});
}

static void expect(Context *cx, bool good, const char *part)
{
    char *text = diags_text(cx);
    if (good || !strstr(text, part))
        fail_msg("expected a refusal with \"%s\": %s", part, good ? "accepted" : text);
}

static void test_round_trip(void **state)
{
    Context *cx = *state;
    for (int generic = 0; generic < 2; generic++) {
        Plan *p = sample(cx, generic ? NULL : "n8");
        assert_true(plan_verify(p, cx->diags));
        char *json = plan_to_json(p, cx->arena);
        Context *other = context_new();                /* a pool of its own: nothing is shared but the text */
        Plan *q = plan_from_json(other, json, strlen(json));
        if (!q)
            fail_msg("%s", diags_text(other));
        assert_string_equal(plan_to_json(q, other->arena), json);
        StrBuf a = strbuf_new(cx->arena), b = strbuf_new(other->arena);
        plan_print(&a, p);
        plan_print(&b, q);
        assert_string_equal(a.text, b.text);
        assert_non_null(strstr(a.text, generic ? "f32[N, 4]" : "f32[8, 4]"));
        assert_non_null(strstr(a.text, "scale grid("));
        assert_non_null(strstr(a.text, "kind@1: pointwise"));
        context_free(other);
    }
}

static void test_matmul_round_trip(void **state)
{
    Context *cx = *state;
    Plan *p = sample(cx, NULL);
    Dim n = dim_sym_find(cx->dims, "N"), four = dim_const(cx->dims, 4), zero = dim_const(cx->dims, 0);
    PlanStep s = p->steps.data[0];
    s.kind = STEP_MATMUL;
    s.matmul = (PlanMatmul){.dtype = DT_F32, .out_dtype = DT_F32, .m = n, .n = four, .k = four, .batch = dim_const(cx->dims, 1), .a = 0, .b = 2,
                            .c = 0, .d = 3, .bias = 2, .workspace = UINT32_MAX, .trans_b = true, .tf32 = true, .algorithm = 5,
                            .epilogue = EPI_BIAS_GELU_TANH, .lda = four, .ldb = zero, .ldc = four, .ldd = four, .a_offset = zero,
                            .b_offset = zero, .c_offset = zero, .d_offset = zero, .stride_a = zero, .stride_b = zero, .stride_c = zero,
                            .stride_d = zero, .workspace_bytes = zero};
    p->steps.data[0] = s;
    expect(cx, plan_verify(p, cx->diags), "a leading dim is shorter than its row");
    p->steps.data[0].matmul.ldb = four;
    expect(cx, plan_verify(p, cx->diags), "operand b reaches element 16 of \"w\", which has 4");
    p->steps.data[0].matmul.n = dim_const(cx->dims, 1);
    char *json = plan_to_json(p, cx->arena);
    Plan *q = plan_from_json(cx, json, strlen(json));
    if (!q)
        fail_msg("%s", diags_text(cx));
    assert_string_equal(plan_to_json(q, cx->arena), json);
}

static void test_copy_fill_round_trip(void **state)
{
    Context *cx = *state;
    Plan *p = sample(cx, NULL);
    PlanStep copy = p->steps.data[0], fill = p->steps.data[1];
    copy.kind = STEP_COPY;
    copy.from = 0;
    copy.to = 3;
    copy.bytes = p->buffers.data[3].bytes;
    fill.kind = STEP_FILL;
    fill.to = 1;
    fill.bytes = p->buffers.data[1].bytes;
    p->steps.data[0] = copy;
    p->steps.data[1] = fill;
    char *json = plan_to_json(p, cx->arena);
    Plan *q = plan_from_json(cx, json, strlen(json));
    if (!q)
        fail_msg("%s", diags_text(cx));
    assert_string_equal(plan_to_json(q, cx->arena), json);
    StrBuf b = strbuf_new(cx->arena);
    plan_print(&b, q);
    assert_non_null(strstr(b.text, "y = 0, 16*N B"));
    p->steps.data[0].bytes = dim_add_const(cx->dims, copy.bytes, 1);
    expect(cx, plan_verify(p, cx->diags), "more than its buffers have");
}

/* ---- verify ---- */

static uint32_t none[4] = {99, 99, 99, 99};

#define REFUSES(change, part)                                  \
    do {                                                       \
        Plan *p = sample(cx, NULL);                            \
        PlanBuffer *b = p->buffers.data;                       \
        PlanStep *s = p->steps.data;                           \
        (void)b, (void)s;                                      \
        change;                                                \
        expect(cx, plan_verify(p, cx->diags), part);           \
    } while (0)

static void test_verify(void **state)
{
    Context *cx = *state;
    DimPool *d = cx->dims;
    static const uint8_t writes_input[] = {ACCESS_WRITE, ACCESS_READ, ACCESS_WRITE}, reads_only[] = {ACCESS_READ, ACCESS_READ, ACCESS_READ};
    REFUSES(p->alignment = 12, "alignment 12 is no power of two");
    REFUSES(p->alignment = 0, "alignment 0");
    REFUSES(p->n_ranks = 0, "rank 0 of 0");
    REFUSES(p->workspace_bytes = NULL, "no workspace size");
    REFUSES(p->n_inputs = 5, "5 inputs and 1 outputs, but 4 buffers");
    REFUSES(b[1].kind = BUF_INPUT, "out of order");
    REFUSES(b[0].io = 1, "has io 1, expected 0");
    REFUSES(b[2].io = 7, "do not name each other");
    REFUSES(b[0].shape[1] = NULL, "dim 1 is missing");
    REFUSES(b[2].shape[0] = dim_sym_find(d, "N"), "no constant");
    REFUSES(b[0].bytes = dim_const(d, 16), "bytes by its type and 16 by the plan");
    REFUSES(vec_push(cx->arena, &p->weights, ((PlanWeight){.name = "v", .buffer = 3})), "weight 1 (v) names no weight buffer");
    REFUSES(p->kernels.data[1].name = p->kernels.data[0].name, "two kernels are called scale");
    REFUSES(p->kernels.data[0].block[0] = 2048, "2048x1x1 threads");
    REFUSES(p->kernels.data[0].name = "", "has no name");
    REFUSES(s[0].kernel = 2, "kernel 2 of 2");
    REFUSES(s[0].buffers = none, "buffer 99 of 4");
    REFUSES(s[0].label = NULL, "has no label");
    REFUSES(s[1].deps[0] = 1, "which is no earlier one");
    REFUSES(p->kernels.data[0].access = writes_input, "writes input \"x\"");
    REFUSES(p->kernels.data[0].access = reads_only, "reads \"t\" before any step has written it");
    REFUSES(p->steps.n = 1, "no step writes output \"y\"");
    REFUSES(p->workspace_bytes = dim_const(d, 256), "of a workspace of 256 bytes");
    REFUSES(b[3].offset = dim_const(d, 8), "unaligned");
    REFUSES(b[0].shape[0] = dim_const(d, 3), "no input's shape tells the value of N");
    REFUSES(b[0].shape[0] = dim_floordiv(d, dim_sym_find(d, "N"), dim_const(d, 2)), "tells the value of N");
    REFUSES(s[0].grid[0] = dim_mul_const(d, dim_sym_find(d, "N"), -1), "the grid of scale is -1");
    REFUSES(p->weights.data[0].data = tensor_new(cx->arena, DT_F32, 1, (int64_t[]){5}), "other data than its buffer");
}

/* A buffer that lives while another one does must not share its bytes; one that dies where the other is born may. */
static void test_overlap(void **state)
{
    Context *cx = *state;
    Plan *p = sample(cx, NULL);
    PlanBuffer u = p->buffers.data[3];
    u.name = str_intern(cx->strs, "u");
    vec_push(cx->arena, &p->buffers, u);
    PlanStep between = p->steps.data[1];                        /* u = shift(t), at t's place: in place */
    between.buffers = arena_copy(cx->arena, (uint32_t[]){3, 4}, 2 * sizeof(uint32_t));
    PlanStep last = p->steps.data[1];
    last.buffers = arena_copy(cx->arena, (uint32_t[]){4, 1}, 2 * sizeof(uint32_t));
    p->steps.data[1] = between;
    vec_push(cx->arena, &p->steps, last);
    assert_true(plan_verify(p, cx->diags));
    p->steps.data[2].buffers[0] = 3;                            /* t is read after u has been written */
    PlanStep again = last;
    again.buffers = arena_copy(cx->arena, (uint32_t[]){4, 1}, 2 * sizeof(uint32_t));
    vec_push(cx->arena, &p->steps, again);
    expect(cx, plan_verify(p, cx->diags), "share bytes of the workspace while both are in use");
}

/* ---- the reader ---- */

static char *replaced(Arena *a, const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    if (!at)
        fail_msg("the JSON has no %s", from);
    return arena_printf(a, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static void test_reader(void **state)
{
    Context *cx = *state;
    static const struct { const char *from, *to, *part; } cases[] = {
        {"\"plan\": 2", "\"plan\": 3", "plan: plan format 3, this runtime reads up to 2"},
        {"\"plan\": 2", "\"plan\": \"x\"", "plan: expected an integer"},
        {"\"name\": \"sample\"", "\"name\": 5", "name: expected text"},
        {"\"target\": \"cpu\"", "\"target\": \"tpu\"", "target: \"tpu\" is not one of cpu, cuda"},
        {"\"alignment\": 16", "\"alignment\": -16", "alignment: -16 is outside 1..4096"},
        {"\"alignment\": 16", "\"alignment\": 1e3", "alignment: expected an integer"},
        {"\"hi\": 1000", "\"hi\": -1", "symbols[0].hi: -1 is outside"},
        {"\"hi\": 1000", "\"hi\": 900", "N has the range 1..900 here and 1..1000 in another plan"},
        {"\"name\": \"N\"", "\"name\": \"N N\"", "is no symbol"},
        {"\"dtype\": \"f32\"", "\"dtype\": \"f33\"", "buffers[0].dtype: \"f33\" is not an element type"},
        {"\"kind\": \"input\"", "\"kind\": \"in\"", "buffers[0].kind: \"in\" is not one of"},
        {"\"N\",\n    4", "\"M\",\n    4", "buffers[0].shape[0]: \"M\": unknown symbol"},
        {"\"N\",\n    4", "\"other\",\n    4", "uses a name that is no symbol of the plan"},
        {"\"N\",\n    4", "\"N * \",\n    4", "buffers[0].shape[0]"},
        {"\"N\",\n    4", "\"9223372036854775807*N*N*99\",\n    4", "buffers[0].shape[0]"},
        {"\"N\",\n    4", "{},\n    4", "expected a number or a short expression"},
        {"\"N\",\n    4", "1,2,3,4,5,6,7,8,9", "buffers[0].shape: has 9 entries, expected at most 8"},
        {"\"bytes\": \"16*N\"", "\"bytes\": \"15*N\"", "bytes by its type"},
        {"\"access\": \"rrw\"", "\"access\": \"rrx\"", "kernels[0].access: expected 3 letters"},
        {"\"access\": \"rrw\"", "\"access\": \"rr\"", "kernels[0].access: expected 3 letters"},
        {"\"shared_bytes\": 0", "\"shared_bytes\": 99999999", "kernels[0].shared_bytes"},
        {"\"block\": [\n    1", "\"block\": [\n    0", "kernels[0].block[0]: expected a number of threads"},
        {"\"kind\": \"launch\"", "\"kind\": \"lunch\"", "steps[0].kind"},
        {"\"kernel\": 0", "\"kernel\": 17", "steps[0].kernel: 17 is not a kernel (the plan has 2)"},
        {"\"kernel\": 1", "\"kernel\": -1", "steps[1].kernel: -1 is not a kernel"},
        {"\"deps\": [\n    0", "\"deps\": [\n    1", "steps[1].deps[0]: expected the number of an earlier step, below 1"},
        {"\"key\": \"w\"", "\"key\": null", "weights[0].key: expected text"},
        {"\"workspace_bytes\": ", "\"workspace_bytes\": \"N N\", \"x\": ", "workspace_bytes: \"N N\""},
        {"\"steps\": [", "\"steps\": 3, \"y\": [", "steps: expected a list"},
        {"\"symbols\": [", "\"no_symbols\": [", "symbols: is missing"},
        {"{\n \"plan\"", "[\n \"plan\"", "plan:"},
    };
    dim_sym(cx->dims, "other", 0, 5);
    char *json = plan_to_json(sample(cx, NULL), cx->arena);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *bad = replaced(cx->arena, json, cases[i].from, cases[i].to);
        expect(cx, plan_from_json(cx, bad, strlen(bad)) != NULL, cases[i].part);
    }
    for (size_t n = 0; n < strlen(json); n++) {                 /* cut off anywhere */
        assert_null(plan_from_json(cx, json, n));
        diags_clear(cx->diags);
    }
}

/* ---- tensor maps and clusters ---- */

static void test_map_round_trip(void **state)
{
    Context *cx = *state, *other = context_new();
    Plan *p = map_plan(cx, (MapPlan){.steps = 2});
    PlanTensorMap *m = &p->steps.data[0].maps[0];
    assert_true(plan_verify(p, cx->diags));
    m->offset = dim_const(cx->dims, 128);              /* from the second row on */
    m->dims[1] = dim_add_const(cx->dims, m->dims[1], -1);
    p->symbols.data[0].lo = 2;
    char *json = plan_to_json(p, cx->arena);
    Plan *q = plan_from_json(other, json, strlen(json));
    if (!q)
        fail_msg("%s", diags_text(other));
    assert_string_equal(plan_to_json(q, other->arena), json);
    const PlanTensorMap *r = &q->steps.data[0].maps[0];
    assert_true(q->kernels.data[0].n_maps == 1 && q->kernels.data[0].cluster == 2);
    assert_true(r->buffer == m->buffer && r->dtype == DT_F32 && r->rank == 2 && r->swizzle == 128 && r->box[0] == 32 && r->box[1] == 8);
    assert_true(dim_is(r->dims[0], 32) && dim_is(r->strides[0], 128) && dim_is(r->offset, 128));
    StrBuf text = strbuf_new(other->arena);
    plan_print(&text, q);
    assert_non_null(strstr(text.text, "cluster 2  shared 2056 B"));
    assert_non_null(strstr(text.text, "; map x f32 [32, R - 1] strides [128] at 128 box [32, 8] swizzle 128"));
    BoundPlan *b = plan_evaluate(q, (int64_t[]){100}, other->arena, other->diags);
    assert_true(b && b->steps[0].maps[0].dims[1] == 99 && b->steps[0].maps[0].offset == 128 && b->steps[1].maps[0].dims[1] == 100);
    context_free(other);
}

static void test_map_access(void **state)
{
    Context *cx = *state;
    bool known;
    Plan *p = map_plan(cx, (MapPlan){.steps = 3});
    /* x and the workspace are read by maps alone: order and lifetimes must see them */
    assert_int_equal(step_access(p, &p->steps.data[0], 0, &known), ACCESS_READ);
    assert_true(known);
    assert_int_equal(step_access(p, &p->steps.data[1], 2, &known), ACCESS_READ);
    assert_int_equal(step_access(p, &p->steps.data[1], 3, &known), ACCESS_WRITE);
    assert_int_equal(step_access(p, &p->steps.data[2], 2, &known), 0);
    p = map_plan(cx, (MapPlan){.steps = 4});           /* x -> t0 -> t1 -> t0 -> y */
    p->buffers.data[3].offset = p->buffers.data[2].offset;
    expect(cx, plan_verify(p, cx->diags), "\"t0\" and \"t1\" share bytes of the workspace while both are in use");
    p = map_plan(cx, (MapPlan){.steps = 3});
    p->steps.data[0].maps[0].buffer = 3;
    expect(cx, plan_verify(p, cx->diags), "reads \"t1\" before any step has written it");
}

#define REFUSES_MAP(change, part)                                                \
    do {                                                                         \
        Plan *p = map_plan(cx, (MapPlan){.steps = 1, .rows = 64});               \
        PlanKernel *k = p->kernels.data;                                         \
        PlanTensorMap *m = p->steps.data[0].maps;                                \
        (void)k, (void)m;                                                        \
        change;                                                                  \
        expect(cx, plan_verify(p, cx->diags), part);                             \
    } while (0)

static void test_map_verify(void **state)
{
    Context *cx = *state;
    DimPool *d = cx->dims;
#define NUMBER(v) dim_const(d, v)
    REFUSES_MAP(p->target = TARGET_CPU, "kernel vpair has tensor maps or a cluster, which only GPUs have");
    REFUSES_MAP(k->n_maps = 17, "17 tensor maps and clusters of 2 blocks; at most 16 and 8");
    REFUSES_MAP(k->cluster = 16, "1 tensor maps and clusters of 16 blocks");
    REFUSES_MAP(k->cluster = 3, "the grid of vpair has 8 blocks along x, no multiple of its cluster of 3");
    REFUSES_MAP(p->steps.data[0].maps = NULL, "step 0 (vpair): tensor map 0 is missing");
    REFUSES_MAP(m->buffer = 9, "tensor map 0 is of a buffer that is not there");
    REFUSES_MAP(m->dtype = DT_F16, "another element type than its buffer");
    REFUSES_MAP((m->dtype = DT_I32, p->buffers.data[0].dtype = DT_I32), "none of f32, f16, bf16");
    REFUSES_MAP(m->rank = 0, "not 1 to 5 dims");
    REFUSES_MAP(m->rank = 6, "not 1 to 5 dims");
    REFUSES_MAP(m->offset = NULL, "no offset");
    REFUSES_MAP(m->strides[0] = NULL, "lacks a size or a stride");
    REFUSES_MAP(m->box[1] = 0, "not 1 to 256 elements");
    REFUSES_MAP(m->box[1] = 257, "not 1 to 256 elements");
    REFUSES_MAP(m->swizzle = 96, "a swizzle other than");
    REFUSES_MAP(m->swizzle = 64, "longer than the swizzle");
    REFUSES_MAP(m->box[0] = 6, "no multiple of 16 bytes");
    REFUSES_MAP(m->box[1] = 32, "a box larger than the kernel's shared memory");
    REFUSES_MAP(p->alignment = 8, "the plan's alignment is below 16");
    REFUSES_MAP(m->dims[1] = NUMBER(65), "tensor map 0 (\"x\") of vpair reaches byte 8320 of \"x\", which has 8192");
    REFUSES_MAP(m->offset = NUMBER(16), "reaches byte 8208 of \"x\"");
    REFUSES_MAP(m->offset = NUMBER(8), "the offset of tensor map 0 (\"x\") of vpair is 8 bytes, no multiple of 16");
    REFUSES_MAP(m->offset = NUMBER(-16), "the offset of tensor map 0 (\"x\") of vpair is -16, outside");
    REFUSES_MAP(m->strides[0] = NUMBER(136), "dim 1 of tensor map 0 (\"x\") of vpair has a stride of 136 bytes, no multiple of 16");
    REFUSES_MAP(m->strides[0] = NUMBER(112), "a stride of 112 bytes, shorter than its rows of 128");
    REFUSES_MAP(m->strides[0] = NUMBER((int64_t)1 << 40), "the stride of tensor map 0 (\"x\") of vpair is 1099511627776, outside");
    REFUSES_MAP(m->dims[0] = NUMBER(0), "the size of tensor map 0 (\"x\") of vpair is 0, outside 1..");
    REFUSES_MAP((m->rank = 3, m->dims[2] = NUMBER((int64_t)1 << 31), m->strides[1] = NUMBER(((int64_t)1 << 40) - 16), m->box[2] = 1),
                "reaches byte 9223372036854775807 of \"x\"");
}

static void test_map_evaluate(void **state)
{
    Context *cx = *state;
    Plan *p = map_plan(cx, (MapPlan){.steps = 1});
    Dim r = p->symbols.n ? dim_sym_find(cx->dims, "R") : NULL;
    PlanTensorMap *m = &p->steps.data[0].maps[0];
    m->dims[1] = dim_mul(cx->dims, dim_floordiv(cx->dims, dim_add_const(cx->dims, r, 9), dim_const(cx->dims, 10)), dim_const(cx->dims, 10));
    m->dims[1] = dim_min(cx->dims, m->dims[1], dim_const(cx->dims, 1000));
    expect(cx, plan_evaluate(p, (int64_t[]){41}, cx->arena, cx->diags) != NULL, "reaches byte 6400 of \"x\", which has 5248");
    assert_non_null(plan_evaluate(p, (int64_t[]){40}, cx->arena, cx->diags));
    assert_non_null(plan_evaluate(p, (int64_t[]){1111}, cx->arena, cx->diags));
    m->dims[1] = r;
    m->strides[0] = dim_mul_const(cx->dims, r, 8);
    expect(cx, plan_evaluate(p, (int64_t[]){17}, cx->arena, cx->diags) != NULL, "a stride of 136 bytes, no multiple of 16");
    p->steps.data[0].grid[0] = dim_const(cx->dims, 0);  /* nothing runs, and nothing is mapped */
    assert_non_null(plan_evaluate(p, (int64_t[]){17}, cx->arena, cx->diags));
}

static void test_map_reader(void **state)
{
    Context *cx = *state;
    static const struct { const char *from, *to, *part; } cases[] = {
        {"\"maps\": 1", "\"maps\": 0", "kernels[0].maps: 0 is outside 1..16"},
        {"\"maps\": 1", "\"maps\": 17", "kernels[0].maps: 17 is outside 1..16"},
        {"\"maps\": 1", "\"maps\": 2", "steps[0].maps: has 1 entries, expected 2"},
        {"\"maps\": 1,", "", "steps[0].maps: has 1 entries, expected 0"},
        {"\"cluster\": 2", "\"cluster\": 9", "kernels[0].cluster: 9 is outside 1..8"},
        {"\"cluster\": 2", "\"cluster\": \"2\"", "kernels[0].cluster: expected an integer"},
        {"\"maps\": [", "\"no_maps\": [", "steps[0].maps: is missing"},
        {"\"buffer\": 0,\n     \"dtype\"", "\"buffer\": 7,\n     \"dtype\"", "steps[0].maps[0].buffer: 7 is not a buffer (the plan has 2)"},
        {"\"dims\": [", "\"dims\": [1,2,3,4,", "steps[0].maps[0].dims: has 6 entries, expected at most 5"},
        {"\"strides\": [", "\"strides\": [5,", "steps[0].maps[0].strides: has 2 entries, expected 1"},
        {"\"strides\": [", "\"strides\": 3, \"z\": [", "steps[0].maps[0].strides: expected a list"},
        {"\"box\": [", "\"box\": [5,", "steps[0].maps[0].box: has 3 entries, expected 2"},
        {"\"box\": [\n      32", "\"box\": [\n      257", "steps[0].maps[0].box[0]: expected a number of elements, 1 to 256"},
        {"\"box\": [\n      32", "\"box\": [\n      -1", "steps[0].maps[0].box[0]: expected a number of elements, 1 to 256"},
        {"\"swizzle\": 128", "\"swizzle\": 16", "steps[0].maps[0].swizzle: 16 is not one of 0, 32, 64, 128"},
        {"\"swizzle\": 128", "\"swizzle\": 256", "steps[0].maps[0].swizzle: 256 is outside 0..128"},
        {"\"swizzle\": 128", "\"offset\": \"S\", \"swizzle\": 128", "steps[0].maps[0].offset: \"S\": unknown symbol"},
        {"\"swizzle\": 128", "\"offset\": 16, \"swizzle\": 128", "reaches byte 144 of \"x\""},
        {"\"swizzle\": 128", "\"swizzle\": 64", "a box whose rows are no multiple of 16 bytes, or longer than the swizzle"},
    };
    char *json = plan_to_json(map_plan(cx, (MapPlan){.steps = 1}), cx->arena);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *bad = replaced(cx->arena, json, cases[i].from, cases[i].to);
        expect(cx, plan_from_json(cx, bad, strlen(bad)) != NULL, cases[i].part);
    }
    char *old = replaced(cx->arena, plan_to_json(sample(cx, "n8"), cx->arena), "\"plan\": 2", "\"plan\": 1");
    assert_non_null(plan_from_json(cx, old, strlen(old)));              /* from before there were maps */
}

/* Changed characters: refused with a message, or a plan whose every use is checked. */
static void test_map_changes(void **state)
{
    Context *cx = *state;
    char *json = plan_to_json(map_plan(cx, (MapPlan){.steps = 2}), cx->arena);
    static const char other[] = "0123456789-9 R\"[]{},xe";
    uint64_t random = 1;
    unsigned accepted = 0;
    for (int round = 0; round < 3000; round++) {
        Context *own = context_new();
        char *changed = arena_strdup(own->arena, json);
        for (int i = 0; i <= round % 3; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            changed[(random >> 33) % strlen(json)] = other[(random >> 20) % (sizeof other - 1)];
        }
        Plan *p = plan_from_json(own, changed, strlen(changed));
        if (!p && !diags_failed(own->diags))
            fail_msg("round %d: refused without a message", round);
        StrBuf text = strbuf_new(own->arena);
        for (int64_t n = 1; p && n <= 1000; n *= 10)
            plan_evaluate(p, (int64_t[]){n, n}, own->arena, own->diags);
        if (p)
            plan_print(&text, p);
        accepted += p != NULL;
        context_free(own);
    }
    assert_true(accepted > 0 && accepted < 1500);
}

/* ---- binding ---- */

static bool bind2(Context *cx, const Plan *p, int64_t n, int64_t c, DimValue *v)
{
    int64_t shape[] = {n, c};
    const int64_t *shapes[] = {shape};
    return plan_bind(p, shapes, (int32_t[]){2}, (DType[]){DT_F32}, cx->diags, v);
}

static void test_bind(void **state)
{
    Context *cx = *state;
    DimValue v[4];
    Plan *p = sample(cx, NULL), *q = sample(cx, "n8");
    assert_true(bind2(cx, p, 77, 4, v));
    assert_true(v[0].value == 77);
    expect(cx, bind2(cx, p, 77, 5, v), "input \"x\": dim 1 is 5, expected 4 (its type is f32[N, 4])");
    expect(cx, bind2(cx, p, 1001, 4, v), "input \"x\": dim 0 (N) is 1001, outside 1..1000");
    assert_true(bind2(cx, q, 8, 4, v));
    expect(cx, bind2(cx, q, 9, 4, v), "dim 0 is 9, expected 8");
    int64_t shape[] = {8, 4};
    const int64_t *shapes[] = {shape};
    expect(cx, plan_bind(p, shapes, (int32_t[]){3}, (DType[]){DT_F32}, cx->diags, v), "rank is 3");
    expect(cx, plan_bind(p, shapes, (int32_t[]){2}, (DType[]){DT_F16}, cx->diags, v), "f16; expected f32[N, 4]");
    assert_false(plan_bind(p, shapes, (int32_t[]){2}, (DType[]){DT_F16}, NULL, v));
    /* solved from sums and products: 4*N + 3 and N*M with N known */
    Dim n = dim_sym_find(cx->dims, "N"), m = dim_sym(cx->dims, "M", 1, 50);
    p->buffers.data[0].shape[0] = dim_add_const(cx->dims, dim_mul_const(cx->dims, n, 4), 3);
    p->buffers.data[0].shape[1] = dim_mul(cx->dims, n, m);
    vec_push(cx->arena, &p->symbols, ((PlanSymbol){m->name, 1, 50}));
    assert_true(bind2(cx, p, 4 * 9 + 3, 9 * 7, v));
    assert_true(v[0].value == 9 && v[1].value == 7);
    expect(cx, bind2(cx, p, 4 * 9 + 4, 9 * 7, v), "but 4*N + 3 = 39 by the other dims");
    expect(cx, bind2(cx, p, 39, 64, v), "= 63 by the other dims");
    expect(cx, bind2(cx, p, 39, 9 * 51, v), "M is 51 by the inputs' shapes, outside 1..50");
}

static void test_evaluate(void **state)
{
    Context *cx = *state;
    Plan *p = sample(cx, NULL);
    BoundPlan *b = plan_evaluate(p, (int64_t[]){100}, cx->arena, cx->diags);
    assert_non_null(b);
    assert_true(b->workspace_bytes == 1792 && b->buffers[3].bytes == 1600);
    assert_true(b->steps[0].blocks == 100 && b->steps[1].blocks == 2 && b->steps[1].scalars[0] == 400);
    assert_true(b->steps[0].moved == 3200 && b->steps[0].flops == 100);
    p->steps.data[0].grid[0] = dim_mul_const(cx->dims, p->steps.data[0].grid[0], (int64_t)1 << 40);
    expect(cx, plan_evaluate(p, (int64_t[]){100}, cx->arena, cx->diags) != NULL, "the grid of scale is");
    p->steps.data[0].grid[0] = dim_floordiv(cx->dims, dim_const(cx->dims, 1000), dim_add_const(cx->dims, dim_sym_find(cx->dims, "N"), -50));
    expect(cx, plan_evaluate(p, (int64_t[]){50}, cx->arena, cx->diags) != NULL, "the grid of scale cannot be computed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_matmul_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copy_fill_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_verify, setup, teardown),
        cmocka_unit_test_setup_teardown(test_overlap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reader, setup, teardown),
        cmocka_unit_test_setup_teardown(test_map_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_map_access, setup, teardown),
        cmocka_unit_test_setup_teardown(test_map_verify, setup, teardown),
        cmocka_unit_test_setup_teardown(test_map_evaluate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_map_reader, setup, teardown),
        cmocka_unit_test_setup_teardown(test_map_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_evaluate, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
