/* codegen/matmul_rows.c — groups that read their product by short rows: everything that a position among the group's outer dims needs
 * lies in one run of neighbouring columns, whose length is a power of two. Reductions along heads or groups of channels are such, and so
 * is what reads a head at several places at once: a rotation, whose pairs are half a head apart.
 *
 * That a place stays within its run often holds only where a concat or pad reads that operand: x[c + 64] for the first half of the
 * columns. So the places are found by a walk that narrows the ranges of the symbols where it passes such a condition. */
#include "codegen/group.h"
#include "codegen/kind.h"

#include <stdlib.h>

enum { MAX_PLACES = 8, LONGEST_ROW = 128 };
typedef struct { uint32_t n; Index at[MAX_PLACES]; bool unknown; } Places;
typedef struct { DimPool *p; Arena *a; Map *of; } Walk;

/* ---- places ---------------------------------------------------------------------------------------------------------------------- */
static Places *places_of(Walk *w, const Node *n)
{
    Places *v = (Places *)(uintptr_t)map_get(w->of, n->id, 0);
    if (!v) {
        v = arena_new_of(w->a, Places);
        map_set(w->of, n->id, (uintptr_t)v);
    }
    return v;
}

static void visit(Walk *w, const Node *n, const Index *at)
{
    Places *v = places_of(w, n);
    for (uint32_t i = 0; i < v->n; i++)
        if (!memcmp(v->at[i].d, at->d, node_rank(n) * sizeof(Dim)))
            return;
    if (v->n < MAX_PLACES)
        v->at[v->n++] = *at;
    else
        v->unknown = true;
}

/* `at` where lo <= value < hi, for a value that is a symbol and a constant: the symbol has a narrower range. False: it never holds. */
static bool narrow(Walk *w, const Node *n, const InRange *r, Index *at)
{
    Dim sym = r->value ? dim_add_const(w->p, r->value, -r->value->value) : NULL;
    if (!sym || sym->kind != DIM_SYM || !dim_is_const(r->lo) || !dim_is_const(r->hi) || sym->hi == INT64_MAX)
        return true;
    int64_t lo = r->lo->value - r->value->value, hi = r->hi->value - r->value->value - 1;
    if (lo <= sym->lo && hi >= sym->hi)
        return true;
    lo = lo > sym->lo ? lo : sym->lo, hi = hi < sym->hi ? hi : sym->hi;
    if (lo > hi)
        return false;
    Dim part = dim_sym(w->p, arena_printf(w->a, "%s[%lld,%lld]", sym->name, (long long)lo, (long long)hi), lo, hi);
    for (uint32_t d = 0; d < node_rank(n); d++)
        at->d[d] = dim_subst(w->p, at->d[d], &(DimSubst){sym, part}, 1);
    return true;
}

static void visit_operands(Walk *w, const Node *n, const Index *at, bool unknown)
{
    for (uint32_t k = 0; k < n->n_in; k++) {
        InRange range = {0};
        Index in;
        if (op_class(n->op) == CLASS_REDUCE)
            in = index_reduced(w->p, n, at, dim_sym_below(w->p, "r", reduced_count(w->p, n)));
        else if (op_class(n->op) == CLASS_CONTRACT || op_class(n->op) == CLASS_SCAN || n->op == OP_GATHER)
            in = *at, unknown = true;
        else
            in = index_operand(w->p, n, k, at, &range);
        if (unknown)
            places_of(w, n->in[k])->unknown = true;
        else if (narrow(w, n->in[k], &range, &in))
            visit(w, n->in[k], &in);
    }
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = (*(Node *const *)a)->id, y = (*(Node *const *)b)->id;
    return (x > y) - (x < y);
}

/* Where the group, which may still be under way, reads `n`. NULL: somewhere else, too. */
static const Places *places_in(Context *cx, const Group *g, const Node *n)
{
    Walk w = {.p = cx->dims, .a = cx->scratch, .of = map_new(cx->scratch)};
    Node **order = arena_new_array(cx->scratch, Node *, g->nodes.n + 1);
    for (uint32_t i = 0; i < g->nodes.n; i++)
        order[i] = g->nodes.data[i];
    qsort(order, g->nodes.n, sizeof *order, by_id);
    for (uint32_t i = 0; i < g->outputs.n; i++)
        visit(&w, g->outputs.data[i].node, &g->outputs.data[i].at);
    for (uint32_t i = g->nodes.n; i-- > 0; ) {
        if (order[i] == n || (i + 1 < g->nodes.n && order[i] == order[i + 1]))
            continue;
        const Places *v = places_of(&w, order[i]);
        for (uint32_t j = 0; j < v->n; j++)
            visit_operands(&w, order[i], &v->at[j], v->unknown);
    }
    const Places *found = places_of(&w, n);
    return found->unknown || !found->n ? NULL : found;
}

/* ---- rows ------------------------------------------------------------------------------------------------------------------------ */
static bool is_outer(const Group *g, uint32_t mask, Dim sym)
{
    for (uint32_t d = 0; d < g->domain.rank; d++)
        if (mask & 1u << d && g->sym[d] == sym)
            return true;
    return false;
}

/* `e` with 0 for every symbol that is not one of the outer dims. */
static Dim outer_part(DimPool *p, const Group *g, uint32_t mask, Dim e, Dim in)
{
    if (in->kind == DIM_SYM)
        return is_outer(g, mask, in) ? e : dim_subst(p, e, &(DimSubst){in, dim_const(p, 0)}, 1);
    for (uint32_t i = 0; in->kind == DIM_SUM && i < in->n_terms; i++)
        for (uint32_t k = 0; k < in->terms[i].n_atoms; k++)
            e = outer_part(p, g, mask, e, in->terms[i].atoms[k]);
    return in->kind == DIM_SUM || in->kind == DIM_CONST ? e : outer_part(p, g, mask, outer_part(p, g, mask, e, in->a), in->b);
}

static Dim extent_of(DimPool *p, const Group *g, uint32_t mask, bool outer)
{
    Dim count = dim_const(p, 1);
    for (uint32_t d = 0; d < g->domain.rank; d++)
        count = !!(mask & 1u << d) == outer ? dim_mul(p, count, g->domain.d[d]) : count;
    return count;
}

/* What a place reads beside `base`: within [lo, hi]. */
typedef struct { int64_t lo, hi; } Range;

static bool range_of(DimPool *p, Dim e, Dim base, Range *out)
{
    Dim rest = dim_sub(p, e, base);
    *out = (Range){rest->lo, rest->hi};
    return rest->lo > INT32_MIN && rest->hi < INT32_MAX;
}

/* All rows of the product one after the other, in the order of the outer dims. */
static bool rows_in_order(Context *cx, const Group *g, uint32_t mask, const Node *n, const Places *at, int64_t row)
{
    DimPool *p = cx->dims;
    Dim outer = dim_const(p, 0);
    for (uint32_t d = 0; d < g->domain.rank; d++)
        if (mask & 1u << d)
            outer = dim_add(p, dim_mul(p, outer, g->domain.d[d]), g->sym[d]);
    if (dim_mul_const(p, extent_of(p, g, mask, true), row) != shape_count(p, &n->type.shape))
        return false;
    for (uint32_t i = 0; i < at->n; i++) {
        Dim flat = index_flatten(p, &n->type.shape, &at->at[i]);
        Range r;
        if (!range_of(p, flat, dim_mul_const(p, outer, row), &r) || r.lo < 0 || r.hi >= row)
            return false;
    }
    return true;
}

/* Rows within a range of the product's columns, the outer dims in any order. */
static bool rows_by_digits(Context *cx, const Group *g, uint32_t mask, const Node *n, const Places *at, int64_t row, MatmulReads *out)
{
    DimPool *p = cx->dims;
    uint32_t last = node_rank(n) - 1;
    int64_t lo = INT64_MAX, hi = INT64_MIN;
    Dim outer = outer_part(p, g, mask, at->at[0].d[last], at->at[0].d[last]);
    outer = dim_add_const(p, outer, -outer->value);
    for (uint32_t i = 0; i < at->n; i++) {
        Range r;
        for (uint32_t d = 0; d < last; d++)
            if (at->at[i].d[d] != at->at[0].d[d])
                return false;
        if (!range_of(p, at->at[i].d[last], outer, &r))
            return false;
        lo = r.lo < lo ? r.lo : lo, hi = r.hi > hi ? r.hi : hi;
    }
    if (lo < 0 || hi / row != lo / row)
        return false;
    out->at = at->at[0];
    out->at.d[last] = outer;
    out->start[0] = dim_const(p, lo / row * row);
    return matmul_row_digits(p, g, mask, n, row, out);
}

static bool rows_of(Context *cx, const Group *g, uint32_t mask, const Node *n, const Places *at, Dim count, MatmulReads *out)
{
    DimPool *p = cx->dims;
    Dim inner = extent_of(p, g, mask, false), columns = n->type.shape.d[node_rank(n) - 1];
    if (!dim_is_const(count) || count->value < 2 || count->value > LONGEST_ROW || (count->value & (count->value - 1)) ||
        (inner != count && !dim_is(inner, 1)) || !dim_divides(p, count, columns))
        return false;
    *out = (MatmulReads){.parts = 1, .start = {dim_const(p, 0)}, .columns = columns, .row = count->value, .outer = mask};
    out->in_order = rows_in_order(cx, g, mask, n, at, count->value);
    return out->in_order || rows_by_digits(cx, g, mask, n, at, count->value, out);
}

bool matmul_rows(Context *cx, const Group *g, const Node *n, MatmulReads *out)
{
    DimPool *p = cx->dims;
    const Places *at = places_in(cx, g, n);
    if (!at)
        return false;
    if (g->reduces.n) {
        Dim count = reduced_count(p, g->reduces.data[0].node);
        for (uint32_t i = 0; i < g->reduces.n; i++)
            if (reduced_count(p, g->reduces.data[i].node) != count || reduce_op(g->reduces.data[i].node) == OP_NONE)
                return false;
        return rows_of(cx, g, g->outer_mask, n, at, count, out);
    }
    uint32_t mask = (1u << g->domain.rank) - 1;                /* without reductions: by one or two of the last dims, whichever does */
    for (uint32_t d = g->domain.rank, found = 0; d-- > 0 && found < 2; ) {
        mask &= ~(1u << d);
        if (dim_is(g->domain.d[d], 1))
            continue;
        found++;
        if (rows_of(cx, g, mask, n, at, extent_of(p, g, mask, false), out))
            return true;
    }
    return false;
}
