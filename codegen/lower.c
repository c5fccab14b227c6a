/* codegen/lower.c — from nodes at coordinates to kernel instructions, by substitution with memory.
 *
 * Recursion here runs over the nodes of one group; grouping bounds a group's depth (GROUP_MAX_NODES), so the stack is bounded too. */
#include "codegen/lower.h"

#include <math.h>

typedef struct Known { const Node *node; Index at; KInst *mask, *value; uint32_t lanes, scope; struct Known *next; } Known;

struct Lower {
    Kernel *k;
    Arena *arena;
    Map *buffers;                        /* node -> buffer + 1 */
    Map *as_stored;                      /* nodes that are rounded to their type */
    Map *known;                          /* hash -> Known chain */
    Vec(uint64_t) log;                   /* hashes in order of insertion, for scopes */
    Vec(uint32_t) scopes;                /* log length at each scope's start */
    KInst *mask;
    bool stream;
    const Node *asked;                   /* found by `find` */
    LowerFind find;
    void *find_arg;
    KInst *any_of, *any;                 /* `any`: some lane of the vector mask `any_of` is set */
};

Lower *lower_new(Kernel *k, Arena *a)
{
    Lower *l = arena_new_of(a, Lower);
    l->k = k;
    l->arena = a;
    l->buffers = map_new(a);
    l->as_stored = map_new(a);
    l->known = map_new(a);
    return l;
}

void lower_buffer(Lower *l, const Node *n, uint32_t buffer)
{
    map_set(l->buffers, (uint64_t)(uintptr_t)n, buffer + 1);
}

bool lower_buffer_of(const Lower *l, const Node *n, uint32_t *buffer)
{
    uint64_t have = map_get(l->buffers, (uint64_t)(uintptr_t)n, 0);
    *buffer = (uint32_t)have - 1;
    return have != 0;
}

void lower_as_stored(Lower *l, const Node *n) { map_set(l->as_stored, (uint64_t)(uintptr_t)n, 1); }

static KInst *rounded(const Lower *l, const Node *n, KInst *v)
{
    return map_has(l->as_stored, (uint64_t)(uintptr_t)n) ? k_cast(l->k, k_cast(l->k, v, n->type.dtype), v->type.dtype) : v;
}

void lower_mask(Lower *l, KInst *mask) { l->mask = mask; }
void lower_stream(Lower *l, bool stream) { l->stream = stream; }

static uint64_t known_hash(const Node *n, const Index *at, KInst *mask, uint32_t lanes)
{
    uint64_t h = hash_mix((uintptr_t)n, (uintptr_t)mask);
    for (uint32_t i = 0; i < node_rank(n); i++)
        h = hash_mix(h, (uintptr_t)at->d[i]);
    return hash_mix(h, lanes);
}

static void remember(Lower *l, const Node *n, const Index *at, KInst *mask, uint32_t lanes, KInst *value)
{
    uint64_t h = known_hash(n, at, mask, lanes);
    Known *e = arena_new_of(l->arena, Known);
    *e = (Known){n, *at, mask, value, lanes, l->scopes.n, (Known *)(uintptr_t)map_get(l->known, h, 0)};
    map_set(l->known, h, (uintptr_t)e);
    vec_push(l->arena, &l->log, h);
}

static KInst *recall(const Lower *l, const Node *n, const Index *at, KInst *mask, uint32_t lanes)
{
    uint64_t h = known_hash(n, at, mask, lanes);
    for (Known *e = (Known *)(uintptr_t)map_get(l->known, h, 0); e; e = e->next)
        if (e->node == n && e->mask == mask && e->lanes == lanes && !memcmp(e->at.d, at->d, node_rank(n) * sizeof(Dim)))
            return e->value;
    return NULL;
}

void lower_know(Lower *l, const Node *n, const Index *at, KInst *value)
{
    remember(l, n, at, NULL, 0, rounded(l, n, value));              /* lanes 0: for any width and mask */
}

void lower_find(Lower *l, const Node *n, LowerFind find, void *arg)
{
    l->asked = find ? n : NULL;
    l->find = find;
    l->find_arg = arg;
}

void lower_scope(Lower *l)
{
    vec_push(l->arena, &l->scopes, l->log.n);
    l->any_of = NULL;
}

void lower_scope_end(Lower *l)
{
    uint32_t start = vec_pop(&l->scopes);
    l->any_of = NULL;
    while (l->log.n > start) {
        uint64_t h = vec_pop(&l->log);
        Known *e = (Known *)(uintptr_t)map_get(l->known, h, 0);
        map_set(l->known, h, (uintptr_t)e->next);
    }
}

DType compute_type(DType t) { return t == DT_F16 || t == DT_BF16 ? DT_F32 : t; }

/* ---- reductions --------------------------------------------------------------------------------------------------------- */
Op reduce_op(const Node *n)
{
    static const struct { Op reduce, combine; } table[] = {
        {OP_REDUCE_SUM, OP_ADD}, {OP_REDUCE_PROD, OP_MUL}, {OP_REDUCE_MAX, OP_MAXIMUM}, {OP_REDUCE_MIN, OP_MINIMUM},
        {OP_REDUCE_ANY, OP_OR},  {OP_REDUCE_ALL, OP_AND},  {OP_CUMSUM, OP_ADD},         {OP_CUMPROD, OP_MUL},
        {OP_CUMMAX, OP_MAXIMUM}, {OP_CUMMIN, OP_MINIMUM},  {OP_MATMUL, OP_ADD},
        {OP_SPLIT_MATMUL, OP_ADD}, {OP_GROUPED_MATMUL, OP_ADD},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].reduce == n->op)
            return table[i].combine;
    return OP_NONE;
}

static double lowest(DType t)
{
    switch (t) {
    case DT_I64: return (double)INT64_MIN;
    case DT_I32: return INT32_MIN;
    case DT_I8:  return INT8_MIN;
    case DT_U8: case DT_BOOL: return 0;
    case DT_F64: case DT_F32: case DT_F16: case DT_BF16: case DT_COUNT: break;
    }
    return -INFINITY;
}

static double highest(DType t)
{
    switch (t) {
    case DT_I64: return 9223372036854775807.0;       /* emitters clamp literals into the type */
    case DT_I32: return INT32_MAX;
    case DT_I8:  return INT8_MAX;
    case DT_U8:  return UINT8_MAX;
    case DT_BOOL: return 1;
    case DT_F64: case DT_F32: case DT_F16: case DT_BF16: case DT_COUNT: break;
    }
    return INFINITY;
}

KInst *reduce_start(Kernel *k, const Node *n, uint32_t lanes)
{
    KType t = {compute_type(n->type.dtype), (uint8_t)lanes};
    Op op = reduce_op(n);
    double neutral = op == OP_MUL || op == OP_AND ? 1
                   : op == OP_MAXIMUM             ? lowest(n->type.dtype)
                   : op == OP_MINIMUM             ? highest(n->type.dtype) : 0;
    return k_const(k, t, neutral);
}

KInst *reduce_combine(Kernel *k, const Node *n, KInst *acc, KInst *x)
{
    DType t = compute_type(n->type.dtype);
    return k_op(k, reduce_op(n), t, (KInst *[]){acc, k_cast(k, x, t)}, 2);
}

/* ---- values --------------------------------------------------------------------------------------------------------------- */
KInst *lower_below(Lower *l, Dim value, Dim bound, uint32_t lanes)
{
    DimPool *p = l->k->cx->dims;
    if (lanes > 1) {
        Dim coef, rest, width = dim_const(p, lanes);
        if (dim_linear_in(p, value, kernel_lane(p, lanes), &coef, &rest)) {
            if (dim_is(coef, 0))
                return k_test(l->k, value, bound, 1);
            if (dim_is(coef, 1) && dim_divides(p, width, rest) && dim_divides(p, width, bound))
                return k_test(l->k, rest, bound, 1);
        }
    }
    return k_test(l->k, value, bound, lanes);
}

KInst *mask_and(Kernel *k, KInst *a, KInst *b)
{
    if (!a || !b)
        return a ? a : b;
    return k_op(k, OP_AND, DT_BOOL, (KInst *[]){a, b}, 2);
}

static bool is_true(const KInst *c) { return c->kind == K_CONST && c->i; }
static bool is_false(const KInst *c) { return c->kind == K_CONST && !c->i; }

/* lo <= value < hi, NULL when it always holds */
static KInst *lower_in_range(Lower *l, const InRange *r, uint32_t lanes)
{
    KInst *below_lo = lower_below(l, r->value, r->lo, lanes), *below_hi = lower_below(l, r->value, r->hi, lanes);
    if (is_true(below_lo) || is_false(below_hi))
        return k_const(l->k, (KType){DT_BOOL, 1}, 0);
    KInst *from = is_false(below_lo) ? NULL : k_op(l->k, OP_NOT, DT_BOOL, &below_lo, 1);
    KInst *c = mask_and(l->k, from, is_true(below_hi) ? NULL : below_hi);
    return c;
}

static KInst *lower_under(Lower *l, KInst *cond, const Node *n, const Index *at, uint32_t lanes)
{
    KInst *outer = l->mask;
    l->mask = mask_and(l->k, outer, cond);
    KInst *v = lower_value(l, n, at, lanes);
    l->mask = outer;
    return v;
}

static KInst *lower_concat(Lower *l, const Node *n, const Index *at, uint32_t lanes)
{
    KInst *result = NULL;
    for (uint32_t i = n->n_in; i-- > 0; ) {
        InRange range;
        Index in = index_operand(l->k->cx->dims, n, i, at, &range);
        if (dim_le(l->k->cx->dims, range.hi, range.lo) || dim_le(l->k->cx->dims, range.hi, at->d[node_int(n, ATTR_AXIS, 0)]))
            continue;                                          /* empty, or wholly before the index */
        KInst *cond = lower_in_range(l, &range, lanes);
        if (cond && is_false(cond))
            continue;
        KInst *v = lower_under(l, cond, n->in[i], &in, lanes);
        result = result && cond ? k_select(l->k, cond, v, result) : v;
    }
    return result ? result : k_const(l->k, (KType){compute_type(n->type.dtype), 1}, 0);   /* past the end: under a mask that is off */
}

static KInst *lower_pad(Lower *l, const Node *n, const Index *at, uint32_t lanes)
{
    InRange range;
    Index in = index_operand(l->k->cx->dims, n, 0, at, &range);
    KInst *cond = lower_in_range(l, &range, lanes);
    const Attr *fill = node_attr(n, ATTR_FILL);
    if (cond && is_false(cond))                                /* its own elements are never met */
        return k_const(l->k, (KType){compute_type(n->type.dtype), 1}, fill ? fill->f : 0);
    KInst *v = lower_under(l, cond, n->in[0], &in, lanes);
    return cond ? k_select(l->k, cond, v, k_const(l->k, v->type, fill ? fill->f : 0)) : v;
}

/* Lanes that cannot share an address: one by one. */
static KInst *lower_by_lane(Lower *l, const Node *n, const Index *at, uint32_t lanes,
                            KInst *(*one)(Lower *, const Node *, const Index *, uint32_t))
{
    Kernel *k = l->k;
    DimPool *p = k->cx->dims;
    KInst *parts[16] = {0}, *mask = l->mask;
    for (uint32_t j = 0; j < lanes; j++) {
        Index own = *at;
        DimSubst s = {kernel_lane(p, lanes), dim_const(p, j)};
        for (uint32_t i = 0; i < node_rank(n); i++)
            own.d[i] = dim_subst(p, own.d[i], &s, 1);
        l->mask = mask && mask->type.lanes > 1 ? k_lane(k, mask, j) : mask;
        parts[j] = one(l, n, &own, 1);
    }
    l->mask = mask;
    KInst *v = k_splat(k, parts[0], lanes);
    for (uint32_t j = 1; j < lanes; j++) {
        KInst *lane = k_index(k, kernel_lane(p, lanes), DT_I32, lanes);
        KInst *is_j = k_op(k, OP_EQ, DT_BOOL, (KInst *[]){lane, k_const(k, (KType){DT_I32, (uint8_t)lanes}, j)}, 2);
        v = k_select(k, is_j, k_splat(k, parts[j], lanes), v);
    }
    return v;
}

static bool varies(const Lower *l, const Dim *at, uint32_t n, uint32_t lanes)
{
    bool any = false;
    for (uint32_t i = 0; i < n && lanes > 1; i++)
        any |= dim_uses(at[i], kernel_lane(l->k->cx->dims, lanes));
    return any;
}

/* A position read from memory: bound to a symbol. */
static KInst *lower_gather(Lower *l, const Node *n, const Index *at, uint32_t lanes)
{
    Kernel *k = l->k;
    const Node *table = n->in[0], *index = n->in[1];
    int64_t axis = node_int(n, ATTR_AXIS, 0);
    uint32_t ri = node_rank(index);
    if (varies(l, at->d + axis, ri, lanes))
        return lower_by_lane(l, n, at, lanes, lower_gather);
    Index in_index = {0}, in_table = {0};
    for (uint32_t i = 0; i < ri; i++)
        in_index.d[i] = at->d[axis + i];
    for (uint32_t i = 0; i < node_rank(table); i++)
        in_table.d[i] = i == axis ? NULL : at->d[i < axis ? i : i - 1 + ri];
    Dim extent = table->type.shape.d[axis];

    KInst *pos = k_cast(k, lower_value(l, index, &in_index, 1), DT_I64);
    KInst *size = k_index(k, extent, DT_I64, 1), *zero = k_const(k, (KType){DT_I64, 1}, 0);
    KInst *negative = k_op(k, OP_LT, DT_BOOL, (KInst *[]){pos, zero}, 2);
    pos = k_select(k, negative, k_op2(k, OP_ADD, pos, size), pos);
    /* out of range is undefined in the graph; here it must not touch foreign memory */
    pos = k_op2(k, OP_MAXIMUM, k_op2(k, OP_MINIMUM, pos, k_op2(k, OP_SUB, size, k_const(k, (KType){DT_I64, 1}, 1))), zero);
    int64_t hi = extent->hi == INT64_MAX ? INT64_MAX : extent->hi - 1;
    in_table.d[axis] = k_bind(k, pos, "at", 0, hi < 0 ? 0 : hi);
    return lower_value(l, table, &in_table, lanes);
}

/* A reduction nobody prepared: a serial loop, correct for every shape. argmax and argmin carry (value, position). */
static KInst *lower_reduce_loop(Lower *l, const Node *n, const Index *at, uint32_t lanes)
{
    Kernel *k = l->k;
    DimPool *p = k->cx->dims;
    bool arg = n->op == OP_ARGMAX || n->op == OP_ARGMIN;
    DType t = compute_type(n->in[0]->type.dtype);
    KInst *init[2] = {arg ? NULL : reduce_start(k, n, lanes), NULL};
    if (arg) {
        init[0] = k_const(k, (KType){t, (uint8_t)lanes}, n->op == OP_ARGMAX ? lowest(t) : highest(t));
        init[1] = k_const(k, (KType){DT_I64, (uint8_t)lanes}, -1);
    }
    lower_scope(l);
    KInst *loop = k_loop(k, "r", dim_const(p, 0), reduced_count(p, n), 1, init, arg ? 2 : 1, 0);
    Index in = index_reduced(p, n, at, loop->var);
    KInst *x = lower_value(l, n->in[0], &in, lanes);
    if (!arg) {
        KInst *next = reduce_combine(k, n, k_carry(k, loop, 0), k_splat(k, x, lanes));
        k_loop_end(k, loop, &next);
    } else {
        KInst *best = k_carry(k, loop, 0), *where = k_carry(k, loop, 1);
        KInst *none = k_op2(k, OP_LT, where, k_const(k, where->type, 0));
        KInst *better = k_op2(k, n->op == OP_ARGMAX ? OP_GT : OP_LT, x, best);
        KInst *nan = dtype_is_float(t) ? k_op2(k, OP_AND, k_op1(k, OP_ISNAN, x),
                                               k_op1(k, OP_NOT, k_op1(k, OP_ISNAN, best))) : NULL;
        KInst *take = k_op2(k, OP_OR, none, nan ? k_op2(k, OP_OR, better, nan) : better);
        KInst *next[2] = {k_select(k, take, k_splat(k, x, lanes), best),
                          k_select(k, take, k_index(k, loop->var, DT_I64, lanes), where)};
        k_loop_end(k, loop, next);
    }
    lower_scope_end(l);
    return k_result(k, loop, arg ? 1 : 0);
}

/* An element of a matrix that only its pieces know, at `at` of them, of the line at `line`. */
static KInst *lower_pieces(Lower *l, const SplitOperand *x, const Index *at, const Index *line, uint32_t lanes)
{
    Kernel *k = l->k;
    KInst *v = k_cast(k, lower_value(l, x->hi, at, lanes), DT_F32);
    if (x->lo)
        v = k_op2(k, OP_ADD, v, k_op2(k, OP_MUL, k_cast(k, lower_value(l, x->lo, at, lanes), DT_F32), k_const(k, (KType){DT_F32, 1}, 0x1p-11)));
    return x->inv ? k_op2(k, OP_MUL, v, k_op1(k, OP_ABS, lower_value(l, x->inv, line, lanes))) : v;
}

/* The group of a row of a grouped product, the number of groups where it is behind the last one: the first that ends behind it. */
static KInst *lower_group_of(Lower *l, const Node *n, Dim row)
{
    Kernel *k = l->k;
    Dim groups = n->in[2]->type.shape.d[0];
    KInst *none = k_index(k, groups, DT_I64, 1);
    lower_scope(l);
    KInst *loop = k_loop(k, "g", dim_const(k->cx->dims, 0), groups, 1, &none, 1, 0);
    KInst *end = k_cast(k, lower_value(l, n->in[2], &(Index){.d = {loop->var}}, 1), DT_I64);
    KInst *has = k_op2(k, OP_LT, k_index(k, row, DT_I64, 1), end);
    KInst *first = k_op2(k, OP_MINIMUM, k_carry(k, loop, 0), k_select(k, has, k_index(k, loop->var, DT_I64, 1), none));
    k_loop_end(k, loop, &first);
    lower_scope_end(l);
    return k_result(k, loop, 0);
}

Dim lower_bind_group(Lower *l, const Node *n, KInst *group)
{
    Dim groups = n->in[2]->type.shape.d[0];
    KInst *last = k_index(l->k, dim_add_const(l->k->cx->dims, groups, -1), DT_I64, 1);
    return k_bind(l->k, k_op2(l->k, OP_MINIMUM, group, last), "group", 0, groups->hi == INT64_MAX ? INT64_MAX : groups->hi - 1);
}

static KInst *lower_matmul_loop(Lower *l, const Node *n, const Index *at, uint32_t lanes)
{
    Kernel *k = l->k;
    DimPool *p = k->cx->dims;
    bool grouped = n->op == OP_GROUPED_MATMUL;
    if (grouped && varies(l, at->d, 1, lanes))
        return lower_by_lane(l, n, at, lanes, lower_matmul_loop);
    SplitOperand of_b = n->op == OP_SPLIT_MATMUL ? split_operand(n, 1) : (SplitOperand){.exact = n->in[1]};
    const Node *a = n->op == OP_SPLIT_MATMUL ? split_operand(n, 0).exact : n->in[0], *b = of_b.exact ? of_b.exact : of_b.hi;
    uint32_t r = node_rank(n), ra = node_rank(a), rb = node_rank(b);
    bool ta = node_int(n, ATTR_TRANS_A, 0) != 0, tb = node_int(n, ATTR_TRANS_B, 0) != 0;
    Dim depth = a->type.shape.d[ta ? ra - 2 : ra - 1];
    DType t = compute_type(n->type.dtype);
    KInst *zero = k_const(k, (KType){t, (uint8_t)lanes}, 0), *group = grouped ? lower_group_of(l, n, at->d[0]) : NULL;
    Dim at_group = grouped ? lower_bind_group(l, n, group) : NULL;

    lower_scope(l);
    KInst *loop = k_loop(k, "k", dim_const(p, 0), depth, 1, &zero, 1, 0);
    Index ia = {0}, ib = {0};
    for (uint32_t i = 0; i + 2 < ra; i++)
        ia.d[i] = dim_is(a->type.shape.d[i], 1) ? dim_const(p, 0) : at->d[r - ra + i];
    for (uint32_t i = 0; i + 2 < rb; i++)
        ib.d[i] = dim_is(b->type.shape.d[i], 1) ? dim_const(p, 0) : grouped ? at_group : at->d[r - rb + i];
    ia.d[ta ? ra - 1 : ra - 2] = at->d[r - 2];
    ia.d[ta ? ra - 2 : ra - 1] = loop->var;
    ib.d[tb ? rb - 2 : rb - 1] = at->d[r - 1];
    ib.d[tb ? rb - 1 : rb - 2] = loop->var;
    Index line = ib;
    line.d[rb - 2] = at->d[r - 1];
    KInst *x = k_cast(k, lower_value(l, a, &ia, lanes), t);
    KInst *y = of_b.exact ? k_cast(k, lower_value(l, b, &ib, lanes), t) : lower_pieces(l, &of_b, &ib, &line, lanes);
    KInst *sum = k_carry(k, loop, 0), *next = k_op2(k, OP_ADD, sum, k_splat(k, k_op2(k, OP_MUL, x, y), lanes));
    k_loop_end(k, loop, &next);
    lower_scope_end(l);
    KInst *total = k_result(k, loop, 0);
    return grouped ? k_select(k, k_op2(k, OP_LT, group, k_index(k, n->in[2]->type.shape.d[0], DT_I64, 1)), total, zero) : total;
}

/* The narrowest width at which every component of `at` is the same for all lanes. */
static uint32_t needed_lanes(Lower *l, const Node *n, const Index *at, uint32_t lanes)
{
    if (lanes > 1)
        for (uint32_t i = 0; i < node_rank(n); i++)
            if (dim_uses(at->d[i], kernel_lane(l->k->cx->dims, lanes)))
                return lanes;
    return 1;
}

static KInst *lower_load(Lower *l, uint32_t buffer, const Node *n, const Index *at, uint32_t lanes)
{
    Dim flat = index_flatten(l->k->cx->dims, &n->type.shape, at);
    KInst *mask = l->mask;
    if (mask && flat->hi < 0)                             /* beside padding: the mask never holds */
        return k_const(l->k, (KType){compute_type(n->type.dtype), (uint8_t)lanes}, 0);
    KInst *v = k_load(l->k, buffer, flat, lanes, mask, 0);
    v->name = n->name;
    v->stream = l->stream && lanes > 1;                   /* what all lanes share is read again by others */
    return k_cast(l->k, v, compute_type(n->type.dtype));
}

static KInst *lower_pointwise(Lower *l, const Node *n, const Index *at, uint32_t lanes)
{
    KInst *args[3];
    for (uint32_t i = 0; i < n->n_in; i++)
        args[i] = lower_value(l, n->in[i], at, lanes);
    KInst *v = k_op(l->k, n->op, compute_type(n->type.dtype), args, n->n_in);
    if (!v->name)
        v->name = n->name;
    return v;
}

static KInst *lower_cast(Lower *l, const Node *n, const Index *at, uint32_t lanes)
{
    /* an explicit narrowing cast rounds, wherever it stands, but in the classes that keep fp32 between the ops of a kernel;
     * widening back to the compute type is free */
    KInst *v = lower_value(l, n->in[0], at, lanes);
    bool half = n->type.dtype == DT_F16 || n->type.dtype == DT_BF16;
    if (!(half && l->k->approximate && v->type.dtype == DT_F32))
        v = k_cast(l->k, v, n->type.dtype);
    return k_cast(l->k, v, compute_type(n->type.dtype));
}

static KInst *lower_fresh(Lower *l, const Node *n, const Index *at, uint32_t lanes)
{
    Kernel *k = l->k;
    DimPool *p = k->cx->dims;
    switch (op_class(n->op)) {
    case CLASS_SOURCE:
        if (n->op == OP_CONST)
            return k_const(k, (KType){compute_type(n->type.dtype), 1}, node_attr(n, ATTR_VALUE) ? node_attr(n, ATTR_VALUE)->f : 0);
        pawl_assert(n->op == OP_IOTA, "%s %s is not materialised", op_name(n->op), n->name ? n->name : "");
        return k_cast(k, k_index(k, at->d[node_int(n, ATTR_AXIS, 0)], DT_I64, lanes), compute_type(n->type.dtype));
    case CLASS_MOVEMENT: {
        if (n->op == OP_CONCAT)
            return lower_concat(l, n, at, lanes);
        if (n->op == OP_PAD)
            return lower_pad(l, n, at, lanes);
        Index in = index_operand(p, n, 0, at, NULL);
        return lower_value(l, n->in[0], &in, lanes);
    }
    case CLASS_POINTWISE: return lower_pointwise(l, n, at, lanes);
    case CLASS_CAST:      return lower_cast(l, n, at, lanes);
    case CLASS_REDUCE:    return lower_reduce_loop(l, n, at, lanes);
    case CLASS_CONTRACT:  return lower_matmul_loop(l, n, at, lanes);
    case CLASS_GATHER:    return lower_gather(l, n, at, lanes);
    case CLASS_CHOICE:    return lower_value(l, n->in[0], at, lanes);
    case CLASS_SCAN:      break;
    }
    pawl_assert(false, "%s cannot be lowered inside another kernel", op_name(n->op));
    return NULL;
}

/* One value for all lanes is wanted where any lane is. */
static KInst *lower_uniform(Lower *l, const Node *n, const Index *at)
{
    KInst *vector = l->mask;
    if (l->any_of != vector) {
        l->any_of = vector;
        l->any = k_lane_reduce(l->k, OP_OR, vector);
    }
    l->mask = l->any;
    KInst *v = lower_value(l, n, at, 1);
    l->mask = vector;
    return v;
}

KInst *lower_value(Lower *l, const Node *n, const Index *at, uint32_t lanes)
{
    lanes = needed_lanes(l, n, at, lanes);
    if (lanes == 1 && l->mask && l->mask->type.lanes > 1)
        return lower_uniform(l, n, at);
    KInst *v = recall(l, n, at, NULL, 0);
    if (!v)
        v = recall(l, n, at, l->mask, lanes);
    if (v)
        return v;
    uint64_t buffer = map_get(l->buffers, (uint64_t)(uintptr_t)n, 0);
    v = buffer ? lower_load(l, (uint32_t)buffer - 1, n, at, lanes)
               : rounded(l, n, n == l->asked ? l->find(l->find_arg, at, lanes) : lower_fresh(l, n, at, lanes));
    remember(l, n, at, l->mask, lanes, v);
    return v;
}

void lower_store(Lower *l, uint32_t buffer, const Node *n, const Index *at, KInst *value, KInst *mask)
{
    Dim flat = index_flatten(l->k->cx->dims, &n->type.shape, at);
    KInst *s = k_store(l->k, buffer, flat, k_cast(l->k, value, n->type.dtype), mask);
    if (s)
        s->stream = l->stream;
}
