/* tests/codegen/random_shrink.c — smaller graphs that still fail: fewer outputs, values replaced by inputs or by an operand, smaller
 * numbers. All of it on text: what is no graph any more does not fail. */
#include "tests/codegen/random_graph.h"

#include <stdio.h>
#include <string.h>

static bool names(const char *text, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = text; (at = strstr(at, name)); at += len)
        if (at[len] < '0' || at[len] > '9')
            return true;
    return false;
}

/* `text` with the word `from` (a name, or a number) as `to`. */
static char *replaced(Arena *a, const char *text, const char *from, const char *to)
{
    size_t len = strlen(from);
    const char *start = text;
    char *out = arena_strdup(a, "");
    for (const char *at; (at = strstr(text, from)); text = at + len) {
        bool digit = from[0] != '%', inside = at[len] >= '0' && at[len] <= '9';
        if (digit)
            inside |= at[len] == '.' || (at > start && strchr("0123456789.vif", at[-1]));      /* of a name, or of another number */
        out = arena_printf(a, "%s%.*s%s", out, (int)(at - text), text, inside ? from : to);
    }
    return arena_printf(a, "%s%s", out, text);
}

static void drop_line(RandomGraph *g, uint32_t i)
{
    memmove(&g->line[i], &g->line[i + 1], (g->n - i - 1) * sizeof *g->line);
    g->n--;
}

/* Without lines that no output needs. */
static RandomGraph tidy(RandomGraph g)
{
    for (uint32_t i = g.n; i-- > 0; ) {
        bool used = g.symbolic && g.line[i].is_input && strchr(g.line[i].text, 'S');     /* S is found from it */
        for (uint32_t k = 0; k < g.n_out; k++)
            used |= !strcmp(g.output[k], g.line[i].name);
        for (uint32_t k = i + 1; k < g.n; k++)
            used |= !g.line[k].is_input && names(g.line[k].text, g.line[i].name);
        if (!used)
            drop_line(&g, i);
    }
    return g;
}

typedef struct { RandomGraph best; bool (*fails)(void *, const RandomGraph *); void *arg; } Search;

static bool better(Search *s, RandomGraph g)
{
    g = tidy(g);
    if (!g.n_out || !s->fails(s->arg, &g))
        return false;
    s->best = g;
    return true;
}

static bool fewer_outputs(Search *s)
{
    bool any = false;
    for (uint32_t i = s->best.n_out; i-- > 0 && s->best.n_out > 1; ) {
        RandomGraph g = s->best;
        memmove(g.output[i], g.output[i + 1], (g.n_out - i - 1) * sizeof *g.output);
        g.n_out--;
        any |= better(s, g);
    }
    return any;
}

static bool inputs_for_values(Search *s)
{
    bool any = false;
    for (uint32_t i = s->best.n; i-- > 0; ) {
        RandomGraph g = s->best;
        if (i >= g.n || g.line[i].is_input)
            continue;
        g.line[i].is_input = true;
        g.line[i].text = g.line[i].as_input;
        any |= better(s, g);
    }
    return any;
}

/* Output of an operand instead of the value; value replaced by an operand everywhere. */
static bool operands_for_values(Search *s)
{
    bool any = false;
    for (uint32_t i = s->best.n; i-- > 0; ) {
        for (uint32_t k = 0; k < i && i < s->best.n; k++) {
            RandomGraph g = s->best;
            if (g.line[i].is_input || !names(g.line[i].text, g.line[k].name))
                continue;
            for (uint32_t j = i + 1; j < g.n; j++)
                if (!g.line[j].is_input)
                    g.line[j].text = replaced(g.arena, g.line[j].text, g.line[i].name, g.line[k].name);
            for (uint32_t j = 0; j < g.n_out; j++)
                if (!strcmp(g.output[j], g.line[i].name))
                    memcpy(g.output[j], g.line[k].name, sizeof g.output[j]);
            any |= better(s, g);
        }
    }
    return any;
}

static bool smaller_numbers(Search *s)
{
    static const int tries[] = {1, 2, 3, 4, 5, 8};
    bool any = false;
    for (int n = 5000; n >= 2; n--) {
        char from[8], *text = random_graph_text(s->best.arena, &s->best, false);
        Arena *a = s->best.arena;
        snprintf(from, sizeof from, "%d", n);
        if (!strstr(text, from))
            continue;
        for (size_t t = 0; t < sizeof tries / sizeof *tries && tries[t] < n; t++) {
            RandomGraph g = s->best;
            bool changed = false;
            for (uint32_t i = 0; i < g.n; i++) {
                const char *to = arena_printf(a, "%d", tries[t]);
                char *now = replaced(a, g.line[i].text, from, to);
                changed |= strcmp(now, g.line[i].text) != 0;
                g.line[i].text = now;
                g.line[i].as_input = replaced(a, g.line[i].as_input, from, to);
            }
            if (!changed)
                break;
            if (better(s, g)) {
                any = true;
                break;
            }
        }
    }
    return any;
}

static bool params_to_inputs(Search *s)
{
    bool any = false;
    for (uint32_t i = 0; i < s->best.n; i++) {
        RandomGraph g = s->best;
        if (!g.line[i].is_input || g.line[i].text == g.line[i].as_input || strncmp(g.line[i].text, "param", 5))
            continue;
        g.line[i].text = g.line[i].as_input;
        any |= better(s, g);
    }
    return any;
}

RandomGraph random_graph_shrink(const RandomGraph *g, bool (*fails)(void *arg, const RandomGraph *g), void *arg)
{
    Search s = {*g, fails, arg};
    better(&s, *g);
    for (int round = 0; round < 4; round++) {
        bool any = fewer_outputs(&s);
        any |= inputs_for_values(&s);
        any |= operands_for_values(&s);
        any |= smaller_numbers(&s);
        any |= params_to_inputs(&s);
        if (!any)
            break;
    }
    return s.best;
}
