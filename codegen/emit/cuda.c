/* codegen/emit/cuda.c — kernel IR as CUDA C that people read.
 *
 * Values of one lane are expressions, written where they are used when used once and short, else named. Vectors are arrays of
 * registers; instructions on lanes are held back and printed together as one unrolled loop over `l`, so that a chain of
 * operations reads as scalar code. Indices are printed from their Dims; one that several accesses share gets a name. */
#include "codegen/emit/cuda_text.h"

#include <stdlib.h>

typedef struct {
    Arena *arena;
    const Kernel *k;
    StrBuf *out;
    int depth;
    bool wide;                      /* 64-bit indices */
    Expr *expr;                     /* by id: scalar expression, or one lane's where it does not depend on l */
    const char **array;             /* by id: name of the register array of a vector */
    const char **into;              /* by id: the variable of a loop or if that a held-back value is assigned to */
    const char **hint;              /* by id: the buffer that a nameless value is stored to */
    uint32_t *uses, *lane_uses;     /* by id: all uses; uses inside the group being printed */
    const KBlock **user;            /* by id: the block of the only user */
    const char ***carry;            /* by id of a loop or if: names of its values */
    Map *index_uses;                /* Dim -> number of accesses based on it */
    Map *names;                     /* hash of a name -> 1 */
    Map *dims;                      /* Dim -> name, for those in scope */
    Vec(uint64_t) journal;
    Vec(const KInst *) group;       /* lane instructions held back */
    const KBlock *block;
} Cuda;

/* ---- text --------------------------------------------------------------------------------------------------------------- */

static void line(Cuda *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void line(Cuda *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    strbuf_printf(c->out, "%*s%s\n", c->depth * 4, "", arena_vprintf(c->arena, fmt, ap));
    va_end(ap);
}

/* A C identifier that nothing in this kernel uses yet. */
static const char *unique(Cuda *c, const char *wanted)
{
    char *name = arena_strdup(c->arena, wanted && *wanted ? wanted : "v");
    for (char *s = name; *s; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || *s == '_' || (*s >= '0' && *s <= '9' && s > name)))
            *s = '_';
    const char *base = name, *pick = name;
    for (int i = 2; cuda_reserved(pick) || !map_set(c->names, hash_str(pick), 1); i++)
        pick = arena_printf(c->arena, "%s%s%d", base, base[strlen(base) - 1] >= '0' && base[strlen(base) - 1] <= '9' ? "_" : "", i);
    return pick;
}

static const char *value_name(Cuda *c, const KInst *n)
{
    if (n->name && (n->kind == K_LOAD || n->kind == K_LOAD_RAW || n->kind == K_SHARED_LOAD))
        return unique(c, arena_printf(c->arena, "%s_v", n->name));
    if (!n->name && c->hint[n->id])
        return unique(c, arena_printf(c->arena, "%s_v", c->hint[n->id]));
    return unique(c, n->name ? n->name : arena_printf(c->arena, "v%u", n->id));
}

/* ---- indices ------------------------------------------------------------------------------------------------------------ */

static Expr dim_expr(Cuda *c, Dim d);

static void name_dim(Cuda *c, Dim d, const char *name)
{
    if (!dim_is_const(d) && map_set_ptr(c->dims, d, name))
        vec_push(c->arena, &c->journal, (uint64_t)(uintptr_t)d);
}

static void end_scope(Cuda *c, uint32_t scope)
{
    while (c->journal.n > scope)
        map_remove(c->dims, vec_pop(&c->journal));
}

static const char *term_text(Cuda *c, const DimTerm *t, int64_t coef, Prec *prec)
{
    StrBuf b = strbuf_new(c->arena);
    *prec = t->n_atoms > 1 || coef != 1 ? PREC_MUL : PREC_PRIMARY;
    for (uint32_t j = 0; j < t->n_atoms; j++) {
        Expr e = dim_expr(c, t->atoms[j]);
        bool alone = t->n_atoms == 1 && coef == 1;
        if (alone)
            *prec = e.prec;
        strbuf_printf(&b, "%s%s", j ? " * " : "", alone ? e.text : cuda_in(c->arena, e, j ? PREC_UNARY : PREC_MUL));
    }
    if (coef != 1)
        strbuf_printf(&b, " * %lld%s", (long long)coef, coef > INT32_MAX ? "LL" : "");
    return b.text;
}

static bool is_lane(const Cuda *c, Dim d)
{
    const char *name = d->kind == DIM_SYM ? map_get_ptr(c->dims, d) : NULL;
    return name && strcmp(name, "l") == 0;
}

/* Products of symbols first, then by falling coefficient, the lane last: row * 2048 + thread * 8 + l. */
static bool term_before(const Cuda *c, const DimTerm *a, const DimTerm *b)
{
    bool la = a->n_atoms == 1 && is_lane(c, a->atoms[0]), lb = b->n_atoms == 1 && is_lane(c, b->atoms[0]);
    if (la != lb)
        return lb;
    if (a->n_atoms != b->n_atoms)
        return a->n_atoms > b->n_atoms;
    return llabs(a->coef) > llabs(b->coef);
}

static const DimTerm **ordered_terms(Cuda *c, Dim d)
{
    const DimTerm **t = arena_new_array(c->arena, const DimTerm *, d->n_terms);
    for (uint32_t i = 0; i < d->n_terms; i++) {
        uint32_t j = i;
        for (; j > 0 && term_before(c, &d->terms[i], t[j - 1]); j--)
            t[j] = t[j - 1];
        t[j] = &d->terms[i];
    }
    return t;
}

/* Positive terms first, so that no text begins with a minus unless all are negative. */
static Expr sum_expr(Cuda *c, Dim d)
{
    const DimTerm **terms = ordered_terms(c, d);
    StrBuf b = strbuf_new(c->arena);
    uint32_t printed = 0;
    Prec first = PREC_ADD;
    for (int negative = 0; negative < 2; negative++) {
        for (uint32_t i = 0; i < d->n_terms; i++) {
            const DimTerm *t = terms[i];
            Prec prec;
            if ((t->coef < 0) != (negative == 1))
                continue;
            const char *text = term_text(c, t, negative ? -t->coef : t->coef, &prec);
            if (!printed)
                first = prec;
            bool paren = prec > (negative ? PREC_MUL : PREC_ADD);
            strbuf_printf(&b, "%s%s%s%s", printed ? (negative ? " - " : " + ") : (negative ? "-" : ""), paren ? "(" : "", text,
                          paren ? ")" : "");
            printed++;
        }
    }
    if (d->value)
        strbuf_printf(&b, " %c %llu%s", d->value < 0 ? '-' : '+', (unsigned long long)(d->value < 0 ? -d->value : d->value),
                      llabs(d->value) > INT32_MAX ? "LL" : "");
    return (Expr){b.text, printed == 1 && !d->value && d->terms[0].coef > 0 ? first : PREC_ADD};
}

static Expr dim_expr(Cuda *c, Dim d)
{
    const char *name = map_get_ptr(c->dims, d);
    if (name)
        return (Expr){name, PREC_PRIMARY};
    switch (d->kind) {
    case DIM_CONST: return cuda_literal(c->arena, c->wide ? DT_I64 : DT_I32, 0, d->value);
    case DIM_SYM:   pawl_assert(false, "kernel %s: the symbol %s has no name here", c->k->name, d->name);
    case DIM_SUM:   return sum_expr(c, d);
    case DIM_FLOORDIV: case DIM_MOD: {
        bool div = d->kind == DIM_FLOORDIV;
        Expr a = dim_expr(c, d->a), b = dim_expr(c, d->b);
        if (d->a->lo >= 0)
            return (Expr){arena_printf(c->arena, "%s %c %s", cuda_in(c->arena, a, PREC_MUL), div ? '/' : '%',
                                       cuda_in(c->arena, b, PREC_UNARY)), PREC_MUL};
        return (Expr){arena_printf(c->arena, "floor_%s<%s>(%s, %s)", div ? "div" : "mod", c->wide ? "long long" : "int", a.text,
                                   b.text), PREC_PRIMARY};
    }
    case DIM_MIN: case DIM_MAX: {
        const char *t = c->wide ? "long long" : "int";
        return (Expr){arena_printf(c->arena, "int_%s<%s>(%s, %s)", d->kind == DIM_MIN ? "min" : "max", t, dim_expr(c, d->a).text,
                                   dim_expr(c, d->b).text), PREC_PRIMARY};
    }
    }
    return (Expr){"0", PREC_PRIMARY};
}

static const char *index_type(const Cuda *c) { return c->wide ? "long long" : "int"; }

/* The dim, under a name of its own when several places use it. */
static Expr shared_dim(Cuda *c, Dim d)
{
    bool plain = d->kind == DIM_CONST || d->kind == DIM_SYM || map_get_ptr(c->dims, d);
    if (plain || map_get(c->index_uses, (uint64_t)(uintptr_t)d, 0) < 2)
        return dim_expr(c, d);
    const char *name = unique(c, "at");
    line(c, "const %s %s = %s;", index_type(c), name, dim_expr(c, d).text);
    name_dim(c, d, name);
    return (Expr){name, PREC_PRIMARY};
}

/* An index that uses the lane symbol, with `l` (or a number) for it. */
static Expr lane_dim(Cuda *c, Dim d, uint32_t lanes, const char *l)
{
    Dim lane = kernel_lane(c->k->cx->dims, lanes);
    if (!dim_uses(d, lane))
        return dim_expr(c, d);
    uint32_t scope = c->journal.n;
    name_dim(c, lane, l);
    Expr e = dim_expr(c, d);
    end_scope(c, scope);
    return e;
}

/* ---- uses --------------------------------------------------------------------------------------------------------------- */

static bool has_effect(const KInst *n)
{
    switch (n->kind) {
    case K_STORE: case K_SHARED_STORE: case K_BIND: case K_LOOP: case K_IF: case K_BARRIER: case K_FENCE: case K_ATOMIC_ADD:
    case K_SHUFFLE_XOR: case K_MMA:
        return true;
    case K_CONST: case K_INDEX: case K_TEST: case K_LOAD: case K_LOAD_RAW: case K_SHARED_LOAD: case K_OP: case K_CAST: case K_SPLAT:
    case K_LANE: case K_LANE_REDUCE: case K_CARRY: case K_RESULT:
        return false;
    }
    return true;
}

static void use(Cuda *c, const KInst *n, const KBlock *by)
{
    c->user[n->id] = c->uses[n->id]++ ? NULL : by;
}

static void count_dim(Cuda *c, const KInst *n, uint32_t lanes)
{
    bool shared = n->kind == K_SHARED_LOAD || n->kind == K_SHARED_STORE;
    DType t = shared ? c->k->shared.data[n->buffer].dtype : c->k->buffers.data[n->buffer].dtype;
    uint64_t base = (uint64_t)(uintptr_t)k_access(c->k, n->index, lanes, t, 16).base;
    map_set(c->index_uses, base, map_get(c->index_uses, base, 0) + 1);
}

/* What a store keeps of its value: the rounding of a cast to the buffer's type is the store's own. */
static const KInst *stored(const Cuda *c, const KInst *n)
{
    const KInst *v = n->args[0];
    bool narrow = v->type.dtype == DT_BF16 || v->type.dtype == DT_F16;
    (void)c;
    return v->kind == K_CAST && narrow && v->args[0]->type.dtype == DT_F32 ? v->args[0] : v;
}

/* Counts from the end, so that uses by dead values do not count. */
static void count_block(Cuda *c, const KBlock *b)
{
    for (uint32_t i = b->n; i-- > 0;) {
        const KInst *n = b->data[i];
        bool store = n->kind == K_STORE || n->kind == K_SHARED_STORE;
        if (!c->uses[n->id] && !has_effect(n))
            continue;
        for (uint32_t j = 0; j < n->n_yield; j++) {
            use(c, n->yield[j], &n->body);
            if (n->kind == K_IF)
                use(c, n->yield_other[j], &n->other);
        }
        count_block(c, &n->other);
        count_block(c, &n->body);
        for (uint32_t j = 0; j < n->n_args; j++)
            use(c, store && j == 0 ? stored(c, n) : n->args[j], b);
        if (n->kind == K_CARRY || n->kind == K_RESULT)
            c->uses[n->of->id]++;
        if (n->kind == K_LOAD || n->kind == K_SHARED_LOAD)
            count_dim(c, n, n->type.lanes);
        if (n->kind == K_LOAD_RAW)
            count_dim(c, n, 1);
        if (store) {
            count_dim(c, n, n->args[0]->type.lanes);
            c->hint[stored(c, n)->id] = n->kind == K_STORE ? c->k->buffers.data[n->buffer].name : c->k->shared.data[n->buffer].name;
        }
    }
}

/* ---- values ------------------------------------------------------------------------------------------------------------- */

static Expr scalar(Cuda *c, const KInst *n) { return c->expr[n->id]; }

/* One lane of a vector: array element, or a value that is the same in all. */
static Expr lane_of(Cuda *c, const KInst *n, const char *l)
{
    if (n->type.lanes > 1 && c->array[n->id])
        return (Expr){arena_printf(c->arena, "%s[%s]", c->array[n->id], l), PREC_PRIMARY};
    return c->expr[n->id];
}

static Expr pure_expr(Cuda *c, const KInst *n, const char *l)
{
    Expr args[3];
    for (uint32_t i = 0; i < n->n_args; i++)
        args[i] = lane_of(c, n->args[i], l);
    switch (n->kind) {
    case K_CONST: return cuda_literal(c->arena, n->type.dtype, n->f, n->i);
    case K_SPLAT: return args[0];
    case K_OP:    return cuda_op(c->arena, n->op, n->args[n->op == OP_WHERE ? 1 : 0]->type.dtype, n->type.dtype, args, c->k->approximate);
    case K_CAST:  return cuda_cast(c->arena, args[0], n->args[0]->type.dtype, n->type.dtype);
    case K_INDEX: return lane_dim(c, n->index, n->type.lanes, l);
    case K_TEST: {
        Expr a = lane_dim(c, n->index, n->type.lanes, l), b = lane_dim(c, n->bound, n->type.lanes, l);
        return (Expr){arena_printf(c->arena, "%s < %s", cuda_in(c->arena, a, PREC_LESS), cuda_in(c->arena, b, PREC_SHIFT)), PREC_LESS};
    }
    case K_LANE:  return lane_of(c, n->args[0], arena_printf(c->arena, "%lld", (long long)n->i));
    case K_LOAD: case K_LOAD_RAW: case K_MMA: case K_STORE: case K_SHARED_LOAD: case K_SHARED_STORE: case K_LANE_REDUCE:
    case K_SHUFFLE_XOR: case K_BIND: case K_LOOP: case K_CARRY: case K_RESULT: case K_IF: case K_BARRIER: case K_ATOMIC_ADD: case K_FENCE:
        break;
    }
    pawl_assert(false, "not a pure instruction");
}

/* Computed lane by lane. */
static bool is_lanewise(const KInst *n)
{
    return n->kind == K_OP || n->kind == K_CAST || n->kind == K_INDEX || n->kind == K_TEST;
}

/* Literals, and names standing for themselves, need no name of their own. */
static bool is_atom(Expr e) { return e.prec == PREC_PRIMARY && !strpbrk(e.text, "( "); }

enum { INLINE_LENGTH = 56 };

static void declare(Cuda *c, const KInst *n, Expr e)
{
    const char *name = value_name(c, n);
    line(c, "const %s %s = %s;", cuda_register_type(n->type.dtype), name, e.text);
    c->expr[n->id] = (Expr){name, PREC_PRIMARY};
}

static void keep_scalar(Cuda *c, const KInst *n, Expr e)
{
    c->expr[n->id] = e;
    bool once = c->uses[n->id] == 1 && c->user[n->id] == c->block && strlen(e.text) <= INLINE_LENGTH;
    if (c->uses[n->id] && n->kind != K_CONST && !once && !is_atom(e))
        declare(c, n, e);
}

/* ---- groups of lane instructions ---------------------------------------------------------------------------------------- */

static void open_lanes(Cuda *c, uint32_t lanes, bool braces)
{
    line(c, "#pragma unroll");
    line(c, "for (int l = 0; l < %u; l++)%s", lanes, braces ? " {" : "");
    c->depth++;
}

static void close_lanes(Cuda *c, bool braces)
{
    c->depth--;
    if (braces)
        line(c, "}");
}

/* What a held-back instruction becomes: an array when used outside, else a name or an expression inside the loop. */
static void print_lane(Cuda *c, const KInst *n)
{
    Expr e = pure_expr(c, n, "l");
    if (c->into[n->id]) {
        c->expr[n->id] = e;
        return;
    }
    if (c->array[n->id]) {
        line(c, "%s[l] = %s;", c->array[n->id], e.text);
        return;
    }
    c->expr[n->id] = e;
    if ((c->lane_uses[n->id] > 1 || strlen(e.text) > INLINE_LENGTH) && !is_atom(e))
        declare(c, n, e);
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
        const char *name = unique(c, arena_printf(c->arena, "next_%s", c->into[c->group.data[i]->id]));
        line(c, "const %s %s = %s;", cuda_register_type(c->group.data[i]->type.dtype), name, text[i]);
        text[i] = name;
    }
    for (uint32_t i = 0; i < c->group.n; i++)
        if (text[i])
            line(c, "%s[l] = %s;", c->into[c->group.data[i]->id], text[i]);
}

static void flush(Cuda *c)
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
            c->array[n->id] = value_name(c, n);
            line(c, "%s %s[%u];", cuda_register_type(n->type.dtype), c->array[n->id], lanes);
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
        open_lanes(c, lanes, braces);
        strbuf_add(c->out, body.text);
        close_lanes(c, braces);
    }
    for (uint32_t i = 0; i < c->group.n; i++)
        for (uint32_t j = 0; j < c->group.data[i]->n_args; j++)
            c->lane_uses[c->group.data[i]->args[j]->id] = 0;
    c->group.n = 0;
}

static bool in_group(const Cuda *c, const KInst *n)
{
    for (uint32_t i = 0; i < c->group.n; i++)
        if (c->group.data[i] == n)
            return true;
    return false;
}

static void hold(Cuda *c, const KInst *n)
{
    if (c->group.n && c->group.data[0]->type.lanes != n->type.lanes)
        flush(c);
    vec_push(c->arena, &c->group, n);
}

/* ---- memory ------------------------------------------------------------------------------------------------------------- */

typedef struct { const char *name; DType dtype; uint32_t lanes; AccessMode mode; Access access; Dim index; } Place;

static Place place_of(Cuda *c, const KInst *n, uint32_t lanes, const char *const *buffers, const char *const *shared)
{
    bool is_shared = n->kind == K_SHARED_LOAD || n->kind == K_SHARED_STORE;
    Place p = {.lanes = lanes, .index = n->index};
    uint32_t align = 16;
    if (is_shared) {
        p.name = shared[n->buffer];
        p.dtype = c->k->shared.data[n->buffer].dtype;
    } else {
        const KBuffer *b = &c->k->buffers.data[n->buffer];
        p.name = buffers[n->buffer];
        p.dtype = b->dtype;
        p.mode = n->stream ? MODE_STREAM : n->kind != K_STORE && n->kind != K_ATOMIC_ADD && !b->written ? MODE_READONLY : MODE_PLAIN;
        align = b->align < 16 ? b->align : 16;
    }
    p.access = k_access(c->k, n->index, lanes, p.dtype, align);
    return p;
}

typedef struct { Cuda *c; const char **buffers, **shared; } Names;

static const char *pointer(Cuda *c, const Place *p, Expr index)
{
    return strcmp(index.text, "0") == 0 ? p->name : arena_printf(c->arena, "%s + %s", p->name, cuda_in(c->arena, index, PREC_MUL));
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
        line(c, "if (%s)", mask.text);
    c->depth += mask.text != NULL;
    if (direct)
        line(c, "%s[%s] = %s;", p->name, index.text, value.text);
    else
        line(c, "%s(%s, %s);", cuda_store_name(c->arena, p->dtype, 1, 0, p->mode), pointer(c, p, index), value.text);
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
    Expr a = dim_expr(c, x.base), b = dim_expr(c, mask->bound);
    return arena_printf(c->arena, "%s + %u < %s", cuda_in(c->arena, a, PREC_ADD), p->lanes - 1, cuda_in(c->arena, b, PREC_SHIFT));
}

/* Where lane l of a vector access lies; `base` is the first lane's place, if it is contiguous. */
static Expr lane_index(Cuda *c, const Place *p, Expr base)
{
    if (!base.text)
        return lane_dim(c, p->index, p->lanes, "l");
    return (Expr){arena_printf(c->arena, "%s + l", cuda_in(c->arena, base, PREC_ADD)), PREC_ADD};
}

static Expr fill_of(Cuda *c, const KInst *n) { return cuda_literal(c->arena, n->type.dtype, n->f, n->i); }

static void print_scalar_load(Cuda *c, const KInst *n, const Place *p)
{
    Expr index = shared_dim(c, p->access.base);
    const char *text = element_load(c, p, index);
    if (n->n_args)
        text = arena_printf(c->arena, "%s ? %s : %s", cuda_in(c->arena, lane_of(c, n->args[0], "0"), PREC_OR), text, fill_of(c, n).text);
    declare(c, n, (Expr){text, PREC_CHOOSE});
}

static void print_load(Names *x, const KInst *n)
{
    Cuda *c = x->c;
    Place p = place_of(c, n, n->type.lanes, x->buffers, x->shared);
    const KInst *mask = n->n_args ? n->args[0] : NULL;
    bool each = mask && mask->type.lanes > 1;
    if (n->type.lanes == 1 || (p.access.kind == ACCESS_UNIFORM && !each)) {
        print_scalar_load(c, n, &p);
        return;
    }
    bool contiguous = p.access.kind == ACCESS_CONTIGUOUS;
    Expr base = contiguous ? shared_dim(c, p.access.base) : (Expr){NULL, PREC_PRIMARY};
    Expr index = each ? (Expr){NULL, PREC_PRIMARY} : base;
    const char *name = value_name(c, n);
    if (mask && !each && n->f == 0 && n->i == 0)
        line(c, "%s %s[%u] = {};", cuda_register_type(n->type.dtype), name, n->type.lanes);
    else
        line(c, "%s %s[%u];", cuda_register_type(n->type.dtype), name, n->type.lanes);
    if (mask && !each && !(n->f == 0 && n->i == 0))
        line(c, "fill_lanes(%s, %s);", name, fill_of(c, n).text);
    if (mask && !each)
        line(c, "if (%s)%s", scalar(c, mask).text, index.text ? "" : " {");
    c->depth += mask && !each;
    if (index.text) {
        line(c, "%s(%s, %s);", cuda_load_name(c->arena, p.dtype, p.lanes, p.access.align, p.mode), name, pointer(c, &p, index));
    } else {
        const char *text = element_load(c, &p, lane_index(c, &p, base)), *whole = each ? all_lanes_test(c, &p, mask) : NULL;
        if (whole) {
            line(c, "if (%s) {", whole);
            line(c, "    %s(%s, %s);", cuda_load_name(c->arena, p.dtype, p.lanes, p.access.align, p.mode), name, pointer(c, &p, base));
            line(c, "} else {");
            c->depth++;
        }
        open_lanes(c, p.lanes, false);
        if (each)
            line(c, "%s[l] = %s ? %s : %s;", name, cuda_in(c->arena, lane_of(c, mask, "l"), PREC_OR), text, fill_of(c, n).text);
        else
            line(c, "%s[l] = %s;", name, text);
        close_lanes(c, false);
        c->depth -= whole != NULL;
        if (whole)
            line(c, "}");
    }
    c->depth -= mask && !each;
    if (mask && !each && !index.text)
        line(c, "}");
    c->array[n->id] = name;
}

/* Eight 2-byte elements as they are in memory: the fragments of a tensor-core product. */
static void print_load_raw(Names *x, const KInst *n)
{
    static const char *const helper[] = {[MODE_PLAIN] = "load_raw", [MODE_READONLY] = "load_raw_readonly", [MODE_STREAM] = "load_raw_stream"};
    Cuda *c = x->c;
    Place p = place_of(c, n, 1, x->buffers, x->shared);
    AccessMode mode = c->k->buffers.data[n->buffer].written ? MODE_PLAIN : p.mode;
    Expr index = shared_dim(c, p.access.base);
    const char *name = value_name(c, n);
    line(c, "int %s[4]%s;", name, n->n_args ? " = {}" : "");
    if (n->n_args)
        line(c, "if (%s)", scalar(c, n->args[0]).text);
    c->depth += n->n_args;
    line(c, "%s(%s, %s);", helper[mode], name, pointer(c, &p, index));
    c->depth -= n->n_args;
    c->array[n->id] = name;
}

/* A vector store needs an array: values that are the same in all lanes get one. */
static const char *array_of(Cuda *c, const KInst *n)
{
    if (c->array[n->id])
        return c->array[n->id];
    const char *name = value_name(c, n);
    line(c, "%s %s[%u];", cuda_register_type(n->type.dtype), name, n->type.lanes);
    line(c, "fill_lanes(%s, %s);", name, c->expr[n->id].text);
    return c->array[n->id] = name;
}

static void print_store(Names *x, const KInst *n)
{
    Cuda *c = x->c;
    const KInst *v = stored(c, n), *mask = n->n_args > 1 ? n->args[1] : NULL;
    Place p = place_of(c, n, v->type.lanes, x->buffers, x->shared);
    bool each = mask && mask->type.lanes > 1;
    Expr none = {NULL, PREC_PRIMARY};
    if (p.lanes == 1) {
        element_store(c, &p, shared_dim(c, p.access.base), scalar(c, v), mask ? scalar(c, mask) : none);
        return;
    }
    if (p.access.kind == ACCESS_CONTIGUOUS && !each) {
        Expr index = shared_dim(c, p.access.base);
        const char *name = array_of(c, v);
        if (mask)
            line(c, "if (%s)", scalar(c, mask).text);
        c->depth += mask != NULL;
        line(c, "%s(%s, %s);", cuda_store_name(c->arena, p.dtype, p.lanes, p.access.align, p.mode), pointer(c, &p, index), name);
        c->depth -= mask != NULL;
        return;
    }
    if (mask && !each) {
        line(c, "if (%s) {", scalar(c, mask).text);
        c->depth++;
    }
    Expr base = p.access.kind == ACCESS_CONTIGUOUS ? shared_dim(c, p.access.base) : none;
    const char *whole = each ? all_lanes_test(c, &p, mask) : NULL;
    if (whole) {
        const char *name = array_of(c, v);
        line(c, "if (%s) {", whole);
        line(c, "    %s(%s, %s);", cuda_store_name(c->arena, p.dtype, p.lanes, p.access.align, p.mode), pointer(c, &p, base), name);
        line(c, "} else {");
        c->depth++;
    }
    open_lanes(c, p.lanes, each);
    element_store(c, &p, lane_index(c, &p, base), lane_of(c, v, "l"), each ? lane_of(c, mask, "l") : none);
    close_lanes(c, each);
    c->depth -= whole != NULL;
    if (whole)
        line(c, "}");
    if (mask && !each) {
        c->depth--;
        line(c, "}");
    }
}

static void print_shuffle(Cuda *c, const KInst *n)
{
    const KInst *v = n->args[0];
    bool small = dtype_bytes(n->type.dtype) == 1;
    const char *type = cuda_register_type(n->type.dtype), *cast = small ? arena_printf(c->arena, "(%s)", type) : "";
    if (n->type.lanes == 1) {
        declare(c, n, (Expr){arena_printf(c->arena, "%s__shfl_xor_sync(0xffffffffu, %s%s, %lld)", cast, small ? "(int)" : "",
                                          cuda_in(c->arena, scalar(c, v), small ? PREC_UNARY : PREC_CHOOSE), (long long)n->i), PREC_PRIMARY});
        return;
    }
    const char *name = value_name(c, n);
    line(c, "%s %s[%u];", type, name, n->type.lanes);
    open_lanes(c, n->type.lanes, false);
    line(c, "%s[l] = %s__shfl_xor_sync(0xffffffffu, %s, %lld);", name, cast, lane_of(c, v, "l").text, (long long)n->i);
    close_lanes(c, false);
    c->array[n->id] = name;
}

/* ---- control flow ------------------------------------------------------------------------------------------------------- */

static void print_block(Names *x, const KBlock *b);

/* Declares a variable for value i of a loop or if; NULL init: uninitialised. */
static const char *declare_variable(Cuda *c, const KInst *like, const KInst *init, const char *wanted)
{
    const char *name = unique(c, wanted), *type = cuda_register_type(like->type.dtype);
    if (like->type.lanes == 1) {
        if (init)
            line(c, "%s %s = %s;", type, name, scalar(c, init).text);
        else
            line(c, "%s %s;", type, name);
        return name;
    }
    line(c, "%s %s[%u];", type, name, like->type.lanes);
    if (!init)
        return name;
    if (c->array[init->id]) {
        open_lanes(c, like->type.lanes, false);
        line(c, "%s[l] = %s[l];", name, c->array[init->id]);
        close_lanes(c, false);
    } else {
        line(c, "fill_lanes(%s, %s);", name, c->expr[init->id].text);
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
        text[i] = scalar(c, values[i]).text;
        if (n > 1 && strcmp(text[i], names[i]) != 0) {
            const char *copy = unique(c, arena_printf(c->arena, "next_%s", names[i]));
            line(c, "const %s %s = %s;", cuda_register_type(values[i]->type.dtype), copy, text[i]);
            text[i] = copy;
        }
    }
    if (of->kind == K_LOOP)
        copy_swapped(c, of);
    for (uint32_t i = 0; i < n; i++)
        if (in_group(c, values[i]) && c->uses[values[i]->id] == 1)
            c->into[values[i]->id] = names[i];
    flush(c);
    for (uint32_t i = 0; i < n; i++) {
        const KInst *v = values[i];
        bool same = v->kind == K_CARRY && v->of == of && v->i == i;
        if (v->type.lanes == 1 || c->into[v->id] || same)
            continue;
        open_lanes(c, v->type.lanes, false);
        line(c, "%s[l] = %s;", names[i], lane_of(c, v, "l").text);
        close_lanes(c, false);
    }
    for (uint32_t i = 0; i < n; i++)
        if (values[i]->type.lanes == 1 && strcmp(text[i], names[i]) != 0)
            line(c, "%s = %s;", names[i], text[i]);
}

static void print_loop(Names *x, const KInst *n)
{
    Cuda *c = x->c;
    const char **names = arena_new_array(c->arena, const char *, n->n_args + 1);
    for (uint32_t i = 0; i < n->n_args; i++) {
        const char *wanted = n->args[i]->name ? n->args[i]->name : n->yield[i]->name ? n->yield[i]->name : "acc";
        names[i] = declare_variable(c, n->args[i], n->args[i], wanted);
    }
    c->carry[n->id] = names;
    uint32_t scope = c->journal.n;
    const char *var = unique(c, n->var->name);
    if (n->unroll)
        line(c, n->unroll < 0 ? "#pragma unroll" : "#pragma unroll %d", n->unroll);
    Expr lo = dim_expr(c, n->index), hi = dim_expr(c, n->bound);
    name_dim(c, n->var, var);
    const char *step = n->i == 1 ? arena_printf(c->arena, "%s++", var) : arena_printf(c->arena, "%s += %lld", var, (long long)n->i);
    line(c, "for (%s %s = %s; %s < %s; %s) {", index_type(c), var, lo.text, var, cuda_in(c->arena, hi, PREC_SHIFT), step);
    c->depth++;
    print_block(x, &n->body);
    assign(c, n, n->yield);
    c->depth--;
    line(c, "}");
    end_scope(c, scope);
}

static void print_if(Names *x, const KInst *n)
{
    Cuda *c = x->c;
    const char **names = arena_new_array(c->arena, const char *, n->n_yield + 1);
    Expr cond = scalar(c, n->args[0]);
    for (uint32_t i = 0; i < n->n_yield; i++)
        names[i] = declare_variable(c, n->yield[i], NULL, n->yield[i]->name ? n->yield[i]->name : "r");
    c->carry[n->id] = names;
    uint32_t scope = c->journal.n;
    line(c, "if (%s) {", cond.text);
    c->depth++;
    print_block(x, &n->body);
    assign(c, n, n->yield);
    c->depth--;
    end_scope(c, scope);
    if (n->other.n || n->n_yield) {
        line(c, "} else {");
        c->depth++;
        print_block(x, &n->other);
        assign(c, n, n->yield_other);
        c->depth--;
        end_scope(c, scope);
    }
    line(c, "}");
}

static void bind_value(Cuda *c, const KInst *n)
{
    const char *name = c->carry[n->of->id][n->i];
    if (n->type.lanes > 1)
        c->array[n->id] = name;
    else
        c->expr[n->id] = (Expr){name, PREC_PRIMARY};
}

static void print_atomic(Names *x, const KInst *n)
{
    Cuda *c = x->c;
    Place p = place_of(c, n, 1, x->buffers, x->shared);
    const char *text = arena_printf(c->arena, "atomicAdd(%s, %s)", pointer(c, &p, shared_dim(c, p.index)), scalar(c, n->args[0]).text);
    if (c->uses[n->id])
        declare(c, n, (Expr){text, PREC_PRIMARY});
    else
        line(c, "%s;", text);
}

static void print_mma(Cuda *c, const KInst *n)
{
    const char *arg[4], *name = value_name(c, n);
    for (uint32_t i = 0; i < 4; i++)
        arg[i] = array_of(c, n->args[i]);
    line(c, "float %s[4];", name);
    line(c, "mma_%s(%s, %s, %s, %s, %s);", dtype_name((DType)n->i), name, arg[0], arg[1], arg[2], arg[3]);
    c->array[n->id] = name;
}

/* Names the expression of a splat's operand, so that the unrolled loop does not repeat it. */
static void settle(Cuda *c, const KInst *n)
{
    if (n->type.lanes == 1 && n->kind != K_CONST && !is_atom(c->expr[n->id]))
        declare(c, n, c->expr[n->id]);
}

static void print_inst(Names *x, const KInst *n)
{
    Cuda *c = x->c;
    if (!c->uses[n->id] && !has_effect(n))
        return;
    if (n->type.lanes > 1 && is_lanewise(n)) {
        hold(c, n);
        return;
    }
    for (uint32_t i = 0; i < n->n_args; i++)
        if (in_group(c, n->args[i]) || ((n->kind == K_STORE || n->kind == K_SHARED_STORE) && in_group(c, stored(c, n))))
            flush(c);
    switch (n->kind) {
    case K_SPLAT:
        settle(c, n->args[0]);
        c->expr[n->id] = c->expr[n->args[0]->id];
        return;
    case K_CONST: case K_INDEX: case K_TEST: case K_OP: case K_CAST: case K_LANE:
        keep_scalar(c, n, pure_expr(c, n, "0"));
        return;
    case K_LANE_REDUCE:
        declare(c, n, (Expr){arena_printf(c->arena, "%s(%s)", cuda_reduce_name(c->arena, n->op, n->type.dtype, n->args[0]->type.lanes),
                                          array_of(c, n->args[0])), PREC_PRIMARY});
        return;
    case K_LOAD: case K_SHARED_LOAD:   print_load(x, n); return;
    case K_STORE: case K_SHARED_STORE: print_store(x, n); return;
    case K_LOAD_RAW:                   print_load_raw(x, n); return;
    case K_MMA:                        print_mma(c, n); return;
    case K_SHUFFLE_XOR:                print_shuffle(c, n); return;
    case K_BIND: {
        const char *name = unique(c, n->var->name);
        line(c, "const %s %s = %s;", index_type(c), name,
             cuda_cast(c->arena, scalar(c, n->args[0]), n->args[0]->type.dtype, c->wide ? DT_I64 : DT_I32).text);
        name_dim(c, n->var, name);
        return;
    }
    case K_LOOP:       flush(c); print_loop(x, n); return;
    case K_IF:         flush(c); print_if(x, n); return;
    case K_CARRY:
    case K_RESULT:     bind_value(c, n); return;
    case K_BARRIER:    flush(c); line(c, "__syncthreads();"); return;
    case K_FENCE:      line(c, "__threadfence();"); return;
    case K_ATOMIC_ADD: print_atomic(x, n); return;
    }
}

/* Leaves what is held back at the end to the caller: see assign. */
static void print_block(Names *x, const KBlock *b)
{
    const KBlock *outer = x->c->block;
    x->c->block = b;
    for (uint32_t i = 0; i < b->n; i++)
        print_inst(x, b->data[i]);
    x->c->block = outer;
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

static void print_signature(Cuda *c, const char **buffers)
{
    const Kernel *k = c->k;
    StrBuf b = strbuf_new(c->arena);
    for (uint32_t i = 0; i < k->scalars.n; i++)
        name_dim(c, k->scalars.data[i], unique(c, k->scalars.data[i]->name));
    strbuf_printf(&b, "extern \"C\" __global__ void __launch_bounds__(%u%s) %s(", k->threads,
                  k->min_blocks > 0 ? arena_printf(c->arena, ", %d", k->min_blocks) : "", k->name);
    for (uint32_t i = 0; i < k->buffers.n; i++) {
        const KBuffer *x = &k->buffers.data[i];
        buffers[i] = unique(c, x->name);
        strbuf_printf(&b, "%s%s%s *__restrict__ %s", i ? ", " : "", x->written ? "" : "const ", cuda_memory_type(x->dtype), buffers[i]);
    }
    for (uint32_t i = 0; i < k->scalars.n; i++)
        strbuf_printf(&b, "%sconst long long %s%s", i || k->buffers.n ? ", " : "", map_text(c, k->scalars.data[i]), c->wide ? "" : "_");
    line(c, "%s)", b.text);
    line(c, "{");
    c->depth++;
    for (uint32_t i = 0; !c->wide && i < k->scalars.n; i++)
        line(c, "const int %s = (int)%s_;", map_text(c, k->scalars.data[i]), map_text(c, k->scalars.data[i]));
}

static void print_shared(Cuda *c, const char **shared)
{
    const Kernel *k = c->k;
    bool dynamic = kernel_shared_bytes(k) > 48 * 1024;
    uint32_t offset = 0;
    if (dynamic)
        line(c, "extern __shared__ uint4 shared_memory[];        // %u bytes, given at launch", kernel_shared_bytes(k));
    for (uint32_t i = 0; i < k->shared.n; i++) {
        const KShared *s = &k->shared.data[i];
        const char *type = cuda_memory_type(s->dtype);
        shared[i] = unique(c, s->name);
        if (dynamic)
            line(c, "%s *%s = reinterpret_cast<%s *>(shared_memory + %u);", type, shared[i], type, offset / 16);
        else
            line(c, "__shared__ alignas(16) %s %s[%u];", type, shared[i], s->count);
        offset = (offset + s->count * dtype_bytes(s->dtype) + 15) & ~15u;
    }
}

static void print_positions(Cuda *c)
{
    static const char *const names[3] = {"block_x", "block_y", "block_z"}, *const source[3] = {"blockIdx.x", "blockIdx.y", "blockIdx.z"};
    if (!dim_is_const(c->k->thread)) {
        const char *name = unique(c, "thread");
        line(c, "const %s %s = threadIdx.x;", index_type(c), name);
        name_dim(c, c->k->thread, name);
    }
    for (int d = 0; d < 3; d++) {
        if (dim_is_const(c->k->block[d]))
            continue;
        const char *name = unique(c, names[d]);
        line(c, "const %s %s = %s;", index_type(c), name, source[d]);
        name_dim(c, c->k->block[d], name);
    }
}

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
    Names x = {&c, arena_new_array(a, const char *, k->buffers.n + 1), arena_new_array(a, const char *, k->shared.n + 1)};
    count_block(&c, &k->body);
    print_head(out, k);
    print_signature(&c, x.buffers);
    print_shared(&c, x.shared);
    if (k->waits)
        line(&c, "after_predecessors();");
    print_positions(&c);
    print_block(&x, &k->body);
    flush(&c);
    strbuf_add(out, "}\n");
}

char *emit_cuda(Arena *a, Kernel *const *k, uint32_t n)
{
    StrBuf body = strbuf_new(a), text = strbuf_new(a);
    for (uint32_t i = 0; i < n; i++)
        print_kernel(a, &body, k[i]);
    cuda_helpers(a, &text, body.text);
    strbuf_add(&text, body.text);
    return text.text;
}
