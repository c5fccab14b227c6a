/* codegen/emit/cuda_memory.c — loads and stores: the widest access that alignment allows, else lane by lane under masks. */
#include "codegen/emit/cuda_print.h"

typedef struct { const char *name; DType dtype; uint32_t lanes, swizzle; AccessMode mode; Access access; Dim index; } Place;

static Place place_of(Cuda *c, const KInst *n, uint32_t lanes)
{
    bool is_shared = n->kind == K_SHARED_LOAD || n->kind == K_SHARED_STORE || n->kind == K_CLUSTER_STORE;
    Place p = {.lanes = lanes, .index = n->index};
    uint32_t align = 16;
    if (is_shared) {
        p.name = c->shared[n->buffer];
        p.dtype = c->k->shared.data[n->buffer].dtype;
        p.swizzle = c->k->shared.data[n->buffer].swizzle;
        if (n->kind == K_CLUSTER_STORE)
            p.name = arena_printf(c->arena, "of_block(%s, %s)", p.name, cu_dim(c, n->bound).text);
    } else {
        const KBuffer *b = &c->k->buffers.data[n->buffer];
        p.name = c->buffers[n->buffer];
        p.dtype = b->dtype;
        p.mode = n->stream ? MODE_STREAM : n->kind != K_STORE && n->kind != K_ATOMIC_ADD && !b->written ? MODE_READONLY : MODE_PLAIN;
        align = b->align < 16 ? b->align : 16;
    }
    p.access = k_access(c->k, n->index, lanes, p.dtype, align);
    return p;
}

static const char *pointer(Cuda *c, const Place *p, Expr index)
{
    return strcmp(index.text, "0") == 0 ? p->name : arena_printf(c->arena, "%s + %s", p->name, cuda_in(c->arena, index, PREC_MUL));
}

/* Of the first lane; its place under a swizzle. */
static Expr base_index(Cuda *c, const Place *p)
{
    return p->swizzle ? cu_swizzled_dim(c, p->access.base, p->swizzle, dtype_bytes(p->dtype)) : cu_shared_dim(c, p->access.base);
}

static const char *element_load(Cuda *c, const Place *p, Expr index)
{
    bool direct = p->mode == MODE_PLAIN && p->dtype != DT_BF16 && p->dtype != DT_F16 && p->dtype != DT_BOOL;
    if (direct)
        return arena_printf(c->arena, "%s[%s]", p->name, index.text);
    return arena_printf(c->arena, "%s(%s)", cuda_load_name(c->arena, p->dtype, 1, 0, p->mode), pointer(c, p, index));
}

static void element_store(Cuda *c, const Place *p, Expr index, Expr value, Expr mask)
{
    bool direct = p->mode == MODE_PLAIN && p->dtype != DT_BF16 && p->dtype != DT_F16;
    if (mask.text)
        cu_line(c, "if (%s)", mask.text);
    c->depth += mask.text != NULL;
    if (direct)
        cu_line(c, "%s[%s] = %s;", p->name, index.text, value.text);
    else
        cu_line(c, "%s(%s, %s);", cuda_store_name(c->arena, p->dtype, 1, 0, p->mode), pointer(c, p, index), value.text);
    c->depth -= mask.text != NULL;
}

/* A mask that says lane l of a contiguous access lies below a bound: the test that all lanes do, or NULL. Whole vectors then take
 * the wide access. */
static const char *all_lanes_test(Cuda *c, const Place *p, const KInst *mask)
{
    uint32_t piece = p->access.align < 16 ? p->access.align : 16;
    if (mask->kind != K_TEST || p->access.kind != ACCESS_CONTIGUOUS || piece < 4 || piece <= dtype_bytes(p->dtype))
        return NULL;
    Access x = k_access(c->k, mask->index, p->lanes, DT_I8, 1);
    if (x.kind != ACCESS_CONTIGUOUS || dim_uses(mask->bound, kernel_lane(c->k->cx->dims, p->lanes)))
        return NULL;
    Expr a = cu_dim(c, x.base), b = cu_dim(c, mask->bound);
    return arena_printf(c->arena, "%s + %u < %s", cuda_in(c->arena, a, PREC_ADD), p->lanes - 1, cuda_in(c->arena, b, PREC_SHIFT));
}

/* Where lane l of a vector access lies; `base` is the first lane's place, if it is contiguous. */
static Expr lane_index(Cuda *c, const Place *p, Expr base)
{
    if (!base.text)
        return cu_lane_dim(c, p->index, p->lanes, "l");
    return (Expr){arena_printf(c->arena, "%s + l", cuda_in(c->arena, base, PREC_ADD)), PREC_ADD};
}

static Expr fill_of(Cuda *c, const KInst *n) { return cuda_literal(c->arena, n->type.dtype, n->f, n->i); }

static void print_scalar_load(Cuda *c, const KInst *n, const Place *p)
{
    Expr index = base_index(c, p);
    const char *text = element_load(c, p, index);
    if (n->n_args)
        text = arena_printf(c->arena, "%s ? %s : %s", cuda_in(c->arena, cu_lane_of(c, n->args[0], "0"), PREC_OR), text, fill_of(c, n).text);
    cu_declare(c, n, (Expr){text, PREC_CHOOSE});
}

/* Eight columns of a staged product: gemm_common.cuh has a way that keeps to the banks. */
static bool staged_eight(const Cuda *c, const KInst *n, const Place *p)
{
    return c->k->gemm && n->kind == K_SHARED_LOAD && n->buffer == c->k->gemm->stage && p->lanes == 8 && p->access.align >= 16;
}

void cu_print_load(Cuda *c, const KInst *n)
{
    Place p = place_of(c, n, n->type.lanes);
    const KInst *mask = n->n_args ? n->args[0] : NULL;
    bool each = mask && mask->type.lanes > 1;
    if (n->type.lanes == 1 || (p.access.kind == ACCESS_UNIFORM && !each)) {
        print_scalar_load(c, n, &p);
        return;
    }
    bool contiguous = p.access.kind == ACCESS_CONTIGUOUS;
    Expr base = contiguous ? base_index(c, &p) : (Expr){NULL, PREC_PRIMARY};
    Expr index = each ? (Expr){NULL, PREC_PRIMARY} : base;
    const char *name = cu_value_name(c, n);
    if (mask && !each && n->f == 0 && n->i == 0)
        cu_line(c, "%s %s[%u] = {};", cuda_register_type(n->type.dtype), name, n->type.lanes);
    else
        cu_line(c, "%s %s[%u];", cuda_register_type(n->type.dtype), name, n->type.lanes);
    if (mask && !each && !(n->f == 0 && n->i == 0))
        cu_line(c, "fill_lanes(%s, %s);", name, fill_of(c, n).text);
    if (mask && !each)
        cu_line(c, "if (%s)%s", cu_scalar(c, mask).text, index.text ? "" : " {");
    c->depth += mask && !each;
    if (index.text && staged_eight(c, n, &p)) {
        cu_line(c, "gemm_load8(%s, %s, gemm.lane);", name, pointer(c, &p, index));
    } else if (index.text) {
        cu_line(c, "%s(%s, %s);", cuda_load_name(c->arena, p.dtype, p.lanes, p.access.align, p.mode), name, pointer(c, &p, index));
    } else {
        const char *text = element_load(c, &p, lane_index(c, &p, base)), *whole = each ? all_lanes_test(c, &p, mask) : NULL;
        if (whole) {
            cu_line(c, "if (%s) {", whole);
            cu_line(c, "    %s(%s, %s);", cuda_load_name(c->arena, p.dtype, p.lanes, p.access.align, p.mode), name, pointer(c, &p, base));
            cu_line(c, "} else {");
            c->depth++;
        }
        cu_open_lanes(c, p.lanes, false);
        if (each)
            cu_line(c, "%s[l] = %s ? %s : %s;", name, cuda_in(c->arena, cu_lane_of(c, mask, "l"), PREC_OR), text, fill_of(c, n).text);
        else
            cu_line(c, "%s[l] = %s;", name, text);
        cu_close_lanes(c, false);
        c->depth -= whole != NULL;
        if (whole)
            cu_line(c, "}");
    }
    c->depth -= mask && !each;
    if (mask && !each && !index.text)
        cu_line(c, "}");
    c->array[n->id] = name;
}

void cu_print_load_raw(Cuda *c, const KInst *n)
{
    static const char *const helper[] = {[MODE_PLAIN] = "load_raw", [MODE_READONLY] = "load_raw_readonly", [MODE_STREAM] = "load_raw_stream"};
    Place p = place_of(c, n, 1);
    AccessMode mode = c->k->buffers.data[n->buffer].written ? MODE_PLAIN : p.mode;
    Expr index = cu_shared_dim(c, p.access.base);
    const char *name = cu_value_name(c, n);
    cu_line(c, "int %s[4]%s;", name, n->n_args ? " = {}" : "");
    if (n->n_args)
        cu_line(c, "if (%s)", cu_scalar(c, n->args[0]).text);
    c->depth += n->n_args;
    cu_line(c, "%s(%s, %s);", helper[mode], name, pointer(c, &p, index));
    c->depth -= n->n_args;
    c->array[n->id] = name;
}

void cu_print_copy_async(Cuda *c, const KInst *n)
{
    Place p = place_of(c, n, 1);
    const char *from = pointer(c, &p, cu_shared_dim(c, p.access.base)), *tail = n->stream ? "_stream" : "";
    const char *to = arena_printf(c->arena, "%s + 4 * %s", c->copied[n->i], cuda_in(c->arena, cu_dim(c, n->bound), PREC_PRIMARY));
    if (n->n_args)
        cu_line(c, "copy_async%s(%s, %s, %s);", tail, to, from, cu_scalar(c, n->args[0]).text);
    else
        cu_line(c, "copy_async%s(%s, %s);", tail, to, from);
}

void cu_print_bulk_store(Cuda *c, const KInst *n)
{
    StrBuf at = strbuf_new(c->arena);
    for (uint32_t d = 0; d < n->n_args; d++)
        strbuf_printf(&at, ", %s", cu_scalar(c, n->args[d]).text);
    cu_line(c, "bulk_store(&%s, %s + %s%s);", c->maps[n->i], c->shared[n->buffer], cuda_in(c->arena, cu_dim(c, n->bound), PREC_MUL), at.text);
}

void cu_print_store(Cuda *c, const KInst *n)
{
    const KInst *v = cu_stored(n), *mask = n->n_args > 1 ? n->args[1] : NULL;
    Place p = place_of(c, n, v->type.lanes);
    bool each = mask && mask->type.lanes > 1;
    Expr none = {NULL, PREC_PRIMARY};
    if (p.lanes == 1) {
        element_store(c, &p, base_index(c, &p), cu_scalar(c, v), mask ? cu_scalar(c, mask) : none);
        return;
    }
    if (p.access.kind == ACCESS_CONTIGUOUS && !each) {
        Expr index = base_index(c, &p);
        const char *name = cu_array_of(c, v);
        if (mask)
            cu_line(c, "if (%s)", cu_scalar(c, mask).text);
        c->depth += mask != NULL;
        cu_line(c, "%s(%s, %s);", cuda_store_name(c->arena, p.dtype, p.lanes, p.access.align, p.mode), pointer(c, &p, index), name);
        c->depth -= mask != NULL;
        return;
    }
    if (mask && !each) {
        cu_line(c, "if (%s) {", cu_scalar(c, mask).text);
        c->depth++;
    }
    Expr base = p.access.kind == ACCESS_CONTIGUOUS ? base_index(c, &p) : none;
    const char *whole = each ? all_lanes_test(c, &p, mask) : NULL;
    if (whole) {
        const char *name = cu_array_of(c, v);
        cu_line(c, "if (%s) {", whole);
        cu_line(c, "    %s(%s, %s);", cuda_store_name(c->arena, p.dtype, p.lanes, p.access.align, p.mode), pointer(c, &p, base), name);
        cu_line(c, "} else {");
        c->depth++;
    }
    cu_open_lanes(c, p.lanes, each);
    element_store(c, &p, lane_index(c, &p, base), cu_lane_of(c, v, "l"), each ? cu_lane_of(c, mask, "l") : none);
    cu_close_lanes(c, each);
    c->depth -= whole != NULL;
    if (whole)
        cu_line(c, "}");
    if (mask && !each) {
        c->depth--;
        cu_line(c, "}");
    }
}

void cu_print_atomic(Cuda *c, const KInst *n)
{
    Place p = place_of(c, n, 1);
    const char *text = arena_printf(c->arena, "atomicAdd(%s, %s)", pointer(c, &p, cu_shared_dim(c, p.index)), cu_scalar(c, n->args[0]).text);
    if (c->uses[n->id])
        cu_declare(c, n, (Expr){text, PREC_PRIMARY});
    else
        cu_line(c, "%s;", text);
}
