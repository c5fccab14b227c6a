/* ir/text_graph.c — statements, declarations and whole graphs, over the calls of text_build.c. */
#include "ir/attr.h"
#include "ir/text_build.h"
#include "base/vec.h"
#include <string.h>

enum { MAX_ERRORS = 20 };

/* ---- names used before their definition ------------------------------------------------------------------------------------- */
typedef struct {
    Context *cx;
    const TextBlock *block;
    Map *defined_at;                           /* Str -> index of its statement + 1 */
    const TextScope *scope;
} NameUses;
typedef bool (*ValueVisitor)(void *, const TextExpr *value);

/* Every %x in an expression; stops where the visitor says false. Depth is bounded by the parser. */
static bool each_value(const TextExpr *e, ValueVisitor visit, void *arg)
{
    if (e->kind == TE_VALUE)
        return visit(arg, e);
    for (uint32_t i = 0; i < e->n; i++)
        if (!each_value(e->args[i].value, visit, arg))
            return false;
    return true;
}

typedef struct { NameUses *u; bool *seen; Vec(uint32_t) todo; } Reach;

static bool reach_value(void *arg, const TextExpr *value)
{
    Reach *r = arg;
    uint32_t at = (uint32_t)map_get(r->u->defined_at, (uintptr_t)value->name, 0);

    if (at && !r->seen[at - 1]) {
        r->seen[at - 1] = true;
        vec_push(r->u->cx->scratch, &r->todo, at - 1);
    }
    return true;
}

/* Statement `from` needs statement `to`, directly or not. */
static bool statement_needs(NameUses *u, uint32_t from, uint32_t to)
{
    Reach r = {u, arena_new_array(u->cx->scratch, bool, u->block->n), {0}};

    vec_push(u->cx->scratch, &r.todo, from);
    while (r.todo.n) {
        const TextStatement *st = &u->block->s[vec_pop(&r.todo)];
        if (st->call)
            each_value(st->call, reach_value, &r);
    }
    return r.seen[to];
}

typedef struct { NameUses *u; uint32_t statement; } Check;

static bool check_value(void *arg, const TextExpr *value)
{
    Check *c = arg;
    NameUses *u = c->u;
    uint32_t at = (uint32_t)map_get(u->defined_at, (uintptr_t)value->name, 0);
    uint32_t line, col;

    if (map_has(u->scope->values, (uintptr_t)value->name) || map_has(u->scope->poisoned, (uintptr_t)value->name) || !at)
        return true;                                              /* text_value says what is undefined */
    if (at - 1 == c->statement)
        return diag_error(u->cx->diags, PAWL_EXIT_INVALID, value->loc, NULL, "%%%s is defined by itself", value->name);
    if (statement_needs(u, at - 1, c->statement))
        return diag_error(u->cx->diags, PAWL_EXIT_INVALID, value->loc, NULL, "%%%s and %%%s are defined by each other, in a cycle",
                          u->block->s[c->statement].out[0]->name, value->name);
    loc_line_col(u->block->s[at - 1].loc, &line, &col);
    return diag_error(u->cx->diags, PAWL_EXIT_INVALID, value->loc, "statements go in order",
                      "%%%s is used before its definition on line %u", value->name, line);
}

/* ---- statements --------------------------------------------------------------------------------------------------------------- */
static bool flatten_numbers(const AttrVal *v, Tensor *t, int64_t *at)
{
    double number;
    int64_t integer;
    bool is_int;

    for (uint32_t i = 0; v->kind == AV_LIST && i < v->n; i++)
        if (!flatten_numbers(v->items[i], t, at))
            return false;
    if (v->kind == AV_LIST)
        return true;
    if (*at >= tensor_count(t) || !attrval_number(v, &number, &is_int))
        return false;
    char *to = (char *)t->data + *at * dtype_bytes(t->dtype);
    if (attrval_int(v, &integer) && !dtype_is_float(t->dtype))
        dtype_store_i64(t->dtype, to, integer);
    else
        dtype_store(t->dtype, to, number);
    (*at)++;
    return true;
}

/* %c = tensor(name="c", data=[1, 2]) : f32[2] — the one call whose type cannot be inferred. */
static Node *build_tensor(TextBuilder *b, const TextScope *s, const TextStatement *st)
{
    const AttrVal *name = NULL, *data = NULL;
    int64_t dims[MAX_RANK], at = 0;
    Type t;

    for (uint32_t i = 0; i < st->call->n; i++) {
        const TextKeyArg *arg = &st->call->args[i];
        const AttrVal **into = arg->key && strcmp(arg->key, "name") == 0 ? &name
                             : arg->key && strcmp(arg->key, "data") == 0 ? &data : NULL;
        if (!into || !(*into = text_eval(s, arg->value)))
            return into ? NULL : (diag_error(b->cx->diags, PAWL_EXIT_INVALID, arg->loc, NULL, "tensor takes name and data"), NULL);
    }
    if (!st->type || !name || name->kind != AV_STR || !data || data->kind != AV_LIST) {
        diag_error(b->cx->diags, PAWL_EXIT_INVALID, st->call->loc, "%c = tensor(name=\"c\", data=[1, 2]) : f32[2]",
                   "tensor needs its name, its data as a list, and its type after ':'");
        return NULL;
    }
    if (!text_eval_type(s, st->type, &t))
        return NULL;
    for (uint32_t i = 0; i < t.shape.rank; i++) {
        if (!dim_is_const(t.shape.d[i]) || t.shape.d[i]->value > 1 << 20) {
            diag_error(b->cx->diags, PAWL_EXIT_INVALID, st->type->loc, NULL, "the type of a tensor in text has small constant dims");
            return NULL;
        }
        dims[i] = t.shape.d[i]->value;
    }
    Dim count = shape_count(b->cx->dims, &t.shape);
    Tensor *tensor = count->value <= 4096 ? tensor_new(b->g->arena, t.dtype, (int)t.shape.rank, dims) : NULL;
    if (!tensor || !flatten_numbers(data, tensor, &at) || at != count->value) {
        diag_error(b->cx->diags, PAWL_EXIT_INVALID, st->call->loc, NULL, "data of tensor must be %lld numbers", (long long)count->value);
        return NULL;
    }
    return graph_tensor(b->g, name->s, tensor);
}

static bool is_anonymous(Str name) { return name[strspn(name, "0123456789")] == '\0'; }

static bool define(TextBuilder *b, const TextScope *s, const TextExpr *out, Node *n)
{
    if (!map_set_ptr(s->values, out->name, n))
        return diag_error(b->cx->diags, PAWL_EXIT_INVALID, out->loc, NULL, "%%%s is already defined", out->name);
    if (!n->name && !is_anonymous(out->name))
        n->name = out->name;
    return true;
}

static bool check_annotation(TextBuilder *b, const TextScope *s, const TextStatement *st, const Node *n)
{
    Type t;

    if (!st->type)
        return true;
    if (!text_eval_type(s, st->type, &t))
        return false;
    if (type_equal(&t, &n->type))
        return true;
    return diag_error(b->cx->diags, PAWL_EXIT_INVALID, st->type->loc, NULL, "%%%s is %s, not %s", st->out[0]->name,
                      type_text(b->cx, &n->type), type_text(b->cx, &t));
}

static bool build_statement(TextBuilder *b, const TextScope *s, const TextStatement *st)
{
    Node *results[TEXT_MAX_RESULTS] = {NULL};
    uint32_t n = 1;

    b->noted = false;
    for (uint32_t i = 0; i < st->n_out; i++)
        if (st->out[i]->index)
            return diag_error(b->cx->diags, PAWL_EXIT_INVALID, st->out[i]->loc, NULL, "indexed values belong to rules");
    if (!st->call)
        return diag_error(b->cx->diags, PAWL_EXIT_INVALID, st->loc, NULL, "%%%s has no definition", st->out[0]->name);
    if (st->call->kind == TE_CALL && strcmp(st->call->name, "tensor") == 0)
        n = (results[0] = build_tensor(b, s, st)) != NULL;
    else if (st->call->kind == TE_CALL)
        n = text_build_call(b, s, st->call, results);
    else
        n = (results[0] = text_build_node(b, s, st->call)) != NULL;
    if (n == 0)
        return false;
    if (n != st->n_out)
        return diag_error(b->cx->diags, PAWL_EXIT_INVALID, st->call->loc, NULL, "%s has %u result%s, and %u name%s stand%s here",
                          st->call->name, n, n == 1 ? "" : "s", st->n_out, st->n_out == 1 ? "" : "s", st->n_out == 1 ? "s" : "");
    if (!check_annotation(b, s, st, results[0]))
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (!define(b, s, st->out[i], results[i]))
            return false;
    return true;
}

static void poison(Map *poisoned, const TextStatement *st)
{
    for (uint32_t i = 0; i < st->n_out; i++)
        map_set(poisoned, (uintptr_t)st->out[i]->name, 1);
}

bool text_build_with(Graph *g, const TextBlock *block, Map *values, const Functions *f, Map *consts)
{
    Context *cx = g->cx;
    Arena *own = arena_new();
    TextBuilder b = {.g = g, .cx = cx, .f = f};
    TextScope s = {.cx = cx, .arena = cx->scratch, .values = values, .attrs = consts, .symbols = true, .poisoned = map_new(own)};
    NameUses uses = {cx, block, map_new(own), &s};
    int errors = 0;

    for (uint32_t i = 0; i < block->n; i++)
        for (uint32_t k = 0; k < block->s[i].n_out; k++)
            if (!map_has(uses.defined_at, (uintptr_t)block->s[i].out[k]->name))
                map_set(uses.defined_at, (uintptr_t)block->s[i].out[k]->name, i + 1);
    for (uint32_t i = 0; i < block->n && errors < MAX_ERRORS; i++) {
        const TextStatement *st = &block->s[i];
        ArenaMark mark = arena_mark(cx->scratch);
        Check check = {&uses, i};
        bool ok = (!st->call || each_value(st->call, check_value, &check)) && build_statement(&b, &s, st);
        arena_reset(cx->scratch, mark);
        errors += !ok;
        if (!ok)
            poison(s.poisoned, st);
    }
    arena_free(own);
    return errors == 0;
}

bool text_build(Graph *g, const TextBlock *b, Map *names, const Functions *f)
{
    return text_build_with(g, b, names, f, NULL);
}

/* ---- declarations ----------------------------------------------------------------------------------------------------------------- */
static const struct { const char *name; DistKind kind; uint32_t args; double a, b; } dists[] = {
    {"normal", DIST_NORMAL, 2, 0, 1}, {"uniform", DIST_UNIFORM, 2, 0, 1}, {"randint", DIST_RANDINT, 2, 0, 2},
    {"constant", DIST_CONSTANT, 1, 0, 0}, {"steps", DIST_STEPS, 1, 1, 0},
};
enum { N_DISTS = sizeof dists / sizeof *dists };

static bool parse_dist(const TextScope *s, const TextExpr *e, DType t, Dist *out)
{
    double v[2] = {0};
    bool is_int = true;
    Loc loc = text_loc(s, e);

    if (e->kind != TE_CALL)
        return diag_error(s->cx->diags, PAWL_EXIT_INVALID, loc, NULL, "expected a distribution such as normal(0, 1)");
    int k = 0;
    while (k < N_DISTS && strcmp(dists[k].name, e->name) != 0)
        k++;
    if (k == N_DISTS)
        return diag_error(s->cx->diags, PAWL_EXIT_INVALID, loc, "normal(mean, sd), uniform(lo, hi), randint(lo, hi), constant(c), steps(size)",
                          "no distribution is called '%s'", e->name);
    if (e->n != dists[k].args && e->n != 0)
        return diag_error(s->cx->diags, PAWL_EXIT_INVALID, loc, NULL, "%s takes %u number%s", e->name, dists[k].args,
                          dists[k].args == 1 ? "" : "s");
    *out = (Dist){dists[k].kind, dists[k].a, dists[k].b};
    for (uint32_t i = 0; i < e->n; i++) {
        const AttrVal *x = text_eval(s, e->args[i].value);
        if (!x)
            return false;
        if (!attrval_number(x, &v[i], &is_int) || !(v[i] - v[i] == 0))
            return diag_error(s->cx->diags, PAWL_EXIT_INVALID, e->args[i].loc, NULL, "%s takes finite numbers", e->name);
        out->a = v[0];
        out->b = e->n == 2 ? v[1] : 0;
    }
    if (out->kind == DIST_NORMAL && out->b < 0)
        return diag_error(s->cx->diags, PAWL_EXIT_INVALID, loc, NULL, "a standard deviation is not negative");
    if (out->kind == DIST_STEPS && out->a < 0)
        return diag_error(s->cx->diags, PAWL_EXIT_INVALID, loc, NULL, "steps are not negative");
    if ((out->kind == DIST_UNIFORM || out->kind == DIST_RANDINT) && !(out->a < out->b))
        return diag_error(s->cx->diags, PAWL_EXIT_INVALID, loc, NULL, "%s(%g, %g) is empty", e->name, out->a, out->b);
    if (!dtype_is_float(t) && t != DT_BOOL && out->kind != DIST_RANDINT && out->kind != DIST_CONSTANT && out->kind != DIST_STEPS)
        return diag_error(s->cx->diags, PAWL_EXIT_INVALID, loc, "use randint(lo, hi), constant(c) or steps(size)",
                          "%s cannot fill %s", e->name, dtype_name(t));
    return true;
}

static bool declare_option(const TextScope *s, const TextKeyArg *opt, GraphInput *in)
{
    Context *cx = s->cx;
    const AttrVal *v = opt->value ? text_eval(s, opt->value) : NULL;

    if (opt->value && !v)
        return false;
    if (strcmp(opt->key, "mutable") == 0 && !v) {
        in->is_mutable = true;
        return true;
    }
    if (strcmp(opt->key, "file") == 0 && v && v->kind == AV_STR) {
        in->file = v->s;
        return true;
    }
    if (strcmp(opt->key, "range") == 0 && v && v->kind == AV_LIST && v->n == 2 && attrval_int(v->items[0], &in->live_lo) &&
        attrval_int(v->items[1], &in->live_hi) && in->live_lo < in->live_hi)
        return true;
    return diag_error(cx->diags, PAWL_EXIT_INVALID, opt->loc, "the options are mutable, file=\"w.safetensors\" and range=[lo, hi]",
                      "'%s' is not an option, or not written so", opt->key);
}

bool text_declare(Graph *g, const TextScope *s, Op op, Str name, const TextDecl *decl, Loc loc, Map *values)
{
    Type t;

    if (!text_eval_type(s, decl->type, &t))
        return false;
    Node *n = graph_input(g, op, name, t, loc);
    if (!n)
        return false;
    GraphInput *in = &vec_last(&g->inputs);
    if (decl->dist && !parse_dist(s, decl->dist, t.dtype, &in->dist))
        return false;
    in->dist_stated = decl->dist != NULL;
    if (decl->dist && in->dist.kind == DIST_RANDINT && !dtype_is_float(t.dtype)) {
        in->live_lo = (int64_t)in->dist.a;
        in->live_hi = (int64_t)in->dist.b;
    }
    for (uint32_t i = 0; i < decl->n_opts; i++)
        if (!declare_option(s, &decl->opts[i], in))
            return false;
    map_set_ptr(values, name, n);
    return true;
}

bool text_declare_dim(Context *cx, Str name, int64_t lo, int64_t hi, Loc loc)
{
    DType t;
    Dim known = dim_sym_find(cx->dims, name);

    if (!text_is_name(name) || dtype_parse(name, &t) || text_eval_is_function(name))
        return diag_error(cx->diags, PAWL_EXIT_INVALID, loc, NULL, "'%s' cannot be a dim's name", name);
    if (lo < 0 || hi < lo || hi > INT64_C(1) << 40)
        return diag_error(cx->diags, PAWL_EXIT_INVALID, loc, "a range is [lo, hi] with 0 <= lo <= hi <= 2^40",
                          "%s cannot range over [%lld, %lld]", name, (long long)lo, (long long)hi);
    if (known && (known->lo != lo || known->hi != hi))
        return diag_error(cx->diags, PAWL_EXIT_INVALID, loc, NULL, "%s already has the range [%lld, %lld]", name,
                          (long long)known->lo, (long long)known->hi);
    dim_sym(cx->dims, name, lo, hi);
    return true;
}

/* ---- whole graphs --------------------------------------------------------------------------------------------------------------------- */
static bool build_outputs(TextBuilder *b, const TextScope *s, const TextGraph *t)
{
    for (uint32_t i = 0; i < t->body.n_ret; i++) {
        const TextExpr *e = t->body.ret[i];
        Str name = t->body.ret_names[i] ? t->body.ret_names[i] : e->kind == TE_VALUE ? e->name : NULL;
        Node *n = text_build_node(b, s, e);
        if (!n)
            return false;
        if (!name)
            return diag_error(b->cx->diags, PAWL_EXIT_INVALID, e->loc, "return y=…", "this output needs a name");
        for (uint32_t k = 0; k < b->g->outputs.n; k++)
            if (b->g->outputs.data[k].name == name)
                return diag_error(b->cx->diags, PAWL_EXIT_INVALID, e->loc, "return other=…", "two outputs are called '%s'", name);
        graph_output(b->g, name, n);
    }
    if (t->body.n_ret == 0)
        return diag_error(b->cx->diags, PAWL_EXIT_INVALID, t->loc, NULL, "graph %s returns nothing", t->name);
    return true;
}

static Graph *build_graph(Context *cx, const TextGraph *t, const Functions *f)
{
    Graph *g = graph_new(cx, t->name);
    Arena *own = arena_new();
    Map *values = map_new(own);
    TextScope s = {.cx = cx, .arena = own, .values = values, .symbols = true, .poisoned = map_new(own)};
    TextBuilder b = {.g = g, .cx = cx, .f = f};
    bool ok = true;

    for (uint32_t i = 0; ok && i < t->n_dims; i++)
        ok = text_declare_dim(cx, t->dims[i].name, t->dims[i].lo, t->dims[i].hi, t->dims[i].loc);
    for (uint32_t i = 0; ok && i < t->n_inputs; i++)
        ok = text_declare(g, &s, t->inputs[i].op, t->inputs[i].name, &t->inputs[i].decl, t->inputs[i].loc, values);
    ok = ok && text_build(g, &t->body, values, f) && build_outputs(&b, &s, t);
    arena_free(own);
    if (!ok) {
        graph_free(g);
        return NULL;
    }
    return g;
}

Graph *graph_parse(Context *cx, const Source *s)
{
    Context own = *cx;                                            /* the AST goes when the graph stands */
    TextGraph *parsed;
    TextFunc *funcs;
    uint32_t n, n_funcs;
    Graph *g = NULL;

    own.arena = arena_new();
    if (text_parse_items(&own, s, &funcs, &n_funcs, &parsed, &n)) {
        if (n != 1 || n_funcs)
            diag_error(cx->diags, PAWL_EXIT_INVALID, loc_at(s, 0, 1), NULL, "expected one graph, found %u%s", n,
                       n_funcs ? " and functions" : "");
        else
            g = build_graph(cx, &parsed[0], functions_builtin(cx));
    }
    arena_free(own.arena);
    return g;
}

bool text_parse_type(Context *cx, const Source *s, Type *out, bool create_syms)
{
    TextDecl decl;
    TextScope scope = {.cx = cx, .arena = cx->arena, .symbols = true, .create = create_syms};

    if (!text_parse_decl_in(cx, s, 0, s->len, &decl))
        return false;
    if (decl.dist || decl.n_opts)
        return diag_error(cx->diags, PAWL_EXIT_INVALID, decl.loc, NULL, "expected a type and nothing else");
    return text_eval_type(&scope, decl.type, out);
}
