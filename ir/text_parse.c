/* ir/text_parse.c — text to AST: a lexer that makes one token at a time, and a recursive-descent parser. Nesting is limited,
 * so that no input can exhaust the stack, here or in those who walk the AST. The first syntax error ends the parse. */
#include "ir/text_private.h"
#include "base/vec.h"
#include <math.h>
#include <string.h>

enum { MAX_NESTING = 100, MAX_OPERATORS = 1000 };

typedef enum { TOK_END, TOK_VALUE, TOK_NAME, TOK_NUMBER, TOK_STRING, TOK_PUNCT } TokenKind;
typedef struct {
    TokenKind kind;
    Loc loc;
    Str text;                           /* VALUE, NAME, STRING */
    int punct;                          /* one character, or two as PAIR('/', '/') */
    double number; bool is_int; int64_t integer;
} Token;
#define PAIR(a, b) ((a) << 8 | (b))

typedef struct {
    Context *cx;
    const Source *s;
    size_t pos, end;
    Token tok;                          /* the next token, not yet consumed */
    size_t after;                       /* where it ends */
    int nest;                           /* open brackets: inside them % after an operand is modulo */
    int depth, operators;
    bool failed;
} Parser;

typedef Vec(TextKeyArg) ArgVec;
typedef Vec(TextExpr *) ExprVec;

/* ---- lexer ------------------------------------------------------------------------------------------------------------- */
static bool fail(Parser *p, Loc loc, const char *hint, const char *text)
{
    if (!p->failed)
        diag_error(p->cx->diags, PAWL_EXIT_INVALID, loc, hint, "%s", text);
    p->failed = true;
    p->tok.kind = TOK_END;
    p->pos = p->end;
    return false;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_word(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

static char char_at(const Parser *p, size_t at) { return at < p->end ? p->s->text[at] : '\0'; }

static size_t skip_blank(const Parser *p, size_t at)
{
    for (;;) {
        char c = char_at(p, at);
        if (at < p->end && (c == ' ' || c == '\t' || c == '\n' || c == '\r'))
            at++;
        else if (c == '#')
            while (at < p->end && p->s->text[at] != '\n')
                at++;
        else
            return at;
    }
}

/* The end of a name that starts at `at`: words joined by single dots. */
static size_t name_end(const Parser *p, size_t at)
{
    while (is_word(char_at(p, at)) || (char_at(p, at) == '.' && is_word(char_at(p, at + 1))))
        at++;
    return at;
}

bool text_is_name(const char *s)
{
    Parser p = {.s = &(Source){.text = s, .len = strlen(s)}, .end = strlen(s)};
    return is_word(s[0]) && !is_digit(s[0]) && name_end(&p, 0) == p.end;
}

static void lex_number(Parser *p, Token *t)
{
    size_t at = p->pos;
    bool is_int = true;

    while (is_digit(char_at(p, at)))
        at++;
    if (char_at(p, at) == '.' && is_digit(char_at(p, at + 1))) {
        is_int = false;
        for (at++; is_digit(char_at(p, at)); )
            at++;
    } else if (char_at(p, at) == '.' && char_at(p, at + 1) != '.' && at > p->pos) {
        is_int = false;
        at++;
    }
    if (char_at(p, at) == 'e' || char_at(p, at) == 'E') {
        size_t e = at + 1 + (char_at(p, at + 1) == '-' || char_at(p, at + 1) == '+');
        if (is_digit(char_at(p, e))) {
            is_int = false;
            for (at = e; is_digit(char_at(p, at)); )
                at++;
        }
    }
    const char *text = arena_strndup(p->cx->scratch, p->s->text + p->pos, at - p->pos);
    t->kind = TOK_NUMBER;
    t->is_int = is_int;
    t->loc = loc_at(p->s, p->pos, at - p->pos);
    p->after = at;
    if (is_word(char_at(p, at)))
        fail(p, loc_at(p->s, p->pos, at + 1 - p->pos), NULL, "malformed number");
    else if (is_int && !str_to_i64(text, &t->integer))
        fail(p, t->loc, NULL, "this integer does not fit 64 bits");
    else if (!is_int && !str_to_double(text, &t->number))
        fail(p, t->loc, NULL, "malformed number");
    if (is_int)
        t->number = (double)t->integer;
}

static void lex_string(Parser *p, Token *t)
{
    StrBuf b = strbuf_new(p->cx->scratch);
    size_t at = p->pos + 1;

    for (; char_at(p, at) != '"'; at++) {
        char c = char_at(p, at);
        if (at >= p->end || c == '\n') {
            fail(p, loc_at(p->s, p->pos, 1), NULL, "this string has no closing quote");
            return;
        }
        if (c == '\\' && (char_at(p, at + 1) == '"' || char_at(p, at + 1) == '\\' || char_at(p, at + 1) == 'n'))
            c = char_at(p, ++at) == 'n' ? '\n' : char_at(p, at);
        strbuf_char(&b, c);
    }
    *t = (Token){.kind = TOK_STRING, .loc = loc_at(p->s, p->pos, at + 1 - p->pos),
                 .text = b.len ? str_intern_n(p->cx->strs, b.text, b.len) : str_intern(p->cx->strs, "")};
    p->after = at + 1;
}

static void lex_punct(Parser *p, Token *t)
{
    static const char *const pairs[] = {"//", "==", "!=", "<=", ">=", ".."};
    unsigned char c = (unsigned char)char_at(p, p->pos);
    size_t len = 1;

    t->kind = TOK_PUNCT;
    t->punct = c;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (c == (unsigned char)pairs[i][0] && char_at(p, p->pos + 1) == pairs[i][1]) {
            t->punct = PAIR(pairs[i][0], pairs[i][1]);
            len = 2;
        }
    t->loc = loc_at(p->s, p->pos, len);
    p->after = p->pos + len;
    if (len == 1 && (c == 0 || !strchr("()[]{},=:+-*/%<>~", c))) {
        size_t width = 1;
        while (width < 4 && ((unsigned char)char_at(p, p->pos + width) & 0xc0) == 0x80)
            width++;
        bool shown = c >= 0xc0 || (c > ' ' && c < 0x7f);
        fail(p, loc_at(p->s, p->pos, c >= 0xc0 ? width : 1), NULL,
             shown ? arena_printf(p->cx->scratch, "unexpected '%.*s'", (int)(c >= 0xc0 ? width : 1), p->s->text + p->pos)
                   : arena_printf(p->cx->scratch, "unexpected character 0x%02x", c));
    }
}

static bool ends_operand(const Token *t)
{
    return t->kind == TOK_VALUE || t->kind == TOK_NAME || t->kind == TOK_NUMBER || t->kind == TOK_STRING ||
           (t->kind == TOK_PUNCT && (t->punct == ')' || t->punct == ']'));
}

static void advance(Parser *p)
{
    bool modulo = p->nest > 0 && ends_operand(&p->tok);
    Token t = {0};

    if (p->failed)
        return;
    p->pos = skip_blank(p, p->after);
    if (p->pos >= p->end) {
        p->tok = (Token){.kind = TOK_END, .loc = loc_at(p->s, p->end, 0)};
        return;
    }
    char c = p->s->text[p->pos];
    if (c == '%' && !modulo && is_word(char_at(p, p->pos + 1))) {
        p->after = name_end(p, p->pos + 1);
        t = (Token){.kind = TOK_VALUE, .loc = loc_at(p->s, p->pos, p->after - p->pos)};
        t.text = str_intern_n(p->cx->strs, p->s->text + p->pos + 1, p->after - p->pos - 1);
    } else if (is_digit(c) || (c == '.' && is_digit(char_at(p, p->pos + 1)))) {
        lex_number(p, &t);
    } else if (is_word(c)) {
        p->after = name_end(p, p->pos);
        t = (Token){.kind = TOK_NAME, .loc = loc_at(p->s, p->pos, p->after - p->pos)};
        t.text = str_intern_n(p->cx->strs, p->s->text + p->pos, p->after - p->pos);
    } else if (c == '"') {
        lex_string(p, &t);
    } else {
        lex_punct(p, &t);
    }
    if (!p->failed)
        p->tok = t;
}

/* ---- parser: small steps ------------------------------------------------------------------------------------------------ */
static bool at_punct(const Parser *p, int punct) { return p->tok.kind == TOK_PUNCT && p->tok.punct == punct; }
static bool at_name(const Parser *p, const char *name) { return p->tok.kind == TOK_NAME && strcmp(p->tok.text, name) == 0; }

/* The name that comes next is followed by `=` (and not by `==`). */
static bool at_keyword(const Parser *p)
{
    size_t at = skip_blank(p, p->after);
    return p->tok.kind == TOK_NAME && char_at(p, at) == '=' && char_at(p, at + 1) != '=';
}

static const char *token_text(const Parser *p)
{
    if (p->tok.kind == TOK_END)
        return "the end";
    return arena_printf(p->cx->scratch, "'%.*s'", (int)p->tok.loc.len, p->s->text + p->tok.loc.offset);
}

static bool expected(Parser *p, const char *what)
{
    return fail(p, p->tok.loc, NULL, arena_printf(p->cx->scratch, "expected %s, found %s", what, token_text(p)));
}

static bool accept(Parser *p, int punct)
{
    if (!at_punct(p, punct))
        return false;
    if (punct == '(' || punct == '[')
        p->nest++;
    advance(p);
    return true;
}

static bool expect(Parser *p, int punct, const char *what)
{
    if (!at_punct(p, punct))
        return expected(p, what);
    advance(p);
    return !p->failed;
}

static bool close_bracket(Parser *p, int punct, const char *what)
{
    if (!at_punct(p, punct))
        return expected(p, what);
    p->nest--;
    advance(p);
    return !p->failed;
}

static Str expect_name(Parser *p, const char *what)
{
    Str name = p->tok.text;
    if (p->tok.kind != TOK_NAME) {
        expected(p, what);
        return NULL;
    }
    advance(p);
    return name;
}

static TextExpr *expr_new(Parser *p, TextKind kind, Loc loc)
{
    TextExpr *e = arena_new_of(p->cx->arena, TextExpr);
    e->kind = kind;
    e->loc = loc;
    return e;
}

static TextKeyArg *args_keep(Parser *p, const ArgVec *v)
{
    return v->n ? arena_copy(p->cx->arena, v->data, v->n * sizeof *v->data) : NULL;
}

/* ---- expressions --------------------------------------------------------------------------------------------------------- */
static TextExpr *parse_expr(Parser *p);
static TextExpr *parse_binary(Parser *p, int least);

static TextExpr *parse_index(Parser *p)
{
    TextExpr *index;

    accept(p, '[');
    if (at_punct(p, '*')) {
        index = expr_new(p, TE_STAR, p->tok.loc);
        advance(p);
    } else {
        index = parse_expr(p);
    }
    return index && close_bracket(p, ']', "']'") ? index : NULL;
}

/* Items up to `close`, separated by commas; a trailing comma is allowed. */
static bool parse_items(Parser *p, int close, const char *what, bool keywords, TextExpr *into)
{
    ArgVec items = {0};

    while (!at_punct(p, close)) {
        TextKeyArg arg = {.loc = p->tok.loc};
        if (keywords && at_keyword(p)) {
            arg.key = p->tok.text;
            advance(p);
            advance(p);
        }
        if (!(arg.value = parse_expr(p)))
            return false;
        vec_push(p->cx->scratch, &items, arg);
        if (!at_punct(p, close) && !expect(p, ',', what))
            return false;
    }
    into->args = args_keep(p, &items);
    into->n = items.n;
    return close_bracket(p, close, what);
}

static TextExpr *parse_name(Parser *p)
{
    Token t = p->tok;

    advance(p);
    if (strcmp(t.text, "inf") == 0 || strcmp(t.text, "nan") == 0) {
        TextExpr *e = expr_new(p, TE_NUMBER, t.loc);
        e->number = t.text[0] == 'i' ? INFINITY : NAN;
        return e;
    }
    TextExpr *e = expr_new(p, TE_NAME, t.loc);
    e->name = t.text;
    if (accept(p, '(')) {
        e->kind = TE_CALL;
        return parse_items(p, ')', "',' or ')'", true, e) ? e : NULL;
    }
    if (at_punct(p, '[') && !(e->index = parse_index(p)))
        return NULL;
    return e;
}

static TextExpr *parse_primary(Parser *p)
{
    Token t = p->tok;
    TextExpr *e;

    switch (t.kind) {
    case TOK_VALUE:
        e = expr_new(p, TE_VALUE, t.loc);
        e->name = t.text;
        advance(p);
        if (at_punct(p, '[') && p->tok.loc.offset == t.loc.offset + t.loc.len && !(e->index = parse_index(p)))
            return NULL;
        return e;
    case TOK_NAME:
        return parse_name(p);
    case TOK_NUMBER:
        e = expr_new(p, TE_NUMBER, t.loc);
        e->number = t.number;
        e->is_int = t.is_int;
        e->integer = t.integer;
        advance(p);
        return e;
    case TOK_STRING:
        e = expr_new(p, TE_STRING, t.loc);
        e->name = t.text;
        advance(p);
        return e;
    case TOK_PUNCT:
        if (accept(p, '(')) {
            e = parse_expr(p);
            return e && close_bracket(p, ')', "')'") ? e : NULL;
        }
        if (accept(p, '[')) {
            e = expr_new(p, TE_LIST, t.loc);
            return parse_items(p, ']', "',' or ']'", false, e) ? e : NULL;
        }
        if (t.punct == PAIR('.', '.')) {
            e = expr_new(p, TE_NAME, t.loc);
            e->name = str_intern(p->cx->strs, "..");
            advance(p);
            return e;
        }
        break;
    case TOK_END:
        break;
    }
    expected(p, "an expression");
    return NULL;
}

typedef struct { const char *word, *name; int punct, precedence; } Operator;
static const Operator operators[] = {
    {"or", "or", 0, 1}, {"and", "and", 0, 2},
    {NULL, "==", PAIR('=', '='), 4}, {NULL, "!=", PAIR('!', '='), 4}, {NULL, "<", '<', 4}, {NULL, ">", '>', 4},
    {NULL, "<=", PAIR('<', '='), 4}, {NULL, ">=", PAIR('>', '='), 4},
    {NULL, "+", '+', 5}, {NULL, "-", '-', 5},
    {NULL, "*", '*', 6}, {NULL, "/", '/', 6}, {NULL, "//", PAIR('/', '/'), 6}, {NULL, "%", '%', 6},
};

static const Operator *operator_at(const Parser *p)
{
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (operators[i].word ? at_name(p, operators[i].word) : at_punct(p, operators[i].punct))
            return &operators[i];
    return NULL;
}

static TextExpr *expr_of(Parser *p, TextKind kind, const char *name, Loc loc, TextExpr *a, TextExpr *b)
{
    TextExpr *e = expr_new(p, kind, loc);

    e->n = b ? 2 : 1;
    e->name = str_intern(p->cx->strs, name);
    e->args = arena_new_array(p->cx->arena, TextKeyArg, e->n);
    e->args[0] = (TextKeyArg){.value = a, .loc = a->loc};
    if (b)
        e->args[1] = (TextKeyArg){.value = b, .loc = b->loc};
    return e;
}

static TextExpr *parse_unary(Parser *p)
{
    Loc loc = p->tok.loc;
    TextExpr *e;

    if (++p->operators > MAX_OPERATORS) {
        fail(p, loc, NULL, "this expression is too long");
        return NULL;
    }
    if (accept(p, '-')) {
        if (!(e = parse_unary(p)))
            return NULL;
        if (e->kind != TE_NUMBER || (e->is_int && e->integer < 0))
            return expr_of(p, TE_NEG, "-", loc, e, NULL);
        e->number = -e->number;
        e->integer = -e->integer;
        e->is_int &= e->integer != 0;                          /* -0 is a float: integers have one zero */
        e->loc = loc_at(p->s, loc.offset, e->loc.offset + e->loc.len - loc.offset);
        return e;
    }
    if (at_name(p, "not") && !at_keyword(p)) {
        advance(p);
        return (e = parse_binary(p, 3)) ? expr_of(p, TE_CALL, "not", loc, e, NULL) : NULL;
    }
    p->operators--;
    return parse_primary(p);
}

static TextExpr *parse_binary(Parser *p, int least)
{
    TextExpr *left = parse_unary(p);
    const Operator *op;

    while (left && (op = operator_at(p)) && op->precedence >= least) {
        Loc loc = p->tok.loc;
        if (++p->operators > MAX_OPERATORS) {
            fail(p, loc, NULL, "this expression is too long");
            return NULL;
        }
        advance(p);
        TextExpr *right = parse_binary(p, op->precedence + 1);
        if (!right)
            return NULL;
        left = expr_of(p, TE_BINARY, op->name, loc, left, right);
    }
    return left;
}

static TextExpr *parse_expr(Parser *p)
{
    TextExpr *e = NULL;

    if (++p->depth > MAX_NESTING)
        fail(p, p->tok.loc, "name the inner values on lines of their own", "this is nested too deeply");
    else
        e = parse_binary(p, 1);
    p->depth--;
    return e;
}

/* ---- types, declarations, statements ---------------------------------------------------------------------------------------- */
static TextExpr *parse_type(Parser *p)
{
    Loc loc = p->tok.loc;
    Str name = expect_name(p, "a type such as bf16[B, 2048]");

    if (!name)
        return NULL;
    TextExpr *e = expr_new(p, TE_NAME, loc);
    e->name = name;
    if (!accept(p, '['))
        return e;
    e->kind = TE_CALL;
    return parse_items(p, ']', "',' or ']'", false, e) ? e : NULL;
}

static bool parse_options(Parser *p, TextDecl *out)
{
    ArgVec opts = {0};

    while (!at_punct(p, ']')) {
        TextKeyArg opt = {.loc = p->tok.loc};
        bool has_value = at_keyword(p);
        if (!(opt.key = expect_name(p, "an option")))
            return false;
        if (has_value) {
            advance(p);
            if (!(opt.value = parse_expr(p)))
                return false;
        }
        vec_push(p->cx->scratch, &opts, opt);
        if (!at_punct(p, ']') && !expect(p, ',', "',' or ']'"))
            return false;
    }
    out->opts = args_keep(p, &opts);
    out->n_opts = opts.n;
    return close_bracket(p, ']', "']'");
}

static bool parse_decl(Parser *p, TextDecl *out)
{
    *out = (TextDecl){.loc = p->tok.loc};
    if (!(out->type = parse_type(p)))
        return false;
    if (accept(p, '~') && !(out->dist = parse_expr(p)))
        return false;
    return !accept(p, '[') || parse_options(p, out);
}

static TextExpr *parse_value(Parser *p)
{
    if (p->tok.kind != TOK_VALUE) {
        expected(p, "a value such as %x");
        return NULL;
    }
    return parse_primary(p);
}

static TextExpr **exprs_keep(Parser *p, const ExprVec *v)
{
    return v->n ? arena_copy(p->cx->arena, v->data, v->n * sizeof *v->data) : NULL;
}

static bool parse_statement(Parser *p, TextStatement *st)
{
    ExprVec out = {0};
    TextExpr *e;

    *st = (TextStatement){.loc = p->tok.loc};
    p->operators = 0;
    do {
        if (!(e = parse_value(p)))
            return false;
        vec_push(p->cx->scratch, &out, e);
    } while (accept(p, ','));
    st->out = exprs_keep(p, &out);
    st->n_out = out.n;
    if (accept(p, '=')) {
        if (p->tok.kind == TOK_VALUE || p->tok.kind == TOK_NAME)
            st->call = parse_primary(p);
        else
            expected(p, "a call such as add(%x, %y)");
        if (!st->call)
            return false;
    } else if (!at_punct(p, ':')) {
        return expected(p, "'='");
    }
    return !accept(p, ':') || (st->type = parse_type(p)) != NULL;
}

static bool parse_return(Parser *p, TextBlock *out)
{
    ExprVec ret = {0};
    Vec(Str) names = {0};

    advance(p);
    do {
        Str name = NULL;
        if (at_keyword(p)) {
            name = p->tok.text;
            advance(p);
            advance(p);
        }
        p->operators = 0;
        TextExpr *e = parse_expr(p);
        if (!e)
            return false;
        vec_push(p->cx->scratch, &ret, e);
        vec_push(p->cx->scratch, &names, name);
    } while (accept(p, ','));
    out->ret = exprs_keep(p, &ret);
    out->ret_names = arena_copy(p->cx->arena, names.data, names.n * sizeof *names.data);
    out->n_ret = ret.n;
    return true;
}

static bool parse_block(Parser *p, TextBlock *out)
{
    Vec(TextStatement) list = {0};

    *out = (TextBlock){0};
    while (p->tok.kind == TOK_VALUE) {
        TextStatement st;
        if (!parse_statement(p, &st))
            return false;
        vec_push(p->cx->scratch, &list, st);
    }
    out->s = list.n ? arena_copy(p->cx->arena, list.data, list.n * sizeof *list.data) : NULL;
    out->n = list.n;
    return at_name(p, "return") ? parse_return(p, out) : !p->failed;
}

/* ---- files ------------------------------------------------------------------------------------------------------------------- */
static bool parse_func(Parser *p, TextFunc *f)
{
    ExprVec params = {0};
    ArgVec attrs = {0};
    TextExpr *e;

    *f = (TextFunc){.loc = p->tok.loc};
    if (!(f->name = expect_name(p, "the function's name")) || !at_punct(p, '('))
        return p->failed ? false : expected(p, "'('");
    accept(p, '(');
    while (!at_punct(p, ')')) {
        if (p->tok.kind == TOK_VALUE) {
            if (!(e = parse_value(p)))
                return false;
            vec_push(p->cx->scratch, &params, e);
        } else {
            TextKeyArg attr = {.loc = p->tok.loc};
            bool has_default = at_keyword(p);
            if (!(attr.key = expect_name(p, "a parameter")))
                return false;
            if (has_default) {
                advance(p);
                if (!(attr.value = parse_expr(p)))
                    return false;
            }
            vec_push(p->cx->scratch, &attrs, attr);
        }
        if (!at_punct(p, ')') && !expect(p, ',', "',' or ')'"))
            return false;
    }
    f->params = exprs_keep(p, &params);
    f->n_params = params.n;
    f->attrs = args_keep(p, &attrs);
    f->n_attrs = attrs.n;
    return close_bracket(p, ')', "')'") && expect(p, '{', "'{'") && parse_block(p, &f->body) && expect(p, '}', "a statement or '}'");
}

static bool parse_bound(Parser *p, int64_t *out)
{
    if (p->tok.kind != TOK_NUMBER || !p->tok.is_int)
        return expected(p, "an integer");
    *out = p->tok.integer;
    advance(p);
    return !p->failed;
}

static bool parse_dim(Parser *p, TextDim *d)
{
    *d = (TextDim){.loc = p->tok.loc};
    if (!(d->name = expect_name(p, "the dim's name")))
        return false;
    if (!at_name(p, "in"))
        return expected(p, "'in'");
    advance(p);
    if (!at_punct(p, '['))
        return expected(p, "a range such as [1, 64]");
    accept(p, '[');
    return parse_bound(p, &d->lo) && expect(p, ',', "','") && parse_bound(p, &d->hi) && close_bracket(p, ']', "']'");
}

static bool parse_input(Parser *p, Op op, TextInput *in)
{
    *in = (TextInput){.op = op, .name = p->tok.text, .loc = p->tok.loc};
    p->operators = 0;
    if (p->tok.kind != TOK_VALUE)
        return expected(p, "a value such as %x");
    advance(p);
    return expect(p, ':', "':' and a type") && parse_decl(p, &in->decl);
}

static bool parse_graph(Parser *p, TextGraph *g)
{
    Vec(TextDim) dims = {0};
    Vec(TextInput) inputs = {0};

    *g = (TextGraph){.loc = p->tok.loc};
    if (!(g->name = expect_name(p, "the graph's name")) || !expect(p, '{', "'{'"))
        return false;
    for (;;) {
        bool is_input = at_name(p, "input"), is_param = at_name(p, "param");
        if (at_name(p, "dim")) {
            TextDim d;
            advance(p);
            if (!parse_dim(p, &d))
                return false;
            vec_push(p->cx->scratch, &dims, d);
        } else if (is_input || is_param) {
            TextInput in;
            advance(p);
            if (!parse_input(p, is_input ? OP_INPUT : OP_PARAM, &in))
                return false;
            vec_push(p->cx->scratch, &inputs, in);
        } else {
            break;
        }
    }
    g->dims = dims.n ? arena_copy(p->cx->arena, dims.data, dims.n * sizeof *dims.data) : NULL;
    g->n_dims = dims.n;
    g->inputs = inputs.n ? arena_copy(p->cx->arena, inputs.data, inputs.n * sizeof *inputs.data) : NULL;
    g->n_inputs = inputs.n;
    return parse_block(p, &g->body) && expect(p, '}', "a statement, return or '}'");
}

static bool finish(Context *cx, ArenaMark mark, bool ok)
{
    arena_reset(cx->scratch, mark);
    return ok;
}

static Parser parser_of(Context *cx, const Source *s, size_t begin, size_t end)
{
    Parser p = {.cx = cx, .s = s, .pos = begin, .end = end, .after = begin};
    return p;
}

static bool at_end(Parser *p, const char *what)
{
    return p->tok.kind == TOK_END ? !p->failed : expected(p, what);
}

bool text_parse_items(Context *cx, const Source *s, TextFunc **funcs, uint32_t *n_funcs, TextGraph **graphs, uint32_t *n_graphs)
{
    Parser p = parser_of(cx, s, 0, s->len);
    ArenaMark mark = arena_mark(cx->scratch);
    Vec(TextFunc) fs = {0};
    Vec(TextGraph) gs = {0};

    advance(&p);
    while (p.tok.kind != TOK_END) {
        TextFunc f;
        TextGraph g;
        if (at_name(&p, "func")) {
            advance(&p);
            if (!parse_func(&p, &f))
                return finish(cx, mark, false);
            vec_push(cx->arena, &fs, f);
        } else if (at_name(&p, "graph")) {
            advance(&p);
            if (!parse_graph(&p, &g))
                return finish(cx, mark, false);
            vec_push(cx->arena, &gs, g);
        } else {
            return finish(cx, mark, expected(&p, "'graph' or 'func'"));
        }
    }
    *funcs = fs.data;
    *n_funcs = fs.n;
    *graphs = gs.data;
    *n_graphs = gs.n;
    return finish(cx, mark, !p.failed);
}

bool text_parse_block_in(Context *cx, const Source *s, size_t begin, size_t end, TextBlock *out)
{
    Parser p = parser_of(cx, s, begin, end);
    ArenaMark mark = arena_mark(cx->scratch);

    advance(&p);
    return finish(cx, mark, parse_block(&p, out) && at_end(&p, "a statement such as %y = add(%x, 1)"));
}

bool text_parse_block(Context *cx, const Source *s, TextBlock *out)
{
    return text_parse_block_in(cx, s, 0, s->len, out);
}

bool text_parse_decl_in(Context *cx, const Source *s, size_t begin, size_t end, TextDecl *out)
{
    Parser p = parser_of(cx, s, begin, end);
    ArenaMark mark = arena_mark(cx->scratch);

    advance(&p);
    return finish(cx, mark, parse_decl(&p, out) && at_end(&p, "'~', an option in [ ] or the end"));
}

TextExpr *text_parse_expr_in(Context *cx, const Source *s, size_t begin, size_t end)
{
    Parser p = parser_of(cx, s, begin, end);
    ArenaMark mark = arena_mark(cx->scratch);

    p.nest = 1;
    advance(&p);
    TextExpr *e = parse_expr(&p);
    return finish(cx, mark, e && at_end(&p, "an operator or the end")) ? e : NULL;
}

TextExpr *text_parse_expr(Context *cx, const Source *s) { return text_parse_expr_in(cx, s, 0, s->len); }
