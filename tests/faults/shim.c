/* Told of every system call that changes a file below one folder, before it is made: it can note it, or kill the process.

   Loaded with LD_PRELOAD; does nothing until `faults_begin` is called. Between two such calls the contents of the disk
   do not change, so a kill at each of them is a kill at every moment that can be told from another one.

   A line of the log is one event, each a header and then path and data:
     op (1 byte), inode (8), offset or length (8), bytes of path (4), bytes of data (4); little-endian. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char folder[PATH_MAX], point[PATH_MAX];
static size_t folder_length;
static int log_descriptor = -1, tears;
static long at, seen;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define GUARDED(type, call) do { type made = (call); int kept = errno; pthread_mutex_unlock(&lock); errno = kept; return made; } while (0)

/* Watch what happens below `where`; note it in the file `log` if that is not empty; kill the process at the `when`-th
   event of the name `what` (of any name, if that is empty), with `torn` after half of the bytes of a write. */
void faults_begin(const char *where, const char *log, const char *what, long when, int torn) {
    snprintf(point, sizeof point, "%s", what);
    at = when; seen = 0; tears = torn;
    if (*log) log_descriptor = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    snprintf(folder, sizeof folder, "%s/", where);
    folder_length = strlen(folder);
}

/* The path below the folder, or NULL for what is elsewhere, is only read by the run, or is no lasting content. */
static const char *below(const char *path) {
    if (!folder_length || strncmp(path, folder, folder_length)) return NULL;
    const char *rest = path + folder_length;
    size_t length = strlen(rest);
    if (!strncmp(rest, "logs/", 5) || !strncmp(rest, "faults.", 7)) return NULL;
    if (length > 4 && !strcmp(rest + length - 4, "-shm")) return NULL;
    return rest;
}

static const char *absolute(int directory, const char *path, char *made) {
    if (*path == '/') return path;
    char link[64], base[PATH_MAX];
    if (directory == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    ssize_t length = readlink(link, base, sizeof base - 1);
    if (length < 0) return path;
    base[length] = 0;
    if (snprintf(made, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return path;
    return made;
}

static const char *of_descriptor(int descriptor, char *made, struct stat *found) {
    char link[64];
    if (!folder_length || fstat(descriptor, found) || !(S_ISREG(found->st_mode) || S_ISDIR(found->st_mode))) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, made, PATH_MAX - 2);
    if (length < 0) return NULL;
    made[length] = 0;
    if (S_ISDIR(found->st_mode)) strcat(made, "/");
    return below(made);
}

static void put(char *to, uint64_t value, int bytes) {
    for (int n = 0; n < bytes; n++) to[n] = (char)(value >> (8 * n));
}

static void all(const char *data, size_t length) {
    while (length) {
        long done = syscall(SYS_write, log_descriptor, data, length);
        if (done <= 0) _exit(99);
        data += done; length -= (size_t)done;
    }
}

/* Whether the process is to be killed here; else the event is noted, for it happens. */
static int happens(char op, const char *verb, const char *path, uint64_t inode, int64_t offset, const void *data, size_t length) {
    char name[PATH_MAX + 32];
    snprintf(name, sizeof name, "%s %s", verb, path);
    if (at && (!*point || !strcmp(point, name)) && ++seen == at) return 1;
    if (log_descriptor >= 0) {
        char head[25];
        head[0] = op;
        put(head + 1, inode, 8); put(head + 9, (uint64_t)offset, 8);
        put(head + 17, strlen(path), 4); put(head + 21, length, 4);
        all(head, sizeof head); all(path, strlen(path)); all(data, length);
    }
    return 0;
}

static void die(void) { syscall(SYS_kill, getpid(), SIGKILL); for (;;) pause(); }

#define WRITES(name, plain, real_call) \
    { \
        REAL(name); \
        char made[PATH_MAX]; struct stat found; \
        const char *path = of_descriptor(descriptor, made, &found); \
        if (!path) return real_call(length); \
        pthread_mutex_lock(&lock); \
        fstat(descriptor, &found); \
        off_t where = plain; \
        if (happens('w', "write", path, found.st_ino, where, data, length)) { if (tears) (void)!real_call(length / 2); die(); } \
        GUARDED(ssize_t, real_call(length)); \
    }
#define PLACE ((fcntl(descriptor, F_GETFL) & O_APPEND) ? found.st_size : lseek(descriptor, 0, SEEK_CUR))
#define WRITE_CALL(count) real(descriptor, data, count)
#define PWRITE_CALL(count) real(descriptor, data, count, offset)

ssize_t write(int descriptor, const void *data, size_t length) WRITES(write, PLACE, WRITE_CALL)
ssize_t pwrite(int descriptor, const void *data, size_t length, off_t offset) WRITES(pwrite, offset, PWRITE_CALL)
ssize_t pwrite64(int descriptor, const void *data, size_t length, off64_t offset) WRITES(pwrite64, offset, PWRITE_CALL)

#define ON_DESCRIPTOR(name, op, verb, value, call) \
    { \
        REAL(name); \
        char made[PATH_MAX]; struct stat found; \
        const char *path = of_descriptor(descriptor, made, &found); \
        if (!path) return call; \
        pthread_mutex_lock(&lock); \
        if (happens(op, verb, path, found.st_ino, value, "", 0)) die(); \
        GUARDED(int, call); \
    }
int ftruncate(int descriptor, off_t length) ON_DESCRIPTOR(ftruncate, 't', "truncate", length, real(descriptor, length))
int ftruncate64(int descriptor, off64_t length) ON_DESCRIPTOR(ftruncate64, 't', "truncate", length, real(descriptor, length))
int fsync(int descriptor) ON_DESCRIPTOR(fsync, 's', "sync", 0, real(descriptor))
int fdatasync(int descriptor) ON_DESCRIPTOR(fdatasync, 's', "sync", 0, real(descriptor))

static int opened(int (*real)(int, const char *, int, ...), int directory, const char *given, int flags, mode_t mode) {
    char made[PATH_MAX]; struct stat found;
    const char *path = folder_length && (flags & (O_CREAT | O_TRUNC)) ? below(absolute(directory, given, made)) : NULL;
    if (!path) return real(directory, given, flags, mode);
    pthread_mutex_lock(&lock);
    int there = !fstatat(directory, given, &found, 0);
    /* the inode of a new file is known only once it is there: the kill comes before, the note after */
    int noted = log_descriptor;
    log_descriptor = -1;
    if (!there && happens('c', "create", path, 0, 0, "", 0)) die();
    log_descriptor = noted;
    int descriptor = real(directory, given, flags, mode);
    int kept = errno;
    long stop = at;
    at = 0;
    if (descriptor >= 0 && !there && !fstat(descriptor, &found)) (void)happens('c', "create", path, found.st_ino, 0, "", 0);
    if (descriptor >= 0 && there && (flags & O_TRUNC)) (void)happens('t', "truncate", path, found.st_ino, 0, "", 0);
    at = stop;
    pthread_mutex_unlock(&lock);
    errno = kept;
    return descriptor;
}

#define MODE mode_t mode = 0; if (flags & O_CREAT) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }
#define AT ((int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat"))
int open(const char *path, int flags, ...) { MODE return opened(AT, AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opened(AT, AT_FDCWD, path, flags, mode); }
int openat(int directory, const char *path, int flags, ...) { MODE return opened(AT, directory, path, flags, mode); }
int openat64(int directory, const char *path, int flags, ...) { MODE return opened(AT, directory, path, flags, mode); }

#define ON_PATH(op, verb, directory, given, data, call) \
    { \
        char made[PATH_MAX]; \
        const char *path = folder_length ? below(absolute(directory, given, made)) : NULL; \
        if (!path) return call; \
        pthread_mutex_lock(&lock); \
        char more[PATH_MAX]; \
        const char *to = below(absolute(AT_FDCWD, data, more)); \
        if (happens(op, verb, path, 0, 0, to ? to : "", to ? strlen(to) : 0)) die(); \
        GUARDED(int, call); \
    }
int rename(const char *from, const char *target) { REAL(rename); ON_PATH('r', "rename", AT_FDCWD, from, target, real(from, target)) }
int unlink(const char *given) { REAL(unlink); ON_PATH('u', "unlink", AT_FDCWD, given, "", real(given)) }
int unlinkat(int directory, const char *given, int flags) { REAL(unlinkat); ON_PATH('u', "unlink", directory, given, "", real(directory, given, flags)) }
int rmdir(const char *given) { REAL(rmdir); ON_PATH('u', "unlink", AT_FDCWD, given, "", real(given)) }
int mkdir(const char *given, mode_t mode) { REAL(mkdir); ON_PATH('m', "mkdir", AT_FDCWD, given, "", real(given, mode)) }
