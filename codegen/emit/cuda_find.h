/* codegen/emit/cuda_find.h — finds CUDA's libraries and tools on this machine; reads what a cubin uses. */
#pragma once
#include "codegen/emit/emit.h"

typedef struct { const char *name; void **to; } CudaSymbol;

/* Opens the first of `names` from the file in $variable, the folders of $PAWL_CUDA_LIBS, the loader's path and /usr/local/cuda, and
 * fills the symbols. False: a sentence in `why`. */
bool cuda_library(const char *variable, const char *const *names, const CudaSymbol *symbols, size_t n, const char *what, char *why,
                  size_t cap);
/* A file below the CUDA toolkits of this machine ("bin/ptxas"), or from $variable; false when there is none. */
bool cuda_toolkit_file(const char *variable, const char *below, char *out, size_t cap);
/* Registers, spilled bytes and shared memory: the worst of a cubin's kernels, from its .nv.info sections and the log; `lost`:
 * asynchronous copies that ptxas 13.0 left a register out of, which the device refuses as illegal. */
void cubin_usage(Cubin *c);
