/* passes/rules/run.c — sets of rules, and what a run over a graph keeps. */
#include "passes/rules/rule.h"
#include <string.h>

static bool generated_at(const RuleSet *set, RuleRun *r, Node *n)
{
    const GeneratedRules *g = set->impl;
    return g->at(r, n);
}

const RuleSet *rules_generated(Arena *a)
{
    const GeneratedRules *g = &pawl_generated_rules;
    RuleSet *set = arena_new_of(a, RuleSet);
    const RuleInfo **info = arena_new_array(a, const RuleInfo *, g->n + 1);

    for (uint32_t i = 0; i < g->n; i++)
        info[i] = &g->rules[i];
    *set = (RuleSet){info, g->n, generated_at, g};
    return set;
}

const RuleSet *rules_load(Context *cx, const char *dir)
{
    RuleList list = {0};

    if (!rules_parse_dir(cx, dir, &list) || !rules_check(cx, &list))
        return NULL;
    return rules_interpreted(cx->arena, &list);
}

bool rules_check_names(const RuleSet *s, const char *const *names, uint32_t n, Diags *d)
{
    for (uint32_t i = 0; i < n; i++) {
        bool known = false;
        for (uint32_t k = 0; k < s->n && !known; k++)
            known = strcmp(s->info[k]->name, names[i]) == 0;
        if (!known)
            return diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, "pawl opt --rule-stats names them", "there is no rule '%s'", names[i]);
    }
    return true;
}

RuleRun *rule_run_new(Graph *g, const RuleSet *set, Arena *scratch)
{
    RuleRun *r = arena_new_of(scratch, RuleRun);

    *r = (RuleRun){.g = g, .scratch = scratch, .set = set};
    r->enabled = arena_new_array(scratch, bool, set->n + 1);
    r->counts = arena_new_array(scratch, RuleCount, set->n + 1);
    r->uses = uses_new(g, scratch);
    r->is_mutable = map_new(scratch);
    vec_foreach(GraphInput, in, &g->inputs)
        if (in->is_mutable)
            map_set_ptr(r->is_mutable, in->node, in->node);
    return r;
}

/* Operands have smaller ids than their users, so the bitmap grows in order. */
bool rule_frozen(RuleRun *r, const Node *n)
{
    while (r->frozen.n <= n->id) {
        const Node *m = r->g->nodes.data[r->frozen.n];
        bool frozen = m->op != OP_INPUT && !map_get_ptr(r->is_mutable, m);
        for (uint32_t i = 0; i < m->n_in && frozen; i++)
            frozen = r->frozen.data[m->in[i]->id];
        vec_push(r->scratch, &r->frozen, (uint8_t)frozen);
    }
    return r->frozen.data[n->id];
}
