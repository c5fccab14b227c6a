/* base/diag.h — the two channels of failure.
 * Bad input: a located diagnostic (file:line:col, the line, a caret, what to do) collected in a Diags, and `false` or
 * NULL up the stack. Our own bug: pawl_assert, which prints, writes a reproducer if one is registered, exits with 5. */
#pragma once
#include "base/arena.h"
#include "base/str.h"
#include <stdbool.h>

typedef enum {                     /* also the exit codes of the command line */
    PAWL_EXIT_OK = 0,
    PAWL_EXIT_CHECK_FAILED = 1,
    PAWL_EXIT_INVALID = 2,         /* usage or invalid input */
    PAWL_EXIT_UNSUPPORTED = 3,     /* model needs something that is missing */
    PAWL_EXIT_DEVICE = 4,          /* device or driver */
    PAWL_EXIT_INTERNAL = 5,
    PAWL_EXIT_STOPPED = 6,         /* interrupted, or out of budget before done */
    PAWL_EXIT_IO = 7
} ExitCode;

/* A text that diagnostics point into. A block embedded in another file (graph text in YAML) has its own Source whose
 * first character stands at (first_line, first_col) of `name`; `line_indent` columns were stripped of each later line. */
typedef struct Source {
    const char *name;              /* file name as the user wrote it, or "<command line>" */
    const char *text;              /* NUL-terminated */
    size_t      len;
    uint32_t    first_line, first_col, line_indent;    /* 1, 1, 0 for a whole file */
} Source;

typedef struct { const Source *source; uint32_t offset, len; } Loc;   /* source NULL: no place */

typedef enum { DIAG_ERROR, DIAG_WARNING, DIAG_NOTE } DiagLevel;
typedef struct { DiagLevel level; ExitCode code; Loc loc; const char *text; const char *hint; } Diag;
typedef struct Diags Diags;

Diags   *diags_new(Arena *a);
/* Report; `hint` (may be NULL) says what to do. Always returns false so that callers write `return diag_error(…)`. */
bool     diag_error(Diags *d, ExitCode code, Loc loc, const char *hint, const char *fmt, ...)
             __attribute__((format(printf, 5, 6)));
#ifdef __clang_analyzer__           /* which does not see what it returns */
#define diag_error(...) (diag_error(__VA_ARGS__), false)
#endif
void     diag_warn(Diags *d, Loc loc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void     diag_note(Diags *d, Loc loc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
uint32_t diags_count(const Diags *d);
const Diag *diags_at(const Diags *d, uint32_t i);
bool     diags_failed(const Diags *d);                 /* any error */
ExitCode diags_exit_code(const Diags *d);              /* of the first error; PAWL_EXIT_OK without errors */
void     diags_clear(Diags *d);
void     diags_append(Diags *to, const Diags *from);
/* file:line:col: error: text / the line / caret / hint. Colour only if `colour`. */
void     diags_print(const Diags *d, FILE *to, bool colour);
char    *diag_format(Arena *a, const Diag *d);         /* one diagnostic as text without colour */
void     loc_line_col(Loc loc, uint32_t *line, uint32_t *col);
Source  *source_from_file(Arena *a, Diags *d, const char *path);              /* NULL: diagnosed (PAWL_EXIT_IO) */
Source  *source_from_text(Arena *a, const char *name, const char *text);      /* copies text */
static inline Loc loc_at(const Source *s, size_t offset, size_t len)
{ return (Loc){s, (uint32_t)offset, (uint32_t)len}; }
#define LOC_NONE ((Loc){0})

/* Assertion of our own invariants, kept in release builds. */
#define pawl_assert(cond, ...) \
    ((cond) ? (void)0 : pawl_assert_failed(#cond, __FILE__, __LINE__, " " __VA_ARGS__))
_Noreturn void pawl_assert_failed(const char *cond, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Called by pawl_assert before exit(5), on the failing thread: writes a reproducer and prints its path. */
void pawl_on_assert(void (*write_reproducer)(void *), void *arg);
