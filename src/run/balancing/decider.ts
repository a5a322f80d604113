import { Worker } from "node:worker_threads";
import { type Answer, answer, type Question } from "./question.ts";

/** No answer will come any more: what happened to whoever answered. */
export type Lost = { readonly lost: string };

/** Answers questions, one after another. `answered` is called once for each, now or later. */
export type Decider = {
  ask(question: Question, answered: (answer: Answer | Lost) => void): void;
  close(): void;
};

/** Answers at once, on the caller's own time. */
export const IN_PLACE: Decider = {
  ask: (question, answered) => answered(answer(question)),
  close: () => undefined,
};

/** Answers in a thread, so that whoever asks goes on hearing others. A thread that dies is not replaced: it would die again. */
export class DecisionThread implements Decider {
  readonly #worker: Worker;
  #waiting: ((answer: Answer | Lost) => void)[] = [];
  #lost: Lost | undefined;

  constructor(program = new URL("./decider-thread.ts", import.meta.url)) {
    // Node's own flags (a test runner's, say) are not for the thread.
    this.#worker = new Worker(program, { execArgv: [] });
    // It must not keep the process alive: whoever asks has other reasons to.
    this.#worker.unref();
    this.#worker.on("message", (found: Answer) => this.#waiting.shift()?.(found));
    this.#worker.on("error", (cause) => this.#lose(cause instanceof Error ? cause.message : String(cause)));
    this.#worker.on("exit", (code) => this.#lose(`exit code ${code}`));
  }

  ask(question: Question, answered: (answer: Answer | Lost) => void): void {
    if (this.#lost) return answered(this.#lost);
    this.#waiting.push(answered);
    this.#worker.postMessage(question);
  }

  close(): void {
    this.#waiting = [];
    void this.#worker.terminate();
  }

  #lose(lost: string): void {
    this.#lost ??= { lost };
    for (const answered of this.#waiting.splice(0)) answered(this.#lost);
  }
}
