/* base/context.c — see context.h. */
#include "base/context.h"
#include "base/map.h"

Context *context_new(void)
{
    Arena *arena = arena_new();
    Context *cx = arena_new_of(arena, Context);
    cx->arena = arena;
    cx->scratch = arena_new();
    cx->strs = strpool_new(arena);
    cx->dims = dimpool_new(arena, cx->strs);
    cx->diags = diags_new(arena);
    cx->arenas = map_new(arena);
    return cx;
}

void context_free(Context *cx)
{
    if (!cx)
        return;
    uint64_t key, value;
    for (uint32_t i = 0; map_entry(cx->arenas, i, &key, &value); i++)
        arena_free((Arena *)(uintptr_t)key);
    arena_free(cx->scratch);
    arena_free(cx->arena);         /* cx itself lives there */
}

Arena *context_arena_new(Context *cx)
{
    Arena *a = arena_new();
    map_set_ptr(cx->arenas, a, a);
    return a;
}

void context_arena_free(Context *cx, Arena *a)
{
    map_remove(cx->arenas, (uintptr_t)a);
    arena_free(a);
}
