/* Fills memcached and reads from it, one request at a time.
 *
 *   memcached_driver RECORDS SOCKET KEYS VALUE_BYTES EXPONENT
 *
 * The popularity of keys follows Zipf's law. */
#include "client.h"

/* Receives until what was received ends with "END\r\n". */
static void receive_answer(int fd, char *into, size_t most) {
  size_t length = 0;
  do {
    ssize_t got = read(fd, into + length, most - length);
    if (got <= 0) die("read from memcached");
    length += got;
  } while (length < 5 || memcmp(into + length - 5, "END\r\n", 5) != 0);
}

int main(int argc, char **argv) {
  if (argc != 6) {
    fprintf(stderr, "usage: memcached_driver RECORDS SOCKET KEYS VALUE_BYTES "
                    "EXPONENT\n");
    return 2;
  }
  struct record *record = map_records(argv[1], 1);
  uint64_t keys = strtoull(argv[3], NULL, 10);
  size_t value = strtoull(argv[4], NULL, 10);
  int fd = connect_to(argv[2]);

  uint64_t state = SEED;
  size_t most = value + 256;
  char *buffer = malloc(most);
  if (!buffer) die("malloc");
  for (uint64_t key = 0; key < keys; key++) {
    size_t length = sprintf(buffer, "set key:%08lu 0 0 %zu noreply\r\n",
                            (unsigned long)key, value);
    /* Half of it random letters, so that it compresses to about a half. */
    for (size_t i = 0; i < value; i++)
      buffer[length + i] = i < value / 2 ? 'a' + next_random(&state) % 26 : 'x';
    length += value;
    length += sprintf(buffer + length, "\r\n");
    send_all(fd, buffer, length);
  }
  struct zipf zipf = zipf_of(keys, atof(argv[5]));
  record->is_ready = 1;
  for (uint64_t now = nanoseconds();;) {
    uint64_t key = place_of_rank(next_rank(&zipf, &state), keys);
    char request[64];
    send_all(fd, request,
             sprintf(request, "get key:%08lu\r\n", (unsigned long)key));
    receive_answer(fd, buffer, most);
    uint64_t then = now;
    now = nanoseconds();
    note_operation(record, now - then);
    now = paced(now);
  }
}
