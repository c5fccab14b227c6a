"""ldmatrix, stmatrix, movmatrix and mma.sync. Products of small integers are exact, whatever the order of a tensor core's sums;
one program a type takes fractions, and is compared within a bound."""
from generate import program

STORE_ALL = "ld.global.v4.u32 {a, b, c, e}, [from];\nmov.u32 x, tiles;\nmad.lo.u32 y, tid, 16, x;\nst.shared.v4.u32 [y], {a, b, c, e};\nbar.sync 0;\n" \
    "shl.b32 z, lane, 4;\nadd.u32 z, z, x;\n"
MODULE = ".shared .align 128 .b8 tiles[1024];"

body, o = STORE_ALL, 0
for trans in ("", ".trans"):
    for n, regs in ((1, "{r0}"), (2, "{r0, r1}"), (4, "{r0, r1, r2, r3}")):
        body += f"ldmatrix.sync.aligned.m8n8.x{n}{trans}.shared.b16 {regs}, [z];\n"
        for i in range(n):
            body += f"st.global.u32 [to+{4 * o}], r{i};\n"
            o += 1
program("ldmatrix", "ldmatrix x1, x2, x4, plain and transposed; rows at addresses in reverse", body + """
    sub.u32 y, 31, lane;
    mad.lo.u32 z, y, 16, x;
    ldmatrix.sync.aligned.m8n8.x4.shared::cta.b16 {r0, r1, r2, r3}, [z];
    st.global.u32 [to+56], r0;
    st.global.u32 [to+60], r3;
""", words_in=128, words_out=32 * 16, per_out=16, block=32, module=MODULE)

body, o = "", 0
for trans in ("", ".trans"):
    for n, regs in ((1, "{a}"), (2, "{a, b}"), (4, "{a, b, c, e}")):
        body += "bar.sync 0;\nst.shared.v4.u32 [y], {0, 0, 0, 0};\nbar.sync 0;\n" \
                f"stmatrix.sync.aligned.m8n8.x{n}{trans}.shared.b16 [z], {regs};\nbar.sync 0;\nld.shared.v4.u32 {{r0, r1, r2, r3}}, [y];\n" \
                f"st.global.v4.u32 [to+{16 * o}], {{r0, r1, r2, r3}};\n"
        o += 1
program("stmatrix", "stmatrix x1, x2, x4, plain and transposed", STORE_ALL + body, words_in=128, words_out=32 * 24, per_out=24, block=32,
        module=MODULE, target="sm_90")

program("movmatrix", "movmatrix: a transposed fragment", """
    ld.global.u32 a, [from];
    movmatrix.sync.aligned.m8n8.trans.b16 d, a;
    st.global.u32 [to], d;
""", words_in=32, words_out=32, per_in=1, block=32)


def mma(name, shape, types, na, nb, nc, inputs, compare="BITS", bound="0", extra="", wide=False, scale=""):
    """A thread's words of A, B and C follow each other in `in`; D is stored as registers."""
    kinds = {"f16c": "r", "f64": "m"}
    per, body = na + nb + nc, ""
    if wide:                           # f64: two words a register
        for i in range(per):
            body += f"ld.global.u64 m{i}, [from+{8 * i}];\n"
        reg = lambda i: f"m{i}"
    else:
        for i in range(per):
            body += f"ld.global.u32 r{i}, [from+{4 * i}];\n"
        reg = lambda i: f"r{i}"
    vec = lambda lo, n: "{" + ", ".join(reg(i) for i in range(lo, lo + n)) + "}"
    body += f"mma.sync.aligned.{shape}.row.col{extra}.{types} {vec(per, nc)}, {vec(0, na)}, {vec(na, nb)}, {vec(na + nb, nc)};\n"
    for i in range(nc):
        body += f"st.global.{'u64' if wide else 'u32'} [to+{(8 if wide else 4) * i}], {reg(per + i)};\n"
    k = 2 if wide else 1
    program("mma_" + name, f"mma.sync {shape}{extra} {types}", body, words_in=32 * per * k, words_out=32 * nc * k, per_in=per * k, per_out=nc * k,
            block=32, inputs=inputs, compare=compare, bound=bound)


mma("f16_k16", "m16n8k16", "f32.f16.f16.f32", 4, 2, 4, "SMALL_F16_C")
mma("f16_k8", "m16n8k8", "f32.f16.f16.f32", 2, 1, 4, "SMALL_F16_C")
mma("f16_f16_k16", "m16n8k16", "f16.f16.f16.f16", 4, 2, 2, "SMALL_F16")
mma("f16_f16_k8", "m16n8k8", "f16.f16.f16.f16", 2, 1, 2, "SMALL_F16")
mma("bf16_k16", "m16n8k16", "f32.bf16.bf16.f32", 4, 2, 4, "SMALL_BF16_C")
mma("bf16_k8", "m16n8k8", "f32.bf16.bf16.f32", 2, 1, 4, "SMALL_BF16_C")
mma("tf32_k8", "m16n8k8", "f32.tf32.tf32.f32", 4, 2, 4, "SMALL_F32")
mma("tf32_k4", "m16n8k4", "f32.tf32.tf32.f32", 2, 1, 4, "SMALL_F32")
mma("s8_k32", "m16n8k32", "s32.s8.s8.s32", 4, 2, 4, "WORDS")
mma("s8_k16", "m16n8k16", "s32.s8.s8.s32", 2, 1, 4, "WORDS")
mma("u8_s8_k32", "m16n8k32", "s32.u8.s8.s32", 4, 2, 4, "WORDS")
mma("s8_k32_sat", "m16n8k32", "s32.s8.u8.s32", 4, 2, 4, "WORDS", extra=".satfinite")
mma("f64_k4", "m8n8k4", "f64.f64.f64.f64", 1, 1, 2, "SMALL_F64", wide=True)
# fractions: the sum's terms are truncated to about 2^-23 of the largest of them (numerics.md: the accumulator truncates)
mma("f16_fractions", "m16n8k16", "f32.f16.f16.f32", 4, 2, 4, "FRACTION_F16_C", compare="ABS", bound="0x1p-17")
mma("bf16_fractions", "m16n8k16", "f32.bf16.bf16.f32", 4, 2, 4, "FRACTION_BF16_C", compare="ABS", bound="0x1p-17")
mma("tf32_fractions", "m16n8k8", "f32.tf32.tf32.f32", 4, 2, 4, "FRACTION_F32", compare="ABS", bound="0x1p-17")
mma("tf32_low_bits", "m16n8k8", "f32.tf32.tf32.f32", 4, 2, 4, "LOW_BITS_F32")
mma("f64_fractions", "m8n8k4", "f64.f64.f64.f64", 1, 1, 2, "FRACTION_F64", wide=True)

program("matrix_product", "16x8x32 by ldmatrix, ldmatrix.trans and two mma; C written back by stmatrix as f16", """
    ld.global.v4.u32 {a, b, c, e}, [from];
    mov.u32 x, tiles;
    mad.lo.u32 y, tid, 16, x;
    st.shared.v4.u32 [y], {a, b, c, e};
    ld.global.v4.u32 {a, b, c, e}, [from+512];
    st.shared.v4.u32 [y+512], {a, b, c, e};
    ld.global.v4.u32 {a, b, c, e}, [from+1024];
    st.shared.v4.u32 [y+1024], {a, b, c, e};
    bar.sync 0;
    and.b32 z, lane, 15;
    mul.lo.u32 z, z, 64;
    shr.u32 w, lane, 4;
    mad.lo.u32 z, w, 16, z;
    add.u32 z, z, x;
    ldmatrix.sync.aligned.m8n8.x4.shared.b16 {r0, r1, r2, r3}, [z];
    ldmatrix.sync.aligned.m8n8.x4.shared.b16 {r4, r5, r6, r7}, [z+32];
    mad.lo.u32 z, lane, 16, x;
    ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {r8, r9, r10, r11}, [z+1024];
    mov.b32 r12, 0;
    mov.b32 r13, 0;
    mov.b32 r14, 0;
    mov.b32 r15, 0;
    mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {r12, r13, r14, r15}, {r0, r1, r2, r3}, {r8, r9}, {r12, r13, r14, r15};
    mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {r12, r13, r14, r15}, {r4, r5, r6, r7}, {r10, r11}, {r12, r13, r14, r15};
    st.global.v4.u32 [to], {r12, r13, r14, r15};
    cvt.rn.f16x2.f32 r0, r13, r12;
    cvt.rn.f16x2.f32 r1, r15, r14;
    bar.sync 0;
    and.b32 z, lane, 15;
    mad.lo.u32 z, z, 16, x;
    stmatrix.sync.aligned.m8n8.x2.shared.b16 [z], {r0, r1};
    bar.sync 0;
    mad.lo.u32 z, lane, 8, x;
    ld.shared.v2.u32 {a, b}, [z];
    st.global.v2.u32 [to+16], {a, b};
    st.global.v2.u32 [to+24], {0, 0};
""", words_in=384, words_out=256, per_out=8, block=32, inputs="SMALL_F16", target="sm_90", module=".shared .align 128 .b8 tiles[1536];")
