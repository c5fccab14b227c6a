/* ir/attr.h — attribute lists as graph_add wants them: validated, sorted by key, without those at their default.
 * Private to ir/. */
#pragma once
#include "ir/graph.h"

typedef struct { Attr a[MAX_OP_ATTRS]; uint32_t n; int64_t ints[MAX_RANK]; } AttrList;

/* Checks `attrs` against what `op` takes, makes axes non-negative (and sorted, for reductions and flip), drops defaults.
 * The result borrows dims from `attrs`. False: diagnosed. */
bool attrs_normalise(Context *cx, Op op, Node *const *in, uint32_t n_in, const Attr *attrs, uint32_t n_attrs,
                     Loc loc, AttrList *out);
bool attrs_equal(const Attr *a, const Attr *b, uint32_t n);
uint64_t attrs_hash(const Attr *a, uint32_t n, uint64_t seed);
const Attr *attrs_copy(Arena *arena, const Attr *a, uint32_t n);      /* deep */

/* Texts for messages, in the context's arena. */
const char *type_text(Context *cx, const Type *t);
const char *shape_text(Context *cx, const Shape *s);
const char *range_facts(Context *cx, const Dim *d, uint32_t n);       /* " (S in [2, 8])", or "" without symbols */
void shape_print(StrBuf *b, const Shape *s);
/* NumPy broadcasting of two shapes: equal dims, or a literal 1. */
bool shape_broadcast(const Shape *a, const Shape *b, DimPool *p, Shape *out);
bool op_wants_float(Op op);
bool op_wants_bool(Op op);
/* Sum of the absolute coefficients of a dim: arithmetic on dims overflows only where this is huge. */
double dim_magnitude(Dim d);
bool shape_check(Context *cx, const Shape *s, Loc loc);               /* no dim is negative, no more than 2^60 elements */
