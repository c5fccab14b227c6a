"""Branches, loops, calls, barriers, special registers."""
import re

from generate import program


def expand_calls(text):
    """CALL(function, result, argument…): a call of 32-bit values as compilers write it."""
    def expand(m):
        name, result, *args = [word.strip() for word in m[1].split(",")]
        names = ", ".join(f"q{i}" for i in range(len(args)))
        return "{\n.param .b32 r0;\n" + "".join(f".param .b32 q{i};\nst.param.b32 [q{i}], {a};\n" for i, a in enumerate(args)) + \
            f"call.uni (r0), {name}, ({names});\nld.param.b32 {result}, [r0];\n}}"
    return re.sub(r"CALL\((.*)\)", expand, text)

program("loops", "loops with trip counts of the data, a break, a nested one", """
    ld.global.u32 a, [from];
    and.b32 x, a, 0xffff;
    or.b32 x, x, 1;
    mov.u32 d, 0;
    COLLATZ:
    setp.le.u32 p, x, 1;
    @p bra DONE;
    and.b32 y, x, 1;
    setp.eq.u32 q, y, 1;
    @q mad.lo.u32 x, x, 3, 1;
    @!q shr.u32 x, x, 1;
    add.u32 d, d, 1;
    setp.lt.u32 p, d, 150;
    @p bra COLLATZ;
    DONE:
    st.global.u32 [to], d;
    mov.u32 x, 0;
    mov.u32 d, a;
    OUTER:
    and.b32 y, a, 7;
    INNER:
    mad.lo.u32 d, d, 1664525, 1013904223;
    setp.eq.u32 p, y, 0;
    @p bra NEXT;
    sub.u32 y, y, 1;
    bra.uni INNER;
    NEXT:
    add.u32 x, x, 1;
    setp.lt.u32 q, x, 5;
    @q bra OUTER;
    st.global.u32 [to+4], d;
""", words_in=256, words_out=512, per_in=1, per_out=2, block=256)

program("divergence", "nested branches, early exits; who is there after each is asked by ballot", """
    ld.global.u32 a, [from];
    mov.u32 d, 1;
    and.b32 x, lane, 3;
    setp.eq.u32 p, x, 0;
    @p bra ZERO;
    setp.eq.u32 q, x, 1;
    @q bra ONE;
    mul.lo.u32 d, d, 7;
    and.b32 y, lane, 4;
    setp.eq.u32 s, y, 0;
    @s bra JOIN;
    add.u32 d, d, 100;
    bra JOIN;
    ONE:
    add.u32 d, d, 10;
    bra JOIN;
    ZERO:
    add.u32 d, d, 20;
    JOIN:
    bar.warp.sync 0xffffffff;
    setp.gt.u32 p, d, 15;
    vote.sync.ballot.b32 x, p, 0xffffffff;
    st.global.u32 [to], d;
    st.global.u32 [to+4], x;
    setp.ge.u32 q, lane, 20;
    @q bra OUT;
    vote.sync.ballot.b32 x, p, 0x000fffff;
    shfl.sync.down.b32 y, a, 3, 0x1f, 0x000fffff;
    st.global.u32 [to+8], x;
    setp.lt.u32 s, lane, 17;
    @s st.global.u32 [to+12], y;
    @!s st.global.u32 [to+12], 0;
    ret;
    OUT:
    st.global.u32 [to+8], 1;
    st.global.u32 [to+12], 2;
    exit;
""", words_in=128, words_out=512, per_in=1, per_out=4)

program("early_exit_barrier", "half of a warp returns; the others go on through barriers of the CTA", """
    ld.global.u32 a, [from];
    st.global.u32 [to], a;
    setp.ge.u32 p, tid, 96;
    @p bra LEAVE;
    mov.u32 x, cells;
    mad.lo.u32 x, tid, 4, x;
    st.shared.u32 [x], a;
    barrier.sync 1, 96;
    sub.u32 y, 95, tid;
    mov.u32 x, cells;
    mad.lo.u32 x, y, 4, x;
    ld.shared.u32 d, [x];
    st.global.u32 [to], d;
    LEAVE:
""", words_in=128, words_out=128, per_in=1, module=".shared .align 4 .b8 cells[384];")

program("branch_table", "brx.idx over a branch table, a loop around it as an interpreter would have", """
    ld.global.u32 a, [from];
    mov.u32 d, 1;
    mov.u32 x, 0;
    AGAIN:
    shl.b32 y, x, 1;
    shr.u32 y, a, y;
    and.b32 y, y, 3;
    table: .branchtargets ADD, MUL, XOR, NOP;
    brx.idx y, table;
    ADD:
    add.u32 d, d, 17;
    bra NOP;
    MUL:
    mul.lo.u32 d, d, 5;
    bra NOP;
    XOR:
    xor.b32 d, d, 0x5a5a;
    NOP:
    add.u32 x, x, 1;
    setp.lt.u32 p, x, 16;
    @p bra AGAIN;
    st.global.u32 [to], d;
""", words_in=128, words_out=128, per_in=1)

program("calls", "functions: values, several results, arrays by value, a call in a loop and on one side of a branch", expand_calls("""
    ld.global.v4.u32 {a, b, c, e}, [from];
    CALL(mix, d, a, b)
    st.global.u32 [to], d;
    {
    .param .b32 q0;
    .param .b32 q1;
    .param .b64 r0;
    st.param.b32 [q0], a;
    st.param.b32 [q1], c;
    call.uni (r0), wider, (q0, q1);
    ld.param.b64 ld, [r0];
    }
    st.global.u64 [to+8], ld;
    st.global.u32 [to+4], e;
    {
    .param .align 8 .b8 q2[16];
    .param .align 8 .b8 r2[8];
    st.param.b32 [q2], a;
    st.param.v2.b32 [q2+8], {b, c};
    st.param.b8 [q2+4], e;
    call (r2), record, (q2);
    ld.param.b32 x, [r2];
    ld.param.b32 y, [r2+4];
    }
    st.global.u32 [to+16], x;
    st.global.u32 [to+20], y;
    mov.u32 z, 0;
    mov.u32 d, e;
    MORE:
    setp.gt.s32 p, d, 0;
    @!p bra OTHER;
    CALL(mix, d, d, z)
    bra LATER;
    OTHER:
    add.u32 d, d, 12345;
    LATER:
    add.u32 z, z, 1;
    setp.lt.u32 q, z, 6;
    @q bra MORE;
    st.global.u32 [to+24], d;
    CALL(factorial, w, z)
    st.global.u32 [to+28], w;
"""), words_in=512, words_out=1024, per_out=8, module="""
.func (.param .b32 result) mix(.param .b32 x, .param .b32 y)
{
    .reg .b32 t, u;
    ld.param.b32 t, [x];
    ld.param.b32 u, [y];
    mul.lo.u32 t, t, 0x9e3779b1;
    shf.l.wrap.b32 t, t, t, 13;
    xor.b32 t, t, u;
    st.param.b32 [result], t;
    ret;
}
.func (.param .b64 wide) wider(.param .b32 x, .param .b32 y)
{
    .reg .b32 r<3>;
    .reg .b64 w;
    .reg .pred p;
    ld.param.b32 r0, [x];
    ld.param.b32 r1, [y];
    setp.lt.s32 p, r0, r1;
    @p bra LESS;
    mul.wide.s32 w, r0, r1;
    st.param.b64 [wide], w;
    ret;
    LESS:
    cvt.s64.s32 w, r1;
    st.param.b64 [wide], w;
    ret;
}
.func (.param .align 8 .b8 result[8]) record(.param .align 8 .b8 x[16])
{
    .reg .b32 r<5>;
    ld.param.b32 r0, [x];
    ld.param.s8 r1, [x+4];
    ld.param.v2.b32 {r2, r3}, [x+8];
    add.u32 r0, r0, r1;
    sub.u32 r2, r2, r3;
    st.param.v2.b32 [result], {r0, r2};
    ret;
}
.func (.param .b32 result) factorial(.param .b32 x)
{
    .reg .pred p;
    .reg .b32 t, u;
    ld.param.b32 u, [x];
    mov.u32 t, 1;
    setp.le.u32 p, u, 1;
    @p bra LEAF;
    sub.u32 t, u, 1;
    {
    .param .b32 q0;
    .param .b32 r0;
    st.param.b32 [q0], t;
    call.uni (r0), factorial, (q0);
    ld.param.b32 t, [r0];
    }
    mul.lo.u32 t, t, u;
    LEAF:
    st.param.b32 [result], t;
    ret;
}
""")

program("call_indirect", "a call through a register that differs between threads", """
    ld.global.v2.u32 {a, b}, [from];
    and.b32 x, a, 1;
    setp.eq.u32 p, x, 1;
    mov.u64 lx, plus;
    mov.u64 ly, times;
    selp.b64 lx, lx, ly, p;
    shape: .callprototype (.param .b32 r) _ (.param .b32 x, .param .b32 y);
    {
    .param .b32 q0;
    .param .b32 q1;
    .param .b32 r0;
    st.param.b32 [q0], a;
    st.param.b32 [q1], b;
    call (r0), lx, (q0, q1), shape;
    ld.param.b32 d, [r0];
    }
    st.global.u32 [to], d;
""", words_in=256, words_out=128, per_in=2, module="""
.func (.param .b32 r) plus(.param .b32 x, .param .b32 y)
{
    .reg .b32 r<2>;
    ld.param.b32 r0, [x];
    ld.param.b32 r1, [y];
    add.u32 r0, r0, r1;
    st.param.b32 [r], r0;
    ret;
}
.func (.param .b32 r) times(.param .b32 x, .param .b32 y)
{
    .reg .b32 r<2>;
    ld.param.b32 r0, [x];
    ld.param.b32 r1, [y];
    mul.lo.u32 r0, r0, r1;
    st.param.b32 [r], r0;
    ret;
}
""")

program("barriers", "bar.sync in a tree sum, bar.red of each kind, named barriers of half a CTA", """
    ld.global.u32 a, [from];
    shr.u32 a, a, 10;
    mov.u32 x, cells;
    mad.lo.u32 x, tid, 4, x;
    st.shared.u32 [x], a;
    bar.sync 0;
    mov.u32 y, 64;
    TREE:
    setp.lt.u32 p, tid, y;
    @!p bra SKIP;
    mad.lo.u32 z, y, 4, x;
    ld.shared.u32 b, [x];
    ld.shared.u32 c, [z];
    add.u32 b, b, c;
    st.shared.u32 [x], b;
    SKIP:
    bar.sync 0;
    shr.u32 y, y, 1;
    setp.gt.u32 q, y, 0;
    @q bra TREE;
    ld.shared.u32 d, [cells];
    st.global.u32 [to], d;
    and.b32 z, a, 1;
    setp.eq.u32 p, z, 1;
    bar.red.popc.u32 d, 0, p;
    st.global.u32 [to+4], d;
    bar.red.and.pred q, 0, p;
    selp.u32 d, 1, 0, q;
    bar.red.or.pred q, 0, !p;
    selp.u32 y, 2, 0, q;
    add.u32 d, d, y;
    st.global.u32 [to+8], d;
    shr.u32 z, tid, 6;
    add.u32 z, z, 1;
    bar.red.popc.u32 d, z, 64, p;
    st.global.u32 [to+12], d;
    mov.u32 y, cells;
    xor.b32 w, tid, 63;
    mad.lo.u32 w, w, 4, y;
    st.shared.u32 [x], a;
    bar.sync z, 64;
    ld.shared.u32 d, [w];
    st.global.u32 [to+16], d;
    barrier.sync.aligned 5;
    barrier.red.popc.aligned.u32 d, 6, 128, p;
    st.global.u32 [to+20], d;
""", words_in=128, words_out=768, per_in=1, per_out=6, module=".shared .align 4 .b8 cells[512];")

program("producer_consumer", "bar.arrive: two warps fill a buffer that two others read, eight turns", """
    mov.u32 x, cells;
    mov.u32 y, 0;
    mov.u32 d, 0;
    setp.ge.u32 p, tid, 64;
    @p bra CONSUME;
    PRODUCE:
    setp.eq.u32 q, y, 0;
    @q bra FIRST;
    bar.sync 2, 128;
    FIRST:
    mad.lo.u32 z, y, 64, tid;
    mul.wide.u32 lx, z, 4;
    add.u64 lx, src, lx;
    ld.global.u32 a, [lx];
    mad.lo.u32 z, tid, 4, x;
    st.shared.u32 [z], a;
    membar.cta;
    bar.arrive 1, 128;
    mad.lo.u32 d, d, 3, a;
    add.u32 y, y, 1;
    setp.lt.u32 q, y, 8;
    @q bra PRODUCE;
    bra END;
    CONSUME:
    bar.sync 1, 128;
    sub.u32 z, 127, tid;
    mad.lo.u32 z, z, 4, x;
    ld.shared.u32 a, [z];
    mad.lo.u32 d, d, 5, a;
    add.u32 y, y, 1;
    setp.lt.u32 q, y, 8;
    @!q bra END;
    bar.arrive 2, 128;
    bra CONSUME;
    END:
    st.global.u32 [to], d;
""", words_in=512, words_out=128, per_in=1, module=".shared .align 4 .b8 cells[256];")

program("special_registers", "thread, CTA and grid coordinates in three dimensions, lane masks, sizes", "\n".join(
    f"mov.u32 d, %{r};\nst.global.u32 [to+{4 * i}], d;" for i, r in enumerate(
        "tid.x tid.y tid.z ntid.x ntid.y ntid.z ctaid.x ctaid.y ctaid.z nctaid.x nctaid.y nctaid.z laneid warpid_ "
        "lanemask_eq lanemask_le lanemask_lt lanemask_ge lanemask_gt cluster_ctarank cluster_nctarank clusterid.x nclusterid.x "
        "cluster_ctaid.x cluster_nctaid.x total_smem_size_ nwarpid_ WARP_SZ_".split()) if not r.endswith("_")) + """
    mov.u32 d, WARP_SZ;
    st.global.u32 [to+52], d;
    mov.u32 d, %clock;
    mov.u32 x, %clock;
    sub.u32 d, x, d;
    setp.lt.u32 p, d, 0x1000000;
    selp.u32 d, 1, 0, p;
    st.global.u32 [to+100], d;
    mov.u64 lx, %globaltimer;
    setp.ne.u64 p, lx, 0;
    selp.u32 d, 1, 0, p;
    st.global.u32 [to+104], d;
    mov.u64 lx, %clock64;
    st.global.u32 [to+108], 3;
""", words_in=64, words_out=2 * 64 * 28, per_in=1, per_out=28, grid=2, block=64, target="sm_90")

program("trap_not_taken", "instructions that must do nothing here: trap, brkpt, pmevent, nanosleep, pragma", """
    ld.global.u32 a, [from];
    .pragma "nounroll";
    setp.ne.u32 p, tid, tid;
    @p trap;
    @p brkpt;
    nanosleep.u32 20;
    add.u32 d, a, 1;
    st.global.u32 [to], d;
""", words_in=64, words_out=64, per_in=1, block=64)
