import { minus, type Row, term } from "../lp.ts";
import { cell, type Family, names, pair, size } from "../teller.ts";

const SCENES = [
  {
    what: pair("depots", "倉庫"),
    sites: { en: ["Ash", "Birch", "Cedar"], zh: ["甲地", "乙地", "丙地"] },
    shops: { en: ["Kent", "Lund", "Mora", "Nice"], zh: ["東店", "西店", "南店", "北店"] },
  },
  {
    what: pair("clinics", "診所"),
    sites: { en: ["Dale", "Elm", "Fern"], zh: ["一號址", "二號址", "三號址"] },
    shops: { en: ["Upton", "Vale", "Wick", "York"], zh: ["東村", "西村", "南村", "北村"] },
  },
  {
    what: pair("hubs", "轉運站"),
    sites: { en: ["Gate", "Hill", "Isle"], zh: ["門址", "山址", "島址"] },
    shops: { en: ["Oslo", "Pisa", "Rome", "Sofia"], zh: ["東市", "西市", "南市", "北市"] },
  },
] as const;

/** Which sites to open, and how much each ships where. */
export const facilityLocation: Family = {
  name: "facility-location",
  title: { en: "facility location", zh: "設施選址" },
  generate(teller, difficulty) {
    const { random, language } = teller;
    const scene = random.pick(SCENES);
    const m = size(random, difficulty, [
      [2, 2],
      [2, 2],
      [3, 3],
    ]);
    const n = size(random, difficulty, [
      [1, 1],
      [2, 2],
      [2, 3],
    ]);
    const sites = teller.some(scene.sites[language], m);
    const shops = teller.some(scene.shops[language], n);
    const open = Array.from({ length: m }, () => random.int(4, 30) * 5);
    const cost = sites.map(() => teller.numbers(n, 1, 9));
    const demand = Array.from({ length: n }, () => random.int(2, 10) * 5);
    const total = demand.reduce((sum, each) => sum + each, 0);
    const capacity = sites.map(() => Math.ceil((total * (0.55 + 0.8 * random.next())) / 5) * 5);
    const y = names("y", m);
    const intro = teller.tell(
      {
        en: [
          "{what} can be opened at {sites} to serve {shops}.",
          "{sites} are sites for {what}; {shops} must be served.",
          "To serve {shops}, {what} may open at {sites}.",
        ],
        zh: [
          "可在{sites}開設{what}，服務{shops}。",
          "{sites}可設{what}，須供應{shops}。",
          "為服務{shops}，可於{sites}設{what}。",
        ],
      },
      { what: teller.in(scene.what), sites: teller.list(sites), shops: teller.list(shops) },
    );
    const fixed = teller.tell(
      {
        en: ["Opening costs: {series}.", "To open costs {series}.", "The opening cost is {series}."],
        zh: ["開設費：{series}。", "開設要花{series}。", "開設成本為{series}。"],
      },
      { series: teller.series(sites, open) },
    );
    const frame = teller.frame(
      {
        en: [
          "From {site} a unit costs {series}.",
          "Unit cost from {site}: {series}.",
          "{site} ships at {series}.",
        ],
        zh: ["從{site}每單位運費{series}。", "{site}的單位運費：{series}。", "由{site}運送花{series}。"],
      }[language],
    );
    const costs = sites.map((site, i) =>
      teller.tell({ en: [frame], zh: [frame] }, { site, series: teller.series(shops, cost[i] ?? [], n > 1) }),
    );
    const wants = teller.tell(
      {
        en: ["Demand: {series}.", "The demand is {series}.", "Needed: {series}."],
        zh: ["需求：{series}。", "需求為{series}。", "需要：{series}。"],
      },
      { series: teller.series(shops, demand, n > 1) },
    );
    const limits = teller.tell(
      {
        en: ["Capacity: {series}.", "The capacity is {series}.", "An open site can ship {series}."],
        zh: ["容量：{series}。", "容量為{series}。", "開設後可供應{series}。"],
      },
      { series: teller.series(sites, capacity) },
    );
    const ask = teller.tell({
      en: ["Minimize the total cost.", "Find the cheapest choice.", "Which sites should open at least cost?"],
      zh: ["求最低總成本。", "找出最便宜的方案。", "開設哪些最省？"],
    });
    const rows: Row[] = [
      ...shops.map(
        (_shop, j): Row => ({
          terms: sites.map((_site, i) => term(cell("x", i, j))),
          relation: ">=",
          bound: demand[j] as number,
        }),
      ),
      ...sites.map(
        (_site, i): Row => ({
          terms: [
            ...shops.map((_shop, j) => term(cell("x", i, j))),
            minus(y[i] as string, capacity[i] as number),
          ],
          relation: "<=",
          bound: 0,
        }),
      ),
    ];
    return {
      problem: teller.text([intro, fixed, ...costs, wants, limits, ask]),
      model: {
        sense: "min",
        objective: [
          ...open.map((c, i) => term(y[i] as string, c)),
          ...cost.flatMap((row, i) => row.map((c, j) => term(cell("x", i, j), c))),
        ],
        rows,
        integers: [],
        binaries: y,
      },
      parameters: { open, cost, demand, capacity },
      wording: teller.wording,
      labels: [],
    };
  },
};
