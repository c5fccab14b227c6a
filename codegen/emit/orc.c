/* codegen/emit/orc.c — runs fresh host objects through LLVM's ORC. The object may import nothing but what
 * runtime/host_code.h's host_import knows: names are looked up there before ORC sees the object, and nowhere else. */
#include "codegen/emit/emit.h"
#include "codegen/emit/llvm_common.h"
#include "runtime/host_code.h"

#include <elf.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <stdlib.h>

struct HostCode { LLVMOrcLLJITRef jit; };

/* ---- undefined symbols of an object ------------------------------------------------------------------------------------- */

static bool inside(size_t offset, size_t bytes, size_t len) { return offset <= len && bytes <= len - offset; }

uint32_t host_object_imports(Arena *a, const void *object, size_t len, const char *const **names)
{
    Vec(const char *) found = {0};
    const char *base = object;
    Elf64_Ehdr head;
    *names = NULL;
    if (len < sizeof head)
        return 0;
    memcpy(&head, object, sizeof head);
    for (uint32_t i = 0; i < head.e_shnum && inside(head.e_shoff, (size_t)head.e_shnum * sizeof(Elf64_Shdr), len); i++) {
        Elf64_Shdr table, strings;
        memcpy(&table, base + head.e_shoff + i * sizeof table, sizeof table);
        if (table.sh_type != SHT_SYMTAB || table.sh_link >= head.e_shnum || !inside(table.sh_offset, table.sh_size, len))
            continue;
        memcpy(&strings, base + head.e_shoff + table.sh_link * sizeof strings, sizeof strings);
        for (uint64_t j = 1; j < table.sh_size / sizeof(Elf64_Sym); j++) {
            Elf64_Sym sym;
            memcpy(&sym, base + table.sh_offset + j * sizeof sym, sizeof sym);
            if (sym.st_shndx == SHN_UNDEF && sym.st_name && sym.st_name < strings.sh_size &&
                inside(strings.sh_offset, strings.sh_size, len))
                vec_push(a, &found, arena_strdup(a, base + strings.sh_offset + sym.st_name));
        }
    }
    *names = found.data;
    return found.n;
}

/* ---- the loader --------------------------------------------------------------------------------------------------------- */

static bool failed(Diags *d, LLVMErrorRef e, const char *what)
{
    if (!e)
        return false;
    char *text = LLVMGetErrorMessage(e);
    diag_error(d, PAWL_EXIT_INTERNAL, LOC_NONE, NULL, "%s: %s", what, text);
    LLVMDisposeErrorMessage(text);
    return true;
}

/* Defines the object's imports as absolute symbols. */
static bool define_imports(Arena *a, Diags *d, LLVMOrcLLJITRef jit, const void *object, size_t len)
{
    const char *const *names;
    uint32_t n = host_object_imports(a, object, len, &names);
    LLVMOrcCSymbolMapPair *pairs = arena_new_array(a, LLVMOrcCSymbolMapPair, n + 1);
    for (uint32_t i = 0; i < n; i++)
        if (!host_import(names[i]))
            return diag_error(d, PAWL_EXIT_INTERNAL, LOC_NONE, NULL,
                              "host code imports %s, which is no function of the math library's table", names[i]);
    if (!n)
        return true;
    for (uint32_t i = 0; i < n; i++) {
        pairs[i].Name = LLVMOrcLLJITMangleAndIntern(jit, names[i]);
        pairs[i].Sym.Address = (LLVMOrcExecutorAddress)(uintptr_t)host_import(names[i]);
        pairs[i].Sym.Flags.GenericFlags = LLVMJITSymbolGenericFlagsExported | LLVMJITSymbolGenericFlagsCallable;
    }
    LLVMOrcMaterializationUnitRef unit = LLVMOrcAbsoluteSymbols(pairs, n);
    LLVMErrorRef e = LLVMOrcJITDylibDefine(LLVMOrcLLJITGetMainJITDylib(jit), unit);
    if (e)
        LLVMOrcDisposeMaterializationUnit(unit);
    return !failed(d, e, "ORC cannot define the math functions");
}

static void orc_unload(HostCode *c)
{
    if (!c)
        return;
    LLVMConsumeError(LLVMOrcDisposeLLJIT(c->jit));
    free(c);
}

static HostCode *orc_load(Arena *a, Diags *d, const void *object, size_t len)
{
    LLVMOrcLLJITRef jit = NULL;
    ll_targets();
    if (failed(d, LLVMOrcCreateLLJIT(&jit, NULL), "ORC does not start"))
        return NULL;
    HostCode *c = calloc(1, sizeof *c);
    pawl_assert(c);
    c->jit = jit;
    LLVMMemoryBufferRef buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(object, len, "pawl");
    if (!define_imports(a, d, jit, object, len)) {
        LLVMDisposeMemoryBuffer(buffer);
        orc_unload(c);
        return NULL;
    }
    if (failed(d, LLVMOrcLLJITAddObjectFile(jit, LLVMOrcLLJITGetMainJITDylib(jit), buffer), "ORC rejects the host object")) {
        orc_unload(c);
        return NULL;
    }
    return c;
}

static HostKernel *orc_find(HostCode *c, const char *symbol)
{
    LLVMOrcExecutorAddress address = 0;
    LLVMErrorRef e = LLVMOrcLLJITLookup(c->jit, &address, symbol);
    if (e) {
        LLVMConsumeError(e);
        return NULL;
    }
    return (HostKernel *)(uintptr_t)address;
}

const HostLoader *host_loader_orc(void)
{
    static const HostLoader loader = {orc_load, orc_find, orc_unload};
    return &loader;
}
