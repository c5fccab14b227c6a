/* runtime/cuda/code.c — picks and loads each kernel's code: a cubin for exactly this chip first, then one that runs on it, then PTX. */
#include "runtime/cuda/internal.h"
#include <stdlib.h>
#include <string.h>

typedef struct { int number; char suffix; } Arch;            /* "sm_90a": 90, 'a' */

static bool parse_arch(const char *s, Arch *out)
{
    if (strncmp(s, "sm_", 3) != 0 && strncmp(s, "compute_", 8) != 0)
        return false;
    char *end;
    out->number = (int)strtol(strchr(s, '_') + 1, &end, 10);
    out->suffix = *end;
    return out->number >= 10 && (!*end || !end[1]);
}

/* Higher is better; 0: does not run. 'a' code runs on its own chip only, 'f' on its family, cubins within a major version. */
static int score(const PlanCode *c, const CudaDevice *v)
{
    Arch a;
    int device = v->sm_major * 10 + v->sm_minor;
    if ((c->kind != CODE_CUBIN && c->kind != CODE_PTX) || !c->bytes || !parse_arch(c->arch, &a))
        return 0;
    bool same_major = a.number / 10 == v->sm_major, exact = a.number == device;
    bool runs = a.suffix == 'a' ? exact : a.suffix == 'f' || c->kind == CODE_CUBIN ? same_major && a.number <= device
                                        : a.number <= device;
    if (!runs)
        return 0;
    return (c->kind == CODE_CUBIN ? 100000 : 1) + a.number * 10 + (a.suffix ? 5 : 0);
}

typedef struct { const void *bytes; CuModule module; } Loaded;
typedef struct { Executor *e; Diags *d; Arena *a; Vec(Loaded) loaded; bool large; } Loading;
enum { SHARED_USUAL = 48 * 1024 };               /* bytes a block, without asking for more */

static bool jit(Loading *l, const PlanCode *c, const char *kernel, CuModule *m)
{
    const CudaDriver *cu = l->e->device->cu;
    enum { LOG = 8192 };
    char *log = arena_alloc(l->a, LOG);
    const void *image = c->bytes;
    if (c->kind == CODE_PTX) {                               /* the driver wants a terminated text */
        char *text = arena_alloc(l->a, c->len + 1);
        image = memcpy(text, c->bytes, c->len);
    } else if ((uintptr_t)image % 16) {
        void *copy = arena_alloc(l->a, c->len + 16);
        image = memcpy(copy, c->bytes, c->len);
    }
    int options[] = {CU_JIT_ERROR_LOG, CU_JIT_ERROR_LOG_BYTES};
    void *values[] = {log, (void *)(uintptr_t)LOG};
    int r = cu->ModuleLoadDataEx(m, image, 2, options, values);
    log[LOG - 1] = '\0';
    return cuda_check(cu, r, arena_printf(l->a, "loading the %s %s of kernel %s%s%s", c->arch, code_kind_name(c->kind), kernel,
                                          r && *log ? ": " : "", r ? log : ""), l->d);
}

static CuModule load_module(Loading *l, const PlanCode *c, const char *kernel)
{
    for (uint32_t i = 0; i < l->loaded.n; i++)
        if (l->loaded.data[i].bytes == c->bytes)
            return l->loaded.data[i].module;
    CuModule m = NULL;
    if (!jit(l, c, kernel, &m))
        return NULL;
    vec_push(l->e->arena, &l->e->modules, m);
    vec_push(l->a, &l->loaded, ((Loaded){c->bytes, m}));
    return m;
}

static const PlanCode *best_code(const PlanKernel *k, const CudaDevice *v)
{
    const PlanCode *best = NULL;
    vec_foreach(PlanCode, c, &k->code)
        if (score(c, v) > (best ? score(best, v) : 0))
            best = c;
    return best;
}

static bool refuse(const Loading *l, const PlanKernel *k)
{
    const CudaDevice *v = l->e->device->info;
    StrBuf b = strbuf_new(l->a);
    strbuf_add(&b, "");
    vec_foreach(PlanCode, c, &k->code)
        strbuf_printf(&b, "%s%s.%s", b.len ? ", " : "", c->arch, code_kind_name(c->kind));
    return diag_error(l->d, PAWL_EXIT_UNSUPPORTED, LOC_NONE, "compile the package for this GPU, or with generic PTX as well",
                      "kernel %s has no code that runs on %s (sm_%d%d); it has %s", k->name, v->name, v->sm_major, v->sm_minor,
                      b.len ? b.text : "none");
}

/* griddepcontrol came with sm_90: the portable code of a kernel that waits by itself does not. */
static bool code_waits(const PlanKernel *k, const PlanCode *c)
{
    Arch a;
    return k->waits && parse_arch(c->arch, &a) && a.number >= 90;
}

/* Shared memory: what the kernel does not declare itself is asked for at launch; past 48 KB it must be allowed first. A multiprocessor
 * changes how much it keeps apart for it only when it is empty: where kernels overlap and some take much, all prefer the most. */
static bool set_shared(Loading *l, uint32_t i)
{
    Executor *e = l->e;
    const CudaDriver *cu = e->device->cu;
    const PlanKernel *k = &e->plan->kernels.data[i];
    int fixed = 0;
    if (!cuda_check(cu, cu->FuncGetAttribute(&fixed, CU_FUNC_STATIC_SHARED, e->functions[i]),
                    arena_printf(l->a, "asking for the shared memory of kernel %s", k->name), l->d))
        return false;
    e->dynamic_shared[i] = k->shared_bytes > (unsigned)fixed ? k->shared_bytes - (unsigned)fixed : 0;
    if (k->shared_bytes > e->device->info->shared_per_block)
        return diag_error(l->d, PAWL_EXIT_UNSUPPORTED, LOC_NONE, "compile the package for this GPU",
                          "kernel %s needs %u bytes of shared memory, a block of %s has %zu", k->name, k->shared_bytes,
                          e->device->info->name, e->device->info->shared_per_block);
    if (k->waits && l->large && !cuda_check(cu, cu->FuncSetAttribute(e->functions[i], CU_FUNC_SHARED_CARVEOUT, 100),
                                            arena_printf(l->a, "preferring shared memory for kernel %s", k->name), l->d))
        return false;
    if (k->shared_bytes <= SHARED_USUAL || e->dynamic_shared[i] == 0)
        return true;
    return cuda_check(cu, cu->FuncSetAttribute(e->functions[i], CU_FUNC_MAX_DYNAMIC_SHARED, (int)e->dynamic_shared[i]),
                      arena_printf(l->a, "allowing %u bytes of shared memory for kernel %s", e->dynamic_shared[i], k->name), l->d);
}

static bool load_all(Loading *l)
{
    Executor *e = l->e;
    const CudaDriver *cu = e->device->cu;
    vec_foreach(PlanKernel, k, &e->plan->kernels)
        l->large |= k->shared_bytes > SHARED_USUAL;
    for (uint32_t i = 0; i < e->plan->kernels.n; i++) {
        const PlanKernel *k = &e->plan->kernels.data[i];
        const PlanCode *c = best_code(k, e->device->info);
        if (!c)
            return refuse(l, k);
        e->waits[i] = code_waits(k, c);
        CuModule m = load_module(l, c, k->name);
        if (!m || !cuda_check(cu, cu->ModuleGetFunction(&e->functions[i], m, k->name),
                              arena_printf(l->a, "looking for kernel %s in its code", k->name), l->d) ||
            !set_shared(l, i))
            return false;
    }
    return true;
}

bool cuda_load_kernels(Executor *e, Diags *d)
{
    e->functions = arena_new_array(e->arena, CuFunction, e->plan->kernels.n + 1);
    e->waits = arena_new_array(e->arena, bool, e->plan->kernels.n + 1);
    e->dynamic_shared = arena_new_array(e->arena, unsigned, e->plan->kernels.n + 1);
    Loading l = {.e = e, .d = d, .a = arena_new()};
    bool good = load_all(&l);
    arena_free(l.a);
    return good;
}
