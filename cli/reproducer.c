/* cli/reproducer.c — when an assertion fails: writes what is needed to see it again (the command line, the version, every text
 * that was read) into one file in the cache folder, and prints its path. Writes with plain stdio: the heap may be broken. */
#include "base/file.h"
#include "cli/cli.h"
#include "pawl_version.h"
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static void write_word(FILE *f, const char *s)
{
    if (*s && !strpbrk(s, " \t\n'\"\\$`*?[]{}()<>|&;#~!")) {
        fputs(s, f);
        return;
    }
    fputc('\'', f);
    for (; *s; s++)
        *s == '\'' ? fputs("'\\''", f) : fputc(*s, f);
    fputc('\'', f);
}

static void write_command(FILE *f, const Cli *c)
{
    for (uint32_t i = 0; i < c->line.n; i++) {
        if (i)
            fputc(' ', f);
        write_word(f, i ? c->line.words[i].text : "pawl");
    }
    fputc('\n', f);
}

static void write_reproducer(void *arg)
{
    const Cli *c = arg;
    char path[4096];
    snprintf(path, sizeof path, "%s/reproducer-%lld-%ld.txt", cache_dir(c->cx->arena),
             (long long)time(NULL), (long)getpid());
    dir_make(c->cx->diags, cache_dir(c->cx->arena));
    FILE *f = fopen(path, "w");
    if (!f) {
        fprintf(c->err, "pawl: cannot write a reproducer to %s; the command was: ", path);
        write_command(c->err, c);
        return;
    }
    struct utsname host;
    fprintf(f, "# pawl %s, an internal error\n", PAWL_VERSION);
    if (uname(&host) == 0)
        fprintf(f, "# %s %s %s\n", host.sysname, host.release, host.machine);
    fputs("# command:\n", f);
    write_command(f, c);
    for (uint32_t i = 0; i < c->inputs.n; i++) {
        const Source *s = c->inputs.data[i];
        fprintf(f, "\n# ---- %s (%zu bytes)\n", s->name, s->len);
        fwrite(s->text, 1, s->len, f);
    }
    fclose(f);
    fprintf(c->err,
            "pawl: this is an error of Pawl. A reproducer was written to %s: please report it.\n",
            path);
}

void reproducer_arm(Cli *c) { pawl_on_assert(write_reproducer, c); }
void reproducer_disarm(void) { pawl_on_assert(NULL, NULL); }
