/* runtime/sim/check.h — the checker: shadow cells beside memory, clocks beside threads, reports.
 *
 * Within a CTA, happens-before is exact: each thread has a clock that ticks when it synchronises, and a vector of what it knows of
 * the other threads' clocks (SyncClock, shared between threads that know the same). bar.sync, named barriers, bar.warp.sync and
 * release/acquire join vectors. Between CTAs only release/acquire through memory orders anything: a location that was released to
 * holds the releasing threads' vectors with their CTA's number. A release counts only where a fence stands between the
 * thread's earlier writes and it.
 *
 * What the copy engine and the tensor cores read of shared memory (the async proxy) must have been fenced for them, too, after it was
 * written: by the writer, or by somebody who knew of the write.
 *
 * A cell stands for 4 bytes: the last write and up to two reads that nothing orders, each with CTA, thread, clock and
 * instruction; where threads share a cell by bytes, it is split into four. (After FastTrack: Flanagan, Freund, PLDI 2009.) */
#pragma once
#include "runtime/sim/machine.h"

typedef struct { uint32_t cta /* linear number + 1; 0: none */, clock, inst; uint16_t thread; uint8_t bytes /* mask */, how /* AccessBits */; } ShadowMark;
typedef struct ShadowCell {
    ShadowMark write, read[2];
    struct ShadowCell *split;            /* four cells of one byte; then the marks above are not used */
} ShadowCell;

typedef struct SyncClock {
    uint32_t refs, cta;                  /* cta: whose threads `of` is about, as in ShadowMark */
    bool dirty;                          /* of barriers: somebody wrote and has not fenced */
    uint32_t seen_version; const void *seen;       /* release cell that was last taken in */
    struct SyncClock *next;              /* of the free */
    struct CtaKnown *others;
    uint32_t of[];
} SyncClock;
/* What is known of threads of other CTAs: a vector a CTA, sorted by CTA; immutable and shared. */
typedef struct CtaKnown { uint32_t refs, n; struct { uint32_t cta; SyncClock *clock; } at[]; } CtaKnown;

typedef struct Checker Checker;
Checker *check_new(SimMachine *m);
void check_free(Checker *c);
void check_warp_begin(Checker *c, SimWarp *w);
void check_warp_end(Checker *c, SimWarp *w);
/* One access of one lane, in bounds: initialisation and races. `cell`: of the first byte; `init` as in SimRegion, from bit `at`. */
void check_access(Checker *c, SimWarp *w, const PtxInst *inst, uint32_t lane, SimRegion *r, SimCta *owner /* of shared memory */,
                  uint64_t at, uint64_t address, uint32_t bytes, unsigned access);
void check_local(SimWarp *w, const PtxInst *inst, uint32_t lane, uint64_t at, uint32_t bytes, unsigned access);
/* Barriers: what arrives adds to *sum (made when NULL), what leaves learns it. */
void check_arrive(Checker *c, SimWarp *w, uint32_t mask, SyncClock **sum);
void check_leave(Checker *c, SimWarp *w, uint32_t mask, const SyncClock *sum);
void check_forget(Checker *c, SyncClock **sum);
void check_warp_sync(Checker *c, SimWarp *w, uint32_t mask);         /* bar.warp.sync of these lanes */
void check_fence(Checker *c, SimWarp *w, uint32_t mask);
void check_proxy_fence(Checker *c, SimWarp *w, uint32_t mask);       /* fence.proxy.async of shared memory */
/* barrier.cluster */
void check_cluster_arrive(Checker *c, SimWarp *w, uint32_t mask);
void check_cluster_wait(Checker *c, SimWarp *w, uint32_t mask);
/* An access at `address` (generic) that releases and/or acquires. */
void check_release(Checker *c, SimWarp *w, uint32_t lane, uint64_t address);
void check_acquire(Checker *c, SimWarp *w, uint32_t lane, uint64_t address);
