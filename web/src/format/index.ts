// Numbers, times, sizes and durations as people read them. Pure; times are UTC microseconds, as the API gives them.

/** Significant digits, no noise: 0.123457, 12,345, 1.2e-7; null is a value that JSON cannot say (NaN or infinite). */
export function number(value: number | null | undefined, digits = 5): string {
  if (value === undefined) return "";
  if (value === null || Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e9) return minus(value.toLocaleString("en"));
  if (size >= 1e9 || size < 1e-4) return minus(trimmed(value.toExponential(Math.max(0, digits - 2))));
  if (size >= 10 ** digits) return minus(Math.round(value).toLocaleString("en"));
  return minus(trimmed(value.toPrecision(digits)));
}

function trimmed(text: string): string {
  const [mantissa = "", exponent] = text.split("e");
  const short = mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa;
  return exponent === undefined ? short : `${short}e${exponent.replace("+", "")}`;
}

function minus(text: string): string {
  return text.replace(/^-/, "−");
}

/** A difference with its sign: +0.012, −3. */
export function signed(value: number, digits = 4): string {
  return value > 0 ? `+${number(value, digits)}` : number(value, digits);
}

export function count(value: number): string {
  return value.toLocaleString("en");
}

/** "1 run", "2,000 runs". */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

export function percent(share: number, digits = 0): string {
  return `${(share * 100).toFixed(digits)} %`;
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return "";
  let rest = value;
  for (const unit of ["B", "kB", "MB", "GB", "TB"]) {
    if (rest < 1000 || unit === "TB") return `${unit === "B" || rest >= 100 ? Math.round(rest) : Number(rest.toPrecision(2))} ${unit}`;
    rest /= 1000;
  }
  return "";
}

/** A length of time given in seconds: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min, 3 d 4 h. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "";
  const whole = Math.max(0, seconds);
  if (whole < 10) return `${Number(whole.toFixed(1))} s`;
  if (whole < 60) return `${Math.floor(whole)} s`;
  const parts: [number, string][] = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => whole >= size);
  const [size, unit] = parts[first]!;
  const [small, smallUnit] = parts[first + 1] ?? [0, ""];
  const rest = small ? Math.floor((whole % size) / small) : 0;
  return rest ? `${Math.floor(whole / size)} ${unit} ${rest} ${smallUnit}` : `${Math.floor(whole / size)} ${unit}`;
}

/** Microseconds between two moments as a duration; until now where the end is open. */
export function span(started: number | null | undefined, ended?: number | null, now = Date.now() * 1000): string {
  return started === null || started === undefined ? "" : duration(((ended ?? now) - started) / 1e6);
}

/** "just now", "4 min ago", "3 d ago", "in 5 min"; a date after a month. */
export function relative(microseconds: number, now = Date.now()): string {
  const seconds = (now - microseconds / 1000) / 1000;
  const size = Math.abs(seconds);
  if (size < 5) return "just now";
  if (size > 30 * 86400) return new Date(microseconds / 1000).toLocaleDateString(undefined, { year: "numeric", month: "short", day: "numeric" });
  let said = "";
  for (const [unitSize, unit] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]] as const)
    if (size >= unitSize) {
      said = `${Math.floor(size / unitSize)} ${unit}`;
      break;
    }
  return seconds >= 0 ? `${said} ago` : `in ${said}`;
}

export function absolute(microseconds: number): string {
  return new Date(microseconds / 1000).toLocaleString(undefined, {
    year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
  });
}

/** The part of an id by which people tell runs apart. */
export function shortId(id: string): string {
  return id.slice(-8);
}

/** A parameter's value in one line: text bare, the rest as JSON. */
export function value(given: unknown): string {
  if (typeof given === "string") return given;
  if (typeof given === "number") return Number.isInteger(given) ? String(given) : number(given, 7);
  return given === undefined ? "" : JSON.stringify(given);
}
