/* tests/codegen/random_internal.h — between random_graph.c (values and lines) and random_ops.c (what is done to them). */
#pragma once
#include "base/dtype.h"
#include "tests/codegen/random_graph.h"

enum { MOST = 3000 /* elements of a value, about */ };

typedef struct { int a, b; } RDim;                       /* a * S + b */
typedef struct {
    DType t;
    int rank;
    RDim d[4];
    double lo, hi;
    bool exact, whole;                                   /* the same in every domain; of integers only */
    int narrow;                                          /* roundings to f16 or bf16 behind it */
} Val;

typedef struct Gen {
    Arena *a;
    uint64_t state;
    Val v[RANDOM_LINES];
    int n;
    RandomGraph *out;
} Gen;

#define NAME(i) (g->out->line[i].name)
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))
static inline bool is_float(const Val *v) { return dtype_is_float(v->t); }

uint64_t rnd(Gen *g);
int below(Gen *g, int n);
bool percent(Gen *g, int n);
double literal(Gen *g, double lo, double hi);
double neat(double x);

RDim rdim(int n);
bool rdim_same(RDim x, RDim y);
bool rdim_is(RDim x, int n);
int rdim_most(const Gen *g, RDim x);
double shape_most(const Gen *g, const Val *v);
RDim any_dim(Gen *g);
const char *rdim_text(Gen *g, RDim x);
const char *shape_text_of(Gen *g, const RDim *d, int rank);

Val any_type(Gen *g);
Val like(const Val *v);
Val inexact(Val v, double lo, double hi);
int pick(Gen *g);
int fit(Gen *g, int v, double lo, double hi);
int emit(Gen *g, Val v, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int declare(Gen *g, Val v, bool param);

void random_op(Gen *g);                                  /* tries to add a node of some op; may add none, or several */
/* random_movement.c */
void op_reshape(Gen *g);
void op_permute(Gen *g);
void op_expand(Gen *g);
void op_slice(Gen *g);
void op_pad(Gen *g);
void op_flip(Gen *g);
void op_concat(Gen *g);
void op_repeat(Gen *g);
void op_gather(Gen *g);
void op_source(Gen *g);
