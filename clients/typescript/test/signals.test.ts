// Signals, against a scripted server.
import assert from "node:assert/strict";
import { test } from "node:test";
import { SignalConnection, type Signal } from "dflockd-client";
import { answers, MockServer } from "./mock_server.js";

test("dflockd_clients_61_bytes_of_signals", async () => {
  const server = await MockServer.start(answers("ok\n", "ok 2\n", "ok\n"));
  const connection = await SignalConnection.connect({ port: server.port });
  await connection.listen("ch", "g");
  assert.equal(await connection.emit("ch", "hi there"), 2);
  await connection.unlisten("ch");
  assert.deepEqual(server.requests, ["listen\nch\ng\n", "signal\nch\nhi there\n", "unlisten\nch\n\n"]);
  await assert.rejects(connection.listen("ch", "a\nb"), {
    message: "group must not contain NUL, newline, or carriage return characters",
  });
  connection.close();
  await server.stop();
});

test("dflockd_clients_62_a_signal_before_the_reply", async () => {
  const server = await MockServer.start(answers("sig a.b x y\nsig broken\nok\n"));
  const connection = await SignalConnection.connect({ port: server.port });
  const seen: Signal[] = [];
  const note = (signal: Signal): void => void seen.push(signal);
  connection.onSignal(() => { throw new Error("not the others' business"); });
  connection.onSignal(note);
  await connection.listen("a.>");
  assert.deepEqual(seen, [{ channel: "a.b", payload: "x y" }]);
  connection.offSignal(note);
  connection.close();
  await server.stop();
});

test("dflockd_clients_63_one_command_at_a_time", async () => {
  const server = await MockServer.start(() => null);
  const connection = await SignalConnection.connect({ port: server.port });
  const first = connection.listen("a");
  const second = connection.listen("b");
  const third = connection.listen("c");
  await server.until(() => server.requests.length === 1);
  server.connections[0]?.write("ok\n");
  await first;
  await server.until(() => server.requests.length === 2);
  server.connections[0]?.write("ok\n");
  await second;
  await server.until(() => server.requests.length === 3);
  connection.close();
  connection.close();
  await assert.rejects(third, { message: "connection closed" });
  await assert.rejects(connection.emit("a", "b"), { message: "connection closed" });
  assert.equal(connection.isClosed, true);
  assert.deepEqual(server.requests, ["listen\na\n\n", "listen\nb\n\n", "listen\nc\n\n"]);
  await server.stop();
});

test("dflockd_clients_64_iterating", async () => {
  const server = await MockServer.start(answers("ok\n"));
  const connection = await SignalConnection.connect({ port: server.port });
  const iterator = connection[Symbol.asyncIterator]();
  await connection.listen("a");
  server.connections[0]?.write("sig a 1\nsig a 2\nsig a 3\n");
  assert.deepEqual((await iterator.next()).value, { channel: "a", payload: "1" });
  connection.close();
  const rest: string[] = [];
  for await (const { payload } of iterator) {
    rest.push(payload);
  }
  assert.deepEqual(rest, ["2", "3"]);
  await server.stop();
});

test("dflockd_clients_65_heartbeat", async () => {
  const server = await MockServer.start(() => "error\n");
  const silent = await SignalConnection.connect({ port: server.port, heartbeatIntervalMs: 0 });
  const beating = await SignalConnection.connect({ port: server.port, heartbeatIntervalMs: 50 });
  await server.until(() => server.requests.length >= 3);
  assert.ok(server.requests.every((request) => request === "ping\n_\n\n"));
  assert.equal(server.connections[0]?.bytes, "");
  silent.close();
  beating.close();
  await server.stop();
});

test("an iterator that was never asked for a signal keeps none once it has ended", async () => {
  const server = await MockServer.start(answers("ok\n"));
  const connection = await SignalConnection.connect({ port: server.port });
  const iterator = connection[Symbol.asyncIterator]();
  assert.deepEqual(await iterator.return?.(), { done: true, value: undefined });
  const other = connection[Symbol.asyncIterator]();
  const first = other.next();
  server.connections[0]?.write("sig a b\n");
  assert.deepEqual(await first, { done: false, value: { channel: "a", payload: "b" } });
  assert.deepEqual(await iterator.next(), { done: true, value: undefined });
  connection.close();
  await server.stop();
});

test("intervals beyond what a timer can hold are as good as for ever", async () => {
  const server = await MockServer.start(answers("ok\n", "ok\n"));
  const options = { port: server.port, connectTimeoutMs: 2 ** 40, heartbeatIntervalMs: Infinity };
  const connection = await SignalConnection.connect(options);
  await connection.listen("a");
  await new Promise((resolve) => setImmediate(resolve));
  await connection.listen("b");
  assert.deepEqual(server.requests, ["listen\na\n\n", "listen\nb\n\n"]);
  connection.close();
  await server.stop();
});
