/* ir/text.h — the one textual language: task graphs, goldens, dumps, composites, and (with variables) rules.
 *
 *   func softmax(%x, axis=-1) { … return %y }          composites: ir/functions.graph; overloaded by number of operands
 *   graph qwen3_swiglu {
 *     dim B in [1, 64]                                   symbols with ranges
 *     input %gate : bf16[B, S, 6144] ~ normal(0, 1)
 *     param %w    : bf16[2048, 6144] ~ normal(0, 0.02) [mutable]
 *     %h = silu(%gate)                    : bf16[B, S, 6144]     # type annotation optional in input, always printed
 *     %y = mul(%h, 2.0)
 *     %m, %v = some_multi_output(%x)                      (composites may return several values)
 *     return %y
 *   }
 * In a task's `graph:` block only the statements appear. `#` starts a comment. Nested calls are allowed in input.
 * `return y=%a` names an output otherwise than its node. Values called by digits (%0) are anonymous: the printer numbers them.
 * Declarations take options: [mutable, file="w.safetensors", range=[0, 100]].
 * `%` is a value's sigil, but modulo where it follows an operand inside brackets: reshape(%x, shape=[S % 8]).
 *
 * Attribute expressions: integers, floats, inf, nan, "text", dtypes, dims (B, 4*H), lists; + - * / // %, comparisons, and, or,
 * not; + concatenates lists; list[i]. Functions: dim(%x, k), rank(%x), shape(%x), dtype(%x), acc(dtype), count(%x),
 * sizes(%x, axes), size(%x, axes) (their product), len(list), ones(n), range([from,] n), insert(list, i, v), remove(list, i),
 * replace(list, i, v), swap(list, i, j), part(list, from, to), product(list), min, max, ceildiv, sqrt (constants), is_const(e),
 * is_float(dtype). `if(e, a, b)` evaluates only the branch that e takes; among operands too, where branches are calls.
 *
 * The AST below is shared with the rule engine, which adds %w[i], %w[*], `%x : float[.., K]` (a statement without call) and
 * attribute variables. A type is a CALL of its dtype's name on its dims, or a NAME when it has no brackets; ".." is a NAME. */
#pragma once
#include "base/context.h"
#include "ir/graph.h"

typedef enum { TE_VALUE, TE_NUMBER, TE_NAME, TE_STRING, TE_LIST, TE_CALL, TE_BINARY, TE_NEG, TE_STAR } TextKind;
typedef struct TextExpr TextExpr;
typedef struct { Str key; TextExpr *value; Loc loc; } TextKeyArg;      /* key NULL: positional */
struct TextExpr {
    TextKind kind;
    Loc loc;
    Str name;                         /* VALUE: without %; NAME; CALL: callee; STRING: contents; BINARY: "+" "-" "*" "/" "//" "%" "==" "<" … */
    double number; bool is_int; int64_t integer;
    TextExpr *index;                  /* VALUE %w[i]: the index; TE_STAR for %w[*] */
    TextKeyArg *args; uint32_t n;     /* CALL arguments, LIST items, BINARY operands, NEG operand */
};
typedef struct { TextExpr **out; uint32_t n_out; TextExpr *call; TextExpr *type; Loc loc; } TextStatement;   /* call, type: may be NULL */
typedef struct { TextStatement *s; uint32_t n; TextExpr **ret; Str *ret_names; uint32_t n_ret; } TextBlock;  /* ret_names[i]: may be NULL */
typedef struct { Str name; TextExpr **params; uint32_t n_params; TextKeyArg *attrs; uint32_t n_attrs; TextBlock body; Loc loc; } TextFunc;

bool text_parse_block(Context *cx, const Source *s, TextBlock *out);            /* statements; `return` optional */
bool text_parse_type(Context *cx, const Source *s, Type *out, bool create_syms);/* "bf16[B, S, 4*H]" */
TextExpr *text_parse_expr(Context *cx, const Source *s);

/* The composites of ir/functions.graph (embedded), parsed once a context and kept in its slot. */
enum { CONTEXT_SLOT_FUNCTIONS = 0 };
typedef struct Functions Functions;
Functions *functions_builtin(Context *cx);
const TextFunc *function_find(const Functions *f, const char *name, uint32_t n_operands);
uint32_t functions_count(const Functions *f);
const TextFunc *function_at(const Functions *f, uint32_t i);

/* Builds statements into `g`. `names` maps value names (Str) to Node*; defined names are added. Calls: ops of ops.def (keyword
 * attributes; positional after operands in the op's natural order), composites (inlined; nodes get origin), literals
 * (become consts of the other operand's dtype), implicit broadcasting and PyTorch dtype promotion among pointwise operands. Statements
 * may come in any order in which each name is defined before use; undefined and cyclic names are diagnosed as such. */
bool text_build(Graph *g, const TextBlock *b, Map *names, const Functions *f);

Graph *graph_parse(Context *cx, const Source *s);        /* one `graph … { }`; NULL: diagnosed */
