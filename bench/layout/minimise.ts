/** Nelder-Mead simplex search (1965): small, derivative-free, enough for a dozen constants. */
export function minimise(
  loss: (x: readonly number[]) => number,
  start: readonly number[],
  size: number,
  rounds: number,
): { readonly at: readonly number[]; readonly value: number } {
  const n = start.length;
  const points = [[...start], ...start.map((_, i) => start.map((v, j) => (i === j ? v + size : v)))].map(
    (at) => ({
      at,
      value: loss(at),
    }),
  );
  const sort = () => points.sort((a, b) => a.value - b.value);
  for (let round = 0; round < rounds; round++) {
    sort();
    const worst = points[n] as { at: number[]; value: number };
    const centre = start.map(
      (_, j) => points.slice(0, n).reduce((sum, p) => sum + (p.at[j] as number), 0) / n,
    );
    const move = (by: number) => {
      const at = centre.map((c, j) => c + by * ((worst.at[j] as number) - c));
      return { at, value: loss(at) };
    };
    const reflected = move(-1);
    if (reflected.value < (points[0] as { value: number }).value) {
      const expanded = move(-2);
      points[n] = expanded.value < reflected.value ? expanded : reflected;
    } else if (reflected.value < (points[n - 1] as { value: number }).value) points[n] = reflected;
    else {
      const contracted = move(0.5);
      if (contracted.value < worst.value) points[n] = contracted;
      else {
        const best = points[0] as { at: number[] };
        for (let i = 1; i <= n; i++) {
          const at = (points[i] as { at: number[] }).at.map((v, j) => ((best.at[j] as number) + v) / 2);
          points[i] = { at, value: loss(at) };
        }
      }
    }
  }
  sort();
  return points[0] as { at: number[]; value: number };
}
