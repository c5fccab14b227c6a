/* ir/text_build.h — declarations, and building with names of the caller's own. Private to ir/ and ir/import/. */
#pragma once
#include "ir/text_eval.h"
#include "ir/text_private.h"

/* Declares an input or param of `g`, with its distribution and options; adds it to `values`. */
bool text_declare(Graph *g, const TextScope *s, Op op, Str name, const TextDecl *decl, Loc loc, Map *values);
bool text_declare_dim(Context *cx, Str name, int64_t lo, int64_t hi, Loc loc);
/* text_build where names in attributes may also be those of `consts` (Str -> AttrVal*, may be NULL). */
bool text_build_with(Graph *g, const TextBlock *b, Map *values, const Functions *f, Map *consts);
/* A call's callee: the number of leading arguments that are operands, and the composite when it is one. */
typedef struct { Op op; const TextFunc *func; uint32_t n_operands; } TextCallee;
bool text_callee(Context *cx, const Functions *f, const TextExpr *call, Loc loc, TextCallee *out);   /* false: diagnosed */
bool text_names_operation(const Functions *f, const char *name);
bool function_named(const Functions *f, const char *name);           /* of any arity */

enum { TEXT_MAX_RESULTS = 16 };
typedef struct {
    Graph *g;
    Context *cx;
    const Functions *f;
    Str origin;                               /* outermost composite being inlined */
    int depth;
    bool noted;                               /* the place inside the composite has been told */
} TextBuilder;
/* The results of a call, at most TEXT_MAX_RESULTS of them; 0: diagnosed. */
uint32_t text_build_call(TextBuilder *b, const TextScope *s, const TextExpr *call, Node **out);
Node    *text_build_node(TextBuilder *b, const TextScope *s, const TextExpr *e);
