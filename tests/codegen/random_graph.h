/* tests/codegen/random_graph.h — random well-typed graphs in graph text, and their reduction to what still fails.
 *
 * A value carries bounds, whether it is exact in every domain (inputs, integers, comparisons of such), and how often it was rounded
 * to a narrow dtype. Functions are called where they are well conditioned, what jumps (comparisons, argmax, rounding, casts to
 * integers) reads exact values only, and narrow values end after a few roundings: so that the acceptance rule can be held to. */
#pragma once
#include "base/arena.h"
#include <stdbool.h>
#include <stdint.h>

enum { RANDOM_LINES = 96, RANDOM_OUTPUTS = 6 };

typedef struct { char name[8]; const char *text, *as_input; bool is_input; } RandomLine;   /* a declaration or a statement */
typedef struct RandomGraph {
    Arena *arena;
    RandomLine line[RANDOM_LINES];
    uint32_t n;
    char output[RANDOM_OUTPUTS][8];
    uint32_t n_out;
    bool symbolic;                        /* has `dim S in [lo, hi]` */
    int64_t lo, hi, at[3];                /* values of S to run at */
} RandomGraph;

RandomGraph random_graph(Arena *a, uint64_t seed);
/* The text; weights as inputs where `inputs_only`. */
char *random_graph_text(Arena *a, const RandomGraph *g, bool inputs_only);

/* The smallest graph found for which `fails` still holds. */
RandomGraph random_graph_shrink(const RandomGraph *g, bool (*fails)(void *arg, const RandomGraph *g), void *arg);
