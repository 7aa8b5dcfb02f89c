/* Shared by the drivers of servers: a connection to one, and all of a request or answer. */
#include "operations.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define SEED 88172645463325252ull

/* Connects to a socket by its path. */
static int connect_to(const char *path) {
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) die(path);
  return fd;
}

static void send_all(int fd, const char *data, size_t bytes) {
  while (bytes > 0) {
    ssize_t sent = write(fd, data, bytes);
    if (sent <= 0) die("write to the server");
    data += sent;
    bytes -= sent;
  }
}
