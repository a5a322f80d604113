import { type Row, term } from "../lp.ts";
import { type Family, names, pair, size } from "../teller.ts";

const SCENES = [
  { who: pair("nurses", "護士"), place: pair("hospital", "醫院") },
  { who: pair("guards", "保全"), place: pair("museum", "博物館") },
  { who: pair("drivers", "司機"), place: pair("bus line", "公車路線") },
  { who: pair("agents", "客服"), place: pair("call center", "客服中心") },
] as const;

/** How many people start in each period when everyone works two periods in a row, around the clock. */
export const shiftCovering: Family = {
  name: "shift-covering",
  title: { en: "shift covering", zh: "排班" },
  generate(teller, difficulty) {
    const { random } = teller;
    const scene = random.pick(SCENES);
    const n = size(random, difficulty, [
      [3, 3],
      [4, 4],
      [5, 6],
    ]);
    const need = teller.numbers(n, 2, difficulty === 1 ? 15 : 40);
    const paid = difficulty > 1 ? teller.numbers(n, 5, 30) : undefined;
    const x = names("x", n);
    const slots = { who: teller.in(scene.who), place: teller.in(scene.place), n: teller.count(n) };
    const intro = teller.tell(
      {
        en: [
          "A {place} has {n} periods a day.",
          "The day of a {place} has {n} periods.",
          "{n} periods a day are staffed at a {place}.",
        ],
        zh: ["{place}一天有{n}個時段。", "{place}每天分{n}個時段。", "{place}每天要排{n}個時段。"],
      },
      slots,
    );
    const wants = teller.tell(
      {
        en: [
          "They need at least {list} {who}.",
          "Needed {who}: {list}.",
          "The periods require {list} {who} in order.",
        ],
        zh: ["各時段至少需要{list}名{who}。", "所需{who}：{list}。", "依次需要{who}{list}名。"],
      },
      { ...slots, list: teller.list(need.map(String)) },
    );
    const rule = teller.tell(
      {
        en: [
          "Everyone works the period of the start and the next one, day after day.",
          "A shift covers its starting period and the one after it, around the clock.",
          "Each works two periods in a row; the last is followed by the first.",
        ],
        zh: [
          "每人從開始時段起連做到下一時段，日日循環。",
          "一班包含開始時段與下一時段，首尾相接。",
          "每人連續工作兩個時段，最後一段接第一段。",
        ],
      },
      slots,
    );
    const pay = paid
      ? teller.tell(
          {
            en: ["A start costs {list} by period.", "Pay by starting period: {list}."],
            zh: ["按開始時段的費用為{list}。", "各開始時段的工資：{list}。"],
          },
          { list: teller.list(paid.map(String)) },
        )
      : "";
    const ask = paid
      ? teller.tell({
          en: ["Minimize the cost.", "Find the cheapest staffing."],
          zh: ["求最低費用。", "找出最省的排班。"],
        })
      : teller.tell(
          {
            en: [
              "Minimize the number of {who}.",
              "Use as few {who} as possible.",
              "How many {who} are needed at least?",
            ],
            zh: ["求{who}人數最少。", "用最少的{who}。", "至少要多少{who}？"],
          },
          slots,
        );
    return {
      problem: teller.text([intro, wants, rule, pay, ask]),
      model: {
        sense: "min",
        objective: x.map((name, i) => term(name, paid?.[i])),
        // Period i is covered by those who start in it and in the one before; the first period's predecessor is the last.
        rows: need.map(
          (bound, i): Row => ({
            terms: [term(x[(i + n - 1) % n] as string), term(x[i] as string)],
            relation: ">=",
            bound,
          }),
        ),
        integers: x,
        binaries: [],
      },
      parameters: { need, paid },
      wording: teller.wording,
      labels: [n, 2],
    };
  },
};
