/* passes/fold_norm.c — a norm of rows through the product behind it:
 *
 *     (x r g) W  =  (x W') r p        W' = g W / p,  r = rsqrt(mean x^2 + eps), one a row
 *
 * for bf16 x and frozen g and W. The product then begins without waiting for the norm, whose elements are neither stored nor read:
 * what is left of it is a number a row, reduced beside the product or before it, and applied behind it. W' is made when the package
 * is written. x r and x r g are no longer rounded, once each; g W is: one rounding a term instead of two. The product is f32, so that it is
 * not rounded twice.
 *
 * Where x is small or large, x W' must be neither too small nor too large for bf16 and fp32 where x r g is not. While the sum of
 * squares is finite, x is below 2^64; so p, a power of two, brings the largest |W'| to 2^63 / K, as high as sums allow: then even
 * subnormal x leave normal products. Where the sum overflows, r is 0, and so is the result, as it is unfolded; the product, which may have
 * overflowed, is not asked. Rows with Inf or NaN are NaN, unfolded, too (Inf r is Inf 0): x 0 is added to each square, so that r is NaN.
 * eps must be a positive number, so that r is finite. bf16 has the exponents of fp32; in f16, g W might overflow: not offered.
 *
 * Whether it pays depends on what computes the norm otherwise, so it becomes a choice. Of products that read one norm only the
 * widest have it: the others are what those were stacked from.
 *
 * requires: nothing; runs after the choices of rules, so that stacked projections have it as one.  preserves: all else. */
#include "passes/pass.h"

#include <math.h>
#include <string.h>

typedef struct { PassContext *cx; Graph *g; Uses uses; bool *frozen; uint32_t n_known; Str origin; } Folder;

/* x r g along the last dim, r = rsqrt(sum + eps) or rsqrt(sum by a number + eps); gain: [K], or NULL. */
typedef struct { Node *x, *r, *sum, *gain; } Norm;

static Dim last_dim(const Node *n) { return n->type.shape.d[node_rank(n) - 1]; }

static Node *uncast(Node *n) { return n->op == OP_CAST ? n->in[0] : n; }

/* ---- which -------------------------------------------------------------------------------------------------------------------- */
/* A frozen vector along the last dim, the same for all others; NULL: it is not that. */
static Node *vector_of(const Folder *f, Node *n)
{
    Node *v = uncast(n);
    v = v->op == OP_EXPAND ? uncast(v->in[0]) : NULL;
    double literal;
    if (!v || !f->frozen[v->id] || node_literal(v, &literal) || !node_rank(v) || last_dim(v) != last_dim(n))
        return NULL;
    for (uint32_t i = 0; i + 1 < node_rank(v); i++)
        if (!dim_is(v->type.shape.d[i], 1))
            return NULL;
    return v;
}

static bool sums_squares(const Node *n, const Node *x)
{
    const Attr *axes = n->op == OP_REDUCE_SUM ? node_attr(n, ATTR_AXES) : NULL;
    return axes && axes->n == 1 && axes->ints[0] == node_rank(x) - 1 && n->in[0]->op == OP_MUL && n->in[0]->in[0] == x && n->in[0]->in[1] == x;
}

/* rsqrt of the mean of x^2, and a positive number */
static bool is_rms(const Node *r, const Node *x, Norm *out)
{
    double eps = 0, by = 0;
    Node *more = r->op == OP_RSQRT ? r->in[0] : NULL;
    if (!more || more->op != OP_ADD || !node_literal(more->in[1], &eps) || !(eps > 0))
        return false;
    Node *mean = more->in[0];
    bool scaled = (mean->op == OP_MUL || mean->op == OP_DIV) && node_literal(mean->in[1], &by) && by > 0;
    out->sum = scaled ? mean->in[0] : mean;
    return sums_squares(out->sum, x);
}

/* cast(x) r, both f32 */
static bool find_scaled(Node *n, Norm *out)
{
    for (uint32_t k = 0; n->op == OP_MUL && k < 2; k++) {
        Node *f = n->in[k], *e = n->in[1 - k];
        if (f->op != OP_CAST || f->in[0]->type.dtype != DT_BF16 || e->op != OP_EXPAND || !is_rms(e->in[0], f, out))
            continue;
        out->x = f->in[0], out->r = e->in[0];
        return node_rank(out->r) == node_rank(f) && dim_is(last_dim(out->r), 1);
    }
    return false;
}

/* As it stands in the graph: rounded once, behind the gain, or before it, too; or without a gain. */
static bool find_norm(const Folder *f, Node *h, Norm *out)
{
    *out = (Norm){0};
    if (h->type.dtype != DT_BF16)
        return false;
    for (uint32_t k = 0; k < 2; k++) {
        Node *product = h->op == OP_CAST ? h->in[0] : h;
        if (product->op != OP_MUL)
            return false;
        out->gain = vector_of(f, product->in[k]);
        Node *rest = product->in[1 - k];
        if (out->gain && find_scaled(h->op == OP_CAST ? rest : uncast(rest), out))
            return true;
    }
    out->gain = NULL;
    return h->op == OP_CAST && find_scaled(h->in[0], out);
}

static bool keeps_rows(const Node *n)
{
    return n->op == OP_RESHAPE && node_rank(n) && node_rank(n->in[0]) && last_dim(n) == last_dim(n->in[0]);
}

static bool is_product(const Folder *f, const Node *n, const Node *h)
{
    return n->op == OP_MATMUL && n->in[0] == h && n->in[1] != h && !node_int(n, ATTR_TRANS_A, 0) && n->in[1]->type.dtype == DT_BF16 &&
           node_rank(n->in[1]) == 2 && f->frozen[n->in[1]->id] && dim_is_const(last_dim(h));
}

/* Everything that reads `h` is such a product; *widest: columns of the widest of them. */
static bool only_products(const Folder *f, const Node *h, int64_t *widest)
{
    uint32_t from = f->uses.start[h->id], to = f->uses.start[h->id + 1];
    for (uint32_t i = from; i < to; i++) {
        const Node *user = f->uses.user[i];
        bool known = is_product(f, user, h) ? dim_is_const(last_dim(user)) : keeps_rows(user) && user->id < f->n_known && only_products(f, user, widest);
        if (!known)
            return false;
        *widest = user->op == OP_MATMUL && last_dim(user)->value > *widest ? last_dim(user)->value : *widest;
    }
    return to - from == f->uses.n_uses[h->id];
}

/* ---- the rewrite ---------------------------------------------------------------------------------------------------------------- */
static Node *number(Graph *g, double v, const Node *like)
{
    return graph_expand(g, graph_const(g, like->type.dtype, v), &like->type.shape);
}

static Node *by(Graph *g, Op op, Node *x, double v) { return graph_binary(g, op, x, number(g, v, x)); }

/* g W in f32, exact. */
static Node *gained(Graph *g, const Node *n, const Norm *norm)
{
    Node *w = graph_cast(g, n->in[1], DT_F32);
    if (!norm->gain)
        return w;
    bool k_last = node_int(n, ATTR_TRANS_B, 0) != 0;
    Shape along = w->type.shape;
    along.d[k_last ? 0 : 1] = dim_const(g->cx->dims, 1);
    Node *gain = graph_reshape(g, graph_cast(g, norm->gain, DT_F32), &along);
    return graph_binary(g, OP_MUL, w, graph_expand(g, gain, &w->type.shape));
}

/* p, [1, 1]: within those powers of two that leave room for what it is multiplied with. */
static Node *range_of(Graph *g, Node *weights, int64_t depth)
{
    int64_t rows = 0, columns = 1;
    int log2;
    frexp((double)depth, &log2);                            /* depth < 2^log2 */
    Node *size = graph_unary(g, OP_ABS, weights);
    Node *finite[] = {graph_binary(g, OP_LT, size, number(g, INFINITY, size)), size, number(g, 0, size)};
    Node *most = graph_reduce(g, OP_REDUCE_MAX, graph_add(g, OP_WHERE, finite, 3, NULL, 0, weights->loc), &columns, 1, true);
    most = graph_reduce(g, OP_REDUCE_MAX, most, &rows, 1, true);               /* one after the other: as recipes know them */
    Node *p = graph_unary(g, OP_POW2_FLOOR, by(g, OP_MINIMUM, by(g, OP_MAXIMUM, most, 0x1p-60), 0x1p100));
    return by(g, OP_MUL, p, ldexp(1, log2 - 62));
}

/* r, and NaN where x is not finite. */
static Node *scale_of(Graph *g, const Norm *norm)
{
    Node *square = norm->sum->in[0], *more = norm->r->in[0], *mean = more->in[0];
    Node *sum = graph_copy_with(g, norm->sum, (Node *[]){graph_binary(g, OP_ADD, square, by(g, OP_MUL, square->in[0], 0))});
    mean = mean == norm->sum ? sum : graph_copy_with(g, mean, (Node *[]){sum, mean->in[1]});
    return graph_unary(g, OP_RSQRT, graph_copy_with(g, more, (Node *[]){mean, more->in[1]}));
}

static Node *ones(Graph *g, Node *scalar, uint32_t rank)
{
    Shape s = {.rank = rank};
    for (uint32_t i = 0; i < rank; i++)
        s.d[i] = dim_const(g->cx->dims, 1);
    return graph_reshape(g, scalar, &s);
}

static Node *folded(const Folder *f, const Node *n, const Norm *norm)
{
    Graph *g = f->g;
    Node *w = gained(g, n, norm), *p = range_of(g, w, last_dim(n->in[0])->value);
    Node *shrink = graph_binary(g, OP_DIV, number(g, 1, p), p);
    Node *weights = graph_cast(g, graph_binary(g, OP_MUL, w, graph_expand(g, shrink, &w->type.shape)), DT_BF16);
    Shape rows = n->in[0]->type.shape;
    Node *x = graph_reshape(g, norm->x, &rows);
    rows.d[rows.rank - 1] = dim_const(g->cx->dims, 1);
    Node *r = graph_reshape(g, scale_of(g, norm), &rows);
    Attr attrs[] = {{.key = ATTR_TRANS_B, .i = node_int(n, ATTR_TRANS_B, 0)}, {.key = ATTR_DTYPE, .dtype = DT_F32}};
    Node *product = graph_add(g, OP_MATMUL, (Node *[]){x, weights}, 2, attrs, 2, n->loc);
    Node *scaled = graph_binary(g, OP_MUL, product, graph_expand(g, r, &product->type.shape));
    scaled = graph_binary(g, OP_MUL, scaled, graph_expand(g, ones(g, p, rows.rank), &scaled->type.shape));
    Node *unless[] = {graph_expand(g, by(g, OP_EQ, r, 0), &scaled->type.shape), number(g, 0, scaled), scaled};
    return graph_cast(g, graph_add(g, OP_WHERE, unless, 3, NULL, 0, n->loc), n->type.dtype);
}

/* ---- the pass ------------------------------------------------------------------------------------------------------------------- */
static const char ID[] = "fold_norm@";

static Str choice_id(const Folder *f, const Node *n)
{
    StrBuf b = strbuf_new(f->cx->scratch);
    strbuf_add(&b, ID);
    for (uint32_t i = 0; i < node_rank(n); i++) {
        dim_print(&b, n->type.shape.d[i]);
        strbuf_char(&b, 'x');
    }
    dim_print(&b, last_dim(n->in[0]));
    return str_intern(f->g->cx->strs, b.text);
}

static void offer(Folder *f, Node *n, const Norm *norm)
{
    Graph *g = f->g;
    uint32_t before = g->nodes.n;
    Node *in[2] = {n, folded(f, n, norm)};
    Attr id = {.key = ATTR_ID, .s = choice_id(f, n)};
    Node *choice = graph_add(g, OP_CHOICE, in, 2, &id, 1, n->loc);
    for (uint32_t i = before; i < g->nodes.n; i++)
        g->nodes.data[i]->origin = f->origin;
    graph_replace(g, n, choice);
    RuleFiring fired = {.rule = "fold_norm", .node = n->name, .loc = n->loc, .choice = id.s};
    vec_push(g->cx->arena, &f->cx->report->firings, fired);
}

/* Sums are rounded as both bf16 forms are, and what is left of the norm stays in fp32. */
static bool class_allows(const Numerics *n)
{
    return (n->matmul == NUM_BF16 || n->matmul == NUM_APPROX) && (n->otherwise == NUM_BF16 || n->otherwise == NUM_APPROX);
}

bool pass_fold_norm(PassContext *cx)
{
    Folder f = {.cx = cx, .g = cx->graph, .n_known = cx->graph->nodes.n};
    if (!cx->opt->fold_norms || !class_allows(&cx->opt->numerics))
        return false;
    uint32_t n, fired = cx->report->firings.n;
    Node **order = graph_order(cx->graph, cx->scratch, &n);
    f.uses = graph_uses(cx->graph, cx->scratch);
    f.frozen = graph_frozen(cx->graph, cx->scratch);
    f.origin = str_intern(cx->cx->strs, "rule:fold_norm");
    Map *offered = map_new(cx->scratch);
    for (uint32_t i = 0; i < n; i++)
        if (order[i]->op == OP_CHOICE && !strncmp(node_attr(order[i], ATTR_ID)->s, ID, sizeof ID - 1))
            map_set(offered, order[i]->in[0]->id, 1);
    for (uint32_t i = 0; i < n; i++) {
        Node *x = order[i], *h;
        Norm norm;
        int64_t widest = 0;
        if (x->op != OP_MATMUL || !is_product(&f, x, x->in[0]) || map_has(offered, x->id))
            continue;
        h = keeps_rows(x->in[0]) ? x->in[0]->in[0] : x->in[0];
        if (find_norm(&f, h, &norm) && only_products(&f, h, &widest) && dim_is(last_dim(x), widest))
            offer(&f, x, &norm);
    }
    return cx->report->firings.n > fired;
}
