/* cli/evidence.c — see evidence.h. */
#include "cli/evidence.h"
#include "cli/table.h"
#include "passes/rules/rule.h"
#include <string.h>

struct EvidenceBook {
    const RuleSet *set;
};

EvidenceBook *evidence_open(Context *cx, const char *rules_dir)
{
    EvidenceBook *b = arena_new_of(cx->arena, EvidenceBook);
    b->set = rules_dir ? rules_load(cx, rules_dir) : rules_generated(cx->arena);
    return b;
}

static const RuleInfo *rule_info(const RuleSet *set, const char *name)
{
    for (uint32_t i = 0; set && i < set->n; i++)
        if (!strcmp(set->info[i]->name, name))
            return set->info[i];
    return NULL;
}

json_t *evidence_of(const EvidenceBook *b, const char *rule)
{
    const RuleInfo *r = rule_info(b->set, rule);
    json_t *list = json_array();
    for (uint32_t i = 0; r && i < r->n_evidence; i++) {
        const Evidence *e = &r->evidence[i];
        json_t *j = json_object();
        json_object_set_new(j, "device", json_text(e->device));
        json_object_set_new(j, "task", json_text(e->task));
        json_object_set_new(j, "workload", json_text(e->workload));
        json_object_set_new(j, "date", json_text(e->date));
        json_object_set_new(j, "ratio", json_number(e->ratio));
        json_object_set_new(j, "ratio_low", json_number(e->lo));
        json_object_set_new(j, "ratio_high", json_number(e->hi));
        json_array_append_new(list, j);
    }
    return list;
}
