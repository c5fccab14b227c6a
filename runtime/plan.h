/* runtime/plan.h — the plan: the contract between compiler and runtime. Buffers, steps, guards; text and JSON forms.
 *
 * Sizes, grids and scalar arguments are Dims over the plan's symbols (base/dim.h), so one plan serves a range of shapes; in a
 * specialised plan they are constants. */
#pragma once
#include "base/context.h"
#include "base/dtype.h"
#include "base/philox.h"
#include "base/vec.h"

typedef enum { BUF_INPUT, BUF_OUTPUT, BUF_WEIGHT, BUF_WORKSPACE } BufferKind;

typedef struct {
    BufferKind kind;
    Str   name;
    DType dtype;
    uint32_t rank;
    Dim   shape[TENSOR_MAX_RANK];      /* logical shape (inputs, outputs, weights); dense row-major */
    Dim   bytes;
    Dim   offset;                      /* BUF_WORKSPACE: into the session's workspace, 256-byte aligned */
    uint32_t io;                       /* index among inputs, outputs or weights */
} PlanBuffer;

/* Admissible range: the guard. Its value comes from the inputs' shapes: some dim of some input must be the symbol itself or a
 * sum in which it is the only unknown; every other dim is checked against it. */
typedef struct { Str name; int64_t lo, hi; } PlanSymbol;

typedef enum { TARGET_CPU, TARGET_CUDA } PlanTarget;

typedef enum { CODE_OBJECT /* ELF x86-64 relocatable, pic */, CODE_CUBIN, CODE_PTX, CODE_CUDA_SOURCE } CodeKind;
typedef struct {
    CodeKind kind;
    Str   arch;                        /* "sm_90a", "sm_80" …, "x86-64-v3", "x86-64-v4" */
    const void *bytes; size_t len;     /* kernels of one module share the pointer: it is loaded once */
    Str   member;                      /* set by the package: where the bytes lie in it */
} PlanCode;

/* A tensor in memory as the copy engine of sm_90 sees it: parameters of cuTensorMapEncodeTiled. Elements outside read as zero. */
enum { TENSOR_MAP_RANK = 5 };
typedef struct {
    uint32_t buffer;
    DType dtype;                       /* F32, F16, BF16 */
    uint32_t rank;
    Dim   dims[TENSOR_MAP_RANK];       /* elements, innermost first */
    Dim   strides[TENSOR_MAP_RANK - 1];            /* bytes, of dims 1 and up: multiples of 16 */
    Dim   offset;                      /* bytes from the buffer's start: a multiple of 16 */
    uint32_t box[TENSOR_MAP_RANK];     /* elements that one copy brings */
    uint32_t swizzle;                  /* bytes: 0, 32, 64, 128; the innermost box is at most as long */
} PlanTensorMap;

/* What a kernel does with each of its buffers. Without this table inputs and weights are read, others both. */
enum { ACCESS_READ = 1, ACCESS_WRITE = 2 };

typedef struct {
    Str   name;                        /* entry point, unique in the plan */
    uint32_t n_buffers, n_scalars, n_maps;
    uint32_t cluster;                  /* blocks along x that run together on neighbouring units (sm_90); 0, 1: none */
    const uint8_t *access;             /* n_buffers of ACCESS_*, or NULL: the runtime orders branches of the graph by it */
    uint32_t shared_bytes;             /* static + dynamic; the runtime asks for the dynamic part, and opts in above 48 KB */
    uint32_t block[3];                 /* 1,1,1 on the cpu */
    bool waits;                        /* cuda: it begins with griddepcontrol.wait, so it may be launched while its predecessors run */
    Str   kind, schedule;              /* provenance: kernel kind, schedule text, */
    Str   group;                       /* the group in graph text (what it computes) */
    Str   emitter;                     /* "llvm", "nvrtc", "library" */
    Vec(PlanCode) code;                /* several architectures; runtime takes the best that fits */
} PlanKernel;

typedef enum { STEP_LAUNCH, STEP_MATMUL, STEP_COPY, STEP_FILL } StepKind;

/* A matrix product by the library: D[b] = epilogue(alpha * op(A[b]) op(B[b]) + beta * C[b]), all row-major as the graph sees them.
 * Leading dims and batch strides are in elements, offsets in elements from the start of the buffer. */
typedef enum { EPI_NONE, EPI_BIAS, EPI_RELU, EPI_GELU_TANH, EPI_BIAS_RELU, EPI_BIAS_GELU_TANH } Epilogue;
typedef struct {
    DType dtype, out_dtype;
    Dim m, n, k, batch;
    bool trans_a, trans_b;             /* A is stored [k, m] / B is stored [n, k] */
    uint32_t a, b, c, d, bias;         /* buffers; UINT32_MAX: none (c: residual, added with beta 1) */
    Dim a_offset, b_offset, c_offset, d_offset;
    Dim lda, ldb, ldc, ldd;
    Dim stride_a, stride_b, stride_c, stride_d;   /* 0: broadcast over the batch */
    Epilogue epilogue;
    bool tf32;                         /* products may be tf32: the contract class allows it */
    int32_t algorithm;                 /* rank in the library's heuristic list */
    Dim workspace_bytes; uint32_t workspace;      /* buffer, or UINT32_MAX */
} PlanMatmul;

typedef struct {
    StepKind kind;
    Str  label;                        /* for explain and traces */
    /* STEP_LAUNCH */
    uint32_t kernel;
    Dim  grid[3];
    uint32_t *buffers;                 /* kernel->n_buffers buffer numbers */
    Dim *scalars;                      /* kernel->n_scalars, passed as i64 */
    PlanTensorMap *maps;               /* kernel->n_maps, of the plan's buffers, passed by value after the scalars, 128 bytes each */
    /* STEP_MATMUL */
    PlanMatmul matmul;
    /* STEP_COPY: from -> to, whole bytes; STEP_FILL: zero `to` */
    uint32_t from, to; Dim bytes;
    /* Steps run as listed. Where they may run side by side (graph branches), the order is `deps` plus what the runtime finds
     * itself: steps that touch the same bytes, one of them writing (see ACCESS_*; where a plan gives deps and a kernel no
     * access table, deps are trusted for a buffer shared by name, and reuse of workspace is still ordered). */
    uint32_t *deps; uint32_t n_deps;   /* numbers of earlier steps */
    Dim bytes_read, bytes_written, flops;         /* what the step must move and do: floor and explain */
} PlanStep;

typedef struct {                       /* a weight as stored, and how it is made from the model's own parameters */
    Str name; uint32_t buffer;
    Str recipe;                        /* graph text over params: "%w = concat(%wq, %wk, axis=0)"; NULL: the parameter itself */
    Str *params; uint32_t n_params;    /* parameters it depends on */
    const Tensor *data;                /* in memory when fresh; from the package's weights otherwise */
    Str key;                           /* set by the package: name in weights.safetensors */
} PlanWeight;

typedef struct { Str choice, picked, evidence; } PlanDecision;    /* e.g. "stack_projections@12", "stacked", "1.31x [1.29, 1.33] …" */

typedef struct Plan {
    Str name, workload;                /* workload NULL: the generic plan */
    PlanTarget target;
    Str arch;                          /* "sm_90a", "x86-64-v4"; what the kernels need at least */
    uint32_t rank, n_ranks;            /* 0, 1 today */
    Vec(PlanSymbol)  symbols;          /* empty in a specialised plan */
    Vec(PlanBuffer)  buffers;          /* inputs first, then outputs, then the rest */
    uint32_t n_inputs, n_outputs;
    Vec(PlanWeight)  weights;
    Vec(PlanKernel)  kernels;
    Vec(PlanStep)    steps;
    Vec(PlanDecision) decisions;
    Dim workspace_bytes;
    uint32_t alignment;                /* bytes that input and output pointers must have; others are staged by copy */
    const void *origin;                /* the package it came from, NULL when fresh: one origin's weights lie once on a device */
} Plan;

void  plan_print(StrBuf *b, const Plan *p);                      /* the text form: what explain walks */
char *plan_to_json(const Plan *p, Arena *a);                     /* code by reference: members code/NAME.ARCH.KIND */
Plan *plan_from_json(Context *cx, const char *json, size_t len); /* NULL: diagnosed; nothing is trusted */
/* The same with the name that messages give the text ("plans/0.json"); no bytes of code or weights, only their member names. */
Plan *plan_read(Context *cx, const char *where, const char *json, size_t len);
bool  plan_verify(const Plan *p, Diags *d);                      /* indices in range, buffers inside the workspace, no overlap of live buffers */
/* Values of all symbols from the inputs' shapes (row-major dims a tensor); false: diagnosed guard, naming the dim and range.
 * `d` may be NULL (a quiet trial). `out` has room for symbols.n values. */
bool  plan_bind(const Plan *p, const int64_t *const *shapes, const int32_t *ranks, const DType *dtypes, Diags *d, DimValue *out);

/* A plan's sizes under given symbol values, all checked: what an executor needs to run it. */
typedef struct { int64_t bytes, offset; } BoundBuffer;
typedef struct { int64_t m, n, k, batch, lda, ldb, ldc, ldd, a_offset, b_offset, c_offset, d_offset,
                         stride_a, stride_b, stride_c, stride_d, workspace_bytes; } BoundMatmul;
typedef struct { int64_t offset, dims[TENSOR_MAP_RANK], strides[TENSOR_MAP_RANK - 1]; } BoundTensorMap;
typedef struct {
    int64_t grid[3], blocks;           /* launches; blocks 0: nothing to do, and no maps */
    const int64_t *scalars;
    const BoundTensorMap *maps;
    int64_t bytes;                     /* copies and fills */
    BoundMatmul *matmul;               /* library steps */
    int64_t moved, flops;              /* bytes read + written, operations: as stated, for grain and reports */
} BoundStep;
typedef struct { BoundBuffer *buffers; BoundStep *steps; int64_t workspace_bytes; } BoundPlan;
/* symbols: one value each in plan order (from plan_bind). NULL: diagnosed. */
BoundPlan *plan_evaluate(const Plan *p, const int64_t *symbols, Arena *a, Diags *d);
bool matmul_evaluate(const PlanMatmul *m, const DimValue *v, uint32_t n, BoundMatmul *out, Diags *d);
/* What step `s` does with buffer `b`: ACCESS_* bits, 0 when it does not touch it; *known false when it had to be assumed. */
unsigned step_access(const Plan *p, const PlanStep *s, uint32_t b, bool *known);
/* "bf16[B, S, 2048]" */
void  buffer_type_print(StrBuf *b, const PlanBuffer *f);

/* ---- the host kernel ABI ---------------------------------------------------------------------------------------------
 * Blocks [begin, end) of the linearised grid (x fastest); called by many threads with disjoint ranges. */
typedef void HostKernel(void *const *buffers, const int64_t *scalars, const int64_t *grid, int64_t begin, int64_t end);
/* CUDA kernels take n_buffers pointers, then n_scalars int64, then n_maps tensor maps (128 bytes, 64-byte aligned), in this order. */
