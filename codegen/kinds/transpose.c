/* codegen/kinds/transpose.c — pointwise groups that read some operand along another dim than they write: a tile of that operand
 * goes through shared memory, so that both sides touch memory in whole lines.
 *
 * Blocks of 32 x rows threads own tiles of 32 x 32 elements of the domain's last dim and of dim c, along which the operand is
 * contiguous. Shared rows are padded by one element: no bank conflicts. GPUs only; the host's caches do this.
 *
 * Schedule: rows (threads along the second side of a tile). */
#include "codegen/group.h"
#include "codegen/kind.h"

enum { TILE = 32, MAX_TURNED = 4 };

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
        simple = c == CLASS_POINTWISE || c == CLASS_CAST || c == CLASS_SOURCE ||
                 (c == CLASS_MOVEMENT && g->nodes.data[i]->op != OP_CONCAT && g->nodes.data[i]->op != OP_PAD);
    }
    if (simple && find_turned(p->cx, g).n)
        return true;
    *why_not = simple ? "all operands are read along the last dim" : "not a plain pointwise group";
    return false;
}

static uint32_t space(const KindProblem *p, Schedule *out, uint32_t max)
{
    static const int64_t rows[] = {8, 16, 4};
    uint32_t n = 0;
    (void)p;
    for (; n < 3 && n < max; n++) {
        out[n] = (Schedule){.kind = "transpose"};
        schedule_set(&out[n], "rows", rows[n]);
    }
    return n;
}

static double cost(const KindProblem *p, const Schedule *s)
{
    (void)s;                                   /* below what kind pointwise would really take: its model assumes whole lines */
    return group_seconds_memory(p) * 0.95 + p->m->launch_seconds;
}

typedef struct { Shape outer; Dim tiles_c, tiles_l; } Tiles;

static Tiles tiles_of(const KindProblem *p, int c)
{
    const Group *g = p->g;
    uint32_t last = g->domain.rank - 1;
    Tiles t = {.outer = g->domain};
    t.tiles_c = dim_ceildiv(p->cx->dims, g->domain.d[c], dim_const(p->cx->dims, TILE));
    t.tiles_l = dim_ceildiv(p->cx->dims, g->domain.d[last], dim_const(p->cx->dims, TILE));
    t.outer.d[c] = t.tiles_c;
    t.outer.d[last] = t.tiles_l;
    return t;
}

static Dim grid(const KindProblem *p, const Schedule *s)
{
    (void)s;
    Tiles t = tiles_of(p, find_turned(p->cx, p->g).dim);
    return shape_count(p->cx->dims, &t.outer);
}

static uint32_t threads(const KindProblem *p, const Schedule *s)
{
    (void)p;
    return (uint32_t)(TILE * schedule_get(s, "rows", 8));
}

static KInst *inside(KindBuild *b, Dim c, Dim l, int dim_c)
{
    const Group *g = b->problem.g;
    KInst *x = k_test(b->k, c, g->domain.d[dim_c], 1), *y = k_test(b->k, l, g->domain.d[g->domain.rank - 1], 1);
    return k_op(b->k, OP_AND, DT_BOOL, (KInst *[]){x, y}, 2);
}

static bool build(KindBuild *b)
{
    Kernel *k = b->k;
    DimPool *p = k->cx->dims;
    const Group *g = b->problem.g;
    Turned t = find_turned(b->problem.cx, g);
    uint32_t last = g->domain.rank - 1;
    int64_t rows = schedule_get(b->s, "rows", 8);
    Tiles tiles = tiles_of(&b->problem, t.dim);
    Index at = index_unflatten(p, &tiles.outer, b->block);
    Dim lane = dim_mod(p, b->thread, dim_const(p, TILE)), row = dim_floordiv(p, b->thread, dim_const(p, TILE));
    Dim first_c = dim_mul_const(p, at.d[t.dim], TILE), first_l = dim_mul_const(p, at.d[last], TILE);
    uint32_t shared[MAX_TURNED];
    Dim coords[MAX_RANK];
    memcpy(coords, at.d, sizeof coords);

    for (uint32_t i = 0; i < t.n; i++)
        shared[i] = kernel_shared(k, "tile", compute_type(t.a[i].node->type.dtype), TILE * (TILE + 1));
    for (int64_t j = 0; j < TILE; j += rows) {                 /* lanes along c: contiguous in the turned operands */
        Dim in_l = dim_add_const(p, row, j);
        coords[t.dim] = dim_add(p, first_c, lane);
        coords[last] = dim_add(p, first_l, in_l);
        lower_scope(b->l);
        lower_mask(b->l, inside(b, coords[t.dim], coords[last], t.dim));
        for (uint32_t i = 0; i < t.n; i++) {
            Index from = group_at(p, g, &t.a[i].at, node_rank(t.a[i].node), coords);
            KInst *v = lower_value(b->l, t.a[i].node, &from, 1);
            k_shared_store(k, shared[i], dim_add(p, dim_mul_const(p, in_l, TILE + 1), lane), v, NULL);
        }
        lower_mask(b->l, NULL);
        lower_scope_end(b->l);
    }
    k_barrier(k);
    for (int64_t j = 0; j < TILE; j += rows) {                 /* lanes along the last dim: contiguous in the outputs */
        Dim in_c = dim_add_const(p, row, j);
        coords[t.dim] = dim_add(p, first_c, in_c);
        coords[last] = dim_add(p, first_l, lane);
        KInst *mask = inside(b, coords[t.dim], coords[last], t.dim);
        lower_scope(b->l);
        for (uint32_t i = 0; i < t.n; i++) {
            Index from = group_at(p, g, &t.a[i].at, node_rank(t.a[i].node), coords);
            Dim place = dim_add(p, dim_mul_const(p, lane, TILE + 1), in_c);
            lower_know(b->l, t.a[i].node, &from, k_shared_load(k, shared[i], place, 1));
        }
        store_outputs_at(b, coords, 1, mask);
        lower_scope_end(b->l);
    }
    return true;
}

const KernelKind kind_transpose = {
    .name = "transpose", .accepts = accepts, .space = space, .cost = cost, .grid = grid, .threads = threads, .build = build,
};
