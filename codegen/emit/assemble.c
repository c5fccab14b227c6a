/* codegen/emit/assemble.c — PTX to cubin: nvJitLink where it is found, else the ptxas program. */
#include "base/file.h"
#include "codegen/emit/cuda_find.h"
#include "codegen/emit/emit.h"

#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* https://docs.nvidia.com/cuda/nvjitlink/ ; declarations of our own, so that it builds without CUDA's headers. */
typedef struct nvJitLink *Link;
enum { INPUT_PTX = 2 };

static struct {
    int (*version)(unsigned *, unsigned *);
    int (*create)(Link *, uint32_t, const char **);
    int (*destroy)(Link *);
    int (*add)(Link, int, const void *, size_t, const char *);
    int (*complete)(Link);
    int (*cubin_size)(Link, size_t *);
    int (*cubin)(Link, void *);
    int (*error_size)(Link, size_t *);
    int (*error)(Link, char *);
    int (*info_size)(Link, size_t *);
    int (*info)(Link, char *);
} api;

static const CudaSymbol symbols[] = {
    {"nvJitLinkVersion", (void **)&api.version},
    {"nvJitLinkCreate", (void **)&api.create},
    {"nvJitLinkDestroy", (void **)&api.destroy},
    {"nvJitLinkAddData", (void **)&api.add},
    {"nvJitLinkComplete", (void **)&api.complete},
    {"nvJitLinkGetLinkedCubinSize", (void **)&api.cubin_size},
    {"nvJitLinkGetLinkedCubin", (void **)&api.cubin},
    {"nvJitLinkGetErrorLogSize", (void **)&api.error_size},
    {"nvJitLinkGetErrorLog", (void **)&api.error},
    {"nvJitLinkGetInfoLogSize", (void **)&api.info_size},
    {"nvJitLinkGetInfoLog", (void **)&api.info},
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool linker, program;
static char about[1200], ptxas[1024];

static void load(void)
{
    static const char *const names[] = {"libnvJitLink.so.13", "libnvJitLink.so.12", NULL};
    unsigned major = 0, minor = 0;
    char why[256];
    linker = cuda_library("PAWL_NVJITLINK", names, symbols, sizeof symbols / sizeof *symbols, "nvJitLink", why, sizeof why);
    if (linker) {
        api.version(&major, &minor);
        snprintf(about, sizeof about, "nvJitLink %u.%u", major, minor);
        return;
    }
    program = cuda_toolkit_file("PAWL_PTXAS", "bin/ptxas", ptxas, sizeof ptxas);
    if (program)
        snprintf(about, sizeof about, "%s", ptxas);
    else
        snprintf(about, sizeof about, "no PTX assembler: %s; bin/ptxas (PAWL_PTXAS) is not there either", why);
}

bool assembler_available(const char **version_or_why_not)
{
    pthread_once(&once, load);
    if (version_or_why_not)
        *version_or_why_not = about;
    return linker || program;
}

static const char *take_text(Arena *a, Link h, int (*size)(Link, size_t *), int (*get)(Link, char *))
{
    size_t n = 0;
    if (!h || size(h, &n) != 0 || n <= 1)
        return "";
    char *text = arena_alloc(a, n + 1);
    return get(h, text) == 0 ? text : "";
}

static bool link_ptx(Arena *a, Diags *d, const char *ptx, const char *arch, Cubin *out)
{
    Link h = NULL;
    const char *options[] = {arena_printf(a, "-arch=%s", arch), "-verbose", "-O3"};
    bool ok = api.create(&h, 3, options) == 0 && api.add(h, INPUT_PTX, ptx, strlen(ptx) + 1, "kernel.ptx") == 0 && api.complete(h) == 0 &&
              api.cubin_size(h, &out->len) == 0;
    if (ok) {
        void *bytes = arena_alloc(a, out->len);
        ok = api.cubin(h, bytes) == 0;
        out->cubin = bytes;
    }
    out->log = take_text(a, h, api.info_size, api.info);
    if (!ok)
        diag_error(d, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "nvJitLink rejects the PTX for %s:\n%s%s", arch,
                   take_text(a, h, api.error_size, api.error), out->log);
    if (h)
        api.destroy(&h);
    return ok;
}

/* Runs ptxas with its output in `log`; its exit status, or -1. */
static int run_ptxas(const char *arch, const char *in, const char *to, const char *log)
{
    char *arguments[] = {ptxas, "-v", "-O3", "-arch", (char *)(uintptr_t)arch, (char *)(uintptr_t)in, "-o", (char *)(uintptr_t)to, NULL};
    posix_spawn_file_actions_t actions;
    pid_t child;
    int status = -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    if (posix_spawn(&child, ptxas, &actions, NULL, arguments, environ) == 0 && waitpid(child, &status, 0) != child)
        status = -1;
    posix_spawn_file_actions_destroy(&actions);
    return status == -1 || !WIFEXITED(status) ? -1 : WEXITSTATUS(status);
}

static bool run_assembler(Arena *a, Diags *d, const char *ptx, const char *arch, Cubin *out)
{
    const char *tmp = getenv("TMPDIR");
    char *folder = arena_printf(a, "%s/pawl-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return diag_error(d, PAWL_EXIT_IO, LOC_NONE, NULL, "cannot make a folder for ptxas below %s", tmp && *tmp ? tmp : "/tmp");
    char *in = arena_printf(a, "%s/k.ptx", folder), *to = arena_printf(a, "%s/k.cubin", folder), *log = arena_printf(a, "%s/log", folder);
    bool ok = file_write(d, in, ptx, strlen(ptx));
    if (ok && run_ptxas(arch, in, to, log) != 0) {
        const char *text = file_exists(log) ? file_read(a, d, log, NULL) : NULL;
        ok = diag_error(d, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "ptxas rejects the PTX for %s:\n%s", arch, text ? text : "");
    }
    if (ok) {
        out->log = file_read(a, d, log, NULL);
        out->cubin = file_read(a, d, to, &out->len);
        ok = out->cubin != NULL;
    }
    unlink(in);
    unlink(to);
    unlink(log);
    rmdir(folder);
    return ok;
}

bool ptx_assemble(Arena *a, Diags *d, const char *ptx, const char *arch, Cubin *out)
{
    double start = clock_seconds();
    *out = (Cubin){0};
    if (!assembler_available(NULL))
        return diag_error(d, PAWL_EXIT_DEVICE, LOC_NONE, "set PAWL_CUDA_LIBS to the folder of libnvJitLink, or PAWL_PTXAS", "%s", about);
    bool ok = linker ? link_ptx(a, d, ptx, arch, out) : run_assembler(a, d, ptx, arch, out);
    if (ok)
        cubin_usage(out);
    out->seconds = clock_seconds() - start;
    return ok;
}
