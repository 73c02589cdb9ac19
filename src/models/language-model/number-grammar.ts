/** Numbers between bounds as a grammar in EBNF, digit by digit. */
import { choice } from './grammar-text';

type Terms = readonly string[];

export interface Bound {
  readonly value: number;
  /** Whether the bound itself is left out. */
  readonly isOpen: boolean;
}
/** The size of a number: digits before and behind its point, without zeros that say nothing. */
interface Size {
  readonly whole: string;
  readonly part: string;
  readonly isOpen: boolean;
}

const ZERO: Size = { whole: '0', part: '', isOpen: true };

/** Undefined if there is no such number. Those between bounds have no exponent, and zero has no sign. */
export function numberGrammar(isInteger: boolean, from?: Bound, to?: Bound): string | undefined {
  if (!from && !to && !isInteger) return '"-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)? ([eE] [+-]? [0-9]+)?';
  const [least, most] = isInteger ? [from && wholeBound(from, 1), to && wholeBound(to, -1)] : [from, to];
  const sizes = (a: Size | undefined, b: Size | undefined) => between(a ?? { ...ZERO, isOpen: false }, b, isInteger);
  const isNegative = (bound: Bound) => bound.value < 0;
  const negative =
    least && !isNegative(least) ? [] : sizes(most && isNegative(most) ? sizeOf(most) : ZERO, least && sizeOf(least));
  const positive =
    most && isNegative(most)
      ? []
      : sizes(least && !isNegative(least) ? sizeOf(least) : undefined, most && sizeOf(most));
  const all = [...positive, ...negative.map((terms) => ['"-"', ...terms])];
  return all.length > 0 ? choice(all) : undefined;
}

/** The next whole number in the direction of `step` that the bound lets through. */
function wholeBound({ value, isOpen }: Bound, step: 1 | -1): Bound {
  const whole = step > 0 ? Math.ceil(value) : Math.floor(value);
  // Beyond what numbers count one by one, the bound stays open.
  const next = isOpen && whole === value && Number.isSafeInteger(value) ? whole + step : whole;
  return { value: next, isOpen: isOpen && next === value };
}

function sizeOf({ value, isOpen }: Bound): Size {
  const [digits = '', exponent] = Math.abs(value).toExponential().replace('.', '').split('e');
  const point = Number(exponent) + 1;
  const all = point <= 0 ? '0'.repeat(1 - point) + digits : digits.padEnd(point, '0');
  const whole = all.slice(0, Math.max(1, point));
  return { whole, part: all.slice(whole.length).replace(/0+$/, ''), isOpen };
}

/** Sizes from one to another, or to none. */
function between(a: Size, b: Size | undefined, isInteger: boolean): Terms[] {
  const [first, last] = [BigInt(a.whole), b && BigInt(b.whole)];
  const low = isInteger && !a.isOpen ? first : first + 1n;
  const high = last === undefined || (isInteger && !b?.isOpen) ? last : last - 1n;
  const inner = wholes(low, high);
  if (isInteger || (last !== undefined && last < first)) return inner;
  const whole = ({ whole }: Size, parts: readonly Terms[]) =>
    parts.map((part) => [`"${whole}"`, ...(part.length > 0 ? ['"."'] : []), ...part]);
  if (b && first === last) return whole(a, partsBetween(a, b));
  return [
    ...whole(a, partsFrom(a.part, a.isOpen)),
    ...inner.map((terms) => [...terms, '("." [0-9]+)?']),
    ...(b ? whole(b, partsTo(b.part, b.isOpen)) : []),
  ];
}

const digits = (from: number, to: number) => (from > to ? [] : [`[${from}-${to}]`]);
const behind = (digit: number, parts: readonly Terms[]): Terms[] => parts.map((part) => [`"${digit}"`, ...part]);

/** Digits behind a point that are no less than these. */
function partsFrom(part: string, isOpen: boolean): Terms[] {
  if (part === '') return isOpen ? [['"0"*', '[1-9]', '[0-9]*']] : [[], ['[0-9]+']];
  const first = Number(part[0]);
  return [
    ...digits(first + 1, 9).map((digit) => [digit, '[0-9]*']),
    ...behind(first, partsFrom(part.slice(1), isOpen)),
  ];
}

/** Digits behind a point that are no more than these. */
function partsTo(part: string, isOpen: boolean): Terms[] {
  if (part === '') return isOpen ? [] : [[], ['"0"+']];
  const first = Number(part[0]);
  const less = digits(0, first - 1).map((digit) => [digit, '[0-9]*']);
  return [[], ...less, ...behind(first, partsTo(part.slice(1), isOpen))];
}

function partsBetween(a: Omit<Size, 'whole'>, b: Omit<Size, 'whole'>): Terms[] {
  if (a.part === '' && !a.isOpen) return partsTo(b.part, b.isOpen);
  if (b.part === '') return [];
  const [low, high] = [Number(a.part[0] ?? 0), Number(b.part[0])];
  const [afterLow, afterHigh] = [a, b].map(({ part, isOpen }) => ({ part: part.slice(1), isOpen })) as [Size, Size];
  if (low > high) return [];
  if (low === high) return behind(low, partsBetween(afterLow, afterHigh));
  return [
    ...behind(low, partsFrom(afterLow.part, a.isOpen)),
    ...digits(low + 1, high - 1).map((digit) => [digit, '[0-9]*']),
    ...behind(high, partsTo(afterHigh.part, b.isOpen)),
  ];
}

/** Whole numbers from one to another, or to none. */
function wholes(from: bigint, to: bigint | undefined): Terms[] {
  if (to !== undefined && to < from) return [];
  if (from === 0n) return [['"0"'], ...wholes(1n, to)];
  const { length } = String(from);
  const most = 10n ** BigInt(length) - 1n;
  if (to !== undefined && to <= most) return ofOneLength(String(from), String(to));
  if (to === undefined && String(from) === '1'.padEnd(length, '0')) return [['[1-9]', `[0-9]{${length - 1},}`]];
  return [...ofOneLength(String(from), String(most)), ...wholes(most + 1n, to)];
}

function ofOneLength(low: string, high: string): Terms[] {
  if (low === '') return [[]];
  const [a, b, rest] = [Number(low[0]), Number(high[0]), low.length - 1];
  if (a === b) return behind(a, ofOneLength(low.slice(1), high.slice(1)));
  const any = rest > 0 ? [`[0-9]{${rest}}`] : [];
  const [isFirst, isLast] = [/^0*$/.test(low.slice(1)), /^9*$/.test(high.slice(1))];
  return [
    ...(isFirst ? [] : behind(a, ofOneLength(low.slice(1), '9'.repeat(rest)))),
    ...digits(isFirst ? a : a + 1, isLast ? b : b - 1).map((digit) => [digit, ...any]),
    ...(isLast ? [] : behind(b, ofOneLength('0'.repeat(rest), high.slice(1)))),
  ];
}
