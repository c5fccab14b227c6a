/* tests/runtime/fake_cuda.c — see fake_cuda.h. */
#include "tests/runtime/fake_cuda.h"
#include "base/dtype.h"
#include "runtime/cuda/cublaslt.h"
#include "runtime/cuda/driver.h"
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_KERNELS = 64, MAX_PARAMS = 16, MAX_NODES = 256, MAX_BLOCKS_OF_MEMORY = 4096 };

struct CuFunctionOf { char name[64]; FakeKernel *run; unsigned n_params, n_maps, cluster; size_t param_bytes; int max_dynamic; };
typedef void ProductFn(void *arg);
typedef struct { int transa, transb, epilogue, bias_type, compute; CuPtr bias; } Desc;
typedef struct { int type; uint64_t rows, cols; int64_t ld; int batch; int64_t stride; } Layout;
typedef struct { Desc desc; CuPtr a, b, c, d; Layout la, lb, lc, ld; double alpha, beta; CuPtr workspace; size_t n, need; } Product;
typedef enum { NODE_EMPTY, NODE_KERNEL, NODE_CHILD, NODE_PRODUCT } NodeKind;
struct CuNodeOf {
    NodeKind kind;
    struct CuGraphOf *owner;
    int number, n_before, before[MAX_NODES];
    CuFunction f;
    unsigned grid[3], block[3], cluster;
    uint64_t params[MAX_PARAMS][24];
    struct CuGraphOf *child;
    Product product;
};
struct CuGraphOf { int n; CuNode nodes[MAX_NODES]; };
struct CuExecOf { CuGraph graph; };
struct CuStreamOf { CuGraph capture; int last; };
struct CuEventOf { int recorded; };
struct CuModuleOf { int loaded; };

static struct CuFunctionOf functions[MAX_KERNELS];
static int n_functions;
static struct { char *p; size_t n; } memory[MAX_BLOCKS_OF_MEMORY];
size_t fake_cuda_memory = (size_t)1 << 32, fake_cuda_used;
int fake_cuda_allocations, fake_cuda_fail_next;
unsigned fake_cuda_early;
static _Thread_local CuContext current;
static unsigned random_state = 1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int failure(void)
{
    int r = fake_cuda_fail_next;
    fake_cuda_fail_next = 0;
    return r;
}

/* ---- device and memory ---- */

static int f_init(unsigned flags) { return (int)flags; }
static int f_version(int *v) { *v = 13000; return 0; }
static int f_count(int *n) { *n = 1; return 0; }
static int f_get(int *device, int ordinal) { *device = ordinal; return ordinal ? 101 : 0; }
static int f_name(char *s, int n, int device) { (void)device; strncpy(s, "Fake H200", (size_t)n); return 0; }
static int f_attribute(int *v, int a, int device)
{
    (void)device;
    *v = a == CU_ATTR_CC_MAJOR ? 9 : a == CU_ATTR_CC_MINOR ? 0 : a == CU_ATTR_SM_COUNT ? 132 : a == CU_ATTR_L2_BYTES ? 1 << 20 : 232448;
    return 0;
}
static int f_total(size_t *n, int device) { (void)device; *n = fake_cuda_memory; return 0; }
static int f_retain(CuContext *c, int device) { (void)device; *c = (CuContext)(uintptr_t)64; return 0; }
static int f_current(CuContext *c) { *c = current; return 0; }
static int f_push(CuContext c) { current = c; return 0; }
static int f_pop(CuContext *c) { *c = current; current = NULL; return 0; }
static int f_sync(void) { return current ? 0 : 201; }
static int f_error_name(int r, const char **s) { *s = r == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_FAKE"; return 0; }
static int f_error_text(int r, const char **s) { (void)r; *s = "a fake error"; return 0; }
static int f_info(size_t *have, size_t *total) { *have = fake_cuda_memory - fake_cuda_used; *total = fake_cuda_memory; return 0; }

static int f_alloc(CuPtr *p, size_t n)
{
    if (!current)
        return 201;
    pthread_mutex_lock(&lock);
    int r = n > fake_cuda_memory - fake_cuda_used ? CU_OUT_OF_MEMORY : CU_OK, i = 0;
    while (memory[i].p)
        i++;
    void *q = NULL;
    if (!r && posix_memalign(&q, 256, n) == 0) {
        memset(q, 0xff, n);                            /* NaNs: nothing relies on zeros */
        memory[i].p = q;
        memory[i].n = n;
        fake_cuda_used += n;
        fake_cuda_allocations++;
        *p = (CuPtr)(uintptr_t)q;
    }
    pthread_mutex_unlock(&lock);
    return r;
}

static int f_free(CuPtr p)
{
    int r = CU_INVALID_VALUE;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MAX_BLOCKS_OF_MEMORY && r; i++)
        if (memory[i].p == (char *)(uintptr_t)p && p) {
            fake_cuda_used -= memory[i].n;
            fake_cuda_allocations--;
            free(memory[i].p);
            memory[i].p = NULL;
            r = CU_OK;
        }
    pthread_mutex_unlock(&lock);
    if (r)
        abort();
    return r;
}

static int f_h2d(CuPtr to, const void *from, size_t n, CuStream s) { (void)s; memcpy((void *)(uintptr_t)to, from, n); return 0; }
static int f_d2h(void *to, CuPtr from, size_t n, CuStream s) { (void)s; memcpy(to, (void *)(uintptr_t)from, n); return 0; }
static int f_d2d(CuPtr to, CuPtr from, size_t n, CuStream s) { (void)s; memmove((void *)(uintptr_t)to, (void *)(uintptr_t)from, n); return 0; }
static int f_set(CuPtr to, unsigned char v, size_t n, CuStream s) { (void)s; memset((void *)(uintptr_t)to, v, n); return 0; }

/* ---- modules ---- */

static int f_load(CuModule *m, const void *image, unsigned n, int *options, void **values)
{
    if (!strstr(image, ".entry")) {
        for (unsigned i = 0; i < n; i++)
            if (options[i] == CU_JIT_ERROR_LOG)
                strcpy(values[i], "ptxas: no entry here");
        return CU_INVALID_PTX;
    }
    *m = calloc(1, sizeof **m);
    return 0;
}
static int f_unload(CuModule m) { free(m); return 0; }
static int f_function(CuFunction *f, CuModule m, const char *name)
{
    (void)m;
    for (int i = 0; i < n_functions; i++)
        if (strcmp(functions[i].name, name) == 0) {
            *f = &functions[i];
            return 0;
        }
    return CU_NOT_FOUND;
}
static int f_func_get(int *v, int a, CuFunction f) { (void)f; *v = a == CU_FUNC_STATIC_SHARED ? 0 : 32; return 0; }
static int f_func_set(CuFunction f, int a, int v)
{
    if (a == CU_FUNC_MAX_DYNAMIC_SHARED)
        f->max_dynamic = v;
    return v > 232448 ? CU_INVALID_VALUE : 0;
}

/* ---- products, as the library defines them: columns ---- */

static double read_value(int type, CuPtr p, int64_t i)
{
    static const DType types[] = {[0] = DT_F32, [1] = DT_F64, [2] = DT_F16, [14] = DT_BF16};
    return dtype_load(types[type], (char *)(uintptr_t)p + i * dtype_bytes(types[type]));
}
static void write_value(int type, CuPtr p, int64_t i, double v)
{
    static const DType types[] = {[0] = DT_F32, [1] = DT_F64, [2] = DT_F16, [14] = DT_BF16};
    dtype_store(types[type], (char *)(uintptr_t)p + i * dtype_bytes(types[type]), v);
}

static double finish_value(const Product *p, double v, int64_t row)
{
    if (p->desc.epilogue & 4)
        v += read_value(p->desc.bias_type >= 0 ? p->desc.bias_type : p->ld.type, p->desc.bias, row);
    if (p->desc.epilogue & 2)
        v = v > 0 ? v : 0;
    if (p->desc.epilogue & 32)
        v = 0.5 * v * (1 + tanh(0.7978845608028654 * (v + 0.044715 * v * v * v)));
    return v;
}

static void run_product(const Product *p)
{
    int64_t m = (int64_t)p->ld.rows, n = (int64_t)p->ld.cols, k = (int64_t)(p->desc.transa ? p->la.rows : p->la.cols);
    if (p->need) {
        if (!p->workspace || p->n < p->need)
            abort();
        memset((void *)(uintptr_t)p->workspace, 0xee, p->need);
    }
    for (int64_t b = 0; b < (p->ld.batch ? p->ld.batch : 1); b++)
        for (int64_t j = 0; j < n; j++)
            for (int64_t i = 0; i < m; i++) {
                double sum = 0;
                for (int64_t x = 0; x < k; x++)
                    sum += read_value(p->la.type, p->a, b * p->la.stride + (p->desc.transa ? x + i * p->la.ld : i + x * p->la.ld)) *
                           read_value(p->lb.type, p->b, b * p->lb.stride + (p->desc.transb ? j + x * p->lb.ld : x + j * p->lb.ld));
                sum *= p->alpha;
                if (p->beta != 0)
                    sum += p->beta * read_value(p->lc.type, p->c, b * p->lc.stride + i + j * p->lc.ld);
                write_value(p->ld.type, p->d, b * p->ld.stride + i + j * p->ld.ld, finish_value(p, sum, i));
            }
}

/* ---- graphs ---- */

static void run_node(const struct CuNodeOf *x)
{
    void *params[MAX_PARAMS];
    for (int i = 0; i < MAX_PARAMS; i++)
        params[i] = (void *)(uintptr_t)x->params[i];
    if (x->kind == NODE_KERNEL)
        x->f->run(params, x->grid, x->block);
    else if (x->kind == NODE_PRODUCT)
        run_product(&x->product);
}

static void run_graph(CuGraph g)
{
    bool done[MAX_NODES] = {false};
    for (int left = g->n; left > 0; left--) {
        int ready[MAX_NODES], n = 0;
        for (int i = 0; i < g->n; i++) {
            bool waits = done[i];
            for (int k = 0; k < g->nodes[i]->n_before; k++)
                waits |= !done[g->nodes[i]->before[k]];
            if (!waits)
                ready[n++] = i;
        }
        random_state = random_state * 1103515245 + 12345;
        int pick = ready[(random_state >> 16) % (unsigned)n];
        if (g->nodes[pick]->kind == NODE_CHILD)
            run_graph(g->nodes[pick]->child);
        else
            run_node(g->nodes[pick]);
        done[pick] = true;
    }
}

static int f_graph_create(CuGraph *g, unsigned flags) { (void)flags; *g = calloc(1, sizeof **g); return 0; }
static int f_graph_destroy(CuGraph g)
{
    for (int i = 0; i < g->n; i++) {
        if (g->nodes[i]->child)
            f_graph_destroy(g->nodes[i]->child);
        free(g->nodes[i]);
    }
    free(g);
    return 0;
}

static CuGraph graph_copy(CuGraph g)
{
    CuGraph c = calloc(1, sizeof *c);
    c->n = g->n;
    for (int i = 0; i < g->n; i++) {
        c->nodes[i] = malloc(sizeof *c->nodes[i]);
        *c->nodes[i] = *g->nodes[i];
        c->nodes[i]->owner = c;
        if (g->nodes[i]->child)
            c->nodes[i]->child = graph_copy(g->nodes[i]->child);
    }
    return c;
}

static CuNode add_node(CuGraph g, NodeKind kind, const CuNode *before, size_t n)
{
    CuNode x = calloc(1, sizeof *x);
    x->kind = kind;
    x->owner = g;
    x->number = g->n;
    for (size_t i = 0; i < n; i++) {
        if (before[i]->owner != g)
            abort();
        x->before[x->n_before++] = before[i]->number;
    }
    g->nodes[g->n++] = x;
    return x;
}

enum { WRONG_CLUSTER = 912 };
static const uint64_t map_magic = 0x70616d2065736c61;
_Static_assert(sizeof(FakeMap) <= 128, "a tensor map has 128 bytes");

static int f_encode(void *map, int type, uint32_t rank, void *base, const uint64_t *dims, const uint64_t *strides, const uint32_t *box,
                    const uint32_t *steps, int interleave, int swizzle, int promotion, int fill)
{
    FakeMap m = {.magic = map_magic, .base = base, .type = type, .rank = (int)rank, .swizzle = (uint16_t)swizzle};
    if ((uintptr_t)map % 64 || (uintptr_t)base % 16 || rank < 1 || rank > 5 || interleave || promotion != 3 || fill)
        return CU_INVALID_VALUE;
    for (uint32_t i = 0; i < rank; i++) {
        m.dims[i] = dims[i];
        m.box[i] = (uint16_t)box[i];
        if (i)
            m.strides[i - 1] = strides[i - 1];
        if (!dims[i] || !box[i] || box[i] > 256 || steps[i] != 1 || (i && strides[i - 1] % 16))
            return CU_INVALID_VALUE;
    }
    memset(map, 0, 128);
    memcpy(map, &m, sizeof m);
    return 0;
}

const FakeMap *fake_cuda_map(const void *param)
{
    const FakeMap *m = param;
    if (m->magic != map_magic)
        abort();
    return m;
}

static void set_kernel(CuNode x, CuFunction f, const unsigned *grid, const unsigned *block, unsigned shared, void **params)
{
    if (!grid[0] || !grid[1] || !grid[2] || !block[0] || (shared > 48 * 1024 && (int)shared > f->max_dynamic))
        abort();
    x->f = f;
    memcpy(x->grid, grid, sizeof x->grid);
    memcpy(x->block, block, sizeof x->block);
    for (unsigned i = 0; i < f->n_params; i++)
        memcpy(x->params[i], params[i], i + f->n_maps < f->n_params ? f->param_bytes : 128);
}

static int f_node_attribute(CuNode x, int attribute, const CuLaunchValue *v)
{
    if (attribute != CU_LAUNCH_CLUSTER_DIMENSION || v->cluster[1] != 1 || v->cluster[2] != 1 || x->grid[0] % v->cluster[0])
        return CU_INVALID_VALUE;
    x->cluster = v->cluster[0];
    return 0;
}

static bool clusters_fit(CuGraph g)
{
    for (int i = 0; i < g->n; i++)
        if (g->nodes[i]->kind == NODE_KERNEL && g->nodes[i]->f->cluster != g->nodes[i]->cluster)
            return false;
    return true;
}

static int f_add_kernel(CuNode *x, CuGraph g, const CuNode *before, size_t n, const CuKernelNode *k)
{
    *x = add_node(g, NODE_KERNEL, before, n);
    set_kernel(*x, k->func, k->grid, k->block, k->shared_bytes, k->params);
    return 0;
}
static int f_add_edges(CuGraph g, const CuNode *from, const CuNode *to, const CuEdge *edges, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (from[i]->owner != g || to[i]->owner != g || from[i]->kind != NODE_KERNEL || to[i]->kind != NODE_KERNEL ||
            edges[i].type != CU_EDGE_PROGRAMMATIC || edges[i].from_port != CU_PORT_PROGRAMMATIC)
            return CU_INVALID_VALUE;
        to[i]->before[to[i]->n_before++] = from[i]->number;
        fake_cuda_early++;
    }
    return 0;
}
static int f_add_child(CuNode *x, CuGraph g, const CuNode *before, size_t n, CuGraph child)
{
    *x = add_node(g, NODE_CHILD, before, n);
    (*x)->child = graph_copy(child);
    return 0;
}
static int f_add_empty(CuNode *x, CuGraph g, const CuNode *before, size_t n)
{
    *x = add_node(g, NODE_EMPTY, before, n);
    return 0;
}
static int f_instantiate(CuExec *e, CuGraph g, unsigned long long flags)
{
    (void)flags;
    if (!clusters_fit(g))
        return WRONG_CLUSTER;
    *e = calloc(1, sizeof **e);
    (*e)->graph = graph_copy(g);
    return 0;
}
static int f_exec_destroy(CuExec e) { f_graph_destroy(e->graph); free(e); return 0; }
static int f_launch_graph(CuExec e, CuStream s)
{
    (void)s;
    int r = failure();
    if (!r)
        run_graph(e->graph);
    return current ? r : 201;
}
static int f_exec_set(CuExec e, CuNode x, const CuKernelNode *k)
{
    set_kernel(e->graph->nodes[x->number], k->func, k->grid, k->block, k->shared_bytes, k->params);
    return 0;
}
static int f_exec_update(CuExec e, CuGraph g, CuUpdateResult *r)
{
    (void)r;
    bool same = e->graph->n == g->n;
    for (int i = 0; same && i < g->n; i++)
        same = g->nodes[i]->kind == e->graph->nodes[i]->kind && g->nodes[i]->n_before == e->graph->nodes[i]->n_before;
    if (!same)
        return 910;
    f_graph_destroy(e->graph);
    e->graph = graph_copy(g);
    return 0;
}

/* ---- streams ---- */

static bool captures(CuStream s) { return (uintptr_t)s > 1 && s->capture; }

static CuNode captured_node(CuStream s, NodeKind kind)
{
    CuNode before = s->last >= 0 ? s->capture->nodes[s->last] : NULL;
    CuNode x = add_node(s->capture, kind, &before, before != NULL);
    s->last = x->number;
    return x;
}

static unsigned launch_cluster(const CuLaunch *l)
{
    for (unsigned i = 0; i < l->n_attributes; i++)
        if (l->attributes[i].id == CU_LAUNCH_CLUSTER_DIMENSION)
            return l->attributes[i].value.cluster[0];
    return 0;
}

static int f_launch_ex(const CuLaunch *l, CuFunction f, void **params, void **extra)
{
    (void)extra;
    int r = failure();
    unsigned cluster = launch_cluster(l);
    CuStream s = l->stream;
    if (r || !current)
        return r ? r : 201;
    for (unsigned i = 0; i < l->n_attributes; i++)
        fake_cuda_early += l->attributes[i].id == CU_LAUNCH_PROGRAMMATIC_SERIALIZATION;
    if (cluster != f->cluster || (cluster && l->grid[0] % cluster))
        return WRONG_CLUSTER;
    struct CuNodeOf x = {.kind = NODE_KERNEL};
    CuNode node = captures(s) ? captured_node(s, NODE_KERNEL) : &x;
    set_kernel(node, f, l->grid, l->block, l->shared_bytes, params);
    node->cluster = cluster;
    if (node == &x)
        run_node(&x);
    return 0;
}
static int f_launch(CuFunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                    CuStream s, void **params, void **extra)
{
    return f_launch_ex(&(CuLaunch){.grid = {gx, gy, gz}, .block = {bx, by, bz}, .shared_bytes = shared, .stream = s}, f, params, extra);
}
static int f_stream_create(CuStream *s, unsigned flags) { (void)flags; *s = calloc(1, sizeof **s); return 0; }
static int f_stream_destroy(CuStream s) { free(s); return 0; }
static int f_stream_sync(CuStream s) { return captures(s) ? 900 : 0; }
static int f_wait(CuStream s, CuEvent e, unsigned flags) { (void)s; (void)flags; return e->recorded ? 0 : CU_INVALID_VALUE; }
static int f_capturing(CuStream s, int *status) { *status = captures(s); return 0; }
static int f_begin(CuStream s, int mode) { (void)mode; s->last = -1; return f_graph_create(&s->capture, 0); }
static int f_end(CuStream s, CuGraph *g) { *g = s->capture; s->capture = NULL; return 0; }
static int f_event_create(CuEvent *e, unsigned flags) { (void)flags; *e = calloc(1, sizeof **e); return 0; }
static int f_event_destroy(CuEvent e) { free(e); return 0; }
static int f_event_record(CuEvent e, CuStream s) { e->recorded = !captures(s); return 0; }
static int f_event_sync(CuEvent e) { return e->recorded ? 0 : CU_NOT_READY; }
static int f_elapsed(float *ms, CuEvent a, CuEvent b) { *ms = 0.001f; return a->recorded && b->recorded ? 0 : CU_NOT_READY; }

/* ---- the runtime's own kernels ---- */

static void k_copy(void *const *p, const unsigned *g, const unsigned *b)
{
    (void)g, (void)b;
    const uint64_t *to = p[0], *from = p[1], *n = p[2];
    memmove((void *)(uintptr_t)*to, (void *)(uintptr_t)*from, *n);
}
static void k_zero(void *const *p, const unsigned *g, const unsigned *b)
{
    (void)g, (void)b;
    const uint64_t *to = p[0], *n = p[1];
    memset((void *)(uintptr_t)*to, 0, *n);
}
static void k_strided(void *const *p, const unsigned *g, const unsigned *b)
{
    (void)g, (void)b;
    const struct { uint64_t from, to; uint32_t count, element, shape[8]; int64_t fs[8], ts[8]; } *a = p[0];
    for (uint32_t i = 0; i < a->count; i++) {
        uint32_t left = i;
        int64_t from = 0, to = 0;
        for (int k = 0; k < 8; k++) {
            from += left % a->shape[k] * a->fs[k];
            to += left % a->shape[k] * a->ts[k];
            left /= a->shape[k];
        }
        memcpy((char *)(uintptr_t)a->to + to, (char *)(uintptr_t)a->from + from, a->element);
    }
}
static void k_nothing(void *const *p, const unsigned *g, const unsigned *b) { (void)p, (void)g, (void)b; }
static void k_noise(void *const *p, const unsigned *g, const unsigned *b)
{
    (void)g, (void)b;
    const uint64_t *to = p[0], *n = p[1], *set = p[4];
    for (uint64_t i = 0; i < *n; i++)
        ((uint32_t *)(uintptr_t)*to)[i] = (uint32_t)*set;
}

void fake_cuda_kernel(const char *name, FakeKernel *run, unsigned n_params)
{
    struct CuFunctionOf *f = &functions[n_functions++];
    strncpy(f->name, name, sizeof f->name - 1);
    f->run = run;
    f->n_params = n_params;
    f->param_bytes = strcmp(name, "pawl_strided") == 0 ? 184 : 8;
}

void fake_cuda_kernel_with_maps(const char *name, FakeKernel *run, unsigned n_words, unsigned n_maps, unsigned cluster)
{
    struct CuFunctionOf *f = NULL;
    for (int i = 0; i < n_functions && !f; i++)
        f = strcmp(functions[i].name, name) == 0 ? &functions[i] : NULL;
    if (!f) {
        fake_cuda_kernel(name, run, 0);
        f = &functions[n_functions - 1];
    }
    f->run = run;
    f->n_params = n_words + n_maps;
    f->n_maps = n_maps;
    f->cluster = cluster;
}

/* ---- cuBLASLt ---- */

static int l_create(void **h) { *h = functions; return 0; }
static size_t l_version(void) { return 130100; }
static int l_desc(Desc **d, int compute, int scale)
{
    (void)scale;
    *d = calloc(1, sizeof **d);
    **d = (Desc){.epilogue = 1, .bias_type = -1, .compute = compute};
    return 0;
}
static int l_free(void *p) { free(p); return 0; }
static int l_desc_set(Desc *d, int a, const void *v, size_t n)
{
    int *ints[] = {[3] = &d->transa, [4] = &d->transb, [7] = &d->epilogue, [26] = &d->bias_type};
    if (a == 8)
        memcpy(&d->bias, v, n);
    else
        memcpy(ints[a], v, n);
    return n == (a == 8 ? 8u : 4u) ? 0 : 7;
}
static int l_layout(Layout **l, int type, uint64_t rows, uint64_t cols, int64_t ld)
{
    *l = calloc(1, sizeof **l);
    **l = (Layout){type, rows, cols, ld, 1, 0};
    return ld >= (int64_t)rows ? 0 : 7;
}
static int l_layout_set(Layout *l, int a, const void *v, size_t n)
{
    memcpy(a == 5 ? (void *)&l->batch : (void *)&l->stride, v, n);
    return n == (a == 5 ? 4u : 8u) ? 0 : 7;
}
static int l_pref(void **p) { *p = malloc(1); return 0; }
static int l_pref_set(void *p, int a, const void *v, size_t n) { (void)p, (void)a, (void)v; return n == (a == 1 ? 8u : 4u) ? 0 : 7; }
typedef struct { uint64_t algo[8]; size_t workspace; int state; float waves; int reserved[4]; } Result;
static int l_heuristic(void *h, Desc *d, Layout *a, Layout *b, Layout *c, Layout *out, void *p, int want, Result *r, int *n)
{
    (void)h, (void)c, (void)p;
    bool fits = (d->transa ? a->cols : a->rows) == out->rows && (d->transb ? b->rows : b->cols) == out->cols &&
                (d->transa ? a->rows : a->cols) == (d->transb ? b->cols : b->rows);
    *n = fits && want >= 4 ? 4 : 0;
    for (int i = 0; i < *n; i++) {
        r[i] = (Result){.workspace = (size_t)i * 1000, .state = i == 2 ? 15 : 0, .waves = 1};
        r[i].algo[0] = (uint64_t)i * 1000;             /* what it needs */
    }
    return fits ? 0 : 7;
}
static int l_config(const uint64_t *algo, int a, void *v, size_t n, size_t *written) { (void)algo, (void)a, (void)v; *written = n; return 0; }
static int l_matmul(void *h, Desc *d, const void *alpha, CuPtr a, Layout *la, CuPtr b, Layout *lb, const void *beta, CuPtr c, Layout *lc,
                    CuPtr out, Layout *ld, const uint64_t *algo, CuPtr workspace, size_t n, CuStream s)
{
    (void)h;
    bool wide = d->compute == 70;
    Product p = {*d, a, b, c, out, *la, *lb, *lc, *ld, wide ? *(const double *)alpha : (double)*(const float *)alpha,
                 wide ? *(const double *)beta : (double)*(const float *)beta, workspace, n, (size_t)algo[0]};
    if (captures(s))
        captured_node(s, NODE_PRODUCT)->product = p;
    else
        run_product(&p);
    return 0;
}

/* ---- tables ---- */

typedef struct { const char *name; void *fn; } Named;
#define FN(f) ((void *)(uintptr_t)(f))
static void *look(const Named *t, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(t[i].name, name) == 0)
            return t[i].fn;
    return NULL;
}

static void *find_driver(const char *name)
{
    static Named t[] = {
        {"cuInit", FN(f_init)}, {"cuDriverGetVersion", FN(f_version)}, {"cuDeviceGetCount", FN(f_count)}, {"cuDeviceGet", FN(f_get)},
        {"cuDeviceGetName", FN(f_name)}, {"cuDeviceGetAttribute", FN(f_attribute)}, {"cuDeviceTotalMem_v2", FN(f_total)},
        {"cuDevicePrimaryCtxRetain", FN(f_retain)}, {"cuCtxGetCurrent", FN(f_current)}, {"cuCtxPushCurrent_v2", FN(f_push)},
        {"cuCtxPopCurrent_v2", FN(f_pop)}, {"cuCtxSynchronize", FN(f_sync)}, {"cuGetErrorName", FN(f_error_name)},
        {"cuGetErrorString", FN(f_error_text)}, {"cuMemGetInfo_v2", FN(f_info)}, {"cuMemAlloc_v2", FN(f_alloc)},
        {"cuMemFree_v2", FN(f_free)}, {"cuMemcpyHtoDAsync_v2", FN(f_h2d)}, {"cuMemcpyDtoHAsync_v2", FN(f_d2h)},
        {"cuMemcpyDtoDAsync_v2", FN(f_d2d)}, {"cuMemsetD8Async", FN(f_set)}, {"cuModuleLoadDataEx", FN(f_load)},
        {"cuModuleUnload", FN(f_unload)}, {"cuModuleGetFunction", FN(f_function)}, {"cuFuncGetAttribute", FN(f_func_get)},
        {"cuFuncSetAttribute", FN(f_func_set)}, {"cuLaunchKernel", FN(f_launch)}, {"cuLaunchKernelEx", FN(f_launch_ex)},
        {"cuGraphAddDependencies_v2", FN(f_add_edges)}, {"cuTensorMapEncodeTiled", FN(f_encode)}, {"cuGraphKernelNodeSetAttribute", FN(f_node_attribute)}, {"cuStreamCreate", FN(f_stream_create)},
        {"cuStreamDestroy_v2", FN(f_stream_destroy)}, {"cuStreamSynchronize", FN(f_stream_sync)}, {"cuStreamWaitEvent", FN(f_wait)},
        {"cuStreamIsCapturing", FN(f_capturing)}, {"cuStreamBeginCapture_v2", FN(f_begin)}, {"cuStreamEndCapture", FN(f_end)},
        {"cuEventCreate", FN(f_event_create)}, {"cuEventDestroy_v2", FN(f_event_destroy)}, {"cuEventRecord", FN(f_event_record)},
        {"cuEventSynchronize", FN(f_event_sync)}, {"cuEventElapsedTime", FN(f_elapsed)}, {"cuGraphCreate", FN(f_graph_create)},
        {"cuGraphDestroy", FN(f_graph_destroy)}, {"cuGraphAddKernelNode_v2", FN(f_add_kernel)},
        {"cuGraphAddChildGraphNode", FN(f_add_child)}, {"cuGraphAddEmptyNode", FN(f_add_empty)},
        {"cuGraphInstantiateWithFlags", FN(f_instantiate)}, {"cuGraphExecDestroy", FN(f_exec_destroy)},
        {"cuGraphLaunch", FN(f_launch_graph)}, {"cuGraphExecKernelNodeSetParams_v2", FN(f_exec_set)},
        {"cuGraphExecUpdate_v2", FN(f_exec_update)}
    };
    return look(t, sizeof t / sizeof *t, name);
}

static void *find_cublaslt(const char *name)
{
    static Named t[] = {
        {"cublasLtCreate", FN(l_create)}, {"cublasLtGetVersion", FN(l_version)}, {"cublasLtMatmulDescCreate", FN(l_desc)},
        {"cublasLtMatmulDescDestroy", FN(l_free)}, {"cublasLtMatmulDescSetAttribute", FN(l_desc_set)},
        {"cublasLtMatrixLayoutCreate", FN(l_layout)}, {"cublasLtMatrixLayoutDestroy", FN(l_free)},
        {"cublasLtMatrixLayoutSetAttribute", FN(l_layout_set)}, {"cublasLtMatmulPreferenceCreate", FN(l_pref)},
        {"cublasLtMatmulPreferenceDestroy", FN(l_free)}, {"cublasLtMatmulPreferenceSetAttribute", FN(l_pref_set)},
        {"cublasLtMatmulAlgoGetHeuristic", FN(l_heuristic)}, {"cublasLtMatmulAlgoConfigGetAttribute", FN(l_config)},
        {"cublasLtMatmul", FN(l_matmul)}
    };
    return look(t, sizeof t / sizeof *t, name);
}

void fake_cuda_install(void)
{
    cuda_driver_set_source(find_driver);
    cublaslt_set_source(find_cublaslt);
    fake_cuda_kernel("pawl_copy", k_copy, 3);
    fake_cuda_kernel("pawl_zero", k_zero, 2);
    fake_cuda_kernel("pawl_strided", k_strided, 1);
    fake_cuda_kernel("pawl_spin", k_nothing, 1);
    fake_cuda_kernel("pawl_read", k_nothing, 2);
    fake_cuda_kernel("pawl_noise", k_noise, 7);
}
