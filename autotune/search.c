/* autotune/search.c — successive halving (Jamieson, Talwalkar 2016) over interleaved blocks. Survivors were together in every
 * block, so their samples pair by number. */
#include "autotune/search.h"
#include "base/file.h"
#include <math.h>
#include <string.h>

/* A challenger's lower bound must be above this to displace what stands before it. A little more than 1: the fastest of several
 * equals looks faster than it is. */
#define MARGIN 1.005

typedef struct Contest {
    Measurer *m;
    MeasureSession *session;
    SearchCandidate *c;
    MeasureItem *items;
    uint32_t n;
    uint32_t *alive, n_alive;       /* in the model's order; the incumbent is always alive */
    uint32_t blocks;                /* timed so far */
    const SearchOptions *o;
    double (*clock)(void);
    uint64_t random;
    Arena *arena;
    Samples *samples;
} Contest;

/* Blocks of a round, and what survives it: a share of the field, and nobody slower than `slack` times the best. What takes long is
 * disturbed little, and dear: one block shows who is hopeless. */
typedef struct { uint32_t blocks; double share, slack; } Round;
enum { ROUNDS = 4 };
static const Round short_rounds[ROUNDS] = {{2, 1.0, 3.0}, {2, 0.6, 1.6}, {4, 0.5, 1.25}, {6, 0.5, 1.12}};
static const Round long_rounds[ROUNDS] = {{1, 1.0, 1.3}, {1, 0.6, 1.15}, {2, 0.5, 1.08}, {4, 0.5, 1.05}};
#define LONG_SECONDS 0.5e-3

static bool interrupted(const Contest *k) { return k->o->stop && *k->o->stop; }
static bool late(const Contest *k) { return k->clock() >= k->o->deadline; }

static void drop_failed(Contest *k)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < k->n_alive; i++) {
        SearchCandidate *c = &k->c[k->alive[i]];
        if (k->items[k->alive[i]].outcome)
            c->rejected = k->items[k->alive[i]].outcome;
        else
            k->alive[kept++] = k->alive[i];
    }
    k->n_alive = kept;
}

static void take_medians(Contest *k)
{
    for (uint32_t i = 0; i < k->n_alive; i++) {
        SearchCandidate *c = &k->c[k->alive[i]];
        c->samples = k->samples[k->alive[i]];
        c->seconds = stats_median(c->samples.x, c->samples.n);
    }
}

static uint32_t fastest(const Contest *k)
{
    uint32_t best = k->alive[0];
    for (uint32_t i = 1; i < k->n_alive; i++)
        if (k->c[k->alive[i]].seconds < k->c[best].seconds)
            best = k->alive[i];
    return best;
}

/* One block at a time, so that a deadline or an interrupt is noticed. False: the device failed. */
static bool time_blocks(Contest *k, uint32_t blocks, bool check)
{
    for (uint32_t b = 0; b < blocks && k->n_alive > 0; b++) {
        if (k->blocks > 0 && (interrupted(k) || late(k)))
            return true;
        if (!measure_blocks(k->m, k->session, k->items, k->alive, k->n_alive, 1,
                            check && (b == 0 || stats_random(&k->random) % 10 == 0), &k->random,
                            k->samples, k->arena))
            return false;
        k->blocks++;
        take_medians(k);
        drop_failed(k);
    }
    if (k->o->progress && k->n_alive > 0) {
        uint32_t best = fastest(k);
        k->o->progress(k->o->progress_arg, k->c[best].what, k->c[best].seconds, k->c[0].seconds);
    }
    return true;
}

/* Of a few samples the least: one that was disturbed must not put a candidate out. */
static double early_score(const SearchCandidate *c)
{
    return c->samples.n < 5 ? stats_quantile(c->samples.x, c->samples.n, 0) : c->seconds;
}

static uint32_t wanted_pairs(const Contest *k)
{
    if (k->o->min_pairs)
        return k->o->min_pairs > k->blocks ? k->o->min_pairs : k->blocks;
    double seconds = k->c[fastest(k)].seconds;
    uint32_t want = seconds > 0.030 ? 10 : seconds > 4 * LONG_SECONDS ? 16 : 30;
    return want > k->blocks ? want : k->blocks;
}

static bool takes_long(const Contest *k) { return k->c[fastest(k)].seconds > LONG_SECONDS; }

/* Keeps the incumbent, and of the others the best `share` that are within `slack` of the best, and all that may be as good as the
 * best: which of several equals survives must not be chance. */
static void halve(Contest *k, double share, double slack)
{
    double best = INFINITY, tie = 1 + fmax(0.02, (takes_long(k) ? 0.05 : 0.1) / sqrt(k->blocks));
    uint32_t room = (uint32_t)ceil(share * k->n_alive), kept = 0;
    double *sorted = arena_new_array(k->arena, double, k->n_alive);

    if (k->o->keep_all)
        return;
    for (uint32_t i = 0; i < k->n_alive; i++) {
        sorted[i] = early_score(&k->c[k->alive[i]]);
        best = fmin(best, sorted[i]);
    }
    if (room < 2)
        room = 2;
    double worst = stats_quantile(sorted, k->n_alive,
                                  room >= k->n_alive ? 1 : (room - 1.0) / (k->n_alive - 1.0));
    for (uint32_t i = 0; i < k->n_alive; i++) {
        double s = early_score(&k->c[k->alive[i]]);
        if (k->alive[i] == 0 || (s <= worst && s <= slack * best) || s <= tie * best)
            k->alive[kept++] = k->alive[i];
    }
    k->n_alive = kept;
}

/* Is a slower than b beyond doubt? A handful of pairs gives no interval: then all of them must agree clearly. */
static bool beaten(const Contest *k, uint32_t a, uint32_t b)
{
    const Samples *x = &k->c[a].samples, *y = &k->c[b].samples;
    uint32_t n = x->n < y->n ? x->n : y->n;

    if (n < 6) {
        for (uint32_t i = 0; i < n; i++)
            if (x->x[i] < 1.1 * y->x[i])
                return false;
        return n >= 2;
    }
    Interval r = stats_ratio_interval(x->x, y->x, n, 400, k->o->seed + a);
    return r.lo > MARGIN;
}

static uint32_t first_unbeaten(const Contest *k, uint32_t best)
{
    for (uint32_t i = 0; i < k->n_alive; i++)
        if (k->alive[i] == best || !beaten(k, k->alive[i], best))
            return k->alive[i];
    return best;
}

/* False: the device failed. *complete says whether all rounds were played. */
static bool play(Contest *k, bool *complete)
{
    for (int r = 0; r < ROUNDS; r++) {
        if (r == 0 && !time_blocks(k, 1, k->o->measure.check))
            return false;
        if (k->n_alive == 0 || k->alive[0] != 0)
            return true;
        const Round *round = takes_long(k) ? &long_rounds[r] : &short_rounds[r];
        uint32_t blocks = round->blocks - (r == 0), left = wanted_pairs(k) - k->blocks;
        if (!time_blocks(k, blocks < left ? blocks : left, k->o->measure.check && r > 0))
            return false;
        if (k->n_alive == 0 || k->alive[0] != 0)
            return true;               /* the incumbent itself failed */
        if (interrupted(k) || late(k))
            return true;
        halve(k, round->share, round->slack);
    }
    uint32_t want = wanted_pairs(k);
    if (k->n_alive > 1 && k->blocks < want && !time_blocks(k, want - k->blocks, k->o->measure.check))
        return false;
    *complete = k->n_alive == 1 || k->blocks >= want;
    return true;
}

static void count(Contest *k, SearchResult *out)
{
    for (uint32_t i = 0; i < k->n; i++) {
        out->tried += k->c[i].samples.n > 0;
        if (k->c[i].rejected && !strcmp(k->c[i].rejected, NOT_REACHED))
            out->complete = false;
        out->rejected += k->c[i].rejected != NULL;
        out->wrong += k->c[i].rejected && !strncmp(k->c[i].rejected, "wrong result", 12);
    }
}

static void judge(Contest *k, SearchResult *out)
{
    const SearchCandidate *first = &k->c[0], *c;

    out->fastest = fastest(k);
    out->winner = first_unbeaten(k, out->fastest);
    c = &k->c[out->winner];
    out->seconds = stats_median_interval(c->samples.x, c->samples.n, 400, k->o->seed);
    uint32_t pairs = c->samples.n < first->samples.n ? c->samples.n : first->samples.n;
    out->ratio = out->winner == 0
                     ? (Interval){1, 1, 1}
                     : stats_ratio_interval(first->samples.x, c->samples.x, pairs, 1000, k->o->seed);
}

bool search_run(Measurer *m, SearchCandidate *candidates, uint32_t n, const SearchOptions *o, Arena *a,
                SearchResult *out)
{
    Contest k = {.m = m, .c = candidates, .n = n, .o = o, .arena = a, .random = o->seed + 1,
                 .clock = o->clock ? o->clock : clock_seconds};
    double *predicted = arena_new_array(a, double, n);

    *out = (SearchResult){0};
    k.items = arena_new_array(a, MeasureItem, n);
    k.alive = arena_new_array(a, uint32_t, n);
    k.samples = arena_new_array(a, Samples, n);
    for (uint32_t i = 0; i < n; i++) {
        SearchCandidate *c = &candidates[i];
        c->seconds = NAN;
        k.items[i] = (MeasureItem){c->cx, c->rejected ? NULL : c->plan, c->rejected};
        predicted[i] = c->predicted;
        if (!c->rejected)
            k.alive[k.n_alive++] = i;
    }
    pawl_assert(n > 0 && !candidates[0].rejected, "a contest needs an incumbent");

    MeasureOptions measure = o->measure;
    measure.predicted = predicted;
    measure.contest = true;
    measure.give_up = o->clock && o->clock != clock_seconds ? 0 : o->deadline;
    k.session = m->open(m, k.items, n, &measure);
    if (!k.session) {
        for (uint32_t i = 0; i < n; i++)
            candidates[i].rejected = k.items[i].outcome;
        return false;
    }
    drop_failed(&k);
    bool ok = play(&k, &out->complete);
    m->close(k.session);

    out->stopped = interrupted(&k);
    count(&k, out);
    if (!ok)
        return false;
    if (k.n_alive == 0 || k.alive[0] != 0)
        return diag_error(candidates[0].cx->diags, PAWL_EXIT_DEVICE, LOC_NONE, NULL, "%s: %s",
                          candidates[0].what, candidates[0].rejected);
    judge(&k, out);
    return true;
}
