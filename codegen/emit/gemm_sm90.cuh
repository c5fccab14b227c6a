// codegen/emit/gemm_sm90.cuh — matrix products on Hopper's tensor cores: the template that cuda_gemm.c prints kernels
// around. It stands behind gemm_common.cuh.
//
//   D[batch][m][n] = sum over k of A * B,  piece by piece handed to the body of the kernel in fp32
//
// A block has a warpgroup that copies and up to three that multiply. They walk over the tiles of the product, BM rows by BN columns,
// in the same order (persistent: as many blocks as the device has units). The multiplying ones share a tile, 64 rows each; or, with
// PINGPONG, two of them take tiles in turn, and one multiplies while the other one is at its epilogue.
// A ring of STAGES places in shared memory lies between those who copy and those who multiply; a stage holds BK of k:
//
//   A [BM], B [BN], and with three terms A lo [BM], B lo [BN];  each K-major [rows][BK] under a swizzle as long as the row (64 or 128
//   bytes), or MN-major [rows / 64][BK][64] under the 128-byte swizzle
//
// `full` barriers count the bytes that have come, `empty` ones the warps that are done with a stage, in all blocks of the cluster.
// The blocks of a cluster work on tiles below each other: each brings its share of B's rows for all of them (multicast).
// The multiplying warps release a tile's last stage before they turn to its epilogue: the next tile's copies run meanwhile.
//
// One term: accumulators in registers, one group of products in flight.
// Three terms: hi*hi goes to an accumulator that is added to the sum, rounding to nearest, every 64 of k (the tensor core truncates);
// the corrections lo*hi + hi*lo, 2^-11 of that, have their own accumulator for all of k, and keep the tensor core busy meanwhile.
//
// Layouts: PTX ISA, "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Operation using wgmma.mma_async".

struct alignas(64) GemmMap { unsigned char bytes[128]; };              // a tensor map, as the driver encodes it

// ---- barriers, copies ------------------------------------------------------------------------------------------------------

GEMM_DEVICE void gemm_barrier_init(unsigned bar, int count)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(count) : "memory");
}

GEMM_DEVICE void gemm_expect(unsigned bar, int bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
}

GEMM_DEVICE void gemm_wait(unsigned bar, unsigned parity)
{
    unsigned done;
    do
        asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
                     : "=r"(done) : "r"(bar), "r"(parity) : "memory");
    while (!done);
}

GEMM_DEVICE void gemm_arrive(unsigned bar) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory"); }

// At the same barrier of another block of the cluster. No .release.cluster: that form becomes a fence of the whole GPU, and what the
// arrival stands for, reads by the tensor core, has ended.
GEMM_DEVICE void gemm_arrive_at(unsigned bar, int block)
{
    asm volatile("{\n.reg .b32 r;\nmapa.shared::cluster.u32 r, %0, %1;\nmbarrier.arrive.shared::cluster.b64 _, [r];\n}"
                 ::"r"(bar), "r"(block) : "memory");
}

// One box of a tensor map to shared memory, of this block or, with a mask, of several in the cluster.
template <bool BATCHED, bool MULTICAST>
GEMM_DEVICE void gemm_copy(unsigned to, const GemmMap *map, unsigned bar, int x, int y, int z, unsigned short mask)
{
    if constexpr (!BATCHED && !MULTICAST)
        asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];"
                     ::"r"(to), "l"(map), "r"(bar), "r"(x), "r"(y) : "memory");
    else if constexpr (!BATCHED)
        asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
                     "[%0], [%1, {%3, %4}], [%2], %5;" ::"r"(to), "l"(map), "r"(bar), "r"(x), "r"(y), "h"(mask) : "memory");
    else if constexpr (!MULTICAST)
        asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];"
                     ::"r"(to), "l"(map), "r"(bar), "r"(x), "r"(y), "r"(z) : "memory");
    else
        asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
                     "[%0], [%1, {%3, %4, %5}], [%2], %6;" ::"r"(to), "l"(map), "r"(bar), "r"(x), "r"(y), "r"(z), "h"(mask) : "memory");
}

GEMM_DEVICE void gemm_prefetch(const GemmMap *map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }

// ---- wgmma -----------------------------------------------------------------------------------------------------------------

GEMM_DEVICE void gemm_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
GEMM_DEVICE void gemm_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> GEMM_DEVICE void gemm_products_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }

// Keeps the compiler from moving reads or writes of accumulators across this point.
template <int R> GEMM_DEVICE void gemm_pin(float (&d)[R])
{
    #pragma unroll
    for (int i = 0; i < R; i++)
        asm volatile("" : "+f"(d[i])::"memory");
}

#define GEMM_D8(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define GEMM_D16(i) GEMM_D8(i), GEMM_D8(i + 8)
#define GEMM_D32(i) GEMM_D16(i), GEMM_D16(i + 16)
#define GEMM_D64(i) GEMM_D32(i), GEMM_D32(i + 32)
#define GEMM_R16 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define GEMM_R32 GEMM_R16 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define GEMM_R48 GEMM_R32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define GEMM_R64 GEMM_R48 ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define GEMM_R80 GEMM_R64 ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79"
#define GEMM_R96 GEMM_R80 ",%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"
#define GEMM_R112 GEMM_R96 ",%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111"
#define GEMM_R128 GEMM_R112 ",%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"

#define GEMM_WGMMA(shape, regs, a, b, on, tail)                                                                                       \
    "{\n.reg .pred p;\nsetp.ne.b32 p, " on ", 0;\nwgmma.mma_async.sync.aligned." shape " {" regs "}, " a ", " b ", p, 1, 1" tail ";\n}"

// d = A B + (on ? d : 0) over 32 bytes of k, from shared memory; d holds 64 rows by N columns of a warpgroup.
#define GEMM_PRODUCT(N, R, out, a_, b_, on_, ta_, tb_)                                                                                \
    template <GemmFormat F, int A_MN, int B_MN> GEMM_DEVICE void gemm_product(float (&d)[R], gemm_u64 a, gemm_u64 b, int on)            \
    {                                                                                                                                   \
        if constexpr (F == GEMM_TF32 || F == GEMM_3XTF32)                                                                               \
            asm volatile(GEMM_WGMMA("m64n" #N "k8.f32.tf32.tf32", GEMM_R##R, a_, b_, on_, "") : out : "l"(a), "l"(b), "r"(on));        \
        else if constexpr (F == GEMM_BF16)                                                                                              \
            asm volatile(GEMM_WGMMA("m64n" #N "k16.f32.bf16.bf16", GEMM_R##R, a_, b_, on_, ", " ta_ ", " tb_)                           \
                         : out : "l"(a), "l"(b), "r"(on), "n"(A_MN), "n"(B_MN));                                                        \
        else                                                                                                                            \
            asm volatile(GEMM_WGMMA("m64n" #N "k16.f32.f16.f16", GEMM_R##R, a_, b_, on_, ", " ta_ ", " tb_)                             \
                         : out : "l"(a), "l"(b), "r"(on), "n"(A_MN), "n"(B_MN));                                                        \
    }

#define GEMM_COMMA ,
GEMM_PRODUCT(32, 16, GEMM_D16(0), "%16", "%17", "%18", "%19", "%20")
GEMM_PRODUCT(64, 32, GEMM_D32(0), "%32", "%33", "%34", "%35", "%36")
GEMM_PRODUCT(96, 48, GEMM_D32(0) GEMM_COMMA GEMM_D16(32), "%48", "%49", "%50", "%51", "%52")
GEMM_PRODUCT(128, 64, GEMM_D64(0), "%64", "%65", "%66", "%67", "%68")
GEMM_PRODUCT(160, 80, GEMM_D64(0) GEMM_COMMA GEMM_D16(64), "%80", "%81", "%82", "%83", "%84")
GEMM_PRODUCT(192, 96, GEMM_D64(0) GEMM_COMMA GEMM_D32(64), "%96", "%97", "%98", "%99", "%100")
GEMM_PRODUCT(224, 112, GEMM_D64(0) GEMM_COMMA GEMM_D32(64) GEMM_COMMA GEMM_D16(96), "%112", "%113", "%114", "%115", "%116")
GEMM_PRODUCT(256, 128, GEMM_D64(0) GEMM_COMMA GEMM_D64(64), "%128", "%129", "%130", "%131", "%132")

// ---- a block's share of the product ------------------------------------------------------------------------------------------

template <GemmFormat FORMAT, int BM, int BN, int BK, int STAGES, int CLUSTER, int RASTER, int PARTS, int WIDTH, bool PINGPONG,
          bool A_MN, bool B_MN, bool A_BATCHED, bool B_BATCHED>
struct GemmSm90 : GemmShare<FORMAT, PINGPONG ? BM / 64 : 1, 64, BN, PARTS, WIDTH> {
    using Share = GemmShare<FORMAT, PINGPONG ? BM / 64 : 1, 64, BN, PARTS, WIDTH>;
    using Share::IS_TF32, Share::THREE, Share::ELEMENT, Share::R, Share::warp, Share::lane, Share::at, Share::sum;
    using Tiles = GemmTiles<BM * CLUSTER, BN / PARTS, RASTER / CLUSTER>;
    static constexpr int GROUPS = PINGPONG ? 2 : BM / 64,              // that multiply
                         ROW = BK * ELEMENT, STEPS = ROW / 32, PART = BN / PARTS, SHARE = PART / CLUSTER,
                         A_BYTES = BM * ROW, B_BYTES = BN * ROW, STAGE_BYTES = (A_BYTES + B_BYTES) * (THREE ? 2 : 1),
                         PIPELINE_BYTES = STAGES * STAGE_BYTES + (16 * STAGES + 127) / 128 * 128,
                         INTERVAL = THREE ? 64 / BK : 1;               // stages between additions to the sum

    unsigned ring, full, empty;                                        // shared addresses
    int rank, slot;                                                    // this block in its cluster; place in the ring
    unsigned phase;

    static __device__ __forceinline__ int blocks_of_k(const GemmProblem &p)
    {
        return (p.k + BK * INTERVAL - 1) / (BK * INTERVAL) * INTERVAL; // past the end copies bring zeros
    }

    static __device__ __forceinline__ int first_tile() { return blockIdx.x / CLUSTER; }
    static __device__ __forceinline__ int tile_step() { return gridDim.x / CLUSTER; }

    // This block's part of a tile of the cluster.
    __device__ __forceinline__ GemmPlace place(const GemmProblem &p, int tile) const
    {
        GemmPlace first = Tiles::place(p, tile);
        first.row += rank * BM;
        return first;
    }

    __device__ __forceinline__ void next()
    {
        if (++slot == STAGES)
            slot = 0, phase ^= 1;
    }

    __device__ __forceinline__ void skip(int stages)
    {
        const int at = slot + stages, turns = at / STAGES;
        slot = at - turns * STAGES;
        phase ^= turns & 1;
    }

    // By all threads, first: `memory` is 1024-byte aligned.
    __device__ __forceinline__ GemmSm90(const void *memory, const GemmMap *a, const GemmMap *b, const GemmMap *a_lo, const GemmMap *b_lo)
        : ring(gemm_shared(memory)), full(ring + STAGES * STAGE_BYTES), empty(full + 8 * STAGES), rank(0), slot(0), phase(0)
    {
        if constexpr (CLUSTER > 1)
            asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
        if (threadIdx.x == 0) {
            gemm_prefetch(a);
            gemm_prefetch(b);
            if constexpr (THREE) {
                gemm_prefetch(a_lo);
                gemm_prefetch(b_lo);
            }
            for (int i = 0; i < STAGES; i++) {
                gemm_barrier_init(full + 8 * i, 1);
                gemm_barrier_init(empty + 8 * i, 4 * (PINGPONG ? 1 : GROUPS) * CLUSTER);
            }
            asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        }
        meet();
    }

    // All threads of the cluster.
    static __device__ __forceinline__ void meet()
    {
        if constexpr (CLUSTER > 1)
            asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
        else
            __syncthreads();
    }

    // By all threads, last: no block leaves while another one may still arrive at its barriers.
    static __device__ __forceinline__ void end()
    {
        if constexpr (CLUSTER > 1) {
            __syncwarp();
            meet();
        }
    }

    // ---- the copying warpgroup ----

    __device__ __forceinline__ void copy_a(unsigned to, const GemmMap *map, unsigned bar, int k, const GemmPlace &tile) const
    {
        if constexpr (A_MN) {
            #pragma unroll
            for (int i = 0; i < BM / 64; i++)
                gemm_copy<A_BATCHED, false>(to + i * BK * 128, map, bar, tile.row + 64 * i, k, tile.batch, 0);
        } else {
            gemm_copy<A_BATCHED, false>(to, map, bar, k, tile.row, tile.batch, 0);
        }
    }

    __device__ __forceinline__ void copy_b(unsigned to, const GemmMap *map, unsigned bar, int k, const GemmPlace &tile, const GemmProblem &p) const
    {
        constexpr bool MULTICAST = CLUSTER > 1;
        constexpr unsigned short all = (1 << CLUSTER) - 1;
        #pragma unroll
        for (int part = 0; part < PARTS; part++) {
            const int from = gemm_start(p, part) + tile.col + rank * SHARE;
            const unsigned into = to + (part * PART + rank * SHARE) * ROW;         // MN-major: BK * 128 a 64 columns, the same
            if constexpr (B_MN) {
                #pragma unroll
                for (int i = 0; i < SHARE / 64; i++)
                    gemm_copy<B_BATCHED, MULTICAST>(into + i * BK * 128, map, bar, from + 64 * i, k, tile.batch, all);
            } else {
                gemm_copy<B_BATCHED, MULTICAST>(into, map, bar, k, from, tile.batch, all);
            }
        }
    }

    __device__ __forceinline__ void produce(const GemmProblem &p, const GemmMap *a, const GemmMap *b, const GemmMap *a_lo, const GemmMap *b_lo)
    {
        if constexpr (GROUPS > 1)
            asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(GROUPS == 2 ? 40 : 32));
        if (threadIdx.x != 0)
            return;
        const int n_tiles = Tiles::count(p), blocks = blocks_of_k(p);
        for (int tile = first_tile(); tile < n_tiles; tile += tile_step()) {
            const GemmPlace here = place(p, tile);
            #pragma unroll 1
            for (int k = 0; k < blocks; k++) {
                const unsigned to = ring + slot * STAGE_BYTES, bar = full + 8 * slot;
                gemm_wait(empty + 8 * slot, phase ^ 1);
                gemm_expect(bar, STAGE_BYTES);
                copy_a(to, a, bar, k * BK, here);
                copy_b(to + A_BYTES, b, bar, k * BK, here, p);
                if constexpr (THREE) {
                    copy_a(to + A_BYTES + B_BYTES, a_lo, bar, k * BK, here);
                    copy_b(to + 2 * A_BYTES + B_BYTES, b_lo, bar, k * BK, here, p);
                }
                next();
            }
        }
    }

    // ---- the multiplying warpgroups ----

    __device__ __forceinline__ void consume()
    {
        if constexpr (GROUPS > 1)
            asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(GROUPS == 2 ? 232 : 160));
        warp = threadIdx.x / 32 - 4;
        lane = threadIdx.x % 32;
        if constexpr (PINGPONG)
            if (warp >= 4)
                pass_turn();
    }

    // PINGPONG: a warpgroup's turn to multiply. Its stages come after the other one's: it must not wait for them before, as
    // barriers tell only odd phases from even ones.
    __device__ __forceinline__ void await_turn() const
    {
        if (warp < 4)
            asm volatile("bar.sync 1, 256;" ::: "memory");
        else
            asm volatile("bar.sync 2, 256;" ::: "memory");
    }
    __device__ __forceinline__ void pass_turn() const
    {
        if (warp < 4)
            asm volatile("bar.arrive 2, 256;" ::: "memory");
        else
            asm volatile("bar.arrive 1, 256;" ::: "memory");
    }

    __device__ __forceinline__ void hand_over(bool last) const         // while the last products still run
    {
        if constexpr (PINGPONG)
            if (warp < 4 || !last)
                pass_turn();
    }

    // The rounds that every multiplying warpgroup takes part in, and its tile in a round; past the end there may be one without.
    static __device__ __forceinline__ int rounds(const GemmProblem &p)
    {
        constexpr int turns = PINGPONG ? 2 : 1;
        const int mine = (Tiles::count(p) - first_tile() + tile_step() - 1) / tile_step();
        return (mine + turns - 1) / turns;
    }
    __device__ __forceinline__ int tile_of(int round) const
    {
        return first_tile() + (PINGPONG ? 2 * round + warp / 4 : round) * tile_step();
    }

    __device__ __forceinline__ void release(int done) const
    {
        if constexpr (CLUSTER > 1) {
            if (lane < CLUSTER)
                gemm_arrive_at(empty + 8 * done, lane);
        } else if (lane == 0) {
            gemm_arrive(empty + 8 * done);
        }
    }

    // Descriptor of a shared operand: start and strides in 16 bytes; swizzle 1: 128 bytes, 2: 64.
    // A block's shared addresses carry its rank in the cluster above 18 bits: those are no part of it.
    // K-major: 8 rows to the next 8. MN-major: 64 columns to the next 64 (leading), 8 of k to the next 8.
    template <bool MN> static __device__ __forceinline__ gemm_u64 descriptor(unsigned address)
    {
        constexpr gemm_u64 mode = MN || ROW == 128 ? 1 : 2, leading = MN ? BK * 128 / 16 : 1, stride = MN ? 1024 / 16 : ROW * 8 / 16;
        return (gemm_u64)((address & 0x3ffff) >> 4) | leading << 16 | stride << 32 | mode << 62;
    }
    static constexpr int STEP_A = A_MN ? 2048 / 16 : 2, STEP_B = B_MN ? 2048 / 16 : 2;         // of a descriptor, a step of k

    __device__ __forceinline__ gemm_u64 a_at(int s) const
    {
        return descriptor<A_MN>(ring + s * STAGE_BYTES + (PINGPONG ? 0 : warp / 4 * 64 * ROW));
    }
    __device__ __forceinline__ gemm_u64 b_at(int s) const { return descriptor<B_MN>(ring + s * STAGE_BYTES + A_BYTES); }

    // The product of this warpgroup's tile of the round into `sum`, not scaled yet. False: there is none.
    __device__ __forceinline__ bool multiply(const GemmProblem &p, int round, int rounds)
    {
        const int tile = tile_of(round), blocks = blocks_of_k(p);
        const bool any = !PINGPONG || tile < Tiles::count(p);
        if (any) {
            at = place(p, tile);
            at.row += (PINGPONG ? warp % 4 : warp) * 16;
            this->load_scales(p);
        }
        if constexpr (PINGPONG) {
            if (warp >= 4)
                skip(blocks);                                          // the other one's
            await_turn();
        }
        if (any)
            accumulate(blocks, round + 1 == rounds);
        if constexpr (PINGPONG)
            if (warp < 4)
                skip(blocks);
        if constexpr (Share::SCALED)
            this->bad = any && this->any_bad();
        return any;
    }

    // d = A B or d + A B over one stage, for each 64 rows.
    template <int N> __device__ __forceinline__ void products(float (&d)[N][R], gemm_u64 a, gemm_u64 b, bool keep) const
    {
        #pragma unroll
        for (int i = 0; i < STEPS; i++)
            #pragma unroll
            for (int e = 0; e < N; e++)
                gemm_product<FORMAT, A_MN, B_MN>(d[e], a + (e * 64 * ROW / 16 + i * STEP_A), b + i * STEP_B, i > 0 || keep);
    }

    template <int N> static __device__ __forceinline__ void pin(float (&d)[N][R])
    {
        #pragma unroll
        for (int e = 0; e < N; e++)
            gemm_pin(d[e]);
    }

    __device__ __forceinline__ void accumulate(int blocks, bool last)
    {
        int before = 0;
        if constexpr (!THREE) {
            #pragma unroll 1
            for (int k = 0; k < blocks; k++) {
                gemm_wait(full + 8 * slot, phase);
                pin(sum);
                gemm_fence();
                products(sum, a_at(slot), b_at(slot), k > 0);
                gemm_commit();
                gemm_products_wait<1>();                               // those of the stage before are done
                if (k > 0)
                    release(before);
                before = slot;
                next();
            }
            hand_over(last);
            gemm_products_wait<0>();
            pin(sum);
        } else {
            constexpr int LO = (A_BYTES + B_BYTES) / 16;
            float high[1][R], low[1][R];
            #pragma unroll
            for (int i = 0; i < R; i++)
                sum[0][i] = 0.0f;
            #pragma unroll 1
            for (int k = 0; k < blocks; k += INTERVAL) {
                #pragma unroll
                for (int i = 0; i < INTERVAL; i++) {
                    const gemm_u64 a = a_at(slot), b = b_at(slot);
                    gemm_wait(full + 8 * slot, phase);
                    pin(high);
                    pin(low);
                    gemm_fence();
                    products(high, a, b, i > 0);
                    gemm_commit();
                    products(low, a + LO, b, k + i > 0);
                    products(low, a, b + LO, true);
                    gemm_commit();
                    gemm_products_wait<2>();                           // those of the stage before are done
                    if (k + i > 0)
                        release(before);
                    before = slot;
                    next();
                }
                gemm_products_wait<1>();                               // the last corrections still run
                pin(high);
                #pragma unroll
                for (int i = 0; i < R; i++)
                    sum[0][i] += high[0][i];
            }
            hand_over(last);
            gemm_products_wait<0>();
            pin(low);
            #pragma unroll
            for (int i = 0; i < R; i++)
                sum[0][i] = IS_TF32 ? sum[0][i] + low[0][i] : fmaf(low[0][i], 0x1p-11f, sum[0][i]);
        }
        release(before);
    }
};
