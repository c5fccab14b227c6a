/* runtime/cuda/tensor_map.c — tensor maps of a shape's launches: the driver encodes them, for one address each.
 *
 * Each is kept beside the address that it was made for and made again only when that changes: a call with the same pointers encodes
 * nothing, a call with one other input only the maps of that input. (CUDA driver API, "Tensor Map Object Management".) */
#include "runtime/cuda/internal.h"

enum { INTERLEAVE_NONE = 0, PROMOTE_L2_256B = 3, FILL_ZEROS = 0 };

static int data_type(DType t) { return t == DT_F32 ? 7 : t == DT_F16 ? 6 : 9; }       /* CU_TENSOR_MAP_DATA_TYPE_ FLOAT32, FLOAT16, BFLOAT16 */
static int swizzle_mode(uint32_t bytes) { return bytes == 32 ? 1 : bytes == 64 ? 2 : bytes == 128 ? 3 : 0; }

bool maps_prepare(const Executor *e, Shape *s, Diags *d)
{
    const Plan *p = e->plan;
    s->maps = arena_new_array(s->arena, EncodedMap *, p->steps.n + 1);
    for (uint32_t i = 0; i < p->steps.n; i++) {
        uint32_t n = p->steps.data[i].kind == STEP_LAUNCH ? p->kernels.data[p->steps.data[i].kernel].n_maps : 0;
        if (n == 0)
            continue;
        if (!e->device->cu->TensorMapEncodeTiled)
            return diag_error(d, PAWL_EXIT_UNSUPPORTED, LOC_NONE, "install a driver for CUDA 12 or newer (525 or later)",
                              "%s copies by tensor maps, and this NVIDIA driver has no cuTensorMapEncodeTiled", p->steps.data[i].label);
        char *room = arena_alloc(s->arena, sizeof(EncodedMap) * n + _Alignof(EncodedMap));
        s->maps[i] = (EncodedMap *)(void *)(room + -(uintptr_t)room % _Alignof(EncodedMap));
    }
    return true;
}

static int encode(const CudaDriver *cu, const PlanTensorMap *m, const BoundTensorMap *o, CuPtr base, EncodedMap *to)
{
    static const uint32_t steps[TENSOR_MAP_RANK] = {1, 1, 1, 1, 1};
    uint64_t dims[TENSOR_MAP_RANK], strides[TENSOR_MAP_RANK - 1] = {0};
    for (uint32_t i = 0; i < m->rank; i++) {
        dims[i] = (uint64_t)o->dims[i];
        if (i)
            strides[i - 1] = (uint64_t)o->strides[i - 1];
    }
    return cu->TensorMapEncodeTiled(to->bytes, data_type(m->dtype), m->rank, (void *)(uintptr_t)base, dims, strides, m->box, steps,
                                    INTERLEAVE_NONE, swizzle_mode(m->swizzle), PROMOTE_L2_256B, FILL_ZEROS);
}

static bool refuse(const Executor *e, uint32_t step, uint32_t i, CuPtr base, int r, Diags *d)
{
    const PlanStep *p = &e->plan->steps.data[step];
    const char *name = e->plan->buffers.data[p->maps[i].buffer].name;
    Arena *a = arena_new();
    if (base % 16)
        diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, "pass memory at a multiple of 16 bytes",
                   "tensor map %u of %s (step %u): \"%s\" lies at 0x%llx", i, p->label, step, name, base);
    else
        cuda_check(e->device->cu, r, arena_printf(a, "making tensor map %u (\"%s\") of %s (step %u)", i, name, p->label, step), d);
    arena_free(a);
    return false;
}

bool maps_encode(Executor *e, const Shape *s, uint32_t step, Diags *d)
{
    const PlanStep *p = &e->plan->steps.data[step];
    const BoundStep *b = &s->sizes->steps[step];
    if (!s->maps[step] || b->blocks == 0)
        return true;
    for (uint32_t i = 0; i < e->plan->kernels.data[p->kernel].n_maps; i++) {
        EncodedMap *m = &s->maps[step][i];
        CuPtr base = e->pointers[p->maps[i].buffer] + (CuPtr)b->maps[i].offset;
        if (m->base == base)
            continue;
        int r = encode(e->device->cu, &p->maps[i], &b->maps[i], base, m);
        m->base = r == CU_OK ? base : 0;
        if (r != CU_OK)
            return d ? refuse(e, step, i, base, r, d) : false;
        e->stats.encoded++;
    }
    return true;
}
