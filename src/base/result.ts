import type { TesseraError } from "./errors.ts";

/** Outcome of an operation whose failure is expected: callers must look before they use the value. */
export type Result<T, E = TesseraError> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: E };

export const ok = <T>(value: T): Result<T, never> => ({ ok: true, value });
export const err = <E>(error: E): Result<never, E> => ({ ok: false, error });

/** Value of a result, or its error thrown: for the edge of a command, where the top handler prints it. */
export function unwrap<T>(result: Result<T, Error>): T {
  if (result.ok) return result.value;
  throw result.error;
}
