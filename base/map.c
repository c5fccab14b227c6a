/* base/map.c — open addressing with linear probing over an index into an array of entries in insertion order
 * (the layout of Python's dict, after Hettinger 2012).
 *
 * `slots` holds entry numbers plus one, 0 for free. A removed entry keeps its slot and loses `live`; the entries are
 * compacted when the index is rebuilt. hash_bytes is XXH3 (https://github.com/Cyan4973/xxHash), inlined from its header. */
#include "base/map.h"
#include "base/vec.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

typedef struct { uint64_t key, value; bool live; } Entry;

struct Map {
    Arena    *arena;
    Entry    *entries;
    uint32_t *slots;
    uint32_t  n_entries, n_live, cap_entries, n_slots;
};

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(p, n, seed);
}

uint64_t hash_str(const char *s)
{
    return hash_bytes(s, strlen(s), 0);
}

static uint64_t spread(uint64_t key)                     /* the finaliser of MurmurHash3 */
{
    key ^= key >> 33;
    key *= 0xff51afd7ed558ccdu;
    key ^= key >> 33;
    key *= 0xc4ceb9fe1a85ec53u;
    return key ^ (key >> 33);
}

Map *map_new(Arena *a)
{
    Map *m = arena_new_of(a, Map);
    m->arena = a;
    return m;
}

static Entry *map_find(const Map *m, uint64_t key)
{
    if (!m->n_slots)
        return NULL;
    uint32_t mask = m->n_slots - 1;
    for (uint32_t s = (uint32_t)spread(key) & mask; m->slots[s]; s = (s + 1) & mask) {
        Entry *e = &m->entries[m->slots[s] - 1];
        if (e->live && e->key == key)
            return e;
    }
    return NULL;
}

static void slots_fill(Map *m)
{
    uint32_t mask = m->n_slots - 1;
    memset(m->slots, 0, sizeof *m->slots * m->n_slots);
    for (uint32_t i = 0; i < m->n_entries; i++) {
        uint32_t s = (uint32_t)spread(m->entries[i].key) & mask;
        while (m->slots[s])
            s = (s + 1) & mask;
        m->slots[s] = i + 1;
    }
}

static void map_compact(Map *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_entries; i++)
        if (m->entries[i].live)
            m->entries[n++] = m->entries[i];
    m->n_entries = n;
    slots_fill(m);
}

/* Room for one more entry: half of it may be dead ones, then no memory is needed. */
static void map_grow(Map *m)
{
    if (m->n_live < m->n_entries && m->n_live <= m->cap_entries / 2) {
        map_compact(m);
        return;
    }
    uint32_t cap = m->cap_entries ? m->cap_entries * 2 : 8;
    Entry *entries = arena_new_array(m->arena, Entry, cap);
    if (m->n_entries)
        memcpy(entries, m->entries, sizeof *entries * m->n_entries);
    m->entries = entries;
    m->cap_entries = cap;
    m->n_slots = cap * 2;
    m->slots = arena_new_array(m->arena, uint32_t, m->n_slots);
    map_compact(m);
}

bool map_has(const Map *m, uint64_t key)
{
    return map_find(m, key) != NULL;
}

uint64_t map_get(const Map *m, uint64_t key, uint64_t otherwise)
{
    const Entry *e = map_find(m, key);
    return e ? e->value : otherwise;
}

void *map_get_ptr(const Map *m, const void *key)
{
    return (void *)(uintptr_t)map_get(m, (uint64_t)(uintptr_t)key, 0);
}

bool map_set(Map *m, uint64_t key, uint64_t value)
{
    Entry *e = map_find(m, key);
    if (e) {
        e->value = value;
        return false;
    }
    if (m->n_entries == m->cap_entries)
        map_grow(m);
    uint32_t mask = m->n_slots - 1, s = (uint32_t)spread(key) & mask;
    while (m->slots[s])
        s = (s + 1) & mask;
    m->entries[m->n_entries++] = (Entry){key, value, true};
    m->slots[s] = m->n_entries;
    m->n_live++;
    return true;
}

bool map_set_ptr(Map *m, const void *key, const void *value)
{
    return map_set(m, (uint64_t)(uintptr_t)key, (uint64_t)(uintptr_t)value);
}

bool map_remove(Map *m, uint64_t key)
{
    Entry *e = map_find(m, key);
    if (!e)
        return false;
    e->live = false;
    m->n_live--;
    return true;
}

void map_clear(Map *m)
{
    m->n_entries = m->n_live = 0;
    if (m->n_slots)
        memset(m->slots, 0, sizeof *m->slots * m->n_slots);
}

uint32_t map_count(const Map *m)
{
    return m->n_live;
}

bool map_entry(const Map *m, uint32_t i, uint64_t *key, uint64_t *value)
{
    if (i >= m->n_live)
        return false;
    if (m->n_live < m->n_entries)
        map_compact((Map *)(uintptr_t)m);    /* every map lives in an arena, never in constant memory */
    if (key)
        *key = m->entries[i].key;
    if (value)
        *value = m->entries[i].value;
    return true;
}

typedef struct { uint64_t hash; const void *object; } InternSlot;

struct InternTable {
    Arena      *arena;
    InternSlot *slots;
    uint32_t    n, n_slots;
    bool      (*equal)(const void *, const void *);
};

InternTable *intern_new(Arena *a, bool (*equal)(const void *, const void *))
{
    InternTable *t = arena_new_of(a, InternTable);
    t->arena = a;
    t->equal = equal;
    return t;
}

const void *intern_find(const InternTable *t, uint64_t hash, const void *probe)
{
    if (!t->n_slots)
        return NULL;
    uint32_t mask = t->n_slots - 1;
    for (uint32_t s = (uint32_t)spread(hash) & mask; t->slots[s].object; s = (s + 1) & mask)
        if (t->slots[s].hash == hash && t->equal(probe, t->slots[s].object))
            return t->slots[s].object;
    return NULL;
}

static void intern_place(InternTable *t, InternSlot x)
{
    uint32_t mask = t->n_slots - 1, s = (uint32_t)spread(x.hash) & mask;
    while (t->slots[s].object)
        s = (s + 1) & mask;
    t->slots[s] = x;
}

void intern_add(InternTable *t, uint64_t hash, const void *object)
{
    if ((t->n + 1) * 4 > t->n_slots * 3) {
        InternSlot *old = t->slots;
        uint32_t n_old = t->n_slots;
        t->n_slots = n_old ? n_old * 2 : 32;
        t->slots = arena_new_array(t->arena, InternSlot, t->n_slots);
        for (uint32_t i = 0; i < n_old; i++)
            if (old[i].object)
                intern_place(t, old[i]);
    }
    intern_place(t, (InternSlot){hash, object});
    t->n++;
}
