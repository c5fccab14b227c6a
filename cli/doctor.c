/* cli/doctor.c — `pawl doctor`: what of this machine Pawl can use, and what to do about what is missing. Never fails. */
#include "autotune/db.h"
#include "base/file.h"
#include "base/pool.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "codegen/emit/emit.h"
#include "codegen/machine.h"
#include "pawl_version.h"
#include "runtime/executor.h"
#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <llvm-c/Core.h>
#include <string.h>
#include <unistd.h>

static const Column columns[] = {
    {"component", "component", COL_TEXT},
    {"found", "found", COL_BOOL},
    {"detail", "detail", COL_TEXT},
    {"remedy", NULL, COL_TEXT},
};

typedef struct {
    const char *component;
    bool found;
    const char *detail, *remedy;
} Finding;
typedef struct {
    Arena *arena;
    Vec(Finding) list;
} Findings;

static void row(Findings *f, const char *component, bool found, const char *detail,
                const char *remedy)
{
    Finding x = {component, found, detail ? arena_strdup(f->arena, detail) : "",
                 remedy ? arena_strdup(f->arena, remedy) : NULL};
    vec_push(f->arena, &f->list, x);
}

static void check_host(Cli *c, Findings *t)
{
    Arena *a = c->cx->arena;
    Machine m = machine_cpu(c->cx);
    ThreadPool *pool = pool_new(0);
    row(t, "CPU", true, arena_printf(a, "%s, %s, %d threads", m.name, m.arch, pool_threads(pool)),
        NULL);
    pool_free(pool);

    unsigned major, minor, patch;
    LLVMGetVersion(&major, &minor, &patch);
    row(t, "LLVM", true,
        arena_printf(a, "%u.%u.%u, makes code for the CPU and PTX", major, minor, patch), NULL);

    void *libmvec = dlopen("libmvec.so.1", RTLD_NOW | RTLD_LOCAL);
    bool tanh = libmvec && dlsym(libmvec, "_ZGVdN8v_tanhf");
    row(t, "libmvec", tanh,
        arena_printf(a, "glibc %s, vector exp, tanh, erf", gnu_get_libc_version()),
        tanh ? NULL
             : "glibc 2.35 or newer makes exp, tanh and erf fast on the CPU; without it they are "
               "computed one by one");
    if (libmvec)
        dlclose(libmvec);
}

static void check_cuda(Cli *c, Findings *t)
{
    Arena *a = c->cx->arena;
    const CudaDevice *d = cuda_device(0);
    if (d->driver_version)
        row(t, "CUDA driver", true,
            arena_printf(a, "CUDA %d.%d", d->driver_version / 1000, d->driver_version % 1000 / 10),
            NULL);
    else
        row(t, "CUDA driver", false, d->why_not,
            "install NVIDIA's driver; code for GPUs can be made without it (--device sm_90a)");
    if (d->available)
        row(t, "CUDA device", true,
            arena_printf(a, "%s, sm_%d%d, %d SMs, %s", d->name, d->sm_major, d->sm_minor,
                         d->sm_count, human_bytes(a, (double)d->memory_bytes)),
            NULL);
    else
        row(t, "CUDA device", false, d->why_not, "the CPU is used instead");

    const char *text = NULL, *path = NULL;
    bool found = nvrtc_available(&text);
    row(t, "NVRTC", found, text,
        found ? NULL
              : "CUDA C is not compiled; install the CUDA toolkit's libnvrtc (in Python: "
                "nvidia-cuda-nvrtc)");
    text = NULL;
    found = assembler_available(&text);
    row(t, "assembler", found, text,
        found ? NULL : "the driver compiles PTX instead; install libnvJitLink or ptxas for cubins");
    text = NULL;
    found = cublaslt_available(&text, &path);
    row(t, "cuBLASLt", found, found ? path : text,
        found ? NULL
              : "matrix products on the GPU use our own kernels; install libcublasLt (in Python: "
                "nvidia-cublas)");
}

static void check_places(Cli *c, Findings *t)
{
    Arena *a = c->cx->arena;
    const char *path = db_default_path(a, NULL);
    if (!file_exists(path)) {
        row(t, "database", false, path, "`pawl tune` creates it");
    } else {
        DbCounts n;
        Db *db = db_open(c->cx, path, DB_READ);
        bool ok = db && db_count(db, &n);
        const Diag *d = ok || !diags_count(c->cx->diags) ? NULL : diags_at(c->cx->diags, 0);
        row(t, "database", ok,
            ok  ? arena_printf(a, "%s: %lld tunings, %lld choices, %s", path, (long long)n.tunings,
                               (long long)n.choices, human_bytes(a, (double)n.bytes))
            : d ? d->text
                : path,
            ok ? access(path, W_OK) ? "it is read-only: `pawl tune` cannot add to it" : NULL
            : d && d->hint ? d->hint
                           : "move it away; `pawl tune` makes a new one");
        db_close(db);
        diags_clear(c->cx->diags);
    }
}

static void print_text(Cli *c, const Findings *f)
{
    for (uint32_t i = 0; i < f->list.n; i++) {
        const Finding *x = &f->list.data[i];
        fprintf(c->out, "%-12s %-7s %s\n", x->component, x->found ? "found" : "absent", x->detail);
        if (x->remedy)
            fprintf(c->out, "%-20s -> %s\n", "", x->remedy);
    }
}

static ExitCode run_doctor(Cli *c)
{
    Findings f = {.arena = c->cx->arena};
    row(&f, "pawl", true, PAWL_VERSION, NULL);
    check_host(c, &f);
    check_cuda(c, &f);
    check_places(c, &f);
    if (c->o.format == FORMAT_TEXT) {
        print_text(c, &f);
        return PAWL_EXIT_OK;
    }
    Table *t = table_new(c->cx->arena, columns, sizeof columns / sizeof columns[0]);
    for (uint32_t i = 0; i < f.list.n; i++) {
        table_text(t, f.list.data[i].component);
        table_bool(t, f.list.data[i].found);
        table_text(t, f.list.data[i].detail);
        table_text(t, f.list.data[i].remedy);
    }
    table_print(t, c->out, (Format)c->o.format);
    return PAWL_EXIT_OK;
}

static const OptionGroup *const groups[] = {&options_general, NULL};
const Command command_doctor = {
    .name = "doctor",
    .args = "",
    .about = "Show what of this machine can be used, and what is missing.",
    .more = "Nothing that is absent is an error: each line says what that means and what to do.",
    .groups = groups,
    .run = run_doctor,
};
