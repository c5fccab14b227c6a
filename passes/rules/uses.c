/* passes/rules/uses.c — who uses a node, kept up to date while nodes are replaced.
 *
 * Each node has a chain of edges to its users; replacing a node joins its chain to the new node's in O(1). Dead users stay on
 * chains and are skipped. A node whose last use goes is dead, and so, by a worklist, are operands that only it used; a dead node that a
 * rule builds again comes back to life. All together is linear in edges made. */
#include "passes/rules/rule.h"
#include <stdlib.h>
#include <string.h>

typedef struct { Node *user; uint32_t next; } Edge;       /* 0: end of the chain */
typedef struct { uint32_t first, last, count; bool live; } NodeUse;

struct NodeUses {
    Graph *g;
    Arena *arena;
    Vec(Edge) edges;
    Vec(NodeUse) of;                                       /* by node id */
    Vec(Node *) todo;
    Vec(Node *) found;
};

static NodeUse *use_of(NodeUses *u, const Node *n)
{
    while (u->of.n <= n->id)
        vec_push(u->arena, &u->of, (NodeUse){0});
    return &u->of.data[n->id];
}

static void add_edge(NodeUses *u, const Node *n, Node *user)
{
    uint32_t at = u->edges.n;

    vec_push(u->arena, &u->edges, ((Edge){user, 0}));
    NodeUse *use = use_of(u, n);
    if (use->last)
        u->edges.data[use->last].next = at;
    else
        use->first = at;
    use->last = at;
    use->count++;
}

/* n and all that it needs come to life. */
static void revive(NodeUses *u, Node *root)
{
    u->todo.n = 0;
    vec_push(u->arena, &u->todo, root);
    while (u->todo.n) {
        Node *n = vec_pop(&u->todo);
        if (use_of(u, n)->live)
            continue;
        use_of(u, n)->live = true;
        for (uint32_t i = 0; i < n->n_in; i++) {
            Node *x = graph_resolve(u->g, n->in[i]);
            add_edge(u, x, n);
            vec_push(u->arena, &u->todo, x);
        }
    }
}

static void kill_node(NodeUses *u, Node *root)
{
    u->todo.n = 0;
    vec_push(u->arena, &u->todo, root);
    while (u->todo.n) {
        Node *n = vec_pop(&u->todo);
        use_of(u, n)->live = false;
        for (uint32_t i = 0; i < n->n_in; i++) {
            NodeUse *x = use_of(u, graph_resolve(u->g, n->in[i]));
            if (x->count && --x->count == 0)
                vec_push(u->arena, &u->todo, graph_resolve(u->g, n->in[i]));
        }
    }
}

NodeUses *uses_new(Graph *g, Arena *a)
{
    NodeUses *u = arena_new_of(a, NodeUses);

    *u = (NodeUses){.g = g, .arena = a};
    vec_push(a, &u->edges, (Edge){0});
    for (uint32_t i = 0; i < g->outputs.n; i++) {
        Node *n = graph_resolve(g, g->outputs.data[i].node);
        revive(u, n);
        use_of(u, n)->count++;
    }
    return u;
}

void uses_replace(NodeUses *u, Node *old_node, Node *new_node)
{
    revive(u, new_node);
    use_of(u, old_node);                                   /* makes its place: afterwards the table does not move */
    NodeUse *to = use_of(u, new_node), *from = use_of(u, old_node);
    if (from->first) {
        if (to->last)
            u->edges.data[to->last].next = from->first;
        else
            to->first = from->first;
        to->last = from->last;
    }
    to->count += from->count;
    *from = (NodeUse){.live = from->live};
    kill_node(u, old_node);
}

uint32_t uses_count(NodeUses *u, const Node *n) { return use_of(u, n)->count; }
bool uses_dead(const NodeUses *u, const Node *n) { return n->id >= u->of.n || !u->of.data[n->id].live; }

static int by_id(const void *a, const void *b)
{
    uint32_t x = (*(Node *const *)a)->id, y = (*(Node *const *)b)->id;
    return (x > y) - (x < y);
}

Node **uses_of(NodeUses *u, const Node *n, uint32_t *count)
{
    uint32_t kept = 0;

    u->found.n = 0;
    for (uint32_t at = use_of(u, n)->first; at; at = u->edges.data[at].next)
        if (!uses_dead(u, u->edges.data[at].user))
            vec_push(u->arena, &u->found, u->edges.data[at].user);
    if (u->found.n > 1)
        qsort(u->found.data, u->found.n, sizeof *u->found.data, by_id);
    for (uint32_t i = 0; i < u->found.n; i++)
        if (i == 0 || u->found.data[i] != u->found.data[i - 1])
            u->found.data[kept++] = u->found.data[i];
    *count = u->found.n = kept;
    return u->found.data;
}
