/* base/file.c — files whole, mapped, or written through a temporary beside the target and renamed over it. */
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *hint_for(int error)
{
    switch (error) {
    case ENOSPC: return "the disk is full: free some space or choose another place";
    case EDQUOT: return "the disk quota is used up: free some space or choose another place";
    case EROFS:  return "the file system is read-only: choose another place";
    case EACCES:
    case EPERM:  return "check the permissions of the file and of its folder";
    case ENOENT: return "check the path";
    case EFBIG:  return "the file would exceed a limit on file sizes (see ulimit -f)";
    case EMFILE:
    case ENFILE: return "too many open files (see ulimit -n)";
    default:     return NULL;
    }
}

static bool io_error(Diags *d, const char *what, const char *path, int error)
{
    return diag_error(d, PAWL_EXIT_IO, LOC_NONE, hint_for(error), "%s %s: %s", what, path, strerror(error));
}

/* Opens a regular file for reading; -1: diagnosed. */
static int open_read(Diags *d, const char *path, size_t *len)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        io_error(d, "cannot read", path, errno);
    } else if (S_ISDIR(st.st_mode)) {
        io_error(d, "cannot read", path, EISDIR);
    } else {
        *len = S_ISREG(st.st_mode) ? (size_t)st.st_size : 0;
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

bool file_map(Diags *d, const char *path, FileMap *out)
{
    *out = (FileMap){"", 0};
    int fd = open_read(d, path, &out->len);
    if (fd < 0)
        return false;
    bool good = true;
    if (out->len) {                /* mmap refuses empty mappings */
        void *p = mmap(NULL, out->len, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            good = io_error(d, "cannot map", path, errno);
            *out = (FileMap){"", 0};
        } else {
            out->data = p;
        }
    }
    close(fd);
    return good;
}

void file_unmap(FileMap *m)
{
    if (m->len)
        munmap((void *)(uintptr_t)m->data, m->len);
    *m = (FileMap){"", 0};
}

/* Reads to the end, whatever fstat said: pipes and /proc have no length, and a file may grow. */
char *file_read(Arena *a, Diags *d, const char *path, size_t *len)
{
    size_t cap = 0, n = 0;
    int fd = open_read(d, path, &cap);
    if (fd < 0)
        return NULL;
    cap = cap ? cap + 1 : 4096;    /* one more, so that the end shows without another buffer */
    char *text = arena_alloc(a, cap + 1);
    for (;;) {
        if (n == cap) {
            char *larger = arena_alloc(a, cap * 2 + 1);
            memcpy(larger, text, n);
            text = larger;
            cap *= 2;
        }
        ssize_t got = read(fd, text + n, cap - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            io_error(d, "cannot read", path, errno);
            close(fd);
            return NULL;
        }
        if (got == 0)
            break;
        n += (size_t)got;
    }
    close(fd);
    text[n] = '\0';
    if (len)
        *len = n;
    return text;
}

static bool write_all(int fd, const char *p, size_t len)
{
    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

/* A new file beside the target. Not mkstemp: its mode is private, and the umask cannot be read without setting it. */
static int open_temporary(Arena *a, const char *target, char **path)
{
    for (int tries = 0; tries < 100; tries++) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        *path = arena_printf(a, "%s.tmp-%d-%lx", target, (int)getpid(), (unsigned long)t.tv_nsec);
        int fd = open(*path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

static bool write_parts(int fd, const FilePart *parts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!write_all(fd, parts[i].data, parts[i].len))
            return false;
    return true;
}

/* Devices and pipes (/dev/stdout) are written to, not replaced. */
static bool write_special(Diags *d, const char *path, const FilePart *parts, size_t n)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write_parts(fd, parts, n);
    int error = errno;
    if (fd >= 0)
        close(fd);
    return good || io_error(d, "cannot write", path, error);
}

bool file_write(Diags *d, const char *path, const void *data, size_t len)
{
    return file_write_parts(d, path, &(FilePart){data, len}, 1);
}

bool file_write_parts(Diags *d, const char *path, const FilePart *parts, size_t n)
{
    struct stat st;
    bool exists = stat(path, &st) == 0;
    if (exists && S_ISDIR(st.st_mode))
        return io_error(d, "cannot write", path, EISDIR);
    if (exists && !S_ISREG(st.st_mode))
        return write_special(d, path, parts, n);
    char resolved[PATH_MAX];
    const char *target = exists && realpath(path, resolved) ? resolved : path;    /* keep symbolic links */
    Arena *scratch = arena_new();
    char *temporary;
    int fd = open_temporary(scratch, target, &temporary);
    bool good = fd >= 0 && write_parts(fd, parts, n) && (!exists || fchmod(fd, st.st_mode & 07777) == 0);
    int error = errno;
    if (fd >= 0 && close(fd) < 0 && good) {        /* NFS reports a full disk here */
        error = errno;
        good = false;
    }
    if (good && rename(temporary, target) < 0) {
        error = errno;
        good = false;
    }
    if (fd >= 0 && !good)
        unlink(temporary);
    arena_free(scratch);
    return good || io_error(d, "cannot write", path, error);
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool dir_make(Diags *d, const char *path)
{
    Arena *scratch = arena_new();
    char *part = arena_strdup(scratch, path);
    bool good = true;
    for (char *c = part; good && *c; ) {
        c += *c == '/';
        while (*c && *c != '/')
            c++;
        char kept = *c;
        *c = '\0';
        struct stat st;
        int error = mkdir(part, 0777) < 0 ? errno : 0;
        if (error && !(stat(part, &st) == 0 && S_ISDIR(st.st_mode)))
            good = io_error(d, "cannot make folder", part, error == EEXIST ? ENOTDIR : error);
        *c = kept;
    }
    arena_free(scratch);
    return good;
}

static const char *home_dir(void)
{
    const char *home = getenv("HOME");
    if (home && *home)
        return home;
    const struct passwd *user = getpwuid(getuid());
    return user && user->pw_dir ? user->pw_dir : "/tmp";
}

const char *cache_dir(Arena *a)
{
    const char *own = getenv("PAWL_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME");
    if (own && *own)
        return arena_strdup(a, own);
    if (xdg && *xdg == '/')        /* the specification says to ignore relative ones */
        return arena_printf(a, "%s/pawl", xdg);
    return arena_printf(a, "%s/.cache/pawl", home_dir());
}

const char *program_dir(Arena *a)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0)
        return ".";
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash)
        return ".";
    slash[slash == path] = '\0';
    return arena_strdup(a, path);
}

double clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
