/* passes/rules/check.c — what must hold of a set of rules before it may run. Unbound names, unknown ops and wrong arity are
 * found while compiling; here: duplicates and subsumed rules, termination, and, on random instances, the types of the two sides.
 *
 * Termination. An `always` rule strictly lowers a declared measure.
 *   nodes (the default): the weight of the pattern as a tree, ops that compute counting more than ops that move. A variable may not
 *     occur more often in the new form than in the pattern, so the order is kept under substitution.
 *   ops(a, b): the number of nodes with these ops in the graph; the root has one and the new form none. Rules of other measures
 *     must not make such ops unless their patterns hold as many.
 *   elements: the elements that ops compute (movement is free), measured on instances. */
#include "passes/rules/rule.h"
#include <limits.h>
#include <string.h>

#define CHECK_FAIL(loc, hint, ...) diag_error(cx->diags, PAWL_EXIT_INVALID, (loc), (hint), __VA_ARGS__)

/* ---- measures ---------------------------------------------------------------------------------------------------------------- */
static uint32_t op_weight(Op op)
{
    switch (op_class(op)) {
    case CLASS_SOURCE:   return 0;
    case CLASS_MOVEMENT: return 2;
    case CLASS_CAST:     return 3;
    case CLASS_POINTWISE:
        switch ((int)op) {
        case OP_NEG: case OP_ABS: return 3;
        case OP_ADD: case OP_SUB: case OP_MUL: case OP_MAXIMUM: case OP_MINIMUM: return 4;
        case OP_POW: return 30;
        case OP_DIV: return 12;
        case OP_RECIPROCAL: return 9;
        case OP_SQRT: case OP_RSQRT: return 8;
        default: return op_table[op].arity == 1 ? 10 : 6;
        }
    case CLASS_REDUCE: case CLASS_SCAN: return 20;
    case CLASS_GATHER: return 10;
    case CLASS_CONTRACT: return 100;
    case CLASS_CHOICE: return 0;
    }
    return 1;
}

/* The lightest (a pattern) or heaviest (a new form) op of a set. */
static uint32_t opset_weight(OpSet s, bool heaviest)
{
    uint32_t best = heaviest ? 0 : UINT32_MAX;

    for (int op = 0; op < OP_COUNT; op++) {
        uint32_t w = op_weight((Op)op);
        if (opset_has(s, (Op)op) && (heaviest ? w > best : w < best))
            best = w;
    }
    return best;
}

static const Pattern *pattern_at(const Pattern *p, uint8_t slot)
{
    if (p->kind == PAT_LIST)
        return p->each ? pattern_at(p->each, slot) : NULL;
    if (p->slot == slot)
        return p;
    for (uint32_t i = 0; p->kind == PAT_OP && i < p->n_in; i++) {
        const Pattern *found = pattern_at(p->in[i], slot);
        if (found)
            return found;
    }
    return NULL;
}

/* p, or, where p names a value that has a pattern elsewhere under root, that pattern: trees, not graphs, are measured. */
static const Pattern *unfolded(const Pattern *root, const Pattern *p)
{
    const Pattern *q = p->kind == PAT_VALUE ? pattern_at(root, p->slot) : p->kind == PAT_LIST ? p->each : p;
    return q ? q : p;
}

static uint32_t pattern_weight(const Pattern *root, const Pattern *p)
{
    p = unfolded(root, p);
    if (p->kind != PAT_OP)
        return 0;
    uint32_t w = opset_weight(p->ops, false);
    for (uint32_t i = 0; i < p->n_in; i++)
        w += pattern_weight(root, p->in[i]);
    return w;
}

static OpSet slot_ops(const Pattern *p, uint8_t slot)
{
    OpSet s = {0};

    if (p->kind == PAT_LIST)
        return p->each ? slot_ops(p->each, slot) : s;
    if (p->kind != PAT_OP)
        return s;
    if (p->op_slot == slot)
        return p->ops;
    for (uint32_t i = 0; i < p->n_in; i++) {
        OpSet in = slot_ops(p->in[i], slot);
        s.w[0] |= in.w[0];
        s.w[1] |= in.w[1];
    }
    return s;
}

static OpSet made_ops(const Rule *r, const Step *s)
{
    OpSet one = {0};

    if (s->op == OP_NONE)
        return slot_ops(r->roots[0], s->a);
    opset_add(&one, s->op);
    return one;
}

static uint32_t build_weight(const Rule *r)
{
    uint32_t w = 0;

    for (uint32_t i = 0; i < r->build.n; i++)
        if (r->build.data[i].kind == STEP_MAKE && !(r->build.data[i].op == OP_NONE && r->build.data[i].a == r->roots[0]->op_slot))
            w += opset_weight(made_ops(r, &r->build.data[i]), true);
    return w;
}

/* ---- how often variables occur ---------------------------------------------------------------------------------------------------- */
static uint32_t pattern_count(const Pattern *root, const Pattern *p, uint8_t slot)
{
    uint32_t n = 0;

    p = unfolded(root, p);
    if (p->kind != PAT_OP)
        return p->kind == PAT_VALUE && p->slot == slot;
    for (uint32_t i = 0; i < p->n_in; i++)
        n += pattern_count(root, p->in[i], slot);
    return n;
}

/* Uses of a matched value as an operand or a result; values made twice count as often as they are used. */
static uint32_t build_count(const Rule *r, uint8_t slot)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < r->build.n; i++) {
        const Step *s = &r->build.data[i];
        if (s->kind == STEP_ALIAS)
            n += s->expr->kind == REX_VALUE && s->expr->slot == slot;
        for (uint32_t k = 0; s->kind == STEP_MAKE && k < s->n_exprs; k++)
            n += s->exprs[k]->kind == REX_VALUE && s->exprs[k]->slot == slot;
    }
    return n;
}

static bool no_variable_multiplied(Context *cx, const Rule *r)
{
    for (uint8_t v = 0; v < r->n_match_values; v++) {
        const Pattern *p = pattern_at(r->roots[0], v);
        uint32_t used = build_count(r, v);
        if (p && p->kind == PAT_VALUE && used > pattern_count(r->roots[0], r->roots[0], v))
            return CHECK_FAIL(r->loc, "name a measure that falls: `measure: elements` or `measure: ops(…)`",
                              "%s does not lower its measure: %%%s occurs more often in the new form", r->info.name, r->value_name[v]);
    }
    return true;
}

/* A matched inner value that the new form uses again brings its whole tree along. */
static uint32_t reused_weight(const Rule *r)
{
    uint32_t w = 0;

    for (uint8_t v = 0; v < r->n_match_values; v++) {
        const Pattern *p = pattern_at(r->roots[0], v);
        if (p && p->kind == PAT_OP)
            w += build_count(r, v) * pattern_weight(r->roots[0], p);
    }
    return w;
}

static bool lowers_weight(Context *cx, const Rule *r)
{
    uint32_t before = pattern_weight(r->roots[0], r->roots[0]), after = build_weight(r) + reused_weight(r);
    const Pattern *root = r->roots[0];
    bool same_op = false;                      /* the root's op variable again: its weight counts on both sides or on none */

    for (uint32_t i = 0; i < r->build.n; i++)
        same_op |= r->build.data[i].kind == STEP_MAKE && r->build.data[i].op == OP_NONE && r->build.data[i].a == root->op_slot;
    if (same_op)
        before -= opset_weight(root->ops, false);
    if (after >= before)
        return CHECK_FAIL(r->loc, "rewrite to fewer or cheaper ops, or name another measure",
                          "%s does not lower its measure: the pattern weighs %u, the new form %u", r->info.name, before, after);
    return no_variable_multiplied(cx, r);
}

static uint32_t count_in_pattern(const Pattern *p, OpSet ops)
{
    uint32_t n = 0;

    if (p->kind == PAT_LIST)
        return p->each ? count_in_pattern(p->each, ops) : 0;
    if (p->kind != PAT_OP)
        return 0;
    bool all = (p->ops.w[0] & ~ops.w[0]) == 0 && (p->ops.w[1] & ~ops.w[1]) == 0;
    for (uint32_t i = 0; i < p->n_in; i++)
        n += count_in_pattern(p->in[i], ops);
    return n + all;
}

static uint32_t count_made(const Rule *r, OpSet ops)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < r->build.n; i++) {
        OpSet made = r->build.data[i].kind == STEP_MAKE ? made_ops(r, &r->build.data[i]) : (OpSet){0};
        n += (made.w[0] & ops.w[0]) || (made.w[1] & ops.w[1]);
    }
    return n;
}

static bool lowers_ops(Context *cx, const Rule *r)
{
    OpSet root = r->roots[0]->ops, want = r->measure_ops;
    bool has = (root.w[0] & ~want.w[0]) == 0 && (root.w[1] & ~want.w[1]) == 0;

    if (!has || count_made(r, want) > 0)
        return CHECK_FAIL(r->loc, "the root has one of these ops, the new form none",
                          "%s does not lower its measure", r->info.name);
    return true;
}

/* An op variable that the pattern and the new form share is the same op on both sides. */
static bool respects(Context *cx, const Rule *r, const Rule *owner)
{
    OpSet want = owner->measure_ops;
    uint32_t made = 0;

    for (uint32_t i = 0; i < r->build.n; i++)
        if (r->build.data[i].kind == STEP_MAKE && r->build.data[i].op != OP_NONE)
            made += opset_has(want, r->build.data[i].op);
    if (made > count_in_pattern(r->roots[0], want))
        return CHECK_FAIL(r->loc, NULL, "%s makes ops that %s (line %u) removes: together they need not end", r->info.name,
                          owner->info.name, owner->info.line);
    return true;
}

static bool check_termination(Context *cx, const RuleList *rules)
{
    bool ok = true;

    for (uint32_t i = 0; i < rules->n; i++) {
        const Rule *r = rules->data[i];
        if (r->info.profit == MEASURED)
            continue;
        ok &= r->measure == MEASURE_WEIGHT ? lowers_weight(cx, r) : r->measure == MEASURE_OPS ? lowers_ops(cx, r) : true;
        for (uint32_t k = 0; k < rules->n; k++)
            if (rules->data[k]->info.profit == ALWAYS && rules->data[k]->measure == MEASURE_OPS && r != rules->data[k])
                ok &= respects(cx, r, rules->data[k]);
    }
    return ok;
}

/* ---- subsumption ------------------------------------------------------------------------------------------------------------------- */
typedef struct { const Rule *a, *b; const Pattern *value[RULE_MAX_VALUES]; uint8_t attr[RULE_MAX_ATTRS]; int op[RULE_MAX_OPS]; } Embedding;

static bool expr_embeds(Embedding *e, const RuleExpr *a, const RuleExpr *b)
{
    if (a->kind == REX_ATTR && b->kind == REX_ATTR) {
        if (e->attr[a->slot] == RULE_NO_SLOT)
            e->attr[a->slot] = b->slot;
        return e->attr[a->slot] == b->slot;
    }
    if (a->kind != b->kind || a->native != b->native || a->binary != b->binary || a->n != b->n || a->dtype != b->dtype)
        return false;
    if (a->kind == REX_VALUE)
        return e->value[a->slot] && e->value[a->slot]->slot == b->slot;
    if (a->kind == REX_INTS)
        return a->n == 0 || memcmp(a->ints, b->ints, a->n * sizeof *a->ints) == 0;
    if (a->i != b->i || memcmp(&a->f, &b->f, sizeof a->f) != 0 || a->slot != b->slot)
        return false;
    for (uint32_t i = 0; i < a->n; i++)
        if (!expr_embeds(e, a->args[i], b->args[i]))
            return false;
    return true;
}

static bool pattern_embeds(Embedding *e, const Pattern *a, const Pattern *b);

/* What a says of an attribute, b must say too; silence means the default where there is one. */
static bool attrs_embed(Embedding *e, const Pattern *a, const Pattern *b)
{
    for (uint32_t i = 0; i < a->n_attrs; i++) {
        const StepAttr *x = &a->attrs[i], *y = NULL;
        for (uint32_t k = 0; k < b->n_attrs; k++)
            y = b->attrs[k].key == x->key ? &b->attrs[k] : y;
        if (x->expr->kind == REX_ANY)
            continue;
        if (!y && x->expr->kind == REX_ATTR && e->attr[x->expr->slot] == RULE_NO_SLOT)
            continue;                                          /* a free variable takes any value */
        if (!y || !expr_embeds(e, x->expr, y->expr))
            return false;
    }
    for (uint32_t k = 0; k < b->n_attrs; k++) {
        bool said = false;
        const OpAttrs *takes = NULL;
        for (int op = 0; op < OP_COUNT && !takes; op++)
            takes = opset_has(b->ops, (Op)op) ? op_attrs((Op)op) : NULL;
        for (uint32_t i = 0; i < a->n_attrs; i++)
            said |= a->attrs[i].key == b->attrs[k].key;
        for (uint32_t i = 0; takes && i < takes->n; i++)
            if (takes->a[i].key == b->attrs[k].key && !takes->a[i].required && !said)
                return false;                                  /* a wants the default, b allows others */
    }
    return true;
}

static bool operands_embed(Embedding *e, const Pattern *a, const Pattern *b, bool swapped)
{
    for (uint32_t i = 0; i < a->n_in; i++)
        if (!pattern_embeds(e, a->in[i], b->in[swapped ? i ^ 1 : i]))
            return false;
    return true;
}

/* An op variable of a stands for one op of b throughout: an op variable of b, or a single op. */
static bool ops_embed(Embedding *e, const Pattern *a, const Pattern *b)
{
    if ((b->ops.w[0] & ~a->ops.w[0]) || (b->ops.w[1] & ~a->ops.w[1]) || a->n_in != b->n_in)
        return false;
    if (a->op_slot == RULE_NO_SLOT)
        return true;
    int op = -1 - (int)b->op_slot;
    for (int i = 0; i < OP_COUNT && b->op_slot == RULE_NO_SLOT; i++)
        op = opset_has(b->ops, (Op)i) ? i : op;
    if (e->op[a->op_slot] == INT_MIN)
        e->op[a->op_slot] = op;
    return e->op[a->op_slot] == op;
}

static bool pattern_embeds(Embedding *e, const Pattern *a, const Pattern *b)
{
    if (a->kind == PAT_LIST || b->kind == PAT_LIST)
        return a->kind == b->kind && (!a->each || (b->each && pattern_embeds(e, a->each, b->each)));
    if (a->kind == PAT_VALUE) {
        if (!e->value[a->slot])
            e->value[a->slot] = b;
        return e->value[a->slot]->slot == b->slot;
    }
    if (a->kind != b->kind)
        return false;
    if (a->kind == PAT_NUMBER)
        return memcmp(&a->f, &b->f, sizeof a->f) == 0;
    if (!ops_embed(e, a, b))
        return false;
    e->value[a->slot] = b;
    Embedding before = *e;
    if (attrs_embed(e, a, b) && operands_embed(e, a, b, false))
        return true;
    *e = before;
    return a->flip >= 0 && attrs_embed(e, a, b) && operands_embed(e, a, b, true);
}

static bool types_embed(const Embedding *e)
{
    for (uint32_t i = 0; i < e->a->n_types; i++) {
        const VarType *x = &e->a->types[i];
        bool found = x->dtypes == (1 << DT_COUNT) - 1 && !x->has_shape;
        for (uint32_t k = 0; k < e->b->n_types && !found; k++) {
            const VarType *y = &e->b->types[k];
            found = e->value[x->slot] && e->value[x->slot]->slot == y->slot && (y->dtypes & ~x->dtypes) == 0 && !x->has_shape;
        }
        if (!found)
            return false;
    }
    return true;
}

/* Whenever b matches, a does. */
static bool subsumes(const Rule *a, const Rule *b)
{
    Embedding e = {.a = a, .b = b};

    memset(e.attr, RULE_NO_SLOT, sizeof e.attr);
    for (int i = 0; i < RULE_MAX_OPS; i++)
        e.op[i] = INT_MIN;
    if (a->n_roots != 1 || b->n_roots != 1 || a->family || b->family || a->info.profit != b->info.profit)
        return false;
    if (a->info.exactness == PRECISION && (b->info.exactness != PRECISION || a->info.precision != b->info.precision))
        return false;
    if (!pattern_embeds(&e, a->roots[0], b->roots[0]) || !types_embed(&e))
        return false;
    for (uint32_t i = 0; i < a->n_where; i++) {
        bool found = false;
        for (uint32_t k = 0; k < b->n_where && !found; k++)
            found = expr_embeds(&e, a->where[i], b->where[k]);
        if (!found)
            return false;
    }
    return true;
}

static bool check_redundant(Context *cx, const RuleList *rules)
{
    bool ok = true;

    for (uint32_t i = 0; i < rules->n; i++)
        for (uint32_t k = 0; k < rules->n; k++) {
            const Rule *a = rules->data[i], *b = rules->data[k];
            if (i < k && strcmp(a->info.name, b->info.name) == 0)
                ok = CHECK_FAIL(b->loc, NULL, "there are two rules called %s (%s:%u)", b->info.name, a->info.file, a->info.line);
            if (i >= k || !subsumes(a, b))
                continue;
            ok = CHECK_FAIL(b->loc, "drop it, or put it before", "%s can never fire: %s (%s:%u) matches %s", b->info.name, a->info.name,
                            a->info.file, a->info.line, subsumes(b, a) ? "the same" : "wherever it does");
        }
    return ok;
}

/* ---- roots and instances -------------------------------------------------------------------------------------------------------------- */
/* Several roots could feed each other: what a family's members read besides the anchor is constant. */
static bool check_acyclic(Context *cx, const Rule *r)
{
    if (r->info.n_roots < 2 && !r->family)
        return true;
    for (uint32_t i = 0; i < r->n_roots; i++)
        for (uint32_t k = 0; k < r->roots[i]->n_in; k++) {
            const Pattern *p = r->roots[i]->in[k];
            bool safe = p->kind == PAT_NUMBER || (p->kind == PAT_VALUE && !strchr(r->value_name[p->slot], '['));
            for (uint32_t w = 0; w < r->n_where && !safe; w++) {
                const RuleExpr *e = r->where[w];
                if (e->kind != REX_CALL || e->native != NATIVE_constant)
                    continue;
                const RuleExpr *arg = e->args[0];
                const char *name = arg->kind == REX_LIST ? r->list_name[arg->slot] : r->value_name[arg->slot];
                size_t len = strcspn(r->value_name[p->slot], "[");
                safe = strncmp(name, r->value_name[p->slot], len) == 0;
            }
            if (!safe)
                return CHECK_FAIL(p->loc, "add `where: constant(…)` for it", "an operand of one root could depend on another root");
        }
    return true;
}

#define SEEDS 400

static bool same_types(Context *cx, const Rule *r, const RuleInstance *x)
{
    for (uint32_t i = 0; i < x->n_roots; i++) {
        const Type *a = &x->g->outputs.data[i].node->type, *b = &x->g->outputs.data[x->n_roots + i].node->type;
        if (type_equal(a, b))
            continue;
        StrBuf s = strbuf_new(cx->arena);
        type_print(&s, a);
        strbuf_add(&s, " and ");
        type_print(&s, b);
        return CHECK_FAIL(r->loc, NULL, "the two sides of %s disagree: an instance has %s", r->info.name, s.text);
    }
    if (r->measure == MEASURE_ELEMENTS && r->info.profit == ALWAYS && x->elements_after >= x->elements_before)
        return CHECK_FAIL(r->loc, NULL, "%s does not lower its measure: an instance computes %.0f elements and then %.0f",
                          r->info.name, x->elements_before, x->elements_after);
    return true;
}

static bool check_instances(Context *cx, const Rule *r)
{
    uint32_t found = 0;
    bool ok = true;

    for (uint64_t seed = 1; seed <= SEEDS && found < 4 && ok; seed++) {
        RuleInstance *x = rule_instance(cx, r, seed, false);
        if (!x)
            continue;
        found++;
        ok = same_types(cx, r, x);
        graph_free(x->g);
    }
    if (ok && found == 0)
        return CHECK_FAIL(r->loc, "say with `test: {p: […]}` what the attributes may be, or check that `where` can hold",
                          "no instance of %s was found, so it cannot be tested", r->info.name);
    return ok;
}

bool rules_check(Context *cx, const RuleList *rules)
{
    bool ok = check_redundant(cx, rules);

    ok &= check_termination(cx, rules);
    for (uint32_t i = 0; i < rules->n; i++)
        ok &= check_acyclic(cx, rules->data[i]) && check_instances(cx, rules->data[i]);
    return ok;
}
