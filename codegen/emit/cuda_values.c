/* codegen/emit/cuda_values.c — values: which need a name and which stand where they are used; instructions on the lanes of vectors
 * are held back and printed together as one unrolled loop. */
#include "codegen/emit/cuda_print.h"

/* ---- uses --------------------------------------------------------------------------------------------------------------- */

bool cu_has_effect(const KInst *n)
{
    switch (n->kind) {
    case K_STORE: case K_SHARED_STORE: case K_CLUSTER_STORE: case K_BIND: case K_LOOP: case K_IF: case K_BARRIER: case K_FENCE:
    case K_ATOMIC_ADD: case K_CLUSTER_ARRIVE: case K_CLUSTER_WAIT:
    case K_SHUFFLE_XOR: case K_MMA: case K_COPY_ASYNC: case K_WARP_SYNC: case K_COPY_COMMIT: case K_COPY_WAIT: case K_WAIT: case K_LAUNCH_NEXT:
    case K_BULK_FENCE: case K_BULK_STORE: case K_BULK_COMMIT: case K_BULK_WAIT:
        return true;
    case K_CONST: case K_INDEX: case K_TEST: case K_LOAD: case K_LOAD_RAW: case K_SHARED_LOAD: case K_OP: case K_CAST: case K_SPLAT:
    case K_LANE: case K_LANE_REDUCE: case K_CARRY: case K_RESULT: case K_SUM:
        return false;
    }
    return true;
}

bool cu_is_store(const KInst *n) { return n->kind == K_STORE || n->kind == K_SHARED_STORE || n->kind == K_CLUSTER_STORE; }

static void use(Cuda *c, const KInst *n, const KBlock *by)
{
    c->user[n->id] = c->uses[n->id]++ ? NULL : by;
}

static void count_dim(Cuda *c, const KInst *n, uint32_t lanes)
{
    bool shared = n->kind == K_SHARED_LOAD || n->kind == K_SHARED_STORE || n->kind == K_CLUSTER_STORE;
    DType t = shared ? c->k->shared.data[n->buffer].dtype : c->k->buffers.data[n->buffer].dtype;
    uint64_t base = (uint64_t)(uintptr_t)k_access(c->k, n->index, lanes, t, 16).base;
    map_set(c->index_uses, base, map_get(c->index_uses, base, 0) + 1);
}

const KInst *cu_stored(const KInst *n)
{
    const KInst *v = n->args[0];
    bool narrow = v->type.dtype == DT_BF16 || v->type.dtype == DT_F16;
    return v->kind == K_CAST && narrow && v->args[0]->type.dtype == DT_F32 ? v->args[0] : v;
}

void cu_count_uses(Cuda *c, const KBlock *b)
{
    for (uint32_t i = b->n; i-- > 0;) {
        const KInst *n = b->data[i];
        bool store = cu_is_store(n);
        if (!c->uses[n->id] && !cu_has_effect(n))
            continue;
        for (uint32_t j = 0; j < n->n_yield; j++) {
            use(c, n->yield[j], &n->body);
            if (n->kind == K_IF)
                use(c, n->yield_other[j], &n->other);
        }
        cu_count_uses(c, &n->other);
        cu_count_uses(c, &n->body);
        for (uint32_t j = 0; j < n->n_args; j++)
            use(c, store && j == 0 ? cu_stored(n) : n->args[j], b);
        if (n->kind == K_CARRY || n->kind == K_RESULT)
            c->uses[n->of->id]++;
        if (n->kind == K_LOAD || n->kind == K_SHARED_LOAD)
            count_dim(c, n, n->type.lanes);
        if (n->kind == K_LOAD_RAW || n->kind == K_COPY_ASYNC)
            count_dim(c, n, 1);
        if (store) {
            count_dim(c, n, n->args[0]->type.lanes);
            c->hint[cu_stored(n)->id] = n->kind == K_STORE ? c->k->buffers.data[n->buffer].name : c->k->shared.data[n->buffer].name;
        }
    }
}

/* ---- values ------------------------------------------------------------------------------------------------------------- */

Expr cu_scalar(Cuda *c, const KInst *n) { return c->expr[n->id]; }

Expr cu_lane_of(Cuda *c, const KInst *n, const char *l)
{
    if (n->type.lanes > 1 && c->array[n->id])
        return (Expr){arena_printf(c->arena, "%s[%s]", c->array[n->id], l), PREC_PRIMARY};
    return c->expr[n->id];
}

Expr cu_pure_expr(Cuda *c, const KInst *n, const char *l)
{
    Expr args[3];
    for (uint32_t i = 0; i < n->n_args; i++)
        args[i] = cu_lane_of(c, n->args[i], l);
    switch (n->kind) {
    case K_CONST: return cuda_literal(c->arena, n->type.dtype, n->f, n->i);
    case K_SPLAT: return args[0];
    case K_OP:
        if (c->k->approximate && n->type.dtype == DT_F32 && (n->op == OP_DIV || n->op == OP_RECIPROCAL) && k_at_least_one(n->args[n->n_args - 1]))
            return cuda_divide(c->arena, n->op, args);
        return cuda_op(c->arena, n->op, n->args[n->op == OP_WHERE ? 1 : 0]->type.dtype, n->type.dtype, args, c->k->approximate);
    case K_CAST:  return cuda_cast(c->arena, args[0], n->args[0]->type.dtype, n->type.dtype);
    case K_INDEX: return cu_lane_dim(c, n->index, n->type.lanes, l);
    case K_TEST: {
        Expr a = cu_lane_dim(c, n->index, n->type.lanes, l), b = cu_lane_dim(c, n->bound, n->type.lanes, l);
        return (Expr){arena_printf(c->arena, "%s < %s", cuda_in(c->arena, a, PREC_LESS), cuda_in(c->arena, b, PREC_SHIFT)), PREC_LESS};
    }
    case K_LANE:  return cu_lane_of(c, n->args[0], arena_printf(c->arena, "%lld", (long long)n->i));
    case K_LOAD: case K_LOAD_RAW: case K_MMA: case K_STORE: case K_SHARED_LOAD: case K_SHARED_STORE: case K_CLUSTER_STORE:
    case K_CLUSTER_ARRIVE: case K_CLUSTER_WAIT: case K_LANE_REDUCE:
    case K_SHUFFLE_XOR: case K_BIND: case K_LOOP: case K_CARRY: case K_RESULT: case K_IF: case K_BARRIER: case K_ATOMIC_ADD: case K_FENCE:
    case K_COPY_ASYNC: case K_WARP_SYNC: case K_COPY_COMMIT: case K_COPY_WAIT: case K_WAIT: case K_LAUNCH_NEXT: case K_SUM:
    case K_BULK_FENCE: case K_BULK_STORE: case K_BULK_COMMIT: case K_BULK_WAIT:
        break;
    }
    pawl_assert(false, "not a pure instruction");
}

bool cu_is_lanewise(const KInst *n)
{
    return n->kind == K_OP || n->kind == K_CAST || n->kind == K_INDEX || n->kind == K_TEST;
}

bool cu_is_atom(Expr e) { return e.prec == PREC_PRIMARY && !strpbrk(e.text, "( "); }

enum { INLINE_LENGTH = 56 };

void cu_declare(Cuda *c, const KInst *n, Expr e)
{
    const char *name = cu_value_name(c, n);
    cu_line(c, "const %s %s = %s;", cuda_register_type(n->type.dtype), name, e.text);
    c->expr[n->id] = (Expr){name, PREC_PRIMARY};
}

void cu_keep_scalar(Cuda *c, const KInst *n, Expr e)
{
    c->expr[n->id] = e;
    bool once = c->uses[n->id] == 1 && c->user[n->id] == c->block && strlen(e.text) <= INLINE_LENGTH;
    if (c->uses[n->id] && n->kind != K_CONST && !once && !cu_is_atom(e))
        cu_declare(c, n, e);
}

/* ---- groups of lane instructions ---------------------------------------------------------------------------------------- */

void cu_open_lanes(Cuda *c, uint32_t lanes, bool braces)
{
    cu_line(c, "#pragma unroll");
    cu_line(c, "for (int l = 0; l < %u; l++)%s", lanes, braces ? " {" : "");
    c->depth++;
}

void cu_close_lanes(Cuda *c, bool braces)
{
    c->depth--;
    if (braces)
        cu_line(c, "}");
}

/* What a held-back instruction becomes: an array when used outside, else a name or an expression inside the loop. */
static void print_lane(Cuda *c, const KInst *n)
{
    Expr e = cu_pure_expr(c, n, "l");
    if (c->into[n->id]) {
        c->expr[n->id] = e;
        return;
    }
    if (c->array[n->id]) {
        cu_line(c, "%s[l] = %s;", c->array[n->id], e.text);
        return;
    }
    c->expr[n->id] = e;
    if ((c->lane_uses[n->id] > 1 || strlen(e.text) > INLINE_LENGTH) && !cu_is_atom(e))
        cu_declare(c, n, e);
}

/* The values that leave the loop in variables: assigned last, through copies where one still reads what another overwrites. */
static void print_assigned(Cuda *c)
{
    const char **text = arena_new_array(c->arena, const char *, c->group.n);
    bool copies = false;
    for (uint32_t i = 0; i < c->group.n; i++) {
        const KInst *n = c->group.data[i];
        if (!c->into[n->id])
            continue;
        text[i] = c->expr[n->id].text;
        for (uint32_t j = 0; j < i; j++)
            copies = copies || (text[j] && strstr(text[i], arena_printf(c->arena, "%s[", c->into[c->group.data[j]->id])));
    }
    for (uint32_t i = 0; copies && i < c->group.n; i++) {
        if (!text[i])
            continue;
        const char *name = cu_unique(c, arena_printf(c->arena, "next_%s", c->into[c->group.data[i]->id]));
        cu_line(c, "const %s %s = %s;", cuda_register_type(c->group.data[i]->type.dtype), name, text[i]);
        text[i] = name;
    }
    for (uint32_t i = 0; i < c->group.n; i++)
        if (text[i])
            cu_line(c, "%s[l] = %s;", c->into[c->group.data[i]->id], text[i]);
}

void cu_flush(Cuda *c)
{
    uint32_t statements = 0, lanes = c->group.n ? c->group.data[0]->type.lanes : 0;
    if (!lanes)
        return;
    for (uint32_t i = 0; i < c->group.n; i++)
        for (uint32_t j = 0; j < c->group.data[i]->n_args; j++)
            c->lane_uses[c->group.data[i]->args[j]->id]++;
    for (uint32_t i = 0; i < c->group.n; i++) {
        const KInst *n = c->group.data[i];
        if (c->into[n->id]) {
            statements++;
        } else if (c->uses[n->id] > c->lane_uses[n->id]) {
            c->array[n->id] = cu_value_name(c, n);
            cu_line(c, "%s %s[%u];", cuda_register_type(n->type.dtype), c->array[n->id], lanes);
            statements++;
        }
    }
    /* printed once into a scratch buffer to learn whether the body is a single statement */
    StrBuf body = strbuf_new(c->arena), *out = c->out;
    strbuf_add(&body, "");
    c->out = &body;
    c->depth++;
    for (uint32_t i = 0; i < c->group.n; i++)
        print_lane(c, c->group.data[i]);
    print_assigned(c);
    c->depth--;
    c->out = out;
    const char *newline = strchr(body.text, '\n');
    bool braces = newline && newline[1];
    if (statements && body.len) {
        cu_open_lanes(c, lanes, braces);
        strbuf_add(c->out, body.text);
        cu_close_lanes(c, braces);
    }
    for (uint32_t i = 0; i < c->group.n; i++)
        for (uint32_t j = 0; j < c->group.data[i]->n_args; j++)
            c->lane_uses[c->group.data[i]->args[j]->id] = 0;
    c->group.n = 0;
}

bool cu_in_group(const Cuda *c, const KInst *n)
{
    for (uint32_t i = 0; i < c->group.n; i++)
        if (c->group.data[i] == n)
            return true;
    return false;
}

void cu_hold(Cuda *c, const KInst *n)
{
    if (c->group.n && c->group.data[0]->type.lanes != n->type.lanes)
        cu_flush(c);
    vec_push(c->arena, &c->group, n);
}
const char *cu_array_of(Cuda *c, const KInst *n)
{
    if (c->array[n->id])
        return c->array[n->id];
    const char *name = cu_value_name(c, n);
    cu_line(c, "%s %s[%u];", cuda_register_type(n->type.dtype), name, n->type.lanes);
    cu_line(c, "fill_lanes(%s, %s);", name, c->expr[n->id].text);
    return c->array[n->id] = name;
}
