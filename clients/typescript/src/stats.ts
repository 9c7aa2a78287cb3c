// What a server says about itself.
import type { ConnectionOptions } from "node:tls";
import { connect, DEFAULT_HOST, DEFAULT_PORT } from "./connection.js";
import { LockError } from "./errors.js";
import { exchange } from "./line_stream.js";
import { failed } from "./protocol.js";

export interface StatsLock {
  key: string;
  owner_conn_id: number;
  lease_expires_in_s: number;
  waiters: number;
}

export interface StatsSemaphore {
  key: string;
  limit: number;
  holders: number;
  waiters: number;
}

export interface StatsIdleLock {
  key: string;
  idle_s: number;
}

export interface StatsIdleSemaphore {
  key: string;
  idle_s: number;
}

export interface Stats {
  connections: number;
  locks: StatsLock[];
  semaphores: StatsSemaphore[];
  idle_locks: StatsIdleLock[];
  idle_semaphores: StatsIdleSemaphore[];
}

/** Asks one server, over a connection of its own. */
export async function stats(
  options: {
    host?: string;
    port?: number;
    tls?: ConnectionOptions;
    auth?: string;
    connectTimeoutMs?: number;
  } = {},
): Promise<Stats> {
  const socket = await connect({ ...options, host: options.host ?? DEFAULT_HOST, port: options.port ?? DEFAULT_PORT });
  try {
    const reply = await exchange(socket, "stats\n_\n\n");
    if (!reply.startsWith("ok ")) {
      throw failed("stats", reply);
    }
    return parse(reply.slice("ok ".length));
  } finally {
    socket.destroy();
  }
}

function parse(text: string): Stats {
  try {
    return JSON.parse(text) as Stats;
  } catch {
    throw new LockError(`stats: malformed JSON response: '${text}'`);
  }
}
