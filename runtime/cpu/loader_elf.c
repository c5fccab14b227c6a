/* runtime/cpu/loader_elf.c — maps a position-independent x86-64 relocatable object into memory, ready to run.
 *
 * One mapping holds code | read-only data and import slots | writable data, each on pages of its own: written, relocated, then
 * protected, so that nothing is ever writable and executable. Calls to imports go through stubs (jmp *slot), since libm may lie
 * further than 2 GiB away. Imports come from host_import's table and nowhere else. Every field of the file is checked before use.
 *
 * Sources: System V ABI, AMD64 supplement 1.0 (relocations); gABI chapter 4 (object files). */
#include "base/vec.h"
#include "runtime/host_code.h"
#include <elf.h>
#include <string.h>
#include <sys/mman.h>

/* Newer than some C libraries' elf.h. */
#ifndef R_X86_64_CODE_4_GOTPCRELX
#define R_X86_64_CODE_4_GOTPCRELX 43
#endif

typedef enum { ZONE_CODE, ZONE_READ, ZONE_WRITE, ZONES } Zone;

typedef struct { Zone zone; size_t offset; bool loaded; } Placed;          /* a section in memory */
typedef struct { const char *name; size_t slot, stub; void *address; } Slot;
typedef struct { const char *name; void *address; } Entry;

struct HostCode {
    char *base;
    size_t len;
    Vec(Entry) entries;
};

typedef struct {
    Arena *a;
    Diags *d;
    const uint8_t *file; size_t len;
    const Elf64_Shdr *sections; uint32_t n_sections;
    const char *names; size_t names_len;           /* of sections */
    const Elf64_Sym *symbols; uint32_t n_symbols;
    const char *strings; size_t strings_len;       /* of symbols */
    Placed *placed;
    size_t zone_len[ZONES], zone_at[ZONES];
    Vec(Slot) slots;                                /* one a symbol that is reached through a slot or a stub */
    uint32_t *slot_of;                              /* symbol -> slot + 1 */
    bool low;                                       /* 32-bit absolute relocations: must lie in the low 2 GiB */
    char *base;
} Loader;

enum { PAGE = 4096, STUB_BYTES = 8, MAX_OBJECT = 1 << 30 };

#define refuse(l, ...) \
    diag_error((l)->d, PAWL_EXIT_INVALID, LOC_NONE, "the object was not made for this loader: compile the package again", __VA_ARGS__)

/* ---- reading ---- */

static bool span_inside(const Loader *l, uint64_t offset, uint64_t n)
{
    return offset <= l->len && n <= l->len - offset;
}

static const char *text_at(const char *table, size_t len, uint32_t offset)
{
    return table && offset < len && memchr(table + offset, 0, len - offset) ? table + offset : NULL;
}

static bool read_header(Loader *l)
{
    const Elf64_Ehdr *h = (const void *)l->file;
    if (l->len < sizeof *h || memcmp(h->e_ident, ELFMAG, SELFMAG) != 0)
        return refuse(l, "host code is no ELF object");
    if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB || h->e_machine != EM_X86_64 || h->e_type != ET_REL)
        return refuse(l, "host code is no relocatable object for x86-64");
    if (h->e_shentsize != sizeof(Elf64_Shdr) || h->e_shnum == 0 || h->e_shoff % 8 ||
        !span_inside(l, h->e_shoff, (uint64_t)h->e_shnum * sizeof(Elf64_Shdr)))
        return refuse(l, "host code: the table of sections is broken");
    l->sections = (const void *)(l->file + h->e_shoff);
    l->n_sections = h->e_shnum;
    for (uint32_t i = 0; i < l->n_sections; i++) {
        const Elf64_Shdr *s = &l->sections[i];
        if (s->sh_type != SHT_NOBITS && s->sh_type != SHT_NULL && !span_inside(l, s->sh_offset, s->sh_size))
            return refuse(l, "host code: section %u lies outside the file", i);
        if (s->sh_size > MAX_OBJECT || (s->sh_addralign & (s->sh_addralign - 1)) || s->sh_addralign > PAGE)
            return refuse(l, "host code: section %u has an odd size or alignment", i);
    }
    if (h->e_shstrndx < l->n_sections && l->sections[h->e_shstrndx].sh_type == SHT_STRTAB) {
        l->names = (const char *)l->file + l->sections[h->e_shstrndx].sh_offset;
        l->names_len = l->sections[h->e_shstrndx].sh_size;
    }
    return true;
}

static bool read_symbols(Loader *l)
{
    for (uint32_t i = 0; i < l->n_sections; i++) {
        const Elf64_Shdr *s = &l->sections[i];
        if (s->sh_type != SHT_SYMTAB)
            continue;
        if (l->symbols || s->sh_entsize != sizeof(Elf64_Sym) || s->sh_link >= l->n_sections || s->sh_offset % 8 ||
            l->sections[s->sh_link].sh_type != SHT_STRTAB)
            return refuse(l, "host code: the table of symbols is broken");
        l->symbols = (const void *)(l->file + s->sh_offset);
        l->n_symbols = (uint32_t)(s->sh_size / sizeof(Elf64_Sym));
        l->strings = (const char *)l->file + l->sections[s->sh_link].sh_offset;
        l->strings_len = l->sections[s->sh_link].sh_size;
    }
    if (!l->symbols)
        return refuse(l, "host code has no symbols");
    l->slot_of = arena_new_array(l->a, uint32_t, l->n_symbols);
    return true;
}

static const char *symbol_name(const Loader *l, uint32_t i)
{
    const char *s = text_at(l->strings, l->strings_len, l->symbols[i].st_name);
    return s ? s : "?";
}

/* ---- layout ---- */

static void place_sections(Loader *l)
{
    l->placed = arena_new_array(l->a, Placed, l->n_sections);
    for (uint32_t i = 0; i < l->n_sections; i++) {
        const Elf64_Shdr *s = &l->sections[i];
        const char *name = text_at(l->names, l->names_len, s->sh_name);
        bool data = s->sh_type == SHT_PROGBITS || s->sh_type == SHT_NOBITS || s->sh_type == SHT_INIT_ARRAY;
        if (!(s->sh_flags & SHF_ALLOC) || !data || (name && strcmp(name, ".eh_frame") == 0))
            continue;
        Zone z = s->sh_flags & SHF_EXECINSTR ? ZONE_CODE : s->sh_flags & SHF_WRITE ? ZONE_WRITE : ZONE_READ;
        size_t align = s->sh_addralign ? s->sh_addralign : 1;
        l->zone_len[z] = (l->zone_len[z] + align - 1) / align * align;
        l->placed[i] = (Placed){z, l->zone_len[z], true};
        l->zone_len[z] += s->sh_size;
    }
}

static const Elf64_Rela *relocations(const Loader *l, uint32_t section, size_t *n)
{
    const Elf64_Shdr *s = &l->sections[section];
    *n = s->sh_size / sizeof(Elf64_Rela);
    return (const void *)(l->file + s->sh_offset);
}

static bool needs_slot(uint32_t type)
{
    return type == R_X86_64_GOTPCREL || type == R_X86_64_GOTPCRELX || type == R_X86_64_REX_GOTPCRELX ||
           type == R_X86_64_CODE_4_GOTPCRELX;
}

static bool add_slot(Loader *l, uint32_t symbol)
{
    if (l->slot_of[symbol])
        return true;
    Slot s = {.name = symbol_name(l, symbol)};
    if (l->symbols[symbol].st_shndx == SHN_UNDEF) {
        s.address = host_import(s.name);
        if (!s.address)
            return refuse(l, "host code calls \"%s\", which is not among the functions that it may call", s.name);
    }
    vec_push(l->a, &l->slots, s);
    l->slot_of[symbol] = l->slots.n;
    return true;
}

/* Which symbols need a slot, and whether the object must lie low. Checks all that relocating relies on. */
static bool scan_relocations(Loader *l)
{
    for (uint32_t i = 0; i < l->n_sections; i++) {
        const Elf64_Shdr *s = &l->sections[i];
        if (s->sh_type != SHT_RELA && s->sh_type != SHT_REL)
            continue;
        if (s->sh_info >= l->n_sections)
            return refuse(l, "host code: relocations of section %u, which is not there", s->sh_info);
        if (!l->placed[s->sh_info].loaded)
            continue;
        if (s->sh_type == SHT_REL || s->sh_entsize != sizeof(Elf64_Rela) || s->sh_offset % 8)
            return refuse(l, "host code: relocations in a form that x86-64 does not use");
        size_t n;
        const Elf64_Rela *r = relocations(l, i, &n);
        for (size_t k = 0; k < n; k++) {
            uint32_t symbol = (uint32_t)ELF64_R_SYM(r[k].r_info), type = (uint32_t)ELF64_R_TYPE(r[k].r_info);
            if (symbol >= l->n_symbols)
                return refuse(l, "host code: a relocation against symbol %u, which is not there", symbol);
            const Elf64_Sym *y = &l->symbols[symbol];
            bool import = y->st_shndx == SHN_UNDEF && symbol != 0;
            if (y->st_shndx == SHN_COMMON || ELF64_ST_TYPE(y->st_info) == STT_TLS || ELF64_ST_TYPE(y->st_info) == STT_GNU_IFUNC)
                return refuse(l, "host code: symbol \"%s\" is common, thread-local or indirect", symbol_name(l, symbol));
            l->low |= type == R_X86_64_32 || type == R_X86_64_32S;
            if ((needs_slot(type) || import) && !add_slot(l, symbol))
                return false;
        }
    }
    return true;
}

static void place_slots(Loader *l)
{
    l->zone_len[ZONE_CODE] = (l->zone_len[ZONE_CODE] + 15) / 16 * 16;
    l->zone_len[ZONE_READ] = (l->zone_len[ZONE_READ] + 7) / 8 * 8;
    vec_foreach(Slot, s, &l->slots) {
        s->slot = l->zone_len[ZONE_READ];
        l->zone_len[ZONE_READ] += 8;
        s->stub = l->zone_len[ZONE_CODE];
        l->zone_len[ZONE_CODE] += STUB_BYTES;
    }
}

static size_t page_up(size_t n) { return (n + PAGE - 1) / PAGE * PAGE; }

static bool map_zones(Loader *l, size_t *total)
{
    *total = 0;
    for (int z = 0; z < ZONES; z++) {
        l->zone_at[z] = *total;
        *total += page_up(l->zone_len[z]);
    }
    if (*total == 0 || *total > MAX_OBJECT)
        return refuse(l, "host code has %zu bytes to load", *total);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | (l->low ? MAP_32BIT : 0);
    void *p = mmap(NULL, *total, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (p == MAP_FAILED)
        return diag_error(l->d, PAWL_EXIT_DEVICE, LOC_NONE, NULL, "no memory for %zu bytes of host code", *total);
    l->base = p;
    for (uint32_t i = 0; i < l->n_sections; i++)
        if (l->placed[i].loaded && l->sections[i].sh_type != SHT_NOBITS)
            memcpy(l->base + l->zone_at[l->placed[i].zone] + l->placed[i].offset, l->file + l->sections[i].sh_offset,
                   l->sections[i].sh_size);
    return true;
}

/* ---- relocating ---- */

static char *section_address(const Loader *l, uint32_t section)
{
    return l->base + l->zone_at[l->placed[section].zone] + l->placed[section].offset;
}

/* Address of a symbol defined here, or of an import's stub. */
static bool symbol_address(const Loader *l, uint32_t i, uint64_t *out)
{
    const Elf64_Sym *y = &l->symbols[i];
    if (y->st_shndx == SHN_UNDEF) {
        *out = i == 0 ? 0 : (uint64_t)(uintptr_t)(l->base + l->zone_at[ZONE_CODE] + l->slots.data[l->slot_of[i] - 1].stub);
        return true;
    }
    if (y->st_shndx == SHN_ABS) {
        *out = y->st_value;
        return true;
    }
    if (y->st_shndx >= l->n_sections || !l->placed[y->st_shndx].loaded || y->st_value > l->sections[y->st_shndx].sh_size)
        return refuse(l, "host code: symbol \"%s\" lies in no loaded section", symbol_name(l, i));
    *out = (uint64_t)(uintptr_t)section_address(l, y->st_shndx) + y->st_value;
    return true;
}

static bool fill_slots(Loader *l)
{
    static const uint8_t jump[2] = {0xff, 0x25};           /* jmp *distance(%rip) */
    for (uint32_t i = 0; i < l->n_symbols; i++) {
        if (!l->slot_of[i])
            continue;
        Slot *s = &l->slots.data[l->slot_of[i] - 1];
        uint64_t address = (uint64_t)(uintptr_t)s->address;
        if (!s->address && !symbol_address(l, i, &address))
            return false;
        char *slot = l->base + l->zone_at[ZONE_READ] + s->slot, *stub = l->base + l->zone_at[ZONE_CODE] + s->stub;
        int32_t distance = (int32_t)(slot - (stub + 6));
        memcpy(slot, &address, 8);
        memcpy(stub, jump, sizeof jump);
        memcpy(stub + 2, &distance, 4);
    }
    return true;
}

static bool store(Loader *l, char *place, uint64_t value, unsigned bytes, bool fits, const char *what)
{
    if (!fits)
        return refuse(l, "host code: %s is out of reach: was the object compiled as position-independent code?", what);
    memcpy(place, &value, bytes);
    return true;
}

static bool relocate_one(Loader *l, uint32_t section, const Elf64_Rela *r)
{
    uint32_t symbol = (uint32_t)ELF64_R_SYM(r->r_info), type = (uint32_t)ELF64_R_TYPE(r->r_info);
    unsigned bytes = type == R_X86_64_64 || type == R_X86_64_PC64 ? 8 : type == R_X86_64_NONE ? 0 : 4;
    uint64_t limit = l->sections[section].sh_size;
    if (r->r_offset > limit || bytes > limit - r->r_offset || l->sections[section].sh_type == SHT_NOBITS)
        return refuse(l, "host code: a relocation outside its section");
    char *place = section_address(l, section) + r->r_offset;
    uint64_t target = 0, here = (uint64_t)(uintptr_t)place, addend = (uint64_t)r->r_addend;
    if (!symbol_address(l, symbol, &target))
        return false;
    const char *name = symbol_name(l, symbol);
    if (needs_slot(type))
        target = (uint64_t)(uintptr_t)(l->base + l->zone_at[ZONE_READ] + l->slots.data[l->slot_of[symbol] - 1].slot);
    else if (type == R_X86_64_64 && l->symbols[symbol].st_shndx == SHN_UNDEF && symbol)
        target = (uint64_t)(uintptr_t)l->slots.data[l->slot_of[symbol] - 1].address;
    uint64_t absolute = target + addend, relative = absolute - here;
    switch (type) {
    case R_X86_64_NONE:
        return true;
    case R_X86_64_64:
        return store(l, place, absolute, 8, true, name);
    case R_X86_64_PC64:
        return store(l, place, relative, 8, true, name);
    case R_X86_64_32:
        return store(l, place, absolute, 4, absolute <= UINT32_MAX, name);
    case R_X86_64_32S:
        return store(l, place, absolute, 4, (int64_t)absolute == (int32_t)absolute, name);
    case R_X86_64_PC32: case R_X86_64_PLT32: case R_X86_64_GOTPCREL: case R_X86_64_GOTPCRELX: case R_X86_64_REX_GOTPCRELX:
    case R_X86_64_CODE_4_GOTPCRELX:
        return store(l, place, relative, 4, (int64_t)relative == (int32_t)relative, name);
    default:
        return refuse(l, "host code: relocation type %u (against \"%s\") is not supported", type, name);
    }
}

static bool relocate(Loader *l)
{
    for (uint32_t i = 0; i < l->n_sections; i++) {
        const Elf64_Shdr *s = &l->sections[i];
        if (s->sh_type != SHT_RELA || !l->placed[s->sh_info].loaded)
            continue;
        size_t n;
        const Elf64_Rela *r = relocations(l, i, &n);
        for (size_t k = 0; k < n; k++)
            if (!relocate_one(l, s->sh_info, &r[k]))
                return false;
    }
    return true;
}

static bool protect(Loader *l)
{
    static const int rights[ZONES] = {PROT_READ | PROT_EXEC, PROT_READ, PROT_READ | PROT_WRITE};
    for (int z = 0; z < ZONES; z++)
        if (l->zone_len[z] && mprotect(l->base + l->zone_at[z], page_up(l->zone_len[z]), rights[z]) != 0)
            return diag_error(l->d, PAWL_EXIT_DEVICE, LOC_NONE, "a security policy may forbid it", "host code cannot be made executable");
    return true;
}

static void list_entries(Loader *l, HostCode *c)
{
    for (uint32_t i = 1; i < l->n_symbols; i++) {
        const Elf64_Sym *y = &l->symbols[i];
        uint64_t address;
        if (ELF64_ST_TYPE(y->st_info) != STT_FUNC || ELF64_ST_BIND(y->st_info) == STB_LOCAL || y->st_shndx == SHN_UNDEF ||
            y->st_shndx >= l->n_sections || !l->placed[y->st_shndx].loaded || l->placed[y->st_shndx].zone != ZONE_CODE ||
            y->st_value >= l->sections[y->st_shndx].sh_size || !symbol_address(l, i, &address))
            continue;
        Entry e = {arena_strdup(l->a, symbol_name(l, i)), (void *)(uintptr_t)address};
        vec_push(l->a, &c->entries, e);
    }
}

static HostCode *elf_load(Arena *a, Diags *d, const void *object, size_t len)
{
    Loader l = {.a = a, .d = d, .file = object, .len = len};
    if ((uintptr_t)object % 8) {                          /* the structures are read in place */
        void *copy = arena_alloc(a, len + 1);
        l.file = memcpy(copy, object, len);
    }
    if (len > MAX_OBJECT) {
        refuse(&l, "host code of %zu bytes", len);
        return NULL;
    }
    if (!read_header(&l) || !read_symbols(&l))
        return NULL;
    place_sections(&l);
    if (!scan_relocations(&l))
        return NULL;
    place_slots(&l);
    size_t total;
    if (!map_zones(&l, &total))
        return NULL;
    HostCode *c = arena_new_of(a, HostCode);
    c->base = l.base;
    c->len = total;
    if (fill_slots(&l) && relocate(&l) && protect(&l)) {
        list_entries(&l, c);
        return c;
    }
    munmap(l.base, total);
    return NULL;
}

static HostKernel *elf_find(HostCode *c, const char *symbol)
{
    vec_foreach(Entry, e, &c->entries)
        if (strcmp(e->name, symbol) == 0)
            return (HostKernel *)(uintptr_t)e->address;
    return NULL;
}

static void elf_unload(HostCode *c)
{
    if (c && c->base)
        munmap(c->base, c->len);
}

const HostLoader host_loader_elf = {elf_load, elf_find, elf_unload};
