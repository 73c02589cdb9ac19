import { Command } from 'commander';
import { isRecord } from '../check';
import { ParameterError, SaccadeError } from '../errors';
import { matchWeights } from '../models/load';
import { models } from '../models/registry';
import { formatShape, sizeOf } from '../tensor/shape';
import { formatBytes } from '../text/format';
import { printable } from '../text/printable';
import { shellCommand } from '../text/shell';
import { formatTable, right } from '../text/table';
import type { StoredTensor, Weights } from '../weights';
import { describeTensor, tensorText } from './inspect-tensor';
import { jsonOption } from './options';
import { withProgress } from './progress';
import { openFile } from './read-tensors';
import { tell } from './write-file';

interface Options {
  readonly tensor?: string;
  readonly json?: string;
}

const LONGEST_VALUE = 100;

export function inspectCommand(): Command {
  return new Command('inspect')
    .argument('[path]', 'weights: safetensors, a folder of them, GGUF or a checkpoint of PyTorch')
    .option('--tensor <name>', 'one of its tensors: extents, range, a histogram')
    .addOption(jsonOption('what is described'))
    .action(inspect);
}

async function inspect(first: string | undefined, { tensor: name, json: given }: Options): Promise<void> {
  // In `--json PATH` alone the path is what is inspected.
  const [path, json] = first === undefined && given !== '-' ? [given, '-'] : [first, given];
  if (path === undefined) throw new ParameterError('the path of the weights must be given, as in saccade inspect PATH');
  await using weights = await openFile(path);
  const described =
    name === undefined
      ? describe(weights)
      : await withProgress(name, ({ signal }) => describeTensor(weights, name, { signal }));
  const text = 'tensor' in described ? tensorText : weightsText;
  await tell(() => text(described as never), json, described);
}

type Description = ReturnType<typeof describe>;

/** What is in weights, as JSON has it. */
function describe(weights: Weights) {
  const { name, format, files, metadata, config } = weights;
  const tensors = [...weights.tensors.values()];
  const types = [...new Set(tensors.map(({ type }) => type))].map((type) => {
    const own = tensors.filter((tensor) => tensor.type === type);
    return { type, tensors: own.length, parameters: parametersOf(own), bytes: bytesOf(own) };
  });
  return {
    name,
    format,
    files,
    architecture: architectureOf(weights),
    parameters: parametersOf(tensors),
    bytes: bytesOf(tensors),
    types,
    models: models.map((model) => ({ model: model.name, ...fitOf(model, weights) })),
    config,
    metadata: Object.fromEntries(Object.entries(metadata).map(([key, value]) => [key, plain(value)])),
    tensors: tensors.map(({ name, type, shape, byteLength }) => ({ name, type, shape, bytes: byteLength })),
  };
}

const parametersOf = (tensors: readonly StoredTensor[]) => tensors.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
const bytesOf = (tensors: readonly StoredTensor[]) => tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);

function architectureOf({ config, metadata }: Weights): string | undefined {
  const said = [config?.model_type, metadata['general.architecture']];
  return said.find((each): each is string => typeof each === 'string');
}

/** Whether a model takes the weights, or why not. */
function fitOf(model: (typeof models)[number], weights: Weights): { fits: boolean; because?: string } {
  try {
    const { config } = weights;
    if (model.configured && !config) return { fits: false, because: 'there is no config.json beside the weights' };
    const params = model.configured && config ? model.configured(config) : model.sample().params;
    matchWeights(model.network(model.parse(params as never)), weights);
    return { fits: true };
  } catch (error) {
    if (!(error instanceof SaccadeError)) throw error;
    return { fits: false, because: error.message.replace(`${weights.name}: `, '') };
  }
}

/** A value that JSON can hold, long lists and texts by how long they are. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return String(value);
  if (Array.isArray(value) || ArrayBuffer.isView(value)) {
    const list = Array.from(value as unknown as ArrayLike<unknown>);
    return list.length > 16 ? `a list of ${list.length}` : list.map(plain);
  }
  if (isRecord(value)) return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
  return value;
}

function weightsText(described: Description): string {
  const { name, format, files, architecture, parameters, bytes, types, metadata, tensors } = described;
  const facts = [
    ['format', `${format}, ${counted(files.length, 'file')}, ${formatBytes(bytes)} of tensors`],
    ...(architecture === undefined ? [] : [['architecture', architecture]]),
    ['parameters', parameters.toLocaleString('en')],
    [
      'types',
      types.map((each) => `${each.type} in ${counted(each.tensors, 'tensor')}, ${formatBytes(each.bytes)}`).join('\n'),
    ],
    ['runs as', runsAs(described)],
  ];
  const texts = Object.entries(metadata).map(([key, value]) => [key, shortened(value)]);
  const rows = tensors.map((each) => [each.name, each.type, formatShape(each.shape), formatBytes(each.bytes)]);
  return [
    formatTable(['weights', printable(name)], shown(facts)),
    ...(texts.length > 0 ? [formatTable(['metadata', ''], shown(texts))] : []),
    formatTable(['tensor', 'type', right('extents'), right('size')], shown(rows)),
  ].join('\n\n');
}

const shown = (rows: readonly string[][]) => rows.map((row) => row.map(printable));
const counted = (count: number, what: string) => `${count} ${what}${count === 1 ? '' : 's'}`;

/** The commands that run the weights, or why there are none. */
function runsAs({ name, models: fits }: Description): string {
  const command = (model: string) =>
    shellCommand(['saccade', 'run', model, '--weights', name, '--in', 'in.safetensors', '--out', 'out.safetensors']);
  const runs = fits.filter((each) => each.fits).map(({ model }) => command(model));
  if (runs.length > 0) return runs.join('\n');
  return ['none of the models', ...fits.map(({ model, because }) => `${model}: ${shortened(because)}`)].join('\n');
}

function shortened(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE)}...` : text;
}
