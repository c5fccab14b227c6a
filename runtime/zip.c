/* runtime/zip.c — reads zip files without trusting them: the directory at the end, then each member's own header. */
#include "runtime/zip.h"
#include "base/map.h"
#include <string.h>
#include <zlib.h>

typedef unsigned long long ull;

enum {
    SIG_LOCAL = 0x04034b50, SIG_CENTRAL = 0x02014b50, SIG_END = 0x06054b50, SIG_END64 = 0x06064b50, SIG_LOCATOR64 = 0x07064b50,
    LOCAL_BYTES = 30, CENTRAL_BYTES = 46, END_BYTES = 22, END64_BYTES = 56, LOCATOR64_BYTES = 20,
    EXTRA_ZIP64 = 0x0001, MAX_MEMBERS = 1 << 20
};

static uint16_t u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t u32(const uint8_t *p) { return (uint32_t)u16(p) | (uint32_t)u16(p + 2) << 16; }
static uint64_t u64(const uint8_t *p) { return u32(p) | (uint64_t)u32(p + 4) << 32; }

static const char damaged[] = "the file was cut short or damaged: copy or compile it again";

static void *refuse(const Zip *z, Diags *d, const char *what)
{
    diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, damaged, "%s: %s", z->where, what);
    return NULL;
}

static bool inside(const Zip *z, uint64_t offset, uint64_t n)
{
    return offset <= z->len && n <= z->len - offset;
}

/* ---- the end record ---- */

typedef struct { uint64_t offset, size, count, end; } Directory;

static bool find_end(const Zip *z, Directory *dir)
{
    if (z->len < END_BYTES)
        return false;
    size_t lowest = z->len > END_BYTES + 65535 ? z->len - END_BYTES - 65535 : 0;
    for (size_t at = z->len - END_BYTES + 1; at-- > lowest; ) {
        const uint8_t *p = z->data + at;
        if (u32(p) != SIG_END || at + END_BYTES + u16(p + 20) != z->len)
            continue;
        *dir = (Directory){u32(p + 16), u32(p + 12), u16(p + 10), at};
        return true;
    }
    return false;
}

static bool find_end64(const Zip *z, Directory *dir)
{
    if (dir->offset != UINT32_MAX && dir->size != UINT32_MAX && dir->count != UINT16_MAX)
        return true;
    if (dir->end < LOCATOR64_BYTES || u32(z->data + dir->end - LOCATOR64_BYTES) != SIG_LOCATOR64)
        return dir->count == UINT16_MAX && dir->offset != UINT32_MAX;      /* exactly 65535 members, and no zip64 */
    uint64_t at = u64(z->data + dir->end - LOCATOR64_BYTES + 8);
    if (!inside(z, at, END64_BYTES) || u32(z->data + at) != SIG_END64)
        return false;
    *dir = (Directory){u64(z->data + at + 48), u64(z->data + at + 40), u64(z->data + at + 32), at};
    return true;
}

/* ---- the directory ---- */

/* 64-bit values of a central entry, in the order of the fields that overflowed. */
static bool read_extra64(const uint8_t *extra, size_t n, ZipMember *m, uint64_t *local)
{
    while (n >= 4) {
        size_t size = u16(extra + 2);
        if (size > n - 4)
            return false;
        if (u16(extra) == EXTRA_ZIP64) {
            const uint8_t *p = extra + 4, *end = p + size;
            uint64_t *fields[] = {&m->size, &m->packed, local};
            for (int i = 0; i < 3; i++)
                if (*fields[i] == UINT32_MAX) {
                    if (end - p < 8)
                        return false;
                    *fields[i] = u64(p);
                    p += 8;
                }
            return true;
        }
        extra += 4 + size;
        n -= 4 + size;
    }
    return m->size != UINT32_MAX && m->packed != UINT32_MAX && *local != UINT32_MAX;
}

static bool read_local(Zip *z, Diags *d, ZipMember *m, uint64_t local, uint64_t limit)
{
    const uint8_t *p = z->data + local;
    size_t name = strlen(m->name);
    if (!inside(z, local, LOCAL_BYTES + name) || u32(p) != SIG_LOCAL || u16(p + 26) != name ||
        memcmp(p + LOCAL_BYTES, m->name, name) != 0 || u16(p + 8) != m->method)
        return refuse(z, d, arena_printf(z->arena, "member %s has no header where the directory says", m->name));
    m->offset = local + LOCAL_BYTES + name + u16(p + 28);
    if (m->offset > limit || m->packed > limit - m->offset)
        return refuse(z, d, arena_printf(z->arena, "member %s ends past the members' part of the file", m->name));
    if (!(u16(p + 6) & 8) && u32(p + 14) != m->crc)
        return refuse(z, d, arena_printf(z->arena, "member %s has two different checksums", m->name));
    return true;
}

static bool read_central(Zip *z, Diags *d, uint64_t *at, uint64_t limit, uint64_t members_end, Map *seen)
{
    const uint8_t *p = z->data + *at;
    if (*at > limit || limit - *at < CENTRAL_BYTES || u32(p) != SIG_CENTRAL)
        return refuse(z, d, "its directory of members is broken");
    uint64_t name = u16(p + 28), extra = u16(p + 30), comment = u16(p + 32);
    if (limit - *at - CENTRAL_BYTES < name + extra + comment)
        return refuse(z, d, "its directory of members is broken");
    if (name == 0 || memchr(p + CENTRAL_BYTES, 0, name))
        return refuse(z, d, "a member has no proper name");
    ZipMember *m = &z->members[z->n];
    *m = (ZipMember){.name = arena_strndup(z->arena, (const char *)p + CENTRAL_BYTES, name), .method = u16(p + 10),
                     .crc = u32(p + 16), .packed = u32(p + 20), .size = u32(p + 24)};
    uint64_t local = u32(p + 42);
    if (u16(p + 8) & 1)
        return refuse(z, d, arena_printf(z->arena, "member %s is encrypted", m->name));
    if ((m->method != 0 && m->method != 8) || !read_extra64(p + CENTRAL_BYTES + name, extra, m, &local) ||
        (m->method == 0 && m->packed != m->size))
        return refuse(z, d, arena_printf(z->arena, "member %s is packed in a way that is not understood", m->name));
    if (!map_set(seen, hash_str(m->name), z->n))
        return refuse(z, d, arena_printf(z->arena, "member %s is there twice", m->name));
    z->n++;
    *at += CENTRAL_BYTES + name + extra + comment;
    return read_local(z, d, m, local, members_end);
}

Zip *zip_open(Arena *a, Diags *d, const char *where, const void *image, size_t len)
{
    Zip *z = arena_new_of(a, Zip);
    *z = (Zip){.arena = a, .where = where, .data = image, .len = len};
    Directory dir;
    if (!find_end(z, &dir))
        return refuse(z, d, len < 4 || u32(z->data) != SIG_LOCAL ? "is no package (no zip file)" : "the end of the file is missing");
    if (!find_end64(z, &dir) || dir.offset > dir.end || dir.size > dir.end - dir.offset || dir.count > MAX_MEMBERS ||
        dir.count > dir.size / CENTRAL_BYTES)
        return refuse(z, d, "its end record is broken");
    z->members = arena_new_array(a, ZipMember, dir.count + 1);
    Map *seen = map_new(a);
    uint64_t at = dir.offset;
    for (uint64_t i = 0; i < dir.count; i++)
        if (!read_central(z, d, &at, dir.offset + dir.size, dir.offset, seen))
            return NULL;
    return z;
}

ZipMember *zip_find(const Zip *z, const char *name)
{
    for (uint32_t i = 0; i < z->n; i++)
        if (strcmp(z->members[i].name, name) == 0)
            return &z->members[i];
    return NULL;
}

static const void *inflate_member(Zip *z, ZipMember *m, Diags *d)
{
    if (m->size > (1ull << 32) || m->size > 1100 * m->packed + 1024)
        return refuse(z, d, arena_printf(z->arena, "member %s claims to unpack to %llu bytes", m->name, (ull)m->size));
    uint8_t *raw = arena_alloc(z->arena, m->size + 64), *out = raw + (64 - (uintptr_t)raw % 64) % 64;
    z_stream s = {.next_in = (Bytef *)(uintptr_t)(z->data + m->offset), .avail_in = (uInt)m->packed,
                  .next_out = out, .avail_out = (uInt)m->size};
    if (m->packed > UINT32_MAX || inflateInit2(&s, -15) != Z_OK)
        return refuse(z, d, arena_printf(z->arena, "member %s cannot be unpacked", m->name));
    int r = inflate(&s, Z_FINISH);
    bool good = (r == Z_STREAM_END || (r == Z_BUF_ERROR && m->size == 0)) && s.total_out == m->size;
    inflateEnd(&s);
    return good ? out : refuse(z, d, arena_printf(z->arena, "member %s cannot be unpacked", m->name));
}

const void *zip_member_bytes(Zip *z, ZipMember *m, bool check, Diags *d)
{
    if (!m->bytes)
        m->bytes = m->method == 0 ? z->data + m->offset : inflate_member(z, m, d);
    if (!m->bytes)
        return NULL;
    if (check && !m->checked && crc32_z(0, m->bytes, m->size) != m->crc)
        return refuse(z, d, arena_printf(z->arena, "member %s has a wrong checksum", m->name));
    m->checked |= check;
    return m->bytes;
}
