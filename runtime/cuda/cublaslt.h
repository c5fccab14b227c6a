/* runtime/cuda/cublaslt.h — matrix products by cuBLASLt, loaded at run time; its heuristics as a numbered list. */
#pragma once
#include "runtime/cuda/driver.h"
#include "runtime/plan.h"

typedef struct CublasLt CublasLt;                  /* a device's handle and what it has been asked before; process-wide */
typedef struct CublasMatmul CublasMatmul;          /* one product, ready to run: descriptors, layouts, algorithm */

/* The context of device `ordinal` must be current in all that follows. NULL: diagnosed. */
CublasLt *cublaslt_handle(int ordinal, Diags *d);
/* bias_type: element type of the bias buffer, DT_NONE without one. NULL: diagnosed. Freed with cublaslt_release. */
CublasMatmul *cublaslt_prepare(CublasLt *lt, Arena *a, const PlanMatmul *m, const BoundMatmul *sizes, DType bias_type, Diags *d);
void   cublaslt_release(CublasMatmul *p);
size_t cublaslt_workspace(const CublasMatmul *p);  /* bytes that its algorithm needs */
/* Operands point to the buffers' starts; offsets are added here. c, bias, workspace may be 0. */
typedef struct { CuPtr a, b, c, d, bias, workspace; size_t workspace_bytes; } CublasOperands;
bool   cublaslt_run(CublasMatmul *p, const CublasOperands *o, CuStream stream, Diags *d);

/* What the library proposes for a product, best first, as text to look at; index = PlanMatmul.algorithm. -1: diagnosed. */
typedef struct { char text[112]; size_t workspace_bytes; float waves; } CublasAlgorithm;
int cublaslt_algorithms(int ordinal, const PlanMatmul *m, const BoundMatmul *sizes, DType bias_type, CublasAlgorithm *out, int max, Diags *d);
size_t cublaslt_version(void);                     /* 130100 …; 0 when not loaded */
/* Where the functions come from instead of the library; see cuda_driver_set_source. */
void cublaslt_set_source(void *(*find)(const char *symbol));
