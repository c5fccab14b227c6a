/* passes/split_k.c — products with fewer tiles than the target has units, and a long k, as sums over pieces of k:
 *
 *     a[M, K] b[K, N]  =  sum over s of  a[s, M, K/s] b[s, K/s, N]                       partial sums in f32, rounded once, at the end
 *
 * The pieces are views: a batched product reads the operands where they lie. The sum over s adds in order, so the result is the same
 * every time, and is an ordinary reduction: what follows the product is fused with it. A k that is no multiple of s and whole
 * copies leaves its end to a product of its own, which is added to the sum.
 *
 * An f16 or bf16 product is asked for in f32. Products of f16 pieces (split_matmul) are cut with their originals; the activations among
 * those are split again by pieces of k, each with scales of its own, the weights' scales are the same for all pieces of k.
 *
 * How many pieces pay depends on the tiles that a schedule takes, so every product becomes a choice of some counts. With batches of
 * its own a product has tiles enough, or would need strides of two dims; it stays as it is.
 *
 * requires: nothing; after split_matmul, whose products it splits, and after tile_reductions, which looks for products.
 * preserves: all else. */
#include "passes/pass.h"
#include <string.h>

/* Tiles as they are counted here; rows up to which weights are streamed in groups of so many columns instead; k of a stage. */
enum { TILE = 128, FEW_ROWS = 64, GROUP = 16, STAGE = 64, ALIGN = 8 };
enum { LEAST_PIECE = 512, MOST_COUNTS = 3, MOST_INPUTS = 8 };

typedef struct { PassContext *cx; Graph *g; DimPool *p; bool *frozen; Str origin; } Splitter;

typedef struct { int64_t m, n, k; } Extents;

/* ---- which ---------------------------------------------------------------------------------------------------------------------- */
static bool swapped(const Node *n, uint32_t side) { return node_int(n, side ? ATTR_TRANS_B : ATTR_TRANS_A, 0) != 0; }

/* Of the last two dims, counted from the end, that which sums run along. */
static uint32_t depth_from_end(const Node *n, uint32_t side) { return (side == 0) == swapped(n, side) ? 2 : 1; }

static Dim depth_of(const Node *n, uint32_t which)
{
    const Node *x = n->in[which];
    return x->type.shape.d[node_rank(x) - depth_from_end(n, which % 2)];
}

/* One matrix times one matrix of known sizes; batches of a before one b are rows. */
static bool extents(const Splitter *s, const Node *n, Extents *out)
{
    uint32_t r = node_rank(n);
    bool rows = node_rank(n->in[1]) == 2 && !swapped(n, 0);
    Dim batch = dim_product(s->p, n->type.shape.d, r - 2), m = n->type.shape.d[r - 2], k = depth_of(n, 0);
    if (rows)
        m = dim_mul(s->p, batch, m);
    if ((!rows && !dim_is(batch, 1)) || !dim_is_const(m) || !dim_is_const(n->type.shape.d[r - 1]) || !dim_is_const(k))
        return false;
    *out = (Extents){m->value, n->type.shape.d[r - 1]->value, k->value};
    return out->m > 0 && out->n > 0;
}

static bool multiplies_halves(const Node *n)
{
    if (n->op != OP_MATMUL)
        return n->op == OP_SPLIT_MATMUL;
    return n->in[0]->type.dtype == DT_F16 || n->in[0]->type.dtype == DT_BF16;
}

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* k of a piece where `count` whole ones leave something: whole stages, or at least where copies can begin. */
static int64_t piece_depth(int64_t k, int64_t count)
{
    int64_t even = k / count;
    return even >= STAGE ? even / STAGE * STAGE : even / ALIGN * ALIGN;
}

/* The largest count up to `most`, but not much less, whose pieces are whole stages, or begin where copies can. */
static int64_t count_near(int64_t k, int64_t most)
{
    for (int64_t unit = STAGE; unit >= ALIGN; unit /= STAGE / ALIGN)
        for (int64_t s = most; s >= 2 && 4 * s >= 3 * most; s--)
            if (k % (s * unit) == 0)
                return s;
    return most;
}

/* Counts to choose among, the largest first: as many as have tiles for all units, and fewer, for smaller tiles. */
static uint32_t choose_counts(const Splitter *s, const Node *n, int64_t count[MOST_COUNTS])
{
    Extents x;
    uint32_t n_counts = 0;
    if (!multiplies_halves(n) || s->frozen[n->id] || !extents(s, n, &x))
        return 0;
    int64_t least = s->cx->opt->split_depth ? s->cx->opt->split_depth : LEAST_PIECE;       /* at least 2 ALIGN: no piece is empty */
    int64_t tiles = x.m <= FEW_ROWS ? ceil_div(x.n, GROUP) : ceil_div(x.m, TILE) * ceil_div(x.n, TILE);
    int64_t most = s->cx->opt->units / tiles;
    if (most > x.k / least)
        most = x.k / least;
    for (; most >= 2 && n_counts < MOST_COUNTS; most /= 2) {
        int64_t c = count_near(x.k, most);
        if (!n_counts || count[n_counts - 1] != c)
            count[n_counts++] = c;
    }
    return n_counts;
}

/* ---- pieces of operands ----------------------------------------------------------------------------------------------------------- */
typedef struct { int64_t count, depth; } Cut;             /* the first count * depth of k, in `count` pieces */

static Node *matrix(const Splitter *s, Node *x)
{
    uint32_t r = node_rank(x);
    Shape flat = {2, {dim_product(s->p, x->type.shape.d, r - 1), x->type.shape.d[r - 1]}};
    return graph_reshape(s->g, x, &flat);
}

static Node *part(const Splitter *s, Node *x, uint32_t axis, int64_t from, int64_t to)
{
    bool all = from == 0 && dim_is(x->type.shape.d[axis], to);
    return all ? x : graph_slice(s->g, x, (int)axis, dim_const(s->p, from), dim_const(s->p, to - from), 1);
}

static Node *pieces(const Splitter *s, Node *x, uint32_t axis, const Cut *cut)
{
    Node *whole = part(s, x, axis, 0, cut->count * cut->depth);
    Dim count = dim_const(s->p, cut->count), depth = dim_const(s->p, cut->depth);
    Shape apart = {3, {count, depth, x->type.shape.d[1]}};
    static const int64_t count_first[] = {1, 0, 2};
    if (axis == 0)
        return graph_reshape(s->g, whole, &apart);
    apart = (Shape){3, {x->type.shape.d[0], count, depth}};
    return graph_permute(s->g, graph_reshape(s->g, whole, &apart), count_first);
}

/* One number a line, the same for all pieces (cut), or as it is. */
static Node *scales(const Splitter *s, Node *inv, const Cut *cut)
{
    Dim lines = shape_count(s->p, &inv->type.shape);
    Shape one = {1, {lines}}, single = {2, {dim_const(s->p, 1), lines}}, all = {2, {dim_const(s->p, cut ? cut->count : 1), lines}};
    return cut ? graph_expand(s->g, graph_reshape(s->g, inv, &single), &all) : graph_reshape(s->g, inv, &one);
}

/* ---- products --------------------------------------------------------------------------------------------------------------------- */
/* A matrix by pieces of k, or what they leave of it. */
static Node *cut_matrix(const Splitter *s, const Node *n, uint32_t which, const Cut *cut, bool rest)
{
    Node *x = matrix(s, n->in[which]);
    uint32_t axis = 2 - depth_from_end(n, which % 2);
    return rest ? part(s, x, axis, cut->count * cut->depth, x->type.shape.d[axis]->value) : pieces(s, x, axis, cut);
}

/* The operands of side 0 or 1 of a split product, those that there are, to in[]. An activation is split by pieces of k: their maxima are
 * found by as many more blocks, and one block sees all of a line's piece and reads it once. A weight keeps the pieces that it has. */
static void cut_split_operand(const Splitter *s, const Node *n, uint32_t side, const Cut *cut, bool rest, Node **in)
{
    SplitOperand x = split_operand(n, side);
    Node *exact = NULL;
    for (uint32_t i = side; i < n->n_in; i += 2) {
        in[i] = n->in[i] == x.inv ? scales(s, x.inv, rest ? NULL : cut) : cut_matrix(s, n, i, cut, rest);
        exact = n->in[i] == x.exact ? in[i] : exact;
    }
    if (!exact || !x.inv || s->frozen[x.exact->id])
        return;
    uint32_t from_end = depth_from_end(n, side);
    Dim depth = in[side]->type.shape.d[node_rank(in[side]) - from_end];
    SplitOperand y = split_lines(s->g, exact, from_end, false, depth, x.lo ? 3 : 1);
    for (uint32_t i = side; i < n->n_in; i += 2)
        in[i] = n->in[i] == x.hi ? y.hi : n->in[i] == x.lo ? y.lo : n->in[i] == x.inv ? y.inv : in[i];
}

static Node *product(const Splitter *s, const Node *n, const Cut *cut, bool rest)
{
    Node *in[MOST_INPUTS];
    for (uint32_t side = 0; side < 2; side++)
        if (n->op == OP_SPLIT_MATMUL)
            cut_split_operand(s, n, side, cut, rest, in);
        else
            in[side] = cut_matrix(s, n, side, cut, rest);
    Attr attrs[3] = {{.key = ATTR_TRANS_A, .i = swapped(n, 0)}, {.key = ATTR_TRANS_B, .i = swapped(n, 1)}};
    attrs[2] = n->op == OP_MATMUL ? (Attr){.key = ATTR_DTYPE, .dtype = DT_F32} : *node_attr(n, ATTR_TERMS);
    Node *out = graph_add(s->g, n->op, in, n->n_in, attrs, 3, n->loc);
    pawl_assert(out, "a product by pieces of k is not well typed:\n%s", graph_text(s->cx->scratch, s->g));
    return out;
}

/* Pieces of k are the same for an original and what it was split into: zeros behind the original's k belong to the rest. */
static Node *split(const Splitter *s, const Node *n, int64_t count)
{
    int64_t k = depth_of(n, 0)->value, shortest = k, axis = 0;          /* shortest: where the original ends */
    for (uint32_t i = 0; i < n->n_in; i++)
        if (node_rank(n->in[i]) == node_rank(n->in[i % 2]) && depth_of(n, i)->value < shortest)
            shortest = depth_of(n, i)->value;
    Cut cut = {count, k / count};
    if (k % (count * ALIGN) || shortest < k)
        cut.depth = piece_depth(shortest, count);
    Node *sum = graph_reduce(s->g, OP_REDUCE_SUM, product(s, n, &cut, false), &axis, 1, false);
    if (cut.count * cut.depth < shortest)
        sum = graph_binary(s->g, OP_ADD, sum, product(s, n, &cut, true));
    return graph_reshape(s->g, graph_cast(s->g, sum, n->type.dtype), &n->type.shape);
}

/* ---- the pass --------------------------------------------------------------------------------------------------------------------- */
static const char ID[] = "split_k@";

static Str family_id(const Splitter *s, const Node *n)
{
    StrBuf b = strbuf_new(s->cx->scratch);
    strbuf_add(&b, ID);
    for (uint32_t i = 0; i < node_rank(n); i++) {
        dim_print(&b, n->type.shape.d[i]);
        strbuf_char(&b, 'x');
    }
    dim_print(&b, depth_of(n, 0));
    return str_intern(s->g->cx->strs, b.text);
}

static void offer(const Splitter *s, Node *n, Str id)
{
    Graph *g = s->g;
    uint32_t before = g->nodes.n, n_in = 1;
    int64_t count[MOST_COUNTS];
    Node *in[1 + MOST_COUNTS] = {n};
    uint32_t n_counts = choose_counts(s, n, count);
    for (uint32_t i = 0; i < n_counts; i++)
        in[n_in++] = split(s, n, count[i]);
    Attr attr = {.key = ATTR_ID, .s = id};
    Node *choice = graph_add(g, OP_CHOICE, in, n_in, &attr, 1, n->loc);
    for (uint32_t i = before; i < g->nodes.n; i++)
        g->nodes.data[i]->origin = g->nodes.data[i]->op == n->op && n->origin ? n->origin : s->origin;
    graph_replace(g, n, choice);
    RuleFiring f = {.rule = "split_k", .node = n->name, .loc = n->loc, .choice = id};
    vec_push(g->cx->arena, &s->cx->report->firings, f);
}

bool pass_split_k(PassContext *cx)
{
    Splitter s = {.cx = cx, .g = cx->graph, .p = cx->cx->dims, .origin = str_intern(cx->cx->strs, "rule:split_k")};
    Vec(Node *) products = {0};
    Vec(Str) ids = {0};
    if (!cx->opt->units || cx->opt->numerics.matmul == NUM_IEEE)
        return false;
    uint32_t n;
    int64_t count[MOST_COUNTS];
    Node **order = graph_order(cx->graph, cx->scratch, &n);
    bool *offered = arena_new_array(cx->scratch, bool, cx->graph->nodes.n + 1);
    s.frozen = graph_frozen(cx->graph, cx->scratch);
    for (uint32_t i = 0; i < n; i++)
        if (order[i]->op == OP_CHOICE && !strncmp(node_attr(order[i], ATTR_ID)->s, ID, sizeof ID - 1))
            offered[order[i]->in[0]->id] = true;
    for (uint32_t i = 0; i < n; i++)
        if (!offered[order[i]->id] && choose_counts(&s, order[i], count)) {
            vec_push(cx->scratch, &products, order[i]);
            vec_push(cx->scratch, &ids, family_id(&s, order[i]));
        }
    choices_number(cx->cx, ids.data, ids.n);
    for (uint32_t i = 0; i < products.n; i++)
        offer(&s, products.data[i], ids.data[i]);
    return products.n > 0;
}
