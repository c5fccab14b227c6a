/* passes/choices.c — choices as values: which there are, and the graph under a set of picks.
 *
 * choice(id; a, b, …) is one node an output; nodes with one id switch together, since they come from one rewrite of a region
 * with several outputs. An id reads RULE@PLACE. */
#include "passes/pass.h"
#include <string.h>

static Str choice_id(const Node *n) { return node_attr(n, ATTR_ID)->s; }

/* The rule's name: the id up to '@'. */
static const char *choice_rule(Arena *a, Str id)
{
    const char *at = strchr(id, '@');
    return at ? arena_strndup(a, id, (size_t)(at - id)) : id;
}

ChoiceInfo *choices_list(const Graph *g, Arena *a, uint32_t *n)
{
    Vec(ChoiceInfo) found = {0};
    Map *seen = map_new(a);
    uint32_t n_nodes;
    Node **order = graph_order(g, a, &n_nodes);

    for (uint32_t i = 0; i < n_nodes; i++) {
        const Node *c = order[i];
        if (c->op != OP_CHOICE || !map_set_ptr(seen, choice_id(c), c))
            continue;
        ChoiceInfo info = {.id = choice_id(c), .n_alternatives = c->n_in, .loc = c->in[0]->loc};
        info.rule = choice_rule(a, info.id);
        vec_push(a, &found, info);
    }
    *n = found.n;
    return found.data;
}

/* ---- resolving ----------------------------------------------------------------------------------------------------- */
static uint32_t picked(const Node *choice, const ChoicePick *picks, uint32_t n)
{
    uint32_t k = 0;

    for (uint32_t i = 0; i < n; i++)
        if (strcmp(picks[i].id, choice_id(choice)) == 0)
            k = picks[i].alternative;
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
