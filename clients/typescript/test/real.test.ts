// The client against the real server.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import {
  AcquireTimeoutError, AuthError, DistributedLock, DistributedSemaphore, LockError, SignalConnection, acquire, enqueue, release,
  stableHashShard, stats, type DistributedLockOptions,
} from "dflockd-client";
import * as net from "node:net";
import { once } from "node:events";
import { RealServer, selfSigned } from "./real_server.js";

/** Asks until it is so; the test's own time limit is the only bound. */
async function eventually(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe("one server", () => {
  let server: RealServer;
  before(async () => {
    server = await RealServer.start();
  });
  after(() => server.kill());

  let keys = 0;
  const freshKey = (): string => `key-${keys++}`;
  const lockOn = (key: string, options: Partial<DistributedLockOptions> = {}): DistributedLock =>
    new DistributedLock({ key, servers: server.servers, ...options });
  const waiters = async (key: string): Promise<number | undefined> =>
    (await stats({ port: server.port })).locks.find((lock) => lock.key === key)?.waiters;

  test("dflockd_clients_30_auth_without_a_secret", async () => {
    await assert.rejects(lockOn(freshKey(), { auth: "x" }).acquire(), { name: "LockError", message: "auth failed: 'error'" });
  });

  test("dflockd_clients_31_acquire_and_release", async () => {
    const lock = lockOn(freshKey());
    assert.equal(await lock.acquire(), true);
    assert.match(lock.token ?? "", /^[0-9a-f]{32}$/);
    assert.equal(lock.lease, 33);
    await lock.release();
    assert.deepEqual([lock.token, lock.lease], [null, 0]);
  });

  test("dflockd_clients_32_a_held_key_times_out", async () => {
    const key = freshKey();
    const holder = lockOn(key);
    const other = lockOn(key, { acquireTimeoutS: 1 });
    await holder.acquire();
    const began = performance.now();
    assert.equal(await other.acquire(), false);
    assert.ok(performance.now() - began >= 950);
    await assert.rejects(other.release(), { message: "not connected; nothing to release" });
    await holder.release();
  });

  test("dflockd_clients_33_acquiring_twice", async () => {
    const lock = lockOn(freshKey());
    await lock.acquire();
    const { token } = lock;
    await assert.rejects(lock.acquire(), { message: /^already connected; / });
    assert.equal(lock.token, token);
    assert.equal(await lock.acquire({ force: true }), true);
    assert.notEqual(lock.token, token);
    await lock.release();
  });

  test("dflockd_clients_34_a_hundred_times", async () => {
    const lock = lockOn(freshKey());
    for (let i = 0; i < 100; i++) {
      assert.equal(await lock.acquire(), true);
      await lock.release();
    }
  });

  test("dflockd_clients_37_with_lock", async () => {
    const key = freshKey();
    const lock = lockOn(key);
    assert.equal(await lock.withLock(() => 42), 42);
    await assert.rejects(lock.withLock(async () => { throw new RangeError("mine"); }), { name: "RangeError" });
    assert.equal(await lockOn(key, { acquireTimeoutS: 0 }).withLock(() => "free"), "free");
  });

  test("dflockd_clients_38_with_lock_on_a_held_key", async () => {
    const key = freshKey();
    const holder = lockOn(key);
    await holder.acquire();
    await assert.rejects(lockOn(key, { acquireTimeoutS: 0 }).withLock(() => 1), AcquireTimeoutError);
    await holder.release();
  });

  test("dflockd_clients_40_enqueue_on_a_free_key", async () => {
    const key = freshKey();
    const lock = lockOn(key);
    assert.equal(await lock.enqueue(), "acquired");
    assert.equal(await lock.wait(0), true);
    await lock.release();
    assert.equal(await lockOn(key, { acquireTimeoutS: 0 }).withLock(() => true), true);
  });

  test("dflockd_clients_41_enqueue_on_a_held_key", async () => {
    const key = freshKey();
    const holder = lockOn(key);
    const queued = lockOn(key);
    await holder.acquire();
    assert.equal(await queued.enqueue(), "queued");
    await holder.release();
    assert.equal(await queued.wait(10), true);
    await queued.release();
  });

  test("dflockd_clients_42_a_wait_that_times_out", async () => {
    const key = freshKey();
    const holder = lockOn(key);
    const queued = lockOn(key);
    await holder.acquire();
    await queued.enqueue();
    assert.equal(await queued.wait(1), false);
    await assert.rejects(queued.wait(1), { message: "connection closed; call enqueue() again" });
    assert.equal(await queued.enqueue(), "queued");
    queued.close();
    await holder.release();
  });

  test("dflockd_clients_43_leaving_the_queue", async () => {
    const key = freshKey();
    const holder = lockOn(key);
    const queued = lockOn(key);
    await holder.acquire();
    await queued.enqueue();
    assert.equal(await waiters(key), 1);
    await queued.release();
    await eventually(async () => (await waiters(key)) === 0);
    await holder.release();
  });

  test("dflockd_clients_51_released_by_another", async () => {
    const key = freshKey();
    const losses: string[] = [];
    let lost: () => void = () => {};
    const loss = new Promise<void>((resolve) => (lost = resolve));
    const lock = lockOn(key, { leaseTtlS: 60, renewRatio: 0.005, onLockLost: (_key, token) => { losses.push(token); lost(); } });
    let token: string | null = null;
    const outcome = lock.withLock(async () => {
      token = lock.token;
      const socket = net.connect(server.port, "127.0.0.1");
      await once(socket, "connect");
      await release(socket, key, token ?? "");
      socket.destroy();
      await loss;
    });
    await assert.rejects(outcome, { name: "LockError", message: "not connected; nothing to release" });
    assert.deepEqual(losses, [token]);
  });

  test("dflockd_clients_54_semaphores", async () => {
    const key = freshKey();
    const make = () => new DistributedSemaphore({ key, limit: 2, acquireTimeoutS: 1, servers: server.servers });
    const [first, second, third] = [make(), make(), make()];
    assert.deepEqual([await first.acquire(), await second.acquire(), await third.acquire()], [true, true, false]);
    const { semaphores } = await stats({ port: server.port });
    const found = semaphores.find((semaphore) => semaphore.key === key);
    assert.deepEqual([found?.limit, found?.holders], [2, 2]);
    await first.release();
    assert.equal(await third.acquire(), true);
    await second.release();
    await third.release();
  });

  test("dflockd_clients_55_limit_mismatch", async () => {
    // Locks and semaphores are apart (decision 21), so the mismatch is between two semaphores.
    const key = freshKey();
    const two = new DistributedSemaphore({ key, limit: 2, servers: server.servers });
    await two.acquire();
    await assert.rejects(new DistributedSemaphore({ key, limit: 3, servers: server.servers }).acquire(), {
      name: "LockError",
      message: "sem_acquire failed: 'error_limit_mismatch'",
    });
    assert.equal(await lockOn(key, { acquireTimeoutS: 0 }).withLock(() => true), true);
    await two.release();
  });

  test("dflockd_clients_56_stats", async () => {
    const key = freshKey();
    const lock = lockOn(key);
    await lock.acquire();
    const seen = await stats({ port: server.port });
    assert.ok(seen.connections >= 2);
    for (const list of [seen.locks, seen.semaphores, seen.idle_locks, seen.idle_semaphores]) {
      assert.ok(Array.isArray(list));
    }
    const held = seen.locks.find((each) => each.key === key);
    assert.ok(held !== undefined && held.owner_conn_id >= 1 && held.lease_expires_in_s > 0 && held.waiters === 0);
    await lock.release();
  });

  test("dflockd_clients_59_overlapping_calls_leave_nothing_held", async () => {
    const key = freshKey();
    const lock = lockOn(key);
    const outcomes = await Promise.allSettled([lock.acquire(), lock.acquire(), lock.enqueue()]);
    assert.deepEqual(outcomes.map(({ status }) => status), ["fulfilled", "rejected", "rejected"]);
    await lock.release();
    assert.equal(await lockOn(key, { acquireTimeoutS: 0 }).withLock(() => true), true);
  });

  test("dflockd_clients_60_no_signals", async () => {
    const connection = await SignalConnection.connect({ port: server.port });
    await assert.rejects(connection.listen("a.>"), { name: "LockError", message: "listen failed: 'error'" });
    connection.close();
  });

  test("a short lease is held by renewing it", async () => {
    const key = freshKey();
    const lock = lockOn(key, { leaseTtlS: 4, renewRatio: 0.05, onLockLost: () => assert.fail("lost") });
    await lock.acquire();
    assert.equal(await lockOn(key, { acquireTimeoutS: 6 }).acquire(), false);
    await lock.release();
  });

  test("an abort leaves the queue", async () => {
    const key = freshKey();
    const holder = lockOn(key);
    await holder.acquire();
    const controller = new AbortController();
    const acquiring = lockOn(key, { acquireTimeoutS: 60 }).acquire({ signal: controller.signal });
    await eventually(async () => (await waiters(key)) === 1);
    controller.abort(new Error("enough"));
    await assert.rejects(acquiring, { message: "enough" });
    await eventually(async () => (await waiters(key)) === 0);
    await holder.release();
  });

  test("waiters are served in the order in which they came", async () => {
    const key = freshKey();
    const holder = lockOn(key);
    await holder.acquire();
    const order: number[] = [];
    const running: Array<Promise<unknown>> = [];
    for (let i = 0; i < 5; i++) {
      running.push(lockOn(key, { acquireTimeoutS: 60 }).withLock(() => order.push(i)));
      await eventually(async () => (await waiters(key)) === i + 1);
    }
    await holder.release();
    await Promise.all(running);
    assert.deepEqual(order, [0, 1, 2, 3, 4]);
  });

  test("low-level functions on one socket", async () => {
    const key = freshKey();
    const socket = net.connect(server.port, "127.0.0.1");
    await once(socket, "connect");
    const { token, lease } = await acquire(socket, key, 0, 7);
    assert.equal(lease, 7);
    assert.equal((await enqueue(socket, key)).status, "queued");
    await release(socket, key, token);
    await assert.rejects(release(socket, key, token), { message: "release failed: 'error'" });
    socket.destroy();
  });
});

test("a killed server is a lost lock, and its successor serves again", async (t) => {
  const first = await RealServer.start();
  t.after(() => first.kill());
  let lost: (key: string) => void = () => {};
  const loss = new Promise<string>((resolve) => (lost = resolve));
  const lock = new DistributedLock({ key: "k", servers: first.servers, leaseTtlS: 600, onLockLost: (key) => lost(key) });
  await lock.acquire();
  const waiting = new DistributedLock({ key: "k", servers: first.servers, acquireTimeoutS: 60 }).acquire();
  const refused = assert.rejects(waiting, (error: Error) => error instanceof LockError || "code" in error);
  await first.kill();
  assert.equal(await loss, "k");
  await refused;
  assert.equal(lock.token, null);
  await assert.rejects(lock.acquire(), { code: "ECONNREFUSED" });

  const second = await RealServer.start([], first.port);
  t.after(() => second.kill());
  assert.equal(await lock.acquire(), true);
  await lock.release();
});

test("keys are spread over the servers by their hash", async (t) => {
  const shards = await Promise.all([RealServer.start(), RealServer.start(), RealServer.start()]);
  t.after(() => Promise.all(shards.map((shard) => shard.kill())));
  const servers = shards.map(({ port }): [string, number] => ["127.0.0.1", port]);
  for (const key of ["my-resource", "my-key", "foo", "a", "klüssel", "🔒"]) {
    const lock = new DistributedLock({ key, servers });
    await lock.acquire();
    const holders = await Promise.all(
      shards.map(async ({ port }) => (await stats({ port })).locks.some((held) => held.key === key)),
    );
    assert.equal(holders.indexOf(true), stableHashShard(key, 3), key);
    assert.equal(holders.filter(Boolean).length, 1, key);
    await lock.release();
  }
});

test("auth against a server with a secret", async (t) => {
  const server = await RealServer.start(["--auth-token", "s3cret"]);
  t.after(() => server.kill());
  const { port, servers } = server;
  assert.equal(await new DistributedLock({ key: "k", servers, auth: "s3cret" }).withLock(() => 1), 1);
  await assert.rejects(new DistributedLock({ key: "k", servers, auth: "wrong" }).acquire(), AuthError);
  await assert.rejects(new DistributedLock({ key: "k", servers }).acquire(), { message: "acquire failed: 'error_auth'" });
  await assert.rejects(stats({ port, auth: "wrong" }), AuthError);
  assert.equal((await stats({ port, auth: "s3cret" })).connections >= 1, true);
});

test("dflockd_clients_58_tls", async (t) => {
  const mine = selfSigned("server");
  const foreign = selfSigned("foreign");
  const server = await RealServer.start(["--tls-cert", mine.certPath, "--tls-key", mine.keyPath]);
  t.after(() => server.kill());
  const tls = { ca: readFileSync(mine.certPath) };
  const { port, servers } = server;
  assert.equal(await new DistributedLock({ key: "k", servers, tls }).withLock(() => 1), 1);
  assert.equal(await new DistributedSemaphore({ key: "s", limit: 2, servers, tls }).withLock(() => 2), 2);
  assert.ok(Array.isArray((await stats({ port, tls })).locks));
  const wrong = new DistributedLock({ key: "k", servers, tls: { ca: readFileSync(foreign.certPath) } });
  await assert.rejects(wrong.acquire(), (error: Error) => !(error instanceof LockError) && "code" in error);
});
