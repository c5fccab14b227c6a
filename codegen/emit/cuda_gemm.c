/* codegen/emit/cuda_gemm.c — a kernel with `gemm`: the tensor-core template (gemm_sm90.cuh, gemm_sm80.cuh) instantiated, the loop over
 * tiles, and the kernel's body where a piece of the product has been staged. */
#include "codegen/emit/cuda_print.h"
#include "codegen/emit/gemm.h"

extern const char codegen_emit_gemm_common_cuh[], codegen_emit_gemm_wgmma_cuh[], codegen_emit_gemm_sm90_cuh[], codegen_emit_gemm_sm80_cuh[];

void cuda_gemm_templates(StrBuf *out, Kernel *const *k, uint32_t n)
{
    bool wgmma = false, mma = false;
    for (uint32_t i = 0; i < n; i++) {
        wgmma = wgmma || (k[i]->gemm && k[i]->gemm->wgmma);
        mma = mma || (k[i]->gemm && !k[i]->gemm->wgmma);
    }
    if (wgmma || mma)
        strbuf_add(out, codegen_emit_gemm_common_cuh);
    if (wgmma) {
        strbuf_add(out, codegen_emit_gemm_wgmma_cuh);
        strbuf_add(out, codegen_emit_gemm_sm90_cuh);
    }
    if (mma)
        strbuf_add(out, codegen_emit_gemm_sm80_cuh);
}

static const char *const format_names[] = {
    [GEMM_BF16] = "GEMM_BF16", [GEMM_F16] = "GEMM_F16", [GEMM_TF32] = "GEMM_TF32",
    [GEMM_F16_SCALED] = "GEMM_F16_SCALED", [GEMM_3XF16] = "GEMM_3XF16", [GEMM_3XTF32] = "GEMM_3XTF32",
};

static const char *yes(bool b) { return b ? "true" : "false"; }

static const char *number(Cuda *c, Dim d) { return d ? cu_dim(c, d).text : "0"; }

static void set(Cuda *c, const char *field, Dim d)
{
    if (d && !dim_is(d, 0))
        cu_line(c, "problem.%s = %s;", field, cu_dim(c, d).text);
}

static void set_matrix(Cuda *c, const char *field, const KMatrix *x)
{
    if (x->buffer != UINT32_MAX)
        cu_line(c, "problem.%s = {%s, %s, %s, %s, %s};", field, c->buffers[x->buffer], number(c, x->offset), number(c, x->ld),
                number(c, x->stride_batch), yes(x->trans));
}

static void set_scale(Cuda *c, const char *side, uint32_t buffer, Dim stride)
{
    cu_line(c, "problem.inv_%s = %s;", side, c->buffers[buffer]);
    set(c, arena_printf(c->arena, "stride_inv_%s", side), stride);
}

/* The sizes are constants where the plan's are: the compiler then divides by them without dividing. */
static void print_fields(Cuda *c)
{
    const KGemm *g = c->k->gemm;
    set(c, "m", g->m);
    set(c, "n", g->n);
    set(c, "k", g->k);
    set(c, "batch", g->batch);
    for (uint32_t i = 0; i < g->parts; i++)
        set(c, arena_printf(c->arena, "part_start[%u]", i), g->part_start[i]);
    if (!g->wgmma || (gemm_scaled(g->format) && g->exact_b.buffer == UINT32_MAX))
        set_matrix(c, "b", &g->b);
    if (gemm_terms(g->format) == 3 && (!g->wgmma || g->exact_b.buffer == UINT32_MAX))
        set_matrix(c, "b_lo", &g->b_lo);
    if (!g->wgmma)
        set_matrix(c, "a", &g->a);
    if (!g->wgmma && gemm_terms(g->format) == 3)
        set_matrix(c, "a_lo", &g->a_lo);
    if (g->groups) {
        set(c, "groups", g->groups);
        cu_line(c, "problem.ends = %s;", c->buffers[g->ends]);
        cu_line(c, "problem.wide_ends = %s;", yes(c->k->buffers.data[g->ends].dtype == DT_I64));
        cu_line(c, "problem.table = %s;", c->shared[g->table]);
    }
    if (!gemm_scaled(g->format))
        return;
    set_scale(c, "a", g->inv_a, g->stride_inv_a);
    set_scale(c, "b", g->inv_b, g->stride_inv_b);
    set(c, "k_exact", g->k_exact);
    set_matrix(c, "exact_a", &g->exact_a);
    set_matrix(c, "exact_b", &g->exact_b);
    if (g->exact_b.buffer == UINT32_MAX)
        cu_line(c, "problem.from_pieces = true;");
}

/* Offsets and strides may pass 2^31 where the body's indices do not: in 64 bits, over the parameters as they came (NAME_: cuda.c). */
static void print_problem(Cuda *c)
{
    bool wide = c->wide;
    uint32_t n = c->k->scalars.n;
    const char **names = arena_new_array(c->arena, const char *, n + 1);
    for (uint32_t i = 0; !wide && i < n; i++) {
        names[i] = map_get_ptr(c->dims, c->k->scalars.data[i]);
        map_set_ptr(c->dims, c->k->scalars.data[i], arena_printf(c->arena, "%s_", names[i]));
    }
    c->wide = true;
    cu_line(c, "GemmProblem problem = {};");
    print_fields(c);
    c->wide = wide;
    for (uint32_t i = 0; !wide && i < n; i++)
        map_set_ptr(c->dims, c->k->scalars.data[i], names[i]);
}

static const char *map_arguments(Cuda *c)
{
    const KGemm *g = c->k->gemm;
    bool three = gemm_terms(g->format) == 3;
    return arena_printf(c->arena, "&%s, &%s, %s%s, %s%s", c->maps[g->map_a], c->maps[g->map_b], three ? "&" : "",
                        three ? c->maps[g->map_a_lo] : "nullptr", three ? "&" : "", three ? c->maps[g->map_b_lo] : "nullptr");
}

/* One of the body's symbols, from the template's figure for it. */
static void bind(Cuda *c, Dim d, const char *wanted, const char *value)
{
    if (dim_is_const(d))
        return;
    const char *name = cu_unique(c, wanted);
    cu_line(c, "const %s %s = %s;", cu_index_type(c), name, value);
    cu_name_dim(c, d, name);
}

/* Until what the kernel reads is there; of that, first where its groups are. */
static void print_wait(Cuda *c)
{
    const KGemm *g = c->k->gemm;
    if (c->k->waits)
        cu_line(c, "after_predecessors();");
    if (g->groups)
        cu_line(c, "Gemm::Tiles::find_groups(problem, %s);", c->shared[g->table]);
}

/* The template on wgmma, up to where a warp multiplies. */
static void print_sm90(Cuda *c)
{
    const KGemm *g = c->k->gemm;
    const char *maps = map_arguments(c);
    cu_line(c, "using Gemm = GemmSm90<%s, %u, %u, %u, %u, %u, %u, %u, %u, %u, %s, %s, %s, %s, %s>;", format_names[g->format], g->bm, g->bn, g->bk,
            g->stages, g->cluster, gemm_splits(g), g->raster, g->parts, g->width, yes(g->pingpong), yes(g->a_mn), yes(g->b_mn), yes(g->a_batched),
            yes(g->b_batched));
    print_problem(c);
    cu_line(c, "Gemm gemm(gemm_memory, %s);", maps);
    print_wait(c);
    cu_line(c, "if (threadIdx.x < 128) {");
    cu_line(c, "    gemm.produce(problem, %s);", maps);
    cu_line(c, "} else {");
    c->depth++;
    cu_line(c, "gemm.consume();");
}

/* The one on mma.sync: all warps multiply. */
static void print_sm80(Cuda *c)
{
    const KGemm *g = c->k->gemm;
    uint32_t down, across;
    gemm_warps(g, &down, &across);
    cu_line(c, "using Gemm = GemmSm80<%s, %u, %u, %u, %u, %u, %u, %u, %u, %u, %s, %s>;", format_names[g->format], g->bm, g->bn, g->bk,
            g->stages, down, across, g->raster, g->parts, g->width, yes(g->a_mn), yes(g->b_mn));
    print_problem(c);
    cu_line(c, "Gemm gemm(gemm_memory);");
    print_wait(c);
    cu_line(c, "gemm.begin(problem);");
}

/* Branches of the body depend on the piece's columns. A column that one lane gives to all is known to be the same in a warp; the
 * compiler then has no way for lanes that part, on which each shuffle waits for the others (and which took most of the registers). */
static const char *column(const Cuda *c)
{
    for (uint32_t i = 0; i < c->k->body.n; i++)
        if (c->k->body.data[i]->kind == K_IF)
            return "__shfl_sync(0xffffffffu, gemm.col, 0)";
    return "gemm.col";
}

static void print_tiles(Cuda *c)
{
    const KGemm *g = c->k->gemm;
    cu_line(c, "const int rounds = Gemm::rounds(problem);");
    cu_line(c, "for (int round = 0; round < rounds; round++) {");
    c->depth++;
    cu_line(c, "if (!gemm.multiply(problem, round, rounds))");
    cu_line(c, "    break;");
    cu_line(c, "#pragma unroll 1");
    if (gemm_splits(g) > 1)
        cu_line(c, "for (int piece = gemm.split; piece < Gemm::N_PIECES; piece += %u) {", gemm_splits(g));
    else
        cu_line(c, "for (int piece = 0; piece < Gemm::N_PIECES; piece++) {");
    c->depth++;
    if (g->bulk)
        cu_line(c, "if (!gemm.take(problem, piece))");
    else
        cu_line(c, "if (!gemm.stage(problem, piece, %s))", c->shared[g->stage]);
    cu_line(c, "    continue;");
    bind(c, g->row, "row", "gemm.row");
    bind(c, g->col, "col", column(c));
    bind(c, g->at_batch, "batch", "gemm.batch");
    bind(c, g->warp, "warp", "gemm.warp");
    bind(c, g->lane, "lane", "gemm.lane");
    if (g->bulk)
        bind(c, g->turn, "turn", "gemm.turn");
    if (g->groups)
        bind(c, g->end, "end", "gemm.at.end");
    cu_print_block(c, &c->k->body);
    cu_flush(c);
    if (!g->bulk)
        cu_line(c, "__syncwarp();");
    for (int i = 0; i < 2; i++) {
        c->depth--;
        cu_line(c, "}");
    }
    if (g->bulk)
        cu_line(c, "bulk_wait<0>();");
}

void cu_print_gemm(Cuda *c)
{
    const KGemm *g = c->k->gemm;
    cu_line(c, "// bm %u, bn %u, bk %u, %u stages, cluster %u, splits %u, raster %u, %u x %u columns a piece%s", g->bm, g->bn, g->bk, g->stages,
            g->cluster, gemm_splits(g), g->raster, g->parts, g->width, g->pingpong ? ", tiles in turn" : "");
    if (g->wgmma)
        print_sm90(c);
    else
        print_sm80(c);
    cu_line(c, "static_assert(Gemm::PIPELINE_BYTES == %u, \"sizes as in gemm.c\");", gemm_pipeline_bytes(g));
    print_tiles(c);
    if (!g->wgmma)
        return;
    c->depth--;
    cu_line(c, "}");
    cu_line(c, "gemm.end();");
}
