// The exact bytes of the low-level functions, against a scripted server.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import * as c from "dflockd-client";
import { AcquireTimeoutError, LockError } from "dflockd-client";
import type { Socket } from "node:net";
import { answers, MockServer } from "./mock_server.js";

/** Runs one call against one canned reply and gives back its outcome with the bytes that it sent. */
async function call(reply: string, run: (sock: Socket) => Promise<unknown>): Promise<{ bytes: string; result?: unknown; error?: Error }> {
  const server = await MockServer.start(answers(reply));
  const sock = await server.dial();
  try {
    const outcome = await run(sock).then((result) => ({ result }), (error: Error) => ({ error }));
    return { bytes: server.requests.join(""), ...outcome };
  } finally {
    sock.destroy();
    await server.stop();
  }
}

async function expectError(reply: string, run: (sock: Socket) => Promise<unknown>, message: string, type: Function = LockError): Promise<void> {
  const { error } = await call(reply, run);
  assert.ok(error instanceof LockError && error.constructor === type, String(error));
  assert.equal(error.message, message);
}

test("dflockd_clients_10_acquire", async () => {
  const outcome = await call("ok tok 33\n", (s) => c.acquire(s, "k", 10));
  assert.deepEqual(outcome, { bytes: "l\nk\n10\n", result: { token: "tok", lease: 33 } });
});

test("dflockd_clients_11_acquire_with_a_lease", async () => {
  assert.equal((await call("ok tok 60\n", (s) => c.acquire(s, "k", 5, 60))).bytes, "l\nk\n5 60\n");
});

test("dflockd_clients_12_odd_leases", async () => {
  for (const [reply, lease] of [["ok tok\n", 30], ["ok tok abc\n", 30], ["ok tok -5\n", 30], ["ok tok 0\n", 0]] as const) {
    assert.deepEqual((await call(reply, (s) => c.acquire(s, "k", 1))).result, { token: "tok", lease }, reply);
  }
  await expectError("ok\n", (s) => c.acquire(s, "k", 1), "acquire: server returned no token: 'ok'");
  await expectError("ok  5\n", (s) => c.acquire(s, "k", 1), "acquire: server returned no token: 'ok  5'");
});

test("dflockd_clients_13_timeout", async () => {
  await expectError("timeout\n", (s) => c.acquire(s, "k", 1), "timeout acquiring 'k'", AcquireTimeoutError);
});

test("dflockd_clients_14_other_replies", async () => {
  await expectError("error_max_locks\n", (s) => c.acquire(s, "k", 1), "acquire failed: 'error_max_locks'");
  await expectError("okay t 1\n", (s) => c.acquire(s, "k", 1), "acquire failed: 'okay t 1'");
});

test("dflockd_clients_15_carriage_return", async () => {
  assert.deepEqual((await call("ok tok 33\r\n", (s) => c.acquire(s, "k", 1))).result, { token: "tok", lease: 33 });
});

test("dflockd_clients_16_sem_acquire", async () => {
  assert.equal((await call("ok t 60\n", (s) => c.semAcquire(s, "k", 10, 3, 60))).bytes, "sl\nk\n10 3 60\n");
});

test("dflockd_clients_17_enqueue", async () => {
  assert.deepEqual(await call("acquired t 9\n", (s) => c.enqueue(s, "k")), {
    bytes: "e\nk\n\n",
    result: { status: "acquired", token: "t", lease: 9 },
  });
  assert.deepEqual((await call("queued\n", (s) => c.enqueue(s, "k", 7))), {
    bytes: "e\nk\n7\n",
    result: { status: "queued", token: null, lease: null },
  });
});

test("dflockd_clients_18_sem_enqueue", async () => {
  assert.equal((await call("queued\n", (s) => c.semEnqueue(s, "k", 5))).bytes, "se\nk\n5\n");
  assert.equal((await call("queued\n", (s) => c.semEnqueue(s, "k", 5, 8))).bytes, "se\nk\n5 8\n");
});

test("dflockd_clients_19_wait", async () => {
  assert.equal((await call("ok t 1\n", (s) => c.waitForLock(s, "k", 7))).bytes, "w\nk\n7\n");
  await expectError("timeout\n", (s) => c.waitForLock(s, "k", 7), "timeout acquiring 'k'", AcquireTimeoutError);
});

test("dflockd_clients_20_renew", async () => {
  assert.deepEqual(await call("ok 60\n", (s) => c.renew(s, "k", "t", 60)), { bytes: "n\nk\nt 60\n", result: 60 });
  assert.equal((await call("ok\n", (s) => c.renew(s, "k", "t", 60))).result, 60);
  assert.deepEqual(await call("ok\n", (s) => c.renew(s, "k", "t")), { bytes: "n\nk\nt\n", result: 30 });
  await expectError("okay\n", (s) => c.renew(s, "k", "t"), "renew failed: 'okay'");
});

test("dflockd_clients_21_release", async () => {
  assert.deepEqual(await call("ok\n", (s) => c.release(s, "k", "t")), { bytes: "r\nk\nt\n", result: undefined });
  await expectError("error\n", (s) => c.release(s, "k", "t"), "release failed: 'error'");
  await expectError("ok 1\n", (s) => c.release(s, "k", "t"), "release failed: 'ok 1'");
});

test("dflockd_clients_22_semaphore_commands", async () => {
  assert.deepEqual(await call("ok 5\n", (s) => c.semRenew(s, "k", "t", 5)), { bytes: "sn\nk\nt 5\n", result: 5 });
  assert.deepEqual(await call("ok t 5\n", (s) => c.semWaitForLock(s, "k", 4)), {
    bytes: "sw\nk\n4\n",
    result: { token: "t", lease: 5 },
  });
  assert.equal((await call("ok\n", (s) => c.semRelease(s, "k", "t"))).bytes, "sr\nk\nt\n");
  await expectError("error\n", (s) => c.semRelease(s, "k", "t"), "sem_release failed: 'error'");
});

test("dflockd_clients_23_bad_arguments_write_nothing", async () => {
  const server = await MockServer.start(() => "ok\n");
  const s = await server.dial();
  const calls: Array<() => Promise<unknown>> = [];
  for (const bad of ["", "a\0", "a\n", "a\r", "x".repeat(257), "é".repeat(129)]) {
    calls.push(
      () => c.acquire(s, bad, 1), () => c.semAcquire(s, bad, 1, 1), () => c.enqueue(s, bad), () => c.semEnqueue(s, bad, 1),
      () => c.waitForLock(s, bad, 1), () => c.semWaitForLock(s, bad, 1), () => c.renew(s, bad, "t"), () => c.semRenew(s, bad, "t"),
      () => c.release(s, bad, "t"), () => c.semRelease(s, bad, "t"),
      () => c.renew(s, "k", bad), () => c.semRenew(s, "k", bad), () => c.release(s, "k", bad), () => c.semRelease(s, "k", bad),
    );
  }
  for (const bad of [-1, 0.5, NaN, Infinity]) {
    calls.push(
      () => c.acquire(s, "k", bad), () => c.semAcquire(s, "k", bad, 1), () => c.semAcquire(s, "k", 1, bad), () => c.semEnqueue(s, "k", bad),
      () => c.waitForLock(s, "k", bad), () => c.semWaitForLock(s, "k", bad), () => c.acquire(s, "k", 1, bad), () => c.enqueue(s, "k", bad),
      () => c.semAcquire(s, "k", 1, 1, bad), () => c.semEnqueue(s, "k", 1, bad), () => c.renew(s, "k", "t", bad), () => c.semRenew(s, "k", "t", bad),
    );
  }
  calls.push(() => c.publish(s, "c", ""), () => c.publish(s, "c", "a\nb"));
  for (const run of calls) {
    await assert.rejects(run, LockError, run.toString());
  }
  await assert.rejects(c.renew(s, "k", ""), { message: "token must not be empty" });
  await assert.rejects(c.release(s, "k", "a\n"), { message: "token must not contain NUL, newline, or carriage return characters" });
  await assert.rejects(c.publish(s, "c", ""), { message: "payload must not be empty" });
  // The first bytes that arrive are those of the first good call.
  await c.release(s, "k", "t");
  assert.deepEqual(server.requests, ["r\nk\nt\n"]);
  s.destroy();
  await server.stop();
});

test("dflockd_clients_24_surplus_lines_are_kept", async () => {
  const server = await MockServer.start(answers("ok a 1\nok b 2\n"));
  const s = await server.dial();
  assert.equal((await c.acquire(s, "k", 1)).token, "a");
  assert.equal((await c.acquire(s, "k", 1)).token, "b");
  s.destroy();
  await server.stop();
});

test("dflockd_clients_25_split_characters", async () => {
  const reply = Buffer.from("ok 🔒 5\n");
  const server = await MockServer.start((_request, connection) => {
    connection.write(reply.subarray(0, 5));
    setTimeout(() => connection.write(reply.subarray(5)), 30);
  });
  const s = await server.dial();
  assert.deepEqual(await c.acquire(s, "k", 1), { token: "🔒", lease: 5 });
  s.destroy();
  await server.stop();
});

test("dflockd_clients_26_the_server_hangs_up", async () => {
  const server = await MockServer.start((_request, connection) => void connection.socket.end());
  const s = await server.dial();
  await assert.rejects(c.acquire(s, "k", 1), { name: "LockError", message: "server closed connection" });
  await assert.rejects(c.acquire(s, "k", 1), { name: "LockError", message: "server closed connection" });
  const other = await server.dial();
  other.destroy();
  await once(other, "close");
  await assert.rejects(c.acquire(other, "k", 1), { name: "LockError", message: "server closed connection" });
  await server.stop();
});

test("dflockd_clients_27_a_line_without_end", async () => {
  const message = "server response exceeded maximum line length";
  await expectError("x".repeat(1_048_577), (s) => c.acquire(s, "k", 1), message);
  const longest = `ok t 5 ${"x".repeat(1_048_576 - 7)}\n`;
  assert.deepEqual((await call(longest, (s) => c.acquire(s, "k", 1))).result, { token: "t", lease: 5 });
});

test("dflockd_clients_57_stats_that_are_not_json", async () => {
  const server = await MockServer.start(answers("ok {bad\n", "error\n"));
  await assert.rejects(c.stats({ port: server.port }), { message: "stats: malformed JSON response: '{bad'" });
  await assert.rejects(c.stats({ port: server.port }), { message: "stats failed: 'error'" });
  assert.deepEqual(server.requests, ["stats\n_\n\n", "stats\n_\n\n"]);
  await server.until(() => server.connections.every((connection) => connection.closed));
  await server.stop();
});

test("publish counts deliveries", async () => {
  assert.deepEqual(await call("ok 2\n", (s) => c.publish(s, "ch", "hi there")), { bytes: "signal\nch\nhi there\n", result: 2 });
  await expectError("ok x\n", (s) => c.publish(s, "ch", "p"), "signal: bad delivery count: 'ok x'");
  await expectError("error\n", (s) => c.publish(s, "ch", "p"), "signal failed: 'error'");
});
