/* autotune/tuner_lookup.c — what the database gives to a compilation: schedules, picks, and the evidence for them. */
#include "autotune/tuner_internal.h"
#include <math.h>
#include <string.h>

/* together, n, schedules: the plan's distinct groups, and what was found best for them together; NULL: nothing */
typedef struct { Context *cx; Db *db; DbKey key; const Group **together; uint32_t n; const char **schedules; } DbSource;

static void begin(void *arg, const Groups *gs)
{
    DbSource *s = arg;
    Arena *a = s->cx->arena;
    uint64_t problem;
    DbTuning row;
    s->together = together_groups(gs, a, &s->n);
    s->schedules = arena_new_array(a, const char *, s->n + 1);
    const char *text = together_text(s->together, s->n, a, &problem);
    if (s->n < 2 || !db_get_tuning(s->db, s->key, problem, text, false, &row) || !together_split(row.schedule, s->schedules, s->n, a))
        s->n = 0;
}

static bool look_up(void *arg, const Group *g, Schedule *out)
{
    const DbSource *s = arg;
    DbTuning row;
    for (uint32_t i = 0; i < s->n; i++)
        if (s->together[i]->key == g->key && !strcmp(s->together[i]->text, g->text))
            return schedule_parse(s->cx->strs, s->schedules[i], out);
    return db_get_tuning(s->db, s->key, g->key, g->text, false, &row) &&
           schedule_parse(s->cx->strs, row.schedule, out);
}

ScheduleSource db_schedules(Context *cx, Db *db, const TuneDevice *d)
{
    DbSource *s = arena_new_of(cx->arena, DbSource);
    *s = (DbSource){.cx = cx, .db = db, .key = {arena_strdup(cx->arena, d->name), arena_strdup(cx->arena, d->environment)}};
    return (ScheduleSource){look_up, s, begin};
}

/* "stack_projections" of "stack_projections@12". */
static const char *rule_of(Arena *a, const char *choice)
{
    return arena_strndup(a, choice, strcspn(choice, "@"));
}

const char *alternative_name(Arena *a, const char *choice, uint32_t alternative, uint32_t n)
{
    if (alternative == 0)
        return "as written";
    if (n <= 2)
        return rule_of(a, choice);
    return arena_printf(a, "%s (%u)", rule_of(a, choice), alternative);
}

static void print_us(StrBuf *b, double us)
{
    strbuf_printf(b, us < 9.995 ? "%.2f us" : us < 999.5 ? "%.1f us" : "%.0f us", us);
}

const char *choice_evidence(Arena *a, const char *choice, uint32_t winner, uint32_t against, uint32_t n,
                            const double *us, Interval ratio, const char *device)
{
    StrBuf b = strbuf_new(a);

    strbuf_printf(&b, "%s ", alternative_name(a, choice, winner, n));
    print_us(&b, us[winner]);
    if (against != winner && against < n && !isnan(us[against])) {
        strbuf_printf(&b, " vs %s ", alternative_name(a, choice, against, n));
        print_us(&b, us[against]);
        strbuf_printf(&b, ", %.2fx [%.2f, %.2f]", ratio.value, ratio.lo, ratio.hi);
    }
    strbuf_printf(&b, " on %s", device);
    return b.text;
}

ChoicePick *choices_from_db(Context *cx, Db *db, const TuneDevice *d, const Graph *g, uint32_t *n,
                            PlanDecision **evidence)
{
    uint32_t total;
    ChoiceInfo *all = choices_list(g, cx->arena, &total);
    ChoicePick *picks = arena_new_array(cx->arena, ChoicePick, total + 1);
    PlanDecision *decisions = arena_new_array(cx->arena, PlanDecision, total + 1);
    uint64_t problem = total ? graph_hash(g) : 0;

    *n = 0;
    for (uint32_t i = 0; i < total; i++) {
        DbChoice row;
        if (!db_get_choice(db, (DbKey){d->name, d->environment}, problem, all[i].id, false, &row) ||
            row.alternative >= all[i].n_alternatives || row.n != all[i].n_alternatives)
            continue;
        picks[*n] = (ChoicePick){all[i].id, row.alternative};
        decisions[*n] = (PlanDecision){
            .choice = all[i].id,
            .picked = str_intern(cx->strs, alternative_name(cx->arena, all[i].id, row.alternative, row.n)),
            .evidence = str_intern(cx->strs, choice_evidence(cx->arena, all[i].id, row.alternative, row.against,
                                                             row.n, row.us, row.ratio, d->name))};
        ++*n;
    }
    if (evidence)
        *evidence = decisions;
    return picks;
}
