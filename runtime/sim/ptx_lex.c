/* runtime/sim/ptx_lex.c — tokens of PTX text, and constant expressions. */
#include "runtime/sim/ptx_parse.h"
#include <stdarg.h>
#include <stdlib.h>

static void add_word(Parser *p, Map *m, const char *text, uint32_t kind, uint32_t value)
{
    map_set(m, (uint64_t)(uintptr_t)str_intern(p->strs, text), (uint64_t)kind << 32 | value);
}

void parser_init(Parser *p, Arena *a, Diags *d, const Source *s)
{
    *p = (Parser){.arena = a, .diags = d, .strs = strpool_new(a), .source = s, .line = 1};
    p->ops = map_new(a);
    p->words = map_new(a);
    p->specials = map_new(a);
    p->constants = map_new(a);
#define OP(e, text, cls, select) add_word(p, p->ops, text, WORD_OP, PO_##e);
#define MOD(e, text) add_word(p, p->words, text, WORD_MOD, PM_##e);
#include "runtime/sim/ops.def"
#undef OP
#undef MOD
#define X(e, text, bytes, cls) add_word(p, p->words, text, WORD_TYPE, PT_##e);
    PTX_TYPES(X)
#undef X
#define X(e, text) add_word(p, p->specials, text, WORD_OP, SR_##e);
    PTX_SPECIALS(X)
#undef X
}

Loc token_loc(const Parser *p) { return (Loc){p->source, p->tok.offset, p->tok.len}; }

bool parse_error(Parser *p, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = arena_vprintf(p->arena, fmt, ap);
    va_end(ap);
    if (!p->failed)
        diag_error(p->diags, PAWL_EXIT_INVALID, token_loc(p), NULL, "%s", text);
    p->failed = true;
    return false;
}

uint32_t line_of(Parser *p, uint32_t offset)
{
    if (offset < p->line_at) {
        p->line_at = 0;
        p->line = p->source->first_line ? p->source->first_line : 1;
    }
    for (; p->line_at < offset; p->line_at++)
        p->line += p->source->text[p->line_at] == '\n';
    return p->line;
}

/* ---- tokens ---- */

static char peek(const Parser *p, size_t ahead) { return p->at + ahead < p->source->len ? p->source->text[p->at + ahead] : 0; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_word(char c) { return is_letter(c) || is_digit(c) || c == '_' || c == '$'; }

static bool skip_space(Parser *p)
{
    for (;;) {
        char c = peek(p, 0);
        if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v') {
            p->at++;
        } else if (c == '/' && peek(p, 1) == '/') {
            while (p->at < p->source->len && peek(p, 0) != '\n')
                p->at++;
        } else if (c == '/' && peek(p, 1) == '*') {
            const char *end = memmem(p->source->text + p->at + 2, p->source->len - p->at - 2, "*/", 2);
            if (!end) {
                p->tok.offset = (uint32_t)p->at;
                p->tok.len = 2;
                return parse_error(p, "comment without an end");
            }
            p->at = (size_t)(end - p->source->text) + 2;
        } else {
            return true;
        }
    }
}

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool read_digits(Parser *p, uint32_t radix, uint32_t limit, uint64_t *value)
{
    uint32_t n = 0;
    bool over = false;
    *value = 0;
    for (int d; n < limit && (d = hex_value(peek(p, 0))) >= 0 && (uint32_t)d < radix; n++, p->at++) {
        over |= *value > (UINT64_MAX - (uint64_t)d) / radix;
        *value = *value * radix + (uint64_t)d;
    }
    return n > 0 && !over;
}

static bool read_hex_float(Parser *p, uint32_t digits, TokenKind kind)
{
    size_t start = p->at += 2;
    p->tok.kind = kind;
    return read_digits(p, 16, digits, &p->tok.value) && p->at - start == digits;
}

static bool read_decimal(Parser *p)
{
    size_t n = 0;
    while (is_digit(peek(p, n)))
        n++;
    char c = peek(p, n);
    bool exponent = (c == 'e' || c == 'E') && (is_digit(peek(p, n + 1)) || ((peek(p, n + 1) == '-' || peek(p, n + 1) == '+')));
    if ((c == '.' && !is_letter(peek(p, n + 1))) || exponent) {
        char *end;
        double v = strtod(p->source->text + p->at, &end);              /* the text ends with a NUL */
        p->tok.kind = TOKEN_F64;
        memcpy(&p->tok.value, &v, sizeof v);
        p->at = (size_t)(end - p->source->text);
        return true;
    }
    uint32_t radix = peek(p, 0) == '0' && n > 1 ? 8 : 10;
    return read_digits(p, radix, UINT32_MAX, &p->tok.value);
}

static bool read_number(Parser *p)
{
    char c = peek(p, 0) == '0' ? peek(p, 1) : 0;
    bool good;
    p->tok.kind = TOKEN_INT;
    if (c == 'x' || c == 'X') {
        p->at += 2;
        good = read_digits(p, 16, UINT32_MAX, &p->tok.value);
    } else if (c == 'b' || c == 'B') {
        p->at += 2;
        good = read_digits(p, 2, UINT32_MAX, &p->tok.value);
    } else if (c == 'f' || c == 'F') {
        good = read_hex_float(p, 8, TOKEN_F32);
    } else if (c == 'd' || c == 'D') {
        good = read_hex_float(p, 16, TOKEN_F64);
    } else {
        good = read_decimal(p);
    }
    if (good && p->tok.kind == TOKEN_INT && peek(p, 0) == 'U')
        p->at++;
    p->tok.len = (uint32_t)(p->at - p->tok.offset);
    return (good && !is_word(peek(p, 0))) || parse_error(p, "not a number");
}

static bool read_string(Parser *p)
{
    size_t start = ++p->at;
    while (p->at < p->source->len && peek(p, 0) != '"' && peek(p, 0) != '\n')
        p->at++;
    p->tok.kind = TOKEN_STRING;
    p->tok.text = str_intern_n(p->strs, p->source->text + start, p->at - start);
    p->tok.len = (uint32_t)(p->at - p->tok.offset);
    if (peek(p, 0) != '"')
        return parse_error(p, "string without an end");
    p->at++;
    return true;
}

bool token_next(Parser *p)
{
    p->tok = (Token){.kind = TOKEN_END, .offset = (uint32_t)p->at};
    if (p->failed || !skip_space(p))
        return false;
    p->tok.offset = (uint32_t)p->at;
    char c = peek(p, 0);
    if (p->at >= p->source->len)
        return true;
    if (is_digit(c))
        return read_number(p) || (p->tok.kind = TOKEN_END, false);
    if (c == '"')
        return read_string(p) || (p->tok.kind = TOKEN_END, false);
    if (is_word(c) || (c == '%' && is_word(peek(p, 1))) || (c == '.' && is_letter(peek(p, 1)))) {
        p->tok.kind = c == '.' ? TOKEN_DIRECTIVE : TOKEN_NAME;
        p->at++;
        while (is_word(peek(p, 0)))
            p->at++;
        p->tok.len = (uint32_t)(p->at - p->tok.offset);
        p->tok.text = str_intern_n(p->strs, p->source->text + p->tok.offset, p->tok.len);
        return true;
    }
    p->tok.len = 1;
    p->at++;
    if (!strchr("{}()[]<>,;:=+-*/%@!|&~^?", c))
        return parse_error(p, "unexpected character");
    p->tok.kind = TOKEN_PUNCT;
    p->tok.punct = c;
    return true;
}

Str opcode_scan(Parser *p)
{
    size_t start = p->tok.offset;
    while (is_word(peek(p, 0)) || (peek(p, 0) == '.' && is_word(peek(p, 1))) ||
           (peek(p, 0) == ':' && peek(p, 1) == ':' && is_word(peek(p, 2))) || (peek(p, 0) == ':' && p->source->text[p->at - 1] == ':'))
        p->at++;
    Str s = str_intern_n(p->strs, p->source->text + start, p->at - start);
    token_next(p);
    return s;
}

bool token_is(const Parser *p, char c) { return p->tok.kind == TOKEN_PUNCT && p->tok.punct == c; }

bool token_word(const Parser *p, const char *text)
{
    return (p->tok.kind == TOKEN_NAME || p->tok.kind == TOKEN_DIRECTIVE) && strcmp(p->tok.text, text) == 0;
}

bool token_take(Parser *p, char c)
{
    if (!token_is(p, c))
        return false;
    token_next(p);
    return true;
}

bool token_expect(Parser *p, char c)
{
    return token_take(p, c) || parse_error(p, "expected '%c'", c);
}

bool token_name(Parser *p, Str *out)
{
    if (p->tok.kind != TOKEN_NAME)
        return parse_error(p, "expected a name");
    *out = p->tok.text;
    return token_next(p);
}

/* ---- constants ---- */

enum { EXPRESSION_DEPTH = 64 };
static bool parse_sum(Parser *p, TokenKind *kind, uint64_t *v, uint32_t depth);

static bool parse_unary(Parser *p, TokenKind *kind, uint64_t *v, uint32_t depth)
{
    if (depth > EXPRESSION_DEPTH)
        return parse_error(p, "an expression is nested too deeply");
    if (token_take(p, '('))
        return parse_sum(p, kind, v, depth + 1) && token_expect(p, ')');
    if (token_is(p, '-') || token_is(p, '~') || token_is(p, '!') || token_is(p, '+')) {
        char op = p->tok.punct;
        if (!token_next(p) || !parse_unary(p, kind, v, depth + 1))
            return false;
        if (*kind != TOKEN_INT)
            *v ^= op != '-' ? 0 : *kind == TOKEN_F32 ? UINT64_C(1) << 31 : UINT64_C(1) << 63;
        else
            *v = op == '-' ? -*v : op == '~' ? ~*v : op == '!' ? !*v : *v;
        return true;
    }
    if (token_word(p, "WARP_SZ")) {
        *kind = TOKEN_INT;
        *v = 32;
        return token_next(p);
    }
    if (p->tok.kind != TOKEN_INT && p->tok.kind != TOKEN_F32 && p->tok.kind != TOKEN_F64)
        return parse_error(p, "expected a number");
    *kind = p->tok.kind;
    *v = p->tok.value;
    return token_next(p);
}

/* How tightly a binary operator at the token binds; 0: none is there. `<<` and `>>` are two tokens. */
static uint32_t binding(const Parser *p, char *op)
{
    if (p->tok.kind != TOKEN_PUNCT)
        return 0;
    *op = p->tok.punct;
    switch (*op) {
    case '*': case '/': return 6;
    case '+': case '-': return 5;
    case '<': case '>': return p->source->text[p->at] == *op ? 4 : 0;
    case '&': return 3;
    case '^': return 2;
    case '|': return 1;
    default:  return 0;
    }
}

static uint64_t calculate(char op, uint64_t a, uint64_t b)
{
    switch (op) {
    case '*': return a * b;
    case '/': return b ? a / b : 0;
    case '+': return a + b;
    case '-': return a - b;
    case '<': return b > 63 ? 0 : a << b;
    case '>': return b > 63 ? 0 : a >> b;
    case '&': return a & b;
    case '^': return a ^ b;
    default:  return a | b;
    }
}

static bool parse_binary(Parser *p, TokenKind *kind, uint64_t *v, uint32_t depth, uint32_t least)
{
    char op = 0;
    if (!parse_unary(p, kind, v, depth))
        return false;
    for (uint32_t bind; *kind == TOKEN_INT && (bind = binding(p, &op)) >= least; ) {
        TokenKind k;
        uint64_t u;
        if ((op == '<' || op == '>') && !token_next(p))
            return false;
        if (!token_next(p) || !parse_binary(p, &k, &u, depth + 1, bind + 1))
            return false;
        if (k != TOKEN_INT)
            return parse_error(p, "expected an integer");
        *v = calculate(op, *v, u);
    }
    return true;
}

static bool parse_sum(Parser *p, TokenKind *kind, uint64_t *v, uint32_t depth) { return parse_binary(p, kind, v, depth, 1); }

bool parse_constant(Parser *p, TokenKind *kind, uint64_t *value) { return parse_sum(p, kind, value, 0); }

bool parse_integer(Parser *p, int64_t *out)
{
    TokenKind k;
    uint64_t v;
    if (!parse_constant(p, &k, &v))
        return false;
    *out = (int64_t)v;
    return k == TOKEN_INT || parse_error(p, "expected an integer");
}

bool parse_type(Parser *p, PtxType *out)
{
    uint64_t w = 0;
    if (p->tok.kind == TOKEN_DIRECTIVE)
        w = map_get(p->words, (uint64_t)(uintptr_t)str_intern(p->strs, p->tok.text + 1), 0);
    if (w >> 32 != WORD_TYPE)
        return parse_error(p, "expected a type, such as .b32");
    *out = (PtxType)(uint32_t)w;
    return token_next(p);
}
