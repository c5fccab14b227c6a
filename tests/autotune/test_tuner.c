/* Whole tasks through the tuner: with a fake measurer (what is asked, kept, repeated), and once for real on the CPU. */
#include "autotune/bench.h"
#include "autotune/candidates.h"
#include "autotune/tuner.h"
#include "codegen/emit/emit.h"
#include "tests/autotune/fake.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char *const task_text =
    "task: tiny\n"
    "dims: {B: [1, 64]}\n"
    "inputs:\n"
    "  x: bf16[B, 256]\n"
    "params:\n"
    "  g: bf16[256]\n"
    "  wq: bf16[128, 256] ~ normal(0, 0.06)\n"
    "  wk: bf16[64, 256] ~ normal(0, 0.06)\n"
    "graph: |\n"
    "  %h = rms_norm(%x, %g, eps=1e-6)\n"
    "  %q = linear(%h, %wq)\n"
    "  %k = linear(%h, %wk)\n"
    "  %s = silu(%q)\n"
    "outputs: [s, k]\n"
    "numerics: bf16\n"
    "workloads:\n"
    "  small: {B: 4}\n"
    "  large: {B: 64}\n";

typedef struct World {
    Context *cx;
    Task *task;
    const Workload *w[2];
    TuneOptions o;
    TuneReport r;
} World;

static int setup(void **state)
{
    Context *cx = context_new();
    World *x = arena_new_of(cx->arena, World);
    x->cx = cx;
    x->task = task_from_source(cx, source_from_text(cx->arena, "tiny.yaml", task_text));
    if (!x->task)
        diags_print(cx->diags, stderr, false);
    assert_non_null(x->task);
    x->w[0] = task_workload(x->task, "small");
    x->w[1] = task_workload(x->task, "large");
    assert_true(tune_device(cx, "cpu", false, &x->o.device));
    x->o.db = db_open_memory(cx);
    assert_true(machine_of(cx, &x->o.device, NULL, &x->o.compile.codegen.machine));
    x->o.compile.codegen.fuse = true;
    x->o.compile.passes.numerics = x->task->numerics;
    x->o.threads = 2;
    x->o.budget_seconds = 100;
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    World *x = *state;
    db_close(x->o.db);
    graph_free(x->task->graph);
    context_free(x->cx);
    return 0;
}

static bool tune(World *x)
{
    bool ok = tune_task(x->cx, x->task, x->w, 2, &x->o, &x->r);
    if (!ok)
        diags_print(x->cx->diags, stderr, false);
    return ok;
}

/* ---- a measurer that takes a plan's time from its schedule ------------------------------------ */

typedef struct { Measurer m; uint32_t sessions, plans, whole; const char *wrong; bool seams; } Oracle;
struct MeasureSession { Oracle *o; MeasureItem *items; uint32_t n; };

static double time_of(const Plan *p)
{
    double t = 0;
    for (uint32_t i = 0; i < p->kernels.n; i++)
        t += 1e-6 * (1 + (double)(hash_str(p->kernels.data[i].schedule) % 1000));
    return t;
}

/* Kernels that are all about as fast, some of which suit each other. */
static double time_with_seams(const Plan *p)
{
    double t = 0;
    uint64_t before = 0;
    for (uint32_t i = 0; i < p->kernels.n; i++) {
        uint64_t hash = hash_str(p->kernels.data[i].schedule);
        t += 5e-6 + 1e-8 * (double)(hash % 16) + (i && (hash + before) % 3 ? 3e-6 : 0);
        before = hash;
    }
    return t;
}

static MeasureSession *oracle_open(Measurer *m, MeasureItem *items, uint32_t n, const MeasureOptions *o)
{
    Oracle *k = m->arg;
    MeasureSession *s = arena_new_of(items[0].cx->arena, MeasureSession);
    *s = (MeasureSession){k, items, n};
    k->sessions++;
    for (uint32_t i = 0; i < n; i++) {
        k->plans += items[i].plan != NULL;
        k->whole += items[i].plan && items[i].plan->weights.n > 0;
    }
    assert_non_null(o->dists);
    return s;
}

static bool oracle_run(MeasureSession *s, const uint32_t *order, uint32_t n, double *seconds)
{
    for (uint32_t e = 0; e < n; e++)
        seconds[e] = (s->o->seams ? time_with_seams : time_of)(s->items[order[e]].plan);
    return true;
}

static bool oracle_check(MeasureSession *s, uint32_t item)
{
    const Plan *p = s->items[item].plan;
    if (!s->o->wrong || !p->kernels.n || !strstr(p->kernels.data[0].schedule, s->o->wrong))
        return true;
    s->items[item].outcome = "wrong result: oracle";
    return false;
}

static void oracle_close(MeasureSession *s) { (void)s; }

static Oracle oracle(void)
{
    return (Oracle){.m = {.name = "oracle", .open = oracle_open, .run = oracle_run, .check = oracle_check, .close = oracle_close}};
}

static void twice_with_a_fake(void **state)
{
    World *x = *state;
    Oracle k = oracle();
    k.m.arg = &k;
    x->o.measurer = &k.m;
    assert_true(tune(x));
    assert_true(x->r.groups.n >= 2);
    assert_int_equal(x->r.unfinished, 0);
    assert_int_equal(x->r.hits, 0);
    assert_true(k.plans > x->r.groups.n);
    vec_foreach(TunedGroup, g, &x->r.groups) {
        assert_non_null(g->schedule);
        assert_true(g->complete && !g->hit && g->us.value > 0);
        assert_true(g->us.value <= g->incumbent_us * 1.0001);
    }
    uint32_t groups = x->r.groups.n, choices = x->r.choices.n, sessions = k.sessions;
    TuneReport first = x->r;

    assert_true(tune(x));
    assert_int_equal(k.sessions, sessions);             /* nothing was measured, nothing touched */
    assert_int_equal(x->r.groups.n, groups);
    assert_int_equal(x->r.choices.n, choices);
    assert_int_equal(x->r.hits, groups + choices);
    assert_false(x->r.touched_device);
    for (uint32_t i = 0; i < groups; i++)
        assert_string_equal(x->r.groups.data[i].schedule, first.groups.data[i].schedule);

    /* what the database says is what the compiler does */
    Compiled c;
    CompileOptions o = x->o.compile;
    o.no_weights = o.codegen.no_code = true;
    o.codegen.schedules = db_schedules(x->cx, x->o.db, &x->o.device);
    assert_true(compile_workload(x->cx, x->task, x->w[1], &o, &c));
    for (uint32_t i = 0; i < c.groups->n; i++)
        assert_string_equal(c.groups->g[i]->schedule_from, "tuned");
    uint32_t n;
    PlanDecision *evidence;
    choices_from_db(x->cx, x->o.db, &x->o.device, c.with_choices, &n, &evidence);
    for (uint32_t i = 0; i < n; i++)
        assert_non_null(strstr(evidence[i].evidence, " us vs "));
    graph_free(c.graph);
    graph_free(c.with_choices);
    graph_free(c.resolved);
}

/* Schedules of a plan's groups are chosen once more together; compilations of that plan take them, and they are remembered. */
static void schedules_that_suit_each_other(void **state)
{
    World *x = *state;
    Oracle k = oracle();
    k.m.arg = &k;
    k.seams = true;
    x->o.measurer = &k.m;
    assert_true(tune(x));
    assert_int_equal(x->r.unfinished, 0);
    uint32_t better = 0, met = 0;
    for (uint32_t w = 0; w < 2; w++) {
        uint32_t n;
        uint64_t key;
        CompileOptions o = x->o.compile;
        Compiled c, look;
        o.no_weights = o.codegen.no_code = true;
        assert_true(compile_workload(x->cx, x->task, x->w[w], &o, &look));
        o.picks = choices_from_db(x->cx, x->o.db, &x->o.device, look.with_choices, &o.n_picks, NULL);
        o.codegen.schedules = db_schedules(x->cx, x->o.db, &x->o.device);
        assert_true(compile_workload(x->cx, x->task, x->w[w], &o, &c));
        const Group **g = together_groups(c.groups, x->cx->arena, &n);
        const char *text = together_text(g, n, x->cx->arena, &key), **schedules = arena_new_array(x->cx->arena, const char *, n);
        for (uint32_t i = 0; i < n; i++) {
            StrBuf b = strbuf_new(x->cx->arena);
            schedule_print(&b, &g[i]->schedule);
            schedules[i] = b.text;
        }
        vec_foreach(TunedGroup, t, &x->r.groups)
            if (!strcmp(t->text, text)) {
                assert_string_equal(t->schedule, together_join(schedules, n, x->cx->arena));
                assert_true(together_split(t->schedule, schedules, n, x->cx->arena));
                assert_false(together_split(t->schedule, schedules, n - 1, x->cx->arena));
                better += t->ratio.lo > 1.005;
                met++;
            }
        compiled_end(&c);
        compiled_end(&look);
    }
    assert_true(met > 0 && better > 0);
    uint32_t sessions = k.sessions;
    assert_true(tune(x));
    assert_int_equal(k.sessions, sessions);
}

static void wrong_candidates_never_win(void **state)
{
    World *x = *state;
    Oracle k = oracle();
    k.m.arg = &k;
    k.wrong = "vec=";
    x->o.measurer = &k.m;
    assert_true(tune(x));
    uint32_t wrong = 0;
    vec_foreach(TuneRejected, r, &x->r.rejected)
        wrong += !strcmp(r->why, "wrong result: oracle");
    assert_int_equal(wrong, x->r.wrong);
    vec_foreach(TuneRejected, r, &x->r.rejected)
        vec_foreach(TunedGroup, g, &x->r.groups)
            if (!strcmp(g->text, r->problem) && g->schedule)
                assert_string_not_equal(g->schedule, r->schedule);
}

/* An fp32 product without tensor cores is so much slower that its schedules are not tried; it is timed next to the other all the same. */
static void lost_alternatives_are_not_tuned(void **state)
{
    World *x = *state;
    const char *why;
    if (!nvrtc_available(&why))
        skip();
    Oracle k = oracle();
    k.m.arg = &k;
    x->o.measurer = &k.m;
    x->task = task_from_source(x->cx, source_from_text(x->cx->arena, "product.yaml",
                               "task: product\ninputs: {a: 'f32[2048, 2048]', b: 'f32[2048, 2048]'}\ngraph: |\n  %y = matmul(%a, %b)\n"
                               "outputs: [y]\nnumerics: fp32\nworkloads: {w: {}}\n"));
    assert_non_null(x->task);
    x->w[0] = task_workload(x->task, "w");
    assert_true(tune_device_named(x->cx, NULL, "sm_90a", &x->o.device));
    assert_true(machine_cuda(x->cx, "sm_90a", &x->o.compile.codegen.machine));
    x->o.compile.passes.numerics = x->task->numerics;
    x->o.compile.passes.f16_products = true;
    x->o.max_candidates = 1;
    if (!tune_task(x->cx, x->task, x->w, 1, &x->o, &x->r))
        diags_print(x->cx->diags, stderr, false);
    uint32_t products = 0;
    vec_foreach(TunedGroup, g, &x->r.groups) {
        assert_null(strstr(g->text, " = matmul("));
        products += strstr(g->text, " = split_matmul(") != NULL;
    }
    assert_int_equal(products, 1);
    assert_int_equal(x->r.choices.n, 1);
    assert_true(x->r.choices.data[0].complete && x->r.choices.data[0].us[0] > 0 && x->r.choices.data[0].us[1] > 0);
}

static void stopped_before_it_began(void **state)
{
    World *x = *state;
    Oracle k = oracle();
    volatile sig_atomic_t stop = 1;
    k.m.arg = &k;
    x->o.measurer = &k.m;
    x->o.stop = &stop;
    assert_false(tune_task(x->cx, x->task, x->w, 2, &x->o, &x->r));
    assert_int_equal(diags_exit_code(x->cx->diags), PAWL_EXIT_STOPPED);
    assert_true(x->r.stopped);
    assert_int_equal(k.sessions, 0);
}

static uint32_t calls;
static void progress(void *arg, const TuneProgress *p)
{
    calls++;
    assert_true(p->done <= p->total && p->budget == 100);
    assert_true(p->what && *p->what && !strchr(p->what, '\n'));
    assert_ptr_equal(arg, &calls);
}

static void progress_is_told(void **state)
{
    World *x = *state;
    Oracle k = oracle();
    k.m.arg = &k;
    x->o.measurer = &k.m;
    x->o.progress = progress;
    x->o.progress_arg = &calls;
    calls = 0;
    assert_true(tune(x));
    assert_true(calls > x->r.groups.n);
}

static void for_real_on_the_cpu(void **state)
{
    World *x = *state;
    x->o.budget_seconds = 60;
    x->w[1] = x->w[0];
    assert_true(tune(x));
    assert_true(x->r.touched_device);
    assert_int_equal(x->r.wrong, 0);
    vec_foreach(TuneRejected, r, &x->r.rejected)
        print_message("rejected: %s: %s\n", r->schedule, r->why);
    vec_foreach(TunedGroup, g, &x->r.groups) {
        assert_non_null(g->schedule);
        assert_true(g->us.lo > 0 && g->us.lo <= g->us.hi);
        print_message("%-50s %8.2f us, default %8.2f us, %.2fx [%.2f, %.2f], %u tried\n", g->schedule, g->us.value,
                      g->incumbent_us, g->ratio.value, g->ratio.lo, g->ratio.hi, g->tried);
    }
    vec_foreach(TunedChoice, c, &x->r.choices)
        print_message("%s: %s\n", c->choice, c->evidence);
    assert_int_equal(x->r.unfinished, 0);
    assert_true(tune(x));
    assert_false(x->r.touched_device);

    BenchRow *row;
    BenchOptions b = {.compile = x->o.compile, .device = x->o.device, .db = x->o.db, .unfused = true};
    assert_true(bench_task(x->cx, x->task, x->w, 1, &b, &row));
    assert_null(row->failed);
    print_message("%s %s: %.2f us [%.2f, %.2f], %u launches; unfused %.2f us, %u launches; floor %.2f us\n", row->task,
                  row->workload, row->us.value, row->us.lo, row->us.hi, row->launches, row->unfused_us.value,
                  row->unfused_launches, row->floor.seconds * 1e6);
    assert_true(row->us.value > 0 && row->samples >= 5 && row->tuned_groups == row->groups);
}

static void cpu_ceilings(void **state)
{
    World *x = *state;
    Machine m, again;
    assert_true(machine_measured(x->cx, &x->o.device, x->o.db, false, &m));
    assert_true(m.measured);
    assert_true(m.copy_bandwidth > 1e8 && m.copy_bandwidth < 1e13);
    assert_true(m.flops_fma > 1e8 && m.flops_fma < 1e15);
    assert_true(m.launch_seconds > 0 && m.launch_seconds < 0.1);
    assert_true(machine_of(x->cx, &x->o.device, x->o.db, &again));
    assert_true(again.measured && again.copy_bandwidth == m.copy_bandwidth);
}

static void floors(void **state)
{
    World *x = *state;
    Machine m = x->o.compile.codegen.machine;
    Graph *g = graph_specialise(x->task->graph, x->w[0]->values, x->w[0]->n);
    m.copy_bandwidth = 1e9;
    m.flops_fma = m.flops_bf16 = m.flops_tf32 = 1e12;
    Floor f = graph_floor(g, &m, &x->task->numerics);
    assert_true(f.matmul_flops == 2.0 * 4 * 256 * (128 + 64));
    assert_true(f.bytes == 2.0 * (4 * 256 + 256 + 192 * 256 + 4 * 192));
    assert_string_equal(f.bound, "bytes");
    graph_free(g);
    assert_true(fabs(f.seconds - f.bytes / 1e9) < 1e-12);
}

static void devices(void **state)
{
    World *x = *state;
    TuneDevice d;
    assert_true(tune_device(x->cx, NULL, true, &d));
    assert_non_null(strstr(d.environment, "emitter="));
    assert_false(tune_device(x->cx, "gpu", true, &d));
    assert_int_equal(diags_exit_code(x->cx->diags), PAWL_EXIT_INVALID);
    diags_clear(x->cx->diags);
    assert_false(tune_device(x->cx, "cuda:1000", true, &d));
    assert_int_equal(diags_exit_code(x->cx->diags), PAWL_EXIT_DEVICE);
    diags_clear(x->cx->diags);
    assert_true(tune_device_named(x->cx, NULL, "sm_90a", &d));
    assert_true(d.ordinal == -1 && !strcmp(d.name, "NVIDIA H200"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(twice_with_a_fake), TEST(schedules_that_suit_each_other), TEST(wrong_candidates_never_win), TEST(lost_alternatives_are_not_tuned),
        TEST(stopped_before_it_began),
        TEST(progress_is_told), TEST(for_real_on_the_cpu), TEST(cpu_ceilings), TEST(floors), TEST(devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
