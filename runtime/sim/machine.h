/* runtime/sim/machine.h — the state of an execution: launch, clusters, CTAs, warps, lanes, memories.
 *
 * A warp holds groups of lanes that are at the same instruction (and in the same frames of registers and local memory). One
 * group runs at a time: the one deepest in calls, then deepest in the post-dominator tree, so that lanes meet again where
 * their paths join; a group that waits or spins lets the others go first. `.sync` instructions wait for the lanes they name. */
#pragma once
#include "runtime/sim/sim.h"

enum { LANES = 32, SLOT_WORDS = 32, SIM_MAX_THREADS = 1024, SIM_BARRIERS = 16 };
#define SIM_SHARED_LIMIT (227u * 1024)

/* ---- addresses ---------------------------------------------------------------------------------------------------------- *
 * Generic addresses: windows for shared, local and kernel parameters; everything else is global memory (.const included).
 * A shared address is 32 bits: the own CTA's memory begins at 0; the CTA of rank r of the cluster also at (r + 1) << 24, and there lie
 * the addresses that a CTA of rank 1 and up has of its variables. */
#define WINDOW_SHARED UINT64_C(0x00007e0000000000)
#define WINDOW_LOCAL  UINT64_C(0x00007d0000000000)
#define WINDOW_PARAM  UINT64_C(0x00007c0000000000)
#define WINDOW_CODE   UINT64_C(0x00007b0000000000)     /* functions: their number << 4 */
#define WINDOW_MASK   UINT64_C(0xffffffff00000000)
#define MEMORY_BASE   UINT64_C(0x0000700000000000)

typedef struct SimRegion {               /* one buffer of global memory */
    uint64_t base, bytes;
    uint8_t *data;
    uint64_t *init;                      /* a bit a byte; NULL: all initialised */
    struct ShadowCell **shadow;          /* pages of cells, made when touched */
    bool     read_only, is_const, owned, dead;
    uint8_t *filled;                     /* lazily filled: a byte a page, else NULL */
    SimBuffer buffer;
    void    *domain_data;                /* the domain's values of this buffer */
} SimRegion;
enum { FILL_PAGE = 65536, SHADOW_PAGE = 1024 /* cells of 4 bytes */ };

struct SimMemory {
    Arena *arena;
    Vec(SimRegion *) regions;            /* by address */
    uint64_t next;
    uint32_t next_cta;                   /* numbers of CTAs go on from launch to launch: older marks are told by them */
    Vec(struct { const PtxModule *module; uint64_t *at; }) modules;   /* addresses of their globals */
};
SimRegion *memory_region(const SimMemory *m, uint64_t address);      /* that holds it; NULL: none */
void       memory_touch(SimRegion *r, uint64_t offset, uint64_t bytes);           /* fills lazily */
const uint64_t *memory_bind(SimMemory *m, const PtxModule *module);  /* addresses of the module's globals, made at the first call */

/* ---- warps, CTAs -------------------------------------------------------------------------------------------------------- */
typedef struct SimGroup {                /* lanes that run together */
    uint32_t mask, pc, frame /* first slot */, local /* start of the frame in local memory */;
    uint16_t depth /* of calls */;
    bool     waiting;                    /* at a FLOW_WAIT instruction: not before something changed */
    uint32_t spins;                      /* yields since another group ran */
    uint64_t since;                      /* machine->changes when it began to wait */
} SimGroup;

typedef struct { uint32_t pc, frame, local; } SimReturn;

typedef struct SimWarp {
    struct SimCta *cta;
    struct SimMachine *machine;
    uint32_t index;                      /* in the CTA */
    uint32_t first_thread;               /* linear, of lane 0 */
    uint32_t lanes, live;                /* that exist; that have not exited */
    uint32_t *base[3];                   /* by SlotBase: frame of the group that runs, constants, special registers */
    uint32_t *regs; uint32_t n_regs;     /* all frames */
    uint32_t *specials;
    SimGroup group[LANES]; uint32_t n_groups;
    SimGroup *now;                       /* the group that runs */
    uint32_t carry;                      /* CC.CF of each lane */
    uint8_t *local; uint64_t local_bytes;          /* a lane; lane l at l * local_bytes */
    uint64_t *local_init;                /* a bit a byte */
    SimReturn *returns[LANES]; uint32_t n_returns[LANES], cap_returns[LANES];
    struct SyncClock *clock[LANES];      /* check.h: what the lane knows of the others */
    uint32_t own_clock[LANES];
    uint32_t dirty;                      /* lanes that wrote since their last fence */
    uint32_t proxy_clock[LANES];         /* the lane's last fence.proxy.async of shared memory: own_clock then, */
    struct SyncClock *proxy_known[LANES];          /* and what it knew of the others; NULL: there was none */
    struct SimCopies *copies;            /* asynchronous copies in flight (async.c); NULL: none */
    struct SimProducts *products;        /* wgmma in flight (of the asynchronous instructions); NULL: none */
    uint64_t steps;
    bool done;
} SimWarp;

typedef struct {                         /* a named barrier */
    uint32_t expected, arrived;          /* threads; 0: idle */
    uint32_t phase;
    uint32_t reduce_any, reduce_all, reduce_count; /* bar.red */
    uint32_t result_any, result_all, result_count; /* of the phase before */
    const PtxInst *inst;                 /* first arrival */
    struct SyncClock *clock;             /* join of what the arrived know */
    struct SyncClock *result;            /* of the phase before */
    uint32_t *waiting;                   /* a thread: phase + 1 in which it arrived with sync, 0: not waiting */
} SimBarrier;

typedef struct SimCta {
    struct SimMachine *machine;
    struct SimCluster *cluster;
    uint64_t linear; uint32_t id[3], rank;         /* of the grid; in the cluster */
    uint32_t n_threads, n_warps, live_threads;
    SimWarp *warps;
    uint8_t *shared; uint32_t shared_bytes;        /* static + dynamic */
    uint64_t *shared_init;
    struct ShadowCell *shared_cells;
    SimBarrier barrier[SIM_BARRIERS];
    Map     *mbarriers;                  /* by shared address: state of the asynchronous instructions; NULL: none */
    uint32_t next_warp;
    bool done;
} SimCta;

typedef struct SimCluster {
    struct SimMachine *machine;
    uint64_t linear; uint32_t id[3];
    SimCta *ctas; uint32_t n_ctas;
    SimBarrier barrier;                  /* barrier.cluster: waiting by rank * 1024 + thread */
    uint32_t live_threads;
    bool done;
} SimCluster;

typedef struct SimMachine {
    Arena  *arena;                       /* of the launch */
    Diags  *diags;
    SimMemory *memory;
    const PtxModule *module;
    const PtxFunction *entry;
    const SimLaunch *launch;
    SimResult *result;
    SimCount *counts;                    /* an instruction */
    uint32_t *constants;                 /* broadcast */
    uint8_t *params; uint32_t param_bytes;
    const uint64_t *globals;             /* addresses */
    uint32_t *shared_at;                 /* offset of each module shared variable in a CTA; UINT32_MAX: not used here */
    uint32_t static_shared, shared_bytes, block_threads, block_warps;
    uint64_t steps, max_steps, changes /* grows whenever something happens that a waiting group may wait for */;
    uint64_t clock;                      /* %clock: warp instructions so far */
    SimRegion **recent;                  /* an instruction: region of its last access */
    struct Checker *check;               /* NULL: only bounds */
    Map    *fault_index;                 /* by kind and instructions */
    Vec(SimFault *) faults;
    SimDomain *domain;
    struct AsyncOps *async;              /* bulk and tensor copies in flight (async.h); NULL: none yet */
    bool    stop;                        /* a fault after which nothing follows */
    const PtxInst *inst;                 /* that runs */
} SimMachine;

/* ---- registers ---------------------------------------------------------------------------------------------------------- */
static inline uint32_t *slot_words(const SimWarp *w, PtxSlot s) { return w->base[s.base] + (size_t)s.slot * SLOT_WORDS; }
static inline uint16_t *slot_u16(const SimWarp *w, PtxSlot s) { return (uint16_t *)(void *)slot_words(w, s); }
static inline uint32_t *slot_u32(const SimWarp *w, PtxSlot s) { return slot_words(w, s); }
static inline uint64_t *slot_u64(const SimWarp *w, PtxSlot s) { return (uint64_t *)(void *)slot_words(w, s); }
static inline bool slot_is_sink(PtxSlot s) { return s.base == SLOT_CONST && s.bytes == 255; }
/* A predicate as a mask of lanes, its `!` applied. */
static inline uint32_t slot_pred(const SimWarp *w, PtxSlot s) { return s.negated ? ~*slot_words(w, s) : *slot_words(w, s); }
static inline void slot_set_pred(SimWarp *w, PtxSlot s, uint32_t mask, uint32_t value)
{
    uint32_t *p = slot_words(w, s);
    if (!slot_is_sink(s))
        *p = (*p & ~mask) | (value & mask);
}
uint64_t slot_get(const SimWarp *w, PtxSlot s, uint32_t lane);                /* zero-extended; predicates 0 or 1 */
void     slot_set(SimWarp *w, PtxSlot s, uint32_t lane, uint64_t value);      /* the low bytes */
#define for_lanes(l, mask) for (uint32_t l##_ = (mask), l; l##_ && (l = (uint32_t)__builtin_ctz(l##_), 1); l##_ &= l##_ - 1)

/* ---- the run ------------------------------------------------------------------------------------------------------------ */
SimFlow exec_step(SimWarp *w, const PtxInst *inst, uint32_t mask);           /* inst->exec, or the domain's own */
/* Reports a fault of this lane (lane UINT32_MAX: of the whole group) at the running instruction. `stop` ends the launch. */
__attribute__((format(printf, 7, 8)))
SimFlow sim_fault(SimWarp *w, SimFaultKind k, uint32_t lane, uint64_t address, const PtxInst *other, bool stop, const char *fmt, ...);
/* Sends lanes of the running group to `pc` (branches); the run loop sorts the groups afterwards. */
void warp_send(SimWarp *w, uint32_t mask, uint32_t pc);
void warp_exit(SimWarp *w, uint32_t mask);
void warp_call(SimWarp *w, const PtxInst *inst, uint32_t mask, const PtxFunction *f);
void warp_return(SimWarp *w, uint32_t mask);
/* Lanes of this warp (any group) that stand at instruction `pc`, in the running group's frame. */
uint32_t warp_lanes_at(const SimWarp *w, uint32_t pc);
/* Have all lanes named by `want` (a mask; those that exited do not count) come to this instruction? If so, merges them into
 * the running group. *mask becomes all lanes that go on together. */
bool warp_gather(SimWarp *w, uint32_t want, uint32_t *mask);
static inline uint32_t thread_of(const SimWarp *w, uint32_t lane) { return w->first_thread + lane; }
static inline void machine_changed(SimMachine *m) { m->changes++; }          /* waiting groups of all warps look again */

/* ---- memory of a lane --------------------------------------------------------------------------------------------------- */
typedef enum { ACCESS_LOAD = 1, ACCESS_STORE = 2, ACCESS_ATOMIC = 4, ACCESS_ASYNC = 8 /* by an asynchronous copy */,
               ACCESS_VOLATILE = 16 /* volatile, relaxed or stronger: not a race with its like */,
               ACCESS_ACQUIRE = 32, ACCESS_RELEASE = 64 } AccessBits;
/* Resolves one access: where its bytes lie on the host, checked (bounds, alignment, initialisation, races). NULL: reported.
 * For a space other than generic the address is as in that space. `align`: what the address must be a multiple of. */
uint8_t *lane_access(SimWarp *w, const PtxInst *inst, uint32_t lane, PtxSpace space, uint64_t address, uint32_t bytes, uint32_t align,
                     unsigned access);
/* Address of a memory operand for each lane, in the instruction's space. */
void operand_addresses(const SimWarp *w, const PtxInst *inst, const PtxOperand *o, uint32_t mask, uint64_t address[LANES]);
PtxSpace address_space(uint64_t generic);
uint64_t address_generic(PtxSpace space, uint64_t address);          /* of an address of that space */

/* ---- domains ------------------------------------------------------------------------------------------------------------ *
 * Integers, addresses and predicates are always bits, and every instruction always can run on bits. A domain follows along:
 * it is asked first, may run the instruction through exec_bits before, after or not at all, and keeps what it knows beside
 * the registers (by slot number within the warp: slot_number) and beside the regions (SimRegion.domain_data). */
struct SimDomain {
    void *arg;
    SimFlow (*step)(void *arg, SimWarp *w, const PtxInst *inst, uint32_t mask);
    void (*warp_begin)(void *arg, SimWarp *w);     /* registers exist and hold nothing; NULL: not wanted */
    void (*warp_end)(void *arg, SimWarp *w);
    void (*region)(void *arg, SimRegion *r);       /* a buffer is touched for the first time in this launch */
    /* One element of an asynchronous product: c (where `accumulate`) + sign * sum of a[i] b[i], all as bits: a and b hold them as
     * numbers. The element's bits. NULL: not wanted. */
    uint32_t (*dot)(void *arg, const PtxInst *inst, const double *a, const double *b, uint32_t k, int sign, bool accumulate, uint32_t c);
};
static inline SimFlow exec_bits(SimWarp *w, const PtxInst *inst, uint32_t mask) { return inst->exec(w, inst, mask); }
/* Slot as an index into all registers of the warp, whatever the frame; constants and special registers: UINT32_MAX. */
static inline uint32_t slot_number(const SimWarp *w, PtxSlot s) { return s.base == SLOT_FRAME ? w->now->frame + s.slot : UINT32_MAX; }

/* ---- hooks of asynchronous operations ------------------------------------------------------------------------------------- *
 * Copies started by cp.async are kept by thread (async.c). The instructions over mbarrier, bulk copies, tensor maps and wgmma
 * live in their own files: they wait by FLOW_WAIT, call machine_changed() whenever a phase completes, and do their accesses
 * through lane_access with ACCESS_ASYNC. Before a warp or CTA ends, these are called: */
void async_thread_exit(SimWarp *w, uint32_t mask);                   /* what is still in flight takes effect, or is reported */
void async_cta_end(SimCta *c);
/* A group waits in vain and nothing else can run: complete some outstanding asynchronous operation. False: there is none. */
bool async_progress(SimMachine *m);
