/* tests/runtime/cuda_fixture.c — see cuda_fixture.h. */
#include "tests/runtime/cuda_fixture.h"
#include "tests/runtime/fake_cuda.h"
#include "tests/runtime/support.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

bool on_gpu;

int gpu_setup(void **state)
{
    Gpu *g = calloc(1, sizeof *g);
    g->cx = context_new();
    *state = g;
    return 0;
}

int gpu_teardown(void **state)
{
    Gpu *g = *state;
    executor_cuda.close(g->e);
    executor_cuda.device_close(g->v);
    context_free(g->cx);
    free(g);
    if (!on_gpu && (fake_cuda_allocations || fake_cuda_used)) {
        print_error("%d allocations of %zu bytes are left\n", fake_cuda_allocations, fake_cuda_used);
        return -1;
    }
    return 0;
}

void require(Gpu *g, bool good)
{
    if (!good)
        fail_msg("%s", diags_text(g->cx));
}

bool try_plan(Gpu *g, Plan *p)
{
    pawl_session_options o = {.size = sizeof o, .device = "cuda"};
    require(g, plan_verify(p, g->cx->diags));
    if (!g->v)
        require(g, (g->v = executor_cuda.device_open(g->cx, &o)) != NULL);
    executor_cuda.close(g->e);
    g->e = executor_cuda.open_on(g->v, g->cx, p);
    return g->e != NULL;
}

void open_plan(Gpu *g, Plan *p)
{
    require(g, try_plan(g, p));
}

void *device_new(Gpu *g, const void *host, size_t bytes)
{
    void *p = executor_cuda.alloc(g->v, bytes, g->cx->diags);
    require(g, p && (!host || executor_cuda.upload(g->v, p, host, bytes, NULL, g->cx->diags)));
    return p;
}

void device_get(Gpu *g, void *host, const void *p, size_t bytes, void *stream)
{
    require(g, executor_cuda.download(g->v, host, p, bytes, stream, g->cx->diags));
}

void run(Gpu *g, void *const *in, void *const *out, const int64_t *symbols, void *stream)
{
    require(g, executor_cuda.run(g->e, in, out, symbols, stream, g->cx->diags));
}

float *numbers(Gpu *g, int64_t n, const char *name)
{
    float *x = arena_new_array(g->cx->arena, float, n + 1);
    philox_fill(DT_F32, x, 0, n, philox_key(7, name), (Dist){DIST_NORMAL, 0, 1});
    return x;
}

void expect_near(const float *have, const float *want, int64_t n, float tolerance, const char *what)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabsf(have[i] - want[i]) <= tolerance * (1 + fabsf(want[i]))))
            fail_msg("%s: element %lld is %g, expected %g", what, (long long)i, (double)have[i], (double)want[i]);
}

void expect_text(Gpu *g, const char *part)
{
    char *text = diags_text(g->cx);
    if (!strstr(text, part))
        fail_msg("expected \"%s\" in: %s", part, text);
}
