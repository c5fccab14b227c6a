"""Floating point: arithmetic of every type, comparisons, conversions, approximations."""
from generate import table
from programs_arith import each

ROUND = "rn rz rm rp"

for op, name in (("add", "a, b"), ("sub", "a, b"), ("mul", "a, b"), ("fma", "a, b, c")):
    table("f32_" + op, f"{op}.f32: rounding, ftz, saturation",
          each(op + ".{0}{1}{2}.f32 fd, " + name, ROUND, ["", ".ftz"], ["", ".sat"]) +
          ([] if op == "fma" else [f"{op}.f32 fd, {name}", f"{op}.f32 fd, a, 0f3f800001"]), inputs="F32")

table("f32_div", "div and rcp, sqrt, correctly rounded, with and without ftz",
      each("div.{0}{1}.f32 fd, a, b", ROUND, ["", ".ftz"]) + each("rcp.{0}{1}.f32 fd, a", ROUND, ["", ".ftz"]) +
      each("sqrt.{0}{1}.f32 fd, a", ROUND, ["", ".ftz"]), inputs="F32")

table("f32_minmax", "min, max with NaN and xorsign; abs, neg, copysign",
      each("{0}{1}.f32 fd, a, b", "min max", ["", ".ftz", ".NaN", ".ftz.NaN", ".xorsign.abs", ".NaN.xorsign.abs"]) +
      ["abs.f32 fd, a", "neg.f32 fd, a", "abs.ftz.f32 fd, a", "neg.ftz.f32 fd, a", "copysign.f32 fd, a, b"], inputs="F32", target="sm_90")

table("f32_test", "testp", each("testp.{0}.f32 p, a", "finite infinite number notanumber normal subnormal"), inputs="F32")

COMPARE_F = "eq ne lt le gt ge equ neu ltu leu gtu geu num nan"
table("f32_compare", "setp of f32, ordered and unordered", each("setp.{0}.f32 p, a, b", COMPARE_F), inputs="F32")
table("f32_compare_ftz", "setp of f32 with denormals flushed; set",
      each("setp.{0}.ftz.f32 p, a, b", COMPARE_F) + each("set.{0}.{1}.f32 d, a, b", "lt neu nan", "u32 s32 f32") +
      each("setp.gt.f32 q, c, e; setp.lt.{0}.f32 p|s, a, b, q; selp.u32 x, 1, 0, p; selp.u32 y, 2, 0, s; add.u32 d, x, y", "and or xor"),
      inputs="F32")

# approximations: the bounds are those of the PTX ISA's tables of errors; twice, since both sides may be off
for name, rows, compare, bound, inputs in (
        ("div_full", ["div.full.f32 fd, a, b", "div.full.ftz.f32 fd, a, b"], "REL", "2 * 2 * 0x1p-23", "MODERATE"),
        ("div_approx", ["div.approx.f32 fd, a, b", "div.approx.ftz.f32 fd, a, b"], "REL", "2 * 2 * 0x1p-23", "MODERATE"),
        ("rcp_approx", ["rcp.approx.f32 fd, a", "rcp.approx.ftz.f32 fd, a"], "REL", "2 * 0x1p-23", "F32"),
        ("sqrt_approx", ["sqrt.approx.f32 fd, a", "sqrt.approx.ftz.f32 fd, a"], "REL", "2 * 0x1p-23", "F32"),
        ("rsqrt_approx", ["rsqrt.approx.f32 fd, a", "rsqrt.approx.ftz.f32 fd, a"], "REL", "2 * 0x1.2p-23", "F32"),
        ("ex2_approx", ["ex2.approx.f32 fd, a", "ex2.approx.ftz.f32 fd, a"], "REL", "2 * 0x1.6ap-23", "EXPONENT"),
        ("lg2_approx", ["lg2.approx.f32 fd, a", "lg2.approx.ftz.f32 fd, a"], "REL_ABS", "2 * 0x1p-22", "F32"),
        ("sin_cos_approx", ["sin.approx.f32 fd, a", "cos.approx.f32 fd, a", "sin.approx.ftz.f32 fd, a", "cos.approx.ftz.f32 fd, a"],
         "ABS", "2 * 0x1.6ap-21", "PI"),
        ("tanh_approx", ["tanh.approx.f32 fd, a"], "REL", "2 * 0x1p-11", "EXPONENT")):
    table("f32_" + name, name.replace("_", ".") + " of f32", rows, compare=compare, bound=bound, inputs=inputs, block=256)

table("f64_arith", "add, sub, mul, fma of f64 with every rounding",
      each("{0}.{1}.f64 dd, da, db", "add sub mul", ROUND) + each("fma.{0}.f64 dd, da, db, dc", ROUND), wide=True, inputs="F64")
table("f64_div", "div, rcp, sqrt of f64", each("div.{0}.f64 dd, da, db", ROUND) + each("{0}.{1}.f64 dd, da", "rcp sqrt", "rn rz rm rp"),
      wide=True, inputs="F64", block=64)
table("f64_minmax", "min, max, abs, neg, copysign, testp of f64",
      each("{0}.f64 dd, da, db", "min max copysign") + each("{0}.f64 dd, da", "abs neg") +
      each("testp.{0}.f64 p, da", "finite infinite number notanumber normal subnormal"), wide=True, inputs="F64")
table("f64_compare", "setp of f64", each("setp.{0}.f64 p, da, db", COMPARE_F), wide=True, inputs="F64")
table("f64_approx", "rcp and rsqrt of f64, approximate", ["rcp.approx.ftz.f64 dd, da", "rsqrt.approx.ftz.f64 dd, da"],
      wide=True, inputs="F64", compare="REL64", bound="2 * 0x1p-20")

# 16 bits
for t, inputs, target, version in (("f16", "F16", "sm_90", "8.0"), ("bf16", "BF16", "sm_90", "8.0")):
    ftz = ["", ".ftz", ".sat", ".ftz.sat"] if t == "f16" else [""]
    table(t + "_arith", f"add, sub, mul, fma, min, max, abs, neg of {t}",
          each("{0}.rn{1}." + t + " hd, ha, hb", "add sub mul", ftz) + each("fma.rn{0}." + t + " hd, ha, hb, hc", ftz + [".relu"]) +
          each("{0}{1}." + t + " hd, ha, hb", "min max", ["", ".NaN", ".xorsign.abs", ".NaN.xorsign.abs"]) +
          each("{0}." + t + " hd, ha", "abs neg"), inputs=inputs, target=target, version=version)
    table(t + "x2_arith", f"add, sub, mul, fma, min, max, abs, neg of {t}x2",
          each("{0}.rn{1}." + t + "x2 d, a, b", "add sub mul", ftz) + each("fma.rn{0}." + t + "x2 d, a, b, c", ftz + [".relu"]) +
          each("{0}{1}." + t + "x2 d, a, b", "min max", ["", ".NaN", ".xorsign.abs", ".NaN.xorsign.abs"]) +
          each("{0}." + t + "x2 d, a", "abs neg"), inputs=inputs, target=target, version=version)
    table(t + "_compare", f"setp and set of {t} and {t}x2",
          each("setp.{0}." + t + " p, ha, hb", COMPARE_F) +
          each("setp.{0}." + t + "x2 p|q, a, b; selp.u32 x, 1, 0, p; selp.u32 y, 2, 0, q; add.u32 d, x, y", "lt geu nan") +
          each("set.{0}.u32." + t + "x2 d, a, b", "lt neu") + each("set.{0}." + t + "x2." + t + "x2 d, a, b", "lt neu"),
          inputs=inputs, target=target, version=version)

table("f16_approx", "ex2 and tanh of f16 and f16x2",
      ["ex2.approx.f16 hd, ha", "tanh.approx.f16 hd, ha", "ex2.approx.f16x2 d, a", "tanh.approx.f16x2 d, a"],
      inputs="F16", compare="REL16", bound="2 * 0x1p-9.9".replace("0x1p-9.9", "0x1.13p-10"))
table("bf16_approx", "ex2 and tanh of bf16 and bf16x2",
      ["ex2.approx.ftz.bf16 hd, ha", "tanh.approx.bf16 hd, ha", "ex2.approx.ftz.bf16x2 d, a", "tanh.approx.bf16x2 d, a"],
      inputs="BF16", compare="RELB16", bound="2 * 0x1p-7", target="sm_90")

# conversions
INTS = "u8 s8 u16 s16 u32 s32".split()
table("cvt_f32_int", "f32 to integers of 16 and 32 bits: every rounding", each("cvt.{0}.{1}.f32 d, fa", "rni rzi rmi rpi", "u32 s32") +
      each("cvt.{0}.{1}.f32 hd, fa", "rni rzi rmi rpi", "u16 s16") + each("cvt.{0}.ftz.{1}.f32 d, fa", "rmi rpi", "u32 s32"), inputs="F32_INT")
table("cvt_f32_byte", "f32 to bytes", each("cvt.{0}.{1}.f32 d, fa", "rni rzi rmi rpi", "u8 s8") +
      each("cvt.{0}.sat.{1}.f32 d, fa", "rni rzi", "u8 s8 u32 s32"), inputs="F32_INT")
table("cvt_f32_long", "f32 to 64 bits", each("cvt.{0}.{1}.f32 ld, fa", "rni rzi rmi rpi", "u64 s64"), inputs="F32_INT")
table("cvt_f32_f32", "f32 to integral f32, saturated, flushed", each("cvt.{0}{1}.f32.f32 fd, fa", "rni rzi rmi rpi", ["", ".ftz", ".sat"]) +
      ["cvt.sat.f32.f32 fd, fa", "cvt.ftz.f32.f32 fd, fa"], inputs="F32_INT")
table("cvt_int_f32", "integers to f32", each("cvt.{0}.f32.{1} fd, a", ROUND, "u32 s32") + each("cvt.{0}.f32.{1} fd, ha", "rn rz", "u16 s16") +
      each("cvt.rn.f32.{0} fd, a", "u8 s8") + each("mov.b64 lx, {{a, b}}; cvt.{0}.f32.{1} fd, lx", ROUND, "u64 s64") +
      ["cvt.rn.sat.f32.s32 fd, a"])
table("cvt_int_int", "integers to integers: extension, truncation",
      each("cvt.{0}.{1} d, a", "u8 s8 u16 s16 u32 s32", "u8 s8 u16 s16 u32 s32"), block=64)
table("cvt_int_sat", "integers to integers, saturated",
      ["cvt.sat.u8.s32 d, a", "cvt.sat.s8.s32 d, a", "cvt.sat.u16.s32 d, a", "cvt.sat.s16.s32 d, a", "cvt.sat.u32.s32 d, a", "cvt.sat.s32.u32 d, a",
       "cvt.sat.u8.u32 d, a", "cvt.sat.s8.u32 d, a", "cvt.sat.u16.u32 d, a", "cvt.sat.s16.u32 d, a", "cvt.sat.u8.s16 d, ha", "cvt.sat.s8.s16 d, ha",
       "cvt.sat.s8.u16 d, ha", "cvt.sat.u16.s16 d, ha", "cvt.sat.s16.u16 d, ha"])
table("cvt_long", "integers to and from 64 bits", each("cvt.{0}.{1} ld, a", "u64 s64", "u32 s32") + each("cvt.{0}.{1} d, la", "u32 s32 s16 u8", "u64 s64") +
      each("cvt.sat.{0}.{1} d, la", "u32 s32", "u64 s64") + ["cvt.sat.u64.s64 ld, la", "cvt.sat.s64.u64 ld, la"], wide=True, block=64)
table("cvt_f16", "f32 to and from f16 and f16x2",
      each("cvt.{0}.f16.f32 hd, fa", ROUND) + each("cvt.rn{0}.f16.f32 hd, fa", [".ftz", ".sat", ".relu"]) +
      each("cvt.{0}{1}.f16x2.f32 d, fa, fb", "rn rz", ["", ".relu"]) + ["cvt.f32.f16 fd, ha", "cvt.ftz.f32.f16 fd, ha", "cvt.sat.f32.f16 fd, ha"] +
      each("cvt.{0}.f16.f16 hd, ha", "rni rzi rmi rpi"), inputs="F32_F16")
table("cvt_f16_widen", "f16 to f32, f64 and integers", ["cvt.f32.f16 fd, ha", "cvt.f64.f16 dd, ha"] +
      each("cvt.{0}.{1}.f16 d, ha", "rni rzi rmi rpi", "u32 s32") + each("cvt.{0}.{1}.f16 hd, ha", "rzi rpi", "u16 s16") +
      each("cvt.rzi.{0}.f16 ld, ha", "u64 s64"), inputs="F16")
table("cvt_int_f16", "integers to f16", each("cvt.{0}.f16.{1} hd, a", "rn rz rm rp", "u32 s32") + each("cvt.rn.f16.{0} hd, ha", "u16 s16") +
      each("cvt.rn.f16.{0} hd, a", "u8 s8") + each("shr.s32 x, a, 15; cvt.{0}.f16.s32 hd, x", ROUND))
table("cvt_bf16", "f32 to and from bf16, bf16x2, tf32",
      each("cvt.{0}{1}.bf16.f32 hd, fa", "rn rz", ["", ".relu"]) + each("cvt.{0}{1}.bf16x2.f32 d, fa, fb", "rn rz", ["", ".relu"]) +
      ["cvt.rna.tf32.f32 d, fa", "cvt.f32.bf16 fd, ha", "cvt.rn.tf32.f32 d, fa", "cvt.rz.tf32.f32 d, fa", "cvt.rn.relu.tf32.f32 d, fa"],
      inputs="F32", target="sm_90")
table("cvt_bf16_int", "bf16 to and from integers", each("cvt.{0}.{1}.bf16 d, ha", "rni rzi rmi rpi", "u32 s32") +
      each("cvt.{0}.bf16.{1} hd, a", ROUND, "u32 s32") + each("cvt.rn.bf16.{0} hd, ha", "u16 s16") +
      each("cvt.{0}.bf16.f16 hd, ha", ROUND) + each("cvt.{0}.f16.bf16 hd, ha", ROUND) + ["cvt.f64.bf16 dd, ha"],
      inputs="BF16", target="sm_90")
table("cvt_fp8", "f32 and f16x2 to and from e4m3 and e5m2",
      each("cvt.rn.satfinite{1}.{0}x2.f32 hd, fa, fb", "e4m3 e5m2", ["", ".relu"]) +
      each("cvt.rn.satfinite.{0}x2.f16x2 hd, c", "e4m3 e5m2") + each("cvt.rn{1}.f16x2.{0}x2 d, ha", "e4m3 e5m2", ["", ".relu"]),
      inputs="F32_F16", target="sm_90", version="8.1")
table("cvt_f64", "f64 to and from f32, f16 and integers", each("cvt.{0}.f32.f64 fd, da", ROUND) + ["cvt.rn.ftz.f32.f64 fd, da", "cvt.rn.sat.f32.f64 fd, da"] +
      each("cvt.{0}.{1}.f64 d, da", "rni rzi rmi rpi", "u32 s32") + each("cvt.{0}.{1}.f64 ld, da", "rzi rni", "u64 s64") +
      each("cvt.rn.f16.f64 hd, {0}", "da db") + each("cvt.{0}.f64.f64 dd, da", "rni rzi rmi rpi"), wide=True, inputs="F64_INT")
table("cvt_to_f64", "f32 and integers to f64", ["cvt.f64.f32 dd, fa", "cvt.ftz.f64.f32 dd, fa", "cvt.rn.f64.u32 dd, a", "cvt.rn.f64.s32 dd, a",
      "cvt.rn.f64.u8 dd, a", "cvt.rn.f64.s16 dd, ha"] + each("mov.b64 lx, {{a, b}}; cvt.{0}.f64.{1} dd, lx", ROUND, "u64 s64"), inputs="F32")
table("mixed_halves", "16-bit values through integer code: pack, widen by shift, compare, accumulate", """
    shl.b32 x, a, 16; and.b32 y, a, 0xffff0000; add.f32 fd, x, y
    mov.b32 {hx, hy}, a; cvt.f32.f16 fx, hx; cvt.f32.f16 fy, hy; fma.rn.f32 fd, fx, fy, fc
    cvt.rn.bf16x2.f32 x, fa, fb; shl.b32 x, x, 16; mov.b32 fd, x
    mov.b32 x, 0x3c003c00; fma.rn.f16x2 d, a, x, b
    cvt.rn.f16.f32 hd, fa
    cvt.f32.f16 fx, ha; ex2.approx.f32 fx, 0f40000000; mov.f32 fd, fx
""", inputs="F32_F16")
