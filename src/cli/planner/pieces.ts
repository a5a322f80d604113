import { catalog, EXIT, formatBytes, formatCount, type Lang } from "../../base/index.ts";
import {
  type Held,
  heldElements,
  type Piece,
  pieceBytes,
  pieceMap,
  type Plan,
  type PlanRequest,
  type Slice,
} from "../../layout/index.ts";
import { table } from "../table.ts";

const fail = catalog({
  PLAN_RANK: {
    exit: EXIT.usage,
    message: {
      en: "--pieces takes a rank from 0 to {last}, not '{text}'",
      zh: "--pieces 須為 0 至 {last} 的進程編號，而非「{text}」",
    },
    next: { en: "the plan's ranks are counted from 0", zh: "佈局的進程由 0 起算" },
  },
});

/** What one rank holds of every tensor: exact boxes or ranges, and bytes by category. */
export type RankPieces = ReturnType<typeof rankPieces>;

export function rankPieces({ model, constraints }: PlanRequest, { layout, training }: Plan, text: string) {
  const { engine } = constraints;
  const map = pieceMap(model, layout, training, { engine });
  const rank = Number(text);
  if (!/^\d+$/.test(text) || rank >= map.world) throw fail("PLAN_RANK", { text, last: map.world - 1 });
  const tensors = map.of(rank).map((piece: Piece) => ({
    name: piece.tensor.name,
    shape: piece.tensor.weight.shape,
    weights: held(piece.weights),
    gradients: held(piece.gradients),
    optimizer: held(piece.optimizer),
    bytes: pieceBytes(piece, training, engine),
  }));
  return { rank, world: map.world, tensors };
}

/** The boxes, neighbours along the first dimension joined, and for a flat shard its range of their elements in order. */
function held(of: Held | null) {
  if (of === null) return null;
  const boxes = joined(of.kind === "flat" ? of.of : of.slices);
  return {
    elements: heldElements(of),
    boxes,
    ...(of.kind === "flat" ? { range: [of.from, of.to] as const } : {}),
  };
}

function joined(slices: readonly Slice[]): Slice[] {
  const out: Slice[] = [];
  for (const next of slices) {
    const last = out.at(-1);
    const rest = (list: readonly number[]) => list.slice(1).join();
    const meets =
      last !== undefined &&
      (last.offset[0] as number) + (last.size[0] as number) === next.offset[0] &&
      rest(last.offset) === rest(next.offset) &&
      rest(last.size) === rest(next.size);
    if (meets) {
      out[out.length - 1] = {
        offset: last.offset,
        size: [(last.size[0] as number) + (next.size[0] as number), ...last.size.slice(1)],
      };
    } else out.push(next);
  }
  return out;
}

/** As Python writes slices: `[0:2048, 0:768]`; a flat shard adds the range of elements. */
function heldText(of: RankPieces["tensors"][number]["weights"], lang: Lang): string {
  if (of === null || of.elements === 0) return "-";
  const boxes = of.boxes
    .map(
      ({ offset, size }) => `[${size.map((n, i) => `${offset[i]}:${(offset[i] as number) + n}`).join(", ")}]`,
    )
    .join(" + ");
  const [from, to] = of.range ?? [0, 0];
  if (!of.range || to - from === of.boxes.reduce((sum, b) => sum + b.size.reduce((a, n) => a * n, 1), 0)) {
    return boxes;
  }
  return `${boxes} ${lang === "zh" ? "元素" : "elements"} ${from}:${to}`;
}

export function piecesText({ rank, world, tensors }: RankPieces, lang: Lang): string {
  const p = (en: string, zh: string) => (lang === "zh" ? zh : en);
  const rows = tensors.map(({ name, shape, weights, optimizer, bytes }) => [
    name,
    shape.join(" x "),
    heldText(weights, lang),
    heldText(optimizer, lang),
    formatBytes(bytes.weights + bytes.gradients + bytes.optimizer + bytes.buffers),
  ]);
  const all = tensors.reduce((sum, { weights }) => sum + (weights?.elements ?? 0), 0);
  return [
    p(
      `rank ${rank} of ${world}: ${tensors.length} tensors, ${formatCount(all)} elements of weights`,
      `進程 ${rank}（共 ${world}）：${tensors.length} 個張量，權重共 ${formatCount(all)} 個元素`,
    ),
    table(
      [
        { title: p("tensor", "張量") },
        { title: p("shape", "形狀") },
        { title: p("weights", "權重") },
        { title: p("optimizer state", "優化器狀態") },
        { title: p("bytes", "位元組"), align: "right" },
      ],
      rows,
    ),
  ].join("\n");
}
