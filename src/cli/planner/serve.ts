import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize, resolve } from "node:path";
import { catalog, EXIT, type ExitCode } from "../../base/index.ts";
import type { Context } from "../context.ts";

const fail = catalog({
  PLAN_PAGE: {
    exit: EXIT.environment,
    message: { en: "the planner page is not built: {path} is missing", zh: "規劃頁面尚未建置：缺少 {path}" },
    next: {
      en: "npx vite build web/planner   (in the package folder)",
      zh: "在套件資料夾執行 npx vite build web/planner",
    },
  },
});

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
};

/** A checkout has no built page yet; where vite is installed it is built on first use. */
async function buildPage(folder: string, context: Context): Promise<void> {
  try {
    const { build } = await import("vite");
    context.talk(context.lang === "zh" ? "正在建置頁面 …" : "building the page …");
    await build({ root: folder, configFile: join(folder, "vite.config.ts"), logLevel: "error" });
  } catch (cause) {
    if ((cause as { code?: string }).code !== "ERR_MODULE_NOT_FOUND") throw cause;
  }
}

/** Serves the static planner page on loopback until interrupted. The page computes by itself; nothing is sent anywhere. */
export async function servePlanner(context: Context): Promise<ExitCode> {
  const root = resolve(import.meta.dirname, "../../../web/planner/dist");
  if (!existsSync(join(root, "index.html"))) await buildPage(resolve(root, ".."), context);
  if (!existsSync(join(root, "index.html"))) throw fail("PLAN_PAGE", { path: join(root, "index.html") });
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    const file = normalize(join(root, path === "/" ? "index.html" : decodeURIComponent(path)));
    if (!file.startsWith(root) || !existsSync(file)) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
    response.end(readFileSync(file));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}/`;
  context.out(url);
  context.data({ schema: "tessera.page/v1", url });
  context.talk(context.lang === "zh" ? "按 Ctrl-C 結束" : "Ctrl-C ends it");
  await new Promise<void>((done) => {
    process.once("SIGINT", done);
    process.once("SIGTERM", done);
  });
  server.close();
  server.closeAllConnections();
  return EXIT.done;
}
