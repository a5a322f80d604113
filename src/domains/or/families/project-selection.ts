import { minus, type Row, term } from "../lp.ts";
import { type Family, names, pair, size } from "../teller.ts";

const SCENES = [
  {
    who: pair("city", "市政府"),
    projects: {
      en: ["a park", "a bridge", "a library", "a pool", "a museum", "a tram"],
      zh: ["公園", "橋", "圖書館", "泳池", "博物館", "電車"],
    },
  },
  {
    who: pair("bank", "銀行"),
    projects: {
      en: ["solar", "timber", "hotels", "ports", "drones", "chips"],
      zh: ["太陽能", "木業", "旅館", "港口", "無人機", "晶片"],
    },
  },
  {
    who: pair("laboratory", "研究所"),
    projects: {
      en: ["robots", "vaccines", "lasers", "batteries", "maps", "seeds"],
      zh: ["機器人", "疫苗", "雷射", "電池", "地圖", "種子"],
    },
  },
] as const;

/** Which projects to fund when each takes from one or two budgets. */
export const projectSelection: Family = {
  name: "project-selection",
  title: { en: "project selection", zh: "專案選擇" },
  generate(teller, difficulty) {
    const { random, language } = teller;
    const scene = random.pick(SCENES);
    const n = size(random, difficulty, [
      [3, 3],
      [3, 4],
      [4, 6],
    ]);
    const years = difficulty === 1 ? 1 : 2;
    const projects = teller.some(scene.projects[language], n);
    const gain = teller.numbers(n, 5, difficulty === 1 ? 40 : 99);
    const spend = Array.from({ length: years }, () => teller.numbers(n, 2, difficulty === 1 ? 20 : 40));
    const budget = spend.map((row) =>
      Math.round(row.reduce((sum, each) => sum + each, 0) * (0.45 + 0.3 * random.next())),
    );
    const after =
      difficulty > 1 && random.next() < 0.5 ? { first: 0, second: random.int(1, n - 1) } : undefined;
    const most = difficulty === 3 ? random.int(2, n - 1) : undefined;
    const x = names("x", n);
    const intro = teller.tell(
      {
        en: [
          "A {who} may fund {projects}.",
          "A {who} selects projects among {projects}.",
          "{projects} ask a {who} for money.",
        ],
        zh: ["{who}可資助{projects}。", "{who}要從{projects}中選專案。", "{projects}向{who}申請經費。"],
      },
      { who: teller.in(scene.who), projects: teller.list(projects) },
    );
    const gains = teller.tell(
      {
        en: ["The returns are {series}.", "Return: {series}.", "They bring {series}."],
        zh: ["收益為{series}。", "收益：{series}。", "可帶來{series}。"],
      },
      { series: teller.series(projects, gain) },
    );
    const frame = teller.frame(
      {
        en: [
          "Cost{when}: {series}; the budget is {budget}.",
          "They cost {series}{when}, and {budget} can be spent.",
          "The budget{when} is {budget}; the costs are {series}.",
        ],
        zh: [
          "{when}費用：{series}；預算{budget}。",
          "{when}花費{series}，可用{budget}。",
          "{when}預算為{budget}，費用為{series}。",
        ],
      }[language],
    );
    const when = years === 1 ? ["", ""] : language === "en" ? [" this year", " next year"] : ["今年", "明年"];
    const body = spend.map((row, k) =>
      teller.tell(
        { en: [frame], zh: [frame] },
        { when: when[k] as string, series: teller.series(projects, row), budget: budget[k] as number },
      ),
    );
    const order = after
      ? teller.tell(
          {
            en: ["{second} requires {first}.", "{second} is possible only with {first}."],
            zh: ["{second}須先有{first}。", "選{second}就必須選{first}。"],
          },
          { first: projects[after.first] as string, second: projects[after.second] as string },
        )
      : "";
    const count = most
      ? teller.tell(
          {
            en: ["At most {most} projects.", "No more than {most} can run."],
            zh: ["最多{most}個。", "不超過{most}個專案。"],
          },
          { most },
        )
      : "";
    const ask = teller.tell({
      en: [
        "Each is funded fully or not. Maximize the return.",
        "Fund whole projects for the best return.",
        "Which whole projects return the most?",
      ],
      zh: ["每項全額資助或不資助，求最大收益。", "整項資助，使收益最大。", "選哪些完整專案收益最高？"],
    });
    const rows: Row[] = spend.map((row, k) => ({
      terms: row.map((c, i) => term(x[i] as string, c)),
      relation: "<=",
      bound: budget[k] as number,
    }));
    if (after)
      rows.push({
        terms: [term(x[after.second] as string), minus(x[after.first] as string)],
        relation: "<=",
        bound: 0,
      });
    if (most) rows.push({ terms: x.map((name) => term(name)), relation: "<=", bound: most });
    return {
      problem: teller.text([intro, gains, ...body, order, count, ask]),
      model: {
        sense: "max",
        objective: gain.map((g, i) => term(x[i] as string, g)),
        rows,
        integers: [],
        binaries: x,
      },
      parameters: { gain, spend, budget, after, most },
      wording: teller.wording,
      labels: [],
    };
  },
};
