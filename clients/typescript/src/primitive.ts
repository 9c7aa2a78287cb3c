// What locks and semaphores share: the life of an acquisition, from connecting to releasing or losing it.
import type { Socket } from "node:net";
import type { ConnectionOptions } from "node:tls";
import { connect, DEFAULT_HOST, DEFAULT_PORT, LONGEST_TIMER_MS } from "./connection.js";
import { AcquireTimeoutError, LockError } from "./errors.js";
import { linesOf } from "./line_stream.js";
import { checkAcquireTimeout, checkLease, checkText, type Enqueued, type Grant } from "./protocol.js";
import { Session } from "./session.js";
import { stableHashShard, type ShardingStrategy } from "./sharding.js";

const LEAST_RENEW_INTERVAL_MS = 100;
/** The server ends connections that are silent for 23 s; a long lease has to be renewed before that. */
const LONGEST_RENEW_INTERVAL_MS = 20_000;
const RELEASE_PATIENCE_MS = 5_000;
/** Longer timers fire at once. */

export interface PrimitiveOptions {
  key: string;
  /** How long `acquire` and `wait` wait, in whole seconds. Default 10. */
  acquireTimeoutS?: number | undefined;
  /** Seconds a grant lasts without renewal. Default: what the server says. */
  leaseTtlS?: number | undefined;
  /** The servers that keys are spread over; the same list in the same order in every client. */
  servers?: Array<[string, number]> | undefined;
  shardingStrategy?: ShardingStrategy | undefined;
  /** @deprecated Use `servers`. */
  host?: string | undefined;
  /** @deprecated Use `servers`. */
  port?: number | undefined;
  /** The part of the lease after which it is renewed. Default 0.5. */
  renewRatio?: number | undefined;
  /** Any object, also an empty one, turns TLS on. */
  tls?: ConnectionOptions | undefined;
  /** The server's secret. */
  auth?: string | undefined;
  /** Called once when what was held is gone without having been released. */
  onLockLost?: ((key: string, token: string) => void) | undefined;
  /** Bounds connecting, TLS included. Default: no bound. */
  connectTimeoutMs?: number | undefined;
  /** Ends a connection that is silent for so long while it holds. Has to exceed the renew interval. */
  socketTimeoutMs?: number | undefined;
}

export interface CallOptions {
  /** Ends the call, and the connection with it, when aborted. */
  signal?: AbortSignal | undefined;
}

export interface ConnectOptions extends CallOptions {
  /** Closes a connection that is still there instead of refusing. */
  force?: boolean | undefined;
}

/** How one kind of primitive spells its requests. */
export interface Commands {
  acquire(sock: Socket, timeoutS: number): Promise<Grant>;
  enqueue(sock: Socket): Promise<Enqueued>;
  wait(sock: Socket, timeoutS: number): Promise<Grant>;
  renew(sock: Socket, token: string): Promise<number>;
  release(sock: Socket, token: string): Promise<void>;
}

export abstract class Primitive {
  readonly key: string;
  readonly acquireTimeoutS: number;
  readonly leaseTtlS: number | undefined;
  readonly servers: Array<[string, number]>;
  readonly shardingStrategy: ShardingStrategy;
  readonly renewRatio: number;
  readonly tls: ConnectionOptions | undefined;
  readonly auth: string | undefined;
  readonly onLockLost: ((key: string, token: string) => void) | undefined;
  readonly connectTimeoutMs: number | undefined;
  readonly socketTimeoutMs: number | undefined;

  /** What proves the grant; null when nothing is held. */
  token: string | null = null;
  /** Seconds that the server granted last; 0 when nothing is held. */
  lease = 0;

  readonly #commands: Commands;
  #session: Session | null = null;
  #fresh = true;

  protected constructor(options: PrimitiveOptions, commands: Commands) {
    this.key = options.key;
    this.acquireTimeoutS = options.acquireTimeoutS ?? 10;
    this.leaseTtlS = options.leaseTtlS;
    this.servers = (options.servers ?? [[options.host ?? DEFAULT_HOST, options.port ?? DEFAULT_PORT]]).map(
      ([host, port]) => [host, port],
    );
    this.shardingStrategy = options.shardingStrategy ?? stableHashShard;
    this.renewRatio = options.renewRatio ?? 0.5;
    this.tls = options.tls;
    this.auth = options.auth;
    this.onLockLost = options.onLockLost;
    this.connectTimeoutMs = options.connectTimeoutMs;
    this.socketTimeoutMs = options.socketTimeoutMs;
    this.#commands = commands;

    checkText("key", this.key);
    checkAcquireTimeout(this.acquireTimeoutS);
    checkLease(this.leaseTtlS);
    if (!Number.isFinite(this.renewRatio) || this.renewRatio <= 0 || this.renewRatio >= 1) {
      throw new LockError("renewRatio must be a finite number between 0 and 1 (exclusive)");
    }
    if (this.servers.length === 0) {
      throw new LockError("servers list must not be empty");
    }
  }

  /** Connects and waits for a grant: true, or false when it did not come within `acquireTimeoutS`. */
  async acquire(options: ConnectOptions = {}): Promise<boolean> {
    return this.#untilTimeout(
      this.#connectAndSend(options, async (session, socket) => {
        this.#hold(session, await session.unlessEnded(this.#commands.acquire(socket, this.acquireTimeoutS)));
      }),
    );
  }

  /** Connects and takes a place in the queue, or the grant if it is free. */
  async enqueue(options: ConnectOptions = {}): Promise<"acquired" | "queued"> {
    return this.#connectAndSend(options, async (session, socket) => {
      const reply = await session.unlessEnded(this.#commands.enqueue(socket));
      if (reply.status === "acquired") {
        this.#hold(session, reply);
      }
      return reply.status;
    });
  }

  /** Waits for the grant that `enqueue` queued for: true, or false when it did not come in time. */
  async wait(timeoutS: number = this.acquireTimeoutS, options: CallOptions = {}): Promise<boolean> {
    const session = this.#session;
    if (session === null) {
      throw new LockError(
        this.#fresh ? "not connected; call enqueue() first" : "connection closed; call enqueue() again",
      );
    }
    if (session.busy || session.releasing) {
      throw alreadyConnected();
    }
    if (this.token !== null) {
      return true;
    }
    session.busy = true;
    return this.#untilTimeout(
      this.#attempt(session, options.signal, async () => {
        this.#hold(session, await session.unlessEnded(this.#commands.wait(socketOf(session), timeoutS)));
      }),
    );
  }

  /** Gives back what is held, or leaves the queue, and closes the connection. */
  async release(): Promise<void> {
    const session = this.#session;
    if (session === null && this.#fresh) {
      this.#fresh = false;
      return;
    }
    if (session === null || session.releasing) {
      throw new LockError("not connected; nothing to release");
    }
    session.releasing = true;
    session.stopRenewing();
    const token = this.token;
    if (token !== null) {
      try {
        await session.unlessEnded(this.#sendRelease(session, token));
      } catch {
        // The connection is closed below, and the server frees what a closed connection held.
      }
    }
    this.#close(session, connectionClosed());
  }

  /** Runs `fn` while holding, and releases whatever comes of it. */
  async withLock<T>(fn: () => T | Promise<T>, options: CallOptions = {}): Promise<T> {
    if (!(await this.acquire({ signal: options.signal }))) {
      throw new AcquireTimeoutError(this.key);
    }
    let value: T;
    try {
      value = await fn();
    } catch (error) {
      await this.release().catch(() => {});
      throw error;
    }
    await this.release();
    return value;
  }

  /** Drops the connection at once; the server frees what it held. */
  close(): void {
    this.#fresh = false;
    if (this.#session !== null) {
      this.#close(this.#session, connectionClosed());
    }
  }

  /** Releases what is still held, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#session !== null && !this.#session.releasing) {
      await this.release();
    }
  }

  async #connectAndSend<T>(
    options: ConnectOptions,
    request: (session: Session, socket: Socket) => Promise<T>,
  ): Promise<T> {
    options.signal?.throwIfAborted();
    if (this.#session !== null) {
      if (options.force !== true) {
        throw alreadyConnected();
      }
      this.#close(this.#session, connectionClosed());
    }
    this.#fresh = false;
    // Taken before the first await, so that an overlapping call finds it.
    const session = new Session();
    this.#session = session;
    return this.#attempt(session, options.signal, async () => {
      const [host, port] = this.#server();
      const { tls, auth, connectTimeoutMs } = this;
      const connecting = connect({ host, port, tls, auth, connectTimeoutMs }, (socket) => session.adopt(socket));
      return request(session, await session.unlessEnded(connecting));
    });
  }

  #server(): [string, number] {
    const index = this.shardingStrategy(this.key, this.servers.length);
    const server = Number.isInteger(index) ? this.servers[index] : undefined;
    if (server === undefined) {
      throw new LockError(`shardingStrategy returned invalid index ${index} for ${this.servers.length} server(s)`);
    }
    return server;
  }

  /** Runs a call that awaits a reply; whatever goes wrong with it closes the session. */
  async #attempt<T>(session: Session, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    const abort = (): void => this.#close(session, signal?.reason);
    session.socket?.ref();
    signal?.addEventListener("abort", abort, { once: true });
    try {
      if (signal?.aborted) {
        throw signal.reason;
      }
      const result = await work();
      session.busy = false;
      // Nothing that is merely held or queued for keeps the process alive.
      session.socket?.unref();
      return result;
    } catch (error) {
      this.#close(session, error);
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  async #untilTimeout(attempt: Promise<void>): Promise<boolean> {
    try {
      await attempt;
      return true;
    } catch (error) {
      if (error instanceof AcquireTimeoutError) {
        return false;
      }
      throw error;
    }
  }

  #close(session: Session, reason: unknown): void {
    session.end(reason);
    if (this.#session === session) {
      this.#session = null;
      this.token = null;
      this.lease = 0;
    }
  }

  #hold(session: Session, grant: Grant): void {
    // The session may have ended between the reply and the moment in which whoever awaited it goes on.
    session.throwIfOver();
    const socket = socketOf(session);
    this.token = grant.token;
    this.lease = grant.lease;
    if (this.socketTimeoutMs !== undefined && this.socketTimeoutMs > 0) {
      socket.setTimeout(this.socketTimeoutMs);
    }
    session.deadline = performance.now() + grant.lease * 1000;
    this.#watchDeadline(session);
    this.#renewAfter(session, this.#renewInterval());
    linesOf(socket).whenEnded(() => this.#lose(session, grant.token));
  }

  #renewInterval(): number {
    const wanted = Math.max(LEAST_RENEW_INTERVAL_MS, this.lease * 1000 * this.renewRatio);
    return Math.min(LONGEST_RENEW_INTERVAL_MS, wanted);
  }

  #renewAfter(session: Session, delayMs: number): void {
    session.renewTimer = setTimeout(() => void this.#renew(session), delayMs).unref();
  }

  async #renew(session: Session): Promise<void> {
    const token = this.token;
    if (session.over || token === null) {
      return;
    }
    const started = performance.now();
    const answer = this.#commands.renew(socketOf(session), token);
    session.renewal = answer.then(
      () => {},
      () => {},
    );
    try {
      const lease = await answer;
      session.renewal = null;
      if (session.over || session.releasing) {
        return;
      }
      this.lease = lease;
      session.deadline = started + lease * 1000;
      this.#watchDeadline(session);
      this.#renewAfter(session, Math.max(0, this.#renewInterval() - (performance.now() - started)));
    } catch {
      session.renewal = null;
      this.#lose(session, token);
    }
  }

  #watchDeadline(session: Session): void {
    clearTimeout(session.deadlineTimer);
    if (this.lease === 0) {
      return; // A server that reports no lease gives nothing to watch.
    }
    const passed = (): void => {
      if (session.over) {
        return;
      }
      if (performance.now() < session.deadline) {
        this.#watchDeadline(session);
      } else if (this.token !== null) {
        this.#lose(session, this.token);
      }
    };
    const left = Math.min(LONGEST_TIMER_MS, Math.max(1, session.deadline - performance.now()));
    // (An unreferenced immediate would not wake a loop that has nothing else to do.)
    // After a long pause the answer to a renewal may be waiting in the socket; it is read before `passed` runs.
    session.deadlineTimer = setTimeout(() => setImmediate(passed), left).unref();
  }

  #lose(session: Session, token: string): void {
    if (session.over || session.releasing) {
      return;
    }
    const lease = this.lease;
    this.#close(session, connectionClosed());
    if (this.onLockLost === undefined) {
      return;
    }
    // The callback still sees how long the lease was, and may acquire anew.
    this.lease = lease;
    try {
      const outcome: unknown = this.onLockLost(this.key, token);
      Promise.resolve(outcome).catch(() => {});
    } catch {
      // What the callback does wrong is not the lock's business.
    }
    if (this.token === null) {
      this.lease = 0;
    }
  }

  async #sendRelease(session: Session, token: string): Promise<void> {
    const socket = socketOf(session);
    socket.ref();
    await atMost(RELEASE_PATIENCE_MS, session.renewal);
    await atMost(RELEASE_PATIENCE_MS, this.#commands.release(socket, token));
  }
}

async function atMost(ms: number, work: Promise<unknown> | null): Promise<void> {
  if (work === null) {
    return;
  }
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  try {
    await Promise.race([work, patience]);
  } finally {
    clearTimeout(timer);
  }
}

function socketOf(session: Session): Socket {
  if (session.socket === null) {
    throw connectionClosed();
  }
  return session.socket;
}

function alreadyConnected(): LockError {
  return new LockError("already connected; call release() or close() first, or pass { force: true }");
}

function connectionClosed(): LockError {
  return new LockError("connection closed");
}
