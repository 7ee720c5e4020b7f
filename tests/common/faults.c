/* A file system that fails when a test says so: preloaded (LD_PRELOAD) into the daemon, it stands
 * before the C library's calls and answers an errno instead.
 *
 * $FAULTS names a file of rules, a line each: CALL ERRNO PART, where PART is a part of the path that
 * is meant. CALL is one of sync, rename, create, write, unlink, inotify and watch. A failing sync
 * loses what was to be synced, as Linux may: the file is empty after it. The watch that fails with
 * errno 0 succeeds and never tells anything, as on a network file system. `landlock ERRNO /` is a
 * kernel whose Landlock answers so. Each sync that is done is a line in $FAULTS.syncs.
 *
 * The rule `try N PATH` has each process try, once for each N, what it may do, and tell it there:
 * `tried N NAME PATH` and an errno each for to read and to write there, to listen, to connect, and to
 * signal its parent.
 *
 * A child may be forbidden to open either file: the page of rules is mapped, and the other one open,
 * from the beginning. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define PAGE 4096

static const char *rules;
static int told = -1;

__attribute__((constructor)) static void begin(void) {
    char log[4096];
    const char *path = getenv("FAULTS");
    if (path == NULL) return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    void *page = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    if (fd < 0 || page == MAP_FAILED) abort();
    syscall(SYS_close, fd);
    rules = page;
    snprintf(log, sizeof log, "%s.syncs", path);
    told = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

/* The errno that a rule has for this call on this path; -1: none has. No call of ours is used, or
 * it would come back here. */
static int rule(const char *call, const char *path) {
    if (rules == NULL || path == NULL) return -1;
    char text[PAGE];
    memcpy(text, rules, PAGE);
    text[PAGE - 1] = 0;
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n")) != NULL) {
        char name[16], part[256];
        int number;
        if (sscanf(line, "%15s %d %255s", name, &number, part) == 3 && strcmp(name, call) == 0 &&
            strstr(path, part) != NULL)
            return number;
    }
    return -1;
}

static void tell(const char *line) {
    int before = errno;
    if (told >= 0) syscall(SYS_write, told, line, strlen(line));
    errno = before;
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
    char line[4096];
    if (path == NULL) return;
    snprintf(line, sizeof line, "%s\n", path);
    tell(line);
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

/* What is asked of the kernel by number. */
long numbered(long number, long a, long b, long c, long d, long e, long f) __asm__("syscall");
long numbered(long number, long a, long b, long c, long d, long e, long f) {
    static long (*next)(long, ...);
    if (next == NULL) next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    if (number >= SYS_landlock_create_ruleset && number <= SYS_landlock_restrict_self) {
        int errno_of_it = rule("landlock", "/");
        if (errno_of_it >= 0) return fail(errno_of_it);
    }
    return next(number, a, b, c, d, e, f);
}

static int outcome(long result) { return result < 0 ? errno : 0; }

static int opened(const char *path, int flags) {
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_NONBLOCK | O_CLOEXEC, 0600);
    int errno_of_it = outcome(fd);
    if (fd >= 0) syscall(SYS_close, fd);
    return errno_of_it;
}

static void try(int n, const char *path) {
    char line[4096], name[16] = "", made[4096];
    struct stat found;
    prctl(PR_GET_NAME, name);
    for (char *c = name; *c; c++) if (*c == ' ') *c = '-';
    int reads = opened(path, O_RDONLY), writes;
    if (stat(path, &found) == 0 && S_ISDIR(found.st_mode)) {
        snprintf(made, sizeof made, "%s/.tried-%s", path, name);
        writes = opened(made, O_WRONLY | O_CREAT);
        syscall(SYS_unlinkat, AT_FDCWD, made, 0);
    } else {
        writes = opened(path, O_WRONLY);
    }
    struct sockaddr_in nobody = {.sin_family = AF_INET, .sin_port = htons(9)};
    nobody.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = nobody.sin_addr};
    int one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int listens = outcome(bind(one, (struct sockaddr *)&any, sizeof any));
    int connects = outcome(connect(other, (struct sockaddr *)&nobody, sizeof nobody));
    syscall(SYS_close, one);
    syscall(SYS_close, other);
    snprintf(line, sizeof line, "tried %d %s %s %d %d %d %d %d\n", n, name, path, reads, writes, listens,
             connects, outcome(kill(getppid(), 0)));
    tell(line);
}

int poll(struct pollfd *fds, nfds_t n, int timeout) {
    static int last;
    if (rules != NULL && syscall(SYS_gettid) == getpid()) {
        int before = errno, newest = last;
        char text[PAGE];
        memcpy(text, rules, PAGE);
        text[PAGE - 1] = 0;
        char *rest = text, *line;
        while ((line = strsep(&rest, "\n")) != NULL) {
            char path[256];
            int number;
            if (sscanf(line, "try %d %255s", &number, path) == 2 && number > last) {
                try(number, path);
                if (number > newest) newest = number;
            }
        }
        last = newest;
        errno = before;
    }
    return NEXT(poll)(fds, n, timeout);
}
