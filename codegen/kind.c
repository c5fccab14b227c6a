/* codegen/kind.c — the list of kernel kinds, and what they share. */
#include "codegen/kind.h"
#include "codegen/group.h"

#include <math.h>
#include <math.h>
#include <string.h>

const KernelKind *const kernel_kinds[] = {
    &kind_row, &kind_full, &kind_column, &kind_scan, &kind_transpose, &kind_smallm, &kind_gemm, &kind_library, &kind_matmul, &kind_pointwise, NULL,
};

const KernelKind *kind_find(const char *name)
{
    for (uint32_t i = 0; kernel_kinds[i]; i++)
        if (!strcmp(kernel_kinds[i]->name, name))
            return kernel_kinds[i];
    return NULL;
}

Index group_at(DimPool *p, const Group *g, const Index *at, uint32_t rank, const Dim *coords)
{
    DimSubst s[MAX_RANK];
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->domain.rank; i++)
        if (!dim_is_const(g->sym[i]))
            s[n++] = (DimSubst){g->sym[i], coords[i]};
    Index out = {0};
    for (uint32_t i = 0; i < rank; i++)
        out.d[i] = dim_subst(p, at->d[i], s, n);
    return out;
}

static Shape part_of_domain(const Group *g, bool outer)
{
    Shape s = {0};
    for (uint32_t i = 0; i < g->domain.rank; i++)
        if (!!(g->outer_mask & 1u << i) == outer)
            s.d[s.rank++] = g->domain.d[i];
    return s;
}

Dim group_outer_count(DimPool *p, const Group *g)
{
    Shape s = part_of_domain(g, true);
    return shape_count(p, &s);
}

Dim group_row_count(DimPool *p, const Group *g)
{
    Shape s = part_of_domain(g, false);
    return shape_count(p, &s);
}

void group_coords(DimPool *p, const Group *g, Dim outer, Dim row, Dim *coords)
{
    Shape so = part_of_domain(g, true), sr = part_of_domain(g, false);
    Index io = index_unflatten(p, &so, outer), ir = index_unflatten(p, &sr, row);
    uint32_t o = 0, r = 0;
    for (uint32_t i = 0; i < g->domain.rank; i++)
        coords[i] = g->outer_mask & 1u << i ? io.d[o++] : ir.d[r++];
}

uint64_t group_outputs_along(const Group *g)
{
    uint64_t mask = 0;
    for (uint32_t i = 0; i < g->outputs.n; i++)
        for (uint32_t d = 0; d < g->domain.rank; d++)
            for (uint32_t k = 0; k < node_rank(g->outputs.data[i].node); k++)
                if (!(g->outer_mask & 1u << d) && !dim_is_const(g->sym[d]) && dim_uses(g->outputs.data[i].at.d[k], g->sym[d]))
                    mask |= (uint64_t)1 << (i < 63 ? i : 63);
    return mask;
}

static int64_t symbol_typical(Dim d)
{
    if (d->hi == INT64_MAX || d->hi > (int64_t)1 << 24)
        return d->lo > 1 << 16 ? d->lo : 1 << 16;
    return d->lo + (d->hi - d->lo) / 2;
}

/* Symbols take middling values, so that what is made of the same symbols stays comparable. */
int64_t dim_typical(Dim d)
{
    double sum = (double)d->value;
    switch (d->kind) {
    case DIM_CONST: return d->value;
    case DIM_SYM:   return symbol_typical(d);
    case DIM_SUM:
        for (uint32_t i = 0; i < d->n_terms; i++) {
            double term = (double)d->terms[i].coef;
            for (uint32_t j = 0; j < d->terms[i].n_atoms; j++)
                term *= (double)dim_typical(d->terms[i].atoms[j]);
            sum += term;
        }
        return sum > 1e18 ? (int64_t)1e18 : sum < -1e18 ? (int64_t)-1e18 : (int64_t)sum;
    case DIM_FLOORDIV: case DIM_MOD: case DIM_MIN: case DIM_MAX: break;
    }
    int64_t x = dim_typical(d->a), y = dim_typical(d->b);
    if (d->kind == DIM_MIN || d->kind == DIM_MAX)
        return (d->kind == DIM_MIN) == (x < y) ? x : y;
    y = y > 0 ? y : 1;
    return d->kind == DIM_FLOORDIV ? x / y : x % y;
}

bool reduces_contiguous(const Node *reduce)
{
    const Shape *s = &reduce->in[0]->type.shape;
    uint32_t last = s->rank;
    while (last > 0 && dim_is(s->d[last - 1], 1))
        last--;
    return !last || node_reduces_axis(reduce, last - 1);
}

static double typical_count(const Node *n)
{
    double count = 1;
    for (uint32_t i = 0; i < node_rank(n); i++)
        count *= (double)dim_typical(n->type.shape.d[i]);
    return count;
}

uint32_t group_widest_bytes(const Group *g)
{
    enum { SMALL = 16 };                                        /* a number a row, a vector beside a matrix: such a part of the largest */
    double most = 0;
    uint32_t widest = 1;
    for (uint32_t i = 0; i < g->inputs.n; i++)
        most = fmax(most, typical_count(g->inputs.data[i]));
    for (uint32_t i = 0; i < g->outputs.n; i++)
        most = fmax(most, typical_count(g->outputs.data[i].node));
    for (uint32_t i = 0; i < g->inputs.n + g->outputs.n; i++) {
        const Node *n = i < g->inputs.n ? g->inputs.data[i] : g->outputs.data[i - g->inputs.n].node;
        uint32_t bytes = dtype_bytes(n->type.dtype);
        widest = bytes > widest && typical_count(n) * SMALL > most ? bytes : widest;
    }
    return widest;
}

double group_seconds_memory(const KindProblem *p)
{
    double bytes = (double)dim_typical(p->g->bytes_read) + (double)dim_typical(p->g->bytes_written);
    double flops = (double)dim_typical(p->g->flops);
    double memory = bytes / p->m->copy_bandwidth, arithmetic = flops / p->m->flops_fma;
    return memory > arithmetic ? memory : arithmetic;
}

int64_t group_passes(const KindProblem *p)
{
    const Group *g = p->g;
    return vec_last(&g->reduces).level + 1 + !dim_is(group_row_count(p->cx->dims, g), 1);
}

double group_again_factor(const KindProblem *p, double part)
{
    double in = (double)dim_typical(p->g->bytes_read), out = (double)dim_typical(p->g->bytes_written);
    double again = part * in <= p->m->l2_bytes || in <= p->m->l2_bytes / 2 ? 0.3 : 1;           /* the cache is several times as fast */
    return 1 + again * (double)(group_passes(p) - 1) * in / fmax(in + out, 1);
}

static double product_flops(const KindProblem *p)
{
    Dim m, n, k, batch;
    if (!p->g->matmul)
        return 0;
    matmul_extents(p->cx->dims, p->g->matmul, &m, &n, &k, &batch);
    return 2 * (double)dim_typical(m) * (double)dim_typical(n) * (double)dim_typical(k) * (double)dim_typical(batch);
}

const char *product_inside_refused(const KindProblem *p)
{
    return p->m->target == TARGET_CUDA && product_flops(p) > 1e9 ? "a matrix product is too much for a serial loop in it" : NULL;
}

double product_inside_seconds(const KindProblem *p)
{
    return product_flops(p) / (p->m->target == TARGET_CUDA ? p->m->flops_fma / 20 : p->m->flops_fma / 32);      /* no reuse */
}

void store_outputs_at(KindBuild *b, const Dim *coords, uint32_t lanes, KInst *mask)
{
    store_some_at(b, ~(uint64_t)0, coords, lanes, mask);
}

void store_some_at(KindBuild *b, uint64_t which, const Dim *coords, uint32_t lanes, KInst *mask)
{
    const Group *g = b->problem.g;
    lower_mask(b->l, mask);
    for (uint32_t i = 0; i < g->outputs.n; i++) {
        const GroupOutput *o = &g->outputs.data[i];
        if (!(which >> (i < 63 ? i : 63) & 1))
            continue;
        Index at = group_at(b->k->cx->dims, g, &o->at, node_rank(o->node), coords);
        KInst *v = lower_value(b->l, o->node, &at, lanes);
        lower_store(b->l, b->out_buffer[i], o->node, &at, k_splat(b->k, v, lanes), mask);
    }
    lower_mask(b->l, NULL);
}

/* The values of a row's warps, several at a load where they are many. */
static KInst *reduce_partials(Kernel *k, const Node *n, uint32_t shared, Dim first, uint32_t warps)
{
    DimPool *p = k->cx->dims;
    uint32_t lanes = warps >= 8 ? 4 : 1;
    Dim at = lanes > 1 ? dim_add(p, first, kernel_lane(p, lanes)) : first;
    KInst *sum = k_shared_load(k, shared, at, lanes);
    for (uint32_t i = lanes; i < warps; i += lanes)
        sum = reduce_combine(k, n, sum, k_shared_load(k, shared, dim_add_const(p, at, i), lanes));
    return lanes > 1 ? k_lane_reduce(k, reduce_op(n), sum) : sum;
}

/* Butterfly within warps, then across the warps of a row through shared memory, behind one barrier for all values. */
void block_reduce_all(KindBuild *b, const Node *const *reduce, KInst **v, uint32_t n, uint32_t width)
{
    Kernel *k = b->k;
    DimPool *p = k->cx->dims;
    uint32_t shared[BLOCK_REDUCES];
    pawl_assert(n <= BLOCK_REDUCES, "%u reductions at once", n);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t m = (width < 32 ? width : 32) / 2; m > 0; m /= 2)
            v[i] = reduce_combine(k, reduce[i], v[i], k_shuffle_xor(k, v[i], (int)m));
    if (width <= 32)
        return;
    uint32_t warps = width / 32, rows = k->threads / width;
    Dim lane = dim_mod(p, b->thread, dim_const(p, 32)), number = dim_floordiv(p, b->thread, dim_const(p, 32));
    for (uint32_t i = 0; i < n; i++) {
        shared[i] = kernel_shared(k, "partial", v[i]->type.dtype, warps * rows);
        k_shared_store(k, shared[i], number, v[i], k_test(k, lane, dim_const(p, 1), 1));
    }
    k_barrier(k);
    Dim first = dim_mul_const(p, dim_floordiv(p, b->thread, dim_const(p, width)), warps);
    for (uint32_t i = 0; i < n; i++)
        v[i] = reduce_partials(k, reduce[i], shared[i], first, warps);
}

KInst *block_reduce(KindBuild *b, const Node *reduce, KInst *v, uint32_t width)
{
    block_reduce_all(b, &reduce, &v, 1, width);
    return v;
}
