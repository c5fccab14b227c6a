/* codegen/emit/llvm_host.c — kernels for this machine's kind of CPU: LLVM IR with the lanes as vectors, one ELF object.
 *
 * A kernel becomes `void name(ptr buffers, ptr scalars, ptr grid, i64 begin, i64 end)`: a loop over linear block numbers.
 * Transcendental functions are libmvec's by lane count (or libm's for one lane); the object imports nothing else, so memcpy
 * idioms and half-precision helpers of compiler-rt are avoided by construction. */
#include "codegen/emit/llvm_common.h"
#include "codegen/emit/math_expand.h"

#include <cpuid.h>
#include <llvm-c/Analysis.h>
#include <llvm-c/TargetMachine.h>

typedef struct { const char *name; uint32_t vector_bytes; char abi; bool f16c; } HostLevel;

static const HostLevel levels[] = {
    {"x86-64-v2", 16, 'b', false},
    {"x86-64-v3", 32, 'd', true},
    {"x86-64-v4", 64, 'e', true},
};

typedef struct {
    const HostLevel *level;
    bool inline_math;
    bool streams;                                   /* has non-temporal stores: fence before returning */
    LLVMMetadataRef *own_scope, *other_scopes;      /* by buffer: alias metadata */
} Host;

const char *host_arch(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return "x86-64-v4";
    unsigned a, b, c = 0, d;
    bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") && f16c)
        return "x86-64-v3";
    return "x86-64-v2";
}

static const HostLevel *find_level(Diags *d, const char *arch)
{
    if (strcmp(arch, "native") == 0)
        arch = host_arch();
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (strcmp(levels[i].name, arch) == 0)
            return &levels[i];
    diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, "known: native, x86-64-v2, x86-64-v3, x86-64-v4", "unknown CPU level `%s`", arch);
    return NULL;
}

static const HostLevel *level_of(const Llvm *L) { return ((const Host *)L->target_data)->level; }

/* ---- math --------------------------------------------------------------------------------------------------------------- */

typedef struct { Op op; const char *name; bool vector; } MathRow;

/* libm's name for f64; f32 has an f behind it. vector: libmvec has it for every width. */
static const MathRow math_rows[] = {
    {OP_EXP, "exp", true},     {OP_EXP2, "exp2", true},   {OP_EXPM1, "expm1", true}, {OP_LOG, "log", true},
    {OP_LOG2, "log2", true},   {OP_LOG10, "log10", true}, {OP_LOG1P, "log1p", true}, {OP_SIN, "sin", true},
    {OP_COS, "cos", true},     {OP_TAN, "tan", true},     {OP_ASIN, "asin", true},   {OP_ACOS, "acos", true},
    {OP_ATAN, "atan", true},   {OP_SINH, "sinh", true},   {OP_COSH, "cosh", true},   {OP_TANH, "tanh", true},
    {OP_ASINH, "asinh", true}, {OP_ACOSH, "acosh", true}, {OP_ATANH, "atanh", true}, {OP_ERF, "erf", true},
    {OP_ERFC, "erfc", true},   {OP_POW, "pow", true},     {OP_ATAN2, "atan2", true}, {OP_FMOD, "fmod", false},
};

static const MathRow *math_row(Op op)
{
    for (size_t i = 0; i < sizeof math_rows / sizeof *math_rows; i++)
        if (math_rows[i].op == op)
            return &math_rows[i];
    pawl_assert(false, "no libm function for %s", op_name(op));
}

static LLVMValueRef call_pure(Llvm *L, const char *name, LLVMTypeRef t, LLVMValueRef *args, uint32_t n)
{
    LLVMTypeRef params[2] = {t, t}, fn_type;
    LLVMValueRef fn = ll_extern(L, name, t, params, n, &fn_type);
    return LLVMBuildCall2(L->b, fn_type, fn, args, n, "");
}

static LLVMValueRef call_scalar(Llvm *L, const MathRow *row, DType t, LLVMValueRef *args, uint32_t n)
{
    char name[32];
    snprintf(name, sizeof name, "%s%s", row->name, t == DT_F32 ? "f" : "");
    return call_pure(L, name, ll_value_type(L, t, 1), args, n);
}

/* One libmvec call of `width` lanes; the vector ABI letter follows from the bytes: b 16, d 32, e 64. */
static LLVMValueRef call_vector(Llvm *L, const MathRow *row, DType t, LLVMValueRef *args, uint32_t n, uint32_t width)
{
    char name[48];
    uint32_t bytes = width * dtype_bytes(t);
    snprintf(name, sizeof name, "_ZGV%cN%u%s_%s%s", bytes == 16 ? 'b' : bytes == 32 ? 'd' : 'e', width, n == 2 ? "vv" : "v",
             row->name, t == DT_F32 ? "f" : "");
    return call_pure(L, name, ll_value_type(L, t, width), args, n);
}

static LLVMValueRef host_math(Llvm *L, Op op, DType t, LLVMValueRef *args, uint32_t n, uint32_t lanes)
{
    const MathRow *row = math_row(op);
    LLVMValueRef parts[16], sub[2];
    if (((const Host *)L->target_data)->inline_math && t == DT_F32)
        return math_expand(L, op, args, lanes, math_exp2_polynomial);
    if (lanes == 1)
        return call_scalar(L, row, t, args, n);
    uint32_t least = 16 / dtype_bytes(t), most = level_of(L)->vector_bytes / dtype_bytes(t);
    uint32_t width = !row->vector ? 1 : lanes < least ? least : lanes > most ? most : lanes;
    uint32_t calls = lanes > width ? lanes / width : 1;
    for (uint32_t i = 0; i < calls; i++) {
        for (uint32_t j = 0; j < n; j++)
            sub[j] = ll_part(L, args[j], i * width, width);     /* repeats lanes where it widens */
        parts[i] = row->vector ? call_vector(L, row, t, sub, n, width) : call_scalar(L, row, t, sub, n);
    }
    return width > lanes ? ll_part(L, parts[0], 0, lanes) : ll_join(L, parts, calls);
}

/* ---- half precision ----------------------------------------------------------------------------------------------------- */

/* Without F16C: f32 to f16 bits in integers. Normal results by rounding the mantissa in place; subnormal ones by adding a
 * float whose last bit is the last bit of the result (Fabian Giesen, "float->half variants"). */
static LLVMValueRef f16_bits_soft(Llvm *L, LLVMValueRef v, uint32_t lanes)
{
    LLVMBuilderRef b = L->b;
    LLVMTypeRef i32 = ll_lanes(ll_int(L, 32), lanes), f32 = ll_value_type(L, DT_F32, lanes);
#define C(x) ll_iconst(L, i32, (x))
    LLVMValueRef u = LLVMBuildBitCast(b, v, i32, "");
    LLVMValueRef sign = LLVMBuildAnd(b, u, C(0x80000000), ""), m = LLVMBuildXor(b, u, sign, "");
    LLVMValueRef magic = C(((127 - 15) + (23 - 10) + 1) << 23);
    LLVMValueRef small = LLVMBuildFAdd(b, LLVMBuildBitCast(b, m, f32, ""), LLVMBuildBitCast(b, magic, f32, ""), "");
    small = LLVMBuildSub(b, LLVMBuildBitCast(b, small, i32, ""), magic, "");
    LLVMValueRef odd = LLVMBuildAnd(b, LLVMBuildLShr(b, m, C(13), ""), C(1), "");
    LLVMValueRef normal = LLVMBuildAdd(b, LLVMBuildAdd(b, m, C((int64_t)((uint32_t)(15 - 127) << 23) + 0xfff), ""), odd, "");
    normal = LLVMBuildLShr(b, normal, C(13), "");
    LLVMValueRef is_nan = LLVMBuildICmp(b, LLVMIntUGT, m, C(0x7f800000), "");
    LLVMValueRef big = LLVMBuildSelect(b, is_nan, C(0x7e00), C(0x7c00), "");
    LLVMValueRef is_small = LLVMBuildICmp(b, LLVMIntULT, m, C(113 << 23), "");
    LLVMValueRef is_big = LLVMBuildICmp(b, LLVMIntUGE, m, C(143 << 23), "");
    LLVMValueRef r = LLVMBuildSelect(b, is_big, big, LLVMBuildSelect(b, is_small, small, normal, ""), "");
    r = LLVMBuildOr(b, r, LLVMBuildLShr(b, sign, C(16), ""), "");
    return LLVMBuildTrunc(b, r, ll_lanes(ll_int(L, 16), lanes), "");
}

static LLVMValueRef f16_value_soft(Llvm *L, LLVMValueRef bits, uint32_t lanes)
{
    LLVMBuilderRef b = L->b;
    LLVMTypeRef i32 = ll_lanes(ll_int(L, 32), lanes), f32 = ll_value_type(L, DT_F32, lanes);
    LLVMValueRef h = LLVMBuildZExt(b, bits, i32, "");
    LLVMValueRef m = LLVMBuildShl(b, LLVMBuildAnd(b, h, C(0x7fff), ""), C(13), "");
    /* 2^112 * the float with these bits: exact, subnormals included */
    LLVMValueRef f = LLVMBuildFMul(b, LLVMBuildBitCast(b, m, f32, ""), ll_fconst(L, f32, 0x1p112), "");
    LLVMValueRef special = LLVMBuildICmp(b, LLVMIntUGE, m, C(31 << 23), "");
    LLVMValueRef u = LLVMBuildSelect(b, special, LLVMBuildOr(b, m, C(0x7f800000), ""), LLVMBuildBitCast(b, f, i32, ""), "");
    u = LLVMBuildOr(b, u, LLVMBuildShl(b, LLVMBuildAnd(b, h, C(0x8000), ""), C(16), ""), "");
    return LLVMBuildBitCast(b, u, f32, "");
#undef C
}

static LLVMTypeRef half_type(Llvm *L, uint32_t lanes) { return ll_lanes(LLVMHalfTypeInContext(L->c), lanes); }

static LLVMValueRef host_f16_bits(Llvm *L, LLVMValueRef v, uint32_t lanes)
{
    if (!level_of(L)->f16c)
        return f16_bits_soft(L, v, lanes);
    LLVMValueRef h = LLVMBuildFPTrunc(L->b, v, half_type(L, lanes), "");
    return LLVMBuildBitCast(L->b, h, ll_lanes(ll_int(L, 16), lanes), "");
}

static LLVMValueRef host_f16_value(Llvm *L, LLVMValueRef bits, uint32_t lanes)
{
    if (!level_of(L)->f16c)
        return f16_value_soft(L, bits, lanes);
    LLVMValueRef h = LLVMBuildBitCast(L->b, bits, half_type(L, lanes), "");
    return LLVMBuildFPExt(L->b, h, ll_value_type(L, DT_F32, lanes), "");
}

/* ---- memory and threads ------------------------------------------------------------------------------------------------- */

static void set_metadata(Llvm *L, LLVMValueRef inst, const char *kind, LLVMMetadataRef md)
{
    LLVMSetMetadata(inst, LLVMGetMDKindIDInContext(L->c, kind, (unsigned)strlen(kind)), LLVMMetadataAsValue(L->c, md));
}

static void host_annotate(Llvm *L, LLVMValueRef access, uint32_t buffer, bool stream, uint32_t align, uint32_t bytes)
{
    Host *h = L->target_data;
    set_metadata(L, access, "alias.scope", h->own_scope[buffer]);
    set_metadata(L, access, "noalias", h->other_scopes[buffer]);
    if (stream && LLVMIsAStoreInst(access) && bytes >= 16 && align >= bytes) {
        LLVMMetadataRef one = LLVMValueAsMetadata(LLVMConstInt(ll_int(L, 32), 1, false));
        set_metadata(L, access, "nontemporal", LLVMMDNodeInContext2(L->c, &one, 1));
        h->streams = true;
    }
}

static void make_scopes(Llvm *L, Host *h)
{
    uint32_t n = L->k->buffers.n;
    LLVMMetadataRef *scope = arena_new_array(L->arena, LLVMMetadataRef, n + 1);
    LLVMMetadataRef *others = arena_new_array(L->arena, LLVMMetadataRef, n + 1);
    LLVMMetadataRef name = LLVMMDStringInContext2(L->c, L->k->name, strlen(L->k->name));
    LLVMMetadataRef domain = LLVMMDNodeInContext2(L->c, &name, 1);
    h->own_scope = arena_new_array(L->arena, LLVMMetadataRef, n + 1);
    h->other_scopes = arena_new_array(L->arena, LLVMMetadataRef, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        char *text = arena_printf(L->arena, "%s.%u", L->k->name, i);
        LLVMMetadataRef items[2] = {LLVMMDStringInContext2(L->c, text, strlen(text)), domain};
        scope[i] = LLVMMDNodeInContext2(L->c, items, 2);
        h->own_scope[i] = LLVMMDNodeInContext2(L->c, &scope[i], 1);
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t m = 0;
        for (uint32_t j = 0; j < n; j++)
            if (j != i)
                others[m++] = scope[j];
        h->other_scopes[i] = LLVMMDNodeInContext2(L->c, others, m);
    }
}

static LLVMValueRef host_shuffle(Llvm *L, LLVMValueRef v, uint32_t mask)
{
    (void)v;
    (void)mask;
    pawl_assert(false, "kernel %s: a host block has one thread", L->k->name);
}

static void host_barrier(Llvm *L) { (void)L; }
static void host_fence(Llvm *L) { LLVMBuildFence(L->b, LLVMAtomicOrderingSequentiallyConsistent, false, ""); }

static const LlvmTarget host_target = {
    .math = host_math, .maximum = ll_maximum, .bf16_bits = ll_bf16_bits, .f16_bits = host_f16_bits, .f16_value = host_f16_value,
    .shuffle_xor = host_shuffle, .barrier = host_barrier, .fence = host_fence, .annotate = host_annotate,
};

/* ---- the function around the body --------------------------------------------------------------------------------------- */

static LLVMValueRef load_argument(Llvm *L, LLVMTypeRef t, LLVMValueRef array, uint32_t i)
{
    LLVMValueRef at = LLVMConstInt(ll_int(L, 64), i, false);
    LLVMValueRef v = LLVMBuildLoad2(L->b, t, LLVMBuildInBoundsGEP2(L->b, t, array, &at, 1, ""), "");
    set_metadata(L, v, "invariant.load", LLVMMDNodeInContext2(L->c, NULL, 0));
    return v;
}

static void add_attr(Llvm *L, const char *name, const char *value)
{
    LLVMAddAttributeAtIndex(L->fn, LLVMAttributeFunctionIndex,
                            LLVMCreateStringAttribute(L->c, name, (unsigned)strlen(name), value, (unsigned)strlen(value)));
}

static void function_attributes(Llvm *L)
{
    static const char *const plain[] = {"nounwind", "willreturn"};
    char bits[8];
    snprintf(bits, sizeof bits, "%u", level_of(L)->vector_bytes * 8);
    for (size_t i = 0; i < 2; i++)
        LLVMAddAttributeAtIndex(L->fn, LLVMAttributeFunctionIndex,
            LLVMCreateEnumAttribute(L->c, LLVMGetEnumAttributeKindForName(plain[i], strlen(plain[i])), 0));
    add_attr(L, "no-builtins", "");                  /* no memset and memcpy out of loops */
    add_attr(L, "prefer-vector-width", bits);
    add_attr(L, "min-legal-vector-width", bits);
    add_attr(L, "target-cpu", level_of(L)->name);
    LLVMAttributeRef noalias = LLVMCreateEnumAttribute(L->c, LLVMGetEnumAttributeKindForName("noalias", 7), 0);
    for (unsigned i = 1; i <= 3; i++)
        LLVMAddAttributeAtIndex(L->fn, i, noalias);
}

static void load_arguments(Llvm *L)
{
    const Kernel *k = L->k;
    LLVMTypeRef ptr = LLVMPointerTypeInContext(L->c, 0);
    for (uint32_t i = 0; i < k->buffers.n; i++)
        L->buffer[i] = load_argument(L, ptr, LLVMGetParam(L->fn, 0), i);
    for (uint32_t i = 0; i < k->scalars.n; i++)
        ll_bind(L, k->scalars.data[i], load_argument(L, L->index, LLVMGetParam(L->fn, 1), i));
    for (uint32_t i = 0; i < k->shared.n; i++) {
        LLVMTypeRef t = LLVMArrayType2(ll_memory_type(L, k->shared.data[i].dtype), k->shared.data[i].count);
        L->shared[i] = LLVMBuildAlloca(L->b, t, k->shared.data[i].name);
        LLVMSetAlignment(L->shared[i], 64);
    }
}

/* block numbers from the linear one, x fastest */
static void bind_blocks(Llvm *L, LLVMValueRef linear)
{
    const Kernel *k = L->k;
    LLVMValueRef rest = linear;
    for (int d = 0; d < 3; d++) {
        bool more = false;
        for (int e = d + 1; e < 3; e++)
            more = more || !dim_is(k->grid[e], 1);
        if (dim_is_const(k->block[d]))
            continue;
        if (!more) {
            ll_bind(L, k->block[d], rest);
            return;
        }
        LLVMValueRef size = dim_is_const(k->grid[d]) ? ll_iconst(L, L->index, k->grid[d]->value)
                                                     : load_argument(L, L->index, LLVMGetParam(L->fn, 2), (uint32_t)d);
        ll_bind(L, k->block[d], LLVMBuildURem(L->b, rest, size, ""));
        rest = LLVMBuildUDiv(L->b, rest, size, "");
    }
}

static void lower_kernel(Llvm *L, const Kernel *k)
{
    LLVMTypeRef ptr = LLVMPointerTypeInContext(L->c, 0), i64 = ll_int(L, 64);
    LLVMTypeRef params[5] = {ptr, ptr, ptr, i64, i64};
    L->k = k;
    L->fn = LLVMAddFunction(L->m, k->name, LLVMFunctionType(LLVMVoidTypeInContext(L->c), params, 5, false));
    L->value = arena_new_array(L->arena, LLVMValueRef, k->n_ids + 1);
    L->buffer = arena_new_array(L->arena, LLVMValueRef, k->buffers.n + 1);
    L->shared = arena_new_array(L->arena, LLVMValueRef, k->shared.n + 1);
    L->dims = map_new(L->arena);
    L->journal.n = 0;
    ((Host *)L->target_data)->streams = false;
    function_attributes(L);
    make_scopes(L, L->target_data);

    LLVMBasicBlockRef entry = ll_block(L, "entry"), head = ll_block(L, "blocks"), body = ll_block(L, "block"),
                      exit = ll_block(L, "exit");
    LLVMPositionBuilderAtEnd(L->b, entry);
    load_arguments(L);
    LLVMBuildBr(L->b, head);
    LLVMPositionBuilderAtEnd(L->b, head);
    LLVMValueRef linear = LLVMBuildPhi(L->b, i64, "block"), begin = LLVMGetParam(L->fn, 3);
    LLVMAddIncoming(linear, &begin, &entry, 1);
    LLVMBuildCondBr(L->b, LLVMBuildICmp(L->b, LLVMIntSLT, linear, LLVMGetParam(L->fn, 4), ""), body, exit);
    LLVMPositionBuilderAtEnd(L->b, body);
    bind_blocks(L, linear);
    ll_body(L);
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(L->b);
    LLVMValueRef next = LLVMBuildNSWAdd(L->b, linear, ll_iconst(L, i64, 1), "");
    LLVMAddIncoming(linear, &next, &latch, 1);
    LLVMBuildBr(L->b, head);
    LLVMPositionBuilderAtEnd(L->b, exit);
    if (((Host *)L->target_data)->streams)
        ll_call(L, "llvm.x86.sse.sfence", NULL, 0, NULL, 0);
    LLVMBuildRetVoid(L->b);
}

/* ---- module, machine, object -------------------------------------------------------------------------------------------- */

typedef struct { LLVMContextRef c; LLVMModuleRef m; LLVMTargetMachineRef tm; } Build;

static void build_free(Build *x)
{
    if (x->tm)
        LLVMDisposeTargetMachine(x->tm);
    if (x->m)
        LLVMDisposeModule(x->m);
    if (x->c)
        LLVMContextDispose(x->c);
}

static bool make_machine(Arena *a, Diags *d, const HostLevel *level, Build *x)
{
    static const char triple[] = "x86_64-unknown-linux-gnu";
    LLVMTargetRef target;
    char *error = NULL;
    ll_targets();
    if (LLVMGetTargetFromTriple(triple, &target, &error))
        return diag_error(d, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "LLVM: %s", ll_message(a, error));
    x->tm = LLVMCreateTargetMachine(target, triple, level->name, "", LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelSmall);
    x->c = LLVMContextCreate();
    x->m = LLVMModuleCreateWithNameInContext("pawl", x->c);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(x->tm);
    LLVMSetModuleDataLayout(x->m, layout);
    LLVMDisposeTargetData(layout);
    LLVMSetTarget(x->m, triple);
    return true;
}

static bool build_module(Arena *a, Diags *d, Kernel *const *k, uint32_t n, const char *arch, bool inline_math, Build *x)
{
    const HostLevel *level = find_level(d, arch);
    if (!level || !ll_can_emit(d, k, n) || !make_machine(a, d, level, x))
        return false;
    Arena *scratch = arena_new();
    Host host = {.level = level, .inline_math = inline_math && level->f16c};      /* v3 has fma */
    Llvm L = {.target = &host_target, .target_data = &host, .arena = scratch, .c = x->c, .m = x->m,
               .b = LLVMCreateBuilderInContext(x->c), .index = LLVMInt64TypeInContext(x->c),
               .branch_on_whole = level->vector_bytes < 64};      /* AVX-512 masks for free */
    for (uint32_t i = 0; i < n; i++)
        lower_kernel(&L, k[i]);
    LLVMDisposeBuilder(L.b);
    arena_free(scratch);
    char *error = NULL;
    bool broken = LLVMVerifyModule(x->m, LLVMReturnStatusAction, &error);
    char *text = ll_message(a, error);
    if (broken)
        return diag_error(d, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "LLVM rejects the host code: %s", text);
    return ll_optimise(d, x->m, x->tm, "default<O2>");
}

char *emit_host_ir(Arena *a, Diags *d, Kernel *const *k, uint32_t n, const char *arch)
{
    Build x = {0};
    char *text = build_module(a, d, k, n, arch, false, &x) ? ll_message(a, LLVMPrintModuleToString(x.m)) : NULL;
    build_free(&x);
    return text;
}

bool emit_host(Arena *a, Diags *d, Kernel *const *k, uint32_t n, const char *arch, const void **object, size_t *len)
{
    return emit_host_math(a, d, k, n, arch, false, object, len);
}

bool emit_host_math(Arena *a, Diags *d, Kernel *const *k, uint32_t n, const char *arch, bool inline_math, const void **object,
                    size_t *len)
{
    Build x = {0};
    LLVMMemoryBufferRef buffer = NULL;
    char *error = NULL;
    bool ok = build_module(a, d, k, n, arch, inline_math, &x);
    if (ok && LLVMTargetMachineEmitToMemoryBuffer(x.tm, x.m, LLVMObjectFile, &error, &buffer))
        ok = diag_error(d, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "LLVM cannot emit the host object: %s", ll_message(a, error));
    if (ok) {
        *len = LLVMGetBufferSize(buffer);
        *object = arena_copy(a, LLVMGetBufferStart(buffer), *len);
    }
    if (buffer)
        LLVMDisposeMemoryBuffer(buffer);
    build_free(&x);
    return ok;
}
