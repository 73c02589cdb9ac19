/** Says at the end of a run, in a line each, what was not tested since the machine lacks what it needs. */
import type { Reporter, TestModule } from 'vitest/node';
import { NOT_TESTED } from './needs';

export default class Skipped implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const skipped = modules.flatMap((module) => [...module.children.allTests('skipped')].map(({ name }) => name));
    for (const line of new Set(skipped.filter((name) => name.startsWith(NOT_TESTED)))) console.log(line);
  }
}
