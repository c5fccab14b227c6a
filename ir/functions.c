/* ir/functions.c — the composites of functions.graph, by name and number of operands. */
#include "ir/text_build.h"
#include <string.h>

extern const char ir_functions_graph[];
extern const unsigned ir_functions_graph_len;

struct Functions { TextFunc *f; uint32_t n; Map *first; StrPool *strs; };   /* first: Str -> index + 1 of the first so called */

static Functions *parse_functions(Context *cx)
{
    Functions *fs = arena_new_of(cx->arena, Functions);
    Source *s = arena_new_of(cx->arena, Source);
    TextGraph *graphs;
    uint32_t n_graphs;

    *s = (Source){"functions.graph", ir_functions_graph, ir_functions_graph_len, 1, 1, 0};
    bool ok = text_parse_items(cx, s, &fs->f, &fs->n, &graphs, &n_graphs);
    pawl_assert(ok, "%s", diag_format(cx->arena, diags_at(cx->diags, diags_count(cx->diags) - 1)));
    fs->first = map_new(cx->arena);
    fs->strs = cx->strs;
    for (uint32_t i = 0; i < fs->n; i++)
        if (!map_has(fs->first, (uintptr_t)fs->f[i].name))
            map_set(fs->first, (uintptr_t)fs->f[i].name, i + 1);
    return fs;
}

Functions *functions_builtin(Context *cx)
{
    void **slot = &cx->slots[CONTEXT_SLOT_FUNCTIONS];

    if (!*slot)
        *slot = parse_functions(cx);
    return *slot;
}

static uint32_t first_called(const Functions *f, const char *name)
{
    return (uint32_t)map_get(f->first, (uintptr_t)str_intern(f->strs, name), 0);
}

bool function_named(const Functions *f, const char *name) { return f && first_called(f, name) != 0; }

const TextFunc *function_find(const Functions *f, const char *name, uint32_t n_operands)
{
    uint32_t first = first_called(f, name);

    for (uint32_t i = first ? first - 1 : f->n; i < f->n; i++)
        if (f->f[i].n_params == n_operands && strcmp(f->f[i].name, name) == 0)
            return &f->f[i];
    return NULL;
}

uint32_t functions_count(const Functions *f) { return f->n; }
const TextFunc *function_at(const Functions *f, uint32_t i) { return &f->f[i]; }
