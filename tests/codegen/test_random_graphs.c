/* Random graphs through every way of compiling them, each held against the evaluator:
 *   on the CPU fused, unfused, in other schedules, rewritten by the passes with random choices, generic in a symbol;
 *   GPU kernels interpreted in several schedules; PTX of some on the simulator; a few compiled by NVRTC where it is found.
 * A graph runs in a process of its own, so that a crash is a failure like others; what fails is shrunk before it is printed.
 *   PAWL_FUZZ_SEEDS=N  how many graphs (default: few)       PAWL_FUZZ_START=K  from this seed on
 *   PAWL_FUZZ_SHRINK=0  do not shrink                       PAWL_FUZZ_SHOW=1   print the graphs */
#include "base/file.h"
#include "codegen/emit/emit.h"
#include "ir/text.h"
#include "tests/codegen/random_graph.h"
#include "tests/codegen/run_graph.h"
#include "tests/codegen/simulate.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { FUSED, UNFUSED, SCHEDULE_1, SCHEDULE_2, PASSES, GENERIC, GENERIC_PASSES, GPU_FIRST, GPU_SECOND, GPU_THIRD, PTX, NVRTC, N_WAYS };
static const char *const way_names[N_WAYS] = {
    "fused", "unfused", "second schedules", "third schedules", "passes", "generic", "generic after passes", "GPU, first schedules",
    "GPU, second schedules", "GPU, third schedules", "PTX on the simulator", "NVRTC",
};
enum { DEFAULT_SEEDS = 40, SLOWEST = 10 };
enum { LIMIT_SECONDS = 120 };

/* ---- one graph, one way ------------------------------------------------------------------------------------------------------- */
static bool compile_only(Kernel *k, const char *arch, void *arg)
{
    Cubin cubin;
    (void)arg;
    return nvrtc_compile(k->cx->arena, k->cx->diags, emit_cuda(k->cx->arena, &k, 1), "fuzz", arch, &cubin);
}

/* GPU kernels are interpreted with the symbol replaced, weights as inputs. */
static char *specialised_text(Arena *a, const RandomGraph *g)
{
    char *text = random_graph_text(a, g, true);
    if (!g->symbolic)
        return text;
    Context *cx = context_new();
    Graph *graph = graph_parse(cx, source_from_text(cx->arena, "test", text));
    Graph *special = graph ? graph_specialise(graph, &(DimValue){str_intern(cx->strs, "S"), g->at[1]}, 1) : NULL;
    char *out = special ? arena_strdup(a, graph_text(cx->arena, special)) : NULL;
    context_free(cx);
    return out;
}

static bool run_way(const RandomGraph *g, int way, uint64_t seed, double *seconds)
{
    char *text = random_graph_text(g->arena, g, false);
    uint32_t n = g->symbolic ? 1 : 0;
    RunOptions o = {.fuse = true, .symbol = &g->at[1], .n_symbol = n, .seconds = seconds};
    if ((way < GENERIC || way == PTX) && g->symbolic) {                            /* the symbol replaced before compiling */
        Context *cx = context_new();
        Graph *graph = graph_parse(cx, source_from_text(cx->arena, "test", text));
        Graph *special = graph ? graph_specialise(graph, &(DimValue){str_intern(cx->strs, "S"), g->at[seed % 3]}, 1) : NULL;
        if (!special)
            diags_print(cx->diags, stderr, false);
        text = special ? arena_strdup(g->arena, graph_text(cx->arena, special)) : NULL;
        context_free(cx);
        if (!text)
            return false;
        o.n_symbol = 0;
    }
    switch (way) {
    case UNFUSED:    o.fuse = false; break;
    case PTX:        o.sim = true, o.schedule = (uint32_t)(seed / 4 % 3); break;
    case SCHEDULE_1: o.schedule = 1; break;
    case SCHEDULE_2: o.schedule = 2; break;
    case PASSES:     o.passes = true, o.picks = seed, o.split_k = seed % 2 ? 16 : 0; break;
    case GENERIC: case GENERIC_PASSES:
        o.passes = way == GENERIC_PASSES, o.picks = seed;
        o.symbol = g->at, o.n_symbol = 3;
        break;
    case GPU_FIRST: case GPU_SECOND: case GPU_THIRD: case NVRTC: {
        SimulateOptions so = {.arch = "sm_90a", .schedule = (uint32_t)(way - GPU_FIRST) % 3, .instead = way == NVRTC ? compile_only : NULL};
        char *special = specialised_text(g->arena, g);
        return special && simulate_graph(special, &so, seed);
    }
    default: break;
    }
    return run_graph(text, &o, seed);
}

static bool way_applies(const RandomGraph *g, int way, uint64_t seed, bool all)
{
    if (way == GENERIC || way == GENERIC_PASSES)
        return g->symbolic;
    if (way == NVRTC)
        return seed % 16 == 0 && nvrtc_available(NULL);
    if (way == PTX && seed % 4)
        return false;
    return all || way == FUSED || way == PTX || way == PASSES || way == GPU_FIRST || (uint64_t)way % 3 == seed % 3;
}

/* ---- in a process of its own ----------------------------------------------------------------------------------------------------- */
typedef struct { int way; double seconds; } Shared;

typedef enum { RAN, FAILED, CRASHED } Ending;

/* What `way` does; or all of them, up to the first that fails (*failed). */
static Ending isolated(const RandomGraph *g, int way, uint64_t seed, bool quiet, Shared *shared)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (quiet) {
            int null = open("/dev/null", O_WRONLY);
            dup2(null, 1);
            dup2(null, 2);
        }
        static const int signals[] = {SIGSEGV, SIGABRT, SIGFPE, SIGBUS, SIGILL};
        for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
            signal(signals[i], SIG_DFL);                           /* not the fixture's */
        alarm(LIMIT_SECONDS);
        bool ok = true;
        for (int w = way < 0 ? 0 : way; ok && w < (way < 0 ? (int)N_WAYS : way + 1); w++) {
            shared->way = w;
            if (way >= 0 || way_applies(g, w, seed, getenv("PAWL_FUZZ_ALL") != NULL))
                ok = run_way(g, w, seed, &shared->seconds);
        }
        fflush(NULL);
        _exit(ok ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) < 2)
        return WEXITSTATUS(status) ? FAILED : RAN;
    return CRASHED;
}

/* A shrunk graph must be a graph (its specialisation too), and fail in the same manner. */
typedef struct { int way; uint64_t seed; Ending ending; Shared *shared; } Wanted;

static bool still_fails(void *arg, const RandomGraph *g)
{
    Wanted *w = arg;
    Context *cx = context_new();
    Graph *graph = graph_parse(cx, source_from_text(cx->arena, "test", random_graph_text(g->arena, g, false)));
    bool is_graph = graph && (!g->symbolic || graph_specialise(graph, &(DimValue){str_intern(cx->strs, "S"), g->at[1]}, 1));
    context_free(cx);
    return is_graph && isolated(g, w->way, w->seed, true, w->shared) == w->ending;
}

/* ---- many ------------------------------------------------------------------------------------------------------------------------ */
typedef struct { uint64_t seed; double seconds; } Slow;

static void note_slow(Slow *slow, uint64_t seed, double seconds)
{
    for (int i = 0; i < SLOWEST; i++)
        if (seconds > slow[i].seconds) {
            memmove(slow + i + 1, slow + i, (size_t)(SLOWEST - i - 1) * sizeof *slow);
            slow[i] = (Slow){seed, seconds};
            return;
        }
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *v = getenv(name);
    return v && *v ? strtoull(v, NULL, 10) : otherwise;
}

static void report(const RandomGraph *g, uint64_t seed, Ending ending, Shared *shared)
{
    Wanted w = {shared->way, seed, ending, shared};
    RandomGraph small = *g;
    if (setting("PAWL_FUZZ_SHRINK", 1))
        small = random_graph_shrink(g, still_fails, &w);
    fprintf(stderr, "---- seed %llu, %s: %s\n", (unsigned long long)seed, way_names[w.way], ending == FAILED ? "fails" : "crashes");
    isolated(&small, w.way, seed, false, shared);
    fprintf(stderr, "---- the graph (seed %llu, %s):\n%s\n", (unsigned long long)seed, way_names[w.way], random_graph_text(g->arena, &small, false));
}

static void random_graphs(void **state)
{
    (void)state;
    uint64_t start = setting("PAWL_FUZZ_START", 1), n = setting("PAWL_FUZZ_SEEDS", DEFAULT_SEEDS), failed = 0;
    Shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    Slow slow[SLOWEST] = {0};
    for (uint64_t seed = start; seed < start + n; seed++) {
        Arena *a = arena_new();
        RandomGraph g = random_graph(a, seed);
        if (setting("PAWL_FUZZ_SHOW", 0))
            printf("%s\n", random_graph_text(a, &g, false));
        *shared = (Shared){0};
        Ending e = isolated(&g, -1, seed, true, shared);
        note_slow(slow, seed, shared->seconds);
        if (e != RAN) {
            failed++;
            report(&g, seed, e, shared);
        }
        arena_free(a);
    }
    for (int i = 0; i < SLOWEST && n > DEFAULT_SEEDS; i++)
        printf("seed %llu compiles in %.0f ms\n", (unsigned long long)slow[i].seed, slow[i].seconds * 1e3);
    munmap(shared, sizeof *shared);
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_graphs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
