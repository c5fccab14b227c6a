// codegen/emit/gemm_wgmma.cuh — what the template for Hopper's tensor cores is made of: barriers, copies of boxes, accumulators, products.
//
// Accumulators are registers of PTX that only statements of PTX name. As operands of every product, a hundred and more at a time, they
// would keep the compiler in front of ptxas busy for longer than all the rest of the kernel does. A set holds 64 rows of a warpgroup, 16
// registers to a chunk of 32 columns: acc<set>_<chunk>_<0 to 15>; of every 8 columns a thread has two of a row, then two of the row 8
// below. The statements are volatile: they stay in the order in which they stand.
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

// ---- accumulators ------------------------------------------------------------------------------------------------------------

#define GEMM_16(name) name "0," name "1," name "2," name "3," name "4," name "5," name "6," name "7," name "8," name "9," name "10," \
    name "11," name "12," name "13," name "14," name "15"
#define GEMM_EACH_16(line) line("0") line("1") line("2") line("3") line("4") line("5") line("6") line("7") line("8") line("9") line("10") \
    line("11") line("12") line("13") line("14") line("15")

template <int SETS, int CHUNKS, int I = 0> GEMM_DEVICE void gemm_accumulators()        // once, where the kernel begins
{
    if constexpr (I < SETS * CHUNKS) {
        asm volatile(".reg .f32 acc%0_%1_<16>;" ::"n"(I / CHUNKS), "n"(I % CHUNKS));
        gemm_accumulators<SETS, CHUNKS, I + 1>();
    }
}

#define GEMM_ZERO(i) "mov.f32 acc%0_%1_" i ", 0f00000000;\n"
template <int SET, int CHUNKS, int I = 0> GEMM_DEVICE void gemm_zero()
{
    if constexpr (I < CHUNKS) {
        asm volatile(GEMM_EACH_16(GEMM_ZERO)::"n"(SET), "n"(I));
        gemm_zero<SET, CHUNKS, I + 1>();
    }
}

// One set to another one; to it times 2^-11.
#define GEMM_ADD(i) "add.rn.f32 acc%0_%2_" i ", acc%0_%2_" i ", acc%1_%2_" i ";\n"
#define GEMM_ADD_LOW(i) "fma.rn.f32 acc%0_%2_" i ", acc%1_%2_" i ", 0f3A000000, acc%0_%2_" i ";\n"
template <int TO, int FROM, bool LOW, int CHUNKS, int I = 0> GEMM_DEVICE void gemm_add()
{
    if constexpr (I < CHUNKS) {
        if constexpr (LOW)
            asm volatile(GEMM_EACH_16(GEMM_ADD_LOW)::"n"(TO), "n"(FROM), "n"(I));
        else
            asm volatile(GEMM_EACH_16(GEMM_ADD)::"n"(TO), "n"(FROM), "n"(I));
        gemm_add<TO, FROM, LOW, CHUNKS, I + 1>();
    }
}

// A chunk to shared memory: `to` is the place of this thread's first two sums, `below` that of the row 8 below.
#define GEMM_STORE(offset, i, j, k, l)                                                                                           \
    "st.shared.v2.f32 [%2+" offset "], {acc%0_%1_" i ", acc%0_%1_" j "};\n"                                                      \
    "st.shared.v2.f32 [%3+" offset "], {acc%0_%1_" k ", acc%0_%1_" l "};\n"
template <int SET, int CHUNK> GEMM_DEVICE void gemm_stage(unsigned to, unsigned below)
{
    asm volatile(GEMM_STORE("0", "0", "1", "2", "3") GEMM_STORE("32", "4", "5", "6", "7") GEMM_STORE("64", "8", "9", "10", "11")
                 GEMM_STORE("96", "12", "13", "14", "15")::"n"(SET), "n"(CHUNK), "r"(to), "r"(below) : "memory");
}

// A chunk in registers that the compiler knows.
#define GEMM_MOVE(to, i) "mov.f32 %" to ", acc%16_%17_" i ";\n"
template <int SET, int CHUNK> GEMM_DEVICE void gemm_take(float *x)
{
    asm volatile(GEMM_MOVE("0", "0") GEMM_MOVE("1", "1") GEMM_MOVE("2", "2") GEMM_MOVE("3", "3") GEMM_MOVE("4", "4") GEMM_MOVE("5", "5")
                 GEMM_MOVE("6", "6") GEMM_MOVE("7", "7") GEMM_MOVE("8", "8") GEMM_MOVE("9", "9") GEMM_MOVE("10", "10") GEMM_MOVE("11", "11")
                 GEMM_MOVE("12", "12") GEMM_MOVE("13", "13") GEMM_MOVE("14", "14") GEMM_MOVE("15", "15")
                 : "=f"(x[0]), "=f"(x[1]), "=f"(x[2]), "=f"(x[3]), "=f"(x[4]), "=f"(x[5]), "=f"(x[6]), "=f"(x[7]), "=f"(x[8]), "=f"(x[9]),
                   "=f"(x[10]), "=f"(x[11]), "=f"(x[12]), "=f"(x[13]), "=f"(x[14]), "=f"(x[15]) : "n"(SET), "n"(CHUNK));
}

// To shared memory, of sums times the scales of their row, in two factors, and of their column: |b| of lane 0 to 31, `lane` being that of the
// thread's first column.
#define GEMM_SCALE(i, row, column) "mul.rn.f32 x" i ", acc%0_%1_" i ", %" row ";\nmul.rn.f32 x" i ", x" i ", b" column ";\n"
#define GEMM_SCALED_STORE(offset, eight, i, j, k, l)                                                                             \
    "add.u32 l, %9, " eight ";\nshfl.sync.idx.b32 b0, %8, l, 31, -1;\nadd.u32 l, l, 1;\nshfl.sync.idx.b32 b1, %8, l, 31, -1;\n"  \
    "abs.f32 b0, b0;\nabs.f32 b1, b1;\n"                                                                                         \
    GEMM_SCALE(i, "4", "0") GEMM_SCALE(j, "4", "1") GEMM_SCALE(k, "6", "0") GEMM_SCALE(l, "6", "1")                              \
    "mul.rn.f32 x" i ", x" i ", %5;\nmul.rn.f32 x" j ", x" j ", %5;\nmul.rn.f32 x" k ", x" k ", %7;\nmul.rn.f32 x" l ", x" l ", %7;\n" \
    "st.shared.v2.f32 [%2+" offset "], {x" i ", x" j "};\nst.shared.v2.f32 [%3+" offset "], {x" k ", x" l "};\n"
template <int SET, int CHUNK>
GEMM_DEVICE void gemm_stage_scaled(unsigned to, unsigned below, const float (&first)[2], const float (&second)[2], float b, int lane)
{
    asm volatile("{\n.reg .b32 l;\n.reg .f32 b<2>, x<16>;\n" GEMM_SCALED_STORE("0", "0", "0", "1", "2", "3")
                 GEMM_SCALED_STORE("32", "8", "4", "5", "6", "7") GEMM_SCALED_STORE("64", "16", "8", "9", "10", "11")
                 GEMM_SCALED_STORE("96", "24", "12", "13", "14", "15") "}"::"n"(SET), "n"(CHUNK), "r"(to), "r"(below), "f"(first[0]),
                 "f"(second[0]), "f"(first[1]), "f"(second[1]), "f"(b), "r"(lane) : "memory");
}

// A chunk of set 0 to another block's shared memory, and one from there added to it: 4 sums a time, APART bytes from each other.
#define GEMM_FOUR(i, j, k, l) "{acc0_%0_" i ", acc0_%0_" j ", acc0_%0_" k ", acc0_%0_" l "}"
template <int CHUNK, int APART> GEMM_DEVICE void gemm_send(unsigned to)
{
    asm volatile("st.shared::cluster.v4.f32 [%1], " GEMM_FOUR("0", "1", "2", "3") ";\n"
                 "st.shared::cluster.v4.f32 [%1+%2], " GEMM_FOUR("4", "5", "6", "7") ";\n"
                 "st.shared::cluster.v4.f32 [%1+%3], " GEMM_FOUR("8", "9", "10", "11") ";\n"
                 "st.shared::cluster.v4.f32 [%1+%4], " GEMM_FOUR("12", "13", "14", "15") ";"
                 ::"n"(CHUNK), "r"(to), "n"(APART), "n"(2 * APART), "n"(3 * APART) : "memory");
}

#define GEMM_ADD_RECEIVED(i) "add.rn.f32 acc0_%0_" i ", acc0_%0_" i ", x" i ";\n"
template <int CHUNK, int APART> GEMM_DEVICE void gemm_add_received(unsigned from)
{
    asm volatile("{\n.reg .f32 x<16>;\nld.shared.v4.f32 {x0, x1, x2, x3}, [%1];\nld.shared.v4.f32 {x4, x5, x6, x7}, [%1+%2];\n"
                 "ld.shared.v4.f32 {x8, x9, x10, x11}, [%1+%3];\nld.shared.v4.f32 {x12, x13, x14, x15}, [%1+%4];\n"
                 GEMM_EACH_16(GEMM_ADD_RECEIVED) "}"
                 ::"n"(CHUNK), "r"(from), "n"(APART), "n"(2 * APART), "n"(3 * APART) : "memory");
}

// An address of this block's shared memory in another block of the cluster.
GEMM_DEVICE unsigned gemm_address_at(unsigned address, int block)
{
    unsigned there;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(block));
    return there;
}

// ---- wgmma -----------------------------------------------------------------------------------------------------------------

GEMM_DEVICE void gemm_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
GEMM_DEVICE void gemm_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> GEMM_DEVICE void gemm_products_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }

#define GEMM_N32 GEMM_16("acc%0_0_")
#define GEMM_N64 GEMM_N32 "," GEMM_16("acc%0_1_")
#define GEMM_N96 GEMM_N64 "," GEMM_16("acc%0_2_")
#define GEMM_N128 GEMM_N96 "," GEMM_16("acc%0_3_")
#define GEMM_N160 GEMM_N128 "," GEMM_16("acc%0_4_")
#define GEMM_N192 GEMM_N160 "," GEMM_16("acc%0_5_")
#define GEMM_N224 GEMM_N192 "," GEMM_16("acc%0_6_")
#define GEMM_N256 GEMM_N224 "," GEMM_16("acc%0_7_")

#define GEMM_WGMMA(shape, columns, tail)                                                                                         \
    "{\n.reg .pred p;\nsetp.ne.b32 p, %3, 0;\nwgmma.mma_async.sync.aligned." shape " {" columns "}, %1, %2, p, 1, 1" tail ";\n}"
#define GEMM_PRODUCT(N)                                                                                                          \
    if constexpr (F == GEMM_TF32 || F == GEMM_3XTF32)                                                                            \
        asm volatile(GEMM_WGMMA("m64n" #N "k8.f32.tf32.tf32", GEMM_N##N, "")::"n"(SET), "l"(a), "l"(b), "r"(on));                \
    else if constexpr (F == GEMM_BF16)                                                                                           \
        asm volatile(GEMM_WGMMA("m64n" #N "k16.f32.bf16.bf16", GEMM_N##N, ", %4, %5")                                            \
                     ::"n"(SET), "l"(a), "l"(b), "r"(on), "n"(A_MN), "n"(B_MN));                                                 \
    else                                                                                                                         \
        asm volatile(GEMM_WGMMA("m64n" #N "k16.f32.f16.f16", GEMM_N##N, ", %4, %5")                                              \
                     ::"n"(SET), "l"(a), "l"(b), "r"(on), "n"(A_MN), "n"(B_MN));

// set = A B + (on ? set : 0) over 32 bytes of k, from shared memory.
template <GemmFormat F, int COLUMNS, int SET, int A_MN, int B_MN> GEMM_DEVICE void gemm_product(gemm_u64 a, gemm_u64 b, int on)
{
    if constexpr (COLUMNS == 32) {
        GEMM_PRODUCT(32)
    } else if constexpr (COLUMNS == 64) {
        GEMM_PRODUCT(64)
    } else if constexpr (COLUMNS == 96) {
        GEMM_PRODUCT(96)
    } else if constexpr (COLUMNS == 128) {
        GEMM_PRODUCT(128)
    } else if constexpr (COLUMNS == 160) {
        GEMM_PRODUCT(160)
    } else if constexpr (COLUMNS == 192) {
        GEMM_PRODUCT(192)
    } else if constexpr (COLUMNS == 224) {
        GEMM_PRODUCT(224)
    } else {
        GEMM_PRODUCT(256)
    }
}
