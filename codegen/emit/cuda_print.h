/* codegen/emit/cuda_print.h — one kernel being printed as CUDA C, and what the files that print it share.
 *
 *   cuda_index.c    lines, names, indices from their Dims
 *   cuda_values.c   which values get names; instructions on lanes, held back and printed as one unrolled loop
 *   cuda_memory.c   loads and stores
 *   cuda.c          loops, ifs, and the kernel around them
 *   cuda_gemm.c     the kernel around them where it is a product on the tensor cores
 *
 * Values of one lane are expressions, written where they are used when used once and short, else named. Vectors are arrays of
 * registers; instructions on lanes are held back and printed together as one unrolled loop over `l`, so that a chain of
 * operations reads as scalar code. An index that several accesses share gets a name. */
#pragma once
#include "codegen/emit/cuda_text.h"

typedef struct {
    Arena *arena;
    const Kernel *k;
    StrBuf *out;
    int depth;
    bool wide;                      /* 64-bit indices */
    const char **buffers, **shared, **copied, **maps;       /* by number: names; copied: shared arrays' addresses for copies */
    Expr *expr;                     /* by id: scalar expression, or one lane's where it does not depend on l */
    const char **array;             /* by id: name of the register array of a vector */
    const char **into;              /* by id: the variable of a loop or if that a held-back value is assigned to */
    const char **hint;              /* by id: the buffer that a nameless value is stored to */
    uint32_t *uses, *lane_uses;     /* by id: all uses; uses inside the group being printed */
    const KBlock **user;            /* by id: the block of the only user */
    const char ***carry;            /* by id of a loop or if: names of its values */
    Map *index_uses;                /* Dim -> number of accesses based on it */
    Map *names;                     /* hash of a name -> 1 */
    Map *dims;                      /* Dim -> name, for those in scope */
    Vec(uint64_t) journal;          /* dims named so far, to be forgotten at the end of their scope */
    Vec(const KInst *) group;       /* lane instructions held back */
    const KBlock *block;            /* being printed */
} Cuda;

/* ---- lines, names, indices (cuda_index.c) ------------------------------------------------------------------------------- */
void cu_line(Cuda *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *cu_unique(Cuda *c, const char *wanted);         /* a C identifier that nothing in this kernel uses yet */
const char *cu_value_name(Cuda *c, const KInst *n);         /* a fresh name for n's value, from the task where there is one */
const char *cu_index_type(const Cuda *c);
void cu_name_dim(Cuda *c, Dim d, const char *name);         /* from here to the end of the scope */
void cu_end_scope(Cuda *c, uint32_t scope);                 /* back to what journal.n was */
Expr cu_dim(Cuda *c, Dim d);
Expr cu_shared_dim(Cuda *c, Dim d);                         /* under a name of its own when several places use it */
Expr cu_swizzled_dim(Cuda *c, Dim d, uint32_t swizzle, uint32_t size);      /* where element d of a swizzled array lies */
Expr cu_lane_dim(Cuda *c, Dim d, uint32_t lanes, const char *l);   /* with `l` (or a number) for the lane symbol */

/* ---- values and lanes (cuda_values.c) ----------------------------------------------------------------------------------- */
bool cu_has_effect(const KInst *n);
void cu_count_uses(Cuda *c, const KBlock *b);               /* from the end, so that uses by dead values do not count */
bool cu_is_store(const KInst *n);                           /* to memory, or to an array shared by a block or a cluster */
const KInst *cu_stored(const KInst *store);                 /* the value before a cast that the store does itself */
Expr cu_scalar(Cuda *c, const KInst *n);
Expr cu_lane_of(Cuda *c, const KInst *n, const char *l);    /* array element, or a value that is the same in all lanes */
Expr cu_pure_expr(Cuda *c, const KInst *n, const char *l);
bool cu_is_lanewise(const KInst *n);                        /* computed lane by lane */
bool cu_is_atom(Expr e);                                    /* a literal or a name: needs no name of its own */
void cu_declare(Cuda *c, const KInst *n, Expr e);
void cu_keep_scalar(Cuda *c, const KInst *n, Expr e);       /* named if used often or long */
const char *cu_array_of(Cuda *c, const KInst *n);           /* a value that is the same in all lanes gets an array, too */
void cu_open_lanes(Cuda *c, uint32_t lanes, bool braces);   /* for (int l = 0; … */
void cu_close_lanes(Cuda *c, bool braces);
void cu_hold(Cuda *c, const KInst *n);
bool cu_in_group(const Cuda *c, const KInst *n);            /* held back and not yet printed */
void cu_flush(Cuda *c);                                     /* prints what is held back */

/* ---- control flow (cuda.c), products (cuda_gemm.c) ------------------------------------------------------------------------ */
void cu_print_block(Cuda *c, const KBlock *b);              /* leaves what is held back at the end to the caller */
void cu_print_gemm(Cuda *c);                                /* all between a kernel's shared arrays and its closing brace */
void cuda_gemm_templates(StrBuf *out, Kernel *const *k, uint32_t n);           /* the templates that these kernels are made of */

/* ---- memory (cuda_memory.c) --------------------------------------------------------------------------------------------- */
void cu_print_load(Cuda *c, const KInst *n);
void cu_print_load_raw(Cuda *c, const KInst *n);            /* eight 2-byte elements as they are: fragments of a product */
void cu_print_copy_async(Cuda *c, const KInst *n);
void cu_print_bulk_store(Cuda *c, const KInst *n);
void cu_print_store(Cuda *c, const KInst *n);
void cu_print_atomic(Cuda *c, const KInst *n);
