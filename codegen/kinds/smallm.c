/* codegen/kinds/smallm.c — products of few rows (decode): the weights stream once past the tensor cores, at memory speed.
 *
 * D[m, n] = sum over k of x[m, k] w[n, k], m <= 64, both operands contiguous along k. The weights are the left factor of the tensor
 * cores' products: a row tile is 16 of their rows; the rows of x are columns, 8 a set. The warps of a block share k and take turns of
 * `steps` steps of 32 k's each. A thread copies 16 bytes of a row at a time, unconverted, to places in shared memory that are its own,
 * `stages` turns ahead, and finds there what the product wants in its registers (K_MMA says which): no barrier, no bank twice. Frozen
 * weights are asked for before the kernels before this one have ended, and the next kernel is let in when the last of them are on
 * their way: memory stays busy from one product to the next. x comes from the caches, `ahead` turns before it is wanted: what is on
 * its way from memory is in its way, too. The second-level cache is told `fetch` turns before a copy is begun: more is under way than
 * shared memory has room for.
 *
 * A block takes `rounds` groups of row tiles one after the other: all blocks find room at once, and the copies never pause. After each,
 * the sums of the warps meet in shared memory and are added in a fixed order; then the group's expressions run on whole results, one
 * a thread. What those load beside the product is asked for before the sums begin.
 *
 * Rows past the end are clamped, not masked: an extra row or column of the product is never stored. Where the group reads two parts of
 * the product together (gate and up of stacked projections), a block computes the same row tiles of both.
 *
 * Schedule: warps (a block), tiles (row tiles of each part in a round), rounds, steps (a turn), stages (turns under way),
 * ahead, fetch. */
#include "codegen/kinds/product.h"

#include <math.h>

enum {
    TILE = 16, STEP = 32, COLUMNS = 8, SET = 20 * COLUMNS,       /* a column of 16 sums takes 20 places: no bank twice */
    PIECE = 128,                                                 /* i32 that a warp copies at a time: 16 bytes a thread */
    MAX_STEPS = 4, MAX_TILES = 4, MAX_SETS = 8, MAX_STAGES = 24, MAX_AHEAD = 8, MAX_RESULTS = 32, CHAINS = 2,
    UNIT_REGISTERS = 65536,
};

/* ---- schedules --------------------------------------------------------------------------------------------------------------- */
typedef struct {
    int64_t warps, span, rounds, steps, stages, ahead, fetch;     /* of the schedule; span: row tiles of a part */
    int64_t parts, tiles, sets, chains;             /* parts that are read of the product; row tiles of all; sets of columns; sums of each */
    int64_t depth, turns;                           /* k; turns of a round */
    Dim start[MATMUL_PLACES], columns;              /* where a part begins; how many columns each has */
    Dim per_batch, groups;                          /* rounds that one batch takes; that all take */
} Layout;

static Layout layout_of(const KindProblem *p, const Schedule *s)
{
    Dim m, n, k, batch;
    const Index *at;
    DimPool *d = p->cx->dims;
    Layout z = {.warps = schedule_get(s, "warps", 8), .span = schedule_get(s, "tiles", 1), .rounds = schedule_get(s, "rounds", 1),
                .steps = schedule_get(s, "steps", 1), .stages = schedule_get(s, "stages", 4), .ahead = schedule_get(s, "ahead", 1),
                .fetch = schedule_get(s, "fetch", 0)};
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

static int64_t ring_words(const Layout *z) { return z->warps * z->stages * z->steps * z->tiles * 2 * PIECE; }

/* Sums that meet; where they are few, the next round's have places of their own: those of the last one may still be read. */
static int64_t round_sums(const Layout *z) { return z->warps * z->tiles * z->sets * SET; }
static int64_t places(const Layout *z) { return z->rounds > 1 && z->tiles * z->sets <= 4 ? 2 : 1; }
static int64_t partial_words(const Layout *z) { return places(z) * round_sums(z); }

static int64_t shared_bytes(const Layout *z) { return 4 * (ring_words(z) + partial_words(z)); }

/* Registers a thread: sums, fragments of weights, fragments of x now and next, and the rest. */
static int64_t registers(const Layout *z) { return 4 * (z->chains * z->tiles * z->sets + z->steps * (2 * z->tiles + z->ahead * z->sets)) + 40; }

static const char *illegal(const KindProblem *p, const Layout *z, int64_t m)
{
    bool counts = z->warps >= 1 && z->warps <= 16 && z->span >= 1 && z->rounds >= 1 && z->steps >= 1 && z->steps <= MAX_STEPS &&
                  z->stages >= 1 && z->stages <= MAX_STAGES && z->ahead >= 1 && z->ahead <= MAX_AHEAD && z->fetch >= 0 &&
                  z->tiles <= MAX_TILES;
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
    Layout z = layout_of(p, s);
    double bytes = (double)dim_typical(p->g->bytes_read) + (double)dim_typical(p->g->bytes_written), groups = (double)dim_typical(z.groups);
    double x = (double)rows_of(p) * (double)z.depth * 2 * groups, blocks = ceil(groups / (double)z.rounds);
    double units = blocks < p->m->units ? blocks : p->m->units, alone = 1.3 * p->m->copy_bandwidth / p->m->units;
    double rate = fmin(0.85 * p->m->copy_bandwidth / units, alone);
    double seconds = ceil(blocks / units) * (double)z.rounds * bytes / groups / rate, cached = (bytes + x) / (1.5 * p->m->copy_bandwidth);
    return fmax(seconds, cached) + p->m->launch_seconds;
}

/* Turns that x is ahead: about as many as the weights, so that the unrolled loop comes out even, in few registers. */
static int64_t turns_ahead(const Layout *z, int64_t stages)
{
    int64_t ahead = 1;
    while (2 * ahead <= stages && z->turns % (2 * ahead) == 0 && 2 * ahead * z->steps * z->sets <= 8)
        ahead *= 2;
    return ahead;
}

/* shape: warps, tiles of each part, steps times all tiles in a turn, blocks a unit, KB of shared memory in each unit, KB under
 * way in each unit with those in the second-level cache. So many rounds that
 * all blocks are there at once. What is predicted to be faster goes first, else the order of the tables counts. */
static void add(const KindProblem *p, Schedule *out, uint32_t *n, uint32_t max, const int16_t shape[6])
{
    int64_t warps = shape[0], span = shape[1], steps = shape[2], blocks = shape[3] * p->m->units, bytes = shape[4] * 1024 / shape[3];
    Schedule s = {.kind = "smallm"};
    schedule_set(&s, "warps", warps);
    schedule_set(&s, "tiles", span);
    schedule_set(&s, "rounds", 1);
    schedule_set(&s, "steps", steps);
    schedule_set(&s, "stages", 1);
    Layout z = layout_of(p, &s);
    steps = steps < z.tiles ? 1 : steps / z.tiles;
    schedule_set(&s, "steps", steps);
    int64_t groups = dim_typical(z.groups), rounds = (groups + blocks - 1) / blocks;
    schedule_set(&s, "rounds", rounds);
    z = layout_of(p, &s);
    int64_t stages = (bytes - 4 * partial_words(&z)) / (4 * ring_words(&z));
    int64_t all = rounds * z.turns, most = all < MAX_STAGES ? all : MAX_STAGES;
    stages = stages < 1 ? 1 : stages > most ? most : stages;
    schedule_set(&s, "stages", stages);
    schedule_set(&s, "ahead", turns_ahead(&z, stages));
    int64_t turn = 4 * ring_words(&z) / z.stages * shape[3], fetch = shape[5] * 1024 / turn - stages;
    fetch = fetch < all - stages ? fetch : all - stages;
    schedule_set(&s, "fetch", fetch > 0 ? fetch : 0);
    z = layout_of(p, &s);
    for (uint32_t i = 0; i < *n; i++)
        if (schedule_equal(&out[i], &s))
            return;
    if (*n == max || illegal(p, &z, rows_of(p)) || (warps > 1 && z.depth <= (warps - 1) * steps * STEP))
        return;
    uint32_t at = (*n)++;
    for (double seconds = cost(p, &s); at > 0 && cost(p, &out[at - 1]) > 1.01 * seconds; at--)
        out[at] = out[at - 1];
    out[at] = s;
}

static uint32_t space(const KindProblem *p, Schedule *out, uint32_t max)
{
    static const int16_t few[][6] = {
        {8, 1, 2, 1, 112, 240}, {8, 1, 4, 1, 112, 240}, {8, 1, 2, 1, 112, 0}, {8, 1, 4, 1, 112, 0}, {8, 1, 2, 3, 224, 0}, {8, 1, 2, 3, 224, 320},
        {8, 1, 4, 1, 160, 0}, {8, 1, 4, 1, 160, 320}, {8, 1, 2, 1, 64, 240}, {8, 1, 2, 2, 112, 240}, {8, 1, 2, 2, 208, 0}, {16, 1, 2, 1, 112, 240},
        {16, 1, 2, 1, 208, 0}, {8, 1, 4, 1, 208, 0}, {8, 1, 4, 1, 112, 480}, {8, 1, 1, 1, 112, 0}, {4, 1, 2, 2, 112, 0}, {4, 1, 4, 2, 112, 240},
        {8, 2, 2, 1, 112, 240}, {8, 2, 4, 1, 112, 0}, {8, 4, 4, 1, 112, 0}, {4, 1, 2, 4, 208, 0}, {4, 1, 1, 2, 64, 0}, {2, 1, 2, 4, 64, 0},
        {2, 1, 1, 2, 48, 0}, {1, 1, 1, 4, 32, 0}, {1, 1, 4, 2, 16, 0},
    };
    static const int16_t many[][6] = {          /* rows of x that are read again by every block: more tiles for each reading */
        {8, 4, 4, 1, 208, 240}, {8, 2, 2, 1, 208, 240}, {8, 1, 2, 1, 208, 240}, {4, 4, 4, 1, 208, 0}, {4, 2, 2, 2, 208, 0}, {8, 1, 1, 1, 112, 240},
        {16, 2, 2, 1, 208, 0}, {4, 1, 1, 2, 208, 0},
    };
    bool sets = rows_of(p) > 2 * COLUMNS;
    uint32_t n = 0, shapes = sets ? sizeof many / sizeof *many : sizeof few / sizeof *few;
    for (uint32_t i = 0; i < shapes; i++)
        add(p, out, &n, max, sets ? many[i] : few[i]);
    return n;
}

static Dim grid(const KindProblem *p, const Schedule *s)
{
    Layout z = layout_of(p, s);
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

/* ---- where a turn is ------------------------------------------------------------------------------------------------------------ */
typedef struct {
    Product x;
    Layout z;
    MatrixView w, in;
    uint32_t w_buffer, in_buffer, ring;
    Dim warp, lane, quad, in_quad;              /* number of the warp, in it; of the quad in it; of the thread in that */
} Stream;

typedef struct { Dim batch, col0, k; KInst *there; } Turn;         /* k of the first step; is the round one at all? NULL: yes */

static Dim group_of(const Stream *s, Dim round) { return dim_add(s->x.p, dim_mul_const(s->x.p, s->x.b->block, s->z.rounds), round); }

static KInst *unless_sure(KInst *test) { return test->kind == K_CONST && test->i ? NULL : test; }

/* Turn number q of all that the block takes. */
static Turn turn_at(const Stream *s, Dim q)
{
    DimPool *p = s->x.p;
    Dim turns = dim_const(p, s->z.turns), group = group_of(s, dim_floordiv(p, q, turns));
    Dim k = dim_add(p, dim_mul_const(p, dim_mod(p, q, turns), s->z.warps), s->warp);
    return (Turn){.batch = dim_floordiv(p, group, s->z.per_batch), .col0 = dim_mul_const(p, dim_mod(p, group, s->z.per_batch), s->z.span * TILE),
                  .k = dim_mul_const(p, k, s->z.steps * STEP), .there = unless_sure(k_test(s->x.k, group, s->z.groups, 1))};
}

static Dim clamped(DimPool *p, Dim i, Dim extent) { return dim_min(p, i, dim_add_const(p, extent, -1)); }

/* The thread's piece of step j of a turn, in a row of the matrix, as a flat position in its buffer. */
static Dim position(const Stream *s, const MatrixView *v, const Turn *t, Dim row, Dim k)
{
    DimPool *p = s->x.p;
    Dim start = dim_add(p, v->offset, dim_mul(p, t->batch, v->stride_batch));
    return dim_add(p, start, dim_add(p, dim_mul(p, row, v->ld), k));
}

static Dim piece_k(const Stream *s, const Turn *t, int64_t j)
{
    return dim_add(s->x.p, dim_add_const(s->x.p, t->k, j * STEP), dim_mul_const(s->x.p, s->in_quad, 8));
}

static KInst *in_depth(const Stream *s, const Turn *t, Dim k)
{
    return mask_and(s->x.k, t->there, unless_sure(k_test(s->x.k, k, s->x.depth, 1)));
}

/* ---- fragments ---------------------------------------------------------------------------------------------------------------- */
/* Where the thread keeps piece number i of a turn. */
static Dim place(const Stream *s, Dim q, int64_t i)
{
    DimPool *p = s->x.p;
    int64_t pieces = s->z.steps * s->z.tiles * 2;
    Dim turn = dim_add(p, dim_mul_const(p, s->warp, s->z.stages), dim_mod(p, q, dim_const(p, s->z.stages)));
    Dim at = dim_add(p, dim_mul_const(p, turn, pieces * PIECE), dim_mul_const(p, s->lane, 4));
    return dim_add_const(p, at, i * PIECE);
}

/* A row tile of the round: rows of the weights come 8 apart in a piece and the next. */
static void ask_for_weights(const Stream *s, Dim q)
{
    DimPool *p = s->x.p;
    Turn t = turn_at(s, q);
    for (int64_t j = 0; j < s->z.steps; j++) {
        Dim k = piece_k(s, &t, j);
        KInst *mask = in_depth(s, &t, k);
        for (int64_t i = 0; i < s->z.tiles * 2; i++) {
            Dim row = dim_add_const(p, dim_add(p, t.col0, s->quad), i / 2 % s->z.span * TILE + i % 2 * 8);
            row = dim_add(p, clamped(p, row, s->z.columns), s->z.start[i / 2 / s->z.span]);
            KInst *copy = k_copy_async(s->x.k, s->ring, place(s, q, j * s->z.tiles * 2 + i), s->w_buffer, position(s, &s->w, &t, row, k), mask);
            copy->stream = true;
        }
    }
}

/* Tells the second-level cache of a turn: a row a thread, all the block's k's of it. The last, ragged ones are left out. */
static void fetch_weights(const Stream *s, Dim q)
{
    DimPool *p = s->x.p;
    Kernel *k = s->x.k;
    Turn t = turn_at(s, q);
    int64_t width = s->z.span * TILE, chunk = s->z.warps * s->z.steps * STEP;
    Dim thread = s->x.b->thread, part = dim_min(p, dim_floordiv(p, thread, dim_const(p, width)), dim_const(p, s->z.parts - 1));
    Dim first = dim_mul_const(p, dim_mod(p, q, dim_const(p, s->z.turns)), chunk), start = s->z.start[0];
    Dim row = clamped(p, dim_add(p, t.col0, dim_mod(p, thread, dim_const(p, width))), s->z.columns);
    if (s->z.parts > 1)
        start = dim_add(p, start, dim_mul_const(p, part, s->z.start[1]->value - start->value));
    KInst *mask = mask_and(k, unless_sure(k_test(k, thread, dim_const(p, s->z.tiles * TILE), 1)),
                           unless_sure(k_test(k, dim_add_const(p, first, chunk - 1), s->x.depth, 1)));
    Dim from = position(s, &s->w, &t, dim_add(p, row, start), first);
    if (dim_divides(p, dim_const(p, 8), from))                    /* known to be aligned; it is only a hint */
        k_prefetch(k, s->w_buffer, from, 2 * chunk, mask_and(k, t.there, mask));
}

typedef struct { KInst *at[MAX_AHEAD * MAX_STEPS * MAX_SETS]; } Rows;             /* [turn][step][set] */
typedef struct { KInst *at[MAX_STEPS * MAX_TILES * 2]; } Weights;      /* [step][tile][half] */
typedef struct { KInst *at[CHAINS * MAX_TILES * MAX_SETS]; } Sums;     /* [tile][set][chain] */

static uint32_t n_rows(const Layout *z) { return (uint32_t)(z->steps * z->sets); }
static uint32_t n_sums(const Layout *z) { return (uint32_t)(z->chains * z->tiles * z->sets); }

static void rows_at(const Stream *s, Dim q, KInst **rows)
{
    DimPool *p = s->x.p;
    Turn t = turn_at(s, q);
    for (int64_t i = 0; i < n_rows(&s->z); i++) {
        Dim k = piece_k(s, &t, i / s->z.sets), row = clamped(p, dim_add_const(p, s->quad, i % s->z.sets * COLUMNS), s->x.m);
        rows[i] = k_load_raw(s->x.k, s->in_buffer, position(s, &s->in, &t, row, k), in_depth(s, &t, k));
    }
}

static Weights weights_at(const Stream *s, Dim q)
{
    Weights w;
    for (int64_t i = 0; i < s->z.steps * s->z.tiles * 2; i++)
        w.at[i] = k_shared_load(s->x.k, s->ring, dim_add(s->x.p, place(s, q, i), kernel_lane(s->x.p, 4)), 4);
    return w;
}

static void multiply(const Stream *s, const Weights *w, const Rows *x, Sums *sums)
{
    for (int64_t j = 0; j < s->z.steps; j++)
        for (int64_t i = 0; i < s->z.tiles * s->z.sets; i++) {
            int64_t tile = j * s->z.tiles + i / s->z.sets;
            KInst **sum = &sums->at[i * s->z.chains + j % s->z.chains];
            *sum = k_mma(s->x.k, s->x.n->in[0]->type.dtype, *sum, w->at[2 * tile], w->at[2 * tile + 1], x->at[j * s->z.sets + i % s->z.sets]);
        }
}

/* ---- turns ------------------------------------------------------------------------------------------------------------------------ */
static Dim n_turns(const Stream *s) { return dim_const(s->x.p, s->z.rounds * s->z.turns); }

/* The first turns' weights, the wait for x, and x of the first turn. Every turn's copies are a group, empty ones at the end. */
static Rows begin(const Stream *s)
{
    Kernel *k = s->x.k;
    bool early = k->buffers.data[s->w_buffer].frozen;
    if (!early)
        k_wait(k);
    KInst *loop = k_loop(k, "ahead", dim_const(s->x.p, 0), dim_const(s->x.p, s->z.stages), 1, NULL, 0, 1);
    ask_for_weights(s, loop->var);
    k_copy_commit(k);
    k_loop_end(k, loop, NULL);
    int64_t rest = s->z.rounds * s->z.turns - s->z.stages, fetch = rest < s->z.fetch ? rest : s->z.fetch;
    if (fetch > 0) {
        KInst *more = k_loop(k, "fetch", dim_const(s->x.p, s->z.stages), dim_const(s->x.p, s->z.stages + fetch), 1, NULL, 0, 1);
        fetch_weights(s, more->var);
        k_loop_end(k, more, NULL);
    }
    if (early)
        k_wait(k);
    if (s->z.stages == s->z.rounds * s->z.turns)
        k_launch_next(k);
    Rows x;
    for (int64_t i = 0; i < s->z.ahead; i++)
        rows_at(s, dim_const(s->x.p, i < s->z.rounds * s->z.turns ? i : 0), x.at + i * n_rows(&s->z));
    return x;
}

/* What the turn consumed makes room for another one's weights. */
static void ask_ahead(const Stream *s, Dim q)
{
    Kernel *k = s->x.k;
    DimPool *p = s->x.p;
    if (s->z.stages < s->z.rounds * s->z.turns) {
        Dim ahead = dim_add_const(p, q, s->z.stages);
        KInst *some = k_if(k, k_test(k, ahead, n_turns(s), 1));
        ask_for_weights(s, clamped(p, ahead, n_turns(s)));
        k_else(k, some, NULL, 0);
        k_launch_next(k);
        k_if_end(k, some, NULL, 0);
    }
    k_copy_commit(k);
    if (s->z.fetch > 0 && s->z.stages + s->z.fetch < s->z.rounds * s->z.turns) {
        Dim later = dim_add_const(p, q, s->z.stages + s->z.fetch);
        KInst *some = k_if(k, k_test(k, later, n_turns(s), 1));
        fetch_weights(s, clamped(p, later, n_turns(s)));
        k_if_end(k, some, NULL, 0);
    }
}

static Sums round_of_turns(const Stream *s, Dim round, Rows *x)
{
    Kernel *k = s->x.k;
    DimPool *p = s->x.p;
    KInst *carried[CHAINS * MAX_TILES * MAX_SETS + MAX_AHEAD * MAX_STEPS * MAX_SETS];
    uint32_t turn = n_rows(&s->z), rows = (uint32_t)s->z.ahead * turn, sums = n_sums(&s->z);
    Sums sum;
    memcpy(carried, x->at, rows * sizeof *carried);
    for (uint32_t i = 0; i < sums; i++)
        carried[rows + i] = k_const(k, (KType){DT_F32, 4}, 0);
    KInst *loop = k_loop(k, "turn", dim_const(p, 0), dim_const(p, s->z.turns), 1, carried, rows + sums, (int)s->z.ahead);
    for (uint32_t i = 0; i < rows; i++)
        x->at[i] = k_carry(k, loop, i);
    for (uint32_t i = 0; i < sums; i++)
        sum.at[i] = k_carry(k, loop, rows + i);
    Dim q = dim_add(p, dim_mul_const(p, round, s->z.turns), loop->var);
    k_copy_wait(k, (uint32_t)s->z.stages - 1);
    Weights w = weights_at(s, q);
    ask_ahead(s, q);
    multiply(s, &w, x, &sum);
    memcpy(carried, x->at + turn, (rows - turn) * sizeof *carried);
    rows_at(s, clamped(p, dim_add_const(p, q, s->z.ahead), n_turns(s)), carried + rows - turn);
    memcpy(carried + rows, sum.at, sums * sizeof *carried);
    k_loop_end(k, loop, carried);
    for (uint32_t i = 0; i < rows; i++)
        x->at[i] = k_result(k, loop, i);
    for (uint32_t i = 0; i < sums; i++)
        sum.at[i] = k_result(k, loop, rows + i);
    return sum;
}

/* ---- the results ---------------------------------------------------------------------------------------------------------------- */
/* First of the places for this round's sums: [warp][tile][set][column][row]. */
static Dim sums_place(const Stream *s, Dim round)
{
    DimPool *p = s->x.p;
    return dim_mul_const(p, dim_mod(p, round, dim_const(p, places(&s->z))), round_sums(&s->z));
}

static void deposit(const Stream *s, uint32_t partial, Dim place, const Sums *sums)
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
static Result result_at(const Stream *s, KInst *there, int64_t i)
{
    DimPool *p = s->x.p;
    Kernel *k = s->x.k;
    int64_t width = s->z.span * TILE;
    Dim count = dim_mul_const(p, s->x.m, width), number = dim_add_const(p, s->x.b->thread, i * s->z.warps * 32);
    Dim e = clamped(p, number, count), row = dim_floordiv(p, e, dim_const(p, width)), within = dim_mod(p, e, dim_const(p, width));
    Dim tile = dim_floordiv(p, within, dim_const(p, TILE)), set = dim_floordiv(p, row, dim_const(p, COLUMNS));
    Dim at = dim_mul_const(p, dim_add(p, dim_mul_const(p, tile, s->z.sets), set), SET);
    at = dim_add(p, at, dim_mul_const(p, dim_mod(p, row, dim_const(p, COLUMNS)), SET / COLUMNS));
    Dim col = dim_add(p, s->x.col0, within);
    KInst *in = mask_and(k, unless_sure(k_test(k, number, count, 1)), unless_sure(k_test(k, col, s->z.columns, 1)));
    return (Result){.row = row, .col = dim_is(s->z.columns, 1) ? dim_const(p, 0) : col,
                    .place = dim_add(p, at, dim_mod(p, within, dim_const(p, TILE))), .mask = mask_and(k, there, in)};
}

static KInst *total(const Stream *s, uint32_t partial, Dim place)
{
    KInst *sum = k_shared_load(s->x.k, partial, place, 1);
    for (int64_t w = 1; w < s->z.warps; w++)
        sum = k_op2(s->x.k, OP_ADD, sum, k_shared_load(s->x.k, partial, dim_add_const(s->x.p, place, w * s->z.tiles * s->z.sets * SET), 1));
    return sum;
}

static void finish(Stream *s, uint32_t partial, Dim place, const Result *r)
{
    for (int64_t i = 0; i < s->z.parts; i++) {
        Dim at = dim_add_const(s->x.p, dim_add(s->x.p, place, r->place), i * s->z.span * s->z.sets * SET);
        product_know(&s->x, r->row, dim_add(s->x.p, r->col, s->z.start[i]), total(s, partial, at));
    }
    product_store(&s->x, r->row, r->col, 1, r->mask);
}

/* One group of row tiles, all of k. */
static void take_round(Stream *s, uint32_t partial, Dim round, Rows *x)
{
    Result r[MAX_RESULTS];
    int64_t n = (s->x.m->value * s->z.span * TILE + s->z.warps * 32 - 1) / (s->z.warps * 32);
    Turn t = turn_at(s, dim_mul_const(s->x.p, round, s->z.turns));
    s->x.at_batch = t.batch;
    s->x.col0 = t.col0;
    for (int64_t i = 0; i < n; i++) {
        r[i] = result_at(s, t.there, i);
        product_load_early(&s->x, r[i].row, r[i].col, 1, r[i].mask);
    }
    Sums sums = round_of_turns(s, round, x);
    Dim place = sums_place(s, round);
    deposit(s, partial, place, &sums);
    k_barrier(s->x.k);
    for (int64_t i = 0; i < n; i++)
        finish(s, partial, place, &r[i]);
    if (s->z.rounds > 1 && places(&s->z) == 1)             /* with two, the next round's barrier is enough */
        k_barrier(s->x.k);
}

static void all_rounds(Stream *s, uint32_t partial, Rows *x)
{
    Kernel *k = s->x.k;
    DimPool *p = s->x.p;
    uint32_t n = (uint32_t)s->z.ahead * n_rows(&s->z);
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
    Stream s = {.x = product_new(b), .z = layout_of(&b->problem, b->s)};
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
    /* Room for the next kernel's blocks, which come while these still run; and registers: unasked, the assembler saves some. */
    int64_t fit = UNIT_REGISTERS / (registers(&s.z) * s.z.warps * 32);
    if (!b->k->min_blocks)
        b->k->min_blocks = fit > 2 ? 2 : (int)fit;
    Rows x = begin(&s);
    all_rounds(&s, partial, &x);
    return true;
}

const KernelKind kind_smallm = {
    .name = "smallm", .waits = true, .accepts = accepts, .space = space, .cost = cost, .grid = grid, .threads = threads, .build = build,
};
