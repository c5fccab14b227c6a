/* passes/rules/compile_expr.c — expressions of rules: attribute variables, arithmetic on them, calls of natives. */
#include "passes/rules/compile.h"
#include <string.h>

static RuleExpr *expr_new(Compiler *c, RuleExprKind kind, Loc loc)
{
    RuleExpr *e = arena_new_of(c->cx->arena, RuleExpr);
    e->kind = kind;
    e->loc = loc;
    return e;
}

static RuleExpr *compile_number(Compiler *c, const TextExpr *t)
{
    RuleExpr *e = expr_new(c, t->is_int ? REX_INT : REX_FLOAT, t->loc);
    e->i = t->integer;
    e->f = t->number;
    return e;
}

static RuleExpr *unbound(Compiler *c, const TextExpr *t, const char *sigil, const Str *names, uint32_t n)
{
    const char *near = str_nearest(t->name, names, n);

    COMPILE_FAIL(c, t->loc, near ? arena_printf(c->cx->arena, "did you mean %s%s?", sigil, near) : NULL,
                 "%s%s is not bound by `match`", sigil, t->name);
    return NULL;
}

static RuleExpr *compile_name(Compiler *c, const TextExpr *t)
{
    DType dtype;
    uint8_t slot;

    if (strcmp(t->name, "_") == 0)
        return expr_new(c, REX_ANY, t->loc);
    if (c->index == t->name)
        return expr_new(c, REX_INDEX, t->loc);
    if ((slot = attr_slot(c, t->name, t->loc, false)) != RULE_NO_SLOT) {
        RuleExpr *e = expr_new(c, REX_ATTR, t->loc);
        e->slot = slot;
        return e;
    }
    if (!dtype_parse(t->name, &dtype))
        return unbound(c, t, "", c->rule->attr_name, c->rule->n_attrs);
    RuleExpr *e = expr_new(c, REX_DTYPE, t->loc);
    e->dtype = dtype;
    return e;
}

static RuleExpr *compile_list_entry(Compiler *c, const TextExpr *t)
{
    RuleExpr *e = expr_new(c, REX_AT, t->loc);

    e->slot = list_slot(c, t->name, t->loc, false);
    if (e->slot == RULE_NO_SLOT)
        return unbound(c, t, "%", c->rule->list_name, c->rule->n_lists);
    e->n = 1;
    return (e->args[0] = compile_expr(c, t->index)) ? e : NULL;
}

static RuleExpr *compile_value(Compiler *c, const TextExpr *t)
{
    bool element = t->index && t->index->kind == TE_NAME && t->index->name == c->index;

    if (t->index && t->index->kind != TE_STAR && (!element || c->building))
        return compile_list_entry(c, t);
    RuleExpr *e = expr_new(c, t->index && !element ? REX_LIST : REX_VALUE, t->loc);
    if (e->kind == REX_LIST) {
        e->slot = list_slot(c, t->name, t->loc, false);
        return e->slot == RULE_NO_SLOT ? unbound(c, t, "%", c->rule->list_name, c->rule->n_lists) : e;
    }
    e->slot = value_slot_find(c, element ? element_name(c, t->name) : t->name);
    return e->slot == RULE_NO_SLOT ? unbound(c, t, "%", c->rule->value_name, c->rule->n_values) : e;
}

static RuleExpr *compile_list(Compiler *c, const TextExpr *t)
{
    RuleExpr *e = expr_new(c, REX_INTS, t->loc);
    int64_t *ints = arena_new_array(c->cx->arena, int64_t, t->n + 1);

    for (uint32_t i = 0; i < t->n; i++) {
        if (t->args[i].value->kind != TE_NUMBER || !t->args[i].value->is_int) {
            COMPILE_FAIL(c, t->args[i].loc, NULL, "lists in rules hold integers only");
            return NULL;
        }
        ints[i] = t->args[i].value->integer;
    }
    e->ints = ints;
    e->n = t->n;
    return e;
}

static NativeId native_find(const char *name)
{
    for (int i = 0; i < NATIVE_COUNT; i++)
        if (strcmp(native_table[i].name, name) == 0)
            return (NativeId)i;
    return NATIVE_COUNT;
}

static const char *native_near(const char *name)
{
    const char *names[NATIVE_COUNT];

    for (int i = 0; i < NATIVE_COUNT; i++)
        names[i] = native_table[i].name;
    return str_nearest(name, names, NATIVE_COUNT);
}

/* What can be told before running: values and lists are not numbers. */
static bool kind_fits(char want, const RuleExpr *e)
{
    bool value = e->kind == REX_VALUE || e->kind == REX_AT, list = e->kind == REX_LIST;

    switch (want) {
    case 'V': return value;
    case 'L': return list;
    case 'A': return value || list;
    case 'S': return e->kind == REX_ATTR || e->kind == REX_INTS || (e->kind == REX_CALL && native_table[e->native].result == 'S');
    default:  return !value && !list && e->kind != REX_ANY;
    }
}

static const char *kind_name(char kind)
{
    switch (kind) {
    case 'V': return "a value such as %x";
    case 'L': return "a list of values such as %w[*]";
    case 'A': return "a value or a list of values";
    case 'S': return "a list of integers";
    default:  return "a number, shape or dtype";
    }
}

static RuleExpr *compile_call(Compiler *c, const TextExpr *t)
{
    RuleExpr *e = expr_new(c, REX_CALL, t->loc);

    e->native = native_find(t->name);
    if (e->native == NATIVE_COUNT) {
        const char *near = native_near(t->name);
        COMPILE_FAIL(c, t->loc, near ? arena_printf(c->cx->arena, "did you mean '%s'?", near) : NULL,
                     "there is no predicate or function '%s'", t->name);
        return NULL;
    }
    const NativeInfo *info = &native_table[e->native];
    e->n = (uint32_t)strlen(info->args);
    if (t->n != e->n) {
        COMPILE_FAIL(c, t->loc, NULL, "%s takes %u argument%s, not %u", info->name, e->n, e->n == 1 ? "" : "s", t->n);
        return NULL;
    }
    for (uint32_t i = 0; i < e->n; i++) {
        if (!(e->args[i] = compile_expr(c, t->args[i].value)))
            return NULL;
        if (!kind_fits(info->args[i], e->args[i])) {
            COMPILE_FAIL(c, t->args[i].loc, NULL, "argument %u of %s is %s", i + 1, info->name, kind_name(info->args[i]));
            return NULL;
        }
    }
    return e;
}

static RuleExpr *compile_operator(Compiler *c, const TextExpr *t)
{
    static const char *const names[] = {"+", "-", "*", "/", "//", "%", "==", "!=", "<", "<=", ">", ">=", "and", "or"};
    RuleExpr *e = expr_new(c, t->kind == TE_NEG ? REX_NEG : REX_BINARY, t->loc);

    for (uint32_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], t->name) == 0)
            e->binary = (RuleBinary)i;
    e->n = t->n;
    for (uint32_t i = 0; i < t->n; i++)
        if (!(e->args[i] = compile_expr(c, t->args[i].value)))
            return NULL;
    return e;
}

RuleExpr *compile_expr(Compiler *c, const TextExpr *e)
{
    switch (e->kind) {
    case TE_NUMBER: return compile_number(c, e);
    case TE_NAME:   return compile_name(c, e);
    case TE_VALUE:  return compile_value(c, e);
    case TE_LIST:   return compile_list(c, e);
    case TE_CALL:   return compile_call(c, e);
    case TE_BINARY:
    case TE_NEG:    return compile_operator(c, e);
    case TE_STRING:
    case TE_STAR:   break;
    }
    COMPILE_FAIL(c, e->loc, NULL, "rules know no such expression");
    return NULL;
}

bool expr_uses_elements(const Compiler *c, const RuleExpr *e, uint8_t *block)
{
    if (e->kind == REX_VALUE && c->block_of[e->slot]) {
        *block = c->block_of[e->slot];
        return true;
    }
    for (uint32_t i = 0; e->kind != REX_INTS && i < e->n; i++)
        if (expr_uses_elements(c, e->args[i], block))
            return true;
    return false;
}

bool expr_bound(Compiler *c, const RuleExpr *e)
{
    if (e->kind == REX_ATTR && !(c->attr_bound >> e->slot & 1))
        return COMPILE_FAIL(c, e->loc, NULL, "%s is used before it is bound", c->rule->attr_name[e->slot]);
    for (uint32_t i = 0; e->kind != REX_INTS && i < e->n; i++)
        if (!expr_bound(c, e->args[i]))
            return false;
    return true;
}
