/* codegen/kir.h — the kernel IR: a small structured SSA language between kinds and emitters.
 *
 * A kernel is a grid of blocks of threads; a thread handles short vectors ("lanes"). On the host a block has one thread and
 * blocks are spread over the thread pool; there barriers vanish and shared arrays are stack arrays. Values are typed scalars or
 * vectors of 2, 4, 8 or 16 lanes. Index arithmetic is not SSA: loads, stores, tests and loop bounds hold Dims (base/dim.h)
 * over the kernel's symbols: the plan's own symbols (scalar arguments), block and thread numbers, loop variables, and
 * `lane`, which stands for 0 … lanes-1 inside a vector instruction. A K_BIND turns an integer value into a symbol (gather).
 *
 * No pointers, no goto, no recursion. Loops and ifs nest; a value is visible in its block and the blocks inside it. */
#pragma once
#include "base/context.h"
#include "base/dtype.h"
#include "base/vec.h"
#include "ir/graph.h"
#include "runtime/plan.h"

typedef struct { DType dtype; uint8_t lanes; } KType;

typedef enum {
    K_CONST,        /* number: f (float dtypes) or i (integers, bool); splat over lanes */
    K_INDEX,        /* value of `index`, dtype i32 or i64 (may use the lane symbol) */
    K_TEST,         /* bool: index < bound (either may use the lane symbol) */
    K_LOAD,         /* buffer[index]; args[0]: mask or absent; masked-off lanes give `f`/`i` (fill) */
    K_LOAD_RAW,     /* i32x4: the 16 bytes of a 2-byte-element buffer from element `index` (a multiple of 8), not converted;
                     * args[0]: scalar mask or absent; masked off: 0 */
    K_STORE,        /* args[0]: value, args[1]: mask or absent */
    K_SHARED_LOAD,  /* shared[index] */
    K_SHARED_STORE, /* args[0]: value, args[1]: mask or absent */
    K_CLUSTER_STORE,    /* the same to the shared array of block number `bound` of the cluster, which must have begun: see K_CLUSTER_WAIT */
    K_OP,           /* pointwise op of ops.def on args; semantics of ops.def in the type's precision; no hidden rounding but the type's */
    K_CAST,         /* args[0] to type.dtype */
    K_SPLAT,        /* scalar args[0] to all lanes */
    K_LANE,         /* scalar: lane `i` of args[0] */
    K_LANE_REDUCE,  /* scalar: op (ADD, MUL, MAXIMUM, MINIMUM, OR, AND) over the lanes of args[0], in lane-halving order */
    K_SHUFFLE_XOR,  /* args[0] of the thread whose number in the warp differs by xor `i` */
    K_MMA,          /* f32x4: acc + products by the tensor cores, collective over a warp, args acc, w0, w1, x; see k_mma */
    K_BIND,         /* binds `var` (a symbol) to the integer scalar args[0] */
    K_LOOP,         /* for var in index … bound step i; carries: args = initial values; results through K_RESULT */
    K_CARRY,        /* inside a loop: carried value number i of `of` */
    K_RESULT,       /* after a loop or if: its value number i */
    K_IF,           /* args[0]: scalar bool; then_block, else_block; both yield */
    K_BARRIER,      /* all threads of the block; must be uniform */
    K_ATOMIC_ADD,   /* buffer[index] += args[0], relaxed, device scope; result: old value (i32, f32) */
    K_CLUSTER_ARRIVE,   /* the thread has come here; what it stored before is there for those that wait, if `i`; uniform */
    K_CLUSTER_WAIT, /* until all threads of all blocks of the cluster have arrived; after an arrival each; uniform */
    K_FENCE,        /* device-wide memory fence (before a counter is raised, after it was read) */
    K_COPY_ASYNC,   /* starts copying 16 bytes, not converted: shared array `i` (i32) from element `bound` on = buffer[index] (2-byte
                     * elements), both 16-byte aligned; args[0]: scalar mask or absent; masked off: zeros */
    K_COPY_COMMIT,  /* what the thread has begun to copy since the last one is a group */
    K_COPY_WAIT,    /* until all but the last `i` of its groups have arrived: the thread may read what it copied itself */
    K_WARP_SYNC,    /* all threads of the warp: what they wrote, read and waited for in shared memory before is behind them */
    K_SUM,          /* f32x2: pair `i` of the sums that the thread holds of a product's piece: see KGemm.bulk */
    K_BULK_FENCE,   /* what the warp's threads have written to shared memory is there for the copy engine; by all 32 of them */
    K_BULK_STORE,   /* starts copying a box of kernel->maps[i] from shared array `buffer`, element `bound` on, to the coordinates args
                     * (i32, innermost first; what is past an end of the tensor is left out); one copy a warp, whose values agree */
    K_BULK_COMMIT,  /* what the warp has begun to store since the last one is a group */
    K_BULK_WAIT,    /* until all but the last `i` of its groups have been read: the warp may write there again */
    K_WAIT,         /* until the kernels before this one have ended: see Kernel.waits */
    K_LAUNCH_NEXT,  /* the kernel after this one may be launched when every block has come here, or has ended */
} KKind;

typedef struct KInst KInst;
typedef Vec(KInst *) KBlock;

struct KInst {
    KKind kind;
    KType type;                     /* result; lanes 0: none */
    uint32_t id;                    /* %id, unique in the kernel, increasing in program order */
    Str name;                       /* from the task where there is one: emitted code uses it */
    Op op;                          /* K_OP, K_LANE_REDUCE */
    uint32_t buffer;                /* LOAD, STORE, ATOMIC: number in kernel->buffers; SHARED_*, BULK_STORE: in kernel->shared */
    Dim index, bound;               /* see kinds */
    Dim var;                        /* LOOP, BIND */
    double f; int64_t i;
    bool stream;                    /* LOAD, LOAD_RAW, COPY_ASYNC, STORE: touched once: do not keep in caches */
    int unroll;                     /* LOOP: 0 the emitter decides, 1 never, n: by n, -1 fully */
    KInst **args; uint32_t n_args;
    KInst *of;                      /* CARRY, RESULT */
    KBlock body, other;             /* LOOP body; IF then, else */
    KInst **yield, **yield_other; uint32_t n_yield;    /* values carried on, or results of the branches */
};

/* align: bytes, of the pointer; frozen: a weight, which no kernel of any plan writes */
typedef struct { Str name; DType dtype; Dim count; bool written, read, frozen; uint32_t align; } KBuffer;
/* 16-byte aligned. swizzle 64, 128: each 16 bytes lie where tensor maps of that swizzle have them (indices are as without; no vector
 * crosses a multiple of 16 bytes), and the array is aligned to 8 rows of so many bytes. */
typedef struct { Str name; DType dtype; uint32_t count, swizzle; } KShared;

/* A matrix product on the tensor cores, made from a template around the kernel's body (emit/cuda_gemm.c). The body is what one warp
 * does with one staged piece of the product: 16 rows from `row`, `width` columns from `col` of each part, in fp32, element (r, c) of
 * part p at ((warp * parts + p) * 16 + r) * (width + 8) + c of the shared array `stage`. All 32 lanes run it together. It masks rows past m and
 * columns past n itself.
 * With `bulk` (wgmma, no scales) the piece stays in registers: K_SUM i, with i = (p * width / 8 + j) * 2 + h, is elements 8 j + lane % 4 * 2
 * and the next of row lane / 4 + 8 h of part p. The body puts its results into shared arrays, of which it has two sets: it takes that of
 * `turn`, 0 or 1, once a K_BULK_WAIT 1 has said that it is free, and commits one group of bulk stores. */
typedef enum { GEMM_BF16, GEMM_F16, GEMM_TF32, GEMM_F16_SCALED, GEMM_3XF16, GEMM_3XTF32 } GemmFormat;
typedef struct { uint32_t buffer; Dim offset, ld, stride_batch; bool trans; } KMatrix;    /* elements; buffer UINT32_MAX: none; trans: k is the strided dim */
typedef struct KGemm {
    GemmFormat format;
    bool wgmma;                     /* sm_90a: TMA and wgmma; else cp.async and mma.sync */
    bool pingpong;                  /* wgmma: two consumer warpgroups take tiles in turn, one multiplies while the other stores */
    bool bulk;                      /* see above */
    uint32_t bm, bn, bk, stages;    /* a tile: 64 rows a consumer warpgroup, or all of one with pingpong; k's a stage */
    uint32_t warps, resident;       /* mma.sync: warps that share a tile, 0: as suits it; blocks that a unit runs at once, 0: one */
    uint32_t splits;                /* wgmma: blocks that share the k of a tile, and add their sums up; 0: one */
    uint32_t cluster, raster;       /* blocks along M that share B by multicast; rows of tiles side by side */
    uint32_t parts, width;          /* parts of the columns that are read together; columns of each staged at a time: 32, 64, 128 */
    Dim part_start[2];              /* where each part begins in B; a tile's bn columns are bn / parts of each */
    bool a_mn, b_mn;                /* contiguous along M, N; else along k */
    bool a_batched, b_batched;      /* false: one for all batches */
    uint32_t map_a, map_b, map_a_lo, map_b_lo;     /* kernel->maps (wgmma); UINT32_MAX: none */
    KMatrix a, b, a_lo, b_lo;       /* the pieces as plain matrices (mma.sync; b: recomputation of rows) */
    KMatrix exact_a, exact_b;       /* f32 originals of split operands, read where a row or column is bad; exact_b may be absent */
    uint32_t inv_a, inv_b;          /* kernel buffers f32, a row and column each: scale of the result, negative: recompute; UINT32_MAX: none */
    Dim stride_inv_a, stride_inv_b; /* between batches */
    Dim m, n, k, batch;             /* n: columns of a part */
    Dim k_exact;                    /* of the originals: k without padding */
    Dim groups;                     /* rows of A in groups, each against its own matrix of B (b_batched: by group), batch 1; NULL: no groups */
    uint32_t ends, table;           /* of those: the kernel buffer, i32 or i64, that says where they end; shared array i32[gemm_table_count] */
    Dim row, col, at_batch, warp, lane, turn;      /* the body's symbols; warp among the consumers; turn: of bulk */
    Dim end;                        /* with groups, another one: where the rows end that the piece may have */
    uint32_t stage;                 /* number of the shared array, f32[consumer warps][parts][16][width + 8]; without bulk */
} KGemm;

typedef struct Kernel {
    Context *cx;
    Arena *arena;
    Str name;
    Str head;                       /* comment above the emitted code: group in graph text, schedule, bytes */
    Str kind, schedule;
    bool host;                      /* for the CPU: threads == 1 */
    Vec(KBuffer) buffers;           /* pointer arguments, in order */
    Vec(Dim) scalars;               /* symbols of the plan used as arguments (i64), in order */
    Vec(KShared) shared;
    Vec(PlanTensorMap) maps;        /* `buffer`: of the kernel */
    const KGemm *gemm;              /* NULL: the body is the whole kernel */
    uint32_t cluster;               /* blocks along x that run together; 0, 1: none */
    Dim grid[3];                    /* Dims over the scalars */
    Dim block[3];                   /* symbols: block numbers, 0 <= block[d] < grid[d] */
    uint32_t threads;               /* a block; 1 on the host */
    Dim thread;                     /* symbol 0 <= thread < threads (constant 0 on the host) */
    /* May be launched while the kernels before it still run (sm_90): it waits for them to end, at its K_WAITs or, where it has none,
     * at its start. Before that it reads frozen buffers only and writes nothing; and no block ends without having waited, so that
     * whoever waits for this kernel knows of all earlier ones that they have ended, too. */
    bool waits;
    bool approximate;               /* f16 and bf16 classes: f32 stands in for them between ops, its exp and division may err by a few ulp */
    int min_blocks;                 /* __launch_bounds__ second argument; 0: none */
    bool index64;                   /* some index may pass 2^31 - 1: emitters use 64-bit index arithmetic */
    uint32_t n_ids;
    KBlock body;
    /* builder state */
    Vec(KBlock *) open; Vec(KInst *) open_inst;
} Kernel;

Dim kernel_lane(DimPool *p, uint32_t lanes);        /* the symbol `lane` with range [0, lanes) — one symbol per lane count */

/* ---- builder: instructions go to the innermost open block ------------------------------------------------------------ */
Kernel *kernel_new(Context *cx, Arena *a, const char *name, bool host, uint32_t threads);
void    kernel_grid(Kernel *k, Dim x, Dim y, Dim z);             /* makes the block symbols */
uint32_t kernel_buffer(Kernel *k, Str name, DType t, Dim count, uint32_t align);
uint32_t kernel_shared(Kernel *k, const char *name, DType t, uint32_t count);
uint32_t kernel_shared_swizzled(Kernel *k, const char *name, DType t, uint32_t count, uint32_t swizzle);
/* Where array s may begin if the ones before it end at `bytes`. */
uint32_t kernel_shared_start(const KShared *s, uint32_t bytes);
KInst *k_const(Kernel *k, KType t, double v);
KInst *k_index(Kernel *k, Dim d, DType t, uint32_t lanes);
KInst *k_test(Kernel *k, Dim a, Dim b, uint32_t lanes);          /* a < b; constant when provable */
KInst *k_load(Kernel *k, uint32_t buffer, Dim index, uint32_t lanes, KInst *mask, double fill);
KInst *k_load_raw(Kernel *k, uint32_t buffer, Dim index, KInst *mask);
KInst *k_store(Kernel *k, uint32_t buffer, Dim index, KInst *value, KInst *mask);     /* NULL: the mask is never true */
KInst *k_shared_load(Kernel *k, uint32_t shared, Dim index, uint32_t lanes);
void   k_shared_store(Kernel *k, uint32_t shared, Dim index, KInst *value, KInst *mask);
void   k_cluster_store(Kernel *k, uint32_t shared, Dim rank, Dim index, KInst *value, KInst *mask);
KInst *k_op(Kernel *k, Op op, DType result, KInst *const *args, uint32_t n);   /* splats scalars to the widest operand */
/* kir_approximate.c: another way to `op` on these operands of type t, in approximate kernels; NULL: none. And what is at least 1 by its form,
 * a sum of 1 and an exponential: approximate kernels divide by it in fewer steps. */
KInst *k_approximated(Kernel *k, Op op, DType t, KInst *const *args);
bool   k_at_least_one(const KInst *n);
KInst *k_op1(Kernel *k, Op op, KInst *a);
KInst *k_op2(Kernel *k, Op op, KInst *a, KInst *b);
KInst *k_select(Kernel *k, KInst *cond, KInst *a, KInst *b);
KInst *k_cast(Kernel *k, KInst *a, DType t);
KInst *k_splat(Kernel *k, KInst *a, uint32_t lanes);
KInst *k_lane(Kernel *k, KInst *a, uint32_t lane);
KInst *k_lane_reduce(Kernel *k, Op op, KInst *a);
KInst *k_shuffle_xor(Kernel *k, KInst *a, int mask);
/* D = acc + W X on the tensor cores, W 16 x 32, X 32 x 8, elements bf16 or f16 (`t`), accumulated in fp32. Thread 4g + t of the warp
 * holds 8 values of k (raw, as k_load_raw gives them) of row g in w0, of row g+8 in w1, of column g in x, and of the result
 * D[g][2t], D[g][2t+1], D[g+8][2t], D[g+8][2t+1]. The four threads of a quad hold 32 k's in any order that w0, w1 and x share. */
KInst *k_mma(Kernel *k, DType t, KInst *acc, KInst *w0, KInst *w1, KInst *x);
Dim    k_bind(Kernel *k, KInst *integer, const char *prefix, int64_t lo, int64_t hi);
KInst *k_loop(Kernel *k, const char *prefix, Dim lo, Dim hi, int64_t step, KInst *const *init, uint32_t n_carry, int unroll);
KInst *k_carry(Kernel *k, KInst *loop, uint32_t i);
void   k_loop_end(Kernel *k, KInst *loop, KInst *const *next);
KInst *k_if(Kernel *k, KInst *cond);
void   k_else(Kernel *k, KInst *branch, KInst *const *values, uint32_t n);      /* ends the then block with its results */
void   k_if_end(Kernel *k, KInst *branch, KInst *const *values, uint32_t n);    /* ends else (or then, when there was no k_else: n = 0) */
KInst *k_result(Kernel *k, KInst *of, uint32_t i);
void   k_barrier(Kernel *k);
void   k_cluster_arrive(Kernel *k, bool stored);
void   k_cluster_wait(Kernel *k);
void   k_fence(Kernel *k);
KInst *k_copy_async(Kernel *k, uint32_t shared, Dim to, uint32_t buffer, Dim from, KInst *mask);
void   k_copy_commit(Kernel *k);
void   k_warp_sync(Kernel *k);
void   k_copy_wait(Kernel *k, uint32_t groups);
KInst *k_sum(Kernel *k, uint32_t pair);
void   k_bulk_fence(Kernel *k);
void   k_bulk_store(Kernel *k, uint32_t map, const Dim *at, uint32_t shared, Dim from);        /* `at`: as many as the map has dims */
void   k_bulk_commit(Kernel *k);
void   k_bulk_wait(Kernel *k, uint32_t groups);
void   k_wait(Kernel *k);
void   k_launch_next(Kernel *k);
bool   kernel_places_wait(const Kernel *k);                      /* there is a K_WAIT: the kernel does not wait at its start */
KInst *k_atomic_add(Kernel *k, uint32_t buffer, Dim index, KInst *value);

/* ---- analysis shared by the emitters --------------------------------------------------------------------------------- */
typedef enum { ACCESS_UNIFORM, ACCESS_CONTIGUOUS, ACCESS_STRIDED, ACCESS_GATHER } AccessKind;
typedef struct { AccessKind kind; Dim base, stride; uint32_t align; } Access;   /* align: proven bytes of the first lane's address */
Access k_access(const Kernel *k, Dim index, uint32_t lanes, DType t, uint32_t pointer_align);
bool   kernel_verify(const Kernel *k, Diags *d);   /* types, dominance, uniform barriers, shared size, stores to distinct buffers … */
void   kernel_print(StrBuf *b, const Kernel *k);
uint32_t kernel_shared_bytes(const Kernel *k);
void   kernel_collect_scalars(Kernel *k);          /* adds to `scalars` every free symbol of the body, in order of first use: call once built */
bool   kernel_needs_index64(const Kernel *k);      /* index64, or the symbols' ranges let some index pass 2^31 - 1 */
