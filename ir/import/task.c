/* ir/import/task.c — a task's YAML to a Task. Every piece of text inside the YAML (types, distributions, the graph) is parsed
 * in place, so that a diagnostic points into the file. */
#include "ir/import/task.h"
#include "ir/text_build.h"
#include "base/vec.h"
#include "base/yaml.h"
#include <string.h>

#define FAIL(t, loc, hint, ...) return diag_error((t)->cx->diags, PAWL_EXIT_INVALID, loc, hint, __VA_ARGS__)

/* ---- text inside YAML ----------------------------------------------------------------------------------------------------- */
typedef struct { const Source *s; size_t begin, end; } Span;

/* Where the text of a scalar stands: in the file itself, where it is written without escapes or folding. */
static Span scalar_span(Context *cx, const YamlNode *n)
{
    const Source *file = n->loc.source;
    size_t at = n->loc.offset + (n->quoted ? 1 : 0), len = strlen(n->text);
    uint32_t line, col;

    if (n->block)
        return (Span){n->block, 0, n->block->len};
    if (at + len <= file->len && memcmp(file->text + at, n->text, len) == 0)
        return (Span){file, at, at + len};
    Source *copy = source_from_text(cx->arena, file->name, n->text);
    loc_line_col(n->loc, &line, &col);
    copy->first_line = line;
    copy->first_col = col;
    return (Span){copy, 0, copy->len};
}

static bool expect_kind(Task *t, const YamlNode *n, YamlKind kind, const char *what)
{
    static const char *const names[] = {[YAML_SCALAR] = "text", [YAML_SEQUENCE] = "a list", [YAML_MAPPING] = "a mapping"};
    if (n->kind != kind)
        FAIL(t, n->loc, NULL, "%s must be %s, not %s", what, names[kind], names[n->kind]);
    return true;
}

static bool parse_decl(Task *t, const YamlNode *n, const char *what, TextDecl *out)
{
    if (!expect_kind(t, n, YAML_SCALAR, what))
        return false;
    if (!n->text[0])
        FAIL(t, n->loc, "x: bf16[B, 2048]", "'%s' has no type", what);
    Span at = scalar_span(t->cx, n);
    return text_parse_decl_in(t->cx, at.s, at.begin, at.end, out);
}

static TextScope task_scope(Task *t)
{
    return (TextScope){.cx = t->cx, .arena = t->cx->arena, .values = t->values, .attrs = t->consts, .symbols = true};
}

/* ---- dims ------------------------------------------------------------------------------------------------------------------------- */
static bool dim_value(Task *t, const YamlNode *n, const char *name)
{
    Span at = scalar_span(t->cx, n);
    TextScope s = task_scope(t);
    TextExpr *e = n->text[0] ? text_parse_expr_in(t->cx, at.s, at.begin, at.end) : NULL;

    if (!e)
        return n->text[0] ? false : diag_error(t->cx->diags, PAWL_EXIT_INVALID, n->loc, NULL, "dim %s has no value", name);
    const AttrVal *v = text_eval(&s, e);
    if (!v)
        return false;
    if (v->kind != AV_DIM || v->dim->lo < 0 || v->dim->hi > INT64_C(1) << 40)
        FAIL(t, n->loc, NULL, "dim %s must be a range such as [1, 64], or a size from 0 to 2^40", name);
    if (dim_sym_find(t->cx->dims, name))
        FAIL(t, n->loc, NULL, "dim %s already has another range", name);
    map_set_ptr(t->consts, str_intern(t->cx->strs, name), v);
    return true;
}

static bool dim_range(Task *t, const YamlNode *n, Str name, Loc loc)
{
    int64_t lo, hi;

    if (n->n != 2)
        FAIL(t, n->loc, NULL, "the range of %s must be [lo, hi]", name);
    if (!yaml_i64(t->cx->diags, n->items[0], &lo, "the lower end of a range") ||
        !yaml_i64(t->cx->diags, n->items[1], &hi, "the upper end of a range") ||
        !text_declare_dim(t->cx, name, lo, hi, loc))
        return false;
    t->symbols[t->n_symbols++] = dim_sym_find(t->cx->dims, name);
    return true;
}

static bool load_dims(Task *t, const YamlNode *dims)
{
    bool ok = true;
    DType dtype;

    if (!dims)
        return true;
    if (!expect_kind(t, dims, YAML_MAPPING, "dims"))
        return false;
    t->symbols = arena_new_array(t->cx->arena, Dim, dims->n + 1);
    for (uint32_t i = 0; i < dims->n; i++) {
        const YamlNode *key = dims->keys[i], *n = dims->items[i];
        Str name = str_intern(t->cx->strs, key->text);
        if (!text_is_name(name) || dtype_parse(name, &dtype) || text_eval_is_function(name))
            ok = diag_error(t->cx->diags, PAWL_EXIT_INVALID, key->loc, NULL, "'%s' cannot be a dim's name", name);
        else if (n->kind == YAML_SEQUENCE)
            ok &= dim_range(t, n, name, key->loc);
        else if (n->kind == YAML_SCALAR)
            ok &= dim_value(t, n, name);
        else
            ok = expect_kind(t, n, YAML_SEQUENCE, "a dim");
    }
    return ok;
}

/* ---- inputs and params --------------------------------------------------------------------------------------------------------------- */
static bool yaml_flag(Task *t, const YamlNode *n, bool *out, const char *what)
{
    if (n->kind != YAML_SCALAR || n->quoted || (strcmp(n->text, "true") != 0 && strcmp(n->text, "false") != 0))
        FAIL(t, n->loc, NULL, "%s must be true or false", what);
    *out = n->text[0] == 't';
    return true;
}

static bool parse_dist(Task *t, const YamlNode *n, TextDecl *decl)
{
    if (!expect_kind(t, n, YAML_SCALAR, "dist"))
        return false;
    Span at = scalar_span(t->cx, n);
    return (decl->dist = text_parse_expr_in(t->cx, at.s, at.begin, at.end)) != NULL;
}

static bool input_range(Task *t, const YamlNode *n, GraphInput *in)
{
    if (n->kind != YAML_SEQUENCE || n->n != 2)
        FAIL(t, n->loc, NULL, "range must be [lo, hi]");
    if (!yaml_i64(t->cx->diags, n->items[0], &in->live_lo, "the lower end of a range") ||
        !yaml_i64(t->cx->diags, n->items[1], &in->live_hi, "the upper end of a range"))
        return false;
    if (in->live_lo >= in->live_hi)
        FAIL(t, n->loc, NULL, "this range is empty");
    return true;
}

/* {type: bf16[2048], dist: normal(1, 0.1), mutable: true, file: w.safetensors} */
static bool load_mapping(Task *t, Op op, const YamlNode *key, const YamlNode *n, Str name)
{
    static const char *const known[] = {"type", "dist", "mutable", "file", "range"};
    const YamlNode *type = yaml_get(n, "type"), *dist = yaml_get(n, "dist"), *is_mutable = yaml_get(n, "mutable"),
                   *file = yaml_get(n, "file"), *range = yaml_get(n, "range");
    TextScope s = task_scope(t);
    TextDecl decl;

    if (!yaml_check_keys(t->cx->diags, n, known, 5, name))
        return false;
    if (!type)
        FAIL(t, key->loc, "x: {type: bf16[B, 2048]} or x: bf16[B, 2048]", "'%s' has no type", name);
    if (!parse_decl(t, type, name, &decl) || (dist && !parse_dist(t, dist, &decl)) ||
        !text_declare(t->graph, &s, op, name, &decl, key->loc, t->values))
        return false;
    GraphInput *in = &vec_last(&t->graph->inputs);
    return (!is_mutable || yaml_flag(t, is_mutable, &in->is_mutable, "mutable")) &&
           (!file || yaml_string(t->cx->diags, file, &in->file, "file")) && (!range || input_range(t, range, in));
}

static bool load_inputs(Task *t, Op op, const YamlNode *list, const char *what)
{
    bool ok = true;

    if (!list || (list->kind == YAML_SCALAR && !list->text[0]))
        return true;
    if (!expect_kind(t, list, YAML_MAPPING, what))
        return false;
    for (uint32_t i = 0; i < list->n; i++) {
        const YamlNode *key = list->keys[i], *n = list->items[i];
        Str name = str_intern(t->cx->strs, key->text);
        TextScope s = task_scope(t);
        TextDecl decl;
        if (!text_is_name(name))
            ok = diag_error(t->cx->diags, PAWL_EXIT_INVALID, key->loc, "letters, digits and _", "'%s' cannot be a name", name);
        else if (n->kind == YAML_MAPPING)
            ok &= load_mapping(t, op, key, n, name);
        else
            ok &= parse_decl(t, n, name, &decl) && text_declare(t->graph, &s, op, name, &decl, key->loc, t->values);
    }
    return ok;
}

/* ---- graph and outputs ------------------------------------------------------------------------------------------------------------------ */
static bool load_graph(Task *t, const YamlNode *n)
{
    if (!expect_kind(t, n, YAML_SCALAR, "graph"))
        return false;
    Span at = scalar_span(t->cx, n);
    if (!text_parse_block_in(t->cx, at.s, at.begin, at.end, &t->statements))
        return false;
    if (t->statements.n_ret)
        FAIL(t, t->statements.ret[0]->loc, "name them in `outputs:`", "a task's graph does not return its outputs");
    return text_build_with(t->graph, &t->statements, t->values, t->functions, t->consts);
}

static bool load_output(Task *t, const YamlNode *n)
{
    const char *text = n->text + (n->text[0] == '%');

    if (!expect_kind(t, n, YAML_SCALAR, "an output"))
        return false;
    Str name = str_intern(t->cx->strs, text);
    TextExpr e = {.kind = TE_VALUE, .name = name, .loc = n->loc};
    TextScope s = task_scope(t);
    Node *node = text_value(&s, &e);
    for (uint32_t k = 0; k < t->graph->outputs.n; k++)
        if (t->graph->outputs.data[k].name == name)
            FAIL(t, n->loc, NULL, "output '%s' is named twice", name);
    if (node)
        graph_output(t->graph, name, node);
    return node != NULL;
}

static bool load_outputs(Task *t, const YamlNode *list)
{
    bool ok = true;

    if (list->kind == YAML_SCALAR && list->text[0])
        return load_output(t, list);
    if (!expect_kind(t, list, YAML_SEQUENCE, "outputs"))
        return false;
    if (list->n == 0)
        FAIL(t, list->loc, "outputs: [y]", "a task needs at least one output");
    for (uint32_t i = 0; i < list->n; i++)
        ok &= load_output(t, list->items[i]);
    return ok;
}

/* The extent of a table that `index` selects from, through nodes that keep its values. 0: none found. */
static int64_t table_extent(const Graph *g, const bool *carries)
{
    int64_t extent = 0;

    for (uint32_t i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.data[i];
        if (n->op == OP_GATHER && carries[n->in[1]->id]) {
            int64_t lo = n->in[0]->type.shape.d[node_int(n, ATTR_AXIS, 0)]->lo;
            extent = extent == 0 || lo < extent ? lo : extent;
        }
    }
    return extent > 0 ? extent : 0;
}

/* Integer inputs without a stated distribution: valid indices of the table they are used with. */
static void bound_indices(Task *t)
{
    Graph *g = t->graph;
    Arena *a = arena_new();

    pawl_assert(g);
    for (uint32_t k = 0; k < g->inputs.n; k++) {
        GraphInput *in = &g->inputs.data[k];
        DTypeClass c = dtype_class(in->node->type.dtype);
        if (in->dist_stated || (c != DC_SIGNED && c != DC_UNSIGNED))
            continue;
        bool *carries = arena_new_array(a, bool, g->nodes.n);
        carries[in->node->id] = true;
        for (uint32_t i = 0; i < g->nodes.n; i++) {
            const Node *n = g->nodes.data[i];
            if (n->n_in && (op_class(n->op) == CLASS_MOVEMENT || n->op == OP_CAST))
                carries[i] |= carries[n->in[0]->id];
        }
        int64_t extent = table_extent(g, carries);
        in->dist = (Dist){DIST_RANDINT, 0, (double)(extent ? extent : 2)};
        if (in->live_lo == in->live_hi) {
            in->live_lo = 0;
            in->live_hi = extent ? extent : 2;
        } else {
            in->dist = (Dist){DIST_RANDINT, (double)in->live_lo, (double)in->live_hi};
        }
    }
    arena_free(a);
}

static void warn_unused(Task *t)
{
    Arena *a = arena_new();
    Uses u = graph_uses(t->graph, a);

    for (uint32_t i = 0; i < t->graph->inputs.n; i++) {
        const Node *n = t->graph->inputs.data[i].node;
        if (u.n_uses[n->id] == 0)
            diag_warn(t->cx->diags, n->loc, "no output depends on '%s'", t->graph->inputs.data[i].name);
    }
    arena_free(a);
}

/* ---- numerics ------------------------------------------------------------------------------------------------------------------------- */
static const char *const class_names[] = {
    [NUM_IEEE] = "ieee", [NUM_FP32] = "fp32", [NUM_TF32] = "tf32", [NUM_BF16] = "bf16", [NUM_F16] = "f16", [NUM_APPROX] = "approx"
};
enum { N_CLASSES = sizeof class_names / sizeof *class_names };

const char *numclass_name(NumClass c) { return class_names[c]; }

static bool load_class(Task *t, const YamlNode *n, NumClass *out)
{
    if (!expect_kind(t, n, YAML_SCALAR, "a class of numerics"))
        return false;
    for (int c = 0; c < NUM_APPROX; c++)
        if (strcmp(n->text, class_names[c]) == 0) {
            *out = (NumClass)c;
            return true;
        }
    size_t len = strlen(n->text);
    if (strncmp(n->text, "approx(", 7) == 0 && n->text[len - 1] == ')' &&
        str_to_double(arena_strndup(t->cx->arena, n->text + 7, len - 8), &t->numerics.approx) &&
        t->numerics.approx > 0 && t->numerics.approx <= 1e6) {
        *out = NUM_APPROX;
        return true;
    }
    const char *near = str_nearest(n->text, class_names, N_CLASSES);
    FAIL(t, n->loc, near ? arena_printf(t->cx->arena, "did you mean '%s'?", near) : "ieee, fp32, tf32, bf16, f16 or approx(k)",
         "'%s' is not a class of numerics", n->text);
}

static bool load_numerics(Task *t, const YamlNode *n)
{
    static const char *const known[] = {"matmul", "conv", "else"};
    DType out = t->graph->outputs.n ? t->graph->outputs.data[0].node->type.dtype : DT_F32;
    NumClass usual = out == DT_BF16 ? NUM_BF16 : out == DT_F16 ? NUM_F16 : NUM_FP32;
    NumClass *into[] = {&t->numerics.matmul, &t->numerics.conv, &t->numerics.otherwise};
    bool ok = true;

    t->numerics = (Numerics){usual, usual, usual, 0};
    if (!n)
        return true;
    if (n->kind == YAML_SCALAR) {
        ok = load_class(t, n, &usual);
        t->numerics.matmul = t->numerics.conv = t->numerics.otherwise = usual;
        return ok;
    }
    if (!yaml_check_keys(t->cx->diags, n, known, 3, "numerics"))
        return false;
    for (int i = 0; i < 3; i++) {
        const YamlNode *c = yaml_get(n, known[i]);
        ok &= !c || load_class(t, c, into[i]);
    }
    return ok;
}

/* ---- workloads --------------------------------------------------------------------------------------------------------------------------- */
static bool bind(Task *t, Workload *w, const char *name, int64_t value, Loc name_loc, Loc loc)
{
    Dim sym = NULL;
    Str s = str_intern(t->cx->strs, name);
    const AttrVal *fixed = map_get_ptr(t->consts, s);

    for (uint32_t i = 0; i < t->n_symbols; i++)
        if (t->symbols[i]->name == s)
            sym = t->symbols[i];
    if (fixed && fixed->kind == AV_DIM && dim_is(fixed->dim, value))
        return true;
    if (!sym) {
        const char **names = arena_new_array(t->cx->arena, const char *, t->n_symbols + 1);
        for (uint32_t i = 0; i < t->n_symbols; i++)
            names[i] = t->symbols[i]->name;
        const char *near = fixed || strlen(name) < 2 ? NULL : str_nearest(name, names, t->n_symbols);
        FAIL(t, name_loc, near ? arena_printf(t->cx->arena, "did you mean '%s'?", near) : NULL,
             fixed ? "dim %s is fixed" : "no dim is called '%s'", name);
    }
    if (value < sym->lo || value > sym->hi)
        FAIL(t, loc, NULL, "%s = %lld is outside its range [%lld, %lld]", name, (long long)value, (long long)sym->lo, (long long)sym->hi);
    for (uint32_t i = 0; i < w->n; i++)
        if (w->values[i].name == s)
            FAIL(t, name_loc, NULL, "%s is given twice", name);
    w->values[w->n++] = (DimValue){s, value};
    return true;
}

static bool all_bound(Task *t, const Workload *w)
{
    bool ok = true;

    for (uint32_t i = 0; i < t->n_symbols; i++) {
        bool bound = false;
        for (uint32_t k = 0; k < w->n; k++)
            bound |= w->values[k].name == t->symbols[i]->name;
        if (!bound)
            ok = diag_error(t->cx->diags, PAWL_EXIT_INVALID, w->loc, NULL, "workload '%s' has no value for %s", w->name,
                            t->symbols[i]->name);
    }
    return ok;
}

static bool load_workload(Task *t, const YamlNode *key, const YamlNode *n, Workload *w)
{
    bool ok = true;

    *w = (Workload){.name = str_intern(t->cx->strs, key->text), .loc = key->loc};
    w->values = arena_new_array(t->cx->arena, DimValue, t->n_symbols + 1);
    if (!expect_kind(t, n, YAML_MAPPING, "a workload"))
        return false;
    for (uint32_t i = 0; i < n->n; i++) {
        int64_t v;
        ok &= yaml_i64(t->cx->diags, n->items[i], &v, "a dim") && bind(t, w, n->keys[i]->text, v, n->keys[i]->loc, n->items[i]->loc);
    }
    return ok && all_bound(t, w);
}

static bool load_workloads(Task *t, const YamlNode *list)
{
    bool ok = true;

    if (!list)
        return true;
    if (!expect_kind(t, list, YAML_MAPPING, "workloads"))
        return false;
    t->workloads = arena_new_array(t->cx->arena, Workload, list->n + 1);
    for (uint32_t i = 0; i < list->n; i++)
        ok &= load_workload(t, list->keys[i], list->items[i], &t->workloads[t->n_workloads++]);
    return ok;
}

const Workload *task_workload(const Task *t, const char *name)
{
    StrBuf known = strbuf_new(t->cx->arena);

    for (uint32_t i = 0; i < t->n_workloads; i++) {
        if (strcmp(t->workloads[i].name, name) == 0)
            return &t->workloads[i];
        strbuf_printf(&known, "%s%s", i ? ", " : "", t->workloads[i].name);
    }
    diag_error(t->cx->diags, PAWL_EXIT_INVALID, LOC_NONE,
               known.len ? arena_printf(t->cx->arena, "the task has %s; or give dims, as in S=512,B=1", known.text)
                         : "the task has none; give dims, as in S=512,B=1", "no workload is called '%s'", name);
    return NULL;
}

bool task_workload_parse(Task *t, const char *text, Workload *out)
{
    const Source *s = source_from_text(t->cx->arena, "<workload>", text);
    bool ok = true;

    if (!strchr(text, '=') && (text[0] || t->n_symbols)) {
        const Workload *w = task_workload(t, text);
        if (w)
            *out = *w;
        return w != NULL;
    }
    *out = (Workload){.name = str_intern(t->cx->strs, text), .loc = loc_at(s, 0, s->len)};
    out->values = arena_new_array(t->cx->arena, DimValue, t->n_symbols + 1);
    for (size_t at = 0; ok && at < s->len; ) {
        size_t len = strcspn(text + at, ","), eq = strcspn(text + at, "=");
        Loc loc = loc_at(s, at, len);
        int64_t v;
        if (eq >= len || !str_to_i64(arena_strndup(t->cx->arena, text + at + eq + 1, len - eq - 1), &v))
            ok = diag_error(t->cx->diags, PAWL_EXIT_INVALID, loc, NULL, "expected a size such as S=512");
        else
            ok = bind(t, out, arena_strndup(t->cx->arena, text + at, eq), v, loc, loc);
        at += len + 1;
    }
    return ok && all_bound(t, out);
}

/* ---- the whole ------------------------------------------------------------------------------------------------------------------------------ */
static bool load_header(Task *t, const YamlNode *root)
{
    const YamlNode *about = yaml_get(root, "about"), *source = yaml_get(root, "source"), *seed = yaml_get(root, "seed"),
                   *name = yaml_get(root, "task");
    int64_t value = 0;

    if (!yaml_string(t->cx->diags, name, &t->name, "task") ||
        (about && !yaml_string(t->cx->diags, about, &t->about, "about")) ||
        (source && !yaml_string(t->cx->diags, source, &t->origin, "source")) ||
        (seed && !yaml_i64(t->cx->diags, seed, &value, "seed")))
        return false;
    if (!t->name[0] || t->name[strspn(t->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./")])
        FAIL(t, name->loc, "letters, digits, and _ - . /", "'%s' cannot be a task's name", t->name);
    if (value < 0)
        FAIL(t, seed->loc, NULL, "a seed is not negative");
    t->seed = (uint64_t)value;
    return true;
}

static Str graph_name(Task *t)
{
    char *s = arena_printf(t->cx->arena, "%s%s", t->name[0] >= '0' && t->name[0] <= '9' ? "t" : "", t->name);

    for (char *c = s; *c; c++)
        if (*c == '/' || *c == '-' || *c == '.')
            *c = '_';
    return str_intern(t->cx->strs, s);
}

static bool load(Task *t, const YamlNode *root)
{
    static const char *const known[] = {"task", "about", "source", "dims", "inputs", "params", "graph", "outputs", "numerics",
                                        "workloads", "seed"};
    static const char *const required[] = {"task", "graph", "outputs"};
    Context *cx = t->cx;

    if (!yaml_check_keys(cx->diags, root, known, sizeof known / sizeof *known, "a task"))
        return false;
    for (int i = 0; i < 3; i++)
        if (!yaml_get(root, required[i]))
            FAIL(t, root->loc, NULL, "a task needs '%s'", required[i]);
    if (!load_header(t, root))
        return false;
    t->graph = graph_new(cx, graph_name(t));
    t->values = map_new(t->graph->arena);
    t->consts = map_new(cx->arena);
    t->functions = functions_builtin(cx);
    if (!load_dims(t, yaml_get(root, "dims")))
        return false;
    bool ok = load_inputs(t, OP_INPUT, yaml_get(root, "inputs"), "inputs");
    ok &= load_inputs(t, OP_PARAM, yaml_get(root, "params"), "params");
    if (!ok || !load_graph(t, yaml_get(root, "graph")) || !load_outputs(t, yaml_get(root, "outputs")))
        return false;
    ok = load_numerics(t, yaml_get(root, "numerics"));
    return load_workloads(t, yaml_get(root, "workloads")) && ok;
}

Task *task_from_source(Context *cx, const Source *s)
{
    uint32_t before = diags_count(cx->diags);
    Task *t = arena_new_of(cx->arena, Task);
    YamlNode *root = yaml_parse(cx->arena, cx->diags, s);

    *t = (Task){.cx = cx, .source = s, .name = "", .about = "", .origin = ""};
    if (!root || !load(t, root)) {
        graph_free(t->graph);
        pawl_assert(diags_count(cx->diags) > before, "a task was refused without a word");
        return NULL;
    }
    bound_indices(t);
    warn_unused(t);
    return t;
}

Task *task_load(Context *cx, const char *path)
{
    Source *s = source_from_file(cx->arena, cx->diags, path);
    return s ? task_from_source(cx, s) : NULL;
}
