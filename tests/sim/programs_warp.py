"""Between the threads of a warp: shfl, vote, match, redux, elect, activemask."""
from generate import program, table

ROWS = []
for mode in ("up", "down", "bfly", "idx"):
    for amount, clamp in (("1", "0x1f" if mode != "up" else "0"), ("5", "0x1f" if mode != "up" else "0"), ("3", "0x1807" if mode != "up" else "0x1800"),
                          ("33", "0x1f" if mode != "up" else "0")):
        ROWS.append(f"shfl.sync.{mode}.b32 d|p, a, {amount}, {clamp}, 0xffffffff; @!p add.u32 d, d, 1")
    ROWS.append(f"and.b32 x, b, 31; shfl.sync.{mode}.b32 d, a, x, {'0' if mode == 'up' else '0x1f'}, 0xffffffff")
table("shfl_static", "shfl: every mode, segments, ranges exceeded, the predicate; lanes from data where that is defined",
      [r for r in ROWS if "and.b32" not in r] + [r for r in ROWS if "and.b32" in r and ".idx" in r] +
      ["and.b32 x, b, 31; and.b32 y, c, 0x1f1f; shfl.sync.idx.b32 d|p, a, x, 0x101f, 0xffffffff; @p add.u32 d, d, 7",
       "mov.b32 fx, a; shfl.sync.bfly.b32 fd, fx, 16, 31, 0xffffffff"])

table("shfl_lanes", "shfl with an amount of its own in each lane",
      ["shl.b32 x, lane, 1; and.b32 x, x, 31; shfl.sync.idx.b32 d|p, a, x, 0x1f, 0xffffffff; @p add.u32 d, d, 9",
       "and.b32 x, lane, 7; shfl.sync.up.b32 d|p, a, x, 0, 0xffffffff; @p add.u32 d, d, 9",
       "and.b32 x, lane, 7; shfl.sync.down.b32 d|p, a, x, 31, 0xffffffff; @p add.u32 d, d, 9",
       "and.b32 x, lane, 15; shfl.sync.bfly.b32 d|p, a, x, 0x1f, 0xffffffff; @p add.u32 d, d, 9",
       "and.b32 x, lane, 15; shfl.sync.bfly.b32 d|p, a, x, 0x1807, 0xffffffff; @p add.u32 d, d, 9",
       "xor.b32 x, lane, 21; shfl.sync.idx.b32 d|p, a, x, 0x181f, 0xffffffff; @p add.u32 d, d, 9",
       "add.u32 x, lane, 40; shfl.sync.idx.b32 d|p, a, x, 0x1c03, 0xffffffff; @p add.u32 d, d, 9"])

program("shfl_scan", "an inclusive scan of a warp by shfl.up with predicates, then of the CTA", """
    ld.global.u32 a, [from];
    shr.u32 a, a, 12;
    mov.u32 y, 1;
    SCAN:
    shfl.sync.up.b32 x|p, a, y, 0, 0xffffffff;
    @p add.u32 a, a, x;
    shl.b32 y, y, 1;
    setp.lt.u32 q, y, 32;
    @q bra SCAN;
    setp.eq.u32 q, lane, 31;
    mov.u32 z, sums;
    mad.lo.u32 x, warp, 4, z;
    @q st.shared.u32 [x], a;
    bar.sync 0;
    mov.u32 y, 0;
    ADD:
    setp.ge.u32 q, y, warp;
    @q bra DONE;
    mad.lo.u32 x, y, 4, z;
    ld.shared.u32 b, [x];
    add.u32 a, a, b;
    add.u32 y, y, 1;
    bra ADD;
    DONE:
    st.global.u32 [to], a;
""", words_in=256, words_out=256, per_in=1, block=256, module=".shared .align 4 .b8 sums[32];")

table("vote", "vote.all, any, uni, ballot; activemask with all there", [
    "setp.gt.s32 q, a, 0; vote.sync.all.pred p, q, 0xffffffff", "setp.gt.s32 q, a, 0; vote.sync.any.pred p, q, 0xffffffff",
    "setp.gt.s32 q, a, 0; vote.sync.uni.pred p, q, 0xffffffff", "setp.gt.s32 q, a, 0; vote.sync.ballot.b32 d, q, 0xffffffff",
    "setp.gt.s32 q, a, 0; vote.sync.ballot.b32 d, !q, 0xffffffff", "setp.ge.u32 q, lane, 0; vote.sync.all.pred p, q, 0xffffffff",
    "setp.gt.u32 q, warp, 1; vote.sync.uni.pred p, q, 0xffffffff", "setp.gt.u32 q, lane, 31; vote.sync.any.pred p, q, 0xffffffff",
    "activemask.b32 d"])

table("redux", "redux of s32, u32, b32; of a part of the warp", [f"redux.sync.{op} d, a, 0xffffffff" for op in
      "add.u32 add.s32 min.s32 max.s32 min.u32 max.u32 and.b32 or.b32 xor.b32".split()])

program("redux_parts", "redux and vote by halves of a warp, each with its own mask, while the other is elsewhere", """
    ld.global.v4.u32 {a, b, c, e}, [from];
    setp.lt.u32 p, lane, 11;
    @p bra LOW;
    redux.sync.add.u32 d, a, 0xfffff800;
    setp.gt.s32 q, b, 0;
    vote.sync.ballot.b32 x, q, 0xfffff800;
    shfl.sync.down.b32 y, c, 4, 0x1f, 0xfffff800;
    bra JOIN;
    LOW:
    redux.sync.max.s32 d, a, 0x7ff;
    setp.gt.s32 q, b, 0;
    vote.sync.ballot.b32 x, q, 0x7ff;
    shfl.sync.idx.b32 y, c, 2, 0x1f, 0x7ff;
    JOIN:
    bar.warp.sync 0xffffffff;
    st.global.u32 [to], d;
    st.global.u32 [to+4], x;
    setp.ge.u32 p, lane, 28;
    @p mov.u32 y, 0;
    setp.lt.u32 p, lane, 11;
    st.global.u32 [to+8], y;
    activemask.b32 d;
    st.global.u32 [to+12], d;
""", words_in=512, words_out=512, per_out=4)

table("match", "match.any and match.all of 32 and 64 bits on few values", [
    "and.b32 x, a, 3; match.any.sync.b32 d, x, 0xffffffff", "and.b32 x, a, 15; match.any.sync.b32 d, x, 0xffffffff",
    "and.b32 x, a, 1; match.all.sync.b32 d|p, x, 0xffffffff; @p add.u32 d, d, 1",
    "mov.u32 x, warp; match.all.sync.b32 d|p, x, 0xffffffff; @p sub.u32 d, d, 3",
    "and.b32 x, a, 3; cvt.u64.u32 lx, x; shl.b64 lx, lx, 40; match.any.sync.b64 d, lx, 0xffffffff",
    "cvt.u64.u32 lx, warp; match.all.sync.b64 d|p, lx, 0xffffffff; @p sub.u32 d, d, 3"])

program("elect", "elect.sync: exactly one leader of a mask, the same for all", """
    ld.global.u32 a, [from];
    elect.sync x|p, 0xffffffff;
    selp.u32 y, 1, 0, p;
    vote.sync.ballot.b32 z, p, 0xffffffff;
    popc.b32 d, z;
    st.global.u32 [to], d;
    bfind.u32 z, z;
    setp.eq.u32 q, z, x;
    selp.u32 d, 1, 0, q;
    st.global.u32 [to+4], d;
    setp.lt.u32 p, lane, 8;
    @p bra END;
    elect.sync x|q, 0xffffff00;
    vote.sync.ballot.b32 z, q, 0xffffff00;
    popc.b32 d, z;
    END:
    st.global.u32 [to+8], d;
    st.global.u32 [to+12], a;
""", words_in=64, words_out=256, per_in=1, per_out=4, block=64, target="sm_90")

program("warp_reduce_f32", "a sum by shfl.bfly and one by redux-free tree: order of additions as written", """
    ld.global.f32 fa, [from];
    shfl.sync.bfly.b32 fx, fa, 16, 31, 0xffffffff;
    add.f32 fa, fa, fx;
    shfl.sync.bfly.b32 fx, fa, 8, 31, 0xffffffff;
    add.f32 fa, fa, fx;
    shfl.sync.bfly.b32 fx, fa, 4, 31, 0xffffffff;
    add.f32 fa, fa, fx;
    shfl.sync.bfly.b32 fx, fa, 2, 31, 0xffffffff;
    add.f32 fa, fa, fx;
    shfl.sync.bfly.b32 fx, fa, 1, 31, 0xffffffff;
    add.f32 fa, fa, fx;
    st.global.f32 [to], fa;
""", words_in=256, words_out=256, per_in=1, block=256, inputs="MODERATE")
