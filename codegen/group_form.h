/* codegen/group_form.h — the groups under way, as the files that form them share them: group.c walks the nodes and decides,
 * group_facts.c knows what can be said of them beforehand, group_merge.c makes one group of two, group_near.c keeps what is made of
 * a product beside it, group_share.c lets several groups have one product, group_finish.c orders the result. */
#pragma once
#include "codegen/group.h"
#include "codegen/kind.h"

enum { MAX_AT = 4, MAX_VISITS = 8, GROUP_MAX_NODES = 256, CYCLE_SEARCH = 4096, CHEAP_OPS = 24, MAX_INDEX = 64, MAX_STORED = 32 };

typedef struct Build {
    Group *g;
    struct Build *into;                   /* merged, or with another domain */
    Dim as[MAX_RANK];                     /* then: its own symbols over those of that group */
    uint32_t n_nodes;
    bool closed;                          /* takes in nothing more (scans) */
} Build;

typedef struct { Build *b; uint32_t n_at; Index at[MAX_AT]; bool many; } Visit;

typedef struct Former {
    Context *cx;
    DimPool *p;
    Arena *a;
    const Graph *graph;
    const CodegenOptions *o;
    bool *frozen, *literal, *must;
    uint32_t *product;                    /* 1 + id of the youngest product among a node and its ancestors; 0: none */
    bool *near_product;                   /* made of that one, which any epilogue may follow, by elements or by short reductions */
    float *cost;                          /* operations to recompute an element from memory */
    Vec(Visit) *visits;
    Build **home;                         /* group that stores the node; NULL while not materialised */
    Vec(Build *) builds;
} Former;

static inline Build *build_of(Build *b)
{
    while (b->into)
        b = b->into;
    return b;
}

static inline bool same_index(const Index *a, const Index *b, uint32_t rank) { return !memcmp(a->d, b->d, rank * sizeof(Dim)); }

/* group_facts.c */
enum { LONGEST_PIECE = 128 };
void  group_facts(Former *f, Node **order, uint32_t n);
float group_op_cost(const Node *n);
bool  group_from_memory(const Former *f, const Node *n);

/* group.c */
const char *group_refused(Former *f, Build *b, Node *n, const Visit *v);      /* why `b` cannot take `n` in; NULL: it can */
void group_join(Former *f, Build *b, Node *n, const Visit *v);
bool group_cheap_to_recompute(const Former *f, const Node *n);

/* group_merge.c */
/* Does anything that `b` reads from memory depend on node `n` (which `b` would store)? On what `on` stores? */
bool group_reads_from(Former *f, Build *b, const Node *n);
bool group_depends(Former *f, Build *b, Build *on);
/* Siblings of one domain become one group: what they share is read once. */
bool group_merge(Former *f, Build *a, Build *b);
/* The groups that read reduction `n` along its rows and those with an element a row become one, where they can. */
void group_merge_rows(Former *f, Node *n);
/* Two dims where the only reader of `n` has one: see there. */
void group_split_domain(Former *f, Node *n);
/* The visits of groups that became one, as one over the surviving group's symbols; how many are left. */
uint32_t group_settle_visits(Former *f, Node *n);
/* Dims of the domain that are longer than 1. */
bool group_turns(const Group *g, const Node *n, uint32_t mask);
uint32_t group_long_dims(const Group *g);

/* group_near.c */
bool group_store_in_pieces(Former *f, Node *n);
bool group_stays_with_product(Former *f, const Node *n);

/* group_share.c */
bool group_share_product(Former *f, Node *n);
void group_finish_members(Former *f, Group *g);

/* group_finish.c */
Groups *group_finish(Former *f);
int group_by_id(const void *a, const void *b);                               /* of Node *: for qsort */
