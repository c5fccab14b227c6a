"""What runs beside the threads: mbarrier, bulk and tensor copies, wgmma; clusters and their shared memory."""
from generate import program

NEW = dict(target="sm_90a", version="8.0")


def wait(bar, parity, label):
    return f"{label}:\nmbarrier.try_wait.parity.shared::cta.b64 v, [{bar}], {parity};\n@!v bra {label};\n"


def begin(count=1, bars=("bar",)):
    """Thread 0 initialises; t says whether this is thread 0."""
    return "setp.eq.u32 t, tid, 0;\n" + "".join(f"@t mbarrier.init.shared::cta.b64 [{b}], {count};\n" for b in bars) + \
        "fence.mbarrier_init.release.cluster;\nbar.sync 0;\n"


def dump(first, words, to=0):
    """Every thread stores `words` words of shared memory, CTA-wide consecutive, from `first`."""
    text = f"mov.u32 x, {first};\nmad.lo.u32 x, tid, {4 * words}, x;\n"
    for i in range(0, words, 4):
        n = min(4, words - i)
        vec = {4: "v4.u32 {r60, r61, r62, r63}", 2: "v2.u32 {r60, r61}", 1: "u32 r60"}[n]
        regs = vec.split(" ", 1)[1]
        text += f"ld.shared.{vec}, [x+{4 * i}];\nst.global.{vec.split()[0]} [to+{to + 4 * i}], {regs};\n"
    return text


def shared(size):
    return f".shared .align 1024 .b8 smem[{size}];\n.shared .align 8 .b64 bar;\n.shared .align 8 .b64 bar2;"


program("mbarrier_counts", "one thread: init, arrive, arrive with a count, pending_count, test_wait by state and parity, inval", """
    setp.ne.u32 p, tid, 0;
    @p bra END;
    mbarrier.init.shared.b64 [bar], 5;
    mbarrier.arrive.shared.b64 lx, [bar];
    mbarrier.pending_count.b64 d, lx;
    st.global.u32 [to], d;
    mbarrier.test_wait.shared.b64 p, [bar], lx;
    selp.u32 d, 1, 0, p;
    st.global.u32 [to+4], d;
    mbarrier.arrive.shared.b64 ly, [bar], 3;
    mbarrier.pending_count.b64 d, ly;
    st.global.u32 [to+8], d;
    mbarrier.test_wait.parity.shared.b64 p, [bar], 0;
    selp.u32 d, 1, 0, p;
    mbarrier.test_wait.parity.shared.b64 p, [bar], 1;
    selp.u32 x, 2, 0, p;
    add.u32 d, d, x;
    st.global.u32 [to+12], d;
    mbarrier.arrive.shared.b64 lz, [bar];
    mbarrier.pending_count.b64 d, lz;
    st.global.u32 [to+16], d;
    mbarrier.test_wait.shared.b64 p, [bar], lx;
    selp.u32 d, 1, 0, p;
    mbarrier.test_wait.parity.shared.b64 p, [bar], 0;
    selp.u32 x, 2, 0, p;
    add.u32 d, d, x;
    mbarrier.test_wait.parity.shared.b64 p, [bar], 1;
    selp.u32 x, 4, 0, p;
    add.u32 d, d, x;
    st.global.u32 [to+20], d;
    mbarrier.arrive.expect_tx.shared.b64 lx, [bar], 64;
    mbarrier.pending_count.b64 d, lx;
    st.global.u32 [to+24], d;
    mbarrier.arrive.shared.b64 ly, [bar], 4;
    mbarrier.test_wait.parity.shared.b64 p, [bar], 1;
    selp.u32 d, 1, 0, p;
    mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [bar], 64;
    mbarrier.test_wait.parity.shared.b64 p, [bar], 1;
    selp.u32 x, 2, 0, p;
    add.u32 d, d, x;
    st.global.u32 [to+28], d;
    mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [bar], 16;
    mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [bar], 16;
    mbarrier.arrive_drop.shared.b64 lx, [bar];
    mbarrier.arrive.shared.b64 lx, [bar], 4;
    mbarrier.arrive.noComplete.shared.b64 ly, [bar], 2;
    mbarrier.pending_count.b64 d, ly;
    st.global.u32 [to+32], d;
    mbarrier.arrive.shared.b64 lx, [bar], 2;
    mbarrier.test_wait.parity.shared.b64 p, [bar], 1;
    selp.u32 d, 1, 0, p;
    st.global.u32 [to+36], d;
    mbarrier.inval.shared.b64 [bar];
    st.shared.u64 [bar], 17;
    ld.shared.u32 d, [bar];
    st.global.u32 [to+40], d;
    st.global.u32 [to+44], 0;
    END:
""",
    words_in=32, words_out=12, per_in=1, per_out=12, block=32, module=shared(16), **NEW)

program("mbarrier_phases", "a ring of four phases: every thread arrives, waits by parity, reads its neighbour's word", begin(128, ("bar", "bar2")) + """
    ld.global.u32 a, [from];
    mov.u32 y, 0;
    mov.u32 d, 0;
    mov.u32 z, smem;
    mad.lo.u32 z, tid, 4, z;
    LOOP:
    and.b32 w, y, 1;
    add.u32 a, a, y;
    st.shared.u32 [z], a;
    mbarrier.arrive.shared::cta.b64 lx, [bar];
    """ + wait("bar", "w", "FULL") + """
    add.u32 x, tid, 37;
    and.b32 x, x, 127;
    mov.u32 c, smem;
    mad.lo.u32 c, x, 4, c;
    ld.shared.u32 b, [c];
    mad.lo.u32 d, d, 17, b;
    mbarrier.arrive.release.cta.shared::cta.b64 _, [bar2];
    """ + wait("bar2", "w", "EMPTY") + """
    add.u32 y, y, 1;
    setp.lt.u32 p, y, 4;
    @p bra LOOP;
    st.global.u32 [to], d;
""", words_in=128, words_out=128, per_in=1, module=shared(512), **NEW)

program("mbarrier_states", "test_wait and try_wait by state token, with a time limit; arrive without result", begin(128) + """
    mbarrier.arrive.shared::cta.b64 lx, [bar];
    AGAIN:
    mbarrier.test_wait.acquire.cta.shared::cta.b64 p, [bar], lx;
    @!p bra AGAIN;
    mbarrier.arrive.shared::cta.b64 lx, [bar];
    MORE:
    mbarrier.try_wait.shared::cta.b64 p, [bar], lx, 1000;
    @!p bra MORE;
    mbarrier.test_wait.parity.shared::cta.b64 p, [bar], 1;
    selp.u32 d, 1, 0, p;
    st.global.u32 [to], d;
""", words_in=128, words_out=128, per_in=1, module=shared(16), **NEW)

program("cp_async_mbarrier", "cp.async signalling an mbarrier, with and without noinc", begin(256) + """
    mov.u32 x, smem;
    mad.lo.u32 x, tid, 16, x;
    cp.async.ca.shared.global [x], [from], 16;
    cp.async.mbarrier.arrive.noinc.shared::cta.b64 [bar];
    mbarrier.arrive.shared::cta.b64 lx, [bar];
    """ + wait("bar", 0, "FULL") + dump("smem", 4) + """
    bar.sync 0;
    cp.async.ca.shared.global [x], [from+4], 4;
    cp.async.mbarrier.arrive.shared.b64 [bar];
    mbarrier.arrive.shared::cta.b64 lx, [bar], 2;
    """ + wait("bar", 1, "AGAIN") + """
    xor.b32 y, tid, 1;
    mov.u32 z, smem;
    mad.lo.u32 z, y, 16, z;
    ld.shared.u32 d, [z];
    st.global.u32 [to+16], d;
    st.global.u32 [to+20], 0;
    st.global.v2.u32 [to+24], {0, 0};
""", words_in=512, words_out=1024, per_out=8, module=shared(2048), **NEW)

program("bulk_load", "cp.async.bulk from global memory: several sizes on one barrier, two phases", begin() + """
    @!t bra WAIT;
    mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], 2048;
    cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [smem], [src], 16, [bar];
    cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [smem+16], [src+32], 1008, [bar];
    cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [smem+1024], [src+16], 1024, [bar];
    """ + wait("bar", 0, "WAIT") + dump("smem", 4) + """
    bar.sync 0;
    @!t bra WAIT2;
    mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [bar], 512;
    mbarrier.arrive.shared::cta.b64 lx, [bar];
    cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [smem+512], [src], 512, [bar];
    """ + wait("bar", 1, "WAIT2") + dump("smem", 4, 16), words_in=512, words_out=1024, per_out=8, module=shared(2048), **NEW)

program("bulk_store", "cp.async.bulk to global memory, groups; cp.reduce.async.bulk of several types", """
    ld.global.v4.u32 {a, b, c, e}, [from];
    mov.u32 x, smem;
    mad.lo.u32 x, tid, 16, x;
    st.shared.v4.u32 [x], {a, b, c, e};
    st.global.v4.u32 [to], {1, 2, 3, 4};
    st.global.v4.u32 [to+16], {5, 6, 7, 8};
    fence.proxy.async;
    bar.sync 0;
    setp.ne.u32 p, tid, 0;
    @p bra END;
    cp.async.bulk.global.shared::cta.bulk_group [dst], [smem], 1024;
    cp.async.bulk.commit_group;
    cp.async.bulk.global.shared::cta.bulk_group [dst+1024], [smem+512], 512;
    cp.async.bulk.commit_group;
    cp.async.bulk.wait_group 0;
    cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [dst], [smem+1024], 256;
    cp.reduce.async.bulk.global.shared::cta.bulk_group.min.s32 [dst+256], [smem+1024], 256;
    cp.reduce.async.bulk.global.shared::cta.bulk_group.max.u32 [dst+512], [smem+1024], 256;
    cp.reduce.async.bulk.global.shared::cta.bulk_group.xor.b32 [dst+768], [smem+1024], 256;
    cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u64 [dst+1024], [smem+1024], 256;
    cp.reduce.async.bulk.global.shared::cta.bulk_group.inc.u32 [dst+1280], [smem+1024], 256;
    cp.async.bulk.commit_group;
    cp.async.bulk.wait_group.read 0;
    cp.async.bulk.wait_group 0;
    END:
""", words_in=512, words_out=1024, per_out=8, module=shared(2048), **NEW)

# ---- clusters ----

CLUSTER = "barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;\n"

program("cluster_registers", "the special registers of a cluster of four, mapa, getctarank", """
    mov.u32 a, %cluster_ctarank;
    mov.u32 b, %cluster_nctarank;
    mov.u32 c, %clusterid.x;
    mov.u32 e, %nclusterid.x;
    st.global.v4.u32 [to], {a, b, c, e};
    mov.u32 a, %cluster_ctaid.x;
    mov.u32 b, %cluster_nctaid.x;
    xor.b32 x, a, 3;
    mov.u32 y, smem;
    mapa.shared::cluster.u32 z, y, x;
    getctarank.shared::cluster.u32 c, z;
    cvt.u64.u32 lx, y;
    cvta.shared.u64 lx, lx;
    mapa.u64 ly, lx, x;
    getctarank.u64 e, ly;
    isspacep.shared::cluster p, ly;
    selp.u32 w, 16, 0, p;
    isspacep.shared::cta p, ly;
    selp.u32 d, 32, 0, p;
    add.u32 e, e, w;
    add.u32 e, e, d;
    isspacep.shared::cta p, lx;
    selp.u32 d, 64, 0, p;
    add.u32 e, e, d;
    mov.pred p, %is_explicit_cluster;
    selp.u32 d, 128, 0, p;
    add.u32 e, e, d;
    st.global.v4.u32 [to+16], {a, b, c, e};
""" + CLUSTER, words_in=256, words_out=2048, per_in=1, per_out=8, grid=8, block=32, cluster=4, module=shared(64))

program("cluster_shared", "distributed shared memory: stores, loads, vectors, atomics into the neighbour's CTA", """
    ld.global.u32 a, [from];
    mov.u32 y, smem;
    mad.lo.u32 z, tid, 4, y;
    st.shared.u32 [z], a;
    setp.lt.u32 p, tid, 16;
    @p st.shared.u32 [z+512], 0;
    """ + CLUSTER + """
    mov.u32 b, %cluster_ctarank;
    xor.b32 b, b, 1;
    mapa.shared::cluster.u32 x, z, b;
    ld.shared::cluster.u32 d, [x];
    st.global.u32 [to], d;
    mapa.shared::cluster.u32 w, y, b;
    red.shared::cluster.add.u32 [w+512], a;
    atom.relaxed.cluster.shared::cluster.max.u32 c, [w+516], a;
    cvt.u64.u32 lx, z;
    cvta.shared.u64 lx, lx;
    mapa.u64 ly, lx, b;
    ld.u32 d, [ly];
    st.global.u32 [to+4], d;
    """ + CLUSTER + """
    sub.u32 e, 63, tid;
    mad.lo.u32 e, e, 4, w;
    st.shared::cluster.u32 [e], d;
    """ + CLUSTER + """
    ld.shared.u32 d, [z];
    st.global.u32 [to+8], d;
    ld.shared.v2.u32 {d, e}, [smem+512];
    xor.b32 d, d, e;
    st.global.u32 [to+12], d;
    """ + CLUSTER, words_in=128, words_out=512, per_in=1, per_out=4, grid=2, block=64, cluster=2, module=shared(1024))

program("cluster_mbarrier", "arrivals at the neighbour's mbarrier, a bulk copy into its memory", begin(33) + """
    ld.global.v4.u32 {a, b, c, e}, [from];
    mov.u32 y, smem;
    mad.lo.u32 z, tid, 16, y;
    st.shared.v4.u32 [z], {a, b, c, e};
    fence.proxy.async;
    """ + CLUSTER + """
    mov.u32 b, %cluster_ctarank;
    xor.b32 b, b, 1;
    mov.u32 x, bar;
    mapa.shared::cluster.u32 x, x, b;
    mbarrier.arrive.release.cluster.shared::cluster.b64 _, [x];
    @!t bra WAIT;
    mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], 512;
    mapa.shared::cluster.u32 w, y, b;
    cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [w+512], [smem], 512, [x];
    """ + wait("bar", 0, "WAIT") + """
    ld.shared.v4.u32 {a, b, c, e}, [z+512];
    st.global.v4.u32 [to], {a, b, c, e};
    """ + CLUSTER, words_in=256, words_out=256, per_out=4, grid=2, block=32, cluster=2, module=shared(1024))

program("bulk_multicast", "one bulk copy to both CTAs of a cluster, each half issued by one of them", begin() + CLUSTER + """
    @!t bra WAIT;
    mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], 1024;
    mov.u32 b, %cluster_ctarank;
    mul.lo.u32 x, b, 512;
    cvt.u64.u32 lx, x;
    add.u64 lx, src, lx;
    mov.u32 y, smem;
    add.u32 y, y, x;
    mov.b16 hx, 3;
    cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [y], [lx], 512, [bar], hx;
    """ + wait("bar", 0, "WAIT") + dump("smem", 4) + CLUSTER, words_in=512, words_out=512, grid=2, block=64, cluster=2, per_out=4, module=shared(1024))

# ---- tensor maps ----

ADDRESS = "mov.b64 lx, map0;\ncvta.param.u64 m0, lx;\n"


def tuple_of(values):
    return "(" + ", ".join(str(v) for v in values) + ")"


def mapped(kind, rank, word, dims, strides, box, steps=None, swizzle=0, fill="ZERO"):
    return f"{kind}, {rank}, {word}, {tuple_of(dims)}, {tuple_of(strides or [0])}, {tuple_of(box)}, {tuple_of(steps or [1] * rank)}, {swizzle}, {fill}"


def tma(name, what, kind, size, dims, box, coordinates, steps=None, swizzle=0, fill="ZERO", pitch=None):
    """Two boxes into shared memory and all of it out again; the second coordinate set usually hangs over an edge."""
    rank = len(dims)
    strides, stride = [], dims[0] * size
    for d in dims[1:]:
        strides.append(pitch or stride)
        stride = strides[-1] * d
        pitch = None
    inner = [(b + s - 1) // s for b, s in zip(box, steps or [1] * rank)]
    bytes_ = size
    for b in inner:
        bytes_ *= b
    bytes_each = -(-bytes_ // 1024) * 1024
    words = 2 * bytes_each // 4
    copies = ""
    for i, at in enumerate(coordinates):
        regs = ", ".join(f"r{j}" for j in range(rank))
        copies += "".join(f"mov.b32 r{j}, {c};\n" for j, c in enumerate(at)) + \
            f"cp.async.bulk.tensor.{rank}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [smem+{i * bytes_each}], [m0, {{{regs}}}], [bar];\n"
    fill_words = f"mov.u32 x, smem;\nmad.lo.u32 x, tid, 16, x;\n" + \
        "".join(f"st.shared.v4.u32 [x+{2048 * i}], {{0xabababab, 0xabababab, 0xabababab, 0xabababab}};\n" for i in range(words // 512)) + "fence.proxy.async;\n"
    program("tma_" + name, what, fill_words + begin() + ADDRESS + f"""
    @!t bra WAIT;
    mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], {2 * bytes_};
    {copies}""" + wait("bar", 0, "WAIT") + dump("smem", words // 128), words_in=-(-stride // 512) * 128, words_out=words, per_in=1, per_out=words // 128,
            module=shared(2 * bytes_each), params=", .param .align 64 .b8 map0[128]", inputs="WORDS",
            maps=[mapped(kind, rank, 0, dims, strides, box, steps, swizzle, fill)], **NEW)


tma("1d", "a tensor map of one dimension, out of bounds at both ends", "F32", 4, [300], [256], [[-8], [100]])
tma("2d", "two dimensions: a box inside, one over the corner", "F32", 4, [60, 20], [16, 16], [[4, 2], [52, 9]])
tma("2d_negative", "coordinates below zero", "U32", 4, [64, 16], [16, 16], [[-8, -3], [60, 12]], pitch=512)
tma("2d_nan", "out of bounds filled with NaN", "F32", 4, [60, 20], [16, 16], [[52, 9], [-4, 0]], fill="NAN")
tma("2d_bf16_nan", "out of bounds filled with NaN, bf16", "BF16", 2, [56, 20], [32, 16], [[40, 9], [-8, 0]], fill="NAN")
tma("2d_swizzle_32", "swizzle of 32 bytes", "F16", 2, [64, 32], [16, 32], [[16, 0], [56, 3]], swizzle=32)
tma("2d_swizzle_64", "swizzle of 64 bytes", "F16", 2, [64, 32], [32, 32], [[16, 0], [40, 7]], swizzle=64)
tma("2d_swizzle_128", "swizzle of 128 bytes", "F16", 2, [128, 16], [64, 16], [[32, 0], [96, 5]], swizzle=128)
tma("2d_swizzle_64_f32", "swizzle of 64 bytes, words", "F32", 4, [64, 16], [16, 16], [[16, 0], [56, 5]], swizzle=64)
tma("2d_bytes", "elements of a byte", "U8", 1, [200, 20], [64, 16], [[16, 1], [160, 10]], pitch=208)
tma("2d_strides", "an element stride of 3 across rows", "F32", 4, [64, 30], [32, 24], [[0, 0], [40, 10]], steps=[1, 3])
tma("3d", "three dimensions", "F32", 4, [20, 10, 6], [8, 8, 4], [[4, 1, 1], [16, 5, 4]])
tma("4d", "four dimensions", "F16", 2, [24, 6, 5, 4], [16, 4, 4, 2], [[8, 1, 0, 1], [16, 4, 3, 3]])
tma("5d", "five dimensions, negative coordinates", "F32", 4, [12, 4, 3, 3, 2], [8, 4, 2, 2, 2], [[4, 0, 1, 0, 0], [-4, -1, 2, 2, 1]])

program("tma_store", "tensor stores with swizzle and over an edge; a reduction into the tensor; wait_group.read", """
    ld.global.v4.u32 {a, b, c, e}, [from];
    mov.u32 x, smem;
    mad.lo.u32 x, tid, 16, x;
    st.shared.v4.u32 [x], {a, b, c, e};
    st.global.v4.u32 [to], {1, 2, 3, 4};
    st.global.v4.u32 [to+16], {5, 6, 7, 8};
    fence.proxy.async;
    bar.sync 0;
    setp.ne.u32 p, tid, 0;
    @p bra END;
    """ + ADDRESS + """
    mov.b64 lx, map1;
    cvta.param.u64 m1, lx;
    prefetch.tensormap [m0];
    mov.b32 r0, 4;
    mov.b32 r1, 1;
    cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [m0, {r0, r1}], [smem];
    mov.b32 r0, 24;
    mov.b32 r1, 10;
    cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [m0, {r0, r1}], [smem+1024];
    cp.async.bulk.commit_group;
    cp.async.bulk.wait_group.read 0;
    cp.async.bulk.wait_group 0;
    mov.b32 r0, 0;
    mov.b32 r1, 12;
    cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_group [m1, {r0, r1}], [smem];
    cp.async.bulk.commit_group;
    cp.async.bulk.wait_group 0;
    END:
""", words_in=512, words_out=1024, per_out=8, module=shared(2048), params=", .param .align 64 .b8 map0[128], .param .align 64 .b8 map1[128]",
        maps=[mapped("U32", 2, "SUITE_OUT", [32, 16], [128], [16, 16], swizzle=64), mapped("U32", 2, "SUITE_OUT", [32, 32], [128], [16, 16])], **NEW)

program("tma_multicast", "a tensor box to both CTAs of a cluster, halves issued by each", begin() + CLUSTER + ADDRESS + """
    @!t bra WAIT;
    mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], 2048;
    mov.u32 b, %cluster_ctarank;
    shl.b32 r1, b, 3;
    mov.u32 r0, 0;
    mov.u32 y, smem;
    mad.lo.u32 y, b, 1024, y;
    mov.b16 hx, 3;
    cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [y], [m0, {r0, r1}], [bar], hx;
    """ + wait("bar", 0, "WAIT") + dump("smem", 8) + CLUSTER, words_in=512, words_out=1024, grid=2, block=64, cluster=2, per_in=1, per_out=8, module=shared(2048),
        params=", .param .align 64 .b8 map0[128]", maps=[mapped("F32", 2, 0, [32, 16], [128], [32, 8], swizzle=128)])

# ---- wgmma ----

def descriptor(register, at, lead, stride, mode, base="smem"):
    """Shared-memory matrix descriptor: bits 0-13 address / 16, 16-29 leading and 32-45 stride byte offset / 16, 62-63 swizzle."""
    rest = (lead >> 4) << 16 | (stride >> 4) << 32 | {0: 0, 128: 1, 64: 2, 32: 3}[mode] << 62
    return f"mov.u32 x, {base};\nadd.u32 x, x, {at};\nand.b32 x, x, 0x3ffff;\nshr.u32 x, x, 4;\ncvt.u64.u32 lx, x;\nor.b64 {register}, lx, {rest:#x};\n"


def wgmma(name, n, types, k, inputs, a=(0, 128, 256, 0), b=(8192, 128, 256, 0), registers=False, flags=None, scale_d="p", initial=True, smem=16384,
          steps=1, step_a=0, step_b=0, scale=(1, 1), compare="BITS", bound="0"):
    """a and b: offset in shared memory, leading and stride byte offsets, swizzle. The words of `in` go to shared memory as they are."""
    half = types.startswith("f16.")
    count = n // 4 if half else n // 2
    d = "{" + ", ".join(f"r{i}" for i in range(count)) + "}"
    words = smem // 4
    body = "mov.u32 x, smem;\nmad.lo.u32 x, tid, 16, x;\n" + "".join(
        f"ld.global.v4.u32 {{r60, r61, r62, r63}}, [from+{2048 * i}];\nst.shared.v4.u32 [x+{2048 * i}], {{r60, r61, r62, r63}};\n" for i in range(words // 512))
    body += "fence.proxy.async;\nbar.sync 0;\n" + descriptor("m0", *a) + descriptor("m1", *b)
    if registers:
        body += "mov.u32 x, smem;\nmad.lo.u32 x, tid, 16, x;\nld.shared.v4.u32 {r96, r97, r98, r99}, [x];\n"
    for i in range(count):
        body += f"cvt.rn.f32.u32 fx, tid;\nadd.f32 fx, fx, 0f{0x40000000 + (i << 19):08x};\n" + f"mov.b32 r{i}, fx;\n" if initial and not half else \
            f"mov.b32 r{i}, {0x3c004000 if initial else 0};\n"
    body += f"setp.{'eq' if scale_d == 'p' else 'ne'}.u32 p, 0, 0;\nwgmma.fence.sync.aligned;\n"
    operand = "{r96, r97, r98, r99}" if registers else "m0"
    for s in range(steps):
        tail = "" if flags is None else "".join(f", {f}" for f in flags)
        body += f"wgmma.mma_async.sync.aligned.m64n{n}k{k}.{types} {d}, {operand}, m1, p, {scale[0]}, {scale[1]}{tail};\n"
        if s + 1 < steps:
            body += ("" if registers else f"add.u64 m0, m0, {step_a >> 4};\n") + f"add.u64 m1, m1, {step_b >> 4};\n"
    body += "wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n"
    body += "".join(f"st.global.u32 [to+{4 * i}], r{i};\n" for i in range(count))
    program("wgmma_" + name, f"wgmma m64n{n}k{k} {types}", body, words_in=words, words_out=128 * count, per_out=count, inputs=inputs, module=shared(smem),
            compare=compare, bound=bound, **NEW)


F16, BF16, TF32 = "f32.f16.f16", "f32.bf16.bf16", "f32.tf32.tf32"
wgmma("f16", 16, F16, 16, "SMALL_F16", flags=(0, 0))
wgmma("f16_offsets", 16, F16, 16, "SMALL_F16", a=(0, 1024, 128, 0), b=(8192, 512, 1024, 0), flags=(0, 0))
wgmma("bf16", 8, BF16, 16, "SMALL_BF16", flags=(0, 0))
wgmma("tf32", 16, TF32, 8, "SMALL_F32")
wgmma("f16_f16", 32, "f16.f16.f16", 16, "SMALL_F16", flags=(0, 0))
wgmma("no_accumulate", 16, BF16, 16, "SMALL_BF16", flags=(0, 0), scale_d="0")
wgmma("negated_a", 16, BF16, 16, "SMALL_BF16", flags=(0, 0), scale=(-1, 1))
wgmma("negated_b", 8, F16, 16, "SMALL_F16", flags=(0, 0), scale=(1, -1))
wgmma("negated_both", 8, TF32, 8, "SMALL_F32", scale=(-1, -1))
wgmma("registers_f16", 16, F16, 16, "SMALL_F16", registers=True, flags=(0,))
wgmma("registers_tf32", 16, TF32, 8, "SMALL_F32", registers=True)
wgmma("registers_negated", 8, BF16, 16, "SMALL_BF16", registers=True, flags=(0,), scale=(-1, 1))
wgmma("swizzle_32", 16, F16, 16, "SMALL_F16", a=(0, 16, 256, 32), b=(8192, 16, 256, 32), flags=(0, 0))
wgmma("swizzle_64", 16, BF16, 16, "SMALL_BF16", a=(0, 16, 512, 64), b=(8192, 16, 512, 64), flags=(0, 0), steps=2, step_a=32, step_b=32)
wgmma("swizzle_128", 16, BF16, 16, "SMALL_BF16", a=(0, 16, 1024, 128), b=(8192, 16, 1024, 128), flags=(0, 0), steps=4, step_a=32, step_b=32)
wgmma("swizzle_128_tf32", 16, TF32, 8, "SMALL_F32", a=(0, 16, 1024, 128), b=(8192, 16, 1024, 128), steps=4, step_a=32, step_b=32)
wgmma("swizzle_64_tf32", 8, TF32, 8, "SMALL_F32", a=(0, 16, 512, 64), b=(8192, 16, 512, 64), steps=2, step_a=32, step_b=32)
wgmma("swizzle_stride", 16, F16, 16, "SMALL_F16", a=(0, 16, 1024, 128), b=(8192, 16, 2048, 128), flags=(0, 0))
wgmma("transposed_b", 16, F16, 16, "SMALL_F16", b=(8192, 128, 512, 0), flags=(0, 1))
wgmma("transposed_b_32", 32, F16, 16, "SMALL_F16", b=(8192, 1024, 512, 32), flags=(0, 1))
wgmma("transposed_b_64", 64, BF16, 16, "SMALL_BF16", b=(8192, 1024, 512, 64), flags=(0, 1))
wgmma("transposed_b_128", 64, BF16, 16, "SMALL_BF16", b=(8192, 2048, 1024, 128), flags=(0, 1))
wgmma("transposed_b_128_wide", 96, F16, 16, "SMALL_F16", b=(8192, 4096, 1024, 128), flags=(0, 1))
wgmma("transposed_a", 8, F16, 16, "SMALL_F16", a=(0, 128, 1024, 0), flags=(1, 0))
wgmma("transposed_a_128", 8, BF16, 16, "SMALL_BF16", a=(0, 4096, 1024, 128), flags=(1, 0))
wgmma("transposed_a_64", 8, BF16, 16, "SMALL_BF16", a=(0, 2048, 512, 64), flags=(1, 0))

program("wgmma_groups", "three groups in flight, waited for one by one; an accumulator taken on by the next product", """
    mov.u32 x, smem;
    mad.lo.u32 x, tid, 16, x;
    """ + "".join(f"ld.global.v4.u32 {{r60, r61, r62, r63}}, [from+{2048 * i}];\nst.shared.v4.u32 [x+{2048 * i}], {{r60, r61, r62, r63}};\n" for i in range(4)) +
        "fence.proxy.async;\nbar.sync 0;\n" + descriptor("m0", 0, 128, 256, 0) + descriptor("m1", 4096, 128, 256, 0) + descriptor("m2", 6144, 128, 256, 0) +
        "".join(f"mov.b32 r{i}, 0;\n" for i in range(8)) + """
    wgmma.fence.sync.aligned;
    wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {r0, r1, r2, r3}, m0, m1, 1, 1, 1, 0, 0;
    wgmma.commit_group.sync.aligned;
    wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {r4, r5, r6, r7}, m0, m2, 1, 1, 1, 0, 0;
    wgmma.commit_group.sync.aligned;
    wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {r0, r1, r2, r3}, m0, m2, 1, 1, 1, 0, 0;
    wgmma.commit_group.sync.aligned;
    wgmma.wait_group.sync.aligned 1;
    st.global.v4.u32 [to], {r4, r5, r6, r7};
    wgmma.wait_group.sync.aligned 0;
    st.global.v4.u32 [to+16], {r0, r1, r2, r3};
""", words_in=2048, words_out=1024, per_out=8, inputs="SMALL_F16", module=shared(8192), **NEW)


def matmul(name, size, kind, types, k_step, inputs):
    """128 x 128 x 64: two warpgroups of 64 x 128; A and B K-major by TMA with the swizzle of 128 bytes."""
    panels, tile = 64 * size // 128, 128 * 128             # panels of 128 bytes of K; a panel of 128 rows
    loads = ""
    for i in range(panels):
        loads += f"mov.b32 r64, {i * 128 // size};\nmov.b32 r65, 0;\n"
        loads += "".join(f"cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [x+{(which * panels + i) * tile}], [m{which}, {{r64, r65}}], [bar];\n"
                         for which in (0, 1))
    d = "{" + ", ".join(f"r{i}" for i in range(64)) + "}"
    flags = ", 0, 0" if size == 2 else ""
    products = ""
    for i in range(64 // k_step):
        panel, inside = divmod(i * k_step * size, 128)
        products += f"add.u64 m4, m2, {(panel * tile + inside) >> 4};\nadd.u64 m5, m3, {(panel * tile + inside) >> 4};\n"
        products += f"wgmma.mma_async.sync.aligned.m64n128k{k_step}.{types} {d}, m4, m5, 1, 1, 1{flags};\n"
    program("matmul_" + name, f"128 x 128 x 64 by TMA and wgmma, swizzle of 128 bytes, {types}", begin() + ADDRESS + f"""
    mov.b64 lx, map1;
    cvta.param.u64 m1, lx;
    mov.u32 x, pool;
    add.u32 x, x, 1023;
    and.b32 x, x, 0xfffffc00;
    mov.u32 z, x;
    @!t bra WAIT;
    mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], {2 * panels * tile};
    {loads}""" + wait("bar", 0, "WAIT") + """
    shr.u32 w, tid, 7;
    mad.lo.u32 y, w, 8192, z;
    """ + descriptor("m2", 0, 16, 1024, 128, "y") + descriptor("m3", panels * tile, 16, 1024, 128, "z") +
            "".join(f"mov.b32 r{i}, 0;\n" for i in range(64)) + "wgmma.fence.sync.aligned;\n" + products + """
    wgmma.commit_group.sync.aligned;
    wgmma.wait_group.sync.aligned 0;
    shr.u32 x, lane, 2;
    mad.lo.u32 x, warp, 16, x;
    and.b32 y, lane, 3;
    shl.b32 y, y, 1;
    mad.lo.u32 x, x, 128, y;
    mul.wide.u32 lx, x, 4;
    add.u64 to, dst, lx;
    """ + "".join(f"st.global.v2.u32 [to+{32 * j}], {{r{4 * j}, r{4 * j + 1}}};\nst.global.v2.u32 [to+{32 * j + 4096}], {{r{4 * j + 2}, r{4 * j + 3}}};\n"
                  for j in range(16)), words_in=2 * 128 * 64 * size // 4, words_out=128 * 128, per_in=1, block=256, dynamic=2 * panels * tile + 1024, inputs=inputs,
            module=".extern .shared .align 1024 .b8 pool[];\n.shared .align 8 .b64 bar;",
            params=", .param .align 64 .b8 map0[128], .param .align 64 .b8 map1[128]",
            maps=[mapped(kind, 2, which * 128 * 64 * size // 4, [64, 128], [64 * size], [128 // size, 128], swizzle=128) for which in (0, 1)], **NEW)


matmul("bf16", 2, "BF16", BF16, 16, "SMALL_BF16")
matmul("tf32", 4, "F32", TF32, 8, "SMALL_F32")

def pipeline(blocks, stages):
    """64 x 64 over `blocks` pieces of 64 along K: one producer thread, one consuming warpgroup, a ring of full and empty barriers."""
    d = "{" + ", ".join(f"r{i}" for i in range(32)) + "}"
    full, empty = [f"full+{8 * s}" for s in range(stages)], [f"empty+{8 * s}" for s in range(stages)]
    produce, consume = "", ""
    for i in range(blocks):
        s, turn = i % stages, i // stages
        if turn:
            produce += wait(empty[s], (turn - 1) & 1, f"EMPTY{i}")
        produce += f"mbarrier.arrive.expect_tx.shared::cta.b64 _, [{full[s]}], 16384;\nmov.b32 r64, {64 * i};\nmov.b32 r65, 0;\n" + "".join(
            f"cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [smem+{16384 * s + 8192 * m}], [m{m}, {{r64, r65}}], [{full[s]}];\n"
            for m in (0, 1))
        consume += wait(full[s], turn & 1, f"FULL{i}") + "wgmma.fence.sync.aligned;\n" + "".join(
            f"add.u64 m4, m2, {(16384 * s + 32 * k) >> 4};\nadd.u64 m5, m3, {(16384 * s + 32 * k) >> 4};\n"
            f"wgmma.mma_async.sync.aligned.m64n64k16.{BF16} {d}, m4, m5, 1, 1, 1, 0, 0;\n" for k in range(4)) + \
            f"wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n@q mbarrier.arrive.shared::cta.b64 _, [{empty[s]}];\n"
    program("pipeline_bf16", f"a ring of {stages} stages: TMA by one thread, wgmma by another warpgroup, full and empty barriers", "setp.eq.u32 t, tid, 0;\n" +
            "".join(f"@t mbarrier.init.shared::cta.b64 [{f}], 1;\n@t mbarrier.init.shared::cta.b64 [{e}], 4;\n" for f, e in zip(full, empty)) +
            "fence.mbarrier_init.release.cluster;\nbar.sync 0;\n" + ADDRESS + """
    mov.b64 lx, map1;
    cvta.param.u64 m1, lx;
    setp.ge.u32 p, tid, 128;
    @p bra CONSUMER;
    setmaxnreg.dec.sync.aligned.u32 40;
    @!t bra END;
    """ + produce + """
    bra END;
    CONSUMER:
    setmaxnreg.inc.sync.aligned.u32 152;
    setp.eq.u32 q, lane, 0;
    """ + descriptor("m2", 0, 16, 1024, 128) + descriptor("m3", 8192, 16, 1024, 128) + "".join(f"mov.b32 r{i}, 0;\n" for i in range(32)) + consume + """
    sub.u32 y, tid, 128;
    mul.wide.u32 lx, y, 128;
    add.u64 to, dst, lx;
    """ + "".join(f"st.global.v4.u32 [to+{16 * i}], {{r{4 * i}, r{4 * i + 1}, r{4 * i + 2}, r{4 * i + 3}}};\n" for i in range(8)) + "END:\n",
            words_in=2 * 64 * 64 * blocks // 2, words_out=4096, per_in=1, block=256, directives="\n.reqntid 256\n.maxnreg 96", inputs="SMALL_BF16",
            module=f".shared .align 1024 .b8 smem[{16384 * stages}];\n.shared .align 8 .b64 full[{stages}];\n.shared .align 8 .b64 empty[{stages}];",
            params=", .param .align 64 .b8 map0[128], .param .align 64 .b8 map1[128]",
            maps=[mapped("BF16", 2, which * 64 * 64 * blocks // 2, [64 * blocks, 64], [128 * blocks], [64, 64], swizzle=128) for which in (0, 1)], **NEW)


pipeline(7, 2)

program("setmaxnreg", "a producer warpgroup gives registers away, a consumer takes them", """
    ld.global.u32 a, [from];
    setp.ge.u32 p, tid, 128;
    @p bra CONSUMER;
    setmaxnreg.dec.sync.aligned.u32 40;
    mul.lo.u32 d, a, 3;
    bra END;
    CONSUMER:
    setmaxnreg.inc.sync.aligned.u32 152;
    mul.lo.u32 d, a, 5;
    END:
    st.global.u32 [to], d;
""", words_in=256, words_out=256, per_in=1, block=256, directives="\n.reqntid 256\n.maxnreg 96", **NEW)

program("griddepcontrol", "programmatic dependent launch without a predecessor", """
    griddepcontrol.wait;
    ld.global.u32 a, [from];
    add.u32 d, a, 1;
    st.global.u32 [to], d;
    griddepcontrol.launch_dependents;
""", words_in=128, words_out=128, per_in=1, **NEW)
