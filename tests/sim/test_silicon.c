/* tests/sim/test_silicon.c — every program of the suite on the simulator, against what a real GPU made of it (golden/silicon.bin): bit
 * by bit, approximations within their documented bounds. Each runs with asynchronous operations late, early, and with warps and
 * CTAs in another order; the checker must find nothing. The matrix products are also held to the host's. */
#include "runtime/sim/sim.h"
#include "runtime/sim/tensor_map.h"
#include "tests/sim/suite.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static SuiteGolden golden;
static bool have_golden;
static unsigned compared, skipped;

typedef struct { SimAsync async; uint64_t schedule; const char *name; } Way;
static const Way ways[] = {{SIM_LATE, 0, "late"}, {SIM_EARLY, 0, "early"}, {SIM_LATE, 7, "late, another order"}};

typedef struct { _Alignas(64) unsigned char bytes[TENSOR_MAP_BYTES]; } Map128;

static void encode(const SuiteMap *m, uint64_t in, uint64_t out, Map128 *to)
{
    static const PtxType types[] = {[MAP_U8] = PT_U8, [MAP_F32] = PT_F32, [MAP_TF32] = PT_TF32, [MAP_F16] = PT_F16, [MAP_BF16] = PT_BF16, [MAP_U32] = PT_U32};
    SimTensorMap t = {.type = types[m->type], .rank = m->rank, .swizzle = m->swizzle, .fill_nan = m->fill == MAP_NAN,
                      .base = (m->word & SUITE_OUT ? out : in) + 4 * (uint64_t)(m->word & ~(unsigned)SUITE_OUT)};
    for (unsigned d = 0; d < m->rank; d++) {
        t.dims[d] = m->dims[d];
        t.box[d] = m->box[d];
        t.steps[d] = m->element_strides[d];
        if (d)
            t.strides[d - 1] = m->strides[d - 1];
    }
    const char *wrong = sim_tensor_map_encode(&t, to);
    if (wrong)
        fail_msg("tensor map of %s: %s", m->program, wrong);
}

/* Runs a program; false: the reason has been printed. */
static bool run(const SuiteProgram *p, const Way *way, uint32_t *results)
{
    Arena *a = arena_new();
    Diags *d = diags_new(a);
    SimMemory *memory = sim_memory_new();
    uint32_t *words = calloc(p->words_in, 4), n = p->words_in;
    suite_input(p, words);
    memset(results, 0xcd, (size_t)p->words_out * 4);
    uint64_t in = sim_memory_add(memory, &(SimBuffer){.name = "in", .data = words, .bytes = (uint64_t)p->words_in * 4, .initialised = true});
    uint64_t out = sim_memory_add(memory, &(SimBuffer){.name = "out", .data = results, .bytes = (uint64_t)p->words_out * 4});
    Map128 maps[SUITE_MAX_MAPS] = {0};
    const SuiteMap *wanted[SUITE_MAX_MAPS];
    unsigned n_maps = suite_maps_of(p, wanted);
    unsigned char record[64] = {0};
    const void *args[3 + SUITE_MAX_MAPS] = {&in, &out, &n, record, record, record};
    memcpy(record, words, p->words_in >= 16 ? 64 : p->words_in * 4);
    for (unsigned i = 0; i < n_maps; i++) {
        encode(wanted[i], in, out, &maps[i]);
        args[3 + i] = &maps[i];
    }
    char name[64];
    snprintf(name, sizeof name, "%s.ptx", p->name);
    PtxModule *module = ptx_read(a, d, source_from_text(a, name, p->text));
    const PtxFunction *f = module ? ptx_entry(module, "test") : NULL;
    bool ok = f != NULL;
    if (ok) {
        SimLaunch launch = {.entry = "test", .grid = {p->grid, 1, 1}, .block = {p->block, 1, 1}, .dynamic_shared = p->dynamic, .args = args,
                            .n_args = f->params.n, .max_steps = 1u << 22, .async = way->async, .schedule = way->schedule};
        SimResult r = {0};
        ok = sim_run(memory, module, &launch, a, d, &r);
        for (uint32_t i = 0; i < r.n_faults; i++)
            sim_fault_diagnose(module, &r.faults[i], d);
        ok = ok && r.finished && r.n_faults == 0;
    }
    if (!ok)
        diags_print(d, stderr, false);
    sim_memory_free(memory);
    arena_free(a);
    free(words);
    return ok;
}

/* ---- the matrix products, on the host ---- */

static double value_of(const SuiteProgram *p, const uint32_t *words, uint32_t i)
{
    bool bf16 = p->input == INPUT_SMALL_BF16;
    uint32_t w = bf16 ? (words[i / 2] >> (16 * (i % 2))) << 16 : words[i];
    float f;
    memcpy(&f, &w, 4);
    return f;
}

/* Row of A times row of B, both K-major with `k_all` elements, A's first. */
static uint32_t host_dot(const SuiteProgram *p, const uint32_t *words, uint32_t rows, uint32_t k_all, uint32_t i, uint32_t j)
{
    double sum = 0;
    uint32_t bits;
    for (uint32_t k = 0; k < k_all; k++)
        sum += value_of(p, words, i * k_all + k) * value_of(p, words, (rows + j) * k_all + k);
    memcpy(&bits, &(float){(float)sum}, 4);
    return bits;
}

/* What the products of the suite must give: row by row, or (the pipeline) as wgmma's fragments, 32 words a thread. False: no product. */
static bool host_product(const SuiteProgram *p, uint32_t *expected)
{
    bool pipeline = !strcmp(p->name, "pipeline_bf16");
    if (!pipeline && strncmp(p->name, "matmul_", 7))
        return false;
    uint32_t *words = calloc(p->words_in, 4), n = pipeline ? 64 : 128, k_all = pipeline ? 448 : 64;
    suite_input(p, words);
    for (uint32_t at = 0; at < p->words_out; at++) {
        uint32_t t = at / 32, r = at % 32, i = at / n, j = at % n;
        if (pipeline) {
            i = t / 32 * 16 + t % 32 / 4 + (r >> 1 & 1) * 8;
            j = r / 4 * 8 + t % 4 * 2 + (r & 1);
        }
        expected[at] = host_dot(p, words, n, k_all, i, j);
    }
    free(words);
    return true;
}

/* ---- one program ---- */

static void test_program(void **state)
{
    const SuiteProgram *p = *state;
    size_t i = (size_t)(p - suite_programs);
    uint32_t *got = calloc(p->words_out, 4), *expected = calloc(p->words_out, 4);
    bool known = have_golden && golden.words[i];
    char why[300], name[400] = "";
    size_t wrong = 0;
    bool ran = true;
    if (host_product(p, expected)) {
        wrong = known ? suite_compare(p, golden.words[i], expected, why, sizeof why) : 0;
        if (wrong)
            print_error("the GPU and the host differ\n");
        known = true;
    } else if (known) {
        memcpy(expected, golden.words[i], (size_t)p->words_out * 4);
    }
    for (size_t k = 0; k < sizeof ways / sizeof *ways && ran && !wrong; k++) {
        ran = run(p, &ways[k], got);
        wrong = ran && known ? suite_compare(p, expected, got, why, sizeof why) : 0;
        snprintf(name, sizeof name, "%s (%s)", p->name, ways[k].name);
    }
    free(got);
    free(expected);
    if (!ran)
        fail_msg("%s did not run", name);
    if (wrong)
        fail_msg("%s: %zu of %u words differ; %s", name, wrong, p->words_out, why);
    compared += known;
    skipped += !known;
    if (!known)
        print_message("%s: not compared, %s\n", p->name, have_golden && golden.stale[i] ? "the golden is of an older text of it" : "it has no golden");
}

int main(int argc, char **argv)
{
    struct CMUnitTest *tests = calloc(suite_count, sizeof *tests);
    size_t n = 0;
    have_golden = suite_golden_read("tests/sim/golden/silicon.bin", &golden);
    for (size_t i = 0; i < suite_count; i++) {
        bool wanted = argc < 2;
        for (int k = 1; k < argc; k++)
            wanted = wanted || strstr(suite_programs[i].name, argv[k]);
        if (wanted)
            tests[n++] = (struct CMUnitTest){.name = suite_programs[i].name, .test_func = test_program, .initial_state = (void *)(uintptr_t)&suite_programs[i]};
    }
    int failed = _cmocka_run_group_tests("silicon", tests, n, NULL, NULL);
    print_message("%u programs agree with silicon, %u ran without a golden, %d failed\n", compared, skipped, failed);
    suite_golden_free(&golden);
    free(tests);
    return failed != 0;
}
