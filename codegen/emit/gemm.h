/* codegen/emit/gemm.h — what a kernel around the tensor-core template (kir.h: KGemm) needs from its machine: threads, shared memory,
 * tensor maps. The templates themselves are gemm_sm90.cuh (wgmma) and gemm_sm80.cuh (mma.sync); cuda_gemm.c prints them around the
 * kernel's body.
 *
 * Of a kernel with `gemm`, its kind sets:
 *   threads      gemm_threads
 *   cluster      gemm->cluster * gemm_splits
 *   shared       the array gemm->stage, f32[gemm_staging_count], without bulk; with groups gemm->table, i32[gemm_table_count]; more arrays if
 *                the body wants them, each warp its own part
 *   maps         of wgmma: gemm_map of a and b and, with three terms, of a_lo and b_lo
 *   k            at least 1, m, n and the number of tiles below 2^31 (matmul_not_gemm)
 *   grid         (min(gemm_tiles, gemm_clusters) * blocks of a cluster, 1, 1): clusters take tiles in turn
 *   block[d], thread   not used by the body; its symbols are gemm->row, col, at_batch, warp, lane and, with bulk, turn, with groups end
 * kernel_shared_bytes counts gemm_pipeline_bytes in. NVRTC alone compiles such kernels. */
#pragma once
#include "codegen/kir.h"

uint32_t gemm_terms(GemmFormat f);                  /* products summed: 1, or 3 (hi*hi, lo*hi, hi*lo) */
bool     gemm_scaled(GemmFormat f);                 /* has inv_a and inv_b */
DType    gemm_piece_dtype(GemmFormat f);            /* of the pieces in memory: bf16, f16, or f32 that holds tf32 */
const char *gemm_format_name(GemmFormat f);         /* "bf16", "f16", "tf32", "f16-scaled", "3xf16", "3xtf32" */

void     gemm_warps(const KGemm *g, uint32_t *down, uint32_t *across);      /* of mma.sync: how a tile is cut into warps; 0, 0: cannot be */
uint32_t gemm_resident(const KGemm *g);             /* blocks that a unit runs at once */
uint32_t gemm_splits(const KGemm *g);               /* blocks that share the k of a tile; they are a cluster */
uint32_t gemm_clusters(const KGemm *g, uint32_t units);         /* that so many units run at once */
uint32_t gemm_consumer_warps(const KGemm *g);       /* those that multiply: slots of the staging array */
uint32_t gemm_threads(const KGemm *g);
uint32_t gemm_stage_bytes(const KGemm *g);          /* of one stage of the ring: all pieces of A's and B's tile */
uint32_t gemm_pipeline_bytes(const KGemm *g);       /* all stages and their barriers */
uint32_t gemm_staging_count(const KGemm *g);        /* floats of the array `stage`; 0 with bulk */
uint32_t gemm_table_count(const KGemm *g);          /* integers of the array `table`: the number of groups is constant; 0: none */

/* Is there such a template? `other` bytes of shared memory for kernel->shared (of 227 KB; boards may have less). False: *why says in a
 * few words what is against it.
 * Of mma.sync:
 *   bm  64, 128     bn  64, 128, 256; parts * width columns belong to one warp
 *   bk  bk * element bytes is 64 or 128     a_mn, b_mn  2-byte formats only     stages  2 … 16     cluster  1
 *   parts  1, 2      width  32, 64, 128, divides bn / parts
 *   warps  4, 8 (0: 8, of 64 x 64 4)     resident  1 … 4: their registers, and their shared memory in that of a unit, suffice for all
 * Of wgmma:
 *   bm  64, 128, 192 (3 terms with 192: bn <= 64)     bn  32, 64, 96, 128, 160, 192, 224, 256 (3 terms: up to 128; bm 192: up to 192)
 *   pingpong  bm 64 or 128, bm * bn <= 128 * 192; with 3 terms bm 64, bn <= 128
 *   bk  bk * element bytes is 64 or 128; 64 with a_mn or b_mn (2-byte formats only)    stages  2 … 16
 *   splits  1, 2, 4, 8; more than 1: cluster 1, no pingpong, and their sums of a tile fit the ring
 *   cluster  1, 2, 4; divides raster      parts  1, 2      width  32, 64, 128, divides bn / parts      bulk  formats without scales
 *   bn / parts / cluster  a multiple of 8; of 64 with b_mn */
bool gemm_legal(const KGemm *g, uint32_t other, const char **why);

/* Tiles of the whole product, each bm * cluster rows by bn / parts columns of every part: as many clusters have work; with groups at
 * most. */
Dim gemm_tiles(DimPool *p, const KGemm *g);

/* The tensor map of a piece x (gemm->a, b, a_lo or b_lo: elements) whose M or N side is `rows` long in memory (for b: up to the end
 * of its last part). Strides and the offset must be multiples of 16 bytes. Boxes, innermost first:
 *   K-major    {k, rows[, batch]}   box {bk, rows}, swizzle bk * element bytes; rows = bm, or bn / parts / cluster
 *   MN-major   {rows, k[, batch]}   box {64, bk}, swizzle 128
 * with a third dim only where the operand is batched. A stage holds A, B, A lo, B lo, each K-major [rows][bk] or, MN-major,
 * [rows / 64][bk][64]; block r of a cluster brings the r-th share of each part of B to all of them. */
PlanTensorMap gemm_map(DimPool *p, const KGemm *g, const KMatrix *x, bool is_b, Dim rows);
