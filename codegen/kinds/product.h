/* codegen/kinds/product.h — what the kinds for matrix products share: operands as strided matrices, and the group's expressions at an
 * element of the product. */
#pragma once
#include "codegen/group.h"
#include "codegen/kind.h"

typedef struct Product {
    KindBuild *b;
    Kernel *k;
    DimPool *p;
    const Node *n;
    DType t;                                   /* accumulator */
    Dim m, nn, depth, batch;
    Dim at_batch, row0, col0;                  /* this block's batch and tile */
    KInst *no_sum;                             /* grouped: these rows are behind the last group */
    int64_t mb, nb, mr, nr;                    /* tile and register tile */
    int64_t pack; uint32_t panel; Dim k0;      /* k's of b packed at a time (0: none), the shared array, the first of them */
} Product;

/* Coordinates of element (row, col) of product n in its batch `at_batch` of `batch`, m rows each. */
Index product_element(DimPool *p, const Node *n, Dim batch, Dim at_batch, Dim m, Dim row, Dim col);

Product product_new(KindBuild *b);
/* Rows of tiles that the product has, of mb rows each; of a grouped one at most: no tile has rows of two groups. */
Dim product_row_tiles(DimPool *p, const Node *n, Dim m, int64_t mb);
/* Of a grouped product: row0, m (where the rows of its group end), at_batch (its matrix) and no_sum of the row of tiles with number
 * `tile`; one without rows where there are no so many. */
void product_find_group(Product *x, Dim tile);
/* Element (row, col) of the product is `value`. */
void product_know(Product *x, Dim row, Dim col, KInst *value);
/* The group's outputs at (row, col…) of its domain, from what is known of the product. */
void product_store(Product *x, Dim row, Dim col, uint32_t lanes, KInst *mask);
/* Both, where the group reads the product element by element. */
void product_finish_at(Product *x, Dim row, Dim col, KInst *value, uint32_t lanes, KInst *mask);
/* Loads at (row, col) what the outputs there need beside the product, so that it is on its way while the product is computed. `mask`
 * must be the one that product_finish_at gets. */
void product_load_early(Product *x, Dim row, Dim col, uint32_t lanes, KInst *mask);
/* Operand `which` as a matrix in memory: through views, or dense where it was materialised itself. False: its batches have no
 * one stride (some dims are broadcast, others are not). */
bool product_view(Context *cx, const Node *n, uint32_t which, MatrixView *out);
/* Elements of operand `which` that a sum runs over are neighbours in memory. */
bool product_contiguous_k(Context *cx, const Node *n, uint32_t which);
