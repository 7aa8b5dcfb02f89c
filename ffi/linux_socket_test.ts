/**
 * Tests of ending connections.
 *
 * @module
 */

import { assertEquals, assertRejects } from "@std/assert";
import { endConnection } from "./linux_socket.ts";
import "./testing.ts";

Deno.test("a write that waits for the other side fails when its connection is ended", async () => {
  for (const hostname of ["127.0.0.1", "::1"]) {
    using listener = Deno.listen({ hostname, port: 0 });
    const { port } = listener.addr;
    using _client = await Deno.connect({ hostname, port });
    using server = await listener.accept();
    using other = await Deno.connect({ hostname, port });
    using others = await listener.accept();
    const write = async () => {
      const bytes = new Uint8Array(2 ** 26);
      for (let at = 0; at < bytes.length;) {
        at += await server.write(bytes.subarray(at));
      }
    };
    const failure = assertRejects(write, Deno.errors.BrokenPipe);
    // The write is waiting now.
    await new Promise((resolve) => setTimeout(resolve, 50));
    const [local, remote] = [server.localAddr, server.remoteAddr];
    assertEquals(endConnection(local, { ...remote, port: 1 }), false);
    assertEquals(endConnection(local, remote), true);
    await failure;
    // The other connection is unaffected.
    await others.write(new Uint8Array(3));
    assertEquals(await other.read(new Uint8Array(8)), 3);
  }
});
