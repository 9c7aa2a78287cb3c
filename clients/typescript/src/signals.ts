// Publish and subscribe on one connection: commands with replies, and signals that come in between.
import type { Socket } from "node:net";
import type { ConnectionOptions } from "node:tls";
import { connect, DEFAULT_HOST, DEFAULT_PORT, LONGEST_TIMER_MS } from "./connection.js";
import { LockError } from "./errors.js";
import { linesOf, send, type LineStream } from "./line_stream.js";
import { listenRequest, readDeliveries, readOk, signalRequest } from "./protocol.js";

const DEFAULT_HEARTBEAT_MS = 15_000;
const MAX_UNPROCESSED_CHARACTERS = 2 * 1_048_576;

export interface Signal {
  channel: string;
  payload: string;
}

export interface SignalConnectionOptions {
  host?: string | undefined;
  port?: number | undefined;
  tls?: ConnectionOptions | undefined;
  auth?: string | undefined;
  connectTimeoutMs?: number | undefined;
  /** How often a silent connection says that it is alive; 0 for never. Default 15000. */
  heartbeatIntervalMs?: number | undefined;
}

interface Command {
  request: string;
  resolve(reply: string): void;
  reject(error: unknown): void;
}

interface Subscriber {
  buffer: Signal[];
  wake: (() => void) | null;
}

export class SignalConnection {
  readonly #socket: Socket;
  readonly #lines: LineStream;
  readonly #commands: Command[] = [];
  readonly #listeners: Array<(signal: Signal) => void> = [];
  readonly #subscribers = new Set<Subscriber>();
  readonly #heartbeat: NodeJS.Timeout | undefined;
  #closed = false;

  /** Takes over a connected, authenticated socket with what it has received so far. */
  constructor(sock: Socket, heartbeatIntervalMs: number = DEFAULT_HEARTBEAT_MS) {
    this.#socket = sock;
    sock.on("error", () => {});
    this.#lines = linesOf(sock);
    this.#lines.consume(
      (line) => this.#take(line),
      MAX_UNPROCESSED_CHARACTERS,
      "server response exceeded maximum buffer size",
    );
    this.#lines.whenEnded((error) => this.#finish(error));
    if (heartbeatIntervalMs > 0 && !this.#closed) {
      const interval = Math.min(LONGEST_TIMER_MS, heartbeatIntervalMs);
      this.#heartbeat = setInterval(() => this.#ping(), interval).unref();
    }
  }

  static async connect(options: SignalConnectionOptions = {}): Promise<SignalConnection> {
    const { host = DEFAULT_HOST, port = DEFAULT_PORT, tls, auth, connectTimeoutMs, heartbeatIntervalMs } = options;
    return new SignalConnection(await connect({ host, port, tls, auth, connectTimeoutMs }), heartbeatIntervalMs);
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Subscribes to a pattern: `*` stands for one part of a channel's name, a last `>` for one or more. */
  async listen(pattern: string, group: string = ""): Promise<void> {
    readOk("listen", await this.#command(listenRequest("listen", pattern, group)));
  }

  /** Ends what `listen` began with the same pattern and group. */
  async unlisten(pattern: string, group: string = ""): Promise<void> {
    readOk("unlisten", await this.#command(listenRequest("unlisten", pattern, group)));
  }

  /** Sends a signal; gives back how many listeners it reached. */
  async emit(channel: string, payload: string): Promise<number> {
    return readDeliveries(await this.#command(signalRequest(channel, payload)));
  }

  onSignal(fn: (signal: Signal) => void): void {
    this.#listeners.push(fn);
  }

  /** Removes one registration of `fn`. */
  offSignal(fn: (signal: Signal) => void): void {
    const at = this.#listeners.indexOf(fn);
    if (at >= 0) {
      this.#listeners.splice(at, 1);
    }
  }

  /** The signals from now on, until the connection is closed. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Signal> {
    const subscriber: Subscriber = { buffer: [], wake: null };
    if (!this.#closed) {
      this.#subscribers.add(subscriber);
    }
    const signals = this.#signalsOf(subscriber);
    // A generator that was never asked for anything does not get to its end when it is ended.
    const leave = signals.return.bind(signals);
    signals.return = (value) => {
      this.#subscribers.delete(subscriber);
      return leave(value);
    };
    return signals;
  }

  close(): void {
    this.#finish(new LockError("connection closed"));
  }

  async *#signalsOf(subscriber: Subscriber): AsyncGenerator<Signal, void, undefined> {
    try {
      for (;;) {
        const signal = subscriber.buffer.shift();
        if (signal !== undefined) {
          yield signal;
        } else if (this.#closed) {
          return;
        } else {
          await new Promise<void>((resolve) => {
            subscriber.wake = resolve;
          });
        }
      }
    } finally {
      this.#subscribers.delete(subscriber);
    }
  }

  #command(request: string): Promise<string> {
    if (this.#closed) {
      return Promise.reject(new LockError("connection closed"));
    }
    return new Promise((resolve, reject) => {
      this.#commands.push({ request, resolve, reject });
      if (this.#commands.length === 1) {
        this.#sendNext();
      }
    });
  }

  #sendNext(): void {
    const command = this.#commands[0];
    if (command !== undefined) {
      // A write that fails ends the socket, and that fails the command.
      send(this.#socket, command.request).catch(() => {});
    }
  }

  #ping(): void {
    // In line with the other commands, so that its answer is not taken for theirs.
    this.#command("ping\n_\n\n").catch(() => {});
  }

  #take(line: string): void {
    if (line.startsWith("sig ")) {
      const [, channel, payload] = /^sig (\S+) (.*)$/s.exec(line) ?? [];
      if (channel !== undefined && payload !== undefined) {
        this.#deliver({ channel, payload });
      }
      return;
    }
    const command = this.#commands.shift();
    command?.resolve(line);
    this.#sendNext();
  }

  #deliver(signal: Signal): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(signal);
      } catch {
        // One listener's failure is not the others' business.
      }
    }
    for (const subscriber of this.#subscribers) {
      subscriber.buffer.push(signal);
      subscriber.wake?.();
    }
  }

  #finish(error: Error): void {
    if (this.#closed) {
      return;
    }
    this.#closed = true;
    clearInterval(this.#heartbeat);
    this.#socket.destroy();
    for (const command of this.#commands.splice(0)) {
      command.reject(error);
    }
    for (const subscriber of this.#subscribers) {
      subscriber.wake?.();
    }
  }
}
