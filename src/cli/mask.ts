import { styleText } from 'node:util';
import { Command } from 'commander';
import { UnsupportedError } from '../errors';
import { oneHead } from '../masks/mask';
import { maskCount, maskSvg, maskText } from '../masks/picture';
import { findMethod, methods } from '../methods/registry';
import { paramsOption, parseParams, wholeNumber } from './options';
import { writeFileAtomic } from './write-file';

interface MaskOptions {
  readonly params?: string;
  readonly size: number;
  readonly queries?: number;
  readonly svg?: string;
}

const LARGEST = 2 ** 20;
const DEFAULT_WIDTH = 80;

export function maskCommand(): Command {
  const extent = wholeNumber(1, LARGEST);
  return new Command('mask')
    .description('draw which keys each query sees')
    .argument('<method>')
    .addOption(paramsOption())
    .option('--size <keys>', 'number of keys', extent, 32)
    .option('--queries <count>', 'number of queries; default: as many as keys', extent)
    .option('--svg <file>', 'write an SVG picture instead')
    .addHelpText(
      'after',
      `\nExample:\n  $ saccade mask attention --params '{"window": [8, 8]}' --size 64 --svg window.svg`,
    )
    .action(drawMask);
}

async function drawMask(name: string, { params, size, queries = size, svg }: MaskOptions): Promise<void> {
  const method = findMethod(name);
  const settings = parseParams(method, params);
  const mask = method.mask?.(settings);
  if (!mask) {
    const drawable = methods.filter((candidate) => candidate.mask).map((candidate) => candidate.name);
    throw new UnsupportedError(`${name} has no mask to draw: choose one of ${drawable.join(', ')}`);
  }
  const place = oneHead(queries, size);
  const title = `${name}: ${mask.name}`;
  if (svg !== undefined) {
    await writeFileAtomic(svg, maskSvg(mask, place, { title }));
    return;
  }
  const picture = maskText(mask, place, process.stdout.columns ?? DEFAULT_WIDTH);
  process.stdout.write(`${styleText('bold', title)}, ${maskCount(mask, place)}\n${picture}\n`);
}
