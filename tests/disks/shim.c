/* A disk that a test rules over, between a program and the C library (LD_PRELOAD). Of what is beneath JVP_DISK_ROOT
 *
 *   JVP_DISK_LOG=FILE     each call that changes something is written to FILE, with what it wrote, in the order in which they were done;
 *   JVP_DISK_FAIL=N:WHAT  from the N-th such call on each fails: "full" those that need room, "readonly" all; "once" the N-th
 *                         alone, as a sector does that went bad; "late" too, after a while, as where a disk tries again first.
 *                         "short" is "full" where there was room for a half of what the N-th writes.
 *   JVP_DISK_COUNT=FILE   how many such calls there were is written to FILE as the program ends.
 *
 * An entry of the log is a line "CALL OFFSET LENGTH PATH OTHER", then LENGTH bytes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root;
static size_t root_length;
static int log_fd = -1;
static long fail_at, count;
static enum { FULL, READ_ONLY, ONCE, LATE, SHORT } fail_how;
/* No error of the kernel's: half of it is written. */
#define HALF -1

__attribute__((constructor)) static void start(void)
{
    const char *text = getenv("JVP_DISK_ROOT"), *fail = getenv("JVP_DISK_FAIL"), *path = getenv("JVP_DISK_LOG");
    if (!text)
        return;
    root = strdup(text);
    root_length = strlen(root);
    if (path)
        log_fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fail) {
        char *end;
        fail_at = strtol(fail, &end, 10);
        fail_how = !strcmp(end, ":full")       ? FULL
                   : !strcmp(end, ":readonly") ? READ_ONLY
                   : !strcmp(end, ":late")     ? LATE
                   : !strcmp(end, ":short")    ? SHORT
                                               : ONCE;
    }
}

__attribute__((destructor)) static void stop(void)
{
    const char *path = getenv("JVP_DISK_COUNT");
    if (!root || !path)
        return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    char text[32];
    int size = snprintf(text, sizeof text, "%ld\n", count);
    if (fd < 0 || syscall(SYS_write, fd, text, (size_t)size) != size)
        abort();
    syscall(SYS_close, fd);
}

static int beneath(const char *path)
{
    return root && path && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

/* The path of an open file; whether it is beneath the root. */
static int named(int fd, char *path)
{
    char link[64];
    if (!root)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return beneath(path);
}

static int named_at(int folder, const char *name, char *path)
{
    if (!root || !name)
        return 0;
    if (name[0] == '/' || folder == AT_FDCWD) {
        snprintf(path, PATH_MAX, "%s", name);
        return beneath(path);
    }
    if (!named(folder, path))
        return 0;
    size_t length = strlen(path);
    snprintf(path + length, PATH_MAX - length, "/%s", name);
    return 1;
}

/* Counts a call, and says with which error it is to fail, if it is to. */
static int fate(int needs_room)
{
    count++;
    if (!fail_at || count < fail_at)
        return 0;
    switch (fail_how) {
    case FULL: return needs_room ? ENOSPC : 0;
    case READ_ONLY: return EROFS;
    case SHORT: return count == fail_at ? HALF : needs_room ? ENOSPC : 0;
    default: return count == fail_at ? EIO : 0;
    }
}

static void note(const char *call, long offset, const void *bytes, size_t length, const char *path, const char *other)
{
    char head[2 * PATH_MAX + 128];
    if (log_fd < 0)
        return;
    int size = snprintf(head, sizeof head, "%s %ld %zu %s %s\n", call, offset, length, path, other ? other : "-");
    struct iovec parts[2] = {{head, (size_t)size}, {(void *)bytes, length}};
    if (syscall(SYS_writev, log_fd, parts, length ? 2 : 1) < 0)
        abort();
}

/* Does a call of the kernel's under the lock, unless it is to fail, and notes it if it went well. HALVE says what becomes of it where there
 * is room for a half: an error, or none. */
#define DO(TYPE, WATCHED, NEEDS_ROOM, HALVE, CALL, NOTE)                                                                      \
    do {                                                                                                                          \
        if (!(WATCHED))                                                                                                           \
            return (TYPE)(CALL);                                                                                                  \
        pthread_mutex_lock(&lock);                                                                                                \
        int wrong = fate(NEEDS_ROOM);                                                                                             \
        if (wrong == HALF)                                                                                                        \
            wrong = (HALVE);                                                                                                      \
        TYPE done = wrong ? -1 : (TYPE)(CALL);                                                                                    \
        int error = wrong ? wrong : errno;                                                                                        \
        if (done >= 0)                                                                                                            \
            NOTE;                                                                                                                 \
        pthread_mutex_unlock(&lock);                                                                                              \
        if (wrong && fail_how == LATE)                                                                                            \
            usleep(200000);                                                                                                       \
        errno = error;                                                                                                            \
        return done;                                                                                                              \
    } while (0)

ssize_t write(int fd, const void *bytes, size_t length)
{
    char path[PATH_MAX];
    DO(ssize_t, named(fd, path), 1, (length -= length / 2, 0), syscall(SYS_write, fd, bytes, length),
       note("write", syscall(SYS_lseek, fd, 0, SEEK_CUR) - done, bytes, (size_t)done, path, 0));
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset)
{
    char path[PATH_MAX];
    DO(ssize_t, named(fd, path), 1, (length -= length / 2, 0), syscall(SYS_pwrite64, fd, bytes, length, offset),
       note("write", offset, bytes, (size_t)done, path, 0));
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return pwrite64(fd, bytes, length, offset); }

int ftruncate64(int fd, off64_t length)
{
    char path[PATH_MAX];
    DO(int, named(fd, path), 1, ENOSPC, syscall(SYS_ftruncate, fd, length), note("truncate", length, 0, 0, path, 0));
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int fsync(int fd)
{
    char path[PATH_MAX];
    DO(int, named(fd, path), 1, ENOSPC, syscall(SYS_fsync, fd), note("sync", 0, 0, 0, path, 0));
}

int fdatasync(int fd)
{
    char path[PATH_MAX];
    DO(int, named(fd, path), 1, ENOSPC, syscall(SYS_fdatasync, fd), note("sync", 0, 0, 0, path, 0));
}

/* Starts writing, and promises nothing of a file that grew. */
int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags)
{
    char path[PATH_MAX];
    DO(int, named(fd, path), 1, ENOSPC, syscall(SYS_sync_file_range, fd, offset, length, flags), note("range", 0, 0, 0, path, 0));
}

static int open_at(int folder, const char *name, int flags, mode_t mode)
{
    char path[PATH_MAX];
    int watched = (flags & (O_CREAT | O_TRUNC | O_WRONLY | O_RDWR)) && !(flags & O_DIRECTORY) && named_at(folder, name, path);
    struct stat found;
    int there = watched && !lstat(path, &found);
    DO(int, watched && (!there || flags & O_TRUNC || fail_how == READ_ONLY), 1, ENOSPC, syscall(SYS_openat, folder, name, flags, mode),
       note(there ? flags & O_TRUNC ? "truncate" : "open" : "create", 0, 0, 0, path, 0));
}

#define OPEN(NAME)                                                                                                                \
    int NAME(const char *name, int flags, ...)                                                                                    \
    {                                                                                                                             \
        va_list rest;                                                                                                             \
        va_start(rest, flags);                                                                                                    \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                                 \
        va_end(rest);                                                                                                             \
        return open_at(AT_FDCWD, name, flags, mode);                                                                              \
    }
#define OPENAT(NAME)                                                                                                              \
    int NAME(int folder, const char *name, int flags, ...)                                                                        \
    {                                                                                                                             \
        va_list rest;                                                                                                             \
        va_start(rest, flags);                                                                                                    \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                                 \
        va_end(rest);                                                                                                             \
        return open_at(folder, name, flags, mode);                                                                                \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int mkdir(const char *path, mode_t mode)
{
    DO(int, beneath(path), 1, ENOSPC, syscall(SYS_mkdirat, AT_FDCWD, path, mode), note("mkdir", 0, 0, 0, path, 0));
}

int rename(const char *from, const char *to)
{
    DO(int, beneath(to), 1, ENOSPC, syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0), note("rename", 0, 0, 0, from, to));
}

int linkat(int old, const char *from, int new, const char *to, int flags)
{
    DO(int, beneath(to), 1, ENOSPC, syscall(SYS_linkat, old, from, new, to, flags), note("link", 0, 0, 0, from, to));
}

int unlinkat(int folder, const char *name, int flags)
{
    char path[PATH_MAX];
    DO(int, named_at(folder, name, path), 0, 0, syscall(SYS_unlinkat, folder, name, flags), note("unlink", 0, 0, 0, path, 0));
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
