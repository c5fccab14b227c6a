/* runtime/host_buffers.c — see host_buffers.h. */
#include "runtime/host_buffers.h"
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 256, ROUND = 64 /* vectors may be loaded whole past the last element */ };

static void *new_bytes(size_t bytes)
{
    void *p = NULL;
    return bytes <= SIZE_MAX - ALIGN && posix_memalign(&p, ALIGN, (bytes + ROUND) / ROUND * ROUND) == 0 ? p : NULL;
}

void host_buffers_free(HostBuffers *h)
{
    free(h->workspace.at);
    vec_foreach(HostBlock, b, &h->stages)
        free(b->at);
    vec_foreach(HostWeight, w, &h->replaced)
        free(w->bytes);
}

void *host_block(HostBlock *b, size_t bytes, const char *what, Diags *d)
{
    if (b->at && b->bytes >= bytes)
        return b->at;
    free(b->at);
    b->at = new_bytes(bytes);
    b->bytes = b->at ? bytes : 0;
    if (!b->at)
        diag_error(d, PAWL_EXIT_DEVICE, LOC_NONE, "run smaller shapes, or on a machine with more memory", "no memory for %zu bytes of %s",
                   bytes, what);
    return b->at;
}

void *host_stage(HostBuffers *h, uint32_t slot, size_t bytes, Diags *d)
{
    while (slot >= h->stages.n)
        vec_push(h->arena, &h->stages, ((HostBlock){0}));
    return host_block(&h->stages.data[slot], bytes, "staging memory", d);
}

void *host_weight(const HostBuffers *h, const void *stored)
{
    vec_foreach(HostWeight, w, &h->replaced)
        if (w->stored == stored)
            return w->bytes;
    return (void *)(uintptr_t)stored;
}

bool host_replace_weight(HostBuffers *h, const Plan *p, uint32_t weight, const void *data, size_t bytes, Diags *d)
{
    if (weight >= p->weights.n || bytes != tensor_bytes(p->weights.data[weight].data))
        return diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, NULL, "weight %u: %zu bytes are not its size", weight, bytes);
    const void *stored = p->weights.data[weight].data->data;
    void *now = host_weight(h, stored);
    if (now == stored) {
        now = host_alloc(NULL, bytes, d);
        if (!now)
            return false;
        vec_push(h->arena, &h->replaced, ((HostWeight){stored, now}));
    }
    if (bytes)
        memcpy(now, data, bytes);
    return true;
}

void *host_alloc(ExecDevice *v, size_t bytes, Diags *d)
{
    void *p = new_bytes(bytes);
    (void)v;
    if (!p)
        diag_error(d, PAWL_EXIT_DEVICE, LOC_NONE, NULL, "no memory for %zu bytes", bytes);
    return p;
}

void host_release(ExecDevice *v, void *p)
{
    (void)v;
    free(p);
}

bool host_move(ExecDevice *v, void *to, const void *from, size_t bytes, void *stream, Diags *d)
{
    (void)v, (void)stream, (void)d;
    if (bytes)
        memmove(to, from, bytes);
    return true;
}

bool host_synchronize(ExecDevice *v, void *stream, Diags *d)
{
    (void)v, (void)stream, (void)d;
    return true;
}
