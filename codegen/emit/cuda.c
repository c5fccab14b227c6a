/* codegen/emit/cuda.c — kernel IR as CUDA C that people read: kernels, loops and ifs; cuda_print.h says how the parts share the work. */
#include "codegen/emit/cuda_print.h"
#include "codegen/emit/gemm.h"

/* ---- between threads ---------------------------------------------------------------------------------------------------- */

static void print_shuffle(Cuda *c, const KInst *n)
{
    const KInst *v = n->args[0];
    bool small = dtype_bytes(n->type.dtype) == 1;
    const char *type = cuda_register_type(n->type.dtype), *cast = small ? arena_printf(c->arena, "(%s)", type) : "";
    if (n->type.lanes == 1) {
        cu_declare(c, n, (Expr){arena_printf(c->arena, "%s__shfl_xor_sync(0xffffffffu, %s%s, %lld)", cast, small ? "(int)" : "",
                                          cuda_in(c->arena, cu_scalar(c, v), small ? PREC_UNARY : PREC_CHOOSE), (long long)n->i), PREC_PRIMARY});
        return;
    }
    const char *name = cu_value_name(c, n);
    cu_line(c, "%s %s[%u];", type, name, n->type.lanes);
    cu_open_lanes(c, n->type.lanes, false);
    cu_line(c, "%s[l] = %s__shfl_xor_sync(0xffffffffu, %s, %lld);", name, cast, cu_lane_of(c, v, "l").text, (long long)n->i);
    cu_close_lanes(c, false);
    c->array[n->id] = name;
}

/* ---- control flow ------------------------------------------------------------------------------------------------------- */

/* Declares a variable for value i of a loop or if; NULL init: uninitialised. */
static const char *declare_variable(Cuda *c, const KInst *like, const KInst *init, const char *wanted)
{
    const char *name = cu_unique(c, wanted), *type = cuda_register_type(like->type.dtype);
    if (like->type.lanes == 1) {
        if (init)
            cu_line(c, "%s %s = %s;", type, name, cu_scalar(c, init).text);
        else
            cu_line(c, "%s %s;", type, name);
        return name;
    }
    cu_line(c, "%s %s[%u];", type, name, like->type.lanes);
    if (!init)
        return name;
    if (c->array[init->id]) {
        cu_open_lanes(c, like->type.lanes, false);
        cu_line(c, "%s[l] = %s[l];", name, c->array[init->id]);
        cu_close_lanes(c, false);
    } else {
        cu_line(c, "fill_lanes(%s, %s);", name, c->expr[init->id].text);
    }
    return name;
}

/* A carried vector that becomes another carried vector must be read before it is overwritten. */
static void copy_swapped(Cuda *c, const KInst *loop)
{
    for (uint32_t i = 0; i < loop->n_yield; i++) {
        const KInst *v = loop->yield[i];
        if (v->kind != K_CARRY || v->of != loop || v->i == i || v->type.lanes == 1)
            continue;
        c->array[v->id] = declare_variable(c, v, v, arena_printf(c->arena, "next_%s", loop->name ? loop->name : "v"));
    }
}

/* Sets the variables of a loop or if to the values all at once: scalars through copies where there are several values, vectors
 * that are still held back right in their own unrolled loop. */
static void assign(Cuda *c, const KInst *of, KInst *const *values)
{
    const char *const *names = c->carry[of->id];
    uint32_t n = of->n_yield;
    const char **text = arena_new_array(c->arena, const char *, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        if (values[i]->type.lanes > 1)
            continue;
        text[i] = cu_scalar(c, values[i]).text;
        if (n > 1 && strcmp(text[i], names[i]) != 0) {
            const char *copy = cu_unique(c, arena_printf(c->arena, "next_%s", names[i]));
            cu_line(c, "const %s %s = %s;", cuda_register_type(values[i]->type.dtype), copy, text[i]);
            text[i] = copy;
        }
    }
    if (of->kind == K_LOOP)
        copy_swapped(c, of);
    for (uint32_t i = 0; i < n; i++)
        if (cu_in_group(c, values[i]) && c->uses[values[i]->id] == 1)
            c->into[values[i]->id] = names[i];
    cu_flush(c);
    for (uint32_t i = 0; i < n; i++) {
        const KInst *v = values[i];
        bool same = v->kind == K_CARRY && v->of == of && v->i == i;
        if (v->type.lanes == 1 || c->into[v->id] || same)
            continue;
        cu_open_lanes(c, v->type.lanes, false);
        cu_line(c, "%s[l] = %s;", names[i], cu_lane_of(c, v, "l").text);
        cu_close_lanes(c, false);
    }
    for (uint32_t i = 0; i < n; i++)
        if (values[i]->type.lanes == 1 && strcmp(text[i], names[i]) != 0)
            cu_line(c, "%s = %s;", names[i], text[i]);
}

static void print_loop(Cuda *c, const KInst *n)
{
    const char **names = arena_new_array(c->arena, const char *, n->n_args + 1);
    for (uint32_t i = 0; i < n->n_args; i++) {
        const char *wanted = n->args[i]->name ? n->args[i]->name : n->yield[i]->name ? n->yield[i]->name : "acc";
        names[i] = declare_variable(c, n->args[i], n->args[i], wanted);
    }
    c->carry[n->id] = names;
    uint32_t scope = c->journal.n;
    const char *var = cu_unique(c, n->var->name);
    if (n->unroll)
        cu_line(c, n->unroll < 0 ? "#pragma unroll" : "#pragma unroll %d", n->unroll);
    Expr lo = cu_dim(c, n->index), hi = cu_dim(c, n->bound);
    cu_name_dim(c, n->var, var);
    const char *step = n->i == 1 ? arena_printf(c->arena, "%s++", var) : arena_printf(c->arena, "%s += %lld", var, (long long)n->i);
    cu_line(c, "for (%s %s = %s; %s < %s; %s) {", cu_index_type(c), var, lo.text, var, cuda_in(c->arena, hi, PREC_SHIFT), step);
    c->depth++;
    cu_print_block(c, &n->body);
    assign(c, n, n->yield);
    c->depth--;
    cu_line(c, "}");
    cu_end_scope(c, scope);
}

static void print_if(Cuda *c, const KInst *n)
{
    const char **names = arena_new_array(c->arena, const char *, n->n_yield + 1);
    Expr cond = cu_scalar(c, n->args[0]);
    for (uint32_t i = 0; i < n->n_yield; i++)
        names[i] = declare_variable(c, n->yield[i], NULL, n->yield[i]->name ? n->yield[i]->name : "r");
    c->carry[n->id] = names;
    uint32_t scope = c->journal.n;
    cu_line(c, "if (%s) {", cond.text);
    c->depth++;
    cu_print_block(c, &n->body);
    assign(c, n, n->yield);
    c->depth--;
    cu_end_scope(c, scope);
    if (n->other.n || n->n_yield) {
        cu_line(c, "} else {");
        c->depth++;
        cu_print_block(c, &n->other);
        assign(c, n, n->yield_other);
        c->depth--;
        cu_end_scope(c, scope);
    }
    cu_line(c, "}");
}

static void bind_value(Cuda *c, const KInst *n)
{
    const char *name = c->carry[n->of->id][n->i];
    if (n->type.lanes > 1)
        c->array[n->id] = name;
    else
        c->expr[n->id] = (Expr){name, PREC_PRIMARY};
}
static void print_mma(Cuda *c, const KInst *n)
{
    const char *arg[4], *name = cu_value_name(c, n);
    for (uint32_t i = 0; i < 4; i++)
        arg[i] = cu_array_of(c, n->args[i]);
    cu_line(c, "float %s[4];", name);
    cu_line(c, "mma_%s(%s, %s, %s, %s, %s);", dtype_name((DType)n->i), name, arg[0], arg[1], arg[2], arg[3]);
    c->array[n->id] = name;
}

static void print_sum(Cuda *c, const KInst *n)
{
    const char *name = cu_value_name(c, n);
    cu_line(c, "const float %s[2] = {gemm.held[%lld], gemm.held[%lld]};", name, 2 * (long long)n->i, 2 * (long long)n->i + 1);
    c->array[n->id] = name;
}

/* Names the expression of a splat's operand, so that the unrolled loop does not repeat it. */
static void settle(Cuda *c, const KInst *n)
{
    if (n->type.lanes == 1 && n->kind != K_CONST && !cu_is_atom(c->expr[n->id]))
        cu_declare(c, n, c->expr[n->id]);
}

static void print_inst(Cuda *c, const KInst *n)
{
    if (!c->uses[n->id] && !cu_has_effect(n))
        return;
    if (n->type.lanes > 1 && cu_is_lanewise(n)) {
        cu_hold(c, n);
        return;
    }
    for (uint32_t i = 0; i < n->n_args; i++)
        if (cu_in_group(c, n->args[i]) || (cu_is_store(n) && cu_in_group(c, cu_stored(n))))
            cu_flush(c);
    switch (n->kind) {
    case K_SPLAT:
        settle(c, n->args[0]);
        c->expr[n->id] = c->expr[n->args[0]->id];
        return;
    case K_CONST: case K_INDEX: case K_TEST: case K_OP: case K_CAST: case K_LANE:
        cu_keep_scalar(c, n, cu_pure_expr(c, n, "0"));
        return;
    case K_LANE_REDUCE:
        cu_declare(c, n, (Expr){arena_printf(c->arena, "%s(%s)", cuda_reduce_name(c->arena, n->op, n->type.dtype, n->args[0]->type.lanes),
                                          cu_array_of(c, n->args[0])), PREC_PRIMARY});
        return;
    case K_LOAD: case K_SHARED_LOAD:   cu_print_load(c, n); return;
    case K_STORE: case K_SHARED_STORE: case K_CLUSTER_STORE: cu_print_store(c, n); return;
    case K_LOAD_RAW:                   cu_print_load_raw(c, n); return;
    case K_MMA:                        print_mma(c, n); return;
    case K_SHUFFLE_XOR:                print_shuffle(c, n); return;
    case K_BIND: {
        const char *name = cu_unique(c, n->var->name);
        cu_line(c, "const %s %s = %s;", cu_index_type(c), name,
             cuda_cast(c->arena, cu_scalar(c, n->args[0]), n->args[0]->type.dtype, c->wide ? DT_I64 : DT_I32).text);
        cu_name_dim(c, n->var, name);
        return;
    }
    case K_LOOP:       cu_flush(c); print_loop(c, n); return;
    case K_IF:         cu_flush(c); print_if(c, n); return;
    case K_CARRY:
    case K_RESULT:     bind_value(c, n); return;
    case K_BARRIER:    cu_flush(c); cu_line(c, "__syncthreads();"); return;
    case K_CLUSTER_ARRIVE: cu_flush(c); cu_line(c, n->i ? "cluster_arrive();" : "cluster_arrive_relaxed();"); return;
    case K_CLUSTER_WAIT: cu_flush(c); cu_line(c, "cluster_wait();"); return;
    case K_FENCE:      cu_line(c, "__threadfence();"); return;
    case K_COPY_ASYNC: cu_print_copy_async(c, n); return;
    case K_WARP_SYNC:  cu_flush(c); cu_line(c, "__syncwarp();"); return;
    case K_COPY_COMMIT: cu_flush(c); cu_line(c, "copy_commit();"); return;
    case K_COPY_WAIT:  cu_flush(c); cu_line(c, "copy_wait<%lld>();", (long long)n->i); return;
    case K_SUM:        print_sum(c, n); return;
    case K_BULK_FENCE: cu_flush(c); cu_line(c, "bulk_fence();"); return;
    case K_BULK_STORE: cu_print_bulk_store(c, n); return;
    case K_BULK_COMMIT: cu_line(c, "bulk_commit();"); return;
    case K_BULK_WAIT:  cu_flush(c); cu_line(c, "bulk_wait<%lld>();", (long long)n->i); return;
    case K_WAIT:       cu_flush(c); cu_line(c, "wait_for_predecessors();"); return;
    case K_LAUNCH_NEXT: cu_flush(c); cu_line(c, "launch_next();"); return;
    case K_ATOMIC_ADD: cu_print_atomic(c, n); return;
    }
}

/* What it leaves held back: see assign. */
void cu_print_block(Cuda *c, const KBlock *b)
{
    const KBlock *outer = c->block;
    c->block = b;
    for (uint32_t i = 0; i < b->n; i++)
        print_inst(c, b->data[i]);
    c->block = outer;
}

/* ---- a kernel ----------------------------------------------------------------------------------------------------------- */

static void print_head(StrBuf *b, const Kernel *k)
{
    strbuf_printf(b, "\n/* %s", k->name);
    for (const char *s = k->head; s && *s;) {
        size_t n = strcspn(s, "\n");
        strbuf_add(b, "\n * ");
        for (size_t i = 0; i < n; i++)
            strbuf_add(b, s[i] == '*' && s[i + 1] == '/' ? "*\\" : (char[2]){s[i], 0});
        s += n + (s[n] == '\n');
    }
    if (k->kind && *k->kind)
        strbuf_printf(b, "\n * kind: %s%s%s", k->kind, k->schedule && *k->schedule ? "   schedule: " : "", k->schedule ? k->schedule : "");
    strbuf_add(b, "\n * grid: ");
    for (int d = 0; d < 3; d++) {
        if (d && dim_is(k->grid[1], 1) && dim_is(k->grid[2], 1))
            break;
        strbuf_add(b, d ? " x " : "");
        dim_print(b, k->grid[d]);
    }
    strbuf_printf(b, " blocks of %u threads */\n", k->threads);
}

static const char *map_text(const Cuda *c, Dim d) { return map_get_ptr(c->dims, d); }

static void print_signature(Cuda *c)
{
    const Kernel *k = c->k;
    StrBuf b = strbuf_new(c->arena);
    for (uint32_t i = 0; i < k->scalars.n; i++)
        cu_name_dim(c, k->scalars.data[i], cu_unique(c, k->scalars.data[i]->name));
    strbuf_printf(&b, "extern \"C\" __global__ void __launch_bounds__(%u%s) %s(", k->threads,
                  k->min_blocks > 0 || k->gemm ? arena_printf(c->arena, ", %u", k->gemm ? gemm_resident(k->gemm) : (uint32_t)k->min_blocks) : "", k->name);
    for (uint32_t i = 0; i < k->buffers.n; i++) {
        const KBuffer *x = &k->buffers.data[i];
        c->buffers[i] = cu_unique(c, x->name);
        strbuf_printf(&b, "%s%s%s *__restrict__ %s", i ? ", " : "", x->written ? "" : "const ", cuda_memory_type(x->dtype), c->buffers[i]);
    }
    for (uint32_t i = 0; i < k->scalars.n; i++)
        strbuf_printf(&b, "%sconst long long %s%s", i || k->buffers.n ? ", " : "", map_text(c, k->scalars.data[i]), c->wide ? "" : "_");
    for (uint32_t i = 0; i < k->maps.n; i++) {
        c->maps[i] = cu_unique(c, arena_printf(c->arena, "map_%s", k->buffers.data[k->maps.data[i].buffer].name));
        strbuf_printf(&b, "%sconst __grid_constant__ GemmMap %s", i || k->buffers.n || k->scalars.n ? ", " : "", c->maps[i]);
    }
    cu_line(c, "%s)", b.text);
    cu_line(c, "{");
    c->depth++;
    for (uint32_t i = 0; !c->wide && i < k->scalars.n; i++)
        cu_line(c, "const int %s = (int)%s_;", map_text(c, k->scalars.data[i]), map_text(c, k->scalars.data[i]));
}

static bool copies_to(const KBlock *b, uint32_t array)
{
    for (uint32_t i = 0; i < b->n; i++) {
        const KInst *n = b->data[i];
        if ((n->kind == K_COPY_ASYNC && n->i == array) || copies_to(&n->body, array) || copies_to(&n->other, array))
            return true;
    }
    return false;
}

static void print_shared(Cuda *c)
{
    const Kernel *k = c->k;
    bool dynamic = k->gemm || kernel_shared_bytes(k) > 48 * 1024;
    uint32_t offset = k->gemm ? gemm_pipeline_bytes(k->gemm) : 0;
    const char *base = k->gemm ? "gemm_memory" : "shared_memory";
    if (k->gemm)
        cu_line(c, "extern __shared__ __align__(1024) unsigned char gemm_memory[];      // %u bytes, given at launch", kernel_shared_bytes(k));
    else if (dynamic)
        cu_line(c, "extern __shared__ uint4 shared_memory[];        // %u bytes, given at launch", kernel_shared_bytes(k));
    for (uint32_t i = 0; i < k->shared.n; i++) {
        const KShared *s = &k->shared.data[i];
        const char *type = cuda_memory_type(s->dtype);
        offset = kernel_shared_start(s, offset);
        c->shared[i] = cu_unique(c, s->name);
        if (dynamic)
            cu_line(c, "%s *%s = reinterpret_cast<%s *>(%s + %u);", type, c->shared[i], type, base, offset / (k->gemm ? 1 : 16));
        else
            cu_line(c, "__shared__ alignas(16) %s %s[%u];", type, c->shared[i], s->count);
        if (copies_to(&k->body, i)) {
            c->copied[i] = cu_unique(c, arena_printf(c->arena, "%s_at", s->name));
            cu_line(c, "const unsigned %s = shared_address(%s);", c->copied[i], c->shared[i]);
        }
        offset += s->count * dtype_bytes(s->dtype);
    }
}

static void print_positions(Cuda *c)
{
    static const char *const names[3] = {"block_x", "block_y", "block_z"}, *const source[3] = {"blockIdx.x", "blockIdx.y", "blockIdx.z"};
    if (!dim_is_const(c->k->thread)) {
        const char *name = cu_unique(c, "thread");
        cu_line(c, "const %s %s = threadIdx.x;", cu_index_type(c), name);
        cu_name_dim(c, c->k->thread, name);
    }
    for (int d = 0; d < 3; d++) {
        if (dim_is_const(c->k->block[d]))
            continue;
        const char *name = cu_unique(c, names[d]);
        cu_line(c, "const %s %s = %s;", cu_index_type(c), name, source[d]);
        cu_name_dim(c, c->k->block[d], name);
    }
}

/* What the text around a product uses, so that nothing from the task is called so. */
static const char *const gemm_words[] = {"Gemm", "gemm", "gemm_memory", "GemmMap", "GemmProblem", "GemmSm80", "GemmSm90", "problem", "round",
                                         "rounds", "piece"};

static void print_kernel(Arena *a, StrBuf *out, const Kernel *k)
{
    Cuda c = {.arena = a, .k = k, .out = out, .wide = kernel_needs_index64(k)};
    uint32_t n = k->n_ids + 1;
    c.expr = arena_new_array(a, Expr, n);
    c.array = arena_new_array(a, const char *, n);
    c.into = arena_new_array(a, const char *, n);
    c.hint = arena_new_array(a, const char *, n);
    c.uses = arena_new_array(a, uint32_t, n);
    c.lane_uses = arena_new_array(a, uint32_t, n);
    c.user = arena_new_array(a, const KBlock *, n);
    c.carry = arena_new_array(a, const char **, n);
    c.index_uses = map_new(a);
    c.names = map_new(a);
    c.dims = map_new(a);
    c.buffers = arena_new_array(a, const char *, k->buffers.n + 1);
    c.shared = arena_new_array(a, const char *, k->shared.n + 1);
    c.copied = arena_new_array(a, const char *, k->shared.n + 1);
    c.maps = arena_new_array(a, const char *, k->maps.n + 1);
    for (size_t i = 0; k->gemm && i < sizeof gemm_words / sizeof *gemm_words; i++)
        cu_unique(&c, gemm_words[i]);
    cu_count_uses(&c, &k->body);
    print_head(out, k);
    print_signature(&c);
    print_shared(&c);
    if (k->gemm) {
        cu_print_gemm(&c);
    } else {
        if (k->waits && !kernel_places_wait(k))
            cu_line(&c, "after_predecessors();");
        print_positions(&c);
        cu_print_block(&c, &k->body);
        cu_flush(&c);
    }
    strbuf_add(out, "}\n");
}

char *emit_cuda(Arena *a, Kernel *const *k, uint32_t n)
{
    StrBuf body = strbuf_new(a), text = strbuf_new(a);
    for (uint32_t i = 0; i < n; i++)
        print_kernel(a, &body, k[i]);
    cuda_helpers(a, &text, body.text);
    cuda_gemm_templates(&text, k, n);
    strbuf_add(&text, body.text);
    return text.text;
}
