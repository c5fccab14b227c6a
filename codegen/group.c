/* codegen/group.c — which values are materialised, and which are recomputed inside their consumers.
 *
 * One walk against the order of the graph: when a node is met, every group that reads it is known, and the coordinates at which
 * each does. The node then either
 *   - joins its only reader (or readers that merge into one group) and passes the demand on to its operands,
 *   - is recomputed in several readers, when that costs less than storing it,
 *   - or is materialised: as one more output of its only reader where its elements are visited one to one, else as the root of a
 *     group of its own.
 * A reduction joins a reader when its coordinates use only some dims of the reader's domain, the same for all its reductions: those
 * are the outer dims, the rest is the row. Everything is linear in nodes; searches for cycles are bounded and refuse when cut off. */
#include "codegen/group.h"
#include "codegen/kind.h"

#include <math.h>
#include <stdlib.h>

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

static Build *build_of(Build *b)
{
    while (b->into)
        b = b->into;
    return b;
}

/* ---- facts of nodes -------------------------------------------------------------------------------------------------------- */
static float op_cost(const Node *n)
{
    static const unsigned char dear[OP_COUNT] = {
        [OP_EXP] = 12, [OP_EXP2] = 12, [OP_EXPM1] = 12, [OP_LOG] = 12, [OP_LOG2] = 12, [OP_LOG10] = 12, [OP_LOG1P] = 12,
        [OP_SIN] = 12, [OP_COS] = 12, [OP_TANH] = 12, [OP_ERF] = 12, [OP_ERFC] = 12, [OP_SINH] = 12, [OP_COSH] = 12,
        [OP_ATAN] = 12, [OP_ASINH] = 12, [OP_ACOSH] = 12, [OP_ATANH] = 12, [OP_POW] = 24, [OP_TAN] = 24, [OP_ASIN] = 24,
        [OP_ACOS] = 24, [OP_ATAN2] = 24, [OP_FMOD] = 24, [OP_REMAINDER] = 24, [OP_DIV] = 4, [OP_SQRT] = 4, [OP_RSQRT] = 4,
        [OP_RECIPROCAL] = 4,
    };
    if (op_class(n->op) != CLASS_POINTWISE && op_class(n->op) != CLASS_CAST)
        return 0;
    return dear[n->op] ? dear[n->op] : 1;
}

static bool inline_frozen(const Former *f, const Node *n)
{
    /* values made of literals only, and pure views of weights, are cheaper to index than to store */
    return f->literal[n->id] || (op_class(n->op) == CLASS_MOVEMENT && n->op != OP_CONCAT && n->op != OP_PAD);
}

static bool from_memory(const Former *f, const Node *n)
{
    return n->op == OP_INPUT || n->op == OP_PARAM || n->op == OP_TENSOR || (f->frozen[n->id] && !inline_frozen(f, n));
}

/* What depends on a symbol is no weight, even where it depends on no input. */
static bool has_symbols(const Node *n)
{
    for (uint32_t i = 0; i < node_rank(n); i++)
        if (!dim_is_const(n->type.shape.d[i]))
            return true;
    for (uint32_t k = 0; k < n->n_attrs; k++) {
        const Attr *a = &n->attrs[k];
        if (attr_table[a->key].kind == AK_DIM && !dim_is_const(a->dim))
            return true;
        for (uint32_t i = 0; attr_table[a->key].kind == AK_DIMS && i < a->n; i++)
            if (!dim_is_const(a->dims[i]))
                return true;
    }
    return false;
}

enum { LONGEST_PIECE = 128 };

static bool stays_near(Former *f, const Node *n)
{
    OpClass c = op_class(n->op);
    if (c == CLASS_CONTRACT) {
        f->product[n->id] = n->id + 1;
        return f->o->fuse && !f->frozen[n->id] && !matmul_not_gemm(f->cx, n, f->o);
    }
    uint32_t youngest = 0;
    bool near = true;
    for (uint32_t k = 0; k < n->n_in; k++)
        youngest = f->product[n->in[k]->id] > youngest ? f->product[n->in[k]->id] : youngest;
    for (uint32_t k = 0; k < n->n_in; k++)
        near &= f->product[n->in[k]->id] != youngest || f->near_product[n->in[k]->id];
    f->product[n->id] = youngest;
    if (c == CLASS_REDUCE) {
        Dim count = reduced_count(f->p, n);
        near &= dim_is_const(count) && count->value <= LONGEST_PIECE;
    }
    return youngest && near && (c == CLASS_REDUCE || c == CLASS_POINTWISE || c == CLASS_CAST || n->op == OP_RESHAPE || n->op == OP_EXPAND);
}

static void find_facts(Former *f, Node **order, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        Node *x = order[i];
        f->frozen[x->id] &= !has_symbols(x);
        for (uint32_t k = 0; k < x->n_in; k++)
            f->frozen[x->id] &= f->frozen[x->in[k]->id];
        bool literal = x->op == OP_CONST || x->op == OP_IOTA || (x->n_in && op_class(x->op) != CLASS_SOURCE);
        float cost = op_cost(x);
        for (uint32_t k = 0; k < x->n_in; k++) {
            literal &= f->literal[x->in[k]->id];
            cost += f->cost[x->in[k]->id];
        }
        f->literal[x->id] = literal;
        bool leaf = op_class(x->op) == CLASS_CONTRACT || op_class(x->op) == CLASS_REDUCE || op_class(x->op) == CLASS_SCAN;
        f->cost[x->id] = leaf || from_memory(f, x) ? 0 : cost < 1e6f ? cost : 1e6f;
        f->near_product[x->id] = stays_near(f, x);
    }
    for (uint32_t i = 0; i < f->graph->outputs.n; i++) {
        Node *x = f->graph->outputs.data[i].node;
        f->must[x->id] = true;
    }
}

/* ---- demand ------------------------------------------------------------------------------------------------------------------ */
static bool same_index(const Index *a, const Index *b, uint32_t rank) { return !memcmp(a->d, b->d, rank * sizeof(Dim)); }

static void demand(Former *f, Node *n, Build *b, const Index *at)
{
    Visit *v = NULL;
    for (uint32_t i = 0; i < f->visits[n->id].n; i++)
        if (build_of(f->visits[n->id].data[i].b) == b)
            v = &f->visits[n->id].data[i];
    if (!v) {
        vec_push(f->a, &f->visits[n->id], ((Visit){.b = b}));
        v = &vec_last(&f->visits[n->id]);
    }
    for (uint32_t i = 0; i < v->n_at; i++)
        if (same_index(&v->at[i], at, node_rank(n)))
            return;
    if (v->n_at == MAX_AT)
        v->many = true;
    else
        v->at[v->n_at++] = *at;
}

static void demand_operands(Former *f, Node *n, Build *b, const Index *at)
{
    if (op_class(n->op) == CLASS_REDUCE) {
        Index in = index_reduced(f->p, n, at, dim_sym_below(f->p, "r", reduced_count(f->p, n)));
        demand(f, n->in[0], b, &in);
    } else if (n->op == OP_GATHER) {
        int64_t axis = node_int(n, ATTR_AXIS, 0);
        uint32_t ri = node_rank(n->in[1]);
        Index table = {0}, index = {0};
        for (uint32_t i = 0; i < ri; i++)
            index.d[i] = at->d[axis + i];
        for (uint32_t i = 0; i < node_rank(n->in[0]); i++)
            table.d[i] = i == axis ? dim_sym_below(f->p, "at", n->in[0]->type.shape.d[i]) : at->d[i < axis ? i : i - 1 + ri];
        demand(f, n->in[0], b, &table);
        demand(f, n->in[1], b, &index);
    } else if (op_class(n->op) != CLASS_CONTRACT && op_class(n->op) != CLASS_SCAN) {
        for (uint32_t k = 0; k < n->n_in; k++) {
            Index in = index_operand(f->p, n, k, at, NULL);
            demand(f, n->in[k], b, &in);
        }
    }
}

/* ---- groups -------------------------------------------------------------------------------------------------------------------- */
static Build *build_new(Former *f, Node *root)
{
    Build *b = arena_new_of(f->a, Build);
    Group *g = b->g = arena_new_of(f->cx->arena, Group);
    g->domain = root->type.shape;
    Index at = {0};
    for (uint32_t i = 0; i < g->domain.rank; i++)
        at.d[i] = g->sym[i] = dim_is(g->domain.d[i], 1) ? dim_const(f->p, 0) : dim_sym_below(f->p, "i", g->domain.d[i]);
    vec_push(f->cx->arena, &g->outputs, ((GroupOutput){root, at}));
    vec_push(f->a, &f->builds, b);
    f->home[root->id] = b;
    return b;
}

static void absorb(Former *f, Build *b, Node *n, const Index *at, uint32_t n_at)
{
    vec_push(f->cx->arena, &b->g->nodes, n);
    b->n_nodes++;
    for (uint32_t i = 0; i < n_at; i++)
        demand_operands(f, n, b, &at[i]);
}

/* Does anything that `b` reads from memory depend on node `n` (which `b` would store)? Ids are topological, so only nodes
 * younger than n are searched. Cut off: assume yes. */
static bool reads_from(Former *f, Build *b, const Node *n)
{
    Vec(Node *) todo = {0};
    Map *seen = map_new(f->a);
    for (uint32_t i = 0; i < b->g->inputs.n; i++)
        vec_push(f->a, &todo, b->g->inputs.data[i]);
    for (uint32_t steps = 0; todo.n; steps++) {
        Node *x = vec_pop(&todo);
        if (x == n || steps > CYCLE_SEARCH)
            return true;
        if (x->id < n->id || !map_set(seen, x->id, 1))
            continue;
        for (uint32_t k = 0; k < x->n_in; k++)
            vec_push(f->a, &todo, x->in[k]);
        Build *h = f->home[x->id] ? build_of(f->home[x->id]) : NULL;      /* its group stores all its outputs together */
        for (uint32_t k = 0; h && h != b && k < h->g->inputs.n; k++)
            vec_push(f->a, &todo, h->g->inputs.data[k]);
    }
    return false;
}

static bool depends(Former *f, Build *b, Build *on)
{
    for (uint32_t i = 0; i < on->g->outputs.n; i++)
        if (reads_from(f, b, on->g->outputs.data[i].node))
            return true;
    return false;
}

static bool same_domain(const Group *a, const Group *b)
{
    return shape_equal(&a->domain, &b->domain) && !a->matmul && !b->matmul &&
           (!a->reduces.n || !b->reduces.n || a->outer_mask == b->outer_mask);
}

/* b becomes part of a; b->as[i]: its symbol i over a's. */
static bool take_over(Former *f, Build *a, Build *b)
{
    if (a->closed || b->closed || a->n_nodes + b->n_nodes > GROUP_MAX_NODES || depends(f, a, b) || depends(f, b, a))
        return false;
    DimSubst s[MAX_RANK];
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->g->domain.rank; i++)
        if (!dim_is_const(b->g->sym[i]))
            s[n++] = (DimSubst){b->g->sym[i], b->as[i]};
    for (uint32_t i = 0; i < b->g->outputs.n; i++) {
        GroupOutput o = b->g->outputs.data[i];
        for (uint32_t d = 0; d < node_rank(o.node); d++)
            o.at.d[d] = dim_subst(f->p, o.at.d[d], s, n);
        vec_push(f->cx->arena, &a->g->outputs, o);
    }
    for (uint32_t i = 0; i < b->g->reduces.n; i++) {
        GroupReduce r = b->g->reduces.data[i];
        for (uint32_t d = 0; d < node_rank(r.node); d++)
            r.at.d[d] = dim_subst(f->p, r.at.d[d], s, n);
        vec_push(f->cx->arena, &a->g->reduces, r);
    }
    for (uint32_t i = 0; i < b->g->nodes.n; i++)
        vec_push(f->cx->arena, &a->g->nodes, b->g->nodes.data[i]);
    for (uint32_t i = 0; i < b->g->inputs.n; i++)
        vec_push(f->cx->arena, &a->g->inputs, b->g->inputs.data[i]);
    a->n_nodes += b->n_nodes;
    b->into = a;                          /* pending visits of b keep b's symbols: rewritten when next looked at (see settle_visits) */
    b->g->matmul = NULL;
    return true;
}

/* Siblings of one domain become one group: what they share is read once. */
static bool merge(Former *f, Build *a, Build *b)
{
    if (a == b)
        return true;
    if (!same_domain(a->g, b->g))
        return false;
    uint32_t mask = b->g->reduces.n ? b->g->outer_mask : a->g->outer_mask;
    memcpy(b->as, a->g->sym, sizeof b->as);
    if (!take_over(f, a, b))
        return false;
    a->g->outer_mask = mask;
    return true;
}

/* After merges, a node's visits by groups that became one are one visit, over the surviving group's symbols. */
static uint32_t settle_visits(Former *f, Node *n)
{
    Visit *v = f->visits[n->id].data;
    uint32_t count = f->visits[n->id].n, kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        for (Build *own = v[i].b; own->into; own = v[i].b) {
            DimSubst s[MAX_RANK];
            uint32_t ns = 0;
            for (uint32_t d = 0; d < own->g->domain.rank; d++)
                if (!dim_is_const(own->g->sym[d]))
                    s[ns++] = (DimSubst){own->g->sym[d], own->as[d]};
            for (uint32_t k = 0; k < v[i].n_at; k++)
                for (uint32_t d = 0; d < node_rank(n); d++)
                    v[i].at[k].d[d] = dim_subst(f->p, v[i].at[k].d[d], s, ns);
            v[i].b = own->into;
        }
        Build *now = v[i].b;
        uint32_t j = 0;
        while (j < kept && v[j].b != now)
            j++;
        if (j == kept) {
            v[kept++] = v[i];
            continue;
        }
        v[j].many |= v[i].many;
        for (uint32_t k = 0; k < v[i].n_at; k++) {
            uint32_t m = 0;
            while (m < v[j].n_at && !same_index(&v[j].at[m], &v[i].at[k], node_rank(n)))
                m++;
            if (m < v[j].n_at)
                continue;
            if (v[j].n_at == MAX_AT)
                v[j].many = true;
            else
                v[j].at[v[j].n_at++] = v[i].at[k];
        }
    }
    return f->visits[n->id].n = kept;
}

/* The group again, with dim `d` of its domain as two, the inner one of extent `part`. */
static Build *split_dim(Former *f, Build *b, uint32_t d, Dim part)
{
    Group *g = b->g;
    Build *now = arena_copy(f->a, b, sizeof *b);
    b->g = arena_copy(f->a, g, sizeof *g);
    b->into = now;
    memcpy(b->as, g->sym, sizeof b->as);
    for (uint32_t i = g->domain.rank++; i > d + 1; i--) {
        g->domain.d[i] = g->domain.d[i - 1];
        g->sym[i] = g->sym[i - 1];
    }
    Dim outer = g->domain.d[d] = dim_floordiv(f->p, b->g->domain.d[d], part);
    g->domain.d[d + 1] = part;
    g->sym[d] = dim_is(outer, 1) ? dim_const(f->p, 0) : dim_sym_below(f->p, "i", outer);
    g->sym[d + 1] = dim_sym_below(f->p, "i", part);
    b->as[d] = dim_add(f->p, dim_mul(f->p, g->sym[d], part), g->sym[d + 1]);
    for (uint32_t i = 0; i < g->outputs.n; i++)
        for (uint32_t k = 0; k < node_rank(g->outputs.data[i].node); k++)
            g->outputs.data[i].at.d[k] = dim_subst(f->p, g->outputs.data[i].at.d[k], &(DimSubst){b->g->sym[d], b->as[d]}, 1);
    vec_push(f->a, &f->builds, now);
    return now;
}

/* A constant by which `e` divides `sym`; everything else that it does with `sym` counts, too, as division by 1. */
static int64_t divisor_of(Dim e, Dim sym)
{
    if (!dim_uses(e, sym))
        return 0;
    if (e->kind == DIM_FLOORDIV && e->a == sym && dim_is_const(e->b))
        return e->b->value;
    int64_t all = 0;
    for (uint32_t i = 0; e->kind == DIM_SUM && i < e->n_terms; i++)
        for (uint32_t k = 0; k < e->terms[i].n_atoms; k++) {
            int64_t one = e->terms[i].atoms[k] == e ? 1 : divisor_of(e->terms[i].atoms[k], sym);
            all = !one || all == one ? all : all ? 1 : one;
        }
    return all ? all : 1;
}

/* A norm of groups of channels is read at i / R, R channels a group: its outputs share a reduction where i is two dims. */
static void split_domain_for(Former *f, Node *n)
{
    Visit *v = f->visits[n->id].data;
    if (f->visits[n->id].n != 1 || v->n_at != 1 || v->many)
        return;
    for (uint32_t d = 0; d < v->b->g->domain.rank; d++) {
        Group *g = v->b->g;
        int64_t part = 0;
        for (uint32_t k = 0; k < node_rank(n) && !dim_is_const(g->sym[d]); k++) {
            int64_t one = divisor_of(v->at[0].d[k], g->sym[d]);
            part = !one || part == one ? part : part ? 1 : one;
        }
        if (part < 2 || g->reduces.n || g->matmul || g->domain.rank == MAX_RANK || v->b->closed ||
            !dim_divides(f->p, dim_const(f->p, part), g->domain.d[d]))
            continue;
        split_dim(f, v->b, d, dim_const(f->p, part));
        settle_visits(f, n);
        d++;
    }
}

/* ---- decisions ------------------------------------------------------------------------------------------------------------------ */
/* `at` visits every element of `n` exactly once over the group's domain: the coordinates are its symbols in some order. */
static bool one_to_one(const Group *g, const Node *n, const Index *at)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < node_rank(n); i++) {
        if (dim_is(n->type.shape.d[i], 1))
            continue;
        uint32_t d = 0;
        while (d < g->domain.rank && (g->sym[d] != at->d[i] || dim_is_const(g->sym[d])))
            d++;
        if (d == g->domain.rank || (used & 1u << d) || g->domain.d[d] != n->type.shape.d[i])
            return false;
        used |= 1u << d;
    }
    for (uint32_t d = 0; d < g->domain.rank; d++)
        if (!dim_is(g->domain.d[d], 1) && !(used & 1u << d))
            return false;
    return true;
}

/* The same, where some dims of `n` are several of the domain's. */
static bool digit_by_digit(Former *f, const Group *g, const Node *n, const Index *at)
{
    Index any = {0};
    Dim coords[MAX_RANK];
    for (uint32_t d = 0; d < node_rank(n); d++)
        any.d[d] = dim_const(f->p, 0);
    return matmul_domain_at(f->p, g, n, at, &any, coords);
}

static uint32_t long_dims(const Group *g)
{
    uint32_t mask = 0;
    for (uint32_t d = 0; d < g->domain.rank; d++)
        mask |= dim_is_const(g->sym[d]) ? 0 : 1u << d;
    return mask;
}

/* Along columns of few lanes blocks read the operand one after the other: worse than to reduce with the whole device and launch again? */
static bool columns_wait(Former *f, const Node *n, Dim rows)
{
    enum { COLUMNS = 128 };                                /* a block of kinds/column.c */
    const Machine *m = &f->o->machine;
    if (m->target != TARGET_CUDA || reduces_contiguous(n))
        return false;
    const Type *t = &n->in[0]->type;
    double bytes = (double)dim_typical(shape_count(f->p, &t->shape)) * dtype_bytes(t->dtype), blocks = ceil((double)dim_typical(rows) / COLUMNS);
    double seconds = 3 * bytes / m->copy_bandwidth;        /* read, read again, written */
    return blocks < m->units && seconds * m->units / fmax(blocks, 1) > seconds + m->launch_seconds;
}

static const char *reduce_refused(Former *f, Build *b, Node *n, const Visit *v)
{
    Group *g = b->g;
    if (n->op == OP_ARGMAX || n->op == OP_ARGMIN)
        return "argmax and argmin are computed on their own";
    if (g->matmul || v->n_at != 1)
        return "the reduction is needed at several places";
    uint32_t mask = 0;
    for (uint32_t i = 0; i < node_rank(n); i++)
        for (uint32_t d = 0; d < g->domain.rank; d++)
            if (!dim_is_const(g->sym[d]) && dim_uses(v->at[0].d[i], g->sym[d]))
                mask |= 1u << d;
    for (uint32_t i = 0; i < node_rank(n); i++) {           /* nothing but the domain's symbols may occur */
        Dim rest = v->at[0].d[i];
        for (uint32_t d = 0; d < g->domain.rank; d++)
            if (mask & 1u << d)
                rest = dim_subst(f->p, rest, &(DimSubst){g->sym[d], dim_const(f->p, 0)}, 1);
        if (!dim_is_const(rest))
            return "its coordinates depend on another reduction";
        if (v->at[0].d[i]->lo < 0 || !dim_lt(f->p, v->at[0].d[i], n->type.shape.d[i]))
            return "it is read beside padding or another part";       /* its rows would be read where there are none */
    }
    if (g->reduces.n && g->outer_mask != mask)
        return "its rows differ from the group's";
    Dim rows = dim_const(f->p, 1);
    for (uint32_t d = 0; d < g->domain.rank; d++)
        if (mask & 1u << d)
            rows = dim_mul(f->p, rows, g->domain.d[d]);
    if (dim_typical(reduced_count(f->p, n)) > 65536 && dim_typical(rows) < 2 * f->o->machine.units)
        return "few long rows: the reduction alone uses the whole device";
    if (mask != long_dims(g) && columns_wait(f, n, rows))
        return "few columns: the reduction alone uses the whole device";
    if (!g->reduces.n)
        g->outer_mask = mask;
    return NULL;
}

/* Why `b` cannot take `n` in; NULL: it can. */
static const char *refused(Former *f, Build *b, Node *n, const Visit *v)
{
    if (b->closed)
        return "its reader is a scan";
    if (!f->o->fuse && op_class(n->op) != CLASS_MOVEMENT && op_class(n->op) != CLASS_GATHER)
        return "fusion is off";
    if (v->many)
        return "it is read at too many places";
    if (b->n_nodes >= GROUP_MAX_NODES)
        return "the group is full";
    for (uint32_t i = 0; i < v->n_at; i++)                  /* every reshape on the way may double it */
        for (uint32_t d = 0; d < node_rank(n); d++)
            if (v->at[i].d[d]->size > MAX_INDEX)
                return "its coordinates have become too long";
    if (op_class(n->op) == CLASS_REDUCE)
        return reduce_refused(f, b, n, v);
    if (op_class(n->op) == CLASS_CONTRACT)
        return group_takes_matmul(f->cx, b->g, n, v->at, v->n_at, f->o);
    if (op_class(n->op) == CLASS_SCAN)
        return "a scan is computed on its own";
    return NULL;
}

static void join(Former *f, Build *b, Node *n, const Visit *v)
{
    if (op_class(n->op) == CLASS_REDUCE)
        vec_push(f->cx->arena, &b->g->reduces, ((GroupReduce){n, v->at[0], 0}));
    if (op_class(n->op) == CLASS_CONTRACT)
        b->g->matmul = n;
    absorb(f, b, n, v->at, v->n_at);
    if (op_class(n->op) == CLASS_CONTRACT) {
        for (uint32_t k = 0; k < n->n_in; k++) {
            Node *base = matmul_operand_base(f->cx, n, k);
            f->must[base->id] = true;
            vec_push(f->cx->arena, &b->g->inputs, base);
        }
        LibraryEpilogue e = {0};
        if (f->o->use_library && library_epilogue(f->cx, b->g, &e) && e.bias)
            vec_push(f->cx->arena, &b->g->inputs, e.bias);           /* as it is, beside the cast that other kinds read */
        if (e.residual)
            f->must[e.residual->id] = true;
    }
}

/* Distinct values as large as `n` itself that recomputing it would read. */
static bool cheap_to_recompute(const Former *f, const Node *n)
{
    if (op_class(n->op) == CLASS_MOVEMENT || f->literal[n->id] || (f->near_product[n->id] && op_class(n->op) == CLASS_CAST))
        return true;
    if (op_class(n->op) == CLASS_REDUCE || op_class(n->op) == CLASS_CONTRACT || op_class(n->op) == CLASS_SCAN)
        return false;
    if (f->cost[n->id] > CHEAP_OPS)
        return false;
    uint32_t wide = 0;
    for (uint32_t k = 0; k < n->n_in; k++) {
        const Node *x = n->in[k];
        while (op_class(x->op) == CLASS_MOVEMENT && x->n_in == 1 && x->op != OP_EXPAND)
            x = x->in[0];
        wide += x->op != OP_EXPAND && !f->literal[x->id];
    }
    return wide <= 2;
}

static void note(Former *f, Group *g, const Node *n, const char *why)
{
    g->why_not = arena_printf(f->cx->arena, "%s%s%s: %s", g->why_not ? g->why_not : "", g->why_not ? "; " : "",
                              n->name ? n->name : op_name(n->op), why);
}

/* A group of its own; its readers load the result. */
static Build *materialise(Former *f, Node *n)
{
    Build *b = build_new(f, n);
    Visit self = {.b = b, .n_at = 1, .at = {b->g->outputs.data[0].at}};
    if (op_class(n->op) == CLASS_REDUCE && n->op != OP_ARGMAX && n->op != OP_ARGMIN) {
        for (uint32_t d = 0; d < b->g->domain.rank; d++)
            b->g->outer_mask |= dim_is_const(b->g->sym[d]) ? 0 : 1u << d;
    }
    join(f, b, n, &self);
    if (op_class(n->op) == CLASS_SCAN) {
        b->closed = true;
        f->must[n->in[0]->id] = true;
        vec_push(f->cx->arena, &b->g->inputs, n->in[0]);
    }
    if (op_class(n->op) == CLASS_REDUCE && (n->op == OP_ARGMAX || n->op == OP_ARGMIN))
        b->g->reduces.n = 0;
    return b;
}

static void read_by(Former *f, Node *n)
{
    for (uint32_t i = 0; i < f->visits[n->id].n; i++)
        vec_push(f->cx->arena, &f->visits[n->id].data[i].b->g->inputs, n);
}

static bool store_in_reader(Former *f, Node *n, uint32_t n_visits)
{
    if (n_visits != 1 || !f->o->fuse || op_class(n->op) == CLASS_CONTRACT || op_class(n->op) == CLASS_REDUCE)
        return false;
    Visit *v = &f->visits[n->id].data[0];
    uint32_t k = 0;
    while (k < v->n_at && !one_to_one(v->b->g, n, &v->at[k]) && !(v->b->g->reduces.n && digit_by_digit(f, v->b->g, n, &v->at[k])))
        k++;
    if (k == v->n_at || v->b->g->matmul || refused(f, v->b, n, v) || reads_from(f, v->b, n))
        return false;
    GroupOutput out = {n, v->at[k]};
    for (uint32_t d = 0; d < node_rank(n); d++)            /* at 0 of a dim of 1, whatever the reader calls it */
        out.at.d[d] = dim_is(n->type.shape.d[d], 1) ? dim_const(f->p, 0) : out.at.d[d];
    vec_push(f->cx->arena, &v->b->g->outputs, out);
    f->home[n->id] = v->b;
    join(f, v->b, n, v);
    return true;
}

/* ---- a value a row beside values along it --------------------------------------------------------------------------------------- */
/* Dims of the group's domain that the coordinates are symbols of, one each; 0: they are anything else. */
static uint32_t plain_dims(const Group *g, const Node *n, const Index *at)
{
    uint32_t mask = 0;
    for (uint32_t k = 0; k < node_rank(n); k++) {
        uint32_t d = 0;
        while (d < g->domain.rank && (g->sym[d] != at->d[k] || dim_is_const(g->sym[d])))
            d++;
        if (dim_is(n->type.shape.d[k], 1))
            continue;
        if (d == g->domain.rank || (mask & 1u << d) || g->domain.d[d] != n->type.shape.d[k])
            return 0;
        mask |= 1u << d;
    }
    return mask;
}

/* Reduction `n` is read by a group along whose rows it runs, and by one that has an element a row: they become one. */
static bool merge_along_rows(Former *f, Node *n, const Visit *along, const Visit *once)
{
    Build *a = along->b, *b = once->b;
    if (a == b || a->g->matmul || b->g->matmul || along->n_at != 1 || once->n_at != 1 || along->many || once->many)
        return false;
    uint32_t outer = plain_dims(a->g, n, &along->at[0]), all = plain_dims(b->g, n, &once->at[0]);
    if (!outer || outer == long_dims(a->g) || !all || all != long_dims(b->g) || (a->g->reduces.n && a->g->outer_mask != outer) ||
        (b->g->reduces.n && b->g->outer_mask != all))
        return false;
    memcpy(b->as, b->g->sym, sizeof b->as);
    for (uint32_t k = 0; k < node_rank(n); k++)
        for (uint32_t d = 0; d < b->g->domain.rank; d++)
            if (b->g->sym[d] == once->at[0].d[k] && !dim_is_const(b->g->sym[d]))
                b->as[d] = along->at[0].d[k];
    if (a->g->outputs.n + b->g->outputs.n > MAX_STORED || !take_over(f, a, b))
        return false;
    a->g->outer_mask = outer;
    return true;
}

static void merge_rows(Former *f, Node *n)
{
    /* along columns every thread has its own: they must be enough for the device */
    bool enough = reduces_contiguous(n) || dim_typical(shape_count(f->p, &n->type.shape)) >= 64 * f->o->machine.units;
    if (n->op == OP_ARGMAX || n->op == OP_ARGMIN || !enough)
        return;
    for (bool again = true; again; ) {
        again = false;
        settle_visits(f, n);
        Visit *v = f->visits[n->id].data;
        for (uint32_t i = 0; i < f->visits[n->id].n && !again; i++)
            for (uint32_t j = 0; j < f->visits[n->id].n && !again; j++)
                again = i != j && merge_along_rows(f, n, &v[i], &v[j]);
    }
}

/* ---- values near a product that a group reduces in pieces, and others read ------------------------------------------------------ */
static Dim outer_position(Former *f, const Group *g, Dim *rows)
{
    Dim outer = dim_const(f->p, 0);
    *rows = dim_const(f->p, 1);
    for (uint32_t d = 0; d < g->domain.rank; d++)
        if (g->outer_mask & 1u << d) {
            outer = dim_add(f->p, dim_mul(f->p, outer, g->domain.d[d]), g->sym[d]);
            *rows = dim_mul(f->p, *rows, g->domain.d[d]);
        }
    return outer;
}

/* `at` visits every element of `n` once while the group's reductions walk their rows: *r is their symbol, or NULL where `n` has one
 * element a row. */
static bool once_a_row(Former *f, const Group *g, const Node *n, const Index *at, Dim *r)
{
    Dim rows, outer = outer_position(f, g, &rows), flat = index_flatten(f->p, &n->type.shape, at);
    Dim row = reduced_count(f->p, g->reduces.data[0].node), count = shape_count(f->p, &n->type.shape);
    Dim rest = dim_sub(f->p, flat, dim_mul(f->p, outer, row));
    *r = NULL;
    if (flat == outer)
        return count == rows;
    *r = rest;
    for (uint32_t d = 0; d < g->domain.rank; d++)
        if (rest == g->sym[d])
            return false;
    return count == dim_mul(f->p, rows, row) && rest->kind == DIM_SYM && dim_is_const(row) && rest->lo == 0 && rest->hi == row->value - 1;
}

/* The group's own dim along its rows; made where there is none. NULL: its rows are others. */
static Dim row_symbol(Former *f, Group *g)
{
    Dim row = reduced_count(f->p, g->reduces.data[0].node), sym = NULL;
    uint32_t rank = g->domain.rank;
    for (uint32_t d = 0; d < rank; d++)
        if (!(g->outer_mask & 1u << d) && !dim_is(g->domain.d[d], 1)) {
            if (sym || g->domain.d[d] != row)
                return NULL;
            sym = g->sym[d];
        }
    if (sym || rank == MAX_RANK)
        return sym;
    g->domain.d[rank] = row;
    g->domain.rank++;
    return g->sym[rank] = dim_sym_below(f->p, "i", row);
}

static void merge_reducers(Former *f, Node *n)
{
    Visit *v = f->visits[n->id].data;
    for (uint32_t i = 0; i < f->visits[n->id].n; i++)
        for (uint32_t j = 0; j < i; j++) {
            Build *a = build_of(v[j].b), *b = build_of(v[i].b);
            if (a != b && a->g->reduces.n && b->g->reduces.n && merge(f, a, b))
                break;
        }
    settle_visits(f, n);
}

/* A reader that reduces pieces of the product stores `n` beside what it reduces, so that the product is made in one place: it is read
 * by others, or an output. Wider copies of a value are left to their readers. */
static bool store_in_pieces(Former *f, Node *n)
{
    OpClass c = op_class(n->op);
    if (!f->near_product[n->id] || (!f->must[n->id] && c == CLASS_MOVEMENT) ||
        (!f->must[n->id] && c == CLASS_CAST && dtype_bytes(n->in[0]->type.dtype) < dtype_bytes(n->type.dtype)))
        return false;
    merge_reducers(f, n);
    if (!f->must[n->id] && f->visits[n->id].n < 2)
        return false;
    for (uint32_t i = 0; i < f->visits[n->id].n; i++) {
        Visit v = f->visits[n->id].data[i];
        Group *g = v.b->g;
        Dim r = NULL;
        uint32_t k = 0;
        while (g->reduces.n && k < v.n_at && !once_a_row(f, g, n, &v.at[k], &r))
            k++;
        if (!g->reduces.n || g->matmul || k == v.n_at || v.n_at == MAX_AT || g->outputs.n >= MAX_STORED || refused(f, v.b, n, &v) || reads_from(f, v.b, n))
            continue;
        if (!r && c != CLASS_REDUCE && !f->must[n->id] && cheap_to_recompute(f, n))
            return false;
        GroupOutput out = {n, v.at[k]};
        Dim row = r ? row_symbol(f, g) : NULL;
        if (r && !row)
            continue;
        for (uint32_t d = 0; r && d < node_rank(n); d++)
            out.at.d[d] = dim_subst(f->p, out.at.d[d], &(DimSubst){r, row}, 1);
        if (r)
            v.at[v.n_at++] = out.at;
        vec_push(f->cx->arena, &g->outputs, out);
        f->home[n->id] = v.b;
        for (uint32_t j = 0; j < f->visits[n->id].n; j++)
            if (j != i)
                vec_push(f->cx->arena, &f->visits[n->id].data[j].b->g->inputs, n);
        join(f, v.b, n, &v);
        return true;
    }
    return false;
}

/* A reduction that several groups read is made by one that reduces the same rows for results of its own, and stored for the others. */
static bool store_in_reducer(Former *f, Node *n)
{
    uint32_t readers = f->visits[n->id].n;
    for (uint32_t i = 0; i < readers; i++) {
        const Visit *v = &f->visits[n->id].data[i];
        Group *g = v->b->g;
        if (!g->reduces.n || !shape_equal(&g->reduces.data[0].node->in[0]->type.shape, &n->in[0]->type.shape) || v->n_at != 1 ||
            !one_to_one(g, n, &v->at[0]) || g->outputs.n >= MAX_STORED || refused(f, v->b, n, v) || reads_from(f, v->b, n))
            continue;
        bool before = true;
        for (uint32_t j = 0; j < readers; j++)
            before &= j == i || !depends(f, v->b, f->visits[n->id].data[j].b);
        if (!before)
            continue;
        GroupOutput out = {n, v->at[0]};
        for (uint32_t d = 0; d < node_rank(n); d++)
            out.at.d[d] = dim_is(n->type.shape.d[d], 1) ? dim_const(f->p, 0) : out.at.d[d];
        vec_push(f->cx->arena, &g->outputs, out);
        f->home[n->id] = v->b;
        for (uint32_t j = 0; j < readers; j++)
            if (j != i)
                vec_push(f->cx->arena, &f->visits[n->id].data[j].b->g->inputs, n);
        join(f, v->b, n, v);
        return true;
    }
    return false;
}

/* Readers whose rows are too long for the product to join them: what they read is stored by the product's own group where that moves fewer
 * bytes than the product, or where `n` is stored anyway. */
static bool stays_with_product(Former *f, const Node *n)
{
    OpClass c = op_class(n->op);
    if (!f->near_product[n->id] || (c != CLASS_POINTWISE && c != CLASS_CAST) || !f->visits[n->id].n)
        return false;
    const Type *product = &f->graph->nodes.data[f->product[n->id] - 1]->type, *t = &n->type;
    bool widens = c == CLASS_CAST && dtype_bytes(n->in[0]->type.dtype) < dtype_bytes(t->dtype);
    if (widens || shape_count(f->p, &t->shape) != shape_count(f->p, &product->shape) ||
        (!f->must[n->id] && dtype_bytes(t->dtype) >= dtype_bytes(product->dtype)))
        return false;
    for (uint32_t i = 0; i < f->visits[n->id].n; i++) {
        const Group *g = f->visits[n->id].data[i].b->g;
        Dim row = g->reduces.n ? reduced_count(f->p, g->reduces.data[0].node) : NULL;
        if (!row || (dim_is_const(row) && row->value <= LONGEST_PIECE))
            return false;
    }
    return true;
}

static void decide(Former *f, Node *n)
{
    uint32_t readers = settle_visits(f, n);
    if (from_memory(f, n)) {
        read_by(f, n);
        return;
    }
    if (op_class(n->op) == CLASS_REDUCE && f->o->fuse)
        split_domain_for(f, n);
    if (op_class(n->op) == CLASS_REDUCE && f->o->fuse && readers > 1 && !f->must[n->id])
        merge_rows(f, n);
    readers = settle_visits(f, n);
    if ((f->must[n->id] || readers > 1) && store_in_pieces(f, n))
        return;
    readers = settle_visits(f, n);
    if (stays_with_product(f, n)) {
        read_by(f, n);
        materialise(f, n);
        return;
    }
    if (f->must[n->id]) {
        if (store_in_reader(f, n, readers))
            return;
        read_by(f, n);
        materialise(f, n);
        return;
    }
    if (!readers)
        return;                                       /* a view that only a library call looks through */
    if (readers > 1 && !cheap_to_recompute(f, n) && f->o->fuse) {
        for (uint32_t i = 1; i < readers; i++)
            merge(f, f->visits[n->id].data[0].b, build_of(f->visits[n->id].data[i].b));
        readers = settle_visits(f, n);
    }
    if (readers == 1 || cheap_to_recompute(f, n)) {
        Visit *v = f->visits[n->id].data;
        const char *why = NULL;
        for (uint32_t i = 0; i < readers && !why; i++) {
            why = refused(f, v[i].b, n, &v[i]);
            if (why)
                note(f, v[i].b->g, n, why);
        }
        if (!why) {
            for (uint32_t i = 0; i < readers; i++)
                join(f, v[i].b, n, &v[i]);
            return;
        }
    }
    if (op_class(n->op) == CLASS_REDUCE && f->o->fuse && readers > 1 && store_in_reducer(f, n))
        return;
    read_by(f, n);
    materialise(f, n);
}

/* ---- finishing ------------------------------------------------------------------------------------------------------------------- */
static int by_id(const void *a, const void *b)
{
    uint32_t x = (*(Node *const *)a)->id, y = (*(Node *const *)b)->id;
    return (x > y) - (x < y);
}

static uint32_t unique_nodes(Node **v, uint32_t n)
{
    uint32_t kept = 0;
    if (n)
        qsort(v, n, sizeof *v, by_id);
    for (uint32_t i = 0; i < n; i++)
        if (!kept || v[kept - 1] != v[i])
            v[kept++] = v[i];
    return kept;
}

static int by_reduce_id(const void *a, const void *b)
{
    uint32_t x = ((const GroupReduce *)a)->node->id, y = ((const GroupReduce *)b)->node->id;
    return (x > y) - (x < y);
}

/* Level of a reduction: one more than the deepest reduction of the group below it. */
static void find_levels(Former *f, Group *g)
{
    if (g->reduces.n)
        qsort(g->reduces.data, g->reduces.n, sizeof *g->reduces.data, by_reduce_id);
    Map *level = map_new(f->a);
    uint32_t next = 0;
    for (uint32_t i = 0; i < g->nodes.n; i++) {                    /* operands first */
        Node *n = g->nodes.data[i];
        uint64_t deepest = 0;
        for (uint32_t k = 0; k < n->n_in; k++) {
            uint64_t l = map_get(level, n->in[k]->id, 0);
            deepest = l > deepest ? l : deepest;
        }
        if (next < g->reduces.n && g->reduces.data[next].node == n) {
            g->reduces.data[next++].level = (uint32_t)deepest;
            deepest++;
        }
        map_set(level, n->id, deepest);
    }
    for (uint32_t i = 1; i < g->reduces.n; i++)                    /* by level, stable (few) */
        for (uint32_t j = i; j > 0 && g->reduces.data[j - 1].level > g->reduces.data[j].level; j--) {
            GroupReduce t = g->reduces.data[j];
            g->reduces.data[j] = g->reduces.data[j - 1];
            g->reduces.data[j - 1] = t;
        }
}

static Dim node_bytes(DimPool *p, const Node *n)
{
    return dim_mul_const(p, shape_count(p, &n->type.shape), dtype_bytes(n->type.dtype));
}

/* Elements that an access touches at most: one for each value of the loop variables in its index. */
static Dim touched(Former *f, Dim d, Map *seen)
{
    Dim count = dim_const(f->p, 1);
    if (d->kind == DIM_SYM) {
        bool constant = !d->extent && d->lo == 0 && d->hi < INT64_MAX;      /* of a loop: its range says all */
        Dim extent = constant ? dim_const(f->p, d->hi + 1) : d->extent;
        return extent && map_set(seen, (uintptr_t)d, 1) ? extent : count;
    } else if (d->kind == DIM_SUM) {
        for (uint32_t i = 0; i < d->n_terms; i++)
            for (uint32_t k = 0; k < d->terms[i].n_atoms; k++)
                count = dim_mul(f->p, count, touched(f, d->terms[i].atoms[k], seen));
    } else if (d->kind != DIM_CONST) {
        count = dim_mul(f->p, touched(f, d->a, seen), touched(f, d->b, seen));
    }
    return count;
}

/* Bytes of an input that the group reads: of a slice only the slice. Products and scans read what they name, whole. */
static Dim bytes_read_of(Former *f, const Node *n, const GroupAccesses *all)
{
    Dim sum = dim_const(f->p, 0), whole = shape_count(f->p, &n->type.shape);
    bool any = false;
    for (uint32_t i = 0; i < all->n; i++) {
        if (all->a[i].node != n)
            continue;
        Dim t = touched(f, all->a[i].flat, map_new(f->a));
        sum = any && !dim_lt(f->p, sum, t) ? sum : t;         /* places of one group overlap more often than not: the widest counts */
        any = true;
    }
    return any ? dim_mul_const(f->p, dim_min(f->p, sum, whole), dtype_bytes(n->type.dtype)) : node_bytes(f->p, n);
}

static void count_traffic(Former *f, Group *g)
{
    GroupAccesses all = group_accesses(f->cx, g);
    g->bytes_read = g->bytes_written = g->flops = dim_const(f->p, 0);
    for (uint32_t i = 0; i < g->inputs.n; i++)
        g->bytes_read = dim_add(f->p, g->bytes_read, bytes_read_of(f, g->inputs.data[i], &all));
    for (uint32_t i = 0; i < g->outputs.n; i++)
        g->bytes_written = dim_add(f->p, g->bytes_written, node_bytes(f->p, g->outputs.data[i].node));
    for (uint32_t i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.data[i];
        Dim work = dim_mul_const(f->p, shape_count(f->p, &n->type.shape), (int64_t)op_cost(n));
        if (op_class(n->op) == CLASS_CONTRACT) {
            Node *a = n->in[0];
            Dim k = a->type.shape.d[node_rank(a) - (node_int(n, ATTR_TRANS_A, 0) ? 2 : 1)];
            work = dim_mul_const(f->p, dim_mul(f->p, shape_count(f->p, &n->type.shape), k), 2);
        } else if (op_class(n->op) == CLASS_REDUCE) {
            work = shape_count(f->p, &n->in[0]->type.shape);
        }
        g->flops = dim_add(f->p, g->flops, work);
    }
}

/* Groups in an order that respects data: by depth-first search from the last, with an explicit stack. */
static Groups *sort_groups(Former *f)
{
    Groups *out = arena_new_of(f->cx->arena, Groups);
    out->g = arena_new_array(f->cx->arena, Group *, f->builds.n ? f->builds.n : 1);
    enum { NEW, OPEN, DONE };
    Map *state = map_new(f->a);
    Vec(Build *) stack = {0};
    for (uint32_t i = f->builds.n; i-- > 0; ) {
        if (!f->builds.data[i]->into)
            vec_push(f->a, &stack, f->builds.data[i]);
    }
    while (stack.n) {
        Build *b = vec_last(&stack);
        uint64_t s = map_get(state, (uintptr_t)b, NEW);
        if (s != NEW) {
            stack.n--;
            if (s == OPEN) {
                b->g->id = out->n;
                out->g[out->n++] = b->g;
                map_set(state, (uintptr_t)b, DONE);
            }
            continue;
        }
        map_set(state, (uintptr_t)b, OPEN);
        for (uint32_t k = 0; k < b->g->inputs.n; k++) {
            Build *h = f->home[b->g->inputs.data[k]->id];
            h = h ? build_of(h) : NULL;
            if (!h || h == b)
                continue;
            pawl_assert(map_get(state, (uintptr_t)h, NEW) != OPEN, "groups depend on each other in a circle");
            if (map_get(state, (uintptr_t)h, NEW) == NEW)
                vec_push(f->a, &stack, h);
        }
    }
    return out;
}

Groups *groups_form(Context *cx, const Graph *g, const CodegenOptions *o)
{
    Former *f = arena_new_of(cx->scratch, Former);
    Arena *a = f->a = cx->scratch;
    uint32_t n, top = 0;
    Node **order = graph_order(g, a, &n);
    for (uint32_t i = 0; i < n; i++)
        top = order[i]->id >= top ? order[i]->id + 1 : top;
    f->cx = cx, f->p = cx->dims, f->graph = g, f->o = o;
    f->frozen = graph_frozen(g, a);
    f->literal = arena_new_array(a, bool, top + 1);
    f->must = arena_new_array(a, bool, top + 1);
    f->near_product = arena_new_array(a, bool, top + 1);
    f->product = arena_new_array(a, uint32_t, top + 1);
    f->cost = arena_new_array(a, float, top + 1);
    f->visits = arena_alloc(a, sizeof *f->visits * (top + 1));
    f->home = arena_new_array(a, Build *, top + 1);
    find_facts(f, order, n);

    qsort(order, n, sizeof *order, by_id);
    for (uint32_t i = n; i-- > 0; )
        decide(f, order[i]);

    Groups *groups = sort_groups(f);
    for (uint32_t i = 0; i < groups->n; i++) {
        Group *x = groups->g[i];
        x->launch = x;
        x->inputs.n = unique_nodes(x->inputs.data, x->inputs.n);
        x->nodes.n = unique_nodes(x->nodes.data, x->nodes.n);
        find_levels(f, x);
        count_traffic(f, x);
        group_describe(cx, x);
    }
    return groups;
}
