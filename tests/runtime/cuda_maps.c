/* tests/runtime/cuda_maps.c — see cuda_maps.h. */
#include "tests/runtime/cuda_maps.h"
#include "runtime/cuda/driver.h"
#include "runtime/cuda/timing.h"
#include "tests/runtime/cuda_fixture.h"
#include "tests/runtime/fake_cuda.h"
#include "tests/runtime/map_plans.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { STEPS = 3, SETS = 3, CHAIN = 20 };

/* ---- the kernel on the fake GPU: reads what the map says ---- */

static float map_element(const FakeMap *m, int64_t row, int64_t column)
{
    return row < (int64_t)m->dims[1] ? *(const float *)(const void *)(m->base + row * (int64_t)m->strides[0] + column * 4) : 0;
}

static void host_vpair(void *const *p, const unsigned *grid, const unsigned *block)
{
    float *y = *(float *const *)p[0];
    const FakeMap *m = fake_cuda_map(p[2]);
    int64_t n = *(const int64_t *)p[1];
    if (m->type != 7 || m->swizzle != 3 || m->rank != 2 || m->box[0] != MAP_COLUMNS || m->box[1] != MAP_ROWS || block[0] != 256)
        abort();
    for (int64_t i = 0; i < n && i < (int64_t)grid[0] * 256; i++) {
        int64_t row = i / MAP_COLUMNS / (2 * MAP_ROWS) * 2 * MAP_ROWS + i / MAP_COLUMNS % MAP_ROWS;
        y[i] = 2 * map_element(m, row + MAP_ROWS, i % MAP_COLUMNS) + map_element(m, row, i % MAP_COLUMNS);
    }
}

void maps_install(void) { fake_cuda_kernel_with_maps("vpair", host_vpair, 2, 1, 2); }

static void need_sm90(void)
{
    if (cuda_device(0)->sm_major < 9)
        skip();
}

/* ---- cases ---- */

typedef struct { int64_t rows; float *x, *want; void *in[1], *out[1]; } Set;

static Set set_new(Gpu *g, int64_t rows, const char *name)
{
    int64_t n = rows * MAP_COLUMNS;
    Set s = {.rows = rows, .x = numbers(g, n, name), .want = numbers(g, n, "want")};
    map_on_host(s.x, s.want, rows, STEPS);
    s.in[0] = device_new(g, s.x, (size_t)n * 4);
    s.out[0] = device_new(g, NULL, (size_t)n * 4);
    return s;
}

static void set_free(Gpu *g, Set *s)
{
    executor_cuda.release(g->v, s->in[0]);
    executor_cuda.release(g->v, s->out[0]);
}

static void check_set(Gpu *g, const Set *s, void *stream)
{
    int64_t n = s->rows * MAP_COLUMNS;
    float *have = arena_new_array(g->cx->scratch, float, n);
    device_get(g, have, s->out[0], (size_t)n * 4, stream);
    expect_near(have, s->want, n, 0, "pairs of boxes");
}

/* Runs the sets in this order; so many maps are made. */
static void run_sets(Gpu *g, const Set *sets, const char *order, uint64_t encoded)
{
    uint64_t before = cuda_executor_stats(g->e).encoded;
    for (const char *c = order; *c; c++) {
        const Set *s = &sets[*c - 'A'];
        int64_t bytes = s->rows * MAP_COLUMNS * 4;
        void *zeros = calloc(1, (size_t)bytes);
        require(g, executor_cuda.upload(g->v, s->out[0], zeros, (size_t)bytes, NULL, g->cx->diags));
        free(zeros);
        run(g, s->in, s->out, &s->rows, NULL);
        check_set(g, s, NULL);
    }
    if (cuda_executor_stats(g->e).encoded != before + encoded)
        fail_msg("%s: %llu tensor maps were made, expected %llu", order, (unsigned long long)(cuda_executor_stats(g->e).encoded - before),
                 (unsigned long long)encoded);
}

/* Launched one by one, each as soon as its predecessor lets it; then as a graph, whose nodes are patched. */
void test_maps(void **state)
{
    Gpu *g = *state;
    need_sm90();
    for (int graph = 0; graph < 2; graph++) {
        open_plan(g, map_plan(g->cx, (MapPlan){.steps = STEPS, .waits = !graph}));
        Set sets[SETS] = {set_new(g, 40, "A"), set_new(g, 40, "B"), set_new(g, 1000, "C")};
        run_sets(g, sets, "A", 3);
        run_sets(g, sets, "AA", 0);
        run_sets(g, sets, "BAB", 3);                   /* x alone moves; the workspace stays */
        run_sets(g, sets, "C", 3);                     /* another shape has maps of its own, */
        run_sets(g, sets, "BCCB", 0);                  /* which are kept */
        run_sets(g, sets, "ACA", 1);
        ExecutorStats s = cuda_executor_stats(g->e);
        assert_true(graph ? s.graph_launches == s.runs && s.instantiated == 2 && s.launches == 0 : s.launches == STEPS * s.runs);
        assert_true(!graph || s.patched > 0);
        for (int i = 0; i < SETS; i++)
            set_free(g, &sets[i]);
    }
}

void test_maps_captured(void **state)
{
    Gpu *g = *state;
    const CudaDriver *cu = cuda_driver(NULL);
    CuStream s;
    CuGraph graph;
    CuExec exec;
    CudaScope scope;
    need_sm90();
    open_plan(g, map_plan(g->cx, (MapPlan){.steps = STEPS, .rows = 100}));
    Set sets[2] = {set_new(g, 100, "A"), set_new(g, 100, "B")};
    assert_true(cuda_enter(cu, cuda_context(0, g->cx->diags), &scope, g->cx->diags));
    assert_int_equal(cu->StreamCreate(&s, CU_STREAM_NONBLOCKING), 0);
    run(g, sets[0].in, sets[0].out, NULL, s);
    assert_int_equal(cu->StreamBeginCapture(s, CU_CAPTURE_RELAXED), 0);
    run(g, sets[1].in, sets[1].out, NULL, s);
    assert_int_equal(cu->StreamEndCapture(s, &graph), 0);
    run(g, sets[0].in, sets[0].out, NULL, s);          /* the captured call keeps its own maps */
    assert_int_equal(cu->GraphInstantiate(&exec, graph, 0), 0);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(cu->MemsetD8Async((CuPtr)(uintptr_t)sets[1].out[0], 0, 100 * MAP_COLUMNS * 4, s), 0);
        assert_int_equal(cu->GraphLaunch(exec, s), 0);
        check_set(g, &sets[1], s);
    }
    check_set(g, &sets[0], s);
    cu->GraphExecDestroy(exec);
    cu->GraphDestroy(graph);
    executor_cuda.close(g->e);
    g->e = NULL;
    cu->StreamDestroy(s);
    cuda_leave(&scope);
    for (int i = 0; i < 2; i++)
        set_free(g, &sets[i]);
}

void test_maps_refused(void **state)
{
    Gpu *g = *state;
    need_sm90();
    for (int graph = 0; graph < 2; graph++) {
        open_plan(g, map_plan(g->cx, (MapPlan){.steps = STEPS, .waits = !graph, .rows = 16}));
        Set s = set_new(g, 16, "A");
        void *odd = (char *)s.in[0] + 8;
        assert_false(executor_cuda.run(g->e, &odd, s.out, NULL, NULL, g->cx->diags));
        expect_text(g, "tensor map 0 of vpair (step 0): \"x\" lies at 0x");
        run(g, s.in, s.out, NULL, NULL);
        check_set(g, &s, NULL);
        assert_false(executor_cuda.run(g->e, &odd, s.out, NULL, NULL, g->cx->diags));
        expect_text(g, "tensor map 0 of vpair (step 0): \"x\" lies at 0x");
        run(g, s.in, s.out, NULL, NULL);
        check_set(g, &s, NULL);
        set_free(g, &s);
    }
    if (on_gpu)
        return;
    fake_cuda_kernel_with_maps("vpair", NULL, 2, 1, 4);                /* the kernel wants other clusters than the plan gives it */
    open_plan(g, map_plan(g->cx, (MapPlan){.steps = 1, .rows = 16}));
    Set s = set_new(g, 16, "A");
    assert_false(executor_cuda.run(g->e, s.in, s.out, NULL, NULL, g->cx->diags));
    expect_text(g, "launching vpair (step 0)");
    set_free(g, &s);
    maps_install();
}

/* ---- time ---- */

typedef struct { Gpu *g; void *in[2], *out[1]; bool turn; } Call;

static bool enqueue_call(void *arg, int i, void *stream)
{
    Call *c = arg;
    return executor_cuda.run(c->g->e, &c->in[c->turn ? i % 2 : 0], c->out, NULL, stream, c->g->cx->diags);
}

/* What a call costs the host where a map must be made for the input of every call. */
void test_maps_host_time(void **state)
{
    Gpu *g = *state;
    enum { ROWS = 64 };
    need_sm90();
    CudaTimer *t = cuda_timer_new(0, g->cx->diags);
    require(g, t != NULL);
    for (int graph = 0; graph < 2; graph++) {
        double us[2];
        open_plan(g, map_plan(g->cx, (MapPlan){.steps = STEPS, .waits = !graph, .rows = ROWS}));
        Set a = set_new(g, ROWS, "A"), b = set_new(g, ROWS, "B");
        Call c = {.g = g, .in = {a.in[0], b.in[0]}, .out = {a.out[0]}};
        for (int turn = 0; turn < 2; turn++) {
            c.turn = turn;
            require(g, cuda_time_host(t, enqueue_call, &c, 500, &us[turn], g->cx->diags));
        }
        print_message("  host time of one call, %s: %.2f us, %.2f us where its input moves\n", graph ? "a graph" : "three launches", us[0], us[1]);
        assert_true(!on_gpu || (us[0] <= 10 && us[1] <= 10));
        executor_cuda.close(g->e);                     /* its stream is the timer's */
        g->e = NULL;
        set_free(g, &a);
        set_free(g, &b);
    }
    cuda_timer_free(t);
}

void test_early_launches(void **state)
{
    Gpu *g = *state;
    enum { ROWS = 2000, N = ROWS * MAP_COLUMNS, CALLS = 20 };
    need_sm90();
    float *x = numbers(g, N, "x"), *want = numbers(g, N, "want"), *have = numbers(g, N, "have");
    CudaTimer *t = cuda_timer_new(0, g->cx->diags);
    require(g, t != NULL);
    map_on_host(x, want, ROWS, CHAIN);
    for (int waits = 0; waits < 2; waits++) {
        open_plan(g, map_plan(g->cx, (MapPlan){.steps = CHAIN, .waits = waits, .rows = ROWS}));
        Call c = {.g = g, .in = {device_new(g, x, N * 4)}, .out = {device_new(g, NULL, N * 4)}};
        double us[CALLS];
        require(g, cuda_time(t, (CudaTiming){.warmup = 3, .batch = 8}, enqueue_call, &c, CALLS, us, g->cx->diags));
        device_get(g, have, c.out[0], N * 4, cuda_timer_stream(t));
        expect_near(have, want, N, 0, "a chain");
        print_message("  a graph of %d small kernels, each after %s the one before: %.2f us a kernel\n", CHAIN, waits ? "a wait of its own for" : "the end of",
                      us[CALLS / 2] / CHAIN);
        assert_int_equal(cuda_executor_stats(g->e).instantiated, 1);
        executor_cuda.close(g->e);                     /* its stream is the timer's */
        g->e = NULL;
        executor_cuda.release(g->v, c.in[0]);
        executor_cuda.release(g->v, c.out[0]);
    }
    cuda_timer_free(t);
}
