/* autotune/device.c — which device is meant, asked of the driver and the file system only. */
#include "autotune/device.h"
#include "base/pool.h"
#include "codegen/emit/emit.h"
#include "runtime/executor.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* "13.1.0.3" of "…/libcublasLt.so.13.1.0.3", symbolic links resolved. */
static const char *library_version(Arena *a, const char *path)
{
    char *real = path && strchr(path, '/') ? realpath(path, NULL) : NULL;
    const char *so = strstr(real ? real : path ? path : "", ".so.");
    const char *version = arena_strdup(a, so ? so + 4 : "unknown");
    free(real);
    return version;
}

/* Without spaces, so that an environment reads as a list of words. */
static const char *one_word(Arena *a, const char *text)
{
    char *w = arena_strdup(a, text);
    for (char *p = w; *p; p++)
        if (isspace((unsigned char)*p))
            *p = '_';
    return w;
}

static Str environment_of(Context *cx, const char *first)
{
    return str_format(cx->strs, "%s emitter=%d space=%d", first, TUNE_EMITTER_VERSION, TUNE_SPACE_VERSION);
}

static Str cuda_environment(Context *cx, const CudaDevice *c, bool use_library)
{
    const char *why, *path = NULL, *nvrtc = NULL, *lt = "none";

    if (use_library && cublaslt_available(&why, &path))
        lt = library_version(cx->arena, path);
    const char *rtc = nvrtc_available(&nvrtc) && nvrtc ? one_word(cx->arena, nvrtc) : "none";
    return environment_of(cx, arena_printf(cx->arena, "driver=%d cublasLt=%s nvrtc=%s", c->driver_version, lt, rtc));
}

static Str arch_of(Context *cx, const CudaDevice *c)
{
    bool features = c->sm_major >= 9;              /* sm_90a, sm_100a …: code for exactly this chip */
    return str_format(cx->strs, "sm_%d%d%s", c->sm_major, c->sm_minor, features ? "a" : "");
}

static TuneDevice host(Context *cx)
{
    Machine m = machine_cpu(cx);
    const char *threads = getenv("PAWL_THREADS");
    int64_t n = 0;

    if (!threads || !str_to_i64(threads, &n) || n < 1 || n > 4096)
        n = m.units;
    return (TuneDevice){
        .target = TARGET_CPU, .threads = (int)n, .spec = str_intern(cx->strs, "cpu"), .name = m.name,
        .arch = m.arch,
        .environment = environment_of(cx, arena_printf(cx->arena, "threads=%d arch=%s", (int)n, m.arch))};
}

/* "cuda" or "cuda:N"; -1: neither. */
static int ordinal_of(const char *spec)
{
    int64_t n;
    if (!strcmp(spec, "cuda"))
        return 0;
    if (strncmp(spec, "cuda:", 5) || !isdigit((unsigned char)spec[5]) || !str_to_i64(spec + 5, &n) || n > 1023)
        return -1;
    return (int)n;
}

bool tune_device(Context *cx, const char *spec, bool use_library, TuneDevice *out)
{
    bool any = !spec || !strcmp(spec, "auto");

    if (spec && !strcmp(spec, "cpu")) {
        *out = host(cx);
        return true;
    }
    int ordinal = any ? 0 : ordinal_of(spec);
    if (ordinal < 0)
        return diag_error(cx->diags, PAWL_EXIT_INVALID, LOC_NONE, "known: auto, cpu, cuda, cuda:N",
                          "unknown device '%s'", spec);
    const CudaDevice *c = cuda_device(ordinal);
    if (!c->available && any) {
        *out = host(cx);
        return true;
    }
    if (!c->available)
        return diag_error(cx->diags, PAWL_EXIT_DEVICE, LOC_NONE, "--device=cpu runs on this machine's processor",
                          "no device %s: %s", spec, c->why_not ? c->why_not : "the driver has none of that number");
    *out = (TuneDevice){
        .target = TARGET_CUDA, .ordinal = ordinal, .spec = str_format(cx->strs, "cuda:%d", ordinal),
        .name = str_intern(cx->strs, c->name), .arch = arch_of(cx, c),
        .environment = cuda_environment(cx, c, use_library)};
    return true;
}

bool tune_device_named(Context *cx, const char *name, const char *arch, TuneDevice *out)
{
    Machine m;
    if (!machine_cuda(cx, arch, &m))
        return false;
    *out = (TuneDevice){.target = TARGET_CUDA, .ordinal = -1, .name = name ? str_intern(cx->strs, name) : m.name,
                        .arch = m.arch, .environment = environment_of(cx, "ahead-of-time")};
    return true;
}
