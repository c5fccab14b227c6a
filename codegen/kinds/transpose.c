/* codegen/kinds/transpose.c — pointwise groups that read some operand along another dim than they write: a tile of that operand
 * goes through shared memory, so that both sides touch memory in whole lines.
 *
 * Blocks of 32 x rows threads own tiles of 32 vec x 32 elements of the domain's last dim and of dim c, along which the operand is
 * contiguous. Shared rows are padded by one element, which keeps the loads' stores off each other's banks. Padding and concatenations are
 * elements that the operand does not have. GPUs only; the host's caches do this.
 *
 * Schedule: rows (threads along the second side of a tile), vec (elements that a thread stores together: narrow types fill a line). */
#include "codegen/group.h"
#include "codegen/kind.h"

enum { TILE = 32, MAX_TURNED = 4, MAX_VEC = 4 };

/* The dim along which `flat` is contiguous when it is not the domain's last; -1 otherwise. */
static int turned_dim(DimPool *p, const Group *g, Dim flat)
{
    Dim coef, rest;
    uint32_t last = g->domain.rank - 1;
    if (!dim_linear_in(p, flat, g->sym[last], &coef, &rest) || dim_is(coef, 1) || dim_is(coef, 0))
        return -1;
    for (uint32_t d = 0; d < last; d++)
        if (!dim_is_const(g->sym[d]) && dim_linear_in(p, flat, g->sym[d], &coef, &rest) && dim_is(coef, 1) && g->domain.d[d]->lo >= 8)
            return (int)d;
    return -1;
}

typedef struct { GroupAccess a[MAX_TURNED]; uint32_t n; int dim; } Turned;

static Turned find_turned(Context *cx, const Group *g)
{
    Turned t = {.dim = -1};
    if (g->domain.rank < 2 || dim_is_const(g->sym[g->domain.rank - 1]) || g->domain.d[g->domain.rank - 1]->lo < 8)
        return t;
    GroupAccesses all = group_accesses(cx, g);
    for (uint32_t i = 0; i < all.n && t.n < MAX_TURNED; i++) {
        int d = turned_dim(cx->dims, g, all.a[i].flat);
        if (d < 0 || (t.dim >= 0 && d != t.dim))
            continue;
        t.dim = d;
        t.a[t.n++] = all.a[i];
    }
    return t;
}

static bool accepts(const KindProblem *p, const char **why_not)
{
    const Group *g = p->g;
    bool simple = p->m->target == TARGET_CUDA && !g->reduces.n && !g->matmul;
    for (uint32_t i = 0; i < g->nodes.n && simple; i++) {
        OpClass c = op_class(g->nodes.data[i]->op);
        simple = c == CLASS_POINTWISE || c == CLASS_CAST || c == CLASS_SOURCE || c == CLASS_MOVEMENT;
    }
    if (simple && find_turned(p->cx, g).n)
        return true;
    *why_not = simple ? "all operands are read along the last dim" : "not a plain pointwise group";
    return false;
}

static uint32_t space(const KindProblem *p, Schedule *out, uint32_t max)
{
    static const int64_t rows[] = {8, 16, 4};
    const Group *g = p->g;
    DimPool *d = p->cx->dims;
    uint32_t n = 0, narrow = 4, turned = find_turned(p->cx, g).n;
    for (uint32_t i = 0; i < g->outputs.n; i++)
        if (dtype_bytes(g->outputs.data[i].node->type.dtype) < narrow)
            narrow = dtype_bytes(g->outputs.data[i].node->type.dtype);
    for (uint32_t i = 0; i < 9; i++) {
        int64_t first = 4 / narrow, vec = i < 3 ? first : i < 6 ? (first == 1 ? 2 : first / 2) : first == 4 ? 1 : 4;    /* a line a warp first */
        if (n == max || vec * turned > 2 * MAX_VEC || (vec > 1 && !dim_divides(d, dim_const(d, vec), g->domain.d[g->domain.rank - 1])))
            continue;
        out[n] = (Schedule){.kind = "transpose"};
        schedule_set(&out[n], "rows", rows[i % 3]);
        schedule_set(&out[n++], "vec", vec);
    }
    return n;
}

static double cost(const KindProblem *p, const Schedule *s)
{
    (void)s;                                   /* below what kind pointwise would really take: its model assumes whole lines */
    return group_seconds_memory(p) * 0.95 + p->m->launch_seconds;
}

typedef struct { Shape outer; Dim tiles_c, tiles_l; } Tiles;

static Tiles tiles_of(const KindProblem *p, int c, int64_t vec)
{
    const Group *g = p->g;
    uint32_t last = g->domain.rank - 1;
    Tiles t = {.outer = g->domain};
    t.tiles_c = dim_ceildiv(p->cx->dims, g->domain.d[c], dim_const(p->cx->dims, TILE));
    t.tiles_l = dim_ceildiv(p->cx->dims, g->domain.d[last], dim_const(p->cx->dims, TILE * vec));
    t.outer.d[c] = t.tiles_c;
    t.outer.d[last] = t.tiles_l;
    return t;
}

static Dim grid(const KindProblem *p, const Schedule *s)
{
    Tiles t = tiles_of(p, find_turned(p->cx, p->g).dim, schedule_get(s, "vec", 1));
    return shape_count(p->cx->dims, &t.outer);
}

static uint32_t threads(const KindProblem *p, const Schedule *s)
{
    (void)p;
    return (uint32_t)(TILE * schedule_get(s, "rows", 8));
}

static KInst *inside(KindBuild *b, Dim c, Dim l, int dim_c, uint32_t lanes)
{
    const Group *g = b->problem.g;
    KInst *x = k_test(b->k, c, g->domain.d[dim_c], 1), *y = lower_below(b->l, l, g->domain.d[g->domain.rank - 1], lanes);
    return k_op(b->k, OP_AND, DT_BOOL, (KInst *[]){x, y}, 2);
}

/* The same, and the element exists: beside padding, and in the other parts of a concatenation, it does not. */
static KInst *has_element(KindBuild *b, const Node *n, const Index *at, KInst *mask)
{
    DimPool *p = b->k->cx->dims;
    for (uint32_t d = 0; d < node_rank(n); d++) {
        KInst *from = k_test(b->k, dim_const(p, -1), at->d[d], 1), *below = k_test(b->k, at->d[d], n->type.shape.d[d], 1);
        mask = from->kind == K_CONST && from->i ? mask : mask_and(b->k, mask, from);
        mask = below->kind == K_CONST && below->i ? mask : mask_and(b->k, mask, below);
    }
    return mask;
}

typedef struct {
    KindBuild *b;
    Turned t;
    uint32_t vec, last, shared[MAX_TURNED];
    int64_t rows;
    Dim first_c, first_l, lane, row;       /* of the tile; the thread's place, of 32 and of `rows` */
    Dim coords[MAX_RANK];
} Tile;

/* Lanes along c, contiguous in the turned operands: all loads are under way before the first is stored. */
static void load_tile(Tile *t)
{
    KindBuild *b = t->b;
    Kernel *k = b->k;
    DimPool *p = k->cx->dims;
    KInst *v[TILE * MAX_VEC][MAX_TURNED];
    lower_scope(b->l);
    t->coords[t->t.dim] = dim_add(p, t->first_c, t->lane);
    for (int64_t j = 0; j < TILE * t->vec; j += t->rows) {
        t->coords[t->last] = dim_add(p, t->first_l, dim_add_const(p, t->row, j));
        KInst *mask = inside(b, t->coords[t->t.dim], t->coords[t->last], t->t.dim, 1);
        for (uint32_t i = 0; i < t->t.n; i++) {
            const GroupAccess *a = &t->t.a[i];
            Index from = group_at(p, b->problem.g, &a->at, node_rank(a->node), t->coords);
            lower_mask(b->l, has_element(b, a->node, &from, mask));
            v[j / t->rows][i] = lower_value(b->l, a->node, &from, 1);
        }
    }
    lower_mask(b->l, NULL);
    for (int64_t j = 0; j < TILE * t->vec; j += t->rows)
        for (uint32_t i = 0; i < t->t.n; i++) {
            Dim in_l = dim_add_const(p, t->row, j);
            k_shared_store(k, t->shared[i], dim_add(p, dim_mul_const(p, in_l, TILE + 1), t->lane), v[j / t->rows][i], NULL);
        }
    lower_scope_end(b->l);
}

/* Lanes along the last dim, `vec` elements each: contiguous in the outputs. */
static void store_tile(Tile *t)
{
    KindBuild *b = t->b;
    DimPool *p = b->k->cx->dims;
    Dim in_l = dim_mul_const(p, t->lane, t->vec);
    if (t->vec > 1)
        in_l = dim_add(p, in_l, kernel_lane(p, t->vec));
    t->coords[t->last] = dim_add(p, t->first_l, in_l);
    for (int64_t j = 0; j < TILE; j += t->rows) {
        Dim in_c = dim_add_const(p, t->row, j);
        t->coords[t->t.dim] = dim_add(p, t->first_c, in_c);
        KInst *mask = inside(b, t->coords[t->t.dim], t->coords[t->last], t->t.dim, t->vec);
        lower_scope(b->l);
        for (uint32_t i = 0; i < t->t.n; i++) {
            const GroupAccess *a = &t->t.a[i];
            Index from = group_at(p, b->problem.g, &a->at, node_rank(a->node), t->coords);
            Dim place = dim_add(p, dim_mul_const(p, in_l, TILE + 1), in_c);
            lower_know(b->l, a->node, &from, k_shared_load(b->k, t->shared[i], place, t->vec));
        }
        store_outputs_at(b, t->coords, t->vec, mask);
        lower_scope_end(b->l);
    }
}

static bool build(KindBuild *b)
{
    Kernel *k = b->k;
    DimPool *p = k->cx->dims;
    const Group *g = b->problem.g;
    Tile t = {.b = b, .t = find_turned(b->problem.cx, g), .last = g->domain.rank - 1, .rows = schedule_get(b->s, "rows", 8),
              .vec = (uint32_t)schedule_get(b->s, "vec", 1)};
    Tiles tiles = tiles_of(&b->problem, t.t.dim, t.vec);
    Index at = index_unflatten(p, &tiles.outer, b->block);
    if (t.vec > MAX_VEC || (t.vec > 1 && !dim_divides(p, dim_const(p, t.vec), g->domain.d[t.last])))
        return diag_error(k->cx->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, NULL, "illegal schedule: rows that are no whole vectors");
    t.lane = dim_mod(p, b->thread, dim_const(p, TILE));
    t.row = dim_floordiv(p, b->thread, dim_const(p, TILE));
    t.first_c = dim_mul_const(p, at.d[t.t.dim], TILE);
    t.first_l = dim_mul_const(p, at.d[t.last], TILE * t.vec);
    memcpy(t.coords, at.d, sizeof t.coords);
    for (uint32_t i = 0; i < t.t.n; i++)
        t.shared[i] = kernel_shared(k, "tile", compute_type(t.t.a[i].node->type.dtype), TILE * t.vec * (TILE + 1));
    load_tile(&t);
    k_barrier(k);
    store_tile(&t);
    return true;
}

const KernelKind kind_transpose = {
    .name = "transpose", .accepts = accepts, .space = space, .cost = cost, .grid = grid, .threads = threads, .build = build,
};
