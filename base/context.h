/* base/context.h — what everything hangs off: memory, names, dims, diagnostics. One per compilation; used by one thread
 * at a time. */
#pragma once
#include "base/arena.h"
#include "base/diag.h"
#include "base/dim.h"
#include "base/str.h"

enum { CONTEXT_SLOTS = 4 };        /* a room numbers its own in a header of its own */

typedef struct Context {
    Arena   *arena;                /* lives as long as the context */
    Arena   *scratch;              /* reset between stages */
    StrPool *strs;
    DimPool *dims;
    Diags   *diags;
    struct Map *arenas;            /* arenas that are still open: see context_arena_new */
    void    *slots[CONTEXT_SLOTS]; /* what other rooms make once a context, in its arena; NULL: not yet */
} Context;

Context *context_new(void);
void     context_free(Context *cx);
/* An arena for what lives shorter than the context, such as a graph: freed by context_arena_free, or else with the context. */
Arena   *context_arena_new(Context *cx);
void     context_arena_free(Context *cx, Arena *a);
