// A few values in numbers: quartiles by linear interpolation, the deviation of a sample.
export interface Spread {
  min: number;
  low: number;
  median: number;
  high: number;
  max: number;
  mean: number;
  /** Of one value there is none. */
  deviation: number | undefined;
}

export function spread(values: number[]): Spread {
  const sorted = [...values].sort((one, other) => one - other);
  const at = (share: number) => {
    const place = (sorted.length - 1) * share;
    const below = Math.floor(place);
    return sorted[below]! + (place - below) * ((sorted[below + 1] ?? sorted[below]!) - sorted[below]!);
  };
  const mean = values.reduce((sum, one) => sum + one, 0) / values.length;
  const squares = values.reduce((sum, one) => sum + (one - mean) ** 2, 0);
  return { min: sorted[0]!, low: at(0.25), median: at(0.5), high: at(0.75), max: sorted[sorted.length - 1]!, mean, deviation: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : undefined };
}
