/* codegen/kinds/smallm.c — products of few rows (decode): the weights stream once past the tensor cores, at memory speed.
 *
 * D[m, n] = sum over k of x[m, k] w[n, k], m <= 64, both operands contiguous along k. The weights are the left factor of the
 * tensor cores' products: a row tile is 16 of their rows; the rows of x are columns, 8 a set. The warps of a block share k and
 * take turns of `steps` steps of 32 k's each: 64 bytes of a row a step, and memory gives most where neighbouring threads ask for 128
 * or 256 of a row together. A warp copies them, unconverted, to places in shared memory that are its own, `stages` turns ahead, and
 * its threads find there what the product wants in their registers (K_MMA says which): no barrier of the block, no bank twice. Frozen
 * weights are asked for before the kernels before this one have ended, and the next kernel is let in when the last of them are on their
 * way, or, with `let`, at once: its blocks come as soon as some of this kernel make room, and memory stays busy from one product to the
 * next. x comes from the caches, `ahead` turns before it is wanted: what is on its way from memory is in its way, too.
 *
 * A block takes `rounds` groups of row tiles one after the other: all blocks find room at once, and the copies never pause. After
 * each, the sums of the warps meet in shared memory and are added in a fixed order; then the group's expressions run on whole
 * results, one a thread. What those load beside the product is asked for before the sums begin.
 *
 * Rows past the end are clamped, not masked: an extra row or column of the product is never stored. Where the group reads two parts
 * of the product together (gate and up of stacked projections), a block computes the same row tiles of both.
 *
 * Schedule: warps (a block), tiles (row tiles of each part in a round), rounds, steps (a turn), stages (turns under way),
 * ahead, let. */
#include "codegen/kinds/smallm.h"

#include <math.h>

/* ---- schedules --------------------------------------------------------------------------------------------------------------- */
static SmallmLayout layout_of(const KindProblem *p, const Schedule *s)
{
    Dim m, n, k, batch;
    const Index *at;
    DimPool *d = p->cx->dims;
    SmallmLayout z = {.warps = schedule_get(s, "warps", 8), .span = schedule_get(s, "tiles", 1), .rounds = schedule_get(s, "rounds", 1),
                .steps = schedule_get(s, "steps", 1), .stages = schedule_get(s, "stages", 4), .ahead = schedule_get(s, "ahead", 1),
                .let = schedule_get(s, "let", 0)};
    matmul_extents(d, p->g->matmul, &m, &n, &k, &batch);
    uint32_t places = group_places(p->cx, p->g, p->g->matmul, &at);
    z.parts = matmul_columns(p->cx, p->g, p->g->matmul, at, places, z.start);
    z.tiles = z.parts * z.span;
    z.sets = (m->value + COLUMNS - 1) / COLUMNS;
    z.chains = z.steps > 1 && z.tiles * z.sets <= 2 ? CHAINS : 1;
    z.depth = k->value;
    z.columns = p->g->domain.d[p->g->domain.rank - 1];
    int64_t turn = z.warps * z.steps * STEP;
    z.turns = turn > 0 ? (z.depth + turn - 1) / turn : 0;
    z.per_batch = dim_max(d, dim_ceildiv(d, z.columns, dim_const(d, z.span * TILE)), dim_const(d, 1));
    z.groups = dim_mul(d, batch, z.per_batch);
    if (z.stages > z.rounds * z.turns)
        z.stages = z.rounds * z.turns;
    return z;
}

static int64_t ring_words(const SmallmLayout *z) { return z->warps * z->stages * z->steps * z->tiles * 2 * PIECE; }

/* Sums that meet; where they are few, the next round's have places of their own: those of the last one may still be read. */
static int64_t round_sums(const SmallmLayout *z) { return z->warps * z->tiles * z->sets * SET; }
static int64_t places(const SmallmLayout *z) { return z->rounds > 1 && z->tiles * z->sets <= 4 ? 2 : 1; }
static int64_t partial_words(const SmallmLayout *z) { return places(z) * round_sums(z); }

static int64_t shared_bytes(const SmallmLayout *z) { return 4 * (ring_words(z) + partial_words(z)); }

/* Registers a thread: sums, fragments of weights, fragments of x now and next, and the rest. */
static int64_t registers(const SmallmLayout *z) { return 4 * (z->chains * z->tiles * z->sets + z->steps * (2 * z->tiles + z->ahead * z->sets)) + 40; }

static const char *illegal(const KindProblem *p, const SmallmLayout *z, int64_t m)
{
    bool counts = z->warps >= 1 && z->warps <= 16 && z->span >= 1 && z->rounds >= 1 && (z->steps == 1 || z->steps == 2 || z->steps == MAX_STEPS) &&
                  z->stages >= 1 && z->stages <= MAX_STAGES && z->ahead >= 1 && z->ahead <= MAX_AHEAD && z->tiles <= MAX_TILES;
    return !counts                                                ? "a count is out of its range"
         : registers(z) > 230 || registers(z) * z->warps * 32 > UNIT_REGISTERS ? "more sums and fragments than a thread can hold"
         : m * z->span * TILE > MAX_RESULTS * z->warps * 32         ? "more results than the threads of a block can finish"
         : shared_bytes(z) > p->m->shared_block                   ? "more shared memory than a block can have" : NULL;
}

static int64_t rows_of(const KindProblem *p)
{
    Dim m, n, k, batch;
    matmul_extents(p->cx->dims, p->g->matmul, &m, &n, &k, &batch);
    return m->value;
}

/* Weights from memory, as fast as all units together or each alone can ask for them, by the unit with most; with many rows what every
 * block reads of x out of the second-level cache, at half as much again. */
static double cost(const KindProblem *p, const Schedule *s)
{
    SmallmLayout z = layout_of(p, s);
    double bytes = (double)dim_typical(p->g->bytes_read) + (double)dim_typical(p->g->bytes_written), groups = (double)dim_typical(z.groups);
    double x = (double)rows_of(p) * (double)z.depth * 2 * groups, blocks = ceil(groups / (double)z.rounds);
    double units = blocks < p->m->units ? blocks : p->m->units, alone = 1.3 * p->m->copy_bandwidth / p->m->units;
    double rate = fmin(0.85 * p->m->copy_bandwidth / units, alone);
    double seconds = ceil(blocks / units) * (double)z.rounds * bytes / groups / rate, cached = (bytes + x) / (1.5 * p->m->copy_bandwidth);
    return fmax(seconds, cached) + p->m->launch_seconds;
}

/* Turns that x is ahead: a power of two, so that the unrolled loop comes out even, in the registers of so many blocks a unit. */
static int64_t turns_ahead(SmallmLayout z, int64_t blocks)
{
    int64_t threads = 32 * z.warps * (blocks > 2 ? blocks : 2);
    for (z.ahead = 1; z.turns % (2 * z.ahead) == 0 && 2 * z.ahead * z.steps * z.sets <= 8; z.ahead *= 2) {
        SmallmLayout more = z;
        more.ahead *= 2;
        if (registers(&more) * threads > UNIT_REGISTERS)
            break;
    }
    return z.ahead;
}

/* Warps (0: 8, or 4 where a unit has three blocks), blocks a unit (0: as one round each needs), KB of shared memory in a unit. */
typedef struct { int16_t warps, tiles, steps /* times all tiles */, blocks, shared, let; } Appetite;

/* So many rounds that all blocks are there at once. What is predicted to be faster goes first, else the tables' order counts. */
static void add(const KindProblem *p, Schedule *out, uint32_t *n, uint32_t max, Appetite shape)
{
    Schedule s = {.kind = "smallm"};
    schedule_set(&s, "warps", shape.warps ? shape.warps : 8);
    schedule_set(&s, "tiles", shape.tiles);
    schedule_set(&s, "rounds", 1);
    schedule_set(&s, "steps", 1);
    schedule_set(&s, "stages", 1);
    SmallmLayout z = layout_of(p, &s);
    int64_t groups = dim_typical(z.groups), units = p->m->units, once = (groups + units - 1) / units;
    if (!shape.blocks) {                        /* one round each, where three a unit are enough for that */
        shape.blocks = once < 3 ? (int16_t)once : 3;
        shape.shared = shape.blocks == 3 ? 225 : 208;
    }
    if (!shape.warps)
        schedule_set(&s, "warps", shape.blocks == 3 ? 4 : 8);
    int64_t blocks = shape.blocks * units, rounds = (groups + blocks - 1) / blocks, steps = MAX_STEPS;
    while (steps > 1 && steps * z.tiles > shape.steps)
        steps /= 2;
    schedule_set(&s, "rounds", rounds);
    schedule_set(&s, "steps", steps);
    z = layout_of(p, &s);
    int64_t turn = 4 * ring_words(&z), room = shape.shared * 1024 / shape.blocks - 4 * partial_words(&z);
    int64_t all = rounds * z.turns, most = all < MAX_STAGES ? all : MAX_STAGES, stages = room < turn ? 1 : room / turn;
    schedule_set(&s, "stages", stages < most ? stages : most);
    schedule_set(&s, "ahead", turns_ahead(z, shape.blocks));
    schedule_set(&s, "let", shape.let);
    z = layout_of(p, &s);
    for (uint32_t i = 0; i < *n; i++)
        if (schedule_equal(&out[i], &s))
            return;
    if (*n == max || illegal(p, &z, rows_of(p)) || (z.warps > 1 && z.depth <= (z.warps - 1) * z.steps * STEP))
        return;
    uint32_t at = (*n)++;
    for (double seconds = cost(p, &s); at > 0 && cost(p, &out[at - 1]) > 1.05 * seconds; at--)
        out[at] = out[at - 1];
    out[at] = s;
}

static uint32_t space(const KindProblem *p, Schedule *out, uint32_t max)
{
    static const Appetite few[] = {
        {0, 1, 4, 0, 0, 1}, {0, 1, 8, 0, 0, 1}, {8, 1, 4, 1, 144, 1}, {8, 1, 4, 0, 0, 1}, {8, 1, 4, 1, 208, 0}, {8, 1, 8, 0, 0, 1},
        {8, 1, 2, 1, 208, 1}, {0, 1, 4, 0, 0, 0}, {8, 1, 2, 0, 0, 1}, {8, 1, 4, 0, 0, 0}, {8, 1, 4, 1, 112, 0}, {16, 1, 2, 1, 208, 0},
        {4, 1, 4, 3, 225, 1}, {4, 1, 4, 3, 225, 0}, {8, 1, 4, 1, 72, 0}, {8, 1, 4, 1, 208, 1}, {8, 1, 8, 1, 208, 1}, {8, 1, 4, 2, 208, 1},
        {4, 1, 8, 2, 208, 0}, {16, 1, 4, 1, 208, 0}, {8, 2, 4, 1, 208, 0}, {8, 4, 4, 1, 208, 0}, {4, 1, 2, 4, 208, 0}, {4, 1, 1, 2, 64, 0},
        {2, 1, 2, 4, 64, 0}, {2, 1, 1, 2, 48, 0}, {1, 1, 1, 4, 32, 0}, {1, 1, 4, 2, 16, 0},
    };
    static const Appetite many[] = {          /* rows of x that are read again by every block: more tiles for each reading */
        {8, 4, 4, 1, 208, 0}, {8, 2, 4, 1, 208, 0}, {8, 1, 4, 1, 208, 0}, {8, 2, 2, 1, 208, 0}, {4, 4, 4, 1, 208, 0}, {4, 2, 2, 2, 208, 0},
        {8, 1, 1, 1, 112, 0}, {16, 2, 2, 1, 208, 0}, {4, 1, 1, 2, 208, 0},
    };
    bool sets = rows_of(p) > 2 * COLUMNS;
    uint32_t n = 0, shapes = sets ? sizeof many / sizeof *many : sizeof few / sizeof *few;
    for (uint32_t i = 0; i < shapes; i++)
        add(p, out, &n, max, sets ? many[i] : few[i]);
    return n;
}

static Dim grid(const KindProblem *p, const Schedule *s)
{
    SmallmLayout z = layout_of(p, s);
    return dim_ceildiv(p->cx->dims, z.groups, dim_const(p->cx->dims, z.rounds));
}

static uint32_t threads(const KindProblem *p, const Schedule *s)
{
    (void)p;
    return 32 * (uint32_t)schedule_get(s, "warps", 1);
}

static bool accepts(const KindProblem *p, const char **why_not)
{
    Dim start[MATMUL_PLACES];
    const Index *at;
    uint32_t n = p->g->matmul ? group_places(p->cx, p->g, p->g->matmul, &at) : 0;
    *why_not = !p->g->matmul   ? "not a matrix product"
             : p->g->reduces.n ? "a reduction follows the product"
             : !matmul_columns(p->cx, p->g, p->g->matmul, at, n, start) ? "the product is not read column by column"
             : matmul_not_small(p->cx, p->g->matmul, p->m);
    return !*why_not;
}

/* ---- the results ---------------------------------------------------------------------------------------------------------------- */
/* First of the places for this round's sums: [warp][tile][set][column][row]. */
static Dim sums_place(const SmallmStream *s, Dim round)
{
    DimPool *p = s->x.p;
    return dim_mul_const(p, dim_mod(p, round, dim_const(p, places(&s->z))), round_sums(&s->z));
}

static void deposit(const SmallmStream *s, uint32_t partial, Dim place, const SmallmSums *sums)
{
    DimPool *p = s->x.p;
    Kernel *k = s->x.k;
    place = dim_add(p, place, dim_mul_const(p, s->warp, s->z.tiles * s->z.sets * SET));
    place = dim_add(p, place, dim_add(p, dim_mul_const(p, s->in_quad, 2 * (SET / COLUMNS)), s->quad));
    for (int64_t i = 0; i < s->z.tiles * s->z.sets; i++) {
        KInst *sum = sums->at[i * s->z.chains];
        sum = s->z.chains > 1 ? k_op2(k, OP_ADD, sum, sums->at[i * s->z.chains + 1]) : sum;
        for (uint32_t j = 0; j < 4; j++)
            k_shared_store(k, partial, dim_add_const(p, place, i * SET + j % 2 * (SET / COLUMNS) + j / 2 * 8), k_lane(k, sum, j), NULL);
    }
}

typedef struct { Dim row, col, place; KInst *mask; } Result;      /* of x, of a part; among a warp's sums; NULL: always */

/* This thread's result number `i`: neighbouring threads have neighbouring columns of the output. */
static Result result_at(const SmallmStream *s, KInst *there, int64_t i)
{
    DimPool *p = s->x.p;
    Kernel *k = s->x.k;
    int64_t width = s->z.span * TILE;
    Dim count = dim_mul_const(p, s->x.m, width), number = dim_add_const(p, s->x.b->thread, i * s->z.warps * 32);
    Dim e = smallm_clamped(p, number, count), row = dim_floordiv(p, e, dim_const(p, width)), within = dim_mod(p, e, dim_const(p, width));
    Dim tile = dim_floordiv(p, within, dim_const(p, TILE)), set = dim_floordiv(p, row, dim_const(p, COLUMNS));
    Dim at = dim_mul_const(p, dim_add(p, dim_mul_const(p, tile, s->z.sets), set), SET);
    at = dim_add(p, at, dim_mul_const(p, dim_mod(p, row, dim_const(p, COLUMNS)), SET / COLUMNS));
    Dim col = dim_add(p, s->x.col0, within);
    KInst *in = mask_and(k, smallm_unless_sure(k_test(k, number, count, 1)), smallm_unless_sure(k_test(k, col, s->z.columns, 1)));
    return (Result){.row = row, .col = dim_is(s->z.columns, 1) ? dim_const(p, 0) : col,
                    .place = dim_add(p, at, dim_mod(p, within, dim_const(p, TILE))), .mask = mask_and(k, there, in)};
}

static KInst *total(const SmallmStream *s, uint32_t partial, Dim place)
{
    KInst *sum = k_shared_load(s->x.k, partial, place, 1);
    for (int64_t w = 1; w < s->z.warps; w++)
        sum = k_op2(s->x.k, OP_ADD, sum, k_shared_load(s->x.k, partial, dim_add_const(s->x.p, place, w * s->z.tiles * s->z.sets * SET), 1));
    return sum;
}

static void finish(SmallmStream *s, uint32_t partial, Dim place, const Result *r)
{
    for (int64_t i = 0; i < s->z.parts; i++) {
        Dim at = dim_add_const(s->x.p, dim_add(s->x.p, place, r->place), i * s->z.span * s->z.sets * SET);
        product_know(&s->x, r->row, dim_add(s->x.p, r->col, s->z.start[i]), total(s, partial, at));
    }
    product_store(&s->x, r->row, r->col, 1, r->mask);
}

/* One group of row tiles, all of k. */
static void take_round(SmallmStream *s, uint32_t partial, Dim round, SmallmRows *x)
{
    Result r[MAX_RESULTS];
    int64_t n = (s->x.m->value * s->z.span * TILE + s->z.warps * 32 - 1) / (s->z.warps * 32);
    SmallmTurn t = smallm_turn_at(s, dim_mul_const(s->x.p, round, s->z.turns));
    s->x.at_batch = t.batch;
    s->x.col0 = t.col0;
    for (int64_t i = 0; i < n; i++) {
        r[i] = result_at(s, t.there, i);
        product_load_early(&s->x, r[i].row, r[i].col, 1, r[i].mask);
    }
    SmallmSums sums = smallm_round(s, round, x);
    Dim place = sums_place(s, round);
    deposit(s, partial, place, &sums);
    k_barrier(s->x.k);
    for (int64_t i = 0; i < n; i++)
        finish(s, partial, place, &r[i]);
    if (s->z.rounds > 1 && places(&s->z) == 1)             /* with two, the next round's barrier is enough */
        k_barrier(s->x.k);
}

static void all_rounds(SmallmStream *s, uint32_t partial, SmallmRows *x)
{
    Kernel *k = s->x.k;
    DimPool *p = s->x.p;
    uint32_t n = (uint32_t)s->z.ahead * smallm_n_rows(&s->z);
    if (s->z.rounds == 1) {
        take_round(s, partial, dim_const(p, 0), x);
        return;
    }
    KInst *loop = k_loop(k, "round", dim_const(p, 0), dim_const(p, s->z.rounds), 1, x->at, n, 1);
    for (uint32_t i = 0; i < n; i++)
        x->at[i] = k_carry(k, loop, i);
    lower_scope(s->x.b->l);
    take_round(s, partial, loop->var, x);
    lower_scope_end(s->x.b->l);
    k_loop_end(k, loop, x->at);
}

/* Shared memory that sections of one launch, which run in different blocks, use in turn. */
static uint32_t shared_array(Kernel *k, const char *name, DType t, int64_t count)
{
    for (uint32_t i = 0; i < k->shared.n; i++)
        if (!strcmp(k->shared.data[i].name, name) && k->shared.data[i].dtype == t) {
            k->shared.data[i].count = k->shared.data[i].count > count ? k->shared.data[i].count : (uint32_t)count;
            return i;
        }
    return kernel_shared(k, name, t, (uint32_t)count);
}

static bool build(KindBuild *b)
{
    DimPool *p = b->k->cx->dims;
    Context *cx = b->k->cx;
    SmallmStream s = {.x = product_new(b), .z = layout_of(&b->problem, b->s)};
    const char *why = illegal(&b->problem, &s.z, s.x.m->value);
    if (why)
        return diag_error(cx->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, NULL, "illegal schedule: %s", why);
    bool known = product_view(cx, s.x.n, 0, &s.in) && product_view(cx, s.x.n, 1, &s.w) && lower_buffer_of(b->l, s.in.base, &s.in_buffer) &&
                 lower_buffer_of(b->l, s.w.base, &s.w_buffer);
    pawl_assert(known, "an operand of the product is not in memory");
    s.lane = dim_mod(p, b->thread, dim_const(p, 32));
    s.warp = dim_floordiv(p, b->thread, dim_const(p, 32));
    s.quad = dim_floordiv(p, s.lane, dim_const(p, 4));
    s.in_quad = dim_mod(p, s.lane, dim_const(p, 4));
    s.ring = shared_array(b->k, "ring", DT_I32, ring_words(&s.z));
    uint32_t partial = shared_array(b->k, "sums", DT_F32, partial_words(&s.z));
    /* Room for the next kernel's blocks, which come while these still run; and registers: unasked, the assembler saves some. Beside what is
     * counted compilers keep an address of 64 bits, and more, for each piece that is copied. */
    int64_t pieces = 2 * s.z.tiles * s.z.steps, fit = UNIT_REGISTERS / ((registers(&s.z) + 6 * pieces) * s.z.warps * 32);
    if (!b->k->min_blocks)
        b->k->min_blocks = fit > 2 ? 2 : fit < 1 ? 1 : (int)fit;
    SmallmRows x = smallm_begin(&s);
    all_rounds(&s, partial, &x);
    return true;
}

const KernelKind kind_smallm = {
    .name = "smallm", .waits = true, .accepts = accepts, .space = space, .cost = cost, .grid = grid, .threads = threads, .build = build,
};
