/* ir/eval_residue.c — the domain of residues. Floats go through base/residue.h; integers are exact, as in every domain, and
 * carry the flag of a guess where a float decided them. */
#include "ir/eval_residue.h"
#include "ir/eval_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct ResidueLiteral { double v; Residue r; } Literal;

static ResidueDomain *own(const Domain *d) { return (ResidueDomain *)(uintptr_t)d; }
static Value of_residue(Residue r) { return (Value){.v = r.v, .mod_p = r.p, .mod_q = r.q}; }

static Value integer(int64_t i, uint64_t guess)
{
    Value x = eval_integer(i);
    x.mod_p = guess;
    return x;
}

static bool tied(ResidueDomain *r, bool tie)
{
    if (tie)
        atomic_fetch_add_explicit(&r->ties, 1, memory_order_relaxed);
    return tie;
}

static void decide(ResidueDomain *r, const Node *n, bool outcome)
{
    Decisions *d = &r->decisions[n->id];
    atomic_fetch_add_explicit(outcome ? &d->is_true : &d->is_false, 1, memory_order_relaxed);
}

/* An operand as a residue, whatever its type. */
static Residue operand(const ResidueDomain *r, const Node *n, const Value *x, uint32_t k)
{
    if (dtype_is_float(n->in[k]->type.dtype))
        return value_residue(x[k]);
    Residue i = residue_integer(r->field, x[k].i);
    return x[k].mod_p ? residue_guess(i) : i;
}

/* ---- sources ------------------------------------------------------------------------------------------------------------- */
static int by_bits(const void *a, const void *b) { return memcmp(a, b, sizeof(double)); }

static Residue constant(const ResidueDomain *r, double v)
{
    const Literal *known = v == trunc(v) ? NULL : bsearch(&v, r->literal, r->n_literals, sizeof *r->literal, by_bits);
    return known ? known->r : residue_constant(r->field, v);
}

static Value residue_literal(const Domain *d, DType t, double v)
{
    return dtype_is_float(t) ? of_residue(constant(own(d), v)) : domain_fp64.literal(d, t, v);
}

static Value residue_input(const Domain *d, DType t, const void *element)
{
    const ResidueDomain *r = own(d);
    if (!dtype_is_float(t))
        return integer(eval_source(t, element).i, 0);
    for (uint32_t i = 0; i < r->g->inputs.n; i++) {
        const char *from = r->inputs[i]->data, *at = element;
        if (at < from || at >= from + tensor_bytes(r->inputs[i]))
            continue;
        const GraphInput *in = &r->g->inputs.data[i];
        bool positive = in->dist_stated && in->dist.kind == DIST_UNIFORM && in->dist.a >= 0;
        return of_residue(residue_draw(r->field, r->key[i], (uint64_t)(at - from) / dtype_bytes(t), positive ? RESIDUE_POSITIVE : RESIDUE_ANY_SIGN));
    }
    return of_residue(constant(r, dtype_load(t, element)));          /* a constant tensor */
}

/* ---- pointwise ------------------------------------------------------------------------------------------------------------ */
#define OPS(X) \
    X(EXP) X(EXP2) X(EXPM1) X(LOG) X(LOG2) X(LOG10) X(LOG1P) X(SQRT) X(RSQRT) X(SIN) X(COS) X(TAN) X(ASIN) X(ACOS) X(ATAN) X(SINH) X(COSH) \
    X(TANH) X(ASINH) X(ACOSH) X(ATANH) X(ERF) X(ERFC)
static const struct { bool is; ResidueFunction fn; } functions[OP_COUNT] = {
#define X(E) [OP_##E] = {true, RF_##E},
    OPS(X)
#undef X
};

static bool op_compares(Op op) { return op == OP_EQ || op == OP_NE || op == OP_LT || op == OP_LE || op == OP_GT || op == OP_GE; }

bool residue_domain_decides(const Node *n)
{
    return (op_compares(n->op) || n->op == OP_MAXIMUM || n->op == OP_MINIMUM) && dtype_is_float(n->in[0]->type.dtype);
}

static Value comparison(ResidueDomain *r, const Node *n, const Value *x)
{
    bool tie;
    int order = residue_order(operand(r, n, x, 0), operand(r, n, x, 1), &tie);
    static const struct { Op op; bool less, equal, more, nan; } table[] = {
        {OP_EQ, 0, 1, 0, 0}, {OP_NE, 1, 0, 1, 1}, {OP_LT, 1, 0, 0, 0}, {OP_LE, 1, 1, 0, 0}, {OP_GT, 0, 0, 1, 0}, {OP_GE, 0, 1, 1, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].op == n->op) {
            bool yes = order == 2 ? table[i].nan : order < 0 ? table[i].less : order ? table[i].more : table[i].equal;
            decide(r, n, yes);
            return integer(yes, tied(r, tie) ? RESIDUE_GUESS : 0);
        }
    return integer(0, 0);
}

/* Predicates, and casts to integers: the double says. */
static Value to_integer(ResidueDomain *r, const Node *n, const Value *x)
{
    DType t = n->type.dtype, from = n->in[0]->type.dtype;
    uint64_t guess = 0;
    for (uint32_t k = 0; k < n->n_in; k++)
        if (!dtype_is_float(n->in[k]->type.dtype))
            guess |= x[k].mod_p;
    if (eval_op_is_integer(n))
        return integer(eval_op_integer(n->op, t, from, x), guess);
    if (op_compares(n->op))
        return comparison(r, n, x);
    if (n->op == OP_CAST && dtype_is_float(from) && t != DT_BOOL) {
        Residue whole = residue_round(r->field, RESIDUE_TRUNC, value_residue(x[0]));
        guess |= tied(r, (whole.p & RESIDUE_GUESS) != 0) ? RESIDUE_GUESS : 0;
    }
    if (n->op == OP_CAST)
        return integer(eval_cast(from, t, x[0], false).i, guess);
    return integer(eval_cast(DT_F64, t, (Value){.v = eval_op_real(n->op, x[0].v, x[1].v, x[2].v)}, false).i, guess);
}

static Residue sign_of(const ResidueField *f, Residue a)
{
    if (a.v != a.v)
        return (Residue){a.v, RESIDUE_NONE, RESIDUE_NONE};
    bool zero = a.p == 0 || a.q == 0;
    return residue_integer(f, zero ? 0 : (a.v > 0) - (a.v < 0));
}

/* a - n b, where n is a / b rounded */
static Residue modulo(const ResidueField *f, ResidueRounding how, Residue a, Residue b)
{
    Residue n = residue_round(f, how, residue_div(f, a, b)), r = residue_sub(f, a, residue_mul(f, n, b));
    r.v = fmod(a.v, b.v);
    if (how == RESIDUE_FLOOR && r.v != 0 && (r.v < 0) != (b.v < 0))
        r.v += b.v;
    return r;
}

static Residue extreme(ResidueDomain *r, const Node *n, Residue a, Residue b)
{
    bool tie;
    Residue out = n->op == OP_MAXIMUM ? residue_max(a, b, &tie) : residue_min(a, b, &tie);
    int order = residue_order(a, b, &tie);
    tied(r, tie);
    if (order == 1 || order == -1)
        decide(r, n, (order == 1) == (n->op == OP_MAXIMUM));
    return out;
}

static Residue to_float(ResidueDomain *r, const Node *n, const Value *x)
{
    const ResidueField *f = r->field;
    Residue a = n->op == OP_WHERE ? (Residue){0} : operand(r, n, x, 0), b = n->n_in > 1 ? operand(r, n, x, 1) : (Residue){0};
    if (functions[n->op].is)
        return residue_function(f, functions[n->op].fn, a);
    switch ((int)n->op) {
    case OP_CAST:       return a;
    case OP_ABS:        return a.v < 0 ? residue_neg(f, a) : a;
    case OP_NEG:        return residue_neg(f, a);
    case OP_SIGN:       return sign_of(f, a);
    case OP_CEIL:       return residue_round(f, RESIDUE_CEIL, a);
    case OP_FLOOR:      return residue_round(f, RESIDUE_FLOOR, a);
    case OP_ROUND:      return residue_round(f, RESIDUE_NEAREST, a);
    case OP_TRUNC:      return residue_round(f, RESIDUE_TRUNC, a);
    case OP_POW2_FLOOR: {
        Residue size = a.v < 0 ? residue_neg(f, a) : a;
        return residue_hash2(f, (uint64_t)n->op, size, b, eval_op_real(n->op, a.v, 0, 0));
    }
    case OP_RECIPROCAL: return residue_reciprocal(f, a);
    case OP_ADD:        return residue_add(f, a, b);
    case OP_SUB:        return residue_sub(f, a, b);
    case OP_MUL:        return residue_mul(f, a, b);
    case OP_DIV:        return residue_div(f, a, b);
    case OP_POW:        return residue_pow(f, a, b);
    case OP_FMOD:       return modulo(f, RESIDUE_TRUNC, a, b);
    case OP_REMAINDER:  return modulo(f, RESIDUE_FLOOR, a, b);
    case OP_MAXIMUM: case OP_MINIMUM: return extreme(r, n, a, b);
    case OP_WHERE: {
        Residue taken = operand(r, n, x, x[0].i ? 1 : 2);
        return x[0].mod_p ? residue_guess(taken) : taken;
    }
    default:                                               /* atan2, and what is yet to come */
        return residue_hash2(f, (uint64_t)n->op, a, b, eval_op_real(n->op, a.v, b.v, 0));
    }
}

static Value residue_apply(const Domain *d, const Node *n, const Value *x)
{
    ResidueDomain *r = own(d);
    return dtype_is_float(n->type.dtype) ? of_residue(to_float(r, n, x)) : to_integer(r, n, x);
}

/* ---- sums, products, extremes ----------------------------------------------------------------------------------------------- */
static Value residue_start(const Domain *d, const Node *n)
{
    Value v = domain_fp64.start(d, n);
    return dtype_is_float(n->type.dtype) ? of_residue(residue_constant(own(d)->field, v.v)) : v;
}

static Value residue_combine(const Domain *d, const Node *n, Value acc, Value x)
{
    ResidueDomain *r = own(d);
    bool tie = false;
    if (!dtype_is_float(n->type.dtype)) {
        uint64_t guess = acc.mod_p | (dtype_is_float(n->in[0]->type.dtype) ? 0 : x.mod_p);
        return integer(domain_fp64.combine(d, n, acc, x).i, guess);
    }
    Residue a = value_residue(acc), b = value_residue(x), out;
    switch ((int)n->op) {
    case OP_REDUCE_PROD: case OP_CUMPROD: out = residue_mul(r->field, a, b); break;
    case OP_REDUCE_MAX: case OP_CUMMAX:   out = residue_max(a, b, &tie); break;
    case OP_REDUCE_MIN: case OP_CUMMIN:   out = residue_min(a, b, &tie); break;
    default:                              out = residue_add(r->field, a, b); break;
    }
    tied(r, tie);
    return of_residue(out);
}

static Value residue_multiply(const Domain *d, const Node *n, Value a, Value b)
{
    if (dtype_is_float(n->type.dtype))
        return of_residue(residue_mul(own(d)->field, value_residue(a), value_residue(b)));
    return integer(domain_fp64.multiply(d, n, a, b).i, a.mod_p | b.mod_p);
}

static Value residue_finish(const Domain *d, const Node *n, Value acc, int64_t count)
{
    (void)d; (void)n; (void)count;
    return acc;
}

/* ---- the domain --------------------------------------------------------------------------------------------------------------- */
static void add_literal(ResidueDomain *r, double v)
{
    if (v != trunc(v))
        r->literal[r->n_literals++] = (Literal){v, residue_constant(r->field, v)};
}

static void snap_literals(ResidueDomain *r, Arena *a)
{
    r->literal = arena_new_array(a, Literal, r->g->nodes.n + 1);
    for (uint32_t i = 0; i < r->g->nodes.n; i++) {
        const Node *n = r->g->nodes.data[i];
        const Attr *v = n ? node_attr(n, n->op == OP_PAD ? ATTR_FILL : ATTR_VALUE) : NULL;
        if (v && attr_table[v->key].kind == AK_FLOAT)
            add_literal(r, v->f);
    }
    qsort(r->literal, r->n_literals, sizeof *r->literal, by_bits);
}

ResidueDomain *residue_domain_new(const Graph *g, const ResidueField *f, Tensor *const *inputs, uint64_t seed, Arena *a)
{
    ResidueDomain *r = arena_new_of(a, ResidueDomain);
    r->domain = (Domain){
        "residue", residue_input, residue_literal, residue_apply, residue_start, residue_combine, residue_combine, residue_multiply,
        residue_finish, DOT_VALUES,
    };
    r->field = f;
    r->g = g;
    r->inputs = inputs;
    r->key = arena_new_array(a, uint64_t, g->inputs.n + 1);
    for (uint32_t i = 0; i < g->inputs.n; i++)
        r->key[i] = philox_key(seed, g->inputs.data[i].name);
    r->decisions = arena_new_array(a, Decisions, g->nodes.n + 1);
    snap_literals(r, a);
    return r;
}

ResidueVerdict value_compare(DType t, Value a, Value b)
{
    if (dtype_is_float(t))
        return residue_compare(value_residue(a), value_residue(b));
    if (a.i == b.i)
        return a.mod_p == b.mod_p ? RESIDUE_EQUAL : RESIDUE_UNSURE;
    return a.mod_p | b.mod_p ? RESIDUE_UNSURE : RESIDUE_DIFFERENT;
}
