/* codegen/memory.c — the memory planner: buffers whose lifetimes do not meet share bytes.
 *
 * Sizes that are constants: largest first, each at the lowest offset where no buffer alive at the same time lies (the classic greedy
 * best fit by size). Symbolic sizes: buffers share slots one after the other; a slot is as large as its largest tenant. */
#include "codegen/memory.h"

#include <stdlib.h>

enum { ALIGN = 256 };

typedef struct { uint32_t buffer, first, last; int64_t size, offset; } Piece;

static int by_size(const void *a, const void *b)
{
    const Piece *x = a, *y = b;
    if (x->size != y->size)
        return x->size < y->size ? 1 : -1;
    return (x->buffer > y->buffer) - (x->buffer < y->buffer);
}

static int by_offset(const void *a, const void *b)
{
    const Piece *x = *(Piece *const *)a, *y = *(Piece *const *)b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static bool meet(const Piece *a, const Piece *b) { return a->first <= b->last && b->first <= a->last; }

static int64_t place_constant(Arena *a, Piece *p, uint32_t n)
{
    int64_t top = 0;
    qsort(p, n, sizeof *p, by_size);
    Piece **alive = arena_new_array(a, Piece *, n ? n : 1);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = 0;
        for (uint32_t j = 0; j < i; j++)
            if (meet(&p[i], &p[j]))
                alive[k++] = &p[j];
        qsort(alive, k, sizeof *alive, by_offset);
        int64_t at = 0, best = -1, best_gap = INT64_MAX;
        for (uint32_t j = 0; j < k; j++) {
            int64_t gap = alive[j]->offset - at;
            if (gap >= p[i].size && gap < best_gap) {
                best = at;
                best_gap = gap;
            }
            int64_t end = alive[j]->offset + alive[j]->size;
            at = end > at ? end : at;
        }
        p[i].offset = best >= 0 ? best : at;
        int64_t end = p[i].offset + p[i].size;
        top = end > top ? end : top;
    }
    return top;
}

static Dim place_symbolic(Context *cx, Plan *plan, const Piece *p, uint32_t n)
{
    typedef struct { Dim size; uint32_t last; } Slot;
    DimPool *d = cx->dims;
    Slot *slots = arena_new_array(cx->scratch, Slot, n ? n : 1);
    uint32_t *slot_of = arena_new_array(cx->scratch, uint32_t, n ? n : 1), n_slots = 0;
    for (uint32_t i = 0; i < n; i++) {                      /* pieces come in order of first use */
        uint32_t s = 0;
        while (s < n_slots && slots[s].last >= p[i].first)
            s++;
        Dim size = dim_align_up(d, plan->buffers.data[p[i].buffer].bytes, ALIGN);
        if (s == n_slots)
            slots[n_slots++] = (Slot){size, 0};
        slots[s].size = dim_max(d, slots[s].size, size);
        slots[s].last = p[i].last;
        slot_of[i] = s;
    }
    Dim *start = arena_new_array(cx->scratch, Dim, n_slots + 1);
    start[0] = dim_const(d, 0);
    for (uint32_t s = 0; s < n_slots; s++)
        start[s + 1] = dim_add(d, start[s], slots[s].size);
    for (uint32_t i = 0; i < n; i++)
        plan->buffers.data[p[i].buffer].offset = start[slot_of[i]];
    return start[n_slots];
}

static int by_first(const void *a, const void *b)
{
    const Piece *x = a, *y = b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return (x->buffer > y->buffer) - (x->buffer < y->buffer);
}

void memory_plan(Context *cx, Plan *plan, const uint32_t *first, const uint32_t *last)
{
    Piece *p = arena_new_array(cx->scratch, Piece, plan->buffers.n + 1);
    uint32_t n = 0;
    bool symbolic = false;
    for (uint32_t i = 0; i < plan->buffers.n; i++) {
        const PlanBuffer *f = &plan->buffers.data[i];
        if (f->kind != BUF_WORKSPACE)
            continue;
        symbolic |= !dim_is_const(f->bytes);
        int64_t size = dim_is_const(f->bytes) ? (f->bytes->value + ALIGN - 1) / ALIGN * ALIGN : 0;
        p[n++] = (Piece){i, first[i], last[i], size, 0};
    }
    if (symbolic) {
        qsort(p, n, sizeof *p, by_first);
        plan->workspace_bytes = place_symbolic(cx, plan, p, n);
        return;
    }
    int64_t top = place_constant(cx->scratch, p, n);
    for (uint32_t i = 0; i < n; i++)
        plan->buffers.data[p[i].buffer].offset = dim_const(cx->dims, p[i].offset);
    plan->workspace_bytes = dim_const(cx->dims, top);
}
