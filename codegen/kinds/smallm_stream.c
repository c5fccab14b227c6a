/* codegen/kinds/smallm_stream.c — the weights' way to the tensor cores: copies ahead of their use, x in time, products. */
#include "codegen/kinds/smallm.h"

/* ---- where a turn is ------------------------------------------------------------------------------------------------------------ */
static Dim group_of(const SmallmStream *s, Dim round) { return dim_add(s->x.p, dim_mul_const(s->x.p, s->x.b->block, s->z.rounds), round); }

KInst *smallm_unless_sure(KInst *test) { return test->kind == K_CONST && test->i ? NULL : test; }

/* SmallmTurn number q of all that the block takes. */
SmallmTurn smallm_turn_at(const SmallmStream *s, Dim q)
{
    DimPool *p = s->x.p;
    Dim turns = dim_const(p, s->z.turns), group = group_of(s, dim_floordiv(p, q, turns));
    Dim k = dim_add(p, dim_mul_const(p, dim_mod(p, q, turns), s->z.warps), s->warp);
    return (SmallmTurn){.batch = dim_floordiv(p, group, s->z.per_batch), .col0 = dim_mul_const(p, dim_mod(p, group, s->z.per_batch), s->z.span * TILE),
                  .k = dim_mul_const(p, k, s->z.steps * STEP), .there = smallm_unless_sure(k_test(s->x.k, group, s->z.groups, 1))};
}

Dim smallm_clamped(DimPool *p, Dim i, Dim extent) { return dim_min(p, i, dim_add_const(p, extent, -1)); }

/* Element (row, k) of a matrix, as a flat position in its buffer. */
static Dim position(const SmallmStream *s, const MatrixView *v, const SmallmTurn *t, Dim row, Dim k)
{
    DimPool *p = s->x.p;
    Dim start = dim_add(p, v->offset, dim_mul(p, t->batch, v->stride_batch));
    return dim_add(p, start, dim_add(p, dim_mul(p, row, v->ld), k));
}

static Dim piece_k(const SmallmStream *s, const SmallmTurn *t, int64_t j)
{
    return dim_add(s->x.p, dim_add_const(s->x.p, t->k, j * STEP), dim_mul_const(s->x.p, s->in_quad, 8));
}

static KInst *in_depth(const SmallmStream *s, const SmallmTurn *t, Dim k)
{
    return mask_and(s->x.k, t->there, smallm_unless_sure(k_test(s->x.k, k, s->x.depth, 1)));
}

/* ---- fragments ---------------------------------------------------------------------------------------------------------------- */
/* The first of the warp's places for a turn: tiles of 16 rows, a row the turn's k's one after the other, in chunks of 16 bytes. Of odd
 * rows neighbouring groups of four chunks change places: whoever reads two rows at a time meets no bank twice. */
static Dim place(const SmallmStream *s, Dim q)
{
    DimPool *p = s->x.p;
    Dim turn = dim_add(p, dim_mul_const(p, s->warp, s->z.stages), dim_mod(p, q, dim_const(p, s->z.stages)));
    return dim_mul_const(p, turn, s->z.steps * s->z.tiles * 2 * PIECE);
}

static Dim chunk_place(const SmallmStream *s, Dim group, Dim in_group, Dim row)
{
    DimPool *p = s->x.p;
    if (s->z.steps == 1)
        return in_group;
    Dim two = dim_const(p, 2), pair = dim_mul_const(p, dim_floordiv(p, group, two), 8);
    return dim_add(p, dim_add(p, pair, in_group), dim_mul_const(p, dim_mod(p, dim_add(p, group, row), two), 4));
}

/* Row tiles of a turn: an instruction of the warp copies 8 / steps rows, as many bytes of each as there are in the turn. */
static void ask_for_weights(const SmallmStream *s, Dim q)
{
    DimPool *p = s->x.p;
    SmallmTurn t = smallm_turn_at(s, q);
    int64_t chunks = 4 * s->z.steps, rows = TILE / (2 * s->z.steps);
    Dim line = dim_floordiv(p, s->lane, dim_const(p, chunks)), chunk = dim_mod(p, s->lane, dim_const(p, chunks));
    Dim k = dim_add(p, t.k, dim_mul_const(p, chunk, 8));
    Dim to = chunk_place(s, dim_floordiv(p, chunk, dim_const(p, 4)), dim_mod(p, chunk, dim_const(p, 4)), line);
    to = dim_add(p, dim_floordiv(p, place(s, q), dim_const(p, 4)), dim_add(p, dim_mul_const(p, line, chunks), to));
    /* By way of a shuffle, which changes nothing, in one register: ptxas 13.0 leaves the number of a uniform one out of LDGSTS. */
    KInst *own = k_shuffle_xor(s->x.k, k_index(s->x.k, to, DT_I32, 1), 0);
    to = dim_mul_const(p, k_bind(s->x.k, own, "to", 0, s->z.warps * s->z.stages * s->z.steps * s->z.tiles * PIECE / 2 - 1), 4);
    KInst *mask = in_depth(s, &t, k);
    for (int64_t i = 0; i < s->z.tiles * 2 * s->z.steps; i++) {
        int64_t tile = i / (2 * s->z.steps), first = i % (2 * s->z.steps) * rows;
        Dim row = dim_add_const(p, dim_add(p, t.col0, line), tile % s->z.span * TILE + first);
        row = dim_add(p, smallm_clamped(p, row, s->z.columns), s->z.start[tile / s->z.span]);
        KInst *copy = k_copy_async(s->x.k, s->ring, dim_add_const(p, to, i * PIECE), s->w_buffer, position(s, &s->w, &t, row, k), mask);
        copy->stream = true;
    }
}

typedef struct { KInst *at[MAX_STEPS * MAX_TILES * 2]; } Weights;      /* [step][tile][half] */

static void rows_at(const SmallmStream *s, Dim q, KInst **rows)
{
    DimPool *p = s->x.p;
    SmallmTurn t = smallm_turn_at(s, q);
    for (int64_t i = 0; i < smallm_n_rows(&s->z); i++) {
        Dim k = piece_k(s, &t, i / s->z.sets), row = smallm_clamped(p, dim_add_const(p, s->quad, i % s->z.sets * COLUMNS), s->x.m);
        rows[i] = k_load_raw(s->x.k, s->in_buffer, position(s, &s->in, &t, row, k), in_depth(s, &t, k));
    }
}

static Weights weights_at(const SmallmStream *s, Dim q)
{
    Weights w;
    DimPool *p = s->x.p;
    Dim turn = dim_add(p, place(s, q), kernel_lane(p, 4));
    if (s->z.steps > 1)
        k_warp_sync(s->x.k);                    /* others of the warp have copied what this thread reads */
    for (int64_t i = 0; i < s->z.steps * s->z.tiles * 2; i++) {
        int64_t step = i / (2 * s->z.tiles), half = i % (2 * s->z.tiles);
        Dim row = dim_mul_const(p, s->quad, 16 * s->z.steps), chunk = chunk_place(s, dim_const(p, step), s->in_quad, s->quad);
        Dim at = dim_add(p, turn, dim_add(p, row, dim_mul_const(p, chunk, 4)));
        w.at[i] = k_shared_load(s->x.k, s->ring, dim_add_const(p, at, half * s->z.steps * PIECE), 4);
    }
    if (s->z.steps > 1)
        k_warp_sync(s->x.k);                    /* and may copy there again */
    return w;
}

static void multiply(const SmallmStream *s, const Weights *w, const SmallmRows *x, SmallmSums *sums)
{
    for (int64_t j = 0; j < s->z.steps; j++)
        for (int64_t i = 0; i < s->z.tiles * s->z.sets; i++) {
            int64_t tile = j * s->z.tiles + i / s->z.sets;
            KInst **sum = &sums->at[i * s->z.chains + j % s->z.chains];
            *sum = k_mma(s->x.k, s->x.n->in[0]->type.dtype, *sum, w->at[2 * tile], w->at[2 * tile + 1], x->at[j * s->z.sets + i % s->z.sets]);
        }
}

/* ---- turns ------------------------------------------------------------------------------------------------------------------------ */
static Dim n_turns(const SmallmStream *s) { return dim_const(s->x.p, s->z.rounds * s->z.turns); }

/* The first turns' weights, the wait for x, and x of the first turn. Every turn's copies are a group, empty ones at the end. */
SmallmRows smallm_begin(const SmallmStream *s)
{
    Kernel *k = s->x.k;
    bool early = k->buffers.data[s->w_buffer].frozen;
    if (!early)
        k_wait(k);
    KInst *loop = k_loop(k, "ahead", dim_const(s->x.p, 0), dim_const(s->x.p, s->z.stages), 1, NULL, 0, 1);
    ask_for_weights(s, loop->var);
    k_copy_commit(k);
    k_loop_end(k, loop, NULL);
    if (early)
        k_wait(k);
    if (s->z.let || s->z.stages == s->z.rounds * s->z.turns)
        k_launch_next(k);
    SmallmRows x;
    for (int64_t i = 0; i < s->z.ahead; i++)
        rows_at(s, dim_const(s->x.p, i < s->z.rounds * s->z.turns ? i : 0), x.at + i * smallm_n_rows(&s->z));
    return x;
}

/* What the turn consumed makes room for another one's weights. */
static void ask_ahead(const SmallmStream *s, Dim q)
{
    Kernel *k = s->x.k;
    DimPool *p = s->x.p;
    if (s->z.stages < s->z.rounds * s->z.turns) {
        Dim ahead = dim_add_const(p, q, s->z.stages);
        KInst *some = k_if(k, k_test(k, ahead, n_turns(s), 1));
        ask_for_weights(s, smallm_clamped(p, ahead, n_turns(s)));
        if (!s->z.let) {
            k_else(k, some, NULL, 0);
            k_launch_next(k);
        }
        k_if_end(k, some, NULL, 0);
    }
    k_copy_commit(k);
}

SmallmSums smallm_round(const SmallmStream *s, Dim round, SmallmRows *x)
{
    Kernel *k = s->x.k;
    DimPool *p = s->x.p;
    KInst *carried[CHAINS * MAX_TILES * MAX_SETS + MAX_AHEAD * MAX_STEPS * MAX_SETS];
    uint32_t turn = smallm_n_rows(&s->z), rows = (uint32_t)s->z.ahead * turn, sums = smallm_n_sums(&s->z);
    SmallmSums sum;
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
    rows_at(s, smallm_clamped(p, dim_add_const(p, q, s->z.ahead), n_turns(s)), carried + rows - turn);
    memcpy(carried + rows, sum.at, sums * sizeof *carried);
    k_loop_end(k, loop, carried);
    for (uint32_t i = 0; i < rows; i++)
        x->at[i] = k_result(k, loop, i);
    for (uint32_t i = 0; i < sums; i++)
        sum.at[i] = k_result(k, loop, rows + i);
    return sum;
}
