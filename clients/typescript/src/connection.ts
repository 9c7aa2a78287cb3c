// Makes connections: TCP or TLS, a deadline for both, then the secret.
import * as net from "node:net";
import * as tls from "node:tls";
import { AuthError, LockError } from "./errors.js";
import { closedByServer, exchange } from "./line_stream.js";
import { authRequest } from "./protocol.js";

export const DEFAULT_HOST = "127.0.0.1";
export const DEFAULT_PORT = 6388;
/** Longer ones fire at once. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** How long a silent connection may be before the system asks whether its other end still exists. */
const KEEP_ALIVE_MS = 15_000;

export interface Endpoint {
  host: string;
  port: number;
  tls?: tls.ConnectionOptions | undefined;
  auth?: string | undefined;
  connectTimeoutMs?: number | undefined;
}

/**
 * Opens a connection that is ready for requests. `started` is handed the socket before it is connected, so that the
 * caller can give up by destroying it.
 */
export async function connect(to: Endpoint, started?: (socket: net.Socket) => void): Promise<net.Socket> {
  const socket = await establish(to, started);
  try {
    if (to.auth) {
      await authenticate(socket, to.auth);
    }
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

function establish(to: Endpoint, started?: (socket: net.Socket) => void): Promise<net.Socket> {
  const { host, port, connectTimeoutMs = 0 } = to;
  return new Promise((resolve, reject) => {
    const socket: net.Socket = to.tls ? tls.connect({ ...to.tls, host, port }) : net.connect({ host, port });
    // Without a listener an error that comes after the last request would end the process.
    socket.on("error", () => {});
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);

    let deadline: NodeJS.Timeout | undefined;
    const settle = (): void => {
      clearTimeout(deadline);
      socket.off("error", fail);
      socket.off("close", closed);
      socket.off(readyEvent, ready);
    };
    const fail = (error: Error): void => {
      settle();
      socket.destroy();
      reject(error);
    };
    const closed = (): void => fail(closedByServer());
    const ready = (): void => {
      settle();
      resolve(socket);
    };
    const readyEvent = to.tls ? "secureConnect" : "connect";
    socket.on("error", fail);
    socket.on("close", closed);
    socket.on(readyEvent, ready);
    if (connectTimeoutMs > 0) {
      deadline = setTimeout(
        () => fail(new LockError(`connect timed out after ${connectTimeoutMs}ms to ${host}:${port}`)),
        Math.min(LONGEST_TIMER_MS, connectTimeoutMs),
      );
    }
    started?.(socket);
  });
}

async function authenticate(socket: net.Socket, secret: string): Promise<void> {
  const reply = await exchange(socket, authRequest(secret));
  if (reply === "error_auth") {
    throw new AuthError();
  }
  if (reply !== "ok") {
    throw new LockError(`auth failed: '${reply}'`);
  }
}
