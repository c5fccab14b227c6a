/* runtime/sim/host_matmul.c — what the library does in STEP_MATMUL, in the order of k, without blocking. */
#include "runtime/sim/host_matmul.h"
#include <math.h>

static double load(DType t, const void *p, int64_t i) { return dtype_load(t, (const char *)p + i * (int64_t)dtype_bytes(t)); }

static double product(const PlanMatmul *m, const BoundMatmul *b, const void *pa, const void *pb, int64_t a0, int64_t b0, int64_t row, int64_t col)
{
    double wide = 0;
    float single = 0;
    for (int64_t k = 0; k < b->k; k++) {
        double x = load(m->dtype, pa, a0 + (m->trans_a ? k * b->lda + row : row * b->lda + k));
        double y = load(m->dtype, pb, b0 + (m->trans_b ? col * b->ldb + k : k * b->ldb + col));
        wide += x * y;
        single = fmaf((float)x, (float)y, single);
    }
    return m->dtype == DT_F64 ? wide : (double)single;
}

static double epilogue(Epilogue e, double v)
{
    switch (e) {
    case EPI_NONE:
    case EPI_BIAS:
        return v;
    case EPI_RELU:
    case EPI_BIAS_RELU:
        return v < 0 ? 0 : v;
    case EPI_GELU_TANH:
    case EPI_BIAS_GELU_TANH:
        return 0.5 * v * (1 + tanh(0.7978845608028654 * (v + 0.044715 * v * v * v)));
    }
    return v;
}

void host_matmul(const PlanMatmul *m, const BoundMatmul *b, void *const *pointers)
{
    uint32_t bytes = dtype_bytes(m->out_dtype);
    for (int64_t z = 0; z < b->batch; z++)
        for (int64_t row = 0; row < b->m; row++)
            for (int64_t col = 0; col < b->n; col++) {
                double v = product(m, b, pointers[m->a], pointers[m->b], b->a_offset + z * b->stride_a, b->b_offset + z * b->stride_b, row, col);
                if (m->c != UINT32_MAX)
                    v += load(m->out_dtype, pointers[m->c], b->c_offset + z * b->stride_c + row * b->ldc + col);
                if (m->bias != UINT32_MAX)
                    v += load(m->out_dtype, pointers[m->bias], col);
                int64_t at = b->d_offset + z * b->stride_d + row * b->ldd + col;
                dtype_store(m->out_dtype, (char *)pointers[m->d] + at * bytes, epilogue(m->epilogue, v));
            }
}
