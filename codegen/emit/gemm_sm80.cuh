// codegen/emit/gemm_sm80.cuh — matrix products by mma.sync, for chips from sm_80 on that have no wgmma: the template that cuda_gemm.c
// prints kernels around. It stands behind gemm_common.cuh.
//
//   D[batch][m][n] = sum over k of A * B,  piece by piece handed to the body of the kernel in fp32
//
// DOWN x ACROSS warps share a tile of BM rows by BN columns; a warp has the same columns of every part. All threads copy, 16 bytes at
// a time (cp.async), and all multiply: a ring of STAGES places in shared memory, BK of k in each, is filled STAGES - 1 places ahead.
// Blocks take tiles in turn, and the copies run on into the next tile, so that they are under way during a tile's epilogue. A stage:
//
//   A [BM], B [BN], and with three terms A lo [BM], B lo [BN];  each K-major [rows][BK], or MN-major [BK][rows]
//
// 16-byte chunks of a line are permuted (xor with the line's number), so that ldmatrix, which reads a chunk of 8 lines at a time, and
// the copies, which write neighbouring ones, meet no bank twice (but for copies of MN-major parts of 32 columns: those of two lines
// do). What lies outside the matrices is written as zero.
//
// One term: the tensor core's accumulators are the sums. A step's fragments are loaded while those of the step before are multiplied.
// Three terms: hi*hi is multiplied 2 steps of k (64 bytes) at a time and added to the sum, rounding to nearest (the tensor core
// truncates); the corrections lo*hi + hi*lo, 2^-11 of that, have their own accumulators for all of k.
//
// Fragments: PTX ISA, "Matrix Fragments for mma.m16n8k16", "… mma.m16n8k8", "ldmatrix".

// ---- copies and products -----------------------------------------------------------------------------------------------------

// 16 bytes of which the first `bytes` are read, the others 0.
GEMM_DEVICE void gemm_copy16(unsigned to, const void *from, int bytes)
{
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;"
                 ::"r"(to), "l"(__cvta_generic_to_global(from)), "r"(bytes) : "memory");
}

// The same of 2-byte elements from anywhere.
GEMM_DEVICE void gemm_copy_elements(unsigned to, const void *from, int bytes)
{
    unsigned w[4];
    #pragma unroll
    for (int i = 0; i < 4; i++) {
        const unsigned short *x = static_cast<const unsigned short *>(from) + 2 * i;
        w[i] = (4 * i < bytes ? x[0] : 0u) | (4 * i + 2 < bytes ? (unsigned)x[1] << 16 : 0u);
    }
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]) : "memory");
}

GEMM_DEVICE void gemm_copies_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> GEMM_DEVICE void gemm_copies_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

// Four 8 x 8 blocks of 2-byte elements (or 8 x 4 of 4-byte ones), a line's address from each lane; across: transposed on the way.
template <bool ACROSS> GEMM_DEVICE void gemm_fragments(unsigned (&f)[4], unsigned address)
{
    if constexpr (ACROSS)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(f[0]), "=r"(f[1]), "=r"(f[2]), "=r"(f[3]) : "r"(address) : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(f[0]), "=r"(f[1]), "=r"(f[2]), "=r"(f[3]) : "r"(address) : "memory");
}

#define GEMM_MMA(shape)                                                                                                              \
    asm volatile("mma.sync.aligned." shape " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                        \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))

// d += A B over 32 bytes of k, 16 rows by 8 columns.
template <GemmFormat F> GEMM_DEVICE void gemm_mma(float *d, const unsigned (&a)[4], unsigned b0, unsigned b1)
{
    if constexpr (F == GEMM_TF32 || F == GEMM_3XTF32)
        GEMM_MMA("m16n8k8.row.col.f32.tf32.tf32.f32");
    else if constexpr (F == GEMM_BF16)
        GEMM_MMA("m16n8k16.row.col.f32.bf16.bf16.f32");
    else
        GEMM_MMA("m16n8k16.row.col.f32.f16.f16.f32");
}

// ---- a block's share of the product ------------------------------------------------------------------------------------------

template <GemmFormat FORMAT, int BM, int BN, int BK, int STAGES, int DOWN, int ACROSS, int RASTER, int PARTS, int WIDTH, bool A_MN, bool B_MN>
struct GemmSm80 : GemmShare<GemmSm80<FORMAT, BM, BN, BK, STAGES, DOWN, ACROSS, RASTER, PARTS, WIDTH, A_MN, B_MN>, FORMAT, BM / DOWN / 16, 16,
                            BN / ACROSS, PARTS, WIDTH> {
    static constexpr int ROWS = BM / DOWN / 16, COLUMNS = BN / ACROSS;
    using Share = GemmShare<GemmSm80, FORMAT, ROWS, 16, COLUMNS, PARTS, WIDTH>;
    using Share::THREE, Share::SCALED, Share::ELEMENT, Share::OWN, Share::PITCH, Share::warp, Share::lane, Share::scale_b;
    static constexpr int THREADS = 32 * DOWN * ACROSS, PART = BN / PARTS,
                         ROW = BK * ELEMENT, CHUNKS = ROW / 16, STEPS = ROW / 32,      // of k: bytes, 16 bytes, 32 bytes
                         PER = 16 / ELEMENT,                                           // elements of a chunk
                         A_BYTES = BM * ROW, B_BYTES = BN * ROW, STAGE_BYTES = (A_BYTES + B_BYTES) * (THREE ? 2 : 1),
                         PIPELINE_BYTES = STAGES * STAGE_BYTES, SOURCES = (1 + PARTS) * (THREE ? 2 : 1);
    using Tiles = GemmTiles<BM, PART, RASTER>;

    unsigned ring;                                                     // shared address
    int slot;                                                          // of the ring, next to be multiplied
    unsigned own_a, own_b;                                             // where this lane's line begins in A's and B's tile
    float sum[ROWS][COLUMNS / 2];

    static __device__ __forceinline__ int first_tile() { return blockIdx.x; }
    static __device__ __forceinline__ int tile_step() { return gridDim.x; }
    static __device__ __forceinline__ int tiles(const GemmProblem &p) { return Tiles::count(p); }
    static __device__ __forceinline__ int rounds(const GemmProblem &p) { return (tiles(p) - first_tile() + tile_step() - 1) / tile_step(); }

    // By all threads, first: `memory` is 128-byte aligned.
    __device__ __forceinline__ explicit GemmSm80(const void *memory) : ring(gemm_shared(memory)), slot(0)
    {
        warp = threadIdx.x / 32;
        lane = threadIdx.x % 32;
        const int top = warp / ACROSS * (16 * ROWS), left = warp % ACROSS * OWN;
        // A's blocks in the order of a thread's registers: rows 0-7, rows 8-15, then the same of the next 16 bytes of k
        const int half = lane / 8 % 2 * 8, next = lane / 16;
        own_a = A_MN ? line_mn<BM>(lane % 8 + 8 * next, (top + half) / 8) : line_k(top + lane % 8 + half, next);
        // B's: both 16 bytes of k of columns 0-7, then of columns 8-15
        own_b = B_MN ? line_mn<BN>(lane % 8 + half, left / 8 + next) : line_k(left + lane % 8 + 8 * next, half / 8);
    }

    // Where a chunk lies: of row r, K-major; of k, MN-major with EXTENT rows.
    static __device__ __forceinline__ unsigned line_k(int r, int chunk)
    {
        return r * ROW + (chunk ^ (ROW == 128 ? r & 7 : r >> 1 & 3)) * 16;
    }
    template <int EXTENT> static __device__ __forceinline__ unsigned line_mn(int k, int chunk)
    {
        return k * (EXTENT * ELEMENT) + (chunk ^ (k & 7)) * 16;
    }

    // ---- copies ----

    const char *from[SOURCES];                                         // A, B's parts, then the same of lo: this thread's first chunk
    int next_tile, next_k, fill;                                       // what is copied next, and to which slot
    int left_m, left_n;                                                // rows and columns of that tile inside the product

    template <bool MN, int EXTENT> __device__ __forceinline__ const char *source(const GemmMatrix &x, int z, long long start) const
    {
        constexpr int EACH = MN ? EXTENT / 8 : CHUNKS;                 // chunks of a line
        const int line = threadIdx.x / EACH, in_line = threadIdx.x % EACH * PER;
        const long long at = x.offset + z * x.stride_batch + (MN ? start + in_line + line * x.ld : (start + line) * x.ld + in_line);
        return static_cast<const char *>(x.data) + at * ELEMENT;
    }

    __device__ __forceinline__ void aim(const GemmProblem &p)
    {
        const GemmPlace at = Tiles::place(p, next_tile);
        left_m = at.end - at.row;
        left_n = p.n - at.col;
        from[0] = source<A_MN, BM>(p.a, at.batch, at.row);
        if constexpr (THREE)
            from[1 + PARTS] = source<A_MN, BM>(p.a_lo, at.batch, at.row);
        #pragma unroll
        for (int i = 0; i < PARTS; i++) {
            from[1 + i] = source<B_MN, PART>(p.b, at.batch, p.part_start[i] + at.col);
            if constexpr (THREE)
                from[2 + PARTS + i] = source<B_MN, PART>(p.b_lo, at.batch, p.part_start[i] + at.col);
        }
    }

    // This thread's chunks of EXTENT rows (of which `inside` are there) by BK of k, from row `first` of the WHOLE that is at `to`.
    // Columns of a part, or rows of a group, that begins anywhere (`odd`) come one by one where they run along memory.
    template <bool MN, int EXTENT, int WHOLE>
    __device__ __forceinline__ void copy(unsigned to, int first, const char *&x, long long ld, int inside, int left_k, bool odd) const
    {
        constexpr int EACH = MN ? EXTENT / 8 : CHUNKS, LINES = MN ? BK : EXTENT, AT_ONCE = THREADS / EACH;
        const int line = threadIdx.x / EACH, chunk = threadIdx.x % EACH, left = ((MN ? inside : left_k) - chunk * PER) * ELEMENT,
                  bytes = left < 0 ? 0 : left < 16 ? left : 16, lines = MN ? left_k : inside;
        #pragma unroll
        for (int i = 0; i < LINES; i += AT_ONCE) {
            const int l = i + line;
            const unsigned into = to + (MN ? line_mn<WHOLE>(l, first / 8 + chunk) : line_k(first + l, chunk));
            if (LINES % AT_ONCE != 0 && l >= LINES)
                break;
            if (MN && odd)
                gemm_copy_elements(into, x + i * ld * ELEMENT, l < lines ? bytes : 0);
            else
                gemm_copy16(into, x + i * ld * ELEMENT, l < lines ? bytes : 0);
        }
        x += MN ? BK * ld * ELEMENT : ROW;
    }

    // The next stage, or nothing where all have been copied.
    __device__ __forceinline__ void fill_next(const GemmProblem &p)
    {
        if (next_tile < Tiles::multiplied(p)) {
            const unsigned to = ring + fill * STAGE_BYTES;
            #pragma unroll
            for (int lo = 0; lo <= THREE; lo++) {
                const unsigned a = to + lo * (A_BYTES + B_BYTES), b = a + A_BYTES;
                copy<A_MN, BM, BM>(a, 0, from[lo * (1 + PARTS)], (lo ? p.a_lo : p.a).ld, left_m, p.k - next_k, p.groups != 0);
                #pragma unroll
                for (int i = 0; i < PARTS; i++)
                    copy<B_MN, PART, BN>(b, i * PART, from[lo * (1 + PARTS) + 1 + i], (lo ? p.b_lo : p.b).ld, left_n, p.k - next_k,
                                         p.part_start[i] % 8 != 0);
            }
            fill = fill + 1 < STAGES ? fill + 1 : 0;
            next_k += BK;
            if (next_k >= p.k) {
                next_k = 0;
                next_tile += tile_step();
                if (next_tile < Tiles::multiplied(p))
                    aim(p);
            }
        }
        gemm_copies_commit();
    }

    // Before the first tile, once what the kernel reads is there.
    __device__ __forceinline__ void begin(const GemmProblem &p)
    {
        next_tile = p.k > 0 ? first_tile() : tiles(p);
        next_k = fill = 0;
        if (next_tile < Tiles::multiplied(p))
            aim(p);
        #pragma unroll 1
        for (int i = 0; i < STAGES - 1; i++)
            fill_next(p);
    }

    // ---- products ----

    __device__ __forceinline__ void load_a(unsigned (&f)[ROWS][4], unsigned at, int step) const
    {
        #pragma unroll
        for (int i = 0; i < ROWS; i++)
            gemm_fragments<A_MN>(f[i], A_MN ? at + (own_a ^ i * 32) + step * (16 * BM * ELEMENT) : at + (own_a ^ step * 32) + i * (16 * ROW));
    }

    // Of 16 columns of this warp's share, from column 16 j.
    __device__ __forceinline__ void load_b(unsigned (&f)[4], unsigned at, int step, int j) const
    {
        const int column = 16 * j / OWN * PART + 16 * j % OWN, chunk = column / 8;
        gemm_fragments<B_MN>(f, B_MN ? at + (own_b ^ chunk % 8 * 16) + chunk / 8 * 128 + step * (16 * BN * ELEMENT)
                                     : at + (own_b ^ step * 32) + column * ROW);
    }

    // Three terms, a stage.
    __device__ __forceinline__ void products(unsigned at, float (&low)[ROWS][COLUMNS / 2])
    {
        const unsigned at_lo = at + A_BYTES + B_BYTES;
        #pragma unroll 1
        for (int s = 0; s < STEPS; s += 2) {
            unsigned a[2][ROWS][4], a_lo[2][ROWS][4];
            #pragma unroll
            for (int t = 0; t < 2; t++) {
                load_a(a[t], at, s + t);
                load_a(a_lo[t], at_lo, s + t);
            }
            #pragma unroll
            for (int j = 0; j < COLUMNS / 16; j++) {
                unsigned b[2][4], b_lo[2][4];
                #pragma unroll
                for (int t = 0; t < 2; t++) {
                    load_b(b[t], at + A_BYTES, s + t, j);
                    load_b(b_lo[t], at_lo + A_BYTES, s + t, j);
                }
                float high[2][ROWS][4] = {};                           // of columns 0-7, 8-15
                #pragma unroll
                for (int t = 0; t < 2; t++)
                    #pragma unroll
                    for (int term = 0; term < 3; term++)               // outside: products that add to the same sums are far apart
                        #pragma unroll
                        for (int h = 0; h < 2; h++)
                            #pragma unroll
                            for (int i = 0; i < ROWS; i++)
                                gemm_mma<FORMAT>(term ? &low[i][8 * j + 4 * h] : high[h][i], term == 1 ? a_lo[t][i] : a[t][i],
                                                 (term == 2 ? b_lo : b)[t][2 * h], (term == 2 ? b_lo : b)[t][2 * h + 1]);
                #pragma unroll
                for (int h = 0; h < 2; h++)
                    #pragma unroll
                    for (int i = 0; i < ROWS; i++)
                        #pragma unroll
                        for (int e = 0; e < 4; e++)
                            sum[i][8 * j + 4 * h + e] += high[h][i][e];
            }
        }
    }

    // The next stage is there, and all warps have read the one before: its place is filled again.
    __device__ __forceinline__ unsigned next_stage(const GemmProblem &p)
    {
        const unsigned at = ring + slot * STAGE_BYTES;
        gemm_copies_wait<STAGES - 2>();
        __syncthreads();
        fill_next(p);
        slot = slot + 1 < STAGES ? slot + 1 : 0;
        return at;
    }

    // One term: the fragments of the next step, of the next stage, too, are loaded while this one's are multiplied.
    struct Fragments { unsigned a[ROWS][4], b[COLUMNS / 16][4]; };

    __device__ __forceinline__ void load(Fragments &f, unsigned at, int step) const
    {
        load_a(f.a, at, step);
        #pragma unroll
        for (int j = 0; j < COLUMNS / 16; j++)
            load_b(f.b[j], at + A_BYTES, step, j);
    }

    __device__ __forceinline__ void accumulate(const GemmProblem &p)
    {
        const int blocks = (p.k + BK - 1) / BK;
        Fragments f[2];
        if (!blocks)
            return;
        unsigned at = next_stage(p);
        load(f[0], at, 0);
        #pragma unroll 1
        for (int k = 0; k < blocks; k++) {
            #pragma unroll
            for (int s = 0; s < STEPS; s++) {
                if (s + 1 < STEPS) {
                    load(f[(s + 1) % 2], at, s + 1);
                } else if (k + 1 < blocks) {
                    at = next_stage(p);
                    load(f[0], at, 0);
                }
                #pragma unroll
                for (int j = 0; j < COLUMNS / 8; j++)
                    #pragma unroll
                    for (int i = 0; i < ROWS; i++)
                        gemm_mma<FORMAT>(&sum[i][4 * j], f[s % 2].a[i], f[s % 2].b[j / 2][j % 2 * 2], f[s % 2].b[j / 2][j % 2 * 2 + 1]);
            }
        }
    }

    // The product of this block's tile of the round into `sum`, not scaled yet.
    __device__ __forceinline__ bool multiply(const GemmProblem &p, int round, int)
    {
        const int number = first_tile() + round * tile_step();
        const bool any = Tiles::is_multiplied(p, number);
        const GemmPlace tile = Tiles::place(p, number);
        this->at = {tile.row + warp / ACROSS * (16 * ROWS), tile.col + warp % ACROSS * OWN, tile.batch, tile.end};
        if constexpr (!THREE)
            this->load_scales(p);
        #pragma unroll
        for (int i = 0; i < ROWS; i++)
            #pragma unroll
            for (int e = 0; e < COLUMNS / 2; e++)
                sum[i][e] = 0.0f;
        if constexpr (!THREE) {
            if (any)
                accumulate(p);
        } else {
            float low[ROWS][COLUMNS / 2] = {};
            #pragma unroll 1
            for (int k = 0; any && k < p.k; k += BK)
                products(next_stage(p), low);
            this->load_scales(p);                                      // no sooner: registers are short before
            #pragma unroll
            for (int i = 0; i < ROWS; i++)
                #pragma unroll
                for (int e = 0; e < COLUMNS / 2; e++)
                    sum[i][e] = Share::IS_TF32 ? sum[i][e] + low[i][e] : fmaf(low[i][e], 0x1p-11f, sum[i][e]);
        }
        if constexpr (SCALED)
            this->bad = this->any_bad();
        return true;
    }

    // Piece q of the 16 rows r, scaled, to this warp's part of the staging array.
    template <int PIECE> __device__ __forceinline__ void stage_static(float *staging) const
    {
        constexpr int r = PIECE / Share::ACROSS, q = PIECE % Share::ACROSS;
        float first[2], second[2];
        if constexpr (SCALED) {
            #pragma unroll
            for (int h = 0; h < 2; h++) {
                this->row_factors(this->scale_a[r][h], first[h], second[h]);
                asm volatile("" : "+f"(first[h]), "+f"(second[h]));    // else all products with them are kept beside the sums
            }
        }
        #pragma unroll
        for (int part = 0; part < PARTS; part++) {
            float *to = staging + ((warp * PARTS + part) * 16 + lane / 4) * PITCH + lane % 4 * 2;
            #pragma unroll
            for (int c = 0; c < WIDTH; c += 8) {
                const int column = part * OWN + q * WIDTH + c, i = column / 2;
                float x[2][2] = {{sum[r][i], sum[r][i + 1]}, {sum[r][i + 2], sum[r][i + 3]}};
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
};
