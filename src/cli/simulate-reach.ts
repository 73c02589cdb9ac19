import { styleText } from 'node:util';
import { Command, Option } from 'commander';
import { ParameterError } from '../errors';
import type { Method } from '../methods/define';
import { methods } from '../methods/registry';
import { MASK_NAMES } from '../methods/sparse/longca/settings';
import { expectedRandomField, keysOfMask, receptiveField } from '../simulate/reach';
import {
  keysThrough,
  REACH_MASKS,
  type ReachMask,
  type ReachMaskName,
  type ReachParams,
} from '../simulate/reach-masks';
import { formatPercent } from '../text/format';
import { formatTable, right } from '../text/table';
import { maskOf, problemOf } from './mask';
import { findMethodOrMask } from './methods';
import { extents, jsonOption, paramsOption, wholeNumber } from './options';
import { tell } from './write-file';

interface ReachOptions extends Partial<ReachParams> {
  readonly mask: string;
  readonly layers: number;
  readonly json?: string;
  readonly params?: string;
  readonly heads?: number;
  readonly keyHeads?: number;
  readonly grid?: readonly number[];
}

/** What the command prints as JSON. */
interface ReachReport extends Partial<ReachParams> {
  readonly mask: string;
  readonly size: number;
  /** The name of a method's mask. */
  readonly name?: string;
  /** Keys that the last query reaches by layer. */
  readonly reach: readonly number[];
  /** The same by a formula, for masks that have one. */
  readonly expected?: readonly number[];
}

const NAMES = Object.keys(REACH_MASKS) as ReachMaskName[];
const METHODS = [...methods.filter(({ mask }) => mask).map(({ name }) => name), ...MASK_NAMES];
/** Options that only methods take. */
const OF_METHODS = { params: '--params', heads: '--heads', keyHeads: '--key-heads', grid: '--grid' } as const;
/** Tokens of a method's mask by default. */
const DEFAULT_SIZE = 1024;
const PARAMS = ['size', 'window', 'sink', 'stride', 'seed'] as const;
/** So that the slowest mask takes a second or so. */
const LARGEST = 8192;
const BAR = 40;

export function simulateReachCommand(): Command {
  const count = wholeNumber(1, LARGEST);
  const masks = Object.entries(REACH_MASKS).map(([name, { summary }]) => `  ${name.padEnd(26)}${summary}`);
  return new Command('reach')
    .description('how many keys the last query reaches through layers of a mask')
    .addOption(
      new Option('--mask <name>', 'which keys a query sees').choices([...NAMES, ...METHODS]).makeOptionMandatory(),
    )
    .option('--size <blocks>', 'blocks, or tokens', count)
    .option('--window <blocks>', 'keys nearby, the own one included', count)
    .option('--sink <blocks>', 'first keys, seen by all', wholeNumber(0, LARGEST))
    .option('--stride <blocks>', 'distance of the far keys', count)
    .option('--seed <number>', 'of the order of stochastic masks', wholeNumber(0, 2 ** 32 - 1))
    .addOption(paramsOption())
    .option('--heads <count>', 'query heads of a method; what any of them sees is reached', wholeNumber(1, 1024))
    .option('--key-heads <count>', 'its key/value heads; default: as many as query heads', wholeNumber(1, 1024))
    .option('--grid <extents>', 'its spatial axes, such as 8x8, if it has them', extents(1, LARGEST))
    .option('--layers <count>', 'the most layers', wholeNumber(1, 1024), 32)
    .addOption(jsonOption('the report'))
    .addHelpText(
      'after',
      `\nMasks:\n${masks.join('\n')}\n  ${'a method'.padEnd(26)}with its --params: ${METHODS.join(', ')}`,
    )
    .addHelpText('after', '\nExample:\n  $ saccade simulate reach --mask power --size 256')
    .addHelpText(
      'after',
      `  $ saccade simulate reach --mask s2-attention --params '{"block": 16, "localBlocks": 2}' --heads 8`,
    )
    .action(async ({ mask, json, ...options }: ReachOptions) => {
      const report = reachReport(mask, options);
      await tell(() => reachText(report, options.layers), json, report);
    });
}

function reachReport(mask: string, options: Omit<ReachOptions, 'mask' | 'json'>): ReachReport {
  if (METHODS.includes(mask)) return methodReport(findMethodOrMask(mask), options);
  for (const [name, flag] of Object.entries(OF_METHODS)) {
    if (options[name as keyof typeof OF_METHODS] !== undefined)
      throw new ParameterError(`${flag} is for methods, mask ${mask} is none`);
  }
  return namedReport(mask as ReachMaskName, options);
}

function methodReport(
  method: Method,
  { layers, params, size: given, heads, keyHeads, grid, ...others }: Omit<ReachOptions, 'mask' | 'json'>,
): ReachReport {
  const unused = PARAMS.find((name) => name !== 'size' && others[name] !== undefined);
  if (unused) throw new ParameterError(`${method.name} takes no --${unused}: pass --params`);
  if (grid && given !== undefined) throw new ParameterError('--size follows from --grid: leave it out');
  const sizes = {
    size: given ?? DEFAULT_SIZE,
    heads: heads ?? 1,
    ...(grid && { grid }),
    ...(keyHeads && { keyHeads }),
  };
  const problem = problemOf(method, sizes, LARGEST);
  const size = problem.n;
  const mask = maskOf(method, params, problem);
  return {
    mask: method.name,
    size,
    name: mask.name,
    reach: receptiveField(keysOfMask(mask, problem), size, { layers }),
  };
}

function namedReport(mask: ReachMaskName, { layers, ...given }: Omit<ReachOptions, 'mask' | 'json'>): ReachReport {
  const chosen: ReachMask = REACH_MASKS[mask];
  const { defaults } = chosen;
  const unused = PARAMS.find((name) => given[name] !== undefined && defaults[name] === undefined);
  if (unused) {
    const taken = Object.keys(defaults).map((name) => `--${name}`);
    throw new ParameterError(`mask ${mask} takes no --${unused}, only ${taken.join(', ')}`);
  }
  const settings = { ...defaults, ...given };
  const params: ReachParams = { window: 1, sink: 0, stride: 1, seed: 1, ...settings };
  const { size, window } = params;
  const reach = receptiveField(keysThrough(chosen, params), size, { layers, changes: chosen.changes ?? false });
  return {
    mask,
    ...settings,
    reach,
    ...(mask === 'stochastic' && { expected: expectedRandomField(size, Math.min(window, size), reach.length) }),
  };
}

function reachText({ mask, name, size, reach, expected, ...settings }: ReachReport, layers: number): string {
  const given = PARAMS.flatMap((param) => (param in settings ? [`${param} ${settings[param as 'window']}`] : []));
  const title = `${styleText('bold', mask)}: ${[...(name ? [name] : []), `size ${size}`, ...given].join(', ')}`;
  const headers = ['layer', 'reached', ...(expected ? ['expected'] : []), 'share'];
  const table = formatTable(
    [...headers.map(right), ''],
    reach.map((count, at) => [
      String(at + 1),
      String(count),
      ...(expected ? [String(Math.round(expected[at] as number))] : []),
      formatPercent(count / size),
      '█'.repeat(Math.round((BAR * count) / size)),
    ]),
  );
  return `${title}\n\n${table}\n\n${verdict(reach, size, layers)}`;
}

function verdict(reach: readonly number[], size: number, layers: number): string {
  const last = reach.at(-1);
  if (last === size) return `The last query reaches everything in ${counted(reach.length, 'layer')}.`;
  return reach.length < layers
    ? `More layers add nothing: ${counted(size - (last as number), 'key')} never reached.`
    : `Not everything is reached in ${counted(layers, 'layer')}.`;
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
