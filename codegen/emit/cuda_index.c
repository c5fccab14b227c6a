/* codegen/emit/cuda_index.c — lines, names, and indices printed from their Dims: row * 2048 + thread * 8 + l. */
#include "codegen/emit/cuda_print.h"

#include <stdlib.h>

/* ---- text --------------------------------------------------------------------------------------------------------------- */

void cu_line(Cuda *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    strbuf_printf(c->out, "%*s%s\n", c->depth * 4, "", arena_vprintf(c->arena, fmt, ap));
    va_end(ap);
}

const char *cu_unique(Cuda *c, const char *wanted)
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

const char *cu_value_name(Cuda *c, const KInst *n)
{
    if (n->name && (n->kind == K_LOAD || n->kind == K_LOAD_RAW || n->kind == K_SHARED_LOAD))
        return cu_unique(c, arena_printf(c->arena, "%s_v", n->name));
    if (!n->name && c->hint[n->id])
        return cu_unique(c, arena_printf(c->arena, "%s_v", c->hint[n->id]));
    return cu_unique(c, n->name ? n->name : arena_printf(c->arena, "v%u", n->id));
}

/* ---- indices ------------------------------------------------------------------------------------------------------------ */

void cu_name_dim(Cuda *c, Dim d, const char *name)
{
    if (!dim_is_const(d) && map_set_ptr(c->dims, d, name))
        vec_push(c->arena, &c->journal, (uint64_t)(uintptr_t)d);
}

void cu_end_scope(Cuda *c, uint32_t scope)
{
    while (c->journal.n > scope)
        map_remove(c->dims, vec_pop(&c->journal));
}

static const char *term_text(Cuda *c, const DimTerm *t, int64_t coef, Prec *prec)
{
    StrBuf b = strbuf_new(c->arena);
    *prec = t->n_atoms > 1 || coef != 1 ? PREC_MUL : PREC_PRIMARY;
    for (uint32_t j = 0; j < t->n_atoms; j++) {
        Expr e = cu_dim(c, t->atoms[j]);
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

Expr cu_dim(Cuda *c, Dim d)
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
        Expr a = cu_dim(c, d->a), b = cu_dim(c, d->b);
        if (d->a->lo >= 0)
            return (Expr){arena_printf(c->arena, "%s %c %s", cuda_in(c->arena, a, PREC_MUL), div ? '/' : '%',
                                       cuda_in(c->arena, b, PREC_UNARY)), PREC_MUL};
        return (Expr){arena_printf(c->arena, "floor_%s<%s>(%s, %s)", div ? "div" : "mod", c->wide ? "long long" : "int", a.text,
                                   b.text), PREC_PRIMARY};
    }
    case DIM_MIN: case DIM_MAX: {
        const char *t = c->wide ? "long long" : "int";
        return (Expr){arena_printf(c->arena, "int_%s<%s>(%s, %s)", d->kind == DIM_MIN ? "min" : "max", t, cu_dim(c, d->a).text,
                                   cu_dim(c, d->b).text), PREC_PRIMARY};
    }
    }
    return (Expr){"0", PREC_PRIMARY};
}

const char *cu_index_type(const Cuda *c) { return c->wide ? "long long" : "int"; }

Expr cu_shared_dim(Cuda *c, Dim d)
{
    bool plain = d->kind == DIM_CONST || d->kind == DIM_SYM || map_get_ptr(c->dims, d);
    if (plain || map_get(c->index_uses, (uint64_t)(uintptr_t)d, 0) < 2)
        return cu_dim(c, d);
    const char *name = cu_unique(c, "at");
    cu_line(c, "const %s %s = %s;", cu_index_type(c), name, cu_dim(c, d).text);
    cu_name_dim(c, d, name);
    return (Expr){name, PREC_PRIMARY};
}

/* The swizzle changes the 16-byte piece within a span by bits of the place above it. A constant part of the index that moves by pieces
 * within the span, or by whole patterns, is put to the rest behind its swizzle, which places beside each other then share. */
Expr cu_swizzled_dim(Cuda *c, Dim d, uint32_t swizzle, uint32_t size)
{
    DimPool *p = c->k->cx->dims;
    int64_t k = d->kind == DIM_CONST || d->kind == DIM_SUM ? d->value : 0, piece = 16 / size, span = swizzle / size, within = k % span;
    Dim rest = dim_add_const(p, d, -k), at = dim_mod(p, rest, dim_const(p, span));
    bool apart = k >= 0 && within % piece == 0 && (k - within) % (swizzle / 16 * 128 / size) == 0 && at->lo >= 0 && at->hi < piece;
    Dim shared = apart ? rest : d;
    uint64_t key = (uint64_t)(uintptr_t)shared + (swizzle == 128) + 2 * size;          /* dims lie at multiples of 16 */
    const char *name = (const char *)(uintptr_t)map_get(c->dims, key, 0);
    if (!name) {
        name = cu_unique(c, "swizzled_at");
        cu_line(c, "const %s %s = swizzled<%u, %u>(%s);", cu_index_type(c), name, swizzle, size, cu_dim(c, shared).text);
        map_set(c->dims, key, (uint64_t)(uintptr_t)name);
        vec_push(c->arena, &c->journal, key);
    }
    if (!apart || !k)
        return (Expr){name, PREC_PRIMARY};
    const char *moved = within ? arena_printf(c->arena, "(%s ^ %lld)", name, (long long)within) : name;
    return k > within ? (Expr){arena_printf(c->arena, "%s + %lld", moved, (long long)(k - within)), PREC_ADD} : (Expr){moved, PREC_PRIMARY};
}

Expr cu_lane_dim(Cuda *c, Dim d, uint32_t lanes, const char *l)
{
    Dim lane = kernel_lane(c->k->cx->dims, lanes);
    if (!dim_uses(d, lane))
        return cu_dim(c, d);
    uint32_t scope = c->journal.n;
    cu_name_dim(c, lane, l);
    Expr e = cu_dim(c, d);
    cu_end_scope(c, scope);
    return e;
}
