/* tests/runtime/map_plans.h — plans whose kernel reads its input by a tensor map, in clusters of two blocks. */
#pragma once
#include "runtime/plan.h"

/* `vpair`, of sm_90: y[R, 32] from x[R, 32], pair by pair of blocks. A block brings 8 rows of x to both blocks by a swizzled box; both
 * then make 8 rows of y: those of the first block plus twice those of the second, where rows past R count as 0. */
extern const char map_ptx[];
enum { MAP_COLUMNS = 32, MAP_ROWS = 8 /* of a block */ };

typedef struct { uint32_t steps; bool waits; int64_t rows; } MapPlan;
/* `steps` launches in a row from x over workspace to y. rows 0: R is a symbol in 1..4096. x is no pointer argument, only a map. */
Plan *map_plan(Context *cx, MapPlan o);
void  map_on_host(const float *x, float *y, int64_t rows, uint32_t steps);
