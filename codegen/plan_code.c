/* codegen/plan_code.c — the kernels of a plan as code: emitted for its machine by NVRTC or LLVM, and attached to the plan. */
#include "codegen/plan_code.h"

#include "base/file.h"
#include "codegen/emit/emit.h"

typedef struct { Context *cx; Plan *plan; Kernel *const *kernels; uint32_t n; const CodegenOptions *o; } Code;

static void attach(Code *b, CodeKind kind, const char *arch, const void *bytes, size_t len, const char *emitter)
{
    for (uint32_t i = 0; i < b->plan->kernels.n; i++) {
        PlanKernel *k = &b->plan->kernels.data[i];
        PlanCode c = {.kind = kind, .arch = str_intern(b->cx->strs, arch), .bytes = bytes, .len = len};
        vec_push(b->cx->arena, &k->code, c);
        if (!k->emitter)                                    /* of the code that runs here */
            k->emitter = str_intern(b->cx->strs, emitter);
    }
}

static void report_spills(Code *b, const Cubin *c)
{
    if (c->spill_bytes)
        diag_warn(b->cx->diags, LOC_NONE, "%s spills %u bytes of registers a thread", b->plan->kernels.data[0].name, c->spill_bytes);
}

static bool attach_cubin(Code *b, const Cubin *c, const char *emitter)
{
    report_spills(b, c);
    if (c->lost)
        return diag_error(b->cx->diags, PAWL_EXIT_UNSUPPORTED, LOC_NONE, "another schedule (pawl tune), or another version of CUDA, may do",
                          "the assembler left a register out of %u of %s's instructions: the device would refuse them", c->lost,
                          b->plan->kernels.data[0].name);
    attach(b, CODE_CUBIN, b->o->machine.arch, c->cubin, c->len, emitter);
    return true;
}

static bool attach_ptx(Code *b, const char *arch)
{
    char *ptx = emit_ptx(b->cx->arena, b->cx->diags, b->kernels, b->n, arch);
    if (ptx)
        attach(b, CODE_PTX, arch, ptx, strlen(ptx) + 1, "llvm");
    return ptx != NULL;
}

static bool attach_nvrtc_ptx(Code *b, const char *source)
{
    char *ptx = NULL;
    if (!nvrtc_ptx(b->cx->arena, b->cx->diags, source, b->plan->kernels.data[0].name, b->o->machine.arch, &ptx))
        return false;
    attach(b, CODE_PTX, b->o->machine.arch, ptx, strlen(ptx) + 1, "nvrtc");
    return true;
}

/* A kernel around the tensor-core template, which is CUDA C: NVRTC compiles it, and all kernels beside it. */
static const Kernel *template_kernel(const Code *b)
{
    for (uint32_t i = 0; i < b->n; i++)
        if (b->kernels[i]->gemm)
            return b->kernels[i];
    return NULL;
}

/* One that needs what its chip has and those before it do not. */
static const Kernel *bound_kernel(const Code *b)
{
    for (uint32_t i = 0; i < b->n; i++)
        if (b->kernels[i]->cluster > 1 || (b->kernels[i]->gemm && b->kernels[i]->gemm->wgmma))
            return b->kernels[i];
    return NULL;
}

/* PTX that every newer chip runs. What it cannot express is no reason to fail: the package then serves its own chip only. */
static void attach_portable(Code *b, const char *source)
{
    Diags *quiet = diags_new(b->cx->scratch);
    const Kernel *own = bound_kernel(b);
    bool product = template_kernel(b) != NULL;
    char *ptx = NULL;
    if (product && b->o->simulated)                         /* the simulator takes the PTX that is there */
        return;
    if (product && !own && !nvrtc_ptx(b->cx->arena, quiet, source, b->plan->kernels.data[0].name, "sm_80", &ptx))
        ptx = NULL;
    if (!product && !own)
        ptx = emit_ptx(b->cx->arena, quiet, b->kernels, b->n, "sm_80");
    if (ptx)
        attach(b, CODE_PTX, "sm_80", ptx, strlen(ptx) + 1, product ? "nvrtc" : "llvm");
    else if (own)
        diag_warn(b->cx->diags, LOC_NONE, "no PTX for other chips: %s uses the %s of %s", own->name, own->gemm ? "tensor cores" : "clusters of blocks",
                  b->o->machine.arch);
    else
        diag_warn(b->cx->diags, LOC_NONE, "no PTX for other chips: %s", diags_count(quiet) ? diags_at(quiet, 0)->text : "LLVM failed");
}

static bool emit_by_nvrtc(Code *b, const char *source)
{
    Cubin c;
    return nvrtc_compile(b->cx->arena, b->cx->diags, source, b->plan->kernels.data[0].name, b->o->machine.arch, &c) &&
           attach_cubin(b, &c, "nvrtc");
}

/* PTX, assembled where an assembler is found (else the driver does it when the package is opened). */
static bool emit_by_llvm(Code *b)
{
    Cubin c;
    if (!attach_ptx(b, b->o->machine.arch))
        return false;
    const char *ptx = vec_last(&b->plan->kernels.data[0].code).bytes;
    return !assembler_available(NULL) ||
           (ptx_assemble(b->cx->arena, b->cx->diags, ptx, b->o->machine.arch, &c) && attach_cubin(b, &c, "llvm"));
}

static bool emit_for_cuda(Code *b)
{
    const char *why, *arch = b->o->machine.arch;
    bool product = template_kernel(b) != NULL, simulated = b->o->simulated;
    bool nvrtc = product || b->o->emitter == EMITTER_NVRTC ||
                 (b->o->emitter == EMITTER_AUTO && !simulated && nvrtc_available(&why));
    char *source = nvrtc || b->o->keep_source ? emit_cuda(b->cx->arena, b->kernels, b->n) : NULL;
    bool made = !nvrtc ? emit_by_llvm(b) : simulated ? attach_nvrtc_ptx(b, source) : emit_by_nvrtc(b, source);
    if (!made)
        return false;
    if (b->o->keep_source)
        attach(b, CODE_CUDA_SOURCE, arch, source, strlen(source) + 1, "nvrtc");
    if (b->o->keep_source && nvrtc && !simulated && !(product ? attach_nvrtc_ptx(b, source) : attach_ptx(b, arch)))
        return false;
    if (b->o->portable && strcmp(arch, "sm_80"))
        attach_portable(b, source);
    return true;
}

/* NAME.kir of each kernel, and on the host what LLVM made of all of them. */
static bool dump_kernels(Code *b)
{
    const char *dir = b->o->dump_dir;
    Arena *a = b->cx->arena;
    Diags *d = b->cx->diags;
    if (!dir)
        return true;
    if (!dir_make(d, dir))
        return false;
    for (uint32_t i = 0; i < b->n; i++) {
        StrBuf text = strbuf_new(a);
        kernel_print(&text, b->kernels[i]);
        if (!file_write(d, arena_printf(a, "%s/%s.kir", dir, b->kernels[i]->name), text.text, text.len))
            return false;
    }
    if (b->o->machine.target == TARGET_CUDA)
        return true;
    char *ir = emit_host_ir(a, d, b->kernels, b->n, b->o->machine.arch);
    return ir && file_write(d, arena_printf(a, "%s/kernels.ll", dir), ir, strlen(ir));
}

bool plan_emit(Context *cx, Plan *plan, Kernel *const *kernels, uint32_t n, const CodegenOptions *o)
{
    Code own = {cx, plan, kernels, n, o}, *b = &own;
    if (b->o->no_code || !b->n)
        return true;
    if (!dump_kernels(b))
        return false;
    if (b->o->machine.target == TARGET_CUDA)
        return emit_for_cuda(b);
    const void *object;
    size_t len;
    if (!emit_host(b->cx->arena, b->cx->diags, b->kernels, b->n, b->o->machine.arch, &object, &len))
        return false;
    attach(b, CODE_OBJECT, b->o->machine.arch, object, len, "llvm");
    return true;
}
