template <typename T, int N> static __device__ __forceinline__ void fill_lanes(T (&v)[N], T x)
{
    #pragma unroll
    for (int l = 0; l < N; l++)
        v[l] = x;
}
static __device__ __forceinline__ void load_f32x4_stream(float (&v)[4], const float *p)
{
    const uint4 *q = reinterpret_cast<const uint4 *>(p);
    unsigned w[4];
    const uint4 u0 = __ldcs(q);
    w[0] = u0.x; w[1] = u0.y; w[2] = u0.z; w[3] = u0.w;
    #pragma unroll
    for (int l = 0; l < 4; l++)
        v[l] = __uint_as_float(w[l]);
}
static __device__ __forceinline__ void store_f32x4(float *p, const float (&v)[4])
{
    uint4 *q = reinterpret_cast<uint4 *>(p);
    unsigned w[4];
    #pragma unroll
    for (int i = 0; i < 4; i++)
        w[i] = __float_as_uint(v[i]);
    *q = make_uint4(w[0], w[1], w[2], w[3]);
}
static __device__ __forceinline__ void load_f32x4(float (&v)[4], const float *p)
{
    const uint4 *q = reinterpret_cast<const uint4 *>(p);
    unsigned w[4];
    const uint4 u0 = *q;
    w[0] = u0.x; w[1] = u0.y; w[2] = u0.z; w[3] = u0.w;
    #pragma unroll
    for (int l = 0; l < 4; l++)
        v[l] = __uint_as_float(w[l]);
}

/* column_sum
 * grid: 4 blocks of 128 threads */
extern "C" __global__ void __launch_bounds__(128) column_sum(const float *__restrict__ x, float *__restrict__ y)
{
    __shared__ alignas(16) float part[512];
    const int thread = threadIdx.x;
    const int block_x = blockIdx.x;
    float acc[4];
    fill_lanes(acc, 0.0f);
    #pragma unroll 4
    for (int r = thread / 32; r < 96; r += 4) {
        float x_v[4];
        load_f32x4_stream(x_v, x + (r * 512 + block_x * 128 + thread % 32 * 4));
        #pragma unroll
        for (int l = 0; l < 4; l++)
            acc[l] = acc[l] + x_v[l];
    }
    store_f32x4(part + thread * 4, acc);
    __syncthreads();
    if (thread < 32) {
        float v10[4];
        load_f32x4(v10, part + thread % 32 * 4);
        float v11[4];
        load_f32x4(v11, part + (thread % 32 * 4 + 128));
        float v13[4];
        load_f32x4(v13, part + (thread % 32 * 4 + 256));
        float v15[4];
        load_f32x4(v15, part + (thread % 32 * 4 + 384));
        float y_v[4];
        #pragma unroll
        for (int l = 0; l < 4; l++)
            y_v[l] = v10[l] + v11[l] + v13[l] + v15[l];
        store_f32x4(y + (block_x * 128 + thread % 32 * 4), y_v);
    }
}
