/* runtime/host_code.h — host objects, fresh from the compiler or out of a package: how they are loaded and what they may import. */
#pragma once
#include "runtime/plan.h"

typedef struct HostCode HostCode;
typedef struct HostLoader {
    HostCode *(*load)(Arena *a, Diags *d, const void *object, size_t len);
    HostKernel *(*find)(HostCode *c, const char *symbol);
    void (*unload)(HostCode *c);
} HostLoader;
extern const HostLoader host_loader_elf;
/* The only functions that generated host code may import (libm and libmvec by name); NULL when not in the table. */
void *host_import(const char *symbol);
