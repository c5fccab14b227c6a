// codegen/emit/gemm_common.cuh — what the templates of matrix products share: the problem, the order of its tiles, and what becomes of
// the sums that a warp holds: scaled, repaired where a row or column is bad, handed to the body of the kernel piece by piece.

typedef unsigned long long gemm_u64;

enum GemmFormat { GEMM_BF16, GEMM_F16, GEMM_TF32, GEMM_F16_SCALED, GEMM_3XF16, GEMM_3XTF32 };

struct GemmMatrix { const void *data; long long offset, ld, stride_batch; bool trans; };        // elements; trans: k is the strided dim

struct GemmProblem {
    int m, n, k, batch;                                                // n: columns of one part
    int part_start[2];
    const float *inv_a, *inv_b;                                        // scales of rows and columns, negative: recompute
    long long stride_inv_a, stride_inv_b;
    GemmMatrix a, b, a_lo, b_lo;                                       // the pieces
    GemmMatrix exact_a, exact_b;                                       // to recompute from
    bool from_pieces;                                                  // there is no exact_b: from b's pieces
    int k_exact;
    int groups; const void *ends; bool wide_ends;                      // rows of A in groups, each against a matrix of B; 0: no groups
    const int *table;                                                  // of those: GemmTiles::find_groups
};

#define GEMM_DEVICE static __device__ __forceinline__

GEMM_DEVICE unsigned gemm_shared(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

// Where a part begins in B. (Indexing would put the problem in memory.)
GEMM_DEVICE int gemm_start(const GemmProblem &p, int part) { return part ? p.part_start[1] : p.part_start[0]; }

// Eight floats of the staging array, next to those of the neighbouring lanes. Of eight lanes the upper four read their second half
// first: then the eight meet all banks once.
GEMM_DEVICE void gemm_load8(float (&v)[8], const float *p, int lane)
{
    const int upper = lane >> 2 & 1;
    const float4 a = reinterpret_cast<const float4 *>(p)[upper], b = reinterpret_cast<const float4 *>(p)[1 - upper],
                 low = upper ? b : a, high = upper ? a : b;
    v[0] = low.x, v[1] = low.y, v[2] = low.z, v[3] = low.w;
    v[4] = high.x, v[5] = high.y, v[6] = high.z, v[7] = high.w;
}

// ---- the order of tiles ------------------------------------------------------------------------------------------------------

// Where a tile lies: first row, first column in every part, batch; where the rows end that it may have.
struct GemmPlace { int row, col, batch, end; };

// Tiles of HEIGHT rows by WIDTH columns of each part. BAND rows of tiles at a time, down first: tiles that run together share rows of
// A and columns of B in the L2 cache.
// With groups: those of a group, then those of the next; B's batch is the group. The table has of each group the number of rows of
// tiles before it and its first row, then the same of what is behind the last one, whose tiles are empty sums, and of the end.
template <int HEIGHT, int WIDTH, int BAND>
struct GemmTiles {
    static __device__ __forceinline__ int down(const GemmProblem &p) { return (p.m + HEIGHT - 1) / HEIGHT; }
    static __device__ __forceinline__ int across(const GemmProblem &p) { return (p.n + WIDTH - 1) / WIDTH; }
    static __device__ __forceinline__ int count(const GemmProblem &p)
    {
        return p.groups ? p.table[2 * p.groups + 2] * across(p) : down(p) * across(p) * p.batch;
    }
    // Those that are no empty sums: the first ones.
    static __device__ __forceinline__ int multiplied(const GemmProblem &p)
    {
        return p.groups ? p.table[2 * p.groups] * across(p) : count(p);
    }
    static __device__ __forceinline__ bool is_multiplied(const GemmProblem &p, int tile) { return !p.groups || tile < multiplied(p); }

    // The place of a tile among rows by columns of them.
    static __device__ __forceinline__ GemmPlace inside(int tile, int rows, int columns)
    {
        const int band = tile / (BAND * columns), at = tile - band * (BAND * columns), rest = rows - band * BAND;
        const int col = rest >= BAND ? at / BAND : at / rest, row = band * BAND + at - col * (rest >= BAND ? BAND : rest);
        return {row * HEIGHT, col * WIDTH, 0, 0};
    }

    static __device__ __forceinline__ GemmPlace place(const GemmProblem &p, int tile)
    {
        const int columns = across(p);
        if (p.groups)
            return place_in_group(p, tile, columns);
        const int rows = down(p), batch = p.batch == 1 ? 0 : tile / (rows * columns);
        GemmPlace x = inside(tile - batch * (rows * columns), rows, columns);
        x.batch = batch;
        x.end = p.m;
        return x;
    }

    static __device__ __forceinline__ GemmPlace place_in_group(const GemmProblem &p, int tile, int columns)
    {
        const int number = tile / columns;
        int group = 0;                                                 // the last one that begins there or before
        #pragma unroll 1
        for (int more = p.groups + 1; more > 1; ) {
            const int half = more / 2;
            const bool behind = p.table[2 * (group + half)] <= number;
            group = behind ? group + half : group;
            more = behind ? more - half : half;
        }
        const int *g = p.table + 2 * group;
        GemmPlace x = inside(tile - g[0] * columns, g[2] - g[0], columns);
        x.row += g[1];
        x.batch = group;
        x.end = g[3];
        return x;
    }

    // Where a group ends. What the ends say counts as the largest up to there, `before` being what that was, within 0 and m.
    static __device__ __forceinline__ int group_end(const GemmProblem &p, int group, int before)
    {
        if (group >= p.groups)
            return p.m;
        const long long said = p.wide_ends ? static_cast<const long long *>(p.ends)[group] : static_cast<const int *>(p.ends)[group];
        return said < before ? before : said < p.m ? (int)said : p.m;
    }

    // By all threads, when the ends are there. A lane of the first warp has some neighbouring groups: it looks how far they reach, then,
    // knowing where they begin, how many rows of tiles they have, then, knowing how many are before them, writes that down.
    static __device__ __forceinline__ void find_groups(const GemmProblem &p, int *table)
    {
        const int lane = threadIdx.x, each = (p.groups + 2 + 31) / 32, first = lane * each;
        if (lane < 32) {
            int reach = 0, tiles = 0;
            for (int i = 0; i < each; i++)
                reach = group_end(p, first + i, reach);
            #pragma unroll
            for (int d = 1; d < 32; d *= 2) {
                const int before = __shfl_up_sync(0xffffffffu, reach, d);
                reach = lane >= d && before > reach ? before : reach;
            }
            reach = __shfl_up_sync(0xffffffffu, reach, 1);
            const int begin = lane ? reach : 0;
            int row = begin;
            for (int i = 0; i < each; i++) {
                const int end = group_end(p, first + i, row);
                tiles += (end - row + HEIGHT - 1) / HEIGHT;
                row = end;
            }
            int sum = tiles;
            #pragma unroll
            for (int d = 1; d < 32; d *= 2) {
                const int before = __shfl_up_sync(0xffffffffu, sum, d);
                sum += lane >= d ? before : 0;
            }
            row = begin;
            tiles = sum - tiles;
            for (int i = 0; i < each && first + i < p.groups + 2; i++) {
                table[2 * (first + i)] = tiles;
                table[2 * (first + i) + 1] = row;
                const int end = group_end(p, first + i, row);
                tiles += (end - row + HEIGHT - 1) / HEIGHT;
                row = end;
            }
        }
        __syncthreads();
    }
};

// ---- a warp's share of a tile ------------------------------------------------------------------------------------------------

// Lanes whose bit is set give line i away and keep line j, the others give j and keep i.
#define GEMM_HALVES(bit_) "and.b32 bit, %8, " bit_ ";\nsetp.ne.b32 p, bit, 0;\n"
#define GEMM_HALVE(i, j, bit_) "selp.f32 t, %" i ", %" j ", p;\nshfl.sync.bfly.b32 t, t, " bit_ ", 31, -1;\n"                    \
    "selp.f32 %" i ", %" j ", %" i ", p;\nadd.rn.f32 %" i ", %" i ", t;\n"

template <bool TF32> struct GemmPiece { using Type = unsigned short; };
template <> struct GemmPiece<true> { using Type = float; };

// ROWS times 16 rows, STRIDE apart, by COLUMNS columns, as many of each of PARTS parts. Thread l holds of every 16 by 8 the rows l / 4
// and l / 4 + 8, the columns l % 4 * 2 and the next: two sums of the first row, two of the second. A piece that is staged is 16 rows by
// WIDTH columns of every part.
// Self, the template proper, has the sums: its stage_static<PIECE> writes those of a piece to the warp's part of the staging array.
template <typename Self, GemmFormat FORMAT, int ROWS, int STRIDE, int COLUMNS, int PARTS, int WIDTH>
struct GemmShare {
    static constexpr bool IS_TF32 = FORMAT == GEMM_TF32 || FORMAT == GEMM_3XTF32, THREE = FORMAT == GEMM_3XF16 || FORMAT == GEMM_3XTF32,
                          SCALED = THREE || FORMAT == GEMM_F16_SCALED;
    static constexpr int ELEMENT = IS_TF32 ? 4 : 2,
                         OWN = COLUMNS / PARTS, ACROSS = OWN / WIDTH, N_PIECES = ROWS * ACROSS, PITCH = WIDTH + 8,
                         R = COLUMNS / 2;                              // sums a thread, of 16 rows

    int warp, lane;                                                    // among the multiplying ones
    GemmPlace at;                                                      // of this share
    int row, col, batch;                                               // of the piece at hand
    float scale_a[ROWS][2], scale_b[COLUMNS / 32];                     // column 32 j + lane of the share
    bool bad;                                                          // some row or column of it is

    // ---- scales, and what they say must be recomputed ----

    __device__ __forceinline__ void load_scales(const GemmProblem &p)
    {
        if constexpr (SCALED) {
            const float *a = p.inv_a + at.batch * p.stride_inv_a, *b = p.inv_b + at.batch * p.stride_inv_b;
            #pragma unroll
            for (int r = 0; r < ROWS; r++)
                #pragma unroll
                for (int h = 0; h < 2; h++) {
                    const int i = at.row + STRIDE * r + lane / 4 + 8 * h;
                    scale_a[r][h] = i < at.end ? a[i] : 1.0f;
                }
            #pragma unroll
            for (int j = 0; j < COLUMNS / 32; j++) {
                const int i = at.col + (32 * j) % OWN + lane;
                scale_b[j] = i < p.n ? b[gemm_start(p, 32 * j / OWN) + i] : 1.0f;
            }
        }
    }

    __device__ __forceinline__ bool any_bad() const
    {
        int signs = 0;
        #pragma unroll
        for (int r = 0; r < ROWS; r++)
            signs |= __float_as_int(scale_a[r][0]) | __float_as_int(scale_a[r][1]);
        #pragma unroll
        for (int j = 0; j < COLUMNS / 32; j++)
            signs |= __float_as_int(scale_b[j]);
        return __any_sync(0xffffffffu, signs < 0);
    }

    // |scale| is a power of two, that of the row split in two so that nothing overflows or vanishes midway.
    static __device__ __forceinline__ float power(int e) { return __int_as_float((e + 127) << 23); }
    static __device__ __forceinline__ void row_factors(float scale, float &first, float &second)
    {
        const int e = (__float_as_int(scale) >> 23 & 255) - 127;
        first = power(e >> 1);
        second = power(e - (e >> 1));
    }

    // ---- recomputation ----

    static __device__ __forceinline__ float value(float x) { return x; }
    static __device__ __forceinline__ float value(unsigned short half)
    {
        float x;
        asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(half));
        return x;
    }

    // Row i of A or column i of B; its elements are `step` apart, and the next line is `beside` it.
    template <typename T> __device__ __forceinline__ const T *line(const GemmMatrix &x, int i) const
    {
        return static_cast<const T *>(x.data) + (x.offset + batch * x.stride_batch + i * beside(x));
    }
    static __device__ __forceinline__ long long beside(const GemmMatrix &x) { return x.trans ? 1 : x.ld; }
    static __device__ __forceinline__ long long step(const GemmMatrix &x) { return x.trans ? x.ld : 1; }

    // The products of one line with LINES neighbours, in fp32: where they are infinite or not a number, as FMA has them. Every 32nd product
    // a lane; the lanes are summed by halves, each of which keeps half of the lines: lane i ends with line i / 4.
    static constexpr int LINES = 8;
    __device__ __forceinline__ float meet(float (&x)[LINES]) const
    {
        asm volatile("{\n.reg .b32 bit;\n.reg .pred p;\n.reg .f32 t;\n" GEMM_HALVES("16") GEMM_HALVE("0", "4", "16") GEMM_HALVE("1", "5", "16")
                     GEMM_HALVE("2", "6", "16") GEMM_HALVE("3", "7", "16") GEMM_HALVES("8") GEMM_HALVE("0", "2", "8") GEMM_HALVE("1", "3", "8")
                     GEMM_HALVES("4") GEMM_HALVE("0", "1", "4") GEMM_HALVE("0", "0", "2") GEMM_HALVE("0", "0", "1") "}"
                     : "+f"(x[0]), "+f"(x[1]), "+f"(x[2]), "+f"(x[3]), "+f"(x[4]), "+f"(x[5]), "+f"(x[6]), "+f"(x[7]) : "r"(lane));
        return x[0];
    }

    // `distance`, `step_x`: between the neighbours, between their elements.
    __device__ __forceinline__ float exact(const float *y, const float *x, long long step_y, long long step_x, long long distance, int n) const
    {
        float sums[LINES] = {};
        #pragma unroll 4                                               // 36 loads under way: a line is alone with its latency
        for (int k = lane; k < n; k += 32) {
            const float *at = x + k * step_x;
            const float one = y[k * step_y];
            #pragma unroll
            for (int i = 0; i < LINES; i++)
                sums[i] = fmaf(at[i * distance], one, sums[i]);
        }
        return meet(sums);
    }

    // A row of A with columns of B from the j-th on, which are there in pieces only.
    __device__ __forceinline__ float exact_from_pieces(const GemmProblem &p, int i, int j, long long distance) const
    {
        using Piece = typename GemmPiece<IS_TF32>::Type;
        const float *y = line<float>(p.exact_a, i), *inv = p.inv_b + batch * p.stride_inv_b + j;
        const Piece *high = line<Piece>(p.b, j), *low = line<Piece>(p.b_lo, j);
        float sums[LINES] = {};
        #pragma unroll 1
        for (int k = lane; k < p.k_exact; k += 32) {
            const float one = y[k * step(p.exact_a)];
            #pragma unroll
            for (int c = 0; c < LINES; c++) {
                float b = value(high[k * step(p.b) + c * distance]);
                if constexpr (THREE) {
                    const float rest = value(low[k * step(p.b_lo) + c * distance]);
                    b = IS_TF32 ? b + rest : fmaf(rest, 0x1p-11f, b);
                }
                sums[c] = fmaf(one, b * fabsf(inv[distance ? c : 0]), sums[c]);
            }
        }
        return meet(sums);
    }

    // Recomputes what bad rows and columns hold of the staged piece. Lines that may be bad, a lane each: the rows (`first` -32), then the
    // columns.
    __device__ __forceinline__ void repair(const GemmProblem &p, float *staging) const
    {
        const float *inv_a = p.inv_a + batch * p.stride_inv_a, *inv_b = p.inv_b + batch * p.stride_inv_b;
        #pragma unroll 1
        for (int first = -32; first < (p.from_pieces ? 0 : PARTS * WIDTH); first += 32) {
            const bool rows = first < 0;
            const int c = rows ? 0 : first + lane, i = row + lane % 16, j = col + c % WIDTH;
            const float scale = rows ? (i < p.m ? inv_a[i] : 1.0f) : j < p.n ? inv_b[gemm_start(p, c / WIDTH) + j] : 1.0f;
            unsigned left = __ballot_sync(0xffffffffu, __float_as_int(scale) < 0) & (rows ? 0xffffu : 0xffffffffu);
            __syncwarp();                                              // an element may be of a bad row and of a bad column
            #pragma unroll 1
            for (; left; left &= left - 1) {
                const int bad_line = __ffs(left) - 1, d = rows ? 0 : first + bad_line;
                const int own = rows ? row + bad_line : gemm_start(p, d / WIDTH) + col + d % WIDTH;
                #pragma unroll 1
                for (int e = 0, taken; e < (rows ? PARTS * WIDTH : 16); e += taken) {
                    // e-th neighbour: where it is in its matrix, and how many are left there
                    const int at = rows ? gemm_start(p, e / WIDTH) + col + e % WIDTH : row + e, there = rows ? p.n - col - e % WIDTH : p.m - at;
                    taken = there >= LINES || there <= 0 ? LINES : 1;
                    if (there <= 0)
                        continue;
                    const long long distance = taken == 1 ? 0 : !rows ? beside(p.exact_a) : p.from_pieces ? beside(p.b) : beside(p.exact_b);
                    float x;
                    if (p.from_pieces)
                        x = exact_from_pieces(p, own, at, distance);
                    else
                        x = exact(rows ? line<float>(p.exact_a, own) : line<float>(p.exact_b, own),
                                  rows ? line<float>(p.exact_b, at) : line<float>(p.exact_a, at), rows ? step(p.exact_a) : step(p.exact_b),
                                  rows ? step(p.exact_b) : step(p.exact_a), distance, p.k_exact);
                    if (lane % 4 == 0 && lane / 4 < taken) {
                        const int r = rows ? bad_line : e + lane / 4, f = rows ? e + lane / 4 : d;
                        staging[((warp * PARTS + f / WIDTH) * 16 + r) * PITCH + f % WIDTH] = x;
                    }
                }
            }
            __syncwarp();                                              // a bad row and a bad column meet
        }
    }

    // ---- pieces ----

    // Registers have no addresses: the piece is picked by comparing, so that the body need be there only once.
    template <int PIECE> __device__ __forceinline__ void stage_piece(int piece, float *staging) const
    {
        if constexpr (PIECE + 1 < N_PIECES) {
            if (piece != PIECE) {
                stage_piece<PIECE + 1>(piece, staging);
                return;
            }
        }
        static_cast<const Self *>(this)->template stage_static<PIECE>(staging);
    }

    // Where one of the N_PIECES pieces lies; false: nothing of the product is in it.
    __device__ __forceinline__ bool locate(const GemmProblem &p, int piece)
    {
        row = at.row + piece / ACROSS * STRIDE;
        col = at.col + piece % ACROSS * WIDTH;
        batch = at.batch;
        return row < at.end && col < p.n;
    }

    // One of the N_PIECES pieces of the product, ready for the body of all lanes; false: nothing of the product is in it.
    __device__ __forceinline__ bool stage(const GemmProblem &p, int piece, float *staging)
    {
        if (!locate(p, piece))
            return false;
        stage_piece<0>(piece, staging);
        if constexpr (SCALED) {
            if (bad)
                repair(p, staging);
        }
        __syncwarp();
        return true;
    }
};
