/* tests/runtime/test_api.c — pawl.h from outside: runs, shapes, views, misuse, reloaded weights. */
#include "runtime/pawl.h"
#include "tests/runtime/support.h"
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef struct { Context *cx; pawl_package *p; pawl_session *s; bool has_code; } Fixture;

static int setup(void **state)
{
    Fixture *f = calloc(1, sizeof *f);
    size_t len;
    f->cx = context_new();
    void *image = sample_image(f->cx, &len, &f->has_code);
    if (!image || pawl_open_memory(image, len, &f->p) != PAWL_OK) {
        print_error("%s\n", image ? pawl_error() : diags_text(f->cx));
        return -1;
    }
    pawl_session_options o = {.size = sizeof o, .device = "cpu", .threads = 2};
    *state = f;
    return pawl_session_new(f->p, &o, &f->s) == PAWL_OK ? 0 : -1;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    pawl_session_free(f->s);
    pawl_close(f->p);
    context_free(f->cx);
    free(f);
    return 0;
}

static pawl_tensor matrix(void *data, int64_t rows)
{
    return (pawl_tensor){.data = data, .dtype = PAWL_F32, .rank = 2, .shape = {rows, 4}};
}

static void assert_text(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("expected \"%s\" in: %s", part, text);
}

static void assert_error(pawl_status got, pawl_status want, const char *part)
{
    if (got != want)
        fail_msg("status %d, expected %d: %s", got, want, got ? pawl_error() : "");
    assert_text(pawl_error(), part);
}

static void fill(float *x, int64_t n)
{
    assert_int_equal(pawl_fill(x, PAWL_F32, n, 1, "x", "normal(0, 1)"), PAWL_OK);
}

static void assert_result(const float *x, const float *y, int64_t rows)
{
    for (int64_t i = 0; i < rows * 4; i++)
        assert_true(y[i] == x[i] * ((float)(i % 4) + 0.5f) + 1);
}

#define NEED_CODE(f) do { if (!(f)->has_code) { print_message("SKIP: no C compiler\n"); skip(); } } while (0)

static void test_runs_every_shape(void **state)
{
    Fixture *f = *state;
    NEED_CODE(f);
    static _Alignas(64) float x[4000], y[4000];
    static const int64_t rows[] = {8, 1, 7, 1000, 8, 64, 65, 999, 8};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fill(x, rows[i] * 4);
        memset(y, 0xff, sizeof y);
        pawl_tensor in = matrix(x, rows[i]), out = matrix(y, rows[i]);
        if (pawl_run(f->s, &in, 1, &out, 1, NULL) != PAWL_OK)
            fail_msg("%s", pawl_error());
        assert_result(x, y, rows[i]);
    }
    for (int64_t n = 1; n <= 100; n++) {             /* more shapes than are remembered */
        pawl_tensor in = matrix(x, n), out = matrix(y, n);
        assert_int_equal(pawl_run(f->s, &in, 1, &out, 1, NULL), PAWL_OK);
    }
}

static void test_views(void **state)
{
    Fixture *f = *state;
    NEED_CODE(f);
    static _Alignas(64) float x[400], y[400], dense[32];
    fill(x, 400);
    for (int r = 0; r < 8; r++)
        for (int k = 0; k < 4; k++)
            dense[4 * r + k] = x[1 + r + 11 * k];
    pawl_tensor in = matrix(x + 1, 8), out = matrix(y + 3, 8);       /* transposed and off by one float */
    in.strides[0] = 1;
    in.strides[1] = 11;
    out.strides[0] = 9;
    out.strides[1] = 2;
    memset(y, 0, sizeof y);
    assert_int_equal(pawl_run(f->s, &in, 1, &out, 1, NULL), PAWL_OK);
    int written = 0;
    for (int i = 0; i < 400; i++)
        written += y[i] != 0;
    for (int r = 0; r < 8; r++)
        for (int k = 0; k < 4; k++)
            assert_true(y[3 + 9 * r + 2 * k] == dense[4 * r + k] * ((float)k + 0.5f) + 1);
    assert_true(written <= 32);
    out.strides[0] = 0;
    assert_error(pawl_run(f->s, &in, 1, &out, 1, NULL), PAWL_ERROR_INVALID, "elements share memory");
}

static void test_wrong_tensors(void **state)
{
    Fixture *f = *state;
    static _Alignas(64) float x[4004], y[4004];
    pawl_tensor in = matrix(x, 8), out = matrix(y, 8), bad;
    assert_error(pawl_run(NULL, &in, 1, &out, 1, NULL), PAWL_ERROR_INVALID, "session is NULL");
    assert_error(pawl_run(f->s, &in, 2, &out, 1, NULL), PAWL_ERROR_INVALID, "2 inputs, the package takes 1");
    assert_error(pawl_run(f->s, NULL, 1, &out, 1, NULL), PAWL_ERROR_INVALID, "given as NULL");
    assert_error(pawl_run(f->s, &in, 1, &out, 0, NULL), PAWL_ERROR_INVALID, "0 outputs, the package gives 1");
    bad = in;
    bad.dtype = PAWL_F16;
    assert_error(pawl_run(f->s, &bad, 1, &out, 1, NULL), PAWL_ERROR_INVALID, "input \"x\" is f16, expected f32[N, 4]");
    bad.dtype = 77;
    assert_error(pawl_run(f->s, &bad, 1, &out, 1, NULL), PAWL_ERROR_INVALID, "unknown element type");
    bad = in;
    bad.rank = 3;
    assert_error(pawl_run(f->s, &bad, 1, &out, 1, NULL), PAWL_ERROR_INVALID, "rank 3, expected f32[N, 4]");
    bad.rank = -1;
    assert_error(pawl_run(f->s, &bad, 1, &out, 1, NULL), PAWL_ERROR_INVALID, "rank -1");
    bad = in;
    bad.shape[1] = 5;
    assert_error(pawl_run(f->s, &bad, 1, &out, 1, NULL), PAWL_ERROR_INVALID, "dim 1 is 5, expected 4");
    assert_text(pawl_error(), "admissible: n8 (x: f32[8, 4]); any shape (x: f32[N, 4] with N in 1..1000)");
    bad = in;
    bad.shape[0] = 1001;
    assert_error(pawl_run(f->s, &bad, 1, &out, 1, NULL), PAWL_ERROR_INVALID, "dim 0 (N) is 1001, outside 1..1000");
    bad.shape[0] = 0;
    assert_error(pawl_run(f->s, &bad, 1, &out, 1, NULL), PAWL_ERROR_INVALID, "outside 1..1000");
    bad.shape[0] = -4;
    assert_error(pawl_run(f->s, &bad, 1, &out, 1, NULL), PAWL_ERROR_INVALID, "negative");
    bad = out;
    bad.shape[0] = 9;
    assert_error(pawl_run(f->s, &in, 1, &bad, 1, NULL), PAWL_ERROR_INVALID, "output \"y\": dim 0 is 9, for these inputs it must be 8");
    bad = out;
    bad.data = NULL;
    assert_error(pawl_run(f->s, &in, 1, &bad, 1, NULL), PAWL_ERROR_INVALID, "output \"y\": data is NULL");
    bad = in;
    bad.data = NULL;
    assert_error(pawl_run(f->s, &bad, 1, &out, 1, NULL), PAWL_ERROR_INVALID, "input \"x\": data is NULL");
}

static void test_misuse(void **state)
{
    Fixture *f = *state;
    pawl_package *p = NULL;
    pawl_session *s = NULL;
    pawl_io io;
    assert_error(pawl_open(NULL, &p), PAWL_ERROR_INVALID, "path is NULL");
    assert_error(pawl_open("/nonexistent/x.pawl", &p), PAWL_ERROR_IO, "/nonexistent/x.pawl");
    assert_error(pawl_open(".", &p), PAWL_ERROR_IO, "cannot read");
    assert_error(pawl_open_memory("hello", 5, &p), PAWL_ERROR_INVALID, "is no package");
    assert_error(pawl_open_memory("", 0, &p), PAWL_ERROR_INVALID, "is no package");
    assert_null(p);
    assert_error(pawl_input(f->p, 1, &io), PAWL_ERROR_INVALID, "there is no input 1, the package has 1");
    assert_error(pawl_output(f->p, -1, &io), PAWL_ERROR_INVALID, "there is no output -1");
    assert_error(pawl_input(f->p, 0, NULL), PAWL_ERROR_INVALID, "out is NULL");
    pawl_session_options o = {.size = sizeof o, .device = "tpu"};
    assert_error(pawl_session_new(f->p, &o, &s), PAWL_ERROR_INVALID, "\"tpu\" is no device");
    o.device = "cuda:-1";
    assert_error(pawl_session_new(f->p, &o, &s), PAWL_ERROR_INVALID, "is no device");
    o.device = "cuda";
    assert_error(pawl_session_new(f->p, &o, &s), PAWL_ERROR_UNSUPPORTED, "compiled for cpu only");
    o.device = "cpu";
    o.size = 3;
    assert_error(pawl_session_new(f->p, &o, &s), PAWL_ERROR_INVALID, "options.size is 3");
    o.size = sizeof o;
    o.threads = -5;
    assert_error(pawl_session_new(f->p, &o, &s), PAWL_ERROR_INVALID, "threads -5");
    assert_error(pawl_session_new(NULL, &o, &s), PAWL_ERROR_INVALID, "package is NULL");
    assert_null(s);
    assert_int_equal(pawl_session_new(f->p, NULL, &s), PAWL_OK);
    assert_string_equal(pawl_device(s), "cpu");
    pawl_session_free(s);
    pawl_session_free(NULL);
    pawl_close(NULL);
    assert_error(pawl_fill(NULL, PAWL_F32, 4, 0, "x", NULL), PAWL_ERROR_INVALID, "data is NULL");
    assert_error(pawl_fill(&io, 99, 1, 0, "x", NULL), PAWL_ERROR_INVALID, "99 is no element type");
    assert_error(pawl_fill(&io, PAWL_F32, 1, 0, "x", "zipf(2)"), PAWL_ERROR_INVALID, "zipf(2)");
    assert_error(pawl_fill(&io, PAWL_F32, -1, 0, "x", NULL), PAWL_ERROR_INVALID, "negative");
}

static void test_describes(void **state)
{
    Fixture *f = *state;
    pawl_io io;
    assert_int_equal(pawl_abi_version(), PAWL_ABI_VERSION);
    assert_int_equal(pawl_input_count(f->p), 1);
    assert_int_equal(pawl_output_count(f->p), 1);
    assert_int_equal(pawl_input(f->p, 0, &io), PAWL_OK);
    assert_string_equal(io.name, "x");
    assert_string_equal(io.type, "f32[N, 4]");
    assert_true(io.min[0] == 1 && io.max[0] == 1000 && io.min[1] == 4 && io.max[1] == 4);
    assert_text(pawl_manifest(f->p), "a test");
    pawl_tensor in = matrix(NULL, 33), out;
    assert_int_equal(pawl_infer(f->s, &in, 1, &out, 1), PAWL_OK);
    assert_true(out.rank == 2 && out.shape[0] == 33 && out.shape[1] == 4 && out.dtype == PAWL_F32);
    assert_error(pawl_infer(f->s, &in, 1, &out, 2), PAWL_ERROR_INVALID, "room for 2 outputs");
}

static void test_reload(void **state)
{
    Fixture *f = *state;
    NEED_CODE(f);
    static _Alignas(64) float x[32], y[32];
    float w[4] = {1, 2, 3, 4};
    const char *name = "w", *typo = "ww";
    pawl_tensor in = matrix(x, 8), out = matrix(y, 8);
    pawl_tensor t = {.data = w, .dtype = PAWL_F32, .rank = 1, .shape = {4}}, bad = t;
    fill(x, 32);
    assert_int_equal(pawl_reload_weights(f->s, &name, &t, 1), PAWL_OK);
    memset(w, 0, sizeof w);
    for (int64_t rows = 8; rows >= 7; rows--) {      /* the workload's plan and the generic one */
        in.shape[0] = out.shape[0] = rows;
        assert_int_equal(pawl_run(f->s, &in, 1, &out, 1, NULL), PAWL_OK);
        for (int64_t i = 0; i < 4 * rows; i++)
            assert_true(y[i] == x[i] * (float)(i % 4 + 1) + 1);
    }
    assert_error(pawl_reload_weights(f->s, &typo, &t, 1), PAWL_ERROR_INVALID, "no weight \"ww\"; did you mean \"w\"?");
    bad.shape[0] = 5;
    assert_error(pawl_reload_weights(f->s, &name, &bad, 1), PAWL_ERROR_INVALID, "another element type or shape");
    bad = t;
    bad.strides[0] = 2;
    assert_error(pawl_reload_weights(f->s, &name, &bad, 1), PAWL_ERROR_INVALID, "dense");
    pawl_session *other;                             /* another session keeps the package's weights */
    assert_int_equal(pawl_session_new(f->p, NULL, &other), PAWL_OK);
    in.shape[0] = out.shape[0] = 8;
    assert_int_equal(pawl_run(other, &in, 1, &out, 1, NULL), PAWL_OK);
    assert_result(x, y, 8);
    pawl_session_free(other);
}

static void test_memory(void **state)
{
    Fixture *f = *state;
    void *p = NULL;
    char text[8] = "";
    assert_int_equal(pawl_alloc(f->s, 8, &p), PAWL_OK);
    assert_int_equal(pawl_upload(f->s, p, "payload", 8, NULL), PAWL_OK);
    assert_int_equal(pawl_download(f->s, text, p, 8, NULL), PAWL_OK);
    assert_string_equal(text, "payload");
    assert_int_equal(pawl_synchronize(f->s, NULL), PAWL_OK);
    pawl_free_memory(f->s, p);
    assert_error(pawl_alloc(f->s, SIZE_MAX, &p), PAWL_ERROR_DEVICE, "no memory");
    assert_error(pawl_alloc(f->s, 1, NULL), PAWL_ERROR_INVALID, "out is NULL");
}

static void *run_many(void *arg)
{
    Fixture *f = arg;
    pawl_session *s = NULL;
    static _Thread_local _Alignas(64) float x[400], y[400];
    intptr_t wrong = pawl_session_new(f->p, &(pawl_session_options){.size = sizeof(pawl_session_options), .threads = 1}, &s) != PAWL_OK;
    for (int64_t n = 1; !wrong && n <= 100; n++) {
        pawl_tensor in = matrix(x, n), out = matrix(y, n);
        wrong += pawl_fill(x, PAWL_F32, 4 * n, (uint64_t)n, "x", NULL) != PAWL_OK || pawl_run(s, &in, 1, &out, 1, NULL) != PAWL_OK;
        for (int64_t i = 0; i < 4 * n; i++)
            wrong += y[i] != x[i] * ((float)(i % 4) + 0.5f) + 1;
        in.shape[1] = 3;
        wrong += pawl_run(s, &in, 1, &out, 1, NULL) != PAWL_ERROR_INVALID || !strstr(pawl_error(), "dim 1 is 3");
    }
    pawl_session_free(s);
    return (void *)wrong;
}

static void test_threads(void **state)
{
    Fixture *f = *state;
    NEED_CODE(f);
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, run_many, f), 0);
    for (int i = 0; i < 4; i++) {
        void *wrong;
        pthread_join(t[i], &wrong);
        assert_null(wrong);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_runs_every_shape, setup, teardown),
        cmocka_unit_test_setup_teardown(test_views, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_tensors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_misuse, setup, teardown),
        cmocka_unit_test_setup_teardown(test_describes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reload, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
