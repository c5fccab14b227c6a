/* runtime/cuda/kernels.c — the runtime's own kernels as PTX 7.0 for sm_80, which every supported driver compiles for its device. */
#include "runtime/cuda/kernels.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define HEAD ".version 7.0\n.target sm_80\n.address_size 64\n"

/* rd0 = global thread number, rd1 = number of threads */
#define THREAD_NUMBERS                                                                  \
    "mov.u32 %r0, %ctaid.x;\n mov.u32 %r1, %ntid.x;\n mov.u32 %r2, %tid.x;\n"           \
    "mul.wide.u32 %rd0, %r0, %r1;\n cvt.u64.u32 %rd2, %r2;\n add.u64 %rd0, %rd0, %rd2;\n" \
    "mov.u32 %r3, %nctaid.x;\n mul.wide.u32 %rd1, %r3, %r1;\n"
#define REGISTERS ".reg .pred %p<4>;\n.reg .b16 %h<4>;\n.reg .b32 %r<40>;\n.reg .b64 %rd<40>;\n"

/* 16 bytes a thread, four loads in flight; then one by one; then the tail by bytes. All by bytes where unaligned. */
static const char ptx_copy[] =
    ".visible .entry pawl_copy(.param .u64 to, .param .u64 from, .param .u64 bytes)\n{\n" REGISTERS THREAD_NUMBERS
    "ld.param.u64 %rd3, [to];\n ld.param.u64 %rd4, [from];\n ld.param.u64 %rd5, [bytes];\n"
    "or.b64 %rd6, %rd3, %rd4;\n and.b64 %rd6, %rd6, 15;\n setp.ne.u64 %p0, %rd6, 0;\n"
    "mov.u64 %rd8, %rd0;\n @%p0 bra BYTES;\n"
    "shr.u64 %rd7, %rd5, 4;\n"                           /* vectors */
    "mov.u64 %rd9, %rd0;\n mul.lo.u64 %rd10, %rd1, 3;\n shl.b64 %rd11, %rd1, 2;\n shl.b64 %rd12, %rd1, 4;\n"
    "FOUR: add.u64 %rd13, %rd9, %rd10;\n setp.ge.u64 %p1, %rd13, %rd7;\n @%p1 bra ONE;\n"
    "shl.b64 %rd14, %rd9, 4;\n add.u64 %rd15, %rd4, %rd14;\n add.u64 %rd16, %rd3, %rd14;\n"
    "add.u64 %rd17, %rd15, %rd12;\n add.u64 %rd18, %rd17, %rd12;\n add.u64 %rd19, %rd18, %rd12;\n"
    "ld.global.v4.u32 {%r4,%r5,%r6,%r7}, [%rd15];\n ld.global.v4.u32 {%r8,%r9,%r10,%r11}, [%rd17];\n"
    "ld.global.v4.u32 {%r12,%r13,%r14,%r15}, [%rd18];\n ld.global.v4.u32 {%r16,%r17,%r18,%r19}, [%rd19];\n"
    "add.u64 %rd20, %rd16, %rd12;\n add.u64 %rd21, %rd20, %rd12;\n add.u64 %rd22, %rd21, %rd12;\n"
    "st.global.v4.u32 [%rd16], {%r4,%r5,%r6,%r7};\n st.global.v4.u32 [%rd20], {%r8,%r9,%r10,%r11};\n"
    "st.global.v4.u32 [%rd21], {%r12,%r13,%r14,%r15};\n st.global.v4.u32 [%rd22], {%r16,%r17,%r18,%r19};\n"
    "add.u64 %rd9, %rd9, %rd11;\n bra FOUR;\n"
    "ONE: setp.ge.u64 %p1, %rd9, %rd7;\n @%p1 bra TAIL;\n"
    "shl.b64 %rd14, %rd9, 4;\n add.u64 %rd15, %rd4, %rd14;\n add.u64 %rd16, %rd3, %rd14;\n"
    "ld.global.v4.u32 {%r4,%r5,%r6,%r7}, [%rd15];\n st.global.v4.u32 [%rd16], {%r4,%r5,%r6,%r7};\n"
    "add.u64 %rd9, %rd9, %rd1;\n bra ONE;\n"
    "TAIL: shl.b64 %rd8, %rd7, 4;\n add.u64 %rd8, %rd8, %rd0;\n"
    "BYTES: setp.ge.u64 %p1, %rd8, %rd5;\n @%p1 bra DONE;\n"
    "add.u64 %rd15, %rd4, %rd8;\n add.u64 %rd16, %rd3, %rd8;\n ld.global.u8 %h0, [%rd15];\n st.global.u8 [%rd16], %h0;\n"
    "add.u64 %rd8, %rd8, %rd1;\n bra BYTES;\n"
    "DONE: ret;\n}\n";

static const char ptx_zero[] =
    ".visible .entry pawl_zero(.param .u64 to, .param .u64 bytes)\n{\n" REGISTERS THREAD_NUMBERS
    "ld.param.u64 %rd3, [to];\n ld.param.u64 %rd5, [bytes];\n"
    "and.b64 %rd6, %rd3, 15;\n setp.ne.u64 %p0, %rd6, 0;\n mov.u64 %rd8, %rd0;\n mov.u16 %h0, 0;\n @%p0 bra BYTES;\n"
    "shr.u64 %rd7, %rd5, 4;\n mov.u64 %rd9, %rd0;\n mov.u32 %r4, 0;\n"
    "ONE: setp.ge.u64 %p1, %rd9, %rd7;\n @%p1 bra TAIL;\n"
    "shl.b64 %rd14, %rd9, 4;\n add.u64 %rd16, %rd3, %rd14;\n st.global.v4.u32 [%rd16], {%r4,%r4,%r4,%r4};\n"
    "add.u64 %rd9, %rd9, %rd1;\n bra ONE;\n"
    "TAIL: shl.b64 %rd8, %rd7, 4;\n add.u64 %rd8, %rd8, %rd0;\n"
    "BYTES: setp.ge.u64 %p1, %rd8, %rd5;\n @%p1 bra DONE;\n"
    "add.u64 %rd16, %rd3, %rd8;\n st.global.u8 [%rd16], %h0;\n add.u64 %rd8, %rd8, %rd1;\n bra BYTES;\n"
    "DONE: ret;\n}\n";

/* One element a thread and turn. Its number, below 2^31, falls apart into up to eight indices, the innermost first; dims that are
 * not there are 1. Parameter: see StridedArgs. */
#define STRIDED_DIM(shape, from, to)                                                                               \
    "ld.param.u32 %r10, [c+" #shape "];\n setp.eq.u32 %p1, %r10, 1;\n @%p1 bra SKIP" #shape ";\n"                   \
    "div.u32 %r11, %r9, %r10;\n mul.lo.u32 %r12, %r11, %r10;\n sub.u32 %r12, %r9, %r12;\n mov.u32 %r9, %r11;\n"     \
    "cvt.u64.u32 %rd10, %r12;\n ld.param.u64 %rd11, [c+" #from "];\n ld.param.u64 %rd12, [c+" #to "];\n"            \
    "mad.lo.u64 %rd6, %rd10, %rd11, %rd6;\n mad.lo.u64 %rd7, %rd10, %rd12, %rd7;\nSKIP" #shape ":\n"
#define STRIDED_MOVE(label, size, type, reg) \
    label ": ld.global." type " " reg ", [%rd6];\n st.global." type " [%rd7], " reg ";\n bra NEXT;\n"
static const char ptx_strided[] =
    ".visible .entry pawl_strided(.param .align 8 .b8 c[184])\n{\n" REGISTERS THREAD_NUMBERS
    "ld.param.u64 %rd3, [c];\n ld.param.u64 %rd4, [c+8];\n ld.param.u32 %r5, [c+16];\n ld.param.u32 %r6, [c+20];\n"
    "cvt.u64.u32 %rd5, %r5;\n"
    "LOOP: setp.ge.u64 %p0, %rd0, %rd5;\n @%p0 bra DONE;\n"
    "cvt.u32.u64 %r9, %rd0;\n mov.u64 %rd6, %rd3;\n mov.u64 %rd7, %rd4;\n"
    STRIDED_DIM(24, 56, 120) STRIDED_DIM(28, 64, 128) STRIDED_DIM(32, 72, 136) STRIDED_DIM(36, 80, 144)
    STRIDED_DIM(40, 88, 152) STRIDED_DIM(44, 96, 160) STRIDED_DIM(48, 104, 168) STRIDED_DIM(52, 112, 176)
    "setp.eq.u32 %p1, %r6, 2;\n @%p1 bra TWO;\n setp.eq.u32 %p1, %r6, 4;\n @%p1 bra FOUR;\n"
    "setp.eq.u32 %p1, %r6, 8;\n @%p1 bra EIGHT;\n"
    STRIDED_MOVE("ONE", 1, "u8", "%h0") STRIDED_MOVE("TWO", 2, "u16", "%h1")
    STRIDED_MOVE("FOUR", 4, "u32", "%r13") STRIDED_MOVE("EIGHT", 8, "u64", "%rd13")
    "NEXT: add.u64 %rd0, %rd0, %rd1;\n bra LOOP;\n"
    "DONE: ret;\n}\n";

static const char ptx_spin[] =
    ".visible .entry pawl_spin(.param .u64 ns)\n{\n" REGISTERS
    "ld.param.u64 %rd0, [ns];\n mov.u64 %rd1, %globaltimer;\n"
    "LOOP: mov.u64 %rd2, %globaltimer;\n sub.u64 %rd3, %rd2, %rd1;\n setp.lt.u64 %p0, %rd3, %rd0;\n @%p0 bra LOOP;\n ret;\n}\n";

/* Reads all; the store is there so that the loads are (its condition holds for no data of ours: all words are 0). */
static const char ptx_read[] =
    ".visible .entry pawl_read(.param .u64 from, .param .u64 bytes)\n{\n" REGISTERS THREAD_NUMBERS
    "ld.param.u64 %rd4, [from];\n ld.param.u64 %rd5, [bytes];\n shr.u64 %rd7, %rd5, 4;\n mov.u64 %rd9, %rd0;\n mov.u32 %r20, 0;\n"
    "LOOP: setp.ge.u64 %p1, %rd9, %rd7;\n @%p1 bra DONE;\n"
    "shl.b64 %rd14, %rd9, 4;\n add.u64 %rd15, %rd4, %rd14;\n ld.global.v4.u32 {%r4,%r5,%r6,%r7}, [%rd15];\n"
    "or.b32 %r4, %r4, %r5;\n or.b32 %r6, %r6, %r7;\n or.b32 %r20, %r20, %r4;\n or.b32 %r20, %r20, %r6;\n"
    "add.u64 %rd9, %rd9, %rd1;\n bra LOOP;\n"
    "DONE: setp.eq.u32 %p2, %r20, 305419896;\n @%p2 st.global.u32 [%rd4], %r20;\n ret;\n}\n";

/* Words of a hash of their number (a 32-bit finaliser of good avalanche), masked into the range wanted: even and odd words. */
static const char ptx_noise[] =
    ".visible .entry pawl_noise(.param .u64 to, .param .u64 words, .param .u32 seed, .param .u32 keep0, .param .u32 set0,\n"
    " .param .u32 keep1, .param .u32 set1)\n{\n" REGISTERS THREAD_NUMBERS
    "ld.param.u64 %rd3, [to];\n ld.param.u64 %rd5, [words];\n ld.param.u32 %r4, [seed];\n"
    "ld.param.u32 %r5, [keep0];\n ld.param.u32 %r6, [set0];\n ld.param.u32 %r7, [keep1];\n ld.param.u32 %r8, [set1];\n"
    "LOOP: setp.ge.u64 %p0, %rd0, %rd5;\n @%p0 bra DONE;\n"
    "cvt.u32.u64 %r9, %rd0;\n shr.u64 %rd6, %rd0, 32;\n cvt.u32.u64 %r10, %rd6;\n"
    "mad.lo.u32 %r11, %r10, 2654435769, %r4;\n xor.b32 %r11, %r11, %r9;\n"
    "shr.u32 %r12, %r11, 16;\n xor.b32 %r11, %r11, %r12;\n mul.lo.u32 %r11, %r11, 2146121005;\n"
    "shr.u32 %r12, %r11, 15;\n xor.b32 %r11, %r11, %r12;\n mul.lo.u32 %r11, %r11, 2221713035;\n"
    "shr.u32 %r12, %r11, 16;\n xor.b32 %r11, %r11, %r12;\n"
    "and.b32 %r13, %r9, 1;\n setp.eq.u32 %p1, %r13, 1;\n"
    "selp.b32 %r14, %r7, %r5, %p1;\n selp.b32 %r15, %r8, %r6, %p1;\n and.b32 %r11, %r11, %r14;\n or.b32 %r11, %r11, %r15;\n"
    "shl.b64 %rd7, %rd0, 2;\n add.u64 %rd8, %rd3, %rd7;\n st.global.u32 [%rd8], %r11;\n"
    "add.u64 %rd0, %rd0, %rd1;\n bra LOOP;\n"
    "DONE: ret;\n}\n";

typedef struct {                       /* as pawl_strided reads it; strides in bytes */
    uint64_t from, to;
    uint32_t count, element;
    uint32_t shape[8];                 /* innermost first */
    int64_t from_strides[8], to_strides[8];
} StridedArgs;
_Static_assert(sizeof(StridedArgs) == 184 && offsetof(StridedArgs, shape) == 24 && offsetof(StridedArgs, from_strides) == 56 &&
               offsetof(StridedArgs, to_strides) == 120, "pawl_strided's parameter");

/* ---- loading ---- */

static struct { pthread_mutex_t lock; CudaKernels of[64]; bool loaded[64]; } kernels = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int load(const CudaDriver *cu, int ordinal, CudaKernels *k)
{
    char text[sizeof HEAD + sizeof ptx_copy + sizeof ptx_zero + sizeof ptx_strided + sizeof ptx_spin + sizeof ptx_noise +
              sizeof ptx_read];
    snprintf(text, sizeof text, "%s%s%s%s%s%s%s", HEAD, ptx_copy, ptx_zero, ptx_strided, ptx_spin, ptx_noise, ptx_read);
    int r = cu->ModuleLoadDataEx(&k->module, text, 0, NULL, NULL);
    CuModule m = k->module;
    r = r ? r : cu->ModuleGetFunction(&k->copy, m, "pawl_copy");
    r = r ? r : cu->ModuleGetFunction(&k->zero, m, "pawl_zero");
    r = r ? r : cu->ModuleGetFunction(&k->strided, m, "pawl_strided");
    r = r ? r : cu->ModuleGetFunction(&k->spin, m, "pawl_spin");
    r = r ? r : cu->ModuleGetFunction(&k->noise, m, "pawl_noise");
    r = r ? r : cu->ModuleGetFunction(&k->read, m, "pawl_read");
    k->sm_count = (unsigned)cuda_device(ordinal)->sm_count;
    return r;
}

const CudaKernels *cuda_kernels(int ordinal, Diags *d)
{
    const CudaDriver *cu = cuda_driver(NULL);
    int r = CU_OK;
    pthread_mutex_lock(&kernels.lock);
    if (!kernels.loaded[ordinal]) {
        r = load(cu, ordinal, &kernels.of[ordinal]);
        kernels.loaded[ordinal] = r == CU_OK;
    }
    pthread_mutex_unlock(&kernels.lock);
    return cuda_check(cu, r, "loading the runtime's own kernels", d) ? &kernels.of[ordinal] : NULL;
}

/* ---- calls ---- */

static void call(CudaCall *c, CuFunction f, unsigned grid, unsigned block, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        c->params[i] = &c->values[i];
    c->node = (CuKernelNode){.func = f, .grid = {grid, 1, 1}, .block = {block, 1, 1}, .params = c->params};
}

/* Enough threads for the work, at most what fills the device. */
static unsigned blocks_for(const CudaKernels *k, uint64_t threads)
{
    uint64_t blocks = (threads + 255) / 256, most = (uint64_t)k->sm_count * 8;
    return (unsigned)(blocks < 1 ? 1 : blocks > most ? most : blocks);
}

void cuda_call_copy(const CudaKernels *k, CudaCall *c, CuPtr to, CuPtr from, uint64_t bytes)
{
    call(c, k->copy, blocks_for(k, (to | from) % 16 ? bytes : bytes / 16 + 15), 256, 3);
    c->values[0] = to;
    c->values[1] = from;
    c->values[2] = bytes;
}

void cuda_call_zero(const CudaKernels *k, CudaCall *c, CuPtr to, uint64_t bytes)
{
    call(c, k->zero, blocks_for(k, to % 16 ? bytes : bytes / 16 + 15), 256, 2);
    c->values[0] = to;
    c->values[1] = bytes;
}

void cuda_call_read(const CudaKernels *k, CudaCall *c, CuPtr from, uint64_t bytes)
{
    call(c, k->read, blocks_for(k, bytes / 16), 256, 2);
    c->values[0] = from;
    c->values[1] = bytes;
}

void cuda_call_spin(const CudaKernels *k, CudaCall *c, uint64_t nanoseconds)
{
    call(c, k->spin, 1, 1, 1);
    c->values[0] = nanoseconds;
}

void cuda_call_noise(const CudaKernels *k, CudaCall *c, DType t, CuPtr to, uint64_t bytes, uint32_t seed)
{
    /* even word: keep, set; odd word: keep, set */
    static const uint32_t masks[DT_COUNT][4] = {
        [DT_F64] = {0xffffffff, 0, 0x800fffff, 0x3fe00000},
        [DT_F32] = {0x807fffff, 0x3f000000, 0x807fffff, 0x3f000000},
        [DT_F16] = {0x83ff83ff, 0x38003800, 0x83ff83ff, 0x38003800},
        [DT_BF16] = {0x807f807f, 0x3f003f00, 0x807f807f, 0x3f003f00},
        [DT_I64] = {0x7f, 0, 0, 0},
        [DT_I32] = {0x7f, 0, 0x7f, 0},
        [DT_I8] = {0x7f7f7f7f, 0, 0x7f7f7f7f, 0},
        [DT_U8] = {0x7f7f7f7f, 0, 0x7f7f7f7f, 0},
        [DT_BOOL] = {0x01010101, 0, 0x01010101, 0}
    };
    call(c, k->noise, blocks_for(k, bytes / 4), 256, 7);
    c->values[0] = to;
    c->values[1] = bytes / 4;          /* memory is allocated in larger units: a tail below a word stays as it is */
    c->values[2] = seed;
    for (int i = 0; i < 4; i++)
        c->values[3 + i] = masks[t][i];
}

int cuda_call_enqueue(const CudaDriver *cu, const CudaCall *c, CuStream s)
{
    const CuKernelNode *n = &c->node;
    return cu->LaunchKernel(n->func, n->grid[0], n->grid[1], n->grid[2], n->block[0], n->block[1], n->block[2], n->shared_bytes, s,
                            n->params, NULL);
}

/* ---- strided copies ---- */

static int64_t count_of(const StridedCopy *c)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < c->rank; i++)
        n *= c->shape[i];
    return n;
}

static int strided_launch(const CudaDriver *cu, const CudaKernels *k, const StridedCopy *c, int64_t count, CuStream s)
{
    StridedArgs args = {.from = (uint64_t)(uintptr_t)c->from, .to = (uint64_t)(uintptr_t)c->to, .count = (uint32_t)count, .element = c->element};
    for (uint32_t i = 0; i < 8; i++) {
        bool there = i < c->rank;
        uint32_t dim = there ? c->rank - 1 - i : 0;
        args.shape[i] = there ? (uint32_t)c->shape[dim] : 1;
        args.from_strides[i] = there ? c->from_strides[dim] * c->element : 0;
        args.to_strides[i] = there ? c->to_strides[dim] * c->element : 0;
    }
    void *params[] = {&args};
    return cu->LaunchKernel(k->strided, blocks_for(k, (uint64_t)count), 1, 1, 256, 1, 1, 0, s, params, NULL);
}

int cuda_strided_copy(const CudaDriver *cu, const CudaKernels *k, const StridedCopy *copy, CuStream s)
{
    int64_t count = count_of(copy);
    if (count <= 0)
        return CU_OK;
    if (count <= INT32_MAX)
        return strided_launch(cu, k, copy, count, s);
    StridedCopy part = *copy;          /* halves along the outermost dim that has something to halve */
    uint32_t dim = 0;
    while (part.shape[dim] == 1)
        dim++;
    part.shape[dim] = copy->shape[dim] / 2;
    int r = cuda_strided_copy(cu, k, &part, s);
    part.from = (const char *)copy->from + part.shape[dim] * copy->from_strides[dim] * copy->element;
    part.to = (char *)copy->to + part.shape[dim] * copy->to_strides[dim] * copy->element;
    part.shape[dim] = copy->shape[dim] - part.shape[dim];
    return r ? r : cuda_strided_copy(cu, k, &part, s);
}
