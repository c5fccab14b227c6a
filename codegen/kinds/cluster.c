/* codegen/kinds/cluster.c — reductions that the blocks of a cluster share: each computes a part of what is reduced, pushes its result
 * into the shared memory of all of them, and adds up what it was given, in the order of the blocks.
 *
 * A block's shared memory may be written once it has begun, and until it ends. So all blocks arrive as they begin and wait for each other
 * before the first push only, which comes after the loads; and after the last meeting nobody touches what is another's. */
#include "codegen/kind.h"

Cluster cluster_begin(KindBuild *b, int64_t blocks)
{
    DimPool *p = b->k->cx->dims;
    if (blocks > 1) {
        b->k->cluster = (uint32_t)blocks;
        k_cluster_arrive(b->k, false);
    }
    return (Cluster){.blocks = (uint32_t)blocks, .rank = dim_mod(p, b->block, dim_const(p, blocks)), .first = true};
}

void cluster_reduce_all(KindBuild *b, Cluster *c, const Node *const *reduce, KInst **v, uint32_t n, Dim slot, uint32_t slots, Dim who,
                        uint32_t whos)
{
    Kernel *k = b->k;
    DimPool *p = k->cx->dims;
    uint32_t shared[BLOCK_REDUCES];
    if (c->blocks == 1)
        return;
    pawl_assert(n <= BLOCK_REDUCES, "%u reductions at once", n);
    if (c->first)
        k_cluster_wait(k);
    c->first = false;
    for (uint32_t i = 0; i < n; i++) {
        shared[i] = kernel_shared(k, "of_blocks", v[i]->type.dtype, c->blocks * slots);
        for (uint32_t j = 0; j < c->blocks; j += whos) {
            Dim to = dim_add_const(p, who, j);
            Dim at = dim_add(p, dim_mul_const(p, c->rank, slots), slot);
            k_cluster_store(k, shared[i], to, at, v[i], k_test(k, to, dim_const(p, c->blocks), 1));
        }
    }
    k_cluster_arrive(k, true);
    k_cluster_wait(k);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t lanes = v[i]->type.lanes;
        v[i] = k_shared_load(k, shared[i], slot, lanes);
        for (uint32_t j = 1; j < c->blocks; j++)
            v[i] = reduce_combine(k, reduce[i], v[i], k_shared_load(k, shared[i], dim_add_const(p, slot, (int64_t)j * slots), lanes));
    }
}
