import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { readControllerFile } from "../agent/link.ts";
import { paths } from "../paths.ts";
import { type AgentMessage, encodeLine, LineDecoder } from "../wire/index.ts";
import { Hub } from "./hub.ts";

const folder = mkdtempSync(join(tmpdir(), "tessera-hub-"));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("an agent is welcomed before the first order, though its join brings one at once", async () => {
  const hub = await Hub.open(folder, 7);
  const at = readControllerFile(paths(folder).controller);
  if (!at) throw new Error("no address");
  hub.attach({
    joined: ({ agent }) => hub.send(agent, { kind: "master", attempt: 1 }),
    message: () => undefined,
    left: () => undefined,
    client: () => undefined,
  });
  const socket = connect(at.port, at.host);
  const join: AgentMessage = {
    kind: "join",
    token: at.token,
    agent: "0",
    instance: 1,
    pid: 1,
    host: "h",
    attempt: 0,
    ranks: [],
    zygote: true,
  };
  socket.write(encodeLine(join));
  const decoder = new LineDecoder();
  const heard: unknown[] = [];
  for await (const chunk of socket) {
    heard.push(...decoder.push(chunk as Buffer));
    if (heard.length === 2) break;
  }
  expect(heard).toEqual([
    { kind: "welcome", epoch: 7 },
    { kind: "master", attempt: 1 },
  ]);
  await hub.close();
});
