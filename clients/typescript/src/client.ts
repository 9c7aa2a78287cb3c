// The package's exports, and nothing else.
export { AcquireTimeoutError, AuthError, LockError } from "./errors.js";
export { DistributedLock, type DistributedLockOptions } from "./lock.js";
export { DistributedSemaphore, type DistributedSemaphoreOptions } from "./semaphore.js";
export {
  acquire,
  enqueue,
  publish,
  release,
  renew,
  semAcquire,
  semEnqueue,
  semRelease,
  semRenew,
  semWaitForLock,
  waitForLock,
} from "./low_level.js";
export { stableHashShard, type ShardingStrategy } from "./sharding.js";
export { SignalConnection, type Signal, type SignalConnectionOptions } from "./signals.js";
export {
  stats,
  type Stats,
  type StatsIdleLock,
  type StatsIdleSemaphore,
  type StatsLock,
  type StatsSemaphore,
} from "./stats.js";
