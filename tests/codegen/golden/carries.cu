template <typename T, int N> static __device__ __forceinline__ void fill_lanes(T (&v)[N], T x)
{
    #pragma unroll
    for (int l = 0; l < N; l++)
        v[l] = x;
}
static __device__ __forceinline__ void load_i32x2_readonly(int (&v)[2], const int *p)
{
    const uint2 *q = reinterpret_cast<const uint2 *>(p);
    unsigned w[2];
    const uint2 u0 = __ldg(q);
    w[0] = u0.x; w[1] = u0.y;
    #pragma unroll
    for (int l = 0; l < 2; l++)
        v[l] = (int)w[l];
}
static __device__ __forceinline__ void store_i32x2(int *p, const int (&v)[2])
{
    uint2 *q = reinterpret_cast<uint2 *>(p);
    unsigned w[2];
    #pragma unroll
    for (int i = 0; i < 2; i++)
        w[i] = (unsigned)v[i];
    *q = make_uint2(w[0], w[1]);
}

/* carries
 * grid: 4 blocks of 32 threads */
extern "C" __global__ void __launch_bounds__(32) carries(const int *__restrict__ x, int *__restrict__ y)
{
    const int thread = threadIdx.x;
    const int block_x = blockIdx.x;
    const int at = block_x * 64 + thread * 2;
    int x_v[2];
    load_i32x2_readonly(x_v, x + at);
    int x2[2];
    #pragma unroll
    for (int l = 0; l < 2; l++)
        x2[l] = x_v[l];
    int acc[2];
    fill_lanes(acc, 1);
    int acc2 = 0;
    #pragma unroll 1
    for (int i = 0; i < 3; i++) {
        int acc3 = acc2;
        for (int j = 0; j < i + 1; j++) {
            acc3 = acc3 + j;
        }
        const int next_acc2 = acc3 + 1;
        int next_v[2];
        #pragma unroll
        for (int l = 0; l < 2; l++)
            next_v[l] = acc[l];
        #pragma unroll
        for (int l = 0; l < 2; l++)
            acc[l] = x2[l] + next_v[l];
        #pragma unroll
        for (int l = 0; l < 2; l++)
            x2[l] = next_v[l];
        acc2 = next_acc2;
    }
    int y_v[2];
    #pragma unroll
    for (int l = 0; l < 2; l++)
        y_v[l] = x2[l] * 3 - acc[l] + acc2;
    store_i32x2(y + at, y_v);
}
