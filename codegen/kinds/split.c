/* codegen/kinds/split.c — reductions split over blocks: partial results through memory, the last block finishes.
 *
 * Each block stores its partials, fences, and raises a counter; the block that finds the counter at split - 1 knows that all
 * partials are visible (fence again) and adds them in the order of parts: deterministic, one kernel, no second launch. */
#include "codegen/kind.h"

static KInst *combine_parts(KindBuild *b, const Node *n, uint32_t buffer, uint32_t lanes, Dim outer, Dim outer_count, int64_t split,
                            KInst *leader)
{
    Kernel *k = b->k;
    DimPool *p = k->cx->dims;
    KInst *acc = reduce_start(k, n, lanes);
    KInst *loop = k_loop(k, "part", dim_const(p, 0), dim_const(p, split), 1, &acc, 1, 4);
    Dim at = dim_add(p, dim_mul(p, loop->var, outer_count), outer);
    KInst *part = k_load(k, buffer, lanes > 1 ? dim_add(p, at, kernel_lane(p, lanes)) : at, lanes, leader, 0);
    KInst *next = reduce_combine(k, n, k_carry(k, loop, 0), part);
    k_loop_end(k, loop, &next);
    return k_result(k, loop, 0);
}

void split_finish(KindBuild *b, KInst *const *value, const Index *at, uint32_t lanes, Dim outer, Dim outer_count, Dim part, int64_t split,
                  KInst *leader, Dim counter, Dim counters, void (*finish)(void *arg), void *arg)
{
    Kernel *k = b->k;
    DimPool *p = k->cx->dims;
    const Group *g = b->problem.g;
    uint32_t buffer[16];
    pawl_assert(g->reduces.n <= 16, "too many reductions in a split group");
    for (uint32_t i = 0; split > 1 && i < g->reduces.n; i++) {
        buffer[i] = b->scratch(b->scratch_arg, "partial", value[i]->type.dtype, dim_mul_const(p, outer_count, split), false);
        Dim to = dim_add(p, dim_mul(p, part, outer_count), outer);
        k_store(k, buffer[i], lanes > 1 ? dim_add(p, to, kernel_lane(p, lanes)) : to, value[i], leader);
    }
    if (split == 1) {
        for (uint32_t i = 0; i < g->reduces.n; i++)
            lower_know(b->l, g->reduces.data[i].node, &at[i], value[i]);
        finish(arg);
        return;
    }
    uint32_t count = b->scratch(b->scratch_arg, "arrived", DT_I32, counters, true);
    uint32_t last = kernel_shared(k, "last", DT_I32, 1);
    k_fence(k);
    k_barrier(k);
    KInst *first = k_if(k, k_test(k, b->thread, dim_const(p, 1), 1));
    KInst *old = k_atomic_add(k, count, counter, k_const(k, (KType){DT_I32, 1}, 1));
    k_shared_store(k, last, dim_const(p, 0), old, NULL);
    k_if_end(k, first, NULL, 0);
    k_barrier(k);
    KInst *arrived = k_shared_load(k, last, dim_const(p, 0), 1);
    KInst *is_last = k_op(k, OP_EQ, DT_BOOL, (KInst *[]){arrived, k_const(k, (KType){DT_I32, 1}, (double)(split - 1))}, 2);
    KInst *mine = k_if(k, leader ? k_op(k, OP_AND, DT_BOOL, (KInst *[]){is_last, leader}, 2) : is_last);
    k_fence(k);
    lower_scope(b->l);
    for (uint32_t i = 0; i < g->reduces.n; i++) {
        const Node *n = g->reduces.data[i].node;
        lower_know(b->l, n, &at[i], combine_parts(b, n, buffer[i], lanes, outer, outer_count, split, NULL));
    }
    finish(arg);
    lower_scope_end(b->l);
    k_if_end(k, mine, NULL, 0);
}
