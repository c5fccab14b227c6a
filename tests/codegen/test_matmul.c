/* Matrix products: on the CPU over random shapes, flags, dtypes, epilogues and schedules, against the evaluator; the GPU's kinds
 * interpreted, and their code put through NVRTC and the assembler where those are found. */
#include "codegen/emit/emit.h"
#include "tests/codegen/run_graph.h"
#include "tests/codegen/simulate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* ---- random products -------------------------------------------------------------------------------------------------------- */
typedef struct { uint64_t seed; uint32_t at; } Dice;

static uint32_t roll(Dice *d, uint32_t sides) { return (uint32_t)(hash_mix(d->seed, d->at++) % sides); }

static void add_shape(StrBuf *b, const char *dtype, const int *lead, uint32_t n_lead, int rows, int cols)
{
    strbuf_printf(b, "%s[", dtype);
    for (uint32_t i = 0; i < n_lead; i++)
        strbuf_printf(b, "%d, ", lead[i]);
    strbuf_printf(b, "%d, %d]", rows, cols);
}

static const char *distribution(const char *dtype) { return strcmp(dtype, "i32") ? "" : " ~ randint(-9, 9)"; }

/* Each operand has the leading dims, some of them, or ones in their place. */
static uint32_t some_lead(Dice *d, const int *lead, uint32_t n, int *out)
{
    uint32_t skip = roll(d, n + 1), kept = 0;
    for (uint32_t i = skip; i < n; i++)
        out[kept++] = roll(d, 4) ? lead[i] : 1;
    return kept;
}

static char *random_product(Arena *a, uint64_t seed)
{
    static const int sizes[] = {1, 2, 3, 5, 7, 13, 16, 17, 31, 32, 33, 48, 64, 97}, batches[] = {1, 2, 3, 5};
    static const char *const dtypes[] = {"f32", "f32", "bf16", "f16", "f64", "i32"};
    static const char *const tails[] = {"%y = add(%p, 0)", "%y = relu(%p)", "%y = add(%p, %r)", "%y = mul(add(%p, %c), 2)",
                                        "%y = abs(sub(%r, %p))"};
    Dice d = {seed, 0};
    StrBuf b = strbuf_new(a);
    int m = sizes[roll(&d, 14)], n = sizes[roll(&d, 14)], k = sizes[roll(&d, 14)], lead[3], la[3], lb[3];
    uint32_t n_lead = roll(&d, 3), ta = roll(&d, 2), tb = roll(&d, 2), tail = roll(&d, 5);
    const char *t = dtypes[roll(&d, 6)];
    for (uint32_t i = 0; i < n_lead; i++)
        lead[i] = batches[roll(&d, 4)];
    uint32_t na = some_lead(&d, lead, n_lead, la), nb = some_lead(&d, lead, n_lead, lb);
    strbuf_add(&b, "graph random { input %a : ");
    add_shape(&b, t, la, na, ta ? k : m, ta ? m : k);
    strbuf_printf(&b, "%s\n input %%b : ", distribution(t));
    add_shape(&b, t, lb, nb, tb ? n : k, tb ? k : n);
    strbuf_printf(&b, "%s\n input %%c : %s[%d]%s\n input %%r : %s[%d, %d]%s\n", distribution(t), t, n, distribution(t), t, m, n,
                  distribution(t));
    strbuf_printf(&b, " %%p = matmul(%%a, %%b, trans_a=%u, trans_b=%u)\n %s\n return %%y }", ta, tb, tails[tail]);
    return b.text;
}

static void random_products(void **state)
{
    int failed = 0;
    (void)state;
    for (uint64_t i = 0; i < 72; i++) {
        Arena *a = arena_new();
        RunOptions o = {.fuse = i % 5 != 0, .schedule = (uint32_t)i % 4};
        failed += !run_graph(random_product(a, 1000 + i), &o, i);
        arena_free(a);
    }
    assert_int_equal(failed, 0);
}

static const char *const deep[] = {
    "graph long { input %a : f32[3, 1111]\n input %b : f32[1111, 40]\n %y = matmul(%a, %b)\n return %y }",
    "graph long_dot { input %a : bf16[5, 1111]\n param %w : bf16[70, 1111]\n %y = linear(%a, %w)\n return %y }",
    "graph wide { input %a : f32[130, 24]\n param %w : f32[259, 24]\n param %b : f32[259]\n %y = gelu(linear(%a, %w, %b))\n return %y }",
    "graph decode { input %a : bf16[8, 1, 256]\n param %w : bf16[512, 256]\n input %r : bf16[8, 1, 512]\n"
    " %y = add(%r, linear(%a, %w))\n return %y }",
    ("graph heads { input %x : f32[2, 9, 3, 16]\n input %k : f32[2, 9, 3, 16]\n"
     " %y = matmul(permute(%x, perm=[0, 2, 1, 3]), permute(%k, perm=[0, 2, 3, 1]))\n return %y }"),
};

static void deep_sums(void **state)
{
    int failed = 0;
    (void)state;
    for (size_t i = 0; i < sizeof deep / sizeof *deep; i++)
        for (uint32_t s = 0; s < 4; s++)
            failed += !run_graph(deep[i], &(RunOptions){.fuse = true, .schedule = s}, 5 + i);
    assert_int_equal(failed, 0);
}

/* ---- GPU kinds ------------------------------------------------------------------------------------------------------------------ */
static const char *const tiled[] = {
    "graph tile { input %a : f32[70, 23]\n input %b : f32[23, 65]\n %y = exp(matmul(%a, %b))\n return %y }",
    "graph batched { input %a : f16[2, 1, 20, 33]\n input %b : f16[3, 33, 7]\n %y = matmul(%a, %b)\n return %y }",
};

static void tiles_interpreted(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof tiled / sizeof *tiled; i++)
        assert_true(simulate_graph(tiled[i], &(SimulateOptions){.arch = "sm_90a", .kind = "matmul"}, 3));
}

/* Code by both emitters, assembled, without spills. */
static bool compiles(Kernel *k, const char *arch, void *arg)
{
    Context *cx = k->cx;
    Cubin c;
    const char *assembler;
    char *ptx = emit_ptx(cx->arena, cx->diags, &k, 1, arch);
    bool ok = ptx && (!assembler_available(&assembler) || (ptx_assemble(cx->arena, cx->diags, ptx, arch, &c) && !c.spill_bytes && !c.lost));
    (void)arg;
    if (ok && nvrtc_available(NULL))
        ok = nvrtc_compile(cx->arena, cx->diags, emit_cuda(cx->arena, &k, 1), k->name, arch, &c) && !c.spill_bytes && !c.lost;
    return ok;
}

static const char *const compiled[] = {
    "graph qkv { input %x : bf16[8, 1, 2048]\n input %w : bf16[4096, 2048]\n %y = linear(%x, %w)\n return %y }",
    "graph down { input %x : bf16[16, 6144]\n input %w : bf16[2048, 6144]\n input %r : bf16[16, 2048]\n"
    " %y = add(%r, linear(%x, %w))\n return %y }",
    "graph sets { input %x : bf16[64, 2048]\n param %w : bf16[1040, 2048]\n %y = linear(%x, %w)\n return %y }",
    "graph odd { input %x : f16[3, 1000]\n input %w : f16[77, 1000]\n input %b : f16[77]\n %y = gelu(linear(%x, %w, %b))\n return %y }",
};

static void code_for_gpus(void **state)
{
    const char *nvrtc, *assembler;
    (void)state;
    bool any = nvrtc_available(&nvrtc), parsed = assembler_available(&assembler);
    if (!any)
        printf("SKIP: CUDA C was not compiled: %s\n", nvrtc);
    if (!parsed)
        printf("SKIP: PTX was not assembled: %s\n", assembler);
    for (uint32_t i = 0; i < 2 * sizeof compiled / sizeof *compiled; i++) {
        SimulateOptions o = {.arch = i % 2 ? "sm_80" : "sm_90a", .kind = "smallm", .library = true, .instead = compiles};
        for (o.schedule = i / 2; o.schedule < 20; o.schedule += 5)
            assert_true(simulate_graph(compiled[i / 2], &o, 0));
    }
    for (size_t i = 0; i < sizeof tiled / sizeof *tiled; i++)
        assert_true(simulate_graph(tiled[i], &(SimulateOptions){.arch = i ? "sm_80" : "sm_90a", .kind = "matmul", .instead = compiles},
                                   0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_products), cmocka_unit_test(deep_sums), cmocka_unit_test(tiles_interpreted),
        cmocka_unit_test(code_for_gpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
