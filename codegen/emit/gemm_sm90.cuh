// codegen/emit/gemm_sm90.cuh — matrix products on Hopper's tensor cores: the template that cuda_gemm.c prints kernels around.
//
//   D[batch][m][n] = sum over k of A * B,  piece by piece handed to the body of the kernel in fp32
//
// A block has a warpgroup that copies and BM / 64 warpgroups that multiply, each 64 rows by BN columns. Both walk over the tiles
// of the product, block after block, in the same order (persistent: as many blocks as the device has units). A ring of STAGES
// places in shared memory lies between them; a stage holds BK of k:
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

typedef unsigned long long gemm_u64;

enum GemmFormat { GEMM_BF16, GEMM_F16, GEMM_TF32, GEMM_F16_SCALED, GEMM_3XF16, GEMM_3XTF32 };

struct alignas(64) GemmMap { unsigned char bytes[128]; };              // a tensor map, as the driver encodes it

struct GemmMatrix { const void *data; long long offset, ld, stride_batch; bool trans; };        // elements; trans: k is the strided dim

struct GemmProblem {
    int m, n, k, batch;                                                // n: columns of one part
    int part_start[2];
    const float *inv_a, *inv_b;                                        // scales of rows and columns, negative: recompute
    long long stride_inv_a, stride_inv_b;
    GemmMatrix exact_a, exact_b, b, b_lo;                              // to recompute from; exact_b.data null: from the pieces
    int k_exact;
};

// ---- barriers, copies ------------------------------------------------------------------------------------------------------

#define GEMM_DEVICE static __device__ __forceinline__

GEMM_DEVICE unsigned gemm_shared(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

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

template <GemmFormat FORMAT_, int BM, int BN, int BK, int STAGES, int CLUSTER, int RASTER, int PARTS, int WIDTH,
          bool A_MN, bool B_MN, bool A_BATCHED, bool B_BATCHED>
struct GemmSm90 {
    static constexpr GemmFormat FORMAT = FORMAT_;
    static constexpr bool IS_TF32 = FORMAT == GEMM_TF32 || FORMAT == GEMM_3XTF32, THREE = FORMAT == GEMM_3XF16 || FORMAT == GEMM_3XTF32,
                          SCALED = THREE || FORMAT == GEMM_F16_SCALED;
    static constexpr int CONSUMERS = BM / 64, ELEMENT = IS_TF32 ? 4 : 2, ROW = BK * ELEMENT, STEPS = ROW / 32,
                         PART = BN / PARTS, SHARE = PART / CLUSTER, PIECES = PART / WIDTH, PITCH = WIDTH + 8,
                         A_BYTES = BM * ROW, B_BYTES = BN * ROW, STAGE_BYTES = (A_BYTES + B_BYTES) * (THREE ? 2 : 1),
                         PIPELINE_BYTES = STAGES * STAGE_BYTES + (16 * STAGES + 127) / 128 * 128,
                         INTERVAL = THREE ? 64 / BK : 1,               // stages between additions to the sum
                         R = BN / 2;                                   // accumulators a thread

    unsigned ring, full, empty;                                        // shared addresses
    int rank, slot;                                                    // this block in its cluster; place in the ring
    unsigned phase;

    // Where a tile lies: first row of this block, first column in every part, batch.
    struct Place { int row, col, batch; };

    static __device__ __forceinline__ int blocks_of_k(const GemmProblem &p)
    {
        return (p.k + BK * INTERVAL - 1) / (BK * INTERVAL) * INTERVAL; // past the end copies bring zeros
    }

    static __device__ __forceinline__ int first_tile() { return blockIdx.x / CLUSTER; }
    static __device__ __forceinline__ int tile_step() { return gridDim.x / CLUSTER; }
    static __device__ __forceinline__ int tiles_down(const GemmProblem &p) { return (p.m + BM * CLUSTER - 1) / (BM * CLUSTER); }
    static __device__ __forceinline__ int tiles_across(const GemmProblem &p) { return (p.n + PART - 1) / PART; }
    static __device__ __forceinline__ int tiles(const GemmProblem &p) { return tiles_down(p) * tiles_across(p) * p.batch; }

    // RASTER rows of tiles at a time, down first: tiles that run together share rows of A and columns of B in the L2 cache.
    __device__ __forceinline__ Place place(const GemmProblem &p, int tile) const
    {
        constexpr int ROWS = RASTER / CLUSTER;
        const int down = tiles_down(p), across = tiles_across(p), batch = p.batch == 1 ? 0 : tile / (down * across),
                  inside = tile - batch * (down * across), band = inside / (ROWS * across), at = inside - band * (ROWS * across),
                  rest = down - band * ROWS;
        const int col = rest >= ROWS ? at / ROWS : at / rest, row = band * ROWS + at - col * (rest >= ROWS ? ROWS : rest);
        return {(row * CLUSTER + rank) * BM, col * PART, batch};
    }

    __device__ __forceinline__ void next()
    {
        if (++slot == STAGES)
            slot = 0, phase ^= 1;
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
                gemm_barrier_init(empty + 8 * i, 4 * CONSUMERS * CLUSTER);
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

    __device__ __forceinline__ void copy_a(unsigned to, const GemmMap *map, unsigned bar, int k, const Place &at) const
    {
        if constexpr (A_MN) {
            #pragma unroll
            for (int i = 0; i < BM / 64; i++)
                gemm_copy<A_BATCHED, false>(to + i * BK * 128, map, bar, at.row + 64 * i, k, at.batch, 0);
        } else {
            gemm_copy<A_BATCHED, false>(to, map, bar, k, at.row, at.batch, 0);
        }
    }

    __device__ __forceinline__ void copy_b(unsigned to, const GemmMap *map, unsigned bar, int k, const Place &at, const GemmProblem &p) const
    {
        constexpr bool MULTICAST = CLUSTER > 1;
        constexpr unsigned short all = (1 << CLUSTER) - 1;
        #pragma unroll
        for (int part = 0; part < PARTS; part++) {
            const int from = p.part_start[part] + at.col + rank * SHARE;
            const unsigned into = to + (part * PART + rank * SHARE) * ROW;         // MN-major: BK * 128 a 64 columns, the same
            if constexpr (B_MN) {
                #pragma unroll
                for (int i = 0; i < SHARE / 64; i++)
                    gemm_copy<B_BATCHED, MULTICAST>(into + i * BK * 128, map, bar, from + 64 * i, k, at.batch, all);
            } else {
                gemm_copy<B_BATCHED, MULTICAST>(into, map, bar, k, from, at.batch, all);
            }
        }
    }

    __device__ __forceinline__ void produce(const GemmProblem &p, const GemmMap *a, const GemmMap *b, const GemmMap *a_lo, const GemmMap *b_lo)
    {
        if constexpr (CONSUMERS > 1)
            asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(CONSUMERS == 2 ? 40 : 32));
        if (threadIdx.x != 0)
            return;
        const int n_tiles = tiles(p), blocks = blocks_of_k(p);
        for (int tile = first_tile(); tile < n_tiles; tile += tile_step()) {
            const Place at = place(p, tile);
            #pragma unroll 1
            for (int k = 0; k < blocks; k++) {
                const unsigned to = ring + slot * STAGE_BYTES, bar = full + 8 * slot;
                gemm_wait(empty + 8 * slot, phase ^ 1);
                gemm_expect(bar, STAGE_BYTES);
                copy_a(to, a, bar, k * BK, at);
                copy_b(to + A_BYTES, b, bar, k * BK, at, p);
                if constexpr (THREE) {
                    copy_a(to + A_BYTES + B_BYTES, a_lo, bar, k * BK, at);
                    copy_b(to + 2 * A_BYTES + B_BYTES, b_lo, bar, k * BK, at, p);
                }
                next();
            }
        }
    }

    // ---- the multiplying warpgroups: thread l of a warp holds rows l / 4 and l / 4 + 8, columns 8j + l % 4 * 2 and the next ----

    int warp, lane;                                                    // among the multiplying ones
    int row, col, batch;                                               // of this warp in this tile
    float sum[R];
    float scale_a[2], scale_b[BN / 32];                                // column 32 j + lane of the tile
    bool bad;                                                          // some row or column of this warp's share of the tile is

    __device__ __forceinline__ void consume()
    {
        if constexpr (CONSUMERS > 1)
            asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(CONSUMERS == 2 ? 232 : 160));
        warp = threadIdx.x / 32 - 4;
        lane = threadIdx.x % 32;
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
    // K-major: 8 rows to the next 8. MN-major: 64 columns to the next 64 (leading), 8 of k to the next 8.
    template <bool MN> static __device__ __forceinline__ gemm_u64 descriptor(unsigned address)
    {
        constexpr gemm_u64 mode = MN || ROW == 128 ? 1 : 2, leading = MN ? BK * 128 / 16 : 1, stride = MN ? 1024 / 16 : ROW * 8 / 16;
        return (gemm_u64)(address >> 4) | leading << 16 | stride << 32 | mode << 62;
    }
    static constexpr int STEP_A = A_MN ? 2048 / 16 : 2, STEP_B = B_MN ? 2048 / 16 : 2;         // of a descriptor, a step of k

    template <int N> __device__ __forceinline__ void products(float (&d)[N], gemm_u64 a, gemm_u64 b, bool keep) const
    {
        #pragma unroll
        for (int i = 0; i < STEPS; i++)
            gemm_product<FORMAT, A_MN, B_MN>(d, a + i * STEP_A, b + i * STEP_B, i > 0 || keep);
    }

    __device__ __forceinline__ gemm_u64 a_at(int s) const
    {
        return descriptor<A_MN>(ring + s * STAGE_BYTES + warp / 4 * 64 * ROW);
    }
    __device__ __forceinline__ gemm_u64 b_at(int s) const { return descriptor<B_MN>(ring + s * STAGE_BYTES + A_BYTES); }

    // The tile's product into `sum`, not scaled yet.
    __device__ __forceinline__ void multiply(const GemmProblem &p, int tile)
    {
        const Place at = place(p, tile);
        const int blocks = blocks_of_k(p);
        int before = 0;
        row = at.row + warp * 16;
        col = at.col;
        batch = at.batch;
        load_scales(p);
        if constexpr (!THREE) {
            #pragma unroll 1
            for (int k = 0; k < blocks; k++) {
                gemm_wait(full + 8 * slot, phase);
                gemm_pin(sum);
                gemm_fence();
                products(sum, a_at(slot), b_at(slot), k > 0);
                gemm_commit();
                gemm_products_wait<1>();                               // those of the stage before are done
                if (k > 0)
                    release(before);
                before = slot;
                next();
            }
            gemm_products_wait<0>();
            gemm_pin(sum);
        } else {
            constexpr int LO = (A_BYTES + B_BYTES) / 16;
            float high[R], low[R];
            #pragma unroll
            for (int i = 0; i < R; i++)
                sum[i] = 0.0f;
            #pragma unroll 1
            for (int k = 0; k < blocks; k += INTERVAL) {
                #pragma unroll
                for (int i = 0; i < INTERVAL; i++) {
                    const gemm_u64 a = a_at(slot), b = b_at(slot);
                    gemm_wait(full + 8 * slot, phase);
                    gemm_pin(high);
                    gemm_pin(low);
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
                gemm_pin(high);
                #pragma unroll
                for (int i = 0; i < R; i++)
                    sum[i] += high[i];
            }
            gemm_products_wait<0>();
            gemm_pin(low);
            #pragma unroll
            for (int i = 0; i < R; i++)
                sum[i] = IS_TF32 ? sum[i] + low[i] : fmaf(low[i], 0x1p-11f, sum[i]);
        }
        release(before);
        if constexpr (SCALED) {
            int signs = __float_as_int(scale_a[0]) | __float_as_int(scale_a[1]);
            #pragma unroll
            for (int j = 0; j < BN / 32; j++)
                signs |= __float_as_int(scale_b[j]);
            bad = __any_sync(0xffffffffu, signs < 0);
        }
    }

    // ---- scales, and what they say must be recomputed ----

    __device__ __forceinline__ void load_scales(const GemmProblem &p)
    {
        if constexpr (SCALED) {
            const float *a = p.inv_a + batch * p.stride_inv_a, *b = p.inv_b + batch * p.stride_inv_b;
            #pragma unroll
            for (int h = 0; h < 2; h++) {
                const int i = row + lane / 4 + 8 * h;
                scale_a[h] = i < p.m ? a[i] : 1.0f;
            }
            #pragma unroll
            for (int j = 0; j < BN / 32; j++) {
                const int i = col + (32 * j) % PART + lane;
                scale_b[j] = i < p.n ? b[p.part_start[32 * j / PART] + i] : 1.0f;
            }
        }
    }

    // |scale| is a power of two, that of the row split in two so that nothing overflows or vanishes midway.
    static __device__ __forceinline__ float power(int e) { return __int_as_float((e + 127) << 23); }

    // Piece q of the sum, scaled, to this warp's part of the staging array.
    template <int Q> __device__ __forceinline__ void stage_static(float *staging)
    {
        float first[2], second[2];
        if constexpr (SCALED) {
            #pragma unroll
            for (int h = 0; h < 2; h++) {
                const int e = (__float_as_int(scale_a[h]) >> 23 & 255) - 127;
                first[h] = power(e >> 1);
                second[h] = power(e - (e >> 1));
            }
        }
        #pragma unroll
        for (int part = 0; part < PARTS; part++) {
            float *to = staging + ((warp * PARTS + part) * 16 + lane / 4) * PITCH + lane % 4 * 2;
            #pragma unroll
            for (int c = 0; c < WIDTH; c += 8) {
                const int column = part * PART + Q * WIDTH + c, i = column / 2;
                float x[2][2] = {{sum[i], sum[i + 1]}, {sum[i + 2], sum[i + 3]}};
                if constexpr (SCALED) {
                    #pragma unroll
                    for (int e = 0; e < 2; e++) {
                        const float b = fabsf(__shfl_sync(0xffffffffu, scale_b[column / 32], column % 32 + lane % 4 * 2 + e));
                        #pragma unroll
                        for (int h = 0; h < 2; h++)
                            x[h][e] = x[h][e] * first[h] * b * second[h];
                    }
                }
                #pragma unroll
                for (int h = 0; h < 2; h++)
                    *reinterpret_cast<float2 *>(to + 8 * h * PITCH + c) = make_float2(x[h][0], x[h][1]);
            }
        }
    }

    static __device__ __forceinline__ gemm_u64 index(const GemmMatrix &x, int z, int i, int k)
    {
        return x.offset + z * x.stride_batch + (x.trans ? k * x.ld + i : i * x.ld + k);
    }

    static __device__ __forceinline__ float piece_value(const GemmMatrix &x, gemm_u64 at)
    {
        if constexpr (IS_TF32)
            return static_cast<const float *>(x.data)[at];
        float f;
        asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(static_cast<const unsigned short *>(x.data)[at]));
        return f;
    }

    // B as it was before it was split.
    __device__ __forceinline__ float exact_b(const GemmProblem &p, int j, int k, float scale) const
    {
        if (p.exact_b.data)
            return static_cast<const float *>(p.exact_b.data)[index(p.exact_b, batch, j, k)];
        const float high = piece_value(p.b, index(p.b, batch, j, k));
        if constexpr (!THREE)
            return high * scale;
        const float low = piece_value(p.b_lo, index(p.b_lo, batch, j, k));
        return (IS_TF32 ? high + low : fmaf(low, 0x1p-11f, high)) * scale;
    }

    // Element (i, j) in fp32, k in order: where it is infinite or not a number, as fp32 arithmetic has it.
    __device__ __forceinline__ float exact(const GemmProblem &p, int i, int j) const
    {
        const float *a = static_cast<const float *>(p.exact_a.data), scale = fabsf(p.inv_b[batch * p.stride_inv_b + j]);
        float x = 0.0f;
        #pragma unroll 16
        for (int k = 0; k < p.k_exact; k++)
            x = fmaf(a[index(p.exact_a, batch, i, k)], exact_b(p, j, k, scale), x);
        return x;
    }

    // Recomputes what bad rows and columns hold of a piece. Lines that may be bad, a lane each: the rows (`first` -32), then the columns.
    __device__ __forceinline__ void repair(const GemmProblem &p, int start, float *staging) const
    {
        const float *inv_a = p.inv_a + batch * p.stride_inv_a, *inv_b = p.inv_b + batch * p.stride_inv_b;
        #pragma unroll 1
        for (int first = -32; first < (p.exact_b.data ? PARTS * WIDTH : 0); first += 32) {
            const bool rows = first < 0;
            const int c = rows ? 0 : first + lane, i = row + lane % 16, j = start + c % WIDTH;
            const float scale = rows ? (i < p.m ? inv_a[i] : 1.0f) : j < p.n ? inv_b[p.part_start[c / WIDTH] + j] : 1.0f;
            unsigned left = __ballot_sync(0xffffffffu, __float_as_int(scale) < 0) & (rows ? 0xffffu : 0xffffffffu);
            #pragma unroll 1
            for (; left; left &= left - 1) {
                const int line = __ffs(left) - 1;
                #pragma unroll 1
                for (int e = lane; e < (rows ? PARTS * WIDTH : 16); e += 32) {
                    const int r = rows ? line : e, d = rows ? e : first + line, part = d / WIDTH, at = start + d % WIDTH;
                    if (row + r < p.m && at < p.n)
                        staging[((warp * PARTS + part) * 16 + r) * PITCH + d % WIDTH] = exact(p, row + r, p.part_start[part] + at);
                }
            }
        }
    }

    // How many pieces of this tile hold something of the product.
    __device__ __forceinline__ int pieces(const GemmProblem &p) const
    {
        const int left = (p.n - col + WIDTH - 1) / WIDTH;
        return row >= p.m ? 0 : left < PIECES ? left : PIECES;
    }

    // Registers have no addresses: the piece is picked by comparing, so that the body need be there only once.
    template <int Q> __device__ __forceinline__ void stage_piece(int piece, float *staging)
    {
        if constexpr (Q + 1 < PIECES) {
            if (piece != Q) {
                stage_piece<Q + 1>(piece, staging);
                return;
            }
        }
        stage_static<Q>(staging);
    }

    // Piece `piece` of the product, ready for the body of all lanes.
    __device__ __forceinline__ void stage(const GemmProblem &p, int piece, float *staging)
    {
        stage_piece<0>(piece, staging);
        if constexpr (SCALED) {
            if (bad) {
                __syncwarp();
                repair(p, col + piece * WIDTH, staging);
            }
        }
        __syncwarp();
    }
};
