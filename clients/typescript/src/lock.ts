// A lock: a primitive with one holder.
import { enqueue, acquire, release, renew, waitForLock } from "./low_level.js";
import { Primitive, type PrimitiveOptions } from "./primitive.js";

export interface DistributedLockOptions extends PrimitiveOptions {}

/** A named lock that one client at a time holds. */
export class DistributedLock extends Primitive {
  constructor(options: DistributedLockOptions) {
    const { key, leaseTtlS } = options;
    super(options, {
      acquire: (sock, timeoutS) => acquire(sock, key, timeoutS, leaseTtlS),
      enqueue: (sock) => enqueue(sock, key, leaseTtlS),
      wait: (sock, timeoutS) => waitForLock(sock, key, timeoutS),
      renew: (sock, token) => renew(sock, key, token, leaseTtlS),
      release: (sock, token) => release(sock, key, token),
    });
  }
}
