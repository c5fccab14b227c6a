"""Loads and stores of every width, state space and vector; atomics; fences; cp.async."""
from generate import program, table


table("ld_global_widths", "ld.global of every width, narrow ones into wider registers", [
    f"ld.global.{t} x, [from+{o}]; mov.u32 d, x" for t, o in (("u8", 0), ("u8", 3), ("s8", 1), ("s8", 5), ("u16", 2), ("s16", 6), ("u32", 4), ("b32", 8))] + [
    "ld.global.b16 hd, [from+10]; mov.b16 hd, hd", "ld.global.u8 hx, [from+7]; mov.b16 hd, hx", "ld.global.s8 hx, [from+7]; mov.b16 hd, hx",
    "ld.global.u8 lx, [from+9]; mov.b64 ld, lx", "ld.global.s8 lx, [from+9]; mov.b64 ld, lx", "ld.global.s16 lx, [from+6]; mov.b64 ld, lx",
    "ld.global.s32 lx, [from+12]; mov.b64 ld, lx", "ld.global.u64 lx, [from+8]; mov.b64 ld, lx", "ld.global.f64 dx, [from]; mov.f64 dd, dx",
    "ld.global.f32 fx, [from+4]; mov.f32 fd, fx"], block=64)

table("ld_global_vectors", "ld.global.v2 and v4 of every width", [
    "ld.global.v2.u8 {x, y}, [from+2]; shl.b32 y, y, 8; or.b32 d, x, y",
    "ld.global.v4.u8 {x, y, z, w}, [from+4]; mad.lo.u32 x, y, 1000, x; mad.lo.u32 x, z, 1000003, x; mad.lo.u32 d, w, 77777, x",
    "ld.global.v4.s8 {x, y, z, w}, [from+8]; mad.lo.u32 x, y, 1000, x; mad.lo.u32 x, z, 1000003, x; mad.lo.u32 d, w, 77777, x",
    "ld.global.v2.u16 {hx, hy}, [from+4]; mov.b32 d, {hy, hx}",
    "ld.global.v2.b16 {hx, hy}, [from]; add.u16 hd, hx, hy",
    "ld.global.v4.s16 {x, y, z, w}, [from+8]; mad.lo.u32 x, y, 1000, x; mad.lo.u32 x, z, 1000003, x; mad.lo.u32 d, w, 77777, x",
    "ld.global.v2.u32 {x, y}, [from+8]; sub.u32 d, x, y", "ld.global.v4.f32 {x, y, z, w}, [from]; xor.b32 x, x, z; xor.b32 d, w, x",
    "ld.global.v2.b64 {lx, ly}, [from]; sub.u64 ld, lx, ly", "ld.global.v2.f64 {lx, ly}, [from]; xor.b64 ld, lx, ly"], block=64)

QUALIFIED = "ca cg cs cv nc nc.L1::no_allocate volatile relaxed.gpu acquire.gpu relaxed.sys acquire.cta L1::evict_last L2::128B ca.L2::64B".split()


def qualified(q):
    if q == "volatile":
        return "ld.volatile.global.u32"
    if q.split(".")[0] in ("relaxed", "acquire"):
        return f"ld.{q}.global.u32"
    return f"ld.global.{q}.u32"


table("ld_qualifiers", "cache operators, volatile, memory orders, prefetch hints: all the same value",
      [f"{qualified(q)} x, [from+{4 * (i % 4)}]; mov.u32 d, x" for i, q in enumerate(QUALIFIED)] +
      ["prefetch.global.L2 [from]; prefetchu.L1 [from]; ld.weak.global.u32 x, [from]; mov.u32 d, x",
       "createpolicy.fractional.L2::evict_last.b64 lx, 1.0; ld.global.L2::cache_hint.u32 x, [from+4], lx; mov.u32 d, x",
       "ldu.global.u32 x, [from+8]; mov.u32 d, x", "ld.global.nc.v2.u32 {x, y}, [from+8]; add.u32 d, x, y"], block=64)

program("st_widths", "st.global of every width and vector", """
    ld.global.v4.u32 {a, b, c, e}, [from];
    st.global.v4.u32 [to], {0, 0, 0, 0};
    st.global.v4.u32 [to+16], {0, 0, 0, 0};
    st.global.v4.u32 [to+32], {0, 0, 0, 0};
    st.global.u8 [to], a;
    st.global.u8 [to+3], b;
    cvt.u16.u32 hx, c;
    st.global.b8 [to+2], hx;
    st.global.u16 [to+4], a;
    st.global.b16 [to+6], hx;
    st.global.v2.u8 [to+8], {a, b};
    st.global.v4.u8 [to+12], {a, b, c, e};
    st.global.v2.u16 [to+16], {b, c};
    st.global.v4.b16 [to+24], {hx, hx, hx, hx};
    st.volatile.global.u32 [to+20], e;
    st.global.wb.u32 [to+32], a;
    st.global.cs.v2.u32 [to+40], {b, c};
    st.relaxed.gpu.global.u32 [to+36], e;
    st.global.wt.u32 [to+48], a;
    st.release.gpu.global.u32 [to+52], b;
    cvt.u64.u32 lx, c;
    st.global.b64 [to+56], lx;
""", words_in=256, words_out=64 * 16, per_out=16, block=64)

program("shared_memory", "st and ld of shared memory of every width, reversed between threads", """
    ld.global.v4.u32 {a, b, c, e}, [from];
    mov.u32 x, buffer;
    mad.lo.u32 y, tid, 16, x;
    st.shared.v4.u32 [y], {a, b, c, e};
    mul.wide.u32 lx, tid, 2;
    mov.u64 ly, halves;
    add.u64 lx, lx, ly;
    st.shared.u16 [lx], b;
    bar.sync 0;
    sub.u32 z, 127, tid;
    mad.lo.u32 y, z, 16, x;
    ld.shared.u32 d, [y];
    st.global.u32 [to], d;
    ld.shared.v2.u32 {d, w}, [y+8];
    sub.u32 d, d, w;
    st.global.u32 [to+4], d;
    ld.shared.s8 d, [y+5];
    st.global.u32 [to+8], d;
    ld.shared.u16 d, [y+6];
    st.global.u32 [to+12], d;
    ld.shared.u64 ld, [y+8];
    cvt.u32.u64 d, ld;
    st.global.u32 [to+16], d;
    shl.b32 z, z, 1;
    mov.u32 x, halves;
    add.u32 z, z, x;
    ld.shared.s16 d, [z];
    st.global.u32 [to+20], d;
    ld.volatile.shared.u32 d, [buffer+64];
    st.global.u32 [to+24], d;
    ld.shared::cta.u32 d, [buffer+32];
    st.global.u32 [to+28], d;
""", words_in=512, words_out=1024, per_out=8, module=".shared .align 16 .b8 buffer[2048];\n.shared .align 2 .u16 halves[128];")

program("dynamic_shared", "extern shared memory and its size", """
    ld.global.u32 a, [from];
    mov.u32 x, pool;
    mad.lo.u32 y, tid, 4, x;
    st.shared.u32 [y], a;
    bar.sync 0;
    xor.b32 z, tid, 77;
    and.b32 z, z, 127;
    mad.lo.u32 z, z, 4, x;
    ld.shared.u32 d, [z];
    mov.u32 y, %dynamic_smem_size;
    add.u32 d, d, y;
    st.global.u32 [to], d;
    st.global.u32 [to+4], y;
""", words_in=256, words_out=512, per_in=1, per_out=2, grid=2, dynamic=512, module=".extern .shared .align 16 .b8 pool[];")

program("local_memory", "an array in local memory, indexed by data; generic addresses of it", """
    .local .align 8 .b8 stack[64];
    ld.global.v4.u32 {a, b, c, e}, [from];
    mov.u64 lx, stack;
    mov.u32 x, 0;
    FILL:
    mad.lo.u32 y, x, 7, a;
    mul.wide.u32 ly, x, 4;
    add.u64 ly, lx, ly;
    st.local.u32 [ly], y;
    add.u32 x, x, 1;
    setp.lt.u32 p, x, 16;
    @p bra FILL;
    and.b32 y, b, 15;
    mul.wide.u32 ly, y, 4;
    add.u64 ly, lx, ly;
    ld.local.u32 d, [ly];
    st.global.u32 [to], d;
    cvta.local.u64 lz, ly;
    ld.u32 d, [lz];
    add.u32 d, d, c;
    st.u32 [lz], d;
    ld.local.u32 d, [ly];
    st.global.u32 [to+4], d;
    st.local.v2.u32 [stack+8], {c, e};
    ld.local.u64 ld, [stack+8];
    st.global.u64 [to+8], ld;
    ld.local.s8 d, [stack+13];
    st.global.u32 [to+16], d;
    st.local.u8 [stack+14], a;
    ld.local.u16 d, [stack+14];
    st.global.u32 [to+20], d;
    isspacep.local p, lz;
    selp.u32 d, 1, 0, p;
    st.global.u32 [to+24], d;
    isspacep.global p, lz;
    selp.u32 d, 1, 0, p;
    st.global.u32 [to+28], d;
""", words_in=512, words_out=1024, per_out=8)

program("const_and_global", "tables in .const and .global with initialisers, addresses in them, variables", """
    ld.global.u32 a, [from];
    and.b32 x, a, 7;
    mul.wide.u32 lx, x, 4;
    mov.u64 ly, primes;
    add.u64 ly, ly, lx;
    ld.const.u32 d, [ly];
    st.global.u32 [to], d;
    ld.const.f32 fd, [ratios+4];
    st.global.f32 [to+4], fd;
    mov.u64 ly, bytes;
    cvt.u64.u32 lz, x;
    add.u64 ly, ly, lz;
    ld.global.u8 d, [ly];
    st.global.u32 [to+8], d;
    ld.const.u64 ly, [where];
    ld.u16 d, [ly+2];
    st.global.u32 [to+12], d;
    ld.global.u32 d, [zeros+8];
    st.global.u32 [to+16], d;
    ld.global.f64 ld, [wide+8];
    st.global.u64 [to+24], ld;
    ld.const.s16 d, [grid+6];
    st.global.u32 [to+20], d;
""", words_in=128, words_out=1024, per_in=1, per_out=8, module="""
.const .align 4 .u32 primes[8] = {2, 3, 5, 7, 11, 13, 17, 19};
.const .align 4 .f32 ratios[3] = {0f3f000000, 0.75, -1.5e-2};
.global .align 4 .b8 bytes[8] = {1, 2, 254, 0xff, 7};
.global .align 2 .u16 shorts[4] = {10, 20, 30, 40};
.const .align 8 .u64 where[1] = {generic(shorts)};
.global .align 16 .u32 zeros[4];
.global .align 8 .f64 wide[2] = {0d3ff8000000000000, 1e300};
.const .align 2 .s16 grid[2][2] = {{1, -2}, {3, -4}};
""")

program("generic_addresses", "cvta both ways, isspacep, generic loads and stores", """
    ld.global.v4.u32 {a, b, c, e}, [from];
    mov.u32 x, cell;
    mad.lo.u32 x, tid, 4, x;
    cvt.u64.u32 lx, x;
    cvta.shared.u64 ly, lx;
    st.u32 [ly], a;
    bar.sync 0;
    cvta.to.shared.u64 lz, ly;
    ld.shared.u32 d, [lz];
    st.global.u32 [to], d;
    cvta.global.u64 lx, from;
    ld.u32 d, [lx+4];
    st.global.u32 [to+4], d;
    setp.gt.s32 p, a, b;
    selp.b64 lz, ly, lx, p;
    ld.u32 d, [lz];
    st.global.u32 [to+8], d;
    isspacep.shared p, lz;
    selp.u32 d, 1, 0, p;
    isspacep.global q, lz;
    selp.u32 y, 2, 0, q;
    add.u32 d, d, y;
    st.global.u32 [to+12], d;
    isspacep.const p, ly;
    selp.u32 d, 1, 0, p;
    st.global.u32 [to+16], d;
    cvta.global.u64 lx, to;
    st.u16 [lx+20], b;
    st.u16 [lx+22], c;
    mov.u64 lz, table;
    cvta.const.u64 lz, lz;
    ld.u32 d, [lz+4];
    st.u32 [lx+24], d;
    st.global.u32 [to+28], e;
""", words_in=512, words_out=1024, per_out=8, module=".shared .align 4 .b8 cell[512];\n.const .align 4 .u32 table[2] = {17, 4711};")

program("struct_param", "a struct by value: fields, vectors, its address", """
    ld.param.u32 a, [record];
    ld.param.v2.u32 {b, c}, [record+8];
    ld.param.u64 lx, [record+16];
    ld.param.u8 x, [record+25];
    ld.param.s16 y, [record+30];
    ld.param.v4.f32 {f0, f1, f2, f3}, [record+32];
    st.global.u32 [to], a;
    st.global.u32 [to+4], b;
    st.global.u32 [to+8], c;
    st.global.u32 [to+12], x;
    st.global.u64 [to+16], lx;
    st.global.u32 [to+24], y;
    st.global.f32 [to+28], f2;
    mov.b64 ly, record;
    and.b32 z, tid, 15;
    mul.wide.u32 lz, z, 4;
    add.u64 ly, ly, lz;
    ld.param.u32 d, [ly];
    st.global.u32 [to+32], d;
    ld.param.u32 d, [n];
    st.global.u32 [to+36], d;
""", words_in=64, words_out=640, per_in=1, per_out=10, block=64, params=", .param .align 16 .b8 record[64]")

ATOM32 = [("add", "u32", "1"), ("add", "s32", "2"), ("min", "s32", "a"), ("max", "s32", "a"), ("min", "u32", "a"), ("max", "u32", "a"),
          ("and", "b32", "a"), ("or", "b32", "a"), ("xor", "b32", "a"), ("inc", "u32", "100"), ("dec", "u32", "50"), ("add", "u32", "a")]
for space, pre in (("global", "mov.u64 m0, cells;\ncvta.to.global.u64 m0, m0;"), ("shared", "mov.u64 m0, cells;")):
    body = pre + """
    ld.global.v4.u32 {a, b, c, e}, [from];
    cvt.u64.u32 lb, b;
    and.b32 x, tid, 63;
    """
    if space == "shared":
        body += """
        mul.wide.u32 lx, tid, 4;
        add.u64 lx, m0, lx;
        st.shared.u32 [lx], 0;
        bar.sync 0;
        """
    for i, (op, t, v) in enumerate(ATOM32):
        body += f"red.{space}.{op}.{t} [m0+{4 * i}], {v};\n"
    body += f"""
    add.u32 y, tid, 1000;
    atom.{space}.add.u32 z, [m0+48], 1;
    mov.b64 lx, {{a, b}};
    red.{space}.add.u64 [m0+64], lx;
    red.{space}.min.s64 [m0+72], lx;
    red.{space}.max.s64 [m0+80], lx;
    red.{space}.max.u64 [m0+88], lx;
    red.{space}.and.b64 [m0+96], lx;
    red.{space}.or.b64 [m0+104], lx;
    red.{space}.xor.b64 [m0+112], lx;
    cvt.rn.f32.s32 fx, tid;
    red.{space}.add.f32 [m0+120], fx;
    cvt.rn.f64.s32 dx, tid;
    red.{space}.add.f64 [m0+128], dx;
    atom.{space}.exch.b32 w, [m0+136], 5;
    atom.{space}.cas.b32 w, [m0+140], 0, 9;
    atom.{space}.or.b32 w, [m0+144], 6;
    mov.b64 ly, 0;
    mov.b64 lz, 77;
    atom.{space}.cas.b64 lx, [m0+152], ly, lz;
    atom.{space}.exch.b64 lx, [m0+160], lz;
    mov.b32 r0, 0x3c004000;
    mov.b32 r1, 0x3f804000;
    atom.{space}.add.noftz.f16x2 x, [m0+168], r0;
    mov.b16 hx, 0x3c00;
    atom.{space}.add.noftz.f16 hy, [m0+172], hx;
    atom.{space}.add.noftz.bf16x2 x, [m0+176], r1;
    bar.sync 0;
    shl.b32 y, tid, 2;
    cvt.u64.u32 lx, y;
    add.u64 lx, m0, lx;
    ld.{space}.u32 d, [lx];
    st.global.u32 [to], d;
    st.global.u32 [to+4], z;
    """
    cells = ".global .align 16 .b8 cells[512];" if space == "global" else ".shared .align 16 .b8 cells[512];"
    program(f"atom_{space}", f"atomics and reductions on {space} memory: the final cells, and tickets as a set", body, words_in=512,
            words_out=256, per_out=2, inputs="WORDS", compare="SET", module=cells, target="sm_90")

program("atom_returns", "what atomics return where order cannot matter: one cell a thread", """
    ld.global.v4.u32 {a, b, c, e}, [from];
    mul.wide.u32 lx, tid, 16;
    mov.u64 ly, cells;
    add.u64 lx, lx, ly;
    """ + "".join(
        f"st.shared.u32 [lx], a;\natom.shared.{op} d, [lx], b;\nst.global.u32 [to+{8 * i}], d;\nld.shared.u32 d, [lx];\nst.global.u32 [to+{8 * i + 4}], d;\n"
        for i, op in enumerate("add.u32 min.s32 max.s32 min.u32 max.u32 and.b32 or.b32 xor.b32 inc.u32 dec.u32 exch.b32 add.f32".split())) + """
    st.shared.u32 [lx], a;
    atom.shared.cas.b32 d, [lx], a, c;
    ld.shared.u32 x, [lx];
    add.u32 d, d, x;
    st.global.u32 [to+96], d;
    atom.shared.cas.b32 d, [lx], e, b;
    ld.shared.u32 x, [lx];
    add.u32 d, d, x;
    st.global.u32 [to+100], d;
    cvt.u16.u32 hx, c;
    cvt.u16.u32 hy, b;
    atom.shared.cas.b16 hz, [lx+2], hx, hy;
    ld.shared.u32 d, [lx];
    st.global.u32 [to+104], d;
    atom.acq_rel.cta.shared.add.u32 d, [lx], 3;
    st.global.u32 [to+108], d;
    """, words_in=256, words_out=64 * 28, per_out=28, block=64, module=".shared .align 16 .b8 cells[1024];", target="sm_90", inputs="MODERATE")

program("atom_vector", "vector reductions on global memory (sm_90)", """
    mov.u64 lx, cells;
    cvta.to.global.u64 lx, lx;
    red.global.v2.f32.add [lx], {0f3f800000, 0f40000000};
    red.global.v4.f32.add [lx+16], {0f3f800000, 0f40000000, 0f40400000, 0f40800000};
    bar.sync 0;
    and.b32 x, tid, 7;
    mul.wide.u32 ly, x, 4;
    add.u64 lx, lx, ly;
    ld.global.u32 d, [lx];
    st.global.u32 [to], d;
""", words_in=64, words_out=64, per_in=1, block=64, module=".global .align 16 .b8 cells[64];",
    target="sm_90", version="8.1")

program("flags_between_ctas", "data, fence, flag from one CTA to the next; a chain over the grid", """
    setp.eq.u32 p, cta, 0;
    @p bra MINE;
    setp.ne.u32 q, tid, 0;
    @q bra JOIN;
    mov.u64 lx, flags;
    cvta.to.global.u64 lx, lx;
    mul.wide.u32 ly, cta, 4;
    add.u64 lx, lx, ly;
    SPIN:
    ld.acquire.gpu.global.u32 x, [lx];
    setp.eq.u32 s, x, 0;
    @s bra SPIN;
    JOIN:
    bar.sync 0;
    MINE:
    ld.global.u32 a, [from];
    mov.u64 lz, data;
    cvta.to.global.u64 lz, lz;
    mul.wide.u32 ly, tid, 4;
    add.u64 lz, lz, ly;
    ld.relaxed.gpu.global.u32 d, [lz];
    mad.lo.u32 d, d, 3, a;
    st.relaxed.gpu.global.u32 [lz], d;
    st.global.u32 [to], d;
    fence.acq_rel.gpu;
    bar.sync 0;
    setp.ne.u32 q, tid, 0;
    @q bra END;
    mov.u64 lx, flags;
    cvta.to.global.u64 lx, lx;
    add.u32 x, cta, 1;
    mul.wide.u32 ly, x, 4;
    add.u64 lx, lx, ly;
    st.release.gpu.global.u32 [lx], 1;
    END:
""", words_in=256, words_out=256, per_in=1, grid=4, block=64, module=".global .align 4 .u32 flags[8];\n.global .align 4 .u32 data[64];")

program("last_cta_sums", "partial sums, membar, a ticket; the CTA that comes last adds them up", """
    ld.global.u32 a, [from];
    shr.u32 a, a, 8;
    mov.u32 x, part;
    setp.eq.u32 p, tid, 0;
    @p st.shared.u32 [part], 0;
    bar.sync 0;
    red.shared.add.u32 [part], a;
    bar.sync 0;
    @!p bra WAIT;
    ld.shared.u32 d, [part];
    mov.u64 lx, partial;
    mul.wide.u32 ly, cta, 4;
    add.u64 lx, lx, ly;
    st.global.u32 [lx], d;
    membar.gl;
    atom.global.inc.u32 x, [ticket], 3;
    st.shared.u32 [part], x;
    WAIT:
    bar.sync 0;
    ld.shared.u32 x, [part];
    setp.ne.u32 q, x, 3;
    st.global.u32 [to], a;
    @q bra END;
    membar.gl;
    ld.volatile.global.u32 d, [partial];
    ld.volatile.global.u32 y, [partial+4];
    add.u32 d, d, y;
    ld.volatile.global.u32 y, [partial+8];
    add.u32 d, d, y;
    ld.volatile.global.u32 y, [partial+12];
    add.u32 d, d, y;
    @p st.global.u32 [dst+1024], d;
    END:
""", words_in=256, words_out=257, per_in=1, grid=4, block=64,
    module=".global .align 4 .u32 ticket[1];\n.global .align 4 .u32 partial[4];\n.shared .align 4 .u32 part[1];")

program("cp_async", "cp.async of 4, 8, 16 bytes, zero fill by source size, groups", """
    mov.u32 x, buffer;
    mad.lo.u32 x, tid, 32, x;
    and.b32 y, tid, 15;
    add.u32 y, y, 1;
    cp.async.ca.shared.global [x], [from], 16, y;
    cp.async.commit_group;
    and.b32 z, tid, 1;
    shl.b32 z, z, 3;
    cp.async.ca.shared.global [x+16], [from+16], 8, z;
    cp.async.ca.shared.global [x+24], [from+24], 4;
    and.b32 z, tid, 3;
    cp.async.ca.shared.global [x+28], [from+28], 4, z;
    cp.async.commit_group;
    cp.async.wait_group 1;
    ld.shared.v4.u32 {a, b, c, e}, [x];
    st.global.v4.u32 [to], {a, b, c, e};
    cp.async.wait_group 0;
    ld.shared.v4.u32 {a, b, c, e}, [x+16];
    st.global.v4.u32 [to+16], {a, b, c, e};
    cp.async.cg.shared.global [x], [from+16], 16;
    cp.async.cg.shared.global.L2::128B [x+16], [from], 16, 0;
    cp.async.wait_all;
    bar.sync 0;
    xor.b32 y, tid, 1;
    mov.u32 x, buffer;
    mad.lo.u32 x, y, 32, x;
    ld.shared.v4.u32 {a, b, c, e}, [x];
    st.global.v4.u32 [to+32], {a, b, c, e};
    ld.shared.v4.u32 {a, b, c, e}, [x+16];
    st.global.v4.u32 [to+48], {a, b, c, e};
""", words_in=512, words_out=1024, per_in=8, per_out=16, block=64, module=".shared .align 16 .b8 buffer[2048];")

program("cp_async_pipeline", "three stages of cp.async over eight tiles, one group in flight", """
    mov.u32 x, buffer;
    mad.lo.u32 x, tid, 4, x;
    mov.u64 lx, from;
    mov.u32 d, 0;
    cp.async.ca.shared.global [x], [lx], 4;
    cp.async.commit_group;
    cp.async.ca.shared.global [x+256], [lx+256], 4;
    cp.async.commit_group;
    mov.u32 y, 0;
    LOOP:
    cp.async.wait_group 1;
    bar.sync 0;
    rem.u32 z, y, 3;
    mov.u32 w, buffer;
    mad.lo.u32 w, z, 256, w;
    xor.b32 e, tid, 1;
    mad.lo.u32 w, e, 4, w;
    ld.shared.u32 a, [w];
    mad.lo.u32 d, d, 31, a;
    add.u32 z, y, 2;
    setp.lt.u32 p, z, 8;
    rem.u32 w, z, 3;
    mov.u32 c, buffer;
    mad.lo.u32 c, w, 256, c;
    mad.lo.u32 c, tid, 4, c;
    mul.wide.u32 ly, z, 256;
    add.u64 ly, from, ly;
    @p cp.async.ca.shared.global [c], [ly], 4;
    cp.async.commit_group;
    add.u32 y, y, 1;
    setp.lt.u32 p, y, 8;
    @p bra LOOP;
    st.global.u32 [to], d;
""", words_in=512, words_out=64, per_in=1, block=64, module=".shared .align 16 .b8 buffer[768];")
