// c[24, 20] = relu(a[24, 33] b[33, 20] + bias): tiles of 8 by 8 through shared memory, ragged at every edge.
extern "C" __global__ void matmul(const float *a, const float *b, const float *bias, float *c)
{
    const int M = 24, N = 20, K = 33;
    __shared__ float as[8][8], bs[8][8];
    int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * 8 + y, col = blockIdx.x * 8 + x;
    float sum = 0;
    for (int k = 0; k < K; k += 8) {
        as[y][x] = row < M && k + x < K ? a[row * K + k + x] : 0;
        bs[y][x] = k + y < K && col < N ? b[(k + y) * N + col] : 0;
#ifndef MISSING_BARRIER
        __syncthreads();
#endif
#ifdef DROPPED_TERM
        for (int i = 0; i < 7; i++)
#else
        for (int i = 0; i < 8; i++)
#endif
#ifdef SWAPPED
            sum = fmaf(as[i][y], bs[i][x], sum);
#else
            sum = fmaf(as[y][i], bs[i][x], sum);
#endif
        __syncthreads();
    }
#ifdef DROPPED_BIAS
    float r = sum;
#else
    float r = sum + (col < N ? bias[col] : 0);
#endif
#ifdef DROPPED_RELU
    if (row < M && col < N)
        c[row * N + col] = r;
#else
    if (row < M && col < N)
        c[row * N + col] = fmaxf(r, 0.0f);
#endif
}
