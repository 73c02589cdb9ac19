import { join } from 'node:path';
import { styleText } from 'node:util';
import { Command, Option } from 'commander';
import { ParameterError } from '../errors';
import { besideEachOther, enlarged, greySquare, heat, toPng } from '../look/paint';
import { describeMachine } from '../machine';
import { createRuntime } from '../ops/create-runtime';
import type { Picture } from '../pictures';
import { PLACES } from '../pipelines/paint/codec';
import { MAPPER_WAYS } from '../pipelines/paint/latent-mapper';
import { type Painting, paint } from '../pipelines/paint/paint';
import { parsePrompt } from '../pipelines/paint/prompts';
import { SIDE } from '../pipelines/paint/scenes';
import type { Studio } from '../pipelines/paint/studio';
import { htmlPage } from '../report/page';
import type { PaintPage } from '../report/paint-view';
import { formatPercent, significant } from '../text/format';
import { printable } from '../text/printable';
import { formatTable, right } from '../text/table';
import { lockFolder } from './lock-folder';
import { mapperOf, type SamplerOptions, samplerOptions, settingsOf, studioIn } from './paint-options';
import { paintTestCommand } from './paint-test';
import { paintTrainCommand } from './paint-train';
import { paintTransformersCommand } from './paint-transformers';
import { withProgress } from './progress';
import { say, writeFileAtomic } from './write-file';

interface PaintOptions extends SamplerOptions {
  readonly latentMapper?: true;
  readonly mapperWay: (typeof MAPPER_WAYS)[number];
  readonly ddpm?: true;
  readonly out: string;
}

const EXAMPLES = `
Pictures have 64 x 64 pixels. Without --weights, networks paint that were trained here on drawn garments: shirt, trousers, dress,
shoe, bag and hat.

Examples:
  $ saccade paint "a shirt and a shoe" --latent-mapper
  $ saccade paint "a hat, a dress and a bag" --prune 0.5 --shared 10 --seed 7
  $ saccade paint test --prompts 200
  $ saccade paint train --out networks
  $ saccade paint transformers --out transformers`;

/** Pixels of a side for each in a picture that is written. */
const ENLARGED = 4;

export function paintCommand(): Command {
  const command = new Command('paint').argument('[prompt]', 'such as "a shirt and a shoe"');
  return samplerOptions(command)
    .option('--latent-mapper', 'place the first noise so that attention finds every subject and keeps them apart')
    .addOption(
      new Option('--mapper-way <way>', 'whether the mapper chooses among noises, or moves them as in the paper')
        .choices([...MAPPER_WAYS])
        .default(MAPPER_WAYS[0]),
    )
    .option('--ddpm', 'add fresh noise in each step; default: DDIM, which adds none')
    .option('--out <folder>', 'where PNG files and report.html go', 'painted')
    .addHelpText('after', EXAMPLES)
    .addCommand(paintTestCommand())
    .addCommand(paintTrainCommand())
    .addCommand(paintTransformersCommand())
    .action(paintPrompt);
}

async function paintPrompt(prompt: string | undefined, options: PaintOptions): Promise<void> {
  if (prompt === undefined) throw new ParameterError('paint needs a prompt, such as "a shirt and a shoe"');
  const { out, latentMapper, mapperWay, ddpm, backend, threads, weights } = options;
  using runtime = await createRuntime({ ...(backend && { backend }), ...(threads && { threads }) });
  const studio = await studioIn(runtime, weights);
  const { classes } = parsePrompt(prompt, studio.words);
  using _ = lockFolder(out);
  const { prune, ...plain } = { ...settingsOf(options), eta: ddpm ? 1 : 0 };
  const isChanged = prune !== undefined || latentMapper === true;
  const [before, after] = await withProgress('painting', async ({ signal, onProgress }) => {
    const share = isChanged ? 0.5 : 1;
    const first = await paint(studio, prompt, plain, { signal, onProgress: (part) => onProgress(share * part) });
    if (!isChanged) return [first];
    const changed = { ...plain, prune, mapper: latentMapper && mapperOf(options, mapperWay) };
    return [first, await paint(studio, prompt, changed, { signal, onProgress: (part) => onProgress(0.5 + part / 2) })];
  });
  const shown = { prompt, studio, classes, before: before as Painting, after };
  const written = await write(out, shown, await describeMachine());
  await say([summary(shown), ...written.map((path) => `Written: ${printable(path)}`)].join('\n'));
  studio.dispose();
}

interface Shown {
  readonly prompt: string;
  readonly studio: Studio;
  readonly classes: readonly number[];
  readonly before: Painting;
  readonly after?: Painting | undefined;
}

/** What the judge finds, before and after. */
const rowsOf = ({ studio, classes, before, after }: Shown) =>
  studio.words.map((word, label) => ({
    word,
    isAsked: classes.includes(label),
    before: before.present[label] as number,
    ...(after && { after: after.present[label] as number }),
  }));

function factsOf({ before, after }: Shown): string[] {
  const mapped = after?.mapped;
  const fromTo = (score: 'missing' | 'overlap') =>
    mapped && `from ${significant(mapped.before[score])} to ${significant(mapped.scores[score])}`;
  const cost = (painting: Painting) => painting.passes + 2 * painting.backward;
  return [
    ...(mapped
      ? [
          `Placing the first noise took the attention that the worst subject lacks ${fromTo('missing')}, and the overlap of subjects ${fromTo('overlap')}; ${mapped.distance === 0 ? 'it was chosen, not moved' : `its distance from normal noise is ${significant(mapped.distance)} a number`}.`,
        ]
      : []),
    ...(after && cost(after) !== cost(before)
      ? [
          `Passes through the network, one back counted as two: ${cost(before)} before, ${cost(after)} after (${significant(cost(after) / cost(before))} times).`,
        ]
      : []),
  ];
}

function summary(shown: Shown): string {
  const { prompt, after } = shown;
  const rows = rowsOf(shown).map(({ word, isAsked, before, after }) => [
    word,
    isAsked ? 'asked' : '',
    formatPercent(before),
    ...(after === undefined ? [] : [formatPercent(after)]),
  ]);
  const columns = ['garment', '', right(after ? 'before' : 'in the picture'), ...(after ? [right('after')] : [])];
  return [
    styleText('bold', printable(prompt)),
    '',
    formatTable(columns, rows),
    '',
    'How likely each is in the picture, by a classifier that was trained beside the painter.',
    ...factsOf(shown),
  ].join('\n');
}

/** Shares of attention as colours, the largest brightest. */
function heatOf(map: Float32Array): Picture {
  const most = Math.max(...map);
  const rgb = Float32Array.from(map, (share) => share / most);
  return {
    width: PLACES,
    height: PLACES,
    rgb: Float32Array.from({ length: 3 * map.length }, (_, at) => heat(rgb[Math.floor(at / 3)] as number)[at % 3] ?? 0),
  };
}

async function write(out: string, shown: Shown, machine: PaintPage['machine']): Promise<string[]> {
  const { prompt, studio, classes, before, after } = shown;
  const paintings = { before, ...(after && { after }) };
  const pictures = Object.entries(paintings).flatMap(([when, { picture, maps }]) => [
    {
      name: after ? when : 'picture',
      title: after ? (when === 'before' ? 'Before' : 'After') : 'Picture',
      note: '',
      picture: enlarged(greySquare(picture, SIDE), ENLARGED),
    },
    {
      name: after ? `${when}-maps` : 'maps',
      title: `Attention${after ? ` ${when}` : ''}`,
      note: `once the layout is settled, to ${classes.map((label) => studio.words[label]).join(', ')}: brightest where it is largest`,
      picture: besideEachOther(
        maps.map((map) => enlarged(heatOf(map), (ENLARGED * SIDE) / PLACES)),
        8,
      ),
    },
  ]);
  const paths: string[] = [];
  for (const { name, picture } of pictures) {
    const path = join(out, `${name}.png`);
    await writeFileAtomic(path, toPng(picture));
    paths.push(path);
  }
  const page: PaintPage = {
    sights: pictures.map(({ title, note, picture }) => ({
      title,
      note,
      width: picture.width,
      height: picture.height,
      png: Buffer.from(toPng(picture)).toString('base64'),
    })),
    garments: rowsOf(shown),
    facts: factsOf(shown),
    machine,
  };
  const report = join(out, 'report.html');
  await writeFileAtomic(report, htmlPage({ title: prompt, view: 'paint', data: page }));
  return [report, ...paths];
}
