/* A clock that is ahead of the machine's by as much as a file says: seconds, in eight bytes. Loaded before the store
 * (LD_PRELOAD), which reads its time with gettimeofday. libfaketime does not start under jemalloc. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *ahead;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("PENSTOCK_CLOCK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) _exit(64);
  void *there = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
  if (there == MAP_FAILED) _exit(64);
  ahead = there;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec real;
  (void)zone;
  syscall(SYS_clock_gettime, CLOCK_REALTIME, &real);
  now->tv_sec = real.tv_sec + (ahead ? *ahead : 0);
  now->tv_usec = real.tv_nsec / 1000;
  return 0;
}
