/* base/map.h — open-addressing hash map from 64-bit keys (pointers, ids, hashes) to 64-bit values,
 * and the hash functions used everywhere (xxHash). Iteration order is insertion order: output is stable. */
#pragma once
#include "base/arena.h"
#include <stdbool.h>

typedef struct Map Map;

Map     *map_new(Arena *a);
bool     map_has(const Map *m, uint64_t key);
uint64_t map_get(const Map *m, uint64_t key, uint64_t otherwise);
void    *map_get_ptr(const Map *m, const void *key);                 /* NULL when absent */
bool     map_set(Map *m, uint64_t key, uint64_t value);              /* true: key is new */
bool     map_set_ptr(Map *m, const void *key, const void *value);
bool     map_remove(Map *m, uint64_t key);
void     map_clear(Map *m);
uint32_t map_count(const Map *m);
/* i-th live entry in insertion order; false past the end. The first call after a removal compacts the map. */
bool     map_entry(const Map *m, uint32_t i, uint64_t *key, uint64_t *value);

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed);
uint64_t hash_str(const char *s);
static inline uint64_t hash_mix(uint64_t h, uint64_t x)
{
    h ^= x + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
    h *= 0xff51afd7ed558ccdu;
    return h ^ (h >> 32);
}

/* A set of structurally compared objects: hash-consing. `equal` compares two objects. */
typedef struct InternTable InternTable;
InternTable *intern_new(Arena *a, bool (*equal)(const void *, const void *));
const void  *intern_find(const InternTable *t, uint64_t hash, const void *probe);   /* NULL when absent */
void         intern_add(InternTable *t, uint64_t hash, const void *object);
