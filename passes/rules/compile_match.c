/* passes/rules/compile_match.c — the statements of `match` as pattern trees.
 *
 * A value that a statement defines is a pattern, any other a variable. What no statement uses is a root. `%s[i] = …` gives
 * every element of a list its pattern: used as %s[*] it belongs to a variadic operand, unused it is a family of roots. */
#include "passes/rules/compile.h"
#include <string.h>

static Pattern *pattern_call(Compiler *c, const TextExpr *call, uint8_t slot);

static Definition *definition_find(Compiler *c, Str name, bool indexed)
{
    for (uint32_t i = 0; i < c->n_defs; i++)
        if (c->defs[i].name == name && c->defs[i].indexed == indexed)
            return &c->defs[i];
    return NULL;
}

static Pattern *pattern_new(Compiler *c, PatternKind kind, Loc loc, uint8_t slot)
{
    Pattern *p = arena_new_of(c->cx->arena, Pattern);
    *p = (Pattern){.kind = kind, .loc = loc, .slot = slot, .op_slot = RULE_NO_SLOT, .flip = -1};
    return p;
}

/* ---- operands ------------------------------------------------------------------------------------------------------- */
static Pattern *pattern_value(Compiler *c, const TextExpr *t, bool indexed)
{
    Definition *d = definition_find(c, t->name, indexed);
    Str name = indexed ? element_name(c, t->name) : t->name;
    uint8_t slot = value_slot_find(c, name);
    bool first = slot == RULE_NO_SLOT;

    if (indexed && !c->in_element) {
        COMPILE_FAIL(c, t->loc, "write %name[*] for all of them", "%%%s[%s] stands outside an element", t->name, c->index);
        return NULL;
    }
    if (first && (slot = value_slot_new(c, name, t->loc)) == RULE_NO_SLOT)
        return NULL;
    if (indexed) {
        c->block_of[slot] = c->block;
        c->list_of[slot] = list_slot(c, t->name, t->loc, true);
        if (c->list_of[slot] == RULE_NO_SLOT)
            return NULL;
    } else if (first && c->finding) {
        c->block_of[slot] = c->block;             /* another root's own variable: looked for anew at every candidate */
    }
    if (!d || !first)
        return pattern_new(c, PAT_VALUE, t->loc, slot);
    d->used = d->placed = true;
    return pattern_call(c, d->s->call, slot);
}

static Pattern *pattern_list(Compiler *c, const TextExpr *t)
{
    Definition *d = definition_find(c, t->name, true);
    Pattern *p = pattern_new(c, PAT_LIST, t->loc, list_slot(c, t->name, t->loc, true));

    if (p->slot == RULE_NO_SLOT || !d)
        return p->slot == RULE_NO_SLOT ? NULL : p;
    d->used = d->placed = true;
    c->block = ++c->n_blocks;
    c->in_element = true;
    p->element = value_slot_new(c, element_name(c, t->name), t->loc);
    if (p->element == RULE_NO_SLOT)
        return NULL;
    c->block_of[p->element] = c->block;
    p->each = pattern_call(c, d->s->call, p->element);
    c->in_element = false;
    c->block = 0;
    return p->each ? p : NULL;
}

static Pattern *pattern_operand(Compiler *c, const TextExpr *t)
{
    bool indexed = t->index && t->index->kind == TE_NAME;

    switch (t->kind) {
    case TE_VALUE:
        if (t->index && t->index->kind == TE_STAR)
            return pattern_list(c, t);
        if (t->index && !(indexed && t->index->name == c->index))
            break;
        return pattern_value(c, t, indexed);
    case TE_NUMBER: {
        Pattern *p = pattern_new(c, PAT_NUMBER, t->loc, value_slot_new(c, str_intern(c->cx->strs, "(number)"), t->loc));
        p->f = t->number;
        if (p->slot != RULE_NO_SLOT && c->in_element)
            c->block_of[p->slot] = c->block;
        return p->slot == RULE_NO_SLOT ? NULL : p;
    }
    case TE_CALL: {
        uint8_t slot = value_slot_new(c, str_intern(c->cx->strs, "(nested)"), t->loc);
        if (slot == RULE_NO_SLOT)
            return NULL;
        if (c->in_element)
            c->block_of[slot] = c->block;
        return pattern_call(c, t, slot);
    }
    case TE_NAME: case TE_STRING: case TE_LIST: case TE_BINARY: case TE_NEG: case TE_STAR:
        break;
    }
    COMPILE_FAIL(c, t->loc, NULL, "an operand in `match` is a value, a number or a nested call");
    return NULL;
}

/* ---- calls ------------------------------------------------------------------------------------------------------------ */
static bool pattern_op(Compiler *c, const TextExpr *call, Pattern *p)
{
    const OpVar *var = op_var_find(c, call->name);

    if (var) {
        p->ops = var->ops;
        p->op_slot = var->slot;
        return true;
    }
    Op op = op_find(call->name);
    if (op == OP_NONE) {
        const char *names[OP_COUNT];
        for (int i = 0; i < OP_COUNT; i++)
            names[i] = op_table[i].name;
        const char *near = str_nearest(call->name, names, OP_COUNT);
        return COMPILE_FAIL(c, call->loc, near ? arena_printf(c->cx->arena, "did you mean '%s'?", near) :
                            "rules are written in the ops of ir/ops.def; composites are inlined before they run",
                            "there is no op '%s'", call->name);
    }
    opset_add(&p->ops, op);
    return true;
}

static Op any_op(OpSet s)
{
    for (int op = 0; op < OP_COUNT; op++)
        if (opset_has(s, (Op)op))
            return (Op)op;
    return OP_NONE;
}

static bool all_commute(OpSet s)
{
    for (int op = 0; op < OP_COUNT; op++)
        if (opset_has(s, (Op)op) && !op_has((Op)op, OP_COMMUTES))
            return false;
    return true;
}

static bool takes(Op op, AttrKey key)
{
    const OpAttrs *a = op_attrs(op);

    for (uint32_t i = 0; i < a->n; i++)
        if (a->a[i].key == key)
            return true;
    return false;
}

static bool attr_known(Compiler *c, const TextKeyArg *arg, Op op, AttrKey *key)
{
    if (attr_find(arg->key, key) && takes(op, *key))
        return true;
    const char *names[MAX_OP_ATTRS];
    const OpAttrs *a = op_attrs(op);
    for (uint32_t i = 0; i < a->n; i++)
        names[i] = attr_table[a->a[i].key].name;
    const char *near = str_nearest(arg->key, names, a->n);
    return COMPILE_FAIL(c, arg->loc, near ? arena_printf(c->cx->arena, "did you mean '%s'?", near) : NULL,
                        "%s has no attribute '%s'", op_name(op), arg->key);
}

static bool pattern_attr(Compiler *c, Pattern *p, const TextKeyArg *arg)
{
    StepAttr *a = &p->attrs[p->n_attrs];
    const TextExpr *t = arg->value;

    if (!attr_known(c, arg, any_op(p->ops), &a->key))
        return false;
    DType dtype;
    bool variable = t->kind == TE_NAME && !t->index && strcmp(t->name, "_") != 0 && !dtype_parse(t->name, &dtype);
    if (variable && attr_slot(c, t->name, t->loc, true) == RULE_NO_SLOT)
        return false;
    if (!(a->expr = compile_expr(c, t)))
        return false;
    p->n_attrs++;
    return true;
}

static bool check_arity(Compiler *c, const Pattern *p, Loc loc)
{
    Op op = any_op(p->ops);
    int arity = op_table[op].arity;
    bool list = p->n_in == 1 && p->in[0]->kind == PAT_LIST;

    for (uint32_t i = 0; i < p->n_in; i++)
        if (p->in[i]->kind == PAT_LIST && (arity >= 0 || p->n_in > 1))
            return COMPILE_FAIL(c, p->in[i]->loc, NULL, "%s takes no list here", op_name(op));
    if (list || (arity < 0 ? p->n_in > 0 : p->n_in == (uint32_t)arity))
        return true;
    return COMPILE_FAIL(c, loc, NULL, "%s takes %d operand%s, not %u", op_name(op), arity, arity == 1 ? "" : "s", p->n_in);
}

static void choose_flip(Compiler *c, Pattern *p)
{
    bool same = p->n_in == 2 && p->in[0]->kind == PAT_VALUE && p->in[1]->kind == PAT_VALUE && p->in[0]->slot == p->in[1]->slot;

    if (p->n_in == 2 && !same && all_commute(p->ops) && c->rule->n_ways < RULE_MAX_WAYS)
        p->flip = (int8_t)c->rule->n_ways++;
}

static Pattern *pattern_call(Compiler *c, const TextExpr *call, uint8_t slot)
{
    if (!call || call->kind != TE_CALL) {
        COMPILE_FAIL(c, call ? call->loc : c->rule->loc, NULL, "`match` defines values by calls of ops");
        return NULL;
    }
    Pattern *p = pattern_new(c, PAT_OP, call->loc, slot);
    if (!pattern_op(c, call, p))
        return NULL;
    p->in = arena_new_array(c->cx->arena, Pattern *, call->n + 1);
    p->attrs = arena_new_array(c->cx->arena, StepAttr, call->n + 1);
    for (uint32_t i = 0; i < call->n; i++)
        if (!call->args[i].key && !(p->in[p->n_in++] = pattern_operand(c, call->args[i].value)))
            return NULL;
    for (uint32_t i = 0; i < call->n; i++)
        if (call->args[i].key && !pattern_attr(c, p, &call->args[i]))
            return NULL;
    choose_flip(c, p);
    return check_arity(c, p, call->loc) ? p : NULL;
}

/* ---- types: %x : float[.., K] ------------------------------------------------------------------------------------------- */
static bool dtype_mask(Compiler *c, const TextExpr *t, uint16_t *out)
{
    static const struct { const char *name; uint16_t mask; } classes[] = {
        {"any", (1 << DT_COUNT) - 1},
        {"float", 1 << DT_F64 | 1 << DT_F32 | 1 << DT_F16 | 1 << DT_BF16},
        {"int", 1 << DT_I64 | 1 << DT_I32 | 1 << DT_I8 | 1 << DT_U8},
        {"signed", 1 << DT_I64 | 1 << DT_I32 | 1 << DT_I8},
    };
    DType dtype;

    for (uint32_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strcmp(classes[i].name, t->name) == 0)
            return *out = classes[i].mask, true;
    if (dtype_parse(t->name, &dtype))
        return *out = (uint16_t)(1 << dtype), true;
    return COMPILE_FAIL(c, t->loc, "classes are float, int, signed, any; or a dtype", "there is no dtype class '%s'", t->name);
}

static bool type_dims(Compiler *c, const TextExpr *t, VarType *v)
{
    for (uint32_t i = 0; i < t->n; i++) {
        const TextExpr *d = t->args[i].value;
        if (d->kind == TE_NAME && strcmp(d->name, "..") == 0) {
            if (i > 0)
                return COMPILE_FAIL(c, d->loc, NULL, "'..' stands before all dims");
            v->open = true;
            continue;
        }
        if (d->kind == TE_NAME && attr_slot(c, d->name, d->loc, true) == RULE_NO_SLOT)
            return false;
        if (!(v->dims[v->n_dims++] = compile_expr(c, d)))
            return false;
    }
    return true;
}

static bool declared_type(Compiler *c, const TextExpr *value, const TextExpr *type, VarType *v)
{
    bool indexed = value->index != NULL;

    v->slot = value_slot_find(c, indexed ? element_name(c, value->name) : value->name);
    if (v->slot == RULE_NO_SLOT)
        return COMPILE_FAIL(c, value->loc, NULL, "%%%s has a type but no place in the pattern", value->name);
    v->has_shape = type->kind == TE_CALL;
    v->dims = arena_new_array(c->cx->arena, RuleExpr *, type->n + 1);
    return dtype_mask(c, type, &v->dtypes) && type_dims(c, type, v);
}

static bool compile_types(Compiler *c)
{
    Rule *r = c->rule;

    r->types = arena_new_array(c->cx->arena, VarType, c->match.n + 1);
    for (uint32_t i = 0; i < c->match.n; i++) {
        const TextStatement *s = &c->match.s[i];
        if (s->type && !declared_type(c, s->out[0], s->type, &r->types[r->n_types++]))
            return false;
    }
    return true;
}

/* ---- roots ------------------------------------------------------------------------------------------------------------------ */
static void mark_used(Compiler *c, const TextExpr *t)
{
    for (uint32_t i = 0; i < t->n; i++) {
        const TextExpr *v = t->args[i].value;
        if (v->kind == TE_VALUE) {
            Definition *d = definition_find(c, v->name, v->index != NULL);
            if (d)
                d->used = true;
        }
        mark_used(c, v);
    }
}

static bool collect_definitions(Compiler *c)
{
    c->defs = arena_new_array(c->cx->arena, Definition, c->match.n + 1);
    for (uint32_t i = 0; i < c->match.n; i++) {
        const TextStatement *s = &c->match.s[i];
        const TextExpr *out = s->out[0];
        if (!s->call)
            continue;
        if (s->n_out != 1)
            return COMPILE_FAIL(c, s->loc, NULL, "a statement of a rule defines one value");
        if (out->index && out->index->kind != TE_NAME)
            return COMPILE_FAIL(c, out->loc, NULL, "elements are written %%%s[i]", out->name);
        if (out->index && !c->index)
            c->index = out->index->name;
        if (definition_find(c, out->name, out->index != NULL))
            return COMPILE_FAIL(c, out->loc, NULL, "%%%s is defined twice", out->name);
        c->defs[c->n_defs++] = (Definition){s, out->name, out->index != NULL, false, false, RULE_NO_SLOT};
    }
    for (uint32_t i = 0; i < c->n_defs; i++)
        mark_used(c, c->defs[i].s->call);
    return c->n_defs > 0 || COMPILE_FAIL(c, c->rule->loc, NULL, "`match` defines nothing");
}

static bool compile_root(Compiler *c, Definition *d)
{
    Rule *r = c->rule;
    Loc loc = d->s->out[0]->loc;

    if (r->n_roots == RULE_MAX_ROOTS || (d->indexed && r->n_roots > 0))
        return COMPILE_FAIL(c, loc, NULL, d->indexed ? "a family of roots stands alone" : "too many roots");
    r->family = d->indexed;
    c->finding = !d->indexed && r->n_roots > 0;
    c->in_element = d->indexed || c->finding;
    if (c->in_element)
        c->block = ++c->n_blocks;
    d->slot = value_slot_new(c, d->indexed ? element_name(c, d->name) : d->name, loc);
    if (d->slot == RULE_NO_SLOT)
        return false;
    if (c->in_element)
        c->block_of[d->slot] = c->block;
    if (d->indexed && (c->list_of[d->slot] = list_slot(c, d->name, loc, true)) == RULE_NO_SLOT)
        return false;
    d->placed = true;
    r->old_root[r->n_roots] = d->indexed ? c->list_of[d->slot] : d->slot;
    r->roots[r->n_roots] = pattern_call(c, d->s->call, d->slot);
    c->in_element = c->finding = false;
    c->block = 0;
    return r->roots[r->n_roots++] != NULL;
}

bool compile_patterns(Compiler *c)
{
    if (!collect_definitions(c))
        return false;
    for (uint32_t i = 0; i < c->n_defs; i++)
        if (!c->defs[i].used && !compile_root(c, &c->defs[i]))
            return false;
    for (uint32_t i = 0; i < c->n_defs; i++)
        if (!c->defs[i].placed)
            return COMPILE_FAIL(c, c->defs[i].s->loc, NULL, "%%%s is defined in terms of itself", c->defs[i].name);
    return compile_types(c);
}
