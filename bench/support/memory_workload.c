/* Uses its memory in one of several ways, as fast as it can.
 *
 *   memory_workload RECORDS hotcold BYTES
 *   memory_workload RECORDS drift BYTES [MOVE_MS]
 *   memory_workload RECORDS zipf BYTES EXPONENT
 *   memory_workload RECORDS fleet BYTES PROCESSES AWAKE_MS
 *   memory_workload RECORDS backup BYTES MINUTE_MS
 *
 * An operation reads a record of 512 bytes of some page, and one in ten writes to
 * it. hotcold: 40 % of the memory are hot; every 10,000th operation uses the rest.
 * drift: the same, but the hot part moves by 10 % of the memory every MOVE_MS, 10 s by
 * default. zipf: the popularity of pages follows Zipf's law. fleet: PROCESSES processes
 * of BYTES bytes, of which one is awake at a time and uses all its memory. backup: 20 %
 * of the memory are hot; every MINUTE_MS another 30 % are used once, and a backup that
 * begins every fifth MINUTE_MS reads everything once.
 *
 * With -r before all that, page faults are counted by how long the page had not been
 * used, which takes memory and time of its own. */
#include "operations.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define PAGE 4096
#define RECORD 512
#define SEED 88172645463325252ull

static uint64_t sum;
static int counts_refaults;

/* Memory in small pages, half of it random, so that it compresses to a half. */
static char *fill(size_t pages, uint64_t *state) {
  char *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) die("mmap");
  madvise(memory, pages * PAGE, MADV_NOHUGEPAGE);
  for (size_t page = 0; page < pages; page++) {
    uint64_t *words = (uint64_t *)(memory + page * PAGE);
    for (int i = 0; i < PAGE / 16; i++) words[i] = next_random(state);
    for (int i = PAGE / 16; i < PAGE / 8; i++) words[i] = page;
  }
  return memory;
}

static void operate(char *memory, size_t page, uint64_t random) {
  uint64_t *words =
      (uint64_t *)(memory + page * PAGE + (random >> 8 & 7) * RECORD);
  for (int i = 0; i < RECORD / 8; i++) sum += words[i] * 31;
  if (random % 10 == 0) words[0] = sum;
}

static size_t choose_hot(size_t pages, size_t base, uint64_t random) {
  size_t hot = pages * 4 / 10;
  size_t page = random % 10000 == 0 ? hot + (random >> 20) % (pages - hot)
                                    : (random >> 20) % hot;
  return (base + page) % pages;
}

static void fleet(struct record *records, size_t pages, int processes,
                  uint64_t awake) {
  uint64_t began = nanoseconds();
  for (int i = 0; i < processes; i++) {
    pid_t pid = fork();
    if (pid < 0) die("fork");
    if (pid > 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    uint64_t state = SEED + i;
    char *memory = fill(pages, &state);
    uint32_t *last = counts_refaults ? begin_uses(pages) : NULL;
    struct record *record = &records[i];
    record->is_ready = 1;
    for (;;) {
      uint64_t now = nanoseconds();
      uint64_t turn = (now - began) / awake;
      if (turn % processes != (uint64_t)i) {
        uint64_t next = turn + (i + processes - turn % processes) % processes;
        usleep((began + next * awake - now) / 1000 + 1);
        continue;
      }
      uint64_t end = began + (turn + 1) * awake;
      while (now < end) {
        uint64_t random = next_random(&state);
        size_t page = (random >> 20) % pages;
        operate(memory, page, random);
        uint64_t then = now;
        now = nanoseconds();
        note_operation(record, now - then);
        if (last) note_use(record, last, page, now, now - then);
        now = paced(now);
      }
    }
  }
  while (wait(NULL) > 0)
    ;
}

/* The jobs of a service beside its hot pages, one page in every eighth operation. */
struct service {
  size_t pages, warm, backup;
  uint64_t minute, minutes, backups, operations;
};

static size_t choose_served(struct service *service, struct record *record,
                            uint64_t elapsed, uint64_t random) {
  size_t pages = service->pages, hot = pages / 5, warm_end = pages / 2;
  if (elapsed / service->minute > service->minutes) {
    service->minutes = elapsed / service->minute;
    service->warm = hot;
  }
  /* The first backup begins in the middle of the first five minutes. */
  if ((elapsed * 2 / service->minute + 5) / 10 > service->backups) {
    service->backups++;
    service->backup = 0;
  }
  if (++service->operations % 8 == 0) {
    if (service->warm < warm_end) return service->warm++;
    if (service->backup < pages) {
      if (service->backup + 1 == pages) record->jobs++;
      return service->backup++;
    }
  }
  return (random >> 20) % hot;
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "-r") == 0) {
    counts_refaults = 1;
    argc--;
    argv++;
  }
  if (argc < 4) {
    fprintf(stderr, "usage: memory_workload [-r] RECORDS MODE BYTES …\n");
    return 2;
  }
  const char *mode = argv[2];
  size_t pages = strtoull(argv[3], NULL, 10) / PAGE;
  int is_fleet = strcmp(mode, "fleet") == 0;
  int processes = is_fleet ? atoi(argv[4]) : 1;
  struct record *record = map_records(argv[1], processes);
  if (is_fleet) {
    fleet(record, pages, processes, strtoull(argv[5], NULL, 10) * 1000000);
    return 0;
  }
  uint64_t state = SEED;
  char *memory = fill(pages, &state);
  uint32_t *last = counts_refaults ? begin_uses(pages) : NULL;
  int drifts = strcmp(mode, "drift") == 0;
  uint64_t move = drifts && argc > 4 ? strtoull(argv[4], NULL, 10) : 10000;
  int is_zipf = strcmp(mode, "zipf") == 0;
  int is_service = strcmp(mode, "backup") == 0;
  struct service service = {.pages = pages, .warm = pages, .backup = pages};
  if (is_service) service.minute = strtoull(argv[4], NULL, 10) * 1000000;
  struct zipf zipf = {0};
  if (is_zipf) zipf = zipf_of(pages, atof(argv[4]));
  record->is_ready = 1;
  uint64_t began = nanoseconds();
  for (uint64_t now = began;;) {
    uint64_t random = next_random(&state);
    size_t page;
    if (is_zipf) {
      page = place_of_rank(next_rank(&zipf, &state), pages);
    } else if (is_service) {
      page = choose_served(&service, record, now - began, random);
    } else {
      size_t base = drifts ? (now - began) / (move * 1000000) * (pages / 10) : 0;
      page = choose_hot(pages, base, random);
    }
    operate(memory, page, random);
    uint64_t then = now;
    now = nanoseconds();
    note_operation(record, now - then);
    if (last) note_use(record, last, page, now, now - then);
    now = paced(now);
  }
}
