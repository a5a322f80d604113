import { formatBytes, type Text } from "../../base/index.ts";
import type { LinkTimes } from "../wire/index.ts";

/** What each link class took of the all-to-all and how fast it was, as one line. A class that no row takes is "–". */
export function linkLine({ step, allToAllSeconds, seconds, bytes }: LinkTimes): Text {
  const share = (part: number) => `${((100 * part) / allToAllSeconds).toFixed(0)} %`;
  const on = (link: "rank" | "node" | "network"): Text => {
    if (bytes[link] === 0 || seconds[link] === 0) return { en: "–", zh: "–" };
    const rate = `${formatBytes(bytes[link] / seconds[link])}/s`;
    return { en: `${share(seconds[link])} at ${rate}`, zh: `${share(seconds[link])}（${rate}）` };
  };
  const [rank, node, network] = [on("rank"), on("node"), on("network")];
  const rest = share(allToAllSeconds - seconds.rank - seconds.node - seconds.network);
  return {
    en: `all-to-all link by link, step ${step}: own rank ${rank.en}, inside a node ${node.en}, network ${network.en}, waiting for other ranks and sorting rows ${rest}`,
    zh: `第 ${step} 步 all-to-all 依鏈路計時：本進程 ${rank.zh}，節點內 ${node.zh}，網路 ${network.zh}，等候其他進程與整理行 ${rest}`,
  };
}
