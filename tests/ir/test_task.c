/* tests/ir/test_task.c — task specs: the Qwen3 tasks, the YAML's forms, data, JSON, and that no input whatever crashes. */
#include "fixture.h"
#include <jansson.h>
#include <math.h>

static const char *root(void) { return getenv("SOURCE_DIR") ? getenv("SOURCE_DIR") : "."; }

static Task *load(Context *cx, const char *name)
{
    Task *t = task_load(cx, arena_printf(cx->arena, "%s/tasks/%s.yaml", root(), name));
    if (!t)
        fail_msg("%s", messages(cx));
    assert_int_equal(diags_count(cx->diags), 0);
    return t;
}

static Task *from_text(Context *cx, const char *text)
{
    Task *t = task_from_source(cx, source_from_text(cx->arena, "task.yaml", text));
    if (!t)
        fail_msg("%s", messages(cx));
    return t;
}

static void test_qwen3(void **state)
{
    static const char *const cases[][4] = {
        {"qwen3/rmsnorm_residual", "h bf16[B, S, 2048]", "y bf16[B, S, 2048]"},
        {"qwen3/swiglu", "y bf16[B, S, 6144]"},
        {"qwen3/mlp", "y bf16[B, S, 2048]"},
        {"qwen3/sdpa_prelude", "q bf16[B, 16, S, 128]", "k bf16[B, 8, S, 128]", "v bf16[B, 8, S, 128]"},
        {"qwen3_moe/experts", "y bf16[T, 2048]"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Context *cx = context_new();
        Task *t = load(cx, cases[i][0]);
        assert_string_equal(t->name, cases[i][0]);
        assert_true(t->numerics.matmul == NUM_BF16 && t->numerics.otherwise == NUM_BF16);
        for (uint32_t k = 0; k < 3 && cases[i][k + 1]; k++) {
            assert_string_equal(type_of(cx, t->graph->outputs.data[k].node), cases[i][k + 1] + 2);
            assert_int_equal(t->graph->outputs.data[k].name[0], cases[i][k + 1][0]);
        }
        assert_int_equal(t->n_workloads, 3);
        for (uint32_t w = 0; w < 3; w++) {
            Graph *g = graph_specialise(t->graph, t->workloads[w].values, t->workloads[w].n);
            assert_non_null(g);
            assert_true(graph_verify(g, cx->diags));
            graph_free(g);
        }
        graph_free(t->graph);
        context_free(cx);
    }
}

static const char *const small =
    "task: small\nabout: all forms\ndims: {B: [1, 4], S: [2, 9], F: 6, G: 2*F, V: 50}\ninputs:\n  x: f32[B, S, F] ~ uniform(-1, 1)\n"
    "  ids: i64[B, S]\n  k: i32[B] ~ randint(3, 9)\nparams:\n  w: {type: 'f32[G, F]', dist: 'normal(1, 0.5)', mutable: true}\n"
    "  table: f32[V, F]\n  c: f32[F] ~ constant(2) [mutable]\ngraph: |\n  # a comment\n\n  %e = embedding(unsqueeze(%ids, -1), %table)\n"
    "  %h = add(reshape(%e, shape=[B, S, F]), mul(%x, %c))\n  %y = linear(%h,\n              %w)   # over two lines\n"
    "  %z = softmax(mul(%y, 0.5), -1)\n  %n = add(cast(%k, dtype=f32), inf)\noutputs: [z, n]\nnumerics: {matmul: tf32, else: approx(4)}\n"
    "seed: 5\nworkloads:\n  a: {B: 2, S: 3}\n  b: {B: 1, S: 2, F: 6}\n";

static void test_forms(void **state)
{
    Context *cx = *state;
    Task *t = from_text(cx, small);
    const GraphInput *in = t->graph->inputs.data;

    assert_int_equal(t->seed, 5);
    assert_string_equal(t->about, "all forms");
    assert_int_equal(t->numerics.matmul, NUM_TF32);
    assert_int_equal(t->numerics.conv, NUM_FP32);
    assert_int_equal(t->numerics.otherwise, NUM_APPROX);
    assert_true(t->numerics.approx == 4);
    assert_int_equal(t->n_symbols, 2);
    assert_string_equal(type_of(cx, output(t->graph, "z")), "f32[B, S, 12]");
    assert_true(in[1].dist.kind == DIST_RANDINT && in[1].dist.b == 50 && in[1].live_hi == 50);    /* the table's rows */
    assert_true(in[2].live_lo == 3 && in[2].live_hi == 9);
    assert_true(in[3].is_mutable && in[3].dist.a == 1 && in[5].is_mutable && !in[4].is_mutable);
    assert_true(in[4].dist.b == 0.02);
    assert_string_equal(((Node *)map_get_ptr(t->values, str_intern(cx->strs, "y")))->name, "y");
    graph_free(t->graph);
}

static void test_workloads(void **state)
{
    Context *cx = *state;
    Task *t = from_text(cx, small);
    Workload w;

    assert_string_equal(task_workload(t, "b")->name, "b");
    assert_true(task_workload_parse(t, "S=7,B=1", &w));
    assert_int_equal(w.n, 2);
    assert_int_equal(w.values[0].value, 7);
    assert_true(task_workload_parse(t, "a", &w));
    assert_int_equal(w.values[1].value, 3);
    static const char *const bad[] = {"S=7", "S=1,B=1", "Q=1,S=2,B=1", "S=x,B=1", "S=2,S=2,B=1", "c", "", "S", "=", ",", "S=2,,B=1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        diags_clear(cx->diags);
        assert_false(task_workload_parse(t, bad[i], &w));
        assert_true(diags_failed(cx->diags));
    }
    assert_null(task_workload(t, "none"));
    assert_non_null(strstr(messages(cx), "the task has a, b; or give dims, as in S=512,B=1"));
    graph_free(t->graph);
}

static void test_data(void **state)
{
    Context *cx = *state;
    Task *t = from_text(cx, small);
    const Workload *w = task_workload(t, "a");
    Tensor *x = task_tensor(t, &t->graph->inputs.data[0], w->values, w->n, cx->arena);
    Tensor *again = task_tensor(t, &t->graph->inputs.data[0], w->values, w->n, cx->arena);
    Tensor *ids = task_tensor(t, &t->graph->inputs.data[1], w->values, w->n, cx->arena);
    Tensor *c = task_tensor(t, &t->graph->inputs.data[5], w->values, w->n, cx->arena);
    float first;

    assert_int_equal(x->rank, 3);
    assert_int_equal(x->dims[1], 3);
    assert_memory_equal(x->data, again->data, tensor_bytes(x));
    philox_fill(DT_F32, &first, 0, 1, philox_key(5, "x"), (Dist){DIST_UNIFORM, -1, 1});
    assert_memory_equal(&first, x->data, sizeof first);
    for (int64_t i = 0; i < tensor_count(ids); i++)
        assert_in_range(((int64_t *)ids->data)[i], 0, 49);
    assert_true(((float *)c->data)[5] == 2);
    assert_null(task_tensor(t, &t->graph->inputs.data[0], NULL, 0, cx->arena));
    graph_free(t->graph);
}

static void test_safetensors(void **state)
{
    Context *cx = *state;
    const char *dir = getenv("TEST_TMP") ? getenv("TEST_TMP") : "/tmp";
    const char *header = "{\"w\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]},\"v\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[4,16]}}";
    const char *path = arena_printf(cx->arena, "%s/weights.safetensors", dir);
    size_t n = strlen(header);
    char bytes[512] = {(char)n};
    float data[3] = {1, 2, 3};

    memcpy(bytes + 8, header, n);
    memcpy(bytes + 8 + n, data, 12);
    assert_true(file_write(cx->diags, path, bytes, 8 + n + 12));
    Task *t = from_text(cx, arena_printf(cx->arena, "task: t\nparams:\n  w: {type: 'f32[3]', file: '%s'}\n  v: f32[3] [file=\"%s\"]\n"
                                                    "  q: f32[3] [file=\"%s\"]\n  m: f32[3] [file=\"missing\"]\n  d: {type: 'f16[3]', file: '%s'}\n"
                                                    "graph: |\n  %%z = concat(%%w, %%v, %%q, %%m, cast(%%d, dtype=f32), axis=0)\noutputs: [z]\n",
                                                    path, path, path, path));
    Tensor *w = task_tensor(t, &t->graph->inputs.data[0], NULL, 0, cx->arena);
    assert_non_null(w);
    assert_memory_equal(w->data, data, 12);
    static const char *const wrong[] = {"its data lies outside the file", "it has no such tensor", "missing", "it has no such tensor"};
    for (uint32_t i = 1; i < 5; i++) {
        diags_clear(cx->diags);
        assert_null(task_tensor(t, &t->graph->inputs.data[i], NULL, 0, cx->arena));
        assert_non_null(strstr(messages(cx), wrong[i - 1]));
    }
    graph_free(t->graph);
}

static void test_json(void **state)
{
    Context *cx = *state;
    Task *t = from_text(cx, small);
    json_error_t error;
    json_t *j = json_loads(task_json(t, task_workload(t, "a"), cx->arena), 0, &error), *z;

    assert_non_null(j);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "dims"), "S")), 3);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "dims"), "G")), 12);
    assert_string_equal(json_string_value(json_object_get(json_object_get(j, "numerics"), "matmul")), "tf32");
    assert_int_equal(json_array_size(json_object_get(j, "inputs")), 3);
    assert_int_equal(json_array_size(json_object_get(j, "params")), 3);
    json_t *statements = json_object_get(j, "statements");
    assert_int_equal(json_array_size(statements), 5);
    z = json_array_get(statements, 3);
    assert_string_equal(json_string_value(json_object_get(z, "call")), "softmax");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(z, "attrs"), "axis")), -1);
    json_t *inner = json_array_get(json_object_get(z, "args"), 0);
    assert_string_equal(json_string_value(json_object_get(inner, "call")), "mul");
    assert_true(json_number_value(json_object_get(json_array_get(json_object_get(inner, "args"), 1), "number")) == 0.5);
    json_t *n = json_array_get(statements, 4);
    assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(n, "args"), 1), "number")), "inf");
    json_t *shape = json_object_get(json_array_get(json_object_get(z, "types"), 0), "shape");
    assert_int_equal(json_integer_value(json_array_get(shape, 2)), 12);
    json_decref(j);
    j = json_loads(task_json(t, NULL, cx->arena), 0, &error);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(json_object_get(j, "dims"), "S"), 1)), 9);
    shape = json_object_get(json_array_get(json_object_get(json_array_get(json_object_get(j, "statements"), 3), "types"), 0), "shape");
    assert_string_equal(json_string_value(json_array_get(shape, 1)), "S");
    json_decref(j);
    graph_free(t->graph);
}

/* Every text must end in a task or in a diagnostic. */
static bool survives(const char *text, size_t len)
{
    Context *cx = context_new();
    Source *s = arena_new_of(cx->arena, Source);

    *s = (Source){"fuzz.yaml", arena_strndup(cx->arena, text, len), len, 1, 1, 0};
    Task *t = task_from_source(cx, s);
    bool ok = t ? graph_verify(t->graph, cx->diags) : diags_failed(cx->diags);
    messages(cx);
    if (t) {
        task_json(t, NULL, cx->arena);
        graph_text(cx->arena, t->graph);
        graph_free(t->graph);
    }
    context_free(cx);
    return ok;
}

static void test_truncations(void **state)
{
    (void)state;
    for (size_t n = 0; n <= strlen(small); n++)
        assert_true(survives(small, n));
}

static void test_mutations(void **state)
{
    static const char *const words[] = {"%x", "(", ")", "[", "]", ",", "=", "-", "*", "//", "%", "99999999999", "-1", "0", "1e400", "~", ":", "\n", "  ",
                                        "S", "B", "%y = ", "if(", "shape(%x)", "range(", "\"", "#", "9223372036854775807", "f32[", "inf", "nan", "\xff", "{", "}"};
    size_t len = strlen(small);
    uint32_t seed = 1;
    (void)state;

    for (int round = 0; round < 3000; round++) {
        char text[2048];
        size_t n = len;
        memcpy(text, small, len);
        for (int k = 0; k < 1 + round % 4; k++) {
            seed = seed * 1664525 + 1013904223;
            size_t at = 60 + (seed >> 8) % (n - 60);
            const char *word = words[(seed >> 4) % (sizeof words / sizeof *words)];
            size_t w = strlen(word);
            if (seed >> 31 && n + w < sizeof text) {                        /* insert a word, or overwrite a byte */
                memmove(text + at + w, text + at, n - at);
                memcpy(text + at, word, w);
                n += w;
            } else {
                text[at] = (char)(seed >> 16);
            }
        }
        if (!survives(text, n))
            fail_msg("neither a task nor a diagnostic:\n%.*s", (int)n, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_qwen3), TEST(test_forms), TEST(test_workloads), TEST(test_data), TEST(test_safetensors), TEST(test_json),
        TEST(test_truncations), TEST(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
