/* tests/codegen/gemm_cases.c — operands, a hand-built kernel, the run, the comparison: gemm_cases.h. */
#include "tests/codegen/gemm_cases.h"
#include "codegen/emit/emit.h"
#include "runtime/sim/tensor_map.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- operands -------------------------------------------------------------------------------------------------------------- */

typedef struct {
    int lines, k, kp, batch, pitch;      /* of one batch: lines of k; padded k; padded lines where they are contiguous */
    bool mn;
    float *exact;                        /* [batch][lines][k] */
    void *hi, *lo;
    float *inv;                          /* [batch][lines] */
    size_t count;                        /* elements of a piece */
} Operand;

static uint64_t state;
static uint32_t next_bits(void)
{
    state += 0x9E3779B97F4A7C15ull;
    uint64_t z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9ull;
    return (uint32_t)((z ^ z >> 27) * 0x94D049BB133111EBull >> 32);
}
static float uniform(void) { return (float)(int32_t)next_bits() * 0x1p-31f; }

static float to_tf32(float x) { uint32_t u; memcpy(&u, &x, 4); u = (u + 0x1000) & 0xffffe000u; memcpy(&x, &u, 4); return x; }
static float lowered(GemmFormat f, float x)
{
    return gemm_piece_dtype(f) == DT_F32 ? (isfinite(x) ? to_tf32(x) : x) : (float)dtype_round(gemm_piece_dtype(f), x);
}

static size_t place(const Operand *o, int z, int i, int k)
{
    return o->mn ? ((size_t)z * o->kp + k) * o->pitch + i : ((size_t)z * o->lines + i) * o->kp + k;
}

/* Pieces of one line, as the contract of split products has them: numerics.md. */
static void split_line(const GemmCase *c, Operand *o, int z, int i, bool frozen)
{
    const float *x = o->exact + ((size_t)z * o->lines + i) * o->k;
    DType t = gemm_piece_dtype(c->format);
    float max = 0, least = INFINITY;
    for (int k = 0; k < o->k; k++) {
        max = isnan(x[k]) ? INFINITY : fmaxf(max, fabsf(x[k]));
        if (x[k] != 0)
            least = fminf(least, fabsf(x[k]));
    }
    bool scaled = gemm_scaled(c->format), tf32 = t == DT_F32, bad = !isfinite(max) || (!tf32 && least < max * 0x1p-29f);
    float p = isfinite(max) ? (max > 0 ? exp2f(floorf(log2f(max))) : 0) : INFINITY, s = scaled && !tf32 ? 0x1p14f / fmaxf(p, 0x1p-112f) : 1;
    if (scaled)
        o->inv[(size_t)z * o->lines + i] = (bad && !frozen ? -1 : 1) / s;
    for (int k = 0; k < o->k; k++) {
        float hi = lowered(c->format, x[k] * s), lo = (x[k] * s - hi) * (tf32 ? 1.0f : 2048.0f);
        dtype_store(t, (char *)o->hi + place(o, z, i, k) * dtype_bytes(t), hi);
        if (gemm_terms(c->format) == 3)
            dtype_store(t, (char *)o->lo + place(o, z, i, k) * dtype_bytes(t), lowered(c->format, lo));
    }
}

static Operand layout_of(const GemmCase *c, bool is_b)
{
    int unit = 16 / (int)dtype_bytes(gemm_piece_dtype(c->format)), lines = is_b ? (int)c->parts * (c->n + 8) : c->m;
    Operand o = {.lines = lines, .k = c->k, .batch = (is_b ? c->b_shared : c->a_shared) ? 1 : c->batch, .mn = is_b ? c->b_mn : c->a_mn};
    o.kp = (c->k + unit - 1) / unit * unit;
    o.pitch = (lines + unit - 1) / unit * unit;
    o.count = (size_t)o.batch * (size_t)(o.mn ? o.kp * o.pitch : lines * o.kp);
    return o;
}

static Operand operand_of(Arena *a, const GemmCase *c, bool is_b)
{
    Operand o = layout_of(c, is_b);
    int lines = o.lines, k = o.k, batch = o.batch;
    bool bad = c->bad & (is_b ? GEMM_BAD_COLUMNS : GEMM_BAD_ROWS), frozen = is_b && c->frozen;
    o.exact = arena_new_array(a, float, (size_t)batch * lines * k);
    o.hi = arena_new_array(a, float, o.count);
    o.lo = arena_new_array(a, float, o.count);
    o.inv = arena_new_array(a, float, (size_t)batch * lines);
    for (size_t i = 0; i < (size_t)batch * lines * k; i++)
        o.exact[i] = gemm_scaled(c->format) || c->format == GEMM_TF32 ? uniform() : lowered(c->format, uniform());
    for (int line = 0; line < lines; line++) {
        float *x = o.exact + (size_t)line * k;
        if (gemm_scaled(c->format) && gemm_piece_dtype(c->format) == DT_F16)       /* lines of very different size */
            for (int j = 0; j < k; j++)
                x[j] = ldexpf(x[j], line % 7 * 9 - 27);
        if (bad && line % 13 == 5)
            x[k / 2] = line % 3 == 0 ? INFINITY : line % 3 == 1 ? NAN : -INFINITY;
        if (bad && line % 13 == 9)
            x[0] = ldexpf(1, 60), x[k - 1] = 0x1p-40f;
    }
    for (int z = 0; z < batch; z++)
        for (int i = 0; i < lines; i++)
            split_line(c, &o, z, i, frozen);
    return o;
}

static double piece(const GemmCase *c, const Operand *o, int z, int i, int k)
{
    DType t = gemm_piece_dtype(c->format);
    double x = dtype_load(t, (char *)o->hi + place(o, z, i, k) * dtype_bytes(t));
    return gemm_scaled(c->format) ? x * fabsf(o->inv[(size_t)z * o->lines + i]) : x;
}

/* B as the kernel has it again from its pieces. */
static float rejoined(const GemmCase *c, const Operand *o, int z, int i, int k)
{
    DType t = gemm_piece_dtype(c->format);
    size_t at = place(o, z, i, k) * dtype_bytes(t);
    float hi = (float)dtype_load(t, (char *)o->hi + at), scale = fabsf(o->inv[(size_t)z * o->lines + i]);
    if (gemm_terms(c->format) == 1)
        return hi * scale;
    float lo = (float)dtype_load(t, (char *)o->lo + at);
    return (t == DT_F32 ? hi + lo : fmaf(lo, 0x1p-11f, hi)) * scale;
}

/* ---- kernels --------------------------------------------------------------------------------------------------------------- */

enum { BUF_A, BUF_B, BUF_A_LO, BUF_B_LO, BUF_INV_A, BUF_INV_B, BUF_EXACT_A, BUF_EXACT_B, BUF_BIAS, BUF_OUT, N_BUFS };

static Dim mad(DimPool *p, Dim a, int64_t by, Dim b) { return dim_add(p, dim_mul_const(p, a, by), b); }

/* Each lane one column of each of the 16 rows; or four columns at once. */
static void build_body(Kernel *k, const GemmCase *c, KGemm *g)
{
    DimPool *p = k->cx->dims;
    uint32_t lanes = c->body == GEMM_VECTORS ? 4 : 1, across = c->body == GEMM_VECTORS ? 8 : 32, step = lanes * across;
    Dim l = lanes > 1 ? kernel_lane(p, lanes) : dim_const(p, 0), lane_row = dim_floordiv(p, g->lane, dim_const(p, across));
    Dim lane_col = dim_add(p, dim_mul_const(p, dim_mod(p, g->lane, dim_const(p, across)), lanes), l);
    for (uint32_t part = 0; part < c->parts; part++) {
        KInst *rows = k_loop(k, "r", dim_const(p, 0), dim_const(p, 16), 32 / across, NULL, 0, 1);
        Dim r = dim_add(p, rows->var, lane_row);
        KInst *inside = k_if(k, k_test(k, dim_add(p, g->row, r), g->m, 1));
        KInst *cols = k_loop(k, "c", dim_const(p, 0), dim_const(p, c->width), step, NULL, 0, 1);
        Dim col = dim_add(p, cols->var, lane_col), at = dim_add(p, g->col, col);
        Dim line = mad(p, dim_add(p, dim_mul_const(p, g->warp, c->parts), dim_const(p, part)), 16, r);
        KInst *v = k_shared_load(k, g->stage, mad(p, line, c->width + 8, col), lanes), *mask = k_test(k, at, g->n, lanes);
        if (c->body == GEMM_BIAS_RELU)
            v = k_op2(k, OP_MAXIMUM, k_op2(k, OP_ADD, v, k_load(k, BUF_BIAS, at, lanes, mask, 0)), k_const(k, (KType){DT_F32, 1}, 0));
        Dim plane = dim_add(p, dim_mul_const(p, g->at_batch, c->parts), dim_const(p, part));
        Dim where = mad(p, dim_add(p, dim_mul(p, plane, g->m), dim_add(p, g->row, r)), c->n, at);
        k_store(k, BUF_OUT, where, v, mask);
        k_loop_end(k, cols, NULL);
        k_if_end(k, inside, NULL, 0);
        k_loop_end(k, rows, NULL);
    }
}

/* The piece as it lies in registers, to boxes of 128 bytes or the piece's width. */
static void build_boxes(Kernel *k, const GemmCase *c, const KGemm *g)
{
    DimPool *p = k->cx->dims;
    DType t = c->bf16 ? DT_BF16 : DT_F32;
    uint32_t size = dtype_bytes(t), columns = c->width * size > 128 ? 128 / size : c->width, own = c->parts * 16 * c->width;
    Dim n = dim_const(p, c->n), planes = dim_const(p, (int64_t)c->parts * c->batch);
    PlanTensorMap map = {.buffer = BUF_OUT, .dtype = t, .rank = 3, .dims = {n, g->m, planes}, .offset = dim_const(p, 0), .box = {columns, 16, 1},
                         .strides = {dim_const(p, (int64_t)c->n * size), dim_mul_const(p, g->m, (int64_t)c->n * size)}, .swizzle = columns * size};
    vec_push(k->arena, &k->maps, map);
    uint32_t boxes = kernel_shared_swizzled(k, "boxes", t, 2 * gemm_consumer_warps(g) * own, map.swizzle);
    Dim first = dim_mul_const(p, mad(p, g->warp, 2, g->turn), own), lane_row = dim_floordiv(p, g->lane, dim_const(p, 4));
    Dim lane_col = mad(p, dim_mod(p, g->lane, dim_const(p, 4)), 2, kernel_lane(p, 2));
    k_bulk_wait(k, 1);
    for (uint32_t i = 0; i < c->parts * c->width / 4; i++) {
        uint32_t line = i / 2 * 8, box = line / columns;                                /* the piece's columns of all parts side by side */
        Dim at = mad(p, dim_add_const(p, lane_row, box * 16 + i % 2 * 8), columns, dim_add_const(p, lane_col, line % columns));
        k_shared_store(k, boxes, dim_add(p, first, at), k_sum(k, i), NULL);
    }
    k_bulk_fence(k);
    for (uint32_t line = 0; line < c->parts * c->width; line += columns) {
        const Dim at[] = {dim_add_const(p, g->col, line % c->width), g->row, mad(p, g->at_batch, c->parts, dim_const(p, line / c->width))};
        k_bulk_store(k, k->maps.n - 1, at, boxes, dim_add_const(p, first, line * 16));
    }
    k_bulk_commit(k);
}

static KMatrix plain(DimPool *p, uint32_t buffer, int64_t ld, int64_t stride, bool trans)
{
    return (KMatrix){buffer, dim_const(p, 0), dim_const(p, ld), dim_const(p, stride), trans};
}

static KMatrix pieces_of(DimPool *p, uint32_t buffer, const Operand *o)
{
    return plain(p, buffer, o->mn ? o->pitch : o->kp, o->batch > 1 ? (int64_t)(o->count / (size_t)o->batch) : 0, o->mn);
}

static KMatrix exact_of(DimPool *p, uint32_t buffer, const Operand *o)
{
    return plain(p, buffer, o->k, o->batch > 1 ? (int64_t)o->lines * o->k : 0, false);
}

static Kernel *build(Context *cx, const GemmCase *c, const Operand *a, const Operand *b)
{
    static const char *const names[] = {"a", "b", "a_lo", "b_lo", "inv_a", "inv_b", "a_exact", "b_exact", "bias", "out"};
    DimPool *p = cx->dims;
    KGemm *g = arena_new_of(cx->arena, KGemm);
    *g = (KGemm){.format = c->format, .wgmma = !c->mma, .warps = c->warps, .resident = c->resident, .pingpong = c->pingpong, .bm = c->bm, .bn = c->bn, .bk = c->bk, .stages = c->stages, .cluster = c->cluster, .splits = c->splits,
                 .raster = c->raster, .bulk = c->body == GEMM_BOXES, .parts = c->parts, .width = c->width, .a_mn = c->a_mn, .b_mn = c->b_mn,
                 .a_batched = a->batch > 1, .b_batched = b->batch > 1, .map_a = 0, .map_b = 1, .map_a_lo = 2, .map_b_lo = 3,
                 .inv_a = BUF_INV_A, .inv_b = BUF_INV_B};
    Kernel *k = kernel_new(cx, cx->arena, "product", false, gemm_threads(g));
    DType t = gemm_piece_dtype(c->format);
    const DType types[] = {t, t, t, t, DT_F32, DT_F32, DT_F32, DT_F32, DT_F32, c->bf16 ? DT_BF16 : DT_F32};
    for (uint32_t i = 0; i < N_BUFS; i++) {
        kernel_buffer(k, str_intern(cx->strs, names[i]), types[i], dim_const(p, 1 << 30), 16);
        k->buffers.data[i].read = i != BUF_OUT;
        k->buffers.data[i].written = i == BUF_OUT;
    }
    g->m = c->symbolic ? dim_sym(p, "M", 1, 4096) : dim_const(p, c->m);
    g->n = dim_const(p, c->n);
    g->k = dim_const(p, a->kp > b->kp ? a->kp : b->kp);
    g->batch = dim_const(p, c->batch);
    g->k_exact = dim_const(p, c->k);
    for (uint32_t i = 0; i < c->parts; i++)
        g->part_start[i] = dim_const(p, (int64_t)i * (c->n + 8));
    g->a = pieces_of(p, BUF_A, a), g->b = pieces_of(p, BUF_B, b), g->a_lo = pieces_of(p, BUF_A_LO, a), g->b_lo = pieces_of(p, BUF_B_LO, b);
    g->exact_a = exact_of(p, BUF_EXACT_A, a), g->exact_b = exact_of(p, BUF_EXACT_B, b);
    if (c->frozen)
        g->exact_b.buffer = UINT32_MAX;
    g->stride_inv_a = dim_const(p, a->batch > 1 ? a->lines : 0), g->stride_inv_b = dim_const(p, b->batch > 1 ? b->lines : 0);
    g->row = dim_sym_fresh(p, "row", 0, 1 << 20), g->col = dim_sym_fresh(p, "col", 0, 1 << 20);
    g->at_batch = c->batch > 1 ? dim_sym_fresh(p, "batch", 0, c->batch - 1) : dim_const(p, 0);
    g->warp = dim_sym_fresh(p, "warp", 0, gemm_consumer_warps(g) - 1), g->lane = dim_sym_fresh(p, "lane", 0, 31);
    if (g->bulk)
        g->turn = dim_sym_fresh(p, "turn", 0, 1);
    else
        g->stage = kernel_shared(k, "stage", DT_F32, gemm_staging_count(g));
    k->gemm = g, k->cluster = c->cluster * gemm_splits(g), k->waits = c->waits;
    const KMatrix *matrices[] = {&g->a, &g->b, &g->a_lo, &g->b_lo};
    for (uint32_t i = 0; !c->mma && i < (gemm_terms(c->format) == 3 ? 4u : 2u); i++)
        vec_push(k->arena, &k->maps, gemm_map(p, g, matrices[i], i % 2, dim_const(p, (i % 2 ? b : a)->lines)));
    kernel_grid(k, dim_const(p, (int64_t)c->clusters * k->cluster), dim_const(p, 1), dim_const(p, 1));
    if (g->bulk)
        build_boxes(k, c, g);
    else
        build_body(k, c, g);
    kernel_collect_scalars(k);
    return k;
}

/* ---- running --------------------------------------------------------------------------------------------------------------- */

static int64_t value_of(Dim d, int64_t rows)
{
    int64_t value = 0;
    Str missing;
    bool known = dim_eval(d, &(DimValue){"M", rows}, 1, &value, &missing);
    pawl_assert(known, "a size that is not of M alone");
    return value;
}

static void encode_map(const PlanTensorMap *m, uint64_t base, int64_t rows, void *to)
{
    SimTensorMap s = {.type = m->dtype == DT_F32 ? PT_F32 : m->dtype == DT_F16 ? PT_F16 : PT_BF16, .rank = m->rank, .base = base,
                      .swizzle = m->swizzle};
    for (uint32_t d = 0; d < m->rank; d++) {
        s.dims[d] = (uint64_t)value_of(m->dims[d], rows);
        s.box[d] = m->box[d];
        s.steps[d] = 1;
        if (d)
            s.strides[d - 1] = (uint64_t)value_of(m->strides[d - 1], rows);
    }
    const char *why = sim_tensor_map_encode(&s, to);
    if (why)
        pawl_assert(false, "tensor map: %s", why);
}

typedef struct { float *out; const Operand *a, *b; float *bias; size_t count; } Data;

static bool without_conflicts(const GemmCase *c, const SimResult *r)
{
    uint64_t passes = 0, least = 0;
    for (uint32_t i = 0; i < r->n_counts; i++) {
        passes += r->counts[i].wavefronts;
        least += r->counts[i].ideal_wavefronts;
    }
    if (passes != least || !least)
        fprintf(stderr, "%s: %llu passes over shared memory, where %llu would do\n", c->name, (unsigned long long)passes, (unsigned long long)least);
    return passes == least && least;
}

static bool run(Context *cx, const GemmCase *c, const Kernel *k, const char *ptx, const Data *x, SimAsync async)
{
    uint16_t *half = c->bf16 ? arena_new_array(cx->arena, uint16_t, x->count) : NULL;
    SimMemory *m = sim_memory_new();
    const Operand *a = x->a, *b = x->b;
    size_t piece_bytes = dtype_bytes(gemm_piece_dtype(c->format));
    const SimBuffer buffers[N_BUFS] = {
        {"a", a->hi, a->count * piece_bytes, true, true},        {"b", b->hi, b->count * piece_bytes, true, true},
        {"a_lo", a->lo, a->count * piece_bytes, true, true},     {"b_lo", b->lo, b->count * piece_bytes, true, true},
        {"inv_a", a->inv, (size_t)a->batch * a->lines * 4, true, true},  {"inv_b", b->inv, (size_t)b->batch * b->lines * 4, true, true},
        {"a_exact", a->exact, (size_t)a->batch * a->lines * a->k * 4, true, true},
        {"b_exact", b->exact, (size_t)b->batch * b->lines * b->k * 4, true, true},
        {"bias", x->bias, (size_t)c->n * 4, true, true},         
        {"out", half ? (void *)half : x->out, x->count * (half ? 2 : 4), false, false},
    };
    uint64_t address[N_BUFS];
    const void *args[N_BUFS + 6];
    static uint64_t maps[5][16];
    int64_t scalar = c->m;
    uint32_t n = 0;
    for (; n < N_BUFS; n++) {
        address[n] = sim_memory_add(m, &buffers[n]);
        args[n] = &address[n];
    }
    if (c->symbolic)
        args[n++] = &scalar;
    for (uint32_t i = 0; i < k->maps.n; i++) {
        encode_map(&k->maps.data[i], address[k->maps.data[i].buffer], c->m, maps[i]);
        args[n++] = maps[i];
    }
    for (size_t i = 0; i < x->count; i++)
        x->out[i] = -12345.0f;
    PtxModule *module = ptx_read(cx->arena, cx->diags, source_from_text(cx->arena, "product.ptx", ptx));
    SimLaunch launch = {.grid = {(uint32_t)c->clusters * k->cluster, 1, 1}, .block = {k->threads, 1, 1}, .cluster = {k->cluster, 1, 1},
                        .dynamic_shared = kernel_shared_bytes(k), .args = args, .n_args = n, .async = async, .max_steps = 1ull << 32,
                        .profile = c->conflicts};
    SimResult r = {0};
    bool ok = module && sim_run(m, module, &launch, cx->arena, cx->diags, &r) && r.finished && !r.n_faults;
    bool found = false;
    for (uint32_t i = 0; i < r.n_faults; i++)
        found |= r.faults[i].kind == c->fault;
    for (uint32_t i = 0; i < r.n_faults && i < 4 && !c->without; i++)
        sim_fault_diagnose(module, &r.faults[i], cx->diags);
    for (size_t i = 0; half && i < x->count; i++)
        x->out[i] = (float)dtype_load(DT_BF16, &half[i]);
    sim_memory_free(m);
    return c->without ? found : ok && (!c->conflicts || without_conflicts(c, &r));
}

static bool same(float a, float b) { return isnan(a) ? isnan(b) : a == b; }

/* As a warp sums the lanes' shares of a bad line, by halves. */
static float by_halves(float *x)
{
    float y[32];
    for (int other = 16; other > 0; other /= 2) {
        for (int l = 0; l < 32; l++)
            y[l] = x[l] + x[l ^ other];
        memcpy(x, y, sizeof y);
    }
    return x[0];
}

/* One element: recomputed ones to the bit, others within `unit` of the sum of |a b|. */
static bool element_ok(const GemmCase *c, const Data *x, int z, int part, int i, int j, float got)
{
    const Operand *a = x->a, *b = x->b;
    int za = a->batch > 1 ? z : 0, zb = b->batch > 1 ? z : 0, column = part * (c->n + 8) + j;
    const float *ea = a->exact + ((size_t)za * a->lines + i) * a->k, *eb = b->exact + ((size_t)zb * b->lines + column) * b->k;
    bool scaled = gemm_scaled(c->format), three = gemm_terms(c->format) == 3;
    bool bad = scaled && (a->inv[(size_t)za * a->lines + i] < 0 || b->inv[(size_t)zb * b->lines + column] < 0);
    double sum = 0, size = 0, want;
    float lanes[32] = {0};                         /* of a bad line: every 32nd product each */
    for (int k = 0; k < c->k; k++) {
        double u = three ? ea[k] : piece(c, a, za, i, k), v = three ? eb[k] : piece(c, b, zb, column, k);
        sum += u * v;
        size += fabs(u * v);
        lanes[k % 32] = fmaf(ea[k], c->frozen && bad ? rejoined(c, b, zb, column, k) : eb[k], lanes[k % 32]);
    }
    float exact = by_halves(lanes);
    want = bad ? exact : sum;
    if (c->body == GEMM_BIAS_RELU) {
        want += x->bias[j];
        want = want > 0 || isnan(want) ? want : 0;
        if (bad)
            want = exact + x->bias[j], want = want > 0 || isnan(want) ? (float)want : 0;
    }
    bool ok = bad ? same((float)want, got) : fabs(got - want) <= (c->bf16 ? fabs(want) * 0x1p-8 : 0) + size * 0x1p-21 + (c->body == GEMM_BIAS_RELU ? 0x1p-23 : 0) + 0x1p-148;
    if (!ok)
        fprintf(stderr, "%s: [%d, part %d, %d, %d] is %.9g, not %.9g%s (sum of sizes %.3g)\n", c->name, z, part, i, j, got, want,
                bad ? " (recomputed)" : "", size);
    return ok;
}

static int compare(const GemmCase *c, const Data *x)
{
    int wrong = 0;
    size_t at = 0;
    for (int z = 0; z < c->batch; z++)
        for (int part = 0; part < (int)c->parts; part++)
            for (int i = 0; i < c->m; i++)
                for (int j = 0; j < c->n && wrong < 5; j++, at++)
                    wrong += !element_ok(c, x, z, part, i, j, x->out[at]);
    return wrong;
}

static bool leave_out(char *ptx, const char *text)
{
    bool any = false;
    for (char *at = ptx; (at = strstr(at, text)); any = true)
        memset(at, ' ', strlen(text));
    return any;
}

Kernel *gemm_case_kernel(Context *cx, const GemmCase *c)
{
    Operand a = layout_of(c, false), b = layout_of(c, true);
    return build(cx, c, &a, &b);
}

bool gemm_case_check(const GemmCase *c)
{
    Context *cx = context_new();
    char *ptx = NULL;
    bool ok;
    state = hash_str(c->name);
    Operand a = operand_of(cx->arena, c, false), b = operand_of(cx->arena, c, true);
    Data x = {.a = &a, .b = &b, .count = (size_t)c->batch * c->parts * c->m * c->n};
    x.out = arena_new_array(cx->arena, float, x.count);
    x.bias = arena_new_array(cx->arena, float, (size_t)c->n);
    for (int i = 0; i < c->n; i++)
        x.bias[i] = uniform();
    Kernel *k = build(cx, c, &a, &b);
    ok = kernel_verify(k, cx->diags) && nvrtc_ptx(cx->arena, cx->diags, emit_cuda(cx->arena, &k, 1), "product", c->arch ? c->arch : "sm_90a", &ptx);
    if (ok && c->without)
        ok = leave_out(ptx, c->without) && (run(cx, c, k, ptx, &x, SIM_LATE) || run(cx, c, k, ptx, &x, SIM_EARLY));
    for (int early = 0; ok && !c->without && early < 2; early++)
        ok = run(cx, c, k, ptx, &x, early ? SIM_EARLY : SIM_LATE) && compare(c, &x) == 0;
    if (!ok) {
        fprintf(stderr, "FAIL %s\n", c->name);
        diags_print(cx->diags, stderr, false);
    }
    context_free(cx);
    return ok;
}
