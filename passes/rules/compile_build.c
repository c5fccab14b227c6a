/* passes/rules/compile_build.c — the statements of `rewrite` as the steps of the build program.
 * Names defined here shadow those of `match` from the next statement on. A statement that speaks of elements (%y[i] = …) is
 * repeated for each; its elements are entries of lists. */
#include "passes/rules/compile.h"
#include <string.h>

static Step *step(Compiler *c, RuleStepKind kind, Loc loc)
{
    Step s = {.kind = kind, .loc = loc, .dst = RULE_NO_SLOT, .src = RULE_NO_SLOT, .a = RULE_NO_SLOT, .b = RULE_NO_SLOT,
              .flip = -1, .op = OP_NONE};

    vec_push(c->cx->arena, &c->rule->build, s);
    return &vec_last(&c->rule->build);
}

static RuleExpr *slot_expr(Compiler *c, RuleExprKind kind, uint8_t slot, Loc loc)
{
    RuleExpr *e = arena_new_of(c->cx->arena, RuleExpr);
    *e = (RuleExpr){.kind = kind, .slot = slot, .loc = loc};
    return e;
}

static bool is_op_call(const Compiler *c, const TextExpr *t)
{
    return t->kind == TE_CALL && (op_var_find(c, t->name) || op_find(t->name) != OP_NONE);
}

static uint8_t build_call(Compiler *c, const TextExpr *t, uint8_t dst);

static RuleExpr *build_operand(Compiler *c, const TextExpr *t)
{
    if (!is_op_call(c, t))
        return compile_expr(c, t);
    uint8_t slot = value_slot_new(c, str_intern(c->cx->strs, "(nested)"), t->loc);
    if (slot == RULE_NO_SLOT || build_call(c, t, slot) == RULE_NO_SLOT)
        return NULL;
    return slot_expr(c, REX_VALUE, slot, t->loc);
}

static Op callee(Compiler *c, const TextExpr *t, uint8_t *op_slot)
{
    const OpVar *var = op_var_find(c, t->name);

    *op_slot = var ? var->slot : RULE_NO_SLOT;
    if (!var)
        return op_find(t->name);
    for (int op = 0; op < OP_COUNT; op++)
        if (opset_has(var->ops, (Op)op))
            return (Op)op;
    return OP_NONE;
}

static bool build_attrs(Compiler *c, const TextExpr *t, Op op, StepAttr *attrs, uint32_t *n)
{
    for (uint32_t i = 0; i < t->n; i++) {
        const TextKeyArg *a = &t->args[i];
        if (!a->key)
            continue;
        const OpAttrs *takes = op_attrs(op);
        bool known = attr_find(a->key, &attrs[*n].key), taken = false;
        for (uint32_t k = 0; known && k < takes->n; k++)
            taken |= takes->a[k].key == attrs[*n].key;
        if (!taken)
            return COMPILE_FAIL(c, a->loc, NULL, "%s has no attribute '%s'", op_name(op), a->key);
        if (!(attrs[*n].expr = compile_expr(c, a->value)))
            return false;
        (*n)++;
    }
    const OpAttrs *takes = op_attrs(op);
    for (uint32_t k = 0; k < takes->n; k++) {
        bool given = false;
        for (uint32_t i = 0; i < *n; i++)
            given |= attrs[i].key == takes->a[k].key;
        if (takes->a[k].required && !given)
            return COMPILE_FAIL(c, t->loc, NULL, "%s needs the attribute '%s'", op_name(op), attr_table[takes->a[k].key].name);
    }
    return true;
}

static bool check_operands(Compiler *c, const TextExpr *t, Op op, RuleExpr **in, uint32_t n)
{
    int arity = op_table[op].arity;

    for (uint32_t i = 0; i < n; i++)
        if (in[i]->kind == REX_LIST && arity >= 0)
            return COMPILE_FAIL(c, in[i]->loc, NULL, "%s takes no list", op_name(op));
    if (arity < 0 ? n > 0 : n == (uint32_t)arity)
        return true;
    return COMPILE_FAIL(c, t->loc, NULL, "%s takes %d operand%s, not %u", op_name(op), arity, arity == 1 ? "" : "s", n);
}

/* Emits the node after its nested calls; gives dst. */
static uint8_t build_call(Compiler *c, const TextExpr *t, uint8_t dst)
{
    uint8_t op_slot;
    Op op = callee(c, t, &op_slot);
    RuleExpr **in = arena_new_array(c->cx->arena, RuleExpr *, t->n + 1);
    StepAttr *attrs = arena_new_array(c->cx->arena, StepAttr, t->n + 1);
    uint32_t n_in = 0, n_attrs = 0;

    for (uint32_t i = 0; i < t->n; i++)
        if (!t->args[i].key && !(in[n_in++] = build_operand(c, t->args[i].value)))
            return RULE_NO_SLOT;
    if (!build_attrs(c, t, op, attrs, &n_attrs) || !check_operands(c, t, op, in, n_in))
        return RULE_NO_SLOT;
    Step *s = step(c, STEP_MAKE, t->loc);
    s->dst = dst;
    s->op = op_slot == RULE_NO_SLOT ? op : OP_NONE;
    s->a = op_slot;
    s->exprs = in;
    s->n_exprs = n_in;
    s->attrs = attrs;
    s->n_attrs = n_attrs;
    return dst;
}

/* literal(3): a number in the type of the root. */
static bool is_literal_call(const TextExpr *t)
{
    return t->kind == TE_CALL && strcmp(t->name, "literal") == 0 && t->n == 1;
}

static uint8_t build_value(Compiler *c, const TextExpr *t, Str name, Loc loc)
{
    RuleExpr *alias = NULL;
    uint8_t slot;

    if (!is_op_call(c, t)) {
        if (!is_literal_call(t) && t->kind == TE_CALL && t->name) {
            COMPILE_FAIL(c, t->loc, NULL, "there is no op '%s'", t->name);
            return RULE_NO_SLOT;
        }
        if (!(alias = compile_expr(c, is_literal_call(t) ? t->args[0].value : t)))
            return RULE_NO_SLOT;
    }
    /* the name is bound after its own expression: %y = reshape(%x, shape=shape(%y)) speaks of the matched %y */
    if ((slot = value_slot_new(c, str_intern(c->cx->strs, "(new)"), loc)) == RULE_NO_SLOT)
        return slot;
    if (!alias && build_call(c, t, slot) == RULE_NO_SLOT)
        return RULE_NO_SLOT;
    if (alias) {
        Step *s = step(c, STEP_ALIAS, loc);
        s->dst = slot;
        s->expr = alias;
    }
    c->rule->value_name[slot] = name;
    return slot;
}

static bool speaks_of_elements(const Compiler *c, const TextExpr *t, Str *list)
{
    if (t->kind == TE_VALUE && t->index && t->index->kind == TE_NAME && t->index->name == c->index)
        return *list = t->name, true;
    for (uint32_t i = 0; i < t->n; i++)
        if (speaks_of_elements(c, t->args[i].value, list))
            return true;
    return false;
}

/* %y[i] = …: as often as the family has roots, or as the first list that the statement mentions has entries. */
static bool build_repeated(Compiler *c, const TextStatement *s)
{
    const TextExpr *out = s->out[0];
    Str from = NULL;
    uint32_t at = c->rule->build.n;
    Step *repeat = step(c, STEP_REPEAT, s->loc);

    if (c->rule->family)
        repeat->a = c->rule->old_root[0];
    else if (speaks_of_elements(c, s->call, &from))
        repeat->a = list_slot(c, from, out->loc, false);
    if (repeat->a == RULE_NO_SLOT)
        return COMPILE_FAIL(c, out->loc, NULL, "nothing says how many elements %%%s has", out->name);
    uint8_t value = build_value(c, s->call, str_intern(c->cx->strs, "(element)"), s->loc);
    if (value == RULE_NO_SLOT)
        return false;
    if (c->rule->n_lists == RULE_MAX_LISTS)
        return COMPILE_FAIL(c, out->loc, NULL, "a rule has at most %d lists", RULE_MAX_LISTS);
    uint8_t list = (uint8_t)c->rule->n_lists++;
    c->rule->list_name[list] = out->name;
    repeat = &c->rule->build.data[at];
    repeat->collect[repeat->n_collect++] = (Collect){value, list};
    repeat->end = c->rule->build.n;
    return true;
}

/* The slot that holds the new form of root i: the youngest of its name. */
static bool find_new_root(Compiler *c, uint32_t i)
{
    Rule *r = c->rule;
    uint32_t n = r->family ? r->n_lists : r->n_values, old = r->old_root[i];
    const Str *names = r->family ? r->list_name : r->value_name;

    for (uint32_t k = n; k-- > 0; )
        if (names[k] == names[old] && k != old) {
            r->new_root[i] = (uint8_t)k;
            return true;
        }
    return COMPILE_FAIL(c, r->loc, NULL, "`rewrite` does not define %%%s%s", names[old], r->family ? "[i]" : "");
}

bool compile_build_program(Compiler *c)
{
    c->building = true;
    for (uint32_t i = 0; i < c->build.n; i++) {
        const TextStatement *s = &c->build.s[i];
        if (!s->call || s->n_out != 1 || s->type)
            return COMPILE_FAIL(c, s->loc, NULL, "a statement of `rewrite` defines one value, without a type");
        bool indexed = s->out[0]->index != NULL;
        if (indexed ? !build_repeated(c, s) : build_value(c, s->call, s->out[0]->name, s->loc) == RULE_NO_SLOT)
            return false;
    }
    for (uint32_t i = 0; i < c->rule->n_roots; i++)
        if (!find_new_root(c, i))
            return false;
    return true;
}
