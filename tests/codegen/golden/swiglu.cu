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
static __device__ __forceinline__ void store_bf16x8(bf16 *p, const float (&v)[8])
{
    uint4 *q = reinterpret_cast<uint4 *>(p);
    unsigned w[4];
    #pragma unroll
    for (int i = 0; i < 4; i++)
        w[i] = pack_bf16(v[2 * i], v[2 * i + 1]);
    *q = make_uint4(w[0], w[1], w[2], w[3]);
}

/* swiglu
 * %y = mul(silu(%gate), %up)  : bf16[3, 2048]
 * kind: pointwise   schedule: threads=256 vector=8
 * grid: 3 blocks of 256 threads */
extern "C" __global__ void __launch_bounds__(256) swiglu(const bf16 *__restrict__ gate, const bf16 *__restrict__ up, bf16 *__restrict__ y)
{
    const int thread = threadIdx.x;
    const int block_x = blockIdx.x;
    const int at = block_x * 2048 + thread * 8;
    float gate_v[8];
    load_bf16x8_readonly(gate_v, gate + at);
    float up_v[8];
    load_bf16x8_readonly(up_v, up + at);
    float y_v[8];
    #pragma unroll
    for (int l = 0; l < 8; l++)
        y_v[l] = gate_v[l] / (1.0f + expf(-gate_v[l])) * up_v[l];
    store_bf16x8(y + at, y_v);
}
