/* runtime/cuda/weights.c — weights on devices. A set belongs to a package (its image) and a device; sessions count references.
 * What several plans read is stored once in the package and lies once on the device: the key is where it is stored. */
#include "base/map.h"
#include "runtime/cuda/internal.h"
#include <pthread.h>
#include <stdlib.h>

struct WeightSet {
    WeightSet *next;
    int ordinal, references;
    const void *origin;
    Arena *arena;
    pthread_mutex_t lock;              /* sessions of several threads may upload */
    Map *at;                           /* stored bytes -> device address */
    Vec(CuPtr) blocks;
};

static struct { pthread_mutex_t lock; WeightSet *first; } sets = {.lock = PTHREAD_MUTEX_INITIALIZER};

WeightSet *weights_acquire(int ordinal, const void *origin)
{
    pthread_mutex_lock(&sets.lock);
    WeightSet *w = sets.first;
    while (w && (w->ordinal != ordinal || w->origin != origin))
        w = w->next;
    if (!w) {
        Arena *a = arena_new();
        w = arena_new_of(a, WeightSet);
        *w = (WeightSet){.next = sets.first, .ordinal = ordinal, .origin = origin, .arena = a, .at = map_new(a)};
        pthread_mutex_init(&w->lock, NULL);
        sets.first = w;
    }
    w->references++;
    pthread_mutex_unlock(&sets.lock);
    return w;
}

void weights_release(WeightSet *w, const CudaDriver *cu)
{
    if (!w)
        return;
    pthread_mutex_lock(&sets.lock);
    bool last = --w->references == 0;
    for (WeightSet **p = &sets.first; last && *p; p = &(*p)->next)
        if (*p == w) {
            *p = w->next;
            break;
        }
    pthread_mutex_unlock(&sets.lock);
    if (!last)
        return;
    for (uint32_t i = 0; i < w->blocks.n; i++)
        cu->MemFree(w->blocks.data[i]);
    pthread_mutex_destroy(&w->lock);
    arena_free(w->arena);
}

static size_t room(size_t bytes) { return (bytes + 255) / 256 * 256; }

static size_t missing_bytes(const WeightSet *w, const Plan *p)
{
    size_t total = 0;
    for (uint32_t i = 0; i < p->weights.n; i++)
        if (!map_has(w->at, (uint64_t)(uintptr_t)p->weights.data[i].data->data))
            total += room(tensor_bytes(p->weights.data[i].data));
    return total;
}

static bool upload_missing(WeightSet *w, const CudaDriver *cu, const Plan *p, CuStream s, Diags *d)
{
    size_t total = missing_bytes(w, p);
    if (total == 0)
        return true;
    CuPtr block = cuda_alloc(cu, total, "weights", d);
    if (!block)
        return false;
    vec_push(w->arena, &w->blocks, block);
    int r = CU_OK;
    for (uint32_t i = 0; i < p->weights.n && r == CU_OK; i++) {
        const Tensor *t = p->weights.data[i].data;
        uint64_t key = (uint64_t)(uintptr_t)t->data;
        if (map_has(w->at, key))
            continue;
        size_t bytes = tensor_bytes(t);
        r = bytes ? cu->MemcpyHtoDAsync(block, t->data, bytes, s) : CU_OK;
        map_set(w->at, key, block);
        block += room(bytes);
    }
    int done = cu->StreamSynchronize(s);
    return cuda_check(cu, r ? r : done, "copying weights to the device", d);
}

bool weights_upload(WeightSet *w, const CudaDriver *cu, const Plan *p, CuStream s, Diags *d)
{
    for (uint32_t i = 0; i < p->weights.n; i++)
        if (!p->weights.data[i].data)
            return diag_error(d, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "weight %s has no data", p->weights.data[i].name);
    pthread_mutex_lock(&w->lock);
    bool good = upload_missing(w, cu, p, s, d);
    pthread_mutex_unlock(&w->lock);
    return good;
}

CuPtr weights_find(WeightSet *w, const void *stored)
{
    pthread_mutex_lock(&w->lock);
    CuPtr at = map_get(w->at, (uint64_t)(uintptr_t)stored, 0);
    pthread_mutex_unlock(&w->lock);
    return at;
}
