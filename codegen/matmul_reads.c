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

/* The digits of `at` among the domain's dims, from `radix` on, at position `element` of the dim that it is of. */
static bool digits_at(DimPool *p, const Group *g, Dim at, Dim element, Dim *radix, uint32_t *seen, Dim *coords)
{
    Digit digit[MAX_RANK];
    uint32_t count = digits_of(at, digit, MAX_RANK);
    for (uint32_t i = 0; i < count; i++) {
        int dd = domain_dim(g, digit[i].sym);
        if (dd < 0 || (*seen & 1u << dd) || !dim_is(*radix, digit[i].coef))
            return false;
        *seen |= 1u << dd;
        coords[dd] = dim_floordiv(p, element, *radix);
        if (i + 1 < count)
            coords[dd] = dim_mod(p, coords[dd], g->domain.d[dd]);
        *radix = dim_mul(p, *radix, g->domain.d[dd]);
    }
    return true;
}

/* The same for all dims of the product, of which the last one begins with a digit of `row`; *columns: what its digits count to. */
static bool all_digits(DimPool *p, const Group *g, uint32_t dims, const Node *n, const Index *at, int64_t row, const Index *element,
                       Dim *coords, Dim *columns)
{
    uint32_t seen = 0, last = node_rank(n) - 1;
    for (uint32_t d = 0; d <= last; d++) {
        Dim radix = dim_const(p, d == last ? row : 1), extent = n->type.shape.d[d];
        if (dim_is(extent, 1) && d < last)
            continue;
        if (!digits_at(p, g, at->d[d], element->d[d], &radix, &seen, coords) || (d < last && radix != extent))
            return false;
        *columns = radix;
    }
    for (uint32_t d = 0; d < g->domain.rank; d++)
        if (!dim_is(g->domain.d[d], 1) && (dims >> d & 1) != (seen >> d & 1))
            return false;
    return true;
}

enum { ALL_DIMS = (1 << MAX_RANK) - 1 };

bool matmul_domain_at(DimPool *p, const Group *g, const Node *n, const Index *at, const Index *element, Dim *coords)
{
    Dim columns;
    for (uint32_t d = 0; d < g->domain.rank; d++)
        coords[d] = dim_const(p, 0);
    return all_digits(p, g, ALL_DIMS, n, at, 1, element, coords, &columns) && columns == n->type.shape.d[node_rank(n) - 1];
}

static Index origin(DimPool *p)
{
    Index at = {0};
    for (uint32_t d = 0; d < MAX_RANK; d++)
        at.d[d] = dim_const(p, 0);
    return at;
}

bool matmul_row_digits(DimPool *p, const Group *g, uint32_t outer, const Node *n, int64_t row, MatmulReads *r)
{
    Index any = origin(p);
    Dim coords[MAX_RANK];
    return all_digits(p, g, outer, n, &r->at, row, &any, coords, &r->columns) &&
           dim_le(p, dim_add(p, r->start[0], r->columns), n->type.shape.d[node_rank(n) - 1]);
}

/* Every element of a range of the product's columns once, in any order of dims. */
static bool any_order(DimPool *p, const Group *g, const Node *n, const Index *at, MatmulReads *r)
{
    uint32_t last = node_rank(n) - 1;
    r->at = *at;
    r->start[0] = dim_const(p, at->d[last]->value);
    r->at.d[last] = dim_sub(p, at->d[last], r->start[0]);
    return r->start[0]->value >= 0 && matmul_row_digits(p, g, ALL_DIMS, n, 1, r);
}

void matmul_coords(DimPool *p, const Group *g, const Node *n, const MatmulReads *r, const Index *element, Dim *coords)
{
    Dim columns, last = element->d[node_rank(n) - 1];
    for (uint32_t d = 0; d < g->domain.rank; d++)
        coords[d] = dim_const(p, 0);
    if (r->row) {
        Shape inner = {0};
        for (uint32_t d = 0; d < g->domain.rank; d++)
            if (!(r->outer & 1u << d))
                inner.d[inner.rank++] = g->domain.d[d];
        Index in = index_unflatten(p, &inner, dim_mod(p, last, dim_const(p, r->row)));
        for (uint32_t d = 0, i = 0; d < g->domain.rank; d++)
            if (!(r->outer & 1u << d))
                coords[d] = dim_is(inner.d[i], 1) ? dim_const(p, 0) : in.d[i], i++;
    }
    bool known = r->by_columns || all_digits(p, g, r->row ? r->outer : ALL_DIMS, n, &r->at, r->row ? r->row : 1, element, coords, &columns);
    pawl_assert(known, "no coordinates for an element of the product");
    if (r->by_columns)
        memcpy(coords, element->d, sizeof(Dim) * node_rank(n));
}

bool matmul_reads(Context *cx, const Group *g, const Node *n, const Index *at, uint32_t n_at, MatmulReads *out)
{
    DimPool *p = cx->dims;
    *out = (MatmulReads){.parts = 1, .start = {dim_const(p, 0)}, .columns = n->type.shape.d[node_rank(n) - 1]};
    if (!n_at)
        return false;
    if (g->reduces.n)
        return matmul_rows(cx, g, n, out);
    if (n_at == 1 && any_order(p, g, n, &at[0], out))
        return true;
    out->parts = matmul_columns(cx, g, n, at, n_at, out->start);
    out->columns = g->domain.d[g->domain.rank - 1];
    out->by_columns = true;
    return out->parts > 0 || matmul_rows(cx, g, n, out);
}
