/* passes/rules/generate.c — the pass generator: rules as C.
 *
 * Each rule becomes a match function and a build function, its steps printed one a line over the same step functions
 * that the interpreter uses. The tree that finds them switches on the root's op and then on the ops of its first two operands, and
 * tries what is left in order; ops with the same rules share a case. */
#include "passes/rules/rule.h"
#include <math.h>
#include <string.h>

typedef struct { StrBuf *b; Arena *arena; const RuleList *rules; uint32_t rule, n_nested; } Gen;

static void quoted(StrBuf *b, const char *s)
{
    strbuf_char(b, '"');
    for (; s && *s; s++)
        strbuf_printf(b, *s == '"' || *s == '\\' ? "\\%c" : *s == '\n' ? " " : "%c", *s);
    strbuf_char(b, '"');
}

static void print_double(StrBuf *b, double v)
{
    if (isnan(v))
        strbuf_add(b, "NAN");
    else if (isinf(v))
        strbuf_add(b, v < 0 ? "-INFINITY" : "INFINITY");
    else
        strbuf_printf(b, "%a", v);
}

static void print_opset(StrBuf *b, OpSet s)
{
    strbuf_printf(b, "(OpSet){{0x%llxu, 0x%llxu}}", (unsigned long long)s.w[0], (unsigned long long)s.w[1]);
}

static const char *enum_of_attr(AttrKey key)
{
    static const char *const names[] = {
#define ATTR(E, name, kind) "ATTR_" #E,
#include "ir/attrs.def"
#undef ATTR
    };
    return names[key];
}

static const char *enum_of_op(Op op)
{
    static const char *const names[] = {
#define OP(E, name, cls, arity, ref, props) "OP_" #E,
#include "ir/ops.def"
#undef OP
        "OP_NONE",
    };
    return names[op];
}

/* ---- expressions ------------------------------------------------------------------------------------------------------------ */
static void print_expr(StrBuf *b, const RuleExpr *e);

static void print_args(StrBuf *b, const RuleExpr *e)
{
    for (uint32_t i = 0; i < e->n; i++) {
        strbuf_add(b, i ? ", " : "");
        print_expr(b, e->args[i]);
    }
}

static void print_ints(StrBuf *b, const RuleExpr *e)
{
    strbuf_add(b, "rv_ints((const int64_t[]){");
    for (uint32_t i = 0; i < e->n; i++)
        strbuf_printf(b, "%s%lld", i ? ", " : "", (long long)e->ints[i]);
    strbuf_printf(b, "%s}, %u)", e->n ? "" : "0", e->n);
}

static const char *binary_name(RuleBinary op)
{
    static const char *const names[] = {"RB_ADD", "RB_SUB", "RB_MUL", "RB_DIV", "RB_FLOORDIV", "RB_MOD", "RB_EQ", "RB_NE",
                                        "RB_LT", "RB_LE", "RB_GT", "RB_GE", "RB_AND", "RB_OR"};
    return names[op];
}

static void print_expr(StrBuf *b, const RuleExpr *e)
{
    switch (e->kind) {
    case REX_INT:   strbuf_printf(b, "rv_int(%lld)", (long long)e->i); return;
    case REX_FLOAT: strbuf_add(b, "rv_float("); print_double(b, e->f); strbuf_char(b, ')'); return;
    case REX_DTYPE: strbuf_printf(b, "rv_dtype(%d /* %s */)", (int)e->dtype, dtype_name(e->dtype)); return;
    case REX_INTS:  print_ints(b, e); return;
    case REX_VALUE: strbuf_printf(b, "rv_node(m->value[%u])", e->slot); return;
    case REX_LIST:  strbuf_printf(b, "rv_list(m, %u)", e->slot); return;
    case REX_ATTR:  strbuf_printf(b, "m->attr[%u]", e->slot); return;
    case REX_INDEX: strbuf_add(b, "rv_int(m->index)"); return;
    case REX_AT:    strbuf_printf(b, "rule_at(m, %u, ", e->slot); break;
    case REX_CALL:
        strbuf_printf(b, "rule_native(r, NATIVE_%s, (const RuleValue[]){", native_table[e->native].name);
        print_args(b, e);
        strbuf_printf(b, "}, %u)", e->n);
        return;
    case REX_BINARY: strbuf_printf(b, "rule_binary(r, %s, ", binary_name(e->binary)); break;
    case REX_NEG:   strbuf_add(b, "rule_negate(r, "); break;
    case REX_ANY:   strbuf_add(b, "(RuleValue){0}"); return;
    }
    print_args(b, e);
    strbuf_char(b, ')');
}

/* ---- steps ------------------------------------------------------------------------------------------------------------------- */
static void print_each(StrBuf *b, const Step *s)
{
    EachSpec e = step_each(s);

    strbuf_printf(b, "&(EachSpec){.list = %u, .src = %u, .anchor = %u, .n_collect = %u, .n_fresh = %u", e.list, e.src, e.anchor,
                  e.n_collect, e.n_fresh);
    for (uint32_t i = 0; i < e.n_collect; i++)
        strbuf_printf(b, ", .collect[%u] = {%u, %u}", i, e.collect[i].value, e.collect[i].list);
    for (uint32_t i = 0; i < e.n_fresh; i++)
        strbuf_printf(b, ", .fresh[%u] = %u", i, e.fresh[i]);
    strbuf_char(b, '}');
}

static void print_make(StrBuf *b, const Step *s)
{
    strbuf_printf(b, "rule_make(r, m, %u, ", s->dst);
    if (s->op == OP_NONE)
        strbuf_printf(b, "m->op[%u]", s->a);
    else
        strbuf_add(b, enum_of_op(s->op));
    strbuf_add(b, ", (const RuleValue[]){");
    for (uint32_t i = 0; i < s->n_exprs; i++) {
        strbuf_add(b, i ? ", " : "");
        print_expr(b, s->exprs[i]);
    }
    strbuf_printf(b, "}, %u, ", s->n_exprs);
    if (s->n_attrs == 0) {
        strbuf_add(b, "NULL, NULL, 0)");
        return;
    }
    strbuf_add(b, "(const AttrKey[]){");
    for (uint32_t i = 0; i < s->n_attrs; i++)
        strbuf_printf(b, "%s%s", i ? ", " : "", enum_of_attr(s->attrs[i].key));
    strbuf_add(b, "}, (const RuleValue[]){");
    for (uint32_t i = 0; i < s->n_attrs; i++) {
        strbuf_add(b, i ? ", " : "");
        print_expr(b, s->attrs[i].expr);
    }
    strbuf_printf(b, "}, %u)", s->n_attrs);
}

static void print_attr(StrBuf *b, const Step *s)
{
    const char *key = enum_of_attr(s->key);

    if (s->expr->kind == REX_ATTR) {
        strbuf_printf(b, "rule_bind_attr(r, m, %u, %s, %u)", s->src, key, s->expr->slot);
        return;
    }
    strbuf_printf(b, "rule_attr_is(r, m, %u, %s, ", s->src, key);
    print_expr(b, s->expr);
    strbuf_char(b, ')');
}

static void print_type(StrBuf *b, const Step *s)
{
    strbuf_printf(b, "rule_type_is(m, %u, 0x%x, %d, %d, %u)", s->src, s->dtypes, s->has_shape, s->open, s->n_exprs);
    for (uint32_t k = 0; k < s->n_exprs; k++) {
        const RuleExpr *d = s->exprs[k];
        if (d->kind == REX_ATTR) {
            strbuf_printf(b, " && rule_bind_dim(r, m, %u, %u, %u, %u)", s->src, k, s->n_exprs, d->slot);
        } else if (d->kind != REX_ANY) {
            strbuf_printf(b, " && rule_dim_is(r, m, %u, %u, %u, ", s->src, k, s->n_exprs);
            print_expr(b, d);
            strbuf_char(b, ')');
        }
    }
}

/* One condition. `nested`: the function of the steps inside. */
static void print_step(StrBuf *b, const Step *s, const char *nested)
{
    switch (s->kind) {
    case STEP_OPERAND:
        strbuf_printf(b, "rule_bind_operand(r, m, %u, %u, %u, %u, %d)", s->dst, s->src, s->k, s->a, s->flip);
        return;
    case STEP_OPERANDS: strbuf_printf(b, "rule_bind_operands(r, m, %u, %u)", s->dst, s->src); return;
    case STEP_OP:
        strbuf_printf(b, "rule_bind_op(m, %u, ", s->src);
        print_opset(b, s->ops);
        strbuf_printf(b, ", %u)", s->a);
        return;
    case STEP_LITERAL:
        strbuf_printf(b, "rule_is_literal(m, %u, ", s->src);
        print_double(b, s->f);
        strbuf_char(b, ')');
        return;
    case STEP_ATTR:    print_attr(b, s); return;
    case STEP_DEFAULT: strbuf_printf(b, "rule_attr_default(m, %u, %s)", s->src, enum_of_attr(s->key)); return;
    case STEP_TYPE:    print_type(b, s); return;
    case STEP_LET:
        strbuf_printf(b, "(m->attr[%u] = ", s->a);
        print_expr(b, s->expr);
        strbuf_add(b, ").kind != RV_NONE");
        return;
    case STEP_WHERE:
        strbuf_add(b, "rule_true(");
        print_expr(b, s->expr);
        strbuf_char(b, ')');
        return;
    case STEP_EACH: case STEP_SIBLINGS: case STEP_FIND: case STEP_REPEAT:
        strbuf_printf(b, "rule_%s(r, m, ", s->kind == STEP_EACH ? "each" : s->kind == STEP_SIBLINGS ? "siblings" :
                                           s->kind == STEP_FIND ? "find" : "repeat");
        print_each(b, s);
        strbuf_printf(b, ", %s, NULL)", nested);
        return;
    case STEP_MAKE:    print_make(b, s); return;
    case STEP_ALIAS:
        strbuf_printf(b, "rule_alias(r, m, %u, ", s->dst);
        print_expr(b, s->expr);
        strbuf_char(b, ')');
        return;
    }
}

/* A function over steps [begin, end); those of nested blocks are printed before it. */
static void print_function(Gen *g, const Program *p, uint32_t begin, uint32_t end, const char *name)
{
    const char **nested = arena_new_array(g->arena, const char *, end - begin + 1);

    for (uint32_t i = begin; i < end; i++)
        if (p->data[i].end) {
            nested[i - begin] = arena_printf(g->arena, "nested_%u_%u", g->rule, g->n_nested++);
            print_function(g, p, i + 1, p->data[i].end, nested[i - begin]);
            i = p->data[i].end - 1;
        }
    strbuf_printf(g->b, "static bool %s(RuleRun *r, RuleMatch *m, const void *program)\n{\n    (void)program; (void)r; (void)m;\n", name);
    strbuf_add(g->b, "    return true");
    for (uint32_t i = begin; i < end; i++) {
        strbuf_add(g->b, "\n        && ");
        bool compound = p->data[i].kind == STEP_LET;
        strbuf_add(g->b, compound ? "(" : "");
        print_step(g->b, &p->data[i], nested[i - begin]);
        strbuf_add(g->b, compound ? ")" : "");
        if (p->data[i].end)
            i = p->data[i].end - 1;
    }
    strbuf_add(g->b, ";\n}\n");
}

static void print_rule(Gen *g, const Rule *r)
{
    TrySpec t = rule_try_spec(r, g->rule);

    g->n_nested = 0;
    strbuf_printf(g->b, "\n/* %s:%u: %s */\n", r->info.file, r->info.line, r->info.name);
    print_function(g, &r->match, 0, r->match.n, arena_printf(g->arena, "match_%u", g->rule));
    print_function(g, &r->build, 0, r->build.n, arena_printf(g->arena, "build_%u", g->rule));
    strbuf_printf(g->b, "static const TrySpec try_%u = {.rule = %u, .n_ways = %u, .root = %u, .family = %d, .n_roots = %u",
                  g->rule, t.rule, t.n_ways, t.root, t.family, t.n_roots);
    for (uint32_t i = 0; i < t.n_roots; i++)
        strbuf_printf(g->b, ", .old_root[%u] = %u, .new_root[%u] = %u", i, t.old_root[i], i, t.new_root[i]);
    strbuf_printf(g->b, "};\n#define TRY_%u rule_try(r, &try_%u, match_%u, build_%u, NULL, n)\n", g->rule, g->rule, g->rule, g->rule);
}

/* ---- what is known of the rules -------------------------------------------------------------------------------------------------- */
static void print_evidence(Gen *g, const RuleInfo *info)
{
    if (info->n_evidence == 0)
        return;
    strbuf_printf(g->b, "static const Evidence evidence_%u[] = {\n", g->rule);
    for (uint32_t i = 0; i < info->n_evidence; i++) {
        const Evidence *e = &info->evidence[i];
        const char *texts[] = {e->device, e->task, e->workload, e->date};
        strbuf_add(g->b, "    {");
        for (int k = 0; k < 4; k++) {
            if (texts[k])
                quoted(g->b, texts[k]);
            else
                strbuf_add(g->b, "NULL");
            strbuf_add(g->b, ", ");
        }
        strbuf_printf(g->b, "%a, %a, %a},\n", e->ratio, e->lo, e->hi);
    }
    strbuf_add(g->b, "};\n");
}

static void print_info(Gen *g, const RuleInfo *x)
{
    strbuf_add(g->b, "    {.name = ");
    quoted(g->b, x->name);
    strbuf_add(g->b, ", .about = ");
    quoted(g->b, x->about);
    strbuf_add(g->b, ", .file = ");
    quoted(g->b, x->file);
    strbuf_printf(g->b, ",\n     .line = %u, .exactness = %d, .precision = %d, .profit = %d, .of_matmul = %d, .depth = %u, .n_roots = %u",
                  x->line, (int)x->exactness, (int)x->precision, (int)x->profit, x->of_matmul, x->depth, x->n_roots);
    if (x->n_evidence)
        strbuf_printf(g->b, ", .evidence = evidence_%u, .n_evidence = %u", g->rule, x->n_evidence);
    strbuf_add(g->b, "},\n");
}

static void print_infos(Gen *g)
{
    for (g->rule = 0; g->rule < g->rules->n; g->rule++)
        print_evidence(g, &g->rules->data[g->rule]->info);
    strbuf_add(g->b, "\nstatic const RuleInfo infos[] = {\n");
    for (g->rule = 0; g->rule < g->rules->n; g->rule++)
        print_info(g, &g->rules->data[g->rule]->info);
    strbuf_add(g->b, g->rules->n ? "};\n" : "    {0}\n};\n");
}

/* ---- the decision tree --------------------------------------------------------------------------------------------------------------- */
typedef struct { uint32_t *rule, n; } Candidates;

static Candidates keep(Gen *g, const Candidates *from, Op root)
{
    Candidates c = {arena_new_array(g->arena, uint32_t, from->n + 1), 0};

    for (uint32_t i = 0; i < from->n; i++)
        if (opset_has(g->rules->data[from->rule[i]]->root_ops, root))
            c.rule[c.n++] = from->rule[i];
    return c;
}

static Candidates keep_both(Gen *g, const Candidates *from, Op root, Op a, Op b)
{
    Candidates c = {arena_new_array(g->arena, uint32_t, from->n + 1), 0};

    for (uint32_t i = 0; i < from->n; i++)
        if (rule_prefilter(g->rules->data[from->rule[i]], root, a, b))
            c.rule[c.n++] = from->rule[i];
    return c;
}

/* With only the first operand's op known: what could fit whatever the second is. */
static Candidates keep_first(Gen *g, const Candidates *from, Op root, Op a)
{
    Candidates c = {arena_new_array(g->arena, uint32_t, from->n + 1), 0};
    OpSet all = OPSET_ALL;

    for (uint32_t i = 0; i < from->n; i++) {
        const Rule *r = g->rules->data[from->rule[i]];
        bool any0 = memcmp(&r->operand_ops[0], &all, sizeof all) == 0, any1 = memcmp(&r->operand_ops[1], &all, sizeof all) == 0;
        bool straight = any0 || (a < OP_COUNT && opset_has(r->operand_ops[0], a));
        bool flipped = r->root_flips && (any1 || (a < OP_COUNT && opset_has(r->operand_ops[1], a)));
        if (opset_has(r->root_ops, root) && (straight || flipped))
            c.rule[c.n++] = from->rule[i];
    }
    return c;
}

static bool same_candidates(const Candidates *a, const Candidates *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->rule, b->rule, a->n * sizeof *a->rule) == 0);
}

static void print_tries(Gen *g, const Candidates *c, int indent)
{
    strbuf_printf(g->b, "%*sreturn ", indent, "");
    for (uint32_t i = 0; i < c->n; i++)
        strbuf_printf(g->b, "%sTRY_%u", i ? " || " : "", c->rule[i]);
    strbuf_add(g->b, c->n ? ";\n" : "false;\n");
}

typedef enum { LEVEL_ROOT, LEVEL_FIRST, LEVEL_SECOND } Level;
typedef struct { Level level; Op root, first; } Path;

static Candidates refine(Gen *g, const Candidates *from, const Path *p, Op op)
{
    switch (p->level) {
    case LEVEL_ROOT:   return keep(g, from, op);
    case LEVEL_FIRST:  return keep_first(g, from, p->root, op);
    case LEVEL_SECOND: return keep_both(g, from, p->root, p->first, op);
    }
    return *from;
}

static void print_level(Gen *g, const Candidates *from, Path p, int indent);

static void print_below(Gen *g, const Candidates *c, const Path *p, Op op, int indent)
{
    Path next = *p;

    if (c->n == 0 || p->level == LEVEL_SECOND) {
        print_tries(g, c, indent);
        return;
    }
    if (p->level == LEVEL_ROOT)
        next.root = op;
    else
        next.first = op;
    next.level = (Level)(p->level + 1);
    print_level(g, c, next, indent);
}

/* The text under op, taken from an op before it where the same rules are left. Below the first operand that is not enough: which of
 * the two orders of operands fits differs from op to op. */
static const char *text_below(Gen *g, const Candidates *by_op, const char **text, const Path *p, int op, int indent)
{
    for (int k = 0; k < op && p->level != LEVEL_FIRST; k++)
        if (same_candidates(&by_op[k], &by_op[op]))
            return text[k];
    StrBuf b = strbuf_new(g->arena), *out = g->b;
    g->b = &b;
    print_below(g, &by_op[op], p, (Op)op, indent + 4);
    g->b = out;
    return b.text;
}

static uint32_t most_frequent(const char **text, uint32_t *frequency)
{
    uint32_t best = OP_COUNT;

    *frequency = 0;
    for (uint32_t op = 0; op <= OP_COUNT; op++) {
        uint32_t n = 0;
        for (int k = 0; k <= OP_COUNT; k++)
            n += text[op] == text[k] || strcmp(text[op], text[k]) == 0;
        if (n > *frequency) {
            best = op;
            *frequency = n;
        }
    }
    return best;
}

static void print_unindented(StrBuf *out, const char *text)
{
    for (const char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        strbuf_add_n(out, line + 4, (size_t)(end - line) - 3);
    }
}

/* Ops whose subtrees print alike share a case; the most frequent subtree is the default. */
static void print_level(Gen *g, const Candidates *from, Path p, int indent)
{
    Candidates by_op[OP_COUNT + 1];
    const char *text[OP_COUNT + 1];
    StrBuf *out = g->b;
    uint32_t frequency;

    for (int op = 0; op <= OP_COUNT; op++) {
        by_op[op] = refine(g, from, &p, (Op)op);
        text[op] = text_below(g, by_op, text, &p, op, indent);
    }
    uint32_t best = most_frequent(text, &frequency);
    if (frequency == OP_COUNT + 1) {
        print_unindented(out, text[best]);
        return;
    }
    static const char *const subject[] = {"n->op", "rule_operand_op(r, n, 0)", "rule_operand_op(r, n, 1)"};
    strbuf_printf(out, "%*sswitch ((int)%s) {\n", indent, "", subject[p.level]);
    bool printed[OP_COUNT + 1] = {0};
    for (int op = 0; op <= OP_COUNT; op++) {
        if (printed[op] || strcmp(text[op], text[best]) == 0)
            continue;
        for (int k = op; k <= OP_COUNT; k++)
            if (strcmp(text[op], text[k]) == 0) {
                strbuf_printf(out, "%*scase %s:\n", indent, "", enum_of_op((Op)k));
                printed[k] = true;
            }
        strbuf_add(out, text[op]);
    }
    strbuf_printf(out, "%*sdefault:\n%s%*s}\n", indent, "", text[best], indent, "");
}

static void print_tree(Gen *g)
{
    Candidates all = {arena_new_array(g->arena, uint32_t, g->rules->n + 1), g->rules->n};

    for (uint32_t i = 0; i < all.n; i++)
        all.rule[i] = i;
    strbuf_add(g->b, "\nstatic bool rules_at(RuleRun *r, Node *n)\n{\n    (void)r;\n");
    print_level(g, &all, (Path){LEVEL_ROOT, OP_NONE, OP_NONE}, 4);
    strbuf_add(g->b, "}\n");
}

bool rules_generate(StrBuf *out, const RuleList *rules)
{
    Gen g = {.b = out, .arena = arena_new(), .rules = rules};

    strbuf_add(out, "/* Generated by passgen from patterns/. Do not edit. */\n#include \"passes/rules/rule.h\"\n#include <math.h>\n");
    for (g.rule = 0; g.rule < rules->n; g.rule++)
        print_rule(&g, rules->data[g.rule]);
    print_infos(&g);
    print_tree(&g);
    strbuf_printf(out, "\nconst GeneratedRules pawl_generated_rules = {infos, %u, rules_at};\n", rules->n);
    arena_free(g.arena);
    return true;
}
