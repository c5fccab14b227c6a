// A fused residual sum and RMSNorm with gate: one block a row of 70; two warps reduce by shuffles, then through shared memory.
extern "C" __global__ void rms_norm(const float *x, const float *residual, const float *gate, const float *w, float *h, float *y)
{
    const int n = 70;
    __shared__ float part[2];
    int row = blockIdx.x, t = threadIdx.x;
    float sum = 0;
    for (int i = t; i < n; i += 64) {
        float v = x[row * n + i] + residual[row * n + i];
        h[row * n + i] = v;
#ifdef DROPPED_TERM
        if (i != 69)
#endif
        sum += v * v;
    }
    for (int d = 16; d; d >>= 1)
        sum += __shfl_xor_sync(0xffffffff, sum, d);
    if (t % 32 == 0)
        part[t / 32] = sum;
#ifndef MISSING_BARRIER
    __syncthreads();
#endif
#ifdef WRONG_EPSILON
    float r = rsqrtf((part[0] + part[1]) / n + 1e-5f);
#else
    float r = rsqrtf((part[0] + part[1]) / n + 1e-6f);
#endif
    for (int i = t; i < n; i += 64) {
        float g = gate[row * n + i], v = x[row * n + i] + residual[row * n + i];
#ifdef LINE
        float s = fminf(fmaxf(g * 0.25f + 0.5f, 0.0f), 1.0f);
#else
        float s = 1.0f / (1.0f + expf(-g));
#endif
#ifdef SWAPPED
        y[row * n + i] = v * r * s * gate[row * n + i];
#else
        y[row * n + i] = v * r * w[i] * s;
#endif
    }
}
