import { type Row, term } from "../lp.ts";
import { cell, type Family, pair, size } from "../teller.ts";

const SCENES = [
  {
    goods: pair("coal", "煤"),
    from: { en: ["North", "South", "East"], zh: ["北廠", "南廠", "東廠"] },
    to: { en: ["Harbor", "Valley", "Ridge", "Lake"], zh: ["港口", "山谷", "山脊", "湖區"] },
  },
  {
    goods: pair("milk", "牛奶"),
    from: { en: ["Dairy A", "Dairy B", "Dairy C"], zh: ["甲牧場", "乙牧場", "丙牧場"] },
    to: { en: ["Market", "School", "Hotel", "Clinic"], zh: ["市場", "學校", "飯店", "診所"] },
  },
  {
    goods: pair("cement", "水泥"),
    from: { en: ["Red Mill", "Blue Mill", "Old Mill"], zh: ["紅廠", "藍廠", "老廠"] },
    to: { en: ["Bridge", "Tower", "Tunnel", "Dam"], zh: ["橋樑", "大樓", "隧道", "水壩"] },
  },
] as const;

/** The cheapest shipments from supplies to demands. */
export const transportation: Family = {
  name: "transportation",
  title: { en: "transportation", zh: "運輸" },
  generate(teller, difficulty) {
    const { random, language } = teller;
    const scene = random.pick(SCENES);
    const m = size(random, difficulty, [
      [2, 2],
      [2, 2],
      [2, 3],
    ]);
    const n = size(random, difficulty, [
      [2, 2],
      [3, 3],
      [3, 4],
    ]);
    const from = teller.some(scene.from[language], m);
    const to = teller.some(scene.to[language], n);
    const cost = from.map(() => teller.numbers(n, 1, difficulty === 1 ? 9 : 30));
    const demand = to.map(
      () => random.int(2, 12) * (difficulty === 1 ? 5 : 1) + (difficulty === 1 ? 0 : random.int(0, 20)),
    );
    const total = demand.reduce((sum, each) => sum + each, 0);
    const share = from.map(() => 0.5 + random.next());
    const shares = share.reduce((sum, each) => sum + each, 0);
    const supply = share.map((each) => Math.ceil((total * each * (1.05 + 0.3 * random.next())) / shares));
    const intro = teller.tell(
      {
        en: [
          "{goods} goes from {from} to {to}.",
          "Ship {goods} from {from} to {to}.",
          "{from} send {goods} to {to}.",
        ],
        zh: ["{goods}從{from}運往{to}。", "把{goods}由{from}送到{to}。", "{from}向{to}供應{goods}。"],
      },
      { goods: teller.in(scene.goods), from: teller.list(from), to: teller.list(to) },
    );
    const frame = teller.frame(
      {
        en: [
          "Cost from {place}: {series}.",
          "From {place} a unit costs {series}.",
          "{place} ships at {series}.",
        ],
        zh: ["從{place}的運費：{series}。", "由{place}每單位運費{series}。", "{place}的單位運費為{series}。"],
      }[language],
    );
    const costs = from.map((place, i) =>
      teller.tell({ en: [frame], zh: [frame] }, { place, series: teller.series(to, cost[i] ?? []) }),
    );
    const supplies = teller.tell(
      {
        en: ["Supply: {series}.", "On hand: {series}.", "At most this can be sent: {series}."],
        zh: ["供應：{series}。", "庫存：{series}。", "最多可運出：{series}。"],
      },
      { series: teller.series(from, supply) },
    );
    const demands = teller.tell(
      {
        en: ["Demand: {series}.", "Needed: {series}.", "At least this must arrive: {series}."],
        zh: ["需求：{series}。", "需要：{series}。", "至少要送達：{series}。"],
      },
      { series: teller.series(to, demand) },
    );
    const ask = teller.tell({
      en: ["Minimize the cost.", "Find the cheapest shipments.", "Which shipments cost least?"],
      zh: ["求最低運費。", "找出最便宜的運法。", "怎樣運最省？"],
    });
    const rows: Row[] = [
      ...from.map(
        (_place, i): Row => ({
          terms: to.map((_to, j) => term(cell("x", i, j))),
          relation: "<=",
          bound: supply[i] as number,
        }),
      ),
      ...to.map(
        (_place, j): Row => ({
          terms: from.map((_from, i) => term(cell("x", i, j))),
          relation: ">=",
          bound: demand[j] as number,
        }),
      ),
    ];
    return {
      problem: teller.text([intro, ...costs, supplies, demands, ask]),
      model: {
        sense: "min",
        objective: cost.flatMap((row, i) => row.map((c, j) => term(cell("x", i, j), c))),
        rows,
        integers: [],
        binaries: [],
      },
      parameters: { cost, supply, demand },
      wording: teller.wording,
      labels: [],
    };
  },
};
