import { connect } from "node:net";
import type { ControllerFile } from "../agent/link.ts";
import { type ClientMessage, encodeLine, LineDecoder } from "../wire/index.ts";

/**
 * Sends one command to the controller of a run and returns its answer; nothing when it hears no more, because it is on its way out. Rejects
 * when it is there and does not answer.
 */
export function askController(at: ControllerFile, what: ClientMessage["do"]): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const decoder = new LineDecoder();
    const socket = connect({ host: at.host, port: at.port });
    socket.setTimeout(10_000, () => socket.destroy(new Error("the controller does not answer")));
    socket.on("connect", () =>
      socket.write(encodeLine({ kind: "client", token: at.token, do: what } satisfies ClientMessage)),
    );
    socket.on("data", (chunk) => {
      for (const value of decoder.push(chunk)) resolve(value);
    });
    socket.on("error", (cause: NodeJS.ErrnoException) => {
      if (cause.code === "ECONNREFUSED" || cause.code === "ECONNRESET") resolve(undefined);
      else reject(cause);
    });
    socket.on("close", () => resolve(undefined));
  });
}
