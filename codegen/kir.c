/* codegen/kir.c — builds kernel IR and says how instructions touch memory.
 * The builder simplifies what it can prove on the way: tests that the ranges decide, masks that are constant, casts to the
 * same type, splats and lanes of splats. What the kinds hand to the emitters is therefore already small. */
#include "codegen/kir.h"
#include "codegen/emit/gemm.h"

#include <math.h>

/* ---- instructions ----------------------------------------------------------------------------------------------------- */

static KInst *add_inst(Kernel *k, KKind kind, DType dtype, uint32_t lanes)
{
    KInst *n = arena_new_of(k->arena, KInst);
    n->kind = kind;
    n->type = (KType){dtype, (uint8_t)lanes};
    n->id = k->n_ids++;
    KBlock *block = vec_last(&k->open);
    vec_push(k->arena, block, n);
    return n;
}

static KInst *add_void(Kernel *k, KKind kind) { return add_inst(k, kind, DT_NONE, 0); }

static void set_args(Kernel *k, KInst *n, KInst *const *args, uint32_t count)
{
    n->n_args = count;
    n->args = count ? arena_copy(k->arena, args, sizeof *args * count) : NULL;
}

static void push_block(Kernel *k, KBlock *b, KInst *owner)
{
    vec_push(k->arena, &k->open, b);
    vec_push(k->arena, &k->open_inst, owner);
}

static void pop_block(Kernel *k, const KBlock *b, const char *what)
{
    pawl_assert(k->open.n > 1 && vec_last(&k->open) == b, "%s does not close the innermost open block", what);
    (void)vec_pop(&k->open);
    (void)vec_pop(&k->open_inst);
}

Dim kernel_lane(DimPool *p, uint32_t lanes)
{
    char name[16];
    if (lanes <= 1)
        return dim_const(p, 0);
    snprintf(name, sizeof name, "lane%u", lanes);
    return dim_sym(p, name, 0, (int64_t)lanes - 1);
}

static bool valid_lanes(uint32_t n) { return n == 1 || n == 2 || n == 4 || n == 8 || n == 16; }

/* ---- kernels ---------------------------------------------------------------------------------------------------------- */

Kernel *kernel_new(Context *cx, Arena *a, const char *name, bool host, uint32_t threads)
{
    Kernel *k = arena_new_of(a, Kernel);
    pawl_assert(threads >= 1 && (!host || threads == 1));
    k->cx = cx;
    k->arena = a;
    k->name = str_intern(cx->strs, name);
    k->head = k->kind = k->schedule = str_intern(cx->strs, "");
    k->host = host;
    k->threads = threads;
    k->thread = threads == 1 ? dim_const(cx->dims, 0) : dim_sym_fresh(cx->dims, "thread", 0, (int64_t)threads - 1);
    for (int d = 0; d < 3; d++) {
        k->grid[d] = dim_const(cx->dims, 1);
        k->block[d] = dim_const(cx->dims, 0);
    }
    push_block(k, &k->body, NULL);
    return k;
}

/* A new symbol with lo <= it < hi. */
static Dim sym_between(Kernel *k, const char *prefix, Dim lo, Dim hi)
{
    if (lo->lo >= 0 && !dim_is_const(hi))
        return dim_sym_below(k->cx->dims, prefix, hi);
    int64_t last = hi->hi == INT64_MAX ? INT64_MAX : hi->hi > lo->lo ? hi->hi - 1 : lo->lo;
    return dim_sym_fresh(k->cx->dims, prefix, lo->lo, last);
}

void kernel_grid(Kernel *k, Dim x, Dim y, Dim z)
{
    static const char *const names[3] = {"block_x", "block_y", "block_z"};
    Dim g[3] = {x, y, z};
    for (int d = 0; d < 3; d++) {
        k->grid[d] = g[d];
        k->block[d] = dim_is(g[d], 1) ? dim_const(k->cx->dims, 0) : sym_between(k, names[d], dim_const(k->cx->dims, 0), g[d]);
    }
}

uint32_t kernel_buffer(Kernel *k, Str name, DType t, Dim count, uint32_t align)
{
    vec_push(k->arena, &k->buffers, ((KBuffer){.name = name, .dtype = t, .count = count, .align = align}));
    return k->buffers.n - 1;
}

uint32_t kernel_shared(Kernel *k, const char *name, DType t, uint32_t count)
{
    return kernel_shared_swizzled(k, name, t, count, 0);
}

uint32_t kernel_shared_swizzled(Kernel *k, const char *name, DType t, uint32_t count, uint32_t swizzle)
{
    vec_push(k->arena, &k->shared, ((KShared){str_intern(k->cx->strs, name), t, count, swizzle}));
    return k->shared.n - 1;
}

uint32_t kernel_shared_start(const KShared *s, uint32_t bytes)
{
    uint32_t align = s->swizzle ? 8 * s->swizzle : 16;
    return (bytes + align - 1) & ~(align - 1);
}

uint32_t kernel_shared_bytes(const Kernel *k)
{
    uint32_t bytes = k->gemm ? gemm_pipeline_bytes(k->gemm) : 0;
    for (uint32_t i = 0; i < k->shared.n; i++)
        bytes = kernel_shared_start(&k->shared.data[i], bytes) + k->shared.data[i].count * dtype_bytes(k->shared.data[i].dtype);
    return bytes;
}

/* ---- values ----------------------------------------------------------------------------------------------------------- */

static int64_t integer_of(double v)
{
    return v >= -0x1p63 && v < 0x1p63 ? (int64_t)v : v > 0 ? INT64_MAX : INT64_MIN;
}

KInst *k_const(Kernel *k, KType t, double v)
{
    KInst *n = add_inst(k, K_CONST, t.dtype, t.lanes ? t.lanes : 1);
    n->f = dtype_is_float(t.dtype) ? dtype_round(t.dtype, v) : v;
    n->i = t.dtype == DT_BOOL ? v != 0 : integer_of(v);
    return n;
}

static bool is_const(const KInst *n) { return n->kind == K_CONST; }

KInst *k_index(Kernel *k, Dim d, DType t, uint32_t lanes)
{
    pawl_assert(t == DT_I32 || t == DT_I64);
    if (dim_is_const(d)) {
        KInst *c = k_const(k, (KType){t, (uint8_t)lanes}, (double)d->value);
        c->i = d->value;
        return c;
    }
    if (lanes > 1 && !dim_uses(d, kernel_lane(k->cx->dims, lanes)))
        return k_splat(k, k_index(k, d, t, 1), lanes);
    KInst *n = add_inst(k, K_INDEX, t, lanes);
    n->index = d;
    return n;
}

/* Lanes that are in or out all together need one scalar test: base + lane < bound with both multiples of the lanes. */
static bool test_is_scalar(DimPool *p, Dim *a, Dim b, uint32_t lanes)
{
    Dim lane = kernel_lane(p, lanes), coef, base;
    if (dim_uses(b, lane))
        return false;
    if (!dim_uses(*a, lane))
        return true;
    if (!dim_linear_in(p, *a, lane, &coef, &base) || !dim_is(coef, 1))
        return false;
    Dim n = dim_const(p, lanes);
    if (!dim_divides(p, n, base) || !dim_divides(p, n, b))
        return false;
    *a = base;
    return true;
}

KInst *k_test(Kernel *k, Dim a, Dim b, uint32_t lanes)
{
    DimPool *p = k->cx->dims;
    if (dim_lt(p, a, b))
        return k_const(k, (KType){DT_BOOL, 1}, 1);
    if (dim_le(p, b, a))
        return k_const(k, (KType){DT_BOOL, 1}, 0);
    if (lanes > 1 && test_is_scalar(p, &a, b, lanes))
        lanes = 1;
    KInst *n = add_inst(k, K_TEST, DT_BOOL, lanes);
    n->index = a;
    n->bound = b;
    return n;
}

/* A mask that is constant: true is dropped, false is told by *never. */
static KInst *simplify_mask(KInst *mask, bool *never)
{
    *never = false;
    while (mask && mask->kind == K_SPLAT)
        mask = mask->args[0];
    if (!mask || !is_const(mask))
        return mask;
    *never = !mask->i;
    return NULL;
}

KInst *k_load(Kernel *k, uint32_t buffer, Dim index, uint32_t lanes, KInst *mask, double fill)
{
    bool never;
    pawl_assert(buffer < k->buffers.n && valid_lanes(lanes));
    KBuffer *b = &k->buffers.data[buffer];
    mask = simplify_mask(mask, &never);
    if (never)
        return k_const(k, (KType){b->dtype, (uint8_t)lanes}, fill);
    KInst *n = add_inst(k, K_LOAD, b->dtype, lanes);
    n->buffer = buffer;
    n->index = index;
    n->f = dtype_is_float(b->dtype) ? dtype_round(b->dtype, fill) : fill;
    n->i = integer_of(fill);
    n->name = b->name;
    set_args(k, n, &mask, mask != NULL);
    b->read = true;
    return n;
}

KInst *k_load_raw(Kernel *k, uint32_t buffer, Dim index, KInst *mask)
{
    bool never;
    pawl_assert(buffer < k->buffers.n && dtype_bytes(k->buffers.data[buffer].dtype) == 2);
    mask = simplify_mask(mask, &never);
    if (never)
        return k_const(k, (KType){DT_I32, 4}, 0);
    KInst *n = add_inst(k, K_LOAD_RAW, DT_I32, 4);
    n->buffer = buffer;
    n->index = index;
    n->name = k->buffers.data[buffer].name;
    set_args(k, n, &mask, mask != NULL);
    k->buffers.data[buffer].read = true;
    return n;
}

static KInst *add_store(Kernel *k, KKind kind, uint32_t buffer, Dim index, KInst *value, KInst *mask)
{
    bool never;
    mask = simplify_mask(mask, &never);
    if (never)
        return NULL;
    KInst *n = add_void(k, kind);
    n->buffer = buffer;
    n->index = index;
    set_args(k, n, (KInst *[]){value, mask}, mask ? 2 : 1);
    return n;
}

KInst *k_store(Kernel *k, uint32_t buffer, Dim index, KInst *value, KInst *mask)
{
    pawl_assert(buffer < k->buffers.n);
    k->buffers.data[buffer].written = true;
    return add_store(k, K_STORE, buffer, index, k_cast(k, value, k->buffers.data[buffer].dtype), mask);
}

KInst *k_shared_load(Kernel *k, uint32_t shared, Dim index, uint32_t lanes)
{
    pawl_assert(shared < k->shared.n && valid_lanes(lanes));
    KInst *n = add_inst(k, K_SHARED_LOAD, k->shared.data[shared].dtype, lanes);
    n->buffer = shared;
    n->index = index;
    return n;
}

void k_shared_store(Kernel *k, uint32_t shared, Dim index, KInst *value, KInst *mask)
{
    pawl_assert(shared < k->shared.n);
    add_store(k, K_SHARED_STORE, shared, index, k_cast(k, value, k->shared.data[shared].dtype), mask);
}

void k_cluster_store(Kernel *k, uint32_t shared, Dim rank, Dim index, KInst *value, KInst *mask)
{
    pawl_assert(shared < k->shared.n && k->cluster > 1);
    KInst *n = add_store(k, K_CLUSTER_STORE, shared, index, k_cast(k, value, k->shared.data[shared].dtype), mask);
    if (n)
        n->bound = rank;
}

KInst *k_atomic_add(Kernel *k, uint32_t buffer, Dim index, KInst *value)
{
    pawl_assert(buffer < k->buffers.n && value->type.lanes == 1);
    KInst *n = add_inst(k, K_ATOMIC_ADD, k->buffers.data[buffer].dtype, 1);
    n->buffer = buffer;
    n->index = index;
    k->buffers.data[buffer].written = k->buffers.data[buffer].read = true;
    set_args(k, n, &value, 1);
    return n;
}

/* ---- arithmetic ------------------------------------------------------------------------------------------------------- */

KInst *k_splat(Kernel *k, KInst *a, uint32_t lanes)
{
    if (a->type.lanes == lanes)
        return a;
    pawl_assert(a->type.lanes == 1, "a vector of %u lanes cannot become one of %u", a->type.lanes, lanes);
    if (is_const(a)) {
        KInst *c = k_const(k, (KType){a->type.dtype, (uint8_t)lanes}, a->f);
        c->i = a->i;
        return c;
    }
    KInst *n = add_inst(k, K_SPLAT, a->type.dtype, lanes);
    set_args(k, n, &a, 1);
    return n;
}

KInst *k_lane(Kernel *k, KInst *a, uint32_t lane)
{
    pawl_assert(lane < a->type.lanes);
    if (a->type.lanes == 1)
        return a;
    if (a->kind == K_SPLAT)
        return a->args[0];
    if (is_const(a)) {
        KInst *c = k_const(k, (KType){a->type.dtype, 1}, a->f);
        c->i = a->i;
        return c;
    }
    KInst *n = add_inst(k, K_LANE, a->type.dtype, 1);
    n->i = lane;
    set_args(k, n, &a, 1);
    return n;
}

static bool is_predicate(Op op) { return op_has(op, OP_PREDICATE); }

KInst *k_op(Kernel *k, Op op, DType result, KInst *const *args, uint32_t n)
{
    KInst *wide[3];
    uint32_t lanes = 1;
    pawl_assert(op_class(op) == CLASS_POINTWISE && (uint32_t)op_table[op].arity == n && n <= 3, "%s", op_name(op));
    for (uint32_t i = 0; i < n; i++)
        if (args[i]->type.lanes > lanes)
            lanes = args[i]->type.lanes;
    if (op == OP_WHERE && is_const(args[0]))
        return k_splat(k, k_cast(k, args[args[0]->i ? 1 : 2], result), lanes);
    for (uint32_t i = 0; i < n; i++) {
        wide[i] = k_splat(k, args[i], lanes);
        if (op == OP_WHERE ? i > 0 : !is_predicate(op))
            wide[i] = k_cast(k, wide[i], result);
    }
    KInst *inst = k_approximated(k, op, result, wide);
    if (inst)
        return inst;
    inst = add_inst(k, K_OP, is_predicate(op) ? DT_BOOL : result, lanes);
    inst->op = op;
    set_args(k, inst, wide, n);
    return is_predicate(op) && result != DT_BOOL ? k_cast(k, inst, result) : inst;
}

KInst *k_op1(Kernel *k, Op op, KInst *a)
{
    return k_op(k, op, is_predicate(op) ? DT_BOOL : a->type.dtype, &a, 1);
}

KInst *k_op2(Kernel *k, Op op, KInst *a, KInst *b)
{
    return k_op(k, op, is_predicate(op) ? DT_BOOL : a->type.dtype, (KInst *[]){a, b}, 2);
}

KInst *k_select(Kernel *k, KInst *cond, KInst *a, KInst *b)
{
    return k_op(k, OP_WHERE, a->type.dtype, (KInst *[]){cond, a, b}, 3);
}

KInst *k_cast(Kernel *k, KInst *a, DType t)
{
    if (a->type.dtype == t)
        return a;
    if (is_const(a)) {
        KInst *c = k_const(k, (KType){t, a->type.lanes}, dtype_is_float(a->type.dtype) ? a->f : (double)a->i);
        if (!dtype_is_float(t))
            c->i = dtype_is_float(a->type.dtype) ? (int64_t)dtype_round(t, a->f)
                 : t == DT_BOOL ? a->i != 0 : t == DT_I32 ? (int32_t)(uint32_t)(uint64_t)a->i
                 : t == DT_I8 ? (int8_t)(uint8_t)(uint64_t)a->i : t == DT_U8 ? (uint8_t)(uint64_t)a->i : a->i;
        return c;
    }
    if (a->kind == K_SPLAT)
        return k_splat(k, k_cast(k, a->args[0], t), a->type.lanes);
    KInst *n = add_inst(k, K_CAST, t, a->type.lanes);
    n->name = a->name;
    set_args(k, n, &a, 1);
    return n;
}

KInst *k_lane_reduce(Kernel *k, Op op, KInst *a)
{
    if (a->type.lanes == 1)
        return a;
    KInst *n = add_inst(k, K_LANE_REDUCE, a->type.dtype, 1);
    n->op = op;
    set_args(k, n, &a, 1);
    return n;
}

KInst *k_shuffle_xor(Kernel *k, KInst *a, int mask)
{
    pawl_assert(mask >= 0 && mask < 32 && !k->host);
    KInst *n = add_inst(k, K_SHUFFLE_XOR, a->type.dtype, a->type.lanes);
    n->i = mask;
    set_args(k, n, &a, 1);
    return n;
}

KInst *k_mma(Kernel *k, DType t, KInst *acc, KInst *w0, KInst *w1, KInst *x)
{
    pawl_assert(!k->host && (t == DT_BF16 || t == DT_F16));
    KInst *n = add_inst(k, K_MMA, DT_F32, 4);
    n->i = t;
    set_args(k, n, (KInst *[]){acc, w0, w1, x}, 4);
    return n;
}

Dim k_bind(Kernel *k, KInst *integer, const char *prefix, int64_t lo, int64_t hi)
{
    DTypeClass c = dtype_class(integer->type.dtype);
    pawl_assert(integer->type.lanes == 1 && (c == DC_SIGNED || c == DC_UNSIGNED));
    if (is_const(integer))
        return dim_const(k->cx->dims, integer->i);
    KInst *n = add_void(k, K_BIND);
    n->var = dim_sym_fresh(k->cx->dims, prefix, lo, hi);
    set_args(k, n, &integer, 1);
    return n->var;
}

/* ---- control flow ----------------------------------------------------------------------------------------------------- */

KInst *k_loop(Kernel *k, const char *prefix, Dim lo, Dim hi, int64_t step, KInst *const *init, uint32_t n_carry, int unroll)
{
    KInst *n = add_void(k, K_LOOP);
    pawl_assert(step >= 1);
    n->index = lo;
    n->bound = hi;
    n->i = step;
    n->unroll = unroll;
    n->var = sym_between(k, prefix, lo, hi);
    set_args(k, n, init, n_carry);
    push_block(k, &n->body, n);
    return n;
}

KInst *k_carry(Kernel *k, KInst *loop, uint32_t i)
{
    pawl_assert(loop->kind == K_LOOP && i < loop->n_args);
    KInst *n = add_inst(k, K_CARRY, loop->args[i]->type.dtype, loop->args[i]->type.lanes);
    n->of = loop;
    n->i = i;
    n->name = loop->args[i]->name;
    return n;
}

void k_loop_end(Kernel *k, KInst *loop, KInst *const *next)
{
    pop_block(k, &loop->body, "k_loop_end");
    loop->n_yield = loop->n_args;
    loop->yield = loop->n_yield ? arena_copy(k->arena, next, sizeof *next * loop->n_yield) : NULL;
}

KInst *k_if(Kernel *k, KInst *cond)
{
    pawl_assert(cond->type.dtype == DT_BOOL && cond->type.lanes == 1);
    KInst *n = add_void(k, K_IF);
    set_args(k, n, &cond, 1);
    push_block(k, &n->body, n);
    return n;
}

void k_else(Kernel *k, KInst *branch, KInst *const *values, uint32_t n)
{
    pop_block(k, &branch->body, "k_else");
    branch->n_yield = n;
    branch->yield = n ? arena_copy(k->arena, values, sizeof *values * n) : NULL;
    push_block(k, &branch->other, branch);
}

void k_if_end(Kernel *k, KInst *branch, KInst *const *values, uint32_t n)
{
    if (vec_last(&k->open) == &branch->other) {
        pawl_assert(n == branch->n_yield, "the branches of an if yield %u and %u values", branch->n_yield, n);
        pop_block(k, &branch->other, "k_if_end");
        branch->yield_other = n ? arena_copy(k->arena, values, sizeof *values * n) : NULL;
        return;
    }
    pawl_assert(n == 0, "an if without else yields nothing");
    pop_block(k, &branch->body, "k_if_end");
}

KInst *k_result(Kernel *k, KInst *of, uint32_t i)
{
    pawl_assert((of->kind == K_LOOP || of->kind == K_IF) && i < of->n_yield);
    const KInst *v = of->kind == K_LOOP ? of->args[i] : of->yield[i];
    KInst *n = add_inst(k, K_RESULT, v->type.dtype, v->type.lanes);
    n->of = of;
    n->i = i;
    n->name = v->name;
    return n;
}

void k_barrier(Kernel *k)
{
    if (!k->host)
        add_void(k, K_BARRIER);
}

void k_cluster_arrive(Kernel *k, bool stored) { add_void(k, K_CLUSTER_ARRIVE)->i = stored; }
void k_cluster_wait(Kernel *k) { add_void(k, K_CLUSTER_WAIT); }
void k_fence(Kernel *k) { add_void(k, K_FENCE); }

KInst *k_copy_async(Kernel *k, uint32_t shared, Dim to, uint32_t buffer, Dim from, KInst *mask)
{
    bool never;
    pawl_assert(!k->host && shared < k->shared.n && buffer < k->buffers.n);
    mask = simplify_mask(mask, &never);
    if (never)
        mask = k_const(k, (KType){DT_BOOL, 1}, 0);              /* the zeros are still wanted */
    KInst *n = add_void(k, K_COPY_ASYNC);
    n->buffer = buffer;
    n->index = from;
    n->bound = to;
    n->i = shared;
    set_args(k, n, &mask, mask != NULL);
    k->buffers.data[buffer].read = true;
    return n;
}

void k_copy_commit(Kernel *k) { add_void(k, K_COPY_COMMIT); }
void k_copy_wait(Kernel *k, uint32_t groups) { add_void(k, K_COPY_WAIT)->i = groups; }
void k_warp_sync(Kernel *k) { add_void(k, K_WARP_SYNC); }

KInst *k_sum(Kernel *k, uint32_t pair)
{
    KInst *n = add_inst(k, K_SUM, DT_F32, 2);
    n->i = pair;
    return n;
}

void k_bulk_store(Kernel *k, uint32_t map, const Dim *at, uint32_t shared, Dim from)
{
    pawl_assert(!k->host && map < k->maps.n && shared < k->shared.n);
    const PlanTensorMap *m = &k->maps.data[map];
    KInst *args[TENSOR_MAP_RANK];
    for (uint32_t d = 0; d < m->rank; d++)
        args[d] = k_index(k, at[d], DT_I32, 1);
    KInst *n = add_void(k, K_BULK_STORE);
    n->buffer = shared;
    n->bound = from;
    n->i = map;
    set_args(k, n, args, m->rank);
    k->buffers.data[m->buffer].written = true;
}

void k_bulk_fence(Kernel *k) { add_void(k, K_BULK_FENCE); }
void k_bulk_commit(Kernel *k) { add_void(k, K_BULK_COMMIT); }
void k_bulk_wait(Kernel *k, uint32_t groups) { add_void(k, K_BULK_WAIT)->i = groups; }
void k_wait(Kernel *k) { add_void(k, K_WAIT); }
void k_launch_next(Kernel *k) { add_void(k, K_LAUNCH_NEXT); }

static bool block_waits(const KBlock *b)
{
    for (uint32_t i = 0; i < b->n; i++)
        if (b->data[i]->kind == K_WAIT || block_waits(&b->data[i]->body) || block_waits(&b->data[i]->other))
            return true;
    return false;
}

bool kernel_places_wait(const Kernel *k) { return block_waits(&k->body); }

/* ---- analysis --------------------------------------------------------------------------------------------------------- */

/* The stride over the lanes where no linear form shows it: the index at every lane, compared. */
static bool stride_by_lanes(DimPool *p, Dim index, Dim lane, uint32_t lanes, Dim *base, Dim *stride)
{
    Dim at[16];
    for (uint32_t l = 0; l < lanes; l++)
        at[l] = dim_subst(p, index, &(DimSubst){lane, dim_const(p, l)}, 1);
    *base = at[0];
    *stride = dim_sub(p, at[1], at[0]);
    for (uint32_t l = 2; l < lanes; l++)
        if (dim_sub(p, at[l], at[l - 1]) != *stride)
            return false;
    return true;
}

Access k_access(const Kernel *k, Dim index, uint32_t lanes, DType t, uint32_t pointer_align)
{
    DimPool *p = k->cx->dims;
    Access x = {ACCESS_UNIFORM, index, dim_const(p, 0), dtype_bytes(t)};
    Dim lane = kernel_lane(p, lanes);
    if (lanes > 1 && dim_uses(index, lane)) {
        Dim coef, rest;
        if (dim_linear_in(p, index, lane, &coef, &rest) || stride_by_lanes(p, index, lane, lanes, &rest, &coef)) {
            x.base = rest;
            x.stride = coef;
            x.kind = dim_is(coef, 0) ? ACCESS_UNIFORM : dim_is(coef, 1) ? ACCESS_CONTIGUOUS : ACCESS_STRIDED;
        } else {
            x.kind = ACCESS_GATHER;
            return x;
        }
    }
    while (x.align < pointer_align && dim_divides(p, dim_const(p, 2 * x.align / dtype_bytes(t)), x.base))
        x.align *= 2;
    return x;
}

/* ---- symbols ---------------------------------------------------------------------------------------------------------- */

static void add_symbols(Kernel *k, Dim d, Map *own)
{
    if (!d)
        return;
    switch (d->kind) {
    case DIM_CONST:
        return;
    case DIM_SYM:
        if (map_set_ptr(own, d, d))
            vec_push(k->arena, &k->scalars, d);
        return;
    case DIM_SUM:
        for (uint32_t i = 0; i < d->n_terms; i++)
            for (uint32_t j = 0; j < d->terms[i].n_atoms; j++)
                add_symbols(k, d->terms[i].atoms[j], own);
        return;
    case DIM_FLOORDIV: case DIM_MOD: case DIM_MIN: case DIM_MAX:
        add_symbols(k, d->a, own);
        add_symbols(k, d->b, own);
        return;
    }
}

static void own_symbols(const KBlock *b, Map *own)
{
    for (uint32_t i = 0; i < b->n; i++) {
        const KInst *n = b->data[i];
        if (n->var)
            map_set_ptr(own, n->var, n->var);
        own_symbols(&n->body, own);
        own_symbols(&n->other, own);
    }
}

static void block_symbols(Kernel *k, const KBlock *b, Map *own)
{
    for (uint32_t i = 0; i < b->n; i++) {
        const KInst *n = b->data[i];
        add_symbols(k, n->index, own);
        add_symbols(k, n->bound, own);
        block_symbols(k, &n->body, own);
        block_symbols(k, &n->other, own);
    }
}

static void gemm_symbols(Kernel *k, Map *own)
{
    const KGemm *g = k->gemm;
    const KMatrix *matrices[] = {&g->a, &g->b, &g->a_lo, &g->b_lo, &g->exact_a, &g->exact_b};
    Dim dims[] = {g->m, g->n, g->k, g->batch, g->k_exact, g->part_start[0], g->part_start[1], g->stride_inv_a, g->stride_inv_b};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
        add_symbols(k, dims[i], own);
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++) {
        add_symbols(k, matrices[i]->offset, own);
        add_symbols(k, matrices[i]->ld, own);
        add_symbols(k, matrices[i]->stride_batch, own);
    }
}

void kernel_collect_scalars(Kernel *k)
{
    Map *own = map_new(k->arena);
    map_set_ptr(own, k->thread, k->thread);
    for (int d = 0; d < 3; d++)
        map_set_ptr(own, k->block[d], k->block[d]);
    for (uint32_t lanes = 2; lanes <= 16; lanes *= 2)
        map_set_ptr(own, kernel_lane(k->cx->dims, lanes), k);
    for (uint32_t i = 0; i < k->scalars.n; i++)
        map_set_ptr(own, k->scalars.data[i], k);
    own_symbols(&k->body, own);
    if (k->gemm) {
        const KGemm *g = k->gemm;
        const Dim place[] = {g->row, g->col, g->at_batch, g->warp, g->lane, g->bulk ? g->turn : g->row, g->groups ? g->end : g->row};
        for (size_t i = 0; i < sizeof place / sizeof *place; i++)
            map_set_ptr(own, place[i], k);
        gemm_symbols(k, own);
    }
    block_symbols(k, &k->body, own);
}

/* Largest magnitude any partial result of evaluating d may reach. */
static double magnitude(Dim d)
{
    double sum = 0;
    switch (d->kind) {
    case DIM_CONST: return fabs((double)d->value);
    case DIM_SYM:   return fmax(fabs((double)d->lo), fabs((double)d->hi));
    case DIM_SUM:
        sum = fabs((double)d->value);
        for (uint32_t i = 0; i < d->n_terms; i++) {
            double t = fabs((double)d->terms[i].coef);
            for (uint32_t j = 0; j < d->terms[i].n_atoms; j++)
                t *= magnitude(d->terms[i].atoms[j]);
            sum += t;
        }
        return sum;
    case DIM_FLOORDIV: case DIM_MOD: case DIM_MIN: case DIM_MAX:
        return fmax(magnitude(d->a), magnitude(d->b));
    }
    return sum;
}

static bool block_index64(const KBlock *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        const KInst *n = b->data[i];
        if ((n->index && magnitude(n->index) > 0x7fffffff) || (n->bound && magnitude(n->bound) > 0x7fffffff))
            return true;
        if (n->kind == K_LOOP && magnitude(n->bound) + (double)n->i > 0x7fffffff)
            return true;
        if (block_index64(&n->body) || block_index64(&n->other))
            return true;
    }
    return false;
}

bool kernel_needs_index64(const Kernel *k) { return k->index64 || block_index64(&k->body); }
