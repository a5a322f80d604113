import { type Row, term } from "../lp.ts";
import { type Family, names, pair, size } from "../teller.ts";

const SCENES = [
  {
    place: pair("workshop", "木工坊"),
    whole: true,
    goods: {
      en: ["chairs", "tables", "desks", "shelves", "beds"],
      zh: ["椅子", "桌子", "書桌", "書架", "床"],
    },
    needs: { en: ["labour", "wood", "paint", "glue"], zh: ["工時", "木材", "油漆", "膠水"] },
  },
  {
    place: pair("bakery", "麵包店"),
    whole: true,
    goods: {
      en: ["cakes", "pies", "breads", "rolls", "tarts"],
      zh: ["蛋糕", "餡餅", "麵包", "餐包", "蛋塔"],
    },
    needs: { en: ["flour", "sugar", "butter", "oven time"], zh: ["麵粉", "糖", "奶油", "烤箱時間"] },
  },
  {
    place: pair("factory", "工廠"),
    whole: true,
    goods: {
      en: ["pumps", "motors", "valves", "fans", "lamps"],
      zh: ["水泵", "馬達", "閥門", "風扇", "燈具"],
    },
    needs: { en: ["steel", "copper", "machine time", "labour"], zh: ["鋼材", "銅", "機器時間", "工時"] },
  },
  {
    place: pair("farm", "農場"),
    whole: false,
    goods: { en: ["wheat", "corn", "beans", "rice", "cotton"], zh: ["小麥", "玉米", "豆子", "稻米", "棉花"] },
    needs: { en: ["water", "land", "labour", "seed"], zh: ["水", "土地", "工時", "種子"] },
  },
  {
    place: pair("plant", "化工廠"),
    whole: false,
    goods: { en: ["paint", "glue", "resin", "ink", "soap"], zh: ["塗料", "黏膠", "樹脂", "墨水", "肥皂"] },
    needs: { en: ["oil", "power", "reactor time", "water"], zh: ["油", "電力", "反應時間", "水"] },
  },
] as const;

/** How much of each good to make: profit against resources that several goods share. */
export const productMix: Family = {
  name: "product-mix",
  title: { en: "product mix", zh: "產品組合" },
  generate(teller, difficulty) {
    const { random, language } = teller;
    const scene = random.pick(SCENES);
    const n = size(random, difficulty, [
      [2, 2],
      [2, 3],
      [3, 4],
    ]);
    const m = size(random, difficulty, [
      [1, 2],
      [2, 2],
      [2, 3],
    ]);
    const goods = teller.some(scene.goods[language], n);
    const needs = teller.some(scene.needs[language], m);
    const profit = teller.numbers(n, 2, difficulty === 1 ? 30 : 90);
    const use = needs.map(() => teller.numbers(n, 1, 9));
    const limit = use.map((row) => Math.round(row.reduce((sum, each) => sum + each, 0) * random.int(3, 15)));
    const floor =
      difficulty > 1 && random.next() < 0.4
        ? { at: random.int(0, n - 1), amount: random.int(1, 3) }
        : undefined;
    const x = names("x", n);

    const intro = teller.tell(
      {
        en: [
          "A {place} makes {goods}.",
          "{goods} are made in a {place}.",
          "A {place} plans its output of {goods}.",
        ],
        zh: ["一家{place}生產{goods}。", "{goods}由一家{place}生產。", "某{place}要安排{goods}的產量。"],
      },
      { place: teller.in(scene.place), goods: teller.list(goods) },
    );
    const body: string[] = [];
    // By good at the higher levels: the reader must turn columns into rows.
    if (difficulty > 1 && teller.chance(0.3)) {
      goods.forEach((good, i) => {
        const uses = needs.map((need, k) =>
          language === "en" ? `${use[k]?.[i]} of ${need}` : `${need}${use[k]?.[i]}`,
        );
        body.push(
          teller.tell(
            {
              en: [
                "{good}: profit {profit}, uses {uses}.",
                "One unit of {good} earns {profit} and takes {uses}.",
              ],
              zh: ["{good}：利潤{profit}，耗用{uses}。", "每單位{good}獲利{profit}，需要{uses}。"],
            },
            { good, profit: profit[i] as number, uses: teller.list(uses) },
          ),
        );
      });
      body.push(
        teller.tell(
          {
            en: ["Available: {limits}.", "The supply is {limits}."],
            zh: ["可用量：{limits}。", "供應量為{limits}。"],
          },
          { limits: teller.series(needs, limit, false) },
        ),
      );
    } else {
      body.push(
        teller.tell(
          {
            en: [
              "Profit per unit: {series}.",
              "Each unit earns {series}.",
              "The unit profits are {series}.",
              "Unit profit is {series}.",
            ],
            zh: [
              "單位利潤：{series}。",
              "每單位獲利{series}。",
              "單位利潤是{series}。",
              "每件利潤{series}。",
            ],
          },
          { series: teller.series(goods, profit) },
        ),
      );
      const frames = {
        en: [
          "{need} use per unit: {series}; {limit} available.",
          "One unit needs {need}: {series}, with at most {limit} in total.",
          "Of {need} there is {limit}; a unit takes {series}.",
          "{need}: {series}, limit {limit}.",
        ],
        zh: [
          "每單位{need}用量：{series}；共有{limit}。",
          "每單位需要{need}{series}，總量最多{limit}。",
          "{need}共{limit}，每單位耗用{series}。",
          "{need}：{series}，上限{limit}。",
        ],
      };
      const frame = teller.frame(frames[language]);
      needs.forEach((need, k) => {
        body.push(
          teller.tell(
            { en: [frame], zh: [frame] },
            { need, series: teller.series(goods, use[k] ?? []), limit: limit[k] as number },
          ),
        );
      });
    }
    if (floor) {
      body.push(
        teller.tell(
          {
            en: ["At least {amount} of {good} must be made.", "Make no fewer than {amount} of {good}."],
            zh: ["{good}至少要生產{amount}。", "{good}的產量不得少於{amount}。"],
          },
          { amount: floor.amount, good: goods[floor.at] as string },
        ),
      );
    }
    const ask = teller.tell({
      en: [
        "Maximize the profit.",
        "Find the plan with the largest profit.",
        "How much of each should be made to earn the most?",
      ],
      zh: ["求最大利潤。", "找出利潤最大的生產計畫。", "各生產多少才能獲利最多？"],
    });
    const whole = scene.whole
      ? teller.tell({ en: ["Only whole units.", "Units are whole."], zh: ["只能取整數。", "數量為整數。"] })
      : teller.tell({
          en: ["Fractions are allowed.", "Amounts may be fractional."],
          zh: ["可以取小數。", "數量可為小數。"],
        });
    const rows: Row[] = use.map((row, k) => ({
      terms: row.map((amount, i) => term(x[i] as string, amount)),
      relation: "<=",
      bound: limit[k] as number,
    }));
    if (floor) rows.push({ terms: [term(x[floor.at] as string)], relation: ">=", bound: floor.amount });
    return {
      problem: teller.text([intro, ...body, whole, ask]),
      model: {
        sense: "max",
        objective: profit.map((p, i) => term(x[i] as string, p)),
        rows,
        integers: scene.whole ? x : [],
        binaries: [],
      },
      parameters: { profit, use, limit, floor, whole: scene.whole },
      wording: teller.wording,
      labels: [],
    };
  },
};
