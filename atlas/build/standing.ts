/** The state of methods and papers today, from the registries and the stored runs. */
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Verdict } from '../../src/experiments/experiment';
import { checkedPage } from '../../src/methods/check-page';
import type { Method } from '../../src/methods/define';
import { methods } from '../../src/methods/registry';
import type { Model } from '../../src/models/define';
import { models } from '../../src/models/registry';
import type { ListedPaper } from '../../src/papers';
import { findPaper } from '../../src/papers/find';
import { PIPELINES, type Pipeline } from '../../src/pipelines/names';
import type { Reproduction } from '../../src/report/reproduction';

export const ROOT = resolve(import.meta.dirname, '../..');

/** Stored runs by paper. */
export const runs: ReadonlyMap<string, Reproduction> = new Map(
  readdirSync(resolve(ROOT, 'docs/reproduce'))
    .filter((file) => file.endsWith('.json'))
    .map((file) => {
      const run = JSON.parse(readFileSync(resolve(ROOT, 'docs/reproduce', file), 'utf8')) as Reproduction;
      return [run.paper.id, run];
    }),
);

const names = methods.map(({ name }) => name);
const pages = new Map(
  await Promise.all(methods.map(async (method) => [method.name, await checkedPage(method, names)] as const)),
);

/** What a method's page shows. */
export const pageOf = (name: string) => pages.get(name)!;

export type Works = 'yes' | 'part' | 'no';

/** The state of a method or paper. */
export type Working = Readonly<Record<'CPU' | 'GPU' | 'gradients', Works>>;

export interface Standing {
  readonly present: readonly Method[];
  readonly networks: readonly Model[];
  readonly pipelines: readonly Pipeline[];
  /** The missing parts, a phrase each. */
  readonly missing: readonly string[];
  readonly works: Working;
  readonly verdicts: readonly Verdict[];
}

export function standingOf({
  id,
  methods: names = [],
  models: wanted = [],
  pipelines = [],
  lacking,
}: ListedPaper): Standing {
  const present = methods.filter(({ name }) => names.includes(name));
  const known: readonly string[] = [...methods, ...models].map(({ name }) => name);
  const missing = [
    ...names.filter((name) => !known.includes(name)).map((name) => `the method ${name}`),
    ...wanted.filter((name) => !known.includes(name)).map((name) => `the model ${name}`),
    ...pipelines.filter((name) => !Object.hasOwn(PIPELINES, name)).map((name) => `the pipeline ${name}`),
    ...(lacking ? [lacking] : []),
  ];
  return {
    present,
    networks: models.filter(({ name }) => wanted.includes(name)),
    pipelines: pipelines.flatMap((name) => PIPELINES[name] ?? []),
    missing,
    works: workingOf(present, missing.length > 0),
    verdicts: runs.get(id)?.findings.map(({ verdict }) => verdict) ?? [],
  };
}

/**
 * A method is computed by ops, each of which must have kernels for both devices (`src/ops/op.ts`); whether it has
 * gradients it says itself.
 */
export function workingOf(present: readonly Method[], isPart = false): Working {
  const of = (working: readonly Method[]) =>
    working.length === 0 ? 'no' : isPart || working.length < present.length ? 'part' : 'yes';
  return { CPU: of(present), GPU: of(present), gradients: of(present.filter(({ gradient }) => gradient !== false)) };
}

/** The paper of a method: every method of the registry has one (`src/papers/check.ts`). */
export const paperOf = ({ paper }: Pick<Method, 'paper'>) => findPaper(paper)!;

/** The folder of a method, in which its README lies. */
export function folderOf(name: string): string {
  const root = resolve(ROOT, 'src/methods');
  const families = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const { name: family } of families) {
    if (readdirSync(resolve(root, family)).includes(name)) return resolve(root, family, name);
  }
  throw new Error(`no folder of ${name} below src/methods`);
}
