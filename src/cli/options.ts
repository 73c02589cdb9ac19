/** Options and arguments that several commands take. */
import { InvalidArgumentError, Option } from 'commander';
import { ParameterError } from '../errors';
import type { Method } from '../methods/define';
import { BACKENDS } from '../runtime/backend';

/** Parses an option's value as a whole number within bounds. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}

/** Parses an option's value as how many tasks, or the names of what each has: `a,b;c`. */
export function taskOrder(text: string): number | string[][] {
  if (/^\d+$/.test(text)) return wholeNumber(1, 10_000)(text);
  const named = (task: string) => task.split(',').map((name) => name.trim());
  return text.split(';').map((task) => named(task).filter((name) => name !== ''));
}

/** Parses an option's value as whole numbers for the axes of a grid: `30x48x80`. */
export function extents(least: number, most: number): (text: string) => number[] {
  return (text) => {
    const values = text.split('x').map((extent) => (/^\d+$/.test(extent) ? Number(extent) : Number.NaN));
    if (values.every((value) => value >= least && value <= most)) return values;
    throw new InvalidArgumentError(`It must be whole numbers from ${least} to ${most} joined by x, such as 16x8x8.`);
  };
}

/** Parses an option's value as a number within bounds. */
export function number(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It must be a number from ${least} to ${most}.`);
  };
}

/** Parses an option's value as a share of a whole, none and all included. */
export const share = number(0, 1);

export function backendOption(): Option {
  return new Option('--backend <name>', 'where to compute').choices(['auto', ...BACKENDS]).default('auto');
}

export function threadsOption(): Option {
  return new Option('--threads <count>', 'threads of the wasm backend; default: one per core').argParser(
    wholeNumber(1, 256),
  );
}

export function paramsOption(): Option {
  return new Option('--params <json>', 'params of the method, such as \'{"causal": true}\'');
}

/** `--json` of every command: `what` goes to the file, or to stdout without one; messages then go to stderr. */
export function jsonOption(what: string): Option {
  return new Option('--json [file]', `${what} as JSON, to the file, or without one or with - to stdout`).preset('-');
}

/** What `--params` was given. */
export function parseJson(json = '{}'): Record<string, unknown> {
  try {
    return JSON.parse(json);
  } catch {
    throw new ParameterError(`--params must be JSON, such as '{"causal": true}', got '${json}'`);
  }
}

/** The method's params out of what `--params` was given. */
export function parseParams(method: Method, json: string | undefined): ReturnType<Method['parse']> {
  return method.parse(parseJson(json));
}
