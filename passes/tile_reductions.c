/* passes/tile_reductions.c — reductions along the rows of a matrix product in two steps, so that the first can be done on the piece of
 * the product that a block has at hand:
 *
 *     reduce(x[…, N])  =  reduce(reduce(x as […, N/P, P]))                                        sum, max, min
 *
 * for x that is made of a product element by element. One value a piece of P neighbouring columns is stored, not the product, unless
 * somebody else reads it. A reduction behind another one would need the rows whole; two kinds do without, for any h that is constant
 * along the row (its maximum, its mean):
 *
 *     sum exp(x - h)  =  sum over pieces  s_c exp(m_c - h),         m_c = max x, s_c = sum exp(x - m_c) in the piece
 *     sum (x - h)^2   =  sum over pieces  q_c + P (a_c - h)^2,      a_c = mean x, q_c = sum (x - a_c)^2 in the piece
 *
 * softmax, log-sum-exp, variances. Neither cancels: the terms of both are positive. m_c is 0 in s_c where it is infinite, so that no
 * Inf - Inf comes in; in exp(m_c - h) it is not, so that a piece of -Inf counts for nothing whatever h is.
 *
 * Whether it pays depends on who computes the product, so every place becomes a choice.
 *
 * requires: nothing; last, since rules would join the two sums again.  preserves: all else. */
#include "passes/pass.h"
#include <string.h>

enum { LEAST_PIECE = 16, MOST_PIECE = 128, LEAST_ROWS = 64 };

/* How a value hangs on the youngest product among its ancestors. WITHIN: its elements are made of elements of one piece of the
 * product, each of its own or each one for a piece. BEYOND: of more. */
typedef enum { APART, WITHIN, BEYOND } Relation;
typedef struct { Node *product; Relation relation; int64_t row; } Stand;      /* row: columns of pieces that it reduces itself; 0: none */

typedef struct { PassContext *cx; Graph *g; DimPool *p; Stand *stand; uint32_t n_stand; bool *frozen, *offered; Str origin; } Tiler;

static Dim count(const Tiler *t, const Node *n) { return shape_count(t->p, &n->type.shape); }

static Dim last_dim(const Node *n) { return n->type.shape.d[node_rank(n) - 1]; }

static bool whole(const Tiler *t, const Node *n, const Stand *s) { return count(t, n) == count(t, s->product); }

/* ---- standing ------------------------------------------------------------------------------------------------------------------- */
/* Columns of the piece that `n` reduces, if it reduces pieces: its operand's last dim, a power of two. */
static int64_t piece_of(const Node *n)
{
    const Attr *axes = node_attr(n, ATTR_AXES);
    const Node *x = n->in[0];
    bool of_last = axes && axes->n == 1 && axes->ints[0] == node_rank(x) - 1;
    if (n->op == OP_ARGMAX || n->op == OP_ARGMIN || !of_last || !dim_is_const(last_dim(x)))
        return 0;
    int64_t row = last_dim(x)->value;
    return row >= 2 && row <= MOST_PIECE && (row & (row - 1)) == 0 ? row : 0;
}

static bool repeats_along_piece(const Node *n, int64_t row)
{
    const Shape *from = &n->in[0]->type.shape, *to = &n->type.shape;
    if (!row || from->rank != to->rank || !dim_is(to->d[to->rank - 1], row) || !dim_is(from->d[from->rank - 1], 1))
        return false;
    return memcmp(from->d, to->d, (to->rank - 1) * sizeof(Dim)) == 0;
}

/* Of all alternatives, the first that stands near its product; the choice takes the product's place. */
static Stand choice_stand(const Tiler *t, Node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        Stand s = t->stand[n->in[i]->id];
        if (s.relation == WITHIN && whole(t, n->in[i], &s))
            return (Stand){n, WITHIN, s.row};
    }
    return (Stand){n, BEYOND, 0};
}

static Stand stand_of(const Tiler *t, Node *n)
{
    Stand s = {0};
    if (op_class(n->op) == CLASS_CONTRACT)
        return t->frozen[n->id] ? s : (Stand){n, WITHIN, 0};
    for (uint32_t i = 0; i < n->n_in; i++) {
        Node *product = t->stand[n->in[i]->id].product;
        if (product && (!s.product || product->id > s.product->id))
            s.product = product;
    }
    if (!s.product)
        return s;
    if (op_class(n->op) == CLASS_CHOICE)
        return choice_stand(t, n);
    for (uint32_t i = 0; i < n->n_in; i++) {
        Stand x = t->stand[n->in[i]->id];
        if (x.product != s.product)
            continue;
        s.relation = x.relation == BEYOND || (s.row && x.row && s.row != x.row) ? BEYOND : s.relation == BEYOND ? BEYOND : WITHIN;
        s.row = x.row ? x.row : s.row;
    }
    OpClass c = op_class(n->op);
    bool near = c == CLASS_POINTWISE || c == CLASS_CAST || n->op == OP_RESHAPE || (n->op == OP_EXPAND && repeats_along_piece(n, s.row));
    if (s.relation == WITHIN && c == CLASS_REDUCE && whole(t, n->in[0], &s)) {
        int64_t row = piece_of(n);
        near = row && (!s.row || s.row == row);
        s.row = row;
    }
    s.relation = near ? s.relation : BEYOND;
    return s;
}

/* ---- the rewrites ----------------------------------------------------------------------------------------------------------------- */
typedef struct { Tiler *t; Graph *g; Node *reduce, *x; int64_t piece; Shape pieces; } Place;   /* pieces: one value a piece */

static Node *in_pieces(const Place *l, Node *x)
{
    Shape s = l->pieces;
    s.d[s.rank++] = dim_const(l->t->p, l->piece);
    return graph_reshape(l->g, x, &s);
}

static Node *reduce_pieces(const Place *l, Op op, Node *tiled)
{
    int64_t axis = node_rank(tiled) - 1;
    return graph_reduce(l->g, op, tiled, &axis, 1, false);
}

/* The reduction over what the pieces gave. */
static Node *reduce_rest(const Place *l, Node *partial)
{
    return graph_copy_with(l->g, l->reduce, &partial);
}

static Node *along_piece(const Place *l, Node *partial, const Node *tiled)
{
    Shape s = l->pieces;
    s.d[s.rank++] = dim_const(l->t->p, 1);
    return graph_expand(l->g, graph_reshape(l->g, partial, &s), &tiled->type.shape);
}

static Node *by(Graph *g, Op op, Node *x, double v) { return graph_binary(g, op, x, graph_const(g, x->type.dtype, v)); }

static Node *plain(const Place *l)
{
    return reduce_rest(l, reduce_pieces(l, l->reduce->op, in_pieces(l, l->x)));
}

/* A sum of f16 or bf16 adds in fp32 and rounds once, at its end. */
static Node *narrow_sum(const Place *l)
{
    Place wide = *l;
    wide.x = graph_cast(l->g, l->x, DT_F32);
    return graph_cast(l->g, plain(&wide), l->reduce->type.dtype);
}

static Node *sum_of_exponentials(const Place *l, Node *h)
{
    Graph *g = l->g;
    Node *x = in_pieces(l, l->x), *most = reduce_pieces(l, OP_REDUCE_MAX, x);
    Node *zero = graph_expand(g, graph_const(g, x->type.dtype, 0), &most->type.shape);
    Node *finite[] = {graph_unary(g, OP_ISINF, most), zero, most};
    Node *base = graph_add(g, OP_WHERE, finite, 3, NULL, 0, l->reduce->loc);
    Node *sum = reduce_pieces(l, OP_REDUCE_SUM, graph_unary(g, OP_EXP, graph_binary(g, OP_SUB, x, along_piece(l, base, x))));
    Node *shift = graph_binary(g, OP_SUB, most, graph_expand(g, h, &l->pieces));
    return reduce_rest(l, graph_binary(g, OP_MUL, sum, graph_unary(g, OP_EXP, shift)));
}

static Node *sum_of_squares(const Place *l, Node *h)
{
    Graph *g = l->g;
    Node *x = in_pieces(l, l->x);
    Node *mean = by(g, OP_MUL, reduce_pieces(l, OP_REDUCE_SUM, x), 1 / (double)l->piece);
    Node *d = graph_binary(g, OP_SUB, x, along_piece(l, mean, x)), *off = graph_binary(g, OP_SUB, mean, graph_expand(g, h, &l->pieces));
    Node *within = reduce_pieces(l, OP_REDUCE_SUM, graph_binary(g, OP_MUL, d, d));
    Node *between = by(g, OP_MUL, graph_binary(g, OP_MUL, off, off), (double)l->piece);
    return reduce_rest(l, graph_binary(g, OP_ADD, within, between));
}

/* ---- where ------------------------------------------------------------------------------------------------------------------------ */
/* Operands of two pieces each take the memory that a block would have for wider rows of its product. */
static bool of_pieces(const Node *product)
{
    bool any = product->op == OP_SPLIT_MATMUL;
    for (uint32_t i = 0; i < product->n_in && product->op == OP_CHOICE; i++)
        any |= product->in[i]->op == OP_SPLIT_MATMUL;
    return any;
}

/* Columns of a piece: those that the operand's own reductions have, else what was asked for, or the largest part of it that fits. */
static int64_t choose_piece(const Tiler *t, const Node *x, const Stand *s)
{
    Dim row = last_dim(x), columns = last_dim(s->product);
    int64_t piece = s->row ? s->row : of_pieces(s->product) ? t->cx->opt->piece / 2 : t->cx->opt->piece;
    if (!dim_is_const(row) || !dim_is_const(columns) || !node_rank(x))
        return 0;
    while (!s->row && piece >= LEAST_PIECE && (row->value % piece || columns->value % piece))
        piece /= 2;
    bool fits = s->row || piece >= LEAST_PIECE;
    return fits && row->value % piece == 0 && row->value >= 2 * piece ? piece : 0;
}

static bool many_rows(const Tiler *t, const Node *product)
{
    Dim rows = dim_product(t->p, product->type.shape.d, node_rank(product) - 1);
    return !dim_is_const(rows) || rows->value >= LEAST_ROWS;
}

static bool stands_whole(const Tiler *t, const Node *x, const Stand *at)
{
    Stand s = x->id < t->n_stand ? t->stand[x->id] : (Stand){0};
    return s.relation == WITHIN && s.product == at->product && whole(t, x, &s);
}

/* x - h, h constant along the last dim: *x and *h. */
static bool is_shifted(const Tiler *t, const Node *n, const Stand *at, Node **x, Node **h)
{
    if (n->op != OP_SUB || !stands_whole(t, n->in[0], at) || n->in[1]->op != OP_EXPAND)
        return false;
    *x = n->in[0];
    *h = n->in[1]->in[0];
    return !node_rank(*h) || dim_is(last_dim(*h), 1);
}

static bool reduces_last(const Node *n)
{
    const Attr *axes = node_attr(n, ATTR_AXES);
    for (uint32_t i = 0; axes && i < axes->n; i++)
        if (axes->ints[i] == node_rank(n->in[0]) - 1)
            return true;
    return false;
}

static bool aim(Place *l, Node *x)
{
    const Stand *s = &l->t->stand[x->id];
    l->x = x;
    l->piece = choose_piece(l->t, x, s);
    if (!l->piece || !many_rows(l->t, s->product))
        return false;
    l->pieces = x->type.shape;
    l->pieces.d[l->pieces.rank - 1] = dim_const(l->t->p, last_dim(x)->value / l->piece);
    return l->pieces.rank < MAX_RANK;
}

static Node *rewritten(Tiler *t, Node *n)
{
    Node *v = n->in[0], *x, *h;
    Stand s = t->stand[v->id];
    Place l = {.t = t, .g = t->g, .reduce = n};
    bool sum = n->op == OP_REDUCE_SUM;
    if ((!sum && n->op != OP_REDUCE_MAX && n->op != OP_REDUCE_MIN) || s.relation == APART || !reduces_last(n) || !whole(t, v, &s))
        return NULL;
    bool narrow = sum && (v->type.dtype == DT_F16 || v->type.dtype == DT_BF16) && n->type.dtype == v->type.dtype;
    if (sum && !narrow && (v->type.dtype != DT_F32 || n->type.dtype != DT_F32))
        return NULL;
    if (s.relation == WITHIN)
        return piece_of(n) || !aim(&l, v) ? NULL : narrow ? narrow_sum(&l) : plain(&l);
    if (!sum || narrow || t->cx->opt->numerics.otherwise == NUM_IEEE)
        return NULL;
    if (v->op == OP_EXP && is_shifted(t, v->in[0], &s, &x, &h) && aim(&l, x))
        return sum_of_exponentials(&l, h);
    if (v->op == OP_MUL && v->in[0] == v->in[1] && is_shifted(t, v->in[0], &s, &x, &h) && aim(&l, x))
        return sum_of_squares(&l, h);
    return NULL;
}

/* ---- the pass --------------------------------------------------------------------------------------------------------------------- */
static const char ID[] = "tile_reductions@";

static Str choice_id(const Tiler *t, const Node *product)
{
    StrBuf b = strbuf_new(t->cx->scratch);
    strbuf_add(&b, ID);
    for (uint32_t i = 0; i < node_rank(product); i++) {
        strbuf_add(&b, i ? "x" : "");
        dim_print(&b, product->type.shape.d[i]);
    }
    return str_intern(t->g->cx->strs, b.text);
}

static bool is_own(const Node *n)
{
    return n->op == OP_CHOICE && !strncmp(node_attr(n, ATTR_ID)->s, ID, sizeof ID - 1);
}

static void offer(Tiler *t, Node *n)
{
    Graph *g = t->g;
    uint32_t before = g->nodes.n;
    Node *in[2] = {n, rewritten(t, n)};
    if (!in[1])
        return;
    Attr id = {.key = ATTR_ID, .s = choice_id(t, t->stand[n->in[0]->id].product)};
    Node *choice = graph_add(g, OP_CHOICE, in, 2, &id, 1, n->loc);
    for (uint32_t i = before; i < g->nodes.n; i++)
        g->nodes.data[i]->origin = t->origin;
    graph_replace(g, n, choice);
    RuleFiring f = {.rule = "tile_reductions", .node = n->name, .loc = n->loc, .choice = id.s};
    vec_push(g->cx->arena, &t->cx->report->firings, f);
}

bool pass_tile_reductions(PassContext *cx)
{
    Tiler t = {.cx = cx, .g = cx->graph, .p = cx->cx->dims, .n_stand = cx->graph->nodes.n};
    if (!cx->opt->piece)
        return false;
    uint32_t n, fired = cx->report->firings.n;
    Node **order = graph_order(cx->graph, cx->scratch, &n);
    t.stand = arena_new_array(cx->scratch, Stand, t.n_stand + 1);
    t.frozen = graph_frozen(cx->graph, cx->scratch);
    t.origin = str_intern(cx->cx->strs, "rule:tile_reductions");
    t.offered = arena_new_array(cx->scratch, bool, t.n_stand + 1);
    for (uint32_t i = 0; i < n; i++) {
        t.stand[order[i]->id] = stand_of(&t, order[i]);
        if (is_own(order[i]))
            t.offered[order[i]->in[0]->id] = true;
    }
    for (uint32_t i = 0; i < n; i++)
        if (op_class(order[i]->op) == CLASS_REDUCE && !t.offered[order[i]->id])
            offer(&t, order[i]);
    return cx->report->firings.n > fired;
}
