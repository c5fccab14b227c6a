/* tests/ir/fixture.h — what the tests of the graph share: a context a test, graphs from text, messages as text. */
#pragma once
#include "base/file.h"
#include "ir/import/task.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static inline int setup_context(void **state) { *state = context_new(); return 0; }
static inline int teardown_context(void **state) { context_free(*state); return 0; }
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_context, teardown_context)

/* Every diagnostic, as the user sees it. */
static inline const char *messages(Context *cx)
{
    StrBuf b = strbuf_new(cx->arena);
    for (uint32_t i = 0; i < diags_count(cx->diags); i++)
        strbuf_add(&b, diag_format(cx->arena, diags_at(cx->diags, i)));
    return b.len ? b.text : "";
}

static inline Graph *try_parse(Context *cx, const char *text)
{
    return graph_parse(cx, source_from_text(cx->arena, "test.graph", text));
}

static inline Graph *parse(Context *cx, const char *text)
{
    Graph *g = try_parse(cx, text);
    if (!g)
        fail_msg("%s", messages(cx));
    if (!graph_verify(g, cx->diags))
        fail_msg("%s", messages(cx));
    return g;
}

/* The first message of text that must be refused. */
static inline const char *refusal(Context *cx, const char *text)
{
    diags_clear(cx->diags);
    Graph *g = try_parse(cx, text);
    if (g)
        fail_msg("accepted:\n%s", graph_text(cx->arena, g));
    assert_true(diags_failed(cx->diags));
    return diags_at(cx->diags, 0)->text;
}

static inline Node *output(const Graph *g, const char *name)
{
    for (uint32_t i = 0; i < g->outputs.n; i++)
        if (strcmp(g->outputs.data[i].name, name) == 0)
            return g->outputs.data[i].node;
    fail_msg("no output %s", name);
    return NULL;
}

static inline const char *type_of(Context *cx, const Node *n)
{
    StrBuf b = strbuf_new(cx->arena);
    type_print(&b, &n->type);
    return b.text;
}

static inline Type type_f32(Context *cx, int64_t rows, int64_t cols)
{
    return (Type){DT_F32, {2, {dim_const(cx->dims, rows), dim_const(cx->dims, cols)}}};
}
