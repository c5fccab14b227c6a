/* passes/rules/compile.c — one rule of a YAML file: its keys, its alternatives, and the slots that its names stand for. */
#include "passes/rules/compile.h"
#include <string.h>

/* ---- slots ------------------------------------------------------------------------------------------------------------- */
static uint8_t find(const Str *names, uint32_t n, Str name)
{
    for (uint32_t i = n; i-- > 0; )                           /* the youngest shadows */
        if (names[i] == name)
            return (uint8_t)i;
    return RULE_NO_SLOT;
}

uint8_t value_slot_find(const Compiler *c, Str name) { return find(c->rule->value_name, c->rule->n_values, name); }

uint8_t value_slot_new(Compiler *c, Str name, Loc loc)
{
    Rule *r = c->rule;

    if (r->n_values == RULE_MAX_VALUES) {
        COMPILE_FAIL(c, loc, NULL, "a rule has at most %d values", RULE_MAX_VALUES);
        return RULE_NO_SLOT;
    }
    r->value_name[r->n_values] = name;
    c->list_of[r->n_values] = RULE_NO_SLOT;
    return (uint8_t)r->n_values++;
}

static uint8_t named_slot(Compiler *c, Str *names, uint32_t *n, uint32_t max, Str name, Loc loc, bool create)
{
    uint8_t slot = find(names, *n, name);

    if (slot != RULE_NO_SLOT || !create)
        return slot;
    if (*n == max) {
        COMPILE_FAIL(c, loc, NULL, "too many names in one rule");
        return RULE_NO_SLOT;
    }
    names[*n] = name;
    return (uint8_t)(*n)++;
}

uint8_t list_slot(Compiler *c, Str name, Loc loc, bool create)
{
    return named_slot(c, c->rule->list_name, &c->rule->n_lists, RULE_MAX_LISTS, name, loc, create);
}

uint8_t attr_slot(Compiler *c, Str name, Loc loc, bool create)
{
    return named_slot(c, c->rule->attr_name, &c->rule->n_attrs, RULE_MAX_ATTRS, name, loc, create);
}

Str element_name(Compiler *c, Str name) { return str_format(c->cx->strs, "%s[%s]", name, c->index ? c->index : "i"); }

/* ---- alternatives: {P: [add, mul]}, {F: odd} ---------------------------------------------------------------------------------- */
static bool op_in_class(Op op, const char *name)
{
    static const struct { const char *name; uint32_t props; } classes[] = {
        {"odd", OP_ODD}, {"even", OP_EVEN}, {"increasing", OP_INCREASING}, {"predicate", OP_PREDICATE},
        {"idempotent", OP_IDEMPOTENT}, {"idempotent_unary", OP_IDEMPOTENT_UNARY}, {"involution", OP_INVOLUTION},
        {"zero_preserving", OP_ZERO_PRESERVING}, {"associates", OP_ASSOCIATES},
    };

    if (op_class(op) != CLASS_POINTWISE)
        return strcmp(name, "reduce") == 0 && op_class(op) == CLASS_REDUCE && op != OP_ARGMAX && op != OP_ARGMIN;
    if (strcmp(name, "unary") == 0 || strcmp(name, "binary") == 0)
        return op_table[op].arity == (name[0] == 'u' ? 1 : 2);
    for (uint32_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strcmp(classes[i].name, name) == 0)
            return op_has(op, classes[i].props);
    return false;
}

static bool add_ops(Compiler *c, const YamlNode *y, OpSet *out)
{
    if (y->kind != YAML_SCALAR)
        return COMPILE_FAIL(c, y->loc, NULL, "expected an op, a class of ops, or a list of them: [add, mul]");
    Op single = op_find(y->text);
    bool any = single != OP_NONE;

    if (any)
        opset_add(out, single);
    for (int op = 0; op < OP_COUNT && single == OP_NONE; op++)
        if (op_in_class((Op)op, y->text)) {
            opset_add(out, (Op)op);
            any = true;
        }
    return any || COMPILE_FAIL(c, y->loc, "classes are unary, binary, odd, even, increasing, predicate, idempotent, reduce …",
                               "'%s' is neither an op nor a class of ops", y->text);
}

static bool check_alike(Compiler *c, const YamlNode *y, OpSet ops)
{
    int arity = -2;

    for (int op = 0; op < OP_COUNT; op++) {
        if (!opset_has(ops, (Op)op))
            continue;
        if (arity != -2 && op_table[op].arity != arity)
            return COMPILE_FAIL(c, y->loc, NULL, "alternatives take different numbers of operands");
        arity = op_table[op].arity;
    }
    return true;
}

static bool read_alternatives(Compiler *c, const YamlNode *y)
{
    if (y && y->kind != YAML_MAPPING)
        return COMPILE_FAIL(c, y->loc, NULL, "`alternatives` maps a name to ops: {P: [add, mul]}");
    for (uint32_t i = 0; y && i < y->n; i++) {
        const YamlNode *ops = y->items[i];
        if (c->n_op_vars == RULE_MAX_OPS)
            return COMPILE_FAIL(c, y->loc, NULL, "a rule has at most %d alternatives", RULE_MAX_OPS);
        OpVar *v = &c->op_vars[c->n_op_vars];
        *v = (OpVar){str_intern(c->cx->strs, y->keys[i]->text), {{0, 0}}, (uint8_t)c->n_op_vars};
        bool ok = ops->kind == YAML_SEQUENCE || add_ops(c, ops, &v->ops);
        for (uint32_t k = 0; ok && ops->kind == YAML_SEQUENCE && k < ops->n; k++)
            ok = add_ops(c, ops->items[k], &v->ops);
        if (!ok || !check_alike(c, ops, v->ops))
            return false;
        c->n_op_vars++;
    }
    return true;
}

const OpVar *op_var_find(const Compiler *c, Str name)
{
    for (uint32_t i = 0; i < c->n_op_vars; i++)
        if (c->op_vars[i].name == name)
            return &c->op_vars[i];
    return NULL;
}

/* ---- exactness, profit, measure, evidence, hints --------------------------------------------------------------------------------- */
static bool class_find(const char *name, NumClass *out)
{
    static const NumClass classes[] = {NUM_IEEE, NUM_FP32, NUM_TF32, NUM_BF16, NUM_F16, NUM_APPROX};

    for (uint32_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strcmp(name, numclass_name(classes[i])) == 0)
            return *out = classes[i], true;
    return false;
}

/* "range(nonnegative(%x))" → "nonnegative(%x)" */
static const char *inside(Compiler *c, const char *text, const char *callee)
{
    size_t n = strlen(callee), len = strlen(text);
    bool call = strncmp(text, callee, n) == 0 && text[n] == '(' && text[len - 1] == ')';

    return call ? arena_strndup(c->cx->arena, text + n + 1, len - n - 2) : NULL;
}

static bool read_exactness(Compiler *c, const YamlNode *y)
{
    RuleInfo *info = &c->rule->info;
    const char *text, *arg;

    if (!y)
        return COMPILE_FAIL(c, c->rule->loc, "exact, reassociates, range(EXPR) or precision(CLASS)", "a rule states its exactness");
    if (!yaml_string(c->cx->diags, y, &text, "exactness"))
        return false;
    if (strcmp(text, "exact") == 0) {
        info->exactness = EXACT;
    } else if (strcmp(text, "reassociates") == 0) {
        info->exactness = REASSOCIATES;
    } else if ((arg = inside(c, text, "range"))) {
        info->exactness = RANGE;
        c->range = arena_copy(c->cx->arena, y, sizeof *y);
        c->range->text = arg;
        c->range->loc.offset += (uint32_t)strlen("range(");
    } else if ((arg = inside(c, text, "precision")) && class_find(arg, &info->precision)) {
        info->exactness = PRECISION;
    } else {
        return COMPILE_FAIL(c, y->loc, "exact, reassociates, range(EXPR) or precision(CLASS)", "unknown exactness '%s'", text);
    }
    return true;
}

static bool read_profit(Compiler *c, const YamlNode *y)
{
    if (y && strcmp(y->text, "measured") == 0)
        c->rule->info.profit = MEASURED;
    else if (y && strcmp(y->text, "always") != 0)
        return COMPILE_FAIL(c, y->loc, "always or measured", "unknown profit '%s'", y->text);
    return true;
}

/* measure: nodes | elements | ops(sub, div) */
static bool read_measure(Compiler *c, const YamlNode *y)
{
    Rule *r = c->rule;
    const char *args;

    if (!y || strcmp(y->text, "nodes") == 0)
        return true;
    if (strcmp(y->text, "elements") == 0) {
        r->measure = MEASURE_ELEMENTS;
        return true;
    }
    if (!(args = inside(c, y->text, "ops")))
        return COMPILE_FAIL(c, y->loc, "nodes, elements or ops(NAME, …)", "unknown measure '%s'", y->text);
    r->measure = MEASURE_OPS;
    char *save = NULL, *copy = arena_strdup(c->cx->arena, args);
    for (char *name = strtok_r(copy, ", ", &save); name; name = strtok_r(NULL, ", ", &save)) {
        if (op_find(name) == OP_NONE)
            return COMPILE_FAIL(c, y->loc, NULL, "there is no op '%s'", name);
        opset_add(&r->measure_ops, op_find(name));
    }
    return true;
}

static const char *text_of(const YamlNode *map, const char *key)
{
    const YamlNode *y = yaml_get(map, key);
    return y && y->kind == YAML_SCALAR ? y->text : NULL;
}

static bool read_evidence(Compiler *c, const YamlNode *y)
{
    static const char *const keys[] = {"device", "task", "workload", "ratio", "ci", "date"};
    Evidence *all = arena_new_array(c->cx->arena, Evidence, (y ? y->n : 0) + 1);

    if (y && y->kind != YAML_SEQUENCE)
        return COMPILE_FAIL(c, y->loc, NULL, "`evidence` is a list: [{device: …, ratio: …}]");
    for (uint32_t i = 0; y && i < y->n; i++) {
        const YamlNode *e = y->items[i], *ci = yaml_get(e, "ci"), *ratio = yaml_get(e, "ratio");
        if (!yaml_check_keys(c->cx->diags, e, keys, sizeof keys / sizeof *keys, "evidence"))
            return false;
        all[i] = (Evidence){.device = text_of(e, "device"), .task = text_of(e, "task"), .workload = text_of(e, "workload"),
                            .date = text_of(e, "date")};
        if (!all[i].device || !ratio)
            return COMPILE_FAIL(c, e->loc, NULL, "evidence names its device and its ratio");
        if (!yaml_double(c->cx->diags, ratio, &all[i].ratio, "ratio"))
            return false;
        all[i].lo = all[i].hi = all[i].ratio;
        if (ci && (ci->kind != YAML_SEQUENCE || ci->n != 2))
            return COMPILE_FAIL(c, ci->loc, NULL, "`ci` is the interval of the ratio: [low, high]");
        if (ci && (!yaml_double(c->cx->diags, ci->items[0], &all[i].lo, "ci") ||
                   !yaml_double(c->cx->diags, ci->items[1], &all[i].hi, "ci")))
            return false;
    }
    c->rule->info.evidence = all;
    c->rule->info.n_evidence = y ? y->n : 0;
    return true;
}

static bool read_hints(Compiler *c, const YamlNode *y)
{
    Rule *r = c->rule;

    if (y && y->kind != YAML_MAPPING)
        return COMPILE_FAIL(c, y->loc, NULL, "`test` maps variables to what instances shall have: {x: \"f32[2, 3]\"}");
    r->hints = arena_new_array(c->cx->arena, TestHint, (y ? y->n : 0) + 1);
    for (uint32_t i = 0; y && i < y->n; i++)
        r->hints[r->n_hints++] = (TestHint){str_intern(c->cx->strs, y->keys[i]->text), y->items[i]};
    return true;
}

/* ---- the rule ------------------------------------------------------------------------------------------------------------------------ */
static bool read_block(Compiler *c, const YamlNode *rule, const char *key, TextBlock *out)
{
    const YamlNode *y = yaml_get(rule, key);
    const char *text;

    if (!y)
        return COMPILE_FAIL(c, c->rule->loc, NULL, "a rule needs `%s`", key);
    if (!yaml_string(c->cx->diags, y, &text, key))
        return false;
    const Source *s = y->block;
    if (!s) {                                                 /* on one line: rewrite: "%y = %x" */
        uint32_t line, col;
        loc_line_col(y->loc, &line, &col);
        Source *own = source_from_text(c->cx->arena, y->loc.source->name, text);
        own->first_line = line;
        own->first_col = col + (y->quoted ? 1 : 0);
        s = own;
    }
    return text_parse_block(c->cx, s, out);
}

static bool read_name(Compiler *c, const YamlNode *y)
{
    RuleInfo *info = &c->rule->info;
    const YamlNode *name = yaml_get(y, "rule"), *about = yaml_get(y, "about");

    if (!name)
        return COMPILE_FAIL(c, y->loc, NULL, "a rule needs its name: `rule: NAME`");
    c->rule->loc = name->loc;
    if (!yaml_string(c->cx->diags, name, &info->name, "rule"))
        return false;
    if (strspn(info->name, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(info->name) || !*info->name)
        return COMPILE_FAIL(c, name->loc, "lower-case letters, digits and _", "'%s' is no name of a rule", info->name);
    if (!about)
        return COMPILE_FAIL(c, name->loc, NULL, "%s needs `about`: one sentence that says what it does", info->name);
    info->file = name->loc.source->name;
    uint32_t col;
    loc_line_col(name->loc, &info->line, &col);
    return yaml_string(c->cx->diags, about, &info->about, "about");
}

bool rule_compile(Context *cx, const YamlNode *y, Rule **out)
{
    static const char *const keys[] = {"rule", "about", "alternatives", "match", "rewrite", "where", "exactness", "profit",
                                       "measure", "origin", "evidence", "test"};
    Compiler c = {.cx = cx, .rule = arena_new_of(cx->arena, Rule)};

    *out = c.rule;
    memset(c.list_of, RULE_NO_SLOT, sizeof c.list_of);
    if (y->kind != YAML_MAPPING)
        return COMPILE_FAIL(&c, y->loc, NULL, "a rule is a mapping");
    if (!yaml_check_keys(cx->diags, y, keys, sizeof keys / sizeof *keys, "a rule") || !read_name(&c, y) ||
        !read_alternatives(&c, yaml_get(y, "alternatives")) || !read_exactness(&c, yaml_get(y, "exactness")) ||
        !read_profit(&c, yaml_get(y, "profit")) || !read_measure(&c, yaml_get(y, "measure")) ||
        !read_evidence(&c, yaml_get(y, "evidence")) || !read_hints(&c, yaml_get(y, "test")))
        return false;
    return read_block(&c, y, "match", &c.match) && read_block(&c, y, "rewrite", &c.build) && compile_patterns(&c) &&
           compile_match_program(&c, yaml_get(y, "where")) && compile_build_program(&c);
}
