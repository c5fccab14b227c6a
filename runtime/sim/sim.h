/* runtime/sim/sim.h — the simulator: PTX, read and run on the host, with every access checked.
 *
 *   text ──ptx_read──▶ PtxModule ──sim_run(memory, launch)──▶ results in the buffers, SimResult: faults, counts
 *
 * ptx.h is the parsed module, machine.h the state of an execution, check.h the checker. */
#pragma once
#include "base/dtype.h"
#include "runtime/sim/ptx.h"

typedef struct SimMemory SimMemory;      /* global memory: buffers at addresses that are the same in every run */
typedef struct SimDomain SimDomain;      /* what floats are besides their bits: machine.h */

/* One allocation. `data` NULL with `fill`: the simulator reserves the memory and has it filled page by page when touched;
 * both NULL: reserved, zero and not initialised. */
typedef struct {
    const char *name;                    /* for reports */
    void *data; uint64_t bytes;
    bool initialised, read_only;
    void (*fill)(void *arg, uint64_t offset, void *to, uint64_t bytes); void *fill_arg;
    uint32_t tag;                        /* the caller's own number; a domain may ask for it */
} SimBuffer;

SimMemory *sim_memory_new(void);
void       sim_memory_free(SimMemory *m);                            /* NULL is allowed */
uint64_t   sim_memory_add(SimMemory *m, const SimBuffer *b);         /* its address; 256-byte aligned, guarded on both sides */
void       sim_memory_forget(SimMemory *m, uint64_t address);        /* later accesses are out of bounds */
void       sim_memory_set_initialised(SimMemory *m, uint64_t address, bool initialised);    /* all of the buffer */
void      *sim_memory_data(const SimMemory *m, uint64_t address);    /* host memory of a buffer (or of a .global); NULL: none there */
uint64_t   sim_memory_symbol(SimMemory *m, const PtxModule *module, const char *name);      /* address of a .global or .const; 0: none */

typedef enum { SIM_LATE, SIM_EARLY } SimAsync;     /* when asynchronous copies and products take effect: at their wait, or at once */

typedef struct {
    const char *entry;                   /* NULL: the only one */
    uint32_t grid[3], block[3], cluster[3];        /* cluster 0,0,0: as the kernel says, or 1,1,1 */
    uint32_t dynamic_shared;
    const void *const *args;             /* a pointer to each parameter's bytes, as for cuLaunchKernel */
    uint32_t n_args;
    const uint64_t *ctas; uint32_t n_ctas;         /* linear CTA numbers (x fastest) to run; NULL: all. Whole clusters run */
    uint64_t max_steps;                  /* warp instructions; 0: 2^40 */
    SimAsync async;
    bool no_check;                       /* leave out races and initialisation; bounds and alignment stay */
    bool profile;                        /* bank conflicts, coalescing */
    uint64_t schedule;                   /* 0: warps and CTAs in order; else a seed for another order */
    SimDomain *domain;                   /* NULL: bits only */
    uint32_t shared_limit;               /* bytes a CTA may have; 0: 227 KB */
    FILE *print;                         /* where vprintf goes; NULL: stdout */
} SimLaunch;

#define SIM_FAULTS(X)                                                                                                  \
    X(OUT_OF_BOUNDS, "out of bounds")        X(MISALIGNED, "misaligned")         X(UNINITIALISED, "uninitialised")      \
    X(RACE, "race")                          X(RACE_GRID, "race between CTAs")   X(READ_ONLY, "write to read-only memory")\
    X(DIVERGENT, "divergent barrier")        X(DEADLOCK, "deadlock")             X(ASYNC_UNWAITED, "missing wait")      \
    X(SHARED_LIMIT, "too much shared memory") X(TRAP, "trap")                    X(STEPS, "too many steps")             \
    X(BAD_CALL, "bad operand")              X(PROXY, "missing proxy fence")
typedef enum {
#define X(e, t) FAULT_##e,
    SIM_FAULTS(X)
#undef X
    FAULT_COUNT
} SimFaultKind;

typedef struct {                         /* one report, of the first time; the same fault of the same instructions is counted */
    SimFaultKind kind;
    const PtxInst *inst, *other;         /* other: the access that it races with; or NULL */
    uint32_t cta[3], thread[3];
    uint64_t address, count;
    const char *text;                    /* a sentence, without the place */
} SimFault;

typedef struct {                         /* of one instruction of the module, by its number */
    uint64_t warps, threads;
    uint64_t sectors, ideal_sectors;     /* profile: 32-byte sectors of global memory touched, and the fewest for those bytes */
    uint64_t wavefronts, ideal_wavefronts;         /* profile: passes over the banks of shared memory */
} SimCount;

typedef struct {
    bool finished;                       /* every thread came to its end */
    SimFault *faults; uint32_t n_faults;
    SimCount *counts; uint32_t n_counts;
    uint64_t warp_steps, thread_steps, barriers;
    uint64_t bytes_loaded[SPACE_COUNT], bytes_stored[SPACE_COUNT];
    uint32_t shared_bytes;               /* static and dynamic, a CTA */
    double seconds;
} SimResult;

/* Runs one launch to its end, or to the first fault after which nothing sensible follows. False: diagnosed (a bad launch; what
 * kernels do wrong is in out->faults, which sim_fault_diagnose turns into diagnostics). The result lives in `a`. */
bool sim_run(SimMemory *m, const PtxModule *module, const SimLaunch *launch, Arena *a, Diags *d, SimResult *out);
uint32_t sim_static_shared(const PtxModule *module, const PtxFunction *entry);          /* bytes that a kernel declares itself */
void sim_fault_diagnose(const PtxModule *module, const SimFault *f, Diags *d);     /* with PTX line and CUDA line; PAWL_EXIT_CHECK_FAILED */
const char *sim_fault_name(SimFaultKind k);
