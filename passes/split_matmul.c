/* passes/split_matmul.c — products of f32 matrices as products of f16 pieces, for targets whose matrix units multiply f16 with fp32
 * sums (numerics.md: three products of scaled pieces keep 22 bits, class fp32; one keeps 11, class tf32).
 *
 * Every product that is large enough becomes a choice of two: itself, and a split_matmul of pieces that are made by ordinary ops, so
 * that those of frozen operands fold into weights and those of activations fuse with what computes them. A line (row of a,
 * column of b) with maximum m and p the power of two below it has
 *
 *     s = 2^14 / max(p, 2^-112)     hi = f16(x s)     lo = f16((x s - hi) 2^11)     inv = 1 / s
 *
 * all exact but for the two roundings to f16. s m lies in [2^14, 2^15), near the top of f16; lo has a scale of its own, so that it
 * does not underflow. inv is negative where the pieces do not hold the line: it has a number that is not finite, or nonzero ones
 * more than 2^29 apart. The product then computes that line from the originals, which go along; a frozen b leaves its original behind:
 * whoever has its numbers must see to it that no inv of it is negative, or have it kept (codegen/compile.c does).
 *
 * An operand keeps its layout in memory; rows of pieces must start at multiples of 16 bytes, so k is padded with zeros where it is the
 * contiguous dim (to whole cache lines where it is long), and an operand that is contiguous along M or N is turned where that is no multiple of 8.
 *
 * requires: nothing; runs after the choices of rules, so that stacked projections are split as one.  preserves: all else. */
#include "passes/pass.h"
#include <math.h>
#include <string.h>

/* f16 elements in 16 bytes; in a cache line: rows that begin in the middle of one cost two lines a piece of a row, which shows (174
 * against 235 TFLOP/s at 8205 x 2949 x 5921 on an NVIDIA H200) where k is long. */
enum { ALIGN = 8, LINE = 64, LONG = 256 };
/* Where three products on matrix units and the splitting of an activation are expected to pay; the tuner decides. */
enum { LEAST_ROWS = 64, LEAST_DEPTH = 32 };
#define LEAST_WORK 5e7                              /* 2 M N K */

typedef struct { PassContext *cx; Graph *g; uint32_t terms; bool *frozen, *weight; uint32_t n_frozen; Str origin; } Splitter;

/* An operand as it lies in memory: its last dim is contiguous, the other of its last two is the other one. */
typedef struct { Node *x; bool k_last; } Side;

/* ---- which -------------------------------------------------------------------------------------------------------------------- */
static uint32_t terms_of(NumClass c)
{
    switch (c) {
    case NUM_IEEE: return 0;
    case NUM_TF32: return 1;
    case NUM_FP32: case NUM_BF16: case NUM_F16: case NUM_APPROX: break;    /* f32 operands in a task of another type: as fp32 */
    }
    return 3;
}

static Dim last_dim(const Node *n, uint32_t from_end) { return n->type.shape.d[node_rank(n) - 1 - from_end]; }

static Dim depth_of(const Node *n) { return last_dim(n->in[0], node_int(n, ATTR_TRANS_A, 0) ? 1 : 0); }

/* Symbols count as at their least: what is slow for short sequences should not be chosen for long ones unseen. */
static bool pays(const Node *n, double least)
{
    double work = 2 * (double)depth_of(n)->lo;
    for (uint32_t i = 0; i < node_rank(n); i++)
        work *= (double)n->type.shape.d[i]->lo;
    int64_t rows = last_dim(n, 1)->lo;
    if (node_rank(n->in[1]) == 2 && !node_int(n, ATTR_TRANS_A, 0))        /* one b for all batches: they are more rows */
        for (uint32_t i = 0; i + 2 < node_rank(n); i++)
            rows *= n->type.shape.d[i]->lo;
    bool wide = rows >= LEAST_ROWS && last_dim(n, 0)->lo >= LEAST_ROWS;
    return wide && depth_of(n)->lo >= LEAST_DEPTH && work >= (least > 0 ? least : LEAST_WORK);
}

/* One matrix for all batches, or one for each: batches of an operand lie one behind the other. */
static bool batches_line_up(const Node *n, const Node *x)
{
    uint32_t r = node_rank(n), rx = node_rank(x);
    bool one = true, each = rx == r;
    for (uint32_t i = 0; i + 2 < rx; i++) {
        one &= dim_is(x->type.shape.d[i], 1);
        each &= x->type.shape.d[i] == n->type.shape.d[i + r - rx];
    }
    return one || each;
}

static bool frozen(const Splitter *s, const Node *n) { return n->id < s->n_frozen && s->frozen[n->id]; }

static bool has_symbols(const Node *n)
{
    bool any = false;
    for (uint32_t i = 0; i < node_rank(n); i++)
        any |= !dim_is_const(n->type.shape.d[i]);
    for (uint32_t k = 0; k < n->n_attrs; k++) {
        const Attr *a = &n->attrs[k];
        any |= attr_table[a->key].kind == AK_DIM && !dim_is_const(a->dim);
        for (uint32_t i = 0; attr_table[a->key].kind == AK_DIMS && i < a->n; i++)
            any |= !dim_is_const(a->dims[i]);
    }
    return any;
}

/* What a package will hold, so that its numbers are known when it is written: made of params that stay, of one size. Not what is
 * made of literals alone: kernels compute that. */
static bool *find_weights(const Splitter *s, Node *const *order, uint32_t n)
{
    bool *weight = arena_new_array(s->cx->scratch, bool, s->n_frozen + 1), *sized = arena_new_array(s->cx->scratch, bool, s->n_frozen + 1);
    for (uint32_t i = 0; i < n; i++) {
        const Node *x = order[i];
        sized[x->id] = !has_symbols(x);
        weight[x->id] = x->op == OP_PARAM || x->op == OP_TENSOR;
        for (uint32_t k = 0; k < x->n_in; k++) {
            sized[x->id] &= sized[x->in[k]->id];
            weight[x->id] |= weight[x->in[k]->id];
        }
    }
    for (uint32_t i = 0; i < n; i++)
        weight[order[i]->id] &= sized[order[i]->id] && s->frozen[order[i]->id];
    return weight;
}

static bool wanted(const Splitter *s, const Node *n)
{
    double literal;
    if (n->op != OP_MATMUL || n->type.dtype != DT_F32 || frozen(s, n) || !pays(n, s->cx->opt->split_work))
        return false;
    for (uint32_t k = 0; k < 2; k++)
        if (n->in[k]->type.dtype != DT_F32 || node_literal(n->in[k], &literal) || !batches_line_up(n, n->in[k]))
            return false;
    return true;
}

/* ---- layout ------------------------------------------------------------------------------------------------------------------- */
static Node *swap_last(Graph *g, Node *x)
{
    int64_t perm[MAX_RANK];
    uint32_t r = node_rank(x);
    for (uint32_t i = 0; i < r; i++)
        perm[i] = i + 2 == r ? r - 1 : i + 1 == r ? r - 2 : i;
    return graph_permute(g, x, perm);
}

/* Looks through a permute that makes the contiguous dim the one before the last. */
static Side side_of(Graph *g, const Node *matmul, uint32_t k)
{
    Node *x = matmul->in[k];
    bool trans = node_int(matmul, k ? ATTR_TRANS_B : ATTR_TRANS_A, 0) != 0;
    Side s = {x, (k == 0) != trans};
    uint32_t r = node_rank(x);
    if (x->op != OP_PERMUTE || node_attr(x, ATTR_PERM)->ints[r - 2] != r - 1)
        return s;
    int64_t perm[MAX_RANK];
    memcpy(perm, node_attr(x, ATTR_PERM)->ints, r * sizeof *perm);
    perm[r - 2] = perm[r - 1];
    perm[r - 1] = r - 1;
    bool moves = false;
    for (uint32_t i = 0; i < r; i++)
        moves |= perm[i] != i;
    return (Side){moves ? graph_permute(g, x->in[0], perm) : x->in[0], !s.k_last};
}

static bool aligned(Graph *g, Dim d) { return dim_divides(g->cx->dims, dim_const(g->cx->dims, ALIGN), d); }

/* Must it be turned so that k is contiguous? */
static bool turns(Graph *g, const Side *s) { return !s->k_last && !aligned(g, last_dim(s->x, 0)); }

/* ---- pieces ------------------------------------------------------------------------------------------------------------------- */
static Node *scalar(Graph *g, double v, const Node *like)
{
    return graph_expand(g, graph_const(g, like->type.dtype, v), &like->type.shape);
}

static Node *by(Graph *g, Op op, Node *x, double v) { return graph_binary(g, op, x, scalar(g, v, x)); }

/* One number a line (no k) to one an element of `like`, whose k is dim `axis`. */
static Node *along(Graph *g, Node *line, int64_t axis, const Node *like)
{
    Shape kept = like->type.shape;
    kept.d[axis] = dim_const(g->cx->dims, 1);
    return graph_expand(g, graph_reshape(g, line, &kept), &like->type.shape);
}

/* Zeros up to the pieces' k. */
static Node *pad_depth(Graph *g, Node *x, int64_t axis, Dim depth)
{
    Dim more = dim_sub(g->cx->dims, depth, x->type.shape.d[axis]);
    Attr attrs[] = {{.key = ATTR_AXIS, .i = axis}, {.key = ATTR_HIGH, .dim = more}};
    return dim_is(more, 0) ? x : graph_add(g, OP_PAD, &x, 1, attrs, 2, LOC_NONE);
}

SplitOperand split_lines(Graph *g, Node *x, uint32_t from_end, bool turn, Dim depth, uint32_t terms)
{
    int64_t r = node_rank(x), axis = r - from_end;
    Node *size = graph_unary(g, OP_ABS, x);
    Node *most = graph_reduce(g, OP_REDUCE_MAX, size, &axis, 1, false);
    Node *nonzero[] = {graph_binary(g, OP_EQ, x, scalar(g, 0, x)), scalar(g, INFINITY, x), size};
    Node *least = graph_reduce(g, OP_REDUCE_MIN, graph_add(g, OP_WHERE, nonzero, 3, NULL, 0, x->loc), &axis, 1, false);
    Node *p = graph_unary(g, OP_POW2_FLOOR, most), *q = by(g, OP_MAXIMUM, p, 0x1p-112);
    Node *wide = graph_binary(g, OP_LT, least, by(g, OP_MUL, most, 0x1p-29));
    Node *bad = graph_binary(g, OP_OR, graph_unary(g, OP_ISINF, p), wide), *good_inv = by(g, OP_MUL, q, 0x1p-14);
    Node *signs[] = {bad, graph_unary(g, OP_NEG, good_inv), good_inv};
    Node *scale = graph_binary(g, OP_DIV, scalar(g, 0x1p14, q), q);
    if (turn) {
        x = swap_last(g, x);
        axis = r - 1;
    }
    Node *scaled = pad_depth(g, graph_binary(g, OP_MUL, x, along(g, scale, axis, x)), axis, depth), *hi = graph_cast(g, scaled, DT_F16);
    Node *rest = graph_binary(g, OP_SUB, scaled, graph_cast(g, hi, DT_F32));
    Node *lo = terms == 3 ? graph_cast(g, by(g, OP_MUL, rest, 2048), DT_F16) : NULL;
    return (SplitOperand){
        .hi = hi, .lo = lo,
        .inv = graph_add(g, OP_WHERE, signs, 3, NULL, 0, x->loc), .exact = x,
    };
}

/* A frozen right operand of which the pieces do not hold some columns: the product finds those in the original. */
static bool keeps(const Splitter *s, Str id)
{
    for (uint32_t i = 0; i < s->cx->opt->n_keeps; i++)
        if (!strcmp(s->cx->opt->keeps[i], id))
            return true;
    return false;
}

static Node *split_product(const Splitter *s, const Node *n, Str id)
{
    Graph *g = s->g;
    DimPool *p = g->cx->dims;
    Side side[2] = {side_of(g, n, 0), side_of(g, n, 1)};
    bool turn[2] = {turns(g, &side[0]), turns(g, &side[1])};
    bool along_k = side[0].k_last || side[1].k_last || turn[0] || turn[1];
    Dim k = depth_of(n), depth = !along_k ? k : dim_align_up(p, k, dim_is_const(k) && k->value >= LONG ? LINE : ALIGN);
    if (depth != k && !dim_is_const(k))
        return NULL;                                                      /* how much padding is not known */
    SplitOperand a = split_lines(g, side[0].x, side[0].k_last ? 1 : 2, turn[0], depth, s->terms),
                 b = split_lines(g, side[1].x, side[1].k_last ? 1 : 2, turn[1], depth, s->terms);
    Node *in[8];
    uint32_t count = 0;
    in[count++] = a.hi;
    in[count++] = b.hi;
    if (s->terms == 3) {
        in[count++] = a.lo;
        in[count++] = b.lo;
    }
    in[count++] = a.inv;
    in[count++] = b.inv;
    in[count++] = a.exact;
    if (!s->weight[n->in[1]->id] || keeps(s, id))
        in[count++] = b.exact;
    bool k_last[2] = {side[0].k_last || turn[0], side[1].k_last || turn[1]};
    Attr attrs[] = {{.key = ATTR_TRANS_A, .i = !k_last[0]}, {.key = ATTR_TRANS_B, .i = k_last[1]}, {.key = ATTR_TERMS, .i = s->terms}};
    Node *product = graph_add(g, OP_SPLIT_MATMUL, in, count, attrs, 3, n->loc);
    pawl_assert(product && type_equal(&product->type, &n->type), "a split product of another type:\n%s", graph_text(g->cx->scratch, g));
    return product;
}

/* ---- the pass ------------------------------------------------------------------------------------------------------------------- */
static Str family_id(const Splitter *s, const Node *n)
{
    StrBuf b = strbuf_new(s->cx->scratch);
    strbuf_add(&b, "split_matmul@");
    for (uint32_t i = 0; i < node_rank(n); i++) {
        dim_print(&b, n->type.shape.d[i]);
        strbuf_char(&b, 'x');
    }
    dim_print(&b, depth_of(n));
    return str_intern(s->g->cx->strs, b.text);
}

/* A split product carries its choice's id in its origin: who finds a weight that it does not hold must know which choice to undo. */
static const char ORIGIN[] = "rule:";

Str split_choice_id(Context *cx, const Node *n)
{
    bool known = n->op == OP_SPLIT_MATMUL && n->origin && !strncmp(n->origin, ORIGIN, sizeof ORIGIN - 1);
    pawl_assert(known, "a split product that does not know its choice");
    return str_intern(cx->strs, n->origin + sizeof ORIGIN - 1);
}

static void offer(const Splitter *s, Node *n, Str name)
{
    Graph *g = s->g;
    uint32_t before = g->nodes.n;
    Node *in[2] = {n, split_product(s, n, name)};
    if (!in[1])
        return;
    Attr id = {.key = ATTR_ID, .s = name};
    Node *choice = graph_add(g, OP_CHOICE, in, 2, &id, 1, n->loc);
    for (uint32_t i = before; i < g->nodes.n; i++)
        g->nodes.data[i]->origin = s->origin;
    in[1]->origin = str_format(g->cx->strs, "%s%s", ORIGIN, name);
    graph_replace(g, n, choice);
    RuleFiring f = {.rule = "split_matmul", .node = n->name, .loc = n->loc, .choice = id.s};
    vec_push(g->cx->arena, &s->cx->report->firings, f);
}

/* Products that already have the choice: the graph may have been through here. */
static Map *offered(const Splitter *s, Node *const *order, uint32_t n)
{
    Map *m = map_new(s->cx->scratch);
    for (uint32_t i = 0; i < n; i++)
        if (order[i]->op == OP_CHOICE && order[i]->n_in == 2 && order[i]->in[1]->op == OP_SPLIT_MATMUL)
            map_set_ptr(m, order[i]->in[0], order[i]);
    return m;
}

bool pass_split_matmul(PassContext *cx)
{
    Splitter s = {.cx = cx, .g = cx->graph, .terms = terms_of(cx->opt->numerics.matmul), .n_frozen = cx->graph->nodes.n};
    if (!cx->opt->f16_products || !s.terms)
        return false;
    uint32_t n, fired = cx->report->firings.n;
    Node **order = graph_order(cx->graph, cx->scratch, &n);
    s.frozen = graph_frozen(cx->graph, cx->scratch);
    s.origin = str_intern(cx->cx->strs, "rule:split_matmul");
    s.weight = find_weights(&s, order, n);
    Map *have = offered(&s, order, n);
    Vec(Node *) products = {0};
    Vec(Str) ids = {0};
    for (uint32_t i = 0; i < n; i++)
        if (wanted(&s, order[i]) && !map_get_ptr(have, order[i])) {
            vec_push(cx->scratch, &products, order[i]);
            vec_push(cx->scratch, &ids, family_id(&s, order[i]));
        }
    choices_number(cx->cx, ids.data, ids.n);
    for (uint32_t i = 0; i < products.n; i++)
        offer(&s, products.data[i], ids.data[i]);
    return cx->report->firings.n > fired;
}
