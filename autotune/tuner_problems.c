/* autotune/tuner_problems.c — works through problems within a budget: look up, contest, remember.
 *
 * Time is split fairly: new problems share it in proportion to predicted time and uncertainty, the weightiest first, and what
 * one does not use goes to the next. Then come those that an earlier run left undecided, the lightest first, each with all that is
 * left: so every run decides something. Every outcome is in the database before the next problem starts. */
#include "autotune/tuner_internal.h"
#include "base/file.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool tuner_stopped(const Tuner *t) { return t->o->stop && *t->o->stop; }

void diags_adopt(Context *to, Context *from)
{
    for (uint32_t i = 0; to != from && i < diags_count(from->diags); i++) {
        const Diag *d = diags_at(from->diags, i);
        if (d->level == DIAG_ERROR)
            diag_error(to->diags, d->code, LOC_NONE, d->hint ? arena_strdup(to->arena, d->hint) : NULL,
                       "%s", d->text);
    }
}

/* ---- looking up ------------------------------------------------------------------------------ */

/* ---- the next best ---- */

/* Those much slower than the winner are none. */
#define RUNS_ALONG 1.3

static void add_runner(TuneProblem *p, const char *schedule, double us)
{
    uint32_t at = p->n_runners;
    if (us > RUNS_ALONG * p->us.value || !strcmp(schedule, p->winner))
        return;
    while (at > 0 && p->runners_us[at - 1] > us)
        at--;
    if (at == RUNNERS)
        return;
    uint32_t behind = (p->n_runners < RUNNERS ? p->n_runners : RUNNERS - 1) - at;
    memmove(p->runners + at + 1, p->runners + at, behind * sizeof *p->runners);
    memmove(p->runners_us + at + 1, p->runners_us + at, behind * sizeof *p->runners_us);
    p->runners[at] = schedule;
    p->runners_us[at] = us;
    p->n_runners += p->n_runners < RUNNERS;
}

/* From the log of measurements: the last of each schedule counts. */
static void recall_runners(Tuner *t, TuneProblem *p)
{
    uint32_t n;
    DbMeasurement *log = db_list_measurements(t->o->db, p->key, &n);
    for (uint32_t i = 0; log && i < n; i++) {
        bool last = log[i].samples && !strcmp(log[i].outcome, "ok") && !strcmp(log[i].key.device, t->key.device) &&
                    !strcmp(log[i].key.environment, t->key.environment);
        for (uint32_t k = i + 1; k < n && last; k++)
            last = strcmp(log[i].what, log[k].what) != 0;
        if (last)
            add_runner(p, log[i].what, log[i].us.value);
    }
}

static void look_up_group(Tuner *t, TuneProblem *p)
{
    DbTuning row;
    if (!db_get_tuning(t->o->db, t->key, p->key, p->text, true, &row))
        return;
    if (!row.complete && !t->o->again)
        p->before = row.schedule;
    if (!row.complete || t->o->again)
        return;
    p->state = PROBLEM_HIT;
    p->winner = row.schedule;
    p->incumbent = row.incumbent;
    p->incumbent_us = row.incumbent_us;
    p->us = row.us;
    p->ratio = row.ratio;
    p->tried = row.tried;
    p->rejected = row.rejected;
    if (p->kind == PROBLEM_GROUP)
        recall_runners(t, p);
}

static void look_up_choice(Tuner *t, TuneProblem *p)
{
    DbChoice row;
    if (!db_get_choice(t->o->db, t->key, p->key, p->text, true, &row) || !row.complete || t->o->again ||
        row.alternative >= p->n_alternatives)
        return;
    p->state = PROBLEM_HIT;
    p->winner_index = row.alternative;
    memcpy(p->us_of, row.us, sizeof p->us_of);
    p->ratio = row.ratio;
    p->against = row.against;
}

void tuner_look_up(Tuner *t, TuneProblem *problems, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        TuneProblem *p = &problems[i];
        if (p->state != PROBLEM_PENDING || !t->o->db)
            continue;
        switch (p->kind) {
        case PROBLEM_GROUP: case PROBLEM_TOGETHER: look_up_group(t, p); break;
        case PROBLEM_CHOICE: look_up_choice(t, p); break;
        }
    }
}

/* ---- remembering ----------------------------------------------------------------------------- */

static Interval scaled(Interval i, double by) { return (Interval){i.value * by, i.lo * by, i.hi * by}; }

static void remember(Tuner *t, const TuneProblem *p)
{
    bool complete = p->state == PROBLEM_TUNED;
    const char *where = arena_printf(t->cx->arena, "%s %s", t->task, p->workload ? p->workload : "generic");

    if (!t->o->db)
        return;
    if (p->kind != PROBLEM_CHOICE) {
        db_put_tuning(t->o->db, &(DbTuning){
            .key = t->key, .problem = p->key, .text = p->text, .schedule = p->winner, .us = p->us,
            .incumbent = p->incumbent, .incumbent_us = p->incumbent_us, .ratio = p->ratio,
            .tried = p->tried, .rejected = p->rejected, .complete = complete, .task = where});
        return;
    }
    DbChoice c = {.key = t->key, .problem = p->key, .choice = p->text, .alternative = p->winner_index,
                  .n = p->n_alternatives, .ratio = p->ratio, .against = p->against, .complete = complete,
                  .task = where};
    memcpy(c.us, p->us_of, sizeof c.us);
    db_put_choice(t->o->db, &c);
}

static void log_line(const Tuner *t, const TuneProblem *p, const DbMeasurement *m)
{
    fprintf(t->o->log, "tune %s %s %016llx %s: %s", t->task, p->workload ? p->workload : "generic",
            (unsigned long long)p->key, m->what, m->outcome);
    if (m->samples)
        fprintf(t->o->log, ", %.3f us [%.3f, %.3f], %u samples", m->us.value, m->us.lo, m->us.hi,
                m->samples);
    fputc('\n', t->o->log);
}

/* Every candidate leaves a line: in the database's log, in --log, and, when it was rejected, in the report. */
static void write_down(Tuner *t, const TuneProblem *p, const SearchCandidate *c, uint32_t n)
{
    DbMeasurement *rows = arena_new_array(t->cx->arena, DbMeasurement, n);

    for (uint32_t i = 0; i < n; i++) {
        const char *what = p->kind != PROBLEM_CHOICE
                               ? c[i].what
                               : arena_printf(t->cx->arena, "%s=%s", p->text, c[i].what);
        rows[i] = (DbMeasurement){
            .key = t->key, .problem = p->key, .what = what, .outcome = c[i].rejected ? c[i].rejected : "ok",
            .us = scaled(stats_median_interval(c[i].samples.x, c[i].samples.n, 200, 1), 1e6),
            .samples = c[i].samples.n};
        if (t->o->log)
            log_line(t, p, &rows[i]);
        if (c[i].rejected) {
            TuneRejected r = {p->workload, p->text, arena_strdup(t->cx->arena, what),
                              arena_strdup(t->cx->arena, c[i].rejected)};
            vec_push(t->cx->arena, &t->report->rejected, r);
        }
    }
    if (t->o->db)
        db_put_measurements(t->o->db, rows, n);
}

/* ---- one problem ----------------------------------------------------------------------------- */

/* The last statement of a group's text stands for it. */
static const char *one_line(Arena *a, const char *text)
{
    const char *end = strstr(text, "\nreturn"), *start = end;
    if (!end)
        return arena_strndup(a, text, strcspn(text, "\n"));
    while (start > text && start[-1] != '\n')
        start--;
    return arena_strndup(a, start, (size_t)(end - start));
}

static void report_progress(void *arg, const char *best, double best_seconds, double incumbent_seconds)
{
    Tuner *t = arg;
    if (!t->o->progress)
        return;
    double now = t->clock();
    t->o->progress(t->o->progress_arg,
                   &(TuneProgress){.done = t->done, .total = t->total, .workload = t->current->workload,
                                   .what = t->current_line, .best = best, .best_us = best_seconds * 1e6,
                                   .default_us = incumbent_seconds * 1e6, .elapsed = now - t->started,
                                   .budget = t->deadline - t->started});
}

/* Moves the first candidate that is still in the contest to the front. False: none is left. */
static bool enthrone(SearchCandidate *c, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (c[i].rejected)
            continue;
        SearchCandidate first = c[i];
        memmove(c + 1, c, sizeof *c * i);
        c[0] = first;
        return true;
    }
    return false;
}

static bool took_device(const SearchCandidate *c, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (c[i].rejected && !strncmp(c[i].rejected, DEVICE_FAILED, strlen(DEVICE_FAILED)))
            return true;
    return false;
}

/* A candidate that once took the device with it does not get a second chance. */
static void bar_the_dangerous(Tuner *t, const TuneProblem *p, SearchCandidate *c, uint32_t n)
{
    uint32_t rows;
    DbMeasurement *log = t->o->db ? db_list_measurements(t->o->db, p->key, &rows) : NULL;

    for (uint32_t r = 0; log && r < rows; r++)
        for (uint32_t i = 0; i < n; i++)
            if (!strncmp(log[r].outcome, DEVICE_FAILED, strlen(DEVICE_FAILED)) &&
                !strcmp(log[r].key.device, t->key.device) && !strcmp(log[r].key.environment, t->key.environment) &&
                !c[i].rejected && !strcmp(log[r].what, c[i].what))
                c[i].rejected = "left out: it made the device fail in an earlier run";
}

/* An incumbent that fails is data too: the next one takes its place. False: the device is gone, or nobody is left. */
static bool contest(Tuner *t, TuneProblem *p, SearchCandidate *c, uint32_t n, const SearchOptions *o,
                    Arena *a, SearchResult *result, bool *device_failed)
{
    while (enthrone(c, n)) {
        p->incumbent = arena_strdup(t->cx->arena, c[0].what);
        if (search_run(t->measurer, c, n, o, a, result))
            return true;
        if (!c[0].rejected || took_device(c, n)) {
            diags_adopt(t->cx, c[0].cx);
            *device_failed = true;
            return false;
        }
        diags_clear(c[0].cx->diags);
        for (uint32_t i = 0; i < n; i++)
            c[i].samples = (Samples){0};
    }
    return false;
}

static void take_outcome(Tuner *t, TuneProblem *p, const SearchCandidate *c, uint32_t n,
                         const SearchResult *r)
{
    p->state = r->complete ? PROBLEM_TUNED : PROBLEM_PARTIAL;
    p->winner = arena_strdup(t->cx->arena, c[r->winner].what);
    p->us = scaled(r->seconds, 1e6);
    p->ratio = r->ratio;
    p->incumbent_us = c[0].seconds * 1e6;
    p->tried += r->tried;
    p->n_runners = 0;
    for (uint32_t i = 0; i < n && p->kind == PROBLEM_GROUP; i++)
        if (i != r->winner && c[i].samples.n && !c[i].rejected)
            add_runner(p, arena_strdup(t->cx->arena, c[i].what), c[i].seconds * 1e6);
    if (p->kind != PROBLEM_CHOICE)
        return;

    /* a choice: by number of alternative; the ratio is against the best other one */
    uint32_t other = UINT32_MAX;
    for (uint32_t i = 0; i < DB_MAX_ALTERNATIVES; i++)
        p->us_of[i] = NAN;
    for (uint32_t i = 0; i < n; i++) {
        if (c[i].tag < DB_MAX_ALTERNATIVES && c[i].samples.n)
            p->us_of[c[i].tag] = c[i].seconds * 1e6;
        if (i != r->winner && c[i].samples.n && !c[i].rejected &&
            (other == UINT32_MAX || c[i].seconds < c[other].seconds))
            other = i;
    }
    p->winner_index = c[r->winner].tag;
    p->against = p->winner_index;
    if (other != UINT32_MAX) {
        const Samples *x = &c[other].samples, *y = &c[r->winner].samples;
        p->against = c[other].tag;
        p->ratio = stats_ratio_interval(x->x, y->x, x->n < y->n ? x->n : y->n, 1000, t->o->seed);
    }
}

/* False: stop altogether (device failed; diagnosed). */
static bool solve(Tuner *t, TuneProblem *p, const ProblemSource *source, double deadline)
{
    SearchCandidate *c = NULL;
    uint32_t n = 0;
    bool device_failed = false;
    SearchOptions o = {.deadline = deadline, .clock = t->clock, .stop = t->o->stop,
                       .keep_all = p->kind == PROBLEM_CHOICE, .progress = report_progress, .progress_arg = t, .seed = t->o->seed ^ p->key};
    double start = t->clock();

    t->current = p;
    t->current_line = one_line(t->cx->arena, p->text);
    report_progress(t, NULL, 0, 0);
    bool ok = source->candidates(source->arg, p, &c, &n, &o.measure);
    t->report->seconds_compile += t->clock() - start;
    if (!ok)
        return false;
    if (tuner_stopped(t)) {
        source->release(source->arg, p);
        return true;
    }

    double compiled = t->clock() - start;
    start = t->clock();
    double open = t->measurer->spent.open, check = t->measurer->spent.check;
    uint32_t checks = t->measurer->spent.checks;
    Arena *a = arena_new();
    SearchResult result = {0};
    p->tried = p->rejected = 0;
    bar_the_dangerous(t, p, c, n);
    bool decided = contest(t, p, c, n, &o, a, &result, &device_failed);
    for (uint32_t i = 0; i < n; i++) {
        p->rejected += c[i].rejected != NULL;
        t->report->wrong += c[i].rejected && !strncmp(c[i].rejected, "wrong result", 12);
    }
    p->state = PROBLEM_FAILED;
    if (decided)
        take_outcome(t, p, c, n, &result);
    write_down(t, p, c, n);
    if (decided)
        remember(t, p);
    t->report->seconds_measure += t->clock() - start;
    if (t->o->log)
        fprintf(t->o->log, "tune %s %s %016llx: compiled in %.3f s, measured in %.3f s, of which %.3f to begin and %.3f for %u "
                "comparisons\n",
                t->task, p->workload ? p->workload : "generic", (unsigned long long)p->key, compiled, t->clock() - start,
                t->measurer->spent.open - open, t->measurer->spent.check - check, t->measurer->spent.checks - checks);
    source->release(source->arg, p);
    arena_free(a);
    return !device_failed;
}

/* ---- all of them ----------------------------------------------------------------------------- */

double tuner_weight(const TuneProblem *p)
{
    return p->predicted * (p->uncertainty > 0 ? p->uncertainty : 0.1);
}

static bool is_resumed(const TuneProblem *p) { return p->before != NULL; }

static int by_turn(const void *a, const void *b)
{
    const TuneProblem *x = *(TuneProblem *const *)a, *y = *(TuneProblem *const *)b;
    double wx = tuner_weight(x), wy = tuner_weight(y);
    if (is_resumed(x) != is_resumed(y))
        return is_resumed(x) ? 1 : -1;
    if (wx != wy)
        return (wx < wy) != is_resumed(x) ? 1 : -1;
    return (x > y) - (x < y);
}

bool tuner_run(Tuner *t, TuneProblem *problems, uint32_t n, const ProblemSource *source, double deadline)
{
    TuneProblem **open = arena_new_array(t->cx->arena, TuneProblem *, n);
    uint32_t n_open = 0;
    double weight = 0;

    for (uint32_t i = 0; i < n; i++)
        if (problems[i].state == PROBLEM_PENDING) {
            open[n_open++] = &problems[i];
            weight += tuner_weight(&problems[i]);
        }
    if (n_open)
        qsort(open, n_open, sizeof *open, by_turn);

    double least = n_open ? 0.05 * weight / n_open : 0;    /* compiling costs every problem something */
    weight += least * n_open;
    for (uint32_t i = 0; i < n_open; i++) {
        double now = t->clock(), w = tuner_weight(open[i]) + least;
        if (tuner_stopped(t))
            break;
        if (now >= deadline) {
            t->report->out_of_budget = true;
            open[i]->state = PROBLEM_UNREACHED;
            continue;
        }
        double share = weight > 0 && !is_resumed(open[i]) ? w / weight : 1;
        weight -= w;
        if (!solve(t, open[i], source, now + (deadline - now) * fmin(1, share)))
            return false;
        if (open[i]->state == PROBLEM_PARTIAL && !tuner_stopped(t))
            t->report->out_of_budget = true;
        t->done++;
    }
    if (tuner_stopped(t)) {
        t->report->stopped = true;
        return diag_error(t->cx->diags, PAWL_EXIT_STOPPED, LOC_NONE,
                          "what was measured is kept: `pawl tune` goes on from there",
                          "tuning was interrupted");
    }
    return true;
}
