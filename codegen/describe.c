/* codegen/describe.c — groups in graph text, with canonical names: what explain shows, what emitted code carries as its head
 * comment, and the problem's identity in the tuning database. */
#include "codegen/group.h"

void attr_print(StrBuf *b, const Attr *a)
{
    strbuf_printf(b, ", %s=", attr_table[a->key].name);
    switch (attr_table[a->key].kind) {
    case AK_INT:   strbuf_printf(b, "%lld", (long long)a->i); break;
    case AK_FLOAT: strbuf_double(b, a->f); break;
    case AK_DIM:   dim_print(b, a->dim); break;
    case AK_STR:   strbuf_add(b, a->s); break;
    case AK_DTYPE: strbuf_add(b, dtype_name(a->dtype)); break;
    case AK_DIMS: case AK_INTS:
        strbuf_add(b, "[");
        for (uint32_t i = 0; i < a->n; i++) {
            strbuf_add(b, i ? ", " : "");
            if (attr_table[a->key].kind == AK_DIMS)
                dim_print(b, a->dims[i]);
            else
                strbuf_printf(b, "%lld", (long long)a->ints[i]);
        }
        strbuf_add(b, "]");
        break;
    }
}

static void print_node(StrBuf *b, Map *names, const Node *n)
{
    strbuf_printf(b, "%%%u = %s(", (unsigned)map_get(names, n->id, 0), op_name(n->op));
    for (uint32_t i = 0; i < n->n_in; i++) {
        double literal;
        if (n->in[i]->op == OP_CONST && node_literal(n->in[i], &literal)) {
            strbuf_add(b, i ? ", " : "");
            strbuf_double(b, literal);
        } else {
            strbuf_printf(b, "%s%%%u", i ? ", " : "", (unsigned)map_get(names, n->in[i]->id, 0));
        }
    }
    for (uint32_t i = 0; i < n->n_attrs; i++)
        attr_print(b, &n->attrs[i]);
    strbuf_add(b, ") : ");
    type_print(b, &n->type);
    strbuf_char(b, '\n');
}

void group_describe(Context *cx, Group *g)
{
    StrBuf b = strbuf_new(cx->arena);
    Map *names = map_new(cx->scratch);
    uint32_t next = 0;
    for (uint32_t i = 0; i < g->inputs.n; i++) {
        map_set(names, g->inputs.data[i]->id, next);
        strbuf_printf(&b, "input %%%u : ", next++);
        type_print(&b, &g->inputs.data[i]->type);
        strbuf_char(&b, '\n');
    }
    for (uint32_t i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.data[i];
        map_set(names, n->id, next++);
        if (n->op != OP_CONST)
            print_node(&b, names, n);
    }
    strbuf_add(&b, "return ");
    for (uint32_t i = 0; i < g->outputs.n; i++)
        strbuf_printf(&b, "%s%%%u", i ? ", " : "", (unsigned)map_get(names, g->outputs.data[i].node->id, 0));
    g->text = b.text;
    g->key = hash_bytes(b.text, b.len, 0);
}
