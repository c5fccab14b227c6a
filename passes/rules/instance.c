/* passes/rules/instance.c — random graphs that a rule matches, made from the rule's own pattern and conditions.
 *
 * The pattern is built bottom up: a variable becomes an input (a literal, a frozen parameter, a value of known sign where a
 * condition asks for it), attributes are drawn to fit their operands. What does not type-check or does not match is thrown
 * away: callers try the next seed. Small dims with many ones and primes make the odd cases frequent. */
#include "base/yaml.h"
#include "ir/text.h"
#include "passes/rules/instance.h"
#include <math.h>
#include <string.h>

uint32_t draw(Gen *g, uint32_t n)
{
    g->state += 0x9e3779b97f4a7c15u;
    return (uint32_t)(hash_mix(g->state, 0x5bd1e995u) >> 16) % n;
}

bool chance(Gen *g, uint32_t percent) { return draw(g, 100) < percent; }

/* ---- hints: `test: {p: [[0, 2, 1]], c: [2, 0.5], x: ["f32[2, 3]"]}` ----------------------------------------------------------- */
const YamlNode *hint_for(Gen *g, Str name)
{
    for (uint32_t i = 0; i < g->rule->n_hints; i++) {
        const YamlNode *y = g->rule->hints[i].values;
        if (g->rule->hints[i].name == name)
            return y->kind == YAML_SEQUENCE && y->n ? y->items[draw(g, y->n)] : y;
    }
    return NULL;
}

/* ---- types ------------------------------------------------------------------------------------------------------------------- */
Dim draw_dim(Gen *g)
{
    static const int64_t dims[] = {1, 1, 2, 3, 4, 5, 7};
    return dim_const(g->cx->dims, dims[draw(g, sizeof dims / sizeof *dims)]);
}

Shape draw_shape(Gen *g)
{
    static const uint32_t ranks[] = {0, 1, 1, 2, 2, 2, 3, 3, 4};
    Shape s = {.rank = ranks[draw(g, sizeof ranks / sizeof *ranks)]};

    for (uint32_t i = 0; i < s.rank; i++)
        s.d[i] = draw_dim(g);
    return s;
}

static DType draw_dtype(Gen *g, uint16_t mask)
{
    static const DType often[] = {DT_F32, DT_F32, DT_F32, DT_F64, DT_BF16, DT_BF16, DT_F16, DT_I64, DT_I32, DT_I8, DT_U8, DT_BOOL};
    DType t;

    do
        t = often[draw(g, sizeof often / sizeof *often)];
    while (!(mask >> t & 1));
    return t;
}

/* What conditions ask of a variable, as far as it can be arranged. */
typedef struct { uint16_t dtypes; bool literal, constant, nonnegative, within; uint8_t like; } Wish;

static void wish_for(const RuleExpr *e, uint8_t slot, uint8_t list, Wish *w)
{
    if (e->kind == REX_BINARY && e->binary == RB_AND) {
        wish_for(e->args[0], slot, list, w);
        wish_for(e->args[1], slot, list, w);
    }
    if (e->kind != REX_CALL)
        return;
    const RuleExpr *a = e->args[0], *b = e->n > 1 ? e->args[1] : NULL;
    bool mine = (a->kind == REX_VALUE && a->slot == slot) || (a->kind == REX_LIST && a->slot == list);
    uint16_t floats = 1 << DT_F64 | 1 << DT_F32 | 1 << DT_F16 | 1 << DT_BF16;
    switch ((int)e->native) {
    case NATIVE_literal:  w->literal |= mine; break;
    case NATIVE_constant: w->constant |= mine; break;
    case NATIVE_nonnegative: case NATIVE_no_negative_zero: w->nonnegative |= mine; break;
    case NATIVE_within:   w->within |= mine; break;
    case NATIVE_is_float: w->dtypes &= mine ? floats : 0xffff; break;
    case NATIVE_is_int:   w->dtypes &= mine ? (uint16_t)~(floats | 1 << DT_BOOL) : 0xffff; break;
    case NATIVE_is_bool:  w->dtypes &= mine ? 1 << DT_BOOL : 0xffff; break;
    case NATIVE_same_shape: case NATIVE_same_type:
        pawl_assert(b);
        if (mine && b->kind == REX_VALUE)
            w->like = b->slot;
        else if (b->kind == REX_VALUE && b->slot == slot && a->kind == REX_VALUE)
            w->like = a->slot;
        break;
    default: break;
    }
}

static uint8_t list_of_element(const Rule *r, uint8_t slot)
{
    const char *name = r->value_name[slot], *bracket = strchr(name, '[');

    for (uint8_t i = 0; bracket && i < r->n_lists; i++)
        if (strlen(r->list_name[i]) == (size_t)(bracket - name) && strncmp(name, r->list_name[i], (size_t)(bracket - name)) == 0)
            return i;
    return RULE_NO_SLOT;
}

static Wish wish_of(const Gen *g, uint8_t slot)
{
    Wish w = {.dtypes = 0xffff, .like = RULE_NO_SLOT};

    for (uint32_t i = 0; i < g->rule->n_where; i++)
        wish_for(g->rule->where[i], slot, list_of_element(g->rule, slot), &w);
    for (uint32_t i = 0; i < g->rule->n_types; i++)
        if (g->rule->types[i].slot == slot)
            w.dtypes &= g->rule->types[i].dtypes;
    return w;
}

/* Dims named in the variable's declared type. */
static void declared_dims(Gen *g, uint8_t slot, Type *t)
{
    for (uint32_t i = 0; i < g->rule->n_types; i++) {
        const VarType *v = &g->rule->types[i];
        if (v->slot != slot || !v->has_shape)
            continue;
        uint32_t lead = v->open ? draw(g, 2) : 0;
        t->shape = (Shape){.rank = lead + v->n_dims};
        for (uint32_t k = 0; k < lead; k++)
            t->shape.d[k] = draw_dim(g);
        for (uint32_t k = 0; k < v->n_dims; k++) {
            const RuleExpr *d = v->dims[k];
            Dim dim = d->kind == REX_INT ? dim_const(g->cx->dims, d->i) : draw_dim(g);
            if (d->kind == REX_ATTR && g->attr[d->slot].kind == RV_INT)
                dim = dim_const(g->cx->dims, g->attr[d->slot].i);
            if (d->kind == REX_ATTR)
                g->attr[d->slot] = rv_dim(dim);
            t->shape.d[lead + k] = dim;
        }
    }
}

/* ---- variables ------------------------------------------------------------------------------------------------------------------ */
static double draw_literal(Gen *g, DType t)
{
    static const double floats[] = {0, -0.0, 1, -1, 2, 0.5, 0.25, -2, 3, 0.1, 4, -0.5, 1.5}, ints[] = {0, 1, 2, 3, 4};

    if (t == DT_BOOL)
        return draw(g, 2);
    return dtype_is_float(t) ? floats[draw(g, sizeof floats / sizeof *floats)] : ints[draw(g, sizeof ints / sizeof *ints)];
}

static bool hinted_number(const YamlNode *y, double *v)
{
    return y && y->kind == YAML_SCALAR && str_to_double(y->text, v);
}

static Node *literal_leaf(Gen *g, Str name, const Type *t)
{
    double v;

    if (!hinted_number(hint_for(g, name), &v))
        v = draw_literal(g, t->dtype);
    return graph_expand(g->g, graph_const(g->g, t->dtype, v), &t->shape);
}

Node *leaf(Gen *g, uint8_t slot, const Type *like)
{
    Wish w = wish_of(g, slot);
    Str name = g->rule->value_name[slot];
    const YamlNode *hint = hint_for(g, name);
    Type t = {0};
    double v;

    if (like)
        t = *like;
    else {
        t.dtype = draw_dtype(g, w.dtypes ? w.dtypes : 0xffff);
        t.shape = draw_shape(g);
        declared_dims(g, slot, &t);
    }
    if (w.like != RULE_NO_SLOT && g->value[w.like])
        t.shape = g->value[w.like]->type.shape;
    if (like && !(w.dtypes >> t.dtype & 1))
        t.dtype = draw_dtype(g, w.dtypes ? w.dtypes : 0xffff);
    if (hint && hint->kind == YAML_SCALAR && !hinted_number(hint, &v) &&
        !text_parse_type(g->cx, source_from_text(g->cx->scratch, "test", hint->text), &t, false))
        return NULL;
    if (w.literal)
        return literal_leaf(g, name, &t);
    char *input = arena_printf(g->g->arena, "v%u", g->g->inputs.n);
    Node *n = graph_input(g->g, w.constant ? OP_PARAM : OP_INPUT, input, t, LOC_NONE);
    if (w.nonnegative && dtype_is_float(t.dtype))
        n = graph_unary(g->g, chance(g, 50) ? OP_ABS : OP_EXP, n);
    if (w.within && dtype_is_float(t.dtype))
        n = graph_unary(g->g, OP_TANH, n);
    return n;
}

/* ---- inputs ------------------------------------------------------------------------------------------------------------------------ */
static double draw_element(Gen *g, DType t)
{
    static const double special[] = {0, -0.0, 1, -1, INFINITY, -INFINITY, NAN, 0.5, 2, -3, 1e-4, 300};

    if (t == DT_BOOL)
        return draw(g, 2);
    if (!dtype_is_float(t))
        return dtype_class(t) == DC_UNSIGNED ? draw(g, 9) : (double)draw(g, 11) - 5;
    if (g->special && chance(g, 60))
        return special[draw(g, sizeof special / sizeof *special)];
    return ((double)draw(g, 1u << 20) / (1 << 19) - 1) * (chance(g, 50) ? 1 : 4);
}

static void fill_inputs(Gen *g, RuleInstance *x)
{
    Arena *a = g->g->arena;

    x->inputs = arena_new_array(a, Tensor *, g->g->inputs.n + 1);
    for (uint32_t i = 0; i < g->g->inputs.n; i++) {
        const Type *t = &g->g->inputs.data[i].node->type;
        int64_t dims[MAX_RANK];
        for (uint32_t k = 0; k < t->shape.rank; k++)
            dims[k] = t->shape.d[k]->value;
        Tensor *z = x->inputs[i] = tensor_new(a, t->dtype, (int)t->shape.rank, dims);
        for (int64_t k = 0, n = tensor_count(z); k < n; k++)
            dtype_store(t->dtype, (char *)z->data + (size_t)k * dtype_bytes(t->dtype), draw_element(g, t->dtype));
    }
}

/* ---- matching it -------------------------------------------------------------------------------------------------------------------- */
typedef struct { RuleSite sites[64]; uint32_t n; } Caught;

static bool catch_sites(RuleRun *r, uint32_t rule, const RuleSite *sites, uint32_t n)
{
    Caught *c = r->user;

    (void)rule;
    if (n > 64)
        return false;
    memcpy(c->sites, sites, n * sizeof *sites);
    c->n = n;
    return true;
}

static double elements(const Graph *g, Node *const *roots, uint32_t n, Arena *a)
{
    Vec(Node *) todo = {0};
    Map *seen = map_new(a);
    double sum = 0;

    for (uint32_t i = 0; i < n; i++)
        vec_push(a, &todo, graph_resolve(g, roots[i]));
    while (todo.n) {
        Node *m = vec_pop(&todo);
        if (!map_set_ptr(seen, m, m))
            continue;
        double count = 1;
        for (uint32_t i = 0; i < node_rank(m); i++)
            count *= (double)m->type.shape.d[i]->value;
        if (op_class(m->op) != CLASS_MOVEMENT && op_class(m->op) != CLASS_SOURCE)
            sum += count;
        for (uint32_t i = 0; i < m->n_in; i++)
            vec_push(a, &todo, m->in[i]);
    }
    return sum;
}

static bool match_instance(Gen *g, RuleInstance *x)
{
    RuleList one = {(Rule **)(uintptr_t)&g->rule, 1, 1};
    RuleRun *r = rule_run_new(g->g, rules_interpreted(g->arena, &one), g->arena);
    Caught caught = {.n = 0};
    Node *before[64], *after[64];

    r->enabled[0] = true;
    r->fire = catch_sites;
    r->user = &caught;
    if (!r->set->at(r->set, r, g->g->outputs.data[0].node) || caught.n != x->n_roots)
        return false;
    for (uint32_t i = 0; i < caught.n; i++) {
        before[i] = caught.sites[i].old_node;
        after[i] = caught.sites[i].new_node;
    }
    g->g->outputs.n = 0;
    for (uint32_t i = 0; i < caught.n; i++)
        graph_output(g->g, arena_printf(g->arena, "before%u", i), before[i]);
    for (uint32_t i = 0; i < caught.n; i++)
        graph_output(g->g, arena_printf(g->arena, "after%u", i), after[i]);
    x->elements_before = elements(g->g, before, caught.n, g->arena);
    x->elements_after = elements(g->g, after, caught.n, g->arena);
    return true;
}

static bool build_roots(Gen *g, RuleInstance *x)
{
    const Rule *r = g->rule;
    uint32_t family = r->family ? 2 + draw(g, 3) : 1;

    for (uint32_t k = 0; k < family; k++) {
        for (uint32_t i = 0; i < r->n_roots; i++) {
            Node *n = build_pattern(g, r->roots[i], NULL);
            if (!n)
                return false;
            graph_output(g->g, arena_printf(g->g->arena, "y%u", x->n_roots++), n);
        }
        for (uint8_t v = 0; v < r->n_match_values; v++)
            if (strchr(r->value_name[v], '[') || r->value_name[v][0] == '(')
                g->value[v] = NULL;
    }
    return true;
}

RuleInstance *rule_instance(Context *cx, const Rule *rule, uint64_t seed, bool special_values)
{
    Gen g = {.cx = cx, .rule = rule, .g = graph_new(cx, str_intern(cx->strs, "instance")), .arena = arena_new(),
             .state = seed * 0x2545f4914f6cdd1du, .special = special_values, .cursor = -1};
    RuleInstance *x = arena_new_of(g.g->arena, RuleInstance);
    Diags *diags = cx->diags;

    cx->diags = diags_new(g.arena);
    for (int i = 0; i < RULE_MAX_OPS; i++)
        g.op[i] = OP_NONE;
    x->g = g.g;
    bool ok = build_roots(&g, x) && match_instance(&g, x);
    if (ok)
        fill_inputs(&g, x);
    cx->diags = diags;
    arena_free(g.arena);
    if (ok)
        return x;
    graph_free(g.g);
    return NULL;
}
