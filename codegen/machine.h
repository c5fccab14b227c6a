/* codegen/machine.h — what the compiler knows of a machine: the model behind ranking, cost and floors. */
#pragma once
#include "base/context.h"
#include "runtime/plan.h"

typedef struct Machine {
    PlanTarget target;
    Str    name;                    /* "NVIDIA H200", or the host's CPU model */
    Str    arch;                    /* "sm_90a", "x86-64-v4" */
    int    units;                   /* SMs, or hardware threads */
    int    max_threads_unit;
    uint32_t shared_block;          /* bytes of shared memory that a block may have */
    int    cluster;                 /* blocks that may run together and see each other's shared memory; 1: none */
    double l2_bytes;
    /* ceilings, measured once a device where one is there (autotune/ceilings.c), else these defaults */
    double copy_bandwidth;          /* bytes read + written a second */
    double flops_fma;               /* fp32 FMA pipes (2 a FMA) */
    double flops_bf16, flops_tf32;  /* tensor cores; on the host the same as flops_fma */
    double launch_seconds;          /* one more kernel inside a graph */
    uint32_t vector_bytes;          /* 16 on GPUs; 32 or 64 on the host */
    bool   tensor_cores;            /* that kinds/gemm.c has a template for: mma.sync (sm_80 on) or wgmma (sm_90a) */
    bool   wgmma;                   /* the latter */
    double mma_rate;                /* the part of flops_bf16 and flops_tf32 that mma.sync reaches */
    bool   measured;
    bool   has_library;             /* cuBLASLt was found (or is assumed for ahead-of-time compilation) */
} Machine;

Machine machine_cpu(Context *cx);
/* "sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a" …: built-in figures of the usual board; false: diagnosed with the known names */
bool machine_cuda(Context *cx, const char *arch, Machine *out);
