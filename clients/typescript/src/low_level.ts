// One function for each command, on a socket that the caller looks after.
import type { Socket } from "node:net";
import { exchange } from "./line_stream.js";
import {
  checkAcquireTimeout,
  checkLease,
  checkLimit,
  checkText,
  checkWaitTimeout,
  keyRequest,
  readDeliveries,
  readEnqueued,
  readGrant,
  readOk,
  readRenewed,
  signalRequest,
  tokenRequest,
  type Enqueued,
  type Grant,
} from "./protocol.js";

/** Waits up to `acquireTimeoutS` seconds for the lock. */
export async function acquire(
  sock: Socket,
  key: string,
  acquireTimeoutS: number,
  leaseTtlS?: number,
): Promise<Grant> {
  checkText("key", key);
  checkAcquireTimeout(acquireTimeoutS);
  checkLease(leaseTtlS);
  return readGrant("acquire", key, await exchange(sock, keyRequest("l", key, acquireTimeoutS, leaseTtlS)));
}

/** Waits up to `acquireTimeoutS` seconds for one of the semaphore's `limit` slots. */
export async function semAcquire(
  sock: Socket,
  key: string,
  acquireTimeoutS: number,
  limit: number,
  leaseTtlS?: number,
): Promise<Grant> {
  checkText("key", key);
  checkAcquireTimeout(acquireTimeoutS);
  checkLimit(limit);
  checkLease(leaseTtlS);
  const request = keyRequest("sl", key, acquireTimeoutS, limit, leaseTtlS);
  return readGrant("sem_acquire", key, await exchange(sock, request));
}

/** Takes the lock or a place in its queue, without waiting. */
export async function enqueue(sock: Socket, key: string, leaseTtlS?: number): Promise<Enqueued> {
  checkText("key", key);
  checkLease(leaseTtlS);
  return readEnqueued("enqueue", await exchange(sock, keyRequest("e", key, leaseTtlS)));
}

/** Takes a slot of the semaphore or a place in its queue, without waiting. */
export async function semEnqueue(sock: Socket, key: string, limit: number, leaseTtlS?: number): Promise<Enqueued> {
  checkText("key", key);
  checkLimit(limit);
  checkLease(leaseTtlS);
  return readEnqueued("sem_enqueue", await exchange(sock, keyRequest("se", key, limit, leaseTtlS)));
}

/** Waits for what `enqueue` queued for on this socket. */
export async function waitForLock(sock: Socket, key: string, waitTimeoutS: number): Promise<Grant> {
  checkText("key", key);
  checkWaitTimeout(waitTimeoutS);
  return readGrant("wait", key, await exchange(sock, keyRequest("w", key, waitTimeoutS)));
}

/** Waits for what `semEnqueue` queued for on this socket. */
export async function semWaitForLock(sock: Socket, key: string, waitTimeoutS: number): Promise<Grant> {
  checkText("key", key);
  checkWaitTimeout(waitTimeoutS);
  return readGrant("sem_wait", key, await exchange(sock, keyRequest("sw", key, waitTimeoutS)));
}

/** Starts the lease anew and gives back its seconds. Without `leaseTtlS` the server's default applies. */
export async function renew(sock: Socket, key: string, token: string, leaseTtlS?: number): Promise<number> {
  return readRenewed("renew", await exchange(sock, tokenRequest("n", key, token, leaseTtlS)), leaseTtlS);
}

/** Like `renew`, for a semaphore. */
export async function semRenew(sock: Socket, key: string, token: string, leaseTtlS?: number): Promise<number> {
  return readRenewed("sem_renew", await exchange(sock, tokenRequest("sn", key, token, leaseTtlS)), leaseTtlS);
}

/** Gives the lock back. */
export async function release(sock: Socket, key: string, token: string): Promise<void> {
  readOk("release", await exchange(sock, tokenRequest("r", key, token)));
}

/** Gives the slot back. */
export async function semRelease(sock: Socket, key: string, token: string): Promise<void> {
  readOk("sem_release", await exchange(sock, tokenRequest("sr", key, token)));
}

/** Sends a signal; gives back how many listeners it reached. Needs a server with signals. */
export async function publish(sock: Socket, channel: string, payload: string): Promise<number> {
  return readDeliveries(await exchange(sock, signalRequest(channel, payload)));
}
