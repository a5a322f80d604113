import { type Row, term } from "../lp.ts";
import { type Family, names, pair, size } from "../teller.ts";

const SCENES = [
  {
    what: pair("alloy", "合金"),
    inputs: {
      en: ["copper scrap", "zinc ore", "tin bars", "brass chips"],
      zh: ["廢銅", "鋅礦", "錫條", "黃銅屑"],
    },
    parts: { en: ["copper", "zinc", "tin"], zh: ["銅", "鋅", "錫"] },
  },
  {
    what: pair("fuel", "燃料"),
    inputs: { en: ["crude A", "crude B", "naphtha", "ethanol"], zh: ["甲原油", "乙原油", "石腦油", "乙醇"] },
    parts: { en: ["octane", "energy", "additive"], zh: ["辛烷", "熱值", "添加劑"] },
  },
  {
    what: pair("fertilizer", "肥料"),
    inputs: { en: ["compost", "urea", "ash", "bone meal"], zh: ["堆肥", "尿素", "草木灰", "骨粉"] },
    parts: { en: ["nitrogen", "potash", "phosphate"], zh: ["氮", "鉀", "磷"] },
  },
  {
    what: pair("juice", "果汁"),
    inputs: { en: ["apple base", "grape base", "water", "syrup"], zh: ["蘋果汁", "葡萄汁", "水", "糖漿"] },
    parts: { en: ["sugar", "acid", "vitamins"], zh: ["糖分", "酸", "維生素"] },
  },
] as const;

/** The cheapest blend of a given total weight with enough of each part. */
export const blending: Family = {
  name: "blending",
  title: { en: "blending", zh: "配料混合" },
  generate(teller, difficulty) {
    const { random, language } = teller;
    const scene = random.pick(SCENES);
    const n = size(random, difficulty, [
      [2, 2],
      [3, 3],
      [3, 4],
    ]);
    const m = size(random, difficulty, [
      [1, 1],
      [1, 2],
      [2, 3],
    ]);
    const inputs = teller.some(scene.inputs[language], n);
    const parts = teller.some(scene.parts[language], m);
    const total = random.int(2, 20) * (difficulty === 1 ? 5 : 10);
    const cost = teller.numbers(n, 2, difficulty === 1 ? 20 : 60);
    const content = parts.map(() => teller.numbers(n, 1, 9));
    const need = content.map((row) => {
      const low = Math.min(...row);
      const high = Math.max(...row);
      return Math.round(total * (low + (high - low) * (0.3 + 0.4 * random.next())));
    });
    const x = names("x", n);
    const intro = teller.tell(
      {
        en: [
          "Blend exactly {total} kg of {what} from {inputs}.",
          "{total} kg of {what} are mixed from {inputs}.",
          "A plant mixes {inputs} into {total} kg of {what}.",
        ],
        zh: [
          "用{inputs}調配恰好{total}公斤{what}。",
          "要以{inputs}混合{total}公斤的{what}。",
          "工廠把{inputs}混成{total}公斤{what}。",
        ],
      },
      { total, what: teller.in(scene.what), inputs: teller.list(inputs) },
    );
    const price = teller.tell(
      {
        en: ["Cost per kg: {series}.", "A kg costs {series}.", "The prices are {series}."],
        zh: ["每公斤成本：{series}。", "每公斤要價{series}。", "價格是{series}。"],
      },
      { series: teller.series(inputs, cost) },
    );
    const frame = teller.frame(
      {
        en: [
          "{part} per kg: {series}; the blend needs at least {need}.",
          "Each kg holds {part}: {series}, in total no less than {need}.",
          "{part} content is {series}, with {need} or more in all.",
        ],
        zh: [
          "每公斤{part}：{series}；混合物至少需要{need}。",
          "每公斤含{part}{series}，總計不少於{need}。",
          "{part}含量為{series}，總量{need}以上。",
        ],
      }[language],
    );
    const body = parts.map((part, k) =>
      teller.tell(
        { en: [frame], zh: [frame] },
        { part, series: teller.series(inputs, content[k] ?? []), need: need[k] as number },
      ),
    );
    const ask = teller.tell({
      en: ["Minimize the cost.", "Find the cheapest blend.", "Which blend costs least?"],
      zh: ["求最低成本。", "找出最便宜的配比。", "哪種配比花費最少？"],
    });
    const rows: Row[] = [
      { terms: x.map((name) => term(name)), relation: "=", bound: total },
      ...content.map(
        (row, k): Row => ({
          terms: row.map((amount, i) => term(x[i] as string, amount)),
          relation: ">=",
          bound: need[k] as number,
        }),
      ),
    ];
    return {
      problem: teller.text([intro, price, ...body, ask]),
      model: {
        sense: "min",
        objective: cost.map((c, i) => term(x[i] as string, c)),
        rows,
        integers: [],
        binaries: [],
      },
      parameters: { total, cost, content, need },
      wording: teller.wording,
      labels: [],
    };
  },
};
