/* codegen/emit/llvm_common.c — from kernel IR to LLVM IR: types, indices, control flow. Ops are in llvm_ops.c, loads and stores
 * in llvm_memory.c. */
#include "codegen/emit/llvm_common.h"

#include <llvm-c/DebugInfo.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <pthread.h>

/* ---- types and small builders ------------------------------------------------------------------------------------------ */

LLVMTypeRef ll_int(Llvm *L, uint32_t bits) { return LLVMIntTypeInContext(L->c, bits); }

LLVMTypeRef ll_lanes(LLVMTypeRef scalar, uint32_t lanes) { return lanes > 1 ? LLVMVectorType(scalar, lanes) : scalar; }

static LLVMTypeRef scalar_type(Llvm *L, DType t, bool memory)
{
    switch (t) {
    case DT_F64:  return LLVMDoubleTypeInContext(L->c);
    case DT_F32:  return LLVMFloatTypeInContext(L->c);
    case DT_F16:
    case DT_BF16: return memory ? ll_int(L, 16) : LLVMFloatTypeInContext(L->c);
    case DT_I64:  return ll_int(L, 64);
    case DT_I32:  return ll_int(L, 32);
    case DT_I8:
    case DT_U8:   return ll_int(L, 8);
    case DT_BOOL: return ll_int(L, memory ? 8 : 1);
    case DT_COUNT: break;
    }
    pawl_assert(false, "no LLVM type for element type %d", (int)t);
}

LLVMTypeRef ll_value_type(Llvm *L, DType t, uint32_t lanes) { return ll_lanes(scalar_type(L, t, false), lanes); }
LLVMTypeRef ll_memory_type(Llvm *L, DType t) { return scalar_type(L, t, true); }

static bool is_vector(LLVMTypeRef t) { return LLVMGetTypeKind(t) == LLVMVectorTypeKind; }

static uint32_t width_of(LLVMValueRef v)
{
    LLVMTypeRef t = LLVMTypeOf(v);
    return is_vector(t) ? LLVMGetVectorSize(t) : 1;
}

static LLVMValueRef const_splat(LLVMValueRef v, uint32_t lanes)
{
    LLVMValueRef all[64];
    for (uint32_t i = 0; i < lanes; i++)
        all[i] = v;
    return LLVMConstVector(all, lanes);
}

LLVMValueRef ll_iconst(Llvm *L, LLVMTypeRef t, int64_t v)
{
    (void)L;
    if (is_vector(t))
        return const_splat(LLVMConstInt(LLVMGetElementType(t), (unsigned long long)v, true), LLVMGetVectorSize(t));
    return LLVMConstInt(t, (unsigned long long)v, true);
}

LLVMValueRef ll_fconst(Llvm *L, LLVMTypeRef t, double v)
{
    (void)L;
    if (is_vector(t))
        return const_splat(LLVMConstReal(LLVMGetElementType(t), v), LLVMGetVectorSize(t));
    return LLVMConstReal(t, v);
}

static LLVMValueRef insert(Llvm *L, LLVMValueRef v, LLVMValueRef x, uint32_t lane)
{
    return LLVMBuildInsertElement(L->b, v, x, LLVMConstInt(ll_int(L, 32), lane, false), "");
}

static LLVMValueRef shuffle(Llvm *L, LLVMValueRef a, LLVMValueRef b, const uint32_t *lanes, uint32_t n)
{
    LLVMValueRef mask[64];
    for (uint32_t i = 0; i < n; i++)
        mask[i] = LLVMConstInt(ll_int(L, 32), lanes[i], false);
    return LLVMBuildShuffleVector(L->b, a, b, LLVMConstVector(mask, n), "");
}

LLVMValueRef ll_splat(Llvm *L, LLVMValueRef v, uint32_t lanes)
{
    uint32_t zero[64] = {0};
    if (lanes <= 1)
        return v;
    if (LLVMIsConstant(v))
        return const_splat(v, lanes);
    LLVMValueRef poison = LLVMGetPoison(LLVMVectorType(LLVMTypeOf(v), lanes));
    return shuffle(L, insert(L, poison, v, 0), poison, zero, lanes);
}

LLVMValueRef ll_extract(Llvm *L, LLVMValueRef v, uint32_t lane, uint32_t lanes)
{
    return lanes > 1 ? LLVMBuildExtractElement(L->b, v, LLVMConstInt(ll_int(L, 32), lane, false), "") : v;
}

LLVMValueRef ll_part(Llvm *L, LLVMValueRef v, uint32_t first, uint32_t n)
{
    uint32_t at[64], width = width_of(v);
    if (n == width && first == 0)
        return v;
    if (n == 1)
        return ll_extract(L, v, first, width);
    for (uint32_t i = 0; i < n; i++)
        at[i] = (first + i) % width;
    return shuffle(L, v, LLVMGetPoison(LLVMTypeOf(v)), at, n);
}

LLVMValueRef ll_join(Llvm *L, LLVMValueRef *parts, uint32_t n)
{
    LLVMValueRef half[32];
    if (n == 1)
        return parts[0];
    uint32_t width = width_of(parts[0]);
    if (width == 1) {
        LLVMValueRef v = LLVMGetPoison(LLVMVectorType(LLVMTypeOf(parts[0]), n));
        for (uint32_t i = 0; i < n; i++)
            v = insert(L, v, parts[i], i);
        return v;
    }
    uint32_t at[64];
    for (uint32_t i = 0; i < 2 * width; i++)
        at[i] = i;
    for (uint32_t i = 0; i < n / 2; i++)
        half[i] = shuffle(L, parts[2 * i], parts[2 * i + 1], at, 2 * width);
    return ll_join(L, half, n / 2);
}

LLVMValueRef ll_call(Llvm *L, const char *intrinsic, LLVMTypeRef *overload, uint32_t n_overload, LLVMValueRef *args, uint32_t n)
{
    unsigned id = LLVMLookupIntrinsicID(intrinsic, strlen(intrinsic));
    pawl_assert(id, "LLVM has no intrinsic %s", intrinsic);
    LLVMValueRef fn = LLVMGetIntrinsicDeclaration(L->m, id, overload, n_overload);
    return LLVMBuildCall2(L->b, LLVMGlobalGetValueType(fn), fn, args, n, "");
}

LLVMValueRef ll_call_unary(Llvm *L, const char *intrinsic, LLVMValueRef a)
{
    LLVMTypeRef t = LLVMTypeOf(a);
    return ll_call(L, intrinsic, &t, 1, &a, 1);
}

static void add_fn_attr(Llvm *L, LLVMValueRef fn, const char *name, uint64_t value)
{
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(fn, LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(L->c, kind, value));
}

LLVMValueRef ll_extern(Llvm *L, const char *name, LLVMTypeRef ret, LLVMTypeRef *params, uint32_t n, LLVMTypeRef *fn_type)
{
    *fn_type = LLVMFunctionType(ret, params, n, false);
    LLVMValueRef fn = LLVMGetNamedFunction(L->m, name);
    if (fn) {
        pawl_assert(LLVMIsDeclaration(fn), "a kernel has the name of the math function %s", name);
        return fn;
    }
    fn = LLVMAddFunction(L->m, name, *fn_type);
    add_fn_attr(L, fn, "nounwind", 0);
    add_fn_attr(L, fn, "willreturn", 0);
    add_fn_attr(L, fn, "memory", 0);       /* none */
    return fn;
}

LLVMValueRef ll_float(Llvm *L, LLVMValueRef v)
{
    (void)L;
    if (LLVMIsAInstruction(v) && LLVMCanValueUseFastMathFlags(v))
        LLVMSetFastMathFlags(v, LLVMFastMathAllowContract);
    return v;
}

LLVMBasicBlockRef ll_block(Llvm *L, const char *name) { return LLVMAppendBasicBlockInContext(L->c, L->fn, name); }

void ll_enter(Llvm *L, LLVMBasicBlockRef block) { LLVMPositionBuilderAtEnd(L->b, block); }

/* ---- indices ------------------------------------------------------------------------------------------------------------ */

uint32_t ll_scope(const Llvm *L) { return L->journal.n; }

void ll_scope_end(Llvm *L, uint32_t scope)
{
    while (L->journal.n > scope)
        map_remove(L->dims, vec_pop(&L->journal));
}

static void remember(Llvm *L, Dim d, LLVMValueRef v)
{
    if (map_set_ptr(L->dims, d, v))
        vec_push(L->arena, &L->journal, (uint64_t)(uintptr_t)d);
}

void ll_bind(Llvm *L, Dim sym, LLVMValueRef v)
{
    if (!dim_is_const(sym))
        remember(L, sym, v);
}

static LLVMValueRef dim_sum(Llvm *L, Dim d)
{
    LLVMValueRef sum = NULL;
    for (uint32_t i = 0; i < d->n_terms; i++) {
        const DimTerm *t = &d->terms[i];
        LLVMValueRef v = NULL;
        for (uint32_t j = 0; j < t->n_atoms; j++) {
            LLVMValueRef a = ll_dim(L, t->atoms[j]);
            v = v ? LLVMBuildNSWMul(L->b, v, a, "") : a;
        }
        if (t->coef != 1)
            v = LLVMBuildNSWMul(L->b, v, ll_iconst(L, L->index, t->coef), "");
        sum = sum ? LLVMBuildNSWAdd(L->b, sum, v, "") : v;
    }
    return d->value ? LLVMBuildNSWAdd(L->b, sum, ll_iconst(L, L->index, d->value), "") : sum;
}

/* Rounds towards minus infinity; the divisor is positive. */
static LLVMValueRef dim_divmod(Llvm *L, Dim d)
{
    LLVMValueRef a = ll_dim(L, d->a), b = ll_dim(L, d->b), zero = ll_iconst(L, L->index, 0);
    if (d->a->lo >= 0)
        return d->kind == DIM_FLOORDIV ? LLVMBuildUDiv(L->b, a, b, "") : LLVMBuildURem(L->b, a, b, "");
    LLVMValueRef r = LLVMBuildSRem(L->b, a, b, "");
    LLVMValueRef below = LLVMBuildICmp(L->b, LLVMIntSLT, r, zero, "");
    if (d->kind == DIM_MOD)
        return LLVMBuildSelect(L->b, below, LLVMBuildNSWAdd(L->b, r, b, ""), r, "");
    LLVMValueRef q = LLVMBuildSDiv(L->b, a, b, "");
    return LLVMBuildNSWSub(L->b, q, LLVMBuildZExt(L->b, below, L->index, ""), "");
}

LLVMValueRef ll_dim(Llvm *L, Dim d)
{
    if (dim_is_const(d))
        return ll_iconst(L, L->index, d->value);
    LLVMValueRef v = map_get_ptr(L->dims, d);
    if (v)
        return v;
    switch (d->kind) {
    case DIM_CONST: break;
    case DIM_SYM:   pawl_assert(false, "kernel %s: the symbol %s has no value here", L->k->name, d->name);
    case DIM_SUM:   v = dim_sum(L, d); break;
    case DIM_FLOORDIV: case DIM_MOD: v = dim_divmod(L, d); break;
    case DIM_MIN: case DIM_MAX: {
        LLVMValueRef a = ll_dim(L, d->a), b = ll_dim(L, d->b);
        LLVMValueRef c = LLVMBuildICmp(L->b, d->kind == DIM_MIN ? LLVMIntSLT : LLVMIntSGT, a, b, "");
        v = LLVMBuildSelect(L->b, c, a, b, "");
        break;
    }
    }
    remember(L, d, v);
    return v;
}

Dim ll_dim_at_lane(Llvm *L, Dim d, uint32_t lane, uint32_t lanes)
{
    DimPool *p = L->k->cx->dims;
    return lanes > 1 ? dim_subst(p, d, &(DimSubst){kernel_lane(p, lanes), dim_const(p, lane)}, 1) : d;
}

static LLVMValueRef iota(LLVMTypeRef t, uint32_t lanes)
{
    LLVMValueRef v[16];
    for (uint32_t i = 0; i < lanes; i++)
        v[i] = LLVMConstInt(t, i, false);
    return lanes > 1 ? LLVMConstVector(v, lanes) : v[0];
}

/* A dim that uses the lane symbol, as a vector. */
static LLVMValueRef dim_vector(Llvm *L, Dim d, uint32_t lanes)
{
    Access x = k_access(L->k, d, lanes, DT_I8, 1);
    if (x.kind == ACCESS_UNIFORM)
        return ll_splat(L, ll_dim(L, x.base), lanes);
    if (x.kind != ACCESS_GATHER) {
        LLVMValueRef step = LLVMBuildMul(L->b, ll_splat(L, ll_dim(L, x.stride), lanes), iota(L->index, lanes), "");
        return LLVMBuildAdd(L->b, ll_splat(L, ll_dim(L, x.base), lanes), step, "");
    }
    LLVMValueRef v[16];
    for (uint32_t i = 0; i < lanes; i++)
        v[i] = ll_dim(L, ll_dim_at_lane(L, d, i, lanes));
    return ll_join(L, v, lanes);
}

/* base + lane < bound as lane < clamp(bound - base, 0, lanes): one narrow vector compare. */
static LLVMValueRef test_contiguous(Llvm *L, Dim base, Dim bound, uint32_t lanes)
{
    LLVMValueRef left = LLVMBuildSub(L->b, ll_dim(L, bound), ll_dim(L, base), "");
    LLVMValueRef zero = ll_iconst(L, L->index, 0), all = ll_iconst(L, L->index, lanes);
    left = LLVMBuildSelect(L->b, LLVMBuildICmp(L->b, LLVMIntSGT, left, zero, ""), left, zero, "");
    left = LLVMBuildSelect(L->b, LLVMBuildICmp(L->b, LLVMIntSLT, left, all, ""), left, all, "");
    left = LLVMBuildIntCast2(L->b, left, ll_int(L, 32), false, "");
    return LLVMBuildICmp(L->b, LLVMIntULT, iota(ll_int(L, 32), lanes), ll_splat(L, left, lanes), "");
}

static LLVMValueRef lower_test(Llvm *L, const KInst *n)
{
    uint32_t lanes = n->type.lanes;
    if (lanes == 1)
        return LLVMBuildICmp(L->b, LLVMIntSLT, ll_dim(L, n->index), ll_dim(L, n->bound), "");
    if (!dim_uses(n->bound, kernel_lane(L->k->cx->dims, lanes))) {
        Access x = k_access(L->k, n->index, lanes, DT_I8, 1);
        if (x.kind == ACCESS_CONTIGUOUS)
            return test_contiguous(L, x.base, n->bound, lanes);
    }
    return LLVMBuildICmp(L->b, LLVMIntSLT, dim_vector(L, n->index, lanes), dim_vector(L, n->bound, lanes), "");
}

/* ---- lanes and threads -------------------------------------------------------------------------------------------------- */

static LLVMValueRef lower_mma(Llvm *L, const KInst *n)
{
    LLVMValueRef v[4];
    for (uint32_t i = 0; i < 4; i++)
        v[i] = L->value[n->args[i]->id];
    return L->target->mma(L, (DType)n->i, v[0], v[1], v[2], v[3]);
}

static LLVMValueRef lower_lane_reduce(Llvm *L, const KInst *n)
{
    LLVMValueRef v = L->value[n->args[0]->id];
    for (uint32_t lanes = n->args[0]->type.lanes / 2; lanes; lanes /= 2) {
        LLVMValueRef args[2] = {ll_part(L, v, 0, lanes), ll_part(L, v, lanes, lanes)};
        v = ll_op(L, n->op, n->type.dtype, n->type.dtype, args, 2, lanes);
    }
    return v;
}

/* Shuffles move 32 bits: wider values in halves, narrower ones extended. */
static LLVMValueRef shuffle_value(Llvm *L, LLVMValueRef v, DType t, uint32_t mask)
{
    LLVMTypeRef i32 = ll_int(L, 32), type = LLVMTypeOf(v);
    if (t == DT_F64 || t == DT_I64) {
        LLVMValueRef halves = LLVMBuildBitCast(L->b, v, LLVMVectorType(i32, 2), "");
        LLVMValueRef parts[2] = {L->target->shuffle_xor(L, ll_extract(L, halves, 0, 2), mask),
                                 L->target->shuffle_xor(L, ll_extract(L, halves, 1, 2), mask)};
        return LLVMBuildBitCast(L->b, ll_join(L, parts, 2), type, "");
    }
    if (dtype_is_float(t))
        return LLVMBuildBitCast(L->b, L->target->shuffle_xor(L, LLVMBuildBitCast(L->b, v, i32, ""), mask), type, "");
    LLVMValueRef wide = LLVMBuildIntCast2(L->b, v, i32, false, "");
    return LLVMBuildIntCast2(L->b, L->target->shuffle_xor(L, wide, mask), type, false, "");
}

static LLVMValueRef lower_shuffle(Llvm *L, const KInst *n)
{
    LLVMValueRef parts[16], v = L->value[n->args[0]->id];
    for (uint32_t i = 0; i < n->type.lanes; i++)
        parts[i] = shuffle_value(L, ll_extract(L, v, i, n->type.lanes), n->type.dtype, (uint32_t)n->i);
    return ll_join(L, parts, n->type.lanes);
}

/* ---- control flow ------------------------------------------------------------------------------------------------------- */

static void lower_block(Llvm *L, const KBlock *b);

static void set_unroll(Llvm *L, LLVMValueRef branch, int unroll)
{
    const char *what = unroll < 0 ? "llvm.loop.unroll.full" : unroll == 1 ? "llvm.loop.unroll.disable" : "llvm.loop.unroll.count";
    if (!unroll)
        return;
    LLVMMetadataRef items[2] = {LLVMMDStringInContext2(L->c, what, strlen(what)), NULL};
    if (unroll > 1)
        items[1] = LLVMValueAsMetadata(LLVMConstInt(ll_int(L, 32), (unsigned)unroll, false));
    LLVMMetadataRef hint = LLVMMDNodeInContext2(L->c, items, unroll > 1 ? 2 : 1);
    /* a loop id's first operand is itself: made with a placeholder, then replaced */
    LLVMMetadataRef self = LLVMTemporaryMDNode(L->c, NULL, 0);
    LLVMMetadataRef id = LLVMMDNodeInContext2(L->c, (LLVMMetadataRef[]){self, hint}, 2);
    LLVMMetadataReplaceAllUsesWith(self, id);
    LLVMSetMetadata(branch, LLVMGetMDKindIDInContext(L->c, "llvm.loop", 9), LLVMMetadataAsValue(L->c, id));
}

static void lower_loop(Llvm *L, const KInst *n)
{
    LLVMValueRef lo = ll_dim(L, n->index), hi = ll_dim(L, n->bound);
    LLVMBasicBlockRef from = LLVMGetInsertBlock(L->b), head = ll_block(L, "loop"), body = ll_block(L, "body"),
                      exit = ll_block(L, "done");
    uint32_t scope = ll_scope(L);
    LLVMBuildBr(L->b, head);
    ll_enter(L, head);
    LLVMValueRef var = LLVMBuildPhi(L->b, L->index, n->var->name);
    LLVMValueRef *carry = arena_new_array(L->arena, LLVMValueRef, n->n_args + 1);
    for (uint32_t i = 0; i < n->n_args; i++) {
        LLVMValueRef init = L->value[n->args[i]->id];
        carry[i] = LLVMBuildPhi(L->b, LLVMTypeOf(init), "");
        LLVMAddIncoming(carry[i], &init, &from, 1);
    }
    LLVMAddIncoming(var, &lo, &from, 1);
    LLVMBuildCondBr(L->b, LLVMBuildICmp(L->b, LLVMIntSLT, var, hi, ""), body, exit);
    ll_enter(L, body);
    ll_bind(L, n->var, var);
    L->value[n->id] = (LLVMValueRef)carry;                  /* K_CARRY and K_RESULT find the phis here */
    lower_block(L, &n->body);
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(L->b);
    LLVMValueRef next = LLVMBuildNSWAdd(L->b, var, ll_iconst(L, L->index, n->i), "");
    LLVMAddIncoming(var, &next, &latch, 1);
    for (uint32_t i = 0; i < n->n_args; i++)
        LLVMAddIncoming(carry[i], &L->value[n->yield[i]->id], &latch, 1);
    set_unroll(L, LLVMBuildBr(L->b, head), n->unroll);
    ll_scope_end(L, scope);
    ll_enter(L, exit);
}

static void lower_if(Llvm *L, const KInst *n)
{
    bool both = n->other.n || n->n_yield;
    LLVMBasicBlockRef then = ll_block(L, "then"), other = both ? ll_block(L, "else") : NULL, join = ll_block(L, "join");
    LLVMBuildCondBr(L->b, L->value[n->args[0]->id], then, both ? other : join);
    LLVMValueRef *result = arena_new_array(L->arena, LLVMValueRef, n->n_yield + 1);
    uint32_t scope = ll_scope(L);
    ll_enter(L, then);
    lower_block(L, &n->body);
    ll_scope_end(L, scope);
    LLVMBasicBlockRef from[2] = {LLVMGetInsertBlock(L->b), NULL};
    LLVMBuildBr(L->b, join);
    if (both) {
        ll_enter(L, other);
        lower_block(L, &n->other);
        ll_scope_end(L, scope);
        from[1] = LLVMGetInsertBlock(L->b);
        LLVMBuildBr(L->b, join);
    }
    ll_enter(L, join);
    for (uint32_t i = 0; i < n->n_yield; i++) {
        LLVMValueRef v[2] = {L->value[n->yield[i]->id], L->value[n->yield_other[i]->id]};
        result[i] = LLVMBuildPhi(L->b, LLVMTypeOf(v[0]), "");
        LLVMAddIncoming(result[i], v, from, 2);
    }
    L->value[n->id] = (LLVMValueRef)result;
}

static LLVMValueRef lower_const(Llvm *L, const KInst *n)
{
    LLVMTypeRef t = ll_value_type(L, n->type.dtype, n->type.lanes);
    return dtype_is_float(n->type.dtype) ? ll_fconst(L, t, n->f) : ll_iconst(L, t, n->i);
}

static LLVMValueRef lower_index(Llvm *L, const KInst *n)
{
    LLVMTypeRef t = ll_value_type(L, n->type.dtype, n->type.lanes);
    LLVMValueRef v = n->type.lanes > 1 ? dim_vector(L, n->index, n->type.lanes) : ll_dim(L, n->index);
    return LLVMBuildIntCast2(L->b, v, t, true, "");
}

static LLVMValueRef lower_op(Llvm *L, const KInst *n)
{
    LLVMValueRef args[3];
    for (uint32_t i = 0; i < n->n_args; i++)
        args[i] = L->value[n->args[i]->id];
    DType operand = n->args[n->op == OP_WHERE ? 1 : 0]->type.dtype;
    return ll_op(L, n->op, operand, n->type.dtype, args, n->n_args, n->type.lanes);
}

static LLVMValueRef lower_inst(Llvm *L, const KInst *n)
{
    LLVMValueRef a = n->n_args ? L->value[n->args[0]->id] : NULL;
    switch (n->kind) {
    case K_CONST:        return lower_const(L, n);
    case K_INDEX:        return lower_index(L, n);
    case K_TEST:         return lower_test(L, n);
    case K_LOAD:
    case K_SHARED_LOAD:  return ll_load(L, n);
    case K_LOAD_RAW:     return ll_load_raw(L, n);
    case K_MMA:          return lower_mma(L, n);
    case K_STORE:
    case K_SHARED_STORE:
    case K_CLUSTER_STORE: ll_store(L, n); return NULL;
    case K_OP:           return lower_op(L, n);
    case K_CAST:         return ll_cast(L, a, n->args[0]->type.dtype, n->type.dtype, n->type.lanes);
    case K_SPLAT:        return ll_splat(L, a, n->type.lanes);
    case K_LANE:         return ll_extract(L, a, (uint32_t)n->i, n->args[0]->type.lanes);
    case K_LANE_REDUCE:  return lower_lane_reduce(L, n);
    case K_SHUFFLE_XOR:  return lower_shuffle(L, n);
    case K_BIND:
        ll_bind(L, n->var, LLVMBuildIntCast2(L->b, a, L->index, n->args[0]->type.dtype != DT_U8, ""));
        return NULL;
    case K_LOOP:         lower_loop(L, n); return L->value[n->id];
    case K_IF:           lower_if(L, n); return L->value[n->id];
    case K_CARRY:
    case K_RESULT:       return ((LLVMValueRef *)L->value[n->of->id])[n->i];
    case K_BARRIER:      L->target->barrier(L); return NULL;
    case K_FENCE:        L->target->fence(L); return NULL;
    case K_COPY_ASYNC:   ll_copy_async(L, n); return NULL;
    case K_WARP_SYNC:    L->target->warp_sync(L); return NULL;
    case K_COPY_COMMIT: case K_COPY_WAIT: case K_WAIT: case K_LAUNCH_NEXT: case K_CLUSTER_ARRIVE: case K_CLUSTER_WAIT:
        L->target->order(L, n);
        return NULL;
    case K_SUM: case K_BULK_FENCE: case K_BULK_STORE: case K_BULK_COMMIT: case K_BULK_WAIT:
        break;                                                          /* of products, which NVRTC alone compiles */
    case K_ATOMIC_ADD:   return ll_atomic(L, n);
    }
    return NULL;
}

static void lower_block(Llvm *L, const KBlock *b)
{
    for (uint32_t i = 0; i < b->n; i++)
        L->value[b->data[i]->id] = lower_inst(L, b->data[i]);
}

void ll_body(Llvm *L) { lower_block(L, &L->k->body); }

/* ---- LLVM itself -------------------------------------------------------------------------------------------------------- */

static void init_targets(void)
{
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
}

void ll_targets(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_targets);
}

char *ll_message(Arena *a, char *llvm)
{
    char *copy = arena_strdup(a, llvm ? llvm : "unknown error");
    LLVMDisposeMessage(llvm);
    return copy;
}

bool ll_optimise(Diags *d, LLVMModuleRef m, void *target_machine, const char *passes)
{
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMPassBuilderOptionsSetLoopVectorization(options, false);
    LLVMPassBuilderOptionsSetSLPVectorization(options, false);
    LLVMPassBuilderOptionsSetLoopInterleaving(options, false);
    LLVMErrorRef error = LLVMRunPasses(m, passes, target_machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (!error)
        return true;
    char *text = LLVMGetErrorMessage(error);
    diag_error(d, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "LLVM's passes failed: %s", text);
    LLVMDisposeErrorMessage(text);
    return false;
}

bool ll_can_emit(Diags *d, Kernel *const *k, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (k[i]->gemm)
            return diag_error(d, PAWL_EXIT_UNSUPPORTED, LOC_NONE, "have NVRTC found (`pawl devices` says where it is looked for), or compile without this kind",
                              "kernel %s is a product on the tensor cores, whose template is CUDA C: it needs NVRTC", k[i]->name);
    return true;
}
