/* The larger; NaN when either is. */
static __device__ __forceinline__ float max_nan(float a, float b)
{
    float r;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
    return r;
}
static __device__ __forceinline__ double max_nan(double a, double b) { return a != a || a > b ? a : b; }
static __device__ __forceinline__ float min_nan(float a, float b)
{
    float r;
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
    return r;
}
static __device__ __forceinline__ double min_nan(double a, double b) { return a != a || a < b ? a : b; }
static __device__ __forceinline__ float load_f32_readonly(const float *p) { return __ldg(p); }
static __device__ __forceinline__ void store_f32x4(float *p, const float (&v)[4])
{
    uint4 *q = reinterpret_cast<uint4 *>(p);
    unsigned w[4];
    #pragma unroll
    for (int i = 0; i < 4; i++)
        w[i] = __float_as_uint(v[i]);
    *q = make_uint4(w[0], w[1], w[2], w[3]);
}

/* strided
 * grid: 24 blocks of 32 threads */
extern "C" __global__ void __launch_bounds__(32) strided(const float *__restrict__ x, float *__restrict__ y)
{
    const int thread = threadIdx.x;
    const int block_x = blockIdx.x;
    float x_v[4];
    #pragma unroll
    for (int l = 0; l < 4; l++)
        x_v[l] = load_f32_readonly(x + (thread % 16 * 192 + block_x * 2 + thread / 16 + l * 48));
    const float x_v2 = load_f32_readonly(x + 7);
    const float v2 = fabsf(x_v2);
    float y_v[4];
    #pragma unroll
    for (int l = 0; l < 4; l++) {
        const float v7 = max_nan(min_nan(x_v[l], v2), -1.0f);
        y_v[l] = v7 + (float)(v7 > 0.5f) + (float)(block_x * 128 + thread * 4 + l) * 0.125f;
    }
    store_f32x4(y + (block_x * 128 + thread * 4), y_v);
}
