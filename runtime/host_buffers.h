/* runtime/host_buffers.h — memory of the executors whose device is the host (cpu, sim): what they hand out, workspace, staging, weights
 * that a session has replaced. */
#pragma once
#include "runtime/executor.h"

typedef struct { void *at; size_t bytes; } HostBlock;
/* A weight replaced after opening: keyed by where it is stored, since several plans may read it. */
typedef struct { const void *stored; void *bytes; } HostWeight;
typedef struct { Arena *arena; HostBlock workspace; Vec(HostBlock) stages; Vec(HostWeight) replaced; } HostBuffers;

void  host_buffers_free(HostBuffers *h);           /* the memory; the arena is the caller's */
/* At least so many bytes, 256-byte aligned; a block that must grow loses its content. NULL: diagnosed, `what` it was for. */
void *host_block(HostBlock *b, size_t bytes, const char *what, Diags *d);
void *host_stage(HostBuffers *h, uint32_t slot, size_t bytes, Diags *d);
void *host_weight(const HostBuffers *h, const void *stored);           /* as replaced, or as stored */
bool  host_replace_weight(HostBuffers *h, const Plan *p, uint32_t weight, const void *data, size_t bytes, Diags *d);

/* ExecutorOps that need no device. */
void *host_alloc(ExecDevice *v, size_t bytes, Diags *d);
void  host_release(ExecDevice *v, void *p);
bool  host_move(ExecDevice *v, void *to, const void *from, size_t bytes, void *stream, Diags *d);
bool  host_synchronize(ExecDevice *v, void *stream, Diags *d);
