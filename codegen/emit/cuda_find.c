/* codegen/emit/cuda_find.c — where CUDA's libraries and tools are, and what a cubin says of itself. */
#include "codegen/emit/cuda_find.h"

#include "base/file.h"

#include <dlfcn.h>
#include <elf.h>
#include <glob.h>
#include <stdlib.h>

static const char *const library_folders[] = {
    "/usr/local/cuda/lib64", "/usr/local/cuda/lib", "/usr/local/cuda-*/lib64", "/usr/local/cuda-*/lib",
    "/usr/local/cuda-*/targets/x86_64-linux/lib", "/usr/lib/x86_64-linux-gnu", "/opt/cuda/lib64",
};
static const char *const toolkits[] = {"/usr/local/cuda", "/usr/local/cuda-*", "/opt/cuda", "/usr/lib/cuda"};

/* The last match of a pattern: the newest version. */
static bool last_match(const char *pattern, char *out, size_t cap)
{
    glob_t g;
    bool ok = glob(pattern, 0, NULL, &g) == 0 && g.gl_pathc > 0;
    if (ok)
        snprintf(out, cap, "%s", g.gl_pathv[g.gl_pathc - 1]);
    globfree(&g);
    return ok;
}

static void *open_in(const char *folder, size_t n, const char *const *names)
{
    char pattern[1024], path[1024];
    for (size_t i = 0; names[i]; i++) {
        snprintf(pattern, sizeof pattern, "%.*s/%s", (int)n, folder, names[i]);
        void *lib = last_match(pattern, path, sizeof path) ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
        if (lib)
            return lib;
    }
    return NULL;
}

static void *open_library(const char *variable, const char *const *names)
{
    const char *file = getenv(variable), *folders = getenv("PAWL_CUDA_LIBS");
    void *lib = NULL;
    if (file && *file)
        return dlopen(file, RTLD_NOW | RTLD_LOCAL);
    for (const char *s = folders; !lib && s && *s; s += strcspn(s, ":") + (s[strcspn(s, ":")] == ':'))
        lib = open_in(s, strcspn(s, ":"), names);
    for (size_t i = 0; !lib && names[i]; i++)
        lib = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; !lib && i < sizeof library_folders / sizeof *library_folders; i++)
        lib = open_in(library_folders[i], strlen(library_folders[i]), names);
    return lib;
}

bool cuda_library(const char *variable, const char *const *names, const CudaSymbol *symbols, size_t n, const char *what, char *why,
                  size_t cap)
{
    void *lib = open_library(variable, names);
    if (!lib) {
        const char *file = getenv(variable);
        if (file && *file)
            snprintf(why, cap, "%s: %s=%s cannot be loaded", what, variable, file);
        else
            snprintf(why, cap, "%s (%s) was not found; install the CUDA toolkit or set %s", what, names[0], variable);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        *symbols[i].to = dlsym(lib, symbols[i].name);
        if (!*symbols[i].to) {
            snprintf(why, cap, "%s: the library found has no %s; it is too old", what, symbols[i].name);
            return false;
        }
    }
    return true;
}

bool cuda_toolkit_file(const char *variable, const char *below, char *out, size_t cap)
{
    const char *file = getenv(variable);
    char pattern[1024];
    if (file && *file) {
        snprintf(out, cap, "%s", file);
        return file_exists(out);
    }
    for (size_t i = 0; i < sizeof toolkits / sizeof *toolkits; i++) {
        snprintf(pattern, sizeof pattern, "%s/%s", toolkits[i], below);
        if (last_match(pattern, out, cap))
            return true;
    }
    return false;
}

/* ---- what a cubin uses -------------------------------------------------------------------------------------------------- */

static const char *section_name(const char *base, size_t len, const Elf64_Shdr *names, uint32_t at)
{
    size_t offset = names->sh_offset + at;
    if (at >= names->sh_size || offset >= len || !memchr(base + offset, 0, len - offset))
        return "";
    return base + offset;
}

/* LDGSTS with a uniform register in its address (opcode 0xdae of sm_90) that has no number there: the field that it shares with the
 * descriptor's, which is even wherever a kernel is sound, is 0 for both. */
static uint32_t lost_registers(const char *code, uint64_t n)
{
    uint32_t lost = 0;
    for (uint64_t i = 0; i + 16 <= n; i += 16) {
        uint64_t word[2];
        memcpy(word, code + i, sizeof word);
        lost += (word[0] & 0xfff) == 0xdae && (word[1] & 0x3f) == 0;
    }
    return lost;
}

/* .text.KERNEL: registers in the upper byte of sh_info; .nv.shared.KERNEL: its size. */
static void read_sections(Cubin *c)
{
    const char *base = c->cubin;
    Elf64_Ehdr head;
    Elf64_Shdr names, s;
    if (c->len < sizeof head)
        return;
    memcpy(&head, base, sizeof head);
    size_t bytes = (size_t)head.e_shnum * sizeof s;
    if (memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_shoff > c->len || bytes > c->len - head.e_shoff || head.e_shstrndx >= head.e_shnum)
        return;
    memcpy(&names, base + head.e_shoff + head.e_shstrndx * sizeof names, sizeof names);
    for (uint32_t i = 0; i < head.e_shnum; i++) {
        memcpy(&s, base + head.e_shoff + i * sizeof s, sizeof s);
        const char *name = section_name(base, c->len, &names, s.sh_name);
        if (strncmp(name, ".text.", 6) == 0 && s.sh_info >> 24 > c->registers)
            c->registers = s.sh_info >> 24;
        if (strncmp(name, ".text.", 6) == 0 && s.sh_offset < c->len && s.sh_size <= c->len - s.sh_offset)
            c->lost += lost_registers(base + s.sh_offset, s.sh_size);
        if (strncmp(name, ".nv.shared.", 11) == 0 && strstr(name, "reserved") == NULL && s.sh_size > c->shared_bytes)
            c->shared_bytes = (uint32_t)s.sh_size;
    }
}

/* The largest number that stands before `words` in ptxas's lines of the log; *found when there is one. (nvJitLink's own lines
 * count the shared memory that the system reserves, too, as the cubin's sections do.) */
static uint32_t number_before(const char *log, const char *words, bool *found)
{
    uint32_t most = 0;
    for (const char *s = log; (s = strstr(s, words)); s += strlen(words)) {
        const char *digits = s, *start = s;
        while (digits > log && digits[-1] >= '0' && digits[-1] <= '9')
            digits--;
        while (start > log && start[-1] != '\n')
            start--;
        if (strncmp(start, "ptxas", 5) != 0)
            continue;
        uint32_t v = (uint32_t)strtoul(digits, NULL, 10);
        most = v > most ? v : most;
        *found = true;
    }
    return most;
}

void cubin_usage(Cubin *c)
{
    bool known = false, used = false, smem = false;
    read_sections(c);
    if (!c->log)
        c->log = "";
    c->spill_bytes = number_before(c->log, " bytes spill stores", &known);
    uint32_t registers = number_before(c->log, " registers", &used), shared = number_before(c->log, " bytes smem", &smem);
    if (used) {
        c->registers = registers;
        c->shared_bytes = shared;                   /* not mentioned when there is none */
    }
}
