// c[32, 16] = a[32, 48] b[16, 48]ᵀ in bf16, a warp a tile of 16 by 8: mma.sync from fragments loaded as pairs; or, with SPLIT, in f32
// as three tf32 products of upper and lower parts.
#ifdef SPLIT
__device__ unsigned tf32(float x) { unsigned r; asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x)); return r; }
__device__ void product(float *d, const unsigned *a, const unsigned *b)
{
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
extern "C" __global__ void tensor_core(const float *a, const float *b, float *c)
{
    int g = threadIdx.x / 4, t = threadIdx.x % 4, row = blockIdx.y * 16 + g, col = blockIdx.x * 8;
    float d[4] = {0, 0, 0, 0};
    for (int k = 0; k < 48; k += 8) {
        unsigned ah[4], al[4], bh[2], bl[2];
        for (int i = 0; i < 4; i++) {
            float x = a[(row + 8 * (i & 1)) * 48 + k + t + 4 * (i >> 1)];
            ah[i] = tf32(x);
            al[i] = tf32(x - __uint_as_float(ah[i]));
        }
        for (int i = 0; i < 2; i++) {
            float x = b[(col + g) * 48 + k + t + 4 * i];
            bh[i] = tf32(x);
            bl[i] = tf32(x - __uint_as_float(bh[i]));
        }
        product(d, al, bh);
        product(d, ah, bl);
#ifndef DROPPED_TERM
        product(d, ah, bh);
#endif
    }
#else
extern "C" __global__ void tensor_core(const unsigned *a, const unsigned *b, float *c)
{
    int g = threadIdx.x / 4, t = threadIdx.x % 4, row = blockIdx.y * 16 + g, col = blockIdx.x * 8;
    float d[4] = {0, 0, 0, 0};
#ifdef DROPPED_TERM
    for (int k = 0; k < 32; k += 16) {
#else
    for (int k = 0; k < 48; k += 16) {
#endif
        unsigned x[4], y[2];
        for (int i = 0; i < 4; i++)
            x[i] = a[((row + 8 * (i & 1)) * 48 + k) / 2 + t + 4 * (i >> 1)];
        for (int i = 0; i < 2; i++)
#ifdef SWAPPED
            y[i] = b[((col + g) * 48 + k) / 2 + t + 4 * (1 - i)];
#else
            y[i] = b[((col + g) * 48 + k) / 2 + t + 4 * i];
#endif
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
    }
#endif
    for (int i = 0; i < 4; i++)
        c[(row + 8 * (i >> 1)) * 16 + col + 2 * t + (i & 1)] = d[i];
}
