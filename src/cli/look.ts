import { styleText } from 'node:util';
import { Command, Option } from 'commander';
import { isRecord, show } from '../check';
import { ParameterError } from '../errors';
import { type Look, lookAt, lookConfig } from '../look/look';
import type { CreatedModel, Model } from '../models/define';
import { models } from '../models/registry';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import { decodePicture, type Picture } from '../pictures';
import { type RegionsOptions, UPSCALING } from '../pipelines/regions/look';
import type { Control } from '../runtime/backend';
import type { Runtime } from '../runtime/runtime';
import { formatPercent } from '../text/format';
import { printable } from '../text/printable';
import { formatTable } from '../text/table';
import type { Weights } from '../weights';
import { lockFolder } from './lock-folder';
import { lookRegions } from './look-regions';
import { backendOption, jsonOption, number, paramsOption, parseJson, threadsOption } from './options';
import { withProgress } from './progress';
import { MOST_BYTES, openFile, readBytes } from './read-tensors';
import { wrap } from './wrap';
import { checkWritable, tell } from './write-file';
import { reportOf, type Shown, writeLook } from './write-look';

interface Options extends Pick<RuntimeOptions, 'backend' | 'threads'> {
  readonly model?: string;
  readonly regions?: true;
  readonly question?: string;
  readonly threshold?: number;
  readonly upscaling?: RegionsOptions['upscaling'];
  readonly image: string;
  readonly weights?: string;
  readonly variant?: string;
  readonly params?: string;
  readonly out?: string;
  readonly json?: string;
}

const WIDTH = 100;
const SMALL =
  'The weights are those of the small network that comes with the library: it knows clothes of 28 x 28 pixels, or drawn streets.';
const RANDOM = 'The weights are random: classes mean nothing, and what is shown is how the network is built.';

/** Those that take pictures. */
const networks = models.filter(({ inputs }) => 'x' in inputs);

export function lookCommand(): Command {
  return new Command('look')
    .addOption(new Option('--model <name>', 'the network').choices(networks.map(({ name }) => name)))
    .addOption(
      new Option('--regions', 'with --question: find where its answer is, and look there once more').conflicts([
        ...['model', 'variant', 'params'],
      ]),
    )
    .option('--question <text>', "with --regions, such as 'which red shoe'")
    .option(
      '--threshold <share>',
      'with --regions: places above it are of a region; below 0: of the largest; default: 0.15',
      number(-1, 1),
    )
    .addOption(
      new Option(
        '--upscaling <kind>',
        'with --regions: of several, all at once without what is between, or each',
      ).choices(UPSCALING),
    )
    .requiredOption('--image <file>', 'PNG, JPEG or WebP of less than 100 megapixels')
    .option(
      '--weights <path>',
      'in safetensors, a checkpoint of PyTorch or a folder, whose config.json is read as timm writes it; default: a small network that was trained here or, with --variant or --params, random ones',
    )
    .option('--variant <name>', 'of the network, as saccade list NAME tells them')
    .addOption(paramsOption())
    .option('--out <folder>', 'write what is to be seen as PNG files, and report.html, which holds them all')
    .addOption(jsonOption('classes, what is to be seen, and which files were written,'))
    .addOption(backendOption())
    .addOption(threadsOption())
    .addHelpText(
      'after',
      `\nExamples:\n  $ saccade look --model van --weights van_tiny_754.pth.tar --image cat.jpg --out seen\n  $ saccade look --model deit --params '{"prune": {"thresholds": [0.001, 0.002, 0.003]}}' --image cat.jpg --out seen\n  $ saccade look --regions --image garments.png --question 'which red shoe' --out seen`,
    )
    .action(look);
}

const OF_REGIONS = ['question', 'threshold', 'upscaling'] as const;

async function look({ regions, question, threshold, upscaling, ...options }: Options): Promise<void> {
  const given = { question, threshold, upscaling };
  const stray = regions ? undefined : OF_REGIONS.find((name) => given[name] !== undefined);
  if (stray !== undefined) throw new ParameterError(`--${stray} is for --regions`);
  const { model, out, json, image } = options;
  if (!regions && model === undefined)
    throw new ParameterError('--model must name a network, or --regions be given with --question');
  if (regions && question === undefined)
    throw new ParameterError("--question must be given with --regions, such as 'which red shoe'");
  if (json !== undefined) await checkWritable(json);
  using _ = out === undefined ? undefined : lockFolder(out);
  const picture = await decodePicture(image, await readBytes(image, MOST_BYTES));
  if (regions) await lookRegions(picture, { ...options, threshold, upscaling, question: question as string });
  else await lookBy(networks.find((each) => each.name === model) as Model, picture, options);
}

async function lookBy(model: Model, picture: Picture, given: Options): Promise<void> {
  const { image, weights, variant, params: said, out, json, backend, threads } = given;
  const { name } = model;
  await using file = weights === undefined ? undefined : await openFile(weights);
  const published = file || said !== undefined || variant !== undefined ? undefined : await model.published?.load();
  const { params: configured, ...config } = lookConfig(published ? published.config : file?.config);
  const asked = parseJson(said);
  if (!isRecord(asked)) throw new ParameterError(`--params must be an object, got ${show(asked)}`);
  const params = { ...configured, ...asked, ...(variant !== undefined && { variant }) };
  const created = model.create(params as never);
  using runtime = await createRuntime({ ...(backend && { backend }), ...(threads && { threads }) });
  const seen = await withProgress(name, async ({ signal }) => {
    const all = published
      ? created.load(runtime, published.tensors)
      : await parametersOf(created, runtime, file, { signal });
    const parameters = runtime.scope(() => created.fold(all));
    return lookAt(runtime, model, picture, { ...config, params, parameters, signal });
  });
  const source = published ? SMALL : file ? `Weights: ${printable(file.name)}.` : RANDOM;
  const subject = { name, params, image, isRandom: source === RANDOM, source };
  const shown = shownOf(seen, subject);
  const written = out === undefined ? [] : await writeLook(out, shown, runtime);
  await tell(() => summary(seen, { ...subject, written }), json, { ...reportOf(shown), written });
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

function shownOf(look: Look, subject: Subject): Shown {
  const { name, source, isRandom } = subject;
  return {
    title: `What ${name} looked at`,
    model: name,
    subject: subjectOf(subject, look),
    weights: source,
    isRandom,
    ofPlaces: isOfPlaces(look),
    classes: look.classes,
    sights: look.sights,
  };
}
