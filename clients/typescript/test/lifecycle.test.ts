// Connecting, renewing, losing and closing, against a scripted server.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as net from "node:net";
import { test } from "node:test";
import { AuthError, DistributedLock, DistributedSemaphore, LockError, type DistributedLockOptions } from "dflockd-client";
import { MockServer, type Script } from "./mock_server.js";

const ALREADY = "already connected; call release() or close() first, or pass { force: true }";

/** Answers acquires with `grant`, releases with ok, and renewals with what `renewal` says. */
function granting(grant: string, renewal: Script = () => null, release = "ok\n"): Script {
  return (request, connection) => {
    switch (request.split("\n")[0]) {
      case "l":
      case "sl":
        return `ok ${grant}\n`;
      case "n":
      case "sn":
        return renewal(request, connection);
      case "r":
      case "sr":
        return release;
      default:
        return "error\n";
    }
  };
}

/** A lock on a scripted server, with the losses it reported. */
async function holding(script: Script, options: Partial<DistributedLockOptions> = {}) {
  const server = await MockServer.start(script);
  const losses: Array<[string, string]> = [];
  let lost: () => void = () => {};
  const firstLoss = new Promise<void>((resolve) => (lost = resolve));
  const lock = new DistributedLock({
    key: "k",
    servers: server.servers,
    onLockLost: (key, token) => {
      losses.push([key, token]);
      lost();
    },
    ...options,
  });
  const granted = performance.now();
  assert.equal(await lock.acquire(), true);
  return { server, lock, losses, firstLoss, granted };
}

test("dflockd_clients_28_auth_comes_first", async () => {
  const server = await MockServer.start((request) => (request.startsWith("auth\n_\ns\n") ? "ok\n" : request.startsWith("auth") ? "error_auth\n" : "ok t 9\n"));
  const good = new DistributedLock({ key: "k", servers: server.servers, auth: "s" });
  assert.equal(await good.acquire(), true);
  assert.equal(server.connections[0]?.bytes, "auth\n_\ns\nl\nk\n10\n");
  good.close();
  const bad = new DistributedLock({ key: "k", servers: server.servers, auth: "wrong" });
  await assert.rejects(bad.acquire(), AuthError);
  await server.until(() => server.connections[1]?.closed === true);
  const none = new DistributedLock({ key: "k", servers: server.servers, auth: "" });
  assert.equal(await none.acquire(), true);
  assert.equal(server.connections[2]?.bytes, "l\nk\n10\n");
  none.close();
  await server.stop();
});

test("dflockd_clients_29_bad_characters_in_auth", async () => {
  const server = await MockServer.start(() => "ok\n");
  const lock = new DistributedLock({ key: "k", servers: server.servers, auth: "a\nb" });
  await assert.rejects(lock.acquire(), {
    name: "LockError",
    message: "auth token must not contain NUL, newline, or carriage return characters",
  });
  await server.until(() => server.connections[0]?.closed === true);
  assert.equal(server.connections[0]?.bytes, "");
  await server.stop();
});

test("dflockd_clients_39_the_callbacks_error_wins", async () => {
  const server = await MockServer.start(granting("t 9", undefined, "error\n"));
  const lock = new DistributedLock({ key: "k", servers: server.servers });
  await assert.rejects(lock.withLock(() => { throw new RangeError("mine"); }), { name: "RangeError", message: "mine" });
  assert.equal(await lock.withLock(async () => 5), 5, "a refused release is swallowed");
  await server.stop();
});

test("dflockd_clients_44_the_least_renew_interval", async () => {
  const { server, lock, granted } = await holding(granting("t 60", () => "ok 60\n"), { renewRatio: 0.001 });
  await server.until(() => server.requests.length >= 3);
  assert.deepEqual(server.requests.slice(0, 3), ["l\nk\n10\n", "n\nk\nt\n", "n\nk\nt\n"]);
  // Timers may fire a moment early by this clock, never much.
  assert.ok((server.times[1] as number) - granted >= 95);
  assert.ok((server.times[2] as number) - (server.times[1] as number) >= 80);
  await lock.release();
  await server.stop();
});

test("dflockd_clients_45_the_interval_follows_the_lease", async () => {
  const { server, lock, granted } = await holding(granting("t 4", () => "ok 16\n"), {
    leaseTtlS: 4,
    renewRatio: 0.25,
  });
  await server.until(() => server.requests.length >= 3);
  const [, first, second] = server.times as [number, number, number];
  assert.equal(server.requests[1], "n\nk\nt 4\n");
  // No upper bounds: a busy machine may be late, but a quarter of 16 s cannot pass for a quarter of 4 s.
  assert.ok(first - granted >= 950, `first after ${first - granted}`);
  assert.ok(second - first >= 3900, `second after ${second - first}`);
  assert.equal(lock.lease, 16);
  await lock.release();
  await server.stop();
});

test("dflockd_clients_46_a_refused_renewal", async () => {
  const { server, lock, losses, firstLoss } = await holding(granting("tok1 60", () => "error\n"), { renewRatio: 0.001 });
  await firstLoss;
  await server.until(() => server.connections[0]?.closed === true);
  assert.deepEqual(losses, [["k", "tok1"]]);
  assert.deepEqual([lock.token, lock.lease], [null, 0]);
  await assert.rejects(lock.release(), { message: "not connected; nothing to release" });
  assert.equal(await lock.acquire(), true);
  lock.close();
  assert.equal(losses.length, 1, "close() is no loss");
  await server.stop();
});

test("dflockd_clients_47_callbacks_that_fail", async () => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => void unhandled.push(reason);
  process.on("unhandledRejection", note);
  for (const onLockLost of [
    () => { throw new Error("thrown"); },
    () => Promise.reject(new Error("rejected")) as unknown as void,
  ]) {
    const { server, lock } = await holding(granting("t 60", () => "error\n"), { renewRatio: 0.001, onLockLost });
    await server.until(() => server.connections[0]?.closed === true);
    assert.equal(lock.token, null);
    await server.stop();
  }
  await new Promise((resolve) => setImmediate(resolve));
  process.off("unhandledRejection", note);
  assert.deepEqual(unhandled, []);
});

test("dflockd_clients_48_a_renewal_without_answer", async () => {
  const { lock, losses, firstLoss, server, granted } = await holding(granting("t 60"), {
    renewRatio: 0.001,
    socketTimeoutMs: 500,
  });
  await firstLoss;
  assert.ok(performance.now() - granted >= 550);
  assert.deepEqual(losses, [["k", "t"]]);
  assert.equal(lock.token, null);
  await server.stop();
});

test("dflockd_clients_49_release_waits_for_the_renewal", async () => {
  let answer: () => void = () => {};
  const { server, lock } = await holding(
    granting("t 60", (_request, connection) => {
      answer = () => connection.write("ok 60\n");
    }),
    { renewRatio: 0.001 },
  );
  await server.until(() => server.requests.length === 2);
  const released = lock.release();
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(server.requests.length, 2);
  answer();
  await released;
  await server.until(() => server.requests.length === 3);
  assert.equal(server.requests[2], "r\nk\nt\n");
  await server.stop();
});

test("a release does not wait for a silent server without end", async () => {
  const { server, lock, losses } = await holding(granting("t 60"), { renewRatio: 0.001 });
  await server.until(() => server.requests.length === 2);
  await lock.release();
  await server.until(() => server.requests.length === 3);
  assert.equal(server.requests[2], "r\nk\nt\n");
  assert.deepEqual(losses, [], "a release is no loss");
  await server.stop();
});

test("dflockd_clients_50_a_held_lock_lets_the_process_end", async () => {
  const { server, lock } = await holding(granting("t 60"));
  const program = `
    import { DistributedLock } from "dflockd-client";
    const lock = new DistributedLock({ key: "k", servers: [["127.0.0.1", ${server.port}]] });
    console.log(await lock.acquire());
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.on("data", (chunk) => (output += chunk));
  assert.deepEqual(await once(child, "close"), [0, null]);
  assert.equal(output, "true\n");
  lock.close();
  await server.stop();
});

test("dflockd_clients_52_unreachable", async () => {
  // A server whose TLS handshake never goes on stands for a host that does not answer.
  const server = await MockServer.start(() => null);
  const silent = new DistributedLock({ key: "k", servers: server.servers, tls: {}, connectTimeoutMs: 200 });
  await assert.rejects(silent.acquire(), {
    name: "LockError",
    message: `connect timed out after 200ms to 127.0.0.1:${server.port}`,
  });
  const servers = server.servers;
  await server.stop();
  await assert.rejects(new DistributedLock({ key: "k", servers }).acquire(), { code: "ECONNREFUSED" });
});

test("dflockd_clients_53_shards_that_do_not_exist", async () => {
  const server = await MockServer.start(() => null);
  for (const index of [-1, 1, 0.5, NaN]) {
    const lock = new DistributedLock({ key: "k", servers: server.servers, shardingStrategy: () => index });
    await assert.rejects(lock.acquire(), {
      name: "LockError",
      message: `shardingStrategy returned invalid index ${index} for 1 server(s)`,
    });
  }
  assert.equal(server.connections.length, 0);
  await server.stop();
});

test("dflockd_clients_59_overlapping_calls", async () => {
  const server = await MockServer.start(granting("t 60"));
  const lock = new DistributedLock({ key: "k", servers: server.servers });
  const [first, second] = await Promise.allSettled([lock.acquire(), lock.acquire()]);
  assert.deepEqual(first, { status: "fulfilled", value: true });
  assert.ok(second.status === "rejected" && second.reason instanceof LockError);
  assert.equal(second.reason.message, ALREADY);
  assert.equal(server.connections.length, 1);
  await lock.release();

  const earlier = lock.acquire();
  const later = lock.acquire({ force: true });
  await assert.rejects(earlier, { name: "LockError", message: "connection closed" });
  assert.equal(await later, true);
  await lock.release();
  await server.until(() => server.connections.every((connection) => connection.closed));
  await server.stop();
});

test("an overlapping wait is refused and the first goes on", async () => {
  let grant: () => void = () => {};
  const server = await MockServer.start((request, connection) => {
    if (request.startsWith("se\n")) return "queued\n";
    if (request.startsWith("sw\n")) grant = () => connection.write("ok t 60\n");
    return request.startsWith("sr\n") ? "ok\n" : null;
  });
  const semaphore = new DistributedSemaphore({ key: "k", limit: 2, servers: server.servers });
  assert.equal(await semaphore.enqueue(), "queued");
  const first = semaphore.wait(3);
  await assert.rejects(semaphore.wait(3), { message: ALREADY });
  await server.until(() => server.requests.length === 2);
  grant();
  assert.equal(await first, true);
  assert.equal(await semaphore.wait(-1), true, "nothing is asked when it is held already");
  await semaphore.release();
  assert.deepEqual(server.requests, ["se\nk\n2\n", "sw\nk\n3\n", "sr\nk\nt\n"]);
  await server.stop();
});

test("an invalid timeout of wait closes", async () => {
  const server = await MockServer.start(() => "queued\n");
  const lock = new DistributedLock({ key: "k", servers: server.servers });
  await lock.enqueue();
  await assert.rejects(lock.wait(1.5), { message: "waitTimeoutS must be an integer >= 0" });
  await assert.rejects(lock.wait(1), { message: "connection closed; call enqueue() again" });
  await server.stop();
});

test("a dropped connection is reported at once, and the callback may acquire anew", async () => {
  const server = await MockServer.start(granting("t 60"));
  const seen: unknown[] = [];
  let again: (granted: Promise<boolean>) => void = () => {};
  const reacquired = new Promise<boolean>((resolve) => (again = resolve));
  const lock: DistributedLock = new DistributedLock({
    key: "k",
    servers: server.servers,
    onLockLost: (key, token) => {
      seen.push(key, token, lock.token, lock.lease);
      again(lock.acquire());
    },
  });
  await lock.acquire();
  server.connections[0]?.socket.end();
  assert.equal(await reacquired, true);
  assert.deepEqual(seen, ["k", "t", null, 60]);
  assert.deepEqual([lock.token, lock.lease], ["t", 60]);
  lock.close();
  await server.stop();
});

test("a lease that passes without an answer is reported", async () => {
  const { server, lock, losses, firstLoss, granted } = await holding(granting("t 1"));
  await firstLoss;
  assert.ok(performance.now() - granted >= 990);
  assert.deepEqual(losses, [["k", "t"]]);
  assert.equal(lock.token, null);
  await server.stop();
});

test("a long lease is renewed before the server's read timeout", async (t) => {
  const { server, lock } = await holding((request) => {
    return request.startsWith("l") ? "ok t 3600\n" : request.startsWith("n") ? "ok 3600\n" : "ok\n";
  });
  // Seen on the timers, as nobody wants to wait for it.
  const delays: number[] = [];
  const real = globalThis.setTimeout;
  t.mock.method(globalThis, "setTimeout", ((fn: () => void, ms: number, ...rest: unknown[]) => {
    delays.push(ms);
    return (real as Function)(fn, ms, ...rest);
  }) as typeof setTimeout);
  await lock.acquire({ force: true });
  assert.ok(delays.includes(20_000), String(delays));
  assert.ok(!delays.includes(1_800_000));
  await lock.release();
  await server.stop();
});

test("an abort ends what waits", async () => {
  const server = await MockServer.start((request) => (request.startsWith("e\n") ? "queued\n" : null));
  const lock = new DistributedLock({ key: "k", servers: server.servers });
  const reason = new Error("enough");

  const before = AbortSignal.abort(reason);
  await assert.rejects(lock.acquire({ signal: before }), reason);
  assert.equal(server.connections.length, 0);

  const during = new AbortController();
  const acquiring = lock.acquire({ signal: during.signal });
  await server.until(() => server.requests.length === 1);
  during.abort(reason);
  await assert.rejects(acquiring, reason);
  await server.until(() => server.connections[0]?.closed === true);

  const waiting = new AbortController();
  await lock.enqueue();
  const wait = lock.wait(5, { signal: waiting.signal });
  await server.until(() => server.requests.length === 3);
  waiting.abort(reason);
  await assert.rejects(wait, reason);
  await assert.rejects(lock.wait(), { message: "connection closed; call enqueue() again" });

  const body = new AbortController();
  const withLock = lock.withLock(() => assert.fail("not granted"), { signal: body.signal });
  await server.until(() => server.requests.length === 4);
  body.abort(reason);
  await assert.rejects(withLock, reason);
  await server.stop();
});

test("an abort while connecting leaves no socket behind", async () => {
  const server = net.createServer((socket) => void socket.resume().on("error", () => {}));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  const controller = new AbortController();
  const lock = new DistributedLock({ key: "k", servers: [["127.0.0.1", port]], tls: {} });
  const acquiring = lock.acquire({ signal: controller.signal });
  const reason = new Error("enough");
  controller.abort(reason);
  await assert.rejects(acquiring, reason);
  server.close();
  await once(server, "close");
});

test("close and release end a pending acquire", async () => {
  const server = await MockServer.start(() => null);
  const lock = new DistributedLock({ key: "k", servers: server.servers });
  for (const end of [() => lock.close(), () => void lock.release()]) {
    const acquiring = lock.acquire();
    const count = server.requests.length;
    await server.until(() => server.requests.length > count);
    end();
    await assert.rejects(acquiring, { name: "LockError", message: "connection closed" });
  }
  assert.ok(server.requests.every((request) => request === "l\nk\n10\n"));
  await server.stop();
});
