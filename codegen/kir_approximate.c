/* codegen/kir_approximate.c — what kernels of the f16 and bf16 classes compute in another way than it is written: with fewer
 * instructions, to within a few ulp of fp32. The builder asks here before it adds an operation. */
#include "codegen/kir.h"

static const double LOG2E = 1.44269504088896340736;

static bool is_op(const KInst *n, Op op) { return n->kind == K_OP && n->op == op; }

static bool is_number(const KInst *n, double *v)
{
    while (n->kind == K_SPLAT)
        n = n->args[0];
    *v = n->f;
    return n->kind == K_CONST;
}

static bool is_one(const KInst *n)
{
    double v;
    return is_number(n, &v) && v == 1;
}

static KInst *number(Kernel *k, double v) { return k_const(k, (KType){DT_F32, 1}, v); }

/* u times a number, which is multiplied with the one that u is a product with. */
static KInst *scaled(Kernel *k, KInst *u, double by)
{
    double v;
    for (uint32_t i = 0; is_op(u, OP_MUL) && i < 2; i++)
        if (is_number(u->args[i], &v))
            return k_op2(k, OP_MUL, u->args[1 - i], number(k, v * by));
    return k_op2(k, OP_MUL, u, number(k, by));
}

/* What the sums lose to the left of zero is not lost here: 1 + tanh(u) = 2 / (1 + 2^(-2 log2(e) u)), 1 + erf(u) = erfc(-u). The latter is
 * short in CUDA C alone, and products have no other form. */
static KInst *one_plus(Kernel *k, const KInst *of)
{
    if (is_op(of, OP_TANH)) {
        KInst *power = k_op1(k, OP_EXP2, scaled(k, of->args[0], -2 * LOG2E));
        return k_op2(k, OP_DIV, number(k, 2), k_op2(k, OP_ADD, power, number(k, 1)));
    }
    return is_op(of, OP_ERF) && k->gemm ? k_op1(k, OP_ERFC, scaled(k, of->args[0], -1)) : NULL;
}

/* (x / 2) (2 / y) = x / y */
static KInst *half_of_twice(Kernel *k, const KInst *half, const KInst *twice)
{
    double h, t;
    for (uint32_t i = 0; is_op(half, OP_MUL) && is_op(twice, OP_DIV) && i < 2; i++)
        if (is_number(half->args[i], &h) && is_number(twice->args[0], &t) && h == 0.5 && t == 2)
            return k_op2(k, OP_DIV, half->args[1 - i], twice->args[1]);
    return NULL;
}

KInst *k_approximated(Kernel *k, Op op, DType t, KInst *const *args)
{
    KInst *other = NULL;
    if (!k->approximate || t != DT_F32)
        return NULL;
    for (uint32_t i = 0; i < 2 && !other && op == OP_ADD; i++)
        other = is_one(args[1 - i]) ? one_plus(k, args[i]) : NULL;
    for (uint32_t i = 0; i < 2 && !other && op == OP_MUL; i++)
        other = half_of_twice(k, args[i], args[1 - i]);
    return other;
}

bool k_at_least_one(const KInst *n)
{
    for (uint32_t i = 0; is_op(n, OP_ADD) && i < 2; i++)
        if ((is_op(n->args[i], OP_EXP) || is_op(n->args[i], OP_EXP2)) && is_one(n->args[1 - i]))
            return true;
    return false;
}
