/* codegen/emit/cuda_helpers.c — the small device functions that printed kernels use. Fixed ones are texts; loads and stores of
 * vectors and reductions over lanes are generated from their names. Only what a body mentions is printed, no header needed. */
#include "codegen/emit/cuda_text.h"

#include <ctype.h>
#include <stdlib.h>

#define DEVICE "static __device__ __forceinline__ "

typedef struct { const char *name, *text; } Helper;

/* A helper may use those above it. */
static const Helper fixed[] = {
    {"bf16", "typedef unsigned short bf16;             // the bits\n"},
    {"f16", "typedef unsigned short f16;\n"},
    {"infinityf", "#define infinityf __int_as_float(0x7f800000)\n"},
    {"nan_valuef", "#define nan_valuef __int_as_float(0x7fc00000)\n"},
    {"infinity", "#define infinity __longlong_as_double(0x7ff0000000000000LL)\n"},
    {"nan_value", "#define nan_value __longlong_as_double(0x7ff8000000000000LL)\n"},
    {"bf16_value", DEVICE "float bf16_value(unsigned short h) { return __uint_as_float((unsigned)h << 16); }\n"},
    {"bf16_bits",
     DEVICE "unsigned short bf16_bits(float x)\n{\n    unsigned short h;\n"
     "    asm(\"cvt.rn.bf16.f32 %0, %1;\" : \"=h\"(h) : \"f\"(x));\n    return h;\n}\n"},
    {"pack_bf16",
     DEVICE "unsigned pack_bf16(float low, float high)\n{\n    unsigned u;\n"
     "    asm(\"cvt.rn.bf16x2.f32 %0, %1, %2;\" : \"=r\"(u) : \"f\"(high), \"f\"(low));\n    return u;\n}\n"},
    {"round_bf16", DEVICE "float round_bf16(float x) { return bf16_value(bf16_bits(x)); }\n"},
    {"f16_value",
     DEVICE "float f16_value(unsigned short h)\n{\n    float x;\n"
     "    asm(\"cvt.f32.f16 %0, %1;\" : \"=f\"(x) : \"h\"(h));\n    return x;\n}\n"},
    {"f16_bits",
     DEVICE "unsigned short f16_bits(float x)\n{\n    unsigned short h;\n"
     "    asm(\"cvt.rn.f16.f32 %0, %1;\" : \"=h\"(h) : \"f\"(x));\n    return h;\n}\n"},
    {"pack_f16",
     DEVICE "unsigned pack_f16(float low, float high)\n{\n    unsigned u;\n"
     "    asm(\"cvt.rn.f16x2.f32 %0, %1, %2;\" : \"=r\"(u) : \"f\"(high), \"f\"(low));\n    return u;\n}\n"},
    {"round_f16", DEVICE "float round_f16(float x) { return f16_value(f16_bits(x)); }\n"},
    {"f32_to_odd",
     "/* Towards zero with the last bit set when inexact: a narrower rounding that follows is the only one. */\n"
     DEVICE "float f32_to_odd(double d)\n{\n    const float f = __double2float_rz(d);\n"
     "    return (double)f == d || d != d ? f : __uint_as_float(__float_as_uint(f) | 1u);\n}\n"},
    {"is_nan", "template <typename T> " DEVICE "bool is_nan(T x) { return x != x; }\n"},
    {"is_inf", "template <typename T> " DEVICE "bool is_inf(T x) { return x - x != x - x && x == x; }\n"},
    {"exp_approx",
     "/* 2^(x log2 e) by the special function unit: relative error about 2^-21 + |x| 2^-23. */\n"
     DEVICE "float exp_approx(float x)\n{\n    float r;\n"
     "    asm(\"ex2.approx.ftz.f32 %0, %1;\" : \"=f\"(r) : \"f\"(x * 1.44269504f));\n    return r;\n}\n"},
    {"exp2_approx",
     "/* 2^x by the special function unit; what is below 2^-126 is zero. */\n"
     DEVICE "float exp2_approx(float x)\n{\n    float r;\n    asm(\"ex2.approx.ftz.f32 %0, %1;\" : \"=f\"(r) : \"f\"(x));\n    return r;\n}\n"},
    {"rcp_approx",
     "/* 1 / x for an x from 1 on, within 1 ulp; what is below 2^-126 is zero. */\n"
     DEVICE "float rcp_approx(float x)\n{\n    float r;\n    asm(\"rcp.approx.ftz.f32 %0, %1;\" : \"=f\"(r) : \"f\"(x));\n    return r;\n}\n"},
    {"erfc_approx",
     "/* t p(t) e^(-x^2) with t = 1 / (1 + 0.43 |x|), reflected; p is fitted to 2^-23. The relative error grows with x^2, by 2^-23 each. */\n"
     DEVICE "float erfc_approx(float x)\n{\n    const float t = rcp_approx(fmaf(0.43f, fabsf(x), 1.0f)), e = exp2_approx(x * -1.44269504f * x);\n"
     "    float p = 0.07478660771f;\n    p = fmaf(p, t, -0.3148699372f);\n    p = fmaf(p, t, 0.3914182675f);\n    p = fmaf(p, t, -0.09274214694f);\n"
     "    p = fmaf(p, t, 0.2504780317f);\n    p = fmaf(p, t, 0.2038868944f);\n    p = fmaf(p, t, 0.244537672f);\n    p = fmaf(p, t, 0.2425047199f);\n"
     "    return x < 0.0f ? fmaf(-t * p, e, 2.0f) : t * p * e;\n}\n"},
    {"div_approx",
     "/* Within 2 ulp over the whole range. */\n"
     DEVICE "float div_approx(float a, float b)\n{\n    float r;\n"
     "    asm(\"div.full.f32 %0, %1, %2;\" : \"=f\"(r) : \"f\"(a), \"f\"(b));\n    return r;\n}\n"},
    {"after_predecessors",
     "/* The kernel may have been launched while those before it still run: their results are there from here on. Then the next one\n"
     " * may be launched in turn. */\n"
     DEVICE "void after_predecessors()\n{\n#if __CUDA_ARCH__ >= 900\n"
     "    asm volatile(\"griddepcontrol.wait;\" ::: \"memory\");\n"
     "    asm volatile(\"griddepcontrol.launch_dependents;\" ::: \"memory\");\n#endif\n}\n"},
    {"wait_for_predecessors",
     "/* The kernel may have been launched while those before it still run: their results are there from here on. */\n"
     DEVICE "void wait_for_predecessors()\n{\n#if __CUDA_ARCH__ >= 900\n"
     "    asm volatile(\"griddepcontrol.wait;\" ::: \"memory\");\n#endif\n}\n"},
    {"launch_next",
     "/* Once every block has come here, the next kernel may be launched; it waits for the end of this one itself. */\n"
     DEVICE "void launch_next()\n{\n#if __CUDA_ARCH__ >= 900\n"
     "    asm volatile(\"griddepcontrol.launch_dependents;\" ::: \"memory\");\n#endif\n}\n"},
    {"of_block",
     "/* The same shared array of another block of the cluster. */\n"
     "template <typename T> " DEVICE "T *of_block(T *shared, unsigned rank)\n{\n    T *there;\n"
     "    asm(\"mapa.u64 %0, %1, %2;\" : \"=l\"(there) : \"l\"(shared), \"r\"(rank));\n    return there;\n}\n"},
    {"cluster_arrive",
     "/* All threads of a cluster come together in two steps: others do not see what was stored before the first until after the second. */\n"
     DEVICE "void cluster_arrive() { asm volatile(\"barrier.cluster.arrive.release.aligned;\" ::: \"memory\"); }\n"},
    {"cluster_arrive_relaxed", DEVICE "void cluster_arrive_relaxed() { asm volatile(\"barrier.cluster.arrive.relaxed.aligned;\"); }\n"},
    {"cluster_wait", DEVICE "void cluster_wait() { asm volatile(\"barrier.cluster.wait.acquire.aligned;\" ::: \"memory\"); }\n"},
    {"shared_address",
     "/* Where it lies, in a register of the thread. (What all threads agree on, ptxas 13.0 keeps in a uniform register, may add that to the\n"
     " * address of a copy, and then leaves it out of the instruction, which the device refuses. A shuffle's result is not uniform.) */\n"
     DEVICE "unsigned shared_address(const void *p)\n{\n    unsigned at;\n"
     "    asm volatile(\"shfl.sync.idx.b32 %0, %1, %2, 31, 0xffffffff;\"\n"
     "                 : \"=r\"(at) : \"r\"((unsigned)__cvta_generic_to_shared(p)), \"r\"(threadIdx.x % 32));\n    return at;\n}\n"},
    {"copy_async",
     "/* Sixteen bytes to shared memory, on their way while the thread goes on; zeros where not `wanted`. */\n"
     DEVICE "void copy_async(unsigned to, const void *from, bool wanted = true)\n{\n"
     "    asm volatile(\"cp.async.ca.shared.global [%0], [%1], 16, %2;\"\n"
     "                 :: \"r\"(to), \"l\"(__cvta_generic_to_global(from)), \"r\"(wanted ? 16 : 0) : \"memory\");\n}\n"},
    {"copy_async_stream",
     "/* The same, past the first-level cache, and first to go from the second: what is read once displaces nothing that is wanted. */\n"
     DEVICE "void copy_async_stream(unsigned to, const void *from, bool wanted = true)\n{\n    unsigned long long once;\n"
     "    asm(\"createpolicy.fractional.L2::evict_first.b64 %0, 1.0;\" : \"=l\"(once));\n"
     "    asm volatile(\"cp.async.cg.shared.global.L2::cache_hint.L2::128B [%0], [%1], 16, %2, %3;\"\n"
     "                 :: \"r\"(to), \"l\"(__cvta_generic_to_global(from)), \"r\"(wanted ? 16 : 0), \"l\"(once)\n"
     "                 : \"memory\");\n}\n"},
    {"copy_commit", DEVICE "void copy_commit() { asm volatile(\"cp.async.commit_group;\" ::: \"memory\"); }\n"},
    {"copy_wait",
     "/* For all of this thread's groups but the last N. */\n"
     "template <int N> " DEVICE "void copy_wait() { asm volatile(\"cp.async.wait_group %0;\" :: \"n\"(N) : \"memory\"); }\n"},
    {"swizzled",
     "/* Where element i of an array lies that tensor maps see under a swizzle of SPAN bytes, in elements of SIZE bytes. */\n"
     "template <int SPAN, int SIZE> " DEVICE "int swizzled(int i) { return i ^ (i * SIZE >> 7 & (SPAN / 16 - 1)) * (16 / SIZE); }\n"},
    {"bulk_fence",
     "/* What the warp has written to shared memory is there for the copy engine. */\n"
     DEVICE "void bulk_fence()\n{\n    asm volatile(\"fence.proxy.async.shared::cta;\" ::: \"memory\");\n    __syncwarp();\n}\n"},
    {"bulk_store",
     "/* A box of a tensor map from shared memory, by one thread of the warp. What is past an end of the tensor is left out. */\n"
     DEVICE "void bulk_store(const void *map, const void *from, int x, int y)\n{\n    if (threadIdx.x % 32 == 0)\n"
     "        asm volatile(\"cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];\"\n"
     "                     :: \"l\"(map), \"r\"((unsigned)__cvta_generic_to_shared(from)), \"r\"(x), \"r\"(y) : \"memory\");\n}\n"
     DEVICE "void bulk_store(const void *map, const void *from, int x, int y, int z)\n{\n    if (threadIdx.x % 32 == 0)\n"
     "        asm volatile(\"cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];\"\n"
     "                     :: \"l\"(map), \"r\"((unsigned)__cvta_generic_to_shared(from)), \"r\"(x), \"r\"(y), \"r\"(z) : \"memory\");\n}\n"},
    {"bulk_commit",
     DEVICE "void bulk_commit()\n{\n    if (threadIdx.x % 32 == 0)\n        asm volatile(\"cp.async.bulk.commit_group;\" ::: \"memory\");\n}\n"},
    {"bulk_wait",
     "/* Until all but the last N groups of the warp have been read: it may write there again, and may end. */\n"
     "template <int N> " DEVICE "void bulk_wait()\n{\n    if (threadIdx.x % 32 == 0)\n"
     "        asm volatile(\"cp.async.bulk.wait_group.read %0;\" :: \"n\"(N) : \"memory\");\n    __syncwarp();\n}\n"},
    {"sign_of",
     "template <typename T> " DEVICE "T sign_of(T x) { return x != x ? x : (T)((x > (T)0) - (x < (T)0)); }\n"},
    {"max_nan",
     "/* The larger; NaN when either is. */\n"
     DEVICE "float max_nan(float a, float b)\n{\n    float r;\n"
     "    asm(\"max.NaN.f32 %0, %1, %2;\" : \"=f\"(r) : \"f\"(a), \"f\"(b));\n    return r;\n}\n"
     DEVICE "double max_nan(double a, double b) { return a != a || a > b ? a : b; }\n"},
    {"min_nan",
     DEVICE "float min_nan(float a, float b)\n{\n    float r;\n"
     "    asm(\"min.NaN.f32 %0, %1, %2;\" : \"=f\"(r) : \"f\"(a), \"f\"(b));\n    return r;\n}\n"
     DEVICE "double min_nan(double a, double b) { return a != a || a < b ? a : b; }\n"},
    {"pow2_floor",
     "/* The largest power of two up to |x|, at least 2^-126; of Inf and NaN: Inf. */\n"
     DEVICE "float pow2_floor(float x)\n{\n    const int e = __float_as_int(x) & 0x7f800000;\n"
     "    return __int_as_float(e > 0x00800000 ? e : 0x00800000);\n}\n"
     DEVICE "double pow2_floor(double x)\n{\n    const long long e = __double_as_longlong(x) & 0x7ff0000000000000LL;\n"
     "    return __longlong_as_double(e > 0x3810000000000000LL ? e : 0x3810000000000000LL);\n}\n"},
    {"remainder_floor",
     "/* The sign of the divisor, as Python's %. */\n"
     DEVICE "float remainder_floor(float a, float b)\n{\n    const float r = fmodf(a, b);\n"
     "    return r != 0.0f && (r < 0.0f) != (b < 0.0f) ? r + b : r;\n}\n"
     DEVICE "double remainder_floor(double a, double b)\n{\n    const double r = fmod(a, b);\n"
     "    return r != 0.0 && (r < 0.0) != (b < 0.0) ? r + b : r;\n}\n"},
    {"int_abs", "template <typename T> " DEVICE "T int_abs(T a) { return a < 0 ? (T)(0 - (unsigned long long)a) : a; }\n"},
    {"int_max", "template <typename T> " DEVICE "T int_max(T a, T b) { return a > b ? a : b; }\n"},
    {"int_min", "template <typename T> " DEVICE "T int_min(T a, T b) { return a < b ? a : b; }\n"},
    {"int_div",
     "/* Towards zero; by zero: 0. */\ntemplate <typename T> " DEVICE "T int_div(T a, T b)\n{\n"
     "    return b == 0 ? 0 : b == (T)-1 && (T)-1 < 0 ? (T)(0 - (unsigned long long)a) : (T)(a / b);\n}\n"},
    {"int_fmod",
     "template <typename T> " DEVICE "T int_fmod(T a, T b)\n{\n"
     "    return b == 0 || (b == (T)-1 && (T)-1 < 0) ? 0 : (T)(a % b);\n}\n"},
    {"int_remainder",
     "template <typename T> " DEVICE "T int_remainder(T a, T b)\n{\n    const T r = int_fmod<T>(a, b);\n"
     "    return r != 0 && (r < 0) != (b < 0) ? (T)(r + b) : r;\n}\n"},
    {"int_pow",
     "/* Wraps; a negative exponent gives 0 unless the base is 1 or -1. */\n"
     "template <typename T> " DEVICE "T int_pow(T a, T b)\n{\n    unsigned long long r = 1, square = (unsigned long long)a;\n"
     "    if (b < 0)\n        return a == 1 ? 1 : a == (T)-1 ? (b % 2 ? -1 : 1) : 0;\n"
     "    for (; b; b >>= 1, square *= square)\n        if (b & 1)\n            r *= square;\n    return (T)r;\n}\n"},
    {"int_shl",
     "template <typename T> " DEVICE "T int_shl(T a, T b)\n{\n"
     "    return b < 0 || b >= (T)(8 * sizeof(T)) ? 0 : (T)((unsigned long long)a << b);\n}\n"},
    {"int_shr",
     "template <typename T> " DEVICE "T int_shr(T a, T b)\n{\n"
     "    return b < 0 || b >= (T)(8 * sizeof(T)) ? (a < 0 ? -1 : 0) : (T)(a >> b);\n}\n"},
    {"floor_div",
     "/* Towards minus infinity; the divisor is positive. */\n"
     "template <typename T> " DEVICE "T floor_div(T a, T b) { return a / b - (a % b < 0); }\n"},
    {"floor_mod", "template <typename T> " DEVICE "T floor_mod(T a, T b) { const T r = a % b; return r < 0 ? r + b : r; }\n"},
    {"load_raw",
     DEVICE "void load_raw(int (&v)[4], const void *p)\n{\n"
     "    asm volatile(\"ld.global.v4.u32 {%0, %1, %2, %3}, [%4];\"\n"
     "                 : \"=r\"(v[0]), \"=r\"(v[1]), \"=r\"(v[2]), \"=r\"(v[3]) : \"l\"(__cvta_generic_to_global(p)));\n}\n"},
    {"load_raw_readonly",
     DEVICE "void load_raw_readonly(int (&v)[4], const void *p)\n{\n"
     "    asm volatile(\"ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];\"\n"
     "                 : \"=r\"(v[0]), \"=r\"(v[1]), \"=r\"(v[2]), \"=r\"(v[3]) : \"l\"(__cvta_generic_to_global(p)));\n}\n"},
    {"load_raw_stream",
     DEVICE "void load_raw_stream(int (&v)[4], const void *p)\n{\n"
     "    asm volatile(\"ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];\"\n"
     "                 : \"=r\"(v[0]), \"=r\"(v[1]), \"=r\"(v[2]), \"=r\"(v[3]) : \"l\"(__cvta_generic_to_global(p)));\n}\n"},
    {"mma_bf16",
     "/* d = acc + W X: 8 values of k a thread of rows g and g + 8 of W and of column g of X (PTX: fragments of mma.m16n8k16). */\n"
     DEVICE "void mma_bf16(float (&d)[4], const float (&acc)[4], const int (&w0)[4], const int (&w1)[4], const int (&x)[4])\n{\n"
     "    #pragma unroll\n    for (int l = 0; l < 4; l++)\n        d[l] = acc[l];\n    #pragma unroll\n"
     "    for (int h = 0; h < 4; h += 2)\n"
     "        asm volatile(\"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
     "{%0, %1, %2, %3};\"\n"
     "                     : \"+f\"(d[0]), \"+f\"(d[1]), \"+f\"(d[2]), \"+f\"(d[3])\n"
     "                     : \"r\"(w0[h]), \"r\"(w1[h]), \"r\"(w0[h + 1]), \"r\"(w1[h + 1]), \"r\"(x[h]), \"r\"(x[h + 1]));\n}\n"},
    {"mma_f16",
     "/* d = acc + W X: 8 values of k a thread of rows g and g + 8 of W and of column g of X (PTX: fragments of mma.m16n8k16). */\n"
     DEVICE "void mma_f16(float (&d)[4], const float (&acc)[4], const int (&w0)[4], const int (&w1)[4], const int (&x)[4])\n{\n"
     "    #pragma unroll\n    for (int l = 0; l < 4; l++)\n        d[l] = acc[l];\n    #pragma unroll\n"
     "    for (int h = 0; h < 4; h += 2)\n"
     "        asm volatile(\"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
     "{%0, %1, %2, %3};\"\n"
     "                     : \"+f\"(d[0]), \"+f\"(d[1]), \"+f\"(d[2]), \"+f\"(d[3])\n"
     "                     : \"r\"(w0[h]), \"r\"(w1[h]), \"r\"(w0[h + 1]), \"r\"(w1[h + 1]), \"r\"(x[h]), \"r\"(x[h + 1]));\n}\n"},
    {"fill_lanes",
     "template <typename T, int N> " DEVICE "void fill_lanes(T (&v)[N], T x)\n{\n    #pragma unroll\n"
     "    for (int l = 0; l < N; l++)\n        v[l] = x;\n}\n"},
};
enum { N_FIXED = sizeof fixed / sizeof *fixed };

/* ---- names of generated helpers ----------------------------------------------------------------------------------------- */

static const char *const mode_suffix[] = {"", "_readonly", "_stream"};

static const char *access_name(Arena *a, const char *verb, DType t, uint32_t lanes, uint32_t align, AccessMode mode)
{
    uint32_t size = dtype_bytes(t), bytes = lanes * size, widest = bytes < 16 ? bytes : 16;
    if (align < size)
        align = size;
    const char *suffix = align < widest ? arena_printf(a, "_align%u", align) : "";
    if (lanes == 1)
        return arena_printf(a, "%s_%s%s", verb, dtype_name(t), mode_suffix[mode]);
    return arena_printf(a, "%s_%sx%u%s%s", verb, dtype_name(t), lanes, suffix, mode_suffix[mode]);
}

const char *cuda_load_name(Arena *a, DType t, uint32_t lanes, uint32_t align, AccessMode mode)
{
    return access_name(a, "load", t, lanes, align, mode);
}

const char *cuda_store_name(Arena *a, DType t, uint32_t lanes, uint32_t align, AccessMode mode)
{
    return access_name(a, "store", t, lanes, align, mode);
}

static const struct { Op op; const char *name; } reducers[] = {
    {OP_ADD, "sum_lanes"}, {OP_MUL, "product_lanes"}, {OP_MAXIMUM, "max_lanes"}, {OP_MINIMUM, "min_lanes"},
    {OP_OR, "any_lanes"}, {OP_AND, "all_lanes"},
};
enum { N_REDUCERS = sizeof reducers / sizeof *reducers };

const char *cuda_reduce_name(Arena *a, Op op, DType t, uint32_t lanes)
{
    for (size_t i = 0; i < N_REDUCERS; i++)
        if (reducers[i].op == op)
            return arena_printf(a, "%s_%sx%u", reducers[i].name, dtype_name(t), lanes);
    pawl_assert(false, "no reduction over lanes by %s", op_name(op));
}

/* ---- generated helpers -------------------------------------------------------------------------------------------------- */

typedef struct { bool store; DType t; uint32_t lanes, align; AccessMode mode; } AccessHelper;

static const char *const words_text[17] = {[1] = "unsigned char", [2] = "unsigned short", [4] = "unsigned", [8] = "uint2", [16] = "uint4"};

/* Lane l out of the words w. */
static const char *unpack_text(DType t)
{
    switch (t) {
    case DT_F64:  return "__hiloint2double((int)w[2 * l + 1], (int)w[2 * l])";
    case DT_F32:  return "__uint_as_float(w[l])";
    case DT_F16:  return "f16_value((unsigned short)(w[l / 2] >> l % 2 * 16))";
    case DT_BF16: return "__uint_as_float(l % 2 ? w[l / 2] & 0xffff0000u : w[l / 2] << 16)";
    case DT_I64:  return "(long long)((unsigned long long)w[2 * l + 1] << 32 | w[2 * l])";
    case DT_I32:  return "(int)w[l]";
    case DT_I8:   return "(signed char)(w[l / 4] >> l % 4 * 8)";
    case DT_U8:   return "(unsigned char)(w[l / 4] >> l % 4 * 8)";
    case DT_BOOL: return "(w[l / 4] >> l % 4 * 8 & 0xff) != 0";
    case DT_COUNT: break;
    }
    return "0";
}

/* Word i out of the lanes v. */
static const char *pack_text(DType t)
{
    switch (t) {
    case DT_F64:  return "(unsigned)(i % 2 ? __double2hiint(v[i / 2]) : __double2loint(v[i / 2]))";
    case DT_F32:  return "__float_as_uint(v[i])";
    case DT_F16:  return "pack_f16(v[2 * i], v[2 * i + 1])";
    case DT_BF16: return "pack_bf16(v[2 * i], v[2 * i + 1])";
    case DT_I64:  return "(unsigned)((unsigned long long)v[i / 2] >> i % 2 * 32)";
    case DT_I32:  return "(unsigned)v[i]";
    case DT_I8: case DT_U8: case DT_BOOL:
        return "((unsigned)v[4 * i] & 0xff) | ((unsigned)v[4 * i + 1] & 0xff) << 8 | ((unsigned)v[4 * i + 2] & 0xff) << 16 | "
               "((unsigned)v[4 * i + 3] & 0xff) << 24";
    case DT_COUNT: break;
    }
    return "0";
}

/* One element in memory to a register value, and back. */
static const char *widen_text(Arena *a, DType t, const char *x)
{
    return t == DT_BF16 || t == DT_F16 ? arena_printf(a, "%s_value(%s)", dtype_name(t), x)
         : t == DT_BOOL ? arena_printf(a, "%s != 0", x) : x;
}
static const char *narrow_text(Arena *a, DType t, const char *x)
{
    return t == DT_BF16 || t == DT_F16 ? arena_printf(a, "%s_bits(%s)", dtype_name(t), x) : x;
}

/* p[at] through the given path; at is "0", a number or a name. */
static const char *element_text(Arena *a, AccessMode mode, const char *p, const char *at)
{
    bool first = strcmp(at, "0") == 0;
    if (mode == MODE_PLAIN)
        return first ? arena_printf(a, "*%s", p) : arena_printf(a, "%s[%s]", p, at);
    return first ? p : arena_printf(a, "%s + %s", p, at);
}
static const char *read_text(Arena *a, AccessMode mode, const char *p, const char *at)
{
    const char *x = element_text(a, mode, p, at);
    return mode == MODE_PLAIN ? x : arena_printf(a, "__ld%s(%s)", mode == MODE_READONLY ? "g" : "cs", x);
}
static const char *write_text(Arena *a, AccessMode mode, const char *p, const char *at, const char *v)
{
    const char *x = element_text(a, mode, p, at);
    return mode == MODE_PLAIN ? arena_printf(a, "%s = %s", x, v) : arena_printf(a, "__stcs(%s, %s)", x, v);
}

static void scalar_access(Arena *a, StrBuf *b, const char *name, const AccessHelper *h)
{
    const char *reg = cuda_register_type(h->t), *mem = cuda_memory_type(h->t);
    if (h->store)
        strbuf_printf(b, DEVICE "void %s(%s *p, %s x) { %s; }\n", name, mem, reg,
                      write_text(a, h->mode, "p", "0", narrow_text(a, h->t, "x")));
    else
        strbuf_printf(b, DEVICE "%s %s(const %s *p) { return %s; }\n", reg, name, mem,
                      widen_text(a, h->t, read_text(a, h->mode, "p", "0")));
}

static void narrow_access(Arena *a, StrBuf *b, const AccessHelper *h)
{
    if (h->store)
        strbuf_printf(b, "    #pragma unroll\n    for (int l = 0; l < %u; l++)\n        %s;\n", h->lanes,
                      write_text(a, h->mode, "p", "l", narrow_text(a, h->t, "v[l]")));
    else
        strbuf_printf(b, "    #pragma unroll\n    for (int l = 0; l < %u; l++)\n        v[l] = %s;\n", h->lanes,
                      widen_text(a, h->t, read_text(a, h->mode, "p", "l")));
}

static void wide_access(Arena *a, StrBuf *b, const AccessHelper *h, uint32_t piece)
{
    uint32_t words = h->lanes * dtype_bytes(h->t) / 4, each = piece / 4;
    static const char *const field[3][4] = {{""}, {".x", ".y"}, {".x", ".y", ".z", ".w"}};
    const char *const *f = field[each == 4 ? 2 : each - 1];
    strbuf_printf(b, "    %s*q = reinterpret_cast<%s%s *>(p);\n    unsigned w[%u];\n",
                  h->store ? arena_printf(a, "%s ", words_text[piece]) : arena_printf(a, "const %s ", words_text[piece]),
                  h->store ? "" : "const ", words_text[piece], words);
    if (h->store)
        strbuf_printf(b, "    #pragma unroll\n    for (int i = 0; i < %u; i++)\n        w[i] = %s;\n", words, pack_text(h->t));
    for (uint32_t i = 0; i < words / each; i++) {
        char *at = arena_printf(a, "%u", i);
        if (h->store) {
            StrBuf v = strbuf_new(a);
            strbuf_printf(&v, each == 1 ? "w[%u]" : each == 2 ? "make_uint2(w[%u], w[%u])" : "make_uint4(w[%u], w[%u], w[%u], w[%u])",
                          i * each, i * each + 1, i * each + 2, i * each + 3);
            strbuf_printf(b, "    %s;\n", write_text(a, h->mode, "q", at, v.text));
            continue;
        }
        strbuf_printf(b, "    const %s u%u = %s;\n   ", words_text[piece], i, read_text(a, h->mode, "q", at));
        for (uint32_t j = 0; j < each; j++)
            strbuf_printf(b, " w[%u] = u%u%s;", i * each + j, i, f[j]);
        strbuf_char(b, '\n');
    }
    if (!h->store)
        strbuf_printf(b, "    #pragma unroll\n    for (int l = 0; l < %u; l++)\n        v[l] = %s;\n", h->lanes, unpack_text(h->t));
}

static void access_helper(Arena *a, StrBuf *b, const char *name, const AccessHelper *h)
{
    if (h->lanes == 1) {
        scalar_access(a, b, name, h);
        return;
    }
    const char *reg = cuda_register_type(h->t), *mem = cuda_memory_type(h->t);
    if (h->store)
        strbuf_printf(b, DEVICE "void %s(%s *p, const %s (&v)[%u])\n{\n", name, mem, reg, h->lanes);
    else
        strbuf_printf(b, DEVICE "void %s(%s (&v)[%u], const %s *p)\n{\n", name, reg, h->lanes, mem);
    uint32_t bytes = h->lanes * dtype_bytes(h->t), piece = bytes < h->align ? bytes : h->align;
    if (piece < 4)
        narrow_access(a, b, h);
    else
        wide_access(a, b, h, piece > 16 ? 16 : piece);
    strbuf_add(b, "}\n");
}

static const char *halved(Arena *a, Op op, DType t, uint32_t first, uint32_t step, uint32_t lanes)
{
    if (step == lanes)
        return arena_printf(a, "v[%u]", first);
    Expr args[2] = {{halved(a, op, t, first, 2 * step, lanes), PREC_ADD}, {halved(a, op, t, first + step, 2 * step, lanes), PREC_ADD}};
    if (2 * step == lanes)
        args[0].prec = args[1].prec = PREC_PRIMARY;
    return cuda_op(a, op, t, t, args, false).text;
}

static void reduce_helper(Arena *a, StrBuf *b, const char *name, Op op, DType t, uint32_t lanes)
{
    const char *reg = cuda_register_type(t);
    strbuf_printf(b, DEVICE "%s %s(const %s (&v)[%u])\n{\n    return %s;\n}\n", reg, name, reg, lanes, halved(a, op, t, 0, 1, lanes));
}

/* ---- what a body needs -------------------------------------------------------------------------------------------------- */

static bool word_char(char c) { return isalnum((unsigned char)c) || c == '_'; }

static bool mentions(const char *text, const char *name)
{
    size_t n = strlen(name);
    for (const char *s = text; (s = strstr(s, name)); s += n)
        if ((s == text || !word_char(s[-1])) && !word_char(s[n]))
            return true;
    return false;
}

/* Reads `f32x8…` at s; the rest of the name goes to *rest. */
static bool parse_type(const char *s, DType *t, uint32_t *lanes, const char **rest)
{
    char name[8] = {0};
    size_t n = 0;
    while (n < 7 && isalpha((unsigned char)s[n]) && !(s[n] == 'x' && n >= 2))
        n++;
    while (n < 7 && isdigit((unsigned char)s[n]))
        n++;
    memcpy(name, s, n);
    if (!dtype_parse(name, t))
        return false;
    *lanes = 1;
    if (s[n] == 'x') {
        char *end;
        *lanes = (uint32_t)strtoul(s + n + 1, &end, 10);
        *rest = end;
    } else {
        *rest = s + n;
    }
    return true;
}

static bool parse_access(const char *name, AccessHelper *h)
{
    const char *rest;
    h->store = strncmp(name, "store_", 6) == 0;
    if (!h->store && strncmp(name, "load_", 5) != 0)
        return false;
    if (!parse_type(name + (h->store ? 6 : 5), &h->t, &h->lanes, &rest))
        return false;
    h->align = 16;
    if (strncmp(rest, "_align", 6) == 0) {
        char *end;
        h->align = (uint32_t)strtoul(rest + 6, &end, 10);
        rest = end;
    }
    for (int m = 0; m < 3; m++)
        if (strcmp(rest, mode_suffix[m]) == 0) {
            h->mode = (AccessMode)m;
            return true;
        }
    return false;
}

static void generated_helper(Arena *a, StrBuf *out, const char *name)
{
    AccessHelper h;
    const char *rest;
    if (parse_access(name, &h)) {
        access_helper(a, out, name, &h);
        return;
    }
    for (size_t i = 0; i < N_REDUCERS; i++) {
        size_t n = strlen(reducers[i].name);
        if (strncmp(name, reducers[i].name, n) == 0 && name[n] == '_' && parse_type(name + n + 1, &h.t, &h.lanes, &rest) && !*rest)
            reduce_helper(a, out, name, reducers[i].op, h.t, h.lanes);
    }
}

void cuda_helpers(Arena *a, StrBuf *out, const char *body)
{
    StrBuf made = strbuf_new(a), all = strbuf_new(a);
    Map *seen = map_new(a);
    strbuf_add(&made, "");
    for (const char *s = body; *s;) {
        const char *e = s;
        while (word_char(*e))
            e++;
        if (e == s) {
            s++;
            continue;
        }
        if ((*e == '(' ) && map_set(seen, hash_bytes(s, (size_t)(e - s), 0), 1))
            generated_helper(a, &made, arena_strndup(a, s, (size_t)(e - s)));
        s = e;
    }
    bool need[N_FIXED] = {false};
    strbuf_add(&all, body);
    strbuf_add(&all, made.text);
    for (size_t i = N_FIXED; i-- > 0;) {
        need[i] = mentions(all.text, fixed[i].name);
        if (need[i])
            strbuf_add(&all, fixed[i].text);
    }
    for (size_t i = 0; i < N_FIXED; i++)
        if (need[i])
            strbuf_add(out, fixed[i].text);
    strbuf_add(out, made.text);
}

bool cuda_reserved(const char *name)
{
    static const char *const words[] = {
        "l", "asm", "auto", "bool", "break", "case", "char", "class", "const", "continue", "default", "delete", "do", "double",
        "else", "enum", "extern", "false", "float", "for", "goto", "if", "inline", "int", "long", "new", "operator", "private",
        "public", "register", "return", "short", "signed", "sizeof", "static", "struct", "switch", "template", "this", "true",
        "typedef", "typename", "union", "unsigned", "void", "volatile", "while", "and", "or", "not", "xor", "min", "max", "try",
        "catch", "throw", "using", "namespace", "virtual", "friend", "explicit", "export", "half", "shared_memory",
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i], name) == 0)
            return true;
    for (size_t i = 0; i < N_FIXED; i++)
        if (strcmp(fixed[i].name, name) == 0)
            return true;
    AccessHelper h;
    return parse_access(name, &h);
}
