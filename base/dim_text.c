/* base/dim_text.c — dims as text, and back (recursive descent of limited depth: the text comes from users). */
#include "base/dim_internal.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ---- printing ---- */

static void print_operand(StrBuf *b, Dim d)
{
    bool bare = d->kind == DIM_SYM || d->kind == DIM_MIN || d->kind == DIM_MAX || (d->kind == DIM_CONST && d->value >= 0);
    if (!bare)
        strbuf_char(b, '(');
    dim_print(b, d);
    if (!bare)
        strbuf_char(b, ')');
}

/* |coef| * atoms; a lone quotient needs no parentheses among sums. */
static void print_term(StrBuf *b, const DimTerm *t)
{
    bool unit = t->coef == 1 || t->coef == -1;
    if (unit && t->n_atoms == 1) {
        dim_print(b, t->atoms[0]);
        return;
    }
    if (!unit)
        strbuf_printf(b, "%llu*", (unsigned long long)(t->coef < 0 ? 0 - (uint64_t)t->coef : (uint64_t)t->coef));
    for (uint32_t i = 0; i < t->n_atoms; i++) {
        if (i)
            strbuf_char(b, '*');
        print_operand(b, t->atoms[i]);
    }
}

/* A leading minus would bind to the dividend of a quotient only, which is something else: 0 - S // 8. */
static void print_sum(StrBuf *b, Dim d)
{
    bool value_first = d->terms[0].coef < 0 && d->value > 0;
    if (value_first)
        strbuf_printf(b, "%lld", (long long)d->value);
    for (uint32_t i = 0; i < d->n_terms; i++) {
        const DimTerm *t = &d->terms[i];
        Dim atom = t->atoms[0];
        bool first = i == 0 && !value_first;
        if (!first)
            strbuf_add(b, t->coef < 0 ? " - " : " + ");
        else if (t->coef < 0)
            strbuf_add(b, t->coef == -1 && t->n_atoms == 1 && (atom->kind == DIM_FLOORDIV || atom->kind == DIM_MOD)
                          ? "0 - " : "-");
        print_term(b, t);
    }
    if (d->value < 0)
        strbuf_printf(b, " - %llu", (unsigned long long)(0 - (uint64_t)d->value));
    else if (d->value > 0 && !value_first)
        strbuf_printf(b, " + %lld", (long long)d->value);
}

void dim_print(StrBuf *b, Dim d)
{
    switch (d->kind) {
    case DIM_CONST: strbuf_printf(b, "%lld", (long long)d->value); return;
    case DIM_SYM:   strbuf_add(b, d->name); return;
    case DIM_SUM:   print_sum(b, d); return;
    case DIM_FLOORDIV: case DIM_MOD:
        print_operand(b, d->a);
        strbuf_add(b, d->kind == DIM_MOD ? " % " : " // ");
        print_operand(b, d->b);
        return;
    case DIM_MIN: case DIM_MAX:
        strbuf_add(b, d->kind == DIM_MIN ? "min(" : "max(");
        dim_print(b, d->a);
        strbuf_add(b, ", ");
        dim_print(b, d->b);
        strbuf_char(b, ')');
        return;
    }
}

char *dim_text(Arena *a, Dim d)
{
    StrBuf b = strbuf_new(a);
    dim_print(&b, d);
    return b.text;
}

/* ---- parsing ---- */

enum { DEEPEST = 200 };

typedef struct {
    DimPool    *p;
    const char *at;
    const char *error;
    bool        create;
    int         depth;
} Parser;

static Dim parse_sum(Parser *c);

static Dim fail(Parser *c, const char *error)
{
    if (!c->error)
        c->error = error;
    return NULL;
}

static void skip_space(Parser *c)
{
    while (*c->at == ' ' || *c->at == '\t')
        c->at++;
}

static bool accept(Parser *c, const char *token)
{
    skip_space(c);
    size_t n = strlen(token);
    if (strncmp(c->at, token, n) != 0)
        return false;
    c->at += n;
    return true;
}

static Dim parse_number(Parser *c)
{
    uint64_t v = 0;
    for (; isdigit((unsigned char)*c->at); c->at++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(*c->at - '0'), &v)
            || v > INT64_MAX)
            return fail(c, "number too large for 64 bits");
    return dim_const(c->p, (int64_t)v);
}

static Dim parse_extremum(Parser *c, bool min)
{
    Dim a = parse_sum(c);
    if (a && !accept(c, ","))
        return fail(c, "expected ',' in min or max");
    while (a) {
        Dim b = parse_sum(c);
        if (!b)
            return NULL;
        a = min ? dim_min(c->p, a, b) : dim_max(c->p, a, b);
        if (!accept(c, ","))
            break;
    }
    if (a && !accept(c, ")"))
        return fail(c, "expected ')'");
    return a;
}

static Dim parse_name(Parser *c)
{
    const char *start = c->at;
    while (isalnum((unsigned char)*c->at) || *c->at == '_')
        c->at++;
    Str name = str_intern_n(c->p->strs, start, (size_t)(c->at - start));
    bool min = strcmp(name, "min") == 0;
    if ((min || strcmp(name, "max") == 0) && accept(c, "("))
        return parse_extremum(c, min);
    Dim d = dim_sym_find(c->p, name);
    if (!d && c->create)
        d = dim_sym(c->p, name, 0, INT64_MAX);
    return d ? d : fail(c, str_format(c->p->strs, "unknown symbol '%s'", name));
}

static Dim parse_primary(Parser *c)
{
    skip_space(c);
    if (isdigit((unsigned char)*c->at))
        return parse_number(c);
    if (isalpha((unsigned char)*c->at) || *c->at == '_')
        return parse_name(c);
    if (accept(c, "(")) {
        Dim d = parse_sum(c);
        return d && !accept(c, ")") ? fail(c, "expected ')'") : d;
    }
    return fail(c, "expected a number, a symbol or '('");
}

static Dim parse_unary(Parser *c)
{
    bool minus = false;
    while (accept(c, "-"))
        minus = !minus;
    Dim d = parse_primary(c);
    return d && minus ? dim_mul_const(c->p, d, -1) : d;
}

static Dim parse_product(Parser *c)
{
    Dim d = parse_unary(c);
    while (d) {
        bool divide = accept(c, "//"), mod = !divide && accept(c, "%");
        if (!divide && !mod) {
            if (accept(c, "/"))
                return fail(c, "write '//' for division rounded down");
            if (!accept(c, "*"))
                break;
        }
        Dim by = parse_unary(c);
        if (!by)
            return NULL;
        if ((divide || mod) && by->hi <= 0)
            return fail(c, "the divisor is never positive");
        d = divide ? dim_floordiv(c->p, d, by) : mod ? dim_mod(c->p, d, by) : dim_mul(c->p, d, by);
    }
    return d;
}

static Dim parse_sum(Parser *c)
{
    if (++c->depth > DEEPEST)
        return fail(c, "expression nested too deeply");
    Dim d = parse_product(c);
    while (d) {
        bool plus = accept(c, "+");
        if (!plus && !accept(c, "-"))
            break;
        Dim x = parse_product(c);
        if (!x)
            return NULL;
        d = plus ? dim_add(c->p, d, x) : dim_sub(c->p, d, x);
    }
    c->depth--;
    return d;
}

Dim dim_parse(DimPool *p, const char *text, bool create, const char **end, const char **error)
{
    Parser c = {p, text, NULL, create, 0};
    DimAttempt attempt = dim_attempt_begin(p);
    Dim d = parse_sum(&c);
    if (!dim_attempt_end(p, attempt))
        d = fail(&c, "expression too large for 64 bits");
    if (d && end) {
        *end = c.at;
    } else if (d) {
        skip_space(&c);
        if (*c.at)
            d = fail(&c, str_format(p->strs, "unexpected '%c'", *c.at));
    }
    if (error)
        *error = d ? NULL : c.error;
    return d;
}
