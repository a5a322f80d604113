import { term } from "../lp.ts";
import { type Family, names, pair, size } from "../teller.ts";

const SCENES = [
  {
    carrier: pair("hiker's pack", "登山背包"),
    unit: pair("kg", "公斤"),
    items: {
      en: ["tent", "stove", "rope", "camera", "lamp", "map"],
      zh: ["帳篷", "爐子", "繩索", "相機", "燈", "地圖"],
    },
  },
  {
    carrier: pair("truck", "卡車"),
    unit: pair("tons", "噸"),
    items: {
      en: ["steel", "grain", "tiles", "books", "motors", "tea"],
      zh: ["鋼材", "穀物", "瓷磚", "書籍", "馬達", "茶葉"],
    },
  },
  {
    carrier: pair("server", "伺服器"),
    unit: pair("GB", "GB"),
    items: {
      en: ["cache", "search", "mail", "video", "chat", "logs"],
      zh: ["快取", "搜尋", "郵件", "影片", "聊天", "日誌"],
    },
  },
  {
    carrier: pair("cargo plane", "貨機"),
    unit: pair("m3", "立方米"),
    items: {
      en: ["drugs", "phones", "flowers", "parts", "shoes", "toys"],
      zh: ["藥品", "手機", "鮮花", "零件", "鞋子", "玩具"],
    },
  },
] as const;

/** Which things to take into a space that does not hold all. */
export const knapsack: Family = {
  name: "knapsack",
  title: { en: "knapsack", zh: "背包" },
  generate(teller, difficulty) {
    const { random, language } = teller;
    const scene = random.pick(SCENES);
    const n = size(random, difficulty, [
      [3, 3],
      [4, 5],
      [5, 6],
    ]);
    const items = teller.some(scene.items[language], n);
    const value = teller.numbers(n, 3, difficulty === 1 ? 30 : 90);
    const weight = teller.numbers(n, 2, difficulty === 1 ? 12 : 30);
    const capacity = Math.round(weight.reduce((sum, each) => sum + each, 0) * (0.4 + 0.35 * random.next()));
    const exclusive = difficulty === 3 && random.next() < 0.4 ? ([0, 1] as const) : undefined;
    const x = names("x", n);
    const unit = teller.in(scene.unit).replace("m3", "cubic metres");
    const intro = teller.tell(
      {
        en: [
          "A {carrier} can take {items}.",
          "Choose among {items} for a {carrier}.",
          "{items} could go into a {carrier}.",
        ],
        zh: ["一個{carrier}可裝{items}。", "從{items}中為{carrier}挑選。", "{items}可放進{carrier}。"],
      },
      { carrier: teller.in(scene.carrier), items: teller.list(items) },
    );
    const body: string[] = [];
    if (difficulty > 1 && teller.chance(0.3)) {
      const each = items.map((item, i) =>
        language === "en"
          ? `${item} (value ${value[i]}, size ${weight[i]})`
          : `${item}（價值${value[i]}，大小${weight[i]}）`,
      );
      body.push(
        teller.tell(
          {
            en: ["They are: {each}.", "Each of them: {each}."],
            zh: ["各項為：{each}。", "資料如下：{each}。"],
          },
          { each: each.join(language === "en" ? ", " : "、") },
        ),
      );
    } else {
      body.push(
        teller.tell(
          {
            en: ["Values: {series}.", "The value is {series}.", "They are worth {series}."],
            zh: ["價值：{series}。", "價值是{series}。", "它們值{series}。"],
          },
          { series: teller.series(items, value) },
        ),
        teller.tell(
          {
            en: ["Sizes: {series}.", "The size is {series}.", "They take up {series}."],
            zh: ["大小：{series}。", "大小是{series}。", "它們占用{series}。"],
          },
          { series: teller.series(items, weight) },
        ),
      );
    }
    body.push(
      teller.tell(
        {
          en: [
            "The limit is {capacity} {unit}.",
            "At most {capacity} {unit} fit.",
            "There is room for {capacity} {unit}.",
          ],
          zh: ["上限為{capacity}{unit}。", "最多容納{capacity}{unit}。", "空間有{capacity}{unit}。"],
        },
        { capacity, unit },
      ),
    );
    if (exclusive) {
      body.push(
        teller.tell(
          {
            en: ["Do not take both {a} and {b}.", "{a} and {b} exclude each other."],
            zh: ["{a}和{b}不能同時選。", "{a}與{b}互斥。"],
          },
          { a: items[0] as string, b: items[1] as string },
        ),
      );
    }
    const ask = teller.tell({
      en: [
        "Each goes whole or not at all. Maximize the value.",
        "Take or leave each one. Find the best total value.",
        "Which ones give the most value? No item can be split.",
      ],
      zh: [
        "每項只能選或不選。求最大價值。",
        "各項要麼帶要麼不帶，求總價值最高。",
        "選哪些價值最大？不可拆分。",
      ],
    });
    return {
      problem: teller.text([intro, ...body, ask]),
      model: {
        sense: "max",
        objective: value.map((v, i) => term(x[i] as string, v)),
        rows: [
          { terms: weight.map((w, i) => term(x[i] as string, w)), relation: "<=", bound: capacity },
          ...(exclusive ? [{ terms: [term("x1"), term("x2")], relation: "<=" as const, bound: 1 }] : []),
        ],
        integers: [],
        binaries: x,
      },
      parameters: { value, weight, capacity, exclusive },
      wording: teller.wording,
      labels: [],
    };
  },
};
