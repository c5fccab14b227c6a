/* runtime/sim/async_tensor.c — copies of boxes of tensors, tiled: bounds, fill, swizzle; reductions into memory.
 *
 * A box lies in shared memory dense, innermost dim first, at addresses that the swizzle permutes in pieces of 16 bytes. Elements
 * out of bounds are filled by loads, left out by stores, and count as bytes of the transaction. */
#include "runtime/sim/async.h"
#include "base/dtype.h"
#include "runtime/sim/tensor_map.h"
#include <math.h>

enum { PIECE = 16 };

typedef struct {
    AsyncOp *op;
    SimTensorMap map;
    uint32_t size, row;                  /* bytes of an element, of a row of the box */
    uint64_t shared;                     /* where the box lies */
    uint8_t  fill[PIECE];
} Box;

static uint8_t *reach(AsyncOp *op, PtxSpace space, uint64_t address, uint32_t bytes, uint32_t align, unsigned access)
{
    return lane_access(op->warp, op->inst, op->lane, space, address, bytes, align, access | ACCESS_ASYNC);
}

/* The NaN of the hardware (H200): 0x7ff7 in each half of a word. */
static void make_fill(Box *b)
{
    for (uint32_t i = 0; i < PIECE; i += 2)
        memcpy(b->fill + i, &(uint16_t){b->map.fill_nan ? 0x7ff7 : 0}, 2);
}

static void store_piece(Box *b, uint64_t at, const uint8_t piece[PIECE])
{
    AsyncOp *op = b->op;
    if (!op->targets) {
        uint8_t *to = reach(op, SPACE_SHARED, at, PIECE, PIECE, ACCESS_STORE);
        if (to)
            memcpy(to, piece, PIECE);
    }
    for_lanes(r, op->targets) {
        uint8_t *to = reach(op, SPACE_SHARED, (at & 0xffffff) | (uint64_t)(r + 1) << 24, PIECE, PIECE, ACCESS_STORE);
        if (to)
            memcpy(to, piece, PIECE);
    }
}

/* One piece of a row: elements from `first` on, whose row begins at `row` in memory (UINT64_MAX: out of bounds). */
static bool move_piece(Box *b, uint64_t row, int64_t first, uint64_t shared)
{
    AsyncOp *op = b->op;
    uint8_t piece[PIECE];
    int64_t n = PIECE / b->size, lo = first < 0 ? -first : 0, hi = (int64_t)b->map.dims[0] - first;
    hi = row == UINT64_MAX ? 0 : hi < n ? hi : n;
    lo = lo < n ? lo : n;
    uint32_t bytes = lo < hi ? (uint32_t)(hi - lo) * b->size : 0;
    uint64_t at = row + (uint64_t)(first + lo) * b->size;
    if (op->kind == ASYNC_TENSOR_LOAD) {
        const uint8_t *from = bytes ? reach(op, SPACE_GLOBAL, at, bytes, b->size, ACCESS_LOAD) : b->fill;
        if (!from)
            return false;
        memcpy(piece, b->fill, PIECE);
        memcpy(piece + (bytes ? (size_t)lo * b->size : 0), from, bytes ? bytes : 0);
        store_piece(b, shared, piece);
        return true;
    }
    const uint8_t *from = reach(op, SPACE_SHARED, shared, PIECE, PIECE, ACCESS_LOAD);
    if (!from || !bytes)
        return from != NULL;
    memcpy(piece, from, PIECE);
    bool reduces = op->kind == ASYNC_TENSOR_REDUCE;
    uint8_t *to = reach(op, SPACE_GLOBAL, at, bytes, b->size, reduces ? ACCESS_LOAD | ACCESS_STORE | ACCESS_ATOMIC | ACCESS_VOLATILE : ACCESS_STORE);
    if (to && !reduces)
        memcpy(to, piece + (size_t)lo * b->size, bytes);
    for (uint32_t i = 0; to && reduces && i < bytes; i += b->size)
        async_reduce(op->inst, b->map.type, to + i, piece + (size_t)lo * b->size + i);
    return to != NULL;
}

static bool move_row(Box *b, const uint32_t index[TENSOR_MAP_MAX_RANK], uint64_t offset)
{
    uint64_t row = b->map.base;
    for (uint32_t d = 1; d < b->map.rank; d++) {
        int64_t c = (int64_t)b->op->at[d] + (int64_t)index[d] * b->map.steps[d];
        bool outside = c < 0 || c >= (int64_t)b->map.dims[d];
        row = outside || row == UINT64_MAX ? UINT64_MAX : row + (uint64_t)c * b->map.strides[d - 1];
    }
    for (uint32_t i = 0; i < b->row; i += PIECE)
        if (!move_piece(b, row, (int64_t)b->op->at[0] + i / b->size, tensor_map_swizzle(b->shared + offset + i, b->map.swizzle)))
            return false;
    return true;
}

static bool move_box(Box *b)
{
    uint32_t index[TENSOR_MAP_MAX_RANK] = {0};
    for (uint64_t offset = 0; ; offset += b->row) {
        uint32_t d = 1;
        if (!move_row(b, index, offset))
            return false;
        while (d < b->map.rank && ++index[d] == tensor_map_extent(&b->map, d))
            index[d++] = 0;
        if (d >= b->map.rank)
            return true;
    }
}

static bool open_box(Box *b, AsyncOp *op)
{
    *b = (Box){.op = op, .shared = op->kind == ASYNC_TENSOR_LOAD ? op->to : op->from};
    const uint8_t *map = reach(op, SPACE_GENERIC, op->map, TENSOR_MAP_BYTES, 64, ACCESS_LOAD);
    if (!map)
        return false;
    if (!sim_tensor_map_decode(map, &b->map)) {
        sim_fault(op->warp, FAULT_BAD_CALL, op->lane, op->map, NULL, true, "there is no tensor map at 0x%llx", (unsigned long long)op->map);
        return false;
    }
    b->size = ptx_type_bytes(b->map.type);
    b->row = b->map.box[0] * b->size;
    make_fill(b);
    return true;
}

bool async_tensor_begin(AsyncOp *op)
{
    Box b;
    if (!open_box(&b, op))
        return false;
    if (!inst_has(op->inst, (PtxMod)(PM_DIM1 + (b.map.rank - 1)))) {
        sim_fault(op->warp, FAULT_BAD_CALL, op->lane, op->map, NULL, true, "the tensor map has %u dims", b.map.rank);
        return false;
    }
    if (b.shared % 128) {
        sim_fault(op->warp, FAULT_MISALIGNED, op->lane, b.shared, NULL, true, "the box lies at shared address 0x%llx, which is not a multiple of 128",
                  (unsigned long long)b.shared);
        return false;
    }
    op->bytes = b.row;
    for (uint32_t d = 1; d < b.map.rank; d++)
        op->bytes *= tensor_map_extent(&b.map, d);
    return true;
}

void async_tensor_run(AsyncOp *op)
{
    Box b;
    if (open_box(&b, op))
        move_box(&b);
}

/* ---- reductions ---- */

static uint64_t bits_of(const void *p, uint32_t bytes)
{
    uint64_t v = 0;
    memcpy(&v, p, bytes);              /* little endian, as PTX is */
    return v;
}

static uint64_t reduce_integer(const PtxInst *inst, PtxType type, uint32_t bytes, uint64_t x, uint64_t y)
{
    uint32_t unused = 64 - 8 * bytes;
    int64_t sx = (int64_t)(x << unused) >> unused, sy = (int64_t)(y << unused) >> unused;
    bool is_signed = ptx_type_class(type) == 's';
    if (inst_has(inst, PM_MIN))
        return is_signed ? (sx < sy ? x : y) : x < y ? x : y;
    if (inst_has(inst, PM_MAX))
        return is_signed ? (sx > sy ? x : y) : x > y ? x : y;
    if (inst_has(inst, PM_AND))
        return x & y;
    if (inst_has(inst, PM_OR))
        return x | y;
    if (inst_has(inst, PM_XOR))
        return x ^ y;
    if (inst_has(inst, PM_INC))
        return x >= y ? 0 : x + 1;
    if (inst_has(inst, PM_DEC))
        return x == 0 || x > y ? y : x - 1;
    return x + y;
}

static double float_of(PtxType type, uint64_t v)
{
    uint32_t low = (uint32_t)v;
    float f;
    double d;
    if (type == PT_F64) {
        memcpy(&d, &v, sizeof d);
        return d;
    }
    if (type == PT_F16)
        return f16_to_f32((uint16_t)v);
    if (type == PT_BF16)
        return bf16_to_f32((uint16_t)v);
    memcpy(&f, &low, sizeof f);
    return f;
}

static uint64_t float_bits(PtxType type, double d)
{
    uint64_t v = 0;
    float f = (float)d;
    if (type == PT_F16)
        return f64_to_f16(d);
    if (type == PT_BF16)
        return f64_to_bf16(d);
    if (type == PT_F64)
        memcpy(&v, &d, sizeof d);
    else
        memcpy(&v, &f, sizeof f);
    return v;
}

void async_reduce(const PtxInst *inst, PtxType type, void *to, const void *from)
{
    uint32_t bytes = ptx_type_bytes(type);
    uint64_t x = bits_of(to, bytes), y = bits_of(from, bytes), r;
    bool is_float = ptx_type_class(type) == 'f';
    if (is_float && !inst_has(inst, PM_AND) && !inst_has(inst, PM_OR) && !inst_has(inst, PM_XOR)) {
        double a = float_of(type, x), b = float_of(type, y);
        r = float_bits(type, inst_has(inst, PM_MIN) ? fmin(a, b) : inst_has(inst, PM_MAX) ? fmax(a, b) : a + b);
    } else {
        r = reduce_integer(inst, type, bytes, x, y);
    }
    memcpy(to, &r, bytes);
}
