"""Integers, bits, comparisons and predicates."""
from generate import table


def each(pattern, *lists):
    """The pattern with {0}, {1} … replaced by every combination, one row each."""
    rows = [[]]
    for options in lists:
        rows = [r + [o] for r in rows for o in (options.split() if isinstance(options, str) else options)]
    return [pattern.format(*r) for r in rows]


table("int_add", "add, sub, neg, abs; saturation at the ends of s32", """
    add.u32 d, a, b
    add.s32 d, a, b
    add.sat.s32 d, a, b
    sub.u32 d, a, b
    sub.sat.s32 d, a, b
    neg.s32 d, a
    abs.s32 d, a
    add.u16 hd, ha, hb
    sub.s16 hd, ha, hb
    neg.s16 hd, ha
    abs.s16 hd, ha
    mov.b64 lx, {a, b}; mov.b64 ly, {c, e}; add.u64 ld, lx, ly
    mov.b64 lx, {a, b}; mov.b64 ly, {c, e}; sub.s64 ld, lx, ly
    mov.b64 lx, {a, b}; neg.s64 ld, lx
    mov.b64 lx, {a, b}; abs.s64 ld, lx
""")

table("int_mul", "mul.lo/hi/wide of 16 and 32 bits, mul24",
      each("mul.lo.{0} d, a, b", "s32 u32") + each("mul.hi.{0} d, a, b", "s32 u32") +
      each("mul.wide.{0} ld, a, b", "s32 u32") + each("mul.wide.{0} d, ha, hb", "s16 u16") +
      each("mul.{0}.{1} hd, ha, hb", "lo hi", "s16 u16") + each("mul24.{0}.{1} d, a, b", "lo hi", "s32 u32"))

table("int_mul64", "mul and mad of 64 bits",
      each("mul.{0}.{1} ld, la, lb", "lo hi", "s64 u64") + each("mad.{0}.{1} ld, la, lb, lc", "lo hi", "s64 u64"), wide=True)

table("int_mad", "mad.lo/hi/wide, mad24, saturation",
      each("mad.{0}.{1} d, a, b, c", "lo hi", "s32 u32") + ["mad.hi.sat.s32 d, a, b, c", "mad24.hi.sat.s32 d, a, b, c"] +
      each("mad24.{0}.{1} d, a, b, c", "lo hi", "s32 u32") + each("mad.{0}.{1} hd, ha, hb, hc", "lo hi", "s16 u16") +
      each("mov.b64 lx, {{c, e}}; mad.wide.{0} ld, a, b, lx", "s32 u32") + each("mad.wide.{0} d, ha, hb, c", "s16 u16"))

table("int_carry", "carry chains through add, sub and mad", """
    add.cc.u32 x, a, b; addc.u32 d, c, e
    add.cc.u32 x, a, b; addc.cc.u32 y, c, e; addc.u32 d, 0, 0
    sub.cc.u32 x, a, b; subc.u32 d, c, e
    sub.cc.u32 x, a, b; subc.cc.u32 y, c, e; subc.u32 d, 0, 0
    sub.cc.s32 x, a, b; addc.s32 d, c, 0
    mad.lo.cc.u32 x, a, b, c; madc.hi.u32 d, a, b, e
    mad.hi.cc.u32 x, a, b, c; madc.lo.cc.u32 y, a, e, c; addc.u32 d, 0, 0
    mad.lo.cc.s32 x, a, b, c; madc.hi.s32 d, a, b, e
    mov.b64 lx, {a, b}; mov.b64 ly, {c, e}; add.cc.u64 lz, lx, ly; addc.u64 ld, lx, 0
    mov.b64 lx, {a, b}; mov.b64 ly, {c, e}; sub.cc.u64 lz, lx, ly; subc.u64 ld, ly, 0
    add.cc.u32 x, a, b; mov.u32 y, 7; xor.b32 y, y, e; addc.u32 d, y, 0
""")

table("int_div", "div and rem of 16 and 32 bits", each("or.b32 x, b, 1; {0}.{1} d, a, x", "div rem", "s32 u32") +
                each("or.b16 hx, hb, 1; {0}.{1} hd, ha, hx", "div rem", "s16 u16") +
                each("and.b32 x, b, 15; add.u32 x, x, 1; {0}.{1} d, a, x", "div rem", "s32 u32") +
                each("{0}.{1} d, a, {2}", "div rem", "s32 u32", "7 16 1000"))

table("int_div64", "div and rem of 64 bits",
      each("or.b64 lx, lb, 1; {0}.{1} ld, la, lx", "div rem", "s64 u64") +
      each("cvt.u64.u32 lx, b; or.b64 lx, lx, 1; {0}.{1} ld, la, lx", "div rem", "s64 u64") +
      each("{0}.{1} ld, la, 1000003", "div rem", "s64 u64"), wide=True)

table("int_minmax", "min, max, sad of 16 and 32 bits, min.relu, packed halves",
      each("{0}.{1} d, a, b", "min max", "s32 u32") + each("{0}.{1} hd, ha, hb", "min max", "s16 u16") +
      each("sad.{0} d, a, b, c", "s32 u32") + each("sad.{0} hd, ha, hb, hc", "s16 u16") +
      each("{0}.relu.s32 d, a, b", "min max") + each("{0}.{1} d, a, b", "min max", "s16x2 u16x2 relu.s16x2") +
      ["add.u16x2 d, a, b", "add.s16x2 d, a, b"], target="sm_90")

table("int_minmax64", "min, max, sad, abs of 64 bits",
      each("{0}.{1} ld, la, lb", "min max", "s64 u64") + each("sad.{0} ld, la, lb, lc", "s64 u64"), wide=True, block=64)

table("int_dot", "dp4a and dp2a", each("dp4a.{0}.{1} d, a, b, c", "s32 u32", "s32 u32") +
      each("dp2a.{0}.{1}.{2} d, a, b, c", "lo hi", "s32 u32", "s32 u32"))

table("int_count", "popc, clz, bfind, brev, not, cnot, fns",
      each("{0}.b32 d, a", "popc clz brev not cnot") + each("{0} hd, ha", "not.b16 cnot.b16") +
      each("bfind.{0} d, a", "s32 u32 shiftamt.s32 shiftamt.u32") +
      ["and.b32 x, b, 31; and.b32 y, c, 7; sub.s32 y, y, 3; fns.b32 d, a, x, y",
       "shr.u32 x, a, 20; bfind.u32 d, x", "shr.s32 x, a, 20; bfind.s32 d, x", "shr.u32 x, a, 28; clz.b32 d, x"])

table("int_count64", "popc, clz, bfind, brev, not, cnot of 64 bits",
      each("{0}.b64 d, la", "popc clz") + each("{0}.b64 ld, la", "brev not cnot") +
      each("bfind.{0} d, la", "s64 u64 shiftamt.s64 shiftamt.u64") + ["shr.u64 lx, la, 50; bfind.u64 d, lx"], wide=True, block=64)

table("int_fields", "bfe, bfi, bmsk, szext: positions and lengths in and beyond the word",
      each("bfe.{0} d, a, b, c", "s32 u32") + ["bfi.b32 d, a, b, c, e"] +
      each("and.b32 x, b, 63; and.b32 y, c, 63; {0}", ["bfe.u32 d, a, x, y", "bfe.s32 d, a, x, y", "bfi.b32 d, a, e, x, y"]) +
      each("and.b32 x, b, 31; and.b32 y, c, 15; {0}", ["bfe.u32 d, a, x, y", "bfe.s32 d, a, x, y", "bfi.b32 d, a, e, x, y"]) +
      each("and.b32 x, b, 63; and.b32 y, c, 63; bmsk.{0}.b32 d, x, y", "clamp wrap") + ["bmsk.clamp.b32 d, a, b", "bmsk.wrap.b32 d, a, b"] +
      each("and.b32 x, b, 63; szext.{0}.{1} d, a, x", "clamp wrap", "s32 u32"))

table("int_fields64", "bfe and bfi of 64 bits",
      each("and.b32 x, b, 127; and.b32 y, c, 127; {0}", ["bfe.u64 ld, la, x, y", "bfe.s64 ld, la, x, y", "bfi.b64 ld, la, le, x, y"]) +
      each("bfe.{0} ld, la, b, c", "s64 u64"), wide=True, block=64)

table("int_shift", "shl and shr within and beyond the width, of 16 and 32 bits",
      each("{0} d, a, b", "shl.b32 shr.u32 shr.s32 shr.b32") +
      each("and.b32 x, b, 63; {0} d, a, x", "shl.b32 shr.u32 shr.s32") +
      each("and.b32 x, b, 31; {0} hd, ha, x", "shl.b16 shr.u16 shr.s16") + each("{0} d, a, 32", "shl.b32 shr.u32 shr.s32") +
      ["shr.s16 hd, ha, b"])

table("int_shift64", "shl and shr of 64 bits",
      each("and.b32 x, b, 127; {0} ld, la, x", "shl.b64 shr.u64 shr.s64") + each("{0} ld, la, b", "shl.b64 shr.u64 shr.s64"),
      wide=True, block=64)

table("int_funnel", "shf: both directions, clamped and wrapped",
      each("shf.{0}.{1}.b32 d, a, b, c", "l r", "clamp wrap") +
      each("and.b32 x, c, 63; shf.{0}.{1}.b32 d, a, b, x", "l r", "clamp wrap") + ["shf.l.wrap.b32 d, a, a, 13"])

table("int_logic", "and, or, xor, lop3 by its table, lop3 with a predicate",
      each("{0}.b32 d, a, b", "and or xor") + each("{0}.b16 hd, ha, hb", "and or xor") +
      each("lop3.b32 d, a, b, c, {0}", "0x00 0xff 0x80 0xfe 0x96 0xe8 0xca 0x2d 0x17 0x6a 0xd8 0x01 0x40") +
      each("setp.lt.s32 q, a, b; lop3.{0}.b32 x|p, a, b, c, 0x80, q; selp.b32 x, 1, 0, p; mov.b32 d, x", "or and"),
      version="8.3")

table("int_permute", "prmt: general selectors and the named modes",
      ["prmt.b32 d, a, b, c", "and.b32 x, c, 0x7777; prmt.b32 d, a, b, x", "prmt.b32 d, a, b, 0x5410", "prmt.b32 d, a, b, 0x7632",
       "prmt.b32 d, a, 0, 0x0123", "prmt.b32 d, a, b, 0xba98", "prmt.b32 d, a, b, 0x4321"] +
      each("prmt.b32.{0} d, a, b, c", "f4e b4e rc8 ecl ecr rc16"))

COMPARE_S, COMPARE_U = "eq ne lt le gt ge", "eq ne lo ls hi hs lt ge"
table("compare_int", "setp of s32, u32 and b32",
      each("setp.{0}.s32 p, a, b", COMPARE_S) + each("setp.{0}.u32 p, a, b", COMPARE_U) + each("setp.{0}.b32 p, a, b", "eq ne") +
      ["setp.eq.u32 p, a, a", "setp.le.s32 p, a, 0", "setp.gt.u32 p, a, 2147483647"])
table("compare_short", "setp of s16, u16 and b16",
      each("setp.{0}.s16 p, ha, hb", COMPARE_S) + each("setp.{0}.u16 p, ha, hb", COMPARE_U) + each("setp.{0}.b16 p, ha, hb", "eq ne"))
table("compare_long", "setp of s64, u64 and b64",
      each("setp.{0}.s64 p, la, lb", COMPARE_S) + each("setp.{0}.u64 p, la, lb", COMPARE_U) + each("setp.{0}.b64 p, la, lb", "eq ne"),
      wide=True)

table("compare_combined", "setp with a third predicate and two results; set",
      each("setp.gt.s32 q, c, e; setp.lt.{0}.s32 p|s, a, b, q; selp.u32 x, 1, 0, p; selp.u32 y, 2, 0, s; add.u32 d, x, y", "and or xor") +
      each("setp.gt.s32 q, c, e; setp.ge.{0}.u32 p, a, b, !q", "and or xor") +
      ["setp.lt.s32 p|q, a, b; selp.u32 x, 1, 0, p; selp.u32 y, 2, 0, q; add.u32 d, x, y"] +
      each("set.{0}.{1}.s32 d, a, b", "eq lt ge", "u32 s32 f32") +
      each("setp.gt.s32 q, c, e; set.lt.{0}.u32.u32 d, a, b, q", "and or xor"))

table("select", "selp and slct of every width, predicate logic",
      ["setp.lt.s32 p, a, b; selp.b32 d, a, b, p", "setp.lt.s32 p, a, b; selp.f32 d, a, b, !p",
       "setp.lt.s32 p, a, b; selp.b16 hd, ha, hb, p", "setp.lt.s32 p, a, b; mov.b64 lx, {a, b}; selp.b64 ld, lx, 77, p",
       "slct.u32.s32 d, a, b, c", "slct.f32.s32 d, a, b, c", "slct.s16.s32 hd, ha, hb, c", "mov.b64 lx, {a, b}; slct.b64.s32 ld, lx, 5, c",
       "slct.u32.f32 d, a, b, fc", "slct.ftz.u32.f32 d, a, b, fc"] +
      each("setp.lt.s32 s, a, b; setp.lt.s32 q, c, e; {0}.pred p, s, q", "and or xor") +
      ["setp.lt.s32 s, a, b; not.pred p, s", "setp.lt.s32 s, a, b; mov.pred p, s", "mov.u32 d, a; setp.lt.s32 p, a, b; @p mov.u32 d, 5",
       "mov.u32 d, a; setp.lt.s32 p, a, b; @!p add.u32 d, d, 5",
       "mov.u32 d, 9; setp.lt.s32 p, a, b; @p add.u32 d, d, 1; @!p add.u32 d, d, 2"])

table("move_pack", "mov: packing, unpacking, immediates of each kind", """
    mov.b32 d, {ha, hb}
    mov.b32 {hx, hy}, a; mov.b16 hd, hy
    mov.b64 ld, {a, b}
    mov.b64 lx, {a, b}; mov.b64 {x, y}, lx; mov.u32 d, y
    mov.b64 ld, {ha, hb, hc, ha}
    mov.b64 lx, {a, b}; mov.b64 {hx, hy, hz, hd}, lx; mov.b16 hd, hz
    mov.f32 d, 0f3fc00000
    mov.f32 d, 1.5
    mov.f32 d, -2.5e-3
    mov.f64 ld, 0d400921FB54442D18
    mov.f64 ld, 3.25
    mov.u32 d, 0xdeadbeef
    mov.u32 d, 0b1011
    mov.u32 d, 0777
    mov.s32 d, -5
    add.u32 d, a, (3 + 4) * 2 - 1
    mov.u32 d, (1 << 20) | 255
    mov.u64 ld, 0x123456789abcdef0
""")

table("byte_tricks", "what compilers make of bytes: prmt, bfe and shifts together", """
    prmt.b32 x, a, 0, 0x4140; prmt.b32 y, a, 0, 0x4342; add.u32 d, x, y
    shl.b32 x, a, 16; mov.b32 fd, x
    and.b32 x, a, 0xffff0000; mov.b32 fd, x
    prmt.b32 x, a, 0x43000000, 0x7650; sub.f32 fd, x, 0f43000000
    lop3.b32 x, a, 0x000f000f, 0x64006400, 0xea; mov.b32 d, x
    prmt.b32 x, a, b, 0xc480; mov.u32 d, x
    bfe.s32 x, a, 8, 8; cvt.rn.f32.s32 fd, x
    shf.r.wrap.b32 x, a, b, 24; prmt.b32 d, x, a, 0x2107
""")
