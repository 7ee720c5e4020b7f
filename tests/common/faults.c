/* A file system that fails when a test says so: preloaded (LD_PRELOAD) into the daemon, it stands
 * before the C library's calls and answers an errno instead.
 *
 * $FAULTS names a file of rules, read at each call, a line each: CALL ERRNO PART, where PART is a
 * part of the path that is meant. CALL is one of sync, rename, create, write, unlink, inotify and
 * watch. A failing sync loses what was to be synced, as Linux may: the file is empty after it. The
 * watch that fails with errno 0 succeeds and never tells anything, as on a network file system.
 * Each sync that is done is a line in $FAULTS.syncs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* The errno that a rule has for this call on this path; -1: none has. No call of ours is used, or
 * it would come back here. */
static int rule(const char *call, const char *path) {
    const char *rules = getenv("FAULTS");
    if (rules == NULL || path == NULL) return -1;
    int before = errno, found = -1;
    char text[4096];
    int fd = (int)syscall(SYS_openat, AT_FDCWD, rules, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : syscall(SYS_read, fd, text, sizeof text - 1);
    if (fd >= 0) syscall(SYS_close, fd);
    if (n > 0) {
        text[n] = 0;
        char *rest = text, *line;
        while (found < 0 && (line = strsep(&rest, "\n")) != NULL) {
            char name[16], part[256];
            int number;
            if (sscanf(line, "%15s %d %255s", name, &number, part) == 3 && strcmp(name, call) == 0 &&
                strstr(path, part) != NULL)
                found = number;
        }
    }
    errno = before;
    return found;
}

static const char *path_of(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, path, size - 1);
    if (n < 0) return NULL;
    path[n] = 0;
    return path;
}

static int fail(int number) {
    errno = number;
    return -1;
}

static void note(const char *path) {
    char log[4096], line[4096];
    const char *rules = getenv("FAULTS");
    if (rules == NULL || path == NULL) return;
    snprintf(log, sizeof log, "%s.syncs", rules);
    int n = snprintf(line, sizeof line, "%s\n", path);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) return;
    syscall(SYS_write, fd, line, (size_t)n);
    syscall(SYS_close, fd);
}

static int synced(int fd, int (*next)(int)) {
    char buffer[4096];
    const char *path = path_of(fd, buffer, sizeof buffer);
    int number = rule("sync", path);
    if (number >= 0) {
        int done = ftruncate(fd, 0); /* no file of ours: then there is nothing to be lost */
        (void)done;
        return fail(number);
    }
    note(path);
    return next(fd);
}

int fsync(int fd) { return synced(fd, NEXT(fsync)); }
int fdatasync(int fd) { return synced(fd, NEXT(fdatasync)); }

int rename(const char *from, const char *to) {
    int number = rule("rename", to);
    return number >= 0 ? fail(number) : NEXT(rename)(from, to);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
    int number = rule("rename", to);
    return number >= 0 ? fail(number) : NEXT(renameat2)(from_fd, from, to_fd, to, flags);
}

int unlink(const char *path) {
    int number = rule("unlink", path);
    return number >= 0 ? fail(number) : NEXT(unlink)(path);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    int number = (flags & O_ACCMODE) == O_RDONLY ? -1 : rule("create", path);
    return number >= 0 ? fail(number) : NEXT(open64)(path, flags, mode);
}

ssize_t write(int fd, const void *bytes, size_t n) {
    char buffer[4096];
    int number = rule("write", path_of(fd, buffer, sizeof buffer));
    return number >= 0 ? fail(number) : NEXT(write)(fd, bytes, n);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at) {
    char buffer[4096];
    int number = rule("write", path_of(fd, buffer, sizeof buffer));
    return number >= 0 ? fail(number) : NEXT(pwrite64)(fd, bytes, n, at);
}

int inotify_init1(int flags) {
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "inotify_init1");
    int number = rule("inotify", "/");
    return number >= 0 ? fail(number) : next(flags);
}

int inotify_add_watch(int fd, const char *path, unsigned mask) {
    int (*next)(int, const char *, unsigned) =
        (int (*)(int, const char *, unsigned))dlsym(RTLD_NEXT, "inotify_add_watch");
    int number = rule("watch", path);
    if (number == 0) return 1;
    return number > 0 ? fail(number) : next(fd, path, mask);
}
