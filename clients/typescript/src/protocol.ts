// The words of the protocol: what may be sent, how a request is spelled, and what a reply says. No I/O.
import { AcquireTimeoutError, LockError } from "./errors.js";

/** The server closes a connection that sends a longer line. */
const MAX_LINE_BYTES = 256;

/** What a grant without a usable lease figure is taken to last, in seconds. */
const ASSUMED_LEASE_S = 30;

export interface Grant {
  token: string;
  lease: number;
}

export type Enqueued =
  | { status: "acquired"; token: string; lease: number }
  | { status: "queued"; token: null; lease: null };

export function checkCharacters(what: string, text: string): void {
  if (/[\0\n\r]/.test(text)) {
    throw new LockError(`${what} must not contain NUL, newline, or carriage return characters`);
  }
}

export function checkText(what: string, text: string): void {
  if (text === "") {
    throw new LockError(`${what} must not be empty`);
  }
  checkCharacters(what, text);
}

function checkInteger(name: string, value: number, least: number): void {
  if (!Number.isInteger(value) || value < least) {
    throw new LockError(`${name} must be an integer >= ${least}`);
  }
}

export const checkAcquireTimeout = (value: number): void => checkInteger("acquireTimeoutS", value, 0);
export const checkWaitTimeout = (value: number): void => checkInteger("waitTimeoutS", value, 0);
export const checkLimit = (value: number): void => checkInteger("limit", value, 1);
export const checkLease = (value: number | undefined): void => {
  if (value !== undefined) {
    checkInteger("leaseTtlS", value, 1);
  }
};

function checkLength(what: string, text: string): void {
  const bytes = Buffer.byteLength(text, "utf8");
  if (bytes > MAX_LINE_BYTES) {
    throw new LockError(`${what} must be at most ${MAX_LINE_BYTES} bytes long (got ${bytes})`);
  }
}

/** Three lines for the commands on a key. Too long a line is refused here, as the server would hang up on it. */
export function keyRequest(command: string, key: string, ...fields: Array<string | number | undefined>): string {
  checkText("key", key);
  checkLength("key", key);
  const argument = fields
    .filter((field) => field !== undefined)
    .map((field) => decimal(field))
    .join(" ");
  checkLength("argument", argument);
  return `${command}\n${key}\n${argument}\n`;
}

export function tokenRequest(command: string, key: string, token: string, leaseTtlS?: number): string {
  checkText("key", key);
  checkText("token", token);
  checkLease(leaseTtlS);
  return keyRequest(command, key, token, leaseTtlS);
}

export function authRequest(secret: string): string {
  checkCharacters("auth token", secret);
  checkLength("auth token", secret);
  return `auth\n_\n${secret}\n`;
}

/** Integers from 1e21 on would print with an exponent, which the server does not read as a number. */
function decimal(field: string | number): string {
  return typeof field === "number" ? BigInt(field).toString() : field;
}

export function failed(label: string, reply: string): LockError {
  return new LockError(`${label} failed: '${reply}'`);
}

function seconds(text: string | undefined, otherwise: number): number {
  return text !== undefined && /^\+?\d+$/.test(text) ? Number(text) : otherwise;
}

function grantFields(label: string, reply: string): Grant {
  const [, token, lease] = reply.split(" ");
  if (!token) {
    throw new LockError(`${label}: server returned no token: '${reply}'`);
  }
  return { token, lease: seconds(lease, ASSUMED_LEASE_S) };
}

const saysWord = (reply: string, word: string): boolean => reply === word || reply.startsWith(`${word} `);

export function readGrant(label: string, key: string, reply: string): Grant {
  if (reply === "timeout") {
    throw new AcquireTimeoutError(key);
  }
  if (!saysWord(reply, "ok")) {
    throw failed(label, reply);
  }
  return grantFields(label, reply);
}

export function readEnqueued(label: string, reply: string): Enqueued {
  if (reply === "queued") {
    return { status: "queued", token: null, lease: null };
  }
  if (!saysWord(reply, "acquired")) {
    throw failed(label, reply);
  }
  return { status: "acquired", ...grantFields(label, reply) };
}

export function readRenewed(label: string, reply: string, leaseTtlS: number | undefined): number {
  if (!saysWord(reply, "ok")) {
    throw failed(label, reply);
  }
  return seconds(reply.split(" ")[1], leaseTtlS ?? ASSUMED_LEASE_S);
}

export function readOk(label: string, reply: string): void {
  if (reply !== "ok") {
    throw failed(label, reply);
  }
}

export function readDeliveries(reply: string): number {
  if (!saysWord(reply, "ok")) {
    throw failed("signal", reply);
  }
  const count = reply.slice("ok ".length);
  if (!/^\d+$/.test(count)) {
    throw new LockError(`signal: bad delivery count: '${reply}'`);
  }
  return Number(count);
}

export function signalRequest(channel: string, payload: string): string {
  checkText("channel", channel);
  checkText("payload", payload);
  return `signal\n${channel}\n${payload}\n`;
}

export function listenRequest(command: "listen" | "unlisten", pattern: string, group: string): string {
  checkText("pattern", pattern);
  checkCharacters("group", group);
  return `${command}\n${pattern}\n${group}\n`;
}
