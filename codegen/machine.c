/* codegen/machine.c — built-in figures of GPUs and of this host; autotune/ceilings.c replaces the ceilings by measured ones.
 * Sources: NVIDIA's architecture white papers; H200's row is measured (copy 4.3 TB/s, bf16 770–800 TFLOP/s, tf32 400–440). */
#include "codegen/machine.h"

#include "codegen/emit/emit.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    const char *arch, *name;
    int units, threads_unit;
    uint32_t shared_block;
    double l2, bandwidth, fma, bf16, tf32, mma;        /* mma: rate of mma.sync; where wgmma or tcgen05 is faster, less than 1 (B200: a guess) */
} Board;

static const Board boards[] = {
    /* arch      board             SMs  thr/SM  shared/block       L2  bytes/s      fma     bf16     tf32   mma */
    {"sm_80",   "NVIDIA A100",     108,  2048,  163 * 1024,   40e6,  1.75e12, 19.5e12,  290e12,  145e12, 1.00},
    {"sm_86",   "NVIDIA A10",       72,  1536,   99 * 1024,    6e6,  0.54e12,   31e12,   62e12,   31e12, 1.00},
    {"sm_89",   "NVIDIA L40S",     142,  1536,   99 * 1024,   96e6,  0.77e12,   91e12,  330e12,  165e12, 1.00},
    {"sm_90a",  "NVIDIA H200",     132,  2048,  227 * 1024,   60e6,   4.3e12,   51e12,  780e12,  420e12, 0.62},
    {"sm_90",   "NVIDIA H200",     132,  2048,  227 * 1024,   60e6,   4.3e12,   51e12,  780e12,  420e12, 0.62},
    {"sm_100a", "NVIDIA B200",     148,  2048,  227 * 1024,  126e6,   7.2e12,   70e12, 2000e12, 1000e12, 0.25},
    {"sm_120a", "NVIDIA RTX 5090", 170,  1536,   99 * 1024,   96e6,   1.6e12,  100e12,  210e12,  105e12, 1.00},
};
enum { N_BOARDS = sizeof boards / sizeof *boards };

bool machine_cuda(Context *cx, const char *arch, Machine *out)
{
    const char *names[N_BOARDS];
    for (size_t i = 0; i < N_BOARDS; i++) {
        const Board *b = &boards[i];
        names[i] = b->arch;
        if (strcmp(b->arch, arch) != 0)
            continue;
        *out = (Machine){
            .target = TARGET_CUDA, .name = str_intern(cx->strs, b->name), .arch = str_intern(cx->strs, b->arch),
            .units = b->units, .max_threads_unit = b->threads_unit,
            .shared_block = b->shared_block, .l2_bytes = b->l2, .cluster = atoi(arch + 3) >= 90 ? 8 : 1,
            .copy_bandwidth = b->bandwidth, .flops_fma = b->fma, .flops_bf16 = b->bf16, .flops_tf32 = b->tf32,
            .launch_seconds = 1.2e-6, .vector_bytes = 16, .has_library = true,
            .tensor_cores = true, .wgmma = strcmp(arch, "sm_90a") == 0, .mma_rate = b->mma,
        };
        return true;
    }
    StrBuf known = strbuf_new(cx->scratch);
    for (size_t i = 0; i < N_BOARDS; i++)
        strbuf_printf(&known, "%s%s", i ? ", " : "", names[i]);
    const char *near = str_nearest(arch, names, N_BOARDS);
    char *hint = near ? arena_printf(cx->arena, "did you mean %s? known: %s", near, known.text)
                      : arena_printf(cx->arena, "known: %s", known.text);
    return diag_error(cx->diags, PAWL_EXIT_INVALID, LOC_NONE, hint, "unknown GPU architecture `%s`", arch);
}

/* The first value of `key` in /proc/cpuinfo, copied into `out`; false when there is none. */
static bool cpuinfo_line(const char *key, char *out, size_t cap)
{
    char line[4096];
    FILE *f = fopen("/proc/cpuinfo", "r");
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (!colon || strncmp(line, key, strlen(key)) != 0)
            continue;
        colon += 1 + (colon[1] == ' ');
        colon[strcspn(colon, "\n")] = 0;
        snprintf(out, cap, "%s", colon);
        found = true;
    }
    if (f)
        fclose(f);
    return found;
}

static int processors(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
}

Machine machine_cpu(Context *cx)
{
    char name[256] = "CPU", mhz[64] = "2500";
    cpuinfo_line("model name", name, sizeof name);
    cpuinfo_line("cpu MHz", mhz, sizeof mhz);
    const char *arch = host_arch();
    double clock = 2.5e9, from_file;
    if (str_to_double(mhz, &from_file) && from_file > 500)
        clock = from_file * 1e6;
    int n = processors();
    uint32_t vector = strcmp(arch, "x86-64-v4") == 0 ? 64 : strcmp(arch, "x86-64-v3") == 0 ? 32 : 16;
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    double fma = (double)n * clock * 2 * 2 * vector / 4;          /* two pipes, two operations an FMA */
    return (Machine){
        .target = TARGET_CPU, .name = str_intern(cx->strs, name), .arch = str_intern(cx->strs, arch), .units = n,
        .max_threads_unit = 1, .shared_block = 256 * 1024, .cluster = 1,
        .l2_bytes = cache > 0 ? (double)cache : 8e6,
        .copy_bandwidth = n < 4 ? 12e9 * n : 50e9, .flops_fma = fma, .flops_bf16 = fma, .flops_tf32 = fma,
        .launch_seconds = 2e-6, .vector_bytes = vector,
    };
}
