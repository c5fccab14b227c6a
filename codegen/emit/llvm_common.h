/* codegen/emit/llvm_common.h — what the two LLVM emitters share: the walk over a kernel's instructions and the op table.
 *
 * Values: f16 and bf16 live in registers as f32 that the type can represent (every op rounds to its type), bool as i1, the
 * rest as they are; vectors of lanes are LLVM vectors. Memory holds f16 and bf16 as i16, bool as i8. */
#pragma once
#include "codegen/emit/emit.h"

#include <llvm-c/Core.h>

typedef struct Llvm Llvm;

/* What differs between the targets. */
typedef struct LlvmTarget {
    /* float (or double) functions that need a library: exp … pow; `t` is DT_F32 or DT_F64 */
    LLVMValueRef (*math)(Llvm *L, Op op, DType t, LLVMValueRef *args, uint32_t n, uint32_t lanes);
    LLVMValueRef (*rsqrt)(Llvm *L, DType t, LLVMValueRef a, uint32_t lanes);          /* NULL: 1 / sqrt */
    LLVMValueRef (*maximum)(Llvm *L, LLVMValueRef a, LLVMValueRef b, bool minimum);   /* NaN wins */
    LLVMValueRef (*bf16_bits)(Llvm *L, LLVMValueRef f32, uint32_t lanes);              /* i16, round to nearest even */
    LLVMValueRef (*f16_bits)(Llvm *L, LLVMValueRef f32, uint32_t lanes);
    LLVMValueRef (*f16_value)(Llvm *L, LLVMValueRef bits, uint32_t lanes);
    LLVMValueRef (*shuffle_xor)(Llvm *L, LLVMValueRef i32, uint32_t mask);
    LLVMValueRef (*mma)(Llvm *L, DType t, LLVMValueRef acc, LLVMValueRef w0, LLVMValueRef w1, LLVMValueRef x);   /* K_MMA; NULL on the host */
    void (*barrier)(Llvm *L);
    void (*fence)(Llvm *L);
    LLVMValueRef (*of_block)(Llvm *L, LLVMValueRef shared, LLVMValueRef rank);         /* where another block of the cluster has it; NULL on the host */
    /* K_COPY_ASYNC to element `at` of shared array `to`; mask may be NULL */
    void (*copy_async)(Llvm *L, uint32_t to, LLVMValueRef at, LLVMValueRef from, LLVMValueRef mask, bool stream);
    void (*warp_sync)(Llvm *L);                 /* NULL on the host */
    void (*order)(Llvm *L, const KInst *n);     /* K_COPY_COMMIT, K_COPY_WAIT, K_WAIT, K_LAUNCH_NEXT, K_CLUSTER_ARRIVE and _WAIT; both NULL on the host */
    /* metadata of a load or store of kernel->buffers[buffer] */
    void (*annotate)(Llvm *L, LLVMValueRef access, uint32_t buffer, bool stream, uint32_t align, uint32_t bytes);
    uint32_t max_access;            /* bytes one load or store may move; 0: any */
} LlvmTarget;

struct Llvm {
    const LlvmTarget *target;
    void *target_data;
    Arena *arena;
    const Kernel *k;
    LLVMContextRef c;
    LLVMModuleRef m;
    LLVMBuilderRef b;
    LLVMValueRef fn;
    bool branch_on_whole;           /* masked vectors: a branch for the case that all lanes are in, the usual one */
    LLVMTypeRef index;              /* i64, or i32 where indices fit */
    LLVMValueRef *value;            /* by instruction id */
    LLVMValueRef *buffer, *shared;  /* pointers */
    LLVMValueRef *copied;           /* shared arrays' addresses for copies; NULL until wanted */
    Map *dims;                      /* Dim -> value that dominates the current place */
    Vec(uint64_t) journal;          /* keys of `dims`, for scopes */
};

/* ---- types and small builders ------------------------------------------------------------------------------------------ */
LLVMTypeRef ll_int(Llvm *L, uint32_t bits);
LLVMTypeRef ll_lanes(LLVMTypeRef scalar, uint32_t lanes);               /* itself for one lane */
LLVMTypeRef ll_value_type(Llvm *L, DType t, uint32_t lanes);           /* in registers */
LLVMTypeRef ll_memory_type(Llvm *L, DType t);                          /* in memory, one element */
LLVMValueRef ll_iconst(Llvm *L, LLVMTypeRef t, int64_t v);             /* splat where t is a vector */
LLVMValueRef ll_fconst(Llvm *L, LLVMTypeRef t, double v);
LLVMValueRef ll_splat(Llvm *L, LLVMValueRef v, uint32_t lanes);
LLVMValueRef ll_extract(Llvm *L, LLVMValueRef v, uint32_t lane, uint32_t lanes);
LLVMValueRef ll_part(Llvm *L, LLVMValueRef v, uint32_t first, uint32_t n);   /* lanes [first, first + n), modulo the width */
LLVMValueRef ll_join(Llvm *L, LLVMValueRef *parts, uint32_t n);         /* n a power of two, equal parts */
LLVMValueRef ll_call(Llvm *L, const char *intrinsic, LLVMTypeRef *overload, uint32_t n_overload, LLVMValueRef *args, uint32_t n);
LLVMValueRef ll_call_unary(Llvm *L, const char *intrinsic, LLVMValueRef a);  /* overloaded on a's type */
LLVMValueRef ll_extern(Llvm *L, const char *name, LLVMTypeRef ret, LLVMTypeRef *params, uint32_t n, LLVMTypeRef *fn_type);   /* pure function */
LLVMValueRef ll_float(Llvm *L, LLVMValueRef v);                        /* `contract` on v where it may have it; v */
LLVMBasicBlockRef ll_block(Llvm *L, const char *name);
void ll_enter(Llvm *L, LLVMBasicBlockRef block);                       /* what is built next goes to its end */

/* ---- pieces ------------------------------------------------------------------------------------------------------------ */
LLVMValueRef ll_op(Llvm *L, Op op, DType operand, DType result, LLVMValueRef *args, uint32_t n, uint32_t lanes);
LLVMValueRef ll_cast(Llvm *L, LLVMValueRef v, DType from, DType to, uint32_t lanes);
LLVMValueRef ll_round(Llvm *L, LLVMValueRef v, DType t, uint32_t lanes);      /* f32 to what f16 or bf16 can hold */
LLVMValueRef ll_to_memory(Llvm *L, LLVMValueRef v, DType t, uint32_t lanes);
LLVMValueRef ll_from_memory(Llvm *L, LLVMValueRef v, DType t, uint32_t lanes);
LLVMValueRef ll_bf16_bits(Llvm *L, LLVMValueRef v, uint32_t lanes);           /* in integer arithmetic */
LLVMValueRef ll_maximum(Llvm *L, LLVMValueRef a, LLVMValueRef b, bool minimum);  /* by compare and select */
LLVMValueRef ll_dim(Llvm *L, Dim d);                                          /* of type L->index */
Dim ll_dim_at_lane(Llvm *L, Dim d, uint32_t lane, uint32_t lanes);            /* its lane symbol replaced by a number */
void ll_bind(Llvm *L, Dim sym, LLVMValueRef v);                               /* v becomes the value of a symbol */
uint32_t ll_scope(const Llvm *L);
void ll_scope_end(Llvm *L, uint32_t scope);
LLVMValueRef ll_load(Llvm *L, const KInst *n);
LLVMValueRef ll_load_raw(Llvm *L, const KInst *n);
void ll_copy_async(Llvm *L, const KInst *n);
void ll_store(Llvm *L, const KInst *n);
LLVMValueRef ll_atomic(Llvm *L, const KInst *n);
void ll_body(Llvm *L);                                                        /* all instructions of the kernel */

/* Initialises LLVM's targets, once a process. */
void ll_targets(void);
/* The default pipeline at O2 without the vectorisers, which kernels do not need. False: diagnosed. */
bool ll_optimise(Diags *d, LLVMModuleRef m, void *target_machine, const char *passes);
/* Takes LLVM's message into the arena and frees it. */
char *ll_message(Arena *a, char *llvm);
/* False, diagnosed: one of the kernels is made from a template that is CUDA C. */
bool ll_can_emit(Diags *d, Kernel *const *k, uint32_t n);
