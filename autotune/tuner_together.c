/* autotune/tuner_together.c — the schedules of a plan's groups chosen together, by whole plans as they are called.
 *
 * A kernel that begins while the one before it still runs shares shared memory, registers and bandwidth with it, and what one leaves
 * in the caches the next one finds: where kernels take microseconds, the best of each alone need not be the best chain. So a few of the
 * next best schedules of groups that follow each other take part in one more contest. What came out is kept beside the groups' own
 * schedules, under the list of the plan's groups, and holds for plans of these groups only. */
#include "autotune/candidates.h"
#include "autotune/tuner_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Longer plans have little to gain at their seams. */
#define SHORT_PLAN_US 200.0
/* Each candidate has weights of its own. */
#define MOST_WEIGHT_BYTES 2e9
static const char seam[] = " | ";

/* ---- what the problem is called ---------------------------------------------------------------------------------------------- */

const Group **together_groups(const Groups *gs, Arena *a, uint32_t *n)
{
    const Group **out = arena_new_array(a, const Group *, gs->n + 1);
    *n = 0;
    for (uint32_t i = 0; i < gs->n; i++) {
        bool seen = false;
        for (uint32_t k = 0; k < *n; k++)
            seen |= out[k]->key == gs->g[i]->key && !strcmp(out[k]->text, gs->g[i]->text);
        if (!seen)
            out[(*n)++] = gs->g[i];
    }
    return out;
}

const char *together_text(const Group *const *g, uint32_t n, Arena *a, uint64_t *key)
{
    StrBuf b = strbuf_new(a);
    strbuf_printf(&b, "%u groups together:", n);
    for (uint32_t i = 0; i < n; i++)
        strbuf_printf(&b, " %016llx", (unsigned long long)g[i]->key);
    *key = hash_str(b.text);
    return b.text;
}

const char *together_join(const char *const *schedules, uint32_t n, Arena *a)
{
    StrBuf b = strbuf_new(a);
    for (uint32_t i = 0; i < n; i++)
        strbuf_printf(&b, "%s%s", i ? seam : "", schedules[i]);
    return b.text;
}

bool together_split(const char *text, const char **schedules, uint32_t n, Arena *a)
{
    for (uint32_t i = 0; i < n; i++) {
        const char *end = strstr(text, seam);
        if (!end != (i + 1 == n))
            return false;
        schedules[i] = end ? arena_strndup(a, text, (size_t)(end - text)) : arena_strdup(a, text);
        text = end ? end + strlen(seam) : text;
    }
    return n > 0;
}

/* ---- the problem --------------------------------------------------------------------------------------------------------------- */

static bool decided(const TuneProblem *p) { return p->winner && (p->state == PROBLEM_HIT || p->state == PROBLEM_TUNED); }

bool together_of(Context *cx, const Variant *v, const TuneProblem *groups, uint32_t n_groups, Together *out)
{
    const Group **g = together_groups(v->compiled.groups, cx->arena, &out->n);
    double us = 0;
    bool choice = false;

    out->variant = v;
    out->groups = arena_new_array(cx->arena, const TuneProblem *, out->n + 1);
    for (uint32_t i = 0; i < out->n; i++) {
        for (uint32_t k = 0; k < n_groups && !out->groups[i]; k++)
            if (groups[k].key == g[i]->key && !strcmp(groups[k].text, g[i]->text))
                out->groups[i] = &groups[k];
        if (!out->groups[i] || !decided(out->groups[i]))
            return false;
        us += out->groups[i]->us.value;
        choice |= out->groups[i]->n_runners > 0;
    }
    out->problem = (TuneProblem){.kind = PROBLEM_TOGETHER, .workload = v->workload ? v->workload->name : NULL, .predicted = us * 1e-6,
                                 .uncertainty = 1};
    out->problem.text = together_text(g, out->n, cx->arena, &out->problem.key);
    return out->n > 1 && choice && us < SHORT_PLAN_US;
}

/* ---- candidates ---------------------------------------------------------------------------------------------------------------- */

/* Group number `at` takes its runner-up number `first` (0: its winner), the next one its `second`. */
typedef struct { uint32_t at, first, second, number; double us; } Change;

static double us_of(const TuneProblem *p, uint32_t which) { return which ? p->runners_us[which - 1] : p->us.value; }

static int by_us(const void *a, const void *b)
{
    const Change *x = a, *y = b;
    if (x->us != y->us)
        return x->us < y->us ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

/* All ways to change one group or two neighbours, those first that lose least by what each took alone. */
static Change *all_changes(const Together *x, Arena *a, uint32_t *n)
{
    Change *c = arena_new_array(a, Change, x->n * (RUNNERS + 1) * (RUNNERS + 1) + 1);
    *n = 0;
    for (uint32_t i = 0; i < x->n; i++) {
        const TuneProblem *p = x->groups[i], *next = i + 1 < x->n ? x->groups[i + 1] : NULL;
        for (uint32_t f = i ? 1 : 0; f <= p->n_runners; f++)
            for (uint32_t s = 0; s <= (next ? next->n_runners : 0); s++) {
                if (!f && !s)
                    continue;
                c[*n] = (Change){i, f, s, *n, us_of(p, f) - us_of(p, 0) + (next ? us_of(next, s) - us_of(next, 0) : 0)};
                ++*n;
            }
    }
    qsort(c, *n, sizeof *c, by_us);
    return c;
}

static KnownSchedule *schedules_with(const Together *x, const Change *c, Arena *a, const char **joined, double *us)
{
    KnownSchedule *k = arena_new_array(a, KnownSchedule, x->n + 1);
    const char **schedules = arena_new_array(a, const char *, x->n + 1);
    for (uint32_t i = 0; i < x->n; i++) {
        const TuneProblem *p = x->groups[i];
        uint32_t which = !c ? 0 : i == c->at ? c->first : i == c->at + 1 ? c->second : 0;
        schedules[i] = which ? p->runners[which - 1] : p->winner;
        k[i] = (KnownSchedule){p->key, p->text, schedules[i]};
        *us += us_of(p, which);
    }
    *joined = together_join(schedules, x->n, a);
    return k;
}

static double weight_bytes(const Variant *v)
{
    double sum = 0;
    const Plan *p = v->compiled.plan;
    for (uint32_t i = 0; p && i < p->weights.n; i++) {
        sum += (double)p->buffers.data[p->weights.data[i].buffer].bytes->hi;
    }
    return sum;
}

SearchCandidate *together_candidates(Workshop *w, const Together *x, uint32_t max, Arena *a, uint32_t *n)
{
    uint32_t n_changes;
    Change *change = all_changes(x, a, &n_changes);
    double each = weight_bytes(x->variant), room = each > 0 ? MOST_WEIGHT_BYTES / each : max;
    max = room < max ? (uint32_t)fmax(2, room) : max;
    *n = n_changes + 1 < max ? n_changes + 1 : max;

    const KnownSchedule **known = arena_new_array(a, const KnownSchedule *, *n);
    const Variant **v = arena_new_array(a, const Variant *, *n);
    const char **what = arena_new_array(a, const char *, *n);
    double *us = arena_new_array(a, double, *n);
    for (uint32_t i = 0; i < *n; i++) {
        v[i] = x->variant;
        known[i] = schedules_with(x, i ? &change[i - 1] : NULL, a, &what[i], &us[i]);
    }
    SearchCandidate *c = workshop_plans(w, v, known, *n, x->n, a);
    for (uint32_t i = 0; i < *n; i++) {
        c[i].what = what[i];
        c[i].tag = i;
        c[i].predicted = us[i] * 1e-6;
    }
    return c;
}
