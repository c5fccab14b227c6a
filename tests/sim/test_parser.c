/* The parser: what it understands of one module with everything in it, what it refuses and with which words, and that no mutilated
 * text makes it fall over. */
#include "base/file.h"
#include "runtime/sim/sim.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define HEAD ".version 9.0\n.target sm_90a\n.address_size 64\n"
#define BODY(text) HEAD ".visible .entry k(.param .u64 p)\n{\n.reg .b32 %r<4>;\n.reg .b64 %rd<4>;\n.reg .pred %p<2>;\n.reg .f32 %f<4>;\n.reg .b16 %h<2>;\n" text "\nret;\n}\n"

typedef struct { const char *text; ExitCode code; const char *says; } Refusal;
static const Refusal refusals[] = {
    {HEAD ".entry k( {", PAWL_EXIT_INVALID, "expected .param"},
    {HEAD ".visible .entry k()\n{\nret;\n", PAWL_EXIT_INVALID, "ends without }"},
    {BODY("add.s32 %r1, %r2;"), PAWL_EXIT_INVALID, "takes 3 operands, here are 2"},
    {BODY("add.s32 %r1, %rd1, 1;"), PAWL_EXIT_INVALID, "operand 2 has 64 bits, expected 32"},
    {BODY("add.s32 %r1, %r9, 1;"), PAWL_EXIT_INVALID, "%r9 is not declared"},
    {BODY("add.s32 5, %r1, 1;"), PAWL_EXIT_INVALID, "the result must be a register"},
    {BODY("bra NOWHERE;"), PAWL_EXIT_INVALID, "NOWHERE is not declared"},
    {BODY("@%r1 bra X;\nX:"), PAWL_EXIT_INVALID, "%r1 is not a predicate"},
    {BODY("ld.global.v2.f32 %f1, [%rd1];"), PAWL_EXIT_INVALID, "as many registers as elements"},
    {BODY("ld.global.f32 %f1, %rd1;"), PAWL_EXIT_INVALID, "expected an address in brackets"},
    {BODY("ld.global.f32 %f1, [%h1];"), PAWL_EXIT_INVALID, "too narrow for an address"},
    {BODY("mov.u32 %r1, 0x;"), PAWL_EXIT_INVALID, "not a number"},
    {BODY("mov.f32 %f1, 0f3F80;"), PAWL_EXIT_INVALID, "not a number"},
    {BODY("frobnicate.f32 %f1, %f2;\nadd.quux.s32 %r1, %r2, %r3;\nfrobnicate.f32 %f1, %f3;"), PAWL_EXIT_UNSUPPORTED, "no instruction frobnicate.f32 (used 2 times)"},
    {BODY("frobnicate.f32 %f1, %f2;\nadd.quux.s32 %r1, %r2, %r3;"), PAWL_EXIT_UNSUPPORTED, "no instruction add.quux.s32 (used 1 time)"},
    {BODY("tex.1d.v4.f32.s32 {%f0, %f1, %f2, %f3}, [%rd1, {%r1}];"), PAWL_EXIT_UNSUPPORTED, "no instruction tex.1d.v4.f32.s32"},
    {BODY(".reg .b32 %r<9>;"), PAWL_EXIT_INVALID, "declared twice"},
    {BODY(".reg .b32 %q<99999999>;"), PAWL_EXIT_INVALID, "too many registers"},
    {BODY("call nobody;"), PAWL_EXIT_INVALID, "names no function"},
    {HEAD ".global .b8 x[99999999999];", PAWL_EXIT_INVALID, "of that size is not supported"},
    {HEAD ".global .u32 x[2] = {1, 2, 3};", PAWL_EXIT_INVALID, "more initial values"},
    {HEAD "/* no end", PAWL_EXIT_INVALID, "comment without an end"},
    {".version 9.0\n.target sm_90\n.address_size 32\n", PAWL_EXIT_INVALID, "only 64-bit addresses"},
};

static bool says(const Diags *d, const char *text)
{
    for (uint32_t i = 0; i < diags_count(d); i++)
        if (strcasestr(diags_at(d, i)->text, text))
            return true;
    return false;
}

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        Arena *a = arena_new();
        Diags *d = diags_new(a);
        PtxModule *m = ptx_read(a, d, source_from_text(a, "k.ptx", refusals[i].text));
        bool good = !m && diags_exit_code(d) == refusals[i].code && says(d, refusals[i].says);
        uint32_t line, col;
        if (diags_count(d))
            loc_line_col(diags_at(d, 0)->loc, &line, &col);
        if (!good) {
            diags_print(d, stderr, false);
            print_error("expected: %s\n", refusals[i].says);
        }
        arena_free(a);
        assert_true(good);
    }
}

static const char everything[] = HEAD
    ".extern .func (.param .b32 r) vprintf (.param .b64 a, .param .b64 b);\n"
    ".file 1 \"kernel.cu\"\n"
    ".const .align 4 .b8 table[16] = {0, 0, 128, 63, 0, 0, 0, 64};\n"
    ".global .align 8 .u64 where[2] = {table, generic(table)+4};\n"
    ".global .f32 numbers[3] = {1.5, 0f40000000, 0d4008000000000000};\n"
    ".extern .shared .align 16 .b8 dynamic[];\n"
    ".func (.param .b32 out) twice(.param .b32 x)\n{\n.reg .b32 %r<3>;\nld.param.u32 %r1, [x];\nshl.b32 %r2, %r1, 1;\nst.param.b32 [out], %r2;\nret;\n}\n"
    ".visible .entry k(.param .align 8 .b8 p[24], .param .u64 .ptr .global .align 16 q)\n"
    ".maxntid 128, 1, 1\n.minnctapersm 2\n.pragma \"nounroll\";\n{\n"
    ".reg .pred %p<4>;\n.reg .b16 %rs<4>;\n.reg .b32 %r<20>;\n.reg .b64 %rd<9>;\n.reg .f32 %f<9>;\n.shared .align 4 .b8 s[64];\n.loc 1 7 3\n"
    "ld.param.v2.u32 {%r1, %r2}, [p+8];\nld.param.u64 %rd1, [q];\ncvta.to.global.u64 %rd2, %rd1;\nmov.b64 {%r3, %r4}, %rd2;\n"
    "mov.u32 %r5, %tid.x;\nsetp.lt.and.s32 %p1|%p2, %r5, 5, !%p3;\n@!%p1 bra $L_end;\n"
    "{ // callseq\n.param .b32 a0;\nst.param.b32 [a0], %r5;\n.param .b32 r0;\ncall.uni (r0), twice, (a0);\nld.param.b32 %r6, [r0];\n}\n"
    "// begin inline asm\n{ .reg .pred q; setp.eq.u32 q, %r6, 0; DONE: @q bra DONE; }\n// end inline asm\n"
    "{ .reg .pred q; setp.eq.u32 q, %r6, 0; DONE: @q bra DONE; }\n"
    "fma.rn.ftz.f32 %f1, 0f3F800000, 0fBF800000, %f2;\nst.global.v4.f32 [%rd2+-16], {%f1, %f1, %f1, %f1};\n"
    "brx.idx %r5, cases;\ncases: .branchtargets A, B;\nA: add.s32 %r7, %r5, (3 + 4) * 2;\nB: st.shared.u32 [s+4], %r7;\n"
    "$L_end:\nret;\n}\n\t.section .debug_abbrev\n\t{\n.b8 1, 2\n.b64 $L_end\n}\n";

static void test_everything(void **state)
{
    (void)state;
    Arena *a = arena_new();
    Diags *d = diags_new(a);
    PtxModule *m = ptx_read(a, d, source_from_text(a, "k.ptx", everything));
    if (!m)
        diags_print(d, stderr, false);
    assert_non_null(m);
    const PtxFunction *k = ptx_entry(m, "k");
    assert_non_null(k);
    assert_int_equal(m->version, 90);
    assert_int_equal(m->sm, 90);
    assert_int_equal(k->param_bytes, 32);
    assert_int_equal(k->params.data[1]->at, 24);
    assert_int_equal(k->max_threads[0], 128);
    assert_int_equal(m->globals.n, 3);
    assert_int_equal(m->globals.data[1]->n_fixups, 2);
    assert_int_equal(m->code.data[k->first].file_line, 7);
    assert_string_equal(m->files.data[1], "kernel.cu");
    float numbers[3];
    memcpy(numbers, m->globals.data[2]->data, sizeof numbers);
    assert_true(numbers[0] == 1.5f && numbers[1] == 2.0f && numbers[2] == 3.0f);
    arena_free(a);
}

/* Bytes changed, dropped and doubled: any answer is right that is an answer. */
static void test_mutilated(void **state)
{
    (void)state;
    uint64_t x = 88172645463325252u;
    size_t len = strlen(everything);
    for (int round = 0; round < 3000; round++) {
        Arena *a = arena_new();
        char *t = arena_strndup(a, everything, len);
        size_t n = len;
        for (int k = 0; k < 3; k++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            size_t at = x % n;
            switch (x >> 40 & 3) {
            case 0:  t[at] = (char)(x >> 48 & 0x7f ? x >> 48 & 0x7f : 1); break;
            case 1:  memmove(t + at, t + at + 1, n - at); n--; break;
            case 2:  t[at] = everything[x >> 20 & 0xff]; break;
            default: t[n = at ? at : 1] = '\0'; break;
            }
        }
        ptx_read(a, diags_new(a), source_from_text(a, "k.ptx", t));
        arena_free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refusals), cmocka_unit_test(test_everything), cmocka_unit_test(test_mutilated)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
