/* ir/eval_points.c — which elements a sweep has to compute: wanted coordinates, propagated from the outputs to the operands.
 *
 * Every node gathers the coordinates its users want of it and keeps them sorted and unique, or "all". A node is reached in reverse
 * order, hence after all its users. Matmul rows and columns and the lines of scans are made unique before they are spelt out as
 * elements, so the work is in proportion to what is wanted. Sources are read in place and keep no demand. */
#include "ir/eval_internal.h"
#include <stdlib.h>
#include <string.h>

typedef Vec(Demand) Wishes;            /* of one node, before they are united */

/* ---- sorted sets of coordinates ------------------------------------------------------------------------------------- */
static bool is_ascending(const int64_t *at, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (at[i - 1] >= at[i])
            return false;
    return true;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* In place; returns the new length. Dense sets go through a bitmap, thin ones are sorted. */
static size_t sort_unique(int64_t *at, size_t n, int64_t count)
{
    if (is_ascending(at, n))
        return n;
    size_t out = 0;
    if ((uint64_t)count / 64 <= n) {
        uint64_t *bits = calloc((size_t)count / 64 + 1, sizeof *bits);
        if (!bits)
            arena_exhausted((size_t)count / 8);
        for (size_t i = 0; i < n; i++)
            bits[at[i] / 64] |= (uint64_t)1 << at[i] % 64;
        for (int64_t w = 0; w <= count / 64; w++)
            for (uint64_t b = bits[w]; b; b &= b - 1)
                at[out++] = w * 64 + __builtin_ctzll(b);
        free(bits);
        return out;
    }
    qsort(at, n, sizeof *at, by_value);
    for (size_t i = 0; i < n; i++)
        if (!i || at[i] != at[i - 1])
            at[out++] = at[i];
    return out;
}

static Demand demand_of(int64_t *at, size_t n, int64_t count)
{
    n = sort_unique(at, n, count);
    return (int64_t)n == count ? (Demand){.all = true} : (Demand){.n = n, .at = at};
}

static size_t demand_count(const Demand *d, int64_t count) { return d->all ? (size_t)count : d->n; }

static Demand unite(Arena *a, const Wishes *w, int64_t count)
{
    size_t total = 0;
    bool same = true;
    for (uint32_t i = 0; i < w->n; i++) {
        if (w->data[i].all)
            return (Demand){.all = true};
        same = same && w->data[i].at == w->data[0].at && w->data[i].n == w->data[0].n;
        total += w->data[i].n;
    }
    if (!w->n || (same && is_ascending(w->data[0].at, w->data[0].n)))
        return w->n ? w->data[0] : (Demand){0};
    int64_t *at = arena_new_array(a, int64_t, total);
    size_t n = 0;
    for (uint32_t i = 0; i < w->n; i++) {
        memcpy(at + n, w->data[i].at, w->data[i].n * sizeof *at);
        n += w->data[i].n;
    }
    return demand_of(at, n, count);
}

size_t eval_demand_find(const Demand *d, int64_t flat, size_t *hint)
{
    if (d->all)
        return (size_t)flat;
    for (size_t at = *hint; at < d->n && at <= *hint + 1; at++)
        if (d->at[at] == flat)
            return *hint = at;
    size_t lo = 0, hi = d->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (d->at[mid] < flat)
            lo = mid + 1;
        else
            hi = mid;
    }
    pawl_assert(lo < d->n && d->at[lo] == flat, "element %lld was not asked for", (long long)flat);
    return *hint = lo;
}

/* ---- index maps that the forward sweep shares -------------------------------------------------------------------------- */
GatherBox eval_gather_box(const Evaluator *e, const Node *n)
{
    const NodePlan *table = &e->plan[n->in[0]->id];
    uint32_t axis = (uint32_t)node_int(n, ATTR_AXIS, 0), rank = node_rank(n->in[0]);
    GatherBox b = {1, e->plan[n->in[1]->id].count, 1, table->dim[axis]};
    for (uint32_t i = 0; i < axis; i++)
        b.before *= table->dim[i];
    for (uint32_t i = axis + 1; i < rank; i++)
        b.after *= table->dim[i];
    return b;
}

/* Splits a flat coordinate at `axis`: outer, position along the axis, inner. */
typedef struct { int64_t outer, pos, inner, inner_count; } AxisAt;
static AxisAt axis_at(const NodePlan *p, uint32_t rank, uint32_t axis, int64_t flat)
{
    int64_t inner = 1;
    for (uint32_t i = axis + 1; i < rank; i++)
        inner *= p->dim[i];
    return (AxisAt){flat / inner / p->dim[axis], flat / inner % p->dim[axis], flat % inner, inner};
}

PartAt eval_concat_part(const Evaluator *e, const Node *n, int64_t flat)
{
    uint32_t axis = (uint32_t)node_int(n, ATTR_AXIS, 0);
    AxisAt x = axis_at(&e->plan[n->id], node_rank(n), axis, flat);
    uint32_t part = 0;
    int64_t len = e->plan[n->in[0]->id].dim[axis];
    while (x.pos >= len) {
        x.pos -= len;
        len = e->plan[n->in[++part]->id].dim[axis];
    }
    return (PartAt){part, (x.outer * len + x.pos) * x.inner_count + x.inner};
}

int64_t eval_pad_source(const Evaluator *e, const Node *n, int64_t flat)
{
    uint32_t axis = (uint32_t)node_int(n, ATTR_AXIS, 0);
    AxisAt x = axis_at(&e->plan[n->id], node_rank(n), axis, flat);
    int64_t low = 0, len = e->plan[n->in[0]->id].dim[axis];
    Dim d = node_dim(n, ATTR_LOW);
    if (d)
        dim_eval(d, NULL, 0, &low, NULL);
    return x.pos < low || x.pos >= low + len ? -1 : (x.outer * len + x.pos - low) * x.inner_count + x.inner;
}

/* Batch dims of an operand, aligned to the right with the result's, broadcast where they are 1 or missing. */
static Affine batch_of(const Evaluator *e, const Node *n, const Node *operand)
{
    const NodePlan *to = &e->plan[n->id], *from = &e->plan[operand->id];
    uint32_t rank = node_rank(n) - 2, in_rank = node_rank(operand) - 2;
    Affine a = {.rank = rank};
    int64_t stride = from->dim[in_rank] * from->dim[in_rank + 1];
    for (uint32_t i = 0; i < rank; i++)
        a.dim[i] = to->dim[i];
    for (uint32_t i = in_rank; i-- > 0; stride *= from->dim[i])
        a.stride[i + rank - in_rank] = from->dim[i] == 1 ? 0 : stride;
    return a;
}

MatmulOperand eval_matmul_operand(const Node *n, uint32_t side)
{
    if (n->op != OP_SPLIT_MATMUL)
        return (MatmulOperand){.of = n->in[side]};
    SplitOperand x = split_operand(n, side);
    return x.exact ? (MatmulOperand){.of = x.exact} : (MatmulOperand){x.hi, x.lo, x.inv};
}

int64_t eval_matmul_scale_at(const MatmulBox *m, int64_t b_start, int64_t col) { return (m->b_size ? b_start / m->b_size * m->n : 0) + col; }

MatmulBox eval_matmul_box(const Evaluator *e, const Node *n)
{
    const Node *of_a = eval_matmul_operand(n, 0).of, *of_b = eval_matmul_operand(n, 1).of;
    const int64_t *a = e->plan[of_a->id].dim + node_rank(of_a) - 2;
    const int64_t *b = e->plan[of_b->id].dim + node_rank(of_b) - 2;
    bool ta = node_int(n, ATTR_TRANS_A, 0) != 0, tb = node_int(n, ATTR_TRANS_B, 0) != 0;
    Affine matrices = {.rank = 1, .dim = {e->plan[of_b->id].dim[0]}, .stride = {b[0] * b[1]}};        /* grouped: by group */
    return (MatmulBox){
        .a = batch_of(e, n, of_a), .b = n->op == OP_GROUPED_MATMUL ? matrices : batch_of(e, n, of_b),
        .m = a[ta], .k = a[!ta], .n = b[!tb], .b_size = b[0] * b[1],
        .a_row = ta ? 1 : a[1], .a_k = ta ? a[1] : 1, .b_col = tb ? b[1] : 1, .b_k = tb ? 1 : b[1],
    };
}

/* ---- operands' demand, one function a class ------------------------------------------------------------------------------ */
typedef struct { Run *r; Wishes *wishes; } Spread;

static const NodePlan *plan_of(const Spread *s, const Node *n) { return &s->r->e->plan[n->id]; }
static bool is_source(const Node *n) { return op_class(n->op) == CLASS_SOURCE; }
/* Nothing is computed for it: a source, or a view of one. */
static bool is_read_in_place(const Spread *s, const Node *n)
{
    return is_source(s->r->e->g->nodes.data[plan_of(s, n)->base]);
}

static void wish(Spread *s, const Node *operand, Demand d)
{
    if ((d.all || d.n) && !is_read_in_place(s, operand))
        vec_push(s->r->arena, &s->wishes[operand->id], d);
}

static void wish_same(Spread *s, const Node *n, const Demand *d)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        wish(s, n->in[i], *d);
}

static void wish_view(Spread *s, const Node *n, const Demand *d)
{
    const NodePlan *p = plan_of(s, n), *from = plan_of(s, n->in[0]);
    bool keeps_all = n->op != OP_SLICE;
    if (!p->view.rank || (d->all && keeps_all)) {
        wish(s, n->in[0], *d);
        return;
    }
    size_t count = demand_count(d, p->count);
    int64_t *at = arena_new_array(s->r->arena, int64_t, count);
    for (size_t i = 0; i < count; i++)
        at[i] = affine_at(&p->view, demand_at(d, i));
    wish(s, n->in[0], demand_of(at, count, from->count));
}

static void wish_concat(Spread *s, const Node *n, const Demand *d)
{
    if (d->all) {
        wish_same(s, n, d);
        return;
    }
    size_t *count = arena_new_array(s->r->arena, size_t, n->n_in);
    int64_t **at = arena_new_array(s->r->arena, int64_t *, n->n_in);
    for (size_t i = 0; i < d->n; i++)
        count[eval_concat_part(s->r->e, n, d->at[i]).part]++;
    for (uint32_t k = 0; k < n->n_in; k++) {
        at[k] = arena_new_array(s->r->arena, int64_t, count[k]);
        count[k] = 0;
    }
    for (size_t i = 0; i < d->n; i++) {
        PartAt p = eval_concat_part(s->r->e, n, d->at[i]);
        at[p.part][count[p.part]++] = p.at;
    }
    for (uint32_t k = 0; k < n->n_in; k++)
        wish(s, n->in[k], demand_of(at[k], count[k], plan_of(s, n->in[k])->count));
}

static void wish_pad(Spread *s, const Node *n, const Demand *d)
{
    size_t count = demand_count(d, plan_of(s, n)->count), kept = 0;
    int64_t *at = arena_new_array(s->r->arena, int64_t, count);
    for (size_t i = 0; i < count; i++) {
        int64_t from = eval_pad_source(s->r->e, n, demand_at(d, i));
        if (from >= 0)
            at[kept++] = from;
    }
    wish(s, n->in[0], demand_of(at, kept, plan_of(s, n->in[0])->count));
}

/* Lines whose starts are `start` become their elements. */
static Demand demand_of_lines(Spread *s, const int64_t *start, size_t n, const Affine *line, int64_t len, int64_t count)
{
    int64_t *at = arena_new_array(s->r->arena, int64_t, n * (size_t)len);
    size_t out = 0;
    for (size_t i = 0; i < n; i++)
        for (int64_t k = 0; k < len; k++)
            at[out++] = start[i] + affine_at(line, k);
    return demand_of(at, out, count);
}

static void wish_lines(Spread *s, const Node *n, const Demand *d)
{
    const NodePlan *p = plan_of(s, n), *from = plan_of(s, n->in[0]);
    if (d->all) {
        wish(s, n->in[0], *d);
        return;
    }
    bool scan = op_class(n->op) == CLASS_SCAN;
    int64_t stride = scan ? p->line.stride[0] : 1;
    int64_t *start = arena_new_array(s->r->arena, int64_t, d->n);
    for (size_t i = 0; i < d->n; i++)                       /* a scan's output lies at its own place in the line */
        start[i] = scan ? d->at[i] - d->at[i] / stride % p->line_len * stride : affine_at(&p->view, d->at[i]);
    size_t lines = scan ? sort_unique(start, d->n, from->count) : d->n;
    wish(s, n->in[0], demand_of_lines(s, start, lines, &p->line, p->line_len, from->count));
}

static void wish_optional(Spread *s, const Node *operand, Demand d)
{
    if (operand)
        wish(s, operand, d);
}

static void wish_scales(Spread *s, const Node *inv, const MatmulBox *m, const Demand *d)
{
    if (d->all) {
        wish(s, inv, *d);
        return;
    }
    int64_t *at = arena_new_array(s->r->arena, int64_t, d->n);
    for (size_t i = 0; i < d->n; i++)
        at[i] = eval_matmul_scale_at(m, affine_at(&m->b, d->at[i] / (m->m * m->n)), d->at[i] % m->n);
    wish(s, inv, demand_of(at, d->n, plan_of(s, inv)->count));
}

static void wish_matmul(Spread *s, const Node *n, const Demand *d)
{
    MatmulBox m = eval_matmul_box(s->r->e, n);
    bool grouped = n->op == OP_GROUPED_MATMUL;              /* which matrix a row meets depends on values that are not known yet */
    if (grouped)
        wish(s, n->in[2], (Demand){.all = true});
    for (uint32_t side = 0; side < 2; side++) {
        MatmulOperand x = eval_matmul_operand(n, side);
        const NodePlan *from = plan_of(s, x.of);
        if (x.inv)
            wish_scales(s, x.inv, &m, d);
        if (is_read_in_place(s, x.of) && (!x.lo || is_read_in_place(s, x.lo)))
            continue;
        if (d->all || (grouped && side)) {
            wish(s, x.of, (Demand){.all = true});
            wish_optional(s, x.lo, (Demand){.all = true});
            continue;
        }
        int64_t *start = arena_new_array(s->r->arena, int64_t, d->n);
        size_t starts = 0;
        for (size_t i = 0; i < d->n; i++) {
            int64_t batch = d->at[i] / (m.m * m.n), row = d->at[i] / m.n % m.m, col = d->at[i] % m.n;
            int64_t at = side ? affine_at(&m.b, batch) + col * m.b_col : affine_at(&m.a, batch) + row * m.a_row;
            if (!starts || start[starts - 1] != at)
                start[starts++] = at;
        }
        starts = sort_unique(start, starts, from->count);
        Affine line = {.rank = 1, .dim = {m.k}, .stride = {side ? m.b_k : m.a_k}};
        Demand lines = demand_of_lines(s, start, starts, &line, m.k, from->count);
        wish(s, x.of, lines);
        wish_optional(s, x.lo, lines);
    }
}

/* Which rows are read depends on values that are not known yet: the whole table, unless it is read in place. */
static void wish_gather(Spread *s, const Node *n, const Demand *d)
{
    GatherBox b = eval_gather_box(s->r->e, n);
    wish(s, n->in[0], (Demand){.all = true});
    if (d->all) {
        wish(s, n->in[1], *d);
        return;
    }
    int64_t *at = arena_new_array(s->r->arena, int64_t, d->n);
    for (size_t i = 0; i < d->n; i++)
        at[i] = d->at[i] / b.after % b.index;
    wish(s, n->in[1], demand_of(at, d->n, b.index));
}

static void wish_operands(Spread *s, const Node *n, const Demand *d)
{
    switch (op_class(n->op)) {
    case CLASS_SOURCE:
        break;
    case CLASS_CHOICE: case CLASS_MOVEMENT:
        if (n->op == OP_CONCAT)
            wish_concat(s, n, d);
        else if (n->op == OP_PAD)
            wish_pad(s, n, d);
        else
            wish_view(s, n, d);
        break;
    case CLASS_POINTWISE: case CLASS_CAST:
        wish_same(s, n, d);
        break;
    case CLASS_REDUCE: case CLASS_SCAN:
        wish_lines(s, n, d);
        break;
    case CLASS_CONTRACT:
        wish_matmul(s, n, d);
        break;
    case CLASS_GATHER:
        wish_gather(s, n, d);
        break;
    }
}

void eval_demand(Run *r, const uint32_t *outputs, const Demand *wanted, uint32_t n)
{
    uint32_t ids = 1;
    for (uint32_t i = 0; i < r->e->n_order; i++)
        ids = r->e->order[i]->id >= ids ? r->e->order[i]->id + 1 : ids;
    Spread s = {r, arena_new_array(r->arena, Wishes, ids)};
    for (uint32_t k = 0; k < n; k++)
        wish(&s, r->e->g->outputs.data[outputs[k]].node, wanted[k]);
    for (uint32_t i = r->e->n_order; i-- > 0; ) {
        const Node *node = r->e->order[i];
        if (!s.wishes[node->id].n)
            continue;
        r->demand[node->id] = unite(r->arena, &s.wishes[node->id], r->e->plan[node->id].count);
        wish_operands(&s, node, &r->demand[node->id]);
    }
}
