/* ir/eval_matmul.c — batched matrix products at wanted coordinates.
 *
 * The wanted elements of a batch are taken in panels of 256 rows: the panel's rows of `a` are gathered once, then each wanted
 * column of `b` once, and every wanted (row, column) is a dot product of two dense lines. Columns are shared out to the threads.
 * Rows of a grouped product are a batch where they are of one group.
 * All domains add the same way: term k goes to partial sum k mod 16, and the 16 are merged in order. Domains that are only
 * doubles have a typed dot product that the compiler can vectorise; test_eval_nodes.c holds all of them against plain sums. */
#include "ir/eval_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LANES 16
#define PANEL 256

/* A row of a or column of b: Values for the generic product, else typed arrays, padded with zeros to whole LANES. */
typedef struct {
    Value  *value;
    double *v;                         /* the numbers */
    double *s;                         /* running error: |v| */
    double *e;                         /* running error: E */
    float  *f;                         /* baseline of f16 and bf16: products are exact in fp32 */
    bool    has_e;
} Line;

typedef enum { WAY_VALUES, WAY_FP64, WAY_ERROR, WAY_FP32_WIDE, WAY_FP32 } Way;

static Way choose_way(const Domain *d, const Node *n)
{
    DType t = eval_matmul_operand(n, 0).of->type.dtype;
    if (!dtype_is_float(t) || n->in[1]->type.dtype != n->in[0]->type.dtype)
        return WAY_VALUES;
    switch (d->dot) {
    case DOT_VALUES: return WAY_VALUES;
    case DOT_FP64:   return WAY_FP64;
    case DOT_ERROR:  return WAY_ERROR;
    case DOT_BASELINE: case DOT_TF32:
        return t == DT_F64 ? WAY_FP64 : t == DT_F32 ? WAY_FP32_WIDE : WAY_FP32;
    }
    return WAY_VALUES;
}

/* ---- dot products: the 16 partial sums as registers that every x86-64 and Arm has ------------------------------------- */
typedef double Doubles __attribute__((vector_size(16)));
typedef float  Floats  __attribute__((vector_size(16)));
typedef float  Halves  __attribute__((vector_size(8)));
#define EACH_4(DO) DO(0) DO(1) DO(2) DO(3)
#define EACH_8(DO) EACH_4(DO) DO(4) DO(5) DO(6) DO(7)

static double dot_doubles(const double *a, const double *b, int64_t blocks)
{
    const Doubles *x = (const Doubles *)a, *y = (const Doubles *)b;
    Doubles lanes[8] = {0};
    for (int64_t k = 0; k < blocks; k++, x += 8, y += 8) {
#define STEP(i) lanes[i] += x[i] * y[i];
        EACH_8(STEP)
#undef STEP
    }
    double sum = 0;
#define MERGE(i) sum = sum + lanes[i][0] + lanes[i][1];
    EACH_8(MERGE)
#undef MERGE
    return sum;
}

static Value dot_fp64(const Line *a, const Line *b, int64_t blocks)
{
    return (Value){.v = dot_doubles(a->v, b->v, blocks)};
}

/* E = sum of |a b| + |a| E(b) + |b| E(a) */
static Value dot_error(const Line *a, const Line *b, int64_t blocks)
{
    double e = dot_doubles(a->s, b->s, blocks);
    if (b->has_e)
        e += dot_doubles(a->s, b->e, blocks);
    if (a->has_e)
        e += dot_doubles(a->e, b->s, blocks);
    return (Value){.v = dot_doubles(a->v, b->v, blocks), .e = e};
}

static Value dot_fp32(const Line *a, const Line *b, int64_t blocks)
{
    const Floats *x = (const Floats *)a->f, *y = (const Floats *)b->f;
    Floats lanes[4] = {0};
    for (int64_t k = 0; k < blocks; k++, x += 4, y += 4) {
#define STEP(i) lanes[i] += x[i] * y[i];
        EACH_4(STEP)
#undef STEP
    }
    float sum = 0;
#define MERGE(i) sum = sum + lanes[i][0] + lanes[i][1] + lanes[i][2] + lanes[i][3];
    EACH_4(MERGE)
#undef MERGE
    return (Value){.v = (double)sum};
}

/* Products of two f32 are exact as doubles; each addition rounds to fp32. */
static Value dot_fp32_wide(const Line *a, const Line *b, int64_t blocks)
{
    const Doubles *x = (const Doubles *)a->v, *y = (const Doubles *)b->v;
    Halves lanes[8] = {0};
    for (int64_t k = 0; k < blocks; k++, x += 8, y += 8) {
#define STEP(i) lanes[i] = __builtin_convertvector(__builtin_convertvector(lanes[i], Doubles) + x[i] * y[i], Halves);
        EACH_8(STEP)
#undef STEP
    }
    float sum = 0;
#define MERGE(i) sum = sum + lanes[i][0] + lanes[i][1];
    EACH_8(MERGE)
#undef MERGE
    return (Value){.v = (double)sum};
}

static Value dot_values(const Domain *d, const Node *n, const Line *a, const Line *b, int64_t k_len)
{
    Value lane[LANES];
    for (int i = 0; i < LANES; i++)
        lane[i] = d->start(d, n);
    for (int64_t k = 0; k < k_len; k++)
        lane[k % LANES] = d->combine(d, n, lane[k % LANES], d->multiply(d, n, a->value[k], b->value[k]));
    Value sum = d->start(d, n);
    for (int i = 0; i < LANES; i++)
        sum = d->merge(d, n, sum, lane[i]);
    return sum;
}

/* ---- gathering lines ---------------------------------------------------------------------------------------------------- */
static int64_t padded(int64_t k) { return (k + LANES - 1) / LANES * LANES; }

static void *aligned_zeros(size_t bytes)
{
    void *p = NULL;
    if (posix_memalign(&p, 128, bytes + 128) != 0)
        arena_exhausted(bytes + 128);
    return memset(p, 0, bytes + 128);
}

static Line line_new(Way way, int64_t k)
{
    size_t n = (size_t)padded(k);
    Line l = {0};
    if (way == WAY_VALUES)
        l.value = aligned_zeros(n * sizeof(Value));
    else if (way == WAY_FP32)
        l.f = aligned_zeros(n * sizeof(float));
    else
        l.v = aligned_zeros(n * sizeof(double));
    if (way == WAY_ERROR) {
        l.s = aligned_zeros(n * sizeof(double));
        l.e = aligned_zeros(n * sizeof(double));
    }
    return l;
}

static void line_free(Line *l)
{
    free(l->value);
    free(l->v);
    free(l->s);
    free(l->e);
    free(l->f);
}

/* An element of a tensor, as every typed domain reads it: weights are gathered by the million, so bf16 is not left to a call. */
static double source_number(DType t, const char *element)
{
    if (t != DT_BF16)
        return dtype_load(t, element);
    uint16_t half;
    float wide;
    memcpy(&half, element, sizeof half);
    uint32_t bits = (uint32_t)half << 16;
    memcpy(&wide, &bits, sizeof wide);
    return (double)wide;
}

/* An element that only its pieces know: as exact as they are in every domain. */
static Value join_pieces(const Run *r, const Node *n, Value hi, const Value *lo, Value inv)
{
    const Domain *d = r->d;
    if (d->dot != DOT_VALUES)
        return (Value){.v = (hi.v + (lo ? lo->v / 2048 : 0)) * fabs(inv.v)};
    if (lo)
        hi = d->combine(d, n, hi, d->multiply(d, n, *lo, d->literal(d, DT_F32, 0x1p-11)));
    if (inv.v < 0)
        inv = d->multiply(d, n, inv, d->literal(d, DT_F32, -1));
    return d->multiply(d, n, hi, inv);
}

static void line_put(Line *l, Way way, int64_t k, Value x, bool tf32)
{
    switch (way) {
    case WAY_VALUES: l->value[k] = x; break;
    case WAY_FP32:   l->f[k] = (float)x.v; break;
    case WAY_ERROR:
        l->s[k] = fabs(x.v);
        l->e[k] = x.e;
        l->has_e |= x.e != 0;
        l->v[k] = x.v;
        break;
    case WAY_FP64: case WAY_FP32_WIDE: l->v[k] = tf32 ? eval_round_tf32(x.v) : x.v; break;
    }
}

/* A line of the matrix that pieces stand for; its scale is at inv_at. */
static void pieces_gather(const Run *r, const Node *n, const MatmulOperand *from, int64_t start, int64_t stride, int64_t inv_at,
                          int64_t k_len, Way way, Line *l)
{
    size_t hint[3] = {0};
    Value inv = eval_value_at(r, from->inv, inv_at, &hint[2]);
    l->has_e = false;
    for (int64_t k = 0; k < k_len; k++) {
        int64_t flat = start + k * stride;
        Value hi = eval_value_at(r, from->of, flat, &hint[0]), lo = {0};
        if (from->lo)
            lo = eval_value_at(r, from->lo, flat, &hint[1]);
        line_put(l, way, k, join_pieces(r, n, hi, from->lo ? &lo : NULL, inv), r->d->dot == DOT_TF32);
    }
}

static void line_gather(const Run *r, const Node *from, int64_t start, int64_t stride, int64_t k_len, Way way, Line *l)
{
    size_t hint = 0;
    DType t = from->type.dtype;
    bool tf32 = r->d->dot == DOT_TF32 && t == DT_F32;
    const int64_t size = dtype_bytes(t);
    const Tensor *source = way == WAY_VALUES ? NULL : r->e->plan[from->id].source;
    l->has_e = false;
    for (int64_t k = 0; k < k_len; k++) {
        int64_t flat = start + k * stride;
        Value x = source ? (Value){.v = source_number(t, (const char *)source->data + flat * size)}
                         : eval_value_at(r, from, flat, &hint);
        line_put(l, way, k, x, tf32);
    }
}

/* ---- panels -------------------------------------------------------------------------------------------------------------- */
typedef struct { uint32_t row, col; size_t to; } Want;     /* row of the panel, index into cols, position in the output */

typedef struct {
    const Run *r;
    const Node *node;
    MatmulBox box;
    Way way;
    const int64_t *ends; int64_t n_groups; bool no_sum;    /* of a grouped product (NULL: an ordinary one); no_sum: behind the last group */
    int64_t a_start, b_start;          /* of the batch */
    Line *rows; uint32_t n_rows;
    int64_t row_id[PANEL];
    const int64_t *cols; uint32_t n_cols;
    const Want *wants; const size_t *first;                /* by column: wants[first[c] .. first[c + 1]) */
    Value *out;
} Panel;

static Value panel_dot(const Panel *p, const Line *a, const Line *b)
{
    const Domain *d = p->r->d;
    int64_t blocks = padded(p->box.k) / LANES;
    switch (p->way) {
    case WAY_VALUES:    return dot_values(d, p->node, a, b, p->box.k);
    case WAY_FP64:      return dot_fp64(a, b, blocks);
    case WAY_ERROR:     return dot_error(a, b, blocks);
    case WAY_FP32_WIDE: return dot_fp32_wide(a, b, blocks);
    case WAY_FP32:      return dot_fp32(a, b, blocks);
    }
    return (Value){0};
}

static void rows_body(void *arg, int64_t begin, int64_t end, int worker)
{
    const Panel *p = arg;
    const Node *a = eval_matmul_operand(p->node, 0).of;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        line_gather(p->r, a, p->a_start + p->row_id[i] * p->box.a_row, p->box.a_k, p->box.k, p->way, &p->rows[i]);
}

static void columns_body(void *arg, int64_t begin, int64_t end, int worker)
{
    const Panel *p = arg;
    const Domain *d = p->r->d;
    Line col = line_new(p->way, p->box.k);
    MatmulOperand b = eval_matmul_operand(p->node, 1);
    (void)worker;
    for (int64_t c = begin; c < end; c++) {
        int64_t start = p->b_start + p->cols[c] * p->box.b_col, inv_at = eval_matmul_scale_at(&p->box, p->b_start, p->cols[c]);
        if (b.inv)
            pieces_gather(p->r, p->node, &b, start, p->box.b_k, inv_at, p->box.k, p->way, &col);
        else
            line_gather(p->r, b.of, start, p->box.b_k, p->box.k, p->way, &col);
        for (size_t i = p->first[c]; i < p->first[c + 1]; i++)
            p->out[p->wants[i].to] = d->finish(d, p->node, panel_dot(p, &p->rows[p->wants[i].row], &col), p->box.k);
    }
    line_free(&col);
}

/* Orders the wanted elements [from, to) of one panel by column. */
static void panel_index(Panel *p, const Demand *d, int64_t from, int64_t to, int64_t *col_slot, Arena *a)
{
    int64_t n = p->box.n, *cols = arena_new_array(a, int64_t, n);
    size_t total = (size_t)(to - from), *first = arena_new_array(a, size_t, n + 1);
    Want *wants = arena_new_array(a, Want, total);
    memset(col_slot, 0, (size_t)n * sizeof *col_slot);
    for (int64_t i = from; i < to; i++)
        col_slot[demand_at(d, (size_t)i) % n]++;
    size_t at = 0;
    for (int64_t c = 0; c < n; c++)
        if (col_slot[c]) {
            cols[p->n_cols] = c;
            first[p->n_cols++] = at;
            at += (size_t)col_slot[c];
            col_slot[c] = p->n_cols - 1;
        }
    first[p->n_cols] = at;
    size_t *next = arena_copy(a, first, sizeof *first * (p->n_cols + 1));
    uint32_t row = 0;
    for (int64_t i = from; i < to; i++) {
        int64_t flat = demand_at(d, (size_t)i);
        while (p->row_id[row] != flat / n % p->box.m)
            row++;
        uint32_t c = (uint32_t)col_slot[flat % n];
        wants[next[c]++] = (Want){row, c, (size_t)i};
    }
    p->cols = cols;
    p->first = first;
    p->wants = wants;
}

/* Where the groups' rows end; what the ends say counts as in ops.def. */
static const int64_t *group_ends(const Run *r, const Node *n, int64_t count, int64_t rows, Arena *a)
{
    int64_t *ends = arena_new_array(a, int64_t, count), last = 0;
    size_t hint = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t end = eval_value_at(r, n->in[2], i, &hint).i;
        last = ends[i] = end > rows ? rows : end > last ? end : last;
    }
    return ends;
}

/* The batch that a row (of all batches) belongs to. Grouped: its group, the number of groups where it is behind the last one. */
static int64_t batch_of_row(const Panel *p, int64_t row)
{
    int64_t lo = 0, hi = p->n_groups;
    if (!p->ends)
        return row / p->box.m;
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        if (p->ends[mid] <= row)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Rows of the panel that begins at element `from` of the demand; returns where the panel ends: at most PANEL rows of a batch. */
static int64_t panel_rows(Panel *p, const Demand *d, int64_t from, int64_t count)
{
    int64_t n = p->box.n, batch = batch_of_row(p, demand_at(d, (size_t)from) / n), last = -1, i = from;
    p->n_rows = p->n_cols = 0;
    p->no_sum = p->ends && batch == p->n_groups;
    for (; i < count; i++) {
        int64_t row = demand_at(d, (size_t)i) / n;
        if (row == last)
            continue;
        if (p->n_rows == PANEL || batch_of_row(p, row) != batch)
            break;
        last = row;
        p->row_id[p->n_rows++] = row % p->box.m;
    }
    p->a_start = affine_at(&p->box.a, batch);
    p->b_start = affine_at(&p->box.b, batch);
    return i;
}

void eval_matmul(Run *r, const Node *n)
{
    const Demand *d = &r->demand[n->id];
    int64_t count = d->all ? r->e->plan[n->id].count : (int64_t)d->n;
    Panel p = {.r = r, .node = n, .box = eval_matmul_box(r->e, n), .way = choose_way(r->d, n), .out = r->values[n->id]};
    Arena *a = arena_new();
    if (n->op == OP_GROUPED_MATMUL) {
        p.n_groups = r->e->plan[n->in[2]->id].dim[0];
        p.ends = group_ends(r, n, p.n_groups, p.box.m, a);
    }
    ArenaMark mark = arena_mark(a);
    int64_t *slots = malloc(sizeof *slots * (size_t)p.box.n + 1);
    if (!slots)
        arena_exhausted(sizeof *slots * (size_t)p.box.n);
    Line rows[PANEL];
    uint32_t have = 0;
    p.rows = rows;
    for (int64_t from = 0, to; from < count; from = to) {
        to = panel_rows(&p, d, from, count);
        for (int64_t i = from; p.no_sum && i < to; i++)
            p.out[i] = r->d->finish(r->d, n, r->d->start(r->d, n), p.box.k);
        if (p.no_sum)
            continue;
        panel_index(&p, d, from, to, slots, a);
        while (have < p.n_rows)
            rows[have++] = line_new(p.way, p.box.k);
        eval_for(r, p.n_rows, 1, rows_body, &p);
        eval_for(r, p.n_cols, 8, columns_body, &p);
        arena_reset(a, mark);
    }
    while (have > 0)
        line_free(&rows[--have]);
    free(slots);
    arena_free(a);
}
