/* cli/options.h — the command line as a table: every option is one row, from which parsing, `--help`, `pawl help CMD` and the
 * shell completions are made. */
#pragma once
#include "base/context.h"
#include "base/vec.h"
#include <stddef.h>

typedef Vec(const char *) Texts;

typedef enum { FORMAT_TEXT, FORMAT_JSON, FORMAT_CSV } Format;
typedef enum { COLOUR_AUTO, COLOUR_ALWAYS, COLOUR_NEVER } ColourMode;

/* Values of all options of all commands; a row says which field it fills. */
typedef struct Options {
    /* everywhere */
    bool help, quiet, verbose;
    int  format, colour;
    /* task, device, database */
    const char *device, *dims, *db;
    Texts workloads;
    bool no_tuned, no_library;
    int64_t seed, threads;
    int  emitter;
    /* compiling */
    Texts out;                          /* -o */
    bool no_generic, no_fuse;
    Texts picks, no_kind, emit;
    const char *emit_dir;
    Texts no_pass, no_rule;
    const char *dump_after, *dump_dir, *rules;
    bool verify_passes, timing, rule_stats;
    /* running, verifying, measuring */
    Texts inputs;
    int64_t repeat, samples, runs, warmup;
    bool all, no_unfused;
    double budget, max_seconds;
    int64_t max_candidates;
    const char *package, *export_json, *log;
    bool again;
    /* inspecting */
    bool manifest, plans, members, weights, graph, statements, check;
    /* database */
    const char *for_device, *before;
    bool everything;
    /* simulating */
    const char *launch, *ctas, *reference;
    int domain;
    int64_t max_steps, order;
    bool early;
} Options;

typedef enum {
    OPT_FLAG,                           /* bool */
    OPT_TEXT,                           /* const char * */
    OPT_INT,                            /* int64_t within [lo, hi] */
    OPT_REAL,                           /* double within [lo, hi] */
    OPT_ENUM,                           /* int: number of the word in `value`, "text|json|csv" */
    OPT_LIST,                           /* Texts: may be repeated */
    OPT_WORDS                           /* Texts: comma separated words out of `value`; may be repeated */
} OptKind;

typedef enum { COMPLETE_NONE, COMPLETE_FILE, COMPLETE_DIR, COMPLETE_DEVICE } Complete;

typedef struct Option {
    char        letter;                 /* short name, or 0 */
    const char *name;                   /* without the two dashes */
    OptKind     kind;
    size_t      field;                  /* offsetof(Options, …) */
    const char *value;                  /* what the help calls the value; ENUM, WORDS: the words */
    const char *about;                  /* one sentence; '\n' breaks lines */
    Complete    complete;
    double      lo, hi;                 /* INT, REAL */
} Option;

typedef struct OptionGroup { const char *heading; const Option *rows; uint32_t n; } OptionGroup;
#define OPTION_GROUP(heading, rows) { heading, rows, sizeof(rows) / sizeof((rows)[0]) }

/* A parsed command line: `args` are the positional ones, each with its place for diagnostics. */
typedef struct { const char *text; Loc loc; } Arg;
typedef struct Parsed { Options o; Vec(Arg) args; } Parsed;

/* The words of a command line as a Source, so that diagnostics show the line and a caret. */
typedef struct CommandLine { const Source *source; Arg *words; uint32_t n; } CommandLine;
CommandLine command_line(Arena *a, int argc, const char *const *argv);

/* Parses words[first …]. False: diagnosed (PAWL_EXIT_INVALID), with the nearest known name. */
bool options_parse(Context *cx, const CommandLine *line, uint32_t first, const OptionGroup *const *groups,
                   const char *command, Parsed *out);

/* Words of "a|b|c": their number, or word i copied into the arena. */
uint32_t words_count(const char *words);
char    *words_at(Arena *a, const char *words, uint32_t i);
