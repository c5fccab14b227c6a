/* runtime/sim/host_matmul.h — a library step's product, by plain loops. */
#pragma once
#include "runtime/plan.h"

/* D = epilogue(op(A) op(B) + C) with fp32 accumulation (fp64 for f64); pointers by buffer. */
void host_matmul(const PlanMatmul *m, const BoundMatmul *b, void *const *pointers);
