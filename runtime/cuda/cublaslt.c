/* runtime/cuda/cublaslt.c — cuBLASLt behind four calls.
 *
 * The library thinks in columns: a row-major m x n matrix is its n x m matrix. So D = op(A) op(B) is asked for as
 * D' = op(B)' op(A)', with B as its first operand and A as its second; a transposition flag stays with its matrix. A bias along
 * our rows' length n then runs along its columns' length, which is what its bias epilogue adds.
 *
 * The list of algorithms is asked for with fixed limits (workspace by device, 16-byte alignment), so that a rank found by the
 * tuner means the same algorithm in the executor. Values of enums: cuBLASLt's documentation, the same in versions 12 and 13. */
#include "runtime/cuda/cublaslt.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LT_RANKS = 32, LT_CACHE = 256 };
enum { LT_R_32F = 0, LT_R_64F = 1, LT_R_16F = 2, LT_R_16BF = 14 };
enum { LT_COMPUTE_32F = 68, LT_COMPUTE_64F = 70, LT_COMPUTE_TF32 = 77 };
enum { LT_DESC_TRANSA = 3, LT_DESC_TRANSB = 4, LT_DESC_EPILOGUE = 7, LT_DESC_BIAS_POINTER = 8, LT_DESC_BIAS_TYPE = 26 };
enum { LT_LAYOUT_BATCH = 5, LT_LAYOUT_STRIDE = 6 };
enum { LT_PREF_WORKSPACE = 1, LT_PREF_ALIGN_A = 5, LT_PREF_ALIGN_B = 6, LT_PREF_ALIGN_C = 7, LT_PREF_ALIGN_D = 8 };
enum { LT_ALGO_ID = 0, LT_ALGO_TILE = 1, LT_ALGO_SPLIT_K = 2, LT_ALGO_SWIZZLE = 4, LT_ALGO_CUSTOM = 5, LT_ALGO_STAGES = 6, LT_ALGO_CLUSTER = 8 };

typedef struct LtHandleOf *LtHandle;
typedef struct LtDescOf *LtDesc;
typedef struct LtLayoutOf *LtLayout;
typedef struct LtPreferenceOf *LtPreference;
typedef struct { uint64_t data[8]; } LtAlgo;
typedef struct { LtAlgo algo; size_t workspace; int state; float waves; int reserved[4]; } LtResult;
_Static_assert(sizeof(LtResult) == 96, "cublasLtMatmulHeuristicResult_t");

#define LT_FUNCTIONS(X)                                                                                                   \
    X(int, Create, (LtHandle *h))                                                                                         \
    X(size_t, GetVersion, (void))                                                                                         \
    X(int, MatmulDescCreate, (LtDesc *d, int compute, int scale))                                                         \
    X(int, MatmulDescDestroy, (LtDesc d))                                                                                 \
    X(int, MatmulDescSetAttribute, (LtDesc d, int attribute, const void *value, size_t n))                                \
    X(int, MatrixLayoutCreate, (LtLayout *l, int type, uint64_t rows, uint64_t columns, int64_t ld))                      \
    X(int, MatrixLayoutDestroy, (LtLayout l))                                                                             \
    X(int, MatrixLayoutSetAttribute, (LtLayout l, int attribute, const void *value, size_t n))                            \
    X(int, MatmulPreferenceCreate, (LtPreference *p))                                                                     \
    X(int, MatmulPreferenceDestroy, (LtPreference p))                                                                     \
    X(int, MatmulPreferenceSetAttribute, (LtPreference p, int attribute, const void *value, size_t n))                    \
    X(int, MatmulAlgoGetHeuristic, (LtHandle h, LtDesc d, LtLayout a, LtLayout b, LtLayout c, LtLayout out, LtPreference p, \
                                    int want, LtResult *results, int *have))                                              \
    X(int, MatmulAlgoConfigGetAttribute, (const LtAlgo *algo, int attribute, void *value, size_t n, size_t *written))     \
    X(int, Matmul, (LtHandle h, LtDesc d, const void *alpha, CuPtr a, LtLayout la, CuPtr b, LtLayout lb, const void *beta, \
                    CuPtr c, LtLayout lc, CuPtr out, LtLayout ld, const LtAlgo *algo, CuPtr workspace, size_t n, CuStream s))

typedef struct {
#define X(result, name, params) result (*name) params;
    LT_FUNCTIONS(X)
#undef X
} LtTable;

/* A product as the library sees it; zeroed before it is filled, compared as bytes. */
typedef struct {
    int64_t m, n, k, batch, lda, ldb, ldc, ldd, stride_a, stride_b, stride_c, stride_d;
    int32_t dtype, out_dtype, bias_type, epilogue, trans_a, trans_b, has_c, tf32;
    int32_t align[4];
} Problem;

typedef struct { Problem problem; LtResult results[LT_RANKS]; int n; uint64_t used; } Known;

struct CublasLt {
    LtHandle handle;
    int ordinal;
    size_t workspace_limit;
    pthread_mutex_t lock;
    Known *known; int n_known; uint64_t clock;
};

struct CublasMatmul {
    CublasLt *lt;
    LtDesc desc;
    LtLayout a, b, c, d;
    LtAlgo algo;
    size_t workspace;
    int64_t offset_a, offset_b, offset_c, offset_d;       /* bytes */
    bool has_c, has_bias, is_double, empty;
    CuPtr bias_now;                                       /* what the descriptor holds */
};

static struct {
    pthread_mutex_t lock;
    void *(*source)(const char *symbol);
    bool tried, good;
    LtTable table;
    char path[512], why_not[1024];
    CublasLt devices[64];
} lt = {.lock = PTHREAD_MUTEX_INITIALIZER};

void cublaslt_set_source(void *(*find)(const char *symbol)) { lt.source = find; }

/* ---- finding the library ---- */

static void *try_open(const char *path, int flags)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | flags);
    if (library)
        snprintf(lt.path, sizeof lt.path, "%s", path);
    return library;
}

static void *try_folder(const char *folder, size_t n)
{
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
    char path[480];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%.*s/%s", (int)n, folder, names[i]);
        void *library = try_open(path, 0);
        if (library)
            return library;
    }
    return NULL;
}

static void *try_folders(const char *list)
{
    void *library = NULL;
    while (list && *list && !library) {
        size_t n = strcspn(list, ":");
        library = n ? try_folder(list, n) : NULL;
        list += n + (list[n] == ':');
    }
    return library;
}

/* A path that the user names; one that the process has already; the loader's; the toolkit's; Python's packages. */
static void *find_library(void)
{
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
    const char *named = getenv("PAWL_CUBLASLT");
    void *library = NULL;
    if (named && *named)
        return try_open(named, 0);
    for (int i = 0; i < 2 && !library; i++)
        library = try_open(names[i], RTLD_NOLOAD);
    for (int i = 0; i < 2 && !library; i++)
        library = try_open(names[i], 0);
    library = library ? library : try_folders(getenv("PAWL_CUDA_LIBS"));
    return library ? library : try_folders("/usr/local/cuda/lib64:/usr/local/cuda/targets/x86_64-linux/lib");
}

static bool load_library(void)
{
    const struct { const char *symbol; void **slot; } all[] = {
#define X(result, name, params) {"cublasLt" #name, (void **)(void *)&lt.table.name},
        LT_FUNCTIONS(X)
#undef X
    };
    void *library = lt.source ? NULL : find_library();
    if (!library && !lt.source) {
        const char *named = getenv("PAWL_CUBLASLT");
        snprintf(lt.why_not, sizeof lt.why_not, "cuBLASLt is not there: %s%s; install libcublas of CUDA 12 or 13, or name it in "
                 "PAWL_CUBLASLT (a file) or PAWL_CUDA_LIBS (folders, such as site-packages/nvidia/cu13/lib)",
                 named && *named ? "PAWL_CUBLASLT cannot be loaded: " : "no libcublasLt.so.13 or .12 was found",
                 named && *named ? dlerror() : "");
        return false;
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        *all[i].slot = library ? dlsym(library, all[i].symbol) : lt.source(all[i].symbol);
        if (!*all[i].slot) {
            snprintf(lt.why_not, sizeof lt.why_not, "%s has no %s: install libcublas of CUDA 12 or 13", lt.path, all[i].symbol);
            return false;
        }
    }
    return true;
}

static bool ready(void)
{
    pthread_mutex_lock(&lt.lock);
    if (!lt.tried)
        lt.good = load_library();
    lt.tried = true;
    pthread_mutex_unlock(&lt.lock);
    return lt.good;
}

bool cublaslt_available(const char **why_not, const char **path)
{
    bool good = ready();
    if (why_not)
        *why_not = good ? NULL : lt.why_not;
    if (path)
        *path = good ? lt.path : NULL;
    return good;
}

size_t cublaslt_version(void) { return ready() ? lt.table.GetVersion() : 0; }

static const char *status_name(int r)
{
    switch (r) {
    case 1: return "not initialised";
    case 3: return "allocation failed";
    case 7: return "invalid value";
    case 8: return "not for this architecture";
    case 13: return "execution failed";
    case 14: return "internal error";
    case 15: return "not supported";
    default: return "unknown status";
    }
}

static bool lt_check(int r, const char *doing, Diags *d)
{
    return r == 0 || diag_error(d, PAWL_EXIT_DEVICE, LOC_NONE, NULL, "cuBLASLt: %s: %s (status %d)", doing, status_name(r), r);
}

CublasLt *cublaslt_handle(int ordinal, Diags *d)
{
    if (!ready()) {
        diag_error(d, PAWL_EXIT_DEVICE, LOC_NONE, NULL, "%s", lt.why_not);
        return NULL;
    }
    pthread_mutex_lock(&lt.lock);
    CublasLt *h = &lt.devices[ordinal];
    int r = 0;
    if (!h->handle) {
        r = lt.table.Create(&h->handle);
        if (r)
            h->handle = NULL;
        h->ordinal = ordinal;
        h->workspace_limit = (size_t)(cuda_device(ordinal)->sm_major == 9 ? 64 : 32) << 20;
        pthread_mutex_init(&h->lock, NULL);
    }
    pthread_mutex_unlock(&lt.lock);
    return lt_check(r, "creating a handle", d) ? h : NULL;
}

/* ---- describing a product ---- */

static int lt_type(DType t)
{
    switch (t) {
    case DT_F64: return LT_R_64F;
    case DT_F32: return LT_R_32F;
    case DT_F16: return LT_R_16F;
    case DT_BF16: return LT_R_16BF;
    case DT_I64: case DT_I32: case DT_I8: case DT_U8: case DT_BOOL: case DT_NONE: return -1;
    }
    return -1;
}

/* Largest power of two up to 16 that divides every address of an operand, given a buffer aligned to 16. */
static int alignment(int64_t bytes, int64_t ld_bytes, int64_t stride_bytes)
{
    int64_t all = bytes | ld_bytes | stride_bytes | 16;
    return (int)(all & -all);
}

static int64_t longer(int64_t ld, int64_t row) { return ld > row ? ld : row; }

static void describe(const PlanMatmul *m, const BoundMatmul *s, DType bias_type, Problem *p)
{
    memset(p, 0, sizeof *p);
    bool c = m->c != UINT32_MAX;
    int64_t in = dtype_bytes(m->dtype), out = dtype_bytes(m->out_dtype);
    p->m = s->m;
    p->n = s->n;
    p->k = s->k;
    p->batch = s->batch;
    p->lda = longer(s->lda, m->trans_a ? s->m : s->k);
    p->ldb = longer(s->ldb, m->trans_b ? s->k : s->n);
    p->ldd = longer(s->ldd, s->n);
    p->ldc = c ? longer(s->ldc, s->n) : p->ldd;
    if (s->batch > 1) {
        p->stride_a = s->stride_a;
        p->stride_b = s->stride_b;
        p->stride_d = s->stride_d;
        p->stride_c = c ? s->stride_c : s->stride_d;
    }
    p->dtype = (int32_t)m->dtype;
    p->out_dtype = (int32_t)m->out_dtype;
    p->bias_type = m->bias == UINT32_MAX ? -1 : (int32_t)bias_type;
    p->epilogue = (int32_t)m->epilogue;
    p->trans_a = m->trans_a;
    p->trans_b = m->trans_b;
    p->has_c = c;
    p->tf32 = m->tf32;
    p->align[0] = alignment(s->a_offset * in, p->lda * in, p->stride_a * in);
    p->align[1] = alignment(s->b_offset * in, p->ldb * in, p->stride_b * in);
    p->align[3] = alignment(s->d_offset * out, p->ldd * out, p->stride_d * out);
    p->align[2] = c ? alignment(s->c_offset * out, p->ldc * out, p->stride_c * out) : p->align[3];
}

static int epilogue_value(int32_t e)
{
    switch ((Epilogue)e) {
    case EPI_NONE: return 1;
    case EPI_RELU: return 2;
    case EPI_BIAS: return 4;
    case EPI_BIAS_RELU: return 6;
    case EPI_GELU_TANH: return 32;
    case EPI_BIAS_GELU_TANH: return 36;
    }
    return 1;
}

static int new_layout(LtLayout *l, int type, int64_t rows, int64_t columns, int64_t ld, int64_t batch, int64_t stride)
{
    int32_t count = (int32_t)batch;
    int r = lt.table.MatrixLayoutCreate(l, type, (uint64_t)rows, (uint64_t)columns, ld);
    if (!r && batch > 1) {
        r = lt.table.MatrixLayoutSetAttribute(*l, LT_LAYOUT_BATCH, &count, sizeof count);
        r = r ? r : lt.table.MatrixLayoutSetAttribute(*l, LT_LAYOUT_STRIDE, &stride, sizeof stride);
    }
    return r;
}

static int new_desc(CublasMatmul *p, const Problem *q)
{
    bool wide = q->dtype == DT_F64;
    int compute = wide ? LT_COMPUTE_64F : q->dtype == DT_F32 && q->tf32 ? LT_COMPUTE_TF32 : LT_COMPUTE_32F;
    int r = lt.table.MatmulDescCreate(&p->desc, compute, wide ? LT_R_64F : LT_R_32F);
    int32_t first = q->trans_b, second = q->trans_a;
    uint32_t epilogue = (uint32_t)epilogue_value(q->epilogue);
    r = r ? r : lt.table.MatmulDescSetAttribute(p->desc, LT_DESC_TRANSA, &first, sizeof first);
    r = r ? r : lt.table.MatmulDescSetAttribute(p->desc, LT_DESC_TRANSB, &second, sizeof second);
    r = r ? r : lt.table.MatmulDescSetAttribute(p->desc, LT_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    if (!r && q->bias_type >= 0) {
        p->bias_now = 4096;                /* its alignment is what the heuristics look at */
        r = lt.table.MatmulDescSetAttribute(p->desc, LT_DESC_BIAS_POINTER, &p->bias_now, sizeof p->bias_now);
        int32_t type = lt_type((DType)q->bias_type);
        if (!r && q->bias_type != q->out_dtype)
            r = lt.table.MatmulDescSetAttribute(p->desc, LT_DESC_BIAS_TYPE, &type, sizeof type);
    }
    return r;
}

/* In the library's terms: its rows are our columns. */
static int new_descriptors(CublasMatmul *p, const Problem *q)
{
    int in = lt_type((DType)q->dtype), out = lt_type((DType)q->out_dtype);
    int r = new_desc(p, q);
    r = r ? r : new_layout(&p->b, in, q->trans_b ? q->k : q->n, q->trans_b ? q->n : q->k, q->ldb, q->batch, q->stride_b);
    r = r ? r : new_layout(&p->a, in, q->trans_a ? q->m : q->k, q->trans_a ? q->k : q->m, q->lda, q->batch, q->stride_a);
    r = r ? r : new_layout(&p->c, out, q->n, q->m, q->ldc, q->batch, q->stride_c);
    return r ? r : new_layout(&p->d, out, q->n, q->m, q->ldd, q->batch, q->stride_d);
}

void cublaslt_release(CublasMatmul *p)
{
    if (!p)
        return;
    if (p->desc)
        lt.table.MatmulDescDestroy(p->desc);
    LtLayout *all[] = {&p->a, &p->b, &p->c, &p->d};
    for (int i = 0; i < 4; i++)
        if (*all[i])
            lt.table.MatrixLayoutDestroy(*all[i]);
    p->desc = NULL;
    p->a = p->b = p->c = p->d = NULL;
}

/* ---- the library's proposals, remembered ---- */

static int ask(CublasLt *h, CublasMatmul *p, const Problem *q, Known *out)
{
    LtPreference pref = NULL;
    uint64_t limit = h->workspace_limit;
    uint32_t align[4] = {(uint32_t)q->align[1], (uint32_t)q->align[0], (uint32_t)q->align[2], (uint32_t)q->align[3]};
    int r = lt.table.MatmulPreferenceCreate(&pref);
    r = r ? r : lt.table.MatmulPreferenceSetAttribute(pref, LT_PREF_WORKSPACE, &limit, sizeof limit);
    for (int i = 0; i < 4 && !r; i++)
        r = lt.table.MatmulPreferenceSetAttribute(pref, LT_PREF_ALIGN_A + i, &align[i], sizeof align[i]);
    int n = 0;
    r = r ? r : lt.table.MatmulAlgoGetHeuristic(h->handle, p->desc, p->b, p->a, p->c, p->d, pref, LT_RANKS, out->results, &n);
    if (pref)
        lt.table.MatmulPreferenceDestroy(pref);
    out->n = 0;
    for (int i = 0; i < n && !r; i++)
        if (out->results[i].state == 0)
            out->results[out->n++] = out->results[i];
    return r;
}

/* Copies what is known of q, or asks. The oldest entry goes when the table is full. */
static int proposals(CublasLt *h, CublasMatmul *p, const Problem *q, Known *out)
{
    int r = 0;
    pthread_mutex_lock(&h->lock);
    if (!h->known)
        h->known = calloc(LT_CACHE, sizeof *h->known);
    Known *at = NULL;
    for (int i = 0; h->known && i < h->n_known && !at; i++)
        if (memcmp(&h->known[i].problem, q, sizeof *q) == 0)
            at = &h->known[i];
    if (at) {
        *out = *at;
    } else {
        r = ask(h, p, q, out);
        out->problem = *q;
        if (!r && h->known) {
            int slot = h->n_known < LT_CACHE ? h->n_known++ : 0;
            for (int i = 1; h->n_known == LT_CACHE && i < LT_CACHE; i++)
                slot = h->known[i].used < h->known[slot].used ? i : slot;
            at = &h->known[slot];
            *at = *out;
        }
    }
    if (at)
        at->used = ++h->clock;
    pthread_mutex_unlock(&h->lock);
    return r;
}

static char *problem_text(Arena *a, const Problem *q)
{
    return arena_printf(a, "%s%s @ %s%s -> %s, %lld x %lld x %lld (m, n, k), batch %lld", dtype_name((DType)q->dtype),
                        q->trans_a ? " transposed" : "", dtype_name((DType)q->dtype), q->trans_b ? " transposed" : "",
                        dtype_name((DType)q->out_dtype), (long long)q->m, (long long)q->n, (long long)q->k, (long long)q->batch);
}

static bool prepare(CublasLt *h, CublasMatmul *p, const Problem *q, Known *found, Arena *a, Diags *d)
{
    if (lt_type((DType)q->dtype) < 0 || lt_type((DType)q->out_dtype) < 0 || q->m > INT32_MAX || q->n > INT32_MAX || q->k > INT32_MAX ||
        q->batch > INT32_MAX)
        return diag_error(d, PAWL_EXIT_UNSUPPORTED, LOC_NONE, NULL, "cuBLASLt does not multiply %s", problem_text(a, q));
    int r = new_descriptors(p, q);
    r = r ? r : proposals(h, p, q, found);
    if (r || found->n == 0)
        return diag_error(d, PAWL_EXIT_UNSUPPORTED, LOC_NONE, "let the compiler generate the product instead",
                          "cuBLASLt has no algorithm for %s, epilogue %d (%s)", problem_text(a, q), (int)q->epilogue,
                          r ? status_name(r) : "none proposed");
    return true;
}

CublasMatmul *cublaslt_prepare(CublasLt *h, Arena *a, const PlanMatmul *m, const BoundMatmul *s, DType bias_type, Diags *d)
{
    CublasMatmul *p = arena_new_of(a, CublasMatmul);
    Problem q;
    describe(m, s, bias_type, &q);
    int64_t in = dtype_bytes(m->dtype), out = dtype_bytes(m->out_dtype);
    *p = (CublasMatmul){.lt = h, .offset_a = s->a_offset * in, .offset_b = s->b_offset * in, .offset_c = s->c_offset * out,
                        .offset_d = s->d_offset * out, .has_c = m->c != UINT32_MAX, .has_bias = m->bias != UINT32_MAX,
                        .is_double = m->dtype == DT_F64, .empty = q.m == 0 || q.n == 0 || q.batch == 0};
    if (p->empty)
        return p;
    Known *found = calloc(1, sizeof *found);
    bool good = found && prepare(h, p, &q, found, a, d);
    if (good) {
        const LtResult *pick = &found->results[m->algorithm >= 0 && m->algorithm < found->n ? m->algorithm : 0];
        p->algo = pick->algo;
        p->workspace = pick->workspace;
    } else {
        cublaslt_release(p);
    }
    free(found);
    return good ? p : NULL;
}

size_t cublaslt_workspace(const CublasMatmul *p) { return p->workspace; }

bool cublaslt_run(CublasMatmul *p, const CublasOperands *o, CuStream stream, Diags *d)
{
    static const float one = 1, zero = 0;
    static const double one_wide = 1, zero_wide = 0;
    if (p->empty)
        return true;
    if (p->has_bias && p->bias_now != o->bias) {
        p->bias_now = o->bias;
        if (!lt_check(lt.table.MatmulDescSetAttribute(p->desc, LT_DESC_BIAS_POINTER, &p->bias_now, sizeof p->bias_now), "setting the bias", d))
            return false;
    }
    const void *alpha = p->is_double ? (const void *)&one_wide : &one;
    const void *beta = p->is_double ? p->has_c ? (const void *)&one_wide : &zero_wide : p->has_c ? (const void *)&one : &zero;
    CuPtr out = o->d + (CuPtr)p->offset_d, c = p->has_c ? o->c + (CuPtr)p->offset_c : out;
    int r = lt.table.Matmul(p->lt->handle, p->desc, alpha, o->b + (CuPtr)p->offset_b, p->b, o->a + (CuPtr)p->offset_a, p->a, beta, c, p->c,
                            out, p->d, &p->algo, p->workspace ? o->workspace : 0, p->workspace ? o->workspace_bytes : 0, stream);
    return lt_check(r, "multiplying", d);
}

/* ---- for the tuner ---- */

static uint32_t config(const LtAlgo *algo, int attribute, size_t n)
{
    uint32_t v = 0;
    size_t written = 0;
    return lt.table.MatmulAlgoConfigGetAttribute(algo, attribute, &v, n, &written) == 0 ? v : 0;
}

static void algorithm_text(const LtResult *x, char *out, size_t n)
{
    static const char *const tiles[] = {
        "?", "8x8", "8x16", "16x8", "8x32", "16x16", "32x8", "8x64", "16x32", "32x16", "64x8", "32x32", "32x64", "64x32", "32x128",
        "64x64", "128x32", "64x128", "128x64", "64x256", "128x128", "256x64", "64x512", "128x256", "256x128", "512x64", "64x96",
        "96x64", "96x128", "128x160", "160x128", "192x128", "128x192", "128x96", "32x256", "256x32", "8x128", "8x192", "8x256"
    };
    uint32_t tile = config(&x->algo, LT_ALGO_TILE, 4);
    char other[16];
    snprintf(other, sizeof other, "#%u", tile);
    snprintf(out, n, "algo %u tile %s stages #%u cluster #%u splitK %u swizzle %u custom %u workspace %zu",
             config(&x->algo, LT_ALGO_ID, 4), tile < sizeof tiles / sizeof *tiles ? tiles[tile] : other,
             config(&x->algo, LT_ALGO_STAGES, 4), config(&x->algo, LT_ALGO_CLUSTER, 2), config(&x->algo, LT_ALGO_SPLIT_K, 4),
             config(&x->algo, LT_ALGO_SWIZZLE, 4), config(&x->algo, LT_ALGO_CUSTOM, 4), x->workspace);
}

static int list_algorithms(CublasLt *h, const Problem *q, CublasAlgorithm *out, int max, Diags *d)
{
    CublasMatmul p = {.lt = h};
    Arena *a = arena_new();
    Known *found = calloc(1, sizeof *found);
    int n = -1;
    if (found && prepare(h, &p, q, found, a, d)) {
        n = found->n < max ? found->n : max;
        for (int i = 0; i < n; i++) {
            out[i].workspace_bytes = found->results[i].workspace;
            out[i].waves = found->results[i].waves;
            algorithm_text(&found->results[i], out[i].text, sizeof out[i].text);
        }
    }
    cublaslt_release(&p);
    free(found);
    arena_free(a);
    return n;
}

int cublaslt_algorithms(int ordinal, const PlanMatmul *m, const BoundMatmul *sizes, DType bias_type, CublasAlgorithm *out, int max, Diags *d)
{
    const CudaDriver *cu = cuda_driver(NULL);
    CuContext ctx = cuda_context(ordinal, d);
    CudaScope scope;
    Problem q;
    if (!ctx || !cuda_enter(cu, ctx, &scope, d))
        return -1;
    CublasLt *h = cublaslt_handle(ordinal, d);
    describe(m, sizes, bias_type, &q);
    int n = h ? list_algorithms(h, &q, out, max, d) : -1;
    cuda_leave(&scope);
    return n;
}
