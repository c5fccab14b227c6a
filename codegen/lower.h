/* codegen/lower.h — indexed expressions: every tensor value is a scalar function of its coordinates.
 *
 * `lower_value` builds that function by substitution: movement ops only change the index and vanish, pointwise ops apply to operands
 * at the same index, a materialised value is a load. What was built is remembered by (node, index, mask), so a value that
 * two phases of a kernel need at the same index is computed once and stays in registers. */
#pragma once
#include "codegen/codegen.h"

/* ---- index maps (index.c) ---------------------------------------------------------------------------------------------- */
/* Row-major flat position of `at` in `s`, and back. */
Dim   index_flatten(DimPool *p, const Shape *s, const Index *at);
Index index_unflatten(DimPool *p, const Shape *s, Dim flat);
/* The coordinates of operand `k` that element `at` of movement or pointwise node `n` reads. `in_range` (may be NULL) receives the
 * condition lo <= value < hi for PAD and CONCAT operands, as {value, lo, hi}; value NULL when always in range. */
typedef struct { Dim value, lo, hi; } InRange;
Index index_operand(DimPool *p, const Node *n, uint32_t k, const Index *at, InRange *in_range);
/* The coordinates of a reduction's operand: `at` of the result, `r` the flat position within the reduced dims. */
Index index_reduced(DimPool *p, const Node *n, const Index *at, Dim r);
Dim   reduced_count(DimPool *p, const Node *n);
bool  node_reduces_axis(const Node *n, uint32_t axis);

/* ---- lowering ------------------------------------------------------------------------------------------------------------ */
typedef struct Lower Lower;
Lower *lower_new(Kernel *k, Arena *a);
void   lower_buffer(Lower *l, const Node *n, uint32_t buffer);            /* n is materialised in this kernel buffer */
bool   lower_buffer_of(const Lower *l, const Node *n, uint32_t *buffer);    /* false: n is not materialised here */
/* Names the value of `n` at `at` (computed by the kind: a reduction's result) for the open scope. */
void   lower_know(Lower *l, const Node *n, const Index *at, KInst *value);
/* Elements of `n` that nobody has named are asked for there. NULL: no more. */
typedef KInst *(*LowerFind)(void *arg, const Index *at, uint32_t lanes);
void   lower_find(Lower *l, const Node *n, LowerFind find, void *arg);
/* From now on `n` is what its own type holds, not the fp32 that it was computed in: it is stored, and others put it together with
 * what this kernel reduces of it. */
void   lower_as_stored(Lower *l, const Node *n);
/* What was lowered inside a scope is forgotten at its end: needed around loops and branches. */
void   lower_scope(Lower *l);
void   lower_scope_end(Lower *l);
void   lower_stream(Lower *l, bool stream);                               /* from now on loads and stores are of data touched once */
void   lower_mask(Lower *l, KInst *mask);                                 /* guards all loads until changed; NULL: none */

/* The value of node `n` at `at`, in its compute type (f32 for f16, bf16): `lanes` values where `at` uses the lane symbol. */
KInst *lower_value(Lower *l, const Node *n, const Index *at, uint32_t lanes);
/* The number of a grouped product's matrix, from that of the group (beyond the last: the last), as a symbol. */
Dim    lower_bind_group(Lower *l, const Node *n, KInst *group);
/* Both masks; NULL stands for "always". */
KInst *mask_and(Kernel *k, KInst *a, KInst *b);
/* value < bound for lanes of `value`, as one scalar where the whole vector agrees */
KInst *lower_below(Lower *l, Dim value, Dim bound, uint32_t lanes);
void   lower_store(Lower *l, uint32_t buffer, const Node *n, const Index *at, KInst *value, KInst *mask);

DType  compute_type(DType t);                                             /* f16, bf16 -> f32; else itself */
KInst *reduce_start(Kernel *k, const Node *n, uint32_t lanes);            /* neutral element of a reduction or scan, compute type */
KInst *reduce_combine(Kernel *k, const Node *n, KInst *acc, KInst *x);
Op     reduce_op(const Node *n);                                          /* the pointwise op that combines */
