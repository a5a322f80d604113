import { type Row, term } from "../lp.ts";
import { cell, type Family, pair, size } from "../teller.ts";

const SCENES = [
  {
    who: { en: ["Ann", "Bob", "Cara", "Dan"], zh: ["小安", "阿博", "小卡", "阿丹"] },
    jobs: { en: ["cooking", "driving", "cleaning", "filing"], zh: ["烹飪", "駕駛", "清潔", "歸檔"] },
    word: pair("workers", "員工"),
    measure: { en: ["Hours", "Cost"], zh: ["工時", "費用"] },
  },
  {
    who: { en: ["Crane A", "Crane B", "Crane C", "Crane D"], zh: ["甲吊車", "乙吊車", "丙吊車", "丁吊車"] },
    jobs: { en: ["dock", "yard", "mill", "gate"], zh: ["碼頭", "堆場", "工廠", "大門"] },
    word: pair("machines", "機器"),
    measure: { en: ["Cost", "Fuel"], zh: ["費用", "油耗"] },
  },
  {
    who: { en: ["Red team", "Blue team", "Green team", "Gold team"], zh: ["紅隊", "藍隊", "綠隊", "金隊"] },
    jobs: { en: ["design", "testing", "sales", "support"], zh: ["設計", "測試", "銷售", "支援"] },
    word: pair("teams", "團隊"),
    measure: { en: ["Days", "Cost"], zh: ["天數", "費用"] },
  },
] as const;

/** One job for each, each job to one: least cost. */
export const assignment: Family = {
  name: "assignment",
  title: { en: "assignment", zh: "指派" },
  generate(teller, difficulty) {
    const { random, language } = teller;
    const scene = random.pick(SCENES);
    const n = size(random, difficulty, [
      [2, 2],
      [3, 3],
      [3, 4],
    ]);
    const who = teller.some(scene.who[language], n);
    const jobs = teller.some(scene.jobs[language], n);
    const cost = who.map(() => teller.numbers(n, 2, difficulty === 1 ? 20 : 90));
    const intro = teller.tell(
      {
        en: [
          "The {word} {who} get one job each: {jobs}.",
          "Assign {who} to {jobs}, one job each.",
          "Each of {who} does one of {jobs}.",
        ],
        zh: ["{word}{who}各做一項：{jobs}。", "把{jobs}分給{who}，每人一項。", "{who}各負責{jobs}中的一項。"],
      },
      { word: teller.in(scene.word), who: teller.list(who), jobs: teller.list(jobs) },
    );
    const measure = random.pick(scene.measure[language]);
    const frame = teller.frame(
      {
        en: [
          "{measure} of {one}: {series}.",
          "{one} has {measure} {series}.",
          "For {one} the {measure} is {series}.",
        ],
        zh: [
          "{one}的{measure}：{series}。",
          "{one}所需{measure}{series}。",
          "由{one}做，{measure}為{series}。",
        ],
      }[language],
    );
    const body = who.map((one, i) =>
      teller.tell(
        { en: [frame], zh: [frame] },
        {
          one,
          measure: frame.startsWith("{measure}") ? measure : measure.toLowerCase(),
          series: teller.series(jobs, cost[i] ?? []),
        },
      ),
    );
    const ask = teller.tell(
      {
        en: [
          "Every job is done once. Minimize the total {measure}.",
          "All jobs must be done. Find the least total {measure}.",
          "Which assignment has the smallest total {measure}?",
        ],
        zh: [
          "每項工作只做一次。求總{measure}最小。",
          "所有工作都要完成，求最小總{measure}。",
          "哪種分配的總{measure}最小？",
        ],
      },
      { measure: measure.toLowerCase() },
    );
    const all = who.map((_one, i) => i);
    const rows: Row[] = [
      ...all.map((i): Row => ({ terms: all.map((j) => term(cell("x", i, j))), relation: "=", bound: 1 })),
      ...all.map((j): Row => ({ terms: all.map((i) => term(cell("x", i, j))), relation: "=", bound: 1 })),
    ];
    return {
      problem: teller.text([intro, ...body, ask]),
      model: {
        sense: "min",
        objective: cost.flatMap((row, i) => row.map((c, j) => term(cell("x", i, j), c))),
        rows,
        integers: [],
        binaries: all.flatMap((i) => all.map((j) => cell("x", i, j))),
      },
      parameters: { cost },
      wording: teller.wording,
      labels: [],
    };
  },
};
