/* ir/graph.h — the graph: a hash-consed DAG of nodes in one arena.
 * Equal pure nodes are one node, so CSE is free and equality is `==`. A node's Loc, name and origin are not part of its hash. */
#pragma once
#include "base/context.h"
#include "base/dtype.h"
#include "base/map.h"
#include "base/philox.h"
#include "base/vec.h"

typedef enum {
#define OP(E, name, cls, arity, ref, props) OP_##E,
#include "ir/ops.def"
#undef OP
    OP_COUNT,
    OP_NONE = OP_COUNT
} Op;

typedef enum {
    CLASS_SOURCE, CLASS_MOVEMENT, CLASS_POINTWISE, CLASS_CAST, CLASS_REDUCE, CLASS_SCAN, CLASS_CONTRACT, CLASS_GATHER, CLASS_CHOICE
} OpClass;

typedef enum {
    OP_COMMUTES = 1 << 0, OP_ASSOCIATES = 1 << 1, OP_LINEAR_A = 1 << 2, OP_LINEAR_B = 1 << 3, OP_BILINEAR = 1 << 4,
    OP_INCREASING = 1 << 5, OP_DECREASING = 1 << 6, OP_EVEN = 1 << 7, OP_ODD = 1 << 8, OP_POSITIVE = 1 << 9,
    OP_NONNEGATIVE = 1 << 10, OP_ZERO_PRESERVING = 1 << 11, OP_IDEMPOTENT = 1 << 12, OP_IDEMPOTENT_UNARY = 1 << 13,
    OP_INVOLUTION = 1 << 14, OP_INVOLUTION_REAL = 1 << 15, OP_PREDICATE = 1 << 16 /* result is bool */,
    OP_INTEGER = 1 << 17 /* integer or bool operands only */, OP_LINEAR_IN_A_ONLY = 1 << 18
} OpProp;

typedef struct { const char *name; OpClass cls; int arity; uint32_t props; const char *reference; } OpInfo;
extern const OpInfo op_table[OP_COUNT];
Op op_find(const char *name);                       /* OP_NONE when unknown */
static inline const char *op_name(Op op) { return op_table[op].name; }
static inline OpClass op_class(Op op) { return op_table[op].cls; }
static inline bool op_has(Op op, uint32_t props) { return (op_table[op].props & props) != 0; }

/* ---- attributes ------------------------------------------------------------------------------------------------- */
typedef enum {
#define ATTR(E, name, kind) ATTR_##E,
#include "ir/attrs.def"
#undef ATTR
    ATTR_COUNT
} AttrKey;
typedef enum { AK_INT, AK_FLOAT, AK_DIM, AK_DIMS, AK_INTS, AK_STR, AK_DTYPE } AttrKind;
typedef struct {
    AttrKey key;
    uint32_t n;                                     /* entries of dims, ints */
    union { int64_t i; double f; Dim dim; const Dim *dims; const int64_t *ints; Str s; DType dtype; };
} Attr;
typedef struct { const char *name; AttrKind kind; } AttrInfo;
extern const AttrInfo attr_table[ATTR_COUNT];
bool attr_find(const char *name, AttrKey *out);

/* The attributes an op takes, in their natural (positional) order. */
#define MAX_OP_ATTRS 4
typedef struct { AttrKey key; bool required; } OpAttr;
typedef struct { uint32_t n; OpAttr a[MAX_OP_ATTRS]; } OpAttrs;
const OpAttrs *op_attrs(Op op);

/* ---- types ------------------------------------------------------------------------------------------------------- */
#define MAX_RANK 8
typedef struct { uint32_t rank; Dim d[MAX_RANK]; } Shape;
typedef struct { DType dtype; Shape shape; } Type;
bool shape_equal(const Shape *a, const Shape *b);
bool type_equal(const Type *a, const Type *b);
Dim  shape_count(DimPool *p, const Shape *s);
void type_print(StrBuf *b, const Type *t);          /* bf16[B, S, 2048] */

/* ---- nodes --------------------------------------------------------------------------------------------------------- */
typedef struct Node Node;
struct Node {
    Op op;
    uint16_t n_attrs;
    uint32_t n_in;
    uint32_t id;                                    /* order of creation: operands have smaller ids */
    Type type;
    Node **in;
    const Attr *attrs;                              /* sorted by key */
    const Tensor *data;                             /* OP_TENSOR */
    Loc loc;                                        /* line of the task or model it came from */
    Str name;                                       /* the user's name, or NULL */
    Str origin;                                     /* composite it was inlined from ("rms_norm"), or rule that made it ("rule:…"); or NULL */
};
const Attr *node_attr(const Node *n, AttrKey key);               /* NULL when at its default */
int64_t node_int(const Node *n, AttrKey key, int64_t otherwise);
Dim     node_dim(const Node *n, AttrKey key);                    /* NULL when absent */
static inline uint32_t node_rank(const Node *n) { return n->type.shape.rank; }
bool    node_literal(const Node *n, double *v);                  /* literal, seen through movement and cast of literals */
/* What a split_matmul has of operand 0 or 1; NULL: it has none. */
typedef struct { Node *hi, *lo, *inv, *exact; } SplitOperand;
SplitOperand split_operand(const Node *n, uint32_t side);
static inline bool node_is_const(const Node *n, double *v) { return node_literal(n, v); }

typedef struct {                                    /* what the task says about an input or param */
    Node *node; Str name; Dist dist; bool dist_stated, is_mutable;
    const char *file;                               /* safetensors file, or NULL: seeded */
    int64_t live_lo, live_hi;                       /* integer inputs: range of values, hi excluded, for gather bounds; 0, 0: unknown */
} GraphInput;

typedef struct { Str name; Node *node; } GraphOutput;

typedef struct Graph {
    Context *cx;
    Arena *arena;                                   /* nodes live here: of the graph, or the context's */
    Str name;
    Vec(Node *) nodes;                              /* by id; may hold dead ones until graph_compact */
    Vec(GraphInput) inputs;                         /* inputs and params in declaration order */
    Vec(GraphOutput) outputs;
    InternTable *intern;
    Map *forward;                                   /* union-find of replaced nodes: old -> new */
} Graph;

Graph *graph_new(Context *cx, Str name);
void   graph_free(Graph *g);

/* The only constructor of nodes. Checks arity, attributes and types, infers the type, simplifies nothing, returns the existing
 * node when there is an equal one. NULL: diagnosed at `loc`. Attributes may come in any order; defaults are dropped; axes
 * are normalised. */
Node *graph_add(Graph *g, Op op, Node *const *in, uint32_t n_in, const Attr *attrs, uint32_t n_attrs, Loc loc);
Node *graph_input(Graph *g, Op op /* OP_INPUT or OP_PARAM */, const char *name, Type t, Loc loc);
Node *graph_const(Graph *g, DType t, double value);
Node *graph_tensor(Graph *g, const char *name, const Tensor *data);
/* conveniences over graph_add: never fail for well-typed operands (pawl_assert) */
Node *graph_unary(Graph *g, Op op, Node *a);
Node *graph_binary(Graph *g, Op op, Node *a, Node *b);           /* broadcasts by inserting expand */
Node *graph_cast(Graph *g, Node *a, DType t);                    /* a itself when already of t */
Node *graph_reshape(Graph *g, Node *a, const Shape *s);
Node *graph_expand(Graph *g, Node *a, const Shape *s);
Node *graph_permute(Graph *g, Node *a, const int64_t *perm);
Node *graph_slice(Graph *g, Node *a, int axis, Dim start, Dim size, int64_t step);
Node *graph_reduce(Graph *g, Op op, Node *a, const int64_t *axes, uint32_t n, bool keepdims);
Node *graph_concat(Graph *g, Node *const *in, uint32_t n, int axis);
Node *graph_matmul(Graph *g, Node *a, Node *b, bool trans_a, bool trans_b);
Node *graph_copy_with(Graph *g, const Node *n, Node *const *in); /* same op and attributes, other operands */

void  graph_output(Graph *g, const char *name, Node *n);
/* Forwarding: every later look-up of `old` through graph_resolve gives `new_node` (same type, asserted). Uses are rewritten
 * by graph_rebuild, once, at the end of a pass: linear. */
void  graph_replace(Graph *g, Node *old, Node *new_node);
Node *graph_resolve(const Graph *g, Node *n);
bool  graph_rebuild(Graph *g);                      /* apply forwards everywhere; true when anything changed */
bool  graph_compact(Graph *g);                      /* drop dead nodes, renumber topologically; true when anything went */

/* Live nodes, operands first, deterministic, without recursion; array in `a`. */
Node **graph_order(const Graph *g, Arena *a, uint32_t *n);
/* Users of every node: users[id] … as offsets into one array (CSR); outputs count as one use without a node. */
typedef struct { uint32_t *start; Node **user; uint32_t *n_uses; } Uses;
Uses graph_uses(const Graph *g, Arena *a);

/* A new graph with symbols replaced (workload specialisation). Checks ranges. NULL: diagnosed. */
Graph *graph_specialise(const Graph *g, const DimValue *values, uint32_t n);
/* True for nodes that depend on no input (frozen params, constants): computed at compile time into weights. bitmap by id. */
bool *graph_frozen(const Graph *g, Arena *a);

bool  graph_verify(const Graph *g, Diags *d);       /* types re-inferred and equal, acyclic, ids ordered, attributes complete */
bool  infer_type(Context *cx, Op op, Node *const *in, uint32_t n_in, const Attr *attrs, uint32_t n_attrs, Loc loc, Type *out);

void  graph_print(StrBuf *b, const Graph *g);       /* text form, see ir/text.h; round-trips */
char *graph_text(Arena *a, const Graph *g);
uint64_t graph_hash(const Graph *g);                /* of the text form without locations and user names */
