/** Which room may import which: what runs follows one order of rooms, and references share no code with fast paths. */
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { expect, test } from 'vitest';

/** From the ground up: a room imports from those before it only. `.` are the files beside the rooms, but the index. */
const ROOMS = [
  ...['text', '.', 'workers', 'tensor', 'expressions', 'masks', 'scores', 'io', 'pictures', 'simulate', 'code'],
  ...[
    'runtime',
    'ops',
    'attention',
    'cache',
    'tape',
    'conventions',
    'adapters',
    'weights',
    'measure',
    'tune',
    'feature-maps',
    'kernels',
    'cluster',
    'methods',
  ],
  ...[
    'nn',
    'train',
    'models',
    'default-model',
    'pipelines',
    'papers',
    'experiments',
    'compare',
    'look',
    'bench',
    'sweep',
    'report',
    'cli',
    'index.ts',
  ],
];

const FILES = globSync('src/**/*.ts').filter((path) => !path.endsWith('.test.ts'));

/** The files of this project that a file imports, other than types alone, which are gone before anything runs. */
function importsOf(path: string): string[] {
  const text = readFileSync(path, 'utf8');
  const statements = text.matchAll(/(?:^(?:import|export) (?!type )[^;]*?from |\bimport\()'(\.[^']*)'/gm);
  return [...statements].flatMap(([, to]) => {
    const target = normalize(join(dirname(path), to as string));
    return [`${target}.ts`, join(target, 'index.ts')].filter((file) => FILES.includes(file));
  });
}

function roomOf(path: string): string {
  const [, room, inner] = path.split('/') as [string, string, string?];
  return inner !== undefined || room === 'index.ts' ? room : '.';
}

test('rooms import from rooms below them', () => {
  const rank = (path: string) => ROOMS.indexOf(roomOf(path));
  expect([...new Set(FILES.map(roomOf))].sort()).toEqual([...ROOMS].sort());
  const upwards = FILES.flatMap((path) =>
    importsOf(path)
      .filter((to) => rank(to) > rank(path))
      .map((to) => `${path} imports ${to}`),
  );
  expect(upwards).toEqual([]);
});

test('what networks and decoders load is not the registry of all methods', () => {
  const reached = new Set(FILES.filter((path) => /^src\/(nn|models\/decoder)\//.test(path)));
  for (const path of reached) for (const to of importsOf(path)) reached.add(to);
  expect(reached.size).toBeGreaterThan(100);
  expect([...reached].filter((path) => /(registry|methods\/index)\.ts$/.test(path))).toEqual([]);
});

/** What a method's reference may be made of: host tensors, other references in float64, and random directions, which are data. */
const OF_REFERENCES =
  /^src\/(tensor\/(host|shape|dtype|float16|random|wide)|text\/.*|check|errors|bounded-map|feature-maps\/draw|ops\/[^/]*\/(softmax|recurrence|regression|kinds)|.*\/reference)\.ts$/;

test("methods' references share no code with fast paths", () => {
  const references = globSync('src/methods/*/*/reference.ts');
  expect(references.length).toBeGreaterThan(10);
  const reached = new Map(references.map((path) => [path, path]));
  for (const [path, from] of reached) for (const to of importsOf(path)) if (!reached.has(to)) reached.set(to, from);
  const shared = [...reached]
    .filter(([path]) => !OF_REFERENCES.test(path))
    .map(([path, from]) => `${from} uses ${path}`);
  expect(shared).toEqual([]);
});
