/* codegen/group.h — what grouping asks of its neighbours; the groups themselves are in codegen/codegen.h. */
#pragma once
#include "codegen/lower.h"

/* matmul_view.c: may the group, whose outputs read matmul `n` at `at` (n_at places), become the product with an epilogue?
 * NULL: yes; otherwise why not. */
const char *group_takes_matmul(Context *cx, const Group *g, const Node *n, const Index *at, uint32_t n_at, const CodegenOptions *o);
/* The columns of product `n` that an element of the group reads lie at start[i] + its own last coordinate, in its own row: how many
 * places (at most MATMUL_PLACES) those are; 0: it is read in another way. One place at 0 over the whole product is the usual. */
enum { MATMUL_PLACES = 2 };
uint32_t matmul_columns(Context *cx, const Group *g, const Node *n, const Index *at, uint32_t n_at, Dim *start);

/* How a group reads its product, where a kind with a tile at hand may follow: element by element in any order of dims; two parts of
 * its columns side by side; or by short rows (matmul_rows.c). False: in another way. */
typedef struct {
    uint32_t parts;
    Dim start[MATMUL_PLACES], columns;         /* of each part: the first column, and how many */
    bool by_columns;                           /* as matmul_columns has it */
    Index at;                                  /* else the element that a position in the domain stands for, its column counted from start[0]; */
    int64_t row;                               /* 0, or what it needs is anywhere in `row` neighbouring columns, the first of which that is: */
    uint32_t outer;                            /* the domain's dims that count rows; the others are a row's columns, or there are none */
    bool in_order;                             /* the rows of the whole product in the order of those dims, and `at` is not given */
} MatmulReads;
bool matmul_reads(Context *cx, const Group *g, const Node *n, const Index *at, uint32_t n_at, MatmulReads *out);
bool matmul_rows(Context *cx, const Group *g, const Node *n, MatmulReads *out);
/* Do the digits of r->at count the rows of some of the product's columns? r->columns: how many columns. */
bool matmul_row_digits(DimPool *p, const Group *g, uint32_t outer, const Node *n, int64_t row, MatmulReads *r);
/* Coordinates in g's domain of an element of the product, its column counted from start[0]. Not for rows in order. */
void matmul_coords(DimPool *p, const Group *g, const Node *n, const MatmulReads *r, const Index *element, Dim *coords);
/* The coordinates in g's domain that read `element` of the product, where the group reads it at `at`; false: no such coordinates for every
 * element. */
bool matmul_domain_at(DimPool *p, const Group *g, const Node *n, const Index *at, const Index *element, Dim *coords);

/* A matmul operand seen through movement ops as a strided matrix in memory. */
typedef struct {
    Node *base;                       /* materialised value that holds the elements */
    Dim offset, stride_batch, ld;     /* in elements; stride_batch 0: the same for every batch; of matrices by group: between those */
    bool trans;                       /* the dim that the graph's matrix has last is the strided one */
} MatrixView;
/* Operand k of matmul n: false when it cannot be seen as a matrix with one unit stride (then it is materialised itself). */
bool matmul_operand_view(Context *cx, const Node *n, uint32_t k, MatrixView *out);
/* Operand k, scales of a split product, as numbers one behind the other, `stride_batch` from batch to batch. */
MatrixView matmul_scale_view(Context *cx, const Node *n, uint32_t k);
/* The node that must be in memory for operand k: the view's base, or the operand. */
Node *matmul_operand_base(Context *cx, const Node *n, uint32_t k);
/* M, N, K and the number of batches of a matmul. */
void matmul_extents(DimPool *p, const Node *n, Dim *m, Dim *nn, Dim *k, Dim *batch);

/* May kinds/gemm.c compute it, with any epilogue? NULL: yes, or why not. */
const char *matmul_not_gemm(Context *cx, const Node *n, const CodegenOptions *o);
/* May the tensor cores stream the second operand past a first one of few rows (kinds/smallm.c)? NULL: yes, or why not. */
const char *matmul_not_small(Context *cx, const Node *n, const Machine *m);

/* What follows the product inside its group, in the library's terms. False: the library has no such epilogue. */
typedef struct { Epilogue epilogue; Node *bias, *residual; } LibraryEpilogue;
bool library_epilogue(Context *cx, const Group *g, LibraryEpilogue *out);
/* The same of a group under way, whose outputs read `product`. What it names must then be in memory. */
bool library_epilogue_of(const Group *g, const Node *product, LibraryEpilogue *out);

/* describe.c: text and key of a group. */
void group_describe(Context *cx, Group *g);
void attr_print(StrBuf *b, const Attr *a);            /* ", axis=0" */

/* weights.c: how an input-independent node is made from the model's parameters (name and buffer are the caller's). */
PlanWeight weight_describe(Context *cx, const Graph *g, const Node *n);

/* accesses.c: every place where the group reads a value from memory, over its symbols (and r, r1 … inside reductions). */
typedef struct { Node *node; Index at; Dim flat; } GroupAccess;
typedef struct { GroupAccess *a; uint32_t n; } GroupAccesses;
GroupAccesses group_accesses(Context *cx, const Group *g);
bool group_access_plain(DimPool *p, const Group *g, const GroupAccess *a);     /* over the domain alone: not inside a reduction */
/* Where it reads `n`, one of its own nodes or inputs, over its symbols. */
uint32_t group_places(Context *cx, const Group *g, const Node *n, const Index **at);
