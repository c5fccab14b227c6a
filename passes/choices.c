/* passes/choices.c — choices as values: which there are, and the graph under a set of picks.
 *
 * choice(id; a, b, …) is one node an output; nodes with one id switch together, since they come from one rewrite of a region
 * with several outputs. An id reads RULE@PLACE, one of several that look alike RULE@PLACE#NUMBER. */
#include "base/map.h"
#include "passes/pass.h"
#include <stdlib.h>
#include <string.h>

static Str choice_id(const Node *n) { return node_attr(n, ATTR_ID)->s; }

/* The rule's name: the id up to '@'. */
static const char *choice_rule(Arena *a, Str id)
{
    const char *at = strchr(id, '@');
    return at ? arena_strndup(a, id, (size_t)(at - id)) : id;
}

/* The id without its number. */
static Str family_of(const Graph *g, Str id)
{
    size_t n = strcspn(id, "#");
    return id[n] ? str_intern_n(g->cx->strs, id, n) : id;
}

/* 0: it has none. */
static uint32_t number_of(Str id)
{
    const char *at = strchr(id, '#');
    return at ? (uint32_t)strtoul(at + 1, NULL, 10) : 0;
}

void choices_number(Context *cx, Str *ids, uint32_t n)
{
    Map *count = map_new(cx->scratch), *given = map_new(cx->scratch);
    for (uint32_t i = 0; i < n; i++)
        map_set(count, (uintptr_t)ids[i], map_get(count, (uintptr_t)ids[i], 0) + 1);
    for (uint32_t i = 0; i < n; i++) {
        Str family = ids[i];
        if (map_get(count, (uintptr_t)family, 0) < 2)
            continue;
        uint64_t number = map_get(given, (uintptr_t)family, 0) + 1;
        map_set(given, (uintptr_t)family, number);
        ids[i] = str_format(cx->strs, "%s#%u", family, (unsigned)number);
    }
}

ChoiceInfo *choices_list(const Graph *g, Arena *a, uint32_t *n)
{
    Vec(ChoiceInfo) found = {0};
    Map *seen = map_new(a);
    uint32_t n_nodes;
    Node **order = graph_order(g, a, &n_nodes);

    for (uint32_t i = 0; i < n_nodes; i++) {
        const Node *c = order[i];
        if (c->op != OP_CHOICE)
            continue;
        Str family = family_of(g, choice_id(c));
        uint64_t at = map_get(seen, (uintptr_t)family, found.n);
        if (map_set(seen, (uintptr_t)family, at)) {
            ChoiceInfo info = {.id = family, .n_alternatives = c->n_in, .loc = c->in[0]->loc, .rule = choice_rule(a, family)};
            vec_push(a, &found, info);
        }
        uint32_t number = number_of(choice_id(c));
        if (number > found.data[at].n_members)
            found.data[at].n_members = number;
    }
    *n = found.n;
    return found.data;
}

/* ---- resolving ----------------------------------------------------------------------------------------------------- */
static uint32_t picked(const Node *choice, const ChoicePick *picks, uint32_t n)
{
    Str id = choice_id(choice);
    size_t family = strcspn(id, "#");
    uint32_t k = 0;
    bool own = false;

    for (uint32_t i = 0; i < n; i++) {
        bool all = strlen(picks[i].id) == family && !memcmp(picks[i].id, id, family), this = strcmp(picks[i].id, id) == 0;
        if (this || (all && !own))
            k = picks[i].alternative;
        own |= this && id[family];
    }
    pawl_assert(k < choice->n_in, "choice %s has %u alternatives, not %u", choice_id(choice), choice->n_in, k + 1);
    return k;
}

Graph *choices_resolve(const Graph *g, const ChoicePick *picks, uint32_t n)
{
    Graph *copy = graph_specialise(g, NULL, 0);

    pawl_assert(copy, "the graph could not be copied");
    for (uint32_t id = 0, end = copy->nodes.n; id < end; id++) {
        Node *c = copy->nodes.data[id];
        if (c->op == OP_CHOICE)
            graph_replace(copy, c, c->in[picked(c, picks, n)]);
    }
    graph_rebuild(copy);
    graph_compact(copy);
    return copy;
}
