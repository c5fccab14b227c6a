/* cli/cli.c — one run of the program: finds the subcommand, parses its options, runs it, prints what went wrong. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "pawl_version.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- talking -------------------------------------------------------------------------------- */

void cli_progress_end(Cli *c)
{
    if (c->progress_shown)
        fputs("\r\033[K", c->err);
    c->progress_shown = false;
}

static void say(Cli *c, const char *fmt, va_list ap)
{
    cli_progress_end(c);
    vfprintf(c->err, fmt, ap);
    fputc('\n', c->err);
    fflush(c->err);
}

void cli_say(Cli *c, const char *fmt, ...)
{
    if (c->o.quiet)
        return;
    va_list ap;
    va_start(ap, fmt);
    say(c, fmt, ap);
    va_end(ap);
}

void cli_detail(Cli *c, const char *fmt, ...)
{
    if (!c->o.verbose)
        return;
    va_list ap;
    va_start(ap, fmt);
    say(c, fmt, ap);
    va_end(ap);
}

/* Cut to the terminal's width: a line that wraps cannot be taken back. */
void cli_progress(Cli *c, const char *fmt, ...)
{
    char line[512];
    struct winsize size = {0};
    if (!c->terminal || c->o.quiet)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    size_t width = ioctl(fileno(c->err), TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
    size_t shown = 0, end = 0;
    for (; line[end]; end++) {
        shown += ((unsigned char)line[end] & 0xc0) != 0x80;
        if (shown >= width)
            break;
        if ((unsigned char)line[end] < ' ')
            line[end] = ' ';
    }
    line[end] = 0;
    fprintf(c->err, "\r\033[K%s", line);
    fflush(c->err);
    c->progress_shown = true;
}

bool cli_flush(Cli *c, Context *cx)
{
    bool ok = !diags_failed(cx->diags);
    if (diags_count(cx->diags)) {
        cli_progress_end(c);
        fflush(c->out);
        diags_print(cx->diags, c->err, c->colour);
    }
    if (!ok && c->code == PAWL_EXIT_OK)
        c->code = diags_exit_code(cx->diags);
    diags_clear(cx->diags);
    return ok;
}

ExitCode cli_end(Cli *c)
{
    cli_flush(c, c->cx);
    return c->code;
}

ExitCode cli_bad_arg(Cli *c, uint32_t i, const char *hint, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = arena_vprintf(c->cx->arena, fmt, ap);
    va_end(ap);
    diag_error(c->cx->diags, PAWL_EXIT_INVALID, i < c->n_args ? c->args[i].loc : LOC_NONE, hint,
               "%s", text);
    return cli_end(c);
}

/* ---- stopping ------------------------------------------------------------------------------- */

volatile sig_atomic_t cli_stop;

static void on_signal(int number)
{
    static const char text[] = "\npawl: stopping; once more to stop at once\n";
    (void)number;
    if (cli_stop)
        _exit(PAWL_EXIT_STOPPED);
    cli_stop = 1;
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
    (void)written;
}

bool cli_stopped(Cli *c)
{
    if (!cli_stop)
        return false;
    if (c->code != PAWL_EXIT_STOPPED)
        diag_error(c->cx->diags, PAWL_EXIT_STOPPED, LOC_NONE, NULL,
                   "interrupted: what was finished is kept");
    cli_flush(c, c->cx);
    c->code = PAWL_EXIT_STOPPED;
    return true;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- the program ---------------------------------------------------------------------------- */

static bool check_arguments(Cli *c)
{
    const Command *k = c->command;
    Diags *d = c->cx->diags;
    const char *hint = arena_printf(c->cx->arena, "usage: pawl %s %s", k->name, k->args);
    if (c->n_args < k->min_args)
        return diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, hint, "`pawl %s` needs %s", k->name,
                          k->min_args == 1 ? "an argument" : "more arguments");
    if (c->n_args > k->max_args)
        return diag_error(d, PAWL_EXIT_INVALID, c->args[k->max_args].loc, hint,
                          "`pawl %s` takes %s", k->name,
                          k->max_args == 0   ? "no arguments"
                          : k->max_args == 1 ? "one argument"
                                             : "fewer arguments");
    if (!k->verbs)
        return true;
    uint32_t n = words_count(k->verbs);
    const char **verbs = arena_new_array(c->cx->arena, const char *, n);
    for (uint32_t i = 0; i < n; i++) {
        verbs[i] = words_at(c->cx->arena, k->verbs, i);
        if (!strcmp(verbs[i], c->args[0].text))
            return true;
    }
    const char *near = str_nearest(c->args[0].text, verbs, n);
    return diag_error(d, PAWL_EXIT_INVALID, c->args[0].loc,
                      near ? arena_printf(c->cx->arena, "did you mean %s?", near) : hint,
                      "`pawl %s` cannot \"%s\"", k->name, c->args[0].text);
}

static ExitCode run_command(Cli *c)
{
    Parsed parsed = {.o = {.seed = -1}};
    bool ok = options_parse(c->cx, &c->line, 2, c->command->groups, c->command->name, &parsed);
    c->o = parsed.o;
    c->args = parsed.args.data;
    c->n_args = parsed.args.n;
    if (c->o.colour != COLOUR_AUTO)
        c->colour = c->o.colour == COLOUR_ALWAYS;
    if (c->o.help) {
        help_command(c, c->command, c->out);
        return PAWL_EXIT_OK;
    }
    return ok && check_arguments(c) ? c->command->run(c) : PAWL_EXIT_INVALID;
}

static bool unknown_command(Cli *c, const Arg *word)
{
    Vec(const char *) names = {0};
    for (const Command *const *k = cli_commands; *k; k++)
        vec_push(c->cx->arena, &names, (*k)->name);
    const char *near = str_nearest(word->text, names.data, names.n);
    const char *hint = near ? arena_printf(c->cx->arena, "did you mean %s?", near)
                            : "`pawl help` lists the commands";
    return diag_error(c->cx->diags, PAWL_EXIT_INVALID, word->loc, hint,
                      "there is no command \"%s\"", word->text);
}

static ExitCode dispatch(Cli *c)
{
    const Arg *first = c->line.n > 1 ? &c->line.words[1] : NULL;
    if (!first) {
        help_program(c, c->err);
        return PAWL_EXIT_INVALID;
    }
    if (!strcmp(first->text, "--help") || !strcmp(first->text, "-h")) {
        help_program(c, c->out);
        return PAWL_EXIT_OK;
    }
    const char *name = !strcmp(first->text, "--version") ? "version" : first->text;
    c->command = cli_command(name);
    if (!c->command) {
        unknown_command(c, first);
        return PAWL_EXIT_INVALID;
    }
    return run_command(c);
}

/* Data that did not reach its file is an error of its own, whatever the command thought. */
static ExitCode check_output(Cli *c, ExitCode code)
{
    errno = 0;
    if ((fflush(c->out) || ferror(c->out)) && code == PAWL_EXIT_OK) {
        diag_error(c->cx->diags, PAWL_EXIT_IO, LOC_NONE, NULL,
                   "cannot write to standard output: %s",
                   errno ? strerror(errno) : "a write failed");
        code = PAWL_EXIT_IO;
    }
    return code;
}

int cli_main(int argc, const char *const *argv, FILE *out, FILE *err)
{
    Cli c = {.cx = context_new(), .out = out, .err = err};
    int fd = fileno(err);
    const char *no_colour = getenv("NO_COLOR");
    c.terminal = fd >= 0 && isatty(fd);
    c.colour = c.terminal && !(no_colour && *no_colour);
    c.line = command_line(c.cx->arena, argc, argv);
    catch_signals();
    reproducer_arm(&c);

    ExitCode code = dispatch(&c);
    cli_progress_end(&c);
    code = check_output(&c, code);
    cli_flush(&c, c.cx);
    if (c.code != PAWL_EXIT_OK && code == PAWL_EXIT_OK)
        code = c.code;
    reproducer_disarm();
    context_free(c.cx);
    return code;
}

/* ---- version -------------------------------------------------------------------------------- */

static ExitCode run_version(Cli *c)
{
    if (c->o.format == FORMAT_JSON)
        fprintf(c->out, "{\"pawl\": \"%s\"}\n", PAWL_VERSION);
    else
        fprintf(c->out, "pawl %s\n", PAWL_VERSION);
    return PAWL_EXIT_OK;
}

static const OptionGroup *const version_groups[] = {&options_general, NULL};
const Command command_version = {
    .name = "version",
    .args = "",
    .about = "Print the version.",
    .groups = version_groups,
    .run = run_version,
};
