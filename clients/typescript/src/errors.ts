// The errors that this package raises itself. Errors of the operating system and of TLS pass through unwrapped.

/** Anything that went wrong between this client and a lock daemon. */
export class LockError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "LockError";
  }
}

/** The key was not granted within the time asked for. */
export class AcquireTimeoutError extends LockError {
  constructor(key: string) {
    super(`timeout acquiring '${key}'`);
    this.name = "AcquireTimeoutError";
  }
}

/** The server refused the secret. */
export class AuthError extends LockError {
  constructor() {
    super("authentication failed");
    this.name = "AuthError";
  }
}
