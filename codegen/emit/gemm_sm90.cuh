// codegen/emit/gemm_sm90.cuh — matrix products on Hopper's tensor cores: the template that cuda_gemm.c prints kernels
// around. It stands behind gemm_common.cuh and gemm_wgmma.cuh.
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
// With SPLITS the blocks of a cluster work on one tile, each on its share of k. Then each has the others' sums of some of the tile's
// pieces sent to its ring, adds them to its own, always in the same order, and is at those pieces' epilogue.
//
// One term: one group of products in flight.
// Three terms: hi*hi goes to an accumulator that is added to the sum, rounding to nearest, every 64 of k (the tensor core truncates);
// the corrections lo*hi + hi*lo, 2^-11 of that, have their own accumulator for all of k, and keep the tensor core busy meanwhile.

template <GemmFormat FORMAT, int BM, int BN, int BK, int STAGES, int CLUSTER, int SPLITS, int RASTER, int PARTS, int WIDTH, bool PINGPONG,
          bool A_MN, bool B_MN, bool A_BATCHED, bool B_BATCHED>
struct GemmSm90 : GemmShare<GemmSm90<FORMAT, BM, BN, BK, STAGES, CLUSTER, SPLITS, RASTER, PARTS, WIDTH, PINGPONG, A_MN, B_MN, A_BATCHED, B_BATCHED>,
                            FORMAT, PINGPONG ? BM / 64 : 1, 64, BN, PARTS, WIDTH> {
    static constexpr int ROWS = PINGPONG ? BM / 64 : 1;                // sets of sums, of 64 rows each
    using Share = GemmShare<GemmSm90, FORMAT, ROWS, 64, BN, PARTS, WIDTH>;
    using Share::IS_TF32, Share::THREE, Share::ELEMENT, Share::SCALED, Share::OWN, Share::ACROSS, Share::PITCH, Share::warp, Share::lane, Share::at;
    using Tiles = GemmTiles<BM * CLUSTER, BN / PARTS, RASTER / CLUSTER>;
    static constexpr int GROUPS = PINGPONG ? 2 : BM / 64,              // that multiply
                         ROW = BK * ELEMENT, STEPS = ROW / 32, PART = BN / PARTS, SHARE = PART / CLUSTER,
                         A_BYTES = BM * ROW, B_BYTES = BN * ROW, STAGE_BYTES = (A_BYTES + B_BYTES) * (THREE ? 2 : 1),
                         PIPELINE_BYTES = STAGES * STAGE_BYTES + (16 * STAGES + 127) / 128 * 128,
                         INTERVAL = THREE ? 64 / BK : 1,               // stages between additions to the sum
                         CHUNKS = BN / 32, HIGH = 1, LOW = 2,          // of a set; sets of three terms
                         BLOCKS = CLUSTER * SPLITS,                    // of a cluster
                         OWNED = (ACROSS + SPLITS - 1) / SPLITS * PARTS * WIDTH / 32, APART = 16 * 128 * GROUPS;    // chunks that a block receives

    unsigned ring, full, empty;                                        // shared addresses
    int rank, slot;                                                    // this block's tile in its cluster; place in the ring
    int split;                                                         // its share of k
    float held[PARTS * WIDTH / 2];                                     // of the piece that was taken last
    int turn = 0;                                                      // of those pieces: every other one
    unsigned phase;

    static __device__ __forceinline__ int blocks_of_k(const GemmProblem &p, int tile)
    {
        constexpr int turn = BK * INTERVAL * SPLITS;                   // of all blocks that share the tile
        return Tiles::is_multiplied(p, tile) ? (p.k + turn - 1) / turn * INTERVAL : 0;     // past the end copies bring zeros
    }

    static __device__ __forceinline__ int first_tile() { return blockIdx.x / BLOCKS; }
    static __device__ __forceinline__ int tile_step() { return gridDim.x / BLOCKS; }

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
        : ring(gemm_shared(memory)), full(ring + STAGES * STAGE_BYTES), empty(full + 8 * STAGES), rank(0), slot(0), split(0), phase(0)
    {
        gemm_accumulators<THREE ? 3 : ROWS, CHUNKS>();
        if constexpr (CLUSTER > 1)
            asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
        if constexpr (SPLITS > 1)
            asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(split));
        if (threadIdx.x == 0) {
            gemm_prefetch(a);
            gemm_prefetch(b);
            if constexpr (THREE) {
                gemm_prefetch(a_lo);
                gemm_prefetch(b_lo);
            }
            #pragma unroll 1
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
        if constexpr (BLOCKS > 1)
            asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
        else
            __syncthreads();
    }

    // By all threads, last: no block leaves while another one may still arrive at its barriers.
    static __device__ __forceinline__ void end()
    {
        if constexpr (BLOCKS > 1) {
            __syncwarp();
            meet();
        }
    }

    // ---- blocks that share a tile ----

    // By all threads, after a tile's sums: nobody reads the rings any more; the sums have been sent; they have been read.
    static __device__ __forceinline__ void await_rings() { meet(); }
    static __device__ __forceinline__ void await_sums() { meet(); }
    static __device__ __forceinline__ void leave_ring()
    {
        asm volatile("fence.proxy.async.shared::cta;\nbar.sync 3, %0;" ::"n"(128 + 128 * GROUPS) : "memory");
    }

    // A chunk's block, as that of its piece: pieces are dealt out in turn; and its number among those of that block.
    static __device__ constexpr int piece_of(int chunk) { return chunk * 32 % OWN / WIDTH; }
    static __device__ constexpr int owner_of(int chunk) { return piece_of(chunk) % SPLITS; }
    static __device__ constexpr int number_of(int chunk)
    {
        return (piece_of(chunk) / SPLITS * PARTS + chunk * 32 / OWN) * (WIDTH / 32) + chunk * 32 % WIDTH / 32;
    }

    // This thread's first sums of a chunk in the ring of the chunk's block, from the block that stands `turn` + 1 behind that one.
    __device__ __forceinline__ unsigned received(int number, int turn) const
    {
        return ring + (turn * OWNED + number) * 4 * APART + (warp * 32 + lane) * 16;
    }

    template <int CHUNK> __device__ __forceinline__ void send() const
    {
        if constexpr (CHUNK < CHUNKS) {
            constexpr int owner = owner_of(CHUNK);
            if (split != owner)
                gemm_send<CHUNK, APART>(gemm_address_at(received(number_of(CHUNK), (split + SPLITS - owner - 1) % SPLITS), owner));
            send<CHUNK + 1>();
        }
    }

    template <int CHUNK> __device__ __forceinline__ void receive() const
    {
        if constexpr (CHUNK < CHUNKS) {
            if (split == owner_of(CHUNK))
                #pragma unroll
                for (int turn = 0; turn < SPLITS - 1; turn++)
                    gemm_add_received<CHUNK, APART>(received(number_of(CHUNK), turn));
            receive<CHUNK + 1>();
        }
    }

    __device__ __forceinline__ void exchange() const
    {
        static_assert((SPLITS - 1) * OWNED * 4 * APART <= STAGES * STAGE_BYTES, "the ring holds the others' sums");
        await_rings();
        send<0>();
        await_sums();
        receive<0>();
        leave_ring();
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
        if (SPLITS == 1 && threadIdx.x != 0)
            return;
        const int n_tiles = Tiles::multiplied(p);
        for (int tile = first_tile(); tile < n_tiles; tile += tile_step()) {
            const GemmPlace here = place(p, tile);
            const int blocks = blocks_of_k(p, tile), first = split * blocks, end = threadIdx.x == 0 ? first + blocks : 0;
            #pragma unroll 1
            for (int k = first; k < end; k++) {
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
            if constexpr (SPLITS > 1) {
                __syncwarp();
                await_rings();
                await_sums();
                leave_ring();
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

    // The product of this warpgroup's tile of the round into its sums, not scaled yet. False: there is none.
    __device__ __forceinline__ bool multiply(const GemmProblem &p, int round, int rounds)
    {
        const int tile = tile_of(round), blocks = blocks_of_k(p, tile);
        const bool any = !PINGPONG || tile < Tiles::count(p);
        if (any) {
            at = place(p, tile);
            at.row += (PINGPONG ? warp % 4 : warp) * 16;
            this->load_scales(p);
        }
        if constexpr (PINGPONG) {
            if (warp >= 4)
                skip(blocks_of_k(p, tile - tile_step()));              // the other one's
            await_turn();
        }
        if (any && (!p.groups || blocks)) {
            accumulate(blocks, round + 1 == rounds);
            if constexpr (SPLITS > 1)
                exchange();
        } else if (any) {                                              // an empty sum
            hand_over(round + 1 == rounds);
            clear();
        }
        if constexpr (PINGPONG)
            if (warp < 4)
                skip(blocks_of_k(p, tile + tile_step()));
        if constexpr (Share::SCALED)
            this->bad = any && this->any_bad();
        return any;
    }

    __device__ __forceinline__ void clear() const
    {
        gemm_zero<0, CHUNKS>();
        if constexpr (ROWS == 2)
            gemm_zero<1, CHUNKS>();
    }

    // SETS sets from FIRST on, each = A B or set + A B over one stage.
    template <int FIRST, int SETS> __device__ __forceinline__ void products(gemm_u64 a, gemm_u64 b, bool keep) const
    {
        #pragma unroll
        for (int i = 0; i < STEPS; i++) {
            gemm_product<FORMAT, BN, FIRST, A_MN, B_MN>(a + i * STEP_A, b + i * STEP_B, i > 0 || keep);
            if constexpr (SETS == 2)
                gemm_product<FORMAT, BN, FIRST + 1, A_MN, B_MN>(a + (64 * ROW / 16 + i * STEP_A), b + i * STEP_B, i > 0 || keep);
        }
    }

    __device__ __forceinline__ void accumulate(int blocks, bool last)
    {
        int before = 0;
        if constexpr (!THREE) {
            #pragma unroll 1
            for (int k = 0; k < blocks; k++) {
                gemm_wait(full + 8 * slot, phase);
                gemm_fence();
                products<0, ROWS>(a_at(slot), b_at(slot), k > 0);
                gemm_commit();
                gemm_products_wait<1>();                               // those of the stage before are done
                if (k > 0)
                    release(before);
                before = slot;
                next();
            }
            hand_over(last);
            gemm_products_wait<0>();
        } else {
            constexpr int LO = (A_BYTES + B_BYTES) / 16;
            gemm_zero<0, CHUNKS>();
            #pragma unroll 1
            for (int k = 0; k < blocks; k += INTERVAL) {
                #pragma unroll
                for (int i = 0; i < INTERVAL; i++) {
                    const gemm_u64 a = a_at(slot), b = b_at(slot);
                    gemm_wait(full + 8 * slot, phase);
                    gemm_fence();
                    products<HIGH, 1>(a, b, i > 0);
                    gemm_commit();
                    products<LOW, 1>(a + LO, b, k + i > 0);
                    products<LOW, 1>(a, b + LO, true);
                    gemm_commit();
                    gemm_products_wait<2>();                           // those of the stage before are done
                    if (k + i > 0)
                        release(before);
                    before = slot;
                    next();
                }
                gemm_products_wait<1>();                               // the last corrections still run
                gemm_add<0, HIGH, false, CHUNKS>();
            }
            hand_over(last);
            gemm_products_wait<0>();
            gemm_add<0, LOW, !IS_TF32, CHUNKS>();
        }
        release(before);
    }

    // Columns of part PART and on, of piece q of the 16 rows r, to this warp's part of the staging array.
    template <int PIECE, int PART, int C>
    __device__ __forceinline__ void stage_chunks(unsigned to, const float (&first)[2], const float (&second)[2]) const
    {
        constexpr int r = PIECE / ACROSS, chunk = (PART * OWN + PIECE % ACROSS * WIDTH + C) / 32, place = PART * 16 * PITCH + C;
        if constexpr (SCALED)
            gemm_stage_scaled<r, chunk>(to + 4 * place, to + 4 * (place + 8 * PITCH), first, second, this->scale_b[chunk], lane % 4 * 2);
        else
            gemm_stage<r, chunk>(to + 4 * place, to + 4 * (place + 8 * PITCH));
        if constexpr (C + 32 < WIDTH)
            stage_chunks<PIECE, PART, C + 32>(to, first, second);
        else if constexpr (PART + 1 < PARTS)
            stage_chunks<PIECE, PART + 1, 0>(to, first, second);
    }

    // Piece `piece` is at hand in registers; false: nothing of the product is in it.
    __device__ __forceinline__ bool take(const GemmProblem &p, int piece)
    {
        if (!this->locate(p, piece))
            return false;
        turn ^= 1;
        take_piece<0>(piece);
        return true;
    }

    template <int PIECE> __device__ __forceinline__ void take_piece(int piece)
    {
        if constexpr (PIECE + 1 < Share::N_PIECES) {
            if (piece != PIECE) {
                take_piece<PIECE + 1>(piece);
                return;
            }
        }
        take_chunks<PIECE, 0>();
    }

    template <int PIECE, int I> __device__ __forceinline__ void take_chunks()
    {
        constexpr int part = 32 * I / WIDTH;
        gemm_take<PIECE / ACROSS, (part * OWN + PIECE % ACROSS * WIDTH + 32 * I % WIDTH) / 32>(held + 16 * I);
        if constexpr (32 * (I + 1) < PARTS * WIDTH)
            take_chunks<PIECE, I + 1>();
    }

    template <int PIECE> __device__ __forceinline__ void stage_static(float *staging) const
    {
        float first[2], second[2];
        if constexpr (SCALED)
            #pragma unroll
            for (int h = 0; h < 2; h++)
                this->row_factors(this->scale_a[PIECE / ACROSS][h], first[h], second[h]);
        stage_chunks<PIECE, 0, 0>(gemm_shared(staging + (warp * PARTS * 16 + lane / 4) * PITCH + lane % 4 * 2), first, second);
    }
};
