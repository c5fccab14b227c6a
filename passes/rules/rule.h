/* passes/rules/rule.h — rewrite rules: what they are, how they run.
 *
 * A rule file under patterns/ is parsed (parse.c) and compiled (compile.c) to two short straight-line programs, one that matches at
 * a node and one that builds the rewritten form. The interpreter (interpret.c) executes their steps; the generator
 * (generate.c) prints the same steps as C. Both stand behind RuleSet, and both call the natives of natives.def.
 *
 * Programs work on slots of a RuleMatch: values (nodes), lists (variadic operands, families), attributes, ops. Slots start
 * empty; a step that finds its slot filled compares instead of storing, which is what a repeated variable means. */
#pragma once
#include "passes/pass.h"
#include <assert.h>

/* ---- values of expressions ------------------------------------------------------------------------------------------ */
typedef enum { RV_NONE, RV_BOOL, RV_INT, RV_FLOAT, RV_DIM, RV_DIMS, RV_INTS, RV_DTYPE, RV_NODE, RV_NODES } RuleValueKind;
typedef struct {
    RuleValueKind kind;                       /* NONE: undefined, and so the rule does not match */
    uint32_t n;                               /* of dims, ints, nodes */
    union { bool b; int64_t i; double f; Dim dim; const Dim *dims; const int64_t *ints; DType dtype; Node *node;
            Node *const *nodes; };
} RuleValue;

typedef struct { uint64_t w[2]; } OpSet;
static_assert(OP_COUNT <= 128, "an OpSet holds every op");
static inline bool opset_has(OpSet s, Op op) { return s.w[op >> 6] >> (op & 63) & 1; }
static inline void opset_add(OpSet *s, Op op) { s->w[op >> 6] |= 1ull << (op & 63); }
#define OPSET_ALL ((OpSet){{~0ull, ~0ull}})

#define RULE_MAX_VALUES 24
#define RULE_MAX_ATTRS  20
#define RULE_MAX_LISTS  8
#define RULE_MAX_OPS    4
#define RULE_MAX_WAYS   5                     /* commutative nodes of one pattern */
#define RULE_MAX_ARGS   6                     /* of a native or a call */
#define RULE_MAX_ROOTS  4
#define RULE_NO_SLOT    0xff

typedef struct { Node **data; uint32_t n, cap; } NodeList;
typedef struct RuleMatch {
    Node     *value[RULE_MAX_VALUES];
    RuleValue attr[RULE_MAX_ATTRS];
    NodeList  list[RULE_MAX_LISTS];
    Op        op[RULE_MAX_OPS];               /* OP_COUNT: empty */
    uint32_t  index;                          /* i of the element at hand */
    unsigned  way;                            /* bit k: the k-th commutative node is read with its operands swapped */
} RuleMatch;

/* ---- expressions ------------------------------------------------------------------------------------------------------ */
typedef enum {
    REX_INT, REX_FLOAT, REX_DTYPE, REX_INTS,  /* constants */
    REX_VALUE, REX_LIST, REX_ATTR, REX_INDEX, /* slots; the index of the element at hand */
    REX_AT,                                   /* list[args[0]] */
    REX_CALL, REX_BINARY, REX_NEG, REX_ANY    /* ANY: `_`, matches everything */
} RuleExprKind;
typedef enum { RB_ADD, RB_SUB, RB_MUL, RB_DIV, RB_FLOORDIV, RB_MOD, RB_EQ, RB_NE, RB_LT, RB_LE, RB_GT, RB_GE,
               RB_AND, RB_OR } RuleBinary;
typedef enum {
#define NATIVE(name, args, result, about) NATIVE_##name,
#include "passes/rules/natives.def"
#undef NATIVE
    NATIVE_COUNT
} NativeId;

typedef struct RuleExpr {
    RuleExprKind kind;
    Loc      loc;
    uint8_t  slot;
    double   f;
    int64_t  i;
    DType    dtype;
    NativeId native;
    RuleBinary binary;
    const int64_t *ints;
    struct RuleExpr *args[RULE_MAX_ARGS];
    uint32_t n;
} RuleExpr;

/* ---- programs --------------------------------------------------------------------------------------------------------- */
typedef enum {
    STEP_OPERAND,       /* dst = operand k of src, read through `way` when flip is a bit */
    STEP_OPERANDS,      /* list dst = all operands of src */
    STEP_OP,            /* src's op is in `ops`; op slot `a` when not RULE_NO_SLOT */
    STEP_LITERAL,       /* src is the literal `f`, the sign of zero included for floats */
    STEP_ATTR,          /* src's attribute `key` unifies with expr (an empty attribute slot takes it) */
    STEP_DEFAULT,       /* src's attribute `key` is at its default */
    STEP_TYPE,          /* src's dtype is in `dtypes`; its last dims unify with `exprs` (all its dims unless `open`) */
    STEP_LET,           /* attribute slot a = expr */
    STEP_WHERE,         /* expr is true */
    STEP_EACH,          /* match: for every node of list `a`: steps up to `end` on it, then collect */
    STEP_SIBLINGS,      /* match: the root and the other users of its anchor `b`, as far as the steps up to `end` accept them */
    STEP_FIND,          /* match: the first other user of `b` that the steps up to `end` accept: another root */
    STEP_MAKE,          /* build: dst = op(exprs…; attributes) */
    STEP_ALIAS,         /* build: dst = expr (a value, or a number: a literal of the root's type) */
    STEP_REPEAT         /* build: for every index of list `a`: steps up to `end`, then collect */
} RuleStepKind;

typedef struct { uint8_t value, list; } Collect;      /* after an element: list gets value */
typedef struct { AttrKey key; RuleExpr *expr; } StepAttr;
typedef struct Step {
    RuleStepKind kind;
    Loc      loc;
    uint8_t  dst, src, a, b, k;
    int8_t   flip;                            /* bit of `way`, or -1 */
    bool     open, has_shape;
    AttrKey  key;
    OpSet    ops;
    Op       op;                              /* MAKE; OP_NONE: the op in slot a */
    uint16_t dtypes;                          /* bit a DType */
    double   f;
    RuleExpr *expr, **exprs; uint32_t n_exprs;
    StepAttr *attrs; uint32_t n_attrs;
    Collect  collect[RULE_MAX_LISTS]; uint32_t n_collect;
    uint8_t  fresh[RULE_MAX_VALUES]; uint32_t n_fresh;      /* value slots emptied before each element */
    uint32_t end;                             /* nested steps: (this, end) */
} Step;
typedef struct { Step *data; uint32_t n, cap; } Program;

typedef enum { EXACT, REASSOCIATES, RANGE, PRECISION } Exactness;
typedef enum { ALWAYS, MEASURED } Profit;
typedef enum { MEASURE_WEIGHT, MEASURE_OPS, MEASURE_ELEMENTS } MeasureKind;

typedef struct { const char *device, *task, *workload, *date; double ratio, lo, hi; } Evidence;

/* What is known of a rule without its programs; the generated table is made of these. */
typedef struct RuleInfo {
    const char *name, *about, *file;
    uint32_t    line;
    Exactness   exactness;
    NumClass    precision;
    Profit      profit;
    bool        of_matmul;                    /* judged by the class of matmul */
    uint32_t    depth;                        /* of the pattern: how far above a change it may match anew */
    uint32_t    n_roots;
    const Evidence *evidence; uint32_t n_evidence;
} RuleInfo;

/* The pattern as a tree, for checks and instances. */
typedef enum { PAT_VALUE, PAT_NUMBER, PAT_OP, PAT_LIST } PatternKind;
typedef struct Pattern {
    PatternKind kind;
    Loc      loc;
    uint8_t  slot;                            /* VALUE, OP: value slot; LIST: list slot */
    uint8_t  element;                         /* LIST whose elements have a pattern: */
    struct Pattern *each;                     /* … this one, or NULL */
    double   f;
    OpSet    ops; uint8_t op_slot;
    struct Pattern **in; uint32_t n_in;
    StepAttr *attrs; uint32_t n_attrs;
    int8_t   flip;
} Pattern;

typedef struct { uint8_t slot; uint16_t dtypes; bool open, has_shape; RuleExpr **dims; uint32_t n_dims; } VarType;
typedef struct { Str name; const struct YamlNode *values; } TestHint;

typedef struct Rule {
    RuleInfo info;
    Loc      loc;
    Program  match, build;
    Pattern *roots[RULE_MAX_ROOTS]; uint32_t n_roots;     /* one, or several found through a shared operand */
    bool     family;                                      /* the root is %y[i] */
    uint8_t  old_root[RULE_MAX_ROOTS], new_root[RULE_MAX_ROOTS];   /* value slots; list slots of a family */
    uint32_t n_ways;                                      /* number of commutative nodes */
    OpSet    root_ops, operand_ops[2];                    /* the prefilter; under way 0 */
    bool     root_flips;
    RuleExpr **where; uint32_t n_where;
    VarType  *types; uint32_t n_types;
    Str      value_name[RULE_MAX_VALUES], attr_name[RULE_MAX_ATTRS], list_name[RULE_MAX_LISTS];
    uint32_t n_values, n_attrs, n_lists, n_match_values;
    MeasureKind measure; OpSet measure_ops;
    TestHint *hints; uint32_t n_hints;
} Rule;

/* ---- reading and checking --------------------------------------------------------------------------------------------- */
typedef struct { Rule **data; uint32_t n, cap; } RuleList;
bool rules_parse_file(Context *cx, const char *path, RuleList *out);           /* false: diagnosed */
bool rules_parse_source(Context *cx, const Source *s, RuleList *out);
bool rules_parse_dir(Context *cx, const char *dir, RuleList *out);             /* YAML files in it and below, by path */
/* Duplicate or subsumed rules, termination, and, by random instances, types of the two sides; all with places. */
bool rules_check(Context *cx, const RuleList *rules);
bool rules_generate(StrBuf *out, const RuleList *rules);                       /* rules_generated.c */
struct YamlNode;
bool rule_compile(Context *cx, const struct YamlNode *y, Rule **out);

/* ---- running ------------------------------------------------------------------------------------------------------------ */
typedef struct NodeUses NodeUses;
typedef struct RuleRun RuleRun;
typedef struct RuleSet RuleSet;

struct RuleSet {
    const RuleInfo *const *info; uint32_t n;
    bool (*at)(const RuleSet *, RuleRun *, Node *);       /* tries the rules at a node in order; true: one fired */
    const void *impl;
};
typedef struct GeneratedRules {
    const RuleInfo *rules; uint32_t n;
    bool (*at)(RuleRun *, Node *);
} GeneratedRules;
extern const GeneratedRules pawl_generated_rules;

const RuleSet *rules_generated(Arena *a);
const RuleSet *rules_interpreted(Arena *a, const RuleList *rules);
const RuleSet *rules_load(Context *cx, const char *dir);                       /* parse, check, interpret; NULL: diagnosed */
bool rules_check_names(const RuleSet *s, const char *const *names, uint32_t n, Diags *d);

typedef struct { Node *old_node, *new_node; } RuleSite;
typedef struct { uint64_t tried, fired; double seconds; } RuleCount;
struct RuleRun {
    Graph   *g;
    Arena   *scratch;
    const RuleSet *set;
    bool    *enabled;                         /* by rule */
    RuleCount *counts;                        /* by rule */
    NodeUses *uses;
    Vec(uint8_t) frozen;                      /* by node id; extended as nodes are made: rule_frozen */
    Map     *is_mutable;                      /* mutable params */
    bool     timed;
    uint32_t built_from;                      /* id of the first node that the build at hand made */
    /* A rule matched and built its new form; true: taken (counts as fired). */
    bool   (*fire)(RuleRun *, uint32_t rule, const RuleSite *sites, uint32_t n);
    void    *user;                            /* of `fire` */
};
RuleRun *rule_run_new(Graph *g, const RuleSet *set, Arena *scratch);
bool rule_frozen(RuleRun *r, const Node *n);

/* ---- what both engines are made of -------------------------------------------------------------------------------------- */
typedef bool (*StepsFn)(RuleRun *, RuleMatch *, const void *program);
typedef struct EachSpec { uint8_t list, src, anchor; Collect collect[RULE_MAX_LISTS]; uint32_t n_collect;
                          uint8_t fresh[RULE_MAX_VALUES]; uint32_t n_fresh; } EachSpec;
typedef struct TrySpec { uint32_t rule, n_ways; uint8_t root; bool family; uint32_t n_roots;
                         uint8_t old_root[RULE_MAX_ROOTS], new_root[RULE_MAX_ROOTS]; } TrySpec;

bool rule_try(RuleRun *r, const TrySpec *t, StepsFn match, StepsFn build, const void *program, Node *n);
/* one step each; false: no match */
static inline Node *rule_operand(const RuleRun *r, const Node *n, uint32_t k) { return graph_resolve(r->g, n->in[k]); }
static inline Op rule_operand_op(const RuleRun *r, const Node *n, uint32_t k)
{ return k < n->n_in ? rule_operand(r, n, k)->op : OP_NONE; }
bool rule_bind_operand(RuleRun *r, RuleMatch *m, uint8_t dst, uint8_t src, uint32_t k, uint32_t n_in, int flip);
bool rule_bind_operands(RuleRun *r, RuleMatch *m, uint8_t list, uint8_t src);
bool rule_bind_op(RuleMatch *m, uint8_t src, OpSet ops, uint8_t slot);
bool rule_is_literal(const RuleMatch *m, uint8_t src, double v);
bool rule_bind_attr(RuleRun *r, RuleMatch *m, uint8_t src, AttrKey key, uint8_t slot);
bool rule_attr_is(RuleRun *r, const RuleMatch *m, uint8_t src, AttrKey key, RuleValue v);
bool rule_attr_default(const RuleMatch *m, uint8_t src, AttrKey key);
bool rule_type_is(const RuleMatch *m, uint8_t src, uint16_t dtypes, bool has_shape, bool open, uint32_t n_dims);
bool rule_bind_dim(RuleRun *r, RuleMatch *m, uint8_t src, uint32_t k, uint32_t n_dims, uint8_t slot);
bool rule_dim_is(RuleRun *r, const RuleMatch *m, uint8_t src, uint32_t k, uint32_t n_dims, RuleValue v);
bool rule_each(RuleRun *r, RuleMatch *m, const EachSpec *e, StepsFn steps, const void *program);
bool rule_siblings(RuleRun *r, RuleMatch *m, const EachSpec *e, StepsFn steps, const void *program);
bool rule_find(RuleRun *r, RuleMatch *m, const EachSpec *e, StepsFn steps, const void *program);
bool rule_repeat(RuleRun *r, RuleMatch *m, const EachSpec *e, StepsFn steps, const void *program);
/* Builds one node. Numbers among the operands become literals like their neighbour. False: an expression was undefined. */
bool rule_make(RuleRun *r, RuleMatch *m, uint8_t dst, Op op, const RuleValue *in, uint32_t n_in,
               const AttrKey *keys, const RuleValue *attrs, uint32_t n_attrs);
bool rule_alias(RuleRun *r, RuleMatch *m, uint8_t dst, RuleValue v);

RuleValue rule_native(RuleRun *r, NativeId id, const RuleValue *args, uint32_t n);
RuleValue rule_binary(RuleRun *r, RuleBinary op, RuleValue a, RuleValue b);
RuleValue rule_negate(RuleRun *r, RuleValue a);
RuleValue rule_at(const RuleMatch *m, uint8_t list, RuleValue index);
bool rule_same(RuleRun *r, RuleValue a, RuleValue b);
static inline bool rule_true(RuleValue v) { return v.kind == RV_BOOL && v.b; }
static inline RuleValue rv_int(int64_t i) { return (RuleValue){.kind = RV_INT, .i = i}; }
static inline RuleValue rv_float(double f) { return (RuleValue){.kind = RV_FLOAT, .f = f}; }
static inline RuleValue rv_bool(bool b) { return (RuleValue){.kind = RV_BOOL, .b = b}; }
static inline RuleValue rv_dtype(DType t) { return (RuleValue){.kind = RV_DTYPE, .dtype = t}; }
static inline RuleValue rv_dim(Dim d)
{ return dim_is_const(d) ? rv_int(d->value) : (RuleValue){.kind = RV_DIM, .dim = d}; }
static inline RuleValue rv_ints(const int64_t *p, uint32_t n) { return (RuleValue){.kind = RV_INTS, .n = n, .ints = p}; }
static inline RuleValue rv_dims(const Dim *p, uint32_t n) { return (RuleValue){.kind = RV_DIMS, .n = n, .dims = p}; }
static inline RuleValue rv_node(Node *n) { return n ? (RuleValue){.kind = RV_NODE, .node = n} : (RuleValue){0}; }
static inline RuleValue rv_list(const RuleMatch *m, uint8_t list)
{ return (RuleValue){.kind = RV_NODES, .n = m->list[list].n, .nodes = m->list[list].data}; }

/* One row a native: its name, the kinds of its arguments (see natives.def), what it gives. */
typedef struct { const char *name, *args; char result; const char *about; } NativeInfo;
extern const NativeInfo native_table[NATIVE_COUNT];

/* ---- provable facts about values (prove.c) -------------------------------------------------------------------------------- */
bool prove_nonnegative(const RuleRun *r, Node *n);          /* >= 0 or NaN; -0 allowed */
bool prove_no_negative_zero(const RuleRun *r, Node *n);
bool prove_within(const RuleRun *r, Node *n, double lo, double hi);   /* in [lo, hi] or NaN */

/* ---- live uses, kept up to date while nodes are replaced (uses.c) ---------------------------------------------------------- */
NodeUses *uses_new(Graph *g, Arena *a);
void      uses_replace(NodeUses *u, Node *old_node, Node *new_node);    /* after graph_replace; new nodes become live */
uint32_t  uses_count(NodeUses *u, const Node *n);
bool      uses_dead(const NodeUses *u, const Node *n);
/* Live users of n, each once, by id; borrowed until the next call. */
Node    **uses_of(NodeUses *u, const Node *n, uint32_t *count);

/* ---- the interpreter --------------------------------------------------------------------------------------------------------- */
bool interpret_match(RuleRun *r, RuleMatch *m, const void *rule);
bool interpret_build(RuleRun *r, RuleMatch *m, const void *rule);
RuleValue interpret_expr(RuleRun *r, const RuleMatch *m, const RuleExpr *e);
EachSpec  step_each(const Step *s);
TrySpec   rule_try_spec(const Rule *rule, uint32_t index);
bool      rule_prefilter(const Rule *rule, Op root, Op operand0, Op operand1);

/* ---- random instances (instance.c) -------------------------------------------------------------------------------------------- */
typedef struct {
    Graph   *g;                               /* outputs: before0 …, after0 … */
    uint32_t n_roots;
    Tensor **inputs;                          /* by g->inputs */
    double   elements_before, elements_after; /* computed by non-movement nodes, as trees */
} RuleInstance;
/* An instance of the rule's left side that the rule matches, rewritten beside it; NULL when none was found for this seed. The
 * two sides' types may differ: callers compare the outputs. */
RuleInstance *rule_instance(Context *cx, const Rule *rule, uint64_t seed, bool special_values);
