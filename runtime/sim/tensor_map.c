/* runtime/sim/tensor_map.c — tensor maps: checked as the driver does, packed into 128 bytes and out again. */
#include "runtime/sim/tensor_map.h"
#include <string.h>

#define MAGIC 0x50415431u

typedef struct {                       /* the encoding */
    uint32_t magic;
    uint8_t  type, rank, swizzle, fill_nan;
    uint64_t base;
    uint32_t dims[TENSOR_MAP_MAX_RANK];            /* minus 1: up to 2^32 elements */
    uint32_t strides[TENSOR_MAP_MAX_RANK - 1];     /* / 16: up to 2^40 bytes, exclusive */
    uint16_t box[TENSOR_MAP_MAX_RANK];
    uint8_t  steps[TENSOR_MAP_MAX_RANK];
} Packed;
_Static_assert(sizeof(Packed) <= TENSOR_MAP_BYTES, "a tensor map has 128 bytes");

static bool possible(PtxType t)
{
    static const uint8_t types[] = {PT_U8, PT_U16, PT_U32, PT_S32, PT_U64, PT_S64, PT_F16, PT_BF16, PT_F32, PT_TF32, PT_F64};
    return memchr(types, t, sizeof types) != NULL;
}

static const char *wrong_dim(const SimTensorMap *m, uint32_t d, uint32_t size)
{
    if (m->dims[d] == 0 || m->dims[d] > UINT64_C(1) << 32)
        return "a dim has 1 to 2^32 elements";
    if (m->box[d] == 0 || m->box[d] > 256)
        return "a box has 1 to 256 elements along a dim";
    if (m->steps[d] == 0 || m->steps[d] > 8)
        return "an element stride is 1 to 8";
    if (d == 0)
        return NULL;
    if (m->strides[d - 1] % 16 || m->strides[d - 1] >= UINT64_C(1) << 40)
        return "strides are multiples of 16 bytes, below 2^40";
    uint64_t below = m->dims[0] * size;
    return d == 1 && m->strides[0] < below ? "a stride is smaller than what it strides over" : NULL;
}

const char *sim_tensor_map_encode(const SimTensorMap *m, void *to)
{
    uint32_t size = ptx_type_bytes(m->type);
    Packed p = {.magic = MAGIC, .type = (uint8_t)m->type, .rank = (uint8_t)m->rank, .swizzle = (uint8_t)m->swizzle, .fill_nan = m->fill_nan, .base = m->base};
    if (!possible(m->type))
        return "tensor maps have no such type";
    if (m->rank == 0 || m->rank > TENSOR_MAP_MAX_RANK)
        return "a tensor map has 1 to 5 dims";
    if (m->base % 16)
        return "the tensor begins at a multiple of 16 bytes";
    if (m->swizzle != 0 && m->swizzle != 32 && m->swizzle != 64 && m->swizzle != 128)
        return "swizzles are of 32, 64 and 128 bytes";
    if (m->box[0] * size % 16)
        return "a box's rows are multiples of 16 bytes";
    if (m->swizzle && m->box[0] * size > m->swizzle)
        return "a box's rows are no longer than the swizzle";
    if (m->fill_nan && ptx_type_class(m->type) != 'f')
        return "only tensors of floats are filled with NaN";
    for (uint32_t d = 0; d < m->rank; d++) {
        const char *wrong = wrong_dim(m, d, size);
        if (wrong)
            return wrong;
        p.dims[d] = (uint32_t)(m->dims[d] - 1);
        p.box[d] = (uint16_t)m->box[d];
        p.steps[d] = (uint8_t)m->steps[d];
        if (d)
            p.strides[d - 1] = (uint32_t)(m->strides[d - 1] / 16);
    }
    memset(to, 0, TENSOR_MAP_BYTES);
    memcpy(to, &p, sizeof p);
    return NULL;
}

bool sim_tensor_map_decode(const void *from, SimTensorMap *m)
{
    Packed p;
    memcpy(&p, from, sizeof p);
    if (p.magic != MAGIC || p.rank == 0 || p.rank > TENSOR_MAP_MAX_RANK || !possible((PtxType)p.type))
        return false;
    *m = (SimTensorMap){.type = (PtxType)p.type, .rank = p.rank, .base = p.base, .swizzle = p.swizzle, .fill_nan = p.fill_nan};
    for (uint32_t d = 0; d < p.rank; d++) {
        m->dims[d] = (uint64_t)p.dims[d] + 1;
        m->box[d] = p.box[d];
        m->steps[d] = p.steps[d] ? p.steps[d] : 1;
        if (d)
            m->strides[d - 1] = (uint64_t)p.strides[d - 1] * 16;
    }
    return true;
}
