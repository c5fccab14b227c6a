/* codegen/kinds/smallm.c — products of few rows (decode): the weights stream once past the tensor cores, at memory speed.
 *
 * D[m, n] = sum over k of x[m, k] w[n, k], m <= 16, both operands contiguous along k. The weights are the left factor of the tensor
 * cores' products: a row tile is 16 of their rows, the rows of x are 8 columns (two sets of them above 8). Every thread loads 16 bytes
 * of a row at a time, unconverted and straight into the registers that the product wants (K_MMA says which), `flight` steps of 32 k's
 * before it waits. The warps of a block share k; their sums meet in shared memory and are added in a fixed order, then the group's
 * expressions run on whole results, one a thread. What those load beside the product is asked for before the weights are.
 *
 * Rows past the end are clamped, not masked: an extra row or column of the product is never stored. Where the group reads two parts of
 * the product together (gate and up of stacked projections), a block computes the same row tiles of both.
 *
 * Schedule: warps (a block), tiles (row tiles a block, of each part), flight (steps in flight a warp). */
#include "codegen/kinds/product.h"

enum {
    TILE = 16, STEP = 32, COLUMNS = 8, SET = 20 * COLUMNS,       /* a column of 16 sums takes 20 places: no bank twice */
    MAX_FLIGHT = 8, MAX_TILES = 2, CHAINS = 2, REGISTERS = 104,  /* of 128 a thread, for loads and sums */
};

/* ---- schedules --------------------------------------------------------------------------------------------------------------- */
static int64_t steps_of(const KindProblem *p)
{
    Dim m, n, k, batch;
    matmul_extents(p->cx->dims, p->g->matmul, &m, &n, &k, &batch);
    return (k->value + STEP - 1) / STEP;
}

/* Columns of the group's domain: what one part of the product has. */
static Dim columns_of(const Group *g) { return g->domain.d[g->domain.rank - 1]; }

static Dim row_tiles(const KindProblem *p, int64_t tiles)
{
    DimPool *d = p->cx->dims;
    Dim m, n, k, batch;
    matmul_extents(d, p->g->matmul, &m, &n, &k, &batch);
    return dim_mul(d, batch, dim_ceildiv(d, columns_of(p->g), dim_const(d, tiles * TILE)));
}

static uint32_t parts_of(const KindProblem *p, Dim *start)
{
    const Index *at;
    uint32_t n = group_places(p->cx, p->g, p->g->matmul, &at);
    return matmul_columns(p->cx, p->g, p->g->matmul, at, n, start);
}

static int64_t sets_of(const KindProblem *p)
{
    Dim m, n, k, batch;
    matmul_extents(p->cx->dims, p->g->matmul, &m, &n, &k, &batch);
    return m->value > COLUMNS ? 2 : 1;
}

/* At most `flight` steps at a time: as many turns as that needs, all the same. */
static void add(const KindProblem *p, Schedule *out, uint32_t *n, uint32_t max, int64_t warps, int64_t tiles, int64_t flight)
{
    Dim start[MATMUL_PLACES];
    int64_t share = (steps_of(p) + warps - 1) / warps, sets = sets_of(p), own = tiles * parts_of(p, start);
    while (flight > 1 && flight * (8 * own + 4 * sets) + 4 * CHAINS * own * sets > REGISTERS)
        flight--;
    int64_t turns = (share + flight - 1) / flight;
    Schedule s = {.kind = "smallm"};
    schedule_set(&s, "warps", warps);
    schedule_set(&s, "tiles", tiles);
    schedule_set(&s, "flight", (share + turns - 1) / turns);
    for (uint32_t i = 0; i < *n; i++)
        if (schedule_equal(&out[i], &s))
            return;
    if (*n < max && own <= MAX_TILES && (warps == 1 || steps_of(p) >= warps))
        out[(*n)++] = s;
}

/* All blocks should find room at once, and each unit ask for some 50 KB before it waits: few blocks take many warps. */
static uint32_t space(const KindProblem *p, Schedule *out, uint32_t max)
{
    static const int8_t others[][3] = {{8, 1, 8}, {4, 1, 4}, {8, 1, 4}, {16, 1, 4}, {4, 1, 8}, {16, 1, 8}, {8, 2, 4}, {4, 2, 4}, {16, 1, 2},
                                       {8, 2, 2}, {16, 2, 4}, {2, 1, 4}, {1, 1, 8}, {1, 1, 4}, {1, 2, 4}};
    uint32_t n = 0;
    int64_t blocks = dim_typical(row_tiles(p, 1)), units = p->m->units;
    if (blocks <= units)
        add(p, out, &n, max, 16, 1, 8);
    else if (blocks <= 2 * units)
        add(p, out, &n, max, 8, 1, 8);
    else if (blocks <= 3 * units)
        add(p, out, &n, max, 8, 1, 4);
    for (uint32_t i = blocks > 3 * units ? 1 : 0; i < sizeof others / sizeof *others; i++)
        add(p, out, &n, max, others[i][0], others[i][1], others[i][2]);
    add(p, out, &n, max, others[0][0], others[0][1], others[0][2]);
    return n;
}

static double cost(const KindProblem *p, const Schedule *s)
{
    (void)s;
    double bytes = (double)dim_typical(p->g->bytes_read) + (double)dim_typical(p->g->bytes_written);
    return bytes / (p->m->copy_bandwidth * 0.85) + p->m->launch_seconds;
}

static Dim grid(const KindProblem *p, const Schedule *s) { return row_tiles(p, schedule_get(s, "tiles", 1)); }

static uint32_t threads(const KindProblem *p, const Schedule *s)
{
    (void)p;
    return 32 * (uint32_t)schedule_get(s, "warps", 1);
}

static bool accepts(const KindProblem *p, const char **why_not)
{
    Dim start[MATMUL_PLACES];
    *why_not = !p->g->matmul          ? "not a matrix product"
             : p->g->reduces.n        ? "a reduction follows the product"
             : !parts_of(p, start)    ? "the product is not read column by column"
             : matmul_not_small(p->cx, p->g->matmul, p->m);
    return !*why_not;
}

/* ---- the sums ------------------------------------------------------------------------------------------------------------------ */
typedef struct {
    Product x;
    MatrixView w, in;
    uint32_t w_buffer, in_buffer;
    int64_t warps, tiles, flight, sets;         /* tiles: of a warp, of all parts */
    int64_t span, parts;                        /* tiles of a part; parts of the product that are read */
    Dim start[MATMUL_PLACES], columns;          /* where a part begins; how many columns each has */
    Dim warp, quad, in_quad;                    /* number of the warp; of the quad in it; of the thread in that */
} Stream;

typedef KInst *Sums[CHAINS * MAX_TILES * 2];     /* [tile][set][chain] */

static uint32_t n_sums(const Stream *s) { return (uint32_t)(CHAINS * s->tiles * s->sets); }

static Dim clamped(DimPool *p, Dim i, Dim extent) { return dim_min(p, i, dim_add_const(p, extent, -1)); }

/* Element k of a row of the matrix, as a flat position in its buffer. */
static Dim position(const Stream *s, const MatrixView *v, Dim row, Dim k)
{
    DimPool *p = s->x.p;
    Dim start = dim_add(p, v->offset, dim_mul(p, s->x.at_batch, v->stride_batch));
    return dim_add(p, start, dim_add(p, dim_mul(p, row, v->ld), k));
}

static KInst *load(Stream *s, bool weights, Dim row, Dim k, KInst *mask)
{
    const MatrixView *v = weights ? &s->w : &s->in;
    KInst *n = k_load_raw(s->x.k, weights ? s->w_buffer : s->in_buffer, position(s, v, row, k), mask);
    n->stream = weights;
    return n;
}

/* `flight` steps from k0: all loads, then all products. Pieces at or past `end` count as zero (NULL: there are none). */
static void flight(Stream *s, Dim k0, int64_t steps, Dim end, Sums sums)
{
    DimPool *p = s->x.p;
    KInst *w[MAX_FLIGHT][MAX_TILES][2], *in[MAX_FLIGHT][2];
    for (int64_t j = 0; j < steps; j++) {
        Dim k = dim_add(p, dim_add_const(p, k0, j * STEP), dim_mul_const(p, s->in_quad, 8));
        KInst *mask = end ? k_test(s->x.k, k, end, 1) : NULL;
        for (int64_t i = 0; i < s->tiles * 2; i++) {
            Dim row = dim_add_const(p, dim_add(p, s->x.col0, s->quad), i / 2 % s->span * TILE + i % 2 * 8);
            row = dim_add(p, clamped(p, row, s->columns), s->start[i / 2 / s->span]);
            w[j][i / 2][i % 2] = load(s, true, row, k, mask);
        }
        for (int64_t i = 0; i < s->sets; i++)
            in[j][i] = load(s, false, clamped(p, dim_add_const(p, s->quad, i * COLUMNS), s->x.m), k, mask);
    }
    for (int64_t j = 0; j < steps; j++)
        for (int64_t i = 0; i < s->tiles * s->sets; i++) {
            KInst **sum = &sums[i * CHAINS + j % CHAINS];
            *sum = k_mma(s->x.k, s->x.n->in[0]->type.dtype, *sum, w[j][i / s->sets][0], w[j][i / s->sets][1], in[j][i % s->sets]);
        }
}

/* The warps take turns: `flight` steps each, as often as all of them fit; then what is left, in equal parts. */
static void stream(Stream *s, Sums sums)
{
    DimPool *p = s->x.p;
    Kernel *k = s->x.k;
    int64_t depth = s->x.depth->value, turn = s->warps * s->flight * STEP, turns = depth / turn, rest = depth % turn;
    Dim mine = dim_mul_const(p, s->warp, s->flight * STEP);
    if (turns == 1) {
        flight(s, mine, s->flight, NULL, sums);
    } else if (turns > 1) {
        Sums next;
        KInst *loop = k_loop(k, "turn", dim_const(p, 0), dim_const(p, turns), 1, sums, n_sums(s), 1);
        for (uint32_t i = 0; i < n_sums(s); i++)
            next[i] = k_carry(k, loop, i);
        flight(s, dim_add(p, dim_mul_const(p, loop->var, turn), mine), s->flight, NULL, next);
        k_loop_end(k, loop, next);
        for (uint32_t i = 0; i < n_sums(s); i++)
            sums[i] = k_result(k, loop, i);
    }
    int64_t steps = (rest + s->warps * STEP - 1) / (s->warps * STEP);
    if (rest)
        flight(s, dim_add_const(p, dim_mul_const(p, s->warp, steps * STEP), turns * turn), steps,
               rest % (s->warps * STEP) ? s->x.depth : NULL, sums);
}

/* A warp's sums into shared memory: [warp][tile][set][column][row]. */
static void deposit(Stream *s, uint32_t partial, Sums sums)
{
    DimPool *p = s->x.p;
    Kernel *k = s->x.k;
    for (int64_t i = 0; i < s->tiles * s->sets; i++) {
        KInst *sum = k_op2(k, OP_ADD, sums[i * CHAINS], sums[i * CHAINS + 1]);
        Dim base = dim_add_const(p, dim_mul_const(p, s->warp, s->tiles * s->sets * SET), i * SET);
        base = dim_add(p, base, dim_add(p, dim_mul_const(p, s->in_quad, 2 * (SET / COLUMNS)), s->quad));
        for (uint32_t j = 0; j < 4; j++)
            k_shared_store(k, partial, dim_add_const(p, base, j % 2 * (SET / COLUMNS) + j / 2 * 8), k_lane(k, sum, j), NULL);
    }
}

/* ---- the results --------------------------------------------------------------------------------------------------------------- */
typedef struct { Dim row, col, place; KInst *mask; } Result;      /* of x, of a part; in shared memory; NULL: always */

static KInst *both(Kernel *k, KInst *a, KInst *b)
{
    bool all_a = a->kind == K_CONST && a->i, all_b = b->kind == K_CONST && b->i;
    return all_a && all_b ? NULL : all_a ? b : all_b ? a : k_op2(k, OP_AND, a, b);
}

/* This thread's result number `i`: neighbouring threads have neighbouring columns of the output. */
static Result result_at(Stream *s, int64_t i)
{
    DimPool *p = s->x.p;
    int64_t width = s->span * TILE;
    Dim count = dim_mul_const(p, s->x.m, width), number = dim_add_const(p, s->x.b->thread, i * s->warps * 32);
    Dim e = clamped(p, number, count), row = dim_floordiv(p, e, dim_const(p, width)), within = dim_mod(p, e, dim_const(p, width));
    Dim tile = dim_floordiv(p, within, dim_const(p, TILE)), set = dim_floordiv(p, row, dim_const(p, COLUMNS));
    Dim place = dim_mul_const(p, dim_add(p, dim_mul_const(p, tile, s->sets), set), SET);
    place = dim_add(p, place, dim_mul_const(p, dim_mod(p, row, dim_const(p, COLUMNS)), SET / COLUMNS));
    Dim col = dim_add(p, s->x.col0, within);
    KInst *row_in = k_test(s->x.k, number, count, 1), *col_in = k_test(s->x.k, col, s->columns, 1);
    col = dim_is(s->columns, 1) ? dim_const(p, 0) : col;
    return (Result){.row = row, .col = col, .place = dim_add(p, place, dim_mod(p, within, dim_const(p, TILE))),
                    .mask = both(s->x.k, row_in, col_in)};
}

static KInst *total(Stream *s, uint32_t partial, Dim place)
{
    KInst *sum = k_shared_load(s->x.k, partial, place, 1);
    for (int64_t w = 1; w < s->warps; w++)
        sum = k_op2(s->x.k, OP_ADD, sum, k_shared_load(s->x.k, partial, dim_add_const(s->x.p, place, w * s->tiles * s->sets * SET), 1));
    return sum;
}

static void finish(Stream *s, uint32_t partial, const Result *r)
{
    for (int64_t i = 0; i < s->parts; i++) {
        Dim place = dim_add_const(s->x.p, r->place, i * s->span * s->sets * SET);
        product_know(&s->x, r->row, dim_add(s->x.p, r->col, s->start[i]), total(s, partial, place));
    }
    product_store(&s->x, r->row, r->col, 1, r->mask);
}

static bool build(KindBuild *b)
{
    DimPool *p = b->k->cx->dims;
    Context *cx = b->k->cx;
    Stream s = {.x = product_new(b), .warps = schedule_get(b->s, "warps", 1), .span = schedule_get(b->s, "tiles", 1),
                .flight = schedule_get(b->s, "flight", 1), .columns = columns_of(b->problem.g)};
    s.parts = parts_of(&b->problem, s.start);
    s.tiles = s.span * s.parts;
    if (s.warps < 1 || s.warps > 16 || s.tiles < 1 || s.tiles > MAX_TILES || s.flight < 1 || s.flight > MAX_FLIGHT)
        return diag_error(cx->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, NULL, "illegal schedule: more tiles or loads than a thread can hold");
    bool known = product_view(cx, s.x.n, 0, &s.in) && product_view(cx, s.x.n, 1, &s.w) && lower_buffer_of(b->l, s.in.base, &s.in_buffer) &&
                 lower_buffer_of(b->l, s.w.base, &s.w_buffer);
    pawl_assert(known, "an operand of the product is not in memory");
    s.sets = s.x.m->value > COLUMNS ? 2 : 1;
    Dim per_batch = dim_max(p, dim_ceildiv(p, s.columns, dim_const(p, s.span * TILE)), dim_const(p, 1)), lane = dim_mod(p, b->thread, dim_const(p, 32));
    s.x.at_batch = dim_floordiv(p, b->block, per_batch);
    s.x.col0 = dim_mul_const(p, dim_mod(p, b->block, per_batch), s.span * TILE);
    s.warp = dim_floordiv(p, b->thread, dim_const(p, 32));
    s.quad = dim_floordiv(p, lane, dim_const(p, 4));
    s.in_quad = dim_mod(p, lane, dim_const(p, 4));

    if (!b->k->min_blocks)                      /* registers for all loads: unasked, the assembler saves some by waiting early */
        b->k->min_blocks = (int)(16 / s.warps);

    Result r[32];
    int64_t n = (s.x.m->value * s.span * TILE + s.warps * 32 - 1) / (s.warps * 32);
    for (int64_t i = 0; i < n; i++) {
        r[i] = result_at(&s, i);
        product_load_early(&s.x, r[i].row, r[i].col, 1, r[i].mask);
    }
    Sums sums;
    for (uint32_t i = 0; i < n_sums(&s); i++)
        sums[i] = k_const(b->k, (KType){DT_F32, 4}, 0);
    stream(&s, sums);
    uint32_t partial = kernel_shared(b->k, "partial", DT_F32, (uint32_t)(s.warps * s.tiles * s.sets * SET));
    deposit(&s, partial, sums);
    k_barrier(b->k);
    for (int64_t i = 0; i < n; i++)
        finish(&s, partial, &r[i]);
    return true;
}

const KernelKind kind_smallm = {
    .name = "smallm", .accepts = accepts, .space = space, .cost = cost, .grid = grid, .threads = threads, .build = build,
};
