/** Checks of plain values: each says what was expected and what came, whatever came. */
import { ParameterError, SaccadeError } from './errors';

const LONGEST_SHOWN = 60;

/** Any value for a message: on one short line, without calling the value's own methods. */
export function show(value: unknown): string {
  switch (typeof value) {
    case 'string': {
      const text = JSON.stringify(value.slice(0, LONGEST_SHOWN)).slice(1, -1);
      return `'${text}${value.length > LONGEST_SHOWN ? '...' : ''}'`;
    }
    case 'bigint':
      return BigInt.asIntN(256, value) === value ? `${value}n` : 'a bigint of more than 256 bits';
    case 'symbol':
    case 'function':
      return `a ${typeof value}`;
    case 'object':
      return value === null ? 'null' : showObject(value);
    default:
      return String(value);
  }
}

function showObject(value: object): string {
  if (!Array.isArray(value)) {
    const kind = kindOf(value);
    return kind === 'Object' ? 'an object' : `${/^[AEIOU]/.test(kind) ? 'an' : 'a'} ${kind}`;
  }
  const simple = value.length <= 8 && value.every((entry) => entry === null || typeof entry !== 'object');
  return simple ? `[${value.map(show).join(', ')}]` : `an array of ${value.length}`;
}

/** `Object` for those with names, also those of a caller's class, else what it is: `Array`, `Date`, `Float32Array`, ... */
function kindOf(value: object): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

/** An error whose message begins with `label`, such as the name of a file: those of this library; others stay as they are. */
export function labelled(label: string, error: unknown): unknown {
  if (!(error instanceof SaccadeError) || error.message.startsWith(label)) return error;
  return new (error.constructor as typeof SaccadeError)(`${label}: ${error.message}`, { cause: error });
}

/** The name of a part: `a.b`, `a[0]` or `a["b.c"]`; two parts never have the same name. */
export function partName(whole: string, key: string | number): string {
  if (typeof key === 'number') return `${whole}[${key}]`;
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `${whole}.${key}` : `${whole}[${JSON.stringify(key)}]`;
}

/** The name of what is at a path, such as `tree.parents`; no two paths share a name. */
export function pathName(path: readonly string[]): string {
  return path.reduce(partName, '').replace(/^\./, '');
}

/** Whether it is an object with names, such as options. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && kindOf(value) === 'Object';
}

/** Throws a ParameterError unless `value` is an object with names. */
export function checkRecord(what: string, value: unknown): void {
  if (!isRecord(value)) throw new ParameterError(`${what} must be an object, got ${show(value)}`);
}

/** Throws unless `options` is an object with known names only. */
export function checkOptions(op: string, options: object, known: readonly string[]): void {
  checkKnown(`options of ${op}`, options, known, (name) => `${op} has no option '${name}'`);
}

/** Throws unless `params`, called `what`, are an object with known names only. */
export function checkParams(what: string, params: object, known: readonly string[]): void {
  checkKnown(`params of ${what}`, params, known, (name) => `${what} has no param '${name}'`);
}

/** Throws unless `value` is an object with known names only; `complain` begins the message about another. */
export function checkKnown(
  what: string,
  value: object,
  known: readonly string[],
  complain: (name: string) => string,
): void {
  checkRecord(what, value);
  for (const name of Object.keys(value)) {
    if (!known.includes(name)) throw new ParameterError(`${complain(name)}: expected ${known.join(', ')}`);
  }
}

/** Throws a ParameterError unless `value` is a function. */
export function checkFunction(what: string, value: unknown): void {
  if (typeof value !== 'function') throw new ParameterError(`${what} must be a function, got ${show(value)}`);
}

/**
 * Throws a SaccadeError if what a function that must not wait returned is a promise, whose rejection nobody else would hear of;
 * `remedy` ends the message.
 */
export function checkNoPromise(what: string, returned: unknown, remedy = ''): void {
  if (typeof (returned as { then?: unknown } | null | undefined)?.then !== 'function') return;
  Promise.resolve(returned).catch(() => undefined);
  throw new SaccadeError(`${what} must not wait, got a promise${remedy}`);
}

/** Throws a ParameterError unless `value` is true, false or, where it may be left out, undefined. */
export function checkBoolean(what: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'boolean')
    throw new ParameterError(`${what} must be true or false, got ${show(value)}`);
}

/** Throws a ParameterError unless `value` is one of `choices` or undefined. */
export function checkChoice(what: string, value: unknown, choices: readonly unknown[]): void {
  if (value !== undefined && !choices.includes(value))
    throw new ParameterError(`${what} must be one of ${choices.join(', ')}, got ${show(value)}`);
}

/** Throws a ParameterError unless `value` is a list of some of `choices`, each once. */
export function checkChoices(what: string, value: unknown, choices: readonly unknown[]): void {
  const isSome = Array.isArray(value) && value.length > 0 && new Set(value).size === value.length;
  if (!isSome || !Array.from(value).every((each) => choices.includes(each)))
    throw new ParameterError(`${what} must be some of ${choices.join(', ')}, each once, got ${show(value)}`);
}

/** Throws a ParameterError unless `value` is an integer from `least` to `most`. */
export function checkWhole(what: string, value: number, least: number, most = Number.MAX_SAFE_INTEGER): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return;
  throw new ParameterError(`${what} must be ${wholeFrom(least, most)}, got ${show(value)}`);
}

/** What an integer within limits is called. */
export function wholeFrom(least: number, most: number | string): string {
  if (most !== Number.MAX_SAFE_INTEGER) return `an integer from ${least} to ${most}`;
  return least === Number.MIN_SAFE_INTEGER ? 'an integer' : `an integer >= ${least}`;
}

/** Throws a ParameterError unless `value` is an array. */
export function checkArray(what: string, value: unknown): void {
  if (!Array.isArray(value)) throw new ParameterError(`${what} must be an array, got ${show(value)}`);
}

/** Whether it is a list of numbers by its kind: an array, or a typed array of numbers. What is in an array may be anything. */
export function isNumbers(value: unknown): value is ArrayLike<number> {
  if (Array.isArray(value)) return true;
  return ArrayBuffer.isView(value) && !(value instanceof DataView) && !kindOf(value).startsWith('Big');
}

/** Throws a ParameterError unless `value` is a number that is as `fits` says. */
export function checkNumber(what: string, value: number, expected: string, fits: (value: number) => boolean): void {
  if (!(typeof value === 'number' && fits(value)))
    throw new ParameterError(`${what} must be ${expected}, got ${show(value)}`);
}

/** Throws a ParameterError unless `values` is an array or typed array of numbers that all are as `fits` says. */
export function checkNumbers(
  what: string,
  values: ArrayLike<number>,
  expected: string,
  fits: (value: number) => boolean,
): void {
  if (!isNumbers(values)) throw new ParameterError(`${what} must be an array of numbers, got ${show(values)}`);
  for (let at = 0; at < values.length; at++) {
    const value = values[at] as number;
    if (!(typeof value === 'number' && fits(value)))
      throw new ParameterError(`${what} must be ${expected}, got ${show(value)} at element ${at}`);
  }
}

/** The integers of a plain or typed array as int32, without a copy if they already are; throws a ParameterError for others. */
export function int32Of(what: string, values: ArrayLike<number>): Int32Array {
  if (values instanceof Int32Array) return values;
  checkNumbers(what, values, 'integers that int32 can hold', (value) => (value | 0) === value);
  return Int32Array.from(values);
}
