// Starts the real server, named by DFLOCKD_BIN, on a port of its own.
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

export class RealServer {
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess, readonly port: number) {
    this.#process = process;
  }

  /** Port 0 lets the system choose; the log says which. */
  static async start(flags: string[] = [], port = 0): Promise<RealServer> {
    const program = process.env["DFLOCKD_BIN"];
    assert.ok(program, "DFLOCKD_BIN must name the dflockd program that these tests are to start");
    const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("DFLOCKD_")));
    const child = spawn(program, ["--host", "127.0.0.1", "--port", String(port), ...flags], {
      stdio: ["ignore", "ignore", "pipe"],
      env: environment,
    });
    let log = "";
    const bound = new Promise<number>((resolve, reject) => {
      child.on("error", reject);
      child.on("exit", (code) => reject(new Error(`${program} ended with ${code} before it listened:\n${log}`)));
      child.stderr?.setEncoding("utf8").on("data", (text: string) => {
        log += text;
        const found = /msg="?listening"?.*?addr="?[^\s"]*:(\d+)/.exec(log);
        if (found) {
          resolve(Number(found[1]));
        }
      });
    });
    return new RealServer(child, await bound);
  }

  get servers(): Array<[string, number]> {
    return [["127.0.0.1", this.port]];
  }

  async kill(): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      this.#process.kill("SIGKILL");
      await once(this.#process, "exit");
    }
  }
}

export interface Certificate {
  certPath: string;
  keyPath: string;
}

/**
 * A certificate for 127.0.0.1 and localhost that signs itself, and its key. They were made once, with
 * `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj /CN=localhost
 * -addext subjectAltName=IP:127.0.0.1,DNS:localhost -addext basicConstraints=critical,CA:FALSE`, for these tests only.
 */
export function selfSigned(name: "server" | "foreign"): Certificate {
  // The compiled tests lie beside the folder of their sources.
  const path = (file: string): string => fileURLToPath(new URL(`../test/fixtures/${name}-${file}.pem`, import.meta.url));
  return { certPath: path("cert"), keyPath: path("key") };
}
