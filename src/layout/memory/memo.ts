/** Results kept by the identity of a model's part and a key: a search asks the same of a few bodies many thousand times. */
export function memo<K extends object, T>(): (on: K, key: string, make: () => T) => T {
  const known = new WeakMap<K, Map<string, T>>();
  return (on, key, make) => {
    let of = known.get(on);
    if (!of) {
      of = new Map();
      known.set(on, of);
    }
    let value = of.get(key);
    if (value === undefined) {
      value = make();
      of.set(key, value);
    }
    return value;
  };
}

const numbers = new WeakMap<object, number>();
let next = 0;

/** A number of its own for every object, to stand for it in a key. */
export function identity(of: object): number {
  let found = numbers.get(of);
  if (found === undefined) {
    found = next++;
    numbers.set(of, found);
  }
  return found;
}
