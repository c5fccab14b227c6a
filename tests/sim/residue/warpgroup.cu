// c[64, 8] = a[64, 16] b[8, 16]ᵀ + a[64, 16] b[8, 16]ᵀ in bf16 by wgmma: operands in shared memory as core matrices of 8 by 16 bytes.
__device__ unsigned long long descriptor(const void *p)
{
    unsigned long long at = __cvta_generic_to_shared(p);
    return at >> 4 & 0x3fff | 128ull >> 4 << 16 | 256ull >> 4 << 32;
}
extern "C" __global__ void warpgroup(const unsigned short *a, const unsigned short *b, float *c)
{
    __shared__ __align__(128) unsigned short as[64 * 16], bs[8 * 16];
    int t = threadIdx.x;
    for (int i = t; i < 64 * 16; i += 128)
        as[i / 16 / 8 * 128 + i % 16 / 8 * 64 + i / 16 % 8 * 8 + i % 8] = a[i];
#ifdef SWAPPED
    bs[t / 16 / 8 * 128 + (1 - t % 16 / 8) * 64 + t / 16 % 8 * 8 + t % 8] = b[t];
#else
    bs[t / 16 / 8 * 128 + t % 16 / 8 * 64 + t / 16 % 8 * 8 + t % 8] = b[t];
#endif
    asm volatile("fence.proxy.async;" ::: "memory");
    __syncthreads();
    float d[4];
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %6, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0,%1,%2,%3}, %4, %5, p, 1, 1, 0, 0;\n}"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3]) : "l"(descriptor(as)), "l"(descriptor(bs)), "r"(0));
#ifndef DROPPED_TERM
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %6, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0,%1,%2,%3}, %4, %5, p, 1, 1, 0, 0;\n}"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "l"(descriptor(as)), "l"(descriptor(bs)), "r"(1));
#endif
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#ifndef MISSING_WAIT
    asm volatile("wgmma.wait_group.sync.aligned 0;" : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) :: "memory");
#endif
    for (int i = 0; i < 4; i++)
        c[(t / 32 * 16 + t % 32 / 4 + 8 * (i >> 1)) * 8 + t % 4 * 2 + (i & 1)] = d[i];
}
