/* codegen/kinds/gemm_epilogue.c — what a warp does with a staged piece of a product, 16 rows by `width` columns in fp32: the expressions
 * of the groups that read it, in vectors of neighbouring columns, so that what they load beside the product and what they store
 * moves in 16 bytes a thread.
 *
 * Where a group reads its product by short rows (matmul_rows.c), a piece has whole ones: reductions go over lanes, then over
 * neighbouring threads, and a value at another column of the row is found in the piece. Groups that share a product have columns of
 * their own; which ones a piece belongs to is one question for the whole warp.
 *
 * With bulk stores the piece is not staged: pairs of sums are worked on in registers, results go to boxes in shared memory, and those
 * out by the copy engine. */
#include "codegen/group_form.h"
#include "codegen/kinds/gemm_epilogue.h"
#include "codegen/kinds/product.h"

enum { MOST_PASSES = 32 /* over a piece of 128 columns, in vectors of two */ };

/* Vectors of 16 bytes of the widest output. */
static uint32_t lanes_of(const Group *g, const MatmulReads *r, uint32_t width)
{
    uint32_t widest = 2;
    for (uint32_t i = 0; i < g->outputs.n; i++)
        if (dtype_bytes(g->outputs.data[i].node->type.dtype) > widest)
            widest = dtype_bytes(g->outputs.data[i].node->type.dtype);
    uint32_t lanes = 16 / widest;
    lanes = lanes < 2 ? 2 : lanes > width / 4 ? width / 4 : lanes;
    while (r->row && lanes > 2 && lanes > r->row)
        lanes /= 2;
    return lanes;
}

/* A vector of neighbouring columns: among those of the group, in the piece, staged. Always: its columns from `first` on. */
typedef struct { Dim row, first, col, in_row, in_col, place; KInst *mask; } Spot;

typedef struct {
    KindBuild *b;
    Kernel *k;
    DimPool *p;
    const KGemm *g;
    const Node *n;
    const Group *group;
    const MatmulReads *reads;
    Group rows;                          /* the group, with the dims that count rows as its outer ones */
    Dim piece;                           /* number of the piece among those of its row */
    uint32_t lanes, across, down;        /* of a vector; threads along a row; rows at a time */
    const GemmBox *boxes;                /* of bulk stores: an output each */
    const Spot *at;                      /* where elements of the product are looked for */
} Finish;

/* A pass takes `down` rows, the first of which `from` says, of the columns from `over` on. */
static Spot spot_at(Finish *e, Dim from, uint32_t over)
{
    DimPool *p = e->p;
    const KGemm *g = e->g;
    Dim columns = e->reads->columns;
    Dim r = dim_add(p, dim_floordiv(p, g->lane, dim_const(p, e->across)), from);
    Dim c = dim_add_const(p, dim_mul_const(p, dim_mod(p, g->lane, dim_const(p, e->across)), e->lanes), over);
    Dim row = dim_add(p, g->row, r), first = dim_add(p, dim_mul_const(p, e->piece, g->width), c), l = kernel_lane(p, e->lanes);
    bool vectors = dim_divides(p, dim_const(p, e->lanes), columns);
    Dim own = dim_mul_const(p, g->warp, g->parts * GEMM_PIECE_ROWS * (g->width + 8));
    /* pieces that begin past an end of the product, or of the group's columns, do not come here */
    bool all_rows = !g->groups && dim_divides(p, dim_const(p, GEMM_PIECE_ROWS), g->m), all_columns = vectors && dim_lt(p, first, columns);
    KInst *in_row = all_columns ? NULL : vectors ? k_test(e->k, first, columns, 1) : k_test(e->k, dim_add(p, first, l), columns, e->lanes);
    return (Spot){
        .row = row, .first = first, .col = dim_add(p, first, l), .in_row = r, .in_col = dim_add(p, c, l),
        .mask = mask_and(e->k, all_rows ? NULL : k_test(e->k, row, g->groups ? g->end : g->m, 1), in_row),
        .place = dim_add(p, own, dim_add(p, dim_mul_const(p, r, g->width + 8), dim_add(p, c, l))),
    };
}

/* The first element of the warp's boxes that this piece has. */
static Dim own_boxes(const Finish *e)
{
    return dim_mul_const(e->p, dim_add(e->p, dim_mul_const(e->p, e->g->warp, 2), e->g->turn), GEMM_PIECE_ROWS * e->g->width);
}

/* Element (row, col) of the product by its own coordinates. */
static Index element_at(const Finish *e, Dim row, Dim col)
{
    return product_element(e->p, e->n, e->g->batch, e->g->at_batch, e->g->m, row, col);
}

static Dim within_row(const Finish *e, Dim col) { return dim_mod(e->p, col, dim_const(e->p, e->reads->row)); }

/* Coordinates in the group's domain; by rows: of the position among the outer dims, and along the row. */
static void coords_at(const Finish *e, const Spot *s, Dim *coords)
{
    if (!e->reads->in_order) {
        Index at = element_at(e, s->row, s->col);
        matmul_coords(e->p, e->group, e->n, e->reads, &at, coords);
        return;
    }
    Dim n = dim_const(e->p, e->reads->row), rows = s->row;
    if (!dim_is(e->g->batch, 1))
        rows = dim_add(e->p, dim_mul(e->p, e->g->at_batch, e->g->m), s->row);
    Dim outer = dim_add(e->p, dim_mul(e->p, rows, dim_floordiv(e->p, e->reads->columns, n)), dim_floordiv(e->p, s->first, n));
    bool one = dim_is(group_row_count(e->p, &e->rows), 1);
    group_coords(e->p, &e->rows, outer, one ? dim_const(e->p, 0) : within_row(e, s->col), coords);
}

/* The symbol of the reductions' rows in a place that they read from; NULL: there is none, or more than it. */
static Dim row_symbol(const Finish *e, const GroupAccess *a)
{
    Dim rest = a->flat;
    for (uint32_t d = 0; d < e->group->domain.rank; d++)
        rest = dim_is_const(e->group->sym[d]) ? rest : dim_subst(e->p, rest, &(DimSubst){e->group->sym[d], dim_const(e->p, 0)}, 1);
    return rest->kind == DIM_SYM && rest->lo == 0 && rest->hi == e->reads->row - 1 ? rest : NULL;
}

/* Where an access of the group is at a spot. False: it may be outside of the value. */
static bool access_at(const Finish *e, const Spot *s, const GroupAccess *a, Index *from)
{
    Dim coords[MAX_RANK], r;
    Index at = a->at;
    coords_at(e, s, coords);
    bool in_bounds = group_access_plain(e->p, e->group, a);
    if (!in_bounds && e->reads->row && (r = row_symbol(e, a))) {
        for (uint32_t d = 0; d < node_rank(a->node); d++)
            at.d[d] = dim_subst(e->p, at.d[d], &(DimSubst){r, within_row(e, s->col)}, 1);
        in_bounds = true;
    }
    *from = group_at(e->p, e->group, &at, node_rank(a->node), coords);
    for (uint32_t d = 0; d < node_rank(a->node); d++)
        in_bounds &= from->d[d]->lo >= 0 && a->at.d[d]->hi < a->node->type.shape.d[d]->hi;
    return in_bounds;
}

/* What the outputs and reductions need beside the product is on its way while other rows are worked on. */
static void load_early(Finish *e, const Spot *s)
{
    GroupAccesses all = group_accesses(e->b->problem.cx, e->group);
    Index from;
    lower_mask(e->b->l, s->mask);
    for (uint32_t i = 0; i < all.n; i++)
        if (access_at(e, s, &all.a[i], &from))
            lower_value(e->b->l, all.a[i].node, &from, e->lanes);
    lower_mask(e->b->l, NULL);
}

/* Do two passes load the same? Then it is loaded once, early. */
static bool loads_alike(const Finish *e, const Spot *s, const Spot *other)
{
    GroupAccesses all = group_accesses(e->b->problem.cx, e->group);
    bool alike = s->mask == other->mask;
    for (uint32_t i = 0; i < all.n; i++) {
        Index a, b;
        if (access_at(e, s, &all.a[i], &a) && access_at(e, other, &all.a[i], &b))
            alike &= memcmp(a.d, b.d, sizeof(Dim) * node_rank(all.a[i].node)) == 0;
    }
    return alike;
}

/* A row's threads are neighbours in a warp: sums over lanes, then over threads. */
static void reduce_rows(Finish *e, const Spot *s)
{
    Dim coords[MAX_RANK];
    coords_at(e, s, coords);
    lower_mask(e->b->l, s->mask);
    for (uint32_t i = 0; i < e->group->reduces.n; i++) {
        const GroupReduce *r = &e->group->reduces.data[i];
        Index at = group_at(e->p, e->group, &r->at, node_rank(r->node), coords), in = index_reduced(e->p, r->node, &at, within_row(e, s->col));
        KInst *v = k_splat(e->k, lower_value(e->b->l, r->node->in[0], &in, e->lanes), e->lanes);
        v = k_lane_reduce(e->k, reduce_op(r->node), k_cast(e->k, v, compute_type(r->node->type.dtype)));
        lower_know(e->b->l, r->node, &at, block_reduce(e->b, r->node, v, (uint32_t)e->reads->row / e->lanes));
    }
    lower_mask(e->b->l, NULL);
}

/* An element of the spot's row, in the piece: where the spot is, or by rows anywhere in its own; then a place past an end of that row
 * (under a mask that is off) stands for one inside. */
static KInst *find(void *arg, const Index *at, uint32_t lanes)
{
    Finish *e = arg;
    const Spot *s = e->at;
    DimPool *p = e->p;
    Dim col = dim_sub(p, at->d[node_rank(e->n) - 1], e->reads->start[0]), beside = dim_sub(p, col, s->col);
    if (e->reads->row) {
        Dim l = kernel_lane(p, lanes), aligned = dim_sub(p, col, l), width = dim_const(p, lanes);
        col = lanes > 1 && dim_divides(p, width, aligned) && e->reads->row >= lanes ? dim_add(p, within_row(e, aligned), l) : within_row(e, col);
        beside = dim_sub(p, col, within_row(e, s->col));
    }
    return k_shared_load(e->k, e->g->stage, dim_add(p, s->place, beside), lanes);
}

static void find_product(Finish *e, const Spot *s, uint32_t pass)
{
    bool in_parts = e->g->bulk || e->g->parts > 1;
    e->at = s;
    if (!in_parts)
        lower_find(e->b->l, e->n, find, e);
    for (uint32_t i = 0; in_parts && i < e->g->parts; i++) {
        Dim place = dim_add_const(e->p, s->place, i * GEMM_PIECE_ROWS * (e->g->width + 8));
        Index at = element_at(e, s->row, dim_add(e->p, s->col, e->g->part_start[i]));
        KInst *v = e->g->bulk ? k_sum(e->k, i * e->g->width / 4 + pass) : k_shared_load(e->k, e->g->stage, place, e->lanes);
        lower_know(e->b->l, e->n, &at, v);
    }
}

/* What the outputs are here goes to their boxes. What is past an end of the product is not masked: the copy engine leaves it out. */
static void fill_boxes(Finish *e, const Spot *s, const Dim *coords)
{
    DimPool *p = e->p;
    lower_mask(e->b->l, s->mask);
    for (uint32_t i = 0; i < e->group->outputs.n; i++) {
        const GroupOutput *o = &e->group->outputs.data[i];
        Index at = group_at(p, e->group, &o->at, node_rank(o->node), coords);
        KInst *v = k_splat(e->k, lower_value(e->b->l, o->node, &at, e->lanes), e->lanes);
        Dim columns = dim_const(p, e->boxes[i].columns), line = dim_mul_const(p, dim_floordiv(p, s->in_col, columns), GEMM_PIECE_ROWS);
        Dim place = dim_add(p, dim_mul(p, dim_add(p, line, s->in_row), columns), dim_mod(p, s->in_col, columns));
        k_shared_store(e->k, e->boxes[i].shared, dim_add(p, own_boxes(e), place), v, NULL);
    }
    lower_mask(e->b->l, NULL);
}

/* The piece's boxes of all outputs on their way, as one group. */
static void store_boxes(Finish *e)
{
    DimPool *p = e->p;
    k_bulk_fence(e->k);
    for (uint32_t i = 0; i < e->group->outputs.n; i++) {
        const GemmBox *box = &e->boxes[i];
        for (uint32_t c = 0; c < e->g->width; c += box->columns) {
            const Dim at[] = {dim_add_const(p, dim_mul_const(p, e->piece, e->g->width), c), e->g->row, e->g->at_batch};
            k_bulk_store(e->k, box->map, at, box->shared, dim_add_const(p, own_boxes(e), c * GEMM_PIECE_ROWS));
        }
    }
    k_bulk_commit(e->k);
}

/* By rows: outputs with one value a row are stored by its first thread. */
static void store_rows(Finish *e, const Spot *s, const Dim *coords)
{
    uint64_t along = group_outputs_along(&e->rows), all = e->group->outputs.n < 64 ? ((uint64_t)1 << e->group->outputs.n) - 1 : ~(uint64_t)0;
    if (all & along)
        store_some_at(e->b, all & along, coords, e->lanes, s->mask);
    if (!(all & ~along))
        return;
    Dim in_row = dim_mod(e->p, e->g->lane, dim_const(e->p, e->reads->row / e->lanes)), outer[MAX_RANK];
    for (uint32_t d = 0; d < e->group->domain.rank; d++)
        outer[d] = e->reads->outer & 1u << d ? coords[d] : dim_const(e->p, 0);
    store_some_at(e->b, all & ~along, outer, 1, mask_and(e->k, s->mask, k_test(e->k, in_row, dim_const(e->p, 1), 1)));
}

static void finish(Finish *e, const Spot *s, uint32_t pass)
{
    Dim coords[MAX_RANK];
    find_product(e, s, pass);
    if (e->group->reduces.n)
        reduce_rows(e, s);
    coords_at(e, s, coords);
    if (e->g->bulk)
        fill_boxes(e, s, coords);
    else if (e->reads->row)
        store_rows(e, s, coords);
    else
        store_outputs_at(e->b, coords, e->lanes, s->mask);
    lower_find(e->b->l, e->n, NULL, NULL);
}

/* All of a piece that is held in registers, which have no addresses. */
static void at_once(Finish *e)
{
    Spot s[MOST_PASSES];
    uint32_t passes = GEMM_PIECE_ROWS * e->g->width / (32 * e->lanes), down = GEMM_PIECE_ROWS / e->down;
    for (uint32_t i = 0; i < passes; i++) {
        s[i] = spot_at(e, dim_const(e->p, i % down * e->down), i / down * e->across * e->lanes);
        load_early(e, &s[i]);
    }
    k_bulk_wait(e->k, 1);
    for (uint32_t i = 0; i < passes; i++)
        finish(e, &s[i], i);
    store_boxes(e);
}

/* Passes over a staged piece in a turn of a loop. All of them where they are little code: they hide each other's latency. Where elements
 * are much work, those of a vector do, and more of them only take long to compile, and registers. What differs between rows is loaded
 * for all passes at the start. */
static uint32_t passes_in_turn(Finish *e, uint32_t passes)
{
    enum { ENOUGH = 128 };                                 /* operations */
    uint32_t least = e->reads->row ? 2 : 1;                /* reductions wait for each other's lanes */
    float cost = 0;
    for (uint32_t i = 0; i < e->group->nodes.n; i++)
        cost += group_op_cost(e->group->nodes.data[i]) * (float)e->lanes;
    if (passes == 1 || (float)passes * cost <= ENOUGH)
        return passes;
    Spot s = spot_at(e, dim_const(e->p, 0), 0), next = spot_at(e, dim_const(e->p, e->down), 0);
    if (!loads_alike(e, &s, &next))
        return passes;
    while (passes > least && (float)passes * cost > ENOUGH)
        passes /= 2;
    return passes;
}

static void in_turns(Finish *e)
{
    Spot s[GEMM_PIECE_ROWS];
    uint32_t passes = GEMM_PIECE_ROWS / e->down, together = passes_in_turn(e, passes);
    KInst *loop = NULL;
    if (together < passes) {
        Spot first = spot_at(e, dim_const(e->p, 0), 0);
        load_early(e, &first);
        lower_scope(e->b->l);
        loop = k_loop(e->k, "rows", dim_const(e->p, 0), dim_const(e->p, GEMM_PIECE_ROWS), together * e->down, NULL, 0, 1);
    }
    for (uint32_t i = 0; i < together; i++) {
        s[i] = spot_at(e, dim_add_const(e->p, loop ? loop->var : dim_const(e->p, 0), i * e->down), 0);
        load_early(e, &s[i]);
    }
    for (uint32_t i = 0; i < together; i++)
        finish(e, &s[i], i);
    if (loop) {
        k_loop_end(e->k, loop, NULL);
        lower_scope_end(e->b->l);
    }
}

/* The pieces of one reader, whose columns begin at column `from` of the template. */
static void finish_reader(KindBuild *b, const KGemm *g, const GemmReader *reader, Dim from, const GemmBox *boxes)
{
    KindBuild own = *b;
    own.problem.g = reader->g;
    uint32_t lanes = g->bulk ? 2 : lanes_of(reader->g, &reader->reads, g->width), across = g->bulk ? 4 : g->width / lanes;     /* see KGemm */
    Finish e = {.b = &own, .k = b->k, .p = b->k->cx->dims, .g = g, .n = reader->g->matmul, .group = reader->g, .reads = &reader->reads,
                .rows = *reader->g, .lanes = lanes, .across = across, .down = 32 / across, .boxes = boxes};
    e.rows.outer_mask = reader->reads.outer;
    /* a number of its own with a range: that columns are in range, and multiples of the width, can then be proven */
    Dim pieces = dim_ceildiv(e.p, reader->reads.columns, dim_const(e.p, g->width));
    KInst *number = k_index(e.k, dim_floordiv(e.p, dim_sub(e.p, g->col, from), dim_const(e.p, g->width)), DT_I64, 1);
    e.piece = k_bind(e.k, number, "piece", 0, pieces->hi == INT64_MAX ? INT64_MAX : pieces->hi - 1);
    if (g->bulk)
        at_once(&e);
    else
        in_turns(&e);
}

void gemm_epilogue(KindBuild *b, const KGemm *g, const GemmReader *readers, uint32_t n, Dim base, const GemmBox *boxes)
{
    DimPool *p = b->k->cx->dims;
    KindBuild own = *b;
    for (uint32_t i = 0; i < n; i++) {
        const MatmulReads *r = &readers[i].reads;
        Dim from = dim_sub(p, r->start[0], base), to = dim_add(p, from, r->columns);
        bool all = n == 1 || (dim_is(from, 0) && dim_le(p, g->n, to));
        KInst *before = k_test(b->k, g->col, from, 1), *inside = all ? NULL : k_op1(b->k, OP_NOT, before);
        KInst *mine = all ? NULL : k_if(b->k, mask_and(b->k, inside, k_test(b->k, g->col, to, 1)));
        lower_scope(b->l);
        finish_reader(&own, g, &readers[i], from, boxes);
        lower_scope_end(b->l);
        if (mine)
            k_if_end(b->k, mine, NULL, 0);
        own.out_buffer += readers[i].g->outputs.n;
    }
}
