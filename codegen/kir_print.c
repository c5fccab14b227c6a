/* codegen/kir_print.c — the text form of kernel IR: what `--dump-after=kernels` and failing tests show.
 *
 *     kernel swiglu  grid(768) block(256)
 *       in gate: bf16[1572864] align 16, up: bf16[1572864] align 16   out y: bf16[1572864] align 16
 *       %0 = load.8 gate[block_x*2048 + thread*8 + lane8]  : bf16x8
 */
#include "codegen/emit/gemm.h"

static void print_dim_or(StrBuf *b, Dim d, const char *absent)
{
    if (d)
        dim_print(b, d);
    else
        strbuf_add(b, absent);
}

static void print_type(StrBuf *b, KType t)
{
    strbuf_printf(b, "  : %s", dtype_name(t.dtype));
    if (t.lanes > 1)
        strbuf_printf(b, "x%u", t.lanes);
}

static void print_args(StrBuf *b, KInst *const *args, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        strbuf_printf(b, "%s%%%u", i ? ", " : " ", args[i]->id);
}

static void print_number(StrBuf *b, const KInst *n)
{
    if (dtype_is_float(n->type.dtype))
        strbuf_double(b, n->f);
    else
        strbuf_printf(b, "%lld", (long long)n->i);
}

static const char *buffer_name(const Kernel *k, const KInst *n)
{
    bool shared = n->kind == K_SHARED_LOAD || n->kind == K_SHARED_STORE || n->kind == K_CLUSTER_STORE;
    return shared ? k->shared.data[n->buffer].name : k->buffers.data[n->buffer].name;
}

static void print_access(StrBuf *b, const Kernel *k, const KInst *n, const char *verb, uint32_t lanes)
{
    strbuf_add(b, verb);
    if (lanes > 1)
        strbuf_printf(b, ".%u", lanes);
    strbuf_printf(b, " %s[", buffer_name(k, n));
    dim_print(b, n->index);
    strbuf_char(b, ']');
}

static void print_block(StrBuf *b, const Kernel *k, const KBlock *block, int depth);

static void print_yield(StrBuf *b, KInst *const *v, uint32_t n, int depth)
{
    if (!n)
        return;
    strbuf_printf(b, "%*syield", depth * 2, "");
    print_args(b, v, n);
    strbuf_char(b, '\n');
}

static void print_loop(StrBuf *b, const Kernel *k, const KInst *n, int depth)
{
    strbuf_printf(b, "%%%u = for ", n->id);
    dim_print(b, n->var);
    strbuf_add(b, " in ");
    print_dim_or(b, n->index, "?");
    strbuf_add(b, " .. ");
    print_dim_or(b, n->bound, "?");
    if (n->i != 1)
        strbuf_printf(b, " step %lld", (long long)n->i);
    if (n->unroll < 0)
        strbuf_add(b, " unroll");
    else if (n->unroll)
        strbuf_printf(b, " unroll %d", n->unroll);
    if (n->n_args) {
        strbuf_add(b, " carry");
        print_args(b, n->args, n->n_args);
    }
    strbuf_add(b, " {\n");
    print_block(b, k, &n->body, depth + 1);
    print_yield(b, n->yield, n->n_yield, depth + 1);
    strbuf_printf(b, "%*s}", depth * 2, "");
}

static void print_if(StrBuf *b, const Kernel *k, const KInst *n, int depth)
{
    strbuf_printf(b, "%%%u = if %%%u {\n", n->id, n->args[0]->id);
    print_block(b, k, &n->body, depth + 1);
    print_yield(b, n->yield, n->n_yield, depth + 1);
    if (n->other.n || n->n_yield) {
        strbuf_printf(b, "%*s} else {\n", depth * 2, "");
        print_block(b, k, &n->other, depth + 1);
        print_yield(b, n->yield_other, n->n_yield, depth + 1);
    }
    strbuf_printf(b, "%*s}", depth * 2, "");
}

/* What stands after `%id = `, or the whole line of an instruction without a result. */
static void print_body(StrBuf *b, const Kernel *k, const KInst *n, int depth)
{
    switch (n->kind) {
    case K_CONST:        strbuf_add(b, "const "); print_number(b, n); return;
    case K_INDEX:        strbuf_add(b, "index "); dim_print(b, n->index); return;
    case K_TEST:
        strbuf_add(b, "test "); dim_print(b, n->index); strbuf_add(b, " < "); dim_print(b, n->bound);
        return;
    case K_LOAD:
        print_access(b, k, n, "load", n->type.lanes);
        if (n->n_args) {
            strbuf_printf(b, " mask %%%u fill ", n->args[0]->id);
            print_number(b, n);
        }
        strbuf_add(b, n->stream ? " stream" : "");
        return;
    case K_LOAD_RAW:
        print_access(b, k, n, "load_raw", 1);
        if (n->n_args)
            strbuf_printf(b, " mask %%%u", n->args[0]->id);
        strbuf_add(b, n->stream ? " stream" : "");
        return;
    case K_SHARED_LOAD:  print_access(b, k, n, "shared_load", n->type.lanes); return;
    case K_STORE: case K_SHARED_STORE:
        print_access(b, k, n, n->kind == K_STORE ? "store" : "shared_store", n->args[0]->type.lanes);
        strbuf_printf(b, " = %%%u", n->args[0]->id);
        if (n->n_args > 1)
            strbuf_printf(b, " mask %%%u", n->args[1]->id);
        strbuf_add(b, n->stream ? " stream" : "");
        return;
    case K_CLUSTER_STORE:
        print_access(b, k, n, "cluster_store", n->args[0]->type.lanes);
        strbuf_add(b, " of block ");
        dim_print(b, n->bound);
        strbuf_printf(b, " = %%%u", n->args[0]->id);
        if (n->n_args > 1)
            strbuf_printf(b, " mask %%%u", n->args[1]->id);
        return;
    case K_ATOMIC_ADD:
        print_access(b, k, n, "atomic_add", 1);
        print_args(b, n->args, n->n_args);
        return;
    case K_OP:           strbuf_add(b, op_name(n->op)); print_args(b, n->args, n->n_args); return;
    case K_CAST:         strbuf_add(b, "cast"); print_args(b, n->args, 1); return;
    case K_SPLAT:        strbuf_add(b, "splat"); print_args(b, n->args, 1); return;
    case K_LANE:         strbuf_add(b, "lane"); print_args(b, n->args, 1); strbuf_printf(b, "[%lld]", (long long)n->i); return;
    case K_LANE_REDUCE:  strbuf_printf(b, "reduce_vector %s", op_name(n->op)); print_args(b, n->args, 1); return;
    case K_SHUFFLE_XOR:  strbuf_add(b, "shuffle_xor"); print_args(b, n->args, 1); strbuf_printf(b, ", %lld", (long long)n->i); return;
    case K_MMA:          strbuf_printf(b, "mma %s", dtype_name((DType)n->i)); print_args(b, n->args, n->n_args); return;
    case K_BIND:         strbuf_add(b, "bind "); dim_print(b, n->var); strbuf_add(b, " ="); print_args(b, n->args, 1); return;
    case K_LOOP:         print_loop(b, k, n, depth); return;
    case K_IF:           print_if(b, k, n, depth); return;
    case K_CARRY:        strbuf_printf(b, "carry %lld of %%%u", (long long)n->i, n->of->id); return;
    case K_RESULT:       strbuf_printf(b, "result %lld of %%%u", (long long)n->i, n->of->id); return;
    case K_BARRIER:      strbuf_add(b, "barrier"); return;
    case K_CLUSTER_ARRIVE: strbuf_add(b, n->i ? "cluster_arrive" : "cluster_arrive relaxed"); return;
    case K_CLUSTER_WAIT: strbuf_add(b, "cluster_wait"); return;
    case K_FENCE:        strbuf_add(b, "fence"); return;
    case K_COPY_ASYNC:
        strbuf_printf(b, "copy_async %s[", k->shared.data[n->i].name);
        dim_print(b, n->bound);
        print_access(b, k, n, "] =", 1);
        if (n->n_args)
            strbuf_printf(b, " mask %%%u", n->args[0]->id);
        strbuf_add(b, n->stream ? " stream" : "");
        return;
    case K_WARP_SYNC:    strbuf_add(b, "warp_sync"); return;
    case K_COPY_COMMIT:  strbuf_add(b, "copy_commit"); return;
    case K_COPY_WAIT:    strbuf_printf(b, "copy_wait %lld", (long long)n->i); return;
    case K_SUM:          strbuf_printf(b, "sum %lld", (long long)n->i); return;
    case K_BULK_STORE:
        strbuf_printf(b, "bulk_store map %lld at", (long long)n->i);
        print_args(b, n->args, n->n_args);
        strbuf_printf(b, " = %s[", k->shared.data[n->buffer].name);
        dim_print(b, n->bound);
        strbuf_add(b, "]");
        return;
    case K_BULK_FENCE:   strbuf_add(b, "bulk_fence"); return;
    case K_BULK_COMMIT:  strbuf_add(b, "bulk_commit"); return;
    case K_BULK_WAIT:    strbuf_printf(b, "bulk_wait %lld", (long long)n->i); return;
    case K_WAIT:         strbuf_add(b, "wait"); return;
    case K_LAUNCH_NEXT:  strbuf_add(b, "launch_next"); return;
    }
}

static void print_block(StrBuf *b, const Kernel *k, const KBlock *block, int depth)
{
    for (uint32_t i = 0; i < block->n; i++) {
        const KInst *n = block->data[i];
        strbuf_printf(b, "%*s", depth * 2, "");
        if (n->type.lanes)
            strbuf_printf(b, "%%%u = ", n->id);
        print_body(b, k, n, depth);
        if (n->type.lanes)
            print_type(b, n->type);
        strbuf_char(b, '\n');
    }
}

static void print_buffers(StrBuf *b, const Kernel *k)
{
    static const char *const role[4] = {"unused", "in", "out", "inout"};
    for (uint32_t r = 0; r < 4; r++) {
        bool first = true;
        for (uint32_t i = 0; i < k->buffers.n; i++) {
            const KBuffer *x = &k->buffers.data[i];
            if ((x->read ? 1u : 0) + (x->written ? 2u : 0) != r)
                continue;
            strbuf_add(b, first ? "  " : ", ");
            if (first)
                strbuf_printf(b, "%s ", role[r]);
            strbuf_printf(b, "%s: %s[", x->name, dtype_name(x->dtype));
            print_dim_or(b, x->count, "?");
            strbuf_printf(b, "] align %u", x->align);
            first = false;
        }
        if (!first)
            strbuf_char(b, '\n');
    }
    for (uint32_t i = 0; i < k->shared.n; i++)
        strbuf_printf(b, k->shared.data[i].swizzle ? "  shared %s: %s[%u] swizzle %u\n" : "  shared %s: %s[%u]\n", k->shared.data[i].name,
                      dtype_name(k->shared.data[i].dtype), k->shared.data[i].count, k->shared.data[i].swizzle);
}

static void print_maps(StrBuf *b, const Kernel *k)
{
    for (uint32_t i = 0; i < k->maps.n; i++) {
        const PlanTensorMap *m = &k->maps.data[i];
        strbuf_printf(b, "  map %u: %s %s[", i, k->buffers.data[m->buffer].name, dtype_name(m->dtype));
        for (uint32_t d = m->rank; d-- > 0;) {
            dim_print(b, m->dims[d]);
            strbuf_add(b, d ? ", " : "] box [");
        }
        for (uint32_t d = m->rank; d-- > 0;)
            strbuf_printf(b, "%u%s", m->box[d], d ? ", " : "]");
        strbuf_printf(b, " swizzle %u\n", m->swizzle);
    }
}

/* As `3xf16 4096 x 4096 x 4096, tile 128 x 128 x 32, 6 stages, …`: what the body below belongs to. */
static void print_gemm(StrBuf *b, const Kernel *k)
{
    const KGemm *g = k->gemm;
    const Dim size[] = {g->m, g->n, g->k, g->batch};
    strbuf_printf(b, "  gemm %s%s ", gemm_format_name(g->format), g->wgmma ? "" : " by mma");
    for (size_t i = 0; i < 4; i++) {
        strbuf_add(b, i == 3 ? " batch " : i ? " x " : "");
        dim_print(b, size[i]);
    }
    if (g->groups)
        strbuf_printf(b, " groups %lld", (long long)g->groups->value);
    strbuf_printf(b, ", tile %u x %u x %u, %u stages, raster %u, %u x %u columns a piece", g->bm, g->bn, g->bk, g->stages, g->raster,
                  g->parts, g->width);
    if (gemm_splits(g) > 1)
        strbuf_printf(b, ", k by %u blocks", gemm_splits(g));
    strbuf_printf(b, "%s%s%s\n", g->a_mn ? ", A along m" : "", g->b_mn ? ", B along n" : "", g->bulk ? ", bulk stores" : "");
}

void kernel_print(StrBuf *b, const Kernel *k)
{
    uint32_t dims = dim_is(k->grid[2], 1) ? dim_is(k->grid[1], 1) ? 1 : 2 : 3;
    strbuf_printf(b, "kernel %s  grid(", k->name);
    for (uint32_t d = 0; d < dims; d++) {
        strbuf_add(b, d ? ", " : "");
        dim_print(b, k->grid[d]);
    }
    strbuf_printf(b, ") block(%u)%s", k->threads, k->host ? " host" : "");
    if (k->cluster > 1)
        strbuf_printf(b, " cluster(%u)", k->cluster);
    strbuf_char(b, '\n');
    print_buffers(b, k);
    print_maps(b, k);
    if (k->gemm)
        print_gemm(b, k);
    if (k->scalars.n) {
        strbuf_add(b, "  scalars");
        for (uint32_t i = 0; i < k->scalars.n; i++)
            strbuf_printf(b, "%s%s", i ? ", " : " ", k->scalars.data[i]->name);
        strbuf_char(b, '\n');
    }
    print_block(b, k, &k->body, 1);
}
