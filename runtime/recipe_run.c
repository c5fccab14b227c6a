/* runtime/recipe_run.c — recipes run, tile by tile.
 *
 * A tile is a box of 16 x 128 elements of the weight. Each step computes the box of itself that its reader asks for: movement asks for
 * another box of its operand, and what is broadcast is computed once and spread; so parameters are read and the weight is written once,
 * and nothing else is as large as they. Only reductions are computed whole, before: one number a line.
 *
 * All arithmetic is on f32, rounded to the step's type: the bits of an evaluation in f64 that rounds after every step, since
 * f64 has more than twice the digits. */
#include "runtime/recipe_internal.h"
#include "base/diag.h"
#include "base/narrow.h"
#include "base/pool.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 16, COLS = 128, TILE = ROWS * COLS, SLOTS = 200, PARALLEL_FROM = 1 << 16 };

/* Elements at + r along dim `row` + c along dim `col`; a dim of -1 is none: one row, or one column. */
typedef struct { int64_t at[TENSOR_MAX_RANK]; int row, col; int64_t rows, cols; } Box;

typedef struct { float *slot; uint32_t used; } Worker;       /* SLOTS tiles, taken in the order of nesting */

typedef struct { const Recipe *r; const RecipeStep *step; Tensor *out; Worker *workers; } Job;

static float *take(Worker *w)
{
    pawl_assert(w->used < SLOTS, "a recipe nests too deeply");
    return w->slot + (size_t)w->used++ * TILE;
}

static uint32_t bits_of(float f) { uint32_t u; memcpy(&u, &f, sizeof u); return u; }
static float float_of(uint32_t u) { float f; memcpy(&f, &u, sizeof f); return f; }

/* ---- memory ---------------------------------------------------------------------------------------------------------------------- */
#define READ(type, value)                                                                                \
    for (int64_t c = 0; c < b->cols; c++)                                                                \
        for (int64_t r = 0; r < b->rows; r++) {                                                          \
            type x = ((const type *)from)[at + r * row_stride + c * col_stride];                         \
            out[r * b->cols + c] = value;                                                                \
        }

static void read_memory(const RecipeStep *t, const Box *b, float *out)
{
    int64_t stride = 1, at = 0, row_stride = 0, col_stride = 0;
    const void *from = t->type.data;
    DType dtype = t->op == RECIPE_PARAM ? t->type.dtype : DT_F32;          /* reductions are kept as f32 */
    for (int i = t->type.rank; i-- > 0; stride *= t->type.dims[i]) {
        at += b->at[i] * stride;
        row_stride = i == b->row ? stride : row_stride;
        col_stride = i == b->col ? stride : col_stride;
    }
    if (dtype == DT_F32 && col_stride == 1)
        for (int64_t r = 0; r < b->rows; r++)
            memcpy(out + r * b->cols, (const float *)from + at + r * row_stride, sizeof(float) * (size_t)b->cols);
    else if (dtype == DT_F32)
        READ(float, x)
    else if (dtype == DT_F16)
        READ(uint16_t, f16_to_f32(x))
    else if (dtype == DT_BF16)
        READ(uint16_t, bf16_to_f32(x))
    else
        READ(uint8_t, x != 0)
}

static void write_row(DType t, void *to, const float *x, int64_t n)
{
    uint16_t *halves = to;
    uint8_t *bytes = to;
    if (t == DT_F32)
        memcpy(to, x, sizeof *x * (size_t)n);
    for (int64_t i = 0; t == DT_F16 && i < n; i++)
        halves[i] = narrow_f64((double)x[i], 10, -14, 15);
    for (int64_t i = 0; t == DT_BF16 && i < n; i++)
        halves[i] = f32_to_bf16(x[i]);
    for (int64_t i = 0; t == DT_BOOL && i < n; i++)
        bytes[i] = x[i] != 0;
}

/* ---- arithmetic -------------------------------------------------------------------------------------------------------------------- */
static void round_to(DType t, float *x, int64_t n)
{
    for (int64_t i = 0; t == DT_F16 && i < n; i++)
        x[i] = f16_to_f32(narrow_f64((double)x[i], 10, -14, 15));
    for (int64_t i = 0; t == DT_BF16 && i < n; i++)
        x[i] = bf16_to_f32(f32_to_bf16(x[i]));
}

static float pow2_floor(float a)
{
    uint32_t e = bits_of(a) & 0x7f800000;
    return float_of(e > 0x00800000 ? e : 0x00800000);
}

/* NaN wins; of zeros the positive one is larger. */
static float larger(float a, float b) { return a > b || (a == b && !signbit(a)) || a != a ? a : b; }
static float smaller(float a, float b) { return a < b || (a == b && signbit(a)) || a != a ? a : b; }

/* What `x` becomes by a (itself), b and c. */
#define EACH(value)                          \
    for (int64_t i = 0; i < n; i++) {        \
        const float a = x[i];                \
        x[i] = (float)(value);               \
    }                                        \
    break

static void apply(RecipeOp op, float *x, const float *b, const float *c, int64_t n)
{
    switch ((int)op) {
    case RECIPE_ABS:        EACH(fabsf(a));
    case RECIPE_NEG:        EACH(-a);
    case RECIPE_POW2_FLOOR: EACH(pow2_floor(a));
    case RECIPE_ISNAN:      EACH(a != a);
    case RECIPE_ISINF:      EACH(fabsf(a) == INFINITY);
    case RECIPE_NOT:        EACH(a == 0);
    case RECIPE_ADD:        EACH(a + b[i]);
    case RECIPE_SUB:        EACH(a - b[i]);
    case RECIPE_MUL:        EACH(a * b[i]);
    case RECIPE_DIV:        EACH(a / b[i]);
    case RECIPE_MAXIMUM:    EACH(larger(a, b[i]));
    case RECIPE_MINIMUM:    EACH(smaller(a, b[i]));
    case RECIPE_EQ:         EACH(a == b[i]);
    case RECIPE_NE:         EACH(a != b[i]);
    case RECIPE_LT:         EACH(a < b[i]);
    case RECIPE_LE:         EACH(a <= b[i]);
    case RECIPE_GT:         EACH(a > b[i]);
    case RECIPE_GE:         EACH(a >= b[i]);
    case RECIPE_AND:        EACH(a != 0 && b[i] != 0);
    case RECIPE_OR:         EACH(a != 0 || b[i] != 0);
    case RECIPE_WHERE:      EACH(a != 0 ? b[i] : c[i]);
    default: break;
    }
}

/* ---- steps -------------------------------------------------------------------------------------------------------------------------- */
static void compute(const Recipe *r, Worker *w, uint32_t number, const Box *b, float *out);

/* From a box with one row or column where `b` has several, to all of `b`. */
static void spread(float *out, const float *x, const Box *from, const Box *b)
{
    for (int64_t r = 0; r < b->rows; r++)
        for (int64_t c = 0; c < b->cols; c++)
            out[r * b->cols + c] = x[(from->rows == 1 ? 0 : r) * from->cols + (from->cols == 1 ? 0 : c)];
}

/* Where dim i of the step's result comes from in its operand; -1: it is broadcast, or new and 1. */
static void operand_dims(const RecipeStep *t, const Tensor *a, int *of)
{
    for (int i = 0, k = 0; i < t->type.rank; i++) {
        switch ((int)t->op) {
        case RECIPE_PERMUTE: of[i] = (int)t->perm[i]; break;
        case RECIPE_EXPAND:  of[i] = i - (t->type.rank - a->rank); break;
        case RECIPE_RESHAPE:
            while (k < a->rank && a->dims[k] == 1)
                k++;
            of[i] = t->type.dims[i] == 1 ? -1 : k++;
            break;
        default:             of[i] = i; break;
        }
        if (of[i] >= 0 && a->dims[of[i]] == 1)
            of[i] = -1;
    }
}

static void compute_view(const Recipe *r, Worker *w, const RecipeStep *t, const Box *b, float *out)
{
    const Tensor *a = &r->step[t->in[0]].type;
    int of[TENSOR_MAX_RANK];
    Box in = {.row = -1, .col = -1, .rows = 1, .cols = 1};
    operand_dims(t, a, of);
    for (int i = 0; i < t->type.rank; i++)
        if (of[i] >= 0)
            in.at[of[i]] = b->at[i] + (t->op == RECIPE_SLICE && i == t->axis ? t->start : 0);
    if (b->row >= 0 && of[b->row] >= 0)
        in.row = of[b->row], in.rows = b->rows;
    if (b->col >= 0 && of[b->col] >= 0)
        in.col = of[b->col], in.cols = b->cols;
    if (in.rows == b->rows && in.cols == b->cols) {
        compute(r, w, t->in[0], &in, out);
        return;
    }
    float *x = take(w);
    compute(r, w, t->in[0], &in, x);
    spread(out, x, &in, b);
    w->used--;
}

/* The part of `b` that lies at [start, start + len) of dim `axis` comes from step `from`; the rest of `out` stays. */
static void compute_part(const Recipe *r, Worker *w, uint32_t from, int axis, int64_t start, int64_t len, const Box *b, float *out)
{
    Box in = *b;
    int64_t n = axis == b->row ? b->rows : axis == b->col ? b->cols : 1;
    int64_t lo = b->at[axis] > start ? b->at[axis] : start;
    int64_t hi = b->at[axis] + n < start + len ? b->at[axis] + n : start + len;
    if (lo >= hi)
        return;
    int64_t skip = lo - b->at[axis], row0 = axis == b->row ? skip : 0, col0 = axis == b->col ? skip : 0;
    in.at[axis] = lo - start;
    in.rows = axis == b->row ? hi - lo : b->rows;
    in.cols = axis == b->col ? hi - lo : b->cols;
    float *x = take(w);
    compute(r, w, from, &in, x);
    for (int64_t i = 0; i < in.rows; i++)
        memcpy(out + (row0 + i) * b->cols + col0, x + i * in.cols, sizeof *x * (size_t)in.cols);
    w->used--;
}

static void fill(float *out, double v, const Box *b)
{
    for (int64_t i = 0; i < b->rows * b->cols; i++)
        out[i] = (float)v;
}

static void compute_parts(const Recipe *r, Worker *w, const RecipeStep *t, const Box *b, float *out)
{
    int64_t start = t->start;
    if (t->op == RECIPE_PAD)
        fill(out, t->value, b);
    for (uint32_t i = 0; i < t->n_in; i++) {
        int64_t len = r->step[t->in[i]].type.dims[t->axis];
        compute_part(r, w, t->in[i], (int)t->axis, start, len, b, out);
        start += len;
    }
}

static void compute_pointwise(const Recipe *r, Worker *w, const RecipeStep *t, const Box *b, float *out)
{
    float *x[3] = {out};
    for (uint32_t i = 1; i < t->n_in; i++)
        x[i] = take(w);
    for (uint32_t i = 0; i < t->n_in; i++)
        compute(r, w, t->in[i], b, x[i]);
    apply(t->op, out, x[1], x[2], b->rows * b->cols);
    round_to(t->type.dtype, out, b->rows * b->cols);
    w->used -= t->n_in - 1;
}

static void compute(const Recipe *r, Worker *w, uint32_t number, const Box *b, float *out)
{
    const RecipeStep *t = &r->step[number];
    switch ((int)t->op) {
    case RECIPE_PARAM: case RECIPE_REDUCE_MAX: case RECIPE_REDUCE_MIN:
        read_memory(t, b, out);
        break;
    case RECIPE_CONST:
        fill(out, t->value, b);
        round_to(t->type.dtype, out, b->rows * b->cols);
        break;
    case RECIPE_RESHAPE: case RECIPE_PERMUTE: case RECIPE_EXPAND: case RECIPE_SLICE:
        compute_view(r, w, t, b, out);
        break;
    case RECIPE_PAD: case RECIPE_CONCAT:
        compute_parts(r, w, t, b, out);
        break;
    default:
        compute_pointwise(r, w, t, b, out);
    }
}

/* ---- boxes of a tensor, shared out to threads ------------------------------------------------------------------------------------- */
static int64_t pieces(int64_t n, int64_t size) { return (n + size - 1) / size; }

/* The i-th of the boxes that cover `x` in steps of `step` along each dim. */
static void box_at(const Tensor *x, const int64_t *step, int64_t i, Box *b)
{
    for (int d = x->rank; d-- > 0; ) {
        int64_t n = pieces(x->dims[d], step[d]);
        b->at[d] = i % n * step[d];
        i /= n;
    }
}

static int64_t box_count(const Tensor *x, const int64_t *step)
{
    int64_t n = 1;
    for (int d = 0; d < x->rank; d++)
        n *= pieces(x->dims[d], step[d]);
    return n;
}

static int64_t within(int64_t at, int64_t size, int64_t end) { return at + size < end ? size : end - at; }

static void steps_of(int row, int col, int64_t along_row, int64_t along_col, int64_t *step)
{
    for (int d = 0; d < TENSOR_MAX_RANK; d++)
        step[d] = d == row ? along_row : d == col ? along_col : 1;
}

static void out_body(void *arg, int64_t begin, int64_t end, int worker)
{
    const Job *j = arg;
    const Tensor *x = j->out;
    Worker *w = &j->workers[worker];
    Box b = {.row = x->rank - 2, .col = x->rank - 1};
    int64_t step[TENSOR_MAX_RANK];
    steps_of(b.row, b.col, ROWS, COLS, step);
    for (int64_t i = begin; i < end; i++) {
        box_at(x, step, i, &b);
        b.rows = b.row >= 0 ? within(b.at[b.row], ROWS, x->dims[b.row]) : 1;
        b.cols = b.col >= 0 ? within(b.at[b.col], COLS, x->dims[b.col]) : 1;
        float *tile = take(w);
        compute(j->r, w, j->r->n - 1, &b, tile);
        int64_t at = 0;
        for (int d = 0; d < x->rank; d++)
            at = at * x->dims[d] + b.at[d];
        for (int64_t k = 0; k < b.rows; k++, at += x->rank ? x->dims[x->rank - 1] : 0)
            write_row(x->dtype, (char *)x->data + (size_t)at * dtype_bytes(x->dtype), tile + k * b.cols, b.cols);
        w->used--;
    }
}

/* Lines of a reduction along its operand's last dim, or 128 neighbouring ones along another. */
static void reduce_body(void *arg, int64_t begin, int64_t end, int worker)
{
    const Job *j = arg;
    const RecipeStep *t = j->step;
    const Tensor *x = &j->r->step[t->in[0]].type;
    Worker *w = &j->workers[worker];
    int axis = (int)t->axis, last = x->rank - 1;
    bool along = axis == last;
    Box b = {.row = along ? last - 1 : axis, .col = last};
    int64_t step[TENSOR_MAX_RANK];
    float *made = t->type.data, *tile = take(w), *best = take(w);
    bool most = t->op == RECIPE_REDUCE_MAX;
    steps_of(b.row, b.col, along ? ROWS : x->dims[axis], along ? x->dims[axis] : COLS, step);
    for (int64_t i = begin; i < end; i++) {
        box_at(x, step, i, &b);
        int64_t lines = along ? (b.row >= 0 ? within(b.at[b.row], ROWS, x->dims[b.row]) : 1) : within(b.at[last], COLS, x->dims[last]);
        for (int64_t k = 0; k < lines; k++)
            best[k] = most ? -INFINITY : INFINITY;
        for (int64_t k = 0; k < x->dims[axis]; k += along ? COLS : ROWS) {
            b.at[axis] = k;
            b.rows = along ? lines : within(k, ROWS, x->dims[axis]);
            b.cols = along ? within(k, COLS, x->dims[axis]) : lines;
            compute(j->r, w, t->in[0], &b, tile);
            for (int64_t r = 0; r < b.rows; r++)
                for (int64_t c = 0; c < b.cols; c++) {
                    float *to = &best[along ? r : c], v = tile[r * b.cols + c];
                    *to = most ? larger(*to, v) : smaller(*to, v);
                }
        }
        int64_t at = 0;
        b.at[axis] = 0;
        for (int d = 0; d < x->rank; d++)
            at = d == axis ? at : at * x->dims[d] + b.at[d];
        memcpy(made + at, best, sizeof *best * (size_t)lines);             /* neighbours in the result, too */
    }
    w->used -= 2;
}

static void run_over(ThreadPool *pool, int64_t n, void (*body)(void *, int64_t, int64_t, int), Job *j)
{
    if (pool)
        pool_for(pool, n, 4, body, j);
    else
        body(j, 0, n, 0);
}

static Worker *workers_new(Arena *a, int n)
{
    Worker *w = arena_new_array(a, Worker, (size_t)n);
    for (int i = 0; i < n; i++) {
        w[i].slot = malloc(sizeof(float) * TILE * SLOTS);
        if (!w[i].slot)
            arena_exhausted(sizeof(float) * TILE * SLOTS);
    }
    return w;
}

Tensor *recipe_run(Arena *a, Recipe *r)
{
    const RecipeStep *last = &r->step[r->n - 1];
    Tensor *out = tensor_new(a, last->type.dtype, last->type.rank, last->type.dims);
    int64_t most = 0, step[TENSOR_MAX_RANK];
    for (uint32_t i = 0; i < r->n; i++)
        most = tensor_count(&r->step[i].type) > most ? tensor_count(&r->step[i].type) : most;
    if (!tensor_count(out))
        return out;
    ThreadPool *pool = most >= PARALLEL_FROM ? pool_new(0) : NULL;
    int n = pool ? pool_threads(pool) : 1;
    Arena *own = arena_new();
    Worker *workers = workers_new(own, n);
    for (uint32_t i = 0; i < r->n; i++) {
        RecipeStep *t = &r->step[i];
        if (t->op != RECIPE_REDUCE_MAX && t->op != RECIPE_REDUCE_MIN)
            continue;
        const Tensor *x = &r->step[t->in[0]].type;
        bool along = t->axis == x->rank - 1;
        t->type.data = arena_alloc(own, sizeof(float) * (size_t)tensor_count(&t->type) + 1);
        steps_of(along ? x->rank - 2 : (int)t->axis, x->rank - 1, along ? ROWS : x->dims[t->axis], along ? x->dims[t->axis] : COLS, step);
        run_over(pool, box_count(x, step), reduce_body, &(Job){r, t, NULL, workers});
    }
    if (last->op == RECIPE_REDUCE_MAX || last->op == RECIPE_REDUCE_MIN) {
        write_row(out->dtype, out->data, last->type.data, tensor_count(out));
    } else {
        steps_of(out->rank - 2, out->rank - 1, ROWS, COLS, step);
        run_over(pool, box_count(out, step), out_body, &(Job){r, NULL, out, workers});
    }
    for (int i = 0; i < n; i++)
        free(workers[i].slot);
    arena_free(own);
    pool_free(pool);
    return out;
}
