/* codegen/group_facts.c — what grouping knows of every node before it begins: frozen, literal, stored in any case, near a product,
 * and what it costs to recompute it. */
#include "codegen/group_form.h"

float group_op_cost(const Node *n)
{
    static const unsigned char dear[OP_COUNT] = {
        [OP_EXP] = 12, [OP_EXP2] = 12, [OP_EXPM1] = 12, [OP_LOG] = 12, [OP_LOG2] = 12, [OP_LOG10] = 12, [OP_LOG1P] = 12,
        [OP_SIN] = 12, [OP_COS] = 12, [OP_TANH] = 12, [OP_ERF] = 12, [OP_ERFC] = 12, [OP_SINH] = 12, [OP_COSH] = 12,
        [OP_ATAN] = 12, [OP_ASINH] = 12, [OP_ACOSH] = 12, [OP_ATANH] = 12, [OP_POW] = 24, [OP_TAN] = 24, [OP_ASIN] = 24,
        [OP_ACOS] = 24, [OP_ATAN2] = 24, [OP_FMOD] = 24, [OP_REMAINDER] = 24, [OP_DIV] = 4, [OP_SQRT] = 4, [OP_RSQRT] = 4,
        [OP_RECIPROCAL] = 4,
    };
    if (op_class(n->op) != CLASS_POINTWISE && op_class(n->op) != CLASS_CAST)
        return 0;
    return dear[n->op] ? dear[n->op] : 1;
}

static bool inline_frozen(const Former *f, const Node *n)
{
    /* values made of literals only, and pure views of weights, are cheaper to index than to store */
    return f->literal[n->id] || (op_class(n->op) == CLASS_MOVEMENT && n->op != OP_CONCAT && n->op != OP_PAD);
}

bool group_from_memory(const Former *f, const Node *n)
{
    return n->op == OP_INPUT || n->op == OP_PARAM || n->op == OP_TENSOR || (f->frozen[n->id] && !inline_frozen(f, n));
}

/* What depends on a symbol is no weight, even where it depends on no input. */
static bool has_symbols(const Node *n)
{
    for (uint32_t i = 0; i < node_rank(n); i++)
        if (!dim_is_const(n->type.shape.d[i]))
            return true;
    for (uint32_t k = 0; k < n->n_attrs; k++) {
        const Attr *a = &n->attrs[k];
        if (attr_table[a->key].kind == AK_DIM && !dim_is_const(a->dim))
            return true;
        for (uint32_t i = 0; attr_table[a->key].kind == AK_DIMS && i < a->n; i++)
            if (!dim_is_const(a->dims[i]))
                return true;
    }
    return false;
}

static bool stays_near(Former *f, const Node *n)
{
    OpClass c = op_class(n->op);
    if (c == CLASS_CONTRACT) {
        f->product[n->id] = n->id + 1;
        return f->o->fuse && !f->frozen[n->id] && !matmul_not_gemm(f->cx, n, f->o);
    }
    uint32_t youngest = 0;
    bool near = true;
    for (uint32_t k = 0; k < n->n_in; k++)
        youngest = f->product[n->in[k]->id] > youngest ? f->product[n->in[k]->id] : youngest;
    for (uint32_t k = 0; k < n->n_in; k++)
        near &= f->product[n->in[k]->id] != youngest || f->near_product[n->in[k]->id];
    f->product[n->id] = youngest;
    if (c == CLASS_REDUCE) {
        Dim count = reduced_count(f->p, n);
        near &= dim_is_const(count) && count->value <= LONGEST_PIECE;
    }
    bool keeps = c == CLASS_REDUCE || c == CLASS_POINTWISE || c == CLASS_CAST || n->op == OP_RESHAPE || n->op == OP_EXPAND;
    return youngest && near && keeps;
}

void group_facts(Former *f, Node **order, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        Node *x = order[i];
        f->frozen[x->id] &= !has_symbols(x);
        for (uint32_t k = 0; k < x->n_in; k++)
            f->frozen[x->id] &= f->frozen[x->in[k]->id];
        bool literal = x->op == OP_CONST || x->op == OP_IOTA || (x->n_in && op_class(x->op) != CLASS_SOURCE);
        float cost = group_op_cost(x);
        for (uint32_t k = 0; k < x->n_in; k++) {
            literal &= f->literal[x->in[k]->id];
            cost += f->cost[x->in[k]->id];
        }
        f->literal[x->id] = literal;
        bool leaf = op_class(x->op) == CLASS_CONTRACT || op_class(x->op) == CLASS_REDUCE || op_class(x->op) == CLASS_SCAN;
        f->cost[x->id] = leaf || group_from_memory(f, x) ? 0 : cost < 1e6f ? cost : 1e6f;
        f->near_product[x->id] = stays_near(f, x);
    }
    for (uint32_t i = 0; i < f->graph->outputs.n; i++) {
        Node *x = f->graph->outputs.data[i].node;
        f->must[x->id] = true;
    }
}
