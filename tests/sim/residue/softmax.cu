// Softmax of rows of 100 by online rescaling: a thread keeps its maximum and sum, a warp merges them by shuffles.
extern "C" __global__ void softmax(const float *x, float *y)
{
    const int n = 100;
    int row = blockIdx.x, t = threadIdx.x;
    float m = __int_as_float(0xff800000), sum = 0;
    for (int i = t; i < n; i += 32) {
        float v = x[row * n + i], bigger = fmaxf(m, v);
#ifdef DROPPED_TERM
        sum = sum + expf(v - bigger);
#else
        sum = sum * expf(m - bigger) + expf(v - bigger);
#endif
        m = bigger;
    }
    for (int d = 16; d; d >>= 1) {
        float other = __shfl_xor_sync(0xffffffff, m, d), s = __shfl_xor_sync(0xffffffff, sum, d), bigger = fmaxf(m, other);
#ifdef SWAPPED
        sum = sum * expf(other - bigger) + s * expf(m - bigger);
#else
        sum = sum * expf(m - bigger) + s * expf(other - bigger);
#endif
        m = bigger;
    }
    for (int i = t; i < n; i += 32)
#ifdef LINE
        y[row * n + i] = (1 + (x[row * n + i] - m)) / sum;
#else
        y[row * n + i] = expf(x[row * n + i] - m) / sum;
#endif
}
