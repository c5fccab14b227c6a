/* codegen/emit/llvm_memory.c — loads and stores as LLVM IR: whole vectors where alignment allows, else parts, or lane by lane. */
#include "codegen/emit/llvm_common.h"

typedef struct {
    LLVMValueRef pointer;
    DType dtype;
    uint32_t buffer, lanes;
    bool shared, stream;
    Dim index;
    Access access;
} Place;

static Place place_of(Llvm *L, const KInst *n, uint32_t lanes)
{
    bool shared = n->kind == K_SHARED_LOAD || n->kind == K_SHARED_STORE || n->kind == K_CLUSTER_STORE;
    Place p = {.buffer = n->buffer, .shared = shared, .stream = n->stream, .lanes = lanes, .index = n->index};
    p.dtype = shared ? L->k->shared.data[n->buffer].dtype : L->k->buffers.data[n->buffer].dtype;
    p.pointer = shared ? L->shared[n->buffer] : L->buffer[n->buffer];
    if (n->kind == K_CLUSTER_STORE)
        p.pointer = L->target->of_block(L, p.pointer, ll_dim(L, n->bound));
    uint32_t align = shared ? 16 : L->k->buffers.data[n->buffer].align;
    p.access = k_access(L->k, n->index, lanes, p.dtype, align < dtype_bytes(p.dtype) ? dtype_bytes(p.dtype) : align);
    return p;
}

static LLVMValueRef address(Llvm *L, const Place *p, Dim index)
{
    LLVMValueRef i = ll_dim(L, index);
    return LLVMBuildInBoundsGEP2(L->b, ll_memory_type(L, p->dtype), p->pointer, &i, 1, "");
}

static LLVMValueRef annotate(Llvm *L, const Place *p, LLVMValueRef access, uint32_t align, uint32_t bytes)
{
    LLVMSetAlignment(access, align);
    if (!p->shared)
        L->target->annotate(L, access, p->buffer, p->stream, align, bytes);
    return access;
}

/* How a contiguous vector is cut into single accesses: elements each moves, and the type it moves them in. */
typedef struct { uint32_t parts, elements; LLVMTypeRef type; } Cut;

static Cut cut_of(Llvm *L, const Place *p)
{
    uint32_t size = dtype_bytes(p->dtype), bytes = p->lanes * size;
    uint32_t limit = L->target->max_access;
    if (limit && p->access.align < limit)
        limit = p->access.align;
    uint32_t part = limit && limit < bytes ? limit : bytes;
    LLVMTypeRef t = ll_lanes(ll_memory_type(L, p->dtype), part / size);
    if (limit && size < 4 && part >= 4)
        t = ll_lanes(ll_int(L, 32), part / 4);
    return (Cut){bytes / part, part / size, t};
}

static LLVMValueRef part_address(Llvm *L, const Place *p, LLVMValueRef base, const Cut *cut, uint32_t i)
{
    LLVMValueRef at = LLVMConstInt(ll_int(L, 64), (uint64_t)i * cut->elements, false);
    return i ? LLVMBuildInBoundsGEP2(L->b, ll_memory_type(L, p->dtype), base, &at, 1, "") : base;
}

static LLVMValueRef load_contiguous(Llvm *L, const Place *p)
{
    Cut cut = cut_of(L, p);
    LLVMValueRef base = address(L, p, p->access.base), parts[16];
    uint32_t bytes = cut.elements * dtype_bytes(p->dtype);
    for (uint32_t i = 0; i < cut.parts; i++) {
        LLVMValueRef v = LLVMBuildLoad2(L->b, cut.type, part_address(L, p, base, &cut, i), "");
        annotate(L, p, v, i && bytes < p->access.align ? bytes : p->access.align, bytes);
        parts[i] = LLVMBuildBitCast(L->b, v, ll_lanes(ll_memory_type(L, p->dtype), cut.elements), "");
    }
    return ll_join(L, parts, cut.parts);
}

static void store_contiguous(Llvm *L, const Place *p, LLVMValueRef value)
{
    Cut cut = cut_of(L, p);
    LLVMValueRef base = address(L, p, p->access.base);
    uint32_t bytes = cut.elements * dtype_bytes(p->dtype);
    for (uint32_t i = 0; i < cut.parts; i++) {
        LLVMValueRef v = LLVMBuildBitCast(L->b, ll_part(L, value, i * cut.elements, cut.elements), cut.type, "");
        LLVMValueRef st = LLVMBuildStore(L->b, v, part_address(L, p, base, &cut, i));
        annotate(L, p, st, i && bytes < p->access.align ? bytes : p->access.align, bytes);
    }
}

static LLVMValueRef load_scalar(Llvm *L, const Place *p, Dim index, uint32_t align)
{
    LLVMValueRef v = LLVMBuildLoad2(L->b, ll_memory_type(L, p->dtype), address(L, p, index), "");
    return annotate(L, p, v, align, dtype_bytes(p->dtype));
}

static LLVMValueRef load_memory(Llvm *L, const Place *p)
{
    LLVMValueRef v[16];
    if (p->access.kind == ACCESS_UNIFORM)
        return ll_splat(L, load_scalar(L, p, p->access.base, p->access.align), p->lanes);
    if (p->access.kind == ACCESS_CONTIGUOUS)
        return load_contiguous(L, p);
    for (uint32_t i = 0; i < p->lanes; i++)
        v[i] = load_scalar(L, p, ll_dim_at_lane(L, p->index, i, p->lanes), dtype_bytes(p->dtype));
    return ll_join(L, v, p->lanes);
}

static void store_scalar(Llvm *L, const Place *p, Dim index, LLVMValueRef v)
{
    annotate(L, p, LLVMBuildStore(L->b, v, address(L, p, index)), dtype_bytes(p->dtype), dtype_bytes(p->dtype));
}

static void store_memory(Llvm *L, const Place *p, LLVMValueRef value)
{
    if (p->lanes > 1 && p->access.kind == ACCESS_CONTIGUOUS) {
        store_contiguous(L, p, value);
        return;
    }
    for (uint32_t i = 0; i < p->lanes; i++)
        store_scalar(L, p, ll_dim_at_lane(L, p->index, i, p->lanes), ll_extract(L, value, i, p->lanes));
}

static LLVMValueRef pointer_vector(Llvm *L, const Place *p)
{
    LLVMValueRef v[16];
    for (uint32_t i = 0; i < p->lanes; i++)
        v[i] = address(L, p, ll_dim_at_lane(L, p->index, i, p->lanes));
    return ll_join(L, v, p->lanes);
}

/* Lanes masked one by one. */
static LLVMValueRef load_lanes(Llvm *L, const Place *p, LLVMValueRef mask, LLVMValueRef fill)
{
    bool contiguous = p->access.kind == ACCESS_CONTIGUOUS;
    LLVMValueRef ptr = contiguous ? address(L, p, p->access.base) : pointer_vector(L, p);
    uint32_t align = contiguous ? p->access.align : dtype_bytes(p->dtype);
    LLVMValueRef args[4] = {ptr, LLVMConstInt(ll_int(L, 32), align, false), mask, fill};
    LLVMTypeRef types[2] = {LLVMTypeOf(fill), LLVMTypeOf(ptr)};
    return ll_call(L, contiguous ? "llvm.masked.load" : "llvm.masked.gather", types, 2, args, 4);
}

static void store_lanes(Llvm *L, const Place *p, LLVMValueRef value, LLVMValueRef mask)
{
    bool contiguous = p->access.kind == ACCESS_CONTIGUOUS;
    LLVMValueRef ptr = contiguous ? address(L, p, p->access.base) : pointer_vector(L, p);
    uint32_t align = contiguous ? p->access.align : dtype_bytes(p->dtype);
    LLVMValueRef args[4] = {value, ptr, LLVMConstInt(ll_int(L, 32), align, false), mask};
    LLVMTypeRef types[2] = {LLVMTypeOf(value), LLVMTypeOf(ptr)};
    ll_call(L, contiguous ? "llvm.masked.store" : "llvm.masked.scatter", types, 2, args, 4);
}

static LLVMValueRef fill_bits(Llvm *L, const KInst *n, DType t, uint32_t lanes)
{
    LLVMTypeRef mem = ll_lanes(ll_memory_type(L, t), lanes);
    if (t == DT_F16 || t == DT_BF16)
        return ll_iconst(L, mem, t == DT_F16 ? f64_to_f16(n->f) : f64_to_bf16(n->f));
    return dtype_is_float(t) ? ll_fconst(L, mem, n->f) : ll_iconst(L, mem, n->i);
}

/* `mask` says of a contiguous access that lane l lies below a bound: whether all of them do, or NULL. */
static LLVMValueRef all_lanes_in(Llvm *L, const Place *p, const KInst *mask)
{
    uint32_t size = dtype_bytes(p->dtype);
    if (!L->branch_on_whole || mask->kind != K_TEST || p->access.kind != ACCESS_CONTIGUOUS || p->access.align <= size)
        return NULL;
    Access x = k_access(L->k, mask->index, p->lanes, DT_I8, 1);
    if (x.kind != ACCESS_CONTIGUOUS || dim_uses(mask->bound, kernel_lane(L->k->cx->dims, p->lanes)))
        return NULL;
    LLVMValueRef last = LLVMBuildNSWAdd(L->b, ll_dim(L, x.base), ll_iconst(L, L->index, (int64_t)p->lanes - 1), "");
    return LLVMBuildICmp(L->b, LLVMIntSLT, last, ll_dim(L, mask->bound), "");
}

/* cond ? load : otherwise(), by branches; `otherwise` is the fill or the load lane by lane. */
static LLVMValueRef load_if(Llvm *L, const Place *p, LLVMValueRef cond, LLVMValueRef lanes_mask, LLVMValueRef fill)
{
    LLVMBasicBlockRef from = LLVMGetInsertBlock(L->b), then = ll_block(L, "in"), some = lanes_mask ? ll_block(L, "some") : NULL,
                      after = ll_block(L, "after");
    uint32_t scope = ll_scope(L);
    LLVMBuildCondBr(L->b, cond, then, some ? some : after);
    ll_enter(L, then);
    LLVMValueRef v[2] = {load_memory(L, p), fill};
    ll_scope_end(L, scope);
    LLVMBuildBr(L->b, after);
    if (some) {
        ll_enter(L, some);
        v[1] = load_lanes(L, p, lanes_mask, fill);
        ll_scope_end(L, scope);
        LLVMBuildBr(L->b, after);
    }
    ll_enter(L, after);
    LLVMValueRef phi = LLVMBuildPhi(L->b, LLVMTypeOf(fill), "");
    LLVMAddIncoming(phi, v, (LLVMBasicBlockRef[]){then, some ? some : from}, 2);
    return phi;
}

LLVMValueRef ll_load(Llvm *L, const KInst *n)
{
    Place p = place_of(L, n, n->type.lanes);
    const KInst *mask = n->n_args ? n->args[0] : NULL;
    if (!mask)
        return ll_from_memory(L, load_memory(L, &p), p.dtype, p.lanes);
    LLVMValueRef m = L->value[mask->id], fill = fill_bits(L, n, p.dtype, p.lanes), v;
    LLVMValueRef whole = mask->type.lanes > 1 ? all_lanes_in(L, &p, mask) : NULL;
    if (mask->type.lanes == 1)
        v = load_if(L, &p, m, NULL, fill);
    else
        v = whole ? load_if(L, &p, whole, m, fill) : load_lanes(L, &p, m, fill);
    return ll_from_memory(L, v, p.dtype, p.lanes);
}

/* Sixteen bytes as they are: eight elements of two bytes. */
LLVMValueRef ll_load_raw(Llvm *L, const KInst *n)
{
    Place p = place_of(L, n, 1);
    LLVMTypeRef t = LLVMVectorType(ll_int(L, 32), 4);
    LLVMBasicBlockRef from = LLVMGetInsertBlock(L->b), after = NULL;
    uint32_t scope = ll_scope(L);
    if (n->n_args) {
        LLVMBasicBlockRef then = ll_block(L, "in");
        after = ll_block(L, "after");
        LLVMBuildCondBr(L->b, L->value[n->args[0]->id], then, after);
        ll_enter(L, then);
    }
    LLVMValueRef v = annotate(L, &p, LLVMBuildLoad2(L->b, t, address(L, &p, n->index), ""), 16, 16);
    if (!after)
        return v;
    LLVMBasicBlockRef loaded = LLVMGetInsertBlock(L->b);
    ll_scope_end(L, scope);
    LLVMBuildBr(L->b, after);
    ll_enter(L, after);
    LLVMValueRef phi = LLVMBuildPhi(L->b, t, "");
    LLVMAddIncoming(phi, (LLVMValueRef[]){v, LLVMConstNull(t)}, (LLVMBasicBlockRef[]){loaded, from}, 2);
    return phi;
}

void ll_copy_async(Llvm *L, const KInst *n)
{
    Place p = place_of(L, n, 1);
    L->target->copy_async(L, (uint32_t)n->i, ll_dim(L, n->bound), address(L, &p, n->index), n->n_args ? L->value[n->args[0]->id] : NULL, n->stream);
}

static void store_if(Llvm *L, const Place *p, LLVMValueRef cond, LLVMValueRef lanes_mask, LLVMValueRef v)
{
    LLVMBasicBlockRef then = ll_block(L, "in"), some = lanes_mask ? ll_block(L, "some") : NULL, after = ll_block(L, "after");
    uint32_t scope = ll_scope(L);
    LLVMBuildCondBr(L->b, cond, then, some ? some : after);
    ll_enter(L, then);
    store_memory(L, p, v);
    ll_scope_end(L, scope);
    LLVMBuildBr(L->b, after);
    if (some) {
        ll_enter(L, some);
        store_lanes(L, p, v, lanes_mask);
        ll_scope_end(L, scope);
        LLVMBuildBr(L->b, after);
    }
    ll_enter(L, after);
}

void ll_store(Llvm *L, const KInst *n)
{
    Place p = place_of(L, n, n->args[0]->type.lanes);
    const KInst *mask = n->n_args > 1 ? n->args[1] : NULL;
    LLVMValueRef v = ll_to_memory(L, L->value[n->args[0]->id], p.dtype, p.lanes);
    LLVMValueRef whole = mask && mask->type.lanes > 1 ? all_lanes_in(L, &p, mask) : NULL;
    if (!mask)
        store_memory(L, &p, v);
    else if (mask->type.lanes == 1)
        store_if(L, &p, L->value[mask->id], NULL, v);
    else if (whole)
        store_if(L, &p, whole, L->value[mask->id], v);
    else
        store_lanes(L, &p, v, L->value[mask->id]);
}

LLVMValueRef ll_atomic(Llvm *L, const KInst *n)
{
    Place p = place_of(L, n, 1);
    LLVMAtomicRMWBinOp op = dtype_is_float(p.dtype) ? LLVMAtomicRMWBinOpFAdd : LLVMAtomicRMWBinOpAdd;
    return LLVMBuildAtomicRMW(L->b, op, address(L, &p, p.index), L->value[n->args[0]->id], LLVMAtomicOrderingMonotonic, false);
}
