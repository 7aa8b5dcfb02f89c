/* Shared by all generators: random numbers, clocks, and the record of operations
 * that the benchmark reads while they run. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Times of operations: 16 buckets for every power of 2 of nanoseconds. */
#define BUCKETS 1024

/* How long a page was not used: band 0 is less than a quarter of a second, every
 * further one twice as long, and the last has no end. */
#define IDLE_BANDS 9

struct record {
  uint64_t operations;
  uint64_t is_ready;
  uint64_t buckets[BUCKETS];
  /* Page faults by how long the page had not been used before. */
  uint64_t refaults[IDLE_BANDS];
  /* Longer jobs that are done: backups, collections of garbage, saves. */
  uint64_t jobs;
};

static void die(const char *what) {
  perror(what);
  exit(1);
}

/* xorshift64; the state must not be 0. */
static inline uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static inline uint64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static inline void note_operation(struct record *record, uint64_t took) {
  unsigned exponent = 63 - __builtin_clzll(took | 16);
  record->buckets[(exponent - 4) * 16 + (took >> (exponent - 4)) % 16]++;
  record->operations++;
}

/* Waits, after an operation at `now`, if operations come faster than RCAP_BENCH_RATE, a
 * number a second, allows. Returns the time after that. What could not be done in time is
 * not made up for by more than a second's operations. */
static inline uint64_t paced(uint64_t now) {
  static double interval = -1;
  static double due;
  if (interval < 0) {
    const char *rate = getenv("RCAP_BENCH_RATE");
    interval = rate && atof(rate) > 0 ? 1e9 / atof(rate) : 0;
    due = now;
  }
  if (interval == 0) return now;
  due += interval;
  if (due < now - 1e9) due = now - 1e9;
  if (due < now + 1e6) return now;
  usleep((due - now) / 1000);
  return nanoseconds();
}

/* When each page was last used, in units of about a microsecond, to count page
 * faults by idle time. */
static uint32_t *begin_uses(size_t pages) {
  uint32_t *last = malloc(pages * sizeof(*last));
  if (!last) die("malloc");
  for (size_t page = 0; page < pages; page++) last[page] = nanoseconds() >> 10;
  return last;
}

/* Records that an operation used a page. */
static inline void note_use(struct record *record, uint32_t *last, size_t page,
                            uint64_t now, uint64_t took) {
  /* No fault is as fast as this, and few operations without one take longer. */
  if (took > 1500) {
    static long faults;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    if (usage.ru_majflt > faults) {
      uint32_t quarters = (uint32_t)((now >> 10) - last[page]) / 244141;
      unsigned band = quarters ? 32 - __builtin_clz(quarters) : 0;
      record->refaults[band < IDLE_BANDS ? band : IDLE_BANDS - 1]++;
    }
    faults = usage.ru_majflt;
  }
  last[page] = now >> 10;
}

/* Maps the records of `count` processes from an existing file. */
static struct record *map_records(const char *path, size_t count) {
  int fd = open(path, O_RDWR);
  if (fd < 0) die(path);
  if (ftruncate(fd, count * sizeof(struct record)) < 0) die("ftruncate");
  void *records = mmap(NULL, count * sizeof(struct record),
                       PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (records == MAP_FAILED) die("mmap");
  close(fd);
  return records;
}

/* Zipf-distributed ranks from 0 to n - 1, after Gray et al., "Quickly generating
 * billion-record synthetic databases", SIGMOD 1994. */
#include <math.h>
struct zipf {
  double n, exponent, alpha, eta, zeta;
};

static struct zipf zipf_of(uint64_t n, double exponent) {
  double zeta = 0;
  for (uint64_t i = 1; i <= n; i++) zeta += 1 / pow(i, exponent);
  double zeta2 = 1 + 1 / pow(2, exponent);
  struct zipf zipf = {n, exponent, 1 / (1 - exponent), 0, zeta};
  zipf.eta = (1 - pow(2.0 / n, 1 - exponent)) / (1 - zeta2 / zeta);
  return zipf;
}

static inline uint64_t next_rank(const struct zipf *zipf, uint64_t *state) {
  double u = (next_random(state) >> 11) / 9007199254740992.0;
  double uz = u * zipf->zeta;
  if (uz < 1) return 0;
  if (uz < 1 + pow(0.5, zipf->exponent)) return 1;
  uint64_t rank = zipf->n * pow(zipf->eta * u - zipf->eta + 1, zipf->alpha);
  return rank < zipf->n ? rank : zipf->n - 1;
}

/* The place of a rank among n, so that popular ranks are spread over all places. */
static inline uint64_t place_of_rank(uint64_t rank, uint64_t n) {
  return rank * 2654435761ull % n;
}
