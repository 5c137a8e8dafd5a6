/* Makes writes below a folder fail, in the process that it is loaded into (LD_PRELOAD) and what that starts.
 *
 * FAULTS_CONTROL names a file of three 32-bit numbers, read at each call: the errno, 0 for none; whether every write
 * fails or only those that need more space, as on a full disk; and how often one has failed, counted here.
 * FAULTS_BELOW is how the names of the files begin that are meant, several parted by colons.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static volatile int32_t *control;
static char below[8192];

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_CONTROL"), *folders = getenv("FAULTS_BELOW");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0 || !folders) return;
    void *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared == MAP_FAILED) return;
    snprintf(below, sizeof below, "%s", folders);
    control = shared;
}

static int meant(int file) {
    char link[64], name[4096], all[sizeof below], *rest = all, *one;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length <= 0) return 0;
    name[length] = 0;
    strcpy(all, below);
    while ((one = strsep(&rest, ":")))
        if (*one && !strncmp(name, one, strlen(one))) return 1;
    return 0;
}

/* The errno with which a write that ends at `end` (-1: whatever it is) fails; 0 where it does not. */
static int failure(int file, off_t end) {
    struct stat told;
    int error = control ? control[0] : 0;
    if (!error || !meant(file)) return 0;
    if (!control[1] && end >= 0 && !fstat(file, &told) && end <= told.st_size) return 0;
    __sync_fetch_and_add(&control[2], 1);
    return error;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL_WITH(error) do { int code = (error); if (code) { errno = code; return -1; } } while (0)

static off_t end_of_write(int file, size_t count) {
    struct stat told;
    if (fcntl(file, F_GETFL) & O_APPEND) return fstat(file, &told) ? (off_t)count : told.st_size + (off_t)count;
    return lseek(file, 0, SEEK_CUR) + (off_t)count;
}

ssize_t write(int file, const void *data, size_t count) {
    if (control && control[0]) {
        int error = failure(file, end_of_write(file, count));
        /* A disk that runs full takes the beginning of what it is given. */
        if (error && !control[1] && count > 1) return REAL(write)(file, data, count / 2);
        FAIL_WITH(error);
    }
    return REAL(write)(file, data, count);
}
ssize_t pwrite(int file, const void *data, size_t count, off_t at) {
    FAIL_WITH(failure(file, at + (off_t)count));
    return REAL(pwrite)(file, data, count, at);
}
ssize_t pwrite64(int file, const void *data, size_t count, off64_t at) {
    FAIL_WITH(failure(file, at + (off_t)count));
    return REAL(pwrite64)(file, data, count, at);
}
int ftruncate(int file, off_t length) {
    FAIL_WITH(failure(file, length));
    return REAL(ftruncate)(file, length);
}
int ftruncate64(int file, off64_t length) {
    FAIL_WITH(failure(file, length));
    return REAL(ftruncate64)(file, length);
}
int fallocate(int file, int mode, off_t at, off_t length) {
    FAIL_WITH(failure(file, at + length));
    return REAL(fallocate)(file, mode, at, length);
}
int fsync(int file) {
    FAIL_WITH(failure(file, control && control[1] ? -1 : 0));
    return REAL(fsync)(file);
}
int fdatasync(int file) {
    FAIL_WITH(failure(file, control && control[1] ? -1 : 0));
    return REAL(fdatasync)(file);
}
