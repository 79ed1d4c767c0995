/* Lets system calls on the files of one folder fail, as a plan in shared memory says.

   A call counts if its path, or the file behind its descriptor, lies in the folder of the plan.
   Calls are numbered from 1, for each kind by itself. All processes that are started with this
   library share the numbers. The layout of the plan is the one in plan.py. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define KINDS 32
#define NAME 320
#define LOGGED 16384

enum kind { OPEN, CREATE, READ, WRITE, SYNC, CLOSE, CHMOD, RENAME, LINK, UNLINK, MKDIR, RMDIR,
            LOCK, STAT, LIST, TRUNCATE, COPY, UTIME, ACCESS };

struct plan {
    int armed;          /* 0: nothing is counted */
    int kind;           /* the kind that fails; -1: calls of every kind, numbered together */
    int first, last;    /* the calls that fail, by number */
    int error;          /* errno; 0: write half of what is given; -1: kill the process */
    int total;          /* calls of all kinds so far */
    int failed;         /* calls that failed so far */
    int refill;         /* the disk has space again after so many calls failed for want of it */
    long space;         /* bytes that fit on the disk; negative: no limit */
    long jump;          /* seconds that the clock jumps by at the first of the calls */
    int counts[KINDS];
    char folder[NAME];
    int hit_kind;
    char hit[NAME], hit_other[NAME];
    int logs;           /* whether calls are listed */
    int logged;
    struct { int kind; char path[NAME]; } log[LOGGED];
};

static struct plan *plan;

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void attach(void) {
    const char *path = getenv("N4AX_FAULTS");
    if (!path) return;
    REAL(open); /* without a plan it only calls the system's */
    int file = real(path, O_RDWR);
    if (file < 0) return;
    void *place = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (place != MAP_FAILED) plan = place;
}

static int is_inside(const char *path) {
    size_t length = strlen(plan->folder);
    return !strncmp(path, plan->folder, length) && (path[length] == '/' || !path[length]);
}

static void find_path(int folder, const char *path, char *found) {
    found[0] = 0;
    if (!path) return;
    if (path[0] == '/') {
        snprintf(found, NAME, "%s", path);
        return;
    }
    char link[64], base[NAME];
    snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
    ssize_t n = readlink(link, base, sizeof base - 1);
    if (n < 0) return;
    base[n] = 0;
    if (path[0]) snprintf(found, NAME, "%.*s/%s", (int)n, base, path);
    else snprintf(found, NAME, "%s", base);
}

static int is_full(void) {
    if (plan->space < 0) return 0;
    if (plan->refill && plan->failed >= plan->refill) {
        plan->space = -1;
        return 0;
    }
    return 1;
}

/* Whether a call fails: 0 if not, 1 with errno set, 2 if it is to be done by half. */
static int decide(enum kind kind, const char *path, const char *other) {
    if (!plan || !plan->armed || !(is_inside(path) || (other && is_inside(other)))) return 0;
    int all = __sync_add_and_fetch(&plan->total, 1);
    int own = __sync_add_and_fetch(&plan->counts[kind], 1);
    if (plan->logs) {
        int place = __sync_fetch_and_add(&plan->logged, 1);
        if (place < LOGGED) {
            plan->log[place].kind = kind;
            snprintf(plan->log[place].path, NAME, "%s", path);
        }
    }
    if (plan->space >= 0) {
        int takes = kind == CREATE || kind == MKDIR || kind == LINK;
        if (!takes || plan->space > 0 || !is_full()) return 0;
    } else {
        if (plan->kind >= 0 && plan->kind != (int)kind) return 0;
        int number = plan->kind < 0 ? all : own;
        if (number < plan->first || number > plan->last) return 0;
    }
    if (plan->jump) return 0; /* the clock only */
    if (!plan->failed) {
        plan->hit_kind = kind;
        snprintf(plan->hit, NAME, "%s", path);
        snprintf(plan->hit_other, NAME, "%s", other ? other : "");
    }
    __sync_add_and_fetch(&plan->failed, 1);
    if (plan->error < 0) kill(getpid(), SIGKILL);
    if (!plan->error) return 2;
    errno = plan->error;
    return 1;
}

static int fails(enum kind kind, int folder, const char *path) {
    char found[NAME];
    if (!plan || !plan->armed) return 0;
    int before = errno;
    find_path(folder, path, found);
    errno = before;
    return decide(kind, found, NULL);
}

static int fails_both(enum kind kind, int a, const char *from, int b, const char *to) {
    char one[NAME], two[NAME];
    if (!plan || !plan->armed) return 0;
    int before = errno;
    find_path(a, from, one);
    find_path(b, to, two);
    errno = before;
    return decide(kind, one, two);
}

static int fails_at(enum kind kind, int file) { return file < 0 ? 0 : fails(kind, file, ""); }

/* Bytes that may be written of a number; -1 if the write fails. */
static ssize_t allow(int file, size_t count) {
    int fate = fails_at(WRITE, file);
    if (fate == 1) return -1;
    if (fate == 2) return count > 1 ? (ssize_t)(count / 2) : (ssize_t)count;
    if (!plan || !plan->armed || plan->space < 0) return (ssize_t)count;
    char found[NAME];
    find_path(file, "", found);
    if (!is_inside(found)) return (ssize_t)count;
    if (plan->space == 0 && is_full()) {
        if (!plan->failed) {
            plan->hit_kind = WRITE;
            snprintf(plan->hit, NAME, "%s", found);
        }
        __sync_add_and_fetch(&plan->failed, 1);
        errno = plan->error;
        return -1;
    }
    if (plan->space < 0) return (ssize_t)count;
    size_t taken = (long)count < plan->space ? count : (size_t)plan->space;
    plan->space -= (long)taken;
    return (ssize_t)taken;
}

static enum kind kind_of_open(int flags) { return flags & O_CREAT ? CREATE : OPEN; }

#define MODE(last) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { \
        va_list more; \
        va_start(more, last); \
        mode = va_arg(more, mode_t); \
        va_end(more); \
    }

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        MODE(flags) \
        REAL(name); \
        return fails(kind_of_open(flags), AT_FDCWD, path) == 1 ? -1 : real(path, flags, mode); \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        MODE(flags) \
        REAL(name); \
        return fails(kind_of_open(flags), folder, path) == 1 ? -1 : real(folder, path, flags, mode); \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

#define OPENS_STREAM(name) \
    FILE *name(const char *path, const char *how) { \
        REAL(name); \
        return fails(strchr(how, 'r') ? OPEN : CREATE, AT_FDCWD, path) == 1 ? NULL : real(path, how); \
    }
OPENS_STREAM(fopen)
OPENS_STREAM(fopen64)

size_t fwrite(const void *from, size_t size, size_t count, FILE *stream) {
    REAL(fwrite);
    if (stream == stdout || stream == stderr || !plan || !plan->armed)
        return real(from, size, count, stream);
    int fate = fails_at(WRITE, fileno(stream));
    return fate == 1 ? 0 : real(from, size, count, stream);
}

ssize_t write(int file, const void *from, size_t count) {
    REAL(write);
    ssize_t allowed = allow(file, count);
    return allowed < 0 ? -1 : real(file, from, (size_t)allowed);
}

ssize_t pwrite64(int file, const void *from, size_t count, off64_t place) {
    REAL(pwrite64);
    ssize_t allowed = allow(file, count);
    return allowed < 0 ? -1 : real(file, from, (size_t)allowed, place);
}

ssize_t writev(int file, const struct iovec *pieces, int count) {
    REAL(writev);
    return fails_at(WRITE, file) == 1 ? -1 : real(file, pieces, count);
}

ssize_t read(int file, void *to, size_t count) {
    REAL(read);
    int fate = fails_at(READ, file);
    if (fate == 2 && count > 1) count /= 2;
    return fate == 1 ? -1 : real(file, to, count);
}

ssize_t sendfile64(int to, int from, off64_t *place, size_t count) {
    ssize_t sendfile64(int, int, off64_t *, size_t);
    REAL(sendfile64);
    return fails_at(COPY, to) == 1 ? -1 : real(to, from, place, count);
}

ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t count, unsigned flags) {
    REAL(copy_file_range);
    return fails_at(COPY, to) == 1 ? -1 : real(from, a, to, b, count, flags);
}

#define ON_FILE(name, kind) \
    int name(int file) { REAL(name); return fails_at(kind, file) == 1 ? -1 : real(file); }
ON_FILE(fsync, SYNC)
ON_FILE(fdatasync, SYNC)

int fcntl64(int file, int command, ...);

int close(int file) { /* like Linux, it closes the file even if it fails */
    REAL(close);
    int flags = plan && plan->armed ? fcntl64(file, F_GETFL) : 0; /* what was only read loses nothing */
    int writes = flags > 0 && (flags & O_ACCMODE) != O_RDONLY;
    int fate = writes ? fails_at(CLOSE, file) : 0, error = errno, result = real(file);
    if (fate == 1) errno = error;
    return fate == 1 ? -1 : result;
}

int fchmod(int file, mode_t mode) { REAL(fchmod); return fails_at(CHMOD, file) == 1 ? -1 : real(file, mode); }
int flock(int file, int how) { int flock(int, int); REAL(flock); return fails_at(LOCK, file) == 1 ? -1 : real(file, how); }
int ftruncate64(int file, off64_t size) { REAL(ftruncate64); return fails_at(TRUNCATE, file) == 1 ? -1 : real(file, size); }
int fstat64(int file, struct stat64 *found) { REAL(fstat64); return fails_at(STAT, file) == 1 ? -1 : real(file, found); }
int futimens(int file, const struct timespec times[2]) { REAL(futimens); return fails_at(UTIME, file) == 1 ? -1 : real(file, times); }

#define LOCKS(name) \
    int name(int file, int command, ...) { \
        va_list more; \
        va_start(more, command); \
        void *argument = va_arg(more, void *); \
        va_end(more); \
        REAL(name); \
        int locks = command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW; \
        return locks && fails_at(LOCK, file) == 1 ? -1 : real(file, command, argument); \
    }
LOCKS(fcntl)
LOCKS(fcntl64)

#define ON_PATH(result, name, kind, parameters, arguments) \
    result name parameters { REAL(name); return fails(kind, AT_FDCWD, path) == 1 ? (result)-1 : real arguments; }
ON_PATH(int, chmod, CHMOD, (const char *path, mode_t mode), (path, mode))
ON_PATH(int, unlink, UNLINK, (const char *path), (path))
ON_PATH(int, rmdir, RMDIR, (const char *path), (path))
ON_PATH(int, mkdir, MKDIR, (const char *path, mode_t mode), (path, mode))
ON_PATH(int, stat64, STAT, (const char *path, struct stat64 *found), (path, found))
ON_PATH(int, lstat64, STAT, (const char *path, struct stat64 *found), (path, found))
ON_PATH(int, access, ACCESS, (const char *path, int how), (path, how))
ON_PATH(int, truncate64, TRUNCATE, (const char *path, off64_t size), (path, size))

#define AT_PATH(name, kind, parameters, arguments) \
    int name parameters { REAL(name); return fails(kind, folder, path) == 1 ? -1 : real arguments; }
AT_PATH(fchmodat, CHMOD, (int folder, const char *path, mode_t mode, int flags), (folder, path, mode, flags))
AT_PATH(unlinkat, UNLINK, (int folder, const char *path, int flags), (folder, path, flags))
AT_PATH(mkdirat, MKDIR, (int folder, const char *path, mode_t mode), (folder, path, mode))
AT_PATH(fstatat64, STAT, (int folder, const char *path, struct stat64 *found, int flags), (folder, path, found, flags))
AT_PATH(utimensat, UTIME, (int folder, const char *path, const struct timespec times[2], int flags), (folder, path, times, flags))

DIR *opendir(const char *path) { REAL(opendir); return fails(LIST, AT_FDCWD, path) == 1 ? NULL : real(path); }
DIR *fdopendir(int file) { REAL(fdopendir); return fails_at(LIST, file) == 1 ? NULL : real(file); }

int rename(const char *from, const char *to) {
    REAL(rename);
    return fails_both(RENAME, AT_FDCWD, from, AT_FDCWD, to) == 1 ? -1 : real(from, to);
}
int renameat(int a, const char *from, int b, const char *to) {
    REAL(renameat);
    return fails_both(RENAME, a, from, b, to) == 1 ? -1 : real(a, from, b, to);
}
int link(const char *from, const char *to) {
    REAL(link);
    return fails_both(LINK, AT_FDCWD, from, AT_FDCWD, to) == 1 ? -1 : real(from, to);
}
int linkat(int a, const char *from, int b, const char *to, int flags) {
    REAL(linkat);
    return fails_both(LINK, a, from, b, to) == 1 ? -1 : real(a, from, b, to, flags);
}
int symlink(const char *from, const char *to) {
    REAL(symlink);
    return fails(LINK, AT_FDCWD, to) == 1 ? -1 : real(from, to);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME && plan && plan->armed && plan->jump && plan->total >= plan->first)
        now->tv_sec += plan->jump;
    return result;
}
time_t time(time_t *place) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (place) *place = now.tv_sec;
    return now.tv_sec;
}
int gettimeofday(struct timeval *restrict place, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    place->tv_sec = now.tv_sec;
    place->tv_usec = now.tv_nsec / 1000;
    return 0;
}
