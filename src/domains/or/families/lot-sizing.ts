import { minus, type Row, term } from "../lp.ts";
import { type Family, names, pair, size } from "../teller.ts";

const SCENES = [
  { what: pair("bottles", "瓶子"), period: pair("week", "週") },
  { what: pair("tires", "輪胎"), period: pair("month", "月") },
  { what: pair("boards", "電路板"), period: pair("day", "天") },
  { what: pair("bricks", "磚塊"), period: pair("month", "月") },
] as const;

/**
 * When to produce how much: x amounts, s stock at the end of a period, y whether the machine is set up. Level 1 has no set-up: only
 * production, stock and a capacity.
 */
export const lotSizing: Family = {
  name: "lot-sizing",
  title: { en: "lot sizing", zh: "批量生產" },
  generate(teller, difficulty) {
    const { random } = teller;
    const scene = random.pick(SCENES);
    const t = size(random, difficulty, [
      [2, 2],
      [2, 3],
      [3, 4],
    ]);
    const setUp = difficulty > 1;
    const demand = Array.from({ length: t }, () => random.int(2, 12) * 5);
    const cost = teller.numbers(t, 2, 20);
    const fixed = setUp ? random.int(3, 18) * 5 : 0;
    const hold = random.int(1, 5);
    const capacity = Math.max(...demand) + random.int(0, 8) * 5;
    const x = names("x", t);
    const s = names("s", t - 1);
    const y = names("y", t);
    const period = teller.in(scene.period);
    const intro = teller.tell(
      {
        en: [
          "Plan {what} for {t} {period}s.",
          "A plant makes {what} over {t} {period}s.",
          "{what} are produced in {t} {period}s.",
        ],
        zh: ["安排{t}{period}的{what}生產。", "工廠在{t}{period}內生產{what}。", "{what}分{t}{period}生產。"],
      },
      { what: teller.in(scene.what), t: teller.count(t), period },
    );
    const wants = teller.tell(
      {
        en: ["Demand is {list} in turn.", "The demands are {list}.", "Customers want {list} in order."],
        zh: ["需求依次為{list}。", "各期需求是{list}。", "客戶依次要{list}。"],
      },
      { list: teller.list(demand.map(String)) },
    );
    const costs = teller.tell(
      {
        en: ["Unit costs are {list}.", "Making one costs {list} in turn.", "Production costs {list} each."],
        zh: ["單位成本依次為{list}。", "生產一件依次花{list}。", "每件生產成本為{list}。"],
      },
      { list: teller.list(cost.map(String)) },
    );
    const stock = teller.tell(
      {
        en: [
          "Holding one for a {period} costs {hold}.",
          "Stock costs {hold} per unit and {period}.",
          "Keeping a unit costs {hold} a {period}.",
        ],
        zh: [
          "每件存放一{period}花{hold}。",
          "庫存每件每{period}成本{hold}。",
          "保管一件每{period}需{hold}。",
        ],
      },
      { hold, period },
    );
    const fix = setUp
      ? teller.tell(
          {
            en: ["A {period} with production costs {fixed} more.", "Each set-up costs {fixed}."],
            zh: ["有生產的{period}另付{fixed}。", "每次開機花{fixed}。"],
          },
          { fixed, period },
        )
      : "";
    const most = teller.tell(
      {
        en: [
          "At most {capacity} per {period}.",
          "The capacity is {capacity} a {period}.",
          "A {period} allows {capacity} at most.",
        ],
        zh: ["每{period}最多{capacity}。", "產能為每{period}{capacity}。", "一{period}上限{capacity}。"],
      },
      { capacity, period },
    );
    const ask = teller.tell({
      en: [
        "No stock at the start. Minimize the cost.",
        "Starting empty, find the cheapest plan.",
        "There is no stock yet. Which plan costs least?",
      ],
      zh: ["期初無庫存，求最低成本。", "從零庫存開始，找出最便宜的計畫。", "目前沒有庫存，哪種計畫最省？"],
    });
    // Balance of period i: stock before + made - stock after = demand; nothing is kept after the last.
    const rows: Row[] = demand.map((wanted, i) => ({
      terms: [
        ...(i > 0 ? [term(s[i - 1] as string)] : []),
        term(x[i] as string),
        ...(i < t - 1 ? [minus(s[i] as string)] : []),
      ],
      relation: "=",
      bound: wanted,
    }));
    for (const [i, name] of x.entries()) {
      rows.push(
        setUp
          ? { terms: [term(name), minus(y[i] as string, capacity)], relation: "<=", bound: 0 }
          : { terms: [term(name)], relation: "<=", bound: capacity },
      );
    }
    return {
      problem: teller.text([intro, wants, costs, stock, fix, most, ask]),
      model: {
        sense: "min",
        objective: [
          ...cost.map((c, i) => term(x[i] as string, c)),
          ...s.map((name) => term(name, hold)),
          ...(setUp ? y.map((name) => term(name, fixed)) : []),
        ],
        rows,
        integers: [],
        binaries: setUp ? y : [],
      },
      parameters: { demand, cost, hold, fixed, capacity },
      wording: teller.wording,
      labels: [t],
    };
  },
};
