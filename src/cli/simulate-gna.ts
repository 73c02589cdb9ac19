import { Command, InvalidArgumentError, Option } from 'commander';
import { ParameterError } from '../errors';
import { checkTiles, endToEndSpeedup, type GnaSimulation, simulateGna } from '../simulate/gna';
import { besidePublished, findPublished, type PublishedComparison, publishedRows } from '../simulate/published';
import { sweepStrides } from '../simulate/strides';
import type { GnaTiles } from '../simulate/tile-counts';
import { TILE_MENUS, type TileMenu, tilesOfMenu } from '../simulate/tile-menus';
import { extents, jsonOption, share } from './options';
import { type GnaBounds, type GnaReport, gnaText, publishedText } from './simulate-gna-text';
import { tell } from './write-file';

interface GnaOptions {
  readonly grid?: number[];
  readonly window?: number[];
  readonly stride: number[];
  readonly dilation: number[];
  readonly causal: boolean[];
  readonly qTile?: number[];
  readonly kvTile?: number[];
  readonly tiles?: TileMenu;
  readonly tiling: NonNullable<GnaTiles['tiling']>;
  readonly attentionShare: number;
  readonly suggest?: true;
  readonly published?: true;
  readonly json?: string;
}

const LONGEST = 65_536;

export function simulateGnaCommand(): Command {
  const axes = extents(1, LONGEST);
  return new Command('gna')
    .description('bound the speed-up of neighborhood attention by the tiles it visits')
    .option('--grid <extents>', 'tokens along each axis, such as 30x48x80', axes)
    .option('--window <extents>', 'keys seen along each axis; one number is for all', axes)
    .addOption(axisOption('--stride <extents>', 'queries that share a window', axes))
    .addOption(axisOption('--dilation <extents>', 'distance of neighbouring keys', axes))
    .addOption(
      new Option('--causal <flags>', 'earlier keys only, such as true,false,false')
        .argParser(flags)
        .default([false], 'false'),
    )
    .option('--q-tile <extents>', 'queries of a tile; one number tiles the grid flattened', axes)
    .option('--kv-tile <extents>', 'keys of a tile', axes)
    .addOption(
      new Option('--tiles <kernel>', 'the best tiles that a kernel has; default: saccade')
        .choices(TILE_MENUS)
        .conflicts(['qTile', 'kvTile']),
    )
    .addOption(
      new Option('--tiling <kind>', 'key tiles lie on a grid, or from the first key seen')
        .choices(['static', 'dynamic'])
        .default('static'),
    )
    .option('--attention-share <share>', "attention's share of the run, from 0 to 1", share, 1)
    .option('--suggest', 'list the strides that compute less than every smaller one')
    .addOption(
      new Option('--published', "every row of the paper's simulator beside ours").conflicts([
        'grid',
        'window',
        'stride',
        'dilation',
        'causal',
        'tiling',
        'attentionShare',
        'qTile',
        'kvTile',
        'tiles',
        'suggest',
      ]),
    )
    .addOption(jsonOption('the report'))
    .addHelpText(
      'after',
      '\nExample:\n  $ saccade simulate gna --grid 30x48x80 --window 18x24x24 --tiles blackwell --suggest',
    )
    .action(async (options: GnaOptions) => {
      const [report, text] = options.published ? publishedReport() : gnaReport(options);
      await tell(text, options.json, report);
    });
}

/** A report, and how to show it. */
type Shown<T> = readonly [report: T, text: () => string];

function publishedReport(): Shown<PublishedComparison[]> {
  const rows = publishedRows.map(besidePublished);
  return [rows, () => publishedText(rows)];
}

function gnaReport(options: GnaOptions): Shown<GnaReport> {
  const { grid, window, stride, dilation, causal, attentionShare, suggest } = options;
  if (!grid || !window) {
    throw new ParameterError(
      `--${grid ? 'window' : 'grid'} is needed, such as --grid 30x48x80 --window 18x24x24, or --published alone`,
    );
  }
  const setting = {
    grid,
    window: oneOrEach(window),
    stride: oneOrEach(stride),
    dilation: oneOrEach(dilation),
    causal: oneOrEach(causal),
  };
  const candidates = tileCandidates(options, grid.length);
  const bounds = (simulations: readonly GnaSimulation[]) => simulations.map((each) => gnaBounds(each, attentionShare));
  const menu = bounds(candidates.map((tiles) => simulateGna(setting, tiles)));
  const best = menu.reduce((a, b) => (b.computedPairs < a.computedPairs ? b : a));
  const published = findPublished(best);
  const report = {
    ...best,
    attentionShare,
    ...(menu.length > 1 && { menu }),
    ...(suggest && { suggestions: bounds(sweepStrides(setting, ...candidates)) }),
    ...(published && { published: besidePublished(published) }),
  };
  return [report, () => gnaText(report)];
}

function gnaBounds(simulation: GnaSimulation, attentionShare: number): GnaBounds {
  return {
    ...simulation,
    endToEnd: endToEndSpeedup(simulation.speedup, attentionShare),
    meanEndToEnd: endToEndSpeedup(simulation.meanSpeedup, attentionShare),
    flopEndToEnd: endToEndSpeedup(simulation.flopSpeedup, attentionShare),
  };
}

function tileCandidates({ qTile, kvTile, tiles = 'saccade', tiling }: GnaOptions, rank: number): GnaTiles[] {
  if (!qTile && !kvTile) return tilesOfMenu(tiles, rank).map((pair) => ({ ...pair, tiling }));
  if (!qTile || !kvTile) {
    const [given, missing] = qTile ? ['--q-tile', '--kv-tile'] : ['--kv-tile', '--q-tile'];
    throw new ParameterError(`${missing} is needed beside ${given}`);
  }
  const pair = { queryTile: qTile, keyTile: kvTile, tiling };
  checkTiles(rank, pair, ['--q-tile', '--kv-tile']);
  return [pair];
}

function axisOption(name: string, description: string, parse: (text: string) => number[]): Option {
  return new Option(name, description).argParser(parse).default([1], '1');
}

/** A single value is for all axes. */
function oneOrEach<T>(values: readonly T[]): T | readonly T[] {
  return values.length === 1 ? (values[0] as T) : values;
}

function flags(text: string): boolean[] {
  return text.split(',').map((flag) => {
    if (flag === 'true' || flag === 'false') return flag === 'true';
    throw new InvalidArgumentError('It must be true or false, or one of them for each axis: true,false,false.');
  });
}
