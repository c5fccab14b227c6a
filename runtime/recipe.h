/* runtime/recipe.h — weights that were made from parameters at compile time, made again from new ones. */
#pragma once
#include "runtime/host_code.h"

/* `out` has its type and memory. False: diagnosed, PAWL_EXIT_UNSUPPORTED where the recipe is more than a concat of parameters. */
bool recipe_fold(Diags *d, const char *recipe, const Str *params, const Tensor *const *values, uint32_t n, Tensor *out);
