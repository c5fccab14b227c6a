/* runtime/host_code.h — what the compiler's library lends to the runtime, and the other way round: how fresh host objects are
 * loaded, what they may import, how weights are folded again. */
#pragma once
#include "runtime/plan.h"

/* The compiler's library may register a loader for fresh host objects (LLVM ORC); without one the small ELF loader serves. */
typedef struct HostCode HostCode;
typedef struct HostLoader {
    HostCode *(*load)(Arena *a, Diags *d, const void *object, size_t len);
    HostKernel *(*find)(HostCode *c, const char *symbol);
    void (*unload)(HostCode *c);
} HostLoader;
extern const HostLoader host_loader_elf;
void host_loader_set(const HostLoader *l);         /* before the first session; process-wide, so only the CLI calls it */
/* The only functions that generated host code may import (libm and libmvec by name); NULL when not in the table. */
void *host_import(const char *symbol);

/* Weights made from several parameters (PlanWeight.recipe) are made again when those are reloaded. The runtime knows `concat` of
 * parameters; the compiler's library may register its evaluator for the rest. Process-wide, set before the first session. */
typedef bool RecipeFold(Arena *a, Diags *d, const char *recipe, const Str *params, const Tensor *const *values, uint32_t n, Tensor *out);
void recipe_fold_set(RecipeFold *fold);
