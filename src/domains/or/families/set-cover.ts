import { type Row, term } from "../lp.ts";
import { type Family, names, pair, size } from "../teller.ts";

const SCENES = [
  {
    sites: pair("station", "消防站"),
    areas: {
      en: ["Old Town", "Hillside", "Riverbank", "Airport", "Campus"],
      zh: ["老城", "山坡", "河岸", "機場", "校園"],
    },
    verb: { en: "reach", zh: "可到" },
  },
  {
    sites: pair("antenna", "天線"),
    areas: {
      en: ["Forest", "Village", "Beach", "Highway", "Island"],
      zh: ["森林", "村莊", "海灘", "公路", "島嶼"],
    },
    verb: { en: "cover", zh: "可覆蓋" },
  },
  {
    sites: pair("supplier", "供應商"),
    areas: {
      en: ["bolts", "cables", "screens", "sensors", "wheels"],
      zh: ["螺栓", "電纜", "螢幕", "感測器", "輪子"],
    },
    verb: { en: "offer", zh: "可供應" },
  },
] as const;

/** The cheapest choice of sites such that every area is covered. */
export const setCover: Family = {
  name: "set-cover",
  title: { en: "set cover", zh: "集合覆蓋" },
  generate(teller, difficulty) {
    const { random, language } = teller;
    const scene = random.pick(SCENES);
    const n = size(random, difficulty, [
      [3, 3],
      [4, 5],
      [5, 7],
    ]);
    const m = size(random, difficulty, [
      [2, 2],
      [3, 3],
      [4, 4],
    ]);
    const areas = teller.some(scene.areas[language], m);
    const cost = teller.numbers(n, 2, difficulty === 1 ? 20 : 90);
    const all = Array.from({ length: n }, (_unused, i) => i + 1);
    const covers = areas.map(() =>
      random
        .shuffle(all)
        .slice(0, random.int(2, Math.min(n, 3)))
        .sort((a, b) => a - b),
    );
    const x = names("x", n);
    const sites = teller.in(scene.sites);
    const intro = teller.tell(
      {
        en: [
          "Choose among {n} {sites} sites.",
          "There are {n} possible {sites} sites.",
          "{n} {sites} sites can be used.",
        ],
        zh: ["從{n}個{sites}中選擇。", "有{n}個可選的{sites}。", "可用的{sites}有{n}個。"],
      },
      { n: teller.count(n), sites },
    );
    const costs = teller.tell(
      {
        en: [
          "Their costs are {list} in order.",
          "Costs, from site 1 on: {list}.",
          "Using them costs {list} respectively.",
        ],
        zh: ["費用依次為{list}。", "從1號起，費用為{list}。", "使用費依次是{list}。"],
      },
      { list: teller.list(cost.map(String)) },
    );
    const frame = teller.frame(
      {
        en: ["Sites {list} {verb} {area}.", "{area}: sites {list}.", "For {area} there are sites {list}."],
        zh: ["{list}號{verb}{area}。", "{area}：{list}號。", "{area}由{list}號負責。"],
      }[language],
    );
    const body = areas.map((area, k) =>
      teller.tell(
        { en: [frame], zh: [frame] },
        { area, verb: scene.verb[language], list: teller.list((covers[k] ?? []).map(String)) },
      ),
    );
    const ask = teller.tell({
      en: [
        "Each must be covered at least once. Minimize the cost.",
        "Cover all of them at the least cost.",
        "Which sites cover everything most cheaply?",
      ],
      zh: ["每項至少覆蓋一次，求最低費用。", "以最低費用覆蓋全部。", "選哪些最省且全部覆蓋？"],
    });
    return {
      problem: teller.text([intro, costs, ...body, ask]),
      model: {
        sense: "min",
        objective: cost.map((c, i) => term(x[i] as string, c)),
        rows: covers.map(
          (set): Row => ({ terms: set.map((i) => term(x[i - 1] as string)), relation: ">=", bound: 1 }),
        ),
        integers: [],
        binaries: x,
      },
      parameters: { cost, covers },
      wording: teller.wording,
      labels: [n, ...all],
    };
  },
};
