/* ir/graph_private.h — the intern table's view of nodes. Private to ir/graph*.c. */
#pragma once
#include "ir/graph.h"

InternTable *node_intern_table(Arena *a);
uint64_t     node_hash(const Node *n);
