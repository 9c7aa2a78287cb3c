// Values, options and errors: what needs no server.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import * as client from "dflockd-client";
import { AcquireTimeoutError, AuthError, DistributedLock, DistributedSemaphore, LockError, stableHashShard } from "dflockd-client";

const lockError = (message: string | RegExp) => (error: unknown): boolean => {
  assert.ok(error instanceof LockError, String(error));
  if (typeof message === "string") {
    assert.equal(error.message, message);
  } else {
    assert.match(error.message, message);
  }
  return true;
};

test("dflockd_clients_01_both_formats_export_the_same_names", () => {
  const names = [
    "AcquireTimeoutError", "AuthError", "DistributedLock", "DistributedSemaphore", "LockError", "SignalConnection",
    "acquire", "enqueue", "publish", "release", "renew", "semAcquire", "semEnqueue", "semRelease", "semRenew",
    "semWaitForLock", "stableHashShard", "stats", "waitForLock",
  ];
  const required = createRequire(import.meta.url)("dflockd-client") as object;
  assert.deepEqual(Object.keys(client).sort(), names);
  assert.deepEqual(Object.keys(required).sort(), names);
  assert.throws(() => createRequire(import.meta.url)("dflockd-client/dist/errors.js"), /not defined by "exports"|not exported/);
});

test("dflockd_clients_02_stable_hash", () => {
  const golden: Array<[string, number, number[]]> = [
    ["my-resource", 1352043018, [0, 0, 3, 4]],
    ["my-key", 3605215937, [1, 2, 2, 1]],
    ["foo", 2356372769, [1, 2, 4, 2]],
    ["a", 3904355907, [1, 0, 2, 4]],
    ["klüssel", 2504894448, [0, 0, 3, 0]],
    ["🔒", 1514244864, [0, 0, 4, 6]],
    ["", 0, [0, 0, 0, 0]],
  ];
  for (const [key, crc, shards] of golden) {
    assert.equal(stableHashShard(key, 2 ** 32), crc, key);
    assert.deepEqual([2, 3, 5, 7].map((n) => stableHashShard(key, n)), shards, key);
  }
  for (const n of [0, -1]) {
    assert.throws(() => stableHashShard("x", n), lockError("numServers must be greater than 0"));
  }
});

test("dflockd_clients_03_keys", () => {
  assert.throws(() => new DistributedLock({ key: "" }), lockError("key must not be empty"));
  for (const key of ["a\nb", "a\rb", "a\0b"]) {
    assert.throws(
      () => new DistributedLock({ key }),
      lockError("key must not contain NUL, newline, or carriage return characters"),
    );
  }
  assert.equal(new DistributedLock({ key: "with space" }).key, "with space");
});

test("dflockd_clients_04_acquire_timeouts", () => {
  for (const acquireTimeoutS of [-1, 1.5, NaN, Infinity]) {
    assert.throws(
      () => new DistributedLock({ key: "k", acquireTimeoutS }),
      lockError("acquireTimeoutS must be an integer >= 0"),
    );
  }
  assert.equal(new DistributedLock({ key: "k", acquireTimeoutS: 0 }).acquireTimeoutS, 0);
  assert.equal(new DistributedLock({ key: "k" }).acquireTimeoutS, 10);
});

test("dflockd_clients_05_leases", () => {
  for (const leaseTtlS of [0, -1, NaN]) {
    assert.throws(() => new DistributedLock({ key: "k", leaseTtlS }), lockError("leaseTtlS must be an integer >= 1"));
  }
  assert.equal(new DistributedLock({ key: "k", leaseTtlS: 1 }).leaseTtlS, 1);
});

test("dflockd_clients_06_renew_ratios", () => {
  for (const renewRatio of [0, 1, NaN, Infinity, -Infinity]) {
    assert.throws(
      () => new DistributedLock({ key: "k", renewRatio }),
      lockError("renewRatio must be a finite number between 0 and 1 (exclusive)"),
    );
  }
  assert.equal(new DistributedLock({ key: "k", renewRatio: 0.01 }).renewRatio, 0.01);
  assert.equal(new DistributedLock({ key: "k" }).renewRatio, 0.5);
});

test("dflockd_clients_07_servers", () => {
  assert.throws(() => new DistributedLock({ key: "k", servers: [] }), lockError("servers list must not be empty"));
  assert.deepEqual(new DistributedLock({ key: "k" }).servers, [["127.0.0.1", 6388]]);
  assert.deepEqual(new DistributedLock({ key: "k", host: "h", port: 1 }).servers, [["h", 1]]);
  const servers: Array<[string, number]> = [["a", 1]];
  const lock = new DistributedLock({ key: "k", host: "ignored", servers });
  servers.push(["b", 2]);
  assert.deepEqual(lock.servers, [["a", 1]]);
});

test("dflockd_clients_08_limits", () => {
  for (const limit of [0, -1, 1.5]) {
    assert.throws(() => new DistributedSemaphore({ key: "k", limit }), lockError("limit must be an integer >= 1"));
  }
  assert.equal(new DistributedSemaphore({ key: "k", limit: 5 }).limit, 5);
});

test("dflockd_clients_09_errors", () => {
  const cases: Array<[LockError, string, string]> = [
    [new LockError("m"), "LockError", "m"],
    [new AcquireTimeoutError("k"), "AcquireTimeoutError", "timeout acquiring 'k'"],
    [new AuthError(), "AuthError", "authentication failed"],
  ];
  for (const [error, name, message] of cases) {
    assert.ok(error instanceof LockError && error instanceof Error);
    assert.deepEqual([error.name, error.message], [name, message]);
  }
});

test("dflockd_clients_35_a_fresh_instance", async () => {
  const lock = new DistributedLock({ key: "k" });
  await assert.rejects(lock.wait(), lockError("not connected; call enqueue() first"));
  await lock.release();
  await assert.rejects(lock.release(), lockError("not connected; nothing to release"));
});

test("dflockd_clients_36_close_is_idempotent", async () => {
  const lock = new DistributedLock({ key: "k" });
  lock.close();
  lock.close();
  lock.close();
  await assert.rejects(lock.wait(), lockError("connection closed; call enqueue() again"));
});
