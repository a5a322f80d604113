import type { Random } from "../../base/index.ts";
import type { Language } from "../phrase.ts";
import { EN, ZH } from "./words.ts";

/** A few sentences of plain text: facts, a day, a talk. */
export function makeStory(random: Random, language: Language): string {
  const kind = random.pick(["facts", "day", "talk"] as const);
  if (language === "en")
    return kind === "facts" ? factsEn(random) : kind === "day" ? dayEn(random) : talkEn(random);
  return kind === "facts" ? factsZh(random) : kind === "day" ? dayZh(random) : talkZh(random);
}

const some = <T>(random: Random, items: readonly T[], count: number): T[] =>
  random.shuffle(items).slice(0, count);
const times = (random: Random, make: () => string): string[] =>
  Array.from({ length: random.int(2, 5) }, make);

function factsEn(random: Random): string {
  return times(random, () => {
    const [a, b] = some(random, EN.animals, 2) as [string, string];
    return random.pick([
      `The ${random.pick(EN.adjectives)} ${a} ${random.pick(EN.verbs)} the ${random.pick(EN.colours)} ${b}.`,
      `A ${a} is at ${random.pick(EN.places)}.`,
      `There are ${random.int(2, 99)} ${random.pick(EN.things)} at ${random.pick(EN.places)}.`,
      `${random.pick(EN.people)} has a ${random.pick(EN.colours)} ${b}.`,
    ]);
  }).join(" ");
}

function dayEn(random: Random): string {
  const who = random.pick(EN.people);
  return [
    `It is ${random.pick(EN.days)} and the weather is ${random.pick(EN.weather)}.`,
    `${who} walks to ${random.pick(EN.places)}.`,
    random.pick([
      `There ${who} buys ${random.int(2, 30)} ${random.pick(EN.things)} for ${random.int(2, 90)} coins.`,
      `${random.pick(EN.people)} brings ${random.int(2, 30)} ${random.pick(EN.things)}.`,
    ]),
    `Later ${who} ${random.pick(EN.verbs)} a ${random.pick(EN.adjectives)} ${random.pick(EN.animals)}.`,
  ].join(" ");
}

function talkEn(random: Random): string {
  const [a, b] = some(random, EN.people, 2) as [string, string];
  const thing = random.pick(EN.things);
  const count = random.int(2, 60);
  return random.pick([
    `${a}: How many ${thing} do you have? ${b}: I have ${count} ${thing}. ${a}: Can I take ${random.int(1, 9)} of them? ${b}: Yes, you can.`,
    `${a}: Where are the ${thing}? ${b}: They are at ${random.pick(EN.places)}. ${a}: Thank you.`,
    `${a}: What is the price of the ${thing}? ${b}: It is ${count}. ${a}: So the price is ${count}.`,
  ]);
}

function factsZh(random: Random): string {
  return times(random, () => {
    const [a, b] = some(random, ZH.animals, 2) as [string, string];
    return random.pick([
      `${random.pick(ZH.adjectives)}${a}${random.pick(ZH.verbs)}${random.pick(ZH.colours)}${b}。`,
      `${random.pick(ZH.places)}有一隻${a}。`,
      `${random.pick(ZH.places)}有${random.int(2, 99)}個${random.pick(ZH.things)}。`,
      `${random.pick(ZH.people)}有一隻${random.pick(ZH.colours)}${b}。`,
    ]);
  }).join("");
}

function dayZh(random: Random): string {
  const who = random.pick(ZH.people);
  return [
    `今天是${random.pick(ZH.days)}，天氣${random.pick(ZH.weather)}。`,
    `${who}走到${random.pick(ZH.places)}。`,
    random.pick([
      `${who}用${random.int(2, 90)}枚硬幣買了${random.int(2, 30)}個${random.pick(ZH.things)}。`,
      `${random.pick(ZH.people)}帶來${random.int(2, 30)}個${random.pick(ZH.things)}。`,
    ]),
    `後來${who}${random.pick(ZH.verbs)}一隻${random.pick(ZH.animals)}。`,
  ].join("");
}

function talkZh(random: Random): string {
  const [a, b] = some(random, ZH.people, 2) as [string, string];
  const thing = random.pick(ZH.things);
  const count = random.int(2, 60);
  return random.pick([
    `${a}：你有幾個${thing}？${b}：我有${count}個${thing}。${a}：可以給我${random.int(1, 9)}個嗎？${b}：可以。`,
    `${a}：${thing}在哪裡？${b}：在${random.pick(ZH.places)}。${a}：謝謝。`,
    `${a}：${thing}的價格是多少？${b}：是${count}。${a}：所以價格是${count}。`,
  ]);
}
