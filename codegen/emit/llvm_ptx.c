/* codegen/emit/llvm_ptx.c — kernels as PTX through LLVM's NVPTX backend.
 *
 * Buffers are pointers to global memory (address space 1), shared arrays variables in address space 3 (above 48 KB in total: one
 * dynamic array, as in CUDA C). Accesses move at most 16 bytes. Transcendental functions are libdevice's where it is found
 * (PAWL_LIBDEVICE, a CUDA toolkit), else the expansions of math_expand.c. */
#include "codegen/emit/cuda_find.h"
#include "codegen/emit/llvm_common.h"
#include "codegen/emit/math_expand.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/BitReader.h>
#include <llvm-c/Linker.h>
#include <llvm-c/TargetMachine.h>
#include <stdlib.h>

enum { PTX_KERNEL_CONVENTION = 71, SHARED_STATIC_LIMIT = 48 * 1024 };
enum { GLOBAL = 1, SHARED = 3 };

typedef struct {
    bool libdevice;                 /* its functions may be called */
    bool called;                    /* … and were */
    bool early;                     /* the target has griddepcontrol (sm_90) */
    bool no_f64;                    /* an fp64 function was wanted without libdevice */
    const char *missing;
} Ptx;

/* ---- math --------------------------------------------------------------------------------------------------------------- */

typedef struct { Op op; const char *name; } DeviceRow;

/* libdevice: __nv_NAME for fp64, __nv_NAMEf for fp32. */
static const DeviceRow device_rows[] = {
    {OP_EXP, "exp"},     {OP_EXP2, "exp2"},   {OP_EXPM1, "expm1"}, {OP_LOG, "log"},     {OP_LOG2, "log2"},   {OP_LOG10, "log10"},
    {OP_LOG1P, "log1p"}, {OP_SIN, "sin"},     {OP_COS, "cos"},     {OP_TAN, "tan"},     {OP_ASIN, "asin"},   {OP_ACOS, "acos"},
    {OP_ATAN, "atan"},   {OP_SINH, "sinh"},   {OP_COSH, "cosh"},   {OP_TANH, "tanh"},   {OP_ASINH, "asinh"}, {OP_ACOSH, "acosh"},
    {OP_ATANH, "atanh"}, {OP_ERF, "erf"},     {OP_ERFC, "erfc"},   {OP_POW, "pow"},     {OP_ATAN2, "atan2"}, {OP_FMOD, "fmod"},
};

static LLVMValueRef call_libdevice(Llvm *L, Op op, DType t, LLVMValueRef *args, uint32_t n)
{
    char name[32] = "";
    LLVMTypeRef type = ll_value_type(L, t, 1), params[2] = {type, type}, fn_type;
    for (size_t i = 0; i < sizeof device_rows / sizeof *device_rows; i++)
        if (device_rows[i].op == op)
            snprintf(name, sizeof name, "__nv_%s%s", device_rows[i].name, t == DT_F32 ? "f" : "");
    pawl_assert(*name, "no libdevice function for %s", op_name(op));
    LLVMValueRef fn = ll_extern(L, name, type, params, n, &fn_type);
    return LLVMBuildCall2(L->b, fn_type, fn, args, n, "");
}

static LLVMValueRef ptx_exp2_fraction(Llvm *L, LLVMValueRef a, uint32_t lanes)
{
    LLVMValueRef v[16];
    for (uint32_t i = 0; i < lanes; i++) {
        LLVMValueRef x = ll_extract(L, a, i, lanes);
        v[i] = ll_call(L, "llvm.nvvm.ex2.approx.ftz.f", NULL, 0, &x, 1);
    }
    return ll_join(L, v, lanes);
}

static LLVMValueRef device_math(Llvm *L, Op op, DType t, LLVMValueRef *args, uint32_t n, uint32_t lanes)
{
    Ptx *ptx = L->target_data;
    LLVMValueRef v[16], sub[2];
    if (L->k->approximate && op == OP_EXP2 && t == DT_F32)
        return ptx_exp2_fraction(L, args[0], lanes);
    if (L->k->approximate && op == OP_EXP && t == DT_F32)
        return ptx_exp2_fraction(L, LLVMBuildFMul(L->b, args[0], ll_splat(L, LLVMConstReal(LLVMFloatTypeInContext(L->c), 1.44269504088896341), lanes), ""), lanes);
    if (!ptx->libdevice && t == DT_F32)
        return math_expand(L, op, args, lanes, ptx_exp2_fraction);
    if (!ptx->libdevice) {
        ptx->no_f64 = true;
        ptx->missing = op_name(op);
        return args[0];
    }
    ptx->called = true;
    for (uint32_t i = 0; i < lanes; i++) {
        for (uint32_t j = 0; j < n; j++)
            sub[j] = ll_extract(L, args[j], i, lanes);
        v[i] = call_libdevice(L, op, t, sub, n);
    }
    return ll_join(L, v, lanes);
}

/* rsqrt.approx.f32 is within 2 ulp; fp64 has no such instruction. */
static LLVMValueRef ptx_rsqrt(Llvm *L, DType t, LLVMValueRef a, uint32_t lanes)
{
    LLVMValueRef v[16];
    if (t == DT_F64) {
        LLVMValueRef one = ll_fconst(L, LLVMTypeOf(a), 1);
        return ll_float(L, LLVMBuildFDiv(L->b, one, ll_call_unary(L, "llvm.sqrt", a), ""));
    }
    for (uint32_t i = 0; i < lanes; i++) {
        LLVMValueRef x = ll_extract(L, a, i, lanes);
        v[i] = ll_call(L, "llvm.nvvm.rsqrt.approx.f", NULL, 0, &x, 1);
    }
    return ll_join(L, v, lanes);
}

static LLVMValueRef ptx_maximum(Llvm *L, LLVMValueRef a, LLVMValueRef b, bool minimum)
{
    LLVMTypeRef t = LLVMTypeOf(a), scalar = LLVMGetTypeKind(t) == LLVMVectorTypeKind ? LLVMGetElementType(t) : t;
    LLVMValueRef args[2] = {a, b};
    if (LLVMGetTypeKind(scalar) == LLVMDoubleTypeKind)
        return ll_maximum(L, a, b, minimum);
    return ll_call(L, minimum ? "llvm.minimum" : "llvm.maximum", &t, 1, args, 2);
}

/* ---- half precision ----------------------------------------------------------------------------------------------------- */

static LLVMValueRef ptx_bf16_bits(Llvm *L, LLVMValueRef v, uint32_t lanes)
{
    LLVMTypeRef i16 = ll_int(L, 16);
    LLVMValueRef part[8];
    if (lanes == 1)
        return LLVMBuildBitCast(L->b, ll_call(L, "llvm.nvvm.f2bf16.rn", NULL, 0, &v, 1), i16, "");
    for (uint32_t i = 0; i < lanes / 2; i++) {
        LLVMValueRef pair[2] = {ll_extract(L, v, 2 * i + 1, lanes), ll_extract(L, v, 2 * i, lanes)};       /* high, low */
        part[i] = LLVMBuildBitCast(L->b, ll_call(L, "llvm.nvvm.ff2bf16x2.rn", NULL, 0, pair, 2), LLVMVectorType(i16, 2), "");
    }
    return ll_join(L, part, lanes / 2);
}

static LLVMValueRef ptx_f16_bits(Llvm *L, LLVMValueRef v, uint32_t lanes)
{
    LLVMValueRef h = LLVMBuildFPTrunc(L->b, v, ll_lanes(LLVMHalfTypeInContext(L->c), lanes), "");
    return LLVMBuildBitCast(L->b, h, ll_lanes(ll_int(L, 16), lanes), "");
}

static LLVMValueRef ptx_f16_value(Llvm *L, LLVMValueRef bits, uint32_t lanes)
{
    LLVMValueRef h = LLVMBuildBitCast(L->b, bits, ll_lanes(LLVMHalfTypeInContext(L->c), lanes), "");
    return LLVMBuildFPExt(L->b, h, ll_value_type(L, DT_F32, lanes), "");
}

/* ---- threads and memory ------------------------------------------------------------------------------------------------- */

static LLVMValueRef ptx_shuffle(Llvm *L, LLVMValueRef v, uint32_t mask)
{
    LLVMTypeRef i32 = ll_int(L, 32);
    LLVMValueRef args[4] = {LLVMConstInt(i32, 0xffffffff, false), v, LLVMConstInt(i32, mask, false), LLVMConstInt(i32, 31, false)};
    return ll_call(L, "llvm.nvvm.shfl.sync.bfly.i32", NULL, 0, args, 4);
}

/* Two products of 16 x 8 x 16: the first takes the low words of the fragments, the second the high ones. */
static LLVMValueRef ptx_mma(Llvm *L, DType t, LLVMValueRef acc, LLVMValueRef w0, LLVMValueRef w1, LLVMValueRef x)
{
    static const uint8_t part[6] = {0, 1, 0, 1, 2, 2}, word[6] = {0, 0, 1, 1, 0, 1};
    const char *name = t == DT_BF16 ? "llvm.nvvm.mma.m16n8k16.row.col.bf16" : "llvm.nvvm.mma.m16n8k16.row.col.f32.f32";
    LLVMTypeRef half2 = LLVMVectorType(LLVMHalfTypeInContext(L->c), 2);
    LLVMValueRef from[3] = {w0, w1, x}, args[10], d[4];
    for (uint32_t i = 0; i < 4; i++)
        d[i] = ll_extract(L, acc, i, 4);
    for (uint32_t h = 0; h < 4; h += 2) {
        for (uint32_t i = 0; i < 6; i++) {
            args[i] = ll_extract(L, from[part[i]], h + word[i], 4);
            args[i] = t == DT_BF16 ? args[i] : LLVMBuildBitCast(L->b, args[i], half2, "");
        }
        memcpy(args + 6, d, sizeof d);
        LLVMValueRef r = ll_call(L, name, NULL, 0, args, 10);
        for (uint32_t i = 0; i < 4; i++)
            d[i] = LLVMBuildExtractValue(L->b, r, i, "");
    }
    return ll_join(L, d, 4);
}

static void ptx_barrier(Llvm *L) { ll_call(L, "llvm.nvvm.barrier0", NULL, 0, NULL, 0); }
static void ptx_warp_sync(Llvm *L)
{
    LLVMValueRef all = LLVMConstInt(ll_int(L, 32), 0xffffffff, false);
    ll_call(L, "llvm.nvvm.bar.warp.sync", NULL, 0, &all, 1);
}
static void ptx_fence(Llvm *L) { ll_call(L, "llvm.nvvm.membar.gl", NULL, 0, NULL, 0); }

/* Inline assembly that stays where it is among accesses to memory. */
static void statement(Llvm *L, const char *text, LLVMValueRef *args, uint32_t n, const char *constraints)
{
    LLVMTypeRef types[4];
    const char *effects = arena_printf(L->arena, "%s%s~{memory}", constraints, n ? "," : "");
    for (uint32_t i = 0; i < n; i++)
        types[i] = LLVMTypeOf(args[i]);
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(L->c), types, n, false);
    LLVMValueRef code = LLVMGetInlineAsm(type, text, strlen(text), effects, strlen(effects), true, false, LLVMInlineAsmDialectATT, false);
    LLVMBuildCall2(L->b, type, code, args, n, "");
}

/* A policy of the second-level cache for what is read once. */
static LLVMValueRef evict_first(Llvm *L)
{
    static const char text[] = "createpolicy.fractional.L2::evict_first.b64 $0, 1.0;", constraints[] = "=l";
    LLVMTypeRef type = LLVMFunctionType(ll_int(L, 64), NULL, 0, false);
    LLVMValueRef code = LLVMGetInlineAsm(type, text, sizeof text - 1, constraints, sizeof constraints - 1, false, false, LLVMInlineAsmDialectATT, false);
    return LLVMBuildCall2(L->b, type, code, NULL, 0, "");
}

/* Where a shared array lies, in a register of the thread, found at the kernel's entry: see shared_address in cuda_helpers.c. */
static LLVMValueRef shared_address(Llvm *L, uint32_t array)
{
    static const char text[] = "{\n.reg .b32 lane;\nmov.u32 lane, %laneid;\nshfl.sync.idx.b32 $0, $1, lane, 31, 0xffffffff;\n}", constraints[] = "=r,r";
    if (L->copied[array])
        return L->copied[array];
    LLVMBasicBlockRef here = LLVMGetInsertBlock(L->b), entry = LLVMGetEntryBasicBlock(LLVMGetBasicBlockParent(here));
    LLVMValueRef first = LLVMGetFirstInstruction(entry);
    if (first)
        LLVMPositionBuilderBefore(L->b, first);
    LLVMTypeRef i32 = ll_int(L, 32), type = LLVMFunctionType(i32, &i32, 1, false);
    LLVMValueRef code = LLVMGetInlineAsm(type, text, sizeof text - 1, constraints, sizeof constraints - 1, true, false, LLVMInlineAsmDialectATT, false);
    LLVMValueRef at = LLVMBuildPtrToInt(L->b, L->shared[array], i32, "");
    L->copied[array] = LLVMBuildCall2(L->b, type, code, &at, 1, "");
    LLVMPositionBuilderAtEnd(L->b, here);
    return L->copied[array];
}

static void ptx_copy_async(Llvm *L, uint32_t array, LLVMValueRef at, LLVMValueRef from, LLVMValueRef mask, bool stream)
{
    LLVMTypeRef i32 = ll_int(L, 32);
    LLVMValueRef all = LLVMConstInt(i32, 16, false), none = LLVMConstInt(i32, 0, false);
    LLVMValueRef four = LLVMConstInt(i32, 4, false), offset = LLVMBuildMul(L->b, LLVMBuildIntCast2(L->b, at, i32, true, ""), four, "");
    LLVMValueRef to = LLVMBuildAdd(L->b, shared_address(L, array), offset, "");
    LLVMValueRef args[4] = {to, from, mask ? LLVMBuildSelect(L->b, mask, all, none, "") : all};
    if (!stream) {
        statement(L, "cp.async.ca.shared.global [$0], [$1], 16, $2;", args, 3, "r,l,r");
        return;
    }
    args[3] = evict_first(L);
    statement(L, "cp.async.cg.shared.global.L2::cache_hint.L2::128B [$0], [$1], 16, $2, $3;", args, 4, "r,l,r,l");
}

static LLVMValueRef ptx_of_block(Llvm *L, LLVMValueRef shared, LLVMValueRef rank)
{
    static const char text[] = "mapa.u64 $0, $1, $2;", constraints[] = "=l,l,r";
    LLVMTypeRef generic = LLVMPointerTypeInContext(L->c, 0), types[2] = {generic, ll_int(L, 32)}, type = LLVMFunctionType(generic, types, 2, false);
    LLVMValueRef args[2] = {LLVMBuildAddrSpaceCast(L->b, shared, generic, ""), LLVMBuildIntCast2(L->b, rank, types[1], false, "")};
    LLVMValueRef code = LLVMGetInlineAsm(type, text, sizeof text - 1, constraints, sizeof constraints - 1, false, false, LLVMInlineAsmDialectATT, false);
    return LLVMBuildCall2(L->b, type, code, args, 2, "");
}

static void ptx_order(Llvm *L, const KInst *n)
{
    if (n->kind == K_CLUSTER_ARRIVE || n->kind == K_CLUSTER_WAIT) {
        const char *text = n->kind == K_CLUSTER_WAIT ? "barrier.cluster.wait.acquire.aligned;"
                         : n->i ? "barrier.cluster.arrive.release.aligned;" : "barrier.cluster.arrive.relaxed.aligned;";
        statement(L, text, NULL, 0, "");
        return;
    }
    if (n->kind == K_COPY_COMMIT)
        statement(L, "cp.async.commit_group;", NULL, 0, "");
    else if (n->kind == K_COPY_WAIT)
        statement(L, arena_printf(L->arena, "cp.async.wait_group %lld;", (long long)n->i), NULL, 0, "");
    else if (((Ptx *)L->target_data)->early)
        statement(L, n->kind == K_WAIT ? "griddepcontrol.wait;" : "griddepcontrol.launch_dependents;", NULL, 0, "");
}

static void ptx_annotate(Llvm *L, LLVMValueRef access, uint32_t buffer, bool stream, uint32_t align, uint32_t bytes)
{
    (void)stream;
    (void)align;
    (void)bytes;
    if (!LLVMIsALoadInst(access) || L->k->buffers.data[buffer].written)
        return;
    LLVMSetMetadata(access, LLVMGetMDKindIDInContext(L->c, "invariant.load", 14),
                    LLVMMetadataAsValue(L->c, LLVMMDNodeInContext2(L->c, NULL, 0)));
}

static const LlvmTarget ptx_target = {
    .math = device_math, .rsqrt = ptx_rsqrt, .maximum = ptx_maximum, .bf16_bits = ptx_bf16_bits, .f16_bits = ptx_f16_bits,
    .f16_value = ptx_f16_value, .shuffle_xor = ptx_shuffle, .mma = ptx_mma, .barrier = ptx_barrier, .fence = ptx_fence, .of_block = ptx_of_block,
    .copy_async = ptx_copy_async, .warp_sync = ptx_warp_sync, .order = ptx_order, .annotate = ptx_annotate,
    .max_access = 16,
};

/* ---- the function around the body --------------------------------------------------------------------------------------- */

static void annotate_kernel(Llvm *L, const char *what, uint32_t v)
{
    LLVMMetadataRef items[3] = {LLVMValueAsMetadata(L->fn), LLVMMDStringInContext2(L->c, what, strlen(what)),
                                LLVMValueAsMetadata(LLVMConstInt(ll_int(L, 32), v, false))};
    LLVMAddNamedMetadataOperand(L->m, "nvvm.annotations", LLVMMetadataAsValue(L->c, LLVMMDNodeInContext2(L->c, items, 3)));
}

static void parameter_attribute(Llvm *L, uint32_t i, const char *name, uint64_t value)
{
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(L->fn, i + 1, LLVMCreateEnumAttribute(L->c, kind, value));
}

static void declare_kernel(Llvm *L)
{
    const Kernel *k = L->k;
    uint32_t n = k->buffers.n + k->scalars.n;
    LLVMTypeRef *params = arena_new_array(L->arena, LLVMTypeRef, n + 1);
    for (uint32_t i = 0; i < n; i++)
        params[i] = i < k->buffers.n ? LLVMPointerTypeInContext(L->c, GLOBAL) : ll_int(L, 64);
    L->fn = LLVMAddFunction(L->m, k->name, LLVMFunctionType(LLVMVoidTypeInContext(L->c), params, n, false));
    LLVMSetFunctionCallConv(L->fn, PTX_KERNEL_CONVENTION);
    for (uint32_t i = 0; i < k->buffers.n; i++) {
        const KBuffer *b = &k->buffers.data[i];
        parameter_attribute(L, i, "noalias", 0);
        parameter_attribute(L, i, "align", b->align < dtype_bytes(b->dtype) ? dtype_bytes(b->dtype) : b->align);
        if (!b->written)
            parameter_attribute(L, i, "readonly", 0);
        L->buffer[i] = LLVMGetParam(L->fn, i);
    }
    annotate_kernel(L, "kernel", 1);
    annotate_kernel(L, "maxntidx", k->threads);
    if (k->min_blocks > 0)
        annotate_kernel(L, "minctasm", (uint32_t)k->min_blocks);
}

static void declare_shared(Llvm *L)
{
    const Kernel *k = L->k;
    bool dynamic = kernel_shared_bytes(k) > SHARED_STATIC_LIMIT;
    LLVMTypeRef i8 = ll_int(L, 8);
    LLVMValueRef pool = NULL;
    uint64_t offset = 0;
    if (dynamic && !(pool = LLVMGetNamedGlobal(L->m, "shared_memory"))) {
        pool = LLVMAddGlobalInAddressSpace(L->m, LLVMArrayType2(i8, 0), "shared_memory", SHARED);
        LLVMSetAlignment(pool, 16);
    }
    for (uint32_t i = 0; i < k->shared.n; i++) {
        const KShared *s = &k->shared.data[i];
        LLVMTypeRef t = LLVMArrayType2(ll_memory_type(L, s->dtype), s->count);
        LLVMValueRef at = LLVMConstInt(ll_int(L, 32), offset, false);
        if (dynamic) {
            L->shared[i] = LLVMConstInBoundsGEP2(i8, pool, &at, 1);
        } else {
            L->shared[i] = LLVMAddGlobalInAddressSpace(L->m, t, arena_printf(L->arena, "%s_%s", k->name, s->name), SHARED);
            LLVMSetInitializer(L->shared[i], LLVMGetUndef(t));
            LLVMSetLinkage(L->shared[i], LLVMInternalLinkage);
            LLVMSetAlignment(L->shared[i], 16);
        }
        offset = (offset + (uint64_t)s->count * dtype_bytes(s->dtype) + 15) & ~(uint64_t)15;
    }
}

static void bind_register(Llvm *L, Dim symbol, const char *intrinsic, uint64_t below)
{
    if (dim_is_const(symbol))
        return;
    LLVMTypeRef i32 = ll_int(L, 32);
    LLVMValueRef v = ll_call(L, intrinsic, NULL, 0, NULL, 0);
    LLVMMetadataRef range[2] = {LLVMValueAsMetadata(LLVMConstInt(i32, 0, false)), LLVMValueAsMetadata(LLVMConstInt(i32, below ? below : 1, false))};
    LLVMSetMetadata(v, LLVMGetMDKindIDInContext(L->c, "range", 5), LLVMMetadataAsValue(L->c, LLVMMDNodeInContext2(L->c, range, 2)));
    ll_bind(L, symbol, LLVMBuildIntCast2(L->b, v, L->index, false, ""));
}

static void bind_arguments(Llvm *L)
{
    static const char *const block[3] = {"llvm.nvvm.read.ptx.sreg.ctaid.x", "llvm.nvvm.read.ptx.sreg.ctaid.y",
                                         "llvm.nvvm.read.ptx.sreg.ctaid.z"};
    const Kernel *k = L->k;
    for (uint32_t i = 0; i < k->scalars.n; i++)
        ll_bind(L, k->scalars.data[i], LLVMBuildIntCast2(L->b, LLVMGetParam(L->fn, k->buffers.n + i), L->index, true, ""));
    bind_register(L, k->thread, "llvm.nvvm.read.ptx.sreg.tid.x", k->threads);
    for (int d = 0; d < 3; d++) {
        int64_t most = d ? 65535 : INT32_MAX;
        bind_register(L, k->block[d], block[d], (uint64_t)(k->grid[d]->hi < most ? k->grid[d]->hi : most));
    }
}

/* Programmatic dependent launch: see the helper of the same name in the CUDA C. */
static void after_predecessors(Llvm *L) { statement(L, "griddepcontrol.wait; griddepcontrol.launch_dependents;", NULL, 0, ""); }

static void lower_kernel(Llvm *L, const Kernel *k)
{
    L->k = k;
    L->index = ll_int(L, kernel_needs_index64(k) ? 64 : 32);
    L->value = arena_new_array(L->arena, LLVMValueRef, k->n_ids + 1);
    L->buffer = arena_new_array(L->arena, LLVMValueRef, k->buffers.n + 1);
    L->shared = arena_new_array(L->arena, LLVMValueRef, k->shared.n + 1);
    L->copied = arena_new_array(L->arena, LLVMValueRef, k->shared.n + 1);
    L->dims = map_new(L->arena);
    L->journal.n = 0;
    declare_kernel(L);
    declare_shared(L);
    LLVMPositionBuilderAtEnd(L->b, ll_block(L, "entry"));
    bind_arguments(L);
    if (k->waits && !kernel_places_wait(k) && ((Ptx *)L->target_data)->early)
        after_predecessors(L);
    ll_body(L);
    LLVMBuildRetVoid(L->b);
}

/* ---- libdevice ---------------------------------------------------------------------------------------------------------- */

static bool find_libdevice(char *path, size_t cap)
{
    return cuda_toolkit_file("PAWL_LIBDEVICE", "nvvm/libdevice/libdevice.10.bc", path, cap);
}

/* Links what is called; the rest becomes internal and dies in the first pass. */
static bool link_libdevice(Arena *a, Diags *d, LLVMContextRef c, LLVMModuleRef m, const char *path)
{
    LLVMMemoryBufferRef buffer = NULL;
    LLVMModuleRef device = NULL;
    char *error = NULL;
    if (LLVMCreateMemoryBufferWithContentsOfFile(path, &buffer, &error))
        return diag_error(d, PAWL_EXIT_IO, LOC_NONE, NULL, "cannot read libdevice: %s", ll_message(a, error));
    if (LLVMGetBitcodeModuleInContext2(c, buffer, &device)) {        /* lazy; owns the buffer when it succeeds */
        LLVMDisposeMemoryBuffer(buffer);
        return diag_error(d, PAWL_EXIT_DEVICE, LOC_NONE, NULL, "%s is not bitcode that LLVM reads", path);
    }
    LLVMSetTarget(device, LLVMGetTarget(m));
    LLVMSetDataLayout(device, LLVMGetDataLayoutStr(m));
    for (LLVMValueRef f = LLVMGetFirstFunction(device); f; f = LLVMGetNextFunction(f))
        if (LLVMGetLinkage(f) == LLVMExternalLinkage && !LLVMIsDeclaration(f))
            LLVMSetLinkage(f, LLVMLinkOnceODRLinkage);               /* linked only where it is used */
    if (LLVMLinkModules2(m, device))
        return diag_error(d, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "LLVM cannot link %s", path);
    for (LLVMValueRef f = LLVMGetFirstFunction(m); f; f = LLVMGetNextFunction(f))
        if (LLVMGetLinkage(f) == LLVMLinkOnceODRLinkage)
            LLVMSetLinkage(f, LLVMInternalLinkage);
    return true;
}

/* ---- module ------------------------------------------------------------------------------------------------------------- */

static bool make_machine(Arena *a, Diags *d, const char *arch, LLVMTargetMachineRef *tm)
{
    static const char triple[] = "nvptx64-nvidia-cuda";
    LLVMTargetRef target;
    char *error = NULL;
    ll_targets();
    if (LLVMGetTargetFromTriple(triple, &target, &error))
        return diag_error(d, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "LLVM: %s", ll_message(a, error));
    /* what LLVM 19 does not know runs the generic code of its family */
    bool old = strcmp(arch, "sm_80") == 0 || strcmp(arch, "sm_86") == 0 || strcmp(arch, "sm_89") == 0;
    bool hopper = strcmp(arch, "sm_90a") == 0 || strcmp(arch, "sm_90") == 0;
    *tm = LLVMCreateTargetMachine(target, triple, old || hopper ? arch : "sm_90", hopper || !old ? "+ptx85" : "+ptx80",
                                  LLVMCodeGenLevelAggressive, LLVMRelocDefault, LLVMCodeModelDefault);
    return true;
}

static bool print_ptx(Arena *a, Diags *d, LLVMModuleRef m, LLVMTargetMachineRef tm, char **text)
{
    LLVMMemoryBufferRef buffer = NULL;
    char *error = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(tm, m, LLVMAssemblyFile, &error, &buffer))
        return diag_error(d, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "LLVM cannot emit PTX: %s", ll_message(a, error));
    *text = arena_strndup(a, LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer));
    LLVMDisposeMemoryBuffer(buffer);
    return true;
}

static bool build(Arena *a, Diags *d, Kernel *const *k, uint32_t n, LLVMContextRef c, LLVMModuleRef m, LLVMTargetMachineRef tm, bool early)
{
    char path[1024];
    Ptx ptx = {.libdevice = find_libdevice(path, sizeof path), .early = early};
    Arena *scratch = arena_new();
    Llvm L = {.target = &ptx_target, .target_data = &ptx, .arena = scratch, .c = c, .m = m, .b = LLVMCreateBuilderInContext(c),
               .branch_on_whole = true};
    for (uint32_t i = 0; i < n; i++)
        lower_kernel(&L, k[i]);
    LLVMDisposeBuilder(L.b);
    arena_free(scratch);
    if (ptx.no_f64)
        return diag_error(d, PAWL_EXIT_UNSUPPORTED, LOC_NONE, "set PAWL_LIBDEVICE to libdevice.10.bc of a CUDA toolkit",
                          "%s on f64 needs libdevice, which was not found", ptx.missing);
    char *error = NULL;
    bool broken = LLVMVerifyModule(m, LLVMReturnStatusAction, &error);
    char *text = ll_message(a, error);
    if (broken)
        return diag_error(d, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "LLVM rejects the GPU code: %s", text);
    if (ptx.called && !link_libdevice(a, d, c, m, path))
        return false;
    return ll_optimise(d, m, tm, "default<O2>");
}

char *emit_ptx(Arena *a, Diags *d, Kernel *const *k, uint32_t n, const char *arch)
{
    LLVMTargetMachineRef tm = NULL;
    char *text = NULL;
    if (!ll_can_emit(d, k, n) || !make_machine(a, d, arch, &tm))
        return NULL;
    LLVMContextRef c = LLVMContextCreate();
    LLVMModuleRef m = LLVMModuleCreateWithNameInContext("pawl", c);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(tm);
    LLVMSetModuleDataLayout(m, layout);
    LLVMDisposeTargetData(layout);
    LLVMSetTarget(m, "nvptx64-nvidia-cuda");
    bool early = strncmp(arch, "sm_", 3) == 0 && atoi(arch + 3) >= 90;
    if (build(a, d, k, n, c, m, tm, early) && !print_ptx(a, d, m, tm, &text))
        text = NULL;
    LLVMDisposeModule(m);
    LLVMDisposeTargetMachine(tm);
    LLVMContextDispose(c);
    return text;
}
