/* codegen/weights.c — weights: values that depend on no input, computed once from the model's parameters.
 *
 * A plan holds a recipe for each: graph text over parameters. The compiler runs recipes when it writes a package, with the
 * runtime's routine for those that it knows (runtime/recipe.c: fast, and there again when parameters are reloaded), else by the evaluator. */
#include "base/file.h"
#include "codegen/group.h"
#include "codegen/weights.h"
#include "ir/eval.h"
#include "ir/text.h"
#include "runtime/recipe.h"

#include <stdlib.h>

/* ---- recipes -------------------------------------------------------------------------------------------------------------- */
static void print_statement(StrBuf *b, const Node *n, const char *name, Map *names)
{
    strbuf_printf(b, "%%%s = %s(", name, op_name(n->op));
    bool first = true;
    for (uint32_t i = 0; i < n->n_in; i++, first = false)
        strbuf_printf(b, "%s%%%s", first ? "" : ", ", (const char *)(uintptr_t)map_get(names, n->in[i]->id, 0));
    StrBuf attrs = strbuf_new(b->arena);
    for (uint32_t i = 0; i < n->n_attrs; i++)
        attr_print(&attrs, &n->attrs[i]);
    if (attrs.len)
        strbuf_add(b, attrs.text + (first ? 2 : 0));
    strbuf_add(b, ")\n");
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = (*(Node *const *)a)->id, y = (*(Node *const *)b)->id;
    return (x > y) - (x < y);
}

/* No parameter is called so: `name`, or with more underscores after it. */
static const char *free_name(Context *cx, const Graph *g, const char *name)
{
    for (uint32_t i = 0; i < g->inputs.n; i++)
        if (!strcmp(g->inputs.data[i].name, name))
            return free_name(cx, g, arena_printf(cx->scratch, "%s_", name));
    return name;
}

PlanWeight weight_describe(Context *cx, const Graph *g, const Node *n)
{
    PlanWeight w = {.data = n->op == OP_TENSOR ? n->data : NULL};
    Vec(Node *) todo = {0}, nodes = {0};
    Map *seen = map_new(cx->scratch), *names = map_new(cx->scratch);
    vec_push(cx->scratch, &todo, (Node *)(uintptr_t)n);
    while (todo.n) {
        Node *x = vec_pop(&todo);
        if (!map_set(seen, x->id, 1))
            continue;
        vec_push(cx->scratch, &nodes, x);
        for (uint32_t i = 0; i < x->n_in; i++)
            vec_push(cx->scratch, &todo, x->in[i]);
    }
    qsort(nodes.data, nodes.n, sizeof *nodes.data, by_id);
    Vec(Str) params = {0};
    StrBuf b = strbuf_new(cx->arena);
    for (uint32_t i = 0; i < nodes.n; i++) {
        Node *x = nodes.data[i];
        if (x->op == OP_PARAM) {
            Str name = node_attr(x, ATTR_NAME)->s;
            map_set(names, x->id, (uintptr_t)name);
            vec_push(cx->arena, &params, name);
            continue;
        }
        const char *name = free_name(cx, g, x == n ? "weight" : arena_printf(cx->scratch, "t%u", i));
        map_set(names, x->id, (uintptr_t)name);
        print_statement(&b, x, name, names);
    }
    w.params = params.data;
    w.n_params = params.n;
    w.recipe = n->op == OP_PARAM || n->op == OP_TENSOR ? NULL : str_intern(cx->strs, b.text);
    return w;
}

/* ---- running them ---------------------------------------------------------------------------------------------------------- */
static void fold_general(Arena *a, const Graph *g, const Tensor *const *in, Tensor *out)
{
    Evaluator *e = eval_new(g, &domain_baseline, (Tensor *const *)(uintptr_t)in, a);
    const Value *v = eval_all(e, 0);
    int64_t n = tensor_count(out);
    bool integer = !dtype_is_float(out->dtype);
    uint32_t size = dtype_bytes(out->dtype);
    for (int64_t i = 0; i < n; i++) {
        char *to = (char *)out->data + i * size;
        if (integer)
            dtype_store_i64(out->dtype, to, v[i].i);
        else
            dtype_store(out->dtype, to, v[i].v);
    }
}

static Graph *recipe_graph(Context *cx, const char *recipe, const Str *params, const Tensor *const *values, uint32_t n)
{
    Graph *g = graph_new(cx, str_intern(cx->strs, "weight"));
    Map *names = map_new(cx->arena);
    for (uint32_t i = 0; i < n; i++) {
        Type t = {.dtype = values[i]->dtype, .shape = {.rank = (uint32_t)values[i]->rank}};
        for (int d = 0; d < values[i]->rank; d++)
            t.shape.d[d] = dim_const(cx->dims, values[i]->dims[d]);
        Node *p = graph_input(g, OP_PARAM, params[i], t, LOC_NONE);
        if (!p)
            return NULL;
        map_set_ptr(names, str_intern(cx->strs, params[i]), p);
    }
    TextBlock block;
    const Source *s = source_from_text(cx->arena, "recipe", recipe);
    if (!text_parse_block(cx, s, &block) || !text_build(g, &block, names, NULL))
        return NULL;
    const TextStatement *last = block.n ? &block.s[block.n - 1] : NULL;      /* what it defines is the weight */
    Node *w = last && last->n_out == 1 ? map_get_ptr(names, str_intern(cx->strs, last->out[0]->name)) : NULL;
    if (!w) {
        diag_error(cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "a recipe must end with the definition of its weight");
        return NULL;
    }
    graph_output(g, "weight", w);
    return g;
}

static Tensor *fold_by_evaluation(Arena *a, Context *cx, const char *recipe, const Str *params, const Tensor *const *values, uint32_t n)
{
    Graph *g = recipe_graph(cx, recipe, params, values, n);
    if (!g)
        return NULL;
    const Node *w = g->outputs.data[0].node;
    int64_t dims[TENSOR_MAX_RANK];
    for (uint32_t i = 0; i < node_rank(w); i++)
        dims[i] = w->type.shape.d[i]->value;
    Tensor *out = tensor_new(a, w->type.dtype, (int)node_rank(w), dims);
    fold_general(cx->arena, g, values, out);
    return out;
}

bool weight_fold(Arena *a, Diags *d, const char *recipe, const Str *params, const Tensor *const *values, uint32_t n, Tensor *out)
{
    Tensor *made = NULL;
    if (recipe_make(a, recipe, params, values, n, &made) != RECIPE_MADE) {
        Context *cx = context_new();
        made = fold_by_evaluation(a, cx, recipe, params, values, n);
        diags_append(d, cx->diags);
        context_free(cx);
    }
    if (made)
        *out = *made;
    return made != NULL;
}

/* ---- materialising ----------------------------------------------------------------------------------------------------------- */
static const Tensor *parameter(Context *cx, const Task *t, Map *made, Str name)
{
    Tensor *have = map_get_ptr(made, name);
    if (have)
        return have;
    for (uint32_t i = 0; i < t->graph->inputs.n; i++) {
        const GraphInput *in = &t->graph->inputs.data[i];
        if (strcmp(in->name, name))
            continue;
        for (uint32_t d = 0; d < node_rank(in->node); d++)
            if (!dim_is_const(in->node->type.shape.d[d])) {
                diag_error(cx->diags, PAWL_EXIT_UNSUPPORTED, in->node->loc, "declare it as an input",
                           "parameter %%%s has the symbolic extent %s: weights have fixed shapes", name,
                           dim_text(cx->arena, in->node->type.shape.d[d]));
                return NULL;
            }
        have = task_tensor(t, in, NULL, 0, cx->arena);
        if (have)
            map_set_ptr(made, name, have);
        return have;
    }
    pawl_assert(false, "no parameter %s", name);
    return NULL;
}

bool weights_materialise(Context *cx, Plan *const *plans, uint32_t n, const Task *t)
{
    Map *params = map_new(cx->arena), *folded = map_new(cx->arena);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < plans[i]->weights.n; k++) {
            PlanWeight *w = &plans[i]->weights.data[k];
            if (w->data)
                continue;
            if (!w->recipe) {
                w->data = parameter(cx, t, params, w->params[0]);
                if (!w->data)
                    return false;
                continue;
            }
            uint64_t key = hash_str(w->recipe);
            Tensor *have = (Tensor *)(uintptr_t)map_get(folded, key, 0);
            if (!have) {
                const Tensor **in = arena_new_array(cx->arena, const Tensor *, w->n_params + 1);
                for (uint32_t j = 0; j < w->n_params; j++)
                    if (!(in[j] = parameter(cx, t, params, w->params[j])))
                        return false;
                have = arena_new_of(cx->arena, Tensor);
                if (!weight_fold(cx->arena, cx->diags, w->recipe, w->params, in, w->n_params, have))
                    return false;
                map_set(folded, key, (uintptr_t)have);
            }
            w->data = have;
        }
    return true;
}
