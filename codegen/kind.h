/* codegen/kind.h — kernel kinds: one file each, the same four functions. Someone adding a kind copies the shape of a neighbour. */
#pragma once
#include "codegen/lower.h"

typedef struct KindProblem {
    Context *cx;
    const Group *g;
    const Machine *m;
    const CodegenOptions *o;
} KindProblem;

/* A section of a kernel under construction: this group's part of the grid. */
typedef struct KindBuild {
    KindProblem problem;
    const Schedule *s;
    Kernel *k;
    Lower *l;                       /* knows the buffers of the group's inputs */
    Dim block;                      /* number of the block within the section, 0 <= block < grid */
    Dim thread;
    const uint32_t *out_buffer;     /* kernel buffer of each of the group's outputs */
    /* Memory beside the operands: partial results, or (zeroed) counters that start at zero in every run. Returns a kernel buffer. */
    uint32_t (*scratch)(void *arg, const char *name, DType t, Dim count, bool zeroed);
    void *scratch_arg;
} KindBuild;

struct KernelKind {
    const char *name;
    bool alone;                     /* its kernels share their launch with no other group */
    bool members;                   /* takes groups with members */
    bool waits;                     /* its sections say themselves where they wait for the kernels before them (K_WAIT) */
    /* Can it run the group at all? If not, *why_not says so in one sentence. */
    bool (*accepts)(const KindProblem *p, const char **why_not);
    /* Schedules in the order in which the model would try them; the first is the untuned default. */
    uint32_t (*space)(const KindProblem *p, Schedule *out, uint32_t max);
    /* Predicted seconds. */
    double (*cost)(const KindProblem *p, const Schedule *s);
    /* Blocks and threads of a schedule, and the kernel's body. false: the schedule is illegal here, diagnosed. */
    Dim (*grid)(const KindProblem *p, const Schedule *s);
    uint32_t (*threads)(const KindProblem *p, const Schedule *s);
    bool (*build)(KindBuild *b);
    /* Kinds that are library calls fill a plan step instead of building (then grid, threads, build are NULL). buffer_of gives the plan buffer of a node. */
    bool (*call)(const KindProblem *p, const Schedule *s, PlanMatmul *out, uint32_t (*buffer_of)(void *arg, const Node *n), void *arg);
};

extern const KernelKind kind_pointwise, kind_row, kind_column, kind_full, kind_scan, kind_transpose, kind_matmul, kind_smallm, kind_gemm, kind_library;
extern const KernelKind *const kernel_kinds[];          /* NULL-terminated, in order of preference */
const KernelKind *kind_find(const char *name);

/* ---- shared helpers ---------------------------------------------------------------------------------------------------- */
Index group_at(DimPool *p, const Group *g, const Index *at, uint32_t rank, const Dim *coords);   /* `at` with sym[i] -> coords[i] */
Dim   group_outer_count(DimPool *p, const Group *g);
Dim   group_row_count(DimPool *p, const Group *g);        /* elements of a row of the domain (1 when all dims are outer) */
/* Coordinates of the domain from a position among outer dims and one within the row. */
void  group_coords(DimPool *p, const Group *g, Dim outer, Dim row, Dim *coords);
/* The outputs that have an element for each of the row, as a mask for store_some_at; the others have one a row. */
uint64_t group_outputs_along(const Group *g);
bool  reduces_contiguous(const Node *reduce);             /* the operand's last dim is among the reduced ones */
int64_t dim_typical(Dim d);                               /* a representative value for cost: the constant, or a middling one of the range */
uint32_t group_widest_bytes(const Group *g);              /* largest element among full-size operands: decides vector width */
/* Kinds that are not for products may compute one inside, element by element in a serial loop: an end to that, in words, where it
 * would take long on a GPU. NULL: none. */
const char *product_inside_refused(const KindProblem *p);
/* Do blocks of kind column hold columns of so many rows in registers, and are there enough of them for the device? */
bool columns_held(const Machine *m, Dim rows, Dim columns);
double product_inside_seconds(const KindProblem *p);      /* what such a loop adds */
double group_seconds_memory(const KindProblem *p);        /* bytes over copy bandwidth, L2-resident operands faster */
/* How many times a group with reductions needs its operands: once a level, once for the outputs. */
int64_t group_passes(const KindProblem *p);
/* What group_seconds_memory grows by where they are read as often: again from memory, where the device's blocks have this part of them under
 * way at once and the cache does not hold it. */
double group_again_factor(const KindProblem *p, double part);
/* Partial results of `split` blocks for the same outer elements meet in memory; the block that comes last combines them in order,
 * so that the result does not depend on the schedule of blocks. `value[i]`: this thread's result of reduction i, `at` outer
 * position `outer` (its first lane), for threads for which `leader` holds. Calls `finish` where the final values are known to
 * the lowering (under the condition that this is the last block and a leader). counter: which counter the blocks share. */
void split_finish(KindBuild *b, KInst *const *value, const Index *at, uint32_t lanes, Dim outer, Dim outer_count, Dim part, int64_t split,
                  KInst *leader, Dim counter, Dim counters, void (*finish)(void *arg), void *arg);
/* Stores all outputs of the group at domain coordinates `coords`. */
void store_outputs_at(KindBuild *b, const Dim *coords, uint32_t lanes, KInst *mask);
/* Those whose bit is set in `which` (outputs from the 64th on share the last bit). */
void store_some_at(KindBuild *b, uint64_t which, const Dim *coords, uint32_t lanes, KInst *mask);
/* Reduces `value` (scalar of each thread) over `width` neighbouring threads (a power of two); every thread gets the result. */
KInst *block_reduce(KindBuild *b, const Node *reduce, KInst *value, uint32_t width);
/* The same of several, each in place. */
enum { BLOCK_REDUCES = 16 };
void block_reduce_all(KindBuild *b, const Node *const *reduce, KInst **value, uint32_t n, uint32_t width);
/* Reductions that several blocks share (cluster.c): block numbers from a multiple of `blocks` on run as a cluster; rank: this block's. */
typedef struct { uint32_t blocks; Dim rank; bool first; } Cluster;
Cluster cluster_begin(KindBuild *b, int64_t blocks);                        /* first of all in a kernel; 1: there is none */
/* value[i], of whole blocks, becomes that of the whole cluster in all of its threads. The `whos` threads that have the same value are told
 * apart by `who`, the values of a block by `slot`, of `slots` (in lanes, with the lane symbol). */
void cluster_reduce_all(KindBuild *b, Cluster *c, const Node *const *reduce, KInst **value, uint32_t n, Dim slot, uint32_t slots, Dim who,
                        uint32_t whos);
