import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { styleText } from 'node:util';
import { Command, Option } from 'commander';
import { isRecord, show } from '../check';
import { ParameterError } from '../errors';
import { type Look, lookAt, lookConfig } from '../look/look';
import { toPng } from '../look/paint';
import { describeMachine } from '../machine';
import type { CreatedModel, Model } from '../models/define';
import { models } from '../models/registry';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import { decodePicture } from '../pictures';
import type { LookPage } from '../report/look-view';
import { htmlPage } from '../report/page';
import type { Control } from '../runtime/backend';
import type { Runtime } from '../runtime/runtime';
import { formatPercent } from '../text/format';
import { printable } from '../text/printable';
import { formatTable } from '../text/table';
import type { Weights } from '../weights';
import { backendOption, paramsOption, parseJson, threadsOption } from './options';
import { withProgress } from './progress';
import { MOST_BYTES, openFile, readBytes } from './read-tensors';
import { wrap } from './wrap';
import { checkWritable, say, writeFileAtomic } from './write-file';

interface Options extends Pick<RuntimeOptions, 'backend' | 'threads'> {
  readonly model: string;
  readonly image: string;
  readonly weights?: string;
  readonly variant?: string;
  readonly params?: string;
  readonly out?: string;
}

const WIDTH = 100;
const SMALL =
  'The weights are those of the small network that comes with the library: it knows clothes of 28 x 28 pixels, or drawn streets.';
const RANDOM = 'The weights are random: classes mean nothing, and what is shown is how the network is built.';

/** Those that take pictures. */
const networks = models.filter(({ inputs }) => 'x' in inputs);

export function lookCommand(): Command {
  return new Command('look')
    .addOption(
      new Option('--model <name>', 'the network').choices(networks.map(({ name }) => name)).makeOptionMandatory(),
    )
    .requiredOption('--image <file>', 'PNG, JPEG or WebP of less than 100 megapixels')
    .option(
      '--weights <path>',
      'in safetensors, a checkpoint of PyTorch or a folder, whose config.json is read as timm writes it; default: a small network that was trained here or, with --variant or --params, random ones',
    )
    .option('--variant <name>', 'of the network, as saccade list NAME tells them')
    .addOption(paramsOption())
    .option('--out <folder>', 'write what is to be seen as PNG files, and report.html, which holds them all')
    .addOption(backendOption())
    .addOption(threadsOption())
    .addHelpText(
      'after',
      `\nExamples:\n  $ saccade look --model van --weights van_tiny_754.pth.tar --image cat.jpg --out seen\n  $ saccade look --model deit --params '{"prune": {"thresholds": [0.001, 0.002, 0.003]}}' --image cat.jpg --out seen`,
    )
    .action(look);
}

async function look({ model: name, image, weights, variant, params: json, out, ...options }: Options): Promise<void> {
  const model = networks.find((each) => each.name === name) as Model;
  if (out !== undefined) {
    await mkdir(out, { recursive: true });
    await checkWritable(join(out, 'report.html'));
  }
  const picture = await decodePicture(image, await readBytes(image, MOST_BYTES));
  await using file = weights === undefined ? undefined : await openFile(weights);
  const published = file || json !== undefined || variant !== undefined ? undefined : await model.published?.load();
  const { params: configured, ...config } = lookConfig(published ? published.config : file?.config);
  const given = parseJson(json);
  if (!isRecord(given)) throw new ParameterError(`--params must be an object, got ${show(given)}`);
  const params = { ...configured, ...given, ...(variant !== undefined && { variant }) };
  const created = model.create(params as never);
  using runtime = await createRuntime(options);
  const seen = await withProgress(name, async ({ signal }) => {
    const all = published
      ? created.load(runtime, published.tensors)
      : await parametersOf(created, runtime, file, { signal });
    const parameters = runtime.scope(() => created.fold(all));
    return lookAt(runtime, model, picture, { ...config, params, parameters, signal });
  });
  const source = published ? SMALL : file ? `Weights: ${printable(file.name)}.` : RANDOM;
  const subject = { name, params, image, isRandom: source === RANDOM, source };
  const written = out === undefined ? [] : await write(out, await pageOf(seen, runtime, subject), seen);
  await say(summary(seen, { ...subject, written }));
}

async function parametersOf(created: CreatedModel, runtime: Runtime, file: Weights | undefined, control: Control) {
  return file ? created.load(runtime, file, control) : created.initialize(runtime);
}

interface Subject {
  readonly name: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly image: string;
  readonly isRandom: boolean;
  /** Where the weights are from. */
  readonly source: string;
}

/** The network and its variant, and the picture. */
function subjectOf({ name, params, image }: Subject, { extents: [rows, columns] }: Look): string {
  const variant = typeof params.variant === 'string' ? ` ${params.variant}` : '';
  return `${name}${variant} on ${printable(image)}, of which it sees ${columns} x ${rows} pixels.`;
}

const isOfPlaces = ({ classes }: Look) => classes.some(({ colour }) => colour);

function summary(look: Look, given: Subject & { readonly written: readonly string[] }): string {
  const rows = look.classes.map(({ name, share }) => [formatPercent(share), printable(name)]);
  const header = isOfPlaces(look) ? ['share of places', 'class'] : ['probability', 'class'];
  return [
    styleText('bold', wrap(subjectOf(given, look), WIDTH)),
    '',
    formatTable([{ header: header[0] as string, align: 'right' }, { header: header[1] as string }], rows),
    '',
    ...(given.isRandom || given.source === SMALL ? [styleText('yellow', wrap(given.source, WIDTH)), ''] : []),
    ...look.sights.map(({ title, note }) => wrap(`${title}: ${note}`, WIDTH)),
    ...given.written.map((path) => `Written: ${printable(path)}`),
  ].join('\n');
}

async function pageOf(look: Look, runtime: Runtime, subject: Subject): Promise<LookPage> {
  return {
    model: subject.name,
    subject: subjectOf(subject, look),
    weights: subject.source,
    isRandom: subject.isRandom,
    ofPlaces: isOfPlaces(look),
    classes: look.classes,
    sights: look.sights.map(({ title, note, picture }) => ({
      title,
      note,
      width: picture.width,
      height: picture.height,
      png: Buffer.from(toPng(picture)).toString('base64'),
    })),
    machine: await describeMachine(),
    // What it says of single convolutions is too much for a picture.
    runtime: runtime.backend.explain().filter((line) => !line.startsWith('conv of')),
  };
}

/** The report and each picture; gives their paths. */
async function write(out: string, page: LookPage, { sights }: Look): Promise<string[]> {
  const report = join(out, 'report.html');
  const pictures = sights.map(({ name, picture }) => [join(out, `${name}.png`), toPng(picture)] as const);
  for (const [path, bytes] of pictures) await writeFileAtomic(path, bytes);
  await writeFileAtomic(report, htmlPage({ title: `What ${page.model} looked at`, view: 'look', data: page }));
  return [report, ...pictures.map(([path]) => path)];
}
