import { parentPort } from "node:worker_threads";
import { answer, type Question } from "./question.ts";

/** The program of `DecisionThread`: a question in, its answer out. */
parentPort?.on("message", (question: Question) => parentPort?.postMessage(answer(question)));
