/**
 * Copies of each expert so that the largest share (load / copies) is as small as `total` slots allow: spare slots go one at a
 * time to the expert whose share is largest, at most one copy a rank. This rule is optimal for the largest share (exchange
 * argument; the same rule stands in DeepSeek's EPLB). Ties go to the expert that comes first in `order`.
 *
 * @param order expert indices from the largest load down
 * @param counts receives the copies; returns the largest share
 */
export function spreadCopies(
  loads: Float64Array,
  order: Int32Array,
  total: number,
  most: number,
  counts: Int32Array,
  heap: Int32Array,
): number {
  const n = loads.length;
  counts.fill(1);
  let spare = total - n;
  let next = 0;
  let size = 0;
  const share = (e: number) => (loads[e] as number) / (counts[e] as number);
  while (spare > 0) {
    const top = size > 0 ? (heap[0] as number) : -1;
    const fresh = next < n && most > 1 ? (order[next] as number) : -1;
    if (top < 0 && fresh < 0) throw new RangeError("more slots than copies may exist");
    if (top < 0 || (fresh >= 0 && share(fresh) >= share(top))) {
      next++;
      counts[fresh] = 2;
      if (most > 2) push(fresh);
    } else {
      counts[top] = (counts[top] as number) + 1;
      if ((counts[top] as number) >= most) heap[0] = heap[--size] as number;
      sink();
    }
    spare--;
  }
  let largest = 0;
  for (let e = 0; e < n; e++) if (share(e) > largest) largest = share(e);
  return largest;

  function push(e: number): void {
    let at = size++;
    while (at > 0) {
      const up = (at - 1) >> 1;
      if (share(heap[up] as number) >= share(e)) break;
      heap[at] = heap[up] as number;
      at = up;
    }
    heap[at] = e;
  }

  function sink(): void {
    if (size === 0) return;
    const e = heap[0] as number;
    const value = share(e);
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && share(heap[child + 1] as number) > share(heap[child] as number)) child++;
      if (share(heap[child] as number) <= value) break;
      heap[at] = heap[child] as number;
      at = child;
    }
    heap[at] = e;
  }
}
