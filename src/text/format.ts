/** How numbers are written, in the terminal and in the report: three significant digits and the unit. */

/** Such as 0.0123, 1.23, 12.3, 1234 or 1.2e+25. */
export function significant(value: number): string {
  if (value === 0) return '0';
  const decimals = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return decimals > 6 || Math.abs(value) >= 1e12 ? value.toExponential(1) : value.toFixed(decimals);
}

/** Such as 340 µs, 12.3 ms or 1.50 s. */
export function formatTime(milliseconds: number): string {
  if (milliseconds < 1) return `${significant(milliseconds * 1000)} µs`;
  return milliseconds < 1000 ? `${significant(milliseconds)} ms` : `${significant(milliseconds / 1000)} s`;
}

/** Such as 512 B, 8.00 MiB or 1.50 GiB. */
export function formatBytes(bytes: number): string {
  return withPrefix(bytes, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']);
}

/** Such as 34.4 GFLOP. */
export function formatFlops(flops: number): string {
  return withPrefix(flops, 1000, ['FLOP', 'kFLOP', 'MFLOP', 'GFLOP', 'TFLOP', 'PFLOP']);
}

/** A share from 0 to 1, such as 12.3%, 0.0123% or <0.001%. */
export function formatPercent(share: number): string {
  if (share > 0 && share < 1e-5) return '<0.001%';
  return `${significant(share * 100)}%`;
}

/** A share that a person chose, with the digits they wrote: 10% or 2.5%. */
export function formatLimit(share: number): string {
  return `${Number((share * 100).toPrecision(6))}%`;
}

/** A ratio, such as 3.21×. */
export function formatRatio(ratio: number): string {
  return `${significant(ratio)}×`;
}

function withPrefix(value: number, step: number, units: readonly [string, ...string[]]): string {
  let at = 0;
  let scaled = value;
  while (scaled >= step && at < units.length - 1) {
    scaled /= step;
    at++;
  }
  return `${at === 0 ? scaled : significant(scaled)} ${units[at] ?? units[0]}`;
}
