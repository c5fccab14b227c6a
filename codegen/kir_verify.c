/* codegen/kir_verify.c — the rules of kernel IR, checked after a kernel was built.
 * Types of operands, dominance, barriers only where all threads of a block agree, indices that cannot be out of bounds for
 * sure, shared memory within what any GPU has. A failure is our own bug: the diagnostic names kernel and instruction. */
#include "codegen/emit/gemm.h"

enum { SHARED_LIMIT = 227 * 1024 };

typedef struct {
    const Kernel *k;
    Diags *diags;
    Arena *arena;
    bool *visible;          /* by id: dominates the current instruction */
    bool *varying;          /* by id: may differ between the threads of a block */
    Map *varying_syms;
    Map *bound_syms;        /* loop and bind variables in scope */
    uint32_t divergent;     /* depth of branches and loops on which threads may disagree */
    bool ok, changed;
} Verify;

static void fail(Verify *v, const KInst *n, const char *fmt, const char *what)
{
    char *text = arena_printf(v->arena, fmt, what);
    v->ok = diag_error(v->diags, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "kernel %s, %%%u: %s", v->k->name, n ? n->id : 0, text);
}

static void check(Verify *v, const KInst *n, bool cond, const char *what)
{
    if (!cond)
        fail(v, n, "%s", what);
}

/* ---- what varies between threads --------------------------------------------------------------------------------------- */

static bool dim_varies(const Verify *v, Dim d)
{
    if (!d)
        return false;
    switch (d->kind) {
    case DIM_CONST: return false;
    case DIM_SYM:   return map_has(v->varying_syms, (uint64_t)(uintptr_t)d);
    case DIM_SUM:
        for (uint32_t i = 0; i < d->n_terms; i++)
            for (uint32_t j = 0; j < d->terms[i].n_atoms; j++)
                if (dim_varies(v, d->terms[i].atoms[j]))
                    return true;
        return false;
    case DIM_FLOORDIV: case DIM_MOD: case DIM_MIN: case DIM_MAX:
        return dim_varies(v, d->a) || dim_varies(v, d->b);
    }
    return true;
}

static bool any_varies(const Verify *v, KInst *const *args, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (v->varying[args[i]->id])
            return true;
    return false;
}

static bool inst_varies(const Verify *v, const KInst *n)
{
    switch (n->kind) {
    case K_CONST: case K_STORE: case K_SHARED_STORE: case K_CLUSTER_STORE: case K_CLUSTER_ARRIVE: case K_CLUSTER_WAIT: case K_BARRIER:
    case K_FENCE: case K_COPY_ASYNC: case K_WARP_SYNC:
    case K_COPY_COMMIT: case K_COPY_WAIT: case K_BULK_FENCE: case K_BULK_STORE: case K_BULK_COMMIT: case K_BULK_WAIT: case K_WAIT:
    case K_LAUNCH_NEXT:
        return false;
    case K_ATOMIC_ADD: case K_SHUFFLE_XOR: case K_MMA: case K_SUM:
        return true;
    case K_CARRY:
        return v->varying[n->of->id] || v->varying[n->of->args[n->i]->id] ||
               (n->of->n_yield && v->varying[n->of->yield[n->i]->id]);
    case K_RESULT:
        return v->varying[n->of->id] || v->varying[n->of->yield[n->i]->id] ||
               (n->of->kind == K_IF && v->varying[n->of->yield_other[n->i]->id]);
    case K_INDEX: case K_TEST: case K_LOAD: case K_LOAD_RAW: case K_SHARED_LOAD: case K_OP: case K_CAST: case K_SPLAT: case K_LANE:
    case K_LANE_REDUCE: case K_BIND: case K_LOOP: case K_IF:
        return any_varies(v, n->args, n->kind == K_LOOP ? 0 : n->n_args) || dim_varies(v, n->index) || dim_varies(v, n->bound);
    }
    return true;
}

static void mark_block(Verify *v, const KBlock *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        const KInst *n = b->data[i];
        mark_block(v, &n->body);
        mark_block(v, &n->other);
        if (v->varying[n->id] || !inst_varies(v, n))
            continue;
        v->varying[n->id] = v->changed = true;
        if (n->var)
            map_set_ptr(v->varying_syms, n->var, n);
    }
}

/* ---- rules an instruction ----------------------------------------------------------------------------------------------- */

static bool dim_in_scope(const Verify *v, Dim d)
{
    if (!d)
        return true;
    switch (d->kind) {
    case DIM_CONST: return true;
    case DIM_SYM:
        return map_has(v->bound_syms, (uint64_t)(uintptr_t)d);
    case DIM_SUM:
        for (uint32_t i = 0; i < d->n_terms; i++)
            for (uint32_t j = 0; j < d->terms[i].n_atoms; j++)
                if (!dim_in_scope(v, d->terms[i].atoms[j]))
                    return false;
        return true;
    case DIM_FLOORDIV: case DIM_MOD: case DIM_MIN: case DIM_MAX:
        return dim_in_scope(v, d->a) && dim_in_scope(v, d->b);
    }
    return true;
}

static bool type_equals(KType a, KType b) { return a.dtype == b.dtype && a.lanes == b.lanes; }

static void check_access(Verify *v, const KInst *n, DType t, uint32_t lanes, const KInst *value, const KInst *mask, Dim count)
{
    check(v, n, !value || value->type.dtype == t, "the stored value has another type than the buffer");
    check(v, n, !mask || (mask->type.dtype == DT_BOOL && (mask->type.lanes == 1 || mask->type.lanes == lanes)),
          "the mask is neither one bool nor one a lane");
    check(v, n, !count || count->hi == 0 || mask || v->divergent || n->index->lo == INT64_MIN || count->hi == INT64_MAX ||
                n->index->lo < count->hi, "the index is past the end of the buffer");
    check(v, n, n->index->hi >= 0 || (count && count->hi == 0), "the index is negative");
}

static void check_op(Verify *v, const KInst *n)
{
    bool predicate = op_has(n->op, OP_PREDICATE);
    check(v, n, op_class(n->op) == CLASS_POINTWISE && (uint32_t)op_table[n->op].arity == n->n_args, "not a pointwise op of this arity");
    check(v, n, !predicate || n->type.dtype == DT_BOOL, "a predicate gives bool");
    for (uint32_t i = 0; i < n->n_args; i++) {
        KType t = n->args[i]->type;
        check(v, n, t.lanes == n->type.lanes, "an operand has another number of lanes than the result");
        if (n->op == OP_WHERE && i == 0)
            check(v, n, t.dtype == DT_BOOL, "the condition of where is not bool");
        else if (predicate)
            check(v, n, t.dtype == n->args[0]->type.dtype, "the operands of a comparison have different types");
        else
            check(v, n, t.dtype == n->type.dtype, "an operand has another type than the result");
        check(v, n, !op_has(n->op, OP_INTEGER) || !dtype_is_float(t.dtype), "a bitwise op on floating point");
    }
}

static void check_yield(Verify *v, const KInst *n, KInst *const *a, KInst *const *b)
{
    for (uint32_t i = 0; i < n->n_yield; i++)
        check(v, n, type_equals(a[i]->type, b[i]->type), "values carried or joined have different types");
}

static void check_raw(Verify *v, const KInst *n)
{
    const KBuffer *b = &v->k->buffers.data[n->buffer];
    check_access(v, n, DT_I32, 1, NULL, n->n_args ? n->args[0] : NULL, b->count);
    check(v, n, dtype_bytes(b->dtype) == 2 && b->align >= 16, "a raw load is for aligned buffers of 2-byte elements");
    check(v, n, dim_divides(v->k->cx->dims, dim_const(v->k->cx->dims, 8), n->index), "a raw load that is not known to be aligned");
}

static void check_copy(Verify *v, const KInst *n)
{
    DimPool *p = v->k->cx->dims;
    const KBuffer *b = &v->k->buffers.data[n->buffer];
    const KShared *s = &v->k->shared.data[n->i];
    check_access(v, n, DT_I32, 1, NULL, n->n_args ? n->args[0] : NULL, b->count);
    check(v, n, !v->k->host && dtype_bytes(b->dtype) == 2 && b->align >= 16 && s->dtype == DT_I32,
          "an asynchronous copy is from an aligned buffer of 2-byte elements to a shared array of i32");
    check(v, n, dim_divides(p, dim_const(p, 8), n->index) && dim_divides(p, dim_const(p, 4), n->bound),
          "an asynchronous copy that is not known to be aligned");
    check(v, n, n->bound->hi >= 0 && n->bound->lo < s->count, "the copy goes past the end of the shared array");
}

static void check_sum(Verify *v, const KInst *n)
{
    const KGemm *g = v->k->gemm;
    check(v, n, g && g->bulk && n->i >= 0 && n->i < (int64_t)g->parts * g->width / 4, "no such sums of a piece, or they are not in registers");
}

/* The copy engine reads the box as it lies there; its own rules are the map's (plan_verify.c). */
static void check_bulk_store(Verify *v, const KInst *n)
{
    const Kernel *k = v->k;
    const PlanTensorMap *m = &k->maps.data[n->i];
    const KShared *s = &k->shared.data[n->buffer];
    int64_t box = 1;
    for (uint32_t d = 0; d < m->rank; d++)
        box *= m->box[d];
    check(v, n, k->gemm && k->gemm->bulk && !v->divergent, "a bulk store is for the body of a product that has its sums in registers, by all its lanes");
    check(v, n, n->n_args == m->rank && s->dtype == m->dtype && s->swizzle == m->swizzle && k->buffers.data[m->buffer].dtype == m->dtype,
          "a bulk store whose shared array, tensor map and coordinates do not match");
    check(v, n, box * dtype_bytes(m->dtype) % (8 * m->swizzle) == 0 && dim_divides(k->cx->dims, dim_const(k->cx->dims, box), n->bound),
          "a bulk store from where no box begins");
    check(v, n, n->bound->lo >= 0 && n->bound->hi <= s->count - box, "a bulk store from past the end of the shared array");
    for (uint32_t d = 0; d < n->n_args; d++)
        check(v, n, type_equals(n->args[d]->type, (KType){DT_I32, 1}), "a coordinate is not i32");
}

/* Arrays that tensor maps see: 16 bytes stay together. */
static void check_swizzled(Verify *v, const KInst *n, uint32_t lanes)
{
    const KShared *s = &v->k->shared.data[n->buffer];
    uint32_t bytes = lanes * dtype_bytes(s->dtype);
    if (!s->swizzle)
        return;
    Access x = k_access(v->k, n->index, lanes, s->dtype, 16);
    check(v, n, bytes <= 16 && (lanes == 1 || (x.kind == ACCESS_CONTIGUOUS && x.align >= bytes)), "an access to a swizzled array crosses its pieces of 16 bytes");
}

static void check_mma(Verify *v, const KInst *n)
{
    check(v, n, !v->k->host && v->k->threads % 32 == 0 && !v->divergent, "a product of fragments needs whole warps");
    check(v, n, type_equals(n->args[0]->type, n->type), "the accumulator is not f32x4");
    for (uint32_t i = 1; i < 4; i++)
        check(v, n, type_equals(n->args[i]->type, (KType){DT_I32, 4}), "a fragment is not raw");
}

static void check_inst(Verify *v, const KInst *n)
{
    const Kernel *k = v->k;
    for (uint32_t i = 0; i < n->n_args; i++)
        check(v, n, n->args[i] && v->visible[n->args[i]->id], "uses a value that is not visible here");
    if (!v->ok)
        return;
    check(v, n, dim_in_scope(v, n->index) && dim_in_scope(v, n->bound), "an index uses a symbol that is not in scope");
    switch (n->kind) {
    case K_LOAD:
        check_access(v, n, n->type.dtype, n->type.lanes, NULL, n->n_args ? n->args[0] : NULL, k->buffers.data[n->buffer].count);
        check(v, n, n->type.dtype == k->buffers.data[n->buffer].dtype, "a load of another type than the buffer");
        return;
    case K_LOAD_RAW:    check_raw(v, n); return;
    case K_MMA:         check_mma(v, n); return;
    case K_STORE:
        check_access(v, n, k->buffers.data[n->buffer].dtype, n->args[0]->type.lanes, n->args[0],
                     n->n_args > 1 ? n->args[1] : NULL, k->buffers.data[n->buffer].count);
        return;
    case K_SHARED_LOAD:
        check_access(v, n, n->type.dtype, n->type.lanes, NULL, NULL,
                     dim_const(k->cx->dims, k->shared.data[n->buffer].count));
        check_swizzled(v, n, n->type.lanes);
        return;
    case K_SHARED_STORE:
        check_access(v, n, k->shared.data[n->buffer].dtype, n->args[0]->type.lanes, n->args[0],
                     n->n_args > 1 ? n->args[1] : NULL, dim_const(k->cx->dims, k->shared.data[n->buffer].count));
        check_swizzled(v, n, n->args[0]->type.lanes);
        return;
    case K_CLUSTER_STORE:
        check_access(v, n, k->shared.data[n->buffer].dtype, n->args[0]->type.lanes, n->args[0],
                     n->n_args > 1 ? n->args[1] : NULL, dim_const(k->cx->dims, k->shared.data[n->buffer].count));
        check(v, n, n->bound->hi >= 0 && n->bound->lo < (int64_t)k->cluster, "a store to a block that the cluster does not have");
        return;
    case K_OP:          check_op(v, n); return;
    case K_CAST:        check(v, n, n->args[0]->type.lanes == n->type.lanes, "a cast changes the number of lanes"); return;
    case K_LANE_REDUCE:
        check(v, n, n->op == OP_ADD || n->op == OP_MUL || n->op == OP_MAXIMUM || n->op == OP_MINIMUM || n->op == OP_OR ||
                    n->op == OP_AND, "lanes are reduced by add, mul, maximum, minimum, or, and");
        check(v, n, n->type.dtype == n->args[0]->type.dtype && n->type.lanes == 1, "a lane reduction gives one value of its operand's type");
        return;
    case K_ATOMIC_ADD:  check(v, n, n->type.dtype == DT_I32 || n->type.dtype == DT_F32, "atomic add is for i32 and f32"); return;
    case K_SHUFFLE_XOR: check(v, n, !k->host && k->threads % 32 == 0, "shuffles need whole warps"); check(v, n, !v->divergent, "a shuffle where threads diverge"); return;
    case K_BARRIER:
        check(v, n, !v->divergent, "a barrier that not all threads reach");
        check(v, n, !k->gemm, "a barrier in the epilogue of a product: its warps do not meet");
        return;
    case K_CLUSTER_ARRIVE: case K_CLUSTER_WAIT:
        check(v, n, !v->divergent && !k->gemm && k->cluster > 1, "a meeting of a cluster that not all threads reach, or of none");
        return;
    case K_COPY_ASYNC:  check_copy(v, n); return;
    case K_WARP_SYNC:   check(v, n, !k->host && k->threads % 32 == 0 && !v->divergent, "a meeting of a warp that not all its threads reach"); return;
    case K_COPY_WAIT:   check(v, n, n->i >= 0 && n->i < 32, "a wait for a negative number of groups, or for none of very many"); return;
    case K_SUM:         check_sum(v, n); return;
    case K_BULK_STORE:  check_bulk_store(v, n); return;
    case K_BULK_FENCE: case K_BULK_COMMIT:
        check(v, n, k->gemm && k->gemm->bulk && !v->divergent, "for bulk stores, where all lanes of a warp come");
        return;
    case K_BULK_WAIT:
        check(v, n, k->gemm && k->gemm->bulk && !v->divergent && n->i >= 0 && n->i < 8, "a wait for bulk stores where there are none, or not all lanes come");
        return;
    case K_WAIT: case K_LAUNCH_NEXT:
        check(v, n, !k->host && !v->divergent && !k->gemm, "a wait for other kernels, or their launch, where not all threads come");
        return;
    case K_CARRY: case K_RESULT:
        check(v, n, n->of && (n->kind == K_CARRY ? n->of->kind == K_LOOP && (uint32_t)n->i < n->of->n_args
                                                 : (uint32_t)n->i < n->of->n_yield), "no such carried value or result");
        return;
    case K_LOOP:
        check(v, n, n->n_yield == n->n_args && n->i >= 1, "a loop that was not ended");
        return;
    case K_CONST: case K_INDEX: case K_TEST: case K_SPLAT: case K_LANE: case K_BIND: case K_IF: case K_FENCE:
    case K_COPY_COMMIT:
        return;
    }
}

static bool waited_after(Verify *v, const KBlock *b, bool waited);

static bool waited_past(Verify *v, const KInst *n, bool waited)
{
    bool loads = n->kind == K_LOAD || n->kind == K_LOAD_RAW || n->kind == K_COPY_ASYNC;
    check(v, n, waited || !loads || v->k->buffers.data[n->buffer].frozen, "reads what the kernels before it may write, before it waits for them");
    check(v, n, waited || (n->kind != K_STORE && n->kind != K_ATOMIC_ADD), "writes before it waits for the kernels before it");
    if (n->kind == K_IF) {
        bool then = waited_after(v, &n->body, waited);
        return waited_after(v, &n->other, waited) && then;
    }
    if (n->kind == K_LOOP)
        waited_after(v, &n->body, waited);
    return waited || n->kind == K_WAIT;
}

/* Kernel.waits says what these rules are for. */
static bool waited_after(Verify *v, const KBlock *b, bool waited)
{
    for (uint32_t i = 0; i < b->n && v->ok; i++)
        waited = waited_past(v, b->data[i], waited);
    return waited;
}

static void verify_block(Verify *v, const KBlock *b);

static void verify_nested(Verify *v, const KInst *n, const KBlock *b, KInst *const *yield)
{
    v->divergent += v->varying[n->id];
    verify_block(v, b);
    for (uint32_t i = 0; v->ok && i < n->n_yield; i++)
        check(v, n, yield && yield[i] && v->visible[yield[i]->id], "yields a value that is not visible");
    for (uint32_t i = 0; i < b->n; i++) {
        v->visible[b->data[i]->id] = false;
        if (b->data[i]->var)
            map_remove(v->bound_syms, (uint64_t)(uintptr_t)b->data[i]->var);
    }
    v->divergent -= v->varying[n->id];
}

static void verify_block(Verify *v, const KBlock *b)
{
    for (uint32_t i = 0; i < b->n && v->ok; i++) {
        const KInst *n = b->data[i];
        check_inst(v, n);
        if (!v->ok)
            return;
        if (n->var)
            map_set_ptr(v->bound_syms, n->var, n);
        v->visible[n->id] = true;
        if (n->kind == K_LOOP) {
            verify_nested(v, n, &n->body, n->yield);
            map_remove(v->bound_syms, (uint64_t)(uintptr_t)n->var);
            if (v->ok)
                check_yield(v, n, n->args, n->yield);
        } else if (n->kind == K_IF) {
            verify_nested(v, n, &n->body, n->yield);
            verify_nested(v, n, &n->other, n->yield_other);
            if (v->ok)
                check_yield(v, n, n->yield, n->yield_other);
        }
    }
}

/* ---- products on the tensor cores ---------------------------------------------------------------------------------------- */

static void check_matrix(Verify *v, const KMatrix *x, bool wanted, bool needed, const char *what)
{
    bool there = x->buffer != UINT32_MAX;
    check(v, NULL, (there || !needed) && (!there || x->buffer < v->k->buffers.n), what);
    if (!there || !wanted)
        return;
    check(v, NULL, x->offset && x->ld && dim_in_scope(v, x->offset) && dim_in_scope(v, x->ld) && dim_in_scope(v, x->stride_batch),
          "a matrix of a product without offset or leading dimension, or with one that is not in scope");
}

static void check_map(Verify *v, uint32_t map, bool batched)
{
    check(v, NULL, map < v->k->maps.n && v->k->maps.data[map].rank == (batched ? 3 : 2), "a product without a tensor map, or with one of another rank");
}

static void check_gemm(Verify *v)
{
    const Kernel *k = v->k;
    const KGemm *g = k->gemm;
    bool three = gemm_terms(g->format) == 3, scaled = gemm_scaled(g->format);
    const Dim dims[] = {g->m, g->n, g->k, g->batch, g->part_start[0], g->part_start[g->parts - 1]};
    const char *why = "";
    check(v, NULL, gemm_legal(g, kernel_shared_bytes(k) - gemm_pipeline_bytes(g), &why), why);
    check(v, NULL, !k->host && k->threads == gemm_threads(g) && (k->cluster ? k->cluster : 1) == g->cluster * gemm_splits(g), "threads or cluster are not the product's");
    check(v, NULL, g->bulk || (g->stage < k->shared.n && k->shared.data[g->stage].dtype == DT_F32 && k->shared.data[g->stage].count == gemm_staging_count(g)),
          "the staging array is not the product's");
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
        check(v, NULL, dims[i] && dim_in_scope(v, dims[i]), "a size of the product that is not in scope");
    check(v, NULL, !g->groups || (g->ends < k->buffers.n && g->table < k->shared.n && k->shared.data[g->table].dtype == DT_I32 &&
                                  k->shared.data[g->table].count == gemm_table_count(g) && dim_is(g->batch, 1)),
          "groups of rows without their ends, or with another table than theirs");
    check(v, NULL, !scaled || (g->inv_a < k->buffers.n && g->inv_b < k->buffers.n && g->k_exact), "a scaled product without scales");
    check_matrix(v, &g->exact_a, scaled, scaled, "a scaled product without its operand as it was");
    check_matrix(v, &g->exact_b, scaled, false, "no such buffer");
    bool plain = !g->wgmma || (scaled && g->exact_b.buffer == UINT32_MAX);                   /* reads B's pieces without a map */
    check_matrix(v, &g->a, !g->wgmma, true, "a product without operands");
    check_matrix(v, &g->a_lo, !g->wgmma && three, three, "three products of two pieces");
    check_matrix(v, &g->b, plain, true, "a product without operands");
    check_matrix(v, &g->b_lo, plain && three, three, "three products of two pieces");
    if (g->wgmma) {
        check_map(v, g->map_a, g->a_batched);
        check_map(v, g->map_b, g->b_batched);
    }
    if (g->wgmma && three) {
        check_map(v, g->map_a_lo, g->a_batched);
        check_map(v, g->map_b_lo, g->b_batched);
    }
}

/* What the template binds for the body; of a warp's own: where barriers cannot be. */
static void bind_gemm(Verify *v)
{
    const KGemm *g = v->k->gemm;
    const Dim own[] = {g->row, g->warp, g->lane, g->turn}, shared[] = {g->col, g->at_batch, g->groups ? g->end : g->col};
    for (size_t i = 0; i < sizeof own / sizeof *own - !g->bulk; i++) {
        map_set_ptr(v->varying_syms, own[i], g);
        map_set_ptr(v->bound_syms, own[i], g);
    }
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++)
        map_set_ptr(v->bound_syms, shared[i], g);
}

bool kernel_verify(const Kernel *k, Diags *d)
{
    Arena *a = arena_new();
    Verify v = {.k = k, .diags = d, .arena = a, .ok = true, .changed = true};
    v.visible = arena_new_array(a, bool, k->n_ids + 1);
    v.varying = arena_new_array(a, bool, k->n_ids + 1);
    v.varying_syms = map_new(a);
    v.bound_syms = map_new(a);
    if (!dim_is_const(k->thread))
        map_set_ptr(v.varying_syms, k->thread, k);
    map_set_ptr(v.bound_syms, k->thread, k);
    for (int i = 0; i < 3; i++)
        map_set_ptr(v.bound_syms, k->block[i], k);
    for (uint32_t lanes = 2; lanes <= 16; lanes *= 2)
        map_set_ptr(v.bound_syms, kernel_lane(k->cx->dims, lanes), k);
    for (uint32_t i = 0; i < k->scalars.n; i++)
        map_set_ptr(v.bound_syms, k->scalars.data[i], k);
    if (k->gemm) {
        check_gemm(&v);
        bind_gemm(&v);
    }
    check(&v, NULL, k->open.n == 1, "a loop or an if was left open");
    check(&v, NULL, k->host ? k->threads == 1 : k->threads <= 1024, "too many threads a block");
    check(&v, NULL, kernel_shared_bytes(k) <= SHARED_LIMIT, "more shared memory than a block can have");
    while (v.ok && v.changed) {
        v.changed = false;
        mark_block(&v, &k->body);
    }
    if (v.ok)
        verify_block(&v, &k->body);
    if (v.ok && kernel_places_wait(k)) {
        bool waited = waited_after(&v, &k->body, false);
        check(&v, NULL, waited, "may end without having waited for the kernels before it");
    }
    arena_free(a);
    return v.ok;
}
