/* codegen/kinds/gemm_model.h — predicted time of a product on the tensor cores. */
#pragma once
#include "codegen/emit/gemm.h"
#include "codegen/machine.h"

typedef struct GemmSize {
    double m, n, k, batch;              /* n: columns of a part */
    double bytes;                       /* to and from memory, at least */
    bool   aligned;                     /* rows of both operands begin at multiples of 128 bytes */
    double groups;                      /* of rows, each against its own matrix; 0: none */
    double beside;                      /* bytes read beside the operands, an element of the result */
    bool   shared;                      /* several groups read the product in its epilogue, by short rows */
} GemmSize;

/* Seconds, the launch included. Of `g` its format and tile. */
double gemm_wgmma_seconds(const KGemm *g, const GemmSize *x, const Machine *m);
double gemm_mma_seconds(const KGemm *g, const GemmSize *x, const Machine *m);      /* with mma.sync */
