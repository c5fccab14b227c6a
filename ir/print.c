/* ir/print.c — the text form. One line a node; literals stand where a pointwise op reads them, so that `mul(%x, 2)` prints as
 * it was written. A literal's node gets a line of its own only where something other than a pointwise op needs it. */
#include "ir/attr.h"
#include "base/vec.h"
#include <math.h>
#include <string.h>

enum { MAX_INLINE_DATA = 64 };

typedef struct {
    const Graph *g;
    StrBuf *b;
    Arena *a;
    Node **order; uint32_t n;
    bool *shown;                     /* by id: has a line */
    const char **name;               /* by id, without % */
    bool anonymous;                  /* graph_hash: no user names, no distributions */
} Printer;

static void print_number(StrBuf *b, double v)
{
    if (isnan(v))
        strbuf_add(b, "nan");
    else
        strbuf_double(b, v);
}

/* ---- which literals stand inside their use -------------------------------------------------------------------------------------- */
static const Node *literal_node(const Node *n)
{
    return n->op == OP_EXPAND ? n->in[0] : n;
}

static bool is_literal_form(const Node *n)
{
    return literal_node(n)->op == OP_CONST && literal_node(n)->type.dtype != DT_BOOL;
}

/* Operand i of a pointwise n prints as a number, and reading it back makes the same node: another operand must give the
 * dtype (the first two of a comparison, the branches of where). */
static bool literal_inline(const Node *n, uint32_t i)
{
    uint32_t first = n->op == OP_WHERE;
    bool governed = false, ranked = node_rank(n) == 0;

    if (op_class(n->op) != CLASS_POINTWISE || i < first || !is_literal_form(n->in[i]))
        return false;
    for (uint32_t k = first; k < n->n_in; k++)
        governed |= !is_literal_form(n->in[k]);
    for (uint32_t k = 0; k < n->n_in; k++)
        ranked |= k < first || !is_literal_form(n->in[k]);
    return governed && ranked;
}

static void mark_shown(Printer *p)
{
    for (uint32_t i = 0; i < p->g->outputs.n; i++)
        p->shown[p->g->outputs.data[i].node->id] = true;
    for (uint32_t i = p->n; i-- > 0; ) {
        const Node *n = p->order[i];
        for (uint32_t k = 0; p->shown[n->id] && k < n->n_in; k++)
            if (!literal_inline(n, k))
                p->shown[n->in[k]->id] = true;
    }
}

/* ---- names ------------------------------------------------------------------------------------------------------------------------- */
static bool printable_name(Str name)
{
    if (!name || !*name || name[strspn(name, "0123456789")] == '\0')
        return false;
    for (const char *c = name; *c; c++) {
        bool word = (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '_';
        bool dot = *c == '.' && c > name && c[1] && c[1] != '.' && c[-1] != '.';
        if (!word && !dot)
            return false;
    }
    return true;
}

static void take_name(Printer *p, Map *taken, const Node *n, uint32_t *counter)
{
    StrPool *strs = p->g->cx->strs;
    Str name = n->name;

    if (p->anonymous || !printable_name(name)) {
        p->name[n->id] = arena_printf(p->a, "%u", (*counter)++);
        return;
    }
    for (int k = 2; !map_set_ptr(taken, name, n); k++)
        name = str_format(strs, "%s_%d", n->name, k);
    p->name[n->id] = name;
}

static void name_nodes(Printer *p)
{
    Map *taken = map_new(p->a);
    uint32_t counter = 0;

    for (uint32_t i = 0; i < p->g->inputs.n; i++)
        take_name(p, taken, p->g->inputs.data[i].node, &counter);
    for (uint32_t i = 0; i < p->n; i++)
        if (p->shown[p->order[i]->id] && !p->name[p->order[i]->id])
            take_name(p, taken, p->order[i], &counter);
}

/* ---- lines --------------------------------------------------------------------------------------------------------------------------- */
static void print_string(StrBuf *b, const char *s)
{
    strbuf_char(b, '"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            strbuf_char(b, '\\');
        if (*s == '\n')
            strbuf_add(b, "\\n");
        else
            strbuf_char(b, *s);
    }
    strbuf_char(b, '"');
}

static void print_attr(StrBuf *b, const Attr *a)
{
    strbuf_printf(b, "%s=", attr_table[a->key].name);
    switch (attr_table[a->key].kind) {
    case AK_INT:   strbuf_printf(b, "%lld", (long long)a->i); break;
    case AK_FLOAT: print_number(b, a->f); break;
    case AK_DIM:   dim_print(b, a->dim); break;
    case AK_STR:   print_string(b, a->s); break;
    case AK_DTYPE: strbuf_add(b, dtype_name(a->dtype)); break;
    case AK_DIMS:
        strbuf_char(b, '[');
        for (uint32_t i = 0; i < a->n; i++) {
            strbuf_add(b, i ? ", " : "");
            dim_print(b, a->dims[i]);
        }
        strbuf_char(b, ']');
        break;
    case AK_INTS:
        strbuf_char(b, '[');
        for (uint32_t i = 0; i < a->n; i++)
            strbuf_printf(b, "%s%lld", i ? ", " : "", (long long)a->ints[i]);
        strbuf_char(b, ']');
        break;
    }
}

static void print_data(StrBuf *b, const Tensor *t)
{
    int64_t n = tensor_count(t);

    if (n > MAX_INLINE_DATA) {
        strbuf_printf(b, ", digest=\"%016llx\"", (unsigned long long)hash_bytes(t->data, tensor_bytes(t), 0));
        return;
    }
    strbuf_add(b, ", data=[");
    for (int64_t i = 0; i < n; i++) {
        const char *at = (const char *)t->data + i * dtype_bytes(t->dtype);
        strbuf_add(b, i ? ", " : "");
        if (dtype_is_float(t->dtype))
            print_number(b, dtype_load(t->dtype, at));
        else
            strbuf_printf(b, "%lld", (long long)dtype_load_i64(t->dtype, at));
    }
    strbuf_char(b, ']');
}

static void print_node(Printer *p, const Node *n)
{
    StrBuf *b = p->b;
    bool comma = false;
    size_t start = b->len;

    strbuf_printf(b, "  %%%s = %s(", p->name[n->id], op_name(n->op));
    for (uint32_t i = 0; i < n->n_in; i++) {
        strbuf_add(b, comma ? ", " : "");
        comma = true;
        if (literal_inline(n, i))
            print_number(b, node_attr(literal_node(n->in[i]), ATTR_VALUE)->f);
        else
            strbuf_printf(b, "%%%s", p->name[n->in[i]->id]);
    }
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        strbuf_add(b, comma ? ", " : "");
        comma = true;
        if (p->anonymous && n->attrs[i].key == ATTR_NAME)
            strbuf_add(b, "name=\"\"");
        else
            print_attr(b, &n->attrs[i]);
    }
    if (n->op == OP_TENSOR)
        print_data(b, n->data);
    strbuf_char(b, ')');
    for (size_t width = b->len - start; width < 48; width++)
        strbuf_char(b, ' ');
    strbuf_add(b, " : ");
    type_print(b, &n->type);
    strbuf_char(b, '\n');
}

static void print_dist(StrBuf *b, Dist d)
{
    strbuf_printf(b, " ~ %s(", dist_name(d.kind));
    strbuf_double(b, d.a);
    if (dist_arguments(d.kind) > 1) {
        strbuf_add(b, ", ");
        strbuf_double(b, d.b);
    }
    strbuf_char(b, ')');
}

static void print_options(StrBuf *b, const GraphInput *in)
{
    const char *sep = " [";
    bool by_dist = in->dist.kind == DIST_RANDINT && in->live_lo == (int64_t)in->dist.a && in->live_hi == (int64_t)in->dist.b;

    if (in->is_mutable) {
        strbuf_printf(b, "%smutable", sep);
        sep = ", ";
    }
    if (in->file) {
        strbuf_printf(b, "%sfile=", sep);
        print_string(b, in->file);
        sep = ", ";
    }
    if (in->live_lo != in->live_hi && !by_dist) {
        strbuf_printf(b, "%srange=[%lld, %lld]", sep, (long long)in->live_lo, (long long)in->live_hi);
        sep = ", ";
    }
    if (sep[0] == ',')
        strbuf_char(b, ']');
}

static void print_inputs(Printer *p)
{
    for (uint32_t i = 0; i < p->g->inputs.n; i++) {
        const GraphInput *in = &p->g->inputs.data[i];
        strbuf_printf(p->b, "  %s %%%s : ", op_name(in->node->op), p->name[in->node->id]);
        type_print(p->b, &in->node->type);
        if (!p->anonymous)
            print_dist(p->b, in->dist);
        GraphInput shown = *in;
        if (p->anonymous) {
            shown.file = NULL;
            shown.live_lo = shown.live_hi = 0;
        }
        print_options(p->b, &shown);
        strbuf_char(p->b, '\n');
    }
}

/* ---- symbols ---------------------------------------------------------------------------------------------------------------------------- */
static void print_symbols_of(Printer *p, Map *seen, Dim d)
{
    if (dim_is_const(d) || !map_set_ptr(seen, d, d))
        return;
    if (d->kind == DIM_SYM)
        strbuf_printf(p->b, "  dim %s in [%lld, %lld]\n", d->name, (long long)d->lo, (long long)d->hi);
    for (uint32_t i = 0; d->kind == DIM_SUM && i < d->n_terms; i++)
        for (uint32_t k = 0; k < d->terms[i].n_atoms; k++)
            print_symbols_of(p, seen, d->terms[i].atoms[k]);
    if (d->kind == DIM_FLOORDIV || d->kind == DIM_MOD || d->kind == DIM_MIN || d->kind == DIM_MAX) {
        print_symbols_of(p, seen, d->a);
        print_symbols_of(p, seen, d->b);
    }
}

static void print_symbols(Printer *p)
{
    Map *seen = map_new(p->a);

    for (uint32_t i = 0; i < p->n; i++) {
        const Node *n = p->order[i];
        for (uint32_t k = 0; k < node_rank(n); k++)
            print_symbols_of(p, seen, n->type.shape.d[k]);
        for (uint32_t k = 0; k < n->n_attrs; k++) {
            if (attr_table[n->attrs[k].key].kind == AK_DIM)
                print_symbols_of(p, seen, n->attrs[k].dim);
            for (uint32_t j = 0; attr_table[n->attrs[k].key].kind == AK_DIMS && j < n->attrs[k].n; j++)
                print_symbols_of(p, seen, n->attrs[k].dims[j]);
        }
    }
}

static void print_return(Printer *p)
{
    for (uint32_t i = 0; i < p->g->outputs.n; i++) {
        const GraphOutput *out = &p->g->outputs.data[i];
        strbuf_add(p->b, i ? ", " : "  return ");
        if (!p->anonymous && strcmp(out->name, p->name[out->node->id]) != 0)
            strbuf_printf(p->b, "%s=", out->name);
        strbuf_printf(p->b, "%%%s", p->name[out->node->id]);
    }
    strbuf_add(p->b, p->g->outputs.n ? "\n}\n" : "}\n");
}

static void print_graph(StrBuf *b, const Graph *g, Arena *a, Node **order, uint32_t n, bool anonymous)
{
    Printer p = {g, b, a, order, n, arena_new_array(a, bool, g->nodes.n + 1),
                 arena_new_array(a, const char *, g->nodes.n + 1), anonymous};

    mark_shown(&p);
    name_nodes(&p);
    strbuf_printf(b, "graph %s {\n", anonymous || !g->name ? "g" : g->name);
    print_symbols(&p);
    print_inputs(&p);
    for (uint32_t i = 0; i < n; i++)
        if (p.shown[order[i]->id] && order[i]->op != OP_INPUT && order[i]->op != OP_PARAM)
            print_node(&p, order[i]);
    print_return(&p);
}

void graph_print(StrBuf *b, const Graph *g)
{
    Arena *a = arena_new();
    uint32_t n;
    Node **order = graph_order(g, a, &n);

    print_graph(b, g, a, order, n, false);
    arena_free(a);
}

char *graph_text(Arena *a, const Graph *g)
{
    StrBuf b = strbuf_new(a);
    graph_print(&b, g);
    return b.text;
}

/* Inputs, then operands before users in the order outputs reach them: independent of the order of creation. */
static Node **canonical_order(const Graph *g, Arena *a, uint32_t *n)
{
    Node **order = arena_new_array(a, Node *, g->nodes.n + 1);
    uint32_t *next = arena_new_array(a, uint32_t, g->nodes.n + 1);      /* operand to visit next; UINT32_MAX: done */
    Vec(Node *) stack = {0};

    *n = 0;
    for (uint32_t i = 0; i < g->inputs.n; i++) {
        order[(*n)++] = g->inputs.data[i].node;
        next[g->inputs.data[i].node->id] = UINT32_MAX;
    }
    for (uint32_t i = 0; i < g->outputs.n; i++) {
        if (next[g->outputs.data[i].node->id] == 0)
            vec_push(a, &stack, g->outputs.data[i].node);
        while (stack.n) {
            Node *top = vec_last(&stack);
            if (next[top->id] < top->n_in) {
                Node *in = top->in[next[top->id]++];
                if (next[in->id] == 0)
                    vec_push(a, &stack, in);
                continue;
            }
            stack.n--;
            if (next[top->id] != UINT32_MAX)
                order[(*n)++] = top;
            next[top->id] = UINT32_MAX;
        }
    }
    return order;
}

uint64_t graph_hash(const Graph *g)
{
    Arena *a = arena_new();
    StrBuf b = strbuf_new(a);
    uint32_t n;
    Node **order = canonical_order(g, a, &n);

    print_graph(&b, g, a, order, n, true);
    uint64_t h = hash_bytes(b.text, b.len, 0);
    arena_free(a);
    return h;
}
