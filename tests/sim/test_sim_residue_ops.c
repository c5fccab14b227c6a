/* Instructions over residues, one by one: a few lines of PTX from two variables to one result, against the same formula on residues. */
#include "base/philox.h"
#include "runtime/sim/residue.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <math.h>

enum { THREADS = 64 };
#define HEAD                                                                                                          \
    ".version 8.5\n.target sm_90a\n.address_size 64\n"                                                                \
    ".func (.param .b32 r) pawl_erff(.param .b32 a)\n{\n.reg .b32 u;\nld.param.b32 u, [a];\nst.param.b32 [r], u;\nret;\n}\n"    \
    ".visible .entry test(.param .u64 in, .param .u64 out)\n{\n"                                                      \
    ".reg .pred p, q;\n.reg .b16 h<8>;\n.reg .b32 u<8>, tid, lane;\n.reg .f32 x, y, z, o;\n.reg .f64 d<4>;\n.reg .b64 src, dst, at;\n" \
    ".shared .align 16 .b8 smem[1024];\n"                                                                             \
    "ld.param.u64 src, [in];\nld.param.u64 dst, [out];\nmov.u32 tid, %tid.x;\nmov.u32 lane, %laneid;\n"               \
    "mul.wide.u32 at, tid, 8;\nadd.u64 src, src, at;\nld.global.v2.f32 {x, y}, [src];\n"                              \
    "mul.wide.u32 at, tid, 4;\nadd.u64 dst, dst, at;\nmov.u32 u7, smem;\nmad.lo.u32 u7, tid, 8, u7;\n"
#define TAIL "\nst.global.f32 [dst], o;\nret;\n}\n"

typedef struct { const ResidueField *f; const Residue *x, *y; uint32_t t; } At;
typedef Residue Formula(const At *at);
#define X at->x[at->t]
#define Y at->y[at->t]
#define ADD(a, b) residue_add(at->f, a, b)
#define SUB(a, b) residue_sub(at->f, a, b)
#define MUL(a, b) residue_mul(at->f, a, b)
#define DIV(a, b) residue_div(at->f, a, b)
#define NEG(a) residue_neg(at->f, a)
#define FN(f_, a) residue_function(at->f, RF_##f_, a)
#define INT(i) residue_integer(at->f, i)
static Residue magnitude(const At *at, Residue a) { return a.v < 0 ? NEG(a) : a; }
static Residue larger(Residue a, Residue b) { bool tie; return residue_max(a, b, &tie); }
static Residue smaller(Residue a, Residue b) { bool tie; return residue_min(a, b, &tie); }
static Residue total(const At *at)
{
    Residue s = INT(0);
    for (uint32_t t = 0; t < THREADS; t++)
        s = ADD(s, at->x[t]);
    return s;
}

/* Pairs of 16-bit floats from x and y in u0; the upper half is y. */
#define PAIR16(type) "cvt.rn." type ".f32 h0, x;\ncvt.rn." type ".f32 h1, y;\nmov.b32 u0, {h0, h1};\n"
#define LOW16(type) "mov.b32 {h2, h3}, u1;\ncvt.f32." type " o, h2;"
#define HIGH16(type) "mov.b32 {h2, h3}, u1;\ncvt.f32." type " o, h3;"
#define CALLS "{\n.param .b32 a;\n.param .b32 r;\nst.param.f32 [a], x;\ncall.uni (r), pawl_erff, (a);\nld.param.f32 o, [r];\n}"

#define OPS(OP)                                                                                                        \
    OP(add, "add.rn.f32 o, x, y;", ADD(X, Y))                                                                          \
    OP(sub_ftz, "sub.ftz.f32 o, x, y;", SUB(X, Y))                                                                      \
    OP(fused, "fma.rn.f32 o, x, y, 0f3E4CCCCD;", ADD(MUL(X, Y), residue_constant(at->f, 0.2)))                          \
    OP(divide, "div.full.f32 o, x, y;", DIV(X, Y))                                                                      \
    OP(reciprocal, "rcp.approx.f32 z, x;\nmul.f32 o, z, y;", DIV(Y, X))                                                 \
    OP(roots, "mul.f32 z, x, x;\nsqrt.rn.f32 z, z;\nrsqrt.approx.f32 o, z;", FN(RSQRT, magnitude(at, X)))               \
    OP(powers, "abs.f32 z, x;\nlg2.approx.f32 z, z;\nmul.f32 z, z, y;\nex2.approx.f32 o, z;", residue_pow(at->f, magnitude(at, X), Y)) \
    OP(tanh, "tanh.approx.f32 o, x;", FN(TANH, X))                                                                      \
    OP(sine, "sin.approx.f32 z, x;\ncos.approx.f32 o, x;\nfma.rn.f32 o, o, o, 0f00000000;\nfma.rn.f32 o, z, z, o;", INT(1)) \
    OP(called, CALLS, FN(ERF, X))                                                                                       \
    OP(negated, "neg.f32 o, x;", NEG(X))                                                                                \
    OP(negated_by_bits, "mov.b32 u0, x;\nxor.b32 u0, u0, 0x80000000;\nmov.b32 o, u0;", NEG(X))                          \
    OP(absolute_by_bits, "mov.b32 u0, x;\nand.b32 u0, u0, 0x7fffffff;\nmov.b32 o, u0;", magnitude(at, X))               \
    OP(copied_sign, "copysign.f32 o, x, y;", (X.v < 0) == (Y.v < 0) ? Y : NEG(Y))                                       \
    OP(maximum, "max.f32 o, x, y;", larger(X, Y))                                                                       \
    OP(minimum_of_nan, "min.f32 o, x, 0f7FFFFFFF;", X)                                                                  \
    OP(selected, "setp.lt.f32 p, x, y;\nselp.f32 o, x, y, p;", smaller(X, Y))                                           \
    OP(compared_to_itself, "setp.eq.f32 p, x, x;\nselp.f32 o, x, 0f00000000, p;", X)                                    \
    OP(no_number, "setp.nan.f32 p, x, y;\nselp.f32 o, 0f00000000, x, p;", X)                                            \
    OP(combined_predicates, "setp.gt.f32 p, x, 0f00000000;\nsetp.gt.and.f32 q, y, 0f00000000, p;\nselp.f32 o, x, y, q;", X.v > 0 && Y.v > 0 ? X : Y) \
    OP(operands_survive, "setp.gt.f32 p, x, y;\nadd.f32 o, x, y;", ADD(X, Y))                                           \
    OP(set, "set.ge.f32.f32 z, x, 0f00000000;\nmul.f32 o, z, x;", X.v >= 0 ? X : INT(0))                                \
    OP(finite, "testp.finite.f32 p, x;\nselp.f32 o, x, y, p;", X)                                                       \
    OP(saturated, "add.sat.f32 o, x, 0f00000000;", X.v <= 0 ? INT(0) : X.v >= 1 ? INT(1) : X)                           \
    OP(rounded, "cvt.rmi.f32.f32 o, x;", INT((int64_t)floor(X.v)))                                                      \
    OP(integer_and_back, "cvt.rzi.s32.f32 u0, x;\nadd.s32 u0, u0, 3;\ncvt.rn.f32.s32 o, u0;", INT((int64_t)trunc(X.v) + 3)) \
    OP(rounded_by_magic, "add.rm.f32 z, x, 0f4B400000;\nmov.b32 u0, z;\nadd.s32 u0, u0, 0xB4C00000;\ncvt.rn.f32.s32 o, u0;", INT((int64_t)floor(X.v))) \
    OP(doubles, "cvt.f64.f32 d0, x;\ncvt.f64.f32 d1, y;\nfma.rn.f64 d2, d0, d1, 0d3FE0000000000000;\ncvt.rn.f32.f64 o, d2;", \
       ADD(MUL(X, Y), residue_constant(at->f, 0.5)))                                                                    \
    OP(double_halves, "cvt.f64.f32 d0, x;\nmov.b64 {u0, u1}, d0;\nmov.b64 d1, {u0, u1};\ncvt.rn.f32.f64 o, d1;", X)     \
    OP(bf16, PAIR16("bf16") "fma.rn.bf16x2 u1, u0, u0, u0;\n" LOW16("bf16"), ADD(MUL(X, X), X))                         \
    OP(bf16_upper, PAIR16("bf16") "fma.rn.bf16x2 u1, u0, u0, u0;\n" HIGH16("bf16"), ADD(MUL(Y, Y), Y))                  \
    OP(bf16_packed_by_cvt, "cvt.rn.bf16x2.f32 u0, y, x;\nshl.b32 u1, u0, 16;\nmov.b32 o, u1;", X)                       \
    OP(bf16_upper_by_mask, "cvt.rn.bf16x2.f32 u0, y, x;\nand.b32 u1, u0, 0xffff0000;\nmov.b32 o, u1;", Y)               \
    OP(bf16_by_prmt, "cvt.rn.bf16x2.f32 u0, y, x;\nprmt.b32 u1, u0, 0, 0x1044;\nmov.b32 z, u1;\nadd.f32 o, z, z;", ADD(X, X)) \
    OP(bf16_signs, PAIR16("bf16") "xor.b32 u1, u0, 0x80008000;\n" HIGH16("bf16"), NEG(Y))                               \
    OP(bf16_magnitudes, PAIR16("bf16") "and.b32 u1, u0, 0x7fff7fff;\n" LOW16("bf16"), magnitude(at, X))                 \
    OP(bf16_maximum, PAIR16("bf16") "mov.b32 u2, {h1, h0};\nmax.bf16x2 u1, u0, u2;\n" LOW16("bf16"), larger(X, Y))      \
    OP(f16, PAIR16("f16") "mul.f16x2 u1, u0, u0;\n" HIGH16("f16"), MUL(Y, Y))                                           \
    OP(f16_single, "cvt.rn.f16.f32 h0, x;\nadd.f16 h1, h0, h0;\ncvt.f32.f16 o, h1;", ADD(X, X))                         \
    OP(f16_literal, "cvt.rn.f16.f32 h0, x;\nmov.b16 h1, 0x3800;\nmul.f16 h2, h0, h1;\ncvt.f32.f16 o, h2;", MUL(X, residue_constant(at->f, 0.5))) \
    OP(shuffled, "mov.b32 u0, x;\nshfl.sync.bfly.b32 u1, u0, 1, 31, -1;\nmov.b32 o, u1;", at->x[at->t ^ 1])             \
    OP(through_shared, "st.shared.v2.f32 [u7], {y, x};\nld.shared.f32 o, [u7+4];", X)                                   \
    OP(atomics, "mov.u32 u0, smem;\nsetp.eq.u32 p, tid, 0;\n@p st.shared.f32 [u0], 0f00000000;\nbar.sync 0;\n"           \
                "red.shared.add.f32 [u0], x;\nbar.sync 0;\nld.shared.f32 o, [u0];", total(at))

typedef struct { const char *name, *body; Formula *formula; } Op;
#define OP(name, body, formula) static Residue op_##name(const At *at) { (void)at; return formula; }
OPS(OP)
#undef OP
static const Op ops[] = {
#define OP(name, body, formula) {#name, body, op_##name},
    OPS(OP)
#undef OP
};

typedef struct { ResidueField *f; SimResidues *s; float in[2 * THREADS], out[THREADS]; uint32_t faults; char fault[200]; uint64_t threads; double seconds; } Run;

static void run(Arena *a, const char *text, Run *r)
{
    Diags *d = diags_new(a);
    PtxModule *m = ptx_read(a, d, source_from_text(a, "test.ptx", text));
    if (!m) {
        diags_print(d, stderr, false);
        fail_msg("not read:\n%s", text);
    }
    SimMemory *memory = sim_memory_new();
    uint64_t in = sim_memory_add(memory, &(SimBuffer){.name = "in", .data = r->in, .bytes = sizeof r->in, .initialised = true});
    uint64_t out = sim_memory_add(memory, &(SimBuffer){.name = "out", .data = r->out, .bytes = sizeof r->out});
    const void *args[] = {&in, &out};
    SimLaunch l = {.entry = "test", .grid = {1, 1, 1}, .block = {THREADS, 1, 1}, .args = args, .n_args = 2, .domain = sim_residues_domain(r->s)};
    SimResult result = {0};
    if (!sim_run(memory, m, &l, a, d, &result)) {
        diags_print(d, stderr, false);
        fail_msg("not run");
    }
    r->faults = result.n_faults;
    r->threads = result.thread_steps;
    r->seconds = result.seconds;
    if (result.n_faults)
        snprintf(r->fault, sizeof r->fault, "%s: %s", sim_fault_name(result.faults[0].kind), result.faults[0].text);
    sim_memory_free(memory);
}

static Run *run_new(Arena *a, Residue *x, Residue *y)
{
    Run *r = arena_new_of(a, Run);
    r->f = residue_field_new(0, 3, a);
    r->s = sim_residues_new(r->f, a);
    for (uint32_t t = 0; t < THREADS; t++) {
        x[t] = residue_draw(r->f, 1, t, RESIDUE_ANY_SIGN);
        y[t] = residue_draw(r->f, 2, t, RESIDUE_ANY_SIGN);
        sim_residue_store(r->s, DT_F32, &r->in[2 * t], x[t]);
        sim_residue_store(r->s, DT_F32, &r->in[2 * t + 1], y[t]);
    }
    return r;
}

static void instructions_follow_their_formulas(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        Arena *a = arena_new();
        Residue x[THREADS], y[THREADS];
        Run *r = run_new(a, x, y);
        run(a, arena_printf(a, "%s%s%s", HEAD, ops[i].body, TAIL), r);
        if (r->faults)
            fail_msg("%s: %s", ops[i].name, r->fault);
        for (uint32_t t = 0; t < THREADS; t++) {
            Residue want = ops[i].formula(&(At){r->f, x, y, t}), got = sim_residue_load(r->s, DT_F32, &r->out[t]);
            if (residue_compare(got, want) != RESIDUE_EQUAL)
                fail_msg("%s, thread %u: %.9g for %.9g", ops[i].name, t, got.v, want.v);
        }
        arena_free(a);
    }
}

static void what_is_missing_is_said(void **state)
{
    (void)state;
    Arena *a = arena_new();
    Residue x[THREADS], y[THREADS];
    Run *r = run_new(a, x, y);
    run(a, arena_printf(a, "%s%s%s", HEAD, "cvt.rn.satfinite.e4m3x2.f32 h0, x, y;\nmov.f32 o, x;", TAIL), r);
    assert_true(r->faults == 1 && strstr(r->fault, "the residue domain has no cvt here"));
    run(a, arena_printf(a, "%s%s%s", HEAD, "mov.u32 u1, 0;\nmov.f32 z, x;\nloop:\ncvt.rn.bf16.f32 h0, z;\nadd.f32 z, z, 0f3E800000;\nadd.u32 u1, u1, 1;\n"
                        "setp.lt.u32 p, u1, 300;\n@p bra loop;\nmov.f32 o, z;", TAIL), r);
    assert_true(r->faults >= 1 && strstr(r->fault, "more 16-bit numbers"));
    arena_free(a);
}

/* Values of every dtype come back as they were put; small integers are the numbers themselves. */
static void buffers_hold_residues(void **state)
{
    (void)state;
    static const DType types[] = {DT_F32, DT_F64, DT_F16, DT_BF16};
    Arena *a = arena_new();
    ResidueField *f = residue_field_new(1, 9, a);
    SimResidues *s = sim_residues_new(f, a);
    for (size_t k = 0; k < 4; k++)
        for (uint64_t i = 0; i < 3000; i++) {
            uint64_t bits = 0;
            Residue x = residue_draw(f, k, i, RESIDUE_ANY_SIGN);
            sim_residue_store(s, types[k], &bits, x);
            Residue y = sim_residue_load(s, types[k], &bits);
            assert_true(y.p == x.p && y.q == x.q && y.v == x.v);
        }
    for (size_t k = 0; k < 4; k++)
        for (int i = -256; i <= 256; i++) {
            uint64_t bits = 0;
            sim_residue_store(s, types[k], &bits, residue_integer(f, i));
            assert_true(dtype_load(types[k], &bits) == i);
        }
    arena_free(a);
}

static void speed(void **state)
{
    (void)state;
    Arena *a = arena_new();
    Residue x[THREADS], y[THREADS];
    Run *r = run_new(a, x, y);
    run(a, arena_printf(a, "%s%s%s", HEAD, "mov.u32 u1, 0;\nmov.f32 o, y;\nloop:\nfma.rn.f32 o, o, x, y;\nadd.u32 u1, u1, 1;\nsetp.lt.u32 p, u1, 1000;\n@p bra loop;", TAIL), r);
    print_message("%.1f million thread-instructions a second, a quarter of them fma\n", (double)r->threads / r->seconds * 1e-6);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instructions_follow_their_formulas), cmocka_unit_test(what_is_missing_is_said), cmocka_unit_test(buffers_hold_residues),
        cmocka_unit_test(speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
