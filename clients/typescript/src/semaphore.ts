// A semaphore: a primitive with a number of holders.
import { semAcquire, semEnqueue, semRelease, semRenew, semWaitForLock } from "./low_level.js";
import { Primitive, type PrimitiveOptions } from "./primitive.js";
import { checkLimit } from "./protocol.js";

export interface DistributedSemaphoreOptions extends PrimitiveOptions {
  /** How many may hold it at once; the same in every client of the key. */
  limit: number;
}

/** A named semaphore that up to `limit` clients hold at once. */
export class DistributedSemaphore extends Primitive {
  readonly limit: number;

  constructor(options: DistributedSemaphoreOptions) {
    const { key, limit, leaseTtlS } = options;
    super(options, {
      acquire: (sock, timeoutS) => semAcquire(sock, key, timeoutS, limit, leaseTtlS),
      enqueue: (sock) => semEnqueue(sock, key, limit, leaseTtlS),
      wait: (sock, timeoutS) => semWaitForLock(sock, key, timeoutS),
      renew: (sock, token) => semRenew(sock, key, token, leaseTtlS),
      release: (sock, token) => semRelease(sock, key, token),
    });
    checkLimit(limit);
    this.limit = limit;
  }
}
