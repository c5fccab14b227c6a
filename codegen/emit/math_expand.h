/* codegen/emit/math_expand.h — fp32 functions as LLVM IR, for targets without a math library. */
#pragma once
#include "codegen/emit/llvm_common.h"

/* 2^f for |f| <= 1/2 (a little more may come), to about 2^-22. */
typedef LLVMValueRef Exp2Fraction(Llvm *L, LLVMValueRef f, uint32_t lanes);

/* `op` on fp32 vectors, in straight-line code; errors are listed in math_expand.c. */
LLVMValueRef math_expand(Llvm *L, Op op, LLVMValueRef *args, uint32_t lanes, Exp2Fraction *exp2_fraction);
/* A polynomial for 2^f, where there is no instruction. */
LLVMValueRef math_exp2_polynomial(Llvm *L, LLVMValueRef f, uint32_t lanes);
