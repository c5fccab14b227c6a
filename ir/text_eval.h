/* ir/text_eval.h — attribute expressions: what they may name, and their values. */
#pragma once
#include "ir/text.h"

typedef enum { AV_DIM, AV_FLOAT, AV_LIST, AV_DTYPE, AV_STR } AttrValKind;      /* integers and truth values are dims */
typedef struct AttrVal AttrVal;
struct AttrVal {
    AttrValKind kind;
    union { Dim dim; double f; DType dtype; Str s; const AttrVal **items; };
    uint32_t n;                                 /* of items */
};

typedef struct {
    Context *cx;
    Arena *arena;                               /* results live here */
    Map *values;                                /* Str -> Node*: %x in dim(%x, 0); may be NULL */
    Map *attrs;                                 /* Str -> const AttrVal*: attributes of a composite, dims with one value; may be NULL */
    bool symbols;                               /* names may be symbols of the dim pool */
    bool create;                                /* unknown names become symbols of unknown range */
    Map *poisoned;                              /* Str: values whose definition failed: no further message; may be NULL */
    Loc at;                                     /* where to report instead of the expression's place, when at.source */
} TextScope;

const AttrVal *text_eval(const TextScope *s, const TextExpr *e);              /* NULL: diagnosed */
bool text_eval_type(const TextScope *s, const TextExpr *e, Type *out);
bool text_eval_is_function(const char *name);                                 /* dim, rank, … */
Node *text_value(const TextScope *s, const TextExpr *e);                      /* what %x is; NULL: diagnosed or poisoned */
bool attrval_number(const AttrVal *v, double *out, bool *is_int);             /* constant dims and floats */
bool attrval_int(const AttrVal *v, int64_t *out);                             /* constant dims */
Loc  text_loc(const TextScope *s, const TextExpr *e);
