/* codegen/kinds/library.c — a matrix product by cuBLASLt, with the epilogues that it has: bias, relu, tanh-gelu, residual. Whatever
 * else the group does with the product runs behind it as a kernel of ours (plan_build.c), so the library is always a candidate.
 *
 * Schedule: algorithm (rank in the library's own list of heuristics for this problem). */
#include "codegen/kinds/product.h"

enum { ALGORITHMS = 16 };

static bool accepts(const KindProblem *p, const char **why_not)
{
    const Node *n = p->g->matmul;
    MatrixView v;
    if (!n || p->m->target != TARGET_CUDA || !p->o->use_library) {
        *why_not = n ? "no matrix library on this target" : "not a matrix product";
        return false;
    }
    DType t = n->in[0]->type.dtype;
    if (n->op != OP_MATMUL || !dtype_is_float(t) || n->in[1]->type.dtype != t || !product_view(p->cx, n, 0, &v) || !product_view(p->cx, n, 1, &v)) {
        *why_not = "the library has no such product";
        return false;
    }
    return true;
}

static uint32_t space(const KindProblem *p, Schedule *out, uint32_t max)
{
    uint32_t n = 0;
    (void)p;
    for (; n < ALGORITHMS && n < max; n++) {
        out[n] = (Schedule){.kind = "library"};
        schedule_set(&out[n], "algorithm", n);
    }
    return n;
}

static double cost(const KindProblem *p, const Schedule *s)
{
    (void)s;
    Dim m, n, k, batch;
    matmul_extents(p->cx->dims, p->g->matmul, &m, &n, &k, &batch);
    double flops = 2.0 * (double)dim_typical(m) * (double)dim_typical(n) * (double)dim_typical(k) * (double)dim_typical(batch);
    DType t = p->g->matmul->in[0]->type.dtype;
    bool tf32 = p->o->numerics.matmul == NUM_TF32;
    double rate = dtype_bytes(t) == 2 ? p->m->flops_bf16 : t == DT_F32 && tf32 ? p->m->flops_tf32 : p->m->flops_fma;
    double bytes = (double)dim_typical(p->g->bytes_read) + (double)dim_typical(p->g->bytes_written);
    double arithmetic = flops / (rate * 0.97), memory = bytes / (p->m->copy_bandwidth * 0.8), behind = 0;
    LibraryEpilogue e;
    if (!library_epilogue(p->cx, p->g, &e)) {                 /* the product goes through memory to a kernel behind */
        double product = (double)dim_typical(m) * (double)dim_typical(n) * (double)dim_typical(batch) * dtype_bytes(p->g->matmul->type.dtype);
        behind = (product + (double)dim_typical(p->g->bytes_written)) / p->m->copy_bandwidth + p->m->launch_seconds;
    }
    return (arithmetic > memory ? arithmetic : memory) + 2e-6 + p->m->launch_seconds + behind;
}

static bool call(const KindProblem *p, const Schedule *s, PlanMatmul *out, uint32_t (*buffer_of)(void *arg, const Node *n), void *arg)
{
    DimPool *d = p->cx->dims;
    const Node *n = p->g->matmul;
    MatrixView a, b;
    bool known = product_view(p->cx, n, 0, &a) && product_view(p->cx, n, 1, &b);
    pawl_assert(known, "the operands were accepted before");
    LibraryEpilogue e;
    bool whole = library_epilogue(p->cx, p->g, &e);
    const Node *result = whole ? p->g->outputs.data[0].node : n;
    if (!whole)
        e = (LibraryEpilogue){.epilogue = EPI_NONE};
    Dim m, nn, k, batch, zero = dim_const(d, 0);
    matmul_extents(d, n, &m, &nn, &k, &batch);
    *out = (PlanMatmul){
        .dtype = n->in[0]->type.dtype, .out_dtype = result->type.dtype, .m = m, .n = nn, .k = k, .batch = batch,
        .trans_a = a.trans != (node_int(n, ATTR_TRANS_A, 0) != 0), .trans_b = b.trans != (node_int(n, ATTR_TRANS_B, 0) != 0),
        .a = buffer_of(arg, a.base), .b = buffer_of(arg, b.base), .c = UINT32_MAX, .bias = UINT32_MAX, .workspace = UINT32_MAX,
        .d = buffer_of(arg, result), .a_offset = a.offset, .b_offset = b.offset, .c_offset = zero, .d_offset = zero,
        .lda = a.ld, .ldb = b.ld, .ldc = nn, .ldd = nn, .stride_a = a.stride_batch, .stride_b = b.stride_batch,
        .stride_c = dim_mul(d, m, nn), .stride_d = dim_mul(d, m, nn), .epilogue = e.epilogue,
        .tf32 = p->o->numerics.matmul == NUM_TF32, .algorithm = (int32_t)schedule_get(s, "algorithm", 0), .workspace_bytes = zero,
    };
    if (e.bias)
        out->bias = buffer_of(arg, e.bias);
    if (e.residual)
        out->c = buffer_of(arg, e.residual);
    return true;
}

const KernelKind kind_library = {.name = "library", .members = true, .accepts = accepts, .space = space, .cost = cost, .call = call};
