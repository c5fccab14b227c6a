/* autotune/floor.c — the speed of light for a graph: bytes that must move and arithmetic that must be done, at the ceilings.
 *
 * Bytes: what live code reads of inputs and of constants folded at compile time, once, and outputs once. Of a tensor that is only
 * gathered or sliced from, only that counts. Arithmetic: of nodes that depend on inputs; a matrix product at the best rate
 * that its class allows (numerics.md: fp32-class products take three half-precision ones, tf32-class one). */
#include "autotune/ceilings.h"
#include <math.h>

static double elements(const Type *t)
{
    double n = 1;
    for (uint32_t i = 0; i < t->shape.rank; i++) {
        Dim d = t->shape.d[i];
        n *= dim_is_const(d) ? (double)d->value : d->hi == INT64_MAX ? (double)d->lo : (double)d->hi;
    }
    return n;
}

static double bytes_of(const Type *t) { return elements(t) * dtype_bytes(t->dtype); }

/* A broadcast, another view or a wider type holds no more than what it is made from. */
static double stored_bytes(const Node *n)
{
    double least = bytes_of(&n->type);
    while (n->n_in == 1 && (op_class(n->op) == CLASS_MOVEMENT || op_class(n->op) == CLASS_CAST)) {
        n = n->in[0];
        least = fmin(least, bytes_of(&n->type));
    }
    return least;
}

/* Bytes of the part of `n` that this user reads; negative: all of it. Of matrices by group no more than there are rows. */
static double part_bytes(const Node *user, const Node *n)
{
    if (user->op == OP_SLICE || (user->op == OP_GATHER && user->in[0] == n && user->in[1] != n))
        return bytes_of(&user->type);
    if (user->op != OP_GROUPED_MATMUL || user->in[1] != n || user->in[2] == n)
        return -1;
    Type rows = {.shape = {1, {user->type.shape.d[0]}}}, groups = {.shape = {1, {n->type.shape.d[0]}}};
    return bytes_of(&n->type) * fmin(1, elements(&rows) / elements(&groups));
}

static double read_bytes(const Node *n, const Uses *uses)
{
    double parts = 0, whole = stored_bytes(n);
    uint32_t from = uses->start[n->id], to = from + uses->n_uses[n->id];

    for (uint32_t i = from; i < to; i++) {
        const Node *user = uses->user[i];
        double part = user ? part_bytes(user, n) : -1;
        if (part < 0)
            return whole;
        parts += part;
    }
    return fmin(parts, whole);
}

static double matmul_flops(const Node *n)
{
    const Node *a = n->in[0];
    uint32_t rank = node_rank(a);
    Type k = {.dtype = a->type.dtype, .shape = {.rank = 1}};
    k.shape.d[0] = a->type.shape.d[node_int(n, ATTR_TRANS_A, 0) ? rank - 2 : rank - 1];
    return 2 * elements(&n->type) * elements(&k);
}

static double matmul_rate(const Node *n, const Machine *m, NumClass c)
{
    DType t = n->in[0]->type.dtype;
    if (t == DT_BF16 || t == DT_F16)
        return m->flops_bf16;
    if (t != DT_F32)
        return m->flops_fma;
    switch (c) {
    case NUM_IEEE: return m->flops_fma;
    case NUM_FP32:
    case NUM_APPROX: return fmax(m->flops_fma, m->flops_bf16 / 3);
    case NUM_TF32:
    case NUM_BF16:
    case NUM_F16: return fmax(m->flops_tf32, m->flops_bf16);
    }
    return m->flops_fma;
}

/* Operations of an element-wise or reducing node; 0 for what only moves. */
static double other_flops(const Node *n)
{
    switch (op_class(n->op)) {
    case CLASS_POINTWISE: return elements(&n->type);
    case CLASS_REDUCE:
    case CLASS_SCAN: return elements(&n->in[0]->type);
    case CLASS_SOURCE:
    case CLASS_MOVEMENT:
    case CLASS_CAST:
    case CLASS_CONTRACT:
    case CLASS_GATHER:
    case CLASS_CHOICE: return 0;
    }
    return 0;
}

Floor graph_floor(const Graph *g, const Machine *m, const Numerics *numerics)
{
    Arena *a = arena_new();
    uint32_t n;
    Node **order = graph_order(g, a, &n);
    Uses uses = graph_uses(g, a);
    bool *frozen = graph_frozen(g, a);
    bool *counted = arena_new_array(a, bool, g->nodes.n + 1);
    Floor f = {0};
    double matmul_seconds = 0;

    for (uint32_t i = 0; i < n; i++) {
        const Node *x = order[i];
        if (x->op == OP_INPUT)
            f.bytes += read_bytes(x, &uses);
        if (frozen[x->id])
            continue;
        for (uint32_t k = 0; k < x->n_in; k++) {
            const Node *in = x->in[k];
            double literal;
            if (!frozen[in->id] || counted[in->id] || in->op == OP_IOTA || node_is_const(in, &literal))
                continue;
            counted[in->id] = true;
            f.bytes += read_bytes(in, &uses);
        }
        if (op_class(x->op) == CLASS_CONTRACT) {
            f.matmul_flops += matmul_flops(x);
            matmul_seconds += matmul_flops(x) / matmul_rate(x, m, numerics->matmul);
        }
        f.other_flops += other_flops(x);
    }
    for (uint32_t i = 0; i < g->outputs.n; i++)
        f.bytes += bytes_of(&g->outputs.data[i].node->type);
    f.seconds_bytes = f.bytes / m->copy_bandwidth;
    f.seconds_flops = fmax(matmul_seconds, f.other_flops / m->flops_fma);
    f.seconds = fmax(f.seconds_bytes, f.seconds_flops);
    f.bound = f.seconds_bytes >= f.seconds_flops ? "bytes" : "arithmetic";
    arena_free(a);
    return f;
}
