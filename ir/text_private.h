/* ir/text_private.h — the parser's entry points over part of a source, and `graph { … }` before it is built. Private to ir/. */
#pragma once
#include "ir/text.h"

/* type ~ dist [options] */
typedef struct { TextExpr *type, *dist; TextKeyArg *opts; uint32_t n_opts; Loc loc; } TextDecl;
typedef struct { Op op; Str name; TextDecl decl; Loc loc; } TextInput;
typedef struct { Str name; int64_t lo, hi; Loc loc; } TextDim;
typedef struct {
    Str name;
    TextDim *dims; uint32_t n_dims;
    TextInput *inputs; uint32_t n_inputs;
    TextBlock body;
    Loc loc;
} TextGraph;

bool text_parse_items(Context *cx, const Source *s, TextFunc **funcs, uint32_t *n_funcs, TextGraph **graphs, uint32_t *n_graphs);
/* The bytes [begin, end) of a source, so that places are those of the whole file. */
bool text_parse_block_in(Context *cx, const Source *s, size_t begin, size_t end, TextBlock *out);
bool text_parse_decl_in(Context *cx, const Source *s, size_t begin, size_t end, TextDecl *out);
TextExpr *text_parse_expr_in(Context *cx, const Source *s, size_t begin, size_t end);
bool text_is_name(const char *s);                 /* letters, digits, _ and inner dots; no digit first */
