import { connect } from "node:net";
import type { ControllerFile } from "../agent/link.ts";
import { type ClientMessage, encodeLine, LineDecoder } from "../wire/index.ts";

/** Sends one command to the controller of a run and returns its answer. Rejects when it does not answer. */
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
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("the controller closed the connection")));
  });
}
