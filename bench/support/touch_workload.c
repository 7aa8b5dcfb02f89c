/* Uses all of its memory as fast as it can, in one of two ways.
 *
 *   touch_workload RECORDS touch|chase BYTES small|huge
 *
 * touch: an operation uses one word of a random page; one in eight writes it. chase:
 * every page holds a pointer, all of them one random cycle, and an operation follows
 * one. Pages have 4 KiB, or 2 MiB where the kernel gives them.
 *
 * At SIGUSR1 it uses every page once, which counts as no operation, and adds one to
 * is_ready: then no page is left whose reference bit was reset before. */
#include "operations.h"

#include <signal.h>
#include <string.h>

#define PAGE 4096
#define HUGE_PAGE (2u << 20)
#define LINE 64
#define SEED 88172645463325252ull
/* So many operations are counted at a time: counting costs less than operating. */
#define BATCH 4096

static volatile sig_atomic_t must_use_all;

static void note_signal(int signal) {
  (void)signal;
  must_use_all = 1;
}

static char *map(size_t bytes, int is_huge) {
  char *memory = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) die("mmap");
  memory += HUGE_PAGE - (uintptr_t)memory % HUGE_PAGE;
  if (madvise(memory, bytes, is_huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) < 0)
    die("madvise");
  return memory;
}

static void use_all(char *memory, size_t pages) {
  for (size_t page = 0; page < pages; page++) {
    volatile uint64_t *word = (uint64_t *)(memory + page * PAGE);
    *word = *word;
  }
}

/* The word of a page that an operation uses. */
static inline uint64_t *word_of(char *memory, size_t page) {
  return (uint64_t *)(memory + page * PAGE + page % (PAGE / LINE) * LINE);
}

/* Links all pages into one random cycle: Sattolo's algorithm. */
static void link_pages(char *memory, size_t pages, uint64_t *state) {
  uint32_t *order = malloc(pages * sizeof(*order));
  if (!order) die("malloc");
  for (size_t i = 0; i < pages; i++) order[i] = i;
  for (size_t i = pages - 1; i > 0; i--) {
    size_t j = next_random(state) % i;
    uint32_t swapped = order[i];
    order[i] = order[j];
    order[j] = swapped;
  }
  for (size_t i = 0; i < pages; i++)
    *word_of(memory, order[i]) =
        (uint64_t)word_of(memory, order[(i + 1) % pages]);
  free(order);
}

int main(int argc, char **argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: touch_workload RECORDS touch|chase BYTES "
                    "small|huge\n");
    return 2;
  }
  struct record *record = map_records(argv[1], 1);
  int is_chase = strcmp(argv[2], "chase") == 0;
  size_t bytes = strtoull(argv[3], NULL, 10);
  size_t pages = bytes / PAGE;
  char *memory = map(bytes, strcmp(argv[4], "huge") == 0);
  uint64_t state = SEED;
  for (size_t i = 0; i < bytes / 8; i++)
    ((uint64_t *)memory)[i] = i & 1 ? i >> 9 : next_random(&state);
  if (is_chase) link_pages(memory, pages, &state);
  signal(SIGUSR1, note_signal);
  record->is_ready = 1;
  uint64_t *at = word_of(memory, 0);
  volatile uint64_t sum = 0;
  for (;;) {
    if (is_chase) {
      for (int i = 0; i < BATCH; i++) at = (uint64_t *)*at;
      sum = (uint64_t)at;
    } else {
      uint64_t found = 0;
      for (int i = 0; i < BATCH; i++) {
        uint64_t random = next_random(&state);
        uint64_t *word = word_of(memory, (random >> 32) * pages >> 32);
        if ((random & 7) == 0) *word = found;
        found += *word;
      }
      sum = found;
    }
    record->operations += BATCH;
    if (must_use_all) {
      must_use_all = 0;
      use_all(memory, pages);
      record->is_ready++;
    }
  }
  return sum != 0;
}
