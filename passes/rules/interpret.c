/* passes/rules/interpret.c — executes the programs of rules that were read at run time (--rules DIR) and finds, at a node, the rules
 * that are worth a try: by its op, then by the ops of its operands. */
#include "passes/rules/rule.h"

typedef struct { const Rule *rule; const Program *program; uint32_t begin, end; } Block;

RuleValue interpret_expr(RuleRun *r, const RuleMatch *m, const RuleExpr *e)
{
    RuleValue args[RULE_MAX_ARGS] = {0};

    if (e->kind >= REX_AT && e->kind <= REX_NEG)
        for (uint32_t i = 0; i < e->n; i++)
            args[i] = interpret_expr(r, m, e->args[i]);
    switch (e->kind) {
    case REX_INT:    return rv_int(e->i);
    case REX_FLOAT:  return rv_float(e->f);
    case REX_DTYPE:  return rv_dtype(e->dtype);
    case REX_INTS:   return rv_ints(e->ints, e->n);
    case REX_VALUE:  return rv_node(m->value[e->slot]);
    case REX_LIST:   return rv_list(m, e->slot);
    case REX_ATTR:   return m->attr[e->slot];
    case REX_INDEX:  return rv_int(m->index);
    case REX_AT:     return rule_at(m, e->slot, args[0]);
    case REX_CALL:   return rule_native(r, e->native, args, e->n);
    case REX_BINARY: return rule_binary(r, e->binary, args[0], args[1]);
    case REX_NEG:    return rule_negate(r, args[0]);
    case REX_ANY:    break;
    }
    return (RuleValue){0};
}

EachSpec step_each(const Step *s)
{
    EachSpec e = {.list = s->a, .src = s->src, .anchor = s->b, .n_collect = s->n_collect, .n_fresh = s->n_fresh};

    for (uint32_t i = 0; i < s->n_collect; i++)
        e.collect[i] = s->collect[i];
    for (uint32_t i = 0; i < s->n_fresh; i++)
        e.fresh[i] = s->fresh[i];
    return e;
}

static bool run_block(RuleRun *r, RuleMatch *m, const void *block);

static bool run_type(RuleRun *r, RuleMatch *m, const Step *s)
{
    if (!rule_type_is(m, s->src, s->dtypes, s->has_shape, s->open, s->n_exprs))
        return false;
    for (uint32_t k = 0; k < s->n_exprs; k++) {
        const RuleExpr *d = s->exprs[k];
        bool ok = d->kind == REX_ATTR ? rule_bind_dim(r, m, s->src, k, s->n_exprs, d->slot)
                : d->kind == REX_ANY  ? true : rule_dim_is(r, m, s->src, k, s->n_exprs, interpret_expr(r, m, d));
        if (!ok)
            return false;
    }
    return true;
}

static bool run_attr(RuleRun *r, RuleMatch *m, const Step *s)
{
    if (s->expr->kind == REX_ATTR)
        return rule_bind_attr(r, m, s->src, s->key, s->expr->slot);
    return rule_attr_is(r, m, s->src, s->key, interpret_expr(r, m, s->expr));
}

static bool run_make(RuleRun *r, RuleMatch *m, const Step *s)
{
    RuleValue in[RULE_MAX_ARGS], attrs[MAX_OP_ATTRS];
    AttrKey keys[MAX_OP_ATTRS];

    for (uint32_t i = 0; i < s->n_exprs; i++)
        in[i] = interpret_expr(r, m, s->exprs[i]);
    for (uint32_t i = 0; i < s->n_attrs; i++) {
        keys[i] = s->attrs[i].key;
        attrs[i] = interpret_expr(r, m, s->attrs[i].expr);
    }
    return rule_make(r, m, s->dst, s->op == OP_NONE ? m->op[s->a] : s->op, in, s->n_exprs, keys, attrs, s->n_attrs);
}

static bool run_step(RuleRun *r, RuleMatch *m, const Step *s, const Block *nested)
{
    EachSpec each;

    switch (s->kind) {
    case STEP_OPERAND:  return rule_bind_operand(r, m, s->dst, s->src, s->k, s->a, s->flip);
    case STEP_OPERANDS: return rule_bind_operands(r, m, s->dst, s->src);
    case STEP_OP:       return rule_bind_op(m, s->src, s->ops, s->a);
    case STEP_LITERAL:  return rule_is_literal(m, s->src, s->f);
    case STEP_ATTR:     return run_attr(r, m, s);
    case STEP_DEFAULT:  return rule_attr_default(m, s->src, s->key);
    case STEP_TYPE:     return run_type(r, m, s);
    case STEP_LET:
        m->attr[s->a] = interpret_expr(r, m, s->expr);
        return m->attr[s->a].kind != RV_NONE;
    case STEP_WHERE:    return rule_true(interpret_expr(r, m, s->expr));
    case STEP_EACH:     return each = step_each(s), rule_each(r, m, &each, run_block, nested);
    case STEP_SIBLINGS: return each = step_each(s), rule_siblings(r, m, &each, run_block, nested);
    case STEP_FIND:     return each = step_each(s), rule_find(r, m, &each, run_block, nested);
    case STEP_MAKE:     return run_make(r, m, s);
    case STEP_ALIAS:    return rule_alias(r, m, s->dst, interpret_expr(r, m, s->expr));
    case STEP_REPEAT:   return each = step_each(s), rule_repeat(r, m, &each, run_block, nested);
    }
    return false;
}

static bool run_block(RuleRun *r, RuleMatch *m, const void *block)
{
    const Block *b = block;

    for (uint32_t i = b->begin; i < b->end; i++) {
        const Step *s = &b->program->data[i];
        Block nested = {b->rule, b->program, i + 1, s->end};
        if (!run_step(r, m, s, &nested))
            return false;
        if (s->end)
            i = s->end - 1;
    }
    return true;
}

bool interpret_match(RuleRun *r, RuleMatch *m, const void *rule)
{
    const Rule *x = rule;
    return run_block(r, m, &(Block){x, &x->match, 0, x->match.n});
}

bool interpret_build(RuleRun *r, RuleMatch *m, const void *rule)
{
    const Rule *x = rule;
    return run_block(r, m, &(Block){x, &x->build, 0, x->build.n});
}

/* ---- at a node -------------------------------------------------------------------------------------------------------------- */
typedef struct { const Rule *const *rules; TrySpec *tries; uint32_t *start, *of_op; } Index;   /* of_op[start[op] …]: rules */

TrySpec rule_try_spec(const Rule *rule, uint32_t index)
{
    TrySpec t = {.rule = index, .n_ways = rule->n_ways, .root = rule->roots[0]->slot, .family = rule->family,
                 .n_roots = rule->n_roots};

    for (uint32_t i = 0; i < rule->n_roots; i++) {
        t.old_root[i] = rule->old_root[i];
        t.new_root[i] = rule->new_root[i];
    }
    return t;
}

bool rule_prefilter(const Rule *rule, Op root, Op a, Op b)
{
    const OpSet *want = rule->operand_ops;
    OpSet all = OPSET_ALL;

    if (!opset_has(rule->root_ops, root))
        return false;
    bool any0 = want[0].w[0] == all.w[0] && want[0].w[1] == all.w[1], any1 = want[1].w[0] == all.w[0] && want[1].w[1] == all.w[1];
    if ((any0 || opset_has(want[0], a)) && (any1 || opset_has(want[1], b)))
        return true;
    return rule->root_flips && (any0 || opset_has(want[0], b)) && (any1 || opset_has(want[1], a));
}

static bool interpret_at(const RuleSet *set, RuleRun *r, Node *n)
{
    const Index *x = set->impl;
    Op a = rule_operand_op(r, n, 0), b = rule_operand_op(r, n, 1);

    for (uint32_t i = x->start[n->op]; i < x->start[n->op + 1]; i++) {
        uint32_t k = x->of_op[i];
        if (rule_prefilter(x->rules[k], n->op, a, b) &&
            rule_try(r, &x->tries[k], interpret_match, interpret_build, x->rules[k], n))
            return true;
    }
    return false;
}

const RuleSet *rules_interpreted(Arena *a, const RuleList *rules)
{
    RuleSet *set = arena_new_of(a, RuleSet);
    Index *x = arena_new_of(a, Index);
    const RuleInfo **info = arena_new_array(a, const RuleInfo *, rules->n + 1);
    Vec(uint32_t) of_op = {0};

    *x = (Index){(const Rule *const *)rules->data, arena_new_array(a, TrySpec, rules->n + 1),
                 arena_new_array(a, uint32_t, OP_COUNT + 1), NULL};
    for (uint32_t i = 0; i < rules->n; i++) {
        info[i] = &rules->data[i]->info;
        x->tries[i] = rule_try_spec(rules->data[i], i);
    }
    for (uint32_t op = 0; op < OP_COUNT; op++) {
        x->start[op] = of_op.n;
        for (uint32_t i = 0; i < rules->n; i++)
            if (opset_has(rules->data[i]->root_ops, (Op)op))
                vec_push(a, &of_op, i);
    }
    x->start[OP_COUNT] = of_op.n;
    x->of_op = of_op.data;
    *set = (RuleSet){info, rules->n, interpret_at, x};
    return set;
}
