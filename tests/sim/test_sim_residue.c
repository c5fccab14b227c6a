/* Kernels over residues: what the compiler emits and hand-written CUDA C (where NVRTC is found) are the algebra of their graphs;
 * with a dropped term, swapped operands, another epsilon, a missing barrier or a line for a sigmoid they are not. */
#include "base/file.h"
#include "codegen/emit/emit.h"
#include "tests/sim/lift.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void said(const char *name, const LiftResult *r)
{
    printf("%-44s equal %llu, different %llu, unsure %llu%s%s\n", name, (unsigned long long)r->equal, (unsigned long long)r->different,
           (unsigned long long)r->unsure, r->faults ? ", " : "", r->fault);
}

static void must_be_equal(const char *name, const LiftResult *r)
{
    said(name, r);
    if (r->faults || r->different || r->taken_apart || r->equal * 10 < (r->equal + r->unsure) * 3)
        fail_msg("%s: equal %llu, different %llu (%.17g and %.17g), unsure %llu, faults %u: %s", name, (unsigned long long)r->equal,
                 (unsigned long long)r->different, r->kernel.v, r->reference.v, (unsigned long long)r->unsure, r->faults, r->fault);
}

/* ---- our own kernels, through LLVM ---------------------------------------------------------------------------------------- */
typedef struct { const char *name, *graph, *kind, *wrong; LiftEdit edit; } Case;      /* edit: of the PTX, that makes it wrong */

#define RMS(eps) "graph g {\n input %x : f32[3, 70]\n input %r : f32[3, 70]\n param %w : f32[70]\n %h = add(%x, %r)\n %y = rms_norm(%h, %w, eps=" eps ")\n return %h, %y }"
#define MATMUL(ops) "graph g {\n input %a : f32[33, 20]\n input %b : f32[20, 17]\n input %c : f32[17]\n" ops " return %y }"
#define GATE(f) "graph g {\n input %x : f32[5, 33]\n input %g : f32[5, 33]\n %y = mul(%x, " f "(%g))\n return %y }"
static const Case cases[] = {
    {"rms norm", RMS("1e-6"), "row", RMS("1e-5"),
     {"0f358637BD", "0f3727C5AC"}},
    {"rms norm in bf16", "graph g {\n input %x : bf16[3, 70]\n param %w : bf16[70]\n %y = rms_norm(%x, %w)\n return %y }", NULL,
     "graph g {\n input %x : bf16[3, 70]\n param %w : bf16[70]\n %y = rms_norm(%x)\n return %y }"},
    {"softmax", "graph g {\n input %x : f32[4, 100]\n %y = softmax(%x)\n return %y }", "row",
     "graph g {\n input %x : f32[4, 100]\n %m = reduce_max(%x, axes=[1], keepdims=1)\n %e = exp(sub(%x, %m))\n"
     " %y = div(%e, reduce_sum(exp(%x), axes=[1], keepdims=1))\n return %y }",
     {"ex2.approx.ftz.f32", "abs.f32"}},
    {"layer norm", "graph g {\n input %x : f32[3, 300]\n param %w : f32[300]\n param %b : f32[300]\n %y = layer_norm(%x, %w, %b)\n return %y }", "row",
     "graph g {\n input %x : f32[3, 300]\n param %w : f32[300]\n param %b : f32[300]\n %y = layer_norm(%x, %w, %w)\n return %y }",
     {"bar.sync", "// bar.sync"}},
    {"gated by a sigmoid", GATE("sigmoid"), NULL, GATE("hardsigmoid"),
     {"0fBFB8AA3B", "0fBFB8AB3B"}},
    {"silu", GATE("silu"), NULL, GATE("relu")},
    {"column sums", "graph g {\n input %x : f32[40, 33]\n %y = reduce_sum(mul(%x, %x), axes=[0])\n return %y }", NULL,
     "graph g {\n input %x : f32[40, 33]\n %y = reduce_sum(mul(slice(%x, axis=0, start=0, size=39), slice(%x, axis=0, start=0, size=39)), axes=[0])\n return %y }",
     {"add.rn.f32", "sub.rn.f32"}},
    {"all of it", "graph g {\n input %x : f32[40, 33]\n %y = mean(%x)\n return %y }", NULL,
     "graph g {\n input %x : f32[40, 33]\n %y = div(sum(%x), 1319)\n return %y }"},
    {"matrix product", MATMUL(" %y = add(matmul(%a, %b), %c)\n"), NULL, MATMUL(" %y = matmul(%a, %b)\n"),
     {"0f00000000", "0f3F800000"}},
    {"relu of a product", MATMUL(" %y = relu(add(matmul(%a, %b), %c))\n"), NULL, MATMUL(" %y = add(matmul(%a, %b), %c)\n"),
     {"max.NaN.f32", "min.NaN.f32"}},
    {"clamp", GATE("relu6"), NULL, GATE("relu")},
    {"small product in bf16", "graph g {\n input %x : bf16[4, 128]\n param %w : bf16[16, 128]\n %y = matmul(%x, %w, trans_b=1)\n return %y }", "smallm",
     "graph g {\n input %x : bf16[4, 128]\n param %w : bf16[16, 128]\n %y = matmul(%x, mul(%w, 2), trans_b=1)\n return %y }"},
    {"running sum", "graph g {\n input %x : f32[3, 70]\n %y = cumsum(%x, axis=1)\n return %y }", "scan",
     "graph g {\n input %x : f32[3, 70]\n %y = cumprod(%x, axis=1)\n return %y }"},
    {"transposed sum", "graph g {\n input %x : f32[40, 33]\n input %z : f32[33, 40]\n %y = add(permute(%x, perm=[1, 0]), %z)\n return %y }", "transpose",
     "graph g {\n input %x : f32[40, 33]\n input %z : f32[33, 40]\n %y = sub(permute(%x, perm=[1, 0]), %z)\n return %y }"},
    {"swiglu in bf16", "graph g {\n input %g : bf16[3, 66]\n input %u : bf16[3, 66]\n %y = swiglu(%g, %u)\n return %y }", NULL,
     "graph g {\n input %g : bf16[3, 66]\n input %u : bf16[3, 66]\n %y = swiglu(%u, %g)\n return %y }"},
    {"softmax in f16", "graph g {\n input %x : f16[2, 200]\n %y = softmax(%x)\n return %y }", "row",
     "graph g {\n input %x : f16[2, 200]\n %y = softmax(mul(%x, 2))\n return %y }"},
    {"long rows", "graph g {\n input %x : f32[2, 2500]\n %y = rms_norm(%x)\n return %y }", "row",
     "graph g {\n input %x : f32[2, 2500]\n %y = rms_norm(%x, eps=1e-5)\n return %y }"},
    {"attention", "graph g {\n input %q : f32[2, 6, 8]\n input %k : f32[2, 5, 8]\n input %v : f32[2, 5, 8]\n %y = sdpa(%q, %k, %v)\n return %y }", NULL,
     "graph g {\n input %q : f32[2, 6, 8]\n input %k : f32[2, 5, 8]\n input %v : f32[2, 5, 8]\n %y = sdpa(%q, %k, %v, scale=0.25)\n return %y }"},
    {"rope", "graph g {\n input %x : f32[2, 5, 16]\n input %c : f32[5, 16]\n input %s : f32[5, 16]\n %y = rope(%x, %c, %s)\n return %y }", NULL,
     "graph g {\n input %x : f32[2, 5, 16]\n input %c : f32[5, 16]\n input %s : f32[5, 16]\n %y = rope(%x, %s, %c)\n return %y }"},
};

static void compiled_kernels_are_their_graphs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint32_t schedule = 0; schedule < 3; schedule++) {
            LiftResult r;
            LiftOptions o = {.kind = cases[i].kind, .schedule = schedule};
            assert_true(lift_graph(cases[i].graph, &o, 11 + schedule, &r));
            must_be_equal(cases[i].name, &r);
        }
}

static void other_graphs_are_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        LiftResult r;
        LiftOptions o = {.compiled = cases[i].wrong};
        for (uint64_t seed = 5; seed < 15; seed++) {
            assert_true(lift_graph(cases[i].graph, &o, seed, &r));
            if (r.different)
                break;
        }
        said(cases[i].name, &r);
        assert_true(r.different > 0);
    }
}

static void edited_kernels_are_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        LiftResult r = {0};
        LiftOptions o = {.kind = cases[i].kind, .edit = cases[i].edit};
        for (uint64_t seed = 5; cases[i].edit.find && seed < 15; seed++) {
            assert_true(lift_graph(cases[i].graph, &o, seed, &r));
            if (r.different || r.faults)
                break;
        }
        if (!cases[i].edit.find)
            continue;
        said(cases[i].name, &r);
        if (!r.edited || !(r.different || r.faults))
            fail_msg("%s: %s for %s %s", cases[i].name, cases[i].edit.put, cases[i].edit.find, r.edited ? "passes" : "is not in its PTX");
    }
}

/* A comparison that never went the other way is counted as such. */
static void decisions_are_counted(void **state)
{
    (void)state;
    LiftResult r;
    assert_true(lift_graph("graph g {\n input %x : f32[64]\n %y = relu(%x)\n return %y }", NULL, 1, &r));
    assert_int_equal(r.one_sided, 0);
    LiftOptions o = {.compiled = "graph g {\n input %x : f32[64]\n %y = minimum(%x, 1000)\n return %y }"};
    assert_true(lift_graph("graph g {\n input %x : f32[64]\n %y = neg(neg(%x))\n return %y }", &o, 1, &r));
    assert_true(r.different == 0 && r.equal == 64 && r.one_sided == 1);
}

/* ---- CUDA C, through NVRTC ---------------------------------------------------------------------------------------------------- */
typedef struct { const char *file, *graph; uint32_t grid[3], block[3]; const char *wrong[8], *with; } CudaCase;
static const CudaCase cuda[] = {
    {"rms_norm", "graph g {\n input %x : f32[3, 70]\n input %r : f32[3, 70]\n input %g : f32[3, 70]\n param %w : f32[70]\n %h = add(%x, %r)\n"
     " %y = mul(rms_norm(%h, %w), sigmoid(%g))\n return %h, %y }", {3, 1, 1}, {64, 1, 1},
     {"DROPPED_TERM", "MISSING_BARRIER", "WRONG_EPSILON", "LINE", "SWAPPED"}, NULL},
    {"softmax", "graph g {\n input %x : f32[4, 100]\n %y = softmax(%x)\n return %y }", {4, 1, 1}, {32, 1, 1}, {"DROPPED_TERM", "SWAPPED", "LINE"}, NULL},
    {"matmul", "graph g {\n input %a : f32[24, 33]\n input %b : f32[33, 20]\n param %c : f32[20]\n %y = relu(add(matmul(%a, %b), %c))\n return %y }",
     {3, 3, 1}, {8, 8, 1}, {"DROPPED_TERM", "MISSING_BARRIER", "SWAPPED", "DROPPED_BIAS", "DROPPED_RELU"}, NULL},
    {"gelu_sum", "graph g {\n input %x : bf16[3, 90]\n %g = gelu(cast(%x, dtype=f32))\n %y = log(reduce_sum(mul(%g, %g), axes=[1]))\n return %y }",
     {3, 1, 1}, {32, 1, 1}, {"APPROXIMATED", "DROPPED_TERM"}, NULL},
    {"gelu_sum", "graph g {\n input %x : bf16[3, 90]\n %g = gelu(cast(%x, dtype=f32))\n %y = log(reduce_sum(mul(%g, %g), axes=[1]))\n return %y }",
     {3, 1, 1}, {32, 1, 1}, {"DROPPED_TERM"}, "#define OVERLOADS\n"},
    {"tensor_core", "graph g {\n input %a : bf16[32, 48]\n input %b : bf16[16, 48]\n %y = matmul(cast(%a, dtype=f32), cast(%b, dtype=f32), trans_b=1)\n return %y }",
     {2, 2, 1}, {32, 1, 1}, {"DROPPED_TERM", "SWAPPED"}, NULL},
    {"tensor_core", "graph g {\n input %a : f32[32, 48]\n input %b : f32[16, 48]\n %y = matmul(%a, %b, trans_b=1)\n return %y }",
     {2, 2, 1}, {32, 1, 1}, {"DROPPED_TERM"}, "#define SPLIT\n"},
    {"warpgroup", "graph g {\n input %a : bf16[64, 16]\n input %b : bf16[8, 16]\n %y = mul(matmul(cast(%a, dtype=f32), cast(%b, dtype=f32), trans_b=1), 2)\n return %y }",
     {1, 1, 1}, {128, 1, 1}, {"DROPPED_TERM", "SWAPPED", "MISSING_WAIT"}, NULL},
};

static char *text_of(Arena *a, const char *path)
{
    Source *s = source_from_file(a, diags_new(a), path);
    if (!s)
        fail_msg("no %s", path);
    return arena_strdup(a, s->text);
}

static void cuda_kernels_are_their_graphs(void **state)
{
    (void)state;
    const char *why;
    if (!nvrtc_available(&why)) {
        print_message("SKIP: %s\n", why);
        skip();
    }
    Arena *a = arena_new();
    for (size_t i = 0; i < sizeof cuda / sizeof *cuda; i++) {
        const CudaCase *c = &cuda[i];
        LiftCuda k = {.source = text_of(a, arena_printf(a, "tests/sim/residue/%s.cu", c->file))};
        memcpy(k.grid, c->grid, sizeof k.grid);
        memcpy(k.block, c->block, sizeof k.block);
        const char *with = c->with ? c->with : "", *lift = arena_printf(a, "%s%s", text_of(a, "runtime/sim/lift.cuh"), with);
        LiftResult r;
        for (uint32_t lifted = strcmp(c->file, "gelu_sum") == 0; lifted < 2; lifted++) {      /* expf is seen through, erff is not */
            k.defines = lifted ? lift : with;
            for (uint64_t seed = 1; seed <= 2; seed++) {
                assert_true(lift_cuda(c->graph, &k, seed, &r));
                must_be_equal(arena_printf(a, "%s.cu%s", c->file, lifted ? ", lifted" : ""), &r);
            }
        }
        k.defines = with;                                    /* not lifted, logf shows its bits */
        if (strcmp(c->file, "gelu_sum") == 0) {
            assert_true(lift_cuda(c->graph, &k, 1, &r));
            assert_true(r.taken_apart);
        }
        for (uint32_t w = 0; w < 8 && c->wrong[w]; w++) {
            k.defines = arena_printf(a, "%s#define %s\n", lift, c->wrong[w]);
            for (uint64_t seed = 3; seed < 13; seed++) {     /* a root of unknown sign on either side says nothing */
                assert_true(lift_cuda(c->graph, &k, seed, &r));
                if (r.different || r.faults)
                    break;
            }
            said(arena_printf(a, "%s.cu with %s", c->file, c->wrong[w]), &r);
            if (!r.different && !r.faults)
                fail_msg("%s with %s passes", c->file, c->wrong[w]);
        }
    }
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compiled_kernels_are_their_graphs), cmocka_unit_test(other_graphs_are_not), cmocka_unit_test(edited_kernels_are_not), cmocka_unit_test(decisions_are_counted),
        cmocka_unit_test(cuda_kernels_are_their_graphs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
