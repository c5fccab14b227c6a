/* base/arena.c — a list of chunks, the newest first; allocation bumps a pointer in the newest chunk.
 *
 * Each chunk knows how many bytes stood in the chunks before it, so that arena_bytes is one addition and a mark is two
 * words. Memory is zeroed lazily: chunks come from calloc, and only the part of a chunk that was handed out before a
 * reset is cleared again. Under ASan whatever is not handed out is poisoned, with a gap after every object. */
#include "base/arena.h"
#include "base/diag.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#endif

#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION((p), (n))
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
enum { GAP = 16 };
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
enum { GAP = 0 };
#endif

enum { ALIGN = 16, FIRST_CHUNK = 16 << 10, LARGEST_CHUNK = 4 << 20 };

typedef struct Chunk {
    struct Chunk *older;
    size_t size, used;
    size_t dirty;                  /* bytes from here on are still zero from calloc */
    size_t before;                 /* bytes used in older chunks */
} Chunk;

struct Arena {
    Chunk *newest;
    size_t next_size;
};

enum { HEADER = (sizeof(Chunk) + ALIGN - 1) / ALIGN * ALIGN };

static char *chunk_data(Chunk *c) { return (char *)c + HEADER; }

_Noreturn void arena_exhausted(size_t bytes)
{
    fprintf(stderr, "pawl: out of memory: the machine has no %zu bytes more for this process; "
                    "smaller shapes, fewer workloads or a larger memory limit would do\n", bytes);
    exit(PAWL_EXIT_DEVICE);
}

static void chunk_free(Chunk *c)
{
    UNPOISON(chunk_data(c), c->size);
    free(c);
}

static void chunk_push(Arena *a, size_t need)
{
    size_t size = need > a->next_size ? need : a->next_size;
    if (size > SIZE_MAX - HEADER)
        arena_exhausted(need);
    Chunk *c = calloc(1, HEADER + size);
    if (!c)
        arena_exhausted(need);
    c->older = a->newest;
    c->size = size;
    c->before = a->newest ? a->newest->before + a->newest->used : 0;
    POISON(chunk_data(c), size);
    a->newest = c;
    if (a->next_size < LARGEST_CHUNK)
        a->next_size *= 2;
}

Arena *arena_new(void)
{
    Arena *a = calloc(1, sizeof *a);
    if (!a)
        arena_exhausted(sizeof *a);
    a->next_size = FIRST_CHUNK;
    return a;
}

void arena_free(Arena *a)
{
    if (!a)
        return;
    for (Chunk *c = a->newest, *older; c; c = older) {
        older = c->older;
        chunk_free(c);
    }
    free(a);
}

void *arena_alloc(Arena *a, size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        arena_exhausted(bytes);
    size_t need = (bytes + ALIGN - 1) / ALIGN * ALIGN + GAP;
    if (need == 0)
        need = ALIGN;              /* distinct pointers for empty objects */
    Chunk *c = a->newest;
    if (!c || c->size - c->used < need) {
        chunk_push(a, need);
        c = a->newest;
    }
    char *p = chunk_data(c) + c->used;
    UNPOISON(p, bytes);
    if (c->used < c->dirty) {
        size_t stale = c->dirty - c->used;
        memset(p, 0, stale < bytes ? stale : bytes);
    }
    c->used += need;
    if (c->dirty < c->used)
        c->dirty = c->used;
    return p;
}

void *arena_copy(Arena *a, const void *p, size_t bytes)
{
    void *q = arena_alloc(a, bytes);
    if (bytes)
        memcpy(q, p, bytes);
    return q;
}

char *arena_strndup(Arena *a, const char *s, size_t n)
{
    char *q = arena_alloc(a, n + 1);
    if (n)
        memcpy(q, s, n);
    return q;
}

char *arena_strdup(Arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

char *arena_vprintf(Arena *a, const char *fmt, va_list ap)
{
    char small[256];
    va_list again;
    va_copy(again, ap);
    int n = fmt ? vsnprintf(small, sizeof small, fmt, ap) : 0;
    if (n < 0)
        n = 0;
    char *p = arena_alloc(a, (size_t)n + 1);
    if ((size_t)n < sizeof small)
        memcpy(p, small, (size_t)n);
    else
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}

char *arena_printf(Arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *p = arena_vprintf(a, fmt, ap);
    va_end(ap);
    return p;
}

ArenaMark arena_mark(const Arena *a)
{
    return (ArenaMark){a->newest, a->newest ? a->newest->used : 0};
}

void arena_reset(Arena *a, ArenaMark m)
{
    while (a->newest != m.chunk) {
        Chunk *c = a->newest;
        /* Back to the empty mark: keep the first chunk, or a scratch arena would call malloc in every round. */
        if (!m.chunk && !c->older) {
            c->used = 0;
            POISON(chunk_data(c), c->size);
            return;
        }
        a->newest = c->older;
        chunk_free(c);
    }
    if (a->newest) {
        a->newest->used = m.used;
        POISON(chunk_data(a->newest) + m.used, a->newest->size - m.used);
    }
}

size_t arena_bytes(const Arena *a)
{
    return a->newest ? a->newest->before + a->newest->used : 0;
}
