// y[row] = log of the sum over 90 elements of gelu(x)², in bf16: vector loads of pairs, a warp's shuffle reduction, and functions that
// stay calls only behind lift.cuh.
extern "C" __global__ void gelu_sum(const unsigned *x, float *y)
{
    int row = blockIdx.x, t = threadIdx.x;
    float sum = 0;
    for (int i = t; i < 45; i += 32) {
        unsigned pair = x[row * 45 + i];
        float v[2] = {__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000)};
        for (int k = 0; k < 2; k++) {
#ifdef APPROXIMATED
            float g = v[k] / (1 + expf(-1.702f * v[k]));
#elif defined OVERLOADS
            float g = 0.5f * v[k] * (1 + erf(v[k] * 0.70710678f));
#else
            float g = 0.5f * v[k] * (1 + erff(v[k] * 0.70710678f));
#endif
            sum += g * g;
        }
    }
#ifdef DROPPED_TERM
    for (int d = 8; d; d >>= 1)
#else
    for (int d = 16; d; d >>= 1)
#endif
        sum += __shfl_down_sync(0xffffffff, sum, d);
    if (t == 0)
        y[row] = logf(sum);
}
