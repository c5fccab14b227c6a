/* base/arena.h — growable arenas: one per lifetime (graph, pass, candidate, session).
 * Memory comes zeroed and 16-byte aligned; it is freed all at once or back to a mark.
 * Out of memory ends the process with a message and PAWL_EXIT_DEVICE: no caller has to check. */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Arena Arena;
typedef struct { void *chunk; size_t used; } ArenaMark;

Arena *arena_new(void);
void   arena_free(Arena *a);                        /* NULL is allowed */
void  *arena_alloc(Arena *a, size_t bytes);         /* never NULL; zeroed */
void  *arena_copy(Arena *a, const void *p, size_t bytes);
char  *arena_strdup(Arena *a, const char *s);
char  *arena_strndup(Arena *a, const char *s, size_t n);
char  *arena_printf(Arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char  *arena_vprintf(Arena *a, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
ArenaMark arena_mark(const Arena *a);               /* scratch: begin … */
void   arena_reset(Arena *a, ArenaMark m);          /* … and end; poisoned under ASan */
size_t arena_bytes(const Arena *a);                 /* bytes handed out so far */
_Noreturn void arena_exhausted(size_t bytes);       /* how the process ends without memory; also for who calls malloc */

#define arena_new_array(a, T, n) ((T *)arena_alloc((a), sizeof(T) * (size_t)(n)))
#define arena_new_of(a, T)       ((T *)arena_alloc((a), sizeof(T)))
