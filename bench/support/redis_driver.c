/* Fills a Redis server and reads from it, one request at a time.
 *
 *   redis_driver RECORDS SOCKET KEYS VALUE_BYTES HOT_PERCENT EXPONENT \
 *     [SAVE_MS]
 *
 * Reads the last HOT_PERCENT of the keys; their popularity follows Zipf's law. With
 * SAVE_MS, every hundredth request writes its key, and one in SAVE_MS starts a save,
 * unless the last is still running. */
#include "client.h"

#define BATCH 500

static void receive(int fd, char *into, size_t bytes) {
  while (bytes > 0) {
    ssize_t got = read(fd, into, bytes);
    if (got <= 0) die("read from Redis");
    into += got;
    bytes -= got;
  }
}

/* Receives one line into `line`, without its end. */
static void receive_line(int fd, char *line, size_t most) {
  size_t length = 0;
  do {
    receive(fd, line + length, 1);
  } while (line[length++] != '\n' && length < most - 1);
  line[length] = 0;
}

/* Requests the figures of saves; returns one of them. */
static uint64_t ask_saves(int fd, const char *name) {
  static char info[1 << 14];
  char line[32];
  send_all(fd, "INFO persistence\r\n", 18);
  receive_line(fd, line, sizeof line);
  size_t bytes = strtoull(line + 1, NULL, 10) + 2;
  if (line[0] != '$' || bytes >= sizeof info) die("INFO");
  receive(fd, info, bytes);
  info[bytes] = 0;
  char *found = strstr(info, name);
  return found ? strtoull(found + strlen(name) + 1, NULL, 10) : 0;
}

/* Starts a save at its time, and counts those that are done. */
static void save(int fd, struct record *record, uint64_t now, uint64_t every) {
  static uint64_t began, last, looked;
  if (!began) began = last = now;
  if (now - looked < 100000000) return;
  looked = now;
  if (ask_saves(fd, "rdb_bgsave_in_progress")) return;
  record->jobs = ask_saves(fd, "rdb_saves");
  if (now - last < every) return;
  last = now;
  char line[128];
  send_all(fd, "BGSAVE\r\n", 8);
  receive_line(fd, line, sizeof line);
  if (line[0] != '+') {
    fprintf(stderr, "BGSAVE: %s", line);
    exit(1);
  }
}

int main(int argc, char **argv) {
  if (argc != 7 && argc != 8) {
    fprintf(stderr, "usage: redis_driver RECORDS SOCKET KEYS VALUE_BYTES "
                    "HOT_PERCENT EXPONENT [SAVE_MS]\n");
    return 2;
  }
  struct record *record = map_records(argv[1], 1);
  uint64_t keys = strtoull(argv[3], NULL, 10);
  size_t value = strtoull(argv[4], NULL, 10);
  int fd = connect_to(argv[2]);

  uint64_t state = SEED;
  char *buffer = malloc(BATCH * (value + 128));
  char answer[BATCH * 5];
  for (uint64_t key = 0; key < keys;) {
    size_t length = 0;
    int batch = 0;
    for (; batch < BATCH && key < keys; batch++, key++) {
      length += sprintf(buffer + length,
                        "*3\r\n$3\r\nSET\r\n$12\r\nkey:%08lu\r\n$%zu\r\n",
                        (unsigned long)key, value);
      for (size_t i = 0; i < value; i++)
        buffer[length + i] = i < value / 2 ? next_random(&state) : 'x';
      length += value;
      length += sprintf(buffer + length, "\r\n");
    }
    send_all(fd, buffer, length);
    receive(fd, answer, batch * 5); /* +OK and the end of the line */
  }

  uint64_t hot = keys * atoi(argv[5]) / 100;
  struct zipf zipf = zipf_of(hot, atof(argv[6]));
  uint64_t save_every = argc > 7 ? strtoull(argv[7], NULL, 10) * 1000000 : 0;
  char head[32];
  size_t expected = sprintf(head, "$%zu\r\n", value) + value + 2;
  record->is_ready = 1;
  for (uint64_t now = nanoseconds();;) {
    uint64_t key =
        keys - hot + place_of_rank(next_rank(&zipf, &state), hot);
    char request[64];
    if (save_every && record->operations % 100 == 0) {
      save(fd, record, now, save_every);
      int length = sprintf(
          buffer, "*4\r\n$8\r\nSETRANGE\r\n$12\r\nkey:%08lu\r\n$1\r\n0\r\n$8\r\n%08x\r\n",
          (unsigned long)key, (unsigned)next_random(&state));
      send_all(fd, buffer, length);
      receive_line(fd, request, sizeof request);
    } else {
      send_all(fd, request,
               sprintf(request, "*2\r\n$3\r\nGET\r\n$12\r\nkey:%08lu\r\n",
                       (unsigned long)key));
      receive(fd, buffer, expected);
    }
    uint64_t then = now;
    now = nanoseconds();
    note_operation(record, now - then);
    now = paced(now);
  }
}
