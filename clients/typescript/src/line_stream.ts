// The lines that arrive on a socket, in order, with everything that can end them.
import type { Socket } from "node:net";
import { StringDecoder } from "node:string_decoder";
import { LockError } from "./errors.js";

const MAX_LINE_CHARACTERS = 1_048_576;

interface Reader {
  resolve(line: string): void;
  reject(error: unknown): void;
}

/** One per socket, kept with it, so that bytes behind a reply are there for the next call. */
export class LineStream {
  readonly #socket: Socket;
  readonly #decoder = new StringDecoder("utf8");
  readonly #lines: string[] = [];
  #pendingCharacters = 0;
  #partial: string[] = [];
  #partialCharacters = 0;
  readonly #readers: Reader[] = [];
  #consumer: ((line: string) => void) | null = null;
  #limit = MAX_LINE_CHARACTERS;
  #limitMessage = "server response exceeded maximum line length";
  #end: Error | null = null;
  readonly #onEnd: Array<(error: Error) => void> = [];

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer | string) => this.#take(chunk));
    socket.on("error", (error) => this.#finish(error));
    socket.on("end", () => this.#finish(closedByServer()));
    socket.on("close", () => this.#finish(closedByServer()));
    if (socket.destroyed || socket.readableEnded) {
      this.#finish(closedByServer());
    }
  }

  /** The next line, without its LF and without one CR before it. Calls are answered in order. */
  next(): Promise<string> {
    const line = this.#lines.shift();
    if (line !== undefined) {
      this.#pendingCharacters -= line.length;
      this.#resume();
      return Promise.resolve(line);
    }
    if (this.#end !== null || this.#socket.destroyed) {
      return Promise.reject(this.#end ?? closedByServer());
    }
    return new Promise((resolve, reject) => {
      this.#readers.push({ resolve, reject });
    });
  }

  /** From now on every line goes to `consumer`; the lines that are already here go first. */
  consume(consumer: (line: string) => void, limit: number, limitMessage: string): void {
    this.#limit = limit;
    this.#limitMessage = limitMessage;
    this.#consumer = consumer;
    for (const line of this.#lines.splice(0)) {
      consumer(line);
    }
    this.#pendingCharacters = 0;
    this.#resume();
  }

  /** Calls `listener` once when no more lines can come, at once if that is so already. */
  whenEnded(listener: (error: Error) => void): void {
    if (this.#end !== null) {
      listener(this.#end);
    } else {
      this.#onEnd.push(listener);
    }
  }

  get ended(): Error | null {
    return this.#end;
  }

  #resume(): void {
    if (this.#end === null && this.#socket.isPaused()) {
      this.#socket.resume();
    }
  }

  #take(chunk: Buffer | string): void {
    if (this.#end !== null) {
      return;
    }
    let text = typeof chunk === "string" ? chunk : this.#decoder.write(chunk);
    for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n")) {
      this.#partial.push(text.slice(0, at));
      const line = this.#partial.join("");
      this.#partial = [];
      this.#partialCharacters = 0;
      text = text.slice(at + 1);
      if (line.length > this.#limit) {
        this.#tooLong();
        return;
      }
      this.#deliver(line.endsWith("\r") ? line.slice(0, -1) : line);
    }
    if (text !== "") {
      this.#partial.push(text);
      this.#partialCharacters += text.length;
      if (this.#partialCharacters > this.#limit) {
        this.#tooLong();
      }
    }
  }

  #deliver(line: string): void {
    if (this.#consumer !== null) {
      this.#consumer(line);
      return;
    }
    const reader = this.#readers.shift();
    if (reader !== undefined) {
      reader.resolve(line);
    } else {
      this.#lines.push(line);
      this.#pendingCharacters += line.length;
      // Nobody asked for these lines; a server that keeps talking must not fill our memory.
      if (this.#pendingCharacters > this.#limit) {
        this.#socket.pause();
      }
    }
  }

  #tooLong(): void {
    this.#partial = [];
    const error = new LockError(this.#limitMessage);
    this.#finish(error);
    // What follows on this socket cannot be told apart from the rest of that line.
    this.#socket.destroy();
  }

  #finish(error: Error): void {
    if (this.#end !== null) {
      return;
    }
    this.#end = error;
    for (const reader of this.#readers.splice(0)) {
      reader.reject(error);
    }
    for (const listener of this.#onEnd.splice(0)) {
      listener(error);
    }
  }
}

const streams = new WeakMap<Socket, LineStream>();

export function linesOf(socket: Socket): LineStream {
  let stream = streams.get(socket);
  if (stream === undefined) {
    stream = new LineStream(socket);
    streams.set(socket, stream);
  }
  return stream;
}

export function closedByServer(): LockError {
  return new LockError("server closed connection");
}

/** Hands the whole text to the socket in one write. */
export function send(socket: Socket, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(text, "utf8", (error) => (error ? reject(error) : resolve()));
  });
}

/** Sends one request and gives back the line that answers it. */
export async function exchange(socket: Socket, request: string): Promise<string> {
  const lines = linesOf(socket);
  if (socket.destroyed || socket.readableEnded || !socket.writable) {
    throw lines.ended ?? closedByServer();
  }
  // Asked for before the request is out: a server that answers and hangs up at once is still heard.
  const reply = lines.next();
  reply.catch(() => {});
  await send(socket, request);
  return reply;
}
