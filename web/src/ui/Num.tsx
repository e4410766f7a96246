import { number } from "@/format";

/** A number in significant digits, all of it on hover; null is what JSON cannot say: NaN or infinite. */
export function Num({ value, digits }: { value: number | null | undefined; digits?: number }) {
  if (value === undefined) return <span className="quiet">–</span>;
  const text = number(value, digits);
  const whole = value === null ? "not a number, or infinite" : String(value);
  return (
    <span className="tabular" title={whole === text ? undefined : whole}>
      {text}
    </span>
  );
}
