#define infinityf __int_as_float(0x7f800000)
static __device__ __forceinline__ void load_f32x8_readonly(float (&v)[8], const float *p)
{
    const uint4 *q = reinterpret_cast<const uint4 *>(p);
    unsigned w[8];
    const uint4 u0 = __ldg(q);
    w[0] = u0.x; w[1] = u0.y; w[2] = u0.z; w[3] = u0.w;
    const uint4 u1 = __ldg(q + 1);
    w[4] = u1.x; w[5] = u1.y; w[6] = u1.z; w[7] = u1.w;
    #pragma unroll
    for (int l = 0; l < 8; l++)
        v[l] = __uint_as_float(w[l]);
}
static __device__ __forceinline__ float load_f32_readonly(const float *p) { return __ldg(p); }
static __device__ __forceinline__ void store_f32x8(float *p, const float (&v)[8])
{
    uint4 *q = reinterpret_cast<uint4 *>(p);
    unsigned w[8];
    #pragma unroll
    for (int i = 0; i < 8; i++)
        w[i] = __float_as_uint(v[i]);
    *q = make_uint4(w[0], w[1], w[2], w[3]);
    q[1] = make_uint4(w[4], w[5], w[6], w[7]);
}

/* ragged
 * grid: 6 blocks of 64 threads */
extern "C" __global__ void __launch_bounds__(64) ragged(const float *__restrict__ x, float *__restrict__ y)
{
    const int thread = threadIdx.x;
    const int block_x = blockIdx.x;
    bool v0[8];
    #pragma unroll
    for (int l = 0; l < 8; l++)
        v0[l] = block_x * 512 + thread * 8 + l < 2052;
    const int at = block_x * 512 + thread * 8;
    float x_v[8];
    if (at + 7 < 2052) {
        load_f32x8_readonly(x_v, x + at);
    } else {
        #pragma unroll
        for (int l = 0; l < 8; l++)
            x_v[l] = v0[l] ? load_f32_readonly(x + (at + l)) : -infinityf;
    }
    float y_v[8];
    #pragma unroll
    for (int l = 0; l < 8; l++)
        y_v[l] = x_v[l] + 1.0f;
    if (at + 7 < 2052) {
        store_f32x8(y + at, y_v);
    } else {
        #pragma unroll
        for (int l = 0; l < 8; l++) {
            if (v0[l])
                y[at + l] = y_v[l];
        }
    }
}
