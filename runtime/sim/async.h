/* runtime/sim/async.h — what runs beside the threads: mbarriers, bulk and tensor copies, wgmma.
 *
 * A copy or product is an operation that takes effect somewhere between its instruction and the wait for it. Late (SIM_LATE), it
 * does so at that wait, or when all threads wait and something must go on: what reads before it has waited sees old data. Early
 * (SIM_EARLY), it does so at once: what has not been released yet is overwritten. */
#pragma once
#include "runtime/sim/check.h"

/* ---- mbarriers (async_barrier.c) ---- */

typedef struct AsyncBarrier {
    uint32_t expected, pending;          /* arrivals of a phase; still to come in this one */
    int64_t  tx;                         /* bytes still to come */
    uint32_t phase, misses;              /* completed phases; test_waits since something happened */
    struct SyncClock *sum, *result;      /* what the arrived of the own CTA know; of the phase before */
    SimCta  *owner;
    uint64_t key;                        /* in no window: where arrivals from other CTAs are released to */
    bool     remote;                     /* there were such */
} AsyncBarrier;

/* A barrier by shared address, as seen from a CTA (an address of the cluster may name another's); NULL: reported. */
AsyncBarrier *async_barrier_at(SimWarp *w, uint32_t lane, uint64_t address);
/* Arrivals or bytes, in the name of a lane; completes the phase when that was all. */
void async_barrier_arrive(SimWarp *w, uint32_t lane, AsyncBarrier *b, uint32_t count, int64_t bytes);
void async_barriers_free(SimCta *c);

/* ---- operations in flight (async_bulk.c) ---- */

typedef enum { ASYNC_LOAD, ASYNC_STORE, ASYNC_REDUCE, ASYNC_TENSOR_LOAD, ASYNC_TENSOR_STORE, ASYNC_TENSOR_REDUCE,
               ASYNC_ARRIVE /* when the thread's copies before number `from` have been made */ } AsyncKind;

typedef struct AsyncOp {
    struct AsyncOp *next;
    SimWarp *warp; uint32_t lane;
    const PtxInst *inst;
    AsyncKind kind;
    bool done;                           /* has taken effect; kept until its group has been waited for */
    uint64_t group;                      /* of bulk groups; 0: not committed */
    uint64_t to, from, bytes;            /* shared addresses are 32 bits, of the cluster */
    uint64_t barrier;                    /* shared address; of loads */
    uint32_t targets;                    /* of loads: the cluster's CTAs, a bit each; 0: the one of `to` */
    uint64_t map;                        /* generic address of a tensor map */
    int32_t  at[5];
} AsyncOp;

typedef struct AsyncOps {
    AsyncOp *first, **last;
    uint32_t stores;                     /* how many of them read shared memory */
    Map *groups;                         /* by warp and lane: bulk groups committed so far */
} AsyncOps;

/* Starts an operation: at once when early, else into the queue. Copies *op. */
void async_start(const AsyncOp *op);
void async_commit(SimWarp *w, uint32_t mask);
/* All but the last n bulk groups of these lanes take effect. */
void async_wait(SimWarp *w, uint32_t mask, uint64_t n);
bool select_bulk(PtxInst *inst);         /* cp.async.bulk…, cp.reduce.async.bulk…: bound, or false */
bool bulk_progress(SimMachine *m);       /* one operation takes effect; false: none is left */
bool bulk_pending_at(const SimCta *c, uint64_t at, uint64_t bytes);
bool bulk_reads_at(const SimCta *c, uint64_t at, uint64_t bytes);       /* from shared memory, by a copy that nobody has waited for */
bool bulk_arrives_after(const SimWarp *w, uint32_t lane, uint64_t number);       /* does an arrival of the lane wait for this copy? */
void bulk_cta_end(SimCta *c);

/* ---- cp.async (async.c) ---- */

/* Shared memory that a copy in flight will overwrite holds nothing that may be read. */
void async_undefine(SimWarp *w, uint64_t address, uint64_t bytes);
/* Will a copy in flight write some of these bytes of the CTA's shared memory? */
bool async_pending_at(const SimCta *c, uint64_t at, uint64_t bytes);
void async_copies_run(SimWarp *w, uint32_t lane, uint64_t before);    /* those of the lane numbered below `before` */

/* ---- tensor copies (async_tensor.c), wgmma (wgmma.c) ---- */

bool async_tensor_begin(AsyncOp *op);    /* looks at the map, counts op->bytes; false: reported */
void async_tensor_run(AsyncOp *op);
/* *to = *to (op) *from, of elements of a type; op by the instruction's modifiers. */
void async_reduce(const PtxInst *inst, PtxType type, void *to, const void *from);
void wgmma_warp_exit(SimWarp *w);        /* reports products in flight */
void wgmma_free(SimWarp *w);

/* The shared address in an operand of 32 or 64 bits, generic or not, as a 32-bit address of the cluster. */
static inline uint64_t async_shared(uint64_t a) { return (uint32_t)a; }
static inline bool async_is_late(const SimMachine *m) { return m->launch->async == SIM_LATE; }
