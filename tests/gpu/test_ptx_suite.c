/* tests/gpu/test_ptx_suite.c — the suite "agreement with silicon" on a real GPU; exits 77 with the reason where there is none.
 *
 *   test_ptx_suite                 compares with tests/sim/golden/silicon.bin, where that is found; runs everything twice
 *   test_ptx_suite --write DIR     writes DIR/silicon.bin (so does PTX_SUITE_WRITE=DIR in the environment)
 *   test_ptx_suite NAME...         only these
 *
 * A child process runs the programs one after the other and leaves the results in shared memory. A program that takes its context
 * down, or does not end, takes only that child: the next one goes on behind it. */
#include "base/diag.h"
#include "runtime/cuda/driver.h"
#include "tests/sim/suite.h"
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WHY_BYTES = 600, PATIENCE_SECONDS = 30 };
enum { NOT_RUN, RAN, FAILED, LEFT_OUT };

typedef struct {                       /* shared between parent and child */
    volatile size_t current;           /* program, or suite_count before the first */
    char no_device[WHY_BYTES], device[128];
    struct { volatile int state; char why[WHY_BYTES]; } of[];
} Board;

typedef struct {
    const CudaDriver *cu;
    int (*encode)(void *map, int type, unsigned rank, void *base, const uint64_t *dims, const uint64_t *strides, const uint32_t *box,
                  const uint32_t *steps, int interleave, int swizzle, int promotion, int fill);      /* cuTensorMapEncodeTiled */
    char log[WHY_BYTES - 100];
} Gpu;

/* ---- one program ---- */

static bool said(const Gpu *g, int result, const char *doing, char *why)
{
    const char *name = NULL;
    if (result == CU_OK)
        return true;
    g->cu->GetErrorName(result, &name);
    snprintf(why, WHY_BYTES, "%s: %s %s", doing, name ? name : "unknown error", g->log);
    return false;
}

typedef struct { _Alignas(64) unsigned char bytes[128]; } Map;

static bool encode_map(const Gpu *g, const SuiteMap *m, CuPtr in, CuPtr out, Map *map, char *why)
{
    static const int types[] = {[MAP_U8] = 0, [MAP_F32] = 7, [MAP_TF32] = 11, [MAP_F16] = 6, [MAP_BF16] = 9, [MAP_U32] = 2};
    CuPtr base = (m->word & SUITE_OUT ? out : in) + 4 * (CuPtr)(m->word & ~(unsigned)SUITE_OUT);
    int swizzle = m->swizzle == 32 ? 1 : m->swizzle == 64 ? 2 : m->swizzle == 128 ? 3 : 0;
    if (!g->encode) {
        snprintf(why, WHY_BYTES, "the driver has no cuTensorMapEncodeTiled");
        return false;
    }
    return said(g, g->encode(map, types[m->type], m->rank, (void *)(uintptr_t)base, m->dims, m->strides, m->box, m->element_strides, 0,
                             swizzle, 0, (int)m->fill), "encoding a tensor map", why);
}

static bool launch(Gpu *g, CuFunction f, const SuiteProgram *p, CuPtr in, CuPtr out, const uint32_t *words, char *why)
{
    Map maps[SUITE_MAX_MAPS];
    const SuiteMap *wanted[SUITE_MAX_MAPS];
    unsigned n_maps = suite_maps_of(p, wanted);
    uint32_t n = p->words_in;
    unsigned char record[64] = {0};
    void *params[3 + SUITE_MAX_MAPS] = {&in, &out, &n, record, record, record};
    memcpy(record, words, p->words_in >= 16 ? 64 : p->words_in * 4);
    for (unsigned i = 0; i < n_maps; i++) {
        if (!encode_map(g, wanted[i], in, out, &maps[i], why))
            return false;
        params[3 + i] = &maps[i];
    }
    if (p->dynamic > 48u << 10 && !said(g, g->cu->FuncSetAttribute(f, CU_FUNC_MAX_DYNAMIC_SHARED, (int)p->dynamic), "shared memory", why))
        return false;
    return said(g, g->cu->LaunchKernel(f, p->grid, 1, 1, p->block, 1, 1, p->dynamic, NULL, params, NULL), "launching", why) &&
           said(g, g->cu->CtxSynchronize(), "running", why);
}

static bool run_once(Gpu *g, const SuiteProgram *p, const uint32_t *words, uint32_t *results, char *why)
{
    const CudaDriver *cu = g->cu;
    size_t in_bytes = (size_t)p->words_in * 4, out_bytes = (size_t)p->words_out * 4;
    CuModule module;
    CuFunction f;
    CuPtr in, out;
    int options[] = {CU_JIT_ERROR_LOG, CU_JIT_ERROR_LOG_BYTES};
    void *values[] = {g->log, (void *)(uintptr_t)sizeof g->log};
    g->log[0] = 0;
    if (!said(g, cu->ModuleLoadDataEx(&module, p->text, 2, options, values), "loading", why))
        return false;
    g->log[0] = 0;
    bool ok = said(g, cu->ModuleGetFunction(&f, module, "test"), "finding the entry", why) &&
              said(g, cu->MemAlloc(&in, in_bytes), "allocating", why) && said(g, cu->MemAlloc(&out, out_bytes), "allocating", why) &&
              said(g, cu->MemcpyHtoDAsync(in, words, in_bytes, NULL), "copying", why) &&
              said(g, cu->MemsetD8Async(out, 0xcd, out_bytes, NULL), "filling", why) && launch(g, f, p, in, out, words, why) &&
              said(g, cu->MemcpyDtoHAsync(results, out, out_bytes, NULL), "copying back", why) &&
              said(g, cu->StreamSynchronize(NULL), "copying back", why);
    if (ok) {
        cu->MemFree(in);
        cu->MemFree(out);
        cu->ModuleUnload(module);
    }
    return ok;
}

/* Twice, with the module loaded afresh: what differs is no golden. */
static bool run_program(Gpu *g, const SuiteProgram *p, uint32_t *results, char *why)
{
    uint32_t *in = calloc(p->words_in, 4), *again = calloc(p->words_out, 4);
    char where[200];
    suite_input(p, in);
    bool ok = run_once(g, p, in, results, why) && run_once(g, p, in, again, why);
    if (ok && suite_compare(p, results, again, where, sizeof where)) {
        snprintf(why, WHY_BYTES, "two runs differ: %s", where);
        ok = false;
    }
    free(in);
    free(again);
    return ok;
}

/* ---- the child ---- */

static bool open_gpu(Gpu *g, Board *board)
{
    Arena *a = arena_new();
    Diags *d = diags_new(a);
    const CudaDevice *v = cuda_device(0);
    *g = (Gpu){.cu = v->available ? cuda_driver(NULL) : NULL};
    if (!v->available || !g->cu || v->sm_major != 9) {
        snprintf(board->no_device, WHY_BYTES, "%s", !v->available ? v->why_not : "the suite is for compute capability 9.0");
        return false;
    }
    CuContext ctx = cuda_context(0, d);
    if (!ctx || g->cu->CtxPush(ctx) != CU_OK) {
        diags_print(d, stderr, false);
        return false;
    }
    snprintf(board->device, sizeof board->device, "%s, driver %d", v->name, v->driver_version);
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    void *symbol = library ? dlsym(library, "cuTensorMapEncodeTiled") : NULL;
    memcpy(&g->encode, &symbol, sizeof symbol);
    return true;
}

static void child(Board *board, uint32_t *const results[], size_t from)
{
    Gpu g;
    if (!open_gpu(&g, board))
        _exit(3);
    for (size_t i = from; i < suite_count; i++) {
        if (board->of[i].state == LEFT_OUT)
            continue;
        board->current = i;
        bool ok = run_program(&g, &suite_programs[i], results[i], board->of[i].why);
        board->of[i].state = ok ? RAN : FAILED;
        if (!ok)
            _exit(4);                  /* the context may be gone */
    }
    _exit(0);
}

/* ---- the parent ---- */

static void *shared(size_t bytes)
{
    void *p = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* The child's exit status, or -1 where it made no progress and was ended. */
static int attend(pid_t pid, const Board *board)
{
    size_t last = board->current;
    unsigned idle = 0;
    for (int status; ; ) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
        usleep(20000);
        idle = board->current == last ? idle + 1 : 0;
        last = board->current;
        if (idle > PATIENCE_SECONDS * 50) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return -1;
        }
    }
}

static bool run_all(Board *board, uint32_t *const results[])
{
    for (size_t from = 0; from < suite_count; ) {
        board->current = suite_count;
        pid_t pid = fork();
        if (pid == 0)
            child(board, results, from);
        int status = pid > 0 ? attend(pid, board) : 3;
        if (status == 0)
            return true;
        if (status == 3 || board->current == suite_count)
            return false;
        from = board->current + 1;
        if (board->of[from - 1].state != FAILED) {
            board->of[from - 1].state = FAILED;
            snprintf(board->of[from - 1].why, WHY_BYTES, status < 0 ? "it does not end" : "the process died");
        }
    }
    return true;
}

static unsigned report(const Board *board, uint32_t *const results[], const SuiteGolden *golden)
{
    unsigned bad = 0, same = 0, ran = 0;
    for (size_t i = 0; i < suite_count; i++) {
        const SuiteProgram *p = &suite_programs[i];
        char why[300];
        size_t wrong = 0;
        if (board->of[i].state == LEFT_OUT)
            continue;
        if (board->of[i].state != RAN) {
            printf("FAILED %s: %s\n", p->name, board->of[i].why);
            bad++;
            continue;
        }
        ran++;
        if (golden && golden->words[i] && (wrong = suite_compare(p, golden->words[i], results[i], why, sizeof why)) != 0) {
            printf("DIFFERS %s: %zu of %u words; %s\n", p->name, wrong, p->words_out, why);
            bad++;
        } else {
            same += golden && golden->words[i];
        }
    }
    printf("%s: %zu programs, %u ran, %u agree with their goldens, %u bad\n", board->device, suite_count, ran, same, bad);
    return bad;
}

static bool is_wanted(const char *name, int argc, char **argv, int first)
{
    for (int i = first; i < argc; i++)
        if (!strcmp(argv[i], name))
            return true;
    return first >= argc;
}

int main(int argc, char **argv)
{
    const char *folder = getenv("PTX_SUITE_WRITE"), *source = getenv("SOURCE_DIR");
    int first = 1;
    if (argc > 2 && !strcmp(argv[1], "--write")) {
        folder = argv[2];
        first = 3;
    }
    Board *board = shared(sizeof *board + suite_count * sizeof board->of[0]);
    uint32_t **results = shared(suite_count * sizeof *results);
    for (size_t i = 0; board && results && i < suite_count; i++) {
        results[i] = shared((size_t)suite_programs[i].words_out * 4);
        if (!is_wanted(suite_programs[i].name, argc, argv, first))
            board->of[i].state = LEFT_OUT;
    }
    if (!board || !results || !run_all(board, results)) {
        printf("SKIP: %s\n", board && board->no_device[0] ? board->no_device : "the GPU could not be opened");
        return 77;
    }
    char path[4096];
    SuiteGolden golden = {0};
    snprintf(path, sizeof path, "%s/tests/sim/golden/silicon.bin", source ? source : ".");
    bool compare = !folder && suite_golden_read(path, &golden);
    unsigned bad = report(board, results, compare ? &golden : NULL);
    if (folder) {
        for (size_t i = 0; i < suite_count; i++)
            if (board->of[i].state != RAN)
                results[i] = NULL;
        snprintf(path, sizeof path, "%s/silicon.bin", folder);
        if (!suite_golden_write(path, results)) {
            printf("cannot write %s\n", path);
            return 7;
        }
        printf("wrote %s\n", path);
    }
    return bad != 0;
}
