import { type Row, term } from "../lp.ts";
import { type Family, names, pair, size } from "../teller.ts";

const SCENES = [
  {
    stock: pair("steel bars", "鋼條"),
    pieces: { en: ["long rods", "short rods", "pins", "hooks"], zh: ["長桿", "短桿", "銷子", "掛鉤"] },
  },
  {
    stock: pair("paper rolls", "紙卷"),
    pieces: { en: ["wide strips", "narrow strips", "labels", "tapes"], zh: ["寬條", "窄條", "標籤", "紙帶"] },
  },
  {
    stock: pair("timber beams", "木樑"),
    pieces: { en: ["posts", "planks", "slats", "pegs"], zh: ["柱子", "木板", "板條", "木釘"] },
  },
  {
    stock: pair("glass sheets", "玻璃板"),
    pieces: { en: ["doors", "windows", "mirrors", "tiles"], zh: ["門板", "窗片", "鏡面", "方磚"] },
  },
] as const;

/** How often to cut each pattern so that enough of every piece comes out of the fewest sheets. */
export const cuttingStock: Family = {
  name: "cutting-stock",
  title: { en: "cutting stock", zh: "下料" },
  generate(teller, difficulty) {
    const { random, language } = teller;
    const scene = random.pick(SCENES);
    const n = size(random, difficulty, [
      [2, 2],
      [3, 3],
      [3, 5],
    ]);
    const m = size(random, difficulty, [
      [2, 2],
      [2, 2],
      [3, 3],
    ]);
    const pieces = teller.some(scene.pieces[language], m);
    const yields = pieces.map(() => teller.numbers(n, 1, difficulty === 1 ? 6 : 9));
    const demand = pieces.map(() => random.int(4, 30) * (difficulty === 1 ? 2 : 5));
    const x = names("x", n);
    const labels = Array.from({ length: n }, (_unused, i) => i + 1);
    const stock = teller.in(scene.stock);
    const intro = teller.tell(
      {
        en: [
          "{stock} are cut by {n} patterns into {pieces}.",
          "There are {n} ways to cut {stock} into {pieces}.",
          "{n} cutting patterns turn {stock} into {pieces}.",
          "A mill has {n} patterns to make {pieces} from {stock}.",
        ],
        zh: [
          "{stock}按{n}種方式切成{pieces}。",
          "把{stock}切成{pieces}有{n}種切法。",
          "{n}種切法可把{stock}切成{pieces}。",
          "工廠有{n}種方式由{stock}裁出{pieces}。",
        ],
      },
      { stock, n: teller.count(n), pieces: teller.list(pieces) },
    );
    const frame = teller.frame(
      {
        en: [
          "The patterns give {list} {piece}, and {demand} are needed.",
          "{piece}: {list} by pattern; at least {demand}.",
          "For {piece} the patterns yield {list}, with a demand of {demand}.",
          "{piece} come at {list}, and {demand} or more are wanted.",
        ],
        zh: [
          "各切法得{piece}{list}，需要{demand}。",
          "{piece}：各切法{list}；至少{demand}。",
          "{piece}依切法產出{list}，需求{demand}。",
          "每次可得{piece}{list}，要{demand}以上。",
        ],
      }[language],
    );
    const body = pieces.map((piece, k) =>
      teller.tell(
        { en: [frame], zh: [frame] },
        { piece, list: teller.list((yields[k] ?? []).map(String)), demand: demand[k] as number },
      ),
    );
    const ask = teller.tell(
      {
        en: [
          "Use as few {stock} as possible.",
          "Minimize the number of {stock}.",
          "What is the smallest number of {stock}?",
          "Find the least number of {stock} to cut.",
        ],
        zh: [
          "用最少的{stock}。",
          "求{stock}數量最少。",
          "最少要多少{stock}？",
          "不浪費{stock}，求最小用量。",
        ],
      },
      { stock },
    );
    return {
      problem: teller.text([intro, ...body, ask]),
      model: {
        sense: "min",
        objective: x.map((name) => term(name)),
        rows: yields.map(
          (row, k): Row => ({
            terms: row.map((count, i) => term(x[i] as string, count)),
            relation: ">=",
            bound: demand[k] as number,
          }),
        ),
        integers: x,
        binaries: [],
      },
      parameters: { yields, demand },
      wording: teller.wording,
      labels: [n, ...labels],
    };
  },
};
