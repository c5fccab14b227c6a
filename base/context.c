/* base/context.c — see context.h. */
#include "base/context.h"

Context *context_new(void)
{
    Arena *arena = arena_new();
    Context *cx = arena_new_of(arena, Context);
    cx->arena = arena;
    cx->scratch = arena_new();
    cx->strs = strpool_new(arena);
    cx->dims = dimpool_new(arena, cx->strs);
    cx->diags = diags_new(arena);
    return cx;
}

void context_free(Context *cx)
{
    if (!cx)
        return;
    arena_free(cx->scratch);
    arena_free(cx->arena);         /* cx itself lives there */
}
