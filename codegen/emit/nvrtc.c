/* codegen/emit/nvrtc.c — CUDA C to cubin or PTX through NVRTC, loaded at run time: libnvrtc.so.13 or .12 from PAWL_NVRTC (a file),
 * the folders of PAWL_CUDA_LIBS, the loader's own path, /usr/local/cuda. Declarations are our own, so that it builds without
 * CUDA's headers. The API: https://docs.nvidia.com/cuda/nvrtc/ . */
#include "base/file.h"
#include "codegen/emit/cuda_find.h"
#include "codegen/emit/emit.h"

#include <dlfcn.h>
#include <pthread.h>

typedef struct _nvrtcProgram *Program;
typedef int Result;                 /* nvrtcResult: 0 is success */

static struct {
    Result (*version)(int *, int *);
    const char *(*error_string)(Result);
    Result (*create)(Program *, const char *src, const char *name, int n, const char *const *headers, const char *const *names);
    Result (*destroy)(Program *);
    Result (*compile)(Program, int n, const char *const *options);
    Result (*log_size)(Program, size_t *);
    Result (*log)(Program, char *);
    Result (*ptx_size)(Program, size_t *);
    Result (*ptx)(Program, char *);
    Result (*cubin_size)(Program, size_t *);
    Result (*cubin)(Program, char *);
} api;

static const CudaSymbol symbols[] = {
    {"nvrtcVersion", (void **)&api.version},           {"nvrtcGetErrorString", (void **)&api.error_string},
    {"nvrtcCreateProgram", (void **)&api.create},      {"nvrtcDestroyProgram", (void **)&api.destroy},
    {"nvrtcCompileProgram", (void **)&api.compile},    {"nvrtcGetProgramLogSize", (void **)&api.log_size},
    {"nvrtcGetProgramLog", (void **)&api.log},         {"nvrtcGetPTXSize", (void **)&api.ptx_size},
    {"nvrtcGetPTX", (void **)&api.ptx},                {"nvrtcGetCUBINSize", (void **)&api.cubin_size},
    {"nvrtcGetCUBIN", (void **)&api.cubin},
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool found;
static char about[256];             /* the version, or why there is none */

static void load(void)
{
    static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", NULL};
    int major = 0, minor = 0;
    if (!cuda_library("PAWL_NVRTC", names, symbols, sizeof symbols / sizeof *symbols, "NVRTC", about, sizeof about))
        return;
    if (api.version(&major, &minor) != 0) {
        snprintf(about, sizeof about, "NVRTC does not tell its version");
        return;
    }
    snprintf(about, sizeof about, "NVRTC %d.%d", major, minor);
    found = true;
}

bool nvrtc_available(const char **version_or_why_not)
{
    pthread_once(&once, load);
    if (version_or_why_not)
        *version_or_why_not = about;
    return found;
}

static const char *take_log(Arena *a, Program p)
{
    size_t n = 0;
    if (api.log_size(p, &n) != 0 || n <= 1)
        return "";
    char *text = arena_alloc(a, n + 1);
    api.log(p, text);
    return text;
}

/* A compiled program, or NULL: diagnosed, with the compiler's own words. */
static Program compile(Arena *a, Diags *d, const char *source, const char *name, const char *arch, bool to_cubin, const char **log)
{
    Program p = NULL;
    if (!nvrtc_available(NULL)) {
        diag_error(d, PAWL_EXIT_DEVICE, LOC_NONE, "set PAWL_NVRTC to the library's file, or PAWL_CUDA_LIBS to its folder", "%s", about);
        return NULL;
    }
    const char *digits = strncmp(arch, "sm_", 3) == 0 ? arch + 3 : arch;
    const char *options[] = {
        arena_printf(a, "--gpu-architecture=%s_%s", to_cubin ? "sm" : "compute", digits), "--std=c++17", "--fmad=true",
        "--ptxas-options=-v", "--no-source-include", "--minimal",       /* the last two are newer than NVRTC 12.0 */
    };
    enum { ALL = sizeof options / sizeof *options, OLD = ALL - 2, INVALID_OPTION = 5 };
    Result r = api.create(&p, source, name, 0, NULL, NULL);
    if (r == 0)
        r = api.compile(p, ALL, options);
    if (r == INVALID_OPTION)
        r = api.compile(p, OLD, options);
    *log = p ? take_log(a, p) : "";
    if (r == 0)
        return p;
    diag_error(d, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "NVRTC rejects %s for %s (%s):\n%s", name, arch, api.error_string(r), *log);
    if (p)
        api.destroy(&p);
    return NULL;
}

bool nvrtc_compile(Arena *a, Diags *d, const char *source, const char *name, const char *arch, Cubin *out)
{
    double start = clock_seconds();
    *out = (Cubin){0};
    Program p = compile(a, d, source, name, arch, true, &out->log);
    if (!p)
        return false;
    bool ok = api.cubin_size(p, &out->len) == 0 && out->len > 0;
    if (ok) {
        char *bytes = arena_alloc(a, out->len);
        ok = api.cubin(p, bytes) == 0;
        out->cubin = bytes;
    }
    api.destroy(&p);
    if (!ok)
        return diag_error(d, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "NVRTC gave no cubin for %s on %s", name, arch);
    cubin_usage(out);
    out->seconds = clock_seconds() - start;
    return true;
}

bool nvrtc_ptx(Arena *a, Diags *d, const char *source, const char *name, const char *arch, char **ptx)
{
    const char *log;
    size_t n = 0;
    Program p = compile(a, d, source, name, arch, false, &log);
    if (!p)
        return false;
    bool ok = api.ptx_size(p, &n) == 0 && n > 0;
    if (ok) {
        *ptx = arena_alloc(a, n + 1);
        ok = api.ptx(p, *ptx) == 0;
    }
    api.destroy(&p);
    return ok || diag_error(d, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "NVRTC gave no PTX for %s", name);
}
