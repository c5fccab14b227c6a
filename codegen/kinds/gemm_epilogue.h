/* codegen/kinds/gemm_epilogue.h — the groups' expressions on a staged piece of their product: what kinds/gemm.c puts into its template. */
#pragma once
#include "codegen/group.h"
#include "codegen/kind.h"

/* A group that has its product to itself, or a member of one. */
typedef struct { const Group *g; MatmulReads reads; } GemmReader;

enum { GEMM_PIECE_ROWS = 16 };

/* With bulk stores: where an output's boxes lie and go, `columns` of the piece each, one after the other. */
typedef struct { uint32_t shared, map, columns; } GemmBox;

/* The body of the kernel of `g`. Column 0 of the template is column `base` of the product. b->out_buffer has the readers' outputs one
 * reader after the other; so has `boxes`, with bulk stores of a single reader. */
void gemm_epilogue(KindBuild *b, const KGemm *g, const GemmReader *readers, uint32_t n, Dim base, const GemmBox *boxes);
