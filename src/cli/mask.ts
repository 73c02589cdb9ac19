import { styleText } from 'node:util';
import { Command } from 'commander';
import { ParameterError, UnsupportedError } from '../errors';
import { areaAt } from '../masks/area';
import type { Mask } from '../masks/mask';
import { maskCount, maskSvg, maskText } from '../masks/picture';
import { type MaskProblem, type Method, problemOfLetters } from '../methods/define';
import { methods } from '../methods/registry';
import { MASK_NAMES } from '../methods/sparse/longca/settings';
import { bindShapes } from '../tensor/shape';
import { METHOD_OR_MODULE, readMethod } from './methods';
import { extents, jsonOption, paramsOption, parseParams, wholeNumber } from './options';
import { checkWritable, tell, writeFileAtomic, writeJson } from './write-file';

interface MaskOptions {
  readonly params?: string;
  readonly size: number;
  readonly queries?: number;
  readonly grid?: readonly number[];
  readonly heads: number;
  readonly keyHeads?: number;
  readonly head: number;
  readonly svg?: string;
  readonly json?: string;
}

/** So that the densest mask takes seconds. */
const LARGEST = 2 ** 16;
const DEFAULT_WIDTH = 80;

export function maskCommand(): Command {
  const extent = wholeNumber(1, LARGEST);
  return new Command('mask')
    .argument('<method>', METHOD_OR_MODULE)
    .addOption(paramsOption())
    .option('--size <keys>', `number of keys, up to ${LARGEST}`, extent, 32)
    .option('--queries <count>', 'number of queries; default: as many as keys', extent)
    .option(
      '--grid <extents>',
      'spatial axes, such as 8x8, for methods that have them; default: one axis',
      extents(1, LARGEST),
    )
    .option('--heads <count>', 'query heads', wholeNumber(1, 1024), 1)
    .option('--key-heads <count>', 'key/value heads; default: as many as query heads', wholeNumber(1, 1024))
    .option('--head <index>', 'the head to draw, for masks that differ by head', wholeNumber(0, 1023), 0)
    .option('--svg <file>', 'write an SVG picture instead')
    .addOption(jsonOption('name and extents of the mask, and how many pairs it sees,'))
    .addHelpText(
      'after',
      `\nExample:\n  $ saccade mask attention --params '{"window": [8, 8]}' --size 64 --svg window.svg`,
    )
    .addHelpText('after', `\nMasks of LongCA-bench: ${MASK_NAMES.join(', ')}`)
    .action(drawMask);
}

async function drawMask(name: string, { params, svg, json, head, ...sizes }: MaskOptions): Promise<void> {
  for (const path of [svg, json]) if (path !== undefined) await checkWritable(path);
  const method = await readMethod(name);
  const problem = problemOf(method, sizes);
  const mask = maskOf(method, params, problem);
  if (head >= problem.h) throw new ParameterError(`--head must be below the ${problem.h} of --heads, got ${head}`);
  const place = { ...problem, batch: 0, head };
  const title = `${name}: ${mask.name}`;
  const report = { method: name, mask: mask.name, queries: place.n, keys: place.m, head, seen: areaAt(mask, place) };
  if (svg !== undefined) {
    await writeFileAtomic(svg, maskSvg(mask, place, { title }));
    return writeJson(json, report);
  }
  const picture = () => maskText(mask, place, process.stdout.columns ?? DEFAULT_WIDTH);
  await tell(() => `${styleText('bold', title)}, ${maskCount(mask, place)}\n${picture()}`, json, report);
}

/** Throws unless the method with these params is a mask that fits the problem. */
export function maskOf(method: Method, params: string | undefined, problem: MaskProblem): Mask {
  const { name } = method;
  const settings = parseParams(method, params);
  const mask = withGridHint(problem, () => method.mask?.(settings, problem));
  if (!mask && method.mask) throw new UnsupportedError(`with these params ${name} is no mask`);
  if (!mask) {
    const masked = methods.filter((candidate) => candidate.mask).map((candidate) => candidate.name);
    throw new UnsupportedError(`${name} has no mask: choose one of ${masked.join(', ')}`);
  }
  mask.check?.(problem);
  return mask;
}

/** Params that do not fit one axis were often meant for several axes, which need --grid. */
function withGridHint<T>({ grid, n }: MaskProblem, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof ParameterError && grid.length === 1)) throw error;
    throw new ParameterError(`${error.message}: without --grid, such as --grid 8x8, there is one axis of ${n} tokens`);
  }
}

function checkGrid(grid: readonly number[], most: number): void {
  if (grid.length > 3) throw new ParameterError(`--grid must have 1 to 3 axes, got ${grid.length}`);
  const tokens = grid.reduce((size, extent) => size * extent, 1);
  if (tokens > most) throw new ParameterError(`--grid must have at most ${most} tokens, got ${tokens}`);
}

/** The problem of a method's mask at the extents that options give; a grid of more than `most` tokens is refused. */
export function problemOf(
  method: Method,
  {
    size,
    queries = size,
    grid,
    heads: h,
    keyHeads: g = h,
  }: Pick<MaskOptions, 'size' | 'queries' | 'grid' | 'heads' | 'keyHeads'>,
  most = LARGEST,
): MaskProblem {
  if (h % g !== 0) throw new ParameterError(`--key-heads must divide the ${h} of --heads, got ${g}`);
  const isSpatial = (method.inputs.q as string).includes('...space');
  if (grid && !isSpatial) throw new ParameterError(`--grid is for methods with spatial axes, ${method.name} has none`);
  if (grid) checkGrid(grid, most);
  const letters = isSpatial
    ? bindShapes({ q: method.inputs.q as string }, { q: [1, ...(grid ?? [size]), h, 1] })
    : { n: queries, m: size };
  return problemOfLetters({ ...letters, h, g });
}
