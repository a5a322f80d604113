/** One problem with both answers, as the page holds it. */
export type PageExample = {
  readonly id: string;
  readonly tags: readonly string[];
  readonly problem: string;
  readonly reference: string;
  readonly objective: number | null;
  readonly kind: "gained" | "lost" | "missed" | "kept";
  readonly base: PageAnswer;
  readonly candidate: PageAnswer;
};
type PageAnswer = {
  readonly text: string;
  readonly verdict: string;
  readonly reason: string;
  readonly objective: number | null;
};
