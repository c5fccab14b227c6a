/* passes/rules/compile_emit.c — pattern trees to the steps of the match program, in pre-order: a node's op, its operands, its
 * attributes, then its operands' patterns. Conditions on elements go to the end of the elements' steps, all others to the end. */
#include "passes/rules/compile.h"
#include <ctype.h>
#include <string.h>

typedef struct { RuleExpr *expr; uint8_t let, block; Loc loc; bool placed; } Condition;
typedef struct { Compiler *c; Program *p; Condition *conditions; uint32_t n_conditions; } Emitter;

static Step *step(Emitter *e, RuleStepKind kind, Loc loc)
{
    Step s = {.kind = kind, .loc = loc, .dst = RULE_NO_SLOT, .src = RULE_NO_SLOT, .a = RULE_NO_SLOT, .b = RULE_NO_SLOT,
              .flip = -1, .op = OP_NONE};

    vec_push(e->c->cx->arena, e->p, s);
    return &vec_last(e->p);
}

static bool emit_pattern(Emitter *e, const Pattern *p);

/* ---- attributes ---------------------------------------------------------------------------------------------------------- */
static bool emit_attr(Emitter *e, const Pattern *p, const StepAttr *a)
{
    if (a->expr->kind == REX_ANY)
        return true;
    if (a->expr->kind == REX_ATTR)
        e->c->attr_bound |= 1u << a->expr->slot;
    else if (!expr_bound(e->c, a->expr))
        return false;
    Step *s = step(e, STEP_ATTR, p->loc);
    s->src = p->slot;
    s->key = a->key;
    s->expr = a->expr;
    return true;
}

static bool mentions(const Pattern *p, AttrKey key)
{
    for (uint32_t i = 0; i < p->n_attrs; i++)
        if (p->attrs[i].key == key)
            return true;
    return false;
}

static void emit_defaults(Emitter *e, const Pattern *p)
{
    Op op = OP_NONE;

    for (int i = 0; i < OP_COUNT && op == OP_NONE; i++)
        if (opset_has(p->ops, (Op)i))
            op = (Op)i;
    const OpAttrs *takes = op_attrs(op);
    for (uint32_t i = 0; i < takes->n; i++)
        if (!takes->a[i].required && !mentions(p, takes->a[i].key)) {
            Step *s = step(e, STEP_DEFAULT, p->loc);
            s->src = p->slot;
            s->key = takes->a[i].key;
        }
}

/* ---- elements -------------------------------------------------------------------------------------------------------------- */
static void emit_condition(Emitter *e, Condition *w)
{
    Step *s = step(e, w->let == RULE_NO_SLOT ? STEP_WHERE : STEP_LET, w->loc);

    s->a = w->let;
    s->expr = w->expr;
    w->placed = true;
}

static bool emit_types(Emitter *e, uint8_t block)
{
    const Rule *r = e->c->rule;

    for (uint32_t i = 0; i < r->n_types; i++) {
        const VarType *v = &r->types[i];
        if (e->c->block_of[v->slot] != block)
            continue;
        for (uint32_t k = 0; k < v->n_dims; k++)
            if (v->dims[k]->kind == REX_ATTR)
                e->c->attr_bound |= 1u << v->dims[k]->slot;
        Step *s = step(e, STEP_TYPE, r->loc);
        s->src = v->slot;
        s->dtypes = v->dtypes;
        s->has_shape = v->has_shape;
        s->open = v->open;
        s->exprs = v->dims;
        s->n_exprs = v->n_dims;
    }
    return true;
}

static bool emit_conditions(Emitter *e, uint8_t block)
{
    for (uint32_t i = 0; i < e->n_conditions; i++) {
        Condition *w = &e->conditions[i];
        if (w->block != block || w->placed)
            continue;
        if (!expr_bound(e->c, w->expr))
            return false;
        if (w->let != RULE_NO_SLOT)
            e->c->attr_bound |= 1u << w->let;
        emit_condition(e, w);
    }
    return true;
}

/* The steps of one element, closed: `at` is the EACH, SIBLINGS or FIND before them. */
static bool emit_element(Emitter *e, uint32_t at, const Pattern *p)
{
    const Compiler *c = e->c;
    uint8_t block = c->block_of[p->slot];

    if (!emit_pattern(e, p) || !emit_types(e, block) || !emit_conditions(e, block))
        return false;
    Step *s = &e->p->data[at];
    for (uint32_t v = 0; v < c->rule->n_values; v++) {
        if (c->block_of[v] != block)
            continue;
        s->fresh[s->n_fresh++] = (uint8_t)v;
        if (c->list_of[v] != RULE_NO_SLOT)
            s->collect[s->n_collect++] = (Collect){(uint8_t)v, c->list_of[v]};
    }
    s->end = e->p->n;
    return true;
}

/* ---- patterns ---------------------------------------------------------------------------------------------------------------- */
static void emit_operand(Emitter *e, const Pattern *p, uint32_t k)
{
    Step *s = step(e, STEP_OPERAND, p->in[k]->loc);

    s->dst = p->in[k]->slot;
    s->src = p->slot;
    s->k = (uint8_t)k;
    s->a = (uint8_t)p->n_in;
    s->flip = p->flip;
    if (p->in[k]->kind == PAT_NUMBER) {
        s = step(e, STEP_LITERAL, p->in[k]->loc);
        s->src = p->in[k]->slot;
        s->f = p->in[k]->f;
    }
}

static bool emit_list(Emitter *e, const Pattern *p, const Pattern *list)
{
    Step *s = step(e, STEP_OPERANDS, list->loc);

    s->dst = list->slot;
    s->src = p->slot;
    if (!list->each)
        return true;
    uint32_t at = e->p->n;
    s = step(e, STEP_EACH, list->loc);
    s->a = list->slot;
    s->src = list->element;
    return emit_element(e, at, list->each);
}

static bool emit_pattern(Emitter *e, const Pattern *p)
{
    Step *s = step(e, STEP_OP, p->loc);

    s->src = p->slot;
    s->ops = p->ops;
    s->a = p->op_slot;
    bool list = p->n_in == 1 && p->in[0]->kind == PAT_LIST;
    for (uint32_t k = 0; k < p->n_in && !list; k++)
        emit_operand(e, p, k);
    for (uint32_t i = 0; i < p->n_attrs; i++)
        if (!emit_attr(e, p, &p->attrs[i]))
            return false;
    emit_defaults(e, p);
    if (list)
        return emit_list(e, p, p->in[0]);
    for (uint32_t k = 0; k < p->n_in; k++)
        if (p->in[k]->kind == PAT_OP && !emit_pattern(e, p->in[k]))
            return false;
    return true;
}

/* A variable among the root's own operands that is not an element: where its siblings are found. */
static uint8_t anchor_of(const Compiler *c, const Pattern *p)
{
    for (uint32_t k = 0; k < p->n_in; k++)
        if (p->in[k]->kind == PAT_VALUE && !c->block_of[p->in[k]->slot])
            return p->in[k]->slot;
    return RULE_NO_SLOT;
}

static bool emit_root(Emitter *e, uint32_t i)
{
    const Rule *r = e->c->rule;
    const Pattern *p = r->roots[i];

    if (!r->family && i == 0)
        return emit_pattern(e, p);
    uint32_t at = e->p->n;
    Step *s = step(e, r->family ? STEP_SIBLINGS : STEP_FIND, p->loc);
    s->src = p->slot;
    s->a = r->family ? r->old_root[0] : RULE_NO_SLOT;
    s->b = anchor_of(e->c, p);
    if (s->b == RULE_NO_SLOT)
        return COMPILE_FAIL(e->c, p->loc, "its siblings are found through the operand that they share",
                            "a rule with several roots needs an operand in common");
    return emit_element(e, at, p);
}

/* ---- where ---------------------------------------------------------------------------------------------------------------------- */
/* The text after "name =", or NULL when the condition defines nothing. */
static const char *let_body(const char *text, size_t *name_len)
{
    const char *at = text;

    while (isalnum((unsigned char)*at) || *at == '_')
        at++;
    *name_len = (size_t)(at - text);
    while (*at == ' ')
        at++;
    return *name_len && at[0] == '=' && at[1] != '=' ? at + 1 : NULL;
}

static bool read_condition(Emitter *e, const YamlNode *y)
{
    Compiler *c = e->c;
    Condition *w = &e->conditions[e->n_conditions];
    size_t name_len;
    const char *text, *body;

    if (!yaml_string(c->cx->diags, y, &text, "a condition"))
        return false;
    *w = (Condition){.let = RULE_NO_SLOT, .loc = y->loc};
    body = let_body(text, &name_len);
    uint32_t line, col;
    loc_line_col(y->loc, &line, &col);
    Source *s = source_from_text(c->cx->arena, y->loc.source ? y->loc.source->name : "where", body ? body : text);
    s->first_line = line;
    s->first_col = col + (y->quoted ? 1 : 0) + (uint32_t)(body ? body - text : 0);
    const TextExpr *t = text_parse_expr(c->cx, s);
    if (!t || !(w->expr = compile_expr(c, t)))
        return false;
    if (body && (w->let = attr_slot(c, str_intern_n(c->cx->strs, text, name_len), y->loc, true)) == RULE_NO_SLOT)
        return false;
    expr_uses_elements(c, w->expr, &w->block);
    e->n_conditions++;
    return true;
}

static bool read_where(Emitter *e, const YamlNode *where)
{
    Compiler *c = e->c;
    Rule *r = c->rule;

    e->conditions = arena_new_array(c->cx->arena, Condition, (where ? where->n : 0) + 2);
    if (where && where->kind != YAML_SEQUENCE)
        return COMPILE_FAIL(c, where->loc, NULL, "`where` is a list of conditions");
    for (uint32_t i = 0; where && i < where->n; i++)
        if (!read_condition(e, where->items[i]))
            return false;
    if (c->range && !read_condition(e, c->range))
        return false;
    r->where = arena_new_array(c->cx->arena, RuleExpr *, e->n_conditions + 1);
    for (uint32_t i = 0; i < e->n_conditions; i++)
        r->where[r->n_where++] = e->conditions[i].expr;
    return true;
}

/* ---- the prefilter ------------------------------------------------------------------------------------------------------------------- */
static OpSet literal_ops(void)
{
    OpSet s = {0};
    static const Op ops[] = {OP_CONST, OP_EXPAND, OP_RESHAPE, OP_PERMUTE, OP_SLICE, OP_FLIP, OP_CAST};

    for (uint32_t i = 0; i < sizeof ops / sizeof *ops; i++)
        opset_add(&s, ops[i]);
    return s;
}

static OpSet operand_ops(const Rule *r, const Pattern *p)
{
    if (p->kind == PAT_OP)
        return p->ops;
    if (p->kind == PAT_NUMBER)
        return literal_ops();
    if (p->kind == PAT_LIST)
        return p->each ? p->each->ops : OPSET_ALL;
    for (uint32_t i = 0; i < r->n_where; i++) {
        const RuleExpr *w = r->where[i];
        if (w->kind == REX_CALL && w->native == NATIVE_literal && w->args[0]->kind == REX_VALUE && w->args[0]->slot == p->slot)
            return literal_ops();
    }
    return OPSET_ALL;
}

static void set_prefilter(Rule *r)
{
    const Pattern *p = r->roots[0];

    r->root_ops = p->ops;
    r->root_flips = p->flip >= 0;
    for (uint32_t k = 0; k < 2; k++)
        r->operand_ops[k] = k < p->n_in && (k == 0 || p->in[0]->kind != PAT_LIST) ? operand_ops(r, p->in[k]) : OPSET_ALL;
}

static uint32_t pattern_depth(const Pattern *p)
{
    uint32_t depth = 0;

    for (uint32_t i = 0; p && p->kind == PAT_OP && i < p->n_in; i++) {
        const Pattern *in = p->in[i]->kind == PAT_LIST ? p->in[i]->each : p->in[i];
        uint32_t d = in && in->kind == PAT_OP ? pattern_depth(in) : 0;
        depth = d > depth ? d : depth;
    }
    return depth + 1;
}

bool compile_match_program(Compiler *c, const YamlNode *where)
{
    Rule *r = c->rule;
    Emitter e = {.c = c, .p = &r->match};

    if (!read_where(&e, where))
        return false;
    for (uint32_t i = 0; i < r->n_roots; i++) {
        if (!emit_root(&e, i))
            return false;
        uint32_t d = pattern_depth(r->roots[i]);
        r->info.depth = d > r->info.depth ? d : r->info.depth;
    }
    if (!emit_types(&e, 0) || !emit_conditions(&e, 0))
        return false;
    set_prefilter(r);
    r->info.of_matmul = opset_has(r->root_ops, OP_MATMUL);
    r->info.n_roots = r->n_roots;
    r->n_match_values = r->n_values;
    return true;
}
