/* codegen/matmul_reads.c — in which ways a group reads its matrix product: which of its elements an output needs, and where in the
 * group's domain an element of the product is used. */
#include "codegen/group.h"
#include "codegen/kind.h"

uint32_t matmul_columns(Context *cx, const Group *g, const Node *n, const Index *at, uint32_t n_at, Dim *start)
{
    DimPool *p = cx->dims;
    uint32_t last = node_rank(n) - 1;
    if (g->domain.rank != last + 1 || n_at > MATMUL_PLACES)
        return 0;
    for (uint32_t d = 0; d < last; d++)
        if (g->domain.d[d] != n->type.shape.d[d])
            return 0;
    for (uint32_t i = 0; i < n_at; i++) {
        for (uint32_t d = 0; d < last; d++)
            if (at[i].d[d] != g->sym[d])
                return 0;
        start[i] = dim_sub(p, at[i].d[last], g->sym[last]);
        if (!dim_is_const(start[i]) || start[i]->value < 0 ||
            !dim_le(p, dim_add(p, start[i], g->domain.d[last]), n->type.shape.d[last]))
            return 0;
    }
    return n_at;
}

/* ---- any order ---------------------------------------------------------------------------------------------------------------- */
typedef struct { int64_t coef; Dim sym; } Digit;

/* e as digits of a number of mixed radix, lowest first: sum of coef * symbol. */
static uint32_t digits_of(Dim e, Digit *out, uint32_t max)
{
    uint32_t n = 0;
    if (e->value)
        return 0;
    for (uint32_t i = 0; i < e->n_terms; i++) {
        if (e->terms[i].n_atoms != 1 || e->terms[i].atoms[0]->kind != DIM_SYM || e->terms[i].coef < 1 || n == max)
            return 0;
        uint32_t at = n++;
        while (at > 0 && out[at - 1].coef > e->terms[i].coef) {
            out[at] = out[at - 1];
            at--;
        }
        out[at] = (Digit){e->terms[i].coef, e->terms[i].atoms[0]};
    }
    return n;
}

static int domain_dim(const Group *g, Dim sym)
{
    for (uint32_t d = 0; d < g->domain.rank; d++)
        if (g->sym[d] == sym && !dim_is_const(sym))
            return (int)d;
    return -1;
}

bool matmul_domain_at(DimPool *p, const Group *g, const Node *n, const Index *at, const Index *element, Dim *coords)
{
    uint32_t seen = 0;
    for (uint32_t d = 0; d < g->domain.rank; d++)
        coords[d] = dim_const(p, 0);
    for (uint32_t d = 0; d < node_rank(n); d++) {
        Digit digit[MAX_RANK];
        Dim radix = dim_const(p, 1), extent = n->type.shape.d[d];
        if (dim_is(extent, 1))
            continue;
        uint32_t count = digits_of(at->d[d], digit, MAX_RANK);
        for (uint32_t i = 0; i < count; i++) {
            int dd = domain_dim(g, digit[i].sym);
            if (dd < 0 || (seen & 1u << dd) || !dim_is(radix, digit[i].coef))
                return false;
            seen |= 1u << dd;
            coords[dd] = dim_floordiv(p, element->d[d], radix);
            if (i + 1 < count)
                coords[dd] = dim_mod(p, coords[dd], g->domain.d[dd]);
            radix = dim_mul(p, radix, g->domain.d[dd]);
        }
        if (radix != extent)
            return false;
    }
    for (uint32_t d = 0; d < g->domain.rank; d++)
        if (!dim_is(g->domain.d[d], 1) && !(seen & 1u << d))
            return false;
    return true;
}

/* ---- reductions along pieces of its rows --------------------------------------------------------------------------------------- */
/* The elements that one position among the outer dims uses are neighbours: `row` of them. 0: they are not. */
static int64_t row_length(Context *cx, const Group *g, const Node *n, const Index *at, uint32_t n_at)
{
    DimPool *p = cx->dims;
    Dim zero = dim_const(p, 0), outer = zero, inner = zero, row = reduced_count(p, g->reduces.data[0].node), rows = group_row_count(p, g);
    if (!dim_is_const(row) || row->value < 2 || (rows != row && !dim_is(rows, 1)))
        return 0;
    for (uint32_t i = 0; i < g->reduces.n; i++)
        if (reduced_count(p, g->reduces.data[i].node) != row || reduce_op(g->reduces.data[i].node) == OP_NONE)
            return 0;
    for (uint32_t d = 0; d < g->domain.rank; d++) {
        Dim *to = g->outer_mask & 1u << d ? &outer : &inner;
        *to = dim_add(p, dim_mul(p, *to, g->domain.d[d]), g->sym[d]);
    }
    for (uint32_t i = 0; i < n_at; i++) {
        Dim rest = dim_sub(p, index_flatten(p, &n->type.shape, &at[i]), dim_mul(p, outer, row));
        bool summed = rest->kind == DIM_SYM && domain_dim(g, rest) < 0 && rest->lo == 0 && rest->hi == row->value - 1;
        if (!summed && (dim_is(rows, 1) || rest != inner))
            return 0;
    }
    return row->value;
}

bool matmul_reads(Context *cx, const Group *g, const Node *n, const Index *at, uint32_t n_at, MatmulReads *out)
{
    enum { LONGEST_ROW = 128 };
    *out = (MatmulReads){.parts = 1, .start = {dim_const(cx->dims, 0)}, .columns = n->type.shape.d[node_rank(n) - 1]};
    if (!n_at)
        return false;
    if (g->reduces.n) {
        int64_t row = out->row = row_length(cx, g, n, at, n_at);
        return row && row <= LONGEST_ROW && (row & (row - 1)) == 0 && dim_divides(cx->dims, dim_const(cx->dims, row), out->columns);
    }
    Index any = {0};
    Dim coords[MAX_RANK];
    for (uint32_t d = 0; d < node_rank(n); d++)
        any.d[d] = dim_const(cx->dims, 0);
    out->at = at[0];
    if (n_at == 1 && matmul_domain_at(cx->dims, g, n, &at[0], &any, coords))
        return true;
    out->parts = matmul_columns(cx, g, n, at, n_at, out->start);
    out->columns = out->parts ? g->domain.d[g->domain.rank - 1] : out->columns;
    out->by_columns = true;
    return out->parts > 0;
}
