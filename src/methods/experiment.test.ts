import { expect, test } from 'vitest';
import { createRuntime } from '../index';
import { methods } from './registry';

const withExperiment = methods.filter(({ experiment }) => experiment);

test.each(withExperiment.map(({ name }) => name))(
  'what onProgress throws ends the experiment of %s, which leaves nothing behind',
  async (name) => {
    using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
    const { experiment } = await withExperiment.find((method) => method.name === name)!.experiment!();
    const onProgress = (share: number) => {
      if (share > 0.6) throw new RangeError('deaf');
    };
    await expect(experiment.run({ runtime, quick: true, onProgress })).rejects.toThrow('deaf');
    expect(runtime.memory().live).toBe(0);
  },
);
