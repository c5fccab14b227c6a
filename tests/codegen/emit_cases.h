/* tests/codegen/emit_cases.h — kernels and references shared by the tests of the three emitters. */
#pragma once
#include "codegen/emit/emit.h"

#define CASE_COUNT 2048            /* elements of an op's operands: whole blocks at every lane count */

/* May `op` be applied to operands of type t? */
bool case_valid(Op op, DType t);
uint32_t case_arity(Op op);
DType case_result(Op op, DType t);
DType case_operand(Op op, DType t, uint32_t i);

/* y[i] = op(a[i], b[i], c[i]) for CASE_COUNT elements. Buffers: operands, then y. */
Kernel *case_op(Context *cx, const char *name, Op op, DType t, uint32_t lanes, bool host, uint32_t threads);
/* y[i] = cast(a[i]) */
Kernel *case_cast(Context *cx, const char *name, DType from, DType to, uint32_t lanes, bool host, uint32_t threads);

/* Operand i of `op`: special values first, then numbers of all magnitudes. */
void case_fill(Op op, DType t, uint32_t i, void *data, uint32_t n);
void case_fill_cast(DType from, DType to, void *data, uint32_t n);

/* Largest error in ulp of the result over all elements (0 or 1000 for what must be exact), and where. NaN equals NaN; an infinity
 * may stand for a number within an ulp of overflow. `exact`: report 1000 for any difference. */
typedef struct { double ulp; uint32_t at; double want, got; } CaseError;
CaseError case_check(Op op, DType t, const void *const *in, const void *out, uint32_t n);
CaseError case_check_cast(DType from, DType to, const void *in, const void *out, uint32_t n);
/* What is allowed: the type's rounding after the op, or libm's error for fp32 and fp64. */
double case_limit(Op op, DType t);

/* A handful of kernels of the shapes that kinds build; the same list is the goldens' list. */
typedef struct { const char *name; Kernel *(*build)(Context *cx, bool host); } CaseKernel;
extern const CaseKernel case_kernels[];
extern const uint32_t n_case_kernels;
/* Runs build(cx, host)'s meaning on doubles: fills `want` (the last buffer's elements) from inputs that case_kernel_fill made. */
uint32_t case_kernel_buffers(uint32_t which, DType *types, uint32_t *counts);      /* number of buffers; the last is the output */
void case_kernel_fill(uint32_t which, uint32_t buffer, void *data);
void case_kernel_want(uint32_t which, const void *const *in, double *want);
void case_kernel_grid(uint32_t which, bool host, uint32_t grid[3], uint32_t *threads);
