/* Tuning on a GPU: ceilings, honest times, a whole task, and that the second time nothing is touched. */
#include "autotune/bench.h"
#include "autotune/ceilings.h"
#include "autotune/tuner.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const char *const task_text =
    "task: block\n"
    "dims: {B: [1, 65536]}\n"
    "inputs:\n"
    "  x: bf16[B, 2048]\n"
    "  r: bf16[B, 2048]\n"
    "params:\n"
    "  g: bf16[2048]\n"
    "  wq: bf16[1024, 2048] ~ normal(0, 0.02)\n"
    "  wk: bf16[512, 2048] ~ normal(0, 0.02)\n"
    "graph: |\n"
    "  %s = add(%x, %r)\n"
    "  %h = rms_norm(%s, %g, eps=1e-6)\n"
    "  %q = linear(%h, %wq)\n"
    "  %k = linear(%h, %wk)\n"
    "  %a = silu(%q)\n"
    "outputs: [s, a, k]\n"
    "numerics: bf16\n"
    "workloads:\n"
    "  decode: {B: 8}\n"
    "  prefill: {B: 2048}\n";

static const char *const copy_text =
    "task: large\n"
    "inputs:\n"
    "  x: bf16[16384, 4096]\n"
    "graph: |\n"
    "  %y = neg(%x)\n"
    "outputs: [y]\n"
    "numerics: bf16\n"
    "workloads:\n"
    "  one: {}\n";

typedef struct World {
    Context *cx;
    TuneDevice device;
    Db *db;
    CompileOptions compile;
} World;

static int setup(void **state)
{
    Context *cx = context_new();
    World *x = arena_new_of(cx->arena, World);
    x->cx = cx;
    assert_true(tune_device(cx, "cuda", true, &x->device));
    x->db = db_open_memory(cx);
    bool ok = machine_measured(cx, &x->device, x->db, false, &x->compile.codegen.machine);
    if (!ok)
        diags_print(cx->diags, stderr, false);
    assert_true(ok);
    x->compile.codegen.fuse = true;
    x->compile.codegen.use_library = x->compile.codegen.machine.has_library;
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    World *x = *state;
    db_close(x->db);
    context_free(x->cx);
    return 0;
}

static Task *task_of(World *x, const char *text)
{
    Task *t = task_from_source(x->cx, source_from_text(x->cx->arena, "test.yaml", text));
    if (!t)
        diags_print(x->cx->diags, stderr, false);
    assert_non_null(t);
    return t;
}

static void ceilings(void **state)
{
    World *x = *state;
    const Machine *m = &x->compile.codegen.machine;
    print_message("%s: copy %.2f TB/s, fma %.1f, bf16 %.0f, tf32 %.0f TFLOP/s, launch %.2f us\n", m->name,
                  m->copy_bandwidth * 1e-12, m->flops_fma * 1e-12, m->flops_bf16 * 1e-12, m->flops_tf32 * 1e-12,
                  m->launch_seconds * 1e6);
    assert_true(m->measured);
    assert_true(m->copy_bandwidth > 1e11 && m->copy_bandwidth < 1e14);
    assert_true(m->flops_fma > 1e12 && m->flops_fma < 1e15);
    assert_true(m->launch_seconds > 1e-7 && m->launch_seconds < 1e-4);
}

/* A kernel that only moves bytes: no faster than light, and not far from it. */
static void honest_times(void **state)
{
    World *x = *state;
    Task *t = task_of(x, copy_text);
    const Workload *w = &t->workloads[0];
    BenchRow *row;
    BenchOptions b = {.compile = x->compile, .device = x->device, .db = x->db};
    bool ok = bench_task(x->cx, t, &w, 1, &b, &row);
    if (!ok)
        diags_print(x->cx->diags, stderr, false);
    assert_true(ok);
    assert_null(row->failed);
    print_message("neg of 128 MB: %.1f us [%.1f, %.1f], floor %.1f us, %.2f TB/s\n", row->us.value, row->us.lo,
                  row->us.hi, row->floor.seconds * 1e6, row->bytes_second * 1e-12);
    assert_true(row->ratio_to_floor > 0.95 && row->ratio_to_floor < 3);
    graph_free(t->graph);
}

static void twice(void **state)
{
    World *x = *state;
    Task *t = task_of(x, task_text);
    const Workload *w[2] = {&t->workloads[0], &t->workloads[1]};
    TuneReport r;
    TuneOptions o = {.compile = x->compile, .device = x->device, .db = x->db, .budget_seconds = 30};
    bool ok = tune_task(x->cx, t, w, 2, &o, &r);
    if (!ok)
        diags_print(x->cx->diags, stderr, false);
    assert_true(ok);
    vec_foreach(TuneRejected, q, &r.rejected)
        print_message("rejected: %s: %s: %s\n", q->workload, q->schedule, q->why);
    vec_foreach(TunedGroup, g, &r.groups)
        print_message("%-8s %-50s %8.2f us, default %8.2f us, %.2fx [%.2f, %.2f], %u tried, %u rejected\n", g->workload,
                      g->schedule ? g->schedule : "-", g->us.value, g->incumbent_us, g->ratio.value, g->ratio.lo,
                      g->ratio.hi, g->tried, g->rejected);
    vec_foreach(TunedChoice, c, &r.choices)
        print_message("%s %s: %s\n", c->workload, c->choice, c->evidence ? c->evidence : "-");
    print_message("%u tuned, %u left, %.1f s: compiling %.1f, measuring %.1f\n", r.tuned, r.unfinished, r.seconds,
                  r.seconds_compile, r.seconds_measure);
    assert_int_equal(r.wrong, 0);
    assert_int_equal(r.unfinished, 0);
    assert_true(r.touched_device);
    assert_true(tune_task(x->cx, t, w, 2, &o, &r));
    assert_false(r.touched_device);

    BenchRow *rows;
    BenchOptions b = {.compile = x->compile, .device = x->device, .db = x->db, .unfused = true};
    assert_true(bench_task(x->cx, t, w, 2, &b, &rows));
    for (int i = 0; i < 2; i++)
        print_message("%s: %.2f us [%.2f, %.2f], unfused %.2f us, %.2fx, floor %.2f us%s%s\n", rows[i].workload,
                      rows[i].us.value, rows[i].us.lo, rows[i].us.hi, rows[i].unfused_us.value,
                      rows[i].speedup.value, rows[i].floor.seconds * 1e6, rows[i].failed ? ", " : "",
                      rows[i].failed ? rows[i].failed : "");
    assert_null(rows[0].failed);
    assert_null(rows[1].failed);
    graph_free(t->graph);
}

int main(void)
{
    Context *cx = context_new();
    TuneDevice d;
    if (!tune_device(cx, "cuda", true, &d)) {
        char *why = diag_format(cx->arena, diags_at(cx->diags, 0));
        printf("SKIP: %s\n", why);
        context_free(cx);
        return 77;
    }
    context_free(cx);
    const struct CMUnitTest tests[] = {cmocka_unit_test(ceilings), cmocka_unit_test(honest_times),
                                       cmocka_unit_test(twice)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
