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

/* The thread's piece of step j of a turn, in a row of the matrix, as a flat position in its buffer. */
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
/* Where the thread keeps piece number i of a turn. */
static Dim place(const SmallmStream *s, Dim q, int64_t i)
{
    DimPool *p = s->x.p;
    int64_t pieces = s->z.steps * s->z.tiles * 2;
    Dim turn = dim_add(p, dim_mul_const(p, s->warp, s->z.stages), dim_mod(p, q, dim_const(p, s->z.stages)));
    Dim at = dim_add(p, dim_mul_const(p, turn, pieces * PIECE), dim_mul_const(p, s->lane, 4));
    return dim_add_const(p, at, i * PIECE);
}

/* A row tile of the round: rows of the weights come 8 apart in a piece and the next. */
static void ask_for_weights(const SmallmStream *s, Dim q)
{
    DimPool *p = s->x.p;
    SmallmTurn t = smallm_turn_at(s, q);
    for (int64_t j = 0; j < s->z.steps; j++) {
        Dim k = piece_k(s, &t, j);
        KInst *mask = in_depth(s, &t, k);
        for (int64_t i = 0; i < s->z.tiles * 2; i++) {
            Dim row = dim_add_const(p, dim_add(p, t.col0, s->quad), i / 2 % s->z.span * TILE + i % 2 * 8);
            row = dim_add(p, smallm_clamped(p, row, s->z.columns), s->z.start[i / 2 / s->z.span]);
            KInst *copy = k_copy_async(s->x.k, s->ring, place(s, q, j * s->z.tiles * 2 + i), s->w_buffer, position(s, &s->w, &t, row, k), mask);
            copy->stream = true;
        }
    }
}

/* Tells the second-level cache of a turn: a row a thread, all the block's k's of it. The last, ragged ones are left out. */
static void fetch_weights(const SmallmStream *s, Dim q)
{
    DimPool *p = s->x.p;
    Kernel *k = s->x.k;
    SmallmTurn t = smallm_turn_at(s, q);
    int64_t width = s->z.span * TILE, chunk = s->z.warps * s->z.steps * STEP;
    Dim thread = s->x.b->thread, part = dim_min(p, dim_floordiv(p, thread, dim_const(p, width)), dim_const(p, s->z.parts - 1));
    Dim first = dim_mul_const(p, dim_mod(p, q, dim_const(p, s->z.turns)), chunk), start = s->z.start[0];
    Dim row = smallm_clamped(p, dim_add(p, t.col0, dim_mod(p, thread, dim_const(p, width))), s->z.columns);
    if (s->z.parts > 1)
        start = dim_add(p, start, dim_mul_const(p, part, s->z.start[1]->value - start->value));
    KInst *mask = mask_and(k, smallm_unless_sure(k_test(k, thread, dim_const(p, s->z.tiles * TILE), 1)),
                           smallm_unless_sure(k_test(k, dim_add_const(p, first, chunk - 1), s->x.depth, 1)));
    Dim from = position(s, &s->w, &t, dim_add(p, row, start), first);
    if (dim_divides(p, dim_const(p, 8), from))                    /* known to be aligned; it is only a hint */
        k_prefetch(k, s->w_buffer, from, 2 * chunk, mask_and(k, t.there, mask));
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
    for (int64_t i = 0; i < s->z.steps * s->z.tiles * 2; i++)
        w.at[i] = k_shared_load(s->x.k, s->ring, dim_add(s->x.p, place(s, q, i), kernel_lane(s->x.p, 4)), 4);
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
        k_else(k, some, NULL, 0);
        k_launch_next(k);
        k_if_end(k, some, NULL, 0);
    }
    k_copy_commit(k);
    if (s->z.fetch > 0 && s->z.stages + s->z.fetch < s->z.rounds * s->z.turns) {
        Dim later = dim_add_const(p, q, s->z.stages + s->z.fetch);
        KInst *some = k_if(k, k_test(k, later, n_turns(s), 1));
        fetch_weights(s, smallm_clamped(p, later, n_turns(s)));
        k_if_end(k, some, NULL, 0);
    }
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
