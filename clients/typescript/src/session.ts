// One connection of a primitive, from the decision to connect until it is over.
import type { Socket } from "node:net";
import { LockError } from "./errors.js";

export class Session {
  /** Set as soon as there is something to destroy, before it is connected. */
  socket: Socket | null = null;
  /** An acquire, enqueue or wait awaits its reply. */
  busy = true;
  releasing = false;
  over = false;
  /** Settles, never rejects, when the renewal in flight is answered. */
  renewal: Promise<void> | null = null;
  renewTimer: NodeJS.Timeout | undefined;
  deadlineTimer: NodeJS.Timeout | undefined;
  /** When the lease lapses, on the clock of `performance.now()`. */
  deadline = Infinity;
  readonly #ended: Promise<never>;
  #reject: (reason: unknown) => void = () => {};
  #reason: unknown;

  constructor() {
    this.#ended = new Promise<never>((_, reject) => {
      this.#reject = reject;
    });
    this.#ended.catch(() => {});
  }

  /** Takes the socket over; after `end` it is too late and the socket is destroyed. */
  adopt(socket: Socket): void {
    this.socket = socket;
    socket.on("timeout", () => socket.destroy(new LockError("socket idle timeout")));
    if (this.over) {
      socket.destroy();
    }
  }

  /** The result of `work`, unless the session ends first: then the reason of that. */
  async unlessEnded<T>(work: Promise<T>): Promise<T> {
    const result = await Promise.race([work, this.#ended]);
    return this.over ? this.#ended : result;
  }

  throwIfOver(): void {
    if (this.over) {
      throw this.#reason;
    }
  }

  stopRenewing(): void {
    clearTimeout(this.renewTimer);
    clearTimeout(this.deadlineTimer);
  }

  /** Destroys the socket and makes whoever awaits a reply fail with `reason`. */
  end(reason: unknown): void {
    if (this.over) {
      return;
    }
    this.over = true;
    this.#reason = reason;
    this.stopRenewing();
    this.#reject(reason);
    this.socket?.destroy();
  }
}
