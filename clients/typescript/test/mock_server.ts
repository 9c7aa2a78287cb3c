// A scripted server inside the test: it records requests of three lines and answers what the script says.
import { once } from "node:events";
import * as net from "node:net";

export type Script = (request: string, connection: Connection) => string | null | void;

export class Connection {
  bytes = "";
  closed = false;
  constructor(readonly socket: net.Socket) {}
  write(text: string | Buffer): void {
    this.socket.write(text);
  }
}

export class MockServer {
  readonly requests: string[] = [];
  readonly times: number[] = [];
  readonly connections: Connection[] = [];
  readonly #server: net.Server;
  readonly #waiting: Array<() => void> = [];

  private constructor(script: Script) {
    this.#server = net.createServer((socket) => this.#serve(new Connection(socket), script));
  }

  static async start(script: Script): Promise<MockServer> {
    const server = new MockServer(script);
    server.#server.listen(0, "127.0.0.1");
    await once(server.#server, "listening");
    return server;
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port;
  }

  get servers(): Array<[string, number]> {
    return [["127.0.0.1", this.port]];
  }

  /** A connected socket for the low-level functions. */
  async dial(): Promise<net.Socket> {
    const socket = net.connect(this.port, "127.0.0.1");
    socket.on("error", () => {});
    await once(socket, "connect");
    return socket;
  }

  /** Resolves when `holds` is true; it is asked again after everything that happens on the server. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  async stop(): Promise<void> {
    for (const { socket } of this.connections) {
      socket.destroy();
    }
    this.#server.close();
    await once(this.#server, "close");
  }

  #changed(): void {
    for (const wake of this.#waiting.splice(0)) {
      wake();
    }
  }

  #serve(connection: Connection, script: Script): void {
    this.connections.push(connection);
    const { socket } = connection;
    let rest = "";
    socket.on("error", () => {});
    socket.on("close", () => {
      connection.closed = true;
      this.#changed();
    });
    socket.on("data", (chunk) => {
      connection.bytes += chunk.toString("utf8");
      rest += chunk.toString("utf8");
      for (let match = /^([^\n]*\n){3}/.exec(rest); match !== null; match = /^([^\n]*\n){3}/.exec(rest)) {
        const request = match[0];
        rest = rest.slice(request.length);
        this.requests.push(request);
        this.times.push(performance.now());
        const reply = script(request, connection);
        if (reply) {
          connection.write(reply);
        }
      }
      this.#changed();
    });
    this.#changed();
  }
}

/** A script that gives these answers one after the other, then none. */
export function answers(...replies: Array<string | null>): Script {
  return () => replies.shift() ?? null;
}
