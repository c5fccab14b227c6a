/* tests/codegen/gemm_cases.h — products on the tensor cores with small bodies: hand-built kernels through NVRTC's PTX on the simulator,
 * with its checker on, against products in double. Where a row or column is recomputed, the result must be what fp32 FMA gives the lanes of a warp, to the bit. */
#pragma once
#include "codegen/emit/emit.h"
#include "codegen/emit/gemm.h"
#include "runtime/sim/sim.h"

typedef enum { GEMM_PLAIN, GEMM_BIAS_RELU, GEMM_VECTORS, GEMM_BOXES /* bulk stores */ } GemmCaseBody;
typedef enum { GEMM_GOOD, GEMM_BAD_ROWS = 1, GEMM_BAD_COLUMNS = 2, GEMM_BAD_BOTH = 3 } GemmCaseBad;

typedef struct {
    const char *name;
    GemmFormat format;
    uint32_t bm, bn, bk, stages, cluster, raster, parts, width, splits;
    int m, n, k, batch, clusters;        /* n: columns of a part; clusters: as many run */
    bool a_mn, b_mn, a_shared, b_shared; /* shared: one matrix for all batches */
    GemmCaseBody body;
    GemmCaseBad bad;
    bool frozen;                         /* no B but its pieces */
    bool symbolic, waits;
    bool pingpong;                       /* two warpgroups take tiles in turn */
    bool mma;                            /* mma.sync instead of wgmma */
    uint32_t warps, resident;            /* of it: as in KGemm */
    const char *arch;                    /* NULL: sm_90a */
    bool conflicts;                      /* fails if threads meet in a bank of shared memory */
    bool bf16;                           /* what is stored, of GEMM_BOXES; else f32 */
    const char *without;                 /* PTX that is left out: then the checker must report `fault` */
    SimFaultKind fault;
} GemmCase;

/* Runs it twice, asynchronous work as late and as early as it may be. False: said on stderr. */
bool gemm_case_check(const GemmCase *c);
/* The kernel alone, as in the check. */
Kernel *gemm_case_kernel(Context *cx, const GemmCase *c);
