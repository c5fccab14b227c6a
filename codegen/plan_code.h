/* codegen/plan_code.h — code for the kernels of a plan, which are in the order of plan->kernels. False: diagnosed. */
#pragma once
#include "codegen/codegen.h"

bool plan_emit(Context *cx, Plan *plan, Kernel *const *kernels, uint32_t n, const CodegenOptions *o);
