/* ir/eval_internal.h — what the evaluator's files share; nobody else includes it.
 *
 * One sweep (Run) goes twice over the live nodes: backwards to find which elements of every node are wanted (eval_points.c),
 * then forwards to compute just those (eval_nodes.c, eval_matmul.c). Sources are read in place, and views (reshape, permute,
 * expand, slice, flip, choice) are looked through, so only what is computed takes memory. */
#pragma once
#include "base/pool.h"
#include "ir/eval.h"

/* A flat coordinate of a row-major box of `dim`, mapped to offset + sum of coordinate * stride. */
typedef struct { uint32_t rank; int64_t dim[MAX_RANK], stride[MAX_RANK], offset; } Affine;

typedef struct {                       /* a node with its numbers filled in */
    int64_t  count, dim[MAX_RANK];
    bool     is_view;
    Affine   view;                     /* views: own flat -> operand's flat; rank 0: the identity (reshape, choice).
                                          reduce, scan: own flat (of the kept dims) -> start of the line in the operand */
    Affine   line;                     /* reduce, scan: position in the line -> offset from its start */
    int64_t  line_len;
    const Tensor *source;              /* input, param, tensor */
    uint32_t base;                     /* id of the node that holds the values: itself unless a view */
    uint32_t last_use;                 /* position in order of the last node that reads the values */
} NodePlan;

typedef struct {
    bool     all;                      /* every element: `at` is not set */
    size_t   n;
    const int64_t *at;                 /* wanted flat coordinates, sorted, unique */
} Demand;

struct Evaluator {
    const Graph *g;
    const Domain *d;
    Arena *arena;
    Node **order; uint32_t n_order;
    NodePlan *plan;                    /* by node id */
    Value **all;                       /* by output: results of the full sweep */
};

typedef struct {
    const Evaluator *e;
    const Domain *d;
    Arena *arena;                      /* of this sweep */
    ThreadPool *pool;                  /* NULL: too little work to share */
    Demand *demand;                    /* by node id */
    Value **values;                    /* by node id: beside demand; malloc'ed, NULL before and after its time */
} Run;

static inline int64_t affine_at(const Affine *a, int64_t flat)
{
    int64_t at = a->offset;
    for (uint32_t i = a->rank; i-- > 0; ) {
        if (i > 0) {
            at += flat % a->dim[i] * a->stride[i];
            flat /= a->dim[i];
        } else {
            at += flat * a->stride[0];
        }
    }
    return at;
}
static inline int64_t view_at(const NodePlan *p, int64_t flat) { return p->view.rank ? affine_at(&p->view, flat) : flat; }
static inline int64_t demand_at(const Demand *d, size_t k) { return d->all ? (int64_t)k : d->at[k]; }

/* eval_points.c */
void eval_demand(Run *r, const uint32_t *outputs, const Demand *wanted, uint32_t n);
size_t eval_demand_find(const Demand *d, int64_t flat, size_t *hint);      /* position; asserts that it is there */
/* gather's operand coordinates: table row of the index element at position `index_at` of the output */
typedef struct { int64_t before, index, after, rows; } GatherBox;    /* out = [before][index][after], table = [before][rows][after] */
GatherBox eval_gather_box(const Evaluator *e, const Node *n);
typedef struct { uint32_t part; int64_t at; } PartAt;                 /* concat: operand and its flat coordinate */
PartAt eval_concat_part(const Evaluator *e, const Node *n, int64_t flat);
int64_t eval_pad_source(const Evaluator *e, const Node *n, int64_t flat);  /* -1: fill */
typedef struct { Affine a, b; int64_t m, n, k, a_row, a_k, b_col, b_k, b_size; } MatmulBox;  /* a, b: batch -> start; then strides of row, column, k; elements of a matrix of b */
/* What a product reads as operand 0 or 1: the matrix `of`, or where inv is set (split_matmul without the original) (of + lo / 2048) inv. */
typedef struct { const Node *of, *lo, *inv; } MatmulOperand;
MatmulOperand eval_matmul_operand(const Node *n, uint32_t side);
int64_t eval_matmul_scale_at(const MatmulBox *m, int64_t b_start, int64_t col);     /* where in b_inv the scale of a column of b is */
MatmulBox eval_matmul_box(const Evaluator *e, const Node *n);

/* eval_nodes.c */
Value eval_value_at(const Run *r, const Node *n, int64_t flat, size_t *hint);
void  eval_node(Run *r, const Node *n);                           /* fills values[n->id] at its demand */
void  eval_for(const Run *r, int64_t n, int64_t grain, void (*body)(void *, int64_t, int64_t, int), void *arg);

/* eval_matmul.c */
void  eval_matmul(Run *r, const Node *n);

/* eval_ops.c: the scalar meaning of an op, shared by the domains */
bool    eval_op_is_integer(const Node *n);                                 /* computed exactly on int64 */
double  eval_op_real(Op op, double a, double b, double c);
int64_t eval_op_integer(Op op, DType result, DType operand, const Value *args);
int64_t eval_int_wrap(DType t, int64_t v);
Value   eval_integer(int64_t i);
Value   eval_cast(DType from, DType to, Value x, bool round);        /* round: floats are rounded to `to` */
Value   eval_source(DType t, const void *element);
double  eval_round_tf32(double v);
