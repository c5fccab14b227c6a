typedef unsigned short bf16;             // the bits
static __device__ __forceinline__ unsigned pack_bf16(float low, float high)
{
    unsigned u;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(u) : "f"(high), "f"(low));
    return u;
}
static __device__ __forceinline__ void load_bf16x8_readonly(float (&v)[8], const bf16 *p)
{
    const uint4 *q = reinterpret_cast<const uint4 *>(p);
    unsigned w[4];
    const uint4 u0 = __ldg(q);
    w[0] = u0.x; w[1] = u0.y; w[2] = u0.z; w[3] = u0.w;
    #pragma unroll
    for (int l = 0; l < 8; l++)
        v[l] = __uint_as_float(l % 2 ? w[l / 2] & 0xffff0000u : w[l / 2] << 16);
}
static __device__ __forceinline__ float sum_lanes_f32x8(const float (&v)[8])
{
    return v[0] + v[4] + (v[2] + v[6]) + (v[1] + v[5] + (v[3] + v[7]));
}
static __device__ __forceinline__ void store_bf16x8(bf16 *p, const float (&v)[8])
{
    uint4 *q = reinterpret_cast<uint4 *>(p);
    unsigned w[4];
    #pragma unroll
    for (int i = 0; i < 4; i++)
        w[i] = pack_bf16(v[2 * i], v[2 * i + 1]);
    *q = make_uint4(w[0], w[1], w[2], w[3]);
}

/* rms_norm
 * grid: (R + 3) // 4 blocks of 128 threads */
extern "C" __global__ void __launch_bounds__(128) rms_norm(const bf16 *__restrict__ x, const bf16 *__restrict__ gamma, bf16 *__restrict__ y, const long long R_)
{
    const int R = (int)R_;
    const int thread = threadIdx.x;
    const int block_x = blockIdx.x;
    const bool v0 = block_x * 4 + thread / 32 < R;
    float sum = 0.0f;
    #pragma unroll
    for (int i = 0; i < 4; i++) {
        float x_v[8] = {};
        if (v0)
            load_bf16x8_readonly(x_v, x + (block_x * 4096 + thread / 32 * 1024 + i * 256 + thread % 32 * 8));
        float v6[8];
        #pragma unroll
        for (int l = 0; l < 8; l++)
            v6[l] = x_v[l] * x_v[l];
        const float v7 = sum_lanes_f32x8(v6);
        sum = sum + v7;
    }
    const float v10 = __shfl_xor_sync(0xffffffffu, sum, 16);
    const float v11 = sum + v10;
    const float v12 = __shfl_xor_sync(0xffffffffu, v11, 8);
    const float v13 = v11 + v12;
    const float v14 = __shfl_xor_sync(0xffffffffu, v13, 4);
    const float v15 = v13 + v14;
    const float v16 = __shfl_xor_sync(0xffffffffu, v15, 2);
    const float v17 = v15 + v16;
    const float v18 = __shfl_xor_sync(0xffffffffu, v17, 1);
    const float scale = rsqrtf((v17 + v18) * 0.0009765625f + 1e-06f);
    #pragma unroll
    for (int j = 0; j < 4; j++) {
        const int at = block_x * 4096 + thread / 32 * 1024 + j * 256 + thread % 32 * 8;
        float x_v2[8] = {};
        if (v0)
            load_bf16x8_readonly(x_v2, x + at);
        float gamma_v[8];
        load_bf16x8_readonly(gamma_v, gamma + (j * 256 + thread % 32 * 8));
        float y_v[8];
        #pragma unroll
        for (int l = 0; l < 8; l++)
            y_v[l] = x_v2[l] * scale * gamma_v[l];
        if (v0)
            store_bf16x8(y + at, y_v);
    }
}
