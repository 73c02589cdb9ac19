/**
 * Counts the variants of each GPU kernel that a whole run of tests compiled, in Node and in a page together. Where
 * SACCADE_SKIP_NOTHING is set, a run that compiles fewer than `fixtures/kernel-paths.json` has fails: tests that
 * were left out must not leave out a path through a kernel. `-u` writes the counts of this run.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Reporter, TestCase, TestModule, Vitest } from 'vitest/node';

const STORED = join(import.meta.dirname, 'fixtures/kernel-paths.json');
const PROJECTS = ['gpu', 'chromium'];
/** What is compiled there depends on how fast candidates are. */
const BY_TIME = /^src\/(tune|bench)\//;

type Counts = Readonly<Record<string, number>>;

export default class KernelPaths implements Reporter {
  #vitest?: Vitest;
  readonly #variants = new Map<string, Set<string>>();

  onInit(vitest: Vitest): void {
    this.#vitest = vitest;
  }

  onTestCaseResult(test: TestCase): void {
    if (BY_TIME.test(test.module.relativeModuleId)) return;
    for (const [name, variant] of test.meta().kernels ?? []) {
      this.#variants.set(name, (this.#variants.get(name) ?? new Set()).add(variant));
    }
  }

  async onTestRunEnd(modules: readonly TestModule[]): Promise<void> {
    if (!(await this.#isWhole(modules))) return;
    const counts: Counts = Object.fromEntries(
      [...this.#variants]
        .map(([name, variants]) => [name, variants.size] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    );
    const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
    console.log(`GPU kernels: ${this.#variants.size}, in ${total} variants`);
    if (this.#vitest?.config.snapshotOptions.updateSnapshot === 'all') {
      writeFileSync(STORED, `${JSON.stringify(counts, null, 2)}\n`);
      return;
    }
    const stored = JSON.parse(readFileSync(STORED, 'utf8')) as Counts;
    const fewer = Object.entries(stored).filter(([name, count]) => (counts[name] ?? 0) < count);
    for (const [name, count] of fewer) {
      console.error(`${name}: ${counts[name] ?? 0} variants were compiled, and ${count} are to be tested`);
    }
    if (fewer.length > 0 && process.env.SACCADE_SKIP_NOTHING) process.exitCode = 1;
  }

  /** Whether all tests on GPUs ran, by the seed that the stored counts are of. */
  async #isWhole(modules: readonly TestModule[]): Promise<boolean> {
    const { config, projects = [] } = this.#vitest ?? {};
    const ours = projects.filter(({ name }) => PROJECTS.includes(name.replace(/ .*/, '')));
    if (ours.length < PROJECTS.length || config?.testNamePattern || process.env.SACCADE_SEED) return false;
    const files = await Promise.all(ours.map((project) => project.globTestFiles()));
    return ours.every(
      (project, at) => modules.filter((module) => module.project === project).length === files[at]?.testFiles.length,
    );
  }
}
