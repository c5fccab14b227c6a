/* Working through problems within a budget: order, hits, resuming, interruption, what is remembered. */
#include "tests/autotune/fake.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

enum { N = 6, CANDIDATES = 4 };

typedef struct Tune {
    Context *cx;
    Fake *fake;
    TuneOptions o;
    TuneReport report;
    Tuner t;
    TuneProblem problems[N];
    SearchCandidate c[N][CANDIDATES];
    uint32_t asked[N], order[N], n_order, released;
} Tune;

/* Problem i: candidate j takes (i + 1) * (4 - j) microseconds, so the last one wins. */
static bool give(void *arg, TuneProblem *p, SearchCandidate **out, uint32_t *n, MeasureOptions *m)
{
    Tune *u = arg;
    uint32_t i = p->index;

    u->asked[i]++;
    u->order[u->n_order++ % N] = i;
    m->check = true;
    for (uint32_t j = 0; j < CANDIDATES; j++) {
        bool illegal = u->c[i][j].rejected && !strncmp(u->c[i][j].rejected, "illegal", 7);
        u->c[i][j] = (SearchCandidate){.what = arena_printf(u->cx->arena, "pointwise vec=%u", j), .tag = j,
                                       .cx = u->cx, .plan = &u->fake->plans[i * CANDIDATES + j]};
        if (illegal)
            u->c[i][j].rejected = "illegal schedule: no", u->c[i][j].plan = NULL;
    }
    *out = u->c[i];
    *n = CANDIDATES;
    return true;
}
static void release(void *arg, TuneProblem *p) { ((Tune *)arg)->released++; }

static int setup(void **state)
{
    Context *cx = context_new();
    Tune *u = arena_new_of(cx->arena, Tune);
    u->cx = cx;
    u->fake = fake_new(cx->arena, 1);
    u->fake->noise = 0.02;
    u->o.db = db_open_memory(cx);
    u->o.stop = &u->fake->stop;
    u->t = (Tuner){.cx = cx, .o = &u->o, .task = "test", .key = {"fake device", "emitter=1 space=1"},
                   .measurer = &u->fake->measurer, .report = &u->report, .clock = fake_clock};
    for (uint32_t i = 0; i < N; i++) {
        u->problems[i] = (TuneProblem){.key = 100 + i, .text = arena_printf(cx->arena, "%%y = f%u(%%x)", i),
                                       .workload = "w", .predicted = (i + 1) * 1e-6, .uncertainty = 2, .index = i};
        for (uint32_t j = 0; j < CANDIDATES; j++)
            u->fake->seconds[i * CANDIDATES + j] = (i + 1) * (4.0 - j) * 1e-6;
    }
    fake_clock_set(0);
    *state = u;
    return 0;
}

static int teardown(void **state)
{
    Tune *u = *state;
    db_close(u->o.db);
    context_free(u->cx);
    return 0;
}

static bool tune(Tune *u, double budget)
{
    u->report = (TuneReport){0};
    u->n_order = u->released = 0;
    u->fake->opened = 0;
    memset(u->asked, 0, sizeof u->asked);
    for (uint32_t i = 0; i < N; i++)
        u->problems[i].state = PROBLEM_PENDING;
    tuner_look_up(&u->t, u->problems, N);
    u->t.started = fake_clock();
    u->t.deadline = u->t.started + budget;
    return tuner_run(&u->t, u->problems, N, &(ProblemSource){give, release, u}, u->t.deadline);
}

static void all_then_none(void **state)
{
    Tune *u = *state;
    assert_true(tune(u, 10));
    for (uint32_t i = 0; i < N; i++) {
        assert_int_equal(u->problems[i].state, PROBLEM_TUNED);
        assert_string_equal(u->problems[i].winner, "pointwise vec=3");
        assert_string_equal(u->problems[i].incumbent, "pointwise vec=0");
        assert_true(u->problems[i].ratio.lo > 3.8 && u->problems[i].ratio.hi < 4.2);
        assert_true(fabs(u->problems[i].us.value - (i + 1)) < 0.1 * (i + 1));
    }
    assert_int_equal(u->order[0], N - 1);       /* the weightiest first */
    assert_int_equal(u->released, N);
    assert_false(u->report.out_of_budget);

    assert_true(tune(u, 10));
    for (uint32_t i = 0; i < N; i++) {
        assert_int_equal(u->problems[i].state, PROBLEM_HIT);
        assert_string_equal(u->problems[i].winner, "pointwise vec=3");
        assert_int_equal(u->asked[i], 0);
    }
    assert_int_equal(u->fake->opened, 0);       /* no device work at all */

    u->o.again = true;
    assert_true(tune(u, 10));
    assert_int_equal(u->fake->opened, N);
}

static void budget_then_resume(void **state)
{
    Tune *u = *state;
    for (uint32_t i = 0; i < N * CANDIDATES; i++)
        u->fake->seconds[i] *= 1e5;             /* 0.1 … 2.4 s a sample */
    uint32_t tuned = 0, runs = 0;
    assert_true(tune(u, 20));
    assert_true(u->report.out_of_budget);
    assert_true(fake_clock() < 60);
    for (uint32_t i = 0; i < N; i++)
        tuned += u->problems[i].state == PROBLEM_TUNED;
    assert_true(tuned < N);
    for (runs = 0; tuned < N && runs < 40; runs++) {
        uint32_t before = tuned;
        assert_true(tune(u, 60));
        for (uint32_t i = tuned = 0; i < N; i++) {
            tuned += u->problems[i].state == PROBLEM_TUNED || u->problems[i].state == PROBLEM_HIT;
            if (u->problems[i].state == PROBLEM_HIT)
                assert_int_equal(u->asked[i], 0);
        }
        assert_true(tuned >= before);           /* nothing is lost, nothing done twice */
    }
    assert_int_equal(tuned, N);
    assert_true(runs < 40);
}

static void interruption_keeps_what_is_done(void **state)
{
    Tune *u = *state;
    u->fake->stop_after = 150;
    assert_false(tune(u, 10));
    assert_int_equal(diags_exit_code(u->cx->diags), PAWL_EXIT_STOPPED);
    assert_true(u->report.stopped);
    uint32_t done = 0, partial = 0;
    for (uint32_t i = 0; i < N; i++) {
        done += u->problems[i].state == PROBLEM_TUNED;
        partial += u->problems[i].state == PROBLEM_PARTIAL;
    }
    assert_true(done >= 1 && done < N && partial <= 1);
    u->fake->stop_after = 0;
    u->fake->stop = 0;
    diags_clear(u->cx->diags);
    assert_true(tune(u, 10));
    uint32_t hits = 0;
    for (uint32_t i = 0; i < N; i++)
        hits += u->problems[i].state == PROBLEM_HIT;
    assert_int_equal(hits, done);
}

/* The default itself may be what is wrong: the next one stands in for it. */
static void wrong_default_is_dethroned(void **state)
{
    Tune *u = *state;
    for (uint32_t i = 0; i < N; i++)
        u->fake->wrong[i * CANDIDATES] = true;
    assert_true(tune(u, 10));
    assert_int_equal(u->report.wrong, N);
    for (uint32_t i = 0; i < N; i++) {
        assert_int_equal(u->problems[i].state, PROBLEM_TUNED);
        assert_string_equal(u->problems[i].incumbent, "pointwise vec=1");
        assert_string_equal(u->problems[i].winner, "pointwise vec=3");
        assert_int_equal(u->problems[i].rejected, 1);
    }
    for (uint32_t i = 0; i < u->report.rejected.n; i++)
        assert_string_equal(u->report.rejected.data[i].schedule, "pointwise vec=0");
}

static void wrong_and_illegal_are_reported(void **state)
{
    Tune *u = *state;
    u->fake->wrong[3] = true;                   /* problem 0: its fastest */
    u->c[1][2].rejected = "illegal";
    u->fake->fails[2 * CANDIDATES] = true;      /* problem 2: its incumbent */
    assert_true(tune(u, 10));
    assert_string_equal(u->problems[0].winner, "pointwise vec=2");
    assert_int_equal(u->report.wrong, 1);
    assert_int_equal(u->problems[1].rejected, 1);
    assert_string_equal(u->problems[2].incumbent, "pointwise vec=1");
    assert_string_equal(u->problems[2].winner, "pointwise vec=3");
    assert_int_equal(u->report.rejected.n, 3);
    bool wrong = false, illegal = false, failed = false;
    vec_foreach(TuneRejected, r, &u->report.rejected) {
        wrong |= !strcmp(r->why, "wrong result: fake") && !strcmp(r->schedule, "pointwise vec=3");
        illegal |= !strncmp(r->why, "illegal schedule", 16);
        failed |= !strncmp(r->why, "launch failed", 13);
    }
    assert_true(wrong && illegal && failed);
    uint32_t n;
    DbMeasurement *log = db_list_measurements(u->o.db, 100, &n);
    assert_int_equal(n, CANDIDATES);
    assert_string_equal(log[3].outcome, "wrong result: fake");
    assert_false(diags_failed(u->cx->diags));
}

static void nobody_runs(void **state)
{
    Tune *u = *state;
    for (int j = 0; j < CANDIDATES; j++)
        u->fake->fails[j] = true;
    assert_true(tune(u, 10));
    assert_int_equal(u->problems[0].state, PROBLEM_FAILED);
    assert_int_equal(u->problems[1].state, PROBLEM_TUNED);
}

static void device_goes_away(void **state)
{
    Tune *u = *state;
    u->fake->dead = true;
    assert_false(tune(u, 10));
    assert_int_equal(diags_exit_code(u->cx->diags), PAWL_EXIT_DEVICE);
    assert_int_equal(u->fake->opened, 1);
}

static void killer_is_left_out_next_time(void **state)
{
    Tune *u = *state;
    u->fake->kills[5 * CANDIDATES + 3] = true;      /* of the problem that comes first: its fastest */
    assert_false(tune(u, 10));
    assert_int_equal(diags_exit_code(u->cx->diags), PAWL_EXIT_DEVICE);
    diags_clear(u->cx->diags);
    assert_true(tune(u, 10));
    for (uint32_t i = 0; i < N; i++)
        assert_int_equal(u->problems[i].state, PROBLEM_TUNED);
    assert_string_equal(u->problems[5].winner, "pointwise vec=2");
}

static void choices(void **state)
{
    Tune *u = *state;
    for (uint32_t i = 0; i < N; i++) {
        u->problems[i].kind = PROBLEM_CHOICE;
        u->problems[i].n_alternatives = CANDIDATES;
    }
    u->problems[0].text = "stack@1";
    assert_true(tune(u, 10));
    DbChoice row;
    assert_true(db_get_choice(u->o.db, u->t.key, 100, "stack@1", true, &row));
    assert_int_equal(row.alternative, 3);
    assert_int_equal(row.against, 2);
    assert_int_equal(row.n, CANDIDATES);
    assert_true(row.us[0] > 3.5 && row.us[3] < 1.2 && row.ratio.lo > 1.9 && row.ratio.hi < 2.1);
    assert_true(tune(u, 10));
    assert_int_equal(u->fake->opened, 0);
    assert_int_equal(u->problems[0].winner_index, 3);
    assert_int_equal(u->problems[0].state, PROBLEM_HIT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_then_none), TEST(budget_then_resume), TEST(interruption_keeps_what_is_done),
        TEST(wrong_default_is_dethroned), TEST(wrong_and_illegal_are_reported), TEST(nobody_runs), TEST(device_goes_away),
        TEST(killer_is_left_out_next_time), TEST(choices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
