/* cli/help.c — help texts and shell completion, all made from the tables of commands and options. */
#include "cli/cli.h"
#include "cli/commands.h"
#include <string.h>

/* ---- help ----------------------------------------------------------------------------------- */

static const struct {
    int code;
    const char *about;
} exit_codes[] = {
    {PAWL_EXIT_OK, "all went well"},
    {PAWL_EXIT_CHECK_FAILED, "a check failed (verify)"},
    {PAWL_EXIT_INVALID, "wrong usage or invalid input"},
    {PAWL_EXIT_UNSUPPORTED, "the task needs something that Pawl does not have"},
    {PAWL_EXIT_DEVICE, "no such device, no driver, the device failed, or memory ran out"},
    {PAWL_EXIT_INTERNAL, "an error of Pawl itself: it prints the path of a reproducer"},
    {PAWL_EXIT_STOPPED, "interrupted, or out of budget before anything was done"},
    {PAWL_EXIT_IO, "a file could not be read or written"},
};

static const struct {
    const char *name, *about;
} variables[] = {
    {"PAWL_DB", "the tuning database"},
    {"PAWL_CACHE_DIR", "where the database and reproducers lie; default: ~/.cache/pawl"},
    {"PAWL_THREADS", "threads on the CPU"},
    {"PAWL_CUDA_LIBS", "folders where NVRTC, nvJitLink and cuBLASLt are looked for first"},
    {"NO_COLOR", "no colours"},
};

void help_program(const Cli *c, FILE *to)
{
    (void)c;
    fputs("usage: pawl COMMAND [arguments] [options]\n\n"
          "Compiles model graphs to fused kernels for CPUs and NVIDIA GPUs, tunes and verifies "
          "them.\n\ncommands:\n",
          to);
    for (const Command *const *k = cli_commands; *k; k++)
        fprintf(to, "  %-12s %s\n", (*k)->name, (*k)->about);
    fputs("\n`pawl help COMMAND` or `pawl COMMAND --help` tells more.\n\nexit codes:\n", to);
    for (size_t i = 0; i < sizeof exit_codes / sizeof exit_codes[0]; i++)
        fprintf(to, "  %d  %s\n", exit_codes[i].code, exit_codes[i].about);
    fputs("\nenvironment:\n", to);
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        fprintf(to, "  %-15s %s\n", variables[i].name, variables[i].about);
}

#define HELP_COLUMN 26

static void help_option(const Option *o, FILE *to)
{
    char left[128];
    int n = o->letter ? snprintf(left, sizeof left, "  -%c, --%s", o->letter, o->name)
                      : snprintf(left, sizeof left, "      --%s", o->name);
    if (o->value)
        n += snprintf(left + n, sizeof left - (size_t)n, " %s", o->value);
    if (n >= HELP_COLUMN)
        fprintf(to, "%s\n%*s", left, HELP_COLUMN, "");
    else
        fprintf(to, "%-*s", HELP_COLUMN, left);
    for (const char *p = o->about; *p; p++) {
        fputc(*p, to);
        if (*p == '\n')
            fprintf(to, "%*s", HELP_COLUMN, "");
    }
    fputc('\n', to);
}

void help_command(const Cli *c, const Command *k, FILE *to)
{
    (void)c;
    fprintf(to, "usage: pawl %s%s%s\n\n%s\n", k->name, *k->args ? " " : "", k->args, k->about);
    if (k->more)
        fprintf(to, "\n%s\n", k->more);
    for (const OptionGroup *const *g = k->groups; *g; g++) {
        fprintf(to, "\n%s:\n", (*g)->heading);
        for (uint32_t i = 0; i < (*g)->n; i++)
            help_option(&(*g)->rows[i], to);
    }
}

static ExitCode run_help(Cli *c)
{
    if (c->n_args == 0) {
        help_program(c, c->out);
        return PAWL_EXIT_OK;
    }
    const Command *k = cli_command(c->args[0].text);
    if (!k)
        return cli_bad_arg(c, 0, "`pawl help` lists the commands", "there is no command \"%s\"",
                           c->args[0].text);
    help_command(c, k, c->out);
    return PAWL_EXIT_OK;
}

static const OptionGroup *const help_groups[] = {&options_general, NULL};
const Command command_help = {
    .name = "help",
    .args = "[COMMAND]",
    .about = "Show help on a command.",
    .max_args = 1,
    .groups = help_groups,
    .run = run_help,
};

/* ---- completion ----------------------------------------------------------------------------- */

static const char devices[] = "auto cpu cuda sm_80 sm_90a x86-64-v2 x86-64-v3 x86-64-v4";

static void words_spaced(const char *words, FILE *to)
{
    for (; *words; words++)
        fputc(*words == '|' ? ' ' : *words, to);
}

/* bash: `case` of what the previous word wants, else options and files. */
static void bash_value(const Option *o, FILE *to)
{
    if (o->kind == OPT_FLAG ||
        (o->complete == COMPLETE_NONE && o->kind != OPT_ENUM && o->kind != OPT_WORDS))
        return;
    fprintf(to, "            %s--%s) ", o->letter ? (char[]){'-', o->letter, '|', 0} : "", o->name);
    if (o->kind == OPT_ENUM || o->kind == OPT_WORDS) {
        fputs("COMPREPLY=($(compgen -W '", to);
        words_spaced(o->value, to);
        fputs("' -- \"$cur\")); return ;;\n", to);
    } else if (o->complete == COMPLETE_DEVICE) {
        fprintf(to, "COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", devices);
    } else {
        fprintf(to, "COMPREPLY=($(compgen -%c -- \"$cur\")); return ;;\n",
                o->complete == COMPLETE_DIR ? 'd' : 'f');
    }
}

static void bash_command(const Command *k, FILE *to)
{
    fprintf(to, "    %s)\n        case $prev in\n", k->name);
    for (const OptionGroup *const *g = k->groups; *g; g++)
        for (uint32_t i = 0; i < (*g)->n; i++)
            bash_value(&(*g)->rows[i], to);
    fputs("        esac\n        words='", to);
    if (k->verbs) {
        words_spaced(k->verbs, to);
        fputc(' ', to);
    }
    for (const OptionGroup *const *g = k->groups; *g; g++)
        for (uint32_t i = 0; i < (*g)->n; i++)
            fprintf(to, "--%s ", (*g)->rows[i].name);
    fputs("' ;;\n", to);
}

static void completion_bash(FILE *to)
{
    fputs("# bash completion of pawl:  source <(pawl completion bash)\n"
          "_pawl()\n{\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\n"
          "    if [ \"$COMP_CWORD\" = 1 ]; then\n        COMPREPLY=($(compgen -W '",
          to);
    for (const Command *const *k = cli_commands; *k; k++)
        fprintf(to, "%s ", (*k)->name);
    fputs("--help --version' -- \"$cur\"))\n        return\n    fi\n    case ${COMP_WORDS[1]} in\n",
          to);
    for (const Command *const *k = cli_commands; *k; k++)
        bash_command(*k, to);
    fputs("    esac\n"
          "    case $cur in\n"
          "    -*) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;;\n"
          "    *) COMPREPLY=($(compgen -W \"$(echo \" $words\" | sed 's/ --[^ ]*//g')\" -- "
          "\"$cur\") $(compgen -f -- \"$cur\")) ;;\n"
          "    esac\n}\ncomplete -o filenames -F _pawl pawl\n",
          to);
}

/* Inside single quotes and an _arguments specification. */
static void zsh_text(const char *s, FILE *to)
{
    for (; *s && *s != '\n'; s++) {
        if (*s == '\'')
            fputs("'\\''", to);
        else if (strchr("[]:", *s))
            fprintf(to, "\\%c", *s);
        else
            fputc(*s, to);
    }
}

static void zsh_option(const Option *o, FILE *to)
{
    fprintf(to, " \\\n            '%s--%s%s[",
            o->kind == OPT_LIST || o->kind == OPT_WORDS ? "*" : "", o->name,
            o->kind == OPT_FLAG ? "" : "=");
    zsh_text(o->about, to);
    fputc(']', to);
    if (o->kind == OPT_ENUM || o->kind == OPT_WORDS) {
        fprintf(to, ":%s:(", o->name);
        words_spaced(o->value, to);
        fputc(')', to);
    } else if (o->complete == COMPLETE_DEVICE) {
        fprintf(to, ":device:(%s)", devices);
    } else if (o->kind != OPT_FLAG) {
        fprintf(to, ":%s:%s", o->name,
                o->complete == COMPLETE_DIR    ? "_files -/"
                : o->complete == COMPLETE_FILE ? "_files"
                                               : "");
    }
    fputc('\'', to);
}

static void completion_zsh(FILE *to)
{
    fputs("#compdef pawl\n# zsh completion of pawl:  pawl completion zsh >\"${fpath[1]}/_pawl\"\n"
          "_pawl() {\n    local -a commands=(\n",
          to);
    for (const Command *const *k = cli_commands; *k; k++) {
        fprintf(to, "        '%s:", (*k)->name);
        zsh_text((*k)->about, to);
        fputs("'\n", to);
    }
    fputs("    )\n    if (( CURRENT == 2 )); then\n        _describe command commands\n        "
          "return\n    fi\n"
          "    case $words[2] in\n",
          to);
    for (const Command *const *k = cli_commands; *k; k++) {
        fprintf(to, "    %s)\n        shift words; (( CURRENT-- ))\n        _arguments",
                (*k)->name);
        for (const OptionGroup *const *g = (*k)->groups; *g; g++)
            for (uint32_t i = 0; i < (*g)->n; i++)
                zsh_option(&(*g)->rows[i], to);
        if ((*k)->verbs) {
            fputs(" \\\n            '1:verb:(", to);
            words_spaced((*k)->verbs, to);
            fputs(")'", to);
        }
        fputs(" \\\n            '*:file:_files' ;;\n", to);
    }
    fputs("    esac\n}\n_pawl \"$@\"\n", to);
}

bool completion_print(const char *shell, FILE *to)
{
    if (!strcmp(shell, "bash"))
        completion_bash(to);
    else if (!strcmp(shell, "zsh"))
        completion_zsh(to);
    else
        return false;
    return true;
}

static ExitCode run_completion(Cli *c)
{
    completion_print(c->args[0].text, c->out);
    return PAWL_EXIT_OK;
}

static const OptionGroup *const completion_groups[] = {&options_general, NULL};
const Command command_completion = {
    .name = "completion",
    .args = "bash|zsh",
    .about = "Print completion for a shell.",
    .more = "  source <(pawl completion bash)\n  pawl completion zsh >\"${fpath[1]}/_pawl\"",
    .verbs = "bash|zsh",
    .min_args = 1,
    .max_args = 1,
    .groups = completion_groups,
    .run = run_completion,
};
