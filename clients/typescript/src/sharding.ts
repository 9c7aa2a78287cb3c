// Which server a key belongs to. Every client in every language has to give the same answer.
import { LockError } from "./errors.js";

/** Chooses the server of a key: an integer from 0 up to, not including, `numServers`. */
export type ShardingStrategy = (key: string, numServers: number) => number;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) {
    value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  }
  return value >>> 0;
});

function crc32(bytes: Uint8Array): number {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum = (sum >>> 8) ^ (TABLE[(sum ^ byte) & 0xff] as number);
  }
  return (sum ^ 0xffffffff) >>> 0;
}

/** CRC-32 of the key's UTF-8 bytes, modulo the number of servers. */
export const stableHashShard: ShardingStrategy = (key, numServers) => {
  if (!(numServers > 0)) {
    throw new LockError("numServers must be greater than 0");
  }
  return crc32(Buffer.from(key, "utf8")) % numServers;
};
