/* runtime/recipe_internal.h — a recipe as it is read (recipe.c) and run (recipe_run.c). Private to the two. */
#pragma once
#include "runtime/recipe.h"

/* RECIPE_OP(ENUM, name in the text, operands) */
#define RECIPE_OPS(X)                                                                                                          \
    X(CONST, "const", 0) X(ABS, "abs", 1) X(NEG, "neg", 1) X(POW2_FLOOR, "pow2_floor", 1) X(ISNAN, "isnan", 1)                  \
    X(ISINF, "isinf", 1) X(NOT, "logical_not", 1) X(ADD, "add", 2) X(SUB, "sub", 2) X(MUL, "mul", 2) X(DIV, "div", 2)            \
    X(MAXIMUM, "maximum", 2) X(MINIMUM, "minimum", 2) X(EQ, "eq", 2) X(NE, "ne", 2) X(LT, "lt", 2) X(LE, "le", 2)                \
    X(GT, "gt", 2) X(GE, "ge", 2) X(AND, "logical_and", 2) X(OR, "logical_or", 2) X(WHERE, "where", 3) X(CAST, "cast", 1)        \
    X(REDUCE_MAX, "reduce_max", 1) X(REDUCE_MIN, "reduce_min", 1) X(RESHAPE, "reshape", 1) X(PERMUTE, "permute", 1)              \
    X(EXPAND, "expand", 1) X(SLICE, "slice", 1) X(PAD, "pad", 1) X(CONCAT, "concat", -1)
typedef enum {
    RECIPE_PARAM,
#define X(E, name, arity) RECIPE_##E,
    RECIPE_OPS(X)
#undef X
    RECIPE_OP_COUNT
} RecipeOp;

enum { RECIPE_PARTS = 64 };

typedef struct RecipeStep {
    const char *name; size_t name_len;
    RecipeOp op;
    Tensor type;                       /* dtype, rank, dims; data: of a parameter, or of a reduction once it is computed */
    uint32_t n_in, *in;                /* numbers of earlier steps */
    double value;                      /* const; pad: what fills */
    int64_t axis, start;               /* reduction, slice, pad (start: zeros before), concat */
    int64_t perm[TENSOR_MAX_RANK];
    uint32_t cost;                     /* steps that computing one tile of it takes, operands included */
} RecipeStep;

typedef struct Recipe { RecipeStep *step; uint32_t n; } Recipe;

/* Elements are computed as f32, in tiles of the last step; a reduction is computed whole before what reads it. */
Tensor *recipe_run(Arena *a, Recipe *r);
