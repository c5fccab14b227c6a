/* base/context.h — what everything hangs off: memory, names, dims, diagnostics. One per compilation; used by one thread
 * at a time. */
#pragma once
#include "base/arena.h"
#include "base/diag.h"
#include "base/dim.h"
#include "base/str.h"

typedef struct Context {
    Arena   *arena;                /* lives as long as the context */
    Arena   *scratch;              /* reset between stages */
    StrPool *strs;
    DimPool *dims;
    Diags   *diags;
} Context;

Context *context_new(void);
void     context_free(Context *cx);
