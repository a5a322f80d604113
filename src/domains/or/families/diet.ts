import { type Row, term } from "../lp.ts";
import { type Family, names, pair, size } from "../teller.ts";

const SCENES = [
  {
    who: pair("hospital kitchen", "醫院廚房"),
    foods: { en: ["oats", "milk", "eggs", "rice", "fish"], zh: ["燕麥", "牛奶", "雞蛋", "米飯", "魚"] },
    nutrients: { en: ["protein", "fibre", "calcium", "iron"], zh: ["蛋白質", "纖維", "鈣", "鐵"] },
  },
  {
    who: pair("cattle farm", "牧場"),
    foods: { en: ["hay", "corn", "soy", "bran", "silage"], zh: ["乾草", "玉米", "大豆", "麩皮", "青貯料"] },
    nutrients: { en: ["protein", "fat", "fibre", "calcium"], zh: ["蛋白質", "脂肪", "纖維", "鈣"] },
  },
  {
    who: pair("sports team", "運動隊"),
    foods: {
      en: ["pasta", "chicken", "beans", "yogurt", "bananas"],
      zh: ["麵條", "雞肉", "豆子", "優格", "香蕉"],
    },
    nutrients: { en: ["energy", "protein", "iron", "vitamins"], zh: ["熱量", "蛋白質", "鐵", "維生素"] },
  },
] as const;

/** The cheapest amounts of foods that meet every nutrient. */
export const diet: Family = {
  name: "diet",
  title: { en: "diet", zh: "飲食配方" },
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
    const foods = teller.some(scene.foods[language], n);
    const nutrients = teller.some(scene.nutrients[language], m);
    const cost = teller.numbers(n, 2, difficulty === 1 ? 20 : 60);
    const content = nutrients.map(() => teller.numbers(n, 1, 9));
    const need = content.map((row) => Math.max(...row) * random.int(4, 14) + random.int(0, 5));
    const cap =
      difficulty > 1 && random.next() < 0.35
        ? { at: random.int(0, n - 1), amount: random.int(2, 9) }
        : undefined;
    const x = names("x", n);
    const intro = teller.tell(
      {
        en: [
          "A {who} buys {foods}.",
          "A {who} mixes a diet of {foods}.",
          "{foods} are on the menu of a {who}.",
        ],
        zh: ["一家{who}採購{foods}。", "某{who}用{foods}配餐。", "{who}的菜單有{foods}。"],
      },
      { who: teller.in(scene.who), foods: teller.list(foods) },
    );
    const price = teller.tell(
      {
        en: ["The cost per unit is {series}.", "Prices: {series}.", "A unit costs {series}."],
        zh: ["單位成本為{series}。", "價格：{series}。", "每單位花費{series}。"],
      },
      { series: teller.series(foods, cost) },
    );
    const frame = teller.frame(
      {
        en: [
          "{nutrient} per unit: {series}; at least {need} is needed.",
          "A unit holds {nutrient}: {series}, and {need} or more is required.",
          "The diet needs at least {need} of {nutrient}; a unit gives {series}.",
          "{nutrient}: {series}, minimum {need}.",
        ],
        zh: [
          "每單位{nutrient}：{series}；至少需要{need}。",
          "每單位含{nutrient}{series}，需要{need}以上。",
          "至少要有{nutrient}{need}，每單位提供{series}。",
          "{nutrient}：{series}，最低{need}。",
        ],
      }[language],
    );
    const body = nutrients.map((nutrient, k) =>
      teller.tell(
        { en: [frame], zh: [frame] },
        { nutrient, series: teller.series(foods, content[k] ?? []), need: need[k] as number },
      ),
    );
    const most = cap
      ? teller.tell(
          {
            en: ["At most {amount} of {food} can be used.", "No more than {amount} of {food}."],
            zh: ["{food}最多用{amount}。", "{food}不得超過{amount}。"],
          },
          { amount: cap.amount, food: foods[cap.at] as string },
        )
      : "";
    const ask = teller.tell({
      en: ["Minimize the cost.", "Find the cheapest diet.", "What is the cheapest mix?"],
      zh: ["求最低成本。", "找出最便宜的配方。", "怎樣搭配最省錢？"],
    });
    const rows: Row[] = content.map((row, k) => ({
      terms: row.map((amount, i) => term(x[i] as string, amount)),
      relation: ">=",
      bound: need[k] as number,
    }));
    if (cap) rows.push({ terms: [term(x[cap.at] as string)], relation: "<=", bound: cap.amount });
    return {
      problem: teller.text([intro, price, ...body, most, ask]),
      model: {
        sense: "min",
        objective: cost.map((c, i) => term(x[i] as string, c)),
        rows,
        integers: [],
        binaries: [],
      },
      parameters: { cost, content, need, cap },
      wording: teller.wording,
      labels: [],
    };
  },
};
