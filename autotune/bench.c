/* autotune/bench.c — whole workloads timed: fused beside unfused, against the floor. */
#include "autotune/bench.h"
#include "autotune/tuner.h"
#include "autotune/tuner_internal.h"
#include "autotune/candidates.h"
#include "base/file.h"
#include <math.h>
#include <string.h>

/* Compiles with what the database knows: first without code, to see which choices there are. */
static bool compile_tuned(Context *cx, Task *t, const Workload *w, const BenchOptions *o, Compiled *out)
{
    CompileOptions c = o->compile;
    ChoicePick *picks = NULL;
    uint32_t n = 0;

    if (o->db) {
        Compiled look;
        CompileOptions quiet = c;
        quiet.no_weights = quiet.codegen.no_code = true;
        bool looked = compile_workload(cx, t, w, &quiet, &look);
        if (looked)
            picks = choices_from_db(cx, o->db, &o->device, look.with_choices, &n, NULL);
        compiled_end(&look);
        if (!looked)
            return false;
        c.codegen.schedules = db_schedules(cx, o->db, &o->device);
    }
    ChoicePick *all = arena_new_array(cx->arena, ChoicePick, n + c.n_picks + 1);
    memcpy(all, c.picks ? c.picks : all, sizeof *all * c.n_picks);       /* the user's first: they win */
    for (uint32_t i = 0, k = c.n_picks; i < n; i++) {
        bool given = false;
        for (uint32_t j = 0; j < o->compile.n_picks; j++)
            given |= !strcmp(c.picks[j].id, picks[i].id);
        if (!given) {
            all[k++] = picks[i];
            c.n_picks = k;
        }
    }
    c.picks = all;
    return compile_workload(cx, t, w, &c, out);
}

static uint32_t launches_of(const Plan *p)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->steps.n; i++)
        n += p->steps.data[i].kind == STEP_LAUNCH || p->steps.data[i].kind == STEP_MATMUL;
    return n;
}

static Interval scaled(Interval i) { return (Interval){i.value * 1e6, i.lo * 1e6, i.hi * 1e6}; }

/* Interleaved blocks until there are enough or time is up (five at least), after those that only warm up. */
static bool collect(Measurer *m, MeasureSession *s, MeasureItem *items, uint32_t n, const BenchOptions *o, Arena *a,
                    Samples *samples)
{
    const uint32_t which[2] = {0, 1};
    Samples ignored[2] = {0};
    uint64_t random = o->seed + 1;
    if (o->warmup && !measure_blocks(m, s, items, which, n, o->warmup, false, &random, ignored, a))
        return false;

    double end = clock_seconds() + (o->max_seconds > 0 ? o->max_seconds : 5);
    uint32_t want = o->pairs ? o->pairs : 30;

    for (uint32_t b = 0; b < want && (b < 5 || clock_seconds() < end); b++) {
        if (items[0].outcome)
            break;
        if (!measure_blocks(m, s, items, which, n > 1 && items[1].outcome ? 1 : n, 1, b == 0 && n > 1, &random,
                            samples, a))
            return false;
    }
    return true;
}

static bool fill_row(Context *cx, BenchRow *r, Measurer *m, MeasureItem *items, uint32_t n, const MeasureOptions *mo,
                     const BenchOptions *o)
{
    Samples samples[2] = {0};
    MeasureSession *s = m->open(m, items, n, mo);
    if (!s)
        return false;
    bool ok = collect(m, s, items, n, o, cx->arena, samples);
    m->close(s);
    r->failed = items[0].outcome;
    if (!ok || r->failed)
        return ok;

    const Samples *x = &samples[0], *y = &samples[1];
    r->us = scaled(stats_median_interval(x->x, x->n, 0, o->seed));
    r->p10_us = 1e6 * stats_quantile(x->x, x->n, 0.1);
    r->p90_us = 1e6 * stats_quantile(x->x, x->n, 0.9);
    r->samples = x->n;
    r->samples_us = arena_new_array(cx->arena, double, x->n);
    for (uint32_t i = 0; i < x->n; i++)
        r->samples_us[i] = 1e6 * x->x[i];
    r->unfused_us = r->speedup = (Interval){NAN, NAN, NAN};
    if (n > 1 && items[1].outcome)
        r->failed = arena_printf(cx->arena, "unfused: %s", items[1].outcome);
    else if (n > 1) {
        uint32_t pairs = x->n < y->n ? x->n : y->n;
        r->unfused_us = scaled(stats_median_interval(y->x, y->n, 0, o->seed));
        r->speedup = stats_ratio_interval(y->x, x->x, pairs, 0, o->seed);
    }
    r->ratio_to_floor = r->us.value / (r->floor.seconds * 1e6);
    r->bytes_second = r->floor.bytes / (r->us.value * 1e-6);
    r->flops_second = (r->floor.matmul_flops + r->floor.other_flops) / (r->us.value * 1e-6);
    return true;
}

static bool bench_compiled(Context *cx, Task *t, const Workload *w, const BenchOptions *o, Measurer *m, Compiled *fused,
                           Compiled *plain, BenchRow *r)
{
    MeasureItem items[2] = {{.cx = cx}, {.cx = cx}};
    uint32_t n = o->unfused ? 2 : 1;
    CompileOptions apart = o->compile;

    if (!compile_tuned(cx, t, w, o, fused))
        return false;
    items[0].plan = fused->plan;
    r->launches = launches_of(fused->plan);
    r->groups = fused->groups->n;
    for (uint32_t i = 0; i < fused->groups->n; i++)
        r->tuned_groups += !strcmp(fused->groups->g[i]->schedule_from, "tuned");
    r->floor = graph_floor(fused->resolved, &o->compile.codegen.machine, &t->numerics);
    if (o->unfused) {
        apart.codegen.fuse = false;
        apart.codegen.schedules = (ScheduleSource){0};
        if (!compile_workload(cx, t, w, &apart, plain))
            return false;
        items[1].plan = plain->plan;
        r->unfused_launches = launches_of(plain->plan);
    }
    MeasureOptions mo = {.numerics = t->numerics, .seed = o->seed, .check = true,
                         .dists = graph_dists(fused->graph, cx->arena)};
    return fill_row(cx, r, m, items, n, &mo, o);
}

static bool bench_workload(Context *cx, Task *t, const Workload *w, const BenchOptions *o, Measurer *m, BenchRow *r)
{
    Compiled fused = {0}, plain = {0};

    *r = (BenchRow){.task = t->name, .workload = w ? w->name : "generic", .device = o->device.name};
    bool ok = bench_compiled(cx, t, w, o, m, &fused, &plain, r);
    compiled_end(&fused);
    compiled_end(&plain);
    return ok;
}

bool bench_task(Context *cx, Task *t, const Workload *const *workloads, uint32_t n, const BenchOptions *o, BenchRow **rows)
{
    Measurer *m = o->measurer ? o->measurer : measurer_new(&o->device);
    bool ok = true;

    *rows = arena_new_array(cx->arena, BenchRow, n + 1);
    for (uint32_t i = 0; i < n && ok; i++)
        ok = bench_workload(cx, t, workloads[i], o, m, &(*rows)[i]);
    if (!o->measurer)
        measurer_free(m);
    return ok;
}
