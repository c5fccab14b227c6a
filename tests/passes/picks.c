/* tests/passes/picks.c — see picks.h. */
#include "tests/passes/picks.h"
#include <string.h>

Graph *last_alternatives(Context *cx, const Graph *g, const char *rule)
{
    uint32_t n;
    ChoiceInfo *list = choices_list(g, cx->arena, &n);
    ChoicePick *picks = arena_new_array(cx->arena, ChoicePick, n + 1);
    for (uint32_t i = 0; i < n; i++)
        picks[i] = (ChoicePick){list[i].id, !rule || !strcmp(list[i].rule, rule) ? list[i].n_alternatives - 1 : 0};
    return choices_resolve(g, picks, n);
}
