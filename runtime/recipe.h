/* runtime/recipe.h — weights that are made from parameters: by the compiler when it writes a package, and again from new parameters
 * when a session reloads them.
 *
 * A recipe is graph text: statements over parameters, the last of which defines the weight. What is known here is what the
 * compiler's own rewrites leave: movement, exact arithmetic on floats, extremes along a dim. Anything else needs the compiler's
 * evaluator, whose bits these are. */
#pragma once
#include "base/dtype.h"
#include "base/str.h"

typedef enum {
    RECIPE_MADE,
    RECIPE_UNKNOWN,                    /* it has something that is not known here */
    RECIPE_MISFITS                     /* the parameters do not have the types that it was written for */
} RecipeResult;

/* The weight, in `a`, with several threads where it is large. values[i] belongs to params[i]. */
RecipeResult recipe_make(Arena *a, const char *recipe, const Str *params, const Tensor *const *values, uint32_t n, Tensor **out);

/* Does the recipe make the scales of a matrix in pieces (passes/split_matmul.c)? A negative one says that the pieces do not hold
 * its line: recipe_scales_hold is false then. */
bool recipe_is_scales(const char *recipe);
bool recipe_scales_hold(const Tensor *scales);
int64_t recipe_scales_bad(const Tensor *scales);      /* how many are negative */
