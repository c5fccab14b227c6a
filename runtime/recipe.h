/* runtime/recipe.h — weights that were made from parameters at compile time, made again from new ones. */
#pragma once
#include "runtime/host_code.h"

/* `out` has its type and memory. false: diagnosed. */
bool recipe_fold(Arena *a, Diags *d, const char *recipe, const Str *params, const Tensor *const *values, uint32_t n, Tensor *out);
