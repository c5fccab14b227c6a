/* runtime/sim/tensor_map.h — tensor maps: the parameters of cuTensorMapEncodeTiled, in the simulator's own encoding of 128 bytes.
 * (CUDA driver API, "Tensor Map Object Management". Interleave: none; L2 promotion: of no effect.) */
#pragma once
#include "runtime/sim/ptx.h"

enum { TENSOR_MAP_BYTES = 128, TENSOR_MAP_MAX_RANK = 5 };

typedef struct SimTensorMap {
    PtxType  type;                     /* U8, U16, U32, S32, U64, S64, F16, BF16, F32, TF32, F64 */
    uint32_t rank;
    uint64_t base;                     /* address of element 0 */
    uint64_t dims[TENSOR_MAP_MAX_RANK];            /* elements, innermost first */
    uint64_t strides[TENSOR_MAP_MAX_RANK - 1];     /* bytes, of dims 1 and up */
    uint32_t box[TENSOR_MAP_MAX_RANK];             /* elements of the tensor that a box spans */
    uint32_t steps[TENSOR_MAP_MAX_RANK];           /* element strides; the innermost has none */
    uint32_t swizzle;                  /* 0, 32, 64, 128 bytes */
    bool     fill_nan;                 /* out of bounds: NaN, not 0 */
} SimTensorMap;

/* Encodes, after the checks that the driver makes. NULL: done; else what is wrong, as a sentence. */
const char *sim_tensor_map_encode(const SimTensorMap *map, void *to);
bool        sim_tensor_map_decode(const void *from, SimTensorMap *map);        /* false: not a tensor map */
/* Elements that one box has in shared memory along dim d. */
static inline uint32_t tensor_map_extent(const SimTensorMap *m, uint32_t d)
{
    return d ? (m->box[d] + m->steps[d] - 1) / m->steps[d] : m->box[0];
}
/* An address of shared memory under the swizzle: the 16-byte piece within a span by the number of the 128-byte row. */
static inline uint64_t tensor_map_swizzle(uint64_t address, uint32_t span)
{
    return span ? address ^ ((address >> 7 & (span / 16 - 1)) << 4) : address;
}
