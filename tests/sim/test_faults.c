/* The checker: each planted fault is found, its correct twin is not accused, in three orders of warps and CTAs. */
#include "base/file.h"
#include "runtime/sim/sim.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef struct { const char *name; SimFaultKind kind; uint32_t grid, block; } Row;
static const Row rows[] = {
#define FAULT(name, kind, grid, block) {#name, FAULT_##kind, grid, block},
#include "tests/sim/faults/faults.def"
};
enum { WORDS = 1024 };

static void run(const Row *row, const char *twin, uint64_t order, Arena *a, SimResult *r)
{
    static uint32_t in[WORDS], out[WORDS];
    Diags *d = diags_new(a);
    char *path = arena_printf(a, "tests/sim/faults/%s.%s.ptx", row->name, twin);
    Source *s = arena_new_of(a, Source);
    *s = (Source){path, NULL, 0, 1, 1, 0};
    s->text = file_read(a, d, path, &s->len);
    PtxModule *m = s->text ? ptx_read(a, d, s) : NULL;
    SimMemory *memory = sim_memory_new();
    uint64_t x = sim_memory_add(memory, &(SimBuffer){.name = "in", .data = in, .bytes = sizeof in, .initialised = true, .read_only = true});
    uint64_t y = sim_memory_add(memory, &(SimBuffer){.name = "out", .data = out, .bytes = sizeof out});
    memset(out, 0, sizeof out);
    if (strncmp(row->name, "flag_", 5) == 0)
        sim_memory_set_initialised(memory, y, true);
    const void *args[] = {&x, &y};
    SimLaunch l = {.grid = {row->grid, 1, 1}, .block = {row->block, 1, 1}, .args = args, .n_args = 2, .max_steps = 100000, .schedule = order};
    bool ran = m && sim_run(memory, m, &l, a, d, r);
    for (uint32_t i = 0; ran && i < r->n_faults; i++)
        sim_fault_diagnose(m, &r->faults[i], d);
    if (!ran || (twin[0] == 'g' && (r->n_faults || !r->finished)))
        diags_print(d, stderr, false);
    sim_memory_free(memory);
    assert_true(ran);
}

static void test_row(void **state)
{
    const Row *row = *state;
    for (uint64_t order = 0; order < 3; order++) {
        Arena *a = arena_new();
        SimResult good, bad;
        run(row, "good", order * 77, a, &good);
        run(row, "bad", order * 77, a, &bad);
        bool found = false;
        for (uint32_t i = 0; i < bad.n_faults; i++)
            found |= bad.faults[i].kind == row->kind;
        if (!found)
            print_error("%s: not found among %u faults%s%s\n", row->name, bad.n_faults, bad.n_faults ? "; first: " : "", bad.n_faults ? bad.faults[0].text : "");
        bool clean = good.finished && good.n_faults == 0;
        arena_free(a);
        assert_true(clean);
        assert_true(found);
    }
}

int main(void)
{
    enum { N = sizeof rows / sizeof *rows };
    struct CMUnitTest tests[N];
    for (int i = 0; i < N; i++)
        tests[i] = (struct CMUnitTest){.name = rows[i].name, .test_func = test_row, .initial_state = (void *)(uintptr_t)&rows[i]};
    return _cmocka_run_group_tests("faults", tests, N, NULL, NULL);
}
