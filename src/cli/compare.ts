import { styleText } from 'node:util';
import { Command, InvalidArgumentError, Option } from 'commander';
import { checkWhole } from '../check';
import { compare } from '../compare/compare';
import type { Use } from '../compare/comparison';
import { type ComparisonReport, hasLoss, hasReach, isMeasured, needsTraining, type Row } from '../compare/comparison';
import { type Calibrated, checkComparable, inputsBeyond } from '../compare/contenders';
import { alps, imageInputs, type NamedPicture } from '../compare/image-inputs';
import {
  checkPackagesOfText,
  type DescribedInputs,
  decoderInputs,
  mobyDick,
  textInputs,
  unwrapped,
} from '../compare/inputs';
import { networkInputs } from '../compare/network-inputs';
import { ParameterError } from '../errors';
import { lookConfig } from '../look/look';
import { describeMachine, formatMachine } from '../machine';
import type { Method } from '../methods/define';
import { exactAttention } from '../methods/dense/attention';
import { methods as allMethods } from '../methods/registry';
import { type CalibrationFile, type LanguageModel, loadDecoder } from '../models';
import { MOST_LAYERS } from '../models/decoder/architectures/settings';
import { readCalibration } from '../models/language-model/calibration';
import { models } from '../models/registry';
import { loadUniversalSentenceEncoder } from '../models/universal-sentence-encoder';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import { decodePicture } from '../pictures/decode';
import { comparisonHtml } from '../report/comparison-page';
import { leftOutNote, lossNote, lossText, trainingNote, warningsOf } from '../report/notes';
import type { Control } from '../runtime/backend';
import type { Runtime } from '../runtime/runtime';
import type { DType } from '../tensor/dtype';
import type { HostTensor } from '../tensor/host';
import { formatShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { formatPercent, formatRatio, significant } from '../text/format';
import { printable } from '../text/printable';
import { formatTable, styledLines } from '../text/table';
import type { Weights } from '../weights';
import { attentionOfModel } from './attention';
import { failIfAny, WITH_FAILURES } from './failures';
import { beyondText, openModel } from './language';
import { METHOD_OR_MODULE, readMethods } from './methods';
import { backendOption, extents, jsonOption, parseJson, threadsOption, wholeNumber } from './options';
import { withProgress } from './progress';
import { MOST_BYTES, openFile, readBytes, readTensorsOf, readText } from './read-tensors';
import { wrap } from './wrap';
import { checkWritable, say, writeFileAtomic, writeJson } from './write-file';

interface CompareOptions extends Pick<RuntimeOptions, 'backend' | 'threads'> {
  readonly text?: string;
  readonly in?: string;
  /** True: the default picture. */
  readonly image?: string | true;
  readonly grid?: readonly number[];
  readonly length?: number;
  readonly layer?: number;
  /** True: the default model. */
  readonly model?: string | true;
  readonly eachLayer?: true;
  readonly weights?: string;
  readonly params?: string;
  readonly methods?: string;
  readonly maxError: number;
  readonly json?: string;
  readonly html?: string;
}

const DEFAULT_LENGTH = 4096;
const DEFAULT_LAYER = 1;
const DEFAULT_GRID = [64, 64];
const WIDTH = 100;
/** Share of the work that is done once there are inputs. */
const READING = 0.1;
/** Characters of a variant's name in a line, so that the table is no wider than the text. */
const LABEL_WIDTH = 30;

export function compareCommand(): Command {
  return new Command('compare')
    .addOption(new Option('--text <file>', 'text to run through the sentence model, up to 256 MiB; default: Moby Dick'))
    .addOption(
      new Option(
        '--image [file]',
        'PNG, JPEG or WebP of less than 100 megapixels whose patches to compare on; default: the French Alps',
      ).conflicts(['text', 'length']),
    )
    .addOption(
      new Option('--in <file>', 'safetensors file with q, k and v, up to 2 GiB').conflicts([
        'text',
        'length',
        'layer',
        'image',
      ]),
    )
    .option('--length <tokens>', `tokens of the text; default: ${DEFAULT_LENGTH}`, wholeNumber(1, 2 ** 20))
    .addOption(
      new Option(
        '--model [path]',
        'language model to run the text through, in the place of the sentence model: a folder or a GGUF file; default: the default model; with --image a network with attention to run the picture through: deit, biformer or l2vit',
      ).conflicts(['in']),
    )
    .option(
      '--weights <path>',
      'with --image and --model: weights of the network; default: those that come with it, else random ones',
    )
    .option('--params <json>', 'with --image and --model: params of the network, such as \'{"variant": "s"}\'')
    .option('--each-layer', 'with --model: the loss of the next token with each layer replaced alone')
    .option(
      '--layer <number>',
      `layer of the model; default: ${DEFAULT_LAYER}, the last of the sentence model`,
      wholeNumber(0, MOST_LAYERS),
    )
    .option(
      '--grid <extents>',
      `rows and columns of patches of the picture; default: ${DEFAULT_GRID.join('x')}`,
      extents(1, 1024),
    )
    .option(
      '--methods <names>',
      `methods to compare, separated by commas, with all their variants, each ${METHOD_OR_MODULE}; or all; default: 26 variants, of each method the first`,
    )
    .option('--max-error <share>', 'largest output error to recommend, as a share of 1', parseShare, 0.1)
    .addOption(jsonOption('everything measured'))
    .option('--html <file>', 'write a report with plots and pictures, one file')
    .addOption(backendOption())
    .addOption(threadsOption())
    .addHelpText(
      'after',
      '\nExamples:\n  $ saccade compare --text notes.txt --length 2048 --html report.html\n  $ saccade compare --image photo.jpg --grid 24x32 --html report.html\n  $ saccade compare --image photo.jpg --model deit --weights deit_tiny.pth --layer 5 --html report.html\n  $ saccade compare --in qkv.safetensors --methods attention,s2-attention\n  $ saccade compare --methods all',
    )
    .addHelpText('after', WITH_FAILURES)
    .action(runComparison);
}

async function runComparison(options: CompareOptions): Promise<void> {
  const { maxError, json, html, backend, threads } = options;
  const methods = options.methods === undefined ? undefined : await parseMethods(options.methods);
  const files = [html, json].filter((path) => path !== undefined);
  for (const path of files) await checkWritable(path);

  using runtime = await createRuntime({ ...(backend && { backend }), ...(threads && { threads }) });
  const machine = await describeMachine();
  const { report, picture } = await withProgress('comparing', async ({ signal, onProgress }, show) => {
    onProgress(0, 'reading the inputs');
    const found = await readInputs(runtime, { ...options, among: methods }, { signal });
    const { inputs, description: input, picture, losses, calibrated, ...held } = found;
    using _ = held.model;
    const rows: Row[] = [];
    const onRow = (row: Row) => {
      rows.push(row);
      show(tableOf(rows));
    };
    const comparison = await compare(inputs, {
      signal,
      onProgress: (share) => onProgress(READING + (1 - READING) * share),
      methods,
      maxError,
      onRow,
      losses,
      calibrated,
    });
    const report: ComparisonReport = { format: 'saccade compare', version: 1, machine, input, ...comparison };
    return { report, picture };
  });
  if (html !== undefined)
    await writeFileAtomic(
      html,
      comparisonHtml(report, { picture, methods: Array.isArray(methods) ? methods : allMethods }),
    );
  await writeJson(json, report);
  await say(summary(report, files, Array.isArray(methods) ? undefined : notComparable()), ...files);
  failIfAny(
    report.rows.filter((row) => !isMeasured(row)).map(({ label }) => label),
    report.rows.length,
    'variants',
  );
}

/** q, k and v, and the model that they are of, where it is of use afterwards. */
type Read = DescribedInputs & { readonly model?: LanguageModel };

interface ReadOptions extends CompareOptions {
  /** The methods that are compared; default: all. */
  readonly among: readonly Method[] | 'all' | undefined;
}

async function readInputs(runtime: Runtime, options: ReadOptions, { signal }: Control): Promise<Read> {
  const { text, in: path, image, grid, model, length = DEFAULT_LENGTH, layer = DEFAULT_LAYER } = options;
  checkOfNetwork(options);
  if (image !== undefined) {
    const named = image === true ? await alps() : await readPicture(image);
    if (typeof model === 'string') return throughNetwork(runtime, model, named, options);
    return imageInputs(runtime, named, grid ?? DEFAULT_GRID);
  }
  if (options.eachLayer && model === undefined)
    throw new ParameterError('--each-layer is for the layers of a language model: expected --model too');
  if (grid) throw new ParameterError('--grid is for the patches of a picture: expected --image too');
  if (model !== undefined) {
    const named = text === undefined ? unwrapped(await mobyDick()) : await readText(text);
    await using weights = await openModel(model === true ? undefined : model);
    process.stderr.write(beyondText(weights.config, length));
    const attention = weights.config && (await attentionOfModel(weights.config));
    const language = await loadDecoder(weights, { runtime, attention, context: Math.max(2, length), signal });
    try {
      const each = options.eachLayer === true;
      const calibrated = await calibratedOf(weights, options.among, language.decoder.layers, layer, signal);
      return { model: language, calibrated, ...decoderInputs(language, named, { length, layer, each }, { signal }) };
    } catch (error) {
      language.dispose();
      throw error;
    }
  }
  if (path === undefined) {
    checkPackagesOfText(text !== undefined);
    checkWhole('--layer', layer, 0, 1);
    const named = text === undefined ? await mobyDick() : await readText(text);
    using encoder = await loadUniversalSentenceEncoder(runtime);
    return textInputs(encoder, named, { length, layer: layer as 0 | 1 }, { signal });
  }
  // Without optional inputs of exact attention, which other methods would ignore.
  const host = await readTensorsOf({ name: 'compare', inputs: exactAttention.inputs }, path);
  const names = ['q', 'k', 'v'] as const;
  const [q, k, v] = names.map((name) => runtime.fromHost(host[name] as HostTensor<DType>)) as [Tensor, Tensor, Tensor];
  const shapes = Object.entries({ q, k, v }).map(([name, { shape }]) => `${name} ${formatShape(shape)}`);
  return { inputs: { q, k, v }, description: `${printable(path)}: ${shapes.join(', ')}.` };
}

/** What files beside the weights say of methods, by layer. */
async function calibratedOf(
  weights: Weights,
  among: ReadOptions['among'],
  count: number,
  layer: number,
  signal: AbortSignal | undefined,
): Promise<Calibrated> {
  const layers = new Map<Method, CalibrationFile['layers']>();
  for (const method of Array.isArray(among) ? (among as readonly Method[]) : allMethods) {
    const file = await readCalibration(weights, method, count, signal);
    if (file) layers.set(method, file.layers);
  }
  return { layer, layers };
}

/** Throws if options of a network are given without one, or those of patches with one. */
function checkOfNetwork({ image, model, weights, params, layer, grid }: CompareOptions): void {
  const isNetwork = image !== undefined && typeof model === 'string';
  if (!isNetwork && (weights !== undefined || params !== undefined))
    throw new ParameterError(
      '--weights and --params are for a network on pictures: expected --image and --model NAME too',
    );
  if (isNetwork && grid) throw new ParameterError('--grid is for patches without a network: leave it or --model out');
  if (image === undefined || isNetwork) return;
  if (model === true)
    throw new ParameterError('--model needs the name of a network where --image is given, such as deit');
  if (layer !== undefined) throw new ParameterError('--layer is for the layers of a model: expected --model too');
}

/** A layer of a network on a picture: of its first layers by default, which have the most tokens. */
async function throughNetwork(
  runtime: Runtime,
  name: string,
  picture: NamedPicture,
  { weights, params: json, layer = 0 }: CompareOptions,
): Promise<Read> {
  const networks = models.filter(({ inputs }) => 'x' in inputs);
  const model = networks.find((each) => each.name === name);
  if (!model)
    throw new ParameterError(
      `--model must be one of ${networks.map((each) => each.name).join(', ')} where --image is given, got '${name}'`,
    );
  await using file = weights === undefined ? undefined : await openFile(weights);
  const trained = file || json !== undefined ? undefined : await model.published?.load();
  const { params: configured, settings } = lookConfig(trained ? trained.config : file?.config);
  const params = { ...configured, ...(parseJson(json) as object) };
  const { load, initialize } = model.create(params as never);
  const parameters = file ? await load(runtime, file) : trained ? load(runtime, trained.tensors) : initialize(runtime);
  const network = { model, params, parameters, settings, isRandom: !file && !trained };
  return networkInputs(runtime, network, picture, layer);
}

async function readPicture(path: string): Promise<NamedPicture> {
  return { name: printable(path), picture: await decodePicture(path, await readBytes(path, MOST_BYTES)) };
}

/** Which methods cannot be compared, and why. */
function notComparable(): string {
  const takesQkv = ({ inputs }: Method) => ['q', 'k', 'v'].every((name) => inputs[name]);
  const attentions = allMethods.filter(takesQkv);
  const others = allMethods.filter((method) => !takesQkv(method));
  const apart = attentions.map((method) => ({ name: method.name, more: inputsBeyond(method) }));
  const gated = apart.flatMap(({ name, more }) => (more.length > 0 ? [`${name} (${more.join(', ')})`] : []));
  return `Not compared, as they take gates that only a model has: ${gated.join(', ')}; saccade bench linear and saccade reproduce show what they cost. As they take no q, k and v: ${others.map(({ name }) => name).join(', ')}.`;
}

/** What the terminal shows: the table, the recommendation, where and on what it was measured. */
export function summary(report: ComparisonReport, files: readonly string[], apart?: string): string {
  const { input, machine, runtime, rows, recommendation } = report;
  const dim = (text: string) => styleText('dim', wrap(text, WIDTH));
  const notes = [leftOutNote(report), trainingNote(report), lossNote(report), apart].filter(
    (note) => note !== undefined,
  );
  return [
    styleText('bold', wrap(input, WIDTH)),
    '',
    tableOf(rows, [recommendation.full, recommendation.causal]),
    '',
    ...warningsOf(report).flatMap((warning) => [styleText('yellow', wrap(warning, WIDTH)), '']),
    ...notes.flatMap((note) => [dim(note), '']),
    styleText('green', wrap(recommendation.text, WIDTH)),
    ...recommendation.uses.flatMap(howToUse),
    dim(`★ marks ${recommendation.rule}.`),
    '',
    dim(`${formatMachine(machine)}; ${runtime.join('; ')}.`),
    ...files.map((path) => `Written: ${printable(path)}`),
  ].join('\n');
}

/** A chosen row in words, with pages to read and code to copy, which is therefore not wrapped. */
function howToUse({ label, method, pages, code, command }: Use): string[] {
  const words = wrap(`${label} is ${method} (${pages.join(', ')}).`, WIDTH);
  const typed = [code, ...(command === undefined ? [] : [command])];
  return [words, ...typed.flatMap((text) => ['', ...text.split('\n').map((line) => `  ${line}`)]), ''];
}

function tableOf(rows: readonly Row[], picks: readonly (string | undefined)[] = []): string {
  const columns = COLUMNS.filter(({ isOf }) => isOf === undefined || rows.some(isOf));
  return formatTable(
    columns,
    rows.map((row) => cells(row, columns, picks.includes(row.label))),
  );
}

interface TableColumn {
  readonly header: string;
  readonly align?: 'right';
  /** The rows without any of which there is no such column. */
  readonly isOf?: (row: Row) => boolean;
  cell(row: Row): string;
}

const COLUMNS: readonly TableColumn[] = [
  { header: 'attention', cell: ({ label }) => label },
  figures('ms', ({ time }) => (time ? significant(time.median) : '')),
  figures('speed-up', ({ speedup }) => (speedup === undefined ? '' : formatRatio(speedup))),
  figures('error', ({ baseline, error }) => (baseline ? '' : error ? formatPercent(error.relativeL2) : '–')),
  figures('entropy', ({ entropy, error }) => (entropy ? significant(entropy.mean) : error ? '' : '–'), needsTraining),
  figures('kept', ({ baseline, mass }) => (baseline || !mass ? '' : formatPercent(mass.mean))),
  figures('by head', ({ baseline, mass }) =>
    baseline || !mass ? '' : percentRange(mass.heads.map(({ mean }) => mean)),
  ),
  figures('visited', ({ visited }) => (visited === undefined ? '' : formatPercent(visited))),
  figures('reach', ({ reach }) => (reach === undefined ? '' : String(reach)), hasReach),
  figures('MiB', ({ memory }) => (memory === undefined ? '' : significant(memory / 2 ** 20))),
  figures('loss', ({ loss }) => (loss ? lossText(loss.layer) : ''), hasLoss),
  figures('in all', ({ loss }) => (loss ? lossText(loss.all) : ''), hasLoss),
];

function figures(header: string, cell: (row: Row) => string, isOf?: (row: Row) => boolean): TableColumn {
  return { header, align: 'right', cell, ...(isOf && { isOf }) };
}

function cells(row: Row, columns: readonly TableColumn[], picked: boolean): string[] {
  if (!isMeasured(row)) {
    const reason = wrap(`failed: ${row.failed}`, WIDTH - LABEL_WIDTH);
    return [wrap(row.label, LABEL_WIDTH), styledLines('red', reason)];
  }
  const [label, ...rest] = columns.map(({ cell }) => cell(row)) as [string, ...string[]];
  const texts = [wrap(picked ? `${label} ★` : label, LABEL_WIDTH), ...rest];
  const style = picked ? 'green' : row.baseline ? 'bold' : undefined;
  return texts.map((text) => (style ? styledLines(style, text) : text));
}

/** Such as 12–97%: the least and the largest of some shares. */
function percentRange(shares: readonly number[]): string {
  return `${Math.round(100 * Math.min(...shares))}–${Math.round(100 * Math.max(...shares))}%`;
}

async function parseMethods(names: string): Promise<Method[] | 'all'> {
  if (names.trim() === 'all') return 'all';
  const methods = await readMethods(names);
  methods.forEach(checkComparable);
  return methods;
}

function parseShare(text: string): number {
  const share = Number(text);
  if (text.trim() !== '' && share > 0 && share <= 1) return share;
  throw new InvalidArgumentError('It must be a number above 0, at most 1.');
}
