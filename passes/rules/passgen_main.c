/* passes/rules/passgen_main.c — the pass generator as a program of the build.
 *   passgen DIR -o FILE.c     checks the rules of DIR and writes them as C
 *   passgen --check DIR       only checks them */
#include "base/file.h"
#include "passes/rules/rule.h"
#include <string.h>

static int usage(void)
{
    fputs("usage: passgen DIR -o FILE.c\n       passgen --check DIR\n", stderr);
    return PAWL_EXIT_INVALID;
}

static bool run(Context *cx, const char *dir, const char *output)
{
    RuleList rules = {0};
    StrBuf text = strbuf_new(cx->arena);

    if (!rules_parse_dir(cx, dir, &rules) || !rules_check(cx, &rules))
        return false;
    if (!output) {
        printf("%u rules\n", rules.n);
        return true;
    }
    return rules_generate(&text, &rules) && file_write(cx->diags, output, text.text, text.len);
}

int main(int argc, char **argv)
{
    bool check = argc == 3 && strcmp(argv[1], "--check") == 0;

    if (!check && !(argc == 4 && strcmp(argv[2], "-o") == 0))
        return usage();
    Context *cx = context_new();
    bool ok = run(cx, check ? argv[2] : argv[1], check ? NULL : argv[3]);
    diags_print(cx->diags, stderr, false);
    int code = ok ? PAWL_EXIT_OK : (int)diags_exit_code(cx->diags);
    context_free(cx);
    return code;
}
