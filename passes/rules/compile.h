/* passes/rules/compile.h — what the files that turn a rule's text into programs share. Private to passes/rules/compile*.c. */
#pragma once
#include "base/yaml.h"
#include "ir/text.h"
#include "passes/rules/rule.h"

typedef struct { Str name; OpSet ops; uint8_t slot; } OpVar;           /* `alternatives:` */
typedef struct { const TextStatement *s; Str name; bool indexed, used, placed; uint8_t slot; } Definition;

typedef struct Compiler {
    Context *cx;
    Rule    *rule;
    bool     building;                        /* in `rewrite`: names may be shadowed, elements are list entries */
    Str      index;                           /* i of %w[i], or NULL */
    OpVar    op_vars[RULE_MAX_OPS]; uint32_t n_op_vars;
    Definition *defs; uint32_t n_defs;
    bool     in_element;                      /* the pattern at hand belongs to %name[i] */
    bool     finding;                         /* … or to a root after the first */
    uint8_t  list_of[RULE_MAX_VALUES];        /* the list that an element's value slot goes to; RULE_NO_SLOT for others */
    uint8_t  block_of[RULE_MAX_VALUES];       /* which EACH, SIBLINGS or FIND an element belongs to; 0: none */
    uint8_t  n_blocks, block;
    uint32_t attr_bound;                      /* attribute slots that a step has filled by now */
    YamlNode *range;                          /* the condition inside `exactness: range(…)`, or NULL */
    TextBlock match, build;
} Compiler;

#define COMPILE_FAIL(c, loc, hint, ...) diag_error((c)->cx->diags, PAWL_EXIT_INVALID, (loc), (hint), __VA_ARGS__)

/* compile.c: slots. RULE_NO_SLOT: diagnosed (too many). */
uint8_t value_slot_new(Compiler *c, Str name, Loc loc);
uint8_t value_slot_find(const Compiler *c, Str name);
uint8_t list_slot(Compiler *c, Str name, Loc loc, bool create);
uint8_t attr_slot(Compiler *c, Str name, Loc loc, bool create);
Str     element_name(Compiler *c, Str name);
const OpVar *op_var_find(const Compiler *c, Str name);
/* compile_expr.c: NULL: diagnosed */
RuleExpr *compile_expr(Compiler *c, const TextExpr *e);
bool expr_uses_elements(const Compiler *c, const RuleExpr *e, uint8_t *block);
bool expr_bound(Compiler *c, const RuleExpr *e);           /* every attribute slot in it is filled by now */
/* compile_match.c, compile_emit.c, compile_build.c */
bool compile_patterns(Compiler *c);                        /* statements → rule->roots, types */
bool compile_match_program(Compiler *c, const YamlNode *where);
bool compile_build_program(Compiler *c);
