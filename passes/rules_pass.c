/* passes/rules_pass.c — runs the rules over a graph.
 *
 * pass_rules: a worklist of all nodes, operands first. Where an `always` rule fires, the old node forwards to the new one, and
 * the new nodes and the users of the old one are visited again, as far up as patterns reach. Matching sees through forwards, so
 * nothing is rebuilt in between: the pass is linear in nodes plus rewrites.
 * pass_choices: each node once. A `measured` rule leaves choice(RULE@PLACE; old, new) for every root instead of rewriting.
 * requires: canonical form, for the literals in patterns.  preserves: what each rule's exactness says; types. */
#include "passes/pass.h"
#include "passes/rules/rule.h"
#include <string.h>

#define FIRINGS_A_NODE 16u      /* in one run of the pass; a set of rules that needs more goes in circles or grows without end */

typedef struct Driver {
    PassContext *cx;
    RuleRun *run;
    Node **queue; uint32_t head, n, cap;          /* a ring */
    Vec(uint8_t) queued;                          /* by node id */
    uint32_t reach;                               /* levels of users to visit again */
    uint64_t fired, limit;
    Vec(RuleSite) sites;                          /* of choices; applied at the end */
    Vec(Str) ids;                                 /* beside sites */
    Map *taken;                                   /* roots that are in a choice */
} Driver;

/* ---- which rules may fire ------------------------------------------------------------------------------------------------ */
static int permissiveness(NumClass c)
{
    switch (c) {
    case NUM_IEEE: return 0;
    case NUM_FP32: return 1;
    case NUM_TF32: return 2;
    case NUM_BF16: case NUM_F16: return 3;
    case NUM_APPROX: return 4;
    }
    return 0;
}

/* Every class allows reassociation; range(…) is a condition of its rule. */
static bool allowed(const RuleInfo *info, const PassOptions *o)
{
    NumClass c = info->of_matmul ? o->numerics.matmul : o->numerics.otherwise;

    for (uint32_t i = 0; i < o->n_disabled_rules; i++)
        if (strcmp(o->disabled_rules[i], info->name) == 0)
            return false;
    return info->exactness != PRECISION || permissiveness(c) >= permissiveness(info->precision);
}

/* ---- the worklist ----------------------------------------------------------------------------------------------------------- */
static void enqueue(Driver *d, Node *n)
{
    while (d->queued.n <= n->id)
        vec_push(d->cx->scratch, &d->queued, (uint8_t)0);
    if (d->queued.data[n->id])
        return;
    if (d->n == d->cap) {
        uint32_t cap = d->cap ? d->cap * 2 : 1024;
        Node **queue = arena_new_array(d->cx->scratch, Node *, cap);
        for (uint32_t i = 0; i < d->n; i++)
            queue[i] = d->queue[(d->head + i) % d->cap];
        d->queue = queue;
        d->head = 0;
        d->cap = cap;
    }
    d->queue[(d->head + d->n++) % d->cap] = n;
    d->queued.data[n->id] = 1;
}

static Node *dequeue(Driver *d)
{
    if (d->n == 0)
        return NULL;
    Node *n = d->queue[d->head];
    d->head = (d->head + 1) % d->cap;
    d->n--;
    d->queued.data[n->id] = 0;
    return n;
}

#define MAX_REVISITED 256       /* distant users of one node: beyond, the next round of the pipeline sees them */

/* The users of a node about to be replaced, and theirs, as far as patterns reach. */
static void enqueue_users(Driver *d, Node *n)
{
    Arena *a = d->cx->scratch;
    Vec(Node *) seen = {0};
    uint32_t level = 0;

    vec_push(a, &seen, n);
    for (uint32_t up = 0; up < d->reach; up++)
        for (uint32_t end = seen.n; level < end; level++) {
            uint32_t n_users;
            Node **users = uses_of(d->run->uses, seen.data[level], &n_users);
            for (uint32_t k = 0; k < n_users && (up == 0 || seen.n < MAX_REVISITED); k++) {
                enqueue(d, users[k]);
                vec_push(a, &seen, users[k]);
            }
        }
}

/* ---- firing ------------------------------------------------------------------------------------------------------------------- */
static void report_firing(Driver *d, const RuleInfo *rule, const Node *old_node, Str choice)
{
    RuleFiring f = {.rule = rule->name, .node = old_node->name, .loc = old_node->loc, .choice = choice};
    vec_push(d->cx->cx->arena, &d->cx->report->firings, f);
}

static bool types_kept(Driver *d, const RuleInfo *rule, const RuleSite *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!type_equal(&s[i].old_node->type, &s[i].new_node->type)) {
            StrBuf b = strbuf_new(d->cx->scratch);
            type_print(&b, &s[i].old_node->type);
            strbuf_add(&b, " by ");
            type_print(&b, &s[i].new_node->type);
            return diag_error(d->cx->cx->diags, PAWL_EXIT_INVALID, s[i].old_node->loc, "state the condition in `where`",
                              "%s:%u: rule %s replaces %s", rule->file, rule->line, rule->name, b.text);
        }
    return true;
}

static void name_origin(const Driver *d, const RuleInfo *rule)
{
    Graph *g = d->cx->graph;
    Str origin = NULL;

    for (uint32_t id = d->run->built_from; id < g->nodes.n; id++) {
        if (!origin)
            origin = str_format(d->cx->cx->strs, "rule:%s", rule->name);
        g->nodes.data[id]->origin = origin;
    }
}

static bool fire_always(RuleRun *r, uint32_t rule, const RuleSite *sites, uint32_t n)
{
    Driver *d = r->user;
    const RuleInfo *info = r->set->info[rule];

    if (!types_kept(d, info, sites, n)) {
        r->enabled[rule] = false;
        return false;
    }
    name_origin(d, info);
    for (uint32_t i = 0; i < n; i++) {
        Node *new_node = graph_resolve(r->g, sites[i].new_node);
        report_firing(d, info, sites[i].old_node, NULL);
        enqueue(d, new_node);
        enqueue_users(d, sites[i].old_node);
        graph_replace(r->g, sites[i].old_node, new_node);
        uses_replace(r->uses, sites[i].old_node, new_node);
    }
    d->fired++;
    return true;
}

static Driver driver_new(PassContext *cx, Profit profit)
{
    Driver d = {.cx = cx, .run = rule_run_new(cx->graph, cx->rules, cx->scratch), .taken = map_new(cx->scratch)};

    d.run->timed = true;
    for (uint32_t i = 0; i < cx->rules->n; i++) {
        const RuleInfo *info = cx->rules->info[i];
        d.run->enabled[i] = info->profit == profit && allowed(info, cx->opt);
        if (info->profit == profit && info->depth > d.reach)
            d.reach = info->depth;
    }
    d.limit = 64 + FIRINGS_A_NODE * (uint64_t)cx->graph->nodes.n;
    return d;
}

static RuleStat *stat_of(PassReport *report, Arena *a, const char *rule, uint32_t guess)
{
    if (guess < report->rules.n && report->rules.data[guess].rule == rule)
        return &report->rules.data[guess];
    for (uint32_t i = 0; i < report->rules.n; i++)
        if (strcmp(report->rules.data[i].rule, rule) == 0)
            return &report->rules.data[i];
    vec_push(a, &report->rules, (RuleStat){.rule = rule});
    return &vec_last(&report->rules);
}

static void report_counts(const Driver *d)
{
    for (uint32_t i = 0; i < d->run->set->n; i++) {
        RuleStat *s = stat_of(d->cx->report, d->cx->cx->arena, d->run->set->info[i]->name, i);
        s->tried += d->run->counts[i].tried;
        s->fired += d->run->counts[i].fired;
        s->seconds += d->run->counts[i].seconds;
    }
}

static void report_limit(const Driver *d)
{
    uint32_t most = 0;

    for (uint32_t i = 1; i < d->run->set->n; i++)
        if (d->run->counts[i].fired > d->run->counts[most].fired)
            most = i;
    pass_stop(d->cx, "rules: stopped after %llu firings, %u a node: rule %s, which fired most, may undo another or grow without end",
              (unsigned long long)d->fired, FIRINGS_A_NODE, d->run->set->info[most]->name);
}

bool pass_rules(PassContext *cx)
{
    Driver d = driver_new(cx, ALWAYS);
    uint32_t n_nodes;
    Node **order = graph_order(cx->graph, cx->scratch, &n_nodes);

    d.run->user = &d;
    d.run->fire = fire_always;
    for (uint32_t i = 0; i < n_nodes; i++)
        enqueue(&d, order[i]);
    for (Node *n; d.fired < d.limit && (n = dequeue(&d)); ) {
        if (uses_dead(d.run->uses, n) || graph_resolve(cx->graph, n) != n)
            continue;
        cx->rules->at(cx->rules, d.run, n);
    }
    if (d.fired >= d.limit)
        report_limit(&d);
    report_counts(&d);
    return d.fired > 0;
}

/* ---- choices ------------------------------------------------------------------------------------------------------------------ */
static bool id_taken(const Driver *d, Str id)
{
    for (uint32_t i = 0; i < d->ids.n; i++)
        if (d->ids.data[i] == id)
            return true;
    for (uint32_t i = 0; i < d->cx->graph->nodes.n; i++) {
        const Node *n = d->cx->graph->nodes.data[i];
        if (n->op == OP_CHOICE && node_attr(n, ATTR_ID)->s == id)
            return true;
    }
    return false;
}

/* RULE@NAME of the first root; unnamed roots are numbered. */
static Str new_id(Driver *d, const RuleInfo *rule, const Node *root)
{
    StrPool *strs = d->cx->cx->strs;
    Str id = root->name ? str_format(strs, "%s@%s", rule->name, root->name) : str_format(strs, "%s@1", rule->name);

    for (uint32_t k = 2; id_taken(d, id); k++)
        id = root->name ? str_format(strs, "%s@%s.%u", rule->name, root->name, k) : str_format(strs, "%s@%u", rule->name, k);
    return id;
}

static bool in_a_choice(Driver *d, const Node *n)
{
    uint32_t n_users;
    Node **users = uses_of(d->run->uses, n, &n_users);

    if (map_get_ptr(d->taken, n))
        return true;
    for (uint32_t i = 0; i < n_users; i++)
        if (users[i]->op == OP_CHOICE)
            return true;
    return false;
}

static bool fire_measured(RuleRun *r, uint32_t rule, const RuleSite *sites, uint32_t n)
{
    Driver *d = r->user;
    const RuleInfo *info = r->set->info[rule];

    if (!types_kept(d, info, sites, n)) {
        r->enabled[rule] = false;
        return false;
    }
    for (uint32_t i = 0; i < n; i++)
        if (in_a_choice(d, sites[i].old_node))
            return false;
    Str id = new_id(d, info, sites[0].old_node);
    name_origin(d, info);
    for (uint32_t i = 0; i < n; i++) {
        vec_push(d->cx->scratch, &d->sites, sites[i]);
        vec_push(d->cx->scratch, &d->ids, id);
        map_set_ptr(d->taken, sites[i].old_node, sites[i].new_node);
        report_firing(d, info, sites[i].old_node, id);
    }
    d->fired++;
    return true;
}

static void leave_choices(Driver *d)
{
    Graph *g = d->cx->graph;

    for (uint32_t i = 0; i < d->sites.n; i++) {
        Node *in[2] = {d->sites.data[i].old_node, d->sites.data[i].new_node};
        Attr id = {.key = ATTR_ID, .s = d->ids.data[i]};
        Node *choice = graph_add(g, OP_CHOICE, in, 2, &id, 1, in[0]->loc);
        pawl_assert(choice, "choice %s was refused", d->ids.data[i]);
        graph_replace(g, in[0], choice);
    }
}

bool pass_choices(PassContext *cx)
{
    Driver d = driver_new(cx, MEASURED);
    uint32_t n_nodes;
    Node **order = graph_order(cx->graph, cx->scratch, &n_nodes);

    d.run->user = &d;
    d.run->fire = fire_measured;
    for (uint32_t i = 0; i < n_nodes; i++)
        if (!map_get_ptr(d.taken, order[i]))
            cx->rules->at(cx->rules, d.run, order[i]);
    leave_choices(&d);
    report_counts(&d);
    return d.fired > 0;
}
