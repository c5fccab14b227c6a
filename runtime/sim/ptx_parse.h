/* runtime/sim/ptx_parse.h — what the files of the parser share: tokens, scopes, the parser itself. */
#pragma once
#include "runtime/sim/ptx.h"
#include "runtime/sim/select.h"

typedef enum { TOKEN_END, TOKEN_NAME, TOKEN_DIRECTIVE /* .word */, TOKEN_INT, TOKEN_F32, TOKEN_F64, TOKEN_STRING, TOKEN_PUNCT } TokenKind;
typedef struct {
    TokenKind kind;
    char      punct;
    uint32_t  offset, len;
    Str       text;                    /* names, directives (with the dot), strings (without quotes) */
    uint64_t  value;                   /* integers; bits of floats */
} Token;

typedef enum { SYMBOL_REGISTER, SYMBOL_RANGE, SYMBOL_VAR, SYMBOL_FUNCTION, SYMBOL_LABEL, SYMBOL_TABLE, SYMBOL_PROTOTYPE } SymbolKind;
typedef struct {
    SymbolKind kind;
    PtxSlot   slot;                    /* register; first of a range */
    uint32_t  count, target, n_targets;            /* range; label, table */
    PtxVar   *var;
    PtxFunction *function;
} Symbol;

typedef struct Scope { struct Scope *outer; Map *names; } Scope;
typedef struct { Scope *scope; Str name; Loc loc; uint32_t inst, operand /* UINT32_MAX: entry `inst` of module->targets */; } LabelUse;
typedef struct { Str text; Loc loc; uint32_t uses; } Missing;

typedef enum { WORD_TYPE = 1, WORD_OP, WORD_MOD } WordKind;

typedef struct Parser {
    Arena *arena;
    Diags *diags;
    StrPool *strs;
    const Source *source;
    PtxModule *module;
    Token tok;
    size_t at;                         /* behind tok */
    uint32_t line_at, line;            /* line of an offset, counted forward */
    Scope *scope;
    PtxFunction *function;
    Map *ops, *words, *specials, *constants;       /* by interned text; constants by hash */
    Vec(LabelUse) uses;
    Vec(Missing) missing;
    uint32_t file, file_line;          /* of the last .loc */
    uint64_t var_bytes;                /* of all variables: bounded */
    bool failed;
} Parser;

/* ptx_lex.c */
void  parser_init(Parser *p, Arena *a, Diags *d, const Source *s);
bool  token_next(Parser *p);           /* false: diagnosed; p->tok is then TOKEN_END */
bool  parse_error(Parser *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));      /* at the token; false */
bool  token_is(const Parser *p, char punct);
bool  token_word(const Parser *p, const char *text);                 /* a name or directive */
bool  token_take(Parser *p, char punct);                             /* consumes it if it is there */
bool  token_expect(Parser *p, char punct);
bool  token_name(Parser *p, Str *out);
Loc   token_loc(const Parser *p);
uint32_t line_of(Parser *p, uint32_t offset);
Str   opcode_scan(Parser *p);          /* the token is its first word: all of it; the next token is read */
/* [+-~!] constant expressions; floats only alone. *kind TOKEN_INT, TOKEN_F32 or TOKEN_F64. */
bool  parse_constant(Parser *p, TokenKind *kind, uint64_t *value);
bool  parse_integer(Parser *p, int64_t *out);
bool  parse_type(Parser *p, PtxType *out);

/* scopes and variables: ptx_parse.c */
void    scope_open(Parser *p);
void    scope_close(Parser *p);
bool    scope_add(Parser *p, Str name, Symbol *s);                   /* false: diagnosed, declared twice */
Symbol *scope_find(Parser *p, Str name);
bool    parse_variable(Parser *p, PtxSpace space, bool is_extern);   /* from behind .global and so on, to behind the ; */
bool    parse_param(Parser *p, PtxFunction *f, bool result);
uint32_t constant_slot(Parser *p, uint64_t value, uint32_t bytes);
uint32_t address_slot(Parser *p, const PtxVar *v, int64_t add, uint32_t bytes);

bool parse_body(Parser *p, PtxFunction *f);                          /* ptx_body.c: from behind { to behind } */
bool parse_instruction(Parser *p);                                   /* ptx_inst.c: to behind the ; */
bool flow_analyse(PtxModule *m, const PtxFunction *f, Arena *scratch);   /* ptx_flow.c: depths */
bool call_has_body(const PtxInst *i);                                /* exec_control.c: false: of a function that nobody defines */
