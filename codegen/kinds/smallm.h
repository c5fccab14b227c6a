/* codegen/kinds/smallm.h — what the two files of kind smallm share: the shape of a kernel, and the stream of weights through it. */
#pragma once
#include "codegen/kinds/product.h"

enum {
    TILE = 16, STEP = 32, COLUMNS = 8, SET = 20 * COLUMNS,       /* a column of 16 sums takes 20 places: no bank twice */
    PIECE = 128,                                                 /* i32 that a warp copies at a time: 16 bytes a thread */
    MAX_STEPS = 4, MAX_TILES = 4, MAX_SETS = 8, MAX_STAGES = 24, MAX_AHEAD = 8, MAX_RESULTS = 32, CHAINS = 2,
    UNIT_REGISTERS = 65536,
};

typedef struct {
    int64_t warps, span, rounds, steps, stages, ahead, let;       /* of the schedule; span: row tiles of a part */
    int64_t parts, tiles, sets, chains;             /* parts that are read; row tiles of all; sets of columns; sums of each */
    int64_t depth, turns;                           /* k; turns of a round */
    Dim start[MATMUL_PLACES], columns;              /* where a part begins; how many columns each has */
    Dim per_batch, groups;                          /* rounds that one batch takes; that all take */
} SmallmLayout;

typedef struct {
    Product x;
    SmallmLayout z;
    MatrixView w, in;
    uint32_t w_buffer, in_buffer, ring;
    Dim warp, lane, quad, in_quad;              /* number of the warp, in it; of the quad in it; of the thread in that */
} SmallmStream;

typedef struct { Dim batch, col0, k; KInst *there; } SmallmTurn;       /* k of the first step; is there such a round? NULL: yes */
typedef struct { KInst *at[MAX_AHEAD * MAX_STEPS * MAX_SETS]; } SmallmRows;    /* [turn][step][set] */
typedef struct { KInst *at[CHAINS * MAX_TILES * MAX_SETS]; } SmallmSums;       /* [tile][set][chain] */
static inline uint32_t smallm_n_rows(const SmallmLayout *z) { return (uint32_t)(z->steps * z->sets); }     /* of a turn */
static inline uint32_t smallm_n_sums(const SmallmLayout *z) { return (uint32_t)(z->chains * z->tiles * z->sets); }

/* smallm_stream.c. Turn number q of all that the block takes; the smaller of i and the last of `extent`; a test as a mask, NULL where it
 * always holds. */
SmallmTurn smallm_turn_at(const SmallmStream *s, Dim q);
Dim smallm_clamped(DimPool *p, Dim i, Dim extent);
KInst *smallm_unless_sure(KInst *test);
/* The first turns' weights, the wait for the kernels before, and x of the first turns. */
SmallmRows smallm_begin(const SmallmStream *s);
/* The warp's sums of one round; `x` goes on to the next. */
SmallmSums smallm_round(const SmallmStream *s, Dim round, SmallmRows *x);
