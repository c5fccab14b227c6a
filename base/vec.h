/* base/vec.h — growable arrays in an arena. `Vec(Node *) todo = {0}; vec_push(arena, &todo, n);`
 * Growth doubles and leaves the old storage to the arena. Use a typedef to name one in a header. */
#pragma once
#include "base/arena.h"
#include <string.h>

#define Vec(T) struct { T *data; uint32_t n, cap; }

#define vec_reserve(arena, v, want)                                                         \
    do {                                                                                    \
        if ((v)->cap < (want)) {                                                            \
            uint32_t cap_ = (v)->cap ? (v)->cap : 8;                                        \
            while (cap_ < (want)) cap_ *= 2;                                                \
            void *p_ = arena_alloc((arena), sizeof *(v)->data * (size_t)cap_);              \
            if ((v)->n) memcpy(p_, (v)->data, sizeof *(v)->data * (size_t)(v)->n);          \
            (v)->data = p_;                                                                 \
            (v)->cap = cap_;                                                                \
        }                                                                                   \
    } while (0)

#define vec_push(arena, v, x)                                                               \
    do {                                                                                    \
        vec_reserve((arena), (v), (v)->n + 1);                                              \
        (v)->data[(v)->n++] = (x);                                                          \
    } while (0)

#define vec_pop(v)        ((v)->data[--(v)->n])
#define vec_last(v)       ((v)->data[(v)->n - 1])
/* An empty Vec may have no storage, and NULL + 0 is undefined in C. */
#define vec_foreach(T, it, v)                                                               \
    for (T *it = (v)->data, *it##_end = (v)->n ? it + (v)->n : it; it < it##_end; it++)
