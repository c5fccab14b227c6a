/* A measurer without a device; see fake.h. */
#include "tests/autotune/fake.h"
#include <math.h>

static double now;

double fake_clock(void) { return now; }
void fake_clock_set(double t) { now = t; }

struct MeasureSession {
    Fake *fake;
    MeasureItem *items;
    uint32_t n;
    Context *cx;
    bool check;
};

static Fake *fake_of(Measurer *m) { return (Fake *)m->arg; }
static uint32_t number(const MeasureSession *s, uint32_t item)
{
    return (uint32_t)(s->items[item].plan - s->fake->plans);
}

static MeasureSession *open_session(Measurer *m, MeasureItem *items, uint32_t n, const MeasureOptions *o)
{
    Fake *f = fake_of(m);
    MeasureSession *s = arena_new_of(items[0].cx->arena, MeasureSession);

    *s = (MeasureSession){f, items, n, items[0].cx, o->check};
    f->opened++;
    if (f->dead) {
        diag_error(s->cx->diags, PAWL_EXIT_DEVICE, LOC_NONE, NULL, "the device is gone");
        return NULL;
    }
    for (uint32_t i = 0; i < n; i++)
        if (items[i].plan && f->kills[number(s, i)]) {
            items[i].outcome = DEVICE_FAILED ": fake";
            diag_error(s->cx->diags, PAWL_EXIT_DEVICE, LOC_NONE, NULL, "%s", items[i].outcome);
            return NULL;
        }
    for (uint32_t i = 0; i < n; i++)
        if (items[i].plan && f->fails[number(s, i)])
            items[i].outcome = "launch failed: fake";
    return s;
}

static bool run(MeasureSession *s, const uint32_t *order, uint32_t n, double *seconds)
{
    Fake *f = s->fake;

    for (uint32_t e = 0; e < n; e++) {
        double u = (double)(stats_random(&f->random) >> 11) * 0x1p-53;
        seconds[e] = f->seconds[number(s, order[e])] * (1 + f->noise * (u - 0.5));
        now += seconds[e];
        f->samples++;
        if (f->stop_after && f->samples >= f->stop_after)
            f->stop = 1;
    }
    return !f->dead;
}

static bool check(MeasureSession *s, uint32_t item)
{
    s->fake->checked++;
    if (!s->fake->wrong[number(s, item)])
        return true;
    s->items[item].outcome = "wrong result: fake";
    return false;
}

static void close_session(MeasureSession *s) { (void)s; }

Fake *fake_new(Arena *a, uint64_t seed)
{
    Fake *f = arena_new_of(a, Fake);
    f->measurer = (Measurer){.name = "fake", .open = open_session, .run = run, .check = check, .close = close_session, .arg = f};
    f->random = seed;
    return f;
}
