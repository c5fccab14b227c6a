/* codegen/weights.h — running weight recipes. */
#pragma once
#include "codegen/codegen.h"

/* Evaluates a recipe (graph text that defines %weight over named parameters) into *out, whose data lies in `a`. False: diagnosed
 * in `d`. */
bool weight_fold(Arena *a, Diags *d, const char *recipe, const Str *params, const Tensor *const *values, uint32_t n, Tensor *out);
